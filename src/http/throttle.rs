//! The write keys' own rate limits, and those of each address and session behind a browser's key.

use std::{collections::HashMap, fmt, num::NonZeroU32, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter, clock::Clock as _, clock::DefaultClock,
};

use super::pace::Pace;
use crate::config::{RateLimit, WriteKey};

/// One limiter a key. A reload keeps a limiter whose limit did not change, so that it cannot be
/// used to start anew.
#[derive(Default)]
pub struct Throttle {
    // Read by every request, changed when a key is first seen: a swap, not a lock.
    limiters: ArcSwap<HashMap<String, Arc<Limiter>>>,
    addresses: Pace,
    sessions: Pace,
}

struct Limiter {
    limit: RateLimit,
    limiter: DefaultDirectRateLimiter,
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("keys", &self.limiters.load().len()).finish()
    }
}

impl Throttle {
    /// Takes one request of the key's limit; `Err` with the time to wait.
    pub(super) fn take(&self, key: &WriteKey) -> Result<(), Duration> {
        let Some(limit) = key.rate_limit else { return Ok(()) };
        let Some(per_second) = limit.requests_per_second else { return Ok(()) };
        let known = self.limiters.load().get(&key.name).filter(|own| own.limit == limit).cloned();
        let own = known.unwrap_or_else(|| self.add(&key.name, limit, per_second));
        own.limiter.check().map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }

    /// Takes one request of what an address may do with the key; `Err` with the time to wait.
    pub(super) fn take_address(&self, key: &WriteKey, network: u128) -> Result<(), Duration> {
        let limit = key.rate_limit_per_address;
        let Some(per_second) = limit.requests_per_second else { return Ok(()) };
        let who = (key.name.as_str(), network);
        self.addresses.take(who, per_second, limit.burst.unwrap_or(per_second))
    }

    /// Whether one more event of a session is none too many.
    pub(super) fn take_session(
        &self,
        session: &str,
        per_second: NonZeroU32,
        burst: NonZeroU32,
    ) -> bool {
        self.sessions.take(session, per_second, burst).is_ok()
    }

    fn add(&self, name: &str, limit: RateLimit, per_second: NonZeroU32) -> Arc<Limiter> {
        let quota = Quota::per_second(per_second).allow_burst(limit.burst.unwrap_or(per_second));
        let fresh = Arc::new(Limiter { limit, limiter: RateLimiter::direct(quota) });
        let mut own = Arc::clone(&fresh);
        self.limiters.rcu(|limiters| {
            // Another request may have been first.
            own = match limiters.get(name) {
                Some(other) if other.limit == limit => Arc::clone(other),
                _ => Arc::clone(&fresh),
            };
            let mut limiters = HashMap::clone(limiters);
            limiters.insert(name.to_owned(), Arc::clone(&own));
            limiters
        });
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::KeyKind, sources::fixtures};

    #[test]
    fn a_key_has_its_burst_and_no_more() {
        let throttle = Throttle::default();
        let limit = |burst| {
            Some(RateLimit {
                requests_per_second: NonZeroU32::new(1),
                events_per_second: None,
                burst: NonZeroU32::new(burst),
                requests_per_day: None,
            })
        };
        let key = WriteKey { rate_limit: limit(2), ..fixtures::key(KeyKind::Server) };
        assert!(throttle.take(&key).is_ok() && throttle.take(&key).is_ok());
        let wait = throttle.take(&key).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        let other = WriteKey { name: "other".to_owned(), ..key.clone() };
        assert!(throttle.take(&other).is_ok(), "each key has its own");
        assert!(throttle.take(&key).is_err(), "and keeps it");
        assert!(throttle.take(&WriteKey { rate_limit: limit(3), ..key.clone() }).is_ok());
        assert!(throttle.take(&WriteKey { rate_limit: None, ..key }).is_ok());
    }
}
