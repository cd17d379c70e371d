//! Remembered clicks, through the real binary: a deal that closes weeks after a visit has the visit's
//! click id and its time, and only where the person allowed that and did not take it back.

use serde_json::{Value, json};

use crate::harness::{Folder, KEY, Relay, client};

fn folder(on: bool) -> Folder {
    let folder = Folder::shipped();
    if on {
        folder.edit("consent.toml", |text| text.replace("# click_ids", "click_ids"));
    }
    folder
}

fn days_ago(days: i64) -> String {
    let then = conversion_relay::clock::system()() - jiff::SignedDuration::from_hours(24 * days);
    then.round(jiff::Unit::Second).unwrap().to_string()
}

fn granted() -> Value {
    json!({"region": "US", "ad_storage": "granted", "ad_user_data": "granted",
        "ad_personalization": "denied"})
}

/// A visit of a person with a click id, some days ago.
fn visit(id: &str, user: &Value, consent: &Value, days: i64) -> Value {
    json!({
        "event": "purchase", "event_id": id, "site": "shop_us", "timestamp": days_ago(days),
        "user": user, "consent": consent, "click_ids": {"gclid": format!("Cj0-{id}")},
        "properties": {"value": "10.00", "currency": "USD", "order_id": format!("order-{id}")},
    })
}

/// A deal of today, with an e-mail address and no click id.
fn deal(id: &str, site: &str, user: &Value) -> Value {
    json!({
        "event": "purchase", "event_id": id, "site": site, "action_source": "crm", "user": user,
        "consent": {"region": "US"},
        "properties": {"value": "99.00", "currency": "USD"},
    })
}

/// Sends an event; its explanation.
async fn explained(relay: &Relay, event: &Value) -> Value {
    let answer = client()
        .post(format!("{}/v1/events?explain=true", relay.public))
        .bearer_auth(KEY)
        .header("content-type", "application/json")
        .body(event.to_string())
        .send()
        .await
        .unwrap();
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(answer["rejected"], json!([]), "{answer}");
    answer["explain"][0].clone()
}

/// Whether a click id goes to where it belongs, and nothing says so where it does not.
fn carries(line: &Value, gclid: &str) -> bool {
    let sent = line["destinations"]["google_ads"].to_string().contains(gclid);
    assert_eq!(sent, line["remembered"]["click_ids"] == json!(["click_ids.gclid"]), "{line}");
    sent
}

/// A shop's refund names an order and nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_orders_are_remembered_a_refund_follows_what_its_buyer_chose() {
    for (on, refuses, wanted) in
        [(true, false, "Cj0-v1"), (true, true, "no_consent"), (false, false, "no_signal")]
    {
        let shop = folder(on);
        let relay = Relay::start(&shop).await;
        let jane = json!({"email": "jane@example.com"});
        let choice = json!({"region": "DE", "ad_storage": "granted", "ad_user_data": "granted",
            "ad_personalization": "granted", "analytics_storage": "granted"});
        explained(&relay, &visit("v1", &jane, &choice, 2)).await;
        if refuses {
            let no = json!({"region": "DE", "ad_storage": "denied", "ad_user_data": "denied",
                "ad_personalization": "denied", "analytics_storage": "denied"});
            let mut later = visit("v2", &jane, &no, 1);
            later["click_ids"] = json!({});
            explained(&relay, &later).await;
        }
        let refund = json!({
            "event": "refund", "event_id": "r1", "site": "shop_us", "action_source": "crm",
            "adjusts": {"order_id": "order-v1", "type": "refund"},
        });
        let line = explained(&relay, &refund).await;
        let sent = &line["destinations"]["google_ads"];
        assert!(sent.to_string().contains(wanted), "{on} {refuses}: {line}");
        relay.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deal_weeks_later_has_the_click_of_the_visit() {
    let folder = folder(true);
    let relay = Relay::start(&folder).await;
    let jane = json!({"email": "jane@example.com"});
    let clicked = visit("v1", &jane, &granted(), 20);
    let at = clicked["timestamp"].as_str().unwrap().to_owned();
    let first = explained(&relay, &clicked).await;
    assert!(first.get("remembered").is_none(), "its own: {first}");

    // Already hashed is the same person; by order too.
    let hashed =
        json!({"email": "8c87b489ce35cf2e2f39f80e282cb2e804932a56a213983eeeb428407d43b52d"});
    for (id, user) in [("d1", &jane), ("d2", &hashed)] {
        let line = explained(&relay, &deal(id, "shop_us", user)).await;
        assert!(carries(&line, "Cj0-v1"), "{line}");
        assert_eq!(line["remembered"]["clicked_at"], at.as_str());
    }
    let mut by_order = deal("d3", "shop_us", &json!({}));
    by_order["properties"]["order_id"] = json!("order-v1");
    assert!(carries(&explained(&relay, &by_order).await, "Cj0-v1"));
    let (_, trace) = relay.admin("GET", "/admin/v1/events/d1", None).await;
    assert!(trace.to_string().contains("memory.click_ids"), "{trace}");

    // A newer click counts; one of the event's own comes first; nothing before it happened.
    explained(&relay, &visit("v2", &jane, &granted(), 3)).await;
    assert!(carries(&explained(&relay, &deal("d4", "shop_us", &jane)).await, "Cj0-v2"));
    let mut own = deal("d5", "shop_us", &jane);
    own["click_ids"] = json!({"gclid": "Cj0-own"});
    assert!(explained(&relay, &own).await.get("remembered").is_none());
    let mut earlier = deal("d6", "shop_us", &jane);
    earlier["timestamp"] = json!(days_ago(40));
    assert!(explained(&relay, &earlier).await.get("remembered").is_none());

    // Another controller, another person.
    assert!(!carries(&explained(&relay, &deal("d7", "shop_eu", &jane)).await, "Cj0"));
    let joe = json!({"email": "joe@example.com"});
    assert!(!carries(&explained(&relay, &deal("d8", "shop_us", &joe)).await, "Cj0"));

    // It survives a restart, is exported, and goes with an erasure.
    relay.stop().await;
    let relay = Relay::start(&folder).await;
    assert!(carries(&explained(&relay, &deal("d9", "shop_us", &jane)).await, "Cj0"));
    let person = json!({"site": "shop_us", "user": jane});
    let (_, export) = relay.admin("POST", "/admin/v1/privacy/export", Some(person.clone())).await;
    assert_eq!(export["clicks"].as_array().map(Vec::len), Some(3), "{export}");
    assert_eq!(export["clicks"][0]["ids"], json!({"click_ids.gclid": "Cj0-v1"}));
    let (status, _) = relay.admin("POST", "/admin/v1/privacy/erase", Some(person.clone())).await;
    assert_eq!(status, 200);
    assert!(!carries(&explained(&relay, &deal("d10", "shop_us", &jane)).await, "Cj0"));
    let (_, export) = relay.admin("POST", "/admin/v1/privacy/export", Some(person)).await;
    assert_eq!(export["clicks"], json!([]), "{export}");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_remembered_that_was_not_allowed() {
    let folder_on = folder(true);
    let relay = Relay::start(&folder_on).await;
    let user = |name: &str| json!({"email": format!("{name}@example.com")});
    let denied = json!({"region": "US", "ad_storage": "denied", "ad_user_data": "granted"});
    let half = json!({"region": "US", "ad_storage": "granted"});
    let silent = json!({"region": "US"});
    let out = json!({"region": "US", "ad_storage": "granted", "ad_user_data": "granted",
        "opt_out": true});
    for (name, consent) in [("a", &denied), ("b", &half), ("c", &silent), ("d", &out)] {
        explained(&relay, &visit(name, &user(name), consent, 5)).await;
        let line = explained(&relay, &deal(&format!("deal-{name}"), "shop_us", &user(name))).await;
        assert!(!carries(&line, "Cj0"), "{name}: {line}");
    }
    // Too old for the setting.
    explained(&relay, &visit("old", &user("old"), &granted(), 91)).await;
    let line = explained(&relay, &deal("deal-old", "shop_us", &user("old"))).await;
    assert!(!carries(&line, "Cj0"), "{line}");
    // Taken back, and given again: what was remembered before does not come back.
    explained(&relay, &visit("w", &user("w"), &granted(), 5)).await;
    let person = json!({"site": "shop_us", "user": user("w"), "purposes": ["ad_user_data"]});
    let (status, told) = relay.admin("POST", "/admin/v1/privacy/withdraw", Some(person)).await;
    assert_eq!(status, 200, "{told}");
    assert!(!carries(&explained(&relay, &deal("w1", "shop_us", &user("w"))).await, "Cj0"));
    let mut again = deal("w2", "shop_us", &user("w"));
    again["consent"] = granted();
    assert!(!carries(&explained(&relay, &again).await, "Cj0"));
    relay.stop().await;

    let folder_off = folder(false);
    let relay = Relay::start(&folder_off).await;
    explained(&relay, &visit("off", &user("off"), &granted(), 5)).await;
    let line = explained(&relay, &deal("deal-off", "shop_us", &user("off"))).await;
    assert!(!carries(&line, "Cj0"), "off by default: {line}");
    relay.stop().await;
}
