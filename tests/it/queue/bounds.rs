//! Bounds: a full queue, a full destination, a full or failing disk; sending marks.

use super::*;

#[tokio::test]
async fn a_full_queue_refuses_and_a_full_destination_sheds_or_refuses() {
    let mut house = House::new();
    house.settings.max_pending = 10;
    house.settings.max_pending_per_destination = 4;
    let queue = house.open();
    for n in 0..6 {
        let expected = if n < 4 { 1 } else { 0 };
        assert_eq!(one(&queue, simple(n)).await, accepted(expected, 0));
    }
    let stats = books(&queue, "meta").await;
    assert_eq!((stats.accepted, stats.pending, stats.expired), (6, 4, 2));
    let mut strict = job(10);
    strict.refuse_when_full = true;
    let refused = queue.admit(vec![event(10, vec![send("meta", strict)])]).await;
    assert!(matches!(refused, Err(Refused::Full(_))), "{refused:?}");
    assert_eq!(one(&queue, event(11, vec![send("ga4", job(11))])).await, accepted(1, 0));
    let many = (20..27).map(|n| event(n, vec![send("hook", job(n))])).collect();
    assert!(matches!(queue.admit(many).await, Err(Refused::Full(_))));
    soon(async || queue.ready().is_ok()).await;
    let more = (30..35).map(|n| event(n, vec![send(["ga4", "hook"][n as usize % 2], job(n))]));
    for admission in more {
        one(&queue, admission).await;
    }
    soon(async || matches!(queue.ready(), Err(Refused::Full(_)))).await;
    assert_eq!(queue.stats().await.accepted, 12, "what is refused is not counted");
    queue.close().await;
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers_by_itself() {
    let mut house = House::new();
    let queue = house.open();
    one(&queue, simple(1)).await;
    house.free.store(800, Ordering::SeqCst);
    let refused = queue.admit(vec![simple(2)]).await;
    assert!(matches!(&refused, Err(Refused::Store(why)) if why.contains("disk is full")));
    let lease = queue.lease("meta", 1, 80).unwrap().unwrap();
    settle(&queue, lease, delivered).await;
    house.free.store(10, Ordering::SeqCst);
    assert!(queue.admit(vec![simple(2)]).await.is_err());
    house.free.store(u64::MAX, Ordering::SeqCst);
    assert_eq!(one(&queue, simple(2)).await, accepted(1, 0));

    // What is sent while its outcome cannot be written would be sent again, and again.
    let sending = queue.lease("meta", 1, 80).unwrap().unwrap();
    house.free.store(10, Ordering::SeqCst);
    let verdicts = vec![delivered(0)];
    let settlement = Settlement { lease: sending, verdicts, follow_ups: vec![] };
    assert!(matches!(queue.settle(settlement).await, Err(Refused::Store(_))));
    let refused = queue.lease("meta", 1, 80);
    assert!(matches!(&refused, Err(Refused::Store(why)) if why.contains("disk is full")));
    house.free.store(u64::MAX, Ordering::SeqCst);
    soon(async || queue.lease("meta", 1, 80).is_ok()).await;
    queue.close().await;
}

#[tokio::test]
async fn the_ballast_is_given_up_for_outcomes_and_put_back() {
    let mut house = House::new();
    let is_full = Arc::new(AtomicU64::new(0));
    let mut opening = house.opening();
    let full = Arc::clone(&is_full);
    let ballast = |folder: &Path| folder.join("relay.ballast").exists();
    opening.disk.free = Arc::new(move |folder: &Path| {
        Ok(match full.load(Ordering::SeqCst) {
            0 => u64::MAX,
            _ if ballast(folder) => 0,
            left => left,
        })
    });
    let queue = Queue::open(opening).unwrap();
    is_full.store(300, Ordering::SeqCst);
    soon(async || queue.ready().is_err()).await;
    assert!(ballast(&house.path), "kept where nothing waits that needs it");
    is_full.store(0, Ordering::SeqCst);
    soon(async || queue.ready().is_ok()).await;
    one(&queue, simple(1)).await;

    is_full.store(300, Ordering::SeqCst);
    soon(async || !ballast(&house.path)).await;
    assert!(queue.admit(vec![simple(2)]).await.is_err(), "nothing new");
    let lease = queue.lease("meta", 1, 80).unwrap().unwrap();
    settle(&queue, lease, delivered).await;
    assert!(matches!(queue.ready(), Err(Refused::Store(why)) if why.contains("disk is full")));
    is_full.store(0, Ordering::SeqCst);
    soon(async || ballast(&house.path)).await;
    assert!(queue.ready().is_ok());
    queue.close().await;
}

#[tokio::test]
async fn a_failing_disk_refuses_loses_nothing_and_recovers_by_itself() {
    let mut house = House::new();
    let disk = MemoryDisk::default();
    let queue = Queue::open_in_memory(house.opening(), &disk).unwrap();
    one(&queue, simple(1)).await;
    one(&queue, simple(2)).await;
    let settled = queue.lease("meta", 1, 80).unwrap().unwrap();
    let sending = queue.lease("meta", 1, 80).unwrap().unwrap();
    queue.mark_sending(&settled).await.unwrap();
    disk.fail(true);
    assert!(matches!(queue.admit(vec![simple(3)]).await, Err(Refused::Store(_))));
    let verdicts = vec![delivered(0)];
    let settlement = Settlement { lease: settled, verdicts, follow_ups: vec![] };
    assert!(matches!(queue.settle(settlement).await, Err(Refused::Store(_))));
    assert!(queue.lease("meta", 1, 80).is_err(), "leases stop");
    assert!(!queue.vitals().open);
    disk.fail(false);
    soon(async || queue.vitals().open).await;
    assert_eq!(one(&queue, simple(3)).await, accepted(1, 0), "a refused event is not a duplicate");
    assert_eq!(books(&queue, "meta").await.in_flight, 1, "who sends still holds its lease");
    let fresh = queue.lease("meta", 1, 80).unwrap().unwrap();
    assert_eq!(ids_of(&fresh), ["event-3"], "what waited before comes after what is fresh");
    let again = queue.lease("meta", 1, 80).unwrap().unwrap();
    assert_eq!(ids_of(&again), ["event-1"]);
    assert!(again.unknown_result);
    queue.release(fresh);
    settle(&queue, sending, delivered).await;
    settle(&queue, again, delivered).await;
    let stats = books(&queue, "meta").await;
    assert_eq!((stats.delivered, stats.pending, stats.in_flight), (2, 1, 0));
    queue.close().await;
}

#[tokio::test]
async fn damage_met_while_running_refuses_and_says_what_to_do() {
    let mut house = House::new();
    let disk = MemoryDisk::default();
    let queue = Queue::open_in_memory(house.opening(), &disk).unwrap();
    one(&queue, simple(1)).await;
    disk.damage(true);
    assert!(queue.lease("meta", 1, 80).is_err());
    soon(async || {
        let refused = queue.admit(vec![simple(2)]).await;
        matches!(refused, Err(Refused::Store(why)) if why.contains("backup"))
    })
    .await;
    assert!(!queue.vitals().open);
    assert_eq!(queue.stats().await.accepted, 1, "nothing is taken into what cannot be read");
    disk.damage(false);
    soon(async || queue.vitals().open).await;
    assert_eq!(ids_of(&queue.lease("meta", 1, 80).unwrap().unwrap()), ["event-1"]);
    queue.close().await;
}

#[tokio::test]
async fn a_mark_that_outlives_its_lease_is_an_unknown_result() {
    let mut house = House::new();
    let queue = house.open();
    one(&queue, simple(1)).await;
    let lease = queue.lease("meta", 1, 80).unwrap().unwrap();
    queue.mark_sending(&lease).await.unwrap();
    let queue = house.reopen(queue).await;
    one(&queue, simple(2)).await;
    let fresh = queue.lease("meta", 10, 80).unwrap().unwrap();
    assert_eq!(
        (ids_of(&fresh).as_slice(), fresh.unknown_result),
        (["event-2".to_owned()].as_slice(), false)
    );
    let lease = queue.lease("meta", 10, 80).unwrap().unwrap();
    assert!(lease.unknown_result);
    assert_eq!(ids_of(&lease), ["event-1"], "never mixed with what has a known one");
    queue.release(fresh);
    let retry = |_| JobVerdict::Retry { wait: Duration::ZERO, counts: false, attempt: attempt() };
    settle(&queue, lease, retry).await;
    house.pass(5000);
    while let Some(lease) = queue.lease("meta", 10, 80).unwrap() {
        assert!(!lease.unknown_result, "a settled lease leaves no mark");
        queue.mark_sending(&lease).await.unwrap();
        queue.release(lease);
        let again = queue.lease("meta", 10, 80).unwrap().unwrap();
        assert!(!again.unknown_result, "a released lease was not sent");
        settle(&queue, again, delivered).await;
    }
    queue.close().await;
}
