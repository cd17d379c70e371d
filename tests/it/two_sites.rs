//! Two sites with a destination each of the same platform: no event of one reaches the other, and
//! consent of one grants nothing at the other.

use serde_json::{Value, json};

use crate::harness::{Folder, Relay, assert_balanced};

fn folder() -> Folder {
    let folder = Folder::shipped();
    folder.write(
        "relay.toml",
        r#"
mode = "sandbox"
[listen]
public = "127.0.0.1:0"
admin = "127.0.0.1:0"
sandbox = "127.0.0.1:0"
[sites.north]
hosts = ["north.example"]
country = "US"
currency = "USD"
[sites.south]
hosts = ["south.example"]
country = "DE"
currency = "EUR"
[[write_keys]]
name = "backend"
key = { env = "RELAY_WRITE_KEY" }
sites = ["north", "south"]
[[write_keys]]
name = "north_only"
key = { env = "RELAY_NORTH_KEY" }
site = "north"
[[admin_tokens]]
name = "op"
token = { env = "RELAY_ADMIN_TOKEN" }
roles = ["viewer", "media", "privacy", "operator"]
"#,
    );
    folder.write(
        "events.toml",
        r#"
[events.purchase]
kind = "macro"
count = { at_most = 1, per = "1d", by = "user" }
[events.purchase.destinations]
meta = "Purchase"
"#,
    );
    folder.write(
        "consent.toml",
        r#"
version = "1"
region_from = ["event"]
[regions.other]
match = ["*"]
model = "opt_in"
[destinations.meta]
needs = ["ad_storage", "ad_user_data"]
may_send = ["user", "context", "click_ids", "properties"]
"#,
    );
    folder.write(
        "destinations.toml",
        r#"
[meta_north]
platform = "meta"
sites = ["north"]
dataset_id = "1111111111"
access_token = { env = "META_NORTH_TOKEN" }
batch = { max_events = 100, linger = "0s" }
[meta_south]
platform = "meta"
sites = ["south"]
dataset_id = "2222222222"
access_token = { env = "META_SOUTH_TOKEN" }
batch = { max_events = 100, linger = "0s" }
"#,
    );
    folder
}

fn purchase(site: &str, id: &str, granted: bool) -> Value {
    let choice = if granted { "granted" } else { "denied" };
    json!({
        "event": "purchase", "event_id": id, "site": site,
        "user": {"external_id": "same-person", "email": "jane.doe@example.com"},
        "context": {"user_agent": "Mozilla/5.0", "page_url": format!("https://{site}.example/thanks")},
        "consent": {"ad_storage": choice, "ad_user_data": choice, "ad_personalization": choice, "region": "DE"},
        "properties": {"value": "10.00", "currency": "EUR", "order_id": id}
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sites_never_mix() {
    let folder = folder();
    let relay = Relay::start(&folder).await;
    // The same person, the same id, the same day: two sites, two events.
    let (status, answer) = relay
        .post(&json!([
            purchase("north", "order-1", true),
            purchase("south", "order-1", true),
            purchase("north", "order-2", false),
        ]))
        .await;
    assert_eq!(status, 202, "{answer}");
    let stats = relay.drained().await;
    assert_balanced(&stats);
    let received = relay.received("meta").await;
    let of = |dataset: &str| -> Vec<String> {
        let here = received.iter().filter(|r| r["path"].as_str().unwrap().contains(dataset));
        here.flat_map(|r| r["accepted"].as_array().unwrap().clone())
            .map(|id| id.as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(of("1111111111"), ["order-1"], "{received:#?}");
    assert_eq!(of("2222222222"), ["order-1"], "{received:#?}");
    for request in &received {
        let path = request["path"].as_str().unwrap();
        let site = if path.contains("1111111111") { "north" } else { "south" };
        let other = if site == "north" { "south.example" } else { "north.example" };
        assert!(!request["body"].to_string().contains(other), "{request:#}");
    }
    // A grant at one site is none at the other: this one says nothing at south.
    let mut silent = purchase("south", "order-3", true);
    silent["user"]["external_id"] = json!("another");
    silent["user"]["email"] = json!("another@example.com");
    silent["consent"] = json!({"region": "DE"});
    let mut granted = purchase("north", "order-4", true);
    granted["user"] = silent["user"].clone();
    let (_, answer) = relay.post(&json!([granted, silent])).await;
    assert_eq!(answer["held"], 1, "{answer}");
    let stats = relay.drained().await;
    assert_eq!(stats["destinations"]["meta_south"]["held"]["no_signal"], 1, "{stats:#}");

    // A key of one site cannot post for the other.
    let answer = relay
        .http
        .post(format!("{}/v1/events", relay.public))
        .bearer_auth("dev-key-north_only")
        .header("content-type", "application/json")
        .body(purchase("south", "order-5", true).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 422);
    assert!(answer.text().await.unwrap().contains("not_allowed"));
    relay.stop().await;
}

/// Whoever mistypes a site reads which one they meant, wherever a site is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_is_none_is_answered_with_the_nearest() {
    let folder = folder();
    let relay = Relay::start(&folder).await;
    let user = json!({"email": "jane@example.com"});
    let event = |site: &str| json!({"event": "purchase", "event_id": site, "site": site});
    let (_, answer) = relay.post(&json!([event("nroth"), event("atlantis")])).await;
    let told = |at: usize| answer["rejected"][at]["message"].as_str().unwrap();
    assert_eq!(answer["rejected"][0]["code"], "site_unknown", "{answer}");
    assert_eq!(told(0), "no such site; the nearest is \"north\"; known are north, south");
    assert_eq!(told(1), "no such site; known are north, south", "none is near");

    let about = |site: &str| json!({"site": site, "user": user});
    let orders = |site: &str| json!({"orders": [{"order_id": "1", "site": site}]});
    for (path, body) in [
        ("/admin/v1/privacy/withdraw", about("Nort")),
        ("/admin/v1/privacy/erase", about("Nort")),
        ("/admin/v1/privacy/export", about("Nort")),
        ("/admin/v1/orders", orders("Nort")),
    ] {
        let (status, answer) = relay.admin("POST", path, Some(body)).await;
        let detail = answer["detail"].as_str().unwrap_or_default();
        assert_eq!(answer["code"], "site_unknown", "{path}: {status} {answer}");
        assert!(detail.contains("\"north\"") && !detail.contains("south\""), "{path}: {detail}");
    }
    let url = format!("{}/v1/consent", relay.public);
    let body = json!({"site": "suoth", "user": user, "consent": {"ad_storage": "denied"}});
    let request = relay.http.post(url).bearer_auth(crate::harness::KEY).body(body.to_string());
    let answer = request.header("content-type", "application/json").send().await.unwrap();
    assert!(answer.text().await.unwrap().contains("the nearest is"));
    relay.stop().await;

    folder.edit("destinations.toml", |text| text.replacen("\"north\"", "\"noth\"", 1));
    let check = crate::harness::binary().arg("check").arg("--config").arg(folder.config()).output();
    let told = String::from_utf8(check.await.unwrap().stderr).unwrap();
    assert!(told.contains("no site \"noth\"; did you mean \"north\"?"), "{told}");
}
