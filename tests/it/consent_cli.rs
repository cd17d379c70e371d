//! Consent on the command line: `consent decode`, and what `explain` prints of it.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::strings::{Tc, gpp, usca};

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_conversion-relay"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The shipped configuration with a database of regions.
fn with_database() -> tempfile::TempDir {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().unwrap();
    for name in ["relay.toml", "events.toml", "consent.toml", "destinations.toml", "rates.csv"] {
        let text = std::fs::read_to_string(root.join("config").join(name)).unwrap();
        let text = match name {
            "relay.toml" => {
                text.replace("# geoip = \"GeoLite2-Country.mmdb\"", "geoip = \"regions.mmdb\"")
            }
            "consent.toml" => text.replace(
                "region_from = [\"event\", \"header:CF-IPCountry\"]",
                "region_from = [\"event\", \"header:CF-IPCountry\", \"geoip\"]",
            ),
            _ => text,
        };
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    std::fs::copy(root.join("tests/vectors/regions.mmdb"), dir.path().join("regions.mmdb"))
        .unwrap();
    dir
}

#[test]
fn decode_answers_every_line() {
    let input = [
        json!({"tcf": Tc::default().text(), "us_privacy": "1YNN", "region": "DE"}),
        json!({"gpp": gpp(&[(8, usca(1, 2, 0, [2, 2, 2]) + ".YA")]), "ad_storage": "granted", "cookies": {"OptanonConsent": "interactionCount=1&groups=C0004:0"}}),
        json!({"tcf": "nonsense"}),
    ];
    let input = input.map(|line| line.to_string()).join("\n");
    let output = run(&["consent", "decode"], &input);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines = lines(&output);
    assert_eq!(lines.len(), 3);
    let mut keys: Vec<&String> = lines[0].as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["decoded", "errors", "grants", "opt_out"]);
    assert_eq!(lines[0]["decoded"]["tcf"]["purpose_consents"], json!([1, 2, 3, 4, 7, 9, 10]));
    assert_eq!(
        lines[0]["decoded"]["tcf"]["vendor_consents"],
        json!([[755, 755], [804, 804], [1126, 1126]])
    );
    assert_eq!(
        lines[0]["grants"],
        json!({"ad_storage": "granted", "ad_user_data": "granted", "ad_personalization": "granted", "analytics_storage": "not_asked"})
    );
    assert_eq!(
        lines[1]["opt_out"],
        json!({"sale": true, "sharing": true, "targeted": true, "sources": ["gpp:usca"]})
    );
    assert_eq!(lines[1]["grants"]["ad_storage"], "denied");
    assert_eq!(lines[2]["grants"]["ad_storage"], "denied");
    assert_eq!(lines[2]["errors"][0]["code"], "version");

    let output = run(&["consent", "decode"], "{\"tfc\": \"C\"}\n[]\n{\"us_privacy\": \"1---\"}\n");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let lines = self::lines(&output);
    assert_eq!(lines.len(), 3);
    assert!(lines[0]["errors"][0]["message"].as_str().unwrap().contains("\"tcf\""));
    let errors =
        |line: &Value| (line["errors"][0]["code"].clone(), line["errors"][0]["path"].clone());
    assert_eq!(errors(&lines[0]), (json!("unknown_field"), json!("/tfc")));
    assert_eq!(errors(&lines[1]), (json!("invalid_field"), json!("")));
    assert_eq!(lines[2]["decoded"]["us_privacy"]["opt_out_sale"], "-");
}

#[test]
fn explain_shows_every_signal_and_who_it_is_for() {
    let dir = with_database();
    let config = dir.path().to_str().unwrap();
    let event = |consent: Value, context: Value| {
        json!({"event": "purchase", "event_id": "e-1", "site": "shop_us", "timestamp": "2026-11-22T04:00:00Z",
            "user": {"email": "jane@example.com", "country": "US"}, "context": context, "click_ids": {"gclid": "EAIaIQ", "fbp": "fb.1.1.2"},
            "consent": consent, "properties": {"value": 10, "currency": "USD", "order_id": "1"}})
    };
    let californian = json!({"ip": "192.0.2.1", "user_agent": "Mozilla/5.0", "page_url": "https://shop.example/"});
    let german = json!({"ip": "198.51.100.7", "user_agent": "Mozilla/5.0", "page_url": "https://shop.example/"});
    let input = [
        event(
            json!({"ad_storage": "granted", "ad_user_data": "granted", "ad_personalization": "denied",
            "analytics_storage": "granted", "gpp": gpp(&[(8, usca(1, 2, 0, [2, 2, 2]))]), "gpp_sid": [8], "us_privacy": "1YNN",
            "gpc": true, "gcs": "G111", "gcd": "13r3r3r3r5l1", "dnt": false, "opt_out": {"sale": false, "sharing": false, "targeted": false}}),
            californian,
        ),
        event(json!({"tcf": Tc::default().text()}), german.clone()),
        // A billing country is not where the visitor is.
        event(json!({}), json!({"page_url": "https://shop.example/"})),
        event(json!({"tcf": "nonsense"}), german),
    ];
    let input = input.map(|line| line.to_string()).join("\n");
    let output = run(&["explain", "--config", config, "--now", "2026-11-22T04:00:05Z"], &input);
    let lines = lines(&output);
    assert_eq!(lines.len(), 4, "{output:?}");
    assert_eq!(
        lines[0]["consent"],
        json!({"region": "US-CA", "model": "opt_out",
            "grants": {"ad_storage": "granted", "ad_user_data": "granted", "ad_personalization": "denied", "analytics_storage": "granted"},
            "opt_out": {"sale": true, "sharing": true, "targeted": true, "sources": ["gpp:usca", "gpc"]},
            "sources": ["consent_mode", "gpp:usca", "us_privacy", "gpc"]})
    );
    let meta = &lines[0]["destinations"]["meta"];
    assert_eq!(meta["decision"], "limited", "{meta:#}");
    assert_eq!(meta["reasons"][0]["code"], "opted_out");
    assert_eq!(meta["reasons"][0]["rule"], "meta/us");
    assert_eq!(meta["grants"], Value::Null, "no vendor makes them differ");

    let german = &lines[1];
    assert_eq!(german["consent"]["region"], "DE");
    assert_eq!(german["consent"]["sources"], json!(["tcf"]));
    assert_eq!(german["consent"]["grants"]["ad_storage"], "granted");
    let destination = |name: &str| &german["destinations"][name];
    assert_eq!(destination("meta")["decision"], "held");
    assert_eq!(destination("meta")["reasons"][0]["code"], "no_consent");
    assert_eq!(destination("meta")["grants"]["ad_storage"], "not_asked");
    assert_eq!(destination("google_ads")["decision"], "send", "{german:#}");
    assert_eq!(destination("google_ads")["grants"], Value::Null);

    assert_eq!(lines[2]["consent"]["region"], Value::Null);
    assert_eq!(lines[2]["destinations"]["google_ads"]["reasons"][0]["code"], "no_signal");

    assert_eq!(lines[3]["consent"]["errors"][0]["path"], "/tcf");
    let refused = &lines[3]["destinations"]["google_ads"]["reasons"][0];
    assert_eq!(refused["message"], "ad_storage is denied (tcf)");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("nonsense"));
}

#[test]
fn what_sdks_put_into_context_are_categories() {
    let dir = with_database();
    let consent = std::fs::read_to_string(dir.path().join("consent.toml")).unwrap();
    let consent = consent
        .replace("[categories]", "[categories]\nAdvertising = [\"ad_storage\", \"ad_user_data\"]");
    std::fs::write(dir.path().join("consent.toml"), consent).unwrap();
    let event = |context: Value| {
        json!({"event": "purchase", "site": "shop_eu", "user": {"email": "jane@example.com"}, "context": context, "click_ids": {"gclid": "EAIaIQ"},
            "consent": {"region": "DE"}, "properties": {"value": 10, "currency": "EUR", "order_id": "1"}})
        .to_string()
    };
    let cases = [
        (json!({"consent": {"categoryPreferences": {"Advertising": true}}}), "granted", "send"),
        (json!({"consent": {"categoryPreferences": {"Advertising": false}}}), "denied", "held"),
        (
            json!({"consentManagement": {"provider": "custom", "allowedConsentIds": ["Advertising"], "deniedConsentIds": []}}),
            "granted",
            "send",
        ),
        (
            json!({"consentManagement": {"allowedConsentIds": ["C0002", "Advertising"], "deniedConsentIds": ["Advertising"]}}),
            "denied",
            "held",
        ),
        (json!({"consentManagement": {"allowedConsentIds": ["advertising"]}}), "not_asked", "held"),
    ];
    let input: Vec<String> = cases.iter().map(|(context, ..)| event(context.clone())).collect();
    let config = dir.path().to_str().unwrap();
    let output = run(&["explain", "--config", config], &input.join("\n"));
    let lines = lines(&output);
    assert_eq!(lines.len(), cases.len(), "{output:?}");
    for (line, (context, grant, decision)) in lines.iter().zip(&cases) {
        assert_eq!(line["consent"]["grants"]["ad_storage"], *grant, "{context}");
        assert_eq!(line["consent"]["sources"], json!(["categories"]));
        assert_eq!(line["destinations"]["google_ads"]["decision"], *decision, "{context}");
    }
}
