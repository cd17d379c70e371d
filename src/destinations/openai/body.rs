//! The body of `events`: one object an event (DOC), money in whole minor units (EVENTS).

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::Value;

use super::names::Kind;
use crate::{
    destinations::wire::{self, Exact, Object},
    event::{ActionSource, Currency, Field, Item, round_to_minor},
    job::Prepared,
};

/// DOC, `user`: the longest city and postal code, in characters.
const LONGEST_CITY: usize = 128;
const LONGEST_POSTAL_CODE: usize = 32;

/// Drops what OpenAI would drop, or refuse: places that are too long or of other characters,
/// advertising ids of other systems than Android (DOC).
pub(super) fn tidy(job: &mut Prepared) {
    let is_postal = |text: &str| {
        text.len() <= LONGEST_POSTAL_CODE
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'-'))
    };
    let is_short = |text: &str| text.chars().count() <= LONGEST_CITY;
    let fits = |field: Field, fits: &dyn Fn(&str) -> bool| job.clear(field).is_none_or(fits);
    let is_android = job.clear(Field::AppOs) == Some("android");
    let gone = [
        (Field::PostalCode, fits(Field::PostalCode, &is_postal)),
        (Field::City, fits(Field::City, &is_short)),
        (Field::Region, fits(Field::Region, &is_short)),
        (Field::AdvertisingId, is_android),
    ];
    job.texts.retain(|(field, _)| !gone.contains(&(*field, false)));
}

pub(super) fn event(job: &Prepared, kind: &Kind, now: Timestamp) -> Object {
    Object::large()
        .with("id", job.event_id.as_str())
        .with("type", kind.event)
        .maybe("custom_event_name", kind.custom_name.as_deref())
        // Milliseconds, and not in the future: ten minutes ahead are refused (DOC).
        .with("timestamp_ms", job.time.min(now).as_millisecond())
        .maybe("oppref", job.clear(Field::Oppref))
        .maybe("source_url", job.clear(Field::PageUrl))
        .with("action_source", source(job.action_source))
        .maybe("opt_out", job.flags.personalization_denied.then_some(true))
        .object("user", user(job))
        .object("data", data(job, kind))
}

/// DOC, `action_source`.
fn source(source: ActionSource) -> &'static str {
    match source {
        ActionSource::Website => "web",
        ActionSource::App => "mobile_app",
        ActionSource::PhysicalStore => "physical_store",
        ActionSource::PhoneCall => "phone_call",
        ActionSource::Email => "email",
        ActionSource::Crm => "offline",
        ActionSource::Chat
        | ActionSource::SystemGenerated
        | ActionSource::BusinessMessaging
        | ActionSource::Other => "other",
    }
}

/// Lists of digests and of places, the rest one by one (DOC).
fn user(job: &Prepared) -> Object {
    let mut user = Object::large();
    for (key, field) in [
        ("emails_sha256", Field::Email),
        ("phone_numbers_sha256", Field::Phone),
        ("external_ids_sha256", Field::ExternalId),
        ("first_names_sha256", Field::FirstName),
        ("last_names_sha256", Field::LastName),
    ] {
        user = user.list(key, job.hashed(field));
    }
    for (key, field) in [
        ("countries", Field::Country),
        ("cities", Field::City),
        ("regions", Field::Region),
        ("postal_codes", Field::PostalCode),
    ] {
        user = user.list(key, job.clear(field));
    }
    user.maybe("ip_address", job.clear(Field::Ip))
        .maybe("user_agent", job.clear(Field::UserAgent))
        .maybe("android_advertising_id", job.clear(Field::AdvertisingId))
}

/// EVENTS, by shape: an amount never without its currency.
fn data(job: &Prepared, kind: &Kind) -> Object {
    let (currency, fits) = wire::currency(job);
    let prices = currency.filter(|_| fits);
    let amount = job.value.and_then(|value| minor(value.amount, value.currency));
    let contents = if kind.shape.has_contents() {
        job.items.iter().filter_map(|item| content(item, prices)).collect()
    } else {
        Vec::new()
    };
    let other = if kind.shape.has_plan() { job.other() } else { serde_json::Map::new() };
    let plan = other.get("plan_id").and_then(Value::as_str).filter(|plan| !plan.is_empty());
    Object::default()
        .with("type", kind.shape.name())
        .maybe("plan_id", plan)
        .maybe("currency", currency.filter(|_| amount.is_some()))
        .maybe("amount", amount)
        .list("contents", contents)
}

/// One product: its amount is that of one piece.
fn content(item: &Item, prices: Option<Currency>) -> Option<Object> {
    if item.id.is_none() && item.name.is_none() {
        return None;
    }
    let amount = item.price.zip(prices).and_then(|(price, currency)| minor(price, currency));
    let object = Object::default()
        .maybe("id", item.id.as_deref())
        .maybe("name", item.name.as_deref())
        .maybe("content_type", item.category.as_deref())
        .maybe("quantity", wire::integer(item.quantity.unwrap_or(Decimal::ONE)))
        .maybe("currency", prices.filter(|_| amount.is_some()))
        .maybe("amount", amount);
    Some(object)
}

/// Whole minor units: 129.90 USD is 12990, 500 JPY is 500 (EVENTS).
pub(super) fn minor(amount: Decimal, currency: Currency) -> Option<Exact> {
    let factor = Decimal::from(10u64.checked_pow(currency.minor_units())?);
    wire::integer(round_to_minor(amount, currency).checked_mul(factor)?)
}
