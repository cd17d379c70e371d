//! What Reddit's answers mean.

use jiff::Timestamp;
use serde_json::Value;

use super::super::{
    Answer, Call, Outcome, Response,
    answer::{by_status, garbled, innocent, json},
};

pub(super) fn classify(call: &Call, response: &Response, now: Timestamp) -> Answer {
    let body = json(response);
    let object = |key| body.as_ref()?.get(key).filter(|value| value.is_object());
    match (response.status, object("error")) {
        (200..=299 | 400, Some(error)) => of_error(call, error),
        // No list: all of them are taken.
        (200..=299, None) if object("data").is_some() => Answer::all(call, &Outcome::Delivered),
        (200..=299, None) => garbled(call, response, now),
        _ => by_status(call, response, now),
    }
}

/// `{"code","message","fields":[{"field":"data.events.0.…","message"}]}`: nothing is taken, and
/// the fields name the events to blame. How a path is written is uncertain.
fn of_error(call: &Call, error: &Value) -> Answer {
    let text = |value: &Value, key: &str| {
        value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let reason = match error.get("code") {
        Some(Value::String(code)) => code.clone(),
        Some(Value::Number(code)) => code.to_string(),
        _ => "error".to_owned(),
    };
    let fields = error.get("fields").and_then(Value::as_array);
    let named = fields.into_iter().flatten().filter_map(|field| {
        let path = text(field, "field");
        let index = index(&path)?;
        Some((index, reason.clone(), format!("{path}: {}", text(field, "message"))))
    });
    Answer::naming(call, named, &innocent())
        .unwrap_or_else(|| Answer::refused(call, &reason, &text(error, "message")))
}

/// The position in `data.events.3.user`, `events[3].user` and the like.
fn index(path: &str) -> Option<usize> {
    let (_, rest) = path.split_once("events")?;
    let rest = rest.trim_start_matches(['.', '[', '/']);
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
