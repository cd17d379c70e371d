//! `POST /v1/events`: from a request to the queue, and what became of each event.
//!
//! One bad event never costs a good one, and nothing is answered before it is on disk.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::post,
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    Relay, auth, body, client,
    count::{self, Counted, Tally},
    error::ApiError,
    visitor,
};
use crate::{
    clock::Stopwatch,
    config::{Config, KeyKind, Right, WriteKey},
    consent::{
        Whereabouts,
        memory::{Choice, Remembered},
    },
    pipeline::{self, Fresh, Street, Verdict},
    queue::{Admission, Admitted, IdHash},
    sources::{self, Door, DoorKind, Form, Outcome, Piece, Rejection, Warning, json::Node, native},
};

const ROUTE: &str = "/v1/events";

/// By which a server key says that events come from a file: `import` or `send`.
const DOOR: &str = "x-relay-door";
/// The door's name, where a rule asks by which one an event came.
const IMPORT: &str = "import";

/// So many events of a request are worked on before others have their turn: about a millisecond.
const AT_ONCE: usize = 16;

pub(super) fn routes() -> Router<Arc<Relay>> {
    Router::new().route(ROUTE, post(events))
}

async fn events(State(relay): State<Arc<Relay>>, request: Request) -> Response {
    let watch = Stopwatch::start();
    let (parts, mut body) = request.into_parts();
    let answer = take(&relay, &parts, &mut body).await;
    let (status, response) = match answer {
        Ok((status, answer)) => (status, (status, Json(answer)).into_response()),
        Err(error) => {
            body::drain(body, &parts.headers).await;
            (error.status, error.into_response())
        }
    };
    count::request(ROUTE, status, watch.elapsed());
    response
}

async fn take(
    relay: &Relay,
    parts: &Parts,
    body: &mut Body,
) -> Result<(StatusCode, Value), ApiError> {
    let config = relay.config.load_full();
    let key = auth::write_key(&config, &parts.headers, parts.uri.query())?;
    auth::right(key, Right::Events)?;
    let query = parts.uri.query().unwrap_or_default();
    let explain = auth::parameter(query, "explain").is_some_and(|value| value == "true");
    if explain {
        auth::right(key, Right::Explain)?;
    }
    visitor::admit(relay, &config, key, parts)?;
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let form = Form::of(content_type).ok_or_else(|| {
        ApiError::unsupported("events come as application/json or application/x-ndjson")
    })?;
    let body = body::read(body, &parts.headers, body::AtMost::request(&config.limits)).await?;

    let now = (relay.clock)();
    let batch = {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let visit = Visit::of(key, peer.map(|info| info.0), &parts.headers, &config);
        let pieces = sources::split(&body, form, &config.limits)?;
        let mut read = |node: &Node<'_>, _: &Street<'_>| {
            visitor::screen(relay, &config, &visit.door, node, None)?;
            native::read(node, &visit.door, &config, now)
        };
        work(relay, &config, pieces, &mut read, &visit.whereabouts, explain, now).await
    };
    settle(relay, &config, batch, now).await
}

/// How a door reads one of its events.
pub(super) type Reader<'r> =
    dyn FnMut(&Node<'_>, &Street<'_>) -> Result<sources::Read, Rejection> + Send + 'r;

/// Runs the events of a request down the street.
pub(super) async fn work(
    relay: &Relay,
    config: &Config,
    pieces: Vec<Piece<'_>>,
    read: &mut Reader<'_>,
    whereabouts: &Whereabouts,
    explain: bool,
    now: Timestamp,
) -> Batch {
    let mut batch = Batch { explain: explain.then(Vec::new), ..Batch::default() };
    let mut pieces = pieces.into_iter().enumerate();
    loop {
        {
            let remembered = |subjects: &[IdHash]| remembered(relay, subjects);
            let refused_since =
                |subjects: &[IdHash], at_ms: i64| refused_since(relay, subjects, at_ms);
            let street = street(relay, config, &remembered, &refused_since);
            for (index, piece) in pieces.by_ref().take(AT_ONCE) {
                batch.take(index, piece, read, whereabouts, &street, now);
            }
        }
        if pieces.len() == 0 {
            return batch;
        }
        // Other requests of this thread have their turn.
        tokio::task::yield_now().await;
    }
}

/// Has the queue keep what was admitted, and writes the answer.
pub(super) async fn settle(
    relay: &Relay,
    config: &Config,
    mut batch: Batch,
    now: Timestamp,
) -> Result<(StatusCode, Value), ApiError> {
    let admissions = std::mem::take(&mut batch.admissions);
    let admitted =
        if admissions.is_empty() { Vec::new() } else { relay.queue.admit(admissions).await? };
    // Not before: a request that is refused as a whole comes again.
    relay.queue.count_rejected(batch.rejected.len() as u64);
    for event in batch.counted.iter().filter_map(Counted::planned) {
        relay.arrivals.note(event, 1);
    }
    // Only what was decided is shown: nobody is asked about again.
    let street = street(relay, config, &|_| Remembered::default(), &|_, _| None);
    Ok(batch.answer(&admitted, &street, now))
}

/// Runs events of another's format down the street; what is answered and ignored leaves no trace.
pub(super) fn run_told(
    relay: &Relay,
    config: &Config,
    outcomes: Vec<Outcome<'_>>,
    visit: &Visit<'_>,
    now: Timestamp,
) -> Result<Batch, ApiError> {
    if outcomes.len() > config.limits.events_per_request {
        let (events, at_most) = (outcomes.len(), config.limits.events_per_request);
        return Err(sources::Unframed::TooMany { events, at_most }.into());
    }
    let fresh = Fresh::default();
    let remembered = |subjects: &[IdHash]| {
        let mut remembered = remembered(relay, subjects);
        fresh.add_to(subjects, &mut remembered);
        remembered
    };
    let refused_since = |subjects: &[IdHash], at_ms: i64| refused_since(relay, subjects, at_ms);
    let street = street(relay, config, &remembered, &refused_since);
    let mut batch = Batch { is_told: true, ..Batch::default() };
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let told = match outcome {
            Ok(Some(told)) => told,
            Ok(None) => continue,
            Err(rejection) => {
                batch.reject(index, &Node::Null, rejection);
                continue;
            }
        };
        let verdict = visitor::screen(relay, config, &visit.door, &told.node, None)
            .and_then(|()| sources::told::read(&told, &visit.door, config, now))
            .and_then(|read| pipeline::run(&street, read, &visit.whereabouts, now));
        match verdict {
            Ok(verdict) => {
                fresh.note(&verdict);
                batch.admit(index, verdict, &street);
            }
            Err(mut rejection) => {
                told.place(&mut rejection);
                let id = told.node.get("event_id").and_then(Node::as_text);
                rejection.event_id = rejection.event_id.or_else(|| id.map(str::to_owned));
                batch.reject(index, &told.node, rejection);
            }
        }
    }
    Ok(batch)
}

/// The street of a relay that runs.
pub(super) fn street<'a>(
    relay: &'a Relay,
    config: &'a Config,
    remembered: &'a dyn Fn(&[IdHash]) -> Remembered,
    refused_since: &'a dyn Fn(&[IdHash], i64) -> Option<Remembered>,
) -> Street<'a> {
    Street { config, key: &relay.key, geoip: &*relay.geoip, remembered, refused_since }
}

/// What a person may have refused since a time.
fn refused_since(relay: &Relay, subjects: &[IdHash], at_ms: i64) -> Option<Remembered> {
    relay.queue.may_have_refused(subjects, at_ms).then(|| remembered(relay, subjects))
}

/// What is remembered of a person. Where that cannot be read, as much as a refusal of everything.
fn remembered(relay: &Relay, subjects: &[IdHash]) -> Remembered {
    relay.queue.remembered(subjects).unwrap_or_else(|why| {
        tracing::error!("what is remembered of a person cannot be read: {why}");
        Remembered { choice: Choice::unreadable(), ..Remembered::default() }
    })
}

/// What the connection tells, for every event of the request.
pub(super) struct Visit<'a> {
    pub(super) door: Door<'a>,
    pub(super) whereabouts: Whereabouts,
}

impl<'a> Visit<'a> {
    pub(super) fn of(
        key: &'a WriteKey,
        peer: Option<SocketAddr>,
        headers: &'a HeaderMap,
        config: &Config,
    ) -> Self {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let address = peer.map(|peer| client::address(peer.ip(), headers, &config.listen));
        let whereabouts = match (peer, address) {
            (Some(peer), Some(address)) => client::whereabouts(
                key,
                peer.ip(),
                address,
                headers,
                &config.listen,
                &config.consent,
            ),
            _ => Whereabouts {
                event_is_believed: key.kind == KeyKind::Server,
                ..Whereabouts::default()
            },
        };
        // What a backend sends from a file happened before: its times stand as they are.
        let named = header(DOOR).filter(|_| key.kind == KeyKind::Server);
        let kind = match named {
            Some(IMPORT | "send") => DoorKind::Import,
            _ => DoorKind::Live,
        };
        let whereabouts = Whereabouts {
            door: named.and_then(|name| (name == IMPORT).then_some(IMPORT)),
            ..whereabouts
        };
        let door = Door {
            kind,
            key: Some(key),
            address,
            user_agent: header("user-agent"),
            sec_gpc: header("sec-gpc").is_some_and(|value| value.trim() == "1"),
        };
        Self { door, whereabouts }
    }
}

/// A request's events on their way.
#[derive(Default)]
pub(super) struct Batch {
    /// One for each event that was not rejected, in order.
    admissions: Vec<Admission>,
    derived_ids: u64,
    warnings: Vec<(usize, Warning)>,
    rejected: Vec<(usize, Rejection)>,
    /// One for each admission.
    counted: Vec<Counted>,
    tally: Tally,
    /// Of another's format: a rejection's path is within what was sent, not within its event.
    is_told: bool,
    /// What `explain` needs when the queue has answered; `None` where nobody asked.
    explain: Option<Vec<Explained>>,
}

/// One event to be explained.
enum Explained {
    Read(Box<Verdict>),
    Rejected(Value),
}

impl Batch {
    /// Whether nothing came that is an event, or should be one.
    pub(super) fn is_empty(&self) -> bool {
        self.admissions.is_empty() && self.rejected.is_empty()
    }

    /// What is refused, and why.
    pub(super) fn rejections(&self) -> impl Iterator<Item = &Rejection> {
        self.rejected.iter().map(|(_, rejection)| rejection)
    }

    fn take(
        &mut self,
        index: usize,
        piece: Piece<'_>,
        read: &mut Reader<'_>,
        whereabouts: &Whereabouts,
        street: &Street<'_>,
        now: Timestamp,
    ) {
        let node = match piece.parse(&street.config.limits) {
            Ok(node) => node,
            Err(rejection) => return self.reject(index, &Node::Null, rejection),
        };
        let verdict =
            read(&node, street).and_then(|read| pipeline::run(street, read, whereabouts, now));
        match verdict {
            Ok(verdict) => self.admit(index, verdict, street),
            Err(rejection) => self.reject(index, &node, rejection),
        }
    }

    fn admit(&mut self, index: usize, verdict: Verdict, street: &Street<'_>) {
        self.derived_ids += u64::from(verdict.event.event_id.derived);
        let is_planned = street.config.plan.by_incoming.contains_key(&verdict.event.name);
        self.counted.push(self.tally.verdict(&verdict, is_planned));
        let warnings = verdict.warnings.iter().cloned();
        self.warnings.extend(warnings.map(|warning| (index, warning)));
        if let Some(explained) = &mut self.explain {
            explained.push(Explained::Read(Box::new(verdict.clone())));
        }
        self.admissions.push(verdict.admission(street));
    }

    fn reject(&mut self, index: usize, node: &Node<'_>, rejection: Rejection) {
        self.tally.rejected(rejection.code);
        if let Some(explained) = &mut self.explain {
            explained.push(Explained::Rejected(json!({
                "event": node.get("event").and_then(Node::as_text),
                "event_id": rejection.event_id,
                "status": "rejected",
                "errors": [{
                    "code": rejection.code.name(),
                    "message": rejection.message,
                    "path": rejection.path,
                }],
            })));
        }
        self.rejected.push((index, rejection));
    }

    /// The answer. Accepted, duplicate, suppressed, criteria_not_met, unplanned, test and rejected
    /// add up to the events of the request.
    fn answer(
        mut self,
        admitted: &[Admitted],
        street: &Street<'_>,
        now: Timestamp,
    ) -> (StatusCode, Value) {
        let mut counts = Map::new();
        for name in STATUSES {
            counts.insert(name.to_owned(), json!(0));
        }
        let mut held = 0u64;
        for (admitted, event) in admitted.iter().zip(std::mem::take(&mut self.counted)) {
            let status = status(*admitted);
            if let Some(count) = counts.get_mut(status) {
                *count = json!(count.as_u64().unwrap_or(0) + 1);
            }
            if let Admitted::Accepted { queued: 0, held: 1.. } = admitted {
                held += 1;
            }
            self.tally.event(event, *admitted, status);
        }
        self.tally.publish();
        counts.insert("held".to_owned(), json!(held));
        counts.insert("derived_ids".to_owned(), json!(self.derived_ids));
        let warnings: Vec<Value> = self
            .warnings
            .iter()
            .map(|(index, warning)| {
                json!({"index": index, "code": warning.code.name(), "message": warning.message})
            })
            .collect();
        counts.insert("warnings".to_owned(), Value::Array(warnings));
        let place = |index: usize, path: &str| {
            if self.is_told { path.to_owned() } else { format!("/{index}{path}") }
        };
        let all_rejected = admitted.is_empty() && !self.rejected.is_empty();
        let rejected: Vec<Value> = self
            .rejected
            .into_iter()
            .map(|(index, rejection)| {
                json!({
                    "index": index,
                    "event_id": rejection.event_id,
                    "code": rejection.code.name(),
                    "message": rejection.message,
                    "path": place(index, &rejection.path),
                })
            })
            .collect();
        counts.insert("rejected".to_owned(), Value::Array(rejected));
        if let Some(explained) = self.explain {
            counts.insert("explain".to_owned(), explain(explained, admitted, street, now));
        }
        let status =
            if all_rejected { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::ACCEPTED };
        (status, Value::Object(counts))
    }
}

/// The counts that, with `rejected`, add up to the events of a request.
const STATUSES: [&str; 6] =
    ["accepted", "duplicate", "suppressed", "criteria_not_met", "unplanned", "test"];

fn status(admitted: Admitted) -> &'static str {
    match admitted {
        Admitted::Accepted { .. } => "accepted",
        Admitted::Duplicate { .. } => "duplicate",
        Admitted::Suppressed => "suppressed",
        Admitted::CriteriaNotMet => "criteria_not_met",
        Admitted::Unplanned => "unplanned",
        Admitted::Test => "test",
    }
}

/// What `explain` prints, with what the queue knew better.
fn explain(
    explained: Vec<Explained>,
    admitted: &[Admitted],
    street: &Street<'_>,
    now: Timestamp,
) -> Value {
    let mut lines = Vec::new();
    let mut admitted = admitted.iter();
    for explained in explained {
        match explained {
            Explained::Rejected(line) => lines.push(line),
            Explained::Read(verdict) => {
                let known = admitted.next().and_then(|admitted| match admitted {
                    Admitted::Duplicate { .. } | Admitted::Suppressed => Some(status(*admitted)),
                    Admitted::Accepted { .. }
                    | Admitted::CriteriaNotMet
                    | Admitted::Unplanned
                    | Admitted::Test => None,
                });
                lines.extend(pipeline::explain(&verdict, street, known, now));
            }
        }
    }
    Value::Array(lines)
}
