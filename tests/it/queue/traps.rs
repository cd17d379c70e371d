//! Each engine's traps: without its guard its test fails.

use super::*;

#[tokio::test]
async fn events_of_the_largest_size_leave_no_blob_files() {
    let mut house = House::new();
    let queue = house.open();
    for n in 0..40u64 {
        let mut large = job(n);
        // Does not compress: a value over the limit would be seen.
        let mut state = n + 1;
        large.body = (0..256 * 1024)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[0]
            })
            .collect();
        let expected = large.body.clone();
        let mut admission = event(n, vec![send("meta", large)]);
        admission.trace = expected.clone();
        one(&queue, admission).await;
        if n % 4 == 0 {
            let lease = queue.lease("meta", 1, 80).unwrap().unwrap();
            assert_eq!(lease.jobs[0].body.len(), expected.len());
            settle(&queue, lease, dead).await;
        }
    }
    let queue = house.reopen(queue).await;
    let mut jobs = 0;
    while let Some(lease) = queue.lease("meta", 100, 80).unwrap() {
        jobs += lease.jobs.len();
    }
    assert_eq!(jobs, 30);
    assert_eq!(queue.dead_list(DeadFilter::default()).await.unwrap().len(), 10);
    queue.close().await;
    if engine() == Engine::Sled {
        let blobs = house.store().join("blobs");
        assert!(blobs.is_dir());
        assert_eq!(files(&blobs), Vec::<PathBuf>::new());
    }
}

#[tokio::test]
async fn what_was_left_unfinished_is_not_taken_for_the_newest() {
    let mut house = House::new();
    let queue = house.open();
    one(&queue, simple(1)).await;
    queue.close().await;
    let unfinished = match engine() {
        Engine::Sled => "snap.FFFFFFFFFFFFFF00.generating",
        Engine::Redb => "db.new",
    };
    fs::write(house.store().join(unfinished), [0x5a; 100]).unwrap();
    let queue = house.open();
    assert_eq!(ids_of(&queue.lease("meta", 1, 80).unwrap().unwrap()), ["event-1"]);
    queue.close().await;
    assert!(!house.path.join("sled.corrupt-1").exists(), "removed before, not recovered after");
    // The first start of all was interrupted.
    let mut house = House::new();
    fs::create_dir_all(house.store()).unwrap();
    fs::write(house.store().join(unfinished), [0x5a; 100]).unwrap();
    house.open().close().await;
}

#[tokio::test]
async fn damage_beside_the_newest_state_is_recovered_from() {
    let mut house = House::new();
    let queue = house.open();
    queue.admit((0..100).map(simple).collect()).await.unwrap();
    // A snapshot is written when a log is opened.
    house.reopen(queue).await.close().await;
    match engine() {
        Engine::Sled => damage_snapshots(&house),
        Engine::Redb => damage_older_commit(&house),
    }
    let queue = house.open();
    if engine() == Engine::Sled {
        assert!(house.path.join("sled.corrupt-1").join("db").exists(), "a copy is kept");
    }
    let mut jobs = 0;
    while let Some(lease) = queue.lease("meta", 1000, 80).unwrap() {
        jobs += lease.jobs.len();
    }
    assert_eq!(jobs, 100);
    queue.close().await;
}

fn damage_snapshots(house: &House) {
    let snapshots: Vec<_> = files(&house.store())
        .into_iter()
        .filter(|file| file.file_name().unwrap().to_str().unwrap().starts_with("snap."))
        .collect();
    assert!(!snapshots.is_empty());
    for snapshot in &snapshots {
        let mut bytes = fs::read(snapshot).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        fs::write(snapshot, bytes).unwrap();
    }
}

/// redb's header has two places for commits, of 128 bytes each from byte 64, each beginning with its
/// format's version; bit 0 of byte 9 tells the newer.
fn damage_older_commit(house: &House) {
    let file = house.store().join("db");
    let mut bytes = fs::read(&file).unwrap();
    let older = if bytes[9] & 1 == 0 { 64 + 128 } else { 64 };
    bytes[older + 8..older + 128].fill(0x5a);
    fs::write(&file, bytes).unwrap();
}

#[tokio::test]
async fn a_corrupt_file_is_a_clear_error_never_an_empty_start() {
    for damage in ["garbage", "middle", "cut", "gone", "folder gone"] {
        let mut house = House::new();
        let queue = house.open();
        queue.admit((0..300).map(simple).collect()).await.unwrap();
        queue.close().await;
        let log = house.store().join("db");
        let length = fs::metadata(&log).unwrap().len();
        match damage {
            "garbage" => fs::write(&log, vec![0x5a; usize::try_from(length).unwrap()]).unwrap(),
            "middle" => {
                // Where jobs are: found though opening does not read it.
                let mut bytes = fs::read(&log).unwrap();
                let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
                bytes[used / 2..used / 2 + 4096].fill(0x5a);
                fs::write(&log, bytes).unwrap();
            }
            "cut" => fs::File::options().write(true).open(&log).unwrap().set_len(0).unwrap(),
            "gone" => fs::remove_file(&log).unwrap(),
            _ => fs::remove_dir_all(house.store()).unwrap(),
        }
        for _ in 0..2 {
            let refusal = house.refusal();
            assert!(refusal.contains("backup"), "{damage}: {refusal}");
        }
    }
}

/// sled may come back from damage with an older state and no word of it; the relay was killed, so
/// that the marker of its last stop knows nothing of what was kept since.
#[tokio::test]
async fn a_store_that_went_back_behind_what_was_noted_before_a_kill_is_refused() {
    let mut house = House::new();
    let queue = house.open();
    one(&queue, simple(1)).await;
    queue.close().await;
    let older: Vec<_> =
        files(&house.path).into_iter().map(|file| (fs::read(&file).unwrap(), file)).collect();
    let note = house.path.join("relay.durable");
    let before = fs::read(&note).unwrap();
    let queue = house.open();
    for n in 2..40 {
        one(&queue, simple(n)).await;
    }
    while fs::read(&note).unwrap() == before {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let noted = fs::read(&note).unwrap();
    queue.close().await;
    fs::remove_dir_all(house.store()).unwrap();
    fs::create_dir_all(house.store()).unwrap();
    for (bytes, file) in older {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
    fs::write(&note, &noted).unwrap();
    let refusal = house.refusal();
    assert!(refusal.contains("were durable") && refusal.contains("backup"), "{refusal}");
    // A note that a power cut tore says nothing.
    let mut torn = noted;
    torn[..before.len() / 2].copy_from_slice(&before[..before.len() / 2]);
    torn[2] = b'9';
    fs::write(&note, torn).unwrap();
    let queue = house.open();
    assert_eq!(ids_of(&queue.lease("meta", 1, 80).unwrap().unwrap()), ["event-1"]);
    queue.close().await;
}
