//! Named formats of texts, and points in time: what a platform's parser would say of them.

use std::{collections::HashMap, net::IpAddr};

use data_encoding::HEXLOWER;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    shape::{Format, Unit, Window},
    token,
    violation::Kind,
};

/// SHA-256 of the empty text: the commonest wrong digest there is.
const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Digests that prove a wrong normalisation, with what went wrong.
#[derive(Debug, Default)]
pub(super) struct WrongHashes(HashMap<String, String>);

impl WrongHashes {
    /// Hashes the texts that must never have been hashed as they are.
    pub(super) fn of<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let hash = |(text, why): (&str, &str)| (hex(&Sha256::digest(text)), why.to_owned());
        Self(texts.into_iter().map(hash).collect())
    }

    fn why(&self, digest: &str) -> Option<&str> {
        self.0.get(digest).map(String::as_str)
    }
}

/// What is wrong with a text in a format; nothing if it is right. Never repeats the text.
pub(super) fn wrong(
    format: Format,
    text: &str,
    wrong_hashes: &WrongHashes,
    now: Timestamp,
) -> Option<(Kind, String)> {
    let unless = |right: bool, what: &str| (!right).then(|| (Kind::Format, what.to_owned()));
    match format {
        Format::Sha256 => digest(text, wrong_hashes),
        Format::Sha256WithAppendix => {
            let (digits, appendix) = text.split_once('.').unwrap_or((text, "12"));
            if matches!(appendix.len(), 2 | 8) {
                digest(digits, wrong_hashes)
            } else {
                Some((Kind::Hash, "has an appendix that is neither 2 nor 8 characters".to_owned()))
            }
        }
        Format::Sha256Base64 => {
            use base64::Engine as _;
            match base64::engine::general_purpose::STANDARD.decode(text) {
                Ok(bytes) if bytes.len() == 32 => digest(&hex(&bytes), wrong_hashes),
                Ok(_) | Err(_) => Some((Kind::Hash, "is not a base64 SHA-256".to_owned())),
            }
        }
        Format::NotHashed => (is_hex(text, 64) || is_hex(text, 32))
            .then(|| (Kind::Hashed, "is hashed, but is wanted in clear".to_owned())),
        Format::Digits => unless(is_digits(text), "must be digits only"),
        Format::IntegerText => {
            unless(is_digits(text.strip_prefix('-').unwrap_or(text)), "must be a whole number")
        }
        Format::DecimalText => unless(is_decimal(text), "must be a decimal number"),
        Format::Currency => (!is_currency(text))
            .then(|| (Kind::Currency, "is not an ISO 4217 currency code".to_owned())),
        Format::CurrencyAnyCase => (!is_currency(&text.to_ascii_uppercase()))
            .then(|| (Kind::Currency, "is not an ISO 4217 currency code".to_owned())),
        Format::Country => unless(
            text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase()),
            "must be an ISO 3166-1 alpha-2 code in upper case",
        ),
        Format::Ip => unless(text.parse::<IpAddr>().is_ok(), "must be an IPv4 or IPv6 address"),
        Format::Ipv4 => {
            unless(text.parse::<std::net::Ipv4Addr>().is_ok(), "must be an IPv4 address")
        }
        Format::Url => {
            let parsed = url::Url::parse(text);
            let right = parsed.is_ok_and(|url| {
                matches!(url.scheme(), "http" | "https") && url.host_str().is_some()
            });
            unless(right, "must be an absolute http or https URL")
        }
        Format::Uuid => {
            unless(text.len() == 36 && uuid::Uuid::parse_str(text).is_ok(), "must be a UUID")
        }
        Format::UuidAnyDashes => unless(
            matches!(text.len(), 32 | 36) && uuid::Uuid::parse_str(text).is_ok(),
            "must be a UUID",
        ),
        Format::NoIdentity => holds_email(text)
            .then(|| (Kind::Identity, "holds an e-mail address in clear".to_owned())),
        Format::JwtRs256 => {
            token::wrong_assertion(text, now).map(|what| (Kind::Format, what.to_owned()))
        }
    }
}

/// What is wrong with a point in time; nothing if it is right.
pub(super) fn wrong_time(window: &Window, value: &Value, now: Timestamp) -> Option<(Kind, String)> {
    let time = match read_time(window.unit, value) {
        Ok(time) => time,
        Err(wrong) => return Some(wrong),
    };
    let age = now.as_second().saturating_sub(time.as_second());
    if let Some(oldest) = window.oldest
        && age > oldest.0
    {
        return Some((Kind::TooOld, format!("is {age} s ago; at most {} s are taken", oldest.0)));
    }
    if let Some(ahead) = window.ahead
        && age.saturating_neg() > ahead.0
    {
        return Some((Kind::InFuture, "lies in the future".to_owned()));
    }
    None
}

fn read_time(unit: Unit, value: &Value) -> Result<Timestamp, (Kind, String)> {
    let wrong = |what: &str| (Kind::TimeFormat, what.to_owned());
    if matches!(
        unit,
        Unit::Seconds | Unit::Milliseconds | Unit::Microseconds | Unit::SecondsOrMilliseconds
    ) {
        let number = match value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let number = number.ok_or_else(|| wrong("must be a whole number since the epoch"))?;
        return read_epoch(unit, number);
    }
    let text = value.as_str().ok_or_else(|| wrong("must be a text that names a time"))?;
    // `get` on bytes: every form below is ASCII, and anything else fails to parse anyway.
    let byte = |at: usize| text.as_bytes().get(at).copied();
    match unit {
        Unit::Rfc3339 => {
            let zoned = byte(10) == Some(b'T');
            text.parse().ok().filter(|_| zoned).ok_or_else(|| {
                wrong("must be RFC 3339 with an offset, such as 2026-11-20T12:15:07Z")
            })
        }
        Unit::Rfc3339Milliseconds => {
            let shaped = text.len() == 24 && byte(19) == Some(b'.') && text.ends_with('Z');
            text.parse()
                .ok()
                .filter(|_| shaped)
                .ok_or_else(|| wrong("must be UTC with milliseconds: 2026-11-22T04:00:00.000Z"))
        }
        Unit::Rfc3339Seconds => {
            let shaped = text.len() == 20 && byte(10) == Some(b'T') && text.ends_with('Z');
            text.parse()
                .ok()
                .filter(|_| shaped)
                .ok_or_else(|| wrong("must be UTC to the second: 2026-11-22T04:00:00Z"))
        }
        Unit::SpacedOffset => {
            let shaped = text.len() == 25
                && byte(10) == Some(b' ')
                && matches!(byte(19), Some(b'+' | b'-'))
                && byte(22) == Some(b':');
            text.parse()
                .ok()
                .filter(|_| shaped)
                .ok_or_else(|| wrong("must be written yyyy-mm-dd hh:mm:ss+hh:mm"))
        }
        Unit::SpacedUtc => text
            .parse::<DateTime>()
            .ok()
            .filter(|_| text.len() == 19 && byte(10) == Some(b' '))
            .and_then(|civil| TimeZone::UTC.to_timestamp(civil).ok())
            .ok_or_else(|| wrong("must be written yyyy-mm-dd hh:mm:ss")),
        Unit::Seconds | Unit::Milliseconds | Unit::Microseconds | Unit::SecondsOrMilliseconds => {
            Err(wrong("must be a whole number since the epoch"))
        }
    }
}

/// Units are told apart by size: no event is from before 1973 or after 5138.
fn read_epoch(unit: Unit, number: i64) -> Result<Timestamp, (Kind, String)> {
    let found = match number {
        100_000_000..100_000_000_000 => Unit::Seconds,
        100_000_000_000..100_000_000_000_000 => Unit::Milliseconds,
        100_000_000_000_000..100_000_000_000_000_000 => Unit::Microseconds,
        _ => return Err((Kind::Unit, "is no plausible time since the epoch".to_owned())),
    };
    let fits = unit == found
        || unit == Unit::SecondsOrMilliseconds
            && matches!(found, Unit::Seconds | Unit::Milliseconds);
    if !fits {
        let what = format!("is in {}, but is wanted in {}", unit_name(found), unit_name(unit));
        return Err((Kind::Unit, what));
    }
    match found {
        Unit::Milliseconds => Timestamp::from_millisecond(number),
        Unit::Microseconds => Timestamp::from_microsecond(number),
        _ => Timestamp::from_second(number),
    }
    .map_err(|_| (Kind::Unit, "is no plausible time since the epoch".to_owned()))
}

fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Milliseconds => "milliseconds",
        Unit::Microseconds => "microseconds",
        Unit::SecondsOrMilliseconds => "seconds or milliseconds",
        _ => "seconds",
    }
}

fn digest(text: &str, wrong_hashes: &WrongHashes) -> Option<(Kind, String)> {
    let what = if !is_hex(text, 64) {
        "is not a SHA-256 in 64 hex digits: in clear, or hashed otherwise".to_owned()
    } else if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        "is a SHA-256 in upper case; lower case is wanted".to_owned()
    } else if text == OF_NOTHING {
        "is the SHA-256 of an empty text".to_owned()
    } else {
        format!("is the SHA-256 of a text that was not normalised: {}", wrong_hashes.why(text)?)
    };
    Some((Kind::Hash, what))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_decimal(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    match text.split_once('.') {
        Some((whole, fraction)) => is_digits(whole) && is_digits(fraction),
        None => is_digits(text),
    }
}

fn is_currency(text: &str) -> bool {
    iso_currency::Currency::from_code(text).is_some()
}

/// Something before an `@`, and something with a dot behind it.
fn holds_email(text: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    text.match_indices('@').any(|(at, _)| {
        let (before, after) = text.split_at(at);
        let host: String = after.chars().skip(1).take_while(|c| part(*c)).collect();
        before.chars().next_back().is_some_and(part)
            && host.split('.').count() > 1
            && host.split('.').all(|label| !label.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T04:00:00Z".parse().unwrap()
    }

    fn is(format: Format, text: &str) -> bool {
        wrong(format, text, &WrongHashes::default(), now()).is_none()
    }

    #[test]
    fn formats_tell_right_from_wrong() {
        let digest = hex(&Sha256::digest("jane"));
        let cases: &[(Format, &[&str], &[&str])] = &[
            (Format::Sha256, &[&digest], &["", "jane", OF_NOTHING, "62c66a7a"]),
            (Format::Sha256WithAppendix, &[&digest], &[OF_NOTHING]),
            (Format::NotHashed, &["1 Main St", "abc"], &[&digest]),
            (Format::Digits, &["0", "42"], &["", "4.2", "-4", "٤"]),
            (Format::IntegerText, &["-4", "4"], &["4.0", "", "-"]),
            (Format::DecimalText, &["4", "-4.20"], &["4.", ".4", "4,2", "1e3"]),
            (Format::Currency, &["USD", "JPY"], &["usd", "US", "ABC", ""]),
            (Format::CurrencyAnyCase, &["usd", "EUR"], &["dollar"]),
            (Format::Country, &["US"], &["us", "USA", ""]),
            (Format::Ip, &["203.0.113.9", "2001:db8::1"], &["203.0.113", "::x"]),
            (Format::Ipv4, &["203.0.113.9"], &["2001:db8::1"]),
            (Format::Url, &["https://shop.example/x?y=1"], &["shop.example", "ftp://a/", "/x"]),
            (Format::Uuid, &["7c7f0c9e-0f1b-4a27-9a6e-0f9d6c1b2a33"], &["7c7f0c9e0f1b4a27"]),
            (Format::UuidAnyDashes, &["f894f652ea334e739002f7167ab8f8e3"], &["f894"]),
            (Format::NoIdentity, &["@home", "a@b", "tag@", "x @ y.z"], &["mail a.b@example.com!"]),
        ];
        for (format, right, bad) in cases {
            right.iter().for_each(|text| assert!(is(*format, text), "{format:?} {text}"));
            bad.iter().for_each(|text| assert!(!is(*format, text), "{format:?} {text}"));
        }
    }

    #[test]
    fn digests_of_texts_that_were_not_normalised_are_known() {
        let known = WrongHashes::of([("Jane", "a capital")]);
        let found = wrong(Format::Sha256, &hex(&Sha256::digest("Jane")), &known, now());
        assert!(found.is_some_and(|(kind, text)| kind == Kind::Hash && text.contains("a capital")));
        assert_eq!(wrong(Format::Sha256, &hex(&Sha256::digest("jane")), &known, now()), None);
    }

    #[test]
    fn times_are_told_apart_by_size_and_held_against_the_window() {
        let of = |unit: &str, value: Value| {
            let window = json!({"unit": unit, "oldest": "7d", "ahead": "1m"});
            let window: Window = serde_json::from_value(window).unwrap();
            wrong_time(&window, &value, now()).map(|(kind, _)| kind)
        };
        let seconds = now().as_second();
        assert_eq!(of("seconds", json!(seconds)), None);
        assert_eq!(of("seconds", json!(seconds * 1_000)), Some(Kind::Unit));
        assert_eq!(of("milliseconds", json!(seconds)), Some(Kind::Unit));
        assert_eq!(of("microseconds", json!((seconds * 1_000_000).to_string())), None);
        assert_eq!(of("seconds_or_milliseconds", json!(seconds * 1_000)), None);
        assert_eq!(of("seconds", json!(7)), Some(Kind::Unit));
        assert_eq!(of("seconds", json!("soon")), Some(Kind::TimeFormat));
        assert_eq!(of("seconds", json!(seconds - 7 * 86_400)), None);
        assert_eq!(of("seconds", json!(seconds - 7 * 86_400 - 1)), Some(Kind::TooOld));
        assert_eq!(of("seconds", json!(seconds + 60)), None);
        assert_eq!(of("seconds", json!(seconds + 61)), Some(Kind::InFuture));
        let texts = [
            ("rfc3339", "2026-11-22T05:00:00+01:00", true),
            ("rfc3339", "2026-11-22T04:00:00", false),
            ("rfc3339", "2026-11-22 04:00:00Z", false),
            ("rfc3339_milliseconds", "2026-11-22T04:00:00.000Z", true),
            ("rfc3339_milliseconds", "2026-11-22T04:00:00Z", false),
            ("rfc3339_seconds", "2026-11-22T04:00:00Z", true),
            ("rfc3339_seconds", "2026-11-22T04:00:00.000Z", false),
            ("spaced_offset", "2026-11-22 04:00:00+00:00", true),
            ("spaced_offset", "2026-11-22T04:00:00+00:00", false),
            ("spaced_offset", "2026-11-22 04:00:00Z", false),
            ("spaced_utc", "2026-11-22 04:00:00", true),
            ("spaced_utc", "2026-11-22 04:00:00+00:00", false),
        ];
        for (unit, text, right) in texts {
            assert_eq!(of(unit, json!(text)).is_none(), right, "{unit} {text}");
        }
    }
}
