//! From a verdict to what the queue admits: opaque bytes with routing fields.

use jiff::Timestamp;

use super::{Street, SubjectKey, Verdict, grounds, trace};
use crate::{
    config::WhenFull,
    event::{Event, Field},
    job::{Decided, Fate, Prepared, SkipCode, Stored},
    queue::{Admission, IdHash, JobLabel, NewJob, Part, QueueDecision, QueueFate, Whose},
};

/// By what copies of an event are recognised: site, incoming name and id (or content).
pub(super) fn event_hash(key: &SubjectKey, event: &Event) -> IdHash {
    let parts = [event.site.as_bytes(), event.name.as_bytes(), event.event_id.key.as_bytes()];
    key.keyed("event", &parts)
}

/// By what `GET /admin/v1/events/{id}` finds an event: the id alone.
pub fn trace_hash(key: &SubjectKey, event_id: &str) -> IdHash {
    key.keyed("trace", &[event_id.as_bytes()])
}

/// By what an order is found: site and order id.
pub fn order_hash(key: &SubjectKey, site: &str, order_id: &str) -> IdHash {
    key.keyed("order", &[site.as_bytes(), order_id.as_bytes()])
}

pub(super) fn admission(verdict: Verdict, street: &Street<'_>) -> Admission {
    let key = street.key;
    let event = &verdict.event;
    let trace_id = trace_hash(key, &event.event_id.id);
    let order = event.texts.first(Field::OrderId).map(|id| order_hash(key, &event.site, id));
    let trace = trace::encode(&verdict);
    let grounds =
        if street.config.evidence.enabled { grounds::encode(&verdict, street) } else { Vec::new() };
    let (id, event_id) = (event_hash(key, event), event.event_id.id.clone());
    let (short_lived, test, received_at) =
        (event.event_id.short_lived, event.test, event.received_at);
    let status = verdict.status;
    let (subjects, choice, click) = (verdict.subjects, verdict.choice, verdict.click);
    let traits = verdict.traits;
    let happened_ms = event.timestamp.as_millisecond();
    let parts = verdict
        .parts
        .into_iter()
        .map(|part| Part {
            same_as: part.same_as,
            claim: part.claim,
            reaches: part.reaches,
            decisions: part
                .decisions
                .into_iter()
                .map(|decided| queue_decision(decided, street, received_at, trace_id, &subjects))
                .collect(),
        })
        .collect();
    let whose = Whose { subjects, choice, happened_ms, click, traits };
    Admission {
        id,
        trace_id,
        event_id,
        order,
        short_lived,
        test,
        status,
        whose,
        parts,
        trace,
        grounds,
        received_at,
    }
}

fn queue_decision(
    decided: Decided,
    street: &Street<'_>,
    received_at: Timestamp,
    id: IdHash,
    subjects: &[IdHash],
) -> QueueDecision {
    let slot = slot(&decided.event, decided.entry);
    let fate = match decided.fate {
        Fate::Skip(skip) => {
            let is_mapped = !matches!(skip.code, SkipCode::NotMapped | SkipCode::OtherSite);
            QueueFate::Skipped { is_mapped }
        }
        Fate::Held(code) => QueueFate::Held(code),
        Fate::Shadow(_) => QueueFate::Shadowed,
        Fate::Send(prepared) => {
            let refuse_when_full = street
                .config
                .destinations
                .get(&decided.destination)
                .is_some_and(|config| config.delivery.when_full == WhenFull::Refuse);
            let retention = street.config.retention.queue;
            let kept_until = received_at.checked_add(retention).unwrap_or(Timestamp::MAX);
            match new_job(*prepared, id, subjects, kept_until, refuse_when_full) {
                Ok(job) => QueueFate::Queued(job),
                // Encoding into memory does not fail; if it did, nothing may be lost silently.
                Err(_) => QueueFate::Skipped { is_mapped: true },
            }
        }
    };
    QueueDecision { destination: decided.destination, slot, fate }
}

fn new_job(
    prepared: Prepared,
    id: IdHash,
    subjects: &[IdHash],
    kept_until: Timestamp,
    refuse_when_full: bool,
) -> Result<NewJob, crate::job::Unreadable> {
    Ok(NewJob {
        id,
        label: JobLabel { event: prepared.event.clone(), event_id: prepared.event_id.clone() },
        group: prepared.group.clone(),
        // The stored event keeps the platform's own end, so that it is seen which of the two came.
        expires_at: prepared.expires_at.min(kept_until),
        subjects: subjects.to_vec(),
        refuse_when_full,
        body: Stored::encode(prepared)?,
    })
}

/// A stable number for a plan event's entry within a destination (FNV-1a): the same in every
/// process, so that a later copy finds what the first one's consent held.
pub fn slot(plan_event: &str, entry: u16) -> u32 {
    let bytes = plan_event.bytes().chain([0]).chain(entry.to_be_bytes());
    bytes.fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
