//! One destination's jobs as the workers see them: its lanes, and whose turn it is among them.

use super::{
    ChunkKey,
    chunk::DestinationNo,
    ends::Ends,
    lane::{Kind, Lane},
    lease::Leased,
};

/// One destination as the workers see it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) number: DestinationNo,
    pub(super) fresh: Lane,
    pub(super) old: Lane,
    pub(super) retried: Lane,
    pub(super) ends: Ends,
    /// The sequence number that parts fresh from old.
    pub(super) fresh_from: u64,
    pub(super) in_flight: u64,
    pub(super) served: Served,
    pub(super) last_leased_ms: i64,
}

/// Jobs handed out while there was a choice.
#[derive(Debug, Default)]
pub(super) struct Served {
    /// Fresh ones, and backlog, while there were both.
    fresh: u64,
    backlog: u64,
    /// Of the backlog never tried and retried ones, while there were both.
    old: u64,
    retried: u64,
}

impl Served {
    /// Which kinds come first, where each of these has something due.
    pub(super) fn order(&self, (fresh, old, retried): (bool, bool, bool), share: u8) -> [Kind; 3] {
        let share = u64::from(share.min(100));
        let old_first = !retried || (old && self.old <= self.retried);
        let [first, second] =
            if old_first { [Kind::Old, Kind::Retried] } else { [Kind::Retried, Kind::Old] };
        let backlog = old || retried;
        let owed = self.fresh * (100 - share) <= self.backlog * share && share > 0;
        if fresh && (!backlog || owed) {
            [Kind::Fresh, first, second]
        } else {
            [first, second, Kind::Fresh]
        }
    }

    pub(super) fn note(
        &mut self,
        kind: Kind,
        jobs: u64,
        (fresh, old, retried): (bool, bool, bool),
    ) {
        match kind {
            Kind::Fresh if old || retried => self.fresh += jobs,
            Kind::Old | Kind::Retried if fresh => self.backlog += jobs,
            Kind::Fresh | Kind::Old | Kind::Retried => {}
        }
        match kind {
            Kind::Old if retried => self.old += jobs,
            Kind::Retried if old => self.retried += jobs,
            Kind::Fresh | Kind::Old | Kind::Retried => {}
        }
        for (one, other) in
            [(&mut self.fresh, &mut self.backlog), (&mut self.old, &mut self.retried)]
        {
            if *one + *other > 100_000 {
                *one /= 2;
                *other /= 2;
            }
        }
    }
}

impl Line {
    pub(super) fn new(number: DestinationNo, fresh_from: u64, now_ms: i64) -> Self {
        Self {
            number,
            fresh: Lane::new(Kind::Fresh, number, fresh_from),
            old: Lane::new(Kind::Old, number, fresh_from),
            retried: Lane::new(Kind::Retried, number, fresh_from),
            ends: Ends::new(number),
            fresh_from,
            in_flight: 0,
            served: Served::default(),
            last_leased_ms: now_ms,
        }
    }

    pub(super) fn lane(&mut self, key: &ChunkKey) -> &mut Lane {
        match key.due_ms() {
            0 if key.sequence() < self.fresh_from => &mut self.old,
            0 => &mut self.fresh,
            _ => &mut self.retried,
        }
    }

    pub(super) fn of(&mut self, kind: Kind) -> &mut Lane {
        match kind {
            Kind::Fresh => &mut self.fresh,
            Kind::Old => &mut self.old,
            Kind::Retried => &mut self.retried,
        }
    }

    /// A lease was given back, or ended without a change.
    pub(super) fn give_back(&mut self, key: ChunkKey, leased: &Leased) {
        self.ends.enter(&key, leased.head);
        self.lane(&key).give_back(key, leased.head, leased.pieces);
    }

    /// What has aged becomes backlog.
    pub(super) fn age(&mut self, fresh_from: u64) {
        if fresh_from > self.fresh_from {
            self.fresh_from = fresh_from;
            self.old.take_aged(&mut self.fresh, self.number, fresh_from);
        }
    }
}
