//! The writer under a clock of the test's own: what a record says, crashes between its steps, days,
//! retention, keys.

use conversion_relay::{
    evidence::Wanted,
    queue::{Attempt, JobVerdict, Settlement},
};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{DAY, House, event, told_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_says_what_was_decided_and_a_later_one_that_it_was_sent() {
    let mut house = House::new();
    let queue = house.open();
    house.admit(&queue, &event("e-1")).await;
    let mut silent = event("e-2");
    silent["consent"] = json!({"region": "DE", "gpc": true});
    house.admit(&queue, &silent).await;
    // A copy decides nothing anew.
    house.admit(&queue, &event("e-1")).await;
    let lease = queue.lease("meta", 10, 80).unwrap().unwrap();
    let verdicts = vec![JobVerdict::Delivered(Attempt { status: 200, ..Attempt::default() })];
    let settlement = Settlement { lease, verdicts, follow_ups: Vec::new() };
    queue.settle(settlement).await.unwrap();

    let before = house.lines(&queue, Wanted::default());
    assert_eq!(before.len(), 4, "also what is not in a file yet: {before:#?}");
    let mut writer = house.writer(&queue);
    writer.turn().await.unwrap();
    let records = house.lines(&queue, Wanted::default());
    assert_eq!(records, before, "moving changes nothing of what a record says");

    let first = &records[0];
    assert_eq!((&first["kind"], &first["n"]), (&json!("event"), &json!(1)));
    assert_eq!(first["event_id"], "e-1");
    assert_eq!(first["site"], "shop_us");
    assert_eq!(first["status"], "accepted");
    assert_eq!(first["config"], house.config.load().hash.as_str());
    assert_eq!(first["subjects"].as_array().unwrap().len(), 2);
    assert_eq!(first["signals"]["strings"][0]["raw"], "1YNN");
    assert_eq!(first["signals"]["id"], "choice-1");
    assert_eq!(first["signals"]["text_version"], "7");
    assert_eq!(first["decoded"]["grants"]["ad_storage"], "granted");
    let meta = |record: &serde_json::Value| {
        let all = record["decisions"].as_array().unwrap();
        all.iter().find(|one| one["destination"] == "meta").unwrap().clone()
    };
    assert_eq!(meta(first)["outcome"], "queued", "{first:#}");
    let fields = meta(first)["fields"].to_string();
    assert!(fields.contains("user.email"), "names of fields: {fields}");
    let second = meta(&records[1]);
    assert_eq!(second["outcome"], "held");
    assert!(second["reasons"][0]["rule"].is_string(), "{second:#}");
    assert_eq!(records[2]["status"], "duplicate");
    assert_eq!(meta(&records[2])["outcome"], "duplicate");
    let sent = &records[3];
    assert_eq!((&sent["kind"], &sent["outcome"]), (&json!("outcome"), &json!("delivered")));
    assert_eq!((&sent["key"], &sent["slot"]), (&first["key"], &meta(first)["slot"]));
    let all = serde_json::to_string(&records).unwrap();
    assert!(!all.contains("jane"), "no clear identity: {all}");

    // By hand: a line's hash is what the next one names.
    let mut lines = Vec::new();
    let show = &mut |line: &str, _: &serde_json::Value| lines.push(line.to_owned());
    conversion_relay::evidence::read(&queue, &house.data, &Wanted::default(), show).unwrap();
    for (line, next) in lines.iter().zip(&records[1..]) {
        let hash: String =
            Sha256::digest(line.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(next["previous"], hash.as_str());
    }
    let report = house.verify(&queue);
    assert!(report.ok && report.records == 4 && report.waiting == 0, "{report:?}");
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_its_steps_neither_loses_nor_doubles() {
    let mut house = House::new();
    let queue = house.open();
    house.admit_all(&queue, 1, 3).await;
    house.writer(&queue).turn().await.unwrap();
    let counted = std::fs::read(house.file("2026-11-22.log")).unwrap();
    // Before the file: nothing is written, all waits.
    house.admit_all(&queue, 4, 5).await;
    queue.close().await;
    let queue = house.open();
    assert_eq!(house.verify(&queue).waiting, 2);
    // After the file and before the store: bytes that nobody counts.
    let mut more = counted.clone();
    more.extend_from_slice(&[7; 300]);
    std::fs::write(house.file("2026-11-22.log"), more).unwrap();
    assert!(house.verify(&queue).ok, "what does not count is not read");
    house.writer(&queue).turn().await.unwrap();
    let records = house.lines(&queue, Wanted::default());
    let told = told_of(&records, "event");
    assert_eq!(told.len(), 5);
    assert!(told.values().all(|times| *times == 1), "{told:?}");
    let report = house.verify(&queue);
    assert!(report.ok && report.waiting == 0 && report.records == 5, "{report:?}");
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_ends_once_and_is_told_until_somebody_hears() {
    let mut house = House::new();
    let queue = house.open();
    let mut writer = house.writer(&queue);
    house.admit_all(&queue, 1, 2).await;
    writer.turn().await.unwrap();
    assert!(house.told.lock().unwrap().is_empty());
    let head = house.verify(&queue).head;
    *house.webhook_is_down.lock().unwrap() = true;
    house.later(DAY);
    writer.turn().await.unwrap();
    assert!(house.told.lock().unwrap().is_empty());
    // A restart forgets nothing that was not heard.
    queue.close().await;
    *house.webhook_is_down.lock().unwrap() = false;
    let queue = house.open();
    let mut writer = house.writer(&queue);
    house.admit_all(&queue, 3, 3).await;
    writer.turn().await.unwrap();
    writer.turn().await.unwrap();
    let told = house.told.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["day"], "2026-11-22");
    assert_eq!((&told[0]["head"], &told[0]["records"]), (&json!(head), &json!(2)));
    assert!(told[0]["text"].as_str().unwrap().contains("2026-11-22: 2 records"), "{told:?}");
    assert_eq!(house.files(), ["2026-11-22.log", "2026-11-23.log"]);
    assert!(house.verify(&queue).ok);
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_older_than_the_retention_goes_and_the_rest_still_verifies() {
    let mut house = House::new();
    let queue = house.open();
    let mut writer = house.writer(&queue);
    for day in 0..3 {
        house.admit_all(&queue, day * 2 + 1, day * 2 + 2).await;
        writer.turn().await.unwrap();
        house.later(DAY);
    }
    assert_eq!(house.files().len(), 3);
    // 400 days after the second day: the first is over.
    house.later(398 * DAY);
    writer.turn().await.unwrap();
    assert_eq!(house.files(), ["2026-11-23.log", "2026-11-24.log"]);
    let report = house.verify(&queue);
    assert!(report.ok && report.first == 3 && report.records == 6, "{report:?}");
    // Whoever takes the oldest file away before its time is found.
    std::fs::remove_file(house.file("2026-11-23.log")).unwrap();
    let report = house.verify(&queue);
    assert_eq!((report.ok, report.problems[0].record, report.problems[0].to), (false, 3, 4));
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_opens_what_an_old_one_sealed() {
    use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
    let mut house = House::new();
    let queue = house.open();
    house.admit_all(&queue, 1, 2).await;
    house.writer(&queue).turn().await.unwrap();
    house.admit_all(&queue, 3, 3).await;
    let mut settings = house.config.load().queue.clone();
    settings.encryption_key = Some(BASE64.encode([9; 32]).into());
    queue.rotate(&settings, [99; 32]).await.unwrap();
    house.admit_all(&queue, 4, 4).await;
    house.writer(&queue).turn().await.unwrap();
    let report = house.verify(&queue);
    assert!(report.ok && report.records == 4, "{report:?}");
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_kept_where_it_is_turned_off() {
    let mut house = House::new();
    let queue = house.open();
    queue.keep_evidence(false);
    house.admit_all(&queue, 1, 2).await;
    house.writer(&queue).turn().await.unwrap();
    assert!(house.files().is_empty());
    assert_eq!(house.verify(&queue).records, 0);
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_of_senders_are_scrubbed_and_cut() {
    let mut house = House::new();
    let queue = house.open();
    let mut event = event("e-1");
    event["consent"]["id"] = json!("zaphod.quux@example.com");
    event["consent"]["method"] = json!("m".repeat(9_000));
    event["consent"]["tcf"] = json!("call zaphod.quux@example.com");
    event["consent"]["categories"] = json!({"zaphod.quux@example.com": true});
    house.admit(&queue, &event).await;
    house.writer(&queue).turn().await.unwrap();
    let records = serde_json::to_string(&house.lines(&queue, Wanted::default())).unwrap();
    assert!(!records.contains("zaphod"), "{records}");
    assert!(records.contains("call"), "the rest of what came is kept: {records}");
    assert!(!records.contains(&"m".repeat(201)));
    queue.close().await;
}
