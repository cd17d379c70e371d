//! Writing bodies: exact numbers, objects without empty keys, batches within a platform's limits.

use std::{collections::HashMap, fmt, hash::Hash};

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
#[derive(Debug, Clone, Copy)]
pub(super) struct Exact(Decimal);

/// A decimal as a JSON number, digit for digit.
pub(super) fn number(decimal: Decimal) -> Exact {
    Exact(decimal)
}

/// The shortest text. Nearly every amount fits 64 bits, whose digits are written at once.
impl Json for Exact {
    fn write(&self, json: &mut String) {
        let Some((negative, mantissa, scale, one)) = self.parts() else {
            json.push_str(&self.0.normalize().to_string());
            return;
        };
        if negative {
            json.push('-');
        }
        push_digits(json, mantissa / one, 1);
        if scale > 0 {
            json.push('.');
            push_digits(json, mantissa % one, scale);
        }
    }
}

impl Exact {
    /// Whether it is below zero, its digits, how many of them follow the point, and ten to that.
    fn parts(self) -> Option<(bool, u64, u32, u64)> {
        let mut mantissa = u64::try_from(self.0.mantissa().unsigned_abs()).ok()?;
        let mut scale = self.0.scale();
        while scale > 0 && mantissa.is_multiple_of(10) {
            mantissa /= 10;
            scale -= 1;
        }
        let one = 10u64.checked_pow(scale)?;
        Some((self.0.is_sign_negative() && mantissa != 0, mantissa, scale, one))
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(24);
        self.write(&mut text);
        formatter.write_str(&text)
    }
}

impl From<Exact> for Number {
    fn from(exact: Exact) -> Self {
        Number::from_string_unchecked(exact.to_string())
    }
}

impl From<Exact> for Value {
    fn from(exact: Exact) -> Self {
        Value::Number(exact.into())
    }
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
pub(super) fn integer(decimal: Decimal) -> Option<Exact> {
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
    /// A bit for each key, by [`bit`].
    bits: u64,
}

/// One of 64 for a key: where it is not set, the key is not there.
fn bit(key: &str) -> u64 {
    let bytes = key.as_bytes();
    let at = |place: Option<&u8>| place.map_or(0, |byte| usize::from(*byte));
    1 << ((bytes.len() * 5 + at(bytes.first()) * 3 + at(bytes.last())) % 64)
}

/// Room for what most objects hold.
const SMALL_BYTES: usize = 192;

impl Object {
    /// With room for a whole event, or for all that is known of a person.
    pub(super) fn large() -> Self {
        Self { text: String::with_capacity(2_000), ..Self::default() }
    }

    /// Adds a key, which must be new.
    #[must_use]
    pub(super) fn with(mut self, key: &'static str, value: impl Json) -> Self {
        self.name(key);
        value.write(&mut self.text);
        self
    }

    /// Adds a key if there is a value.
    #[must_use]
    pub(super) fn maybe<V: Json>(self, key: &'static str, value: Option<V>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// The same under a key that the settings or the sender chose.
    #[must_use]
    pub(super) fn maybe_named<V: Json>(mut self, key: &str, value: Option<V>) -> Self {
        if let Some(value) = value {
            self.insert(key, value);
        }
        self
    }

    /// Adds a list unless it is empty.
    #[must_use]
    pub(super) fn list(mut self, key: &'static str, values: impl IntoIterator<Item: Json>) -> Self {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return self;
        }
        self.name(key);
        list(values, &mut self.text);
        self
    }

    /// Adds what is JSON already.
    #[must_use]
    pub(super) fn raw(mut self, key: &'static str, json: &str) -> Self {
        self.name(key);
        self.text.push_str(json);
        self
    }

    /// Adds an object unless it is empty.
    #[must_use]
    pub(super) fn object(self, key: &'static str, object: Object) -> Self {
        if object.is_empty() { self } else { self.with(key, object) }
    }

    /// Adds a key unless it is there.
    pub(super) fn keep_or_insert(&mut self, key: &str, value: impl Json) {
        if !self.has(key) {
            self.insert(key, value);
        }
    }

    /// Whether it has a key. It is looked for in the text where its bit is set: few ask, and all
    /// would pay for a list.
    pub(super) fn has(&self, key: &str) -> bool {
        if self.bits & bit(key) == 0 {
            return false;
        }
        let mut wanted = String::with_capacity(key.len() + 3);
        key.write(&mut wanted);
        wanted.push(':');
        // A quote within a text has an escape before it, so that what looks like a key is one, of
        // this object or of one within it.
        if !self.text.contains(wanted.as_str()) {
            return false;
        }
        let is_flat = !self.text.bytes().skip(1).any(|byte| byte == b'{' || byte == b'[');
        if is_flat {
            return true;
        }
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

    /// Adds a key that the settings or the sender chose, which must be new.
    pub(super) fn insert(&mut self, key: &str, value: impl Json) {
        self.next(key, "{", ",");
        key.write(&mut self.text);
        self.text.push(':');
        value.write(&mut self.text);
    }

    /// A key of ours needs no escape.
    fn name(&mut self, key: &'static str) {
        debug_assert!(is_plain(key.as_bytes()), "{key:?} needs an escape");
        self.next(key, "{\"", ",\"");
        self.text.push_str(key);
        self.text.push_str("\":");
    }

    /// Writes what comes before a key, which is the first or a further one.
    fn next(&mut self, key: &str, first: &str, further: &str) {
        debug_assert!(!self.has(key), "{key} is written twice");
        let before = if self.is_empty() {
            self.text.reserve(SMALL_BYTES);
            first
        } else {
            self.text.reserve(key.len() + 4);
            further
        };
        self.text.push_str(before);
        self.keys += 1;
        self.bits |= bit(key);
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
    let word = |bytes: &[u8; 8]| odd(u64::from_le_bytes(*bytes));
    let (words, rest) = text.as_chunks::<8>();
    // The last eight overlap those before.
    if let Some(last) = text.last_chunk::<8>() {
        return !words.iter().any(word) && !word(last);
    }
    let is_odd = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    !rest.iter().any(is_odd)
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

impl Json for Currency {
    fn write(&self, json: &mut String) {
        self.code().write(json);
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

/// What a body holds around its events.
#[derive(Debug, Clone, Copy)]
pub(super) enum Frame<'a> {
    /// This before them, and this after.
    Known(&'a str, &'a str),
    /// It depends on which events they are, and takes at most so many bytes.
    UpTo(usize),
}

/// The events of one request, joined by commas, within their frame where it is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// Their indices, ascending.
    pub members: Vec<usize>,
    /// The body, or its events.
    pub text: String,
}

/// Fills requests in order. An event that is too large by itself travels alone, so that the platform
/// says so and nobody else suffers.
pub(super) fn batches(
    events: impl IntoIterator<Item = (usize, String)>,
    limits: BatchLimits,
    frame: Frame<'_>,
) -> Vec<Batch> {
    let (before, after, around) = match frame {
        Frame::Known(before, after) => (before, after, after.len()),
        Frame::UpTo(bytes) => ("", "", bytes),
    };
    let events = events.into_iter();
    let mut left = events.size_hint().1.unwrap_or(1);
    let mut batches: Vec<Batch> = Vec::new();
    for (index, event) in events {
        match batches.last_mut() {
            Some(batch)
                if batch.members.len() < limits.events
                    && batch.text.len() + 1 + event.len() + around <= limits.bytes =>
            {
                batch.members.push(index);
                batch.text.push(',');
                batch.text.push_str(&event);
            }
            last => {
                if let Some(full) = last {
                    full.text.push_str(after);
                }
                // The next are about as long as this one.
                let expected = left.min(limits.events).saturating_mul(event.len() + 16);
                let room = expected.min(limits.bytes).max(event.len()) + before.len() + after.len();
                let mut text = String::with_capacity(room);
                text.push_str(before);
                text.push_str(&event);
                batches.push(Batch { members: vec![index], text });
            }
        }
        left = left.saturating_sub(1);
    }
    if let Some(last) = batches.last_mut() {
        last.text.push_str(after);
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
pub(super) fn amount(job: &Prepared, field: Field) -> Option<Exact> {
    let (_, fits) = currency(job);
    job.amount(field).filter(|_| fits).map(number)
}

/// How many pieces, one where nothing is said.
pub(super) fn units(items: &[Item]) -> Option<Decimal> {
    let mut quantities = items.iter().map(|item| item.quantity.unwrap_or(Decimal::ONE));
    quantities.try_fold(Decimal::ZERO, Decimal::checked_add)
}

#[cfg(test)]
mod tests;
