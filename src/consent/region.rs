//! Where a visitor is, and which region rule covers it.

use serde::{Deserialize, Serialize};

/// A region: ISO 3166-1 alpha-2, with the subdivision where known (`US-CA`); `None` is unknown.
pub type Region = Option<String>;

/// Where a region may be taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegionSource {
    /// `consent.region` of the event (never from a browser key).
    Event,
    /// A header that a trusted proxy sets, such as `CF-IPCountry`.
    Header(String),
    /// The MaxMind-format database, by the visitor's address.
    Geoip,
}

/// The European Economic Area: the 27 members of the EU, Iceland, Liechtenstein and Norway.
/// <https://www.efta.int/eea> (checked 2026-11-22).
const EEA: [&str; 30] = [
    "AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU", "IS", "IE", "IT",
    "LV", "LI", "LT", "LU", "MT", "NL", "NO", "PL", "PT", "RO", "SK", "SI", "ES", "SE",
];

/// How closely a pattern covers a region: 3 subdivision, 2 country, 1 group, 0 everything.
pub(super) fn covers(pattern: &str, region: &Region) -> Option<u8> {
    if pattern == "*" {
        return Some(0);
    }
    let region = region.as_deref()?;
    let country = region.split('-').next().unwrap_or(region);
    if pattern == region {
        Some(if region.contains('-') { 3 } else { 2 })
    } else if pattern == country {
        Some(2)
    } else if pattern == "EEA" && EEA.contains(&country) {
        Some(1)
    } else {
        None
    }
}

/// The countries of a group pattern, for reports and checks; a country or `*` stands for itself.
pub fn expand(pattern: &str) -> Vec<&str> {
    if pattern == "EEA" { EEA.to_vec() } else { vec![pattern] }
}
