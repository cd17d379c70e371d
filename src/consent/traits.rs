//! Remembered traits: what an `identify` call says of a person, for later events of the same person
//! that do not say it again. Pure; where they are kept is the queue's.
//!
//! Hashable identity is kept as hashes only, one for each way in which a configured destination
//! normalises it; what platforms take in clear (a city, a country) is sealed with them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::{Class, Field};

/// The source under which remembered traits appear in a trace.
pub const SOURCE: &str = "memory.traits";

/// What a person is known by when traits are looked for.
pub const KEYS: [Field; 4] = [Field::ExternalId, Field::Email, Field::LeadId, Field::AnonymousId];

/// What is kept of an `identify` call.
pub const FIELDS: [Field; 13] = [
    Field::Email,
    Field::Phone,
    Field::FirstName,
    Field::LastName,
    Field::Gender,
    Field::DateOfBirth,
    Field::Street,
    Field::City,
    Field::Region,
    Field::PostalCode,
    Field::Country,
    Field::Company,
    Field::JobTitle,
];

/// One trait. Its value is sealed where it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trait {
    /// Which.
    pub field: Field,
    /// When it was said, epoch milliseconds.
    pub at_ms: i64,
    /// Until when it is kept, epoch milliseconds.
    pub until_ms: i64,
    /// What it is.
    pub value: Value,
}

impl fmt::Debug for Trait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trait").field("field", &self.field).finish_non_exhaustive()
    }
}

/// A trait's value as it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// In clear; never of a field of class [`Class::Identity`].
    Clear(String),
    /// As SHA-256.
    Hashed {
        /// The hash that stands for it.
        digest: [u8; 32],
        /// The hash under each rule, by the rule's number; empty where the sender hashed it.
        forms: Vec<(u8, [u8; 32])>,
    },
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[personal]")
    }
}

impl Value {
    /// A value in clear, where the field may be kept so.
    pub fn clear(field: Field, text: &str) -> Option<Self> {
        let may = field.class() != Class::Identity && !text.trim().is_empty();
        may.then(|| Self::Clear(text.trim().to_owned()))
    }
}

/// Adds a trait to those of a person: the one that was said last counts.
pub fn add(traits: &mut Vec<Trait>, new: Trait) {
    match traits.iter_mut().find(|known| known.field == new.field) {
        Some(known) if known.at_ms <= new.at_ms => *known = new,
        Some(_) => {}
        None => traits.push(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn city(name: &str, at_ms: i64) -> Trait {
        let value = Value::clear(Field::City, name).unwrap();
        Trait { field: Field::City, at_ms, until_ms: at_ms + 10, value }
    }

    #[test]
    fn the_last_word_counts_whenever_it_arrives() {
        let mut traits = vec![city("Oslo", 5)];
        add(&mut traits, city("Rome", 3));
        assert_eq!(traits, [city("Oslo", 5)]);
        add(&mut traits, city("Rome", 7));
        assert_eq!(traits, [city("Rome", 7)]);
    }

    #[test]
    fn hashable_identity_has_no_clear_form_and_shows_nothing() {
        assert_eq!(Value::clear(Field::Email, "jane@example.com"), None);
        assert_eq!(Value::clear(Field::City, "  "), None);
        assert!(!format!("{:?}", city("Oslo", 1)).contains("Oslo"));
    }
}
