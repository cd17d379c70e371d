//! Keys and framing: how a record of any length becomes values of at most 4 KiB under consecutive
//! keys of one batch. It knows nothing of what a record means.
//!
//! A record's key is a space (one byte), big-endian numbers, and the piece's number. The first
//! piece begins with the number of pieces.

use std::ops::ControlFlow;

use super::store::{Batch, Direction, Store, StoreError};

/// sled puts a page over 128 KiB into a file that it never syncs; 16 values of 8 KiB suffice.
/// Its cache also holds some pages for each of its 256 shards whatever its capacity: filled with a
/// million jobs it takes 113 MB with values of 6 KiB, 80 MB with 4, at the same speed.
pub(super) const MAX_VALUE_BYTES: usize = 4 * 1024;

/// The spaces of the one tree.
pub(super) mod space {
    // b'm' is meta: the mode (`open`) and the subject secret (`seal`), each under a name.
    /// Wrapped data keys, by number.
    pub(in crate::queue) const DATA_KEY: u8 = b'k';
    /// The books: of events, and of each destination by number.
    pub(in crate::queue) const BOOKS: u8 = b'b';
    /// Chunks of jobs: destination, due, sequence.
    pub(in crate::queue) const CHUNK: u8 = b'c';
    /// `sending` marks: a chunk's key.
    pub(in crate::queue) const MARK: u8 = b's';
    /// Event ids: time, sequence.
    pub(in crate::queue) const IDS: u8 = b'i';
    /// Persons' frequency records: keyed hash.
    pub(in crate::queue) const PERSON: u8 = b'p';
    /// The register of people: subject key.
    pub(in crate::queue) const KNOWN: u8 = b'w';
    /// Dead letters: time, sequence.
    pub(in crate::queue) const DEAD: u8 = b'd';
    /// What waits for the decision log: sequence.
    pub(in crate::queue) const EVIDENCE: u8 = b'e';
    /// Which events belong to an order: time, sequence.
    pub(in crate::queue) const ORDER: u8 = b'o';
    /// Traces: time, sequence.
    pub(in crate::queue) const TRACE: u8 = b't';
    /// Small sealed records that somebody else keeps here, by name.
    pub(in crate::queue) const KEPT: u8 = b'n';

    /// Spaces whose keys end in a sequence number, the youngest last but for a clock that was put.
    pub(in crate::queue) const NUMBERED: [u8; 5] = [IDS, DEAD, EVIDENCE, ORDER, TRACE];
}

/// A key of a space with a time (epoch milliseconds) and a sequence number.
pub(super) fn timed_key(space: u8, at_ms: i64, sequence: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(17);
    key.push(space);
    key.extend_from_slice(&unsigned(at_ms).to_be_bytes());
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

/// The time of a [`timed_key`].
pub(super) fn time_of(key: &[u8]) -> i64 {
    number_at(key, 1).map_or(0, |at| i64::try_from(at).unwrap_or(i64::MAX))
}

/// The big-endian number at an offset.
pub(super) fn number_at(key: &[u8], offset: usize) -> Option<u64> {
    let bytes = key.get(offset..offset.checked_add(8)?)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// Times before 1970 have no place in a key.
pub(super) fn unsigned(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}

/// The smallest key of a space, and the smallest beyond it.
pub(super) fn whole(space: u8) -> (Vec<u8>, Vec<u8>) {
    (vec![space], vec![space.saturating_add(1)])
}

/// Puts a record in pieces; how many.
pub(super) fn put(batch: &mut Batch, key: &[u8], record: &[u8]) -> u16 {
    let first = MAX_VALUE_BYTES - 2;
    let (head, rest) = record.split_at_checked(first).unwrap_or((record, &[]));
    let pieces = u16::try_from(1 + rest.len().div_ceil(MAX_VALUE_BYTES)).unwrap_or(u16::MAX);
    let mut value = Vec::with_capacity(head.len() + 2);
    value.extend_from_slice(&pieces.to_be_bytes());
    value.extend_from_slice(head);
    batch.put(piece_key(key, 0), value);
    for (piece, value) in (1u16..).zip(rest.chunks(MAX_VALUE_BYTES)) {
        batch.put(piece_key(key, piece), value.to_vec());
    }
    pieces
}

/// Deletes a record of so many pieces.
pub(super) fn delete(batch: &mut Batch, key: &[u8], pieces: u16) {
    for piece in 0..pieces {
        batch.delete(piece_key(key, piece));
    }
}

/// Puts a record over an earlier one of so many pieces; how many it has now.
pub(super) fn replace(batch: &mut Batch, key: &[u8], record: &[u8], before: u16) -> u16 {
    let pieces = put(batch, key, record);
    for piece in pieces..before {
        batch.delete(piece_key(key, piece));
    }
    pieces
}

/// Reads one record: its pieces' number and its bytes.
pub(super) fn get(store: &dyn Store, key: &[u8]) -> Result<Option<(u16, Vec<u8>)>, StoreError> {
    let Some(first) = store.get(&piece_key(key, 0))? else { return Ok(None) };
    let (pieces, head) = split_first(&first)?;
    let mut record = head.to_vec();
    for piece in 1..pieces {
        match store.get(&piece_key(key, piece))? {
            Some(value) => record.extend_from_slice(&value),
            None => return Err(torn(key)),
        }
    }
    Ok(Some((pieces, record)))
}

/// A whole record, as a scan meets it.
#[derive(Debug)]
pub(super) struct Found<'a> {
    /// Its key, without the piece's number.
    pub(super) key: &'a [u8],
    /// How many pieces it has.
    pub(super) pieces: u16,
    /// Its bytes.
    pub(super) record: &'a [u8],
}

/// Visits whole records in order; `from` and `to` are keys without piece numbers.
pub(super) fn scan(
    store: &dyn Store,
    from: &[u8],
    to: &[u8],
    direction: Direction,
    visit: &mut dyn FnMut(Found<'_>) -> Result<ControlFlow<()>, StoreError>,
) -> Result<(), StoreError> {
    // Forward a record's first piece comes first, backward last; both are gathered here.
    let mut gathered: Vec<Vec<u8>> = Vec::new();
    let mut expected = 0u16;
    let mut problem = None;
    let mut step = |key: &[u8], value: &[u8]| -> Result<ControlFlow<()>, StoreError> {
        let (base, piece) = split_key(key)?;
        let record;
        let pieces;
        match direction {
            Direction::Forward => {
                if piece == 0 {
                    let (count, head) = split_first(value)?;
                    if count == 1 {
                        return visit(Found { key: base, pieces: 1, record: head });
                    }
                    expected = count;
                    gathered = vec![head.to_vec()];
                    return Ok(ControlFlow::Continue(()));
                }
                gathered.push(value.to_vec());
                if piece + 1 < expected {
                    return Ok(ControlFlow::Continue(()));
                }
                pieces = expected;
                record = std::mem::take(&mut gathered).concat();
            }
            Direction::Backward => {
                if piece > 0 {
                    gathered.push(value.to_vec());
                    return Ok(ControlFlow::Continue(()));
                }
                let (count, head) = split_first(value)?;
                if gathered.is_empty() {
                    return visit(Found { key: base, pieces: count, record: head });
                }
                gathered.push(head.to_vec());
                gathered.reverse();
                pieces = count;
                record = std::mem::take(&mut gathered).concat();
            }
        }
        visit(Found { key: base, pieces, record: &record })
    };
    store.scan(from, to, direction, &mut |key, value| match step(key, value) {
        Ok(flow) => flow,
        Err(error) => {
            problem = Some(error);
            ControlFlow::Break(())
        }
    })?;
    problem.map_or(Ok(()), Err)
}

/// The smallest key after every piece of a record.
pub(super) fn after(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.extend_from_slice(&[0xff, 0xff, 0xff]);
    next
}

fn piece_key(key: &[u8], piece: u16) -> Vec<u8> {
    let mut whole = Vec::with_capacity(key.len() + 2);
    whole.extend_from_slice(key);
    whole.extend_from_slice(&piece.to_be_bytes());
    whole
}

fn split_key(key: &[u8]) -> Result<(&[u8], u16), StoreError> {
    match key.split_last_chunk::<2>() {
        Some((base, piece)) => Ok((base, u16::from_be_bytes(*piece))),
        None => Err(torn(key)),
    }
}

fn split_first(value: &[u8]) -> Result<(u16, &[u8]), StoreError> {
    match value.split_first_chunk::<2>() {
        Some((pieces, head)) => Ok((u16::from_be_bytes(*pieces), head)),
        None => Err(torn(value)),
    }
}

fn torn(key: &[u8]) -> StoreError {
    let space = key.first().copied().map_or('?', char::from);
    StoreError::Corrupt(format!("a record of space {space:?} lacks a piece"))
}
