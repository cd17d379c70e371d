//! JSON as it came: numbers exact, duplicate keys and deep nesting marked where they stand.
//!
//! Reading is total for well-formed JSON: a flaw costs the value in which it is found, not the
//! document, so that one bad event never costs its neighbours. Nothing here knows what an event is.

use std::{borrow::Cow, fmt};

use serde::de::{
    Deserialize as _, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

/// One JSON value; texts are borrowed from the document where they hold no escapes.
#[derive(Debug, Clone, PartialEq)]
pub enum Node<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, digit by digit (serde_json writes exponents as `1e+3`).
    Number(Box<str>),
    /// A string.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Node<'a>>),
    /// An object without duplicate keys, in the order of the document.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
    /// Well-formed JSON that nobody should rely on.
    Flawed(Flaw),
}

/// Why well-formed JSON is refused all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The second of two equal keys would win in one parser, the first in another.
    #[error("the key {0:?} appears twice in one object; send it once")]
    DuplicateKey(String),
    /// Nested deeper than the setting allows.
    #[error("nested too deeply; send flatter JSON or raise limits.nesting")]
    TooDeep,
}

/// What is not JSON, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed JSON: {problem} at line {line} column {column}")]
pub struct Malformed {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in bytes; 0 where nothing was sent.
    pub column: usize,
    /// What is wrong, without the text itself.
    pub problem: String,
}

impl<'a> Node<'a> {
    /// A member of an object; `None` for absent members and for what is no object.
    pub fn get(&self, key: &str) -> Option<&Node<'a>> {
        match self {
            Node::Object(members) => members.iter().find(|(k, _)| k == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Writes it as JSON. What is flawed is null.
    pub fn write(&self, out: &mut Vec<u8>) {
        let text = |out: &mut Vec<u8>, text: &str| {
            // Writing a text into memory does not fail.
            serde_json::to_writer(out, text).ok();
        };
        match self {
            Node::Null | Node::Flawed(_) => out.extend_from_slice(b"null"),
            Node::Bool(true) => out.extend_from_slice(b"true"),
            Node::Bool(false) => out.extend_from_slice(b"false"),
            Node::Number(number) => out.extend_from_slice(number.as_bytes()),
            Node::Text(one) => text(out, one),
            Node::List(members) => {
                out.push(b'[');
                for (place, member) in members.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    member.write(out);
                }
                out.push(b']');
            }
            Node::Object(members) => {
                out.push(b'{');
                for (place, (key, member)) in members.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    text(out, key);
                    out.push(b':');
                    member.write(out);
                }
                out.push(b'}');
            }
        }
    }

    /// The text of a string.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What kind of value it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Bool(_) => "true or false",
            Node::Number(_) => "a number",
            Node::Text(_) => "a string",
            Node::List(_) => "a list",
            Node::Object(_) => "an object",
            Node::Flawed(_) => "flawed",
        }
    }
}

/// Reads one document, in which containers may nest `nesting` deep.
pub fn parse(text: &str, nesting: usize) -> Result<Node<'_>, Malformed> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Levels(nesting)
        .deserialize(&mut deserializer)
        .and_then(|node| deserializer.end().map(|()| node))
        .map_err(|error| malformed(&error))
}

/// Splits a list into its members' texts, after holding the whole of it against the grammar.
pub(super) fn members(text: &str) -> Result<Vec<&str>, Malformed> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let raw = Vec::<&RawValue>::deserialize(&mut deserializer)
        .and_then(|raw| deserializer.end().map(|()| raw))
        .map_err(|error| malformed(&error))?;
    Ok(raw.into_iter().map(RawValue::get).collect())
}

/// The text of bytes, or where they stop being UTF-8.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = good.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        Malformed { line, column, problem: "not UTF-8".to_owned() }
    })
}

fn malformed(error: &serde_json::Error) -> Malformed {
    let (line, column) = (error.line(), error.column());
    let mut problem = error.to_string();
    if let Some(end) = problem.rfind(" at line ") {
        problem.truncate(end);
    }
    Malformed { line, column, problem }
}

/// How many more levels of containers are allowed.
#[derive(Clone, Copy)]
struct Levels(usize);

/// With exact numbers serde_json shows a number as an object with this one key.
const NUMBER: &str = "$serde_json::private::Number";

impl<'de> DeserializeSeed<'de> for Levels {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Levels {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Number(value.to_string().into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Number(value.to_string().into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node<'de>, E> {
        Ok(Node::Number(value.to_string().into()))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node<'de>, A::Error> {
        let Some(levels) = self.0.checked_sub(1) else {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Node::Flawed(Flaw::TooDeep));
        };
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element_seed(Levels(levels))? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let mut next = map.next_key_seed(Key)?;
        if next.as_deref() == Some(NUMBER) {
            // The text of a number never nests, whatever the levels left.
            return Ok(match map.next_value_seed(Levels(1))? {
                Node::Text(number) => Node::Number(number.into_owned().into()),
                node => node,
            });
        }
        let Some(levels) = self.0.checked_sub(1) else {
            while next.is_some() {
                map.next_value::<IgnoredAny>()?;
                next = map.next_key_seed(Key)?;
            }
            return Ok(Node::Flawed(Flaw::TooDeep));
        };
        let mut members = Vec::with_capacity(8);
        while let Some(key) = next {
            members.push((key, map.next_value_seed(Levels(levels))?));
            next = map.next_key_seed(Key)?;
        }
        Ok(match duplicate(&members) {
            Some(key) => Node::Flawed(Flaw::DuplicateKey(key.chars().take(64).collect())),
            None => Node::Object(members),
        })
    }
}

/// A key that appears twice. Small objects are compared pair by pair, large ones by sorting, so
/// that no document costs more than n log n.
fn duplicate<'k>(members: &'k [(Cow<'_, str>, Node<'_>)]) -> Option<&'k str> {
    if members.len() <= 24 {
        return members.iter().enumerate().find_map(|(i, (key, _))| {
            members.iter().skip(i + 1).any(|(other, _)| other == key).then_some(key.as_ref())
        });
    }
    let mut keys: Vec<&str> = members.iter().map(|(key, _)| key.as_ref()).collect();
    keys.sort_unstable();
    keys.array_windows().find_map(|[a, b]| (a == b).then_some(*a))
}

/// Reads a key, borrowed where it can be.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Node<'static> {
        Node::Number(text.into())
    }

    #[test]
    fn numbers_keep_their_digits() {
        for text in ["0", "-1", "129.90", "1e+400", "0.30000000000000004", "123456789012345678901"]
        {
            assert_eq!(parse(text, 4).unwrap(), number(text), "{text}");
        }
        let node = parse(r#"{"a": 1.50, "b": [2]}"#, 4).unwrap();
        assert_eq!(node.get("a"), Some(&number("1.50")));
        assert_eq!(node.get("b"), Some(&Node::List(vec![number("2")])));
    }

    #[test]
    fn texts_are_borrowed_unless_escaped() {
        let node = parse(r#"["plain", "a\nb", "\u00e9"]"#, 1).unwrap();
        let Node::List(texts) = node else { panic!() };
        assert!(matches!(&texts[0], Node::Text(Cow::Borrowed("plain"))));
        assert_eq!(texts[1].as_text(), Some("a\nb"));
        assert_eq!(texts[2].as_text(), Some("é"));
    }

    #[test]
    fn malformed_json_says_where() {
        for (text, line, column) in [
            ("", 1, 0),
            ("{", 1, 1),
            ("{\"a\":\n  nope}", 2, 4),
            ("{\"a\": NaN}", 1, 7),
            ("{\"a\": Infinity}", 1, 7),
            ("{\"a\": -Infinity}", 1, 8),
            ("{\"a\": 01}", 1, 8),
            ("{\"a\": 1,}", 1, 9),
            ("{} {}", 1, 4),
            ("\"\\ud800\"", 1, 8),
            ("{'a': 1}", 1, 2),
        ] {
            let error = parse(text, 4).unwrap_err();
            assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
            assert!(!error.problem.contains("line"), "{error}");
        }
    }

    #[test]
    fn duplicate_keys_cost_only_their_object() {
        let node = parse(r#"{"a": {"k": 1, "k": 2}, "b": 3}"#, 4).unwrap();
        assert_eq!(node.get("a"), Some(&Node::Flawed(Flaw::DuplicateKey("k".to_owned()))));
        assert_eq!(node.get("b"), Some(&number("3")));
        let escaped = parse(r#"{"k": 1, "\u006b": 2}"#, 4).unwrap();
        assert_eq!(escaped, Node::Flawed(Flaw::DuplicateKey("k".to_owned())));
        let many: Vec<String> = (0..40).map(|i| format!("\"k{}\": 0", i % 39)).collect();
        let many = format!("{{{}}}", many.join(","));
        assert_eq!(parse(&many, 4).unwrap(), Node::Flawed(Flaw::DuplicateKey("k0".to_owned())));
    }

    #[test]
    fn nesting_is_limited_and_costs_only_what_is_too_deep() {
        let node = parse(r#"{"a": {"b": {"c": 1}}, "d": {"e": 2}}"#, 2).unwrap();
        assert_eq!(node.get("a").unwrap().get("b"), Some(&Node::Flawed(Flaw::TooDeep)));
        assert_eq!(node.get("d").unwrap().get("e"), Some(&number("2")));
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse(&deep, 32).is_ok(), "no recursion beyond the limit");
        let unclosed = "[".repeat(100_000);
        assert!(parse(&unclosed, 32).is_err());
    }

    #[test]
    fn bytes_that_are_not_utf8_say_where() {
        let error = utf8(b"{\n \"a\": \"\xff\"}").unwrap_err();
        assert_eq!((error.line, error.column), (2, 8));
    }

    #[test]
    fn an_object_that_plays_a_number_is_one() {
        let node = parse(r#"{"$serde_json::private::Number": "x"}"#, 4).unwrap();
        assert_eq!(node, number("x"), "and is refused where a number is read");
    }
}
