use std::collections::BTreeMap;

use super::*;
use crate::destinations::{
    Entry, FaultKind, Outcome,
    answer::table::{call, letters, response},
};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn settings(table: &str, entries: &[(&str, Entry)]) -> Settings {
    let token = SecretString::from("pinterest-token".to_owned());
    Settings {
        name: "pinterest".to_owned(),
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
        ("cased", name("AddToCart")),
        ("foreign", name("purchase")),
        ("long", name(&"x".repeat(101))),
        ("odd", Entry::Standard),
        ("own", name("store_visit")),
        ("purchase", Entry::Standard),
    ];
    let table = "ad_account_id = \"tag-1\"\npartner_name = \"me\"\ntest_batch = 0\n\
                 max_age_days = 0\nmaid_case = \"title\"";
    assert_eq!(
        problems(table, &entries),
        [
            "ad_account_id",
            "partner_name",
            "test_batch",
            "max_age_days",
            "maid_case",
            "events.cased",
            "events.foreign",
            "events.long",
            "events.odd"
        ]
    );
    assert_eq!(problems("ad_account_id = \"1234567890123456789\"", &[]), ["ad_account_id"]);
    assert!(problems("ad_account_id = 549755885175", &entries[4..]).is_empty());
}

#[test]
fn standard_names_come_from_the_usual_vocabulary() {
    for (event, name) in [
        ("purchase", "checkout"),
        ("begin_checkout", "initiate_checkout"),
        ("page_view", "page_visit"),
        ("sign_up", "signup"),
        ("generate_lead", "lead"),
        ("view_item", "view_content"),
        ("view_item_list", "view_category"),
        ("add_to_cart", "add_to_cart"),
        ("start_trial", "start_trial"),
    ] {
        assert_eq!(standard(event).as_deref(), Some(name));
    }
    assert_eq!(standard("scroll_depth"), None);
    assert_eq!(standard("custom"), None, "one's own event is said in the configuration");
    assert!(names::is_own("custom") && names::is_own("refund") && !names::is_own("checkout"));
}

#[test]
fn every_documented_answer_has_its_meaning() {
    let results = |outcomes: [&str; 3]| {
        let events: Vec<_> = outcomes
            .iter()
            .map(|status| serde_json::json!({"status": status, "error_message": null}))
            .collect();
        serde_json::json!({"num_events_received": 3, "num_events_processed": 1, "events": events})
    };
    let mixed = results(["processed", "failed", "processed"]).to_string();
    let details = |details: &serde_json::Value| {
        serde_json::json!({"code": 422, "message": "Not all events were processed", "details": details})
            .to_string()
    };
    let partial = details(&results(["failed", "processed", "processed"]));
    let untold = details(&serde_json::json!({"invalid": "yes"}));
    #[rustfmt::skip]
    let table = [
        (200, mixed.as_str(), "DRD"),
        (200, r#"{"num_events_received":3,"num_events_processed":3,"events":[]}"#, "DDD"),
        (200, r#"{"num_events_received":3,"num_events_processed":2}"#, "CCC"),
        (422, partial.as_str(), "RDD"),
        (422, mixed.as_str(), "DRD"),
        (422, untold.as_str(), "CCC"),
        (422, r#"{"events":[{"status":"processed"},{"status":"failed"},{"status":"processed"}]}"#, "DRD"),
        (422, "{}", "CCC"),
        (400, r#"{"code":4196,"message":"Invalid request: Additional properties are not allowed ('category_name' was unexpected)"}"#, "CCC"),
        (401, r#"{"code":2,"message":"Authentication failed."}"#, "PPP"),
        (403, r#"{"code":29,"message":"Not permitted"}"#, "PPP"),
        (404, r#"{"code":50,"message":"Not found"}"#, "CCC"),
        (404, "<html>", "CCC"),
        (410, "{}", "CCC"),
        (408, "", "UUU"),
        (413, "", "LLL"),
        (429, r#"{"code":8,"message":"Rate limit exceeded"}"#, "TTT"),
        (500, r#"{"code":0,"message":"Unexpected"}"#, "UUU"),
        (503, r#"{"code":4197,"message":"Ramped down"}"#, "UUU"),
        (200, "<html>", "UUU"),
        (200, "[]", "UUU"),
    ];
    for (status, body, expected) in table {
        // The last of the 422 has its results beside, not below `details`.
        let body = if status == 422 && body == mixed.as_str() {
            body.replacen('{', "{\"code\":422,\"message\":\"\",", 1)
        } else {
            body.to_owned()
        };
        let call = call(3, CallPurpose::Send, "");
        let answer = answer::classify(&call, &response(status, &body), NOW);
        assert_eq!(letters(&answer), expected, "{status} {body}");
    }
}

#[test]
fn a_ramped_down_endpoint_is_left_alone_for_long() {
    let body = r#"{"code":4197,"message":"Ramped down"}"#;
    let answer = answer::classify(&call(1, CallPurpose::Send, ""), &response(503, body), NOW);
    let Outcome::Unavailable { after: Some(after), .. } = &answer.outcomes[0] else {
        panic!("{:?}", answer.outcomes)
    };
    assert_eq!(after.as_secs(), 600);
}

#[test]
fn a_probe_is_a_test_without_events() {
    let probe = configure(&settings("ad_account_id = 549755885175", &[])).unwrap().probe(NOW);
    let probe = probe.unwrap();
    assert!(probe.url.ends_with("/events?test=true") && probe.members.is_empty());
    let fault = |status| {
        let body = r#"{"code":1,"message":"no"}"#;
        answer::classify(&probe, &response(status, body), NOW).fault.map(|fault| fault.kind)
    };
    assert_eq!(fault(400), None);
    assert_eq!(fault(401), Some(FaultKind::Unauthorized));
    assert_eq!(fault(404), Some(FaultKind::Misconfigured));
}
