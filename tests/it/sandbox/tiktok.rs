//! TikTok's contract.

use serde_json::{Value, json};

use super::{EMPTY, ago, answer, assert_taken, hash, now, post, with};

const URL: &str = "https://business-api.tiktok.com/open_api/v1.3/event/track/";

fn example() -> Value {
    json!({"event_source": "web", "event_source_id": "C0EXAMPLEPIXELCODE", "data": [{
        "event": "Purchase", "event_time": now().as_second() - 300, "event_id": "ord-1001",
        "user": {"email": [hash("foo@bar.com")], "phone": [hash("+14150000000")],
            "external_id": [hash("u-1029")], "ttclid": "E.C.P.xxxx", "ttp": "2abcDEF",
            "ip": "203.0.113.7", "user_agent": "Mozilla/5.0", "locale": "en-US"},
        "page": {"url": "https://shop.example/thanks", "referrer": "https://shop.example/cart"},
        "properties": {"value": 49.9, "currency": "EUR", "content_type": "product",
            "order_id": "1001", "contents": [{"content_id": "sku-1", "content_name": "Mug",
                "content_category": "Home", "brand": "Acme", "price": 24.95, "quantity": 2}]},
        "limited_data_use": false
    }]})
}

#[test]
fn tiktok_takes_what_its_sheet_shows() {
    let verdict = post("tiktok", URL, &example());
    assert_taken(&verdict);
    assert!(verdict.warnings.is_empty(), "{:?}", verdict.warnings);
    assert_eq!(verdict.accepted, [Some("ord-1001".to_owned())]);
    assert_eq!(verdict.destination.as_deref(), Some("C0EXAMPLEPIXELCODE"));
    assert_eq!(answer(&verdict)["code"], 0);
    assert_taken(&post("tiktok", URL, &with(&example(), "/data/0/event", json!("MyOwn"))));
    let test = with(&example(), "/test_event_code", json!("TEST12345"));
    assert!(post("tiktok", URL, &test).test);
    let crm = json!({"event_source": "crm", "event_source_id": "7", "data": [{
        "event": "QualifiedLead", "event_time": ago(20, 0).as_second(), "event_id": "l-1",
        "lead": {"lead_id": "7123456789012345678", "lead_event_source": "salesforce"}}]});
    assert_taken(&post("tiktok", URL, &crm));
}

#[test]
fn tiktok_refuses_the_whole_request_inside_a_200() {
    let traps = [
        ("/data/0/event_id", json!(1001)),
        ("/data/0/event", json!(null)),
        ("/data/0/event_time", json!((now().as_second() - 300) * 1_000)),
        ("/data/0/event_time", json!("2026-11-22T04:00:00Z")),
        ("/data/0/event_time", json!(ago(7, 60).as_second())),
        ("/data/0/user/email", json!("jane.doe@example.com")),
        ("/data/0/user/email", json!([EMPTY])),
        ("/data/0/user/phone", json!([hash("14150000000")])),
        ("/data/0/user/ip", json!(hash("203.0.113.7"))),
        ("/data/0/properties/value", json!("49.90")),
        ("/data/0/properties/currency", json!("euro")),
        ("/data/0/properties/currency", json!(null)),
        ("/data/0/properties/contents/0/content_id", json!(4711)),
        ("/data/0/properties/content_ids", json!(["sku-1"])),
        ("/data/0/limited_data_use", json!("true")),
        ("/event_source", json!("website")),
        ("/data", json!([])),
    ];
    for (pointer, value) in traps {
        let verdict = post("tiktok", URL, &with(&example(), pointer, value));
        assert!(!verdict.is_accepted(), "{pointer}");
        assert_eq!((verdict.reply.status, &answer(&verdict)["code"]), (200, &json!(40002)));
    }
    let good = &example()["data"][0];
    let bad = with(good, "/event_id", json!(1001));
    let verdict = post("tiktok", URL, &with(&example(), "/data", json!([good, good, bad])));
    assert_eq!(verdict.accepted, []);
    assert_eq!(answer(&verdict)["message"], "data.2.event_id: not a valid string");
}

#[test]
fn tiktok_knows_each_source() {
    let of = |source: &str| with(&example(), "/event_source", json!(source));
    let offline = with(&of("offline"), "/data/0/limited_data_use", json!(null));
    assert_taken(&post("tiktok", URL, &offline));
    let own = with(&offline, "/data/0/event", json!("MyOwn"));
    assert!(!post("tiktok", URL, &own).is_accepted(), "standard names only");
    assert!(!post("tiktok", URL, &of("offline")).is_accepted(), "no limited data use");
    let crm = with(&of("crm"), "/data/0/limited_data_use", json!(null));
    assert!(!post("tiktok", URL, &crm).is_accepted(), "no standard names");
    assert!(!post("tiktok", URL, &of("app")).is_accepted(), "no app");
    let old = URL.replace("event/track", "pixel/track");
    assert_eq!(post("tiktok", &old, &example()).reply.status, 404);
}
