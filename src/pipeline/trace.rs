//! The trace record of an event: what was decided and why, without identity. Stored sealed beside
//! what it explains, read by `GET /admin/v1/events/{id}`.

use serde::{Deserialize, Serialize};

use super::Verdict;
use crate::{
    consent::{Grants, OptOut, ReasonCode, clicks, traits},
    event::FieldSet,
    job::{Fate, SkipCode},
};

/// A trace record. A new shape is a new variant. Written with borrowed texts, read with owned ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TraceRecord<S = String> {
    /// The first shape, in which decisions do not name their rule.
    V1(TraceV1<S>),
    /// The same, and the rule of each decision.
    V2(TraceV1<S>, Vec<Option<S>>),
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
    /// The id of the rule that decided, such as `meta/us`: also where there is no reason to give.
    /// `None`: consent was not asked. Kept beside the decisions.
    #[serde(skip, default = "Option::default")]
    pub rule: Option<S>,
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
        Some(postcard::from_bytes::<TraceRecord<&str>>(bytes).ok()?.whole())
    }
}

impl TraceRecord<String> {
    /// Reads a record of any version.
    pub fn decode(bytes: &[u8]) -> Option<TraceV1> {
        Some(postcard::from_bytes::<TraceRecord>(bytes).ok()?.whole())
    }
}

impl<S> TraceRecord<S> {
    fn whole(self) -> TraceV1<S> {
        match self {
            TraceRecord::V1(record) => record,
            TraceRecord::V2(mut record, rules) => {
                for (decision, rule) in record.decisions.iter_mut().zip(rules) {
                    decision.rule = rule;
                }
                record
            }
        }
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
            rule: None,
        }
    });
    let record = TraceV1 {
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
            let clicks = verdict.recalled.as_ref().map(|_| clicks::SOURCE);
            let traits = (!verdict.enriched.is_empty()).then_some(traits::SOURCE);
            let own = verdict.state.sources.iter().map(String::as_str);
            own.chain(clicks).chain(traits).collect()
        },
        decisions: decisions.collect(),
        warnings: verdict.warnings.iter().map(|w| w.code.name()).collect(),
    };
    let rules = verdict
        .parts
        .iter()
        .flat_map(|part| &part.decisions)
        .map(|decided| decided.consent.as_ref().map(|decision| decision.rule.as_str()));
    let record = TraceRecord::V2(record, rules.collect());
    postcard::to_extend(&record, Vec::with_capacity(USUAL_BYTES)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> TraceV1 {
        let decision = |destination: &str| TraceDecision {
            destination: destination.to_owned(),
            event: "purchase".to_owned(),
            entry: 0,
            decision: TracedFate::Send { limited: false, shadow: false },
            reasons: Vec::new(),
            removed: Vec::new(),
            value: None,
            rule: None,
        };
        TraceV1 {
            event: "purchase".to_owned(),
            event_id: "e-1".to_owned(),
            site: "shop".to_owned(),
            timestamp_ms: 1,
            received_at_ms: 2,
            test: false,
            region: None,
            grants: Grants::default(),
            opt_out: OptOut::default(),
            sources: Vec::new(),
            decisions: vec![decision("meta"), decision("crm")],
            warnings: Vec::new(),
        }
    }

    #[test]
    fn records_of_both_shapes_are_read() {
        let rules = |bytes: &[u8]| {
            let owned = TraceRecord::decode(bytes).unwrap();
            let borrowed = TraceRecord::read(bytes).unwrap();
            let of = |rule: Option<&str>| rule.map(str::to_owned);
            let seen: Vec<_> = borrowed.decisions.iter().map(|one| of(one.rule)).collect();
            assert_eq!(
                owned.decisions.iter().map(|one| one.rule.clone()).collect::<Vec<_>>(),
                seen
            );
            assert_eq!(owned.event_id, "e-1");
            seen
        };
        let old = postcard::to_allocvec(&TraceRecord::V1(record())).unwrap();
        assert_eq!(rules(&old), [None, None]);
        let named = vec![Some("meta/us".to_owned()), None];
        let new = postcard::to_allocvec(&TraceRecord::V2(record(), named.clone())).unwrap();
        assert_eq!(rules(&new), named);
    }
}
