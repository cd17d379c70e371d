//! What a job was told → its verdict. Pure, and total over [`Outcome`].
//!
//! Attempts are only counted for answers about the event itself: outages, throttling and
//! authorisation never kill one.

use jiff::Timestamp;

use super::{batch::Told, retry};
use crate::{
    config::{DeliveryPolicy, OnUnknown},
    destinations::Outcome,
    queue::{Attempt, JobVerdict, LeasedJob},
};

/// Dead: the platform refuses the event for good.
pub const REJECTED: &str = "rejected";
/// Dead: as many answers about the event itself as the policy allows.
pub const ATTEMPTS_EXHAUSTED: &str = "attempts_exhausted";
/// Dead: as long as the platform says that it may take, it did not find what the event is about.
pub const NEVER_FOUND: &str = "never_found";
/// Dead: nobody knows whether it arrived, and it must not be sent twice.
pub const UNKNOWN_RESULT: &str = "unknown_result";
/// Expired: older than the platform takes.
pub const TOO_OLD: &str = "too_old";
/// Expired: kept as long as the relay keeps anything.
pub const RETENTION: &str = "retention";

/// A platform's words are cut after so many characters.
const MESSAGE_LENGTH: usize = 500;

/// What a verdict depends on, besides the job and what it was told.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The destination's policy.
    pub policy: &'a DeliveryPolicy,
    /// The time.
    pub now: Timestamp,
    /// How often in a row the destination was out of order or throttled.
    pub troubles: u32,
}

/// The verdict on one job; `chance` (0 to 1) is the jitter of its wait.
pub fn verdict(job: &LeasedJob, told: Told, terms: &Terms<'_>, chance: f64) -> JobVerdict {
    let policy = &terms.policy.retry;
    let again = |failures: u32, asked, attempt| {
        let wait = retry::wait(policy, failures, asked, chance);
        let wait = retry::within(wait, terms.now, expiry(job));
        JobVerdict::Retry { wait, counts: false, attempt }
    };
    let (outcome, attempt) = match told {
        Told::Unsent => return JobVerdict::Keep,
        Told::Lost(attempt) => {
            return match terms.policy.on_unknown {
                OnUnknown::Retry => again(terms.troubles.max(job.sends), None, attempt),
                OnUnknown::Drop => JobVerdict::Dead { code: UNKNOWN_RESULT.to_owned(), attempt },
            };
        }
        Told::Outcome(outcome, attempt) => (outcome, attempt),
    };
    let said = |reason: &str, message: &str| Attempt {
        reason: reason.to_owned(),
        message: cut(message),
        ..attempt.clone()
    };
    match outcome {
        Outcome::Delivered => JobVerdict::Delivered(attempt),
        Outcome::Retry { within: Some(within), message, .. }
            if terms.now >= retry::later(accepted(job), within) =>
        {
            let attempt = said("retry", &message);
            JobVerdict::Dead { code: NEVER_FOUND.to_owned(), attempt }
        }
        Outcome::Retry { message, .. } if job.attempts.saturating_add(1) >= policy.attempts => {
            let attempt = said("retry", &message);
            JobVerdict::Dead { code: ATTEMPTS_EXHAUSTED.to_owned(), attempt }
        }
        Outcome::Resend { .. } => JobVerdict::Keep,
        Outcome::Retry { after, within, message } => {
            let wait = retry::wait_of_event(policy, job.attempts, after, chance);
            let last = within.map(|within| retry::later(accepted(job), within));
            let last = last.unwrap_or(Timestamp::MAX).min(expiry(job));
            let wait = retry::within(wait, terms.now, last);
            JobVerdict::Retry { wait, counts: true, attempt: said("retry", &message) }
        }
        // A job that always meets an outage may be its cause, so that its own sends count too.
        Outcome::Unavailable { after, message } => {
            let failures = terms.troubles.max(job.sends);
            again(failures, after, said("unavailable", &message))
        }
        Outcome::Throttled { after, message } => {
            again(terms.troubles, after, said("throttled", &message))
        }
        Outcome::Rejected { reason, message } | Outcome::CulpritUnknown { reason, message } => {
            JobVerdict::Dead { code: REJECTED.to_owned(), attempt: said(&reason, &message) }
        }
        Outcome::TooLarge => {
            let attempt = said("too_large", "too large for the platform");
            JobVerdict::Dead { code: REJECTED.to_owned(), attempt }
        }
        Outcome::Paused => JobVerdict::Keep,
    }
}

/// When a job began.
fn accepted(job: &LeasedJob) -> Timestamp {
    Timestamp::from_millisecond(job.accepted_at_ms).unwrap_or(Timestamp::MIN)
}

/// When a job is over.
pub fn expiry(job: &LeasedJob) -> Timestamp {
    Timestamp::from_millisecond(job.expires_at_ms).unwrap_or(Timestamp::MAX)
}

/// Outcome and reason of a verdict, as metrics name them. Reasons are the closed codes, never a
/// platform's own.
pub fn label(verdict: &JobVerdict) -> (&'static str, &str) {
    match verdict {
        JobVerdict::Delivered(_) => ("delivered", ""),
        JobVerdict::Retry { counts, attempt, .. } => {
            let known = ["unavailable", "throttled"];
            let reason = known.into_iter().find(|known| *known == attempt.reason);
            ("retried", reason.unwrap_or(if *counts { "retry" } else { UNKNOWN_RESULT }))
        }
        JobVerdict::Keep => ("kept", ""),
        JobVerdict::Postponed { .. } => ("postponed", ""),
        JobVerdict::Dead { code, .. } => ("dead", code),
        JobVerdict::Expired { code } => ("expired", code),
        JobVerdict::Withdrawn { reason, .. } => ("withdrawn", reason),
        JobVerdict::Shadowed => ("shadowed", ""),
        JobVerdict::Done => ("done", ""),
    }
}

/// Cuts a platform's words.
pub fn cut(message: &str) -> String {
    message.chars().take(MESSAGE_LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        config::{RateLimit, RetryPolicy, WhenFull},
        queue::JobKind,
    };

    fn policy(on_unknown: OnUnknown) -> DeliveryPolicy {
        let second = Duration::from_secs(1);
        DeliveryPolicy {
            rate_limit: RateLimit {
                requests_per_second: None,
                events_per_second: None,
                burst: None,
                requests_per_day: None,
            },
            max_events: 10,
            linger: second,
            retry: RetryPolicy { first: second, max: second * 60, attempts: 3 },
            when_full: WhenFull::Shed,
            on_unknown,
            fresh_share: 80,
            timeout: second,
            concurrency: 1,
            allow_private: false,
        }
    }

    fn job(attempts: u32, expires_at_ms: i64) -> LeasedJob {
        LeasedJob {
            label: crate::queue::JobLabel::default(),
            id: [0; 16],
            uncounted: false,
            kind: JobKind::Event,
            group: String::new(),
            expires_at_ms,
            accepted_at_ms: 0,
            attempts,
            sends: attempts,
            subjects: Vec::new(),
            slot: 0,
            body: Vec::new(),
        }
    }

    fn judge(job: &LeasedJob, told: Told, on_unknown: OnUnknown) -> JobVerdict {
        let policy = policy(on_unknown);
        let terms = Terms { policy: &policy, now: Timestamp::UNIX_EPOCH, troubles: 0 };
        verdict(job, told, &terms, 1.0)
    }

    fn told(outcome: Outcome) -> Told {
        Told::Outcome(outcome, Attempt { status: 500, ..Attempt::default() })
    }

    #[test]
    fn only_answers_about_the_event_use_up_its_attempts() {
        let retry = || told(Outcome::Retry { after: None, within: None, message: "hm".to_owned() });
        let far = i64::MAX;
        let verdict = judge(&job(1, far), retry(), OnUnknown::Retry);
        assert!(matches!(verdict, JobVerdict::Retry { counts: true, .. }), "{verdict:?}");
        let verdict = judge(&job(2, far), retry(), OnUnknown::Retry);
        let JobVerdict::Dead { code, attempt } = verdict else { panic!("{verdict:?}") };
        assert_eq!((code.as_str(), attempt.message.as_str()), ("attempts_exhausted", "hm"));

        let down = told(Outcome::Unavailable { after: None, message: String::new() });
        let verdict = judge(&job(1_000, far), down, OnUnknown::Retry);
        assert!(matches!(verdict, JobVerdict::Retry { counts: false, .. }), "{verdict:?}");
    }

    #[test]
    fn what_is_not_there_is_asked_for_as_long_as_the_platform_says() {
        let hour = Duration::from_secs(60 * 60);
        let after_hours = |hours: u32, attempts: u32| {
            let outcome = Outcome::Retry {
                after: Some(6 * hour),
                within: Some(24 * hour),
                message: "not found".to_owned(),
            };
            let now = Timestamp::UNIX_EPOCH + hour * hours;
            let policy = policy(OnUnknown::Retry);
            let terms = Terms { policy: &policy, now, troubles: 0 };
            verdict(&job(attempts, i64::MAX), told(outcome), &terms, 1.0)
        };
        let wait = |hours| match after_hours(hours, 0) {
            JobVerdict::Retry { wait, counts: true, .. } => wait,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            [wait(0), wait(18), wait(23)],
            [6 * hour, 6 * hour, hour],
            "the last try is due"
        );
        for hours in [24, 25, 10_000] {
            let JobVerdict::Dead { code, attempt } = after_hours(hours, 0) else {
                panic!("{hours}")
            };
            assert_eq!((code.as_str(), attempt.message.as_str()), (NEVER_FOUND, "not found"));
        }
        let used_up = after_hours(1, 2);
        assert_eq!(label(&used_up), ("dead", ATTEMPTS_EXHAUSTED), "attempts are still counted");
    }

    #[test]
    fn no_wait_passes_the_expiry() {
        let after = Some(Duration::from_secs(90));
        let throttled = told(Outcome::Throttled { after, message: String::new() });
        let verdict = judge(&job(0, 30_000), throttled, OnUnknown::Retry);
        let JobVerdict::Retry { wait, .. } = verdict else { panic!("{verdict:?}") };
        assert_eq!(wait.as_millis(), 30_000);
    }

    #[test]
    fn a_lost_answer_is_sent_again_or_dropped_as_configured() {
        let lost = || Told::Lost(Attempt::default());
        let again = judge(&job(0, i64::MAX), lost(), OnUnknown::Retry);
        assert!(matches!(again, JobVerdict::Retry { counts: false, .. }));
        assert_eq!(label(&again), ("retried", "unknown_result"));
        let dropped = judge(&job(0, i64::MAX), lost(), OnUnknown::Drop);
        assert_eq!(label(&dropped), ("dead", "unknown_result"));
    }

    #[test]
    fn a_refusal_keeps_the_platforms_code_and_cuts_its_words() {
        let refused =
            told(Outcome::Rejected { reason: "100/28".to_owned(), message: "x".repeat(9_999) });
        let verdict = judge(&job(0, 0), refused, OnUnknown::Retry);
        assert_eq!(label(&verdict), ("dead", "rejected"));
        let JobVerdict::Dead { attempt, .. } = verdict else { panic!() };
        assert_eq!((attempt.reason.as_str(), attempt.message.len()), ("100/28", 500));
    }

    #[test]
    fn what_was_not_sent_stays_as_it_was() {
        assert_eq!(judge(&job(0, 0), Told::Unsent, OnUnknown::Drop), JobVerdict::Keep);
        assert_eq!(judge(&job(0, 0), told(Outcome::Paused), OnUnknown::Drop), JobVerdict::Keep);
    }
}
