//! How a destination is: running, held for a while, failing, paused. Pure: time is an argument.
//!
//! It judges from what was told; it refuses to send, to wait, and to touch an event.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{
    batch::{Refusal, Told},
    retry::later,
};
use crate::destinations::{FaultKind, Outcome};

/// So many events refused in a row for one reason, and none delivered: the destination is at fault.
const IN_A_ROW: u32 = 50;

/// The same, where another event was delivered after the first refusals for that reason: then
/// these are most likely the events' own.
const IN_A_ROW_TOLERATED: u32 = 1_000;

/// How long such a delivery counts as proof.
const TOLERANCE: Duration = Duration::from_secs(3_600);

/// Groups of one destination that are told apart; further ones share its lot.
const GROUPS: usize = 64;

/// What is wrong with a failing destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its platform said so.
    Platform(FaultKind),
    /// It refuses everything for one reason.
    Refusals,
}

/// A destination at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// What is wrong.
    pub cause: Cause,
    /// The platform's own code.
    pub reason: String,
    /// Its words.
    pub message: String,
    /// Probes that did not help.
    pub probes: u32,
    /// How many deliveries there had been.
    after: u64,
    /// When the next probe was decided on, and when it is.
    next_probe: (Timestamp, Timestamp),
}

/// What delivery may do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send; `alone` while the destination is in trouble: one batch at a time.
    Send {
        /// One batch at a time.
        alone: bool,
    },
    /// Find out whether a failing destination works again.
    Probe(Failing),
    /// Nothing until then; `None`: until somebody resumes it.
    Wait(Option<Timestamp>),
}

/// The state of one destination.
#[derive(Debug, Default)]
pub struct Health {
    paused: bool,
    failing: Option<Failing>,
    hold: Option<(Timestamp, Timestamp)>,
    troubles: u32,
    refusals: Option<(String, u32)>,
    tolerated: Option<(String, Timestamp)>,
    /// Probes of the last fault, until something is delivered: a destination that only seems to work
    /// again is asked ever less often.
    relapses: u32,
    groups: BTreeMap<String, Group>,
    deliveries: u64,
}

/// One group of a destination's events, such as those of one pixel among several.
#[derive(Debug, Default)]
struct Group {
    /// Which of the destination's deliveries was its last; 0: none.
    delivered: u64,
    /// It is at fault alone.
    held: Option<Failing>,
}

impl Health {
    /// What may be done now.
    pub fn step(&self, now: Timestamp) -> Step {
        if self.paused {
            return Step::Wait(None);
        }
        if let Some(failing) = &self.failing {
            return match failing.next_probe {
                // As below: a probe that was decided on later than now waits for no clock.
                (from, at) if from <= now && now < at => Step::Wait(Some(at)),
                _ => Step::Probe(failing.clone()),
            };
        }
        match self.hold {
            // A hold that begins later than now was made by a clock that has since been put back.
            Some((from, until)) if from <= now && now < until => Step::Wait(Some(until)),
            Some(_) | None => Step::Send { alone: self.troubles > 0 },
        }
    }

    /// Stops sending until it is resumed.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Sends again; a failing destination is probed at once.
    pub fn resume(&mut self, now: Timestamp) {
        self.paused = false;
        self.hold = None;
        self.look_again(now);
    }

    /// Probes a failing destination at once, such as after a new configuration.
    pub fn look_again(&mut self, now: Timestamp) {
        let held = self.groups.values_mut().filter_map(|group| group.held.as_mut());
        for failing in held.chain(&mut self.failing) {
            failing.next_probe = (now, now);
        }
    }

    /// Whether somebody paused it.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// What is wrong, if it is failing.
    pub fn failing(&self) -> Option<&Failing> {
        self.failing.as_ref()
    }

    /// What is wrong with one of its groups, if one is at fault alone.
    pub fn failing_group(&self) -> Option<&Failing> {
        self.groups.values().find_map(|group| group.held.as_ref())
    }

    /// How long a group that is at fault alone is left alone.
    pub fn held(&self, group: &str, now: Timestamp) -> Option<Duration> {
        let (from, at) = self.groups.get(group)?.held.as_ref()?.next_probe;
        (from <= now && now < at).then(|| Duration::try_from(at.duration_since(now)).ok())?
    }

    /// A fault is a group's own where another group was delivered to since this one last was: then it
    /// alone is held, for `backoff` after so many times. Returns whether that is news; `None`: the
    /// destination is at fault.
    pub fn hold_group(
        &mut self,
        group: &str,
        (cause, refusal): (Cause, &Refusal),
        now: Timestamp,
        backoff: impl FnOnce(u32) -> Duration,
    ) -> Option<bool> {
        let own = self.groups.get(group).map_or(0, |group| group.delivered);
        if !self.groups.iter().any(|(name, other)| name != group && other.delivered > own) {
            return None;
        }
        if self.held(group, now).is_some() {
            return Some(false);
        }
        // Taken for the whole destination's, until others were delivered to all the same.
        if let Some(Failing { cause: Cause::Platform(_), after, .. }) = self.failing
            && self.groups.iter().any(|(name, other)| name != group && other.delivered > after)
        {
            self.failing = None;
        }
        let deliveries = self.deliveries;
        let held = &mut self.group(group)?.held;
        let probes = held.as_ref().map_or(0, |held| held.probes.saturating_add(1));
        let news = held.is_none();
        let Refusal { reason, message } = refusal.clone();
        let next_probe = (now, later(now, backoff(probes)));
        *held = Some(Failing { cause, reason, message, probes, after: deliveries, next_probe });
        Some(news)
    }

    /// Something of a group was delivered. Returns whether it had been at fault alone.
    pub fn delivered(&mut self, group: &str) -> bool {
        self.relapses = 0;
        self.deliveries = self.deliveries.saturating_add(1);
        let last = self.deliveries;
        let Some(group) = self.group(group) else { return false };
        group.delivered = last;
        group.held.take().is_some()
    }

    fn group(&mut self, name: &str) -> Option<&mut Group> {
        if self.groups.len() >= GROUPS && !self.groups.contains_key(name) {
            return None;
        }
        Some(self.groups.entry(name.to_owned()).or_default())
    }

    /// How often in a row it was out of order or throttled.
    pub fn troubles(&self) -> u32 {
        self.troubles
    }

    /// It is at fault; the first probe comes after `backoff` for so many that did not help, which
    /// are none, unless nothing was delivered since the last fault. Returns whether that is news.
    pub fn fail(
        &mut self,
        cause: Cause,
        refusal: Refusal,
        now: Timestamp,
        backoff: impl FnOnce(u32) -> Duration,
    ) -> bool {
        let news = self.failing.is_none();
        if news {
            let Refusal { reason, message } = refusal;
            let probes = self.relapses;
            let next_probe = (now, later(now, backoff(probes)));
            let after = self.deliveries;
            self.failing = Some(Failing { cause, reason, message, probes, after, next_probe });
            self.refusals = None;
        }
        news
    }

    /// A probe did not help; the next one comes after `wait`.
    pub fn still_failing(&mut self, now: Timestamp, wait: Duration) {
        if let Some(failing) = &mut self.failing {
            failing.probes = failing.probes.saturating_add(1);
            failing.next_probe = (now, later(now, wait));
        }
    }

    /// It works again. If it had refused everything for one reason, that reason is tolerated now:
    /// what it still refuses for it is the events' own fault.
    pub fn recovered(&mut self, now: Timestamp) {
        let Some(failing) = self.failing.take() else { return };
        self.relapses = failing.probes.saturating_add(1);
        self.refusals = None;
        self.troubles = 0;
        if failing.cause == Cause::Refusals {
            self.tolerated = Some((failing.reason, later(now, TOLERANCE)));
        }
    }

    /// It is out of order or throttled: nothing is sent until `until`. Answers of one outage that
    /// come together count once.
    pub fn trouble(&mut self, now: Timestamp, until: Timestamp) {
        match &mut self.hold {
            Some((from, end)) if *from <= now && now < *end => *end = until.max(*end),
            hold => {
                *hold = Some((now, until));
                self.troubles = self.troubles.saturating_add(1);
            }
        }
    }

    /// Nothing is sent until `until`, which is nobody's fault (a quota is used up).
    pub fn hold(&mut self, now: Timestamp, until: Timestamp) {
        self.hold = Some((now, until));
    }

    /// The same, never shorter than what holds already.
    pub fn slow(&mut self, now: Timestamp, until: Timestamp) {
        match &mut self.hold {
            Some((from, end)) if *from <= now && now < *end => *end = until.max(*end),
            hold => *hold = Some((now, until)),
        }
    }

    /// It answered in order.
    pub fn in_order(&mut self) {
        self.troubles = 0;
    }

    /// The reason whose refusals are the events' own fault.
    pub fn tolerated(&self, now: Timestamp) -> Option<String> {
        let current = self.tolerated.as_ref().filter(|(_, until)| now < *until);
        current.map(|(reason, _)| reason.clone())
    }

    /// Looks at what a whole lease was told: so many refusals in a row for one reason, and nothing
    /// delivered, are the destination's fault.
    pub fn judge(&mut self, told: &[Told], now: Timestamp) -> Option<Refusal> {
        let is_delivered = |told: &Told| matches!(told, Told::Outcome(Outcome::Delivered, _));
        let delivered = told.iter().any(is_delivered);
        if delivered {
            self.refusals = None;
            if let Some((_, until)) = &mut self.tolerated {
                *until = if now < *until { later(now, TOLERANCE) } else { *until };
            }
        }
        let mut words = None;
        for told in told {
            match told {
                Told::Outcome(Outcome::Delivered, _) => self.refusals = None,
                Told::Outcome(Outcome::Rejected { reason, message }, _) => {
                    match &mut self.refusals {
                        Some((last, count)) if last == reason => *count = count.saturating_add(1),
                        refusals => *refusals = Some((reason.clone(), 1)),
                    }
                    words = Some(message);
                }
                Told::Outcome(..) | Told::Lost(_) | Told::Unsent => {}
            }
        }
        let (reason, count) = self.refusals.as_ref()?;
        let is_tolerated = self.tolerated(now).is_some_and(|tolerated| tolerated == *reason);
        let limit = if is_tolerated { IN_A_ROW_TOLERATED } else { IN_A_ROW };
        let at_fault = !delivered && *count >= limit;
        let message = words.filter(|_| at_fault)?.clone();
        Some(Refusal { reason: reason.clone(), message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Attempt;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn refused(reason: &str) -> Told {
        let (reason, message) = (reason.to_owned(), "no".to_owned());
        Told::Outcome(Outcome::Rejected { reason, message }, Attempt::default())
    }

    fn delivered() -> Told {
        Told::Outcome(Outcome::Delivered, Attempt::default())
    }

    fn refusal(reason: &str) -> Refusal {
        Refusal { reason: reason.to_owned(), message: String::new() }
    }

    #[test]
    fn a_failing_destination_is_probed_and_recovers() {
        let mut health = Health::default();
        let cause = Cause::Platform(FaultKind::Unauthorized);
        assert!(health.fail(cause, refusal("190"), at(0), |_| SECOND));
        assert!(!health.fail(cause, refusal("190"), at(0), |_| SECOND * 50), "no news");
        assert_eq!(health.step(at(0)), Step::Wait(Some(at(1))));
        assert!(matches!(health.step(at(1)), Step::Probe(_)));
        health.still_failing(at(1), SECOND * 2);
        assert_eq!(health.step(at(1)), Step::Wait(Some(at(3))));
        // A clock that was put back does not put the probe off.
        assert!(matches!(health.step(at(-3_600)), Step::Probe(_)));
        health.look_again(at(2));
        assert!(matches!(health.step(at(2)), Step::Probe(Failing { probes: 1, .. })));
        health.recovered(at(2));
        assert_eq!(health.step(at(2)), Step::Send { alone: false });
        assert_eq!(health.tolerated(at(2)), None);
    }

    #[test]
    fn who_only_seems_to_work_again_is_asked_ever_less_often() {
        let mut health = Health::default();
        let cause = Cause::Platform(FaultKind::Misconfigured);
        let seconds = |probes: u32| SECOND * (probes + 1);
        for round in 0..3 {
            health.fail(cause, refusal("403"), at(0), seconds);
            assert_eq!(health.step(at(0)), Step::Wait(Some(at(round + 1))));
            health.recovered(at(0));
        }
        health.delivered("");
        health.fail(cause, refusal("403"), at(0), seconds);
        assert_eq!(health.step(at(0)), Step::Wait(Some(at(1))), "it did work");
    }

    #[test]
    fn a_group_is_at_fault_alone_where_others_are_delivered_to() {
        let mut health = Health::default();
        let refused = refusal("wrong id");
        let fault = (Cause::Platform(FaultKind::Misconfigured), &refused);
        let seconds = |probes: u32| SECOND * (probes + 1);
        assert_eq!(health.hold_group("b", fault, at(0), seconds), None, "nothing tells them apart");
        health.delivered("a");
        assert_eq!(health.hold_group("a", fault, at(0), seconds), None, "it is the newest itself");
        assert_eq!(health.hold_group("b", fault, at(0), seconds), Some(true));
        assert_eq!(health.hold_group("b", fault, at(0), seconds), Some(false), "in the same hold");
        assert_eq!((health.held("b", at(0)), health.held("a", at(0))), (Some(SECOND), None));
        assert_eq!((health.held("b", at(1)), health.held("b", at(-9))), (None, None));
        assert_eq!(health.step(at(0)), Step::Send { alone: false }, "the others go on");
        assert_eq!(health.hold_group("b", fault, at(1), seconds), Some(false));
        assert_eq!(health.held("b", at(1)), Some(SECOND * 2), "ever less often");
        assert!(health.failing_group().is_some());
        assert!(health.delivered("b") && !health.delivered("b"));
        assert_eq!((health.failing_group(), health.held("b", at(1))), (None, None));
        // Credentials that are revoked hit first one and then the other: the last one tells.
        assert_eq!(health.hold_group("a", fault, at(2), seconds), Some(true));
        assert_eq!(health.hold_group("b", fault, at(2), seconds), None);
        // One that was taken for the destination's is found to be the group's own.
        assert!(health.fail(fault.0, refused.clone(), at(3), seconds));
        assert_eq!(health.hold_group("b", fault, at(3), seconds), None);
        assert!(health.failing().is_some());
        health.delivered("a");
        assert_eq!(health.hold_group("b", fault, at(3), seconds), Some(true));
        assert_eq!(health.failing(), None);
        (0..200).for_each(|n| _ = health.delivered(&n.to_string()));
        assert!(health.groups.len() <= GROUPS);
    }

    #[test]
    fn paused_beats_everything_until_resumed() {
        let mut health = Health::default();
        health.fail(Cause::Refusals, refusal("x"), at(0), |_| SECOND);
        health.pause();
        assert_eq!(health.step(at(9)), Step::Wait(None));
        health.resume(at(9));
        assert!(matches!(health.step(at(9)), Step::Probe(_)));
    }

    #[test]
    fn an_outage_counts_once_and_lets_one_batch_through_at_a_time() {
        let mut health = Health::default();
        health.trouble(at(10), at(20));
        health.trouble(at(11), at(15));
        assert_eq!(health.troubles(), 1);
        assert_eq!(health.step(at(19)), Step::Wait(Some(at(20))));
        assert_eq!(health.step(at(20)), Step::Send { alone: true });
        assert_eq!(health.step(at(5)), Step::Send { alone: true }, "the clock was put back");
        health.trouble(at(20), at(40));
        assert_eq!(health.troubles(), 2);
        health.in_order();
        assert_eq!(health.step(at(40)), Step::Send { alone: false });
    }

    #[test]
    fn fifty_refused_in_a_row_are_the_destinations_fault() {
        let mut health = Health::default();
        assert_eq!(health.judge(&vec![refused("a"); 30], at(0)), None);
        assert_eq!(health.judge(&vec![refused("a"); 19], at(0)), None);
        let fault = health.judge(&[refused("a")], at(0));
        assert_eq!(fault.map(|fault| fault.reason).as_deref(), Some("a"));
    }

    #[test]
    fn a_delivery_or_another_reason_starts_the_count_anew() {
        let mut health = Health::default();
        health.judge(&vec![refused("a"); 49], at(0));
        health.judge(&[refused("b")], at(0));
        assert_eq!(health.judge(&[refused("a")], at(0)), None);

        let mut mixed = vec![refused("a"); 60];
        mixed.insert(0, delivered());
        assert_eq!(Health::default().judge(&mixed, at(0)), None);
    }

    #[test]
    fn a_reason_under_which_others_arrive_is_tolerated_for_a_while() {
        let mut health = Health::default();
        health.fail(Cause::Refusals, refusal("a"), at(0), |_| SECOND);
        health.recovered(at(1));
        assert_eq!(health.tolerated(at(2)).as_deref(), Some("a"));
        assert_eq!(health.judge(&vec![refused("a"); 500], at(2)), None);
        assert!(health.judge(&vec![refused("a"); 500], at(3)).is_some());
        assert_eq!(health.tolerated(at(4_000)), None);
    }
}
