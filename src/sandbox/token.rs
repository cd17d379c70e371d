//! Tokens and signatures as the sandbox's platforms check them. Nothing here guards anything real:
//! every secret of the sandbox is `sandbox-` and the name of its key.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;
use sha2::Sha256;

use super::{contract::Auth, find::at, format::hex};

/// How long an OAuth token of the sandbox lives, in seconds.
pub(super) const LIFE: i64 = 3_599;

/// RFC 3986: all but these is escaped when OAuth 1.0a signs.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What credentials can be read from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) platform: &'a str,
    pub(super) method: &'a str,
    /// The URL as it was called, without its query.
    pub(super) url: &'a str,
    pub(super) query: &'a [(String, String)],
    pub(super) headers: &'a [(String, String)],
    pub(super) body: &'a [u8],
    pub(super) document: &'a Value,
    pub(super) now: Timestamp,
}

/// A token that says itself until when it holds, so that the sandbox need not remember it.
pub(super) fn issue(platform: &str, now: Timestamp) -> String {
    format!("{}{}", prefix(platform), now.as_second().saturating_add(LIFE))
}

/// Why credentials are refused; nothing if one of the ways holds, or none is asked for.
pub(super) fn refused(ways: &[Auth], shown: Shown<'_>) -> Option<&'static str> {
    let mut why = None;
    for way in ways {
        match one(way, shown) {
            Credential::Right => return None,
            Credential::Wrong(what) => why = Some(what),
            Credential::Absent => {}
        }
    }
    if ways.is_empty() { None } else { why.or(Some("no credentials were sent")) }
}

enum Credential {
    Right,
    Wrong(&'static str),
    Absent,
}

fn one(way: &Auth, shown: Shown<'_>) -> Credential {
    let header = |name: &str| {
        let found = shown.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    };
    let same = |found: Option<&str>, value: &str| match found {
        None | Some("") => Credential::Absent,
        Some(found) if found == value => Credential::Right,
        Some(_) => Credential::Wrong("the token is not the sandbox's"),
    };
    match way {
        Auth::Header { name, value } => same(header(name), value),
        Auth::Query { name, value } => {
            let found = shown.query.iter().find(|(key, _)| key == name);
            same(found.map(|(_, value)| value.as_str()), value)
        }
        Auth::Body { path, value } => same(at(shown.document, path).and_then(Value::as_str), value),
        Auth::Basic { value } => {
            let Some(coded) = header("authorization").and_then(|text| text.strip_prefix("Basic "))
            else {
                return Credential::Absent;
            };
            let decoded = STANDARD.decode(coded).unwrap_or_default();
            let right = decoded.strip_suffix(b":").unwrap_or(&decoded) == value.as_bytes();
            if right {
                Credential::Right
            } else {
                Credential::Wrong("the user or password is wrong")
            }
        }
        Auth::Oauth { with } => {
            if with.iter().any(|(name, value)| header(name) != Some(value.as_str())) {
                return Credential::Wrong("a header that goes with the token is not the sandbox's");
            }
            match header("authorization").and_then(|text| text.strip_prefix("Bearer ")) {
                None => Credential::Absent,
                Some(token) => oauth(shown.platform, token, shown.now),
            }
        }
        Auth::HmacSha256 { header: word, secret } => {
            let found = shown.headers.iter().find(|(name, _)| name.contains(word.as_str()));
            let Some((_, signature)) = found else { return Credential::Absent };
            let digest = signature.strip_prefix("sha256=").unwrap_or(signature);
            if digest == hmac_sha256(secret.as_bytes(), shown.body) {
                Credential::Right
            } else {
                Credential::Wrong("the signature is not the body's HMAC-SHA256")
            }
        }
        Auth::Oauth1 => {
            match header("authorization").and_then(|text| text.strip_prefix("OAuth ")) {
                None => Credential::Absent,
                Some(params) => oauth1(params, shown),
            }
        }
    }
}

fn prefix(platform: &str) -> String {
    format!("sandbox-oauth-{platform}-")
}

fn oauth(platform: &str, token: &str, now: Timestamp) -> Credential {
    match token.strip_prefix(&prefix(platform)).and_then(|text| text.parse::<i64>().ok()) {
        Some(end) if end > now.as_second() => Credential::Right,
        Some(_) => Credential::Wrong("the access token has expired"),
        None => Credential::Wrong("the access token was not given here"),
    }
}

/// The HMAC-SHA256 of a body in hex.
fn hmac_sha256(key: &[u8], body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(body);
    hex(&mac.finalize().into_bytes())
}

/// Checks an OAuth 1.0a header as RFC 5849 says; a JSON body is not signed.
fn oauth1(header: &str, shown: Shown<'_>) -> Credential {
    let mut params = Vec::new();
    let mut signature = String::new();
    for part in header.split(',') {
        let Some((name, value)) = part.trim().split_once('=') else {
            return Credential::Wrong("the OAuth header cannot be read");
        };
        let value = percent_decode_str(value.trim_matches('"')).decode_utf8_lossy().into_owned();
        match name {
            "oauth_signature" => signature = value,
            "realm" => {}
            _ => params.push((name.to_owned(), value)),
        }
    }
    let has =
        |name: &str, wanted: &str| params.iter().any(|(key, value)| key == name && value == wanted);
    if !has("oauth_consumer_key", "sandbox-consumer_key")
        || !has("oauth_token", "sandbox-access_token")
    {
        return Credential::Wrong("the consumer key or the access token is not the sandbox's");
    }
    if !has("oauth_signature_method", "HMAC-SHA1")
        || !params.iter().any(|(key, _)| key == "oauth_nonce")
    {
        return Credential::Wrong("the OAuth header lacks a nonce or HMAC-SHA1");
    }
    let time = params.iter().find(|(key, _)| key == "oauth_timestamp");
    let time = time.and_then(|(_, value)| value.parse::<i64>().ok()).unwrap_or_default();
    // The platform allows for five minutes of skew.
    if shown.now.as_second().abs_diff(time) > 300 {
        return Credential::Wrong("the OAuth timestamp is off by more than five minutes");
    }
    params.extend(shown.query.iter().cloned());
    let key = "sandbox-consumer_secret&sandbox-access_token_secret";
    if signature == oauth1_signature(shown.method, shown.url, &params, key) {
        Credential::Right
    } else {
        Credential::Wrong("the OAuth signature does not hold")
    }
}

fn oauth1_signature(method: &str, url: &str, params: &[(String, String)], key: &str) -> String {
    let escape = |text: &str| utf8_percent_encode(text, ESCAPED).to_string();
    let mut pairs: Vec<_> =
        params.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    pairs.sort();
    let base = format!("{method}&{}&{}", escape(url), escape(&pairs.join("&")));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
    STANDARD.encode(ring::hmac::sign(&key, base.as_bytes()))
}

/// What is wrong with a service account's assertion; the signature's value is not checked, since
/// the sandbox does not know the account's key.
pub(super) fn wrong_assertion(text: &str, now: Timestamp) -> Option<&'static str> {
    let parts: Vec<_> = text.split('.').map(|part| URL_SAFE_NO_PAD.decode(part)).collect();
    let [Ok(header), Ok(claims), Ok(signature)] = parts.as_slice() else {
        return Some("is no JSON Web Token of three base64url parts");
    };
    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let (header, claims) = (read(header), read(claims));
    if header.get("alg").and_then(Value::as_str) != Some("RS256") {
        return Some("must be signed with RS256");
    }
    // RSA keys of service accounts have 2048 bits or more.
    if signature.len() < 256 {
        return Some("has a signature that is too short for RS256");
    }
    let named =
        |name: &str| claims.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if !(named("iss") && named("scope") && named("aud")) {
        return Some("lacks iss, scope or aud");
    }
    let at = |name: &str| claims.get(name).and_then(Value::as_i64);
    let (Some(issued), Some(ends)) = (at("iat"), at("exp")) else {
        return Some("lacks iat or exp in seconds");
    };
    if ends.saturating_sub(issued) > 3_600 {
        return Some("is valid for more than an hour");
    }
    if ends <= now.as_second() || issued > now.as_second().saturating_add(60) {
        return Some("is not valid now");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    // Computed apart, by RFC 5849; a JSON body is not part of what is signed.
    #[test]
    fn oauth1_signatures_agree_with_known_ones() {
        let params = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let signature = oauth1_signature(
            "POST",
            "https://ads-api.x.com/12/measurement/conversions/o8z6j",
            &params(&[
                ("oauth_consumer_key", "ck"),
                ("oauth_nonce", "abc123"),
                ("oauth_signature_method", "HMAC-SHA1"),
                ("oauth_timestamp", "1700000000"),
                ("oauth_token", "tk"),
                ("oauth_version", "1.0"),
            ]),
            "cs&ts",
        );
        assert_eq!(signature, "bFugzAaPhzn9J8nDQYKst1lOUv4=");
    }

    #[test]
    fn tokens_hold_until_they_expire_and_only_where_they_were_given() {
        let now: Timestamp = "2026-11-22T04:00:00Z".parse().unwrap();
        let token = issue("p", now);
        assert!(matches!(oauth("p", &token, now), Credential::Right));
        let later = now + jiff::SignedDuration::from_secs(LIFE);
        assert!(matches!(oauth("p", &token, later), Credential::Wrong(_)));
        assert!(matches!(oauth("q", &token, now), Credential::Wrong(_)));
    }

    #[test]
    fn assertions_are_looked_at() {
        let now: Timestamp = "2026-11-22T04:00:00Z".parse().unwrap();
        let at = now.as_second();
        let token = |alg: &str, iat: i64, exp: i64, signature: usize| {
            let part = |text: String| URL_SAFE_NO_PAD.encode(text);
            let claims =
                format!(r#"{{"iss":"a@b.example","scope":"s","aud":"u","iat":{iat},"exp":{exp}}}"#);
            let signature = URL_SAFE_NO_PAD.encode(vec![7; signature]);
            format!("{}.{}.{signature}", part(format!(r#"{{"alg":"{alg}"}}"#)), part(claims))
        };
        assert_eq!(wrong_assertion(&token("RS256", at, at + 3600, 256), now), None);
        assert!(wrong_assertion(&token("HS256", at, at + 3600, 256), now).is_some());
        assert!(wrong_assertion(&token("RS256", at, at + 7200, 256), now).is_some());
        assert!(wrong_assertion(&token("RS256", at - 7200, at - 3600, 256), now).is_some());
        assert!(wrong_assertion(&token("RS256", at, at + 3600, 32), now).is_some());
        assert!(wrong_assertion("a.b", now).is_some());
    }
}
