//! The body: one object an event (GEN, EventCreate). Amazon has no place for a list of products.

use jiff::{Timestamp, fmt::temporal::DateTimePrinter};
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Value, json};

use super::names::Name;
use crate::{
    consent::Grant,
    destinations::wire::{self, Object},
    event::{ActionSource, Field},
    job::Prepared,
};

/// Attributes of one's own; three more have names of Amazon's (AMZ).
pub(super) const CUSTOM_ATTRIBUTES: usize = 10;

/// ISO 8601 with its zone, to the second (AMZ); a fraction is not among the examples.
const TIME: DateTimePrinter = DateTimePrinter::new().precision(Some(0));

/// What the settings say of the body.
#[derive(Debug)]
pub(super) struct Wording {
    /// Which data set gets the events.
    pub(super) data_set: Option<String>,
    /// For events that tell no country.
    pub(super) country: Option<String>,
    /// Properties that are sent as attributes.
    pub(super) custom_data: Vec<String>,
    /// What their texts may be.
    pub(super) values: Values,
}

impl Wording {
    /// The event's own country, else that of the person's region, else the setting's.
    pub(super) fn country_of<'a>(&'a self, job: &'a Prepared) -> Option<&'a str> {
        let region = job.consent.region.as_deref().and_then(|region| region.split('-').next());
        let is_country = |code: &&str| code.len() == 2;
        job.clear(Field::Country).or(region.filter(is_country)).or(self.country.as_deref())
    }
}

pub(super) fn event(job: &Prepared, name: &Name, wording: &Wording, now: Timestamp) -> Object {
    let description = Object::default()
        .with("name", name.name.as_str())
        .with("conversionType", name.kind)
        .with("eventSource", source(job).unwrap_or("OFFLINE"))
        .with("eventIngestionMethod", "SERVER_TO_SERVER")
        .maybe("dataSetName", wording.data_set.as_deref());
    let value = job.value.map(|value| {
        let rounded =
            value.amount.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
        wire::number(rounded)
    });
    let purchase = name.is_purchase();
    let units = wire::units(&job.items).filter(|units| purchase && *units > Decimal::ZERO);
    let event = Object::large()
        .object("eventDescription", description)
        .maybe("countryCode", wording.country_of(job))
        // Not in the future, of which nothing is said.
        .with("eventTime", TIME.timestamp_to_string(&job.time.min(now)))
        .with("matchKeys", match_keys(job))
        // Of a purchase it is money, of all others a number without a currency (AMZ).
        .maybe("value", value)
        .maybe(
            "currencyCode",
            job.value.filter(|_| purchase).map(|value| value.currency.code().to_owned()),
        )
        .maybe("unitsSold", units.and_then(wire::integer))
        .with("eventId", job.event_id.as_str())
        .object("consent", consent(job))
        .list("customData", custom_data(job, wording))
        .maybe("amazonAdEventKey", job.clear(Field::AmznClickId));
    if job.flags.limited {
        event.with("dataProcessingOptions", json!({"options": "LIMITED_DATA_USE"}))
    } else {
        event
    }
}

/// Where it happened; an app's system is part of it, `None` where that is not known.
pub(super) fn source(job: &Prepared) -> Option<&'static str> {
    match (job.action_source, job.clear(Field::AppOs)) {
        (ActionSource::Website, _) => Some("WEBSITE"),
        (ActionSource::App, Some("ios" | "ipados" | "tvos")) => Some("IOS"),
        (ActionSource::App, Some("fire os" | "fireos" | "fire_tv" | "firetv")) => Some("FIRE_TV"),
        // Amazon's television sticks say that they are Android; their models begin with AFT.
        (ActionSource::App, Some("android"))
            if job.clear(Field::AppDeviceModel).is_some_and(|model| model.starts_with("aft")) =>
        {
            Some("FIRE_TV")
        }
        (ActionSource::App, Some("android")) => Some("ANDROID"),
        (ActionSource::App, _) => None,
        _ => Some("OFFLINE"),
    }
}

/// AMZ, match keys: an object each, with a list of one.
pub(super) fn match_keys(job: &Prepared) -> Vec<Object> {
    let hashed = [
        ("EMAIL", Field::Email),
        ("PHONE", Field::Phone),
        ("FIRST_NAME", Field::FirstName),
        ("LAST_NAME", Field::LastName),
        ("ADDRESS", Field::Street),
        ("CITY", Field::City),
        ("STATE", Field::Region),
        ("POSTAL", Field::PostalCode),
    ];
    let key = |kind: &str| Object::default().with("type", kind);
    let mut keys: Vec<Object> = hashed
        .into_iter()
        .filter_map(|(kind, field)| Some(key(kind).with("values", [job.hashed(field).next()?])))
        .collect();
    // In clear (AMZ).
    keys.extend(job.clear(Field::AdvertisingId).map(|id| key("MAID").with("values", [id])));
    keys
}

/// What is known, never more: a purpose nobody asked about is left out.
fn consent(job: &Prepared) -> Object {
    let word = |grant: Grant| match grant {
        Grant::Granted => Some("GRANTED"),
        Grant::Denied => Some("DENIED"),
        Grant::NotAsked => None,
    };
    let grants = job.flags.grants;
    let geo = Object::default().maybe("ipAddress", job.clear(Field::Ip));
    // `amznUserData` is required in it (SEG).
    let amazon = word(grants.ad_user_data).map_or_else(Object::default, |user_data| {
        Object::default()
            .with("amznUserData", user_data)
            .maybe("amznAdStorage", word(grants.ad_storage))
    });
    Object::default()
        .object("geo", geo)
        .object("amazonConsent", amazon)
        .maybe("tcf", job.clear(Field::Tcf))
        .maybe("gpp", job.clear(Field::Gpp))
}

/// Attributes by the settings' names, and what a single product is.
fn custom_data(job: &Prepared, wording: &Wording) -> Vec<Value> {
    let other = job.other();
    let named = wording.custom_data.iter().filter_map(|name| {
        let (kind, value) = attribute(other.get(name)?, wording.values).ok()?;
        Some((name.as_str(), kind, value))
    });
    let mut attributes: Vec<(&str, &str, String)> = named.collect();
    for (name, text) in product(job) {
        // One of the settings under the same name comes first: twice a name is refused.
        if wording.values.allow(text) && !attributes.iter().any(|(known, ..)| *known == name) {
            attributes.push((name, "STRING", text.to_owned()));
        }
    }
    let write = |(name, kind, value)| json!({"name": name, "dataType": kind, "value": value});
    attributes.into_iter().map(write).collect()
}

/// What a single product is, under the names that Amazon keeps for it (AMZ).
fn product(job: &Prepared) -> impl Iterator<Item = (&'static str, &str)> {
    let item = match job.items.as_slice() {
        [item] => Some(item),
        _ => None,
    };
    item.into_iter().flat_map(|item| {
        let texts = [("brand", &item.brand), ("productId", &item.id), ("category", &item.category)];
        texts.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)))
    })
}

/// Type and value of a property as an attribute, or why it is none.
pub(super) fn attribute(
    value: &Value,
    values: Values,
) -> Result<(&'static str, String), &'static str> {
    match value {
        Value::String(text) if values.allow(text) => Ok(("STRING", text.clone())),
        Value::String(text) if text.is_empty() => Err("it is empty"),
        Value::String(_) => Err(NO_WORD),
        Value::Number(number) if number.is_i64() => Ok(("INTEGER", number.to_string())),
        Value::Number(number) if values == Values::Any => Ok(("STRING", number.to_string())),
        Value::Number(_) => Err("it is no whole number: send cents"),
        _ => Err("it is neither a text nor a number"),
    }
}

const NO_WORD: &str = "Amazon takes letters, digits and _ only (attribute_values)";

/// What Amazon has no place for: items of a list, and attributes whose values it does not take.
pub(super) fn left_out(job: &Prepared, wording: &Wording) -> Vec<String> {
    let mut left_out = Vec::new();
    if job.items.len() > 1 {
        let items = job.items.len();
        left_out
            .push(format!("{items} items left out: Amazon takes one, and of more their number"));
    }
    let other = job.other();
    for name in &wording.custom_data {
        if let Some(Err(why)) = other.get(name).map(|value| attribute(value, wording.values)) {
            left_out.push(format!("custom_data {name} left out: {why}"));
        }
    }
    for (name, text) in product(job) {
        if !wording.values.allow(text) && !wording.custom_data.iter().any(|own| own == name) {
            left_out.push(format!("the item's {name} left out: {NO_WORD}"));
        }
    }
    left_out
}

/// What an attribute's text may be: Amazon's sample checks for letters, digits and `_`, its guide
/// shows "49.99" (AMZ).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// As the sample has it.
    Word,
    /// As the guide has it.
    Any,
}

impl Values {
    fn allow(self, text: &str) -> bool {
        !text.is_empty() && (self == Values::Any || is_attribute(text))
    }
}

/// Letters, digits and `_` (AMZ, sample validator).
pub(super) fn is_attribute(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
