//! The body of `/m/event`: who and where at the root, one event in a list (DOC).

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::Value;

use super::TRANSACTION;
use crate::{
    destinations::wire::{self, Object},
    event::{ActionSource, Field, Item},
    job::Prepared,
};

/// What the integration calls itself (DOC, `version`).
const INTEGRATION: &str = "s2s_v1.0.0";

/// What the settings say of the body.
#[derive(Debug)]
pub(super) struct Wording {
    /// The partner id, as it was written.
    pub(super) account: Value,
    /// The caller id of the user mapping.
    pub(super) mapping_key: Option<String>,
    /// The key of the user agent.
    pub(super) user_agent_key: String,
}

pub(super) fn request(job: &Prepared, name: &str, wording: &Wording, now: Timestamp) -> Object {
    Object::default()
        .with("account", wording.account.clone())
        .with("version", INTEGRATION)
        .with("site_type", site_type(job))
        .maybe("full_url", job.clear(Field::PageUrl))
        .maybe("previous_url", job.clear(Field::Referrer))
        .maybe("ip", job.clear(Field::Ip))
        .maybe_named(&wording.user_agent_key, job.clear(Field::UserAgent))
        .maybe("retailer_visitor_id", job.clear(Field::AnonymousId))
        .maybe("country", job.clear(Field::Country))
        .maybe("language", job.clear(Field::Locale).and_then(language))
        .object("id", id(job, wording))
        .list("events", [event(job, name, now)])
}

/// Desktop, mobile or tablet.
fn site_type(job: &Prepared) -> &'static str {
    match (job.clear(Field::DeviceType), job.action_source) {
        (Some("tablet"), _) => "t",
        (Some("mobile"), _) | (None, ActionSource::App) => "m",
        _ => "d",
    }
}

/// ISO 639-1, from the front of a locale.
fn language(locale: &str) -> Option<&str> {
    let language = locale.split(['-', '_']).next()?;
    (language.len() == 2 && language.bytes().all(|b| b.is_ascii_lowercase())).then_some(language)
}

fn id(job: &Prepared, wording: &Wording) -> Object {
    let mapped = job.clear(Field::CrtoId);
    // In the order in which they are taken.
    let mut emails = job.hashed(Field::Email);
    let (sha256, sha256_md5) = (emails.next(), emails.next());
    let email = Object::default().maybe("sha256", sha256).maybe("sha256_md5", sha256_md5);
    let mut id = Object::default()
        // Says whose ids the mapped one is among.
        .maybe("mapping_key", wording.mapping_key.as_deref().filter(|_| mapped.is_some()))
        .maybe("mapped_user_id", mapped)
        .object("email", email);
    if let Some(key) = job.clear(Field::AppOs).and_then(advertising_key) {
        id = id.maybe(key, job.clear(Field::AdvertisingId));
    }
    id
}

/// Under which key an advertising id of a system is sent.
pub(super) fn advertising_key(os: &str) -> Option<&'static str> {
    match os {
        "ios" | "ipados" | "tvos" => Some("idfa"),
        "android" => Some("gaid"),
        _ => None,
    }
}

/// The value is that of the items: there is no field for it.
fn event(job: &Prepared, name: &str, now: Timestamp) -> Object {
    let currency = job.currency.filter(|_| job.items.iter().any(|item| item.price.is_some()));
    let other = job.other();
    let page_view = other.get("deduplication_page_view_id").and_then(Value::as_str);
    let event = Object::default()
        .with("event", name)
        // ISO 8601, and not in the future.
        .with("timestamp", job.time.min(now).to_string());
    let event = item(event, job, name);
    let is_priced = event.has("item") && name != "viewItem";
    event
        .maybe("currency", currency.filter(|_| is_priced))
        .maybe("id", (name == TRANSACTION).then_some(job.transaction_id.as_str()))
        .maybe("keywords", job.clear(Field::SearchTerm).filter(|_| name == "viewSearch"))
        // Of the tag's own page view, by which it knows the copy.
        .maybe("deduplication_page_view_id", page_view.filter(|id| !id.is_empty()))
}

/// One id of what is looked at, ids of what is listed, and what is bought with price and quantity.
fn item(event: Object, job: &Prepared, name: &str) -> Object {
    let mut ids = job.items.iter().filter_map(|item| item.id.as_deref());
    match name {
        "viewItem" => event.maybe("item", ids.next()),
        "viewList" | "viewSearch" => event.list("item", ids),
        "addToCart" | "viewBasket" | "beginCheckout" | "addPaymentInfo" | TRANSACTION => {
            let has_currency = job.currency.is_some();
            event.list("item", job.items.iter().filter_map(|item| product(item, has_currency)))
        }
        _ => event,
    }
}

/// One product; without an id it is none, and without a currency its price says nothing. A quantity
/// is a whole number: of what is sold by weight one is bought, for what all of it costs.
fn product(item: &Item, has_currency: bool) -> Option<Object> {
    let quantity = item.quantity.unwrap_or(Decimal::ONE);
    let price = item.price.filter(|_| has_currency);
    let (quantity, price) = match (wire::integer(quantity), price) {
        (Some(whole), price) => (whole, price),
        (None, price) => {
            (wire::number(Decimal::ONE), price.and_then(|price| price.checked_mul(quantity)))
        }
    };
    let object = Object::default()
        .with("id", item.id.as_deref()?)
        .maybe("price", price.map(wire::number))
        .with("quantity", quantity);
    Some(object)
}
