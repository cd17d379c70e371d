//! Between fresh events and backlog: `fresh_share` holds at every moment while there are both, for
//! any amounts, and neither what was never tried nor what is tried again waits for the other.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use conversion_relay::queue::{
    Admission, AdmissionStatus, Attempt, JobLabel, JobVerdict, MemoryDisk, NewJob, Part, Queue,
    QueueDecision, QueueFate, Settlement, Whose,
};
use jiff::Timestamp;
use proptest::prelude::*;

use super::queue::opening;

const START: i64 = 1_795_320_000_000;

#[derive(Debug, Clone)]
struct Backlog {
    retried: u64,
    old: u64,
    fresh: u64,
    /// Events of one commit, by turns.
    commits: Vec<u64>,
    at_most: usize,
    share: u8,
}

fn backlog() -> impl Strategy<Value = Backlog> {
    let commits = proptest::collection::vec(1..8u64, 1..6);
    (0..80u64, 0..120u64, 0..160u64, commits, 1..25usize, 0..=100u8).prop_map(
        |(retried, old, fresh, commits, at_most, share)| Backlog {
            retried,
            old,
            fresh,
            commits,
            at_most,
            share,
        },
    )
}

fn admission(n: u64, now: Timestamp) -> Admission {
    let mut id = [0x5a; 16];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    let job = NewJob {
        id,
        label: JobLabel { event: "purchase".into(), event_id: n.to_string() },
        group: String::new(),
        expires_at: now + std::time::Duration::from_secs(86_400),
        subjects: Vec::new(),
        body: vec![7; 30],
        refuse_when_full: false,
    };
    let fate = QueueFate::Queued(job);
    let decisions = vec![QueueDecision { destination: "d".into(), slot: 1, fate }];
    Admission {
        id,
        trace_id: id,
        event_id: String::new(),
        order: None,
        short_lived: false,
        test: false,
        status: AdmissionStatus::Accepted,
        whose: Whose::default(),
        parts: vec![Part { same_as: None, claim: None, reaches: None, decisions }],
        trace: Vec::new(),
        grounds: Vec::new(),
        received_at: now,
    }
}

/// Events from a number on, in commits of these sizes by turns.
async fn admit(queue: &Queue, from: u64, count: u64, commits: &[u64], now: Timestamp) {
    let (mut next, end) = (from, from + count);
    for size in commits.iter().cycle() {
        if next == end {
            return;
        }
        let last = (next + size).min(end);
        queue.admit((next..last).map(|n| admission(n, now)).collect()).await.unwrap();
        next = last;
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Served {
    fresh: u64,
    old: u64,
    retried: u64,
}

async fn holds(case: &Backlog) {
    let folder = tempfile::tempdir().unwrap();
    let (now, disk) = (Arc::new(AtomicI64::new(START)), MemoryDisk::default());
    let time = || Timestamp::from_millisecond(now.load(Ordering::SeqCst)).unwrap();
    let open = |start| {
        let mut opening = opening(folder.path(), &now, start);
        opening.settings.max_pending_per_destination = 10_000;
        Queue::open_in_memory(opening, &disk).unwrap()
    };
    let queue = open(1);
    admit(&queue, 0, case.retried, &case.commits, time()).await;
    // Not due again before each was tried.
    let wait = std::time::Duration::from_secs(2);
    while let Some(lease) = queue.lease("d", 5, 80).unwrap() {
        let retry = JobVerdict::Retry { wait, counts: true, attempt: Attempt::default() };
        let verdicts = vec![retry; lease.jobs.len()];
        let settlement = Settlement { lease, verdicts, follow_ups: Vec::new() };
        queue.settle(settlement).await.unwrap();
    }
    admit(&queue, case.retried, case.old, &case.commits, time()).await;
    // What is there at a start is backlog.
    queue.close().await;
    drop(queue);
    let queue = open(2);
    now.fetch_add(5_000, Ordering::SeqCst);
    let backlog = case.retried + case.old;
    admit(&queue, backlog, case.fresh, &case.commits, time()).await;

    let share = f64::from(case.share) / 100.0;
    // A lease is whole chunks; the first may be larger than asked for. The first look at a lane
    // that is empty does not know that yet.
    let slack = 2.0 * f64::from(u32::try_from(case.at_most.max(16)).unwrap());
    let (mut all, mut both, mut tries) = (Served::default(), Served::default(), Served::default());
    let mut seen = Vec::new();
    while let Some(lease) = queue.lease("d", case.at_most, case.share).unwrap() {
        let had_fresh = all.fresh < case.fresh;
        let (had_old, had_retried) = (all.old < case.old, all.retried < case.retried);
        let mut now = Served::default();
        for job in &lease.jobs {
            let n: u64 = job.label.event_id.parse().unwrap();
            seen.push(n);
            match n {
                n if n < case.retried => now.retried += 1,
                n if n < backlog => now.old += 1,
                _ => now.fresh += 1,
            }
        }
        let add = |sum: &mut Served| {
            sum.fresh += now.fresh;
            sum.old += now.old;
            sum.retried += now.retried;
        };
        add(&mut all);
        if had_fresh && (had_old || had_retried) {
            add(&mut both);
            let (fresh, rest) = (both.fresh as f64, (both.old + both.retried) as f64);
            let due = share * (fresh + rest);
            assert!((fresh - due).abs() <= slack, "{fresh} fresh of {both:?}, {due} due: {case:?}");
        }
        if had_old && had_retried && now.fresh == 0 {
            add(&mut tries);
            let apart = tries.old.abs_diff(tries.retried) as f64;
            assert!(apart <= slack, "{tries:?}: {case:?}");
        }
        let verdicts = vec![JobVerdict::Delivered(Attempt::default()); lease.jobs.len()];
        let settlement = Settlement { lease, verdicts, follow_ups: Vec::new() };
        queue.settle(settlement).await.unwrap();
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..backlog + case.fresh).collect::<Vec<_>>(), "each once: {case:?}");
    queue.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn fresh_share_holds_over_any_backlog_and_nothing_starves(case in backlog()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(holds(&case));
    }
}
