//! The report as data: what the three formats print.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Beyond, beyond,
    combinations::{Outcome, Row, events, lock, rows},
    record::{Kept, Record, Step, flow, kept},
    words,
};
use crate::{
    config::Config,
    consent::{StateKind, WhenOptedOut},
};

/// The privacy report of a configuration.
#[derive(Debug)]
pub struct Report<'a> {
    pub(super) config: &'a Config,
    /// What sends without consent, in sentences: shown first, in red.
    pub(super) alarms: Vec<String>,
    /// What changed against another configuration.
    pub(super) changes: Option<Changes>,
    /// What the rules allow and the lock, signed or not, does not hold; `None` without a lock.
    pub(super) beyond_lock: Option<Vec<Beyond>>,
    /// A page a recipient.
    pub(super) pages: Vec<Page>,
    /// How data flows, for an impact assessment.
    pub(super) flow: Vec<Step>,
    /// What is kept, and how long.
    pub(super) kept: Vec<Kept>,
}

/// What changed.
#[derive(Debug)]
pub(super) struct Changes {
    /// The other configuration, as it was named.
    pub(super) against: String,
    /// What this one releases and the other does not.
    pub(super) released: Vec<Beyond>,
    /// What the other releases and this one does not.
    pub(super) withheld: Vec<Beyond>,
}

/// One destination.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) record: Record,
    pub(super) events: Vec<String>,
    pub(super) rows: Vec<Row<Outcome>>,
}

impl<'a> Report<'a> {
    /// Reports on a configuration; `against` is another one, with the name people gave it.
    pub fn new(config: &'a Config, against: Option<(&str, &Config)>) -> Self {
        let pages: Vec<Page> = config
            .destinations
            .values()
            .map(|destination| {
                let rows = rows(config, destination);
                Page {
                    record: Record::new(config, destination, &rows),
                    events: events(destination),
                    rows,
                }
            })
            .collect();
        let today = lock(config);
        let changes = against.map(|(name, other)| {
            let other = lock(other);
            Changes {
                against: name.to_owned(),
                released: beyond(&today, &other),
                withheld: beyond(&other, &today),
            }
        });
        let beyond_lock = config.approval.lock.as_ref().map(|locked| beyond(&today, locked));
        Self {
            config,
            alarms: alarms(config, &pages),
            changes,
            beyond_lock,
            pages,
            flow: flow(config),
            kept: kept(config),
        }
    }
}

/// Whether something leaves though nobody consented: no signal came, or the person opted out.
pub(super) fn is_without_consent(state: StateKind, outcome: &Outcome) -> bool {
    match state {
        StateKind::Silent => outcome.terms().is_some(),
        StateKind::OptedOut => outcome.terms().is_some_and(|terms| !terms.limited),
        _ => false,
    }
}

fn alarms(config: &Config, pages: &[Page]) -> Vec<String> {
    let mut alarms = Vec::new();
    for page in pages.iter().filter(|page| !page.events.is_empty()) {
        // Where, by which sites and by which kind of missing consent.
        let mut found: BTreeMap<(StateKind, Vec<String>), BTreeSet<String>> = BTreeMap::new();
        for row in &page.rows {
            for state in row.states.iter().filter(|state| is_without_consent(**state, &row.what)) {
                let regions = found.entry((*state, row.sites.clone())).or_default();
                regions.extend(row.regions.iter().cloned());
            }
        }
        for ((state, sites), regions) in found {
            let regions: Vec<String> = regions.into_iter().collect();
            alarms.push(words::alarm(&page.record, state, &sites, &regions));
        }
        let sends = |outcome: Option<WhenOptedOut>| outcome == Some(WhenOptedOut::Send);
        let rule = config.consent.destination(&page.record.destination, &page.record.platform);
        if rule.is_some_and(|rule| {
            sends(Some(rule.when_opted_out))
                || rule.regions.iter().any(|part| sends(part.when_opted_out))
        }) {
            alarms.push(format!(
                "{}: when_opted_out = \"send\" is written for it in consent.toml.",
                page.record.destination
            ));
        }
    }
    let rules = &config.consent;
    if !rules.gpc_everywhere {
        alarms.push(
            "Global Privacy Control counts in opt-out regions only (gpc = \"opt_out_regions\")."
                .to_owned(),
        );
    }
    if rules.trust_gdpr_applies {
        alarms.push(
            "A sender's word that the GDPR does not apply switches TCF off (trust_gdpr_applies = \
             true)."
                .to_owned(),
        );
    }
    if let (true, Some(void)) = (config.approval.enforced, &config.approval.void) {
        alarms.push(format!("Nothing is approved, so nothing leaves: {void}."));
    }
    alarms
}
