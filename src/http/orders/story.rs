//! What became of one order, told from its events' traces or from the decision log's records. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    config::Config,
    pipeline::{TraceRecord, TracedFate, slot},
    queue::{IdHash, Trace},
};

/// What is known of one event.
#[derive(Debug, Clone, Default)]
pub(super) struct Story {
    copies: Vec<Copy>,
    outcomes: Vec<Outcome>,
}

/// A copy that arrived.
#[derive(Debug, Clone)]
struct Copy {
    at: Timestamp,
    status: String,
    event: String,
    event_id: String,
    site: String,
    timestamp: Option<Timestamp>,
    decisions: Vec<Decision>,
}

/// What was decided for one destination.
#[derive(Debug, Clone)]
struct Decision {
    destination: String,
    event: String,
    slot: u32,
    fate: Fate,
    value: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Sends,
    Shadowed,
    /// Code and words.
    Held(String, String),
    Skipped(String, String),
    Failed(String),
    Suppressed,
    /// An earlier copy's decision stands.
    Copy,
}

/// Something that happened to a decision.
#[derive(Debug, Clone)]
struct Outcome {
    at: Timestamp,
    destination: String,
    slot: u32,
    outcome: String,
    code: String,
    /// HTTP status, the platform's code, its words.
    answer: Option<(u16, String, String)>,
}

impl Story {
    /// From a trace.
    pub(super) fn of_trace(trace: &Trace) -> Self {
        let copies = trace.copies.iter().map(|copy| {
            let record = TraceRecord::decode(&copy.record);
            let mut told = Copy {
                at: copy.at,
                status: copy.status.clone(),
                event: String::new(),
                event_id: String::new(),
                site: String::new(),
                timestamp: None,
                decisions: Vec::new(),
            };
            let Some(record) = record else { return told };
            told.timestamp = Timestamp::from_millisecond(record.timestamp_ms).ok();
            told.decisions = record
                .decisions
                .into_iter()
                .map(|decided| {
                    let first = decided.reasons.into_iter().next();
                    let words = first.map(|(_, _, message)| message).unwrap_or_default();
                    Decision {
                        slot: slot(&decided.event, decided.entry),
                        fate: match decided.decision {
                            TracedFate::Send { shadow: true, .. } => Fate::Shadowed,
                            TracedFate::Send { shadow: false, .. } => Fate::Sends,
                            TracedFate::Held(code) => Fate::Held(code.name().to_owned(), words),
                            TracedFate::Skip(code, message) => {
                                Fate::Skipped(code.name().to_owned(), message)
                            }
                        },
                        destination: decided.destination,
                        event: decided.event,
                        value: decided.value,
                    }
                })
                .collect();
            (told.event, told.event_id, told.site) = (record.event, record.event_id, record.site);
            told
        });
        let outcomes = trace.outcomes.iter().map(|outcome| Outcome {
            at: outcome.at,
            destination: outcome.destination.clone(),
            slot: outcome.slot,
            outcome: outcome.outcome.clone(),
            code: outcome.code.clone(),
            answer: outcome
                .attempt
                .as_ref()
                .map(|one| (one.status, one.reason.clone(), one.message.clone())),
        });
        Self { copies: copies.collect(), outcomes: outcomes.collect() }
    }

    /// Takes in a record of the decision log.
    pub(super) fn add_record(&mut self, record: &Value) {
        let at = text(record, "at").parse().unwrap_or_default();
        if text(record, "kind") == "outcome" {
            let send = record.get("send");
            let status = send.and_then(|send| send.get("status")).and_then(Value::as_u64);
            self.outcomes.push(Outcome {
                at,
                destination: text(record, "destination").to_owned(),
                slot: slot_of(record),
                outcome: text(record, "outcome").to_owned(),
                code: text(record, "code").to_owned(),
                answer: send.map(|send| {
                    let status = status.and_then(|status| u16::try_from(status).ok());
                    (status.unwrap_or(0), text(send, "reason").to_owned(), String::new())
                }),
            });
            return;
        }
        let decisions = record.get("decisions").and_then(Value::as_array);
        self.copies.push(Copy {
            at,
            status: text(record, "status").to_owned(),
            event: text(record, "event").to_owned(),
            event_id: text(record, "event_id").to_owned(),
            site: text(record, "site").to_owned(),
            timestamp: text(record, "timestamp").parse().ok(),
            decisions: decisions.into_iter().flatten().map(decision_of).collect(),
        });
    }

    /// Whether the event's first copy is in it.
    pub(super) fn begins(&self) -> bool {
        self.copies.iter().any(|copy| copy.status != "duplicate")
    }

    /// The platforms' words, where a trace still has them.
    pub(super) fn with_words_of(mut self, trace: Option<Story>) -> Self {
        for known in trace.into_iter().flat_map(|trace| trace.outcomes) {
            let same = |one: &&mut Outcome| {
                one.at == known.at && one.destination == known.destination && one.slot == known.slot
            };
            match self.outcomes.iter_mut().find(same) {
                Some(outcome) => outcome.answer = known.answer.or(outcome.answer.take()),
                None => self.outcomes.push(known),
            }
        }
        self
    }

    /// Where each of its decisions is now.
    fn standing(&self) -> BTreeMap<(String, u32), Standing> {
        let mut all: BTreeMap<(String, u32), Standing> = BTreeMap::new();
        for copy in &self.copies {
            for decision in &copy.decisions {
                let place = (decision.destination.clone(), decision.slot);
                let is_copy = copy.status == "duplicate" || decision.fate == Fate::Copy;
                match all.get_mut(&place) {
                    // A later copy serves what the first one could not for want of consent.
                    Some(known) if known.status == "held" && decision.fate == Fate::Sends => {
                        *known = Standing::of(copy, decision, &decision.fate);
                    }
                    Some(_) => {}
                    None => {
                        let fate = if is_copy { &Fate::Copy } else { &decision.fate };
                        all.insert(place, Standing::of(copy, decision, fate));
                    }
                }
            }
        }
        for outcome in &self.outcomes {
            let place = (outcome.destination.clone(), outcome.slot);
            all.entry(place).or_insert_with(|| Standing::unknown(outcome.at)).hear(outcome);
        }
        all
    }
}

/// Where one decision is now.
#[derive(Debug, Clone)]
struct Standing {
    at: Timestamp,
    event: String,
    event_id: String,
    status: &'static str,
    /// Code and words.
    reason: Option<(String, String)>,
    value: Option<String>,
    answer: Option<(u16, String, String)>,
    attempts: u32,
}

impl Standing {
    fn of(copy: &Copy, decision: &Decision, fate: &Fate) -> Self {
        let because = |code: &str, words: &str| Some((code.to_owned(), words.to_owned()));
        let (status, reason) = match fate {
            Fate::Sends => ("pending", None),
            Fate::Shadowed => ("shadowed", None),
            Fate::Held(code, words) => ("held", because(code, words)),
            Fate::Skipped(code, words) => ("skipped", because(code, words)),
            Fate::Failed(code) => ("failed", because(code, "")),
            Fate::Suppressed => ("suppressed", None),
            Fate::Copy => ("duplicate", None),
        };
        Self {
            at: copy.at,
            event: decision.event.clone(),
            event_id: copy.event_id.clone(),
            status,
            reason,
            value: decision.value.clone(),
            answer: None,
            attempts: 0,
        }
    }

    fn unknown(at: Timestamp) -> Self {
        Self {
            at,
            event: String::new(),
            event_id: String::new(),
            status: "pending",
            reason: None,
            value: None,
            answer: None,
            attempts: 0,
        }
    }

    fn hear(&mut self, outcome: &Outcome) {
        let code = || Some((outcome.code.clone(), String::new()));
        (self.status, self.reason) = match outcome.outcome.as_str() {
            "delivered" => ("sent", None),
            "shadowed" => ("shadowed", None),
            "withdrawn" => ("held", code()),
            "dead" | "expired" => ("failed", code()),
            "discarded" => ("failed", Some(("discarded".to_owned(), String::new()))),
            // Again on its way.
            _ => ("pending", None),
        };
        self.at = outcome.at;
        if outcome.answer.is_some() {
            self.attempts += 1;
            self.answer.clone_from(&outcome.answer);
        }
    }

    fn told(&self, destination: &str, config: &Config) -> Value {
        let platform = config.destinations.get(destination).map(|known| known.platform.name);
        let mut told = json!({
            "destination": destination,
            "platform": platform,
            "status": self.status,
            "at": self.at.to_string(),
            "event": self.event,
            "event_id": self.event_id,
        });
        if let Some(told) = told.as_object_mut() {
            if let Some((code, words)) = &self.reason {
                told.insert("reason".to_owned(), coded(code, words));
            }
            if let Some((status, reason, words)) = &self.answer {
                let answer = json!({"status": status, "reason": reason, "message": words});
                told.insert("answer".to_owned(), answer);
                told.insert("attempts".to_owned(), json!(self.attempts));
            }
            if let Some(value) = &self.value {
                told.insert("value".to_owned(), json!(value));
            }
        }
        told
    }
}

fn coded(code: &str, words: &str) -> Value {
    if words.is_empty() { json!({"code": code}) } else { json!({"code": code, "message": words}) }
}

/// The worst comes first: an order is only `sent` where nothing of it failed or waits.
const WORST_FIRST: [&str; 8] =
    ["failed", "pending", "sent", "held", "shadowed", "skipped", "suppressed", "duplicate"];

/// One order's line.
pub(super) fn tell<'a>(
    order_id: &str,
    site: Option<&str>,
    events: impl Iterator<Item = (&'a IdHash, &'a Story)>,
    config: &Config,
) -> Value {
    let events: Vec<&Story> = events
        .map(|(_, story)| story)
        .filter(|story| site.is_none_or(|site| story.copies.iter().all(|c| c.site == site)))
        .collect();
    let mut told = Map::new();
    told.insert("order_id".to_owned(), json!(order_id));
    let copies = || events.iter().flat_map(|story| &story.copies);
    let first = copies().min_by_key(|copy| (copy.status == "duplicate", copy.at));
    let site = first.map(|copy| copy.site.as_str()).or(site);
    told.insert("site".to_owned(), json!(site));
    let standing: Vec<((String, u32), Standing)> =
        events.iter().flat_map(|story| story.standing()).collect();
    let of_copies = || match copies().map(|copy| copy.status.as_str()).min_by_key(|s| rank(s)) {
        None => "never_seen",
        // In the plan, and for nobody.
        Some("accepted") => "skipped",
        Some(status) => status,
    };
    let is_known = |status: &&&str| standing.iter().any(|(_, one)| one.status == **status);
    let status = WORST_FIRST.iter().find(is_known).map_or_else(of_copies, |status| *status);
    told.insert("status".to_owned(), json!(status));
    if let Some(first) = first {
        let at = first.timestamp.unwrap_or(first.at);
        let zone = config.sites.get(&first.site).map(|site| site.time_zone.clone());
        let day = at.to_zoned(zone.unwrap_or(jiff::tz::TimeZone::UTC)).date();
        told.insert("time".to_owned(), json!(at.to_string()));
        told.insert("day".to_owned(), json!(day.to_string()));
        let duplicates = copies().filter(|copy| copy.status == "duplicate").count();
        told.insert("duplicates".to_owned(), json!(duplicates));
        let all: Vec<Value> = copies()
            .map(|copy| {
                json!({
                    "event": copy.event, "event_id": copy.event_id,
                    "status": copy.status, "at": copy.at.to_string(),
                })
            })
            .collect();
        told.insert("events".to_owned(), Value::Array(all));
    }
    let destinations: Vec<Value> =
        standing.iter().map(|((name, _), one)| one.told(name, config)).collect();
    told.insert("destinations".to_owned(), Value::Array(destinations));
    Value::Object(told)
}

fn rank(status: &str) -> usize {
    let known = ["accepted", "test", "suppressed", "criteria_not_met", "unplanned", "duplicate"];
    known.iter().position(|one| *one == status).unwrap_or(known.len())
}

// === the decision log's records ===

/// The event that a record tells of.
pub(super) fn key_of(record: &Value) -> Option<IdHash> {
    let key = u128::from_str_radix(text(record, "key"), 16).ok()?;
    Some(key.to_be_bytes())
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn slot_of(record: &Value) -> u32 {
    let slot = record.get("slot").and_then(Value::as_u64);
    slot.and_then(|slot| u32::try_from(slot).ok()).unwrap_or_default()
}

fn decision_of(decision: &Value) -> Decision {
    let reason = decision.get("reasons").and_then(|reasons| reasons.get(0));
    let said = |name| reason.map_or("", |reason| text(reason, name)).to_owned();
    Decision {
        destination: text(decision, "destination").to_owned(),
        event: text(decision, "event").to_owned(),
        slot: slot_of(decision),
        fate: match text(decision, "outcome") {
            "shadowed" => Fate::Shadowed,
            "held" => Fate::Held(said("code"), said("message")),
            "skipped" => Fate::Skipped(said("code"), said("message")),
            "expired" => Fate::Failed("backlog_full".to_owned()),
            "suppressed" => Fate::Suppressed,
            "duplicate" => Fate::Copy,
            // `queued`, `released`.
            _ => Fate::Sends,
        },
        value: None,
    }
}
