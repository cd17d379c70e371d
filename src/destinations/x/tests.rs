use std::collections::BTreeMap;

use secrecy::SecretString;

use super::*;
use crate::destinations::{
    Mode, Outcome,
    answer::table::{call, classified, response},
};

fn settings(secrets: &[&str], entries: &[(&str, Entry)]) -> Settings {
    let secret = |key: &&str| ((*key).to_owned(), SecretString::from(format!("{key}-of-x")));
    Settings {
        name: "x".to_owned(),
        table: "pixel_id = \"o8z6j\"".parse().unwrap(),
        secrets: secrets.iter().map(secret).collect::<BTreeMap<_, _>>(),
        endpoint: PLATFORM.endpoint.to_owned(),
        token_endpoint: String::new(),
        mode: Mode::Live,
        entries: entries.iter().map(|(e, n)| ((*e).to_owned(), vec![n.clone()])).collect(),
    }
}

const FOUR: [&str; 4] = ["consumer_key", "consumer_secret", "access_token", "access_token_secret"];

fn destination() -> Box<dyn Destination> {
    configure(&settings(&["pixel_token"], &[])).unwrap()
}

#[test]
fn every_answer_means_what_its_page_says() {
    let destination = destination();
    let ok = |n: u8| format!(r#"{{"data":{{"conversions_processed":{n},"debug_id":"d"}}}}"#);
    let error = |code: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"no"}}]}}"#);
    for (status, body, told) in [
        (200, ok(3), "ddd"),
        (200, ok(2), "ccc conversions_processed"),
        (200, error("INVALID_PARAMETER"), "ccc INVALID_PARAMETER"),
        (200, "OK".to_owned(), "uuu"),
        (200, r#"{"errors":[]}"#.to_owned(), "uuu"),
        (400, error("INVALID_PARAMETER"), "ccc INVALID_PARAMETER"),
        (400, error("MISSING_PARAMETER"), "ccc MISSING_PARAMETER"),
        (400, "no JSON".to_owned(), "ccc http_400"),
        (401, error("UNAUTHORIZED_ACCESS"), "ppp Unauthorized UNAUTHORIZED_ACCESS"),
        (
            403,
            error("UNAUTHORIZED_CLIENT_APPLICATION"),
            "ppp Misconfigured UNAUTHORIZED_CLIENT_APPLICATION",
        ),
        (404, error("NOT_FOUND"), "ppp Misconfigured NOT_FOUND"),
        (404, error("ROUTE_NOT_FOUND"), "ppp Misconfigured ROUTE_NOT_FOUND"),
        (408, error("REQUEST_TIMEOUT"), "uuu"),
        (413, String::new(), "lll"),
        (423, error("LOCK_ACQUISITION_TIMEOUT"), "uuu"),
        (429, error("TOO_MANY_REQUESTS"), "ttt"),
        (500, error("INTERNAL_ERROR"), "uuu"),
        (503, error("SERVICE_UNAVAILABLE"), "uuu"),
        (503, error("OVER_CAPACITY"), "uuu"),
    ] {
        assert_eq!(classified(&*destination, 3, status, &body), told, "{status} {body}");
    }
    let alone = classified(&*destination, 1, 400, &error("INVALID_PARAMETER"));
    assert_eq!(alone, "r INVALID_PARAMETER");
}

#[test]
fn throttling_lasts_until_the_accounts_window_begins_anew() {
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let wait = |headers: &[(&str, &str)]| {
        let mut response = response(429, "");
        response.headers =
            headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let answer = destination().classify(&call(1, CallPurpose::Send, ""), &response, now);
        match answer.outcomes.as_slice() {
            [Outcome::Throttled { after, .. }] => after.map(|after| after.as_secs()),
            other => panic!("{other:?}"),
        }
    };
    let (account, endpoint) = ("x-account-rate-limit-reset", "x-rate-limit-reset");
    assert_eq!(wait(&[(endpoint, "1700000060")]), Some(60));
    assert_eq!(wait(&[(endpoint, "1700000060"), (account, "1700000120")]), Some(120));
    assert_eq!(wait(&[(account, "1699999999")]), Some(0));
    assert_eq!(wait(&[(account, "1800000000")]), Some(900));
    assert_eq!(wait(&[(account, "99999999999999999")]), None);
    assert_eq!(wait(&[(account, "soon"), ("retry-after", "5")]), Some(5));
    assert_eq!(wait(&[]), None);
}

#[test]
fn it_signs_with_four_secrets_or_shows_the_pixels_token() {
    let auth = |secrets: &[&str]| configure(&settings(secrets, &[])).map(|it| it.auth());
    assert!(matches!(auth(&FOUR), Ok(Auth::OAuth1 { .. })));
    assert!(matches!(auth(&["pixel_token"]), Ok(Auth::Header { name: "x-pixel-token", .. })));
    let paths = |secrets: &[&str]| -> Vec<String> {
        auth(secrets).unwrap_err().into_iter().map(|problem| problem.path).collect()
    };
    assert_eq!(paths(&[]), FOUR);
    assert_eq!(
        paths(&["consumer_key", "access_token"]),
        ["consumer_secret", "access_token_secret"]
    );
    assert_eq!(paths(&["pixel_token", "access_token"]), ["access_token"]);
}

#[test]
fn an_entry_names_a_tag() {
    let name = |tag: &str| Entry::Name(tag.to_owned());
    let table = |text: &str| Entry::Table(text.parse().unwrap());
    for entry in [name("o87ne"), name("tw-o8z6j-o87ne"), table("event_tag = \"tw-o8z6j-o8z6k\"")] {
        assert!(configure(&settings(&["pixel_token"], &[("purchase", entry)])).is_ok());
    }
    for entry in [
        Entry::Standard,
        name(""),
        name("Purchase"),
        name("tw-o8z6j"),
        name("tw--o87ne"),
        name("tw-o8z6j-"),
        name("tw-o8z6j-o87ne-x"),
        table("tag = \"o87ne\""),
        table("event_tag = 7"),
    ] {
        let problems =
            configure(&settings(&["pixel_token"], &[("purchase", entry.clone())])).unwrap_err();
        assert_eq!(problems[0].path, "events.purchase", "{entry:?}");
    }
}

#[test]
fn the_pages_digest_of_its_example_is_of_another_address() {
    // The page's text was rewritten when the company was renamed, and its hash was not.
    let of = |text: &str| {
        crate::identity::Memo::default()
            .digest(&crate::identity::normalize(Rule::EmailPlain, text, None).unwrap())
            .hex()
    };
    assert!(of("test@twitter.com").starts_with("d360d510"));
    assert!(of("test@x.com").starts_with("5806dc6b"));
}

#[test]
fn an_empty_window_is_waited_for_before_a_refusal() {
    let destination = configure(&settings(&["pixel_token"], &[])).unwrap();
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let wait = |headers: &[(&str, &str)]| {
        let header = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let headers = headers.iter().map(header).collect();
        let response = Response { status: 200, headers, body: Vec::new() };
        destination.pace(&response, now).map(|pace| pace.wait.as_secs())
    };
    let reset = ("x-account-rate-limit-reset", "1700000840");
    assert_eq!(wait(&[("x-account-rate-limit-remaining", "0"), reset]), Some(840));
    assert_eq!(wait(&[("x-account-rate-limit-remaining", "7"), reset]), None);
    assert_eq!(wait(&[reset]), None);
}

#[test]
fn the_form_of_the_time_is_one_of_two() {
    let mut settings = settings(&["pixel_token"], &[]);
    settings.table.insert("time_as".to_owned(), "seconds".into());
    let problems = configure(&settings).unwrap_err();
    assert_eq!(problems[0].path, "time_as");
    assert!(problems[0].message.contains("\"conversion_timestamp\""), "{problems:?}");
}
