//! The rules of the event's table, one by one.

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::json;

use super::{
    Door, DoorKind, Read, Rejection, RejectionCode, WarningCode,
    fixtures::{config, key},
    json as document, native,
};
use crate::{
    config::{KeyKind, WriteKey},
    consent::{Grant, OptOutClaim},
    event::{ActionSource, AdjustmentKind, Event, Field},
};

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn through(door: &Door<'_>, event: &serde_json::Value) -> Result<Read, Rejection> {
    let text = event.to_string();
    let node = document::parse(&text, 32).unwrap();
    native::read(&node, door, &config(), now())
}

/// Reads an event of the first site, adding a name and a site where the case has none.
fn read(mut event: serde_json::Value) -> Result<Read, Rejection> {
    let object = event.as_object_mut().unwrap();
    object.entry("event").or_insert(json!("purchase"));
    object.entry("site").or_insert(json!("shop_us"));
    through(&Door::default(), &event)
}

fn accepted(event: serde_json::Value) -> Event {
    let shown = event.to_string();
    read(event).unwrap_or_else(|rejection| panic!("{shown}: {rejection:?}")).event
}

fn codes(read: &Read) -> Vec<WarningCode> {
    read.warnings.iter().map(|warning| warning.code).collect()
}

#[test]
fn the_interface_sample_is_read_whole() {
    let read = read(json!({
        "event": "begin_checkout",
        "event_id": "c5c7d1d8-42f4-4ac8-9d2a-6fdc3d2a5c11",
        "timestamp": "2026-11-22T04:00:00Z", "sent_at": "2026-11-22T04:00:01Z",
        "site": "shop_us",
        "action_source": "website",
        "test": false,
        "user": {
            "external_id": "u-1029", "anonymous_id": "a-77", "email": "Jane.Doe@example.com", "phone": "+1 (415) 555-0133",
            "first_name": "Jane", "last_name": "Doe", "gender": "f", "date_of_birth": "1990-02-16", "minor": false,
            "street": "1 Main St", "city": "San Francisco", "region": "CA", "postal_code": "94107-1234", "country": "US",
            "company": "", "job_title": "", "subscription_id": "", "customer_type": "new"
        },
        "context": {
            "ip": "203.0.113.9", "user_agent": "Mozilla/5.0 (X11)", "page_url": "https://shop.example/checkout?gclid=abc", "referrer": "https://www.example.com/", "landing_page": "",
            "session_id": "s-9921", "locale": "en-US", "device_type": "mobile",
            "campaign": {"source": "google", "medium": "cpc", "name": "brand", "term": "shoes", "content": "a"},
            "app": {"id": "com.shop", "version": "5.1", "os": "ios", "os_version": "18.1", "device_model": "", "advertising_id": "x", "vendor_id": "", "att_status": "authorized"},
            "experiment": {"checkout_copy": "b"}
        },
        "click_ids": {"clicked_at": "2026-11-21T20:00:00Z", "gclid": "EAIaIQ", "gbraid": "", "wbraid": "", "dclid": "", "google_session_attributes": "",
            "fbclid": "IwAR0", "fbc": "fb.1.1554763741205.IwAR0", "fbp": "fb.1.1558571054389.1098115397", "ctwa_clid": "",
            "ga_client_id": "1234567890.1700000000", "ga_session_id": "1700000000", "ga_app_instance_id": "", "msclkid": "", "uetvid": "", "ttclid": "", "ttp": "", "twclid": "", "li_fat_id": "",
            "sccid": "", "scid": "", "epik": "", "rdt_cid": "", "rdt_uuid": "", "amzn_click_id": "", "oppref": "", "qclid": "", "tblci": "", "ob_click_id": "", "crto_id": "", "ttd_id": ""},
        "lead": {"id": "00Q1", "crm": "salesforce", "meta": "", "linkedin": "", "tiktok": "", "snapchat": ""},
        "consent": {
            "ad_storage": "granted", "ad_user_data": "granted", "ad_personalization": "denied", "analytics_storage": "granted",
            "tcf": "CP", "additional_consent": "2~1", "gpp": "DBA", "gpp_sid": [8], "us_privacy": "1YNN", "gpc": true, "gcs": "G111", "gcd": "13r3r3r3r5l1",
            "categories": {"C0004": true}, "cookies": {"OptanonConsent": "x"}, "opt_out": {"sale": false, "sharing": false, "targeted": false}, "gdpr_applies": null, "dnt": false, "region": "US-CA",
            "id": "", "collected_at": "2026-11-01T09:00:00Z", "method": "banner", "text_version": "7", "language": "en"
        },
        "properties": {"value": 129.90, "currency": "USD", "order_id": "1001", "tax": "9.90", "shipping": "5.00", "discount": "0", "coupon": "", "cost": "", "net_revenue": "", "predicted_ltv": "",
            "items": [{"id": "SKU-1", "name": "Shoe", "brand": "Acme", "category": "Shoes", "variant": "42", "quantity": 1, "price": 99.90, "discount": "0"}], "search_term": "", "store_id": "", "cart_size": 1, "scroll_depth": 80}
    }))
    .unwrap();
    assert_eq!(read.warnings, []);
    let event = read.event;
    assert_eq!(event.name, "begin_checkout");
    assert_eq!(
        event.timestamp,
        "2026-11-22T04:00:00Z".parse().unwrap(),
        "no correction on imports"
    );
    assert_eq!(event.texts.first(Field::Email), Some("Jane.Doe@example.com"));
    assert_eq!(event.texts.first(Field::Company), None);
    assert_eq!(event.texts.first(Field::Gclid), Some("EAIaIQ"), "the field itself, not the URL");
    assert_eq!(event.texts.first(Field::PageUrl), Some("https://shop.example/checkout"));
    assert_eq!(event.texts.first(Field::CampaignName), Some("brand"));
    assert_eq!(event.texts.first(Field::AttStatus), Some("authorized"));
    assert_eq!(event.clicked_at, Some("2026-11-21T20:00:00Z".parse().unwrap()));
    assert_eq!(event.minor, Some(false));
    assert_eq!(event.amount(Field::Value), Some("129.9".parse().unwrap()));
    assert_eq!(event.amount(Field::Discount), Some(Decimal::ZERO));
    assert_eq!(event.amount(Field::Cost), None);
    assert_eq!(event.currency.unwrap().code(), "USD");
    assert_eq!(event.items[0].price, Some("99.9".parse().unwrap()));
    assert_eq!(event.items[0].variant.as_deref(), Some("42"));
    assert_eq!(event.other.get("scroll_depth"), Some(&json!(80)));
    assert_eq!(event.other_context.get("experiment"), Some(&json!({"checkout_copy": "b"})));
    assert_eq!(event.consent.grants.ad_personalization, Grant::Denied);
    assert_eq!(event.consent.gpp_sid, [8]);
    assert_eq!(event.consent.categories, [("C0004".to_owned(), true)]);
    assert_eq!(event.consent.opt_out.sale, Some(false));
    assert_eq!(event.consent.region.as_deref(), Some("US-CA"));
    assert_eq!((event.consent.id, event.consent.gdpr_applies), (None, None));
}

#[test]
fn only_the_name_is_required() {
    let event = accepted(json!({"event": " purchase "}));
    assert_eq!(event.name, "purchase");
    assert_eq!(event.timestamp, now());
    assert_eq!(event.action_source, ActionSource::Website);
    assert!(event.event_id.derived && event.event_id.short_lived);
    for nothing in [json!({"site": "shop_us"}), json!({"event": "", "site": "shop_us"})] {
        let rejection = through(&Door::default(), &nothing).unwrap_err();
        assert_eq!(
            (rejection.code, rejection.path.as_str()),
            (RejectionCode::MissingField, "/event")
        );
    }
    let rejection = through(&Door::default(), &json!(7)).unwrap_err();
    assert_eq!((rejection.code, rejection.path.as_str()), (RejectionCode::InvalidField, ""));
}

#[test]
fn wrong_types_are_refused_where_they_stand() {
    for (event, path) in [
        (json!({"event": 5}), "/event"),
        (json!({"event_id": 1.5}), "/event_id"),
        (json!({"timestamp": true}), "/timestamp"),
        (json!({"timestamp": "2026-11-22"}), "/timestamp"),
        (json!({"sent_at": {}}), "/sent_at"),
        (json!({"site": 1}), "/site"),
        (json!({"action_source": "web"}), "/action_source"),
        (json!({"test": "yes"}), "/test"),
        (json!({"user": "jane"}), "/user"),
        (json!({"user": {"email": 5}}), "/user/email"),
        (json!({"user": {"email": ["a@example.com", 5]}}), "/user/email/1"),
        (json!({"user": {"first_name": ["Jane"]}}), "/user/first_name"),
        (json!({"user": {"minor": "no"}}), "/user/minor"),
        (json!({"context": [1]}), "/context"),
        (json!({"context": {"page_url": 1}}), "/context/page_url"),
        (json!({"context": {"campaign": "x"}}), "/context/campaign"),
        (json!({"click_ids": {"gclid": {}}}), "/click_ids/gclid"),
        (json!({"click_ids": {"clicked_at": "then"}}), "/click_ids/clicked_at"),
        (json!({"consent": {"ad_storage": "yes"}}), "/consent/ad_storage"),
        (json!({"consent": {"ad_storage": true}}), "/consent/ad_storage"),
        (json!({"consent": {"gpc": "1"}}), "/consent/gpc"),
        (json!({"consent": {"collected_at": "yesterday"}}), "/consent/collected_at"),
        (json!({"consent": {"collected_at": "2026-11-01"}}), "/consent/collected_at"),
        (json!({"consent": {"gpp_sid": ["usca"]}}), "/consent/gpp_sid/0"),
        (json!({"consent": {"opt_out": {"sale": "true"}}}), "/consent/opt_out/sale"),
        (json!({"consent": {"categories": {"a/b": 1}}}), "/consent/categories/a~1b"),
        (json!({"properties": {"value": "lots"}}), "/properties/value"),
        (json!({"properties": {"value": {}}}), "/properties/value"),
        (json!({"properties": {"currency": 840}}), "/properties/currency"),
        (json!({"properties": {"items": {"id": 1}}}), "/properties/items"),
        (
            json!({"properties": {"items": [{"id": "a"}, {"price": "?"}]}}),
            "/properties/items/1/price",
        ),
        (json!({"properties": {"items": ["SKU-1"]}}), "/properties/items/0"),
        (json!({"adjusts": {"order_id": "1", "type": "undo"}}), "/adjusts/type"),
        (
            json!({"adjusts": {"order_id": "1", "type": "refund", "amount": "-1"}}),
            "/adjusts/amount",
        ),
    ] {
        let rejection = read(event.clone()).expect_err(&event.to_string());
        assert_eq!(rejection.code, RejectionCode::InvalidField, "{event}: {rejection:?}");
        assert_eq!(rejection.path, path, "{event}");
    }
}

#[test]
fn what_serde_json_cannot_write_is_refused_too() {
    for (text, path) in [
        (
            r#"{"event": "a", "site": "shop_us", "properties": {"value": 1e999}}"#,
            "/properties/value",
        ),
        (
            r#"{"event": "a", "site": "shop_us", "properties": {"depth": 1e999}}"#,
            "/properties/depth",
        ),
        (r#"{"event": "a", "site": "shop_us", "user": {"city": "A", "city": "B"}}"#, "/user"),
        (r#"{"event": "a", "site": "shop_us", "context": {"x": {"y": 1, "y": 2}}}"#, "/context/x"),
        (r#"{"event": "a", "event": "b"}"#, ""),
    ] {
        let node = document::parse(text, 32).unwrap();
        let rejection = native::read(&node, &Door::default(), &config(), now()).expect_err(text);
        assert_eq!(
            (rejection.code, rejection.path.as_str()),
            (RejectionCode::InvalidField, path),
            "{text}"
        );
    }
    let deep = format!(
        r#"{{"event": "a", "event_id": "e", "site": "shop_us", "properties": {{"x": {}1{}}}}}"#,
        "[".repeat(31),
        "]".repeat(31)
    );
    let node = document::parse(&deep, 32).unwrap();
    let rejection = native::read(&node, &Door::default(), &config(), now()).unwrap_err();
    assert!(rejection.message.contains("nested too deeply"), "{rejection:?}");
    assert_eq!(rejection.event_id.as_deref(), Some("e"), "the sender's id where it can be read");
}

#[test]
fn unknown_fields_are_refused_where_they_would_be_lost() {
    for (event, path, nearest) in [
        (json!({"usre": {}}), "/usre", "\"user\""),
        (json!({"user": {"e_mail": "x"}}), "/user/e_mail", "\"email\""),
        (json!({"consent": {"ad_storge": "granted"}}), "/consent/ad_storge", "\"ad_storage\""),
        (json!({"consent": {"opt_out": {"sales": true}}}), "/consent/opt_out/sales", "\"sale\""),
        (json!({"adjusts": {"order": "1"}}), "/adjusts/order", ""),
        (json!({"zzzzzzzzz": 1}), "/zzzzzzzzz", "unknown field"),
    ] {
        let rejection = read(event.clone()).expect_err(&event.to_string());
        assert_eq!(rejection.code, RejectionCode::UnknownField, "{event}");
        assert_eq!(rejection.path, path);
        assert!(rejection.message.contains(nearest), "{}", rejection.message);
    }
    let read = read(json!({
        "click_ids": {"newclid": "x"}, "lead": {"hubspot": "y", "id": 17},
        "properties": {"colour": "red"}, "context": {"viewport": {"w": 1}, "campaign": {"id": "c1"}}
    }))
    .unwrap();
    assert_eq!(codes(&read), [WarningCode::UnknownClickId, WarningCode::UnknownClickId]);
    assert_eq!(read.event.texts.first(Field::LeadId), Some("17"));
    assert_eq!(read.event.texts.first(Field::OtherLead), Some(r#"{"hubspot":"y"}"#));
    assert_eq!(read.event.texts.first(Field::OtherClickIds), Some(r#"{"newclid":"x"}"#));
    assert_eq!(
        read.event.texts.first(Field::OtherContext),
        Some(r#"{"campaign":{"id":"c1"},"viewport":{"w":1}}"#)
    );
    assert_eq!(read.event.other.get("colour"), Some(&json!("red")));
    assert_eq!(read.event.other_context.get("viewport"), Some(&json!({"w": 1})));
    assert_eq!(read.event.other_context.get("campaign"), Some(&json!({"id": "c1"})));
}

#[test]
fn empty_is_absent_everywhere() {
    let event = accepted(json!({
        "event_id": "", "timestamp": "", "action_source": "", "user": {"email": [], "phone": ["", "  "], "minor": null},
        "context": {"ip": "", "campaign": ""}, "click_ids": "", "consent": {"ad_storage": "", "gpc": null, "opt_out": ""},
        "properties": {"value": "", "currency": "", "items": [], "note": "", "list": [], "none": null, "nested": {"a": ""}},
        "adjusts": {}
    }));
    assert!(event.present().is_empty(), "{:?}", event.present());
    assert!(event.event_id.derived && event.adjusts.is_none());
    assert_eq!(event.consent, crate::consent::Signals::default());
}

#[test]
fn several_values_and_ids_as_numbers() {
    let event = accepted(json!({
        "event_id": 77, "user": {"email": ["a@example.com", "b@example.com"], "external_id": [1, "two"]},
        "properties": {"order_id": 1001, "items": [{"id": 5, "variant": 42}]}
    }));
    assert_eq!(
        event.texts.all(Field::Email).collect::<Vec<_>>(),
        ["a@example.com", "b@example.com"]
    );
    assert_eq!(event.texts.all(Field::ExternalId).collect::<Vec<_>>(), ["1", "two"]);
    assert_eq!((event.event_id.id.as_str(), event.transaction_id()), ("77", "1001"));
    assert_eq!(event.items[0].id.as_deref(), Some("5"));
}

#[test]
fn an_unknown_currency_takes_the_amounts_with_it() {
    for code in ["ZZZ", "XXX", "dollars"] {
        let read = read(json!({"properties": {
            "value": 5, "tax": 1, "currency": code, "items": [{"id": "a", "price": 5, "quantity": 2}]
        }}))
        .unwrap();
        assert_eq!(codes(&read), [WarningCode::NoCurrency], "{code}");
        assert!(read.event.amounts.is_empty() && read.event.currency.is_none());
        assert_eq!(
            (read.event.items[0].price, read.event.items[0].quantity),
            (None, Some(2.into()))
        );
    }
    let event = accepted(json!({"properties": {"value": 5, "currency": " usd "}}));
    assert_eq!(event.currency.unwrap().code(), "USD");
    let refund = json!({"properties": {"currency": "ZZZ"}, "adjusts": {"order_id": "1", "type": "refund", "amount": 5}});
    assert_eq!(read(refund).unwrap_err().path, "/properties/currency");
}

#[test]
fn adjustments() {
    let event = accepted(
        json!({"adjusts": {"order_id": "1001", "event_id": "", "type": "refund", "amount": "20.00"}}),
    );
    let adjusts = event.adjusts.unwrap();
    assert_eq!((adjusts.order_id.as_deref(), adjusts.event_id), (Some("1001"), None));
    assert_eq!(
        (adjusts.kind, adjusts.amount.unwrap().to_string()),
        (AdjustmentKind::Refund, "20.00".to_owned())
    );
    for (adjusts, path) in [
        (json!({"order_id": "1"}), "/adjusts/type"),
        (json!({"type": "cancel"}), "/adjusts/order_id"),
        (json!({"type": "restate", "order_id": "1"}), "/adjusts/amount"),
    ] {
        let rejection = read(json!({ "adjusts": adjusts })).unwrap_err();
        assert_eq!((rejection.code, rejection.path.as_str()), (RejectionCode::MissingField, path));
    }
}

#[test]
fn click_ids_and_campaigns_come_from_the_page_where_absent() {
    let event = accepted(json!({
        "context": {
            "page_url": "https://shop.example/?ScCid=AbC&gclid=url&fbclid=Iw%2BAR0&utm_source=news+letter&utm_campaign=&msclkid=#x?ttclid=no",
            "landing_page": "https://shop.example/?gclid=later&utm_medium=cpc&utm_source=later&EPIK=e",
            "campaign": {"term": "own"}
        },
        "click_ids": {"gclid": "own"}
    }));
    let first = |field| event.texts.first(field);
    assert_eq!(first(Field::Sccid), Some("AbC"), "the value keeps its case");
    assert_eq!(first(Field::Gclid), Some("own"));
    assert_eq!(first(Field::Fbclid), Some("Iw+AR0"));
    assert_eq!(first(Field::Epik), Some("e"));
    assert_eq!(first(Field::CampaignSource), Some("news letter"));
    assert_eq!(first(Field::CampaignMedium), Some("cpc"));
    assert_eq!(first(Field::CampaignTerm), Some("own"));
    assert_eq!(
        (first(Field::Msclkid), first(Field::Ttclid), first(Field::CampaignName)),
        (None, None, None)
    );
    assert_eq!(
        first(Field::PageUrl),
        Some("https://shop.example/?utm_source=news+letter&utm_campaign=")
    );
}

#[test]
fn identity_where_it_does_not_belong_is_removed_and_counted() {
    let read = read(json!({
        "context": {
            "page_url": "https://jane:x@shop.example/hi/jane%40example.com?utm_source=jane%40example.com&email=jane@example.com",
            "user_agent": "Mozilla (jane@example.com) 415-555-0133",
            "campaign": {"content": "for jane@example.com"},
            "note": {"who": ["call (415) 555-0133", "x"]}
        },
        "click_ids": {"gclid": "jane@example.com"},
        "lead": {"id": "415-555-0133"},
        "properties": {
            "order_id": "415-555-0133", "coupon": "JANE@EXAMPLE.COM", "search_term": "jane@example.com shoes",
            "items": [{"id": "jane@example.com", "name": "Card for jane@example.com"}],
            "phone": "+1 415 555 0133", "number": 4155550133i64, "jane@example.com": "key", "deep": [{"a": "jane@example.com"}]
        }
    }))
    .unwrap();
    let event = &read.event;
    let first = |field| event.texts.first(field);
    assert_eq!(first(Field::PageUrl), Some("https://shop.example/hi/?utm_source="));
    assert_eq!(
        first(Field::UserAgent),
        Some("Mozilla () 415-555-0133"),
        "versions are no phone numbers"
    );
    assert_eq!(first(Field::CampaignSource), None);
    assert_eq!(first(Field::CampaignContent), Some("for"));
    assert_eq!(event.other_context.get("note"), Some(&json!({"who": ["call", "x"]})));
    assert_eq!(first(Field::Gclid), Some("jane@example.com"));
    assert_eq!(first(Field::LeadId), Some("415-555-0133"));
    assert_eq!(first(Field::OrderId), Some("415-555-0133"));
    assert_eq!(first(Field::Coupon), Some("JANE@EXAMPLE.COM"));
    assert_eq!(first(Field::SearchTerm), Some("shoes"));
    assert_eq!(event.items[0].id.as_deref(), Some("jane@example.com"));
    assert_eq!(event.items[0].name.as_deref(), Some("Card for"));
    assert_eq!(serde_json::Value::Object(event.other.clone()), json!({"number": 4155550133i64}));
    assert_eq!(codes(&read), [WarningCode::IdentityRemoved]);
    assert_eq!(read.warnings[0].count, 10, "{}", read.warnings[0].message);
}

#[test]
fn sites_come_from_the_event_the_key_or_the_page() {
    let both = WriteKey {
        sites: vec!["shop_us".to_owned(), "shop_eu".to_owned()],
        ..key(KeyKind::Server)
    };
    let one = key(KeyKind::Server);
    let page = |host: &str| json!({"event": "purchase", "context": {"page_url": format!("https://{host}/a")}});
    let named = |site: &str| json!({"event": "purchase", "site": site});
    for (key, event, expected) in [
        (Some(&one), json!({"event": "purchase"}), Ok("shop_us")),
        (Some(&one), named("shop_eu"), Err(RejectionCode::NotAllowed)),
        (Some(&one), named("nowhere"), Err(RejectionCode::SiteUnknown)),
        (Some(&both), named("shop_eu"), Ok("shop_eu")),
        (Some(&both), page("EU.shop.example:443"), Ok("shop_eu")),
        (Some(&both), page("elsewhere.example"), Err(RejectionCode::SiteUnknown)),
        (Some(&both), json!({"event": "purchase"}), Err(RejectionCode::SiteUnknown)),
        (None, page("shop.example"), Ok("shop_us")),
        (None, json!({"event": "purchase"}), Err(RejectionCode::SiteUnknown)),
    ] {
        let door = Door { key, ..Door::default() };
        let site = through(&door, &event).map(|read| read.event.site);
        assert_eq!(site.as_deref().map_err(|r| r.code), expected, "{event}");
    }
}

#[test]
fn keys_send_what_they_may() {
    let some = WriteKey { events: vec!["begin_*".to_owned()], ..key(KeyKind::Server) };
    let browser = key(KeyKind::Browser);
    let trusted = WriteKey {
        events: vec!["*".to_owned(), "purchase".to_owned()],
        max_value: Some(100.into()),
        ..key(KeyKind::Browser)
    };
    let value = |value: u32| json!({"event": "purchase", "properties": {"value": value}});
    for (key, event, expected) in [
        (&some, json!({"event": "begin_checkout"}), true),
        (&some, json!({"event": "purchase"}), false),
        (&browser, json!({"event": "begin_checkout"}), true),
        (&browser, json!({"event": "purchase"}), false),
        (&trusted, value(100), true),
        (&trusted, value(101), false),
    ] {
        let door = Door { key: Some(key), ..Door::default() };
        let read = through(&door, &event);
        assert_eq!(read.is_ok(), expected, "{event}");
        assert!(read.is_ok_and(|_| true) || !expected);
    }
}

#[test]
fn a_browser_shows_its_own_address_and_region() {
    let event = json!({
        "event": "begin_checkout",
        "context": {"ip": "192.0.2.1"},
        "consent": {"region": "US", "gpc": false}
    });
    let (browser, server) = (key(KeyKind::Browser), key(KeyKind::Server));
    let door = |key| Door {
        kind: DoorKind::Live,
        key: Some(key),
        address: Some([203, 0, 113, 9].into()),
        user_agent: Some("Browser/1"),
        sec_gpc: true,
    };
    let read = through(&door(&browser), &event).unwrap();
    assert_eq!(codes(&read), [WarningCode::Ignored, WarningCode::Ignored]);
    assert_eq!(read.event.texts.first(Field::Ip), Some("203.0.113.9"));
    assert_eq!(read.event.texts.first(Field::UserAgent), Some("Browser/1"));
    assert_eq!((read.event.consent.region, read.event.consent.gpc), (None, Some(true)));

    let read = through(&door(&server), &event).unwrap();
    assert_eq!(codes(&read), []);
    assert_eq!(read.event.texts.first(Field::Ip), Some("192.0.2.1"));
    assert_eq!(read.event.texts.first(Field::UserAgent), None, "a backend's headers are its own");
    assert_eq!(
        (read.event.consent.region.as_deref(), read.event.consent.gpc),
        (Some("US"), Some(false))
    );
}

#[test]
fn opt_outs() {
    let claim =
        |value: serde_json::Value| accepted(json!({"consent": {"opt_out": value}})).consent.opt_out;
    let all = |value| OptOutClaim { sale: value, sharing: value, targeted: value };
    assert_eq!(claim(json!(true)), all(Some(true)));
    assert_eq!(claim(json!(false)), all(Some(false)));
    assert_eq!(claim(json!({"sale": true})), OptOutClaim { sale: Some(true), ..all(None) });
    assert_eq!(accepted(json!({"consent": {"gpp_sid": [-1, 7]}})).consent.gpp_sid, [7]);
}

#[test]
fn an_address_that_is_none_is_left_out() {
    let read = read(json!({"context": {"ip": "unknown"}})).unwrap();
    assert_eq!(codes(&read), [WarningCode::IdentityDropped]);
    let event = accepted(json!({"context": {"ip": " ::ffff:203.0.113.9 "}}));
    assert_eq!(event.texts.first(Field::Ip), Some("203.0.113.9"));
}

#[test]
fn codes_are_the_interfaces() {
    let names: Vec<_> = RejectionCode::ALL.iter().map(|code| code.name()).collect();
    let closed = "invalid_field unknown_field unknown_event missing_field too_large in_future site_unknown not_allowed";
    assert_eq!(names.join(" "), closed);
    assert!(WarningCode::ALL.iter().any(|code| code.name() == "identity_removed"));
}
