//! Who is calling: write keys on the public listener, tokens with roles on the admin one.
//!
//! Every candidate is compared with every known secret in constant time, so that an answer's delay
//! tells nothing of how much of a guess was right, or whose it was.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::{Choice, ConstantTimeEq as _};

use super::error::ApiError;
use crate::config::{AdminRole, AdminToken, Config, Right, WriteKey};

/// The write key of a request: `Authorization: Bearer KEY`, the user name of Basic auth, or
/// `api_secret` of the query.
pub(super) fn write_key<'c>(
    config: &'c Config,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<&'c WriteKey, ApiError> {
    let given = credential(headers).or_else(|| parameter(query?, "api_secret"));
    known(config, &given.ok_or_else(missing)?)
}

/// The write key that a browser gives outside of a body: as everybody does, or as `key`.
pub(super) fn given(headers: &HeaderMap, query: &str) -> Option<String> {
    let named = |name| parameter(query, name).filter(|key| !key.is_empty());
    credential(headers).or_else(|| named("key")).or_else(|| named("api_secret"))
}

/// Refuses a request without a write key.
pub(super) fn missing() -> ApiError {
    let detail = "send the write key as `Authorization: Bearer KEY`, as the user name of Basic \
                  auth, or as api_secret";
    ApiError::unauthorized(detail)
}

/// The write key with this secret.
pub(super) fn known<'c>(config: &'c Config, given: &str) -> Result<&'c WriteKey, ApiError> {
    find(&config.write_keys, |key| &key.key, given)
        .ok_or_else(|| ApiError::unauthorized("the write key is unknown"))
}

/// The write key of a request, or the one that its body bears: browsers' SDKs and beacons put it
/// there.
pub(super) fn write_key_or<'c>(
    config: &'c Config,
    headers: &HeaderMap,
    given: Option<&str>,
) -> Result<&'c WriteKey, ApiError> {
    match (credential(headers), given) {
        (None, Some(given)) => known(config, given),
        _ => write_key(config, headers, None),
    }
}

/// Refuses a write key that lacks a right.
pub(super) fn right(key: &WriteKey, right: Right) -> Result<(), ApiError> {
    if key.may.contains(&right) {
        return Ok(());
    }
    let name = match right {
        Right::Events => "events",
        Right::Consent => "consent",
        Right::Explain => "explain",
    };
    let detail = format!("this write key lacks the right {name:?}; add it to the key's `may`");
    Err(ApiError::not_allowed(detail))
}

/// The admin token of a request, which must have one of the roles.
pub(super) fn admin<'c>(
    config: &'c Config,
    headers: &HeaderMap,
    roles: &[AdminRole],
) -> Result<&'c AdminToken, ApiError> {
    let given = credential(headers).ok_or_else(|| {
        ApiError::unauthorized("send an admin token as `Authorization: Bearer TOKEN`")
    })?;
    let token = admin_token(config, &given)
        .ok_or_else(|| ApiError::unauthorized("the admin token is unknown"))?;
    if token.roles.iter().any(|role| roles.contains(role)) {
        return Ok(token);
    }
    let names: Vec<&str> = roles.iter().map(|role| role_name(*role)).collect();
    Err(ApiError::not_allowed(format!("this call needs the role {}", names.join(" or "))))
}

/// Whose admin token a request carries, whatever it may do.
pub(super) fn who<'c>(config: &'c Config, headers: &HeaderMap) -> Option<&'c AdminToken> {
    admin_token(config, &credential(headers)?)
}

/// Every one is compared, so that the time tells nothing of whose it was.
fn admin_token<'c>(config: &'c Config, given: &str) -> Option<&'c AdminToken> {
    config
        .admin_tokens
        .iter()
        .fold(None, |found, token| if token.token.is_of(given) { Some(token) } else { found })
}

fn role_name(role: AdminRole) -> &'static str {
    match role {
        AdminRole::Viewer => "viewer",
        AdminRole::Media => "media",
        AdminRole::Privacy => "privacy",
        AdminRole::Operator => "operator",
    }
}

fn find<'a, T>(known: &'a [T], secret: fn(&T) -> &SecretString, given: &str) -> Option<&'a T> {
    let mut found = None;
    for item in known {
        let own = secret(item).expose_secret();
        // An empty secret would be a door without a lock.
        let is_set = Choice::from(u8::from(!own.is_empty()));
        if bool::from(own.as_bytes().ct_eq(given.as_bytes()) & is_set) {
            found = Some(item);
        }
    }
    found
}

/// The secret in `Authorization`: a bearer token, or the user name of Basic auth.
fn credential(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.trim().split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(rest).ok()?;
    let pair = String::from_utf8(decoded).ok()?;
    pair.split_once(':').map(|(user, _)| user.to_owned())
}

/// One parameter of a query, decoded.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::KeyKind, sources::fixtures};

    fn headers(authorization: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        headers
    }

    #[test]
    fn keys_come_in_three_ways() {
        let config = fixtures::config();
        let name = |headers: &HeaderMap, query: Option<&str>| {
            write_key(&config, headers, query)
                .map(|key| key.name.as_str())
                .map_err(|e| e.status.as_u16())
        };
        // `dev-key:` in base64.
        for authorization in ["Bearer dev-key", "bearer  dev-key ", "Basic ZGV2LWtleTo="] {
            assert_eq!(name(&headers(authorization), None), Ok("backend"), "{authorization}");
        }
        assert_eq!(name(&HeaderMap::new(), Some("a=b&api_secret=dev%2Dkey")), Ok("backend"));
        for authorization in
            ["Bearer dev-ke", "Bearer dev-key2", "Bearer ", "Digest dev-key", "Basic !"]
        {
            assert_eq!(name(&headers(authorization), None), Err(401), "{authorization}");
        }
        assert_eq!(name(&HeaderMap::new(), Some("a=b")), Err(401));
    }

    #[test]
    fn an_empty_secret_opens_nothing() {
        let mut config = fixtures::config();
        config.write_keys[0].key = String::new().into();
        assert!(write_key(&config, &HeaderMap::new(), Some("api_secret=")).is_err());
    }

    #[test]
    fn rights_and_roles() {
        let key = fixtures::key(KeyKind::Server);
        assert!(right(&key, Right::Events).is_ok());
        assert_eq!(right(&key, Right::Explain).unwrap_err().code, "not_allowed");
        let mut config = fixtures::config();
        config.admin_tokens.push(AdminToken {
            name: "jane".to_owned(),
            token: "t".to_owned().into(),
            roles: vec![AdminRole::Viewer],
        });
        let status = |roles: &[AdminRole], with: &str| {
            admin(&config, &headers(with), roles)
                .map(|t| t.name.clone())
                .map_err(|e| e.status.as_u16())
        };
        assert_eq!(
            status(&[AdminRole::Viewer, AdminRole::Media], "Bearer t"),
            Ok("jane".to_owned())
        );
        assert_eq!(status(&[AdminRole::Operator], "Bearer t"), Err(403));
        assert_eq!(status(&[AdminRole::Viewer], "Bearer u"), Err(401));
    }
}
