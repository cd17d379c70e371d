//! Counts over the last while, and over what was usual before.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;

use super::Look;
use crate::config::AlertSettings;

/// Samples of one window.
const STEPS: u32 = 15;
/// Windows before the last one that say what is usual.
const USUAL: usize = 24;

/// The counts of one destination at some moments.
#[derive(Debug, Default)]
pub(super) struct Window {
    samples: VecDeque<Sample>,
    last: Sample,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    at: Timestamp,
    decided: u64,
    held: u64,
    delivered: u64,
    dead: u64,
}

impl Window {
    /// Notes what is seen now.
    pub(super) fn note(&mut self, look: &Look, window: Duration, now: Timestamp) {
        let Look { decided, held, delivered, dead, .. } = *look;
        self.last = Sample { at: now, decided, held, delivered, dead };
        // What a clock noted that has since been put back says nothing.
        while self.samples.back().is_some_and(|sample| sample.at > now) {
            self.samples.pop_back();
        }
        let age = |sample: &Sample| now.duration_since(sample.at).unsigned_abs();
        if self.samples.back().is_none_or(|sample| age(sample) >= window / STEPS) {
            self.samples.push_back(self.last);
        }
        let most = USUAL * usize::try_from(STEPS).unwrap_or(1);
        while self.samples.len() > most {
            self.samples.pop_front();
        }
    }

    /// The newest sample that is at least a window old, and the oldest one.
    fn border(&self, window: Duration) -> Option<&Sample> {
        let age =
            |sample: &&Sample| self.last.at.duration_since(sample.at).unsigned_abs() >= window;
        self.samples.iter().rev().find(age)
    }

    /// How many events died, and how many ended, within the window; where that is too many.
    pub(super) fn dead(&self, settings: &AlertSettings) -> Option<(u64, u64)> {
        let from = self.border(settings.window).or_else(|| self.samples.front())?;
        let dead = self.last.dead.saturating_sub(from.dead);
        let ended = dead + self.last.delivered.saturating_sub(from.delivered);
        let is_bad = dead >= settings.dead_at_least.max(1)
            && dead.saturating_mul(10_000) >= ended.saturating_mul(u64::from(settings.dead_share));
        is_bad.then_some((dead, ended))
    }

    /// Which share (percent) of the window's decisions is held, and which is usual; where that
    /// jumped.
    pub(super) fn held(&self, settings: &AlertSettings) -> Option<(u64, u64)> {
        let oldest = self.samples.front()?;
        // A young relay knows nothing usual but what came before the latest step.
        let border = self.border(settings.window).filter(|border| border.at > oldest.at);
        let border = border.or_else(|| self.samples.iter().rev().nth(1))?;
        let share = |from: &Sample, to: &Sample| {
            let decided = to.decided.saturating_sub(from.decided);
            let held = to.held.saturating_sub(from.held);
            let enough = decided >= settings.held_at_least.max(1);
            enough.then(|| held.saturating_mul(10_000) / decided)
        };
        let (now, usual) = (share(border, &self.last)?, share(oldest, border)?);
        let jumped = now >= usual.saturating_add(u64::from(settings.held_rise).max(1));
        jumped.then_some((now / 100, usual / 100))
    }
}
