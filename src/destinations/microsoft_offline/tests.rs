use super::*;
use crate::destinations::{Mode, answer::table::classified};

fn settings(table: &str, entries: &[(&str, Entry)]) -> Settings {
    let secret = |key: &str| (key.to_owned(), SecretString::from("offline-secret".to_owned()));
    Settings {
        name: "offline".to_owned(),
        table: table.parse().unwrap(),
        secrets: BTreeMap::from([secret("refresh_token"), secret("developer_token")]),
        endpoint: PLATFORM.endpoint.to_owned(),
        token_endpoint: PLATFORM.token_endpoint.to_owned(),
        mode: Mode::Live,
        entries: entries.iter().map(|(e, n)| ((*e).to_owned(), vec![n.clone()])).collect(),
    }
}

fn destination(more: &str) -> Box<dyn Destination> {
    let table = format!("account_id = 1\ncustomer_id = 2\nclient_id = \"app\"\n{more}");
    configure(&settings(&table, &[("purchase", Entry::Name("Goal".to_owned()))])).unwrap()
}

#[test]
fn every_answer_means_what_its_page_says() {
    let destination = destination("");
    let rows = |errors: &[(&str, i64, &str)]| {
        let one = |(index, code, name): &(&str, i64, &str)| {
            format!(
                "{{\"Index\":{index},\"Code\":{code},\"ErrorCode\":\"{name}\",\"Message\":\"m\"}}"
            )
        };
        let errors: Vec<String> = errors.iter().map(one).collect();
        format!("{{\"PartialErrors\":[{}]}}", errors.join(","))
    };
    let fault = |list: &str, code: i64, name: &str| {
        format!(
            "{{\"TrackingId\":\"t\",\"{list}\":[{{\"Code\":{code},\"ErrorCode\":\"{name}\"}}]}}"
        )
    };
    let second = |code, name| rows(&[("1", code, name)]);
    for (status, body, told) in [
        (200, rows(&[]), "ddd"),
        (200, "{\"PartialErrors\":null}".to_owned(), "ddd"),
        (200, "{\"PartialErrors\":[null,null]}".to_owned(), "ddd"),
        (
            200,
            second(5609, "OfflineConversionTimeOutOfWindow"),
            "drd OfflineConversionTimeOutOfWindow",
        ),
        (200, second(5602, "NoName"), "drd NoName"),
        (200, second(5614, "InFuture"), "drd InFuture"),
        (200, second(5616, "EarlierThanClick"), "drd EarlierThanClick"),
        (200, second(5624, "NoValue"), "drd NoValue"),
        (200, second(5627, ""), "drd 5627"),
        (200, second(5612, "ApplyFailed"), "dud"),
        (200, second(5615, "NewGoal"), "dyd"),
        (200, second(5613, "Pilot"), "dpd Misconfigured Pilot"),
        (200, rows(&[("0", 5602, "A"), ("0", 5612, "B"), ("7", 5602, "C")]), "rdd A"),
        (200, rows(&[("null", 0, "InternalError")]), "uuu"),
        (200, rows(&[("null", 5602, "X")]), "ccc X"),
        (200, "{}".to_owned(), "uuu"),
        (200, "<html>".to_owned(), "uuu"),
        (400, fault("OperationErrors", 5600, "Empty"), "ccc Empty"),
        (400, fault("OperationErrors", 5601, "Limit"), "lll"),
        (400, fault("Errors", 106, "NotAuthorised"), "ppp Unauthorized NotAuthorised"),
        (401, fault("Errors", 109, "Expired"), "ppp Unauthorized Expired"),
        (500, fault("Errors", 105, "Credentials"), "ppp Unauthorized Credentials"),
        (500, fault("Errors", 117, "CallRateExceeded"), "ttt"),
        (500, fault("Errors", 0, "InternalError"), "uuu"),
        (500, fault("Errors", 4711, "Other"), "uuu"),
        (401, String::new(), "ppp Unauthorized http_401"),
        (404, String::new(), "ppp Misconfigured http_404"),
        (413, String::new(), "lll"),
        (429, String::new(), "ttt"),
        (503, "busy".to_owned(), "uuu"),
    ] {
        assert_eq!(classified(&*destination, 3, status, &body), told, "{status} {body}");
    }
    let row = "{\"BatchErrors\":[{\"Index\":1,\"Code\":5605,\"ErrorCode\":\"Click\"}]}";
    assert_eq!(classified(&*destination, 3, 400, row), "srs Click");
}

#[test]
fn the_token_is_had_where_the_tenant_is_and_is_replaced() {
    let auth = destination("tenant = \"contoso.example\"").auth();
    let Auth::OAuthRotating { token_url, client_secret, extra, headers, .. } = auth else {
        panic!("it rotates")
    };
    assert_eq!(token_url, "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token");
    assert!(client_secret.is_none(), "a public application has none");
    assert_eq!(extra, [("scope", SCOPE.to_owned())]);
    assert_eq!(headers[0].0, "developertoken");
}

#[test]
fn every_problem_is_named_at_once() {
    let table = "account_id = \"X12\"\nclient_id = \"a\"\ntenant = \"a/b\"\nneeds_click_id = 1";
    let entries = [("a", Entry::Standard), ("b", Entry::Name("x".repeat(101)))];
    let problems = configure(&settings(table, &entries)).unwrap_err();
    let paths: Vec<String> = problems.into_iter().map(|problem| problem.path).collect();
    let all = ["account_id", "customer_id", "tenant", "needs_click_id", "events.a", "events.b"];
    assert_eq!(paths, all);
}

#[test]
fn a_probe_sends_no_event_and_is_refused_as_empty() {
    let destination = destination("");
    let call = destination.probe(Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(call.body, b"{\"OfflineConversions\":[]}");
    let body = br#"{"OperationErrors":[{"Code":5600,"ErrorCode":"Empty"}]}"#.to_vec();
    let response = Response { status: 400, headers: Vec::new(), body };
    assert!(destination.classify(&call, &response, Timestamp::UNIX_EPOCH).fault.is_none());
}
