//! Taboola server to server: conversions of clicks, up to 1,000 actions a request, of which nothing
//! is ever told but that they arrived. So everything is checked here, and what Taboola could not
//! count is not sent.
//!
//! Pages are those of the sheet, checked 2026-11-22; `DOC` stands for
//! <https://developers.taboola.com/pixel/docs>.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Answer, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup, Destination,
    Key, KeyKind, Occasion, Platform, Preparation, Problem, Quota, Refusal, Response, Settings,
    Take,
    answer::by_status,
    prepare::{Recipe, check_currency, prepare, taken, unsupported},
    settings::{Names, days},
    wire::{self, Frame, Object},
};
use crate::{
    consent::{Permit, Purpose, Purposes},
    event::{Currency, Field, FieldSet},
    identity::Rule,
    job::{Prepared, Skip, SkipCode},
};

/// DOC/bulk-submit-s2s-conversions; how large a body may be is not said.
const BATCH: BatchLimits = BatchLimits { events: 1_000, bytes: 1_000_000 };

/// Not documented; a click is credited for at most 30 days.
const MAX_AGE: Duration = days(30);

/// DOC/the-postback-url, `currency`: case sensitive.
#[rustfmt::skip]
const CURRENCIES: &[&str] = &[
    "AUD", "BRL", "CAD", "CNY", "EUR", "GBP", "HKD", "ILS", "INR", "JPY", "KRW", "MXN", "NZD",
    "RUB", "SGD", "THB", "TRY", "USD", "ZAR",
];

/// The click id's case matters (DOC/the-postback-url).
const TAKES: &[Take] =
    &[Take::clear(Field::Tblci, Rule::Verbatim), Take::clear(Field::OrderId, Rule::Verbatim)];

const FIELDS: FieldSet = taken(TAKES, &[Field::Value, Field::Currency, Field::Items]);

/// What Taboola is.
pub(super) static PLATFORM: Platform = Platform {
    name: "taboola",
    title: "Taboola S2S",
    also_called: &["Taboola"],
    docs: "https://developers.taboola.com/pixel/docs/bulk-submit-s2s-conversions",
    api: None,
    endpoint: "https://trc.taboola.com",
    token_endpoint: "",
    batch: BATCH,
    oldest: |_| MAX_AGE,
    // Not documented: a modest one.
    quota: Quota { requests_per_second: 50, burst: 100, requests_per_day: None },
    dedup: Dedup::Partly,
    // Of one click, name and order the copy from the server stays (DOC/conversion-dedup).
    browser_dedup: BrowserDedup::TransactionId,
    takes: TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        personalization_flag: false,
        restricted_in: &[],
        can_restrict: |_, _, _| false,
        required: FieldSet::EMPTY,
        default_fields: |_| FieldSet::of(&[Field::Tblci]),
        takes: FIELDS,
        with_ad_user_data: FieldSet::EMPTY,
    },
    tcf_vendor_id: Some(42),
    ac_provider_id: None,
    keys: &[
        Key::new(
            "account_id",
            KeyKind::Recipient,
            "the account's number; without it events go one by one, without their time",
        ),
        Key::new("max_age_days", KeyKind::Number, "the oldest event, in days; default 30"),
        Key::new(
            "deduplicates",
            KeyKind::Bool,
            "whether Taboola knows a resend by its orderid; false: on_unknown decides; default true",
        ),
    ],
    entry_keys: &[Key::new("name", KeyKind::Text, "the Event Name in Realize, case sensitive")],
    has_test_mode: false,
    contract: include_str!("../sandbox/contracts/taboola.json"),
    configure,
};

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let account = settings.text("account_id").filter(|id| !id.is_empty());
    if account.as_ref().is_some_and(|id| !id.bytes().all(|b| b.is_ascii_digit())) {
        problems.push(Problem::new("account_id", "must be the account's number"));
    }
    let max_age = settings.days("max_age_days", MAX_AGE, &mut problems);
    // Names are the advertiser's own: Taboola has none of its own to fall back to.
    let names = settings.entry_names(|_| None, |_| None, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Box::new(Taboola {
        base: settings.endpoint.trim_end_matches('/').to_owned(),
        account,
        max_age,
        deduplicates: settings.flag("deduplicates", true),
        names,
    }))
}

#[derive(Debug)]
struct Taboola {
    base: String,
    account: Option<String>,
    max_age: Duration,
    deduplicates: bool,
    names: Names,
}

impl Destination for Taboola {
    fn prepare(
        &self,
        occasion: &Occasion<'_>,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<Preparation, Refusal> {
        if self.names.get(occasion.plan_event, occasion.entry).is_none() {
            return Err(Refusal::Skip(Skip::new(SkipCode::NotMapped, "no entry for this event")));
        }
        if occasion.event.adjusts.is_some() {
            return Err(unsupported("Taboola takes no adjustment of a conversion"));
        }
        let recipe = Recipe { takes: TAKES, fields: FIELDS, oldest: self.max_age };
        let preparation = prepare(&recipe, occasion, permit, now)?;
        if !preparation.prepared.has(Field::Tblci) {
            let message = "no click_ids.tblci, which is all that Taboola knows a person by";
            return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
        }
        check_currency(occasion, |currency| self.takes_currency(currency), &CURRENCIES.join(", "))?;
        Ok(preparation)
    }

    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call> {
        let named = jobs
            .iter()
            .enumerate()
            .filter_map(|(index, job)| Some((index, job, self.names.get(&job.event, job.entry)?)));
        match &self.account {
            Some(account) => {
                let url = format!("{}/{account}/log/3/bulk-s2s-action", self.base);
                let events = named.map(|(index, job, name)| (index, action(job, name, now).json()));
                wire::batches(events, BATCH, Frame::Known("{\"actions\":[", "]}"))
                    .into_iter()
                    .map(|batch| Call {
                        purpose: CallPurpose::Send,
                        method: "POST",
                        url: url.clone(),
                        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
                        body: batch.text.into_bytes(),
                        members: batch.members,
                    })
                    .collect()
            }
            None => named
                .map(|(index, job, name)| Call {
                    purpose: CallPurpose::Send,
                    method: "GET",
                    url: format!(
                        "{}/actions-handler/log/3/s2s-action?{}",
                        self.base,
                        postback(job, name)
                    ),
                    headers: Vec::new(),
                    body: Vec::new(),
                    members: vec![index],
                })
                .collect(),
        }
    }

    /// By the status alone: what arrived is taken, and no word says what became of it (DOC).
    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        by_status(call, response, now)
    }

    fn auth(&self) -> Auth {
        Auth::None
    }

    fn takes_currency(&self, currency: Currency) -> bool {
        CURRENCIES.contains(&currency.code())
    }

    fn is_deduplicated(&self, _: &Prepared) -> bool {
        self.deduplicates
    }
}

/// DOC/bulk-submit-s2s-conversions.
fn action(job: &Prepared, name: &str, now: Timestamp) -> Object {
    Object::default()
        .maybe("click-id", job.clear(Field::Tblci))
        // Milliseconds, and not in the future.
        .with("timestamp", job.time.min(now).as_millisecond())
        .with("name", name)
        .maybe("revenue", job.value.map(|value| wire::number(value.amount)))
        .maybe("currency", job.value.map(|value| value.currency.code().to_owned()))
        .maybe("quantity", quantity(job))
        .with("orderid", job.transaction_id.as_str())
}

/// DOC/the-postback-url. It has no place for the time.
fn postback(job: &Prepared, name: &str) -> String {
    wire::query([
        // With its hyphen: under any other name nothing is counted.
        ("click-id", job.clear(Field::Tblci).map(str::to_owned)),
        ("name", Some(name.to_owned())),
        ("revenue", job.value.map(|value| value.amount.normalize().to_string())),
        ("currency", job.value.map(|value| value.currency.code().to_owned())),
        ("quantity", quantity(job).map(|number| number.to_string())),
        ("orderid", Some(job.transaction_id.clone())),
    ])
}

/// How many pieces, a whole number.
fn quantity(job: &Prepared) -> Option<wire::Exact> {
    let units = wire::units(&job.items).filter(|units| !units.is_zero())?;
    wire::integer(units)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::destinations::{Entry, Mode, answer::table::classified};

    fn settings(table: &str, entry: Entry) -> Settings {
        Settings {
            name: "taboola".to_owned(),
            table: table.parse().unwrap(),
            secrets: BTreeMap::new(),
            endpoint: PLATFORM.endpoint.to_owned(),
            token_endpoint: String::new(),
            mode: Mode::Live,
            entries: BTreeMap::from([("purchase".to_owned(), vec![entry])]),
        }
    }

    #[test]
    fn every_answer_means_what_its_page_says() {
        let entry = Entry::Name("make_purchase".to_owned());
        let destination = configure(&settings("account_id = 123456", entry)).unwrap();
        for (status, body, told) in [
            (204, "", "ddd"),
            (200, "", "ddd"),
            (202, "{}", "ddd"),
            (301, "", "ppp Misconfigured http_301"),
            (400, "no", "ccc http_400"),
            (403, "", "ppp Unauthorized http_403"),
            (404, "", "ppp Misconfigured http_404"),
            (413, "", "lll"),
            (429, "", "ttt"),
            (500, "", "uuu"),
            (503, "<html>", "uuu"),
        ] {
            assert_eq!(classified(&*destination, 3, status, body), told, "{status} {body}");
        }
        assert_eq!(classified(&*destination, 1, 400, "no"), "r http_400");
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let problems = |table: &str, entry: Entry| -> Vec<String> {
            let problems = configure(&settings(table, entry)).err().unwrap_or_default();
            problems.into_iter().map(|problem| problem.path).collect()
        };
        let table = "account_id = \"shop-sc\"\nmax_age_days = 0";
        let all = ["account_id", "max_age_days", "events.purchase"];
        assert_eq!(problems(table, Entry::Standard), all);
        assert_eq!(problems("", Entry::Name(String::new())), ["events.purchase"]);
        assert!(problems("", Entry::Name("make_purchase".to_owned())).is_empty());
    }
}
