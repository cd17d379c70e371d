//! The admin calls: what operators read and do. Every call but the dashboard's page, which holds
//! no data, needs a token with a role.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{Relay, acts::Detail, auth, body, error::ApiError, trace};
use crate::{
    alert::Active,
    config::{AdminRole, DestinationConfig, nearest, versions},
    destinations::hint,
    pipeline,
    queue::{ApiStats, DeadFilter, DeadGroups, Stats},
};

/// The largest body of an admin call.
const BODY_BYTES: usize = 1 << 20;

/// Who may look.
pub(super) const READERS: [AdminRole; 4] =
    [AdminRole::Viewer, AdminRole::Media, AdminRole::Privacy, AdminRole::Operator];

/// So many ids of dead letters are written into the admin log one by one.
const IDS_TOLD: usize = 100;
/// An id of a dead letter is so many hexadecimal digits.
const ID_DIGITS: usize = 32;

const OPERATORS: [AdminRole; 1] = [AdminRole::Operator];

pub(super) fn routes() -> Router<Arc<Relay>> {
    Router::new()
        .route("/", get(dashboard))
        .route("/metrics", get(metrics))
        .route("/admin/v1/stats", get(stats))
        .route("/admin/v1/alerts", get(alerts))
        .route("/admin/v1/dead", get(dead))
        .route("/admin/v1/dead/groups", get(dead_groups))
        .route("/admin/v1/dead/replay", post(replay))
        .route("/admin/v1/dead/discard", post(discard))
        .route("/admin/v1/events/{event_id}", get(event))
        .route("/admin/v1/destinations/{name}/pause", post(pause))
        .route("/admin/v1/destinations/{name}/resume", post(resume))
        .route("/admin/v1/config/reload", post(reload))
}

/// Refuses a request without a token that has one of the roles; says in the log who acts.
pub(super) fn allow(
    relay: &Relay,
    headers: &HeaderMap,
    roles: &[AdminRole],
) -> Result<String, ApiError> {
    let config = relay.config.load();
    auth::admin(&config, headers, roles).map(|token| token.name.clone())
}

async fn dashboard() -> impl IntoResponse {
    let policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                  connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'";
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(include_str!("dashboard.html")))
}

async fn metrics(
    State(relay): State<Arc<Relay>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    allow(&relay, &headers, &READERS)?;
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((content_type, (relay.metrics)()).into_response())
}

async fn stats(
    State(relay): State<Arc<Relay>>,
    headers: HeaderMap,
) -> Result<Json<Stats>, ApiError> {
    allow(&relay, &headers, &READERS)?;
    Ok(Json(books(&relay).await))
}

/// The books, with the state of every destination: configured, or gone with something left.
pub async fn books(relay: &Relay) -> Stats {
    let mut stats = relay.queue.stats().await;
    let config = relay.config.load();
    let states = relay.delivery.states();
    let today = (relay.clock)().to_zoned(jiff::tz::TimeZone::UTC).date();
    for name in config.destinations.keys() {
        stats.destinations.entry(name.clone()).or_default();
    }
    for (name, books) in &mut stats.destinations {
        books.state = match (config.destinations.get(name), states.get(name)) {
            (None, _) => "removed".to_owned(),
            (Some(_), Some(state)) => state.clone(),
            (Some(_), None) => "running".to_owned(),
        };
        books.expiring_soon = Some(relay.alerts.expiring(name)).filter(|count| *count > 0);
        books.api = config.destinations.get(name).and_then(|known| api(known, today));
    }
    stats
}

fn api(destination: &DestinationConfig, today: jiff::civil::Date) -> Option<ApiStats> {
    let version = destination.version()?;
    Some(ApiStats {
        days_left: version.ends.map(|ends| versions::days_left(ends, today)),
        ends: version.ends.map(|ends| ends.to_string()),
        version: version.name,
    })
}

async fn alerts(
    State(relay): State<Arc<Relay>>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    allow(&relay, &headers, &READERS)?;
    Ok(Json(relay.alerts.active().iter().map(Active::to_json).collect()))
}

#[derive(Deserialize)]
struct DeadQuery {
    destination: Option<String>,
    reason: Option<String>,
    group: Option<String>,
    limit: Option<usize>,
}

async fn dead(
    State(relay): State<Arc<Relay>>,
    headers: HeaderMap,
    query: DeadAsked,
) -> Result<impl IntoResponse, ApiError> {
    allow(&relay, &headers, &READERS)?;
    let mut filter = asked(query)?;
    filter.limit = Some(filter.limit.unwrap_or(100));
    Ok(Json(relay.queue.dead_list(filter).await?))
}

type DeadAsked = Result<Query<DeadQuery>, axum::extract::rejection::QueryRejection>;

fn asked(query: DeadAsked) -> Result<DeadFilter, ApiError> {
    let Query(query) = query.map_err(|error| {
        let detail = format!("destination, reason, group, limit: {error}");
        ApiError::bad_request("invalid_query", detail)
    })?;
    let DeadQuery { destination, reason, group, limit } = query;
    Ok(DeadFilter { destination, reason, group, limit, ..DeadFilter::default() })
}

/// Dead letters by cause, with what to do about each.
async fn dead_groups(
    State(relay): State<Arc<Relay>>,
    headers: HeaderMap,
    query: DeadAsked,
) -> Result<Json<Value>, ApiError> {
    allow(&relay, &headers, &READERS)?;
    let DeadGroups { groups, others } = relay.queue.dead_groups(asked(query)?).await?;
    let config = relay.config.load();
    let groups: Vec<Value> = groups
        .iter()
        .map(|group| {
            let destination = config.destinations.get(&group.destination);
            let hint =
                hint(&group.reason, &group.code, &group.message, destination.map(|d| &*d.handler));
            json!({
                "group": group.id,
                "destination": group.destination,
                "platform": destination.map(|known| known.platform.name),
                "reason": group.reason,
                "code": group.code,
                "message": group.message,
                "count": group.count,
                "events": group.events.iter().cloned().collect::<BTreeMap<String, u64>>(),
                "first": group.first,
                "last": group.last,
                "hint": hint,
                "replay": format!("conversion-relay dead replay --group {}", group.id),
            })
        })
        .collect();
    Ok(Json(json!({ "groups": groups, "others": others })))
}

async fn replay(
    State(relay): State<Arc<Relay>>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, ApiError> {
    let who = allow(&relay, &headers, &OPERATORS)?;
    let filter: DeadFilter = read::<Chosen>(body, &headers, CHOSEN).await?.into();
    known(&relay, &filter).await?;
    let mut detail = told(&filter);
    let count = relay.queue.dead_replay(filter).await?;
    tracing::info!(who, count, "dead letters replayed");
    detail.insert("count".to_owned(), count.into());
    Ok((Extension(Detail(detail.into())), Json(json!({ "count": count }))))
}

async fn discard(
    State(relay): State<Arc<Relay>>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, ApiError> {
    let who = allow(&relay, &headers, &OPERATORS)?;
    let filter = read::<Discarded>(body, &headers, DISCARDED).await?.filter()?;
    known(&relay, &filter).await?;
    let mut detail = told(&filter);
    let count = relay.queue.dead_discard(filter).await?;
    tracing::info!(who, count, "dead letters discarded");
    detail.insert("count".to_owned(), count.into());
    Ok((Extension(Detail(detail.into())), Json(json!({ "count": count }))))
}

/// Which dead letters are replayed. Nothing given: all; an empty list of ids is none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chosen {
    destination: Option<String>,
    reason: Option<String>,
    group: Option<String>,
    ids: Option<Vec<String>>,
}

const CHOSEN: &str = r#"{"destination", "reason", "group", "ids"}, any of them"#;

impl From<Chosen> for DeadFilter {
    fn from(chosen: Chosen) -> Self {
        let Chosen { destination, reason, group, ids } = chosen;
        Self { destination, reason, group, ids, ..Self::default() }
    }
}

/// What is discarded: of the dead letters the same, and with `pending` what waits for a destination.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Discarded {
    destination: Option<String>,
    reason: Option<String>,
    group: Option<String>,
    ids: Option<Vec<String>>,
    #[serde(default)]
    pending: bool,
}

const DISCARDED: &str =
    r#"{"destination", "reason", "group", "ids"}, any of them, or {"destination", "pending"}"#;

impl Discarded {
    /// What waits has no reason, group or id yet: `pending` beside one would throw away more than
    /// was asked for.
    fn filter(self) -> Result<DeadFilter, ApiError> {
        let Self { destination, reason, group, ids, pending } = self;
        let is_narrowed = reason.is_some() || group.is_some() || ids.is_some();
        if pending && (destination.is_none() || is_narrowed) {
            let detail = "pending discards all that waits for a destination: it goes with \
                          \"destination\" and with nothing else";
            return Err(ApiError::bad_request("invalid_query", detail));
        }
        Ok(DeadFilter { destination, reason, group, ids, pending, limit: None })
    }
}

/// The object must be there: `{}` means all, and nobody should mean all by accident.
async fn read<T: DeserializeOwned>(
    mut body: Body,
    headers: &HeaderMap,
    shape: &str,
) -> Result<T, ApiError> {
    let body = body::read(&mut body, headers, body::AtMost::always(BODY_BYTES)).await?;
    serde_json::from_slice(&body).map_err(|error| {
        ApiError::bad_request("malformed_json", format!("expected {shape}: {error}"))
    })
}

/// Refuses a destination that neither is delivered to nor stands in the books.
async fn known(relay: &Relay, filter: &DeadFilter) -> Result<(), ApiError> {
    let Some(name) = &filter.destination else { return Ok(()) };
    let books = relay.queue.stats().await.destinations;
    let states = relay.delivery.states();
    if states.contains_key(name) || books.contains_key(name) {
        return Ok(());
    }
    let names = states.keys().chain(books.keys()).map(String::as_str);
    let hint = match nearest(name, names) {
        Some(near) => format!("; did you mean {near:?}?"),
        None => "; see GET /admin/v1/stats".to_owned(),
    };
    Err(ApiError::not_found(&format!("no destination is called {name:?}{hint}")))
}

/// What the admin log says of a filter.
fn told(filter: &DeadFilter) -> Map<String, Value> {
    let members = [
        ("destination", filter.destination.as_deref().map(Value::from)),
        ("reason", filter.reason.as_deref().map(Value::from)),
        ("group", filter.group.as_deref().map(Value::from)),
        ("ids", filter.ids.as_ref().map(|ids| ids_told(ids))),
        ("pending", filter.pending.then_some(true.into())),
    ];
    members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// The ids themselves where they are few, else how many: a line of the log has a bound. What is no
/// id of a dead letter is only counted, for it might be anything.
fn ids_told(ids: &[String]) -> Value {
    let is_id = |id: &String| id.len() == ID_DIGITS && id.bytes().all(|b| b.is_ascii_hexdigit());
    if ids.len() <= IDS_TOLD && ids.iter().all(is_id) { json!(ids) } else { ids.len().into() }
}

async fn event(
    State(relay): State<Arc<Relay>>,
    headers: HeaderMap,
    Path(event_id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    allow(&relay, &headers, &READERS)?;
    let found = relay.queue.trace(pipeline::trace_hash(&relay.key, &event_id)).await?;
    if found.copies.is_empty() && found.outcomes.is_empty() {
        return Err(ApiError::not_found("nothing is kept of an event with this id"));
    }
    Ok(Json(trace::render(&event_id, &found)))
}

async fn pause(
    State(relay): State<Arc<Relay>>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let who = allow(&relay, &headers, &OPERATORS)?;
    let state = relay.delivery.pause(&name).ok_or_else(unknown_destination)?;
    keep_paused(&relay, state.as_str()).await?;
    tracing::info!(who, destination = name, state, "destination paused");
    Ok(Json(json!({ "name": name, "state": state })))
}

async fn resume(
    State(relay): State<Arc<Relay>>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let who = allow(&relay, &headers, &OPERATORS)?;
    let state = relay.delivery.resume(&name).ok_or_else(unknown_destination)?;
    keep_paused(&relay, state.as_str()).await?;
    tracing::info!(who, destination = name, state, "destination resumed");
    Ok(Json(json!({ "name": name, "state": state })))
}

async fn keep_paused(relay: &Relay, state: &str) -> Result<(), ApiError> {
    relay.delivery.keep_paused().await.map_err(|refused| {
        let detail = format!(
            "it is {state} now, but a restart would not know of it, for that could not be kept \
             ({refused}); ask again later"
        );
        ApiError::unavailable("store_failed", detail, 10)
    })
}

fn unknown_destination() -> ApiError {
    ApiError::not_found("no destination has this name; see GET /admin/v1/stats")
}

async fn reload(State(relay): State<Arc<Relay>>, headers: HeaderMap) -> Result<Response, ApiError> {
    let who = allow(&relay, &headers, &OPERATORS)?;
    Ok(match (relay.reload)().await {
        Ok(done) => {
            tracing::info!(who, "configuration reloaded");
            (Extension(Detail(done.clone())), Json(done)).into_response()
        }
        Err(findings) => {
            tracing::warn!(
                who,
                "configuration not reloaded: it has errors, and the old one stands"
            );
            (StatusCode::UNPROCESSABLE_ENTITY, Json(findings)).into_response()
        }
    })
}
