//! Event ids: who was seen before, and what of them consent held.
//!
//! On disk one packed record of keyed 128-bit hashes a commit, under a key that begins with the
//! time, so that expiry is a range. In memory 64-bit fingerprints in generations, about 11 MB a
//! million; the oldest generation goes whole, by age or because there are too many.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    ops::ControlFlow,
};

use serde::{Deserialize, Serialize};

use super::{
    IdHash,
    chunk::DestinationNo,
    record::{self, space},
    seal::Seal,
    store::{Batch, Direction, Store, StoreError},
};
use crate::consent::ReasonCode;

/// How long the id of an event holds that was derived and has no time of its own.
const SHORT_LIVED_MS: i64 = 10 * 60 * 1000;
/// A hash set of this many is exactly full at 2^20 buckets.
const GENERATION_IDS: usize = 917_504;
/// An id is kept at most this part of the retention longer than it must.
const GENERATIONS: i64 = 24;
/// Lines of one record: well under a value's limit where nothing is held.
const RECORD_BYTES: usize = record::MAX_VALUE_BYTES - 64;

/// A decision of the first copy that consent held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct HeldSlot {
    /// The destination.
    pub(super) destination: DestinationNo,
    /// See [`super::QueueDecision::slot`].
    pub(super) slot: u32,
    /// Why.
    pub(super) reason: ReasonCode,
}

/// One line of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum IdLine {
    /// A new event: its id, what its parts are the same as, and what was held.
    Seen { id: IdHash, short_lived: bool, same_as: Vec<IdHash>, held: Vec<HeldSlot> },
    /// A later copy released what was held of the event with this fingerprint.
    Released { event: u64, slots: Vec<HeldSlot> },
    /// The same as `Seen` for an event whose copies may have other ids: with its own, sealed.
    Named {
        id: IdHash,
        short_lived: bool,
        same_as: Vec<IdHash>,
        held: Vec<HeldSlot>,
        sealed: Vec<u8>,
    },
}

/// A hash is already random: its first 8 bytes are its own hash.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Fingerprint(u64);

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type ByFingerprint = BuildHasherDefault<Fingerprint>;

/// The 64 bits by which memory knows a hash.
pub(super) fn fingerprint(hash: &IdHash) -> u64 {
    hash.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

/// What is known of ids.
#[derive(Debug)]
pub(super) struct Ids {
    generations: VecDeque<Generation>,
    short_lived: HashMap<u64, i64, ByFingerprint>,
    lists: Lists,
    keep_ms: i64,
    at_most: usize,
    generation_ids: usize,
    /// Ids dropped before their time.
    pub(super) dropped: u64,
    /// On disk, nothing up to here is needed any more.
    floor_ms: i64,
}

#[derive(Debug, Default)]
struct Generation {
    from_ms: i64,
    to_ms: i64,
    seen: HashSet<u64, ByFingerprint>,
    /// What is held, of those of whom something is.
    held: HashMap<u64, ListNo, ByFingerprint>,
    /// From what a part is the same as to the event that holds something of it.
    same_as: HashMap<u64, u64, ByFingerprint>,
    /// The ids of events of which something is held and whose copies may have other ids.
    names: HashMap<u64, Box<str>, ByFingerprint>,
}

impl Ids {
    /// Reads back what still holds.
    pub(super) fn load(
        store: &dyn Store,
        seal: &Seal,
        keep_ms: i64,
        at_most: usize,
        now_ms: i64,
    ) -> Result<Self, StoreError> {
        let mut ids = Self {
            generations: VecDeque::new(),
            short_lived: HashMap::default(),
            lists: Lists::default(),
            keep_ms,
            at_most,
            generation_ids: GENERATION_IDS.min(at_most / 8 + 1),
            dropped: 0,
            floor_ms: 0,
        };
        let from = record::timed_key(space::IDS, now_ms.saturating_sub(keep_ms), 0);
        let (_, to) = record::whole(space::IDS);
        // A clock that stepped back may have put a release before what it releases.
        let mut released = Vec::new();
        record::scan(store, &from, &to, Direction::Forward, &mut |found| {
            let at_ms = record::time_of(found.key);
            let lines: Vec<IdLine> = postcard::from_bytes(found.record)
                .map_err(|e| StoreError::Corrupt(format!("event ids cannot be read: {e}")))?;
            for line in lines {
                let is_over = |short_lived: bool| {
                    short_lived && now_ms.saturating_sub(at_ms) >= SHORT_LIVED_MS
                };
                match line {
                    IdLine::Seen { short_lived, .. } | IdLine::Named { short_lived, .. }
                        if is_over(short_lived) => {}
                    IdLine::Seen { id, short_lived, same_as, held } => {
                        ids.insert(&id, short_lived, &same_as, held, at_ms);
                    }
                    IdLine::Named { id, short_lived, same_as, held, sealed } => {
                        ids.insert(&id, short_lived, &same_as, held, at_ms);
                        // Without it a copy goes out under its own id.
                        let name = seal.unseal(&[b"event id", &id], &sealed).ok();
                        if let Some(name) = name.and_then(|b| String::from_utf8(b).ok()) {
                            ids.name(&id, name);
                        }
                    }
                    IdLine::Released { event, slots } => released.push((event, slots)),
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for (event, slots) in released {
            ids.release(event, &slots);
        }
        // Dropped before the start: not news.
        ids.dropped = 0;
        Ok(ids)
    }

    /// Whether an id, or what a part is the same as, was seen.
    pub(super) fn has(&self, hash: &IdHash, now_ms: i64) -> bool {
        let id = fingerprint(hash);
        let before = now_ms.saturating_sub(self.keep_ms);
        let holds = |generation: &&Generation| generation.to_ms >= before;
        self.generations.iter().filter(holds).any(|generation| generation.seen.contains(&id))
            || self
                .short_lived
                .get(&id)
                .is_some_and(|at| now_ms.saturating_sub(*at) < SHORT_LIVED_MS)
    }

    /// Notes a new event.
    pub(super) fn insert(
        &mut self,
        id: &IdHash,
        short_lived: bool,
        same_as: &[IdHash],
        held: Vec<HeldSlot>,
        at_ms: i64,
    ) {
        let id = fingerprint(id);
        if short_lived {
            self.short_lived.insert(id, at_ms);
        }
        if short_lived && same_as.is_empty() && held.is_empty() {
            return;
        }
        let list = (!held.is_empty()).then(|| self.lists.number(held));
        let generation = self.youngest(at_ms);
        if !short_lived {
            generation.seen.insert(id);
        }
        for same in same_as {
            generation.seen.insert(fingerprint(same));
        }
        if let Some(list) = list {
            generation.held.insert(id, list);
            for same in same_as {
                generation.same_as.insert(fingerprint(same), id);
            }
        }
    }

    /// Notes the id of an event of which something is held.
    pub(super) fn name(&mut self, hash: &IdHash, id: String) {
        let event = fingerprint(hash);
        let holding = self.generations.iter_mut().rev();
        if let Some(generation) = holding.into_iter().find(|g| g.held.contains_key(&event)) {
            generation.names.insert(event, id.into_boxed_str());
        }
    }

    /// The id of an event (by its fingerprint) of which something is held.
    pub(super) fn name_of(&self, event: u64) -> Option<&str> {
        self.generations
            .iter()
            .rev()
            .find_map(|generation| generation.names.get(&event))
            .map(|n| &**n)
    }

    /// What is held of the first copy: the event's fingerprint and its slots. `hash` is an id, or
    /// what a part is the same as.
    pub(super) fn held(&self, hash: &IdHash) -> Option<(u64, &[HeldSlot])> {
        let id = fingerprint(hash);
        self.generations.iter().rev().find_map(|generation| {
            let event = generation.same_as.get(&id).copied().unwrap_or(id);
            let list = generation.held.get(&event)?;
            Some((event, self.lists.slots(*list)))
        })
    }

    /// Some held slots of an event are held no longer.
    pub(super) fn release(&mut self, event: u64, slots: &[HeldSlot]) {
        for generation in self.generations.iter_mut().rev() {
            let Some(list) = generation.held.get(&event).copied() else { continue };
            let mut rest = self.lists.slots(list).to_vec();
            rest.retain(|held| {
                !slots.iter().any(|s| s.destination == held.destination && s.slot == held.slot)
            });
            if rest.is_empty() {
                generation.held.remove(&event);
                generation.names.remove(&event);
            } else {
                generation.held.insert(event, self.lists.number(rest));
            }
            return;
        }
    }

    /// Forgets what is over: whole generations, by age.
    pub(super) fn forget(&mut self, now_ms: i64) {
        let before = now_ms.saturating_sub(self.keep_ms);
        while self.generations.front().is_some_and(|oldest| oldest.to_ms < before) {
            self.generations.pop_front();
        }
        self.floor_ms = self.floor_ms.max(before);
        self.short_lived.retain(|_, at| now_ms.saturating_sub(*at) < SHORT_LIVED_MS);
    }

    /// Up to which time nothing on disk is needed any more.
    pub(super) fn floor_ms(&self) -> i64 {
        self.floor_ms
    }

    /// How many fingerprints are in memory.
    pub(super) fn count(&self) -> usize {
        self.long_lived() + self.short_lived.len()
    }

    fn long_lived(&self) -> usize {
        self.generations.iter().map(|generation| generation.seen.len()).sum()
    }

    fn youngest(&mut self, at_ms: i64) -> &mut Generation {
        let span = (self.keep_ms / GENERATIONS).max(1);
        let full = self.generations.back().is_none_or(|generation| {
            generation.seen.len() >= self.generation_ids
                || at_ms.saturating_sub(generation.from_ms) >= span
        });
        if full {
            while self.long_lived() + self.generation_ids > self.at_most {
                let Some(oldest) = self.generations.pop_front() else { break };
                self.dropped += oldest.seen.len() as u64;
                self.floor_ms = self.floor_ms.max(oldest.to_ms);
            }
            self.generations.push_back(Generation { from_ms: at_ms, ..Generation::default() });
        }
        let last = self.generations.len().saturating_sub(1);
        #[allow(clippy::indexing_slicing, reason = "one was pushed if there was none")]
        let generation = &mut self.generations[last];
        generation.to_ms = generation.to_ms.max(at_ms);
        generation
    }
}

/// Writes a commit's lines, packed.
pub(super) fn write(
    batch: &mut Batch,
    lines: &[IdLine],
    at_ms: i64,
    mut sequence: impl FnMut() -> u64,
) -> Result<(), StoreError> {
    let mut rest = lines;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fit = rest
            .iter()
            .take_while(|line| {
                bytes += line.bytes();
                bytes <= RECORD_BYTES
            })
            .count()
            .max(1);
        let (now, later) = rest.split_at_checked(fit).unwrap_or((rest, &[]));
        let record = postcard::to_allocvec(now)
            .map_err(|e| StoreError::Failed(format!("event ids cannot be written: {e}")))?;
        record::put(batch, &record::timed_key(space::IDS, at_ms, sequence()), &record);
        rest = later;
    }
    Ok(())
}

impl IdLine {
    /// An upper bound of what it takes.
    fn bytes(&self) -> usize {
        match self {
            IdLine::Seen { same_as, held, .. } => 20 + same_as.len() * 16 + held.len() * 9,
            IdLine::Named { same_as, held, sealed, .. } => {
                25 + same_as.len() * 16 + held.len() * 9 + sealed.len()
            }
            IdLine::Released { slots, .. } => 13 + slots.len() * 9,
        }
    }
}

/// Lists of held slots repeat: each different one is kept once.
#[derive(Debug, Default)]
struct Lists {
    all: Vec<Box<[HeldSlot]>>,
    numbers: HashMap<Box<[HeldSlot]>, ListNo>,
}

type ListNo = u32;

impl Lists {
    fn number(&mut self, slots: Vec<HeldSlot>) -> ListNo {
        let slots = slots.into_boxed_slice();
        if let Some(number) = self.numbers.get(&slots) {
            return *number;
        }
        let number = ListNo::try_from(self.all.len()).unwrap_or(ListNo::MAX);
        self.all.push(slots.clone());
        self.numbers.insert(slots, number);
        number
    }

    fn slots(&self, number: ListNo) -> &[HeldSlot] {
        usize::try_from(number).ok().and_then(|n| self.all.get(n)).map_or(&[], |slots| slots)
    }
}
