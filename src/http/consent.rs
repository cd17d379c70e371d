//! `POST /v1/consent`: a choice by itself, remembered for later events without a signal of their own,
//! and applied to what waits. Answered when both are on disk.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::post,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Relay, auth, body, count,
    error::ApiError,
    ingest::{Visit, street},
    visitor,
};
use crate::{
    clock::Stopwatch,
    config::{Config, Right, WriteKey},
    consent::memory::Remembered,
    pipeline::{self, ChoiceMade},
    queue::IdHash,
    sources::{self, Form, Rejection, RejectionCode, json::Node, native},
};

const ROUTE: &str = "/v1/consent";

pub(super) fn routes() -> Router<Arc<Relay>> {
    Router::new().route(ROUTE, post(consent))
}

async fn consent(State(relay): State<Arc<Relay>>, request: Request) -> Response {
    let watch = Stopwatch::start();
    let (parts, mut body) = request.into_parts();
    let (status, response) = match take(&relay, &parts, &mut body).await {
        Ok(answer) => (StatusCode::ACCEPTED, (StatusCode::ACCEPTED, Json(answer)).into_response()),
        Err(error) => {
            body::drain(body, &parts.headers).await;
            (error.status, error.into_response())
        }
    };
    count::request(ROUTE, status, watch.elapsed());
    response
}

async fn take(relay: &Relay, parts: &Parts, body: &mut Body) -> Result<Value, ApiError> {
    let config = relay.config.load_full();
    let key = auth::write_key(&config, &parts.headers, parts.uri.query())?;
    auth::right(key, Right::Consent)?;
    visitor::admit(relay, &config, key, parts)?;
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    if Form::of(content_type) != Some(Form::Json) {
        return Err(ApiError::unsupported("a choice comes as application/json"));
    }
    let body = body::read(body, &parts.headers, body::AtMost::event(&config.limits)).await?;
    let now = (relay.clock)();
    let made = {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let visit = Visit::of(key, peer.map(|info| info.0), &parts.headers, &config);
        let node = sources::one(&body, &config.limits)?;
        read(relay, &config, &visit, &node, now)?
    };
    let warnings = made.warnings.clone();
    let mut answer = json!({"accepted": 1, "queued_changed": keep(relay, key, made).await?});
    if let (false, Some(answer)) = (warnings.is_empty(), answer.as_object_mut()) {
        let warning = |w: &sources::Warning| json!({"code": w.code.name(), "message": w.message});
        answer.insert("warnings".to_owned(), warnings.iter().map(warning).collect());
    }
    Ok(answer)
}

/// Who chose what.
pub(super) fn read(
    relay: &Relay,
    config: &Config,
    visit: &Visit<'_>,
    node: &Node<'_>,
    now: Timestamp,
) -> Result<ChoiceMade, ApiError> {
    let nothing = |_: &[IdHash]| Remembered::default();
    let street = street(relay, config, &nothing, &|_, _| None);
    native::choice(node, &visit.door, config, now)
        .and_then(|read| pipeline::choice(&street, read, &visit.whereabouts))
        .map_err(refused)
}

/// Has the queue remember it; how much of what waits it changed.
pub(super) async fn keep(relay: &Relay, key: &WriteKey, made: ChoiceMade) -> Result<u64, ApiError> {
    let (site, controller) = (made.of.0.as_str(), made.of.1.as_str());
    let words = pipeline::act("choice", (site, controller), &made.subjects, &key.name, made.words);
    let judge = relay.judge.clone();
    let reached = relay.queue.choose(made.subjects, made.choice, judge, words).await?;
    Ok(reached.count)
}

/// A choice is one thing: what is wrong with it is wrong with the request.
pub(super) fn refused(rejection: Rejection) -> ApiError {
    let Rejection { code, message, path, event_id: _ } = rejection;
    let status = match code {
        RejectionCode::NotAllowed => StatusCode::FORBIDDEN,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let place = if path.is_empty() { String::new() } else { format!("{path}: ") };
    ApiError::new(status, code.name(), format!("{place}{message}"))
}
