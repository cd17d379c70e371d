//! Every combination that a configuration allows: event × destination × site × region × state,
//! decided by the functions that `serve` decides with. Equal ones are merged.

use std::collections::{BTreeMap, BTreeSet};

use super::regions::{parts, patterns, place, sorted};
use crate::{
    config::{Config, DestinationConfig},
    consent::{
        Combination, Lock, Question, ReasonCode, Recipient, Region, StateKind, Terms, decide,
    },
    event::ActionSource,
};

/// What happens to a combination.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// It leaves on these terms; with what limited or reduced it, and by which rule.
    Leaves { terms: Terms, rule: String, reasons: Vec<(ReasonCode, String)> },
    /// It does not.
    Held { code: ReasonCode, rule: String },
}

impl Outcome {
    /// The rule that decided.
    pub(super) fn rule(&self) -> &str {
        match self {
            Outcome::Leaves { rule, .. } | Outcome::Held { rule, .. } => rule,
        }
    }

    /// The terms, where it leaves.
    pub(super) fn terms(&self) -> Option<&Terms> {
        match self {
            Outcome::Leaves { terms, .. } => Some(terms),
            Outcome::Held { .. } => None,
        }
    }

    /// Whether two end the same way for a reader, whatever rule led there.
    pub(super) fn is_alike(&self, other: &Outcome) -> bool {
        match (self, other) {
            (Outcome::Held { code, .. }, Outcome::Held { code: theirs, .. }) => code == theirs,
            (Outcome::Leaves { terms, .. }, Outcome::Leaves { terms: theirs, .. }) => {
                terms == theirs
            }
            _ => false,
        }
    }

    /// `send`, `limited` or `held`, as `explain` says it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Outcome::Leaves { terms, .. } if terms.limited => "limited",
            Outcome::Leaves { .. } => "send",
            Outcome::Held { .. } => "held",
        }
    }
}

/// Combinations that end the same way. Every event of the destination is decided alike.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row<K> {
    pub(super) sites: Vec<String>,
    pub(super) sources: Vec<ActionSource>,
    pub(super) regions: Vec<String>,
    pub(super) states: Vec<StateKind>,
    pub(super) what: K,
}

/// One decision, before merging.
struct Cell {
    source: ActionSource,
    region: String,
    state: StateKind,
    outcome: Outcome,
}

/// The plan events that feed a destination.
pub(super) fn events(destination: &DestinationConfig) -> Vec<String> {
    let fed = destination.entries.iter().filter(|(_, entries)| !entries.is_empty());
    fed.map(|(event, _)| event.clone()).collect()
}

/// Everything that can happen at a destination, merged.
pub(super) fn rows(config: &Config, destination: &DestinationConfig) -> Vec<Row<Outcome>> {
    by_sites(config, destination)
        .into_iter()
        .flat_map(|(sites, cells)| {
            let cells = cells.into_iter().map(|c| (c.source, c.region, c.state, c.outcome));
            merge(&sites, cells)
        })
        .collect()
}

/// What may leave by a configuration's rules, as a lock.
pub fn lock(config: &Config) -> Lock {
    let (mut recipients, mut combinations) = (Vec::new(), Vec::new());
    for destination in config.destinations.values() {
        let mut regions = Vec::new();
        let mut rows = Vec::new();
        for (sites, cells) in by_sites(config, destination) {
            regions.extend(cells.iter().map(|cell| cell.region.clone()));
            let leaving = cells.into_iter().filter_map(|cell| {
                let terms = cell.outcome.terms()?.clone();
                Some((cell.source, cell.region, cell.state, terms))
            });
            rows.extend(merge(&sites, leaving));
        }
        let name = &destination.name;
        let rule = config.consent.destination(name, destination.platform.name);
        recipients.push(Recipient {
            destination: name.clone(),
            platform: destination.platform.name.to_owned(),
            address: destination.address().unwrap_or_else(|| "this machine".to_owned()),
            account: destination.account.clone(),
            legal_entity: rule.and_then(|rule| rule.recipient.clone()),
            role: rule.and_then(|rule| rule.role).map(|role| role.name().to_owned()),
            regions: sorted(regions.into_iter()),
        });
        for event in events(destination) {
            combinations.extend(rows.iter().map(|row| Combination {
                destination: name.clone(),
                event: event.clone(),
                sites: row.sites.clone(),
                sources: row.sources.clone(),
                regions: row.regions.clone(),
                states: row.states.clone(),
                terms: row.what.clone(),
            }));
        }
    }
    let mut incoming: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, events) in &config.plan.by_incoming {
        for event in events {
            if combinations.iter().any(|one: &Combination| one.event == *event) {
                incoming.entry(event.clone()).or_default().insert(name.clone());
            }
        }
    }
    Lock::new(config.reading(), recipients, combinations).with_incoming(incoming)
}

/// The sites of a destination that are decided alike, with their cells: what a site changes is
/// whether it is sensitive.
fn by_sites(config: &Config, destination: &DestinationConfig) -> Vec<(Vec<String>, Vec<Cell>)> {
    let mut groups: BTreeMap<bool, Vec<String>> = BTreeMap::new();
    for name in &destination.sites {
        let Some(site) = config.sites.get(name) else { continue };
        groups.entry(site.sensitive.is_some()).or_default().push(name.clone());
    }
    // One list for all sites and sources: which pattern covers a place depends on neither.
    let mut regions = patterns(config);
    let kinds: Vec<bool> = groups.keys().copied().collect();
    regions.extend(own_parts(config, destination, &kinds, &regions));
    let regions = sorted(regions.into_iter());
    let with_cells = |(sensitive, mut sites): (bool, Vec<String>)| {
        sites.sort();
        (sites, cells(config, destination, sensitive, &regions))
    };
    groups.into_iter().map(with_cells).collect()
}

/// The parts of countries that differ from the whole, in the one thing that can: whether a
/// restricted mode can be stated for an opted-out person there.
fn own_parts(
    config: &Config,
    destination: &DestinationConfig,
    sensitive: &[bool],
    patterns: &[String],
) -> Vec<String> {
    let differs = |whole: &Region, part: &String| {
        sensitive.iter().any(|sensitive| {
            ActionSource::ALL.iter().any(|(source, _)| {
                let at = |region: Region| {
                    let state = StateKind::OptedOut;
                    outcome(config, destination, *sensitive, *source, state, region)
                };
                at(whole.clone()) != at(Some(part.clone()))
            })
        })
    };
    let own = patterns.iter().filter_map(|pattern| Some((pattern, place(pattern, patterns)?)));
    own.flat_map(|(pattern, whole)| {
        parts(pattern, patterns).into_iter().filter(move |part| differs(&whole, part))
    })
    .collect()
}

fn cells(
    config: &Config,
    destination: &DestinationConfig,
    sensitive: bool,
    regions: &[String],
) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (source, _) in ActionSource::ALL {
        for region in regions {
            let Some(place) = place(region, regions) else { continue };
            cells.extend(StateKind::ALL.into_iter().map(|state| Cell {
                source,
                region: region.clone(),
                state,
                outcome: outcome(config, destination, sensitive, source, state, place.clone()),
            }));
        }
    }
    cells
}

/// The decision on an event that has every field there is.
fn outcome(
    config: &Config,
    destination: &DestinationConfig,
    sensitive: bool,
    source: ActionSource,
    kind: StateKind,
    region: Region,
) -> Outcome {
    let state = kind.example(region);
    let question = Question {
        destination: &destination.name,
        platform: destination.platform.name,
        purposes: &destination.platform.purposes,
        action_source: source,
        present: destination.platform.takes_from(source),
        state: &state,
        sensitive,
    };
    let decision = decide(&config.consent, &question);
    match decision.permit {
        Ok(permit) => Outcome::Leaves {
            terms: Terms::of(&permit, destination.sendable()),
            rule: decision.rule,
            reasons: decision.reasons.into_iter().map(|r| (r.code, r.rule)).collect(),
        },
        Err(code) => Outcome::Held { code, rule: decision.rule },
    }
}

/// The states of one place, by how they end.
type Profile<K> = Vec<(Vec<StateKind>, K)>;
/// The places that end alike, by how.
type Profiles<K> = BTreeMap<Profile<K>, Vec<String>>;

/// Merges states that end alike, then regions whose states do, then action sources.
pub(super) fn merge<K: Ord + Clone>(
    sites: &[String],
    cells: impl Iterator<Item = (ActionSource, String, StateKind, K)>,
) -> Vec<Row<K>> {
    let mut by_place: BTreeMap<(usize, String), BTreeMap<K, Vec<StateKind>>> = BTreeMap::new();
    for (source, region, state, what) in cells {
        let Some(at) = ActionSource::ALL.iter().position(|(s, _)| *s == source) else { continue };
        by_place.entry((at, region)).or_default().entry(what).or_default().push(state);
    }
    let mut by_source: BTreeMap<usize, Profiles<K>> = BTreeMap::new();
    for ((source, region), states) in by_place {
        let mut profile: Profile<K> = states.into_iter().map(|(k, s)| (s, k)).collect();
        profile.sort();
        by_source.entry(source).or_default().entry(profile).or_default().push(region);
    }
    let mut alike: Vec<(Vec<ActionSource>, Profiles<K>)> = Vec::new();
    for (at, profiles) in by_source {
        let Some((source, _)) = ActionSource::ALL.get(at) else { continue };
        match alike.iter_mut().find(|(_, known)| *known == profiles) {
            Some((sources, _)) => sources.push(*source),
            None => alike.push((vec![*source], profiles)),
        }
    }
    let mut rows = Vec::new();
    for (sources, profiles) in alike {
        let mut profiles: Vec<_> =
            profiles.into_iter().map(|(p, regions)| (sorted(regions.into_iter()), p)).collect();
        profiles.sort();
        for (regions, profile) in profiles {
            rows.extend(profile.into_iter().map(|(states, what)| Row {
                sites: sites.to_vec(),
                sources: sources.clone(),
                regions: regions.clone(),
                states,
                what,
            }));
        }
    }
    rows
}
