//! What one event costs of one core: reading, the street for all destinations, the admission; then
//! the street for twelve platforms, and writing a batch of 1,000 for each platform.
#![allow(missing_docs, reason = "a bench is a program")]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "it measures and prints"
)]

use std::{hint::black_box, net::IpAddr, path::Path};

use conversion_relay::{
    config::{self, LoadOptions, Secrets},
    consent::Whereabouts,
    destinations::REGISTRY,
    job::{Fate, Prepared},
    pipeline::{self, Street, SubjectKey},
    sources::{Door, json, native},
};

/// The program's own (`src/main.rs`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rounds of each run, where the first argument does not say.
const ROUNDS: u32 = 20_000;

/// Nanoseconds that this thread was on a core: what others take of a shared machine is not counted.
fn on_cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let rounds: u32 = rounds.unwrap_or(ROUNDS);
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let options = LoadOptions {
        secrets: Secrets::Placeholder,
        sandbox_base: None,
        env: &|_| None,
        registry: REGISTRY,
    };
    let config = config::load(&dir, &options).config.unwrap();
    let key = SubjectKey::new(&[7; 32]);
    let geoip = |_: IpAddr| None;
    let remembered = |_: &[[u8; 16]]| Default::default();
    let street = Street {
        config: &config,
        key: &key,
        geoip: &geoip,
        remembered: &remembered,
        refused_since: &|_, _| None,
    };
    let whereabouts = Whereabouts { event_is_believed: true, ..Whereabouts::default() };
    let now = "2026-11-22T04:00:00Z".parse().unwrap();
    let text = r#"{"event": "purchase", "event_id": "bench-1", "site": "shop_us", "timestamp": "2026-11-22T03:59:00Z",
        "user": {"external_id": "u-1", "email": "jane.1@example.com", "phone": "+1 415 555 0133",
          "first_name": "Jane", "last_name": "Doe", "city": "San Francisco", "region": "CA", "postal_code": "94107", "country": "US"},
        "context": {"ip": "203.0.113.9", "user_agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15",
          "page_url": "https://shop.example/thanks?gclid=EAIaIQobChMI&utm_source=google", "session_id": "s-1"},
        "click_ids": {"fbp": "fb.1.1558571054389.1098115397", "ga_client_id": "1234567890.1700000000", "ga_session_id": "1700000000"},
        "consent": {"ad_storage": "granted", "ad_user_data": "granted", "ad_personalization": "granted", "analytics_storage": "granted", "region": "US-CA"},
        "properties": {"value": "129.90", "currency": "USD", "order_id": "order-1", "tax": "9.90", "shipping": "5.00",
          "items": [{"id": "SKU-1", "name": "Shoe", "quantity": 1, "price": "129.90"}]}}"#;

    let per = |start: u64| (on_cpu() - start) as f64 / 1e3 / f64::from(rounds);
    // The median of five runs of each stage.
    let median = |mut run: Box<dyn FnMut() -> f64>| {
        let mut runs: Vec<f64> = (0..5).map(|_| run()).collect();
        runs.sort_by(f64::total_cmp);
        runs.get(2).copied().unwrap_or_default()
    };
    let parse = median(Box::new(|| {
        let start = on_cpu();
        for _ in 0..rounds {
            black_box(json::parse(black_box(text), 32).unwrap());
        }
        per(start)
    }));
    let node = json::parse(text, 32).unwrap();
    let read = native::read(&node, &Door::default(), &config, now).unwrap();
    let reading = median(Box::new(|| {
        let start = on_cpu();
        for _ in 0..rounds {
            black_box(native::read(&node, &Door::default(), &config, now).unwrap());
        }
        per(start)
    }));
    let copying = median(Box::new(|| {
        let start = on_cpu();
        for _ in 0..rounds {
            black_box(read.clone());
        }
        per(start)
    }));
    let running = median(Box::new(|| {
        let start = on_cpu();
        for _ in 0..rounds {
            black_box(pipeline::run(&street, read.clone(), &whereabouts, now).unwrap());
        }
        per(start)
    }));
    let admitting = median(Box::new(|| {
        let start = on_cpu();
        for _ in 0..rounds {
            let verdict = pipeline::run(&street, read.clone(), &whereabouts, now).unwrap();
            black_box(verdict.admission(&street));
        }
        per(start)
    }));
    println!(
        "| stage, one event of {} bytes, {} destinations | µs of one core |",
        text.len(),
        config.destinations.len()
    );
    println!("| --- | --- |");
    println!("| parse JSON | {parse:.1} |");
    println!("| read the event | {reading:.1} |");
    println!("| plan, consent, value, prepare for all destinations | {:.1} |", running - copying);
    println!("| admission (encode jobs and trace) | {:.1} |", admitting - running);
    twelve_destinations(rounds);
}

/// How many platforms one event is prepared for, and how many events a batch holds.
const DESTINATIONS: usize = 12;
const BATCH: u32 = 1_000;

/// A purchase with every field set, for the first twelve platforms of the registry and then, 1,000
/// times, for each platform whose requests hold more than one event.
fn twelve_destinations(rounds: u32) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/all-platforms");
    let options = LoadOptions {
        secrets: Secrets::Placeholder,
        sandbox_base: None,
        env: &|_| None,
        registry: REGISTRY,
    };
    let all = config::load(&dir, &options).config.unwrap();
    let mut twelve = config::load(&dir, &options).config.unwrap();
    let first: Vec<&str> = REGISTRY.iter().take(DESTINATIONS).map(|it| it.name).collect();
    twelve.destinations.retain(|_, destination| first.contains(&destination.platform.name));
    let text = std::fs::read_to_string(dir.join("events/purchase.json")).unwrap();
    let now = "2026-11-22T04:00:00Z".parse().unwrap();
    let (key, geoip) = (SubjectKey::new(&[7; 32]), |_: IpAddr| None);
    let remembered = |_: &[[u8; 16]]| Default::default();
    let whereabouts = Whereabouts { event_is_believed: true, ..Whereabouts::default() };
    let node = json::parse(&text, 32).unwrap();
    let read =
        |config: &config::Config| native::read(&node, &Door::default(), config, now).unwrap();

    let (street, event) = (
        Street {
            config: &twelve,
            key: &key,
            geoip: &geoip,
            remembered: &remembered,
            refused_since: &|_, _| None,
        },
        read(&twelve),
    );
    let median = |mut run: Box<dyn FnMut() -> f64 + '_>| {
        let mut runs: Vec<f64> = (0..5).map(|_| run()).collect();
        runs.sort_by(f64::total_cmp);
        runs.get(2).copied().unwrap_or_default()
    };
    let time = |work: &dyn Fn()| {
        median(Box::new(|| {
            let start = on_cpu();
            (0..rounds).for_each(|_| work());
            (on_cpu() - start) as f64 / 1e3 / f64::from(rounds)
        }))
    };
    let copying = time(&|| drop(black_box(event.clone())));
    let running = time(&|| {
        black_box(pipeline::run(&street, event.clone(), &whereabouts, now).unwrap());
    });
    println!("\n| stage, one purchase with every field set | µs of one core | wanted |");
    println!("| --- | --- | --- |");
    let sent = twelve.destinations.len();
    println!(
        "| plan, consent, value, prepare for {sent} platforms | {:.1} | 80 |",
        running - copying
    );

    let street = Street {
        config: &all,
        key: &key,
        geoip: &geoip,
        remembered: &remembered,
        refused_since: &|_, _| None,
    };
    let verdict = pipeline::run(&street, read(&all), &whereabouts, now).unwrap();
    println!("\n| writing a batch of {BATCH} | requests | µs of one core an event | wanted |");
    println!("| --- | --- | --- | --- |");
    for decided in verdict.parts.iter().flat_map(|part| &part.decisions) {
        let destination = all.destinations.get(&decided.destination).unwrap();
        let Fate::Send(prepared) = &decided.fate else {
            panic!("{} is not sent it: {:?}", decided.destination, decided.fate)
        };
        if destination.platform.batch.events == 1 {
            continue;
        }
        let jobs: Vec<Prepared> = (0..BATCH)
            .map(|n| Prepared { event_id: format!("order-{n}"), ..(**prepared).clone() })
            .collect();
        let requests = destination.handler.assemble(&jobs, now).len();
        let times = (rounds / BATCH).max(1);
        let each = median(Box::new(|| {
            let start = on_cpu();
            for _ in 0..times {
                black_box(destination.handler.assemble(black_box(&jobs), now));
            }
            (on_cpu() - start) as f64 / 1e3 / f64::from(times * BATCH)
        }));
        println!("| {} | {requests} | {each:.1} | 5 |", decided.destination);
    }
}
