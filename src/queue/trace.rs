//! Traces: what was said of an event at its admission and at each settlement, sealed and opaque.
//!
//! A record holds some lines of one commit; the fingerprints of their events stand before it in
//! clear, so that a search opens only what matches.

use std::{
    collections::{BTreeMap, HashSet},
    ops::ControlFlow,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Attempt, IdHash, Trace, TraceCopy, TraceOutcome, ids,
    record::{self, space},
    seal::Seal,
    store::{Batch, Direction, Store, StoreError},
};

/// A record's lines before compression; packed they mostly fit one value.
const RECORD_BYTES: usize = 12 * 1024;

/// One thing said of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TraceLine {
    /// A copy arrived.
    Copy { id: IdHash, status: String, record: Vec<u8> },
    /// Something happened to a job.
    Outcome {
        id: IdHash,
        destination: String,
        slot: u32,
        outcome: String,
        code: String,
        attempt: Option<StoredAttempt>,
    },
    /// A copy of an event of somebody who is known, by a subject key of theirs.
    CopyOf { id: IdHash, whose: IdHash, status: String, record: Vec<u8> },
}

/// [`Attempt`], as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredAttempt {
    status: u16,
    reason: String,
    message: String,
    took_micros: u64,
}

impl From<&Attempt> for StoredAttempt {
    fn from(attempt: &Attempt) -> Self {
        Self {
            status: attempt.status,
            reason: attempt.reason.clone(),
            message: attempt.message.clone(),
            took_micros: u64::try_from(attempt.took.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

impl From<StoredAttempt> for Attempt {
    fn from(stored: StoredAttempt) -> Self {
        Self {
            status: stored.status,
            reason: stored.reason,
            message: stored.message,
            took: Duration::from_micros(stored.took_micros),
            ..Attempt::default()
        }
    }
}

impl TraceLine {
    fn id(&self) -> &IdHash {
        match self {
            TraceLine::Copy { id, .. }
            | TraceLine::CopyOf { id, .. }
            | TraceLine::Outcome { id, .. } => id,
        }
    }

    /// How many bytes it takes, about, before compression.
    pub(super) fn raw_bytes(&self) -> usize {
        match self {
            TraceLine::Copy { record, .. } => 32 + record.len(),
            TraceLine::CopyOf { record, .. } => 48 + record.len(),
            TraceLine::Outcome { destination, code, attempt, .. } => {
                let said = attempt.as_ref().map_or(0, |a| 16 + a.reason.len() + a.message.len());
                48 + destination.len() + code.len() + said
            }
        }
    }
}

/// Writes a commit's lines.
pub(super) fn write(
    batch: &mut Batch,
    seal: &Seal,
    lines: &[TraceLine],
    at_ms: i64,
    mut sequence: impl FnMut() -> u64,
) -> Result<(), StoreError> {
    let mut rest = lines;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fit = rest
            .iter()
            .take_while(|line| {
                bytes += line.raw_bytes();
                bytes <= RECORD_BYTES
            })
            .count()
            .max(1);
        let (now, later) = rest.split_at_checked(fit).unwrap_or((rest, &[]));
        write_record(batch, seal, now, &record::timed_key(space::TRACE, at_ms, sequence()))?;
        rest = later;
    }
    Ok(())
}

fn write_record(
    batch: &mut Batch,
    seal: &Seal,
    lines: &[TraceLine],
    key: &[u8],
) -> Result<(), StoreError> {
    let count = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let mut head = count.to_be_bytes().to_vec();
    for line in lines {
        head.extend_from_slice(&ids::fingerprint(line.id()).to_be_bytes());
    }
    let bytes = 8 + lines.iter().map(TraceLine::raw_bytes).sum::<usize>();
    let text = postcard::to_extend(lines, Vec::with_capacity(bytes))
        .map_err(|e| StoreError::Failed(format!("a trace cannot be written: {e}")))?;
    let sealed = seal.pack(&[key, &head], &text)?;
    head.extend(sealed);
    record::put(batch, key, &head);
    Ok(())
}

/// Everything kept of an event, oldest first.
pub(super) fn find(store: &dyn Store, seal: &Seal, id: &IdHash) -> Result<Trace, StoreError> {
    let mut all = find_each(store, seal, &HashSet::from([*id]))?;
    Ok(all.remove(id).unwrap_or_default())
}

/// The same of several events, by their hashes. What is kept of none is not in it.
pub(super) fn find_each(
    store: &dyn Store,
    seal: &Seal,
    wanted: &HashSet<IdHash>,
) -> Result<BTreeMap<IdHash, Trace>, StoreError> {
    let fingerprint = |id: &IdHash| ids::fingerprint(id).to_be_bytes();
    let fingerprints: HashSet<[u8; 8]> = wanted.iter().map(fingerprint).collect();
    let (from, to) = record::whole(space::TRACE);
    let mut traces: BTreeMap<IdHash, Trace> = BTreeMap::new();
    record::scan(store, &from, &to, Direction::Forward, &mut |found| {
        let Some((head, sealed)) = split(found.record) else {
            return Ok(ControlFlow::Continue(()));
        };
        let (present, _) = head.get(2..).unwrap_or_default().as_chunks::<8>();
        if !present.iter().any(|one| fingerprints.contains(one)) {
            return Ok(ControlFlow::Continue(()));
        }
        match open(seal, found.key, head, sealed) {
            Ok(lines) => {
                let at = Timestamp::from_millisecond(record::time_of(found.key))
                    .unwrap_or(Timestamp::UNIX_EPOCH);
                for line in lines.into_iter().filter(|line| wanted.contains(line.id())) {
                    traces.entry(*line.id()).or_default().add(at, line);
                }
            }
            Err(why) => tracing::error!("a trace record cannot be opened: {why}"),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(traces)
}

/// A person as traces know them: their subject keys, and the events known to be theirs so far.
#[derive(Debug, Default)]
pub(super) struct Suspect {
    pub(super) subjects: HashSet<IdHash>,
    pub(super) events: HashSet<IdHash>,
}

impl Suspect {
    /// Somebody of whom some keys are known.
    pub(super) fn of(subjects: &[IdHash]) -> Self {
        Self { subjects: subjects.iter().copied().collect(), events: HashSet::new() }
    }

    /// Learns from a record's lines which events are theirs; whether any line is.
    fn learn(&mut self, lines: &[TraceLine]) -> bool {
        for line in lines {
            if let TraceLine::CopyOf { id, whose, .. } = line
                && self.subjects.contains(whose)
            {
                self.events.insert(*id);
            }
        }
        lines.iter().any(|line| self.events.contains(line.id()))
    }
}

/// What is kept of a person's events.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// By event.
    pub(super) traces: BTreeMap<IdHash, Trace>,
    /// The records that hold it.
    pub(super) keys: Vec<Vec<u8>>,
}

/// Everything kept of a person's events.
pub(super) fn find_all(
    store: &dyn Store,
    seal: &Seal,
    suspect: &mut Suspect,
) -> Result<Found, StoreError> {
    let (from, to) = record::whole(space::TRACE);
    let mut all = Found::default();
    record::scan(store, &from, &to, Direction::Forward, &mut |found| {
        let Some((head, sealed)) = split(found.record) else {
            return Ok(ControlFlow::Continue(()));
        };
        match open(seal, found.key, head, sealed) {
            Ok(lines) if suspect.learn(&lines) => {
                all.keys.push(found.key.to_vec());
                let at = Timestamp::from_millisecond(record::time_of(found.key))
                    .unwrap_or(Timestamp::UNIX_EPOCH);
                for line in lines.into_iter().filter(|line| suspect.events.contains(line.id())) {
                    all.traces.entry(*line.id()).or_default().add(at, line);
                }
            }
            Ok(_) => {}
            Err(why) => tracing::error!("a trace record cannot be opened: {why}"),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(all)
}

/// Rewrites a record without the lines of some events.
pub(super) fn remove(
    store: &dyn Store,
    batch: &mut Batch,
    seal: &Seal,
    key: &[u8],
    events: &HashSet<IdHash>,
) -> Result<(), StoreError> {
    let Some((pieces, bytes)) = record::get(store, key)? else { return Ok(()) };
    let lines = split(&bytes).and_then(|(head, sealed)| open(seal, key, head, sealed).ok());
    let mut lines = lines.unwrap_or_default();
    lines.retain(|line| !events.contains(line.id()));
    record::delete(batch, key, pieces);
    if lines.is_empty() { Ok(()) } else { write_record(batch, seal, &lines, key) }
}

impl Trace {
    fn add(&mut self, at: Timestamp, line: TraceLine) {
        match line {
            TraceLine::Copy { id: _, status, record }
            | TraceLine::CopyOf { id: _, whose: _, status, record } => {
                self.copies.push(TraceCopy { at, status, record });
            }
            TraceLine::Outcome { id: _, destination, slot, outcome, code, attempt } => {
                let attempt = attempt.map(Attempt::from);
                self.outcomes.push(TraceOutcome { at, destination, slot, outcome, code, attempt });
            }
        }
    }
}

fn split(record: &[u8]) -> Option<(&[u8], &[u8])> {
    let count = u16::from_be_bytes(*record.first_chunk()?);
    record.split_at_checked(2 + usize::from(count) * 8)
}

fn open(seal: &Seal, key: &[u8], head: &[u8], sealed: &[u8]) -> Result<Vec<TraceLine>, String> {
    let text = seal.unpack(&[key, head], sealed).map_err(|e| e.to_string())?;
    postcard::from_bytes(&text).map_err(|e| e.to_string())
}
