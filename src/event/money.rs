//! Exact money: a decimal amount in an ISO 4217 currency.

use std::fmt;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

/// An ISO 4217 currency.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Reads a code of three letters in any case; `None` where ISO 4217 does not list it.
    pub fn parse(code: &str) -> Option<Self> {
        let code = code.trim();
        let upper: [u8; 3] = code.as_bytes().to_ascii_uppercase().try_into().ok()?;
        let text = std::str::from_utf8(&upper).ok()?;
        iso_currency::Currency::from_code(text)?;
        Some(Self(upper))
    }

    /// The code, in upper case.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// Digits after the decimal point: 2 for USD, 0 for JPY, 3 for KWD.
    pub fn minor_units(&self) -> u32 {
        // ISO 4217, list one; asked for every amount, so that no table is searched.
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG"
            | b"RWF" | b"UGX" | b"UYI" | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            b"CLF" | b"UYW" => 4,
            _ => 2,
        }
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Currency::parse(&code).ok_or_else(|| serde::de::Error::custom("not an ISO 4217 currency"))
    }
}

/// An amount in major units with its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// Major units, exact.
    pub amount: Decimal,
    /// ISO 4217.
    pub currency: Currency,
}

impl Money {
    /// The amount with all of the currency's minor units: `40.00` USD, `40` JPY.
    pub fn amount_text(&self) -> String {
        let units = self.currency.minor_units();
        let mut amount = self.amount;
        if amount.scale() < units {
            amount.rescale(units);
        }
        amount.to_string()
    }
}

/// Rounds half away from zero to the currency's minor units.
pub fn round_to_minor(amount: Decimal, currency: Currency) -> Decimal {
    amount.round_dp_with_strategy(currency.minor_units(), RoundingStrategy::MidpointAwayFromZero)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_units_are_those_of_the_standard() {
        let mut known = 0;
        for number in 0..26 * 26 * 26u32 {
            let letter = |place: u32| char::from(b'A' + (number / place % 26) as u8);
            let code: String = [letter(676), letter(26), letter(1)].iter().collect();
            let Some(standard) = iso_currency::Currency::from_code(&code) else { continue };
            let units = Currency::parse(&code).unwrap().minor_units();
            assert_eq!(units, standard.exponent().map_or(2, u32::from), "{code}");
            known += 1;
        }
        assert!(known > 150, "{known}");
    }
}
