//! Amazon Ads Events API: up to 500 events of one advertiser a request, each with an answer of its
//! own under HTTP 207.
//!
//! An event's name, its kind and where it happened make the conversion definition at Amazon.
//!
//! Pages are those of the sheet, checked 2026-11-22: `AMZ` stands for
//! <https://github.com/amzn/ads-advanced-tools-docs> (events API), `GEN` for the client that was
//! generated from Amazon's OpenAPI description, `SEG` for Segment's action.

mod answer;
mod body;
mod names;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use self::names::Name;
use super::{
    Answer, ApiVersion, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup,
    Destination, Key, KeyKind, Occasion, Platform, Preparation, Problem, Quota, Refusal, Response,
    Settings, Take,
    prepare::{Recipe, missing, prepare, taken, unsupported},
    settings::days,
    wire::{self, Frame},
};
use crate::{
    consent::{Grant, Permit, Purpose, Purposes},
    event::{ActionSource, Currency, Field, FieldSet},
    identity::{Rule, country_code},
    job::{Prepared, Skip, SkipCode},
};

/// In the path; the API is still listed among Amazon's betas (AMZ).
const VERSION: &str = "v1";

/// GEN; the size is not documented, 1 MB is what an integrator keeps to.
const BATCH: BatchLimits = BatchLimits { events: 500, bytes: 1_000_000 };

/// AMZ, using-the-template.
const MAX_AGE: Duration = days(21);

/// Where an advertiser's account is, and the host that serves it.
const REGIONS: [(&str, &str); 3] = [
    ("NA", "https://advertising-api.amazon.com"),
    ("EU", "https://advertising-api-eu.amazon.com"),
    ("FE", "https://advertising-api-fe.amazon.com"),
];

/// SEG; Amazon may take newer ones, which `more_currencies` adds.
#[rustfmt::skip]
const CURRENCIES: [&str; 18] = [
    "AED", "AUD", "BRL", "CAD", "CNY", "DKK", "EUR", "GBP", "INR", "JPY", "MXN", "NOK", "NZD",
    "SAR", "SEK", "SGD", "TRY", "USD",
];

const FROM_APP: &[ActionSource] = &[ActionSource::App];

/// AMZ, match keys: each has exactly one value. Two readings of a phone number are in use, with and
/// without its plus, so that it is a setting.
const fn takes(phone: Rule) -> [Take; 17] {
    [
        Take::hashed(Field::Email, Rule::EmailAmazon).at_most(1),
        Take::hashed(Field::Phone, phone).at_most(1),
        Take::hashed(Field::FirstName, Rule::LowerAlphanumeric).at_most(1),
        Take::hashed(Field::LastName, Rule::LowerAlphanumeric).at_most(1),
        Take::hashed(Field::Street, Rule::LowerAlphanumeric).at_most(1),
        Take::hashed(Field::City, Rule::LowerAlphanumeric).at_most(1),
        Take::hashed(Field::Region, Rule::LowerAlphanumeric).at_most(1),
        Take::hashed(Field::PostalCode, Rule::LowerNoSpace).at_most(1),
        Take::clear(Field::AdvertisingId, Rule::Verbatim).only_from(FROM_APP),
        Take::clear(Field::AppOs, Rule::Lower).only_from(FROM_APP),
        Take::clear(Field::Country, Rule::CountryUpper),
        // Only as a sign of where the person is, in `consent`.
        Take::clear(Field::Ip, Rule::Verbatim),
        Take::clear(Field::AmznClickId, Rule::Verbatim),
        Take::clear(Field::OrderId, Rule::Verbatim),
        Take::clear(Field::AppDeviceModel, Rule::Lower).only_from(FROM_APP),
        // As they came, in `consent`.
        Take::clear(Field::Tcf, Rule::Verbatim),
        Take::clear(Field::Gpp, Rule::Verbatim),
    ]
}

const TAKES: &[Take] = &takes(Rule::PhoneDigits);
const TAKES_WITH_PLUS: &[Take] = &takes(Rule::PhoneE164);

const FIELDS: FieldSet =
    taken(TAKES, &[Field::Value, Field::Currency, Field::Items, Field::OtherProperties]);

/// What Amazon is.
pub(super) static PLATFORM: Platform = Platform {
    name: "amazon",
    title: "Amazon Ads Events API",
    also_called: &["Amazon Ads", "Amazon Conversions API"],
    docs: "https://advertising.amazon.com/API/docs/en-us/guides/events/events",
    api: Some(ApiVersion { version: VERSION, ends: None }),
    endpoint: "https://advertising-api.amazon.com",
    token_endpoint: "https://api.amazon.com",
    batch: BATCH,
    oldest: |_| MAX_AGE,
    // Limits are dynamic, and none is published.
    quota: Quota { requests_per_second: 5, burst: 10, requests_per_day: None },
    // By `eventId`, also against the Amazon Ad Tag (AMZ).
    dedup: Dedup::EventId,
    browser_dedup: BrowserDedup::EventId,
    takes: TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        personalization_flag: false,
        // `LIMITED_DATA_USE` is for opt-outs of states of the USA.
        restricted_in: &["US"],
        can_restrict: |_, _, _| true,
        required: FieldSet::EMPTY,
        default_fields,
        takes: FIELDS,
        with_ad_user_data: FieldSet::EMPTY,
    },
    // Amazon Ads, on IAB's list.
    tcf_vendor_id: Some(793),
    ac_provider_id: None,
    keys: &[
        Key::new(
            "account_id",
            KeyKind::Recipient,
            "the advertiser's number at the DSP, not its ENTITY id",
        ),
        Key::new("region", KeyKind::Text, "where the account is: NA, EU or FE"),
        Key::new("client_id", KeyKind::Text, "the Login with Amazon application"),
        Key::new("client_secret", KeyKind::Secret, "its secret"),
        Key::new("refresh_token", KeyKind::Secret, "the grant of a user of the account"),
        Key::new("data_set", KeyKind::Recipient, "the data set's name; default Default_Events"),
        Key::new("country", KeyKind::Text, "for events that tell no country, such as US"),
        Key::new("phone_plus", KeyKind::Bool, "hash phone numbers with their plus; default false"),
        Key::new("custom_data", KeyKind::Any, "names of properties to send as custom attributes"),
        Key::new("more_currencies", KeyKind::Any, "currencies that Amazon takes besides the known"),
        Key::new("max_age_days", KeyKind::Number, "the oldest event, in days; default 21"),
    ],
    entry_keys: &[
        Key::new("name", KeyKind::Text, "the event's name at Amazon; default the plan event's"),
        Key::new("conversion_type", KeyKind::Text, "its kind, such as OFF_AMAZON_PURCHASES"),
    ],
    has_test_mode: false,
    contract: include_str!("../../sandbox/contracts/amazon.json"),
    configure,
};

/// The country is required (AMZ); an app's system is part of its source.
fn default_fields(source: ActionSource) -> FieldSet {
    const ALWAYS: FieldSet = FieldSet::of(&[Field::Country, Field::AmznClickId]);
    match source {
        ActionSource::App => {
            ALWAYS.union(FieldSet::of(&[Field::AppOs, Field::AppDeviceModel, Field::AdvertisingId]))
        }
        _ => ALWAYS,
    }
}

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let account = settings.required_text("account_id", &mut problems);
    if !account.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = "must be the advertiser's number (its ENTITY id is another one)";
        problems.push(Problem::new("account_id", message));
    }
    let region = settings.required_text("region", &mut problems).to_ascii_uppercase();
    let host = REGIONS.iter().find(|(name, _)| *name == region).map(|(_, host)| *host);
    if host.is_none() && !region.is_empty() {
        problems.push(Problem::new("region", "must be NA, EU or FE"));
    }
    let data_set = settings.text("data_set").filter(|name| !name.is_empty());
    if data_set.as_deref().is_some_and(|name| !is_data_set(name)) {
        let message = "must be 5 to 100 letters, digits, _ or -, beginning with a letter";
        problems.push(Problem::new("data_set", message));
    }
    let country = settings.text("country").map(|country| country.to_ascii_uppercase());
    if country.as_deref().is_some_and(|code| !is_country(code)) {
        problems.push(Problem::new("country", "must be an ISO 3166-1 country, such as US"));
    }
    let custom_data = list(settings, "custom_data", &mut problems);
    if custom_data.len() > body::CUSTOM_ATTRIBUTES {
        let message = format!("at most {} are taken", body::CUSTOM_ATTRIBUTES);
        problems.push(Problem::new("custom_data", message));
    }
    if let Some(name) = custom_data.iter().find(|name| !body::is_attribute(name)) {
        let message = format!("{name:?} must be letters, digits and _");
        problems.push(Problem::new("custom_data", message));
    }
    let is_twice = |name: &String| custom_data.iter().filter(|other| *other == name).count() > 1;
    if let Some(name) = custom_data.iter().find(|name| is_twice(name)) {
        problems.push(Problem::new("custom_data", format!("{name:?} is listed twice")));
    }
    let mut currencies: Vec<Currency> =
        CURRENCIES.iter().filter_map(|code| Currency::parse(code)).collect();
    for code in list(settings, "more_currencies", &mut problems) {
        match Currency::parse(&code) {
            Some(currency) => currencies.push(currency),
            None => {
                let message = format!("{code:?} is no currency of ISO 4217");
                problems.push(Problem::new("more_currencies", message));
            }
        }
    }
    let max_age = settings.days("max_age_days", MAX_AGE, &mut problems);
    let client_id = settings.required_text("client_id", &mut problems);
    let auth = Auth::OAuthRefresh {
        token_url: format!("{}/auth/o2/token", settings.token_endpoint.trim_end_matches('/')),
        client_id: client_id.clone(),
        client_secret: settings.required_secret("client_secret", &mut problems),
        refresh_token: settings.required_secret("refresh_token", &mut problems),
        extra: Vec::new(),
    };
    let names = names::names(settings, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    // An endpoint of the operator's own, or the sandbox's, serves every region.
    let base = match host {
        Some(host) if settings.endpoint == PLATFORM.endpoint => host,
        _ => settings.endpoint.trim_end_matches('/'),
    };
    Ok(Box::new(Amazon {
        url: format!("{base}/adsApi/{VERSION}/create/events"),
        account,
        client_id,
        auth,
        needs_consent: region == "EU",
        takes: if settings.flag("phone_plus", false) { TAKES_WITH_PLUS } else { TAKES },
        wording: body::Wording { data_set, country, custom_data },
        currencies,
        max_age,
        names,
    }))
}

/// A list of texts; a problem where it is something else.
fn list(settings: &Settings, key: &str, problems: &mut Vec<Problem>) -> Vec<String> {
    let texts = match settings.table.get(key) {
        None => return Vec::new(),
        Some(toml::Value::Array(items)) => {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        }
        Some(_) => None,
    };
    texts.unwrap_or_else(|| {
        problems.push(Problem::new(key, "must be a list of texts"));
        Vec::new()
    })
}

/// SEG, `dataSetName`.
fn is_data_set(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    (5..=100).contains(&name.len())
        && name.bytes().all(fits)
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn is_country(code: &str) -> bool {
    country_code(code).as_deref() == Some(code)
}

#[derive(Debug)]
struct Amazon {
    url: String,
    account: String,
    client_id: String,
    auth: Auth,
    needs_consent: bool,
    takes: &'static [Take],
    wording: body::Wording,
    currencies: Vec<Currency>,
    max_age: Duration,
    names: BTreeMap<String, Vec<Name>>,
}

impl Destination for Amazon {
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal> {
        let Some(name) = self.name(occasion.plan_event, occasion.entry) else {
            return Err(Refusal::Skip(Skip::new(SkipCode::NotMapped, "no entry for this event")));
        };
        if occasion.event.adjusts.is_some() {
            return Err(unsupported("Amazon takes no refund, cancellation or changed value"));
        }
        let recipe = Recipe { takes: self.takes, fields: FIELDS, oldest: self.max_age };
        let mut preparation = prepare(&recipe, occasion, permit, now)?;
        let prepared = &mut preparation.prepared;
        if !prepared.has(Field::Country)
            && let (true, Some(country)) =
                (permit.fields.contains(Field::Country), occasion.site_country)
        {
            prepared.put_clear(Field::Country, country.to_ascii_uppercase());
        }
        if self.wording.country_of(prepared).is_none() {
            return Err(missing("user.country, which no setting country stands in for,"));
        }
        if body::source(prepared).is_none() {
            return Err(missing("context.app.os (ios, android or fire os) of an app's event"));
        }
        if body::match_keys(prepared).is_empty() {
            let message = "Amazon needs a match key: e-mail, phone, name, address, place or \
                           advertising id; a click id alone is not enough";
            return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
        }
        if let (true, Some(value)) = (name.is_purchase(), prepared.value) {
            if !self.takes_currency(value.currency) {
                let message = format!(
                    "Amazon takes no {}, and no rate is configured to convert it",
                    value.currency.code()
                );
                return Err(Refusal::Skip(Skip::new(SkipCode::Currency, message)));
            }
            if value.amount.is_sign_negative() && !value.amount.is_zero() {
                return Err(unsupported("Amazon takes no purchase of less than nothing"));
            }
        }
        // Accounts of the EU must say where the person is, or what they agreed to (SEG).
        let signs = FieldSet::of(&[Field::Ip, Field::Tcf, Field::Gpp]);
        let says = !prepared.present().intersection(signs).is_empty()
            || prepared.flags.grants.ad_user_data != Grant::NotAsked;
        if self.needs_consent && !says {
            let signs = "a sign of consent (ad_user_data, a TCF or GPP string) or context.ip";
            return Err(missing(&format!("{signs}, for the EU,")));
        }
        Ok(preparation)
    }

    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call> {
        let events = jobs.iter().enumerate().filter_map(|(index, job)| {
            let name = self.name(&job.event, job.entry)?;
            Some((index, body::event(job, name, &self.wording, now).json()))
        });
        wire::batches(events, BATCH, Frame::Known("{\"events\":[", "]}"))
            .into_iter()
            .map(|batch| {
                let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
                Call {
                    purpose: CallPurpose::Send,
                    method: "POST",
                    url: self.url.clone(),
                    headers: vec![
                        header("content-type", "application/json"),
                        header("accept", "application/json"),
                        header("amazon-ads-clientid", &self.client_id),
                        header("amazon-ads-accountid", &self.account),
                    ],
                    body: batch.text.into_bytes(),
                    members: batch.members,
                }
            })
            .collect()
    }

    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        answer::classify(call, response, now)
    }

    fn auth(&self) -> Auth {
        self.auth.clone()
    }

    fn takes_currency(&self, currency: Currency) -> bool {
        self.currencies.contains(&currency)
    }

    fn is_deduplicated(&self, _: &Prepared) -> bool {
        true
    }
}

impl Amazon {
    fn name(&self, event: &str, entry: u16) -> Option<&Name> {
        self.names.get(event)?.get(usize::from(entry))
    }
}

#[cfg(test)]
mod tests;
