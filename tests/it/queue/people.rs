//! The register of people: who is who, what is remembered for how long, what an erasure leaves, and
//! keys that change.

use conversion_relay::{
    consent::{Grant, Grants, Purpose, State, memory::Choice},
    queue::{Judge, Judgement, MarksOf, subject},
};

use super::*;

fn named(n: u8) -> [u8; 16] {
    subject([n; 16], true)
}

fn shared(n: u8) -> [u8; 16] {
    subject([n; 16], false)
}

fn all(grant: Grant, at_ms: i64) -> Choice {
    let mut grants = Grants::default();
    Purpose::ALL.iter().for_each(|(purpose, _)| *grants.get_mut(*purpose) = grant);
    let state = State { grants, at_ms, ..State::default() };
    Choice::of(&state, at(at_ms)).unwrap()
}

fn by(n: u64, subjects: &[[u8; 16]], choice: Option<Choice>) -> Admission {
    let job = NewJob { subjects: subjects.to_vec(), ..job(n) };
    let whose =
        Whose { subjects: subjects.to_vec(), choice, happened_ms: START, ..Whose::default() };
    Admission { whose, ..event(n, vec![send("meta", job)]) }
}

fn everything_stops() -> Judge {
    Arc::new(|_, _, _| Judgement::Over("no_consent".to_owned()))
}

fn no_marks() -> MarksOf {
    Arc::new(|_| Vec::new())
}

fn refuses(queue: &Queue, subjects: &[[u8; 16]]) -> bool {
    queue.remembered(subjects).unwrap().choice.refuses()
}

fn is_known(queue: &Queue, subjects: &[[u8; 16]]) -> bool {
    !queue.remembered(subjects).unwrap().choice.is_empty()
}

#[tokio::test]
async fn identifiers_seen_together_are_one_person() {
    let mut house = House::new();
    let queue = house.open();
    // A browser, then its user's e-mail, then the e-mail with an account: all of one person.
    one(&queue, by(1, &[shared(1)], None)).await;
    one(&queue, by(2, &[named(2), shared(1)], None)).await;
    one(&queue, by(3, &[named(3), named(2)], None)).await;
    let refusal = all(Grant::Denied, START + 5);
    let reached =
        queue.choose(vec![named(3)], refusal, everything_stops(), Vec::new()).await.unwrap();
    assert_eq!(reached.count, 3, "what waits under any of their identifiers");
    assert_eq!(books(&queue, "meta").await.withdrawn, 3);
    let queue = house.reopen(queue).await;
    for known in [named(2), named(3), shared(1)] {
        assert!(refuses(&queue, &[known]));
    }
    assert!(!refuses(&queue, &[named(9)]));
    // Two records that turn out to be one person's become one, with what both knew.
    one(&queue, by(4, &[named(8)], Some(all(Grant::Granted, START + 9)))).await;
    one(&queue, by(5, &[named(8), named(3)], None)).await;
    let both = queue.remembered(&[named(2)]).unwrap().choice;
    assert!(both.refuses() && both.spoken().all(|(_, word)| word.last() == Grant::Granted));
    queue.close().await;
}

#[tokio::test]
async fn what_may_be_shared_does_not_join_two_people_with_names() {
    let mut house = House::new();
    let queue = house.open();
    let tablet = shared(1);
    one(&queue, by(1, &[named(2), tablet], None)).await;
    one(&queue, by(2, &[named(3), tablet], None)).await;
    let refusal = all(Grant::Denied, START + 5);
    let reached =
        queue.choose(vec![named(3)], refusal, everything_stops(), Vec::new()).await.unwrap();
    assert_eq!(reached.count, 1, "one's own event only");
    assert!(refuses(&queue, &[named(3)]) && !refuses(&queue, &[named(2), tablet]));
    let erased = queue.erase(vec![named(3)], at(START + 9), no_marks(), Vec::new()).await.unwrap();
    assert_eq!(erased.count, 0);
    assert_eq!(books(&queue, "meta").await.pending, 1, "the other's event stays");
    assert!(!queue.dossier(vec![named(2)], no_marks()).await.unwrap().sent.is_empty());
    queue.close().await;
}

#[tokio::test]
async fn a_person_has_a_bounded_record() {
    let mut house = House::new();
    let queue = house.open();
    for n in 0..200u8 {
        let choice = Some(all(Grant::Granted, START));
        one(&queue, by(u64::from(n), &[named(250), shared(n)], choice)).await;
    }
    let dossier = queue.dossier(vec![named(250)], no_marks()).await.unwrap();
    assert_eq!((dossier.identifiers, dossier.sent.len()), (64, 16));
    assert_eq!(dossier.earlier[0].count, 184);
    assert!(is_known(&queue, &[shared(199)]) && !is_known(&queue, &[shared(7)]), "the oldest go");
    let queue = house.reopen(queue).await;
    assert!(is_known(&queue, &[named(250)]));
    queue.close().await;
}

#[tokio::test]
async fn what_is_remembered_has_its_time() {
    let mut house = House::new();
    let queue = house.open();
    one(&queue, by(1, &[named(1), shared(1)], Some(all(Grant::Granted, START)))).await;
    one(&queue, by(2, &[named(2), shared(2)], Some(all(Grant::Denied, START)))).await;
    let lease = queue.lease("meta", 10, 80).unwrap().unwrap();
    settle(&queue, lease, delivered).await;
    queue.erase(vec![named(3)], at(START), no_marks(), Vec::new()).await.unwrap();
    house.pass(181 * DAY);
    soon(async || !is_known(&queue, &[named(1)])).await;
    assert!(refuses(&queue, &[shared(2)]), "a refusal does not age");
    let sent = async |n| queue.dossier(vec![named(n)], no_marks()).await.unwrap().sent.len();
    assert_eq!((sent(1).await, sent(2).await), (1, 1));
    assert!(queue.remembered(&[named(3)]).unwrap().erased_ms.is_some());
    house.pass(220 * DAY);
    soon(async || sent(1).await == 0 && sent(2).await == 0).await;
    soon(async || queue.remembered(&[named(3)]).unwrap().erased_ms.is_none()).await;
    assert!(refuses(&queue, &[named(2)]));
    let dossier = queue.dossier(vec![named(1)], no_marks()).await.unwrap();
    assert_eq!(dossier.identifiers, 0, "nothing is left, pointers neither");
    queue.close().await;
}

type Verdict = fn(usize) -> JobVerdict;

#[tokio::test]
async fn recipients_are_those_who_had_something() {
    let mut house = House::new();
    let queue = house.open();
    let jane = [named(1)];
    let to = |destination: &str, n: u64| {
        let job = NewJob { subjects: jane.to_vec(), ..job(n) };
        let whose =
            Whose { subjects: jane.to_vec(), choice: None, happened_ms: START, ..Whose::default() };
        Admission { whose, ..event(n, vec![send(destination, job)]) }
    };
    let verdicts: [(&str, Verdict); 5] = [
        ("delivered", delivered),
        ("rejected", dead),
        ("unknown", |_| JobVerdict::Dead { code: "unknown_result".into(), attempt: attempt() }),
        ("expired", |_| JobVerdict::Expired { code: "too_old".into() }),
        ("shadow", |_| JobVerdict::Shadowed),
    ];
    for (n, (destination, verdict)) in (0..).zip(verdicts) {
        one(&queue, to(destination, n)).await;
        let lease = queue.lease(destination, 10, 80).unwrap().unwrap();
        settle(&queue, lease, verdict).await;
    }
    one(&queue, to("pending", 9)).await;
    let refusal = all(Grant::Denied, START + 5);
    let judge: Judge = Arc::new(|_, _, _| Judgement::Same);
    let reached = queue.choose(jane.to_vec(), refusal, judge, Vec::new()).await.unwrap();
    assert_eq!(
        (reached.count, reached.recipients),
        (0, vec!["delivered".into(), "unknown".into()])
    );

    // A replay that arrives makes a recipient of it.
    let filter = DeadFilter { destination: Some("rejected".into()), ..DeadFilter::default() };
    queue.dead_replay(filter).await.unwrap();
    let lease = queue.lease("rejected", 10, 80).unwrap().unwrap();
    settle(&queue, lease, delivered).await;
    let erased = queue.erase(jane.to_vec(), at(START + 9), no_marks(), Vec::new()).await.unwrap();
    assert_eq!(erased.recipients, ["delivered", "rejected", "unknown"]);
    assert_eq!(erased.count, 2, "pending, and dead with an unknown result");
    queue.close().await;
}

#[tokio::test]
async fn what_is_on_its_way_is_waited_for_and_marks_are_kept() {
    let mut house = House::new();
    let queue = house.open();
    let (jane, john) = ([named(1)], [named(2)]);
    queue.admit(vec![by(1, &jane, None), by(2, &john, None)]).await.unwrap();
    // Sent, with an answer that never came: after a crash the chunk bears a mark.
    let lease = queue.lease("meta", 10, 80).unwrap().unwrap();
    queue.mark_sending(&lease).await.unwrap();
    let queue = house.reopen(queue).await;
    let refusal = all(Grant::Denied, START + 5);
    let reached =
        queue.choose(jane.to_vec(), refusal.clone(), everything_stops(), Vec::new()).await.unwrap();
    assert_eq!(reached.count, 1);
    let lease = queue.lease("meta", 10, 80).unwrap().unwrap();
    assert_eq!(ids_of(&lease), ["event-2"]);
    assert!(lease.unknown_result, "John's event may have arrived already");

    // On its way now: it comes back as a retry, and is stopped then.
    let leased = queue.clone();
    let settling = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let retry = |_| JobVerdict::Retry {
            wait: Duration::from_secs(60),
            counts: false,
            attempt: attempt(),
        };
        settle(&leased, lease, retry).await;
    });
    let reached =
        queue.choose(john.to_vec(), refusal, everything_stops(), Vec::new()).await.unwrap();
    assert_eq!(reached.count, 1);
    settling.await.unwrap();
    let stats = books(&queue, "meta").await;
    assert_eq!((stats.withdrawn, stats.pending, stats.in_flight), (2, 0, 0));
    queue.close().await;
}

#[tokio::test]
async fn workers_hear_of_refusals_also_after_a_restart() {
    let mut house = House::new();
    let queue = house.open();
    one(&queue, by(1, &[named(1), shared(1)], None)).await;
    one(&queue, by(2, &[named(2)], None)).await;
    // An event of the same person with a stricter signal; its own job is another's business.
    one(&queue, by(3, &[shared(1)], Some(all(Grant::Denied, START + 5)))).await;
    for again in [false, true] {
        let lease = queue.lease("meta", 10, 80).unwrap().unwrap();
        let heard: Vec<usize> = lease.later.keys().copied().collect();
        assert_eq!(heard, [0, 2], "again: {again}");
        queue.release(lease);
    }
    let queue = house.reopen(queue).await;
    let mut heard = Vec::new();
    while let Some(lease) = queue.lease("meta", 1, 80).unwrap() {
        heard.extend(
            lease.later.keys().map(|position| lease.jobs[*position].label.event_id.clone()),
        );
    }
    assert_eq!(heard, ["event-1", "event-3"]);
    queue.close().await;
}

#[tokio::test]
async fn nothing_of_a_person_is_in_the_files() {
    let mut house = House::new();
    let queue = house.open();
    let whom = *b"subject key of a";
    one(&queue, by(1, &[named(1), whom], Some(all(Grant::Granted, START)))).await;
    queue.erase(vec![named(1)], at(START + 5), no_marks(), Vec::new()).await.unwrap();
    queue.close().await;
    for file in files(&house.path) {
        let bytes = fs::read(&file).unwrap();
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(!holds(b"event-1"), "{}", file.display());
    }
}

#[tokio::test]
async fn keys_rotate_without_a_stop() {
    let mut house = House::new();
    let queue = house.open();
    one(&queue, by(1, &[named(1), shared(1)], Some(all(Grant::Denied, START)))).await;
    one(&queue, by(2, &[named(2)], None)).await;
    let lease = queue.lease("meta", 1, 80).unwrap().unwrap();
    settle(&queue, lease, dead).await;

    // A new key alone cannot take over; with the old one beside it, it does, and once it did the
    // old one is not needed any more.
    let first = house.settings.clone();
    let settings = |current: u8, previous: &[u8]| QueueSettings {
        encryption_key: Some(key(current)),
        previous_keys: previous.iter().map(|byte| key(*byte)).collect(),
        ..first.clone()
    };
    let refused = queue.rotate(&settings(8, &[]), [91; 32]).await.unwrap_err().to_string();
    assert!(refused.contains("previous_keys"), "{refused}");
    let (eight, nine) = (settings(8, &[7]), settings(9, &[8]));
    queue.rotate(&eight, [92; 32]).await.unwrap();
    one(&queue, by(3, &[named(3)], None)).await;
    queue.rotate(&nine, [93; 32]).await.unwrap();
    assert!(refuses(&queue, &[shared(1)]), "nothing stopped");
    queue.close().await;
    let message = house.refusal();
    assert!(message.contains("encryption key"), "the first key opens nothing: {message}");
    house.settings = settings(9, &[]);
    let queue = house.open();
    assert!(refuses(&queue, &[named(1)]));
    assert_eq!(queue.dead_list(DeadFilter::default()).await.unwrap().len(), 1);
    assert!(!queue.trace(id(1)).await.unwrap().copies.is_empty());
    let mut pending = 0;
    while let Some(lease) = queue.lease("meta", 1, 80).unwrap() {
        pending += lease.jobs.len();
    }
    assert_eq!(pending, 2);
    queue.close().await;
}
