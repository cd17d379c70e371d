//! The queue on disk: admission, leases, books, recovery, and each engine's traps. The suite stands
//! twice in the program, under a name an engine.

mod bounds;
mod folder;
mod kept;
mod leases;
mod migrate;
mod people;
mod seen;
mod speed;
mod traps;
mod upkeep;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use conversion_relay::{
    config::{Engine, QueueSettings, Retention},
    consent::ReasonCode,
    destinations::Mode,
    plan::{Claim, Milestone, Per},
    queue::{
        Admission, AdmissionStatus, Admitted, Attempt, DeadFilter, DestinationStats, Disk, JobKind,
        JobLabel, JobVerdict, Lease, MemoryDisk, NewJob, Opening, Part, Queue, QueueDecision,
        QueueFate, Refused, Settlement, Stats, Whose,
    },
};
use jiff::Timestamp;
use tempfile::TempDir;

const DAY: i64 = 86_400_000;
const START: i64 = 1_795_320_000_000;

/// The engine of this copy of the suite.
fn engine() -> Engine {
    if module_path!().ends_with("::queue_on_redb") { Engine::Redb } else { Engine::Sled }
}

/// A data folder, a clock and settings from which a queue is opened again and again.
struct House {
    _folder: TempDir,
    path: PathBuf,
    now: Arc<AtomicI64>,
    free: Arc<AtomicU64>,
    starts: u8,
    settings: QueueSettings,
    retention: Retention,
    mode: Mode,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let days = |n: u64| Duration::from_secs(n * 86_400);
        Self {
            path: folder.path().join("data"),
            _folder: folder,
            now: Arc::new(AtomicI64::new(START)),
            free: Arc::new(AtomicU64::new(u64::MAX)),
            starts: 0,
            settings: QueueSettings {
                engine: engine(),
                max_pending: 1_000_000,
                max_pending_per_destination: 1_000_000,
                max_disk: u64::MAX,
                encryption_key: Some(key(7)),
                previous_keys: Vec::new(),
                subject_key: None,
            },
            retention: Retention {
                event_ids: days(7),
                event_ids_at_most: 1_000_000,
                frequency: days(400),
                choices: days(180),
                queue: days(7),
                traces: days(3),
                dead_letters: days(30),
                evidence: days(400),
                journeys: days(90),
            },
            mode: Mode::Sandbox,
        }
    }

    fn opening(&mut self) -> Opening {
        self.starts += 1;
        let (now, free) = (Arc::clone(&self.now), Arc::clone(&self.free));
        Opening {
            folder: self.path.clone(),
            settings: self.settings.clone(),
            retention: self.retention,
            mode: self.mode,
            clock: Arc::new(move || {
                Timestamp::from_millisecond(now.load(Ordering::SeqCst)).unwrap()
            }),
            random: [self.starts; 32],
            disk: Disk {
                floor_bytes: 1024,
                free: Arc::new(move |_: &Path| Ok(free.load(Ordering::SeqCst))),
            },
        }
    }

    fn open(&mut self) -> Queue {
        Queue::open(self.opening()).unwrap()
    }

    fn refusal(&mut self) -> String {
        Queue::open(self.opening()).unwrap_err().to_string()
    }

    async fn reopen(&mut self, queue: Queue) -> Queue {
        queue.close().await;
        self.open()
    }

    fn pass(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::SeqCst);
    }

    /// The store's own folder.
    fn store(&self) -> PathBuf {
        self.path.join(engine().name())
    }
}

fn key(byte: u8) -> secrecy::SecretString {
    BASE64.encode([byte; 32]).into()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

fn id(n: u64) -> [u8; 16] {
    let mut id = [0xa5; 16];
    // Fingerprints are taken from the front, as of a random hash.
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    id
}

fn job(n: u64) -> NewJob {
    NewJob {
        id: id(n),
        label: JobLabel { event: "purchase".into(), event_id: format!("event-{n}") },
        group: String::new(),
        expires_at: at(START + 7 * DAY),
        subjects: vec![[9; 16]],
        body: format!("body of {n}").into_bytes(),
        refuse_when_full: false,
    }
}

fn send(destination: &str, job: NewJob) -> QueueDecision {
    QueueDecision { destination: destination.into(), slot: 1, fate: QueueFate::Queued(job) }
}

fn fate(destination: &str, fate: QueueFate) -> QueueDecision {
    QueueDecision { destination: destination.into(), slot: 1, fate }
}

fn part(decisions: Vec<QueueDecision>) -> Part {
    Part { same_as: None, claim: None, reaches: None, decisions }
}

fn event(n: u64, decisions: Vec<QueueDecision>) -> Admission {
    Admission {
        id: id(n),
        trace_id: id(n),
        event_id: format!("event-{n}"),
        order: None,
        short_lived: false,
        test: false,
        status: AdmissionStatus::Accepted,
        whose: Whose::default(),
        parts: vec![part(decisions)],
        trace: format!("trace of {n}").into_bytes(),
        grounds: Vec::new(),
        received_at: at(START),
    }
}

fn simple(n: u64) -> Admission {
    event(n, vec![send("meta", job(n))])
}

fn accepted(queued: u32, held: u32) -> Admitted {
    Admitted::Accepted { queued, held }
}

async fn one(queue: &Queue, admission: Admission) -> Admitted {
    queue.admit(vec![admission]).await.unwrap()[0]
}

fn attempt() -> Attempt {
    Attempt {
        status: 400,
        reason: "100".into(),
        message: "Invalid parameter".into(),
        took: Duration::from_millis(12),
        ..Attempt::default()
    }
}

async fn settle(queue: &Queue, lease: Lease, verdict: impl Fn(usize) -> JobVerdict) {
    let verdicts = (0..lease.jobs.len()).map(verdict).collect();
    queue.settle(Settlement { lease, verdicts, follow_ups: Vec::new() }).await.unwrap();
}

fn dead(_: usize) -> JobVerdict {
    JobVerdict::Dead { code: "rejected".into(), attempt: attempt() }
}

fn delivered(_: usize) -> JobVerdict {
    JobVerdict::Delivered(Attempt::default())
}

async fn books(queue: &Queue, destination: &str) -> DestinationStats {
    let stats = queue.stats().await;
    assert!(balanced(&stats), "{stats:#?}");
    stats.destinations[destination].clone()
}

fn balanced(stats: &Stats) -> bool {
    stats.destinations.values().all(DestinationStats::balance)
}

fn ids_of(lease: &Lease) -> Vec<String> {
    lease.jobs.iter().map(|job| job.label.event_id.clone()).collect()
}

/// Waits until something holds; the committer sweeps on a real second's tick.
async fn soon(mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never came to hold");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}
