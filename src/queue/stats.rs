//! The books as they are read: by destination, whose sums balance at any time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::consent::ReasonCode;

/// The books, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Events accepted.
    pub accepted: u64,
    /// Events seen before.
    pub duplicate: u64,
    /// Events that a frequency rule does not count again.
    pub suppressed: u64,
    /// Events whose criterion is not met.
    pub criteria_not_met: u64,
    /// Events not in the plan, kept.
    pub unplanned: u64,
    /// Test events.
    pub test: u64,
    /// Events rejected.
    pub rejected: u64,
    /// By destination.
    pub destinations: BTreeMap<String, DestinationStats>,
}

/// The books of one destination:
/// `accepted = skipped + held + delivered + shadowed + dead + discarded + expired + withdrawn +
/// pending + in_flight`, at any time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DestinationStats {
    /// Decisions.
    pub accepted: u64,
    /// Not for it.
    pub skipped: u64,
    /// In the queue, not leased.
    pub pending: u64,
    /// Leased.
    pub in_flight: u64,
    /// Taken by the platform.
    pub delivered: u64,
    /// Counted as if sent.
    pub shadowed: u64,
    /// Dead letters.
    pub dead: u64,
    /// Dead letters thrown away.
    pub discarded: u64,
    /// Over.
    pub expired: u64,
    /// Stopped by rules after queueing.
    pub withdrawn: u64,
    /// Sends again; not part of the sum.
    pub retried: u64,
    /// Held, by reason.
    pub held: Held,
    /// running, paused, failing, shadow, removed.
    pub state: String,
    /// Waiting events that will be too old within six hours; filled in by the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiring_soon: Option<u64>,
    /// The version of the platform's API, where it has versions; filled in by the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiStats>,
}

/// The version that a destination calls, and for how long it can.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ApiStats {
    /// As in the URL or header.
    pub version: String,
    /// The last day, as `2027-08-17`, where it is named.
    pub ends: Option<String>,
    /// Whole days until then; negative once it has ended.
    pub days_left: Option<i64>,
}

/// Held decisions by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Held {
    /// See [`ReasonCode::NoConsent`].
    pub no_consent: u64,
    /// See [`ReasonCode::OptedOut`].
    pub opted_out: u64,
    /// See [`ReasonCode::NoSignal`].
    pub no_signal: u64,
    /// See [`ReasonCode::NotApproved`].
    pub not_approved: u64,
    /// See [`ReasonCode::NoRule`].
    pub no_rule: u64,
    /// See [`ReasonCode::Minor`].
    pub minor: u64,
}

impl Held {
    /// The count of one reason.
    pub fn of(&self, code: ReasonCode) -> u64 {
        match code {
            ReasonCode::NoConsent => self.no_consent,
            ReasonCode::OptedOut => self.opted_out,
            ReasonCode::NoSignal => self.no_signal,
            ReasonCode::NotApproved => self.not_approved,
            ReasonCode::NoRule => self.no_rule,
            ReasonCode::Minor => self.minor,
            ReasonCode::PersonalizationDenied | ReasonCode::FieldsRemoved => 0,
        }
    }
}

impl DestinationStats {
    /// Whether the books balance.
    pub fn balance(&self) -> bool {
        let held = self.held;
        let held = held.no_consent
            + held.opted_out
            + held.no_signal
            + held.not_approved
            + held.no_rule
            + held.minor;
        self.accepted
            == self.skipped
                + held
                + self.delivered
                + self.shadowed
                + self.dead
                + self.discarded
                + self.expired
                + self.withdrawn
                + self.pending
                + self.in_flight
    }
}

/// How the queue itself fares, for metrics. Counts are since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Vitals {
    /// Batches written and synced.
    pub commits: u64,
    /// Batches that failed; each is followed by opening the store again.
    pub failed_commits: u64,
    /// Time spent in writing and syncing, microseconds.
    pub commit_micros: u64,
    /// Event ids in memory.
    pub event_ids: u64,
    /// Event ids dropped before their time, because there were more than `event_ids_at_most`.
    pub event_ids_dropped: u64,
    /// Jobs in the queue, leased ones and follow-ups included.
    pub jobs: u64,
    /// Bytes that the store takes on disk, as of about the last second.
    pub disk_bytes: u64,
    /// The store is open and takes admissions.
    pub open: bool,
}
