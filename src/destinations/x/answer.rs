//! What X's answers mean. All or nothing: a refused request names what is wrong, never which
//! conversion is.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::super::{
    Answer, Call, CallPurpose, FaultKind, Outcome, Pace, Response,
    answer::{by_status, garbled, json, retry_after, words},
};

/// When the account's window, else the endpoint's, begins anew, in epoch seconds (page
/// "rate-limiting").
const RESETS: [&str; 2] = ["x-account-rate-limit-reset", "x-rate-limit-reset"];

/// What is left of them.
const REMAINING: [&str; 2] = ["x-account-rate-limit-remaining", "x-rate-limit-remaining"];

/// A window is 15 minutes; a later time would be a clock's mistake.
const WINDOW: Duration = Duration::from_secs(15 * 60);

pub(super) fn classify(call: &Call, response: &Response, now: Timestamp) -> Answer {
    let body = json(response);
    let (code, message) = body.as_ref().and_then(error).unwrap_or_default();
    let after = retry_after(response, now);
    match response.status {
        200..=299 => of_success(call, body.as_ref(), response, now),
        // A probe sends no conversion, which X refuses once it has taken credentials and pixel.
        400 if call.purpose == CallPurpose::Probe && !code.is_empty() => {
            Answer::all(call, &Outcome::Delivered)
        }
        400 if !code.is_empty() => Answer::refused(call, &code, &message),
        // Also where our clock is wrong: the signature's timestamp is looked at (page "error-codes").
        401 if !code.is_empty() => Answer::fault(call, FaultKind::Unauthorized, &code, &message),
        // The app is not allowed, or the pixel is not the account's: no token changes that.
        403 | 404 if !code.is_empty() => {
            Answer::fault(call, FaultKind::Misconfigured, &code, &message)
        }
        // LOCK_ACQUISITION_TIMEOUT.
        423 => Answer::all(call, &Outcome::Unavailable { after, message: words(&message) }),
        429 => {
            let after = after.or_else(|| until_reset(response, now));
            Answer::all(call, &Outcome::Throttled { after, message: words(&message) })
        }
        _ => by_status(call, response, now),
    }
}

/// `{"data":{"conversions_processed":1,"debug_id":"…"}}`.
fn of_success(call: &Call, body: Option<&Value>, response: &Response, now: Timestamp) -> Answer {
    if let Some((code, message)) = body.and_then(error) {
        return Answer::refused(call, &code, &message);
    }
    let processed = body.and_then(|body| body.pointer("/data/conversions_processed"));
    let members = u64::try_from(call.members.len()).unwrap_or(u64::MAX);
    match processed.and_then(Value::as_u64) {
        Some(processed) if processed >= members => Answer::all(call, &Outcome::Delivered),
        // Halving finds them; what was taken is recognised by its id.
        Some(processed) => {
            let message = format!("X processed {processed} of {members} conversions");
            Answer::refused(call, "conversions_processed", &message)
        }
        None => garbled(call, response, now),
    }
}

/// `{"errors":[{"code","message","parameter"}]}`: the first code, and all words.
fn error(body: &Value) -> Option<(String, String)> {
    let errors = body.get("errors")?.as_array().filter(|errors| !errors.is_empty())?;
    let text = |error: &Value, key: &str| {
        error.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let code = errors.iter().map(|error| text(error, "code")).find(|code| !code.is_empty());
    let words: Vec<String> = errors
        .iter()
        .map(|error| match text(error, "parameter") {
            parameter if parameter.is_empty() => text(error, "message"),
            parameter => format!("{parameter}: {}", text(error, "message")),
        })
        .collect();
    Some((code.unwrap_or_else(|| "error".to_owned()), words.join("; ")))
}

/// Nothing is left of a window, the account's or the endpoint's: the next request would be refused.
pub(super) fn pace(response: &Response, now: Timestamp) -> Option<Pace> {
    let is_empty = |name: &&str| response.header(name).is_some_and(|left| left.trim() == "0");
    let limit = REMAINING.into_iter().find(is_empty)?;
    Some(Pace { wait: until_reset(response, now)?, why: format!("{limit}: 0") })
}

fn until_reset(response: &Response, now: Timestamp) -> Option<Duration> {
    let seconds = RESETS.into_iter().find_map(|name| response.header(name)?.trim().parse().ok())?;
    let then = Timestamp::from_second(seconds).ok()?;
    Some(Duration::try_from(then.duration_since(now)).unwrap_or_default().min(WINDOW))
}
