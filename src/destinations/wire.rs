//! Writing bodies: exact numbers, objects without empty keys, batches within a platform's limits.

use std::{collections::HashMap, hash::Hash, ops::Range};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Number, Value};

use super::BatchLimits;
use crate::{
    event::{Currency, Field, Item},
    identity::Digest,
    job::Prepared,
};

/// A decimal as a JSON number, digit for digit.
pub(super) fn number(decimal: Decimal) -> Number {
    Number::from_string_unchecked(decimal.normalize().to_string())
}

/// A decimal as a JSON integer, where it is one.
pub(super) fn integer(decimal: Decimal) -> Option<Number> {
    decimal.is_integer().then(|| number(decimal))
}

/// A JSON object being written: text from the start, since a tree of values would be built only to
/// be written once. What is absent leaves no key.
#[derive(Debug)]
pub(super) struct Object {
    /// Members joined by commas, without the braces.
    members: Vec<u8>,
    /// Where in `members` each key stands, written as JSON.
    keys: Vec<Range<usize>>,
}

/// With room for what most objects hold.
impl Default for Object {
    fn default() -> Self {
        Self { members: Vec::with_capacity(256), keys: Vec::with_capacity(8) }
    }
}

impl Object {
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
        list(values, &mut self.members);
        self
    }

    /// Adds what is JSON already.
    #[must_use]
    pub(super) fn raw(mut self, key: &str, json: &str) -> Self {
        self.key(key);
        self.members.extend_from_slice(json.as_bytes());
        self
    }

    /// Adds an object unless it is empty.
    #[must_use]
    pub(super) fn object(mut self, key: &str, object: Object) -> Self {
        if !object.is_empty() {
            self.key(key);
            self.members.push(b'{');
            self.members.extend(object.members);
            self.members.push(b'}');
        }
        self
    }

    /// Adds a key unless it is there.
    pub(super) fn keep_or_insert(&mut self, key: &str, value: impl Json) {
        if !self.has(key) {
            self.insert(key, value);
        }
    }

    /// Whether it has a key.
    pub(super) fn has(&self, key: &str) -> bool {
        let mut wanted = Vec::with_capacity(key.len() + 2);
        key.write(&mut wanted);
        self.keys.iter().any(|place| self.members.get(place.clone()) == Some(wanted.as_slice()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys it has.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The object as text.
    pub(super) fn json(&self) -> String {
        let mut json = Vec::with_capacity(self.members.len() + 2);
        self.write(&mut json);
        // JSON of strings is UTF-8.
        String::from_utf8(json).unwrap_or_default()
    }

    fn insert(&mut self, key: &str, value: impl Json) {
        self.key(key);
        value.write(&mut self.members);
    }

    fn key(&mut self, key: &str) {
        debug_assert!(!self.has(key), "{key} is written twice");
        if !self.is_empty() {
            self.members.push(b',');
        }
        let start = self.members.len();
        key.write(&mut self.members);
        self.keys.push(start..self.members.len());
        self.members.push(b':');
    }
}

/// What is written as JSON: texts and digests at once, the rest by serde.
pub(super) trait Json {
    /// Appends the value.
    fn write(&self, json: &mut Vec<u8>);
}

impl Json for str {
    fn write(&self, json: &mut Vec<u8>) {
        // Nearly every text can stand as it is; asked of all bytes at once, which is a few at a time.
        let is_plain = |byte: &u8| (*byte >= 0x20) & (*byte != b'"') & (*byte != b'\\');
        if self.as_bytes().iter().fold(true, |plain, byte| plain & is_plain(byte)) {
            json.reserve(self.len() + 2);
            json.push(b'"');
            json.extend_from_slice(self.as_bytes());
            json.push(b'"');
        } else {
            serde(self, json);
        }
    }
}

/// In hex.
impl Json for Digest {
    fn write(&self, json: &mut Vec<u8>) {
        json.push(b'"');
        json.extend_from_slice(&self.digits());
        // Of base64url, which needs no escape.
        json.extend_from_slice(self.appendix.as_deref().unwrap_or_default().as_bytes());
        json.push(b'"');
    }
}

impl Json for Object {
    fn write(&self, json: &mut Vec<u8>) {
        json.push(b'{');
        json.extend_from_slice(&self.members);
        json.push(b'}');
    }
}

impl Json for String {
    fn write(&self, json: &mut Vec<u8>) {
        self.as_str().write(json);
    }
}

impl<T: Json + ?Sized> Json for &T {
    fn write(&self, json: &mut Vec<u8>) {
        (*self).write(json);
    }
}

impl<T: Json> Json for Vec<T> {
    fn write(&self, json: &mut Vec<u8>) {
        list(self, json);
    }
}

impl<T: Json, const N: usize> Json for [T; N] {
    fn write(&self, json: &mut Vec<u8>) {
        list(self, json);
    }
}

macro_rules! by_serde {
    ($($kind:ty),*) => {
        $(impl Json for $kind {
            fn write(&self, json: &mut Vec<u8>) {
                serde(self, json);
            }
        })*
    };
}
by_serde!(bool, u8, u16, i32, u32, i64, u64, usize, Number, Value);

fn list(values: impl IntoIterator<Item: Json>, json: &mut Vec<u8>) {
    json.push(b'[');
    for (index, value) in values.into_iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        value.write(json);
    }
    json.push(b']');
}

/// Texts, numbers and values always serialise; were it ever otherwise, a null says so to the
/// platform and to the fixtures.
fn serde(value: &(impl Serialize + ?Sized), json: &mut Vec<u8>) {
    let start = json.len();
    if serde_json::to_writer(&mut *json, value).is_err() {
        json.truncate(start);
        json.extend_from_slice(b"null");
    }
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
        for (text, written) in [("129.90", "129.9"), ("0.1", "0.1"), ("100", "100"), ("0.00", "0")]
        {
            let decimal: Decimal = text.parse().unwrap();
            assert_eq!(serde_json::to_string(&number(decimal)).unwrap(), written);
        }
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
