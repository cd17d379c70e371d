//! Dead letters, traces, and what ends by itself.

use super::*;

#[tokio::test]
async fn dead_letters_are_listed_replayed_and_discarded() {
    let mut house = House::new();
    let queue = house.open();
    for n in 0..5 {
        one(&queue, simple(n)).await;
        house.pass(1000);
        let lease = queue.lease("meta", 1, 80).unwrap().unwrap();
        settle(&queue, lease, dead).await;
    }
    let queue = house.reopen(queue).await;
    let all = queue.dead_list(DeadFilter::default()).await.unwrap();
    assert_eq!(all.len(), 5);
    assert_eq!(all[0].event_id, "event-4", "newest first");
    let one_of = &all[0];
    assert_eq!((one_of.event.as_str(), one_of.destination.as_str()), ("purchase", "meta"));
    assert_eq!((one_of.reason.as_str(), one_of.attempts), ("rejected", 1));
    assert_eq!(one_of.message, "100: Invalid parameter");
    let limited = DeadFilter { limit: Some(2), ..DeadFilter::default() };
    assert_eq!(queue.dead_list(limited).await.unwrap().len(), 2);
    let other = DeadFilter { destination: Some("ga4".into()), ..DeadFilter::default() };
    assert_eq!(queue.dead_list(other.clone()).await.unwrap(), []);
    assert_eq!(queue.dead_replay(other).await.unwrap(), 0);

    let ids = vec![all[0].id.clone(), all[1].id.clone(), "no-id".into()];
    let these = DeadFilter { ids: Some(ids), ..DeadFilter::default() };
    assert_eq!(queue.dead_replay(these).await.unwrap(), 2);
    let none = DeadFilter { ids: Some(Vec::new()), ..DeadFilter::default() };
    assert_eq!(queue.dead_discard(none.clone()).await.unwrap(), 0, "an empty list is not all");
    assert_eq!(queue.dead_replay(none).await.unwrap(), 0);
    let stats = books(&queue, "meta").await;
    assert_eq!((stats.dead, stats.pending), (3, 2));
    let lease = queue.lease("meta", 10, 80).unwrap().unwrap();
    assert_eq!(lease.jobs.len(), 2);
    assert_eq!(lease.jobs[0].attempts, 0);
    assert_eq!(lease.jobs[0].body, b"body of 3");
    settle(&queue, lease, dead).await;

    let rejected = DeadFilter { reason: Some("rejected".into()), ..DeadFilter::default() };
    assert_eq!(queue.dead_discard(rejected).await.unwrap(), 5);
    let stats = books(&queue, "meta").await;
    assert_eq!((stats.dead, stats.discarded), (0, 5));
    assert_eq!(queue.dead_list(DeadFilter::default()).await.unwrap(), []);
    queue.close().await;
}

#[tokio::test]
async fn many_dead_letters_are_replayed_in_bites() {
    let mut house = House::new();
    let queue = house.open();
    queue.admit((0..700).map(simple).collect()).await.unwrap();
    while let Some(lease) = queue.lease("meta", 1000, 80).unwrap() {
        settle(&queue, lease, dead).await;
    }
    assert_eq!(queue.dead_replay(DeadFilter::default()).await.unwrap(), 700);
    let stats = books(&queue, "meta").await;
    assert_eq!((stats.dead, stats.pending), (0, 700));
    queue.close().await;
}

#[tokio::test]
async fn what_is_pending_for_a_removed_destination_is_discarded_by_hand() {
    let mut house = House::new();
    let queue = house.open();
    queue.admit((0..300).map(simple).collect()).await.unwrap();
    one(&queue, event(1000, vec![send("ga4", job(1000))])).await;
    let held = queue.lease("meta", 1, 80).unwrap().unwrap();
    let leased = u64::try_from(held.jobs.len()).unwrap();
    let filter =
        DeadFilter { destination: Some("meta".into()), pending: true, ..DeadFilter::default() };
    assert_eq!(queue.dead_discard(filter).await.unwrap(), 300 - leased);
    let stats = books(&queue, "meta").await;
    assert_eq!((stats.discarded, stats.pending, stats.in_flight), (300 - leased, 0, leased));
    assert!(queue.lease("meta", 10, 80).unwrap().is_none());
    assert_eq!(books(&queue, "ga4").await.pending, 1);
    queue.close().await;
}

#[tokio::test]
async fn a_trace_holds_every_copy_and_attempt() {
    let mut house = House::new();
    let queue = house.open();
    one(&queue, simple(1)).await;
    one(&queue, simple(2)).await;
    one(&queue, simple(1)).await;
    let lease = queue.lease("meta", 1, 80).unwrap().unwrap();
    house.pass(1000);
    settle(&queue, lease, dead).await;
    queue.dead_replay(DeadFilter::default()).await.unwrap();
    let queue = house.reopen(queue).await;
    let trace = queue.trace(id(1)).await.unwrap();
    let copies: Vec<_> = trace.copies.iter().map(|copy| copy.status.as_str()).collect();
    assert_eq!(copies, ["accepted", "duplicate"]);
    assert_eq!(trace.copies[0].record, b"trace of 1");
    let outcomes: Vec<_> = trace.outcomes.iter().map(|o| o.outcome.as_str()).collect();
    assert_eq!(outcomes, ["dead", "replayed"]);
    assert_eq!(trace.outcomes[0].attempt, Some(attempt()));
    assert_eq!(trace.outcomes[0].code, "rejected");
    assert_eq!(trace.outcomes[0].at, at(START + 1000));
    assert_eq!(queue.trace(id(77)).await.unwrap().copies.len(), 0);
    queue.close().await;
}

#[tokio::test]
async fn what_is_over_ends_by_itself() {
    let mut house = House::new();
    let queue = house.open();
    one(&queue, simple(1)).await;
    let lease = queue.lease("meta", 1, 80).unwrap().unwrap();
    settle(&queue, lease, dead).await;
    one(&queue, event(2, vec![send("gone", job(2))])).await;
    house.pass(4 * DAY);
    soon(async || queue.trace(id(1)).await.unwrap().copies.is_empty()).await;
    assert_eq!(books(&queue, "gone").await.pending, 1);
    house.pass(4 * DAY);
    soon(async || books(&queue, "gone").await.expired == 1).await;
    assert!(queue.lease("gone", 1, 80).unwrap().is_none());
    assert_eq!(queue.dead_list(DeadFilter::default()).await.unwrap().len(), 1);
    house.pass(30 * DAY);
    soon(async || books(&queue, "meta").await.discarded == 1).await;
    soon(async || queue.vitals().event_ids == 0).await;
    assert_eq!(books(&queue, "meta").await.dead, 0);
    queue.close().await;
}

#[tokio::test]
async fn what_nobody_leases_expires_by_whose_clock_ran_out() {
    let mut house = House::new();
    let queue = house.open();
    let lasting = |n: u64, days: i64| NewJob { expires_at: at(START + days * DAY), ..job(n) };
    // One of the platform's window, one of the relay's own; both in one chunk.
    let both = [1, 2].map(|n| {
        let days = if n == 1 { 6 } else { 7 };
        event(n, vec![send("gone", lasting(n, days))])
    });
    queue.admit(both.to_vec()).await.unwrap();
    house.pass(5 * DAY);
    assert_eq!(books(&queue, "gone").await.pending, 2);
    house.pass(3 * DAY);
    soon(async || books(&queue, "gone").await.expired == 2).await;
    let code = async |n: u64| {
        let trace = queue.trace(id(n)).await.unwrap();
        let outcome = trace.outcomes.last().cloned().unwrap();
        (outcome.outcome, outcome.code)
    };
    let expired = |code: &str| ("expired".to_owned(), code.to_owned());
    assert_eq!(code(1).await, expired("too_old"));
    assert_eq!(code(2).await, expired("retention"));
    queue.close().await;
}

#[tokio::test]
async fn all_pending_jobs_can_be_walked() {
    let mut house = House::new();
    let queue = house.open();
    queue.admit((0..50).map(simple).collect()).await.unwrap();
    one(&queue, event(1000, vec![send("ga4", job(1000))])).await;
    let _leased = queue.lease("ga4", 1, 80).unwrap().unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    queue
        .pending_jobs(Box::new(move |name, job| {
            assert_eq!((name, job.label.event.as_str()), ("meta", "purchase"));
            count.fetch_add(1, Ordering::SeqCst);
        }))
        .await
        .unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), 50);
    assert_eq!(queue.oldest("meta"), Some(at(START)));
    assert_eq!(queue.oldest("nobody"), None);
    queue.close().await;
}

#[tokio::test]
async fn causes_are_told_apart_up_to_a_number_and_the_rest_is_counted() {
    let mut house = House::new();
    let queue = house.open();
    queue.admit((0..1_100).map(simple).collect()).await.unwrap();
    // Words of letters only: digits do not tell causes apart.
    let words = |n: u64| -> String {
        n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
    };
    while let Some(lease) = queue.lease("meta", 1, 80).unwrap() {
        let n: u64 = lease.jobs[0].label.event_id[6..].parse().unwrap();
        let lease_jobs = lease.jobs.clone();
        let verdict = |at: usize| {
            let n = lease_jobs[at].label.event_id[6..].parse().unwrap_or(n);
            let attempt = Attempt { message: words(n), ..attempt() };
            JobVerdict::Dead { code: "rejected".into(), attempt }
        };
        settle(&queue, lease, verdict).await;
    }
    let found = queue.dead_groups(DeadFilter::default()).await.unwrap();
    assert_eq!((found.groups.len(), found.others), (1_000, 100));
    assert!(found.groups.iter().all(|group| group.count == 1 && group.events.len() == 1));
    queue.close().await;
}

#[tokio::test]
async fn what_will_soon_be_over_is_counted_as_it_comes_and_goes() {
    let mut house = House::new();
    let queue = house.open();
    let hours = |n: i64| n * 60 * 60 * 1000;
    let lasting = |n: u64, ms: i64| {
        event(n, vec![send("meta", NewJob { expires_at: at(START + ms), ..job(n) })])
    };
    let soon = async |queue: &Queue| {
        let found = queue.expiring(at(START + hours(6))).await.unwrap();
        found.get("meta").copied().unwrap_or_default()
    };
    assert_eq!(soon(&queue).await, 0);
    for n in 0..10 {
        one(&queue, lasting(n, hours(2))).await;
        one(&queue, lasting(100 + n, hours(20))).await;
    }
    assert_eq!(soon(&queue).await, 10);
    // Leased: somebody has it in hand. Given back, and tried again, it waits again.
    let lease = queue.lease("meta", 4, 80).unwrap().unwrap();
    assert_eq!((lease.jobs.len(), soon(&queue).await), (4, 8));
    queue.release(lease);
    assert_eq!(soon(&queue).await, 10);
    let lease = queue.lease("meta", 4, 80).unwrap().unwrap();
    let again =
        |_| JobVerdict::Retry { wait: Duration::from_secs(9), counts: true, attempt: attempt() };
    settle(&queue, lease, again).await;
    // Two of the four share a chunk with two that last longer.
    assert_eq!(soon(&queue).await, 8);
    // A start reads it once.
    let queue = house.reopen(queue).await;
    assert_eq!(soon(&queue).await, 8);
    house.pass(10_000);
    while let Some(lease) = queue.lease("meta", 3, 80).unwrap() {
        settle(&queue, lease, delivered).await;
    }
    assert_eq!(soon(&queue).await, 0);
    one(&queue, lasting(200, hours(1))).await;
    assert_eq!(soon(&queue).await, 1);
    queue
        .dead_discard(DeadFilter {
            destination: Some("meta".into()),
            pending: true,
            ..DeadFilter::default()
        })
        .await
        .unwrap();
    assert_eq!(soon(&queue).await, 0);
    queue.close().await;
}
