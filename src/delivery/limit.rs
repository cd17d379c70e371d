//! How fast a destination may be called: requests and events a second, and requests a day.
//!
//! It refuses to know what a request is for. Its clock is governor's, so that tests own the time;
//! the day is UTC's and comes as an argument.

use std::{num::NonZeroU32, sync::Mutex, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};

use crate::{config::RateLimit, destinations};

/// Seconds that one request may wait for its events' turn: what was looked at before must not be
/// stale when it is sent, and batches of slow destinations are cut to that.
const LONGEST_TURN: usize = 10;

type Bucket<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// The limits of one destination.
#[derive(Debug)]
pub struct Limiter<C: Clock = DefaultClock> {
    requests: Bucket<C>,
    events: Option<(Bucket<C>, NonZeroU32)>,
    per_day: Option<u64>,
    // A std mutex: held for a few instructions, never over an await.
    day: Mutex<(Option<Date>, u64)>,
    // Tokio's mutex, held while waiting, on purpose: whoever came first goes first, and only one
    // waiter at a time looks at the buckets.
    turn: tokio::sync::Mutex<()>,
    clock: C,
}

/// The day's requests are used up until this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted(pub Timestamp);

impl Limiter {
    /// The limits as configured; the platform's own where the configuration says nothing.
    pub fn new(limit: &RateLimit, default: &destinations::Quota) -> Self {
        Self::with_clock(limit, default, DefaultClock::default())
    }
}

impl<C: Clock> Limiter<C> {
    /// The same over any clock.
    pub fn with_clock(limit: &RateLimit, default: &destinations::Quota, clock: C) -> Self
    where
        C: Clone,
    {
        let default_rate = NonZeroU32::new(default.requests_per_second).unwrap_or(NonZeroU32::MIN);
        let rate = limit.requests_per_second.unwrap_or(default_rate);
        let default_burst = match limit.requests_per_second {
            Some(rate) => rate,
            None => NonZeroU32::new(default.burst).unwrap_or(rate),
        };
        let burst = limit.burst.unwrap_or(default_burst);
        let quota = Quota::per_second(rate).allow_burst(burst);
        let default_events = default.events_per_second.and_then(NonZeroU32::new);
        let events = limit.events_per_second.or(default_events).map(|events| {
            let bucket = RateLimiter::direct_with_clock(Quota::per_second(events), clock.clone());
            (bucket, events)
        });
        Self {
            requests: RateLimiter::direct_with_clock(quota, clock.clone()),
            events,
            per_day: limit.requests_per_day.or(default.requests_per_day),
            day: Mutex::new((None, 0)),
            turn: tokio::sync::Mutex::new(()),
            clock,
        }
    }

    /// The most events that one request may hold: what its turn comes to in [`LONGEST_TURN`]. So no
    /// minute sees more than the rate, a second's worth and one request.
    pub fn events_at_once(&self) -> usize {
        let events = self.events.as_ref().map(|(_, a_second)| a_second.get());
        events.map_or(usize::MAX, |events| {
            usize::try_from(events).unwrap_or(usize::MAX).saturating_mul(LONGEST_TURN)
        })
    }

    /// Waits for the turn of one request with so many events; how long it took. A cancelled wait
    /// may have used up a turn, and never gives one away.
    pub async fn acquire(&self, events: usize, now: Timestamp) -> Result<Duration, Exhausted> {
        self.acquire_by(events, now, tokio::time::sleep).await
    }

    async fn acquire_by<S: Future<Output = ()>>(
        &self,
        events: usize,
        now: Timestamp,
        sleep: impl Fn(Duration) -> S,
    ) -> Result<Duration, Exhausted> {
        let _turn = self.turn.lock().await;
        self.take_of_day(now)?;
        let mut waited = Duration::ZERO;
        let mut left = events;
        while left > 0 {
            match self.take_events(left) {
                Ok(taken) => left -= taken.min(left),
                Err(wait) => {
                    waited += wait;
                    sleep(wait).await;
                }
            }
        }
        while let Some(wait) = self.take_request() {
            waited += wait;
            sleep(wait).await;
        }
        Ok(waited)
    }

    /// Takes one request, or says how long to wait.
    pub fn take_request(&self) -> Option<Duration> {
        let until = self.requests.check().err()?;
        Some(until.wait_time_from(self.clock.now()))
    }

    /// Takes so many events, but at most a second's worth, which is all that the bucket holds: how
    /// many were taken, or how long to wait for them.
    pub fn take_events(&self, events: usize) -> Result<usize, Duration> {
        let wanted = NonZeroU32::new(u32::try_from(events).unwrap_or(u32::MAX));
        let Some(((bucket, most), wanted)) = self.events.as_ref().zip(wanted) else {
            return Ok(events);
        };
        let wanted = wanted.min(*most);
        match bucket.check_n(wanted) {
            Ok(Err(until)) => Err(until.wait_time_from(self.clock.now())),
            // More than the bucket holds (the outer error) is never asked for.
            Ok(Ok(())) | Err(_) => Ok(usize::try_from(wanted.get()).unwrap_or(events)),
        }
    }

    /// How many requests of the day of `now` are used up: to be kept over a new configuration.
    pub fn used_of_day(&self, now: Timestamp) -> u64 {
        let day = self.lock_day();
        if day.0 == Some(utc_date(now)) { day.1 } else { 0 }
    }

    /// Counts requests that were made before this limiter.
    pub fn restore_day(&self, now: Timestamp, used: u64) {
        *self.lock_day() = (Some(utc_date(now)), used);
    }

    fn take_of_day(&self, now: Timestamp) -> Result<(), Exhausted> {
        let today = utc_date(now);
        let mut day = self.lock_day();
        if day.0 != Some(today) {
            *day = (Some(today), 0);
        }
        if self.per_day.is_some_and(|most| day.1 >= most) {
            return Err(Exhausted(next_midnight(today)));
        }
        day.1 += 1;
        Ok(())
    }

    fn lock_day(&self) -> std::sync::MutexGuard<'_, (Option<Date>, u64)> {
        self.day.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn utc_date(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::UTC).date()
}

fn next_midnight(day: Date) -> Timestamp {
    let next = day.checked_add(1.day()).and_then(|next| next.to_zoned(TimeZone::UTC));
    next.map_or(Timestamp::MAX, |midnight| midnight.timestamp())
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const DEFAULT: destinations::Quota = destinations::Quota::new(10, 20);

    fn limit(requests: Option<u32>, events: Option<u32>, burst: Option<u32>) -> RateLimit {
        let number = |n: Option<u32>| n.and_then(NonZeroU32::new);
        RateLimit {
            requests_per_second: number(requests),
            events_per_second: number(events),
            burst: number(burst),
            requests_per_day: None,
        }
    }

    /// Requests (or events) let through within so many seconds, asked for as fast as possible.
    fn through(limiter: &Limiter<FakeRelativeClock>, seconds: u64, events: Option<usize>) -> u64 {
        let mut left = Duration::from_secs(seconds);
        let mut count = 0;
        loop {
            let taken = match events {
                Some(events) => limiter.take_events(events),
                None => limiter.take_request().map_or(Ok(1), Err),
            };
            match taken {
                Ok(taken) => count += u64::try_from(taken).unwrap(),
                Err(wait) if wait > left => return count,
                Err(wait) => {
                    limiter.clock.advance(wait);
                    left -= wait;
                }
            }
        }
    }

    #[test]
    fn the_rate_holds_over_a_minute() {
        for (limit, most) in [
            (limit(Some(5), None, None), 5 * 60 + 5),
            (limit(Some(5), None, Some(50)), 5 * 60 + 50),
            (limit(None, None, None), 10 * 60 + 20),
        ] {
            let limiter = Limiter::with_clock(&limit, &DEFAULT, FakeRelativeClock::default());
            let count = through(&limiter, 60, None);
            assert!(count <= most && count >= most - 1, "{count} of {most}");
        }
    }

    #[test]
    fn events_are_limited_however_they_are_batched() {
        let limit = limit(None, Some(100), None);
        for batch in [1, 7, 100, 450] {
            let limiter = Limiter::with_clock(&limit, &DEFAULT, FakeRelativeClock::default());
            assert_eq!(limiter.events_at_once(), 1_000);
            let count = through(&limiter, 60, Some(batch));
            assert!((5_900..=6_100).contains(&count), "{count} in batches of {batch}");
        }
    }

    /// Asserts that no minute sees more than a rate and its burst, and all of the time together at
    /// least 0.97 of what the rate allows (but the one that still waits) where it is what limits.
    /// Times are in order.
    fn assert_kept(taken: &[(Duration, u64)], rate: u64, burst: u64, limits: bool, what: &str) {
        const MINUTE: Duration = Duration::from_secs(60);
        let (mut sum, mut last) = (0, 0);
        for (first, (from, count)) in taken.iter().enumerate() {
            while let Some((at, more)) = taken.get(last).filter(|(at, _)| *at < *from + MINUTE) {
                assert!(*at >= *from && last >= first);
                sum += more;
                last += 1;
            }
            assert!(sum <= rate * 60 + burst, "{sum} in the minute from {from:?}: {what}");
            sum -= count;
        }
        let minutes: u64 = taken.iter().filter(|(at, _)| *at < 2 * MINUTE).map(|(_, n)| n).sum();
        let waiting = taken.iter().map(|(_, n)| n).max().unwrap_or(&0);
        let most = minutes + waiting;
        assert!(!limits || most * 100 >= rate * 120 * 97, "{minutes} in two minutes: {what}");
    }

    /// Four workers with batches of any size, on a clock that stands still while nobody waits.
    async fn worked(
        limiter: &Limiter<FakeRelativeClock>,
        sizes: [usize; 5],
    ) -> Vec<(Duration, u64)> {
        let elapsed = std::cell::Cell::new(Duration::ZERO);
        let taken = std::cell::RefCell::new(Vec::new());
        let now = Timestamp::UNIX_EPOCH;
        let (elapsed, taken) = (&elapsed, &taken);
        let work = |worker: usize| async move {
            for size in sizes.into_iter().cycle().skip(worker) {
                let sleep = |wait: Duration| {
                    limiter.clock.advance(wait);
                    elapsed.set(elapsed.get() + wait);
                    // The others come to the door meanwhile.
                    tokio::task::yield_now()
                };
                limiter.acquire_by(size, now, sleep).await.unwrap();
                if elapsed.get() > Duration::from_secs(200) {
                    return;
                }
                taken.borrow_mut().push((elapsed.get(), u64::try_from(size).unwrap()));
            }
        };
        tokio::join!(work(0), work(1), work(2), work(3));
        taken.take()
    }

    #[tokio::test]
    async fn no_minute_sees_more_than_the_rate_and_its_burst_and_none_is_given_away() {
        // Requests, burst and events a second; sizes of batches; which of the two limits.
        for (requests, burst, events, sizes, by_events) in [
            (5, 5, None, [1, 1, 1, 1, 1], false),
            (5, 50, None, [100, 1, 7, 30, 2], false),
            (50, 100, Some(100), [100, 100, 100, 100, 100], true),
            (50, 100, Some(100), [1, 99, 50, 3, 64], true),
            // A whole request of a platform whose second is smaller.
            (10, 60, Some(66), [500, 500, 500, 500, 500], true),
            (10, 60, Some(66), [500, 1, 67, 132, 30], true),
            (10, 20, Some(1000), [10, 7, 1, 30, 12], false),
            (3, 1, Some(7), [1, 7, 2, 5, 3], true),
        ] {
            let limit = limit(Some(requests), events, Some(burst));
            let limiter = Limiter::with_clock(&limit, &DEFAULT, FakeRelativeClock::default());
            let taken = worked(&limiter, sizes).await;
            let what = format!("{requests}/s + {burst}, {events:?} events/s, {sizes:?}");
            let calls: Vec<(Duration, u64)> = taken.iter().map(|(at, _)| (*at, 1)).collect();
            assert_kept(&calls, requests.into(), burst.into(), !by_events, &what);
            if let Some(events) = events {
                let largest = u64::try_from(sizes.into_iter().max().unwrap()).unwrap();
                let burst = u64::from(events) + largest;
                assert_kept(&taken, events.into(), burst, by_events, &what);
            }
        }
    }

    #[tokio::test]
    async fn a_request_of_more_than_a_second_waits_for_all_of_its_events() {
        let limit = limit(None, Some(66), None);
        let limiter = Limiter::with_clock(&limit, &DEFAULT, FakeRelativeClock::default());
        assert!(limiter.events_at_once() >= 500);
        let sleep = |wait| {
            limiter.clock.advance(wait);
            std::future::ready(())
        };
        for (events, seconds) in [(500, (500.0 - 66.0) / 66.0), (500, 500.0 / 66.0), (0, 0.0)] {
            let waited = limiter.acquire_by(events, Timestamp::UNIX_EPOCH, sleep).await.unwrap();
            assert!((waited.as_secs_f64() - seconds).abs() < 0.1, "{events}: {waited:?}");
        }
    }

    #[tokio::test]
    async fn the_days_quota_ends_at_midnight_utc() {
        let limit = RateLimit { requests_per_day: Some(2), ..limit(Some(100), None, None) };
        let limiter = Limiter::new(&limit, &DEFAULT);
        let evening: Timestamp = "2026-11-22T23:59:00Z".parse().unwrap();
        let midnight: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        limiter.acquire(1, evening).await.unwrap();
        limiter.acquire(1, evening).await.unwrap();
        assert_eq!(limiter.acquire(1, evening).await, Err(Exhausted(midnight)));
        assert_eq!((limiter.used_of_day(evening), limiter.used_of_day(midnight)), (2, 0));
        limiter.acquire(1, midnight).await.unwrap();
        limiter.restore_day(midnight, 2);
        assert!(limiter.acquire(1, midnight).await.is_err());
    }
}
