//! Follow-ups: durable questions about earlier calls. They count and alert, and never change a
//! settlement.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    jobs::Jobs,
    lane::{Heard, Lane, Today},
    retry,
    send::fail,
    settle::{cut, expiry},
    sheet::{Sheet, count_notes},
};
use crate::{
    destinations::FollowUp,
    queue::{Attempt, JobKind, JobVerdict, Lease, LeasedJob},
};

/// A question that was never answered is given up after so many leases. One that is asked in days is
/// leased once an hour until then, since the queue lets nothing wait for longer.
const MOST_SENDS: u32 = 200;
/// A question's time is kept in seconds: this early it is asked.
const EARLY: Duration = Duration::from_secs(1);

/// Puts a follow-up on the sheet, to be queued with the settlement.
pub(super) fn keep<J: Jobs>(lane: &Lane<J>, follow_up: &FollowUp, sheet: &mut Sheet) {
    match postcard::to_allocvec(follow_up) {
        Ok(body) => sheet.follow_ups.push((retry::until(follow_up.due, lane.now()), body)),
        Err(error) => {
            let destination = &lane.name;
            tracing::error!(destination, %error, "a follow-up could not be written");
        }
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
    let now = lane.now();
    let Some(question) = read(destination, job, now) else { return JobVerdict::Done };
    let early = retry::until(question.due, now);
    if early > EARLY {
        return JobVerdict::Retry { wait: early, counts: false, attempt: Attempt::default() };
    }
    let handler = &today.destination.handler;
    let Some(call) = handler.follow_up(&question, now) else { return JobVerdict::Done };
    if !lane.may_send() {
        return JobVerdict::Keep;
    }
    let later = |after, attempt| {
        let policy = &today.destination.delivery.retry;
        let wait = retry::wait(policy, job.sends, after, (lane.chance)());
        let wait = retry::within(wait, lane.now(), expiry(job));
        JobVerdict::Retry { wait, counts: false, attempt }
    };
    match lane.converse(today, &call, false).await {
        Heard::Held => JobVerdict::Keep,
        Heard::Fault(fault) => {
            fail(lane, today, None, fault);
            JobVerdict::Keep
        }
        // Asking twice does no harm.
        Heard::NotSent { after, attempt } => later(after, attempt),
        Heard::Lost { attempt } => later(None, attempt),
        Heard::Answer { answer, attempt } => {
            count_notes(destination, &answer.notes);
            if let Some(fault) = answer.fault {
                fail(lane, today, None, fault);
                return JobVerdict::Keep;
            }
            if let Some(next) = answer.follow_up {
                keep(lane, &next, sheet);
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

fn read(destination: &str, job: &LeasedJob, now: Timestamp) -> Option<FollowUp> {
    if job.sends >= MOST_SENDS || now >= expiry(job) {
        tracing::warn!(destination, "a platform never said what became of a request");
        return None;
    }
    match postcard::from_bytes(&job.body) {
        Ok(question) => Some(question),
        Err(error) => {
            tracing::error!(destination, %error, "a follow-up cannot be read");
            None
        }
    }
}
