//! What people have approved: the content of `consent.lock`, and what it takes from a permit.
//!
//! Approval only ever takes away. The rules decide first; then a combination that the lock does not
//! hold is held (`not_approved`), and of one that it holds only the approved fields leave. It reads
//! no file and checks no signature: [`super::lock`] has the text form, `config` the standing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Decision, Grant, HowRead, IpForm, Permit, PropertyRule, Purpose, Reason, ReasonCode, Region,
    State, region::covers,
};
use crate::event::{ActionSource, Field, FieldSet};

/// The name of an unknown region in a list of patterns.
pub const UNKNOWN_REGION: &str = "unknown";

/// What a person's state can be, as far as rules tell states apart. A state is of one or more of
/// these, and has what all of them have: rules look at each purpose by itself, and at opt-outs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StateKind {
    /// Every purpose is granted, and nothing opted out of.
    Granted,
    /// No signal at all.
    Silent,
    /// One purpose is denied.
    Denied(Purpose),
    /// There are signals, and none about this purpose.
    NotAsked(Purpose),
    /// Opted out of sale, sharing or targeting.
    OptedOut,
    /// A minor.
    Minor,
}

impl StateKind {
    /// The closed list, in the order of reports.
    pub const ALL: [StateKind; 12] = [
        StateKind::Granted,
        StateKind::Silent,
        StateKind::NotAsked(Purpose::AdStorage),
        StateKind::NotAsked(Purpose::AdUserData),
        StateKind::NotAsked(Purpose::AdPersonalization),
        StateKind::NotAsked(Purpose::AnalyticsStorage),
        StateKind::Denied(Purpose::AdStorage),
        StateKind::Denied(Purpose::AdUserData),
        StateKind::Denied(Purpose::AdPersonalization),
        StateKind::Denied(Purpose::AnalyticsStorage),
        StateKind::OptedOut,
        StateKind::Minor,
    ];

    /// The name in locks and reports, such as `ad_storage_denied`.
    pub fn name(self) -> String {
        match self {
            StateKind::Granted => "granted".to_owned(),
            StateKind::Silent => "silent".to_owned(),
            StateKind::Denied(purpose) => format!("{}_denied", purpose.name()),
            StateKind::NotAsked(purpose) => format!("{}_not_asked", purpose.name()),
            StateKind::OptedOut => "opted_out".to_owned(),
            StateKind::Minor => "minor".to_owned(),
        }
    }

    /// Reads the name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kinds that a state is of; at least one.
    pub fn of(state: &State) -> impl Iterator<Item = StateKind> + '_ {
        let is_silent = state.is_silent()
            && !state.opt_out.any()
            && Purpose::ALL.iter().all(|(p, _)| state.grants.get(*p) == Grant::NotAsked);
        let is_of = move |kind: StateKind| match kind {
            StateKind::Silent => is_silent,
            StateKind::Denied(purpose) => state.grants.get(purpose) == Grant::Denied,
            StateKind::NotAsked(purpose) => {
                !is_silent && state.grants.get(purpose) == Grant::NotAsked
            }
            StateKind::OptedOut => state.opt_out.any() || state.provider_only,
            StateKind::Minor => state.minor,
            StateKind::Granted => false,
        };
        let plain = !Self::ALL.into_iter().any(is_of);
        Self::ALL.into_iter().filter(move |kind| is_of(*kind) || (plain && *kind == Self::Granted))
    }

    /// The plainest state of this kind: everything else is granted.
    pub fn example(self, region: Region) -> State {
        let mut state = State {
            region,
            grants: super::Grants::default(),
            opt_out: super::OptOut::default(),
            sources: Vec::new(),
            minor: self == StateKind::Minor,
            ..State::default()
        };
        if self == StateKind::Silent {
            return state;
        }
        state.sources.push("consent_mode".to_owned());
        for (purpose, _) in Purpose::ALL {
            *state.grants.get_mut(purpose) = match self {
                StateKind::Denied(denied) if denied == purpose => Grant::Denied,
                StateKind::NotAsked(missing) if missing == purpose => Grant::NotAsked,
                _ => Grant::Granted,
            };
        }
        if self == StateKind::OptedOut {
            state.opt_out = super::OptOut {
                sale: true,
                sharing: true,
                targeted: true,
                sources: vec!["gpc".to_owned()],
            };
        }
        state
    }
}

/// In what form something leaves: the part of a permit that is approved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Terms {
    /// In the platform's restricted mode only.
    pub limited: bool,
    /// With the platform's flag for denied personalisation only.
    pub personalization_denied: bool,
    /// The fields.
    pub fields: FieldSet,
    /// Properties without a field of their own, by name.
    pub properties: Vec<String>,
    /// Properties that do not leave even where all do.
    pub except: Vec<String>,
    /// In what form the address leaves.
    pub ip: IpForm,
}

impl Terms {
    /// What of a permit concerns a destination that can send these fields.
    pub fn of(permit: &Permit, sendable: FieldSet) -> Self {
        let fields = permit.fields.intersection(sendable);
        let sorted = |names: &[String]| {
            let mut names = names.to_vec();
            names.sort();
            names.dedup();
            names
        };
        let free = sendable.contains(Field::OtherProperties);
        let all = fields.contains(Field::OtherProperties);
        let mut properties = sorted(&permit.properties.allow);
        properties.retain(|name| free && !all && !permit.properties.deny.contains(name));
        Self {
            limited: permit.limited,
            personalization_denied: permit.personalization_denied,
            fields,
            properties,
            except: if all { sorted(&permit.properties.deny) } else { Vec::new() },
            ip: if fields.contains(Field::Ip) { permit.ip } else { IpForm::None },
        }
    }

    /// What these terms let leave that others do not, as paths and plain words; empty if nothing.
    pub fn beyond(&self, approved: &Terms) -> Vec<String> {
        let more = self.fields.difference(approved.fields);
        let mut beyond: Vec<String> = more.iter().map(|field| field.path().to_owned()).collect();
        let allows = |terms: &Terms, name: &String| {
            if terms.fields.contains(Field::OtherProperties) {
                !terms.except.contains(name)
            } else {
                terms.properties.contains(name)
            }
        };
        let named = self.properties.iter().chain(&approved.except);
        for name in named.filter(|name| allows(self, name) && !allows(approved, name)) {
            beyond.push(format!("properties.{name}"));
        }
        if self.ip < approved.ip && !more.contains(Field::Ip) {
            beyond.push(format!("{} in a fuller form", Field::Ip.path()));
        }
        if approved.limited && !self.limited {
            beyond.push("outside of the restricted mode".to_owned());
        }
        if approved.personalization_denied && !self.personalization_denied {
            beyond.push("without the flag for denied personalisation".to_owned());
        }
        beyond
    }
}

/// One line of a lock: what leaves for a destination of one plan event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Combination {
    /// The destination.
    pub destination: String,
    /// The plan event.
    pub event: String,
    /// The sites.
    pub sites: Vec<String>,
    /// Where events of it happen.
    pub sources: Vec<ActionSource>,
    /// Region patterns, of the destination's own list.
    pub regions: Vec<String>,
    /// The states.
    pub states: Vec<StateKind>,
    /// In what form it leaves.
    pub terms: Terms,
}

/// A destination as it was approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    /// The destination.
    pub destination: String,
    /// Its platform.
    pub platform: String,
    /// Where it is: scheme, host and port.
    pub address: String,
    /// The settings that say whose account, pixel or address it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub account: BTreeMap<String, String>,
    /// The legal entity.
    pub legal_entity: Option<String>,
    /// What it is to the controller (`processor`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The region patterns that its combinations tell apart, held ones included.
    pub regions: Vec<String>,
}

/// The content of a lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// How signals were read.
    reading: HowRead,
    /// Destinations by name.
    recipients: BTreeMap<String, Recipient>,
    /// The names under which each plan event arrives.
    incoming: BTreeMap<String, BTreeSet<String>>,
    /// What may leave, in order.
    combinations: Vec<Combination>,
    /// Where in `combinations` each destination's and event's are.
    index: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
}

/// What a decision is about, besides the person.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    /// The destination's name.
    pub destination: &'a str,
    /// Its platform's name.
    pub platform: &'a str,
    /// Where it delivers: scheme, host and port; `None`: this machine, where nothing leaves to.
    pub address: Option<&'a str>,
    /// Whose account it is, as [`Recipient::account`].
    pub account: &'a BTreeMap<String, String>,
    /// The legal entity.
    pub legal_entity: Option<&'a str>,
    /// What that is to the controller.
    pub role: Option<&'a str>,
    /// The name under which the event arrived, where it arrives now.
    pub incoming: Option<&'a str>,
    /// The fields that it can send.
    pub sendable: FieldSet,
    /// The plan event.
    pub event: &'a str,
    /// The site.
    pub site: &'a str,
    /// Where the event happened.
    pub source: ActionSource,
    /// The fields that it has, for the report of what was removed.
    pub present: FieldSet,
    /// The person's state.
    pub state: &'a State,
}

impl Lock {
    /// Puts a lock together.
    pub fn new(
        reading: HowRead,
        recipients: Vec<Recipient>,
        combinations: Vec<Combination>,
    ) -> Self {
        let mut index: BTreeMap<String, BTreeMap<String, Vec<usize>>> = BTreeMap::new();
        for (at, one) in combinations.iter().enumerate() {
            let events = index.entry(one.destination.clone()).or_default();
            events.entry(one.event.clone()).or_default().push(at);
        }
        let recipients = recipients.into_iter().map(|r| (r.destination.clone(), r)).collect();
        Self { reading, recipients, incoming: BTreeMap::new(), combinations, index }
    }

    /// The same, with the names under which each plan event arrives.
    #[must_use]
    pub fn with_incoming(self, incoming: BTreeMap<String, BTreeSet<String>>) -> Self {
        Self { incoming, ..self }
    }

    /// The names under which each plan event arrives.
    pub fn incoming(&self) -> &BTreeMap<String, BTreeSet<String>> {
        &self.incoming
    }

    /// How signals were read when it was written.
    pub fn reading(&self) -> &HowRead {
        &self.reading
    }

    /// What may leave, in the order of the file.
    pub fn combinations(&self) -> &[Combination] {
        &self.combinations
    }

    /// The destinations, by name.
    pub fn recipients(&self) -> impl Iterator<Item = &Recipient> {
        self.recipients.values()
    }

    /// Every region pattern that it tells apart.
    pub fn regions(&self) -> impl Iterator<Item = &str> {
        self.recipients.values().flat_map(|one| one.regions.iter().map(String::as_str))
    }

    /// The terms of one combination; `None` where it does not hold it. The region is judged by the
    /// lock's own patterns, whatever today's rules call it.
    pub fn terms(
        &self,
        destination: &str,
        event: &str,
        site: &str,
        source: ActionSource,
        region: &Region,
        kind: StateKind,
    ) -> Option<&Terms> {
        let pattern = pattern(&self.recipients.get(destination)?.regions, region)?;
        let places = self.index.get(destination)?.get(event)?;
        let mut found = places.iter().filter_map(|at| self.combinations.get(*at));
        found
            .find(|one| {
                one.states.contains(&kind)
                    && one.regions.iter().any(|r| r == pattern)
                    && one.sources.contains(&source)
                    && one.sites.iter().any(|s| s == site)
            })
            .map(|one| &one.terms)
    }

    /// Takes from a permit what is not approved; `Err` says why nothing is.
    fn restrain(&self, permit: &mut Permit, on: &Occasion<'_>) -> Result<FieldSet, String> {
        let Occasion { destination, event, site, source, .. } = *on;
        let Some(recipient) = self.recipients.get(destination) else {
            return Err(format!("consent.lock has no destination {destination:?}"));
        };
        if recipient.platform != on.platform {
            let approved = &recipient.platform;
            return Err(format!("consent.lock approves {destination:?} as {approved:?} only"));
        }
        if let Some(address) = on.address.filter(|address| *address != recipient.address) {
            let approved = &recipient.address;
            return Err(format!("consent.lock approves {approved:?}, not {address:?}"));
        }
        let others = recipient.differs(on.account, on.legal_entity, on.role);
        // An event that is new altogether is told by its combinations.
        let is_known = self.index.get(destination).is_some_and(|events| events.contains_key(event));
        let concerns =
            |other: &&String| event_of(other).is_none_or(|named| is_known && named == event);
        if let Some(other) = others.iter().find(concerns) {
            return Err(format!("consent.lock approves {destination:?} with another {other}"));
        }
        if let Some(name) = on.incoming
            && !self.incoming.get(event).is_some_and(|names| names.contains(name))
        {
            return Err(format!("consent.lock does not approve {name:?} as {event}"));
        }
        let before = permit.fields;
        for kind in StateKind::of(on.state) {
            let region = &on.state.region;
            let Some(terms) = self.terms(destination, event, site, source, region, kind) else {
                let region = region.as_deref().unwrap_or(UNKNOWN_REGION);
                return Err(format!(
                    "consent.lock does not approve {event} of {site} for {destination}: region \
                     {region}, {}",
                    kind.name().replace('_', " ")
                ));
            };
            if terms.limited && !permit.limited {
                return Err(format!(
                    "consent.lock approves {event} for {destination} in the restricted mode only"
                ));
            }
            narrow(permit, terms, on.sendable);
        }
        Ok(before.difference(permit.fields))
    }
}

impl Recipient {
    /// What of whom it names is not as it was approved, by name.
    pub fn differs(
        &self,
        account: &BTreeMap<String, String>,
        legal_entity: Option<&str>,
        role: Option<&str>,
    ) -> Vec<String> {
        let keys: BTreeSet<&String> = self.account.keys().chain(account.keys()).collect();
        let accounts = keys.into_iter().filter(|key| self.account.get(*key) != account.get(*key));
        let entity = (self.legal_entity.as_deref() != legal_entity).then(|| "recipient".to_owned());
        let role = (self.role.as_deref() != role).then(|| "role".to_owned());
        accounts.cloned().chain(entity).chain(role).collect()
    }
}

/// The event whose entries a key of an account stands in (`events.NAME.KEY`); `None`: every event's.
pub fn event_of(key: &str) -> Option<&str> {
    Some(key.strip_prefix("events.")?.rsplit_once('.')?.0)
}

/// The most specific pattern that covers a region.
fn pattern<'p>(patterns: &'p [String], region: &Region) -> Option<&'p str> {
    if region.is_none() && patterns.iter().any(|p| p == UNKNOWN_REGION) {
        return Some(UNKNOWN_REGION);
    }
    let covering = patterns.iter().filter_map(|p| Some((covers(p, region)?, p.as_str())));
    covering.max_by_key(|(closeness, _)| *closeness).map(|(_, pattern)| pattern)
}

fn narrow(permit: &mut Permit, terms: &Terms, sendable: FieldSet) {
    let had_all = permit.fields.contains(Field::OtherProperties);
    // What the destination cannot send anyway is nobody's to approve.
    let beyond = permit.fields.intersection(sendable).difference(terms.fields);
    permit.fields = permit.fields.difference(beyond);
    let PropertyRule { allow, deny } = &mut permit.properties;
    if terms.fields.contains(Field::OtherProperties) {
        deny.extend(terms.except.iter().cloned());
    } else if had_all {
        allow.clone_from(&terms.properties);
    } else {
        allow.retain(|name| terms.properties.contains(name));
    }
    permit.ip = permit.ip.max(terms.ip);
    if permit.ip == IpForm::None {
        permit.fields.remove(Field::Ip);
    }
    if terms.personalization_denied {
        permit.personalization_denied = true;
        permit.grants.ad_personalization = Grant::Denied;
    }
}

/// Whether approval is asked for, and what is approved.
#[derive(Debug, Clone, Default)]
pub struct Approval {
    /// Live, and there is a lock or the rules require one.
    pub enforced: bool,
    /// The lock's content, signed or not; for reports.
    pub lock: Option<Lock>,
    /// Why the lock approves nothing, if it does not.
    pub void: Option<String>,
    /// Who signed what, newest last; also of earlier locks.
    pub signed: Vec<super::SignOff>,
    /// SHA-256 of the lock, hex; empty where there is none.
    pub hash: String,
}

impl Approval {
    /// The lock that counts.
    pub fn in_force(&self) -> Option<&Lock> {
        self.lock.as_ref().filter(|_| self.void.is_none())
    }

    /// Takes what is not approved from what the rules decided.
    #[must_use]
    pub fn apply(&self, decision: Decision, on: &Occasion<'_>) -> Decision {
        if !self.enforced {
            return decision;
        }
        let Decision { permit, mut reasons, removed, rule } = decision;
        let mut permit = match permit {
            Ok(permit) => permit,
            held => return Decision { permit: held, reasons, removed, rule },
        };
        let outcome = match (self.in_force(), &self.void) {
            (Some(lock), _) => lock.restrain(&mut permit, on),
            (None, Some(void)) => Err(void.clone()),
            (None, None) => Err("there is no consent.lock".to_owned()),
        };
        match outcome {
            Ok(taken) => {
                let taken = taken.intersection(on.sendable).intersection(on.present);
                if !taken.is_empty() {
                    let paths: Vec<&str> = taken.iter().map(Field::path).collect();
                    let message = format!("consent.lock does not approve {}", paths.join(", "));
                    let code = ReasonCode::FieldsRemoved;
                    reasons.push(Reason { code, rule: "default".to_owned(), message });
                }
                Decision { permit: Ok(permit), reasons, removed: removed.union(taken), rule }
            }
            Err(message) => {
                let (code, rule) = (ReasonCode::NotApproved, "default".to_owned());
                reasons.insert(0, Reason { code, rule: rule.clone(), message });
                Decision { permit: Err(code), reasons, removed: FieldSet::EMPTY, rule }
            }
        }
    }
}
