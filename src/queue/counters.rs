//! The books: what became of events, and where each decision of a destination is now. They change
//! in the same batch as what they count.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{
    DestinationStats, Held, Stats,
    chunk::DestinationNo,
    record::{self, space},
    store::{Batch, Direction, Store, StoreError},
};
use crate::consent::ReasonCode;

/// All books, and the numbers that go with them.
#[derive(Debug, Clone, Default)]
pub(super) struct Books {
    /// Of events.
    pub(super) events: EventBooks,
    /// Of destinations, by number.
    pub(super) destinations: Vec<DestinationBooks>,
    numbers: HashMap<String, DestinationNo>,
    changed: Vec<DestinationNo>,
    /// Of events, as they were written last.
    written: EventBooks,
}

/// What became of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct EventBooks {
    /// The next sequence number of the store.
    pub(super) next_sequence: u64,
    /// See [`Stats`].
    pub(super) accepted: u64,
    /// See [`Stats`].
    pub(super) duplicate: u64,
    /// See [`Stats`].
    pub(super) suppressed: u64,
    /// See [`Stats`].
    pub(super) criteria_not_met: u64,
    /// See [`Stats`].
    pub(super) unplanned: u64,
    /// See [`Stats`].
    pub(super) test: u64,
    /// See [`Stats`].
    pub(super) rejected: u64,
}

/// Where a destination's decisions are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct DestinationBooks {
    /// The destination's name.
    pub(super) name: String,
    /// Decisions.
    pub(super) accepted: u64,
    /// Not for it.
    pub(super) skipped: u64,
    /// In the queue, leased or not.
    pub(super) queued: u64,
    /// Jobs in the queue that are in no book: test events and follow-ups.
    pub(super) uncounted: u64,
    /// Taken by the platform.
    pub(super) delivered: u64,
    /// Counted as if sent.
    pub(super) shadowed: u64,
    /// Dead letters.
    pub(super) dead: u64,
    /// Dead letters thrown away.
    pub(super) discarded: u64,
    /// Over.
    pub(super) expired: u64,
    /// Stopped by rules after queueing.
    pub(super) withdrawn: u64,
    /// Sends again.
    pub(super) retried: u64,
    /// In the order of [`ReasonCode::HELD`].
    pub(super) held: [u64; 6],
}

impl DestinationBooks {
    /// The count of decisions held for a reason; a code that holds nothing counts as no consent.
    pub(super) fn held(&mut self, code: ReasonCode) -> &mut u64 {
        let [no_consent, opted_out, no_signal, not_approved, no_rule, minor] = &mut self.held;
        match code {
            ReasonCode::OptedOut => opted_out,
            ReasonCode::NoSignal => no_signal,
            ReasonCode::NotApproved => not_approved,
            ReasonCode::NoRule => no_rule,
            ReasonCode::Minor => minor,
            ReasonCode::NoConsent
            | ReasonCode::PersonalizationDenied
            | ReasonCode::FieldsRemoved => no_consent,
        }
    }

    fn stats(&self, in_flight: u64) -> DestinationStats {
        let [no_consent, opted_out, no_signal, not_approved, no_rule, minor] = self.held;
        DestinationStats {
            accepted: self.accepted,
            skipped: self.skipped,
            pending: self.queued.saturating_sub(in_flight),
            in_flight,
            delivered: self.delivered,
            shadowed: self.shadowed,
            dead: self.dead,
            discarded: self.discarded,
            expired: self.expired,
            withdrawn: self.withdrawn,
            retried: self.retried,
            held: Held { no_consent, opted_out, no_signal, not_approved, no_rule, minor },
            state: String::new(),
            expiring_soon: None,
            api: None,
        }
    }
}

impl Books {
    /// Reads the books.
    pub(super) fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let mut books = Self::default();
        let (from, to) = record::whole(space::BOOKS);
        record::scan(store, &from, &to, Direction::Forward, &mut |found| {
            let unreadable = |e| StoreError::Corrupt(format!("the books cannot be read: {e}"));
            if found.key.len() == 1 {
                books.events = postcard::from_bytes(found.record).map_err(unreadable)?;
                books.written = books.events;
            } else {
                let book: DestinationBooks =
                    postcard::from_bytes(found.record).map_err(unreadable)?;
                let number = DestinationNo::try_from(books.destinations.len()).unwrap_or(0);
                if found.key != key(number) {
                    return Err(StoreError::Corrupt("a destination's book is missing".to_owned()));
                }
                books.numbers.insert(book.name.clone(), number);
                books.destinations.push(book);
            }
            Ok(std::ops::ControlFlow::Continue(()))
        })?;
        Ok(books)
    }

    /// The number of a destination, if it ever appeared.
    pub(super) fn number(&self, name: &str) -> Option<DestinationNo> {
        self.numbers.get(name).copied()
    }

    /// The number of a destination, which appears now if it never did.
    pub(super) fn number_or_new(&mut self, name: &str) -> Result<DestinationNo, StoreError> {
        if let Some(number) = self.numbers.get(name) {
            return Ok(*number);
        }
        let number = DestinationNo::try_from(self.destinations.len())
            .map_err(|_| StoreError::Failed("too many destinations have ever existed".into()))?;
        self.numbers.insert(name.to_owned(), number);
        self.destinations
            .push(DestinationBooks { name: name.to_owned(), ..DestinationBooks::default() });
        self.changed.push(number);
        Ok(number)
    }

    /// A destination's book, to be changed.
    pub(super) fn of(&mut self, number: DestinationNo) -> &mut DestinationBooks {
        if !self.changed.contains(&number) {
            self.changed.push(number);
        }
        let index = usize::from(number);
        if index >= self.destinations.len() {
            // Numbers come from this very list; a stray one gets a book nobody sees filled.
            self.destinations.resize_with(index + 1, DestinationBooks::default);
        }
        // The list was just made long enough.
        #[allow(clippy::indexing_slicing, reason = "the list was just made long enough")]
        &mut self.destinations[index]
    }

    /// A destination's name.
    pub(super) fn name(&self, number: DestinationNo) -> &str {
        self.destinations.get(usize::from(number)).map_or("", |book| book.name.as_str())
    }

    /// The next sequence number of the store.
    pub(super) fn sequence(&mut self) -> u64 {
        let sequence = self.events.next_sequence;
        self.events.next_sequence += 1;
        sequence
    }

    /// Whether jobs are queued or dead: what binds a folder to its mode.
    pub(super) fn hold_jobs(&self) -> bool {
        self.jobs() > 0 || self.destinations.iter().any(|book| book.dead > 0)
    }

    /// Jobs in the queue, of all destinations.
    pub(super) fn jobs(&self) -> u64 {
        self.destinations.iter().map(|book| book.queued + book.uncounted).sum()
    }

    /// Writes what changed.
    pub(super) fn write(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        let failed = |e| StoreError::Failed(format!("the books cannot be written: {e}"));
        if self.events != self.written {
            let events = postcard::to_allocvec(&self.events).map_err(failed)?;
            record::put(batch, &[space::BOOKS], &events);
            self.written = self.events;
        }
        for number in std::mem::take(&mut self.changed) {
            if let Some(book) = self.destinations.get(usize::from(number)) {
                record::put(batch, &key(number), &postcard::to_allocvec(book).map_err(failed)?);
            }
        }
        Ok(())
    }

    /// The books as they are shown; `in_flight` counts what is leased, by number.
    pub(super) fn stats(&self, rejected: u64, in_flight: impl Fn(DestinationNo) -> u64) -> Stats {
        let destinations: BTreeMap<String, DestinationStats> = (0..)
            .zip(&self.destinations)
            .map(|(number, book)| (book.name.clone(), book.stats(in_flight(number))))
            .collect();
        Stats {
            accepted: self.events.accepted,
            duplicate: self.events.duplicate,
            suppressed: self.events.suppressed,
            criteria_not_met: self.events.criteria_not_met,
            unplanned: self.events.unplanned,
            test: self.events.test,
            rejected: self.events.rejected + rejected,
            destinations,
        }
    }
}

fn key(number: DestinationNo) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    vec![space::BOOKS, high, low]
}
