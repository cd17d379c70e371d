//! Every platform of the registry in one relay, configured by its own fixtures: a purchase with all
//! that any of them asks for reaches each one's sandbox, signed and paid in its own way.

use std::fmt::Write as _;

use conversion_relay::destinations::{KeyKind, Platform, REGISTRY};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::harness::{Folder, Relay, assert_balanced, binary, purchase};

fn fixture(platform: &str, file: &str) -> String {
    let path = format!("{}/tests/fixtures/{platform}/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A platform's section, its secrets as references, and its entries for a purchase.
fn section(platform: &Platform) -> (String, toml::Value) {
    let mut table: toml::Table = fixture(platform.name, "settings.toml").parse().unwrap();
    let entries = table["events"]["purchase"].clone();
    table.remove("events");
    for key in platform.keys.iter().filter(|key| key.kind == KeyKind::Secret) {
        if let Some(value) = table.get_mut(key.name) {
            let name = format!("{}_{}", platform.name, key.name).to_uppercase();
            *value = toml::Value::Table(toml::Table::from_iter([("env".to_owned(), name.into())]));
        }
    }
    table.insert("platform".to_owned(), platform.name.into());
    table.insert("sites".to_owned(), vec!["shop_us"].into());
    let whole = toml::Table::from_iter([(platform.name.to_owned(), table.into())]);
    (toml::to_string(&whole).unwrap(), entries)
}

fn folder() -> Folder {
    let folder = Folder::shipped();
    let (mut destinations, mut consent) = (String::new(), String::new());
    let mut entries = toml::Table::new();
    for platform in REGISTRY {
        let (section, entry) = section(platform);
        writeln!(destinations, "{section}").unwrap();
        entries.insert(platform.name.to_owned(), entry);
        writeln!(
            consent,
            "[destinations.{}]\nneeds = [\"ad_storage\"]\n\
             may_send = [\"user\", \"context\", \"click_ids\", \"lead\", \"properties\"]",
            platform.name
        )
        .unwrap();
    }
    let event = toml::Table::from_iter([
        ("kind".to_owned(), "macro".into()),
        ("destinations".to_owned(), entries.into()),
    ]);
    let events = toml::Table::from_iter([("purchase".to_owned(), event.into())]);
    let plan = toml::Table::from_iter([("events".to_owned(), events.into())]);
    let rates = "[rates]\nfile = \"rates.csv\"\n";
    folder.write("destinations.toml", &destinations);
    folder.write("events.toml", &format!("{rates}{}", toml::to_string(&plan).unwrap()));
    let regions = "version = \"1\"\nregion_from = [\"event\"]\n\
                   [regions.us]\nmatch = [\"US\"]\nmodel = \"opt_out\"\n\
                   [regions.other]\nmatch = [\"*\"]\nmodel = \"opt_in\"\n";
    folder.write("consent.toml", &format!("{regions}{consent}"));
    folder
}

/// What the harness buys, with every platform's click ids.
fn bought(id: &str) -> Value {
    let mut event = purchase(id);
    for platform in REGISTRY {
        let own: Value =
            serde_json::from_str(&fixture(platform.name, "purchase/event.json")).unwrap();
        for (key, value) in own["click_ids"].as_object().into_iter().flatten() {
            if key != "clicked_at" {
                event["click_ids"][key] = value.clone();
            }
        }
    }
    event
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purchase_reaches_each_in_one_run() {
    // Kept: with it the data goes.
    let folder = folder();
    let relay = Relay::start(&folder).await;
    let (status, answer) = relay.post(&bought("everywhere-1")).await;
    assert_eq!((status, &answer["accepted"]), (202, &Value::from(1)), "{answer}");
    let stats = relay.drained().await;
    assert_balanced(&stats);
    for platform in REGISTRY {
        let name = platform.name;
        let received = relay.received(name).await;
        let refused: Vec<_> = received
            .iter()
            .flat_map(|line| line["refused"].as_array().cloned().unwrap_or_default())
            .collect();
        assert!(refused.is_empty(), "{name}: {refused:?}");
        let taken = received
            .iter()
            .flat_map(|line| line["accepted"].as_array().cloned().unwrap_or_default())
            .count();
        let books = &stats["destinations"][name];
        assert!(taken > 0, "{name} got nothing: {books:#} {received:#?}");
        assert_eq!(books["delivered"], taken, "{name} {books:#}");
    }
    relay.stop().await;
}

/// What `explain` says of a purchase in a currency, for one destination.
async fn explained(folder: &Folder, currency: &str, destination: &str) -> Value {
    let mut event = bought("currency-1");
    event["properties"]["currency"] = currency.into();
    event["timestamp"] = "2026-11-22T03:00:00Z".into();
    explained_event(folder, &event).await["destinations"][destination].clone()
}

/// What `explain` says of an event.
async fn explained_event(folder: &Folder, event: &Value) -> Value {
    let mut command = binary();
    command.args(["explain", "--now", "2026-11-22T04:00:00Z", "-", "--config"]);
    let mut child = command
        .arg(folder.config())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(event.to_string().as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_currency_that_is_not_taken_is_converted_or_skipped() {
    let folder = folder();
    let skipped = explained(&folder, "PLN", "amazon").await;
    assert_eq!(skipped["decision"], "skip", "{skipped:#}");
    assert_eq!(skipped["reasons"][0]["code"], "currency");
    folder.edit("rates.csv", |text| format!("{text}PLN,4.2500,2026-11-20\n"));
    // To the site's currency: 129.90 / 4.25 * 1.1592.
    let sent = explained(&folder, "PLN", "amazon").await;
    assert_eq!(sent["decision"], "send", "{sent:#}");
    let event = &sent["requests"][0]["body"]["events"][0];
    let money = (event["value"].to_string(), event["currencyCode"].clone());
    assert_eq!(money, ("35.43".to_owned(), "USD".into()));
    // One that takes all currencies gets it as it came.
    let body = explained(&folder, "PLN", "x").await["requests"][0]["body"].clone();
    assert_eq!(body["conversions"][0]["price_currency"], "PLN");
}

/// What GA4 gets of an event's money, and what the trace says of it.
async fn money(folder: &Folder, properties: Value) -> (Value, Value) {
    let mut event = bought("money-1");
    event["timestamp"] = "2026-11-22T03:00:00Z".into();
    event["properties"] = properties;
    let told = explained_event(folder, &event).await["destinations"]["ga4"].clone();
    let params = &told["requests"][0]["body"]["events"][0]["params"];
    let item = &params["items"][0];
    let amounts = json!([
        params["currency"],
        params["value"],
        params["tax"],
        params["shipping"],
        item["price"],
        item["discount"]
    ]);
    (amounts, told["reasons"].clone())
}

#[tokio::test]
async fn all_the_money_of_an_event_is_in_one_currency() {
    let items = json!([{"id": "SKU-1", "price": "99.90", "discount": "1"}]);
    let properties = |currency: &str| {
        json!({"value": "129.90", "currency": currency, "order_id": "m-1", "tax": "9.90",
            "shipping": "5.00", "items": items})
    };
    let folder = folder();
    let as_it_came = |currency: &str| json!([currency, 129.9, 9.9, 5, 99.9, 1]);
    assert_eq!(money(&folder, properties("KWD")).await, (as_it_came("KWD"), json!([])));
    // The site's currency is that of every amount.
    assert_eq!(money(&folder, properties("")).await, (as_it_came("USD"), json!([])));
    // Each by the same rate, rounded as the value is: divided by 1.1592.
    folder.edit("destinations.toml", |text| text.replacen("[ga4]", "[ga4]\ncurrency = \"EUR\"", 1));
    let converted = json!(["EUR", 112.06, 8.54, 4.31, 86.18, 0.86]);
    assert_eq!(money(&folder, properties("USD")).await, (converted, json!([])));
    // What cannot be converted is left out, and the trace says what.
    folder.edit("events.toml", |text| {
        let value = "value = { fixed = \"5.00\", currency = \"EUR\" }";
        text.replacen("[events.purchase]", &format!("[events.purchase]\n{value}"), 1)
    });
    let (amounts, reasons) = money(&folder, properties("KWD")).await;
    assert_eq!(amounts, json!(["EUR", 5, null, null, null, null]));
    assert_eq!(reasons[0]["code"], "fields_removed", "{reasons}");
    let message = reasons[0]["message"].as_str().unwrap();
    let left_out = "properties.shipping, properties.tax, properties.items.price left out: in KWD";
    assert!(message.starts_with(left_out), "{message}");
}

#[tokio::test]
async fn an_explained_signature_is_hidden() {
    let folder = folder();
    let shown = explained(&folder, "USD", "x").await;
    assert_eq!(shown["requests"][0]["headers"]["authorization"], "OAuth [REDACTED]");
}

#[tokio::test]
async fn items_that_are_cut_are_said() {
    let folder = folder();
    let mut event = bought("items-1");
    event["timestamp"] = "2026-11-22T03:00:00Z".into();
    let items = (0..250).map(|n| serde_json::json!({"id": format!("SKU-{n}"), "price": 1}));
    event["properties"]["items"] = items.collect();
    let line = explained_event(&folder, &event).await;
    let ga4 = &line["destinations"]["ga4"];
    assert_eq!(ga4["decision"], "send", "{ga4:#}");
    let sent = &ga4["requests"][0]["body"]["events"][0]["params"]["items"];
    assert_eq!(sent.as_array().map(Vec::len), Some(200));
    let reason = &ga4["reasons"][0];
    assert_eq!(reason["code"], "fields_removed", "{reason}");
    let message = reason["message"].as_str().unwrap();
    assert!(message.starts_with("50 items cut from the end"), "{message}");
    assert_eq!(line["destinations"]["meta"]["reasons"], serde_json::json!([]));
}

/// Amazon's and The Trade Desk's requests for an event with this consent, or why there is none.
async fn strings(folder: &Folder, consent: Value) -> (Value, Value) {
    let mut event = bought("strings-1");
    event["timestamp"] = "2026-11-22T03:00:00Z".into();
    event["consent"] = consent;
    let line = explained_event(folder, &event).await;
    let of = |name: &str, path: &str| {
        let told = &line["destinations"][name];
        told["requests"][0]["body"].pointer(path).unwrap_or(&told["decision"]).clone()
    };
    (of("amazon", "/events/0/consent"), of("the_trade_desk", "/data/0/privacy_settings"))
}

/// Raw strings go where the pages have a place for them, as they came, and only those that were
/// decided on.
#[tokio::test]
async fn consent_strings_go_as_they_came_or_not_at_all() {
    // Everything granted to every vendor, and the same with another screen.
    const TCF: &str = "CQlH_MAQlH_MAAcADBENCyFgALIAAAAAAAYgnEQAYAAicQAAAAAA.Iu4QAYAAi7gA";
    const GPP: &str = "DBABTA~1YNN";
    let folder = folder();
    let granted = json!({"amznUserData": "GRANTED", "amznAdStorage": "GRANTED"});
    let (amazon, desk) =
        strings(&folder, json!({"region": "DE", "tcf": TCF, "gpp": GPP, "gpp_sid": [6]})).await;
    assert_eq!(amazon, json!({"amazonConsent": granted, "tcf": TCF, "gpp": GPP}));
    let setting = json!({"privacy_type": "GDPR", "is_applicable": true, "consent_string": TCF});
    assert_eq!(desk, json!([setting]));
    // A macro that nothing filled, and none at all.
    let all = json!({"region": "US", "ad_storage": "granted", "ad_user_data": "granted",
        "tcf": "${GDPR_CONSENT_793}"});
    let (amazon, desk) = strings(&folder, all).await;
    assert!(amazon.get("tcf").is_none() && amazon["amazonConsent"] == granted, "{amazon}");
    assert_eq!(desk, "send");
    // What refuses, or cannot be read, goes nowhere.
    let (amazon, desk) = strings(&folder, json!({"region": "DE", "tcf": "CX"})).await;
    assert_eq!((amazon, desk), ("held".into(), "held".into()));
    let denied = json!({"region": "DE", "tcf": TCF, "ad_storage": "denied"});
    assert_eq!(strings(&folder, denied).await, ("held".into(), "held".into()));
    // Not heard where GDPR does not apply and the rules trust that, so that it is not sent either.
    let trusting = self::folder();
    trusting.edit("consent.toml", |text| format!("trust_gdpr_applies = true\n{text}"));
    let elsewhere = json!({"region": "US", "tcf": TCF, "gdpr_applies": false});
    let (amazon, desk) = strings(&trusting, elsewhere.clone()).await;
    assert!(amazon.get("tcf").is_none(), "{amazon}");
    assert_eq!(desk, "send");
    assert_eq!(strings(&folder, elsewhere).await.0["tcf"], TCF);
}
