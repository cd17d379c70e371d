//! The default engine: sled 0.34, with a guard for each of its traps.
//!
//! - `flush` ends in `sync_file_range`, which flushes neither the device's cache nor the file's
//!   metadata: every sync is followed by `fdatasync` on the `db` file through a handle of our own.
//! - Opening reads unsynced log from the page cache and syncs a snapshot that points at it: the
//!   `db` file and its folder are synced *before* opening.
//! - `conf`, without which nothing can be opened, is written at the first opening and never synced:
//!   every file is, after opening, before the folder's entries are.
//! - A half-written `snap.*.generating` is taken for the newest snapshot: it is removed first.
//! - A snapshot that does not fit the log is `Corruption` for good, though the log alone has
//!   everything: the folder is copied aside, the snapshots are removed, and it is opened again.
//! - A page over 128 KiB goes to `blobs/`, which is never synced: values are kept under 4 KiB
//!   ([`super::super::record`]).
//! - What a batch replaced is freed in small steps, one every 128 looks at the store: where little is
//!   read, more is left over by each batch than is ever freed. It is freed after each batch.
//! - One error kills the handle: the committer drops it and opens again.

use std::{
    fs::{self, File},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Batch, Direction, Store, StoreError, Visit, failed, sync_files, until_released};

/// The default of sled holds 800 MB at a million records; with this it is 41 MB.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// The log, in sled's folder.
const LOG: &str = "db";

struct Sled {
    db: sled::Db,
    log: File,
}

/// Where sled's log lies within its folder; it exists if and only if there is a store.
pub(super) fn file(folder: &Path) -> PathBuf {
    folder.join(LOG)
}

/// Opens the store in a folder of its own, which is made if absent.
pub(super) fn open(folder: &Path) -> Result<Arc<dyn Store>, StoreError> {
    fs::create_dir_all(folder).map_err(|e| failed("cannot make the store's folder", &e))?;
    remove_snapshots(folder, Snapshots::Unfinished)
        .map_err(|e| failed("cannot remove an unfinished snapshot", &e))?;
    sync_files(folder).map_err(|e| failed("cannot sync the store before opening", &e))?;
    match open_once(folder) {
        Err(StoreError::Corrupt(why)) => recover(folder, &why),
        other => other,
    }
}

/// The log alone recovers what a bad snapshot hides; a copy is kept whatever happens.
fn recover(folder: &Path, why: &str) -> Result<Arc<dyn Store>, StoreError> {
    let hopeless = |why: &str, copy: String| {
        StoreError::Corrupt(format!("the store in {} is corrupt ({why}){copy}", folder.display(),))
    };
    // Without a snapshot there is nothing left to try, and nothing that a copy would save.
    if !has_snapshots(folder).map_err(|e| failed("cannot list the store's folder", &e))? {
        return Err(hopeless(why, String::new()));
    }
    let aside = copy_aside(folder)
        .map_err(|e| failed("the store is corrupt and cannot be copied aside", &e))?;
    tracing::warn!(
        copy = %aside.display(),
        "the store's snapshot is corrupt ({why}): a copy was put aside, opening from the log alone"
    );
    remove_snapshots(folder, Snapshots::All)
        .map_err(|e| failed("cannot remove a corrupt snapshot", &e))?;
    open_once(folder).map_err(|second| {
        hopeless(&second.to_string(), format!("; a copy of it is in {}", aside.display()))
    })
}

fn open_once(folder: &Path) -> Result<Arc<dyn Store>, StoreError> {
    let config = sled::Config::new()
        .path(folder)
        .mode(sled::Mode::HighThroughput)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None);
    let db = until_released(|| guarded("open", || config.open()))?;
    let log = File::options()
        .read(true)
        .write(true)
        .open(file(folder))
        .map_err(|e| failed("cannot open the store's log", &e))?;
    let store = Sled { db, log };
    store.sync()?;
    sync_files(folder).map_err(|e| failed("cannot sync the store's folder", &e))?;
    Ok(Arc::new(store))
}

impl Sled {
    fn sync(&self) -> Result<(), StoreError> {
        guarded("flush", || self.db.flush())?;
        self.log.sync_data().map_err(|e| failed("fdatasync of the store failed", &e))
    }
}

/// Records from which on a scan frees what left the cache for it.
const LONG_SCAN: usize = 64;

/// Frees what so many operations replaced, as far as nobody reads it any more. One step frees 512
/// things at most, and only those of two steps ago.
fn free_replaced(operations: usize) {
    for _ in 0..operations / 64 + 3 {
        crossbeam_epoch::pin().flush();
    }
}

impl Store for Sled {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        guarded("read", || self.db.get(key)).map(|value| value.map(|value| value.to_vec()))
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let operations = batch.len();
        let mut changes = sled::Batch::default();
        for (key, value) in batch {
            match value {
                Some(value) => changes.insert(key, value),
                None => changes.remove(key),
            }
        }
        guarded("write", || self.db.apply_batch(changes))?;
        free_replaced(operations);
        self.sync()
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        let mut seen = 0;
        let scanned = guarded("scan", || {
            let mut range = self.db.range(from..to);
            loop {
                let next = match direction {
                    Direction::Forward => range.next(),
                    Direction::Backward => range.next_back(),
                };
                let Some(pair) = next else { return Ok(()) };
                seen += 1;
                let (key, value) = pair?;
                if visit(&key, &value).is_break() {
                    return Ok(());
                }
            }
        });
        // What is read comes into the cache for what leaves it: a sweep that changes nothing would
        // otherwise leave every page of the store behind.
        if seen >= LONG_SCAN {
            free_replaced(seen);
        }
        scanned
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        guarded("size", || self.db.size_on_disk())
    }
}

/// sled panics on some damage instead of answering; to the committer both are an error.
fn guarded<T>(what: &str, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Corruption { at, .. })) => {
            Err(StoreError::Corrupt(format!("sled {what}: corruption at {at:?}")))
        }
        Ok(Err(error)) => {
            let why = format!("sled {what}: {error}");
            let is_held = why.contains("could not acquire lock");
            Err(if is_held { StoreError::Held(why) } else { StoreError::Failed(why) })
        }
        Err(_) => Err(StoreError::Corrupt(format!("sled {what}: it gave up (panicked)"))),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Snapshots {
    Unfinished,
    All,
}

fn remove_snapshots(folder: &Path, which: Snapshots) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with("snap.") && (which == Snapshots::All || name.ends_with(".generating")) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn has_snapshots(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        if entry?.file_name().to_str().is_some_and(|name| name.starts_with("snap.")) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn copy_aside(folder: &Path) -> io::Result<PathBuf> {
    let mut number = 1;
    let target = loop {
        let target = folder.with_extension(format!("corrupt-{number}"));
        if !target.exists() {
            break target;
        }
        number += 1;
    };
    fs::create_dir_all(&target)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), target.join(entry.file_name()))?;
        }
    }
    Ok(target)
}
