//! Pinterest API for Conversions: up to 1,000 events of one ad account a request, each with an
//! answer of its own; but one with a key that Pinterest does not know refuses all.
//!
//! Pages are those of the sheet, checked 2026-11-22; `SPEC` stands for
//! <https://github.com/pinterest/api-description>, `v5/openapi.json`, 5.23.0.

mod answer;
mod body;
mod names;

use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;

use self::names::{refuse, standard};
use super::{
    Answer, ApiVersion, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup,
    Destination, Key, KeyKind, Mode, Occasion, Platform, Preparation, Problem, Quota, Refusal,
    Response, Settings, Take,
    prepare::{Recipe, missing, prepare, taken, unsupported},
    settings::{Names, days},
    wire::{self, Frame},
};
use crate::{
    consent::{Permit, Purpose, Purposes},
    event::{ActionSource, Field, FieldSet},
    identity::Rule,
    job::{Prepared, Skip, SkipCode},
};

/// Newest version, end not named (SPEC).
const VERSION: &str = "v5";

/// SPEC, ConversionEvents; the size is not documented.
const BATCH: BatchLimits = BatchLimits { events: 1_000, bytes: 1_000_000 };

/// Of a request with `test=true`, as integrators have it.
const TEST_EVENTS: usize = 20;

/// As in SPEC; one integrator has `item_brand_id` since 2026, and unknown keys are refused.
const BRAND_KEY: &str = "item_brand";

/// Not in SPEC; what integrators keep to.
const MAX_AGE: Duration = days(7);

const FROM_APP: &[ActionSource] = &[ActionSource::App];

/// SPEC, ConversionEventsUserData.
const TAKES: &[Take] = &[
    Take::hashed(Field::Email, Rule::EmailPlain),
    Take::hashed(Field::Phone, Rule::PhoneDigits),
    Take::hashed(Field::Gender, Rule::GenderOrNone),
    Take::hashed(Field::DateOfBirth, Rule::DateOfBirth),
    Take::hashed(Field::FirstName, Rule::Lower),
    Take::hashed(Field::LastName, Rule::Lower),
    Take::hashed(Field::City, Rule::CityCompact),
    Take::hashed(Field::Region, Rule::StateCompact),
    Take::hashed(Field::PostalCode, Rule::PostalDigits),
    Take::hashed(Field::Country, Rule::CountryLower),
    Take::hashed(Field::ExternalId, Rule::ExternalId),
    // SPEC names no case; in lower case as others send it, unless `maid_case` says otherwise.
    Take::hashed(Field::AdvertisingId, Rule::Lower).only_from(FROM_APP),
    Take::clear(Field::Ip, Rule::Verbatim),
    Take::clear(Field::UserAgent, Rule::Verbatim),
    Take::clear(Field::Epik, Rule::Verbatim),
    Take::clear(Field::PageUrl, Rule::HttpUrl),
    Take::clear(Field::Locale, Rule::Lower),
    Take::clear(Field::AppId, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::AppVersion, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::AppOs, Rule::Lower).only_from(FROM_APP),
    Take::clear(Field::AttStatus, Rule::Lower).only_from(FROM_APP),
    Take::clear(Field::AppOsVersion, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::AppDeviceModel, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::OrderId, Rule::Verbatim),
    Take::clear(Field::SearchTerm, Rule::Verbatim),
];

const FIELDS: FieldSet = taken(
    TAKES,
    &[
        Field::Value,
        Field::Currency,
        Field::PredictedLtv,
        Field::Items,
        Field::ItemNames,
        Field::OtherProperties,
    ],
);

/// What Pinterest is.
pub(super) static PLATFORM: Platform = Platform {
    name: "pinterest",
    title: "Pinterest API for Conversions",
    also_called: &["Pinterest Conversions API", "Pinterest Tag"],
    docs: "https://developers.pinterest.com/docs/api-features/track-conversions/",
    api: Some(ApiVersion { version: VERSION, ends: None }),
    endpoint: "https://api.pinterest.com",
    token_endpoint: "",
    batch: BATCH,
    oldest: |_| MAX_AGE,
    // 5,000 a minute and ad account (SPEC, ads_conversions).
    quota: Quota { requests_per_second: 83, burst: 100, requests_per_day: None },
    // By event name and id, but not of offline events (SPEC, ConversionEvents).
    dedup: Dedup::Partly,
    browser_dedup: BrowserDedup::EventId,
    takes: TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        personalization_flag: true,
        restricted_in: &["US"],
        can_restrict: |_, _, _| true,
        required: FieldSet::EMPTY,
        default_fields,
        takes: FIELDS,
        with_ad_user_data: FieldSet::EMPTY,
    },
    // Not on the Global Vendor List.
    tcf_vendor_id: None,
    ac_provider_id: None,
    keys: &[
        Key::new("ad_account_id", KeyKind::Recipient, "the ad account's number (not the tag's)"),
        Key::new("access_token", KeyKind::Secret, "the conversion access token of Ads Manager"),
        Key::new("partner_name", KeyKind::Text, "who sends, in the form ss-partnername"),
        Key::new("brand_key", KeyKind::Text, "the key of a product's brand; default item_brand"),
        Key::new("max_age_days", KeyKind::Number, "the oldest event, in days; default 7"),
        Key::new(
            "maid_case",
            KeyKind::Text,
            "an advertising id before it is hashed: lower (default), upper or as_is",
        ),
        Key::new(
            "advertiser_tracking",
            KeyKind::Bool,
            "send an app's advertiser_tracking_enabled, which the specification does not list; \
             default false",
        ),
        Key::new("test_batch", KeyKind::Number, "events a test request; default 20"),
    ],
    entry_keys: &[Key::new("name", KeyKind::Text, "the event name at Pinterest")],
    has_test_mode: true,
    contract: include_str!("../../sandbox/contracts/pinterest.json"),
    configure,
};

/// What identifies without identity is an address with a user agent; an app's system is in its
/// action source (SPEC).
fn default_fields(source: ActionSource) -> FieldSet {
    const CLICKS: FieldSet = FieldSet::of(&[Field::Epik]);
    CLICKS.union(match source {
        ActionSource::Website => FieldSet::of(&[Field::Ip, Field::UserAgent]),
        ActionSource::App => FieldSet::of(&[Field::AdvertisingId, Field::AppOs, Field::AttStatus]),
        _ => FieldSet::EMPTY,
    })
}

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let account = settings.required_text("ad_account_id", &mut problems);
    if !account.bytes().all(|b| b.is_ascii_digit()) || account.len() > 18 {
        let message = "must be the ad account's number, of at most 18 digits";
        problems.push(Problem::new("ad_account_id", message));
    }
    let partner_name = settings.text("partner_name").filter(|name| !name.is_empty());
    if partner_name.as_ref().is_some_and(|name| !name.starts_with("ss-")) {
        problems.push(Problem::new("partner_name", "must look like ss-partnername"));
    }
    let test_events = match settings.table.get("test_batch").map(toml::Value::as_integer) {
        None => TEST_EVENTS,
        Some(Some(number @ 1..=1_000)) => usize::try_from(number).unwrap_or(TEST_EVENTS),
        Some(_) => {
            problems.push(Problem::new("test_batch", "must be a number from 1 to 1000"));
            TEST_EVENTS
        }
    };
    let max_age = settings.days("max_age_days", MAX_AGE, &mut problems);
    let maid_rule = match settings.text("maid_case").as_deref() {
        None | Some("lower") => Rule::Lower,
        Some("upper") => Rule::Upper,
        Some("as_is") => Rule::ExternalId,
        Some(_) => {
            let message = "must be \"lower\", \"upper\" or \"as_is\"";
            problems.push(Problem::new("maid_case", message));
            Rule::Lower
        }
    };
    let mut takes = TAKES.to_vec();
    for take in takes.iter_mut().filter(|take| take.field == Field::AdvertisingId) {
        take.rule = maid_rule;
    }
    let token = settings.required_secret("access_token", &mut problems);
    let names = settings.entry_names(standard, refuse, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let base = settings.endpoint.trim_end_matches('/');
    Ok(Box::new(Pinterest {
        url: format!("{base}/{VERSION}/ad_accounts/{account}/events"),
        token,
        wording: body::Wording {
            partner_name,
            brand_key: settings.text("brand_key").unwrap_or_else(|| BRAND_KEY.to_owned()),
            advertiser_tracking: settings.flag("advertiser_tracking", false),
        },
        always_test: settings.mode == Mode::Test,
        test_events,
        max_age,
        takes,
        names,
    }))
}

#[derive(Debug)]
struct Pinterest {
    url: String,
    token: SecretString,
    wording: body::Wording,
    always_test: bool,
    test_events: usize,
    max_age: Duration,
    takes: Vec<Take>,
    names: Names,
}

impl Destination for Pinterest {
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal> {
        let event = occasion.event;
        let Some(name) = self.names.get(occasion.plan_event, occasion.entry) else {
            return Err(Refusal::Skip(Skip::new(SkipCode::NotMapped, "no entry for this event")));
        };
        // There is no refund and no retraction; an event of one's own may tell of it.
        if event.adjusts.is_some() && !names::is_own(name) {
            return Err(unsupported(format!("Pinterest takes no adjustment of a {name}")));
        }
        let recipe = Recipe { takes: &self.takes, fields: FIELDS, oldest: self.max_age };
        let preparation = prepare(&recipe, occasion, permit, now)?;
        let prepared = &preparation.prepared;
        if body::source(prepared).is_none() {
            return Err(missing("context.app.os (ios or android), which an app's event needs,"));
        }
        let has = |field: Field| prepared.has(field);
        let is_known = has(Field::Email)
            || has(Field::AdvertisingId)
            || (has(Field::Ip) && has(Field::UserAgent));
        if !is_known {
            let message = "Pinterest needs an e-mail, an advertising id, or address and user agent \
                           together; a phone or a click id alone is not enough";
            return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
        }
        Ok(preparation)
    }

    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call> {
        let test = self.always_test || jobs.iter().any(|job| job.test);
        let limits =
            BatchLimits { events: if test { self.test_events } else { BATCH.events }, ..BATCH };
        let events = jobs.iter().enumerate().filter_map(|(index, job)| {
            let name = self.names.get(&job.event, job.entry)?;
            Some((index, body::event(job, name, &self.wording, now).json()))
        });
        wire::batches(events, limits, Frame::Known("{\"data\":[", "]}"))
            .into_iter()
            .map(|batch| self.call(CallPurpose::Send, test, batch.text.into_bytes(), batch.members))
            .collect()
    }

    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        answer::classify(call, response, now)
    }

    fn auth(&self) -> Auth {
        Auth::Bearer(self.token.clone())
    }

    fn is_deduplicated(&self, job: &Prepared) -> bool {
        body::source(job).is_some_and(|source| source != "offline")
    }

    /// A test without events: nothing is counted.
    fn probe(&self, _: Timestamp) -> Option<Call> {
        Some(self.call(CallPurpose::Probe, true, b"{\"data\":[]}".to_vec(), Vec::new()))
    }
}

impl Pinterest {
    fn call(&self, purpose: CallPurpose, test: bool, body: Vec<u8>, members: Vec<usize>) -> Call {
        let url = format!("{}{}", self.url, if test { "?test=true" } else { "" });
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Call { purpose, method: "POST", url, headers, body, members }
    }
}

#[cfg(test)]
mod tests;
