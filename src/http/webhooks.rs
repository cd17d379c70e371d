//! `POST /v1/webhooks/{name}`: signed deliveries. The raw bytes are held against their signature
//! before anything of them is read.
//!
//! A delivery that was taken once is refused from then on, as long as event ids are kept: it is noted
//! once its events are on disk, so that what a sender tries again after an answer other than 202 is
//! taken.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Request, State},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};

use super::{
    Relay, body, count,
    error::ApiError,
    ingest::{Visit, run_told, settle},
};
use crate::{
    clock::Stopwatch,
    config::WebhookKind,
    consent::Whereabouts,
    queue::IdHash,
    sources::{self, Door, DoorKind, mapped, signed, told},
};

const ROUTE: &str = "/v1/webhooks/{name}";

/// The door by which `[memory] use_for` knows webhooks.
const DOOR: &str = "webhook";

pub(super) fn routes() -> Router<Arc<Relay>> {
    Router::new().route(ROUTE, post(deliver))
}

async fn deliver(
    State(relay): State<Arc<Relay>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let watch = Stopwatch::start();
    let (parts, mut body) = request.into_parts();
    let response = match take(&relay, &name, &parts, &mut body).await {
        Ok((status, answer)) => (status, Json(answer)).into_response(),
        Err(error) => {
            body::drain(body, &parts.headers).await;
            error.into_response()
        }
    };
    count::request(ROUTE, response.status(), watch.elapsed());
    response
}

async fn take(
    relay: &Relay,
    name: &str,
    parts: &Parts,
    body: &mut Body,
) -> Result<(StatusCode, Value), ApiError> {
    let config = relay.config.load_full();
    let Some(source) = config.webhooks.get(name) else {
        return Err(ApiError::not_found("no webhook of this name is configured"));
    };
    let bytes = body::read(body, &parts.headers, body::AtMost::request(&config.limits)).await?;
    let now = (relay.clock)();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let delivery = signed::verify(source, &header, &bytes, now)
        .map_err(|why| ApiError::unauthorized(&why.to_string()))?;
    let known_by = |of: &[u8]| relay.key.keyed("delivery", &[name.as_bytes(), of]);
    let mut deliveries = vec![known_by(&delivery)];
    if let Some(id_header) = &source.hmac.id_header {
        let id = header(id_header).map(str::trim).filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| ApiError::unauthorized("the delivery's id is missing"))?;
        deliveries.push(known_by(&[b"id\0", id.as_bytes()].concat()));
    }
    refuse_replay(relay, &deliveries).await?;
    let node = sources::one(&bytes, &config.limits)?;
    if !source.hmac.id.is_empty() {
        let id = mapped::delivery_id(&source.hmac.id, &node).ok_or_else(|| {
            let path = source.hmac.id.join(".");
            ApiError::bad_request("missing_field", format!("the delivery has no id at {path}"))
        })?;
        let by_id = known_by(&[b"id\0", id.as_bytes()].concat());
        refuse_replay(relay, &[by_id]).await?;
        deliveries.push(by_id);
    }
    let batch = {
        let topic = header("x-shopify-topic");
        let outcomes =
            told::around(&config, topic, Some(&source.site), |envelope| match source.kind {
                WebhookKind::Shopify => told::SHOPIFY.read(&node, envelope),
                WebhookKind::Stripe => told::STRIPE.read(&node, envelope),
                WebhookKind::Hmac => vec![mapped::read(&source.fields, &node, envelope)],
            });
        // What a sender's connection shows is its own.
        let visit = Visit {
            door: Door { kind: DoorKind::Live, ..Door::default() },
            whereabouts: Whereabouts {
                event_is_believed: true,
                door: Some(DOOR),
                ..Whereabouts::default()
            },
        };
        run_told(relay, &config, outcomes, &visit, now)?
    };
    if batch.is_empty() {
        return Ok((StatusCode::ACCEPTED, json!({"accepted": 0, "ignored": 1})));
    }
    let (status, answer) = settle(relay, &config, batch, now).await?;
    if status == StatusCode::ACCEPTED {
        for delivery in deliveries {
            relay.queue.note_delivery(delivery).await?;
        }
    }
    Ok((status, answer))
}

/// Refuses what was taken before, by its bytes or by the id that its sender gives it.
async fn refuse_replay(relay: &Relay, deliveries: &[IdHash]) -> Result<(), ApiError> {
    for delivery in deliveries {
        if relay.queue.knows_delivery(*delivery).await? {
            return Err(ApiError::unauthorized("this delivery was taken before: a replay"));
        }
    }
    Ok(())
}
