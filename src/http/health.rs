//! Alive, and ready to accept.

use std::sync::Arc;

use axum::{Json, Router, extract::State, response::IntoResponse, routing::get};
use serde_json::json;

use super::{Relay, error::ApiError};

pub(super) fn routes() -> Router<Arc<Relay>> {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz))
}

async fn healthz() -> impl IntoResponse {
    Json(json!({ "status": "alive" }))
}

async fn readyz(State(relay): State<Arc<Relay>>) -> Result<impl IntoResponse, ApiError> {
    if relay.stop.is_cancelled() {
        return Err(ApiError::unavailable("stopping", "the relay is stopping", 5));
    }
    relay.queue.ready().map_err(|refused| ApiError::not_ready(&refused))?;
    Ok(Json(json!({ "status": "ready" })))
}
