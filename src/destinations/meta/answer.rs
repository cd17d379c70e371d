//! What Meta's answers mean. The body decides: the status is mostly 400, and `type` says
//! `OAuthException` even for throttling and for bad events.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::super::{
    Answer, Call, CallPurpose, FaultKind, Note, Outcome, Pace, Response,
    answer::{by_status, garbled, json, retry_after, words},
};

/// What a policy block (368) does: it is no outage, though one integrator tries again (sheet, section
/// 12: uncertain).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnBlock {
    /// The destination is paused and its events stay: trying on would only make it last.
    Pause,
    /// Its events are tried again, as after an outage.
    Retry,
}

pub(super) fn classify(
    call: &Call,
    response: &Response,
    on_block: OnBlock,
    now: Timestamp,
) -> Answer {
    let body = json(response);
    let error = body.as_ref().and_then(|body| body.get("error"));
    match (error, &body) {
        (Some(error), _) => of_error(call, error, response, on_block, now),
        (None, Some(body)) if is_success(response) => of_success(call, body, response, now),
        // What these two ask for is the same whoever asks it.
        (None, None) if matches!(response.status, 413 | 429) => by_status(call, response, now),
        // A page of HTML comes from something in between, with whatever status (sheet, section 12).
        (None, None) => garbled(call, response, now),
        (None, Some(_)) => by_status(call, response, now),
    }
}

fn is_success(response: &Response) -> bool {
    (200..300).contains(&response.status)
}

/// `{"events_received":N,"messages":[],"fbtrace_id":"..."}`.
fn of_success(call: &Call, body: &Value, response: &Response, now: Timestamp) -> Answer {
    let Some(received) = body.get("events_received").and_then(Value::as_u64) else {
        return garbled(call, response, now);
    };
    let members = u64::try_from(call.members.len()).unwrap_or(u64::MAX);
    let mut answer = if received >= members {
        Answer::all(call, &Outcome::Delivered)
    } else {
        // There is no partial success, so this should not be. Halving finds the one that was not
        // counted; Meta deduplicates the others.
        let message = format!("Meta counted {received} of {members} events");
        Answer::refused(call, "events_received", &message)
    };
    let messages = body.get("messages").and_then(Value::as_array);
    for message in messages.into_iter().flatten() {
        let text = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
        let (code, message) = ("message".to_owned(), words(&text));
        answer.notes.push(Note { code, count: 1, message, alert: false });
    }
    answer
}

/// Codes as in the sheet, section 12.
fn of_error(
    call: &Call,
    error: &Value,
    response: &Response,
    on_block: OnBlock,
    now: Timestamp,
) -> Answer {
    let number = |key: &str| error.get(key).and_then(Value::as_i64);
    let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
    let code = number("code").unwrap_or(-1);
    let subcode = number("error_subcode");
    let reason = match subcode {
        Some(subcode) => format!("{code}/{subcode}"),
        None => code.to_string(),
    };
    let message = match text("error_user_msg") {
        "" => text("message").to_owned(),
        more => format!("{}: {more}", text("message")),
    };
    let transient = error.get("is_transient").and_then(Value::as_bool) == Some(true);
    let fault = |kind| Answer::fault(call, kind, &reason, &message);
    match (code, subcode) {
        (190 | 102 | 10 | 3 | 200..=299, _) => fault(FaultKind::Unauthorized),
        // The dataset is missing, or the token does not reach it.
        (100, Some(33)) => fault(FaultKind::Misconfigured),
        (368, _) if on_block == OnBlock::Pause => fault(FaultKind::Misconfigured),
        (4 | 17 | 32 | 613 | 80_000..=80_014, _) => {
            let after = retry_after(response, now).or_else(|| Some(pace(response)?.wait));
            Answer::all(call, &Outcome::Throttled { after, message: words(&message) })
        }
        _ if transient
            || matches!(code, 1 | 2 | 341 | 368 | 5_000 | 21_009)
            || response.status >= 500 =>
        {
            let after = retry_after(response, now);
            Answer::all(call, &Outcome::Unavailable { after, message: words(&message) })
        }
        // What remains is about an event (100 and its 28040xx). The text often names an index, but
        // not reliably: rejecting by it could cost a good event, so the batch is halved.
        _ if call.purpose == CallPurpose::Send => Answer::refused(call, &reason, &message),
        // A probe sends no event, which Meta may well refuse once it has accepted the token.
        _ => Answer::all(call, &Outcome::Delivered),
    }
}

/// Meta tells of its limits before it throttles: how much of an hour's calls is used, in percent,
/// and in minutes when it will let us in again (sheet, section 11; DOC of the Graph API, rate
/// limiting).
const USAGE: [&str; 3] = ["x-business-use-case-usage", "x-app-usage", "x-ad-account-usage"];

/// From here on every answer slows the next call down.
const SLOW_FROM: f64 = 80.0;

/// Where nothing is left and no time is named.
const A_MINUTE: Duration = Duration::from_secs(60);

/// At most a day: the header is a hint, not an order.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What the usage headers say.
pub(super) fn pace(response: &Response) -> Option<Pace> {
    let usages = USAGE.into_iter().filter_map(|name| {
        let usage = serde_json::from_str::<Value>(response.header(name)?).ok()?;
        Some((name, usage))
    });
    let (mut slow, mut shut) = (None::<(f64, &str)>, None::<(Duration, &str)>);
    for (name, usage) in usages {
        let percent = ["call_count", "total_cputime", "total_time", "acc_id_util_pct"].into_iter();
        let percent = percent.filter_map(|key| largest(&usage, key, 0)).fold(0.0, f64::max);
        let minutes = largest(&usage, "estimated_time_to_regain_access", 0).unwrap_or_default();
        let mut wait = wait(minutes * 60.0);
        if wait.is_zero() && percent >= 100.0 {
            let reset = largest(&usage, "reset_time_duration", 0).unwrap_or_default();
            wait = self::wait(reset).max(A_MINUTE);
        }
        if !wait.is_zero() {
            shut = shut.max(Some((wait, name)));
        }
        if percent >= slow.map_or(SLOW_FROM, |(most, _)| most) {
            slow = Some((percent, name));
        }
    }
    if let Some((wait, name)) = shut {
        let minutes = wait.as_secs().div_ceil(60);
        return Some(Pace { wait, why: format!("{name}: access again in {minutes} min") });
    }
    let (percent, name) = slow?;
    // One second at 80 %, half a minute at 99 %.
    let wait = Duration::from_secs_f64(((percent - SLOW_FROM) * 1.5 + 1.0).clamp(1.0, 30.0));
    Some(Pace { wait, why: format!("{name}: {percent:.0} % of the quota is used") })
}

fn wait(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default().min(A_DAY)
}

fn largest(value: &Value, key: &str, depth: u8) -> Option<f64> {
    let found: Vec<f64> = match value {
        Value::Object(map) if depth < 4 => {
            let own = map.get(key).and_then(Value::as_f64);
            own.into_iter().chain(map.values().filter_map(|v| largest(v, key, depth + 1))).collect()
        }
        Value::Array(list) if depth < 4 => {
            list.iter().filter_map(|v| largest(v, key, depth + 1)).collect()
        }
        _ => Vec::new(),
    };
    found.into_iter().reduce(f64::max).filter(|largest| *largest > 0.0)
}
