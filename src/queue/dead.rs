//! Dead letters: jobs that were given up, each a sealed record under the time of its death.

use std::ops::ControlFlow;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    DeadFilter, DeadLetter, LeasedJob,
    chunk::{self, DestinationNo},
    groups,
    record::{self, Found, space},
    seal::{Seal, Unsealed},
    store::{Batch, Direction, Store, StoreError},
};

/// Letters of other groups that one bite opens at most.
const LOOK: usize = 512;

/// A list never holds more.
const LIST_AT_MOST: usize = 10_000;

/// What stands before a dead letter in clear, so that a filter opens only what matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DeadHead {
    /// The destination.
    pub(super) destination: DestinationNo,
    /// The closed code.
    pub(super) reason: String,
}

/// A dead letter, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dead {
    /// The job as it was.
    pub(super) job: LeasedJob,
    /// The platform's code and words.
    pub(super) message: String,
}

/// One that a filter picked for a change.
#[derive(Debug)]
pub(super) struct Picked {
    /// Its key.
    pub(super) key: Vec<u8>,
    /// Its pieces on disk.
    pub(super) pieces: u16,
    /// What is known without opening it.
    pub(super) head: DeadHead,
    /// The letter, unless it cannot be opened.
    pub(super) dead: Result<Dead, Unsealed>,
}

/// Which dead letters, with names and ids looked up.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    destination: Option<Option<DestinationNo>>,
    reason: Option<String>,
    /// Sorted; an empty list takes nothing.
    keys: Option<Vec<Vec<u8>>>,
    group: Option<String>,
}

impl Filter {
    /// Looks up a filter's names; an id that is none matches nothing.
    pub(super) fn of(filter: &DeadFilter, number: impl Fn(&str) -> Option<DestinationNo>) -> Self {
        let keys = filter.ids.as_ref().map(|ids| {
            let mut keys: Vec<Vec<u8>> = ids.iter().filter_map(|id| key_of(id)).collect();
            keys.sort();
            keys
        });
        Self {
            destination: filter.destination.as_deref().map(number),
            reason: filter.reason.clone(),
            keys,
            group: filter.group.clone(),
        }
    }

    pub(super) fn takes(&self, key: &[u8], head: &DeadHead) -> bool {
        self.destination.is_none_or(|wanted| wanted == Some(head.destination))
            && self.reason.as_ref().is_none_or(|reason| *reason == head.reason)
            && self
                .keys
                .as_ref()
                .is_none_or(|keys| keys.binary_search_by(|k| (**k).cmp(key)).is_ok())
    }
}

impl Filter {
    /// What only the opened letter tells. One that does not open is of no group.
    fn takes_group(&self, head: &DeadHead, dead: &Result<Dead, Unsealed>) -> bool {
        self.group.as_ref().is_none_or(|group| {
            dead.as_ref().is_ok_and(|dead| groups::id(head, &dead.message) == *group)
        })
    }
}

/// Writes a dead letter.
pub(super) fn write(
    batch: &mut Batch,
    seal: &Seal,
    key: &[u8],
    head: &DeadHead,
    dead: &Dead,
) -> Result<(), StoreError> {
    let failed = |e| StoreError::Failed(format!("a dead letter cannot be written: {e}"));
    let head = postcard::to_allocvec(head).map_err(failed)?;
    let job = chunk::encode_jobs(&dead.job.group, std::slice::from_ref(&dead.job))?;
    let text = postcard::to_allocvec(&(&dead.message, &job)).map_err(failed)?;
    let sealed = seal.pack(&[key, &head], &text)?;
    let mut bytes = head;
    bytes.extend(sealed);
    record::put(batch, key, &bytes);
    Ok(())
}

/// The key of a letter that dies now.
pub(super) fn key(at_ms: i64, sequence: u64) -> Vec<u8> {
    record::timed_key(space::DEAD, at_ms, sequence)
}

/// Lists the newest that a filter takes.
pub(super) fn list(
    store: &dyn Store,
    seal: &Seal,
    filter: &Filter,
    limit: Option<usize>,
    name: impl Fn(DestinationNo) -> String,
) -> Result<Vec<DeadLetter>, StoreError> {
    let limit = limit.unwrap_or(LIST_AT_MOST).min(LIST_AT_MOST);
    let mut letters = Vec::new();
    if limit == 0 {
        return Ok(letters);
    }
    let (from, to) = record::whole(space::DEAD);
    record::scan(store, &from, &to, Direction::Backward, &mut |found| {
        if let Some((head, _)) = head_of(found.record)
            && filter.takes(found.key, &head)
        {
            match open(seal, &found) {
                dead if !filter.takes_group(&head, &dead) => {}
                Ok(dead) => letters.push(letter(found.key, name(head.destination), head, &dead)),
                Err(why) => tracing::error!("a dead letter cannot be opened: {why}"),
            }
        }
        Ok(if letters.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(letters)
}

/// Picks the next few from a key on, oldest first, and where to go on; `None`: that was all.
pub(super) fn pick(
    store: &dyn Store,
    seal: &Seal,
    filter: &Filter,
    from: &[u8],
    at_most: usize,
) -> Result<(Vec<Picked>, Option<Vec<u8>>), StoreError> {
    let (_, to) = record::whole(space::DEAD);
    let mut picked = Vec::new();
    let mut looked = 0;
    let mut next = None;
    record::scan(store, from, &to, Direction::Forward, &mut |found| {
        if picked.len() >= at_most {
            next = Some(found.key.to_vec());
            return Ok(ControlFlow::Break(()));
        }
        if let Some((head, _)) = head_of(found.record)
            && filter.takes(found.key, &head)
        {
            let dead = open(seal, &found);
            if !filter.takes_group(&head, &dead) {
                looked += 1;
                if looked >= LOOK {
                    next = Some(record::after(found.key));
                    return Ok(ControlFlow::Break(()));
                }
                return Ok(ControlFlow::Continue(()));
            }
            picked.push(Picked { key: found.key.to_vec(), pieces: found.pieces, head, dead });
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((picked, next))
}

/// What stands before a letter in clear, and how long that is.
pub(super) fn head_of(record: &[u8]) -> Option<(DeadHead, usize)> {
    let (head, rest) = postcard::take_from_bytes(record).ok()?;
    Some((head, record.len() - rest.len()))
}

/// Opens a letter.
pub(super) fn open(seal: &Seal, found: &Found<'_>) -> Result<Dead, Unsealed> {
    let (_, length) = head_of(found.record).ok_or(Unsealed::Broken)?;
    let (head, sealed) = found.record.split_at_checked(length).ok_or(Unsealed::Broken)?;
    let text = seal.unpack(&[found.key, head], sealed)?;
    let (message, job): (String, Vec<u8>) =
        postcard::from_bytes(&text).map_err(|e| Unsealed::Unreadable(e.to_string()))?;
    let job = chunk::decode_jobs(&job)?.pop().ok_or(Unsealed::Broken)?;
    Ok(Dead { job, message })
}

/// A letter as it is listed.
pub(super) fn letter(key: &[u8], destination: String, head: DeadHead, dead: &Dead) -> DeadLetter {
    let time = |ms| Timestamp::from_millisecond(ms).unwrap_or_default().to_string();
    DeadLetter {
        id: id_of(key),
        event: dead.job.label.event.clone(),
        event_id: dead.job.label.event_id.clone(),
        destination,
        reason: head.reason,
        message: dead.message.clone(),
        attempts: dead.job.sends,
        first: time(dead.job.accepted_at_ms),
        last: time(record::time_of(key)),
    }
}

fn id_of(key: &[u8]) -> String {
    HEXLOWER.encode(key.get(1..).unwrap_or_default())
}

fn key_of(id: &str) -> Option<Vec<u8>> {
    let digits = id.as_bytes();
    if digits.len() != 32 {
        return None;
    }
    let mut key = vec![space::DEAD];
    for pair in digits.chunks(2) {
        key.push(u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?);
    }
    Some(key)
}
