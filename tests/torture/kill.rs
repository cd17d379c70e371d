//! SIGKILL under load and while starting, over each engine: nothing acknowledged is lost, every
//! duplicate at a platform has the same event id, and the books balance.
//!
//! Moments are random; what they hit is what the relay does all the time: taking events, committing,
//! leasing, sending, settling, moving records to the decision log, growing and shrinking its files,
//! wrapping its keys anew (every fourth round asks for it), and, in every other round, starting.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use conversion_relay::{clock::Stopwatch, config::Engine};
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Folder, OwnSandbox, Relay, assert_balanced, purchase};

fn rounds() -> u32 {
    #[allow(clippy::disallowed_methods, reason = "the long version is chosen by the environment")]
    std::env::var("RELAY_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// A small generator, so that a round can be told by its number.
struct Moments(u64);

impl Moments {
    fn next(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// An event whose order bears its id, so that platforms that know only orders are counted alike.
fn numbered(id: &str) -> serde_json::Value {
    let mut event = purchase(id);
    event["properties"]["order_id"] = json!(id);
    event
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_loses_nothing_acknowledged_on_sled() {
    kill_loses_nothing_acknowledged(Engine::Sled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_loses_nothing_acknowledged_on_redb() {
    kill_loses_nothing_acknowledged(Engine::Redb).await;
}

/// The key's file of a relay that is told of new keys while it runs.
fn rotating(folder: &Folder, round: u32) {
    let key = |round: u32| BASE64.encode([u8::try_from(round % 251).unwrap(); 32]);
    let file = |name: &str| folder.dir.path().join(name);
    std::fs::write(file("previous"), key(round.saturating_sub(1))).unwrap();
    std::fs::write(file("key"), key(round)).unwrap();
}

async fn kill_loses_nothing_acknowledged(engine: Engine) {
    let mut folder = Folder::shipped();
    folder.use_engine(engine);
    let file = |name: &str| format!("{{ file = {:?} }}", folder.dir.path().join(name));
    let (key, previous) = (file("key"), file("previous"));
    folder.edit("relay.toml", |text| {
        let keys = format!("encryption_key = {key}\nprevious_keys = [{previous}]");
        text.replace("encryption_key = { env = \"RELAY_QUEUE_KEY\" }", &keys)
    });
    let mut rotations = 0;
    rotating(&folder, rotations);
    let sandbox = OwnSandbox::start().await;
    sandbox.point(&mut folder);
    // Answers take a while, so that kills find sends in flight; some fail, so that they find
    // retries too.
    sandbox.faults(&json!({"latency_ms": 20, "error_rate": 0.05, "status": 503})).await;
    let folder = folder;

    let sent = Arc::new(Mutex::new(BTreeSet::new()));
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let mut moments = Moments(u64::from(rounds()));
    let mut start_ms = 200;
    let mut recoveries = Vec::new();
    for round in 0..rounds() {
        // Every other round kills while the relay is starting, at any moment of that.
        if round % 2 == 1 {
            let mut child = folder.serve().stderr(Stdio::null()).spawn().unwrap();
            tokio::time::sleep(Duration::from_millis(1 + moments.next(start_ms))).await;
            child.kill().await.unwrap();
        }
        let watch = Stopwatch::start();
        let relay = Arc::new(Relay::start(&folder).await);
        start_ms = u64::try_from(watch.elapsed().as_millis()).unwrap().max(1);
        if round > 0 {
            recoveries.push(start_ms);
        }
        assert_balanced(&relay.stats().await);
        let mut senders = Vec::new();
        for sender in 0..4 {
            let (relay, sent, acknowledged) = (relay.clone(), sent.clone(), acknowledged.clone());
            senders.push(tokio::spawn(async move {
                for n in 0.. {
                    let ids: Vec<String> =
                        (0..3).map(|i| format!("r{round}-s{sender}-n{n}-{i}")).collect();
                    sent.lock().unwrap().extend(ids.iter().cloned());
                    let events: Vec<_> = ids.iter().map(|id| numbered(id)).collect();
                    let Some((status, answer)) = relay.try_post(&json!(events)).await else {
                        return;
                    };
                    assert_eq!(status, 202, "{answer}");
                    assert_eq!(answer["accepted"], 3, "{answer}");
                    acknowledged.lock().unwrap().extend(ids);
                    // A pace at which the test ends with little left to drain.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }));
        }
        let moment = Duration::from_millis(30 + moments.next(600));
        if round % 4 == 3 {
            rotations += 1;
            rotating(&folder, rotations);
            tokio::time::sleep(moment / 2).await;
            relay.signal(Signal::HUP);
        }
        tokio::time::sleep(moment).await;
        // Killed while requests are on their way: what they would have answered is not known.
        relay.kill_now();
        for sender in senders {
            sender.await.expect("what was answered was right");
        }
        let relay = Arc::into_inner(relay).expect("no sender holds it any more");
        relay.kill().await;
    }

    sandbox.faults(&json!({"latency_ms": 0})).await;
    let relay = Relay::start(&folder).await;
    let stats = relay.drained_within(Duration::from_secs(120)).await;
    assert_balanced(&stats);
    let acknowledged = acknowledged.lock().unwrap().clone();
    let sent = sent.lock().unwrap().clone();
    let accepted = stats["accepted"].as_u64().unwrap();
    assert!(acknowledged.len() > 100, "the load was real: {}", acknowledged.len());
    assert!(accepted >= acknowledged.len() as u64 && accepted <= sent.len() as u64, "{accepted}");

    let mut duplicated = 0;
    for (destination, platform, how) in DESTINATIONS {
        let mut arrived: BTreeMap<String, u64> = BTreeMap::new();
        for id in sandbox.accepted_ids(platform).await {
            *arrived.entry(id).or_default() += 1;
        }
        let lost: Vec<_> = acknowledged.iter().filter(|id| !arrived.contains_key(*id)).collect();
        assert!(lost.is_empty(), "{destination} never got {} events: {lost:?}", lost.len());
        // Sent again means under the same id: there are no others than those that were posted.
        let strange: Vec<_> = arrived.keys().filter(|id| !sent.contains(*id)).collect();
        assert!(strange.is_empty(), "{destination} got ids that nobody sent: {strange:?}");
        let books = &stats["destinations"][destination];
        assert_eq!(arrived.len() as u64, accepted, "{destination}: each event once, by its id");
        assert_eq!(books["delivered"], accepted, "{destination}: {books:#}");
        let again = arrived.iter().filter(|(_, count)| **count > 1);
        let again: Vec<_> = again.map(|(id, count)| format!("{id} ({count} times)")).collect();
        duplicated += again.len();
        println!(
            "{destination} ({how}): {} arrived, again by the same id: {}",
            arrived.len(),
            if again.is_empty() { "none".to_owned() } else { again.join(", ") }
        );
    }
    relay.stop().await;
    recoveries.sort_unstable();
    println!(
        "| SIGKILL, engine | rounds | acknowledged | lost | duplicated | recovery, median | longest |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    println!(
        "| {} | {} | {} | 0 | {duplicated} | {} ms | {} ms |",
        engine.name(),
        rounds(),
        acknowledged.len(),
        recoveries[recoveries.len() / 2],
        recoveries.last().unwrap()
    );
}

/// The shipped destinations, their platforms, and what tells a duplicate there.
const DESTINATIONS: [(&str, &str, &str); 4] = [
    ("meta", "meta", "deduplicates by event id"),
    ("google_ads", "google_ads", "deduplicates by transaction id"),
    ("ga4", "ga4", "deduplicates purchases by transaction id"),
    ("crm", "webhook", "does not deduplicate: on_unknown = \"retry\""),
];
