//! The contracts of Data Manager and of GA4's Measurement Protocol.

use base64::Engine as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{EMPTY, ago, answer, assert_taken, hash, now, post, with};

// === google_ads ===

const DATA_MANAGER: &str = "https://datamanager.googleapis.com/v1/events:ingest";

pub(super) fn google_example() -> Value {
    json!({
        "destinations": [{"reference": "d1",
            "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": "1234567890"},
            "loginAccount": {"accountType": "GOOGLE_ADS", "accountId": "9876543210"},
            "productDestinationId": "1122334455"}],
        "encoding": "HEX", "validateOnly": false,
        "consent": {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"},
        "events": [{"destinationReferences": ["d1"], "transactionId": "ord-1001",
            "eventTimestamp": "2026-11-20T12:15:07Z", "lastUpdatedTimestamp": "2026-11-21T08:00:00Z",
            "eventSource": "WEB", "currency": "USD", "conversionValue": 142.52,
            "adIdentifiers": {"gclid": "Cj0"},
            "userData": {"userIdentifiers": [
                {"emailAddress": "509e933019bb285a134a9334b8bb679dff79d0ce023d529af4bd744d47b4fd8a"},
                {"phoneNumber": "fb4f73a6ec5fdb7077d564cdd22c3554b43ce49168550c3b12c547b78c517b30"},
                {"address": {"givenName": hash("john"), "familyName": hash("smith"),
                    "regionCode": "US", "postalCode": "94045"}}]},
            "consent": {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"},
            "cartData": {"merchantId": "12", "merchantFeedLabel": "US",
                "merchantFeedLanguageCode": "en", "transactionDiscount": 1.5,
                "items": [{"merchantProductId": "SKU1", "quantity": "2", "unitPrice": 70.0}]},
            "customVariables": [{"variable": "tier", "value": "gold"}],
            "userProperties": {"customerType": "NEW", "customerValueBucket": "HIGH"}}]
    })
}

#[test]
fn data_manager_takes_what_its_sheet_shows() {
    let verdict = post("google_ads", DATA_MANAGER, &google_example());
    assert_taken(&verdict);
    assert!(answer(&verdict)["requestId"].as_str().is_some_and(|id| !id.is_empty()));
    assert_eq!(verdict.destination.as_deref(), Some("1234567890"));
    assert_eq!(verdict.accepted, [Some("ord-1001".to_owned())]);
    let variants = [
        ("/events/0/eventTimestamp", json!("2026-11-20T13:15:07.123+01:00")),
        ("/events/0/userData", Value::Null),
        ("/events/0/adIdentifiers", Value::Null),
        ("/events/0/destinationReferences", Value::Null),
        ("/events/0/cartData/items/0/quantity", json!(2)),
    ];
    for (pointer, value) in variants {
        assert_taken(&post("google_ads", DATA_MANAGER, &with(&google_example(), pointer, value)));
    }
    let base64 = base64::engine::general_purpose::STANDARD.encode(Sha256::digest("a@example.com"));
    let body = with(&google_example(), "/encoding", json!("BASE64"));
    let identifiers = json!([{"emailAddress": base64}]);
    let body = with(&body, "/events/0/userData/userIdentifiers", identifiers);
    assert_taken(&post("google_ads", DATA_MANAGER, &body));
    assert!(
        post("google_ads", DATA_MANAGER, &with(&google_example(), "/validateOnly", json!(true)))
            .test
    );
}

#[test]
fn data_manager_refuses_each_trap_naming_field_and_reason() {
    let email = "/events/0/userData/userIdentifiers/0/emailAddress";
    let address = "/events/0/userData/userIdentifiers/2/address";
    let traps = [
        ("/destinations", Value::Null, "destinations", "REQUIRED_FIELD_MISSING"),
        ("/encoding", Value::Null, "encoding", "REQUIRED_FIELD_MISSING"),
        ("/encoding", json!("hex"), "encoding", "INVALID_ENUM_VALUE"),
        (
            "/destinations/0/operatingAccount/accountId",
            json!("123-456-7890"),
            "destinations[0].operating_account.account_id",
            "INVALID_DESTINATION",
        ),
        (
            "/destinations/0/productDestinationId",
            json!("customers/1/conversionActions/2"),
            "destinations[0].product_destination_id",
            "INVALID_CONVERSION_ACTION_ID",
        ),
        (
            "/events/0/eventTimestamp",
            Value::Null,
            "events.events[0].event_timestamp",
            "REQUIRED_FIELD_MISSING",
        ),
        (
            "/events/0/eventTimestamp",
            json!("2026-11-20 12:15:07"),
            "events.events[0].event_timestamp",
            "INVALID_FORMAT",
        ),
        (
            "/events/0/eventTimestamp",
            json!(1_795_305_600),
            "events.events[0].event_timestamp",
            "INVALID_FORMAT",
        ),
        (
            "/events/0/eventTimestamp",
            json!("2026-11-22T05:00:00Z"),
            "events.events[0].event_timestamp",
            "EVENT_TIME_INVALID",
        ),
        (
            "/events/0/conversionValue",
            json!("142.52"),
            "events.events[0].conversion_value",
            "INVALID_FORMAT",
        ),
        ("/events/0/currency", json!("usd"), "events.events[0].currency", "INVALID_CURRENCY_CODE"),
        ("/events/0/currency", Value::Null, "events.events[0].currency", "REQUIRED_FIELD_MISSING"),
        (
            "/events/0/eventSource",
            json!("website"),
            "events.events[0].event_source",
            "INVALID_ENUM_VALUE",
        ),
        (
            "/events/0/destinationReferences/0",
            json!("d2"),
            "events.events[0].destination_references[0]",
            "INVALID_DESTINATION_REFERENCE",
        ),
        ("/events/0/gclid", json!("x"), "events.events[0].gclid", "INVALID_ARGUMENT"),
        (
            "/events/0/consent/adUserData",
            json!("GRANTED"),
            "events.events[0].consent.ad_user_data",
            "INVALID_ENUM_VALUE",
        ),
        (
            email,
            json!("a@example.com"),
            "events.events[0].user_data.user_identifiers[0].email_address",
            "INVALID_SHA256_FORMAT",
        ),
        (
            email,
            json!(EMPTY),
            "events.events[0].user_data.user_identifiers[0].email_address",
            "INVALID_SHA256_FORMAT",
        ),
        (
            email,
            json!(hash("Jane.Doe@gmail.com")),
            "events.events[0].user_data.user_identifiers[0].email_address",
            "INVALID_SHA256_FORMAT",
        ),
        (
            email,
            json!(hash("14155550133")),
            "events.events[0].user_data.user_identifiers[0].email_address",
            "INVALID_SHA256_FORMAT",
        ),
        (
            &format!("{address}/regionCode"),
            json!(hash("us")),
            "events.events[0].user_data.user_identifiers[2].address.region_code",
            "INVALID_REGION_CODE",
        ),
        (
            &format!("{address}/postalCode"),
            json!(hash("94045")),
            "events.events[0].user_data.user_identifiers[2].address.postal_code",
            "INVALID_POSTAL_CODE",
        ),
        (
            &format!("{address}/familyName"),
            Value::Null,
            "events.events[0].user_data.user_identifiers[2].address.family_name",
            "REQUIRED_FIELD_MISSING",
        ),
        (
            "/events/0/customVariables/0/value",
            json!("mail a@example.com"),
            "events.events[0].custom_variables[0].value",
            "CUSTOM_VARIABLE_VALUE_CONTAINS_PII",
        ),
    ];
    for (pointer, value, field, reason) in traps {
        let case = format!("{pointer} = {value}");
        let verdict = post("google_ads", DATA_MANAGER, &with(&google_example(), pointer, value));
        assert_eq!(verdict.reply.status, 400, "{case}");
        let error = answer(&verdict)["error"].clone();
        assert_eq!(error["status"], "INVALID_ARGUMENT", "{case}");
        let violation = error["details"][1]["fieldViolations"][0].clone();
        assert_eq!(violation["field"], field, "{case}: {violation}");
        assert_eq!(violation["reason"], reason, "{case}: {violation}");
    }
    let nobody = with(&google_example(), "/events/0/userData", Value::Null);
    let nobody = with(&nobody, "/events/0/adIdentifiers", Value::Null);
    let error = answer(&post("google_ads", DATA_MANAGER, &nobody));
    let violation = &error["error"]["details"][1]["fieldViolations"][0];
    assert_eq!(violation["reason"], "NO_IDENTIFIERS_PROVIDED");
}

#[test]
fn data_manager_is_all_or_nothing_and_names_every_culprit() {
    let good = google_example()["events"][0].clone();
    let bad = with(&json!([good]), "/0/currency", json!("EURO"))[0].clone();
    let body = with(&google_example(), "/events", json!([good, bad, good, bad]));
    let verdict = post("google_ads", DATA_MANAGER, &body);
    assert!(verdict.accepted.is_empty());
    let fields = answer(&verdict)["error"]["details"][1]["fieldViolations"].clone();
    assert_eq!(fields[0]["field"], "events.events[1].currency");
    assert_eq!(fields[1]["field"], "events.events[3].currency");
    let slim = json!({"eventTimestamp": "2026-11-22T04:00:00Z", "adIdentifiers": {"gclid": "x"}});
    let body = with(&google_example(), "/events", json!(vec![slim.clone(); 2_000]));
    assert_taken(&post("google_ads", DATA_MANAGER, &body));
    let body = with(&google_example(), "/events", json!(vec![slim; 2_001]));
    let error = answer(&post("google_ads", DATA_MANAGER, &body));
    assert_eq!(error["error"]["details"][1]["fieldViolations"][0]["reason"], "TOO_MANY_EVENTS");
}

// === ga4 ===

const GA4: &str =
    "https://www.google-analytics.com/mp/collect?measurement_id=G-TEST1234&api_secret=s";
const GA4_APP: &str =
    "https://www.google-analytics.com/mp/collect?firebase_app_id=1:123:android:abc&api_secret=s";
const GA4_DEBUG: &str =
    "https://www.google-analytics.com/debug/mp/collect?measurement_id=G-TEST1234&api_secret=s";

pub(super) fn ga4_example() -> Value {
    let micros = now().as_microsecond() - 300_000_000;
    json!({"client_id": "1234567890.1718000000", "user_id": "u-77",
        "timestamp_micros": micros.to_string(),
        "user_properties": {"tier": {"value": "gold"}},
        "consent": {"ad_user_data": "GRANTED", "ad_personalization": "DENIED"},
        "user_data": {"sha256_email_address": [hash("janedoe@example.com")],
            "sha256_phone_number": [hash("+16505551212")],
            "address": [{"sha256_first_name": hash("jane"), "sha256_last_name": hash("doe"),
                "sha256_street": hash("1 main st"), "city": "mountain view", "region": "ca",
                "postal_code": "94043", "country": "US"}]},
        "user_location": {"city": "Mountain View", "region_id": "US-CA", "country_id": "US",
            "subcontinent_id": "021", "continent_id": "019"},
        "ip_override": "203.0.113.9",
        "device": {"category": "mobile", "language": "en"},
        "user_agent": "Mozilla/5.0", "validation_behavior": "RELAXED",
        "events": [{"name": "purchase", "timestamp_micros": micros, "params": {
            "transaction_id": "ord-1", "currency": "USD", "value": 72.05, "tax": 3.6,
            "shipping": 5.99, "coupon": "X", "session_id": "1718000123",
            "engagement_time_msec": 100,
            "items": [{"item_id": "SKU1", "item_name": "Tee", "price": 10.01, "quantity": 3}]}}]})
}

#[test]
fn ga4_takes_what_its_sheet_shows() {
    let verdict = post("ga4", GA4, &ga4_example());
    assert_taken(&verdict);
    assert_eq!((verdict.reply.status, verdict.reply.body.len()), (204, 0));
    assert_eq!(verdict.destination.as_deref(), Some("G-TEST1234"));
    assert_eq!(verdict.accepted, [Some("ord-1".to_owned())]);
    assert_eq!(answer(&post("ga4", GA4_DEBUG, &ga4_example()))["validationMessages"], json!([]));
    let app = with(&ga4_example(), "/client_id", Value::Null);
    let app = with(&app, "/app_instance_id", json!("0123456789abcdef0123456789ABCDEF"));
    assert_taken(&post("ga4", GA4_APP, &app));
    let late = json!(ago(4, 0).as_microsecond());
    let verdict = post("ga4", GA4, &with(&ga4_example(), "/events/0/timestamp_micros", late));
    assert_taken(&verdict);
    assert_eq!(verdict.warnings.len(), 1, "it is moved to 72 hours ago");
}

#[test]
fn ga4_drops_each_trap_silently_and_debug_says_why() {
    let traps = [
        ("/client_id", Value::Null, "VALUE_REQUIRED"),
        ("/client_id", json!(7), "VALUE_INVALID"),
        ("/clientid", json!("x"), "VALUE_INVALID"),
        ("/timestamp_micros", json!(now().as_second()), "VALUE_INVALID"),
        ("/timestamp_micros", json!(now().as_millisecond()), "VALUE_INVALID"),
        ("/timestamp_micros", json!(now().as_microsecond() + 3_600_000_000), "VALUE_OUT_OF_BOUNDS"),
        ("/consent/ad_user_data", json!("granted"), "VALUE_INVALID"),
        ("/consent/ad_storage", json!("GRANTED"), "VALUE_INVALID"),
        ("/user_data/sha256_email_address", json!(["jane@example.com"]), "VALUE_INVALID"),
        ("/user_data/sha256_phone_number", json!([hash("16505551212")]), "VALUE_INVALID"),
        ("/user_data/address/0/city", json!(hash("mountain view")), "VALUE_INVALID"),
        ("/user_id", json!("jane@example.com"), "VALUE_INVALID"),
        ("/ip_override", json!("nowhere"), "VALUE_INVALID"),
        ("/events/0/name", json!("first_visit"), "NAME_RESERVED"),
        ("/events/0/name", json!("ga_thing"), "NAME_RESERVED"),
        ("/events/0/name", json!("begin checkout"), "NAME_INVALID"),
        ("/events/0/name", json!("x".repeat(41)), "NAME_INVALID"),
        ("/events/0/params/ga_x", json!(1), "NAME_INVALID"),
        ("/events/0/params/coupon", json!("x".repeat(101)), "VALUE_OUT_OF_BOUNDS"),
        ("/events/0/params/nested", json!({"a": 1}), "VALUE_INVALID"),
        ("/events/0/params/transaction_id", json!(""), "VALUE_REQUIRED"),
        ("/events/0/params/transaction_id", Value::Null, "VALUE_REQUIRED"),
        ("/events/0/params/currency", Value::Null, "VALUE_REQUIRED"),
        ("/events/0/params/currency", json!("usd"), "VALUE_INVALID"),
        ("/events/0/params/value", json!("72.05"), "VALUE_INVALID"),
        ("/events/0/params/items", json!([]), "VALUE_REQUIRED"),
        ("/events/0/params/items", json!([{"price": 1}]), "VALUE_REQUIRED"),
        ("/events/0/params/engagement_time_msec", json!(0), "VALUE_OUT_OF_BOUNDS"),
        ("/events/0/params/session_id", json!("s-1"), "VALUE_INVALID"),
        ("/events", json!([]), "VALUE_REQUIRED"),
    ];
    for (pointer, value, code) in traps {
        let case = format!("{pointer} = {value}");
        let body = with(&ga4_example(), pointer, value);
        let verdict = post("ga4", GA4, &body);
        assert_eq!(verdict.reply.status, 204, "{case}");
        assert!(!verdict.refused.is_empty() && verdict.accepted.is_empty(), "{case}");
        let messages = answer(&post("ga4", GA4_DEBUG, &body))["validationMessages"].clone();
        let codes: Vec<_> = messages.as_array().unwrap().iter().collect();
        assert!(codes.iter().any(|it| it["validationCode"] == code), "{case}: {messages}");
    }
    let body = with(&ga4_example(), "/events/0/params/value", json!("1"));
    let path = answer(&post("ga4", GA4_DEBUG, &body))["validationMessages"][0]["fieldPath"].clone();
    assert_eq!(path, "events.params.value");
}

#[test]
fn ga4_drops_only_the_bad_event_and_refuses_what_is_too_large() {
    let good = ga4_example()["events"][0].clone();
    let bad = json!({"name": "error"});
    let verdict = post("ga4", GA4, &with(&ga4_example(), "/events", json!([good, bad, good])));
    assert_eq!((verdict.accepted.len(), verdict.refused.len()), (2, 1));
    assert_eq!(verdict.refused[0].index, Some(1));
    let many = vec![json!({"name": "page_view"}); 26];
    assert!(post("ga4", GA4, &with(&ga4_example(), "/events", json!(many))).accepted.is_empty());
    let large = with(&ga4_example(), "/user_agent", json!("x".repeat(130_000)));
    assert_eq!(post("ga4", GA4, &large).reply.status, 413);
    let enforced = json!("ENFORCE_RECOMMENDATIONS");
    let late = with(&ga4_example(), "/validation_behavior", enforced);
    let late = with(&late, "/events/0/timestamp_micros", json!(ago(4, 0).as_microsecond()));
    assert_eq!(post("ga4", GA4, &late).refused.len(), 1);
    let nowhere = post("ga4", "/mp/collect?api_secret=s", &ga4_example());
    assert_eq!((nowhere.reply.status, nowhere.accepted.len()), (204, 0));
}
