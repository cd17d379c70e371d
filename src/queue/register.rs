//! The register of people: which identifiers belong together, and the record that is kept of each
//! person ([`Known`]).
//!
//! A record lies under the subject key of one identifier; under each other one lies a pointer to it.
//! Identifiers that come in one event belong together, with one exception: one that may be shared (a
//! phone, a browser) leads to a person who is known by name only where the event bears no other
//! name. Two members of a family on one tablet stay two people, and nobody is erased, exported or
//! refused for another.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{
    IdHash, names_one,
    person::{Horizon, Known},
    record::{self, space},
    seal::Seal,
    store::{Batch, Store, StoreError},
};
use crate::consent::{
    clicks::Click,
    memory::{Choice, Remembered, Vendors},
    traits::Trait,
};

/// A record's shapes. A new shape is a new variant; old ones are read for ever.
#[derive(Serialize, Deserialize)]
enum Stored {
    /// The person's record lies under another identifier.
    Elsewhere(IdHash),
    /// The record.
    V1(Box<Known>),
    /// The record, and remembered clicks.
    V2(Box<Known>, Vec<Click>),
    /// The same, and remembered traits.
    V3(Box<Known>, Vec<Click>, Vec<Trait>),
    /// The same, and what a choice said to vendors.
    V4(Box<Known>, Vec<Click>, Vec<Trait>, Vendors),
}

/// Where an identifier leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The key of the record.
    pub(super) home: IdHash,
    /// Whether the person is known by name.
    pub(super) is_named: bool,
}

/// The records that some identifiers, seen together, lead to; the first is the one to stay.
pub(super) fn belonging(
    subjects: &[IdHash],
    mut lead: impl FnMut(&IdHash) -> Result<Option<Place>, StoreError>,
) -> Result<Vec<IdHash>, StoreError> {
    let has_name = subjects.iter().any(names_one);
    let mut homes: Vec<IdHash> = Vec::new();
    let mut somebody: Option<IdHash> = None;
    for subject in subjects {
        let Some(Place { home, is_named }) = lead(subject)? else { continue };
        let is_theirs = if names_one(subject) || !is_named {
            true
        } else if has_name {
            false
        } else {
            *somebody.get_or_insert(home) == home
        };
        if is_theirs && !homes.contains(&home) {
            homes.push(home);
        }
    }
    Ok(homes)
}

/// The records that a round touches, as the batch leaves them.
#[derive(Debug, Default)]
pub(super) struct Register {
    slots: HashMap<IdHash, Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    holds: Holds,
    /// Pieces on disk.
    pieces: u16,
    changed: bool,
}

#[derive(Debug, Default)]
enum Holds {
    #[default]
    Nothing,
    Elsewhere(IdHash),
    Person(Box<Known>),
}

impl Register {
    /// The records that identifiers lead to.
    pub(super) fn find(
        &mut self,
        store: &dyn Store,
        seal: &Seal,
        subjects: &[IdHash],
    ) -> Result<Vec<IdHash>, StoreError> {
        belonging(subjects, |subject| self.lead(store, seal, subject))
    }

    /// The one record of these identifiers: made if there is none, made one of several.
    pub(super) fn join(
        &mut self,
        store: &dyn Store,
        seal: &Seal,
        subjects: &[IdHash],
    ) -> Result<Option<IdHash>, StoreError> {
        let mut homes = self.find(store, seal, subjects)?.into_iter();
        let unknown = |register: &Self, subject: &IdHash| {
            register.slots.get(subject).is_none_or(|slot| matches!(slot.holds, Holds::Nothing))
        };
        let home = match homes.next() {
            Some(home) => home,
            None => {
                let Some(first) = subjects.iter().find(|s| unknown(self, s)).copied() else {
                    return Ok(None);
                };
                let known = Known { subjects: vec![first], ..Known::default() };
                self.put(first, Holds::Person(Box::new(known)));
                first
            }
        };
        for other in homes {
            self.absorb(store, seal, &home, &other)?;
        }
        for subject in subjects {
            if unknown(self, subject) {
                self.attach(store, seal, &home, *subject)?;
            }
        }
        Ok(Some(home))
    }

    /// A record that [`Register::find`] or [`Register::join`] led to.
    pub(super) fn get(&self, home: &IdHash) -> Option<&Known> {
        match self.slots.get(home).map(|slot| &slot.holds) {
            Some(Holds::Person(known)) => Some(known),
            Some(Holds::Nothing | Holds::Elsewhere(_)) | None => None,
        }
    }

    /// The same, to be changed; it will be written.
    pub(super) fn of(&mut self, home: &IdHash) -> Option<&mut Known> {
        let slot = self.slots.get_mut(home)?;
        let Holds::Person(known) = &mut slot.holds else { return None };
        slot.changed = true;
        Some(known)
    }

    /// How many records will be written.
    pub(super) fn changed(&self) -> usize {
        self.slots.values().filter(|slot| slot.changed).count()
    }

    /// Writes what changed, without what is over.
    pub(super) fn write(
        self,
        batch: &mut Batch,
        seal: &Seal,
        horizon: Horizon,
    ) -> Result<(), StoreError> {
        for (subject, slot) in self.slots.into_iter().filter(|(_, slot)| slot.changed) {
            let key = key(&subject);
            match slot.holds {
                Holds::Nothing => record::delete(batch, &key, slot.pieces),
                Holds::Elsewhere(home) => {
                    let bytes = sealed(seal, &key, i64::MAX, &Stored::Elsewhere(home))?;
                    record::replace(batch, &key, &bytes, slot.pieces);
                }
                Holds::Person(mut known) => {
                    // What is left empty is removed by the sweep, with its pointers.
                    known.forget(horizon);
                    let oldest_ms = known.oldest_ms(horizon);
                    let clicks = std::mem::take(&mut known.clicks);
                    let traits = std::mem::take(&mut known.traits);
                    let vendors = known.choice.vendors.take();
                    let stored = match (vendors, clicks.is_empty(), traits.is_empty()) {
                        (None, true, true) => Stored::V1(known),
                        (None, false, true) => Stored::V2(known, clicks),
                        (None, _, false) => Stored::V3(known, clicks, traits),
                        (Some(vendors), ..) => Stored::V4(known, clicks, traits, vendors),
                    };
                    let bytes = sealed(seal, &key, oldest_ms, &stored)?;
                    record::replace(batch, &key, &bytes, slot.pieces);
                }
            }
        }
        Ok(())
    }

    /// Forgets what is over of a person; of one of whom nothing is left, everything.
    pub(super) fn age(
        &mut self,
        store: &dyn Store,
        seal: &Seal,
        home: &IdHash,
        horizon: Horizon,
    ) -> Result<(), StoreError> {
        self.fetch(store, seal, home)?;
        let Some(known) = self.get(home) else { return Ok(()) };
        let mut aged = known.clone();
        if aged.forget(horizon) {
            return self.remove(store, seal, home);
        }
        if aged != *known
            && let Some(known) = self.of(home)
        {
            *known = aged;
        }
        Ok(())
    }

    fn remove(&mut self, store: &dyn Store, seal: &Seal, home: &IdHash) -> Result<(), StoreError> {
        let Some(known) = self.get(home) else { return Ok(()) };
        for subject in known.subjects.clone() {
            let is_theirs = self.lead(store, seal, &subject)?.is_some_and(|p| p.home == *home);
            if is_theirs {
                self.put(subject, Holds::Nothing);
            }
        }
        self.put(*home, Holds::Nothing);
        Ok(())
    }

    fn lead(
        &mut self,
        store: &dyn Store,
        seal: &Seal,
        subject: &IdHash,
    ) -> Result<Option<Place>, StoreError> {
        self.fetch(store, seal, subject)?;
        let home = match self.slots.get(subject).map(|slot| &slot.holds) {
            Some(Holds::Elsewhere(home)) => *home,
            Some(Holds::Person(_)) => *subject,
            Some(Holds::Nothing) | None => return Ok(None),
        };
        self.fetch(store, seal, &home)?;
        // A pointer to nothing is none: its person was forgotten.
        Ok(self.get(&home).map(|known| Place { home, is_named: known.is_named() }))
    }

    fn absorb(
        &mut self,
        store: &dyn Store,
        seal: &Seal,
        home: &IdHash,
        other: &IdHash,
    ) -> Result<(), StoreError> {
        let Some(mut known) = self.get(other).cloned() else { return Ok(()) };
        let subjects = std::mem::take(&mut known.subjects);
        if let Some(own) = self.of(home) {
            own.absorb(known);
        }
        // Its own key too points to the other record from now on.
        self.put(*other, Holds::Nothing);
        for subject in subjects {
            self.attach(store, seal, home, subject)?;
        }
        Ok(())
    }

    fn attach(
        &mut self,
        store: &dyn Store,
        seal: &Seal,
        home: &IdHash,
        subject: IdHash,
    ) -> Result<(), StoreError> {
        self.fetch(store, seal, &subject)?;
        let Some(known) = self.of(home) else { return Ok(()) };
        let evicted = known.attach(subject);
        if subject != *home {
            self.put(subject, Holds::Elsewhere(*home));
        }
        if let Some(evicted) = evicted {
            self.fetch(store, seal, &evicted)?;
            self.put(evicted, Holds::Nothing);
        }
        Ok(())
    }

    fn put(&mut self, subject: IdHash, holds: Holds) {
        let slot = self.slots.entry(subject).or_default();
        slot.holds = holds;
        slot.changed = true;
    }

    fn fetch(
        &mut self,
        store: &dyn Store,
        seal: &Seal,
        subject: &IdHash,
    ) -> Result<(), StoreError> {
        if self.slots.contains_key(subject) {
            return Ok(());
        }
        let key = key(subject);
        let slot = match record::get(store, &key)? {
            None => Slot::default(),
            Some((pieces, bytes)) => {
                let holds = match open(seal, &key, &bytes) {
                    Ok(Stored::Elsewhere(home)) => Holds::Elsewhere(home),
                    Ok(Stored::V1(known)) => Holds::Person(known),
                    Ok(Stored::V2(mut known, clicks)) => {
                        known.clicks = clicks;
                        Holds::Person(known)
                    }
                    Ok(Stored::V3(mut known, clicks, traits)) => {
                        (known.clicks, known.traits) = (clicks, traits);
                        Holds::Person(known)
                    }
                    Ok(Stored::V4(mut known, clicks, traits, vendors)) => {
                        (known.clicks, known.traits) = (clicks, traits);
                        known.choice.vendors = Some(vendors);
                        Holds::Person(known)
                    }
                    Err(why) => {
                        // Who it was cannot be known any more; that they may have refused can.
                        tracing::error!("a person's record is set aside, as a refusal: {why}");
                        let choice = Choice::unreadable();
                        let subjects = vec![*subject];
                        Holds::Person(Box::new(Known { subjects, choice, ..Known::default() }))
                    }
                };
                Slot { holds, pieces, changed: false }
            }
        };
        self.slots.insert(*subject, slot);
        Ok(())
    }
}

/// What is remembered of the people that identifiers lead to.
pub(super) fn remembered(
    store: &dyn Store,
    seal: &Seal,
    subjects: &[IdHash],
) -> Result<Remembered, StoreError> {
    let mut register = Register::default();
    let mut remembered = Remembered::default();
    for home in register.find(store, seal, subjects)? {
        if let Some(known) = register.get(&home) {
            remembered.merge(&known.remembered());
        }
    }
    Ok(remembered)
}

/// A record that a sweep meets, where something in it may be over: the person's key.
pub(super) fn ages(found: &record::Found<'_>, horizon: Horizon) -> Option<IdHash> {
    let oldest_ms = found.record.first_chunk().copied().map_or(i64::MAX, i64::from_be_bytes);
    let is_old = oldest_ms < horizon.choices_ms.max(horizon.sent_ms);
    if is_old { found.key.get(1..)?.try_into().ok() } else { None }
}

fn sealed(seal: &Seal, key: &[u8], oldest_ms: i64, stored: &Stored) -> Result<Vec<u8>, StoreError> {
    let text = postcard::to_allocvec(stored)
        .map_err(|e| StoreError::Failed(format!("a person's record cannot be written: {e}")))?;
    let oldest = oldest_ms.to_be_bytes();
    let mut bytes = oldest.to_vec();
    bytes.extend(seal.seal(&[key, &oldest], &text)?);
    Ok(bytes)
}

fn open(seal: &Seal, key: &[u8], bytes: &[u8]) -> Result<Stored, String> {
    let (oldest, sealed) = bytes.split_first_chunk::<8>().ok_or("it is cut")?;
    let text = seal.unseal(&[key, oldest], sealed).map_err(|e| e.to_string())?;
    postcard::from_bytes(&text).map_err(|e| e.to_string())
}

fn key(subject: &IdHash) -> Vec<u8> {
    let mut key = Vec::with_capacity(17);
    key.push(space::KNOWN);
    key.extend_from_slice(subject);
    key
}
