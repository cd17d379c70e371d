//! What the Data Manager API's answers mean: at once (all or nothing, with indices), and half an
//! hour later (what became of the rows).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::super::{
    Answer, Call, CallPurpose, FaultKind, FollowUp, Note, Outcome, Response,
    answer::{by_status, code, garbled, indices, innocent, json, retry_after, words},
    google,
};

/// The first look, then twice as long each time (DOC/diagnostics).
const FIRST_LOOK: SignedDuration = SignedDuration::from_mins(30);
const LOOKS: u32 = 8;

/// Reasons that name a setting or an account, not an event.
const CONFIGURATION: &[&str] = &[
    "INVALID_DESTINATION",
    "INVALID_CONVERSION_ACTION_ID",
    "INVALID_CONVERSION_ACTION_TYPE",
    "NOT_ALLOWLISTED",
    "OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH",
    "EVENT_SOURCE_AND_DESTINATION_MISMATCH",
    "TERMS_AND_CONDITIONS_NOT_SIGNED",
];

pub(super) fn classify(call: &Call, response: &Response, now: Timestamp) -> Answer {
    let body = json(response);
    if call.purpose == CallPurpose::FollowUp {
        return of_status(call, response, body.as_ref(), now);
    }
    match (body, response.status) {
        (Some(body), 200..=299) if body.is_object() => of_success(call, &body, now),
        (_, 200..=299) => garbled(call, response, now),
        (Some(body), _) if body.get("error").is_some_and(Value::is_object) => {
            of_error(call, &body, response, now)
        }
        _ => by_status(call, response, now),
    }
}

/// `{"requestId":"...","fieldWarnings":[...]}`: the rows are well-formed, no more.
fn of_success(call: &Call, body: &Value, now: Timestamp) -> Answer {
    let mut answer = Answer::all(call, &Outcome::Delivered);
    for warning in list(body, "fieldWarnings") {
        let (code, message) = (code(text(warning, "reason")), words(text(warning, "description")));
        match answer.notes.iter_mut().find(|note| note.code == code) {
            Some(note) => note.count += 1,
            None => answer.notes.push(Note { code, count: 1, message, alert: false }),
        }
    }
    // A validated call leaves no request behind.
    let validated = call.body.windows(20).any(|part| part == b"\"validateOnly\":true,");
    let id = text(body, "requestId");
    if call.purpose == CallPurpose::Send && !validated && !id.is_empty() {
        answer.follow_up = Some(FollowUp {
            id: id.chars().take(200).collect(),
            events: u32::try_from(call.members.len()).unwrap_or(u32::MAX),
            attempt: 0,
            due: now.saturating_add(FIRST_LOOK).unwrap_or(now),
        });
    }
    answer
}

/// Nothing is ingested on any error.
fn of_error(call: &Call, body: &Value, response: &Response, now: Timestamp) -> Answer {
    let error = body.get("error").unwrap_or(body);
    let status = text(error, "status");
    let message = text(error, "message");
    let details = list(error, "details");
    let violations: Vec<&Value> =
        details.iter().flat_map(|detail| list(detail, "fieldViolations")).collect();
    let first = violations.first().map(|violation| text(violation, "reason"));
    let info = details.iter().map(|detail| text(detail, "reason")).find(|r| !r.is_empty());
    let reason = first.filter(|r| !r.is_empty()).or(info).unwrap_or(status);
    let words_of = |violation: &Value| match text(violation, "description") {
        "" => words(message),
        description => words(description),
    };
    let message = violations.first().map_or_else(|| words(message), |v| words_of(v));

    let after = retry_after(response, now);
    match (status, response.status) {
        ("RESOURCE_EXHAUSTED", _) | (_, 429) => {
            return throttled(call, error, after, &message, now);
        }
        ("UNAVAILABLE" | "DEADLINE_EXCEEDED" | "INTERNAL" | "CANCELLED" | "ABORTED", _)
        | (_, 408 | 499 | 500..) => {
            return Answer::all(call, &Outcome::Unavailable { after, message });
        }
        ("UNAUTHENTICATED" | "PERMISSION_DENIED", _) | (_, 401 | 403) => {
            return Answer::fault(call, FaultKind::Unauthorized, reason, &message);
        }
        ("NOT_FOUND", _) | (_, 404) => {
            return Answer::fault(call, FaultKind::Misconfigured, reason, &message);
        }
        (_, 413) => return Answer::all(call, &Outcome::TooLarge),
        _ => {}
    }
    let reasons = violations.iter().map(|v| text(v, "reason")).chain(info);
    if let Some(reason) = reasons.clone().find(|reason| is_configuration(reason)) {
        return Answer::fault(call, FaultKind::Misconfigured, reason, &message);
    }
    if reasons.clone().any(|reason| matches!(reason, "TOO_MANY_EVENTS" | "REQUEST_TOO_LARGE")) {
        return Answer::all(call, &Outcome::TooLarge);
    }
    // `events.events[3].user_data` or `events[3]`: in a field's path, else in prose (sheet, A9).
    let members = call.members.len();
    let mut named = Vec::new();
    for violation in &violations {
        let places = [text(violation, "field"), text(violation, "description")];
        let places = places.map(|place| indices(place, "events", members));
        for index in places.into_iter().find(|found| !found.is_empty()).unwrap_or_default() {
            named.push((index, text(violation, "reason").to_owned(), words_of(violation)));
        }
    }
    if named.is_empty() {
        let found = indices(text(error, "message"), "events", members);
        named.extend(found.into_iter().map(|index| (index, reason.to_owned(), message.clone())));
    }
    // The events that are named are refused; the others were not looked at.
    Answer::naming(call, named, &innocent())
        .unwrap_or_else(|| Answer::refused(call, reason, &message))
}

fn is_configuration(reason: &str) -> bool {
    CONFIGURATION.contains(&reason) || reason.starts_with("DESTINATION_ACCOUNT_")
}

/// A minute's quota wants a minute, a day's quota the next day (DOC/limits).
fn throttled(
    call: &Call,
    error: &Value,
    after: Option<Duration>,
    message: &str,
    now: Timestamp,
) -> Answer {
    let used = google::used_up(error, now);
    let least = used.as_ref().map_or(Duration::from_secs(60), |used| used.wait);
    let after = Some(after.unwrap_or_default().max(least));
    let mut answer = Answer::all(call, &Outcome::Throttled { after, message: message.to_owned() });
    if let Some(used) = used.filter(|used| used.is_daily) {
        let message = "the Cloud project's daily quota is used up".to_owned();
        answer.notes.push(Note { code: code(&used.limit), count: 1, message, alert: true });
    }
    answer
}

/// `requestStatus:retrieve`. The fragment is our own note and leaves no machine (RFC 9110, 4.2.5).
pub(super) fn question(base: &str, headers: Vec<(String, String)>, of: &FollowUp) -> Call {
    let id: String = url::form_urlencoded::byte_serialize(of.id.as_bytes()).collect();
    Call {
        purpose: CallPurpose::FollowUp,
        method: "GET",
        url: format!(
            "{base}/v1/requestStatus:retrieve?requestId={id}#events={}&attempt={}",
            of.events, of.attempt
        ),
        headers,
        body: Vec::new(),
        members: Vec::new(),
    }
}

/// The question asked once more, later; `None` after the last look.
fn again(call: &Call, now: Timestamp) -> Option<FollowUp> {
    let url = url::Url::parse(&call.url).ok()?;
    let (_, id) = url.query_pairs().find(|(name, _)| name == "requestId")?;
    let note = |name: &str| {
        url::form_urlencoded::parse(url.fragment()?.as_bytes())
            .find(|(key, _)| key == name)
            .and_then(|(_, value)| value.parse::<u32>().ok())
    };
    let attempt = note("attempt").unwrap_or_default().saturating_add(1);
    if attempt >= LOOKS {
        return None;
    }
    let wait = FIRST_LOOK.checked_mul(1 << attempt).unwrap_or(FIRST_LOOK);
    Some(FollowUp {
        id: id.into_owned(),
        events: note("events").unwrap_or_default(),
        attempt,
        due: now.saturating_add(wait).unwrap_or(now),
    })
}

fn of_status(call: &Call, response: &Response, body: Option<&Value>, now: Timestamp) -> Answer {
    let mut answer = Answer::all(call, &Outcome::Delivered);
    let statuses = body.map(|body| list(body, "requestStatusPerDestination")).unwrap_or_default();
    match response.status {
        401 | 403 => {
            return Answer::fault(call, FaultKind::Unauthorized, "request_status", "not allowed");
        }
        200..=299 if statuses.is_empty() => {
            answer.follow_up = again(call, now);
            return answer;
        }
        200..=299 => {}
        // Outages and throttling have the same question asked again; a bad one will not get better.
        _ => return answer,
    }
    let is_open = |status: &&Value| {
        matches!(text(status, "requestStatus"), "PROCESSING" | "REQUEST_STATUS_UNKNOWN" | "")
    };
    if statuses.iter().any(|status| is_open(&status)) {
        answer.follow_up = again(call, now);
        if answer.follow_up.is_none() {
            let message = "Google has not finished with a request in days".to_owned();
            let code = "PROCESSING".to_owned();
            answer.notes.push(Note { code, count: 1, message, alert: true });
        }
        return answer;
    }
    for status in statuses {
        let outcome = text(status, "requestStatus");
        answer.notes.push(Note {
            code: code(outcome),
            count: count(status.get("eventsIngestionStatus").unwrap_or(status)),
            message: String::new(),
            alert: outcome == "FAILED",
        });
        for (key, counts, alert) in [
            ("errorInfo", "errorCounts", outcome == "FAILED"),
            ("warningInfo", "warningCounts", false),
        ] {
            for row in status.get(key).map(|info| list(info, counts)).unwrap_or_default() {
                answer.notes.push(Note {
                    code: code(text(row, "reason")),
                    count: count(row),
                    message: String::new(),
                    alert,
                });
            }
        }
    }
    answer
}

/// An int64 comes as a string.
fn count(value: &Value) -> u64 {
    match value.get("recordCount") {
        Some(Value::String(text)) => text.parse().unwrap_or_default(),
        Some(number) => number.as_u64().unwrap_or_default(),
        None => 0,
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_asked_ever_less_often_and_then_no_more() {
        let now: Timestamp = "2026-11-22T04:00:00Z".parse().unwrap();
        let first = FollowUp { id: "a b".to_owned(), events: 7, attempt: 0, due: now };
        let mut next = Some(first);
        let mut waits = Vec::new();
        while let Some(follow_up) = next {
            let call = question("https://x.example", Vec::new(), &follow_up);
            next = again(&call, now);
            if let Some(next) = &next {
                assert_eq!((next.id.as_str(), next.events), ("a b", 7));
                waits.push(next.due.duration_since(now).as_mins());
            }
        }
        assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3840]);
    }
}
