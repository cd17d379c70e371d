//! From tables to types: decides what everything means, and reports every problem at once.
//!
//! One file each of the folder's files has its file here. The order is that of what depends on
//! what: the relay and its sites, which destinations there are, the plan with their entries, the
//! consent rules, and only then the destinations themselves, which need all of it.

mod access;
mod consent;
mod destinations;
mod events;
mod listen;
mod relay;
mod value;

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use super::{
    Config, RateLimit, Retention, Site,
    document::{Document, Node, Section},
    finding::{Place, Report, suggest},
    secret::Vault,
    warn, without_effect,
};
use crate::destinations::{Mode, Platform};

pub(super) use consent::Consent;
pub(super) use destinations::Draft;
pub(super) use events::{Events, Mapped};
pub(super) use relay::{Relay, mode};

/// The four files, parsed.
#[derive(Debug)]
pub(super) struct Documents<'t> {
    /// `relay.toml`.
    pub(super) relay: Document<'t>,
    /// `events.toml`.
    pub(super) events: Document<'t>,
    /// `consent.toml`.
    pub(super) consent: Document<'t>,
    /// `destinations.toml`.
    pub(super) destinations: Document<'t>,
}

/// What resolving needs besides the files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    /// Which platforms there are.
    pub(super) registry: &'static [&'static Platform],
    /// The relay's mode.
    pub(super) mode: Mode,
    /// Base URL of the sandbox that destinations deliver to, in sandbox mode; `None`: the vendors'.
    pub(super) sandbox_base: Option<&'a str>,
    /// The configuration's folder, to which paths are relative.
    pub(super) folder: &'a std::path::Path,
    /// Resolves secrets, and reads the files that the configuration names.
    pub(super) vault: &'a Vault<'a>,
    /// Where problems go.
    pub(super) report: &'a Report,
}

/// Resolves a whole configuration. `None` where there is an error; the report says which.
pub(super) fn resolve(
    documents: &Documents<'_>,
    context: &Context<'_>,
    hash: String,
) -> Option<Config> {
    let report = context.report;
    let relay = relay::read(documents.relay.root(report), context);
    let drafts = destinations::drafts(&documents.destinations.root(report), &relay.sites, context);
    let names = Names::new(context.registry, &drafts);
    let events = events::read(documents.events.root(report), &names, &relay.sites, context);
    let consent = consent::read(documents.consent.root(report), &names, &relay, context);
    without_effect::look(&relay, &events, &drafts, report);
    warn::across_files(documents, &relay, &events, &consent, &drafts, context);
    let destinations = destinations::build(drafts, &events, context);
    if report.has_errors() {
        return None;
    }
    warn::browser_copies(&events, &destinations, report);
    warn::adjustments_without_form(&events, &destinations, report);
    warn::lists_too_short(&events, &consent, &destinations, report);
    Some(Config {
        hash,
        mode: context.mode,
        keep_query: relay.keep_query,
        geoip: relay.geoip,
        listen: relay.listen,
        sites: relay.sites,
        write_keys: relay.write_keys,
        admin_tokens: relay.admin_tokens,
        queue: relay.queue,
        limits: relay.limits,
        retention: Retention { choices: consent.rules.memory.max_age, ..relay.retention },
        webhooks: relay.webhooks,
        alerts: relay.alerts,
        alert_when: relay.alert_when,
        evidence: relay.evidence,
        plan: events.plan,
        rates: events.rates,
        consent: consent.rules,
        destinations,
        approval: crate::consent::Approval::default(),
    })
}

/// The names by which `events.toml` and `consent.toml` may speak of destinations.
#[derive(Debug)]
pub(super) struct Names {
    registry: &'static [&'static Platform],
    /// The platform is `None` where a destination's own is unknown, which was reported already.
    destinations: Vec<(String, Option<&'static Platform>)>,
}

impl Names {
    fn new(registry: &'static [&'static Platform], drafts: &[Draft]) -> Self {
        let destinations = drafts.iter().map(|d| (d.name.clone(), d.platform)).collect();
        Self { registry, destinations }
    }

    /// The platform that a key means: a destination's, else the one of that name. Reports a key
    /// that is neither, and warns of a platform that no destination is of. The outer `None` is an
    /// unknown key.
    pub(super) fn find(&self, key: &str, place: &Place, report: &Report) -> Option<Meant> {
        if let Some((_, platform)) = self.destinations.iter().find(|(name, _)| name == key) {
            return Some(Meant { platform: *platform });
        }
        let Some(platform) = self.registry.iter().copied().find(|p| p.name == key) else {
            let names = self.destinations.iter().map(|(name, _)| name.as_str());
            let known = suggest(key, names.chain(self.registry.iter().map(|p| p.name)));
            report.error(place, format!("neither a destination nor a platform{known}"));
            return None;
        };
        let is_used =
            self.destinations.iter().any(|(_, p)| p.is_some_and(|p| p.name == platform.name));
        if !is_used {
            report.warning(
                place,
                format!("destinations.toml has no destination of platform {key:?}: without effect"),
            );
        }
        Some(Meant { platform: Some(platform) })
    }
}

/// What a key of [`Names`] means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meant {
    /// The platform, where it is known.
    pub(super) platform: Option<&'static Platform>,
}

/// Whether a name can stand in URLs, metric labels and dotted paths.
fn check_name(name: &str, place: &Place, report: &Report) -> bool {
    let good = !name.is_empty()
        && name.len() <= 64
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if !good {
        let message = "expected a name of at most 64 letters, digits, \"_\" and \"-\"";
        report.error(place, message);
    }
    good
}

/// A site's name, which must exist.
fn site_name(node: &Node<'_>, sites: &BTreeMap<String, Arc<Site>>) -> Option<String> {
    let name = node.text()?;
    if sites.contains_key(name) {
        return Some(name.to_owned());
    }
    let known = suggest(name, sites.keys().map(String::as_str));
    node.error(format!("relay.toml has no site {name:?}{known}"));
    None
}

/// A list of existing sites, each once, at least one.
fn site_names(node: &Node<'_>, sites: &BTreeMap<String, Arc<Site>>) -> Vec<String> {
    let Some(items) = node.list() else { return Vec::new() };
    if items.is_empty() {
        node.error("expected at least one site");
    }
    let mut names = Vec::new();
    for item in items {
        let Some(name) = site_name(&item, sites) else { continue };
        if names.contains(&name) {
            item.error(format!("{name:?} is listed twice"));
        } else {
            names.push(name);
        }
    }
    names
}

/// A rate limit as it is written; what is absent stays open.
fn rate_limit(section: Section<'_>) -> RateLimit {
    let per_second = |key| {
        let number = section.get(key)?.integer(1, 1_000_000)?;
        NonZeroU32::new(u32::try_from(number).ok()?)
    };
    let limit = RateLimit {
        requests_per_second: per_second("requests_per_second"),
        events_per_second: per_second("events_per_second"),
        burst: per_second("burst"),
        requests_per_day: section
            .get("requests_per_day")
            .and_then(|node| node.integer(1, u64::MAX)),
    };
    section.finish();
    limit
}
