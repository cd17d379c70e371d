//! Whatever takes a permission away reaches whatever has not left: stricter rules, a withdrawal, a
//! refusal and an erasure, against items that are pending, wait for a retry, are dead, or are being
//! replayed, with a SIGKILL between, over both engines.

use std::time::Duration;

use conversion_relay::config::Engine;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    harness::{Folder, OwnSandbox, Relay, assert_balanced},
    remembered::{count, denied, granted, live, visit},
};

/// What takes a permission away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// `consent.toml` asks for more, and is read anew: as the admin call has it, or as SIGHUP.
    Rules(Reload),
    /// `POST /admin/v1/privacy/withdraw`.
    Withdrawal,
    /// `POST /v1/consent`.
    Choice,
    /// An event of the same person that refuses.
    Event,
    /// `POST /admin/v1/privacy/erase`.
    Erasure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reload {
    Call,
    Signal,
}

/// When the relay is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    /// Between what was queued and the act; rules are then read by the start.
    Before,
    /// As soon as the act is answered.
    After,
}

/// The states in which an item can wait, which are the ids of the events in them.
const STATES: [&str; 4] = ["dead", "replayed", "retrying", "pending"];

/// What it all happens at.
const META: &str = "meta_shop";

fn person(name: &str) -> Value {
    json!({"anonymous_id": name, "email": format!("{name}@example.com")})
}

/// Jane is whom the act is about. John is never: he has granted also what stricter rules ask for.
fn event(state: &str, name: &str) -> Value {
    let mut consent = granted();
    if name == "john" {
        consent["analytics_storage"] = json!("granted");
    }
    visit(&format!("{state}-{name}"), person(name), consent)
}

/// One relay in which both have an item in each state, none of which has left.
async fn prepared(folder: &Folder, sandbox: &OwnSandbox) -> Relay {
    let relay = Relay::start(folder).await;
    let fault = async |status: u16, latency_ms: u64| {
        let fault = json!({"platform": "meta", "error_rate": 1.0, "status": status, "latency_ms": latency_ms});
        sandbox.faults(&fault).await;
    };
    // Together, so that what is Jane's has to be taken out of what is both's.
    let post = async |state: &str| {
        let both = ["jane", "john"].map(|name| event(state, name));
        let (status, answer) = relay.post(&json!(both)).await;
        assert_eq!((status, &answer["accepted"]), (202, &json!(2)), "{answer}");
    };
    fault(400, 0).await;
    // One by one: a platform that refuses all of a batch is taken for broken.
    for (n, state) in [(1, "dead"), (3, "replayed")] {
        for (n, name) in [(n, "jane"), (n + 1, "john")] {
            relay.accept(&event(state, name)).await;
            relay.until("one more dies", |books| count(books, META, "dead") == n).await;
        }
    }

    // The replayed ones are on their way to a platform that takes its time, and will refuse.
    fault(503, 60_000).await;
    let (_, letters) = relay.admin("GET", "/admin/v1/dead", None).await;
    let letters = letters.as_array().expect("a list").iter();
    let is_replayed = |letter: &&Value| letter["event_id"].to_string().contains("replayed");
    let ids: Vec<&Value> = letters.filter(is_replayed).map(|letter| &letter["id"]).collect();
    let replay = json!({"ids": ids});
    let (_, answer) = relay.admin("POST", "/admin/v1/dead/replay", Some(replay)).await;
    assert_eq!(answer["count"], 2, "{answer}");
    relay.until("two are on their way", |books| count(books, META, "in_flight") == 2).await;
    // Leased is not yet sent, and the platform is only slow to what reaches it before it is quick.
    tokio::time::sleep(Duration::from_secs(1)).await;

    fault(503, 0).await;
    post("retrying").await;
    relay.until("two were tried", |books| count(books, META, "retried") >= 2).await;
    relay.pause(META, true).await;
    post("pending").await;
    let is_left = |books: &Value| count(books, "crm", "pending") + count(books, "crm", "in_flight");
    let waits = |books: &Value| count(books, META, "pending") == 4 && is_left(books) == 0;
    let books = relay.until("all wait, and only there", waits).await;
    assert_eq!(
        (count(&books, META, "in_flight"), count(&books, META, "dead")),
        (2, 2),
        "an item in each state, twice: {books:#}"
    );
    relay
}

/// Does it; how many items the answer says are reached, where an answer says it.
async fn act(act: Act, relay: &Relay, folder: &Folder) -> Option<u64> {
    let who = json!({"email": "JANE@example.com"});
    match act {
        Act::Rules(reload) => {
            stricter(folder);
            if reload == Reload::Signal {
                relay.signal(Signal::HUP);
                for _ in 0..300 {
                    let (_, acts) = relay.admin("GET", "/admin/v1/audit", None).await;
                    if acts.to_string().contains("SIGHUP") {
                        return None;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                panic!("the relay was never seen to read its configuration anew");
            }
            let (status, answer) = relay.admin("POST", "/admin/v1/config/reload", None).await;
            assert_eq!(status, 200, "{answer}");
            // Those that are dead may be discarded as well; those on their way may have left.
            assert_eq!(answer["will_withhold"], 2, "retrying and pending: {answer}");
            None
        }
        Act::Withdrawal => relay.privacy("withdraw", &who).await["count"].as_u64(),
        Act::Erasure => relay.privacy("erase", &who).await["count"].as_u64(),
        Act::Choice => {
            let body = json!({"user": who, "consent": denied(), "site": "shop"});
            let (status, answer) = relay.choose(&body).await;
            assert_eq!(status, 202, "{answer}");
            answer["queued_changed"].as_u64()
        }
        Act::Event => {
            relay.accept(&visit("refusal", json!({"anonymous_id": "jane"}), denied())).await;
            None
        }
    }
}

fn stricter(folder: &Folder) {
    folder.edit("consent.toml", |text| {
        let (is, becomes) = (
            "needs = [\"ad_storage\", \"ad_user_data\"]",
            "needs = [\"ad_storage\", \"ad_user_data\", \"analytics_storage\"]",
        );
        assert!(text.contains(is));
        text.replacen(is, becomes, 1)
    });
}

async fn nothing_leaves_after(what: Act, kill: Kill, engine: Engine) {
    let case = format!("{what:?}, killed {kill:?}, {}", engine.name());
    let sandbox = OwnSandbox::start().await;
    let folder = live(&sandbox);
    folder.edit("relay.toml", |text| format!("{text}\n[queue]\nengine = \"{}\"\n", engine.name()));
    folder.edit("destinations.toml", |text| {
        text.replacen("batch =", "timeout = \"90s\"\nbatch =", 1)
    });
    let relay = prepared(&folder, &sandbox).await;
    let (relay, reached) = match kill {
        Kill::After => {
            let reached = act(what, &relay, &folder).await;
            relay.kill().await;
            (Relay::start(&folder).await, reached)
        }
        Kill::Before => {
            relay.kill().await;
            if let Act::Rules(_) = what {
                stricter(&folder);
                (Relay::start(&folder).await, None)
            } else {
                let relay = Relay::start(&folder).await;
                let reached = act(what, &relay, &folder).await;
                (relay, reached)
            }
        }
    };
    if let Some(reached) = reached {
        // What is on its way may have left: it is not answered for, and is stopped when it comes back.
        let on_its_way = if kill == Kill::Before { 0 } else { 1 };
        assert_eq!(reached, 4 - on_its_way, "{case}");
    }

    // The platform recovers; whatever is dead is replayed; all that may leave does.
    sandbox.faults(&json!({"platform": "meta", "error_rate": 0.0})).await;
    let (status, answer) = relay.admin("POST", "/admin/v1/dead/replay", Some(json!({}))).await;
    assert_eq!(status, 200, "{case}: {answer}");
    relay.pause(META, false).await;
    let stats = relay.drained().await;
    assert_balanced(&stats);
    let mut johns = STATES.map(|state| format!("{state}-john"));
    johns.sort();
    assert_eq!(sandbox.accepted_ids("meta").await, johns, "{case}: {stats:#}");
    let books = &stats["destinations"];
    assert_eq!(count(books, META, "withdrawn"), 4, "{case}: {books:#}");
    assert_eq!(count(books, META, "delivered"), 4, "{case}: {books:#}");
    if let Act::Rules(_) = what {
        // Analytics was never asked for, and the law of the person's region wants a grant.
        assert_eq!(rulings(&relay).await, vec!["region/other"; 4], "{case}");
    }
    relay.stop().await;
}

/// By which rules of which configuration something was withdrawn, as the decision log has it.
async fn rulings(relay: &Relay) -> Vec<String> {
    let (_, log) = relay.admin("GET", "/admin/v1/evidence", None).await;
    let log = log.as_str().expect("a record a line").lines();
    let records = log.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let records: Vec<Value> = records.collect();
    let accepted = records.iter().find(|one| one["kind"] == "event").unwrap();
    let withdrawn = records.iter().filter(|one| one["outcome"] == "withdrawn");
    withdrawn
        .map(|one| {
            assert!(one["config"].is_string() && one["config"] != accepted["config"], "{one}");
            assert!(one["send"].is_null() && one["fields"].is_null(), "nothing was sent: {one}");
            one["rule"].as_str().unwrap_or("none").to_owned()
        })
        .collect()
}

/// A test for each act and engine, so that they run side by side.
macro_rules! acts {
    ($($sled:ident $redb:ident $act:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $sled() {
            for kill in [Kill::Before, Kill::After] {
                nothing_leaves_after($act, kill, Engine::Sled).await;
            }
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $redb() {
            for kill in [Kill::Before, Kill::After] {
                nothing_leaves_after($act, kill, Engine::Redb).await;
            }
        }
    )*};
}

acts! {
    rules_on_sled rules_on_redb Act::Rules(Reload::Call);
    rules_by_signal_on_sled rules_by_signal_on_redb Act::Rules(Reload::Signal);
    withdrawal_on_sled withdrawal_on_redb Act::Withdrawal;
    choice_on_sled choice_on_redb Act::Choice;
    event_on_sled event_on_redb Act::Event;
    erasure_on_sled erasure_on_redb Act::Erasure;
}
