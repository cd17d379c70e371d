//! The HTTP side: every platform below its own name, and the sandbox's own calls.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Query, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{
    answer::{Reply, Told, write},
    contract::{self, Contract},
    faults::{Fault, Faults, Hit, Plan},
    judge::{Court, base_vars, glance, judge},
    later::Memory,
    received::{Received, Record},
    request::Request,
};
use crate::clock::{self, Clock};

/// No platform takes a body over this.
const LARGEST: usize = 64 * 1024 * 1024;
/// Bodies from this size on are judged aside.
const LONG_BODY: usize = 16 * 1024;
/// How long a call hangs that a fault wants never to be answered.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

/// How the sandbox runs.
#[derive(Clone)]
pub struct SandboxOptions {
    /// Keep bodies, to be shown by `received`.
    pub record_bodies: bool,
    /// Hold events against the contracts; otherwise only count them.
    pub validate: bool,
    /// Requests kept for `received`.
    pub keep_requests: usize,
    /// Bytes that what is kept may take.
    pub keep_bytes: usize,
    /// The time.
    pub clock: Clock,
}

impl std::fmt::Debug for SandboxOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SandboxOptions")
            .field("record_bodies", &self.record_bodies)
            .field("validate", &self.validate)
            .field("keep_requests", &self.keep_requests)
            .field("keep_bytes", &self.keep_bytes)
            .finish_non_exhaustive()
    }
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            record_bodies: true,
            validate: true,
            keep_requests: 10_000,
            keep_bytes: 32 * 1024 * 1024,
            clock: clock::system(),
        }
    }
}

impl SandboxOptions {
    /// A sink for load tests: everything is right, counted, and forgotten.
    pub fn fast() -> Self {
        Self { record_bodies: false, validate: false, keep_requests: 0, ..Self::default() }
    }
}

/// A running sandbox's memory; shared by its connections.
#[derive(Debug)]
pub struct Sandbox {
    options: SandboxOptions,
    // Plain locks: held for a push or a copy, never across an await.
    faults: Mutex<Faults>,
    received: Mutex<Received>,
    memory: Memory,
    serial: AtomicU64,
}

impl Sandbox {
    /// A sandbox that has received nothing.
    pub fn new(options: SandboxOptions) -> Arc<Self> {
        let received = Received::new(options.keep_requests, options.keep_bytes);
        Arc::new(Self {
            options,
            faults: Mutex::default(),
            received: Mutex::new(received),
            memory: Memory::default(),
            serial: AtomicU64::new(1),
        })
    }

    /// The counters by platform, as `GET /sandbox/v1/summary` shows them.
    pub fn summary(&self) -> Value {
        self.received().summary()
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sandbox's calls. Faults that close the connection need [`serve`]; elsewhere they answer
/// with an empty 500.
pub fn router(sandbox: Arc<Sandbox>) -> Router {
    Router::new()
        .route("/sandbox/v1/received", get(received).delete(clear))
        .route("/sandbox/v1/summary", get(summary))
        .route("/sandbox/v1/faults", get(faults).post(start_fault).delete(end_faults))
        .route("/healthz", get(|| async { StatusCode::OK }))
        .fallback(platform)
        .with_state(sandbox)
}

/// Serves the sandbox until it is cancelled.
pub fn serve(
    listener: TcpListener,
    options: SandboxOptions,
    cancel: CancellationToken,
) -> JoinHandle<()> {
    serve_on(listener, Sandbox::new(options), cancel)
}

/// Serves a sandbox whose counters the caller wants to read.
pub fn serve_on(
    listener: TcpListener,
    sandbox: Arc<Sandbox>,
    cancel: CancellationToken,
) -> JoinHandle<()> {
    let router = router(sandbox);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                // Out of file handles, most likely: wait for some to be given back.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            // Answers are small; waiting to fill a packet would be measured as latency.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY could not be set");
            }
            let (router, cancel) = (router.clone(), cancel.clone());
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request: hyper::Request<_>| {
                    answer(router.clone(), request.map(Body::new))
                });
                let builder = Builder::new(TokioExecutor::new());
                let connection = builder.serve_connection(TokioIo::new(stream), service);
                tokio::pin!(connection);
                let ended = tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = cancel.cancelled() => return,
                };
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection to the sandbox broke off");
                }
            });
        }
    })
}

/// A response that must not be sent: the connection is closed instead.
#[derive(Debug, Clone, Copy)]
struct HangUp;

#[derive(Debug, thiserror::Error)]
#[error("the connection is closed because the sandbox was asked to")]
struct HungUp;

async fn answer(router: Router, request: hyper::Request<Body>) -> Result<Response, HungUp> {
    let response = router.oneshot(request).await.unwrap_or_else(|never: Infallible| match never {});
    if response.extensions().get::<HangUp>().is_some() { Err(HungUp) } else { Ok(response) }
}

// === The platforms ===

async fn platform(
    State(sandbox): State<Arc<Sandbox>>,
    request: axum::extract::Request,
) -> Response {
    let path = request.uri().path();
    let name = path.split('/').nth(1).unwrap_or_default();
    let Some(contract) = contract::of(name) else {
        let detail =
            format!("there is no platform {name:?} here; there are {}", names().join(", "));
        return problem(StatusCode::NOT_FOUND, "not_found", &detail);
    };
    let now = (sandbox.options.clock)();
    let plan = sandbox.faults().plan(name, path, now);
    let (parts, body) = request.into_parts();
    let headers: Vec<(String, String)> = parts
        .headers
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let Ok(body) = to_bytes(body, LARGEST).await else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body cannot be read");
    };
    if plan.latency_ms > 0 {
        tokio::time::sleep(Duration::from_millis(plan.latency_ms)).await;
    }
    let host = headers.iter().find(|(name, _)| name == "host");
    let host = host.map(|(_, host)| host.as_str()).unwrap_or_default();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let called = Called {
        contract,
        method: parts.method.as_str().to_owned(),
        url: format!("http://{host}{target}"),
        target: target.to_owned(),
        headers,
        body,
    };
    let hangs = plan.hit == Some(Hit::Hang);
    let judged = if called.body.len() < LONG_BODY {
        Ok(sandbox.receive(called, &plan))
    } else {
        // A relay runs on the same threads: its senders do not wait until a thousand events are judged.
        tokio::task::spawn_blocking(move || sandbox.receive(called, &plan)).await
    };
    match judged {
        Ok(Some(reply)) => send(reply),
        Ok(None) => {
            if hangs {
                tokio::time::sleep(FOR_EVER).await;
            }
            hang_up()
        }
        Err(_) => problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "gave_up",
            "the sandbox gave up on this call (panicked); see the log",
        ),
    }
}

struct Called {
    contract: &'static Contract,
    method: String,
    url: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Sandbox {
    /// Decides, keeps and counts; `None`: there will be no answer.
    fn receive(&self, called: Called, plan: &Plan) -> Option<Reply> {
        let court = Court {
            contract: called.contract,
            now: (self.options.clock)(),
            credentials: true,
            validate: self.options.validate,
            serial: self.serial.fetch_add(1, Ordering::Relaxed),
            memory: Some(&self.memory),
            doomed: &|index, id| plan.dooms(index, id),
        };
        let looks = matches!(plan.hit, None | Some(Hit::Lost));
        let (method, url) = (called.method.as_str(), called.url.as_str());
        let request = Request { method, url, headers: &called.headers, body: &called.body };
        let mut verdict = if looks { judge(&court, request) } else { glance(&court, request) };
        let usual = std::mem::take(&mut verdict.reply);
        let reply = plan.hit.as_ref().map_or(usual, |hit| instead(hit, &court));
        self.received().add(Record {
            platform: called.contract.platform.clone(),
            at: court.now,
            method: called.method,
            path: called.target,
            headers: called.headers,
            body: self.options.record_bodies.then_some(called.body),
            fault: plan.hit.as_ref().map(Hit::name),
            status: reply.status,
            verdict,
        });
        (reply.status != 0).then_some(reply)
    }
}

/// The answer of a fault; status 0 in the books where there is none.
fn instead(hit: &Hit, court: &Court<'_>) -> Reply {
    match hit {
        Hit::Answer { name, status, retry_after } => {
            let mut vars = base_vars(court);
            vars.insert("retry_after".to_owned(), (*retry_after).into());
            vars.insert("retry_after_minutes".to_owned(), (retry_after / 60).into());
            let retry_at = court.now.as_second().saturating_add_unsigned(*retry_after);
            vars.insert("retry_at".to_owned(), retry_at.into());
            if let Some(code) = court.contract.code(name) {
                vars.extend(code.vars.clone());
            }
            let names = [name.as_str(), "server_error"];
            let template = names.into_iter().find_map(|name| court.contract.answer(None, name));
            let mut reply = template.map_or_else(Reply::default, |template| {
                write(template, &Told { vars, list: &|_| Vec::new() })
            });
            reply.status = status.unwrap_or(reply.status);
            reply
        }
        Hit::Garbage => Reply {
            status: 200,
            headers: vec![("content-type".to_owned(), "text/html".to_owned())],
            body: b"<html><body>\xff\xfe{\"error\": tea</body>".to_vec(),
        },
        Hit::Reset | Hit::Lost | Hit::Hang => Reply::default(),
    }
}

fn send(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = status;
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()))
        {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn hang_up() -> Response {
    let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
    response.extensions_mut().insert(HangUp);
    response
}

// === The sandbox's own calls ===

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    platform: Option<String>,
    destination: Option<String>,
    #[serde(default)]
    all: bool,
}

async fn received(State(sandbox): State<Arc<Sandbox>>, Query(which): Query<Which>) -> Response {
    let (platform, destination) = (which.platform.as_deref(), which.destination.as_deref());
    let lines = sandbox.received().lines(platform, destination, which.all);
    ([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response()
}

async fn clear(State(sandbox): State<Arc<Sandbox>>) -> StatusCode {
    sandbox.received().clear();
    StatusCode::NO_CONTENT
}

async fn summary(State(sandbox): State<Arc<Sandbox>>) -> Json<Value> {
    Json(sandbox.summary())
}

async fn faults(State(sandbox): State<Arc<Sandbox>>) -> Json<Value> {
    let now = (sandbox.options.clock)();
    Json(json!({"faults": sandbox.faults().list(now)}))
}

async fn start_fault(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> Response {
    let fault: Fault = match serde_json::from_slice(&body) {
        Ok(fault) => fault,
        Err(error) => {
            return problem(StatusCode::BAD_REQUEST, "invalid_fault", &error.to_string());
        }
    };
    if let Some(name) = &fault.platform
        && contract::of(name).is_none()
    {
        let detail =
            format!("there is no platform {name:?} here; there are {}", names().join(", "));
        return problem(StatusCode::BAD_REQUEST, "unknown_platform", &detail);
    }
    let now = (sandbox.options.clock)();
    let started = sandbox.faults().start(fault, now);
    match started {
        Ok(()) => Json(json!({"faults": sandbox.faults().list(now)})).into_response(),
        Err(detail) => problem(StatusCode::BAD_REQUEST, "invalid_fault", &detail),
    }
}

async fn end_faults(State(sandbox): State<Arc<Sandbox>>, Query(which): Query<Which>) -> StatusCode {
    sandbox.faults().end(which.platform.as_deref());
    StatusCode::NO_CONTENT
}

fn problem(status: StatusCode, code: &str, detail: &str) -> Response {
    (status, Json(json!({"code": code, "detail": detail}))).into_response()
}

fn names() -> Vec<&'static str> {
    contract::all().iter().map(|contract| contract.platform.as_str()).collect()
}
