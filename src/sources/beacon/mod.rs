//! What the browser's tag posts: events in the relay's own format, in an envelope that holds what a
//! beacon, which has no headers of its own, cannot say elsewhere. And who is no visitor.
//!
//! Reads; what an event is, `native` says.

mod bots;

use serde_json::value::RawValue;

pub use bots::{Strictness, is_bot, is_impossible};

use super::{
    Form, Piece, Unframed,
    framing::{bounded, many, split},
    json,
};
use crate::config::Limits;

/// A body of the browser's door.
#[derive(Debug)]
pub struct Beacon<'a> {
    /// The write key, where the body has it.
    pub key: Option<String>,
    /// The events.
    pub pieces: Vec<Piece<'a>>,
    /// What the visitor chose, where they took their consent back.
    pub consent: Option<&'a str>,
}

/// Takes a body apart: `{"key", "events", "consent"}`, or whatever `POST /v1/events` takes.
pub fn open<'a>(body: &'a [u8], form: Form, limits: &Limits) -> Result<Beacon<'a>, Unframed> {
    if let Some(envelope) = envelope(body, form, limits)? {
        let events = envelope.events.into_iter().map(RawValue::get).collect();
        return Ok(Beacon {
            key: envelope.key.filter(|key| !key.is_empty()),
            pieces: bounded(many(events), limits)?,
            consent: envelope.consent.map(RawValue::get),
        });
    }
    Ok(Beacon { key: None, pieces: split(body, form, limits)?, consent: None })
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    key: Option<String>,
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    #[serde(borrow)]
    consent: Option<&'a RawValue>,
}

fn envelope<'a>(
    body: &'a [u8],
    form: Form,
    limits: &Limits,
) -> Result<Option<Envelope<'a>>, Unframed> {
    let text = json::utf8(body)?;
    if form != Form::Json || !text.trim_ascii_start().starts_with('{') {
        return Ok(None);
    }
    let node = json::parse(text, limits.nesting)?;
    if node.get("events").is_none() {
        return Ok(None);
    }
    serde_json::from_str(text).map(Some).map_err(|_| {
        let message = "expected {\"key\": \"...\", \"events\": [...], \"consent\": {...}} and \
                       nothing beside it";
        Unframed::NotEvents(message.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { event_bytes: 100, request_bytes: 1000, events_per_request: 2, nesting: 4 };

    fn opened(body: &str) -> Result<(Option<String>, usize, bool), Unframed> {
        open(body.as_bytes(), Form::Json, &LIMITS)
            .map(|beacon| (beacon.key, beacon.pieces.len(), beacon.consent.is_some()))
    }

    #[test]
    fn envelopes_and_what_events_may_be_in_otherwise() {
        let key = Some("k".to_owned());
        assert_eq!(
            opened(r#"{"key": "k", "events": [{"event": "a"}]}"#),
            Ok((key.clone(), 1, false))
        );
        assert_eq!(opened(r#"{"key": "k", "events": [], "consent": {}}"#), Ok((key, 0, true)));
        assert_eq!(opened(r#"{"key": "", "events": []}"#), Ok((None, 0, false)));
        assert_eq!(opened(r#"{"event": "a"}"#), Ok((None, 1, false)));
        assert_eq!(opened(r#"[{"event": "a"}, {"event": "b"}]"#), Ok((None, 2, false)));
        let lines = open(b"{\"event\": \"a\"}\n{}", Form::Lines, &LIMITS).unwrap();
        assert_eq!(lines.pieces.len(), 2);
    }

    #[test]
    fn what_is_none_is_said() {
        for body in [
            r#"{"events": {}}"#,
            r#"{"events": [], "key": 1}"#,
            r#"{"events": [], "keys": "k"}"#,
            r#"{"events": null}"#,
        ] {
            assert!(matches!(opened(body), Err(Unframed::NotEvents(_))), "{body}");
        }
        assert!(matches!(
            opened(r#"{"events": [1, 2, 3]}"#),
            Err(Unframed::TooMany { events: 3, .. })
        ));
        // What is nested too deep costs its event only.
        for body in ["{\"events\": [", "", "\u{0}"] {
            let answer = opened(body);
            assert!(matches!(answer, Err(Unframed::Malformed(_))), "{body}: {answer:?}");
        }
    }
}
