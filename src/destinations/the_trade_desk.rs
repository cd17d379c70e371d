//! The Trade Desk's real-time conversion events: near real time, with no time on the wire, no proof
//! of identity, and nothing by which a resend would be recognised.
//!
//! The vendor's own page asks for a login. What is read here is the sheet of 2026-11-22: `ADOBE`
//! stands for Adobe's page on the vendor's own extension
//! (<https://experienceleague.adobe.com/en/docs/experience-platform/tags/extensions/server/tradedesk/overview>),
//! `OSS` for public integrations and the answers that they have recorded.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{
    Answer, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup, Destination,
    Key, KeyKind, Note, Occasion, Outcome, Platform, Preparation, Problem, Quota, Refusal,
    Response, Settings, Take,
    answer::{by_status, code, garbled, innocent, json as body_of, words},
    prepare::{Recipe, missing, prepare, taken, unsupported},
    settings::{Names, days},
    wire::{self, Frame, Object},
};
use crate::{
    consent::{Permit, Purpose, Purposes},
    event::{ActionSource, Field, FieldSet, Item},
    identity::Rule,
    job::{Prepared, Skip, SkipCode},
};

/// Limits are not public; small, since nothing recognises what is sent twice.
const BATCH: BatchLimits = BatchLimits { events: 100, bytes: 1_000_000 };

/// "As close to real-time as possible" (ADOBE): an event counts when it arrives.
const MAX_AGE: Duration = days(1);

const PURCHASE: &str = "purchase";

/// The vendor's own names; any other is one's own (OSS).
const EVENTS: [&str; 10] = [
    "addtocart",
    PURCHASE,
    "viewitem",
    "searchitem",
    "startcheckout",
    "viewcart",
    "wishlistitem",
    "sitevisit",
    "login",
    "messagebusiness",
];

/// Places for texts of one's own (ADOBE).
const CUSTOM_KEYS: [&str; 10] =
    ["td1", "td2", "td3", "td4", "td5", "td6", "td7", "td8", "td9", "td10"];

const FROM_APP: &[ActionSource] = &[ActionSource::App];

/// ADOBE: nothing is hashed, and no e-mail or phone number has a place.
const TAKES: &[Take] = &[
    Take::clear(Field::TtdId, Rule::Verbatim),
    Take::clear(Field::AdvertisingId, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::AppOs, Rule::Lower).only_from(FROM_APP),
    Take::clear(Field::Ip, Rule::Verbatim),
    Take::clear(Field::PageUrl, Rule::HttpUrl),
    Take::clear(Field::OrderId, Rule::Verbatim),
    // As it came; of GPP strings the pages say nothing.
    Take::clear(Field::Tcf, Rule::Verbatim),
];

const FIELDS: FieldSet = taken(
    TAKES,
    &[Field::Value, Field::Currency, Field::Items, Field::ItemNames, Field::OtherProperties],
);

/// What The Trade Desk is.
pub(super) static PLATFORM: Platform = Platform {
    name: "the_trade_desk",
    title: "The Trade Desk real-time conversion events",
    also_called: &["The Trade Desk", "The Trade Desk Real Time Conversions"],
    docs: "https://partner.thetradedesk.com/v3/portal/data/doc/DataConversionEventsApi",
    // No version is on the wire.
    api: None,
    endpoint: "https://insight.adsrvr.org",
    token_endpoint: "",
    batch: BATCH,
    oldest: |_| MAX_AGE,
    // Not public.
    quota: Quota { requests_per_second: 10, burst: 20, requests_per_day: None },
    // No event has an id, and nothing is said of order ids.
    dedup: Dedup::None,
    browser_dedup: BrowserDedup::None,
    takes: TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        personalization_flag: false,
        restricted_in: &["US"],
        // `LDU` is stated for a state of the USA (OSS).
        can_restrict: |region, _, _| region.as_deref().is_some_and(|it| it.starts_with("US-")),
        required: FieldSet::EMPTY,
        default_fields,
        takes: FIELDS,
        with_ad_user_data: FieldSet::EMPTY,
    },
    tcf_vendor_id: Some(21),
    ac_provider_id: None,
    keys: &[
        Key::new("advertiser_id", KeyKind::Recipient, "the advertiser"),
        Key::new(
            "merchant_id",
            KeyKind::Recipient,
            "the merchant, instead of the advertiser or beside",
        ),
        Key::new("tracker_id", KeyKind::Recipient, "the event tracker"),
        Key::new("upixel_id", KeyKind::Recipient, "the universal pixel, instead of the tracker"),
        Key::new("ttd_id_is", KeyKind::Text, "what click_ids.ttd_id holds: imp (default) or tdid"),
        Key::new("amounts", KeyKind::Text, "how amounts are written: text (default) or number"),
        Key::new("custom", KeyKind::Any, "properties to send: { td1 = \"channel\" }, up to td10"),
        Key::new("max_age_days", KeyKind::Number, "the oldest event, in days; default 1"),
    ],
    entry_keys: &[Key::new("name", KeyKind::Text, "the event's name, such as addtocart")],
    has_test_mode: false,
    contract: include_str!("../sandbox/contracts/the_trade_desk.json"),
    configure,
};

/// A universal pixel finds its event by the page.
fn default_fields(source: ActionSource) -> FieldSet {
    const CLICKS: FieldSet = FieldSet::of(&[Field::TtdId]);
    match source {
        ActionSource::Website => CLICKS.union(FieldSet::of(&[Field::PageUrl])),
        ActionSource::App => CLICKS.union(FieldSet::of(&[Field::AdvertisingId, Field::AppOs])),
        _ => CLICKS,
    }
}

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let id = |key: &str| settings.text(key).filter(|id| !id.is_empty());
    let (advertiser, merchant) = (id("advertiser_id"), id("merchant_id"));
    if advertiser.is_none() && merchant.is_none() {
        problems.push(Problem::new("advertiser_id", "is missing (or merchant_id)"));
    }
    let source = match (id("tracker_id"), id("upixel_id")) {
        (Some(tracker), None) => Some(Source::Tracker(tracker)),
        (None, Some(pixel)) => Some(Source::Pixel(pixel)),
        (None, None) => {
            problems.push(Problem::new("tracker_id", "is missing (or upixel_id)"));
            None
        }
        (Some(_), Some(_)) => {
            let message = "is not used beside tracker_id; write one of the two";
            problems.push(Problem::new("upixel_id", message));
            None
        }
    };
    let mut one_of = |key: &str, words: [&str; 2]| {
        let word = settings.text(key).unwrap_or_else(|| words[0].to_owned());
        if !words.contains(&word.as_str()) {
            let message = format!("must be \"{}\" or \"{}\"", words[0], words[1]);
            problems.push(Problem::new(key, message));
        }
        word == words[1]
    };
    let (is_tdid, as_numbers) =
        (one_of("ttd_id_is", ["imp", "tdid"]), one_of("amounts", ["text", "number"]));
    let custom = custom(settings, &mut problems);
    let max_age = settings.days("max_age_days", MAX_AGE, &mut problems);
    let refuse = |name: &str| name.trim().is_empty().then(|| "must have a name".to_owned());
    let names = settings.entry_names(standard, refuse, &mut problems);
    let Some(source) = source.filter(|_| problems.is_empty()) else { return Err(problems) };
    Ok(Box::new(TheTradeDesk {
        url: format!("{}/track/realtimeconversion", settings.endpoint.trim_end_matches('/')),
        advertiser,
        merchant,
        source,
        is_tdid,
        as_numbers,
        custom,
        max_age,
        names,
    }))
}

fn custom(settings: &Settings, problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    let mut custom = BTreeMap::new();
    let table = match settings.table.get("custom") {
        None => return custom,
        Some(toml::Value::Table(table)) => table,
        Some(_) => {
            problems.push(Problem::new("custom", "must be a table such as { td1 = \"channel\" }"));
            return custom;
        }
    };
    for (key, property) in table {
        match property.as_str() {
            Some(property) if CUSTOM_KEYS.contains(&key.as_str()) => {
                custom.insert(key.clone(), property.to_owned());
            }
            _ => {
                let message = "must be td1 to td10, each with the name of a property";
                problems.push(Problem::new(format!("custom.{key}"), message));
            }
        }
    }
    custom
}

/// The vendor's name of an event: the same word, or that of the usual analytics vocabulary.
fn standard(event: &str) -> Option<String> {
    let name = match event {
        "order_completed" => PURCHASE,
        "add_to_cart" | "product_added" => "addtocart",
        "view_item" | "product_viewed" => "viewitem",
        "search" | "view_search_results" => "searchitem",
        "begin_checkout" | "checkout_started" => "startcheckout",
        "view_cart" | "cart_viewed" => "viewcart",
        "add_to_wishlist" => "wishlistitem",
        "page_view" | "page_viewed" => "sitevisit",
        other => other,
    };
    EVENTS.contains(&name).then(|| name.to_owned())
}

/// What the events belong to.
#[derive(Debug)]
enum Source {
    Tracker(String),
    Pixel(String),
}

#[derive(Debug)]
struct TheTradeDesk {
    url: String,
    advertiser: Option<String>,
    merchant: Option<String>,
    source: Source,
    is_tdid: bool,
    as_numbers: bool,
    custom: BTreeMap<String, String>,
    max_age: Duration,
    names: Names,
}

impl Destination for TheTradeDesk {
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal> {
        let Some(name) = self.names.get(occasion.plan_event, occasion.entry) else {
            return Err(Refusal::Skip(Skip::new(SkipCode::NotMapped, "no entry for this event")));
        };
        // There is no refund and no retraction; an event of one's own may tell of it.
        if occasion.event.adjusts.is_some() && EVENTS.contains(&name) {
            return Err(unsupported(format!("The Trade Desk takes no adjustment of a {name}")));
        }
        let recipe = Recipe { takes: TAKES, fields: FIELDS, oldest: self.max_age };
        let mut preparation = prepare(&recipe, occasion, permit, now)?;
        let prepared = &mut preparation.prepared;
        if matches!(self.source, Source::Pixel(_)) && !prepared.has(Field::PageUrl) {
            return Err(missing("context.page_url, which a universal pixel needs,"));
        }
        if name == PURCHASE && wire::currency(prepared).0.is_none() {
            return Err(missing("properties.currency, which a purchase needs,"));
        }
        let is_known = prepared.has(Field::TtdId)
            || prepared.has(Field::Ip)
            || self.advertising_id(prepared).is_some();
        if !is_known {
            let message = "nothing that The Trade Desk could match by: no impression, advertising \
                           id or address";
            return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
        }
        Ok(preparation)
    }

    fn assemble(&self, jobs: &[Prepared], _: Timestamp) -> Vec<Call> {
        let events = jobs.iter().enumerate().filter_map(|(index, job)| {
            let name = self.names.get(&job.event, job.entry)?;
            Some((index, self.event(job, name).json()))
        });
        wire::batches(events, BATCH, Frame::Known("{\"data\":[", "]}"))
            .into_iter()
            .map(|batch| Call {
                purpose: CallPurpose::Send,
                method: "POST",
                url: self.url.clone(),
                headers: vec![("content-type".to_owned(), "application/json".to_owned())],
                body: batch.text.into_bytes(),
                members: batch.members,
            })
            .collect()
    }

    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        let body = body_of(response);
        let events = body.as_ref().and_then(|body| body.get("EventResponses")?.as_array());
        let message = body.as_ref().and_then(|body| body.get("Message")?.as_str());
        match (response.status, events) {
            (200..=299, Some(events)) => of_events(call, events, &Outcome::Delivered),
            // Nothing to read is no contradiction.
            (200..=299, None)
                if response.body.is_empty() || body.as_ref().is_some_and(Value::is_object) =>
            {
                Answer::all(call, &Outcome::Delivered)
            }
            (200..=299, None) => garbled(call, response, now),
            // Of the events that it does not name nothing is said: sent again, rather than lost.
            (400, Some(events)) if !events.is_empty() => of_events(call, events, &innocent()),
            (400, _) => Answer::refused(call, "http_400", message.unwrap_or_default()),
            // An unknown tracker, and no bill (OSS).
            (402, _) => {
                let message = message.unwrap_or("the tracker is not known");
                Answer::fault(call, super::FaultKind::Misconfigured, "http_402", message)
            }
            _ => by_status(call, response, now),
        }
    }

    fn auth(&self) -> Auth {
        Auth::None
    }

    fn is_deduplicated(&self, _: &Prepared) -> bool {
        false
    }
}

impl TheTradeDesk {
    /// ADOBE, "Basic request properties" and "Object request parameters".
    fn event(&self, job: &Prepared, name: &str) -> Object {
        let (currency, fits) = wire::currency(job);
        let items: Vec<Object> =
            job.items.iter().filter_map(|item| self.item(item, fits)).collect();
        let other = job.other();
        let (tracker, pixel) = match &self.source {
            Source::Tracker(id) => (Some(id.as_str()), None),
            Source::Pixel(id) => (None, Some(id.as_str())),
        };
        let mut event = Object::default()
            .maybe("adv", self.advertiser.as_deref())
            .maybe("merchant_id", self.merchant.as_deref())
            .maybe("tracker_id", tracker)
            .maybe("upixel_id", pixel)
            .with("event_name", name)
            .maybe("value", job.value.map(|value| self.amount(value.amount, &value.amount_text())))
            .maybe("currency", currency)
            .maybe("order_id", job.clear(Field::OrderId))
            .maybe("client_ip", job.clear(Field::Ip))
            .maybe("referrer_url", job.clear(Field::PageUrl))
            .maybe("imp", job.clear(Field::TtdId).filter(|_| !self.is_tdid))
            .list("items", items)
            .list("privacy_settings", job.clear(Field::Tcf).map(privacy));
        if let Some((kind, id)) = self.advertising_id(job) {
            event = event.with("adid", id).with("adid_type", kind);
        }
        for (key, property) in &self.custom {
            let text = match other.get(property) {
                Some(Value::String(text)) => text.clone(),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
                _ => continue,
            };
            event.insert(key, text);
        }
        let state = job.consent.region.as_deref().filter(|region| region.starts_with("US-"));
        match state.filter(|_| job.flags.limited) {
            Some(state) => {
                event.with("data_processing_option", json!({"policies": ["LDU"], "region": state}))
            }
            None => event,
        }
    }

    /// The device's id by its system, else the vendor's own cookie (ADOBE, `adid_type`).
    fn advertising_id<'a>(&self, job: &'a Prepared) -> Option<(&'static str, &'a str)> {
        let kind = match job.clear(Field::AppOs) {
            Some("ios" | "ipados" | "tvos") => Some("IDFA"),
            Some("android") => Some("AAID"),
            Some("windows") => Some("NAID"),
            _ => None,
        };
        let device = kind.zip(job.clear(Field::AdvertisingId));
        device.or_else(|| {
            let id = job.clear(Field::TtdId).filter(|_| self.is_tdid)?;
            Some(("TDID", id))
        })
    }

    /// A decimal as a text (ADOBE) or as a number (OSS).
    fn amount(&self, amount: Decimal, text: &str) -> Value {
        if self.as_numbers { wire::number(amount).into() } else { text.into() }
    }

    /// One product; without code or name it is none.
    fn item(&self, item: &Item, is_priced: bool) -> Option<Object> {
        if item.id.is_none() && item.name.is_none() {
            return None;
        }
        let price = item.price.filter(|_| is_priced);
        let object = Object::default()
            .maybe("item_code", item.id.as_deref())
            .maybe("name", item.name.as_deref())
            .maybe("qty", wire::integer(item.quantity.unwrap_or(Decimal::ONE)))
            .maybe("price", price.map(|price| self.amount(price, &price.to_string())))
            .maybe("cat", item.category.as_deref());
        Some(object)
    }
}

/// A TC string under GDPR (ADOBE, `privacy_settings`): one that counted applies.
fn privacy(tcf: &str) -> Object {
    Object::default()
        .with("privacy_type", "GDPR")
        .with("is_applicable", true)
        .with("consent_string", tcf)
}

/// `[{"EventIndex","EventErrors":[{"Error","ErrorMessage"}],"EventWarnings":[…],"Successful"}]`
/// (OSS); `others` for those that it does not name.
fn of_events(call: &Call, events: &[Value], others: &Outcome) -> Answer {
    let mut answer = Answer::all(call, others);
    for event in events {
        let index = event.get("EventIndex").and_then(Value::as_u64);
        let place = index.and_then(|index| usize::try_from(index).ok());
        let Some(place) = place.and_then(|index| answer.outcomes.get_mut(index)) else { continue };
        let list = |key: &str| event.get(key).and_then(Value::as_array).into_iter().flatten();
        *place = if event.get("Successful").and_then(Value::as_bool) == Some(true) {
            Outcome::Delivered
        } else {
            let (reason, message) =
                list("EventErrors").next().map_or_else(|| ("error", ""), |it| said(it, "Error"));
            Outcome::Rejected { reason: code(reason), message: words(message) }
        };
        for warning in list("EventWarnings") {
            let (reason, message) = said(warning, "Warning");
            let (code, message) = (code(reason), words(message));
            answer.notes.push(Note { code, count: 1, message, alert: false });
        }
    }
    answer
}

/// `{"Error","ErrorMessage"}`, or the same of a warning.
fn said<'a>(value: &'a Value, key: &str) -> (&'a str, &'a str) {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let reason = text(key);
    (if reason.is_empty() { "error" } else { reason }, text(&format!("{key}Message")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destinations::{Entry, Mode, answer::table::classified};

    fn settings(table: &str) -> Settings {
        Settings {
            name: "the_trade_desk".to_owned(),
            table: table.parse().unwrap(),
            secrets: BTreeMap::new(),
            endpoint: PLATFORM.endpoint.to_owned(),
            token_endpoint: String::new(),
            mode: Mode::Live,
            entries: BTreeMap::from([("purchase".to_owned(), vec![Entry::Standard])]),
        }
    }

    const IDS: &str = "advertiser_id = \"adv1\"\ntracker_id = \"trk1\"";

    #[test]
    fn every_answer_means_what_is_known_of_it() {
        let destination = configure(&settings(IDS)).unwrap();
        let of = |events: &str| format!(r#"{{"Message":null,"EventResponses":[{events}]}}"#);
        let bad = |index: u8| {
            format!(
                r#"{{"EventIndex":{index},"EventErrors":[{{"Error":"InvalidPrivacySetting","ErrorMessage":"no"}}],"EventWarnings":[],"Successful":false}}"#
            )
        };
        let good = |index: u8| format!(r#"{{"EventIndex":{index},"Successful":true}}"#);
        let told_all = [good(0), bad(1), good(2)].join(",");
        for (status, body, told) in [
            (200, of(""), "ddd"),
            (200, of(&bad(1)), "drd InvalidPrivacySetting"),
            (200, "{}".to_owned(), "ddd"),
            (200, String::new(), "ddd"),
            (200, "<html>".to_owned(), "uuu"),
            (400, of(&bad(1)), "srs InvalidPrivacySetting"),
            (400, of(&told_all), "drd InvalidPrivacySetting"),
            (400, of(&bad(9)), "sss"),
            (400, of(r#"{"EventIndex":0,"EventErrors":[]}"#), "rss error"),
            (400, of(""), "ccc http_400"),
            (400, "no JSON".to_owned(), "ccc http_400"),
            (402, r#"{"Message":"no tracker"}"#.to_owned(), "ppp Misconfigured http_402"),
            (402, String::new(), "ppp Misconfigured http_402"),
            (403, String::new(), "ppp Unauthorized http_403"),
            (404, String::new(), "ppp Misconfigured http_404"),
            (413, String::new(), "lll"),
            (429, String::new(), "ttt"),
            (500, String::new(), "uuu"),
            (503, String::new(), "uuu"),
        ] {
            assert_eq!(classified(&*destination, 3, status, &body), told, "{status} {body}");
        }
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let paths = |table: &str| -> Vec<String> {
            let problems = configure(&settings(table)).unwrap_err();
            problems.into_iter().map(|problem| problem.path).collect()
        };
        let all = "ttd_id_is = \"x\"\namounts = \"float\"\nmax_age_days = 0\n\
                   custom = { td11 = \"a\", td1 = 7 }";
        assert_eq!(
            paths(all),
            [
                "advertiser_id",
                "tracker_id",
                "ttd_id_is",
                "amounts",
                "custom.td11",
                "custom.td1",
                "max_age_days"
            ]
        );
        assert_eq!(
            paths(&format!("{IDS}\nupixel_id = \"u\"\ncustom = 1")),
            ["upixel_id", "custom"]
        );
        let mut odd = settings(IDS);
        odd.entries.insert("store_visit".to_owned(), vec![Entry::Standard]);
        assert_eq!(configure(&odd).unwrap_err()[0].path, "events.store_visit");
        odd.entries.insert("store_visit".to_owned(), vec![Entry::Name("storevisit".to_owned())]);
        assert!(configure(&odd).is_ok(), "a name of one's own, written by the settings");
    }
}
