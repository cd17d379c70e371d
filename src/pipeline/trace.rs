//! The trace record of an event: what was decided and why, without identity. Stored sealed beside
//! what it explains, read by `GET /admin/v1/events/{id}`.

use serde::{Deserialize, Serialize};

use super::Verdict;
use crate::{
    consent::{Grants, OptOut, ReasonCode},
    event::FieldSet,
    job::{Fate, SkipCode},
};

/// A trace record. A new shape is a new variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TraceRecord {
    /// The first shape.
    V1(TraceV1),
}

/// See [`TraceRecord`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceV1 {
    /// The incoming name.
    pub event: String,
    /// The id.
    pub event_id: String,
    /// The site.
    pub site: String,
    /// When it happened, epoch milliseconds.
    pub timestamp_ms: i64,
    /// When it was received, epoch milliseconds.
    pub received_at_ms: i64,
    /// A test.
    pub test: bool,
    /// Where the person is.
    pub region: Option<String>,
    /// What is known of each purpose.
    pub grants: Grants,
    /// What they opted out of.
    pub opt_out: OptOut,
    /// The signals that were read.
    pub sources: Vec<String>,
    /// One a destination and entry.
    pub decisions: Vec<TraceDecision>,
    /// Codes of the warnings.
    pub warnings: Vec<String>,
}

/// One decision in a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceDecision {
    /// The destination.
    pub destination: String,
    /// The plan event.
    pub event: String,
    /// Which entry.
    pub entry: u16,
    /// What was decided.
    pub decision: TracedFate,
    /// Code, rule and message of every reason.
    pub reasons: Vec<(ReasonCode, String, String)>,
    /// Fields that a rule took away.
    pub removed: Vec<crate::event::Field>,
    /// The value, as `12.50 USD`.
    pub value: Option<String>,
}

/// What was decided, as a trace keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TracedFate {
    /// Queued; in the platform's restricted mode if limited.
    Send {
        /// Restricted mode.
        limited: bool,
        /// Counted, not sent.
        shadow: bool,
    },
    /// Held for want of permission.
    Held(ReasonCode),
    /// Not for it.
    Skip(SkipCode, String),
}

impl TraceRecord {
    /// Reads a record of any version.
    pub fn decode(bytes: &[u8]) -> Option<TraceV1> {
        let TraceRecord::V1(record) = postcard::from_bytes(bytes).ok()?;
        Some(record)
    }
}

pub(super) fn encode(verdict: &Verdict) -> Vec<u8> {
    let event = &verdict.event;
    let decisions = verdict.parts.iter().flat_map(|part| &part.decisions).map(|decided| {
        let limited = decided.is_limited();
        let decision = match &decided.fate {
            Fate::Send(_) => TracedFate::Send { limited, shadow: false },
            Fate::Shadow(_) => TracedFate::Send { limited, shadow: true },
            Fate::Held(code) => TracedFate::Held(*code),
            Fate::Skip(skip) => TracedFate::Skip(skip.code, skip.message.clone()),
        };
        let reasons = decided.consent.iter().flat_map(|decision| &decision.reasons);
        let removed = decided.consent.as_ref().map_or(FieldSet::EMPTY, |d| d.removed);
        TraceDecision {
            destination: decided.destination.clone(),
            event: decided.event.clone(),
            entry: decided.entry,
            decision,
            reasons: reasons.map(|r| (r.code, r.rule.clone(), r.message.clone())).collect(),
            removed: removed.iter().collect(),
            value: decided.value.map(|money| format!("{} {}", money.amount_text(), money.currency)),
        }
    });
    let record = TraceRecord::V1(TraceV1 {
        event: event.name.clone(),
        event_id: event.event_id.id.clone(),
        site: event.site.clone(),
        timestamp_ms: event.timestamp.as_millisecond(),
        received_at_ms: event.received_at.as_millisecond(),
        test: event.test,
        region: verdict.state.region.clone(),
        grants: verdict.state.grants,
        opt_out: verdict.state.opt_out.clone(),
        sources: verdict.state.sources.clone(),
        decisions: decisions.collect(),
        warnings: verdict.warnings.iter().map(|w| w.code.name().to_owned()).collect(),
    });
    postcard::to_allocvec(&record).unwrap_or_default()
}
