//! The durable queue: admits events, leases jobs, settles outcomes, keeps dead letters and books.
//!
//! It stores opaque bytes with routing fields and knows no platform. All state that must agree
//! (event ids, frequency, jobs, counters, traces) is written by one committer thread as one atomic
//! batch, synced before anybody is answered.

mod types;

use std::{path::PathBuf, sync::Arc};

use jiff::Timestamp;
use secrecy::SecretString;

pub use types::*;

use crate::clock::Clock;

/// How a queue is opened.
#[derive(Clone)]
pub struct Opening {
    /// The data folder; made if absent.
    pub folder: PathBuf,
    /// Limits, engine and keys.
    pub settings: crate::config::QueueSettings,
    /// How long what is kept.
    pub retention: crate::config::Retention,
    /// The mode to which the folder belongs; another one's folder is refused.
    pub mode: crate::destinations::Mode,
    /// Gives the time.
    pub clock: Clock,
    /// 32 random bytes for this start: the data key.
    pub random: [u8; 32],
}

/// Why a data folder cannot be opened. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);

/// A handle to the queue; cheap to clone.
#[derive(Clone)]
pub struct Queue {
    keys: Arc<SecretString>,
}

#[allow(
    unused_variables,
    clippy::unused_async,
    reason = "the shape that the machinery is built against"
)]
impl Queue {
    /// Opens the folder (lock, mode, keys, recovery) and starts the committer's thread.
    pub fn open(opening: Opening) -> Result<Self, OpenError> {
        unimplemented!()
    }

    /// The keyed hash by which the queue knows something: HMAC with the subject secret, cut to 16
    /// bytes. `domain` keeps kinds apart (`event`, `same_as`, `subject/CONTROLLER`, `session/SITE`).
    pub fn keyed(&self, domain: &str, parts: &[&[u8]]) -> [u8; 16] {
        unimplemented!()
    }

    /// The subject secret itself, from which [`crate::pipeline::SubjectKey`] is made.
    pub fn subject_secret(&self) -> [u8; 32] {
        unimplemented!()
    }

    /// Admits events in order; answered when they are on disk, synced.
    pub async fn admit(&self, admissions: Vec<Admission>) -> Result<Vec<Admitted>, Refused> {
        unimplemented!()
    }

    /// Counts events that were rejected before they became admissions. Not synced on its own.
    pub fn count_rejected(&self, events: u64) {}

    /// Takes out up to `at_most` jobs that are due, of one group. `None`: nothing is due.
    /// `fresh_share` (0 to 100) divides between fresh jobs and backlog.
    pub fn lease(
        &self,
        destination: &str,
        at_most: usize,
        fresh_share: u8,
    ) -> Result<Option<Lease>, Refused> {
        unimplemented!()
    }

    /// Waits until something may be due for a destination.
    pub async fn wait_due(&self, destination: &str) {}

    /// Writes the durable `sending` mark of a lease.
    pub async fn mark_sending(&self, lease: &Lease) -> Result<(), Refused> {
        unimplemented!()
    }

    /// Settles a lease; answered when it is on disk, synced.
    pub async fn settle(&self, settlement: Settlement) -> Result<(), Refused> {
        unimplemented!()
    }

    /// Gives a lease back untouched.
    pub fn release(&self, lease: Lease) {}

    /// The books, as of one moment. States of destinations are filled in by the caller.
    pub async fn stats(&self) -> Stats {
        unimplemented!()
    }

    /// Age of the oldest pending job of a destination, by acceptance; `None` if there is none.
    pub fn oldest(&self, destination: &str) -> Option<Timestamp> {
        unimplemented!()
    }

    /// Dead letters, newest first.
    pub async fn dead_list(&self, filter: DeadFilter) -> Result<Vec<DeadLetter>, Refused> {
        unimplemented!()
    }

    /// Moves dead letters back to pending; how many.
    pub async fn dead_replay(&self, filter: DeadFilter) -> Result<u64, Refused> {
        unimplemented!()
    }

    /// Discards dead letters; how many. With `pending`, a destination's pending jobs too.
    pub async fn dead_discard(&self, filter: DeadFilter) -> Result<u64, Refused> {
        unimplemented!()
    }

    /// Everything kept of an event id hash: its trace records and the attempts of its jobs, oldest
    /// first, still opaque.
    pub async fn trace(&self, id: IdHash) -> Result<Trace, Refused> {
        unimplemented!()
    }

    /// Walks over all pending jobs (not leased ones), for `will_withhold` and reports.
    pub async fn pending_jobs(
        &self,
        visit: Box<dyn FnMut(&str, &LeasedJob) + Send>,
    ) -> Result<(), Refused> {
        unimplemented!()
    }

    /// Stops taking requests, drains the committer and closes the store.
    pub async fn close(&self) {}
}

/// What is kept of one event.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// Each copy that arrived: when, what became of it, and its trace record.
    pub copies: Vec<TraceCopy>,
    /// Each attempt and settlement.
    pub outcomes: Vec<TraceOutcome>,
}

/// One copy of an event that arrived.
#[derive(Debug, Clone)]
pub struct TraceCopy {
    /// When it was committed.
    pub at: Timestamp,
    /// `accepted`, `duplicate`, ...
    pub status: String,
    /// [`Admission::trace`].
    pub record: Vec<u8>,
}

/// One thing that happened to a job.
#[derive(Debug, Clone)]
pub struct TraceOutcome {
    /// When.
    pub at: Timestamp,
    /// The destination.
    pub destination: String,
    /// See [`QueueDecision::slot`].
    pub slot: u32,
    /// `delivered`, `retry`, `dead`, `expired`, `withdrawn`, `shadowed`, `replayed`, `discarded`.
    pub outcome: String,
    /// Code, where there is one.
    pub code: String,
    /// The attempt, where there was one.
    pub attempt: Option<Attempt>,
}
