//! What would be sent, where and why, as the interface prints it: a line for each plan event.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{PartVerdict, Street, Verdict};
use crate::{
    config::DestinationConfig,
    consent::{Grants, Model, Purpose},
    destinations::{Auth, Call},
    event::{Field, Money},
    job::{Decided, Fate, Prepared},
    queue::AdmissionStatus,
};

/// Explains a verdict. `status` replaces the verdict's own where the store knows better
/// (`duplicate`, `suppressed`).
pub fn explain(
    verdict: &Verdict,
    street: &Street<'_>,
    status: Option<&str>,
    now: Timestamp,
) -> Vec<Value> {
    let own = match verdict.status {
        AdmissionStatus::Accepted => "accepted",
        AdmissionStatus::CriteriaNotMet => "criteria_not_met",
        AdmissionStatus::Unplanned => "unplanned",
    };
    let status = status.unwrap_or(own);
    let line = |event: &str, part: Option<&PartVerdict>| {
        let mut line = json!({
            "event": event,
            "event_id": verdict.event.event_id.id,
            "status": status,
            "site": verdict.event.site,
            "consent": consent(verdict),
            "destinations": part.map_or_else(Map::new, |part| destinations(part, street, now)),
        });
        if let (Some(part), Some(object)) = (part, line.as_object_mut()) {
            object.insert("kind".to_owned(), json!(part.kind.name()));
            if let Some(value) = part.value.value {
                let mut value = money(value);
                if let Some(value) = value.as_object_mut() {
                    value.insert("rule".to_owned(), json!(part.value.rule));
                }
                object.insert("value".to_owned(), value);
            }
        }
        if let (Some(remembered), Some(object)) = (remembered(verdict), line.as_object_mut()) {
            object.insert("remembered".to_owned(), remembered);
        }
        if let (false, Some(object)) = (verdict.warnings.is_empty(), line.as_object_mut()) {
            let warnings: Vec<Value> = verdict
                .warnings
                .iter()
                .map(|w| json!({"code": w.code.name(), "message": w.message}))
                .collect();
            object.insert("warnings".to_owned(), Value::Array(warnings));
        }
        line
    };
    if verdict.parts.is_empty() {
        // A criterion that does not hold is some plan event's: it has a name where it is only one's.
        let planned = street.config.plan.by_incoming.get(&verdict.event.name);
        let only = match planned.map(Vec::as_slice) {
            Some([only]) => street.config.plan.events.get(only),
            _ => None,
        };
        let mut line = line(only.map_or(&verdict.event.name, |only| &only.name), None);
        if let (Some(only), Some(object)) = (only, line.as_object_mut()) {
            object.insert("kind".to_owned(), json!(only.kind.name()));
        }
        return vec![line];
    }
    verdict.parts.iter().map(|part| line(&part.event, Some(part))).collect()
}

/// What the event has from earlier ones of its person: the names of fields, never values.
fn remembered(verdict: &Verdict) -> Option<Value> {
    let paths = |fields: &[Field]| fields.iter().map(|field| field.path()).collect::<Vec<_>>();
    let mut remembered = Map::new();
    if let Some(recalled) = &verdict.recalled {
        remembered.insert("click_ids".to_owned(), json!(paths(&recalled.fields)));
        remembered.insert("clicked_at".to_owned(), json!(recalled.clicked_at.to_string()));
    }
    if !verdict.enriched.is_empty() {
        remembered.insert("traits".to_owned(), json!(paths(&verdict.enriched)));
    }
    (!remembered.is_empty()).then_some(Value::Object(remembered))
}

fn consent(verdict: &Verdict) -> Value {
    let state = &verdict.state;
    let mut shown = json!({
        "region": state.region,
        "model": match verdict.model { Model::OptIn => "opt_in", Model::OptOut => "opt_out" },
        "grants": grants(&state.grants),
        "opt_out": {
            "sale": state.opt_out.sale,
            "sharing": state.opt_out.sharing,
            "targeted": state.opt_out.targeted,
            "sources": state.opt_out.sources,
        },
        "sources": state.sources,
    });
    // What gives no permission because it cannot be read, and why.
    if let (false, Some(shown)) = (verdict.seen.problems.is_empty(), shown.as_object_mut()) {
        shown.insert("errors".to_owned(), json!(verdict.seen.problems));
    }
    shown
}

/// Grants by purpose, for explanations and traces.
pub(super) fn grants(grants: &Grants) -> Value {
    let pairs = Purpose::ALL.iter().map(|(purpose, name)| {
        ((*name).to_owned(), serde_json::to_value(grants.get(*purpose)).unwrap_or(Value::Null))
    });
    Value::Object(pairs.collect())
}

fn money(value: Money) -> Value {
    json!({"amount": value.amount_text(), "currency": value.currency.code()})
}

/// One object a destination; where it has several entries for the plan event, the first shows and
/// the others' requests and reasons are added to it.
fn destinations(part: &PartVerdict, street: &Street<'_>, now: Timestamp) -> Map<String, Value> {
    let mut shown: Map<String, Value> = Map::new();
    for decided in &part.decisions {
        let Some(config) = street.config.destinations.get(&decided.destination) else { continue };
        let one = destination(decided, config, now);
        match shown.get_mut(&decided.destination).and_then(Value::as_object_mut) {
            None => {
                shown.insert(decided.destination.clone(), one);
            }
            Some(first) => merge(first, &one),
        }
    }
    shown
}

fn merge(first: &mut Map<String, Value>, other: &Value) {
    let sends =
        |value: Option<&Value>| matches!(value.and_then(Value::as_str), Some("send" | "limited"));
    if !sends(first.get("decision")) && sends(other.get("decision")) {
        for key in ["decision", "value"] {
            if let Some(value) = other.get(key) {
                first.insert(key.to_owned(), value.clone());
            }
        }
    }
    for key in ["reasons", "requests"] {
        let more = other.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        if let Some(list) = first.get_mut(key).and_then(Value::as_array_mut) {
            for value in more {
                if key == "requests" || !list.contains(&value) {
                    list.push(value);
                }
            }
        }
    }
}

fn destination(decided: &Decided, config: &DestinationConfig, now: Timestamp) -> Value {
    let mut reasons: Vec<Value> = decided
        .consent
        .iter()
        .flat_map(|decision| &decision.reasons)
        .map(|r| json!({"code": r.code.name(), "rule": r.rule, "message": r.message}))
        .collect();
    let (decision, requests) = match &decided.fate {
        Fate::Send(prepared) | Fate::Shadow(prepared) => {
            let decision = if prepared.flags.limited { "limited" } else { "send" };
            (decision, requests(prepared, config, now))
        }
        Fate::Held(_) => ("held", Vec::new()),
        Fate::Skip(skip) => {
            reasons.insert(0, json!({"code": skip.code.name(), "message": skip.message}));
            ("skip", Vec::new())
        }
    };
    let removed = decided.consent.as_ref().filter(|_| decision != "skip" && decision != "held");
    let removed: Vec<&str> =
        removed.iter().flat_map(|d| d.removed.iter().map(Field::path)).collect();
    let mut shown = json!({
        "platform": config.platform.name,
        "decision": decision,
        "reasons": reasons,
        "removed": removed,
        "requests": requests,
    });
    if let (Some(consent), Some(object)) = (&decided.consent, shown.as_object_mut()) {
        object.insert("rule".to_owned(), json!(consent.rule));
    }
    if let (Some(value), Some(object)) = (decided.value, shown.as_object_mut()) {
        object.insert("value".to_owned(), money(value));
    }
    if let (Some(own), Some(object)) = (&decided.grants, shown.as_object_mut()) {
        object.insert("grants".to_owned(), grants(own));
    }
    if let (Fate::Shadow(_), Some(object)) = (&decided.fate, shown.as_object_mut()) {
        object.insert("shadow".to_owned(), Value::Bool(true));
    }
    shown
}

fn requests(prepared: &Prepared, config: &DestinationConfig, now: Timestamp) -> Vec<Value> {
    let calls = config.handler.assemble(std::slice::from_ref(prepared), now);
    calls.iter().map(|call| request(call, config)).collect()
}

fn request(call: &Call, config: &DestinationConfig) -> Value {
    let mut headers: Map<String, Value> =
        call.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    // In sandbox mode calls go elsewhere; a reader wants to see the vendor's URL.
    let mut url = match call.url.strip_prefix(&config.endpoint) {
        Some(rest) => format!("{}{rest}", config.shown_endpoint),
        None => call.url.clone(),
    };
    match config.handler.auth() {
        Auth::None => {}
        Auth::Bearer(_) | Auth::OAuthRefresh { .. } | Auth::ServiceAccount { .. } => {
            headers.insert("authorization".to_owned(), json!("Bearer [REDACTED]"));
        }
        Auth::OAuthRotating { headers: others, .. } => {
            headers.insert("authorization".to_owned(), json!("Bearer [REDACTED]"));
            for (name, _) in others {
                headers.insert(name.to_owned(), json!("[REDACTED]"));
            }
        }
        Auth::OAuth1 { .. } => {
            headers.insert("authorization".to_owned(), json!("OAuth [REDACTED]"));
        }
        Auth::Basic { .. } => {
            headers.insert("authorization".to_owned(), json!("Basic [REDACTED]"));
        }
        Auth::Header { name, .. } => {
            headers.insert(name.to_owned(), json!("[REDACTED]"));
        }
        Auth::HmacSha256 { header, .. } => {
            headers.insert(header.to_owned(), json!("sha256=[REDACTED]"));
        }
        Auth::Query { name, .. } => {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(name);
            url.push_str("=[REDACTED]");
        }
    }
    let body = match call.body.as_slice() {
        // A call of which everything stands in the URL.
        [] => Value::Null,
        body => serde_json::from_slice(body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned())),
    };
    json!({"method": call.method, "url": url, "headers": headers, "body": body})
}
