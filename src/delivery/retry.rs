//! When to try again: exponential backoff with full jitter, and what a platform asked for.
//!
//! Pure: time and chance are arguments. It refuses to decide whether to try again; that is
//! [`super::settle`].

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};

use crate::config::RetryPolicy;

/// A platform's request to wait is honoured up to this, or up to the policy's own longest wait
/// where that is longer: a broken clock on the other side must not stop a destination for a day. The
/// longest window of a platform's limits is a quarter of an hour.
pub const LONGEST_ASKED: Duration = Duration::from_secs(15 * 60);

/// The longest that one event waits because the platform says that it comes too early.
const LONGEST_OF_EVENT: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest wait of a policy: half of its first ceiling, so that jitter never means at once.
pub fn shortest(policy: &RetryPolicy) -> Duration {
    policy.first.min(policy.max) / 2
}

/// The longest wait that a platform can ask for.
pub fn longest_asked(policy: &RetryPolicy) -> Duration {
    policy.max.max(LONGEST_ASKED)
}

/// The wait after `failures` earlier ones. The ceiling doubles from `first` to `max`; `chance`
/// (0 to 1) picks between the shortest wait and the ceiling.
pub fn backoff(policy: &RetryPolicy, failures: u32, chance: f64) -> Duration {
    let factor = 1u32.checked_shl(failures.min(31)).unwrap_or(u32::MAX);
    let ceiling = policy.first.saturating_mul(factor).min(policy.max);
    let shortest = shortest(policy);
    let chance = if chance.is_finite() { chance.clamp(0.0, 1.0) } else { 0.5 };
    shortest + ceiling.saturating_sub(shortest).mul_f64(chance)
}

/// The wait before the next try: what the platform asked for, clamped, else the backoff.
pub fn wait(policy: &RetryPolicy, failures: u32, asked: Option<Duration>, chance: f64) -> Duration {
    match asked {
        Some(asked) => asked.clamp(shortest(policy), longest_asked(policy)),
        None => backoff(policy, failures, chance),
    }
}

/// The same for one event that the platform says comes too early: nobody else waits for it, so that
/// up to a day is believed.
pub fn wait_of_event(
    policy: &RetryPolicy,
    failures: u32,
    asked: Option<Duration>,
    chance: f64,
) -> Duration {
    match asked {
        Some(asked) => asked.clamp(shortest(policy), LONGEST_OF_EVENT.max(policy.max)),
        None => backoff(policy, failures, chance),
    }
}

/// A job's wait: never past its expiry.
pub fn within(wait: Duration, now: Timestamp, expires_at: Timestamp) -> Duration {
    wait.min(until(expires_at, now))
}

/// How long it is to a time; nothing if it has passed.
pub fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// `now` and a while; the end of time where it does not fit.
pub fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Reads a `Retry-After` header: seconds, or an HTTP date (RFC 9110, section 10.2.3). A date that
/// has passed means at once.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(until(at, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy =
        RetryPolicy { first: Duration::from_secs(1), max: Duration::from_secs(600), attempts: 20 };

    #[test]
    fn ceilings_double_up_to_the_longest() {
        let ceilings: Vec<_> = (0..12).map(|n| backoff(&POLICY, n, 1.0).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        assert_eq!(backoff(&POLICY, u32::MAX, 1.0), POLICY.max);
        assert_eq!(backoff(&POLICY, 9, 0.0), Duration::from_millis(500));
    }

    #[test]
    fn what_a_platform_asks_for_is_clamped() {
        let wait = |asked| wait(&POLICY, 3, Some(Duration::from_secs(asked)), 1.0).as_millis();
        assert_eq!(wait(0), 500);
        assert_eq!(wait(30), 30_000);
        assert_eq!(wait(870), 870_000, "longer than the policy's own");
        assert_eq!(wait(86_400), 900_000);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-11-22T04:00:00Z".parse().unwrap();
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        let date = retry_after("Sun, 22 Nov 2026 04:01:30 GMT", now);
        assert_eq!(date, Some(Duration::from_secs(90)));
        assert_eq!(retry_after("Sun, 22 Nov 2026 03:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
    }

    #[test]
    fn no_wait_passes_an_expiry() {
        let now: Timestamp = "2026-11-22T04:00:00Z".parse().unwrap();
        let [second, five] = [1, 5].map(Duration::from_secs);
        let expires = later(now, five);
        assert_eq!(within(Duration::from_secs(60), now, expires), five);
        assert_eq!(within(second, now, expires), second);
        assert_eq!(within(second, expires, now), Duration::ZERO);
    }
}
