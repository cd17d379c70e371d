//! Criteo OneTag, server to server: one event a call, within minutes of its happening, always
//! answered with 200 and a list of errors.
//!
//! The general host answers with a redirect to a region's, which is never followed: `endpoint` names
//! the region's host. Of the three digests of an e-mail two are sent, the SHA-256 and that of the MD5:
//! the MD5 itself is no protection, and nothing but an SHA-256 of identity leaves.
//!
//! Pages are those of the sheet, checked 2026-11-22; `DOC` stands for
//! <https://guides.criteotilt.com/onetag/s2s/>.

mod answer;
mod body;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Answer, ApiVersion, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup,
    Destination, Key, KeyKind, Mode, Occasion, Platform, Preparation, Problem, Quota, Refusal,
    Response, Settings, Take,
    prepare::{Recipe, missing, prepare, taken, unsupported},
    settings::Names,
};
use crate::{
    consent::{Permit, Purpose, Purposes},
    event::{ActionSource, Field, FieldSet},
    identity::{Dropped, Rule, recognise_hash},
    job::{Prepared, Skip, SkipCode},
};

/// As in the URL (DOC).
const VERSION: &str = "s2s_v0";

/// What describes the visitor stands once a request, so that it holds one event.
const BATCH: BatchLimits = BatchLimits { events: 1, bytes: 1_000_000 };

/// In minutes. Criteo wants events in near real time; a quarter of an hour is what integrators keep
/// to.
const MAX_AGE_MINUTES: usize = 15;

/// DOC; some integrations write `user_agent`.
const USER_AGENT_KEY: &str = "useragent";

const TRANSACTION: &str = "trackTransaction";

/// DOC. There are no names of one's own.
const NAMES: &[&str] = &[
    "viewHome",
    "viewPage",
    "login",
    "viewList",
    "viewItem",
    "viewSearch",
    "addToCart",
    "viewBasket",
    "beginCheckout",
    "addPaymentInfo",
    TRANSACTION,
];

const FROM_APP: &[ActionSource] = &[ActionSource::App];

/// DOC: trimmed and in lower case before it is hashed; one of each.
const TAKES: &[Take] = &[
    Take::hashed(Field::Email, Rule::EmailPlain).at_most(1).sent_as("sha256"),
    // Only where the address came in clear, or is remembered: of its hash no MD5 can be made.
    Take::hashed(Field::Email, Rule::EmailMd5).at_most(1).sent_as("sha256_md5"),
    Take::clear(Field::AnonymousId, Rule::ExternalId),
    Take::clear(Field::CrtoId, Rule::Verbatim),
    Take::clear(Field::AdvertisingId, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::AppOs, Rule::Lower).only_from(FROM_APP),
    Take::clear(Field::Ip, Rule::Verbatim),
    Take::clear(Field::UserAgent, Rule::Verbatim),
    Take::clear(Field::PageUrl, Rule::HttpUrl),
    Take::clear(Field::Referrer, Rule::HttpUrl),
    Take::clear(Field::DeviceType, Rule::Lower),
    Take::clear(Field::Country, Rule::CountryUpper),
    Take::clear(Field::Locale, Rule::Lower),
    Take::clear(Field::OrderId, Rule::Verbatim),
    Take::clear(Field::SearchTerm, Rule::Verbatim),
];

const FIELDS: FieldSet =
    taken(TAKES, &[Field::Value, Field::Currency, Field::Items, Field::OtherProperties]);

/// Without one of these Criteo answers `UserIdentifierMissing`.
const IDENTIFYING: FieldSet =
    FieldSet::of(&[Field::Email, Field::AnonymousId, Field::CrtoId, Field::AdvertisingId]);

/// What Criteo is.
pub(super) static PLATFORM: Platform = Platform {
    name: "criteo",
    title: "Criteo OneTag S2S",
    also_called: &["Criteo"],
    docs: "https://guides.criteotilt.com/onetag/s2s/",
    api: Some(ApiVersion { version: VERSION, ends: None }),
    endpoint: "https://widget.criteo.com",
    token_endpoint: "",
    batch: BATCH,
    oldest: |_| minutes(MAX_AGE_MINUTES),
    // Not documented: a modest one.
    quota: Quota::new(50, 100),
    // Transactions, by their id.
    dedup: Dedup::Partly,
    browser_dedup: BrowserDedup::TransactionId,
    takes: TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        personalization_flag: false,
        restricted_in: &[],
        can_restrict: |_, _, _| false,
        // Its own id; items, without which there is no transaction.
        required: FieldSet::of(&[Field::Items]),
        default_fields: |_| FieldSet::of(&[Field::CrtoId, Field::Items]),
        takes: FIELDS,
        with_ad_user_data: FieldSet::EMPTY,
    },
    tcf_vendor_id: Some(91),
    ac_provider_id: None,
    keys: &[
        Key::new(
            "account_id",
            KeyKind::Recipient,
            "the partner id; sent as it is written, a number or a text",
        ),
        Key::new(
            "mapping_key",
            KeyKind::Recipient,
            "the caller id that Criteo gave for its user ids",
        ),
        Key::new("max_age_minutes", KeyKind::Number, "the oldest event, in minutes; default 15"),
        Key::new("user_agent_key", KeyKind::Text, "the key of the user agent; default useragent"),
    ],
    entry_keys: &[Key::new("name", KeyKind::Text, "the event name at Criteo")],
    has_test_mode: false,
    contract: include_str!("../../sandbox/contracts/criteo.json"),
    configure,
};

const fn minutes(minutes: usize) -> Duration {
    Duration::from_secs(minutes as u64 * 60)
}

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    settings.required_text("account_id", &mut problems);
    let account = match settings.table.get("account_id") {
        Some(toml::Value::Integer(number)) => json!(number),
        Some(toml::Value::String(text)) => json!(text),
        _ => Value::Null,
    };
    let max_age = settings.whole("max_age_minutes", MAX_AGE_MINUTES, 1..=1_440, &mut problems);
    let names = settings.entry_names(standard, refuse, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let base = settings.endpoint.trim_end_matches('/');
    let text = |key: &str| settings.text(key).filter(|text| !text.is_empty());
    Ok(Box::new(Criteo {
        url: format!("{base}/m/event?version={VERSION}"),
        wording: body::Wording {
            account,
            mapping_key: text("mapping_key"),
            user_agent_key: text("user_agent_key").unwrap_or_else(|| USER_AGENT_KEY.to_owned()),
        },
        max_age: minutes(max_age),
        is_general: settings.mode == Mode::Live && base == PLATFORM.endpoint,
        names,
    }))
}

/// The name of an event: the same words, or those of the usual analytics vocabulary.
fn standard(event: &str) -> Option<String> {
    let known = match event {
        "page_view" => "viewPage",
        "view_item" | "product_viewed" => "viewItem",
        "view_item_list" | "product_list_viewed" => "viewList",
        "search" | "view_search_results" => "viewSearch",
        "product_added" => "addToCart",
        "view_cart" | "cart_viewed" => "viewBasket",
        "checkout_started" => "beginCheckout",
        "purchase" | "order_completed" => TRANSACTION,
        _ => {
            let bare = event.replace('_', "");
            NAMES.iter().find(|name| name.eq_ignore_ascii_case(&bare))?
        }
    };
    Some(known.to_owned())
}

fn refuse(name: &str) -> Option<String> {
    if name.is_empty() || NAMES.contains(&name) {
        return None;
    }
    Some(format!("must be one of {}; Criteo takes no other names", NAMES.join(", ")))
}

#[derive(Debug)]
struct Criteo {
    url: String,
    wording: body::Wording,
    max_age: Duration,
    /// It calls the host that takes nothing.
    is_general: bool,
    names: Names,
}

impl Destination for Criteo {
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal> {
        let Some(name) = self.names.get(occasion.plan_event, occasion.entry) else {
            return Err(Refusal::Skip(Skip::new(SkipCode::NotMapped, "no entry for this event")));
        };
        if occasion.event.adjusts.is_some() {
            return Err(unsupported("Criteo takes no adjustment of a transaction"));
        }
        let recipe = Recipe { takes: TAKES, fields: FIELDS, oldest: self.max_age };
        let mut preparation = prepare(&recipe, occasion, permit, now)?;
        settle_email(&mut preparation, occasion);
        let prepared = &mut preparation.prepared;
        if prepared.clear(Field::AppOs).and_then(body::advertising_key).is_none() {
            prepared.texts.retain(|(field, _)| *field != Field::AdvertisingId);
        }
        if prepared.present().intersection(IDENTIFYING).is_empty() {
            let message = "nothing that Criteo could match by: no e-mail, no crto_id, no id of the \
                           visitor, no advertising id of a known system";
            return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
        }
        let has_product = prepared.items.iter().any(|item| item.id.is_some());
        if name == TRANSACTION && !has_product {
            return Err(missing("properties.items (with ids), the only value of a transaction,"));
        }
        Ok(preparation)
    }

    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call> {
        let named = jobs
            .iter()
            .enumerate()
            .filter_map(|(index, job)| Some((index, job, self.names.get(&job.event, job.entry)?)));
        named
            .map(|(index, job, name)| {
                let body = body::request(job, name, &self.wording, now).json();
                Call {
                    purpose: CallPurpose::Send,
                    method: "POST",
                    url: self.url.clone(),
                    headers: vec![("content-type".to_owned(), "application/json".to_owned())],
                    body: body.into_bytes(),
                    members: vec![index],
                }
            })
            .collect()
    }

    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        answer::classify(call, response, now)
    }

    fn auth(&self) -> Auth {
        Auth::None
    }

    /// Every event would meet the redirect (sheet, B), and be too old before anybody looks.
    fn cautions(&self) -> Vec<Problem> {
        let message = "Criteo's general host only redirects to a region's, which is not followed, so \
                       that nothing is delivered: write the region's host, such as \
                       \"https://widget.eu.criteo.com\" (widget.us, widget.as)";
        self.is_general.then(|| Problem::new("endpoint", message)).into_iter().collect()
    }

    fn is_deduplicated(&self, job: &Prepared) -> bool {
        self.names.get(&job.event, job.entry) == Some(TRANSACTION)
    }
}

/// The two digests are of one address: where several came and the first as a hash, the second would
/// be another's. That there is none for a hash is no loss worth telling.
fn settle_email(preparation: &mut Preparation, occasion: &Occasion<'_>) {
    let mut came = occasion.event.texts.all(Field::Email);
    let is_hash = came.next().is_some_and(|text| recognise_hash(text).is_some());
    let texts = &mut preparation.prepared.texts;
    if is_hash && came.next().is_some() {
        let mut seen = 0;
        texts.retain(|(field, _)| {
            seen += usize::from(*field == Field::Email);
            *field != Field::Email || seen == 1
        });
    }
    if texts.iter().any(|(field, _)| *field == Field::Email) {
        preparation.dropped.retain(|dropped| *dropped != (Field::Email, Dropped::Hashed));
    }
    let mut told = Vec::new();
    preparation.dropped.retain(|dropped| {
        let is_new = !told.contains(dropped);
        told.push(*dropped);
        is_new
    });
}

#[cfg(test)]
mod tests;
