//! The thin store that the committer speaks to: one ordered map of bytes, changed by atomic
//! batches that are durable when they are answered. One file an engine; nothing of an engine leaves it.

pub(super) mod memory;
mod redb;
pub(super) mod screen;
mod sled;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::config::Engine;

/// A store up to this size is read whole before it is used, in a fraction of a second. Damage in a
/// larger one is told when it is met.
pub(super) const READ_WHOLE: u64 = 64 * 1024 * 1024;
/// How often, and how long each time, a lock is waited for that a dropped handle still holds.
const RELEASE_TRIES: u32 = 200;
const RELEASE_WAIT: Duration = Duration::from_millis(25);

/// Opens an engine's store in a folder of its own, which is made if absent.
pub(super) fn open(engine: Engine, folder: &Path) -> Result<Arc<dyn Store>, StoreError> {
    match engine {
        Engine::Sled => sled::open(folder),
        Engine::Redb => redb::open(folder),
    }
}

/// The file within that folder that exists if and only if there is a store.
pub(super) fn file(engine: Engine, folder: &Path) -> PathBuf {
    match engine {
        Engine::Sled => sled::file(folder),
        Engine::Redb => redb::file(folder),
    }
}

/// Sees a key and its value, and says whether to go on.
pub(super) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// What an engine can do.
pub(super) trait Store: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Applies a batch as one, and returns once it survives a power cut.
    fn commit(&self, batch: Batch) -> Result<(), StoreError>;
    /// Visits the pairs with `from <= key < to` in order, or in reverse, until told to stop.
    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError>;
    /// Bytes that the engine's files take.
    fn size_on_disk(&self) -> Result<u64, StoreError>;
}

/// The order of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Smallest key first.
    Forward,
    /// Largest key first.
    Backward,
}

/// Opens the store, and opens it again after an error.
pub(super) type Opener = Box<dyn Fn() -> Result<Arc<dyn Store>, StoreError> + Send>;

/// Why the store did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum StoreError {
    /// The disk or the engine failed; trying again later may help.
    #[error("{0}")]
    Failed(String),
    /// What is on disk cannot be read; a person must act.
    #[error("{0}")]
    Corrupt(String),
    /// Somebody has it open; within one process an earlier handle, for a moment longer.
    #[error("{0}")]
    Held(String),
}

impl From<StoreError> for super::Refused {
    fn from(error: StoreError) -> Self {
        super::Refused::Store(error.to_string())
    }
}

/// Reads everything once: an engine reads lazily, and would tell of damage only where it is met.
pub(super) fn verify(store: &dyn Store) -> Result<(), StoreError> {
    store.scan(&[], &[u8::MAX], Direction::Forward, &mut |_, _| ControlFlow::Continue(()))
}

/// An engine may hold a dropped handle, and its lock, for a moment longer; since the data folder's
/// lock is ours, nobody else can.
fn until_released<T>(mut open: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let mut left = RELEASE_TRIES;
    loop {
        match open() {
            Err(StoreError::Held(_)) if left > 0 => {
                left -= 1;
                std::thread::sleep(RELEASE_WAIT);
            }
            other => return other,
        }
    }
}

/// Syncs the folder's files, then their entries in the folder.
fn sync_files(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            File::options().read(true).write(true).open(entry.path())?.sync_data()?;
        }
    }
    File::open(folder)?.sync_all()
}

fn failed(what: &str, error: &io::Error) -> StoreError {
    StoreError::Failed(format!("{what}: {error}"))
}

/// Changes that are applied as one.
#[derive(Debug, Default)]
pub(super) struct Batch(Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl Batch {
    /// Sets a key.
    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.0.push((key, Some(value)));
    }

    /// Removes a key.
    pub(super) fn delete(&mut self, key: Vec<u8>) {
        self.0.push((key, None));
    }

    /// Adds the changes of another batch.
    pub(super) fn extend(&mut self, other: Batch) {
        self.0.extend(other.0);
    }

    /// How many operations.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The keys that are set.
    pub(super) fn put_keys(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key.as_slice())
    }

    /// Whether nothing changes.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for Batch {
    type Item = (Vec<u8>, Option<Vec<u8>>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
