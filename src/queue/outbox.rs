//! The outbox of the decision log: what was decided and what became of it, one sealed record a
//! commit, written in the same batch as what it tells of. It waits here until whoever keeps the log
//! has it on disk; it is neither read nor judged here.
//!
//! A crash can therefore lose no record of what was accepted, and since what was moved is deleted in
//! the same batch that says how far the log has come, none is written twice.

use std::ops::ControlFlow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    IdHash, Queue, Refused, blocking,
    committer::Request,
    lease::Shared,
    record::{self, space},
    round::Round,
    seal::Seal,
    store::{Batch, Direction, Store, StoreError},
    trace::TraceLine,
};

/// How far the log has come; the log's own words.
const STATE: &[u8] = b"m/evidence";

/// What became of one decision of an event, as the store knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Made {
    /// As it was decided.
    Decided,
    /// An earlier copy's decision stands.
    Copy,
    /// An earlier copy was held; this one is queued in its place.
    Released,
    /// The plan's frequency rule does not count the event again.
    Suppressed,
    /// It was to be queued, and its destination's queue was full.
    Full,
}

/// One thing for the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evidence {
    /// An event was admitted.
    Event {
        /// [`super::Admission::trace_id`].
        key: IdHash,
        /// `accepted`, `duplicate`, ...
        status: String,
        /// One a decision, in the order of the trace record.
        made: Vec<Made>,
        /// [`super::Admission::trace`].
        trace: Vec<u8>,
        /// [`super::Admission::grounds`].
        grounds: Vec<u8>,
    },
    /// Something happened to a job.
    Outcome {
        /// The event's.
        key: IdHash,
        /// The destination.
        destination: String,
        /// See [`super::QueueDecision::slot`].
        slot: u32,
        /// `delivered`, `retry`, `dead`, ...
        outcome: String,
        /// Code, where there is one.
        code: String,
        /// The send, where there was one.
        send: Option<Sending>,
    },
    /// Somebody decided something about a person; the shell's own words.
    Act(Vec<u8>),
}

/// One send, as the log keeps it; or what withdrew something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// HTTP status; 0 where there was no answer.
    pub status: u16,
    /// The platform's own code; of what was withdrawn the rule's id.
    pub reason: String,
    /// See [`super::Attempt::under`].
    pub under: String,
    /// See [`super::Attempt::fields`].
    pub fields: u128,
}

/// What one commit left for the log.
#[derive(Debug)]
pub struct Waiting {
    /// By its number the log knows what it has; they ascend.
    pub number: u64,
    /// When it was committed.
    pub at: Timestamp,
    /// What it tells, in order.
    pub lines: Vec<Evidence>,
    pieces: u16,
}

/// The same, written without copies.
#[derive(Serialize)]
enum Line<'a> {
    Event {
        key: &'a IdHash,
        status: &'a str,
        made: &'a [Made],
        trace: &'a [u8],
        grounds: &'a [u8],
    },
    Outcome {
        key: &'a IdHash,
        destination: &'a str,
        slot: u32,
        outcome: &'a str,
        code: &'a str,
        send: Option<&'a Sending>,
    },
    Act(&'a [u8]),
}

#[derive(Serialize)]
enum Record<'a> {
    V1 { at_ms: i64, lines: Vec<Line<'a>> },
}

#[derive(Deserialize)]
enum Stored {
    V1 { at_ms: i64, lines: Vec<Evidence> },
}

/// What a round notes for the log; what a trace line says already is only pointed at.
#[derive(Debug)]
pub(super) enum Noted {
    Event { line: usize, made: Vec<Made>, grounds: Vec<u8> },
    Outcome { line: usize, send: Option<Sending> },
    Act(Vec<u8>),
}

impl Noted {
    fn line<'a>(&'a self, traces: &'a [TraceLine]) -> Option<Line<'a>> {
        match self {
            Noted::Act(words) => Some(Line::Act(words)),
            Noted::Event { line, made, grounds } => match traces.get(*line)? {
                TraceLine::Copy { id, status, record }
                | TraceLine::CopyOf { id, whose: _, status, record } => {
                    Some(Line::Event { key: id, status, made, trace: record, grounds })
                }
                TraceLine::Outcome { .. } => None,
            },
            Noted::Outcome { line, send } => match traces.get(*line)? {
                TraceLine::Outcome { id, destination, slot, outcome, code, attempt: _ } => {
                    let (slot, send) = (*slot, send.as_ref());
                    Some(Line::Outcome { key: id, destination, slot, outcome, code, send })
                }
                TraceLine::Copy { .. } | TraceLine::CopyOf { .. } => None,
            },
        }
    }
}

/// Writes what a commit leaves for the log: one record.
pub(super) fn write(
    batch: &mut Batch,
    seal: &Seal,
    noted: &[Noted],
    traces: &[TraceLine],
    at_ms: i64,
    number: u64,
) -> Result<(), StoreError> {
    let lines: Vec<Line<'_>> = noted.iter().filter_map(|noted| noted.line(traces)).collect();
    let bytes: usize = 64
        + traces.iter().map(TraceLine::raw_bytes).sum::<usize>()
        + noted.iter().map(Noted::raw_bytes).sum::<usize>();
    let text = postcard::to_extend(&Record::V1 { at_ms, lines }, Vec::with_capacity(bytes))
        .map_err(|e| StoreError::Failed(format!("evidence cannot be written: {e}")))?;
    let key = key(number);
    record::put(batch, &key, &seal.pack(&[&key], &text)?);
    Ok(())
}

impl Noted {
    /// How many bytes it takes besides its trace line, about.
    pub(super) fn raw_bytes(&self) -> usize {
        match self {
            Noted::Event { made, grounds, .. } => 8 + made.len() + grounds.len(),
            Noted::Outcome { send, .. } => 8 + send.as_ref().map_or(0, |s| 72 + s.reason.len()),
            Noted::Act(words) => 8 + words.len(),
        }
    }
}

/// What the log moved, and how far it has come now.
#[derive(Debug)]
pub(super) struct Moved {
    records: Vec<(u64, u16)>,
    state: Vec<u8>,
}

impl Round<'_> {
    /// Forgets what the log has, and keeps how far it has come, in one batch.
    pub(super) fn moved(&mut self, moved: &Moved) -> Result<(), StoreError> {
        for (number, pieces) in &moved.records {
            record::delete(&mut self.batch, &key(*number), *pieces);
        }
        let sealed = self.shared.seal.seal(&[STATE], &moved.state)?;
        self.batch.put(STATE.to_vec(), sealed);
        Ok(())
    }
}

impl Queue {
    /// Whether decisions are kept for the log from now on. Not before it is said.
    pub fn keep_evidence(&self, keep: bool) {
        self.inner.shared.keeps_evidence.store(keep, std::sync::atomic::Ordering::Relaxed);
    }

    /// Every commit below this number is on disk, and what it tells waits for the log or is in it.
    pub fn committed(&self) -> u64 {
        self.inner.shared.synced()
    }

    /// What waits for the log, oldest first: at most so many commits, and no more than about a
    /// mebibyte.
    pub async fn evidence(&self, at_most: usize) -> Result<Vec<Waiting>, Refused> {
        let shared = std::sync::Arc::clone(&self.inner.shared);
        blocking(move || waiting(&shared, at_most, BITE_BYTES)).await
    }

    /// The same on this thread, which it may keep for a while, and without bound on the size.
    pub fn evidence_now(&self, at_most: usize) -> Result<Vec<Waiting>, Refused> {
        waiting(&self.inner.shared, at_most, usize::MAX)
    }

    /// How far the log has come, as [`Queue::evidence_moved`] was told last.
    pub fn evidence_state(&self) -> Result<Option<Vec<u8>>, Refused> {
        let shared = &self.inner.shared;
        let sealed = shared.store()?.get(STATE)?;
        let open = |sealed: Vec<u8>| {
            shared.seal.unseal(&[STATE], &sealed).map_err(|e| {
                Refused::Store(format!("how far the decision log has come cannot be read: {e}"))
            })
        };
        sealed.map(open).transpose()
    }

    /// The log has these on disk, and has come so far; answered when that is on disk here.
    pub async fn evidence_moved(&self, moved: &[Waiting], state: Vec<u8>) -> Result<(), Refused> {
        let records = moved.iter().map(|one| (one.number, one.pieces)).collect();
        self.ask(|reply| Request::Moved { moved: Moved { records, state }, reply }).await
    }

    /// Compresses and seals a text under today's data key; `place` is authenticated.
    pub fn pack(&self, place: &[&[u8]], text: &[u8]) -> Result<Vec<u8>, Refused> {
        Ok(self.inner.shared.seal.pack(place, text)?)
    }

    /// Opens what [`Queue::pack`] sealed, also before an earlier restart or rotation of keys; the
    /// error says what is wrong with it.
    pub fn unpack(&self, place: &[&[u8]], sealed: &[u8]) -> Result<Vec<u8>, String> {
        self.inner.shared.seal.unpack(place, sealed).map_err(|error| error.to_string())
    }
}

/// What is read at once, before it is opened.
const BITE_BYTES: usize = 1024 * 1024;

fn waiting(shared: &Shared, at_most: usize, most_bytes: usize) -> Result<Vec<Waiting>, Refused> {
    // Only what is synced: the log must not know what a power cut takes back.
    let synced = shared.synced();
    let store = shared.store()?;
    Ok(read(&*store, &shared.seal, synced, (at_most, most_bytes))?)
}

fn read(
    store: &dyn Store,
    seal: &Seal,
    synced: u64,
    (at_most, most_bytes): (usize, usize),
) -> Result<Vec<Waiting>, StoreError> {
    let (from, to) = record::whole(space::EVIDENCE);
    let (mut waiting, mut bytes) = (Vec::new(), 0);
    record::scan(store, &from, &to, Direction::Forward, &mut |found| {
        let number = record::number_at(found.key, 1).unwrap_or(u64::MAX);
        if number >= synced || waiting.len() >= at_most || bytes >= most_bytes {
            return Ok(ControlFlow::Break(()));
        }
        bytes += found.record.len();
        let damaged = |why: String| {
            StoreError::Corrupt(format!("record {number} of the decision log's outbox: {why}"))
        };
        let text =
            seal.unpack(&[found.key], found.record).map_err(|why| damaged(why.to_string()))?;
        let Stored::V1 { at_ms, lines } =
            postcard::from_bytes(&text).map_err(|why| damaged(why.to_string()))?;
        let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
        waiting.push(Waiting { number, at, lines, pieces: found.pieces });
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(waiting)
}

fn key(number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(9);
    key.push(space::EVIDENCE);
    key.extend_from_slice(&number.to_be_bytes());
    key
}
