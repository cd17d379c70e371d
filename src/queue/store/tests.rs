//! What every engine's files do over time.

use super::*;
use crate::{clock::Stopwatch, config::Engine};

const RECORD: usize = 1024;
const LIVE: u64 = 32 * 1024;
const BATCH: u64 = 200;

fn value(n: u64) -> Vec<u8> {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(RECORD)
    .collect()
}

/// Jobs come at one end and leave at the other; every seventh comes back for later, as retries do.
fn churn(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(engine, folder.path()).unwrap();
    let key = |space: u8, n: u64| [&[space][..], &n.to_be_bytes()].concat();
    let size = || {
        let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap());
        files.map(|file| file.metadata().unwrap().len()).sum::<u64>()
    };
    let (watch, live, mut largest) = (Stopwatch::start(), LIVE * RECORD as u64, 0);
    for first in (0..LIVE * 3).step_by(usize::try_from(BATCH).unwrap()) {
        let mut batch = Batch::default();
        for n in first..first + BATCH {
            batch.put(key(b'c', n), value(n));
            let Some(old) = n.checked_sub(LIVE) else { continue };
            batch.delete(key(b'c', old));
            if n % 7 == 0 {
                batch.put(key(b'r', old), value(old));
                batch.delete(key(b'r', old.saturating_sub(LIVE / 4 / 7 * 7)));
            }
        }
        store.commit(batch).unwrap();
        if first > LIVE {
            largest = largest.max(size());
        }
    }
    let mut records = 0;
    store
        .scan(&[], &[u8::MAX], Direction::Forward, &mut |_, _| {
            records += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    let took = watch.elapsed();
    assert!(records >= LIVE, "{records}");
    let mut batch = Batch::default();
    store
        .scan(&[], &[u8::MAX], Direction::Forward, &mut |key, _| {
            batch.delete(key.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
    store.commit(batch).unwrap();
    for n in 0..50 {
        let mut batch = Batch::default();
        batch.put(key(b'c', n), value(n));
        store.commit(batch).unwrap();
    }
    let drained = size();
    drop(store);
    drop(open(engine, folder.path()).unwrap());
    println!(
        "{engine:?}: live {} MiB, largest {} MiB, after draining {} MiB, opened again {} MiB, {took:?}",
        live >> 20,
        largest >> 20,
        drained >> 20,
        size() >> 20
    );
    assert!(largest <= 4 * live, "{engine:?} takes {largest} bytes for {live}");
}

#[test]
fn the_file_of_sled_stays_within_four_times_what_lives() {
    churn(Engine::Sled);
}

#[test]
fn the_file_of_redb_stays_within_four_times_what_lives() {
    churn(Engine::Redb);
}
