//! Who refused something lately, in memory: so that of a job's person the store is only asked where
//! there may be something to hear.
//!
//! Fingerprints of subject keys in two generations, bounded. Nothing of it is kept: of what was
//! accepted before the oldest generation began (or the relay was started) everything may be so.

use std::collections::HashSet;

use super::{IdHash, ids};

/// Fingerprints of one generation.
const GENERATION: usize = 100_000;

/// The set.
#[derive(Debug)]
pub(super) struct RefusedSubjects {
    older: Generation,
    younger: Generation,
}

#[derive(Debug)]
struct Generation {
    from_ms: i64,
    subjects: HashSet<u64>,
}

impl Generation {
    fn new(from_ms: i64) -> Self {
        Self { from_ms, subjects: HashSet::new() }
    }
}

impl RefusedSubjects {
    /// Knows of nothing before now.
    pub(super) fn new(now_ms: i64) -> Self {
        // The moment itself is not known whole.
        let from_ms = now_ms.saturating_add(1);
        Self { older: Generation::new(from_ms), younger: Generation::new(from_ms) }
    }

    /// Adds the keys of somebody who refused something.
    pub(super) fn insert(&mut self, subjects: &[IdHash], now_ms: i64) {
        if self.younger.subjects.len() + subjects.len() > GENERATION {
            let younger = Generation::new(now_ms.saturating_add(1));
            self.older = std::mem::replace(&mut self.younger, younger);
        }
        self.younger.subjects.extend(subjects.iter().map(ids::fingerprint));
    }

    /// Whether somebody of these keys may have refused something since a time; `false` is certain.
    pub(super) fn may_hold(&self, since_ms: i64, subjects: &[IdHash]) -> bool {
        since_ms < self.older.from_ms
            || subjects.iter().map(ids::fingerprint).any(|subject| {
                self.older.subjects.contains(&subject) || self.younger.subjects.contains(&subject)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(n: u64) -> IdHash {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&n.to_le_bytes());
        key
    }

    #[test]
    fn it_never_says_no_where_it_does_not_know() {
        let mut refused = RefusedSubjects::new(1000);
        assert!(refused.may_hold(1000, &[subject(1)]), "before it began");
        assert!(!refused.may_hold(1001, &[subject(1)]));
        refused.insert(&[subject(1), subject(2)], 1500);
        assert!(refused.may_hold(1400, &[subject(9), subject(2)]));
        assert!(refused.may_hold(1600, &[subject(1)]), "it says too much rather than too little");
        assert!(!refused.may_hold(1600, &[subject(3)]) && !refused.may_hold(1600, &[]));
    }

    #[test]
    fn it_is_bounded_and_what_it_forgets_is_not_known() {
        let mut refused = RefusedSubjects::new(0);
        for n in 0..350_000 {
            refused.insert(&[subject(n)], i64::try_from(n).unwrap());
        }
        let kept = refused.older.subjects.len() + refused.younger.subjects.len();
        assert!(kept <= 2 * GENERATION, "{kept}");
        assert!(refused.may_hold(100_000, &[subject(7)]), "forgotten: not known");
        assert!(!refused.may_hold(340_000, &[subject(7)]) && refused.may_hold(0, &[]));
        assert!(refused.may_hold(340_000, &[subject(349_999)]));
    }
}
