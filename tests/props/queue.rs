//! Random operations on the queue of every engine agree with the memory model, and the books balance after
//! every one of them.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use conversion_relay::{
    config::{Engine, QueueSettings, Retention},
    consent::ReasonCode,
    destinations::Mode,
    plan::{Claim, Per},
    queue::{
        Admission, AdmissionStatus, Admitted, Attempt, DeadFilter, DeadLetter, DestinationStats,
        Disk, JobLabel, JobVerdict, Lease, LeasedJob, MemoryDisk, NewJob, Opening, Part, Queue,
        QueueDecision, QueueFate, Ruling, Settlement, Stats, Whose,
    },
};
use jiff::Timestamp;
use proptest::prelude::*;

const START: i64 = 1_795_320_000_000;
const DESTINATIONS: [&str; 2] = ["meta", "ga4"];

#[derive(Debug, Clone)]
enum Operation {
    Admit(Vec<Incoming>),
    Lease { destination: usize, at_most: usize },
    Settle { lease: usize, outcomes: Vec<u8> },
    Release { lease: usize },
    MarkSending { lease: usize },
    Replay { destination: usize },
    Discard { pending: bool },
    Pass { seconds: i64 },
    Reopen,
}

#[derive(Debug, Clone)]
struct Incoming {
    id: u8,
    same_as: Option<u8>,
    person: Option<u8>,
    fates: [u8; 2],
    group: bool,
    size: usize,
    test: bool,
}

fn incoming() -> impl Strategy<Value = Incoming> {
    (
        0..24u8,
        proptest::option::weighted(0.3, 0..6u8),
        proptest::option::weighted(0.3, 0..4u8),
        [0..5u8, 0..5u8],
        any::<bool>(),
        prop_oneof![9 => 1..200usize, 1 => 9_000..30_000usize],
        proptest::bool::weighted(0.05),
    )
        .prop_map(|(id, same_as, person, fates, group, size, test)| Incoming {
            id,
            same_as,
            person,
            fates,
            group,
            size,
            test,
        })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => proptest::collection::vec(incoming(), 1..8).prop_map(Operation::Admit),
        4 => (0..2usize, 1..12usize)
            .prop_map(|(destination, at_most)| Operation::Lease { destination, at_most }),
        4 => (0..4usize, proptest::collection::vec(0..8u8, 1..12))
            .prop_map(|(lease, outcomes)| Operation::Settle { lease, outcomes }),
        1 => (0..4usize).prop_map(|lease| Operation::Release { lease }),
        1 => (0..4usize).prop_map(|lease| Operation::MarkSending { lease }),
        1 => (0..2usize).prop_map(|destination| Operation::Replay { destination }),
        1 => any::<bool>().prop_map(|pending| Operation::Discard { pending }),
        1 => (1..100i64).prop_map(|seconds| Operation::Pass { seconds }),
        1 => Just(Operation::Reopen),
    ]
}

/// Everything that can be seen of one operation.
#[derive(Debug, PartialEq)]
struct Seen {
    admitted: Vec<Admitted>,
    leased: Option<(Vec<LeasedJob>, bool)>,
    count: Option<u64>,
    dead: Vec<DeadLetter>,
    stats: Stats,
    oldest: Vec<Option<Timestamp>>,
    event_ids: u64,
}

#[derive(Debug, Clone)]
enum On {
    Engine(Engine),
    Memory(MemoryDisk),
}

struct Side {
    folder: tempfile::TempDir,
    on: On,
    queue: Queue,
    leases: VecDeque<Lease>,
    now: Arc<AtomicI64>,
    starts: u8,
}

impl Side {
    fn new(on: On) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicI64::new(START));
        let queue = open(folder.path(), &on, &now, 0);
        Self { folder, on, queue, leases: VecDeque::new(), now, starts: 0 }
    }

    async fn perform(&mut self, operation: &Operation) -> Seen {
        let (mut admitted, mut leased, mut count) = (Vec::new(), None, None);
        let now = || Timestamp::from_millisecond(self.now.load(Ordering::SeqCst)).unwrap();
        match operation {
            Operation::Admit(events) => {
                let events = events.iter().map(|event| admission(event, now())).collect();
                admitted = self.queue.admit(events).await.unwrap();
            }
            Operation::Lease { destination, at_most } => {
                if let Some(lease) =
                    self.queue.lease(DESTINATIONS[*destination], *at_most, 50).unwrap()
                {
                    leased = Some((lease.jobs.clone(), lease.unknown_result));
                    self.leases.push_back(lease);
                }
            }
            Operation::Settle { lease, outcomes } => {
                if let Some(lease) = self.leases.remove(*lease) {
                    let verdict = |n: usize| verdict(outcomes[n % outcomes.len()], &lease.jobs[n]);
                    let verdicts = (0..lease.jobs.len()).map(verdict).collect();
                    let settlement = Settlement { lease, verdicts, follow_ups: Vec::new() };
                    self.queue.settle(settlement).await.unwrap();
                }
            }
            Operation::Release { lease } => {
                if let Some(lease) = self.leases.remove(*lease) {
                    self.queue.release(lease);
                }
            }
            Operation::MarkSending { lease } => {
                if let Some(lease) = self.leases.get(*lease) {
                    self.queue.mark_sending(lease).await.unwrap();
                }
            }
            Operation::Replay { destination } => {
                let filter = DeadFilter {
                    destination: Some(DESTINATIONS[*destination].into()),
                    ..DeadFilter::default()
                };
                count = Some(self.queue.dead_replay(filter).await.unwrap());
            }
            Operation::Discard { pending } => {
                let filter = DeadFilter {
                    destination: Some(DESTINATIONS[0].into()),
                    pending: *pending,
                    ..DeadFilter::default()
                };
                count = Some(self.queue.dead_discard(filter).await.unwrap());
            }
            Operation::Pass { seconds } => {
                self.now.fetch_add(seconds * 1000, Ordering::SeqCst);
            }
            Operation::Reopen => {
                self.queue.close().await;
                self.leases.clear();
                self.starts += 1;
                self.queue = open(self.folder.path(), &self.on, &self.now, self.starts);
            }
        }
        Seen {
            admitted,
            leased,
            count,
            dead: self.queue.dead_list(DeadFilter::default()).await.unwrap(),
            stats: self.queue.stats().await,
            oldest: DESTINATIONS.iter().map(|name| self.queue.oldest(name)).collect(),
            event_ids: self.queue.vitals().event_ids,
        }
    }
}

fn open(folder: &Path, on: &On, now: &Arc<AtomicI64>, start: u8) -> Queue {
    let mut opening = opening(folder, now, start);
    match on {
        On::Memory(disk) => Queue::open_in_memory(opening, disk).unwrap(),
        On::Engine(engine) => {
            opening.settings.engine = *engine;
            Queue::open(opening).unwrap()
        }
    }
}

/// A small queue with a clock of its own.
pub(super) fn opening(folder: &Path, now: &Arc<AtomicI64>, start: u8) -> Opening {
    let days = |n: u64| Duration::from_secs(n * 86_400);
    let now = Arc::clone(now);
    Opening {
        folder: folder.to_owned(),
        settings: QueueSettings {
            engine: Engine::Sled,
            max_pending: 1000,
            max_pending_per_destination: 60,
            max_disk: u64::MAX,
            encryption_key: None,
            previous_keys: Vec::new(),
            subject_key: None,
        },
        retention: Retention {
            event_ids: days(7),
            event_ids_at_most: 1000,
            frequency: days(400),
            choices: days(180),
            queue: days(7),
            traces: days(3),
            dead_letters: days(30),
            evidence: days(400),
            journeys: days(90),
        },
        mode: Mode::Sandbox,
        clock: Arc::new(move || Timestamp::from_millisecond(now.load(Ordering::SeqCst)).unwrap()),
        random: [start; 32],
        disk: Disk::default(),
    }
}

fn hash(kind: u8, n: u8) -> [u8; 16] {
    let mut hash = [kind; 16];
    hash[..2].copy_from_slice(&[n, kind]);
    hash
}

fn admission(incoming: &Incoming, now: Timestamp) -> Admission {
    let id = hash(1, incoming.id);
    let decisions = DESTINATIONS
        .iter()
        .zip(incoming.fates)
        .map(|(destination, fate)| QueueDecision {
            destination: (*destination).into(),
            slot: 7,
            fate: match fate {
                0 => QueueFate::Skipped { is_mapped: incoming.group },
                1 => QueueFate::Held(ReasonCode::NoConsent),
                2 => QueueFate::Shadowed,
                _ => QueueFate::Queued(NewJob {
                    id,
                    label: JobLabel {
                        event: "purchase".into(),
                        event_id: format!("event-{}", incoming.id),
                    },
                    group: if incoming.group { "a".into() } else { "b".into() },
                    expires_at: now,
                    subjects: Vec::new(),
                    body: noise(incoming.id, incoming.size),
                    refuse_when_full: false,
                }),
            },
        })
        .collect();
    let claim = incoming.person.map(|person| Claim {
        subject: hash(2, person),
        event: "purchase".into(),
        at_most: 2,
        per: Some(Per::Hours(1)),
        at: now,
        day: jiff::civil::date(2026, 11, 22),
        not_after: None,
        by_event: id,
    });
    let same_as = incoming.same_as.map(|n| hash(3, n));
    Admission {
        id,
        trace_id: id,
        event_id: format!("event-{}", incoming.id),
        order: None,
        short_lived: false,
        test: incoming.test,
        status: AdmissionStatus::Accepted,
        whose: Whose::default(),
        parts: vec![Part { same_as, claim, reaches: None, decisions }],
        trace: vec![incoming.id; 40],
        grounds: Vec::new(),
        received_at: now,
    }
}

fn noise(seed: u8, size: usize) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    (0..size)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect()
}

fn verdict(outcome: u8, job: &LeasedJob) -> JobVerdict {
    let attempt = Attempt::default();
    match outcome {
        0 => JobVerdict::Keep,
        1 => JobVerdict::Dead { code: "rejected".into(), attempt },
        2 => JobVerdict::Expired { code: "too_old".into() },
        3 => JobVerdict::Withdrawn { reason: "no_consent".into(), ruling: Ruling::default() },
        4 => JobVerdict::Shadowed,
        5 | 6 => {
            let wait = Duration::from_secs(u64::from(job.id[0]));
            JobVerdict::Retry { wait, counts: outcome == 5, attempt }
        }
        _ => JobVerdict::Delivered(attempt),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_on_every_engine_agrees_with_the_model(
        operations in proptest::collection::vec(operation(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut model = Side::new(On::Memory(MemoryDisk::default()));
            let mut engines = Engine::ALL.map(|engine| Side::new(On::Engine(engine)));
            for operation in &operations {
                let expected = model.perform(operation).await;
                for side in &mut engines {
                    let seen = side.perform(operation).await;
                    prop_assert_eq!(&seen, &expected, "{:?} after {:?}", side.on, operation);
                }
                let unbalanced: Vec<_> = expected
                    .stats
                    .destinations
                    .iter()
                    .filter(|(_, books)| !balances(books))
                    .collect();
                prop_assert!(unbalanced.is_empty(), "{:?} after {:?}", unbalanced, operation);
                prop_assert_eq!(
                    expected.dead.len() as u64,
                    expected.stats.destinations.values().map(|books| books.dead).sum::<u64>()
                );
            }
            for side in engines {
                side.queue.close().await;
            }
            model.queue.close().await;
            Ok(())
        })?;
    }
}

fn balances(books: &DestinationStats) -> bool {
    books.balance()
}
