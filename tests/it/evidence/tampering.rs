//! Each kind of tampering is found, and the record is named: by somebody without the key, and where
//! it makes a difference by somebody with it.

use conversion_relay::queue::Queue;

use super::House;

const FILE: &str = "2026-11-22.log";
const HEAD: usize = 48;

/// Six records, each in a block of its own.
async fn six() -> (House, Queue) {
    let mut house = House::new();
    let queue = house.open();
    let mut writer = house.writer(&queue);
    for n in 1..=6 {
        house.admit_all(&queue, n, n).await;
        writer.turn().await.unwrap();
    }
    let report = house.verify(&queue);
    assert!(report.ok && report.records == 6, "{report:?}");
    (house, queue)
}

/// The file's head and its blocks.
fn blocks(bytes: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (head, mut rest) = bytes.split_at(HEAD);
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let sealed = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        let (block, later) = rest.split_at(16 + sealed);
        blocks.push(block.to_vec());
        rest = later;
    }
    (head.to_vec(), blocks)
}

/// What `verify` says after a change of the blocks: code, first and last record of each problem.
async fn found(change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<(&'static str, u64, u64)> {
    let (house, queue) = six().await;
    let (mut bytes, mut all) = blocks(&std::fs::read(house.file(FILE)).unwrap());
    assert_eq!(all.len(), 6);
    change(&mut all);
    bytes.extend(all.concat());
    std::fs::write(house.file(FILE), bytes).unwrap();
    let report = house.verify(&queue);
    assert!(!report.ok && report.problems.iter().all(|problem| problem.file == FILE));
    queue.close().await;
    report.problems.iter().map(|problem| (problem.code, problem.record, problem.to)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_record() {
    let found = found(|all| *all[2].last_mut().unwrap() ^= 1).await;
    assert_eq!(found, [("changed", 3, 3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_beginning_of_a_file() {
    let (house, queue) = six().await;
    let whole = std::fs::read(house.file(FILE)).unwrap();
    for at in 0..HEAD {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(house.file(FILE), bytes).unwrap();
        let report = house.verify(&queue);
        assert!(!report.ok && report.problems[0].record == 1, "byte {at}: {report:?}");
    }
    std::fs::write(house.file(FILE), whole).unwrap();
    assert!(house.verify(&queue).ok);
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_record() {
    assert_eq!(found(|all| drop(all.remove(3))).await, [("missing", 4, 4)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_in_another_order() {
    let found = found(|all| all.swap(1, 2)).await;
    assert_eq!(found, [("missing", 2, 2), ("out_of_order", 2, 2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_record() {
    let found = found(|all| all.insert(2, all[1].clone())).await;
    assert!(found.contains(&("out_of_order", 2, 2)), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_was_cut_off() {
    assert_eq!(found(|all| all.truncate(4)).await, [("missing", 5, 6)]);
    let within = found(|all| {
        let last = all.last_mut().unwrap();
        last.truncate(last.len() - 5);
    });
    assert_eq!(within.await, [("missing", 6, 6)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_gone_or_is_none() {
    let (house, queue) = six().await;
    std::fs::write(house.file(FILE), b"not a log").unwrap();
    assert_eq!(house.verify(&queue).problems[0].code, "unreadable");
    std::fs::remove_file(house.file(FILE)).unwrap();
    let report = house.verify(&queue);
    assert_eq!((report.problems[0].record, report.problems[0].to), (1, 6));
    queue.close().await;
}

/// Whoever has the key can seal a block anew: then the chain tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_was_sealed_anew() {
    for (changed, name) in [(2usize, 3u64), (5, 6)] {
        let (house, queue) = six().await;
        let (mut bytes, mut all) = blocks(&std::fs::read(house.file(FILE)).unwrap());
        let block = &mut all[changed];
        let place = [FILE.as_bytes(), &block[4..16]];
        let text = queue.unpack(&place, &block[16..]).unwrap();
        let text = String::from_utf8(text).unwrap().replace("\"accepted\"", "\"suppressed\"");
        let sealed = queue.pack(&place, text.as_bytes()).unwrap();
        let mut anew = u32::try_from(sealed.len()).unwrap().to_be_bytes().to_vec();
        anew.extend_from_slice(&block[4..16]);
        anew.extend(sealed);
        // Another length would move the place at which the file counts; compression hides it mostly.
        *block = anew;
        bytes.extend(all.concat());
        let counted = std::fs::metadata(house.file(FILE)).unwrap().len();
        bytes.resize(usize::try_from(counted).unwrap().max(bytes.len()), 0);
        std::fs::write(house.file(FILE), &bytes).unwrap();
        let report = house.verify(&queue);
        assert!(!report.ok, "{report:?}");
        assert!(
            report.problems.iter().any(|problem| problem.record <= name && problem.to >= name),
            "{name}: {report:?}"
        );
        queue.close().await;
    }
}

/// The log is never mended: what is missing stays missing, and what comes later goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_goes_on_after_tampering_and_still_tells_of_it() {
    let (mut house, queue) = six().await;
    queue.close().await;
    let (mut bytes, mut all) = blocks(&std::fs::read(house.file(FILE)).unwrap());
    all.truncate(5);
    bytes.extend(all.concat());
    std::fs::write(house.file(FILE), bytes).unwrap();
    let queue = house.open();
    let mut writer = house.writer(&queue);
    house.admit_all(&queue, 7, 8).await;
    writer.turn().await.unwrap();
    assert_eq!(house.files(), ["2026-11-22.001.log", FILE]);
    let report = house.verify(&queue);
    assert_eq!(report.records, 8);
    let found: Vec<_> = report.problems.iter().map(|one| (one.code, one.record, one.to)).collect();
    assert_eq!(found, [("missing", 6, 6)], "{report:?}");
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_was_changed_or_is_gone() {
    let (house, queue) = six().await;
    let folder = house.file("config").join(&house.config.load().hash);
    let rules = folder.join("consent.toml");
    let text = std::fs::read_to_string(&rules).unwrap();
    let found = |house: &House| {
        let report = house.verify(&queue);
        let problems = report.problems.iter().map(|one| (one.code, one.record)).collect::<Vec<_>>();
        assert_eq!(report.ok, problems.is_empty());
        problems
    };
    std::fs::write(&rules, format!("{text}# another day's rules\n")).unwrap();
    assert_eq!(found(&house), [("changed", 1)]);
    std::fs::write(&rules, text).unwrap();
    assert_eq!(found(&house), []);
    std::fs::remove_dir_all(folder).unwrap();
    assert_eq!(found(&house), [("missing", 1)]);
    queue.close().await;
}

/// What stands where nothing belongs: bytes behind the last record, and other files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_added_is_named() {
    let (house, queue) = six().await;
    let whole = std::fs::read(house.file(FILE)).unwrap();
    let (_, all) = blocks(&whole);
    for more in [&b"x"[..], &[7; 300], &all[5]] {
        std::fs::write(house.file(FILE), [&whole, more].concat()).unwrap();
        let report = house.verify(&queue);
        let found: Vec<_> = report.problems.iter().map(|one| (one.code, &*one.file)).collect();
        assert_eq!((report.ok, found), (false, vec![("surplus", FILE)]), "{report:?}");
        assert!(report.problems[0].message.contains(&format!("{} bytes", more.len())));
        assert!(report.problems[0].message.contains("record 6"), "{report:?}");
    }
    std::fs::write(house.file(FILE), &whole).unwrap();
    for name in ["2026-11-21.log", "2026-11-22.001.log", "2027-01-01.log", "notes.txt", "b.log"] {
        std::fs::write(house.file(name), &whole).unwrap();
        let report = house.verify(&queue);
        let named = report.problems.iter().any(|one| one.code == "surplus" && one.file == name);
        assert!(!report.ok && named, "{name}: {report:?}");
        std::fs::remove_file(house.file(name)).unwrap();
    }
    assert!(house.verify(&queue).ok);
    for name in ["config/notes.txt", "config/0123456789abcdef/relay.toml"] {
        std::fs::create_dir_all(house.file(name).parent().unwrap()).unwrap();
        std::fs::write(house.file(name), "x").unwrap();
        let report = house.verify(&queue);
        let entry = name.trim_end_matches("/relay.toml");
        let named = report.problems.iter().any(|one| one.code == "surplus" && one.file == entry);
        assert!(!report.ok && named, "{name}: {report:?}");
        std::fs::remove_dir_all(house.file("config")).unwrap();
    }
    queue.close().await;
}
