//! A queue that moves to the other engine, and a folder that the wrong engine opens.

use conversion_relay::queue::{Migration, migrate};

use super::*;

fn other() -> Engine {
    if engine() == Engine::Sled { Engine::Redb } else { Engine::Sled }
}

/// A queue with everything in it: fresh, retried and dead jobs, marks, a kept record.
async fn filled(house: &mut House) {
    let queue = house.open();
    for bite in 0..10 {
        let mut events: Vec<_> = (bite * 100..bite * 100 + 100).map(simple).collect();
        for event in &mut events {
            event.trace = vec![b't'; 3000];
        }
        queue.admit(events).await.unwrap();
    }
    let lease = queue.lease("meta", 50, 80).unwrap().unwrap();
    settle(&queue, lease, dead).await;
    let lease = queue.lease("meta", 50, 80).unwrap().unwrap();
    let retry =
        |_| JobVerdict::Retry { wait: Duration::from_millis(5), counts: true, attempt: attempt() };
    settle(&queue, lease, retry).await;
    let lease = queue.lease("meta", 50, 80).unwrap().unwrap();
    queue.mark_sending(&lease).await.unwrap();
    queue.keep("name", b"kept".to_vec()).await.unwrap();
    queue.close().await;
}

/// What can be seen of it through the queue.
async fn seen(house: &mut House) -> (Stats, Vec<String>, Vec<String>, u64) {
    let queue = house.open();
    assert_eq!(queue.kept("name").await.unwrap().as_deref(), Some(&b"kept"[..]));
    assert!(matches!(one(&queue, simple(999)).await, Admitted::Duplicate { .. }));
    house.pass(60_000);
    let stats = queue.stats().await;
    assert!(balanced(&stats));
    let (mut jobs, mut unknown) = (Vec::new(), 0);
    while let Some(lease) = queue.lease("meta", 100, 80).unwrap() {
        unknown += u64::from(lease.unknown_result);
        jobs.extend(ids_of(&lease));
    }
    jobs.sort();
    let dead =
        queue.dead_list(DeadFilter { limit: Some(1000), ..DeadFilter::default() }).await.unwrap();
    let mut dead: Vec<_> = dead.into_iter().map(|letter| letter.event_id).collect();
    dead.sort();
    queue.close().await;
    (stats, jobs, dead, unknown)
}

#[tokio::test]
async fn a_queue_moves_to_the_other_engine_and_back() {
    let mut house = House::new();
    filled(&mut house).await;
    let mut steps = Vec::new();
    let moved = migrate(&house.path, engine(), other(), &mut |step| steps.push(step)).unwrap();
    assert_eq!(moved.pending + moved.dead, 1000, "{moved:?}");
    assert!(moved.dead > 0, "{moved:?}");
    assert!(moved.kept.as_ref().unwrap().ends_with(format!("{}.migrated-1", engine().name())));
    let total = moved.records;
    assert!(steps.contains(&Migration::Copying(total, total)), "{steps:?}");
    assert_eq!(steps.last(), Some(&Migration::Comparing(total, total)));

    // The engine that no longer holds it is refused, with what to do.
    let refusal = house.refusal();
    assert!(refusal.contains("migrate --from") && refusal.contains("engine ="), "{refusal}");

    // Again: there is nothing left to do.
    let again = migrate(&house.path, engine(), other(), &mut |_| ()).unwrap();
    assert_eq!((again.kept, again.records, again.pending), (None, total, moved.pending));

    house.settings.engine = other();
    let there = seen(&mut house).await;
    assert_eq!((there.1.len() as u64, there.2.len() as u64), (moved.pending, moved.dead));
    assert!(there.3 > 0, "marks move too");
    migrate(&house.path, other(), engine(), &mut |_| ()).unwrap();
    house.settings.engine = engine();
    let mut back = seen(&mut house).await;
    // The duplicate that looking at it counts.
    back.0.duplicate -= 1;
    assert_eq!(back, there);
}

#[tokio::test]
async fn a_move_that_was_interrupted_anywhere_goes_on() {
    for crash in 0..5 {
        let mut house = House::new();
        filled(&mut house).await;
        let path = house.path.clone();
        let named = |engine: Engine, state: &str| path.join(format!("{}{state}", engine.name()));
        let (partial, ready) = (named(other(), ".migrating"), named(other(), ".ready"));
        let mut expected = 1000;
        if crash > 0 {
            // Half-way: what is killed leaves what it had committed.
            let halfway = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                migrate(&house.path, engine(), other(), &mut |step| {
                    assert!(!matches!(step, Migration::Copying(..)), "stopped half-way");
                })
            }));
            assert!(halfway.is_err() && partial.is_dir());
        }
        if crash == 2 {
            // Meanwhile a relay ran on the old store.
            let queue = house.open();
            let lease = queue.lease("meta", 300, 80).unwrap().unwrap();
            expected -= lease.jobs.len() as u64;
            settle(&queue, lease, delivered).await;
            queue.close().await;
        }
        if crash >= 3 {
            migrate(&house.path, engine(), other(), &mut |_| ()).unwrap();
            fs::rename(named(other(), ""), &ready).unwrap();
            if crash == 4 {
                fs::rename(named(engine(), ".migrated-1"), named(engine(), "")).unwrap();
            } else {
                // Neither engine starts empty between the two names.
                let refusal = house.refusal();
                assert!(refusal.contains("migrate --from"), "{refusal}");
            }
        }
        let moved = migrate(&house.path, engine(), other(), &mut |_| ()).unwrap();
        assert_eq!(moved.pending + moved.dead, expected, "crash {crash}: {moved:?}");
        assert!(!partial.exists() && !ready.exists());
        assert!(named(engine(), ".migrated-1").is_dir() && !named(engine(), "").exists());
        house.settings.engine = other();
        let (_, jobs, ..) = seen(&mut house).await;
        assert_eq!(jobs.len() as u64, moved.pending, "crash {crash}");
    }
}

#[tokio::test]
async fn a_folder_in_use_and_a_folder_without_a_queue_are_refused() {
    let mut house = House::new();
    let missing = migrate(&house.path, engine(), other(), &mut |_| ()).unwrap_err().to_string();
    assert!(missing.contains("--data"), "{missing}");
    assert!(!house.path.exists());
    let queue = house.open();
    let refusal = migrate(&house.path, engine(), other(), &mut |_| ()).unwrap_err().to_string();
    assert!(refusal.contains("locked by another process"), "{refusal}");
    queue.close().await;
    fs::remove_dir_all(house.store()).unwrap();
    let refusal = migrate(&house.path, engine(), other(), &mut |_| ()).unwrap_err().to_string();
    assert!(refusal.contains("holds no queue"), "{refusal}");
}
