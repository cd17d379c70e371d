//! A lane: one destination's chunks in order, fresh or retried, and how far it has been read.
//!
//! It remembers a cursor, so that what is leased is not scanned again, and what lies behind the
//! cursor and is free: prefetched, given back, or written out of order.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::ControlFlow,
};

use super::{
    ChunkKey,
    chunk::{ChunkHead, DestinationNo},
    lease::Leased,
    record,
    store::{Direction, Store, StoreError},
};

/// How much one look at the store takes at most.
const PREFETCH_BYTES: usize = 256 * 1024;
/// Beyond this no more is fetched to fill one lease.
const READY_AT_MOST: usize = 256;

/// Fresh jobs come in sequence; retried ones when they are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Due 0, from a sequence number on.
    Fresh,
    /// Due 0, before that sequence number: what could not be sent while it was fresh.
    Old,
    /// Due at a time.
    Retried,
}

/// A chunk that is free.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    /// What stands before its body.
    pub(super) head: ChunkHead,
    /// Its pieces.
    pub(super) pieces: u16,
    /// Its bytes, where they were prefetched.
    pub(super) record: Option<Vec<u8>>,
}

/// What a look at the store must know.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    /// The store.
    pub(super) store: &'a dyn Store,
    /// Chunks from this sequence number on are not synced yet.
    pub(super) synced: u64,
    /// What is leased.
    pub(super) leases: &'a HashMap<ChunkKey, Leased>,
    /// Chunks with a `sending` mark: an earlier send has no known result.
    pub(super) marks: &'a HashSet<ChunkKey>,
    /// Chunks that do not open.
    pub(super) unreadable: &'a HashSet<ChunkKey>,
    /// The time as waits have it, epoch milliseconds.
    pub(super) now_ms: i64,
    /// A time further off than this is not believed.
    pub(super) believed_ms: i64,
}

impl View<'_> {
    fn is_due(&self, due_ms: i64) -> bool {
        due_ms <= self.now_ms || due_ms > self.now_ms.saturating_add(self.believed_ms)
    }
}

/// One destination's chunks of one kind.
#[derive(Debug)]
pub(super) struct Lane {
    kind: Kind,
    /// From here on nothing was read yet.
    cursor: Vec<u8>,
    /// Where it ends; for old ones this moves on with time.
    end: Vec<u8>,
    ready: BTreeMap<ChunkKey, Ready>,
    /// The store may hold more after the cursor: of fresh chunks at once, of retried ones from
    /// this time on.
    more_from_ms: Option<i64>,
}

impl Lane {
    /// A lane of which nothing was read yet.
    ///
    /// `fresh_from`: the sequence number that parts fresh from old.
    pub(super) fn new(kind: Kind, destination: DestinationNo, fresh_from: u64) -> Self {
        let (cursor, end) = match kind {
            Kind::Old => ((0, 0), (0, fresh_from)),
            Kind::Fresh => ((0, fresh_from), (1, 0)),
            Kind::Retried => ((1, 0), (i64::MAX, 0)),
        };
        let key = |(due, sequence)| ChunkKey::new(destination, due, sequence).0;
        Self {
            kind,
            cursor: key(cursor),
            end: key(end),
            ready: BTreeMap::new(),
            more_from_ms: Some(0),
        }
    }

    /// A chunk was written and synced.
    pub(super) fn written(&mut self, key: &ChunkKey, head: ChunkHead, pieces: u16) {
        if key.0 < self.cursor {
            self.ready.insert(key.clone(), Ready { head, pieces, record: None });
        } else {
            let due = key.due_ms();
            self.more_from_ms = Some(self.more_from_ms.map_or(due, |earlier| earlier.min(due)));
        }
    }

    /// What has aged moves from a lane of fresh chunks to this one of old ones: what lies before the
    /// key of `fresh_from`, which nothing has been before.
    pub(super) fn take_aged(
        &mut self,
        fresh: &mut Lane,
        destination: DestinationNo,
        fresh_from: u64,
    ) {
        let border = ChunkKey::new(destination, 0, fresh_from);
        let young = fresh.ready.split_off(&border);
        self.ready.extend(std::mem::replace(&mut fresh.ready, young));
        // What the fresh lane has read is ready above, or leased, and comes back to this one; only
        // what it has not read lies in the store for this lane to find.
        if self.cursor == self.end && fresh.cursor >= border.0 {
            self.cursor.clone_from(&border.0);
        } else {
            self.more_from_ms = Some(0);
        }
        self.end.clone_from(&border.0);
        if fresh.cursor < border.0 {
            fresh.cursor = border.0;
        }
    }

    /// A lease was given back, or ended without a change.
    pub(super) fn give_back(&mut self, key: ChunkKey, head: ChunkHead, pieces: u16) {
        self.ready.insert(key, Ready { head, pieces, record: None });
    }

    /// A chunk is taken otherwise than by a lease.
    pub(super) fn remove(&mut self, key: &ChunkKey) {
        self.ready.remove(key);
    }

    /// When something may be due; `None`: not before something is written or given back.
    pub(super) fn due_from(&self, now_ms: i64, believed_ms: i64) -> Option<i64> {
        let ready = self.ready.first_key_value().map(|(key, _)| key.due_ms());
        let due = [ready, self.more_from_ms].into_iter().flatten().min()?;
        Some(if due > now_ms.saturating_add(believed_ms) { 0 } else { due })
    }

    /// The free chunks, in order, that make up the next lease; all of one group, whole chunks, at
    /// most `at_most` jobs unless the first alone has more.
    pub(super) fn next(
        &mut self,
        view: View<'_>,
        at_most: usize,
    ) -> Result<Vec<(ChunkKey, Ready)>, StoreError> {
        loop {
            let (keys, full) = self.pick(view, at_most);
            let may_fill = self.more_from_ms.is_some_and(|from| view.is_due(from));
            if full || !may_fill || self.ready.len() >= READY_AT_MOST {
                let taken = |key: ChunkKey| self.ready.remove(&key).map(|ready| (key, ready));
                return Ok(keys.into_iter().filter_map(taken).collect());
            }
            self.fill(view)?;
        }
    }

    /// The acceptance time of the oldest free job, as far as the first chunks tell. What is in no
    /// book, such as a question that is asked later by design, is nobody's delay.
    pub(super) fn oldest_ms(&self, view: View<'_>) -> Result<Option<i64>, StoreError> {
        let counted = self.ready.values().filter(|ready| ready.head.counted > 0);
        match counted.map(|ready| ready.head.oldest_ms).min() {
            None if self.more_from_ms.is_some() => self.peek(view),
            oldest => Ok(oldest),
        }
    }

    fn pick(&self, view: View<'_>, at_most: usize) -> (Vec<ChunkKey>, bool) {
        let mut keys = Vec::new();
        let mut sort = None;
        let mut jobs = 0usize;
        for (key, ready) in &self.ready {
            if self.kind == Kind::Retried && !view.is_due(key.due_ms()) {
                continue;
            }
            // What has an unknown result must be told from what has not.
            let this = (ready.head.group, view.marks.contains(key));
            if sort.is_some_and(|sort| sort != this) {
                continue;
            }
            let more = usize::try_from(ready.head.jobs).unwrap_or(usize::MAX);
            if sort.is_some() && jobs.saturating_add(more) > at_most {
                return (keys, true);
            }
            sort = Some(this);
            jobs = jobs.saturating_add(more);
            keys.push(key.clone());
            if jobs >= at_most {
                return (keys, true);
            }
        }
        (keys, false)
    }

    fn fill(&mut self, view: View<'_>) -> Result<(), StoreError> {
        let end = self.end.clone();
        let mut bytes = 0;
        let mut stopped_at = None;
        let (kind, ready, cursor) = (self.kind, &mut self.ready, &mut self.cursor);
        let from = cursor.clone();
        record::scan(view.store, &from, &end, Direction::Forward, &mut |found| {
            let key = ChunkKey(found.key.to_vec());
            let due = key.due_ms();
            if bytes >= PREFETCH_BYTES || (kind == Kind::Retried && !view.is_due(due)) {
                stopped_at = Some(due);
                return Ok(ControlFlow::Break(()));
            }
            // What is not synced yet comes again by `written`, behind the cursor or after it.
            if kind != Kind::Retried && key.sequence() >= view.synced {
                return Ok(ControlFlow::Break(()));
            }
            *cursor = record::after(found.key);
            if key.sequence() < view.synced
                && !view.leases.contains_key(&key)
                && !view.unreadable.contains(&key)
                && let Some(head) = ChunkHead::decode(found.record)
            {
                bytes += found.record.len();
                let record = Some(found.record.to_vec());
                ready.insert(key, Ready { head, pieces: found.pieces, record });
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if stopped_at.is_none() && kind == Kind::Old {
            // All was read: from here on what ages is told by the fresh lane.
            self.cursor.clone_from(&self.end);
        }
        self.more_from_ms = stopped_at;
        Ok(())
    }

    fn peek(&self, view: View<'_>) -> Result<Option<i64>, StoreError> {
        let mut oldest = None;
        record::scan(view.store, &self.cursor, &self.end, Direction::Forward, &mut |found| {
            let key = ChunkKey(found.key.to_vec());
            let is_free = key.sequence() < view.synced && !view.leases.contains_key(&key);
            let head = ChunkHead::decode(found.record).filter(|head| is_free && head.counted > 0);
            let Some(head) = head else { return Ok(ControlFlow::Continue(())) };
            oldest = Some(head.oldest_ms);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(oldest)
    }
}
