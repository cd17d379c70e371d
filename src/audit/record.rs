//! The record of processing (GDPR Art. 30), the data flow of an impact assessment (Art. 35) and the
//! retention of each store (Art. 5(1)(e)): generated from what is in force, so that they cannot
//! drift from it.

use std::time::Duration;

use super::combinations::{Outcome, Row};
use crate::{
    config::{Config, DestinationConfig, KeyKind},
    consent::{IpForm, Model, Purpose, RegionSource, Role},
    destinations::Form,
    event::{Class, Field, FieldSet},
};

/// A recipient, as a record of processing names it.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) destination: String,
    pub(super) platform: String,
    /// The name that people use.
    pub(super) title: String,
    /// Where its terms and documentation are.
    pub(super) docs: String,
    pub(super) mode: &'static str,
    /// Scheme and host that events go to.
    pub(super) address: String,
    /// What consent.toml says of it; `None` where it says nothing.
    pub(super) legal_entity: Option<String>,
    pub(super) role: Option<&'static str>,
    pub(super) country: Option<String>,
    pub(super) mechanism: Option<String>,
    pub(super) legal_basis: Option<String>,
    pub(super) retention: Option<String>,
    /// Whether there is a rule at all.
    pub(super) has_rule: bool,
    /// The purposes that must be granted, and where others than everywhere.
    pub(super) needs: Vec<Purpose>,
    pub(super) needs_in: Vec<(String, Vec<Purpose>)>,
    pub(super) sites: Vec<String>,
    pub(super) controllers: Vec<String>,
    /// Data by category.
    pub(super) categories: Vec<Category>,
}

/// A category of data, with its fields and the form in which each leaves.
#[derive(Debug)]
pub(super) struct Category {
    pub(super) name: &'static str,
    pub(super) fields: Vec<(String, &'static str)>,
}

impl Record {
    pub(super) fn new(
        config: &Config,
        destination: &DestinationConfig,
        rows: &[Row<Outcome>],
    ) -> Self {
        let platform = destination.platform;
        let rule = config.consent.destination(&destination.name, platform.name);
        let said = |text: fn(&crate::consent::DestinationRule) -> &Option<String>| {
            rule.and_then(|rule| text(rule).clone())
        };
        let mut controllers: Vec<String> = destination
            .sites
            .iter()
            .filter_map(|name| Some(config.sites.get(name)?.controller.clone()))
            .collect();
        controllers.sort();
        controllers.dedup();
        Self {
            destination: destination.name.clone(),
            platform: platform.name.to_owned(),
            title: platform.title.to_owned(),
            docs: platform.docs.to_owned(),
            mode: destination.mode.name(),
            address: destination.address().unwrap_or_else(|| "this machine".to_owned()),
            legal_entity: said(|rule| &rule.recipient),
            role: rule.and_then(|rule| rule.role).map(Role::name),
            country: said(|rule| &rule.country),
            mechanism: said(|rule| &rule.mechanism),
            legal_basis: said(|rule| &rule.legal_basis),
            retention: said(|rule| &rule.retention),
            has_rule: rule.is_some(),
            needs: rule.map(|rule| rule.needs.clone()).unwrap_or_default(),
            needs_in: rule
                .iter()
                .flat_map(|rule| &rule.regions)
                .filter_map(|part| Some((part.region.clone(), part.needs.clone()?)))
                .collect(),
            sites: destination.sites.clone(),
            controllers,
            categories: categories(destination, rows),
        }
    }

    /// What a record of processing must have and consent.toml does not say.
    pub(super) fn gaps(&self) -> Vec<&'static str> {
        let wanted = [
            ("recipient", self.legal_entity.is_none()),
            ("role", self.role.is_none()),
            ("country", self.country.is_none()),
            ("legal_basis", self.legal_basis.is_none()),
            ("retention", self.retention.is_none()),
        ];
        wanted.into_iter().filter(|(_, missing)| *missing).map(|(key, _)| key).collect()
    }

    /// Why data is processed, by the purposes that must be granted.
    pub(super) fn purpose(&self) -> &'static str {
        let of = |purpose| self.needs.contains(&purpose);
        let advertising = of(Purpose::AdStorage) || of(Purpose::AdUserData);
        match (advertising || of(Purpose::AdPersonalization), of(Purpose::AnalyticsStorage)) {
            (true, true) => "measuring advertising and the use of the site",
            (true, false) => "measuring and optimising advertising",
            (false, true) => "measuring the use of the site, and what follows from it",
            (false, false) => "what the controller instructs its processor to do",
        }
    }
}

fn categories(destination: &DestinationConfig, rows: &[Row<Outcome>]) -> Vec<Category> {
    let mut sent = FieldSet::EMPTY;
    let mut named: Vec<String> = Vec::new();
    let mut ip = IpForm::None;
    for terms in rows.iter().filter_map(|row| row.what.terms()) {
        sent = sent.union(terms.fields);
        named.extend(terms.properties.iter().map(|name| format!("properties.{name}")));
        ip = ip.min(terms.ip);
    }
    named.sort();
    named.dedup();
    let form = |field: Field| {
        let take = destination.platform.takes.iter().find(|take| take.field == field);
        match (field, take.map(|take| take.form)) {
            (_, Some(Form::Hashed)) => "sha256",
            (Field::Ip, _) if ip == IpForm::Truncated => "truncated",
            _ => "clear",
        }
    };
    let of = |class: Class, name| Category {
        name,
        fields: sent
            .iter()
            .filter(|field| field.class() == class)
            .map(|field| (field.path().to_owned(), form(field)))
            .collect(),
    };
    let mut categories = vec![
        of(Class::Identity, "Contact and identity data"),
        of(Class::Personal, "Ids, places and devices of persons"),
        of(Class::Click, "Click ids and cookies of the platform"),
        of(Class::Plain, "The purchase, the page and the device's kind"),
    ];
    if let Some(plain) = categories.last_mut() {
        plain.fields.extend(named.into_iter().map(|name| (name, "clear")));
    }
    categories.retain(|category| !category.fields.is_empty());
    categories
}

/// One step of the data flow.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) text: String,
}

pub(super) fn flow(config: &Config) -> Vec<Step> {
    let mut doors: Vec<String> = config
        .write_keys
        .iter()
        .map(|key| {
            let kind = match key.kind {
                KeyKind::Server => "a backend",
                KeyKind::Browser => "browsers, whose word on region and address is not taken",
            };
            format!("key {} ({kind}) for {}", key.name, key.sites.join(", "))
        })
        .collect();
    doors.extend(config.webhooks.values().map(|w| format!("webhook {} for {}", w.name, w.site)));
    let sources: Vec<String> = config
        .consent
        .region_from
        .iter()
        .map(|source| match source {
            RegionSource::Event => "the event's own region".to_owned(),
            RegionSource::Header(name) => format!("the trusted header {name}"),
            RegionSource::Geoip => "a database on this machine, by address".to_owned(),
        })
        .collect();
    let laws: Vec<String> = config
        .consent
        .regions
        .iter()
        .map(|region| {
            let law = match region.model {
                Model::OptIn => "opt-in",
                Model::OptOut => "opt-out",
            };
            let ip = match region.ip {
                IpForm::Full => "address in full",
                IpForm::Truncated => "address truncated",
                IpForm::None => "no address",
            };
            format!("{} ({}): {law}, {ip}", region.name, region.matches.join(", "))
        })
        .collect();
    let sensitive: Vec<&str> = config
        .sites
        .values()
        .filter(|site| site.sensitive.is_some())
        .map(|site| site.name.as_str())
        .collect();
    let key = match &config.queue.encryption_key {
        Some(_) => "a key from outside of the data folder",
        None => "a key file in the data folder",
    };
    let mut steps = vec![
        Step { name: "Collection", text: format!("Events come in by: {}.", listed(&doors)) },
        Step {
            name: "Reduction",
            text: format!(
                "Of a URL's query only {} is kept; what looks like an e-mail address or a phone \
                 number is removed from URLs and free text before anything is stored.",
                listed(&config.keep_query)
            ),
        },
        Step {
            name: "Place and law",
            text: format!(
                "The region is taken from: {}; not known, it is opt-in. Regions: {}.",
                listed(&sources),
                laws.join("; ")
            ),
        },
        Step {
            name: "Decision",
            text: "For each recipient the rules of consent.toml decide, by the person's signals, \
                   whether an event leaves and with which fields. A refusal binds everywhere; the \
                   strictest of several signals counts."
                .to_owned(),
        },
        Step {
            name: "Hashing and storage",
            text: format!(
                "Contact and identity data is normalised and hashed (SHA-256) in memory; what \
                 waits for sending is kept encrypted (AES-256-GCM, {key}), and only the fields \
                 that its recipient may have."
            ),
        },
        Step {
            name: "Second decision and transfer",
            text: "Immediately before sending the rules of that moment, approvals and withdrawals \
                   are applied again. Transfer is by HTTPS to the recipients named in this report."
                .to_owned(),
        },
        Step {
            name: "Deletion",
            text: "By the retention of each store, and at once by an erasure.".to_owned(),
        },
    ];
    if !sensitive.is_empty() {
        let text = format!(
            "{} are sensitive: opt-in everywhere, and no URL, item name or search term leaves.",
            sensitive.join(", ")
        );
        steps.insert(4, Step { name: "Sensitive sites", text });
    }
    steps
}

fn listed(words: &[String]) -> String {
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

/// A store and how long it keeps what.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) store: &'static str,
    pub(super) what: &'static str,
    pub(super) how_long: String,
}

pub(super) fn kept(config: &Config) -> Vec<Kept> {
    let keep = &config.retention;
    let memory = &config.consent.memory;
    let row = |store, what, how_long| Kept { store, what, how_long };
    let off = || "not kept".to_owned();
    vec![
        row("event_ids", "keyed hashes of event ids", duration(keep.event_ids)),
        row("frequency", "counts by keyed hashes of persons", duration(keep.frequency)),
        row(
            "queue",
            "events that wait to be sent, encrypted; at most as long as the platform takes them",
            duration(keep.queue),
        ),
        row("dead_letters", "events that were refused, encrypted", duration(keep.dead_letters)),
        row("traces", "decisions and the text of answers, encrypted", duration(keep.traces)),
        row(
            "memory",
            "choices by keyed hashes of persons; refusals until erased or replaced by a grant",
            duration(memory.max_age),
        ),
        row(
            "memory.click_ids",
            "click ids of visits with ad_storage and ad_user_data, encrypted, by keyed hashes of \
             persons; until refused or erased",
            memory.click_ids.map_or_else(off, duration),
        ),
        row(
            "memory.traits",
            "what identify calls say of a person with ad_storage and ad_user_data: hashes, and places, \
             encrypted, by keyed hashes of persons; until refused or erased",
            memory.traits.map_or_else(off, duration),
        ),
        row("evidence", "the decision log, without clear identity", duration(keep.evidence)),
        row("journeys", "steps by keyed hashes of persons", duration(keep.journeys)),
    ]
}

/// A duration in the largest unit that divides it.
fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let (size, unit) = units
        .into_iter()
        .find(|(size, _)| seconds >= *size && seconds.is_multiple_of(*size))
        .unwrap_or((1, "second"));
    let count = seconds / size;
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}
