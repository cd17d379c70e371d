//! What a person allows, and how we know: all that a decision needs of an event.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{
    Grant, Grants, Purpose, Region, Rules, Signals,
    memory::{MEMORY, Refusals},
    said::{ByVendor, Said, Says, VendorIds, Voice, instead_of_grants},
    seen::Seen,
};

/// What frameworks' strings grant to those who read them.
const ADVERTISING: [Purpose; 3] =
    [Purpose::AdStorage, Purpose::AdUserData, Purpose::AdPersonalization];

/// What a person has opted out of, and by which signals.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OptOut {
    /// From the sale of data.
    pub sale: bool,
    /// From its sharing.
    pub sharing: bool,
    /// From targeted advertising.
    pub targeted: bool,
    /// The signals that say so, such as `gpc` or `gpp:usca`.
    pub sources: Vec<String>,
}

impl OptOut {
    /// Whether there is any; each of the three holds every destination.
    pub fn any(&self) -> bool {
        self.sale || self.sharing || self.targeted
    }

    /// Adds what a signal says of sale, sharing and targeting.
    pub(super) fn add(&mut self, source: &str, [sale, sharing, targeted]: [bool; 3]) {
        self.sale |= sale;
        self.sharing |= sharing;
        self.targeted |= targeted;
        let says_any = sale || sharing || targeted;
        if says_any && !self.sources.iter().any(|known| known == source) {
            self.sources.push(source.to_owned());
        }
    }
}

/// What a person allows, and how we know: all that a decision needs of an event. Travels with
/// every job, so that today's rules can be applied again before sending.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// Where the person is, such as `US-CA`; `None` if unknown, which is opt-in.
    pub region: Region,
    /// What is known of each purpose.
    pub grants: Grants,
    /// What they opted out of.
    pub opt_out: OptOut,
    /// A platform may act for the site only (a covered transaction in the service provider mode of
    /// the industry's US agreement): what an opt-out does to an event, this does.
    pub provider_only: bool,
    /// The signals that were read, by name.
    pub sources: Vec<String>,
    /// A minor by `user.minor`, by birth date, or by a known child's field of a GPP section.
    pub minor: bool,
    /// When it was said, epoch milliseconds: a later refusal reaches it. For a remembered choice the
    /// time of the oldest grant that it rests on; 0 where nothing was said.
    pub at_ms: i64,
    /// What the signals said before any rule, or what was remembered of them; `None` where there were
    /// none. What stands without them stands as it is.
    pub said: Option<Said>,
}

impl State {
    /// Whether somebody else than a framework's string made it stricter: an opt-out that is none of a
    /// GPP section's (GPC, the event's own, US privacy), a purpose of advertising that another signal
    /// denies, or a remembered choice. The string alone then says more than was decided.
    pub fn is_overruled(&self, rules: &Rules) -> bool {
        let is_framework = |source: &str| source.starts_with("gpp") || source.starts_with("tcf");
        let denied_by_another = |said: &Said| {
            let mut denying = ADVERTISING.iter().flat_map(|purpose| said.denying(rules, *purpose));
            denying.any(|source| !is_framework(source))
        };
        self.sources.iter().any(|source| source == MEMORY)
            || self.opt_out.sources.iter().any(|source| !source.starts_with("gpp"))
            || self.said.as_ref().is_some_and(denied_by_another)
    }

    /// Whether the event came without a signal of its own: then, and only then, a remembered choice
    /// speaks for the person, and an opt-in region holds with `no_signal`.
    ///
    /// A banner that was not answered yet, Do Not Track, and evidence that grants (`gcs`, `gcd`) are
    /// no signal: they say nothing that a person chose.
    pub fn is_silent(&self) -> bool {
        self.sources.is_empty()
    }

    /// Whether the event has a signal of its own: then no remembered choice speaks for it.
    pub fn speaks_for_itself(&self) -> bool {
        self.sources.iter().any(|source| source != MEMORY)
    }

    /// Whether it rests on what vendors a person named: it says something else of each destination.
    pub(super) fn names_vendors(&self) -> bool {
        self.said.as_ref().is_some_and(Said::names_vendors)
    }

    /// Hears what the person refused elsewhere as one more signal: it stays with the others when they
    /// are read again, for a destination's vendor or by the rules of later.
    pub fn hear(&mut self, refusals: &Refusals, rules: &Rules) {
        let mut said = self.said.take().unwrap_or_default();
        let mut say = |says| said.voices.push(Voice { source: MEMORY.to_owned(), says });
        if refusals.purposes != Grants::default() {
            say(Says::Purposes(refusals.purposes));
        }
        if refusals.opt_outs != [false; 3] {
            say(Says::OptOut(refusals.opt_outs, false));
        }
        let (region, at_ms) = (self.region.take(), self.at_ms);
        *self = State { at_ms, ..State::of(said, region, self.minor, rules, None) };
    }

    /// Keeps what a remembered choice came to as signals of its own, to be heard again by the rules of
    /// later and for each destination's vendor.
    pub(super) fn remember(&mut self, at_ms: i64, vendors: Option<(Grants, ByVendor)>) {
        let mut say = |says| {
            let voice = Voice { source: MEMORY.to_owned(), says };
            self.said.get_or_insert_default().voices.push(voice);
        };
        say(Says::Purposes(self.grants));
        let OptOut { sale, sharing, targeted, .. } = self.opt_out;
        if self.opt_out.any() {
            say(Says::OptOut([sale, sharing, targeted], false));
        }
        if let Some((all, to)) = vendors {
            for (purpose, _) in Purpose::ALL {
                let place = self.grants.get_mut(purpose);
                *place = place.strictest(all.get(purpose));
            }
            say(Says::Vendors { all, to });
        }
        self.sources.push(MEMORY.to_owned());
        self.at_ms = at_ms;
    }

    /// Takes back what remembered grants have given.
    pub fn forget_grants(&mut self) {
        let forget = |grants: &mut Grants| *grants = instead_of_grants(*grants, Grant::NotAsked);
        forget(&mut self.grants);
        for voice in self.said.iter_mut().flat_map(|said| &mut said.voices) {
            match &mut voice.says {
                Says::Purposes(grants) => forget(grants),
                Says::Vendors { all, to } => {
                    forget(all);
                    to.iter_mut().for_each(|(_, grants)| forget(grants));
                }
                Says::Tcf { .. }
                | Says::Providers
                | Says::Categories(_)
                | Says::OptOut(..)
                | Says::Gpc => {}
            }
        }
    }

    /// The same signals under the rules of today, for a destination with these vendor ids: what was
    /// decided at acceptance is decided again before sending.
    #[must_use]
    pub fn again(&self, rules: &Rules, ids: VendorIds) -> Cow<'_, State> {
        match &self.said {
            None => Cow::Borrowed(self),
            Some(said) => {
                let region = self.region.clone();
                let state = State::of(said.clone(), region, self.minor, rules, Some(ids));
                Cow::Owned(State { at_ms: self.at_ms, ..state })
            }
        }
    }

    /// What signals amount to; `ids`: to one destination.
    fn of(said: Said, region: Region, minor: bool, rules: &Rules, ids: Option<VendorIds>) -> Self {
        let settled = said.settle(rules, &region, ids);
        Self {
            grants: settled.grants,
            opt_out: settled.opt_out,
            provider_only: settled.provider_only,
            sources: settled.sources,
            minor,
            at_ms: 0,
            said: (!said.voices.is_empty()).then_some(said),
            region,
        }
    }
}

/// The signals of one event: what was seen, and what it amounts to for the person.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Every string as it came and what it decoded to, for the record. Never stored with a job.
    pub seen: Seen,
    /// What it amounts to, vendors aside.
    pub state: State,
}

/// Reads the signals of an event. `region` is where the person is, by the order of `region_from`;
/// `minor` what the event itself says.
pub fn read(rules: &Rules, signals: &Signals, region: Region, minor: bool) -> Reading {
    let seen = Seen::of(signals);
    let (said, child) = seen.said(signals, &region);
    let state = State::of(said, region, minor || child, rules, None);
    Reading { seen, state }
}

impl Seen {
    /// The state as a destination with these vendor ids has it: a TC string says which vendors a
    /// person allows, so that it grants one destination and not another.
    pub fn state_for<'s>(&self, state: &'s State, rules: &Rules, ids: VendorIds) -> Cow<'s, State> {
        let Some(said) = state.said.as_ref().filter(|said| said.names_vendors()) else {
            return Cow::Borrowed(state);
        };
        let said = self.for_vendor(said, ids);
        let region = state.region.clone();
        let own = State::of(said, region, state.minor, rules, Some(ids));
        Cow::Owned(State { at_ms: state.at_ms, ..own })
    }
}
