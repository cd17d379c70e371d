//! A generic webhook, for CRM, marketing automation and BI: chosen fields of an event as JSON,
//! signed, or with a token or a password.
//!
//! Hashable identity arrives as SHA-256, never in clear. CEL fields are evaluated when the event is
//! prepared, over what the destination may have of it, and travel with the job as free properties
//! of their own names; `consent.toml` allows them like any other (`properties`, or
//! `properties.NAME`).

mod body;
mod fields;
mod tree;

use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;

use super::{
    Answer, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup, Destination,
    Key, KeyKind, Occasion, Platform, Preparation, Problem, Quota, Refusal, Response, Settings,
    Take,
    answer::by_status,
    prepare::{Recipe, prepare_as_it_came},
    settings::Names,
    wire::{self, Frame},
};
use crate::{
    consent::{Permit, Purposes},
    event::{Field, FieldSet},
    identity::Rule,
    job::{Prepared, Skip, SkipCode},
};
use fields::Fields;

/// The receiver's limits are its own; these are ours.
const BATCH: BatchLimits = BatchLimits { events: 100, bytes: 1_000_000 };

/// A receiver has no oldest event: the queue's own retention ends what waits.
const OLDEST: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);

/// The header that GitHub's webhooks made usual, for `sha256=HEX` of the body.
const SIGNATURE: &str = "x-hub-signature-256";

/// Every field there is; identity as hashes of the plainest normal form.
const TAKES: [Take; Field::ALL.len()] = {
    let mut takes = [Take::clear(Field::Ip, Rule::Verbatim); Field::ALL.len()];
    let mut i = 0;
    while i < takes.len() {
        #[allow(clippy::indexing_slicing, reason = "bounded by the loop; iterators are not const")]
        {
            takes[i] = take(Field::ALL[i]);
        }
        i += 1;
    }
    takes
};

const fn take(field: Field) -> Take {
    match field {
        Field::Email => Take::hashed(field, Rule::EmailPlain),
        Field::Phone => Take::hashed(field, Rule::PhoneE164),
        Field::FirstName | Field::LastName | Field::Street => Take::hashed(field, Rule::Lower),
        Field::DateOfBirth => Take::hashed(field, Rule::DateOfBirth),
        Field::Gender => Take::hashed(field, Rule::Gender),
        Field::ExternalId => Take::clear(field, Rule::ExternalId).at_most(usize::MAX),
        _ => Take::clear(field, Rule::Verbatim),
    }
}

/// What a webhook is.
pub(super) static PLATFORM: Platform = Platform {
    name: "webhook",
    title: "Webhook",
    also_called: &["Webhooks"],
    docs: "",
    api: None,
    endpoint: "",
    token_endpoint: "",
    batch: BATCH,
    oldest: |_| OLDEST,
    quota: Quota { requests_per_second: 100, burst: 200, requests_per_day: None },
    dedup: Dedup::None,
    browser_dedup: BrowserDedup::None,
    takes: &TAKES,
    purposes: Purposes {
        needs: None,
        personalization_flag: false,
        restricted_in: &[],
        can_restrict: |_, _, _| false,
        required: FieldSet::EMPTY,
        default_fields: |_| FieldSet::EMPTY,
        takes: FieldSet::of(Field::ALL),
        with_ad_user_data: FieldSet::EMPTY,
    },
    tcf_vendor_id: None,
    ac_provider_id: None,
    keys: &[
        Key::new("url", KeyKind::Recipient, "where events are posted"),
        Key::new("secret", KeyKind::Secret, "signs the body: x-hub-signature-256: sha256=HEX"),
        Key::new("bearer", KeyKind::Secret, "a token, instead of secret"),
        Key::new("basic", KeyKind::Secret, "user:password, instead of secret"),
        Key::new("headers", KeyKind::Any, "further headers: { \"X-Source\" = \"relay\" }"),
        Key::new("fields", KeyKind::Any, "a list of paths, or a table { key = \"path or CEL\" }"),
        Key::new("batched", KeyKind::Bool, "several events a request, as a JSON array"),
    ],
    entry_keys: &[Key::new("name", KeyKind::Text, "the event's name at the receiver")],
    has_test_mode: false,
    contract: include_str!("../../sandbox/contracts/webhook.json"),
    configure,
};

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let url = settings.required_text("url", &mut problems);
    if !url.is_empty() && !is_postable(&url) {
        let message = "must be an http or https URL without user and fragment";
        problems.push(Problem::new("url", message));
    }
    let auth = auth(settings, &mut problems);
    let headers = headers(settings, &mut problems);
    let fields = Fields::read(settings.table.get("fields"), &mut problems);
    let is_batched = match settings.table.get("batched").map(toml::Value::as_bool) {
        None => false,
        Some(Some(batched)) => batched,
        Some(None) => {
            problems.push(Problem::new("batched", "must be true or false"));
            false
        }
    };
    // Any name will do: an event's own is its standard name.
    let names = settings.entry_names(|event| Some(event.to_owned()), |_| None, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let chosen = fields.chosen();
    let takes = TAKES.iter().filter(|take| chosen.contains(take.field)).copied().collect();
    Ok(Box::new(Webhook { url, auth, headers, fields, chosen, takes, is_batched, names }))
}

fn is_postable(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
    })
}

fn auth(settings: &Settings, problems: &mut Vec<Problem>) -> Proof {
    let (secret, bearer, basic) =
        (settings.secret("secret"), settings.secret("bearer"), settings.secret("basic"));
    match (secret, bearer, basic) {
        (None, None, None) => Proof::None,
        (Some(secret), None, None) => Proof::Signature(secret),
        (None, Some(token), None) => Proof::Bearer(token),
        (None, None, Some(credentials)) => Proof::Basic(credentials),
        _ => {
            let message = "a webhook has one of secret, bearer and basic";
            problems.push(Problem::new("secret", message));
            Proof::None
        }
    }
}

fn headers(settings: &Settings, problems: &mut Vec<Problem>) -> Vec<(String, String)> {
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let table = match settings.table.get("headers") {
        None => return headers,
        Some(toml::Value::Table(table)) => table,
        Some(_) => {
            let message = "must be a table of texts, such as { \"X-Source\" = \"relay\" }";
            problems.push(Problem::new("headers", message));
            return headers;
        }
    };
    for (name, value) in table {
        let lower = name.to_ascii_lowercase();
        let is_token = !lower.is_empty()
            && lower.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.!#$&'*+^`|~%".contains(&b));
        let is_ours = matches!(
            lower.as_str(),
            "content-type" | "content-length" | "host" | "authorization" | "transfer-encoding"
        ) || lower == SIGNATURE;
        let value = value.as_str().filter(|text| text.bytes().all(|b| (0x20..0x7f).contains(&b)));
        match value {
            Some(value) if is_token && !is_ours => headers.push((lower, value.to_owned())),
            _ if is_ours => {
                let message = "is written by the relay; leave it out";
                problems.push(Problem::new(format!("headers.{name}"), message));
            }
            _ => {
                let message = "must be a header's name with a text of printable ASCII";
                problems.push(Problem::new(format!("headers.{name}"), message));
            }
        }
    }
    headers
}

#[derive(Debug)]
struct Webhook {
    url: String,
    auth: Proof,
    headers: Vec<(String, String)>,
    fields: Fields,
    chosen: FieldSet,
    takes: Vec<Take>,
    is_batched: bool,
    names: Names,
}

/// What proves who we are.
#[derive(Debug)]
enum Proof {
    None,
    Signature(SecretString),
    Bearer(SecretString),
    Basic(SecretString),
}

impl Destination for Webhook {
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal> {
        if self.names.get(occasion.plan_event, occasion.entry).is_none() {
            return Err(Refusal::Skip(Skip::new(SkipCode::NotMapped, "no entry for this event")));
        }
        if occasion.test {
            let message = "a webhook has no test mode, and this is a test";
            return Err(Refusal::Skip(Skip::new(SkipCode::TestMode, message)));
        }
        let recipe = Recipe { takes: &self.takes, fields: self.chosen, oldest: OLDEST };
        let mut preparation = prepare_as_it_came(&recipe, occasion, permit, now)?;
        let prepared = &mut preparation.prepared;
        // The value as it came has its place in `properties`, beside the one decided by the plan.
        if self.chosen.contains(Field::Value) && permit.fields.contains(Field::Value) {
            let raw = occasion.event.amount(Field::Value);
            prepared.amounts.extend(raw.map(|amount| (Field::Value, amount)));
        }
        if permit.fields.contains(Field::ItemNames) {
            for (item, own) in prepared.items.iter_mut().zip(&occasion.event.items) {
                item.other.clone_from(&own.other);
            }
        }
        self.fields.compute(prepared, occasion, permit);
        Ok(preparation)
    }

    fn assemble(&self, jobs: &[Prepared], _: Timestamp) -> Vec<Call> {
        let events = jobs.iter().enumerate().filter_map(|(index, job)| {
            let name = self.names.get(&job.event, job.entry)?;
            Some((index, body::of(&self.fields, job, name).json()))
        });
        let limits =
            BatchLimits { events: if self.is_batched { BATCH.events } else { 1 }, ..BATCH };
        let frame = if self.is_batched { Frame::Known("[", "]") } else { Frame::Known("", "") };
        wire::batches(events, limits, frame)
            .into_iter()
            .map(|batch| Call {
                purpose: CallPurpose::Send,
                method: "POST",
                url: self.url.clone(),
                headers: self.headers.clone(),
                body: batch.text.into_bytes(),
                members: batch.members,
            })
            .collect()
    }

    /// The event's own amounts stand as they came, beside the value that was decided.
    fn has_one_currency(&self) -> bool {
        false
    }

    fn chosen(&self) -> Option<FieldSet> {
        Some(self.chosen.union(self.fields.beside()))
    }

    /// By the status alone: a receiver's body means nothing to us.
    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        by_status(call, response, now)
    }

    fn auth(&self) -> Auth {
        match &self.auth {
            Proof::None => Auth::None,
            Proof::Signature(secret) => {
                Auth::HmacSha256 { header: SIGNATURE, secret: secret.clone() }
            }
            Proof::Bearer(token) => Auth::Bearer(token.clone()),
            Proof::Basic(credentials) => Auth::Basic { credentials: credentials.clone() },
        }
    }

    fn is_deduplicated(&self, _: &Prepared) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::destinations::{Mode, answer::table::classified};

    fn settings(table: &str, secrets: &[&str]) -> Settings {
        let secret = |key: &&str| ((*key).to_owned(), SecretString::from("secret".to_owned()));
        Settings {
            name: "crm".to_owned(),
            table: table.parse().unwrap(),
            secrets: secrets.iter().map(secret).collect(),
            endpoint: String::new(),
            token_endpoint: String::new(),
            mode: Mode::Live,
            entries: BTreeMap::new(),
        }
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let table = "url = \"ftp://x.example\"\nfields = [\"event\", \"user.shoe_size\", 1]\n\
                     headers = { Host = \"a\", \"x y\" = \"b\", Fine = \"c\" }\nbatched = 1";
        let problems = configure(&settings(table, &["secret", "bearer"])).unwrap_err();
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(
            paths,
            ["url", "secret", "headers.Host", "headers.x y", "fields", "fields", "batched"]
        );
    }

    #[test]
    fn every_answer_has_its_meaning() {
        let hook = configure(&settings("url = \"https://x.example/hook\"", &[])).unwrap();
        for (status, body, told) in [
            (200, "", "ddd"),
            (202, "{\"queued\":true}", "ddd"),
            (204, "", "ddd"),
            (207, "partly", "ddd"),
            (301, "", "ppp Misconfigured http_301"),
            (400, "no", "ccc http_400"),
            (401, "", "ppp Unauthorized http_401"),
            (403, "", "ppp Unauthorized http_403"),
            (404, "", "ppp Misconfigured http_404"),
            (408, "", "uuu"),
            (410, "", "ppp Misconfigured http_410"),
            (413, "", "lll"),
            (422, "no", "ccc http_422"),
            (425, "", "uuu"),
            (429, "", "ttt"),
            (500, "", "uuu"),
            (503, "<html>", "uuu"),
        ] {
            assert_eq!(classified(&*hook, 3, status, body), told, "{status} {body}");
        }
        assert_eq!(classified(&*hook, 1, 422, "no"), "r http_422");
    }

    #[test]
    fn each_proof_has_its_form() {
        let auth = |secrets: &[&str]| {
            configure(&settings("url = \"https://x.example/hook\"", secrets)).unwrap().auth()
        };
        assert!(matches!(auth(&[]), Auth::None));
        assert!(matches!(auth(&["bearer"]), Auth::Bearer(_)));
        assert!(matches!(auth(&["basic"]), Auth::Basic { .. }));
        assert!(matches!(auth(&["secret"]), Auth::HmacSha256 { header: SIGNATURE, .. }));
    }
}
