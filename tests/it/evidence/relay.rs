//! The log of a real relay: killed under load, asked on the command line and over HTTP.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use super::told_of;
use crate::harness::{Folder, Relay, assert_balanced, binary, purchase};

async fn command(folder: &Folder, args: &[&str]) -> (i32, String) {
    let output = binary()
        .arg("evidence")
        .args(args)
        .args(["--config".as_ref(), folder.config().as_os_str()])
        .args(["--data".as_ref(), folder.data().as_os_str()])
        .output()
        .await
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_neither_loses_nor_doubles_a_record() {
    let folder = Folder::shipped();
    let mut acknowledged = BTreeSet::new();
    for round in 0..4 {
        let relay = Relay::start(&folder).await;
        for n in 0..6 {
            let id = format!("r{round}-{n}");
            let (status, answer) = relay.post(&purchase(&id)).await;
            assert_eq!(status, 202, "{answer}");
            acknowledged.insert(id);
            // Some kills come before the writer's turn, some after.
            tokio::time::sleep(Duration::from_millis(40 * round)).await;
        }
        relay.kill().await;
        let (code, report) = command(&folder, &["verify"]).await;
        assert_eq!(code, 0, "{report}");
    }
    let relay = Relay::start(&folder).await;
    assert_balanced(&relay.drained().await);
    relay.stop().await;
    let (code, report) = command(&folder, &["verify"]).await;
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((code, &report["ok"], &report["waiting"]), (0, &json!(true), &json!(0)), "{report}");
    let (_, exported) = command(&folder, &["export"]).await;
    let records = lines(&exported);
    assert_eq!(report["records"], records.len());
    let told = told_of(&records, "event");
    assert!(acknowledged.iter().all(|id| told.get(id) == Some(&1)), "{told:?}");
    let delivered = records.iter().filter(|one| one["outcome"] == "delivered");
    let sent: BTreeSet<_> =
        delivered.map(|one| (one["key"].to_string(), one["destination"].to_string())).collect();
    assert_eq!(sent.len(), acknowledged.len() * 4, "a proof for every delivery");
    // Each decision names its rule, also where there is no reason to give.
    let decided = records.iter().flat_map(|one| one["decisions"].as_array().into_iter().flatten());
    let mut named = 0;
    for decision in decided.filter(|decision| decision["decision"] != "skip") {
        let name = decision["destination"].as_str().unwrap();
        // Only meta's has a part of its own for the US.
        assert_eq!(decision["rule"], if name == "meta" { "meta/us" } else { name }, "{decision}");
        named += usize::from(decision["reasons"] == json!([]));
    }
    assert!(named > 0, "some are sent for no other reason than that nothing is against it");
    for proof in records.iter().filter(|one| one["outcome"] == "delivered") {
        assert_eq!(proof["config"], records[0]["config"], "{proof}");
        assert!(!proof["fields"].as_array().unwrap().is_empty(), "{proof}");
    }

    // Of one event: its decisions and what became of them.
    let (code, one) = command(&folder, &["export", "--event-id", "r0-0"]).await;
    let one = lines(&one);
    assert_eq!(code, 0);
    assert!(one.len() >= 5 && one[0]["event_id"] == "r0-0", "{one:?}");
    assert!(one.iter().all(|record| record["key"] == one[0]["key"]));
    let (_, none) = command(&folder, &["export", "--to", "2020-01-01T00:00:00Z"]).await;
    assert!(none.is_empty());

    // The configuration behind the hash is there, and explains the decision.
    let hash = records[0]["config"].as_str().unwrap();
    let kept = folder.data().join("evidence").join("config").join(hash);
    for file in ["relay.toml", "events.toml", "consent.toml", "destinations.toml"] {
        let (was, is) = (std::fs::read(kept.join(file)), std::fs::read(folder.config().join(file)));
        assert_eq!(was.unwrap(), is.unwrap(), "{file}");
    }
    let checked = binary().arg("check").arg("--config").arg(&kept).output().await.unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));

    // And who cuts the log's end is found.
    let day = std::fs::read_dir(folder.data().join("evidence")).unwrap();
    let mut files: Vec<_> =
        day.map(|entry| entry.unwrap().path()).filter(|p| p.is_file()).collect();
    files.sort();
    let last = files.last().unwrap();
    let bytes = std::fs::read(last).unwrap();
    std::fs::write(last, &bytes[..bytes.len() - 3]).unwrap();
    let (code, report) = command(&folder, &["verify"]).await;
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((code, &report["ok"]), (1, &json!(false)), "{report}");
    assert_eq!(report["problems"][0]["to"], records.len(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn privacy_acts_are_in_it_and_an_access_request_shows_it() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    for id in ["mine", "not-mine"] {
        let mut event = purchase(id);
        // Whoever shares a number is one person.
        event["user"]["phone"] = json!("");
        let (status, answer) = relay.post(&event).await;
        assert_eq!(status, 202, "{answer}");
    }
    relay.drained().await;
    let person = json!({"site": "shop_us", "user": {"external_id": "u-mine"}});
    let (status, answer) =
        relay.admin("POST", "/admin/v1/privacy/withdraw", Some(person.clone())).await;
    assert_eq!(status, 200, "{answer}");
    let (status, answer) =
        relay.admin("POST", "/admin/v1/privacy/erase", Some(person.clone())).await;
    assert_eq!(status, 200, "{answer}");

    // Pseudonymous evidence survives the erasure, and belongs to the person still.
    let (status, answer) =
        relay.admin("POST", "/admin/v1/privacy/export", Some(person.clone())).await;
    assert_eq!(status, 200, "{answer}");
    let evidence = answer["evidence"].as_array().unwrap();
    let told = told_of(evidence, "event");
    assert_eq!(told.keys().collect::<Vec<_>>(), ["mine"], "{evidence:#?}");
    let acts: Vec<&Value> = evidence.iter().filter(|one| one["kind"] == "act").collect();
    let names: Vec<&Value> = acts.iter().map(|act| &act["act"]).collect();
    assert_eq!(names, ["withdrawal", "erasure"]);
    assert_eq!((&acts[0]["by"], &acts[0]["site"]), (&json!("jane"), &json!("shop_us")));
    assert!(evidence.iter().any(|one| one["outcome"] == "delivered"));
    assert!(!answer["evidence"].to_string().contains("jane.mine"));

    let (status, report) = relay.admin("GET", "/admin/v1/evidence/verify", None).await;
    assert_eq!((status, &report["ok"]), (200, &json!(true)), "{report}");
    relay.stop().await;
}
