//! `relay.toml`: mode, listeners, sites, who may post and administer, the queue, sizes, retention.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use super::{Context, access, check_name, listen};
use crate::{
    config::{
        AdminToken, AlertSettings, AlertWebhook, Engine, EvidenceSettings, Limits, Listen,
        QueueSettings, Retention, Site, WebhookSource, WriteKey,
        document::{Node, Section},
        finding::suggest,
        units,
    },
    destinations::Mode,
    event::Currency,
};

const DAY: Duration = Duration::from_secs(86_400);

/// The relay's mode, before anything else is read: whether a missing secret is an error depends on
/// it. Without a word it is the one in which nothing leaves the machine.
pub(in crate::config) fn mode(root: &Section<'_>) -> Mode {
    let modes = [("sandbox", Mode::Sandbox), ("test", Mode::Test), ("live", Mode::Live)];
    root.get("mode").and_then(|node| node.one_of(&modes)).unwrap_or(Mode::Sandbox)
}

/// What the file says.
#[derive(Debug)]
pub(in crate::config) struct Relay {
    pub(super) keep_query: Vec<String>,
    pub(super) geoip: Option<PathBuf>,
    pub(in crate::config) listen: Listen,
    /// Sites by name; one is `default` where none is written.
    pub(in crate::config) sites: BTreeMap<String, Arc<Site>>,
    /// Who may post.
    pub(in crate::config) write_keys: Vec<WriteKey>,
    pub(super) admin_tokens: Vec<AdminToken>,
    /// The queue's settings.
    pub(in crate::config) queue: QueueSettings,
    pub(super) limits: Limits,
    pub(in crate::config) retention: Retention,
    /// Webhooks that bring events.
    pub(in crate::config) webhooks: BTreeMap<String, Arc<WebhookSource>>,
    pub(super) alerts: Vec<AlertWebhook>,
    pub(super) alert_when: AlertSettings,
    pub(super) evidence: EvidenceSettings,
}

/// Reads the file.
pub(super) fn read(root: Section<'_>, context: &Context<'_>) -> Relay {
    mode(&root);
    let keep_query = root.get("keep_query").map(|node| keep_query(&node));
    let sites = sites(&root.table("sites"), context);
    let relay = Relay {
        keep_query: keep_query.unwrap_or_else(|| vec!["utm_*".to_owned()]),
        geoip: root.get("geoip").and_then(|node| geoip(&node, context)),
        listen: listen::listen(root.table("listen"), context),
        write_keys: access::write_keys(&root, &sites, context),
        admin_tokens: access::admin_tokens(&root, context),
        queue: queue(root.table("queue"), context),
        limits: limits(root.table("limits")),
        retention: retention(root.table("retention")),
        webhooks: access::webhooks(&root.table("webhooks"), &sites, context),
        alerts: access::alerts(&root, context),
        alert_when: alert_when(root.table("alert_when")),
        evidence: access::evidence(&root, context),
        sites,
    };
    root.finish();
    relay
}

/// The members of a list of texts.
pub(super) fn texts(node: &Node<'_>) -> Option<Vec<String>> {
    Some(node.texts()?.into_iter().map(|(text, _)| text.to_owned()).collect())
}

/// Names of parameters; a star is for any rest only.
fn keep_query(node: &Node<'_>) -> Vec<String> {
    let mut patterns = Vec::new();
    for (pattern, node) in node.texts().unwrap_or_default() {
        if pattern.strip_suffix('*').unwrap_or(pattern).contains('*') {
            node.expected("a parameter's name, with \"*\" at most at its end");
        }
        patterns.push(pattern.to_owned());
    }
    patterns
}

fn geoip(node: &Node<'_>, context: &Context<'_>) -> Option<PathBuf> {
    let path = node.text()?;
    let problem = match (context.vault.file)(path) {
        Ok(bytes) => maxminddb::Reader::from_source(bytes).err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(problem) = problem {
        node.error(format!("the MaxMind database {path:?} cannot be read: {problem}"));
        return None;
    }
    Some(context.folder.join(path))
}

// === sites ===

fn sites(section: &Section<'_>, context: &Context<'_>) -> BTreeMap<String, Arc<Site>> {
    let mut sites = BTreeMap::new();
    let mut hosts: Vec<String> = Vec::new();
    for (name, site) in section.sections() {
        check_name(name, site.place(), context.report);
        sites.insert(name.to_owned(), Arc::new(self::site(name, site, &mut hosts)));
    }
    if !section.is_written() || sites.is_empty() {
        let name = "default".to_owned();
        sites.insert(name.clone(), Arc::new(Site::named(&name)));
    }
    sites
}

fn site(name: &str, section: Section<'_>, taken: &mut Vec<String>) -> Site {
    let mut site = Site::named(name);
    for (host, node) in section.get("hosts").and_then(|node| node.texts()).unwrap_or_default() {
        let bare = host.split(['.', '-']).all(|part| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        });
        if !bare {
            node.expected("a host in lower case, without scheme, port and path");
        } else if taken.iter().any(|h| h == host) {
            node.error(format!("{host:?} is a host of two sites"));
        } else {
            taken.push(host.to_owned());
            site.hosts.push(host.to_owned());
        }
    }
    if let Some(controller) = section.get("controller").and_then(|node| node.text()) {
        controller.clone_into(&mut site.controller);
    }
    site.country = section.get("country").and_then(|node| country(&node));
    site.currency = section.get("currency").and_then(|node| currency(&node));
    if let Some(node) = section.get("time_zone") {
        let zones = jiff::tz::TimeZoneDatabase::bundled();
        let zone =
            node.parse("an IANA time zone such as \"Europe/Berlin\"", |name| zones.get(name).ok());
        site.time_zone = zone.unwrap_or(site.time_zone);
    }
    site.sensitive = section.get("sensitive").and_then(|node| Some(node.text()?.to_owned()));
    site.minimum_age =
        section.get("minimum_age").and_then(|node| u8::try_from(node.integer(1, 120)?).ok());
    section.finish();
    site
}

/// An ISO 3166-1 code; the usual slips get their own hint.
pub(super) fn country(node: &Node<'_>) -> Option<String> {
    let code = node.text()?;
    if units::is_country(code) {
        return Some(code.to_owned());
    }
    let upper = code.to_ascii_uppercase();
    let hint = match upper.as_str() {
        "UK" => "; the United Kingdom is \"GB\"".to_owned(),
        _ if units::is_country(&upper) => format!("; did you mean {upper:?}?"),
        _ => String::new(),
    };
    node.error(format!("expected an ISO 3166-1 country such as \"US\", found {code:?}{hint}"));
    None
}

/// An ISO 4217 code.
pub(super) fn currency(node: &Node<'_>) -> Option<Currency> {
    node.parse("an ISO 4217 currency such as \"USD\"", |code| {
        Currency::parse(code).filter(|currency| currency.code() == code)
    })
}

// === queue, limits, retention ===

fn engine(node: &Node<'_>) -> Option<Engine> {
    let name = node.text()?;
    let found = Engine::ALL.into_iter().find(|engine| engine.name() == name);
    if found.is_none() {
        if name == "jetstream" {
            node.error(format!("{name:?} is not part of this version; write \"sled\" or \"redb\""));
        } else {
            let hint = suggest(name, ["sled", "redb", "jetstream"]);
            node.error(format!("expected \"sled\" or \"redb\", found {name:?}{hint}"));
        }
    }
    found
}

/// With less an empty store is nearly full.
const LITTLE_DISK: u64 = 64 << 20;

fn queue(section: Section<'_>, context: &Context<'_>) -> QueueSettings {
    let vault = context.vault;
    let engine = section.get("engine").and_then(|node| engine(&node)).unwrap_or(Engine::Sled);
    let count = |key, default| {
        section.get(key).and_then(|node| node.integer(1, u64::MAX)).unwrap_or(default)
    };
    let max_pending = count("max_pending", 5_000_000);
    let per_destination = section.get("max_pending_per_destination");
    let max_pending_per_destination = per_destination
        .as_ref()
        .and_then(|node| node.integer(1, u64::MAX))
        .unwrap_or_else(|| max_pending.min(2_000_000));
    if let Some(node) = per_destination.filter(|_| max_pending_per_destination > max_pending) {
        node.warning(format!("is above max_pending ({max_pending}), which is reached first"));
    }
    let max_disk = section.get("max_disk");
    let max_disk_bytes = max_disk.as_ref().and_then(|node| node.size()).unwrap_or(20 << 30);
    if let Some(node) = max_disk.filter(|_| max_disk_bytes < LITTLE_DISK) {
        node.warning(
            "is less than 64 MiB, of which the store itself takes several: events will soon be \
             refused",
        );
    }
    let without_key = "a key file in the data folder takes its place";
    let settings = QueueSettings {
        engine,
        max_pending,
        max_pending_per_destination,
        max_disk: max_disk_bytes,
        encryption_key: section
            .get("encryption_key")
            .and_then(|node| vault.read_key(&node, without_key)),
        previous_keys: section
            .get("previous_keys")
            .and_then(|node| node.list())
            .unwrap_or_default()
            .iter()
            .filter_map(|node| vault.read_key(node, "what it sealed cannot be read"))
            .collect(),
        subject_key: section
            .get("subject_key")
            .and_then(|node| vault.read_key(&node, "one is made and kept in the data folder")),
    };
    section.finish();
    settings
}

fn limits(section: Section<'_>) -> Limits {
    let bytes = |key, default| {
        let written = section.get(key).and_then(|node| node.size());
        written.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(default)
    };
    let count = |key, most, default| {
        let written = section.get(key).and_then(|node| node.integer(1, most));
        written.and_then(|number| usize::try_from(number).ok()).unwrap_or(default)
    };
    let limits = Limits {
        event_bytes: bytes("event_bytes", 256 << 10),
        request_bytes: bytes("request_bytes", 4 << 20),
        events_per_request: count("events_per_request", 100_000, 1_000),
        // The JSON reader itself stops at 128.
        nesting: count("nesting", 127, 32),
    };
    if limits.event_bytes > limits.request_bytes
        && let Some(node) = section.get("event_bytes").or_else(|| section.get("request_bytes"))
    {
        node.error("an event may not be larger than a request: event_bytes ≤ request_bytes");
    }
    section.finish();
    limits
}

/// `[alert_when]`: thresholds.
fn alert_when(section: Section<'_>) -> AlertSettings {
    let default = AlertSettings::default();
    let long = |key, default| {
        let written = section.get(key).and_then(|node| node.positive_duration());
        written.unwrap_or(default)
    };
    let share = |key, default| section.get(key).and_then(|node| node.share()).unwrap_or(default);
    let count = |key, default| {
        section.get(key).and_then(|node| node.integer(1, u64::MAX)).unwrap_or(default)
    };
    let settings = AlertSettings {
        oldest_age: long("oldest_age", default.oldest_age),
        window: long("window", default.window),
        dead_share: share("dead_share", default.dead_share),
        dead_at_least: count("dead_at_least", default.dead_at_least),
        held_rise: share("held_rise", default.held_rise),
        held_at_least: count("held_at_least", default.held_at_least),
        silent_after: long("silent_after", default.silent_after),
        disk_left: share("disk_left", default.disk_left),
        version_ends_in: long("version_ends_in", default.version_ends_in),
    };
    section.finish();
    settings
}

fn retention(section: Section<'_>) -> Retention {
    let ids = section.table("event_ids");
    let keep = |section: &Section<'_>, key, days: u32| {
        let written = section.get(key).and_then(|node| node.positive_duration());
        written.unwrap_or(DAY * days)
    };
    let retention = Retention {
        event_ids: keep(&ids, "keep", 7),
        event_ids_at_most: ids
            .get("at_most")
            .and_then(|node| usize::try_from(node.integer(1, 1_000_000_000)?).ok())
            .unwrap_or(10_000_000),
        frequency: keep(&section, "frequency", 400),
        // `consent.toml` says; see `resolve`.
        choices: Duration::ZERO,
        queue: keep(&section, "queue", 7),
        traces: keep(&section, "traces", 3),
        dead_letters: keep(&section, "dead_letters", 30),
        evidence: keep(&section, "evidence", 400),
        journeys: keep(&section, "journeys", 90),
    };
    ids.finish();
    section.finish();
    retention
}
