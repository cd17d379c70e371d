//! The trace record of an event: what was decided and why, without identity. Stored sealed beside
//! what it explains, read by `GET /admin/v1/events/{id}`.

use serde::{Deserialize, Serialize};

use super::Verdict;
use crate::{
    consent::{Grants, OptOut, ReasonCode},
    event::FieldSet,
    job::{Fate, SkipCode},
};

/// A trace record. A new shape is a new variant. Written with borrowed texts, read with owned ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TraceRecord<S = String> {
    /// The first shape.
    V1(TraceV1<S>),
}

/// See [`TraceRecord`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceV1<S = String> {
    /// The incoming name.
    pub event: S,
    /// The id.
    pub event_id: S,
    /// The site.
    pub site: S,
    /// When it happened, epoch milliseconds.
    pub timestamp_ms: i64,
    /// When it was received, epoch milliseconds.
    pub received_at_ms: i64,
    /// A test.
    pub test: bool,
    /// Where the person is.
    pub region: Option<S>,
    /// What is known of each purpose.
    pub grants: Grants,
    /// What they opted out of.
    pub opt_out: OptOut,
    /// The signals that were read.
    pub sources: Vec<S>,
    /// One a destination and entry.
    pub decisions: Vec<TraceDecision<S>>,
    /// Codes of the warnings.
    pub warnings: Vec<S>,
}

/// One decision in a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceDecision<S = String> {
    /// The destination.
    pub destination: S,
    /// The plan event.
    pub event: S,
    /// Which entry.
    pub entry: u16,
    /// What was decided.
    pub decision: TracedFate<S>,
    /// Code, rule and message of every reason.
    pub reasons: Vec<(ReasonCode, S, S)>,
    /// Fields that a rule took away.
    pub removed: Vec<crate::event::Field>,
    /// The value, as `12.50 USD`.
    pub value: Option<String>,
}

/// What was decided, as a trace keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TracedFate<S = String> {
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
    Skip(SkipCode, S),
}

impl<'a> TraceRecord<&'a str> {
    /// Reads a record of any version without copying its texts.
    pub fn read(bytes: &'a [u8]) -> Option<TraceV1<&'a str>> {
        let TraceRecord::V1(record) = postcard::from_bytes(bytes).ok()?;
        Some(record)
    }
}

impl TraceRecord<String> {
    /// Reads a record of any version.
    pub fn decode(bytes: &[u8]) -> Option<TraceV1> {
        let TraceRecord::V1(record) = postcard::from_bytes(bytes).ok()?;
        Some(record)
    }
}

/// About what a record takes: it is written without growing.
const USUAL_BYTES: usize = 2048;

pub(super) fn encode(verdict: &Verdict) -> Vec<u8> {
    let event = &verdict.event;
    let decisions = verdict.parts.iter().flat_map(|part| &part.decisions).map(|decided| {
        let limited = decided.is_limited();
        let decision = match &decided.fate {
            Fate::Send(_) => TracedFate::Send { limited, shadow: false },
            Fate::Shadow(_) => TracedFate::Send { limited, shadow: true },
            Fate::Held(code) => TracedFate::Held(*code),
            Fate::Skip(skip) => TracedFate::Skip(skip.code, skip.message.as_str()),
        };
        let reasons = decided.consent.iter().flat_map(|decision| &decision.reasons);
        let removed = decided.consent.as_ref().map_or(FieldSet::EMPTY, |d| d.removed);
        TraceDecision {
            destination: decided.destination.as_str(),
            event: decided.event.as_str(),
            entry: decided.entry,
            decision,
            reasons: reasons.map(|r| (r.code, r.rule.as_str(), r.message.as_str())).collect(),
            removed: removed.iter().collect(),
            value: decided.value.map(|money| format!("{} {}", money.amount_text(), money.currency)),
        }
    });
    let record = TraceRecord::V1(TraceV1 {
        event: event.name.as_str(),
        event_id: event.event_id.id.as_str(),
        site: event.site.as_str(),
        timestamp_ms: event.timestamp.as_millisecond(),
        received_at_ms: event.received_at.as_millisecond(),
        test: event.test,
        region: verdict.state.region.as_deref(),
        grants: verdict.state.grants,
        opt_out: verdict.state.opt_out.clone(),
        sources: {
            let remembered = verdict.recalled.as_ref().map(|_| crate::consent::clicks::SOURCE);
            verdict.state.sources.iter().map(String::as_str).chain(remembered).collect()
        },
        decisions: decisions.collect(),
        warnings: verdict.warnings.iter().map(|w| w.code.name()).collect(),
    });
    postcard::to_extend(&record, Vec::with_capacity(USUAL_BYTES)).unwrap_or_default()
}
