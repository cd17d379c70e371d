use std::collections::BTreeMap;

use secrecy::SecretString;

use super::*;
use crate::destinations::{
    Entry, FaultKind,
    answer::table::{call, letters, response},
};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const PIXEL: &str = "pixel_id = \"a1b2c3d4-0000-4000-8000-000000000001\"";

fn settings(table: &str, entries: &[(&str, Entry)]) -> Settings {
    let token = SecretString::from("snapchat-token".to_owned());
    Settings {
        name: "snapchat".to_owned(),
        table: table.parse().unwrap(),
        secrets: BTreeMap::from([("access_token".to_owned(), token)]),
        endpoint: PLATFORM.endpoint.to_owned(),
        token_endpoint: String::new(),
        mode: Mode::Live,
        entries: entries.iter().map(|(e, n)| ((*e).to_owned(), vec![n.clone()])).collect(),
    }
}

#[test]
fn every_problem_is_named_at_once() {
    let problems = |table: &str, entries: &[(&str, Entry)]| {
        let problems = configure(&settings(table, entries)).err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.path).collect::<Vec<_>>()
    };
    let name = |text: &str| Entry::Name(text.to_owned());
    let entries = [
        ("add_to_cart", Entry::Standard),
        ("cased", name("Purchase")),
        ("lead", Entry::Standard),
        ("likely", name("ADD_TO_CART")),
        ("own", name("CUSTOM_EVENT_5")),
        ("unlisted", name("LEAD_WON")),
    ];
    let table = "max_age_days = 401\ntoken_in = \"cookie\"\nbatch_bytes = 9\n\
                 application_tracking = \"yes\"\ntracking_unsaid = 2\npixel_id = \"a/b\"";
    assert_eq!(
        problems(table, &entries),
        [
            "pixel_id",
            "max_age_days",
            "token_in",
            "batch_bytes",
            "application_tracking",
            "tracking_unsaid",
            "events.cased",
            "events.lead",
            "events.likely",
            "events.unlisted"
        ]
    );
    assert_eq!(problems("", &[]), ["pixel_id"]);
    let free = format!("{PIXEL}\nfree_names = true");
    assert_eq!(problems(&free, &[entries[1].clone(), entries[5].clone()]), ["events.cased"]);
}

#[test]
fn standard_names_come_from_the_usual_vocabulary() {
    for (event, name) in [
        ("purchase", "PURCHASE"),
        ("begin_checkout", "START_CHECKOUT"),
        ("add_to_cart", "ADD_CART"),
        ("add_payment_info", "ADD_BILLING"),
        ("view_item", "VIEW_CONTENT"),
        ("sign_up", "SIGN_UP"),
        ("page_view", "PAGE_VIEW"),
        ("start_trial", "START_TRIAL"),
    ] {
        assert_eq!(standard(event).as_deref(), Some(name));
    }
    assert_eq!(standard("generate_lead"), None);
    assert_eq!(standard("custom_event_1"), None);
}

#[test]
fn the_token_goes_where_the_settings_say() {
    let auth = |table: &str| configure(&settings(table, &[])).unwrap().auth();
    assert!(matches!(auth(PIXEL), Auth::Query { name: "access_token", .. }));
    assert!(matches!(auth(&format!("{PIXEL}\ntoken_in = \"header\"")), Auth::Bearer(_)));
}

#[test]
fn limited_use_names_california_or_has_the_address_looked_up() {
    let can = |region: Option<&str>, has_ip| {
        let region = region.map(str::to_owned);
        (PLATFORM.purposes.can_restrict)(&region, has_ip, ActionSource::Website)
    };
    assert!(can(Some("US-CA"), false) && can(Some("US-TX"), true) && can(None, true));
    assert!(!can(Some("US-TX"), false) && !can(None, false));
}

#[test]
fn every_documented_answer_has_its_meaning() {
    let named = r#"{"status":"INVALID","event":1,"errors":{"codes":["E_TIME"],"error_msgs":["timestamp out of range"]}}"#;
    #[rustfmt::skip]
    let table = [
        (200, r#"{"status":"VALID","reason":"Events have been processed successfully."}"#, "DDD"),
        (200, r#"{"status":"INVALID","reason":"no"}"#, "CCC"),
        (400, named, "CCC"),
        (400, "bad request", "CCC"),
        (401, r#"{"status":"INVALID"}"#, "PPP"),
        (403, "", "PPP"),
        (404, "", "PPP"),
        (413, "", "LLL"),
        (429, "", "TTT"),
        (500, r#"{"status":"INVALID"}"#, "UUU"),
        (503, "", "UUU"),
        (200, "<html>", "UUU"),
        (200, "{}", "UUU"),
    ];
    for (status, body, expected) in table {
        let call = call(3, CallPurpose::Send, "");
        let answer = answer::classify(&call, &response(status, body), NOW);
        assert_eq!(letters(&answer), expected, "{status} {body}");
    }
    // The number that it names is not looked at, also where there is but one event.
    let one = answer::classify(&call(1, CallPurpose::Send, ""), &response(400, named), NOW);
    assert_eq!(letters(&one), "R");
    assert!(format!("{:?}", one.outcomes).contains("E_TIME"), "{:?}", one.outcomes);
}

#[test]
fn the_validator_speaks_of_its_event() {
    let body = r#"{"status":"INVALID","test_event":true,"event_logs":[{"event":"PURCHASE","status":"INVALID","errors":["currency is missing"],"warnings":[]}]}"#;
    let one = answer::classify(&call(1, CallPurpose::Send, ""), &response(200, body), NOW);
    assert!(format!("{:?}", one.outcomes).contains("currency is missing"), "{:?}", one.outcomes);
    let warned = r#"{"status":"VALID","event_logs":[{"status":"VALID","warnings":["no em"]}]}"#;
    let one = answer::classify(&call(1, CallPurpose::Send, ""), &response(200, warned), NOW);
    assert_eq!((letters(&one).as_str(), one.notes.len()), ("D", 1));
}

#[test]
fn a_probe_is_validated_and_holds_no_event() {
    let probe = configure(&settings(PIXEL, &[])).unwrap().probe(NOW).unwrap();
    assert!(probe.url.ends_with("/events/validate") && probe.members.is_empty());
    let fault = |status| {
        let answer = answer::classify(&probe, &response(status, r#"{"status":"INVALID"}"#), NOW);
        answer.fault.map(|fault| fault.kind)
    };
    assert_eq!(fault(400), None);
    assert_eq!(fault(401), Some(FaultKind::Unauthorized));
}

#[test]
fn pixel_and_app_are_both_probed() {
    let both = format!("{PIXEL}\napp_id = \"42\"");
    let probes = configure(&settings(&both, &[])).unwrap().probes(NOW);
    let of: Vec<&str> = probes.iter().map(|probe| probe.of.as_str()).collect();
    assert_eq!(of, ["pixel_id a1b2c3d4-0000-4000-8000-000000000001", "app_id 42"]);
    assert!(probes[1].call.url.contains("/v3/42/events/validate"));
}
