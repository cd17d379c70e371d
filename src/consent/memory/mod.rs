//! Choices that are remembered: what a person said, when, and what it means for an event that says
//! nothing itself, or that waits to be sent. Pure; where choices are kept is the queue's.
//!
//! Of each purpose and opt-out two times are kept: that of the last yes and that of the last no. No
//! more is needed. A no binds until a newer explicit yes, and does not age; a yes that comes later
//! lifts it for later events only, so that the no stays known for what was queued before it. Of two
//! words of the same moment the stricter counts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    ByVendor, Grant, Grants, Memory, Purpose, State, VendorIds,
    clicks::{self, Click},
    said::instead_of_grants,
    traits::{self, Trait},
};

/// The source under which a remembered choice appears in a [`State`].
pub const MEMORY: &str = "memory";

/// A word that only repeats the last one is written again after so long.
const REFRESH_MS: i64 = 60 * 60 * 1000;

/// What a person said about one thing. Times are epoch milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Word {
    /// The last yes.
    pub yes_ms: Option<i64>,
    /// That yes named vendors (a TC string): it lifts a no, and grants what [`Vendors`] say.
    to_vendors: bool,
    /// The last no.
    pub no_ms: Option<i64>,
    /// When that no arrived here.
    heard_ms: i64,
}

impl Word {
    fn yes(at_ms: i64, to_vendors: bool) -> Self {
        Self { yes_ms: Some(at_ms), to_vendors, ..Self::default() }
    }

    fn no(at_ms: i64, heard_ms: i64) -> Self {
        Self { no_ms: Some(at_ms), heard_ms, ..Self::default() }
    }

    /// Takes in what was said elsewhere, or at another time.
    fn merge(&mut self, other: Word) {
        (self.yes_ms, self.to_vendors) =
            (self.yes_ms, self.to_vendors).max((other.yes_ms, other.to_vendors));
        (self.no_ms, self.heard_ms) =
            (self.no_ms, self.heard_ms).max((other.no_ms, other.heard_ms));
    }

    /// The word that stands: the newer one, at the same time the stricter one.
    pub fn last(&self) -> Grant {
        match (self.yes_ms, self.no_ms) {
            (None, None) => Grant::NotAsked,
            (yes, no) if no >= yes => Grant::Denied,
            _ => Grant::Granted,
        }
    }

    /// The word for something that happened at a time: a no counts whenever it was said, and a yes
    /// lifts an earlier no for what happens after it.
    fn about(&self, at_ms: i64) -> Grant {
        match (self.last(), self.no_ms, self.yes_ms) {
            (Grant::Granted, Some(_), Some(yes)) if yes > at_ms => Grant::Denied,
            (last, ..) => last,
        }
    }

    /// Whether it was refused after something was said and accepted: later, or at the same time but
    /// heard later. Of one request each event speaks for itself.
    fn refused_since(&self, said_ms: i64, accepted_ms: i64) -> bool {
        self.no_ms.is_some_and(|no| (no, self.heard_ms) > (said_ms, accepted_ms))
    }

    /// Whether taking in another word would change what counts, or when it was said by much.
    fn learns(&self, other: Word) -> bool {
        let mut both = *self;
        both.merge(other);
        let moved = |from: Option<i64>, to: Option<i64>| match (from, to) {
            (Some(from), Some(to)) => to.saturating_sub(from) >= REFRESH_MS,
            (from, to) => from != to,
        };
        both != *self
            && (both.last() != self.last()
                || both.to_vendors != self.to_vendors
                || moved(self.yes_ms, both.yes_ms)
                || moved(self.no_ms, both.no_ms))
    }

    /// Forgets a yes from before a time. The no that it lifted goes with it, and does not come back.
    fn forget_yes(&mut self, before_ms: i64) {
        if self.yes_ms.is_some_and(|yes| yes < before_ms) {
            if self.last() == Grant::Granted {
                (self.no_ms, self.heard_ms) = (None, 0);
            }
            (self.yes_ms, self.to_vendors) = (None, false);
        }
    }
}

/// What signals that name vendors came to for each destination that was known when they came; of one
/// that is added later nobody knows, and it has no grant of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vendors {
    /// When it was said, epoch milliseconds.
    at_ms: i64,
    /// By the destinations' ids, each once, sorted.
    to: ByVendor,
}

impl Vendors {
    /// What each destination was granted.
    pub fn to(&self) -> &[(VendorIds, Grants)] {
        &self.to
    }

    /// What of it may be used: of the purposes that are granted in `all`, and where grants may not be
    /// used, only what is refused to single vendors. `None` where that is nothing.
    fn usable(&self, all: Grants, grants: bool) -> Option<(Grants, ByVendor)> {
        let usable = |mut said: Grants| {
            for (purpose, _) in Purpose::ALL {
                if all.get(purpose) != Grant::Granted {
                    *said.get_mut(purpose) = Grant::NotAsked;
                }
            }
            if grants { said } else { instead_of_grants(said, Grant::NotAsked) }
        };
        let to: ByVendor = self.to.iter().map(|(ids, said)| (*ids, usable(*said))).collect();
        let all = usable(all);
        let says = |said: &Grants| *said != Grants::default();
        (says(&all) || to.iter().any(|(_, said)| says(said))).then_some((all, to))
    }

    /// The newer counts; of the same moment what both know, and the stricter of it.
    fn merge(&mut self, other: &Vendors) {
        if other.at_ms > self.at_ms {
            self.clone_from(other);
        } else if other.at_ms == self.at_ms {
            self.to.retain_mut(|(ids, grants)| {
                let Some((_, others)) = other.to.iter().find(|(known, _)| known == ids) else {
                    return false;
                };
                for (purpose, _) in Purpose::ALL {
                    let place = grants.get_mut(purpose);
                    *place = place.strictest(others.get(purpose));
                }
                true
            });
        }
    }
}

/// A person's choice at one controller.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Choice {
    /// In the order of [`Purpose::ALL`]: yes is a grant, no a denial.
    purposes: [Word; 4],
    /// Sale, sharing, targeting: no is an opt-out, yes lifts it.
    opt_outs: [Word; 3],
    /// What a yes that names vendors came to; stored beside the rest, which was there before it.
    #[serde(skip)]
    pub vendors: Option<Vendors>,
}

/// How far remembered grants may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Grants count; else only refusals do.
    pub grants: bool,
    /// Older grants do not.
    pub since: Timestamp,
}

impl Terms {
    /// The terms for an event of an action source that came through a door (`webhook`, `import`).
    pub fn of(memory: &Memory, action_source: &str, door: Option<&str>, now: Timestamp) -> Self {
        let is_door =
            |word: &str| word.strip_prefix("door:").is_some_and(|listed| Some(listed) == door);
        let grants = memory.use_for.iter().any(|word| word == action_source || is_door(word));
        Self { grants, since: now.checked_sub(memory.max_age).unwrap_or(Timestamp::MIN) }
    }
}

impl Choice {
    /// The choice that an event's own signals leave; `None` where they say nothing that binds or
    /// allows.
    pub fn of(state: &State, heard: Timestamp) -> Option<Self> {
        let (at_ms, heard_ms) = (state.at_ms, heard.as_millisecond());
        let mut choice = Self::default();
        for (word, (purpose, _)) in choice.purposes.iter_mut().zip(Purpose::ALL) {
            *word = match state.grants.get(purpose) {
                Grant::Granted => Word::yes(at_ms, state.names_vendors()),
                Grant::Denied => Word::no(at_ms, heard_ms),
                Grant::NotAsked => Word::default(),
            };
        }
        let out = &state.opt_out;
        let lifts = lifts_opt_outs(state);
        for (word, is_out) in choice.opt_outs.iter_mut().zip([out.sale, out.sharing, out.targeted])
        {
            if is_out {
                *word = Word::no(at_ms, heard_ms);
            } else if lifts {
                *word = Word::yes(at_ms, false);
            }
        }
        (choice != Self::default()).then_some(choice)
    }

    /// The same with what it comes to for destinations, where it names vendors.
    #[must_use]
    pub fn to_vendors(
        mut self,
        state: &State,
        grants: impl IntoIterator<Item = (VendorIds, Grants)>,
    ) -> Self {
        if self.purposes.iter().any(|word| word.to_vendors) {
            let mut to: ByVendor = grants.into_iter().collect();
            to.sort_by_key(|(ids, _)| *ids);
            to.dedup_by_key(|(ids, _)| *ids);
            self.vendors = Some(Vendors { at_ms: state.at_ms, to });
        }
        self
    }

    /// A refusal of some purposes.
    pub fn refusal(purposes: &[Purpose], at: Timestamp) -> Self {
        let mut choice = Self::default();
        for (word, (purpose, _)) in choice.purposes.iter_mut().zip(Purpose::ALL) {
            if purposes.contains(&purpose) {
                *word = Word::no(at.as_millisecond(), at.as_millisecond());
            }
        }
        choice
    }

    /// A refusal of everything, for ever: of somebody whose choice cannot be read.
    pub fn unreadable() -> Self {
        Self { purposes: [Word::no(i64::MAX, i64::MAX); 4], ..Self::default() }
    }

    /// Whether anything in it is refused.
    pub fn refuses(&self) -> bool {
        self.words().any(|word| word.no_ms.is_some())
    }

    /// Whether it refuses what remembered clicks and traits rest on.
    pub fn refuses_clicks(&self) -> bool {
        self.spoken().any(|(name, word)| {
            let about =
                matches!(name, "ad_storage" | "ad_user_data") || name.starts_with("opt_out");
            about && word.no_ms.is_some()
        })
    }

    /// Whether anything was refused at or after a time.
    pub fn refuses_since(&self, at_ms: i64) -> bool {
        self.words().any(|word| word.no_ms.is_some_and(|no| no >= at_ms))
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.vendors.is_none() && self.words().all(|word| *word == Word::default())
    }

    /// Takes in another choice of the same person: each word by its time, the stricter of equals.
    pub fn merge(&mut self, other: &Choice) {
        for (word, other) in self.words_mut().zip(other.words()) {
            word.merge(*other);
        }
        match (&mut self.vendors, &other.vendors) {
            (Some(own), Some(other)) => own.merge(other),
            (own @ None, other) => own.clone_from(other),
            (Some(_), None) => {}
        }
    }

    /// Whether another choice says anything that is not known yet. What only repeats the last word
    /// within the hour is not news.
    pub fn learns(&self, other: &Choice) -> bool {
        let names_others = match (&self.vendors, &other.vendors) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(own), Some(other)) => own.at_ms <= other.at_ms && own.to != other.to,
        };
        names_others || self.words().zip(other.words()).any(|(word, other)| word.learns(*other))
    }

    /// Forgets grants from before a time; refusals do not age.
    pub fn forget(&mut self, before: Timestamp) {
        self.words_mut().for_each(|word| word.forget_yes(before.as_millisecond()));
        if !self.words().any(|word| word.to_vendors) {
            self.vendors = None;
        }
    }

    /// Forgets everything that was said until a time.
    pub fn forget_all(&mut self, until_ms: i64) {
        self.vendors.take_if(|vendors| vendors.at_ms <= until_ms);
        for word in self.words_mut() {
            if word.yes_ms.take_if(|at_ms| *at_ms <= until_ms).is_some() {
                word.to_vendors = false;
            }
            if word.no_ms.take_if(|at_ms| *at_ms <= until_ms).is_some() {
                word.heard_ms = 0;
            }
        }
    }

    /// The newest time in it.
    pub fn newest_ms(&self) -> Option<i64> {
        self.words().flat_map(|word| [word.yes_ms, word.no_ms]).flatten().max()
    }

    /// Speaks for an event that came without a signal of its own, and happened at a time. What was
    /// said of vendors is refused to some whatever the terms are, and granted to others by them.
    pub fn speak(&self, state: &mut State, happened: Timestamp, terms: Terms) {
        let at_ms = happened.as_millisecond();
        let mut rests_on: Option<i64> = None;
        let mut spoke = false;
        let mut by_vendor = Grants::default();
        for (word, (purpose, _)) in self.purposes.iter().zip(Purpose::ALL) {
            match word.about(at_ms) {
                Grant::Denied => {
                    *state.grants.get_mut(purpose) = Grant::Denied;
                    spoke = true;
                }
                Grant::Granted => {
                    let yes_ms = word.yes_ms.unwrap_or(i64::MIN);
                    if yes_ms < terms.since.as_millisecond() {
                        continue;
                    }
                    if word.to_vendors {
                        *by_vendor.get_mut(purpose) = Grant::Granted;
                    } else if terms.grants {
                        *state.grants.get_mut(purpose) = Grant::Granted;
                        spoke = true;
                    }
                    if terms.grants && (self.vendors.is_some() || !word.to_vendors) {
                        rests_on = Some(rests_on.map_or(yes_ms, |oldest| oldest.min(yes_ms)));
                    }
                }
                Grant::NotAsked => {}
            }
        }
        spoke |= opt_out(state, &self.opt_outs, |word| word.about(at_ms) == Grant::Denied);
        let vendors = self.vendors.as_ref().and_then(|v| v.usable(by_vendor, terms.grants));
        if spoke || vendors.is_some() {
            state.remember(rests_on.unwrap_or(0), vendors);
        }
    }

    /// What of it binds an event that has signals of its own: what was refused after they were given,
    /// and what was refused before and they do not speak of. A purpose is spoken of by a grant or a
    /// denial of it, opt-outs by an explicit grant for advertising that comes without one. `None`
    /// where nothing does. `accepted_ms`: when the event arrived.
    pub fn beside(&self, state: &State, happened: Timestamp, accepted_ms: i64) -> Option<Refusals> {
        let happened_ms = happened.as_millisecond();
        let since = |word: &Word| word.refused_since(state.at_ms, accepted_ms);
        let stands = |word: &Word| word.about(happened_ms) == Grant::Denied;
        let mut refusals = Refusals::default();
        for (word, (purpose, _)) in self.purposes.iter().zip(Purpose::ALL) {
            let is_unsaid = state.grants.get(purpose) == Grant::NotAsked;
            if since(word) || (is_unsaid && stands(word)) {
                *refusals.purposes.get_mut(purpose) = Grant::Denied;
            }
        }
        let is_unsaid = !lifts_opt_outs(state);
        for (word, out) in self.opt_outs.iter().zip(&mut refusals.opt_outs) {
            *out = since(word) || (is_unsaid && stands(word));
        }
        (refusals != Refusals::default()).then_some(refusals)
    }

    /// Applies what the person has refused meanwhile to the state of something that waits. It never
    /// allows anything. Returns whether it changed anything. `accepted_ms`: when that arrived.
    pub fn bind(&self, state: &mut State, happened: Timestamp, accepted_ms: i64) -> bool {
        let happened_ms = happened.as_millisecond();
        // With signals of its own only what was refused after they were given counts; without, all
        // that is not lifted.
        let own_ms = state.speaks_for_itself().then_some(state.at_ms);
        let refused = |word: &Word| match own_ms {
            Some(own_ms) => word.refused_since(own_ms, accepted_ms),
            None => word.about(happened_ms) == Grant::Denied,
        };
        let mut changed = false;
        for (word, (purpose, _)) in self.purposes.iter().zip(Purpose::ALL) {
            if refused(word) && state.grants.get(purpose) != Grant::Denied {
                *state.grants.get_mut(purpose) = Grant::Denied;
                changed = true;
            }
        }
        changed |= opt_out(state, &self.opt_outs, refused);
        if changed && !state.sources.iter().any(|source| source == MEMORY) {
            state.sources.push(MEMORY.to_owned());
        }
        changed
    }

    /// Each thing that was spoken of, with its word: purposes, then sale, sharing and targeting.
    pub fn spoken(&self) -> impl Iterator<Item = (&'static str, Word)> + '_ {
        let names = Purpose::ALL.iter().map(|(_, name)| *name);
        names
            .chain(["opt_out.sale", "opt_out.sharing", "opt_out.targeted"])
            .zip(self.words().copied())
            .filter(|(_, word)| *word != Word::default())
    }

    fn words(&self) -> impl Iterator<Item = &Word> {
        self.purposes.iter().chain(&self.opt_outs)
    }

    fn words_mut(&mut self) -> impl Iterator<Item = &mut Word> {
        self.purposes.iter_mut().chain(&mut self.opt_outs)
    }
}

/// What lifts an opt-out: an explicit grant to store or use data for advertising, without any.
fn lifts_opt_outs(state: &State) -> bool {
    let is_granted = |purpose: &Purpose| state.grants.get(*purpose) == Grant::Granted;
    [Purpose::AdStorage, Purpose::AdUserData].iter().any(is_granted) && !state.opt_out.any()
}

/// Whether signals leave anything open of which a remembered refusal may speak.
pub fn leaves_open(state: &State) -> bool {
    let is_unsaid = |(purpose, _): &(Purpose, _)| state.grants.get(*purpose) == Grant::NotAsked;
    Purpose::ALL.iter().any(is_unsaid) || !lifts_opt_outs(state)
}

/// What somebody refuses, and nothing that they allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refusals {
    /// Denied, or not asked.
    pub(super) purposes: Grants,
    /// Opted out of sale, sharing and targeting.
    pub(super) opt_outs: [bool; 3],
}

/// Sets the opt-outs that are refused; whether any is new.
fn opt_out(state: &mut State, words: &[Word; 3], refused: impl Fn(&Word) -> bool) -> bool {
    let out = &mut state.opt_out;
    let mut changed = false;
    for (word, place) in words.iter().zip([&mut out.sale, &mut out.sharing, &mut out.targeted]) {
        if refused(word) && !*place {
            *place = true;
            changed = true;
        }
    }
    if changed && !out.sources.iter().any(|source| source == MEMORY) {
        out.sources.push(MEMORY.to_owned());
    }
    changed
}

/// What is remembered of a person at one controller, as far as events are concerned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remembered {
    /// Their choice.
    pub choice: Choice,
    /// When they were erased, epoch milliseconds: what was accepted until then is gone.
    pub erased_ms: Option<i64>,
    /// Their clicks, oldest first.
    pub clicks: Vec<Click>,
    /// What they said of themselves.
    pub traits: Vec<Trait>,
}

impl Remembered {
    /// Takes in what is remembered of the same person under another identifier.
    pub fn merge(&mut self, other: &Remembered) {
        self.choice.merge(&other.choice);
        self.erased_ms = self.erased_ms.max(other.erased_ms);
        other.clicks.iter().for_each(|click| clicks::add(&mut self.clicks, click.clone()));
        other.traits.iter().for_each(|one| traits::add(&mut self.traits, one.clone()));
    }

    /// Whether something that was accepted at a time is gone with an erasure.
    pub fn is_gone(&self, accepted_ms: i64) -> bool {
        self.erased_ms.is_some_and(|erased| accepted_ms <= erased)
    }
}

#[cfg(test)]
mod tests;
