//! SIGKILL under load and while starting: nothing acknowledged is lost, every duplicate at a
//! platform has the same event id, and the books balance.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;

use crate::harness::{Folder, Relay, assert_balanced, purchase};

fn rounds() -> u32 {
    #[allow(clippy::disallowed_methods, reason = "the long version is chosen by the environment")]
    std::env::var("RELAY_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// A small generator, so that a round can be told by its number.
struct Moments(u64);

impl Moments {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_loses_nothing_acknowledged() {
    let folder = Folder::shipped();
    let sandbox = crate::harness::OwnSandbox::start().await;
    sandbox.point(&folder);

    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let mut moments = Moments(u64::from(rounds()));
    for round in 0..rounds() {
        // Every fourth round kills while the relay is starting.
        if round % 4 == 3 {
            let mut child = crate::harness::binary()
                .arg("serve")
                .args(["--config".as_ref(), folder.config().as_os_str()])
                .args(["--data".as_ref(), folder.data().as_os_str()])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            tokio::time::sleep(Duration::from_millis(1 + moments.next(120))).await;
            child.kill().await.unwrap();
        }
        let relay = Arc::new(Relay::start(&folder).await);
        assert_balanced(&relay.stats().await);
        let mut senders = Vec::new();
        for sender in 0..4 {
            let (relay, acknowledged) = (relay.clone(), acknowledged.clone());
            senders.push(tokio::spawn(async move {
                for n in 0.. {
                    let ids: Vec<String> =
                        (0..3).map(|i| format!("r{round}-s{sender}-n{n}-{i}")).collect();
                    let events: Vec<_> = ids.iter().map(|id| purchase(id)).collect();
                    let Some((status, answer)) = relay.try_post(&json!(events)).await else { return };
                    if status != 202 {
                        return;
                    }
                    assert_eq!(answer["accepted"], 3, "{answer}");
                    acknowledged.lock().unwrap().extend(ids);
                }
            }));
        }
        tokio::time::sleep(Duration::from_millis(30 + moments.next(600))).await;
        for sender in &senders {
            sender.abort();
        }
        for sender in senders {
            let _ = sender.await;
        }
        let relay = Arc::into_inner(relay).expect("no sender holds it any more");
        relay.kill().await;
    }

    let relay = Relay::start(&folder).await;
    let stats = relay.drained_within(Duration::from_secs(120)).await;
    assert_balanced(&stats);
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > 100, "the load was real: {}", acknowledged.len());
    assert!(stats["accepted"].as_u64().unwrap() >= acknowledged.len() as u64);

    let mut table = Vec::new();
    for (destination, platform) in sandbox.by_event_id() {
        let mut arrived: BTreeMap<String, u64> = BTreeMap::new();
        for id in sandbox.accepted_ids(platform).await {
            *arrived.entry(id).or_default() += 1;
        }
        let lost: Vec<_> = acknowledged.iter().filter(|id| !arrived.contains_key(*id)).collect();
        assert!(lost.is_empty(), "{destination} never got {} events: {lost:?}", lost.len());
        let duplicated = arrived.values().filter(|count| **count > 1).count();
        let books = &stats["destinations"][destination];
        assert_eq!(books["dead"], 0, "{destination}: {books}");
        table.push((destination, arrived.len(), duplicated));
    }
    println!("rounds {}, acknowledged {}, lost 0", rounds(), acknowledged.len());
    for (destination, arrived, duplicated) in table {
        println!("{destination}: {arrived} arrived, {duplicated} of them more than once, each by its own id");
    }
    relay.stop().await;
}
