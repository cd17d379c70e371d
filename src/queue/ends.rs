//! When what waits is over, by destination, in memory: so that somebody can be warned hours ahead, and
//! what is over be ended, without reading the queue again and again.
//!
//! It counts what is free, not what is leased. The store is read once after a start, in bites; from
//! then on a chunk is counted when it becomes free and taken out when it does not stay so. What lies
//! beyond what was read is left alone: reading comes to it.

use std::{collections::BTreeMap, ops::ControlFlow};

use super::{
    ChunkKey,
    chunk::{ChunkHead, DestinationNo},
    lane::View,
    record,
    store::{Direction, StoreError},
};

/// Ends within so long of each other are one number: a week of them is a thousand numbers.
const SLOT_MS: i64 = 10 * 60 * 1000;
/// What one bite reads at most, in bytes and in chunks.
const BITE_BYTES: usize = 256 * 1024;
const BITE_CHUNKS: usize = 1_000;

/// The ends of one destination's free chunks.
#[derive(Debug)]
pub(super) struct Ends {
    /// What lies before this was read.
    read_to: Vec<u8>,
    end: Vec<u8>,
    /// By the slot in which the last of a chunk is over.
    slots: BTreeMap<i64, Ending>,
}

/// What is over in one slot.
#[derive(Debug, Default)]
struct Ending {
    chunks: u64,
    /// Their counted jobs.
    jobs: u64,
}

impl Ends {
    /// Nothing was read yet.
    pub(super) fn new(destination: DestinationNo) -> Self {
        Self {
            read_to: ChunkKey::new(destination, 0, 0).0,
            end: record::after(&ChunkKey::new(destination, i64::MAX, u64::MAX).0),
            slots: BTreeMap::new(),
        }
    }

    /// A chunk became free.
    pub(super) fn enter(&mut self, key: &ChunkKey, head: ChunkHead) {
        if key.0 < self.read_to {
            add(&mut self.slots, head);
        }
    }

    /// A chunk that was free is taken.
    pub(super) fn leave(&mut self, key: &ChunkKey, head: ChunkHead) {
        if key.0 < self.read_to
            && let Some(ending) = self.slots.get_mut(&slot(head))
        {
            ending.chunks = ending.chunks.saturating_sub(1);
            ending.jobs = ending.jobs.saturating_sub(u64::from(head.counted));
            if ending.chunks == 0 {
                self.slots.remove(&slot(head));
            }
        }
    }

    /// Whether all was read.
    pub(super) fn is_read(&self) -> bool {
        self.read_to == self.end
    }

    /// Reads on, a bite; whether that was all.
    pub(super) fn read(&mut self, view: View<'_>) -> Result<bool, StoreError> {
        let (mut bytes, mut chunks) = (0, 0);
        let from = self.read_to.clone();
        let mut is_all = true;
        record::scan(view.store, &from, &self.end, Direction::Forward, &mut |found| {
            if bytes >= BITE_BYTES || chunks >= BITE_CHUNKS {
                is_all = false;
                return Ok(ControlFlow::Break(()));
            }
            bytes += found.record.len();
            chunks += 1;
            self.read_to = record::after(found.key);
            let key = ChunkKey(found.key.to_vec());
            // What is not synced yet, or leased, is entered when it becomes free.
            let is_free = key.sequence() < view.synced
                && !view.leases.contains_key(&key)
                && !view.unreadable.contains(&key);
            if is_free && let Some(head) = ChunkHead::decode(found.record) {
                add(&mut self.slots, head);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if is_all {
            self.read_to.clone_from(&self.end);
        }
        Ok(is_all)
    }

    /// How many counted jobs are over by a time, to a slot: what is over a little later counts.
    pub(super) fn until(&self, until_ms: i64) -> u64 {
        self.slots.range(..=until_ms.div_euclid(SLOT_MS)).map(|(_, ending)| ending.jobs).sum()
    }

    /// Whether a chunk may be over by a time: one is, to a slot, or not all was read yet.
    pub(super) fn may_be_over(&self, by_ms: i64) -> bool {
        !self.is_read() || self.slots.range(..=by_ms.div_euclid(SLOT_MS)).next().is_some()
    }

    /// How many numbers it keeps.
    #[cfg(test)]
    fn kept(&self) -> usize {
        self.slots.len()
    }
}

fn add(slots: &mut BTreeMap<i64, Ending>, head: ChunkHead) {
    let ending = slots.entry(slot(head)).or_default();
    ending.chunks += 1;
    ending.jobs += u64::from(head.counted);
}

fn slot(head: ChunkHead) -> i64 {
    head.expires_ms.div_euclid(SLOT_MS)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::queue::store::{Batch, memory::MemoryDisk};

    const HOUR: i64 = 60 * 60 * 1000;

    fn head(expires_ms: i64) -> ChunkHead {
        ChunkHead { jobs: 3, counted: 3, group: 1, oldest_ms: 0, expires_ms }
    }

    #[test]
    fn the_store_is_read_once_in_bites_and_little_is_kept() {
        let store = MemoryDisk::default().open().unwrap();
        let mut batch = Batch::default();
        let chunks = 10 * BITE_CHUNKS as u64;
        for sequence in 0..chunks {
            let key = ChunkKey::new(3, 0, sequence);
            let record = head(i64::try_from(sequence % 168).unwrap() * HOUR).encoded();
            record::put(&mut batch, &key.0, &record);
        }
        // The neighbours are nobody's business.
        record::put(&mut batch, &ChunkKey::new(2, i64::MAX, 7).0, &head(0).encoded());
        record::put(&mut batch, &ChunkKey::new(4, 0, 0).0, &head(0).encoded());
        store.commit(batch).unwrap();
        let (leases, marks, unreadable) = (HashMap::new(), HashSet::new(), HashSet::new());
        let view = View {
            store: &*store,
            synced: chunks - 1,
            leases: &leases,
            marks: &marks,
            unreadable: &unreadable,
            now_ms: 0,
            believed_ms: 0,
        };
        let mut ends = Ends::new(3);
        assert!(ends.may_be_over(-1), "nothing was read yet");
        let early = ChunkKey::new(3, 0, 2);
        let mut bites = 1;
        assert!(!ends.read(view).unwrap());
        // Taken while the reading has passed it, and taken where it has not come yet.
        ends.leave(&early, head(2 * HOUR));
        ends.leave(&ChunkKey::new(3, 5, 1), head(2 * HOUR));
        while !ends.read(view).unwrap() {
            bites += 1;
        }
        assert_eq!(bites, 9, "before the last");
        // All but the one that is not synced, and the one that was taken.
        assert_eq!(ends.until(i64::MAX), 3 * (chunks - 2));
        assert_eq!(ends.until(-1), 0);
        assert_eq!(ends.until(HOUR - SLOT_MS - 1), 3 * chunks.div_ceil(168));
        assert_eq!(ends.kept(), 168);
        assert!(!ends.may_be_over(-1) && ends.may_be_over(0));
        ends.enter(&ChunkKey::new(3, 0, chunks - 1), head(HOUR));
        ends.enter(&early, head(2 * HOUR));
        assert_eq!(ends.until(i64::MAX), 3 * chunks);
        assert!(ends.read(view).unwrap(), "nothing is read again");
        assert_eq!(ends.until(i64::MAX), 3 * chunks);
        // Jobs that are in no books end too.
        let uncounted = ChunkHead { counted: 0, ..head(-HOUR) };
        ends.enter(&ChunkKey::new(3, 0, chunks), uncounted);
        assert_eq!((ends.until(-1), ends.may_be_over(-1)), (0, true));
        ends.leave(&ChunkKey::new(3, 0, chunks), uncounted);
        assert!(!ends.may_be_over(-1));
    }
}
