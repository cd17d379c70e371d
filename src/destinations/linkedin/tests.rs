use super::*;
use crate::destinations::{Mode, answer::table::classified};

fn settings(table: &str, entry: Entry) -> Settings {
    let token = SecretString::from("linkedin-token".to_owned());
    Settings {
        name: "linkedin".to_owned(),
        table: table.parse().unwrap(),
        secrets: BTreeMap::from([("access_token".to_owned(), token)]),
        endpoint: PLATFORM.endpoint.to_owned(),
        token_endpoint: String::new(),
        mode: Mode::Live,
        entries: BTreeMap::from([("purchase".to_owned(), vec![entry])]),
    }
}

fn rule(text: &str) -> Entry {
    Entry::Table(format!("conversion_rule = {text}").parse().unwrap())
}

fn destination(table: &str) -> Box<dyn Destination> {
    configure(&settings(table, rule("104012"))).unwrap()
}

#[test]
fn every_answer_means_what_its_page_says() {
    let destination = destination("");
    let ok = r#"{"elements":[{"status":201},{"status":201},{"status":201}]}"#;
    let one =
        r#"{"elements":[{"status":201},{"status":400,"error":{"message":"no"}},{"status":201}]}"#;
    let method = r#"{"status":400,"message":"Incorrect conversions information provided. Conversion's method should be CONVERSIONS_API, indices [0, 2] (0-indexed)"}"#;
    let fields = "{\"status\":422,\"message\":\"Index: 0, ERROR :: /conversionValue/amount :: field is required\\nIndex: 0, ERROR :: /user :: twice\\nIndex: 2, ERROR :: /eventId :: too long\"}";
    let none = r#"{"status":422,"message":"something is wrong"}"#;
    let beyond = r#"{"status":422,"message":"Index: 7, ERROR :: /user :: odd\n"}"#;
    let expired = r#"{"status":401,"serviceErrorCode":65600,"message":"Invalid access token"}"#;
    let revoked = r#"{"status":401,"serviceErrorCode":65601,"message":"revoked"}"#;
    for (status, body, told) in [
        (201, "", "ddd"),
        (200, ok, "ddd"),
        (200, one, "drd http_400"),
        (200, r#"{"elements":[{"status":201}]}"#, "uuu"),
        (200, "<html>", "uuu"),
        (400, method, "rsr http_400"),
        (400, r#"{"message":"indices [x]"}"#, "ccc http_400"),
        (422, fields, "rsr http_422/conversionValue/amount"),
        (422, none, "ccc http_422"),
        (422, beyond, "ccc http_422"),
        (401, expired, "ppp Unauthorized 65600"),
        (401, revoked, "ppp Unauthorized 65601"),
        (401, "", "ppp Unauthorized http_401"),
        (403, r#"{"message":"no role"}"#, "ppp Misconfigured http_403"),
        (426, r#"{"message":"NONEXISTENT_VERSION"}"#, "ppp Misconfigured http_426"),
        (413, "", "lll"),
        (429, "", "ttt"),
        (503, "", "uuu"),
    ] {
        assert_eq!(classified(&*destination, 3, status, body), told, "{status} {body}");
    }
    assert_eq!(classified(&*destination, 1, 422, none), "r http_422");
}

#[test]
fn every_problem_is_named_at_once() {
    let problems = |table: &str, entry: Entry| -> Vec<String> {
        let problems = configure(&settings(table, entry)).err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.path).collect()
    };
    let table = "api_version = \"202511\"\naccount_id = \"a\"\ngoogle_aid = \"sha1\"";
    let all = ["api_version", "account_id", "google_aid", "events.purchase"];
    assert_eq!(problems(table, Entry::Name("PURCHASE".to_owned())), all);
    for version in ["2026", "202613", "202600", "2026-8"] {
        assert!(refuse_version(version).is_some(), "{version}");
    }
    assert_eq!(refuse_version("202609"), None);
    assert_eq!(problems("", Entry::Standard), ["events.purchase"]);
    assert!(
        problems("api_version = 202609", rule("\"urn:lla:llaPartnerConversion:1\"")).is_empty()
    );
}

#[test]
fn an_account_and_a_rule_are_told_apart_where_they_can_be() {
    let problem = |table: &str, entry: Entry| {
        configure(&settings(table, entry)).unwrap_err().remove(0).message
    };
    let rules = problem("account_id = \"urn:lla:llaPartnerConversion:104012\"", rule("7"));
    assert!(rules.contains("as conversion_rule"), "{rules}");
    let accounts = problem("account_id = 507", rule("\"urn:li:sponsoredAccount:507\""));
    assert!(accounts.contains("as account_id"), "{accounts}");
    let cautions = |table: &str| {
        let cautions = destination(table).cautions();
        cautions.into_iter().map(|it| it.path).collect::<Vec<_>>()
    };
    assert_eq!(cautions("account_id = 104012"), ["account_id"]);
    assert!(cautions("account_id = \"urn:li:sponsoredAccount:507\"").is_empty());
    assert!(cautions("").is_empty());
}

#[test]
fn a_version_is_out_in_its_month() {
    let destination = destination("api_version = 202702");
    let version = destination.version().unwrap();
    assert_eq!((version.since, version.ends), (Some(date(2027, 2, 1)), Some(date(2028, 2, 15))));
}

#[test]
fn a_probe_reads_the_accounts_rules() {
    assert_eq!(destination("").probe(Timestamp::UNIX_EPOCH), None);
    let destination = destination("account_id = 507");
    let call = destination.probe(Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!((call.method, call.body.len()), ("GET", 0));
    assert!(call.url.ends_with("account=urn%3Ali%3AsponsoredAccount%3A507"), "{}", call.url);
    let answer = |status| {
        let response =
            Response { status, headers: Vec::new(), body: b"{\"elements\":[]}".to_vec() };
        destination.classify(&call, &response, Timestamp::UNIX_EPOCH).fault
    };
    assert_eq!(answer(200), None);
    assert!(answer(401).is_some() && answer(403).is_some());
}

#[test]
fn a_lead_is_named_by_its_urn() {
    assert_eq!(lead("ab-1"), "urn:li:leadGenFormResponse:ab-1");
    assert_eq!(lead("urn:li:leadGenFormResponse:ab-1"), "urn:li:leadGenFormResponse:ab-1");
}
