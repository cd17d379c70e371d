//! Cross-origin requests: which origin's pages may post, and read the answer. Only what a browser
//! key lists; never any origin, never `null`.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};

use super::{Relay, error::ApiError};
use crate::config::{Config, KeyKind, WriteKey};

/// How long a browser need not ask again; Chromium remembers no longer.
const MAX_AGE: &str = "7200";

/// The origin of the page that asks, if a page asks.
pub(super) fn origin(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ORIGIN).map(|value| value.to_str().unwrap_or("null"))
}

/// Whether a key may be used from where a request comes: a browser's from the origins that it
/// lists, and where it lists none from the relay's own. Who sends no `Origin` is no page.
pub(super) fn may_use(key: &WriteKey, headers: &HeaderMap) -> bool {
    let (KeyKind::Browser, Some(origin)) = (key.kind, origin(headers)) else { return true };
    if key.origins.is_empty() { is_own(origin, headers) } else { lists(key, origin) }
}

fn lists(key: &WriteKey, origin: &str) -> bool {
    key.origins.iter().any(|own| own.eq_ignore_ascii_case(origin))
}

/// Whether the page was served under the very host that it posts to.
fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    matches!((host, authority), (Some(host), Some(own)) if own.eq_ignore_ascii_case(host))
}

/// Answers a browser that asks before it posts. It does not show the key, so that any browser key's
/// origin will do.
pub(super) async fn preflight(
    State(relay): State<std::sync::Arc<Relay>>,
    headers: HeaderMap,
) -> Response {
    let config = relay.config.load();
    let mut response = if is_listed(&config, &headers) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let detail = "no browser key lists this origin in its `origins`";
        ApiError::not_allowed(detail).into_response()
    };
    let is_allowed = allow(&config, &headers, &mut response);
    if is_allowed {
        let answered = response.headers_mut();
        let methods = HeaderValue::from_static("GET, POST");
        answered.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        answered.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
        // SDKs set headers of their own, and new versions new ones; none of them opens anything.
        if let Some(asked) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            answered.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
    }
    response
}

fn is_listed(config: &Config, headers: &HeaderMap) -> bool {
    let keys = || config.write_keys.iter().filter(|key| key.kind == KeyKind::Browser);
    origin(headers).is_some_and(|origin| keys().any(|key| lists(key, origin)))
}

/// Lets the page read the answer, where its origin is one of a browser key's. What is cached is
/// cached for that origin only.
pub(super) fn allow(config: &Config, headers: &HeaderMap, response: &mut Response) -> bool {
    response.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
    let Some(origin) = headers.get(header::ORIGIN).filter(|_| is_listed(config, headers)) else {
        return false;
    };
    let yes = HeaderValue::from_static("true");
    let answered = response.headers_mut();
    answered.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    // Cookies: the relay's own, of its own site.
    answered.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
    const EXPOSED: HeaderName = header::ACCESS_CONTROL_EXPOSE_HEADERS;
    answered.insert(EXPOSED, HeaderValue::from_static("retry-after"));
    true
}
