//! Events of every kind: one that has everything, and the same with some places changed to what is
//! right in a way of its own, odd, or wrong.

use std::{fs, sync::LazyLock};

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use crate::support;

/// An event with everything that any platform asks for.
pub static WHOLE: LazyLock<Value> = LazyLock::new(|| {
    let path = "config/examples/all-platforms/events/purchase.json";
    let text = fs::read_to_string(support::root().join(path)).unwrap();
    let mut event: Value = serde_json::from_str(&text).unwrap();
    // In another country the last four digits of an American code would stay, which looks like a mistake.
    event["user"]["postal_code"] = json!("94107");
    event
});

/// Where in an event something else may stand, and what: right in a way of its own, odd, or wrong.
fn places() -> Vec<(&'static str, Vec<Value>)> {
    // Of nothing that anybody knows.
    let hash = "AB".repeat(32);
    let long = "é".repeat(3_000);
    let odd = || {
        let long = long.clone();
        ["", " ", "\u{0}\u{7}", "ünïcödé-日本", "a b/c?d=e&f", "\"'<>\\", "null", "0", "-1"]
            .into_iter()
            .map(|text| json!(text))
            .chain([json!(long), json!(4711), Value::Null])
            .collect::<Vec<Value>>()
    };
    let or_odd = |more: Vec<Value>| more.into_iter().chain(odd()).collect::<Vec<Value>>();
    let money = || {
        vec![
            json!(0),
            json!("0.00"),
            json!(-5),
            json!("-0.01"),
            json!("0.001"),
            json!("1e3"),
            json!(0.1),
            json!("12.345"),
            json!("999999999999.99"),
            json!("79228162514264337593543950335"),
            json!("0.0000000000000000001"),
            json!(5),
            Value::Null,
        ]
    };
    let before = |seconds: i64| support::now().as_second() - seconds;
    let times = vec![
        json!(before(3_600)),
        json!(before(3_600) * 1_000 + 123),
        json!("2026-11-22T03:59:59.987654321+01:00"),
        json!("2026-11-22T03:59:59Z"),
        json!(before(7 * 86_400 - 3_600)),
        json!(before(7 * 86_400 + 3_600)),
        json!(before(28 * 86_400)),
        json!(before(-300)),
        json!(before(600)),
        Value::Null,
    ];
    let item = |change: Value| {
        let mut item = json!({"id": "SKU-9", "name": "Hat", "brand": "Acme", "category": "Hats",
            "variant": "L", "quantity": 2, "price": "9.99", "discount": "0.50"});
        for (key, value) in change.as_object().unwrap() {
            item[key] = value.clone();
        }
        item
    };
    let items = vec![
        json!([]),
        json!([{}]),
        json!([item(json!({"quantity": 0}))]),
        json!([item(json!({"quantity": "1.5"})), item(json!({}))]),
        json!([item(json!({"quantity": -1, "price": "-3"}))]),
        json!([item(json!({"price": null}))]),
        json!([item(json!({"price": 0, "discount": 100}))]),
        json!([item(json!({"id": null}))]),
        json!([item(json!({"id": null, "name": null})), item(json!({"name": null}))]),
        json!([item(json!({"id": 4711}))]),
        json!([item(json!({"id": " ", "name": "日本", "category": long.clone()}))]),
        json!([item(
            json!({"quantity": "99999999999999999999", "price": "79228162514264337593543950335"})
        )]),
        json!((0..250).map(|n| item(json!({"id": format!("S-{n}")}))).collect::<Vec<_>>()),
    ];
    vec![
        ("/event", ["generate_lead", "begin_checkout", "refund"].map(Value::from).to_vec()),
        (
            "/event_id",
            or_odd(vec![json!(1001), json!("1001"), json!("o".repeat(200)), json!("=1+1")]),
        ),
        ("/timestamp", times),
        (
            "/action_source",
            [
                "app",
                "physical_store",
                "phone_call",
                "chat",
                "email",
                "crm",
                "system_generated",
                "business_messaging",
                "other",
            ]
            .map(Value::from)
            .to_vec(),
        ),
        ("/test", vec![json!(true)]),
        (
            "/user/external_id",
            or_odd(vec![json!(["a", "b"]), json!(hash), json!("jane@example.com")]),
        ),
        ("/user/anonymous_id", odd()),
        (
            "/user/email",
            or_odd(vec![
                json!("J.a.n.e+news@GMAIL.com"),
                json!(" jane@EXAMPLE.com "),
                json!(hash),
                json!("@"),
                json!([
                    "a@example.com",
                    "b@example.com",
                    "c@example.com",
                    "d@example.com",
                    "e@example.com",
                    "f@example.com",
                    "g@example.com"
                ]),
                json!("+@example.com"),
                json!("josé@exämple.com"),
                json!("no mail"),
            ]),
        ),
        (
            "/user/phone",
            or_odd(vec![
                json!("4155550133"),
                json!("14155550133"),
                json!("0044 20 7946 0958"),
                json!(hash),
                json!("12"),
                json!(["+14155550133", "+442079460958"]),
                json!("+999999999999999999"),
            ]),
        ),
        (
            "/user/first_name",
            or_odd(vec![json!("José María"), json!("Dr. O'Neil"), json!("정"), json!(hash)]),
        ),
        ("/user/last_name", or_odd(vec![json!("van der Berg"), json!("--")])),
        ("/user/gender", or_odd(vec![json!("female"), json!("M"), json!("x"), json!("divers")])),
        (
            "/user/date_of_birth",
            or_odd(vec![
                json!("1990-02-30"),
                json!("16.02.1990"),
                json!("19900216"),
                json!("1790-01-01"),
            ]),
        ),
        ("/user/minor", vec![json!(true)]),
        ("/user/street", odd()),
        ("/user/city", or_odd(vec![json!("München"), json!("St. Paul"), json!("東京")])),
        (
            "/user/region",
            or_odd(vec![json!("Texas"), json!("US-CA"), json!("Bayern"), json!("NSW")]),
        ),
        ("/user/postal_code", or_odd(vec![json!("SW1A 1AA"), json!("94107"), json!(94107)])),
        (
            "/user/country",
            or_odd(vec![json!("us"), json!("United States"), json!("DE"), json!("XX")]),
        ),
        ("/user/company", odd()),
        ("/user/job_title", odd()),
        ("/user/subscription_id", odd()),
        ("/user/customer_type", or_odd(vec![json!("returning"), json!("NEW")])),
        (
            "/context/ip",
            or_odd(vec![
                json!("2001:db8::1"),
                json!("::ffff:203.0.113.9"),
                json!("127.0.0.1"),
                json!("203.0.113.9:443"),
                json!("2001:DB8:0:0:0:0:0:1"),
                json!("fe80::1%eth0"),
            ]),
        ),
        ("/context/user_agent", odd()),
        (
            "/context/page_url",
            or_odd(vec![
                json!("https://shop.example"),
                json!("http://user:pw@shop.example:8080/ä?x=é#frag"),
                json!("/relative"),
                json!("android-app://com.shop/x"),
                json!("https://shop.example/?fbclid=IwAR9&msclkid=zz"),
            ]),
        ),
        (
            "/context/referrer",
            or_odd(vec![json!("android-app://com.google"), json!("https://www.example.com/ä ö")]),
        ),
        ("/context/session_id", odd()),
        (
            "/context/locale",
            or_odd(vec![json!("en"), json!("de_DE"), json!("zh-Hans-CN"), json!("x")]),
        ),
        ("/context/device_type", or_odd(vec![json!("desktop"), json!("tv")])),
        ("/context/app/id", odd()),
        ("/context/app/version", odd()),
        (
            "/context/app/os",
            or_odd(vec![json!("android"), json!("iOS"), json!("ipados"), json!("Windows")]),
        ),
        ("/context/app/os_version", or_odd(vec![json!("14"), json!("18.1.2.3")])),
        ("/context/app/device_model", odd()),
        (
            "/context/app/advertising_id",
            or_odd(vec![
                json!("6D92078A82464BA4AE5B76104861E7DC"),
                json!("00000000-0000-0000-0000-000000000000"),
                json!("6d92078a-8246-4ba4-ae5b-76104861e7dc"),
                json!(hash),
            ]),
        ),
        ("/context/app/vendor_id", or_odd(vec![json!("00000000-0000-0000-0000-000000000000")])),
        (
            "/context/app/att_status",
            or_odd(vec![json!("denied"), json!("notDetermined"), json!("restricted")]),
        ),
        (
            "/context",
            vec![
                json!({}),
                json!({"user_agent": "Mozilla/5.0", "page_url": "https://shop.example/"}),
            ],
        ),
        (
            "/user",
            vec![
                json!({}),
                json!({"email": "jane@example.com"}),
                json!({"phone": "+14155550133"}),
                json!({"external_id": "u-1"}),
                json!({"country": "DE", "city": "Berlin", "gender": "f"}),
                json!({"first_name": "Jane", "last_name": "Doe"}),
            ],
        ),
        (
            "/click_ids",
            vec![
                json!({}),
                json!({"gclid": "EAIaIQ"}),
                json!({"fbclid": "IwAR9"}),
                json!({"gbraid": "0AAAAA", "wbraid": "Cj"}),
                json!({"ga_client_id": "1.2"}),
            ],
        ),
        (
            "/lead",
            vec![
                json!({}),
                json!({"id": "L-1"}),
                json!({"meta": "12", "linkedin": long.clone(),
            "tiktok": "x", "snapchat": "-"}),
            ],
        ),
        ("/lead/meta", odd()),
        ("/lead/crm", odd()),
        ("/properties", vec![json!({}), json!({"value": 5}), json!({"currency": "EUR"})]),
        ("/properties/value", money()),
        ("/properties/tax", money()),
        ("/properties/shipping", money()),
        ("/properties/discount", money()),
        ("/properties/cost", money()),
        ("/properties/net_revenue", money()),
        ("/properties/predicted_ltv", money()),
        (
            "/properties/currency",
            ["EUR", "JPY", "KWD", "PLN", "XAU", "usd", "ISK", "CLP", "", "BTC", "VED"]
                .map(Value::from)
                .to_vec(),
        ),
        ("/properties/order_id", or_odd(vec![json!(1001), json!("o".repeat(200))])),
        ("/properties/coupon", odd()),
        ("/properties/items", items),
        ("/properties/search_term", odd()),
        ("/properties/store_id", odd()),
        ("/properties/content_type", or_odd(vec![json!("product"), json!(["x"]), json!({"a": 1})])),
        ("/properties/content_ids", vec![json!([]), json!(["a"]), json!([1.5]), json!("a")]),
        ("/properties/num_items", vec![json!(0), json!(3), json!("3"), json!(-1)]),
        ("/properties/status", odd()),
        ("/properties/event_name", odd()),
        ("/properties/session_id", odd()),
        ("/properties/engagement_time_msec", odd()),
        (
            "/properties/nested",
            vec![json!({"a": [1, {"b": null}]}), json!([]), json!(1e300), json!(true)],
        ),
        ("/properties/a key", odd()),
        (
            "/consent/region",
            ["US-CA", "US-TX", "US-UT", "US", "DE", "GB", "CA", "BR"].map(Value::from).to_vec(),
        ),
        ("/consent/gpc", vec![json!(true)]),
        ("/consent/ad_personalization", vec![json!("denied"), Value::Null]),
        ("/consent/ad_user_data", vec![json!("denied"), Value::Null]),
        ("/consent/ad_storage", vec![json!("denied"), Value::Null]),
        ("/consent/analytics_storage", vec![json!("denied"), Value::Null]),
        (
            "/adjusts",
            vec![
                json!({"order_id": "1001", "type": "refund"}),
                json!({"order_id": "1001", "type": "refund", "amount": "20.00"}),
                json!({"order_id": "1001", "type": "refund", "amount": 0}),
                json!({"event_id": "e-1", "type": "cancel"}),
                json!({"order_id": "日本", "type": "restate", "amount": "99.999"}),
                json!({"order_id": "1001", "type": "restate", "amount": 0, "timestamp": "2026-10-01T00:00:00Z"}),
                json!({"order_id": "1001", "type": "cancel", "timestamp": "2026-11-22T03:00:00Z"}),
            ],
        ),
    ]
}

/// The whole event with some places changed. Click ids are one place more each: by their names.
pub fn event() -> impl Strategy<Value = Value> {
    let mut places: Vec<(String, Vec<Value>)> =
        places().into_iter().map(|(place, values)| (place.to_owned(), values)).collect();
    let clicks: Vec<String> = WHOLE["click_ids"].as_object().unwrap().keys().cloned().collect();
    for key in clicks.into_iter().filter(|key| key != "clicked_at") {
        let values = [
            json!(null),
            json!("x"),
            json!("Ünï code"),
            json!("Z".repeat(600)),
            json!("a.b.c.d"),
            json!(12),
        ];
        places.push((format!("/click_ids/{key}"), values.to_vec()));
    }
    let change = select(places).prop_flat_map(|(place, values)| (Just(place), select(values)));
    (vec(change, 0..12), any::<bool>()).prop_map(|(mut changes, kept)| {
        // Whole groups first, so that what is changed in them stays.
        changes.sort_by_key(|(place, _)| place.matches('/').count());
        let mut event = WHOLE.clone();
        if kept {
            event["properties"].as_object_mut().unwrap().remove("items");
        }
        for (place, value) in changes {
            set(&mut event, &place, value);
        }
        let is_refund = event["event"] == "refund";
        if is_refund && event.get("adjusts").is_none() {
            event["adjusts"] = json!({"order_id": "1001", "type": "refund"});
        } else if !is_refund {
            event.as_object_mut().unwrap().remove("adjusts");
        }
        event
    })
}

/// A value at a place, null to take it away.
fn set(event: &mut Value, place: &str, value: Value) {
    let (group, key) = place.rsplit_once('/').unwrap();
    let mut at = event;
    for part in group.split('/').skip(1) {
        at = at.as_object_mut().unwrap().entry(part).or_insert_with(|| json!({}));
    }
    let members = at.as_object_mut().unwrap();
    match value {
        Value::Null => _ = members.remove(key),
        value => _ = members.insert(key.to_owned(), value),
    }
}
