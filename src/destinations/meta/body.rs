//! The body of `/events`: one object an event (DOC/parameters).

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::Value;

use super::ldu_state;
use crate::{
    destinations::wire::{self, Exact, Object},
    event::{ActionSource, Field, Item},
    job::Prepared,
};

pub(super) fn event(job: &Prepared, name: &str, channel: Option<&str>, now: Timestamp) -> Object {
    // Seconds, never milliseconds, and not in the future (sheet, section 9).
    let mut event = Object::large()
        .with("event_name", name)
        .with("event_time", job.time.min(now).as_second())
        .with("event_id", job.event_id.as_str())
        .with("action_source", source(job.action_source))
        .maybe("event_source_url", job.clear(Field::PageUrl))
        .maybe("referrer_url", job.clear(Field::Referrer))
        .object("user_data", user_data(job))
        .object("custom_data", custom_data(job, name));
    if job.action_source == ActionSource::App {
        event = event.object("app_data", app_data(job));
    }
    event = event.maybe("messaging_channel", messaging_channel(job, channel));
    if job.flags.personalization_denied {
        event = event.with("opt_out", true);
    }
    if job.flags.limited {
        // Country and state go together; 0 and 0 have Meta look at the address (DOC/data-processing-options).
        let (country, state) = ldu_state(&job.consent.region).map_or((0, 0), |state| (1, state));
        event = event
            .with("data_processing_options", ["LDU"])
            .with("data_processing_options_country", country)
            .with("data_processing_options_state", state);
    }
    event
}

/// Where a conversation was, which an event of one must say: in WhatsApp after a click on an ad that
/// opens it, else where the settings say.
pub(super) fn messaging_channel<'a>(job: &Prepared, channel: Option<&'a str>) -> Option<&'a str> {
    match job.clear(Field::CtwaClid) {
        _ if job.action_source != ActionSource::BusinessMessaging => None,
        Some(_) => Some("whatsapp"),
        None => channel,
    }
}

fn source(source: ActionSource) -> &'static str {
    match source {
        ActionSource::Crm => "system_generated",
        source => source.name(),
    }
}

fn user_data(job: &Prepared) -> Object {
    let mut data = Object::large();
    for (key, field) in [
        ("em", Field::Email),
        ("ph", Field::Phone),
        ("fn", Field::FirstName),
        ("ln", Field::LastName),
        ("db", Field::DateOfBirth),
        ("ge", Field::Gender),
        ("ct", Field::City),
        ("st", Field::Region),
        ("zp", Field::PostalCode),
        ("country", Field::Country),
        ("external_id", Field::ExternalId),
    ] {
        let hashes = job.hashed(field);
        data = data.list(key, hashes);
    }
    for (key, field) in [
        ("client_ip_address", Field::Ip),
        ("client_user_agent", Field::UserAgent),
        ("fbc", Field::Fbc),
        ("fbp", Field::Fbp),
        ("ctwa_clid", Field::CtwaClid),
        ("subscription_id", Field::SubscriptionId),
        ("madid", Field::AdvertisingId),
    ] {
        data = data.maybe(key, job.clear(field));
    }
    data.maybe("lead_id", job.clear(Field::LeadMeta).and_then(lead_id))
}

/// A number of 15 to 17 digits.
pub(super) fn lead_id(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| (15..=17).contains(&text.len()))
}

/// DOC/parameters/custom-data.
fn custom_data(job: &Prepared, name: &str) -> Object {
    let contents: Vec<Object> = job.items.iter().filter_map(|item| content(job, item)).collect();
    let (currency, _) = wire::currency(job);
    let priced = job.value.is_some() || contents.iter().any(|c| c.has("item_price"));
    let amounts = [("net_revenue", Field::NetRevenue), ("predicted_ltv", Field::PredictedLtv)];
    let mut data = Object::large().maybe("value", job.value.map(|v| wire::number(v.amount)));
    for (key, field) in amounts {
        data = data.maybe(key, wire::amount(job, field));
    }
    let has_amount = priced || amounts.iter().any(|(_, field)| wire::amount(job, *field).is_some());
    let mut data = data
        .maybe("currency", currency.filter(|_| has_amount))
        .maybe("order_id", job.clear(Field::OrderId))
        .maybe("search_string", job.clear(Field::SearchTerm))
        .maybe("lead_event_source", job.clear(Field::LeadCrm));
    if job.clear(Field::LeadCrm).is_some() || job.action_source == ActionSource::Crm {
        data = data.with("event_source", "crm");
    }
    let has_contents = !contents.is_empty();
    if has_contents {
        let ids = job.items.iter().filter_map(|item| item.id.as_deref());
        data = data.list("content_ids", ids).list("contents", contents);
        if matches!(name, "Purchase" | "InitiateCheckout") {
            data = data.maybe("num_items", units(&job.items));
        }
    }
    if let Some(adjusts) = &job.adjusts {
        // Under a name of one's own, and so under a key of one's own.
        data = data.with("adjustment_type", adjusts.kind.name());
    }
    // Free keys are siblings of the standard ones, which they never replace.
    for (key, value) in job.other() {
        if may_be_free(&key, &value) {
            data.keep_or_insert(&key, value);
        }
    }
    if has_contents {
        data.keep_or_insert("content_type", "product");
    }
    data
}

/// Whether a sender's own property can stand in `custom_data`: one that bears a standard key must
/// be of its kind, since one wrong value refuses the whole batch.
pub(super) fn may_be_free(key: &str, value: &Value) -> bool {
    match key {
        "content_type" => matches!(value.as_str(), Some("product" | "product_group")),
        "delivery_category" => {
            matches!(value.as_str(), Some("in_store" | "curbside" | "home_delivery"))
        }
        "content_name" | "content_category" | "status" | "item_number" => value.is_string(),
        "content_ids" => value.as_array().is_some_and(|ids| {
            !ids.is_empty() && ids.iter().all(|id| id.is_string() || id.is_u64())
        }),
        "num_items" => value.is_u64(),
        // These come from fields of the event only.
        "value" | "currency" | "contents" | "order_id" | "search_string" | "predicted_ltv"
        | "net_revenue" | "event_source" | "lead_event_source" => false,
        _ => !value.is_null(),
    }
}

/// One product; without an id it is none.
fn content(job: &Prepared, item: &Item) -> Option<Object> {
    let (_, priced) = wire::currency(job);
    let object = Object::default()
        .with("id", item.id.as_deref().filter(|id| !id.trim().is_empty())?)
        .maybe("quantity", whole(item.quantity))
        .maybe("item_price", item.price.filter(|_| priced).map(wire::number))
        .maybe("title", item.name.as_deref())
        .maybe("brand", item.brand.as_deref())
        .maybe("category", item.category.as_deref());
    Some(object)
}

/// A quantity is a whole number from 1 on; absent it is 1.
fn whole(quantity: Option<Decimal>) -> Option<Exact> {
    quantity.or(Some(Decimal::ONE)).filter(|q| *q >= Decimal::ONE).and_then(wire::integer)
}

/// How many pieces, where all quantities are whole.
fn units(items: &[Item]) -> Option<Exact> {
    let mut sum = Decimal::ZERO;
    for item in items {
        sum = sum.checked_add(item.quantity.unwrap_or(Decimal::ONE))?;
    }
    whole(Some(sum))
}

/// The first of `extinfo`: which system.
pub(super) fn ext_version(job: &Prepared) -> Option<&'static str> {
    match job.clear(Field::AppOs)? {
        "ios" | "ipados" => Some("i2"),
        "android" => Some("a2"),
        _ => None,
    }
}

/// DOC/app-data: 16 strings in fixed order, unknown ones empty.
fn app_data(job: &Prepared) -> Object {
    let text = |field| job.clear(field).unwrap_or_default();
    let version = ext_version(job).unwrap_or_default();
    let locale = text(Field::Locale).replace('-', "_");
    let mut extinfo = vec![""; 16];
    let known = [
        version,
        text(Field::AppId),
        text(Field::AppVersion),
        "",
        text(Field::AppOsVersion),
        text(Field::AppDeviceModel),
        &locale,
    ];
    for (place, value) in extinfo.iter_mut().zip(known) {
        *place = value;
    }
    // App Tracking Transparency is Apple's: there silence is no; elsewhere only a no is one.
    let status = job.clear(Field::AttStatus);
    let tracking = status == Some("authorized") || (status.is_none() && version != "i2");
    Object::default()
        .with("advertiser_tracking_enabled", u8::from(tracking))
        .with("application_tracking_enabled", u8::from(!job.flags.personalization_denied))
        .with("extinfo", extinfo)
        .maybe("vendor_id", job.clear(Field::VendorId))
}
