//! What a record says: the JSON of each kind, from what the queue and the pipeline left; and which
//! records somebody asks for. Pure.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::chain::hex;
use crate::{
    event::{Field, FieldSet},
    pipeline::{Grounds, GroundsV1, TraceDecision, TraceRecord, TraceV1, TracedFate},
    queue::{Evidence, IdHash, Made, Sending, names_one},
};

/// The body of a record: the rest of a JSON object, without its braces.
pub(super) fn body(at: Timestamp, evidence: &Evidence) -> String {
    let mut object = Map::new();
    object.insert("at".to_owned(), json!(at.to_string()));
    match evidence {
        Evidence::Event { key, status, made, trace, grounds } => {
            let told = event(key, status, made, trace, grounds);
            object.extend(told);
        }
        Evidence::Outcome { key, destination, slot, outcome, code, send } => {
            let told = outcome_of(key, destination, *slot, (outcome, code), send.as_ref());
            object.extend(told);
        }
        Evidence::Act(words) => {
            object.insert("kind".to_owned(), json!("act"));
            match serde_json::from_slice(words) {
                Ok(Value::Object(words)) => object.extend(words),
                // It was sealed, so that only a later version can have written it.
                Ok(_) | Err(_) => {
                    object.insert("unreadable".to_owned(), json!(hex(words)));
                }
            }
        }
    }
    let text = Value::Object(object).to_string();
    text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default().to_owned()
}

type Members = Vec<(String, Value)>;

fn members(value: Value) -> Members {
    match value {
        Value::Object(members) => members.into_iter().collect(),
        _ => Vec::new(),
    }
}

fn event(key: &IdHash, status: &str, made: &[Made], trace: &[u8], grounds: &[u8]) -> Members {
    let mut told = members(json!({"kind": "event", "key": hex(key), "status": status}));
    let (Some(trace), Some(grounds)) = (TraceRecord::decode(trace), Grounds::decode(grounds))
    else {
        // What a later version wrote is kept as it is.
        told.extend(members(json!({"unreadable": [hex(trace), hex(grounds)]})));
        return told;
    };
    let decisions = trace.decisions.iter().zip(&grounds.decisions).enumerate();
    let decisions: Vec<Value> = decisions
        .map(|(index, (decided, (slot, own, fields)))| {
            let made = made.get(index).copied().unwrap_or(Made::Decided);
            let mut told = decision(decided, made);
            told.extend(members(json!({
                "slot": slot,
                "fields": fields.iter().map(|field| field.path()).collect::<Vec<_>>(),
            })));
            if let Some(own) = own {
                told.push(("grants".to_owned(), json!(own)));
            }
            Value::Object(told.into_iter().collect())
        })
        .collect();
    let TraceV1 { event, event_id, site, timestamp_ms, received_at_ms, test, .. } = &trace;
    told.extend(members(json!({
        "event": event, "event_id": event_id, "site": site, "controller": grounds.controller,
        "timestamp": time(*timestamp_ms), "received_at": time(*received_at_ms), "test": test,
        "subjects": grounds.subjects.iter().map(|subject| hex(subject)).collect::<Vec<_>>(),
        "region": trace.region, "model": grounds.model, "minor": grounds.minor,
        "config": grounds.config,
        "signals": grounds.signals.to_json(),
        "decoded": decoded(&trace, &grounds),
        "decisions": decisions,
    })));
    told
}

/// What was decided, and what became of it in the store.
fn decision(decided: &TraceDecision, made: Made) -> Members {
    let (decision, outcome) = match &decided.decision {
        TracedFate::Send { limited, shadow } => {
            (if *limited { "limited" } else { "send" }, if *shadow { "shadowed" } else { "queued" })
        }
        TracedFate::Held(_) => ("held", "held"),
        TracedFate::Skip(..) => ("skip", "skipped"),
    };
    let outcome = match made {
        Made::Decided => outcome,
        // What an earlier copy was decided stands; nothing was done for this one.
        Made::Copy => "duplicate",
        Made::Released => "released",
        Made::Suppressed => "suppressed",
        Made::Full => "expired",
    };
    let mut reasons: Vec<Value> = decided
        .reasons
        .iter()
        .map(|(code, rule, message)| json!({"code": code.name(), "rule": rule, "message": message}))
        .collect();
    if let TracedFate::Skip(code, message) = &decided.decision {
        reasons.push(json!({"code": code.name(), "message": message}));
    }
    if made == Made::Full {
        reasons.push(json!({"code": "backlog_full"}));
    }
    members(json!({
        "destination": decided.destination, "event": decided.event, "entry": decided.entry,
        "decision": decision, "outcome": outcome, "reasons": reasons,
        "removed": decided.removed.iter().map(|field| field.path()).collect::<Vec<_>>(),
    }))
}

fn decoded(trace: &TraceV1, grounds: &GroundsV1) -> Value {
    let problems: Vec<Value> =
        grounds.problems.iter().map(|(code, path)| json!({"code": code, "path": path})).collect();
    json!({
        "grants": trace.grants,
        "opt_out": trace.opt_out,
        "sources": trace.sources,
        "remembered_at": grounds.remembered_ms.and_then(time),
        "problems": problems,
    })
}

fn outcome_of(
    key: &IdHash,
    destination: &str,
    slot: u32,
    (outcome, code): (&str, &str),
    send: Option<&Sending>,
) -> Members {
    let mut told = members(json!({
        "kind": "outcome", "key": hex(key), "destination": destination, "slot": slot,
        "outcome": outcome,
    }));
    if !code.is_empty() {
        told.push(("code".to_owned(), json!(code)));
    }
    // Without the platform's words: its code is enough, and is nobody's name.
    if let Some(Sending { status, reason, under, fields }) = send {
        let fields: Vec<&str> = FieldSet::from_bits(*fields).iter().map(Field::path).collect();
        told.push(("send".to_owned(), json!({"status": status, "reason": reason})));
        if !under.is_empty() {
            told.extend(members(json!({"config": under, "fields": fields})));
        }
    }
    told
}

fn time(epoch_ms: i64) -> Option<String> {
    Timestamp::from_millisecond(epoch_ms).ok().map(|time| time.to_string())
}

// === what is asked for ===

/// Which records somebody asks for; nothing: all.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
    /// Of this site.
    pub site: Option<String>,
    /// Of the event with this trace hash.
    pub event: Option<IdHash>,
    /// Of any of these events, by trace hash; none named: all. Their outcomes are shown too, whether
    /// or not the event's own record is within the time.
    pub events: BTreeSet<IdHash>,
    /// Of a person, by subject keys.
    pub person: Option<Vec<IdHash>>,
}

/// The events that belong, by which their outcomes are found.
pub(super) type Belonging = HashSet<String>;

/// Whether a record is a person's. A browser or a phone may be shared: they only tell whose a record
/// is that no name of somebody is in.
fn is_of(record: &Value, person: &[IdHash]) -> bool {
    let subjects = record.get("subjects").and_then(Value::as_array);
    let subjects = subjects.into_iter().flatten().filter_map(Value::as_str);
    let subjects: Vec<IdHash> = subjects.filter_map(key_of).collect();
    let has_name = subjects.iter().any(names_one);
    subjects.iter().any(|subject| person.contains(subject) && (names_one(subject) || !has_name))
}

fn key_of(text: &str) -> Option<IdHash> {
    let key = u128::from_str_radix(text, 16).ok()?;
    (text.len() == 32).then(|| key.to_be_bytes())
}

/// Whether a record is asked for. Records come in order: an outcome belongs where its event did.
pub(super) fn matches(record: &Value, wanted: &Wanted, events: &mut Belonging) -> bool {
    let text = |name: &str| record.get(name).and_then(Value::as_str);
    let key = text("key");
    let belongs = if text("kind") == Some("outcome") {
        wanted.is_by_time_only() || key.is_some_and(|key| events.contains(key))
    } else {
        let site = wanted.site.as_deref().is_none_or(|site| text("site") == Some(site));
        let event = wanted.event.is_none_or(|event| key == Some(hex(&event).as_str()))
            && (wanted.events.is_empty() || key.is_some_and(|key| events.contains(key)));
        let person = wanted.person.as_ref().is_none_or(|person| is_of(record, person));
        let belongs = site && event && person;
        if let (true, false, Some(key)) = (belongs, wanted.is_by_time_only(), key) {
            events.insert(key.to_owned());
        }
        belongs
    };
    let at = text("at").and_then(|at| at.parse::<Timestamp>().ok());
    let is_in_time = at.is_none_or(|at| {
        wanted.from.is_none_or(|from| at >= from) && wanted.to.is_none_or(|to| at < to)
    });
    belongs && is_in_time
}

impl Wanted {
    fn is_by_time_only(&self) -> bool {
        let names_event = self.event.is_some() || !self.events.is_empty();
        self.site.is_none() && !names_event && self.person.is_none()
    }

    /// The events that belong before anything was read.
    pub(super) fn belonging(&self) -> Belonging {
        self.events.iter().map(|event| hex(event)).collect()
    }

    /// The day (UTC) before which no file has anything that is asked for.
    pub(super) fn first_day(&self) -> Option<String> {
        let is_enough = self.is_by_time_only() || !self.events.is_empty();
        let from = self.from.filter(|_| is_enough)?;
        // A day's file ends a little after midnight.
        let day = from.to_zoned(jiff::tz::TimeZone::UTC).date().yesterday().ok()?;
        Some(day.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_belongs_where_its_event_does() {
        let event = |n: u8, site: &str| {
            json!({"kind": "event", "key": hex(&[n; 16]), "site": site,
            "at": "2026-11-22T04:00:00Z", "subjects": [hex(&[n + 100; 16])]})
        };
        let outcome =
            |n: u8| json!({"kind": "outcome", "key": hex(&[n; 16]), "at": "2026-11-23T04:00:00Z"});
        let records = [event(1, "a"), event(2, "b"), outcome(1), outcome(2)];
        let chosen = |wanted: Wanted| -> Vec<bool> {
            let mut events = Belonging::new();
            records.iter().map(|record| matches(record, &wanted, &mut events)).collect()
        };
        assert_eq!(chosen(Wanted::default()), [true; 4]);
        let site = Wanted { site: Some("b".to_owned()), ..Wanted::default() };
        assert_eq!(chosen(site), [false, true, false, true]);
        let one = Wanted { event: Some([1; 16]), ..Wanted::default() };
        assert_eq!(chosen(one), [true, false, true, false]);
        // Odd keys name one person, even ones may be shared; here there is nobody else's name.
        for key in [[101; 16], [102; 16]] {
            let person = Wanted { person: Some(vec![key]), ..Wanted::default() };
            let is_first = key == [101; 16];
            assert_eq!(chosen(person), [is_first, !is_first, is_first, !is_first]);
        }
        let later = Wanted { from: "2026-11-23T00:00:00Z".parse().ok(), ..Wanted::default() };
        assert_eq!(chosen(later), [false, false, true, true]);
        let later = Wanted {
            from: "2026-11-23T00:00:00Z".parse().ok(),
            site: Some("a".to_owned()),
            ..Wanted::default()
        };
        assert_eq!(chosen(later), [false, false, true, false]);
    }

    #[test]
    fn a_shared_device_shows_nobody_elses_record() {
        let (mine, theirs, shared) = ([1u8; 16], [3u8; 16], [2u8; 16]);
        let record = |subjects: &[[u8; 16]]| json!({"subjects": subjects.iter().map(|one| hex(one)).collect::<Vec<_>>()});
        assert!(is_of(&record(&[mine, shared]), &[mine, shared]));
        assert!(!is_of(&record(&[theirs, shared]), &[mine, shared]));
        assert!(is_of(&record(&[shared]), &[mine, shared]));
        assert!(!is_of(&record(&[]), &[mine]) && !is_of(&json!({}), &[mine]));
    }

    #[test]
    fn what_cannot_be_read_is_kept_and_said() {
        let at = "2026-11-22T04:00:00Z".parse().unwrap();
        let event = Evidence::Event {
            key: [1; 16],
            status: "accepted".to_owned(),
            made: Vec::new(),
            trace: vec![250, 1],
            grounds: Vec::new(),
        };
        let text = format!("{{{}}}", body(at, &event));
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["unreadable"][0], "fa01", "{value}");
        let act = Evidence::Act(b"not json".to_vec());
        let value: Value = serde_json::from_str(&format!("{{{}}}", body(at, &act))).unwrap();
        assert_eq!(value["kind"], "act");
    }
}
