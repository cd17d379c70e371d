//! `relay.toml`: mode, listeners, sites, who may post and administer, the queue, sizes, retention.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use rust_decimal::Decimal;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Context, check_name, rate_limit, site_name, site_names};
use crate::{
    config::{
        AdminRole, AdminToken, Engine, KeyKind, Limits, Listen, QueueSettings, Retention, Right,
        Secrets, Site, WebhookKind, WebhookSource, WriteKey,
        document::{Node, Section},
        finding::suggest,
        secret::Missing,
        units,
    },
    destinations::Mode,
    event::Currency,
};

const RIGHTS: [(&str, Right); 3] =
    [("events", Right::Events), ("consent", Right::Consent), ("explain", Right::Explain)];
const ROLES: [(&str, AdminRole); 4] = [
    ("viewer", AdminRole::Viewer),
    ("media", AdminRole::Media),
    ("privacy", AdminRole::Privacy),
    ("operator", AdminRole::Operator),
];
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
    pub(super) listen: Listen,
    /// Sites by name; one is `default` where none is written.
    pub(in crate::config) sites: BTreeMap<String, Arc<Site>>,
    /// Who may post.
    pub(in crate::config) write_keys: Vec<WriteKey>,
    pub(super) admin_tokens: Vec<AdminToken>,
    /// The queue's settings.
    pub(in crate::config) queue: QueueSettings,
    pub(super) limits: Limits,
    pub(super) retention: Retention,
    /// Webhooks that bring events.
    pub(in crate::config) webhooks: BTreeMap<String, Arc<WebhookSource>>,
    pub(super) alerts: Vec<SecretString>,
}

/// Reads the file.
pub(super) fn read(root: Section<'_>, context: &Context<'_>) -> Relay {
    root.get("mode");
    let keep_query = root.get("keep_query").and_then(|node| texts(&node));
    let sites = sites(&root.table("sites"), context);
    let relay = Relay {
        keep_query: keep_query.unwrap_or_else(|| vec!["utm_*".to_owned()]),
        geoip: root.get("geoip").and_then(|node| geoip(&node, context)),
        listen: listen(root.table("listen")),
        write_keys: write_keys(&root, &sites, context),
        admin_tokens: admin_tokens(&root, context),
        queue: queue(root.table("queue"), context),
        limits: limits(root.table("limits")),
        retention: retention(root.table("retention")),
        webhooks: webhooks(&root.table("webhooks"), &sites, context),
        alerts: alerts(&root, context),
        sites,
    };
    root.finish();
    relay
}

fn texts(node: &Node<'_>) -> Option<Vec<String>> {
    Some(node.texts()?.into_iter().map(|(text, _)| text.to_owned()).collect())
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

fn listen(section: Section<'_>) -> Listen {
    let address = |key, port| {
        let written = section.get(key).and_then(|node| node.socket_address());
        written.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    };
    let proxy = |text: &str| {
        let address = text.parse::<IpAddr>().map(ipnet::IpNet::from).ok();
        text.parse().ok().or(address)
    };
    let proxies = section.get("trusted_proxies").and_then(|node| node.list()).unwrap_or_default();
    let header = |name: &str| {
        let token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (!name.is_empty() && name.chars().all(token)).then(|| name.to_owned())
    };
    let listen = Listen {
        public: address("public", 8080),
        admin: address("admin", 8081),
        sandbox: address("sandbox", 8090),
        trusted_proxies: proxies
            .iter()
            .filter_map(|node| node.parse("an address or network such as \"10.0.0.0/8\"", proxy))
            .collect(),
        client_ip_header: section
            .get("client_ip_header")
            .and_then(|node| node.parse("a header's name such as \"CF-Connecting-IP\"", header)),
    };
    section.finish();
    listen
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

// === who may ===

fn write_keys(
    root: &Section<'_>,
    sites: &BTreeMap<String, Arc<Site>>,
    context: &Context<'_>,
) -> Vec<WriteKey> {
    let mut keys: Vec<WriteKey> = Vec::new();
    for (at, section) in root.array("write_keys").into_iter().enumerate() {
        let place = section.place().clone();
        let Some(key) = write_key(at, section, sites, context) else { continue };
        if keys.iter().any(|other| other.name == key.name) {
            context.report.error(&place.below("name"), format!("{:?} is taken", key.name));
        }
        let same = |other: &WriteKey| other.key.expose_secret() == key.key.expose_secret();
        if context.vault.secrets == Secrets::Resolve && keys.iter().any(same) {
            let message = "another write key has the same secret, so nobody could tell them apart";
            context.report.error(&place.below("key"), message);
        }
        keys.push(key);
    }
    if keys.is_empty() && context.mode == Mode::Sandbox && root.get("write_keys").is_none() {
        context.vault.note("", "write_keys", "none configured: \"dev-key\" may post".to_owned());
        keys.push(WriteKey {
            name: "dev".to_owned(),
            key: SecretString::from("dev-key"),
            sites: sites.keys().cloned().collect(),
            kind: KeyKind::Server,
            events: vec!["*".to_owned()],
            may: RIGHTS.iter().map(|(_, right)| *right).collect(),
            rate_limit: None,
            origins: Vec::new(),
            max_value: None,
        });
    }
    keys
}

fn write_key(
    at: usize,
    section: Section<'_>,
    sites: &BTreeMap<String, Arc<Site>>,
    context: &Context<'_>,
) -> Option<WriteKey> {
    let name = name_of(&section, &format!("key_{}", at + 1));
    let fallback = if at == 0 { "dev-key".to_owned() } else { format!("dev-key-{name}") };
    let key = section
        .required("key", "key = { env = \"NAME\" }")
        .and_then(|node| context.vault.read(&node, Missing::Take(&fallback)));
    let sites = match (section.get("site"), section.get("sites")) {
        (Some(_), Some(both)) => {
            both.error("write either `site` or `sites`");
            Vec::new()
        }
        (Some(site), None) => site_name(&site, sites).into_iter().collect(),
        (None, Some(list)) => site_names(&list, sites),
        (None, None) => sites.keys().cloned().collect(),
    };
    let kinds = [("server", KeyKind::Server), ("browser", KeyKind::Browser)];
    let kind = section.get("kind").and_then(|node| node.one_of(&kinds)).unwrap_or(KeyKind::Server);
    let events = section.get("events").and_then(|node| texts(&node));
    let may = section.get("may").map(|node| words(&node, &RIGHTS));
    let origins = section.get("origins").and_then(|node| node.list()).unwrap_or_default();
    let max_value = section.get("max_value").and_then(|node| {
        let value = node.decimal()?;
        if value <= Decimal::ZERO {
            node.expected("an amount above zero");
        }
        Some(value)
    });
    if kind == KeyKind::Server {
        for key in ["origins", "max_value"] {
            if let Some(node) = section.get(key) {
                node.warning("is for keys of kind \"browser\" only: without effect");
            }
        }
    } else if origins.is_empty() {
        let message = "no `origins`: no page of another origin can post with this key";
        context.report.warning(section.place(), message);
    }
    let origins = origins
        .iter()
        .filter_map(|node| node.parse("an origin such as \"https://shop.example\"", origin))
        .collect();
    let rate_limit = section.get("rate_limit").and_then(|node| node.section()).map(rate_limit);
    section.finish();
    Some(WriteKey {
        name,
        key: key?,
        sites,
        kind,
        events: events.unwrap_or_else(|| vec!["*".to_owned()]),
        may: may.unwrap_or_else(|| vec![Right::Events, Right::Consent]),
        rate_limit,
        origins,
        max_value,
    })
}

fn origin(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let origin = url.origin().ascii_serialization();
    (matches!(url.scheme(), "http" | "https") && origin == text).then_some(origin)
}

fn admin_tokens(root: &Section<'_>, context: &Context<'_>) -> Vec<AdminToken> {
    let mut tokens: Vec<AdminToken> = Vec::new();
    for (at, section) in root.array("admin_tokens").into_iter().enumerate() {
        let name = name_of(&section, &format!("token_{}", at + 1));
        if tokens.iter().any(|token| token.name == name) {
            context.report.error(&section.place().below("name"), format!("{name:?} is taken"));
        }
        let fallback = if at == 0 { "dev-token".to_owned() } else { format!("dev-token-{name}") };
        let token = section
            .required("token", "token = { env = \"NAME\" }")
            .and_then(|node| context.vault.read(&node, Missing::Take(&fallback)));
        let roles = section.get("roles").map(|node| words(&node, &ROLES));
        let roles = roles.unwrap_or_else(|| vec![AdminRole::Viewer]);
        section.finish();
        tokens.extend(token.map(|token| AdminToken { name, token, roles }));
    }
    if tokens.is_empty() && context.mode == Mode::Sandbox && root.get("admin_tokens").is_none() {
        let instead = "none configured: \"dev-token\" may administer";
        context.vault.note("", "admin_tokens", instead.to_owned());
        tokens.push(AdminToken {
            name: "dev".to_owned(),
            token: SecretString::from("dev-token"),
            roles: ROLES.iter().map(|(_, role)| *role).collect(),
        });
    }
    tokens
}

fn name_of(section: &Section<'_>, default: &str) -> String {
    let name = section.get("name").and_then(|node| node.text());
    name.unwrap_or(default).to_owned()
}

/// A list of words of a closed list, each once.
fn words<T: Copy + PartialEq>(node: &Node<'_>, known: &[(&str, T)]) -> Vec<T> {
    let mut found = Vec::new();
    for item in node.list().unwrap_or_default() {
        let Some(word) = item.one_of(known) else { continue };
        if !found.contains(&word) {
            found.push(word);
        }
    }
    found
}

// === queue, limits, retention ===

fn queue(section: Section<'_>, context: &Context<'_>) -> QueueSettings {
    let vault = context.vault;
    if let Some(node) = section.get("engine")
        && let Some(name) = node.text()
    {
        match name {
            "sled" => {}
            "redb" | "jetstream" => {
                node.error(format!("{name:?} is not part of this version; write \"sled\""));
            }
            _ => node.error(format!(
                "expected \"sled\", found {name:?}{}",
                suggest(name, ["sled", "redb", "jetstream"])
            )),
        }
    }
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
    let without_key = "a key file in the data folder takes its place";
    let settings = QueueSettings {
        engine: Engine::Sled,
        max_pending,
        max_pending_per_destination,
        max_disk: section.get("max_disk").and_then(|node| node.size()).unwrap_or(20 << 30),
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

// === webhooks and alerts ===

fn webhooks(
    section: &Section<'_>,
    sites: &BTreeMap<String, Arc<Site>>,
    context: &Context<'_>,
) -> BTreeMap<String, Arc<WebhookSource>> {
    let kinds = [
        ("shopify", WebhookKind::Shopify),
        ("stripe", WebhookKind::Stripe),
        ("hmac", WebhookKind::Hmac),
    ];
    let mut sources = BTreeMap::new();
    for (name, source) in section.sections() {
        check_name(name, source.place(), context.report);
        let kind = source
            .required("type", "type = \"shopify\", \"stripe\" or \"hmac\"")
            .and_then(|node| node.one_of(&kinds));
        let fallback = Missing::Take("sandbox-secret");
        let secret = source
            .required("secret", "secret = { env = \"NAME\" }")
            .and_then(|node| context.vault.read(&node, fallback));
        let site = match source.get("site") {
            Some(node) => site_name(&node, sites),
            None if sites.len() == 1 => sites.keys().next().cloned(),
            None => {
                let message = "is missing; with more than one site a webhook must say whose it is";
                context.report.error(&source.place().below("site"), message);
                None
            }
        };
        source.finish();
        if let (Some(kind), Some(secret), Some(site)) = (kind, secret, site) {
            let name = name.to_owned();
            sources.insert(name.clone(), Arc::new(WebhookSource { name, kind, secret, site }));
        }
    }
    sources
}

fn alerts(root: &Section<'_>, context: &Context<'_>) -> Vec<SecretString> {
    let mut alerts = Vec::new();
    for section in root.array("alerts") {
        let secret = section
            .required("webhook", "webhook = { env = \"NAME\" }")
            .and_then(|node| context.vault.read(&node, Missing::Without("no alert goes there")));
        alerts.extend(secret);
        section.finish();
    }
    alerts
}
