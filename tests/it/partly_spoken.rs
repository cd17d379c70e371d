//! A remembered refusal binds an event with signals of its own in all that they do not speak of.

use serde_json::{Value, json};

use crate::{
    harness::{Folder, KEY, Relay},
    remembered::{folder, order},
};

/// How one order is decided for the shop's destination and the webhook.
async fn decided(relay: &Relay, id: &str, email: &str, consent: Value) -> [String; 2] {
    let mut event = order(id, "shop", email, "US-NY");
    event["consent"] = consent;
    event["consent"]["region"] = json!("US-NY");
    let url = format!("{}/v1/events?explain=true", relay.public);
    let request = relay.http.post(url).bearer_auth(KEY).header("content-type", "application/json");
    let text = request.body(event.to_string()).send().await.unwrap().text().await.unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["accepted"], 1, "{answer:#}");
    let of = |name: &str| {
        let decided = &answer["explain"][0]["destinations"][name];
        let word = match decided["decision"].as_str().unwrap() {
            "held" => decided["reasons"][0]["code"].as_str().unwrap(),
            other => other,
        };
        word.to_owned()
    };
    [of("meta_shop"), of("crm")]
}

async fn start() -> (Folder, Relay) {
    let folder = folder();
    let relay = Relay::start(&folder).await;
    (folder, relay)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawal_binds_whoever_does_not_speak_of_it() {
    let (_folder, relay) = start().await;
    relay.privacy("withdraw", &json!({"email": "jane@example.com"})).await;
    for (id, consent) in [
        ("silent", json!({})),
        ("us_privacy", json!({"us_privacy": "1YNN"})),
        ("not_applicable", json!({"us_privacy": "1---"})),
        ("necessary", json!({"categories": {"C0001": true}})),
        ("gpc", json!({"gpc": true})),
        ("analytics", json!({"analytics_storage": "granted"})),
    ] {
        let held = decided(&relay, id, "jane@example.com", consent).await;
        assert_eq!(held, ["no_consent", "no_consent"], "{id}");
    }
    let john = decided(&relay, "john", "john@example.com", json!({"us_privacy": "1YNN"})).await;
    assert_eq!(john, ["send", "send"], "nobody else is bound");
    // What it speaks of explicitly, and later, counts: for that purpose alone.
    let mut some = json!({"ad_storage": "granted", "ad_personalization": "granted"});
    let stored = decided(&relay, "some", "jane@example.com", some.clone()).await;
    assert_eq!(stored, ["no_consent", "send"]);
    some["ad_user_data"] = json!("granted");
    assert_eq!(decided(&relay, "all", "jane@example.com", some).await, ["send", "send"]);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opt_out_binds_until_an_explicit_grant() {
    let (_folder, relay) = start().await;
    assert_eq!(
        decided(&relay, "gpc", "jane@example.com", json!({"gpc": true})).await,
        ["opted_out", "opted_out"]
    );
    for (id, consent) in [
        ("unmapped", json!({"categories": {"newsletter": true}})),
        ("us_privacy", json!({"us_privacy": "1---"})),
        ("analytics", json!({"analytics_storage": "granted"})),
    ] {
        let held = decided(&relay, id, "jane@example.com", consent).await;
        assert_eq!(held, ["opted_out", "opted_out"], "{id}");
    }
    let all = json!({"ad_storage": "granted", "ad_user_data": "granted"});
    assert_eq!(decided(&relay, "granted", "jane@example.com", all).await, ["send", "send"]);
    relay.stop().await;
}

/// Segment tells of a changed choice by an event of its own, which no plan has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_of_preferences_is_a_choice() {
    let (_folder, relay) = start().await;
    let update = |categories: Value| {
        json!({
            "type": "track", "event": "Segment Consent Preference Updated",
            "messageId": format!("update-{categories}"), "userId": "u-1",
            "context": {
                "traits": {"email": "jane@example.com"},
                "consent": {"categoryPreferences": categories},
                "page": {"url": "https://shop.example/"},
            },
        })
    };
    let post = async |call: Value| {
        let request = relay.http.post(format!("{}/v1/track", relay.public));
        let request = request.basic_auth("dev-key-events_only", Some(""));
        let request = request.header("content-type", "application/json");
        request.body(call.to_string()).send().await.unwrap().status().as_u16()
    };
    assert_eq!(post(update(json!({"C0004": false, "C0002": false}))).await, 200);
    let held = decided(&relay, "after", "jane@example.com", json!({})).await;
    assert_eq!(held, ["no_consent", "no_consent"]);
    assert_eq!(relay.stats().await["unplanned"], 1);
    relay.stop().await;
}
