//! Whatever an event holds, what is sent of it is what each platform's contract takes, without a remark;
//! what a platform would refuse is skipped before, with a reason.
//!
//! Events go the whole way: read as a door reads them, down the street of a configuration with every
//! platform of the registry, into one request for each and into one for all that a platform gets.

use std::{fs, net::IpAddr, sync::LazyLock};

use conversion_relay::{
    config::{Config, LoadOptions, Secrets, load},
    consent::Whereabouts,
    destinations::{Call, REGISTRY},
    job::{Fate, Prepared},
    pipeline::{self, Street, SubjectKey},
    sandbox::{self, Request},
    sources::{Door, json, native},
};
use proptest::{collection::vec, prelude::*};
use serde_json::Value;

use crate::{
    events::{WHOLE, event},
    support,
};

/// Settings without which some events go nowhere, in two ways.
type Settings = [(&'static str, &'static str)];

const ONE_WAY: &Settings = &[
    ("meta", "test_event_code = \"TEST1\"\nmessaging_channel = \"messenger\""),
    (
        "tiktok",
        "app_id = \"7001\"\nevent_set_id = \"7002\"\ncrm_event_set_id = \"7003\"\n\
         test_event_code = \"TEST1\"",
    ),
    ("snapchat", "app_id = \"a1b2c3d4-0000-4000-8000-000000000002\""),
    ("reddit", "test_id = \"t2_test\""),
    ("amazon", "custom_data = [\"status\", \"content_type\", \"nested\"]"),
];

const ANOTHER_WAY: &Settings = &[
    ("meta", "ldu_states = { US-UT = 1007, US-CA = 0 }"),
    (
        "tiktok",
        "app_id = \"7001\"\nadvertising_id = \"plain\"\nvendor_id = \"hashed\"\n\
         limited_needs_ip = true\nnames_and_places = false",
    ),
    (
        "snapchat",
        "app_id = \"a1b2c3d4-0000-4000-8000-000000000002\"\nhash_advertising_id = true\n\
         application_tracking = \"consent\"\ntest_event_code = \"TEST1\"",
    ),
    ("pinterest", "maid_case = \"upper\"\npartner_name = \"ss-relay\"\ntest_batch = 1"),
    ("x", "time_as = \"conversion_timestamp\""),
    ("amazon", "country = \"US\"\nphone_plus = true"),
    ("the_trade_desk", "ttd_id_is = \"tdid\"\namounts = \"number\"\ncustom = { td1 = \"status\" }"),
    ("outbrain", "time_format = \"MM/dd/yyyy HH:mm:ss\"\ntime_zone = \"Asia/Kolkata\""),
    ("google_ads_upload", "api_version = \"v24\"\ngclid_with_braid = true"),
    ("microsoft", "hotel_dates = \"checkInDate\"\ndata_provider = \"relay\""),
];

/// The shipped example of all platforms, which may send all that a platform takes, and limits it where
/// that is possible; and a refund for each.
static CONFIGS: LazyLock<[Config; 2]> = LazyLock::new(|| [ONE_WAY, ANOTHER_WAY].map(config));

fn config(more: &Settings) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let shipped = support::root().join("config/examples/all-platforms");
    for name in ["relay.toml", "destinations.toml", "events.toml", "consent.toml", "rates.csv"] {
        let mut text = fs::read_to_string(shipped.join(name)).unwrap();
        match name {
            "consent.toml" => {
                for platform in REGISTRY.iter().filter(|p| !p.purposes.restricted_in.is_empty()) {
                    let head = format!("[destinations.{}]\n", platform.name);
                    assert!(text.contains(&head), "{head}");
                    let limited = format!(
                        "[destinations.{}.regions.us]\nwhen_opted_out = \"limited\"\n\n{head}",
                        platform.name
                    );
                    text = text.replace(&head, &limited);
                }
            }
            "destinations.toml" => {
                for (platform, more) in more {
                    let head = format!("platform = \"{platform}\"\n");
                    assert!(text.contains(&head), "{head}");
                    text = text.replace(&head, &format!("{head}{more}\n"));
                }
            }
            "events.toml" => {
                let entries = text.split("[events.purchase.destinations]\n").nth(1).unwrap();
                let entries = entries.split("\n[").next().unwrap();
                let entries = [
                    ("ga4 = true", "ga4 = \"refund\""),
                    ("meta = \"Purchase\"", "meta = [\"Purchase\", \"OrderRefunded\"]"),
                    ("tiktok = \"Purchase\"", "tiktok = \"OrderRefunded\""),
                    ("pinterest = \"checkout\"", "pinterest = \"custom\""),
                    ("snapchat = \"PURCHASE\"", "snapchat = \"CUSTOM_EVENT_1\""),
                    (
                        "openai = true",
                        "openai = { type = \"custom\", custom_event_name = \"refund\" }",
                    ),
                    ("the_trade_desk = true", "the_trade_desk = \"refund\""),
                ]
                .iter()
                .fold(entries.to_owned(), |entries, (from, to)| entries.replace(from, to));
                text += &format!(
                    "\n[events.refund]\nkind = \"adjustment\"\n[events.refund.destinations]\n{entries}\n"
                );
            }
            _ => {}
        }
        fs::write(folder.path().join(name), text).unwrap();
    }
    let options = LoadOptions {
        secrets: Secrets::Placeholder,
        sandbox_base: None,
        env: &|_| None,
        registry: REGISTRY,
    };
    let loaded = load(folder.path(), &options);
    loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.findings))
}

/// What goes to each destination, as the street decides; nothing of what a door rejects.
fn jobs(config: &Config, event: &Value) -> Vec<(String, Prepared)> {
    let key = SubjectKey::new(&[7; 32]);
    let (geoip, remembered) = (|_: IpAddr| None, |_: &[[u8; 16]]| Default::default());
    let street = Street {
        config,
        key: &key,
        geoip: &geoip,
        remembered: &remembered,
        refused_since: &|_, _| None,
    };
    let whereabouts = Whereabouts { event_is_believed: true, ..Whereabouts::default() };
    let text = event.to_string();
    let node = json::parse(&text, 32).unwrap();
    let Ok(read) = native::read(&node, &Door::default(), config, support::now()) else {
        return Vec::new();
    };
    let Ok(verdict) = pipeline::run(&street, read, &whereabouts, support::now()) else {
        return Vec::new();
    };
    let mut jobs = Vec::new();
    for decided in verdict.parts.into_iter().flat_map(|part| part.decisions) {
        match decided.fate {
            Fate::Send(job) => jobs.push((decided.destination, *job)),
            Fate::Skip(skip) => assert!(!skip.message.is_empty(), "{}", decided.destination),
            Fate::Held(_) => {
                let reasons = decided.consent.map(|decision| decision.reasons.len());
                assert!(reasons > Some(0), "{}", decided.destination);
            }
            Fate::Shadow(_) => panic!("{} is in shadow", decided.destination),
        }
    }
    jobs
}

/// What a platform remarks and takes: these are expected there, and not required.
const REMARKS: [(&str, &str); 3] = [
    ("meta", "fbc is not fb.INDEX.MILLISECONDS.FBCLID"),
    ("tiktok", "page.url is missing"),
    ("taboola", "no click id of Taboola's, by its length"),
];

/// What a contract has against a call.
fn objections(config: &Config, destination: &str, call: &Call) -> Vec<String> {
    let platform = config.destinations[destination].platform.name;
    let request =
        Request { method: call.method, url: &call.url, headers: &call.headers, body: &call.body };
    let verdict = sandbox::check(platform, request, support::now()).unwrap();
    let is_expected =
        |why: &str| REMARKS.iter().any(|(of, words)| *of == platform && why.contains(words));
    let remarks = verdict.warnings.iter().filter(|it| !is_expected(&it.why));
    let said = verdict.refused.iter().chain(remarks);
    let mut said: Vec<String> = said
        .map(|it| format!("{destination}: {} {}", it.why, String::from_utf8_lossy(&call.body)))
        .collect();
    if said.is_empty() && !verdict.is_accepted() {
        said.push(format!("{destination}: {:?}", verdict.reply));
    }
    if verdict.events != call.members.len() {
        said.push(format!("{destination}: {} of {} events", verdict.events, call.members.len()));
    }
    said
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sent_of_any_event_is_what_the_platform_takes(event in event(), way in 0usize..2) {
        let config = &CONFIGS[way];
        let mut found = Vec::new();
        for (destination, job) in jobs(config, &event) {
            let handler = &config.destinations[&destination].handler;
            let calls = handler.assemble(std::slice::from_ref(&job), support::now());
            prop_assert_eq!(calls.len(), 1, "{}", destination);
            found.extend(calls.iter().flat_map(|call| objections(config, &destination, call)));
        }
        prop_assert!(found.is_empty(), "{:#?}", found);
    }

    /// Different events of one group share requests: none costs another its place.
    #[test]
    fn what_is_sent_of_many_events_is_what_the_platform_takes(
        events in vec(event(), 1..6),
        way in 0usize..2,
    ) {
        let config = &CONFIGS[way];
        let mut groups: Vec<((String, String), Vec<Prepared>)> = Vec::new();
        for (destination, job) in events.iter().flat_map(|event| jobs(config, event)) {
            let key = (destination, job.group.clone());
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, jobs)) => jobs.push(job),
                None => groups.push((key, vec![job])),
            }
        }
        let mut found = Vec::new();
        for ((destination, _), jobs) in groups {
            let calls = config.destinations[&destination].handler.assemble(&jobs, support::now());
            let members: usize = calls.iter().map(|call| call.members.len()).sum();
            prop_assert_eq!(members, jobs.len(), "{}", destination);
            found.extend(calls.iter().flat_map(|call| objections(config, &destination, call)));
        }
        prop_assert!(found.is_empty(), "{:#?}", found);
    }
}

/// The whole event reaches all: else the properties above could hold for want of requests.
#[test]
fn the_event_that_is_changed_goes_everywhere() {
    let mut sent: Vec<String> =
        jobs(&CONFIGS[0], &WHOLE).into_iter().map(|(destination, _)| destination).collect();
    sent.sort();
    let mut all: Vec<&str> = REGISTRY.iter().map(|platform| platform.name).collect();
    all.sort_unstable();
    assert_eq!(sent, all);
}
