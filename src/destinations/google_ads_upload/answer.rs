//! What the Google Ads API's answers mean: row by row under a 200 (`partialFailureError`), or an
//! error of the whole request (PROTO errors).

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::super::{
    Answer, Call, Fault, FaultKind, Outcome, Response,
    answer::{by_status, code, garbled, innocent, json, retry_after, words},
    google,
};

/// A click must be six hours old before its conversion is taken, and so a conversion before it is
/// adjusted (DOC).
const TOO_RECENT: Duration = Duration::from_secs(6 * 60 * 60);

/// So long a conversion may be on its way before it can be adjusted (sheet, B3 and B4;
/// DOC/upload-adjustments).
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where a minute's quota names no delay.
const A_MINUTE: Duration = Duration::from_secs(60);

/// A day's quota comes back by the hour.
const AN_HOUR: Duration = Duration::from_secs(60 * 60);

/// What an error's code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// It is there already.
    Known,
    /// Too early.
    Later,
    /// What it adjusts is not known, or not yet.
    NotThereYet,
    Transient,
    Throttled(Duration),
    TooLarge,
    Unauthorized,
    Misconfigured,
    Refused,
}

/// By the error's name; the enumerations' names do not overlap where it matters (PROTO errors).
fn class(code: &str) -> Class {
    match code {
        "CLICK_CONVERSION_ALREADY_EXISTS"
        | "ORDER_ID_ALREADY_IN_USE"
        | "CONVERSION_ALREADY_ENHANCED"
        | "CONVERSION_ALREADY_RETRACTED"
        | "RESTATEMENT_ALREADY_EXISTS" => Class::Known,
        _ if code.starts_with("DUPLICATE_") => Class::Known,
        "TOO_RECENT_EVENT"
        | "TOO_RECENT_CONVERSION_ACTION"
        | "TOO_RECENT_CALL"
        | "TOO_RECENT_CONVERSION" => Class::Later,
        "CONVERSION_NOT_FOUND" => Class::NotThereYet,
        "TRANSIENT_ERROR" | "INTERNAL_ERROR" | "CONCURRENT_MODIFICATION" => Class::Transient,
        "RESOURCE_TEMPORARILY_EXHAUSTED" => Class::Throttled(A_MINUTE),
        "RESOURCE_EXHAUSTED" => Class::Throttled(AN_HOUR),
        "TOO_MANY_CONVERSIONS_IN_REQUEST" | "TOO_MANY_ADJUSTMENTS_IN_REQUEST" => Class::TooLarge,
        "OAUTH_TOKEN_INVALID"
        | "OAUTH_TOKEN_EXPIRED"
        | "OAUTH_TOKEN_REVOKED"
        | "OAUTH_TOKEN_DISABLED"
        | "OAUTH_TOKEN_HEADER_INVALID"
        | "GOOGLE_ACCOUNT_COOKIE_INVALID"
        | "CUSTOMER_NOT_FOUND"
        | "NOT_ADS_USER"
        | "TWO_STEP_VERIFICATION_NOT_ENROLLED"
        | "USER_PERMISSION_DENIED"
        | "CLOUD_PROJECT_NOT_APPROVED_FOR_PRODUCTION"
        | "CUSTOMER_NOT_ENABLED" => Class::Unauthorized,
        "NO_CONVERSION_ACTION_FOUND"
        | "INVALID_CONVERSION_ACTION"
        | "INVALID_CONVERSION_ACTION_TYPE"
        | "UNAUTHORIZED_CUSTOMER"
        | "CUSTOMER_NOT_ACCEPTED_CUSTOMER_DATA_TERMS"
        | "CUSTOMER_NOT_ENABLED_ENHANCED_CONVERSIONS_FOR_LEADS"
        | "CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE"
        | "CONVERSION_ACTION_NOT_ELIGIBLE_FOR_ENHANCEMENT"
        | "UNSUPPORTED_VERSION" => Class::Misconfigured,
        _ if code.starts_with("CUSTOMER_DATA_POLICY_PROHIBITS_") => Class::Misconfigured,
        _ => Class::Refused,
    }
}

/// One error of a failure.
struct Error<'a> {
    code: &'a str,
    message: &'a str,
    /// Of the row; `Some(None)`: a row, but its number was left out, as a zero may be.
    row: Option<Option<usize>>,
    /// How long a quota wants to be left alone.
    delay: Option<Duration>,
}

impl Error<'_> {
    fn outcome(&self) -> Outcome {
        let (message, after) = (words(self.message), self.delay);
        match class(self.code) {
            Class::Known => Outcome::Delivered,
            Class::Later => Outcome::Retry { after: Some(TOO_RECENT), within: None, message },
            Class::NotThereYet => {
                Outcome::Retry { after: Some(TOO_RECENT), within: Some(A_DAY), message }
            }
            Class::Transient => Outcome::Unavailable { after, message },
            Class::Throttled(least) => {
                Outcome::Throttled { after: Some(after.unwrap_or(least)), message }
            }
            Class::TooLarge => Outcome::TooLarge,
            Class::Unauthorized | Class::Misconfigured => Outcome::Paused,
            Class::Refused => Outcome::Rejected { reason: code(self.code), message },
        }
    }

    fn fault(&self) -> Option<Fault> {
        let kind = match class(self.code) {
            Class::Unauthorized => FaultKind::Unauthorized,
            Class::Misconfigured => FaultKind::Misconfigured,
            Class::Known
            | Class::Later
            | Class::NotThereYet
            | Class::Transient
            | Class::Throttled(_)
            | Class::TooLarge
            | Class::Refused => return None,
        };
        Some(Fault { kind, reason: code(self.code), message: words(self.message) })
    }
}

pub(super) fn classify(call: &Call, response: &Response, now: Timestamp) -> Answer {
    let body = json(response).filter(Value::is_object);
    let is_success = (200..300).contains(&response.status);
    match body {
        Some(body) if is_success => of_rows(call, &body, response, now),
        Some(body) if body.get("error").is_some_and(Value::is_object) => {
            of_request(call, &body, response, now)
        }
        _ if is_success => garbled(call, response, now),
        _ => by_status(call, response, now),
    }
}

/// `{"results":[{…},{}],"partialFailureError":{…}}`: an empty result is a row that failed. Of a
/// validated call there are no results.
fn of_rows(call: &Call, body: &Value, response: &Response, now: Timestamp) -> Answer {
    let results = list(body, "results");
    let failed_rows: Vec<usize> = (0..call.members.len())
        .filter(|row| results.get(*row).and_then(Value::as_object).is_some_and(|r| r.is_empty()))
        .collect();
    let failure = body.get("partialFailureError").filter(|failure| failure.is_object());
    let Some(failure) = failure else {
        let is_ours = results.len() >= call.members.len() || is_validated(call);
        // Something else answered, or rows are missing that nobody speaks of.
        return if is_ours && failed_rows.is_empty() {
            Answer::all(call, &Outcome::Delivered)
        } else {
            garbled(call, response, now)
        };
    };
    let errors = errors(failure);
    let mut answer = Answer::all(call, &Outcome::Delivered);
    for row in &failed_rows {
        let message = words(text(failure, "message"));
        if let Some(place) = answer.outcomes.get_mut(*row) {
            *place = Outcome::Retry { after: None, within: None, message };
        }
    }
    let mut named: Vec<usize> = Vec::new();
    for error in &errors {
        answer.fault = answer.fault.or_else(|| error.fault());
        let unnamed = || failed_rows.iter().find(|row| !named.contains(row)).copied().unwrap_or(0);
        let Some(row) = error.row.map(|row| row.unwrap_or_else(unnamed)) else { continue };
        // Of several errors of a row the first one counts.
        if !named.contains(&row)
            && let Some(place) = answer.outcomes.get_mut(row)
        {
            *place = error.outcome();
            named.push(row);
        }
    }
    if named.is_empty() && failed_rows.is_empty() && !call.members.is_empty() {
        // A failure that names no row, with no results to tell by.
        return answer.fault.take().map_or_else(
            || {
                let reason = errors.first().map_or("partialFailureError", |error| error.code);
                Answer::refused(call, reason, text(failure, "message"))
            },
            |fault| Answer::fault(call, fault.kind, &fault.reason, &fault.message),
        );
    }
    answer
}

fn is_validated(call: &Call) -> bool {
    call.body.ends_with(b"\"validateOnly\":true}")
}

/// Nothing of the request was taken.
fn of_request(call: &Call, body: &Value, response: &Response, now: Timestamp) -> Answer {
    let error = body.get("error").unwrap_or(body);
    let (status, message) = (text(error, "status"), text(error, "message"));
    let errors = errors(error);
    if let Some(fault) = errors.iter().find_map(Error::fault) {
        return Answer::fault(call, fault.kind, &fault.reason, &fault.message);
    }
    let is_of_all =
        |error: &&Error<'_>| !matches!(class(error.code), Class::Refused | Class::Known);
    if let Some(error) = errors.iter().find(is_of_all) {
        return Answer::all(call, &error.outcome());
    }
    let named = errors.iter().filter_map(|error| {
        Some((error.row?.unwrap_or(0), error.code.to_owned(), error.message.to_owned()))
    });
    if let Some(answer) = Answer::naming(call, named, &innocent()) {
        return answer;
    }
    let after = retry_after(response, now);
    let said = words(message);
    match status {
        "RESOURCE_EXHAUSTED" => {
            let after = Some(after.unwrap_or(A_MINUTE));
            Answer::all(call, &Outcome::Throttled { after, message: said })
        }
        "UNAVAILABLE" | "DEADLINE_EXCEEDED" | "INTERNAL" | "ABORTED" | "CANCELLED" => {
            Answer::all(call, &Outcome::Unavailable { after, message: said })
        }
        "UNAUTHENTICATED" | "PERMISSION_DENIED" => {
            Answer::fault(call, FaultKind::Unauthorized, status, message)
        }
        "NOT_FOUND" | "UNIMPLEMENTED" => {
            Answer::fault(call, FaultKind::Misconfigured, status, message)
        }
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" => {
            let reason = errors.first().map_or(status, |error| error.code);
            Answer::refused(call, reason, message)
        }
        _ => by_status(call, response, now),
    }
}

/// The errors of the `GoogleAdsFailure`s among a status's details.
fn errors(status: &Value) -> Vec<Error<'_>> {
    list(status, "details").iter().flat_map(|detail| list(detail, "errors")).map(read).collect()
}

fn read(error: &Value) -> Error<'_> {
    let code = error.get("errorCode").and_then(Value::as_object);
    let code = code.and_then(|codes| codes.values().find_map(Value::as_str)).unwrap_or_default();
    let path = error.get("location").map(|at| list(at, "fieldPathElements")).unwrap_or_default();
    let rows = ["conversions", "conversion_adjustments", "conversionAdjustments"];
    let row = path.iter().find(|element| rows.contains(&text(element, "fieldName")));
    let row = row.map(|element| {
        element.get("index").and_then(Value::as_u64).and_then(|i| usize::try_from(i).ok())
    });
    let delay = error.pointer("/details/quotaErrorDetails/retryDelay").and_then(Value::as_str);
    let delay = delay.and_then(google::seconds);
    Error { code, message: text(error, "message"), row, delay }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
