//! HTTP from a shell to a running relay: the commands `send`, `dead`, `stats` and their like.
//!
//! It talks to relays only; what goes to platforms goes through `delivery`. It follows no redirect,
//! since a key is in every request, and never prints a URL's user part.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Url, header, redirect};
use secrecy::{ExposeSecret as _, SecretString};

/// For one request. A relay answers in milliseconds, or says that it cannot.
const TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of one relay.
#[derive(Debug)]
pub(super) struct HttpClient {
    http: reqwest::Client,
    base: Url,
    token: Option<SecretString>,
    timeout: Duration,
    door: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Certificates {
    Verified,
    OfAnyoneHere,
}

/// What a relay answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// HTTP status.
    pub(super) status: u16,
    /// `Retry-After`, where it names seconds.
    pub(super) retry_after: Option<Duration>,
    /// The body.
    pub(super) body: Vec<u8>,
}

impl HttpClient {
    /// A client of the relay at a base URL, with a key that goes as `Authorization: Bearer`.
    pub(super) fn new(base: &str, token: Option<SecretString>) -> anyhow::Result<Self> {
        Self::with(base, token, Certificates::Verified)
    }

    /// A client that has no secret to tell, and so needs not know whose the certificate of a listener
    /// on this machine's loopback is: it hardly ever names that.
    pub(super) fn of_anyone(base: &str) -> anyhow::Result<Self> {
        Self::with(base, None, Certificates::OfAnyoneHere)
    }

    fn with(
        base: &str,
        token: Option<SecretString>,
        certificates: Certificates,
    ) -> anyhow::Result<Self> {
        let base: Url = base.parse().with_context(|| format!("`{base}` is not a URL"))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            bail!("`{base}` is not an http or https URL");
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Err means that somebody else installed one in the meantime, which is as good.
            rustls::crypto::ring::default_provider().install_default().ok();
        }
        #[allow(clippy::disallowed_methods, reason = "a client of relays, not of platforms")]
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("conversion-relay/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT);
        if base.scheme() == "http" {
            // Without TLS no certificates are needed: a minimal container has none.
            builder = builder.tls_certs_only([]);
        }
        if is_loopback(&base) {
            builder = builder.no_proxy();
            if certificates == Certificates::OfAnyoneHere {
                builder = builder.tls_danger_accept_invalid_certs(true);
            }
        }
        let http = builder.build().context("no HTTP client")?;
        Ok(Self { http, base, token, timeout: TIMEOUT, door: None })
    }

    /// The same, for calls that take long.
    pub(super) fn waiting(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The same, for events that do not happen as they are sent: `import` or `send`.
    pub(super) fn through(self, door: &'static str) -> Self {
        Self { door: Some(door), ..self }
    }

    /// The base URL, for messages.
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// `GET` below the base: path segments as they are, escaped here.
    pub(super) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> anyhow::Result<Answer> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(self.http.get(url)).await
    }

    /// `POST` below the base.
    pub(super) async fn post(
        &self,
        path: &[&str],
        content_type: &'static str,
        body: Vec<u8>,
    ) -> anyhow::Result<Answer> {
        let request = self.http.post(self.url(path)?).header(header::CONTENT_TYPE, content_type);
        self.send(request.body(body)).await
    }

    fn url(&self, path: &[&str]) -> anyhow::Result<Url> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => {
                segments.pop_if_empty().extend(path);
            }
            Err(()) => bail!("`{}` cannot have a path", self.base),
        }
        Ok(url)
    }

    async fn send(&self, mut request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        if let Some(door) = self.door {
            request = request.header("x-relay-door", door);
        }
        let unanswered = || format!("no answer from {}", self.base);
        let response = request
            .timeout(self.timeout)
            .send()
            .await
            .map_err(reqwest::Error::without_url)
            .with_context(unanswered)?;
        let status = response.status().as_u16();
        let seconds = response.headers().get(header::RETRY_AFTER);
        let retry_after = seconds
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let body =
            response.bytes().await.map_err(reqwest::Error::without_url).with_context(unanswered)?;
        Ok(Answer { status, retry_after, body: body.to_vec() })
    }
}

impl Answer {
    /// Whether it is a 2xx.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// What a refusal says: `401 unauthorized: no such token`.
    pub(super) fn refusal(&self) -> String {
        let error = self.json().unwrap_or_default();
        let text = |name: &str| error.get(name).and_then(|part| part.as_str()).unwrap_or_default();
        match (text("code"), text("detail")) {
            ("", _) => format!("{} without a reason", self.status),
            (code, "") => format!("{} {code}", self.status),
            (code, detail) => format!("{} {code}: {detail}", self.status),
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
