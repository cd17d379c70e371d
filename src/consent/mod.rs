//! Consent: from the signals of an event to grants, and from grants and rules to a decision for
//! each destination. Pure: the same function decides at acceptance, before every send, in
//! `explain` and in `audit`.
//!
//! Signals become a [`State`] (what this person allows, and how we know); rules and a state become
//! a [`Decision`]. Absence is never consent where the model is opt-in, and is never written as
//! granted anywhere.

pub mod additional_consent;
mod approval;
pub mod bits;
mod categories;
pub mod clicks;
pub mod cmp;
mod consent_mode;
mod decide;
pub mod gpp;
mod how_read;
pub mod ids;
mod lock;
pub mod memory;
mod region;
mod rules;
mod said;
mod seen;
mod signals;
mod state;
pub mod tcf;
pub mod tcf_canada;
#[cfg(test)]
mod tests;
pub mod traits;
pub mod us_privacy;
pub mod us_section;

pub use approval::{
    Approval, Combination, Lock, Occasion, Recipient, StateKind, Terms, UNKNOWN_REGION, event_of,
};
pub use categories::{is_for_email, known as known_categories};
pub use decide::{Decision, Permit, PropertyRule, Purposes, Question, Reason, ReasonCode, decide};
pub use how_read::{CONTROLLER, HowRead};
pub use lock::{
    APPROVALS_FILE, LOCK_FILE, SSH_NAMESPACE, SignOff, Unreadable as UnreadableLock, file_hash,
};
pub use region::{
    Region, RegionSource, Whereabouts, canonical as canonical_region, expand as expand_region,
};
pub use rules::{
    DestinationRule, InRegion, IpForm, Memory, Model, RegionRule, Role, Rules, VendorId,
    WhenDenied, WhenOptedOut,
};
pub use said::{ByVendor, Said, VendorIds};
pub use seen::{Content, Problem, Seen, Text};
pub use signals::{OptOutClaim, Signals};
pub use state::{OptOut, Reading, State, read};

use serde::{Deserialize, Serialize};

/// The four purposes of Google Consent Mode, to which every signal is reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Store or read advertising identifiers.
    AdStorage,
    /// Send user data to a platform for advertising.
    AdUserData,
    /// Personalised advertising.
    AdPersonalization,
    /// Store or read analytics identifiers.
    AnalyticsStorage,
}

impl Purpose {
    /// Every purpose with its wire name.
    pub const ALL: [(Purpose, &'static str); 4] = [
        (Purpose::AdStorage, "ad_storage"),
        (Purpose::AdUserData, "ad_user_data"),
        (Purpose::AdPersonalization, "ad_personalization"),
        (Purpose::AnalyticsStorage, "analytics_storage"),
    ];

    /// The wire name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(purpose, _)| *purpose == self).map_or("", |(_, name)| name)
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(purpose, _)| *purpose)
    }
}

/// What is known of one purpose. `NotAsked` satisfies a need only in an opt-out region, and is
/// written to platforms as unspecified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// Asked, and allowed.
    Granted,
    /// Asked, and refused; binding everywhere.
    Denied,
    /// Nobody asked, or nobody said.
    #[default]
    NotAsked,
}

impl Grant {
    /// The stricter of two signals about one purpose: a denial beats a grant, a grant beats silence.
    #[must_use]
    pub fn strictest(self, other: Grant) -> Grant {
        match (self, other) {
            (Grant::Denied, _) | (_, Grant::Denied) => Grant::Denied,
            (Grant::Granted, _) | (_, Grant::Granted) => Grant::Granted,
            (Grant::NotAsked, Grant::NotAsked) => Grant::NotAsked,
        }
    }
}

/// A grant for each purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Grants {
    /// See [`Purpose::AdStorage`].
    pub ad_storage: Grant,
    /// See [`Purpose::AdUserData`].
    pub ad_user_data: Grant,
    /// See [`Purpose::AdPersonalization`].
    pub ad_personalization: Grant,
    /// See [`Purpose::AnalyticsStorage`].
    pub analytics_storage: Grant,
}

impl Grants {
    /// What is known of a purpose.
    pub fn get(&self, purpose: Purpose) -> Grant {
        match purpose {
            Purpose::AdStorage => self.ad_storage,
            Purpose::AdUserData => self.ad_user_data,
            Purpose::AdPersonalization => self.ad_personalization,
            Purpose::AnalyticsStorage => self.analytics_storage,
        }
    }

    /// The place of a purpose.
    pub fn get_mut(&mut self, purpose: Purpose) -> &mut Grant {
        match purpose {
            Purpose::AdStorage => &mut self.ad_storage,
            Purpose::AdUserData => &mut self.ad_user_data,
            Purpose::AdPersonalization => &mut self.ad_personalization,
            Purpose::AnalyticsStorage => &mut self.analytics_storage,
        }
    }
}
