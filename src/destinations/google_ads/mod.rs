//! Google Ads through the Data Manager API: up to 2,000 events and 10 conversion actions a
//! request, all taken or none, with the culprits' indices; what became of them is asked later.
//!
//! Pages are those of the sheet's part A, checked 2026-11-22; `DOC` stands for
//! <https://developers.google.com/data-manager/api>, `PROTO` for googleapis
//! `google/ads/datamanager/v1`.

mod answer;
mod body;

use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::{
    Answer, ApiVersion, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup,
    Destination, FollowUp, Key, KeyKind, Mode, Occasion, Pace, Platform, Preparation, Probe,
    Problem, Quota, Refusal, Response, Settings, Take,
    adjust::{Change, change},
    google::{self, Actions, Credentials, account},
    oauth,
    prepare::{Recipe, may_be_in_eea_uk_ch, missing, prepare, taken, unsupported},
    settings::days,
    wire::{self, Frame},
};
use crate::{
    consent::{Grant, Permit, Purpose, Purposes, ReasonCode},
    event::{ActionSource, Adjustment, Field, FieldSet, Money},
    identity::Rule,
    job::{Prepared, Skip, SkipCode},
};

/// Events and destinations a request (PROTO ingestion_service; DOC/limits). The size is not
/// documented.
const BATCH: BatchLimits = BatchLimits { events: 2_000, bytes: 2_000_000 };
const ACTIONS_A_REQUEST: usize = 10;

/// Longer ones are refused as FIELD_VALUE_TOO_LONG.
const LONGEST_TRANSACTION_ID: usize = 512;

/// Longer ones are no postal code (INVALID_POSTAL_CODE); no country's has more than ten characters.
const LONGEST_POSTAL_CODE: usize = 20;

/// Identifiers an event (PROTO user_data).
const IDENTIFIERS: usize = 10;

/// The longest click-through window of a conversion action; the true limit is the action's own and
/// enforced later (DOC/events), so it is a setting.
const OLDEST_DAYS: u64 = 90;

const SCOPE: &str = "https://www.googleapis.com/auth/datamanager";

const FROM_APP: &[ActionSource] = &[ActionSource::App];

/// DOC/concepts/formatting; PROTO ad_identifiers, user_data.
const TAKES: &[Take] = &[
    Take::hashed(Field::Email, Rule::EmailGoogle).at_most(IDENTIFIERS),
    Take::hashed(Field::Phone, Rule::PhoneE164).at_most(IDENTIFIERS),
    Take::hashed(Field::FirstName, Rule::NameGoogle).at_most(1),
    Take::hashed(Field::LastName, Rule::NameGoogle).at_most(1),
    Take::clear(Field::PostalCode, Rule::PlaceGoogle),
    Take::clear(Field::Country, Rule::CountryUpper),
    Take::clear(Field::CustomerType, Rule::Lower),
    Take::clear(Field::Ip, Rule::Verbatim),
    Take::clear(Field::UserAgent, Rule::Verbatim),
    Take::clear(Field::Gclid, Rule::Verbatim),
    Take::clear(Field::Gbraid, Rule::Verbatim),
    Take::clear(Field::Wbraid, Rule::Verbatim),
    Take::clear(Field::GoogleSessionAttributes, Rule::Verbatim),
    Take::clear(Field::AdvertisingId, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::OrderId, Rule::Verbatim),
];

const FIELDS: FieldSet =
    taken(TAKES, &[Field::Value, Field::Currency, Field::Discount, Field::Items]);

/// Its own click ids; `dclid` is Campaign Manager's, of Floodlight activities and not of conversion
/// actions (DOC/events/cm360).
const CLICKS: FieldSet =
    FieldSet::of(&[Field::Gclid, Field::Gbraid, Field::Wbraid, Field::GoogleSessionAttributes]);

/// An address is one only if it has all four (PROTO AddressInfo).
const ADDRESS: FieldSet =
    FieldSet::of(&[Field::FirstName, Field::LastName, Field::PostalCode, Field::Country]);

/// What Google Ads is.
pub(super) static PLATFORM: Platform = Platform {
    name: "google_ads",
    title: "Google Ads (Data Manager API)",
    also_called: &[
        "Google Ads Conversions",
        "Google Ads",
        "Google Adwords",
        "Google AdWords New",
        "Google Ads (Gtag)",
        "Google Adwords Enhanced Conversions",
        "Google Adwords Offline Conversions",
        "Google Ads Offline Conversions",
        "Google Enhanced Conversions",
    ],
    docs: "https://developers.google.com/data-manager/api",
    api: Some(ApiVersion { version: "v1", ends: None }),
    endpoint: "https://datamanager.googleapis.com",
    token_endpoint: "https://oauth2.googleapis.com",
    batch: BATCH,
    oldest: |_| days(OLDEST_DAYS),
    // 300 requests a minute and 100,000 a day, a Cloud project (DOC/limits).
    quota: Quota::new(5, 10).a_day(100_000),
    // By transactionId: the same one again is an adjustment to the same value (DOC/events).
    dedup: Dedup::EventId,
    browser_dedup: BrowserDedup::TransactionId,
    takes: TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        personalization_flag: true,
        restricted_in: &[],
        can_restrict: |_, _, _| false,
        required: FieldSet::EMPTY,
        default_fields: |_| CLICKS,
        takes: FIELDS,
        with_ad_user_data: FieldSet::EMPTY,
    },
    tcf_vendor_id: Some(755),
    ac_provider_id: None,
    keys: &[
        Key::new("customer_id", KeyKind::Recipient, "the account that owns the conversion actions"),
        Key::new("login_customer_id", KeyKind::Recipient, "the manager account of the credentials"),
        Key::new("merchant_id", KeyKind::Recipient, "Merchant Center id, to send cart data"),
        Key::new("merchant_feed_label", KeyKind::Text, "the feed's label, such as US"),
        Key::new("merchant_feed_language", KeyKind::Text, "the feed's language, such as en"),
        oauth::CLIENT_ID,
        oauth::CLIENT_SECRET,
        oauth::REFRESH_TOKEN,
        Key::new("service_account", KeyKind::Secret, "a key file's JSON, instead of the three"),
        Key::new("user_project", KeyKind::Text, "the Cloud project whose quota is used"),
        Key::new("keep_email_suffix", KeyKind::Bool, "keep gmail's +suffix, as Google once asked"),
        Key::new("max_age_days", KeyKind::Number, "the oldest event, in days; default 90"),
        google::KEEP_NAME_SPACES,
        Key::new(
            "retraction",
            KeyKind::Text,
            "cancelled orders: zero (default), restated as worth nothing; or skip",
        ),
    ],
    entry_keys: &[Key::new("conversion_action", KeyKind::Text, "the conversion action's number")],
    has_test_mode: true,
    contract: include_str!("../../sandbox/contracts/google_ads.json"),
    configure,
};

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let customer_id = settings.required_text("customer_id", &mut problems);
    let operating = account("customer_id", &customer_id, &mut problems);
    let login = settings
        .text("login_customer_id")
        .map(|id| account("login_customer_id", &id, &mut problems));
    let oldest = settings.days("max_age_days", days(OLDEST_DAYS), &mut problems);
    let (zero, skip) = (("zero", Retraction::Zero), ("skip", Retraction::Skip));
    let retraction = settings.choice("retraction", zero, &[skip], &mut problems);
    let keep_suffix = match settings.table.get("keep_email_suffix").map(toml::Value::as_bool) {
        None => false,
        Some(Some(keep)) => keep,
        Some(None) => {
            problems.push(Problem::new("keep_email_suffix", "must be true or false"));
            false
        }
    };
    let keeps_name_spaces = google::keeps_name_spaces(settings, &mut problems);
    let auth = Credentials::read(settings, &mut problems);
    let actions = Actions::read(settings, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut takes = TAKES.to_vec();
    if keep_suffix {
        for take in takes.iter_mut().filter(|take| take.field == Field::Email) {
            take.rule = Rule::EmailGoogleKeepSuffix;
        }
    }
    if keeps_name_spaces {
        google::keep_name_spaces(&mut takes);
    }
    Ok(Box::new(GoogleAds {
        base: settings.endpoint.trim_end_matches('/').to_owned(),
        user_project: settings.text("user_project"),
        operating,
        login,
        merchant: settings.text("merchant_id").map(|id| Merchant {
            id,
            label: settings.text("merchant_feed_label"),
            language: settings.text("merchant_feed_language"),
        }),
        always_test: settings.mode == Mode::Test,
        takes,
        oldest,
        retraction,
        auth,
        actions,
    }))
}

#[derive(Debug)]
struct GoogleAds {
    base: String,
    user_project: Option<String>,
    operating: String,
    login: Option<String>,
    merchant: Option<Merchant>,
    always_test: bool,
    takes: Vec<Take>,
    oldest: Duration,
    retraction: Retraction,
    auth: Credentials,
    actions: Actions,
}

/// Where products of a cart are known.
#[derive(Debug)]
struct Merchant {
    id: String,
    label: Option<String>,
    language: Option<String>,
}

/// What becomes of a cancelled order, for which the API has no retraction (DOC/events/offline).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retraction {
    /// Its value is restated as zero; its count stays.
    Zero,
    /// It is skipped, and its value stays as well.
    Skip,
}

impl Destination for GoogleAds {
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal> {
        if self.action(occasion.plan_event, occasion.entry).is_none() {
            return Err(Refusal::Skip(Skip::new(SkipCode::NotMapped, "no entry for this event")));
        }
        // Denied events are taken and then dropped as failed rows: they are not sent at all
        // (DOC/concepts/consent).
        if permit.grants.ad_user_data == Grant::Denied {
            let message = "ad_user_data is denied, and Google takes no such event";
            return Err(Refusal::Held(ReasonCode::NoConsent, message.to_owned()));
        }
        let recipe = Recipe { takes: &self.takes, fields: FIELDS, oldest: self.oldest };
        let mut preparation = prepare(&recipe, occasion, permit, now)?;
        let prepared = &mut preparation.prepared;
        if let Some(adjusts) = &occasion.event.adjusts {
            self.adjust(prepared, adjusts, occasion)?;
        }
        if may_be_in_eea_uk_ch(&prepared.consent.region) {
            // No address of people there, whatever the rules say (PROTO device_info).
            prepared.texts.retain(|(field, _)| *field != Field::Ip);
        }
        let too_long = |code: &str| code.chars().count() > LONGEST_POSTAL_CODE;
        if prepared.clear(Field::PostalCode).is_some_and(too_long) {
            prepared.texts.retain(|(field, _)| *field != Field::PostalCode);
        }
        let present = prepared.present();
        if !ADDRESS.difference(present).is_empty() {
            prepared.texts.retain(|(field, _)| !ADDRESS.contains(*field));
        }
        google::check_order(&prepared.transaction_id)?;
        if prepared.transaction_id.chars().count() > LONGEST_TRANSACTION_ID {
            // Cut, it could be another one's.
            let message =
                format!("the transaction id has more than {LONGEST_TRANSACTION_ID} characters");
            return Err(unsupported(message));
        }
        if !has_identifier(prepared) {
            let message = "no click id, e-mail, phone or whole address that Google could match by";
            return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
        }
        Ok(preparation)
    }

    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call> {
        let test = self.always_test || jobs.iter().any(|job| job.test);
        let mapped: Vec<(usize, &Prepared, &str)> = jobs
            .iter()
            .enumerate()
            .filter_map(|(index, job)| Some((index, job, self.action(&job.event, job.entry)?)))
            .collect();
        let mut actions: Vec<&str> = Vec::new();
        for (_, _, action) in &mapped {
            if !actions.contains(action) {
                actions.push(action);
            }
        }
        let set_of = |action: &str| {
            actions.iter().position(|a| *a == action).unwrap_or_default() / ACTIONS_A_REQUEST
        };
        let sets = wire::partition((0..).zip(&mapped).map(|(i, (_, _, a))| (i, set_of(a))));
        let mut calls = Vec::new();
        for (_, positions) in sets {
            let part: Vec<_> = positions.iter().filter_map(|i| mapped.get(*i)).collect();
            let events = part
                .iter()
                .map(|(index, job, action)| (*index, body::event(self, job, action, now).json()));
            for batch in wire::batches(events, BATCH, Frame::UpTo(body::LARGEST_FRAME)) {
                let mut used: Vec<&str> = Vec::with_capacity(1);
                for (index, _, action) in &part {
                    if !used.contains(action) && batch.members.binary_search(index).is_ok() {
                        used.push(action);
                    }
                }
                let body = body::request(self, &used, &batch.text, test);
                calls.push(self.call(CallPurpose::Send, body, batch.members));
            }
        }
        calls
    }

    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        answer::classify(call, response, now)
    }

    fn pace(&self, response: &Response, now: Timestamp) -> Option<Pace> {
        google::pace(response, now)
    }

    fn auth(&self) -> Auth {
        self.auth.auth(SCOPE)
    }

    fn is_deduplicated(&self, _: &Prepared) -> bool {
        true
    }

    fn follow_up(&self, follow_up: &FollowUp, _: Timestamp) -> Option<Call> {
        Some(answer::question(&self.base, self.headers(), follow_up))
    }

    /// A call that is checked and never ingested.
    fn probe(&self, now: Timestamp) -> Option<Call> {
        let any = self.actions.distinct(|_, _| true).into_iter().next();
        Some(self.probe_of(any, now))
    }

    fn probes(&self, now: Timestamp) -> Vec<Probe> {
        let actions = self.actions.distinct(|_, _| true);
        if actions.is_empty() {
            return vec![Probe { of: String::new(), call: self.probe_of(None, now) }];
        }
        let probe = |action: &str| Probe {
            of: format!("conversion_action {action}"),
            call: self.probe_of(Some(action), now),
        };
        actions.into_iter().map(probe).collect()
    }
}

impl GoogleAds {
    fn probe_of(&self, action: Option<&str>, now: Timestamp) -> Call {
        let actions: Vec<&str> = action.into_iter().collect();
        let body = body::request(self, &actions, &body::probe_event(now).json(), true);
        self.call(CallPurpose::Probe, body, Vec::new())
    }

    fn action(&self, event: &str, entry: u16) -> Option<&str> {
        self.actions.get(event, entry)
    }

    fn headers(&self) -> Vec<(String, String)> {
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        if let Some(project) = &self.user_project {
            headers.push(("x-goog-user-project".to_owned(), project.clone()));
        }
        headers
    }

    fn call(&self, purpose: CallPurpose, body: Vec<u8>, members: Vec<usize>) -> Call {
        let url = format!("{}/v1/events:ingest", self.base);
        Call { purpose, method: "POST", url, headers: self.headers(), body, members }
    }

    /// The same transaction id with another value is an adjustment; there is no retraction
    /// (DOC/events/google-ads/offline/upgrade). What was paid back is worth nothing any more; what
    /// never was still counts, unless it is to be worth nothing as well.
    fn adjust(
        &self,
        prepared: &mut Prepared,
        adjusts: &Adjustment,
        occasion: &Occasion<'_>,
    ) -> Result<(), Refusal> {
        if prepared.transaction_id.is_empty() {
            return Err(missing("adjusts.order_id (or adjusts.event_id)"));
        }
        let value = match change(occasion, adjusts, "Google")? {
            Change::Restated(value) => Some(value),
            Change::Cancelled if self.retraction == Retraction::Skip => {
                let message = "the Data Manager API has no retraction, and retraction = \"skip\" \
                               restates none as worth nothing";
                return Err(unsupported(message));
            }
            Change::Refunded | Change::Cancelled => {
                let currency = occasion.value.map(|value| value.currency).or(prepared.currency);
                currency.map(|currency| Money { amount: Decimal::ZERO, currency })
            }
        };
        prepared.value = Some(value.ok_or_else(|| missing("the currency of the new value"))?);
        Ok(())
    }
}

/// At least one of `adIdentifiers` and `userData` (error NO_IDENTIFIERS_PROVIDED).
fn has_identifier(prepared: &Prepared) -> bool {
    const IDENTIFYING: FieldSet = CLICKS.union(ADDRESS).union(FieldSet::of(&[
        Field::Email,
        Field::Phone,
        Field::AdvertisingId,
    ]));
    !prepared.present().intersection(IDENTIFYING).is_empty()
}

#[cfg(test)]
mod tests;
