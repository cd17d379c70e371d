//! The decision log: what it says, that a crash neither loses nor doubles a record, and that every
//! kind of tampering is found and named.

mod relay;
mod tampering;
mod writer;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use arc_swap::ArcSwap;
use conversion_relay::{
    config::{self, Config, LoadOptions, Secrets},
    consent::Whereabouts,
    destinations::REGISTRY,
    evidence::{self, Announce, Report, Wanted, Writer},
    pipeline::{self, Street, SubjectKey},
    queue::{Disk, Opening, Queue},
    sources::{Door, json, native},
};
use jiff::Timestamp;
use serde_json::{Value, json};

const START: &str = "2026-11-22T12:00:00Z";
const DAY: i64 = 86_400;

/// A data folder with a queue, a clock and a writer that moves when it is told to.
struct House {
    _folder: tempfile::TempDir,
    data: PathBuf,
    config: Arc<ArcSwap<Config>>,
    now: Arc<AtomicI64>,
    starts: u8,
    told: Arc<Mutex<Vec<Value>>>,
    webhook_is_down: Arc<Mutex<bool>>,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = LoadOptions {
            secrets: Secrets::Placeholder,
            sandbox_base: None,
            env: &|_| None,
            registry: REGISTRY,
        };
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        let loaded = config::load(&shipped, &options);
        let mut config = loaded.config.unwrap();
        let data = folder.path().join("data");
        let now = START.parse().unwrap();
        evidence::keep_configuration(&data, &config.hash, &loaded.files, now).unwrap();
        // No key is configured: the folder has its own.
        config.queue.encryption_key = None;
        config.queue.previous_keys = Vec::new();
        Self {
            data,
            _folder: folder,
            config: Arc::new(ArcSwap::from_pointee(config)),
            now: Arc::new(AtomicI64::new(START.parse::<Timestamp>().unwrap().as_second())),
            starts: 0,
            told: Arc::default(),
            webhook_is_down: Arc::default(),
        }
    }

    fn open(&mut self) -> Queue {
        self.starts += 1;
        let now = self.now.clone();
        let config = self.config.load();
        let queue = Queue::open(Opening {
            folder: self.data.clone(),
            settings: config.queue.clone(),
            retention: config.retention,
            mode: config.mode,
            clock: Arc::new(move || Timestamp::from_second(now.load(Ordering::SeqCst)).unwrap()),
            random: [self.starts; 32],
            disk: Disk { floor_bytes: 1024, ..Disk::default() },
        })
        .unwrap();
        queue.keep_evidence(true);
        queue
    }

    fn writer(&self, queue: &Queue) -> Writer {
        let (told, is_down) = (self.told.clone(), self.webhook_is_down.clone());
        let announce: Announce = Arc::new(move |body| {
            let (told, is_down) = (told.clone(), *is_down.lock().unwrap());
            Box::pin(async move {
                if is_down {
                    return Err("down".to_owned());
                }
                told.lock().unwrap().push(serde_json::from_str(&body).unwrap());
                Ok(())
            })
        });
        let now = self.now.clone();
        let clock = Arc::new(move || Timestamp::from_second(now.load(Ordering::SeqCst)).unwrap());
        Writer::new(queue.clone(), self.data.clone(), self.config.clone(), clock, announce)
    }

    fn later(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Admits an event, decided as `serve` decides it.
    async fn admit(&self, queue: &Queue, event: &Value) {
        let config = self.config.load_full();
        let key = SubjectKey::new(&queue.subject_secret());
        let now = Timestamp::from_second(self.now.load(Ordering::SeqCst)).unwrap();
        let admission = {
            let nothing = |_: &[[u8; 16]]| conversion_relay::consent::memory::Remembered::default();
            let street = Street {
                config: &config,
                key: &key,
                geoip: &|_| None,
                remembered: &nothing,
                refused_since: &|_, _| None,
            };
            let text = event.to_string();
            let node = json::parse(&text, 32).unwrap();
            let whereabouts = Whereabouts { event_is_believed: true, ..Whereabouts::default() };
            let read = native::read(&node, &Door::default(), &config, now).unwrap();
            pipeline::run(&street, read, &whereabouts, now).unwrap().admission(&street)
        };
        queue.admit(vec![admission]).await.unwrap();
    }

    async fn admit_all(&self, queue: &Queue, from: u64, to: u64) {
        for n in from..=to {
            self.admit(queue, &event(&format!("e-{n}"))).await;
        }
    }

    fn verify(&self, queue: &Queue) -> Report {
        evidence::verify(queue, &self.data).unwrap()
    }

    #[allow(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn lines(&self, queue: &Queue, wanted: Wanted) -> Vec<Value> {
        let mut lines = Vec::new();
        let show = &mut |_: &str, record: &Value| lines.push(record.clone());
        evidence::read(queue, &self.data, &wanted, show).unwrap();
        lines
    }

    fn files(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.data.join("evidence")) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".log")).collect();
        names.sort();
        names
    }

    fn file(&self, name: &str) -> PathBuf {
        self.data.join("evidence").join(name)
    }
}

/// A purchase in California, of somebody who granted everything.
fn event(id: &str) -> Value {
    json!({
        "event": "purchase", "event_id": id, "site": "shop_us",
        "user": {"external_id": format!("u-{id}"), "email": format!("jane.{id}@example.com")},
        "context": {
            "ip": "203.0.113.9", "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
            "page_url": "https://shop.example/thanks",
        },
        "consent": {
            "ad_storage": "granted", "ad_user_data": "granted", "ad_personalization": "granted",
            "analytics_storage": "granted", "region": "US-CA", "us_privacy": "1YNN",
            "id": "choice-1", "collected_at": "2026-11-01T09:00:00Z", "method": "banner",
            "text_version": "7", "language": "en",
        },
        "properties": {"value": "12.50", "currency": "USD", "order_id": format!("o-{id}")},
    })
}

/// How often each event id is told of, by kind.
fn told_of(records: &[Value], kind: &str) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    for record in records.iter().filter(|record| record["kind"] == kind) {
        *told.entry(record["event_id"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    told
}
