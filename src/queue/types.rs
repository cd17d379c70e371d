//! What goes into the queue and comes out of it.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    consent::{
        ReasonCode,
        clicks::Click,
        memory::{Choice, Remembered},
        traits::Trait,
    },
    plan::{Claim, Milestone},
};

/// A keyed 128-bit hash of what identifies an event; carries no identity.
pub type IdHash = [u8; 16];

/// The key by which the store knows a person's identifier: a keyed hash, in whose last bit stands
/// whether it names one person, or may be shared.
pub fn subject(mut hash: IdHash, names_one: bool) -> IdHash {
    let [.., last] = &mut hash;
    *last = (*last & 0xfe) | u8::from(names_one);
    hash
}

/// Whether a subject key names one person.
pub fn names_one(subject: &IdHash) -> bool {
    let [.., last] = subject;
    last & 1 == 1
}

/// One incoming event, decided, as the queue sees it.
#[derive(Debug, Clone)]
pub struct Admission {
    /// Hash of site, incoming name and event id (or content).
    pub id: IdHash,
    /// By what a trace finds it: hash of the event id alone.
    pub trace_id: IdHash,
    /// The event id as it is sent: what of a first copy is held goes out under it, whichever later
    /// copy it comes with.
    pub event_id: String,
    /// By what `reconcile` finds it: hash of site and order id, where it has one.
    pub order: Option<IdHash>,
    /// The id of a derived one without timestamp only holds for 10 minutes.
    pub short_lived: bool,
    /// Test events are queued but never counted, and leave no mark.
    pub test: bool,
    /// What it counts as where it is new and nothing suppresses it.
    pub status: AdmissionStatus,
    /// Whose it is, and what they chose with it.
    pub whose: Whose,
    /// The plan events that it feeds.
    pub parts: Vec<Part>,
    /// The event's trace record (opaque): who, what, which decisions and why. Sealed when stored.
    pub trace: Vec<u8>,
    /// What else the decision log has to know (opaque); empty where none is kept.
    pub grounds: Vec<u8>,
    /// When it was received.
    pub received_at: Timestamp,
}

/// Whose an event is, and what they chose with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Whose {
    /// Subject keys of the person's identifiers, strongest first; empty if there is none.
    pub subjects: Vec<IdHash>,
    /// The choice that its own signals leave.
    pub choice: Option<Choice>,
    /// When it happened, epoch milliseconds: what happened before an erasure is gone with it.
    pub happened_ms: i64,
    /// The click that it brings, where clicks are remembered.
    pub click: Option<Click>,
    /// What it says of the person, where traits are remembered.
    pub traits: Vec<Trait>,
}

/// What an event counts as where it is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdmissionStatus {
    /// In the plan, criterion met.
    Accepted,
    /// In the plan, no criterion met.
    CriteriaNotMet,
    /// Not in the plan, and kept.
    Unplanned,
}

/// One plan event that an incoming event feeds.
#[derive(Debug, Clone)]
pub struct Part {
    /// Hash of site, plan event and the result of `same_as`, where it has one.
    pub same_as: Option<IdHash>,
    /// What must hold for it to count.
    pub claim: Option<Claim>,
    /// The milestone it sets when it counts.
    pub reaches: Option<(Milestone, Timestamp)>,
    /// One decision a destination and entry.
    pub decisions: Vec<QueueDecision>,
}

/// One decision, as the queue sees it.
#[derive(Debug, Clone)]
pub struct QueueDecision {
    /// The destination's name.
    pub destination: String,
    /// Stable hash of plan event and entry: by it a later copy finds what the first one's consent held.
    pub slot: u32,
    /// Where it goes.
    pub fate: QueueFate,
}

/// Where a decision goes.
#[derive(Debug, Clone)]
pub enum QueueFate {
    /// Counted as skipped.
    Skipped {
        /// It was for this destination, which cannot take it as it is (too weak, too old).
        is_mapped: bool,
    },
    /// Counted as held; a later copy may release it.
    Held(ReasonCode),
    /// Counted as shadowed.
    Shadowed,
    /// A job.
    Queued(NewJob),
}

/// A job to be queued.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The event's id hash, for traces.
    pub id: IdHash,
    /// What a dead letter is listed by.
    pub label: JobLabel,
    /// Jobs of different groups never share a request; a handful per destination.
    pub group: String,
    /// When the platform, or the retention, stops it.
    pub expires_at: Timestamp,
    /// Keyed hashes of the person's identifiers within the controller, for withdrawals.
    pub subjects: Vec<[u8; 16]>,
    /// The stored job ([`crate::job::Stored`]); opaque here.
    pub body: Vec<u8>,
    /// Full destinations refuse (true) or shed (false).
    pub refuse_when_full: bool,
}

/// What a person finds a job by. Never holds identity.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JobLabel {
    /// The plan event.
    pub event: String,
    /// The event's id, as it is sent.
    pub event_id: String,
}

/// What became of an admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// New and counted; `held` decisions and `queued` jobs.
    Accepted {
        /// Jobs queued, shadowed ones included.
        queued: u32,
        /// Decisions held by consent.
        held: u32,
    },
    /// Seen before; `released` held decisions of the first copy were queued by this one.
    Duplicate {
        /// How many.
        released: u32,
    },
    /// New, but the plan's frequency rule does not count it again.
    Suppressed,
    /// New, no criterion met.
    CriteriaNotMet,
    /// New, not in the plan, kept.
    Unplanned,
    /// A test event, queued for test modes.
    Test,
}

/// Why the queue does not take something now. Answered with 503 and `Retry-After`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too many jobs are pending.
    #[error("the queue is full ({0})")]
    Full(String),
    /// The disk is full or fails; nothing was kept.
    #[error("the store cannot be used: {0}")]
    Store(String),
    /// The relay is stopping.
    #[error("the relay is stopping")]
    Stopping,
}

/// The key of a stored chunk, opaque to others.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkKey(pub(in crate::queue) Vec<u8>);

/// Jobs taken out for sending: whole chunks, held in memory until settled or released.
#[derive(Debug)]
pub struct Lease {
    /// The destination.
    pub destination: String,
    /// The chunks it covers.
    pub chunks: Vec<ChunkKey>,
    /// Their jobs, in the order in which they came.
    pub jobs: Vec<LeasedJob>,
    /// What the persons of some jobs said after those were accepted, by the job's position.
    pub later: BTreeMap<usize, Remembered>,
    /// A durable `sending` mark stood when it was leased: an earlier send has no known result.
    pub unknown_result: bool,
}

/// One job of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeasedJob {
    /// The event's id hash.
    pub id: IdHash,
    /// What a dead letter is listed by; empty for a follow-up.
    pub label: JobLabel,
    /// The event was a test, or it is a follow-up: not in the books.
    pub uncounted: bool,
    /// What kind of job.
    pub kind: JobKind,
    /// See [`NewJob::group`].
    pub group: String,
    /// Epoch milliseconds; see [`NewJob::expires_at`].
    pub expires_at_ms: i64,
    /// When it was accepted, epoch milliseconds.
    pub accepted_at_ms: i64,
    /// Attempts so far that count against it.
    pub attempts: u32,
    /// Sends so far, for the trace.
    pub sends: u32,
    /// The person's keyed hashes.
    pub subjects: Vec<[u8; 16]>,
    /// The slot, see [`QueueDecision::slot`].
    pub slot: u32,
    /// The stored job or follow-up.
    pub body: Vec<u8>,
}

/// The two kinds of job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobKind {
    /// An event for a destination.
    Event,
    /// A question about an earlier call; `body` is a postcard [`crate::destinations::FollowUp`].
    FollowUp,
}

/// What became of a lease's jobs: one verdict for each, in their order.
#[derive(Debug)]
pub struct Settlement {
    /// The lease.
    pub lease: Lease,
    /// One for each job.
    pub verdicts: Vec<JobVerdict>,
    /// Follow-ups to be queued, each due after a while.
    pub follow_ups: Vec<(Duration, Vec<u8>)>,
}

/// What became of one job. Exactly one each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobVerdict {
    /// Taken by the platform.
    Delivered(Attempt),
    /// Back into the queue, due later.
    Retry {
        /// After how long. A wait and not a time: the clock may be put before it is settled.
        wait: Duration,
        /// Counts against the job's attempts.
        counts: bool,
        /// What happened.
        attempt: Attempt,
    },
    /// Back as it was, at once (a released lease, a paused destination).
    Keep,
    /// Back as it was, due later: it was not sent, for where it goes is at fault.
    Postponed {
        /// After how long, as in [`JobVerdict::Retry`].
        wait: Duration,
    },
    /// Dead, with the closed code (`rejected`, `attempts_exhausted`, `never_found`,
    /// `unknown_result`).
    Dead {
        /// Code of the interface.
        code: String,
        /// What happened: the platform's code and words.
        attempt: Attempt,
    },
    /// Over, with the closed code (`too_old`, `retention`, `backlog_full`).
    Expired {
        /// Code of the interface.
        code: String,
    },
    /// Today's rules do not allow it any more.
    Withdrawn {
        /// The reason's code.
        reason: String,
        /// What decided so.
        ruling: Ruling,
    },
    /// The destination is in shadow now.
    Shadowed,
    /// A follow-up that is answered.
    Done,
}

/// What decided that something may not leave any more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruling {
    /// The rule's id, such as `meta/us`; empty: no rule of `consent.toml`.
    pub rule: String,
    /// Hash of the configuration; empty: not a configuration, but the person.
    pub under: String,
}

/// One attempt, for traces and dead letters. Never holds identity.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attempt {
    /// HTTP status; 0 where there was no answer.
    pub status: u16,
    /// The platform's own code.
    pub reason: String,
    /// Its words, cut and without identity.
    pub message: String,
    /// How long the call took.
    pub took: Duration,
    /// Hash of the configuration whose rules let it leave.
    #[serde(default)]
    pub under: String,
    /// The fields that left, as `FieldSet::bits` of `event`.
    #[serde(default)]
    pub fields: u128,
}

/// A dead letter, as it is listed: never clear identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Names it for replay and discard.
    pub id: String,
    /// The plan event.
    pub event: String,
    /// The event's id.
    pub event_id: String,
    /// The destination.
    pub destination: String,
    /// The closed code.
    pub reason: String,
    /// The platform's code and words.
    pub message: String,
    /// Sends.
    pub attempts: u32,
    /// When it was accepted, RFC 3339.
    pub first: String,
    /// When it died, RFC 3339.
    pub last: String,
}

/// Dead letters of one cause: they died at one destination of the same code and words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadGroup {
    /// Names it for replay and discard.
    pub id: String,
    /// The destination.
    pub destination: String,
    /// The closed code.
    pub reason: String,
    /// The platform's own code, where it has one.
    pub code: String,
    /// The platform's words, as the newest letter has them.
    pub message: String,
    /// How many.
    pub count: u64,
    /// Of these plan events, the most frequent first, and how many of each.
    pub events: Vec<(String, u64)>,
    /// The first death, RFC 3339.
    pub first: String,
    /// The last one.
    pub last: String,
}

/// Dead letters by cause, the largest groups first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeadGroups {
    /// The groups.
    pub groups: Vec<DeadGroup>,
    /// Letters of further groups, beyond as many as are told apart.
    pub others: u64,
}

/// Which dead letters. Nothing given: all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadFilter {
    /// Of this destination.
    pub destination: Option<String>,
    /// With this reason.
    pub reason: Option<String>,
    /// These; an empty list is none of them.
    pub ids: Option<Vec<String>>,
    /// Of this group ([`DeadGroup::id`]).
    pub group: Option<String>,
    /// At most so many (for lists; at most 10,000).
    pub limit: Option<usize>,
    /// For a discard: what is pending for `destination` too, such as one that left the configuration.
    pub pending: bool,
}

/// Says what a choice does to something that waits. Given by the shell: the queue knows no rules.
pub type Judge = std::sync::Arc<dyn Fn(&str, &LeasedJob, &Remembered) -> Judgement + Send + Sync>;

/// What a choice does to something that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It leaves as it would have.
    Same,
    /// It leaves with less.
    Less,
    /// It does not leave; with the reason's code.
    Over(String),
}

/// What a choice, or an erasure, came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reached {
    /// What waited and is stopped, or leaves with less.
    pub count: u64,
    /// The destinations that had something of the person before, sorted.
    pub recipients: Vec<String>,
}

/// Everything that is kept of a person, for an access request. Keyed hashes only, no clear identity.
#[derive(Debug, Clone, Default)]
pub struct Dossier {
    /// How many identifiers they are known by.
    pub identifiers: usize,
    /// Those, as subject keys.
    pub subjects: Vec<IdHash>,
    /// What is remembered of their choices.
    pub remembered: Remembered,
    /// What was entrusted to destinations, newest last.
    pub sent: Vec<Entrusted>,
    /// What destinations had before that.
    pub earlier: Vec<Received>,
    /// What waits, with the destination.
    pub pending: Vec<(String, LeasedJob)>,
    /// Dead letters.
    pub dead: Vec<DeadLetter>,
    /// Traces of their events, with the hash of each.
    pub traces: Vec<(IdHash, super::Trace)>,
    /// Frequency marks.
    pub marks: Vec<crate::plan::Person>,
}

/// An event of a person, and the destinations that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrusted {
    /// The event's id, as it is sent.
    pub event_id: String,
    /// When it was accepted, epoch milliseconds.
    pub at_ms: i64,
    /// Where it went: what is pending, in flight or dead for want of an answer is `false`.
    pub destinations: BTreeMap<String, bool>,
}

/// What a destination had of a person in sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The destination.
    pub destination: String,
    /// The first event's acceptance, epoch milliseconds.
    pub first_ms: i64,
    /// The last one's.
    pub last_ms: i64,
    /// How many events.
    pub count: u64,
}
