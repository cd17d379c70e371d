//! What Criteo's answers mean: HTTP 200 always, and a success only where `errors` is empty.

use jiff::Timestamp;
use serde_json::Value;

use super::super::{
    Answer, Call, FaultKind, Note, Outcome, Response,
    answer::{by_status, code, garbled, json, words},
};

pub(super) fn classify(call: &Call, response: &Response, now: Timestamp) -> Answer {
    match response.status {
        200..=299 => json(response)
            .and_then(|body| of_lists(call, &body))
            .unwrap_or_else(|| garbled(call, response, now)),
        300..=399 => redirected(call, response),
        _ => by_status(call, response, now),
    }
}

/// `{"errors":[…],"warnings":[…]}`.
fn of_lists(call: &Call, body: &Value) -> Option<Answer> {
    let errors = body.get("errors")?.as_array()?;
    let mut answer = match errors.first() {
        None => Answer::all(call, &Outcome::Delivered),
        Some(error) => {
            let (reason, message) = told(error);
            Answer::refused(call, &reason, &message)
        }
    };
    for warning in body.get("warnings").and_then(Value::as_array).into_iter().flatten() {
        let (reason, message) = told(warning);
        let (code, message) = (code(&reason), words(&message));
        answer.notes.push(Note { code, count: 1, message, alert: false });
    }
    Some(answer)
}

/// How an entry of the lists looks is not documented: a code alone, or an object with one.
fn told(entry: &Value) -> (String, String) {
    let text = |keys: &[&str]| {
        keys.iter().find_map(|key| entry.get(*key).and_then(Value::as_str)).map(str::to_owned)
    };
    match entry {
        Value::String(text) => {
            let is_code = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            (if is_code { text.clone() } else { "error".to_owned() }, text.clone())
        }
        _ => {
            let reason = text(&["code", "type", "name", "error"]);
            let message = text(&["message", "description", "detail"]);
            (
                reason.unwrap_or_else(|| "error".to_owned()),
                message.unwrap_or_else(|| entry.to_string()),
            )
        }
    }
}

/// The general host sends everybody to a region's. It is not followed: identity goes to no host
/// that is not in the configuration.
fn redirected(call: &Call, response: &Response) -> Answer {
    let url = response.header("location").and_then(|location| url::Url::parse(location).ok());
    let host = url.as_ref().and_then(url::Url::host_str).unwrap_or("another host");
    let message = format!(
        "a redirect to {host}, which is not followed; write the region's host as the destination's \
         endpoint, such as \"https://widget.eu.criteo.com\""
    );
    Answer::fault(call, FaultKind::Misconfigured, &format!("http_{}", response.status), &message)
}
