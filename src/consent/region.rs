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

/// Looked up for every event and rule: by two bytes, not by thirty texts.
fn is_eea(country: &str) -> bool {
    let [a, b] = country.as_bytes() else { return false };
    EEA.iter().any(|member| matches!(member.as_bytes(), [x, y] if x == a && y == b))
}

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
    } else if pattern == "EEA" && is_eea(country) {
        Some(1)
    } else {
        None
    }
}

/// The countries of a group pattern, for reports and checks; a country or `*` stands for itself.
pub fn expand(pattern: &str) -> Vec<&str> {
    if pattern == "EEA" { EEA.to_vec() } else { vec![pattern] }
}

/// Where a visitor may be, by what the door saw of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// `consent.region` of the event is believed (not from a browser).
    pub event_is_believed: bool,
    /// Headers of a trusted proxy, lower-case names; empty for backends.
    pub headers: Vec<(String, String)>,
    /// The visitor's own address as the door saw it; `None` where only the event can say.
    pub address: Option<std::net::IpAddr>,
    /// The door, where remembered choices may be used for its events: `webhook` or `import`.
    pub door: Option<&'static str>,
}

impl Whereabouts {
    /// The first region that a source gives, in the order of `region_from`.
    pub fn region(
        &self,
        order: &[RegionSource],
        event: Option<&str>,
        geoip: &dyn Fn() -> Option<String>,
    ) -> Region {
        order.iter().find_map(|source| match source {
            RegionSource::Event if self.event_is_believed => canonical(event?),
            RegionSource::Event => None,
            RegionSource::Header(name) => {
                let (_, value) = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
                canonical(value)
            }
            RegionSource::Geoip => canonical(&geoip()?),
        })
    }
}

/// `us_ca`, `US-CA`, `de` → `US-CA`, `DE`; `None` for what is no region (such as Cloudflare's `XX`
/// for unknown and `T1` for Tor).
pub fn canonical(text: &str) -> Region {
    let text = text.trim().to_ascii_uppercase().replace('_', "-");
    let (country, rest) = match text.split_once('-') {
        Some((country, rest)) => (country, Some(rest)),
        None => (text.as_str(), None),
    };
    let country = match country {
        // ISO 3166-1 reserves UK for the United Kingdom, whose code is GB.
        "UK" => "GB",
        "XX" => return None,
        country => country,
    };
    let letters = |part: &str| part.bytes().all(|b| b.is_ascii_uppercase());
    if country.len() != 2 || !letters(country) {
        return None;
    }
    match rest {
        Some(part)
            if (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()) =>
        {
            Some(format!("{country}-{part}"))
        }
        Some(_) => None,
        None => Some(country.to_owned()),
    }
}
