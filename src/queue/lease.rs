//! What the workers share with the committer: the store to read from, the books of the last
//! synced batch, and who holds which chunk. Leases live in memory only: a crash makes leased jobs
//! due again.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::{
    ChunkKey, IdHash, Lease, Refused, Stats, Vitals,
    ages::{Ages, Waits},
    chunk::{self, ChunkHead, DestinationNo},
    counters::Books,
    lane::{Lane, Ready, View},
    line::Line,
    record,
    refused::RefusedSubjects,
    seal::Seal,
    store::{Store, StoreError},
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

type Taken = Vec<(ChunkKey, Ready)>;

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

    // === what workers do ===

    /// See [`super::Queue::lease`].
    pub(super) fn lease(
        &self,
        destination: &str,
        at_most: usize,
        fresh_share: u8,
    ) -> Result<Option<Lease>, Refused> {
        loop {
            let Some((taken, unknown_result)) = self.take(destination, at_most, fresh_share)?
            else {
                return Ok(None);
            };
            // Opened outside the lock: this is most of the work.
            let mut lease = Lease {
                destination: destination.to_owned(),
                chunks: Vec::with_capacity(taken.len()),
                jobs: Vec::new(),
                later: BTreeMap::new(),
                unknown_result,
            };
            for (key, ready) in taken {
                let record = ready.record.unwrap_or_default();
                match chunk::open(&self.seal, &key, &record) {
                    Ok(jobs) => {
                        lease.jobs.extend(jobs);
                        lease.chunks.push(key);
                    }
                    Err(why) => {
                        tracing::error!(destination, "a chunk of jobs is set aside: {why}");
                        self.set_aside(&key);
                    }
                }
            }
            if !lease.chunks.is_empty() {
                return self.hear(lease).map(Some);
            }
        }
    }

    fn take(
        &self,
        destination: &str,
        at_most: usize,
        fresh_share: u8,
    ) -> Result<Option<(Taken, bool)>, Refused> {
        let mut inner = self.lock();
        // Under the lock: who read the time before somebody else put the clock would put it twice.
        let now_ms = self.now_ms();
        let inner = &mut *inner;
        let Some(store) = &inner.store else { return Err(inner.refusal.clone()) };
        if let Some(held) = &inner.held {
            return Err(held.clone());
        }
        let Some(number) = inner.books.number(destination) else { return Ok(None) };
        let Some(line) = inner.lines.get_mut(usize::from(number)) else { return Ok(None) };
        line.last_leased_ms = now_ms;
        line.age(inner.ages.fresh_from(now_ms, inner.books.events.next_sequence));
        let waits_ms = inner.waits.at(now_ms);
        let view = View {
            store: &**store,
            synced: inner.books.events.next_sequence,
            leases: &inner.leases,
            marks: &inner.marks,
            unreadable: &inner.unreadable,
            now_ms: waits_ms,
            believed_ms: BELIEVED_MS,
        };
        let due =
            |lane: &Lane| lane.due_from(waits_ms, BELIEVED_MS).is_some_and(|due| due <= waits_ms);
        let some = (due(&line.fresh), due(&line.old), due(&line.retried));
        for kind in line.served.order(some, fresh_share) {
            let (number, fresh_from) = (line.number, line.fresh_from);
            let lane = line.of(kind);
            let taken = lane.next(view, at_most.max(1)).and_then(|taken| fetch(&**store, taken));
            let taken = match taken {
                Ok(taken) => taken,
                Err(error) => {
                    // What was taken out is found again by reading from the start.
                    *lane = Lane::new(kind, number, fresh_from);
                    if let StoreError::Corrupt(why) = &error {
                        inner.damage = Some(why.clone());
                    }
                    return Err(Refused::Store(error.to_string()));
                }
            };
            if taken.is_empty() {
                continue;
            }
            let jobs: u64 = taken.iter().map(|(_, ready)| u64::from(ready.head.jobs)).sum();
            line.served.note(kind, jobs, some);
            let mut unknown = false;
            for (key, ready) in &taken {
                let marked_before = inner.marks.contains(key);
                unknown |= marked_before;
                line.in_flight += u64::from(ready.head.counted);
                line.ends.leave(key, ready.head);
                inner.leases.insert(
                    key.clone(),
                    Leased {
                        head: ready.head,
                        pieces: ready.pieces,
                        marked_before,
                        marked_now: false,
                        claimed: false,
                    },
                );
            }
            return Ok(Some((taken, unknown)));
        }
        Ok(None)
    }

    /// Gives a lease back; returns the chunks whose mark this lease had set.
    pub(super) fn release(&self, chunks: Vec<ChunkKey>) -> Vec<ChunkKey> {
        let mut unmark = Vec::new();
        let mut inner = self.lock();
        for key in chunks {
            let Some(leased) = inner.end_lease(&key) else { continue };
            if leased.marked_now && !leased.marked_before {
                inner.marks.remove(&key);
                unmark.push(key.clone());
            }
            if let Some(line) = inner.lines.get_mut(usize::from(key.destination())) {
                line.give_back(key.clone(), &leased);
            }
            inner.notify(key.destination());
        }
        unmark
    }

    fn set_aside(&self, key: &ChunkKey) {
        let mut inner = self.lock();
        inner.end_lease(key);
        inner.unreadable.insert(key.clone());
    }

    /// Returns when something may be due for a destination.
    pub(super) async fn wait_due(&self, destination: &str) {
        let notify = self.waiter(destination);
        loop {
            let notified = notify.notified();
            tokio::pin!(notified);
            // Registered before looking: what is published in between is not missed.
            notified.as_mut().enable();
            let wait = self.wait_ms(destination);
            if wait.is_some_and(|wait| wait <= 0) {
                return;
            }
            // The clock may be stepped, or a test's: no more than a second is slept at once.
            let wait = wait.map_or(1000, |wait| wait.clamp(1, 1000));
            let wait = std::time::Duration::from_millis(wait.unsigned_abs());
            // Either way the look above decides.
            _ = tokio::time::timeout(wait, notified).await;
        }
    }

    fn waiter(&self, destination: &str) -> Arc<Notify> {
        let mut inner = self.lock();
        Arc::clone(inner.waiters.entry(destination.to_owned()).or_default())
    }

    /// How long until something may be due, 0 or less if it is; `None`: nothing waits.
    fn wait_ms(&self, destination: &str) -> Option<i64> {
        let mut inner = self.lock();
        inner.store.as_ref()?;
        let waits_ms = inner.waits.at(self.now_ms());
        let line = inner.lines.get(usize::from(inner.books.number(destination)?))?;
        let lanes = [&line.fresh, &line.old, &line.retried].into_iter();
        let due = lanes.filter_map(|lane| lane.due_from(waits_ms, BELIEVED_MS)).min()?;
        Some(due.saturating_sub(waits_ms))
    }

    /// The time as waits have it, epoch milliseconds.
    pub(super) fn waits_ms(&self) -> i64 {
        let mut inner = self.lock();
        inner.waits.at(self.now_ms())
    }

    /// Reads on in what waits, so that it is known when it is over; whether all was read.
    pub(super) fn read_ends(&self) -> Result<bool, StoreError> {
        let now_ms = self.now_ms();
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Some(store) = &inner.store else { return Ok(true) };
        let view = View {
            store: &**store,
            synced: inner.books.events.next_sequence,
            leases: &inner.leases,
            marks: &inner.marks,
            unreadable: &inner.unreadable,
            now_ms,
            believed_ms: BELIEVED_MS,
        };
        for line in &mut inner.lines {
            if !line.ends.is_read() {
                line.ends.read(view)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How many jobs are over by a time, by destination, as far as was read.
    pub(super) fn ending(&self, until_ms: i64) -> BTreeMap<String, u64> {
        let inner = self.lock();
        let lines = inner.lines.iter().map(|line| (line.number, line.ends.until(until_ms)));
        let lines = lines.filter(|(_, count)| *count > 0);
        lines.map(|(number, count)| (inner.books.name(number).to_owned(), count)).collect()
    }

    /// See [`super::Queue::oldest`].
    pub(super) fn oldest(&self, destination: &str) -> Option<Timestamp> {
        let now_ms = self.now_ms();
        let mut inner = self.lock();
        let inner = &mut *inner;
        let store = inner.store.as_ref()?;
        let line = inner.lines.get_mut(usize::from(inner.books.number(destination)?))?;
        let view = View {
            store: &**store,
            synced: inner.books.events.next_sequence,
            leases: &inner.leases,
            marks: &inner.marks,
            unreadable: &inner.unreadable,
            now_ms,
            believed_ms: BELIEVED_MS,
        };
        let lanes = [&line.fresh, &line.old, &line.retried];
        let oldest = lanes.into_iter().filter_map(|lane| lane.oldest_ms(view).ok()?).min()?;
        Timestamp::from_millisecond(oldest).ok()
    }

    /// The books of the last synced batch, and what is leased of them: one moment.
    pub(super) fn stats(&self) -> Stats {
        let inner = self.lock();
        let rejected = self.rejected.load(Ordering::SeqCst);
        inner.books.stats(rejected, |number| {
            inner.lines.get(usize::from(number)).map_or(0, |line| line.in_flight)
        })
    }

    /// See [`super::Queue::vitals`].
    pub(super) fn vitals(&self) -> Vitals {
        let inner = self.lock();
        Vitals { open: inner.store.is_some(), jobs: inner.books.jobs(), ..inner.vitals.clone() }
    }

    /// The number and the name of destinations, as of the last synced batch.
    pub(super) fn number(&self, name: &str) -> Option<DestinationNo> {
        self.lock().books.number(name)
    }

    /// All destinations' names, by number.
    pub(super) fn names(&self) -> Vec<String> {
        self.lock().books.destinations.iter().map(|book| book.name.clone()).collect()
    }

    // === what the committer does ===

    /// What a worker could not read since the last time that this was asked.
    pub(super) fn take_damage(&self) -> Option<String> {
        self.lock().damage.take()
    }

    /// Stops leasing for a reason, or goes on: what is sent while its outcome cannot be written
    /// is sent again, and again. Says besides why events are refused, if they are.
    pub(super) fn hold(&self, leases: Option<Refused>, events: Option<Refused>) {
        let mut inner = self.lock();
        inner.held = leases;
        inner.refuses = events;
    }

    /// A full destination shed events.
    pub(super) fn note_shed(&self, number: DestinationNo, events: u64) {
        let now_ms = self.now_ms();
        let mut inner = self.lock();
        let (count, last_ms) = inner.shed.entry(number).or_default();
        (*count, *last_ms) = (count.saturating_add(events), now_ms);
    }

    /// See [`super::Queue::shed`].
    pub(super) fn shed(&self, destination: &str) -> Option<(u64, i64)> {
        let inner = self.lock();
        inner.shed.get(&inner.books.number(destination)?).copied()
    }

    /// Whether events would be admitted now.
    pub(super) fn ready(&self) -> Result<(), Refused> {
        let inner = self.lock();
        if inner.store.is_none() {
            return Err(inner.refusal.clone());
        }
        inner.refuses.clone().map_or(Ok(()), Err)
    }

    /// What is known of a leased chunk.
    pub(super) fn leased(&self, key: &ChunkKey) -> Option<Leased> {
        self.lock().leases.get(key).cloned()
    }

    /// Takes a chunk out by itself, for a sweep or a discard; `None`: somebody holds it.
    pub(super) fn claim(&self, key: &ChunkKey, head: ChunkHead, pieces: u16) -> Option<Leased> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        if inner.leases.contains_key(key) {
            return None;
        }
        let line = inner.lines.get_mut(usize::from(key.destination()))?;
        line.lane(key).remove(key);
        line.ends.leave(key, head);
        line.in_flight += u64::from(head.counted);
        let marked_before = inner.marks.contains(key);
        let leased = Leased { head, pieces, marked_before, marked_now: false, claimed: true };
        inner.leases.insert(key.clone(), leased.clone());
        Some(leased)
    }

    /// Destinations that nobody has leased from since a time.
    pub(super) fn forsaken(&self, since_ms: i64) -> Vec<DestinationNo> {
        (0..)
            .zip(&self.lock().lines)
            .filter(|(_, line)| line.last_leased_ms < since_ms)
            .map(|(number, _)| number)
            .collect()
    }

    /// A round is on disk: the workers see it.
    ///
    /// `rejected` of the events rejected in the meantime are in these books.
    pub(super) fn publish(
        &self,
        books: &Books,
        published: Published,
        vitals: Vitals,
        rejected: u64,
    ) {
        let now_ms = self.now_ms();
        if !published.refused.is_empty() {
            self.refused().insert(&published.refused, now_ms);
        }
        let mut inner = self.lock();
        self.rejected.fetch_sub(rejected, Ordering::SeqCst);
        inner.books.clone_from(books);
        inner.vitals = vitals;
        inner.grow_lines(now_ms);
        let mut awake = HashSet::new();
        for key in published.settled {
            inner.end_lease(&key);
            inner.marks.remove(&key);
        }
        for key in &published.kept {
            inner.marks.remove(key);
        }
        for key in published.kept.into_iter().chain(published.kept_marked) {
            if let Some(leased) = inner.end_lease(&key)
                && let Some(line) = inner.lines.get_mut(usize::from(key.destination()))
            {
                awake.insert(key.destination());
                line.give_back(key, &leased);
            }
        }
        for key in published.marked {
            if let Some(leased) = inner.leases.get_mut(&key) {
                leased.marked_now = true;
                inner.marks.insert(key);
            }
        }
        inner.marks.extend(published.written_marked);
        for (key, head, pieces) in published.written {
            awake.insert(key.destination());
            if let Some(line) = inner.lines.get_mut(usize::from(key.destination())) {
                line.ends.enter(&key, head);
                line.lane(&key).written(&key, head, pieces);
            }
        }
        for destination in awake {
            inner.notify(destination);
        }
    }

    /// The store is gone for now: nothing is leased, everything is refused.
    pub(super) fn suspend(&self, refusal: Refused, failed: &[ChunkKey], vitals: Vitals) {
        let mut inner = self.lock();
        inner.store = None;
        inner.refusal = refusal;
        inner.vitals = vitals;
        for key in failed {
            inner.end_lease(key);
        }
        inner.leases.retain(|_, leased| !leased.claimed);
    }

    /// The store is open (again): what memory knew of it is read anew. Leases that still have
    /// their chunk stand.
    pub(super) fn resume(
        &self,
        store: Arc<dyn Store>,
        books: &Books,
        marks: HashSet<ChunkKey>,
        vitals: Vitals,
    ) -> Result<(), StoreError> {
        let now_ms = self.now_ms();
        let mut inner = self.lock();
        let mut gone = Vec::new();
        for key in inner.leases.keys() {
            if record::get(&*store, &key.0)?.is_none() {
                gone.push(key.clone());
            }
        }
        for key in gone {
            inner.leases.remove(&key);
        }
        inner.store = Some(store);
        inner.books.clone_from(books);
        inner.marks = marks;
        inner.vitals = vitals;
        inner.lines.clear();
        inner.ages.begin(books.events.next_sequence);
        inner.grow_lines(now_ms);
        let inner = &mut *inner;
        for (key, leased) in &inner.leases {
            if let Some(line) = inner.lines.get_mut(usize::from(key.destination())) {
                line.in_flight += u64::from(leased.head.counted);
            }
        }
        for notify in inner.waiters.values() {
            notify.notify_waiters();
        }
        Ok(())
    }
}

/// Reads the bytes of those that were given back before.
fn fetch(store: &dyn Store, mut taken: Taken) -> Result<Taken, StoreError> {
    for (key, ready) in &mut taken {
        if ready.record.is_none() {
            let record = record::get(store, &key.0)?;
            ready.record = Some(record.map_or_else(Vec::new, |(_, record)| record));
        }
    }
    Ok(taken)
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
