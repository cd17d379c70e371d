//! Delivery: takes jobs out of the queue, applies today's rules, has destinations write requests,
//! sends them, reads the answers and settles.
//!
//! One worker a destination, so that one's trouble stays its own. It is the only part of the
//! program that calls platforms. It refuses to know any platform, and to decide what an answer
//! means: that is [`crate::destinations`].
//!
//! Pure parts: [`batch`] (halving), [`settle`] (verdicts), [`retry`] (waits), [`recheck`] (today's
//! rules), [`health`] (the state of a destination).

pub mod batch;
pub mod client;
mod follow;
mod guard;
pub mod health;
pub mod jobs;
mod lane;
pub mod limit;
mod oauth1;
mod probe;
pub mod recheck;
pub mod retry;
mod rotation;
mod send;
pub mod settle;
mod sheet;
pub mod sign;
pub mod token;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::{runtime::Handle, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use self::probe::{Credentials, try_credentials, try_credentials_with};
use self::{health::Failing, jobs::Jobs, lane::Lane, rotation::Rotation};
use crate::{
    clock::{Chance, Clock},
    config::Config,
    queue::Queue,
    telemetry,
};

/// The state of a destination, as people are shown it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It is delivered to.
    Running,
    /// Somebody paused it.
    Paused,
    /// It is at fault: its events are kept, and it is probed.
    Failing,
    /// Its events are counted as if sent.
    Shadow,
    /// It is not in the configuration any more; its events stay.
    Removed,
}

impl State {
    /// Every state, in the interface's order.
    pub const ALL: [State; 5] =
        [State::Running, State::Paused, State::Failing, State::Shadow, State::Removed];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Paused => "paused",
            State::Failing => "failing",
            State::Shadow => "shadow",
            State::Removed => "removed",
        }
    }
}

/// What delivery has to know of the process before: it is the shell's to keep.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Before {
    /// Destinations that somebody paused.
    pub paused: BTreeSet<String>,
    /// Requests of the current UTC day, by destination.
    pub used_of_day: BTreeMap<String, u64>,
}

/// Everything that delivers, and the handle by which it is controlled. Dropping it ends delivery
/// at once; [`Delivery::stop`] ends it in order.
pub struct Delivery<J: Jobs = Queue> {
    config: Arc<ArcSwap<Config>>,
    jobs: J,
    clock: Clock,
    chance: Chance,
    rotation: Arc<Rotation>,
    stop: CancellationToken,
    /// Also those that are not configured now: they are paused when they come back.
    paused: Mutex<BTreeSet<String>>,
    // Std mutexes: held to look a lane up or to start one, never over an await.
    lanes: Mutex<BTreeMap<String, Arc<Lane<J>>>>,
    workers: Mutex<JoinSet<()>>,
    /// On whose threads workers run: those of whoever made it.
    runtime: Handle,
}

impl<J: Jobs> std::fmt::Debug for Delivery<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("states", &self.states()).finish_non_exhaustive()
    }
}

impl<J: Jobs> Delivery<J> {
    /// Starts a worker for each destination of the configuration. Needs a tokio runtime.
    /// Cancelling `stop` ends all leasing; [`Delivery::stop`] also waits.
    pub fn start(
        config: Arc<ArcSwap<Config>>,
        jobs: J,
        clock: Clock,
        chance: Chance,
        stop: CancellationToken,
    ) -> Self {
        Self::resume_with(config, jobs, (clock, chance), stop, Before::default())
    }

    /// The same, going on where an earlier process was.
    pub fn resume_with(
        config: Arc<ArcSwap<Config>>,
        jobs: J,
        (clock, chance): (Clock, Chance),
        stop: CancellationToken,
        before: Before,
    ) -> Self {
        let Before { paused, used_of_day } = before;
        let delivery = Self {
            config,
            jobs,
            clock,
            chance,
            rotation: Arc::default(),
            stop,
            paused: Mutex::new(paused),
            lanes: Mutex::default(),
            workers: Mutex::default(),
            runtime: Handle::current(),
        };
        delivery.take_up(&used_of_day);
        delivery
    }

    /// Takes a new configuration up, after it was swapped in: workers for new destinations start,
    /// those of removed ones rest, failing ones are probed at once.
    pub fn reload(&self) {
        self.take_up(&BTreeMap::new());
    }

    fn take_up(&self, used_of_day: &BTreeMap<String, u64>) {
        let config = self.config.load_full();
        let now = (self.clock)();
        let mut lanes = self.lanes();
        for name in config.destinations.keys() {
            if !lanes.contains_key(name) && !self.stop.is_cancelled() {
                let lane = Lane::new(
                    name.clone(),
                    self.jobs.clone(),
                    Arc::clone(&self.config),
                    (Arc::clone(&self.clock), Arc::clone(&self.chance)),
                    Arc::clone(&self.rotation),
                    self.stop.child_token(),
                );
                let lane = Arc::new(lane);
                // Before its worker's first step.
                if self.paused_names().contains(name) {
                    lane.health().pause();
                }
                if let (Some(used), Some(today)) = (used_of_day.get(name), lane.today()) {
                    today.limiter.restore_day(now, *used);
                }
                self.workers().spawn_on(worker::run(Arc::clone(&lane)), &self.runtime);
                lanes.insert(name.clone(), lane);
            }
        }
        for lane in lanes.values() {
            lane.health().look_again(now);
            lane.changed.notify_one();
        }
    }

    /// Stops sending to a destination until it is resumed; what is on its way is finished. `None`:
    /// there is no such destination.
    pub fn pause(&self, name: &str) -> Option<State> {
        let lane = self.lane(name)?;
        self.paused_names().insert(name.to_owned());
        lane.health().pause();
        lane.changed.notify_one();
        tracing::info!(destination = name, "{name} is paused");
        Some(lane.state())
    }

    /// Sends to a destination again; a failing one is probed at once. `None`: there is no such
    /// destination.
    pub fn resume(&self, name: &str) -> Option<State> {
        let lane = self.lane(name)?;
        self.paused_names().remove(name);
        lane.health().resume((self.clock)());
        lane.changed.notify_one();
        tracing::info!(destination = name, "{name} is resumed");
        Some(lane.state())
    }

    /// The state of each destination that this process has seen; one that is not here is
    /// [`State::Removed`]. Keeps the gauge of states as well.
    pub fn states(&self) -> BTreeMap<String, State> {
        let states: BTreeMap<String, State> =
            self.lanes().iter().map(|(name, lane)| (name.clone(), lane.state())).collect();
        for (name, current) in &states {
            for state in State::ALL {
                let value = if state == *current { 1.0 } else { 0.0 };
                metrics::gauge!(telemetry::DESTINATION_STATE, "destination" => name.clone(),
                    "state" => state.name())
                .set(value);
            }
        }
        states
    }

    /// Why a destination is failing: the platform's code and words.
    pub fn fault(&self, name: &str) -> Option<(String, String)> {
        self.failing(name).map(|failing| (failing.reason, failing.message))
    }

    /// What is wrong with a destination, or with one group of its events, if something is.
    pub fn failing(&self, name: &str) -> Option<Failing> {
        let lane = self.lane(name)?;
        let health = lane.health();
        health.failing().or(health.failing_group()).cloned()
    }

    /// Who is paused, to be kept over a restart ([`Before`]).
    pub fn paused(&self) -> BTreeSet<String> {
        self.paused_names().clone()
    }

    /// How many of a day's requests each destination has used, by UTC day: to be kept over a
    /// restart ([`Before`]).
    pub fn used_of_day(&self, now: Timestamp) -> BTreeMap<String, u64> {
        let lanes = self.lanes();
        let used = |lane: &Arc<Lane<J>>| lane.today().map(|today| today.limiter.used_of_day(now));
        lanes.iter().filter_map(|(name, lane)| Some((name.clone(), used(lane)?))).collect()
    }

    /// Ends delivery in order: no new leases, what is on its way finishes and settles. What is not
    /// done by the deadline is dropped; its leases are due again after the next start. Returns
    /// whether everything was done.
    pub async fn stop(&self, deadline: Duration) -> bool {
        self.stop.cancel();
        let mut workers = std::mem::take(&mut *self.workers());
        let all = async { while workers.join_next().await.is_some() {} };
        let done = tokio::time::timeout(deadline, all).await.is_ok();
        if !done {
            tracing::warn!("deliveries on their way were dropped at the deadline");
        }
        done
    }

    fn paused_names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lane(&self, name: &str) -> Option<Arc<Lane<J>>> {
        self.lanes().get(name).cloned()
    }

    fn lanes(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Lane<J>>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn workers(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
