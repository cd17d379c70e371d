use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::{
    consent::{Grants, OptOut, State},
    destinations::{
        Entry, FaultKind,
        answer::table::{call, letters, response},
    },
    job::Flags,
};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn settings(table: &str, entries: &[(&str, Entry)]) -> Settings {
    let token = SecretString::from("tiktok-token".to_owned());
    Settings {
        name: "tiktok".to_owned(),
        table: table.parse().unwrap(),
        secrets: BTreeMap::from([("access_token".to_owned(), token)]),
        endpoint: PLATFORM.endpoint.to_owned(),
        token_endpoint: String::new(),
        mode: Mode::Live,
        entries: entries.iter().map(|(e, n)| ((*e).to_owned(), vec![n.clone()])).collect(),
    }
}

fn destination() -> Box<dyn Destination> {
    let table = "pixel_code = \"C0EXAMPLE\"\nevent_set_id = \"777\"\napp_id = \"42\"";
    configure(&settings(table, &[("begin_checkout", Entry::Standard)])).unwrap()
}

fn job(source: ActionSource, limited: bool) -> Prepared {
    Prepared {
        event: "begin_checkout".to_owned(),
        entry: 0,
        event_id: "e".to_owned(),
        transaction_id: "e".to_owned(),
        site: String::new(),
        time: NOW,
        action_source: source,
        test: false,
        value: None,
        currency: None,
        texts: Vec::new(),
        amounts: Vec::new(),
        items: Vec::new(),
        other: String::new(),
        adjusts: None,
        calibrated: None,
        consent: Arc::new(State {
            region: None,
            grants: Grants::default(),
            opt_out: OptOut::default(),
            sources: Vec::new(),
            ..State::default()
        }),
        sensitive: false,
        group: "live/crm/99".to_owned(),
        expires_at: NOW,
        flags: Flags { limited, ..Flags::default() },
    }
}

#[test]
fn every_problem_is_named_at_once() {
    let problems = |table: &str, entries: &[(&str, Entry)]| {
        let problems = configure(&settings(table, entries)).err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.path).collect::<Vec<_>>()
    };
    let entries = [
        ("cased", Entry::Name("purchase".to_owned())),
        ("odd", Entry::Standard),
        ("own", Entry::Name("StoreVisit".to_owned())),
        ("purchase", Entry::Standard),
    ];
    let table = "max_age_days = 0\nadvertising_id = \"raw\"\ncrm_max_age_days = 0\nvendor_id = 1\n\
                 gaid_case = \"upper\"\ncode_20001 = \"ok\"";
    assert_eq!(
        problems(table, &entries),
        [
            "pixel_code",
            "max_age_days",
            "crm_max_age_days",
            "advertising_id",
            "vendor_id",
            "gaid_case",
            "code_20001",
            "events.cased",
            "events.odd"
        ]
    );
    assert_eq!(problems("app_id = \"a/b\"", &[]), ["app_id"]);
    assert!(problems("crm_event_set_id = 7123", &entries[2..]).is_empty());
    let mut test = settings("pixel_code = \"C0\"", &[]);
    test.mode = Mode::Test;
    assert_eq!(configure(&test).unwrap_err()[0].path, "test_event_code");
}

#[test]
fn an_event_has_the_name_of_its_source() {
    for (event, web, app) in [
        ("purchase", "Purchase", "Purchase"),
        ("begin_checkout", "InitiateCheckout", "Checkout"),
        ("sign_up", "CompleteRegistration", "Registration"),
        ("generate_lead", "Lead", "GenerateLead"),
        ("add_to_cart", "AddToCart", "AddToCart"),
        ("login", "", "Login"),
        ("contact", "Contact", ""),
    ] {
        assert_eq!(standard_web(event).as_deref(), Some(web), "{event}");
        assert_eq!(standard_app(event).as_deref(), Some(app), "{event}");
    }
    assert_eq!(standard_web("click_button").as_deref(), Some("ClickButton"));
    assert_eq!(refuse("ClickButton"), None);
    assert_eq!(standard_web("scroll_depth"), None);
}

#[test]
fn a_request_is_of_one_source_and_its_id() {
    let sources = [
        ActionSource::Website,
        ActionSource::PhoneCall,
        ActionSource::Website,
        ActionSource::App,
        // Its setting is gone; the job still knows the id.
        ActionSource::Crm,
    ];
    let jobs = sources.map(|source| job(source, false));
    let calls = destination().assemble(&jobs, NOW);
    let seen: Vec<_> = calls
        .iter()
        .map(|call| {
            let body: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
            let text = |key: &str| body[key].as_str().unwrap().to_owned();
            let name = body["data"][0]["event"].as_str().unwrap().to_owned();
            (text("event_source"), text("event_source_id"), name, call.members.clone())
        })
        .collect();
    let row = |source: &str, id: &str, name: &str, members: &[usize]| {
        (source.to_owned(), id.to_owned(), name.to_owned(), members.to_vec())
    };
    assert_eq!(
        seen,
        [
            row("web", "C0EXAMPLE", "InitiateCheckout", &[0, 2]),
            row("offline", "777", "InitiateCheckout", &[1]),
            row("app", "42", "Checkout", &[3]),
            row("crm", "99", "InitiateCheckout", &[4]),
        ]
    );
}

#[test]
fn limited_use_depends_on_the_source() {
    let can = |source| (PLATFORM.purposes.can_restrict)(&None, true, source);
    assert!(can(ActionSource::Website) && can(ActionSource::App));
    assert!(!can(ActionSource::PhysicalStore) && !can(ActionSource::Crm));
}

#[test]
fn what_must_be_limited_and_cannot_be_does_not_leave() {
    let jobs = [job(ActionSource::PhysicalStore, true), job(ActionSource::Website, true)];
    let calls = destination().assemble(&jobs, NOW);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].members, [1]);
    assert!(String::from_utf8_lossy(&calls[0].body).contains("\"limited_data_use\":true"));
}

fn answered(members: usize, purpose: CallPurpose, status: u16, body: &str) -> Answer {
    let on_partial = OnPartial::Deliver;
    answer::classify(&call(members, purpose, ""), &response(status, body), on_partial, NOW)
}

#[test]
fn every_documented_answer_has_its_meaning() {
    #[rustfmt::skip]
    let table = [
        (200, r#"{"code":0,"message":"OK","data":null}"#, "DDD"),
        (200, r#"{"code":20001,"message":"some"}"#, "DDD"),
        (200, r#"{"code":40002,"message":"data.1.event_id: not a valid string"}"#, "SRS"),
        (200, r#"{"code":40002,"message":"data[2].event is missing"}"#, "SSR"),
        (200, r#"{"code":40002,"message":"Batch.0.properties.contents.1.content_id: bad"}"#, "RSS"),
        (200, r#"{"code":40002,"message":"data.7.event_id: bad"}"#, "CCC"),
        (200, r#"{"code":40000,"message":"Invalid parameter"}"#, "CCC"),
        (400, r#"{"code":40002,"message":"Invalid parameter"}"#, "CCC"),
        (200, r#"{"code":40001,"message":"No permission"}"#, "PPP"),
        (401, r#"{"code":40100,"message":"Too many requests"}"#, "TTT"),
        (200, r#"{"code":40101,"message":"Unauthorized"}"#, "PPP"),
        (200, r#"{"code":40102,"message":"Token expired"}"#, "PPP"),
        (200, r#"{"code":40104,"message":"Access token is empty"}"#, "PPP"),
        (200, r#"{"code":40105,"message":"Access token is incorrect"}"#, "PPP"),
        (200, r#"{"code":50000,"message":"System error"}"#, "UUU"),
        (502, r#"{"code":51010,"message":"Service error"}"#, "UUU"),
        (500, "", "UUU"),
        (429, "", "TTT"),
        (401, "", "PPP"),
        (413, "", "LLL"),
        (200, "<html>", "UUU"),
        (200, r#"{"message":"OK"}"#, "UUU"),
    ];
    for (status, body, expected) in table {
        let answer = answered(3, CallPurpose::Send, status, body);
        assert_eq!(letters(&answer), expected, "{status} {body}");
    }
    let one = r#"{"code":40002,"message":"data.0.event_id: not a valid string"}"#;
    assert_eq!(letters(&answered(1, CallPurpose::Send, 200, one)), "R");
}

#[test]
fn a_probe_tells_the_token_from_the_empty_list() {
    let probe = destination().probe(NOW).unwrap();
    let body = String::from_utf8(probe.body).unwrap();
    assert!(body.contains("\"data\":[]") && probe.members.is_empty(), "{body}");
    let fault = |body: &str| answered(0, CallPurpose::Probe, 200, body).fault.map(|it| it.kind);
    assert_eq!(fault(r#"{"code":40002,"message":"data: is empty"}"#), None);
    assert_eq!(fault(r#"{"code":40105,"message":"bad"}"#), Some(FaultKind::Unauthorized));
}

#[test]
fn an_age_is_of_its_source_and_falls_back_to_its_kin() {
    let ages = |more: &str| {
        let table = format!("pixel_code = \"C0\"\n{more}");
        let made = format!("{:?}", configure(&settings(&table, &[])).unwrap());
        let ages = made.split("MaxAges { ").nth(1).unwrap().split(" }").next().unwrap().to_owned();
        ages.replace("00s", "")
    };
    let days = |web: u32, app: u32, offline: u32, crm: u32| {
        let [web, app, offline, crm] = [web, app, offline, crm].map(|days| days * 864);
        format!("web: {web}, app: {app}, offline: {offline}, crm: {crm}")
    };
    assert_eq!(ages(""), days(7, 7, 28, 28));
    assert_eq!(ages("max_age_days = 5\noffline_max_age_days = 20"), days(5, 5, 20, 20));
    assert_eq!(ages("app_max_age_days = 3\ncrm_max_age_days = 90"), days(7, 3, 28, 90));
}

#[test]
fn what_a_partial_success_means_is_a_setting() {
    let told = |more: &str| {
        let table = format!("pixel_code = \"C0\"\n{more}");
        let destination = configure(&settings(&table, &[])).unwrap();
        let body = r#"{"code":20001,"message":"partial success"}"#;
        let answer =
            destination.classify(&call(3, CallPurpose::Send, ""), &response(200, body), NOW);
        letters(&answer)
    };
    assert_eq!(told(""), "DDD");
    assert_eq!(told("code_20001 = \"delivered\""), "DDD");
    assert_eq!(told("code_20001 = \"refused\""), "CCC");
}

#[test]
fn every_source_is_probed_with_its_own_id() {
    let probes = destination().probes(NOW);
    let of: Vec<&str> = probes.iter().map(|probe| probe.of.as_str()).collect();
    assert_eq!(of, ["pixel_code C0EXAMPLE", "app_id 42", "event_set_id 777"]);
    let body = String::from_utf8_lossy(&probes[1].call.body).into_owned();
    assert!(body.contains("\"event_source\":\"app\"") && body.contains("\"42\""), "{body}");
}
