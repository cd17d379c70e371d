//! Days of 23, 24.5 and 25 hours, and those that only some years have.

use std::net::IpAddr;

use conversion_relay::{
    config::{self, Config, LoadOptions, Secrets},
    consent::{ReasonCode, Whereabouts},
    destinations::REGISTRY,
    job::Fate,
    pipeline::{self, Street, SubjectKey, Verdict},
    plan::{Claim, Person},
    sources::{Door, json, native},
};
use jiff::Timestamp;
use serde_json::json;

use crate::harness::{Folder, purchase};

fn shop_in(zone: &str) -> Config {
    let folder = Folder::shipped();
    folder.edit("relay.toml", |text| text.replace("America/New_York", zone));
    folder.edit("events.toml", |text| {
        let daily = "count = { at_most = 3, per = \"1d\"";
        assert!(text.contains(daily));
        text.replace(daily, "count = { at_most = 1, per = \"1d\"")
    });
    let options = LoadOptions {
        secrets: Secrets::Placeholder,
        sandbox_base: None,
        env: &|_| None,
        registry: REGISTRY,
    };
    let loaded = config::load(&folder.config(), &options);
    loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.findings))
}

fn run(config: &Config, event: &serde_json::Value, now: Timestamp) -> Verdict {
    let key = SubjectKey::new(&[0; 32]);
    let street = Street {
        config,
        key: &key,
        geoip: &|_: IpAddr| None,
        remembered: &|_| Default::default(),
        refused_since: &|_, _| None,
    };
    let text = event.to_string();
    let node = json::parse(&text, config.limits.nesting).unwrap();
    let read = native::read(&node, &Door::default(), config, now).unwrap();
    let whereabouts = Whereabouts { event_is_believed: true, ..Whereabouts::default() };
    pipeline::run(&street, read, &whereabouts, now)
        .unwrap_or_else(|rejection| panic!("{} {}", rejection.path, rejection.message))
}

fn claim(config: &Config, at: &str, number: usize) -> Claim {
    let now: Timestamp = at.parse().unwrap();
    let mut event = purchase(&format!("e-{number}"));
    event["event"] = json!("add_to_cart");
    event["user"]["external_id"] = json!("u-1");
    event["timestamp"] = json!(at);
    let verdict = run(config, &event, now);
    verdict.parts[0].claim.clone().expect("it is counted once a day")
}

/// Which of these count, once a day.
fn counted(zone: &str, times: &[&str]) -> Vec<bool> {
    let config = shop_in(zone);
    let mut person = Person::default();
    let claims = times.iter().enumerate().map(|(number, at)| claim(&config, at, number));
    claims
        .map(|claim| {
            let counts = person.admits(&claim, &Person::default()).is_ok();
            if counts {
                person.mark(&claim);
            }
            counts
        })
        .collect()
}

#[test]
fn a_day_is_one_day_however_long() {
    // 25 hours: from 04:00 UTC on 1 November to 05:00 UTC on the 2nd.
    let autumn = [
        "2026-11-01T03:59:59Z",
        "2026-11-01T04:00:00Z",
        "2026-11-01T05:30:00Z", // 01:30, for the first time
        "2026-11-01T06:30:00Z", // 01:30, again
        "2026-11-02T04:59:59Z",
        "2026-11-02T05:00:00Z",
    ];
    assert_eq!(counted("America/New_York", &autumn), [true, true, false, false, false, true]);
    // 23 hours: from 05:00 UTC on 14 March to 04:00 UTC on the 15th.
    let spring = [
        "2027-03-14T04:59:59Z",
        "2027-03-14T05:00:00Z",
        "2027-03-15T03:59:59Z",
        "2027-03-15T04:00:00Z",
        "2027-03-15T05:00:00Z",
    ];
    assert_eq!(counted("America/New_York", &spring), [true, true, false, true, false]);
    // Half an hour: 4 April 2027 has 24.5 hours, from +11:00 to +10:30.
    let half = [
        "2027-04-03T12:59:59Z",
        "2027-04-03T13:00:00Z",
        "2027-04-04T13:29:59Z",
        "2027-04-04T13:30:00Z",
    ];
    assert_eq!(counted("Australia/Lord_Howe", &half), [true, true, false, true]);
    let leap = [
        "2028-02-28T12:00:00Z",
        "2028-02-29T00:00:00Z",
        "2028-02-29T23:59:59Z",
        "2028-03-01T00:00:00Z",
    ];
    assert_eq!(counted("UTC", &leap), [true, true, false, true]);
}

/// Who was born on a leap day is of age on 1 March; in the site's own day.
#[test]
fn the_day_of_coming_of_age_is_the_sites() {
    let config = shop_in("Australia/Lord_Howe");
    let is_minor = |at: &str| {
        let mut event = purchase("e-1");
        event["user"]["date_of_birth"] = json!("2020-02-29");
        event["timestamp"] = json!(at);
        let verdict = run(&config, &event, at.parse().unwrap());
        let mut fates = verdict.parts.iter().flat_map(|part| &part.decisions).map(|one| &one.fate);
        fates.any(|fate| matches!(fate, Fate::Held(ReasonCode::Minor)))
    };
    // Thirteen; midnight is at 13:00 UTC.
    assert!(is_minor("2033-02-28T12:59:59Z"));
    assert!(!is_minor("2033-02-28T13:00:00Z"));
}
