//! Bodies of requests → single events: one object, a list, `{"events": [...]}`, or a line each.
//! Counts and measures; does not look into an event.

use serde_json::value::RawValue;

use super::{
    Rejection, RejectionCode,
    json::{self, Malformed, Node},
};
use crate::config::Limits;

/// How a body is framed, by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One JSON document.
    Json,
    /// A JSON document a line.
    Lines,
}

impl Form {
    /// Reads a `Content-Type`; `None` for a type in which no events come. Without one it is JSON;
    /// `text/plain` is what browsers' beacons send.
    pub fn of(content_type: Option<&str>) -> Option<Self> {
        let Some(text) = content_type else { return Some(Form::Json) };
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "" | "application/json" | "text/json" | "text/plain" => Some(Form::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
                Some(Form::Lines)
            }
            other if other.starts_with("application/") && other.ends_with("+json") => {
                Some(Form::Json)
            }
            _ => None,
        }
    }
}

/// The text of one event of a body.
#[derive(Debug)]
pub struct Piece<'a> {
    text: &'a str,
    /// Line of the body, where lines frame it.
    line: Option<usize>,
    /// Already parsed, where that was needed to tell an event from a list of them.
    node: Option<Node<'a>>,
    /// It is no text.
    flaw: Option<Malformed>,
}

/// Why a whole body is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unframed {
    /// Not JSON.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// JSON, but no events.
    #[error("{0}")]
    NotEvents(String),
    /// More events than a request may have.
    #[error("{events} events in one request, and at most {at_most} may be; send several requests")]
    TooMany {
        /// How many came.
        events: usize,
        /// How many may.
        at_most: usize,
    },
}

/// Takes a body apart. Lines are parsed later, one by one, so that a bad line costs that line;
/// every other body is held against the grammar as a whole first.
pub fn split<'a>(body: &'a [u8], form: Form, limits: &Limits) -> Result<Vec<Piece<'a>>, Unframed> {
    // Some editors put a byte order mark before what they save.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let pieces = match (form, json::utf8(body)) {
        (Form::Lines, Ok(text)) => lines(text),
        // Which lines are no text: the others are not refused for them.
        (Form::Lines, Err(_)) => lines_of_bytes(body),
        (Form::Json, text) => document(text?, limits)?,
    };
    bounded(pieces, limits)
}

/// As many pieces as a request may have.
pub(super) fn bounded<'a>(
    pieces: Vec<Piece<'a>>,
    limits: &Limits,
) -> Result<Vec<Piece<'a>>, Unframed> {
    if pieces.len() > limits.events_per_request {
        return Err(Unframed::TooMany { events: pieces.len(), at_most: limits.events_per_request });
    }
    Ok(pieces)
}

/// A body that is one JSON document.
pub fn one<'a>(body: &'a [u8], limits: &Limits) -> Result<Node<'a>, Unframed> {
    let text = json::utf8(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body))?;
    Ok(json::parse(text, limits.nesting)?)
}

impl<'a> Piece<'a> {
    /// Parses the event, or says why it is no event. The path is empty: the event itself.
    pub fn parse(self, limits: &Limits) -> Result<Node<'a>, Rejection> {
        let size = self.text.len();
        if size > limits.event_bytes {
            let message = format!(
                "the event has {size} bytes, and at most {} may be (limits.event_bytes)",
                limits.event_bytes
            );
            return Err(Rejection::new(RejectionCode::TooLarge, message, ""));
        }
        if let Some(node) = self.node {
            return Ok(node);
        }
        if let Some(flaw) = self.flaw {
            return Err(Rejection::new(RejectionCode::InvalidField, flaw.to_string(), ""));
        }
        json::parse(self.text, limits.nesting).map_err(|mut error| {
            error.line += self.line.map_or(0, |line| line - 1);
            Rejection::new(RejectionCode::InvalidField, error.to_string(), "")
        })
    }
}

fn lines(text: &str) -> Vec<Piece<'_>> {
    let numbered = text.split('\n').enumerate();
    let filled = numbered.filter(|(_, line)| !line.trim_ascii().is_empty());
    filled.map(|(i, text)| Piece { text, line: Some(i + 1), node: None, flaw: None }).collect()
}

fn lines_of_bytes(body: &[u8]) -> Vec<Piece<'_>> {
    let numbered = body.split(|byte| *byte == b'\n').enumerate();
    let filled = numbered.filter(|(_, line)| !line.trim_ascii().is_empty());
    let piece = |(i, bytes)| {
        let (text, flaw) = match json::utf8(bytes) {
            Ok(text) => (text, None),
            Err(flaw) => ("", Some(Malformed { line: flaw.line + i, ..flaw })),
        };
        Piece { text, line: Some(i + 1), node: None, flaw }
    };
    filled.map(piece).collect()
}

fn document<'a>(text: &'a str, limits: &Limits) -> Result<Vec<Piece<'a>>, Unframed> {
    if text.trim_ascii_start().starts_with('[') {
        return Ok(many(json::members(text)?));
    }
    let node = json::parse(text, limits.nesting)?;
    if node.get("events").is_some() {
        let Ok(batch) = serde_json::from_str::<Batch<'a>>(text) else {
            let message = "expected {\"events\": [...]}: a list, and nothing beside it";
            return Err(Unframed::NotEvents(message.to_owned()));
        };
        return Ok(many(batch.events.into_iter().map(RawValue::get).collect()));
    }
    Ok(vec![Piece { text: text.trim_ascii(), line: None, node: Some(node), flaw: None }])
}

/// Events that were told apart already.
pub(super) fn many(texts: Vec<&str>) -> Vec<Piece<'_>> {
    texts.into_iter().map(|text| Piece { text, line: None, node: None, flaw: None }).collect()
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { event_bytes: 40, request_bytes: 1000, events_per_request: 3, nesting: 4 };

    fn count(body: &str, form: Form) -> Result<usize, Unframed> {
        split(body.as_bytes(), form, &LIMITS).map(|pieces| pieces.len())
    }

    #[test]
    fn every_framing_gives_its_events() {
        assert_eq!(count(r#"{"event": "a"}"#, Form::Json), Ok(1));
        assert_eq!(count(r#" [{"event": "a"}, {"event": "b"}] "#, Form::Json), Ok(2));
        assert_eq!(count(r#"{"events": [{"event": "a"}]}"#, Form::Json), Ok(1));
        assert_eq!(count("{\"event\": \"a\"}\r\n\n{\"event\": \"b\"}\n", Form::Lines), Ok(2));
        assert_eq!(count("\u{feff}[]", Form::Json), Ok(0));
        assert_eq!(count("", Form::Lines), Ok(0));
    }

    #[test]
    fn what_is_no_event_is_said() {
        for body in [r#"{"events": {}}"#, r#"{"events": null}"#, r#"{"events": [], "x": 1}"#] {
            assert!(matches!(count(body, Form::Json), Err(Unframed::NotEvents(_))), "{body}");
        }
        let broken = count("[{\"event\": \"a\"},\n{\"event\" 1}]", Form::Json).unwrap_err();
        assert_eq!(
            broken.to_string(),
            "malformed JSON: expected `:` at line 2 column 10",
            "positions are those of the request"
        );
        assert!(matches!(
            split(b"[\"\xff\"]", Form::Json, &LIMITS),
            Err(Unframed::Malformed(Malformed { line: 1, column: 3, .. }))
        ));
    }

    #[test]
    fn a_bad_line_costs_that_line() {
        let body = b"{\"event\": \"a\"}\n{\"event\" 1}\n{\"event\": \"b\"}";
        let pieces = split(body, Form::Lines, &LIMITS).unwrap();
        let parsed: Vec<_> = pieces.into_iter().map(|piece| piece.parse(&LIMITS)).collect();
        assert!(parsed[0].is_ok() && parsed[2].is_ok());
        let rejection = parsed[1].as_ref().unwrap_err();
        assert_eq!(rejection.code, RejectionCode::InvalidField);
        assert!(rejection.message.contains("line 2 column 10"), "{}", rejection.message);
    }

    #[test]
    fn sizes_are_limited() {
        let many = count("[1, 2, 3, 4]", Form::Json);
        assert_eq!(many, Err(Unframed::TooMany { events: 4, at_most: 3 }));
        let large = format!(r#"[{{"event": "{}"}}, {{"event": "b"}}]"#, "a".repeat(40));
        let pieces = split(large.as_bytes(), Form::Json, &LIMITS).unwrap();
        let parsed: Vec<_> = pieces.into_iter().map(|piece| piece.parse(&LIMITS)).collect();
        assert_eq!(parsed[0].as_ref().unwrap_err().code, RejectionCode::TooLarge);
        assert!(parsed[1].is_ok());
    }

    #[test]
    fn content_types() {
        assert_eq!(Form::of(None), Some(Form::Json));
        assert_eq!(Form::of(Some("application/json; charset=utf-8")), Some(Form::Json));
        assert_eq!(Form::of(Some("application/cloudevents+json")), Some(Form::Json));
        assert_eq!(Form::of(Some("application/x-ndjson")), Some(Form::Lines));
        assert_eq!(Form::of(Some("application/x-www-form-urlencoded")), None);
        assert_eq!(Form::of(Some("application/xml")), None);
    }
}
