//! What Amazon's answers mean: HTTP 207 also where all is well, each row among the successes or the
//! errors.

use jiff::Timestamp;
use serde_json::Value;

use super::super::{
    Answer, Call, FaultKind, Outcome, Response,
    answer::{by_status, code, garbled, json, retry_after, words},
};

/// Codes of a row that say nothing against the event. Only BAD_REQUEST is documented; these names
/// are uncertain, so that `retry_codes` adds to them.
pub(super) const PASSING: [&str; 5] = [
    "INTERNAL_ERROR",
    "INTERNAL_SERVER_ERROR",
    "SERVICE_UNAVAILABLE",
    "THROTTLED",
    "TOO_MANY_REQUESTS",
];

pub(super) fn classify(
    call: &Call,
    response: &Response,
    retry_codes: &[String],
    now: Timestamp,
) -> Answer {
    let body = json(response);
    match (response.status, body) {
        (200..=299, Some(body)) => {
            of_rows(call, &body, retry_codes).unwrap_or_else(|| garbled(call, response, now))
        }
        (200..=299, None) => garbled(call, response, now),
        // The account has not accepted the terms, or the user may not edit its events: a new token
        // changes nothing.
        (403, body) => {
            let (reason, message) = said(body.as_ref(), "http_403");
            Answer::fault(call, FaultKind::Misconfigured, &reason, &message)
        }
        (400 | 422, Some(body)) => of_refusal(call, &body, response.status),
        (429, body) => {
            let (_, message) = said(body.as_ref(), "");
            let after = retry_after(response, now);
            Answer::all(call, &Outcome::Throttled { after, message: words(&message) })
        }
        _ => by_status(call, response, now),
    }
}

/// `{"success":[{"index"}],"error":[{"index","errors":[{"code","fieldLocation","message"}]}]}`.
/// A row that is in neither was not looked at.
fn of_rows(call: &Call, body: &Value, retry_codes: &[String]) -> Option<Answer> {
    let list = |key: &str| body.get(key).and_then(Value::as_array);
    let (success, error) = (list("success"), list("error"));
    if success.is_none() && error.is_none() {
        return None;
    }
    let unseen = Outcome::Retry {
        after: None,
        within: None,
        message: "the answer has no row for it".to_owned(),
    };
    let mut answer = Answer::all(call, &unseen);
    let mut put = |row: &Value, outcome: Outcome| {
        let index = row.get("index").and_then(Value::as_u64).and_then(|i| usize::try_from(i).ok());
        if let Some(place) = index.and_then(|index| answer.outcomes.get_mut(index)) {
            *place = outcome;
        }
    };
    success.into_iter().flatten().for_each(|row| put(row, Outcome::Delivered));
    // Behind the successes: of a row in both lists the refusal is the safer reading.
    for row in error.into_iter().flatten() {
        put(row, of_errors(row.get("errors"), retry_codes));
    }
    Some(answer)
}

fn of_errors(errors: Option<&Value>, retry_codes: &[String]) -> Outcome {
    let errors: Vec<(String, String)> =
        errors.and_then(Value::as_array).into_iter().flatten().map(error).collect();
    let message: Vec<&str> = errors.iter().map(|(_, message)| message.as_str()).collect();
    let message = words(&message.join("; "));
    let refusing = errors.iter().find(|(code, _)| !retry_codes.contains(code));
    match refusing {
        Some((reason, _)) => Outcome::Rejected { reason: code(reason), message },
        None if errors.is_empty() => Outcome::Rejected { reason: "error".to_owned(), message },
        None => Outcome::Retry { after: None, within: None, message },
    }
}

/// The whole request is malformed: its locations may name the events to blame.
fn of_refusal(call: &Call, body: &Value, status: u16) -> Answer {
    let list = ["errors", "error"].iter().find_map(|key| body.get(*key)?.as_array());
    let named = list.into_iter().flatten().filter_map(|it| {
        let place = it.get("fieldLocation").and_then(Value::as_str)?;
        let index = super::super::answer::indices(place, "events", call.members.len());
        let (reason, message) = error(it);
        Some((*index.first()?, reason, message))
    });
    let (reason, message) = said(Some(body), &format!("http_{status}"));
    Answer::naming(call, named, &super::super::answer::innocent())
        .unwrap_or_else(|| Answer::refused(call, &reason, &message))
}

/// Code and words of one error; its place goes before the words.
fn error(error: &Value) -> (String, String) {
    let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
    let reason = if text("code").is_empty() { "error" } else { text("code") };
    let message = format!("{} {}", text("fieldLocation"), text("message"));
    (reason.to_owned(), message.trim().to_owned())
}

/// Code and words of a body: `{"code","message"}` (or `details`), or the first of its errors.
fn said(body: Option<&Value>, otherwise: &str) -> (String, String) {
    let first = |key: &str| body?.get(key)?.as_array()?.first();
    let body = first("errors").or_else(|| first("error")).or(body);
    let text = |key: &str| body.and_then(|it| it.get(key)).and_then(Value::as_str);
    let reason = text("code").filter(|code| !code.is_empty()).unwrap_or(otherwise);
    let message = text("message").or_else(|| text("details")).unwrap_or_default();
    (reason.to_owned(), message.to_owned())
}
