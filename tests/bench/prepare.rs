//! What one event costs of one core: reading, the street for all destinations, the admission.
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
    pipeline::{self, Street, SubjectKey},
    sources::{Door, json, native},
};

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
    let street = Street { config: &config, key: &key, geoip: &geoip, remembered: &remembered };
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
}
