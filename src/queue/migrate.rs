//! Moves a queue from one engine to another: every record as it is, sealed as it is, so that no key
//! is needed. It knows nothing of what a record means.
//!
//! The new store is made beside the old one and compared with it to the byte before it takes its
//! place; four names tell how far it is, so that whatever interrupts it, running it again goes on:
//!
//! 1. `TO.migrating`: made equal to the old store, bite by bite. What is there already is compared
//!    and not written again, what the old store no longer has goes: a relay may even have run on
//!    the old store in between.
//! 2. `TO.ready`: equal.
//! 3. The old store becomes `FROM.migrated-N`, and stays.
//! 4. The new one becomes `TO`.

use std::{
    cmp::Ordering,
    fs::{self, File},
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use super::{
    OpenError,
    counters::Books,
    folder::{Disk, Folder},
    open::cannot_open,
    store::{self, Batch, Direction, Store, StoreError},
};
use crate::config::Engine;

/// What one bite holds at most, of either store.
const BITE_RECORDS: usize = 2000;
const BITE_BYTES: usize = 2 * 1024 * 1024;
/// Every key is before this one.
const END: &[u8] = &[u8::MAX];

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migration {
    /// Counting the old store's records: so many yet.
    Counting(u64),
    /// Copying: so many of so many records.
    Copying(u64, u64),
    /// Comparing: so many of so many records.
    Comparing(u64, u64),
}

/// What was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// Records of every kind.
    pub records: u64,
    /// Jobs pending.
    pub pending: u64,
    /// Dead letters.
    pub dead: u64,
    /// Where the old store is kept; `None` where there was nothing left to move.
    pub kept: Option<PathBuf>,
}

/// Moves the queue of a data folder that no relay has open; an error says what to do.
pub fn migrate(
    data: &Path,
    from: Engine,
    to: Engine,
    progress: &mut dyn FnMut(Migration),
) -> Result<Migrated, OpenError> {
    let shown = data.display();
    if !data.is_dir() {
        return Err(OpenError(format!("there is no data folder {shown}; name it with --data")));
    }
    let folder = Folder::open(data, Disk::default())?;
    let place = Place { folder: &folder, from, to };
    match (folder.has_store(from), folder.has_store(to)) {
        (true, true) => Err(OpenError(format!(
            "the data folder {shown} holds a queue of {} and one of {}; move the one away that is \
             not the relay's",
            from.name(),
            to.name()
        ))),
        (true, false) => {
            let records = place.copy(progress)?;
            let kept = place.swap()?;
            place.moved(records, Some(kept))
        }
        (false, false) if place.ready().exists() => {
            place.take_place()?;
            let records = count(&*place.open(&folder.store(to))?, progress).map_err(cannot_open)?;
            place.moved(records, Some(place.kept().0))
        }
        (false, true) => {
            let records = count(&*place.open(&folder.store(to))?, progress).map_err(cannot_open)?;
            place.moved(records, None)
        }
        (false, false) => Err(OpenError(format!(
            "the data folder {shown} holds no queue of {}; is it the right folder?",
            from.name()
        ))),
    }
}

/// The engines between which a queue is, where nothing but the last names are missing.
pub(super) fn unfinished(folder: &Folder) -> Option<(&'static str, &'static str)> {
    Engine::ALL.into_iter().find_map(|to| {
        let from = Engine::ALL.into_iter().find(|from| *from != to)?;
        Place { folder, from, to }.ready().exists().then_some((from.name(), to.name()))
    })
}

struct Place<'a> {
    folder: &'a Folder,
    from: Engine,
    to: Engine,
}

impl Place<'_> {
    fn partial(&self) -> PathBuf {
        self.folder.store(self.to).with_extension("migrating")
    }

    fn ready(&self) -> PathBuf {
        self.folder.store(self.to).with_extension("ready")
    }

    /// Where the latest old store is kept, and the next one will be.
    fn kept(&self) -> (PathBuf, PathBuf) {
        let numbered =
            |n: u32| self.folder.store(self.from).with_extension(format!("migrated-{n}"));
        let next = (1..).find(|n| !numbered(*n).exists()).unwrap_or(u32::MAX);
        (numbered(next.saturating_sub(1)), numbered(next))
    }

    fn open(&self, path: &Path) -> Result<std::sync::Arc<dyn Store>, OpenError> {
        store::open(self.to, path).map_err(cannot_open)
    }

    /// Makes the new store equal to the old one; how many records it has.
    fn copy(&self, progress: &mut dyn FnMut(Migration)) -> Result<u64, OpenError> {
        // A relay may have run on the old store since.
        if self.ready().exists() {
            self.rename(&self.ready(), &self.partial())?;
        }
        let old = store::open(self.from, &self.folder.store(self.from)).map_err(cannot_open)?;
        let total = count(&*old, progress).map_err(cannot_open)?;
        let new = self.open(&self.partial())?;
        equal(&*old, &*new, true, &mut |done| progress(Migration::Copying(done, total)))
            .map_err(|error| self.stopped(&error))?;
        // Read again from what is on disk.
        drop(new);
        let new = self.open(&self.partial())?;
        let (records, differing) =
            equal(&*old, &*new, false, &mut |done| progress(Migration::Comparing(done, total)))
                .map_err(cannot_open)?;
        if differing > 0 || records != total {
            return Err(OpenError(format!(
                "{differing} of {total} records differ after copying; the old store is as it was. \
                 Remove {} and try again",
                self.partial().display()
            )));
        }
        drop((old, new));
        self.rename(&self.partial(), &self.ready())?;
        Ok(records)
    }

    /// The old store goes out of the way, the new one takes its place; where the old one is.
    fn swap(&self) -> Result<PathBuf, OpenError> {
        let (_, kept) = self.kept();
        self.rename(&self.folder.store(self.from), &kept)?;
        self.take_place()?;
        Ok(kept)
    }

    fn take_place(&self) -> Result<(), OpenError> {
        self.rename(&self.ready(), &self.folder.store(self.to))
    }

    fn moved(&self, records: u64, kept: Option<PathBuf>) -> Result<Migrated, OpenError> {
        let books = Books::load(&*self.open(&self.folder.store(self.to))?).map_err(cannot_open)?;
        let dead = books.destinations.iter().map(|books| books.dead).sum();
        Ok(Migrated { records, pending: books.jobs(), dead, kept })
    }

    /// Durable before anything follows from it.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), OpenError> {
        fs::rename(from, to).and_then(|()| File::open(self.folder.path())?.sync_all()).map_err(
            |error: io::Error| {
                OpenError(format!(
                    "{} cannot become {}: {error}; nothing is lost, run it again",
                    from.display(),
                    to.display()
                ))
            },
        )
    }

    fn stopped(&self, error: &StoreError) -> OpenError {
        OpenError(format!(
            "copying stopped: {error}. The old store is as it was; once there is room on the disk, \
             run it again: it goes on where it was (or remove {} to give it up)",
            self.partial().display()
        ))
    }
}

fn count(store: &dyn Store, progress: &mut dyn FnMut(Migration)) -> Result<u64, StoreError> {
    let mut records = 0;
    store.scan(&[], END, Direction::Forward, &mut |_, _| {
        records += 1;
        if records % BITE_RECORDS as u64 == 0 {
            progress(Migration::Counting(records));
        }
        ControlFlow::Continue(())
    })?;
    Ok(records)
}

type Pair = (Vec<u8>, Vec<u8>);

/// Walks both stores together, and with `write` makes the new one equal; how many records the old
/// one has, and how many differed.
fn equal(
    old: &dyn Store,
    new: &dyn Store,
    write: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<(u64, u64), StoreError> {
    let (mut records, mut differing) = (0u64, 0u64);
    let mut from = Vec::new();
    loop {
        let (wanted, wanted_next) = bite(old, &from)?;
        let (there, there_next) = bite(new, &from)?;
        let next = match (wanted_next, there_next) {
            (Some(wanted), Some(there)) => Some(wanted.min(there)),
            (wanted, there) => wanted.or(there),
        };
        let is_within = |pair: &Pair| next.as_ref().is_none_or(|next| pair.0 < *next);
        let mut wanted = wanted.into_iter().filter(is_within).peekable();
        let mut there = there.into_iter().filter(is_within).peekable();
        let mut batch = Batch::default();
        loop {
            let order = match (wanted.peek(), there.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(wanted), Some(there)) => wanted.0.cmp(&there.0),
            };
            let want = if order.is_le() { wanted.next() } else { None };
            let have = if order.is_ge() { there.next() } else { None };
            records += u64::from(want.is_some());
            match (want, have) {
                (Some(want), have) if have.as_ref() != Some(&want) => batch.put(want.0, want.1),
                (None, Some(have)) => batch.delete(have.0),
                _ => {}
            }
        }
        differing += batch.len() as u64;
        if write && !batch.is_empty() {
            new.commit(batch)?;
        }
        progress(records);
        match next {
            Some(next) => from = next,
            None => return Ok((records, differing)),
        }
    }
}

/// The next records, and the smallest key after them if there may be more.
fn bite(store: &dyn Store, from: &[u8]) -> Result<(Vec<Pair>, Option<Vec<u8>>), StoreError> {
    let (mut pairs, mut bytes) = (Vec::<Pair>::new(), 0);
    let mut is_full = false;
    store.scan(from, END, Direction::Forward, &mut |key, value| {
        bytes += key.len() + value.len();
        pairs.push((key.to_vec(), value.to_vec()));
        is_full = pairs.len() >= BITE_RECORDS || bytes >= BITE_BYTES;
        if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let next = pairs.last().filter(|_| is_full).map(|(key, _)| [key.as_slice(), &[0]].concat());
    Ok((pairs, next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::MemoryDisk;

    fn filled(pairs: &[(u32, u8)]) -> std::sync::Arc<dyn Store> {
        let store = MemoryDisk::default().open().unwrap();
        let mut batch = Batch::default();
        for (key, value) in pairs {
            batch.put(key.to_be_bytes().to_vec(), vec![*value; 100]);
        }
        store.commit(batch).unwrap();
        store
    }

    #[test]
    fn a_store_becomes_equal_whatever_is_there() {
        let many: Vec<(u32, u8)> = (0..9000).map(|n| (n, 1)).collect();
        let odd: Vec<(u32, u8)> = (0..30_000).map(|n| (n * 2 + 1, 1)).collect();
        let changed: Vec<(u32, u8)> = (4000..12_000).map(|n| (n, 2)).collect();
        for there in [&[][..], &many[..], &many[..100], &odd, &changed] {
            for wanted in [&many[..], &[], &odd] {
                let (old, new) = (filled(wanted), filled(there));
                let (records, _) = equal(&*old, &*new, true, &mut |_| ()).unwrap();
                assert_eq!(records, wanted.len() as u64);
                let again = equal(&*old, &*new, false, &mut |_| ()).unwrap();
                assert_eq!(again, (wanted.len() as u64, 0));
            }
        }
    }
}
