//! Before a key is looked for: may it be there at all? People's records lie under keyed hashes, and
//! where every event is somebody new nearly every look finds nothing, at the price of a walk through
//! the tree. A Bloom filter of the keys in memory answers those. It never hides a key that is there:
//! one is entered before it is written, and until all that was there at the start has been read every
//! look goes to the store.

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;

use super::{Batch, Direction, Store, StoreError, Visit};

/// Keys that the smallest filter is made for.
const SMALLEST: usize = 512 * 1024;
/// Beyond so many keys it does not grow: more of the looks that find nothing go to the store.
const LARGEST: usize = 16 * 1024 * 1024;
/// With so many bits a key one look of a hundred and some goes to the store for nothing.
const BITS_A_KEY: usize = 12;
/// Bits that a key sets, all within one block: one line of the processor's cache.
const MARKS: u32 = 6;
const BLOCK_WORDS: usize = 8;
/// Keys that one commit reads of what was there before, a millisecond or two.
const BITE: usize = 4096;

/// A store that looks for keys of some spaces only where they may be.
pub(in crate::queue) struct Screened {
    store: Arc<dyn Store>,
    spaces: &'static [u8],
    filter: ArcSwap<Filter>,
    /// How far it was filled: which space, and from which key on.
    filled: Mutex<(usize, Vec<u8>)>,
}

struct Filter {
    words: Box<[AtomicU64]>,
    capacity: usize,
    count: AtomicU64,
    is_complete: AtomicBool,
}

impl Screened {
    /// Screens keys of these spaces. Such a key is the space, then at least 16 bytes of a keyed hash.
    pub(in crate::queue) fn new(
        store: Arc<dyn Store>,
        spaces: &'static [u8],
    ) -> Result<Self, StoreError> {
        Self::with_capacity(store, spaces, SMALLEST)
    }

    fn with_capacity(
        store: Arc<dyn Store>,
        spaces: &'static [u8],
        capacity: usize,
    ) -> Result<Self, StoreError> {
        let filter = ArcSwap::from_pointee(Filter::new(capacity));
        let screened = Self { store, spaces, filter, filled: Mutex::default() };
        screened.fill()?;
        Ok(screened)
    }

    fn hash(&self, key: &[u8]) -> Option<[u64; 2]> {
        let (space, rest) = key.split_first()?;
        let halves = rest.first_chunk::<16>().filter(|_| self.spaces.contains(space))?;
        let (first, second) = halves.split_at(8);
        let number = |half: &[u8]| half.try_into().map_or(0, u64::from_be_bytes);
        // The same hash means another record in another space.
        Some([number(first) ^ u64::from(*space), number(second)])
    }

    /// Reads a bite of what is there already.
    fn fill(&self) -> Result<(), StoreError> {
        let filter = self.filter.load();
        if filter.is_complete.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, from) = &mut *filled;
        let mut left = BITE;
        while let Some(space) = self.spaces.get(*at).copied() {
            let start = if from.is_empty() { vec![space] } else { std::mem::take(from) };
            let to = [space.saturating_add(1)];
            self.store.scan(&start, &to, Direction::Forward, &mut |key, _| {
                if left == 0 {
                    *from = key.to_vec();
                    return ControlFlow::Break(());
                }
                left -= 1;
                if let Some(hash) = self.hash(key) {
                    filter.enter(hash);
                }
                ControlFlow::Continue(())
            })?;
            if !from.is_empty() {
                return Ok(());
            }
            *at += 1;
        }
        filter.is_complete.store(true, Ordering::Release);
        Ok(())
    }

    /// A filter that is too small is filled again, twice as large.
    fn grow(&self) {
        let filter = self.filter.load();
        let count = usize::try_from(filter.count.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        if count > filter.capacity && filter.capacity < LARGEST {
            let mut filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
            *filled = (0, Vec::new());
            self.filter.store(Arc::new(Filter::new(filter.capacity * 2)));
        }
    }
}

impl Store for Screened {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.hash(key) {
            Some(hash) if !self.filter.load().may_hold(hash) => Ok(None),
            Some(_) | None => self.store.get(key),
        }
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.grow();
        {
            let filter = self.filter.load();
            for key in batch.put_keys() {
                if let Some(hash) = self.hash(key) {
                    filter.enter(hash);
                }
            }
        }
        self.store.commit(batch)?;
        // The batch is on disk, whatever becomes of this: an unfilled filter hides nothing, and the
        // next commit goes on with it.
        if let Err(error) = self.fill() {
            tracing::warn!("people's keys cannot be read for the filter: {error}");
        }
        Ok(())
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        self.store.scan(from, to, direction, visit)
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.store.size_on_disk()
    }
}

impl Filter {
    fn new(capacity: usize) -> Self {
        let blocks = (capacity * BITS_A_KEY / 64 / BLOCK_WORDS).max(1);
        Self {
            words: (0..blocks * BLOCK_WORDS).map(|_| AtomicU64::new(0)).collect(),
            capacity,
            count: AtomicU64::new(0),
            is_complete: AtomicBool::new(false),
        }
    }

    /// Whether a key was entered, or may have been.
    fn may_hold(&self, hash: [u64; 2]) -> bool {
        !self.is_complete.load(Ordering::Acquire)
            || self.marks(hash).all(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    fn enter(&self, hash: [u64; 2]) {
        let mut is_new = false;
        for (word, bit) in self.marks(hash) {
            is_new |= word.fetch_or(bit, Ordering::Relaxed) & bit == 0;
        }
        self.count.fetch_add(u64::from(is_new), Ordering::Relaxed);
    }

    fn marks(&self, [block, bits]: [u64; 2]) -> impl Iterator<Item = (&AtomicU64, u64)> {
        let blocks = self.words.len() / BLOCK_WORDS;
        let block = usize::try_from(block).unwrap_or(usize::MAX) % blocks.max(1);
        (0..MARKS).filter_map(move |mark| {
            // Nine bits choose one of a block's 512.
            let place = bits >> (mark * 9);
            let word = block * BLOCK_WORDS + usize::from(place.to_le_bytes()[0] & 7);
            Some((self.words.get(word)?, 1 << (place >> 3 & 63)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::MemoryDisk;

    /// As good as a keyed hash: the same number always gives the same key.
    fn key(space: u8, n: u64) -> Vec<u8> {
        let hash = ring::digest::digest(&ring::digest::SHA256, &n.to_be_bytes());
        [&[space], &hash.as_ref()[..16], &[0, 0]].concat()
    }

    fn put(store: &dyn Store, keys: impl Iterator<Item = Vec<u8>>) {
        let mut batch = Batch::default();
        keys.for_each(|key| batch.put(key, vec![1]));
        store.commit(batch).unwrap();
    }

    #[test]
    fn what_is_there_is_never_hidden_while_it_fills_and_grows() {
        let disk = MemoryDisk::default();
        let before = 3 * BITE as u64;
        put(&*disk.open().unwrap(), (0..before).map(|n| key(b'w', n)));
        let screened = Screened::with_capacity(disk.open().unwrap(), b"pw", 1024).unwrap();
        assert!(!screened.filter.load().is_complete.load(Ordering::SeqCst), "one bite of three");
        for round in 0..40 {
            let new = before + round * 100..before + (round + 1) * 100;
            put(&screened, new.clone().map(|n| key(b'w', n)));
            for n in (0..new.end).step_by(61) {
                assert!(screened.get(&key(b'w', n)).unwrap().is_some(), "{n} in round {round}");
            }
            assert!(screened.get(&key(b'w', u64::MAX - round)).unwrap().is_none());
        }
        let filter = screened.filter.load();
        assert!(filter.capacity >= 16 * 1024, "{}", filter.capacity);
        assert!(filter.is_complete.load(Ordering::SeqCst));
    }

    #[test]
    fn few_looks_go_to_the_store_for_nothing_and_other_spaces_are_not_screened() {
        let disk = MemoryDisk::default();
        let screened = Screened::with_capacity(disk.open().unwrap(), b"w", 16 * 1024).unwrap();
        put(&screened, (0..16_000).map(|n| key(b'w', n)));
        put(&screened, [b"b".to_vec(), b"w".to_vec()].into_iter());
        let filter = screened.filter.load();
        let passed = (1_000_000..1_010_000)
            .filter(|n| filter.may_hold(screened.hash(&key(b'w', *n)).unwrap()))
            .count();
        assert!(passed < 200, "{passed} of 10,000");
        assert_eq!(screened.hash(&key(b'p', 1)), None);
        // A key that is no hash is looked for as ever.
        assert!(screened.get(b"w").unwrap().is_some());
        assert!(screened.get(b"b").unwrap().is_some());
    }
}
