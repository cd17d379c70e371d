//! What workers do with what is shared: they take chunks, give them back, and wait for more.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::Notify;

use super::{
    super::{
        ChunkKey, Lease, Refused, chunk,
        lane::{Lane, Ready, View},
        record,
        store::{Store, StoreError},
    },
    BELIEVED_MS, Leased, Shared,
};

type Taken = Vec<(ChunkKey, Ready)>;

impl Shared {
    /// See [`crate::queue::Queue::lease`].
    pub(in crate::queue) fn lease(
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
    pub(in crate::queue) fn release(&self, chunks: Vec<ChunkKey>) -> Vec<ChunkKey> {
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
    pub(in crate::queue) async fn wait_due(&self, destination: &str) {
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
