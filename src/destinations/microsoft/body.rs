//! The body of `events`: one object an event (DOC).

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::Kind;
use crate::{
    consent::{Grant, Region},
    destinations::{
        prepare::may_be_in_eea_uk_ch,
        wire::{self, Object},
    },
    event::{Field, Item},
    job::Prepared,
};

/// The keys of a hotel's first and last day, which pages spell in two ways.
pub(super) type HotelDates = [&'static str; 2];

/// DOC.
pub(super) fn event(job: &Prepared, kind: &Kind, dates: HotelDates, now: Timestamp) -> Object {
    let other = job.other();
    let text = |key: &str| other.get(key).and_then(Value::as_str).map(str::to_owned);
    let (kind, name) = match kind {
        Kind::PageLoad => ("pageLoad", None),
        Kind::Custom(name) => ("custom", Some(name.as_str())),
    };
    let is_granted = job.flags.grants.ad_storage == Grant::Granted;
    Object::large()
        .with("eventType", kind)
        .maybe("eventName", name)
        .with("eventId", job.event_id.as_str())
        // Seconds, and not in the future.
        .with("eventTime", job.time.min(now).as_second())
        .maybe("eventSourceUrl", job.clear(Field::PageUrl))
        .maybe("referrerUrl", job.clear(Field::Referrer))
        .maybe("pageLoadId", text("page_load_id").filter(|id| is_uuid(id)))
        .maybe("pageTitle", text("page_title"))
        .maybe("keywords", text("keywords"))
        .maybe("adStorageConsent", is_granted.then_some("G"))
        .object("userData", user_data(job))
        .object("customData", custom_data(job, &other, dates, name.is_some()))
}

fn custom_data(
    job: &Prepared,
    other: &Map<String, Value>,
    dates: HotelDates,
    has_value: bool,
) -> Object {
    const PAGES: &[&str] =
        &["home", "product", "category", "searchresults", "cart", "purchase", "other"];
    let text = |key: &str| other.get(key).and_then(Value::as_str).map(str::to_owned);
    let (currency, fits) = wire::currency(job);
    let items: Vec<Object> = job.items.iter().filter_map(|item| product(item, fits)).collect();
    let ids = job.items.iter().filter_map(|item| item.id.as_deref());
    let hotel = other.get("hotel").and_then(Value::as_object);
    let hotel = hotel.and_then(|of| hotel_data(of, dates, fits)).unwrap_or_default();
    // A page load bears no value.
    let value = job.value.filter(|_| has_value);
    let is_priced = value.is_some()
        || hotel.has("totalPrice")
        || hotel.has("basePrice")
        || items.iter().any(|item| item.has("price"));
    Object::large()
        .maybe("eventCategory", text("event_category"))
        .maybe("eventLabel", text("event_label"))
        .maybe("eventValue", other.get("event_value").filter(|v| v.is_number()).cloned())
        .maybe("searchTerm", job.clear(Field::SearchTerm))
        // By it an offline adjustment finds the conversion.
        .with("transactionId", job.transaction_id.as_str())
        .maybe("value", value.map(|value| wire::number(value.amount)))
        .maybe("currency", currency.filter(|_| is_priced))
        .list("items", items)
        .list("itemIds", ids)
        .maybe("pageType", text("page_type").filter(|page| PAGES.contains(&page.as_str())))
        .maybe("ecommCategory", text("ecomm_category"))
        .object("hotelData", hotel)
}

/// The sender's own property `hotel`. Needs the first day and the last, or how many nights.
fn hotel_data(
    hotel: &Map<String, Value>,
    [first, last]: HotelDates,
    is_priced: bool,
) -> Option<Object> {
    let text = |key: &str| hotel.get(key).and_then(Value::as_str).map(str::to_owned);
    let price = |key: &str| hotel.get(key).filter(|v| v.is_number() && is_priced).cloned();
    let day = |key| text(key).filter(|day| day.parse::<jiff::civil::Date>().is_ok());
    let nights = hotel.get("length_of_stay").and_then(Value::as_u64).filter(|n| *n > 0);
    let checkout = day("checkout_date");
    if checkout.is_none() && nights.is_none() {
        return None;
    }
    Some(
        Object::default()
            .with(first, day("checkin_date")?)
            .maybe(last, checkout)
            .maybe("lengthOfStay", nights)
            .maybe("totalPrice", price("total_price"))
            .maybe("basePrice", price("base_price"))
            .maybe("partnerHotelId", text("partner_hotel_id"))
            .maybe("bookingHref", text("booking_href")),
    )
}

/// Whether storage counts as denied (DOC, `adStorageConsent`). Absent it means granted, so that
/// silence from where a grant is needed is a no. What is denied may not bear an identifier, and
/// without one Microsoft takes nothing: "D" is never written.
pub(super) fn is_denied(ad_storage: Grant, region: &Region) -> bool {
    match ad_storage {
        Grant::Granted => false,
        Grant::Denied => true,
        Grant::NotAsked => may_be_in_eea_uk_ch(region),
    }
}

fn user_data(job: &Prepared) -> Object {
    let hash = |field| job.hashed(field).next();
    let anonymous = job.clear(Field::Uetvid).or_else(|| job.clear(Field::AnonymousId));
    let data = Object::default()
        .maybe("msclkid", job.clear(Field::Msclkid).and_then(msclkid))
        .maybe("anonymousId", anonymous)
        .maybe("externalId", job.clear(Field::ExternalId))
        .maybe("em", hash(Field::Email))
        .maybe("ph", hash(Field::Phone))
        .maybe("clientUserAgent", job.clear(Field::UserAgent))
        .maybe("clientIpAddress", job.clear(Field::Ip));
    match job.clear(Field::AppOs).and_then(advertising_key) {
        Some(key) => data.maybe(key, job.clear(Field::AdvertisingId)),
        None => data,
    }
}

/// One product; without an id it is none.
fn product(item: &Item, is_priced: bool) -> Option<Object> {
    let object = Object::default()
        .with("id", item.id.as_deref()?)
        .with("quantity", wire::number(item.quantity.unwrap_or(Decimal::ONE)))
        .maybe("price", item.price.filter(|_| is_priced).map(wire::number))
        .maybe("name", item.name.as_deref());
    Some(object)
}

/// A UUID with or without dashes, also out of the cookie's `_uet<msclkid>`.
pub(in crate::destinations) fn msclkid(text: &str) -> Option<&str> {
    let id = text.strip_prefix("_uet").unwrap_or(text);
    let is_bare = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_bare || is_uuid(id)).then_some(id)
}

pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

/// Under which key an advertising id of a system is sent.
pub(super) fn advertising_key(os: &str) -> Option<&'static str> {
    match os {
        "android" => Some("gaid"),
        "ios" | "ipados" | "tvos" => Some("idfa"),
        _ => None,
    }
}
