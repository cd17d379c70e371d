//! The only outbound HTTP: one request out, one answer back, nothing interpreted.
//!
//! It follows no redirect, keeps at most a mebibyte of an answer (counted after decompression),
//! and tells a request that never left from one whose answer was lost. It refuses to retry, and
//! its errors never hold a URL: a token may be in it.

use std::{
    error::Error as _,
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use reqwest::{
    Method, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect,
};

use super::{
    guard::{Guard, is_refusal},
    sign::Signed,
};
use crate::destinations::{Fault, FaultKind, Response};

/// The most that is kept of an answer's body.
pub const MOST_BODY_BYTES: usize = 1024 * 1024;

/// Connecting takes at most this, and at most half of the whole time, so that a request that timed
/// out while connecting is known not to have been sent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a client depends on; a new one is made where this changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// For one request, its answer included.
    pub timeout: Duration,
    /// Private and link-local addresses are refused.
    pub guarded: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The request never left: safe to send again.
    NotSent(String),
    /// It may have arrived: nobody knows.
    Lost(String),
    /// It cannot be sent as configured.
    Misconfigured(Fault),
}

/// A client for one destination, with its own pool of connections.
#[derive(Debug, Clone)]
pub struct Client {
    // Each is made when it is first needed: the certificates of the machine are only read, and only
    // missed, where something beyond it is called.
    remote: Arc<OnceLock<reqwest::Client>>,
    local: Arc<OnceLock<reqwest::Client>>,
    guard: Option<Guard>,
    terms: Terms,
}

impl Client {
    /// A client. Proxies are the environment's; this machine itself is called without one.
    pub fn new(terms: Terms) -> Self {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Err means that somebody else installed one in the meantime, which is as good.
            rustls::crypto::ring::default_provider().install_default().ok();
        }
        let guard = terms.guarded.then(Guard::default);
        Self { remote: Arc::default(), local: Arc::default(), guard, terms }
    }

    /// What it was built for.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// Sends a request.
    pub async fn send(&self, request: Signed) -> Result<Response, Failure> {
        let invalid = |what: &str| misconfigured("invalid_request", what.to_owned());
        let url = Url::parse(&request.url).map_err(|_| invalid("the URL is not valid"))?;
        if let Some(guard) = &self.guard {
            guard
                .check(&url)
                .map_err(|error| misconfigured("private_address", error.to_string()))?;
        }
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| invalid("the method is not valid"))?;
        let mut headers = HeaderMap::with_capacity(request.headers.len());
        for header in request.headers {
            let name = HeaderName::from_bytes(header.name.as_bytes())
                .map_err(|_| invalid("a header's name is not valid"))?;
            let mut value = HeaderValue::from_str(&header.value)
                .map_err(|_| invalid("a header's value has characters that HTTP cannot carry"))?;
            value.set_sensitive(header.is_secret);
            headers.append(name, value);
        }
        let http = self.for_url(&url)?;
        let request = http.request(method, url).headers(headers).body(request.body);
        let response = request.send().await.map_err(failure)?;
        let status = response.status().as_u16();
        let headers = response.headers().iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        });
        let headers = headers.collect();
        Ok(Response { status, headers, body: body(response).await? })
    }

    fn for_url(&self, url: &Url) -> Result<&reqwest::Client, Failure> {
        let is_local = is_local(url);
        let place = if is_local { &self.local } else { &self.remote };
        if let Some(client) = place.get() {
            return Ok(client);
        }
        let client = build(self.terms, self.guard.as_ref(), is_local)?;
        Ok(place.get_or_init(|| client))
    }
}

fn build(terms: Terms, guard: Option<&Guard>, is_local: bool) -> Result<reqwest::Client, Failure> {
    #[allow(clippy::disallowed_methods, reason = "this is the only outbound HTTP client")]
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("conversion-relay/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .referer(false)
        .timeout(terms.timeout)
        .connect_timeout(CONNECT_TIMEOUT.min(terms.timeout / 2))
        .pool_idle_timeout(Duration::from_secs(60))
        .gzip(true);
    if let Some(guard) = guard {
        builder = builder.dns_resolver(guard.clone());
    }
    if is_local {
        builder = builder.no_proxy().tls_certs_only([]);
    }
    let failed = |error| misconfigured("client", format!("no HTTP client: {}", words(error)));
    builder.build().map_err(failed)
}

/// This machine, without TLS: needs neither proxy nor certificates.
fn is_local(url: &Url) -> bool {
    let host = url.host().filter(|_| url.scheme() == "http");
    match host {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Reads the body up to what is kept; the rest is never read, and so never decompressed.
async fn body(mut response: reqwest::Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = MOST_BODY_BYTES - body.len();
                body.extend(chunk.iter().take(room));
                if body.len() == MOST_BODY_BYTES {
                    return Ok(body);
                }
            }
            Ok(None) => return Ok(body),
            // What was sent has been answered, only not readably: its status still says something.
            Err(error) if !error.is_timeout() && is_garbage(&error) => return Ok(body),
            Err(error) => return Err(failure(error)),
        }
    }
}

fn failure(error: reqwest::Error) -> Failure {
    if is_refusal(&error) {
        let message =
            "the host has a private or link-local address; allow_private = true permits it";
        misconfigured("private_address", message.to_owned())
    } else if error.is_builder() {
        misconfigured("invalid_request", words(error))
    } else if error.is_connect() || error.is_dns() {
        Failure::NotSent(words(error))
    } else {
        Failure::Lost(words(error))
    }
}

/// Whether a body arrived whole and cannot be decompressed, rather than being cut short on its way.
fn is_garbage(error: &reqwest::Error) -> bool {
    let mut garbage = false;
    let mut causes: Vec<&(dyn std::error::Error + 'static)> = vec![error];
    while let Some(cause) = causes.pop() {
        if cause.is::<hyper::Error>() {
            return false;
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
            garbage |= matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof);
            // An `io::Error` hides what it wraps from `source`.
            causes.extend(error.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static)));
        }
        causes.extend(cause.source());
    }
    garbage
}

fn misconfigured(reason: &str, message: String) -> Failure {
    let kind = FaultKind::Misconfigured;
    Failure::Misconfigured(Fault { kind, reason: reason.to_owned(), message })
}

/// An error and its causes in words, without the URL.
fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !words.contains(&cause) {
            words = format!("{words}: {cause}");
        }
        source = error.source();
    }
    words
}
