//! The thin store that the committer speaks to: one ordered map of bytes, changed by atomic
//! batches, made durable by an explicit sync. One file an engine; nothing of an engine leaves it.

pub(super) mod memory;
pub(super) mod sled;

use std::{ops::ControlFlow, sync::Arc};

/// Sees a key and its value, and says whether to go on.
pub(super) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// What an engine can do.
pub(super) trait Store: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Applies a batch as one; durable only after [`Store::sync`].
    fn apply(&self, batch: Batch) -> Result<(), StoreError>;
    /// Returns once everything applied so far survives a power cut.
    fn sync(&self) -> Result<(), StoreError>;
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
