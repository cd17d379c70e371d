//! What is kept of one person at one controller: identifiers that were seen together, choices, what
//! was entrusted to which destination, and that they were erased. One bounded record; where it lies
//! is the register's.

use serde::{Deserialize, Serialize};

use super::{IdHash, chunk::DestinationNo, names_one};
use crate::consent::{
    clicks::{self, Click},
    memory::{Choice, Remembered},
    traits::{self, Trait},
};

/// Identifiers of one person. A browser makes a new one every week: the oldest that may be shared
/// goes first.
const IDENTIFIERS: usize = 64;
/// Events that are kept one by one; older ones are kept in sum.
const EVENTS: usize = 16;
/// Ids of erased events, besides the time of the erasure.
const ERASED_EVENTS: usize = 64;

/// A person's record.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Known {
    /// Subject keys. The first is the record's own key.
    pub(super) subjects: Vec<IdHash>,
    /// When identifiers of theirs were last seen together, to a day, epoch milliseconds.
    pub(super) seen_ms: i64,
    /// What they chose.
    pub(super) choice: Choice,
    /// Events that were queued, oldest first.
    pub(super) events: Vec<Queued>,
    /// What destinations had of earlier events.
    pub(super) received: Vec<InSum>,
    /// That they were erased.
    pub(super) erased: Option<Tombstone>,
    /// Remembered clicks, oldest first; stored beside the rest, which was there before them.
    #[serde(skip)]
    pub(super) clicks: Vec<Click>,
    /// Remembered traits, stored likewise.
    #[serde(skip)]
    pub(super) traits: Vec<Trait>,
}

/// An event, and the decisions of it that were queued and may have been sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Queued {
    /// The event's trace hash.
    pub(super) id: IdHash,
    /// Its id, as it is sent.
    pub(super) event_id: String,
    /// When it was accepted, epoch milliseconds.
    pub(super) at_ms: i64,
    /// Destination and slot. What ended without being sent is taken out again.
    pub(super) to: Vec<(DestinationNo, u32)>,
}

/// What a destination had of events that are not kept one by one any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InSum {
    pub(super) destination: DestinationNo,
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    pub(super) count: u64,
}

/// What is left of an erased person, so that nothing brings them back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tombstone {
    /// When, epoch milliseconds.
    pub(super) at_ms: i64,
    /// Trace hashes of their last events.
    pub(super) events: Vec<IdHash>,
}

const SECOND_MS: i64 = 1000;
const DAY_MS: i64 = 24 * 60 * 60 * SECOND_MS;

/// How long the parts of a record are kept, as times before which they are over, epoch milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Horizon {
    /// The time of the round.
    pub(super) now_ms: i64,
    /// Grants, and which identifiers belong together where nothing else is kept.
    pub(super) choices_ms: i64,
    /// What was sent, and tombstones.
    pub(super) sent_ms: i64,
}

impl Known {
    /// Whether an identifier of theirs names one person.
    pub(super) fn is_named(&self) -> bool {
        self.subjects.iter().any(names_one)
    }

    /// As events are concerned.
    pub(super) fn remembered(&self) -> Remembered {
        Remembered {
            choice: self.choice.clone(),
            erased_ms: self.erased.as_ref().map(|tombstone| tombstone.at_ms),
            clicks: self.clicks.clone(),
            traits: self.traits.clone(),
        }
    }

    /// Whether they were seen within the day.
    pub(super) fn is_seen(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.seen_ms) < DAY_MS
    }

    /// Adds an identifier; returns one that had to go for it.
    pub(super) fn attach(&mut self, subject: IdHash) -> Option<IdHash> {
        if self.subjects.contains(&subject) {
            return None;
        }
        self.subjects.push(subject);
        if self.subjects.len() <= IDENTIFIERS {
            return None;
        }
        // Never the first, which is the record's own key, nor the one that just came.
        let others = 1..self.subjects.len() - 1;
        let shared = |at: &usize| self.subjects.get(*at).is_some_and(|s| !names_one(s));
        let oldest = others.clone().find(shared).or_else(|| others.clone().next())?;
        Some(self.subjects.remove(oldest))
    }

    /// Takes in what was kept of the same person under another record.
    pub(super) fn absorb(&mut self, other: Known) {
        self.seen_ms = self.seen_ms.max(other.seen_ms);
        self.choice.merge(&other.choice);
        other.clicks.into_iter().for_each(|click| clicks::add(&mut self.clicks, click));
        other.traits.into_iter().for_each(|one| traits::add(&mut self.traits, one));
        self.events.extend(other.events);
        self.events.sort_by_key(|event| event.at_ms);
        self.fold();
        for sum in other.received {
            self.add(sum);
        }
        if let Some(tombstone) = other.erased {
            let own = self.erased.get_or_insert(Tombstone { at_ms: i64::MIN, events: Vec::new() });
            own.at_ms = own.at_ms.max(tombstone.at_ms);
            own.add(tombstone.events);
        }
    }

    /// Notes that decisions of an event were queued.
    pub(super) fn entrust(&mut self, queued: Queued) {
        match self.events.iter_mut().find(|event| event.id == queued.id) {
            Some(event) => {
                for place in queued.to {
                    if !event.to.contains(&place) {
                        event.to.push(place);
                    }
                }
            }
            None => self.events.push(queued),
        }
        self.fold();
    }

    /// Notes that a queued decision ended without being sent, or (a replay) may be sent again.
    pub(super) fn correct(&mut self, id: &IdHash, place: (DestinationNo, u32), sent: bool) -> bool {
        let Some(event) = self.events.iter_mut().find(|event| event.id == *id) else {
            return false;
        };
        let before = event.to.len();
        event.to.retain(|known| *known != place);
        if sent {
            event.to.push(place);
        }
        event.to.len() != before
    }

    /// Notes that the person is erased: what happened until now stays away from now on.
    pub(super) fn bury(&mut self, at_ms: i64) {
        let tombstone = self.erased.get_or_insert(Tombstone { at_ms, events: Vec::new() });
        tombstone.at_ms = tombstone.at_ms.max(at_ms);
    }

    /// Of all that was kept until the erasure nothing stays but that.
    pub(super) fn wipe(&mut self) {
        let Some(tombstone) = &mut self.erased else { return };
        let at_ms = tombstone.at_ms;
        let (gone, later) = std::mem::take(&mut self.events)
            .into_iter()
            .partition::<Vec<Queued>, _>(|event| event.at_ms <= at_ms);
        tombstone.add(gone.into_iter().map(|event| event.id).collect());
        self.events = later;
        self.received.retain(|sum| sum.first_ms > at_ms);
        self.choice.forget_all(at_ms);
        self.clicks.retain(|click| click.at_ms > at_ms);
        self.traits.retain(|one| one.at_ms > at_ms);
    }

    /// Notes a click.
    pub(super) fn note_click(&mut self, click: Click) {
        if self.erased.as_ref().is_none_or(|tombstone| !tombstone.covers(click.at_ms)) {
            clicks::add(&mut self.clicks, click);
        }
    }

    /// Notes what they said of themselves.
    pub(super) fn note_trait(&mut self, one: Trait) {
        if self.erased.as_ref().is_none_or(|tombstone| !tombstone.covers(one.at_ms)) {
            traits::add(&mut self.traits, one);
        }
    }

    /// Forgets what rests on a permission that was taken back.
    pub(super) fn forget_followed(&mut self) {
        self.clicks.clear();
        self.traits.clear();
    }

    /// Whether anything is kept that rests on a permission.
    pub(super) fn is_followed(&self) -> bool {
        !self.clicks.is_empty() || !self.traits.is_empty()
    }

    /// Whether an event is one of before the erasure.
    pub(super) fn is_gone(&self, id: &IdHash, happened_ms: i64) -> bool {
        self.erased
            .as_ref()
            .is_some_and(|tombstone| tombstone.covers(happened_ms) || tombstone.events.contains(id))
    }

    /// Forgets what is over; true where nothing is left.
    pub(super) fn forget(&mut self, horizon: Horizon) -> bool {
        let time = jiff::Timestamp::from_millisecond(horizon.choices_ms);
        self.choice.forget(time.unwrap_or(jiff::Timestamp::MIN));
        self.clicks.retain(|click| click.until_ms > horizon.now_ms);
        self.traits.retain(|one| one.until_ms > horizon.now_ms);
        self.events.retain(|event| event.at_ms >= horizon.sent_ms);
        self.received.retain(|sum| sum.last_ms >= horizon.sent_ms);
        self.erased.take_if(|tombstone| tombstone.at_ms < horizon.sent_ms);
        self.seen_ms < horizon.choices_ms
            && self.choice.is_empty()
            && self.events.is_empty()
            && self.received.is_empty()
            && self.erased.is_none()
            && !self.is_followed()
    }

    /// The time of the oldest thing in it that ages, epoch milliseconds: it is looked at again when
    /// that is over by the horizon. A click or trait, which has an end of its own, counts as so much
    /// older.
    pub(super) fn oldest_ms(&self, horizon: Horizon) -> i64 {
        let passed = horizon.now_ms.saturating_sub(horizon.choices_ms.max(horizon.sent_ms));
        let words = self.choice.spoken().filter_map(|(_, word)| word.yes_ms);
        words
            .chain([self.seen_ms])
            .chain(self.clicks.iter().map(|click| click.until_ms.saturating_sub(passed)))
            .chain(self.traits.iter().map(|one| one.until_ms.saturating_sub(passed)))
            .chain(self.events.iter().map(|event| event.at_ms))
            .chain(self.received.iter().map(|sum| sum.last_ms))
            .chain(self.erased.iter().map(|tombstone| tombstone.at_ms))
            .min()
            .unwrap_or(i64::MAX)
    }

    fn fold(&mut self) {
        while self.events.len() > EVENTS {
            let oldest = self.events.remove(0);
            let mut destinations: Vec<DestinationNo> = oldest.to.iter().map(|(d, _)| *d).collect();
            destinations.sort_unstable();
            destinations.dedup();
            for destination in destinations {
                let at_ms = oldest.at_ms;
                self.add(InSum { destination, first_ms: at_ms, last_ms: at_ms, count: 1 });
            }
        }
    }

    fn add(&mut self, sum: InSum) {
        match self.received.iter_mut().find(|known| known.destination == sum.destination) {
            Some(known) => {
                known.first_ms = known.first_ms.min(sum.first_ms);
                known.last_ms = known.last_ms.max(sum.last_ms);
                known.count = known.count.saturating_add(sum.count);
            }
            None => self.received.push(sum),
        }
    }
}

impl Tombstone {
    /// Whether something that happened at a time happened until the erasure. A time without
    /// milliseconds is by a clock that has none, and may be any moment of its second: what is new
    /// is not taken for old by it, and what was known before is known by its id.
    fn covers(&self, happened_ms: i64) -> bool {
        let is_whole_second = happened_ms.rem_euclid(SECOND_MS) == 0;
        let latest_ms = happened_ms.saturating_add(if is_whole_second { SECOND_MS - 1 } else { 0 });
        latest_ms <= self.at_ms
    }

    fn add(&mut self, events: Vec<IdHash>) {
        self.events.extend(events);
        let surplus = self.events.len().saturating_sub(ERASED_EVENTS);
        self.events.drain(..surplus);
    }
}
