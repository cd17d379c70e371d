//! Delivery over a queue of its own on disk, or in memory, with a clock that can be put.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use base64::Engine as _;
use conversion_relay::{
    clock::{self, Clock},
    config::{Config, Engine, QueueSettings, Retention},
    delivery::Delivery,
    destinations::Mode,
    job::Stored,
    queue::{
        Admission, AdmissionStatus, DestinationStats, Disk, JobLabel, NewJob, Opening, Part, Queue,
        QueueDecision, QueueFate, Whose,
    },
};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::doubles::prepared;

/// The machine's time, and by how much it is wrong, in seconds.
#[derive(Clone, Default)]
pub(super) struct Put(Arc<AtomicI64>);

impl Put {
    pub(super) fn by(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(super) fn clock(&self) -> Clock {
        let (off, system) = (Arc::clone(&self.0), clock::system());
        Arc::new(move || system() + SignedDuration::from_secs(off.load(Ordering::SeqCst)))
    }
}

pub(super) fn opening(folder: &Path, engine: Engine, clock: Clock) -> Opening {
    let days = |n: u64| Duration::from_secs(n * 86_400);
    let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    Opening {
        folder: folder.to_owned(),
        settings: QueueSettings {
            engine,
            max_pending: 1_000_000,
            max_pending_per_destination: 1_000_000,
            max_disk: u64::MAX,
            encryption_key: Some(key.into()),
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
        clock,
        random: [u8::try_from(folder.as_os_str().len() % 250).unwrap(); 32],
        disk: Disk::default(),
    }
}

/// An event for the destination `d`.
pub(super) fn admission(event_id: &str, now: Timestamp) -> Admission {
    let mut id = [0; 16];
    let bytes = event_id.as_bytes();
    id[..bytes.len().min(16)].copy_from_slice(&bytes[..bytes.len().min(16)]);
    let mut prepared = prepared(event_id);
    (prepared.time, prepared.expires_at) = (now, now + Duration::from_secs(86_400));
    let job = NewJob {
        id,
        label: JobLabel { event: "purchase".into(), event_id: event_id.into() },
        group: String::new(),
        expires_at: prepared.expires_at,
        subjects: Vec::new(),
        body: Stored::encode(prepared).unwrap(),
        refuse_when_full: true,
    };
    let decision = QueueDecision { destination: "d".into(), slot: 1, fate: QueueFate::Queued(job) };
    Admission {
        id,
        trace_id: id,
        event_id: event_id.to_owned(),
        order: Some(id),
        short_lived: false,
        test: false,
        status: AdmissionStatus::Accepted,
        whose: Whose::default(),
        parts: vec![Part { same_as: None, claim: None, reaches: None, decisions: vec![decision] }],
        trace: format!("trace of {event_id}").into_bytes(),
        grounds: Vec::new(),
        received_at: now,
    }
}

pub(super) fn deliver(config: Config, queue: &Queue, clock: Clock) -> Delivery<Queue> {
    let config = Arc::new(ArcSwap::from_pointee(config));
    Delivery::start(config, queue.clone(), clock, clock::chances(), CancellationToken::new())
}

pub(super) async fn books(queue: &Queue) -> DestinationStats {
    let stats = queue.stats().await;
    let books = stats.destinations.get("d").cloned().unwrap_or_default();
    assert!(books.balance(), "{books:#?}");
    books
}

/// Waits until everything was delivered, and nothing else became of it.
pub(super) async fn all_delivered(queue: &Queue, count: u64, limit: Duration, what: &str) {
    let done = async {
        loop {
            let books = books(queue).await;
            assert_eq!((books.dead, books.expired), (0, 0), "{what}: {books:#?}");
            if books.delivered == count {
                assert_eq!((books.pending, books.in_flight), (0, 0), "{what}: {books:#?}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(limit, done).await.is_err() {
        panic!("{what}: {:#?}", books(queue).await);
    }
}
