use std::collections::BTreeMap;

use super::*;
use crate::destinations::{
    Entry,
    answer::table::{call, classified, response},
};

fn settings(table: &str, entries: &[(&str, Entry)]) -> Settings {
    Settings {
        name: "criteo".to_owned(),
        table: table.parse().unwrap(),
        secrets: BTreeMap::new(),
        endpoint: PLATFORM.endpoint.to_owned(),
        token_endpoint: String::new(),
        mode: Mode::Live,
        entries: entries.iter().map(|(e, n)| ((*e).to_owned(), vec![n.clone()])).collect(),
    }
}

#[test]
fn every_answer_means_what_its_page_says() {
    let destination = configure(&settings("account_id = 1", &[])).unwrap();
    for (status, body, told) in [
        (200, r#"{"errors":[],"warnings":[]}"#, "d"),
        (200, r#"{"errors":[],"warnings":[{"code":"NoUrl","message":"no full_url"}]}"#, "d"),
        (200, r#"{"errors":["UserIdentifierMissing"]}"#, "r UserIdentifierMissing"),
        (200, r#"{"errors":[{"code":"InvalidPartner","message":"no"}]}"#, "r InvalidPartner"),
        (200, r#"{"errors":[{"type":"EventTooOld"},{"type":"Other"}]}"#, "r EventTooOld"),
        (200, r#"{"errors":[7]}"#, "r error"),
        (200, "{}", "u"),
        (200, "<html>", "u"),
        (204, "", "u"),
        (307, "", "p Misconfigured http_307"),
        (400, "no", "r http_400"),
        (404, "", "p Misconfigured http_404"),
        (413, "", "l"),
        (429, "", "t"),
        (502, "", "u"),
    ] {
        assert_eq!(classified(&*destination, 1, status, body), told, "{status} {body}");
    }
}

#[test]
fn a_redirect_is_not_followed_but_named() {
    let mut response = response(307, "");
    let location = "https://widget.eu.criteo.com/m/event?version=s2s_v0";
    response.headers.push(("location".to_owned(), location.to_owned()));
    let answer =
        answer::classify(&call(1, CallPurpose::Send, ""), &response, Timestamp::UNIX_EPOCH);
    let message = answer.fault.unwrap().message;
    assert!(message.contains("a redirect to widget.eu.criteo.com,"), "{message}");
}

#[test]
fn the_general_host_is_warned_of() {
    let mut settings = settings("account_id = 1", &[]);
    let paths = |settings: &Settings| -> Vec<String> {
        let cautions = configure(settings).unwrap().cautions();
        cautions.into_iter().map(|problem| problem.path).collect()
    };
    assert_eq!(paths(&settings), ["endpoint"]);
    settings.endpoint = "https://widget.eu.criteo.com".to_owned();
    assert!(paths(&settings).is_empty());
    settings.endpoint = PLATFORM.endpoint.to_owned();
    settings.mode = Mode::Shadow;
    assert!(paths(&settings).is_empty(), "nothing is sent");
}

#[test]
fn warnings_are_noted() {
    let body = r#"{"errors":[],"warnings":["EmailMissing"]}"#;
    let call = call(1, CallPurpose::Send, "");
    let answer = answer::classify(&call, &response(200, body), Timestamp::UNIX_EPOCH);
    assert_eq!(answer.notes[0].code, "EmailMissing");
}

#[test]
fn every_problem_is_named_at_once() {
    let problems = |table: &str, entries: &[(&str, Entry)]| -> Vec<String> {
        let problems = configure(&settings(table, entries)).err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.path).collect()
    };
    let entries = [
        ("lead", Entry::Standard),
        ("own", Entry::Name("StoreVisit".to_owned())),
        ("purchase", Entry::Standard),
    ];
    let all = ["account_id", "max_age_minutes", "events.lead", "events.own"];
    assert_eq!(problems("max_age_minutes = 0", &entries), all);
    assert!(problems("account_id = \"51\"", &entries[2..]).is_empty());
}

#[test]
fn standard_names_come_from_the_usual_vocabulary() {
    for (event, name) in [
        ("purchase", "trackTransaction"),
        ("view_item", "viewItem"),
        ("view_item_list", "viewList"),
        ("search", "viewSearch"),
        ("add_to_cart", "addToCart"),
        ("view_cart", "viewBasket"),
        ("begin_checkout", "beginCheckout"),
        ("add_payment_info", "addPaymentInfo"),
        ("page_view", "viewPage"),
        ("login", "login"),
    ] {
        assert_eq!(standard(event).as_deref(), Some(name));
    }
    assert_eq!(standard("generate_lead"), None);
}
