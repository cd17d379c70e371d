//! What stands in for a platform, a queue and a configuration in the tests of delivery.

use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::Request, response::Response as Reply};
use conversion_relay::{
    config::{
        Config, DeliveryPolicy, DestinationConfig, Engine, Limits, Listen, OnUnknown,
        QueueSettings, RateLimit, Retention, RetryPolicy, Site, WhenFull,
    },
    consent::{
        DestinationRule, IpForm, Memory, Model, OptOut, Permit, Purpose, Purposes, RegionRule,
        Rules, State, VendorId, WhenOptedOut,
    },
    delivery::jobs::Jobs,
    destinations::{
        Answer, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Dedup, Destination, Fault,
        FaultKind, FollowUp, Mode, Note, Occasion, Outcome, Platform, Preparation, Quota, Refusal,
        Response,
    },
    event::{ActionSource, FieldSet},
    job::{Flags, Prepared, Skip, SkipCode, Stored},
    plan::{Plan, UnknownEvents},
    queue::{JobKind, JobLabel, JobVerdict, Lease, LeasedJob, Refused, Settlement},
    value::EntryValue,
};
use jiff::Timestamp;
use tokio::sync::Notify;

const PURPOSES: Purposes = Purposes {
    needs: Some(&[Purpose::AdStorage]),
    personalization_flag: true,
    restricted_in: &[],
    can_restrict: |_, _, _| false,
    required: FieldSet::EMPTY,
    default_fields: |_| FieldSet::EMPTY,
    takes: FieldSet::EMPTY,
    with_ad_user_data: FieldSet::EMPTY,
};

const fn platform(endpoint: &'static str, dedup: Dedup) -> Platform {
    Platform {
        name: "double",
        title: "Double",
        also_called: &[],
        docs: "https://docs.example.com/",
        api: None,
        endpoint,
        token_endpoint: "",
        batch: BatchLimits { events: 1_000, bytes: 1_000_000 },
        oldest: |_| Duration::from_secs(7 * 86_400),
        quota: Quota::new(10_000, 10_000),
        dedup,
        browser_dedup: BrowserDedup::None,
        takes: &[],
        purposes: PURPOSES,
        tcf_vendor_id: None,
        ac_provider_id: None,
        keys: &[],
        entry_keys: &[],
        has_test_mode: false,
        contract: "",
        configure: |_| Err(Vec::new()),
    }
}

/// A platform that recognises resends.
pub(super) static DEDUPLICATES: Platform = platform("https://api.example.com", Dedup::EventId);
/// One that does not.
pub(super) static FORGETS: Platform = platform("https://api.example.com", Dedup::None);
/// One whose URL is its owner's choice.
pub(super) static FREE_URL: Platform = platform("", Dedup::EventId);

/// A platform's code: the body is the list of event ids, the status the whole answer.
#[derive(Debug, Clone)]
pub(super) struct Double {
    pub(super) url: String,
    pub(super) auth: Auth,
    pub(super) has_probe: bool,
    pub(super) writes: bool,
}

impl Double {
    fn call(&self, purpose: CallPurpose, path: &str, ids: &[&str]) -> Call {
        Call {
            purpose,
            method: "POST",
            url: format!("{}{path}", self.url),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: serde_json::to_vec(ids).unwrap(),
            members: (0..ids.len()).collect(),
        }
    }
}

impl Destination for Double {
    fn prepare(&self, _: &Occasion<'_>, _: &Permit, _: Timestamp) -> Result<Preparation, Refusal> {
        Err(Refusal::Skip(Skip::new(SkipCode::Unsupported, "a double prepares nothing")))
    }

    fn assemble(&self, jobs: &[Prepared], _: Timestamp) -> Vec<Call> {
        let ids: Vec<&str> = jobs.iter().map(|job| job.event_id.as_str()).collect();
        if self.writes { vec![self.call(CallPurpose::Send, "/send", &ids)] } else { Vec::new() }
    }

    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        let message = || String::from_utf8_lossy(&response.body).into_owned();
        let fault = |kind| {
            let reason = response.status.to_string();
            Some(Fault { kind, reason, message: message() })
        };
        let (outcome, fault) = match response.status {
            200 => (Outcome::Delivered, None),
            400 => {
                let reason = response.header("x-reason").unwrap_or("bad").to_owned();
                (Outcome::CulpritUnknown { reason, message: message() }, None)
            }
            401 => (Outcome::Paused, fault(FaultKind::Unauthorized)),
            403 => (Outcome::Paused, fault(FaultKind::Misconfigured)),
            413 => (Outcome::TooLarge, None),
            422 => (Outcome::Retry { after: None, within: None, message: message() }, None),
            429 => (Outcome::Throttled { after: None, message: message() }, None),
            500.. => (Outcome::Unavailable { after: None, message: message() }, None),
            status => {
                let reason = status.to_string();
                (Outcome::Rejected { reason, message: message() }, None)
            }
        };
        let follow_up = response.header("x-ask-later").map(|id| FollowUp {
            id: id.to_owned(),
            events: 1,
            attempt: 0,
            due: now,
        });
        let note = Note { code: "n".to_owned(), count: 1, message: String::new(), alert: false };
        Answer { outcomes: vec![outcome; call.members.len()], fault, follow_up, notes: vec![note] }
    }

    fn auth(&self) -> Auth {
        self.auth.clone()
    }

    fn is_deduplicated(&self, _: &Prepared) -> bool {
        false
    }

    fn follow_up(&self, follow_up: &FollowUp, _: Timestamp) -> Option<Call> {
        Some(Call {
            members: Vec::new(),
            ..self.call(CallPurpose::FollowUp, "/status", &[&follow_up.id])
        })
    }

    fn probe(&self, _: Timestamp) -> Option<Call> {
        let call = self.call(CallPurpose::Probe, "/probe", &[]);
        self.has_probe.then_some(call)
    }
}

/// The policy that the tests change: quick, so that nothing waits for long.
pub(super) fn policy() -> DeliveryPolicy {
    DeliveryPolicy {
        rate_limit: RateLimit {
            requests_per_second: None,
            events_per_second: None,
            burst: None,
            requests_per_day: None,
        },
        max_events: 100,
        linger: Duration::ZERO,
        retry: RetryPolicy {
            first: Duration::from_millis(20),
            max: Duration::from_millis(100),
            attempts: 3,
        },
        when_full: WhenFull::Shed,
        on_unknown: OnUnknown::Retry,
        fresh_share: 80,
        timeout: Duration::from_secs(5),
        concurrency: 2,
        allow_private: false,
    }
}

/// A destination named `d` for the site `shop`, with the event `purchase`.
pub(super) fn destination(
    platform: &'static Platform,
    double: Double,
    delivery: DeliveryPolicy,
) -> DestinationConfig {
    DestinationConfig {
        name: "d".to_owned(),
        platform,
        sites: vec!["shop".to_owned()],
        mode: Mode::Live,
        share: 10_000,
        only: None,
        entries: BTreeMap::from([("purchase".to_owned(), vec![EntryValue::default()])]),
        delivery,
        endpoint: String::new(),
        shown_endpoint: String::new(),
        account: BTreeMap::new(),
        handler: Box::new(double),
    }
}

/// A configuration with this destination.
pub(super) fn config(destination: DestinationConfig) -> Config {
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let day = Duration::from_secs(86_400);
    let site = Site {
        name: "shop".to_owned(),
        hosts: Vec::new(),
        controller: "shop".to_owned(),
        country: None,
        currency: None,
        time_zone: jiff::tz::TimeZone::UTC,
        sensitive: None,
        minimum_age: None,
    };
    let rule = DestinationRule {
        name: "d".to_owned(),
        needs: vec![Purpose::AdStorage],
        may_send: None,
        may_send_properties: Vec::new(),
        never_send: FieldSet::EMPTY,
        never_send_properties: Vec::new(),
        when_personalization_denied: None,
        when_opted_out: WhenOptedOut::Drop,
        regions: Vec::new(),
        tcf_vendor_id: VendorId::Known,
        ac_provider_id: VendorId::Known,
        role: None,
        recipient: None,
        country: None,
        mechanism: None,
        legal_basis: None,
        retention: None,
    };
    let everywhere = RegionRule {
        name: "other".to_owned(),
        matches: vec!["*".to_owned()],
        model: Model::OptOut,
        ip: IpForm::None,
    };
    Config {
        hash: String::new(),
        mode: Mode::Live,
        keep_query: Vec::new(),
        geoip: None,
        evidence: conversion_relay::config::EvidenceSettings::default(),
        listen: Listen {
            public: any,
            admin: any,
            sandbox: any,
            trusted_proxies: Vec::new(),
            client_ip_header: None,
            doors: Default::default(),
        },
        sites: BTreeMap::from([("shop".to_owned(), Arc::new(site))]),
        write_keys: Vec::new(),
        admin_tokens: Vec::new(),
        queue: QueueSettings {
            engine: Engine::Sled,
            max_pending: 1,
            max_pending_per_destination: 1,
            max_disk: 1,
            encryption_key: None,
            previous_keys: Vec::new(),
            subject_key: None,
        },
        limits: Limits { event_bytes: 1, request_bytes: 1, events_per_request: 1, nesting: 1 },
        retention: Retention {
            event_ids: day,
            event_ids_at_most: 1,
            frequency: day,
            choices: day,
            queue: day,
            traces: day,
            dead_letters: day,
            evidence: day,
            journeys: day,
        },
        webhooks: BTreeMap::new(),
        alerts: Vec::new(),
        alert_when: Default::default(),
        plan: Plan {
            unknown_events: UnknownEvents::Reject,
            funnels: BTreeMap::new(),
            events: BTreeMap::new(),
            by_incoming: BTreeMap::new(),
        },
        rates: None,
        consent: Rules {
            version: String::new(),
            require_approval: false,
            allowed_signers: None,
            region_from: Vec::new(),
            gpc_everywhere: true,
            trust_gdpr_applies: false,
            memory: Memory::default(),
            regions: vec![everywhere],
            categories: Vec::new(),
            destinations: vec![rule],
        },
        approval: Default::default(),
        destinations: BTreeMap::from([("d".to_owned(), Arc::new(destination))]),
    }
}

/// A prepared event.
pub(super) fn prepared(event_id: &str) -> Prepared {
    let now = conversion_relay::clock::system()();
    Prepared {
        event: "purchase".to_owned(),
        entry: 0,
        event_id: event_id.to_owned(),
        transaction_id: event_id.to_owned(),
        site: "shop".to_owned(),
        time: now,
        action_source: ActionSource::Website,
        test: false,
        value: None,
        currency: None,
        texts: Vec::new(),
        amounts: Vec::new(),
        items: Vec::new(),
        other: String::new(),
        adjusts: None,
        calibrated: None,
        consent: Arc::new(State {
            region: None,
            grants: Default::default(),
            opt_out: OptOut::default(),
            sources: Vec::new(),
            ..State::default()
        }),
        sensitive: false,
        group: String::new(),
        expires_at: now + Duration::from_secs(86_400),
        flags: Flags::default(),
    }
}

/// The job of a prepared event.
pub(super) fn job(prepared: &Prepared) -> LeasedJob {
    LeasedJob {
        id: [0; 16],
        uncounted: false,
        kind: JobKind::Event,
        group: prepared.group.clone(),
        expires_at_ms: prepared.expires_at.as_millisecond(),
        accepted_at_ms: prepared.time.as_millisecond(),
        attempts: 0,
        sends: 0,
        subjects: Vec::new(),
        slot: 0,
        label: JobLabel { event: prepared.event.clone(), event_id: prepared.event_id.clone() },
        body: Stored::encode(prepared.clone()).unwrap(),
    }
}

/// A queue in memory, which keeps every final verdict by event id.
#[derive(Clone, Default)]
pub(super) struct Line(Arc<LineState>);

#[derive(Default)]
struct LineState {
    inside: Mutex<Inside>,
    changed: Notify,
}

#[derive(Default)]
struct Inside {
    waiting: Vec<(Timestamp, LeasedJob)>,
    settled: Vec<(String, JobVerdict)>,
    passing: Vec<(String, JobVerdict)>,
    leased: usize,
    marks: usize,
    unknown: bool,
    kept: BTreeMap<String, Vec<u8>>,
    refused_keeps: usize,
}

impl Line {
    /// A queue with an event of each id.
    pub(super) fn of(ids: impl IntoIterator<Item = String>) -> Self {
        let line = Self::default();
        ids.into_iter().for_each(|id| line.push(job(&prepared(&id))));
        line
    }

    pub(super) fn push(&self, job: LeasedJob) {
        self.0.inside.lock().unwrap().waiting.push((Timestamp::MIN, job));
        self.0.changed.notify_waiters();
    }

    /// The next lease says that an earlier send has no known result.
    pub(super) fn say_unknown(&self) {
        self.0.inside.lock().unwrap().unknown = true;
    }

    /// What is kept, whatever its name.
    pub(super) fn kept(&self) -> Vec<String> {
        let inside = self.0.inside.lock().unwrap();
        inside.kept.values().map(|text| String::from_utf8(text.clone()).unwrap()).collect()
    }

    /// The next so many records are refused.
    pub(super) fn refuse_keeping(&self, times: usize) {
        self.0.inside.lock().unwrap().refused_keeps = times;
    }

    pub(super) fn marks(&self) -> usize {
        self.0.inside.lock().unwrap().marks
    }

    pub(super) fn waiting(&self) -> usize {
        self.0.inside.lock().unwrap().waiting.len()
    }

    /// Verdicts after which a job came back.
    pub(super) fn passing(&self) -> Vec<(String, JobVerdict)> {
        self.0.inside.lock().unwrap().passing.clone()
    }

    /// Verdicts that ended a job.
    pub(super) fn settled(&self) -> Vec<(String, JobVerdict)> {
        self.0.inside.lock().unwrap().settled.clone()
    }

    /// Waits until so many jobs have ended; panics after ten seconds.
    pub(super) async fn ended(&self, count: usize) -> Vec<(String, JobVerdict)> {
        let enough = || async {
            while self.settled().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), enough()).await;
        let settled = self.settled();
        waited.unwrap_or_else(|_| panic!("{} of {count} ended: {settled:?}", settled.len()));
        settled
    }
}

impl Jobs for Line {
    async fn lease(&self, name: &str, at_most: usize, _: u8) -> Result<Option<Lease>, Refused> {
        let now = conversion_relay::clock::system()();
        let mut inside = self.0.inside.lock().unwrap();
        let mut jobs = Vec::new();
        let first = inside.waiting.iter().find(|(due, _)| *due <= now);
        let group = first.map(|(_, job)| job.group.clone());
        inside.waiting.retain(|(due, job)| {
            let is_of = group.as_ref() == Some(&job.group);
            let taken = *due <= now && is_of && jobs.len() < at_most;
            if taken {
                jobs.push(job.clone());
            }
            !taken
        });
        if jobs.is_empty() {
            return Ok(None);
        }
        inside.leased += jobs.len();
        let unknown_result = std::mem::take(&mut inside.unknown);
        Ok(Some(Lease {
            destination: name.to_owned(),
            chunks: Vec::new(),
            jobs,
            later: Default::default(),
            unknown_result,
        }))
    }

    fn wait_due(&self, _: &str) -> impl Future<Output = ()> + Send {
        let line = Arc::clone(&self.0);
        async move {
            loop {
                let now = conversion_relay::clock::system()();
                if line.inside.lock().unwrap().waiting.iter().any(|(due, _)| *due <= now) {
                    return;
                }
                let wait = Duration::from_millis(5);
                tokio::time::timeout(wait, line.changed.notified()).await.ok();
            }
        }
    }

    async fn keep(&self, name: &str, text: Vec<u8>) -> Result<(), Refused> {
        let mut inside = self.0.inside.lock().unwrap();
        if inside.refused_keeps > 0 {
            inside.refused_keeps -= 1;
            return Err(Refused::Store("the disk is full".to_owned()));
        }
        inside.kept.insert(name.to_owned(), text);
        Ok(())
    }

    async fn kept(&self, name: &str) -> Result<Option<Vec<u8>>, Refused> {
        Ok(self.0.inside.lock().unwrap().kept.get(name).cloned())
    }

    async fn mark_sending(&self, _: &Lease) -> Result<(), Refused> {
        self.0.inside.lock().unwrap().marks += 1;
        Ok(())
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), Refused> {
        let Settlement { lease, verdicts, follow_ups } = settlement;
        let at = conversion_relay::clock::system()();
        assert_eq!(lease.jobs.len(), verdicts.len(), "exactly one verdict a job");
        let mut inside = self.0.inside.lock().unwrap();
        inside.leased -= lease.jobs.len();
        for (mut job, verdict) in lease.jobs.into_iter().zip(verdicts) {
            let id = Stored::decode(&job.body).map_or("follow-up".to_owned(), |p| p.event_id);
            let due = match &verdict {
                JobVerdict::Keep => Some(Timestamp::MIN),
                JobVerdict::Retry { wait, counts, .. } => {
                    job.attempts += u32::from(*counts);
                    job.sends += 1;
                    Some(at + *wait)
                }
                JobVerdict::Postponed { wait } => Some(at + *wait),
                _ => None,
            };
            match due {
                Some(due) => {
                    inside.passing.push((id, verdict));
                    inside.waiting.push((due, job));
                }
                None => inside.settled.push((id, verdict)),
            }
        }
        for (wait, body) in follow_ups {
            let expires_at_ms = at.as_millisecond() + 86_400_000;
            let kind = JobKind::FollowUp;
            let job = LeasedJob { kind, body, expires_at_ms, ..job(&prepared("follow-up")) };
            inside.waiting.push((at + wait, job));
        }
        drop(inside);
        self.0.changed.notify_waiters();
        Ok(())
    }

    fn release(&self, lease: Lease) {
        let mut inside = self.0.inside.lock().unwrap();
        inside.leased -= lease.jobs.len();
        inside.waiting.extend(lease.jobs.into_iter().map(|job| (Timestamp::MIN, job)));
        drop(inside);
        self.0.changed.notify_waiters();
    }
}

/// A request as a stub platform saw it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) authorization: String,
    pub(super) body: String,
    pub(super) ids: Vec<String>,
}

/// A platform played by a function of the request's number and content.
pub(super) struct Stub {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Stub {
    pub(super) async fn new<F, A>(answer: F) -> Self
    where
        F: Fn(usize, Seen) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Reply> + Send,
    {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let log = Arc::clone(&seen);
        let app = Router::new().fallback(move |request: Request| {
            let (answer, log) = (answer.clone(), Arc::clone(&log));
            async move {
                let (parts, body) = request.into_parts();
                let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
                let authorization = parts.headers.get("authorization");
                let seen = Seen {
                    path: parts.uri.path().to_owned(),
                    authorization: authorization
                        .map(|value| value.to_str().unwrap().to_owned())
                        .unwrap_or_default(),
                    body: String::from_utf8_lossy(&body).into_owned(),
                    ids: serde_json::from_slice(&body).unwrap_or_default(),
                };
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push(seen.clone());
                    log.len() - 1
                };
                answer(number, seen).await
            }
        });
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, seen, serving }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// An answer with a status, headers and a body.
pub(super) fn reply(
    status: u16,
    headers: &[(&str, &str)],
    body: impl Into<axum::body::Body>,
) -> Reply {
    let mut reply = Reply::builder().status(status);
    for (name, value) in headers {
        reply = reply.header(*name, *value);
    }
    reply.body(body.into()).unwrap()
}
