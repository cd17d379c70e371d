use std::collections::BTreeMap;

use secrecy::SecretString;

use super::*;
use crate::destinations::{Entry, answer::table::classified};

fn settings(table: &str) -> Settings {
    let secret = |key: &str| (key.to_owned(), SecretString::from("google_ads-secret".to_owned()));
    let entry: toml::Table = "conversion_action = 1".parse().unwrap();
    Settings {
        name: "google_ads".to_owned(),
        table: table.parse().unwrap(),
        secrets: BTreeMap::from([secret("client_secret"), secret("refresh_token")]),
        endpoint: PLATFORM.endpoint.to_owned(),
        token_endpoint: PLATFORM.token_endpoint.to_owned(),
        mode: Mode::Live,
        entries: BTreeMap::from([("purchase".to_owned(), vec![Entry::Table(entry)])]),
    }
}

#[test]
fn every_problem_is_named_at_once() {
    let mut settings = settings(
        "customer_id = \"12\"\nmax_age_days = 0\nretraction = \"never\"\nkeep_name_spaces = 1",
    );
    settings.entries.insert("other".to_owned(), vec![Entry::Standard]);
    let paths: Vec<String> =
        configure(&settings).unwrap_err().into_iter().map(|problem| problem.path).collect();
    assert_eq!(
        paths,
        [
            "customer_id",
            "max_age_days",
            "retraction",
            "keep_name_spaces",
            "client_id",
            "events.other"
        ]
    );
}

#[test]
fn tokens_come_from_the_vendor_or_from_elsewhere() {
    let mut settings = settings("customer_id = \"123-456-7890\"\nclient_id = \"app\"");
    let Auth::OAuthRefresh { token_url, .. } = configure(&settings).unwrap().auth() else {
        panic!("not a refresh token")
    };
    assert_eq!(token_url, "https://oauth2.googleapis.com/token");
    settings.table.remove("client_id");
    settings.secrets =
        BTreeMap::from([("service_account".to_owned(), SecretString::from("{}".to_owned()))]);
    settings.token_endpoint = "http://127.0.0.1:9100/".to_owned();
    let Auth::ServiceAccount { token_url, scope, .. } = configure(&settings).unwrap().auth() else {
        panic!("not a service account")
    };
    assert_eq!((token_url.as_str(), scope), ("http://127.0.0.1:9100/token", SCOPE));
}

#[test]
fn a_probe_is_validated_and_never_ingested() {
    let settings = settings("customer_id = 1234567890\nclient_id = \"app\"");
    let call = configure(&settings).unwrap().probe(Timestamp::UNIX_EPOCH).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
    assert_eq!(body["validateOnly"], true);
    assert_eq!(body["destinations"][0]["productDestinationId"], "1");
}

#[test]
fn people_of_unknown_places_may_be_in_europe() {
    let at = |region: Option<&str>| may_be_in_eea_uk_ch(&region.map(str::to_owned));
    assert!(at(None) && at(Some("DE")) && at(Some("GB-ENG")) && at(Some("CH")));
    assert!(!at(Some("US-CA")));
}

/// The sheet's A9: nothing is ingested on any error; indices stand in the path of a field.
#[test]
fn every_documented_answer_has_its_meaning() {
    let destination = configure(&settings("customer_id = \"1234567890\"\nclient_id = \"app\""));
    let destination = destination.unwrap();
    let told = |members, status, body: &str| classified(&*destination, members, status, body);
    let error = |status: &str, details: &str| {
        format!("{{\"error\":{{\"status\":\"{status}\",\"details\":[{details}]}}}}")
    };
    let violation = |field: &str, reason: &str| {
        let it =
            format!("{{\"fieldViolations\":[{{\"field\":\"{field}\",\"reason\":\"{reason}\"}}]}}");
        error("INVALID_ARGUMENT", &it)
    };
    for (http, status, expected) in [
        (503, "UNAVAILABLE", "uuu"),
        (504, "DEADLINE_EXCEEDED", "uuu"),
        (500, "INTERNAL", "uuu"),
        (499, "CANCELLED", "uuu"),
        (408, "", "uuu"),
        (429, "RESOURCE_EXHAUSTED", "ttt"),
        (401, "UNAUTHENTICATED", "ppp Unauthorized UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED", "ppp Unauthorized PERMISSION_DENIED"),
        (404, "NOT_FOUND", "ppp Misconfigured NOT_FOUND"),
        (400, "INVALID_ARGUMENT", "ccc INVALID_ARGUMENT"),
    ] {
        assert_eq!(told(3, http, &error(status, "")), expected, "{http} {status}");
    }
    let disabled = error("PERMISSION_DENIED", "{\"reason\":\"SERVICE_DISABLED\"}");
    assert_eq!(told(3, 403, &disabled), "ppp Unauthorized SERVICE_DISABLED");
    // A setting or an account, not an event.
    for reason in [
        "INVALID_DESTINATION",
        "INVALID_CONVERSION_ACTION_ID",
        "INVALID_CONVERSION_ACTION_TYPE",
        "DESTINATION_ACCOUNT_NOT_ENABLED_ENHANCED_CONVERSIONS_FOR_LEADS",
        "DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED",
        "NOT_ALLOWLISTED",
        "OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH",
        "EVENT_SOURCE_AND_DESTINATION_MISMATCH",
        "TERMS_AND_CONDITIONS_NOT_SIGNED",
    ] {
        let expected = format!("ppp Misconfigured {reason}");
        assert_eq!(told(3, 400, &violation("destinations[0]", reason)), expected);
    }
    // An event, named in either way, or not at all.
    for reason in [
        "REQUIRED_FIELD_MISSING",
        "INVALID_FORMAT",
        "INVALID_HEX_ENCODING",
        "INVALID_SHA256_FORMAT",
        "INVALID_POSTAL_CODE",
        "INVALID_REGION_CODE",
        "INVALID_CURRENCY_CODE",
        "INVALID_ENUM_VALUE",
        "EVENT_TIME_INVALID",
        "NO_IDENTIFIERS_PROVIDED",
        "TOO_MANY_USER_IDENTIFIERS",
        "FIELD_VALUE_TOO_LONG",
        "CUSTOM_VARIABLE_VALUE_CONTAINS_PII",
    ] {
        let second = violation("events.events[1].user_data", reason);
        assert_eq!(told(3, 400, &second), format!("srs {reason}"));
        assert_eq!(told(3, 400, &violation("events[2]", reason)), format!("ssr {reason}"));
        assert_eq!(told(3, 400, &violation("events[7]", reason)), format!("ccc {reason}"));
        assert_eq!(told(1, 400, &violation("encoding", reason)), format!("r {reason}"));
    }
    // In words only: of a violation, or of the whole error.
    let prose = "{\"fieldViolations\":[{\"field\":\"\",\"reason\":\"INVALID_FORMAT\",\
                 \"description\":\"events.events[2].user_data: not a digest\"}]}";
    assert_eq!(told(3, 400, &error("INVALID_ARGUMENT", prose)), "ssr INVALID_FORMAT");
    let words = "{\"error\":{\"status\":\"INVALID_ARGUMENT\",\"message\":\"Invalid value at 'events[1].currency'\"}}";
    assert_eq!(told(3, 400, words), "srs INVALID_ARGUMENT");
    assert_eq!(told(3, 400, &violation("events", "TOO_MANY_EVENTS")), "lll");
    for (status, body, expected) in [
        (200, r#"{"requestId":"r"}"#, "ddd"),
        (200, r#"{"requestId":"r","fieldWarnings":[{"reason":"W","field":"events[0]"}]}"#, "ddd"),
        (200, "<html>", "uuu"),
        (400, "no JSON", "ccc http_400"),
        (401, "", "ppp Unauthorized http_401"),
        (413, "", "lll"),
        (502, "<html>", "uuu"),
    ] {
        assert_eq!(told(3, status, body), expected, "{status} {body}");
    }
}
