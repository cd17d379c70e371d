//! The body: one object a conversion (DOC, "Request").

use jiff::Timestamp;
use rust_decimal::Decimal;

use crate::{
    destinations::wire::{self, Object},
    event::{Field, Item},
    job::Prepared,
};

pub(super) fn conversion(job: &Prepared, tag: &str, now: Timestamp) -> Object {
    let (currency, fits) = wire::currency(job);
    let contents: Vec<Object> = job.items.iter().filter_map(|item| content(item, fits)).collect();
    let is_priced = job.value.is_some() || contents.iter().any(|it| it.has("content_price"));
    let count = wire::units(&job.items).filter(|count| *count > Decimal::ZERO);
    Object::large()
        // UTC with exactly three digits of milliseconds (DOC), and not in the future.
        .with("conversion_time", format!("{:.3}", job.time.min(now)))
        .with("event_id", tag)
        .with("identifiers", identifiers(job))
        .with("conversion_id", job.event_id.as_str())
        .maybe("value", job.value.map(|value| wire::number(value.amount)))
        // Without one it would be read as US dollars.
        .maybe("price_currency", currency.filter(|_| is_priced).map(|c| c.code().to_owned()))
        .maybe("number_items", count.and_then(wire::integer))
        .maybe("search_string", job.clear(Field::SearchTerm))
        .list("contents", contents)
}

/// One object each; an address and its user agent share one (DOC).
fn identifiers(job: &Prepared) -> Vec<Object> {
    let one = |key: &'static str, text: String| Object::default().with(key, text);
    let mut identifiers = Vec::new();
    identifiers.extend(job.clear(Field::Twclid).map(|id| one("twclid", id.to_owned())));
    identifiers.extend(job.hashed(Field::Email).map(|hash| one("hashed_email", hash.hex())));
    identifiers.extend(job.hashed(Field::Phone).map(|hash| one("hashed_phone_number", hash.hex())));
    if let Some((ip, agent)) = job.clear(Field::Ip).zip(job.clear(Field::UserAgent)) {
        identifiers.push(Object::default().with("ip_address", ip).with("user_agent", agent));
    }
    identifiers
}

/// DOC, `contents`: what has neither id nor name says nothing.
fn content(item: &Item, is_priced: bool) -> Option<Object> {
    if item.id.is_none() && item.name.is_none() {
        return None;
    }
    let object = Object::default()
        .maybe("content_id", item.id.as_deref())
        .maybe("content_name", item.name.as_deref())
        .maybe("content_type", item.category.as_deref())
        .maybe("content_price", item.price.filter(|_| is_priced).map(wire::number))
        .maybe("num_items", wire::integer(item.quantity.unwrap_or(Decimal::ONE)));
    Some(object)
}
