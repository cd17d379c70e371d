use super::names::kind;
use super::*;
use crate::{
    destinations::{Entry, answer::table::classified},
    identity::Memo,
};

fn settings(table: &str, entries: &[(&str, Entry)]) -> Settings {
    let token = SecretString::from("reddit-token".to_owned());
    Settings {
        name: "reddit".to_owned(),
        table: table.parse().unwrap(),
        secrets: BTreeMap::from([("access_token".to_owned(), token)]),
        endpoint: PLATFORM.endpoint.to_owned(),
        token_endpoint: String::new(),
        mode: Mode::Live,
        entries: entries.iter().map(|(e, n)| ((*e).to_owned(), vec![n.clone()])).collect(),
    }
}

#[test]
fn every_answer_means_what_its_page_says() {
    let destination = configure(&settings("pixel_id = \"a2_x\"", &[])).unwrap();
    let ok = r#"{"data":{"message":"Successfully processed 3 conversion events."}}"#;
    let error =
        |fields: &str| format!(r#"{{"error":{{"code":400,"message":"bad","fields":[{fields}]}}}}"#);
    let field = |path: &str| error(&format!(r#"{{"field":"{path}","message":"no"}}"#));
    let two =
        r#"{"field":"data.events.0.user","message":"a"},{"field":"data.events.2","message":"b"}"#;
    for (status, body, told) in [
        (200, ok, "ddd"),
        (200, "", "uuu"),
        (200, "<html>", "uuu"),
        (200, &error(""), "ccc 400"),
        (400, &field("data.events.1.event_at"), "srs 400"),
        (400, &field("events[2].type"), "ssr 400"),
        (400, &error(two), "rsr 400"),
        (400, &field("data.events.7.event_at"), "ccc 400"),
        (400, &field("data.test_id"), "ccc 400"),
        (400, "no JSON", "ccc http_400"),
        (401, r#"{"error":{"code":401,"message":"no"}}"#, "ppp Unauthorized http_401"),
        (403, "", "ppp Unauthorized http_403"),
        (404, "", "ppp Misconfigured http_404"),
        (413, "", "lll"),
        (429, "", "ttt"),
        (500, "", "uuu"),
        (503, r#"{"error":{"code":503,"message":"later"}}"#, "uuu"),
    ] {
        assert_eq!(classified(&*destination, 3, status, body), told, "{status} {body}");
    }
    assert_eq!(classified(&*destination, 1, 400, &error("")), "r 400");
}

#[test]
fn entries_are_types_and_own_names_only_as_custom() {
    let table = |text: &str| Entry::Table(text.parse().unwrap());
    let name = |text: &str| Entry::Name(text.to_owned());
    let standard = |name| Ok(Kind::Standard(name));
    assert_eq!(kind("purchase", &Entry::Standard), standard("PURCHASE"));
    assert_eq!(kind("page_view", &Entry::Standard), standard("PAGE_VISIT"));
    assert_eq!(kind("any", &name("LEAD")), standard("LEAD"));
    assert_eq!(kind("any", &table("tracking_type = \"SEARCH\"")), standard("SEARCH"));
    let own = table("tracking_type = \"CUSTOM\"\ncustom_event_name = \"Checkout\"");
    assert_eq!(kind("any", &own), Ok(Kind::Custom("Checkout".to_owned())));
    for entry in [
        Entry::Standard,
        name("Purchase"),
        name("CUSTOM"),
        name("StoreVisit"),
        table("tracking_type = \"LEAD\"\ncustom_event_name = \"Lead\""),
        table("custom_event_name = \"\""),
        table(&format!("custom_event_name = \"{}\"", "x".repeat(65))),
    ] {
        assert!(kind("begin_checkout", &entry).is_err(), "{entry:?}");
    }
}

#[test]
fn every_problem_is_named_at_once() {
    let mut settings = settings("pixel_id = \"a2/x\"", &[("odd", Entry::Standard)]);
    settings.mode = Mode::Test;
    let problems = configure(&settings).unwrap_err();
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["pixel_id", "test_id", "events.odd"]);
}

#[test]
fn advertising_ids_are_written_in_their_systems_way() {
    let sent = |takes: &[Take], text| {
        let take = takes.iter().find(|take| take.field == Field::AdvertisingId).unwrap();
        take.apply(text, None, &Memo::default()).unwrap()
    };
    assert_eq!(sent(TAKES, "Ab-1"), sent(TAKES, "ab-1"));
    assert_eq!(sent(TAKES_OF_APPLE, "Ab-1"), sent(TAKES_OF_APPLE, "AB-1"));
    assert_ne!(sent(TAKES_OF_APPLE, "Ab-1"), sent(TAKES, "Ab-1"));
    assert_eq!([advertising_key("ios"), advertising_key("windows")], [Some("idfa"), None]);
    assert!(is_apple("iOS") && !is_apple("android"));
}

#[test]
fn a_probe_sends_no_event() {
    let destination = configure(&settings("pixel_id = \"a2_x\"", &[])).unwrap();
    let call = destination.probe(Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!((call.body.as_slice(), call.members.len()), (&b"{\"data\":{\"events\":[]}}"[..], 0));
    assert!(call.url.ends_with("/api/v3/pixels/a2_x/conversion_events"), "{}", call.url);
}
