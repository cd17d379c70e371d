//! Reddit Conversions API v3: one pixel, up to 1,000 events a request, all taken or all refused.
//!
//! Reddit is the only one to strip an address's local part to letters and digits, so that no other
//! platform's hash of it matches there.
//!
//! Pages are those of the sheet, checked 2026-11-22; `SCHEMA` stands for
//! `pixel_conversion_event` of Reddit's OpenAPI description, `DOC` for its page on manual advanced
//! matching.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use rust_decimal::Decimal;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{
    Answer, ApiVersion, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup,
    Destination, Entry, Key, KeyKind, Mode, Occasion, Outcome, Platform, Preparation, Problem,
    Quota, Refusal, Response, Settings, Take,
    answer::{by_status, garbled, innocent},
    prepare::{Recipe, missing, prepare, taken, unsupported},
    wire::{self, Frame, Object},
};
use crate::{
    consent::{Permit, Purpose, Purposes},
    event::{ActionSource, Field, FieldSet, Item},
    identity::Rule,
    job::{Prepared, Skip, SkipCode},
};

/// v2 still answers, and differs in nearly every field (SCHEMA).
const VERSION: &str = "v3";

/// SCHEMA; how large a body may be is not said.
const BATCH: BatchLimits = BatchLimits { events: 1_000, bytes: 1_000_000 };

/// 168 hours (SCHEMA, `event_at`).
const OLDEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// SCHEMA, `custom_event_name` and `order_id`.
const LONGEST_NAME: usize = 64;
const LONGEST_ORDER_ID: usize = 100;

const CUSTOM: &str = "CUSTOM";

/// SCHEMA, `tracking_type`. VIEW_CONTENT, SEARCH and ADD_TO_WISHLIST can be sent, but since
/// 2025-06-01 not be optimised for.
const TRACKING_TYPES: &[&str] = &[
    "PAGE_VISIT",
    "VIEW_CONTENT",
    "SEARCH",
    "ADD_TO_CART",
    "ADD_TO_WISHLIST",
    "PURCHASE",
    "LEAD",
    "SIGN_UP",
    CUSTOM,
];

const FROM_APP: &[ActionSource] = &[ActionSource::App];

/// DOC: scalars only, one value of each. An advertising id is `idfa` in upper case on Apple's
/// systems and `aaid` in lower case on Android.
const fn takes(advertising_id: Take) -> [Take; 12] {
    [
        Take::hashed(Field::Email, Rule::EmailAlphanumericLocal).at_most(1),
        Take::hashed(Field::Phone, Rule::PhoneE164).at_most(1),
        Take::hashed(Field::ExternalId, Rule::ExternalId).at_most(1),
        advertising_id.at_most(1).only_from(FROM_APP),
        Take::clear(Field::AppOs, Rule::Lower).only_from(FROM_APP),
        Take::clear(Field::Ip, Rule::Verbatim),
        // Never hashed.
        Take::clear(Field::UserAgent, Rule::Verbatim),
        Take::clear(Field::RdtCid, Rule::Verbatim),
        Take::clear(Field::RdtUuid, Rule::Verbatim),
        Take::clear(Field::PageUrl, Rule::HttpUrl),
        Take::clear(Field::Referrer, Rule::HttpUrl),
        Take::clear(Field::OrderId, Rule::Verbatim),
    ]
}

const AAID: Take = Take::hashed(Field::AdvertisingId, Rule::Lower).sent_as("aaid");
const IDFA: Take = Take::hashed(Field::AdvertisingId, Rule::Upper).sent_as("idfa");
const TAKES: &[Take] = &takes(AAID);
const TAKES_OF_APPLE: &[Take] = &takes(IDFA);

/// Of whatever system.
const ALL_TAKES: &[Take] = &{
    let [a, b, c, d, e, f, g, h, i, j, k, l] = takes(AAID);
    [a, b, c, d, IDFA.only_from(FROM_APP), e, f, g, h, i, j, k, l]
};

const FIELDS: FieldSet =
    taken(TAKES, &[Field::Value, Field::Currency, Field::Items, Field::ItemNames]);

/// One of these must be there (SCHEMA, `user`).
const IDENTIFYING: FieldSet = FieldSet::of(&[
    Field::RdtCid,
    Field::RdtUuid,
    Field::Email,
    Field::Phone,
    Field::ExternalId,
    Field::AdvertisingId,
    Field::Ip,
]);

/// What Reddit is.
pub(super) static PLATFORM: Platform = Platform {
    name: "reddit",
    title: "Reddit Conversions API",
    also_called: &["Reddit Conversions API", "Reddit Pixel", "Reddit"],
    docs: "https://ads-api.reddit.com/docs/v3",
    api: Some(ApiVersion { version: VERSION, ends: None }),
    endpoint: "https://ads-api.reddit.com",
    token_endpoint: "",
    batch: BATCH,
    oldest: |_| OLDEST,
    // 1,000 requests and 10,000 events a second: ten full requests.
    quota: Quota { requests_per_second: 10, burst: 10, requests_per_day: None },
    // By `conversion_id` and the kind of event, both copies within 2 days and from one source.
    dedup: Dedup::EventId,
    browser_dedup: BrowserDedup::EventId,
    takes: ALL_TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        personalization_flag: false,
        restricted_in: &["US"],
        can_restrict: |region, _, _| region.is_some(),
        required: FieldSet::of(&[Field::PageUrl]),
        default_fields,
        takes: FIELDS,
        with_ad_user_data: FieldSet::EMPTY,
    },
    // On neither list.
    tcf_vendor_id: None,
    ac_provider_id: None,
    keys: &[
        Key::new(
            "pixel_id",
            KeyKind::Recipient,
            "the pixel that gets the events, such as a2_example",
        ),
        Key::new("access_token", KeyKind::Secret, "the conversion access token of Events Manager"),
        Key::new("test_id", KeyKind::Text, "routes test events to Events Manager's Events testing"),
        Key::new("partner", KeyKind::Text, "sent as data.partner, which the schema does not list"),
    ],
    entry_keys: &[
        Key::new("tracking_type", KeyKind::Text, "the event's type at Reddit, such as PURCHASE"),
        Key::new("custom_event_name", KeyKind::Text, "its name, for tracking_type = \"CUSTOM\""),
    ],
    has_test_mode: true,
    contract: include_str!("../sandbox/contracts/reddit.json"),
    configure,
};

/// A website's event needs its URL (SCHEMA, `event_source_url`).
fn default_fields(source: ActionSource) -> FieldSet {
    const CLICKS: FieldSet = FieldSet::of(&[Field::RdtCid, Field::RdtUuid]);
    match source {
        ActionSource::Website => CLICKS.union(FieldSet::of(&[Field::PageUrl])),
        _ => CLICKS,
    }
}

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let pixel = settings.required_text("pixel_id", &mut problems);
    if !pixel.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        problems.push(Problem::new("pixel_id", "must be the pixel's id, such as a2_example"));
    }
    let test_id = settings.text("test_id").filter(|id| !id.is_empty());
    if settings.mode == Mode::Test && test_id.is_none() {
        let message = "is needed in test mode; Events Manager shows it under Events testing";
        problems.push(Problem::new("test_id", message));
    }
    let token = settings.required_secret("access_token", &mut problems);
    let kinds = kinds(settings, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let base = settings.endpoint.trim_end_matches('/');
    Ok(Box::new(Reddit {
        url: format!("{base}/api/{VERSION}/pixels/{pixel}/conversion_events"),
        token,
        test_id,
        partner: settings.text("partner").filter(|partner| !partner.is_empty()),
        always_test: settings.mode == Mode::Test,
        kinds,
    }))
}

/// What an event is at Reddit.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// One of its types.
    Standard(&'static str),
    /// A name of one's own, case sensitive.
    Custom(String),
}

fn kinds(settings: &Settings, problems: &mut Vec<Problem>) -> BTreeMap<String, Vec<Kind>> {
    let mut kinds = BTreeMap::new();
    for (event, entries) in &settings.entries {
        let mut list = Vec::with_capacity(entries.len());
        for entry in entries {
            list.push(kind(event, entry).unwrap_or_else(|message| {
                problems.push(Problem::new(format!("events.{event}"), message));
                Kind::Standard(CUSTOM)
            }));
        }
        kinds.insert(event.clone(), list);
    }
    kinds
}

fn kind(event: &str, entry: &Entry) -> Result<Kind, String> {
    let (written, custom) = match entry {
        Entry::Standard => (None, None),
        Entry::Name(name) => (Some(name.as_str()), None),
        Entry::Table(table) => {
            let text = |key: &str| table.get(key).and_then(toml::Value::as_str);
            (text("tracking_type"), text("custom_event_name"))
        }
    };
    match (written, custom) {
        (None | Some(CUSTOM), Some(name)) => {
            if name.is_empty() || name.chars().count() > LONGEST_NAME {
                return Err(format!("custom_event_name must have 1 to {LONGEST_NAME} characters"));
            }
            Ok(Kind::Custom(name.to_owned()))
        }
        (Some(CUSTOM), None) => Err("needs a custom_event_name".to_owned()),
        (Some(_), Some(_)) => Err("custom_event_name is for tracking_type = \"CUSTOM\"".to_owned()),
        (Some(name), None) => {
            let known = TRACKING_TYPES.iter().find(|known| **known == name);
            known.map(|known| Kind::Standard(known)).ok_or_else(|| {
                format!(
                    "must be one of {}; another name is {{ tracking_type = \"CUSTOM\", \
                     custom_event_name = \"...\" }}",
                    TRACKING_TYPES.join(", ")
                )
            })
        }
        (None, None) => standard(event).map(Kind::Standard).ok_or_else(|| {
            "has no standard type at Reddit; write one, or { tracking_type = \"CUSTOM\", \
             custom_event_name = \"...\" }"
                .to_owned()
        }),
    }
}

/// The type of an event: the same words, or those of the usual analytics vocabulary.
fn standard(event: &str) -> Option<&'static str> {
    match event {
        "page_view" | "page_viewed" => Some("PAGE_VISIT"),
        "view_item" | "product_viewed" => Some("VIEW_CONTENT"),
        "view_search_results" => Some("SEARCH"),
        "generate_lead" => Some("LEAD"),
        "order_completed" => Some("PURCHASE"),
        _ => {
            let same = |known: &&&str| **known != CUSTOM && known.eq_ignore_ascii_case(event);
            TRACKING_TYPES.iter().find(same).copied()
        }
    }
}

#[derive(Debug)]
struct Reddit {
    url: String,
    token: SecretString,
    test_id: Option<String>,
    partner: Option<String>,
    always_test: bool,
    kinds: BTreeMap<String, Vec<Kind>>,
}

impl Destination for Reddit {
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal> {
        let Some(kind) = self.kind(occasion.plan_event, occasion.entry) else {
            return Err(Refusal::Skip(Skip::new(SkipCode::NotMapped, "no entry for this event")));
        };
        if occasion.test && self.test_id.is_none() {
            let message = "a test event, and the destination has no test_id";
            return Err(Refusal::Skip(Skip::new(SkipCode::TestMode, message)));
        }
        // There is no refund and no retraction; a custom event may tell of it.
        if let (Some(_), Kind::Standard(name)) = (&occasion.event.adjusts, kind) {
            return Err(unsupported(format!("Reddit takes no adjustment of a {name}")));
        }
        let os = occasion.event.texts.first(Field::AppOs).unwrap_or_default();
        let takes = if is_apple(os) { TAKES_OF_APPLE } else { TAKES };
        let recipe = Recipe { takes, fields: FIELDS, oldest: OLDEST };
        let mut preparation = prepare(&recipe, occasion, permit, now)?;
        let prepared = &mut preparation.prepared;
        if prepared.clear(Field::AppOs).and_then(advertising_key).is_none() {
            prepared.texts.retain(|(field, _)| *field != Field::AdvertisingId);
        }
        if prepared.action_source == ActionSource::Website && !prepared.has(Field::PageUrl) {
            return Err(missing("context.page_url, which a website's event needs,"));
        }
        if prepared.present().intersection(IDENTIFYING).is_empty() {
            let message = "nothing that Reddit could match by: no click id, cookie, e-mail, phone, \
                           own id, advertising id or address";
            return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
        }
        Ok(preparation)
    }

    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call> {
        let test = self.always_test || jobs.iter().any(|job| job.test);
        let mut tail = "]".to_owned();
        for (key, text) in [
            ("test_id", self.test_id.as_ref().filter(|_| test)),
            ("partner", self.partner.as_ref()),
        ] {
            if let Some(text) = text {
                tail.push_str(&format!(",\"{key}\":{}", json!(text)));
            }
        }
        tail.push_str("}}");
        let events = jobs.iter().enumerate().filter_map(|(index, job)| {
            let kind = self.kind(&job.event, job.entry)?;
            Some((index, event(job, kind, now).json()))
        });
        wire::batches(events, BATCH, Frame::Known("{\"data\":{\"events\":[", &tail))
            .into_iter()
            .map(|batch| self.call(CallPurpose::Send, batch.text.into_bytes(), batch.members))
            .collect()
    }

    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        let body = super::answer::json(response);
        let object = |key| body.as_ref()?.get(key).filter(|value| value.is_object());
        match (response.status, object("error")) {
            (200..=299 | 400, Some(error)) => of_error(call, error),
            // No list: all of them are taken.
            (200..=299, None) if object("data").is_some() => Answer::all(call, &Outcome::Delivered),
            (200..=299, None) => garbled(call, response, now),
            _ => by_status(call, response, now),
        }
    }

    fn auth(&self) -> Auth {
        Auth::Bearer(self.token.clone())
    }

    fn is_deduplicated(&self, _: &Prepared) -> bool {
        true
    }

    /// No events: the token and the pixel are looked at before Reddit misses them.
    fn probe(&self, _: Timestamp) -> Option<Call> {
        let body = b"{\"data\":{\"events\":[]}}".to_vec();
        Some(self.call(CallPurpose::Probe, body, Vec::new()))
    }
}

impl Reddit {
    fn kind(&self, event: &str, entry: u16) -> Option<&Kind> {
        self.kinds.get(event)?.get(usize::from(entry))
    }

    fn call(&self, purpose: CallPurpose, body: Vec<u8>, members: Vec<usize>) -> Call {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Call { purpose, method: "POST", url: self.url.clone(), headers, body, members }
    }
}

fn is_apple(os: &str) -> bool {
    ["ios", "ipados", "tvos"].iter().any(|apple| apple.eq_ignore_ascii_case(os.trim()))
}

/// Under which key an advertising id of a system is sent.
fn advertising_key(os: &str) -> Option<&'static str> {
    match os {
        "android" => Some("aaid"),
        os if is_apple(os) => Some("idfa"),
        _ => None,
    }
}

/// SCHEMA.
fn event(job: &Prepared, kind: &Kind, now: Timestamp) -> Object {
    let source = match job.action_source {
        ActionSource::Website => "WEBSITE",
        ActionSource::App => "APP",
        ActionSource::PhysicalStore => "PHYSICAL_STORE",
        _ => "OTHER",
    };
    let kind = match kind {
        Kind::Standard(name) => Object::default().with("tracking_type", *name),
        Kind::Custom(name) => {
            Object::default().with("tracking_type", CUSTOM).with("custom_event_name", name.as_str())
        }
    };
    Object::default()
        // Milliseconds: seconds are answered with 200 and land in 1970. Not in the future.
        .with("event_at", job.time.min(now).as_millisecond())
        .with("action_source", source)
        .object("type", kind)
        .maybe("click_id", job.clear(Field::RdtCid))
        .maybe("event_source_url", job.clear(Field::PageUrl))
        .maybe("referrer_url", job.clear(Field::Referrer))
        .object("metadata", metadata(job))
        .object("user", user(job))
}

fn metadata(job: &Prepared) -> Object {
    let (currency, fits) = wire::currency(job);
    let products: Vec<Object> = job.items.iter().filter_map(|item| product(item, fits)).collect();
    let is_priced = job.value.is_some() || products.iter().any(|p| p.has("item_price"));
    let count = job.items.iter().try_fold(Decimal::ZERO, |sum, item| {
        sum.checked_add(item.quantity.unwrap_or(Decimal::ONE))
    });
    let count = count.filter(|count| !count.is_zero() && *count <= Decimal::from(i32::MAX));
    let order_id: Option<String> =
        job.clear(Field::OrderId).map(|id| id.chars().take(LONGEST_ORDER_ID).collect());
    Object::default()
        // In clear, as the pixel sends it.
        .with("conversion_id", job.event_id.as_str())
        .maybe("order_id", order_id)
        .maybe("currency", currency.filter(|_| is_priced))
        .maybe("value", job.value.map(|value| wire::number(value.amount)))
        .maybe("item_count", count.and_then(wire::integer))
        .list("products", products)
}

/// One product; without an id it is none.
fn product(item: &Item, is_priced: bool) -> Option<Object> {
    let object = Object::default()
        .with("id", item.id.as_deref()?)
        .maybe("name", item.name.as_deref())
        .maybe("category", item.category.as_deref())
        .maybe("quantity", wire::integer(item.quantity.unwrap_or(Decimal::ONE)))
        .maybe("item_price", item.price.filter(|_| is_priced).map(wire::number));
    Some(object)
}

fn user(job: &Prepared) -> Object {
    let hash = |field| job.hashed(field).next();
    let user = Object::default()
        .maybe("email", hash(Field::Email))
        .maybe("phone_number", hash(Field::Phone))
        .maybe("external_id", hash(Field::ExternalId))
        .maybe("ip_address", job.clear(Field::Ip))
        .maybe("user_agent", job.clear(Field::UserAgent))
        .maybe("uuid", job.clear(Field::RdtUuid));
    let user = match job.clear(Field::AppOs).and_then(advertising_key) {
        Some(key) => user.maybe(key, hash(Field::AdvertisingId)),
        None => user,
    };
    if !job.flags.limited {
        return user;
    }
    let region = job.consent.region.as_deref();
    let options = Object::default()
        .with("modes", json!(["LDU"]))
        .maybe("country", region.and_then(|region| region.split('-').next()))
        .maybe("region", region.filter(|region| region.contains('-')));
    user.object("data_processing_options", options)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{destinations::answer::table::classified, identity::Memo};

    fn settings(table: &str, entries: &[(&str, Entry)]) -> Settings {
        let token = SecretString::from("reddit-token".to_owned());
        Settings {
            name: "reddit".to_owned(),
            table: table.parse().unwrap(),
            secrets: BTreeMap::from([("access_token".to_owned(), token)]),
            endpoint: PLATFORM.endpoint.to_owned(),
            token_endpoint: String::new(),
            mode: Mode::Live,
            entries: entries.iter().map(|(e, n)| ((*e).to_owned(), vec![n.clone()])).collect(),
        }
    }

    #[test]
    fn every_answer_means_what_its_page_says() {
        let destination = configure(&settings("pixel_id = \"a2_x\"", &[])).unwrap();
        let ok = r#"{"data":{"message":"Successfully processed 3 conversion events."}}"#;
        let error = |fields: &str| {
            format!(r#"{{"error":{{"code":400,"message":"bad","fields":[{fields}]}}}}"#)
        };
        let field = |path: &str| error(&format!(r#"{{"field":"{path}","message":"no"}}"#));
        let two = r#"{"field":"data.events.0.user","message":"a"},{"field":"data.events.2","message":"b"}"#;
        for (status, body, told) in [
            (200, ok, "ddd"),
            (200, "", "uuu"),
            (200, "<html>", "uuu"),
            (200, &error(""), "ccc 400"),
            (400, &field("data.events.1.event_at"), "srs 400"),
            (400, &field("events[2].type"), "ssr 400"),
            (400, &error(two), "rsr 400"),
            (400, &field("data.events.7.event_at"), "ccc 400"),
            (400, &field("data.test_id"), "ccc 400"),
            (400, "no JSON", "ccc http_400"),
            (401, r#"{"error":{"code":401,"message":"no"}}"#, "ppp Unauthorized http_401"),
            (403, "", "ppp Unauthorized http_403"),
            (404, "", "ppp Misconfigured http_404"),
            (413, "", "lll"),
            (429, "", "ttt"),
            (500, "", "uuu"),
            (503, r#"{"error":{"code":503,"message":"later"}}"#, "uuu"),
        ] {
            assert_eq!(classified(&*destination, 3, status, body), told, "{status} {body}");
        }
        assert_eq!(classified(&*destination, 1, 400, &error("")), "r 400");
    }

    #[test]
    fn entries_are_types_and_own_names_only_as_custom() {
        let table = |text: &str| Entry::Table(text.parse().unwrap());
        let name = |text: &str| Entry::Name(text.to_owned());
        let standard = |name| Ok(Kind::Standard(name));
        assert_eq!(kind("purchase", &Entry::Standard), standard("PURCHASE"));
        assert_eq!(kind("page_view", &Entry::Standard), standard("PAGE_VISIT"));
        assert_eq!(kind("any", &name("LEAD")), standard("LEAD"));
        assert_eq!(kind("any", &table("tracking_type = \"SEARCH\"")), standard("SEARCH"));
        let own = table("tracking_type = \"CUSTOM\"\ncustom_event_name = \"Checkout\"");
        assert_eq!(kind("any", &own), Ok(Kind::Custom("Checkout".to_owned())));
        for entry in [
            Entry::Standard,
            name("Purchase"),
            name("CUSTOM"),
            name("StoreVisit"),
            table("tracking_type = \"LEAD\"\ncustom_event_name = \"Lead\""),
            table("custom_event_name = \"\""),
            table(&format!("custom_event_name = \"{}\"", "x".repeat(65))),
        ] {
            assert!(kind("begin_checkout", &entry).is_err(), "{entry:?}");
        }
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let mut settings = settings("pixel_id = \"a2/x\"", &[("odd", Entry::Standard)]);
        settings.mode = Mode::Test;
        let problems = configure(&settings).unwrap_err();
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["pixel_id", "test_id", "events.odd"]);
    }

    #[test]
    fn advertising_ids_are_written_in_their_systems_way() {
        let sent = |takes: &[Take], text| {
            let take = takes.iter().find(|take| take.field == Field::AdvertisingId).unwrap();
            take.apply(text, None, &Memo::default()).unwrap()
        };
        assert_eq!(sent(TAKES, "Ab-1"), sent(TAKES, "ab-1"));
        assert_eq!(sent(TAKES_OF_APPLE, "Ab-1"), sent(TAKES_OF_APPLE, "AB-1"));
        assert_ne!(sent(TAKES_OF_APPLE, "Ab-1"), sent(TAKES, "Ab-1"));
        assert_eq!([advertising_key("ios"), advertising_key("windows")], [Some("idfa"), None]);
        assert!(is_apple("iOS") && !is_apple("android"));
    }

    #[test]
    fn a_probe_sends_no_event() {
        let destination = configure(&settings("pixel_id = \"a2_x\"", &[])).unwrap();
        let call = destination.probe(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(
            (call.body.as_slice(), call.members.len()),
            (&b"{\"data\":{\"events\":[]}}"[..], 0)
        );
        assert!(call.url.ends_with("/api/v3/pixels/a2_x/conversion_events"), "{}", call.url);
    }
}
