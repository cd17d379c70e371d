//! TikTok Events API: up to 1,000 events of one source and its id a request, all taken or all
//! refused. Failures come inside HTTP 200, and name the first bad event in prose.
//!
//! Pages are those of the sheet, checked 2026-11-22; `DOC` and a number stand for
//! <https://business-api.tiktok.com/portal/docs> and the page's id.

mod answer;
mod body;
mod names;

use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::json;

use self::names::{APP, Source, WEB, refuse, standard_app, standard_web};

use super::{
    Answer, ApiVersion, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup,
    Destination, Key, KeyKind, Mode, Occasion, Platform, Preparation, Problem, Quota, Refusal,
    Response, Settings, Take,
    prepare::{Recipe, missing, prepare, taken, unsupported},
    settings::{Names, days},
    wire::{self, Frame, Object},
};
use crate::{
    consent::{IpForm, Permit, Purpose, Purposes, ReasonCode},
    event::{ActionSource, Field, FieldSet},
    identity::Rule,
    job::{Prepared, Skip, SkipCode},
};

/// Newest version, end not named (DOC 1771100865818625).
const VERSION: &str = "v1.3";

/// Events a request (DOC 1771100779668482); the size is not documented.
const BATCH: BatchLimits = BatchLimits { events: 1_000, bytes: 1_000_000 };

/// Not on the vendor's own pages: a connector's text for websites and apps, another's for offline
/// event sets; for CRM event sets nothing is written. All are settings.
const MAX_AGE: Duration = days(7);
const OFFLINE_MAX_AGE: Duration = days(28);

/// The event's flag of Limited Data Use (DOC 1771101204435970).
const LIMITED_FLAG: &str = "limited_data_use";

const FROM_WEB: &[ActionSource] = &[ActionSource::Website];
const FROM_APP: &[ActionSource] = &[ActionSource::App];
const FROM_CRM: &[ActionSource] = &[ActionSource::Crm];

/// DOC 1771101186666498; names and places are on no public list, but are what integrators send.
const TAKES: &[Take] = &[
    Take::hashed(Field::Email, Rule::EmailPlain),
    // With its plus; without it the hash matches nobody.
    Take::hashed(Field::Phone, Rule::PhoneE164),
    Take::hashed(Field::ExternalId, Rule::ExternalId),
    Take::hashed(Field::FirstName, Rule::LowerNoSpace).at_most(1),
    Take::hashed(Field::LastName, Rule::LowerNoSpace).at_most(1),
    Take::hashed(Field::PostalCode, Rule::LowerNoSpace).at_most(1),
    Take::clear(Field::City, Rule::LowerAlphanumeric),
    Take::clear(Field::Region, Rule::LowerAlphanumeric),
    Take::clear(Field::Country, Rule::LowerAlphanumeric),
    Take::clear(Field::Ip, Rule::Verbatim),
    Take::clear(Field::UserAgent, Rule::Verbatim),
    Take::clear(Field::Locale, Rule::Verbatim),
    Take::clear(Field::Ttclid, Rule::Verbatim),
    Take::clear(Field::Ttp, Rule::Verbatim),
    Take::clear(Field::PageUrl, Rule::HttpUrl).only_from(FROM_WEB),
    Take::clear(Field::Referrer, Rule::HttpUrl).only_from(FROM_WEB),
    Take::hashed(Field::AdvertisingId, Rule::Lower).at_most(1).only_from(FROM_APP),
    Take::clear(Field::VendorId, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::AttStatus, Rule::Upper).only_from(FROM_APP),
    Take::clear(Field::AppId, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::AppVersion, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::AppOs, Rule::Lower).only_from(FROM_APP),
    Take::clear(Field::LeadTiktok, Rule::Verbatim).only_from(FROM_CRM),
    Take::clear(Field::LeadCrm, Rule::Verbatim).only_from(FROM_CRM),
    Take::clear(Field::OrderId, Rule::Verbatim),
    Take::clear(Field::SearchTerm, Rule::Verbatim),
    Take::clear(Field::StoreId, Rule::Verbatim),
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

/// What no public list has.
const NAMES_AND_PLACES: FieldSet = FieldSet::of(&[
    Field::FirstName,
    Field::LastName,
    Field::PostalCode,
    Field::City,
    Field::Region,
    Field::Country,
]);

/// What TikTok is.
pub(super) static PLATFORM: Platform = Platform {
    name: "tiktok",
    title: "TikTok Events API",
    also_called: &["TikTok Conversions", "TikTok Pixel", "TikTok Ads"],
    docs: "https://business-api.tiktok.com/portal/docs?id=1771100865818625",
    api: Some(ApiVersion { version: VERSION, ends: None }),
    endpoint: "https://business-api.tiktok.com",
    token_endpoint: "",
    batch: BATCH,
    oldest: |source| match Source::of(source) {
        Source::Web | Source::App => MAX_AGE,
        Source::Offline | Source::Crm => OFFLINE_MAX_AGE,
    },
    // DOC 1771100779668482.
    quota: Quota { requests_per_second: 1_000, burst: 1_000, requests_per_day: Some(86_400_000) },
    // Source id, event and event id within 48 hours (DOC 1771100965992450).
    dedup: Dedup::EventId,
    browser_dedup: BrowserDedup::EventId,
    takes: TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        personalization_flag: false,
        restricted_in: &["US"],
        can_restrict: |_, _, source| may_be_limited(source),
        required: FieldSet::EMPTY,
        default_fields,
        takes: FIELDS,
        with_ad_user_data: FieldSet::EMPTY,
    },
    // ByteDance is on the Global Vendor List, but nothing says that this product is covered.
    tcf_vendor_id: None,
    ac_provider_id: None,
    keys: &[
        Key::new("pixel_code", KeyKind::Recipient, "the pixel that gets events of websites"),
        Key::new("app_id", KeyKind::Recipient, "the TikTok App ID that gets events of apps"),
        Key::new(
            "event_set_id",
            KeyKind::Recipient,
            "the offline event set, for shops, calls and such",
        ),
        Key::new("crm_event_set_id", KeyKind::Recipient, "the CRM event set, for stages of leads"),
        Key::new("access_token", KeyKind::Secret, "the long-lived token made in Events Manager"),
        Key::new("test_event_code", KeyKind::Text, "routes test events to the Test Events tab"),
        Key::new("max_age_days", KeyKind::Number, "oldest event of websites and apps; default 7"),
        Key::new("offline_max_age_days", KeyKind::Number, "oldest of all others; default 28"),
        Key::new("advertising_id", KeyKind::Text, "sent \"hashed\" (default) or \"plain\""),
        Key::new("names_and_places", KeyKind::Bool, "send names and places too; default true"),
        Key::new("limited_flag", KeyKind::Text, "Limited Data Use; default limited_data_use"),
        Key::new("limited_needs_ip", KeyKind::Bool, "hold it without address; default false"),
    ],
    entry_keys: &[Key::new("name", KeyKind::Text, "the event name at TikTok")],
    has_test_mode: true,
    contract: include_str!("../../sandbox/contracts/tiktok.json"),
    configure,
};

/// A website's event is expected to have a URL, an app's must name the app.
fn default_fields(source: ActionSource) -> FieldSet {
    const CLICKS: FieldSet = FieldSet::of(&[Field::Ttclid, Field::Ttp]);
    CLICKS.union(match Source::of(source) {
        Source::Web => FieldSet::of(&[Field::PageUrl]),
        Source::App => FieldSet::of(&[Field::AppId]),
        Source::Crm => FieldSet::of(&[Field::LeadTiktok, Field::LeadCrm]),
        Source::Offline => FieldSet::EMPTY,
    })
}

/// Limited Data Use is of websites and apps only (DOC 1771101204435970).
fn may_be_limited(source: ActionSource) -> bool {
    matches!(Source::of(source), Source::Web | Source::App)
}

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let id = |source: Source| Some((source, settings.text(source.key())?));
    let ids: Vec<(Source, String)> =
        Source::ALL.into_iter().filter_map(id).filter(|(_, id)| !id.is_empty()).collect();
    if ids.is_empty() {
        let message = "is missing; websites have a pixel_code, apps an app_id, shops an \
                       event_set_id, CRMs a crm_event_set_id";
        problems.push(Problem::new("pixel_code", message));
    }
    for (source, id) in &ids {
        if !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            problems.push(Problem::new(source.key(), "must be letters and digits only"));
        }
    }
    let max_age = settings.days("max_age_days", MAX_AGE, &mut problems);
    let offline = settings.days("offline_max_age_days", OFFLINE_MAX_AGE, &mut problems);
    let mut takes = TAKES.to_vec();
    match settings.text("advertising_id").as_deref() {
        None | Some("hashed") => {}
        Some("plain") => {
            for take in takes.iter_mut().filter(|take| take.field == Field::AdvertisingId) {
                *take = Take::clear(take.field, Rule::Verbatim).only_from(FROM_APP);
            }
        }
        Some(_) => {
            problems.push(Problem::new("advertising_id", "must be \"hashed\" or \"plain\""));
        }
    }
    if !settings.flag("names_and_places", true) {
        takes.retain(|take| !NAMES_AND_PLACES.contains(take.field));
    }
    let test_event_code = settings.text("test_event_code").filter(|code| !code.is_empty());
    if settings.mode == Mode::Test && test_event_code.is_none() {
        let message = "is needed in test mode; Events Manager shows it under Test Events";
        problems.push(Problem::new("test_event_code", message));
    }
    let token = settings.required_secret("access_token", &mut problems);
    let names = settings.entry_names(standard_web, refuse, &mut problems);
    // The same entries, so the same problems.
    let app_names = settings.entry_names(standard_app, refuse, &mut Vec::new());
    if !problems.is_empty() {
        return Err(problems);
    }
    let base = settings.endpoint.trim_end_matches('/');
    Ok(Box::new(TikTok {
        // The slash at the end is part of it (DOC 1771100865818625).
        url: format!("{base}/open_api/{VERSION}/event/track/"),
        token,
        test_event_code,
        always_test: settings.mode == Mode::Test,
        ids,
        takes,
        max_age,
        offline_max_age: offline,
        limited_flag: settings.text("limited_flag").unwrap_or_else(|| LIMITED_FLAG.to_owned()),
        limited_needs_ip: settings.flag("limited_needs_ip", false),
        names,
        app_names,
    }))
}

#[derive(Debug)]
struct TikTok {
    url: String,
    token: SecretString,
    test_event_code: Option<String>,
    always_test: bool,
    ids: Vec<(Source, String)>,
    takes: Vec<Take>,
    max_age: Duration,
    offline_max_age: Duration,
    limited_flag: String,
    limited_needs_ip: bool,
    names: Names,
    app_names: Names,
}

impl Destination for TikTok {
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal> {
        let event = occasion.event;
        let source = Source::of(event.action_source);
        let names = if source == Source::App { &self.app_names } else { &self.names };
        let name = match names.get(occasion.plan_event, occasion.entry) {
            Some(name) if !name.is_empty() => name,
            Some(_) => return Err(not_mapped("no standard name for it there; write a name")),
            None => return Err(not_mapped("no entry for this event")),
        };
        // As connectors have it: offline event sets know standard names only, CRM event sets none.
        let is_standard = WEB.contains(&name) || APP.contains(&name);
        if source == Source::Offline && !WEB.contains(&name) {
            return Err(unsupported(format!("TikTok's offline event sets know no {name:?}")));
        }
        if source == Source::Crm && is_standard {
            let message = format!("TikTok's CRM event sets take names of your own, not {name:?}");
            return Err(unsupported(message));
        }
        let Some(id) = self.id(source) else {
            let (name, key) = (source.name(), source.key());
            return Err(unsupported(format!("events of source {name} need the setting {key}")));
        };
        if occasion.test && self.test_event_code.is_none() {
            let message = "a test event, and the destination has no test_event_code";
            return Err(Refusal::Skip(Skip::new(SkipCode::TestMode, message)));
        }
        // There is no refund and no retraction; a custom event may tell of it.
        if event.adjusts.is_some() && is_standard {
            return Err(unsupported(format!("TikTok takes no adjustment of a {name}")));
        }
        let oldest = match source {
            Source::Web | Source::App => self.max_age,
            Source::Offline | Source::Crm => self.offline_max_age,
        };
        let recipe = Recipe { takes: &self.takes, fields: FIELDS, oldest };
        let mut preparation = prepare(&recipe, occasion, permit, now)?;
        let prepared = &mut preparation.prepared;
        // Requests hold events of one source and its id.
        prepared.group = format!("{}/{}/{id}", prepared.group, source.name());
        if source == Source::App && prepared.clear(Field::AppId).is_none() {
            return Err(missing("context.app.id, which an app's event needs,"));
        }
        if !has_identity(prepared, permit.ip) {
            let message = "nothing that TikTok could match a person by";
            return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
        }
        if prepared.flags.limited && !self.can_limit(prepared) {
            let message = match source {
                Source::Web | Source::App => "limited data use needs an address",
                Source::Offline | Source::Crm => "limited data use is for websites and apps only",
            };
            return Err(Refusal::Held(ReasonCode::OptedOut, message.to_owned()));
        }
        Ok(preparation)
    }

    /// A job that must be limited, of a source that cannot say so, is in no call: it could only
    /// leave unlimited.
    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call> {
        let test = self.always_test || jobs.iter().any(|job| job.test);
        let code = self.test_event_code.as_deref().filter(|_| test);
        let may_leave = |job: &&Prepared| !job.flags.limited || self.can_limit(job);
        let keys = jobs.iter().enumerate().filter(|(_, job)| may_leave(job)).map(|(index, job)| {
            let source = Source::of(job.action_source);
            // A source that lost its setting since keeps the id that the job was prepared for.
            let id = self.id(source).or_else(|| job.group.rsplit('/').next());
            (index, (source, id.unwrap_or_default()))
        });
        let mut calls = Vec::new();
        for ((source, id), indices) in wire::partition(keys) {
            let frame = Object::default()
                .with("event_source", source.name())
                .with("event_source_id", id)
                .maybe("test_event_code", code)
                .json();
            let head = format!("{},\"data\":[", frame.strip_suffix('}').unwrap_or(&frame));
            let events = indices.into_iter().filter_map(|index| {
                let job = jobs.get(index)?;
                let name = self.name(job, source)?;
                Some((index, body::event(job, name, &self.limited_flag, now).json()))
            });
            for batch in wire::batches(events, BATCH, Frame::Known(&head, "]}")) {
                calls.push(self.call(CallPurpose::Send, batch.text.into_bytes(), batch.members));
            }
        }
        calls
    }

    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        answer::classify(call, response, now)
    }

    fn auth(&self) -> Auth {
        Auth::Header { name: "access-token", value: self.token.clone() }
    }

    fn is_deduplicated(&self, _: &Prepared) -> bool {
        true
    }

    /// No events: the token is looked at before TikTok misses them.
    fn probe(&self, _: Timestamp) -> Option<Call> {
        let (source, id) = self.ids.first()?;
        let body = json!({"event_source": source.name(), "event_source_id": id, "data": []});
        Some(self.call(CallPurpose::Probe, body.to_string().into_bytes(), Vec::new()))
    }
}

fn not_mapped(message: &str) -> Refusal {
    Refusal::Skip(Skip::new(SkipCode::NotMapped, message))
}

/// Places, names, a language or a device alone are nobody.
fn has_identity(prepared: &Prepared, ip: IpForm) -> bool {
    const IDENTIFYING: FieldSet = FieldSet::of(&[
        Field::Email,
        Field::Phone,
        Field::ExternalId,
        Field::Ttclid,
        Field::Ttp,
        Field::AdvertisingId,
        Field::VendorId,
        Field::LeadTiktok,
    ]);
    // A truncated address is nobody's.
    let has_address = ip == IpForm::Full && prepared.has(Field::Ip);
    has_address || !prepared.present().intersection(IDENTIFYING).is_empty()
}

impl TikTok {
    fn id(&self, source: Source) -> Option<&str> {
        self.ids.iter().find(|(s, _)| *s == source).map(|(_, id)| id.as_str())
    }

    /// Today's name for a job; where it has become `true`, and only the other kind of source has a
    /// standard name, that one.
    fn name(&self, job: &Prepared, source: Source) -> Option<&str> {
        let [own, other] = match source {
            Source::App => [&self.app_names, &self.names],
            Source::Web | Source::Offline | Source::Crm => [&self.names, &self.app_names],
        };
        let name = own.get(&job.event, job.entry).filter(|name| !name.is_empty());
        name.or_else(|| other.get(&job.event, job.entry))
    }

    /// Of a source that may be limited, and with an address where that is asked for.
    fn can_limit(&self, job: &Prepared) -> bool {
        may_be_limited(job.action_source) && (!self.limited_needs_ip || job.has(Field::Ip))
    }

    fn call(&self, purpose: CallPurpose, body: Vec<u8>, members: Vec<usize>) -> Call {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Call { purpose, method: "POST", url: self.url.clone(), headers, body, members }
    }
}

#[cfg(test)]
mod tests;
