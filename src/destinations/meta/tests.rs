use std::collections::BTreeMap;

use super::*;
use crate::destinations::{Entry, answer::table::classified};

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
    let table = "dataset_id = 1\nmessaging_channel = \"sms\"\npolicy_block = \"ignore\"\n\
                 batch_bytes = 1\nldu_states = { Utah = 1007, US-UT = 7, US-NV = \"1008\" }";
    let wrong = [
        "messaging_channel",
        "ldu_states.Utah",
        "ldu_states.US-UT",
        "ldu_states.US-NV",
        "batch_bytes",
        "policy_block",
    ];
    assert_eq!(problems(table, &[]), wrong);
    assert_eq!(problems("dataset_id = 1\nldu_states = [1007]", &[]), ["ldu_states"]);
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
fn every_older_version_has_ended() {
    let ends = |version: &str| {
        let table = format!("dataset_id = 1\napi_version = \"{version}\"");
        configure(&settings(&table, &[])).unwrap().version().unwrap().ends
    };
    assert_eq!(ends("v25.0"), Some(date(2028, 7, 29)));
    assert_eq!(ends("v21.0"), Some(date(2027, 1, 21)));
    for old in ["v20.0", "v19.0", "v9.0", "v2.12"] {
        assert_eq!(ends(old), Some(date(2026, 9, 24)), "{old}");
    }
    // The newest, and one that is newer still: not named yet.
    assert_eq!([ends("v26.0"), ends("v100.0")], [None, None]);
}

#[test]
fn test_mode_needs_a_code() {
    let mut settings = settings("dataset_id = 1", &[]);
    settings.mode = Mode::Test;
    assert_eq!(configure(&settings).unwrap_err()[0].path, "test_event_code");
}

#[test]
fn a_state_of_the_table_has_its_code() {
    let mut problems = Vec::new();
    let added = "ldu_states = { US-NV = 1009, US-MT = 0, US-CA = 1001 }";
    let [known, changed] = ["", added].map(|table| {
        let states = ldu::States::read(&settings(table, &[]), &mut problems);
        ["US-CA", "US-MT", "US-NV", "US"].map(|region| states.of(&Some(region.to_owned())))
    });
    assert_eq!(problems, []);
    assert_eq!(known, [(1, 1000), (1, 1006), (0, 0), (0, 0)]);
    assert_eq!(changed, [(1, 1001), (0, 0), (1, 1009), (0, 0)]);
    let can = |region: Option<&str>, has_ip| {
        let region = region.map(str::to_owned);
        (PLATFORM.purposes.can_restrict)(&region, has_ip, ActionSource::Website)
    };
    assert!(can(Some("US-TX"), false) && !can(Some("US-NV"), false) && can(None, true));
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

/// The sheet's section 12: the body decides, whatever the status.
#[test]
fn every_documented_answer_has_its_meaning() {
    let destination = configure(&settings("dataset_id = 1", &[])).unwrap();
    let told = |members, status, body: &str| classified(&*destination, members, status, body);
    let error = |code: i64, more: &str| format!("{{\"error\":{{\"code\":{code}{more}}}}}");
    for (code, subcode, expected) in [
        (100, 2_804_003, "ccc 100/2804003"),
        (100, 2_804_050, "ccc 100/2804050"),
        (100, 2_804_001, "ccc 100/2804001"),
        (100, 2_804_007, "ccc 100/2804007"),
        (100, 2_804_016, "ccc 100/2804016"),
        (100, 2_804_017, "ccc 100/2804017"),
        (100, 2_804_019, "ccc 100/2804019"),
        (100, 2_804_048, "ccc 100/2804048"),
        (100, 33, "ppp Misconfigured 100/33"),
        (190, 460, "ppp Unauthorized 190/460"),
        (190, 463, "ppp Unauthorized 190/463"),
        (190, 467, "ppp Unauthorized 190/467"),
    ] {
        let body = error(code, &format!(",\"error_subcode\":{subcode}"));
        assert_eq!(told(3, 400, &body), expected);
    }
    for (codes, expected) in [
        (&[3, 10, 102, 190, 200, 299][..], "ppp Unauthorized"),
        (&[368], "ppp Misconfigured"),
        (&[4, 17, 32, 613, 80_000, 80_003, 80_004, 80_014], "ttt"),
        (&[1, 2, 341, 5_000, 21_009], "uuu"),
        (&[100, 2_500], "ccc"),
    ] {
        for code in codes {
            // Throttling and bad events come under the name of an OAuth error, too.
            let body = error(*code, ",\"type\":\"OAuthException\"");
            let found = told(3, 400, &body);
            assert!(found.starts_with(expected), "{code}: {found}");
        }
    }
    assert_eq!(told(3, 400, &error(100, ",\"is_transient\":true")), "uuu");
    assert_eq!(told(3, 500, &error(100, "")), "uuu");
    assert_eq!(told(1, 400, &error(100, ",\"error_subcode\":2804003")), "r 100/2804003");
    for (status, body, expected) in [
        (200, r#"{"events_received":3,"messages":[],"fbtrace_id":"A"}"#, "ddd"),
        (200, r#"{"events_received":2}"#, "ccc events_received"),
        (200, "{}", "uuu"),
        (200, "<html>", "uuu"),
        (400, "<html>", "uuu"),
        (400, "", "uuu"),
        (401, "<html>", "uuu"),
        (403, "<html>", "uuu"),
        (404, "<html>", "uuu"),
        (302, "<html>", "uuu"),
        (400, "{}", "ccc http_400"),
        (401, "{}", "ppp Unauthorized http_401"),
        (413, "<html>", "lll"),
        (429, "", "ttt"),
        (503, "<html>", "uuu"),
    ] {
        assert_eq!(told(3, status, body), expected, "{status} {body}");
    }
    let retrying = configure(&settings("dataset_id = 1\npolicy_block = \"retry\"", &[])).unwrap();
    assert_eq!(classified(&*retrying, 3, 400, &error(368, "")), "uuu");
}
