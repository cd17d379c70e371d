//! LinkedIn Conversions API: up to 5,000 events a request, all taken or all refused, the culprits
//! named in prose.
//!
//! What an event is called belongs to LinkedIn's conversion rules, so that an entry names a rule.
//! Names, job titles and companies are taken in clear only and are not sent at all.
//!
//! Pages are those of the sheet, checked 2026-11-22; `DOC` stands for
//! <https://learn.microsoft.com/linkedin/marketing/integrations/ads-reporting>.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use jiff::{
    Timestamp,
    civil::{Date, date},
};
use secrecy::SecretString;
use serde_json::Value;

use super::{
    Answer, ApiVersion, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup,
    Destination, Entry, FaultKind, Form, Key, KeyKind, Occasion, Outcome, Platform, Preparation,
    Problem, Quota, Refusal, Response, Settings, Take, Version,
    answer::{by_status, garbled, innocent, json},
    prepare::{Recipe, prepare, taken, unsupported},
    wire::{self, Frame, Object},
};
use crate::{
    consent::{IpForm, Permit, Purpose, Purposes},
    event::{ActionSource, Field, FieldSet},
    identity::{Digest, Rule},
    job::{Prepared, Skip, SkipCode},
};

/// The newest version whose end is named; a version lives for about a year (DOC/conversions-api).
const VERSION: &str = "202608";

/// Its last day.
const ENDS: Date = date(2027, 8, 17);

/// 202511 ended on 2026-11-16, and all before it earlier.
const OLDEST_VERSION: &str = "202512";

/// DOC/conversions-api; how large a body may be is not said.
const BATCH: BatchLimits = BatchLimits { events: 5_000, bytes: 4_000_000 };

/// DOC/conversions-api-schema, `conversionHappenedAt`.
const OLDEST: Duration = Duration::from_secs(90 * 24 * 60 * 60);

const RULE: &str = "urn:lla:llaPartnerConversion:";
const LEAD: &str = "urn:li:leadGenFormResponse:";

const FROM_APP: &[ActionSource] = &[ActionSource::App];

/// DOC/conversions-api-schema, `idType`: one id of each type. There is no phone.
const TAKES: &[Take] = &[
    Take::hashed(Field::Email, Rule::EmailPlain).at_most(1),
    Take::clear(Field::LiFatId, Rule::Verbatim),
    Take::clear(Field::Ip, Rule::Verbatim),
    Take::clear(Field::AdvertisingId, Rule::Verbatim).only_from(FROM_APP),
    Take::clear(Field::AppOs, Rule::Lower).only_from(FROM_APP),
    Take::clear(Field::LeadLinkedin, Rule::Verbatim),
    Take::clear(Field::ExternalId, Rule::ExternalId),
];

const FIELDS: FieldSet = taken(TAKES, &[Field::Value, Field::Currency]);

/// One of these must be there (DOC/conversions-api-schema, `user`).
const IDENTIFYING: FieldSet = FieldSet::of(&[
    Field::Email,
    Field::LiFatId,
    Field::Ip,
    Field::AdvertisingId,
    Field::LeadLinkedin,
    Field::ExternalId,
]);

/// What LinkedIn is.
pub(super) static PLATFORM: Platform = Platform {
    name: "linkedin",
    title: "LinkedIn Conversions API",
    also_called: &["LinkedIn Conversions API", "LinkedIn Insight Tag", "LinkedIn Ads"],
    docs: "https://learn.microsoft.com/linkedin/marketing/integrations/ads-reporting/conversions-api",
    api: Some(ApiVersion { version: VERSION, ends: Some(ENDS) }),
    endpoint: "https://api.linkedin.com",
    token_endpoint: "",
    batch: BATCH,
    oldest: |_| OLDEST,
    // 600 requests in any minute; a day 300,000 on older pages, 500,000 on newer ones.
    quota: Quota { requests_per_second: 9, burst: 60, requests_per_day: Some(300_000) },
    dedup: Dedup::EventId,
    // By the same event id, but tag and API have a rule each, both linked to the campaign; the
    // tag's copy is the one that stays (DOC/../conversions/deduplication).
    // DOC/deduplication: pixel and API are separate rules, and the pixel's event is kept.
    browser_dedup: BrowserDedup::OwnRule,
    takes: TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        // There is no flag of any kind: what has no consent is not sent.
        personalization_flag: false,
        restricted_in: &[],
        can_restrict: |_, _, _| false,
        required: FieldSet::EMPTY,
        default_fields: |_| FieldSet::of(&[Field::LiFatId]),
        takes: FIELDS,
        with_ad_user_data: FieldSet::EMPTY,
    },
    // LinkedIn Ireland.
    tcf_vendor_id: Some(804),
    ac_provider_id: None,
    keys: &[
        Key::new(
            "access_token",
            KeyKind::Secret,
            "an OAuth token with the scope rw_conversions, such as Campaign Manager generates",
        ),
        Key::new("api_version", KeyKind::Text, "another monthly version, such as 202609"),
        Key::new(
            "account_id",
            KeyKind::Recipient,
            "the ad account's number, with which probes list its rules (scope r_ads)",
        ),
        Key::new(
            "google_aid",
            KeyKind::Text,
            "how Android's advertising id is sent: \"plain\" (default) or \"hashed\"",
        ),
    ],
    entry_keys: &[Key::new(
        "conversion_rule",
        KeyKind::Recipient,
        "the conversion rule's number; a rule for the API alone, not the Insight Tag's",
    )],
    has_test_mode: false,
    contract: include_str!("../sandbox/contracts/linkedin.json"),
    configure,
};

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let version = settings.text("api_version").unwrap_or_else(|| VERSION.to_owned());
    if let Some(objection) = refuse_version(&version) {
        problems.push(Problem::new("api_version", objection));
    }
    let account = settings.text("account_id").filter(|id| !id.is_empty());
    if account.as_ref().is_some_and(|id| !is_number(id)) {
        problems.push(Problem::new("account_id", "must be the ad account's number"));
    }
    let google_aid = match settings.text("google_aid").as_deref() {
        None | Some("plain") => Form::Clear,
        Some("hashed") => Form::Hashed,
        Some(_) => {
            problems.push(Problem::new("google_aid", "must be \"plain\" or \"hashed\""));
            Form::Clear
        }
    };
    let token = settings.required_secret("access_token", &mut problems);
    let rules = rules(settings, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut takes = TAKES.to_vec();
    for take in takes.iter_mut().filter(|take| take.field == Field::AdvertisingId) {
        take.form = google_aid;
    }
    let base = settings.endpoint.trim_end_matches('/').to_owned();
    Ok(Box::new(Linkedin { base, version, account, token, takes, rules }))
}

fn refuse_version(version: &str) -> Option<String> {
    let is_month = version.len() == 6
        && is_number(version)
        && version.get(4..).is_some_and(|month| ("01"..="12").contains(&month));
    if !is_month {
        return Some(format!("must be a year and month, such as {VERSION}"));
    }
    (version < OLDEST_VERSION).then(|| format!("has ended; write a newer one, such as {VERSION}"))
}

/// The last day of a version for which none is named: those known ended around the middle of the
/// same month a year later, the earliest on the 15th (sheet, section 1).
fn last_day(version: &str) -> Option<Date> {
    let year: i16 = version.get(..4)?.parse().ok()?;
    let month: i8 = version.get(4..)?.parse().ok()?;
    Date::new(year.checked_add(1)?, month, 15).ok()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The URNs of the entries' rules.
fn rules(settings: &Settings, problems: &mut Vec<Problem>) -> BTreeMap<String, Vec<String>> {
    let mut rules = BTreeMap::new();
    for (event, entries) in &settings.entries {
        let mut list = Vec::with_capacity(entries.len());
        for entry in entries {
            let id = match entry {
                Entry::Table(table) => match table.get("conversion_rule") {
                    Some(toml::Value::String(id)) => id.strip_prefix(RULE).unwrap_or(id).to_owned(),
                    Some(toml::Value::Integer(id)) => id.to_string(),
                    _ => String::new(),
                },
                Entry::Standard | Entry::Name(_) => String::new(),
            };
            if !is_number(&id) {
                let message = "must name a conversion rule by its number: \
                               { conversion_rule = \"104012\" }";
                problems.push(Problem::new(format!("events.{event}"), message));
            }
            list.push(format!("{RULE}{id}"));
        }
        rules.insert(event.clone(), list);
    }
    rules
}

#[derive(Debug)]
struct Linkedin {
    base: String,
    version: String,
    account: Option<String>,
    token: SecretString,
    takes: Vec<Take>,
    rules: BTreeMap<String, Vec<String>>,
}

impl Destination for Linkedin {
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal> {
        if self.rule(occasion.plan_event, occasion.entry).is_none() {
            return Err(Refusal::Skip(Skip::new(SkipCode::NotMapped, "no entry for this event")));
        }
        if occasion.event.adjusts.is_some() {
            return Err(unsupported("LinkedIn takes no adjustment of a conversion"));
        }
        let recipe = Recipe { takes: &self.takes, fields: FIELDS, oldest: OLDEST };
        let mut preparation = prepare(&recipe, occasion, permit, now)?;
        let prepared = &mut preparation.prepared;
        // GOOGLE_AID is Android's; Apple's id has no type. IP addresses are of version 4 only.
        let is_android = prepared.clear(Field::AppOs) == Some("android");
        // A truncated one is of 256 households, and here it would name a person.
        let is_v4 = permit.ip == IpForm::Full
            && prepared.clear(Field::Ip).is_some_and(|ip| ip.parse::<Ipv4Addr>().is_ok());
        prepared.texts.retain(|(field, _)| match field {
            Field::AdvertisingId => is_android,
            Field::Ip => is_v4,
            Field::AppOs => false,
            _ => true,
        });
        if prepared.present().intersection(IDENTIFYING).is_empty() {
            let message = "no e-mail, li_fat_id, lead or own id that LinkedIn could match by (it \
                           takes no phone, and names only in clear)";
            return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
        }
        Ok(preparation)
    }

    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call> {
        let events = jobs.iter().enumerate().filter_map(|(index, job)| {
            let rule = self.rule(&job.event, job.entry)?;
            Some((index, event(job, rule, now).json()))
        });
        let mut headers = self.headers();
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        // Without it a list of elements is refused.
        headers.push(("x-restli-method".to_owned(), "BATCH_CREATE".to_owned()));
        wire::batches(events, BATCH, Frame::Known("{\"elements\":[", "]}"))
            .into_iter()
            .map(|batch| Call {
                purpose: CallPurpose::Send,
                method: "POST",
                url: format!("{}/rest/conversionEvents", self.base),
                headers: headers.clone(),
                body: batch.text.into_bytes(),
                members: batch.members,
            })
            .collect()
    }

    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        let body = json(response);
        let number = |key: &str| body.as_ref()?.get(key)?.as_i64();
        let message = match body.as_ref().and_then(|body| body.get("message")?.as_str()) {
            Some(message) => message.to_owned(),
            None => String::from_utf8_lossy(&response.body).into_owned(),
        };
        // Such as 65600, expired, and 65601, revoked.
        let reason = match number("serviceErrorCode") {
            Some(code) => code.to_string(),
            None => format!("http_{}", response.status),
        };
        match response.status {
            200..=299 if call.purpose == CallPurpose::Send => {
                of_success(call, response, body.as_ref(), now)
            }
            400 | 422 => Answer::naming(call, named(&message, &reason), &innocent())
                .unwrap_or_else(|| Answer::refused(call, &reason, &message)),
            401 => Answer::fault(call, FaultKind::Unauthorized, &reason, &message),
            // The token lacks the scope, or its owner the role in the ad account.
            403 => Answer::fault(call, FaultKind::Misconfigured, &reason, &message),
            426 => {
                let message = format!("api_version {} has ended: {message}", self.version);
                Answer::fault(call, FaultKind::Misconfigured, &reason, &message)
            }
            _ => by_status(call, response, now),
        }
    }

    fn auth(&self) -> Auth {
        Auth::Bearer(self.token.clone())
    }

    fn is_deduplicated(&self, _: &Prepared) -> bool {
        true
    }

    fn version(&self) -> Option<Version> {
        let ends = if self.version == VERSION { Some(ENDS) } else { last_day(&self.version) };
        Some(Version { name: self.version.clone(), ends })
    }

    /// Lists the account's rules; there is no test mode (sheet, section 9).
    fn probe(&self, _: Timestamp) -> Option<Call> {
        let account = self.account.as_ref()?;
        Some(Call {
            purpose: CallPurpose::Probe,
            method: "GET",
            url: format!(
                "{}/rest/conversions?q=account&account=urn%3Ali%3AsponsoredAccount%3A{account}",
                self.base
            ),
            headers: self.headers(),
            body: Vec::new(),
            members: Vec::new(),
        })
    }
}

impl Linkedin {
    fn rule(&self, event: &str, entry: u16) -> Option<&str> {
        self.rules.get(event)?.get(usize::from(entry)).map(String::as_str)
    }

    fn headers(&self) -> Vec<(String, String)> {
        vec![
            ("linkedin-version".to_owned(), self.version.clone()),
            ("x-restli-protocol-version".to_owned(), "2.0.0".to_owned()),
        ]
    }
}

/// DOC/conversions-api-schema.
fn event(job: &Prepared, rule: &str, now: Timestamp) -> Object {
    // A decimal in a string, with all of the currency's minor units.
    let value = job.value.map_or_else(Object::default, |value| {
        Object::default()
            .with("currencyCode", value.currency.code())
            .with("amount", value.amount_text())
    });
    Object::default()
        .with("conversion", rule)
        // Milliseconds, and not in the future.
        .with("conversionHappenedAt", job.time.min(now).as_millisecond())
        .object("conversionValue", value)
        .with("eventId", job.event_id.as_str())
        .object("user", user(job))
}

fn user(job: &Prepared) -> Object {
    let clear = |field| job.clear(field).map(str::to_owned);
    let hash = |field| job.hashed(field).next().map(Digest::hex);
    let ids = [
        ("SHA256_EMAIL", hash(Field::Email)),
        ("LINKEDIN_FIRST_PARTY_ADS_TRACKING_UUID", clear(Field::LiFatId)),
        ("PLAINTEXT_IP_ADDRESS", clear(Field::Ip)),
        ("GOOGLE_AID", clear(Field::AdvertisingId).or_else(|| hash(Field::AdvertisingId))),
    ];
    let ids = ids.into_iter().filter_map(|(kind, value)| {
        Some(Object::default().with("idType", kind).with("idValue", value?))
    });
    Object::default()
        // Must be there, empty where other identity takes its place.
        .with("userIds", ids.collect::<Vec<_>>())
        .maybe("lead", job.clear(Field::LeadLinkedin).map(lead))
        .list("externalIds", clear(Field::ExternalId))
}

/// A lead's URN, from itself or from its id.
fn lead(text: &str) -> String {
    format!("{LEAD}{}", text.strip_prefix(LEAD).unwrap_or(text))
}

/// `{"elements":[{"status":201},…]}` in the order of the call; of a single create nothing at all.
fn of_success(call: &Call, response: &Response, body: Option<&Value>, now: Timestamp) -> Answer {
    if response.body.iter().all(u8::is_ascii_whitespace) {
        return Answer::all(call, &Outcome::Delivered);
    }
    let elements = body.and_then(|body| body.get("elements")?.as_array());
    let Some(elements) = elements.filter(|elements| elements.len() == call.members.len()) else {
        return garbled(call, response, now);
    };
    let refused = elements.iter().enumerate().filter_map(|(index, element)| {
        let status = element.get("status").and_then(Value::as_i64).filter(|s| *s >= 400)?;
        let message = element.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
        Some((index, format!("http_{status}"), message.to_owned()))
    });
    Answer::naming(call, refused, &Outcome::Delivered)
        .unwrap_or_else(|| Answer::all(call, &Outcome::Delivered))
}

/// The events that a refusal names, in either of its forms: `Index: 0, ERROR :: /path :: words`, a
/// line each (the last without its end), and `words, indices [0, 2] (0-indexed)`.
fn named(message: &str, reason: &str) -> Vec<(usize, String, String)> {
    let of_line = |part: &str| {
        let (index, rest) = part.split_once(", ERROR :: ")?;
        let line = rest.lines().next().unwrap_or_default();
        let path = line.split(" :: ").next().filter(|path| path.starts_with('/'));
        let reason = format!("{reason}{}", path.unwrap_or_default());
        Some((index.trim().parse().ok()?, reason, line.to_owned()))
    };
    let lines = message.split("Index: ").skip(1).filter_map(of_line);
    let lists = message.split("indices [").skip(1).filter_map(|part| part.split_once(']'));
    let indices = lists.flat_map(|(list, _)| list.split(',')).filter_map(|index| {
        Some((index.trim().parse().ok()?, reason.to_owned(), message.to_owned()))
    });
    lines.chain(indices).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destinations::{Mode, answer::table::classified};

    fn settings(table: &str, entry: Entry) -> Settings {
        let token = SecretString::from("linkedin-token".to_owned());
        Settings {
            name: "linkedin".to_owned(),
            table: table.parse().unwrap(),
            secrets: BTreeMap::from([("access_token".to_owned(), token)]),
            endpoint: PLATFORM.endpoint.to_owned(),
            token_endpoint: String::new(),
            mode: Mode::Live,
            entries: BTreeMap::from([("purchase".to_owned(), vec![entry])]),
        }
    }

    fn rule(text: &str) -> Entry {
        Entry::Table(format!("conversion_rule = {text}").parse().unwrap())
    }

    fn destination(table: &str) -> Box<dyn Destination> {
        configure(&settings(table, rule("104012"))).unwrap()
    }

    #[test]
    fn every_answer_means_what_its_page_says() {
        let destination = destination("");
        let ok = r#"{"elements":[{"status":201},{"status":201},{"status":201}]}"#;
        let one = r#"{"elements":[{"status":201},{"status":400,"error":{"message":"no"}},{"status":201}]}"#;
        let method = r#"{"status":400,"message":"Incorrect conversions information provided. Conversion's method should be CONVERSIONS_API, indices [0, 2] (0-indexed)"}"#;
        let fields = "{\"status\":422,\"message\":\"Index: 0, ERROR :: /conversionValue/amount :: field is required\\nIndex: 0, ERROR :: /user :: twice\\nIndex: 2, ERROR :: /eventId :: too long\"}";
        let none = r#"{"status":422,"message":"something is wrong"}"#;
        let beyond = r#"{"status":422,"message":"Index: 7, ERROR :: /user :: odd\n"}"#;
        let expired = r#"{"status":401,"serviceErrorCode":65600,"message":"Invalid access token"}"#;
        let revoked = r#"{"status":401,"serviceErrorCode":65601,"message":"revoked"}"#;
        for (status, body, told) in [
            (201, "", "ddd"),
            (200, ok, "ddd"),
            (200, one, "drd http_400"),
            (200, r#"{"elements":[{"status":201}]}"#, "uuu"),
            (200, "<html>", "uuu"),
            (400, method, "rsr http_400"),
            (400, r#"{"message":"indices [x]"}"#, "ccc http_400"),
            (422, fields, "rsr http_422/conversionValue/amount"),
            (422, none, "ccc http_422"),
            (422, beyond, "ccc http_422"),
            (401, expired, "ppp Unauthorized 65600"),
            (401, revoked, "ppp Unauthorized 65601"),
            (401, "", "ppp Unauthorized http_401"),
            (403, r#"{"message":"no role"}"#, "ppp Misconfigured http_403"),
            (426, r#"{"message":"NONEXISTENT_VERSION"}"#, "ppp Misconfigured http_426"),
            (413, "", "lll"),
            (429, "", "ttt"),
            (503, "", "uuu"),
        ] {
            assert_eq!(classified(&*destination, 3, status, body), told, "{status} {body}");
        }
        assert_eq!(classified(&*destination, 1, 422, none), "r http_422");
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let problems = |table: &str, entry: Entry| -> Vec<String> {
            let problems = configure(&settings(table, entry)).err().unwrap_or_default();
            problems.into_iter().map(|problem| problem.path).collect()
        };
        let table = "api_version = \"202511\"\naccount_id = \"a\"\ngoogle_aid = \"sha1\"";
        let all = ["api_version", "account_id", "google_aid", "events.purchase"];
        assert_eq!(problems(table, Entry::Name("PURCHASE".to_owned())), all);
        for version in ["2026", "202613", "202600", "2026-8"] {
            assert!(refuse_version(version).is_some(), "{version}");
        }
        assert_eq!(refuse_version("202609"), None);
        assert_eq!(problems("", Entry::Standard), ["events.purchase"]);
        assert!(
            problems("api_version = 202609", rule("\"urn:lla:llaPartnerConversion:1\"")).is_empty()
        );
    }

    #[test]
    fn a_probe_reads_the_accounts_rules() {
        assert_eq!(destination("").probe(Timestamp::UNIX_EPOCH), None);
        let destination = destination("account_id = 507");
        let call = destination.probe(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((call.method, call.body.len()), ("GET", 0));
        assert!(call.url.ends_with("account=urn%3Ali%3AsponsoredAccount%3A507"), "{}", call.url);
        let answer = |status| {
            let response =
                Response { status, headers: Vec::new(), body: b"{\"elements\":[]}".to_vec() };
            destination.classify(&call, &response, Timestamp::UNIX_EPOCH).fault
        };
        assert_eq!(answer(200), None);
        assert!(answer(401).is_some() && answer(403).is_some());
    }

    #[test]
    fn a_lead_is_named_by_its_urn() {
        assert_eq!(lead("ab-1"), "urn:li:leadGenFormResponse:ab-1");
        assert_eq!(lead("urn:li:leadGenFormResponse:ab-1"), "urn:li:leadGenFormResponse:ab-1");
    }
}
