//! What Snapchat's answers mean: a `status` in the body, whatever the path.

use jiff::Timestamp;
use serde_json::Value;

use super::super::{
    Answer, Call, CallPurpose, Note, Outcome, Response,
    answer::{by_status, code, garbled, json, words},
};

pub(super) fn classify(call: &Call, response: &Response, now: Timestamp) -> Answer {
    let body = json(response).unwrap_or_default();
    let status = body.get("status").and_then(Value::as_str);
    match (response.status, status) {
        (200..=299, Some("VALID")) => of_success(call, &body),
        // An error names one event by a number of which no page says what it counts: the batch is
        // halved rather than a good event given up. A probe sends no event, which is refused once
        // the token is accepted.
        (200..=299 | 400, Some("INVALID")) if call.purpose != CallPurpose::Probe => {
            let (reason, message) = words_of(&body);
            Answer::refused(call, &reason, &message)
        }
        (200..=299, Some("INVALID")) | (400, _) if call.purpose == CallPurpose::Probe => {
            Answer::all(call, &Outcome::Delivered)
        }
        (200..=299, _) => garbled(call, response, now),
        _ => by_status(call, response, now),
    }
}

/// The validator lists what it thinks of each event beside the status.
fn of_success(call: &Call, body: &Value) -> Answer {
    let mut answer = Answer::all(call, &Outcome::Delivered);
    for log in list(body, "event_logs") {
        for warning in list(log, "warnings") {
            let text = warning.as_str().map_or_else(|| warning.to_string(), str::to_owned);
            let (code, message) = ("warning".to_owned(), words(&text));
            answer.notes.push(Note { code, count: 1, message, alert: false });
        }
    }
    answer
}

/// The first code and every word of `errors`, or of the validator's `event_logs`.
fn words_of(body: &Value) -> (String, String) {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let errors = body.get("errors").unwrap_or(&Value::Null);
    let logs = list(body, "event_logs").iter().flat_map(|log| list(log, "errors"));
    let mut said: Vec<String> = list(errors, "error_msgs").iter().chain(logs).map(plain).collect();
    said.extend(body.get("reason").and_then(Value::as_str).map(str::to_owned));
    let reason = list(errors, "codes").first().map(plain).map(|reason| code(&reason));
    (
        reason.filter(|reason| !reason.is_empty()).unwrap_or_else(|| "INVALID".to_owned()),
        said.join("; "),
    )
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
