//! `relay.toml`, who may: write keys, admin tokens, webhooks that bring events, alerts.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use rust_decimal::Decimal;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Context, check_name, rate_limit, relay::texts, site_name, site_names};
use crate::{
    config::{
        AdminRole, AdminToken, AlertWebhook, EvidenceSettings, FieldMap, HmacSettings, KeyKind,
        RateLimit, Right, Secrets, SignatureEncoding, Site, TokenHash, WebhookKind, WebhookSource,
        WriteKey,
        document::{Node, Section},
        secret::Missing,
    },
    destinations::Mode,
};

const RIGHTS: [(&str, Right); 3] =
    [("events", Right::Events), ("consent", Right::Consent), ("explain", Right::Explain)];
const ROLES: [(&str, AdminRole); 4] = [
    ("viewer", AdminRole::Viewer),
    ("media", AdminRole::Media),
    ("privacy", AdminRole::Privacy),
    ("operator", AdminRole::Operator),
];

/// Fewer characters than this can be guessed.
const SHORT_TOKEN: usize = 16;

/// What one address may do with a browser's key: many visitors share one at work.
const PER_ADDRESS: RateLimit = RateLimit {
    requests_per_second: NonZeroU32::new(20),
    events_per_second: None,
    burst: NonZeroU32::new(200),
    requests_per_day: None,
};

/// `[[write_keys]]`; in sandbox mode there is one without a word.
pub(super) fn write_keys(
    root: &Section<'_>,
    sites: &BTreeMap<String, Arc<Site>>,
    context: &Context<'_>,
) -> Vec<WriteKey> {
    let mut keys: Vec<WriteKey> = Vec::new();
    let mut referred = Vec::new();
    for (at, section) in root.array("write_keys").into_iter().enumerate() {
        let place = section.place().clone();
        let is_known = is_referred_to(&section, &["key"], &mut referred);
        let Some(key) = write_key(at, section, sites, context) else { continue };
        if keys.iter().any(|other| other.name == key.name) {
            context.report.error(&place.below("name"), format!("{:?} is taken", key.name));
        }
        let same = |other: &WriteKey| other.key.expose_secret() == key.key.expose_secret();
        let is_resolved = context.vault.secrets == Secrets::Resolve;
        if is_known || (is_resolved && keys.iter().any(same)) {
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
            rate_limit_per_address: PER_ADDRESS,
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
        for key in ["origins", "max_value", "rate_limit_per_address"] {
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
    let limit = |key| section.get(key).and_then(|node| node.section()).map(rate_limit);
    let own = limit("rate_limit");
    let rate_limit_per_address = limit("rate_limit_per_address").unwrap_or(PER_ADDRESS);
    section.finish();
    Some(WriteKey {
        name,
        key: key?,
        sites,
        kind,
        events: events.unwrap_or_else(|| vec!["*".to_owned()]),
        may: may.unwrap_or_else(|| vec![Right::Events, Right::Consent]),
        rate_limit: own,
        rate_limit_per_address,
        origins,
        max_value,
    })
}

fn origin(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let origin = url.origin().ascii_serialization();
    (matches!(url.scheme(), "http" | "https") && origin == text).then_some(origin)
}

/// Whether an earlier section has the same reference or hash, which is known without the secret.
fn is_referred_to(section: &Section<'_>, keys: &[&str], earlier: &mut Vec<toml::Value>) -> bool {
    let Some(node) = keys.iter().find_map(|key| section.get(key)) else { return false };
    let reference = node.to_toml();
    let is_known = earlier.contains(&reference);
    earlier.push(reference);
    is_known
}

/// `[[admin_tokens]]`; in sandbox mode there is one without a word.
pub(super) fn admin_tokens(root: &Section<'_>, context: &Context<'_>) -> Vec<AdminToken> {
    let mut tokens: Vec<AdminToken> = Vec::new();
    let mut referred = Vec::new();
    for (at, section) in root.array("admin_tokens").into_iter().enumerate() {
        let is_known = is_referred_to(&section, &["token", "token_sha256"], &mut referred);
        let name = name_of(&section, &format!("token_{}", at + 1));
        if tokens.iter().any(|token| token.name == name) {
            context.report.error(&section.place().below("name"), format!("{name:?} is taken"));
        }
        let fallback = if at == 0 { "dev-token".to_owned() } else { format!("dev-token-{name}") };
        let token = token(&section, &fallback, context);
        let is_resolved = context.vault.secrets == Secrets::Resolve;
        let same = |token| tokens.iter().any(|other| other.token.is_same(token));
        if is_known || (is_resolved && token.as_ref().is_some_and(same)) {
            let message = "another admin token is the same, so nobody could tell who acted";
            context.report.error(&section.place().below("token"), message);
        }
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
            token: TokenHash::of(&SecretString::from("dev-token")),
            roles: ROLES.iter().map(|(_, role)| *role).collect(),
        });
    }
    tokens
}

/// A token in clear, by reference, of which only the hash is kept; or its hash, which is no secret
/// where the token is random.
fn token(section: &Section<'_>, fallback: &str, context: &Context<'_>) -> Option<TokenHash> {
    let Some(hash) = section.get("token_sha256") else {
        let what = "token = { env = \"NAME\" }, or token_sha256 = \"...\"";
        let node = section.required("token", what)?;
        let token = context.vault.read(&node, Missing::Take(fallback))?;
        let is_short = token.expose_secret().len() < SHORT_TOKEN;
        if is_short && context.vault.secrets == Secrets::Resolve && context.mode != Mode::Sandbox {
            node.warning(format!(
                "is shorter than {SHORT_TOKEN} characters and could be guessed; make one with \
                 `openssl rand -base64 32`"
            ));
        }
        return Some(TokenHash::of(&token));
    };
    if let Some(both) = section.get("token") {
        both.error("write either `token` or `token_sha256`");
    }
    // Not `parse`, whose message repeats what may be the token itself.
    let parsed = hash.text().and_then(TokenHash::parse);
    if parsed.is_none() {
        hash.error("expected 64 hex digits, as `printf %s TOKEN | sha256sum` prints them");
    }
    parsed
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

/// `[webhooks.NAME]`.
pub(super) fn webhooks(
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
        let written = source.get("tolerance").and_then(|node| node.positive_duration());
        let tolerance = written.unwrap_or(match kind {
            // Shopify tries again for hours, with the time of the first attempt.
            Some(WebhookKind::Shopify) => Duration::from_secs(72 * 60 * 60),
            _ => Duration::from_secs(5 * 60),
        });
        let (hmac, fields) = generic(&source, kind);
        source.finish();
        if let (Some(kind), Some(secret), Some(site)) = (kind, secret, site) {
            let name = name.to_owned();
            let source =
                WebhookSource { name: name.clone(), kind, secret, site, tolerance, hmac, fields };
            sources.insert(name, Arc::new(source));
        }
    }
    sources
}

/// What only a webhook of type `hmac` has.
fn generic(source: &Section<'_>, kind: Option<WebhookKind>) -> (HmacSettings, FieldMap) {
    let (mut settings, mut fields) = (HmacSettings::default(), FieldMap::default());
    let keys = [
        "header",
        "algorithm",
        "encoding",
        "prefix",
        "timestamp_header",
        "id_header",
        "id",
        "fields",
    ];
    if kind != Some(WebhookKind::Hmac) {
        for key in keys {
            if let (Some(node), Some(_)) = (source.get(key), kind) {
                node.error("is for webhooks of type \"hmac\" only");
            }
        }
        return (settings, fields);
    }
    let header = |text: &str| {
        let token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (!text.is_empty() && text.chars().all(token)).then(|| text.to_ascii_lowercase())
    };
    let named = |key| {
        source
            .get(key)
            .and_then(|node| node.parse("a header's name such as \"X-Signature\"", header))
    };
    settings.header = named("header").unwrap_or(settings.header);
    settings.timestamp_header = named("timestamp_header");
    settings.id_header = named("id_header");
    let path = |text: &str| {
        let steps: Vec<String> = text.split('.').map(str::to_owned).collect();
        steps.iter().all(|step| !step.trim().is_empty()).then_some(steps)
    };
    let id = source.get("id").and_then(|node| node.parse("a path such as \"event.id\"", path));
    settings.id = id.unwrap_or_default();
    if let Some(node) = source.get("algorithm") {
        node.one_of(&[("sha256", ())]);
    }
    let encodings = [("hex", SignatureEncoding::Hex), ("base64", SignatureEncoding::Base64)];
    if let Some(encoding) = source.get("encoding").and_then(|node| node.one_of(&encodings)) {
        settings.encoding = encoding;
    }
    if let Some(prefix) = source.get("prefix").and_then(|node| node.text()) {
        prefix.clone_into(&mut settings.prefix);
    }
    let table = source.table("fields");
    for (key, node) in table.entries() {
        let Some(text) = node.text() else { continue };
        if let Err(why) = fields.add(key, text) {
            node.error(why);
        }
    }
    if table.is_written() && !fields.iter().any(|(key, _)| key == "event") {
        let message = "is missing; write event = \"'purchase'\" or a path into the body";
        source.get("fields").into_iter().for_each(|node| node.error(format!("event {message}")));
    }
    (settings, fields)
}

/// `[evidence]`: the decision log.
pub(super) fn evidence(root: &Section<'_>, context: &Context<'_>) -> EvidenceSettings {
    let section = root.table("evidence");
    let settings = EvidenceSettings {
        enabled: section.get("enabled").and_then(|node| node.flag()).unwrap_or(true),
        webhook: section.get("webhook").and_then(|node| {
            let without = Missing::Without("the day's last hash of the decision log goes nowhere");
            context.vault.read(&node, without)
        }),
        allow_private: section.get("allow_private").and_then(|node| node.flag()).unwrap_or(false),
    };
    section.finish();
    settings
}

/// `[[alerts]]`.
pub(super) fn alerts(root: &Section<'_>, context: &Context<'_>) -> Vec<AlertWebhook> {
    let mut alerts = Vec::new();
    for section in root.array("alerts") {
        let secret = section
            .required("webhook", "webhook = { env = \"NAME\" }")
            .and_then(|node| context.vault.read(&node, Missing::Without("no alert goes there")));
        let allow_private =
            section.get("allow_private").and_then(|node| node.flag()).unwrap_or(false);
        alerts.extend(secret.map(|url| AlertWebhook { url, allow_private }));
        section.finish();
    }
    alerts
}
