//! Made-up platforms: two of ads, an analytics one and a webhook.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    consent::{Permit, Purpose, Purposes, ReasonCode},
    destinations::{
        Answer, Auth, BatchLimits, BrowserDedup, Call, Dedup, Destination, Entry, Key, KeyKind,
        Occasion, Platform, Preparation, Problem, Quota, Refusal, Response, Settings,
    },
    event::{ActionSource, Field, FieldSet},
    job::Prepared,
};

pub(super) static PLATFORMS: &[&Platform] = &[&ADS, &RULES, &STATS, &HOOK];

const fn key(name: &'static str, kind: KeyKind) -> Key {
    Key { name, kind, help: "" }
}

const ADS: Platform = Platform {
    name: "ads",
    title: "Example Ads",
    also_called: &[],
    docs: "https://ads.example.com/docs",
    api: None,
    endpoint: "https://api.ads.example.com",
    token_endpoint: "https://token.ads.example.com",
    batch: BatchLimits { events: 1_000, bytes: 1_000_000 },
    oldest: |_: ActionSource| Duration::from_secs(7 * 86_400),
    quota: Quota::new(50, 100).a_day(100_000),
    dedup: Dedup::EventId,
    browser_dedup: BrowserDedup::EventId,
    takes: &[],
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        personalization_flag: true,
        restricted_in: &["US"],
        can_restrict: |_, has_ip, _| has_ip,
        required: FieldSet::of(&[Field::UserAgent, Field::PageUrl]),
        default_fields: |_| FieldSet::of(&[Field::UserAgent, Field::PageUrl, Field::Fbp]),
        takes: FieldSet::EMPTY,
        with_ad_user_data: FieldSet::EMPTY,
    },
    tcf_vendor_id: None,
    ac_provider_id: None,
    keys: &[
        key("account_id", KeyKind::Text),
        key("access_token", KeyKind::Secret),
        key("level", KeyKind::Number),
        key("strict", KeyKind::Bool),
    ],
    entry_keys: &[key("action", KeyKind::Text)],
    has_test_mode: true,
    contract: "",
    configure,
};

const RULES: Platform =
    Platform { name: "rules", title: "Example Rules", browser_dedup: BrowserDedup::OwnRule, ..ADS };

const STATS: Platform = Platform {
    name: "stats",
    title: "Example Stats",
    also_called: &[],
    token_endpoint: "",
    dedup: Dedup::Partly,
    browser_dedup: BrowserDedup::TransactionId,
    purposes: Purposes {
        needs: Some(&[Purpose::AnalyticsStorage]),
        personalization_flag: false,
        restricted_in: &[],
        required: FieldSet::EMPTY,
        default_fields: |_| FieldSet::EMPTY,
        ..ADS.purposes
    },
    keys: &[key("stream", KeyKind::Text)],
    entry_keys: &[key("name", KeyKind::Text)],
    has_test_mode: false,
    contract: "",
    ..ADS
};

const HOOK: Platform = Platform {
    name: "hook",
    title: "Example Hook",
    also_called: &[],
    endpoint: "",
    token_endpoint: "",
    browser_dedup: BrowserDedup::None,
    purposes: Purposes { needs: None, ..STATS.purposes },
    keys: &[key("url", KeyKind::Text), key("secret", KeyKind::Secret), key("fields", KeyKind::Any)],
    ..STATS
};

/// Wants an `account_id`, a `stream` or a `url`, and an `action` of digits where there is one.
fn configure(settings: &Settings) -> Result<Box<dyn Destination>, Vec<Problem>> {
    let mut problems = Vec::new();
    let problem = |path: String, message: &str| Problem { path, message: message.to_owned() };
    if !["account_id", "stream", "url"].iter().any(|key| settings.text(key).is_some()) {
        problems.push(problem("account_id".to_owned(), "is missing"));
    }
    if settings.text("account_id").is_some_and(|id| id.contains('-')) {
        problems.push(problem("account_id".to_owned(), "expected digits"));
    }
    for (event, entries) in &settings.entries {
        for entry in entries {
            let Entry::Table(table) = entry else { continue };
            let action = table.get("action").and_then(toml::Value::as_str).unwrap_or("1");
            if !action.chars().all(|c| c.is_ascii_digit()) {
                problems.push(problem(format!("events.{event}.action"), "expected digits"));
            }
        }
    }
    if problems.is_empty() {
        Ok(Box::new(Fake { settings: format!("{settings:?}") }))
    } else {
        Err(problems)
    }
}

/// Remembers what it was configured with, for assertions on its `Debug`.
#[derive(Debug)]
struct Fake {
    #[allow(dead_code, reason = "shown by Debug")]
    settings: String,
}

impl Destination for Fake {
    fn prepare(&self, _: &Occasion<'_>, _: &Permit, _: Timestamp) -> Result<Preparation, Refusal> {
        Err(Refusal::Held(ReasonCode::NoRule, String::new()))
    }

    fn assemble(&self, _: &[Prepared], _: Timestamp) -> Vec<Call> {
        Vec::new()
    }

    fn classify(&self, _: &Call, _: &Response, _: Timestamp) -> Answer {
        Answer { outcomes: Vec::new(), fault: None, follow_up: None, notes: Vec::new() }
    }

    fn auth(&self) -> Auth {
        Auth::None
    }

    fn is_deduplicated(&self, job: &Prepared) -> bool {
        job.event == "purchase"
    }
}
