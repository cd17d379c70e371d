//! Microsoft's offline conversions: by click or hashed identity, with no tag in a browser, and what
//! became later of these and of those that a UET tag counted. Up to 1,000 a request, each judged by
//! itself.
//!
//! Its refresh token is replaced whenever it is used; keeping the new one is delivery's.
//!
//! Pages are those of the sheet's part B, checked 2026-11-22; `DOC` stands for
//! <https://learn.microsoft.com/en-us/advertising/campaign-management-service>.

mod answer;
mod body;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use secrecy::SecretString;

use super::{
    Answer, ApiVersion, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup,
    Destination, Entry, Key, KeyKind, Occasion, Platform, Preparation, Problem, Quota, Refusal,
    Response, Settings, Take,
    adjust::{Change, change},
    microsoft::msclkid,
    prepare::{Recipe, missing, prepare, taken, unsupported},
    settings::days,
    wire::{self, Frame},
};
use crate::{
    consent::{Grant, Permit, Purpose, Purposes, ReasonCode},
    event::{Adjustment, Field, FieldSet},
    identity::Rule,
    job::{Prepared, Sent, Skip, SkipCode},
};

/// The REST calls of this version go on; SOAP ends on 2027-01-31 (announced 2026-09-30).
const VERSION: &str = "v13";

/// DOC/applyofflineconversions. The size is not documented.
const BATCH: BatchLimits = BatchLimits { events: 1_000, bytes: 1_000_000 };

/// DOC/offlineconversion, `ConversionTime` (error 5609).
const OLDEST_DAYS: u64 = 90;

const SCOPE: &str = "https://ads.microsoft.com/msads.manage offline_access";

/// DOC/offlineconversion: hashed as for the tag's own API.
const TAKES: &[Take] = &[
    Take::hashed(Field::Email, Rule::EmailBareLocal).at_most(1),
    Take::hashed(Field::Phone, Rule::PhoneE164).at_most(1),
    Take::clear(Field::Msclkid, Rule::Verbatim),
];

const FIELDS: FieldSet = taken(TAKES, &[Field::Value, Field::Currency, Field::OrderId]);

const HASHED: FieldSet = FieldSet::of(&[Field::Email, Field::Phone]);
const IDENTIFYING: FieldSet = HASHED.union(FieldSet::of(&[Field::Msclkid]));

/// What Microsoft's offline conversions are.
pub(super) static PLATFORM: Platform = Platform {
    name: "microsoft_offline",
    title: "Microsoft offline conversions",
    also_called: &["Bing Ads", "Bing Ads Offline Conversions"],
    docs: "https://learn.microsoft.com/en-us/advertising/campaign-management-service/applyofflineconversions",
    api: Some(ApiVersion { version: VERSION, ends: None }),
    endpoint: "https://campaign.api.bingads.microsoft.com",
    token_endpoint: "https://login.microsoftonline.com",
    batch: BATCH,
    oldest: |_| days(OLDEST_DAYS),
    // A limit a minute that is not documented (error 117); a courteous one.
    quota: Quota { requests_per_second: 2, burst: 4, requests_per_day: None },
    // By click, goal and time; without a click not at all.
    dedup: Dedup::Partly,
    browser_dedup: BrowserDedup::None,
    takes: TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        // It has no field of consent at all: what has none is not sent.
        personalization_flag: false,
        restricted_in: &[],
        can_restrict: |_, _, _| false,
        required: FieldSet::EMPTY,
        default_fields: |_| FieldSet::of(&[Field::Msclkid]),
        takes: FIELDS,
        with_ad_user_data: FieldSet::EMPTY,
    },
    tcf_vendor_id: Some(1126),
    ac_provider_id: None,
    keys: &[
        Key::new("account_id", KeyKind::Recipient, "the ad account's number (not its name)"),
        Key::new("customer_id", KeyKind::Recipient, "the customer's (manager account's) number"),
        Key::new("client_id", KeyKind::Text, "the application registered with Microsoft"),
        Key::new("client_secret", KeyKind::Secret, "its secret; a public application has none"),
        Key::new(
            "refresh_token",
            KeyKind::Secret,
            "a user's grant; it is replaced when used, and the new one is kept in the data folder",
        ),
        Key::new("developer_token", KeyKind::Secret, "made in the developer portal"),
        Key::new("tenant", KeyKind::Text, "whose users sign in; default \"common\""),
        Key::new("max_age_days", KeyKind::Number, "the oldest event, in days; default 90"),
        Key::new(
            "needs_click_id",
            KeyKind::Bool,
            "skip events without a msclkid; default false: a hashed e-mail or phone will do",
        ),
    ],
    entry_keys: &[
        Key::new("goal", KeyKind::Text, "the conversion goal's name, as it is written there"),
        Key::new(
            "counted_by",
            KeyKind::Text,
            "what counted the originals that are adjusted: upload or tag; default: upload where the \
             event says when (adjusts.timestamp) and whose, else tag",
        ),
    ],
    has_test_mode: false,
    contract: include_str!("../../sandbox/contracts/microsoft_offline.json"),
    configure,
};

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let account = number(settings, "account_id", &mut problems);
    let customer = number(settings, "customer_id", &mut problems);
    let client_id = settings.required_text("client_id", &mut problems);
    let refresh_token = settings.required_secret("refresh_token", &mut problems);
    let developer_token = settings.required_secret("developer_token", &mut problems);
    let tenant = settings.text("tenant").unwrap_or_else(|| "common".to_owned());
    if tenant.is_empty() || !tenant.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
    {
        problems.push(Problem::new("tenant", "must be a tenant's id or domain, or \"common\""));
    }
    let oldest = settings.days("max_age_days", days(OLDEST_DAYS), &mut problems);
    if settings.table.get("needs_click_id").is_some_and(|value| !value.is_bool()) {
        problems.push(Problem::new("needs_click_id", "must be true or false"));
    }
    let goals = goals(settings, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let tokens = settings.token_endpoint.trim_end_matches('/');
    let base = settings.endpoint.trim_end_matches('/');
    Ok(Box::new(Offline {
        base: format!("{base}/CampaignManagement/{VERSION}"),
        account,
        customer,
        needs_click_id: settings.flag("needs_click_id", false),
        oldest,
        goals,
        token_url: format!("{tokens}/{tenant}/oauth2/v2.0/token"),
        client_id,
        client_secret: settings.secret("client_secret"),
        refresh_token,
        developer_token,
    }))
}

fn number(settings: &Settings, key: &str, problems: &mut Vec<Problem>) -> String {
    let id = settings.required_text(key, problems);
    if !id.bytes().all(|byte| byte.is_ascii_digit()) {
        problems.push(Problem::new(key, "must be a number, as in the address bar (aid=, cid=)"));
    }
    id
}

/// A conversion goal of the account.
#[derive(Debug)]
struct Goal {
    name: String,
    /// What counted the originals; `None`: as an adjustment's fields tell.
    counted_by: Option<CountedBy>,
}

/// The two kinds of conversions, adjusted by calls of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CountedBy {
    /// Offline ones, found by click or person and time.
    Upload,
    /// Those of the UET tag, found by transaction id.
    Tag,
}

fn goals(settings: &Settings, problems: &mut Vec<Problem>) -> BTreeMap<String, Vec<Goal>> {
    let mut goals = BTreeMap::new();
    for (event, entries) in &settings.entries {
        let name = |entry: &Entry| match entry {
            Entry::Table(table) => table
                .get("goal")
                .and_then(toml::Value::as_str)
                .unwrap_or_default()
                .trim()
                .to_owned(),
            Entry::Name(name) => name.trim().to_owned(),
            Entry::Standard => String::new(),
        };
        let mut counted_by = |entry: &Entry| {
            let Entry::Table(table) = entry else { return None };
            match table.get("counted_by")?.as_str() {
                Some("upload") => Some(CountedBy::Upload),
                Some("tag") => Some(CountedBy::Tag),
                _ => {
                    let message = "counted_by must be \"upload\" or \"tag\"";
                    problems.push(Problem::new(format!("events.{event}"), message));
                    None
                }
            }
        };
        let goal = |entry: &Entry| Goal { name: name(entry), counted_by: counted_by(entry) };
        let list: Vec<Goal> = entries.iter().map(goal).collect();
        // DOC/offlineconversion, `ConversionName`: at most 100 characters.
        if list.iter().any(|goal| goal.name.is_empty() || goal.name.chars().count() > 100) {
            let message =
                "must name a conversion goal of the account: { goal = \"Offline purchase\" }";
            problems.push(Problem::new(format!("events.{event}"), message));
        }
        goals.insert(event.clone(), list);
    }
    goals
}

#[derive(Debug)]
struct Offline {
    base: String,
    account: String,
    customer: String,
    needs_click_id: bool,
    oldest: Duration,
    goals: BTreeMap<String, Vec<Goal>>,
    token_url: String,
    client_id: String,
    client_secret: Option<SecretString>,
    refresh_token: SecretString,
    developer_token: SecretString,
}

impl Destination for Offline {
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal> {
        let Some(goal) = self.goal(occasion.plan_event, occasion.entry) else {
            return Err(Refusal::Skip(Skip::new(SkipCode::NotMapped, "no entry for this event")));
        };
        // There is no field to say so (sheet, B4).
        let grants = permit.grants;
        if grants.ad_storage == Grant::Denied || grants.ad_user_data == Grant::Denied {
            let message = "ad_storage or ad_user_data is denied, and Microsoft cannot be told";
            return Err(Refusal::Held(ReasonCode::NoConsent, message.to_owned()));
        }
        let recipe = Recipe { takes: TAKES, fields: FIELDS, oldest: self.oldest };
        let mut preparation = prepare(&recipe, occasion, permit, now)?;
        let prepared = &mut preparation.prepared;
        // Not in the future (5614), and the same on every send: it is part of what a resend is
        // recognised by.
        prepared.time = prepared.time.min(now);
        prepared.texts.retain(|(field, sent)| match (field, sent) {
            (Field::Msclkid, Sent::Clear(id)) => msclkid(id).is_some(),
            _ => true,
        });
        if let Some(adjusts) = &occasion.event.adjusts {
            adjust(prepared, adjusts, occasion, goal.counted_by)?;
            return Ok(preparation);
        }
        if prepared.value.is_some_and(|it| it.amount.is_sign_negative() && !it.amount.is_zero()) {
            // 5606 OfflineConversionValueInvalid.
            return Err(unsupported("Microsoft takes no value below zero"));
        }
        let present = prepared.present();
        if self.needs_click_id && !present.contains(Field::Msclkid) {
            let message = "no click id (click_ids.msclkid), and needs_click_id = true";
            return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
        }
        if present.intersection(IDENTIFYING).is_empty() {
            let message = "no click id, e-mail or phone that Microsoft could match by";
            return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
        }
        Ok(preparation)
    }

    /// Conversions, and adjustments of either kind, are applied by calls of their own.
    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call> {
        let mapped: Vec<(usize, &Prepared, &str)> = jobs
            .iter()
            .enumerate()
            .filter_map(|(index, job)| Some((index, job, &*self.goal(&job.event, job.entry)?.name)))
            .collect();
        let kinds = mapped.iter().enumerate().map(|(i, (_, job, _))| (i, body::Kind::of(job)));
        let mut calls = Vec::new();
        for (kind, positions) in wire::partition(kinds) {
            let part = positions.iter().filter_map(|position| mapped.get(*position));
            let rows =
                part.map(|(index, job, goal)| (*index, body::row(kind, job, goal, now).json()));
            for batch in wire::batches(rows, BATCH, Frame::UpTo(body::LARGEST_FRAME)) {
                let body = body::request(kind, &batch.text);
                calls.push(self.call(CallPurpose::Send, kind, body, batch.members));
            }
        }
        calls
    }

    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        answer::classify(call, response, now)
    }

    fn auth(&self) -> Auth {
        Auth::OAuthRotating {
            token_url: self.token_url.clone(),
            client_id: self.client_id.clone(),
            client_secret: self.client_secret.clone(),
            refresh_token: self.refresh_token.clone(),
            extra: vec![("scope", SCOPE.to_owned())],
            headers: vec![("developertoken", self.developer_token.clone())],
        }
    }

    /// A conversion by its click; an adjustment by what it adjusts and when.
    fn is_deduplicated(&self, job: &Prepared) -> bool {
        job.adjusts.is_some() || job.has(Field::Msclkid)
    }

    /// Nothing at all: refused as empty (error 5600) if the credentials are right.
    fn probe(&self, _: Timestamp) -> Option<Call> {
        let kind = body::Kind::Conversion;
        Some(self.call(CallPurpose::Probe, kind, body::request(kind, ""), Vec::new()))
    }
}

impl Offline {
    fn goal(&self, event: &str, entry: u16) -> Option<&Goal> {
        self.goals.get(event)?.get(usize::from(entry))
    }

    fn call(
        &self,
        purpose: CallPurpose,
        kind: body::Kind,
        body: Vec<u8>,
        members: Vec<usize>,
    ) -> Call {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = vec![
            header("content-type", "application/json"),
            header("customerid", &self.customer),
            header("customeraccountid", &self.account),
        ];
        let url = format!("{}/{}/Apply", self.base, kind.name());
        Call { purpose, method: "POST", url, headers, body, members }
    }
}

/// With a value it restates, without one it retracts (DOC/applyofflineconversionadjustments).
///
/// An offline conversion is found by its click or person and its time, which only
/// `adjusts.timestamp` can say; one that a tag counted by its transaction id, for which nothing of
/// the person has to leave (DOC/applyonlineconversionadjustments). Where the settings say that the
/// originals are offline ones, an adjustment that cannot find its own is none of the tag's.
fn adjust(
    prepared: &mut Prepared,
    adjusts: &Adjustment,
    occasion: &Occasion<'_>,
    counted_by: Option<CountedBy>,
) -> Result<(), Refusal> {
    prepared.value = match change(occasion, adjusts, "Microsoft")? {
        Change::Restated(value) => Some(value),
        Change::Refunded | Change::Cancelled => None,
    };
    if counted_by == Some(CountedBy::Tag) {
        prepared.texts.clear();
    }
    if body::Kind::of(prepared) == body::Kind::OnlineAdjustment {
        if counted_by == Some(CountedBy::Upload) {
            return Err(missing(
                "adjusts.timestamp (when the original happened), or its click id, e-mail or phone, \
                 by which an offline conversion is found,",
            ));
        }
        if prepared.transaction_id.is_empty() {
            return Err(missing("adjusts.order_id (or adjusts.event_id)"));
        }
        prepared.texts.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
