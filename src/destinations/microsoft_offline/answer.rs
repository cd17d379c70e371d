//! What the answers mean: row by row under a 200 (`PartialErrors`, sparse), or a fault of the whole
//! request (DOC/operation-error-codes).

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::super::{
    Answer, Call, Fault, FaultKind, Outcome, Response,
    answer::{by_status, code, garbled, innocent, json, words},
};

/// A goal takes conversions two hours after it was made (error 5615).
const NEW_GOAL: Duration = Duration::from_secs(2 * 60 * 60);

/// Calls are counted over a sliding minute (error 117).
const A_MINUTE: Duration = Duration::from_secs(60);

/// One error, wherever it stands.
struct Error {
    row: Option<usize>,
    number: i64,
    code: String,
    message: String,
}

impl Error {
    fn outcome(&self) -> Outcome {
        let message = words(&self.message);
        match self.number {
            // InternalError, concurrent changes, ApplyFailed.
            0 | 207 | 5612 => Outcome::Unavailable { after: None, message },
            117 => Outcome::Throttled { after: Some(A_MINUTE), message },
            5615 => Outcome::Retry { after: Some(NEW_GOAL), within: None, message },
            5601 => Outcome::TooLarge,
            _ if self.fault().is_some() => Outcome::Paused,
            _ => Outcome::Rejected { reason: code(&self.code), message },
        }
    }

    fn fault(&self) -> Option<Fault> {
        let kind = match self.number {
            // InvalidCredentials, no or wrong headers, token expired, user not authorised.
            105 | 106 | 109 | 116 => FaultKind::Unauthorized,
            // The account's pilot is not enabled.
            5613 => FaultKind::Misconfigured,
            _ => return None,
        };
        Some(Fault { kind, reason: code(&self.code), message: words(&self.message) })
    }

    fn is_of_all(&self) -> bool {
        !matches!(self.outcome(), Outcome::Rejected { .. })
    }
}

pub(super) fn classify(call: &Call, response: &Response, now: Timestamp) -> Answer {
    let body = json(response).filter(Value::is_object);
    let is_success = (200..300).contains(&response.status);
    match body {
        Some(body) if is_success && body.get("PartialErrors").is_some() => of_rows(call, &body),
        _ if is_success => garbled(call, response, now),
        Some(body) => of_fault(call, &body, response, now),
        None => by_status(call, response, now),
    }
}

/// `{"PartialErrors":[{"Index":1,"Code":5609,"ErrorCode":"…","Message":"…"}]}`: who is not in it
/// was taken.
fn of_rows(call: &Call, body: &Value) -> Answer {
    let mut answer = Answer::all(call, &Outcome::Delivered);
    let mut named: Vec<usize> = Vec::new();
    for error in read(body, "PartialErrors") {
        answer.fault = answer.fault.or_else(|| error.fault());
        let Some(row) = error.row else {
            // Nothing says which: nobody is taken for delivered.
            return match error.fault() {
                Some(fault) => Answer::fault(call, fault.kind, &fault.reason, &fault.message),
                None if error.is_of_all() => Answer::all(call, &error.outcome()),
                None => Answer::refused(call, &error.code, &error.message),
            };
        };
        // Of several errors of a row the first one counts.
        if !named.contains(&row)
            && let Some(place) = answer.outcomes.get_mut(row)
        {
            *place = error.outcome();
            named.push(row);
        }
    }
    answer
}

/// `AdApiFaultDetail` has `Errors`, `ApiFaultDetail` `OperationErrors` and `BatchErrors`. Nothing
/// was taken.
fn of_fault(call: &Call, body: &Value, response: &Response, now: Timestamp) -> Answer {
    let lists = ["Errors", "OperationErrors", "BatchErrors"];
    let errors: Vec<Error> = lists.iter().flat_map(|list| read(body, list)).collect();
    if let Some(fault) = errors.iter().find_map(Error::fault) {
        return Answer::fault(call, fault.kind, &fault.reason, &fault.message);
    }
    if let Some(error) = errors.iter().find(|error| error.is_of_all()) {
        return Answer::all(call, &error.outcome());
    }
    let named = errors
        .iter()
        .filter_map(|error| Some((error.row?, error.code.clone(), error.message.clone())));
    if let Some(answer) = Answer::naming(call, named, &innocent()) {
        return answer;
    }
    match errors.first().filter(|_| response.status == 400) {
        Some(error) => Answer::refused(call, &error.code, &error.message),
        None => by_status(call, response, now),
    }
}

fn read(body: &Value, list: &str) -> Vec<Error> {
    let list = body.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |error: &Value, key: &str| {
        error.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let one = |error: &Value| {
        let number = error.get("Code").and_then(Value::as_i64).unwrap_or(-1);
        let code = Some(text(error, "ErrorCode")).filter(|code| !code.is_empty());
        Error {
            row: error.get("Index").and_then(Value::as_u64).and_then(|i| usize::try_from(i).ok()),
            number,
            code: code.unwrap_or_else(|| number.to_string()),
            message: text(error, "Message"),
        }
    };
    // The list may hold a null for each row that is right.
    list.iter().filter(|error| error.is_object()).map(one).collect()
}
