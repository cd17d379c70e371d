//! What the committer does with what is shared: a round that is on disk is shown to the workers, the
//! store is taken away and given back, and chunks are taken out that nobody leases.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
};

use super::{
    super::{
        ChunkKey, Refused, Vitals,
        chunk::{ChunkHead, DestinationNo},
        counters::Books,
        record,
        store::{Store, StoreError},
    },
    Leased, Published, Shared,
};

impl Shared {
    /// What a worker could not read since the last time that this was asked.
    pub(in crate::queue) fn take_damage(&self) -> Option<String> {
        self.lock().damage.take()
    }

    /// Stops leasing for a reason, or goes on: what is sent while its outcome cannot be written
    /// is sent again, and again. Says besides why events are refused, if they are.
    pub(in crate::queue) fn hold(&self, leases: Option<Refused>, events: Option<Refused>) {
        let mut inner = self.lock();
        inner.held = leases;
        inner.refuses = events;
    }

    /// A full destination shed events.
    pub(in crate::queue) fn note_shed(&self, number: DestinationNo, events: u64) {
        let now_ms = self.now_ms();
        let mut inner = self.lock();
        let (count, last_ms) = inner.shed.entry(number).or_default();
        (*count, *last_ms) = (count.saturating_add(events), now_ms);
    }

    /// See [`crate::queue::Queue::shed`].
    pub(in crate::queue) fn shed(&self, destination: &str) -> Option<(u64, i64)> {
        let inner = self.lock();
        inner.shed.get(&inner.books.number(destination)?).copied()
    }

    /// Whether events would be admitted now.
    pub(in crate::queue) fn ready(&self) -> Result<(), Refused> {
        let inner = self.lock();
        if inner.store.is_none() {
            return Err(inner.refusal.clone());
        }
        inner.refuses.clone().map_or(Ok(()), Err)
    }

    /// What is known of a leased chunk.
    pub(in crate::queue) fn leased(&self, key: &ChunkKey) -> Option<Leased> {
        self.lock().leases.get(key).cloned()
    }

    /// Takes a chunk out by itself, for a sweep or a discard; `None`: somebody holds it.
    pub(in crate::queue) fn claim(
        &self,
        key: &ChunkKey,
        head: ChunkHead,
        pieces: u16,
    ) -> Option<Leased> {
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

    /// Destinations that nobody has leased from since a time and that may have something that is over
    /// now. What could not be read is in no count.
    pub(in crate::queue) fn forsaken(&self, since_ms: i64, now_ms: i64) -> Vec<DestinationNo> {
        let inner = self.lock();
        let is_damaged =
            |number| inner.unreadable.iter().any(|key: &ChunkKey| key.destination() == number);
        (0..)
            .zip(&inner.lines)
            .filter(|(number, line)| {
                let may_end = line.ends.may_be_over(now_ms) || is_damaged(*number);
                line.last_leased_ms < since_ms && may_end
            })
            .map(|(number, _)| number)
            .collect()
    }

    /// A round is on disk: the workers see it.
    ///
    /// `rejected` of the events rejected in the meantime are in these books.
    pub(in crate::queue) fn publish(
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
    pub(in crate::queue) fn suspend(&self, refusal: Refused, failed: &[ChunkKey], vitals: Vitals) {
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
    pub(in crate::queue) fn resume(
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
