//! The engine of the tests: an ordered map that forgets what was not synced when it is opened
//! again, as a disk does in a power cut. It is the model against which the others are held.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{Batch, Direction, Store, StoreError, Visit};

/// A disk that is none, for tests and models: shared by every opening of one queue.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    disk: Arc<Disk>,
}

#[derive(Debug, Default)]
struct Disk {
    synced: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    fails: AtomicBool,
    damaged: AtomicBool,
}

impl MemoryDisk {
    /// Opens it; what was never synced is gone.
    pub(in crate::queue) fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        self.disk.check()?;
        let current = lock(&self.disk.synced).clone();
        Ok(Arc::new(Opened { disk: Arc::clone(&self.disk), current: Mutex::new(current) }))
    }

    /// From now on every commit and opening fails, or no longer.
    pub fn fail(&self, fails: bool) {
        self.disk.fails.store(fails, Ordering::SeqCst);
    }

    /// From now on what is on it cannot be read, though it opens; or it can again.
    pub fn damage(&self, damaged: bool) {
        self.disk.damaged.store(damaged, Ordering::SeqCst);
    }
}

impl Disk {
    fn check(&self) -> Result<(), StoreError> {
        if self.fails.load(Ordering::SeqCst) {
            Err(StoreError::Failed("the disk fails, as a test asked".to_owned()))
        } else {
            Ok(())
        }
    }
}

type Change = (Vec<u8>, Option<Vec<u8>>);

struct Opened {
    disk: Arc<Disk>,
    current: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Store for Opened {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(lock(&self.current).get(key).cloned())
    }

    /// What a failing disk does not take can be read until the store is opened again.
    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let changes: Vec<Change> = batch.into_iter().collect();
        change(&mut lock(&self.current), &changes);
        self.disk.check()?;
        change(&mut lock(&self.disk.synced), &changes);
        Ok(())
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        if self.disk.damaged.load(Ordering::SeqCst) {
            return Err(StoreError::Corrupt("it is damaged, as a test asked".to_owned()));
        }
        if from >= to {
            return Ok(());
        }
        let current = lock(&self.current);
        let mut range = current.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        loop {
            let next = match direction {
                Direction::Forward => range.next(),
                Direction::Backward => range.next_back(),
            };
            let Some((key, value)) = next else { return Ok(()) };
            if visit(key, value).is_break() {
                return Ok(());
            }
        }
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        let bytes: usize = lock(&self.current).iter().map(|(k, v)| k.len() + v.len()).sum();
        Ok(bytes as u64)
    }
}

fn change(map: &mut BTreeMap<Vec<u8>, Vec<u8>>, changes: &[Change]) {
    for (key, value) in changes {
        match value {
            Some(value) => map.insert(key.clone(), value.clone()),
            None => map.remove(key),
        };
    }
}

/// A poisoned map is as whole as before: every change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
