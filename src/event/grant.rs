//! What is known of each purpose: the form to which every consent signal is reduced.

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
    /// As it is written: `granted`, `denied` or `not_asked`.
    pub fn name(self) -> &'static str {
        match self {
            Grant::Granted => "granted",
            Grant::Denied => "denied",
            Grant::NotAsked => "not_asked",
        }
    }

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
