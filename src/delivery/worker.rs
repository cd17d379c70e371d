//! The loop of one destination: waits, leases, hands batches to tasks, and ends in order.
//!
//! Order of a stop: the token is cancelled; the loop takes no new lease; batches on their way
//! finish the call that is out and settle; whoever waits for the worker ends that wait by a
//! deadline, which drops the rest: their leases are due again after the next start.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::{
    health::Step,
    jobs::Jobs,
    lane::{Lane, Today},
    probe, send,
};

/// After a queue that said "due" and had nothing: no busy loop.
pub(super) const NOTHING_DUE: Duration = Duration::from_millis(20);

/// After a queue that cannot lease.
const NO_LEASE: Duration = Duration::from_secs(1);

/// The clock is looked at again at least this often while waiting for a time: it may be put.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Runs until the lane is stopped.
pub(super) async fn run<J: Jobs>(lane: Arc<Lane<J>>) {
    // A JoinSet is counter and owner in one: its length is the number of batches on their way, and
    // dropping it ends them.
    let mut batches = JoinSet::new();
    // What waits at the start has lingered long enough.
    let mut was_idle = false;
    while !lane.stop.is_cancelled() {
        while let Some(ended) = batches.try_join_next() {
            note_end(&lane, &ended);
        }
        let Some(today) = lane.today() else {
            pause(&lane, &mut batches, None).await;
            continue;
        };
        let step = lane.health().step(lane.now());
        match step {
            Step::Wait(until) => pause(&lane, &mut batches, until).await,
            Step::Probe(failing) => {
                // A platform's own probe needs no event; a canary does.
                if probe::has_call(&lane, &today, &failing) || is_due(&lane).await {
                    probe::run(&lane, &today, &failing).await;
                }
            }
            Step::Send { alone } => {
                let policy = &today.destination.delivery;
                let room = if alone { 1 } else { policy.concurrency.max(1) };
                if batches.len() >= room {
                    pause(&lane, &mut batches, None).await;
                    continue;
                }
                if !is_due(&lane).await {
                    continue;
                }
                if was_idle && !linger(&lane, policy.linger).await {
                    continue;
                }
                // The wait may have been long: the configuration and the state are looked at anew.
                let Some(today) = lane.today().filter(|_| lane.may_send()) else { continue };
                was_idle = lease(&lane, &today, &mut batches).await;
            }
        }
    }
    while let Some(ended) = batches.join_next().await {
        note_end(&lane, &ended);
    }
}

/// A batch that ended badly keeps its lease until the next start: somebody must know.
fn note_end<J: Jobs>(lane: &Lane<J>, ended: &Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        let destination = &lane.name;
        tracing::error!(destination, %error, "a batch ended by a defect; it is due after a restart");
    }
}

/// Waits for a change, the end of a batch, or a time.
async fn pause<J: Jobs>(lane: &Lane<J>, batches: &mut JoinSet<()>, until: Option<Timestamp>) {
    let wait = until.map_or(LONGEST_SLEEP, |until| {
        Duration::try_from(until.duration_since(lane.now())).unwrap_or_default().min(LONGEST_SLEEP)
    });
    tokio::select! {
        () = lane.stop.cancelled() => {}
        () = lane.changed.notified() => {}
        Some(ended) = batches.join_next(), if !batches.is_empty() => note_end(lane, &ended),
        () = tokio::time::sleep(wait) => {}
    }
}

/// Waits until something may be due; false if something else happened first.
async fn is_due<J: Jobs>(lane: &Lane<J>) -> bool {
    tokio::select! {
        () = lane.stop.cancelled() => false,
        () = lane.changed.notified() => false,
        () = lane.jobs.wait_due(&lane.name) => true,
    }
}

/// Lets a batch fill, once after the queue was empty and never longer than configured. False if
/// something else happened first.
async fn linger<J: Jobs>(lane: &Lane<J>, linger: Duration) -> bool {
    if linger.is_zero() {
        return true;
    }
    tokio::select! {
        () = lane.stop.cancelled() => false,
        () = lane.changed.notified() => false,
        () = tokio::time::sleep(linger) => true,
    }
}

/// Takes a lease and sends it on its way. Returns whether the queue was emptied by it.
async fn lease<J: Jobs>(
    lane: &Arc<Lane<J>>,
    today: &Arc<Today>,
    batches: &mut JoinSet<()>,
) -> bool {
    let policy = &today.destination.delivery;
    match lane.jobs.lease(&lane.name, policy.max_events.max(1), policy.fresh_share).await {
        Ok(Some(lease)) => {
            let is_partial = lease.jobs.len() < policy.max_events;
            batches.spawn(send::run(Arc::clone(lane), Arc::clone(today), lease));
            is_partial
        }
        Ok(None) => {
            tokio::select! {
                () = lane.stop.cancelled() => {}
                () = tokio::time::sleep(NOTHING_DUE) => {}
            }
            true
        }
        Err(refused) => {
            tracing::warn!(destination = lane.name, %refused, "no lease");
            tokio::select! {
                () = lane.stop.cancelled() => {}
                () = tokio::time::sleep(NO_LEASE) => {}
            }
            false
        }
    }
}
