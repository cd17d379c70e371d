//! Frequency: one sealed record a person or session, held against claims by the only writer.

use std::collections::HashMap;

use super::{
    record::{self, space},
    seal::Seal,
    store::{Batch, Store, StoreError},
};
use crate::plan::{Claim, Milestone, Person};

/// The persons of the batch in hand, as the batch leaves them.
#[derive(Debug, Default)]
pub(super) struct People {
    touched: HashMap<[u8; 16], Touched>,
}

#[derive(Debug, Default)]
struct Touched {
    person: Person,
    /// Pieces on disk.
    pieces: u16,
    changed: bool,
}

impl People {
    /// Whether a claim holds against the store and the batch in hand.
    pub(super) fn admits(
        &mut self,
        store: &dyn Store,
        seal: &Seal,
        claim: &Claim,
    ) -> Result<bool, StoreError> {
        self.fetch(store, seal, claim.subject)?;
        let ends_with = claim.not_after.as_ref().map_or(claim.subject, |end| end.subject);
        self.fetch(store, seal, ends_with)?;
        match (self.touched.get(&claim.subject), self.touched.get(&ends_with)) {
            (Some(by), Some(end)) => Ok(by.person.admits(claim, &end.person).is_ok()),
            _ => Ok(true),
        }
    }

    /// Leaves a claim's mark.
    pub(super) fn mark(&mut self, claim: &Claim) {
        let touched = self.touched.entry(claim.subject).or_default();
        touched.person.mark(claim);
        touched.changed = true;
    }

    /// Notes a milestone.
    pub(super) fn reach(
        &mut self,
        store: &dyn Store,
        seal: &Seal,
        milestone: &Milestone,
        at: jiff::Timestamp,
    ) -> Result<(), StoreError> {
        self.fetch(store, seal, milestone.subject)?;
        let touched = self.touched.entry(milestone.subject).or_default();
        touched.person.reach(&milestone.event, at);
        touched.changed = true;
        Ok(())
    }

    /// Forgets a person.
    pub(super) fn erase(
        &mut self,
        store: &dyn Store,
        seal: &Seal,
        subject: [u8; 16],
    ) -> Result<(), StoreError> {
        self.fetch(store, seal, subject)?;
        if let Some(touched) = self.touched.get_mut(&subject) {
            touched.person = Person::default();
            touched.changed = touched.pieces > 0;
        }
        Ok(())
    }

    /// What is kept of a person.
    pub(super) fn find(
        store: &dyn Store,
        seal: &Seal,
        subject: [u8; 16],
    ) -> Result<Option<Person>, StoreError> {
        let mut people = Self::default();
        people.fetch(store, seal, subject)?;
        let person = people.touched.remove(&subject).map(|touched| touched.person);
        Ok(person.filter(|person| *person != Person::default()))
    }

    /// How many records will be written.
    pub(super) fn changed(&self) -> usize {
        self.touched.len()
    }

    /// Writes what changed, without what is older than the retention.
    pub(super) fn write(
        self,
        batch: &mut Batch,
        seal: &Seal,
        forget_before: jiff::Timestamp,
    ) -> Result<(), StoreError> {
        for (subject, mut touched) in self.touched {
            if !touched.changed {
                continue;
            }
            let key = key(&subject);
            if touched.person.forget(forget_before) {
                record::delete(batch, &key, touched.pieces);
                continue;
            }
            let text = postcard::to_allocvec(&touched.person)
                .map_err(|e| StoreError::Failed(format!("a person cannot be written: {e}")))?;
            let newest = newest_ms(&touched.person).to_be_bytes();
            let mut bytes = newest.to_vec();
            bytes.extend(seal.seal(&[&key, &newest], &text)?);
            record::replace(batch, &key, &bytes, touched.pieces);
        }
        Ok(())
    }

    fn fetch(
        &mut self,
        store: &dyn Store,
        seal: &Seal,
        subject: [u8; 16],
    ) -> Result<(), StoreError> {
        if self.touched.contains_key(&subject) {
            return Ok(());
        }
        let key = key(&subject);
        let touched = match record::get(store, &key)? {
            None => Touched::default(),
            Some((pieces, bytes)) => {
                let person = read(seal, &key, &bytes).unwrap_or_else(|why| {
                    // Counting once too often is better than refusing the event for ever.
                    tracing::error!("a person's frequency record is set aside: {why}");
                    Person::default()
                });
                Touched { person, pieces, changed: false }
            }
        };
        self.touched.insert(subject, touched);
        Ok(())
    }
}

/// The time of the newest thing in a record, epoch milliseconds, without opening it.
pub(super) fn newest_of(record: &[u8]) -> i64 {
    record.first_chunk().copied().map_or(i64::MAX, i64::from_be_bytes)
}

fn read(seal: &Seal, key: &[u8], bytes: &[u8]) -> Result<Person, String> {
    let (newest, sealed) = bytes.split_first_chunk::<8>().ok_or("it is cut")?;
    let text = seal.unseal(&[key, newest], sealed).map_err(|e| e.to_string())?;
    postcard::from_bytes(&text).map_err(|e| e.to_string())
}

fn newest_ms(person: &Person) -> i64 {
    let marks = person.marks.iter().map(|mark| mark.at_ms);
    marks.chain(person.milestones.iter().map(|reached| reached.last_ms)).max().unwrap_or(0)
}

fn key(subject: &[u8; 16]) -> Vec<u8> {
    let mut key = Vec::with_capacity(17);
    key.push(space::PERSON);
    key.extend_from_slice(subject);
    key
}
