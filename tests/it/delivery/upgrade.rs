//! A data folder of an earlier version is read whole: with every kind of record in the shapes of
//! that day, by either engine. The folders are in `tests/fixtures/queue`, one an engine and version
//! of the records; they are made once, by the version that they are named after:
//! `cargo nextest run --test it upgrade --run-ignored only`, and never again.

use std::{path::PathBuf, sync::Arc, time::Duration};

use conversion_relay::{
    clock::{Clock, Stopwatch},
    config::Engine,
    consent::{Grant, Grants, Purpose, ReasonCode, State, memory::Choice},
    destinations::FollowUp,
    event::{Adjustment, AdjustmentKind},
    job::Stored,
    plan::{Claim, Milestone, Per},
    queue::{
        Admission, Admitted, Attempt, DeadFilter, Evidence, JobVerdict, Queue, QueueFate,
        Settlement, Whose, subject,
    },
};
use jiff::{SignedDuration, Timestamp};
use tokio::process::Command;

use super::{
    doubles::{DEDUPLICATES, Stub, config, destination, policy, prepared, reply},
    plain,
    real::{admission, books, deliver, opening},
};

/// When the folders were made.
const MADE: &str = "2026-11-22T04:00:00Z";
const ENGINES: [Engine; 2] = [Engine::Sled, Engine::Redb];

fn made() -> Timestamp {
    MADE.parse().unwrap()
}

fn archive(engine: Engine) -> PathBuf {
    let name = format!("tests/fixtures/queue/{}-1.tar.gz", engine.name());
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// So long after the folders were made, and on from there.
fn later(by: SignedDuration) -> Clock {
    let watch = Stopwatch::start();
    Arc::new(move || made() + by + SignedDuration::try_from(watch.elapsed()).unwrap())
}

fn person() -> Vec<[u8; 16]> {
    vec![subject([3; 16], true), subject([4; 16], false)]
}

fn denied() -> Choice {
    let mut grants = Grants::default();
    Purpose::ALL.iter().for_each(|(purpose, _)| *grants.get_mut(*purpose) = Grant::Denied);
    Choice::of(&State { grants, at_ms: made().as_millisecond(), ..State::default() }, made())
        .unwrap()
}

/// Counted once a person, and held by consent.
fn claimed(event_id: &str, fate: Option<ReasonCode>) -> Admission {
    let mut admission = admission(event_id, made());
    let milestone = |event: &str| Milestone { subject: [5; 16], event: event.to_owned() };
    let part = &mut admission.parts[0];
    part.same_as = Some(admission.id);
    part.claim = Some(Claim {
        subject: [5; 16],
        event: "purchase".to_owned(),
        at_most: 1,
        per: Some(Per::Days(30)),
        at: made(),
        day: jiff::civil::date(2026, 11, 22),
        not_after: Some(milestone("unsubscribe")),
        by_event: admission.id,
    });
    part.reaches = Some((milestone("purchase"), made()));
    if let Some(code) = fate {
        part.decisions[0].fate = QueueFate::Held(code);
    }
    admission
}

/// An adjustment that says when its original happened.
fn refund(event_id: &str) -> Admission {
    let mut refunded = prepared(event_id);
    (refunded.time, refunded.expires_at) = (made(), made() + Duration::from_secs(86_400));
    refunded.adjusts = Some(Adjustment {
        order_id: Some("1001".to_owned()),
        event_id: None,
        kind: AdjustmentKind::Refund,
        amount: None,
        at: Some(made()),
    });
    let mut admission = admission(event_id, made());
    if let QueueFate::Queued(job) = &mut admission.parts[0].decisions[0].fate {
        job.body = Stored::encode(refunded).unwrap();
    }
    admission
}

async fn settle(queue: &Queue, verdict: JobVerdict, follow_ups: Vec<(Duration, Vec<u8>)>) {
    let lease = queue.lease("d", 1, 80).unwrap().unwrap();
    assert_eq!(lease.jobs.len(), 1);
    let verdicts = vec![verdict];
    queue.settle(Settlement { lease, verdicts, follow_ups }).await.unwrap();
}

fn refused() -> Attempt {
    Attempt {
        status: 400,
        reason: "100".to_owned(),
        message: "Invalid parameter".to_owned(),
        took: Duration::from_millis(12),
        ..Attempt::default()
    }
}

#[tokio::test]
#[ignore = "the folders are made once a version of the records"]
async fn make_the_folders() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let queue = Queue::open(opening(&data, engine, later(SignedDuration::ZERO))).unwrap();
        queue.keep_evidence(true);
        let admit = async |admission: Admission| {
            queue.admit(vec![admission]).await.unwrap();
        };
        admit(admission("dead", made())).await;
        let dead = JobVerdict::Dead { code: "rejected".to_owned(), attempt: refused() };
        settle(&queue, dead, Vec::new()).await;
        admit(admission("asked", made())).await;
        let question = FollowUp { id: "r-1".to_owned(), events: 1, attempt: 0, due: made() };
        let question = postcard::to_allocvec(&question).unwrap();
        let delivered = JobVerdict::Delivered(Attempt { status: 200, ..Attempt::default() });
        settle(&queue, delivered, vec![(Duration::ZERO, question)]).await;
        admit(admission("again", made())).await;
        let wait = Duration::from_secs(30);
        let again = JobVerdict::Retry { wait, counts: true, attempt: refused() };
        settle(&queue, again, Vec::new()).await;
        admit(claimed("held", Some(ReasonCode::NoSignal))).await;
        admit(admission("marked", made())).await;
        let sending = queue.lease("d", 1, 80).unwrap().unwrap();
        queue.mark_sending(&sending).await.unwrap();
        admit(admission("waits", made())).await;
        admit(refund("refund")).await;
        let whose = Whose {
            click: None,
            traits: Vec::new(),
            subjects: person(),
            choice: Some(denied()),
            happened_ms: made().as_millisecond(),
        };
        let mut theirs = admission("theirs", made());
        theirs.parts[0].decisions[0].fate = QueueFate::Skipped { is_mapped: true };
        admit(Admission { whose, ..theirs }).await;
        queue.keep("kept", b"a record of somebody".to_vec()).await.unwrap();
        queue.count_rejected(3);
        queue.close().await;
        let tar = Command::new("tar")
            .args(["--sparse", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "-czf"])
            .arg(archive(engine))
            .arg("-C")
            .args([folder.path().as_os_str(), "data".as_ref()])
            .status();
        assert!(tar.await.unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_the_first_records_is_read_whole_and_delivered() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(archive(engine)).arg("-C").arg(folder.path());
        assert!(tar.status().await.unwrap().success());
        let clock = later(SignedDuration::from_mins(10));
        let data = folder.path().join("data");
        let open = || Queue::open(opening(&data, engine, Arc::clone(&clock))).unwrap();
        let queue = open();
        reads_everything(&queue).await;
        queue.close().await;
        drop(queue);
        // What the first start wrote over it is read by the next.
        let queue = open();
        delivers_everything(&queue, clock).await;
        queue.close().await;
    }
}

async fn reads_everything(queue: &Queue) {
    let stats = queue.stats().await;
    assert_eq!((stats.accepted, stats.rejected), (8, 3), "{stats:#?}");
    let d = books(queue).await;
    assert_eq!((d.pending, d.dead, d.delivered), (4, 1, 1), "{d:#?}");
    assert_eq!((d.held.no_signal, d.skipped, d.retried), (1, 1, 1), "{d:#?}");

    let letters = queue.dead_list(DeadFilter::default()).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].event_id.as_str(), letters[0].reason.as_str()), ("dead", "rejected"));
    assert_eq!(letters[0].message, "100: Invalid parameter");
    let groups = queue.dead_groups(DeadFilter::default()).await.unwrap().groups;
    assert_eq!((groups.len(), groups[0].code.as_str()), (1, "100"));

    let id = admission("again", made()).id;
    let trace = queue.trace(id).await.unwrap();
    assert_eq!((trace.copies.len(), trace.outcomes.len()), (1, 1), "{trace:?}");
    assert_eq!(trace.copies[0].record, b"trace of again");
    assert_eq!(queue.orders([id].into()).await.unwrap()[&id].len(), 1);
    assert_eq!(queue.kept("kept").await.unwrap().unwrap(), b"a record of somebody");
    assert!(queue.remembered(&person()).unwrap().choice.refuses());

    let told = queue.evidence(1_000).await.unwrap();
    let lines: Vec<&Evidence> = told.iter().flat_map(|waiting| &waiting.lines).collect();
    // Events without grounds leave none there.
    let outcomes = lines.iter().filter(|line| matches!(line, Evidence::Outcome { .. })).count();
    assert_eq!((outcomes, lines.len()), (3, 3), "{lines:?}");

    // Ids, what is the same, marks and what was held.
    let copies = [admission("waits", made()), claimed("other", None), claimed("held", None)];
    let mut other = copies[1].clone();
    other.parts[0].same_as = None;
    let copies = vec![copies[0].clone(), other, copies[2].clone()];
    assert_eq!(
        queue.admit(copies).await.unwrap(),
        [
            Admitted::Duplicate { released: 0 },
            Admitted::Suppressed,
            Admitted::Duplicate { released: 1 }
        ]
    );
}

async fn delivers_everything(queue: &Queue, clock: Clock) {
    let stub = Stub::new(|_, _| async { reply(200, &[], "") }).await;
    let replayed = queue.dead_replay(DeadFilter::default()).await.unwrap();
    assert_eq!(replayed, 1);
    let double = plain(&stub.url);
    let delivery = deliver(config(destination(&DEDUPLICATES, double, policy())), queue, clock);
    for _ in 0..400 {
        let d = books(queue).await;
        let is_asked = stub.seen().iter().any(|seen| seen.path == "/status");
        if d.delivered == 7 && is_asked {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let d = books(queue).await;
    assert_eq!((d.delivered, d.pending, d.dead, d.expired), (7, 0, 0, 0), "{d:#?}");
    let sent = stub.seen().into_iter().filter(|seen| seen.path == "/send");
    let mut ids: Vec<String> = sent.flat_map(|seen| seen.ids).collect();
    ids.sort();
    assert_eq!(ids, ["again", "dead", "held", "marked", "refund", "waits"]);
    drop(delivery);
}
