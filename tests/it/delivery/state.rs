//! Today's rules, and the states of a destination.

use std::{sync::Arc, time::Duration};

use conversion_relay::{
    clock,
    config::DeliveryPolicy,
    consent::{self, Grant, OptOut},
    delivery::{
        State,
        recheck::{Checked, recheck, withheld},
    },
    destinations::Mode,
    event::{Field, FieldSet},
    job::{Prepared, Sent},
    queue::JobVerdict,
};

use super::{
    Running, delivered,
    doubles::{
        DEDUPLICATES, Double, Line, Stub, config, destination, job, policy, prepared, reply,
    },
    ids, plain,
};

fn checked(change: impl FnOnce(&mut Prepared)) -> Checked {
    let config = config(destination(&DEDUPLICATES, plain("http://127.0.0.1:1"), policy()));
    let mut event = prepared("e");
    change(&mut event);
    let now = clock::system()();
    recheck(&config, config.destinations.get("d").unwrap(), &job(&event), None, now)
}

fn state(event: &mut Prepared) -> &mut consent::State {
    Arc::make_mut(&mut event.consent)
}

fn over(checked: Checked) -> JobVerdict {
    let Checked::Over(verdict, _) = checked else { panic!("{checked:?}") };
    verdict
}

#[test]
fn what_todays_rules_stop_is_withdrawn_with_its_reason() {
    assert!(matches!(checked(|_| ()), Checked::Send(_)));
    let withdrawn = |reason: &str| JobVerdict::Withdrawn { reason: reason.to_owned() };
    let no_site = checked(|event| event.site = "other".to_owned());
    assert_eq!(over(no_site), withdrawn("other_site"));
    let unmapped = checked(|event| event.event = "view".to_owned());
    assert_eq!(over(unmapped), withdrawn("not_mapped"));
    assert_eq!(over(checked(|event| event.entry = 1)), withdrawn("not_mapped"));
    assert_eq!(over(checked(|event| event.test = true)), withdrawn("test_mode"));
    let denied = checked(|event| state(event).grants.ad_storage = Grant::Denied);
    assert_eq!(over(denied), withdrawn("no_consent"));
    let opted_out = checked(|event| {
        state(event).opt_out =
            OptOut { sale: true, sources: vec!["gpc".to_owned()], ..OptOut::default() };
    });
    assert_eq!(over(opted_out), withdrawn("opted_out"));
    assert_eq!(over(checked(|event| state(event).minor = true)), withdrawn("minor"));
}

#[test]
fn what_is_over_expires_by_whose_clock_ran_out() {
    let now = clock::system()();
    let expired = |code: &str| JobVerdict::Expired { code: code.to_owned() };
    assert_eq!(over(checked(|event| event.expires_at = now)), expired("too_old"));

    let config = config(destination(&DEDUPLICATES, plain("http://127.0.0.1:1"), policy()));
    let mut job = job(&prepared("e"));
    job.expires_at_ms = now.as_millisecond();
    let destination = config.destinations.get("d").unwrap();
    assert_eq!(over(recheck(&config, destination, &job, None, now)), expired("retention"));
    assert_eq!(withheld(&config, destination, &job, now), None, "over, but not withheld");

    job.body = b"\xff\xff".to_vec();
    let JobVerdict::Dead { code, attempt } = over(recheck(&config, destination, &job, None, now))
    else {
        panic!()
    };
    assert_eq!((code.as_str(), attempt.reason.as_str()), ("rejected", "unreadable"));
}

/// A rule that takes the last thing by which anybody could be known leaves nothing worth sending.
#[test]
fn what_names_nobody_any_more_is_withdrawn() {
    let sent = |fields: &[Field]| {
        let mut config = config(destination(&DEDUPLICATES, plain("http://127.0.0.1:1"), policy()));
        config.consent.destinations[0].may_send = Some(FieldSet::of(fields));
        let mut event = prepared("e");
        event.texts.push((Field::ExternalId, Sent::Clear("u-1".to_owned())));
        event.texts.push((Field::UserAgent, Sent::Clear("Mozilla/5.0".to_owned())));
        let destination = config.destinations.get("d").unwrap();
        recheck(&config, destination, &job(&event), None, clock::system()())
    };
    let Checked::Send(whole) = sent(&[Field::ExternalId, Field::UserAgent]) else { panic!() };
    assert_eq!(whole.texts.len(), 2);
    let Checked::Send(less) = sent(&[Field::ExternalId]) else { panic!() };
    assert_eq!(less.texts.len(), 1);
    let reason = "identity_too_weak".to_owned();
    assert_eq!(over(sent(&[Field::UserAgent])), JobVerdict::Withdrawn { reason });
    // What named nobody from the beginning is the platform's to judge.
    assert!(matches!(checked(|_| ()), Checked::Send(_)));
}

#[test]
fn no_rule_no_sending() {
    let mut config = config(destination(&DEDUPLICATES, plain("http://127.0.0.1:1"), policy()));
    config.consent.destinations.clear();
    let destination = config.destinations.get("d").unwrap();
    let now = clock::system()();
    let reason = withheld(&config, destination, &job(&prepared("e")), now);
    assert_eq!(reason.as_deref(), Some("no_rule"));
}

#[tokio::test]
async fn a_paused_destination_keeps_its_events_until_it_is_resumed() {
    let stub = Stub::new(|_, _| async { reply(200, &[], "") }).await;
    let running = Running::start(&DEDUPLICATES, plain(&stub.url), policy(), Line::default());
    assert_eq!(running.delivery.pause("d"), Some(State::Paused));
    assert_eq!(running.delivery.pause("nobody"), None);
    running.line.push(job(&prepared("e0")));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(stub.seen().is_empty() && running.state() == State::Paused);
    assert_eq!(running.delivery.resume("d"), Some(State::Running));
    assert_eq!(delivered(&running.line.ended(1).await), ["e0"]);
}

#[tokio::test]
async fn shadow_counts_and_removed_keeps() {
    let stub = Stub::new(|_, _| async { reply(200, &[], "") }).await;
    let mut shadow = destination(&DEDUPLICATES, plain(&stub.url), policy());
    shadow.mode = Mode::Shadow;
    let running = Running::with(config(shadow), Line::of(ids(3)));
    assert_eq!(running.state(), State::Shadow);
    let settled = running.line.ended(3).await;
    assert!(settled.iter().all(|(_, verdict)| *verdict == JobVerdict::Shadowed));

    let mut without = config(destination(&DEDUPLICATES, plain(&stub.url), policy()));
    without.destinations.clear();
    running.config.store(Arc::new(without));
    running.delivery.reload();
    running.until(State::Removed).await;
    running.line.push(job(&prepared("kept")));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(running.line.waiting(), 1);

    let back = config(destination(&DEDUPLICATES, plain(&stub.url), policy()));
    running.config.store(Arc::new(back));
    running.delivery.reload();
    assert_eq!(delivered(&running.line.ended(4).await), ["kept"]);
    assert_eq!(stub.seen().len(), 1, "a shadow sends nothing");
}

#[tokio::test]
async fn one_wrong_id_among_several_holds_its_own_events_only() {
    let stub = Stub::new(|_, seen| async move {
        if seen.body.contains("bad") { reply(403, &[], "wrong id") } else { reply(200, &[], "") }
    })
    .await;
    let line = Line::default();
    let of = |id: &str, group: &str| job(&Prepared { group: group.to_owned(), ..prepared(id) });
    (0..3).for_each(|n| line.push(of(&format!("bad{n}"), "b")));
    (0..3).for_each(|n| line.push(of(&format!("e{n}"), "a")));
    let double = Double { has_probe: true, ..plain(&stub.url) };
    let running = Running::start(&DEDUPLICATES, double, policy(), line.clone());
    line.ended(3).await;
    running.until(State::Running).await;
    (3..9).for_each(|n| {
        line.push(of(&format!("bad{n}"), "b"));
        line.push(of(&format!("e{n}"), "a"));
    });
    let settled = line.ended(9).await;
    assert_eq!(delivered(&settled).len(), 9, "{settled:?}");
    let fault = async {
        while running.delivery.fault("d").is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), fault).await.expect("people are told");
    assert_eq!(running.state(), State::Running);
    // One of them may just be on its way, to be refused again.
    let kept = async {
        while line.waiting() != 9 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), kept).await.expect("all are kept");
}

#[tokio::test]
async fn a_destination_whose_probe_works_and_whose_sends_do_not_stays_failing() {
    let stub = Stub::new(|_, seen| async move {
        reply(if seen.path == "/probe" { 200 } else { 403 }, &[], "no permission")
    })
    .await;
    let double = Double { has_probe: true, ..plain(&stub.url) };
    let running = Running::start(&DEDUPLICATES, double, policy(), Line::of(ids(3)));
    running.until(State::Failing).await;
    let probes = || stub.seen().iter().filter(|seen| seen.path == "/probe").count();
    for _ in 0..1_000 {
        assert_eq!(running.state(), State::Failing, "an answered probe is not a delivery");
        if probes() >= 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(probes() >= 3, "it is asked again");
    assert!(running.line.settled().is_empty(), "kept");
}

#[tokio::test]
async fn a_stop_finishes_what_is_on_its_way_and_keeps_the_rest() {
    let stub = Stub::new(|_, _| async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        reply(200, &[], "")
    })
    .await;
    let one = DeliveryPolicy { max_events: 1, concurrency: 1, ..policy() };
    let running = Running::start(&DEDUPLICATES, plain(&stub.url), one, Line::of(ids(3)));
    while stub.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(running.delivery.stop(Duration::from_secs(5)).await, "done in time");
    assert_eq!(running.line.settled().len(), 1);
    assert_eq!(running.line.waiting(), 2);
}

#[tokio::test]
async fn a_stop_does_not_wait_longer_than_its_deadline() {
    let stub = Stub::new(|_, _| async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        reply(200, &[], "")
    })
    .await;
    let running = Running::start(&DEDUPLICATES, plain(&stub.url), policy(), Line::of(ids(1)));
    while stub.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!running.delivery.stop(Duration::from_millis(50)).await);
}
