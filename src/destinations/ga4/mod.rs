//! GA4 Measurement Protocol: up to 25 events of one client a request, always answered with 2xx, so
//! that everything is checked here.
//!
//! Pages are those of the sheet, checked 2026-11-22; `DOC` stands for
//! <https://developers.google.com/analytics/devguides/collection/protocol/ga4>.

mod body;
mod names;

use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::Value;

use super::{
    Answer, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup, Destination,
    Key, KeyKind, Mode, Occasion, Outcome, Platform, Preparation, Problem, Quota, Refusal,
    Response, Settings, Take,
    answer::{by_status, code, garbled, json, refused_by_status, words},
    google::check_order,
    prepare::{Recipe, cut_items, may_be_in_eea_uk_ch, missing, prepare, taken, unsupported},
    settings::Names,
    wire::{self, Frame, Object},
};
use crate::{
    consent::{Grant, Permit, Purpose, Purposes, ReasonCode},
    event::{ActionSource, AdjustmentKind, Field, FieldSet},
    identity::Rule,
    job::{Prepared, Sent, Skip, SkipCode},
};

/// DOC/reference and DOC/sending-events.
const BATCH: BatchLimits = BatchLimits { events: 25, bytes: 130_000 };

/// How far back an event may be dated (DOC/sending-events).
const OLDEST: Duration = Duration::from_secs(72 * 60 * 60);

/// The longest value of a parameter, and so of a transaction id.
const LONGEST_VALUE: usize = 100;

/// Items an event (DOC/reference).
const ITEMS: usize = 200;

const FROM_APP: &[ActionSource] = &[ActionSource::App];

/// <https://developers.google.com/analytics/devguides/collection/ga4/uid-data>; DOC/reference.
const TAKES: &[Take] = &[
    Take::hashed(Field::Email, Rule::EmailGoogleKeepSuffix).at_most(3),
    Take::hashed(Field::Phone, Rule::PhoneE164).at_most(3),
    Take::hashed(Field::FirstName, Rule::NameGa4).at_most(1),
    Take::hashed(Field::LastName, Rule::NameGa4).at_most(1),
    Take::hashed(Field::Street, Rule::StreetGa4).at_most(1),
    Take::clear(Field::City, Rule::PlaceGa4),
    Take::clear(Field::Region, Rule::PlaceGa4),
    Take::clear(Field::PostalCode, Rule::PostalGa4),
    Take::clear(Field::Country, Rule::CountryUpper),
    Take::clear(Field::ExternalId, Rule::ExternalId),
    Take::clear(Field::Ip, Rule::Verbatim),
    Take::clear(Field::UserAgent, Rule::Verbatim),
    Take::clear(Field::PageUrl, Rule::Verbatim),
    Take::clear(Field::Referrer, Rule::Verbatim),
    Take::clear(Field::Locale, Rule::Verbatim),
    Take::clear(Field::DeviceType, Rule::Verbatim),
    Take::clear(Field::AppOs, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::AppOsVersion, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::AppDeviceModel, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::GaClientId, Rule::Verbatim),
    Take::clear(Field::GaSessionId, Rule::Verbatim),
    Take::clear(Field::GaAppInstanceId, Rule::Lower),
    Take::clear(Field::OrderId, Rule::Verbatim),
    Take::clear(Field::Coupon, Rule::Verbatim),
    Take::clear(Field::SearchTerm, Rule::Verbatim),
    Take::clear(Field::CustomerType, Rule::Lower),
];

const FIELDS: FieldSet = taken(
    TAKES,
    &[
        Field::Value,
        Field::Currency,
        Field::Tax,
        Field::Shipping,
        Field::Items,
        Field::ItemNames,
        Field::OtherProperties,
    ],
);

/// What goes into `user_data`, which is for advertising: not without `ad_user_data` (sheet, section
/// 11).
const USER_DATA: FieldSet = FieldSet::of(&[Field::Email, Field::Phone]).union(ADDRESS);
const ADDRESS: FieldSet = FieldSet::of(&[
    Field::FirstName,
    Field::LastName,
    Field::Street,
    Field::City,
    Field::Region,
    Field::PostalCode,
    Field::Country,
]);

/// What GA4 is.
pub(super) static PLATFORM: Platform = Platform {
    name: "ga4",
    title: "GA4 Measurement Protocol",
    also_called: &[
        "Google Analytics 4",
        "Google Analytics 4 Cloud",
        "Google Analytics 4 Web",
        "Google Analytics 4 (GA4)",
        "GA4 V2",
    ],
    docs: "https://developers.google.com/analytics/devguides/collection/protocol/ga4",
    api: None,
    endpoint: "https://www.google-analytics.com",
    token_endpoint: "",
    batch: BATCH,
    oldest: |_| OLDEST,
    // Undocumented, and a request holds one client's events: a generous one.
    quota: Quota::new(500, 1_000),
    dedup: Dedup::Partly,
    browser_dedup: BrowserDedup::TransactionId,
    takes: TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AnalyticsStorage]),
        personalization_flag: true,
        restricted_in: &[],
        can_restrict: |_, _, _| false,
        // The client's own ids; items, without which there is no purchase.
        required: FieldSet::of(&[Field::Items]),
        default_fields: |_| {
            FieldSet::of(&[
                Field::GaClientId,
                Field::GaSessionId,
                Field::GaAppInstanceId,
                Field::Items,
            ])
        },
        takes: FIELDS,
        with_ad_user_data: USER_DATA,
    },
    tcf_vendor_id: Some(755),
    ac_provider_id: None,
    keys: &[
        Key::new("measurement_id", KeyKind::Recipient, "the web stream, such as G-XXXXXXX"),
        Key::new(
            "firebase_app_id",
            KeyKind::Recipient,
            "the app stream, instead of the web stream",
        ),
        Key::new("api_secret", KeyKind::Secret, "made under Data streams, Measurement Protocol"),
    ],
    entry_keys: &[Key::new("name", KeyKind::Text, "the event name in GA4")],
    has_test_mode: true,
    contract: include_str!("../../sandbox/contracts/ga4.json"),
    configure,
};

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let web = settings.text("measurement_id").filter(|id| !id.is_empty());
    let app = settings.text("firebase_app_id").filter(|id| !id.is_empty());
    let stream = match (web, app) {
        (Some(id), None) => {
            if !id.starts_with("G-") {
                let message = "must be a web stream's measurement id, such as G-XXXXXXX";
                problems.push(Problem::new("measurement_id", message));
            }
            Stream::Web(id)
        }
        (None, Some(id)) => Stream::App(id),
        (Some(_), Some(_)) => {
            let message = "a destination has one stream: measurement_id or firebase_app_id";
            problems.push(Problem::new("firebase_app_id", message));
            Stream::Web(String::new())
        }
        (None, None) => {
            let message = "is missing; a web stream has a measurement_id, an app a firebase_app_id";
            problems.push(Problem::new("measurement_id", message));
            Stream::Web(String::new())
        }
    };
    let api_secret = settings.required_secret("api_secret", &mut problems);
    let names = settings.entry_names(names::standard, names::refuse, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Box::new(Ga4 {
        base: settings.endpoint.trim_end_matches('/').to_owned(),
        stream,
        api_secret,
        always_test: settings.mode == Mode::Test,
        names,
    }))
}

#[derive(Debug)]
struct Ga4 {
    base: String,
    stream: Stream,
    api_secret: SecretString,
    always_test: bool,
    names: Names,
}

#[derive(Debug)]
enum Stream {
    Web(String),
    App(String),
}

impl Destination for Ga4 {
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal> {
        let Some(name) = self.names.get(occasion.plan_event, occasion.entry) else {
            return Err(Refusal::Skip(Skip::new(SkipCode::NotMapped, "no entry for this event")));
        };
        // The protocol has no field for it: what may not be stored is not sent (sheet, section 11).
        if permit.grants.analytics_storage == Grant::Denied {
            let message = "analytics_storage is denied, and the protocol cannot say so";
            return Err(Refusal::Held(ReasonCode::NoConsent, message.to_owned()));
        }
        let recipe = Recipe { takes: TAKES, fields: FIELDS, oldest: OLDEST };
        let mut preparation = prepare(&recipe, occasion, permit, now)?;
        cut_items(&mut preparation, ITEMS, |item| item.id.is_some() || item.name.is_some());
        let prepared = &mut preparation.prepared;
        if may_be_in_eea_uk_ch(&prepared.consent.region) {
            // Google takes no address of people there, whatever the rules say.
            prepared.texts.retain(|(field, _)| *field != Field::Ip);
        }
        // An address without a name matches nobody.
        if !(prepared.has(Field::FirstName) && prepared.has(Field::LastName)) {
            prepared.texts.retain(|(field, _)| !ADDRESS.contains(*field));
        }
        self.settle_client(prepared)?;
        check(prepared, name, occasion)?;
        Ok(preparation)
    }

    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call> {
        let test = self.always_test || jobs.iter().any(|job| job.test);
        let limits = BatchLimits { events: if test { 1 } else { BATCH.events }, ..BATCH };
        let envelopes = jobs
            .iter()
            .enumerate()
            .filter(|(_, job)| self.names.get(&job.event, job.entry).is_some())
            .map(|(index, job)| (index, body::envelope(job, test).json()));
        let mut calls = Vec::new();
        for (envelope, indices) in wire::partition(envelopes) {
            // The envelope with the events put in before its closing brace.
            let head = envelope.strip_suffix('}').unwrap_or(&envelope);
            let comma = if head.len() > 1 { "," } else { "" };
            let head = format!("{head}{comma}\"events\":[");
            let events = indices.iter().filter_map(|index| {
                let job = jobs.get(*index)?;
                let name = self.names.get(&job.event, job.entry)?;
                Some((*index, body::event(job, name, now).json()))
            });
            for batch in wire::batches(events, limits, Frame::Known(&head, "]}")) {
                calls.push(self.call(batch.text.into_bytes(), batch.members, test));
            }
        }
        calls
    }

    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        if call.url.contains("/debug/mp/collect") && (200..300).contains(&response.status) {
            return of_validation(call, response, now);
        }
        match response.status {
            // No other refusal gets better (sheet, section 9).
            400..=499 if !matches!(response.status, 407 | 408 | 413 | 425 | 429) => {
                refused_by_status(call, response)
            }
            // Any 2xx, whatever the body: a wrong secret is answered the same (sheet, section 9).
            _ => by_status(call, response, now),
        }
    }

    fn auth(&self) -> Auth {
        Auth::Query { name: "api_secret", value: self.api_secret.clone() }
    }

    fn cautions(&self) -> Vec<Problem> {
        let caution = |(event, name): (&str, &str)| {
            names::caution(name).map(|words| Problem::new(format!("events.{event}"), words))
        };
        self.names.iter().filter_map(caution).collect()
    }

    /// Purchases and refunds only, by their transaction id (sheet, section 8).
    fn is_deduplicated(&self, job: &Prepared) -> bool {
        self.names.get(&job.event, job.entry).is_some_and(names::has_transaction)
    }
}

impl Ga4 {
    fn call(&self, body: Vec<u8>, members: Vec<usize>, test: bool) -> Call {
        let path = if test { "/debug/mp/collect" } else { "/mp/collect" };
        let (key, id) = match &self.stream {
            Stream::Web(id) => ("measurement_id", id),
            Stream::App(id) => ("firebase_app_id", id),
        };
        let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
        Call {
            purpose: CallPurpose::Send,
            method: "POST",
            url: format!("{}{path}?{key}={id}", self.base),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body,
            members,
        }
    }

    /// Whose event it is: never a made-up id, which would count as a new user (DOC/reference).
    fn settle_client(&self, prepared: &mut Prepared) -> Result<(), Refusal> {
        let replace = |prepared: &mut Prepared, field: Field, text: Option<String>| {
            prepared.texts.retain(|(f, _)| *f != field);
            prepared.texts.extend(text.map(|text| (field, Sent::Clear(text))));
        };
        let session = prepared.clear(Field::GaSessionId).and_then(session_id);
        replace(prepared, Field::GaSessionId, session);
        match self.stream {
            Stream::Web(_) => {
                let client = prepared.clear(Field::GaClientId).map(client_id);
                replace(prepared, Field::GaClientId, client);
                replace(prepared, Field::GaAppInstanceId, None);
                if !prepared.has(Field::GaClientId) {
                    return Err(missing("click_ids.ga_client_id, which a web stream needs,"));
                }
            }
            Stream::App(_) => {
                replace(prepared, Field::GaClientId, None);
                let is_instance =
                    |id: &&str| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
                if prepared.clear(Field::GaAppInstanceId).filter(is_instance).is_none() {
                    let what = "click_ids.ga_app_instance_id (32 hex digits), which an app needs,";
                    return Err(missing(what));
                }
            }
        }
        Ok(())
    }
}

/// `GA1.1.A.B` as in the cookie, or `A.B`.
fn client_id(text: &str) -> String {
    match text.strip_prefix("GA1.") {
        Some(rest) => rest.split_once('.').map_or(rest, |(_, id)| id).to_owned(),
        None => text.to_owned(),
    }
}

/// The digits, also out of the cookie's `GS1.1.<id>.…` and `GS2.1.s<id>$o…`.
fn session_id(text: &str) -> Option<String> {
    let id = if text.starts_with("GS1.") {
        text.split('.').nth(2)?
    } else if text.starts_with("GS2.") {
        text.split('.').nth(2)?.strip_prefix('s')?.split('$').next()?
    } else {
        text
    };
    (!id.is_empty() && id.bytes().all(|b| b.is_ascii_digit())).then(|| id.to_owned())
}

/// What GA4 would silently drop.
fn check(prepared: &mut Prepared, name: &str, occasion: &Occasion<'_>) -> Result<(), Refusal> {
    if let Some(adjusts) = &occasion.event.adjusts {
        if name == "purchase" {
            return Err(unsupported("an adjustment is no purchase; map it to \"refund\""));
        }
        if name == "refund" {
            if adjusts.kind == AdjustmentKind::Restate {
                return Err(unsupported("GA4 takes refunds, but no new value of a purchase"));
            }
            // Part of it, which the items may show; all of it where no amount is said.
            match adjusts.amount {
                Some(_) if occasion.currency.is_none() => {
                    return Err(missing("the refund's currency"));
                }
                Some(_) => {}
                None => prepared.value = occasion.value,
            }
        }
    }
    if !names::has_transaction(name) {
        return Ok(());
    }
    if prepared.transaction_id.is_empty() {
        // An empty one would make all of them one.
        return Err(missing("the transaction id"));
    }
    check_order(&prepared.transaction_id)?;
    if prepared.transaction_id.chars().count() > LONGEST_VALUE {
        // Cut, it could be another one's.
        return Err(unsupported("the transaction id has more than 100 characters"));
    }
    if name == "purchase" {
        if prepared.value.is_none() {
            return Err(missing("the value with its currency, which a purchase needs,"));
        }
        if prepared.items.is_empty() {
            return Err(missing("properties.items (with id or name), which a purchase needs,"));
        }
    }
    Ok(())
}

/// `{"validationMessages":[{"fieldPath","description","validationCode"}]}`; empty means valid. One
/// event a call, since messages name no event.
fn of_validation(call: &Call, response: &Response, now: Timestamp) -> Answer {
    let body = json(response);
    let messages =
        body.as_ref().and_then(|b| b.get("validationMessages")).and_then(Value::as_array);
    let Some(messages) = messages else { return garbled(call, response, now) };
    let Some(first) = messages.first() else { return Answer::all(call, &Outcome::Delivered) };
    let text = |key: &str| first.get(key).and_then(Value::as_str).unwrap_or_default();
    let reason = code(text("validationCode"));
    let message = words(&format!("{} {}", text("fieldPath"), text("description")));
    Answer::all(call, &Outcome::Rejected { reason, message })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::destinations::{
        Entry,
        answer::table::{call, classified, letters, response},
    };

    fn destination() -> Box<dyn Destination> {
        configured(BTreeMap::new())
    }

    fn configured(entries: BTreeMap<String, Vec<Entry>>) -> Box<dyn Destination> {
        let secret = SecretString::from("ga4-secret".to_owned());
        let settings = Settings {
            name: "ga4".to_owned(),
            table: "measurement_id = \"G-EXAMPLE1\"".parse().unwrap(),
            secrets: BTreeMap::from([("api_secret".to_owned(), secret)]),
            endpoint: PLATFORM.endpoint.to_owned(),
            token_endpoint: String::new(),
            mode: Mode::Live,
            entries,
        };
        configure(&settings).unwrap()
    }

    #[test]
    fn every_documented_answer_has_its_meaning() {
        for (status, body, told) in [
            (204, "", "ddd"),
            (200, "", "ddd"),
            (200, "GIF89a", "ddd"),
            (202, "{}", "ddd"),
            (302, "", "ppp Misconfigured http_302"),
            (400, "bad", "ccc http_400"),
            (401, "", "ccc http_401"),
            (403, "", "ccc http_403"),
            (404, "<html>", "ccc http_404"),
            (408, "", "uuu"),
            (413, "", "lll"),
            (429, "", "ttt"),
            (500, "", "uuu"),
            (503, "<html>", "uuu"),
        ] {
            assert_eq!(classified(&*destination(), 3, status, body), told, "{status} {body}");
        }
        // What the debug endpoint says of one event.
        let debug = |status, body: &str| {
            let call = call(1, CallPurpose::Send, "https://x.example/debug/mp/collect");
            letters(&destination().classify(&call, &response(status, body), Timestamp::UNIX_EPOCH))
        };
        let invalid = |code: &str| {
            format!(
                "{{\"validationMessages\":[{{\"fieldPath\":\"events\",\"validationCode\":\"{code}\"}}]}}"
            )
        };
        assert_eq!(debug(200, "{\"validationMessages\":[]}"), "D");
        for code in [
            "VALUE_INVALID",
            "VALUE_REQUIRED",
            "NAME_INVALID",
            "NAME_RESERVED",
            "VALUE_OUT_OF_BOUNDS",
            "EXCEEDED_MAX_ENTITIES",
            "NAME_DUPLICATED",
        ] {
            assert_eq!(debug(200, &invalid(code)), "R", "{code}");
        }
        assert_eq!([debug(200, "<html>"), debug(503, "")], ["U", "U"]);
    }

    #[test]
    fn cookies_are_read_for_their_ids() {
        assert_eq!(client_id("GA1.1.1234567890.1700000000"), "1234567890.1700000000");
        assert_eq!(client_id("1234567890.1700000000"), "1234567890.1700000000");
        for text in ["1718000123", "GS1.1.1718000123.4.1", "GS2.1.s1718000123$o2$g1$t1718000200"] {
            assert_eq!(session_id(text).as_deref(), Some("1718000123"));
        }
        assert_eq!(session_id("s-9921"), None);
    }

    #[test]
    fn names_that_some_lists_reserve_are_warned_of() {
        let of = |name: &str| {
            let entry = Entry::Name(name.to_owned());
            let entries = [("seen".to_owned(), vec![entry])].into();
            let cautions = configured(entries).cautions();
            cautions.into_iter().map(|problem| problem.path).collect::<Vec<_>>()
        };
        assert_eq!(of("screen_view"), ["events.seen"]);
        assert_eq!(of("ad_impression"), ["events.seen"]);
        assert!(of("page_view").is_empty());
    }
}
