//! A configured destination: what it is asked, and what it is handed.

use std::{fmt::Debug, sync::Arc};

use jiff::Timestamp;

use super::{Answer, Auth, Call, FollowUp, Pace, Probe, Problem, Response, Version};
use crate::{
    consent::{Permit, ReasonCode},
    event::{Currency, Event, Field, FieldSet, Money},
    identity::Memo,
    job::{Prepared, Skip},
};

/// One plan event of an incoming event, about to be prepared for one entry of a destination.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    /// What came in; its amounts, prices and adjustment in `currency`.
    pub event: &'a Event,
    /// What all of its money is in, but `value`, which has a currency of its own. `None`: in none that
    /// may be written.
    pub currency: Option<Currency>,
    /// Whether it came in another one: money among the free properties still is in that.
    pub converted: bool,
    /// Name of the plan event.
    pub plan_event: &'a str,
    /// Which entry of the destination.
    pub entry: u16,
    /// The value decided for this entry, converted if it asks for it.
    pub value: Option<Money>,
    /// There is no value only because there is no rate to convert it by.
    pub unconverted: bool,
    /// A calibrated value, for those that take it beside the revenue.
    pub calibrated: Option<Money>,
    /// The event's country, else its site's, by which phone numbers and postal codes are read.
    pub country: Option<&'a str>,
    /// The site's country.
    pub site_country: Option<&'a str>,
    /// The consent state that came out of the signals.
    pub state: &'a Arc<crate::consent::State>,
    /// Whether the site is sensitive.
    pub sensitive: bool,
    /// To be sent to the platform's test mode only.
    pub test: bool,
    /// What the preparations of this event share.
    pub memo: &'a Memo,
}

/// Why a destination does not take an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is not for this destination.
    Skip(Skip),
    /// It must not go there.
    Held(ReasonCode, String),
}

/// What came out of preparing besides the job itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Preparation {
    /// The job.
    pub prepared: Prepared,
    /// Identity that could not be normalised, with the reason (never the value).
    pub dropped: Vec<(Field, crate::identity::Dropped)>,
    /// Items that were cut from the end, because the platform takes no more.
    pub items_cut: usize,
    /// What else it has no place for: names and why, never values.
    pub left_out: Vec<String>,
}

/// A configured destination: pure, and all that delivery needs to know of a platform.
pub trait Destination: Debug + Send + Sync {
    /// May this platform use the event, and what of it? Hashes inside. The result has a group and
    /// an expiry.
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal>;

    /// Writes HTTP requests as plain data. Every job's index is in exactly one call, in the order
    /// given; all jobs are of one group. A job whose entry today's settings do not have is in none:
    /// callers withdraw such jobs before.
    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call>;

    /// Total: one outcome for each member of the call, in their order; a fault of the destination
    /// if there is one; a follow-up if it wants one. Never panics, whatever the bytes.
    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer;

    /// The fields that its settings choose among those that its platform takes; `None`: all of
    /// them. What is not here never leaves, whatever the rules allow.
    fn chosen(&self) -> Option<FieldSet> {
        None
    }

    /// What proves who we are. What is needed, not how it is got.
    fn auth(&self) -> Auth;

    /// Whether it takes amounts in a currency. One that it does not take is converted where a rate
    /// is configured; `prepare` skips what still has one.
    fn takes_currency(&self, currency: Currency) -> bool {
        let _: Currency = currency;
        true
    }

    /// Whether a body has one currency for all of its money. Where it has, amounts and prices are
    /// converted with the value.
    fn has_one_currency(&self) -> bool {
        true
    }

    /// Whether the platform recognises a resend of this job.
    fn is_deduplicated(&self, job: &Prepared) -> bool;

    /// What to do about events that are refused with this code of the platform's, where its pages
    /// say more than its words.
    fn hint(&self, code: &str) -> Option<&'static str> {
        let _: &str = code;
        None
    }

    /// What an answer tells of the platform's quotas, besides its outcomes.
    fn pace(&self, response: &Response, now: Timestamp) -> Option<Pace> {
        let _: (&Response, Timestamp) = (response, now);
        None
    }

    /// The request of a follow-up that an earlier answer asked for.
    fn follow_up(&self, follow_up: &FollowUp, now: Timestamp) -> Option<Call> {
        let _: (&FollowUp, Timestamp) = (follow_up, now);
        None
    }

    /// What is legal in its settings and likely wrong, with the path of the setting, for `check`.
    fn cautions(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// The version that it calls, where its settings name another one than the platform's.
    fn version(&self) -> Option<Version> {
        None
    }

    /// The platform's least intrusive call that proves the credentials, for whoever only wants to know
    /// whether it answers again. `None`: only a real event can tell.
    fn probe(&self, now: Timestamp) -> Option<Call> {
        let _: Timestamp = now;
        None
    }

    /// One such call for each id that events go to, for `check --online`.
    fn probes(&self, now: Timestamp) -> Vec<Probe> {
        self.probe(now).into_iter().map(|call| Probe { of: String::new(), call }).collect()
    }
}
