//! One lease on its way: today's rules, batches, calls, verdicts, one settlement.
//!
//! Whatever happens, a lease ends in exactly one settlement with a verdict for each of its jobs.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;

use super::{
    batch::{Batch, Part, Refusal, Told, keep_refused},
    follow,
    health::{Cause, Failing},
    jobs::Jobs,
    lane::{Heard, Lane, Today},
    recheck::{Checked, recheck},
    retry,
    settle::{self, Terms, expiry, verdict},
    sheet::{Sheet, count_notes, count_unknown, settle_all},
};
use crate::{
    config::OnUnknown,
    consent::memory::Remembered,
    destinations::{Answer, Call, Dedup, Fault, Outcome},
    job::Prepared,
    queue::{Attempt, JobKind, JobVerdict, Lease, LeasedJob},
    telemetry,
};

/// Sends a lease's jobs and settles it.
pub(super) async fn run<J: Jobs>(lane: Arc<Lane<J>>, today: Arc<Today>, lease: Lease) {
    send(&lane, &today, lease, None).await;
}

/// Sends one job of a lease to a failing destination, and settles it with the others kept as they
/// were. Returns what the one was told; `None` if there was nothing to send.
pub(super) async fn canary<J: Jobs>(
    lane: &Lane<J>,
    today: &Arc<Today>,
    lease: Lease,
    failing: &Failing,
) -> Option<Told> {
    send(lane, today, lease, Some(failing)).await
}

async fn send<J: Jobs>(
    lane: &Lane<J>,
    today: &Arc<Today>,
    lease: Lease,
    failing: Option<&Failing>,
) -> Option<Told> {
    let (lease, checked) = check_all(today, lease, lane.now()).await?;
    let mut sheet = Sheet::new(lease.jobs.len());
    let mut sendable = Sendable::default();
    for (position, checked) in checked.into_iter().enumerate() {
        match checked {
            Some(Checked::Send(prepared)) => {
                sheet.name(position, &prepared.event);
                sheet.lets(position, prepared.present());
                sendable.positions.push(position);
                sendable.jobs.push(*prepared);
            }
            Some(Checked::Over(verdict, event)) => {
                sheet.name(position, &event);
                sheet.set(position, verdict);
            }
            None => {}
        }
    }
    // Before a canary is chosen: the mark goes with the settlement of the whole lease.
    drop_unknown(lane, today, &lease, &mut sendable, &mut sheet);
    let all = sendable.positions.clone();
    let policy = &today.destination.delivery;
    if failing.is_some() {
        sendable.keep_one((lane.chance)());
    } else {
        follow::answer_all(lane, today, &lease, &mut sheet).await;
        let held = lane.health().held(group_of(&lease), lane.now());
        if let Some(wait) = held {
            postpone_all(&lease, &all, wait, lane.now(), &mut sheet);
            sendable = Sendable::default();
        }
    }

    let told = converse_all(lane, today, &lease, sendable, &mut sheet, failing.is_some()).await;
    let now = lane.now();
    if told.iter().any(|(_, told)| matches!(told, Told::Outcome(Outcome::Delivered, _))) {
        note_delivery(lane, group_of(&lease));
    }
    // Another one is the next canary: this one's group may be what is at fault.
    if let (Some(failing), Some((_, Told::Unsent))) = (failing, told.first()) {
        let wait = retry::backoff(&policy.retry, failing.probes.saturating_add(1), (lane.chance)());
        postpone_all(&lease, &all, wait, now, &mut sheet);
    }
    // The trouble that these jobs met is not an earlier one.
    let troubles = lane.health().troubles().saturating_sub(1);
    let terms = Terms { policy, now, troubles };
    let canary = told.first().filter(|_| failing.is_some()).map(|(_, told)| told.clone());
    for (position, told) in told {
        let Some(job) = lease.jobs.get(position) else { continue };
        let ruling = match failing.and_then(|failing| postponed(&told, failing)) {
            Some(attempt) => {
                let probes = failing.map_or(0, |failing| failing.probes.saturating_add(1));
                let wait = retry::backoff(&policy.retry, probes, (lane.chance)());
                let wait = retry::within(wait, now, expiry(job));
                JobVerdict::Retry { wait, counts: false, attempt }
            }
            None => verdict(job, told, &terms, (lane.chance)()),
        };
        if ruling == JobVerdict::Keep && failing.is_some() {
            continue;
        }
        sheet.set(position, ruling);
    }
    settle_all(lane, lease, sheet, &today.config.hash, now).await;
    canary
}

/// What one lease's jobs have in common: where they go.
pub(super) fn group_of(lease: &Lease) -> &str {
    lease.jobs.first().map_or("", |job| job.group.as_str())
}

fn note_delivery<J: Jobs>(lane: &Lane<J>, group: &str) {
    if lane.health().delivered(group) {
        let destination = &lane.name;
        tracing::info!(destination, group, "{destination} takes what goes to {group:?} again");
    }
}

/// Puts a whole lease off, unsent: where it goes is at fault.
pub(super) async fn postpone<J: Jobs>(lane: &Lane<J>, today: &Today, lease: Lease, wait: Duration) {
    let mut sheet = Sheet::new(lease.jobs.len());
    let all: Vec<usize> = (0..lease.jobs.len()).collect();
    let now = lane.now();
    postpone_all(&lease, &all, wait, now, &mut sheet);
    settle_all(lane, lease, sheet, &today.config.hash, now).await;
}

fn postpone_all(lease: &Lease, all: &[usize], wait: Duration, now: Timestamp, sheet: &mut Sheet) {
    for position in all {
        if let Some(job) = lease.jobs.get(*position) {
            let wait = retry::within(wait, now, expiry(job));
            sheet.set(*position, JobVerdict::Postponed { wait });
        }
    }
}

/// A canary that was refused like all before it is no more at fault than they: it is kept for
/// later, so that the next probe tries another one.
fn postponed(told: &Told, failing: &Failing) -> Option<Attempt> {
    match told {
        Told::Outcome(Outcome::Rejected { reason, message }, attempt)
            if failing.cause == Cause::Refusals && *reason == failing.reason =>
        {
            let (reason, message) = (reason.clone(), settle::cut(message));
            Some(Attempt { reason, message, ..attempt.clone() })
        }
        Told::Outcome(..) | Told::Lost(_) | Told::Unsent => None,
    }
}

/// The jobs of a lease that may be sent, with their positions in it.
#[derive(Debug, Default)]
struct Sendable {
    positions: Vec<usize>,
    jobs: Vec<Prepared>,
}

impl Sendable {
    fn keep_one(&mut self, chance: f64) {
        let count = self.jobs.len();
        // As exact as it needs to be: which job is tried does not matter, only that it varies.
        let index = ((count as f64 * chance) as usize).min(count.saturating_sub(1));
        self.jobs = self.jobs.drain(..).skip(index).take(1).collect();
        self.positions = self.positions.drain(..).skip(index).take(1).collect();
    }

    fn remove_if(&mut self, mut is_out: impl FnMut(usize, &Prepared) -> bool) {
        let pairs = self.positions.drain(..).zip(self.jobs.drain(..));
        let (positions, jobs) = pairs.filter(|(position, job)| !is_out(*position, job)).unzip();
        (self.positions, self.jobs) = (positions, jobs);
    }
}

/// Applies today's rules to a lease, on a thread that may be busy for a while. A job that cannot
/// even be looked at is tried again later, and dies of it in the end.
async fn check_all(
    today: &Arc<Today>,
    lease: Lease,
    now: Timestamp,
) -> Option<(Lease, Vec<Option<Checked>>)> {
    let today = Arc::clone(today);
    let checking = move || {
        let check = |job: &LeasedJob, later: Option<&Remembered>| {
            let one = || recheck(&today.config, &today.destination, job, later, now);
            catch_unwind(AssertUnwindSafe(one))
                .unwrap_or_else(|_| Checked::Over(defect(&today, job, now), String::new()))
        };
        let checked = lease
            .jobs
            .iter()
            .enumerate()
            .map(|(position, job)| {
                (job.kind == JobKind::Event).then(|| check(job, lease.later.get(&position)))
            })
            .collect();
        (lease, checked)
    };
    // An error here means that the runtime is shutting down; the lease ends with the process.
    tokio::task::spawn_blocking(checking).await.ok()
}

fn defect(today: &Today, job: &LeasedJob, now: Timestamp) -> JobVerdict {
    let message = "the job cannot be prepared for sending: a defect of the relay".to_owned();
    let told =
        Told::Outcome(Outcome::Retry { after: None, within: None, message }, Attempt::default());
    let terms = Terms { policy: &today.destination.delivery, now, troubles: 0 };
    verdict(job, told, &terms, 1.0)
}

/// A mark says that an earlier send of this lease has no known result: what the platform would not
/// recognise as a resend is dropped, or counted and sent again, as configured.
fn drop_unknown<J: Jobs>(
    lane: &Lane<J>,
    today: &Today,
    lease: &Lease,
    sendable: &mut Sendable,
    sheet: &mut Sheet,
) {
    if !lease.unknown_result {
        return;
    }
    let is_dropped = today.destination.delivery.on_unknown == OnUnknown::Drop;
    let mut unknown = 0;
    sendable.remove_if(|position, job| {
        let is_unknown = !is_resend_safe(today, job);
        unknown += u64::from(is_unknown);
        if is_unknown && is_dropped {
            let message = "sent before a restart, and no answer was seen".to_owned();
            let attempt = Attempt { message, ..Attempt::default() };
            sheet.set(
                position,
                JobVerdict::Dead { code: settle::UNKNOWN_RESULT.to_owned(), attempt },
            );
        }
        is_unknown && is_dropped
    });
    count_unknown(&lane.name, unknown);
}

fn is_resend_safe(today: &Today, job: &Prepared) -> bool {
    match today.destination.platform.dedup {
        Dedup::EventId => true,
        Dedup::Partly | Dedup::None => today.destination.handler.is_deduplicated(job),
    }
}

/// Makes every call that the jobs need. What each was told, by its position in the lease.
async fn converse_all<J: Jobs>(
    lane: &Lane<J>,
    today: &Arc<Today>,
    lease: &Lease,
    sendable: Sendable,
    sheet: &mut Sheet,
    probing: bool,
) -> Vec<(usize, Told)> {
    let Sendable { positions, jobs } = sendable;
    let at_most = today.destination.delivery.max_events.min(today.limiter.events_at_once());
    let tolerated = lane.health().tolerated(lane.now());
    let groups: Vec<&str> = jobs.iter().map(|job| job.group.as_str()).collect();
    let mut batch = Batch::new(&groups, at_most, tolerated);
    let mut needs_mark = !jobs.iter().all(|job| is_resend_safe(today, job));
    let jobs = Arc::new(jobs);
    'parts: while let Some(part) = batch.next_part() {
        let calls = assemble(today, &jobs, &part, lane.now()).await;
        let mut missing: Vec<usize> = part.members.clone();
        for call in calls {
            let members: Vec<usize> =
                call.members.iter().filter_map(|index| part.members.get(*index).copied()).collect();
            missing.retain(|position| !members.contains(position));
            if !probing && !lane.may_send() {
                break 'parts;
            }
            if needs_mark && let Err(refused) = lane.jobs.mark_sending(lease).await {
                let destination = &lane.name;
                tracing::warn!(destination, %refused, "nothing is sent without its mark");
                break 'parts;
            }
            sheet.is_marked |= std::mem::take(&mut needs_mark);
            let heard = lane.converse(today, &call, probing).await;
            let group = group_of(lease);
            if !note(lane, today, (group, &jobs), (&mut batch, &part, &members), heard, sheet) {
                break 'parts;
            }
        }
        forgotten(&mut batch, &part, &missing);
    }
    let (mut told, mut refusal) = batch.finish();
    if !probing && refusal.is_none() {
        refusal = lane.health().judge(&told, lane.now());
        if let Some(refusal) = &refusal {
            keep_refused(&mut told, &refusal.reason);
        }
    }
    if let Some(refusal) = refusal {
        lane.fail(today, None, Cause::Refusals, refusal);
    }
    positions.into_iter().zip(told).collect()
}

/// Writes a part's requests. A platform whose code fails writes none.
async fn assemble(
    today: &Arc<Today>,
    jobs: &Arc<Vec<Prepared>>,
    part: &Part,
    now: Timestamp,
) -> Vec<Call> {
    let (today, jobs, members) = (Arc::clone(today), Arc::clone(jobs), part.members.clone());
    let writing = move || {
        let handler = &today.destination.handler;
        // Most parts are a stretch of the lease, which needs no copy.
        let stretch = match (members.first(), members.last()) {
            (Some(first), Some(last)) if last - first + 1 == members.len() => {
                jobs.get(*first..=*last)
            }
            _ => None,
        };
        match stretch {
            Some(stretch) => handler.assemble(stretch, now),
            None => {
                let picked: Vec<Prepared> =
                    members.iter().filter_map(|position| jobs.get(*position).cloned()).collect();
                handler.assemble(&picked, now)
            }
        }
    };
    tokio::task::spawn_blocking(writing).await.unwrap_or_default()
}

/// Every job belongs in a call. One that was written into none counts as tried, so that it ends.
fn forgotten(batch: &mut Batch, part: &Part, missing: &[usize]) {
    let message = "the platform's code wrote no request for it".to_owned();
    let outcome = Outcome::Retry { after: None, within: None, message };
    batch.record(part, missing, vec![outcome; missing.len()], &Attempt::default());
}

/// Notes what was heard of a call. Returns whether the next one may be made.
fn note<J: Jobs>(
    lane: &Lane<J>,
    today: &Today,
    (group, jobs): (&str, &[Prepared]),
    (batch, part, members): (&mut Batch, &Part, &[usize]),
    heard: Heard,
    sheet: &mut Sheet,
) -> bool {
    let unavailable =
        |after, message: &str| Outcome::Unavailable { after, message: message.to_owned() };
    match heard {
        Heard::Held => false,
        Heard::Fault(fault) => {
            fail(lane, today, Some(group), fault);
            false
        }
        Heard::NotSent { after, attempt } => {
            lane.trouble(today, after, &attempt.message);
            let outcomes = vec![unavailable(after, &attempt.message); members.len()];
            batch.record(part, members, outcomes, &attempt);
            true
        }
        Heard::Lost { attempt } => {
            lane.trouble(today, None, &attempt.message);
            let is_safe = |position: &usize| {
                jobs.get(*position).is_some_and(|job| is_resend_safe(today, job))
            };
            let (safe, unsafe_): (Vec<usize>, Vec<usize>) =
                members.iter().copied().partition(is_safe);
            let outcomes = vec![unavailable(None, &attempt.message); safe.len()];
            batch.record(part, &safe, outcomes, &attempt);
            batch.lost(&unsafe_, &attempt);
            count_unknown(&lane.name, u64::try_from(unsafe_.len()).unwrap_or(u64::MAX));
            true
        }
        Heard::Answer { answer, attempt } => {
            let Answer { outcomes, fault, follow_up, notes } = answer;
            count_notes(&lane.name, &notes);
            if let Some(follow_up) = follow_up {
                follow::keep(lane, &follow_up, sheet);
            }
            troubles(lane, today, &outcomes);
            if batch.record(part, members, outcomes, &attempt) {
                metrics::counter!(telemetry::HALVINGS, "destination" => lane.name.clone())
                    .increment(1);
            }
            let goes_on = fault.is_none();
            if let Some(fault) = fault {
                fail(lane, today, Some(group), fault);
            }
            goes_on
        }
    }
}

/// The destination, or one group of its events, is at fault.
pub(super) fn fail<J: Jobs>(lane: &Lane<J>, today: &Today, group: Option<&str>, fault: Fault) {
    let Fault { kind, reason, message } = fault;
    let message = settle::cut(&message);
    lane.fail(today, group, Cause::Platform(kind), Refusal { reason, message });
}

/// Reads from the outcomes how the destination is.
fn troubles<J: Jobs>(lane: &Lane<J>, today: &Today, outcomes: &[Outcome]) {
    let mut trouble: Option<(Option<Duration>, &str)> = None;
    for outcome in outcomes {
        if let Outcome::Unavailable { after, message } | Outcome::Throttled { after, message } =
            outcome
        {
            let longest = trouble.map_or(*after, |(longest, _)| longest.max(*after));
            trouble = Some((longest, message));
        }
    }
    match trouble {
        Some((after, message)) => lane.trouble(today, after, &settle::cut(message)),
        None if outcomes.iter().any(|outcome| *outcome != Outcome::Paused) => {
            lane.health().in_order();
        }
        None => {}
    }
}
