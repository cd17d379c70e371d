//! The rules, one function each; the platform files name them.

use super::Normalized;

/// A normalisation rule. Each variant's documentation names the vendor's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// As it came, trimmed.
    Verbatim,
}

/// Why a value was dropped rather than sent wrongly. Never holds the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Dropped {
    /// Nothing is left of it.
    #[error("nothing is left after normalisation")]
    Empty,
    /// It is already hashed, and the platform wants it in clear.
    #[error("it is already hashed, and the platform takes it only in clear")]
    Hashed,
    /// It is not what it should be.
    #[error("it is not a valid value of its kind")]
    Invalid,
    /// A phone number without a country code where no country is known.
    #[error("it has no country code, and neither the event nor its site has a country")]
    NoCountry,
}

/// Normalises by a rule. `country` (ISO alpha-2) is the event's or its site's, for phone numbers
/// and postal rules.
pub fn normalize(rule: Rule, text: &str, country: Option<&str>) -> Result<Normalized, Dropped> {
    let _ = (rule, text, country);
    unimplemented!()
}
