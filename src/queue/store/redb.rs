//! The other embedded engine: redb 4, one file, one write transaction a commit.
//!
//! A transaction's `commit` writes what changed beside what was, then the header that points at it,
//! and returns after `fdatasync`; a page that was torn is found by its checksum, and the state
//! before is taken. Its traps, each with its guard:
//!
//! - A file whose making was interrupted is neither empty nor a database: it is made under another
//!   name, synced, and renamed; what is there under its own name is only ever opened, so that an
//!   empty file is an error and not an empty start.
//! - A start after a kill reads pages from the machine's cache that never reached the disk: the
//!   file and its folder are synced before opening.
//! - Reads do not look at checksums: a file of moderate size is checked whole when it is opened.
//! - Its cache is 1 GiB unless told otherwise.
//! - It panics on some damage, and after an error of the disk it refuses to write: the committer
//!   drops it and opens again.

use std::{
    fs::{self, File},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{Database, Durability, ReadableDatabase as _, TableDefinition};

use super::{
    Batch, Direction, READ_WHOLE, Store, StoreError, Visit, failed, sync_files, until_released,
};

/// For pages, read and waiting to be written.
const CACHE_BYTES: usize = 24 * 1024 * 1024;
/// The database, in a folder of its own.
const FILE: &str = "db";
/// The one table.
const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("queue");

struct Redb {
    db: Database,
    file: PathBuf,
}

/// Where the database lies within its folder; it exists if and only if there is a store.
pub(super) fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// Opens the store in a folder of its own, which is made if absent.
pub(super) fn open(folder: &Path) -> Result<Arc<dyn Store>, StoreError> {
    fs::create_dir_all(folder).map_err(|e| failed("cannot make the store's folder", &e))?;
    let file = file(folder);
    if !file.exists() {
        make(folder, &file)?;
    }
    sync_files(folder).map_err(|e| failed("cannot sync the store before opening", &e))?;
    let length = fs::metadata(&file).map_err(|e| failed("cannot read the store's file", &e))?.len();
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(length <= READ_WHOLE);
    let db = until_released(|| guarded("open", || Ok(builder.open(&file)?)))?;
    Ok(Arc::new(Redb { db, file }))
}

/// Makes an empty database, whole or not at all.
fn make(folder: &Path, file: &Path) -> Result<(), StoreError> {
    let unfinished = file.with_extension("new");
    let cannot = |e: io::Error| failed("cannot make the store's file", &e);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot(error)),
        _ => {}
    }
    guarded("create", || {
        let mut builder = Database::builder();
        let db = builder.set_cache_size(CACHE_BYTES).create(&unfinished)?;
        let transaction = db.begin_write()?;
        transaction.open_table(TABLE)?;
        transaction.commit()?;
        Ok(db.close()?)
    })?;
    File::open(&unfinished).and_then(|made| made.sync_all()).map_err(cannot)?;
    fs::rename(&unfinished, file).map_err(cannot)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(cannot)
}

impl Store for Redb {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        guarded("read", || {
            let table = self.db.begin_read()?.open_table(TABLE)?;
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        })
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        guarded("write", || {
            let mut transaction = self.db.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            let mut table = transaction.open_table(TABLE)?;
            for (key, value) in batch {
                match value {
                    Some(value) => _ = table.insert(key.as_slice(), value.as_slice())?,
                    None => _ = table.remove(key.as_slice())?,
                }
            }
            drop(table);
            Ok(transaction.commit()?)
        })
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
        guarded("scan", || {
            let table = self.db.begin_read()?.open_table(TABLE)?;
            let mut range = table.range::<&[u8]>(from..to)?;
            loop {
                let next = match direction {
                    Direction::Forward => range.next(),
                    Direction::Backward => range.next_back(),
                };
                let Some(pair) = next else { return Ok(()) };
                let (key, value) = pair?;
                if visit(key.value(), value.value()).is_break() {
                    return Ok(());
                }
            }
        })
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        let metadata = fs::metadata(&self.file);
        Ok(metadata.map_err(|e| failed("cannot read the store's file", &e))?.len())
    }
}

/// redb panics on some damage instead of answering; to the committer both are an error.
fn guarded<T>(what: &str, call: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, StoreError> {
    let corrupt =
        |why: &dyn std::fmt::Display| Err(StoreError::Corrupt(format!("redb {what}: {why}")));
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => match error {
            redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::TableDoesNotExist(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::RepairAborted => corrupt(&error),
            // A file that is cut, or no database at all.
            redb::Error::Io(ref cause)
                if matches!(
                    cause.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                corrupt(&error)
            }
            redb::Error::DatabaseAlreadyOpen => {
                Err(StoreError::Held(format!("redb {what}: {error}")))
            }
            _ => Err(StoreError::Failed(format!("redb {what}: {error}"))),
        },
        Err(_) => corrupt(&"it gave up (panicked)"),
    }
}
