//! What a platform answers, and what becomes of the events.

use std::time::Duration;

use conversion_relay::{
    clock::Stopwatch, config::DeliveryPolicy, delivery::State, queue::JobVerdict,
};

use super::{
    Running, dead, delivered,
    doubles::{DEDUPLICATES, Double, Line, Stub, job, policy, prepared, reply},
    ids, plain,
};

#[tokio::test]
async fn every_event_arrives_once_in_batches_of_one_group() {
    let stub = Stub::new(|_, _| async { reply(200, &[], "") }).await;
    let line = Line::default();
    for id in ids(250) {
        let mut event = prepared(&id);
        event.group = if id.ends_with('7') { "seven" } else { "rest" }.to_owned();
        line.push(job(&event));
    }
    let running = Running::start(&DEDUPLICATES, plain(&stub.url), policy(), line);
    let settled = running.line.ended(250).await;
    let mut expected: Vec<String> = ids(250).collect();
    expected.sort_unstable();
    assert_eq!(delivered(&settled), expected);
    let seen = stub.seen();
    let mut arrived: Vec<&String> = seen.iter().flat_map(|seen| &seen.ids).collect();
    arrived.sort_unstable();
    assert_eq!(arrived, expected.iter().collect::<Vec<_>>());
    for call in &seen {
        assert!(call.ids.len() <= 100);
        let sevens = call.ids.iter().filter(|id| id.ends_with('7')).count();
        assert!(sevens == 0 || sevens == call.ids.len(), "groups do not mix");
    }
    assert_eq!(running.line.marks(), 0, "a platform that deduplicates needs no mark");
}

#[tokio::test]
async fn an_outage_costs_no_attempts() {
    let stub = Stub::new(|number, _| async move {
        if number < 6 { reply(503, &[], "down") } else { reply(200, &[], "") }
    })
    .await;
    let running = Running::start(&DEDUPLICATES, plain(&stub.url), policy(), Line::of(ids(3)));
    let settled = running.line.ended(3).await;
    assert_eq!(delivered(&settled).len(), 3, "more outages than the policy has attempts");
    for (_, verdict) in running.line.passing() {
        let JobVerdict::Retry { counts: false, attempt, .. } = verdict else { continue };
        assert_eq!((attempt.status, attempt.message.as_str()), (503, "down"));
    }
}

#[tokio::test]
async fn attempts_about_the_event_itself_are_counted() {
    let stub = Stub::new(|_, _| async { reply(422, &[], "not yet") }).await;
    let running = Running::start(&DEDUPLICATES, plain(&stub.url), policy(), Line::of(ids(1)));
    let settled = running.line.ended(1).await;
    assert_eq!(dead(&settled), [("e0", "attempts_exhausted", "retry")]);
    assert_eq!(stub.seen().len(), 3);
}

#[tokio::test]
async fn retry_after_is_waited_for_by_the_whole_destination() {
    let stub = Stub::new(|number, _| async move {
        if number == 0 {
            reply(429, &[("retry-after", "1")], "slow down")
        } else {
            reply(200, &[], "")
        }
    })
    .await;
    let watch = Stopwatch::start();
    let running = Running::start(&DEDUPLICATES, plain(&stub.url), policy(), Line::of(ids(1)));
    while stub.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.line.push(job(&prepared("late")));
    let settled = running.line.ended(2).await;
    assert_eq!(delivered(&settled), ["e0", "late"]);
    assert!(watch.elapsed() >= Duration::from_millis(990), "{:?}", watch.elapsed());
}

#[tokio::test]
async fn one_culprit_costs_one_event() {
    let stub = Stub::new(|_, seen| async move {
        let is_bad = seen.ids.iter().any(|id| id == "e37");
        if is_bad { reply(400, &[], "bad currency") } else { reply(200, &[], "") }
    })
    .await;
    let running = Running::start(&DEDUPLICATES, plain(&stub.url), policy(), Line::of(ids(100)));
    let settled = running.line.ended(100).await;
    assert_eq!(dead(&settled), [("e37", "rejected", "bad")]);
    assert_eq!(delivered(&settled).len(), 99);
    assert_eq!(running.state(), State::Running);
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_halved() {
    let stub = Stub::new(|_, seen| async move {
        let is_large = seen.ids.len() > 10 || seen.ids.iter().any(|id| id == "e5");
        if is_large { reply(413, &[], "") } else { reply(200, &[], "") }
    })
    .await;
    let running = Running::start(&DEDUPLICATES, plain(&stub.url), policy(), Line::of(ids(100)));
    let settled = running.line.ended(100).await;
    assert_eq!(dead(&settled), [("e5", "rejected", "too_large")]);
    assert_eq!(delivered(&settled).len(), 99);
}

#[tokio::test]
async fn a_destination_that_refuses_everything_fails_and_keeps_its_events() {
    let stub = Stub::new(|number, _| async move {
        if number < 8 {
            reply(400, &[("x-reason", "100/33")], "no such dataset")
        } else {
            reply(200, &[], "")
        }
    })
    .await;
    let running = Running::start(&DEDUPLICATES, plain(&stub.url), policy(), Line::of(ids(64)));
    running.until(State::Failing).await;
    assert_eq!(running.delivery.fault("d").unwrap().0, "100/33");
    let settled = running.line.ended(64).await;
    assert_eq!(delivered(&settled).len(), 64, "nothing died: {:?}", dead(&settled));
    assert_eq!(running.state(), State::Running);
    let canaries = stub.seen().iter().filter(|seen| seen.ids.len() == 1).count();
    assert!(canaries >= 5, "one event at a time while it fails");
}

#[tokio::test]
async fn two_culprits_in_two_halves_do_not_stop_a_destination_for_good() {
    let stub = Stub::new(|_, seen| async move {
        let is_bad = seen.ids.iter().any(|id| id == "e1" || id == "e60");
        if is_bad { reply(400, &[], "bad") } else { reply(200, &[], "") }
    })
    .await;
    let running = Running::start(&DEDUPLICATES, plain(&stub.url), policy(), Line::of(ids(64)));
    let settled = running.line.ended(64).await;
    assert_eq!(dead(&settled), [("e1", "rejected", "bad"), ("e60", "rejected", "bad")]);
    assert_eq!(delivered(&settled).len(), 62);
}

#[tokio::test]
async fn fifty_single_refusals_in_a_row_make_a_destination_fail() {
    let stub = Stub::new(|_, _| async { reply(400, &[], "no") }).await;
    let one = DeliveryPolicy { max_events: 1, concurrency: 1, ..policy() };
    let running = Running::start(&DEDUPLICATES, plain(&stub.url), one, Line::of(ids(80)));
    running.until(State::Failing).await;
    running.delivery.pause("d");
    let settled = running.line.settled();
    assert_eq!(dead(&settled).len(), 49, "the fiftieth and those after it are kept");
}

#[tokio::test]
async fn an_event_that_no_request_is_written_for_ends() {
    let stub = Stub::new(|_, _| async { reply(200, &[], "") }).await;
    let double = Double { writes: false, ..plain(&stub.url) };
    let running = Running::start(&DEDUPLICATES, double, policy(), Line::of(ids(1)));
    let settled = running.line.ended(1).await;
    assert_eq!(dead(&settled), [("e0", "attempts_exhausted", "retry")]);
    assert!(stub.seen().is_empty());
}

#[tokio::test]
async fn a_follow_up_is_asked_until_it_is_answered() {
    let stub = Stub::new(|number, seen| async move {
        match (seen.path.as_str(), number) {
            ("/send", _) => reply(200, &[("x-ask-later", "r-1")], ""),
            (_, 1) => reply(503, &[], ""),
            (_, 2) => reply(200, &[("x-ask-later", "r-1")], "in progress"),
            _ => reply(200, &[], "done"),
        }
    })
    .await;
    let running = Running::start(&DEDUPLICATES, plain(&stub.url), policy(), Line::of(ids(1)));
    let settled = running.line.ended(3).await;
    assert_eq!(delivered(&settled), ["e0"]);
    let done = settled.iter().filter(|(_, verdict)| *verdict == JobVerdict::Done).count();
    assert_eq!(done, 2, "one that asked for another, and that one");
    let questions: Vec<String> =
        stub.seen().into_iter().filter(|s| s.path == "/status").map(|s| s.body).collect();
    assert_eq!(questions, [r#"["r-1"]"#; 3]);
}

#[tokio::test]
async fn the_rate_is_kept() {
    let stub = Stub::new(|_, _| async { reply(200, &[], "") }).await;
    let mut slow = DeliveryPolicy { max_events: 1, concurrency: 4, ..policy() };
    slow.rate_limit.requests_per_second = std::num::NonZeroU32::new(20);
    slow.rate_limit.burst = std::num::NonZeroU32::new(5);
    let watch = Stopwatch::start();
    let running = Running::start(&DEDUPLICATES, plain(&stub.url), slow, Line::of(ids(15)));
    running.line.ended(15).await;
    // Five at once, the other ten at twenty a second.
    assert!(watch.elapsed() >= Duration::from_millis(490), "{:?}", watch.elapsed());
}
