//! Every platform's form of every adjustment, or the reason why there is none.

use std::fs;

use conversion_relay::{
    destinations::{Platform, REGISTRY, Refusal},
    sandbox::{self, Request},
};
use serde_json::{Value, json};

use crate::{
    fixtures::support,
    harness::{Folder, binary},
};

/// What was adjusted, and how: a whole refund, a part of one that says what the original was worth
/// and one that does not, a cancellation, a new value.
const KINDS: [(&str, &str, bool); 5] = [
    ("refund", r#"{"type": "refund"}"#, true),
    ("part", r#"{"type": "refund", "amount": "20.00"}"#, true),
    ("part of what", r#"{"type": "refund", "amount": "20.00"}"#, false),
    ("cancel", r#"{"type": "cancel"}"#, true),
    ("restate", r#"{"type": "restate", "amount": "99.99"}"#, true),
];

/// What platforms with a form make of them; all others refuse each as unsupported. Where the sheet
/// names no form, there is none.
fn expected(platform: &str, kind: &str) -> Option<String> {
    let google = |value: &str| format!(r#"["1001",{value},"USD"]"#);
    let form = match (platform, kind) {
        ("ga4", "refund" | "cancel") => r#"["refund","1001",129.9,"USD"]"#.to_owned(),
        ("ga4", "part" | "part of what") => r#"["refund","1001",20,"USD"]"#.to_owned(),
        ("google_ads", "refund" | "cancel") => google("0"),
        ("google_ads", "part") => google("109.9"),
        ("google_ads", "restate") => google("99.99"),
        ("google_ads_upload", "refund" | "cancel") => r#"["RETRACTION","1001",null]"#.to_owned(),
        ("google_ads_upload", "part") => {
            r#"["RESTATEMENT","1001",{"adjustedValue":109.9,"currencyCode":"USD"}]"#.to_owned()
        }
        ("google_ads_upload", "restate") => {
            r#"["RESTATEMENT","1001",{"adjustedValue":99.99,"currencyCode":"USD"}]"#.to_owned()
        }
        ("microsoft_offline", "refund" | "cancel") => r#"["Retract","1001",null,null]"#.to_owned(),
        ("microsoft_offline", "part") => r#"["Restate","1001",109.9,"USD"]"#.to_owned(),
        ("microsoft_offline", "restate") => r#"["Restate","1001",99.99,"USD"]"#.to_owned(),
        _ => return None,
    };
    Some(form)
}

/// The part of a request that says what is adjusted, and how.
fn form(platform: &str, body: &Value) -> Value {
    match platform {
        "ga4" => {
            let event = &body["events"][0];
            let params = &event["params"];
            json!([event["name"], params["transaction_id"], params["value"], params["currency"]])
        }
        "google_ads" => {
            let event = &body["events"][0];
            assert!(event["lastUpdatedTimestamp"].is_string(), "{event}");
            json!([event["transactionId"], event["conversionValue"], event["currency"]])
        }
        "google_ads_upload" => {
            let row = &body["conversionAdjustments"][0];
            json!([row["adjustmentType"], row["orderId"], row["restatementValue"]])
        }
        "microsoft_offline" => {
            let row = &body["OnlineConversionAdjustments"][0];
            json!([
                row["AdjustmentType"],
                row["TransactionId"],
                row["AdjustmentValue"],
                row["AdjustmentCurrencyCode"]
            ])
        }
        _ => Value::Null,
    }
}

fn adjustment(platform: &Platform, event: &str, adjusts: &str, says_original: bool) -> Value {
    let path = support::folder(platform.name).join("purchase/event.json");
    let mut json: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    json["event"] = json!(event);
    json["event_id"] = json!("adjustment-1");
    json["adjusts"] = serde_json::from_str(adjusts).unwrap();
    json["adjusts"]["order_id"] = json!("1001");
    let properties = json["properties"].as_object_mut().unwrap();
    properties.remove("order_id");
    if !says_original {
        properties.remove("value");
    }
    json
}

#[test]
fn every_platform_has_its_form_of_an_adjustment_or_says_why_not() {
    let mut wrong = Vec::new();
    for platform in REGISTRY.iter().filter(|platform| platform.name != "webhook") {
        let destination = support::destination(platform);
        for (kind, adjusts, says_original) in KINDS {
            let name = if platform.name == "ga4" { "refund" } else { "purchase" };
            let event = adjustment(platform, name, adjusts, says_original).to_string();
            let (_, prepared) = support::prepare(&*destination, platform, &support::event(&event));
            let found = match prepared {
                Ok(preparation) => {
                    let calls = destination.assemble(&[preparation.prepared], support::now());
                    assert_eq!(calls.len(), 1, "{} {kind}", platform.name);
                    let (url, headers, body) = (&calls[0].url, &calls[0].headers, &calls[0].body);
                    let request = Request { method: calls[0].method, url, headers, body };
                    let verdict = sandbox::check(platform.name, request, support::now()).unwrap();
                    assert!(verdict.is_accepted(), "{} {kind} {verdict:?}", platform.name);
                    let body: Value = serde_json::from_slice(body).unwrap();
                    Some(form(platform.name, &body).to_string())
                }
                Err(Refusal::Skip(skip)) => {
                    assert_eq!(skip.code.name(), "unsupported", "{} {kind}", platform.name);
                    assert!(skip.message.len() > 20, "{}: {}", platform.name, skip.message);
                    None
                }
                Err(held) => panic!("{} {kind}: {held:?}", platform.name),
            };
            let expected = expected(platform.name, kind);
            if found != expected {
                wrong.push(format!("{} {kind}: {found:?} instead of {expected:?}", platform.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_street_gives_an_adjustment_the_currency_of_its_site_and_check_warns() {
    let folder = Folder::shipped();
    folder.edit("events.toml", |text| {
        text.replace("ga4 = \"refund\"\n", "ga4 = \"refund\"\nmeta = \"Purchase\"\n")
    });
    let output = binary().args(["check", "--config"]).arg(folder.config()).output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let warned = said.lines().find(|line| line.contains("no form of any adjustment")).unwrap();
    assert!(warned.contains("events.refund.destinations.meta"), "{warned}");
    assert_eq!(said.matches("no form of any adjustment").count(), 1, "{said}");

    let event = json!({"event": "refund", "event_id": "r-1", "site": "shop_us",
        "timestamp": "2026-11-22T03:00:00Z", "user": {"email": "jane.doe@example.com"},
        "consent": {"ad_storage": "granted", "ad_user_data": "granted",
            "ad_personalization": "granted", "analytics_storage": "granted", "region": "US-NY"},
        "click_ids": {"ga_client_id": "1.2", "gclid": "EAIaIQ"}, "properties": {"value": "129.90"},
        "adjusts": {"event_id": "never-seen", "type": "refund", "amount": "20",
            "timestamp": "2026-11-01T10:00:00Z"}});
    let file = folder.config().join("event.json");
    fs::write(&file, event.to_string()).unwrap();
    let output = binary()
        .args(["explain", "--now", "2026-11-22T04:00:00Z", "--config"])
        .args([folder.config().as_os_str(), file.as_os_str()])
        .output()
        .await
        .unwrap();
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    let body = |name: &str| &line["destinations"][name]["requests"][0]["body"]["events"][0];
    assert_eq!(body("ga4")["params"]["value"], 20, "{line:#}");
    assert_eq!(body("ga4")["params"]["currency"], "USD", "the site's");
    let google = body("google_ads");
    assert_eq!(google["conversionValue"].to_string(), "109.9", "{line:#}");
    assert_eq!(google["eventTimestamp"], "2026-11-01T10:00:00Z", "when the original happened");
    assert_eq!(google["lastUpdatedTimestamp"], "2026-11-22T03:00:00Z");
    let meta = &line["destinations"]["meta"];
    assert_eq!(
        (&meta["decision"], &meta["reasons"][0]["code"]),
        (&json!("skip"), &json!("unsupported"))
    );
}
