//! Money as it came: a JSON number or a decimal string, exact.

use rust_decimal::Decimal;

use super::{
    Rejection,
    json::Node,
    typed::{Path, is_absent},
};

/// Nothing sold costs a quadrillion. Staying far from the type's own limit (about 7.9e28) keeps
/// every later multiplication from overflowing.
const LARGEST: i64 = 1_000_000_000_000_000;

/// An exact decimal.
pub(super) fn decimal(node: &Node<'_>, path: &Path<'_>) -> Result<Option<Decimal>, Rejection> {
    let written = match node {
        node if is_absent(node) => return Ok(None),
        Node::Number(number) => number.as_ref(),
        Node::Text(text) => text.trim(),
        Node::Flawed(flaw) => return Err(path.flawed(flaw)),
        other => {
            let message = format!("expected a number or a decimal string, not {}", other.kind());
            return Err(path.invalid(message));
        }
    };
    let amount = parse(written).ok_or_else(|| {
        path.invalid("expected a decimal such as 129.90 or \"129.90\", of at most 28 digits")
    })?;
    if amount.abs() > Decimal::from(LARGEST) {
        return Err(path.invalid("the number is too large to be money"));
    }
    Ok(Some(amount))
}

/// Reads JSON's number grammar (and a leading `+` or zero), exact or not at all.
pub(super) fn parse(written: &str) -> Option<Decimal> {
    // The library also reads `1_000`; nobody who writes that means it to be JSON.
    let plain =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'+' | b'-' | b'e' | b'E');
    if written.len() > 64
        || !written.bytes().all(plain)
        || !written.bytes().any(|b| b.is_ascii_digit())
    {
        return None;
    }
    let Some((base, exponent)) = written.split_once(['e', 'E']) else {
        return Decimal::from_str_exact(written).ok();
    };
    let base = Decimal::from_str_exact(base).ok()?;
    let exponent: i32 = exponent.parse().ok()?;
    if base.is_zero() {
        return Some(Decimal::ZERO);
    }
    let scale = i32::try_from(base.scale()).ok()?.checked_sub(exponent)?;
    match u32::try_from(scale) {
        Ok(scale) => Decimal::try_from_i128_with_scale(base.mantissa(), scale).ok(),
        Err(_) => {
            let factor = 10i128.checked_pow(scale.unsigned_abs())?;
            let mantissa = base.mantissa().checked_mul(factor)?;
            Decimal::try_from_i128_with_scale(mantissa, 0).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::RejectionCode;

    fn read(json: &str) -> Result<Option<Decimal>, Rejection> {
        let node = crate::sources::json::parse(json, 4).unwrap();
        decimal(&node, &Path::Root.key("value"))
    }

    #[test]
    fn numbers_and_strings_are_exact() {
        for (json, exact) in [
            ("129.90", "129.90"),
            ("\" 129.90 \"", "129.90"),
            ("-5", "-5"),
            ("1e3", "1000"),
            ("1.25e-2", "0.0125"),
            ("\"12.5E+1\"", "125"),
            ("0e400", "0"),
            ("0.30000000000000004", "0.30000000000000004"),
            ("\"007\"", "7"),
        ] {
            let amount = read(json).unwrap().unwrap();
            assert_eq!(amount, exact.parse().unwrap(), "{json}");
        }
        assert_eq!(read("129.90").unwrap().unwrap().to_string(), "129.90");
    }

    #[test]
    fn absent_is_absent() {
        for json in ["null", "\"\"", "\"  \"", "[]"] {
            assert_eq!(read(json), Ok(None), "{json}");
        }
    }

    #[test]
    fn what_is_no_money_is_refused() {
        for json in [
            "\"NaN\"",
            "\"Infinity\"",
            "\"-\"",
            "\".\"",
            "\"1_000\"",
            "\"1,50\"",
            "\"$5\"",
            "1e400",
            "1e16",
            "-1e16",
            "99999999999999999999999999999999",
            "1e-400",
            "true",
            "[5]",
            "{}",
            "0.12345678901234567890123456789",
            "\"1e\"",
            "\"--1\"",
            "1e99999999999999999999",
        ] {
            let rejection = read(json).expect_err(json);
            assert_eq!(rejection.code, RejectionCode::InvalidField, "{json}");
            assert_eq!(rejection.path, "/value");
        }
    }
}
