//! Figures by hand: `cargo test --release --test it speed -- --ignored --nocapture`, with
//! `RELAY_EVENTS=1250000` for five million jobs.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "figures, not a test"]
async fn speed() {
    let mut house = House::new();
    house.settings.max_pending = 10_000_000;
    house.settings.max_pending_per_destination = 10_000_000;
    house.retention.event_ids_at_most = 10_000_000;
    let queue = house.open();
    #[allow(clippy::disallowed_methods, reason = "a long run is chosen by the environment")]
    let events = std::env::var("RELAY_EVENTS").map_or(250_000, |text| text.parse().unwrap());
    let watch = conversion_relay::clock::Stopwatch::start();
    let next = Arc::new(AtomicU64::new(0));
    let posting: Vec<_> = (0..16)
        .map(|_| {
            let (queue, next) = (queue.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let from = next.fetch_add(100, Ordering::SeqCst);
                    if from >= events {
                        return;
                    }
                    queue.admit(batch(from)).await.unwrap();
                }
            })
        })
        .collect();
    for post in posting {
        post.await.unwrap();
    }
    let took = watch.elapsed().as_secs_f64();
    let vitals = queue.vitals();
    println!("admitted {:.0} events/s, {vitals:?}, {}", events as f64 / took, resident());
    // What a SIGKILL leaves.
    let mut killed = House::new();
    fs::create_dir_all(killed.store()).unwrap();
    for file in files(&house.path) {
        fs::copy(&file, killed.path.join(file.strip_prefix(&house.path).unwrap())).unwrap();
    }
    queue.close().await;
    drop(queue);
    (killed.settings, killed.retention) = (house.settings.clone(), house.retention);
    let watch = conversion_relay::clock::Stopwatch::start();
    let queue = killed.open();
    let jobs = queue.vitals().jobs;
    let bytes: u64 = files(&killed.store()).iter().map(|f| fs::metadata(f).unwrap().len()).sum();
    println!(
        "{}: start after SIGKILL with {jobs} jobs: {:?}, {}, {} MiB on disk",
        engine().name(),
        watch.elapsed(),
        resident(),
        bytes >> 20
    );
    queue.close().await;
    drop(queue);
    drop(killed);
    let watch = conversion_relay::clock::Stopwatch::start();
    let queue = house.open();
    println!("start with {} jobs: {:?}, {}", queue.vitals().jobs, watch.elapsed(), resident());
    let watch = conversion_relay::clock::Stopwatch::start();
    let draining: Vec<_> = ["meta", "google_ads", "ga4", "hook"]
        .into_iter()
        .map(|name| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let mut jobs = 0;
                while jobs < 50_000 {
                    let lease = queue.lease(name, 1000, 80).unwrap().unwrap();
                    jobs += lease.jobs.len();
                    settle(&queue, lease, delivered).await;
                }
                jobs
            })
        })
        .collect();
    let mut drained = 0;
    for drain in draining {
        drained += drain.await.unwrap();
    }
    let rate = drained as f64 / watch.elapsed().as_secs_f64();
    println!("drained {rate:.0} jobs/s, {}", resident());
    assert!(balanced(&queue.stats().await));
    queue.close().await;
}

/// What a file of 100,000 orders, and 100,000 dead letters of many causes, take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "figures, not a test"]
async fn costs() {
    const ALL: u64 = 100_000;
    let mut house = House::new();
    let queue = house.open();
    for from in (0..ALL).step_by(1_000) {
        let events = (from..from + 1_000).map(|n| Admission {
            order: Some(id(n)),
            trace: vec![7; 600],
            ..simple(n)
        });
        queue.admit(events.collect()).await.unwrap();
    }
    while let Some(lease) = queue.lease("meta", 1_000, 80).unwrap() {
        let verdict = |n: usize| {
            let attempt = Attempt { message: format!("wrong in item {n}"), ..attempt() };
            JobVerdict::Dead { code: "rejected".into(), attempt }
        };
        settle(&queue, lease, verdict).await;
    }
    println!("{}: {}", engine().name(), resident());
    let watch = conversion_relay::clock::Stopwatch::start();
    let mut found = 0;
    for from in (0..ALL).step_by(5_000) {
        let orders = queue.orders((from..from + 5_000).map(id).collect()).await.unwrap();
        let events = orders.values().flatten().map(|event| event.event).collect();
        found += queue.traces(events).await.unwrap().len();
    }
    println!("{found} orders with their traces: {:?}, {}", watch.elapsed(), resident());
    let watch = conversion_relay::clock::Stopwatch::start();
    let groups = queue.dead_groups(DeadFilter::default()).await.unwrap().groups;
    let count: u64 = groups.iter().map(|group| group.count).sum();
    println!("{count} letters of {} causes: {:?}, {}", groups.len(), watch.elapsed(), resident());
    queue.close().await;
}

fn resident() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned()
}

/// Half of it random, as digests are; half of it like all others, as texts are.
fn body(n: u64) -> Vec<u8> {
    let mut body = format!("purchase {n} shop_us").into_bytes();
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..24 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.extend_from_slice(&state.to_le_bytes());
    }
    body.extend(b"properties currency USD value 129.90 items id SKU name Shoe".repeat(4));
    body
}

fn batch(from: u64) -> Vec<Admission> {
    let destinations = ["meta", "google_ads", "ga4", "hook"];
    let decisions =
        |n| destinations.map(|name| send(name, NewJob { body: body(n), ..job(n) })).to_vec();
    let admission = |n| Admission { trace: vec![b't'; 200], ..event(n, decisions(n)) };
    (from..from + 100).map(admission).collect()
}
