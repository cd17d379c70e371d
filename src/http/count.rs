//! What requests come to in metrics: gathered for a whole request, so that each series is touched
//! once.

use std::{collections::BTreeMap, time::Duration};

use axum::http::StatusCode;
use metrics::{counter, histogram};

use crate::{
    job::{Decided, Fate},
    pipeline::Verdict,
    queue::Admitted,
    sources::{RejectionCode, WarningCode},
    telemetry,
};

/// Counts an answered request.
pub(super) fn request(route: &'static str, status: StatusCode, took: Duration) {
    let status = status.as_str().to_owned();
    counter!(telemetry::REQUESTS, "route" => route, "status" => status).increment(1);
    histogram!(telemetry::ACK_SECONDS, "route" => route).record(took.as_secs_f64());
}

/// The counts of one request. Dropped unpublished where the request is refused as a whole.
#[derive(Default)]
pub(super) struct Tally {
    events: BTreeMap<(String, &'static str), u64>,
    warnings: BTreeMap<WarningCode, u64>,
    rejections: BTreeMap<RejectionCode, u64>,
    removed: BTreeMap<String, u64>,
    decisions: BTreeMap<Series, u64>,
}

/// Destination, plan event, decision and its first reason.
type Series = (String, String, &'static str, &'static str);

/// What is counted of an event once the queue has answered.
pub(super) struct Counted {
    /// The event's name where the plan has it: what is not in the plan has no name of its own
    /// here, since senders could make up as many as they like.
    name: Option<String>,
    decisions: Vec<Series>,
}

impl Counted {
    /// The event's name where the plan has it.
    pub(super) fn planned(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl Tally {
    pub(super) fn verdict(&mut self, verdict: &Verdict, is_planned: bool) -> Counted {
        for warning in &verdict.warnings {
            *self.warnings.entry(warning.code).or_default() += 1;
            if warning.code == WarningCode::IdentityRemoved {
                let site = verdict.event.site.clone();
                *self.removed.entry(site).or_default() += warning.count as u64;
            }
        }
        let decided = verdict.parts.iter().flat_map(|part| &part.decisions);
        let series = |decided: &Decided| {
            let (decision, reason) = decision(decided);
            (decided.destination.clone(), decided.event.clone(), decision, reason)
        };
        Counted {
            name: is_planned.then(|| verdict.event.name.clone()),
            decisions: decided.map(series).collect(),
        }
    }

    pub(super) fn rejected(&mut self, code: RejectionCode) {
        *self.rejections.entry(code).or_default() += 1;
    }

    /// An event that the queue answered. What was decided counts for a new one only: a resend
    /// decides nothing.
    pub(super) fn event(&mut self, counted: Counted, admitted: Admitted, status: &'static str) {
        let name = counted.name.unwrap_or_else(|| "unknown".to_owned());
        *self.events.entry((name, status)).or_default() += 1;
        if matches!(admitted, Admitted::Accepted { .. } | Admitted::Test) {
            for series in counted.decisions {
                *self.decisions.entry(series).or_default() += 1;
            }
        }
    }

    pub(super) fn publish(&mut self) {
        for ((event, status), count) in std::mem::take(&mut self.events) {
            counter!(telemetry::EVENTS, "event" => event, "status" => status).increment(count);
        }
        for (code, count) in std::mem::take(&mut self.warnings) {
            counter!(telemetry::WARNINGS, "code" => code.name()).increment(count);
        }
        for (code, count) in std::mem::take(&mut self.rejections) {
            counter!(telemetry::REJECTIONS, "code" => code.name()).increment(count);
        }
        for (site, count) in std::mem::take(&mut self.removed) {
            counter!(telemetry::IDENTITY_REMOVED, "site" => site).increment(count);
        }
        for ((destination, event, decision, reason), count) in std::mem::take(&mut self.decisions) {
            counter!(
                telemetry::DECISIONS,
                "destination" => destination,
                "event" => event,
                "decision" => decision,
                "reason" => reason
            )
            .increment(count);
        }
    }
}

fn decision(decided: &Decided) -> (&'static str, &'static str) {
    let reason = || {
        let first = decided.consent.as_ref().and_then(|consent| consent.reasons.first());
        first.map_or("", |reason| reason.code.name())
    };
    match &decided.fate {
        Fate::Send(_) | Fate::Shadow(_) if decided.is_limited() => ("limited", reason()),
        Fate::Send(_) | Fate::Shadow(_) => ("send", reason()),
        Fate::Held(code) => ("held", code.name()),
        Fate::Skip(skip) => ("skip", skip.code.name()),
    }
}
