//! What the workers share with the committer: the store to read from, the books of the last
//! synced batch, and who holds which chunk. Leases live in memory only: a crash makes leased jobs
//! due again.

mod publish;
mod questions;
mod workers;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64},
    },
};

use tokio::sync::Notify;

use super::{
    ChunkKey, IdHash, Refused, Vitals,
    ages::{Ages, Waits},
    chunk::{ChunkHead, DestinationNo},
    counters::Books,
    line::Line,
    refused::RefusedSubjects,
    seal::Seal,
    store::Store,
};
use crate::clock::Clock;

/// No retry waits longer than this.
pub(super) const LONGEST_WAIT_MS: i64 = 60 * 60 * 1000;
/// No due time is believed that is further off (due times are rounded up): a clock step stalls
/// nothing for longer.
const BELIEVED_MS: i64 = 2 * LONGEST_WAIT_MS;

/// A chunk that somebody holds.
#[derive(Debug, Clone)]
pub(super) struct Leased {
    /// What stands before its body.
    pub(super) head: ChunkHead,
    /// Its pieces.
    pub(super) pieces: u16,
    /// A `sending` mark stood before this lease.
    pub(super) marked_before: bool,
    /// This lease set one.
    pub(super) marked_now: bool,
    /// The committer holds it itself, for the round in hand.
    pub(super) claimed: bool,
}

/// What a committed round changes for the workers.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// Chunks written.
    pub(super) written: Vec<(ChunkKey, ChunkHead, u16)>,
    /// Leased chunks that are gone.
    pub(super) settled: Vec<ChunkKey>,
    /// Leased chunks that stay as they are, without their mark.
    pub(super) kept: Vec<ChunkKey>,
    /// Leased chunks that stay as they are, with their mark.
    pub(super) kept_marked: Vec<ChunkKey>,
    /// Of the chunks written those with a `sending` mark from the start.
    pub(super) written_marked: Vec<ChunkKey>,
    /// Subject keys of people who refused something, or were erased.
    pub(super) refused: Vec<IdHash>,
    /// Leased chunks with a new `sending` mark.
    pub(super) marked: Vec<ChunkKey>,
    /// Decisions that expired here, never leased: by destination, event and reason.
    pub(super) expired: BTreeMap<(DestinationNo, String, &'static str), u64>,
}

/// Shared by every handle and the committer.
pub(super) struct Shared {
    /// One lock: a chunk leaves its lane, enters a lease and is counted in one moment, which is
    /// what makes the books balance whenever they are read. Nobody sleeps under it; the store is
    /// read under it in bites of some hundred kilobytes, from memory mostly.
    inner: Mutex<Inner>,
    /// Seals and opens; the same for as long as the queue is open.
    pub(super) seal: Seal,
    /// Gives the time.
    pub(super) clock: Clock,
    /// Events rejected since the last commit.
    pub(super) rejected: AtomicU64,
    /// Decisions are kept for the log.
    pub(super) keeps_evidence: AtomicBool,
    /// Who refused something lately. A lock of its own, held for a few look-ups.
    pub(super) refused: Mutex<RefusedSubjects>,
}

struct Inner {
    store: Option<Arc<dyn Store>>,
    refusal: Refused,
    /// Why nothing is leased although the store can be read: outcomes could not be written.
    held: Option<Refused>,
    /// Why events would not be admitted, as of the last round.
    refuses: Option<Refused>,
    /// How many events each full destination has shed since the start, and when the last one.
    shed: HashMap<DestinationNo, (u64, i64)>,
    /// What a worker could not read; for the committer, who owns the store.
    damage: Option<String>,
    books: Books,
    lines: Vec<Line>,
    ages: Ages,
    waits: Waits,
    leases: HashMap<ChunkKey, Leased>,
    marks: HashSet<ChunkKey>,
    unreadable: HashSet<ChunkKey>,
    waiters: HashMap<String, Arc<Notify>>,
    vitals: Vitals,
}

impl Shared {
    /// Shares nothing yet; the committer fills it in.
    pub(super) fn new(seal: Seal, clock: Clock) -> Self {
        let now_ms = clock().as_millisecond();
        Self {
            refused: Mutex::new(RefusedSubjects::new(now_ms)),
            inner: Mutex::new(Inner {
                store: None,
                refusal: Refused::Store("the store is being opened".to_owned()),
                held: None,
                refuses: None,
                shed: HashMap::new(),
                damage: None,
                books: Books::default(),
                lines: Vec::new(),
                ages: Ages::default(),
                waits: Waits::default(),
                leases: HashMap::new(),
                marks: HashSet::new(),
                unreadable: HashSet::new(),
                waiters: HashMap::new(),
                vitals: Vitals::default(),
            }),
            seal,
            clock,
            rejected: AtomicU64::new(0),
            keeps_evidence: AtomicBool::new(false),
        }
    }

    /// Every sequence number below this is on disk.
    pub(super) fn synced(&self) -> u64 {
        self.lock().books.events.next_sequence
    }

    /// What is synced and what is leased, as of one moment.
    pub(super) fn leased_keys(&self) -> (u64, HashSet<ChunkKey>) {
        let inner = self.lock();
        (inner.books.events.next_sequence, inner.leases.keys().cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change under the lock is complete before anything in it can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time, epoch milliseconds.
    pub(super) fn now_ms(&self) -> i64 {
        (self.clock)().as_millisecond()
    }

    /// The store, to read from what was synced.
    pub(super) fn store(&self) -> Result<Arc<dyn Store>, Refused> {
        let inner = self.lock();
        inner.store.clone().ok_or_else(|| inner.refusal.clone())
    }
}

impl Inner {
    fn end_lease(&mut self, key: &ChunkKey) -> Option<Leased> {
        let leased = self.leases.remove(key)?;
        if let Some(line) = self.lines.get_mut(usize::from(key.destination())) {
            line.in_flight = line.in_flight.saturating_sub(u64::from(leased.head.counted));
        }
        Some(leased)
    }

    fn grow_lines(&mut self, now_ms: i64) {
        while self.lines.len() < self.books.destinations.len() {
            let number = DestinationNo::try_from(self.lines.len()).unwrap_or(DestinationNo::MAX);
            self.lines.push(Line::new(number, self.ages.fresh_from, now_ms));
        }
    }

    fn notify(&self, destination: DestinationNo) {
        if let Some(waiter) = self.waiters.get(self.books.name(destination)) {
            waiter.notify_waiters();
        }
    }
}
