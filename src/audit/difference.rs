//! What one lock lets leave beyond another: the answer to "what would this change newly release".

use std::collections::{BTreeMap, BTreeSet};

use super::{
    combinations::{Row, merge},
    regions::{place, sorted},
};
use crate::{
    consent::{Lock, StateKind},
    event::ActionSource,
};

/// Something that leaves by one lock and not by another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beyond {
    /// The destination.
    pub destination: String,
    /// The plan events.
    pub events: Vec<String>,
    /// The sites.
    pub sites: Vec<String>,
    /// Where the events happen.
    pub sources: Vec<ActionSource>,
    /// Region patterns.
    pub regions: Vec<String>,
    /// The states.
    pub states: Vec<StateKind>,
    /// What is new.
    pub what: More,
}

/// In what way it is more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum More {
    /// Signals are read by looser settings, of which every combination lives.
    Reading(Vec<String>),
    /// The destination is another: its platform or address.
    Recipient(String),
    /// The whole combination.
    Combination {
        /// With these fields.
        fields: Vec<String>,
        /// In the platform's restricted mode.
        limited: bool,
    },
    /// Of a combination that leaves already: fields, or a looser form.
    Parts(Vec<String>),
}

/// What `new` lets leave that `old` does not, merged.
pub fn beyond(new: &Lock, old: &Lock) -> Vec<Beyond> {
    let mut found = Vec::new();
    let looser = new.reading().looser_than(old.reading());
    // Where nothing was released before, every combination is news already.
    if !looser.is_empty() && !old.combinations().is_empty() {
        found.push(Beyond {
            destination: "every destination".to_owned(),
            events: Vec::new(),
            sites: Vec::new(),
            sources: Vec::new(),
            regions: Vec::new(),
            states: Vec::new(),
            what: More::Reading(looser),
        });
    }
    for recipient in new.recipients() {
        let name = &recipient.destination;
        let mut events: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut sources: Vec<ActionSource> = Vec::new();
        for one in new.combinations().iter().filter(|one| one.destination == *name) {
            events.entry(&one.event).or_default().extend(one.sites.iter().map(String::as_str));
            sources.extend(&one.sources);
        }
        if events.is_empty() {
            continue;
        }
        let before = old.recipients().find(|one| one.destination == *name);
        if let Some(before) = before {
            let elsewhere = before.address != recipient.address && recipient.address != LOCAL;
            if before.platform != recipient.platform || elsewhere {
                let describe =
                    |one: &crate::consent::Recipient| format!("{} ({})", one.address, one.platform);
                let what = format!("{} instead of {}", describe(recipient), describe(before));
                found.push(Beyond {
                    destination: name.clone(),
                    events: events.keys().map(|event| (*event).to_owned()).collect(),
                    sites: Vec::new(),
                    sources: Vec::new(),
                    regions: Vec::new(),
                    states: Vec::new(),
                    what: More::Recipient(what),
                });
            }
        }
        let theirs = before.iter().flat_map(|one| one.regions.iter().cloned());
        let regions = sorted(recipient.regions.iter().cloned().chain(theirs));
        let span = Span { new, old, destination: name, regions: &regions, sources: &sources };
        let mut alike: Vec<(Vec<String>, Vec<String>, Vec<Row<More>>)> = Vec::new();
        for (event, sites) in events {
            for site in sites {
                let rows = span.rows(event, site);
                let (event, site) = (event.to_owned(), site.to_owned());
                // The same news of several sites of an event is one piece of news.
                match alike
                    .iter_mut()
                    .find(|(e, _, known)| *e == [event.clone()] && same(known, &rows))
                {
                    Some((_, sites, _)) => sites.push(site),
                    None if rows.is_empty() => {}
                    None => alike.push((vec![event], vec![site], rows)),
                }
            }
        }
        found.extend(by_events(name, alike));
    }
    found
}

const LOCAL: &str = "this machine";

struct Span<'a> {
    new: &'a Lock,
    old: &'a Lock,
    destination: &'a str,
    regions: &'a [String],
    sources: &'a [ActionSource],
}

impl Span<'_> {
    fn rows(&self, event: &str, site: &str) -> Vec<Row<More>> {
        let mut cells = Vec::new();
        for (source, _) in ActionSource::ALL.iter().filter(|(s, _)| self.sources.contains(s)) {
            for pattern in self.regions {
                let Some(place) = place(pattern, self.regions) else { continue };
                for state in StateKind::ALL {
                    let terms = |lock: &Lock| {
                        lock.terms(self.destination, event, site, *source, &place, state).cloned()
                    };
                    let Some(new) = terms(self.new) else { continue };
                    let more = match terms(self.old) {
                        None => More::Combination { fields: paths(&new), limited: new.limited },
                        Some(old) => match new.beyond(&old) {
                            nothing if nothing.is_empty() => continue,
                            parts => More::Parts(parts),
                        },
                    };
                    cells.push((*source, pattern.clone(), state, more));
                }
            }
        }
        merge(&[], cells.into_iter())
    }
}

/// The fields of terms, with properties by name.
pub(super) fn paths(terms: &crate::consent::Terms) -> Vec<String> {
    let fields = terms.fields.iter().map(|field| field.path().to_owned());
    fields.chain(terms.properties.iter().map(|name| format!("properties.{name}"))).collect()
}

fn same(a: &[Row<More>], b: &[Row<More>]) -> bool {
    let key = |row: &Row<More>| {
        (row.sources.clone(), row.regions.clone(), row.states.clone(), row.what.clone())
    };
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| key(a) == key(b))
}

/// The same news of several events is one piece of news too.
fn by_events(
    destination: &str,
    alike: Vec<(Vec<String>, Vec<String>, Vec<Row<More>>)>,
) -> Vec<Beyond> {
    let mut merged: Vec<(Vec<String>, Vec<String>, Vec<Row<More>>)> = Vec::new();
    for (events, sites, rows) in alike {
        match merged.iter_mut().find(|(_, s, known)| *s == sites && same(known, &rows)) {
            Some((known, _, _)) => known.extend(events),
            None => merged.push((events, sites, rows)),
        }
    }
    let each = |(events, sites, rows): (Vec<String>, Vec<String>, Vec<Row<More>>)| {
        rows.into_iter().map(move |row| Beyond {
            destination: destination.to_owned(),
            events: events.clone(),
            sites: sites.clone(),
            sources: row.sources,
            regions: row.regions,
            states: row.states,
            what: row.what,
        })
    };
    merged.into_iter().flat_map(each).collect()
}
