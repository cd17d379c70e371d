//! Reading answers: what HTTP says where a platform's body says nothing, hints to wait, and words
//! fit to be kept.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Answer, Call, Fault, FaultKind, Outcome, Response};
use crate::identity::scrub_text;

/// The longest wait that is believed.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest message that is kept, in characters.
const LONGEST_MESSAGE: usize = 500;

/// The longest code that is kept, in characters.
const LONGEST_CODE: usize = 100;

impl Answer {
    /// The same outcome for every member.
    pub(super) fn all(call: &Call, outcome: &Outcome) -> Self {
        Self {
            outcomes: vec![outcome.clone(); call.members.len()],
            fault: None,
            follow_up: None,
            notes: Vec::new(),
        }
    }

    /// The destination is at fault; its events stay.
    pub(super) fn fault(call: &Call, kind: FaultKind, reason: &str, message: &str) -> Self {
        let fault = Fault { kind, reason: code(reason), message: words(message) };
        Self { fault: Some(fault), ..Self::all(call, &Outcome::Paused) }
    }

    /// `others` for every member but those named (index, code, words), which are refused for good;
    /// of an event that is named twice the first word counts. `None` where no member is named.
    pub(super) fn naming(
        call: &Call,
        named: impl IntoIterator<Item = (usize, String, String)>,
        others: &Outcome,
    ) -> Option<Self> {
        let mut answer = Self::all(call, others);
        let mut is_any = false;
        for (index, reason, message) in named {
            let Some(place) = answer.outcomes.get_mut(index) else { continue };
            if !matches!(place, Outcome::Rejected { .. }) {
                *place = Outcome::Rejected { reason: code(&reason), message: words(&message) };
                is_any = true;
            }
        }
        is_any.then_some(answer)
    }

    /// Refused for good, and nothing says which event is to blame.
    pub(super) fn refused(call: &Call, reason: &str, message: &str) -> Self {
        let (reason, message) = (code(reason), words(message));
        let outcome = if call.members.len() > 1 {
            Outcome::CulpritUnknown { reason, message }
        } else {
            Outcome::Rejected { reason, message }
        };
        Self::all(call, &outcome)
    }
}

/// For those that were refused only because another event of their request was.
pub(super) fn innocent() -> Outcome {
    Outcome::Resend { message: "another event of the request was refused".to_owned() }
}

/// The body as JSON.
pub(super) fn json(response: &Response) -> Option<Value> {
    serde_json::from_slice(&response.body).ok()
}

/// What the status alone means; the message is the beginning of the body.
pub(super) fn by_status(call: &Call, response: &Response, now: Timestamp) -> Answer {
    let body = String::from_utf8_lossy(&response.body);
    let message = format!("HTTP {} {}", response.status, words(&body));
    let message = words(message.trim_end());
    let reason = format!("http_{}", response.status);
    let after = retry_after(response, now);
    match response.status {
        200..=299 => Answer::all(call, &Outcome::Delivered),
        401 | 403 | 407 => Answer::fault(call, FaultKind::Unauthorized, &reason, &message),
        300..=399 | 404 | 405 | 410 => {
            Answer::fault(call, FaultKind::Misconfigured, &reason, &message)
        }
        413 => Answer::all(call, &Outcome::TooLarge),
        429 => Answer::all(call, &Outcome::Throttled { after, message }),
        408 | 425 => Answer::all(call, &Outcome::Unavailable { after, message }),
        400..=499 => Answer::refused(call, &reason, &message),
        _ => Answer::all(call, &Outcome::Unavailable { after, message }),
    }
}

/// Refused for good, whatever else the status might mean: where a platform says so of every other
/// refusal.
pub(super) fn refused_by_status(call: &Call, response: &Response) -> Answer {
    let body = String::from_utf8_lossy(&response.body);
    let message = format!("HTTP {} {}", response.status, words(&body));
    Answer::refused(call, &format!("http_{}", response.status), message.trim_end())
}

/// A success by its status whose body is not the platform's: something else answered in its place.
pub(super) fn garbled(call: &Call, response: &Response, now: Timestamp) -> Answer {
    let after = retry_after(response, now);
    let message = words("the answer is not one of the platform's");
    Answer::all(call, &Outcome::Unavailable { after, message })
}

/// `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3), at most a day.
pub(super) fn retry_after(response: &Response, now: Timestamp) -> Option<Duration> {
    let text = response.header("retry-after")?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let then = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(then.duration_since(now)).unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST_WAIT))
}

/// A platform's words: without identity, at most 500 characters.
pub(super) fn words(text: &str) -> String {
    let text: String = text.chars().take(4 * LONGEST_MESSAGE).collect();
    let clean = scrub_text(&text, None).text;
    clean.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_MESSAGE).collect()
}

/// A platform's code: what a metric label can bear.
pub(super) fn code(text: &str) -> String {
    let fit = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '-');
    text.chars().filter(fit).take(LONGEST_CODE).collect()
}

/// Every `N` of `NAME[N]` in a text, where it is a member of the call.
pub(super) fn indices(text: &str, name: &str, members: usize) -> Vec<usize> {
    let opening = format!("{name}[");
    let mut found = Vec::new();
    for rest in text.split(&opening).skip(1) {
        let index = rest.split(']').next().and_then(|digits| digits.parse::<usize>().ok());
        if let Some(index) = index.filter(|index| *index < members)
            && !found.contains(&index)
        {
            found.push(index);
        }
    }
    found
}

/// For the tables in which platforms hold their answers against their pages.
#[cfg(test)]
pub(super) mod table {
    use super::*;
    use crate::destinations::{CallPurpose, Destination, Outcome};

    /// What a destination makes of an answer to a call of so many events: a letter for each
    /// (`d`elivered, `r`ejected, `s`ent again, `c`ulprit unknown, `u`navailable, `t`hrottled,
    /// too `l`arge, `p`aused, retr`y`), then the fault or else the first code.
    pub(in crate::destinations) fn classified(
        destination: &dyn Destination,
        members: usize,
        status: u16,
        body: &str,
    ) -> String {
        let (call, response) = (call(members, CallPurpose::Send, ""), response(status, body));
        let answer = destination.classify(&call, &response, Timestamp::UNIX_EPOCH);
        let mut told = answer.fault.map(|fault| format!("{:?} {}", fault.kind, fault.reason));
        let mut letters = String::new();
        for outcome in answer.outcomes {
            let (letter, code) = match outcome {
                Outcome::Delivered => ('d', None),
                Outcome::Rejected { reason, .. } => ('r', Some(reason)),
                Outcome::Resend { .. } => ('s', None),
                Outcome::CulpritUnknown { reason, .. } => ('c', Some(reason)),
                Outcome::Unavailable { .. } => ('u', None),
                Outcome::Throttled { .. } => ('t', None),
                Outcome::TooLarge => ('l', None),
                Outcome::Paused => ('p', None),
                Outcome::Retry { .. } => ('y', None),
            };
            letters.push(letter);
            told = told.or(code);
        }
        format!("{letters} {}", told.unwrap_or_default()).trim_end().to_owned()
    }

    /// A call of so many events.
    pub(in crate::destinations) fn call(members: usize, purpose: CallPurpose, url: &str) -> Call {
        Call {
            purpose,
            method: "POST",
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            members: (0..members).collect(),
        }
    }

    /// What came back.
    pub(in crate::destinations) fn response(status: u16, body: &str) -> Response {
        Response { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    /// What became of each event: Delivered, Rejected, reSend, Culprit unknown, Throttled,
    /// Unavailable, Paused, too Large, retrY.
    pub(in crate::destinations) fn letters(answer: &Answer) -> String {
        let letter = |outcome: &Outcome| match outcome {
            Outcome::Delivered => 'D',
            Outcome::Rejected { .. } => 'R',
            Outcome::Resend { .. } => 'S',
            Outcome::CulpritUnknown { .. } => 'C',
            Outcome::Throttled { .. } => 'T',
            Outcome::Unavailable { .. } => 'U',
            Outcome::Paused => 'P',
            Outcome::TooLarge => 'L',
            Outcome::Retry { .. } => 'Y',
        };
        answer.outcomes.iter().map(letter).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(header: &str) -> Response {
        let headers = vec![("retry-after".to_owned(), header.to_owned())];
        Response { status: 503, headers, body: Vec::new() }
    }

    #[test]
    fn a_hint_to_wait_is_read_in_both_forms() {
        let now: Timestamp = "2026-11-22T04:00:00Z".parse().unwrap();
        let wait = |header: &str| retry_after(&response(header), now);
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait("Sun, 22 Nov 2026 04:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(wait("Sun, 22 Nov 2026 03:00:30 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("999999999999"), Some(LONGEST_WAIT));
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn indices_are_members() {
        let text = "events.events[3].user_data, events[0], events[99], events[x], events[";
        assert_eq!(indices(text, "events", 10), [3, 0]);
    }
}
