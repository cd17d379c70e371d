//! The sheet of one lease: a verdict for each job, counted and handed to the queue as one settlement.
//!
//! It refuses to judge; it only keeps the books of what was judged.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{
    jobs::Jobs,
    lane::Lane,
    settle::{cut, label},
};
use crate::{
    destinations::Note,
    event::FieldSet,
    queue::{JobVerdict, Lease, Settlement},
    telemetry,
};

/// A platform's codes in metric labels are cut after so many characters.
const CODE_LENGTH: usize = 64;

/// What is known of a lease's jobs so far.
#[derive(Debug)]
pub(super) struct Sheet {
    verdicts: Vec<Option<JobVerdict>>,
    events: Vec<String>,
    /// The fields that today's rules let leave.
    fields: Vec<FieldSet>,
    /// Follow-ups to be queued with the settlement.
    pub(super) follow_ups: Vec<(Duration, Vec<u8>)>,
    /// A `sending` mark was written for the lease.
    pub(super) is_marked: bool,
}

impl Sheet {
    /// A sheet for so many jobs; one without a verdict in the end is kept.
    pub(super) fn new(jobs: usize) -> Self {
        let events = vec![String::new(); jobs];
        Self {
            verdicts: vec![None; jobs],
            events,
            fields: vec![FieldSet::EMPTY; jobs],
            follow_ups: Vec::new(),
            is_marked: false,
        }
    }

    /// Notes the plan event of a job, for metrics.
    pub(super) fn name(&mut self, position: usize, event: &str) {
        if let Some(place) = self.events.get_mut(position) {
            event.clone_into(place);
        }
    }

    /// Notes the fields of a job that today's rules let leave, for the decision log.
    pub(super) fn lets(&mut self, position: usize, fields: FieldSet) {
        if let Some(place) = self.fields.get_mut(position) {
            *place = fields;
        }
    }

    /// Notes a verdict.
    pub(super) fn set(&mut self, position: usize, verdict: JobVerdict) {
        if let Some(place) = self.verdicts.get_mut(position) {
            *place = Some(verdict);
        }
    }
}

/// Settles a lease and tells how it went.
pub(super) async fn settle_all<J: Jobs>(
    lane: &Lane<J>,
    lease: Lease,
    sheet: Sheet,
    config: &str,
    now: Timestamp,
) {
    let destination = lane.name.clone();
    let Sheet { verdicts, events, fields, follow_ups, is_marked } = sheet;
    let verdicts: Vec<JobVerdict> = verdicts
        .into_iter()
        .map(|verdict| verdict.unwrap_or(JobVerdict::Keep))
        .zip(fields)
        .map(|(verdict, fields)| under(verdict, config, fields))
        .collect();
    let is_untouched = verdicts.iter().all(|verdict| *verdict == JobVerdict::Keep);
    // A mark goes with a settlement only.
    if is_untouched && !is_marked && follow_ups.is_empty() {
        lane.jobs.release(lease);
        return;
    }
    let latency =
        metrics::histogram!(telemetry::DELIVERY_SECONDS, "destination" => destination.clone());
    let mut counts: BTreeMap<(&str, &'static str, &str), u64> = BTreeMap::new();
    let mut outcomes: BTreeMap<&'static str, u64> = BTreeMap::new();
    for ((job, verdict), event) in lease.jobs.iter().zip(&verdicts).zip(&events) {
        let (outcome, reason) = label(verdict);
        *counts.entry((event, outcome, reason)).or_default() += 1;
        *outcomes.entry(outcome).or_default() += 1;
        if matches!(verdict, JobVerdict::Delivered(_)) {
            let waited_ms = now.as_millisecond().saturating_sub(job.accepted_at_ms);
            latency.record(Duration::from_millis(u64::try_from(waited_ms).unwrap_or_default()));
        }
    }
    for ((event, outcome, reason), count) in counts {
        metrics::counter!(telemetry::JOBS, "destination" => destination.clone(),
            "event" => event.to_owned(), "outcome" => outcome, "reason" => reason.to_owned())
        .increment(count);
    }
    tracing::info!(destination, jobs = verdicts.len(), ?outcomes, "batch settled");
    let settlement = Settlement { lease, verdicts, follow_ups };
    if let Err(refused) = lane.jobs.settle(settlement).await {
        tracing::warn!(destination, %refused, "a batch could not be settled: it will be sent again");
    }
}

/// Says of a send under which rules it left, and with which fields; what never left says nothing.
fn under(mut verdict: JobVerdict, config: &str, fields: FieldSet) -> JobVerdict {
    if let JobVerdict::Delivered(attempt)
    | JobVerdict::Retry { attempt, .. }
    | JobVerdict::Dead { attempt, .. } = &mut verdict
        && !fields.is_empty()
    {
        config.clone_into(&mut attempt.under);
        attempt.fields = fields.bits();
    }
    verdict
}

/// Counts events whose send has no known result.
pub(super) fn count_unknown(destination: &str, events: u64) {
    if events > 0 {
        metrics::counter!(telemetry::UNKNOWN_RESULTS, "destination" => destination.to_owned())
            .increment(events);
    }
}

/// Counts what an answer told besides, and alerts.
pub(super) fn count_notes(destination: &str, notes: &[Note]) {
    for note in notes {
        let code: String = note.code.chars().take(CODE_LENGTH).collect();
        let message = cut(&note.message);
        if note.alert {
            tracing::error!(destination, code, count = note.count, message, "a platform's warning");
        } else {
            tracing::debug!(destination, code, count = note.count, message, "a platform's note");
        }
        metrics::counter!(telemetry::NOTES, "destination" => destination.to_owned(),
            "code" => code)
        .increment(note.count);
    }
}
