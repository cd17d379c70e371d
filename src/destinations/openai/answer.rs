//! What OpenAI's answers mean. All or nothing, and the answers' form is not documented: what is
//! read here is what integrations of 2026 have seen.

use jiff::Timestamp;
use serde_json::Value;

use super::super::{
    Answer, Call, CallPurpose, Outcome, Response,
    answer::{by_status, garbled, indices, innocent, json},
};

pub(super) fn classify(call: &Call, response: &Response, now: Timestamp) -> Answer {
    let body = json(response);
    let error = body.as_ref().and_then(error);
    match (response.status, body, error) {
        // A probe sends no event, which may be refused once the key is accepted.
        (400 | 422, _, _) if call.purpose == CallPurpose::Probe => {
            Answer::all(call, &Outcome::Delivered)
        }
        (200..=299 | 400 | 422, _, Some((reason, message))) => refused(call, &reason, &message),
        (200..=299, Some(body), None) => of_success(call, &body, response, now),
        // Nothing to read is no contradiction.
        (200..=299, None, None) if response.body.is_empty() => {
            Answer::all(call, &Outcome::Delivered)
        }
        (200..=299, None, None) => garbled(call, response, now),
        _ => by_status(call, response, now),
    }
}

/// `{"accepted_events":3}`, as far as is known.
fn of_success(call: &Call, body: &Value, response: &Response, now: Timestamp) -> Answer {
    let members = u64::try_from(call.members.len()).unwrap_or(u64::MAX);
    match body.get("accepted_events").and_then(Value::as_u64) {
        // Halving finds them; what was taken is recognised by its id.
        Some(accepted) if accepted < members => {
            let message = format!("OpenAI accepted {accepted} of {members} events");
            Answer::refused(call, "accepted_events", &message)
        }
        _ if body.is_object() => Answer::all(call, &Outcome::Delivered),
        _ => garbled(call, response, now),
    }
}

/// One bad event refuses all. Where the words have its place, as `events[3]`, the others are sent
/// again; else halving finds it.
fn refused(call: &Call, reason: &str, message: &str) -> Answer {
    let named = indices(message, "events", call.members.len());
    let named = named.into_iter().map(|index| (index, reason.to_owned(), message.to_owned()));
    Answer::naming(call, named, &innocent())
        .unwrap_or_else(|| Answer::refused(call, reason, message))
}

/// `{"error":{"code","type","message","param"}}`, or a text in place of the object.
fn error(body: &Value) -> Option<(String, String)> {
    let error = body.get("error").filter(|error| !error.is_null())?;
    if let Some(text) = error.as_str() {
        return Some(("error".to_owned(), text.to_owned()));
    }
    let text = |key: &str| error.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let reason = text("code").or_else(|| text("type")).unwrap_or("error");
    let message = text("message").unwrap_or_default();
    let message = match text("param") {
        Some(param) => format!("{param}: {message}"),
        None => message.to_owned(),
    };
    Some((reason.to_owned(), message))
}
