//! What a platform would refuse or misread is skipped before it is sent, with the reason: for every
//! platform of the registry, from its own fixture of a purchase.

use std::{collections::BTreeMap, fs};

use conversion_relay::{
    destinations::{Platform, Preparation, REGISTRY, Refusal},
    event::{ActionSource, Currency},
};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{fixtures::support, traps::sha256};

fn purchase(platform: &Platform) -> Value {
    let path = support::folder(platform.name).join("purchase/event.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn prepared(platform: &Platform, event: &Value) -> Result<Preparation, Refusal> {
    let destination = support::destination(platform);
    support::prepare(&*destination, platform, &support::event(&event.to_string())).1
}

/// `send`, or the code of the refusal.
fn fate(platform: &Platform, event: &Value) -> &'static str {
    match prepared(platform, event) {
        Ok(_) => "send",
        Err(Refusal::Skip(skip)) => {
            assert!(!skip.message.is_empty(), "{}", platform.name);
            skip.code.name()
        }
        Err(Refusal::Held(code, _)) => code.name(),
    }
}

/// The purchase with nothing of the person left but what is named.
fn known_by(platform: &Platform, kept: &[&str]) -> Value {
    let whole = purchase(platform);
    let mut event = whole.clone();
    event["user"] = json!({});
    event["click_ids"] = json!({});
    event["lead"] = json!({});
    event["context"].as_object_mut().unwrap().remove("ip");
    for path in kept {
        let pointer = format!("/{}", path.replace('.', "/"));
        let (group, key) = path.split_once('.').unwrap();
        let own = whole.pointer(&pointer).unwrap_or_else(|| panic!("{} {path}", platform.name));
        event[group][key] = own.clone();
    }
    event
}

/// Each sheet's own word on what is too little; a webhook identifies nobody.
#[test]
fn an_identity_that_is_too_weak_is_skipped() {
    let nothing: &[&str] = &[];
    // Kept beside user agent and URL, and what becomes of it.
    #[rustfmt::skip]
    let table: BTreeMap<&str, Vec<(&[&str], &str)>> = BTreeMap::from([
        ("meta", vec![
            (nothing, "identity_too_weak"),
            (&["user.city", "user.region", "user.postal_code", "user.country", "user.gender"], "identity_too_weak"),
            (&["user.date_of_birth"], "identity_too_weak"),
            (&["user.email"], "send"),
            (&["context.ip"], "send"),
        ]),
        ("google_ads", vec![
            (nothing, "identity_too_weak"),
            (&["context.ip", "user.external_id"], "identity_too_weak"),
            (&["user.first_name", "user.last_name", "user.country"], "identity_too_weak"),
            (&["user.first_name", "user.last_name", "user.country", "user.postal_code"], "send"),
            (&["click_ids.gclid"], "send"),
        ]),
        ("ga4", vec![(nothing, "missing_field"), (&["click_ids.ga_client_id"], "send")]),
        ("microsoft", vec![
            (nothing, "identity_too_weak"),
            (&["context.ip"], "identity_too_weak"),
            (&["user.external_id"], "send"),
        ]),
        ("linkedin", vec![
            (nothing, "identity_too_weak"),
            (&["user.phone"], "identity_too_weak"),
            (&["click_ids.li_fat_id"], "send"),
        ]),
        ("reddit", vec![(nothing, "identity_too_weak"), (&["context.ip"], "send")]),
        ("tiktok", vec![(nothing, "identity_too_weak"), (&["user.phone"], "send")]),
        ("snapchat", vec![(nothing, "identity_too_weak"), (&["context.ip"], "send")]),
        ("pinterest", vec![
            (nothing, "identity_too_weak"),
            (&["user.phone", "click_ids.epik"], "identity_too_weak"),
            (&["context.ip"], "send"),
        ]),
        ("x", vec![
            (nothing, "identity_too_weak"),
            (&["context.ip"], "identity_too_weak"),
            (&["user.phone"], "send"),
        ]),
        ("amazon", vec![(nothing, "identity_too_weak"), (&["user.email"], "send")]),
        ("openai", vec![(nothing, "identity_too_weak"), (&["click_ids.oppref"], "send")]),
        ("the_trade_desk", vec![
            (nothing, "identity_too_weak"),
            (&["user.email"], "identity_too_weak"),
            (&["context.ip"], "send"),
        ]),
        ("taboola", vec![(&["user.email"], "identity_too_weak"), (&["click_ids.tblci"], "send")]),
        ("outbrain", vec![(&["user.email"], "identity_too_weak"), (&["click_ids.ob_click_id"], "send")]),
        ("criteo", vec![(nothing, "identity_too_weak"), (&["click_ids.crto_id"], "send")]),
        ("quora", vec![(&["user.email"], "identity_too_weak"), (&["click_ids.qclid"], "send")]),
        ("google_ads_upload", vec![(nothing, "identity_too_weak"), (&["click_ids.gclid"], "send")]),
        ("microsoft_offline", vec![(nothing, "identity_too_weak"), (&["user.email"], "send")]),
    ]);
    for platform in REGISTRY {
        // Only what a purpose of its own is written for can do without a person.
        let expected = if platform.purposes.needs.is_none() { "send" } else { "not sent" };
        let found = match fate(platform, &known_by(platform, nothing)) {
            "identity_too_weak" | "missing_field" => "not sent",
            other => other,
        };
        assert_eq!(found, expected, "{}", platform.name);
        for (kept, expected) in table.get(platform.name).into_iter().flatten() {
            let event = known_by(platform, kept);
            assert_eq!(fate(platform, &event), *expected, "{} {kept:?}", platform.name);
        }
    }
}

/// One that is not taken is skipped where there is no rate, never left out and never relabelled.
#[test]
fn a_currency_that_is_not_taken_is_skipped() {
    let zloty = Currency::parse("PLN").unwrap();
    let mut choosy = Vec::new();
    for platform in REGISTRY {
        let mut event = purchase(platform);
        event["properties"]["currency"] = json!("PLN");
        if support::destination(platform).takes_currency(zloty) {
            let destination = support::destination(platform);
            let job = prepared(platform, &event).unwrap().prepared;
            let call = destination.assemble(&[job], support::now()).remove(0);
            let sent = format!("{} {}", call.url, String::from_utf8_lossy(&call.body));
            assert!(sent.contains("PLN") && !sent.contains("USD"), "{}: {sent}", platform.name);
        } else {
            assert_eq!(fate(platform, &event), "currency", "{}", platform.name);
            choosy.push(platform.name);
        }
    }
    for name in ["amazon", "taboola", "quora"] {
        assert!(choosy.contains(&name), "{name} takes any currency");
    }
}

/// A stale event would sink a batch, or be taken and lost.
#[test]
fn a_stale_event_is_skipped() {
    for platform in REGISTRY {
        let oldest = SignedDuration::try_from((platform.oldest)(ActionSource::Website)).unwrap();
        let at = |age: SignedDuration| {
            let mut event = purchase(platform);
            let Ok(time) = support::now().checked_sub(age) else { return None };
            event["timestamp"] = json!(time.to_string());
            event["click_ids"]["clicked_at"] = json!(null);
            Some(fate(platform, &event))
        };
        let second = SignedDuration::from_secs(1);
        let beyond = oldest.checked_add(second).and_then(at);
        assert!(matches!(beyond, Some("too_old") | None), "{} {beyond:?}", platform.name);
        if let Some(within) = at(oldest.saturating_sub(second)) {
            assert_eq!(within, "send", "{}", platform.name);
        }
    }
}

/// Items beyond a platform's limit are cut from the end.
#[test]
fn items_beyond_a_limit_are_cut_from_the_end() {
    let mut limited = Vec::new();
    for platform in REGISTRY {
        let mut event = purchase(platform);
        let items = (0..300).map(|n| json!({"id": format!("SKU-{n}"), "quantity": 1, "price": 1}));
        event["properties"]["items"] = items.collect();
        let preparation = prepared(platform, &event).unwrap();
        let kept = preparation.prepared.items.len();
        if preparation.items_cut > 0 {
            assert_eq!(preparation.items_cut + kept, 300, "{}", platform.name);
            let last = preparation.prepared.items[kept - 1].id.clone().unwrap();
            assert_eq!(last, format!("SKU-{}", kept - 1), "{}", platform.name);
            limited.push((platform.name, kept));
        }
    }
    assert!(limited.contains(&("ga4", 200)), "{limited:?}");
}

/// Money, quantities and texts at their edges never make a request that the sandbox refuses.
#[test]
fn odd_values_are_never_refused() {
    let long = "é".repeat(5_000);
    let changes: [(&str, Value); 7] = [
        ("/properties/items", json!([])),
        ("/properties/items", json!([{"quantity": 0, "price": -1}, {}])),
        ("/properties/items", json!([{"id": "1", "quantity": 1.5, "price": "0.333333333"}])),
        ("/properties/value", json!("0")),
        ("/properties/value", json!("-5.00")),
        ("/user/external_id", json!(long)),
        ("/context/user_agent", json!("\u{0}\u{202e}\"\\</script>")),
    ];
    let mut found = Vec::new();
    for platform in REGISTRY {
        let destination = support::destination(platform);
        for (place, value) in &changes {
            let mut event = purchase(platform);
            *event.pointer_mut(place).unwrap() = value.clone();
            let Ok(preparation) = prepared(platform, &event) else { continue };
            for call in destination.assemble(&[preparation.prepared], support::now()) {
                let request = conversion_relay::sandbox::Request {
                    method: call.method,
                    url: &call.url,
                    headers: &call.headers,
                    body: &call.body,
                };
                let verdict =
                    conversion_relay::sandbox::check(platform.name, request, support::now());
                for refused in verdict.unwrap().refused {
                    found.push(format!("{} {place}: {}", platform.name, refused.why));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// What an event with some fields replaced makes a platform get, as text; empty where nothing.
fn sent(platform: &Platform, source: &str, changes: &[(&str, Value)]) -> String {
    let mut event = purchase(platform);
    event["action_source"] = json!(source);
    for (path, value) in changes {
        let mut place = &mut event;
        for key in path.split('.') {
            if place.is_null() {
                *place = json!({});
            }
            place = &mut place[key];
        }
        *place = value.clone();
    }
    let Ok(preparation) = prepared(platform, &event) else { return String::new() };
    let calls = support::destination(platform).assemble(&[preparation.prepared], support::now());
    calls
        .iter()
        .map(|call| format!("{} {}", call.url, String::from_utf8_lossy(&call.body)))
        .collect()
}

/// What only leaves hashed leaves under no other name either.
#[test]
fn identity_does_not_leave_in_clear_as_an_id() {
    for platform in REGISTRY {
        for source in ["website", "app"] {
            let changes = [
                ("user.external_id", json!(["zaphod@example.com", "+1 415 555 0177"])),
                ("user.anonymous_id", json!("zaphod@example.com")),
                ("user.subscription_id", json!("+14155550177")),
                ("user.city", json!("zaphod@example.com")),
                ("user.company", json!("zaphod@example.com")),
            ];
            let sent = sent(platform, source, &changes);
            for clear in ["zaphod", "4155550177", "555 0177"] {
                assert!(!sent.contains(clear), "{} {source} {sent}", platform.name);
            }
        }
    }
}

/// The hash of an empty field, and the id of everybody who switched theirs off, identify nobody.
#[test]
fn what_everybody_has_in_common_is_not_sent() {
    let nothing = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855";
    let off = "00000000-0000-0000-0000-000000000000";
    for platform in REGISTRY {
        for source in ["website", "app"] {
            let keys =
                ["user.email", "user.phone", "user.external_id", "user.first_name", "user.city"];
            let mut changes: Vec<(&str, Value)> =
                keys.into_iter().map(|key| (key, json!(nothing))).collect();
            changes.push(("context.app.advertising_id", json!(off)));
            changes.push(("context.app.vendor_id", json!(off)));
            let sent = sent(platform, source, &changes).to_lowercase();
            assert!(!sent.contains("e3b0c442"), "{} {source} {sent}", platform.name);
            assert!(!sent.contains(off), "{} {source} {sent}", platform.name);
        }
    }
}

/// What languages write for nothing would be one person, and one click, for everybody.
#[test]
fn a_programs_word_for_nothing_is_not_sent() {
    for platform in REGISTRY.iter().filter(|platform| platform.name != "webhook") {
        for word in ["undefined", "NULL"] {
            let keys = [
                "user.external_id",
                "user.first_name",
                "user.last_name",
                "user.city",
                "click_ids.fbp",
                "click_ids.gclid",
                "click_ids.ttp",
                "click_ids.epik",
            ];
            let changes: Vec<(&str, Value)> = keys.map(|key| (key, json!(word))).to_vec();
            let sent = sent(platform, "website", &changes);
            let hashes = [word.to_owned(), word.to_lowercase()].map(|text| sha256(&text));
            for found in [format!("\"{word}\""), format!("={word}&")].iter().chain(&hashes) {
                assert!(!sent.contains(found.as_str()), "{} {word} {sent}", platform.name);
            }
        }
    }
}

/// The upload refuses such an order, and Google's terms forbid it everywhere.
#[test]
fn an_order_id_with_an_address_goes_nowhere_at_google() {
    for name in ["google_ads", "google_ads_upload", "ga4"] {
        let platform = REGISTRY.iter().find(|platform| platform.name == name).unwrap();
        let mut event = purchase(platform);
        event["properties"]["order_id"] = json!("jane@example.com");
        assert_eq!(fate(platform, &event), "unsupported", "{name}");
    }
}

/// Cookies that Meta did not write are left out, and the trace says so; a click's own is built anew.
#[test]
fn an_odd_cookie_is_left_out_at_meta() {
    let platform = REGISTRY.iter().find(|platform| platform.name == "meta").unwrap();
    let mut event = purchase(platform);
    event["click_ids"]["fbp"] = json!("GA1.1.1234567890.1700000000");
    event["click_ids"]["fbc"] = json!("IwAR0");
    let preparation = prepared(platform, &event).unwrap();
    assert_eq!(
        preparation.left_out,
        ["click_ids.fbp left out: it is not fb.INDEX.MILLISECONDS.ID"]
    );
    let fbc = preparation.prepared.clear(conversion_relay::event::Field::Fbc).unwrap();
    assert!(fbc.starts_with("fb.1.") && fbc.ends_with(".IwAR0"), "{fbc}");
    event["click_ids"]["fbclid"] = json!(null);
    assert_eq!(prepared(platform, &event).unwrap().left_out.len(), 2);
}

/// A postal code that is none takes the address with it, and not the event.
#[test]
fn a_postal_code_that_is_too_long_is_left_out_at_google() {
    let platform = REGISTRY.iter().find(|platform| platform.name == "google_ads").unwrap();
    let sent = sent(platform, "website", &[("user.postal_code", json!("9".repeat(21)))]);
    assert!(sent.contains("emailAddress") && !sent.contains("postalCode"), "{sent}");
}

/// A hash where a browser's name belongs would have a batch refused.
#[test]
fn a_hash_is_no_user_agent() {
    let hash = "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f";
    for platform in REGISTRY {
        let sent = sent(platform, "website", &[("context.user_agent", json!(hash))]);
        assert!(!sent.contains(hash), "{} {sent}", platform.name);
    }
}

/// A region whose rule cuts addresses leaves nothing by which these platforms could know a person.
#[test]
fn a_truncated_address_identifies_nobody() {
    for name in ["tiktok", "snapchat", "linkedin"] {
        let platform = REGISTRY.iter().find(|platform| platform.name == name).unwrap();
        let found = |region: &str| {
            let mut event = known_by(platform, &[]);
            event["context"]["ip"] = json!("203.0.113.9");
            event["consent"]["region"] = json!(region);
            fate(platform, &event)
        };
        assert_eq!((found("US"), found("CA")), ("send", "identity_too_weak"), "{name}");
    }
}
