//! OpenAI Ads Conversions API: up to 1,000 events of one pixel a request, all taken or all refused.
//!
//! Pages are those of the sheet, checked again 2026-11-22; `DOC` stands for
//! <https://developers.openai.com/ads/conversions-api>, `EVENTS` for its page `supported-events`.
//! The API is young: the names of `user`'s members are those of its newest page, in the plural.

mod answer;
mod body;
mod names;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use secrecy::SecretString;

use self::names::Kind;
use super::{
    Answer, ApiVersion, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup,
    Destination, Key, KeyKind, Mode, Occasion, Platform, Preparation, Problem, Quota, Refusal,
    Response, Settings, Take,
    prepare::{Recipe, missing, prepare, taken, unsupported},
    settings::days,
    wire::{self, Frame},
};
use crate::{
    consent::{Permit, Purpose, Purposes},
    event::{ActionSource, Field, FieldSet},
    identity::Rule,
    job::{Prepared, Skip, SkipCode},
};

/// In the path; no end is named (DOC).
const VERSION: &str = "v1";

/// DOC; the size is not documented.
const BATCH: BatchLimits = BatchLimits { events: 1_000, bytes: 1_000_000 };

/// DOC, `timestamp_ms`.
const MAX_AGE: Duration = days(7);

/// Values of a list in `user` (DOC).
const VALUES: usize = 3;

const FROM_APP: &[ActionSource] = &[ActionSource::App];

/// DOC, `user`: digests of an address in lower case, of the digits of a number with its country
/// code, of a name without white space and punctuation, of one's own id with its case; places in
/// clear.
const TAKES: &[Take] = &[
    Take::hashed(Field::Email, Rule::EmailPlain).at_most(VALUES),
    Take::hashed(Field::Phone, Rule::PhoneDigits).at_most(VALUES),
    Take::hashed(Field::FirstName, Rule::NameMeta).at_most(VALUES),
    Take::hashed(Field::LastName, Rule::NameMeta).at_most(VALUES),
    Take::hashed(Field::ExternalId, Rule::ExternalId).at_most(VALUES),
    Take::clear(Field::Country, Rule::CountryUpper),
    Take::clear(Field::City, Rule::Lower),
    Take::clear(Field::Region, Rule::Verbatim),
    Take::clear(Field::PostalCode, Rule::Verbatim),
    Take::clear(Field::Ip, Rule::Verbatim),
    Take::clear(Field::UserAgent, Rule::Verbatim),
    Take::clear(Field::AdvertisingId, Rule::Lower).only_from(FROM_APP),
    Take::clear(Field::AppOs, Rule::Lower).only_from(FROM_APP),
    Take::clear(Field::Oppref, Rule::Verbatim),
    Take::clear(Field::PageUrl, Rule::HttpUrl),
];

const FIELDS: FieldSet = taken(
    TAKES,
    &[Field::Value, Field::Currency, Field::Items, Field::ItemNames, Field::OtherProperties],
);

/// Without one of these nobody can be found; DOC requires none.
const IDENTIFYING: FieldSet = FieldSet::of(&[
    Field::Oppref,
    Field::Email,
    Field::Phone,
    Field::ExternalId,
    Field::AdvertisingId,
    Field::Ip,
]);

/// What OpenAI is.
pub(super) static PLATFORM: Platform = Platform {
    name: "openai",
    title: "OpenAI Ads Conversions API",
    also_called: &[],
    docs: "https://developers.openai.com/ads/conversions-api",
    api: Some(ApiVersion { version: VERSION, ends: None }),
    endpoint: "https://bzr.openai.com",
    token_endpoint: "",
    batch: BATCH,
    oldest: |_| MAX_AGE,
    // Not documented.
    quota: Quota { requests_per_second: 5, burst: 10, requests_per_day: None },
    // By `id`, `type` and pixel, also against the browser's pixel (DOC).
    dedup: Dedup::EventId,
    browser_dedup: BrowserDedup::EventId,
    takes: TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        // `opt_out` keeps an event from user-level personalisation (DOC).
        personalization_flag: true,
        restricted_in: &[],
        can_restrict: |_, _, _| false,
        required: FieldSet::of(&[Field::PageUrl]),
        default_fields,
        takes: FIELDS,
        with_ad_user_data: FieldSet::EMPTY,
    },
    tcf_vendor_id: None,
    ac_provider_id: None,
    keys: &[
        Key::new(
            "pixel_id",
            KeyKind::Recipient,
            "the pixel, from the conversions tab of Ads Manager",
        ),
        Key::new("api_key", KeyKind::Secret, "the Conversions API key of the same tab"),
        Key::new("max_age_days", KeyKind::Number, "the oldest event, in days; default 7"),
    ],
    entry_keys: &[
        Key::new("type", KeyKind::Text, "the event's name at OpenAI, such as order_created"),
        Key::new("custom_event_name", KeyKind::Text, "its own name, for type = \"custom\""),
    ],
    has_test_mode: true,
    contract: include_str!("../../sandbox/contracts/openai.json"),
    configure,
};

/// A website's event needs its URL (DOC, `source_url`); an app's id counts on Android only.
fn default_fields(source: ActionSource) -> FieldSet {
    const CLICKS: FieldSet = FieldSet::of(&[Field::Oppref]);
    match source {
        ActionSource::Website => CLICKS.union(FieldSet::of(&[Field::PageUrl])),
        ActionSource::App => CLICKS.union(FieldSet::of(&[Field::AdvertisingId, Field::AppOs])),
        _ => CLICKS,
    }
}

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let pixel = settings.required_text("pixel_id", &mut problems);
    if !pixel.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) {
        problems.push(Problem::new("pixel_id", "must be the pixel's id: letters and digits"));
    }
    let token = settings.required_secret("api_key", &mut problems);
    let max_age = settings.days("max_age_days", MAX_AGE, &mut problems);
    let kinds = names::kinds(settings, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let base = settings.endpoint.trim_end_matches('/');
    Ok(Box::new(OpenAi {
        url: format!("{base}/{VERSION}/events?pid={pixel}"),
        token,
        always_test: settings.mode == Mode::Test,
        max_age,
        kinds,
    }))
}

#[derive(Debug)]
struct OpenAi {
    url: String,
    token: SecretString,
    always_test: bool,
    max_age: Duration,
    kinds: BTreeMap<String, Vec<Kind>>,
}

impl Destination for OpenAi {
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal> {
        let Some(kind) = self.kind(occasion.plan_event, occasion.entry) else {
            return Err(Refusal::Skip(Skip::new(SkipCode::NotMapped, "no entry for this event")));
        };
        // There is no refund and no retraction; an event of one's own may tell of it.
        if occasion.event.adjusts.is_some() && kind.custom_name.is_none() {
            return Err(unsupported(format!("OpenAI takes no adjustment of {}", kind.event)));
        }
        let recipe = Recipe { takes: TAKES, fields: FIELDS, oldest: self.max_age };
        let mut preparation = prepare(&recipe, occasion, permit, now)?;
        let prepared = &mut preparation.prepared;
        body::tidy(prepared);
        if prepared.action_source == ActionSource::Website && !prepared.has(Field::PageUrl) {
            return Err(missing("context.page_url, which a website's event needs,"));
        }
        if prepared.present().intersection(IDENTIFYING).is_empty() {
            let message = "nothing that OpenAI could match by: no click reference, e-mail, phone, \
                           own id, advertising id or address";
            return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
        }
        Ok(preparation)
    }

    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call> {
        let test = self.always_test || jobs.iter().any(|job| job.test);
        let events = jobs.iter().enumerate().filter_map(|(index, job)| {
            let kind = self.kind(&job.event, job.entry)?;
            Some((index, body::event(job, kind, now).json()))
        });
        let opening = opening(test);
        wire::batches(events, BATCH, Frame::Known(opening, CLOSING))
            .into_iter()
            .map(|batch| self.call(CallPurpose::Send, batch.text.into_bytes(), batch.members))
            .collect()
    }

    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        answer::classify(call, response, now)
    }

    fn auth(&self) -> Auth {
        Auth::Bearer(self.token.clone())
    }

    fn is_deduplicated(&self, _: &Prepared) -> bool {
        true
    }

    /// A validation of nothing: key and pixel are looked at, and nothing is saved.
    fn probe(&self, _: Timestamp) -> Option<Call> {
        let body = format!("{}{CLOSING}", opening(true)).into_bytes();
        Some(self.call(CallPurpose::Probe, body, Vec::new()))
    }
}

const CLOSING: &str = "]}";

/// DOC, `validate_only`: events are checked and not saved.
fn opening(test: bool) -> &'static str {
    if test {
        "{\"validate_only\":true,\"events\":["
    } else {
        "{\"validate_only\":false,\"events\":["
    }
}

impl OpenAi {
    fn kind(&self, event: &str, entry: u16) -> Option<&Kind> {
        self.kinds.get(event)?.get(usize::from(entry))
    }

    fn call(&self, purpose: CallPurpose, body: Vec<u8>, members: Vec<usize>) -> Call {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Call { purpose, method: "POST", url: self.url.clone(), headers, body, members }
    }
}

#[cfg(test)]
mod tests;
