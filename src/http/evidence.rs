//! The decision log over HTTP, for those who look after privacy: what was decided, and whether the
//! log is whole.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
    routing::get,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{Relay, auth, error::ApiError};
use crate::{
    config::AdminRole,
    evidence::{self, Report, Wanted},
    pipeline,
    queue::{IdHash, Refused},
};

pub(super) fn routes() -> Router<Arc<Relay>> {
    Router::new()
        .route("/admin/v1/evidence", get(export))
        .route("/admin/v1/evidence/verify", get(verify))
}

/// Which records.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    site: Option<String>,
    event_id: Option<String>,
}

async fn export(
    State(relay): State<Arc<Relay>>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    let who = allow(&relay, &headers)?;
    let Asked { from, to, site, event_id } = asked;
    let event = event_id.as_deref().map(|id| pipeline::trace_hash(&relay.key, id));
    let wanted = Wanted { from, to, site, event, ..Wanted::default() };
    let take = |line: &str, _: &Value, all: &mut String| {
        all.push_str(line);
        all.push('\n');
    };
    let lines = read(&relay, wanted, take, String::new()).await?;
    tracing::info!(who, "the decision log was exported");
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

async fn verify(
    State(relay): State<Arc<Relay>>,
    headers: HeaderMap,
) -> Result<Json<Report>, ApiError> {
    allow(&relay, &headers)?;
    let (queue, data) = (relay.queue.clone(), relay.data.clone());
    let report = tokio::task::spawn_blocking(move || evidence::verify(&queue, &data)).await;
    Ok(Json(report.unwrap_or_else(|_| Err(gave_up()))?))
}

/// Every record of a person, by subject keys.
pub(super) async fn of_person(relay: &Relay, person: Vec<IdHash>) -> Result<Vec<Value>, ApiError> {
    let wanted = Wanted { person: Some(person), ..Wanted::default() };
    read(relay, wanted, |_, record, all: &mut Vec<Value>| all.push(record.clone()), Vec::new())
        .await
}

fn allow(relay: &Relay, headers: &HeaderMap) -> Result<String, ApiError> {
    let config = relay.config.load();
    auth::admin(&config, headers, &[AdminRole::Privacy]).map(|token| token.name.clone())
}

async fn read<T: Send + 'static>(
    relay: &Relay,
    wanted: Wanted,
    mut take: impl FnMut(&str, &Value, &mut T) + Send + 'static,
    mut all: T,
) -> Result<T, ApiError> {
    let (queue, data) = (relay.queue.clone(), relay.data.clone());
    let read = tokio::task::spawn_blocking(move || {
        let show = &mut |line: &str, record: &Value| take(line, record, &mut all);
        evidence::read(&queue, &data, &wanted, show).map(|()| all)
    });
    Ok(read.await.unwrap_or_else(|_| Err(gave_up()))?)
}

fn gave_up() -> Refused {
    Refused::Store("reading the decision log gave up (panicked)".to_owned())
}
