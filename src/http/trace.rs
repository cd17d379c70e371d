//! One event's whole trace as JSON: its copies with their decisions, its attempts, its outcomes.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    pipeline::{TraceDecision, TraceRecord, TracedFate, slot},
    queue::{Trace, TraceCopy, TraceOutcome},
};

/// Writes a trace. Slots of outcomes are named by the decisions of the copies.
pub(super) fn render(event_id: &str, trace: &Trace) -> Value {
    let mut entries = HashMap::new();
    let copies: Vec<Value> =
        trace.copies.iter().map(|copy| render_copy(copy, &mut entries)).collect();
    let outcomes: Vec<Value> =
        trace.outcomes.iter().map(|outcome| render_outcome(outcome, &entries)).collect();
    json!({ "event_id": event_id, "copies": copies, "outcomes": outcomes })
}

/// Plan event and entry by destination and slot.
type Entries = HashMap<(String, u32), (String, u16)>;

fn render_copy(copy: &TraceCopy, entries: &mut Entries) -> Value {
    let Some(record) = TraceRecord::decode(&copy.record) else {
        return json!({ "at": copy.at.to_string(), "status": copy.status });
    };
    for decision in &record.decisions {
        let key = (decision.destination.clone(), slot(&decision.event, decision.entry));
        entries.insert(key, (decision.event.clone(), decision.entry));
    }
    json!({
        "at": copy.at.to_string(),
        "status": copy.status,
        "event": record.event,
        "site": record.site,
        "timestamp": time(record.timestamp_ms),
        "received_at": time(record.received_at_ms),
        "test": record.test,
        "consent": {
            "region": record.region,
            "grants": record.grants,
            "opt_out": record.opt_out,
            "sources": record.sources,
        },
        "warnings": record.warnings,
        "decisions": record.decisions.iter().map(render_decision).collect::<Vec<_>>(),
    })
}

fn render_decision(decision: &TraceDecision) -> Value {
    let (word, skip) = match &decision.decision {
        TracedFate::Send { limited: true, .. } => ("limited", None),
        TracedFate::Send { limited: false, .. } => ("send", None),
        TracedFate::Held(_) => ("held", None),
        TracedFate::Skip(code, message) => ("skip", Some((code.name(), message))),
    };
    let shadow = matches!(decision.decision, TracedFate::Send { shadow: true, .. });
    let mut reasons: Vec<Value> = decision
        .reasons
        .iter()
        .map(|(code, rule, message)| json!({"code": code.name(), "rule": rule, "message": message}))
        .collect();
    reasons.extend(skip.map(|(code, message)| json!({"code": code, "message": message})));
    json!({
        "destination": decision.destination,
        "event": decision.event,
        "entry": decision.entry,
        "decision": word,
        "shadow": shadow,
        "rule": decision.rule,
        "reasons": reasons,
        "removed": decision.removed.iter().map(|field| field.path()).collect::<Vec<_>>(),
        "value": decision.value,
    })
}

fn render_outcome(outcome: &TraceOutcome, entries: &Entries) -> Value {
    let entry = entries.get(&(outcome.destination.clone(), outcome.slot));
    let attempt = outcome.attempt.as_ref().map(|attempt| {
        json!({
            "status": attempt.status,
            "reason": attempt.reason,
            "message": attempt.message,
            "took_ms": u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
        })
    });
    json!({
        "at": outcome.at.to_string(),
        "destination": outcome.destination,
        "event": entry.map(|(event, _)| event),
        "entry": entry.map(|(_, entry)| entry),
        "outcome": outcome.outcome,
        "code": outcome.code,
        "attempt": attempt,
    })
}

fn time(epoch_ms: i64) -> Option<String> {
    Timestamp::from_millisecond(epoch_ms).ok().map(|time| time.to_string())
}
