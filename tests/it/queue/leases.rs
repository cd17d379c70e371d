//! Leases: order, groups, retries, who waits.

use super::*;

#[tokio::test]
async fn a_job_comes_out_as_it_went_in() {
    let mut house = House::new();
    let queue = house.open();
    assert_eq!(one(&queue, simple(1)).await, accepted(1, 0));
    let lease = queue.lease("meta", 10, 80).unwrap().unwrap();
    assert_eq!(lease.destination, "meta");
    assert!(!lease.unknown_result);
    let got = &lease.jobs[0];
    assert_eq!(got.body, b"body of 1");
    assert_eq!(got.label, job(1).label);
    assert_eq!((got.id, got.slot, got.kind), (id(1), 1, JobKind::Event));
    assert_eq!(got.subjects, vec![[9; 16]]);
    assert_eq!(got.expires_at_ms, START + 7 * DAY);
    assert_eq!((got.accepted_at_ms, got.attempts, got.sends), (START, 0, 0));
    let stats = books(&queue, "meta").await;
    assert_eq!((stats.accepted, stats.pending, stats.in_flight), (1, 0, 1));
    assert!(queue.lease("meta", 10, 80).unwrap().is_none(), "leased once only");
    settle(&queue, lease, delivered).await;
    let stats = books(&queue, "meta").await;
    assert_eq!((stats.delivered, stats.in_flight), (1, 0));
    let queue = house.reopen(queue).await;
    assert!(queue.lease("meta", 10, 80).unwrap().is_none());
    assert_eq!(books(&queue, "meta").await.delivered, 1);
    queue.close().await;
}

#[tokio::test]
async fn order_is_kept_and_a_lease_is_whole_chunks_of_one_group() {
    let mut house = House::new();
    let queue = house.open();
    for n in 0..30 {
        let mut job = job(n);
        job.group = if n % 2 == 0 { "even".into() } else { "odd".into() };
        queue.admit(vec![event(n, vec![send("meta", job)])]).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut leases = 0;
    while let Some(lease) = queue.lease("meta", 4, 80).unwrap() {
        assert!(lease.jobs.len() <= 4);
        assert!(lease.jobs.iter().all(|job| job.group == lease.jobs[0].group));
        let numbers: Vec<u64> =
            lease.jobs.iter().map(|j| j.label.event_id[6..].parse().unwrap()).collect();
        assert!(numbers.is_sorted());
        seen.extend(numbers);
        leases += 1;
        settle(&queue, lease, delivered).await;
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..30).collect::<Vec<_>>());
    assert!(leases <= 9, "{leases} leases");
    queue.close().await;
}

#[tokio::test]
async fn a_released_lease_comes_again_first() {
    let mut house = House::new();
    let queue = house.open();
    for n in 0..3 {
        one(&queue, simple(n)).await;
    }
    let first = queue.lease("meta", 1, 80).unwrap().unwrap();
    let second = queue.lease("meta", 1, 80).unwrap().unwrap();
    assert_eq!(ids_of(&first), ["event-0"]);
    queue.release(first);
    assert_eq!(books(&queue, "meta").await.in_flight, 1);
    let again = queue.lease("meta", 1, 80).unwrap().unwrap();
    assert_eq!(ids_of(&again), ["event-0"]);
    settle(&queue, second, |_| JobVerdict::Keep).await;
    let kept = queue.lease("meta", 1, 80).unwrap().unwrap();
    assert_eq!(ids_of(&kept), ["event-1"]);
    queue.close().await;
}

#[tokio::test]
async fn retries_wait_for_their_time_and_come_in_few_chunks() {
    let mut house = House::new();
    let queue = house.open();
    let many: Vec<_> = (0..200).map(simple).collect();
    queue.admit(many).await.unwrap();
    let lease = queue.lease("meta", 1000, 80).unwrap().unwrap();
    assert_eq!(lease.jobs.len(), 200);
    let wait = |n: usize| Duration::from_millis(10_000 + u64::try_from(n).unwrap() * 100);
    settle(&queue, lease, |n| JobVerdict::Retry {
        wait: wait(n),
        counts: n % 2 == 0,
        attempt: attempt(),
    })
    .await;
    assert!(queue.lease("meta", 1000, 80).unwrap().is_none(), "not before its time");
    assert_eq!(books(&queue, "meta").await.retried, 200);
    let queue = house.reopen(queue).await;
    assert!(queue.lease("meta", 1000, 80).unwrap().is_none(), "not after a start either");
    house.pass(60_000);
    let mut jobs = Vec::new();
    let mut chunks = 0;
    while let Some(lease) = queue.lease("meta", 1000, 80).unwrap() {
        chunks += lease.chunks.len();
        jobs.extend(lease.jobs);
    }
    assert_eq!(jobs.len(), 200);
    assert!(chunks < 40, "{chunks} chunks");
    assert!(jobs.iter().all(|job| job.sends == 1));
    assert_eq!(jobs.iter().filter(|job| job.attempts == 1).count(), 100);
    queue.close().await;
}

#[tokio::test]
async fn a_clock_that_steps_back_stalls_nothing() {
    let mut house = House::new();
    let queue = house.open();
    one(&queue, simple(1)).await;
    let lease = queue.lease("meta", 1, 80).unwrap().unwrap();
    let retry = |_| JobVerdict::Retry {
        wait: Duration::from_secs(5 * 24 * 60 * 60),
        counts: true,
        attempt: attempt(),
    };
    settle(&queue, lease, retry).await;
    assert!(queue.lease("meta", 1, 80).unwrap().is_none());
    house.pass(-10 * DAY);
    let lease = queue.lease("meta", 1, 80).unwrap();
    assert!(lease.is_some(), "a time that far off is not believed");
    queue.close().await;
}

#[tokio::test]
async fn a_wait_is_neither_longer_nor_shorter_for_a_clock_that_is_put_back() {
    let mut house = House::new();
    let queue = house.open();
    one(&queue, simple(1)).await;
    for back in [60 * 60 * 1000, 2 * 60 * 60 * 1000] {
        let lease = queue.lease("meta", 1, 80).unwrap().unwrap();
        let retry = |_| JobVerdict::Retry {
            wait: Duration::from_secs(60),
            counts: true,
            attempt: attempt(),
        };
        settle(&queue, lease, retry).await;
        house.pass(30_000);
        assert!(queue.lease("meta", 1, 80).unwrap().is_none(), "half of the wait");
        house.pass(-back);
        assert!(queue.lease("meta", 1, 80).unwrap().is_none(), "the other half");
        house.pass(34_000);
    }
    assert!(queue.lease("meta", 1, 80).unwrap().is_some());
    queue.close().await;
}

#[tokio::test]
async fn fresh_jobs_and_backlog_share() {
    let mut house = House::new();
    let queue = house.open();
    for n in 0..100 {
        one(&queue, simple(n)).await;
    }
    for _ in 0..50 {
        let lease = queue.lease("meta", 1, 80).unwrap().unwrap();
        let retry =
            |_| JobVerdict::Retry { wait: Duration::ZERO, counts: true, attempt: attempt() };
        settle(&queue, lease, retry).await;
    }
    house.pass(2000);
    let mut fresh = 0;
    for _ in 0..50 {
        let lease = queue.lease("meta", 1, 80).unwrap().unwrap();
        fresh += usize::from(lease.jobs[0].sends == 0);
        settle(&queue, lease, delivered).await;
    }
    assert!((38..=42).contains(&fresh), "{fresh} of 50");
    queue.close().await;
}

#[tokio::test]
async fn follow_ups_are_in_no_book_and_in_no_lease_with_events() {
    let mut house = House::new();
    let queue = house.open();
    one(&queue, simple(1)).await;
    one(&queue, simple(2)).await;
    let lease = queue.lease("meta", 1, 80).unwrap().unwrap();
    let follow_ups = vec![(Duration::ZERO, b"ask".to_vec())];
    let verdicts = vec![delivered(0)];
    queue.settle(Settlement { lease, verdicts, follow_ups }).await.unwrap();
    house.pass(5000);
    let mut kinds = Vec::new();
    while let Some(lease) = queue.lease("meta", 10, 80).unwrap() {
        kinds.push((lease.jobs.len(), lease.jobs[0].kind));
        if lease.jobs[0].kind == JobKind::FollowUp {
            assert_eq!(lease.jobs[0].body, b"ask");
            settle(&queue, lease, |_| JobVerdict::Done).await;
        }
    }
    kinds.sort_by_key(|(_, kind)| *kind == JobKind::FollowUp);
    assert_eq!(kinds, [(1, JobKind::Event), (1, JobKind::FollowUp)]);
    let stats = books(&queue, "meta").await;
    assert_eq!((stats.accepted, stats.delivered, stats.in_flight), (2, 1, 1));
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_is_woken() {
    let mut house = House::new();
    let queue = house.open();
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move {
            loop {
                queue.wait_due("meta").await;
                if let Some(lease) = queue.lease("meta", 1, 80).unwrap() {
                    return ids_of(&lease);
                }
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    one(&queue, simple(5)).await;
    let got = tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    assert_eq!(got, ["event-5"]);
    queue.close().await;
}

#[tokio::test]
async fn fresh_events_do_not_wait_behind_a_backlog_that_was_never_tried() {
    let mut house = House::new();
    let queue = house.open();
    for n in 0..40 {
        one(&queue, simple(n)).await;
    }
    // Nobody leased for an hour; then events come again.
    house.pass(60 * 60 * 1000);
    assert!(queue.lease("nobody", 1, 80).unwrap().is_none());
    let first = queue.lease("meta", 1, 80).unwrap().unwrap();
    queue.release(first);
    house.pass(6 * 60 * 1000);
    for n in 40..80 {
        one(&queue, simple(n)).await;
    }
    let mut fresh_of_first_ten = 0;
    let mut all = Vec::new();
    while let Some(lease) = queue.lease("meta", 1, 80).unwrap() {
        let number: u64 = lease.jobs[0].label.event_id[6..].parse().unwrap();
        if all.len() < 10 {
            fresh_of_first_ten += u32::from(number >= 40);
        }
        all.push(number);
        settle(&queue, lease, delivered).await;
    }
    assert_eq!(fresh_of_first_ten, 8, "{all:?}");
    let mut sorted = all.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..80).collect::<Vec<_>>(), "each once: {all:?}");
    assert!(
        all.iter().filter(|n| **n >= 40).is_sorted() && all.iter().filter(|n| **n < 40).is_sorted()
    );

    // After a start everything that waited is backlog.
    for n in 80..100 {
        one(&queue, simple(n)).await;
    }
    let queue = house.reopen(queue).await;
    one(&queue, simple(100)).await;
    let lease = queue.lease("meta", 1, 80).unwrap().unwrap();
    assert_eq!(ids_of(&lease), ["event-100"]);
    queue.release(lease);
    queue.close().await;
}
