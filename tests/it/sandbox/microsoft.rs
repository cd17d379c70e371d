//! Microsoft's contract.

use serde_json::{Value, json};

use super::{EMPTY, ago, answer, assert_taken, hash, now, post, with};

const UET: &str = "https://capi.uet.microsoft.com/v1/343210/events";

fn example() -> Value {
    json!({"data": [{
        "eventType": "custom", "eventName": "purchase", "eventId": "ord-1001",
        "eventTime": now().as_second() - 300, "eventSourceUrl": "https://shop.example/thanks",
        "referrerUrl": "https://www.example.com/", "pageTitle": "Thanks", "keywords": "a,b",
        "pageLoadId": "7c7f0c9e-0f1b-4a27-9a6e-0f9d6c1b2a33", "adStorageConsent": "G",
        "userData": {"msclkid": "dd4afccc-b1c9-a4ca-d954-4dd7e5006abc", "externalId": "u-7",
            "em": "9eceb13483d7f187ec014fd6d4854d1420cfc634328af85f51d0323ba8622e21",
            "ph": "f11dc5034999f4d169947c65990f626f6d0a633af0b6ee1807fdc5756f39ce50",
            "clientUserAgent": "Mozilla/5.0", "clientIpAddress": "203.0.113.9"},
        "customData": {"transactionId": "ord-1001", "value": 249.99, "currency": "EUR",
            "items": [{"id": "SKU", "quantity": 2, "price": 124.99, "name": "Widget"}],
            "itemIds": ["SKU"], "pageType": "purchase", "ecommTotalValue": 249.99,
            "hotelData": {"totalPrice": 1, "checkinDate": "2026-12-01", "lengthOfStay": 2}}
    }], "dataProvider": "relay", "continueOnValidationError": true})
}

#[test]
fn microsoft_takes_what_its_sheet_shows() {
    let verdict = post("microsoft", UET, &example());
    assert_taken(&verdict);
    assert!(verdict.warnings.is_empty(), "{:?}", verdict.warnings);
    assert_eq!(answer(&verdict)["eventsReceived"], 1);
    assert!(answer(&verdict)["error"].is_null());
    assert_eq!(verdict.destination.as_deref(), Some("343210"));
    assert_eq!(verdict.accepted, [Some("ord-1001".to_owned())]);
    for (pointer, value) in [
        ("/data/0/userData/msclkid", json!("dd4afcccb1c9a4cad9544dd7e5006abc")),
        ("/data/0/adStorageConsent", Value::Null),
        ("/data/0/eventTime", json!(ago(6, 86_000).as_second())),
        ("/data/0/customData", Value::Null),
    ] {
        assert_taken(&post("microsoft", UET, &with(&example(), pointer, value)));
    }
    // In the event it is ignored.
    let inside = with(&example(), "/data/0/continueOnValidationError", json!(true));
    assert_eq!(post("microsoft", UET, &inside).warnings.len(), 1);
}

#[test]
fn microsoft_refuses_each_trap_in_the_details() {
    let traps = [
        ("/eventType", json!("purchase")),
        ("/eventName", Value::Null),
        ("/eventTime", json!(now().as_millisecond())),
        ("/eventTime", json!(ago(8, 0).as_second())),
        ("/eventTime", json!(now().as_second() + 120)),
        ("/eventSourceUrl", json!("/thanks")),
        ("/pageLoadId", json!("1")),
        ("/adStorageConsent", json!("granted")),
        ("/userData/msclkid", json!("abc")),
        ("/userData/em", json!([hash("abc@example.com")])),
        ("/userData/em", json!(EMPTY)),
        ("/userData/em", json!(hash("jane.doe@example.com"))),
        ("/userData/ph", json!(hash("14250000000"))),
        ("/userData/idfa", json!("1")),
        ("/userData", json!({"clientIpAddress": "203.0.113.9", "clientUserAgent": "x"})),
        ("/customData/currency", Value::Null),
        ("/customData/pageType", json!("thanks")),
        ("/customData/hotelData/lengthOfStay", json!(0)),
        ("/eventType", json!("pageLoad")),
    ];
    for (pointer, value) in traps {
        let body = with(&example(), &format!("/data/0{pointer}"), value.clone());
        let verdict = post("microsoft", UET, &body);
        assert_eq!(verdict.reply.status, 200, "an error inside");
        let details = answer(&verdict)["error"]["details"].clone();
        assert_eq!(details[0]["index"], 0, "{pointer} {value}");
        assert_eq!(details[0]["isWarning"], false);
        assert!(verdict.accepted.is_empty());
    }
}

#[test]
fn microsoft_judges_each_event_only_if_asked_to() {
    let good = example()["data"][0].clone();
    let bad = with(&good, "/eventTime", json!(0));
    let body = with(&example(), "/data", json!([good, bad, good]));
    let verdict = post("microsoft", UET, &body);
    assert_eq!((verdict.reply.status, verdict.accepted.len()), (200, 2));
    assert_eq!(answer(&verdict)["error"]["details"][0]["index"], 1);
    for go_on in [json!(false), Value::Null] {
        let verdict = post("microsoft", UET, &with(&body, "/continueOnValidationError", go_on));
        assert_eq!((verdict.reply.status, verdict.accepted.len()), (400, 0));
        assert_eq!(answer(&verdict)["error"]["details"][0]["index"], 1);
    }
    assert_eq!(post("microsoft", UET, &json!({"data": []})).reply.status, 400);
    assert_taken(&post(
        "microsoft",
        UET,
        &with(&example(), "/data", json!(vec![good.clone(); 1_000])),
    ));
    let many = with(&example(), "/data", json!(vec![good; 1_001]));
    assert_eq!(post("microsoft", UET, &many).reply.status, 400);
    let nowhere = "https://capi.uet.microsoft.com/v1/0/events";
    assert_eq!(post("microsoft", nowhere, &example()).reply.status, 404);
}
