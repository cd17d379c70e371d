//! GA4's Measurement Protocol: 204 as Google's, once what came is on disk, and its validation
//! server's answers, which keep nothing.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    Relay, auth, body, cors, count,
    error::ApiError,
    ingest::{Visit, run_told, settle},
    visitor,
};
use crate::{
    clock::Stopwatch,
    config::{Config, Right, WriteKey},
    sources::{self, Outcome, json::Node, measurement_protocol, told, told::Envelope},
};

const ROUTE: &str = "/mp/collect";
const DEBUG: &str = "/debug/mp/collect";

pub(super) fn routes() -> Router<Arc<Relay>> {
    Router::new()
        .route(ROUTE, post(collect).options(cors::preflight))
        .route(DEBUG, post(validate).options(cors::preflight))
}

async fn collect(State(relay): State<Arc<Relay>>, request: Request) -> Response {
    let watch = Stopwatch::start();
    let (parts, mut body) = request.into_parts();
    let response = match take(&relay, &parts, &mut body).await {
        // Google says nothing; what is refused is said here.
        Ok((StatusCode::ACCEPTED, _)) => StatusCode::NO_CONTENT.into_response(),
        Ok((status, answer)) => (status, Json(answer)).into_response(),
        Err(error) => refused(error, body, &parts).await,
    };
    answered(&relay, &parts, response, ROUTE, &watch)
}

async fn validate(State(relay): State<Arc<Relay>>, request: Request) -> Response {
    let watch = Stopwatch::start();
    let (parts, mut body) = request.into_parts();
    let response = match judge(&relay, &parts, &mut body).await {
        Ok(messages) => Json(json!({"validationMessages": messages})).into_response(),
        Err(error) => refused(error, body, &parts).await,
    };
    answered(&relay, &parts, response, DEBUG, &watch)
}

async fn refused(error: ApiError, body: Body, parts: &Parts) -> Response {
    body::drain(body, &parts.headers).await;
    error.into_response()
}

fn answered(
    relay: &Relay,
    parts: &Parts,
    mut response: Response,
    route: &'static str,
    watch: &Stopwatch,
) -> Response {
    cors::allow(&relay.config.load(), &parts.headers, &mut response);
    count::request(route, response.status(), watch.elapsed());
    response
}

/// Who sends, and what: the same limits for both calls.
async fn came<'c>(
    relay: &Relay,
    config: &'c Config,
    parts: &Parts,
    body: &mut Body,
) -> Result<(&'c WriteKey, Zeroizing<Vec<u8>>), ApiError> {
    let key = auth::write_key(config, &parts.headers, parts.uri.query())?;
    auth::right(key, Right::Events)?;
    visitor::admit(relay, config, key, parts)?;
    // Google's own endpoint looks at no content type.
    let bytes = body::read(body, &parts.headers, body::AtMost::request(&config.limits)).await?;
    Ok((key, bytes))
}

fn is_app(parts: &Parts) -> bool {
    auth::parameter(parts.uri.query().unwrap_or_default(), "firebase_app_id").is_some()
}

async fn take(
    relay: &Relay,
    parts: &Parts,
    body: &mut Body,
) -> Result<(StatusCode, Value), ApiError> {
    let config = relay.config.load_full();
    let (key, bytes) = came(relay, &config, parts, body).await?;
    let now = (relay.clock)();
    let batch = {
        let node = sources::one(&bytes, &config.limits)?;
        let visit = visit(key, parts, &config);
        let outcomes = outcomes(&config, parts, &node);
        run_told(relay, &config, outcomes, &visit, now)?
    };
    settle(relay, &config, batch, now).await
}

async fn judge(relay: &Relay, parts: &Parts, body: &mut Body) -> Result<Vec<Value>, ApiError> {
    let config = relay.config.load_full();
    let (key, bytes) = came(relay, &config, parts, body).await?;
    let now = (relay.clock)();
    let node = sources::one(&bytes, &config.limits)?;
    let mut messages = measurement_protocol::validate(&node, is_app(parts));
    if messages.is_empty() {
        let visit = visit(key, parts, &config);
        let outcomes = outcomes(&config, parts, &node);
        let batch = run_told(relay, &config, outcomes, &visit, now)?;
        let rejections = batch.rejections();
        messages.extend(rejections.map(measurement_protocol::explained));
    }
    Ok(messages)
}

/// The events of a request. Google's format knows no sites: the query may name one of the key's; and
/// a tag's own requests speak of consent there.
fn outcomes<'a>(config: &Config, parts: &Parts, node: &Node<'a>) -> Vec<Outcome<'a>> {
    let call = is_app(parts).then_some("app");
    let said = |name: &str| auth::parameter(parts.uri.query().unwrap_or_default(), name);
    let read = |e: &Envelope<'_>| told::MEASUREMENT_PROTOCOL.read(node, e);
    let outcomes = told::around(config, call, said("site").as_deref(), read);
    measurement_protocol::with_query(outcomes, &said)
}

fn visit<'a>(key: &'a WriteKey, parts: &'a Parts, config: &Config) -> Visit<'a> {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    Visit::of(key, peer.map(|info| info.0), &parts.headers, config)
}
