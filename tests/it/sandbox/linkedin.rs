//! LinkedIn's contract.

use conversion_relay::sandbox::{Request, Verdict, check};
use serde_json::{Value, json};

use super::{EMPTY, ago, answer, assert_taken, hash, json_headers, now, with};

const EVENTS: &str = "https://api.linkedin.com/rest/conversionEvents";

fn example() -> Value {
    json!({
        "conversion": "urn:lla:llaPartnerConversion:123",
        "conversionHappenedAt": now().as_millisecond() - 300_000,
        "conversionValue": {"currencyCode": "USD", "amount": "49.90"}, "eventId": "ord-1001",
        "user": {
            "userIds": [
                {"idType": "SHA256_EMAIL", "idValue": hash("foo@bar.com")},
                {"idType": "LINKEDIN_FIRST_PARTY_ADS_TRACKING_UUID", "idValue": "7c7f0c9e"},
                {"idType": "PLAINTEXT_IP_ADDRESS", "idValue": "203.0.113.9"}],
            "userInfo": {"firstName": "Ada", "lastName": "Lovelace", "title": "CTO",
                "companyName": "Acme", "countryCode": "US"},
            "externalIds": ["u-7"]}
    })
}

fn send(version: &str, batch: bool, body: &Value) -> Verdict {
    let mut headers = json_headers();
    headers.push(("linkedin-version".to_owned(), version.to_owned()));
    headers.push(("x-restli-protocol-version".to_owned(), "2.0.0".to_owned()));
    if batch {
        headers.push(("x-restli-method".to_owned(), "BATCH_CREATE".to_owned()));
    }
    let body = body.to_string();
    let request = Request { method: "POST", url: EVENTS, headers: &headers, body: body.as_bytes() };
    check("linkedin", request, now()).unwrap()
}

fn batch(events: &[&Value]) -> Verdict {
    send("202608", true, &json!({"elements": events}))
}

#[test]
fn linkedin_takes_what_its_sheet_shows() {
    let verdict = batch(&[&example(), &example()]);
    assert_taken(&verdict);
    assert_eq!(answer(&verdict)["elements"], json!([{"status": 201}, {"status": 201}]));
    assert_eq!(verdict.accepted, vec![Some("ord-1001".to_owned()); 2]);
    let single = send("202608", false, &example());
    assert_eq!((single.reply.status, single.reply.body.len()), (201, 0));
    for (pointer, value) in [
        ("/conversionValue", Value::Null),
        ("/user/userIds", json!([])),
        ("/conversionHappenedAt", json!(ago(89, 0).as_millisecond())),
        ("/user/userInfo", Value::Null),
    ] {
        assert_taken(&batch(&[&with(&example(), pointer, value)]));
    }
}

#[test]
fn linkedin_refuses_each_trap_and_names_its_index() {
    let traps = [
        ("/conversion", json!("123")),
        ("/conversionHappenedAt", json!(now().as_second())),
        ("/conversionHappenedAt", json!(ago(91, 0).as_millisecond())),
        ("/conversionHappenedAt", json!(now().as_millisecond() + 120_000)),
        ("/conversionValue/amount", json!(49.9)),
        ("/conversionValue/currencyCode", Value::Null),
        ("/user/userIds", Value::Null),
        ("/user/userIds/0/idType", json!("AXCIOM_ID")),
        ("/user/userIds/0/idType", json!("SHA256_PHONE")),
        ("/user/userIds/0/idValue", json!("foo@bar.com")),
        ("/user/userIds/0/idValue", json!(EMPTY)),
        ("/user/userIds/0/idValue", json!(hash("janedoe@example.com"))),
        ("/user/userIds/1/idValue", json!(hash("7c7f0c9e"))),
        ("/user/userIds/2/idValue", json!("2001:db8::1")),
        ("/user/userInfo/lastName", Value::Null),
        ("/user/externalIds", json!(["a", "b"])),
        ("/user", json!({"userIds": []})),
    ];
    for (pointer, value) in traps {
        let verdict = batch(&[&example(), &with(&example(), pointer, value.clone())]);
        assert_eq!(verdict.reply.status, 422, "{pointer} {value}");
        let message = answer(&verdict)["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.starts_with("Index: 1, ERROR :: /"), "{pointer} {message}");
        assert!(verdict.accepted.is_empty(), "one costs all");
    }
    let other = with(&example(), "/conversion", json!("urn:lla:llaPartnerConversion:0"));
    let verdict = batch(&[&other, &example(), &other]);
    let message = answer(&verdict)["message"].as_str().unwrap().to_owned();
    assert!(message.ends_with("CONVERSIONS_API, indices [0, 2] (0-indexed)"), "{message}");
    assert_eq!(verdict.reply.status, 400);
}

#[test]
fn linkedin_wants_its_headers_and_a_version_that_lives() {
    let body = json!({"elements": [example()]});
    assert_eq!(send("202511", true, &body).reply.status, 426);
    assert_eq!(send("202608", false, &body).reply.status, 422, "no BATCH_CREATE");
    let request =
        Request { method: "POST", url: EVENTS, headers: &json_headers(), body: b"{\"a\":1}" };
    assert_eq!(check("linkedin", request, now()).unwrap().reply.status, 400);
    assert_eq!(batch(&[]).reply.status, 400);
    assert_taken(&batch(&vec![&example(); 5_000]));
    assert_eq!(batch(&vec![&example(); 5_001]).reply.status, 400);
}
