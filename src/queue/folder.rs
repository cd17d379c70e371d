//! The data folder: its lock, its key file, its ballast, and the marker by which a vanished store
//! is told from a new one. The only file of the queue that touches the disk besides the engines.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::{
    OpenError, migrate,
    seal::{Key, MasterKeys},
    store,
    whole::{make_folder, write_whole},
};
use crate::config::{Engine, QueueSettings};

/// Given up where the disk is full: opening a store may need room, and leave half of what it needed,
/// and outcomes need room too. The largest that the disk has room for beside the floor: on a small
/// one a small ballast serves a queue that is as small.
const BALLAST_BYTES: [u64; 2] = [48 * 1024 * 1024, 16 * 1024 * 1024];
const LOCK: &str = "relay.lock";
const KEY_FILE: &str = "relay.key";
const BALLAST: &str = "relay.ballast";
const MARKER: &str = "relay.marker";
/// How far batches were durable a moment ago. It is written over in place and never synced: what a
/// SIGKILL leaves of it is true, and what a power cut leaves is older or fails its checksum.
const DURABLE: &str = "relay.durable";

/// Bytes free for us on the file system of a folder.
pub type FreeSpace = Arc<dyn Fn(&Path) -> io::Result<u64> + Send + Sync>;

/// How full the disk may become.
#[derive(Clone)]
pub struct Disk {
    /// Nothing is admitted with less than this free. Outcomes are written on: from half of it on the
    /// ballast is given up for them, and an eighth of it always stays.
    pub floor_bytes: u64,
    /// Tells how much is free; replaced in tests.
    pub free: FreeSpace,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("floor_bytes", &self.floor_bytes).finish_non_exhaustive()
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self { floor_bytes: 64 * 1024 * 1024, free: Arc::new(free_space) }
    }
}

/// Always of one length: it is written over the one before.
fn note_of(sequence: u64) -> String {
    let number = format!("{sequence:020}");
    format!("{number} {:08x}\n", checksum(&number))
}

/// What a note says; `None` where it is torn.
fn noted_sequence(note: &str) -> Option<u64> {
    let (number, check) = note.trim_end().split_once(' ')?;
    let is_whole = u32::from_str_radix(check, 16) == Ok(checksum(number));
    number.parse().ok().filter(|_| is_whole)
}

fn checksum(text: &str) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(text.as_bytes());
    crc.sum()
}

#[cfg(unix)]
fn free_space(folder: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(not(unix))]
fn free_space(_: &Path) -> io::Result<u64> {
    Ok(u64::MAX)
}

/// A data folder that is ours.
pub(super) struct Folder {
    path: PathBuf,
    /// Held as long as the folder is open; the system gives it up with the process.
    _lock: File,
    disk: Disk,
}

impl Folder {
    /// Makes the folder if absent, and locks it.
    pub(super) fn open(path: &Path, disk: Disk) -> Result<Self, OpenError> {
        let shown = path.display();
        let refused = |what: &str, error: &io::Error| {
            OpenError(format!(
                "the data folder {shown} {what}: {error}; give a folder that this user may write, \
                 with --data"
            ))
        };
        make_folder(path).map_err(|e| refused("cannot be made", &e))?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK))
            .map_err(|e| refused("cannot be written", &e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError(format!(
                    "the data folder {shown} is locked by another process; stop the other relay, \
                     or give this one a folder of its own with --data"
                )));
            }
            Err(TryLockError::Error(error)) => return Err(refused("cannot be locked", &error)),
        }
        Ok(Self { path: path.to_owned(), _lock: lock, disk })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// An engine's own folder.
    pub(super) fn store(&self, engine: Engine) -> PathBuf {
        self.path.join(engine.name())
    }

    /// Whether there is a store of an engine.
    pub(super) fn has_store(&self, engine: Engine) -> bool {
        store::file(engine, &self.store(engine)).exists()
    }

    /// A queue that another engine holds, and a store that was there once and is gone, are never
    /// replaced by an empty one.
    pub(super) fn check_engine(&self, engine: Engine) -> Result<(), OpenError> {
        let name = engine.name();
        if let Some(other) =
            Engine::ALL.into_iter().find(|other| *other != engine && self.has_store(*other))
        {
            let other = other.name();
            return Err(OpenError(format!(
                "the data folder {} holds a queue of engine \"{other}\", and [queue] in relay.toml \
                 says engine = \"{name}\"; write engine = \"{other}\" there, or move the queue: \
                 conversion-relay migrate --from {other} --to {name} --data {0}",
                self.path.display()
            )));
        }
        if !self.path.join(MARKER).exists() || self.has_store(engine) {
            return Ok(());
        }
        if let Some((from, to)) = migrate::unfinished(self) {
            return Err(OpenError(format!(
                "moving the queue from {from} to {to} was interrupted at its very end; run it \
                 again, it goes on where it was: conversion-relay migrate --from {from} --to {to} \
                 --data {}",
                self.path.display()
            )));
        }
        Err(OpenError(format!(
            "the store {} is gone, and it held the queue; restore the data folder from a backup, \
             or remove {} to start empty, which gives up what was queued",
            store::file(engine, &self.store(engine)).display(),
            self.path.join(MARKER).display()
        )))
    }

    /// Why nothing more may be kept where the folder was taken away under a running relay: what is
    /// written then goes to files that nobody will find again.
    pub(super) fn gone(&self) -> Option<String> {
        let marker = self.path.join(MARKER);
        (!marker.exists()).then(|| {
            format!(
                "{} is gone: the data folder was removed or replaced while the relay ran. Put it \
                 back, or stop the relay and start it anew",
                marker.display()
            )
        })
    }

    /// The sequence number up to which batches were durable for certain, if there is a marker.
    pub(super) fn marked_sequence(&self) -> Option<u64> {
        let text = fs::read_to_string(self.path.join(MARKER)).ok()?;
        let marked = text.split_whitespace().last().and_then(|n| n.parse().ok()).unwrap_or(0);
        let noted = fs::read_to_string(self.path.join(DURABLE)).ok();
        Some(marked.max(noted.as_deref().and_then(noted_sequence).unwrap_or(0)))
    }

    /// Writes the marker: from now on an empty store is an error.
    pub(super) fn mark(&self, sequence: u64) -> io::Result<()> {
        let text = format!("This folder holds a relay's queue. Durable up to {sequence}\n");
        write_whole(&self.path.join(MARKER), text.as_bytes())?;
        self.note_durable(sequence);
        Ok(())
    }

    /// Notes how far batches are on disk. Nothing depends on it but that a store which lost some is
    /// found out: a disk that refuses it is told of by what must be kept.
    pub(super) fn note_durable(&self, sequence: u64) {
        let noted = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.path.join(DURABLE))
            .and_then(|mut file| io::Write::write_all(&mut file, note_of(sequence).as_bytes()));
        if let Err(error) = noted {
            tracing::debug!("{DURABLE} cannot be written: {error}");
        }
    }

    /// The master keys: the configured ones, else the key file, which is made if there is none.
    pub(super) fn master_keys(
        &self,
        settings: &QueueSettings,
        random: &[u8; 32],
    ) -> Result<MasterKeys, OpenError> {
        let mut previous = Vec::new();
        for key in &settings.previous_keys {
            previous.push(read_key(key, "queue.previous_keys")?);
        }
        let file = self.path.join(KEY_FILE);
        let current = match &settings.encryption_key {
            Some(key) => {
                // A folder that began without a configured key can be read by its file's.
                previous.extend(self.kept_key(&file)?);
                read_key(key, "queue.encryption_key")?
            }
            None => self.key_file(&file, random)?,
        };
        Ok(MasterKeys::new(current, previous))
    }

    /// The key file's key; `None`: there is no file, or nothing in it, which is what a power cut made
    /// of a file that was being written.
    fn kept_key(&self, file: &Path) -> Result<Option<Key>, OpenError> {
        let shown = file.display();
        let text = match fs::read(file) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError(format!("cannot read {shown}: {error}"))),
        };
        if text.iter().all(|byte| *byte == 0 || byte.is_ascii_whitespace()) {
            return Ok(None);
        }
        if let Some(key) = decode_key(&text) {
            return Ok(Some(key));
        }
        let what_to_do = if self.holds_nothing() {
            "nothing is queued here yet: remove it, and a new one is made"
        } else {
            "restore it from a backup: without it what is queued cannot be read, and a new key \
             reads nothing. To start empty instead, which gives up what is queued, move the data \
             folder away"
        };
        Err(OpenError(format!(
            "the key file {shown} was changed or damaged: it must hold 32 bytes in base64; \
             {what_to_do}"
        )))
    }

    /// Nothing was ever acknowledged here: the marker is written before, and no store is made before
    /// the key is on disk.
    fn holds_nothing(&self) -> bool {
        !self.path.join(MARKER).exists() && !Engine::ALL.into_iter().any(|e| self.has_store(e))
    }

    fn key_file(&self, file: &Path, random: &[u8; 32]) -> Result<Key, OpenError> {
        if let Some(key) = self.kept_key(file)? {
            return Ok(key);
        }
        let shown = file.display();
        if !self.holds_nothing() {
            let state = if file.exists() { "empty" } else { "gone" };
            return Err(OpenError(format!(
                "the key file {shown} is {state}, and no queue.encryption_key is configured; \
                 restore the file from a backup: without it what is queued cannot be read. To \
                 start empty instead, which gives up what is queued, move the data folder away"
            )));
        }
        tracing::warn!(
            "no queue.encryption_key is configured: a key file was made in the data folder; \
             whoever can read {shown} can read the queue"
        );
        let key = super::seal::derive(random, b"key file");
        let text = Zeroizing::new(BASE64.encode(key));
        write_whole(file, text.as_bytes())
            .map_err(|error| OpenError(format!("cannot write {shown}: {error}")))?;
        Ok(Key::new(key))
    }

    /// Why nothing more may be admitted, if the disk is too full.
    pub(super) fn too_full(&self) -> Option<String> {
        self.below(self.disk.floor_bytes)
    }

    /// Why not even outcomes may be written, if the disk is too full for that. Where there are some to
    /// be written (`needed`) the ballast makes room.
    pub(super) fn too_full_for_outcomes(&self, needed: bool) -> Option<String> {
        let file = self.path.join(BALLAST);
        if needed && self.below(self.disk.floor_bytes / 2).is_some() && file.exists() {
            self.drop_ballast("to write outcomes down");
        }
        let floor = self.disk.floor_bytes / if file.exists() { 2 } else { 8 };
        self.below(floor)
    }

    fn below(&self, floor: u64) -> Option<String> {
        match (self.disk.free)(&self.path) {
            Ok(free) if free < floor => {
                Some(format!("the disk is full: {free} bytes are free, {floor} must be"))
            }
            // Not knowing is no reason to refuse: a write that fails will tell.
            Ok(_) | Err(_) => None,
        }
    }

    /// Gives the ballast up, so that the store can be opened on a full disk.
    pub(super) fn make_room_to_open(&self) {
        if self.too_full().is_some() {
            self.drop_ballast("to open the store");
        }
    }

    fn drop_ballast(&self, why: &str) {
        match fs::remove_file(self.path.join(BALLAST)) {
            Ok(()) => tracing::warn!("the disk is full: the ballast file was given up {why}"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!("the ballast file cannot be removed: {error}"),
        }
    }

    /// Puts the ballast back where there is room for it; missing ballast is no error.
    pub(super) fn keep_ballast(&self) {
        let file = self.path.join(BALLAST);
        // A power cut may have left its name without its bytes.
        if fs::metadata(&file).is_ok_and(|ballast| ballast.len() > 0) {
            return;
        }
        // Where nobody knows how much is free, trying tells.
        let free = (self.disk.free)(&self.path).unwrap_or(u64::MAX);
        let has_room = |bytes: &u64| free >= bytes.saturating_add(self.disk.floor_bytes);
        let Some(bytes) = BALLAST_BYTES.into_iter().find(has_room) else { return };
        if let Err(error) = allocate(&file, bytes) {
            tracing::warn!("no ballast file can be kept: {error}");
            // An empty one would be taken for ballast.
            _ = fs::remove_file(&file);
        }
    }
}

#[cfg(target_os = "linux")]
fn allocate(file: &Path, bytes: u64) -> io::Result<()> {
    let file = File::create(file)?;
    Ok(rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?)
}

#[cfg(not(target_os = "linux"))]
fn allocate(file: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::create(file)?;
    io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut file).map(drop)
}

/// Reads a key of 32 bytes, base64.
pub(super) fn read_key(text: &SecretString, what: &str) -> Result<Key, OpenError> {
    decode_key(text.expose_secret().as_bytes()).ok_or_else(|| {
        OpenError(format!("{what} must be 32 bytes in base64 (make one: openssl rand -base64 32)"))
    })
}

fn decode_key(text: &[u8]) -> Option<Key> {
    let bytes = Zeroizing::new(BASE64.decode(text.trim_ascii()).ok()?);
    let key: [u8; 32] = bytes.as_slice().try_into().ok()?;
    Some(Key::new(key))
}
