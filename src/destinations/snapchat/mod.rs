//! Snapchat Conversions API: up to 2,000 events of one pixel or app a request, all taken or all
//! refused, and nothing that can be trusted says for which.
//!
//! Pages are those of the sheet, checked 2026-11-22; `DOC` stands for
//! <https://developers.snap.com/api/marketing-api/Conversions-API>.

mod answer;
mod body;
mod names;

use std::time::Duration;

use jiff::Timestamp;

use self::names::{refuse, refuse_but_free, standard};
use super::{
    Answer, ApiVersion, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup,
    Destination, Key, KeyKind, Mode, Occasion, Platform, Preparation, Problem, Quota, Refusal,
    Response, Settings, Take,
    prepare::{Recipe, missing, prepare, taken, unsupported},
    settings::{Names, days},
    wire::{self, Frame, Object},
};
use crate::{
    consent::{IpForm, Permit, Purpose, Purposes, ReasonCode, Region},
    event::{ActionSource, Field, FieldSet},
    identity::Rule,
    job::{Prepared, Skip, SkipCode},
};

/// Newest version, end not named (DOC/Introduction).
const VERSION: &str = "v3";

/// DOC/UsingTheAPI; the size is what another relay keeps to.
const BATCH: BatchLimits = BatchLimits { events: 2_000, bytes: 2_000_000 };

/// DOC/Parameters; older texts say 7 and 28.
const MAX_AGE: Duration = days(37);

/// Limited Data Use; Snap's own page once shows `LMU` (DOC/Parameters).
const LIMITED_OPTION: &str = "LDU";

const FROM_APP: &[ActionSource] = &[ActionSource::App];

/// DOC/Parameters.
const TAKES: &[Take] = &[
    Take::hashed(Field::Email, Rule::EmailPlain),
    Take::hashed(Field::Phone, Rule::PhoneDigits),
    Take::hashed(Field::FirstName, Rule::NameMeta),
    Take::hashed(Field::LastName, Rule::NameMeta),
    Take::hashed(Field::Gender, Rule::Gender),
    Take::hashed(Field::DateOfBirth, Rule::DateOfBirth),
    Take::hashed(Field::City, Rule::CityCompact),
    Take::hashed(Field::Region, Rule::StateCompact),
    Take::hashed(Field::PostalCode, Rule::PostalNoSpace),
    Take::hashed(Field::Country, Rule::CountryLower),
    Take::hashed(Field::ExternalId, Rule::ExternalId),
    Take::clear(Field::AnonymousId, Rule::Verbatim),
    Take::clear(Field::SubscriptionId, Rule::Verbatim),
    Take::clear(Field::LeadSnapchat, Rule::Verbatim),
    Take::clear(Field::Ip, Rule::Verbatim),
    Take::clear(Field::UserAgent, Rule::Verbatim),
    Take::clear(Field::PageUrl, Rule::HttpUrl),
    // The name of the click id's parameter is read in any case, its value is kept as it is.
    Take::clear(Field::Sccid, Rule::Verbatim),
    Take::clear(Field::Scid, Rule::Verbatim),
    Take::clear(Field::AdvertisingId, Rule::Lower).only_from(FROM_APP),
    Take::clear(Field::VendorId, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::AttStatus, Rule::Lower).only_from(FROM_APP),
    Take::clear(Field::AppId, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::AppVersion, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::AppOs, Rule::Lower).only_from(FROM_APP),
    Take::clear(Field::AppOsVersion, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::AppDeviceModel, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::Locale, Rule::Verbatim).only_from(FROM_APP),
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

/// What Snapchat is.
pub(super) static PLATFORM: Platform = Platform {
    name: "snapchat",
    title: "Snapchat Conversions API",
    also_called: &["Snap Conversions API", "Snap Pixel", "Snapchat Conversion"],
    docs: "https://developers.snap.com/api/marketing-api/Conversions-API/Introduction",
    api: Some(ApiVersion { version: VERSION, ends: None }),
    endpoint: "https://tr.snapchat.com",
    token_endpoint: "",
    batch: BATCH,
    oldest: |_| MAX_AGE,
    // Not documented; a courteous one.
    quota: Quota { requests_per_second: 50, burst: 100, requests_per_day: None },
    // Within 48 hours, purchases also by their order within 30 days (DOC/Deduplication).
    dedup: Dedup::EventId,
    browser_dedup: BrowserDedup::EventId,
    takes: TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        // `opt_out` is in the SDK's schema only.
        personalization_flag: false,
        restricted_in: &["US"],
        can_restrict: |region, has_ip, _| has_ip || state(region).is_some(),
        required: FieldSet::of(&[Field::PageUrl]),
        default_fields,
        takes: FIELDS,
        with_ad_user_data: FieldSet::EMPTY,
    },
    // Not on the Global Vendor List.
    tcf_vendor_id: None,
    ac_provider_id: None,
    keys: &[
        Key::new(
            "pixel_id",
            KeyKind::Recipient,
            "the pixel that gets events of websites and shops",
        ),
        Key::new("app_id", KeyKind::Recipient, "the Snap App ID that gets events of apps"),
        Key::new("access_token", KeyKind::Secret, "the Conversions API token of Ads Manager"),
        Key::new("test_event_code", KeyKind::Text, "for test events, instead of the validator"),
        Key::new("token_in", KeyKind::Text, "where the token goes: query (default) or header"),
        Key::new("max_age_days", KeyKind::Number, "the oldest event, in days; default 37"),
        Key::new("limited_option", KeyKind::Text, "the word of Limited Data Use; default LDU"),
        Key::new("hash_advertising_id", KeyKind::Bool, "hash madid; default false"),
        Key::new("free_names", KeyKind::Bool, "event names that no page lists; default false"),
    ],
    entry_keys: &[Key::new("name", KeyKind::Text, "the event name at Snapchat")],
    has_test_mode: true,
    contract: include_str!("../../sandbox/contracts/snapchat.json"),
    configure,
};

/// What each source must have, and what identifies without identity (DOC/Parameters).
fn default_fields(source: ActionSource) -> FieldSet {
    const CLICKS: FieldSet = FieldSet::of(&[Field::Sccid, Field::Scid]);
    CLICKS.union(match source {
        ActionSource::Website => FieldSet::of(&[Field::PageUrl, Field::Ip, Field::UserAgent]),
        ActionSource::App => FieldSet::of(&[
            Field::AdvertisingId,
            Field::AttStatus,
            Field::AppId,
            Field::AppVersion,
            Field::AppOs,
            Field::AppOsVersion,
        ]),
        _ => FieldSet::EMPTY,
    })
}

/// The states of limited data use: 1000 is California, and there is no other (DOC/Parameters).
fn state(region: &Region) -> Option<u16> {
    (region.as_deref()? == "US-CA").then_some(1000)
}

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let id = |key: &str| settings.text(key).filter(|id| !id.is_empty());
    let (pixel, app) = (id("pixel_id"), id("app_id"));
    if pixel.is_none() && app.is_none() {
        let message = "is missing; websites and shops have a pixel_id, apps an app_id";
        problems.push(Problem::new("pixel_id", message));
    }
    let is_plain = |id: &String| id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    for (key, id) in [("pixel_id", &pixel), ("app_id", &app)] {
        if id.as_ref().is_some_and(|id| !is_plain(id)) {
            problems.push(Problem::new(key, "must be letters, digits and dashes only"));
        }
    }
    let max_age = settings.days("max_age_days", MAX_AGE, &mut problems);
    let in_header = match settings.text("token_in").as_deref() {
        None | Some("query") => false,
        Some("header") => true,
        Some(_) => {
            problems.push(Problem::new("token_in", "must be \"query\" or \"header\""));
            false
        }
    };
    let token = settings.required_secret("access_token", &mut problems);
    let refuse = if settings.flag("free_names", false) { refuse_but_free } else { refuse };
    let names = settings.entry_names(standard, refuse, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut takes = TAKES.to_vec();
    if settings.flag("hash_advertising_id", false) {
        for take in takes.iter_mut().filter(|take| take.field == Field::AdvertisingId) {
            *take = Take::hashed(take.field, take.rule).at_most(1).only_from(FROM_APP);
        }
    }
    let limited_option = settings.text("limited_option");
    Ok(Box::new(Snapchat {
        base: settings.endpoint.trim_end_matches('/').to_owned(),
        pixel,
        app,
        auth: if in_header {
            Auth::Bearer(token)
        } else {
            // As documented; other relays use the header and report that it works.
            Auth::Query { name: "access_token", value: token }
        },
        test_event_code: settings.text("test_event_code").filter(|code| !code.is_empty()),
        always_test: settings.mode == Mode::Test,
        takes,
        max_age,
        limited_option: limited_option.unwrap_or_else(|| LIMITED_OPTION.to_owned()),
        names,
    }))
}

#[derive(Debug)]
struct Snapchat {
    base: String,
    pixel: Option<String>,
    app: Option<String>,
    auth: Auth,
    test_event_code: Option<String>,
    always_test: bool,
    takes: Vec<Take>,
    max_age: Duration,
    limited_option: String,
    names: Names,
}

impl Destination for Snapchat {
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
        let Some(asset) = self.asset(event.action_source) else {
            let key = if event.action_source == ActionSource::App { "app_id" } else { "pixel_id" };
            let source = event.action_source.name();
            return Err(unsupported(format!("events of source {source} need the setting {key}")));
        };
        // There is no refund and no retraction; one of the five custom events may tell of it.
        if event.adjusts.is_some() && !name.starts_with("CUSTOM_EVENT_") {
            return Err(unsupported(format!("Snapchat takes no adjustment of a {name}")));
        }
        let recipe = Recipe { takes: &self.takes, fields: FIELDS, oldest: self.max_age };
        let mut preparation = prepare(&recipe, occasion, permit, now)?;
        let prepared = &mut preparation.prepared;
        // The pixel or the app is in the URL.
        prepared.group = format!("{}/{asset}", prepared.group);
        check(prepared, name, permit.ip)?;
        Ok(preparation)
    }

    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call> {
        let test = self.always_test || jobs.iter().any(|job| job.test);
        let code = self.test_event_code.as_deref().filter(|_| test);
        let validate = test && code.is_none();
        // The validator's answer is read for a single event.
        let limits = BatchLimits { events: if validate { 1 } else { BATCH.events }, ..BATCH };
        let tail = Object::default().maybe("test_event_code", code).json();
        let tail = match code {
            Some(_) => format!("],{}", tail.strip_prefix('{').unwrap_or(&tail)),
            None => "]}".to_owned(),
        };
        let keys = jobs.iter().enumerate().map(|(index, job)| {
            // A source that lost its setting since keeps the id that the job was prepared for.
            let asset = self.asset(job.action_source).or_else(|| job.group.rsplit('/').next());
            (index, asset.unwrap_or_default())
        });
        let mut calls = Vec::new();
        for (asset, indices) in wire::partition(keys) {
            let events = indices.into_iter().filter_map(|index| {
                let job = jobs.get(index)?;
                let name = self.names.get(&job.event, job.entry)?;
                let event = body::event(job, name, &self.limited_option, now);
                // No page says which of the two places is read.
                Some((index, event.maybe("test_event_code", code).json()))
            });
            for batch in wire::batches(events, limits, Frame::Known("{\"data\":[", &tail)) {
                let what = if validate { "events/validate" } else { "events" };
                calls.push(self.call(
                    CallPurpose::Send,
                    asset,
                    what,
                    batch.text.into_bytes(),
                    batch.members,
                ));
            }
        }
        calls
    }

    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        answer::classify(call, response, now)
    }

    fn auth(&self) -> Auth {
        self.auth.clone()
    }

    fn is_deduplicated(&self, _: &Prepared) -> bool {
        true
    }

    /// The validator, with no events: nothing is counted (DOC/VerifySetUp).
    fn probe(&self, _: Timestamp) -> Option<Call> {
        let asset = self.pixel.as_deref().or(self.app.as_deref())?;
        let body = b"{\"data\":[]}".to_vec();
        Some(self.call(CallPurpose::Probe, asset, "events/validate", body, Vec::new()))
    }
}

impl Snapchat {
    /// Apps have an id of their own; everything else goes to the pixel (DOC/UsingTheAPI).
    fn asset(&self, source: ActionSource) -> Option<&str> {
        if source == ActionSource::App { self.app.as_deref() } else { self.pixel.as_deref() }
    }

    fn call(
        &self,
        purpose: CallPurpose,
        asset: &str,
        what: &str,
        body: Vec<u8>,
        members: Vec<usize>,
    ) -> Call {
        let url = format!("{}/{VERSION}/{asset}/{what}", self.base);
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Call { purpose, method: "POST", url, headers, body, members }
    }
}

/// What Snapchat would refuse, with the whole batch.
fn check(prepared: &Prepared, name: &str, ip: IpForm) -> Result<(), Refusal> {
    match prepared.action_source {
        ActionSource::Website if prepared.clear(Field::PageUrl).is_none() => {
            return Err(missing("context.page_url, which a website's event needs,"));
        }
        ActionSource::App if body::system(prepared).is_none() => {
            return Err(missing("context.app.os (ios or android), which an app's event needs,"));
        }
        _ => {}
    }
    if name == "PURCHASE" && prepared.value.is_none() {
        return Err(missing("the value with its currency, which a PURCHASE needs,"));
    }
    let has = |field: Field| prepared.has(field);
    let is_known = has(Field::Email)
        || has(Field::Phone)
        || has(Field::AdvertisingId)
        // A truncated address is nobody's (DOC/Parameters: as received).
        || (has(Field::Ip) && has(Field::UserAgent) && ip == IpForm::Full);
    if !is_known {
        let message = "Snapchat matches by e-mail, phone, advertising id, or address and user \
                       agent together; there is none of them";
        return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
    }
    if prepared.flags.limited && state(&prepared.consent.region).is_none() && !has(Field::Ip) {
        let message = "limited data use needs California or an address";
        return Err(Refusal::Held(ReasonCode::OptedOut, message.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
