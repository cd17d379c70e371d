//! What one lock lets leave beyond another: the answer to "what would this change newly release".

use std::collections::{BTreeMap, BTreeSet};

use super::{
    combinations::{Row, merge},
    regions::{place, sorted},
};
use crate::{
    consent::{Lock, Recipient, StateKind, event_of},
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
    /// The destination is another: its platform, address, account, legal entity or role.
    Recipient(String),
    /// The event arrives under other names too.
    Incoming(Vec<String>),
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
    for (event, names) in new.incoming() {
        // An event that is new altogether is news by its combinations.
        let Some(before) = old.incoming().get(event) else { continue };
        let more: Vec<String> = names.difference(before).cloned().collect();
        if !more.is_empty() {
            found.push(Beyond {
                destination: "every destination".to_owned(),
                events: vec![event.clone()],
                sites: Vec::new(),
                sources: Vec::new(),
                regions: Vec::new(),
                states: Vec::new(),
                what: More::Incoming(more),
            });
        }
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
            let entity = recipient.legal_entity.as_deref();
            let role = recipient.role.as_deref();
            let other = before.differs(&recipient.account, entity, role);
            let own: BTreeSet<&str> = other.iter().filter_map(|key| event_of(key)).collect();
            let is_another = before.platform != recipient.platform
                || elsewhere
                || other.iter().any(|key| event_of(key).is_none());
            // One event's entries may go to another account; an event that is new altogether is news
            // by its combinations.
            let was_sent = |event: &str| {
                old.combinations().iter().any(|one| one.destination == *name && one.event == event)
            };
            let told: Vec<String> = events
                .keys()
                .filter(|event| is_another || own.contains(*event) && was_sent(event))
                .map(|event| (*event).to_owned())
                .collect();
            if !told.is_empty() {
                let describe = |one: &Recipient| {
                    let account = |key: &String| match key.as_str() {
                        "recipient" => one.legal_entity.as_deref(),
                        "role" => one.role.as_deref(),
                        key => one.account.get(key).map(String::as_str),
                    };
                    let parts = other
                        .iter()
                        .map(|key| format!(", {key} {}", account(key).unwrap_or("not named")));
                    format!("{} ({}{})", one.address, one.platform, parts.collect::<String>())
                };
                let what = format!("{} instead of {}", describe(recipient), describe(before));
                found.push(Beyond {
                    destination: name.clone(),
                    events: told,
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
        let mut news: Vec<News> = Vec::new();
        for (event, sites) in events {
            let mut of_event: Vec<News> = Vec::new();
            for site in sites {
                let rows = span.rows(event, site);
                // The same news of several sites is one piece of news.
                match of_event.iter_mut().find(|known| known.rows == rows) {
                    Some(known) => known.sites.push(site.to_owned()),
                    None if rows.is_empty() => {}
                    None => of_event.push(News {
                        events: vec![event.to_owned()],
                        sites: vec![site.to_owned()],
                        rows,
                    }),
                }
            }
            for one in of_event {
                // So is that of several events.
                match news.iter_mut().find(|k| k.sites == one.sites && k.rows == one.rows) {
                    Some(known) => known.events.extend(one.events),
                    None => news.push(one),
                }
            }
        }
        found.extend(news.into_iter().flat_map(|one| one.told_of(name)));
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

/// Rows that are news of the same events and sites.
struct News {
    events: Vec<String>,
    sites: Vec<String>,
    rows: Vec<Row<More>>,
}

impl News {
    fn told_of(self, destination: &str) -> impl Iterator<Item = Beyond> {
        let Self { events, sites, rows } = self;
        rows.into_iter().map(move |row| Beyond {
            destination: destination.to_owned(),
            events: events.clone(),
            sites: sites.clone(),
            sources: row.sources,
            regions: row.regions,
            states: row.states,
            what: row.what,
        })
    }
}
