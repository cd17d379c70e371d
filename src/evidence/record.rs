//! What a record says: the JSON of each kind, from what the queue and the pipeline left; and which
//! records somebody asks for. Pure.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::chain::hex;
use crate::{
    consent::{Grants, Model, OptOut, ReasonCode},
    event::{Field, FieldSet},
    pipeline::{Grounds, GroundsV1, TraceDecision, TraceRecord, TraceV1, TracedFate},
    queue::{Evidence, IdHash, Made, Sending, names_one},
};

/// The body of a record: the rest of a JSON object, without its braces. Records are written from
/// borrowed parts: there is one for every event, and building trees of values first cost more than
/// deciding about the event did.
pub(super) fn body(at: Timestamp, evidence: &Evidence) -> String {
    let at = at.to_string();
    let text = match evidence {
        Evidence::Event { key, status, made, trace, grounds } => {
            match (TraceRecord::read(trace), Grounds::read(grounds)) {
                (Some(told), Some(why)) => text(&EventLine::of(at, key, status, made, &told, &why)),
                // What a later version wrote is kept as it is.
                _ => text(&json!({
                    "at": at, "kind": "event", "key": hex(key), "status": status,
                    "unreadable": [hex(trace), hex(grounds)],
                })),
            }
        }
        Evidence::Outcome { key, destination, slot, outcome, code, send } => {
            text(&OutcomeLine::of(at, key, destination, *slot, (outcome, code), send.as_ref()))
        }
        Evidence::Act(words) => {
            let mut object = Map::new();
            object.insert("at".to_owned(), json!(at));
            object.insert("kind".to_owned(), json!("act"));
            match serde_json::from_slice(words) {
                Ok(Value::Object(words)) => object.extend(words),
                // It was sealed, so that only a later version can have written it.
                Ok(_) | Err(_) => {
                    object.insert("unreadable".to_owned(), json!(hex(words)));
                }
            }
            text(&object)
        }
    };
    text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default().to_owned()
}

/// Texts, numbers, lists and objects by text always serialise.
fn text(line: &impl Serialize) -> String {
    serde_json::to_string(line).unwrap_or_default()
}

/// What was decided about an event.
#[derive(Serialize)]
struct EventLine<'a, S: Serialize> {
    at: String,
    kind: &'static str,
    key: String,
    status: &'a str,
    event: &'a str,
    event_id: &'a str,
    site: &'a str,
    controller: &'a str,
    timestamp: Option<String>,
    received_at: Option<String>,
    test: bool,
    subjects: Vec<String>,
    region: Option<&'a str>,
    model: Model,
    minor: bool,
    config: &'a str,
    signals: S,
    decoded: Decoded<'a>,
    decisions: Vec<DecisionLine<'a>>,
}

/// What the signals amounted to.
#[derive(Serialize)]
struct Decoded<'a> {
    grants: Grants,
    opt_out: &'a OptOut,
    sources: &'a [&'a str],
    remembered_at: Option<String>,
    problems: Vec<ProblemLine<'a>>,
}

#[derive(Serialize)]
struct ProblemLine<'a> {
    code: &'a str,
    path: &'a str,
}

/// One destination's part, and what became of it in the store.
#[derive(Serialize)]
struct DecisionLine<'a> {
    destination: &'a str,
    event: &'a str,
    entry: u16,
    decision: &'static str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    reasons: Vec<ReasonLine<'a>>,
    removed: Vec<&'static str>,
    slot: u32,
    fields: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grants: Option<Grants>,
}

#[derive(Serialize)]
struct ReasonLine<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

impl<'a> EventLine<'a, ()> {
    fn of(
        at: String,
        key: &IdHash,
        status: &'a str,
        made: &[Made],
        trace: &'a TraceV1<&'a str>,
        grounds: &'a GroundsV1<&'a str>,
    ) -> EventLine<'a, impl Serialize> {
        let decisions = trace.decisions.iter().zip(&grounds.decisions).enumerate();
        let decisions = decisions.map(|(index, (decided, (slot, own, fields)))| {
            let made = made.get(index).copied().unwrap_or(Made::Decided);
            DecisionLine::of(decided, made, (*slot, *own, fields))
        });
        let problems = grounds.problems.iter().map(|(code, path)| ProblemLine { code, path });
        EventLine {
            at,
            kind: "event",
            key: hex(key),
            status,
            event: trace.event,
            event_id: trace.event_id,
            site: trace.site,
            controller: grounds.controller,
            timestamp: time(trace.timestamp_ms),
            received_at: time(trace.received_at_ms),
            test: trace.test,
            subjects: grounds.subjects.iter().map(|subject| hex(subject)).collect(),
            region: trace.region,
            model: grounds.model,
            minor: grounds.minor,
            config: grounds.config,
            signals: grounds.signals.shown(),
            decoded: Decoded {
                grants: trace.grants,
                opt_out: &trace.opt_out,
                sources: &trace.sources,
                remembered_at: grounds.remembered_ms.and_then(time),
                problems: problems.collect(),
            },
            decisions: decisions.collect(),
        }
    }
}

impl<'a> DecisionLine<'a> {
    fn of(
        decided: &'a TraceDecision<&'a str>,
        made: Made,
        (slot, grants, fields): (u32, Option<Grants>, &[Field]),
    ) -> Self {
        let (decision, outcome) = match &decided.decision {
            TracedFate::Send { limited, shadow } => (
                if *limited { "limited" } else { "send" },
                if *shadow { "shadowed" } else { "queued" },
            ),
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
        let reason = |(code, rule, message): &'a (ReasonCode, &'a str, &'a str)| ReasonLine {
            code: code.name(),
            rule: Some(rule),
            message: Some(message),
        };
        let mut reasons: Vec<ReasonLine<'_>> = decided.reasons.iter().map(reason).collect();
        if let TracedFate::Skip(code, message) = &decided.decision {
            let message = Some(*message);
            reasons.push(ReasonLine { code: code.name(), rule: None, message });
        }
        if made == Made::Full {
            reasons.push(ReasonLine { code: "backlog_full", rule: None, message: None });
        }
        let path = |field: &Field| field.path();
        Self {
            destination: decided.destination,
            event: decided.event,
            entry: decided.entry,
            decision,
            outcome,
            rule: decided.rule,
            reasons,
            removed: decided.removed.iter().map(path).collect(),
            slot,
            fields: fields.iter().map(path).collect(),
            grants,
        }
    }
}

/// What became of a decision.
#[derive(Serialize)]
struct OutcomeLine<'a> {
    at: String,
    kind: &'static str,
    key: String,
    destination: &'a str,
    slot: u32,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    /// Of what today's rules withdrew.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    // Without the platform's words: its code is enough, and is nobody's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    send: Option<SendLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<&'static str>>,
}

#[derive(Serialize)]
struct SendLine<'a> {
    status: u16,
    reason: &'a str,
}

impl<'a> OutcomeLine<'a> {
    fn of(
        at: String,
        key: &IdHash,
        destination: &'a str,
        slot: u32,
        (outcome, code): (&'a str, &'a str),
        send: Option<&'a Sending>,
    ) -> Self {
        let under = send.filter(|send| !send.under.is_empty());
        let (ruling, send) = if outcome == "withdrawn" { (send, None) } else { (None, send) };
        let fields = |send: &Sending| {
            FieldSet::from_bits(send.fields).iter().map(Field::path).collect::<Vec<_>>()
        };
        Self {
            at,
            kind: "outcome",
            key: hex(key),
            destination,
            slot,
            outcome,
            code: Some(code).filter(|code| !code.is_empty()),
            rule: ruling.map(|by| by.reason.as_str()).filter(|rule| !rule.is_empty()),
            send: send.map(|send| SendLine { status: send.status, reason: &send.reason }),
            config: under.map(|send| send.under.as_str()),
            fields: under.filter(|_| ruling.is_none()).map(fields),
        }
    }
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
