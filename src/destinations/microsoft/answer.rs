//! What the Conversions API's answers mean: each event is judged by itself, also under a 200.

use jiff::Timestamp;
use serde_json::Value;

use super::super::{
    Answer, Call, Note, Outcome, Response,
    answer::{by_status, code, garbled, innocent, json, words},
};

pub(super) fn classify(call: &Call, response: &Response, now: Timestamp) -> Answer {
    let body = json(response);
    let member = |key| body.as_ref()?.get(key);
    let error = member("error").filter(|error| error.is_object());
    match (response.status, error) {
        // Events that are right are taken beside those that are wrong.
        (200..=299, Some(error)) => of_error(call, error, &Outcome::Delivered),
        // How many were received may be all of them or those taken: the details count.
        (200..=299, None) if member("eventsReceived").is_some_and(Value::is_u64) => {
            Answer::all(call, &Outcome::Delivered)
        }
        (200..=299, None) => garbled(call, response, now),
        (400, Some(error)) => of_error(call, error, &innocent()),
        // 401 and 403 also while a new token is not active yet, for about 15 minutes.
        _ => by_status(call, response, now),
    }
}

/// `{"code","message","details":[{"index","propertyName","errorMessage","errorCode","isWarning"}]}`,
/// also under a 200. What is only warned of is taken.
fn of_error(call: &Call, error: &Value, others: &Outcome) -> Answer {
    let text = |value: &Value, key: &str| match value.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let details = error.get("details").and_then(Value::as_array).map(Vec::as_slice);
    let details = details.unwrap_or_default();
    let is_warning = |detail: &&Value| detail.get("isWarning") == Some(&Value::Bool(true));
    let of_detail = |detail: &Value| {
        let message = format!("{}: {}", text(detail, "propertyName"), text(detail, "errorMessage"));
        let code = Some(text(detail, "errorCode")).filter(|code| !code.is_empty());
        (code.unwrap_or_else(|| text(error, "code")), message)
    };
    let named = details.iter().filter(|detail| !is_warning(detail)).filter_map(|detail| {
        let index = usize::try_from(detail.get("index")?.as_u64()?).ok()?;
        let (code, message) = of_detail(detail);
        Some((index, code, message))
    });
    let only_warned = !details.is_empty() && details.iter().all(|detail| is_warning(&detail));
    let mut answer = match Answer::naming(call, named, others) {
        Some(answer) => answer,
        None if only_warned && *others == Outcome::Delivered => Answer::all(call, others),
        None => Answer::refused(call, &text(error, "code"), &text(error, "message")),
    };
    for detail in details.iter().filter(is_warning) {
        let (reason, message) = of_detail(detail);
        let (reason, message) = (code(&reason), words(&message));
        match answer.notes.iter_mut().find(|note| note.code == reason) {
            Some(note) => note.count += 1,
            None => answer.notes.push(Note { code: reason, count: 1, message, alert: false }),
        }
    }
    answer
}
