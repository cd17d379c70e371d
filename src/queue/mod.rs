//! The durable queue: admits events, leases jobs, settles outcomes, keeps dead letters and books.
//!
//! It stores opaque bytes with routing fields and knows no platform. All state that must agree
//! (event ids, frequency, jobs, counters, traces) is written by one committer thread as one atomic
//! batch, synced before anybody is answered.

mod admit;
mod ages;
mod chunk;
mod committer;
mod counters;
mod dead;
mod ends;
mod folder;
mod groups;
mod ids;
mod kept;
mod lane;
mod lease;
mod line;
mod migrate;
mod open;
mod orders;
mod outbox;
mod people;
mod person;
mod privacy;
mod recall;
mod record;
mod refused;
mod register;
mod round;
mod seal;
mod settle;
mod stats;
mod store;
mod trace;
mod types;
mod upkeep;
mod whole;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
};

use jiff::Timestamp;
use tokio::sync::{Semaphore, oneshot};

pub use folder::{Disk, FreeSpace};
pub use migrate::{Migrated, Migration, migrate};
pub use open::{OpenError, Opening};
pub use orders::OrderEvent;
pub use outbox::{Evidence, Made, Sending, Waiting};
pub use stats::*;
pub use store::memory::MemoryDisk;
pub use types::*;
pub use whole::{make_folder, write_whole};

use committer::Request;
use dead::Filter;
use lease::Shared;
use upkeep::{Task, TaskKind};

/// What may wait for the committer, in KiB of admissions: bounded by size, since a single event may
/// be 256 KiB.
const WAITING_KIB: u32 = 96 * 1024;

/// A handle to the queue; cheap to clone.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    /// Unbounded: admissions are bounded by `waiting`, settlements by leases, the rest by
    /// operators. A settlement must never be refused for want of room.
    requests: Sender<Request>,
    waiting: Arc<Semaphore>,
    stopping: AtomicBool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("vitals", &self.vitals()).finish_non_exhaustive()
    }
}

impl Queue {
    /// Opens the folder (lock, mode, keys, recovery) and starts the committer's thread.
    pub fn open(opening: Opening) -> Result<Self, OpenError> {
        open::open(opening, open::Engine::Configured)
    }

    /// Opens a queue whose store is not on disk, for tests and models; the folder still holds the
    /// lock and the key file.
    pub fn open_in_memory(opening: Opening, disk: &MemoryDisk) -> Result<Self, OpenError> {
        open::open(opening, open::Engine::Memory(disk.clone()))
    }

    fn new(shared: Arc<Shared>, requests: Sender<Request>) -> Self {
        let waiting = Arc::new(Semaphore::new(usize::try_from(WAITING_KIB).unwrap_or(1)));
        Self {
            inner: Arc::new(Handle { shared, requests, waiting, stopping: AtomicBool::new(false) }),
        }
    }

    /// The keyed hash by which the queue knows something: HMAC with the subject secret, cut to 16
    /// bytes. `domain` keeps kinds apart (`event`, `same_as`, `subject/CONTROLLER`, `session/SITE`).
    pub fn keyed(&self, domain: &str, parts: &[&[u8]]) -> [u8; 16] {
        self.inner.shared.seal.keyed(domain, parts)
    }

    /// The subject secret itself, from which [`crate::pipeline::SubjectKey`] is made.
    pub fn subject_secret(&self) -> [u8; 32] {
        self.inner.shared.seal.subject_secret()
    }

    /// Admits events in order; answered when they are on disk, synced.
    pub async fn admit(&self, admissions: Vec<Admission>) -> Result<Vec<Admitted>, Refused> {
        let weight = weight_kib(&admissions).clamp(1, WAITING_KIB);
        let waiting = Arc::clone(&self.inner.waiting);
        let permit = waiting
            .try_acquire_many_owned(weight)
            .map_err(|_| Refused::Full("too much waits for the disk".to_owned()))?;
        self.ask(|reply| Request::Admit { admissions, reply, permit }).await
    }

    /// How an event would be judged now, where that is not by itself: as a duplicate or suppressed.
    /// Changes nothing.
    pub async fn foresee(&self, admission: Admission) -> Result<Option<Admitted>, Refused> {
        let admission = Box::new(admission);
        self.ask(|reply| Request::Foresee { admission, reply }).await
    }

    /// Notes that a signed delivery was taken, among the ids of events and as long as they are kept;
    /// answered when it is on disk, synced.
    pub async fn note_delivery(&self, id: IdHash) -> Result<(), Refused> {
        self.ask(|reply| Request::Note { id, reply }).await
    }

    /// Whether a delivery was noted.
    pub async fn knows_delivery(&self, id: IdHash) -> Result<bool, Refused> {
        self.ask(|reply| Request::Knows { id, reply }).await
    }

    /// Counts events that were rejected before they became admissions. Not synced on its own.
    pub fn count_rejected(&self, events: u64) {
        self.inner.shared.rejected.fetch_add(events, Ordering::SeqCst);
    }

    /// Takes out jobs that are due, of one group: whole chunks, at most `at_most` jobs unless the
    /// first chunk alone has more. `None`: nothing is due. `fresh_share` (0 to 100) divides between
    /// fresh jobs and retried ones while there are both.
    ///
    /// A lease ends by [`Queue::settle`] or [`Queue::release`]; one that is dropped stays in flight
    /// until the relay starts again.
    pub fn lease(
        &self,
        destination: &str,
        at_most: usize,
        fresh_share: u8,
    ) -> Result<Option<Lease>, Refused> {
        self.inner.shared.lease(destination, at_most, fresh_share)
    }

    /// Waits until something may be due for a destination.
    pub async fn wait_due(&self, destination: &str) {
        self.inner.shared.wait_due(destination).await;
    }

    /// Writes the durable `sending` mark of a lease.
    pub async fn mark_sending(&self, lease: &Lease) -> Result<(), Refused> {
        let chunks = lease.chunks.clone();
        self.ask(|reply| Request::Mark { chunks, reply }).await
    }

    /// Settles a lease; answered when it is on disk, synced. Where it is refused, its jobs are due
    /// again.
    pub async fn settle(&self, settlement: Settlement) -> Result<(), Refused> {
        self.ask(|reply| Request::Settle { settlement, reply }).await
    }

    /// Gives a lease back untouched: it was not sent.
    pub fn release(&self, lease: Lease) {
        let chunks = self.inner.shared.release(lease.chunks);
        if !chunks.is_empty() {
            // Without a committer the mark stays, which is safe.
            _ = self.inner.requests.send(Request::Unmark { chunks });
        }
    }

    /// Keeps a small record under a name, sealed, in place of the one before; answered when it is
    /// on disk, synced. It stays until it is replaced.
    pub async fn keep(&self, name: &str, text: Vec<u8>) -> Result<(), Refused> {
        let name = name.to_owned();
        self.ask(|reply| Request::Keep { name, text, reply }).await
    }

    /// What was kept under a name. A record that does not open is none, and is told in the log.
    pub async fn kept(&self, name: &str) -> Result<Option<Vec<u8>>, Refused> {
        let (shared, name) = (Arc::clone(&self.inner.shared), name.to_owned());
        blocking(move || {
            kept::read(&*shared.store()?, &shared.seal, &name)
                .map_err(|e| Refused::Store(e.to_string()))
        })
        .await
    }

    /// Takes over the encryption keys of these settings while everything goes on: what was wrapped by
    /// an earlier key is wrapped by the current one. `random`: new bytes.
    pub async fn rotate(
        &self,
        settings: &crate::config::QueueSettings,
        random: [u8; 32],
    ) -> Result<(), Refused> {
        let settings = Box::new(settings.clone());
        self.ask(|reply| Request::Rotate { settings, random, reply }).await
    }

    /// The books, as of one moment. States of destinations are filled in by the caller.
    #[allow(clippy::unused_async, reason = "an engine that is not embedded has to ask")]
    pub async fn stats(&self) -> Stats {
        self.inner.shared.stats()
    }

    /// Whether an event would be admitted now, as of the last tenth of a second; else why not. A
    /// single destination that is full is no reason.
    pub fn ready(&self) -> Result<(), Refused> {
        self.inner.shared.ready()
    }

    /// How the queue itself fares, for metrics.
    pub fn vitals(&self) -> Vitals {
        self.inner.shared.vitals()
    }

    /// Age of the oldest pending job of a destination, by acceptance; `None` if there is none.
    pub fn oldest(&self, destination: &str) -> Option<Timestamp> {
        self.inner.shared.oldest(destination)
    }

    /// How many events a full destination has shed since the start, and when the last one; `None`:
    /// none.
    pub fn shed(&self, destination: &str) -> Option<(u64, Timestamp)> {
        let (count, last_ms) = self.inner.shared.shed(destination)?;
        Some((count, Timestamp::from_millisecond(last_ms).ok()?))
    }

    /// How many waiting jobs are over by a time, by destination, to a chunk and to ten minutes: of a
    /// chunk that holds some that last longer none is counted. The first time reads the queue once,
    /// a bite at a time; from then on nothing is read.
    pub async fn expiring(&self, until: Timestamp) -> Result<BTreeMap<String, u64>, Refused> {
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || Ok(shared.expiring(until.as_millisecond())?)).await
    }

    /// Dead letters, newest first.
    pub async fn dead_list(&self, filter: DeadFilter) -> Result<Vec<DeadLetter>, Refused> {
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || {
            let names = shared.names();
            let wanted = Filter::of(&filter, |name| shared.number(name));
            let name = |number| names.get(usize::from(number)).cloned().unwrap_or_default();
            dead::list(&*shared.store()?, &shared.seal, &wanted, filter.limit, name)
                .map_err(|e| Refused::Store(e.to_string()))
        })
        .await
    }

    /// Moves dead letters back to pending; how many. Done in bites: what dies in the meantime may
    /// be included.
    pub async fn dead_replay(&self, filter: DeadFilter) -> Result<u64, Refused> {
        let filter = Filter::of(&filter, |name| self.inner.shared.number(name));
        self.work(TaskKind::Replay { filter, from: TaskKind::first_dead() }).await
    }

    /// Discards dead letters; how many. With `pending`, what is pending for the destination too.
    pub async fn dead_discard(&self, filter: DeadFilter) -> Result<u64, Refused> {
        let number = |name: &str| self.inner.shared.number(name);
        let pending = filter.destination.as_deref().filter(|_| filter.pending).and_then(number);
        let filter = Filter::of(&filter, number);
        self.work(TaskKind::Discard { filter, from: TaskKind::first_dead(), pending }).await
    }

    /// Everything kept of an event id hash: its trace records and the attempts of its jobs, oldest
    /// first, still opaque.
    pub async fn trace(&self, id: IdHash) -> Result<Trace, Refused> {
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || {
            trace::find(&*shared.store()?, &shared.seal, &id)
                .map_err(|e| Refused::Store(e.to_string()))
        })
        .await
    }

    /// Walks over all pending jobs (not leased ones), for `will_withhold` and reports.
    pub async fn pending_jobs(&self, mut visit: JobVisitor) -> Result<(), Refused> {
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || shared.walk(&mut *visit)).await
    }

    /// Stops taking requests, drains the committer and closes the store.
    pub async fn close(&self) {
        if self.inner.stopping.swap(true, Ordering::SeqCst) {
            return;
        }
        let (reply, closed) = oneshot::channel();
        if self.inner.requests.send(Request::Close { reply }).is_ok() {
            // An error means that the committer is gone, which is what was asked for.
            _ = closed.await;
        }
    }

    async fn work(&self, kind: TaskKind) -> Result<u64, Refused> {
        self.ask(|reply| Request::Work(Task { kind, count: 0, reply })).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, Refused>>) -> Request,
    ) -> Result<T, Refused> {
        if self.inner.stopping.load(Ordering::SeqCst) {
            return Err(Refused::Stopping);
        }
        let (reply, answer) = oneshot::channel();
        self.inner.requests.send(request(reply)).map_err(|_| Refused::Stopping)?;
        answer.await.unwrap_or(Err(Refused::Stopping))
    }
}

fn weight_kib(admissions: &[Admission]) -> u32 {
    let bytes: usize = admissions
        .iter()
        .map(|admission| {
            let decisions = admission.parts.iter().flat_map(|part| &part.decisions);
            let bodies = decisions.map(|decision| match &decision.fate {
                QueueFate::Queued(job) => job.body.len(),
                QueueFate::Skipped { .. } | QueueFate::Held(_) | QueueFate::Shadowed => 0,
            });
            admission.trace.len() + admission.grounds.len() + bodies.sum::<usize>()
        })
        .sum();
    u32::try_from(bytes / 1024 + admissions.len() / 8).unwrap_or(u32::MAX)
}

/// Reads that may take long do not hold up the tasks of the runtime.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    tokio::task::spawn_blocking(read)
        .await
        .unwrap_or_else(|_| Err(Refused::Store("a read gave up (panicked)".to_owned())))
}

/// The keys of a person's frequency records, by a subject key of theirs.
pub type MarksOf = Arc<dyn Fn(&IdHash) -> Vec<IdHash> + Send + Sync>;

/// Sees the destination's name and a pending job.
pub type JobVisitor = Box<dyn FnMut(&str, &LeasedJob) + Send>;

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
