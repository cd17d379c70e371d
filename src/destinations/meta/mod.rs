//! Meta Conversions API: one dataset, up to 1,000 events a request, all taken or all refused.
//!
//! Pages are those of the sheet, checked 2026-11-22; `DOC` stands for
//! <https://developers.facebook.com/documentation/ads-commerce/conversions-api>.

mod answer;
mod body;
mod ldu;

use std::time::Duration;

use jiff::{
    Timestamp,
    civil::{Date, date},
};
use secrecy::SecretString;
use serde_json::json;

use self::answer::OnBlock;
use super::{
    Answer, ApiVersion, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup,
    Destination, Key, KeyKind, Mode, Occasion, Pace, Platform, Preparation, Problem, Quota,
    Refusal, Response, Settings, Take, Version,
    prepare::{Recipe, missing, prepare, taken, unsupported},
    settings::Names,
    wire::{self, Frame},
};
use crate::{
    consent::{Permit, Purpose, Purposes, ReasonCode},
    event::{ActionSource, Event, Field, FieldSet},
    identity::Rule,
    job::{Prepared, Sent, Skip, SkipCode},
};

/// Newest version, released 2026-07-29, end not named yet (Graph API changelog).
const VERSION: &str = "v26.0";

/// The last days of versions (<https://developers.facebook.com/docs/graph-api/changelog/versions/>,
/// 2026-11-22); that of the newest is not named yet.
const ENDS: &[(&str, Date)] = &[
    ("v25.0", date(2028, 7, 29)),
    ("v24.0", date(2028, 2, 18)),
    ("v23.0", date(2027, 10, 8)),
    ("v22.0", date(2027, 5, 20)),
    ("v21.0", date(2027, 1, 21)),
    ("v20.0", date(2026, 9, 24)),
];

/// Where conversations are (`messaging_channel` in the vendor's SDK; sheet, section 2).
const CHANNELS: [&str; 3] = ["messenger", "whatsapp", "instagram"];

/// Events a request (DOC/using-the-api); the size is not documented, 1 MB is known to pass.
const BATCH: BatchLimits = BatchLimits { events: 1_000, bytes: 1_000_000 };

/// Custom names are kept within what reports show.
const LONGEST_NAME: usize = 50;

/// Sources whose events come from a CRM: Meta's own CRM integration sends both as
/// `system_generated`.
const FROM_CRM: &[ActionSource] = &[ActionSource::Crm, ActionSource::SystemGenerated];
const FROM_APP: &[ActionSource] = &[ActionSource::App];
const FROM_MESSAGING: &[ActionSource] = &[ActionSource::BusinessMessaging];

/// Meta's own param builder appends 2 or 8 characters to its hashes, to be passed through.
const fn hashed(field: Field, rule: Rule) -> Take {
    Take { keeps_appendix: true, ..Take::hashed(field, rule) }
}

/// DOC/parameters/customer-information-parameters.
const TAKES: &[Take] = &[
    hashed(Field::Email, Rule::EmailPlain),
    hashed(Field::Phone, Rule::PhoneDigits),
    hashed(Field::FirstName, Rule::NameMeta),
    hashed(Field::LastName, Rule::NameMeta),
    hashed(Field::DateOfBirth, Rule::DateOfBirth),
    hashed(Field::Gender, Rule::Gender),
    hashed(Field::City, Rule::CityCompact),
    hashed(Field::Region, Rule::StateCompact),
    hashed(Field::PostalCode, Rule::PostalCompact),
    hashed(Field::Country, Rule::CountryLower),
    // Without white space, as Meta's own param builder makes it.
    hashed(Field::ExternalId, Rule::LowerNoSpace),
    Take::clear(Field::SubscriptionId, Rule::Verbatim),
    Take::clear(Field::LeadMeta, Rule::Verbatim),
    Take::clear(Field::LeadCrm, Rule::Verbatim).only_from(FROM_CRM),
    Take::clear(Field::Ip, Rule::Verbatim),
    Take::clear(Field::UserAgent, Rule::Verbatim),
    Take::clear(Field::Fbc, Rule::Verbatim),
    Take::clear(Field::Fbclid, Rule::Verbatim),
    Take::clear(Field::Fbp, Rule::Verbatim),
    Take::clear(Field::CtwaClid, Rule::Verbatim).only_from(FROM_MESSAGING),
    Take::clear(Field::PageUrl, Rule::HttpUrl),
    Take::clear(Field::Referrer, Rule::HttpUrl),
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
        Field::NetRevenue,
        Field::PredictedLtv,
        Field::Items,
        Field::ItemNames,
        Field::OtherProperties,
    ],
);

/// What Meta is.
pub(super) static PLATFORM: Platform = Platform {
    name: "meta",
    title: "Meta Conversions API",
    also_called: &[
        "Facebook Pixel",
        "Facebook Conversions API",
        "Facebook Conversions API (Actions)",
        "Facebook Conversions",
    ],
    docs: "https://developers.facebook.com/documentation/ads-commerce/conversions-api",
    api: Some(ApiVersion { version: VERSION, ends: None }),
    endpoint: "https://graph.facebook.com",
    token_endpoint: "",
    batch: BATCH,
    oldest,
    // No limit of its own (DOC); a courteous one.
    quota: Quota::new(50, 100),
    dedup: Dedup::EventId,
    browser_dedup: BrowserDedup::EventId,
    takes: TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        personalization_flag: true,
        restricted_in: &["US"],
        can_restrict: |region, has_ip, _| has_ip || ldu::known(region).is_some(),
        required: FieldSet::of(&[Field::UserAgent, Field::PageUrl]),
        default_fields,
        takes: FIELDS,
        with_ad_user_data: FieldSet::EMPTY,
    },
    // Not on the Global Vendor List; on Google's list of ad technology providers.
    tcf_vendor_id: None,
    ac_provider_id: Some(89),
    keys: &[
        Key::new("dataset_id", KeyKind::Recipient, "the dataset (or pixel) that gets the events"),
        Key::new("pixel_id", KeyKind::Recipient, "the same under its older name"),
        Key::new("access_token", KeyKind::Secret, "the token generated in Events Manager"),
        Key::new("test_event_code", KeyKind::Text, "routes test events to the Test Events tab"),
        Key::new("api_version", KeyKind::Text, "another version of the Graph API, such as v25.0"),
        Key::new(
            "messaging_channel",
            KeyKind::Text,
            "where conversations without a ctwa_clid are: messenger, whatsapp or instagram",
        ),
        Key::new(
            "policy_block",
            KeyKind::Text,
            "what a policy block (error 368) does: pause (default) or retry",
        ),
        Key::new(
            "ldu_states",
            KeyKind::Any,
            "codes of more states for limited data use: { US-UT = 1007 }; 0 takes one away",
        ),
        Key::new("batch_bytes", KeyKind::Number, "the largest body, in bytes; default 1000000"),
    ],
    entry_keys: &[Key::new("name", KeyKind::Text, "the event name at Meta")],
    has_test_mode: true,
    contract: include_str!("../../sandbox/contracts/meta.json"),
    configure,
};

/// `v25.0` as 25 and 0.
fn number(version: &str) -> Option<(u16, u16)> {
    let (major, minor) = version.strip_prefix('v')?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The last day of a version. One that is not listed has none of its own, and works no longer than
/// the next newer one that is.
fn ends(version: &str) -> Option<Date> {
    let version = number(version)?;
    let not_older = ENDS.iter().filter(|(listed, _)| number(listed) >= Some(version));
    not_older.map(|(_, ends)| *ends).min()
}

/// 7 days, 62 for shops of bricks (DOC/using-the-api).
fn oldest(source: ActionSource) -> Duration {
    let days = if source == ActionSource::PhysicalStore { 62 } else { 7 };
    Duration::from_secs(days * 24 * 60 * 60)
}

/// Required for a website: user agent and URL (DOC/parameters); for an app what `extinfo` needs.
fn default_fields(source: ActionSource) -> FieldSet {
    const CLICKS: FieldSet =
        FieldSet::of(&[Field::Fbc, Field::Fbclid, Field::Fbp, Field::CtwaClid]);
    let required = match source {
        ActionSource::Website => FieldSet::of(&[Field::UserAgent, Field::PageUrl]),
        ActionSource::App => FieldSet::of(&[Field::AppOs, Field::AppOsVersion, Field::AttStatus]),
        _ => FieldSet::EMPTY,
    };
    CLICKS.union(required)
}

/// Standard names (DOC/parameters/standard-events), case sensitive.
const STANDARD: &[&str] = &[
    "AddPaymentInfo",
    "AddToCart",
    "AddToWishlist",
    "CompleteRegistration",
    "Contact",
    "CustomizeProduct",
    "Donate",
    "FindLocation",
    "InitiateCheckout",
    "Lead",
    "PageView",
    "Purchase",
    "Schedule",
    "Search",
    "StartTrial",
    "SubmitApplication",
    "Subscribe",
    "ViewContent",
];

/// The standard name of an event: the same words, or those of the usual analytics vocabulary.
fn standard(event: &str) -> Option<String> {
    let known = match event {
        "begin_checkout" | "checkout_started" => "InitiateCheckout",
        "view_item" | "product_viewed" => "ViewContent",
        "view_search_results" => "Search",
        "generate_lead" => "Lead",
        "sign_up" => "CompleteRegistration",
        "order_completed" => "Purchase",
        _ => {
            let bare: String = event.chars().filter(|c| *c != '_').collect();
            STANDARD.iter().find(|name| name.eq_ignore_ascii_case(&bare))?
        }
    };
    Some(known.to_owned())
}

fn refuse(name: &str) -> Option<String> {
    if name.chars().count() > LONGEST_NAME {
        return Some(format!("a custom event name has at most {LONGEST_NAME} characters"));
    }
    // Purchase written as purchase would count as a custom event of its own.
    let near = STANDARD.iter().find(|s| **s != name && s.eq_ignore_ascii_case(name))?;
    Some(format!("names are case sensitive; write {near:?}"))
}

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let dataset = match settings.text("pixel_id") {
        Some(pixel) if settings.text("dataset_id").is_none() => pixel,
        Some(_) => {
            problems
                .push(Problem::new("pixel_id", "is dataset_id's older name; write one of them"));
            String::new()
        }
        None => settings.required_text("dataset_id", &mut problems),
    };
    if !dataset.bytes().all(|b| b.is_ascii_digit()) {
        problems.push(Problem::new("dataset_id", "must be the dataset's number"));
    }
    let version = settings.text("api_version").unwrap_or_else(|| VERSION.to_owned());
    if number(&version).is_none() {
        problems.push(Problem::new("api_version", format!("must look like {VERSION}")));
    }
    let messaging_channel = settings.text("messaging_channel").filter(|text| !text.is_empty());
    if messaging_channel.as_deref().is_some_and(|channel| !CHANNELS.contains(&channel)) {
        let message = format!("must be one of {}", CHANNELS.join(", "));
        problems.push(Problem::new("messaging_channel", message));
    }
    let states = ldu::States::read(settings, &mut problems);
    let batch = settings.batch(BATCH, &mut problems);
    let (pause, retry) = (("pause", OnBlock::Pause), ("retry", OnBlock::Retry));
    let on_block = settings.choice("policy_block", pause, &[retry], &mut problems);
    let test_event_code = settings.text("test_event_code").filter(|code| !code.is_empty());
    if settings.mode == Mode::Test && test_event_code.is_none() {
        let message = "is needed in test mode; Events Manager shows it under Test Events";
        problems.push(Problem::new("test_event_code", message));
    }
    let token = settings.required_secret("access_token", &mut problems);
    let names = settings.entry_names(standard, refuse, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let base = settings.endpoint.trim_end_matches('/');
    Ok(Box::new(Meta {
        url: format!("{base}/{version}/{dataset}/events"),
        version,
        token,
        test_event_code,
        always_test: settings.mode == Mode::Test,
        wording: body::Wording { messaging_channel, states },
        batch,
        on_block,
        names,
    }))
}

#[derive(Debug)]
struct Meta {
    url: String,
    version: String,
    token: SecretString,
    test_event_code: Option<String>,
    always_test: bool,
    wording: body::Wording,
    batch: BatchLimits,
    on_block: OnBlock,
    names: Names,
}

impl Destination for Meta {
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
        if occasion.test && self.test_event_code.is_none() {
            let message = "a test event, and the destination has no test_event_code";
            return Err(Refusal::Skip(Skip::new(SkipCode::TestMode, message)));
        }
        // There is no refund and no retraction (sheet, section 14); a custom event may tell of it.
        if event.adjusts.is_some() && STANDARD.contains(&name) {
            return Err(unsupported(format!("Meta takes no adjustment of a {name}")));
        }
        let recipe = Recipe { takes: TAKES, fields: FIELDS, oldest: oldest(event.action_source) };
        let mut preparation = prepare(&recipe, occasion, permit, now)?;
        let prepared = &mut preparation.prepared;
        settle_fbc(prepared, event);
        let odd = |(field, sent): &(Field, Sent)| match sent {
            Sent::Clear(text) => is_odd_cookie(*field, text),
            Sent::Hashed(_) => false,
        };
        for (field, _) in prepared.texts.extract_if(.., |text| odd(text)) {
            let message = format!("{} left out: it is not fb.INDEX.MILLISECONDS.ID", field.path());
            preparation.left_out.push(message);
        }
        let is_lead = |text: &str| body::lead_id(text).is_some();
        if !prepared.clear(Field::LeadMeta).is_some_and(is_lead) {
            prepared.texts.retain(|(field, _)| *field != Field::LeadMeta);
        }
        check(prepared, name, &self.wording)?;
        Ok(preparation)
    }

    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call> {
        let test = self.always_test || jobs.iter().any(|job| job.test);
        let code = self.test_event_code.as_ref().filter(|_| test);
        let tail = match code {
            Some(code) => format!("],\"test_event_code\":{}}}", json!(code)),
            None => "]}".to_owned(),
        };
        let events = jobs.iter().enumerate().filter_map(|(index, job)| {
            let name = self.names.get(&job.event, job.entry)?;
            // It could only leave unlimited: the table was changed since.
            if job.flags.limited && !self.wording.states.can_limit(job) {
                return None;
            }
            Some((index, body::event(job, name, &self.wording, now).json()))
        });
        wire::batches(events, self.batch, Frame::Known("{\"data\":[", &tail))
            .into_iter()
            .map(|batch| self.call(CallPurpose::Send, batch.text.into_bytes(), batch.members))
            .collect()
    }

    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        answer::classify(call, response, self.on_block, now)
    }

    fn pace(&self, response: &Response, _: Timestamp) -> Option<Pace> {
        answer::pace(response)
    }

    /// Codes as in the sheet, section 12.
    fn hint(&self, code: &str) -> Option<&'static str> {
        match code {
            "100/2804003" => Some(
                "the event was older than Meta takes when it was sent: a replay will not help; see \
                 why it waited so long",
            ),
            "100/2804050" => Some(
                "the event carries too little to find a person by: send an e-mail address, a \
                 phone, or fbp and fbc with it, or let them through (may_send in consent.toml), \
                 then replay",
            ),
            _ => None,
        }
    }

    fn auth(&self) -> Auth {
        Auth::Bearer(self.token.clone())
    }

    fn is_deduplicated(&self, _: &Prepared) -> bool {
        true
    }

    fn version(&self) -> Option<Version> {
        Some(Version { name: self.version.clone(), since: None, ends: ends(&self.version) })
    }

    /// No events: the token and the dataset are looked at before Meta misses them.
    fn probe(&self, _: Timestamp) -> Option<Call> {
        Some(self.call(CallPurpose::Probe, b"{\"data\":[]}".to_vec(), Vec::new()))
    }
}

impl Meta {
    fn call(&self, purpose: CallPurpose, body: Vec<u8>, members: Vec<usize>) -> Call {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Call { purpose, method: "POST", url: self.url.clone(), headers, body, members }
    }
}

/// The cookie if it is of this click, else a value built from the click id with the time at which
/// the click was first seen, in milliseconds (DOC/parameters/fbp-and-fbc; precedence as in Meta's
/// param builder). It is built here, once, so that no later send dates the click anew.
fn settle_fbc(prepared: &mut Prepared, event: &Event) {
    let Some(fbclid) = prepared.clear(Field::Fbclid).map(str::to_owned) else { return };
    let of_this_click = prepared
        .clear(Field::Fbc)
        .is_some_and(|cookie| cookie.split('.').nth(3) == Some(fbclid.as_str()));
    prepared
        .texts
        .retain(|(field, _)| *field != Field::Fbclid && (of_this_click || *field != Field::Fbc));
    if !of_this_click {
        // A click is not later than what came of it.
        let seen = event.clicked_at.unwrap_or_else(|| event.timestamp.min(event.received_at));
        let fbc = format!("fb.1.{}.{fbclid}", seen.as_millisecond());
        prepared.texts.push((Field::Fbc, Sent::Clear(fbc)));
    }
}

/// Whether a cookie is none of Meta's: it would match nobody, and be counted against the quality of
/// the events (DOC/parameters/fbp-and-fbc).
fn is_odd_cookie(field: Field, text: &str) -> bool {
    if !matches!(field, Field::Fbc | Field::Fbp) {
        return false;
    }
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let mut parts = text.splitn(4, '.');
    let (name, index, time) = (parts.next(), parts.next(), parts.next());
    let is_cookie = name == Some("fb")
        && index.is_some_and(is_number)
        && time.is_some_and(is_number)
        && parts.next().is_some_and(|id| !id.is_empty());
    !is_cookie
}

/// What Meta would refuse, with the whole batch.
fn check(prepared: &Prepared, name: &str, wording: &body::Wording) -> Result<(), Refusal> {
    match prepared.action_source {
        ActionSource::BusinessMessaging if body::messaging_channel(prepared, wording).is_none() => {
            return Err(missing(
                "click_ids.ctwa_clid (or the destination's messaging_channel), by which Meta knows \
                 where a conversation was,",
            ));
        }
        ActionSource::Website => {
            if prepared.clear(Field::UserAgent).is_none() {
                return Err(missing("context.user_agent, which a website's event needs,"));
            }
            if prepared.clear(Field::PageUrl).is_none() {
                return Err(missing("context.page_url, which a website's event needs,"));
            }
        }
        ActionSource::App => {
            if body::ext_version(prepared).is_none() {
                return Err(missing("context.app.os (ios or android)"));
            }
            if prepared.clear(Field::AppOsVersion).is_none() {
                return Err(missing("context.app.os_version"));
            }
        }
        _ => {}
    }
    match prepared.value {
        None if name == "Purchase" => {
            return Err(missing("the value with its currency, which a Purchase needs,"));
        }
        Some(value) if value.amount.is_sign_negative() && !value.amount.is_zero() => {
            return Err(unsupported("Meta takes no value below zero"));
        }
        _ => {}
    }
    if is_too_weak(prepared) {
        let message = "nothing that Meta could match a person by (it refuses places, gender, birth \
                       date and user agent alone)";
        return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
    }
    if prepared.flags.limited && !wording.states.can_limit(prepared) {
        let message = "limited data use needs a state of Meta's table, or an address";
        return Err(Refusal::Held(ReasonCode::OptedOut, message.to_owned()));
    }
    Ok(())
}

/// Sets that Meta refuses since v13 (error 100/2804050): these, and any part of one of them.
fn is_too_weak(prepared: &Prepared) -> bool {
    const USER: FieldSet = FieldSet::of(&[
        Field::Email,
        Field::Phone,
        Field::FirstName,
        Field::LastName,
        Field::DateOfBirth,
        Field::Gender,
        Field::City,
        Field::Region,
        Field::PostalCode,
        Field::Country,
        Field::ExternalId,
        Field::SubscriptionId,
        Field::LeadMeta,
        Field::Ip,
        Field::UserAgent,
        Field::Fbc,
        Field::Fbp,
        Field::CtwaClid,
        Field::AdvertisingId,
    ]);
    const WEAK: [FieldSet; 4] = [
        FieldSet::of(&[
            Field::City,
            Field::Country,
            Field::Region,
            Field::PostalCode,
            Field::Gender,
            Field::UserAgent,
        ]),
        FieldSet::of(&[Field::DateOfBirth, Field::UserAgent]),
        FieldSet::of(&[Field::FirstName, Field::Gender]),
        FieldSet::of(&[Field::LastName, Field::Gender]),
    ];
    let present = prepared.present().intersection(USER);
    WEAK.iter().any(|weak| present.difference(*weak).is_empty())
}

#[cfg(test)]
mod tests;
