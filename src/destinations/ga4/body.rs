//! The body of `mp/collect` (DOC/reference): an envelope for one client, and its events.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{LONGEST_VALUE, Object, names, session_id, wire};
use crate::{
    consent::Grant,
    event::{Field, Item},
    job::Prepared,
};

/// Parameters an event.
const PARAMETERS: usize = 25;
/// The longest user id.
const LONGEST_USER_ID: usize = 256;

/// Everything that a request says once: whose events, on what device, with which consent.
pub(super) fn envelope(job: &Prepared, test: bool) -> Object {
    let user_id = job.clear(Field::ExternalId).filter(|id| id.chars().count() <= LONGEST_USER_ID);
    let agent = job.clear(Field::UserAgent);
    let mut envelope = Object::default()
        .maybe("client_id", job.clear(Field::GaClientId))
        .maybe("app_instance_id", job.clear(Field::GaAppInstanceId))
        .maybe("user_id", user_id)
        .object("consent", consent(job))
        .maybe("user_agent", agent)
        .maybe("ip_override", job.clear(Field::Ip))
        .object("user_data", user_data(job));
    if agent.is_none() {
        // A device would win over the user agent, and know less.
        envelope = envelope.object("device", device(job));
    }
    if test {
        envelope = envelope.with("validation_behavior", "ENFORCE_RECOMMENDATIONS");
    }
    envelope
}

/// Granted and denied only: silence leaves it to what the tag knows of the client.
fn consent(job: &Prepared) -> Object {
    let status = |grant| match grant {
        Grant::Granted => Some("GRANTED"),
        Grant::Denied => Some("DENIED"),
        Grant::NotAsked => None,
    };
    let grants = job.flags.grants;
    let personalization =
        if job.flags.personalization_denied { Grant::Denied } else { grants.ad_personalization };
    Object::default()
        .maybe("ad_user_data", status(grants.ad_user_data))
        .maybe("ad_personalization", status(personalization))
}

fn user_data(job: &Prepared) -> Object {
    let hashes = |field| job.hashed(field);
    let first = |field| job.hashed(field).next();
    let address = Object::default()
        .maybe("sha256_first_name", first(Field::FirstName))
        .maybe("sha256_last_name", first(Field::LastName))
        .maybe("sha256_street", first(Field::Street))
        .maybe("city", job.clear(Field::City))
        .maybe("region", job.clear(Field::Region))
        .maybe("postal_code", job.clear(Field::PostalCode))
        .maybe("country", job.clear(Field::Country));
    Object::default()
        .list("sha256_email_address", hashes(Field::Email))
        .list("sha256_phone_number", hashes(Field::Phone))
        .list("address", (!address.is_empty()).then_some(address))
}

fn device(job: &Prepared) -> Object {
    Object::default()
        .maybe("category", job.clear(Field::DeviceType))
        .maybe("language", job.clear(Field::Locale))
        .maybe("operating_system", job.clear(Field::AppOs))
        .maybe("operating_system_version", job.clear(Field::AppOsVersion))
        .maybe("model", job.clear(Field::AppDeviceModel))
}

pub(super) fn event(job: &Prepared, name: &str, now: Timestamp) -> Object {
    Object::default()
        .with("name", name)
        // Microseconds, never in the future.
        .with("timestamp_micros", job.time.min(now).as_microsecond())
        .object("params", parameters(job, name))
}

/// At most 25: those that GA4 knows come first, then the sender's own.
fn parameters(job: &Prepared, name: &str) -> Object {
    let (currency, priced) = wire::currency(job);
    let items: Vec<Object> =
        job.items.iter().enumerate().map(|(index, item)| product(item, index, priced)).collect();
    // An adjustment under a name of one's own says of what, too.
    let own = job.adjusts.as_ref().filter(|_| !names::has_transaction(name));
    let has_transaction =
        own.map_or(names::has_transaction(name), |_| !job.transaction_id.is_empty());
    let transaction = Some(job.transaction_id.as_str()).filter(|_| has_transaction);
    // A value without a currency would be dropped from revenue.
    let has_amount = job.value.is_some() || !job.amounts.is_empty() || !items.is_empty();
    let other = job.other();
    let text = |field: Field, longest: usize| job.clear(field).map(|text| cut(text, longest));
    let mut parameters = Object::large()
        .maybe("transaction_id", transaction.map(|id| cut(id, LONGEST_VALUE)))
        .maybe("adjustment_type", own.map(|adjusts| adjusts.kind.name()))
        .maybe("currency", currency.filter(|_| has_amount))
        .maybe("value", job.value.map(|value| wire::number(value.amount)))
        .maybe("session_id", job.clear(Field::GaSessionId))
        // Without it the event does not count as active use; 1 adds nothing to it.
        .with("engagement_time_msec", engagement(&other))
        .list("items", items)
        .maybe("tax", wire::amount(job, Field::Tax))
        .maybe("shipping", wire::amount(job, Field::Shipping))
        .maybe("coupon", text(Field::Coupon, LONGEST_VALUE))
        .maybe("search_term", text(Field::SearchTerm, LONGEST_VALUE))
        .maybe("customer_type", text(Field::CustomerType, LONGEST_VALUE))
        .maybe("page_location", text(Field::PageUrl, 1_000))
        .maybe("page_referrer", text(Field::Referrer, 420));
    if let Some(calibrated) = job.calibrated {
        // Beside the revenue, never in its place.
        parameters = parameters
            .with("calibrated_value", wire::number(calibrated.amount))
            .with("calibrated_currency", calibrated.currency);
    }
    for (key, value) in other {
        if parameters.len() >= PARAMETERS {
            break;
        }
        if let Some(value) = parameter(&key, &value)
            && names::is_parameter(&key)
        {
            parameters.keep_or_insert(&key, value);
        }
    }
    parameters
}

fn engagement(other: &Map<String, Value>) -> u64 {
    let own = other.get("engagement_time_msec").and_then(Value::as_u64);
    own.unwrap_or(1).max(1)
}

fn product(item: &Item, index: usize, priced: bool) -> Object {
    fn text(text: Option<&String>) -> Option<&str> {
        text.map(|text| cut(text, LONGEST_VALUE))
    }
    Object::default()
        .maybe("item_id", text(item.id.as_ref()))
        .maybe("item_name", text(item.name.as_ref()))
        .maybe("item_brand", text(item.brand.as_ref()))
        .maybe("item_category", text(item.category.as_ref()))
        .maybe("item_variant", text(item.variant.as_ref()))
        .maybe("price", item.price.filter(|_| priced).map(wire::number))
        .maybe("discount", item.discount.filter(|_| priced).map(wire::number))
        .with("quantity", wire::number(item.quantity.unwrap_or(1.into())))
        .with("index", index)
}

/// A sender's own property in the form that its name asks for: `session_id` is a number and
/// `debug_mode` true or 1 (sheet, section 2), under which any other text would mean nothing.
fn parameter(key: &str, value: &Value) -> Option<Value> {
    match (key, value) {
        ("session_id", Value::String(text)) => session_id(text).map(Value::String),
        ("session_id", Value::Number(number)) if number.is_u64() => Some(value.clone()),
        ("debug_mode", Value::Bool(true)) => Some(Value::Bool(true)),
        ("debug_mode", Value::String(text)) if matches!(text.as_str(), "true" | "1") => {
            Some(Value::Bool(true))
        }
        ("debug_mode", Value::Number(number)) if number.as_u64() == Some(1) => Some(1.into()),
        ("session_id" | "debug_mode", _) => None,
        ("page_title", _) => scalar(value, 300),
        _ => scalar(value, LONGEST_VALUE),
    }
}

/// A parameter is a text or a number.
fn scalar(value: &Value, longest: usize) -> Option<Value> {
    match value {
        Value::String(text) if !text.is_empty() => Some(Value::from(cut(text, longest))),
        Value::Number(_) => Some(value.clone()),
        Value::Bool(truth) => Some(Value::String(truth.to_string())),
        _ => None,
    }
}

/// The first so many characters.
fn cut(text: &str, longest: usize) -> &str {
    if text.len() <= longest {
        return text;
    }
    let end = text.char_indices().nth(longest).map(|(end, _)| end);
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}
