//! Destinations: one file a platform, each a pure translation between jobs and HTTP.
//!
//! [`REGISTRY`] lists the platforms; configuration, `check`, metrics, the sandbox and README's
//! table iterate it. No platform's name occurs in the code outside its own file, its contract and
//! its registry line.

mod adjust;
mod amazon;
mod answer;
mod criteo;
mod ga4;
mod google;
mod google_ads;
mod google_ads_upload;
mod hint;
mod linkedin;
mod meta;
mod microsoft;
mod microsoft_offline;
mod openai;
mod outbrain;
mod pinterest;
mod prepare;
mod quora;
pub mod reach;
mod reddit;
mod settings;
mod snapchat;
mod taboola;
mod take;
mod the_trade_desk;
mod tiktok;
mod webhook;
mod wire;
mod x;

use std::{fmt::Debug, time::Duration};

use jiff::{Timestamp, civil::Date};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::{
    consent::{Permit, Purposes, ReasonCode, VendorIds},
    event::{ActionSource, Currency, Event, Field, FieldSet, Money},
    identity::Memo,
    job::{Prepared, Skip},
};

pub use hint::hint;
pub use settings::{Entry, Key, KeyKind, Mode, Problem, Settings};
pub use take::{Form, Take, Taken};

/// Every platform, in the order of README's table.
pub static REGISTRY: &[&Platform] = &[
    &meta::PLATFORM,
    &google_ads::PLATFORM,
    &google_ads_upload::PLATFORM,
    &ga4::PLATFORM,
    &microsoft::PLATFORM,
    &microsoft_offline::PLATFORM,
    &linkedin::PLATFORM,
    &reddit::PLATFORM,
    &tiktok::PLATFORM,
    &snapchat::PLATFORM,
    &pinterest::PLATFORM,
    &x::PLATFORM,
    &amazon::PLATFORM,
    &openai::PLATFORM,
    &the_trade_desk::PLATFORM,
    &taboola::PLATFORM,
    &outbrain::PLATFORM,
    &criteo::PLATFORM,
    &quora::PLATFORM,
    &webhook::PLATFORM,
];

/// The platform of a name.
pub fn platform(name: &str) -> Option<&'static Platform> {
    REGISTRY.iter().copied().find(|platform| platform.name == name)
}

/// What a platform is, as data.
#[derive(Debug)]
pub struct Platform {
    /// The name in configuration, metrics and the sandbox.
    pub name: &'static str,
    /// The name that people use.
    pub title: &'static str,
    /// Its names in the `integrations` of other event platforms (Segment's and RudderStack's
    /// catalogues, checked 2026-11-22), by which a sender switches it off.
    pub also_called: &'static [&'static str],
    /// The vendor's documentation.
    pub docs: &'static str,
    /// The API's version, where it has one.
    pub api: Option<ApiVersion>,
    /// Base URL of the vendor; `endpoint` replaces it.
    pub endpoint: &'static str,
    /// Base URL of the vendor's token service; `token_endpoint` replaces it. Empty: none.
    pub token_endpoint: &'static str,
    /// What one request can hold.
    pub batch: BatchLimits,
    /// The oldest event that the platform takes.
    pub oldest: fn(ActionSource) -> Duration,
    /// Requests that it takes, where `rate_limit` does not say.
    pub quota: Quota,
    /// By what it recognises a resend.
    pub dedup: Dedup,
    /// By what it recognises the copy that its own browser tag sends.
    pub browser_dedup: BrowserDedup,
    /// Each field that it takes, with its rule; drives preparation, `identity` and `removed`.
    pub takes: &'static [Take],
    /// What consent needs to know.
    pub purposes: Purposes,
    /// Its id on IAB's Global Vendor List, and on Google's list of ad technology providers.
    pub tcf_vendor_id: Option<u16>,
    /// See `tcf_vendor_id`.
    pub ac_provider_id: Option<u32>,
    /// The keys of its section in `destinations.toml`, besides the common ones.
    pub keys: &'static [Key],
    /// The keys of an event's entry as a table, besides `value` and `currency`.
    pub entry_keys: &'static [Key],
    /// Whether it has a test mode.
    pub has_test_mode: bool,
    /// What it accepts and answers, by its vendor's pages: the sandbox's contract, as JSON. Nothing
    /// here reads it; it stands here so that a platform is listed once.
    pub contract: &'static str,
    /// Builds the destination, or names every problem of its settings.
    pub configure: fn(&Settings) -> Configured,
}

/// A destination, or every problem of its settings.
pub type Configured = Result<Box<dyn Destination>, Vec<Problem>>;

impl Platform {
    /// The ids that it has on lists of vendors, where `consent.toml` does not say.
    pub fn vendor_ids(&self) -> VendorIds {
        VendorIds { tcf: self.tcf_vendor_id, ac: self.ac_provider_id }
    }

    /// The fields that it takes of an event of this source: what an app tells of its device is
    /// nothing to take of a website's event.
    pub fn takes_from(&self, source: ActionSource) -> FieldSet {
        let mut fields = self.purposes.takes;
        for take in self.takes.iter().filter(|take| !take.is_for(source)) {
            fields.remove(take.field);
        }
        fields
    }
}

/// A version and when it stops working.
#[derive(Debug, Clone, Copy)]
pub struct ApiVersion {
    /// As in the URL.
    pub version: &'static str,
    /// The last day, where the vendor has named one.
    pub ends: Option<Date>,
}

/// A version that a destination calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// As in the URL or header.
    pub name: String,
    /// The last day on which it works, where that is named.
    pub ends: Option<Date>,
}

/// What one request can hold.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Events.
    pub events: usize,
    /// Bytes of body.
    pub bytes: usize,
}

/// Requests over time.
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    /// Steady rate.
    pub requests_per_second: u32,
    /// At once.
    pub burst: u32,
    /// A day, where there is such a limit.
    pub requests_per_day: Option<u64>,
}

/// By what a platform recognises a resend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dedup {
    /// By the event id (or what carries it): a resend is safe.
    EventId,
    /// For some events only; see [`Destination::is_deduplicated`].
    Partly,
    /// Not at all: a `sending` mark precedes each send.
    None,
}

/// By what a platform recognises the copy of its own browser tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrowserDedup {
    /// Event name and id; events that [`Destination::is_deduplicated`] denies (page loads, which
    /// have no name) not at all.
    EventId,
    /// The event id, where each source has a conversion rule of its own: the tag's copy is kept.
    OwnRule,
    /// The transaction id, and that only of some events.
    TransactionId,
    /// Not at all.
    None,
}

/// One plan event of an incoming event, about to be prepared for one entry of a destination.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    /// What came in; its amounts, prices and adjustment in `currency`.
    pub event: &'a Event,
    /// What all of its money is in, but `value`, which has a currency of its own. `None`: in none that
    /// may be written.
    pub currency: Option<Currency>,
    /// Whether it came in another one: money among the free properties still is in that.
    pub converted: bool,
    /// Name of the plan event.
    pub plan_event: &'a str,
    /// Which entry of the destination.
    pub entry: u16,
    /// The value decided for this entry, converted if it asks for it.
    pub value: Option<Money>,
    /// There is no value only because there is no rate to convert it by.
    pub unconverted: bool,
    /// A calibrated value, for those that take it beside the revenue.
    pub calibrated: Option<Money>,
    /// The site's country, for phone numbers without a country code.
    pub site_country: Option<&'a str>,
    /// The consent state that came out of the signals.
    pub state: &'a crate::consent::State,
    /// Whether the site is sensitive.
    pub sensitive: bool,
    /// To be sent to the platform's test mode only.
    pub test: bool,
    /// What the preparations of this event share.
    pub memo: &'a Memo,
}

/// Why a destination does not take an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is not for this destination.
    Skip(Skip),
    /// It must not go there.
    Held(ReasonCode, String),
}

/// What came out of preparing besides the job itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Preparation {
    /// The job.
    pub prepared: Prepared,
    /// Identity that could not be normalised, with the reason (never the value).
    pub dropped: Vec<(Field, crate::identity::Dropped)>,
    /// Items that were cut from the end, because the platform takes no more.
    pub items_cut: usize,
}

/// A configured destination: pure, and all that delivery needs to know of a platform.
pub trait Destination: Debug + Send + Sync {
    /// May this platform use the event, and what of it? Hashes inside. The result has a group and
    /// an expiry.
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal>;

    /// Writes HTTP requests as plain data. Every job's index is in exactly one call, in the order
    /// given; all jobs are of one group. A job whose entry today's settings do not have is in none:
    /// callers withdraw such jobs before.
    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call>;

    /// Total: one outcome for each member of the call, in their order; a fault of the destination
    /// if there is one; a follow-up if it wants one. Never panics, whatever the bytes.
    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer;

    /// The fields that its settings choose among those that its platform takes; `None`: all of
    /// them. What is not here never leaves, whatever the rules allow.
    fn chosen(&self) -> Option<FieldSet> {
        None
    }

    /// What proves who we are. What is needed, not how it is got.
    fn auth(&self) -> Auth;

    /// Whether it takes amounts in a currency. One that it does not take is converted where a rate
    /// is configured; `prepare` skips what still has one.
    fn takes_currency(&self, currency: Currency) -> bool {
        let _: Currency = currency;
        true
    }

    /// Whether a body has one currency for all of its money. Where it has, amounts and prices are
    /// converted with the value.
    fn has_one_currency(&self) -> bool {
        true
    }

    /// Whether the platform recognises a resend of this job.
    fn is_deduplicated(&self, job: &Prepared) -> bool;

    /// What to do about events that are refused with this code of the platform's, where its pages
    /// say more than its words.
    fn hint(&self, code: &str) -> Option<&'static str> {
        let _: &str = code;
        None
    }

    /// What an answer tells of the platform's quotas, besides its outcomes.
    fn pace(&self, response: &Response, now: Timestamp) -> Option<Pace> {
        let _: (&Response, Timestamp) = (response, now);
        None
    }

    /// The request of a follow-up that an earlier answer asked for.
    fn follow_up(&self, follow_up: &FollowUp, now: Timestamp) -> Option<Call> {
        let _: (&FollowUp, Timestamp) = (follow_up, now);
        None
    }

    /// What is legal in its settings and likely wrong, with the path of the setting, for `check`.
    fn cautions(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// The version that it calls, where its settings name another one than the platform's.
    fn version(&self) -> Option<Version> {
        None
    }

    /// The platform's least intrusive call that proves the credentials, for probes and
    /// `check --online`. `None`: only a real event can tell.
    fn probe(&self, now: Timestamp) -> Option<Call> {
        let _: Timestamp = now;
        None
    }
}

/// An HTTP request as plain data, without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What it is for.
    pub purpose: CallPurpose,
    /// `POST` or `GET`.
    pub method: &'static str,
    /// Whole URL.
    pub url: String,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Indices of the jobs in it.
    pub members: Vec<usize>,
}

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallPurpose {
    /// It carries events.
    Send,
    /// It asks what became of an earlier one.
    FollowUp,
    /// It proves credentials.
    Probe,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    /// At most as many bytes as the client keeps.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// The meaning of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// One for each member of the call, in their order.
    pub outcomes: Vec<Outcome>,
    /// Set where the destination itself is at fault, so that it is paused and probed.
    pub fault: Option<Fault>,
    /// A later question about this call.
    pub follow_up: Option<FollowUp>,
    /// What the answer told besides: counted by code, never changing a settlement.
    pub notes: Vec<Note>,
}

/// What an answer means for one event. Closed: delivery matches all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Taken, or known already.
    Delivered,
    /// Not taken, worth trying again; after the given time if the platform named one.
    /// The event itself is in doubt, so that attempts are counted.
    Retry {
        /// What the platform asked for.
        after: Option<Duration>,
        /// Its words, without identity.
        message: String,
    },
    /// The platform is out of order (5xx and the like): tried until the event expires.
    Unavailable {
        /// What the platform asked for.
        after: Option<Duration>,
        /// Its words.
        message: String,
    },
    /// Too much; wait.
    Throttled {
        /// What the platform asked for.
        after: Option<Duration>,
        /// Its words.
        message: String,
    },
    /// Refused for good.
    Rejected {
        /// The platform's own code, such as `100/2804003`.
        reason: String,
        /// Its words, without identity.
        message: String,
    },
    /// Nothing was wrong with it, but the request held another event that was refused: sent again
    /// at once, which is no attempt of its own.
    Resend {
        /// The platform's words about the other one.
        message: String,
    },
    /// The body was too large: halved and sent again.
    TooLarge,
    /// The batch was refused and nothing says for which event: halved and sent again. For a
    /// single event it means rejected, with this reason and these words.
    CulpritUnknown {
        /// The platform's own code.
        reason: String,
        /// Its words.
        message: String,
    },
    /// Our credentials are refused, or our settings wrong: the destination is paused, the event kept.
    Paused,
}

/// What a platform says of its quota: how long it wants to be left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// So long.
    pub wait: Duration,
    /// Why, for the log: which quota, how much of it is used.
    pub why: String,
}

/// What is wrong with a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which kind.
    pub kind: FaultKind,
    /// The platform's own code.
    pub reason: String,
    /// Its words.
    pub message: String,
}

/// The two ways in which a destination is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The credentials are refused.
    Unauthorized,
    /// An id or a setting at the platform is wrong.
    Misconfigured,
}

/// A question to ask later about a call: durable, counted, never changing a settlement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowUp {
    /// What the platform knows the call by.
    pub id: String,
    /// How many events it held.
    pub events: u32,
    /// How often it was asked.
    pub attempt: u32,
    /// When to ask (next).
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub due: Timestamp,
}

/// Something that an answer told: counted in metrics and logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The platform's own code.
    pub code: String,
    /// How many events.
    pub count: u64,
    /// Its words.
    pub message: String,
    /// An operator should know.
    pub alert: bool,
}

/// What proves who we are.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Nothing.
    None,
    /// `Authorization: Bearer TOKEN`.
    Bearer(SecretString),
    /// A header of the platform's own.
    Header {
        /// Lower-case.
        name: &'static str,
        /// The token.
        value: SecretString,
    },
    /// A parameter of the query.
    Query {
        /// Its name.
        name: &'static str,
        /// The token.
        value: SecretString,
    },
    /// `Authorization: Basic`.
    Basic {
        /// `user:password`.
        credentials: SecretString,
    },
    /// The body signed: `HEADER: sha256=HEX`.
    HmacSha256 {
        /// Lower-case.
        header: &'static str,
        /// The key.
        secret: SecretString,
    },
    /// `Authorization: OAuth`: OAuth 1.0a, signed with HMAC-SHA1 (RFC 5849).
    OAuth1 {
        /// The application.
        consumer_key: SecretString,
        /// Its secret.
        consumer_secret: SecretString,
        /// The user's token.
        token: SecretString,
        /// Its secret.
        token_secret: SecretString,
    },
    /// OAuth 2.0 with a refresh token.
    OAuthRefresh {
        /// Where tokens are had.
        token_url: String,
        /// The application.
        client_id: String,
        /// Its secret.
        client_secret: SecretString,
        /// The grant.
        refresh_token: SecretString,
        /// More fields of the form, such as a scope.
        extra: Vec<(&'static str, String)>,
    },
    /// OAuth 2.0 with a refresh token that is replaced by another whenever it is used. The new one
    /// is kept durably before its access token is used; the configured one is where it begins.
    OAuthRotating {
        /// Where tokens are had.
        token_url: String,
        /// The application.
        client_id: String,
        /// Its secret, where it has one.
        client_secret: Option<SecretString>,
        /// The first grant.
        refresh_token: SecretString,
        /// More fields of the form, such as a scope.
        extra: Vec<(&'static str, String)>,
        /// Other secrets that each call shows: header (lower-case) and value.
        headers: Vec<(&'static str, SecretString)>,
    },
    /// OAuth 2.0 with a Google service account's key (JSON).
    ServiceAccount {
        /// Where tokens are had.
        token_url: String,
        /// The key file's text.
        key: SecretString,
        /// Which API.
        scope: &'static str,
    },
}
