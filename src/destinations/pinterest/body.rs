//! The body of `events`: one object an event. Keys that SPEC does not list refuse the whole request,
//! so that nothing is passed through.

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::{
    destinations::wire::{self, Object},
    event::{ActionSource, Currency, Field, Item, Money},
    job::Prepared,
};

/// What the settings say of the body.
#[derive(Debug)]
pub(super) struct Wording {
    /// Who sends.
    pub(super) partner_name: Option<String>,
    /// The key of a product's brand.
    pub(super) brand_key: String,
    /// Whether an app's answer to its system's question is sent: newer than SPEC.
    pub(super) advertiser_tracking: bool,
}

pub(super) fn event(job: &Prepared, name: &str, wording: &Wording, now: Timestamp) -> Object {
    // Of an app it also means that its system limits tracking (SPEC).
    let status = job.clear(Field::AttStatus);
    let opted_out =
        job.flags.personalization_denied || matches!(status, Some("denied" | "restricted"));
    let tracking =
        status.filter(|_| wording.advertiser_tracking && job.action_source == ActionSource::App);
    Object::large()
        .with("event_name", name)
        .with("action_source", source(job).unwrap_or("offline"))
        // Seconds, and not in the future.
        .with("event_time", job.time.min(now).as_second())
        .with("event_id", job.event_id.as_str())
        .maybe("event_source_url", job.clear(Field::PageUrl))
        .maybe("partner_name", wording.partner_name.as_deref())
        .maybe("app_id", job.clear(Field::AppId))
        .maybe("app_version", job.clear(Field::AppVersion))
        .maybe("device_model", job.clear(Field::AppDeviceModel))
        .maybe("os_version", job.clear(Field::AppOsVersion))
        .maybe("language", job.clear(Field::Locale).and_then(language))
        .maybe("opt_out", opted_out.then_some(true))
        .maybe("advertiser_tracking_enabled", tracking.map(|status| status == "authorized"))
        .object("user_data", user_data(job))
        .object("custom_data", custom_data(job, wording))
}

/// An app's system is part of it; `None` where that is not known.
pub(super) fn source(job: &Prepared) -> Option<&'static str> {
    match (job.action_source, job.clear(Field::AppOs)) {
        (ActionSource::Website, _) => Some("web"),
        (ActionSource::App, Some("ios" | "ipados")) => Some("app_ios"),
        (ActionSource::App, Some("android")) => Some("app_android"),
        (ActionSource::App, _) => None,
        _ => Some("offline"),
    }
}

/// ISO 639-1, from the front of a locale.
fn language(locale: &str) -> Option<&str> {
    let language = locale.split(['-', '_']).next()?;
    (language.len() == 2 && language.bytes().all(|b| b.is_ascii_lowercase())).then_some(language)
}

/// Hashes are lists, also of one.
fn user_data(job: &Prepared) -> Object {
    let mut data = Object::large();
    for (key, field) in [
        ("em", Field::Email),
        ("ph", Field::Phone),
        ("ge", Field::Gender),
        ("db", Field::DateOfBirth),
        ("fn", Field::FirstName),
        ("ln", Field::LastName),
        ("ct", Field::City),
        ("st", Field::Region),
        ("zp", Field::PostalCode),
        ("country", Field::Country),
        ("external_id", Field::ExternalId),
        ("hashed_maids", Field::AdvertisingId),
    ] {
        data = data.list(key, job.hashed(field));
    }
    data.maybe("client_ip_address", job.clear(Field::Ip))
        .maybe("client_user_agent", job.clear(Field::UserAgent))
        .maybe("click_id", job.clear(Field::Epik))
}

/// Amounts and prices are texts, counts are whole numbers (SPEC). Of the sender's own properties
/// only texts under Pinterest's names pass.
fn custom_data(job: &Prepared, wording: &Wording) -> Object {
    let (currency, priced) = wire::currency(job);
    let prices = currency.filter(|_| priced);
    let contents: Vec<Object> =
        job.items.iter().filter_map(|item| content(item, prices, wording)).collect();
    let ltv = job.amount(Field::PredictedLtv).filter(|_| priced).map(|ltv| ltv.to_string());
    let has_price = contents.iter().any(|content| content.has("item_price"));
    let has_amount = job.value.is_some() || ltv.is_some() || has_price;
    let other = job.other();
    let text = |key: &str| other.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let data = Object::large()
        .maybe("value", job.value.map(|value| value.amount_text()))
        .maybe("currency", currency.filter(|_| has_amount))
        .maybe("predicted_ltv", ltv)
        .maybe("order_id", job.clear(Field::OrderId))
        .maybe("search_string", job.clear(Field::SearchTerm))
        .maybe("content_name", text("content_name"))
        .maybe("content_category", text("content_category"))
        .maybe("content_brand", text("content_brand"))
        // Limited Data Processing, for the laws of US states.
        .maybe("opt_out_type", job.flags.limited.then_some("LDP"));
    if contents.is_empty() {
        return data;
    }
    let ids = job.items.iter().filter_map(|item| item.id.as_deref()).map(|id| json!(id));
    data.maybe("num_items", wire::units(&job.items).and_then(wire::integer))
        .list("content_ids", ids)
        .list("contents", contents)
}

/// One product; without an id it is none.
fn content(item: &Item, currency: Option<Currency>, wording: &Wording) -> Option<Object> {
    let money = item.price.zip(currency).map(|(amount, currency)| Money { amount, currency });
    let price = money.map(|money| money.amount_text());
    let object = Object::default()
        .with("id", item.id.as_deref()?)
        .maybe("item_name", item.name.as_deref())
        .maybe("item_category", item.category.as_deref())
        .maybe_named(&wording.brand_key, item.brand.as_deref())
        .maybe("item_price", price)
        .maybe("quantity", wire::integer(item.quantity.unwrap_or(Decimal::ONE)));
    Some(object)
}
