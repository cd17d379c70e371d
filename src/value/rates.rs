//! Exchange rates from a dated file.

use std::time::Duration;

use jiff::Timestamp;

use crate::event::{Currency, Money};

/// Rates against one base, with their dates.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    /// Older rates are not used.
    pub max_age: Duration,
}

/// What is wrong with a rates file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct RatesError {
    /// Counted from 1.
    pub line: usize,
    /// What and how to mend it.
    pub problem: String,
}

impl Rates {
    /// Reads `currency,rate,date` lines: units of the currency for one unit of the base.
    pub fn parse(csv: &str, max_age: Duration) -> Result<Self, Vec<RatesError>> {
        let _ = csv;
        Ok(Self { max_age })
    }

    /// Converts, or says which rate is missing or too old.
    pub fn convert(&self, money: Money, to: Currency, now: Timestamp) -> Result<Money, String> {
        let _ = (money, to, now);
        unimplemented!()
    }
}
