//! Finds out whether a failing destination works again: by its platform's own probe, else by one
//! event as the canary.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;

use super::{
    batch::Told,
    health::{Cause, Failing},
    jobs::Jobs,
    lane::{Failed, Heard, Lane, Today, exchange},
    retry,
    rotation::{Keeper, Rotation},
    send,
    worker::NOTHING_DUE,
};
use crate::{
    config::Config,
    destinations::{Auth, Call, Fault, Outcome, Probe},
    queue::Queue,
};

/// A canary is picked out of at most so many jobs, so that one bad event cannot be the only one
/// that is ever tried.
const CANARIES: usize = 100;

/// Leases that are looked at for a canary after a platform's own probe worked: it may be one of
/// several places that is at fault, and its events stand first.
const LOOKS: usize = 16;

/// What trying a destination's credentials showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// They are taken.
    Taken,
    /// Only a real event can tell, or trying would use a refresh token up with nothing there to
    /// keep its successor.
    Unproven,
    /// They are refused, or a setting is wrong.
    Refused(Fault),
    /// The platform could not be asked.
    Unreachable(String),
}

/// Tries a destination's credentials without sending an event, for `check --online`: by its
/// platform's probe, and by asking for a token where it needs one. `None`: there is no such
/// destination.
pub async fn try_credentials(
    config: Arc<Config>,
    name: &str,
    now: Timestamp,
) -> Option<Credentials> {
    try_credentials_with(config, name, None, now).await
}

/// The same, with a queue to keep what a token service gives in place of a refresh token.
pub async fn try_credentials_with(
    config: Arc<Config>,
    name: &str,
    queue: Option<&Queue>,
    now: Timestamp,
) -> Option<Credentials> {
    let destination = Arc::clone(config.destinations.get(name)?);
    let today = Today::new(config, destination, None, now);
    let handler = &today.destination.handler;
    let auth = handler.auth();
    if matches!(auth, Auth::OAuthRotating { .. }) && queue.is_none() {
        return Some(Credentials::Unproven);
    }
    let rotation = Rotation::default();
    let keeper = || queue.map(|jobs| Keeper { jobs, rotation: &rotation });
    let probes = handler.probes(now);
    if probes.is_empty() {
        return Some(match today.token(&auth, keeper(), now).await {
            Ok(Some(_)) => Credentials::Taken,
            Ok(None) => Credentials::Unproven,
            Err(failed) => failed.into(),
        });
    }
    let has_several = probes.len() > 1;
    let mut refused: Vec<Fault> = Vec::new();
    for Probe { of, call } in &probes {
        let response = match exchange(&today, call, &auth, keeper(), now).await {
            Ok((response, _)) => response,
            Err(Failed::Fault(fault)) => return Some(Credentials::Refused(fault)),
            Err(failed) => return Some(failed.into()),
        };
        match handler.classify(call, &response, now).fault {
            Some(fault) if has_several => {
                refused.push(Fault { message: format!("{of}: {}", fault.message), ..fault });
            }
            Some(fault) => refused.push(fault),
            None if is_answered(response.status) => {}
            None => {
                let why = format!("it answered {}", response.status);
                return Some(Credentials::Unreachable(why));
            }
        }
    }
    Some(together(refused).map_or(Credentials::Taken, Credentials::Refused))
}

/// The first fault, with the words of all: which ids are refused, and which are not, tells whether
/// it is the token or an id.
fn together(faults: Vec<Fault>) -> Option<Fault> {
    let message: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
    let message = message.join("; ");
    faults.into_iter().next().map(|first| Fault { message, ..first })
}

impl From<Failed> for Credentials {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::NotSent { message, .. } | Failed::Lost(message) => {
                Credentials::Unreachable(message)
            }
            Failed::Fault(fault) => Credentials::Refused(fault),
        }
    }
}

/// Whether an answer to a probe says anything of the credentials.
fn is_answered(status: u16) -> bool {
    status != 429 && status < 500
}

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
                let works = answer.fault.is_none() && is_answered(attempt.status);
                // That the platform answers does not mean that it takes events.
                if works { confirmed(lane, today, failing).await } else { Finding::Fails }
            }
            Heard::NotSent { .. } | Heard::Lost { .. } | Heard::Fault(_) | Heard::Held => {
                Finding::Fails
            }
        },
        None => by_canary(lane, today, failing, 1).await,
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

/// After a probe that worked: an event has to arrive as well, if there is one to try.
async fn confirmed<J: Jobs>(lane: &Lane<J>, today: &Arc<Today>, failing: &Failing) -> Finding {
    match by_canary(lane, today, failing, LOOKS).await {
        Finding::Nothing => Finding::Works,
        found => found,
    }
}

/// Tries one event; where that meets the fault, one of another group, out of at most so many leases.
async fn by_canary<J: Jobs>(
    lane: &Lane<J>,
    today: &Arc<Today>,
    failing: &Failing,
    looks: usize,
) -> Finding {
    let policy = &today.destination.delivery;
    let mut at_fault = BTreeSet::new();
    for _ in 0..looks {
        let lease = match lane.jobs.lease(&lane.name, CANARIES, policy.fresh_share).await {
            Ok(Some(lease)) => lease,
            Ok(None) if at_fault.is_empty() => {
                tokio::time::sleep(NOTHING_DUE).await;
                return Finding::Nothing;
            }
            Ok(None) | Err(_) => return Finding::Fails,
        };
        let group = send::group_of(&lease).to_owned();
        if at_fault.contains(&group) {
            let failures = failing.probes.saturating_add(1);
            let wait = retry::backoff(&policy.retry, failures, (lane.chance)());
            send::postpone(lane, today, lease, wait).await;
            continue;
        }
        let Some(told) = send::canary(lane, today, lease, failing).await else {
            return Finding::Nothing;
        };
        match read(&told, failing) {
            // It was found to be the group's own fault: the others go on.
            Finding::Fails if lane.health().failing().is_none() => return Finding::Works,
            Finding::Fails if told == Told::Unsent && !lane.stop.is_cancelled() => {
                at_fault.insert(group);
            }
            found => return found,
        }
    }
    Finding::Fails
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
