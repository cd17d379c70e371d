//! Sentences of the interface, held against the real binary: what is sent, refused and said.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{Folder, KEY, Relay, binary, purchase};

const NOW: &str = "2026-11-22T04:00:00Z";

/// Runs a command with something on its standard input.
async fn run(folder: &Folder, arguments: &[&str], input: &str) -> Output {
    let mut command = binary();
    command.args(arguments).arg("--config").arg(folder.config());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    child.wait_with_output().await.unwrap()
}

async fn explain(folder: &Folder, event: &Value) -> Vec<Value> {
    let output = run(folder, &["explain", "--now", NOW, "-"], &event.to_string()).await;
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A purchase of an American who agreed to everything.
fn bought(id: &str) -> Value {
    let mut event = purchase(id);
    event["timestamp"] = json!("2026-11-22T03:00:00Z");
    event
}

fn body<'l>(line: &'l Value, destination: &str) -> &'l Value {
    &line["destinations"][destination]["requests"][0]["body"]
}

#[tokio::test]
async fn an_empty_list_is_the_same_as_absent() {
    let folder = Folder::shipped();
    let mut event = bought("c1");
    event["lead"] = json!([]);
    event["user"]["first_name"] = json!([]);
    event["user"]["email"] = json!([]);
    event["properties"]["tax"] = json!([]);
    event["properties"]["items"] = json!([]);
    event["sent_at"] = json!([]);
    let line = explain(&folder, &event).await.remove(0);
    assert_eq!(line["status"], "accepted", "{line:#}");
}

#[tokio::test]
async fn unknown_ids_and_context_are_kept_for_webhooks_only() {
    let folder = Folder::shipped();
    folder.edit("destinations.toml", |text| {
        let fields = text.split("fields = [").nth(1).unwrap().split(']').next().unwrap();
        text.replace(
            fields,
            "\"lead\", \"click_ids\", \"context.experiment\", \"context.shelf\", \
             \"properties.items\"",
        )
    });
    folder.edit("consent.toml", |text| {
        text.replace(
            "\"user.phone\", \"lead\"",
            "\"user.phone\", \"context\", \"click_ids\", \"lead\"",
        )
    });
    let mut event = bought("c2");
    event["lead"] = json!({"id": "L1", "hubspot": "h-1"});
    event["click_ids"]["newclid"] = json!("n-1");
    event["context"]["experiment"] = json!({"checkout_copy": "b"});
    event["context"]["shelf"] = json!(7);
    event["properties"]["items"] = json!([{"id": "SKU-1", "colour": "red"}]);
    let line = explain(&folder, &event).await.remove(0);
    let sent = body(&line, "crm");
    assert_eq!(sent["lead"], json!({"id": "L1", "hubspot": "h-1"}), "{line:#}");
    assert_eq!(sent["click_ids"]["newclid"], "n-1");
    assert_eq!(sent["context"], json!({"experiment": {"checkout_copy": "b"}, "shelf": 7}));
    assert_eq!(sent["properties"]["items"], json!([{"id": "SKU-1", "colour": "red"}]));
    for other in ["meta", "google_ads", "ga4"] {
        let text = body(&line, other).to_string();
        for word in ["h-1", "n-1", "checkout_copy", "shelf", "red"] {
            assert!(!text.contains(word), "{other} has {word}: {text}");
        }
    }
    let codes: Vec<&str> =
        line["warnings"].as_array().unwrap().iter().filter_map(|w| w["code"].as_str()).collect();
    assert_eq!(codes, ["unknown_click_id", "unknown_click_id"]);
}

#[tokio::test]
async fn one_value_in_two_spellings_is_sent_once() {
    let folder = Folder::shipped();
    let mut event = bought("c3");
    event["user"]["phone"] = json!(["+1 415 555 0133", "(415) 555-0133"]);
    event["user"]["email"] = json!(["jane@example.com", " JANE@example.com", "j@example.com"]);
    let line = explain(&folder, &event).await.remove(0);
    let user = &body(&line, "meta")["data"][0]["user_data"];
    assert_eq!(user["ph"].as_array().unwrap().len(), 1, "{user}");
    assert_eq!(user["em"].as_array().unwrap().len(), 2, "{user}");
}

#[tokio::test]
async fn a_region_has_rules_of_its_own() {
    let folder = Folder::shipped();
    folder.edit("consent.toml", |text| {
        text.replace(
            "[destinations.meta.regions.us]",
            "[destinations.meta.regions.us]\nnever_send = [\"user.email\"]\n\
             needs = [\"analytics_storage\"]\nwhen_personalization_denied = \"drop\"",
        )
    });
    let mut event = bought("c4");
    let consent = |region: &str, denied: &str| {
        let mut consent = json!({
            "ad_storage": "granted", "ad_user_data": "granted",
            "ad_personalization": "granted", "analytics_storage": "granted", "region": region
        });
        consent[denied] = json!("denied");
        consent
    };
    for (region, denied, decision) in [
        ("US-CA", "ad_storage", "send"),
        ("DE", "ad_storage", "held"),
        ("US-CA", "analytics_storage", "held"),
        ("DE", "analytics_storage", "send"),
        ("US-CA", "ad_personalization", "held"),
        ("DE", "ad_personalization", "send"),
    ] {
        event["consent"] = consent(region, denied);
        let line = explain(&folder, &event).await.remove(0);
        let meta = &line["destinations"]["meta"];
        assert_eq!(meta["decision"], decision, "{region} {denied}: {meta:#}");
        if decision == "send" {
            let has_email = meta["removed"].as_array().unwrap().contains(&json!("user.email"));
            assert_eq!(has_email, region == "US-CA", "{region}");
        }
        if region == "US-CA" && decision == "held" {
            assert_eq!(meta["reasons"][0]["rule"], "meta/us");
        }
    }
}

#[tokio::test]
async fn a_criterion_that_does_not_hold_is_the_plan_events() {
    let folder = Folder::shipped();
    let mut event = bought("c5");
    event["event"] = json!("Checkout Started");
    event["properties"]["cart_size"] = json!(0);
    let lines = explain(&folder, &event).await;
    let line = &lines[0];
    assert_eq!(line["status"], "criteria_not_met");
    assert_eq!((&line["event"], &line["kind"]), (&json!("begin_checkout"), &json!("micro")));
}

#[tokio::test]
async fn a_limit_that_could_not_be_kept_is_refused() {
    let folder = Folder::shipped();
    folder.edit("events.toml", |text| text.replace("at_most = 3", "at_most = 51"));
    let output = run(&folder, &["check"], "").await;
    assert_eq!(output.status.code(), Some(78));
    let said =
        String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("events.add_to_cart.count.at_most"), "{said}");
}

#[tokio::test]
async fn without_a_test_mode_nothing_is_sent_in_test_mode() {
    let folder = Folder::shipped();
    folder.edit("relay.toml", |text| text.replace("mode = \"sandbox\"", "mode = \"test\""));
    folder.write(
        "destinations.toml",
        "[linkedin]\nplatform = \"linkedin\"\nsites = [\"shop_us\"]\n\
         access_token = { env = \"T\" }\n",
    );
    folder.write("consent.toml", "version = \"1\"\n[regions.us]\nmatch = [\"*\"]\nmodel = \"opt_out\"\n[destinations.linkedin]\nmay_send = [\"user.email\", \"click_ids\"]\n");
    folder.write("events.toml", "[events.purchase]\nkind = \"macro\"\n[events.purchase.destinations]\nlinkedin = { conversion_rule = \"1\" }\n");
    let line = explain(&folder, &bought("c6")).await.remove(0);
    let linkedin = &line["destinations"]["linkedin"];
    assert_eq!(linkedin["decision"], "skip", "{line:#}");
    assert_eq!(linkedin["reasons"][0]["code"], "test_mode");
}

#[tokio::test]
async fn wrong_usage_ends_with_2() {
    let folder = Folder::shipped();
    for arguments in [
        &["identity", "--platform", "metaa"][..],
        &["identity", "--platform", "meta", "--country", "USA"],
        &["explain", "--nwo", NOW][..],
    ] {
        let mut command = binary();
        let output = command.args(arguments).stdin(Stdio::null()).output().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    let data = folder.data();
    let output = run(&folder, &["explain", "--data", data.to_str().unwrap(), "-"], "").await;
    assert_eq!(output.status.code(), Some(1), "there is no such folder, and none is made");
    assert!(!data.exists());
}

#[tokio::test]
async fn explain_knows_what_a_data_folder_has_seen() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let sign_up = |id: &str, who: &str| json!({"event": "sign_up", "event_id": id, "site": "shop_us", "user": {"external_id": who}, "consent": {"ad_storage": "granted", "ad_user_data": "granted", "analytics_storage": "granted"}});
    let (status, answer) = relay.post(&sign_up("s1", "u1")).await;
    assert_eq!((status, &answer["accepted"]), (202, &json!(1)), "{answer}");
    relay.stop().await;
    let data = folder.data();
    let events = [sign_up("s1", "u1"), sign_up("s2", "u1"), sign_up("s3", "u2")];
    let input = events.map(|event| event.to_string()).join("\n");
    for _ in 0..2 {
        let output =
            run(&folder, &["explain", "--data", data.to_str().unwrap(), "-"], &input).await;
        let text = String::from_utf8(output.stdout).unwrap();
        let statuses: Vec<String> = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["status"].to_string())
            .collect();
        assert_eq!(
            statuses,
            ["\"duplicate\"", "\"suppressed\"", "\"accepted\""],
            "nothing is kept"
        );
    }
}

/// A client that writes all of a refused body before it reads still gets the answer.
#[tokio::test]
async fn a_refused_body_is_answered_not_cut_off() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let address = relay.public.trim_start_matches("http://").to_owned();
    for (key, bytes, status) in [(KEY, 9 << 20, "413"), ("unknown", 3 << 20, "401")] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {bytes}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b' '; bytes]).await.expect("the whole body is taken in");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    relay.stop().await;
}
