//! The regions that a report tells apart: patterns of the rules, of platforms' restricted modes and
//! of locks, each with one place that stands for it.

use crate::{
    config::Config,
    consent::{Region, UNKNOWN_REGION, expand_region},
};

/// A country that no pattern names: ISO 3166-1 leaves `ZZ` to users.
const ELSEWHERE: &str = "ZZ";

/// The states of the USA and the District of Columbia, by ISO 3166-2: restricted modes ask for them.
const STATES: [&str; 51] = [
    "AL", "AK", "AZ", "AR", "CA", "CO", "CT", "DE", "DC", "FL", "GA", "HI", "ID", "IL", "IN", "IA",
    "KS", "KY", "LA", "ME", "MD", "MA", "MI", "MN", "MS", "MO", "MT", "NE", "NV", "NH", "NJ", "NM",
    "NY", "NC", "ND", "OH", "OK", "OR", "PA", "RI", "SC", "SD", "TN", "TX", "UT", "VT", "VA", "WA",
    "WV", "WI", "WY",
];

/// Every pattern that a configuration tells apart, and what covers the rest.
pub(super) fn patterns(config: &Config) -> Vec<String> {
    let rules = config.consent.regions.iter().flat_map(|rule| rule.matches.iter().cloned());
    let restricted = config.destinations.values().flat_map(|destination| {
        destination.platform.purposes.restricted_in.iter().map(|pattern| (*pattern).to_owned())
    });
    sorted(rules.chain(restricted).chain(["*".to_owned(), UNKNOWN_REGION.to_owned()]))
}

/// Each once; by name, with what covers the rest at the end.
pub(super) fn sorted(patterns: impl Iterator<Item = String>) -> Vec<String> {
    let mut patterns: Vec<String> = patterns.collect();
    let rank = |pattern: &str| match pattern {
        "*" => 1,
        UNKNOWN_REGION => 2,
        _ => 0,
    };
    patterns.sort_by(|a, b| (rank(a), a).cmp(&(rank(b), b)));
    patterns.dedup();
    patterns
}

/// A place that this pattern covers and no narrower one of the list does; `None` where the others
/// leave nothing to it.
pub(super) fn place(pattern: &str, patterns: &[String]) -> Option<Region> {
    match pattern {
        UNKNOWN_REGION => Some(None),
        "*" => Some(Some(ELSEWHERE.to_owned())),
        _ => {
            let taken = |place: &str| place != pattern && patterns.iter().any(|p| p == place);
            let place = expand_region(pattern).into_iter().find(|place| !taken(place))?;
            Some(Some(place.to_owned()))
        }
    }
}

/// The parts of a country that no pattern names yet.
pub(super) fn parts(pattern: &str, patterns: &[String]) -> Vec<String> {
    if pattern != "US" {
        return Vec::new();
    }
    let states = STATES.iter().map(|state| format!("{pattern}-{state}"));
    states.filter(|state| !patterns.contains(state)).collect()
}

/// A pattern in words.
pub(super) fn words(pattern: &str) -> String {
    match pattern {
        UNKNOWN_REGION => "a region that is not known".to_owned(),
        "*" => "any other region".to_owned(),
        "EEA" => "the European Economic Area".to_owned(),
        pattern => pattern.to_owned(),
    }
}
