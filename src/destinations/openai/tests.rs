use std::collections::BTreeMap;

use super::*;
use crate::{
    destinations::{
        Entry,
        answer::table::{call, classified, letters, response},
    },
    event::Currency,
};

fn settings(table: &str, mode: Mode) -> Settings {
    let key = SecretString::from("openai-key".to_owned());
    Settings {
        name: "openai".to_owned(),
        table: table.parse().unwrap(),
        secrets: BTreeMap::from([("api_key".to_owned(), key)]),
        endpoint: PLATFORM.endpoint.to_owned(),
        token_endpoint: String::new(),
        mode,
        entries: BTreeMap::from([("purchase".to_owned(), vec![Entry::Standard])]),
    }
}

fn destination(mode: Mode) -> Box<dyn Destination> {
    configure(&settings("pixel_id = \"KBHexample\"", mode)).unwrap()
}

#[test]
fn every_answer_means_what_its_page_says() {
    let destination = destination(Mode::Live);
    let error = |code: &str, message: &str| {
        format!(
            r#"{{"error":{{"code":"{code}","type":"invalid_request_error","message":"{message}"}}}}"#
        )
    };
    let placed = r#"{"error":{"type":"invalid_request_error","message":"no","param":"events[1].timestamp_ms"}}"#;
    for (status, body, told) in [
        (200, r#"{"accepted_events":3}"#.to_owned(), "ddd"),
        (202, String::new(), "ddd"),
        (204, String::new(), "ddd"),
        (200, "{}".to_owned(), "ddd"),
        (200, r#"{"error":null}"#.to_owned(), "ddd"),
        (200, r#"{"accepted_events":2}"#.to_owned(), "ccc accepted_events"),
        (200, error("invalid_event", "no"), "ccc invalid_event"),
        (200, "<html>".to_owned(), "uuu"),
        (200, "[]".to_owned(), "uuu"),
        (400, error("invalid_event", "an event is too old"), "ccc invalid_event"),
        (400, error("invalid_event", "events[2]: too old"), "ssr invalid_event"),
        (400, error("invalid_event", "events[7]: too old"), "ccc invalid_event"),
        (422, placed.to_owned(), "srs invalid_request_error"),
        (400, r#"{"error":"Pixel not found"}"#.to_owned(), "ccc error"),
        (400, "no JSON".to_owned(), "ccc http_400"),
        (401, error("invalid_api_key", "no"), "ppp Unauthorized http_401"),
        (403, String::new(), "ppp Unauthorized http_403"),
        (404, String::new(), "ppp Misconfigured http_404"),
        (413, String::new(), "lll"),
        (429, error("rate_limit_exceeded", "slow down"), "ttt"),
        (500, error("server_error", "sorry"), "uuu"),
        (503, String::new(), "uuu"),
    ] {
        assert_eq!(classified(&*destination, 3, status, &body), told, "{status} {body}");
    }
    let alone = classified(&*destination, 1, 400, &error("invalid_event", "no"));
    assert_eq!(alone, "r invalid_event");
}

#[test]
fn a_probe_validates_nothing_and_reads_only_the_key() {
    let destination = destination(Mode::Live);
    let probe = destination.probe(Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(probe.body, br#"{"validate_only":true,"events":[]}"#);
    let ask = |status| {
        let call = call(1, CallPurpose::Probe, "");
        destination.classify(&call, &response(status, "{}"), Timestamp::UNIX_EPOCH)
    };
    assert_eq!(letters(&ask(400)), "D");
    assert_eq!(letters(&ask(401)), "P");
}

#[test]
fn money_is_whole_minor_units() {
    let of = |amount: &str, code: &str| {
        let currency = Currency::parse(code).unwrap();
        body::minor(amount.parse().unwrap(), currency).map(|number| number.to_string())
    };
    for (amount, code, expected) in [
        ("129.99", "USD", "12999"),
        ("129.9", "EUR", "12990"),
        ("0.005", "USD", "1"),
        ("500", "JPY", "500"),
        ("499.5", "JPY", "500"),
        ("1.2345", "KWD", "1235"),
        ("0", "USD", "0"),
        ("-20.00", "USD", "-2000"),
    ] {
        assert_eq!(of(amount, code).as_deref(), Some(expected), "{amount} {code}");
    }
    assert_eq!(of("79228162514264337593543950335", "USD"), None);
}

#[test]
fn every_problem_is_named_at_once() {
    let mut settings = settings("pixel_id = \"a b\"\nmax_age_days = \"7\"", Mode::Live);
    settings.secrets.clear();
    settings.entries.insert("odd".to_owned(), vec![Entry::Standard]);
    let problems = configure(&settings).unwrap_err();
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["pixel_id", "api_key", "max_age_days", "events.odd"]);
}
