//! The body of `events`: one object an event (DOC/Parameters).

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::state;
use crate::{
    destinations::wire::{self, Object},
    event::{ActionSource, Field, Item},
    job::Prepared,
};

/// One event; `limited_option` is the word of Limited Data Use.
pub(super) fn event(job: &Prepared, name: &str, limited_option: &str, now: Timestamp) -> Object {
    let source = match job.action_source {
        ActionSource::Website => "WEB",
        ActionSource::App => "MOBILE_APP",
        _ => "OFFLINE",
    };
    let mut event = Object::large()
        .with("event_name", name)
        // Seconds as documented, though milliseconds are taken too; times to come are refused.
        .with("event_time", job.time.min(now).as_second())
        .with("event_id", job.event_id.as_str())
        .with("action_source", source)
        .maybe("event_source_url", job.clear(Field::PageUrl))
        .object("user_data", user_data(job))
        .object("custom_data", custom_data(job));
    if job.action_source == ActionSource::App {
        event = event.object("app_data", app_data(job));
    }
    if job.flags.limited {
        // 0 and 0 have Snapchat look at the address.
        let (country, state) = state(&job.consent.region).map_or((0, 0), |state| (1, state));
        event = event
            .with("data_processing_options", json!([limited_option]))
            .with("data_processing_options_country", country)
            .with("data_processing_options_state", state);
    }
    event
}

fn user_data(job: &Prepared) -> Object {
    let mut data = Object::large();
    for (key, field) in [
        ("em", Field::Email),
        ("ph", Field::Phone),
        ("fn", Field::FirstName),
        ("ln", Field::LastName),
        ("ge", Field::Gender),
        ("db", Field::DateOfBirth),
        ("ct", Field::City),
        ("st", Field::Region),
        ("zp", Field::PostalCode),
        ("country", Field::Country),
        ("external_id", Field::ExternalId),
    ] {
        data = data.list(key, job.hashed(field));
    }
    for (key, field) in [
        ("client_ip_address", Field::Ip),
        ("client_user_agent", Field::UserAgent),
        ("sc_click_id", Field::Sccid),
        ("sc_cookie1", Field::Scid),
        ("anon_id", Field::AnonymousId),
        ("subscription_id", Field::SubscriptionId),
        ("idfv", Field::VendorId),
        ("madid", Field::AdvertisingId),
    ] {
        data = data.maybe(key, job.clear(field));
    }
    let lead = job.clear(Field::LeadSnapchat).and_then(|id| id.parse::<u64>().ok());
    data.maybe("madid", job.hashed(Field::AdvertisingId).next()).maybe("lead_id", lead)
}

/// Counts and prices of products are texts, as in Snap's own SDK; the value is a number. The
/// sender's own properties pass where they bear one of Snapchat's names and are of its kind.
fn custom_data(job: &Prepared) -> Object {
    let (currency, priced) = wire::currency(job);
    let contents: Vec<Object> = job.items.iter().filter_map(|item| content(item, priced)).collect();
    let ltv = wire::amount(job, Field::PredictedLtv);
    let has_price = contents.iter().any(|content| content.has("item_price"));
    let has_amount = job.value.is_some() || ltv.is_some() || has_price;
    let other = job.other();
    let text = |key: &str| other.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let data = Object::large()
        .maybe("value", job.value.map(|value| wire::number(value.amount)))
        .maybe("currency", currency.filter(|_| has_amount))
        .maybe("predicted_ltv", ltv)
        .maybe("order_id", job.clear(Field::OrderId))
        .maybe("search_string", job.clear(Field::SearchTerm))
        .maybe("content_type", text("content_type"))
        .maybe("sign_up_method", text("sign_up_method"))
        .maybe("status", text("status"));
    if contents.is_empty() {
        return data;
    }
    let each = |of: fn(&Item) -> Option<&String>| {
        let mut texts: Vec<Value> = Vec::new();
        for text in job.items.iter().filter_map(of).map(|text| json!(text)) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        texts
    };
    data.maybe("num_items", wire::units(&job.items).map(|units| units.normalize().to_string()))
        .list("content_ids", each(|item| item.id.as_ref()))
        .list("content_category", each(|item| item.category.as_ref()))
        .list("brands", each(|item| item.brand.as_ref()))
        .list("contents", contents)
}

/// One product; without an id it is none.
fn content(item: &Item, priced: bool) -> Option<Object> {
    let text = |decimal: Decimal| decimal.normalize().to_string();
    let object = Object::default()
        .with("id", item.id.as_deref()?)
        .with("quantity", text(item.quantity.unwrap_or(Decimal::ONE)))
        .maybe("item_price", item.price.filter(|_| priced).map(text))
        .maybe("brand", item.brand.as_deref());
    Some(object)
}

/// The first of `extinfo`: which system.
pub(super) fn system(job: &Prepared) -> Option<&'static str> {
    match job.clear(Field::AppOs)? {
        "ios" | "ipados" => Some("i2"),
        "android" => Some("a2"),
        _ => None,
    }
}

/// `extinfo` is 16 texts in fixed order, unknown ones empty.
fn app_data(job: &Prepared) -> Object {
    let text = |field| job.clear(field).unwrap_or_default();
    let system = system(job).unwrap_or_default();
    let locale = text(Field::Locale).replace('-', "_");
    let known = [
        system,
        text(Field::AppId),
        text(Field::AppVersion),
        "",
        text(Field::AppOsVersion),
        text(Field::AppDeviceModel),
        &locale,
    ];
    let mut extinfo = known.to_vec();
    extinfo.resize(16, "");
    // App Tracking Transparency is Apple's: there silence is no; elsewhere only a no is one.
    let status = job.clear(Field::AttStatus);
    let may_track = status == Some("authorized") || (status.is_none() && system != "i2");
    Object::default()
        .maybe("app_id", job.clear(Field::AppId))
        .with("advertiser_tracking_enabled", u8::from(may_track))
        .with("extinfo", json!(extinfo))
}
