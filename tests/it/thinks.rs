//! Delivery that thinks: alerts, causes of dead letters, orders, and platforms that misbehave,
//! against the real binary and the sandbox.

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, routing::post};
use serde_json::{Value, json};

use crate::harness::{Folder, OwnSandbox, Relay, TOKEN, assert_balanced, binary, purchase};

/// A webhook of somebody who is told; what it was told.
async fn told_to(folder: &mut Folder) -> Arc<Mutex<Vec<Value>>> {
    let told: Arc<Mutex<Vec<Value>>> = Arc::default();
    let log = Arc::clone(&told);
    let app = Router::new().route(
        "/hook",
        post(move |body: String| {
            let log = Arc::clone(&log);
            async move { log.lock().unwrap().push(serde_json::from_str(&body).unwrap()) }
        }),
    );
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    folder.edit("relay.toml", |text| {
        format!("{text}\n[[alerts]]\nwebhook = {{ env = \"ALERT_URL\" }}\n")
    });
    folder.env.push(("ALERT_URL".to_owned(), url));
    told
}

async fn told_of(told: &Mutex<Vec<Value>>, state: &str) -> Value {
    for _ in 0..400 {
        let found = told.lock().unwrap().iter().find(|one| one["state"] == state).cloned();
        if let Some(found) = found {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nobody was told that it is {state}: {:?}", told.lock().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_is_told_once_and_once_more_when_it_is_over() {
    let mut folder = Folder::shipped();
    let told = told_to(&mut folder).await;
    let relay = Relay::start(&folder).await;
    relay.faults(Some(json!({"platform": "meta", "status": 401}))).await;
    relay.post(&purchase("a-1")).await;
    let firing = told_of(&told, "firing").await;
    assert_eq!(
        (&firing["type"], &firing["alert"], &firing["destination"]),
        (&json!("alert"), &json!("authorization_failing"), &json!("meta")),
        "{firing}"
    );
    let text = firing["text"].as_str().unwrap();
    assert!(text.contains("meta") && text.contains("To do"), "{text}");
    assert!(!firing.to_string().contains("jane"), "{firing}");
    let (status, active) = relay.admin("GET", "/admin/v1/alerts", None).await;
    assert_eq!((status, &active[0]["alert"]), (200, &json!("authorization_failing")), "{active}");

    // After a restart it still fires, and is not told again.
    relay.stop().await;
    let relay = Relay::start(&folder).await;
    relay.faults(Some(json!({"platform": "meta", "status": 401}))).await;
    relay.post(&purchase("a-2")).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(told.lock().unwrap().len(), 1, "{told:?}");

    relay.faults(None).await;
    relay.admin("POST", "/admin/v1/destinations/meta/resume", None).await;
    let over = told_of(&told, "over").await;
    assert_eq!(over["alert"], "authorization_failing", "{over}");
    let stats = relay.drained().await;
    assert_eq!(stats["destinations"]["meta"]["delivered"], 2, "{stats:#}");
    let log = relay.stop().await;
    assert!(log.contains("OVER authorization_failing meta"), "{log}");
}

/// Live, a webhook at a private address is told only where that is allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_goes_to_a_private_address_only_if_that_is_allowed() {
    for is_allowed in [false, true] {
        let mut folder = Folder::shipped();
        let sandbox = OwnSandbox::start().await;
        sandbox.point(&mut folder);
        let told = told_to(&mut folder).await;
        if is_allowed {
            folder.edit("relay.toml", |text| format!("{text}allow_private = true\n"));
        }
        sandbox.faults(&json!({"platform": "meta", "status": 401})).await;
        let relay = Relay::start(&folder).await;
        relay.post(&purchase("a-1")).await;
        if is_allowed {
            let firing = told_of(&told, "firing").await;
            assert_eq!(firing["alert"], "authorization_failing", "{firing}");
        } else {
            let mut active = Value::Null;
            for _ in 0..200 {
                active = relay.admin("GET", "/admin/v1/alerts", None).await.1;
                if active[0]["alert"] == "authorization_failing" {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            assert_eq!(active[0]["alert"], "authorization_failing", "it is shown all the same");
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(told.lock().unwrap().is_empty(), "{told:?}");
        }
        let log = relay.stop().await;
        assert_eq!(log.contains("allow_private"), !is_allowed, "{log}");
    }
}

async fn command(relay: &Relay, arguments: &[&str]) -> (i32, Vec<Value>, String) {
    let output = binary()
        .args(arguments)
        .args(["--admin", &relay.admin])
        .env("RELAY_ADMIN_TOKEN", TOKEN)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let lines = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let err = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), lines, err)
}

fn order(event_id: &str, order_id: &str) -> Value {
    let mut order = purchase(event_id);
    order["properties"]["order_id"] = json!(order_id);
    order
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_have_a_cause_a_hint_and_a_command() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    relay.faults(Some(json!({"platform": "google_ads", "partial": 1.0}))).await;
    let events: Vec<Value> = (0..3).map(|n| purchase(&format!("g-{n}"))).collect();
    relay.post(&json!(events)).await;
    relay.drained().await;
    let (code, groups, err) = command(&relay, &["dead", "groups"]).await;
    assert_eq!(code, 0, "{err}");
    let group = groups.iter().find(|g| g["destination"] == "google_ads").expect("a group");
    assert_eq!((&group["reason"], &group["count"]), (&json!("rejected"), &json!(3)), "{groups:#?}");
    assert!(!group["hint"].as_str().unwrap().is_empty());
    let replay = group["replay"].as_str().unwrap().to_owned();
    relay.faults(None).await;
    let words: Vec<&str> = replay.split(' ').skip(1).collect();
    let (code, answer, err) = command(&relay, &words).await;
    assert_eq!((code, &answer[0]["count"]), (0, &json!(3)), "{answer:?} {err}");
    let stats = relay.drained().await;
    assert_balanced(&stats);
    assert_eq!(stats["destinations"]["google_ads"]["dead"], 0, "{stats:#}");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_orders_is_answered_line_by_line() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    relay.post(&json!([order("e-1001", "1001"), order("e-1001", "1001")])).await;
    let mut held = order("e-1002", "1002");
    held["consent"] = json!({"region": "DE"});
    relay.post(&held).await;
    relay.post(&purchase("1003")).await;
    relay.drained().await;
    relay.faults(Some(json!({"platform": "google_ads", "partial": 1.0}))).await;
    relay.post(&order("e-1004", "1004")).await;
    relay.drained().await;

    let file = folder.dir.path().join("orders.csv");
    let text =
        "\u{feff}Order Number;Total\n1001;129.90\n1002;1\n1003;1\n1004;1\n9999;1\n1001;129.90\n";
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let (code, lines, err) = command(&relay, &["reconcile", file]).await;
    assert_eq!(code, 0, "{err}");
    let statuses: Vec<&str> =
        lines.iter().take(6).map(|line| line["status"].as_str().unwrap()).collect();
    let expected = ["sent", "held", "sent", "failed", "never_seen", "duplicate"];
    assert_eq!(statuses, expected, "{lines:#?}");
    let first = &lines[0];
    assert_eq!((&first["site"], &first["duplicates"]), (&json!("shop_us"), &json!(1)), "{first:#}");
    let meta = first["destinations"].as_array().unwrap();
    let meta = meta.iter().find(|one| one["destination"] == "meta").unwrap();
    assert_eq!(
        (&meta["status"], &meta["answer"]["status"]),
        (&json!("sent"), &json!(200)),
        "{meta}"
    );
    let held = lines[1]["destinations"].as_array().unwrap();
    assert!(held.iter().any(|one| one["reason"]["code"] == "no_signal"), "{held:?}");
    let totals = &lines[6]["totals"];
    assert_eq!(totals["by_status"]["sent"], 2, "{totals:#}");
    let platforms = totals["by_platform"].as_array().unwrap();
    let google = platforms.iter().find(|one| one["platform"] == "google_ads").unwrap();
    assert_eq!(google["failed"], 1, "{totals:#}");
    assert!(google["day"].as_str().unwrap().starts_with("20"), "{totals:#}");

    assert_eq!(command(&relay, &["reconcile", file, "--check"]).await.0, 1);
    let (code, _, err) = command(&relay, &["reconcile", file, "--column", "nothing"]).await;
    assert!(code == 1 && err.contains("Order Number"), "{err}");

    // As spreadsheets save it: their lines, their names' bytes, rows without an order.
    let text =
        b"Parameters:x=y\r\nOrder Number,Name\r\n1003,M\xfcller\r\n\r\n9998,x\r\n,y\r\n,\r\n";
    std::fs::write(file, text).unwrap();
    let (code, lines, err) = command(&relay, &["reconcile", file]).await;
    assert_eq!(code, 0, "{err}");
    let found: Vec<_> = lines.iter().take(2).map(|line| (&line["line"], &line["status"])).collect();
    assert_eq!(found, [(&json!(3), &json!("sent")), (&json!(5), &json!("never_seen"))]);
    assert_eq!(lines[2]["totals"]["rows_without_order"], 1, "{lines:#?}");
    assert!(err.contains("1 rows name no order"), "{err}");

    // What was erased is not found any more.
    let body = json!({"site": "shop_us", "user": {"external_id": "u-e-1001"}});
    let (status, answer) = relay.admin("POST", "/admin/v1/privacy/erase", Some(body)).await;
    assert_eq!(status, 200, "{answer}");
    let body = json!({"orders": ["1001", {"order_id": "1003", "site": "shop_us"}]});
    let (_, told) = relay.admin("POST", "/admin/v1/orders", Some(body)).await;
    assert_eq!(told["orders"][0]["status"], "never_seen", "{told:#}");
    assert_eq!(told["orders"][1]["status"], "sent", "{told:#}");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_platform_costs_nobody_else() {
    for faults in [
        json!({"platform": "meta", "status": 503}),
        json!({"platform": "meta", "status": 429}),
        json!({"platform": "meta", "latency_ms": 60_000}),
        json!({"platform": "meta", "lost": true}),
    ] {
        let folder = Folder::shipped();
        let relay = Relay::start(&folder).await;
        relay.faults(Some(faults.clone())).await;
        let events: Vec<Value> = (0..100).map(|n| purchase(&format!("b-{n}"))).collect();
        let (status, answer) = relay.post(&json!(events)).await;
        assert_eq!((status, &answer["accepted"]), (202, &json!(100)), "{answer}");
        for _ in 0..300 {
            let stats = relay.stats().await;
            let is_done =
                |name: &str| stats["destinations"][name]["delivered"].as_u64() == Some(100);
            if ["google_ads", "ga4", "crm"].into_iter().all(is_done) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let stats = relay.stats().await;
        assert_balanced(&stats);
        for name in ["google_ads", "ga4", "crm"] {
            assert_eq!(stats["destinations"][name]["delivered"], 100, "{faults}: {stats:#}");
        }
        let meta = &stats["destinations"]["meta"];
        assert_eq!((&meta["dead"], &meta["expired"]), (&json!(0), &json!(0)), "{faults}: {meta:#}");
        relay.kill().await;
    }
}
