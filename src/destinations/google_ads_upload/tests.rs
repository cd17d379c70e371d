use std::collections::BTreeMap;

use secrecy::SecretString;

use super::*;
use crate::destinations::{
    Entry,
    answer::table::{call, classified, letters, response},
};

fn settings(table: &str) -> Settings {
    let secret = |key: &str| (key.to_owned(), SecretString::from("upload-secret".to_owned()));
    let entry: toml::Table = "conversion_action = 7".parse().unwrap();
    Settings {
        name: "upload".to_owned(),
        table: table.parse().unwrap(),
        secrets: BTreeMap::from([secret("client_secret"), secret("refresh_token")]),
        endpoint: PLATFORM.endpoint.to_owned(),
        token_endpoint: PLATFORM.token_endpoint.to_owned(),
        mode: Mode::Live,
        entries: BTreeMap::from([("purchase".to_owned(), vec![Entry::Table(entry)])]),
    }
}

fn destination() -> Box<dyn Destination> {
    configure(&settings("customer_id = 1234567890\nclient_id = \"app\"")).unwrap()
}

fn error(kind: &str, code: &str, row: Option<&str>) -> String {
    let at = row.map(|row| {
        format!(
            ",\"location\":{{\"fieldPathElements\":[{{\"fieldName\":\"conversions\"{row}}},\
             {{\"fieldName\":\"x\",\"index\":2}}]}}"
        )
    });
    format!(
        "{{\"errorCode\":{{\"{kind}\":\"{code}\"}},\"message\":\"m\"{}}}",
        at.unwrap_or_default()
    )
}

/// A 200 whose second of three rows has this code.
fn row(code: &str) -> String {
    let error = error("conversionUploadError", code, Some(",\"index\":1"));
    format!(
        "{{\"partialFailureError\":{{\"message\":\"m\",\"details\":[{{\"errors\":[{error}]}}]}},\
         \"results\":[{{\"gclid\":\"a\"}},{{}},{{\"gclid\":\"c\"}}]}}"
    )
}

/// A request that is refused as a whole.
fn whole(status: &str, kind: &str, code: &str) -> String {
    let error = error(kind, code, None);
    format!(
        "{{\"error\":{{\"status\":\"{status}\",\"message\":\"m\",\
         \"details\":[{{\"errors\":[{error}]}}]}}}}"
    )
}

#[test]
fn every_code_of_a_row_means_what_its_page_says() {
    let destination = destination();
    for (code, told) in [
        ("CLICK_CONVERSION_ALREADY_EXISTS", "ddd"),
        ("ORDER_ID_ALREADY_IN_USE", "ddd"),
        ("DUPLICATE_CLICK_CONVERSION_IN_REQUEST", "ddd"),
        ("CONVERSION_ALREADY_RETRACTED", "ddd"),
        ("CONVERSION_ALREADY_ENHANCED", "ddd"),
        ("DUPLICATE_ENHANCEMENT_IN_REQUEST", "ddd"),
        ("RESTATEMENT_ALREADY_EXISTS", "ddd"),
        ("TOO_RECENT_EVENT", "dyd"),
        ("TOO_RECENT_CONVERSION_ACTION", "dyd"),
        ("CONVERSION_NOT_FOUND", "dyd"),
        ("CONCURRENT_MODIFICATION", "dud"),
        ("RESOURCE_TEMPORARILY_EXHAUSTED", "dtd"),
        ("CLICK_NOT_FOUND", "drd CLICK_NOT_FOUND"),
        ("EXPIRED_EVENT", "drd EXPIRED_EVENT"),
        ("CONVERSION_PRECEDES_EVENT", "drd CONVERSION_PRECEDES_EVENT"),
        ("UNPARSEABLE_GCLID", "drd UNPARSEABLE_GCLID"),
        ("GBRAID_WBRAID_BOTH_SET", "drd GBRAID_WBRAID_BOTH_SET"),
        ("INVALID_CUSTOMER_FOR_CLICK", "drd INVALID_CUSTOMER_FOR_CLICK"),
        ("CONVERSION_EXPIRED", "drd CONVERSION_EXPIRED"),
        (
            "CONVERSION_ACTION_NOT_ELIGIBLE_FOR_ENHANCEMENT",
            "dpd Misconfigured CONVERSION_ACTION_NOT_ELIGIBLE_FOR_ENHANCEMENT",
        ),
        ("NO_CONVERSION_ACTION_FOUND", "dpd Misconfigured NO_CONVERSION_ACTION_FOUND"),
        (
            "CUSTOMER_NOT_ACCEPTED_CUSTOMER_DATA_TERMS",
            "dpd Misconfigured CUSTOMER_NOT_ACCEPTED_CUSTOMER_DATA_TERMS",
        ),
    ] {
        assert_eq!(classified(&*destination, 3, 200, &row(code)), told, "{code}");
    }
}

#[test]
fn a_closed_api_leads_to_the_open_one() {
    let hint = destination().hint("CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE").unwrap();
    assert!(hint.contains("Data Manager API") && hint.contains("google_ads"), "{hint}");
    assert_eq!(destination().hint("CUSTOMER_NOT_ENABLED"), None);
}

#[test]
fn every_answer_of_a_whole_request_means_what_its_page_says() {
    let destination = destination();
    let results = r#"{"results":[{"gclid":"a"},{"gclid":"b"},{"gclid":"c"}]}"#;
    let silent = r#"{"results":[{"gclid":"a"},{},{"gclid":"c"}]}"#;
    let nameless = r#"{"partialFailureError":{"message":"m","details":[]},"results":[]}"#;
    let second = error("conversionUploadError", "EXPIRED_EVENT", Some(",\"index\":1"));
    let second = format!(
        "{{\"error\":{{\"status\":\"INVALID_ARGUMENT\",\"details\":[{{\"errors\":[{second}]}}]}}}}"
    );
    let bad = "INVALID_ARGUMENT";
    for (status, body, told) in [
        (200, results.to_owned(), "ddd"),
        (200, silent.to_owned(), "uuu"),
        (200, "{}".to_owned(), "uuu"),
        (200, "[]".to_owned(), "uuu"),
        (200, nameless.to_owned(), "ccc partialFailureError"),
        (400, second, "srs EXPIRED_EVENT"),
        (400, whole(bad, "requestError", "INVALID_INPUT"), "ccc INVALID_INPUT"),
        (400, whole(bad, "conversionUploadError", "TOO_MANY_CONVERSIONS_IN_REQUEST"), "lll"),
        (
            400,
            whole(bad, "requestError", "UNSUPPORTED_VERSION"),
            "ppp Misconfigured UNSUPPORTED_VERSION",
        ),
        (
            401,
            whole("UNAUTHENTICATED", "authenticationError", "OAUTH_TOKEN_EXPIRED"),
            "ppp Unauthorized OAUTH_TOKEN_EXPIRED",
        ),
        (
            403,
            whole("PERMISSION_DENIED", "authorizationError", "USER_PERMISSION_DENIED"),
            "ppp Unauthorized USER_PERMISSION_DENIED",
        ),
        (
            403,
            whole(
                "PERMISSION_DENIED",
                "notAllowlistedError",
                "CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE",
            ),
            "ppp Misconfigured CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE",
        ),
        (404, "<html>".to_owned(), "ppp Misconfigured http_404"),
        (429, whole("RESOURCE_EXHAUSTED", "quotaError", "RESOURCE_EXHAUSTED"), "ttt"),
        (429, String::new(), "ttt"),
        (500, whole("INTERNAL", "internalError", "INTERNAL_ERROR"), "uuu"),
        (503, "{\"error\":{\"status\":\"UNAVAILABLE\"}}".to_owned(), "uuu"),
        (504, String::new(), "uuu"),
    ] {
        assert_eq!(classified(&*destination, 3, status, &body), told, "{status} {body}");
    }
}

#[test]
fn a_row_whose_number_was_left_out_is_the_one_that_failed() {
    let errors = error("conversionUploadError", "EXPIRED_EVENT", Some(""));
    let body = |results: &str| {
        format!(
            "{{\"partialFailureError\":{{\"details\":[{{\"errors\":[{errors},{errors}]}}]}}\
             {results}}}"
        )
    };
    let told = |results: &str| classified(&*destination(), 3, 200, &body(results));
    assert_eq!(told(",\"results\":[{\"gclid\":\"a\"},{},{}]"), "drr EXPIRED_EVENT");
    assert_eq!(told(""), "rdd EXPIRED_EVENT", "none of a validated call: a zero was left out");
}

#[test]
fn a_delay_is_what_the_quota_says() {
    let destination = destination();
    let answer = |body: &str| {
        let call = call(1, CallPurpose::Send, "");
        destination.classify(&call, &response(429, body), Timestamp::UNIX_EPOCH)
    };
    let says = r#"{"error":{"details":[{"errors":[{"errorCode":{"quotaError":"RESOURCE_TEMPORARILY_EXHAUSTED"},"details":{"quotaErrorDetails":{"retryDelay":"30.5s"}}}]}]}}"#;
    let answer = answer(says);
    assert_eq!(letters(&answer), "T");
    let crate::destinations::Outcome::Throttled { after, .. } = &answer.outcomes[0] else {
        panic!("{answer:?}")
    };
    assert_eq!(*after, Some(Duration::from_millis(30_500)));
}

#[test]
fn times_have_a_blank_and_an_offset() {
    let moment = |text: &str| body::moment(text.parse().unwrap());
    assert_eq!(moment("2026-11-20T12:15:07.999Z"), "2026-11-20 12:15:07+00:00");
    assert_eq!(moment("2026-11-20T00:15:07+02:00"), "2026-11-19 22:15:07+00:00");
}

#[test]
fn every_problem_is_named_at_once_and_a_probe_is_only_validated() {
    let wrong = "customer_id = 12\napi_version = 26\nmax_age_days = 0\ngclid_with_braid = \"yes\"";
    let mut settings_of = settings(wrong);
    settings_of.entries.insert("other".to_owned(), vec![Entry::Standard]);
    let problems = configure(&settings_of).unwrap_err();
    let paths: Vec<String> = problems.into_iter().map(|problem| problem.path).collect();
    assert_eq!(
        paths,
        [
            "customer_id",
            "api_version",
            "max_age_days",
            "gclid_with_braid",
            "client_id",
            "events.other"
        ]
    );
    let call = destination().probe(Timestamp::UNIX_EPOCH).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
    assert_eq!((&body["validateOnly"], &body["partialFailure"]), (&true.into(), &true.into()));
    assert!(call.url.ends_with("/v26/customers/1234567890:uploadClickConversions"), "{}", call.url);
    let of = |entries: &[(&str, &str)]| {
        let mut settings = settings("customer_id = 1234567890\nclient_id = \"a\"");
        let entry = |(event, text): &(&str, &str)| {
            ((*event).to_owned(), vec![Entry::Table(text.parse().unwrap())])
        };
        settings.entries = entries.iter().map(entry).collect();
        let probes = configure(&settings).unwrap().probes(Timestamp::UNIX_EPOCH);
        probes.into_iter().map(|probe| probe.of).collect::<Vec<_>>()
    };
    let entries = [
        ("a", "conversion_action = 8"),
        ("b", "conversion_action = 7"),
        ("c", "conversion_action = 8"),
        ("d", "conversion_action = 9\nenhancement = true"),
    ];
    assert_eq!(of(&entries), ["conversion_action 7", "conversion_action 8"]);
    let empty = configure(&Settings {
        entries: BTreeMap::new(),
        ..settings("customer_id = 1234567890\nclient_id = \"a\"")
    });
    assert!(empty.unwrap().probe(Timestamp::UNIX_EPOCH).is_none(), "no action to ask about");
}

#[test]
fn only_entries_that_enhance_take_more_of_a_person_than_a_conversion() {
    let with = |entry: &str| {
        let mut settings = settings("customer_id = 1234567890\nclient_id = \"app\"");
        let entries = vec![
            Entry::Table("conversion_action = 7".parse().unwrap()),
            Entry::Table(entry.parse().unwrap()),
        ];
        settings.entries.insert("purchase".to_owned(), entries);
        configure(&settings).unwrap()
    };
    let plain = with("conversion_action = 8\nenhancement = false").chosen().unwrap();
    assert!(plain.contains(Field::Email) && !plain.contains(Field::Street));
    assert!(plain.intersection(OF_ENHANCEMENTS).is_empty());
    assert_eq!(with("conversion_action = 8\nenhancement = true").chosen(), None);
}

/// Another version is called, and told of with its last day where that is named.
#[test]
fn a_version_may_be_chosen_and_every_older_one_has_ended() {
    let of = |version: &str| {
        let table =
            format!("customer_id = 1234567890\nclient_id = \"app\"\napi_version = \"{version}\"");
        let destination = configure(&settings(&table)).unwrap();
        let url = destination.probe(Timestamp::UNIX_EPOCH).unwrap().url;
        assert!(url.contains(&format!("/{version}/customers/")), "{url}");
        destination.version().unwrap()
    };
    assert_eq!(of("v25").name, "v25");
    assert_eq!(of("v22").ends, Some(date(2026, 10, 7)));
    for old in ["v20", "v19", "v1"] {
        assert_eq!(of(old).ends, Some(date(2026, 6, 10)), "{old}");
    }
    // Alive: not named yet.
    assert_eq!([of("v23").ends, of(VERSION).ends, of("v27").ends], [None; 3]);
}
