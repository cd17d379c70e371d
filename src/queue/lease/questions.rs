//! What is asked of what is shared: the books, what waits, and for how long.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use jiff::Timestamp;

use super::{
    super::{Stats, Vitals, chunk::DestinationNo, lane::View, store::StoreError},
    BELIEVED_MS, Shared,
};

impl Shared {
    /// The time as waits have it, epoch milliseconds.
    pub(in crate::queue) fn waits_ms(&self) -> i64 {
        let mut inner = self.lock();
        inner.waits.at(self.now_ms())
    }

    /// Reads on in what waits, so that it is known when it is over; whether all was read.
    pub(in crate::queue) fn read_ends(&self) -> Result<bool, StoreError> {
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
    pub(in crate::queue) fn ending(&self, until_ms: i64) -> BTreeMap<String, u64> {
        let inner = self.lock();
        let lines = inner.lines.iter().map(|line| (line.number, line.ends.until(until_ms)));
        let lines = lines.filter(|(_, count)| *count > 0);
        lines.map(|(number, count)| (inner.books.name(number).to_owned(), count)).collect()
    }

    /// See [`crate::queue::Queue::oldest`].
    pub(in crate::queue) fn oldest(&self, destination: &str) -> Option<Timestamp> {
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
    pub(in crate::queue) fn stats(&self) -> Stats {
        let inner = self.lock();
        let rejected = self.rejected.load(Ordering::SeqCst);
        inner.books.stats(rejected, |number| {
            inner.lines.get(usize::from(number)).map_or(0, |line| line.in_flight)
        })
    }

    /// See [`crate::queue::Queue::vitals`].
    pub(in crate::queue) fn vitals(&self) -> Vitals {
        let inner = self.lock();
        Vitals { open: inner.store.is_some(), jobs: inner.books.jobs(), ..inner.vitals.clone() }
    }

    /// The number and the name of destinations, as of the last synced batch.
    pub(in crate::queue) fn number(&self, name: &str) -> Option<DestinationNo> {
        self.lock().books.number(name)
    }

    /// All destinations' names, by number.
    pub(in crate::queue) fn names(&self) -> Vec<String> {
        self.lock().books.destinations.iter().map(|book| book.name.clone()).collect()
    }
}
