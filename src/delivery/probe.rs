//! Finds out whether a failing destination works again: by its platform's own probe, else by one
//! event as the canary.

use std::sync::Arc;

use super::{
    batch::Told,
    health::{Cause, Failing},
    jobs::Jobs,
    lane::{Heard, Lane, Today},
    retry, send,
    worker::NOTHING_DUE,
};
use crate::destinations::{Call, Outcome};

/// A canary is picked out of at most so many jobs, so that one bad event cannot be the only one
/// that is ever tried.
const CANARIES: usize = 100;

/// What a probe told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    Works,
    Fails,
    /// There was nothing to try with.
    Nothing,
}

/// Probes once.
pub(super) async fn run<J: Jobs>(lane: &Lane<J>, today: &Arc<Today>, failing: &Failing) {
    let finding = match own_call(lane, today, failing) {
        Some(call) => match lane.converse(today, &call, true).await {
            Heard::Answer { answer, attempt } => {
                let answered = attempt.status != 429 && attempt.status < 500;
                if answer.fault.is_none() && answered { Finding::Works } else { Finding::Fails }
            }
            Heard::NotSent { .. } | Heard::Lost { .. } | Heard::Fault(_) | Heard::Held => {
                Finding::Fails
            }
        },
        None => by_canary(lane, today, failing).await,
    };
    let now = lane.now();
    let destination = &lane.name;
    match finding {
        Finding::Works => {
            lane.health().recovered(now);
            tracing::info!(destination, "{destination} works again");
            lane.changed.notify_one();
        }
        Finding::Fails => {
            let policy = &today.destination.delivery.retry;
            let failures = failing.probes.saturating_add(1);
            let wait = retry::backoff(policy, failures, (lane.chance)());
            lane.health().still_failing(now, wait);
            let reason = &failing.reason;
            tracing::warn!(destination, reason, failures, "{destination} still fails");
        }
        Finding::Nothing => {}
    }
}

/// Whether the platform has a probe of its own for what is wrong.
pub(super) fn has_call<J: Jobs>(lane: &Lane<J>, today: &Today, failing: &Failing) -> bool {
    own_call(lane, today, failing).is_some()
}

fn own_call<J: Jobs>(lane: &Lane<J>, today: &Today, failing: &Failing) -> Option<Call> {
    match failing.cause {
        // A destination that refuses every event may well take the probe.
        Cause::Refusals => None,
        Cause::Platform(_) => today.destination.handler.probe(lane.now()),
    }
}

async fn by_canary<J: Jobs>(lane: &Lane<J>, today: &Arc<Today>, failing: &Failing) -> Finding {
    let fresh_share = today.destination.delivery.fresh_share;
    let lease = match lane.jobs.lease(&lane.name, CANARIES, fresh_share).await {
        Ok(Some(lease)) => lease,
        Ok(None) => {
            tokio::time::sleep(NOTHING_DUE).await;
            return Finding::Nothing;
        }
        Err(_) => return Finding::Fails,
    };
    match send::canary(lane, today, lease, failing).await {
        Some(told) => read(&told, failing),
        None => Finding::Nothing,
    }
}

fn read(told: &Told, failing: &Failing) -> Finding {
    match (told, failing.cause) {
        (Told::Outcome(Outcome::Delivered, _), _) => Finding::Works,
        (Told::Outcome(Outcome::Rejected { reason, .. }, _), Cause::Refusals) => {
            if *reason == failing.reason { Finding::Fails } else { Finding::Works }
        }
        // Any answer about the event itself means that the credentials are taken.
        (
            Told::Outcome(Outcome::Rejected { .. } | Outcome::Retry { .. }, _),
            Cause::Platform(_),
        ) => Finding::Works,
        (Told::Outcome(..) | Told::Lost(_) | Told::Unsent, _) => Finding::Fails,
    }
}
