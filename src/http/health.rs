//! Alive, and ready to accept.

use std::{sync::Arc, time::Duration};

use axum::{Json, Router, extract::State, response::IntoResponse, routing::get};
use serde_json::json;

use super::{Relay, error::ApiError};

pub(super) fn routes() -> Router<Arc<Relay>> {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz))
}

async fn healthz() -> impl IntoResponse {
    Json(json!({ "status": "alive" }))
}

/// Asks the committer itself: an admission of nothing is answered as one of something would be.
async fn readyz(State(relay): State<Arc<Relay>>) -> Result<impl IntoResponse, ApiError> {
    if relay.stop.is_cancelled() {
        return Err(ApiError::unavailable("stopping", "the relay is stopping", 5));
    }
    match tokio::time::timeout(Duration::from_secs(5), relay.queue.admit(Vec::new())).await {
        Ok(Ok(_)) => Ok(Json(json!({ "status": "ready" }))),
        Ok(Err(refused)) => Err(refused.into()),
        Err(_) => Err(ApiError::unavailable("store_failed", "the store does not answer", 10)),
    }
}
