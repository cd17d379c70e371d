//! Figures by hand: `cargo test --release --test it queue::speed -- --ignored --nocapture`.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "figures, not a test"]
async fn speed() {
    let mut house = House::new();
    house.settings.max_pending = 10_000_000;
    house.settings.max_pending_per_destination = 10_000_000;
    house.retention.event_ids_at_most = 10_000_000;
    let queue = house.open();
    let events: u64 = 250_000;
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
    queue.close().await;
    drop(queue);
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
                    settle(&queue, lease, delivered, at(START)).await;
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
