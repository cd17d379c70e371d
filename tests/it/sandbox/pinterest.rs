//! Pinterest's contract.

use serde_json::{Value, json};

use super::{EMPTY, ago, answer, assert_taken, hash, now, post, with};

const URL: &str = "https://api.pinterest.com/v5/ad_accounts/549755885175/events";

fn example() -> Value {
    json!({"data": [{
        "event_name": "checkout", "action_source": "web", "event_id": "ord-1001",
        "event_time": now().as_second() - 300, "event_source_url": "https://shop.example/thanks",
        "partner_name": "ss-myrelay", "opt_out": false,
        "user_data": {"em": [hash("jane.doe@example.com")], "ph": [hash("14150000000")],
            "fn": [hash("jane")], "ln": [hash("doe")], "ct": [hash("sanfrancisco")],
            "st": [hash("ca")], "zp": [hash("94107")], "country": [hash("us")],
            "external_id": [hash("u-1029")], "client_ip_address": "203.0.113.7",
            "client_user_agent": "Mozilla/5.0", "click_id": "dj0yJnU9"},
        "custom_data": {"currency": "USD", "value": "49.90", "order_id": "1001", "num_items": 2,
            "content_ids": ["sku-1"], "contents": [{"id": "sku-1", "item_name": "Mug",
                "item_price": "24.95", "quantity": 2}]}
    }]})
}

#[test]
fn pinterest_takes_what_its_sheet_shows() {
    let verdict = post("pinterest", URL, &example());
    assert_taken(&verdict);
    assert!(verdict.warnings.is_empty(), "{:?}", verdict.warnings);
    let body = answer(&verdict);
    assert_eq!(
        (&body["num_events_processed"], &body["events"][0]["status"]),
        (&json!(1), &json!("processed"))
    );
    assert_eq!(verdict.destination.as_deref(), Some("549755885175"));
    assert!(post("pinterest", &format!("{URL}?test=true"), &example()).test);
    let many = json!({"data": vec![&example()["data"][0]; 21]});
    assert_taken(&post("pinterest", URL, &many));
    assert!(!post("pinterest", &format!("{URL}?test=true"), &many).is_accepted());
}

#[test]
fn pinterest_refuses_the_whole_request_for_one_malformed_event() {
    let traps = [
        ("/data/0/category_name", json!("Home")),
        ("/data/0/custom_data/channel", json!("web")),
        ("/data/0/custom_data/contents/0/variant", json!("42")),
        ("/data/0/custom_data/value", json!(49.9)),
        ("/data/0/custom_data/contents/0/item_price", json!(24.95)),
        ("/data/0/custom_data/contents/0/quantity", json!("2")),
        ("/data/0/user_data/em", json!(hash("jane.doe@example.com"))),
        ("/data/0/user_data/em", json!([EMPTY])),
        ("/data/0/user_data/ph", json!([hash("+14155550133")])),
        ("/data/0/user_data/country", json!([hash("US")])),
        ("/data/0/user_data/ge", json!([hash("male")])),
        ("/data/0/event_id", json!(null)),
        ("/data/0/action_source", json!("WEB")),
    ];
    for (pointer, value) in traps {
        let verdict = post("pinterest", URL, &with(&example(), pointer, value));
        assert!(!verdict.is_accepted(), "{pointer}");
        let said = (verdict.reply.status, answer(&verdict)["code"].clone());
        assert_eq!(said, (400, json!(4196)), "{pointer}");
    }
    let unknown = with(&example(), "/data/0/custom_data/category_name", json!("x"));
    let message = answer(&post("pinterest", URL, &unknown))["message"].clone();
    assert_eq!(
        message,
        "Invalid request: Additional properties are not allowed ('category_name' was unexpected)"
    );
}

#[test]
fn pinterest_takes_the_good_ones_under_422() {
    let good = &example()["data"][0];
    let old = with(good, "/event_time", json!(ago(7, 60).as_second()));
    let weak = json!({"ph": [hash("14150000000")], "click_id": "dj0yJnU9"});
    let weak = with(good, "/user_data", weak);
    let verdict = post("pinterest", URL, &json!({"data": [good, old, weak, good]}));
    assert_eq!((verdict.reply.status, verdict.accepted.len()), (422, 2));
    let body = answer(&verdict);
    let events = body["details"]["events"].as_array().unwrap();
    let statuses: Vec<_> = events.iter().map(|event| event["status"].clone()).collect();
    assert_eq!(statuses, ["processed", "failed", "failed", "processed"]);
}
