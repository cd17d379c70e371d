//! Between exact decimals and CEL's doubles, and the canonical text of a value.

use rust_decimal::{Decimal, RoundingStrategy, prelude::ToPrimitive as _};
use serde_json::{Number, Value};

/// The digits after the point to which a result in doubles is exact.
const DIGITS: u32 = 9;
const SCALE: f64 = 1e9;
/// Integers up to here are exact as doubles.
pub(super) const EXACT_INTEGER: u64 = 1 << 53;
/// Powers of ten up to here are exact as doubles.
const EXACT_POWER: u32 = 22;

/// The nearest double, so that `properties.value == 129.9` holds for 129.90.
pub(super) fn to_double(decimal: Decimal) -> f64 {
    let mantissa = decimal.mantissa().unsigned_abs();
    let scale = decimal.scale();
    if mantissa <= u128::from(EXACT_INTEGER) && scale <= EXACT_POWER {
        // Both are exact and a division rounds correctly, so this is the nearest double.
        let power = 10f64.powi(i32::try_from(scale).unwrap_or_default());
        let double = mantissa.to_f64().unwrap_or_default() / power;
        return if decimal.is_sign_negative() { -double } else { double };
    }
    decimal.to_string().parse().unwrap_or_default()
}

/// A double rounded to 9 digits, half away from zero; `None` where it is not finite or too large.
pub(super) fn to_decimal(double: f64) -> Option<Decimal> {
    let scaled = (double * SCALE).round();
    if scaled.abs() <= EXACT_INTEGER as f64 {
        // In the range of money: an exact integer of billionths, without its trailing zeros.
        let (mut billionths, mut digits) = (scaled as i64, DIGITS);
        while digits > 0 && billionths % 10 == 0 {
            billionths /= 10;
            digits -= 1;
        }
        return Some(Decimal::new(billionths, digits));
    }
    let exact = Decimal::from_f64_retain(double)?;
    Some(exact.round_dp_with_strategy(DIGITS, RoundingStrategy::MidpointAwayFromZero).normalize())
}

/// A decimal as a JSON number, digit for digit.
pub(super) fn json_of(decimal: Decimal) -> Value {
    decimal.to_string().parse::<Number>().map_or(Value::Null, Value::Number)
}

/// The decimal of a JSON number, where one can hold it.
pub(super) fn of_json(number: &Number) -> Option<Decimal> {
    parse_decimal(&number.to_string())
}

/// The decimal that a text spells, also with an exponent.
pub(super) fn parse_decimal(text: &str) -> Option<Decimal> {
    let text = text.trim();
    Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)).ok()
}

/// The text by which equal values are equal; `None` for null, the empty text, and whatever lacks a
/// part.
pub(super) fn canonical_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        Value::Array(_) | Value::Object(_) => canonical(value).map(|value| value.to_string()),
        Value::Bool(held) => Some(held.to_string()),
        Value::Number(number) => Some(canonical_number(number)),
    }
}

fn canonical(value: &Value) -> Option<Value> {
    Some(match value {
        Value::Null => return None,
        Value::String(_) | Value::Bool(_) => value.clone(),
        Value::Number(number) => {
            canonical_number(number).parse::<Number>().map_or_else(|_| value.clone(), Value::Number)
        }
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect::<Option<_>>()?),
        Value::Object(members) => {
            // serde_json keeps members sorted by name.
            let members =
                members.iter().map(|(name, value)| Some((name.clone(), canonical(value)?)));
            Value::Object(members.collect::<Option<_>>()?)
        }
    })
}

fn canonical_number(number: &Number) -> String {
    of_json(number).map_or_else(|| number.to_string(), |decimal| decimal.normalize().to_string())
}
