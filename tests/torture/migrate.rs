//! A queue moves to the other engine while SIGKILL strikes again and again: nothing is missing, nothing
//! is doubled, and what it says on the way can be read.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use conversion_relay::config::Engine;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::{Folder, Relay, assert_balanced, binary, purchase};

const DESTINATIONS: [&str; 4] = ["meta", "google_ads", "ga4", "crm"];

fn migrate(folder: &Folder, from: Engine, to: Engine) -> Command {
    let mut command = binary();
    command
        .args(["migrate", "--from", from.name(), "--to", to.name()])
        .args(["--config".as_ref(), folder.config().as_os_str()])
        .args(["--data".as_ref(), folder.data().as_os_str()])
        .stdin(Stdio::null());
    command
}

/// Exit code, standard output, standard error.
async fn ended(mut command: Command) -> (i32, String, String) {
    let output = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

async fn moves(from: Engine, to: Engine) {
    let folder = Folder::shipped();
    folder.use_engine(from);
    let relay = Relay::start(&folder).await;
    for name in DESTINATIONS {
        let path = format!("/admin/v1/destinations/{name}/pause");
        assert_eq!(relay.admin("POST", &path, None).await.0, 200);
    }
    let ids: Vec<String> = (0..1000).map(|n| format!("moved-{n}")).collect();
    for some in ids.chunks(250) {
        let mut events: Vec<Value> = some.iter().map(|id| purchase(id)).collect();
        for (event, id) in events.iter_mut().zip(some) {
            event["properties"]["order_id"] = json!(id);
        }
        let (status, answer) = relay.post(&json!(events)).await;
        assert_eq!((status, &answer["accepted"]), (202, &json!(some.len())), "{answer}");
    }
    let (code, _, log) = ended(migrate(&folder, from, to)).await;
    assert_eq!(code, 1, "{log}");
    assert!(log.contains("locked by another process"), "{log}");
    relay.kill().await;

    // Killed later and later, until one is through.
    let mut kills = 0;
    for wait in (5..).step_by(40) {
        let mut child =
            migrate(&folder, from, to).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let patience = Duration::from_millis(wait);
        if let Ok(status) = tokio::time::timeout(patience, child.wait()).await {
            assert!(status.unwrap().success());
            break;
        }
        child.kill().await.unwrap();
        kills += 1;
    }
    println!("migrate {} to {}: killed {kills} times", from.name(), to.name());
    assert!(kills > 0);
    let (code, out, log) = ended(migrate(&folder, from, to)).await;
    assert_eq!(code, 0, "{log}");
    let moved: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&moved["pending"], &moved["dead"]), (&json!(4000), &json!(0)), "{moved}");
    assert!(log.contains(&format!("engine = \"{}\"", to.name())), "{log}");

    // The configuration still names the other: nothing starts empty.
    let refused = Relay::try_start(&folder, &[]).await.err().expect("it is refused");
    assert!(refused.contains("migrate --from"), "{refused}");
    let named = |engine: Engine| format!("engine = \"{}\"", engine.name());
    folder.edit("relay.toml", |text| text.replace(&named(from), &named(to)));
    let relay = Relay::start(&folder).await;
    let (_, answer) = relay.post(&json!([purchase("moved-0")])).await;
    assert_eq!(answer["duplicate"], 1, "{answer}");
    for name in DESTINATIONS {
        let path = format!("/admin/v1/destinations/{name}/resume");
        assert_eq!(relay.admin("POST", &path, None).await.0, 200);
    }
    let stats = relay.drained_within(Duration::from_secs(120)).await;
    assert_balanced(&stats);
    for (name, platform) in DESTINATIONS.into_iter().zip(["meta", "google_ads", "ga4", "webhook"]) {
        assert_eq!(stats["destinations"][name]["delivered"], 1000, "{stats:#}");
        let mut arrived = BTreeMap::<String, u32>::new();
        for id in relay.accepted_ids(platform).await {
            *arrived.entry(id).or_default() += 1;
        }
        assert!(ids.iter().all(|id| arrived.get(id) == Some(&1)), "{name}: once each");
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_from_sled_to_redb_survives_kills() {
    moves(Engine::Sled, Engine::Redb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_from_redb_to_sled_survives_kills() {
    moves(Engine::Redb, Engine::Sled).await;
}

#[tokio::test]
async fn a_wrong_use_is_told_from_work_that_failed() {
    let folder = Folder::shipped();
    let (code, _, log) = ended(migrate(&folder, Engine::Sled, Engine::Sled)).await;
    assert_eq!(code, 2, "{log}");
    let (code, _, log) = ended(migrate(&folder, Engine::Sled, Engine::Redb)).await;
    assert_eq!(code, 1, "{log}");
    assert!(log.contains("--data") && !folder.data().exists(), "{log}");
    folder.edit("relay.toml", |_| "mode = 7\n".to_owned());
    let (code, _, log) = ended(migrate(&folder, Engine::Sled, Engine::Redb)).await;
    assert_eq!(code, 78, "{log}");
}
