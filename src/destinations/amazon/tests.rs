use std::collections::BTreeMap;

use secrecy::SecretString;

use super::*;
use crate::{
    destinations::{Entry, Mode, answer::table::classified},
    identity::Memo,
};

fn settings(table: &str) -> Settings {
    let secret = |key: &str| (key.to_owned(), SecretString::from(format!("amazon-{key}")));
    Settings {
        name: "amazon".to_owned(),
        table: format!("account_id = \"1234567890\"\nclient_id = \"amzn1.x\"\n{table}")
            .parse()
            .unwrap(),
        secrets: BTreeMap::from([secret("client_secret"), secret("refresh_token")]),
        endpoint: PLATFORM.endpoint.to_owned(),
        token_endpoint: PLATFORM.token_endpoint.to_owned(),
        mode: Mode::Live,
        entries: BTreeMap::from([("purchase".to_owned(), vec![Entry::Standard])]),
    }
}

#[test]
fn every_answer_means_what_its_page_says() {
    let destination = configure(&settings("region = \"NA\"")).unwrap();
    let rows =
        |success: &str, error: &str| format!(r#"{{"success":[{success}],"error":[{error}]}}"#);
    let good = |index: u8| format!(r#"{{"index":{index},"event":{{}}}}"#);
    let bad = |index: u8, code: &str| {
        format!(
            r#"{{"index":{index},"errors":[{{"code":"{code}","fieldLocation":"events[{index}].eventTime","message":"no"}}]}}"#
        )
    };
    let all = [good(0), good(1), good(2)].join(",");
    let two = [good(0), good(2)].join(",");
    let only = [bad(0, "BAD_REQUEST"), bad(1, "BAD_REQUEST"), bad(2, "BAD_REQUEST")].join(",");
    let located = r#"{"errors":[{"code":"BAD_REQUEST","fieldLocation":"events[1].eventTime","message":"no"}]}"#;
    for (status, body, told) in [
        (207, rows(&all, ""), "ddd"),
        (200, rows(&all, ""), "ddd"),
        (207, format!(r#"{{"success":[{all}]}}"#), "ddd"),
        (207, rows(&two, &bad(1, "BAD_REQUEST")), "drd BAD_REQUEST"),
        (207, rows("", &only), "rrr BAD_REQUEST"),
        (207, rows(&two, &bad(1, "INTERNAL_ERROR")), "dyd"),
        (207, rows(&two, &bad(1, "THROTTLED")), "dyd"),
        (207, rows(&two, r#"{"index":1,"errors":[]}"#), "drd error"),
        (207, rows(&two, ""), "dyd"),
        (207, rows(&all, &bad(1, "BAD_REQUEST")), "drd BAD_REQUEST"),
        (207, rows(&all, &bad(99, "BAD_REQUEST")), "ddd"),
        (207, "{}".to_owned(), "uuu"),
        (200, "OK".to_owned(), "uuu"),
        (400, r#"{"code":"BAD_REQUEST","message":"no events"}"#.to_owned(), "ccc BAD_REQUEST"),
        (400, located.to_owned(), "srs BAD_REQUEST"),
        (400, "no JSON".to_owned(), "ccc http_400"),
        (422, r#"{"message":"no"}"#.to_owned(), "ccc http_422"),
        (401, r#"{"code":"UNAUTHORIZED"}"#.to_owned(), "ppp Unauthorized http_401"),
        (
            403,
            r#"{"code":"FORBIDDEN","details":"terms"}"#.to_owned(),
            "ppp Misconfigured FORBIDDEN",
        ),
        (403, String::new(), "ppp Misconfigured http_403"),
        (413, String::new(), "lll"),
        (429, r#"{"code":"TOO_MANY_REQUESTS"}"#.to_owned(), "ttt"),
        (500, String::new(), "uuu"),
        (504, "<html>".to_owned(), "uuu"),
    ] {
        assert_eq!(classified(&*destination, 3, status, &body), told, "{status} {body}");
    }
}

#[test]
fn each_region_has_its_host_and_an_endpoint_of_ones_own_serves_all() {
    let url = |table: &str, endpoint: Option<&str>| {
        let mut settings = settings(table);
        settings.endpoint = endpoint.unwrap_or(&settings.endpoint).to_owned();
        let found = format!("{:?}", configure(&settings).unwrap());
        found.split("url: \"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    let path = "/adsApi/v1/create/events";
    for (region, host) in [
        ("NA", "advertising-api.amazon.com"),
        ("eu", "advertising-api-eu.amazon.com"),
        ("FE", "advertising-api-fe.amazon.com"),
    ] {
        let table = format!("region = \"{region}\"");
        assert_eq!(url(&table, None), format!("https://{host}{path}"));
        let own = Some("http://127.0.0.1:9100/amazon/");
        assert_eq!(url(&table, own), format!("http://127.0.0.1:9100/amazon{path}"));
    }
}

#[test]
fn every_problem_is_named_at_once() {
    let table = "region = \"US\"\ndata_set = \"1abc\"\ncountry = \"USA\"\nphone_plus = true\n\
                 custom_data = [\"a b\"]\nattribute_values = \"all\"\nretry_codes = \"X\"\nmore_currencies = [\"XYZ\"]\nmax_age_days = 0";
    let mut settings = settings(table);
    settings.secrets.clear();
    settings.table.insert("account_id".to_owned(), "ENTITY1".into());
    settings.entries.insert("odd".to_owned(), vec![Entry::Standard]);
    let problems = configure(&settings).unwrap_err();
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "account_id",
            "region",
            "data_set",
            "country",
            "custom_data",
            "more_currencies",
            "attribute_values",
            "retry_codes",
            "max_age_days",
            "client_secret",
            "refresh_token",
            "events.odd"
        ]
    );
}

#[test]
fn an_attribute_is_listed_once() {
    let table = "region = \"NA\"\ncustom_data = [\"tier\", \"brand\", \"tier\"]";
    let problems = configure(&settings(table)).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("\"tier\" is listed twice"), "{problems:?}");
}

#[test]
fn currencies_are_amazons_and_the_settings() {
    let takes = |table: &str, code: &str| {
        let destination = configure(&settings(table)).unwrap();
        destination.takes_currency(Currency::parse(code).unwrap())
    };
    assert!(takes("region = \"NA\"", "USD") && takes("region = \"NA\"", "JPY"));
    assert!(!takes("region = \"NA\"", "PLN"));
    assert!(takes("region = \"NA\"\nmore_currencies = [\"PLN\"]", "PLN"));
}

#[test]
fn a_phone_number_is_hashed_with_its_plus_only_where_the_settings_say_so() {
    let hash = |takes: &[Take]| {
        let take = takes.iter().find(|take| take.field == Field::Phone).unwrap();
        match take.apply("+1 415 555 0000", None, &Memo::default()).unwrap() {
            super::super::Taken::Hashed(digest) => digest.hex(),
            other => panic!("{other:?}"),
        }
    };
    assert!(hash(&takes(Rule::PhoneDigits, Rule::EmailAmazon)).starts_with("ae9ef94e7ba18b14"));
    assert!(hash(&takes(Rule::PhoneE164, Rule::EmailAmazon)).starts_with("5a868a7ebcc6bf27"));
}

#[test]
fn codes_of_the_settings_pass_too() {
    let row = r#"{"success":[],"error":[{"index":0,"errors":[{"code":"BUSY","message":"no"}]}]}"#;
    let told = |table: &str| classified(&*configure(&settings(table)).unwrap(), 1, 207, row);
    assert_eq!(told("region = \"NA\""), "r BUSY");
    assert_eq!(told("region = \"NA\"\nretry_codes = [\"BUSY\"]"), "y");
}

#[test]
fn a_text_of_any_kind_is_an_attribute_where_the_settings_say_so() {
    use body::Values::{Any, Word};
    let of = |value: serde_json::Value, values| body::attribute(&value, values).ok();
    let is = |kind, text: &str| Some((kind, text.to_owned()));
    assert_eq!(of("gold_1".into(), Word), is("STRING", "gold_1"));
    assert_eq!(of("49.99".into(), Word), None);
    assert_eq!(of("49.99".into(), Any), is("STRING", "49.99"));
    assert_eq!(of(4999.into(), Word), is("INTEGER", "4999"));
    assert_eq!([of(49.99.into(), Word), of(49.99.into(), Any)], [None, is("STRING", "49.99")]);
    assert_eq!([of("".into(), Any), of(true.into(), Any)], [None, None]);
}
