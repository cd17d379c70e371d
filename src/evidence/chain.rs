//! The chain: records numbered from 1, each with the SHA-256 of the one before. Pure.
//!
//! A record is one JSON object on one line, and its hash is that of the line's bytes without the
//! line's end: whoever has the lines needs nothing but `sha256sum` to follow it.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The hash of a record.
pub(super) type Hash = [u8; 32];

/// How far the log has come. Kept in the store, changed in the batch that empties the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Chain {
    /// Records ever written.
    pub length: u64,
    /// The hash of the last one; zeros before the first.
    pub head: [u8; 32],
    /// The last number of the queue's outbox that was moved.
    pub moved: u64,
    /// The file that is being written, and how many bytes of it count; empty before the first.
    pub file: String,
    /// See `file`.
    pub bytes: u64,
    /// The first record that is still kept, and what it names as the one before.
    pub first: u64,
    /// See `first`.
    pub before_first: [u8; 32],
    /// The file that the first record stands in.
    pub first_file: String,
    /// The last day (`YYYY-MM-DD`) whose end was told.
    pub ended: String,
    /// Ends of days that the webhook was not told yet.
    pub untold: Vec<DayEnd>,
}

/// What a chain is worth outside of this machine: the last hash of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayEnd {
    /// `YYYY-MM-DD`, UTC.
    pub day: String,
    /// Records ever written, up to its end.
    pub length: u64,
    /// The hash of the last of them, hex.
    pub head: String,
}

/// The stored form. A new shape is a new variant.
#[derive(Serialize, Deserialize)]
enum Stored {
    V1(Chain),
}

impl Chain {
    /// A chain without a record.
    pub(super) fn new() -> Self {
        Self { first: 1, ..Self::default() }
    }

    /// Reads what the store keeps; a new chain where it keeps nothing yet.
    pub fn decode(bytes: Option<&[u8]>) -> Result<Self, String> {
        let Some(bytes) = bytes else { return Ok(Self::new()) };
        let Stored::V1(chain) = postcard::from_bytes(bytes).map_err(|error| error.to_string())?;
        Ok(chain)
    }

    /// What the store keeps.
    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(&Stored::V1(self.clone())).unwrap_or_default()
    }

    /// Links the next record: its line, numbered and bound to the one before. `body` is the rest of
    /// a JSON object, without its braces.
    pub(super) fn link(&mut self, body: &str) -> String {
        self.length += 1;
        let previous = hex(&self.head);
        let line = format!("{{\"n\":{},\"previous\":\"{previous}\",{body}}}", self.length);
        self.head = hash(&line);
        line
    }

    /// The day of the file that is being written; empty before the first.
    pub(super) fn day(&self) -> &str {
        self.file.get(..DAY_LENGTH).unwrap_or_default()
    }

    /// What the chain is now, as the end of a day.
    pub(super) fn end_of(&self, day: &str) -> DayEnd {
        DayEnd { day: day.to_owned(), length: self.length, head: hex(&self.head) }
    }
}

/// `YYYY-MM-DD`.
pub(super) const DAY_LENGTH: usize = 10;

/// The hash of a line.
pub(super) fn hash(line: &str) -> Hash {
    Sha256::digest(line.as_bytes()).into()
}

/// Bytes in hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_hash_of_the_one_before() {
        let mut chain = Chain::new();
        let first = chain.link("\"a\":1");
        assert_eq!(first, format!("{{\"n\":1,\"previous\":\"{}\",\"a\":1}}", "0".repeat(64)));
        let second = chain.link("\"a\":2");
        assert!(second.contains(&hex(&hash(&first))));
        assert_eq!((chain.length, chain.head), (2, hash(&second)));
    }

    #[test]
    fn what_the_store_keeps_reads_back() {
        let mut chain = Chain::new();
        chain.link("\"a\":1");
        chain.file = "2026-11-22.log".to_owned();
        chain.untold.push(chain.end_of("2026-11-21"));
        assert_eq!(Chain::decode(Some(&chain.encode())).unwrap(), chain);
        assert_eq!(Chain::decode(None).unwrap(), Chain::new());
        assert!(Chain::decode(Some(&[9, 9])).is_err());
        assert_eq!(chain.day(), "2026-11-22");
    }
}
