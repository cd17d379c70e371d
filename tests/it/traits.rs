//! Remembered traits, through the real binary: what an `identify` call says of a person enriches
//! their later events, for as long as the rules say, only with consent, and never in clear on disk.

use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{Folder, KEY, Relay, client};

/// Values that could only come from our calls.
const CLEAR: &[&str] = &[
    "zaphod.quux",
    "Zaphod.Quux",
    "4155550177",
    "Zaphodius",
    "zaphodius",
    "Beeblebroxton",
    "Magrathea",
];

fn folder(traits: Option<&str>) -> Folder {
    let folder = Folder::shipped();
    if let Some(age) = traits {
        folder.edit("consent.toml", |text| {
            text.replace("# traits = \"30d\"", &format!("traits = \"{age}\""))
        });
        let rules = std::fs::read_to_string(folder.config().join("consent.toml")).unwrap();
        assert!(rules.contains(&format!("\ntraits = \"{age}\"")), "the shipped file shows the key");
    }
    folder
}

fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn ago(hours: i64) -> String {
    let then = conversion_relay::clock::system()() - jiff::SignedDuration::from_hours(hours);
    then.round(jiff::Unit::Millisecond).unwrap().to_string()
}

fn context(host: &str, allowed: Option<bool>) -> Value {
    let mut context =
        json!({"page": {"url": format!("https://{host}/")}, "userAgent": "Mozilla/5.0"});
    if let Some(allowed) = allowed {
        context["consent"] = json!({"categoryPreferences": {"C0004": allowed, "C0002": allowed}});
    }
    context
}

fn identify(id: &str, name: &str, allowed: Option<bool>, hours: i64) -> Value {
    json!({
        "type": "identify", "messageId": id, "timestamp": ago(hours),
        "userId": format!("u-{name}"), "anonymousId": format!("a-{name}"),
        "traits": {
            "email": "Zaphod.Quux@gmail.com", "phone": "+1 (415) 555-0177",
            "firstName": "Zaphodius", "lastName": "Beeblebroxton",
            "address": {"street": "17 Magrathea Lane", "postalCode": "94107", "country": "US"},
        },
        "context": context("shop.example", allowed),
    })
}

/// An order of somebody who is known by one id only.
fn order(id: &str, whose: (&str, &str), host: &str) -> Value {
    let mut call = json!({
        "type": "track", "event": "Order Completed", "messageId": id, "timestamp": ago(0),
        "properties": {"order_id": format!("o-{id}"), "revenue": 25, "currency": "USD"},
        "context": context(host, Some(true)),
    });
    call[whose.0] = json!(whose.1);
    call
}

async fn send(relay: &Relay, calls: &[Value]) {
    let answer = client()
        .post(format!("{}/v1/batch", relay.public))
        .basic_auth(KEY, Some(""))
        .header("content-type", "application/json")
        .body(json!({"batch": calls}).to_string())
        .send()
        .await
        .unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert_eq!(status, 200, "{text}");
    assert!(!text.contains("rejected"), "{text}");
}

/// What an event's trace says was remembered.
async fn is_enriched(relay: &Relay, id: &str) -> bool {
    let (status, trace) = relay.admin("GET", &format!("/admin/v1/events/{id}"), None).await;
    assert_eq!(status, 200, "{trace}");
    trace.to_string().contains("memory.traits")
}

/// Sends an order of its own and tells whether it was enriched.
async fn enriches(relay: &Relay, id: &str, whose: (&str, &str)) -> bool {
    send(relay, &[order(id, whose, "shop.example")]).await;
    is_enriched(relay, id).await
}

async fn sent(relay: &Relay, platform: &str) -> String {
    relay.drained().await;
    relay.received(platform).await.iter().map(|line| line["body"].to_string()).collect()
}

fn assert_nothing_in_clear(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_nothing_in_clear(&path);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for clear in CLEAR {
            let found = bytes.windows(clear.len()).any(|window| window == clear.as_bytes());
            assert!(!found, "{} holds {clear:?}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identify_call_enriches_later_events_of_the_same_person() {
    let folder = folder(Some("30d"));
    let relay = Relay::start(&folder).await;
    // SDKs send both in one request.
    send(
        &relay,
        &[
            identify("i1", "jane", Some(true), 0),
            order("t1", ("anonymousId", "a-jane"), "shop.example"),
            order("t0", ("userId", "u-other"), "shop.example"),
        ],
    )
    .await;
    assert!(is_enriched(&relay, "t1").await, "of the same request");
    assert!(!is_enriched(&relay, "t0").await, "another person");
    assert!(enriches(&relay, "t2", ("userId", "u-jane")).await);
    assert!(enriches(&relay, "t3", ("anonymousId", "a-jane")).await);
    // Each platform has the hash that it would have made of the clear value.
    let meta = sent(&relay, "meta").await;
    assert!(meta.contains(&sha256("zaphod.quux@gmail.com")), "{meta}");
    assert!(meta.contains(&sha256("14155550177")), "{meta}");
    let google = sent(&relay, "google_ads").await;
    assert!(google.contains(&sha256("zaphodquux@gmail.com")), "{google}");
    assert!(google.contains(&sha256("+14155550177")), "{google}");
    assert!(google.contains(&sha256("zaphodius")) && google.contains("94107"), "{google}");

    // The event's own words come first; what it lacks is said field by field.
    let mut own = json!({
        "event": "purchase", "event_id": "own", "site": "shop_us",
        "user": {"external_id": "u-jane", "email": "other@example.com"},
        "consent": {"region": "US"},
        "properties": {"value": "1.00", "currency": "USD"},
    });
    let answer = client()
        .post(format!("{}/v1/events?explain=true", relay.public))
        .bearer_auth(KEY)
        .header("content-type", "application/json")
        .body(own.to_string())
        .send()
        .await
        .unwrap();
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let line = &answer["explain"][0];
    let fields = line["remembered"]["traits"].to_string();
    assert!(fields.contains("user.phone") && !fields.contains("user.email"), "{line}");
    assert!(line.to_string().contains(&sha256("other@example.com")), "{line}");
    // A refusal of its own: nothing remembered is used.
    own["event_id"] = json!("refused");
    own["consent"] = json!({"region": "US", "ad_user_data": "denied"});
    own["user"] = json!({"anonymous_id": "a-nobody", "external_id": "u-jane"});
    let stats = relay.post(&own).await;
    assert_eq!(stats.0, 202, "{}", stats.1);
    assert!(!is_enriched(&relay, "refused").await);
    // That was a refusal of the person: what was remembered is gone.
    assert!(!enriches(&relay, "t4", ("userId", "u-jane")).await);

    // Another controller; a restart; an export; an erasure.
    send(&relay, &[identify("i2", "joe", Some(true), 0)]).await;
    send(&relay, &[order("eu", ("userId", "u-joe"), "shop-eu.example")]).await;
    relay.stop().await;
    let relay = Relay::start(&folder).await;
    assert!(enriches(&relay, "t5", ("userId", "u-joe")).await);
    let person = json!({"site": "shop_us", "user": {"external_id": "u-joe"}});
    let (_, export) = relay.admin("POST", "/admin/v1/privacy/export", Some(person.clone())).await;
    let traits = export["traits"].as_array().unwrap();
    let email = traits.iter().find(|one| one["field"] == "user.email").unwrap();
    assert!(email["value"].as_str().unwrap().starts_with("sha256:"), "{export}");
    assert!(email["kept_until"].is_string(), "{export}");
    let (status, _) = relay.admin("POST", "/admin/v1/privacy/erase", Some(person.clone())).await;
    assert_eq!(status, 200);
    assert!(!enriches(&relay, "t6", ("userId", "u-joe")).await);
    let (_, export) = relay.admin("POST", "/admin/v1/privacy/export", Some(person)).await;
    assert_eq!(export["traits"], json!([]), "{export}");
    let log = relay.kill().await;
    for clear in CLEAR {
        assert!(!log.contains(clear), "the log holds {clear:?}");
    }
    assert_nothing_in_clear(&folder.data());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_allowed_or_is_over_is_not_remembered() {
    let folder_on = folder(Some("30d"));
    let relay = Relay::start(&folder_on).await;
    for (name, allowed, hours) in
        [("silent", None, 0), ("denied", Some(false), 0), ("old", Some(true), 24 * 31)]
    {
        send(&relay, &[identify(&format!("i-{name}"), name, allowed, hours)]).await;
        let id = format!("u-{name}");
        assert!(!enriches(&relay, &format!("t-{name}"), ("userId", &id)).await, "{name}");
    }
    // Taken back, and given again: what was remembered before does not come back.
    send(&relay, &[identify("i-w", "w", Some(true), 0)]).await;
    assert!(enriches(&relay, "t-w1", ("userId", "u-w")).await);
    let person = json!({"site": "shop_us", "user": {"external_id": "u-w"}});
    let (status, told) = relay.admin("POST", "/admin/v1/privacy/withdraw", Some(person)).await;
    assert_eq!(status, 200, "{told}");
    assert!(!enriches(&relay, "t-w2", ("userId", "u-w")).await);
    // A minor leaves nothing.
    let mut minor = identify("i-m", "m", Some(true), 0);
    minor["traits"]["birthday"] = json!("2020-01-01");
    send(&relay, &[minor]).await;
    assert!(!enriches(&relay, "t-m", ("userId", "u-m")).await);
    relay.stop().await;

    let folder_off = folder(None);
    let relay = Relay::start(&folder_off).await;
    send(&relay, &[identify("i-off", "off", Some(true), 0)]).await;
    assert!(!enriches(&relay, "t-off", ("userId", "u-off")).await, "off by default");
    let person = json!({"site": "shop_us", "user": {"external_id": "u-off"}});
    let (_, export) = relay.admin("POST", "/admin/v1/privacy/export", Some(person)).await;
    assert_eq!(export["traits"], json!([]), "{export}");
    relay.stop().await;
}

/// A shorter setting counts for what was remembered under a longer one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shorter_setting_counts_at_once() {
    let folder = folder(Some("30d"));
    let relay = Relay::start(&folder).await;
    send(&relay, &[identify("i1", "jane", Some(true), 48)]).await;
    assert!(enriches(&relay, "t1", ("userId", "u-jane")).await);
    folder.edit("consent.toml", |text| text.replace("traits = \"30d\"", "traits = \"1d\""));
    let (status, answer) = relay.admin("POST", "/admin/v1/config/reload", None).await;
    assert_eq!(status, 200, "{answer}");
    assert!(!enriches(&relay, "t2", ("userId", "u-jane")).await);
    relay.stop().await;
}
