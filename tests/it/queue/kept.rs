//! Small sealed records that others keep.

use super::*;

/// Whether any file below a folder holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        fs::read(&path).unwrap().windows(bytes.len()).any(|part| part == bytes)
    })
}

#[tokio::test]
async fn a_record_is_the_last_one_kept_sealed_and_outlives_restarts() {
    let mut house = House::new();
    let queue = house.open();
    assert_eq!(queue.kept("grant/a").await.unwrap(), None);
    queue.keep("grant/a", b"a-clear-secret".to_vec()).await.unwrap();
    queue.keep("grant/ab", b"another".to_vec()).await.unwrap();
    assert_eq!(queue.kept("grant/a").await.unwrap().unwrap(), b"a-clear-secret");
    // Large, then small: no piece of the one before is left.
    queue.keep("grant/a", vec![7; 20_000]).await.unwrap();
    queue.keep("grant/a", b"a-new-secret".to_vec()).await.unwrap();
    let queue = house.reopen(queue).await;
    assert_eq!(queue.kept("grant/a").await.unwrap().unwrap(), b"a-new-secret");
    assert_eq!(queue.kept("grant/ab").await.unwrap().unwrap(), b"another");
    queue.close().await;
    assert!(!holds(&house.path, b"a-clear-secret") && !holds(&house.path, b"a-new-secret"));
}

#[tokio::test]
async fn what_was_answered_is_on_disk_though_nobody_closed() {
    let mut house = House::new();
    let queue = house.open();
    queue.keep("grant/a", b"secret".to_vec()).await.unwrap();
    // A killed process closes nothing: the files as they are now, elsewhere.
    let elsewhere = tempfile::tempdir().unwrap();
    copy(&house.path, elsewhere.path());
    house.path = elsewhere.path().to_owned();
    let killed = house.open();
    assert_eq!(killed.kept("grant/a").await.unwrap().unwrap(), b"secret");
    killed.close().await;
    queue.close().await;
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_full_disk_refuses_to_keep_and_says_so() {
    let mut house = House::new();
    let queue = house.open();
    house.free.store(0, Ordering::SeqCst);
    let refused = queue.keep("grant/a", b"secret".to_vec()).await.unwrap_err();
    assert!(refused.to_string().contains("full"), "{refused}");
    house.free.store(u64::MAX, Ordering::SeqCst);
    queue.keep("grant/a", b"secret".to_vec()).await.unwrap();
    assert!(queue.kept("grant/a").await.unwrap().is_some());
    queue.close().await;
}
