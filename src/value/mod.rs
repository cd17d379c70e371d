//! What an event is worth: fixed, a field, a formula; exact decimals, never a guess.

mod rates;
mod rule;

pub use rates::{Rates, RatesError};
pub use rule::{
    Amounts, Bounds, EntryValue, FIXED, NoValue, Source, ValueRule, Valued, value_for_entry,
    value_of,
};
