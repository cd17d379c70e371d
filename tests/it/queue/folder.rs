//! The data folder: lock, mode, keys, no clear text.

use super::*;

#[tokio::test]
async fn a_folder_is_locked_by_whoever_has_it_open() {
    let mut house = House::new();
    let queue = house.open();
    let refusal = house.refusal();
    assert!(refusal.contains("locked by another process"), "{refusal}");
    queue.close().await;
    house.open().close().await;
}

#[tokio::test]
async fn a_folder_belongs_to_one_mode_while_it_holds_jobs() {
    let mut house = House::new();
    let queue = house.open();
    one(&queue, simple(1)).await;
    queue.close().await;
    house.mode = Mode::Live;
    let refusal = house.refusal();
    assert!(refusal.contains("sandbox") && refusal.contains("live"), "{refusal}");
    house.mode = Mode::Sandbox;
    let queue = house.open();
    let lease = queue.lease("meta", 1, 80).unwrap().unwrap();
    settle(&queue, lease, delivered).await;
    queue.close().await;
    house.mode = Mode::Live;
    house.open().close().await;
}

#[test]
fn a_folder_that_cannot_be_made_is_a_clear_error() {
    let mut house = House::new();
    fs::write(&house.path, "a file").unwrap();
    house.path = house.path.join("data");
    let refusal = house.refusal();
    assert!(refusal.contains("cannot be made") && refusal.contains("--data"), "{refusal}");
}

#[tokio::test]
async fn a_wrong_key_is_a_clear_error_and_nothing_is_lost() {
    let mut house = House::new();
    let queue = house.open();
    one(&queue, simple(1)).await;
    let (secret, hash) = (queue.subject_secret(), queue.keyed("event", &[b"a", b"b"]));
    queue.close().await;
    house.settings.encryption_key = Some(key(8));
    let refusal = house.refusal();
    assert!(refusal.contains("encryption_key") && refusal.contains("nothing"), "{refusal}");
    house.settings.encryption_key = Some("c2hvcnQ=".into());
    assert!(house.refusal().contains("32 bytes"));

    // Rotation wraps again: afterwards the old key is not needed.
    house.settings.encryption_key = Some(key(8));
    house.settings.previous_keys = vec![key(7)];
    let queue = house.open();
    assert_eq!(queue.subject_secret(), secret);
    queue.close().await;
    house.settings.previous_keys.clear();
    let queue = house.open();
    assert_eq!((queue.subject_secret(), queue.keyed("event", &[b"a", b"b"])), (secret, hash));
    assert_ne!(queue.keyed("event", &[b"ab", b""]), hash);
    assert_ne!(queue.keyed("same_as", &[b"a", b"b"]), hash);
    assert_eq!(ids_of(&queue.lease("meta", 1, 80).unwrap().unwrap()), ["event-1"]);
    queue.close().await;
}

#[cfg(unix)]
#[tokio::test]
async fn without_a_configured_key_a_key_file_is_made_for_us_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut house = House::new();
    house.settings.encryption_key = None;
    let queue = house.open();
    one(&queue, simple(1)).await;
    queue.close().await;
    let file = house.path.join("relay.key");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let queue = house.open();
    assert!(queue.lease("meta", 1, 80).unwrap().is_some());
    queue.close().await;
    house.settings.encryption_key = Some(key(3));
    let queue = house.open();
    assert!(queue.lease("meta", 1, 80).unwrap().is_some(), "the file's key still reads");
    queue.close().await;
    house.settings.encryption_key = None;
    // Beside data no key is made, and the text says what to do.
    for wrong in [
        None,
        Some(&b""[..]),
        Some(&[0; 44]),
        Some(b"not a key"),
        Some(b"c2hvcnQ="),
        Some(&[0xff; 44]),
    ] {
        match wrong {
            None => fs::remove_file(&file).unwrap(),
            Some(bytes) => fs::write(&file, bytes).unwrap(),
        }
        let refusal = house.refusal();
        assert!(refusal.contains("relay.key") && refusal.contains("from a backup"), "{refusal}");
        assert!(!refusal.contains("openssl"), "a new key would read nothing: {refusal}");
        assert_eq!(fs::read(&file).ok().as_deref(), wrong);
    }
}

/// A power cut in the very first start leaves a name without its bytes, or what was to be renamed.
#[tokio::test]
async fn an_empty_key_file_beside_nothing_is_made_anew() {
    for left in [&b""[..], b"\n", &[0; 44]] {
        for configured in [false, true] {
            let mut house = House::new();
            house.settings.encryption_key = configured.then(|| key(3));
            fs::create_dir_all(&house.path).unwrap();
            fs::write(house.path.join("relay.key"), left).unwrap();
            fs::write(house.path.join("relay.key.new"), "aGFsZg").unwrap();
            fs::write(house.path.join("relay.marker.new"), "").unwrap();
            fs::write(house.path.join("relay.ballast"), "").unwrap();
            let queue = house.open();
            one(&queue, simple(1)).await;
            queue.close().await;
            let queue = house.open();
            assert_eq!(ids_of(&queue.lease("meta", 1, 80).unwrap().unwrap()), ["event-1"]);
            queue.close().await;
            assert!(fs::metadata(house.path.join("relay.ballast")).unwrap().len() > 0);
        }
    }
    let mut house = House::new();
    house.settings.encryption_key = None;
    fs::create_dir_all(&house.path).unwrap();
    fs::write(house.path.join("relay.key"), "my own passphrase").unwrap();
    let refusal = house.refusal();
    assert!(refusal.contains("relay.key") && refusal.contains("remove it"), "{refusal}");
}

#[tokio::test]
async fn no_clear_text_is_on_disk() {
    let mut house = House::new();
    let queue = house.open();
    let claim = Claim {
        subject: [1; 16],
        event: "unmistakable_claim".into(),
        at_most: 1,
        per: None,
        at: at(START),
        day: jiff::civil::date(2026, 11, 22),
        not_after: None,
        by_event: id(1),
    };
    let mut secret = job(1);
    secret.body = b"unmistakable_body".repeat(3);
    secret.label.event_id = "unmistakable_id".into();
    let mut admission = event(1, vec![send("meta", secret)]);
    admission.parts[0].claim = Some(claim);
    admission.trace = b"unmistakable_trace".to_vec();
    one(&queue, admission).await;
    let lease = queue.lease("meta", 1, 80).unwrap().unwrap();
    settle(&queue, lease, dead).await;
    queue.close().await;
    let needle = b"unmistakable";
    let mut bytes = 0;
    for file in files(&house.path) {
        let content = fs::read(&file).unwrap();
        bytes += content.len();
        assert!(
            !content.windows(needle.len()).any(|window| window == needle),
            "clear text in {}",
            file.display()
        );
    }
    assert!(bytes > 1000);
}
