//! The body: one object an event (SCHEMA).

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::json;

use super::{
    advertising_key,
    names::{CUSTOM, Kind},
};
use crate::{
    destinations::wire::{self, Object},
    event::{ActionSource, Field, Item},
    job::Prepared,
};

/// SCHEMA, `order_id`.
const LONGEST_ORDER_ID: usize = 100;

/// SCHEMA.
pub(super) fn event(job: &Prepared, kind: &Kind, now: Timestamp) -> Object {
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
