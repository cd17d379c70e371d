//! Reddit Conversions API v3: one pixel, up to 1,000 events a request, all taken or all refused.
//!
//! Reddit is the only one to strip an address's local part to letters and digits, so that no other
//! platform's hash of it matches there.
//!
//! Pages are those of the sheet, checked 2026-11-22; `SCHEMA` stands for
//! `pixel_conversion_event` of Reddit's OpenAPI description, `DOC` for its page on manual advanced
//! matching.

mod answer;
mod body;
mod names;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::json;

use self::names::{Kind, kinds};
use super::{
    Answer, ApiVersion, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup,
    Destination, Key, KeyKind, Mode, Occasion, Platform, Preparation, Problem, Quota, Refusal,
    Response, Settings, Take,
    prepare::{Recipe, missing, prepare, taken, unsupported},
    wire::{self, Frame},
};
use crate::{
    consent::{Permit, Purpose, Purposes},
    event::{ActionSource, Field, FieldSet},
    identity::Rule,
    job::{Prepared, Skip, SkipCode},
};

/// v2 still answers, and differs in nearly every field (SCHEMA).
const VERSION: &str = "v3";

/// SCHEMA; how large a body may be is not said.
const BATCH: BatchLimits = BatchLimits { events: 1_000, bytes: 1_000_000 };

/// 168 hours (SCHEMA, `event_at`).
const OLDEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

const FROM_APP: &[ActionSource] = &[ActionSource::App];

/// DOC: scalars only, one value of each. An advertising id is `idfa` in upper case on Apple's
/// systems and `aaid` in lower case on Android.
const fn takes(advertising_id: Take) -> [Take; 12] {
    [
        Take::hashed(Field::Email, Rule::EmailAlphanumericLocal).at_most(1),
        Take::hashed(Field::Phone, Rule::PhoneE164).at_most(1),
        Take::hashed(Field::ExternalId, Rule::ExternalId).at_most(1),
        advertising_id.at_most(1).only_from(FROM_APP),
        Take::clear(Field::AppOs, Rule::Lower).only_from(FROM_APP),
        Take::clear(Field::Ip, Rule::Verbatim),
        // Never hashed.
        Take::clear(Field::UserAgent, Rule::Verbatim),
        Take::clear(Field::RdtCid, Rule::Verbatim),
        Take::clear(Field::RdtUuid, Rule::Verbatim),
        Take::clear(Field::PageUrl, Rule::HttpUrl),
        Take::clear(Field::Referrer, Rule::HttpUrl),
        Take::clear(Field::OrderId, Rule::Verbatim),
    ]
}

const AAID: Take = Take::hashed(Field::AdvertisingId, Rule::Lower).sent_as("aaid");
const IDFA: Take = Take::hashed(Field::AdvertisingId, Rule::Upper).sent_as("idfa");
const TAKES: &[Take] = &takes(AAID);
const TAKES_OF_APPLE: &[Take] = &takes(IDFA);

/// Of whatever system.
const ALL_TAKES: &[Take] = &{
    let [a, b, c, d, e, f, g, h, i, j, k, l] = takes(AAID);
    [a, b, c, d, IDFA.only_from(FROM_APP), e, f, g, h, i, j, k, l]
};

const FIELDS: FieldSet =
    taken(TAKES, &[Field::Value, Field::Currency, Field::Items, Field::ItemNames]);

/// One of these must be there (SCHEMA, `user`).
const IDENTIFYING: FieldSet = FieldSet::of(&[
    Field::RdtCid,
    Field::RdtUuid,
    Field::Email,
    Field::Phone,
    Field::ExternalId,
    Field::AdvertisingId,
    Field::Ip,
]);

/// What Reddit is.
pub(super) static PLATFORM: Platform = Platform {
    name: "reddit",
    title: "Reddit Conversions API",
    also_called: &["Reddit Conversions API", "Reddit Pixel", "Reddit"],
    docs: "https://ads-api.reddit.com/docs/v3",
    api: Some(ApiVersion { version: VERSION, ends: None }),
    endpoint: "https://ads-api.reddit.com",
    token_endpoint: "",
    batch: BATCH,
    oldest: |_| OLDEST,
    // Over each second (SCHEMA, the operation's rate policies).
    quota: Quota::new(1_000, 1_000).events(10_000),
    // By `conversion_id` and the kind of event, both copies within 2 days and from one source.
    dedup: Dedup::EventId,
    browser_dedup: BrowserDedup::EventId,
    takes: ALL_TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        personalization_flag: false,
        restricted_in: &["US"],
        can_restrict: |region, _, _| region.is_some(),
        required: FieldSet::of(&[Field::PageUrl]),
        default_fields,
        takes: FIELDS,
        with_ad_user_data: FieldSet::EMPTY,
    },
    // On neither list.
    tcf_vendor_id: None,
    ac_provider_id: None,
    keys: &[
        Key::new(
            "pixel_id",
            KeyKind::Recipient,
            "the pixel that gets the events, such as a2_example",
        ),
        Key::new("access_token", KeyKind::Secret, "the conversion access token of Events Manager"),
        Key::new("test_id", KeyKind::Text, "routes test events to Events Manager's Events testing"),
        Key::new("partner", KeyKind::Text, "sent as data.partner, which the schema does not list"),
    ],
    entry_keys: &[
        Key::new("tracking_type", KeyKind::Text, "the event's type at Reddit, such as PURCHASE"),
        Key::new("custom_event_name", KeyKind::Text, "its name, for tracking_type = \"CUSTOM\""),
    ],
    has_test_mode: true,
    contract: include_str!("../../sandbox/contracts/reddit.json"),
    configure,
};

/// A website's event needs its URL (SCHEMA, `event_source_url`).
fn default_fields(source: ActionSource) -> FieldSet {
    const CLICKS: FieldSet = FieldSet::of(&[Field::RdtCid, Field::RdtUuid]);
    match source {
        ActionSource::Website => CLICKS.union(FieldSet::of(&[Field::PageUrl])),
        _ => CLICKS,
    }
}

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let pixel = settings.required_text("pixel_id", &mut problems);
    if !pixel.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        problems.push(Problem::new("pixel_id", "must be the pixel's id, such as a2_example"));
    }
    let test_id = settings.text("test_id").filter(|id| !id.is_empty());
    if settings.mode == Mode::Test && test_id.is_none() {
        let message = "is needed in test mode; Events Manager shows it under Events testing";
        problems.push(Problem::new("test_id", message));
    }
    let token = settings.required_secret("access_token", &mut problems);
    let kinds = kinds(settings, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let base = settings.endpoint.trim_end_matches('/');
    Ok(Box::new(Reddit {
        url: format!("{base}/api/{VERSION}/pixels/{pixel}/conversion_events"),
        token,
        test_id,
        partner: settings.text("partner").filter(|partner| !partner.is_empty()),
        always_test: settings.mode == Mode::Test,
        kinds,
    }))
}

#[derive(Debug)]
struct Reddit {
    url: String,
    token: SecretString,
    test_id: Option<String>,
    partner: Option<String>,
    always_test: bool,
    kinds: BTreeMap<String, Vec<Kind>>,
}

impl Destination for Reddit {
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal> {
        let Some(kind) = self.kind(occasion.plan_event, occasion.entry) else {
            return Err(Refusal::Skip(Skip::new(SkipCode::NotMapped, "no entry for this event")));
        };
        if occasion.test && self.test_id.is_none() {
            let message = "a test event, and the destination has no test_id";
            return Err(Refusal::Skip(Skip::new(SkipCode::TestMode, message)));
        }
        // There is no refund and no retraction; a custom event may tell of it.
        if let (Some(_), Kind::Standard(name)) = (&occasion.event.adjusts, kind) {
            return Err(unsupported(format!("Reddit takes no adjustment of a {name}")));
        }
        let os = occasion.event.texts.first(Field::AppOs).unwrap_or_default();
        let takes = if is_apple(os) { TAKES_OF_APPLE } else { TAKES };
        let recipe = Recipe { takes, fields: FIELDS, oldest: OLDEST };
        let mut preparation = prepare(&recipe, occasion, permit, now)?;
        let prepared = &mut preparation.prepared;
        if prepared.clear(Field::AppOs).and_then(advertising_key).is_none() {
            prepared.texts.retain(|(field, _)| *field != Field::AdvertisingId);
        }
        if prepared.action_source == ActionSource::Website && !prepared.has(Field::PageUrl) {
            return Err(missing("context.page_url, which a website's event needs,"));
        }
        if prepared.present().intersection(IDENTIFYING).is_empty() {
            let message = "nothing that Reddit could match by: no click id, cookie, e-mail, phone, \
                           own id, advertising id or address";
            return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
        }
        Ok(preparation)
    }

    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call> {
        let test = self.always_test || jobs.iter().any(|job| job.test);
        let mut tail = "]".to_owned();
        for (key, text) in [
            ("test_id", self.test_id.as_ref().filter(|_| test)),
            ("partner", self.partner.as_ref()),
        ] {
            if let Some(text) = text {
                tail.push_str(&format!(",\"{key}\":{}", json!(text)));
            }
        }
        tail.push_str("}}");
        let events = jobs.iter().enumerate().filter_map(|(index, job)| {
            let kind = self.kind(&job.event, job.entry)?;
            Some((index, body::event(job, kind, now).json()))
        });
        wire::batches(events, BATCH, Frame::Known("{\"data\":{\"events\":[", &tail))
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

    /// No events: the token and the pixel are looked at before Reddit misses them.
    fn probe(&self, _: Timestamp) -> Option<Call> {
        let body = b"{\"data\":{\"events\":[]}}".to_vec();
        Some(self.call(CallPurpose::Probe, body, Vec::new()))
    }
}

impl Reddit {
    fn kind(&self, event: &str, entry: u16) -> Option<&Kind> {
        self.kinds.get(event)?.get(usize::from(entry))
    }

    fn call(&self, purpose: CallPurpose, body: Vec<u8>, members: Vec<usize>) -> Call {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Call { purpose, method: "POST", url: self.url.clone(), headers, body, members }
    }
}

fn is_apple(os: &str) -> bool {
    ["ios", "ipados", "tvos"].iter().any(|apple| apple.eq_ignore_ascii_case(os.trim()))
}

/// Under which key an advertising id of a system is sent.
fn advertising_key(os: &str) -> Option<&'static str> {
    match os {
        "android" => Some("aaid"),
        os if is_apple(os) => Some("idfa"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
