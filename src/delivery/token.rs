//! Access tokens: got with a refresh token or a service account's key, kept until shortly before
//! they end, and asked for by one at a time.
//!
//! It refuses to log or return anything of a credential but the token itself.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::{rand::SystemRandom, rsa, signature::RSA_PKCS1_SHA256};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::form_urlencoded;

use super::{
    client::{Client, Failure},
    jobs::Jobs,
    retry::{later, retry_after},
    rotation::{self, Keeper},
    settle::cut,
    sign::{Header, Signed},
};
use crate::destinations::{Auth, Fault, FaultKind, Response};

/// A token is renewed so long before it ends, so that none ends on its way.
const MARGIN: Duration = Duration::from_secs(60);

/// How long a token is believed where its answer does not say (RFC 6749, section 5.1, leaves it
/// open).
const UNSAID: Duration = Duration::from_secs(300);

/// How long an assertion holds; Google takes at most an hour.
/// <https://developers.google.com/identity/protocols/oauth2/service-account> (checked 2026-11-22).
const ASSERTION: Duration = Duration::from_secs(3_600);

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoToken {
    /// The token service is out of order or throttles: try again.
    Unavailable {
        /// What it asked for.
        after: Option<Duration>,
        /// What happened.
        message: String,
    },
    /// The credentials are refused or not readable.
    Fault(Fault),
}

/// The tokens of one destination.
#[derive(Debug, Default)]
pub struct Tokens {
    // Tokio's mutex, held while a token is asked for, on purpose: everybody else waits for that
    // one answer instead of asking too.
    current: tokio::sync::Mutex<Option<Token>>,
}

/// An access token.
#[derive(Debug)]
pub(super) struct Token {
    secret: SecretString,
    ends: Timestamp,
}

/// Whether a kind of proof has a token that can be had anew.
pub fn is_renewable(auth: &Auth) -> bool {
    matches!(
        auth,
        Auth::OAuthRefresh { .. } | Auth::OAuthRotating { .. } | Auth::ServiceAccount { .. }
    )
}

impl Tokens {
    /// The token for a kind of proof; `None` where it needs none. `keeper` keeps the grants that a
    /// token service replaces; without one there is no token of that kind.
    pub(super) async fn get<J: Jobs>(
        &self,
        client: &Client,
        auth: &Auth,
        keeper: Option<Keeper<'_, J>>,
        now: Timestamp,
    ) -> Result<Option<SecretString>, NoToken> {
        if !is_renewable(auth) {
            return Ok(None);
        }
        let mut current = self.current.lock().await;
        if let Some(token) = current.as_ref().filter(|token| now < token.ends) {
            return Ok(Some(token.secret.clone()));
        }
        let token = match (auth, keeper) {
            (Auth::OAuthRotating { refresh_token, .. }, Some(keeper)) => {
                rotation::renew(&keeper, client, auth, refresh_token, now).await?
            }
            _ => ask(client, auth, None, now).await?.0,
        };
        let secret = token.secret.clone();
        *current = Some(token);
        Ok(Some(secret))
    }

    /// Drops a token that was refused, unless another one took its place meanwhile.
    pub async fn forget(&self, refused: &SecretString) {
        let mut current = self.current.lock().await;
        let is_refused = |token: &Token| token.secret.expose_secret() == refused.expose_secret();
        if current.as_ref().is_some_and(is_refused) {
            *current = None;
        }
    }
}

/// Asks for a token. Also returns the grant's successor, where there is one. `grant` is today's
/// where it is replaced each time.
pub(super) async fn ask(
    client: &Client,
    auth: &Auth,
    grant: Option<&SecretString>,
    now: Timestamp,
) -> Result<(Token, Option<SecretString>), NoToken> {
    let request = request(auth, grant, now)?;
    let response = client.send(request).await.map_err(unreachable_service)?;
    read(&response, now)
}

/// The request for a token. Pure but for the signature's blinding, which needs randomness and does
/// not show it.
fn request(auth: &Auth, grant: Option<&SecretString>, now: Timestamp) -> Result<Signed, NoToken> {
    match auth {
        Auth::OAuthRefresh { token_url, client_id, client_secret, refresh_token, extra } => {
            let mut fields = vec![
                ("grant_type", "refresh_token"),
                ("client_id", client_id.as_str()),
                ("client_secret", client_secret.expose_secret()),
                ("refresh_token", refresh_token.expose_secret()),
            ];
            fields.extend(extra.iter().map(|(name, value)| (*name, value.as_str())));
            Ok(form(token_url, &fields))
        }
        Auth::OAuthRotating { token_url, client_id, client_secret, extra, .. } => {
            // Without somebody to keep its successor a grant would only be used up.
            let Some(grant) = grant else {
                let message = "nothing keeps the refresh token that would come back".to_owned();
                return Err(fault(FaultKind::Misconfigured, "no_token", message));
            };
            let mut fields =
                vec![("grant_type", "refresh_token"), ("client_id", client_id.as_str())];
            let secret = client_secret.as_ref();
            fields.extend(secret.map(|secret| ("client_secret", secret.expose_secret())));
            fields.push(("refresh_token", grant.expose_secret()));
            fields.extend(extra.iter().map(|(name, value)| (*name, value.as_str())));
            Ok(form(token_url, &fields))
        }
        Auth::ServiceAccount { token_url, key, scope } => {
            let assertion = assertion(token_url, key, scope, now)
                .map_err(|what| fault(FaultKind::Misconfigured, "service_account", what))?;
            let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
            Ok(form(token_url, &[("grant_type", grant), ("assertion", &assertion)]))
        }
        Auth::None
        | Auth::Bearer(_)
        | Auth::Header { .. }
        | Auth::Query { .. }
        | Auth::Basic { .. }
        | Auth::OAuth1 { .. }
        | Auth::HmacSha256 { .. } => {
            let message = "this kind of proof has no tokens".to_owned();
            Err(fault(FaultKind::Misconfigured, "no_token", message))
        }
    }
}

fn form(url: &str, fields: &[(&str, &str)]) -> Signed {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let header = |name: &str, value: &str| Header {
        name: name.to_owned(),
        value: value.to_owned(),
        is_secret: false,
    };
    Signed {
        method: "POST",
        url: url.to_owned(),
        headers: vec![
            header("content-type", "application/x-www-form-urlencoded"),
            header("accept", "application/json"),
        ],
        body: body.into_bytes(),
    }
}

/// What a service account's key file says, as far as it is needed.
#[derive(Deserialize)]
struct ServiceAccountKey {
    client_email: String,
    private_key: String,
    #[serde(default)]
    private_key_id: String,
}

/// A JWT signed by a service account (RFC 7523; RS256).
fn assertion(
    token_url: &str,
    key: &SecretString,
    scope: &str,
    now: Timestamp,
) -> Result<String, String> {
    // The error's own text could quote the key.
    let key: ServiceAccountKey = serde_json::from_str(key.expose_secret()).map_err(|_| {
        "the key is not a service account's JSON with client_email and private_key".to_owned()
    })?;
    let pem = PrivatePkcs8KeyDer::from_pem_slice(key.private_key.as_bytes())
        .map_err(|_| "private_key is not a PKCS#8 PEM".to_owned())?;
    let pair = rsa::KeyPair::from_pkcs8(pem.secret_pkcs8_der())
        .map_err(|error| format!("private_key is not an RSA key: {error}"))?;

    let header = serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": key.private_key_id});
    let claims = serde_json::json!({
        "iss": key.client_email,
        "scope": scope,
        "aud": token_url,
        "iat": now.as_second(),
        "exp": later(now, ASSERTION).as_second(),
    });
    let encode = |json: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let unsigned = format!("{}.{}", encode(&header), encode(&claims));
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), unsigned.as_bytes(), &mut signature)
        .map_err(|_| "private_key cannot sign".to_owned())?;
    Ok(format!("{unsigned}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    // A number (RFC 6749, section 5.1); some services write it as a string.
    #[serde(default)]
    expires_in: serde_json::Value,
    /// The grant's successor, where it is replaced (RFC 6749, section 6).
    refresh_token: Option<String>,
}

/// RFC 6749, section 5.2.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Denied {
    error: String,
    error_description: String,
}

/// The token, and the grant's successor where there is one.
fn read(response: &Response, now: Timestamp) -> Result<(Token, Option<SecretString>), NoToken> {
    let unavailable = |message: String| NoToken::Unavailable {
        after: response.header("retry-after").and_then(|value| retry_after(value, now)),
        message,
    };
    match response.status {
        200..=299 => {
            // The error's own text could quote the token.
            let granted: Granted = serde_json::from_slice(&response.body)
                .map_err(|_| unavailable("the token service's answer holds no token".to_owned()))?;
            let seconds = match &granted.expires_in {
                serde_json::Value::String(text) => text.parse().ok(),
                number => number.as_u64(),
            };
            let lasts = seconds.map_or(UNSAID, Duration::from_secs);
            // A very short-lived token still serves for half of its life.
            let lasts = lasts.saturating_sub(MARGIN).max(lasts / 2);
            let next = granted.refresh_token.filter(|next| !next.is_empty()).map(Into::into);
            Ok((Token { secret: granted.access_token.into(), ends: later(now, lasts) }, next))
        }
        400..=499 if !matches!(response.status, 408 | 425 | 429) => {
            let denied: Denied = serde_json::from_slice(&response.body).unwrap_or_default();
            let reason = match denied.error.as_str() {
                "" => format!("token/{}", response.status),
                error => cut(error),
            };
            Err(fault(FaultKind::Unauthorized, &reason, cut(&denied.error_description)))
        }
        status => Err(unavailable(format!("the token service answered {status}"))),
    }
}

fn unreachable_service(failure: Failure) -> NoToken {
    match failure {
        // A token asked for twice does no harm.
        Failure::NotSent(message) | Failure::Lost(message) => {
            NoToken::Unavailable { after: None, message: format!("token service: {message}") }
        }
        Failure::Misconfigured(fault) => NoToken::Fault(fault),
    }
}

fn fault(kind: FaultKind, reason: &str, message: String) -> NoToken {
    NoToken::Fault(Fault { kind, reason: reason.to_owned(), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &str) -> Response {
        Response { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn answers_of_a_token_service() {
        let now = Timestamp::UNIX_EPOCH;
        let token = |body: &str| read(&response(200, body), now).unwrap().0;
        let (first, next) = read(
            &response(200, r#"{"access_token":"t","expires_in":3599,"refresh_token":"r2"}"#),
            now,
        )
        .unwrap();
        assert_eq!(next.unwrap().expose_secret(), "r2");
        assert_eq!(first.ends.as_second(), 3_539);
        assert_eq!(token(r#"{"access_token":"t","expires_in":"3599"}"#).ends, first.ends);
        assert_eq!(token(r#"{"access_token":"t","expires_in":60}"#).ends.as_second(), 30);

        let denied = r#"{"error":"invalid_grant","error_description":"Token has been revoked."}"#;
        let Err(NoToken::Fault(fault)) = read(&response(400, denied), now) else { panic!() };
        assert_eq!((fault.kind, fault.reason.as_str()), (FaultKind::Unauthorized, "invalid_grant"));
        for (status, body) in [(500, ""), (429, ""), (200, "<html>"), (302, "")] {
            let answer = read(&response(status, body), now);
            assert!(matches!(answer, Err(NoToken::Unavailable { .. })), "{status}");
        }
    }

    #[test]
    fn a_refresh_is_a_form() {
        let auth = Auth::OAuthRefresh {
            token_url: "https://oauth.example.com/token".to_owned(),
            client_id: "c".to_owned(),
            client_secret: SecretString::from("s&1"),
            refresh_token: SecretString::from("r"),
            extra: vec![("scope", "a b".to_owned())],
        };
        let request = request(&auth, None, Timestamp::UNIX_EPOCH).unwrap();
        let body = String::from_utf8(request.body).unwrap();
        let form =
            "grant_type=refresh_token&client_id=c&client_secret=s%261&refresh_token=r&scope=a+b";
        assert_eq!(body, form);
    }

    #[test]
    fn a_key_that_cannot_be_read_is_a_fault_that_quotes_nothing() {
        for key in ["hunter2", r#"{"client_email":"a@b","private_key":"hunter2"}"#] {
            let auth = Auth::ServiceAccount {
                token_url: "https://oauth.example.com/token".to_owned(),
                key: SecretString::from(key),
                scope: "x",
            };
            let error = request(&auth, None, Timestamp::UNIX_EPOCH).unwrap_err();
            assert!(matches!(error, NoToken::Fault(_)));
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }
}
