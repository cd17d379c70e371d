//! `destinations.toml`: which destinations there are, how each is delivered to, and what its
//! platform makes of its own keys.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{
    Context, Events, Mapped, check_name,
    events::{condition, is_of_kind},
    rate_limit, relay, site_names,
};
use crate::{
    config::{
        DeliveryPolicy, DestinationConfig, OnUnknown, RateLimit, RetryPolicy, Secrets, Site,
        WhenFull,
        document::{Node, Section},
        finding::{Place, join, suggest},
        secret::Missing,
    },
    destinations::{
        Destination, Entry, KeyKind, Mode, Platform, Problem, Settings, reach::is_private,
    },
    event::Currency,
    expression::Expression,
};

/// A destination as it is written, before its entries are known.
#[derive(Debug)]
pub(in crate::config) struct Draft {
    /// Its name.
    pub(in crate::config) name: String,
    /// Where it stands.
    pub(in crate::config) place: Place,
    /// Its platform; `None` where that is wrong, which was reported.
    pub(in crate::config) platform: Option<&'static Platform>,
    /// The sites that it takes events of.
    pub(in crate::config) sites: Vec<String>,
    /// The currency that its entries want where they do not say.
    pub(in crate::config) currency: Option<Currency>,
    mode: Mode,
    share: u32,
    only: Option<Expression>,
    delivery: DeliveryPolicy,
    table: toml::Table,
    secrets: BTreeMap<String, SecretString>,
    endpoint: String,
    token_endpoint: String,
    key_places: BTreeMap<String, Place>,
}

/// Reads the file.
pub(super) fn drafts(
    root: &Section<'_>,
    sites: &BTreeMap<String, Arc<Site>>,
    context: &Context<'_>,
) -> Vec<Draft> {
    let drafts: Vec<Draft> = root
        .sections()
        .into_iter()
        .map(|(name, section)| draft(name, section, sites, context))
        .collect();
    for draft in &drafts {
        check_names_of_platforms(draft, &drafts, context);
    }
    drafts
}

/// A platform's name stands for all its destinations, so that only a single one may bear it.
fn check_names_of_platforms(draft: &Draft, drafts: &[Draft], context: &Context<'_>) {
    let Some(named) = context.registry.iter().find(|platform| platform.name == draft.name) else {
        return;
    };
    let is_of = |other: &&Draft| other.platform.is_some_and(|p| p.name == named.name);
    let message = if draft.platform.is_some_and(|p| p.name != named.name) {
        format!("bears the name of platform {:?}, but is of another", named.name)
    } else if let Some(other) = drafts.iter().filter(is_of).find(|d| d.name != draft.name) {
        format!(
            "bears its platform's name, which is allowed only where it is the only one; {:?} is \
             another: name them after what tells them apart, such as \"{}_us\"",
            other.name, named.name
        )
    } else {
        return;
    };
    context.report.error(&draft.place, message);
}

fn draft(
    name: &str,
    section: Section<'_>,
    sites: &BTreeMap<String, Arc<Site>>,
    context: &Context<'_>,
) -> Draft {
    let place = section.place().clone();
    check_name(name, &place, context.report);
    let platform = platform(&section, context);
    let mode = mode(&section, context);
    let delivery = delivery(&section, platform);
    let endpoint = base_url(&section, "endpoint", context);
    let token_endpoint = base_url(&section, "token_endpoint", context);
    let mut draft = Draft {
        name: name.to_owned(),
        platform,
        sites: draft_sites(&section, sites, context),
        currency: section.get("currency").and_then(|node| relay::currency(&node)),
        mode,
        share: section.get("share").and_then(|node| node.share()).unwrap_or(10_000),
        only: section.get("only").and_then(|node| condition(&node)),
        delivery,
        table: toml::Table::new(),
        secrets: BTreeMap::new(),
        endpoint: endpoint.unwrap_or_else(|| platform.map_or("", |p| p.endpoint).to_owned()),
        token_endpoint: token_endpoint
            .unwrap_or_else(|| platform.map_or("", |p| p.token_endpoint).to_owned()),
        key_places: BTreeMap::new(),
        place,
    };
    match platform {
        Some(platform) => draft.read_keys(platform, &section, context),
        None => read_keys_of_any(&section, context),
    }
    section.finish();
    draft.check_reach(context);
    draft
}

impl Draft {
    /// A URL of the owner's choice leads out, unless the owner says that it may lead inside: what only
    /// this machine reaches (its own services, a cloud's metadata) is nobody's webhook by mistake.
    fn check_reach(&self, context: &Context<'_>) {
        let is_free = self.platform.is_some_and(|platform| platform.endpoint.is_empty());
        let Ok(url) = Url::parse(self.called()) else { return };
        let Some(host) = url.host().filter(|host| is_free && is_private(host)) else { return };
        if self.delivery.allow_private {
            return;
        }
        let place = self.key_places.get("url").unwrap_or(&self.place);
        let message = format!(
            "{host} is a private or link-local address, which nothing is sent to unless \
             allow_private = true stands beside it"
        );
        // Nothing is sent there yet: a sandbox takes it, or nobody.
        if self.mode == Mode::Shadow || self.mode == Mode::Sandbox {
            context.report.warning(place, message);
        } else {
            context.report.error(place, message);
        }
    }

    fn read_keys(&mut self, platform: &Platform, section: &Section<'_>, context: &Context<'_>) {
        for key in platform.keys {
            let Some(node) = section.get(key.name) else { continue };
            self.key_places.insert(key.name.to_owned(), node.place().clone());
            if key.kind == KeyKind::Secret {
                let fallback = format!("sandbox-{}", key.name);
                let secret = context.vault.read(&node, Missing::Take(&fallback));
                if context.mode == Mode::Sandbox
                    && context.vault.secrets == Secrets::Resolve
                    && secret.as_ref().is_some_and(|it| it.expose_secret() != fallback)
                {
                    let message = "in sandbox mode the relay uses this secret, and the sandbox \
                         refuses all but its own: unset it";
                    context.report.warning(node.place(), message);
                }
                self.secrets.extend(secret.map(|secret| (key.name.to_owned(), secret)));
            } else if is_of_kind(&node, key.kind) {
                self.table.insert(key.name.to_owned(), node.to_toml());
            }
        }
    }
}

/// Which keys are right depends on the platform: where it is not known, a key of any will do, and what
/// is a secret everywhere must be a reference.
fn read_keys_of_any(section: &Section<'_>, context: &Context<'_>) {
    let keys = || context.registry.iter().flat_map(|platform| platform.keys);
    for key in keys() {
        let Some(node) = section.get(key.name) else { continue };
        if keys().filter(|other| other.name == key.name).all(|o| o.kind == KeyKind::Secret) {
            context.vault.read(&node, Missing::Without("its platform is not known"));
        }
    }
}

fn platform(section: &Section<'_>, context: &Context<'_>) -> Option<&'static Platform> {
    let node = section.required("platform", "platform = \"NAME\"")?;
    let name = node.text()?;
    let platform = context.registry.iter().copied().find(|platform| platform.name == name);
    if platform.is_none() {
        let hint = suggest(name, context.registry.iter().map(|platform| platform.name));
        node.error(format!("there is no platform {name:?}{hint}"));
    }
    platform
}

fn mode(section: &Section<'_>, context: &Context<'_>) -> Mode {
    let modes = [("shadow", Mode::Shadow), ("test", Mode::Test), ("live", Mode::Live)];
    let Some(node) = section.get("mode") else { return context.mode };
    let Some(mode) = node.one_of(&modes) else { return context.mode };
    if mode > context.mode {
        node.warning(format!(
            "{:?} is above the relay's mode ({:?}), which caps it",
            mode.name(),
            context.mode.name()
        ));
    }
    mode.min(context.mode)
}

fn draft_sites(
    section: &Section<'_>,
    sites: &BTreeMap<String, Arc<Site>>,
    context: &Context<'_>,
) -> Vec<String> {
    match section.get("sites") {
        Some(node) => site_names(&node, sites),
        None if sites.len() == 1 => sites.keys().cloned().collect(),
        None => {
            let names = sites.keys().map(|name| format!("{name:?}")).collect::<Vec<_>>();
            let message = format!(
                "is missing; with more than one site write whose events it takes, such as sites = \
                 [{}]",
                names.join(", ")
            );
            context.report.error(&section.place().below("sites"), message);
            Vec::new()
        }
    }
}

/// A base URL that replaces the vendor's, without a slash at the end.
fn base_url(section: &Section<'_>, key: &str, context: &Context<'_>) -> Option<String> {
    let node = section.get(key)?;
    let url = node.parse("a base URL such as \"https://api.example.com\"", |text| {
        let url = Url::parse(text).ok()?;
        let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        (plain && url.has_host() && matches!(url.scheme(), "http" | "https"))
            .then(|| (text.trim_end_matches('/').to_owned(), url.scheme() == "http"))
    })?;
    if url.1 && context.mode == Mode::Live && !is_address(&url.0) {
        node.warning("is not encrypted; write https://");
    }
    Some(url.0)
}

/// Whether a URL names its host by an address, or as this machine.
fn is_address(url: &str) -> bool {
    Url::parse(url).ok().is_some_and(|url| match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(_) | url::Host::Ipv6(_)) => true,
        None => false,
    })
}

// === how it is delivered to ===

fn delivery(section: &Section<'_>, platform: Option<&'static Platform>) -> DeliveryPolicy {
    let limits = platform.map_or(usize::MAX, |platform| platform.batch.events);
    let batch = section.table("batch");
    let max_events = batch.get("max_events").and_then(|node| {
        let most = u64::try_from(limits).unwrap_or(u64::MAX);
        usize::try_from(node.integer(1, most)?).ok()
    });
    let linger = batch.get("linger").and_then(|node| node.duration());
    batch.finish();
    let full = [("shed", WhenFull::Shed), ("refuse", WhenFull::Refuse)];
    let unknown = [("retry", OnUnknown::Retry), ("drop", OnUnknown::Drop)];
    let concurrency = section.get("concurrency").and_then(|node| node.integer(1, 256));
    DeliveryPolicy {
        rate_limit: quota(section, platform),
        max_events: max_events.unwrap_or(limits),
        linger: linger.unwrap_or(Duration::from_secs(1)),
        retry: retry(section.table("retry")),
        when_full: section
            .get("when_full")
            .and_then(|node| node.one_of(&full))
            .unwrap_or(WhenFull::Shed),
        on_unknown: section
            .get("on_unknown")
            .and_then(|node| node.one_of(&unknown))
            .unwrap_or(OnUnknown::Retry),
        fresh_share: section.get("fresh_share").and_then(|node| whole_share(&node)).unwrap_or(80),
        timeout: section
            .get("timeout")
            .and_then(|node| node.positive_duration())
            .unwrap_or(Duration::from_secs(10)),
        concurrency: concurrency.and_then(|number| usize::try_from(number).ok()).unwrap_or(4),
        allow_private: section.get("allow_private").and_then(|n| n.flag()).unwrap_or(false),
    }
}

fn whole_share(node: &Node<'_>) -> Option<u8> {
    let basis_points = node.share()?;
    if basis_points % 100 != 0 {
        node.expected("a whole percentage such as \"80%\"");
    }
    u8::try_from(basis_points / 100).ok()
}

/// What is written, else the platform's own quota. A rate without a burst bursts for one second.
fn quota(section: &Section<'_>, platform: Option<&'static Platform>) -> RateLimit {
    let quota = platform.map(|platform| platform.quota);
    let written = section.get("rate_limit").and_then(|node| node.section()).map(rate_limit);
    let written = written.unwrap_or_default();
    let number = |pick: fn(&crate::destinations::Quota) -> u32| {
        quota.as_ref().map(pick).and_then(NonZeroU32::new)
    };
    RateLimit {
        requests_per_second: written
            .requests_per_second
            .or_else(|| number(|quota| quota.requests_per_second)),
        events_per_second: written
            .events_per_second
            .or_else(|| quota.and_then(|quota| quota.events_per_second).and_then(NonZeroU32::new)),
        burst: written
            .burst
            .or(written.requests_per_second)
            .or_else(|| number(|quota| quota.burst)),
        requests_per_day: written
            .requests_per_day
            .or_else(|| quota.and_then(|quota| quota.requests_per_day)),
    }
}

fn retry(section: Section<'_>) -> RetryPolicy {
    let written_max = section.get("max");
    let max = written_max.as_ref().and_then(|node| node.positive_duration());
    let max = max.unwrap_or(Duration::from_secs(600));
    let first = section.get("first").and_then(|node| {
        let first = node.positive_duration()?;
        if first > max {
            node.error("the first wait is longer than the longest (retry.max)");
        }
        Some(first)
    });
    let attempts = section.get("attempts").and_then(|node| node.integer(1, 1_000));
    section.finish();
    RetryPolicy {
        first: first.unwrap_or(Duration::from_secs(1)).min(max),
        max,
        attempts: attempts.and_then(|number| u32::try_from(number).ok()).unwrap_or(20),
    }
}

// === building ===

/// Has each platform read its settings with the entries that `events.toml` has for it.
pub(super) fn build(
    drafts: Vec<Draft>,
    events: &Events,
    context: &Context<'_>,
) -> BTreeMap<String, Arc<DestinationConfig>> {
    let mut destinations = BTreeMap::new();
    for draft in drafts {
        if let Some(destination) = build_one(draft, events, context) {
            destinations.insert(destination.name.clone(), Arc::new(destination));
        }
    }
    destinations
}

fn build_one(
    mut draft: Draft,
    events: &Events,
    context: &Context<'_>,
) -> Option<DestinationConfig> {
    let platform = draft.platform?;
    let mapped = entries_of(&draft, platform, &events.mapped);
    let mut entries = BTreeMap::new();
    let mut values = BTreeMap::new();
    for mapped in &mapped {
        let (wire, worth): (Vec<Entry>, Vec<_>) = mapped.entries.iter().cloned().unzip();
        let worth = worth.into_iter().map(|mut value| {
            value.currency = value.currency.or(draft.currency);
            value
        });
        entries.insert(mapped.event.clone(), wire);
        values.insert(mapped.event.clone(), worth.collect());
    }
    let shown_endpoint = draft.called().to_owned();
    let account = draft.account(platform, &entries);
    // In sandbox mode everything but a shadow goes to the sandbox.
    if let Some(base) = context.sandbox_base
        && context.mode == Mode::Sandbox
        && draft.mode != Mode::Shadow
    {
        draft.turn_to_sandbox(base.trim_end_matches('/'), platform);
    }
    let handler = configure(platform, &draft.settings(entries), &draft, &mapped, context)?;
    Some(DestinationConfig {
        endpoint: draft.called().to_owned(),
        shown_endpoint,
        account,
        name: draft.name,
        platform,
        sites: draft.sites,
        mode: draft.mode,
        share: draft.share,
        only: draft.only,
        entries: values,
        delivery: draft.delivery,
        handler,
    })
}

/// A destination's entries, by event: its own replaces its platform's whole.
fn entries_of<'m>(draft: &Draft, platform: &Platform, mapped: &'m [Mapped]) -> Vec<&'m Mapped> {
    let own = |event: &str| mapped.iter().any(|m| m.event == event && m.key == draft.name);
    mapped
        .iter()
        .filter(|m| m.key == draft.name || (m.key == platform.name && !own(&m.event)))
        .filter(|m| !m.entries.is_empty())
        .collect()
}

impl Draft {
    /// Whether a key was written, could not be read, and so is missing only to its platform.
    fn is_reported(&self, key: &str) -> bool {
        self.key_places.contains_key(key)
            && !self.table.contains_key(key)
            && !self.secrets.contains_key(key)
    }

    /// The base of what it calls. A platform without a vendor's URL is told its own by `url`.
    fn called(&self) -> &str {
        self.table.get("url").and_then(toml::Value::as_str).unwrap_or(&self.endpoint)
    }

    /// Whose account events go to, as it is written: the destination's own keys, and those of an
    /// event's entries as `events.NAME.KEY`.
    fn account(
        &self,
        platform: &Platform,
        entries: &BTreeMap<String, Vec<Entry>>,
    ) -> BTreeMap<String, String> {
        let text = |value: &toml::Value| match value {
            toml::Value::String(text) => text.trim().to_owned(),
            other => other.to_string(),
        };
        let mut account = BTreeMap::new();
        for key in platform.keys.iter().filter(|key| key.kind == KeyKind::Recipient) {
            if let Some(value) = self.table.get(key.name) {
                account.insert(key.name.to_owned(), text(value));
            }
        }
        for key in platform.entry_keys.iter().filter(|key| key.kind == KeyKind::Recipient) {
            for (event, entries) in entries {
                let written = entries.iter().filter_map(|entry| match entry {
                    Entry::Table(table) => table.get(key.name).map(text),
                    Entry::Standard | Entry::Name(_) => None,
                });
                let written: Vec<String> = written.collect();
                if !written.is_empty() {
                    account.insert(format!("events.{event}.{}", key.name), written.join(", "));
                }
            }
        }
        account
    }

    fn settings(&self, entries: BTreeMap<String, Vec<Entry>>) -> Settings {
        Settings {
            name: self.name.clone(),
            table: self.table.clone(),
            secrets: self.secrets.clone(),
            endpoint: self.endpoint.clone(),
            token_endpoint: self.token_endpoint.clone(),
            mode: self.mode,
            entries,
        }
    }

    fn turn_to_sandbox(&mut self, base: &str, platform: &Platform) {
        let base = format!("{base}/{}", platform.name);
        if let Some(url) = self.table.get_mut("url") {
            *url = toml::Value::String(format!("{base}/{}", self.name));
        }
        self.endpoint.clone_from(&base);
        self.token_endpoint = base;
        self.delivery.allow_private = true;
    }
}

fn configure(
    platform: &'static Platform,
    settings: &Settings,
    draft: &Draft,
    mapped: &[&Mapped],
    context: &Context<'_>,
) -> Option<Box<dyn Destination>> {
    match (platform.configure)(settings) {
        Ok(handler) => {
            for Problem { path, message } in handler.cautions() {
                context.report.warning(&place_of_problem(&path, draft, mapped), message);
            }
            Some(handler)
        }
        Err(problems) => {
            for Problem { path, message } in problems {
                if draft.is_reported(&path) {
                    continue;
                }
                let place = place_of_problem(&path, draft, mapped);
                context.report.error(&place, message);
            }
            None
        }
    }
}

/// Where the key stands that a platform complains of.
fn place_of_problem(path: &str, draft: &Draft, mapped: &[&Mapped]) -> Place {
    if let Some(rest) = path.strip_prefix("events.") {
        let entry = mapped
            .iter()
            .filter(|m| {
                rest.strip_prefix(m.event.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            })
            .max_by_key(|m| m.event.len());
        if let Some(mapped) = entry {
            let below = rest.get(mapped.event.len()..).unwrap_or_default();
            return Place { path: format!("{}{below}", mapped.place.path), ..mapped.place.clone() };
        }
    }
    let key = path.split(['.', '[']).next().unwrap_or(path);
    match draft.key_places.get(key) {
        Some(place) => {
            let below = path.get(key.len()..).unwrap_or_default();
            Place { path: format!("{}{below}", place.path), ..place.clone() }
        }
        None => Place { path: join(&draft.place.path, path), ..draft.place.clone() },
    }
}
