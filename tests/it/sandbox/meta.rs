//! Meta's contract.

use conversion_relay::sandbox::{Request, check};
use serde_json::{Value, json};

use super::{EMPTY, ago, answer, assert_taken, hash, json_headers, now, post, with};

const META: &str = "https://graph.facebook.com/v26.0/1234567890/events";

pub(super) fn meta_example() -> Value {
    json!({"data": [{
        "event_name": "Purchase", "event_time": now().as_second() - 300, "event_id": "ord-1001",
        "action_source": "website", "event_source_url": "https://shop.example/thanks",
        "user_data": {
            "em": ["62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"],
            "ph": ["e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"],
            "external_id": [hash("u-1029")], "client_ip_address": "203.0.113.9",
            "client_user_agent": "Mozilla/5.0",
            "fbc": "fb.1.1554763741205.AbCdEf", "fbp": "fb.1.1558571054389.1098115397"},
        "custom_data": {"currency": "USD", "value": 142.52, "order_id": "1001",
            "content_type": "product", "content_ids": ["SKU1"], "num_items": 1,
            "contents": [{"id": "SKU1", "quantity": 1, "item_price": 142.52,
                "delivery_category": "home_delivery"}]},
        "data_processing_options": ["LDU"],
        "data_processing_options_country": 0, "data_processing_options_state": 0
    }]})
}

fn meta_app() -> Value {
    let mut extinfo = vec![json!(""); 16];
    extinfo[0] = json!("i2");
    extinfo[4] = json!("18.1");
    let event = with(&meta_example(), "/data/0/action_source", json!("app"));
    with(
        &event,
        "/data/0/app_data",
        json!({"advertiser_tracking_enabled": 1,
        "application_tracking_enabled": 0, "extinfo": extinfo}),
    )
}

#[test]
fn meta_takes_what_its_sheet_shows() {
    let verdict = post("meta", META, &meta_example());
    assert_taken(&verdict);
    assert_eq!(answer(&verdict)["events_received"], 1);
    assert_eq!(verdict.destination.as_deref(), Some("1234567890"));
    assert_eq!(verdict.accepted, [Some("ord-1001".to_owned())]);
    assert!(verdict.warnings.is_empty(), "{:?}", verdict.warnings);
    assert!(!verdict.test);

    let variants = [
        ("/data/0/user_data/em", json!(hash("jane.doe@example.com"))),
        ("/data/0/user_data/em", json!([format!("{}.AQYCAQAA", hash("jane.doe@example.com"))])),
        ("/data/0/custom_data/currency", json!("usd")),
        ("/data/0/data_processing_options", json!([])),
        ("/data/0/event_name", json!("MyOwnEvent")),
        ("/data/0/event_time", json!(ago(6, 86_000).as_second())),
        ("/data/0/user_data/client_ip_address", json!("2001:db8::1")),
    ];
    for (pointer, value) in variants {
        assert_taken(&post("meta", META, &with(&meta_example(), pointer, value)));
    }
    assert_taken(&post("meta", META, &meta_app()));
    let store = with(&meta_example(), "/data/0/action_source", json!("physical_store"));
    let store = with(&store, "/data/0/event_time", json!(ago(61, 0).as_second()));
    assert_taken(&post("meta", META, &store));
    let test = with(&meta_example(), "/test_event_code", json!("TEST12345"));
    assert!(post("meta", META, &test).test);
    // Below the sandbox's base, as a replaced endpoint writes it.
    assert_taken(&post("meta", "http://127.0.0.1:8090/meta/v25.0/7/events", &meta_example()));
}

#[test]
fn meta_takes_a_time_in_milliseconds_and_loses_the_event() {
    let body = with(&meta_example(), "/data/0/event_time", json!(now().as_millisecond()));
    let verdict = post("meta", META, &body);
    assert_eq!(verdict.reply.status, 200);
    assert!(verdict.accepted.is_empty() && !verdict.is_accepted());
    assert!(verdict.refused[0].why.contains("milliseconds"), "{:?}", verdict.refused);
}

#[test]
fn meta_refuses_each_trap_with_its_own_error() {
    let traps = [
        ("/data/0/event_name", Value::Null, 2_804_001, "event_name is missing"),
        ("/data/0/event_time", Value::Null, 2_804_001, "event_time is missing"),
        ("/data/0/action_source", Value::Null, 2_804_001, "action_source is missing"),
        ("/data/0/action_source", json!("web"), 2_804_019, "action_source"),
        ("/data/0/event_time", json!("1795305600"), 2_804_019, "event_time must be an integer"),
        ("/data/0/event_time", json!(1_795_305_600.5), 2_804_019, "event_time must be an integer"),
        ("/data/0/event_time", json!(now().as_second() + 3_600), 2_804_004, "future"),
        ("/data/0/event_time", json!(ago(7, 60).as_second()), 2_804_003, "event_time"),
        ("/data/0/event_source_url", Value::Null, 2_804_001, "event_source_url is missing"),
        ("/data/0/event_source_url", json!("shop.example"), 2_804_019, "event_source_url"),
        ("/data/0/user_data/client_user_agent", Value::Null, 2_804_001, "client_user_agent"),
        ("/data/0/user_data/em", json!(["jane.doe@example.com"]), 2_804_019, "user_data.em[0]"),
        (
            "/data/0/user_data/em",
            json!([hash("jane.doe@example.com").to_uppercase()]),
            2_804_019,
            "upper case",
        ),
        ("/data/0/user_data/em", json!([EMPTY]), 2_804_019, "empty text"),
        ("/data/0/user_data/em", json!([hash("Jane.Doe@example.com")]), 2_804_019, "mixed case"),
        ("/data/0/user_data/ph", json!([hash("+14155550133")]), 2_804_019, "plus"),
        ("/data/0/user_data/country", json!([hash("US")]), 2_804_019, "capitals"),
        ("/data/0/user_data/client_user_agent", json!(hash("Mozilla/5.0")), 2_804_019, "clear"),
        ("/data/0/user_data/client_ip_address", json!(hash("203.0.113.9")), 2_804_019, "address"),
        ("/data/0/user_data/client_ip_address", Value::Null, 2_804_001, "client_ip_address"),
        (
            "/data/0/user_data",
            json!({"client_user_agent": "m", "client_ip_address": ""}),
            2_804_050,
            "identify",
        ),
        ("/data/0/custom_data/value", json!("142.52"), 2_804_019, "value must be a number"),
        ("/data/0/custom_data/value", json!(-1), 2_804_019, "out of bounds"),
        ("/data/0/custom_data/value", Value::Null, 2_804_001, "value is missing"),
        ("/data/0/custom_data/currency", Value::Null, 2_804_001, "currency is missing"),
        ("/data/0/custom_data/currency", json!("US$"), 2_804_019, "ISO 4217"),
        ("/data/0/custom_data/contents/0/quantity", json!(1.5), 2_804_019, "quantity"),
        ("/data/0/data_processing_options", json!(["LMU"]), 2_804_019, "data_processing_options"),
        ("/data/0/data_processing_options_state", Value::Null, 2_804_019, "all or none"),
        ("/data/0/data_processing_options_country", json!(2), 2_804_019, "country"),
        ("/data/0/event_id", json!(7), 2_804_019, "event_id must be a string"),
    ];
    for (pointer, value, subcode, why) in traps {
        let case = format!("{pointer} = {value}");
        let verdict = post("meta", META, &with(&meta_example(), pointer, value));
        assert_eq!(verdict.reply.status, 400, "{case}");
        let error = answer(&verdict)["error"].clone();
        assert_eq!(error["code"], 100, "{case}: {error}");
        let all: Vec<_> = verdict.refused.iter().map(|it| it.why.as_str()).collect();
        assert!(all.iter().any(|it| it.contains(why)), "{case}: {all:?}");
        assert_eq!(error["error_subcode"], subcode, "{case}: {error}");
        assert!(verdict.accepted.is_empty());
    }
}

#[test]
fn meta_refuses_weak_identity_and_half_filled_apps() {
    let weak = [
        json!({"ct": [hash("paris")], "country": [hash("fr")], "client_user_agent": "m"}),
        json!({"fn": [hash("jane")], "ge": [hash("f")]}),
        json!({"db": [hash("19900216")], "client_user_agent": "m"}),
        json!({}),
    ];
    for user in weak {
        let body = with(&meta_example(), "/data/0/user_data", user.clone());
        let body = with(&body, "/data/0/action_source", json!("system_generated"));
        let body = with(&body, "/data/0/data_processing_options", json!([]));
        let verdict = post("meta", META, &body);
        assert!(!verdict.is_accepted(), "{user}");
    }
    let app = [
        ("/data/0/app_data", Value::Null),
        ("/data/0/app_data/extinfo", json!(["i2", ""])),
        ("/data/0/app_data/extinfo/0", json!("a1")),
        ("/data/0/app_data/extinfo/4", json!("")),
        ("/data/0/app_data/advertiser_tracking_enabled", json!("1")),
    ];
    for (pointer, value) in app {
        assert!(!post("meta", META, &with(&meta_app(), pointer, value)).is_accepted(), "{pointer}");
    }
}

#[test]
fn one_bad_event_costs_meta_the_whole_batch() {
    let good = meta_example()["data"][0].clone();
    let bad = with(&json!([good]), "/0/event_time", json!(ago(8, 0).as_second()))[0].clone();
    let verdict = post("meta", META, &json!({"data": [good, good, bad, good]}));
    assert_eq!((verdict.reply.status, verdict.events), (400, 4));
    assert!(verdict.accepted.is_empty());
    assert_eq!(verdict.refused.len(), 1);
    assert_eq!(verdict.refused[0].index, Some(2));
    assert!(verdict.refused[0].why.starts_with("data[2].event_time"));

    let many = vec![good; 1_001];
    let verdict = post("meta", META, &json!({"data": many}));
    assert_eq!(verdict.reply.status, if verdict.events == 0 { 413 } else { 400 });
    let slim = json!({"event_name": "Lead", "event_time": now().as_second(),
        "action_source": "chat", "user_data": {"external_id": "u"}});
    assert_taken(&post("meta", META, &json!({"data": vec![slim.clone(); 1_000]})));
    let verdict = post("meta", META, &json!({"data": vec![slim; 1_001]}));
    assert_eq!((verdict.reply.status, verdict.refused.len()), (400, 1));
    assert_eq!(post("meta", META, &json!({"data": []})).reply.status, 400);
    let large = with(&meta_example(), "/partner_agent", json!("x".repeat(1_100_000)));
    assert_eq!(post("meta", META, &large).reply.status, 413);
}

#[test]
fn meta_refuses_paths_versions_and_bodies_that_it_does_not_know() {
    let at = |url| post("meta", url, &meta_example());
    assert_eq!(at("/v26.0/123/event").reply.status, 404);
    assert_eq!(answer(&at("/v20.0/123/events"))["error"]["code"], 2635);
    assert_eq!(answer(&at("/v26.0/0/events"))["error"]["error_subcode"], 33);
    let request = Request { method: "GET", url: META, headers: &[], body: b"" };
    assert_eq!(check("meta", request, now()).unwrap().reply.status, 404);
    let request = Request { method: "POST", url: META, headers: &json_headers(), body: b"{" };
    assert_eq!(check("meta", request, now()).unwrap().reply.status, 400);
    assert!(check("nowhere", request, now()).is_none());
}
