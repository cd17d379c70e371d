//! The doors of others, through the real binary: what comes in each format, signed and unsigned, and
//! what each of them refuses. The real SDKs are run by `tests/run sdk`.

use std::path::Path;

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use crate::harness::{Folder, Relay, assert_balanced, binary};

const SECRET: &str = "sandbox-secret";

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/doors");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn mac(parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn shopify(body: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(mac(&[body.as_bytes()]))
}

fn stripe(body: &str, at: i64) -> String {
    let own = hex(&mac(&[at.to_string().as_bytes(), b".", body.as_bytes()]));
    format!("t={at},v1={},v1={own}", "00".repeat(32))
}

#[allow(clippy::disallowed_methods, reason = "the test is the vendor, whose clock is its own")]
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

async fn post(relay: &Relay, path: &str, body: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let mut request = relay.http.post(format!("{}{path}", relay.public)).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

#[tokio::test]
async fn explain_reads_each_format() {
    let folder = Folder::shipped();
    for (format, first, value) in [
        ("segment", "m-1", "25.00"),
        ("measurement-protocol", "", "25.42"),
        ("shopify", "order-820982911946154508", "199.65"),
        ("stripe", "order-1001", "129.90"),
    ] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/fixtures/doors/{format}.json"));
        let output = binary()
            .args(["explain".as_ref(), "--config".as_ref(), folder.config().as_os_str()])
            .args(["--now", "2026-11-22T09:05:00Z", "--from", format])
            .arg(file)
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stdout));
        let lines = String::from_utf8(output.stdout).unwrap();
        let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert_eq!(line["event"], "purchase", "{format}");
        assert_eq!(line["value"]["amount"], value, "{format}");
        if !first.is_empty() {
            assert_eq!(line["event_id"], first, "{format}");
        }
    }
}

/// A payment bears no signal of consent: what its person chose elsewhere decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_payment_follows_what_its_person_chose() {
    let mut folder = Folder::shipped();
    folder.env.push(("STRIPE_WEBHOOK_SECRET".to_owned(), SECRET.to_owned()));
    let relay = Relay::start(&folder).await;
    let choose = async |consent: Value| {
        let user = serde_json::json!({"email": "Jane@Example.com"});
        let body = serde_json::json!({"site": "shop_us", "user": user, "consent": consent});
        let key = [("authorization", "Bearer dev-key"), ("content-type", "application/json")];
        assert_eq!(post(&relay, "/v1/consent", &body.to_string(), &key).await.0, 202);
    };
    let pay = async |order: &str| {
        let mut body: Value = serde_json::from_str(&fixture("stripe.json")).unwrap();
        body["id"] = format!("evt_{order}").into();
        // To the second: not before a choice of this one.
        body["created"] = (now() + 1).into();
        body["data"]["object"]["metadata"] = serde_json::json!({"order_id": order});
        let body = body.to_string();
        let signature = stripe(&body, now());
        let headers = [("stripe-signature", signature.as_str())];
        let (status, answer) = post(&relay, "/v1/webhooks/stripe", &body, &headers).await;
        assert!((200..300).contains(&status), "{status} {answer}");
    };
    choose(serde_json::json!({"opt_out": true})).await;
    pay("tuesday").await;
    let stats = relay.drained().await;
    assert_balanced(&stats);
    // Where a payment comes from nobody knows, and there an opt-out is no grant.
    assert_eq!(stats["destinations"]["google_ads"]["held"]["no_consent"], 1, "{stats:#}");
    let granted = ["ad_storage", "ad_user_data", "ad_personalization", "analytics_storage"];
    let granted = granted.map(|purpose| (purpose.to_owned(), Value::from("granted")));
    choose(Value::Object(granted.into_iter().collect())).await;
    pay("thursday").await;
    let stats = relay.drained().await;
    assert_balanced(&stats);
    // Meta takes no event of a website without a browser.
    assert_eq!(relay.accepted_ids("google_ads").await, ["thursday"]);
    relay.stop().await;
}

#[tokio::test]
async fn a_switch_only_takes_away_and_says_so() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let basic = base64::engine::general_purpose::STANDARD.encode("dev-key:");
    let header = format!("Basic {basic}");
    let headers = [("authorization", header.as_str())];
    let (status, answer) = post(&relay, "/v1/batch", &fixture("segment.json"), &headers).await;
    assert_eq!((status, &answer["success"]), (200, &Value::Bool(true)), "{answer}");
    let stats = relay.drained().await;
    assert_eq!(stats["accepted"], 5, "group is answered and ignored: {stats}");
    let ids = relay.accepted_ids("google_ads").await;
    assert_eq!(ids, ["o-1"]);
    assert!(relay.received("meta").await.is_empty(), "Facebook Pixel is off");
    let (_, trace) = relay.admin("GET", "/admin/v1/events/m-1", None).await;
    assert!(trace.to_string().contains("integrations"), "{trace}");
    for (body, code) in [
        ("{", "malformed_json"),
        ("[]", "invalid_field"),
        (r#"{"batch": {}}"#, "invalid_field"),
        (r#"{"batch": [{"type": "track"}]}"#, "missing_field"),
        (r#"{"batch": [{"type": "tarck", "event": "x"}]}"#, "missing_field"),
        (r#"{"type": "track", "type": "page"}"#, "invalid_field"),
    ] {
        let (status, answer) = post(&relay, "/v1/batch", body, &headers).await;
        assert_eq!((status, answer["code"].as_str()), (400, Some(code)), "{body}: {answer}");
    }
    assert_eq!(post(&relay, "/v1/batch", "{}", &[]).await.0, 401);
    assert_balanced(&relay.stats().await);
    relay.stop().await;
}

#[tokio::test]
async fn the_measurement_protocol_answers_as_google_does() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let body = fixture("measurement-protocol.json").replace("1795320000", &now().to_string());
    let path = "/mp/collect?measurement_id=G-1&api_secret=dev-key";
    assert_eq!(post(&relay, path, &body, &[]).await.0, 204);
    let debug = format!("/debug{path}");
    let (status, answer) = post(&relay, &debug, &body, &[]).await;
    assert_eq!((status, &answer["validationMessages"]), (200, &serde_json::json!([])));
    let bad = r#"{"client_id": "1.2", "events": [{"name": "_bad"}]}"#;
    let (_, answer) = post(&relay, &debug, bad, &[]).await;
    assert_eq!(answer["validationMessages"][0]["validationCode"], "NAME_INVALID", "{answer}");
    assert_eq!(post(&relay, path, "{", &[]).await.0, 400);
    assert_eq!(post(&relay, path, r#"{"events": 1}"#, &[]).await.0, 422);
    assert_eq!(post(&relay, "/mp/collect", &body, &[]).await.0, 401);
    let stats = relay.drained().await;
    assert_eq!(stats["accepted"], 1, "debug keeps nothing: {stats}");
    relay.stop().await;
}

/// A sender that writes its delivery anew when it tries again is known by the delivery's id.
#[tokio::test]
async fn a_delivery_is_known_by_its_id() {
    let folder = Folder::shipped();
    folder.edit("relay.toml", |text| {
        text + r#"
[webhooks.by_header]
type = "hmac"
secret = { env = "ERP_SECRET" }
site = "shop_us"
id_header = "X-Delivery-Id"
[webhooks.by_body]
type = "hmac"
secret = { env = "ERP_SECRET" }
site = "shop_us"
id = "delivery.id"
[webhooks.by_body.fields]
event = "'purchase'"
event_id = "order"
"properties.value" = "1"
"properties.currency" = "'USD'"
"#
    });
    let relay = Relay::start(&folder).await;
    let event = |id: &str| {
        format!(r#"{{"event": "purchase", "event_id": "{id}", "consent": {{"region": "US"}}}}"#)
    };
    let path = "/v1/webhooks/by_header";
    for (id, body, expected) in [
        (None, event("a"), 401),
        (Some(" "), event("a"), 401),
        (Some("d-1"), event("a"), 202),
        // Other bytes, the same id; the same bytes, another id, which is not signed.
        (Some("d-1"), event("b"), 401),
        (Some("d-2"), event("a"), 401),
        (Some("d-2"), event("b"), 202),
    ] {
        let signature = hex(&mac(&[body.as_bytes()]));
        let mut headers = vec![("x-signature", signature.as_str())];
        headers.extend(id.map(|id| ("x-delivery-id", id)));
        let (status, answer) = post(&relay, path, &body, &headers).await;
        assert_eq!(status, expected, "{id:?} {body}: {answer}");
        assert!(status == 202 || answer["code"].is_string(), "{answer}");
    }
    let path = "/v1/webhooks/by_body";
    for (body, expected) in [
        (r#"{"order": "1"}"#, 400),
        (r#"{"order": "1", "delivery": {"id": null}}"#, 400),
        (r#"{"order": "1", "delivery": {"id": 7}}"#, 202),
        (r#"{"order": "2", "delivery": {"id": "7"}, "try": 2}"#, 401),
        (r#"{"order": "2", "delivery": {"id": "8"}}"#, 202),
    ] {
        let signature = hex(&mac(&[body.as_bytes()]));
        let headers = [("x-signature", signature.as_str())];
        let (status, answer) = post(&relay, path, body, &headers).await;
        assert_eq!(status, expected, "{body}: {answer}");
    }
    assert_eq!(relay.stats().await["accepted"], 4);
    relay.stop().await;
}

#[tokio::test]
async fn a_delivery_is_taken_once_and_only_signed() {
    let folder = Folder::shipped();
    folder.edit("relay.toml", |text| {
        text + r#"
[webhooks.erp]
type = "hmac"
secret = { env = "ERP_SECRET" }
site = "shop_us"
header = "X-Sig"
prefix = "sha256="
timestamp_header = "X-Time"
[webhooks.erp.fields]
event = "'purchase'"
event_id = "id"
"user.email" = "customer.email"
"properties.value" = "body.cents / 100"
"properties.currency" = "currency"
"#
    });
    let relay = Relay::start(&folder).await;
    let order = fixture("shopify.json");
    let sign = shopify(&order);
    let [topic, cancelled, begun, paid] =
        ["orders/create", "orders/cancelled", "checkouts/create", "orders/paid"]
            .map(|topic| ("x-shopify-topic", topic));
    let path = "/v1/webhooks/shopify";
    let wrong = shopify(&format!("{order} "));
    for (headers, expected) in [
        (vec![topic], 401),
        (vec![topic, ("x-shopify-hmac-sha256", wrong.as_str())], 401),
        (vec![cancelled, ("x-shopify-hmac-sha256", sign.as_str())], 422),
        (vec![topic, ("x-shopify-hmac-sha256", sign.as_str())], 202),
        (vec![topic, ("x-shopify-hmac-sha256", sign.as_str())], 401),
        // The topic is not signed: the same body is no other event.
        (vec![cancelled, ("x-shopify-hmac-sha256", sign.as_str())], 401),
        (vec![begun, ("x-shopify-hmac-sha256", sign.as_str())], 401),
        (vec![paid, ("x-shopify-hmac-sha256", sign.as_str())], 202),
        (vec![paid, ("x-shopify-hmac-sha256", sign.as_str())], 401),
    ] {
        let (status, answer) = post(&relay, path, &order, &headers).await;
        assert_eq!(status, expected, "{headers:?} {answer}");
    }
    let path = "/v1/webhooks/stripe";
    let checkout = fixture("stripe.json").replace("1795320000", &now().to_string());
    for (at, expected) in [(now() - 400, 401), (now() + 400, 401), (now(), 202), (now(), 401)] {
        let signature = stripe(&checkout, at);
        let headers = [("stripe-signature", signature.as_str())];
        let (status, answer) = post(&relay, path, &checkout, &headers).await;
        assert_eq!(status, expected, "{at} {answer}");
    }
    let body =
        r#"{"id": 7, "customer": {"email": "a@example.com"}, "cents": 1250, "currency": "USD"}"#;
    let time = now().to_string();
    let signature = hex(&mac(&[time.as_bytes(), b".", body.as_bytes()]));
    let signature = format!("sha256={signature}");
    let headers = [("x-time", time.as_str()), ("x-sig", signature.as_str())];
    assert_eq!(post(&relay, "/v1/webhooks/erp", body, &headers).await.0, 202);
    assert_eq!(post(&relay, "/v1/webhooks/erp", body, &headers).await.0, 401);
    assert_eq!(post(&relay, "/v1/webhooks/nobody", body, &headers).await.0, 404);
    let stats = relay.drained().await;
    assert_eq!((&stats["accepted"], &stats["duplicate"]), (&3.into(), &1.into()), "{stats}");
    relay.stop().await;

    // What was taken stays known after a restart.
    let relay = Relay::start(&folder).await;
    let headers = [topic, ("x-shopify-hmac-sha256", sign.as_str())];
    assert_eq!(post(&relay, "/v1/webhooks/shopify", &order, &headers).await.0, 401);
    relay.stop().await;
}
