//! The contract of the Google Ads API.

use serde_json::{Value, json};

use super::{ago, answer, assert_taken, hash, post, with};

const PLATFORM: &str = "google_ads_upload";
const UPLOAD: &str =
    "https://googleads.googleapis.com/v26/customers/1234567890:uploadClickConversions";
const ADJUST: &str =
    "https://googleads.googleapis.com/v26/customers/1234567890:uploadConversionAdjustments";

fn example() -> Value {
    json!({"conversions": [{
        "conversionAction": "customers/1234567890/conversionActions/1122334455",
        "conversionDateTime": "2026-11-20 12:15:07+00:00", "conversionValue": 142.52,
        "currencyCode": "USD", "orderId": "ord-1001", "gclid": "Cj0",
        "userIdentifiers": [
            {"userIdentifierSource": "FIRST_PARTY", "hashedEmail": hash("janedoe@gmail.com")},
            {"hashedPhoneNumber": hash("+18005550100")}],
        "consent": {"adUserData": "GRANTED"}, "conversionEnvironment": "WEB",
        "cartData": {"merchantId": "12", "feedCountryCode": "US", "feedLanguageCode": "en",
            "localTransactionCost": 1.5,
            "items": [{"productId": "SKU1", "quantity": 2, "unitPrice": 70.0}]},
        "customerType": "NEW"}],
        "partialFailure": true, "validateOnly": false, "jobId": 123})
}

fn restatement() -> Value {
    json!({"conversionAdjustments": [{
        "adjustmentType": "RESTATEMENT", "orderId": "ord-1001",
        "conversionAction": "customers/1234567890/conversionActions/1122334455",
        "adjustmentDateTime": "2026-11-21 09:00:00+00:00",
        "restatementValue": {"adjustedValue": 70, "currencyCode": "USD"}}],
        "partialFailure": true})
}

#[test]
fn it_takes_what_its_sheet_shows() {
    let verdict = post(PLATFORM, UPLOAD, &example());
    assert_taken(&verdict);
    assert_eq!(verdict.accepted, [Some("ord-1001".to_owned())]);
    assert_eq!(verdict.destination.as_deref(), Some("1234567890"));
    assert_eq!(answer(&verdict)["results"].as_array().unwrap().len(), 1);
    assert_taken(&post(PLATFORM, ADJUST, &restatement()));
    let retraction = with(&restatement(), "/conversionAdjustments/0/restatementValue", Value::Null);
    let kind = json!("RETRACTION");
    let retraction = with(&retraction, "/conversionAdjustments/0/adjustmentType", kind);
    assert_taken(&post(PLATFORM, ADJUST, &retraction));
    let validated = post(PLATFORM, UPLOAD, &with(&example(), "/validateOnly", json!(true)));
    assert!(validated.is_accepted() && validated.test);
}

#[test]
fn a_wrong_row_costs_only_itself_and_is_named() {
    let traps = [
        ("/conversionAction", json!("1122334455"), "NO_CONVERSION_ACTION_FOUND"),
        ("/conversionDateTime", json!("2026-11-20T12:15:07Z"), "INVALID_DATE"),
        ("/conversionDateTime", json!("2026-11-20 12:15:07"), "INVALID_DATE"),
        ("/conversionDateTime", json!("2026-11-22 12:15:07+00:00"), "FUTURE_EVENT"),
        ("/gbraid", json!("g"), ""),
        ("/currencyCode", Value::Null, "INVALID_CURRENCY_CODE"),
        ("/conversionValue", json!("142.52"), ""),
        ("/orderId", json!("jane@example.com"), "ORDER_ID_CONTAINS_PII"),
        ("/userIdentifiers/0/hashedEmail", json!("jane@example.com"), "INVALID_USER_IDENTIFIER"),
        (
            "/userIdentifiers/1/hashedPhoneNumber",
            json!(hash("18005550100")),
            "INVALID_USER_IDENTIFIER",
        ),
        ("/consent/adPersonalization", json!("GRANTED"), "INVALID_USER_CONSENT"),
        ("/consent/adUserData", json!("DENIED"), "INVALID_USER_CONSENT"),
        ("/consent/adUserData", json!("CONSENT_GRANTED"), ""),
    ];
    for (pointer, value, code) in traps {
        let case = format!("{pointer} = {value}");
        let good = example()["conversions"][0].clone();
        let bad = with(&json!({"r": good}), &format!("/r{pointer}"), value)["r"].clone();
        let body = with(&example(), "/conversions", json!([good, bad, good]));
        let verdict = post(PLATFORM, UPLOAD, &body);
        if pointer == "/gbraid" {
            assert_taken(&verdict);
            continue;
        }
        assert_eq!(verdict.reply.status, 200, "{case}: {}", answer(&verdict));
        assert_eq!(verdict.accepted.len(), 2, "{case}");
        let told = answer(&verdict);
        let error = &told["partialFailureError"]["details"][0]["errors"][0];
        assert_eq!(
            error["location"]["fieldPathElements"][0],
            json!({"fieldName": "conversions", "index": 1})
        );
        assert_eq!(told["results"][1], json!({}), "{case}");
        if !code.is_empty() {
            assert_eq!(error["errorCode"]["conversionUploadError"], code, "{case}: {told:#}");
        }
    }
    let late = ago(91, 0).strftime("%Y-%m-%d %H:%M:%S+00:00").to_string();
    let late = with(&example(), "/conversions/0/conversionDateTime", json!(late));
    let told = answer(&post(PLATFORM, UPLOAD, &late));
    let code = "/partialFailureError/details/0/errors/0/errorCode/conversionUploadError";
    assert_eq!(told.pointer(code).unwrap(), "EXPIRED_EVENT");
}

#[test]
fn adjustments_have_their_own_rules() {
    for (pointer, value) in [
        ("/orderId", Value::Null),
        (
            "/gclidDateTimePair",
            json!({"gclid": "x", "conversionDateTime": "2026-11-20 12:15:07+00:00"}),
        ),
        ("/restatementValue", Value::Null),
        ("/restatementValue/adjustedValue", json!(-1)),
        ("/adjustmentType", json!("RETRACTION")),
        ("/adjustmentType", json!("REFUND")),
        ("/adjustmentDateTime", Value::Null),
    ] {
        let body = with(&restatement(), &format!("/conversionAdjustments/0{pointer}"), value);
        let verdict = post(PLATFORM, ADJUST, &body);
        assert!(verdict.accepted.is_empty(), "{pointer}");
        let told = answer(&verdict);
        let field =
            "/partialFailureError/details/0/errors/0/location/fieldPathElements/0/fieldName";
        assert_eq!(told.pointer(field).unwrap(), "conversion_adjustments", "{pointer}: {told:#}");
    }
}

#[test]
fn a_request_is_refused_as_a_whole_where_it_is_wrong_itself() {
    for (pointer, value) in [
        ("/partialFailure", Value::Null),
        ("/partialFailure", json!(false)),
        ("/conversions", json!([])),
        ("/conversion", json!([])),
        ("/conversions/0/unknown", json!(1)),
        ("/conversions", json!(vec![example()["conversions"][0].clone(); 2_001])),
    ] {
        let verdict = post(PLATFORM, UPLOAD, &with(&example(), pointer, value));
        assert_eq!(verdict.reply.status, 400, "{pointer}");
        assert!(verdict.accepted.is_empty() && answer(&verdict)["error"].is_object(), "{pointer}");
    }
    for url in [UPLOAD.replace("v26", "v22"), UPLOAD.replace("1234567890", "123-456-7890")] {
        assert!(!post(PLATFORM, &url, &example()).is_accepted(), "{url}");
    }
}
