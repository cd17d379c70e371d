//! More than can be taken: a flood of ten times what delivery takes, thousands of connections that
//! do nothing, hundreds that are slow. Memory stays bounded, what is refused is refused early and
//! cheaply, and afterwards everything is as before. `RELAY_SOAK=600` also runs steadily for so many
//! seconds and watches memory, file and latency.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet, time::Instant};

use crate::harness::{Folder, KEY, OwnSandbox, Relay, assert_balanced, purchase};

#[allow(clippy::disallowed_methods, reason = "the long version is chosen by the environment")]
fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Resident memory of the relay, MiB.
fn memory(relay: &Relay) -> u64 {
    let path = format!("/proc/{}/status", relay.child.id().unwrap());
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn percentile(times: &mut [Duration], of: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * of / 100).min(times.len() - 1)]
}

/// Answers by status, and how long each took.
#[derive(Default)]
struct Tally {
    accepted: Vec<Duration>,
    refused: Vec<Duration>,
    without_wait: usize,
    acknowledged: Vec<String>,
}

async fn one(relay: &Relay, id: String, tally: &mut Tally) {
    let begun = Instant::now();
    let answer = relay.send(&purchase(&id).to_string()).await;
    let took = begun.elapsed();
    match answer.status().as_u16() {
        202 => {
            tally.accepted.push(took);
            tally.acknowledged.push(id);
        }
        429 | 503 => {
            tally.without_wait += usize::from(!answer.headers().contains_key("retry-after"));
            tally.refused.push(took);
        }
        other => panic!("{other}: {}", answer.text().await.unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_refused_early_and_forgotten() {
    let mut folder = Folder::shipped();
    let sandbox = OwnSandbox::start().await;
    sandbox.point(&mut folder);
    // Delivery takes 5 events a second, and 100 may wait.
    folder.edit("destinations.toml", |text| {
        let limit = "rate_limit = { requests_per_second = 5 }\nbatch = { max_events = 1 }\n";
        text.replace(
            "platform = \"meta\"\n",
            &format!("platform = \"meta\"\n{limit}when_full = \"refuse\"\n"),
        )
    });
    folder.edit("relay.toml", |text| {
        text.replace("#max_pending_per_destination = 2000000", "max_pending_per_destination = 100")
            .replace(
                "requests_per_second = 2000, burst = 4000",
                "requests_per_second = 100000, burst = 100000",
            )
    });
    let relay = Arc::new(Relay::start(&folder).await);
    let idle = memory(&relay);
    let (seconds, senders) = (setting("RELAY_FLOOD", 8), 16);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut flood = JoinSet::new();
    for sender in 0..senders {
        let relay = relay.clone();
        flood.spawn(async move {
            let (mut tally, mut number) = (Tally::default(), 0);
            while Instant::now() < until {
                one(&relay, format!("flood-{sender}-{number}"), &mut tally).await;
                number += 1;
            }
            tally
        });
    }
    let mut all = Tally::default();
    let mut most = idle;
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            _ = tick.tick() => most = most.max(memory(&relay)),
            tally = flood.join_next() => match tally {
                Some(tally) => {
                    let tally = tally.unwrap();
                    all.accepted.extend(tally.accepted);
                    all.refused.extend(tally.refused);
                    all.acknowledged.extend(tally.acknowledged);
                    all.without_wait += tally.without_wait;
                }
                None => break,
            }
        }
    }
    let offered = all.accepted.len() + all.refused.len();
    assert!(offered as u64 >= 50 * seconds, "ten times what delivery takes: {offered}");
    assert!(!all.refused.is_empty(), "a full queue refuses");
    assert_eq!(all.without_wait, 0, "who is refused is told when to come again");
    assert!(most < 300, "{most} MiB");

    // Once there is room, events are taken as before, and nothing acknowledged is missing.
    let begun = Instant::now();
    let mut tally = Tally::default();
    let mut number = 0;
    while tally.accepted.is_empty() {
        one(&relay, format!("after-{number}"), &mut tally).await;
        number += 1;
        assert!(begun.elapsed() < Duration::from_secs(30), "it recovers");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let recovery = begun.elapsed();
    all.acknowledged.extend(tally.acknowledged);
    let stats = relay.drained_within(Duration::from_secs(120)).await;
    assert_balanced(&stats);
    let arrived: std::collections::HashSet<String> =
        sandbox.accepted_ids("meta").await.into_iter().collect();
    let lost = all.acknowledged.iter().filter(|id| !arrived.contains(*id)).count();
    assert_eq!(lost, 0, "of {}", all.acknowledged.len());
    let (accepted, refused) = (percentile(&mut all.accepted, 99), percentile(&mut all.refused, 99));
    println!(
        "flood: offered {offered} in {seconds} s, acknowledged {}, refused {}, lost 0; p99 \
         acknowledged {accepted:.1?}, refused {refused:.1?}; memory {idle} to {most} MiB; recovery \
         {recovery:.1?}",
        all.acknowledged.len(),
        all.refused.len(),
    );
    assert!(refused < Duration::from_secs(1), "refusing is cheap: {refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_and_slow_connections_keep_nobody_waiting() {
    let (idle, slow) = (2_000, 200);
    // This process holds one end of each.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < 2 * (idle + slow)) {
        println!("skipped: the system allows too few open files");
        return;
    }
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();

    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let before = memory(&relay);
    let address = relay.public.trim_start_matches("http://").to_owned();
    let mut kept = Vec::new();
    for _ in 0..idle {
        kept.push(TcpStream::connect(&address).await.unwrap());
    }
    // A byte now and then: half of them never end their head, half their body.
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: 5000\r\n"
    );
    let mut dripping = JoinSet::new();
    for number in 0..slow {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let begin = if number % 2 == 0 { head.clone() } else { format!("{head}\r\n[") };
        dripping.spawn(async move {
            stream.write_all(begin.as_bytes()).await.ok();
            let begun = Instant::now();
            // Until it is hung up on.
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(500)).await;
                if begun.elapsed() > Duration::from_secs(90) {
                    return false;
                }
            }
            true
        });
    }
    let mut times = Vec::new();
    for number in 0..200 {
        let begun = Instant::now();
        let (status, answer) = relay.post(&purchase(&format!("normal-{number}"))).await;
        assert_eq!(status, 202, "{answer}");
        times.push(begun.elapsed());
    }
    let p99 = percentile(&mut times, 99);
    let during = memory(&relay);
    assert!(p99 < Duration::from_secs(1), "{p99:?}");
    assert!(during < 300, "{during} MiB");
    let begun = Instant::now();
    let mut ended = 0;
    while let Some(one) = dripping.join_next().await {
        ended += usize::from(one.unwrap());
    }
    let took = begun.elapsed();
    assert_eq!(ended, usize::try_from(slow).unwrap(), "slow ones are hung up on");
    let (status, _) = relay.post(&purchase("afterwards")).await;
    assert_eq!(status, 202);
    relay.stop().await;
    println!(
        "connections: {idle} idle, {slow} slow; p99 of others {p99:.1?}; memory {before} to {during} \
         MiB; slow ones were hung up on within {took:.0?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_steady_load_stays_steady() {
    let seconds = setting("RELAY_SOAK", 0);
    if seconds == 0 {
        println!("soak: only with RELAY_SOAK=SECONDS");
        return;
    }
    let folder = Folder::shipped();
    folder.edit("relay.toml", |text| {
        text.replace(
            "requests_per_second = 2000, burst = 4000",
            "requests_per_second = 100000, burst = 100000",
        )
        .replace(
            "#event_ids = { keep = \"7d\", at_most = 10000000 }",
            "event_ids = { keep = \"10s\", at_most = 100000 }",
        )
        .replace("#traces = \"3d\"", "traces = \"10s\"")
    });
    let mut serve = folder.serve();
    // What arrives is not kept in the memory that is measured.
    serve.arg("--fast-sandbox");
    let relay = Relay::of(serve).await.unwrap();
    let begun = Instant::now();
    // Samples of three thirds: memory, bytes on disk, p99.
    let mut thirds: Vec<(u64, u64, Duration)> = Vec::new();
    let mut number = 0;
    for third in 1..=3 {
        let mut times = Vec::new();
        let until = Duration::from_secs(seconds * third / 3);
        while begun.elapsed() < until {
            let events: Vec<Value> =
                (0..10).map(|n| purchase(&format!("soak-{}", number + n))).collect();
            number += 10;
            let asked = Instant::now();
            let (status, answer) = relay.post(&json!(events)).await;
            assert_eq!(status, 202, "{answer}");
            times.push(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        thirds.push((
            memory(&relay),
            size(&folder.data().join("sled")),
            percentile(&mut times, 99),
        ));
    }
    assert_balanced(&relay.drained().await);
    println!(
        "soak: {number} events in {seconds} s; MiB, bytes of the store, p99 by third: {thirds:?}"
    );
    relay.stop().await;
    let (first, last) = (thirds[0], thirds[2]);
    assert!(last.0 <= first.0 * 3 / 2 + 50, "memory grows: {thirds:?}");
    assert!(last.1 <= first.1 * 4 + (64 << 20), "the store grows: {thirds:?}");
    assert!(last.2 <= first.2 * 3 + Duration::from_millis(50), "slower and slower: {thirds:?}");
}

fn size(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().filter_map(Result::ok);
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}
