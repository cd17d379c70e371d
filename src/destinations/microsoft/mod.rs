//! Microsoft's UET Conversions API: one UET tag, up to 1,000 events a request, each judged by
//! itself.
//!
//! Conversions without a browser's tag, and adjustments of any, go through Microsoft's offline
//! conversions, which are a platform of their own.
//!
//! Pages are those of the sheet, checked 2026-11-22; `DOC` stands for
//! <https://learn.microsoft.com/en-us/advertising/guides/uet-conversion-api-integration>.

mod answer;
mod body;

pub(super) use body::msclkid;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::json;

use super::{
    Answer, ApiVersion, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup,
    Destination, Entry, Key, KeyKind, Occasion, Platform, Preparation, Problem, Quota, Refusal,
    Response, Settings, Take,
    prepare::{Recipe, missing, prepare, taken, unsupported},
    wire::{self, Frame},
};
use crate::{
    consent::{Permit, Purpose, Purposes, ReasonCode},
    event::{ActionSource, Field, FieldSet},
    identity::Rule,
    job::{Prepared, Sent, Skip, SkipCode},
};

const VERSION: &str = "v1";

/// DOC; 1 MB is what integrators keep to.
const BATCH: BatchLimits = BatchLimits { events: 1_000, bytes: 1_000_000 };

/// DOC, `eventTime`.
const OLDEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

const FROM_APP: &[ActionSource] = &[ActionSource::App];

/// DOC, `userData`: single strings. No name, address, birth date or gender.
const TAKES: &[Take] = &[
    // No dots and no `+alias` before the @, in every domain.
    Take::hashed(Field::Email, Rule::EmailBareLocal).at_most(1),
    // With the plus.
    Take::hashed(Field::Phone, Rule::PhoneE164).at_most(1),
    Take::clear(Field::ExternalId, Rule::ExternalId),
    Take::clear(Field::AnonymousId, Rule::ExternalId),
    Take::clear(Field::Msclkid, Rule::Verbatim),
    Take::clear(Field::Uetvid, Rule::Verbatim),
    Take::clear(Field::AdvertisingId, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::AppOs, Rule::Lower).only_from(FROM_APP),
    Take::clear(Field::Ip, Rule::Verbatim),
    Take::clear(Field::UserAgent, Rule::Verbatim),
    Take::clear(Field::PageUrl, Rule::HttpUrl),
    Take::clear(Field::Referrer, Rule::HttpUrl),
    Take::clear(Field::SearchTerm, Rule::Verbatim),
];

const FIELDS: FieldSet = taken(
    TAKES,
    &[
        Field::Value,
        Field::Currency,
        Field::OrderId,
        Field::Items,
        Field::ItemNames,
        Field::OtherProperties,
    ],
);

/// One of these must be there; address and user agent alone are not enough (DOC, `userData`).
const IDENTIFYING: FieldSet = FieldSet::of(&[
    Field::Msclkid,
    Field::Uetvid,
    Field::AnonymousId,
    Field::ExternalId,
    Field::Email,
    Field::Phone,
    Field::AdvertisingId,
]);

/// What Microsoft's UET Conversions API is.
pub(super) static PLATFORM: Platform = Platform {
    name: "microsoft",
    title: "Microsoft UET Conversions API",
    also_called: &["Bing Ads", "Microsoft Bing Ads"],
    docs: "https://learn.microsoft.com/en-us/advertising/guides/uet-conversion-api-integration",
    api: Some(ApiVersion { version: VERSION, ends: None }),
    endpoint: "https://capi.uet.microsoft.com",
    token_endpoint: "",
    batch: BATCH,
    oldest: |_| OLDEST,
    // Not documented; a courteous one.
    quota: Quota { requests_per_second: 20, burst: 40, requests_per_day: None },
    // By tag, event name and event id; page loads have no name.
    dedup: Dedup::Partly,
    browser_dedup: BrowserDedup::EventId,
    takes: TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        personalization_flag: false,
        restricted_in: &[],
        can_restrict: |_, _, _| false,
        required: FieldSet::EMPTY,
        default_fields: |_| FieldSet::of(&[Field::Msclkid, Field::Uetvid]),
        takes: FIELDS,
        with_ad_user_data: FieldSet::EMPTY,
    },
    tcf_vendor_id: Some(1126),
    ac_provider_id: None,
    keys: &[
        Key::new("tag_id", KeyKind::Recipient, "the UET tag's number"),
        Key::new(
            "access_token",
            KeyKind::Secret,
            "the tag's own token: UET tag, Set up tagging, Use Conversions API",
        ),
        Key::new("data_provider", KeyKind::Text, "a name for who sends, kept with the events"),
        Key::new(
            "hotel_dates",
            KeyKind::Text,
            "how a hotel's days are spelled: \"checkinDate\" (default) or \"checkInDate\"",
        ),
    ],
    entry_keys: &[
        Key::new("name", KeyKind::Text, "the event action on which the conversion goal matches"),
        Key::new(
            "page_load",
            KeyKind::Bool,
            "true: a page load, where no UET tag is in the browser (it sends its own)",
        ),
    ],
    has_test_mode: false,
    contract: include_str!("../../sandbox/contracts/microsoft.json"),
    configure,
};

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let tag = settings.required_text("tag_id", &mut problems);
    if !tag.bytes().all(|byte| byte.is_ascii_digit()) {
        problems.push(Problem::new("tag_id", "must be the UET tag's number"));
    }
    let hotel_dates = match settings.text("hotel_dates").as_deref() {
        None | Some("checkinDate") => ["checkinDate", "checkoutDate"],
        Some("checkInDate") => ["checkInDate", "checkOutDate"],
        Some(_) => {
            let message = "must be \"checkinDate\" or \"checkInDate\"";
            problems.push(Problem::new("hotel_dates", message));
            ["checkinDate", "checkoutDate"]
        }
    };
    let token = settings.required_secret("access_token", &mut problems);
    let kinds = kinds(settings, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let base = settings.endpoint.trim_end_matches('/');
    let provider = settings.text("data_provider").filter(|name| !name.is_empty());
    Ok(Box::new(Microsoft {
        url: format!("{base}/{VERSION}/{tag}/events"),
        token,
        provider,
        hotel_dates,
        kinds,
    }))
}

/// What an event is to a UET tag.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    PageLoad,
    /// With the action on which goals match.
    Custom(String),
}

fn kinds(settings: &Settings, problems: &mut Vec<Problem>) -> BTreeMap<String, Vec<Kind>> {
    let names = |event: &String, entry: &Entry| {
        let written = match entry {
            Entry::Standard => None,
            Entry::Name(name) => Some(name.as_str()),
            Entry::Table(table) => {
                let name = table.get("name").and_then(toml::Value::as_str);
                if table.get("page_load").and_then(toml::Value::as_bool) == Some(true) {
                    return match name {
                        None => Ok(Kind::PageLoad),
                        Some(_) => Err("a page load has no name"),
                    };
                }
                name
            }
        };
        let name = written.or_else(|| standard(event)).filter(|name| !name.trim().is_empty());
        name.map(|name| Kind::Custom(name.to_owned())).ok_or(
            "has no usual event action; write the one on which the conversion goal matches, or \
             { page_load = true }",
        )
    };
    let mut kinds = BTreeMap::new();
    for (event, entries) in &settings.entries {
        let list = entries.iter().filter_map(|entry| {
            names(event, entry)
                .map_err(|message| {
                    problems.push(Problem::new(format!("events.{event}"), message));
                })
                .ok()
        });
        kinds.insert(event.clone(), list.collect());
    }
    kinds
}

/// Recommended event actions (DOC); any other text is as good where a goal matches on it.
fn standard(event: &str) -> Option<&str> {
    const RECOMMENDED: &[&str] = &[
        "add_payment_info",
        "add_to_cart",
        "begin_checkout",
        "book_appointment",
        "contact",
        "purchase",
        "search",
        "sign_up",
        "submit_lead_form",
        "subscribe",
        "view_cart",
        "view_item",
        "view_item_list",
    ];
    match event {
        "generate_lead" => Some("submit_lead_form"),
        "view_search_results" => Some("search"),
        _ => RECOMMENDED.contains(&event).then_some(event),
    }
}

#[derive(Debug)]
struct Microsoft {
    url: String,
    token: SecretString,
    provider: Option<String>,
    hotel_dates: body::HotelDates,
    kinds: BTreeMap<String, Vec<Kind>>,
}

impl Destination for Microsoft {
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal> {
        let Some(kind) = self.kind(occasion.plan_event, occasion.entry) else {
            return Err(Refusal::Skip(Skip::new(SkipCode::NotMapped, "no entry for this event")));
        };
        if occasion.event.adjusts.is_some() {
            let message = "a UET tag takes no adjustment; Microsoft's offline conversions do";
            return Err(unsupported(message));
        }
        if body::is_denied(permit.grants.ad_storage, &occasion.state.region) {
            let message = "ad_storage is denied, or not granted where a grant is needed, and \
                           nothing would be left to match by";
            return Err(Refusal::Held(ReasonCode::NoConsent, message.to_owned()));
        }
        let recipe = Recipe { takes: TAKES, fields: FIELDS, oldest: OLDEST };
        let mut preparation = prepare(&recipe, occasion, permit, now)?;
        let prepared = &mut preparation.prepared;
        settle_ids(prepared);
        if occasion.converted {
            forget_hotel_prices(prepared);
        }
        if *kind == Kind::PageLoad && !prepared.has(Field::PageUrl) {
            return Err(missing("context.page_url, which a page load needs,"));
        }
        if prepared.present().intersection(IDENTIFYING).is_empty() {
            let message = "nothing that Microsoft could match by (address and user agent alone are \
                           not enough)";
            return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
        }
        Ok(preparation)
    }

    /// A job whose storage was denied since is in no call: it could only leave with what it may not
    /// bear.
    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call> {
        let may_leave =
            |job: &Prepared| !body::is_denied(job.flags.grants.ad_storage, &job.consent.region);
        let events = jobs.iter().enumerate().filter(|(_, job)| may_leave(job));
        let events = events.filter_map(|(index, job)| {
            let kind = self.kind(&job.event, job.entry)?;
            Some((index, body::event(job, kind, self.hotel_dates, now).json()))
        });
        // Beside the list, not in each event: there it is ignored. A wrong event then costs only
        // itself.
        let provider = self.provider.as_ref();
        let provider = provider.map(|name| format!(",\"dataProvider\":{}", json!(name)));
        let provider = provider.unwrap_or_default();
        let tail = format!("]{provider},\"continueOnValidationError\":true}}");
        wire::batches(events, BATCH, Frame::Known("{\"data\":[", &tail))
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

    fn is_deduplicated(&self, job: &Prepared) -> bool {
        self.kind(&job.event, job.entry).is_some_and(|kind| *kind != Kind::PageLoad)
    }

    /// No events: 400 if the token is right, 401 if not.
    fn probe(&self, _: Timestamp) -> Option<Call> {
        Some(self.call(CallPurpose::Probe, b"{\"data\":[]}".to_vec(), Vec::new()))
    }
}

impl Microsoft {
    fn kind(&self, event: &str, entry: u16) -> Option<&Kind> {
        self.kinds.get(event)?.get(usize::from(entry))
    }

    fn call(&self, purpose: CallPurpose, body: Vec<u8>, members: Vec<usize>) -> Call {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Call { purpose, method: "POST", url: self.url.clone(), headers, body, members }
    }
}

/// They are properties of the sender's own, which are not converted with the value.
fn forget_hotel_prices(prepared: &mut Prepared) {
    let mut other = prepared.other();
    let Some(hotel) = other.get_mut("hotel").and_then(serde_json::Value::as_object_mut) else {
        return;
    };
    hotel.retain(|name, _| !matches!(name.as_str(), "total_price" | "base_price"));
    prepared.other = serde_json::Value::Object(other).to_string();
}

/// What would have an event refused is left out: ids that are no UUID.
fn settle_ids(prepared: &mut Prepared) {
    let has_key = prepared.clear(Field::AppOs).and_then(body::advertising_key).is_some();
    prepared.texts.retain(|(field, sent)| match (field, sent) {
        (Field::Msclkid, Sent::Clear(id)) => msclkid(id).is_some(),
        (Field::AdvertisingId, Sent::Clear(id)) => has_key && body::is_uuid(id),
        _ => true,
    });
}

#[cfg(test)]
mod tests;
