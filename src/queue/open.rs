//! Opening a data folder: lock, store, keys, mode, and what was lost if something was.

use std::{ops::ControlFlow, path::PathBuf, sync::Arc, time::Duration};

use super::{
    Queue,
    committer::{Committer, KeepIds},
    counters::Books,
    folder::{Disk, Folder, read_key},
    lease::Shared,
    record::{self, space},
    round::Bounds,
    seal::Seal,
    store::{
        self, Batch, Direction, Opener, Store, StoreError, memory::MemoryDisk, screen::Screened,
    },
};
use crate::clock::Clock;

const MODE: &[u8] = b"m/mode";
/// The version of all records that have none of their own, such as the books. A store without it is
/// of the first.
const FORMAT: &[u8] = b"m/format";
const THIS_FORMAT: u8 = 1;

/// How a queue is opened.
#[derive(Clone)]
pub struct Opening {
    /// The data folder; made if absent.
    pub folder: PathBuf,
    /// Limits, engine and keys.
    pub settings: crate::config::QueueSettings,
    /// How long what is kept.
    pub retention: crate::config::Retention,
    /// The mode to which the folder belongs; another one's folder is refused.
    pub mode: crate::destinations::Mode,
    /// Gives the time.
    pub clock: Clock,
    /// 32 random bytes for this start: the data key.
    pub random: [u8; 32],
    /// How full the disk may become; [`Disk::default`] but in tests.
    pub disk: Disk,
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither the keys nor the random bytes they are made of.
        f.debug_struct("Opening")
            .field("folder", &self.folder)
            .field("mode", &self.mode)
            .field("disk", &self.disk)
            .finish_non_exhaustive()
    }
}

/// Why a data folder cannot be opened. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);

/// Which engine.
pub(super) enum Engine {
    /// As the settings say.
    Configured,
    /// None on disk.
    Memory(MemoryDisk),
}

/// See [`Queue::open`].
pub(super) fn open(opening: Opening, engine: Engine) -> Result<Queue, OpenError> {
    let Opening { folder, settings, retention, mode, clock, random, disk } = opening;
    let folder = Folder::open(&folder, disk)?;
    let masters = folder.master_keys(&settings, &random)?;
    let opener: Opener = match engine {
        Engine::Memory(disk) => Box::new(move || screened(disk.open()?)),
        Engine::Configured => {
            let engine = settings.engine;
            folder.check_engine(engine)?;
            let path = folder.store(engine);
            Box::new(move || screened(store::open(engine, &path)?))
        }
    };
    folder.make_room_to_open();
    let store = opener().map_err(cannot_open)?;
    if store.size_on_disk().map_err(cannot_open)? <= store::READ_WHOLE {
        store::verify(&*store).map_err(cannot_open)?;
    }
    let mut batch = Batch::default();
    check_format(&*store, &mut batch)?;
    let books = Books::load(&*store).map_err(cannot_open)?;
    check_nothing_lost(&folder, &*store, &books)?;

    bind_to_mode(&*store, &mut batch, &books, mode.name())?;
    let subject_key = settings.subject_key.as_ref();
    let subject_key = subject_key.map(|key| read_key(key, "queue.subject_key")).transpose()?;
    let seal = Seal::open(&*store, &mut batch, &masters, &random, subject_key)?;
    store.commit(batch).map_err(cannot_open)?;

    let (sender, requests) = std::sync::mpsc::channel();
    let shared = Arc::new(Shared::new(seal, clock));
    let bounds = Bounds {
        max_pending: settings.max_pending,
        max_pending_per_destination: settings.max_pending_per_destination,
        keep_frequency_ms: ms(retention.frequency),
        keep_choices_ms: ms(retention.choices),
        keep_sent_ms: ms(retention.evidence),
        keep_queue_ms: ms(retention.queue),
        keep_traces_ms: ms(retention.traces),
        keep_dead_ms: ms(retention.dead_letters),
    };
    let keep_ids =
        KeepIds { keep_ms: ms(retention.event_ids), at_most: retention.event_ids_at_most };
    let committer = Committer::new(
        folder,
        opener,
        store,
        Arc::clone(&shared),
        requests,
        bounds,
        keep_ids,
        settings.max_disk,
    )
    .map_err(cannot_open)?;
    committer.begin()?;
    // A thread of its own: it blocks on the disk, and must not hold up the runtime.
    std::thread::Builder::new()
        .name("committer".to_owned())
        .spawn(move || committer.run())
        .map_err(|e| OpenError(format!("the committer's thread cannot be started: {e}")))?;
    Ok(Queue::new(shared, sender))
}

/// Nearly every look for people's records would find nothing.
fn screened(store: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(Screened::new(store, &[space::KNOWN, space::PERSON])?))
}

/// What is wrong and what to do.
pub(super) fn cannot_open(error: StoreError) -> OpenError {
    match error {
        StoreError::Failed(why) | StoreError::Held(why) => {
            OpenError(format!("the store cannot be opened: {why}; nothing was changed"))
        }
        StoreError::Corrupt(why) => OpenError(format!(
            "the store cannot be read: {why}. Restore the data folder from a backup, or move it \
             away to start empty, which gives up what was queued"
        )),
    }
}

/// An engine may recover less than was acknowledged without saying so: the marker tells.
fn check_nothing_lost(folder: &Folder, store: &dyn Store, books: &Books) -> Result<(), OpenError> {
    let Some(marked) = folder.marked_sequence() else { return Ok(()) };
    let lost = |why: String| Err(cannot_open(StoreError::Corrupt(why)));
    if store.get(MODE).map_err(cannot_open)?.is_none() {
        return lost(
            "it is empty, and it held a queue: its file was damaged or replaced".to_owned(),
        );
    }
    let sequence = books.events.next_sequence;
    if sequence < marked {
        return lost(format!(
            "it holds batches up to number {sequence} only, {marked} were durable: its file was \
             damaged or replaced"
        ));
    }
    // Damage that takes the books back leaves younger records beside them, whose numbers would be
    // given out again.
    for space in space::NUMBERED {
        let newest = newest(store, space).map_err(cannot_open)?;
        if let Some(number) = newest.filter(|number| *number >= sequence) {
            return lost(format!(
                "its books end before number {sequence}, and it holds a record of number {number}: \
                 its file was damaged"
            ));
        }
    }
    Ok(())
}

/// The number of the last record of a space.
fn newest(store: &dyn Store, space: u8) -> Result<Option<u64>, StoreError> {
    let (from, to) = record::whole(space);
    let mut newest = None;
    record::scan(store, &from, &to, Direction::Backward, &mut |found| {
        let at = found.key.len().saturating_sub(size_of::<u64>());
        newest = record::number_at(found.key, at);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(newest)
}

/// A folder of a later version is refused before anything of it is read.
fn check_format(store: &dyn Store, batch: &mut Batch) -> Result<(), OpenError> {
    match store.get(FORMAT).map_err(cannot_open)?.as_deref() {
        Some(&[THIS_FORMAT]) => {}
        None => batch.put(FORMAT.to_vec(), vec![THIS_FORMAT]),
        Some(_) => {
            return Err(OpenError(
                "the data folder was written by a later version of the relay; run that version, \
                 or give this one a folder of its own with --data"
                    .to_owned(),
            ));
        }
    }
    Ok(())
}

fn bind_to_mode(
    store: &dyn Store,
    batch: &mut Batch,
    books: &Books,
    mode: &str,
) -> Result<(), OpenError> {
    let bound = store.get(MODE).map_err(cannot_open)?;
    if bound.as_deref() == Some(mode.as_bytes()) {
        return Ok(());
    }
    if let Some(other) = bound
        && books.hold_jobs()
    {
        let other = String::from_utf8_lossy(&other).into_owned();
        return Err(OpenError(format!(
            "the data folder holds jobs of mode \"{other}\", and the relay runs in mode \
             \"{mode}\"; let it drain in mode \"{other}\" (and replay or discard its dead \
             letters), or give this mode a folder of its own with --data"
        )));
    }
    batch.put(MODE.to_vec(), mode.as_bytes().to_vec());
    Ok(())
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a store whose pages were damaged the books may be older than what stands beside them.
    #[test]
    fn books_that_end_before_another_record_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path(), Disk::default()).unwrap();
        folder.mark(0).unwrap();
        let store = MemoryDisk::default().open().unwrap();
        let mut books = Books::default();
        books.events.next_sequence = 7;
        let mut batch = Batch::default();
        batch.put(MODE.to_vec(), b"sandbox".to_vec());
        for space in space::NUMBERED {
            record::put(&mut batch, &record::timed_key(space, 1_000, 6), b"");
        }
        store.commit(batch).unwrap();
        check_nothing_lost(&folder, &*store, &books).unwrap();
        for space in space::NUMBERED {
            let key = record::timed_key(space, 2_000, 7);
            let mut batch = Batch::default();
            record::put(&mut batch, &key, b"");
            store.commit(batch).unwrap();
            let why = check_nothing_lost(&folder, &*store, &books).unwrap_err().to_string();
            assert!(why.contains("number 7") && why.contains("from a backup"), "{why}");
            let mut batch = Batch::default();
            record::delete(&mut batch, &key, 1);
            store.commit(batch).unwrap();
        }
        check_nothing_lost(&folder, &*store, &books).unwrap();
    }

    #[test]
    fn a_folder_of_a_later_version_is_refused_and_one_without_a_version_is_the_first() {
        let disk = MemoryDisk::default();
        let store = disk.open().unwrap();
        let mut batch = Batch::default();
        check_format(&*store, &mut batch).unwrap();
        store.commit(batch).unwrap();
        assert_eq!(store.get(FORMAT).unwrap(), Some(vec![THIS_FORMAT]));
        check_format(&*store, &mut Batch::default()).unwrap();
        for later in [vec![THIS_FORMAT + 1], vec![], vec![1, 0]] {
            let mut batch = Batch::default();
            batch.put(FORMAT.to_vec(), later);
            store.commit(batch).unwrap();
            let why = check_format(&*store, &mut Batch::default()).unwrap_err().to_string();
            assert!(why.contains("later version") && why.contains("--data"), "{why}");
        }
    }
}
