//! What TikTok's answers mean.

use jiff::Timestamp;
use serde_json::Value;

use super::super::{
    Answer, Call, CallPurpose, FaultKind, Note, Outcome, Response,
    answer::{by_status, garbled, json, retry_after, words},
};

/// What the codes of a partial success mean, which no page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnPartial {
    /// All were taken, as those count it who have seen it.
    Deliver,
    /// One was refused: halves are sent again until it is found. What was taken is recognised by its
    /// id.
    Refuse,
}

/// The body's `code` decides, whatever the status: failures come with 200, and throttling (40100)
/// may come with 401 (sheet, section 8).
pub(super) fn classify(
    call: &Call,
    response: &Response,
    on_partial: OnPartial,
    now: Timestamp,
) -> Answer {
    let is_success = (200..300).contains(&response.status);
    let body = json(response).unwrap_or_default();
    let Some(code) = body.get("code").and_then(Value::as_i64) else {
        return if is_success {
            garbled(call, response, now)
        } else {
            by_status(call, response, now)
        };
    };
    let text = body.get("message").and_then(Value::as_str).unwrap_or_default();
    let (reason, message) = (code.to_string(), words(text));
    let after = retry_after(response, now);
    match code {
        0 if is_success => Answer::all(call, &Outcome::Delivered),
        // Called partial success, and counted as success by those who have seen it.
        20_000..=29_999 if is_success && on_partial == OnPartial::Refuse => {
            refused(call, &reason, text)
        }
        20_000..=29_999 if is_success => {
            let count = u64::try_from(call.members.len()).unwrap_or(u64::MAX);
            let note = Note { code: reason, count, message, alert: false };
            Answer { notes: vec![note], ..Answer::all(call, &Outcome::Delivered) }
        }
        40_100 => Answer::all(call, &Outcome::Throttled { after, message }),
        // 40001: the token does not own this pixel.
        40_001 | 40_101..=40_105 => Answer::fault(call, FaultKind::Unauthorized, &reason, text),
        50_000..=59_999 => Answer::all(call, &Outcome::Unavailable { after, message }),
        _ if !is_success && response.status != 400 => by_status(call, response, now),
        // A probe sends no event, which TikTok refuses once it has accepted the token.
        _ if call.purpose == CallPurpose::Probe => Answer::all(call, &Outcome::Delivered),
        _ => refused(call, &reason, text),
    }
}

/// Refused as a whole for the first bad event, which the message names; the others go again.
fn refused(call: &Call, reason: &str, text: &str) -> Answer {
    let mut answer = Answer::refused(call, reason, text);
    let index = culprit(text).filter(|index| *index < call.members.len());
    if call.members.len() > 1
        && let Some(index) = index
    {
        let message = "another event of the request was refused".to_owned();
        answer = Answer::all(call, &Outcome::Resend { message });
        if let Some(outcome) = answer.outcomes.get_mut(index) {
            *outcome = Outcome::Rejected { reason: reason.to_owned(), message: words(text) };
        }
    }
    answer
}

/// `data.0.event_id`, `data[2]`, `Batch.0.properties.contents.1.content_id`: the number behind the
/// first of them.
fn culprit(text: &str) -> Option<usize> {
    let openings = ["data.", "data[", "Batch.", "Batch["].into_iter();
    let ends = openings
        .flat_map(|opening| text.match_indices(opening).map(move |(at, _)| at + opening.len()));
    let mut places: Vec<usize> = ends.collect();
    places.sort_unstable();
    places.into_iter().find_map(|at| {
        let rest = text.get(at..)?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..end)?.parse().ok()
    })
}
