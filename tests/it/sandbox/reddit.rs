//! Reddit's contract.

use serde_json::{Value, json};

use super::{EMPTY, ago, answer, assert_taken, hash, now, post, with};

const REDDIT: &str = "https://ads-api.reddit.com/api/v3/pixels/a2_example/conversion_events";

fn example() -> Value {
    json!({"data": {"events": [{
        "event_at": now().as_millisecond() - 300_000, "action_source": "WEBSITE",
        "type": {"tracking_type": "PURCHASE"}, "click_id": "5501",
        "event_source_url": "https://shop.example/thanks",
        "user": {
            "email": "ff8d9819fc0e12bf0d24892e45987e249a28dce836a85cad60e28eaaa8c6d976",
            "phone_number": hash("+14155550133"), "external_id": hash("u-7"),
            "ip_address": "203.0.113.7", "user_agent": "Mozilla/5.0",
            "uuid": "1684189007728.7c73f2ae-a433-4d7b-9838-f467da98f48e",
            "screen_dimensions": {"width": 1920, "height": 1080},
            "data_processing_options": {"modes": ["LDU"], "country": "US", "region": "US-CA"}},
        "metadata": {"conversion_id": "ord-1001", "order_id": "1001", "currency": "USD",
            "value": 49.9, "item_count": 2, "products": [{"id": "sku-1", "name": "Mug",
                "category": "Home", "quantity": 2, "item_price": 24.95}]}
    }]}})
}

#[test]
fn reddit_takes_what_its_sheet_shows() {
    let verdict = post("reddit", REDDIT, &example());
    assert_taken(&verdict);
    assert!(verdict.warnings.is_empty() && !verdict.test, "{:?}", verdict.warnings);
    assert_eq!(verdict.destination.as_deref(), Some("a2_example"));
    assert_eq!(verdict.accepted, [Some("ord-1001".to_owned())]);
    assert!(post("reddit", REDDIT, &with(&example(), "/data/test_id", json!("t2_x"))).test);
    let event = |pointer: &str, value| with(&example(), &format!("/data/events/0{pointer}"), value);
    for (pointer, value) in [
        ("/user/ip_address", json!(hash("203.0.113.7"))),
        ("/user/data_processing_options/region", json!("CA")),
        ("/event_at", json!(ago(6, 86_000).as_millisecond())),
        ("/type", json!({"tracking_type": "CUSTOM", "custom_event_name": "Checkout"})),
    ] {
        assert_taken(&post("reddit", REDDIT, &event(pointer, value)));
    }
    let clear = post("reddit", REDDIT, &event("/user/email", json!("alice@example.com")));
    assert!(clear.is_accepted() && clear.warnings.len() == 1, "taken, but not recommended");
}

#[test]
fn reddit_refuses_each_trap_and_names_its_place() {
    let traps = [
        ("/action_source", json!("website")),
        ("/type/tracking_type", json!("Purchase")),
        ("/type/tracking_type", json!("CUSTOM")),
        ("/event_source_url", Value::Null),
        ("/metadata/value", json!("49.9")),
        ("/metadata/currency", json!("usd")),
        ("/metadata/products/0/id", Value::Null),
        ("/metadata/products/0/quantity", json!(1.5)),
        ("/user/email", json!([hash("alice@example.com")])),
        ("/user/email", json!(EMPTY)),
        ("/user/email", json!(hash("jane.doe@example.com"))),
        ("/user/phone_number", json!(hash("14155550133"))),
        ("/user/user_agent", json!(hash("Mozilla/5.0"))),
        ("/user/screen_dimensions/width", json!(40_000)),
        ("/user/data_processing_options/modes", json!(["RDU"])),
        ("/user/first_name", json!("x")),
        ("/partner", json!("x")),
        ("/event_at", json!(ago(8, 0).as_millisecond())),
        ("/event_at", json!(now().as_millisecond() + 120_000)),
        ("/event_at", json!("2026-11-22T04:00:00Z")),
    ];
    for (pointer, value) in traps {
        let body = with(&example(), &format!("/data/events/0{pointer}"), value.clone());
        let verdict = post("reddit", REDDIT, &body);
        assert_eq!(verdict.reply.status, 400, "{pointer} {value}");
        let field = answer(&verdict)["error"]["fields"][0]["field"].clone();
        assert!(field.as_str().unwrap().starts_with("data.events.0"), "{field}");
    }
    let bare = json!({"user_agent": "Mozilla/5.0"});
    let weak = with(
        &with(&example(), "/data/events/0/user", bare),
        "/data/events/0/click_id",
        Value::Null,
    );
    assert_eq!(post("reddit", REDDIT, &weak).reply.status, 400);
}

#[test]
fn reddit_takes_a_time_in_seconds_and_loses_the_event() {
    let body = with(&example(), "/data/events/0/event_at", json!(now().as_second()));
    let verdict = post("reddit", REDDIT, &body);
    assert_eq!(verdict.reply.status, 200);
    assert!(verdict.accepted.is_empty() && !verdict.is_accepted());
}

#[test]
fn reddit_is_all_or_nothing_and_bounded() {
    let good = example()["data"]["events"][0].clone();
    let bad = with(&good, "/action_source", json!("SHOP"));
    let of = |events: Value| post("reddit", REDDIT, &json!({"data": {"events": events}}));
    let verdict = of(json!([good, bad, good]));
    assert_eq!(answer(&verdict)["error"]["fields"][0]["field"], "data.events.1.action_source");
    assert!(verdict.accepted.is_empty());
    assert_taken(&of(json!(vec![good.clone(); 1_000])));
    assert_eq!(of(json!(vec![good.clone(); 1_001])).reply.status, 400);
    assert_eq!(of(json!([])).reply.status, 400);
    let v2 = "https://ads-api.reddit.com/api/v3/accounts/a2_example/conversions/events";
    assert_eq!(post("reddit", v2, &example()).reply.status, 404, "made up");
}
