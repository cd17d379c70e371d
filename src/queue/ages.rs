//! Time as leases need it: which chunks have aged, and waits that a clock put back does not lengthen.

use std::collections::VecDeque;

use super::lease::LONGEST_WAIT_MS;

/// A clock that is put back by more than this in all was wrong before.
const MOST_PUT_BACK_MS: i64 = 24 * LONGEST_WAIT_MS;

/// So long after it was accepted a job counts as fresh; what could not be sent by then is backlog.
/// What was there at a start is backlog at once.
const FRESH_MS: i64 = 5 * 60 * 1000;

/// How often it is noted which sequence number came when.
const NOTE_EVERY_MS: i64 = 10 * 1000;

/// Which sequence number came when, so that age is told without opening anything. Never goes back,
/// whatever the clock does.
#[derive(Debug, Default)]
pub(super) struct Ages {
    /// Time (epoch milliseconds) and the sequence number that came next, oldest first.
    notes: VecDeque<(i64, u64)>,
    pub(super) fresh_from: u64,
}

impl Ages {
    /// Everything before this number is old.
    pub(super) fn begin(&mut self, next_sequence: u64) {
        self.notes.clear();
        self.fresh_from = self.fresh_from.max(next_sequence);
    }

    /// Notes the time; the number from which on chunks are fresh.
    pub(super) fn fresh_from(&mut self, now_ms: i64, next_sequence: u64) -> u64 {
        // What a clock noted that has since been put back says nothing.
        while self.notes.back().is_some_and(|(at, _)| *at > now_ms) {
            self.notes.pop_back();
        }
        if self.notes.back().is_none_or(|(at, _)| now_ms - at >= NOTE_EVERY_MS) {
            self.notes.push_back((now_ms, next_sequence));
        }
        while let Some((_, sequence)) =
            self.notes.front().filter(|(at, _)| now_ms.saturating_sub(*at) >= FRESH_MS)
        {
            self.fresh_from = self.fresh_from.max(*sequence);
            self.notes.pop_front();
        }
        self.fresh_from
    }
}

/// The time by which waits are measured: the machine's, but that it never goes back within a process.
/// A retry of in an hour is not one of in two because the clock was put back by one meanwhile.
#[derive(Debug, Default)]
pub(super) struct Waits {
    latest_ms: i64,
    put_back_ms: i64,
}

impl Waits {
    pub(super) fn at(&mut self, now_ms: i64) -> i64 {
        let at = now_ms.saturating_add(self.put_back_ms);
        let back_ms = self.latest_ms.saturating_sub(at).max(0);
        if self.put_back_ms.saturating_add(back_ms) > MOST_PUT_BACK_MS {
            // The clock that was put back that far was the wrong one: its times are not believed.
            (self.latest_ms, self.put_back_ms) = (now_ms, 0);
        } else {
            self.put_back_ms += back_ms;
            self.latest_ms = self.latest_ms.max(at);
        }
        self.latest_ms
    }
}
