//! Outbrain server to server: a call of one conversion, all of it in the URL, of which nothing is
//! ever told but that it arrived.
//!
//! Pages are those of the sheet, checked 2026-11-22; `DOC` stands for
//! <https://www.outbrain.com/help/advertisers/server2server-integrations/>.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

use super::{
    Answer, Auth, BatchLimits, BrowserDedup, Call, CallPurpose, Configured, Dedup, Destination,
    Key, KeyKind, Occasion, Platform, Preparation, Problem, Quota, Refusal, Response, Settings,
    Take,
    answer::by_status,
    prepare::{Recipe, prepare, taken, unsupported},
    settings::{Names, days},
    wire,
};
use crate::{
    consent::{Permit, Purpose, Purposes},
    event::{Field, FieldSet},
    identity::Rule,
    job::{Prepared, Skip, SkipCode},
};

/// One conversion a call (DOC); a URL of more is cut by what stands between.
const BATCH: BatchLimits = BatchLimits { events: 1, bytes: 8_000 };

/// Not documented; a click is credited for at most 30 days.
const MAX_AGE: Duration = days(30);

const TAKES: &[Take] =
    &[Take::clear(Field::ObClickId, Rule::Verbatim), Take::clear(Field::OrderId, Rule::Verbatim)];

const FIELDS: FieldSet = taken(TAKES, &[Field::Value, Field::Currency]);

/// What Outbrain is.
pub(super) static PLATFORM: Platform = Platform {
    name: "outbrain",
    title: "Outbrain S2S",
    also_called: &["Outbrain"],
    docs: "https://www.outbrain.com/help/advertisers/server2server-integrations/",
    api: None,
    endpoint: "https://tr.outbrain.com",
    token_endpoint: "",
    batch: BATCH,
    oldest: |_| MAX_AGE,
    // Not documented: a modest one.
    quota: Quota::new(50, 100),
    // Nothing is said of resends.
    dedup: Dedup::None,
    browser_dedup: BrowserDedup::None,
    takes: TAKES,
    purposes: Purposes {
        needs: Some(&[Purpose::AdStorage, Purpose::AdUserData]),
        personalization_flag: false,
        restricted_in: &[],
        can_restrict: |_, _, _| false,
        required: FieldSet::EMPTY,
        default_fields: |_| FieldSet::of(&[Field::ObClickId]),
        takes: FIELDS,
        with_ad_user_data: FieldSet::EMPTY,
    },
    tcf_vendor_id: Some(164),
    ac_provider_id: None,
    keys: &[
        Key::new(
            "time_zone",
            KeyKind::Text,
            "the zone of the times sent, undocumented; default UTC",
        ),
        Key::new(
            "time_format",
            KeyKind::Text,
            "how times are written: yyyy-MM-dd HH:mm:ss (default) or MM/dd/yyyy HH:mm:ss",
        ),
        Key::new("max_age_days", KeyKind::Number, "the oldest event, in days; default 30"),
    ],
    entry_keys: &[Key::new("name", KeyKind::Text, "the conversion's name, exactly as at Outbrain")],
    has_test_mode: false,
    contract: include_str!("../sandbox/contracts/outbrain.json"),
    configure,
};

fn configure(settings: &Settings) -> Configured {
    let mut problems = Vec::new();
    let zone = match settings.text("time_zone") {
        None => TimeZone::UTC,
        Some(name) => jiff::tz::TimeZoneDatabase::bundled().get(&name).unwrap_or_else(|_| {
            let message = "must be a zone's name, such as UTC or America/New_York";
            problems.push(Problem::new("time_zone", message));
            TimeZone::UTC
        }),
    };
    let year_first = ("yyyy-MM-dd HH:mm:ss", "%Y-%m-%d %H:%M:%S");
    let month_first = ("MM/dd/yyyy HH:mm:ss", "%m/%d/%Y %H:%M:%S");
    let time_format = settings.choice("time_format", year_first, &[month_first], &mut problems);
    let max_age = settings.days("max_age_days", MAX_AGE, &mut problems);
    // Names are the advertiser's own: Outbrain has none of its own to fall back to.
    let names = settings.entry_names(|_| None, |_| None, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let base = settings.endpoint.trim_end_matches('/');
    Ok(Box::new(Outbrain {
        url: format!("{base}/unifiedPixel"),
        zone,
        time_format,
        max_age,
        names,
    }))
}

#[derive(Debug)]
struct Outbrain {
    url: String,
    zone: TimeZone,
    /// One of the two that DOC takes.
    time_format: &'static str,
    max_age: Duration,
    names: Names,
}

impl Destination for Outbrain {
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
            return Err(unsupported("Outbrain takes no adjustment of a conversion"));
        }
        let recipe = Recipe { takes: TAKES, fields: FIELDS, oldest: self.max_age };
        let preparation = prepare(&recipe, occasion, permit, now)?;
        if !preparation.prepared.has(Field::ObClickId) {
            let message = "no click_ids.ob_click_id, which is all that Outbrain knows a person by";
            return Err(Refusal::Skip(Skip::new(SkipCode::IdentityTooWeak, message)));
        }
        Ok(preparation)
    }

    fn assemble(&self, jobs: &[Prepared], now: Timestamp) -> Vec<Call> {
        let named = jobs
            .iter()
            .enumerate()
            .filter_map(|(index, job)| Some((index, job, self.names.get(&job.event, job.entry)?)));
        named
            .map(|(index, job, name)| Call {
                purpose: CallPurpose::Send,
                method: "GET",
                url: format!("{}?{}", self.url, self.query(job, name, now)),
                headers: Vec::new(),
                body: Vec::new(),
                members: vec![index],
            })
            .collect()
    }

    /// By the status alone: any 2xx means that it arrived (DOC).
    fn classify(&self, call: &Call, response: &Response, now: Timestamp) -> Answer {
        by_status(call, response, now)
    }

    fn auth(&self) -> Auth {
        Auth::None
    }

    fn is_deduplicated(&self, _: &Prepared) -> bool {
        false
    }
}

impl Outbrain {
    /// DOC. The name is encoded exactly as it is set at Outbrain: case and blanks matter.
    fn query(&self, job: &Prepared, name: &str, now: Timestamp) -> String {
        // Not in the future.
        let time = job.time.min(now).to_zoned(self.zone.clone());
        wire::query([
            ("ob_click_id", job.clear(Field::ObClickId).map(str::to_owned)),
            ("name", Some(name.to_owned())),
            ("orderValue", job.value.map(|value| value.amount.normalize().to_string())),
            ("orderId", Some(job.transaction_id.clone())),
            ("currency", job.value.map(|value| value.currency.code().to_owned())),
            ("timestamp", Some(time.strftime(self.time_format).to_string())),
        ])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::destinations::{Entry, Mode, answer::table::classified};

    fn settings(table: &str, entry: Entry) -> Settings {
        Settings {
            name: "outbrain".to_owned(),
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
        let entry = Entry::Name("Purchase Complete".to_owned());
        let destination = configure(&settings("", entry)).unwrap();
        for (status, body, told) in [
            (200, "", "d"),
            (200, "GIF89a", "d"),
            (204, "", "d"),
            (302, "", "p Misconfigured http_302"),
            (400, "no", "r http_400"),
            (403, "", "p Unauthorized http_403"),
            (404, "", "p Misconfigured http_404"),
            (414, "", "r http_414"),
            (429, "", "t"),
            (500, "", "u"),
            (504, "<html>", "u"),
        ] {
            assert_eq!(classified(&*destination, 1, status, body), told, "{status} {body}");
        }
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let problems = |table: &str, entry: Entry| -> Vec<String> {
            let problems = configure(&settings(table, entry)).err().unwrap_or_default();
            problems.into_iter().map(|problem| problem.path).collect()
        };
        let table =
            "time_zone = \"Mars/Olympus\"\ntime_format = \"dd.MM.yyyy\"\nmax_age_days = 500";
        let all = ["time_zone", "time_format", "max_age_days", "events.purchase"];
        assert_eq!(problems(table, Entry::Standard), all);
        let named = Entry::Name("Purchase".to_owned());
        assert!(problems("time_zone = \"America/New_York\"", named).is_empty());
    }
}
