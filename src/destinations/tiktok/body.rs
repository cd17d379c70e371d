//! The body of `event/track`: one object an event (DOC 1771101186666498).

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::{
    destinations::wire::{self, Object},
    event::{Field, Item},
    identity::Digest,
    job::Prepared,
};

/// One event; `limited_flag` is the name of the flag of Limited Data Use.
pub(super) fn event(job: &Prepared, name: &str, limited_flag: &str, now: Timestamp) -> Object {
    let texts = |pairs: &[(&'static str, Field)]| {
        pairs.iter().fold(Object::default(), |all, (key, field)| all.maybe(key, job.clear(*field)))
    };
    let app = [("app_id", Field::AppId), ("app_version", Field::AppVersion)];
    let lead = [("lead_id", Field::LeadTiktok), ("lead_event_source", Field::LeadCrm)];
    Object::large()
        .with("event", name)
        // Seconds, and not in the future: how far ahead is taken is not documented.
        .with("event_time", job.time.min(now).as_second())
        // A text: one number refuses the whole batch (code 40002).
        .with("event_id", job.event_id.as_str())
        .object("user", user(job))
        .object("page", texts(&[("url", Field::PageUrl), ("referrer", Field::Referrer)]))
        .object("app", texts(&app))
        .object("lead", texts(&lead))
        .object("properties", properties(job))
        .maybe_named(limited_flag, job.flags.limited.then_some(true))
}

/// DOC 1771101186666498; what is absent has no key, since the hash of nothing is refused.
fn user(job: &Prepared) -> Object {
    let hash = |field| job.hashed(field).next();
    let mut user = Object::large();
    for (key, field) in
        [("email", Field::Email), ("phone", Field::Phone), ("external_id", Field::ExternalId)]
    {
        user = user.list(key, job.hashed(field));
    }
    for (key, field) in [
        ("first_name", Field::FirstName),
        ("last_name", Field::LastName),
        ("zip_code", Field::PostalCode),
    ] {
        user = user.maybe(key, hash(field));
    }
    for (key, field) in [
        ("ttclid", Field::Ttclid),
        ("ttp", Field::Ttp),
        ("ip", Field::Ip),
        ("user_agent", Field::UserAgent),
        ("city", Field::City),
        ("state", Field::Region),
        ("country", Field::Country),
        ("idfv", Field::VendorId),
    ] {
        user = user.maybe(key, job.clear(field));
    }
    // BCP 47, where Android and POSIX write en_US.
    user = user.maybe("locale", job.clear(Field::Locale).map(|locale| locale.replace('_', "-")));
    let key = match job.clear(Field::AppOs) {
        Some("ios" | "ipados") => Some("idfa"),
        Some("android") => Some("gaid"),
        _ => None,
    };
    if let Some(key) = key {
        let plain = job.clear(Field::AdvertisingId).map(str::to_owned);
        user = user.maybe(key, hash(Field::AdvertisingId).map(Digest::hex).or(plain));
    }
    let known = ["AUTHORIZED", "DENIED", "NOT_DETERMINED", "RESTRICTED", "NOT_APPLICABLE"];
    user.maybe("att_status", job.clear(Field::AttStatus).filter(|status| known.contains(status)))
}

/// DOC 1771101186666498. The sender's own properties pass where they bear one of TikTok's names and
/// are of its kind: one wrong value refuses the whole batch.
fn properties(job: &Prepared) -> Object {
    let (currency, priced) = wire::currency(job);
    let contents: Vec<Object> = job.items.iter().filter_map(|item| content(item, priced)).collect();
    let ltv = wire::amount(job, Field::PredictedLtv);
    let has_price = contents.iter().any(|content| content.has("price"));
    let has_amount = job.value.is_some() || ltv.is_some() || has_price;
    let other = job.other();
    let text = |key: &str| other.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let among = |key: &str, values: &[&str]| text(key).filter(|text| values.contains(text));
    let kind = among("content_type", &["product", "product_group"]);
    let properties = Object::large()
        .maybe("value", job.value.map(|value| wire::number(value.amount)))
        .maybe("currency", currency.filter(|_| has_amount))
        .maybe("predicted_ltv", ltv)
        .maybe("order_id", job.clear(Field::OrderId))
        .maybe("shop_id", job.clear(Field::StoreId))
        .maybe("search_string", job.clear(Field::SearchTerm))
        .maybe("description", text("description"))
        .maybe("query", text("query"))
        .maybe(
            "delivery_category",
            among("delivery_category", &["in_store", "curbside", "home_delivery"]),
        );
    if contents.is_empty() {
        let ids = other.get("content_ids").and_then(Value::as_array).cloned().unwrap_or_default();
        let ids = if ids.iter().all(Value::is_string) { ids } else { Vec::new() };
        return properties.maybe("content_type", kind).list("content_ids", ids);
    }
    // Never beside content_ids.
    properties
        .with("content_type", kind.unwrap_or("product"))
        .maybe("num_items", wire::units(&job.items).map(wire::number))
        .list("contents", contents)
}

/// One product; without an id it is none.
fn content(item: &Item, priced: bool) -> Option<Object> {
    let object = Object::default()
        .with("content_id", item.id.as_deref()?)
        .maybe("content_name", item.name.as_deref())
        .maybe("content_category", item.category.as_deref())
        .maybe("brand", item.brand.as_deref())
        .maybe("price", item.price.filter(|_| priced).map(wire::number))
        .with("quantity", wire::number(item.quantity.unwrap_or(Decimal::ONE)));
    Some(object)
}
