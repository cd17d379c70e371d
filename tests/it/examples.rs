//! The example configurations: each passes `check` and its own cases, and the one of all platforms
//! has one purchase, one lead and one micro event reach every platform there is.
//!
//! A platform that joins the registry needs its lines in `config/examples/all-platforms`, and none
//! here unless it has no form for one of the events.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
};

use conversion_relay::{
    config::{self, Config, LoadOptions, Secrets},
    consent::Whereabouts,
    destinations::REGISTRY,
    job::Fate,
    pipeline::{self, Street, SubjectKey},
    sandbox::{self, Request},
    sources::{Door, json, native},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::harness::{Folder, Relay, assert_balanced, binary};

const NOW: &str = "2026-11-22T04:00:00Z";

/// What a platform has no form for.
const WITHOUT: [(&str, &str, &str); 1] = [(
    "criteo",
    "lead",
    "its events are those of a shop: a lead has no product, and there are no names of one's own",
)];

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples")
}

/// Those that are configurations; how to send to one is beside them.
fn folders() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> =
        entries.filter(|folder| folder.join("relay.toml").exists()).collect();
    folders.sort();
    folders
}

fn all_platforms() -> PathBuf {
    examples().join("all-platforms")
}

fn event(name: &str) -> Value {
    let file = all_platforms().join("events").join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn load(dir: &Path) -> Config {
    let options = LoadOptions {
        secrets: Secrets::Placeholder,
        sandbox_base: None,
        env: &|_| None,
        registry: REGISTRY,
    };
    let loaded = config::load(dir, &options);
    let findings: Vec<String> = loaded.findings.iter().map(ToString::to_string).collect();
    assert_eq!(findings, Vec::<String>::new(), "{}", dir.display());
    loaded.config.unwrap()
}

#[tokio::test]
async fn every_example_passes_check_and_its_own_cases() {
    let folders = folders();
    assert!(folders.len() >= 3, "{folders:?}");
    for folder in folders {
        for command in ["check", "test"] {
            let output = binary().arg(command).arg("--config").arg(&folder).output().await.unwrap();
            let out = String::from_utf8(output.stdout).unwrap();
            let err = String::from_utf8(output.stderr).unwrap();
            let what = format!("{command} of {}\n{out}{err}", folder.display());
            assert_eq!(output.status.code(), Some(0), "{what}");
            assert!(command != "test" || !out.contains("\n0 passed"), "{what}");
        }
        // A recipe without cases proves nothing.
        let cases = std::fs::read_dir(folder.join("tests")).unwrap().count();
        assert!(cases > 0, "{} has no cases", folder.display());
        load(&folder);
    }
}

#[test]
fn the_example_of_all_platforms_has_every_platform() {
    let config = load(&all_platforms());
    let there: BTreeSet<&str> =
        config.destinations.values().map(|destination| destination.platform.name).collect();
    for platform in REGISTRY {
        let name = platform.name;
        assert!(
            there.contains(name),
            "config/examples/all-platforms has no {name}: add [{name}] to destinations.toml, \
             [destinations.{name}] to consent.toml, and a line to each event of events.toml"
        );
    }
}

/// Each request, straight from the pipeline, is held against the contract of its platform.
#[test]
fn every_contract_takes_a_purchase_a_lead_and_a_micro_event() {
    let config = load(&all_platforms());
    for name in ["purchase", "lead", "micro"] {
        let requests = requests(&config, &event(name), NOW.parse().unwrap());
        for platform in REGISTRY {
            let sent = requests.iter().filter(|sent| **sent == platform.name).count();
            match without(platform.name, name) {
                Some(why) => {
                    assert_eq!(sent, 0, "{} takes a {name} after all: {why}", platform.name)
                }
                None => assert!(sent > 0, "nothing of a {name} was written for {}", platform.name),
            }
        }
    }
}

fn without(platform: &str, event: &str) -> Option<&'static str> {
    WITHOUT.iter().find(|it| it.0 == platform && it.1 == event).map(|it| it.2)
}

/// The platform of each request that an event causes; fails on one that its contract refuses.
fn requests(config: &Config, event: &Value, now: Timestamp) -> Vec<&'static str> {
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
    let read = native::read(&node, &Door::default(), config, now)
        .unwrap_or_else(|rejection| panic!("{} {}", rejection.path, rejection.message));
    let whereabouts = Whereabouts { event_is_believed: true, ..Whereabouts::default() };
    let verdict = pipeline::run(&street, read, &whereabouts, now)
        .unwrap_or_else(|rejection| panic!("{} {}", rejection.path, rejection.message));
    let warnings: Vec<&str> = verdict.warnings.iter().map(|w| w.message.as_str()).collect();
    assert_eq!(warnings, Vec::<&str>::new());
    let mut sent = Vec::new();
    for decided in verdict.parts.iter().flat_map(|part| &part.decisions) {
        let destination = &config.destinations[&decided.destination];
        let platform = destination.platform.name;
        let prepared = match &decided.fate {
            Fate::Send(prepared) => prepared,
            Fate::Skip(skip) if skip.code == conversion_relay::job::SkipCode::NotMapped => continue,
            other => panic!("{platform}: {other:?} {:?}", decided.consent),
        };
        let calls = destination.handler.assemble(std::slice::from_ref(&**prepared), now);
        assert!(!calls.is_empty(), "{platform} wrote no request");
        for call in calls {
            let (url, headers, body) = (&call.url, &call.headers, &call.body);
            let request = Request { method: call.method, url, headers, body };
            let verdict = sandbox::check(platform, request, now).unwrap();
            let text = String::from_utf8_lossy(body);
            assert!(verdict.is_accepted(), "{platform} {:?}\n{url}\n{text}", verdict.refused);
            assert!(verdict.warnings.is_empty(), "{platform} {:?}\n{text}", verdict.warnings);
            sent.push(platform);
        }
    }
    sent
}

/// One purchase with every field set, posted to a real relay, arrives everywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purchase_with_every_field_reaches_every_platform() {
    let folder = Folder::shipped();
    for file in ["relay.toml", "events.toml", "consent.toml", "destinations.toml", "rates.csv"] {
        folder.write(file, &std::fs::read_to_string(all_platforms().join(file)).unwrap());
    }
    folder.edit("relay.toml", |text| {
        ["8080", "8081", "8090"].iter().fold(text, |text, port| text.replace(port, "0"))
    });
    let mut purchase = event("purchase");
    let now = conversion_relay::clock::system()();
    purchase["timestamp"] = json!((now - SignedDuration::from_secs(30)).to_string());
    purchase["sent_at"] = json!(now.to_string());
    purchase["click_ids"]["clicked_at"] = json!((now - SignedDuration::from_hours(8)).to_string());
    purchase["consent"]["collected_at"] = json!((now - SignedDuration::from_hours(9)).to_string());
    let relay = Relay::start(&folder).await;
    let (status, answer) = relay.post(&purchase).await;
    assert_eq!((status, &answer["accepted"]), (202, &json!(1)), "{answer}");
    assert_balanced(&relay.drained().await);
    for platform in REGISTRY {
        let name = platform.name;
        if without(name, "purchase").is_some() {
            continue;
        }
        let received = relay.received(name).await;
        for request in &received {
            assert_eq!(request["refused"], json!([]), "{name}: {request:#}");
        }
        let is_taken = received.iter().any(|request| request["accepted"] != json!([]));
        assert!(is_taken, "{name} got no purchase: {received:#?}");
    }
    let stats = relay.stats().await;
    for (name, books) in stats["destinations"].as_object().unwrap() {
        assert_eq!(books["delivered"], json!(1), "{name}: {books:#}");
    }
    relay.stop().await;
}
