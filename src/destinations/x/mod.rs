//! X Conversion API: up to 500 conversions of one pixel a request, all taken or all refused,
//! without a word about which one is to blame.
//!
//! What an event is called is not on the wire: the tag that an entry names was given its kind in
//! Events Manager.
//!
//! Pages are those of the sheet, checked 2026-11-22; `DOC` stands for
//! <https://docs.x.com/x-ads-api/measurement/web-conversions>.

mod answer;
mod body;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{
    Answer, ApiVersion, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup,
    Destination, Entry, Key, KeyKind, Occasion, Pace, Platform, Preparation, Problem, Quota,
    Refusal, Response, Settings, Take,
    prepare::{Recipe, prepare, taken, unsupported},
    settings::days,
    wire::{self, Frame},
};
use crate::{
    consent::{Permit, Purpose, Purposes},
    event::{Field, FieldSet},
    identity::Rule,
    job::{Prepared, Skip, SkipCode},
};

/// The newest since 2022-10-27; no end is named (page "versioning").
const VERSION: &str = "12";

/// The error text names 500; how large a body may be is not documented.
const BATCH: BatchLimits = BatchLimits { events: 500, bytes: 1_000_000 };

/// Not documented; what a connector keeps to.
const MAX_AGE: Duration = days(7);

/// The header of a pixel's own access token, not in DOC; integrators use it since 2026-06.
const PIXEL_TOKEN: &str = "x-pixel-token";

/// DOC, "User identifiers": digests without salt; the phone number with its plus.
const TAKES: &[Take] = &[
    Take::hashed(Field::Email, Rule::EmailPlain),
    Take::hashed(Field::Phone, Rule::PhoneE164),
    Take::clear(Field::Twclid, Rule::Verbatim),
    Take::clear(Field::Ip, Rule::Verbatim),
    Take::clear(Field::UserAgent, Rule::Verbatim),
    Take::clear(Field::SearchTerm, Rule::Verbatim),
];

const FIELDS: FieldSet =
    taken(TAKES, &[Field::Value, Field::Currency, Field::Items, Field::ItemNames]);

/// At least one of these; an address and a user agent only come beside one (DOC).
const IDENTIFYING: FieldSet = FieldSet::of(&[Field::Twclid, Field::Email, Field::Phone]);

/// What X is.
pub(super) static PLATFORM: Platform = Platform {
    name: "x",
    title: "X Conversion API",
    also_called: &["Twitter Ads", "X Ads", "X (Twitter) Ads"],
    docs: "https://docs.x.com/x-ads-api/measurement/web-conversions",
    api: Some(ApiVersion { version: VERSION, ends: None }),
    endpoint: "https://ads-api.x.com",
    token_endpoint: "",
    batch: BATCH,
    oldest: |_| MAX_AGE,
    // 60,000 events an account in 15 minutes are 120 full requests, but as many as there are events
    // where traffic is thin: what the headers say is left decides (`pace`).
    quota: Quota { requests_per_second: 1, burst: 60, requests_per_day: None },
    // By `conversion_id` and the event's tag, within 48 hours, also against the pixel (DOC).
    dedup: Dedup::EventId,
    browser_dedup: BrowserDedup::EventId,
    takes: TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        // There is no consent field at all: what may not be used is not sent.
        personalization_flag: false,
        restricted_in: &[],
        can_restrict: |_, _, _| false,
        required: FieldSet::EMPTY,
        default_fields: |_| FieldSet::of(&[Field::Twclid]),
        takes: FIELDS,
        with_ad_user_data: FieldSet::EMPTY,
    },
    tcf_vendor_id: None,
    ac_provider_id: None,
    keys: &[
        Key::new("pixel_id", KeyKind::Recipient, "the pixel, in base 36, such as o8z6j"),
        Key::new("consumer_key", KeyKind::Secret, "the app's API key"),
        Key::new("consumer_secret", KeyKind::Secret, "its secret"),
        Key::new("access_token", KeyKind::Secret, "of a user who manages the ad account"),
        Key::new("access_token_secret", KeyKind::Secret, "its secret"),
        Key::new("pixel_token", KeyKind::Secret, "the pixel's access token, instead of the four"),
        Key::new("max_age_days", KeyKind::Number, "the oldest event, in days; default 7"),
    ],
    entry_keys: &[Key::new("event_tag", KeyKind::Text, "the event's tag, such as tw-o8z6j-o8z6k")],
    has_test_mode: false,
    contract: include_str!("../../sandbox/contracts/x.json"),
    configure,
};

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let pixel = settings.required_text("pixel_id", &mut problems);
    if !pixel.is_empty() && !is_base36(&pixel) {
        problems.push(Problem::new("pixel_id", "must be the pixel's id in base 36, such as o8z6j"));
    }
    let max_age = settings.days("max_age_days", MAX_AGE, &mut problems);
    let auth = auth(settings, &mut problems);
    let tags = tags(settings, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let base = settings.endpoint.trim_end_matches('/');
    let url = format!("{base}/{VERSION}/measurement/conversions/{pixel}");
    Ok(Box::new(X { url, auth, max_age, tags }))
}

/// OAuth 1.0a with a user's four secrets, or the pixel's own token.
fn auth(settings: &Settings, problems: &mut Vec<Problem>) -> Auth {
    const FOUR: [&str; 4] =
        ["consumer_key", "consumer_secret", "access_token", "access_token_secret"];
    if let Some(value) = settings.secret("pixel_token") {
        for key in FOUR.into_iter().filter(|key| settings.secret(key).is_some()) {
            let message = "is not used beside pixel_token; write one of the two";
            problems.push(Problem::new(key, message));
        }
        return Auth::Header { name: PIXEL_TOKEN, value };
    }
    Auth::OAuth1 {
        consumer_key: settings.required_secret("consumer_key", problems),
        consumer_secret: settings.required_secret("consumer_secret", problems),
        token: settings.required_secret("access_token", problems),
        token_secret: settings.required_secret("access_token_secret", problems),
    }
}

/// The tag of each entry: `o87ne`, or whole as `tw-o8z6j-o87ne`.
fn tags(settings: &Settings, problems: &mut Vec<Problem>) -> BTreeMap<String, Vec<String>> {
    let mut tags = BTreeMap::new();
    for (event, entries) in &settings.entries {
        let mut list = Vec::with_capacity(entries.len());
        for entry in entries {
            let tag = match entry {
                Entry::Name(tag) => tag.as_str(),
                Entry::Table(table) => {
                    table.get("event_tag").and_then(toml::Value::as_str).unwrap_or_default()
                }
                Entry::Standard => "",
            };
            if !is_tag(tag) {
                let message = "must name the event's tag, as Events Manager shows it: \
                               { event_tag = \"tw-o8z6j-o8z6k\" }";
                problems.push(Problem::new(format!("events.{event}"), message));
            }
            list.push(tag.to_owned());
        }
        tags.insert(event.clone(), list);
    }
    tags
}

/// DOC, `event_id`.
fn is_tag(text: &str) -> bool {
    match text.strip_prefix("tw-").and_then(|rest| rest.split_once('-')) {
        Some((pixel, event)) => is_base36(pixel) && is_base36(event),
        None => is_base36(text),
    }
}

fn is_base36(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
}

#[derive(Debug)]
struct X {
    url: String,
    auth: Auth,
    max_age: Duration,
    tags: BTreeMap<String, Vec<String>>,
}

impl Destination for X {
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal> {
        if self.tag(occasion.plan_event, occasion.entry).is_none() {
            return Err(Refusal::Skip(Skip::new(SkipCode::NotMapped, "no entry for this event")));
        }
        if occasion.event.adjusts.is_some() {
            return Err(unsupported("X takes no refund, cancellation or changed value"));
        }
        let recipe = Recipe { takes: TAKES, fields: FIELDS, oldest: self.max_age };
        let mut preparation = prepare(&recipe, occasion, permit, now)?;
        let prepared = &mut preparation.prepared;
        if prepared.present().intersection(IDENTIFYING).is_empty() {
            let message = "X needs a click id, an e-mail or a phone number; an address with a user \
                           agent alone is not enough";
            return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
        }
        if !(prepared.has(Field::Ip) && prepared.has(Field::UserAgent)) {
            // They count as a pair only.
            prepared.texts.retain(|(f, _)| !matches!(f, Field::Ip | Field::UserAgent));
        }
        Ok(preparation)
    }

    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call> {
        let events = jobs.iter().enumerate().filter_map(|(index, job)| {
            let tag = self.tag(&job.event, job.entry)?;
            Some((index, body::conversion(job, tag, now).json()))
        });
        wire::batches(events, BATCH, Frame::Known("{\"conversions\":[", "]}"))
            .into_iter()
            .map(|batch| Call {
                purpose: CallPurpose::Send,
                method: "POST",
                url: self.url.clone(),
                headers: vec![("content-type".to_owned(), "application/json".to_owned())],
                body: batch.text.into_bytes(),
                members: batch.members,
            })
            .collect()
    }

    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        answer::classify(call, response, now)
    }

    fn pace(&self, response: &Response, now: Timestamp) -> Option<Pace> {
        answer::pace(response, now)
    }

    fn auth(&self) -> Auth {
        self.auth.clone()
    }

    fn is_deduplicated(&self, _: &Prepared) -> bool {
        true
    }

    /// No conversions: X looks at the credentials and the pixel before it misses them.
    fn probe(&self, _: Timestamp) -> Option<Call> {
        Some(Call {
            purpose: CallPurpose::Probe,
            method: "POST",
            url: self.url.clone(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: b"{\"conversions\":[]}".to_vec(),
            members: Vec::new(),
        })
    }
}

impl X {
    fn tag(&self, event: &str, entry: u16) -> Option<&str> {
        self.tags.get(event)?.get(usize::from(entry)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests;
