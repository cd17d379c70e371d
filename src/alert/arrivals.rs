//! Which planned events come, and which have stopped: what is usual is told by the hours of the day
//! before, by the whole of what is known where that is younger.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Hours that are remembered of an event.
const HOURS: usize = 7 * 24;
const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_HOURS: i64 = 24;
/// A silence is so many times as long before it is told of an event that came for less than a day.
const YOUNG: i64 = 6;
/// Fewer events than this in the silence would have been chance.
const EXPECTED: f64 = 10.0;

/// Counts events as they come. Names are the plan's: a sender cannot make any up.
#[derive(Debug, Default)]
pub struct Arrivals(Mutex<BTreeMap<String, u64>>);

impl Arrivals {
    /// Some more of an event came.
    pub fn note(&self, event: &str, count: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(event) {
            Some(known) => *known += count,
            None => {
                counts.insert(event.to_owned(), count);
            }
        }
    }

    /// How often each came since the start.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is known of every event.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Histories(BTreeMap<String, History>);

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct History {
    /// Hour (since 1970) and count, oldest first; hours without any are left out.
    hours: VecDeque<(i64, u64)>,
    /// When it came first and last, epoch milliseconds. Downtime is no silence.
    first_ms: i64,
    last_ms: i64,
    /// As [`Arrivals`] counted; begins anew with the process.
    #[serde(skip)]
    seen: u64,
}

impl Histories {
    /// After a restart: nothing could come meanwhile.
    pub(super) fn resume(&mut self, now: Timestamp) {
        for history in self.0.values_mut() {
            history.last_ms = now.as_millisecond();
        }
    }

    /// Takes in what came; the events that have stopped, with what there is to say.
    pub(super) fn look(
        &mut self,
        counts: &BTreeMap<String, u64>,
        silent_after: Duration,
        now: Timestamp,
    ) -> Vec<(String, String)> {
        let now_ms = now.as_millisecond();
        for (event, count) in counts {
            self.0.entry(event.clone()).or_default().note(*count, now_ms);
        }
        // One that has not come for as long as is remembered has long been told of.
        let span_ms = HOUR_MS.saturating_mul(HOURS as i64);
        self.0.retain(|_, history| now_ms.saturating_sub(history.last_ms) <= span_ms);
        let silent_ms = i64::try_from(silent_after.as_millis()).unwrap_or(i64::MAX);
        let stopped = |(event, history): (&String, &History)| {
            let silence_ms = now_ms.saturating_sub(history.last_ms);
            let expected = history.expected(now_ms);
            // Of one that is not known for a day the first quiet night is not to be told apart.
            let patience_ms =
                if history.is_young() { silent_ms.saturating_mul(YOUNG) } else { silent_ms };
            (silence_ms >= patience_ms && expected >= EXPECTED).then(|| {
                let since = super::show(Duration::from_millis(silence_ms.unsigned_abs()));
                let told = format!(
                    "it has not come for {since}; about {expected:.0} would have been usual"
                );
                (event.clone(), told)
            })
        };
        self.0.iter().filter_map(stopped).collect()
    }
}

impl History {
    fn note(&mut self, count: u64, now_ms: i64) {
        let more = count.saturating_sub(self.seen);
        self.seen = count;
        if more == 0 {
            // A clock that was put back: the silence is no longer than that.
            self.last_ms = self.last_ms.min(now_ms);
            return;
        }
        if self.hours.is_empty() {
            self.first_ms = now_ms;
        }
        self.last_ms = now_ms;
        let hour = now_ms.div_euclid(HOUR_MS);
        match self.hours.back_mut().filter(|(last, _)| *last >= hour) {
            Some((_, known)) => *known += more,
            None => self.hours.push_back((hour, more)),
        }
        while self.hours.front().is_some_and(|(first, _)| hour - first >= HOURS as i64) {
            self.hours.pop_front();
        }
    }

    fn is_young(&self) -> bool {
        self.last_ms.saturating_sub(self.first_ms) < DAY_HOURS * HOUR_MS
    }

    /// How many would usually have come since the last one.
    fn expected(&self, now_ms: i64) -> f64 {
        let silence_ms = now_ms.saturating_sub(self.last_ms);
        let known_ms = self.last_ms.saturating_sub(self.first_ms);
        if self.is_young() {
            let all: u64 = self.hours.iter().map(|(_, count)| count).sum();
            // An hour at least, so that a burst is no habit.
            return all as f64 * silence_ms as f64 / known_ms.max(HOUR_MS) as f64;
        }
        // The same hours of the day before, each by as much of it as the silence covers.
        let of_hour = |hour: i64| {
            let day_before = |(known, count): &(i64, u64)| (*known == hour).then_some(*count);
            self.hours.iter().find_map(day_before).unwrap_or_default()
        };
        let (from, to) = (self.last_ms - DAY_HOURS * HOUR_MS, now_ms - DAY_HOURS * HOUR_MS);
        (from.div_euclid(HOUR_MS)..=to.div_euclid(HOUR_MS))
            .take(HOURS)
            .map(|hour| {
                let (begin, end) = (hour * HOUR_MS, (hour + 1) * HOUR_MS);
                let covered = end.min(to) - begin.max(from);
                of_hour(hour) as f64 * covered.max(0) as f64 / HOUR_MS as f64
            })
            .sum()
    }
}
