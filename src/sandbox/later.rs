//! What became of a request after its answer: platforms that process later tell on being asked.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{answer::Vars, shape::Span};

/// Requests remembered; the oldest go first.
const KEPT: usize = 10_000;

/// What earlier requests left behind, bounded.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Requests whose fate can be asked for.
    requests: Mutex<VecDeque<(String, Batch)>>,
    /// What was good for one use, and is used up.
    spent: Mutex<VecDeque<String>>,
}

#[derive(Debug, Clone)]
struct Batch {
    ready: i64,
    events: usize,
    failed: usize,
    reasons: Vec<Vars>,
}

/// What is known of a request.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing.
    Unknown,
    /// It waits.
    Processing,
    /// It is done, with what failed by reason.
    Done {
        /// Events in it.
        events: usize,
        /// Events that failed.
        failed: usize,
        /// By reason, with a `count`.
        reasons: Vec<Vars>,
    },
}

impl Memory {
    /// Remembers a request and what will fail of it.
    pub(super) fn keep(
        &self,
        id: String,
        now: Timestamp,
        delay: Span,
        events: usize,
        later: &[(Option<usize>, Vars)],
    ) {
        let mut reasons: BTreeMap<String, (Vars, u64)> = BTreeMap::new();
        let mut failed = BTreeSet::new();
        for (index, vars) in later {
            // An event that fails twice fails for its first reason.
            if failed.insert(*index) {
                let key = Value::Object(reason_of(vars)).to_string();
                reasons.entry(key).or_insert_with(|| (reason_of(vars), 0)).1 += 1;
            }
        }
        let counted = |(mut vars, count): (Vars, u64)| {
            // Counts are int64 in JSON: text, as the vendors' samples show.
            vars.insert("count".to_owned(), Value::String(count.to_string()));
            vars
        };
        let batch = Batch {
            ready: now.as_second().saturating_add(delay.0),
            events,
            failed: failed.len(),
            reasons: reasons.into_values().map(counted).collect(),
        };
        let mut kept = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((id, batch));
    }

    /// Uses something up that is good for one use; whether it still was.
    pub(super) fn spend(&self, what: &str) -> bool {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.iter().any(|known| known == what) {
            return false;
        }
        if spent.len() >= KEPT {
            spent.pop_front();
        }
        spent.push_back(what.to_owned());
        true
    }

    /// What is known of a request now.
    pub(super) fn state(&self, id: &str, now: Timestamp) -> State {
        let kept = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.iter().rev().find(|(known, _)| known == id) {
            None => State::Unknown,
            Some((_, batch)) if batch.ready > now.as_second() => State::Processing,
            Some((_, batch)) => State::Done {
                events: batch.events,
                failed: batch.failed,
                reasons: batch.reasons.clone(),
            },
        }
    }
}

impl State {
    /// Name of the answer.
    pub(super) fn answer(&self) -> &'static str {
        match self {
            State::Unknown => "unknown",
            State::Processing => "processing",
            State::Done { failed: 0, .. } => "success",
            State::Done { failed, events, .. } if failed < events => "partial_success",
            State::Done { .. } => "failed",
        }
    }

    /// What the answer may speak of.
    pub(super) fn vars(&self) -> Vars {
        let (events, failed) = match self {
            State::Done { events, failed, .. } => (*events, *failed),
            State::Unknown | State::Processing => (0, 0),
        };
        let mut vars = Map::new();
        vars.insert("processed".to_owned(), Value::String(events.to_string()));
        vars.insert("failed".to_owned(), Value::String(failed.to_string()));
        vars
    }

    /// Failures by reason.
    pub(super) fn reasons(&self) -> Vec<Vars> {
        match self {
            State::Done { reasons, .. } => reasons.clone(),
            State::Unknown | State::Processing => Vec::new(),
        }
    }
}

/// Only what the contract says of the rule: positions differ from event to event.
fn reason_of(vars: &Vars) -> Vars {
    let own = ["index", "path", "text", "why"];
    vars.iter()
        .filter(|(name, _)| !own.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
