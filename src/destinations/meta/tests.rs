use std::collections::BTreeMap;

use super::*;
use crate::destinations::Entry;

fn settings(table: &str, entries: &[(&str, Entry)]) -> Settings {
    let token = SecretString::from("meta-token".to_owned());
    Settings {
        name: "meta".to_owned(),
        table: table.parse().unwrap(),
        secrets: BTreeMap::from([("access_token".to_owned(), token)]),
        endpoint: PLATFORM.endpoint.to_owned(),
        token_endpoint: String::new(),
        mode: Mode::Live,
        entries: entries.iter().map(|(e, n)| ((*e).to_owned(), vec![n.clone()])).collect(),
    }
}

fn problems(table: &str, entries: &[(&str, Entry)]) -> Vec<String> {
    let problems = configure(&settings(table, entries)).err().unwrap_or_default();
    problems.into_iter().map(|problem| problem.path).collect()
}

#[test]
fn every_problem_is_named_at_once() {
    let name = |text: &str| Entry::Name(text.to_owned());
    let entries = [
        ("purchase", Entry::Standard),
        ("odd", Entry::Standard),
        ("cased", name("purchase")),
        ("long", name(&"x".repeat(51))),
        ("own", name("StoreVisit")),
    ];
    let table = "dataset_id = \"abc\"\napi_version = \"26\"";
    assert_eq!(
        problems(table, &entries),
        ["dataset_id", "api_version", "events.cased", "events.long", "events.odd"]
    );
    assert_eq!(problems("dataset_id = 1\npixel_id = 2", &[]), ["pixel_id"]);
    assert!(problems("pixel_id = 1234567890", &entries[..1]).is_empty());
}

#[test]
fn standard_names_come_from_the_usual_vocabulary() {
    for (event, name) in [
        ("purchase", "Purchase"),
        ("begin_checkout", "InitiateCheckout"),
        ("add_to_cart", "AddToCart"),
        ("view_item", "ViewContent"),
        ("generate_lead", "Lead"),
        ("sign_up", "CompleteRegistration"),
        ("page_view", "PageView"),
    ] {
        assert_eq!(standard(event).as_deref(), Some(name));
    }
    assert_eq!(standard("scroll_depth"), None);
}

#[test]
fn test_mode_needs_a_code() {
    let mut settings = settings("dataset_id = 1", &[]);
    settings.mode = Mode::Test;
    assert_eq!(configure(&settings).unwrap_err()[0].path, "test_event_code");
}

#[test]
fn a_state_of_the_table_has_its_code() {
    let state = |region: &str| ldu_state(&Some(region.to_owned()));
    assert_eq!(state("US-CA"), Some(1000));
    assert_eq!(state("US-MT"), Some(1006));
    assert_eq!(state("US-NV"), None);
    assert_eq!(state("US"), None);
    assert!((PLATFORM.purposes.can_restrict)(&Some("US-TX".to_owned()), false));
    assert!(!(PLATFORM.purposes.can_restrict)(&Some("US-NV".to_owned()), false));
    assert!((PLATFORM.purposes.can_restrict)(&None, true));
}

#[test]
fn a_probe_sends_no_event() {
    let destination = configure(&settings("dataset_id = 1", &[])).unwrap();
    let call = destination.probe(Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!((call.body.as_slice(), call.members.len()), (&b"{\"data\":[]}"[..], 0));
    let refused = |code: u32| Response {
        status: 400,
        headers: Vec::new(),
        body: format!("{{\"error\":{{\"code\":{code}}}}}").into_bytes(),
    };
    let fault = |code| destination.classify(&call, &refused(code), Timestamp::UNIX_EPOCH).fault;
    assert_eq!(fault(100), None);
    assert_eq!(fault(190).map(|fault| fault.reason), Some("190".to_owned()));
}

#[test]
fn a_senders_own_property_cannot_sink_a_batch() {
    let may = |key: &str, value: serde_json::Value| body::may_be_free(key, &value);
    assert!(may("content_type", json!("product")) && !may("content_type", json!("article")));
    assert!(may("content_ids", json!(["a", 1])) && !may("content_ids", json!([{}])));
    assert!(!may("value", json!(5)) && !may("currency", json!("dollars")));
    assert!(may("cart_size", json!(1)) && !may("nothing", json!(null)));
}
