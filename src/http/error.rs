//! Refusals of whole requests: `{"code", "detail"}` with a status. Never identity, never a secret.

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{queue::Refused, sources::Unframed};

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    /// Stable, for programs.
    pub(super) code: &'static str,
    /// What was wrong and what to do, for people.
    pub(super) detail: String,
    header: Option<(HeaderName, HeaderValue)>,
}

/// The code of a refusal, left on its answer for whoever writes it down.
#[derive(Debug, Clone, Copy)]
pub(super) struct Code(pub(super) &'static str);

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), header: None }
    }

    pub(super) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub(super) fn unauthorized(detail: &str) -> Self {
        let challenge = HeaderValue::from_static("Bearer");
        Self {
            header: Some((header::WWW_AUTHENTICATE, challenge)),
            ..Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        }
    }

    pub(super) fn not_allowed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "not_allowed", detail)
    }

    pub(super) fn not_found(detail: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    pub(super) fn method_not_allowed() -> Self {
        let detail = "this call takes another method; see GET /openapi.json";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
    }

    pub(super) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    pub(super) fn unsupported(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    }

    pub(super) fn too_many_requests(detail: impl Into<String>, seconds: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(seconds)
    }

    pub(super) fn unavailable(code: &'static str, detail: impl Into<String>, seconds: u64) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(seconds)
    }

    fn retry_after(mut self, seconds: u64) -> Self {
        self.header = Some((header::RETRY_AFTER, HeaderValue::from(seconds.max(1))));
        self
    }
}

impl ApiError {
    /// Events would be refused now.
    pub(super) fn not_ready(refused: &Refused) -> Self {
        Self::refused(refused, "events are refused until that is over")
    }

    fn refused(refused: &Refused, what: &str) -> Self {
        let (code, seconds) = match refused {
            Refused::Full(_) => ("queue_full", 10),
            Refused::Store(_) => ("store_failed", 10),
            Refused::Stopping => ("stopping", 5),
        };
        Self::unavailable(code, format!("{refused}; {what}"), seconds)
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        Self::refused(&refused, "nothing was kept, send it again")
    }
}

impl From<Unframed> for ApiError {
    fn from(unframed: Unframed) -> Self {
        let detail = unframed.to_string();
        match unframed {
            Unframed::Malformed(_) => ApiError::bad_request("malformed_json", detail),
            Unframed::NotEvents(_) => ApiError::bad_request("not_events", detail),
            Unframed::TooMany { .. } => ApiError::too_large(detail),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(json!({ "code": self.code, "detail": self.detail }));
        let mut response = (self.status, body).into_response();
        response.extensions_mut().insert(Code(self.code));
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
