//! Around every call of the admin listener: who guesses is slowed, and what is done is written down.
//! Which role a call needs is the call's own.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    Router,
    extract::{ConnectInfo, Query, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::Value;

use super::{
    Relay,
    acts::{Act, Acts, Detail, Wanted},
    auth, client,
    doorkeeper::{Doorkeeper, Verdict},
    error::{ApiError, Code},
};
use crate::{
    config::{AdminRole, Config},
    queue::Refused,
};

/// What the watch remembers.
#[derive(Clone)]
struct Watch {
    relay: Arc<Relay>,
    keeper: Arc<Doorkeeper>,
    acts: Arc<Acts>,
}

/// Puts the admin calls under watch, and adds the one that reads the log.
pub(super) fn over(relay: &Arc<Relay>, calls: Router<Arc<Relay>>) -> Router<Arc<Relay>> {
    let acts = Arc::new(Acts::new(&relay.data));
    let watch = Watch { relay: relay.clone(), keeper: Arc::default(), acts };
    let log = Router::new().route("/admin/v1/audit", get(read)).with_state(watch.clone());
    calls.merge(log).layer(from_fn_with_state(watch, call))
}

async fn call(State(watch): State<Watch>, request: Request, next: Next) -> Response {
    let config = watch.relay.config.load_full();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let from = peer.map(|peer| client::address(peer, request.headers(), &config.listen));
    let has_secret = request.headers().contains_key(header::AUTHORIZATION);
    if has_secret && let Some(left) = from.and_then(|from| watch.keeper.shut_out(from)) {
        return shut_out(left);
    }
    let who = auth::who(&config, request.headers()).map(|token| token.name.clone());
    let guess = from.filter(|_| has_secret);
    if !is_act(request.method(), request.uri().path()) {
        let is_known = who.is_some();
        return watch.hear(guess, is_known, next.run(request).await).await;
    }
    // A task of its own: who hangs up before the answer ends neither the act nor its line.
    let act = tokio::spawn(act(watch, request, next, (who, from, guess), config));
    act.await.unwrap_or_else(|ended| match ended.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => ApiError::from(Refused::Stopping).into_response(),
    })
}

/// One act: done, written down, and only then answered.
async fn act(
    watch: Watch,
    request: Request,
    next: Next,
    (who, from, guess): (Option<String>, Option<IpAddr>, Option<IpAddr>),
    config: Arc<Config>,
) -> Response {
    let (method, call) = (request.method().to_string(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let mut response = watch.hear(guess, who.is_some(), response).await;
    let act = Act {
        at: (watch.relay.clock)(),
        who,
        from,
        method,
        call,
        status: response.status().as_u16(),
        code: response.extensions().get::<Code>().map(|code| code.0.to_owned()),
        detail: response.extensions_mut().remove::<Detail>().map_or(Value::Null, |d| d.0),
    };
    keep(watch.acts, act, config.retention.evidence).await;
    response
}

impl Watch {
    /// Slows who guesses: what the answer to a secret from an address becomes.
    async fn hear(&self, guess: Option<IpAddr>, is_known: bool, answer: Response) -> Response {
        let Some(from) = guess else { return answer };
        if answer.status() != StatusCode::UNAUTHORIZED {
            if is_known {
                self.keeper.passed(from);
            }
            return answer;
        }
        match self.keeper.failed(from) {
            Verdict::Later(time) => {
                tokio::time::sleep(time).await;
                answer
            }
            Verdict::ShutOut(left) => {
                tracing::warn!(%from, "an address sent too many wrong admin tokens");
                shut_out(left)
            }
        }
    }
}

/// Writes down a reload that SIGHUP asked for: whoever may send the process signals changed what
/// leaves, as much as whoever makes the call.
pub async fn note_hang_up(relay: &Relay, answer: &Result<Value, Value>) {
    let act = Act {
        at: (relay.clock)(),
        who: None,
        from: None,
        method: "SIGNAL".to_owned(),
        call: "SIGHUP".to_owned(),
        status: if answer.is_ok() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY }
            .as_u16(),
        code: None,
        detail: answer.as_ref().map_or(Value::Null, Clone::clone),
    };
    let keep_for = relay.config.load().retention.evidence;
    keep(Arc::new(Acts::new(&relay.data)), act, keep_for).await;
}

/// What changes something, or shows what only few may see.
fn is_act(method: &Method, path: &str) -> bool {
    let is_read = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let is_guarded = path.starts_with("/admin/v1/evidence") || path.starts_with("/admin/v1/audit");
    path.starts_with("/admin/") && (!is_read || is_guarded)
}

/// The act has happened: where it cannot be written down, it is at least told.
async fn keep(acts: Arc<Acts>, act: Act, how_long: std::time::Duration) {
    let written = tokio::task::spawn_blocking(move || {
        let written = acts.write(&act, how_long);
        (act, written)
    });
    match written.await {
        Ok((_, Ok(()))) => {}
        Ok((act, Err(error))) => {
            let Act { who, method, call, status, detail, .. } = act;
            tracing::error!(
                ?who, method, call, status, %detail,
                "an act could not be written to the admin log: {error}"
            );
        }
        Err(_) => tracing::error!("writing the admin log gave up (panicked)"),
    }
}

fn shut_out(left: std::time::Duration) -> Response {
    let detail = "too many wrong admin tokens came from this address; wait";
    ApiError::too_many_requests(detail, left.as_secs() + 1).into_response()
}

async fn read(
    State(watch): State<Watch>,
    headers: HeaderMap,
    query: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    let config = watch.relay.config.load_full();
    auth::admin(&config, &headers, &[AdminRole::Privacy])?;
    let Query(wanted) = query.map_err(|error| {
        ApiError::bad_request("invalid_query", format!("from, to, who: {error}"))
    })?;
    let acts = watch.acts.clone();
    let lines = tokio::task::spawn_blocking(move || acts.read(&wanted)).await;
    let unread = |why: String| {
        ApiError::unavailable("store_failed", format!("the admin log cannot be read: {why}"), 10)
    };
    let lines = lines
        .map_err(|_| unread("it gave up (panicked)".to_owned()))?
        .map_err(|error| unread(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}
