//! How fast one address, or one session, may go: as many of them as there are, in memory that does
//! not grow.

use std::{
    fmt,
    hash::{BuildHasher as _, Hash, RandomState},
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::clock::Stopwatch;

/// Who shares a slot shares its pace; among so many that is rare, and nobody can choose with whom.
const SLOTS: usize = 1 << 16;

/// A steady rate with a burst, for each of very many.
pub(super) struct Pace {
    /// When each would be at rest again, in microseconds of the watch (a leaky bucket as one
    /// number: GCRA). Atomics, since every request of a browser passes here.
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
    watch: Stopwatch,
}

impl Default for Pace {
    fn default() -> Self {
        let slots = std::iter::repeat_with(AtomicU64::default).take(SLOTS).collect();
        Self { slots, hasher: RandomState::new(), watch: Stopwatch::start() }
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").finish_non_exhaustive()
    }
}

impl Pace {
    /// Takes one step; `Err` with the time to wait for the next.
    pub(super) fn take(
        &self,
        who: impl Hash,
        per_second: NonZeroU32,
        burst: NonZeroU32,
    ) -> Result<(), Duration> {
        let now = u64::try_from(self.watch.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.take_at(now, who, per_second, burst)
    }

    fn take_at(
        &self,
        now: u64,
        who: impl Hash,
        per_second: NonZeroU32,
        burst: NonZeroU32,
    ) -> Result<(), Duration> {
        let at = usize::try_from(self.hasher.hash_one(who)).unwrap_or_default() % SLOTS;
        let Some(slot) = self.slots.get(at) else { return Ok(()) };
        let step = (1_000_000 / u64::from(per_second.get())).max(1);
        let most = step.saturating_mul(u64::from(burst.get()));
        let mut wait = 0;
        let next = |rest: u64| {
            let rest = rest.max(now).saturating_add(step);
            wait = (rest - now).saturating_sub(most);
            (wait == 0).then_some(rest)
        };
        let taken = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        taken.map(drop).map_err(|_| Duration::from_micros(wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_burst_and_then_the_rate() {
        let pace = Pace::default();
        let n = |n| NonZeroU32::new(n).unwrap();
        let take = |now, who| pace.take_at(now, who, n(10), n(3)).map_err(|wait| wait.as_micros());
        for _ in 0..3 {
            assert_eq!(take(0, "one"), Ok(()));
        }
        assert_eq!(take(0, "one"), Err(100_000));
        assert_eq!(take(0, "one"), Err(100_000), "a refusal costs nothing");
        assert_eq!(take(0, "other"), Ok(()));
        assert_eq!(take(99_999, "one"), Err(1));
        assert_eq!(take(100_000, "one"), Ok(()));
        assert_eq!(take(u64::MAX, "one"), Ok(()), "no time overflows");
        let fast = n(u32::MAX);
        assert_eq!(pace.take_at(0, "fast", fast, fast), Ok(()));
    }
}
