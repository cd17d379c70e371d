//! What Pinterest's answers mean: one result an event, under 200 or, where some failed, 422.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::super::{
    Answer, Call, CallPurpose, FaultKind, Note, Outcome, Response,
    answer::{by_status, garbled, json, refused_by_status, retry_after, words},
};

/// "Ramped down" (503 with code 4197) is no hiccup.
const RAMPED_DOWN: Duration = Duration::from_secs(10 * 60);

pub(super) fn classify(call: &Call, response: &Response, now: Timestamp) -> Answer {
    let body = json(response);
    match (response.status, body) {
        (200..=299, Some(body)) => {
            of_results(call, &body).unwrap_or_else(|| of_counts(call, &body, response, now))
        }
        (200..=299, None) => garbled(call, response, now),
        // Also with results alone, whatever else is or is not beside them.
        (status, Some(body)) if body.is_object() => of_error(call, status, &body, response, now),
        _ => otherwise(call, response, now),
    }
}

/// `{"num_events_received","num_events_processed","events":[{"status","error_message",
/// "warning_message"}]}`, in the order sent.
fn of_results(call: &Call, body: &Value) -> Option<Answer> {
    let results = body.get("events")?.as_array()?;
    if results.len() != call.members.len() {
        return None;
    }
    let mut answer = Answer::all(call, &Outcome::Delivered);
    for (result, outcome) in results.iter().zip(&mut answer.outcomes) {
        let text = |key: &str| words(result.get(key).and_then(Value::as_str).unwrap_or_default());
        if result.get("status").and_then(Value::as_str) != Some("processed") {
            let (reason, message) = ("failed".to_owned(), text("error_message"));
            *outcome = Outcome::Rejected { reason, message };
        }
        let message = text("warning_message");
        if !message.is_empty() {
            let code = "warning_message".to_owned();
            answer.notes.push(Note { code, count: 1, message, alert: false });
        }
    }
    Some(answer)
}

/// Without results: all, or it is not known which.
fn of_counts(call: &Call, body: &Value, response: &Response, now: Timestamp) -> Answer {
    let members = u64::try_from(call.members.len()).unwrap_or(u64::MAX);
    match body.get("num_events_processed").and_then(Value::as_u64) {
        Some(processed) if processed >= members => Answer::all(call, &Outcome::Delivered),
        Some(processed) => {
            let message = format!("Pinterest processed {processed} of {members} events");
            Answer::refused(call, "num_events_processed", &message)
        }
        None => garbled(call, response, now),
    }
}

/// `{"code","message","details"}` (SPEC, DetailedError).
fn of_error(call: &Call, status: u16, body: &Value, response: &Response, now: Timestamp) -> Answer {
    let code = body.get("code").and_then(Value::as_i64);
    let reason = code.map_or_else(|| format!("http_{status}"), |code| code.to_string());
    let text = body.get("message").and_then(Value::as_str).unwrap_or_default();
    let after = retry_after(response, now);
    match status {
        // The good ones were taken. Where nothing says which, halving finds the others; what was
        // taken is recognised by its event id.
        422 => body
            .get("details")
            .and_then(|details| of_results(call, details))
            .or_else(|| of_results(call, body))
            .unwrap_or_else(|| Answer::refused(call, &reason, text)),
        401 | 403 => Answer::fault(call, FaultKind::Unauthorized, &reason, text),
        429 => Answer::all(call, &Outcome::Throttled { after, message: words(text) }),
        503 if code == Some(4197) => {
            let after = Some(after.unwrap_or_default().max(RAMPED_DOWN));
            Answer::all(call, &Outcome::Unavailable { after, message: words(text) })
        }
        // A probe sends no event, which Pinterest refuses once it has accepted the token.
        400 if call.purpose == CallPurpose::Probe => Answer::all(call, &Outcome::Delivered),
        // One malformed event refuses the whole request.
        400 => Answer::refused(call, &reason, text),
        _ => otherwise(call, response, now),
    }
}

/// "4xx permanent" (sheet, section 8), but where the status asks for another call; and a probe is to
/// find out that nothing is there.
fn otherwise(call: &Call, response: &Response, now: Timestamp) -> Answer {
    match response.status {
        401 | 403 | 407 | 408 | 413 | 425 | 429 => by_status(call, response, now),
        400..=499 if call.purpose == CallPurpose::Send => refused_by_status(call, response),
        _ => by_status(call, response, now),
    }
}
