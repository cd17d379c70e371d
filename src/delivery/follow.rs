//! Follow-ups: durable questions about earlier calls. They count and alert, and never change a
//! settlement.

use std::sync::Arc;

use super::{
    jobs::Jobs,
    lane::{Heard, Lane, Today},
    retry,
    send::fail,
    settle::{cut, expiry},
    sheet::{Sheet, count_notes},
};
use crate::{
    destinations::{Call, FollowUp},
    queue::{Attempt, JobKind, JobVerdict, Lease, LeasedJob},
};

/// A question that was never answered is given up after so many sends.
const MOST_SENDS: u32 = 50;

/// Puts a follow-up on the sheet, to be queued with the settlement.
pub(super) fn keep(destination: &str, follow_up: &FollowUp, sheet: &mut Sheet) {
    match postcard::to_allocvec(follow_up) {
        Ok(body) => sheet.follow_ups.push((follow_up.due, body)),
        Err(error) => tracing::error!(destination, %error, "a follow-up could not be written"),
    }
}

/// Asks every question of a lease.
pub(super) async fn answer_all<J: Jobs>(
    lane: &Lane<J>,
    today: &Arc<Today>,
    lease: &Lease,
    sheet: &mut Sheet,
) {
    for (position, job) in lease.jobs.iter().enumerate() {
        if job.kind == JobKind::FollowUp {
            let verdict = answer(lane, today, job, sheet).await;
            sheet.set(position, verdict);
        }
    }
}

async fn answer<J: Jobs>(
    lane: &Lane<J>,
    today: &Arc<Today>,
    job: &LeasedJob,
    sheet: &mut Sheet,
) -> JobVerdict {
    let destination = lane.name.as_str();
    let Some(call) = question(destination, today, job, lane.now()) else { return JobVerdict::Done };
    if !lane.may_send() {
        return JobVerdict::Keep;
    }
    let later = |after, attempt| {
        let policy = &today.destination.delivery.retry;
        let wait = retry::wait(policy, job.sends, after, (lane.chance)());
        let now = lane.now();
        JobVerdict::Retry { due: retry::due(now, wait, expiry(job)), counts: false, attempt }
    };
    match lane.converse(today, &call, false).await {
        Heard::Held => JobVerdict::Keep,
        Heard::Fault(fault) => {
            fail(lane, today, fault);
            JobVerdict::Keep
        }
        // Asking twice does no harm.
        Heard::NotSent { after, attempt } => later(after, attempt),
        Heard::Lost { attempt } => later(None, attempt),
        Heard::Answer { answer, attempt } => {
            count_notes(destination, &answer.notes);
            if let Some(fault) = answer.fault {
                fail(lane, today, fault);
                return JobVerdict::Keep;
            }
            if let Some(next) = answer.follow_up {
                keep(destination, &next, sheet);
                return JobVerdict::Done;
            }
            if attempt.status == 429 || attempt.status >= 500 {
                let message = cut("no answer to a follow-up");
                return later(None, Attempt { message, ..attempt });
            }
            JobVerdict::Done
        }
    }
}

fn question(
    destination: &str,
    today: &Today,
    job: &LeasedJob,
    now: jiff::Timestamp,
) -> Option<Call> {
    if job.sends >= MOST_SENDS || now >= expiry(job) {
        tracing::warn!(destination, "a platform never said what became of a request");
        return None;
    }
    match postcard::from_bytes::<FollowUp>(&job.body) {
        Ok(follow_up) => today.destination.handler.follow_up(&follow_up, now),
        Err(error) => {
            tracing::error!(destination, %error, "a follow-up cannot be read");
            None
        }
    }
}
