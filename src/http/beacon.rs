//! `POST /v1/beacon`: where the browser's tag posts. Same events, limits and answers as
//! `POST /v1/events`, for a browser's key only. It sets the site's own cookies, with consent only.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::post,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Relay, auth, body, consent,
    cookies::Jar,
    cors, count,
    error::ApiError,
    ingest::{self, Visit},
    visitor,
};
use crate::{
    clock::Stopwatch,
    config::{Config, KeyKind, Right, WriteKey},
    event::Field,
    pipeline::{self, Street},
    sources::{
        self, Form, Read, Rejection,
        beacon::{self, Beacon},
        json::{self, Node},
        native,
    },
};

const ROUTE: &str = "/v1/beacon";

/// The door's name, where a rule asks by which one an event came.
const DOOR: &str = "beacon";

pub(super) fn routes() -> Router<Arc<Relay>> {
    Router::new().route(ROUTE, post(posted).options(cors::preflight))
}

async fn posted(State(relay): State<Arc<Relay>>, request: Request) -> Response {
    let watch = Stopwatch::start();
    let (parts, mut body) = request.into_parts();
    let config = relay.config.load_full();
    let mut cookies = Vec::new();
    let (status, mut response) = match take(&relay, &config, &parts, &mut body, &mut cookies).await
    {
        Ok((status, answer)) => (status, (status, Json(answer)).into_response()),
        Err(error) => {
            body::drain(body, &parts.headers).await;
            (error.status, error.into_response())
        }
    };
    cors::allow(&config, &parts.headers, &mut response);
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    count::request(ROUTE, status, watch.elapsed());
    response
}

async fn take(
    relay: &Relay,
    config: &Config,
    parts: &Parts,
    body: &mut Body,
    cookies: &mut Vec<HeaderValue>,
) -> Result<(StatusCode, Value), ApiError> {
    let query = parts.uri.query().unwrap_or_default();
    let outside = auth::given(&parts.headers, query);
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let form = Form::of(content_type)
        .ok_or_else(|| ApiError::unsupported("events come as text/plain or application/json"))?;
    if let Some(given) = &outside {
        check(relay, config, auth::known(config, given)?, parts)?;
    }
    // Of somebody unknown no more is read than one event.
    let limits = &config.limits;
    let at_most =
        if outside.is_some() { body::AtMost::request(limits) } else { body::AtMost::event(limits) };
    let body = body::read(body, &parts.headers, at_most).await?;
    let Beacon { key, pieces, consent } = beacon::open(&body, form, limits)?;
    let given = match (&outside, key) {
        (Some(given), _) => given.clone(),
        (None, Some(key)) => key,
        (None, None) => return Err(auth::missing()),
    };
    let key = auth::known(config, &given)?;
    if outside.is_none() {
        check(relay, config, key, parts)?;
    }
    let explain = auth::parameter(query, "explain").is_some_and(|value| value == "true");
    if explain {
        auth::right(key, Right::Explain)?;
    }

    let now = (relay.clock)();
    let mut jar = Jar::of(&parts.headers);
    let mut visit = Visit::of(key, peer, &parts.headers, config);
    visit.whereabouts.door = Some(DOOR);
    if consent.is_some() {
        auth::right(key, Right::Consent)?;
    }
    let seen = (&parts.headers, &jar);
    let chosen = consent.map(|text| choice(relay, config, &visit, seen, text, now)).transpose()?;
    let batch = {
        let mut screen = Screen { relay, config, visit: &visit, jar: &mut jar, now };
        let mut read = |node: &Node<'_>, street: &Street<'_>| screen.read(node, street);
        ingest::work(relay, config, pieces, &mut read, &visit.whereabouts, explain, now).await
    };
    let (status, mut answer) = ingest::settle(relay, config, batch, now).await?;
    if let Some(chosen) = chosen {
        let changed = match chosen.made {
            Some(made) => consent::keep(relay, key, made).await?,
            None => 0,
        };
        jar.consider(&chosen.state, chosen.model);
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("queued_changed".to_owned(), json!(changed));
        }
    }
    *cookies = jar.answer();
    Ok((status, answer))
}

/// Whether this key may be used here, from there, and so often.
fn check(relay: &Relay, config: &Config, key: &WriteKey, parts: &Parts) -> Result<(), ApiError> {
    if key.kind != KeyKind::Browser {
        let detail = "a server's key may not be used here, where anybody could read it; make one \
                      with kind = \"browser\"";
        return Err(ApiError::not_allowed(detail));
    }
    auth::right(key, Right::Events)?;
    visitor::admit(relay, config, key, parts)
}

/// Looks at each event before the street does.
struct Screen<'s> {
    relay: &'s Relay,
    config: &'s Config,
    visit: &'s Visit<'s>,
    jar: &'s mut Jar,
    now: Timestamp,
}

impl Screen<'_> {
    fn read(&mut self, node: &Node<'_>, street: &Street<'_>) -> Result<Read, Rejection> {
        let door = &self.visit.door;
        visitor::screen(self.relay, self.config, door, node, self.jar.known())?;
        let mut read = native::read(node, door, self.config, self.now)?;
        let whereabouts = &self.visit.whereabouts;
        if let Some((state, model)) = pipeline::state(street, &read.event, whereabouts) {
            self.jar.consider(&state, model);
            if let (None, Some(id)) = (read.event.texts.first(Field::AnonymousId), self.jar.id()) {
                read.event.texts.push(Field::AnonymousId, id);
            }
        }
        Ok(read)
    }
}

/// A choice that came with a beacon.
struct Chosen {
    /// For the person of the cookie, if there is one to remember it of.
    made: Option<pipeline::ChoiceMade>,
    state: crate::consent::State,
    model: crate::consent::Model,
}

/// The site of the page that posts, by its host, if it is one of the key's.
fn page_site<'c>(config: &'c Config, visit: &Visit<'_>, headers: &HeaderMap) -> Option<&'c str> {
    let origin = url::Url::parse(cors::origin(headers)?).ok()?;
    let host = origin.host_str()?;
    let own = &visit.door.key?.sites;
    let mut sites = config.sites.values().filter(|site| own.contains(&site.name));
    let site = sites.find(|site| site.hosts.iter().any(|own| own.eq_ignore_ascii_case(host)))?;
    Some(&site.name)
}

/// Reads a choice of the visitor, whom only a cookie names.
fn choice(
    relay: &Relay,
    config: &Config,
    visit: &Visit<'_>,
    (headers, jar): (&HeaderMap, &Jar),
    text: &str,
    now: Timestamp,
) -> Result<Chosen, ApiError> {
    let consent: &serde_json::value::RawValue = serde_json::from_str(text).map_err(|_| {
        ApiError::bad_request("not_events", "expected \"consent\" to be a consent object")
    })?;
    let user = json!({"anonymous_id": jar.known()});
    let body = json!({"user": user, "consent": consent, "site": page_site(config, visit, headers)});
    let body = body.to_string();
    let node = json::parse(&body, config.limits.nesting).map_err(sources::Unframed::from)?;
    let read = native::choice(&node, &visit.door, config, now).map_err(consent::refused)?;
    let nothing = |_: &[crate::queue::IdHash]| Default::default();
    let street = ingest::street(relay, config, &nothing, &|_, _| None);
    let (state, model) = pipeline::state(&street, &read.event, &visit.whereabouts)
        .ok_or_else(|| ApiError::bad_request("site_unknown", "the key's site is not configured"))?;
    let made = match jar.known() {
        Some(_) => Some(consent::read(relay, config, visit, &node, now)?),
        None => None,
    };
    Ok(Chosen { made, state, model })
}
