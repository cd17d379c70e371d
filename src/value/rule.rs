//! Value rules and what they give.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::Rates;
use crate::{
    event::{Currency, Event, Field, Money},
    plan::Expression,
};

/// How an event, or one entry of a destination, gets its value.
#[derive(Debug, Clone)]
pub struct ValueRule {
    /// Where the amount comes from.
    pub source: Source,
    /// The currency of a fixed amount or formula; `None`: the event's, else the site's.
    pub currency: Option<Currency>,
    /// Limits of the result, in its currency.
    pub bounds: Bounds,
}

/// Where an amount comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// An amount that somebody decided.
    Fixed(Decimal),
    /// The same, by site.
    FixedBySite(BTreeMap<String, Decimal>),
    /// A field of `properties`, by its dotted path, times a factor.
    Field {
        /// One of the money fields, or a free property.
        path: String,
        /// 1 where it says nothing.
        times: Decimal,
    },
    /// CEL over doubles.
    Formula(Expression),
}

/// Limits of a result.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// Not less.
    pub minimum: Option<Decimal>,
    /// Not more.
    pub maximum: Option<Decimal>,
}

/// What one entry of a destination does to the event's value.
#[derive(Debug, Clone, Default)]
pub struct EntryValue {
    /// Its own rule; `event_value` is the event's result.
    pub rule: Option<ValueRule>,
    /// The currency it wants.
    pub currency: Option<Currency>,
}

/// A value, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Valued {
    /// The value, rounded to the currency's minor units.
    pub value: Option<Money>,
    /// `fixed`, `field`, `formula`, or `none` for `properties.value` as it came.
    pub rule: &'static str,
    /// Why there is none, where one was to be expected.
    pub warning: Option<NoValue>,
}

/// Why there is no value; a warning, never a rejection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoValue {
    /// An input is missing (`no_value`).
    Missing(String),
    /// Neither the event nor its site has a currency (`no_currency`).
    NoCurrency,
    /// There is no fresh rate for the conversion (`no_currency`).
    NoRate(String),
    /// The formula failed (`expression_failed`).
    Failed(String),
}

/// What a rule looks at, besides the rule.
#[derive(Debug, Clone, Copy)]
pub struct Amounts<'a> {
    /// The event.
    pub event: &'a Event,
    /// The site's currency.
    pub site_currency: Option<Currency>,
    /// The event's own result, for an entry's rule.
    pub event_value: Option<Money>,
}

/// The event's value: by its rule, or `properties.value` with its currency.
pub fn value_of(rule: Option<&ValueRule>, amounts: &Amounts<'_>) -> Valued {
    let _ = (rule, amounts, Field::Value);
    unimplemented!()
}

/// The value for one entry: its own rule, then its currency.
pub fn value_for_entry(
    entry: &EntryValue,
    amounts: &Amounts<'_>,
    rates: Option<&Rates>,
    now: Timestamp,
) -> Valued {
    let _ = (entry, amounts, rates, now);
    unimplemented!()
}
