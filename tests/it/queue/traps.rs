//! Each of sled's traps: without its guard its test fails.

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
            settle(&queue, lease, dead, at(START)).await;
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
    let blobs = house.sled().join("blobs");
    assert!(blobs.is_dir());
    assert_eq!(files(&blobs), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_half_written_snapshot_is_not_taken_for_the_newest() {
    let mut house = House::new();
    let queue = house.open();
    one(&queue, simple(1)).await;
    queue.close().await;
    fs::write(house.sled().join("snap.FFFFFFFFFFFFFF00.generating"), [0x5a; 100]).unwrap();
    let queue = house.open();
    assert_eq!(ids_of(&queue.lease("meta", 1, 80).unwrap().unwrap()), ["event-1"]);
    queue.close().await;
    assert!(!house.path.join("sled.corrupt-1").exists(), "removed before, not recovered after");
}

#[tokio::test]
async fn a_corrupt_snapshot_is_put_aside_and_the_log_recovers_everything() {
    let mut house = House::new();
    let queue = house.open();
    queue.admit((0..100).map(simple).collect()).await.unwrap();
    // A snapshot is written when a log is opened.
    house.reopen(queue).await.close().await;
    let snapshots: Vec<_> = files(&house.sled())
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
    let queue = house.open();
    assert!(house.path.join("sled.corrupt-1").join("db").exists(), "a copy is kept");
    let mut jobs = 0;
    while let Some(lease) = queue.lease("meta", 1000, 80).unwrap() {
        jobs += lease.jobs.len();
    }
    assert_eq!(jobs, 100);
    queue.close().await;
}

#[tokio::test]
async fn a_corrupt_file_is_a_clear_error_never_an_empty_start() {
    for damage in ["garbage", "middle", "cut", "gone", "folder gone"] {
        let mut house = House::new();
        let queue = house.open();
        queue.admit((0..300).map(simple).collect()).await.unwrap();
        queue.close().await;
        let log = house.sled().join("db");
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
            _ => fs::remove_dir_all(house.sled()).unwrap(),
        }
        for _ in 0..2 {
            let refusal = house.refusal();
            assert!(refusal.contains("backup"), "{damage}: {refusal}");
        }
    }
}
