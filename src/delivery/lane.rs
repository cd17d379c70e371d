//! One destination's lane: its health, its client, its limits, and one exchange with its platform.
//!
//! Every call to a platform goes through [`Lane::converse`]. It refuses to know of leases.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    State,
    batch::Refusal,
    client::{self, Client, Failure},
    health::{Cause, Health, Step},
    jobs::Jobs,
    limit::{Exhausted, Limiter},
    retry,
    rotation::{Keeper, Rotation},
    settle::cut,
    sign::{Fresh, sign},
    token::{NoToken, Tokens},
};
use crate::{
    clock::{self, Chance, Clock, Stopwatch},
    config::{Config, DestinationConfig},
    destinations::{
        Answer, Auth, Call, CallPurpose, Fault, FaultKind, Mode, Outcome, Pace, Response,
    },
    queue::Attempt,
    telemetry,
};

/// No quota of a platform lasts longer than its day.
const LONGEST_PACE: Duration = Duration::from_secs(25 * 60 * 60);

/// From this wait on people are told.
const TOLD_FROM: Duration = Duration::from_secs(60);

/// What one destination's tasks share.
pub(super) struct Lane<J> {
    pub(super) name: String,
    pub(super) jobs: J,
    pub(super) clock: Clock,
    pub(super) chance: Chance,
    /// Ends everything; a child of the relay's own token.
    pub(super) stop: CancellationToken,
    /// Wakes the worker after a change of health or configuration; a permit is kept for the worker
    /// that was not waiting just then.
    pub(super) changed: Notify,
    config: Arc<ArcSwap<Config>>,
    rotation: Arc<Rotation>,
    // Std mutexes: both are held for a few instructions, never over an await.
    health: Mutex<Health>,
    today: Mutex<Option<Arc<Today>>>,
}

/// The configuration that a lease is handled under, and what was built from it.
pub(super) struct Today {
    pub(super) config: Arc<Config>,
    pub(super) destination: Arc<DestinationConfig>,
    pub(super) limiter: Arc<Limiter>,
    client: Client,
    tokens: Tokens,
}

/// What came of a call.
#[derive(Debug)]
pub(super) enum Heard {
    /// An answer, one outcome a member.
    Answer { answer: Answer, attempt: Attempt },
    /// Nothing arrived; safe to send again.
    NotSent { after: Option<Duration>, attempt: Attempt },
    /// Nobody knows whether it arrived.
    Lost { attempt: Attempt },
    /// It cannot be sent as configured.
    Fault(Fault),
    /// It was not sent, because nothing may be sent now.
    Held,
}

impl<J: Jobs> Lane<J> {
    pub(super) fn new(
        name: String,
        jobs: J,
        config: Arc<ArcSwap<Config>>,
        (clock, chance): (Clock, Chance),
        rotation: Arc<Rotation>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            name,
            jobs,
            clock,
            chance,
            stop,
            changed: Notify::new(),
            config,
            rotation,
            health: Mutex::default(),
            today: Mutex::default(),
        }
    }

    /// The time.
    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The current configuration; `None` where the destination is not in it.
    pub(super) fn today(&self) -> Option<Arc<Today>> {
        let config = self.config.load_full();
        let destination = Arc::clone(config.destinations.get(&self.name)?);
        let mut kept = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(today) = kept.as_ref().filter(|today| Arc::ptr_eq(&today.config, &config)) {
            return Some(Arc::clone(today));
        }
        let today = Today::new(config, destination, kept.as_deref(), self.now());
        let today = Arc::new(today);
        *kept = Some(Arc::clone(&today));
        Some(today)
    }

    pub(super) fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state that people are shown.
    pub(super) fn state(&self) -> State {
        let config = self.config.load();
        let Some(destination) = config.destinations.get(&self.name) else { return State::Removed };
        let health = self.health();
        if health.is_paused() {
            State::Paused
        } else if destination.mode == Mode::Shadow {
            State::Shadow
        } else if health.failing().is_some() {
            State::Failing
        } else {
            State::Running
        }
    }

    /// Whether anything may be sent now.
    pub(super) fn may_send(&self) -> bool {
        let step = self.health().step(self.now());
        !self.stop.is_cancelled() && matches!(step, Step::Send { .. })
    }

    /// The destination is at fault, or where others are delivered to the group alone.
    pub(super) fn fail(&self, today: &Today, group: Option<&str>, cause: Cause, refusal: Refusal) {
        let now = self.now();
        let policy = &today.destination.delivery.retry;
        let backoff = |failures| retry::backoff(policy, failures, (self.chance)());
        let (reason, message) = (refusal.reason.clone(), refusal.message.clone());
        let destination = &self.name;
        let mut health = self.health();
        if let Some(group) = group
            && let Some(news) = health.hold_group(group, (cause, &refusal), now, backoff)
        {
            drop(health);
            if news {
                tracing::error!(
                    destination,
                    group,
                    reason,
                    message,
                    "{destination} refuses what goes to {group:?} ({reason}): its events are kept \
                     and tried again, the others go on"
                );
            }
            return;
        }
        let is_news = health.fail(cause, refusal, now, backoff);
        drop(health);
        if is_news {
            tracing::error!(
                destination,
                reason,
                message,
                "{destination} is failing ({reason}): its events are kept, and it is probed until \
                 it works again"
            );
            self.changed.notify_one();
        }
    }

    /// The destination is out of order or throttles: nothing is sent for a while.
    pub(super) fn trouble(&self, today: &Today, after: Option<Duration>, message: &str) {
        let now = self.now();
        let mut health = self.health();
        let policy = &today.destination.delivery.retry;
        let wait = retry::wait(policy, health.troubles(), after, (self.chance)());
        health.trouble(now, retry::later(now, wait));
        let troubles = health.troubles();
        drop(health);
        tracing::warn!(
            destination = self.name,
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            troubles,
            message,
            "{} is out of order or throttles",
            self.name
        );
        self.changed.notify_one();
    }

    /// One call: its turn, its credentials, the request, the answer and its meaning. A refused
    /// token is replaced once. `probing` calls are made although the destination is failing.
    pub(super) async fn converse(&self, today: &Arc<Today>, call: &Call, probing: bool) -> Heard {
        let auth = today.destination.handler.auth();
        let mut renewed = false;
        loop {
            if let Some(held) = self.wait_for_turn(today, call, probing).await {
                return held;
            }
            let watch = Stopwatch::start();
            let keeper = Keeper { jobs: &self.jobs, rotation: &self.rotation };
            let exchanged = exchange(today, call, &auth, Some(keeper), self.now()).await;
            let took = watch.elapsed();
            let status = exchanged.as_ref().map_or(0, |(response, _)| response.status);
            self.count_call(call.purpose, status, took);
            let attempt = Attempt { status, took, ..Attempt::default() };
            let (response, token) = match exchanged {
                Ok(exchanged) => exchanged,
                Err(failed) => return failed.heard(attempt),
            };
            let answer = self.classify(today, call, &response);
            if let Some(pace) = today.destination.handler.pace(&response, self.now()) {
                self.keep_pace(&pace);
            }
            let unauthorized =
                answer.fault.as_ref().is_some_and(|fault| fault.kind == FaultKind::Unauthorized);
            let untouched = answer.outcomes.iter().all(|outcome| *outcome == Outcome::Paused);
            if let Some(token) = token.filter(|_| unauthorized && untouched && !renewed) {
                today.tokens.forget(&token).await;
                renewed = true;
                continue;
            }
            return Heard::Answer { answer, attempt };
        }
    }

    /// The platform says that its quota is used up, or nearly so: it is left alone for a while, which
    /// is nobody's fault.
    fn keep_pace(&self, pace: &Pace) {
        let wait = pace.wait.min(LONGEST_PACE);
        let (destination, why) = (&self.name, &pace.why);
        let wait_s = wait.as_secs();
        if wait >= TOLD_FROM {
            tracing::warn!(destination, wait_s, "{destination} is left alone: {why}");
        } else {
            tracing::debug!(destination, wait_s, "{destination} is called less often: {why}");
        }
        let now = self.now();
        self.health().slow(now, retry::later(now, wait));
        self.changed.notify_one();
    }

    async fn wait_for_turn(&self, today: &Today, call: &Call, probing: bool) -> Option<Heard> {
        let now = self.now();
        let turn = tokio::select! {
            () = self.stop.cancelled() => return Some(Heard::Held),
            turn = today.limiter.acquire(call.members.len(), now) => turn,
        };
        match turn {
            Ok(waited) => {
                metrics::histogram!(telemetry::RATE_LIMIT_WAIT_SECONDS,
                    "destination" => self.name.clone())
                .record(waited);
            }
            Err(Exhausted(until)) => {
                tracing::warn!(destination = self.name, "the day's requests are used up");
                self.health().hold(now, until);
                self.changed.notify_one();
                return Some(Heard::Held);
            }
        }
        // Somebody may have paused it, or another batch met an outage, while this one waited.
        let may_send = if probing { !self.stop.is_cancelled() } else { self.may_send() };
        (!may_send).then_some(Heard::Held)
    }

    /// What an answer means, with `Retry-After` where the platform's own reading names no time, and
    /// exactly one outcome a member whatever the platform's code does.
    fn classify(&self, today: &Today, call: &Call, response: &Response) -> Answer {
        let now = self.now();
        let handler = &today.destination.handler;
        let classified = catch_unwind(AssertUnwindSafe(|| handler.classify(call, response, now)));
        let mut answer = classified.unwrap_or_else(|_| {
            tracing::error!(destination = self.name, "an answer could not be read: a defect");
            Answer { outcomes: Vec::new(), fault: None, follow_up: None, notes: Vec::new() }
        });
        let missing = || Outcome::Retry {
            after: None,
            within: None,
            message: "the answer could not be read".to_owned(),
        };
        answer.outcomes.resize_with(call.members.len(), missing);
        let asked = response.header("retry-after").and_then(|v| retry::retry_after(v, now));
        for outcome in &mut answer.outcomes {
            if let Outcome::Retry { after, .. }
            | Outcome::Unavailable { after, .. }
            | Outcome::Throttled { after, .. } = outcome
            {
                *after = after.or(asked);
            }
        }
        answer
    }

    fn count_call(&self, purpose: CallPurpose, status: u16, took: Duration) {
        let purpose = match purpose {
            CallPurpose::Send => "send",
            CallPurpose::FollowUp => "follow_up",
            CallPurpose::Probe => "probe",
        };
        metrics::histogram!(telemetry::CALL_SECONDS, "destination" => self.name.clone(),
            "purpose" => purpose, "status" => status.to_string())
        .record(took);
    }
}

impl Today {
    pub(super) fn new(
        config: Arc<Config>,
        destination: Arc<DestinationConfig>,
        before: Option<&Today>,
        now: Timestamp,
    ) -> Self {
        let policy = &destination.delivery;
        // A platform without a base URL of its own is one whose URL the configuration's author
        // chooses freely; in sandbox mode every URL is the sandbox's.
        let free_url = destination.platform.endpoint.is_empty();
        let guarded = free_url && !policy.allow_private && config.mode != Mode::Sandbox;
        let terms = client::Terms { timeout: policy.timeout, guarded };
        let same_client = before.map(|before| &before.client);
        let same_client = same_client.filter(|client| client.terms() == terms);
        let client = same_client.map_or_else(|| Client::new(terms), Client::clone);
        let limiter = match before {
            Some(before)
                if before.destination.delivery.rate_limit == policy.rate_limit
                    && std::ptr::eq(before.destination.platform, destination.platform) =>
            {
                Arc::clone(&before.limiter)
            }
            _ => {
                let limiter = Limiter::new(&policy.rate_limit, &destination.platform.quota);
                limiter.restore_day(now, before.map_or(0, |b| b.limiter.used_of_day(now)));
                Arc::new(limiter)
            }
        };
        // Tokens are not taken over: the credentials may be new ones.
        Self { config, destination, limiter, client, tokens: Tokens::default() }
    }

    /// The token that a call needs; `None` if it needs none.
    pub(super) async fn token<J: Jobs>(
        &self,
        auth: &Auth,
        keeper: Option<Keeper<'_, J>>,
        now: Timestamp,
    ) -> Result<Option<SecretString>, Failed> {
        Ok(self.tokens.get(&self.client, auth, keeper, now).await?)
    }
}

/// The request with its token, and the answer with the token it was asked with.
pub(super) async fn exchange<J: Jobs>(
    today: &Today,
    call: &Call,
    auth: &Auth,
    keeper: Option<Keeper<'_, J>>,
    now: Timestamp,
) -> Result<(Response, Option<SecretString>), Failed> {
    let token = today.token(auth, keeper, now).await?;
    let random = clock::random().map_err(|_| Failed::NotSent {
        after: None,
        message: "the system gives no random bytes to sign with".to_owned(),
    })?;
    let fresh = Fresh::of(now, random);
    let response = today.client.send(sign(call, auth, token.as_ref(), &fresh)).await?;
    Ok((response, token))
}

/// Why there is no answer, whoever failed.
#[derive(Debug)]
pub(super) enum Failed {
    NotSent { after: Option<Duration>, message: String },
    Lost(String),
    Fault(Fault),
}

impl Failed {
    fn heard(self, attempt: Attempt) -> Heard {
        let said = |message: &str| Attempt { message: cut(message), ..attempt };
        match self {
            Failed::NotSent { after, message } => Heard::NotSent { after, attempt: said(&message) },
            Failed::Lost(message) => Heard::Lost { attempt: said(&message) },
            Failed::Fault(fault) => Heard::Fault(fault),
        }
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotSent(message) => Failed::NotSent { after: None, message },
            Failure::Lost(message) => Failed::Lost(message),
            Failure::Misconfigured(fault) => Failed::Fault(fault),
        }
    }
}

impl From<NoToken> for Failed {
    fn from(no_token: NoToken) -> Self {
        match no_token {
            NoToken::Unavailable { after, message } => Failed::NotSent { after, message },
            NoToken::Fault(fault) => Failed::Fault(fault),
        }
    }
}
