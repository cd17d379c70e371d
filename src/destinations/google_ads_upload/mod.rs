//! Google Ads through its own API, for accounts that still may: conversions by click or hashed
//! identity, what became of them later (restatements and retractions), and the identity of those
//! that Google's own tag counts (enhancements). Up to 2,000 a request, each judged by itself.
//!
//! Who does not upload by it already cannot begin to (since 2026-06-15): the Data Manager API is
//! the way for everybody else.
//!
//! Pages are those of the sheet's part B, checked 2026-11-22; `DOC` stands for
//! <https://developers.google.com/google-ads/api/docs/conversions>, `PROTO` for googleapis
//! `google/ads/googleads/v25`.

mod answer;
mod body;

use std::{collections::BTreeSet, time::Duration};

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, date},
};

use super::{
    Answer, ApiVersion, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup,
    Destination, Entry, Key, KeyKind, Mode, Occasion, Pace, Platform, Preparation, Probe, Problem,
    Quota, Refusal, Response, Settings, Take, Version,
    adjust::{Change, change},
    google::{self, Actions, Credentials, account},
    oauth,
    prepare::{Recipe, missing, prepare, taken},
    settings::days,
    wire::{self, Frame},
};
use crate::{
    consent::{Grant, Permit, Purpose, Purposes, ReasonCode},
    event::{Adjustment, Field, FieldSet},
    identity::Rule,
    job::{Prepared, Skip, SkipCode},
};

/// Released 2026-10-14. Versions live for about a year; the day on which this one ends is not
/// announced (DOC/sunset-dates).
const VERSION: &str = "v26";

/// The last days that are named (DOC/sunset-dates): older ones went before.
const ENDS: &[(&str, Date)] =
    &[("v22", date(2026, 10, 7)), ("v21", date(2026, 8, 5)), ("v20", date(2026, 6, 10))];

/// Conversions or adjustments a request (PROTO conversion_upload_service). The size is not
/// documented.
const BATCH: BatchLimits = BatchLimits { events: 2_000, bytes: 2_000_000 };

/// Identifiers a conversion or an enhancement (PROTO ClickConversion.user_identifiers,
/// ConversionAdjustment.user_identifiers).
const IDENTIFIERS: usize = 5;

/// The longest click-through window of a conversion action; the true limit is the action's own.
const OLDEST_DAYS: u64 = 90;

/// After so many days a conversion can no longer be adjusted (PROTO, CONVERSION_EXPIRED; older
/// pages say 55).
const ADJUSTABLE_DAYS: u64 = 54;

/// A conversion is enhanced within a day of it, or not at all (sheet B3;
/// DOC/enhanced-conversions/web).
const ENHANCEABLE: Duration = days(1);

const SCOPE: &str = "https://www.googleapis.com/auth/adwords";

/// DOC/upload-offline, DOC/enhanced-conversions/web; PROTO UserIdentifier, OfflineUserAddressInfo:
/// places in clear, names and the street hashed.
const TAKES: &[Take] = &[
    Take::hashed(Field::Email, Rule::EmailGoogle).at_most(IDENTIFIERS),
    Take::hashed(Field::Phone, Rule::PhoneE164).at_most(IDENTIFIERS),
    Take::hashed(Field::FirstName, Rule::NameGoogle).at_most(1),
    Take::hashed(Field::LastName, Rule::NameGoogle).at_most(1),
    Take::hashed(Field::Street, Rule::Lower).at_most(1),
    Take::clear(Field::City, Rule::PlaceGoogle),
    Take::clear(Field::Region, Rule::PlaceGoogle),
    Take::clear(Field::PostalCode, Rule::PlaceGoogle),
    Take::clear(Field::Country, Rule::CountryUpper),
    Take::clear(Field::UserAgent, Rule::Verbatim),
    Take::clear(Field::CustomerType, Rule::Lower),
    Take::clear(Field::Gclid, Rule::Verbatim),
    Take::clear(Field::Gbraid, Rule::Verbatim),
    Take::clear(Field::Wbraid, Rule::Verbatim),
    Take::clear(Field::OrderId, Rule::Verbatim),
];

const FIELDS: FieldSet =
    taken(TAKES, &[Field::Value, Field::Currency, Field::Discount, Field::Items]);

/// What only an enhancement takes: of a conversion's identity e-mail and phone are all (PROTO
/// ClickConversion).
const OF_ENHANCEMENTS: FieldSet =
    ADDRESS.union(FieldSet::of(&[Field::Street, Field::City, Field::Region, Field::UserAgent]));

/// What an enhancement does not take.
const OF_CONVERSIONS: FieldSet = FieldSet::of(&[
    Field::CustomerType,
    Field::Gbraid,
    Field::Wbraid,
    Field::Discount,
    Field::Items,
]);

/// An address is one only if it has all four (DOC/enhanced-conversions/web).
const ADDRESS: FieldSet =
    FieldSet::of(&[Field::FirstName, Field::LastName, Field::PostalCode, Field::Country]);

/// Its own click ids.
const CLICKS: FieldSet = FieldSet::of(&[Field::Gclid, Field::Gbraid, Field::Wbraid]);

/// What the Google Ads API is.
pub(super) static PLATFORM: Platform = Platform {
    name: "google_ads_upload",
    title: "Google Ads API (conversion upload)",
    also_called: &[
        "Google Ads Conversions",
        "Google Ads",
        "Google Adwords Offline Conversions",
        "Google Ads Offline Conversions",
        "Google Adwords Enhanced Conversions",
        "Google Enhanced Conversions",
    ],
    docs: "https://developers.google.com/google-ads/api/docs/conversions/overview",
    api: Some(ApiVersion { version: VERSION, ends: None }),
    endpoint: "https://googleads.googleapis.com",
    token_endpoint: "https://oauth2.googleapis.com",
    batch: BATCH,
    oldest: |_| days(OLDEST_DAYS),
    // 15,000 operations a day with basic access (DOC/access-levels); per second, a courteous one.
    quota: Quota::new(5, 10).a_day(15_000),
    // By orderId; without one by click, action and time, which we send the same again.
    dedup: Dedup::EventId,
    browser_dedup: BrowserDedup::TransactionId,
    takes: TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        // `adPersonalization` is refused here (PROTO consent).
        personalization_flag: false,
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
        Key::new("merchant_feed_label", KeyKind::Text, "the feed's country, such as US"),
        Key::new("merchant_feed_language", KeyKind::Text, "the feed's language, such as en"),
        oauth::CLIENT_ID,
        oauth::CLIENT_SECRET,
        oauth::REFRESH_TOKEN,
        Key::new("service_account", KeyKind::Secret, "a key file's JSON, instead of the three"),
        Key::new("developer_token", KeyKind::Secret, "not needed: ignored since 2026-09-09"),
        Key::new("api_version", KeyKind::Text, "another version of the API, such as v25"),
        Key::new("keep_email_suffix", KeyKind::Bool, "keep gmail's +suffix, as Google once asked"),
        google::KEEP_NAME_SPACES,
        Key::new("max_age_days", KeyKind::Number, "the oldest event, in days; default 90"),
        Key::new(
            "gclid_with_braid",
            KeyKind::Bool,
            "send a gbraid beside a gclid (taken since late 2025); default false: the gclid alone",
        ),
    ],
    entry_keys: &[
        Key::new("conversion_action", KeyKind::Text, "the conversion action's number"),
        Key::new(
            "enhancement",
            KeyKind::Bool,
            "the action is a website's, whose conversions Google's tag counts: add identity to \
             them (enhanced conversions for web) and count none; default false",
        ),
    ],
    has_test_mode: true,
    contract: include_str!("../../sandbox/contracts/google_ads_upload.json"),
    configure,
};

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let customer = settings.required_text("customer_id", &mut problems);
    let customer = account("customer_id", &customer, &mut problems);
    let login = settings
        .text("login_customer_id")
        .map(|id| account("login_customer_id", &id, &mut problems));
    let version = settings.text("api_version").unwrap_or_else(|| VERSION.to_owned());
    if number(&version).is_none() {
        problems.push(Problem::new("api_version", format!("must look like {VERSION}")));
    }
    let oldest = settings.days("max_age_days", days(OLDEST_DAYS), &mut problems);
    let keeps_name_spaces = google::keeps_name_spaces(settings, &mut problems);
    for key in ["keep_email_suffix", "gclid_with_braid"] {
        if settings.table.get(key).is_some_and(|value| !value.is_bool()) {
            problems.push(Problem::new(key, "must be true or false"));
        }
    }
    let auth = Credentials::read(settings, &mut problems);
    let actions = Actions::read(settings, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut takes = TAKES.to_vec();
    if settings.flag("keep_email_suffix", false) {
        for take in takes.iter_mut().filter(|take| take.field == Field::Email) {
            take.rule = Rule::EmailGoogleKeepSuffix;
        }
    }
    if keeps_name_spaces {
        google::keep_name_spaces(&mut takes);
    }
    let without = |others: FieldSet| {
        takes.iter().filter(|take| !others.contains(take.field)).copied().collect()
    };
    let base = settings.endpoint.trim_end_matches('/');
    Ok(Box::new(Upload {
        url: format!("{base}/{version}/customers/{customer}"),
        version,
        customer,
        login,
        merchant: settings.text("merchant_id").map(|id| Merchant {
            id,
            country: settings.text("merchant_feed_label"),
            language: settings.text("merchant_feed_language"),
        }),
        gclid_with_braid: settings.flag("gclid_with_braid", false),
        always_test: settings.mode == Mode::Test,
        takes: without(OF_ENHANCEMENTS),
        enhances: without(OF_CONVERSIONS),
        oldest,
        auth,
        actions,
        enhancements: enhancements(settings),
    }))
}

/// `v26` as 26.
fn number(version: &str) -> Option<u16> {
    version.strip_prefix('v')?.parse().ok()
}

/// The last day of a version. One that is not listed works no longer than the next newer one that is.
fn ends(version: &str) -> Option<Date> {
    let version = number(version)?;
    let not_older = ENDS.iter().filter(|(listed, _)| number(listed) >= Some(version));
    not_older.map(|(_, ends)| *ends).min()
}

/// The entries whose conversions are enhanced rather than uploaded.
fn enhancements(settings: &Settings) -> BTreeSet<(String, u16)> {
    let is_one = |entry: &Entry| match entry {
        Entry::Table(table) => {
            table.get("enhancement").and_then(toml::Value::as_bool).unwrap_or(false)
        }
        Entry::Standard | Entry::Name(_) => false,
    };
    let of_event = |(event, entries): (&String, &Vec<Entry>)| {
        let numbered = (0u16..).zip(entries).filter(|(_, entry)| is_one(entry));
        numbered.map(|(number, _)| (event.clone(), number)).collect::<Vec<_>>()
    };
    settings.entries.iter().flat_map(of_event).collect()
}

#[derive(Debug)]
struct Upload {
    /// Of the account, without what is done to it.
    url: String,
    version: String,
    customer: String,
    login: Option<String>,
    merchant: Option<Merchant>,
    gclid_with_braid: bool,
    always_test: bool,
    /// Of a conversion.
    takes: Vec<Take>,
    /// Of an enhancement.
    enhances: Vec<Take>,
    oldest: Duration,
    auth: Credentials,
    actions: Actions,
    /// Plan events and entries.
    enhancements: BTreeSet<(String, u16)>,
}

/// Where products of a cart are known.
#[derive(Debug)]
struct Merchant {
    id: String,
    country: Option<String>,
    language: Option<String>,
}

impl Destination for Upload {
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal> {
        if self.actions.get(occasion.plan_event, occasion.entry).is_none() {
            return Err(Refusal::Skip(Skip::new(SkipCode::NotMapped, "no entry for this event")));
        }
        // What was denied is not sent at all (DOC/consent).
        if permit.grants.ad_user_data == Grant::Denied {
            let message = "ad_user_data is denied, and Google takes no such event";
            return Err(Refusal::Held(ReasonCode::NoConsent, message.to_owned()));
        }
        let enhances = self.enhances(occasion.plan_event, occasion.entry);
        if enhances && occasion.event.adjusts.is_none() {
            return self.enhance(occasion, permit, now);
        }
        let fields = FIELDS.difference(OF_ENHANCEMENTS);
        let recipe = Recipe { takes: &self.takes, fields, oldest: self.oldest };
        let mut preparation = prepare(&recipe, occasion, permit, now)?;
        let prepared = &mut preparation.prepared;
        google::check_order(&prepared.transaction_id)?;
        if let Some(adjusts) = &occasion.event.adjusts {
            adjust(prepared, adjusts, occasion, now)?;
            return Ok(preparation);
        }
        let identifying = CLICKS.union(FieldSet::of(&[Field::Email, Field::Phone]));
        if prepared.present().intersection(identifying).is_empty() {
            let message = "no click id, e-mail or phone that Google could match by";
            return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
        }
        Ok(preparation)
    }

    /// Conversions and adjustments are uploaded by two calls.
    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call> {
        let test = self.always_test || jobs.iter().any(|job| job.test);
        let mapped: Vec<(usize, &Prepared, &str)> = jobs
            .iter()
            .enumerate()
            .filter_map(|(i, job)| Some((i, job, self.actions.get(&job.event, job.entry)?)))
            .collect();
        let kinds = mapped.iter().enumerate().map(|(i, (_, job, _))| (i, self.kind(job)));
        let mut calls = Vec::new();
        for (kind, positions) in wire::partition(kinds) {
            let part = positions.iter().filter_map(|position| mapped.get(*position));
            let events =
                part.map(|(index, job, action)| (*index, body::row(self, job, action, now).json()));
            for batch in wire::batches(events, BATCH, Frame::UpTo(body::LARGEST_FRAME)) {
                let body = body::request(kind, &batch.text, test);
                calls.push(self.call(CallPurpose::Send, kind, body, batch.members));
            }
        }
        calls
    }

    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        answer::classify(call, response, now)
    }

    fn chosen(&self) -> Option<FieldSet> {
        self.enhancements.is_empty().then(|| FIELDS.difference(OF_ENHANCEMENTS))
    }

    /// Sheet, section 0.
    fn hint(&self, code: &str) -> Option<&'static str> {
        (code == "CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE").then_some(
            "the account may not upload by this API, which since 2026-06-15 is only for those that \
             did before: send its conversions through the Data Manager API (platform = \
             \"google_ads\")",
        )
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

    fn version(&self) -> Option<Version> {
        Some(Version { name: self.version.clone(), since: None, ends: ends(&self.version) })
    }

    /// A conversion that is checked and never uploaded.
    fn probe(&self, now: Timestamp) -> Option<Call> {
        self.probes(now).into_iter().map(|probe| probe.call).next()
    }

    /// Not of actions that are enhanced: they are a website's, to which nothing is uploaded.
    fn probes(&self, now: Timestamp) -> Vec<Probe> {
        let kind = body::Kind::Conversion;
        let probe = |action: &str| {
            let body = body::request(kind, &body::probe(self, action, now).json(), true);
            let call = self.call(CallPurpose::Probe, kind, body, Vec::new());
            Probe { of: format!("conversion_action {action}"), call }
        };
        let uploaded = self.actions.distinct(|event, entry| !self.enhances(event, entry));
        uploaded.into_iter().map(probe).collect()
    }
}

impl Upload {
    fn enhances(&self, event: &str, entry: u16) -> bool {
        !self.enhancements.is_empty() && self.enhancements.contains(&(event.to_owned(), entry))
    }

    fn kind(&self, job: &Prepared) -> body::Kind {
        match job.adjusts.is_some() || self.enhances(&job.event, job.entry) {
            true => body::Kind::Adjustment,
            false => body::Kind::Conversion,
        }
    }

    /// Enhanced conversions for web: Google finds the conversion that its tag has counted by the
    /// transaction id, and learns whose it was (DOC/enhanced-conversions/web; sheet B3).
    fn enhance(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal> {
        let oldest = self.oldest.min(ENHANCEABLE);
        let fields = FIELDS.difference(OF_CONVERSIONS);
        let recipe = Recipe { takes: &self.enhances, fields, oldest };
        let mut preparation = prepare(&recipe, occasion, permit, now)?;
        let prepared = &mut preparation.prepared;
        google::check_order(&prepared.transaction_id)?;
        let id = &occasion.event.event_id;
        // No tag can have sent an id that was made here.
        if id.derived && prepared.transaction_id == id.id {
            return Err(missing("properties.order_id, by which the tag's conversion is found,"));
        }
        if !ADDRESS.difference(prepared.present()).is_empty() {
            let of_address = OF_ENHANCEMENTS.difference(FieldSet::of(&[Field::UserAgent]));
            prepared.texts.retain(|(field, _)| !of_address.contains(*field));
        }
        let identity = ADDRESS.union(FieldSet::of(&[Field::Email, Field::Phone]));
        if prepared.present().intersection(identity).is_empty() {
            let message = "no e-mail, phone or whole address to enhance the tag's conversion with";
            return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
        }
        Ok(preparation)
    }

    fn call(
        &self,
        purpose: CallPurpose,
        kind: body::Kind,
        body: Vec<u8>,
        members: Vec<usize>,
    ) -> Call {
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        if let Some(login) = &self.login {
            headers.push(("login-customer-id".to_owned(), login.clone()));
        }
        let url = format!("{}:{}", self.url, kind.method());
        Call { purpose, method: "POST", url, headers, body, members }
    }
}

/// The original is found by its order id alone, so that nothing of the person has to leave. With a
/// value it is a restatement, without one a retraction (DOC/upload-adjustments).
fn adjust(
    prepared: &mut Prepared,
    adjusts: &Adjustment,
    occasion: &Occasion<'_>,
    now: Timestamp,
) -> Result<(), Refusal> {
    if prepared.transaction_id.is_empty() {
        return Err(missing("adjusts.order_id (or adjusts.event_id)"));
    }
    prepared.value = match change(occasion, adjusts, "Google")? {
        Change::Restated(value) => Some(value),
        Change::Refunded | Change::Cancelled => None,
    };
    prepared.texts.clear();
    prepared.items.clear();
    prepared.amounts.clear();
    if let Some(at) = adjusts.at {
        let ends = at.saturating_add(SignedDuration::from_hours(24 * ADJUSTABLE_DAYS as i64));
        let ends = ends.unwrap_or(Timestamp::MAX);
        if ends <= now {
            let message = format!(
                "the original is older than the {ADJUSTABLE_DAYS} days for which Google takes \
                 adjustments"
            );
            return Err(Refusal::Skip(Skip::new(SkipCode::TooOld, message)));
        }
        prepared.expires_at = prepared.expires_at.min(ends);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
