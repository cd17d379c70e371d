//! Writing bodies: exact numbers, objects without empty keys, batches within a platform's limits.

use std::{collections::HashMap, hash::Hash};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rust_decimal::Decimal;
use serde_json::{Number, Value};

use super::BatchLimits;
use crate::{
    event::{Currency, Field, Item},
    identity::Digest,
    job::Prepared,
};

/// A decimal as a JSON number, digit for digit.
pub(super) fn number(decimal: Decimal) -> Number {
    Number::from_string_unchecked(text(decimal))
}

/// The shortest text of a decimal. Nearly every amount fits 64 bits, whose digits are written at once.
fn text(decimal: Decimal) -> String {
    let (mantissa, mut scale) = (u64::try_from(decimal.mantissa().unsigned_abs()), decimal.scale());
    let Ok(mut mantissa) = mantissa else { return decimal.normalize().to_string() };
    while scale > 0 && mantissa.is_multiple_of(10) {
        mantissa /= 10;
        scale -= 1;
    }
    let Some(one) = 10u64.checked_pow(scale) else { return decimal.normalize().to_string() };
    let mut text = String::with_capacity(24);
    if decimal.is_sign_negative() && mantissa != 0 {
        text.push('-');
    }
    push_digits(&mut text, mantissa / one, 1);
    if scale > 0 {
        text.push('.');
        push_digits(&mut text, mantissa % one, scale);
    }
    text
}

/// A number with zeros before it, up to so many digits (at most 20).
fn push_digits(text: &mut String, mut number: u64, least: u32) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    let mut missing = least;
    for place in digits.iter_mut().rev() {
        if number == 0 && missing == 0 {
            break;
        }
        *place += (number % 10) as u8;
        number /= 10;
        start -= 1;
        missing = missing.saturating_sub(1);
    }
    text.push_str(ascii(digits.get(start..).unwrap_or_default()));
}

/// Digits, as text.
fn ascii(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).unwrap_or_default()
}

/// A decimal as a JSON integer, where it is one.
pub(super) fn integer(decimal: Decimal) -> Option<Number> {
    decimal.is_integer().then(|| number(decimal))
}

/// A JSON object being written: text from the start, since a tree of values would be built only to
/// be written once. What is absent leaves no key.
#[derive(Debug, Default)]
pub(super) struct Object {
    /// The object without its closing brace; empty as long as there is no key.
    text: String,
    /// How many keys it has.
    keys: usize,
}

/// Room for what most objects hold.
const SMALL_BYTES: usize = 192;

impl Object {
    /// With room for a whole event, or for all that is known of a person.
    pub(super) fn large() -> Self {
        Self { text: String::with_capacity(2_000), keys: 0 }
    }

    /// Adds a key, which must be new.
    #[must_use]
    pub(super) fn with(mut self, key: &str, value: impl Json) -> Self {
        self.insert(key, value);
        self
    }

    /// Adds a key if there is a value.
    #[must_use]
    pub(super) fn maybe<V: Json>(self, key: &str, value: Option<V>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Adds a list unless it is empty.
    #[must_use]
    pub(super) fn list(mut self, key: &str, values: impl IntoIterator<Item: Json>) -> Self {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return self;
        }
        self.key(key);
        list(values, &mut self.text);
        self
    }

    /// Adds what is JSON already.
    #[must_use]
    pub(super) fn raw(mut self, key: &str, json: &str) -> Self {
        self.key(key);
        self.text.push_str(json);
        self
    }

    /// Adds an object unless it is empty.
    #[must_use]
    pub(super) fn object(self, key: &str, object: Object) -> Self {
        if object.is_empty() { self } else { self.with(key, object) }
    }

    /// Adds a key unless it is there.
    pub(super) fn keep_or_insert(&mut self, key: &str, value: impl Json) {
        if !self.has(key) {
            self.insert(key, value);
        }
    }

    /// Whether it has a key. It is looked for in the text: few ask, and all would pay for a list.
    pub(super) fn has(&self, key: &str) -> bool {
        let mut wanted = String::with_capacity(key.len() + 3);
        key.write(&mut wanted);
        wanted.push(':');
        let (mut depth, mut in_text, mut is_escaped) = (0u32, false, false);
        for (at, byte) in self.text.bytes().enumerate() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = in_text,
                b'"' => {
                    let is_here = || self.text.get(at..).is_some_and(|it| it.starts_with(&wanted));
                    if !in_text && depth == 1 && is_here() {
                        return true;
                    }
                    in_text = !in_text;
                }
                _ if in_text => {}
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
        }
        false
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// How many keys it has.
    pub(super) fn len(&self) -> usize {
        self.keys
    }

    /// The object as text.
    pub(super) fn json(mut self) -> String {
        if self.is_empty() {
            self.text.push('{');
        }
        self.text.push('}');
        self.text
    }

    fn insert(&mut self, key: &str, value: impl Json) {
        self.key(key);
        value.write(&mut self.text);
    }

    fn key(&mut self, key: &str) {
        debug_assert!(!self.has(key), "{key} is written twice");
        if self.is_empty() {
            self.text.reserve(SMALL_BYTES);
            self.text.push('{');
        } else {
            self.text.push(',');
        }
        key.write(&mut self.text);
        self.text.push(':');
        self.keys += 1;
    }
}

/// What is written as JSON, at once.
pub(super) trait Json {
    /// Appends the value.
    fn write(&self, json: &mut String);
}

impl Json for str {
    fn write(&self, json: &mut String) {
        if is_plain(self.as_bytes()) {
            json.reserve(self.len() + 2);
            json.push('"');
            json.push_str(self);
            json.push('"');
        } else {
            // Texts always serialise; were it ever otherwise, a null would say so.
            json.push_str(&serde_json::to_string(self).unwrap_or_else(|_| "null".to_owned()));
        }
    }
}

/// Whether a text can stand in quotes as it is, as nearly all can; asked of eight bytes at a time.
fn is_plain(text: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // A high bit where a byte is zero, or below a bound; a borrow only adds bits above a true one.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let below_blank = |word: u64| word.wrapping_sub(ONES * 0x20) & !word;
    let odd = |word: u64| {
        let quotes = zero(word ^ (ONES * u64::from(b'"')));
        let escapes = zero(word ^ (ONES * u64::from(b'\\')));
        (quotes | escapes | below_blank(word)) & HIGH != 0
    };
    let (words, rest) = text.as_chunks::<8>();
    let is_odd = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    !words.iter().any(|word| odd(u64::from_le_bytes(*word))) && !rest.iter().any(is_odd)
}

/// In hex.
impl Json for Digest {
    fn write(&self, json: &mut String) {
        json.push('"');
        json.push_str(ascii(&self.digits()));
        // Of base64url, which needs no escape.
        json.push_str(self.appendix.as_deref().unwrap_or_default());
        json.push('"');
    }
}

impl Json for Object {
    fn write(&self, json: &mut String) {
        if self.is_empty() {
            json.push('{');
        }
        json.push_str(&self.text);
        json.push('}');
    }
}

impl Json for String {
    fn write(&self, json: &mut String) {
        self.as_str().write(json);
    }
}

impl<T: Json + ?Sized> Json for &T {
    fn write(&self, json: &mut String) {
        (*self).write(json);
    }
}

impl<T: Json> Json for Vec<T> {
    fn write(&self, json: &mut String) {
        list(self, json);
    }
}

impl<T: Json, const N: usize> Json for [T; N] {
    fn write(&self, json: &mut String) {
        list(self, json);
    }
}

impl Json for Number {
    fn write(&self, json: &mut String) {
        json.push_str(self.as_str());
    }
}

impl Json for Value {
    fn write(&self, json: &mut String) {
        match self {
            Value::Null => json.push_str("null"),
            Value::Bool(is) => is.write(json),
            Value::Number(number) => number.write(json),
            Value::String(text) => text.write(json),
            Value::Array(values) => list(values, json),
            Value::Object(members) => {
                json.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        json.push(',');
                    }
                    key.write(json);
                    json.push(':');
                    value.write(json);
                }
                json.push('}');
            }
        }
    }
}

impl Json for bool {
    fn write(&self, json: &mut String) {
        json.push_str(if *self { "true" } else { "false" });
    }
}

macro_rules! integers {
    ($($kind:ty),*) => {
        $(impl Json for $kind {
            #[allow(unused_comparisons, reason = "of both signs")]
            fn write(&self, json: &mut String) {
                if *self < 0 {
                    json.push('-');
                }
                push_digits(json, (*self as i128).unsigned_abs() as u64, 1);
            }
        })*
    };
}
integers!(u8, u16, i32, u32, i64, u64, usize);

fn list(values: impl IntoIterator<Item: Json>, json: &mut String) {
    json.push('[');
    for (index, value) in values.into_iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        value.write(json);
    }
    json.push(']');
}

/// What a query keeps as it is (RFC 3986, section 2.3); anything else is percent-encoded, a blank
/// as `%20`.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A query; what is absent leaves no parameter.
pub(super) fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, Option<String>)>) -> String {
    let written = pairs.into_iter().filter_map(|(name, text)| {
        Some(format!("{name}={}", utf8_percent_encode(&text?, UNRESERVED)))
    });
    written.collect::<Vec<_>>().join("&")
}

/// Events of one request, written and joined by commas.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// Their indices, ascending.
    pub members: Vec<usize>,
    /// Their texts.
    pub events: String,
}

/// Fills requests in order. `frame` is what a body holds besides events, in bytes. An event that is
/// too large by itself travels alone, so that the platform says so and nobody else suffers.
pub(super) fn batches(
    events: impl IntoIterator<Item = (usize, String)>,
    limits: BatchLimits,
    frame: usize,
) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for (index, event) in events {
        match batches.last_mut() {
            Some(batch)
                if batch.members.len() < limits.events
                    && frame + batch.events.len() + 1 + event.len() <= limits.bytes =>
            {
                batch.members.push(index);
                batch.events.push(',');
                batch.events.push_str(&event);
            }
            _ => batches.push(Batch { members: vec![index], events: event }),
        }
    }
    batches
}

/// Divides indices by a key, keys in the order of their first appearance, indices ascending.
pub(super) fn partition<K: Eq + Hash + Clone>(
    keys: impl IntoIterator<Item = (usize, K)>,
) -> Vec<(K, Vec<usize>)> {
    let mut parts: Vec<(K, Vec<usize>)> = Vec::new();
    let mut places: HashMap<K, usize> = HashMap::new();
    for (index, key) in keys {
        // Most are of the same key as the one before.
        if let Some((last, indices)) = parts.last_mut()
            && *last == key
        {
            indices.push(index);
            continue;
        }
        let place = *places.entry(key.clone()).or_insert(parts.len());
        match parts.get_mut(place) {
            Some((_, indices)) => indices.push(index),
            None => parts.push((key, vec![index])),
        }
    }
    parts
}

/// The one currency of a body, and whether the job's other amounts and prices are in it. Where the
/// value was converted, they are not, and must be left out rather than mislabelled.
pub(super) fn currency(job: &Prepared) -> (Option<Currency>, bool) {
    let currency = job.value.map(|value| value.currency).or(job.currency);
    (currency, job.currency.is_some() && job.currency == currency)
}

/// A money field, where it is in the body's currency.
pub(super) fn amount(job: &Prepared, field: Field) -> Option<Number> {
    let (_, fits) = currency(job);
    job.amount(field).filter(|_| fits).map(number)
}

/// How many pieces, one where nothing is said.
pub(super) fn units(items: &[Item]) -> Option<Decimal> {
    let mut quantities = items.iter().map(|item| item.quantity.unwrap_or(Decimal::ONE));
    quantities.try_fold(Decimal::ZERO, Decimal::checked_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact() {
        for (text, written) in [
            ("129.90", "129.9"),
            ("0.1", "0.1"),
            ("-0.050", "-0.05"),
            ("100", "100"),
            ("0.00", "0"),
            ("-0.00", "0"),
            ("1.00000000000000000001", "1.00000000000000000001"),
            ("0.0000000000000000000000000001", "0.0000000000000000000000000001"),
            ("18446744073709551615", "18446744073709551615"),
            ("1844674407370955161.5", "1844674407370955161.5"),
            ("-79228162514264337593543950335", "-79228162514264337593543950335"),
        ] {
            let decimal: Decimal = text.parse().unwrap();
            assert_eq!(number(decimal).as_str(), written);
            assert_eq!(number(decimal).as_str(), decimal.normalize().to_string());
        }
    }

    #[test]
    fn whatever_is_written_is_read_back() {
        let texts =
            ["", "a", "\"", "\\", "\n", "\u{1f}", "\u{7f}", "é\u{2028}", "1234567\"", "12345678\t"];
        let odd = texts.map(|text| Value::from(format!("{text}{}{text}", "x".repeat(9))));
        let value = serde_json::json!({
            "texts": texts, "odd": odd, "null": null, "yes": true, "deep": {"a\"b": [1.5, -2, {}]},
        });
        let object = Object::default()
            .with("value", &value)
            .with("i64", i64::MIN)
            .with("u64", u64::MAX)
            .with("zero", 0u8)
            .with("no", false);
        assert!(object.has("value") && object.has("no"));
        assert!(!object.has("texts") && !object.has("deep") && !object.has("valu"));
        let read: Value = serde_json::from_str(&object.json()).unwrap();
        assert_eq!(read["value"], value);
        assert_eq!((read["i64"].as_i64(), read["u64"].as_u64()), (Some(i64::MIN), Some(u64::MAX)));
        assert_eq!((&read["zero"], &read["no"]), (&0.into(), &false.into()));
        assert_eq!(Object::default().json(), "{}");
        assert_eq!(Object::large().with("a", Object::default()).json(), "{\"a\":{}}");
    }

    #[test]
    fn batches_keep_every_event_in_order_and_within_limits() {
        let events = (0..7).map(|index| (index, "x".repeat(index + 1)));
        let batches = batches(events, BatchLimits { events: 3, bytes: 12 }, 2);
        let members: Vec<_> = batches.iter().map(|batch| batch.members.clone()).collect();
        assert_eq!(members, [vec![0, 1, 2], vec![3, 4], vec![5], vec![6]]);
        assert!(batches.iter().all(|batch| batch.events.len() + 2 <= 12));
    }

    #[test]
    fn queries_are_encoded_exactly() {
        let text = |text: &str| Some(text.to_owned());
        let pairs = [("a", text("x y+z&=%~é")), ("b", None), ("c-d", text("1.5"))];
        assert_eq!(query(pairs), "a=x%20y%2Bz%26%3D%25~%C3%A9&c-d=1.5");
    }

    #[test]
    fn parts_keep_their_order() {
        let parts = partition([(0, 'a'), (1, 'b'), (2, 'a')]);
        assert_eq!(parts, [('a', vec![0, 2]), ('b', vec![1])]);
    }
}
