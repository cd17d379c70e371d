//! The configuration: read as written (`document`), resolved once with every problem reported
//! (`resolve`), loaded from a folder by the shell ([`load()`]).
//!
//! What the rest of the program sees is [`Config`]: whole, valid, and swapped as one. There is no
//! layer of serde records between file and types: the reader walks the parsed tables, which keep
//! the line of every key, so that one run reports everything that is wrong.

mod approval;
mod asking;
mod certificate;
mod describe;
mod document;
mod field_map;
mod finding;
mod listen;
mod load;
mod resolve;
mod restart;
mod secret;
mod signature;
#[cfg(test)]
mod tests;
mod token;
mod units;
pub mod versions;
mod warn;
mod without_effect;

use std::{
    collections::BTreeMap, net::SocketAddr, num::NonZeroU32, path::PathBuf, sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use secrecy::SecretString;

use crate::{
    consent,
    destinations::{Destination, Mode, Platform, Version},
    event::Currency,
    expression::Expression,
    plan::{Kind, Plan},
    value::{EntryValue, Rates},
};

pub use approval::Named;
pub use certificate::{TlsError, read_pair, tls_provider};
pub use field_map::{FieldMap, FieldSource, takes_numbers_as_text};
pub use finding::{Finding, Severity, nearest};
pub use listen::{Doors, TlsFiles};
pub use load::{FILES, LoadOptions, Loaded, environment, hash_of, load};
pub use restart::needs_restart;
pub use secret::{Fallback, PLACEHOLDER, Secrets};
pub use signature::sign as ssh_sign;
pub use token::TokenHash;

/// A whole, valid configuration.
#[derive(Debug)]
pub struct Config {
    /// SHA-256 of the files, hex.
    pub hash: String,
    /// The relay's mode: the cap for every destination.
    pub mode: Mode,
    /// Parameters of a URL's query that are kept; `*` at the end matches any rest.
    pub keep_query: Vec<String>,
    /// The MaxMind-format database.
    pub geoip: Option<PathBuf>,
    /// Where to listen.
    pub listen: Listen,
    /// Sites by name.
    pub sites: BTreeMap<String, Arc<Site>>,
    /// Who may post.
    pub write_keys: Vec<WriteKey>,
    /// Who may administer.
    pub admin_tokens: Vec<AdminToken>,
    /// The queue's settings.
    pub queue: QueueSettings,
    /// Sizes that a request may have.
    pub limits: Limits,
    /// How long what is kept.
    pub retention: Retention,
    /// Signed webhooks that bring events, by name.
    pub webhooks: BTreeMap<String, Arc<WebhookSource>>,
    /// Where alerts go.
    pub alerts: Vec<AlertWebhook>,
    /// When they fire.
    pub alert_when: AlertSettings,
    /// The decision log.
    pub evidence: EvidenceSettings,
    /// The tracking plan.
    pub plan: Plan,
    /// Exchange rates.
    pub rates: Option<Rates>,
    /// The consent rules.
    pub consent: consent::Rules,
    /// Destinations by name.
    pub destinations: BTreeMap<String, Arc<DestinationConfig>>,
    /// What people have approved, and whether that is asked for.
    pub approval: consent::Approval,
}

/// The listeners.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Events and the like.
    pub public: SocketAddr,
    /// Dashboard, metrics, admin calls.
    pub admin: SocketAddr,
    /// The embedded sandbox; only in sandbox mode.
    pub sandbox: SocketAddr,
    /// Who may name the client's address.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they do; `None`: `X-Forwarded-For`.
    pub client_ip_header: Option<String>,
    /// TLS, and what a connection may cost.
    pub doors: Doors,
}

/// What an event belongs to.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// Hosts of its pages.
    pub hosts: Vec<String>,
    /// Within which consent, withdrawals and journeys stay; the site's name by default.
    pub controller: String,
    /// ISO 3166-1 alpha-2, for phone numbers.
    pub country: Option<String>,
    /// Where the event has none.
    pub currency: Option<Currency>,
    /// For days of frequency rules; UTC by default.
    pub time_zone: jiff::tz::TimeZone,
    /// Why it is sensitive, if it is.
    pub sensitive: Option<String>,
    /// Younger people are minors here.
    pub minimum_age: Option<u8>,
}

impl Site {
    /// A site of which only the name is known.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            hosts: Vec::new(),
            controller: name.to_owned(),
            country: None,
            currency: None,
            time_zone: jiff::tz::TimeZone::UTC,
            sensitive: None,
            minimum_age: None,
        }
    }
}

/// Who may post what.
#[derive(Debug, Clone)]
pub struct WriteKey {
    /// Its name, for logs and metrics.
    pub name: String,
    /// The key itself.
    pub key: SecretString,
    /// The sites it may post for, at least one; where it is only one, events need not name it.
    pub sites: Vec<String>,
    /// A backend, or a browser that anyone can read.
    pub kind: KeyKind,
    /// Names or patterns of the events it may send.
    pub events: Vec<String>,
    /// What it may do.
    pub may: Vec<Right>,
    /// Its own limit.
    pub rate_limit: Option<RateLimit>,
    /// What one address may do with a browser's key.
    pub rate_limit_per_address: RateLimit,
    /// Origins a browser may post from.
    pub origins: Vec<String>,
    /// The highest value a browser may claim.
    pub max_value: Option<rust_decimal::Decimal>,
}

impl WriteKey {
    /// Whether it may send an event under this incoming name. `kinds` are those of the plan events
    /// that the name feeds: a browser, which anyone can imitate, sends micro events only, unless a
    /// name or pattern other than `*` lists the event.
    pub fn may_send(&self, name: &str, kinds: impl IntoIterator<Item = Kind>) -> bool {
        let listed = self.events.iter().any(|pattern| pattern != "*" && glob(pattern, name));
        let any = self.events.iter().any(|pattern| pattern == "*");
        match self.kind {
            KeyKind::Server => any || listed,
            KeyKind::Browser => {
                listed || (any && kinds.into_iter().all(|kind| kind == Kind::Micro))
            }
        }
    }
}

/// Whether a pattern, in which each `*` stands for any text, covers a name.
fn glob(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            // Whatever the star takes, the rest of the pattern must cover what remains.
            name.char_indices()
                .map(|(at, _)| at)
                .chain([name.len()])
                .any(|at| name.get(at..).is_some_and(|remaining| glob(rest, remaining)))
        }),
    }
}

/// Who holds a write key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// A backend: headers and address are its own, not the visitor's.
    Server,
    /// A browser: what it says of region and address is not believed.
    Browser,
}

/// What a write key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Post events.
    Events,
    /// Post consent.
    Consent,
    /// Ask for explanations.
    Explain,
}

/// Who may administer.
#[derive(Debug, Clone)]
pub struct AdminToken {
    /// Its name, for the audit log.
    pub name: String,
    /// What is known of the token itself.
    pub token: TokenHash,
    /// What it may do.
    pub roles: Vec<AdminRole>,
}

/// Roles of the admin calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminRole {
    /// Reads.
    Viewer,
    /// Calibrates too.
    Media,
    /// The privacy calls and the audit.
    Privacy,
    /// Dead letters, pause, resume, reload.
    Operator,
}

/// A signed webhook that brings events.
#[derive(Debug, Clone)]
pub struct WebhookSource {
    /// Its name, as in the URL.
    pub name: String,
    /// Whose signature and format.
    pub kind: WebhookKind,
    /// What the sender signs with.
    pub secret: SecretString,
    /// The site that its events belong to.
    pub site: String,
    /// How old a signed time may be.
    pub tolerance: Duration,
    /// How a generic sender signs.
    pub hmac: HmacSettings,
    /// What of a generic sender's body goes where; empty: the body is an event.
    pub fields: FieldMap,
}

/// How a generic sender signs: an HMAC-SHA-256 of the body, or of time, `.` and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HmacSettings {
    /// The signature's header.
    pub header: String,
    /// How the signature is written.
    pub encoding: SignatureEncoding,
    /// What stands before it (`sha256=`).
    pub prefix: String,
    /// The header with the time that is signed too; `None`: only the body is.
    pub timestamp_header: Option<String>,
    /// The header with the delivery's id, which is taken once.
    pub id_header: Option<String>,
    /// The same as a path into the body.
    pub id: Vec<String>,
}

impl Default for HmacSettings {
    fn default() -> Self {
        Self {
            header: "x-signature".to_owned(),
            encoding: SignatureEncoding::Hex,
            prefix: String::new(),
            timestamp_header: None,
            id_header: None,
            id: Vec::new(),
        }
    }
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureEncoding {
    /// Hexadecimal digits of either case.
    Hex,
    /// Base64 with padding.
    Base64,
}

/// The senders whose signatures are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookKind {
    /// Shopify.
    Shopify,
    /// Stripe.
    Stripe,
    /// Any sender that signs with an HMAC.
    Hmac,
}

/// A steady rate with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimit {
    /// Requests a second.
    pub requests_per_second: Option<NonZeroU32>,
    /// Events a second.
    pub events_per_second: Option<NonZeroU32>,
    /// Requests at once.
    pub burst: Option<NonZeroU32>,
    /// Requests a day (UTC).
    pub requests_per_day: Option<u64>,
}

/// The queue's settings.
#[derive(Debug, Clone)]
pub struct QueueSettings {
    /// Which engine.
    pub engine: Engine,
    /// Jobs pending in all.
    pub max_pending: u64,
    /// Jobs pending for one destination.
    pub max_pending_per_destination: u64,
    /// Bytes on disk.
    pub max_disk: u64,
    /// 32 bytes, base64. `None`: a key file in the data folder.
    pub encryption_key: Option<SecretString>,
    /// Earlier keys, for reading.
    pub previous_keys: Vec<SecretString>,
    /// The secret of subject keys; `None`: made once and kept wrapped.
    pub subject_key: Option<SecretString>,
}

/// The embedded engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// sled 0.34, the default.
    Sled,
    /// redb 4.
    Redb,
}

impl Engine {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Sled, Self::Redb];

    /// As it is written in `relay.toml`, and the name of its folder in the data folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Redb => "redb",
        }
    }
}

/// Sizes that a request may have.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one event.
    pub event_bytes: usize,
    /// Bytes of a request, after decompression.
    pub request_bytes: usize,
    /// Events of a request.
    pub events_per_request: usize,
    /// Depth of JSON.
    pub nesting: usize,
}

/// How long what is kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Event ids.
    pub event_ids: Duration,
    /// At most this many of them.
    pub event_ids_at_most: usize,
    /// Frequency marks.
    pub frequency: Duration,
    /// Remembered grants: `[memory] max_age` of `consent.toml`.
    pub choices: Duration,
    /// Pending jobs, at the longest.
    pub queue: Duration,
    /// The text of answers.
    pub traces: Duration,
    /// Dead letters.
    pub dead_letters: Duration,
    /// The decision log.
    pub evidence: Duration,
    /// Journeys.
    pub journeys: Duration,
}

/// When alerts fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertSettings {
    /// The oldest waiting event of a destination has waited so long.
    pub oldest_age: Duration,
    /// Over how long dead letters and held events are counted.
    pub window: Duration,
    /// The share of a destination's ended events that died (basis points), and how many at least.
    pub dead_share: u32,
    /// See `dead_share`.
    pub dead_at_least: u64,
    /// By how much the share of held events rose over what is usual (basis points), and of how many
    /// events at least.
    pub held_rise: u32,
    /// See `held_rise`.
    pub held_at_least: u64,
    /// An event that used to come has not come for so long.
    pub silent_after: Duration,
    /// So much of `queue.max_disk` is left (basis points).
    pub disk_left: u32,
    /// The version of a platform's API ends within this.
    pub version_ends_in: Duration,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            oldest_age: Duration::from_secs(60 * 60),
            window: Duration::from_secs(15 * 60),
            dead_share: 500,
            dead_at_least: 10,
            held_rise: 2_000,
            held_at_least: 50,
            silent_after: Duration::from_secs(2 * 60 * 60),
            disk_left: 1_000,
            version_ends_in: Duration::from_secs(30 * 86_400),
        }
    }
}

/// Where alerts go.
#[derive(Debug, Clone)]
pub struct AlertWebhook {
    /// Its URL, which is a secret: chat programs write their key into it.
    pub url: SecretString,
    /// It may be a private or link-local address.
    pub allow_private: bool,
}

/// The decision log.
#[derive(Debug, Clone)]
pub struct EvidenceSettings {
    /// Decisions are kept.
    pub enabled: bool,
    /// Where the day's last hash goes; `None`: to the alerts' webhooks.
    pub webhook: Option<SecretString>,
    /// Private and link-local addresses may be told it.
    pub allow_private: bool,
}

impl Default for EvidenceSettings {
    fn default() -> Self {
        Self { enabled: true, webhook: None, allow_private: false }
    }
}

/// A destination, configured.
#[derive(Debug)]
pub struct DestinationConfig {
    /// Its name.
    pub name: String,
    /// Its platform.
    pub platform: &'static Platform,
    /// The sites it takes events of.
    pub sites: Vec<String>,
    /// Its mode, already capped by the relay's.
    pub mode: Mode,
    /// The share of people, 0 to 10,000 (basis points).
    pub share: u32,
    /// A condition.
    pub only: Option<Expression>,
    /// What each of its entries is worth, by plan event; the entries' number is that of the list.
    pub entries: BTreeMap<String, Vec<EntryValue>>,
    /// How it is delivered to.
    pub delivery: DeliveryPolicy,
    /// The platform's part.
    pub handler: Box<dyn Destination>,
    /// Base URL of what it calls: the vendor's, or `endpoint`, or in sandbox mode the sandbox's.
    pub endpoint: String,
    /// The same as explanations show it, in every mode: the vendor's, or `endpoint`.
    pub shown_endpoint: String,
    /// The settings that say whose account, pixel or address it is.
    pub account: BTreeMap<String, String>,
}

impl DestinationConfig {
    /// The version of the API that it calls, where the platform has versions.
    pub fn version(&self) -> Option<Version> {
        let platform = || {
            let api = self.platform.api?;
            Some(Version { name: api.version.to_owned(), since: None, ends: api.ends })
        };
        self.handler.version().or_else(platform)
    }
}

/// How a destination is delivered to.
#[derive(Debug, Clone)]
pub struct DeliveryPolicy {
    /// Requests and events over time.
    pub rate_limit: RateLimit,
    /// Events a batch.
    pub max_events: usize,
    /// How long a batch waits to fill.
    pub linger: Duration,
    /// When and how often to try again.
    pub retry: RetryPolicy,
    /// What happens when its queue is full.
    pub when_full: WhenFull,
    /// What happens after a lost answer, where the platform does not deduplicate.
    pub on_unknown: OnUnknown,
    /// Share of sends for fresh events while there is a backlog, 0 to 100.
    pub fresh_share: u8,
    /// For one request.
    pub timeout: Duration,
    /// Requests at once.
    pub concurrency: usize,
    /// Private and link-local addresses may be called.
    pub allow_private: bool,
}

/// When and how often to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The first wait's ceiling.
    pub first: Duration,
    /// Every wait's ceiling.
    pub max: Duration,
    /// Answers about the event itself, before it is dead.
    pub attempts: u32,
}

/// What happens when a destination's queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The newest is expired with the reason `backlog_full`.
    Shed,
    /// Ingest is refused.
    Refuse,
}

/// What happens after a lost answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnknown {
    /// Sent again.
    Retry,
    /// Dead, with the reason `unknown_result`.
    Drop,
}
