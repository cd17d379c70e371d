//! Quora Conversion API: up to 1,000 events of one ad account a request, each with an answer of its
//! own inside HTTP 200.
//!
//! Quora takes identity only in clear, so that none is sent: it gets the click id and the value,
//! and nothing else of a person.
//!
//! Pages are those of the sheet, checked 2026-11-22; `DOC` stands for
//! <https://www.quora.com/ads/conversion_api_doc>.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{
    Answer, ApiVersion, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup,
    Destination, FaultKind, Key, KeyKind, Occasion, Outcome, Platform, Preparation, Problem, Quota,
    Refusal, Response, Settings, Take,
    answer::{by_status, garbled, json, retry_after, words},
    prepare::{Recipe, check_currency, prepare, taken, unsupported},
    settings::{Names, days},
    wire::{self, Frame, Object},
};
use crate::{
    consent::{Permit, Purpose, Purposes},
    event::{Currency, Field, FieldSet},
    identity::Rule,
    job::{Prepared, Skip, SkipCode},
};

/// The only one there is (DOC).
const VERSION: &str = "v0";

/// DOC; how large a body may be is not said.
const BATCH: BatchLimits = BatchLimits { events: 1_000, bytes: 1_000_000 };

/// Not documented; a click is credited for at most 30 days.
const MAX_AGE: Duration = days(30);

/// DOC, `event_name`. There are no names of one's own; `Generic` stands for whatever else.
#[rustfmt::skip]
const NAMES: &[&str] = &[
    "Generic", "AppInstall", "Purchase", "GenerateLead", "CompleteRegistration", "AddPaymentInfo",
    "AddToCart", "AddToWishlist", "InitiateCheckout", "Search",
];

const TAKES: &[Take] = &[Take::clear(Field::Qclid, Rule::Verbatim)];

const FIELDS: FieldSet = taken(TAKES, &[Field::Value, Field::Currency]);

/// What Quora is.
pub(super) static PLATFORM: Platform = Platform {
    name: "quora",
    title: "Quora Conversion API",
    also_called: &["Quora Conversions", "Quora Pixel"],
    docs: "https://www.quora.com/ads/conversion_api_doc",
    api: Some(ApiVersion { version: VERSION, ends: None }),
    endpoint: "https://api.quora.com",
    token_endpoint: "",
    batch: BATCH,
    oldest: |_| MAX_AGE,
    // Not documented: a modest one.
    quota: Quota { requests_per_second: 10, burst: 20, requests_per_day: None },
    // By `event_id`, as the pixel's copy is (DOC).
    dedup: Dedup::EventId,
    browser_dedup: BrowserDedup::EventId,
    takes: TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        personalization_flag: false,
        restricted_in: &[],
        can_restrict: |_, _, _| false,
        required: FieldSet::EMPTY,
        default_fields: |_| FieldSet::of(&[Field::Qclid]),
        takes: FIELDS,
        with_ad_user_data: FieldSet::EMPTY,
    },
    // Not on the Global Vendor List.
    tcf_vendor_id: None,
    ac_provider_id: None,
    keys: &[
        Key::new("account_id", KeyKind::Recipient, "the ad account's number"),
        Key::new("access_token", KeyKind::Secret, "the conversion API's token of Ads Manager"),
        Key::new("currency", KeyKind::Text, "the ad account's, in which Quora reads every value"),
        Key::new("max_age_days", KeyKind::Number, "the oldest event, in days; default 30"),
    ],
    entry_keys: &[Key::new("name", KeyKind::Text, "the event name at Quora")],
    has_test_mode: false,
    contract: include_str!("../sandbox/contracts/quora.json"),
    configure,
};

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let account = settings.required_text("account_id", &mut problems).parse::<u64>();
    // Quora wants an integer: a text refuses the whole request.
    if account.is_err() && settings.text("account_id").is_some_and(|id| !id.is_empty()) {
        problems.push(Problem::new("account_id", "must be the ad account's number"));
    }
    let token = settings.required_secret("access_token", &mut problems);
    let code = settings.required_text("currency", &mut problems);
    let currency = Currency::parse(&code);
    if currency.is_none() && !code.is_empty() {
        problems.push(Problem::new("currency", "must be an ISO 4217 code, such as USD"));
    }
    let max_age = settings.days("max_age_days", MAX_AGE, &mut problems);
    let names = settings.entry_names(standard, refuse, &mut problems);
    let (Ok(account), Some(currency), true) = (account, currency, problems.is_empty()) else {
        return Err(problems);
    };
    let base = settings.endpoint.trim_end_matches('/');
    Ok(Box::new(Quora {
        url: format!("{base}/ads/{VERSION}/conversions"),
        account,
        token,
        currency,
        max_age,
        names,
    }))
}

/// The name of an event: the same words, or those of the usual analytics vocabulary.
fn standard(event: &str) -> Option<String> {
    let known = match event {
        "generic" => return None,
        "order_completed" => "Purchase",
        "lead" => "GenerateLead",
        "sign_up" | "signed_up" => "CompleteRegistration",
        "product_added" => "AddToCart",
        "begin_checkout" | "checkout_started" => "InitiateCheckout",
        "view_search_results" => "Search",
        "first_open" => "AppInstall",
        _ => {
            let bare = event.replace('_', "");
            NAMES.iter().find(|name| name.eq_ignore_ascii_case(&bare))?
        }
    };
    Some(known.to_owned())
}

fn refuse(name: &str) -> Option<String> {
    if name.is_empty() || NAMES.contains(&name) {
        return None;
    }
    Some(format!("must be one of {}; for any other event write \"Generic\"", NAMES.join(", ")))
}

#[derive(Debug)]
struct Quora {
    url: String,
    account: u64,
    token: SecretString,
    currency: Currency,
    max_age: Duration,
    names: Names,
}

impl Destination for Quora {
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal> {
        if self.names.get(occasion.plan_event, occasion.entry).is_none() {
            return Err(Refusal::Skip(Skip::new(SkipCode::NotMapped, "no entry for this event")));
        }
        if occasion.event.adjusts.is_some() {
            return Err(unsupported("Quora takes no adjustment of a conversion"));
        }
        let recipe = Recipe { takes: TAKES, fields: FIELDS, oldest: self.max_age };
        let preparation = prepare(&recipe, occasion, permit, now)?;
        if !preparation.prepared.has(Field::Qclid) {
            let message = "no click_ids.qclid; Quora takes identity only in clear, so that none is \
                           sent";
            return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
        }
        let wanted = format!("only {}, the account's currency", self.currency);
        check_currency(occasion, |currency| self.takes_currency(currency), &wanted)?;
        Ok(preparation)
    }

    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call> {
        let events = jobs.iter().enumerate().filter_map(|(index, job)| {
            let name = self.names.get(&job.event, job.entry)?;
            Some((index, self.event(job, name, now).json()))
        });
        let frame = format!("{{\"account_id\":{},\"data\":[]}}", self.account).len();
        wire::batches(events, BATCH, Frame::UpTo(frame))
            .into_iter()
            .map(|batch| self.call(CallPurpose::Send, &batch.text, batch.members))
            .collect()
    }

    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        let (status, after) = (response.status, retry_after(response, now));
        let message = words(&format!("HTTP {status} {}", String::from_utf8_lossy(&response.body)));
        let reason = format!("http_{status}");
        match status {
            200..=299 if call.purpose == CallPurpose::Probe => {
                Answer::all(call, &Outcome::Delivered)
            }
            // HTTP 200 also for events that are refused (DOC).
            200..=299 => json(response)
                .and_then(|body| of_events(call, &body))
                .unwrap_or_else(|| garbled(call, response, now)),
            401 | 403 => Answer::fault(call, FaultKind::Unauthorized, &reason, &message),
            // Past the token, an empty request is as good as refused.
            400..=499 if call.purpose == CallPurpose::Probe && status != 429 => {
                Answer::all(call, &Outcome::Delivered)
            }
            408 | 423 => Answer::all(call, &Outcome::Unavailable { after, message }),
            413 | 429 => by_status(call, response, now),
            400..=499 => Answer::refused(call, &reason, &message),
            _ => by_status(call, response, now),
        }
    }

    fn auth(&self) -> Auth {
        Auth::Bearer(self.token.clone())
    }

    fn takes_currency(&self, currency: Currency) -> bool {
        currency == self.currency
    }

    fn is_deduplicated(&self, _: &Prepared) -> bool {
        true
    }

    /// No events: the token is looked at before Quora misses them.
    fn probe(&self, _: Timestamp) -> Option<Call> {
        Some(self.call(CallPurpose::Probe, "", Vec::new()))
    }
}

impl Quora {
    fn call(&self, purpose: CallPurpose, events: &str, members: Vec<usize>) -> Call {
        Call {
            purpose,
            method: "POST",
            url: self.url.clone(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: format!("{{\"account_id\":{},\"data\":[{events}]}}", self.account).into_bytes(),
            members,
        }
    }

    /// DOC. The groups of identity and device stay empty.
    fn event(&self, job: &Prepared, name: &str, now: Timestamp) -> Object {
        // There is no field for the currency: another than the account's would be read as it.
        let value = job.value.filter(|value| value.currency == self.currency);
        let conversion = Object::default()
            .with("event_name", name)
            // Microseconds, and not in the future.
            .with("timestamp", job.time.min(now).as_microsecond())
            .maybe("click_id", job.clear(Field::Qclid))
            .maybe("value", value.map(|value| wire::number(value.amount)))
            .with("event_id", job.event_id.as_str());
        Object::default()
            .object("conversion", conversion)
            .with("user", json!({}))
            .with("device", json!({}))
    }
}

/// `{"events_received","events_errored","events":[{"status":"OK","index","error_code",
/// "error_message"}]}`; without an index in the order sent.
fn of_events(call: &Call, body: &Value) -> Option<Answer> {
    let count = |key: &str| body.get(key).and_then(Value::as_u64);
    let errored = count("events_errored");
    let events = body.get("events").and_then(Value::as_array);
    if events.is_none() && errored.is_none() {
        return None;
    }
    let mut named = Vec::new();
    for (position, event) in events.into_iter().flatten().enumerate() {
        let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
        if text("status").eq_ignore_ascii_case("ok") {
            continue;
        }
        let index = match event.get("index") {
            Some(index) => index.as_u64().and_then(|index| usize::try_from(index).ok()),
            None => Some(position),
        };
        let code = match event.get("error_code") {
            Some(Value::String(code)) => code.clone(),
            Some(Value::Number(code)) => code.to_string(),
            _ => "error".to_owned(),
        };
        named.extend(index.map(|index| (index, code, text("error_message").to_owned())));
    }
    let members = call.members.len();
    let told: BTreeSet<usize> =
        named.iter().map(|(index, ..)| *index).filter(|index| *index < members).collect();
    if errored.is_some_and(|errored| errored > u64::try_from(told.len()).unwrap_or(u64::MAX)) {
        // More failed than are named. What was taken is recognised when it is sent again.
        let message = format!("Quora refused {} of {members} events", errored.unwrap_or_default());
        return Some(Answer::refused(call, "events_errored", &message));
    }
    Answer::naming(call, named, &Outcome::Delivered)
        .or_else(|| Some(Answer::all(call, &Outcome::Delivered)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::destinations::{
        Entry, Mode,
        answer::table::{classified, response},
    };

    fn settings(table: &str, entries: &[(&str, Entry)]) -> Settings {
        let token = SecretString::from("quora-token".to_owned());
        Settings {
            name: "quora".to_owned(),
            table: table.parse().unwrap(),
            secrets: BTreeMap::from([("access_token".to_owned(), token)]),
            endpoint: PLATFORM.endpoint.to_owned(),
            token_endpoint: String::new(),
            mode: Mode::Live,
            entries: entries.iter().map(|(e, n)| ((*e).to_owned(), vec![n.clone()])).collect(),
        }
    }

    const TABLE: &str = "account_id = 123456\ncurrency = \"USD\"";

    #[test]
    fn every_answer_means_what_its_page_says() {
        let destination = configure(&settings(TABLE, &[])).unwrap();
        let answer = |errored: u64, events: Value| {
            json!({"events_received": 3, "events_errored": errored, "events": events}).to_string()
        };
        let ok = json!({"status": "OK"});
        let bad = |index: u64| json!({"status": "ERROR", "index": index, "error_code": 4, "error_message": "no"});
        let all = answer(0, json!([ok, ok, ok]));
        let one = answer(1, json!([ok, {"status": "ERROR", "error_code": "BAD"}, ok]));
        let by_index = answer(2, json!([bad(2), bad(0)]));
        let hidden = answer(2, json!([bad(2)]));
        let beyond = answer(1, json!([bad(7)]));
        for (status, body, told) in [
            (200, all.as_str(), "ddd"),
            (200, one.as_str(), "drd BAD"),
            (200, by_index.as_str(), "rdr 4"),
            (200, hidden.as_str(), "ccc events_errored"),
            (200, beyond.as_str(), "ccc events_errored"),
            (200, r#"{"events_received":3,"events_errored":0}"#, "ddd"),
            (200, "<html>", "uuu"),
            (200, "", "uuu"),
            (400, "no", "ccc http_400"),
            (401, "", "ppp Unauthorized http_401"),
            (403, "", "ppp Unauthorized http_403"),
            (404, "", "ccc http_404"),
            (408, "", "uuu"),
            (413, "", "lll"),
            (423, "", "uuu"),
            (429, "", "ttt"),
            (500, "", "uuu"),
        ] {
            assert_eq!(classified(&*destination, 3, status, body), told, "{status} {body}");
        }
        assert_eq!(classified(&*destination, 1, 422, "no"), "r http_422");
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let problems = |table: &str, entries: &[(&str, Entry)]| -> Vec<String> {
            let problems = configure(&settings(table, entries)).err().unwrap_or_default();
            problems.into_iter().map(|problem| problem.path).collect()
        };
        let entries = [
            ("odd", Entry::Standard),
            ("own", Entry::Name("StoreVisit".to_owned())),
            ("purchase", Entry::Standard),
        ];
        assert_eq!(problems("", &[]), ["account_id", "currency"]);
        assert_eq!(
            problems("account_id = \"a-1\"\ncurrency = \"bucks\"\nmax_age_days = 0", &entries),
            ["account_id", "currency", "max_age_days", "events.odd", "events.own"]
        );
        assert!(problems(TABLE, &entries[2..]).is_empty());
    }

    #[test]
    fn standard_names_come_from_the_usual_vocabulary() {
        for (event, name) in [
            ("purchase", "Purchase"),
            ("generate_lead", "GenerateLead"),
            ("sign_up", "CompleteRegistration"),
            ("begin_checkout", "InitiateCheckout"),
            ("add_to_wishlist", "AddToWishlist"),
            ("app_install", "AppInstall"),
        ] {
            assert_eq!(standard(event).as_deref(), Some(name));
        }
        assert_eq!(standard("generic"), None, "it is said in the configuration");
        assert_eq!(standard("scroll"), None);
    }

    #[test]
    fn a_probe_sends_no_event() {
        let destination = configure(&settings(TABLE, &[])).unwrap();
        let call = destination.probe(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(call.body, b"{\"account_id\":123456,\"data\":[]}");
        let fault = |status| {
            let answer = response(status, "no");
            destination.classify(&call, &answer, Timestamp::UNIX_EPOCH).fault.map(|f| f.kind)
        };
        assert_eq!(fault(400), None);
        assert_eq!(fault(401), Some(FaultKind::Unauthorized));
    }
}
