//! Slows down who guesses: after a few wrong secrets an address is answered ever later, then not
//! at all for a while. Bounded memory, whoever guesses from however many addresses.
//!
//! Who sends no secret guesses none, and is neither counted nor slowed.

use std::{
    cmp::Ordering,
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::connections::peer_of;
use crate::clock::Stopwatch;

/// Wrong secrets from one address that are answered at once: a person mistypes, a program is set
/// up anew.
const FREE: u32 = 5;
/// After so many within [`WINDOW`] nothing of the address is looked at any more.
const MOST: u32 = 20;
/// How long a failure counts, and an address is shut out.
const WINDOW: Duration = Duration::from_secs(60);
/// Each failure after the free ones is answered this much later.
const STEP: Duration = Duration::from_millis(100);
/// Addresses that are remembered.
const PEERS: usize = 10_000;

/// Remembers who guessed.
#[derive(Debug)]
pub(super) struct Doorkeeper {
    since: Stopwatch,
    // A std mutex: held for a lookup, never over an await.
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Duration,
}

/// What becomes of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is answered after this time.
    Later(Duration),
    /// The address is shut out for this time.
    ShutOut(Duration),
}

impl Default for Doorkeeper {
    fn default() -> Self {
        Self { since: Stopwatch::start(), failures: Mutex::default() }
    }
}

impl Doorkeeper {
    /// How long an address is still shut out.
    pub(super) fn shut_out(&self, address: IpAddr) -> Option<Duration> {
        self.shut_out_at(address, self.since.elapsed())
    }

    /// An address sent a wrong secret.
    pub(super) fn failed(&self, address: IpAddr) -> Verdict {
        self.failed_at(address, self.since.elapsed())
    }

    /// An address sent a right one: a few wrong ones before were slips. More than are free stay
    /// counted: whoever shares an address with a guesser, such as a proxy's, must not clear him.
    pub(super) fn passed(&self, address: IpAddr) {
        let mut all = self.lock();
        let peer = peer_of(address);
        if all.get(&peer).is_some_and(|failures| failures.count <= FREE) {
            all.remove(&peer);
        }
    }

    fn shut_out_at(&self, address: IpAddr, now: Duration) -> Option<Duration> {
        let failures = self.lock().get(&peer_of(address)).copied()?;
        let left = (failures.last + WINDOW).checked_sub(now)?;
        (failures.count >= MOST && !left.is_zero()).then_some(left)
    }

    fn failed_at(&self, address: IpAddr, now: Duration) -> Verdict {
        let mut all = self.lock();
        let peer = peer_of(address);
        if all.len() >= PEERS && !all.contains_key(&peer) {
            make_room(&mut all, now);
        }
        let own = all.entry(peer).or_insert(Failures { count: 0, last: now });
        if own.last + WINDOW <= now {
            own.count = 0;
        }
        own.count = own.count.saturating_add(1);
        own.last = now;
        match own.count {
            count if count >= MOST => Verdict::ShutOut(WINDOW),
            count => Verdict::Later(STEP * count.saturating_sub(FREE)),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets what no longer counts; where everything does, the older half.
fn make_room(all: &mut HashMap<IpAddr, Failures>, now: Duration) {
    all.retain(|_, failures| failures.last + WINDOW > now);
    if all.len() < PEERS {
        return;
    }
    let mut times: Vec<Duration> = all.values().map(|failures| failures.last).collect();
    let (_, median, _) = times.select_nth_unstable(PEERS / 2);
    let median = *median;
    // Of those of the same moment some.
    let mut room = PEERS / 2 - all.values().filter(|failures| failures.last > median).count();
    all.retain(|_, failures| match failures.last.cmp(&median) {
        Ordering::Greater => true,
        Ordering::Less => false,
        Ordering::Equal => {
            let stays = room > 0;
            room = room.saturating_sub(1);
            stays
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn guessing_becomes_slow_and_then_ends_for_a_while() {
        let keeper = Doorkeeper::default();
        let peer = "203.0.113.9".parse().unwrap();
        let verdicts: Vec<Verdict> = (1..=20).map(|n| keeper.failed_at(peer, seconds(n))).collect();
        assert_eq!(verdicts[4], Verdict::Later(Duration::ZERO));
        assert_eq!(verdicts[7], Verdict::Later(STEP * 3));
        assert_eq!(keeper.shut_out_at(peer, seconds(20)), Some(WINDOW));
        assert_eq!(verdicts[19], Verdict::ShutOut(WINDOW));
        assert_eq!(keeper.shut_out_at(peer, seconds(79)), Some(seconds(1)));
        assert_eq!(keeper.shut_out_at(peer, seconds(80)), None);
        assert_eq!(keeper.failed_at(peer, seconds(81)), Verdict::Later(Duration::ZERO), "anew");
        assert_eq!(keeper.shut_out_at("203.0.113.10".parse().unwrap(), seconds(20)), None);
    }

    #[test]
    fn a_right_secret_forgives_slips_and_no_guesser() {
        let keeper = Doorkeeper::default();
        let peer = "2001:db8::1".parse().unwrap();
        for count in [5, 19] {
            (0..count).for_each(|_| _ = keeper.failed_at(peer, seconds(1)));
            keeper.passed("2001:db8::ffff".parse().unwrap());
            let verdict = keeper.failed_at(peer, seconds(1));
            let is_forgiven = verdict == Verdict::Later(Duration::ZERO);
            assert_eq!(is_forgiven, count == 5, "{count}: {verdict:?}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let keeper = Doorkeeper::default();
        for n in 0..50_000u32 {
            keeper.failed_at(IpAddr::V4(n.into()), seconds(1));
            assert!(keeper.lock().len() <= PEERS);
        }
        let last = IpAddr::V4(49_999.into());
        assert!(keeper.lock().contains_key(&last));
        (0..20).for_each(|_| _ = keeper.failed_at(last, seconds(2)));
        (0..20_000u32)
            .for_each(|n| _ = keeper.failed_at(IpAddr::V4((1 << 31 | n).into()), seconds(1)));
        assert!(keeper.shut_out_at(last, seconds(3)).is_some(), "the newest is not forgotten");
    }
}
