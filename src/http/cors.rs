//! Pages of the configured origins may post with a browser's key from another origin; nobody else may.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};

use crate::config::{Config, KeyKind, WriteKey};

/// Answers a preflight. Which key will come is not known yet: any browser key's origins count, and
/// the call itself is held against its own.
pub(super) fn preflight(config: &Config, headers: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let keys = config.write_keys.iter();
    if allow(keys, headers, &mut response) {
        // SDKs set headers of their own, and new versions new ones; none of them opens anything.
        let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let headers = response.headers_mut();
        let methods = HeaderValue::from_static("GET, POST");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        if let Some(asked) = asked {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

/// Lets a page of a configured origin read the answer.
pub(super) fn allow<'k>(
    mut keys: impl Iterator<Item = &'k WriteKey>,
    headers: &HeaderMap,
    response: &mut Response,
) -> bool {
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let Ok(text) = origin.to_str() else { return false };
    let listed = keys.any(|key| {
        key.kind == KeyKind::Browser && key.origins.iter().any(|own| own.eq_ignore_ascii_case(text))
    });
    if listed {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        // RudderStack's and Segment's SDKs may be told to send credentials.
        let credentials = HeaderValue::from_static("true");
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials);
    }
    listed
}
