use std::collections::BTreeMap;

use secrecy::SecretString;

use super::*;
use crate::destinations::Entry;

fn settings(table: &str) -> Settings {
    let secret = |key: &str| (key.to_owned(), SecretString::from("google_ads-secret".to_owned()));
    let entry: toml::Table = "conversion_action = 1".parse().unwrap();
    Settings {
        name: "google_ads".to_owned(),
        table: table.parse().unwrap(),
        secrets: BTreeMap::from([secret("client_secret"), secret("refresh_token")]),
        endpoint: PLATFORM.endpoint.to_owned(),
        token_endpoint: PLATFORM.token_endpoint.to_owned(),
        mode: Mode::Live,
        entries: BTreeMap::from([("purchase".to_owned(), vec![Entry::Table(entry)])]),
    }
}

#[test]
fn every_problem_is_named_at_once() {
    let mut settings = settings("customer_id = \"12\"\nmax_age_days = 0\nretraction = \"never\"");
    settings.entries.insert("other".to_owned(), vec![Entry::Standard]);
    let paths: Vec<String> =
        configure(&settings).unwrap_err().into_iter().map(|problem| problem.path).collect();
    assert_eq!(paths, ["customer_id", "max_age_days", "retraction", "client_id", "events.other"]);
}

#[test]
fn tokens_come_from_the_vendor_or_from_elsewhere() {
    let mut settings = settings("customer_id = \"123-456-7890\"\nclient_id = \"app\"");
    let Auth::OAuthRefresh { token_url, .. } = configure(&settings).unwrap().auth() else {
        panic!("not a refresh token")
    };
    assert_eq!(token_url, "https://oauth2.googleapis.com/token");
    settings.table.remove("client_id");
    settings.secrets =
        BTreeMap::from([("service_account".to_owned(), SecretString::from("{}".to_owned()))]);
    settings.token_endpoint = "http://127.0.0.1:9100/".to_owned();
    let Auth::ServiceAccount { token_url, scope, .. } = configure(&settings).unwrap().auth() else {
        panic!("not a service account")
    };
    assert_eq!((token_url.as_str(), scope), ("http://127.0.0.1:9100/token", SCOPE));
}

#[test]
fn a_probe_is_validated_and_never_ingested() {
    let settings = settings("customer_id = 1234567890\nclient_id = \"app\"");
    let call = configure(&settings).unwrap().probe(Timestamp::UNIX_EPOCH).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
    assert_eq!(body["validateOnly"], true);
    assert_eq!(body["destinations"][0]["productDestinationId"], "1");
}

#[test]
fn people_of_unknown_places_may_be_in_europe() {
    let at = |region: Option<&str>| may_be_in_eea_uk_ch(&region.map(str::to_owned));
    assert!(at(None) && at(Some("DE")) && at(Some("GB-ENG")) && at(Some("CH")));
    assert!(!at(Some("US-CA")));
}
