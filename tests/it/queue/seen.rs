//! Who was seen before: copies, what consent held, how often something counts.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_a_duplicate_in_one_batch_at_once_and_after_a_start() {
    let mut house = House::new();
    let queue = house.open();
    let both = queue.admit(vec![simple(1), simple(1)]).await.unwrap();
    assert_eq!(both, [accepted(1, 0), Admitted::Duplicate { released: 0 }]);
    let copies: Vec<_> = (0..16)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move { one(&queue, simple(2)).await })
        })
        .collect();
    let mut accepted_copies = 0;
    for copy in copies {
        accepted_copies += usize::from(copy.await.unwrap() == accepted(1, 0));
    }
    assert_eq!(accepted_copies, 1);
    let queue = house.reopen(queue).await;
    assert_eq!(one(&queue, simple(1)).await, Admitted::Duplicate { released: 0 });
    let stats = queue.stats().await;
    assert_eq!((stats.accepted, stats.duplicate), (2, 17));
    house.pass(7 * DAY + 1);
    assert_eq!(one(&queue, simple(1)).await, accepted(1, 0), "only within the retention");
    queue.close().await;
}

#[tokio::test]
async fn a_derived_id_holds_for_ten_minutes() {
    let mut house = House::new();
    let queue = house.open();
    let copy = || Admission { short_lived: true, ..simple(1) };
    assert_eq!(one(&queue, copy()).await, accepted(1, 0));
    house.pass(9 * 60_000);
    let queue = house.reopen(queue).await;
    assert_eq!(one(&queue, copy()).await, Admitted::Duplicate { released: 0 });
    house.pass(60_000);
    assert_eq!(one(&queue, copy()).await, accepted(1, 0));
    queue.close().await;
}

#[tokio::test]
async fn the_oldest_ids_go_first_when_there_are_too_many() {
    let mut house = House::new();
    house.retention.event_ids_at_most = 1000;
    let queue = house.open();
    for batch in 0..20 {
        let events = (batch * 100..batch * 100 + 100).map(|n| event(n, Vec::new())).collect();
        queue.admit(events).await.unwrap();
    }
    assert!(queue.vitals().event_ids <= 1000);
    assert!(queue.vitals().event_ids_dropped >= 1000);
    assert_eq!(one(&queue, event(1999, Vec::new())).await, Admitted::Duplicate { released: 0 });
    assert_eq!(one(&queue, event(0, Vec::new())).await, accepted(0, 0));
    queue.close().await;
}

#[tokio::test]
async fn a_later_copy_serves_what_consent_held() {
    let mut house = House::new();
    let queue = house.open();
    let held = QueueFate::Held(ReasonCode::NoSignal);
    let first = event(1, vec![fate("meta", held.clone()), fate("ga4", held), send("hook", job(1))]);
    assert_eq!(one(&queue, first.clone()).await, accepted(1, 2));
    assert_eq!(books(&queue, "meta").await.held.no_signal, 1);
    assert_eq!(one(&queue, first).await, Admitted::Duplicate { released: 0 });

    let queue = house.reopen(queue).await;
    let later = || event(1, vec![send("meta", job(1)), fate("ga4", QueueFate::Shadowed)]);
    assert_eq!(one(&queue, later()).await, Admitted::Duplicate { released: 2 });
    let stats = books(&queue, "meta").await;
    assert_eq!((stats.accepted, stats.held.no_signal, stats.pending), (1, 0, 1));
    let stats = books(&queue, "ga4").await;
    assert_eq!((stats.accepted, stats.held.no_signal, stats.shadowed), (1, 0, 1));
    assert_eq!(one(&queue, later()).await, Admitted::Duplicate { released: 0 }, "once only");
    let queue = house.reopen(queue).await;
    assert_eq!(one(&queue, later()).await, Admitted::Duplicate { released: 0 }, "for ever");
    queue.close().await;
}

#[tokio::test]
async fn copies_with_other_ids_are_one_by_what_they_are_the_same_as() {
    let mut house = House::new();
    let queue = house.open();
    let copy = |n: u64, decision: QueueDecision| Admission {
        parts: vec![Part { same_as: Some(id(99)), ..part(vec![decision]) }],
        ..event(n, Vec::new())
    };
    let held = fate("meta", QueueFate::Held(ReasonCode::NoConsent));
    let both = queue.admit(vec![copy(1, held.clone()), copy(2, held)]).await.unwrap();
    assert_eq!(both, [accepted(0, 1), Admitted::Duplicate { released: 0 }]);
    let queue = house.reopen(queue).await;
    let released = one(&queue, copy(3, send("meta", job(3)))).await;
    assert_eq!(released, Admitted::Duplicate { released: 1 });
    let lease = queue.lease("meta", 10, 80).unwrap().unwrap();
    assert_eq!(ids_of(&lease), ["event-1"], "it goes out under the first copy's id");
    queue.release(lease);
    let stats = books(&queue, "meta").await;
    assert_eq!((stats.accepted, stats.pending, stats.held.no_consent), (1, 1, 0));
    assert_eq!(
        one(&queue, copy(2, send("meta", job(2)))).await,
        Admitted::Duplicate { released: 0 }
    );
    queue.close().await;
}

#[tokio::test]
async fn what_a_rule_does_not_count_leaves_nothing() {
    let mut house = House::new();
    let queue = house.open();
    let claim = |n: u64, person: u8| Claim {
        subject: [person; 16],
        event: "sign_up".into(),
        at_most: 1,
        per: Some(Per::Hours(24)),
        at: at(START),
        day: jiff::civil::date(2026, 11, 22),
        not_after: Some(Milestone { subject: [person; 16], event: "purchase".into() }),
        by_event: id(n),
    };
    let sign_up = |n: u64, person: u8| Admission {
        parts: vec![Part { claim: Some(claim(n, person)), ..part(vec![send("meta", job(n))]) }],
        ..event(n, Vec::new())
    };
    let both = queue.admit(vec![sign_up(1, 1), sign_up(2, 1)]).await.unwrap();
    assert_eq!(both, [accepted(1, 0), Admitted::Suppressed]);
    let queue = house.reopen(queue).await;
    assert_eq!(one(&queue, sign_up(3, 1)).await, Admitted::Suppressed);
    assert_eq!(one(&queue, sign_up(4, 2)).await, accepted(1, 0));
    let purchase = Admission {
        parts: vec![Part {
            reaches: Some((Milestone { subject: [3; 16], event: "purchase".into() }, at(START))),
            ..part(Vec::new())
        }],
        ..event(5, Vec::new())
    };
    assert_eq!(one(&queue, purchase).await, accepted(0, 0));
    let queue = house.reopen(queue).await;
    assert_eq!(one(&queue, sign_up(6, 3)).await, Admitted::Suppressed);
    let stats = books(&queue, "meta").await;
    assert_eq!(stats.accepted, 2, "suppressed decisions are in no destination's book");
    assert_eq!(queue.stats().await.suppressed, 3);
    queue.close().await;
}

#[tokio::test]
async fn what_was_not_queued_uses_nothing_up() {
    let mut house = House::new();
    let queue = house.open();
    let sign_up = |n: u64, by: u64, person: u8, decisions: Vec<QueueDecision>| {
        let claim = Claim {
            subject: [person; 16],
            event: "sign_up".into(),
            at_most: 1,
            per: None,
            at: at(START),
            day: jiff::civil::date(2026, 11, 22),
            not_after: None,
            by_event: id(by),
        };
        Admission {
            parts: vec![Part { claim: Some(claim), ..part(decisions) }],
            ..event(n, Vec::new())
        }
    };
    let held = || fate("meta", QueueFate::Held(ReasonCode::NoSignal));
    let weak = || fate("meta", QueueFate::Skipped { is_mapped: true });
    assert_eq!(one(&queue, sign_up(1, 1, 1, vec![held()])).await, accepted(0, 1));
    assert_eq!(one(&queue, sign_up(2, 2, 1, vec![weak()])).await, accepted(0, 0));
    let queue = house.reopen(queue).await;
    assert_eq!(one(&queue, sign_up(3, 3, 1, vec![send("meta", job(3))])).await, accepted(1, 0));
    assert_eq!(one(&queue, sign_up(4, 4, 1, vec![held()])).await, Admitted::Suppressed);
    // What was held comes again, and another has been counted meanwhile.
    let late = sign_up(1, 1, 1, vec![send("meta", job(1))]);
    assert_eq!(one(&queue, late).await, Admitted::Duplicate { released: 0 });

    // What is released is counted.
    assert_eq!(one(&queue, sign_up(5, 5, 2, vec![held()])).await, accepted(0, 1));
    let late = sign_up(5, 5, 2, vec![send("meta", job(5))]);
    assert_eq!(one(&queue, late).await, Admitted::Duplicate { released: 1 });
    let queue = house.reopen(queue).await;
    let next = sign_up(6, 6, 2, vec![send("meta", job(6))]);
    assert_eq!(one(&queue, next).await, Admitted::Suppressed);

    // Half of it was queued, under another id: the copy is the same event, and serves the rest.
    let same = |admission: Admission| Admission {
        parts: vec![Part { same_as: Some(id(99)), ..admission.parts[0].clone() }],
        ..admission
    };
    let hook = |n: u64| send("hook", job(n));
    assert_eq!(one(&queue, same(sign_up(7, 99, 3, vec![held(), hook(7)]))).await, accepted(1, 1));
    let copy = same(sign_up(8, 99, 3, vec![send("meta", job(8)), hook(8)]));
    assert_eq!(one(&queue, copy).await, Admitted::Duplicate { released: 1 });

    // What goes nowhere at all is counted all the same.
    let nowhere = || vec![fate("meta", QueueFate::Skipped { is_mapped: false })];
    assert_eq!(one(&queue, sign_up(10, 10, 4, nowhere())).await, accepted(0, 0));
    assert_eq!(one(&queue, sign_up(11, 11, 4, nowhere())).await, Admitted::Suppressed);
    queue.close().await;
}

#[tokio::test]
async fn tests_are_queued_and_never_counted() {
    let mut house = House::new();
    let queue = house.open();
    let test = || Admission { test: true, ..simple(1) };
    assert_eq!(one(&queue, test()).await, Admitted::Test);
    assert_eq!(one(&queue, test()).await, Admitted::Test, "it leaves no mark");
    let lease = queue.lease("meta", 10, 80).unwrap().unwrap();
    assert!(lease.jobs.iter().all(|job| job.uncounted));
    assert_eq!(queue.vitals().jobs, 2);
    settle(&queue, lease, dead).await;
    while let Some(lease) = queue.lease("meta", 10, 80).unwrap() {
        settle(&queue, lease, delivered).await;
    }
    assert_eq!(queue.vitals().jobs, 0);
    assert_eq!(
        books(&queue, "meta").await,
        DestinationStats { state: String::new(), ..DestinationStats::default() }
    );
    let stats = queue.stats().await;
    assert_eq!((stats.test, stats.accepted), (2, 0));
    queue.close().await;
}

#[tokio::test]
async fn rejected_events_are_counted_durably() {
    let mut house = House::new();
    let queue = house.open();
    queue.count_rejected(3);
    assert_eq!(queue.stats().await.rejected, 3);
    one(&queue, simple(1)).await;
    assert_eq!(queue.stats().await.rejected, 3);
    let queue = house.reopen(queue).await;
    assert_eq!(queue.stats().await.rejected, 3);
    queue.close().await;
}
