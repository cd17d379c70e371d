//! Snapchat's contract.

use serde_json::{Value, json};

use super::{EMPTY, ago, answer, assert_taken, hash, now, post, with};

const URL: &str = "https://tr.snapchat.com/v3/a1b2c3d4-0000-4000-8000-000000000001/events";

fn example() -> Value {
    json!({"data": [{
        "event_name": "PURCHASE", "event_time": now().as_second() - 300, "event_id": "ord-1001",
        "action_source": "WEB", "event_source_url": "https://shop.example/thanks",
        "integration": "my-relay",
        "user_data": {
            "em": ["542d240129883c019e106e3b1b2d3f3cb3537c43c425364de8e951d5a3083345"],
            "ph": ["dc008fda46e2e64002cf2f82a4906236282d431c4f75e5b60bfe79fc48546383"],
            "external_id": [hash("u-1029")], "client_ip_address": "203.0.113.7",
            "client_user_agent": "Mozilla/5.0", "sc_click_id": "aBcDeF", "sc_cookie1": "u-1"},
        "custom_data": {"currency": "USD", "value": 49.9, "order_id": "1001", "num_items": "2",
            "content_ids": ["sku-1"], "content_category": ["Home"],
            "contents": [{"id": "sku-1", "quantity": "2", "item_price": "24.95"}]}
    }]})
}

fn app() -> Value {
    let mut extinfo = vec![json!(""); 16];
    extinfo[0] = json!("a2");
    let event = with(&example(), "/data/0/action_source", json!("MOBILE_APP"));
    let app = json!({"advertiser_tracking_enabled": 1, "extinfo": extinfo});
    with(&event, "/data/0/app_data", app)
}

#[test]
fn snapchat_takes_what_its_sheet_shows() {
    let verdict = post("snapchat", URL, &example());
    assert_taken(&verdict);
    assert!(verdict.warnings.is_empty(), "{:?}", verdict.warnings);
    assert_eq!(answer(&verdict)["status"], "VALID");
    assert_taken(&post("snapchat", URL, &app()));
    let variants = [
        ("/data/0/event_time", json!((now().as_second() - 300) * 1_000)),
        ("/data/0/event_time", json!(ago(36, 0).as_second())),
        ("/data/0/custom_data/value", json!("142.52")),
        ("/data/0/user_data/em", json!(hash("person@example.com"))),
        ("/data/0/user_data/em", json!(null)),
    ];
    for (pointer, value) in variants {
        assert_taken(&post("snapchat", URL, &with(&example(), pointer, value)));
    }
    let test = with(&example(), "/data/0/test_event_code", json!("TEST1"));
    assert!(post("snapchat", URL, &test).test);
    let verdict = post("snapchat", &format!("{URL}/validate"), &example());
    assert!(verdict.test && verdict.is_accepted());
    assert_eq!(answer(&verdict)["event_logs"][0]["status"], "VALID");
}

#[test]
fn snapchat_refuses_the_whole_request() {
    let traps = [
        ("/data/0/event_time", json!(ago(37, 60).as_second())),
        ("/data/0/event_time", json!(now().as_second() + 3_600)),
        ("/data/0/action_source", json!("website")),
        ("/data/0/event_source_url", json!(null)),
        ("/data/0/user_data/ph", json!([hash("+14155550133")])),
        ("/data/0/user_data/ph", json!(["448444124653"])),
        ("/data/0/user_data/em", json!([EMPTY])),
        ("/data/0/user_data/em", json!(["person@example.com"])),
        ("/data/0/user_data/client_ip_address", json!(hash("203.0.113.7"))),
        ("/data/0/user_data/lead_id", json!("1234")),
        ("/data/0/custom_data/value", json!(null)),
        ("/data/0/custom_data/currency", json!(null)),
        ("/data/0/data_processing_options", json!(["LDU"])),
        ("/data", json!([])),
    ];
    for (pointer, value) in traps {
        let verdict = post("snapchat", URL, &with(&example(), pointer, value));
        assert!(!verdict.is_accepted(), "{pointer}");
        let said = (verdict.reply.status, answer(&verdict)["status"].clone());
        assert_eq!(said, (400, json!("INVALID")), "{pointer}");
    }
    let weak = json!({"external_id": [hash("u-1")], "sc_click_id": "aBcDeF",
        "client_user_agent": "Mozilla/5.0"});
    let weak = with(&example(), "/data/0/user_data", weak);
    assert!(!post("snapchat", URL, &weak).is_accepted(), "nobody to match");
    let short = with(&app(), "/data/0/app_data/extinfo", json!(["a2", "com.example"]));
    assert!(!post("snapchat", URL, &short).is_accepted(), "16 texts");
}
