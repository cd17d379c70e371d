//! What a platform is, as data: names, limits, what it takes, which keys its settings have.
//!
//! It refuses to know any platform; each fills in a [`Platform`] in its own file.

use std::time::Duration;

use jiff::civil::Date;

use super::{Destination, Key, Problem, Settings, Take};
use crate::{
    consent::{Purposes, VendorIds},
    event::{ActionSource, FieldSet},
};

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
    /// The first day on which it can be out, where its name tells that.
    pub since: Option<Date>,
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
    /// Events, however many requests they are in, where there is such a limit.
    pub events_per_second: Option<u32>,
}

impl Quota {
    /// Requests alone.
    pub const fn new(requests_per_second: u32, burst: u32) -> Self {
        Self { requests_per_second, burst, requests_per_day: None, events_per_second: None }
    }

    /// The same, and so many requests a day.
    pub const fn a_day(self, requests: u64) -> Self {
        Self { requests_per_day: Some(requests), ..self }
    }

    /// The same, and so many events a second.
    pub const fn events(self, a_second: u32) -> Self {
        Self { events_per_second: Some(a_second), ..self }
    }
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
