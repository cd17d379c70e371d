//! Calls as senders write them.

use super::*;
use crate::sources::json;

fn ids(call: &str) -> (Option<String>, Option<String>) {
    let node = json::parse(call, 9).unwrap();
    let envelope = Envelope { call: None, site: None, live: false, planned: &|_| None };
    let told = read(&node, &envelope).remove(0).unwrap().unwrap();
    let of = |key: &str| {
        let ids = told.node.get("click_ids")?;
        ids.get(key).and_then(Node::as_text).map(str::to_owned)
    };
    (of("ga_client_id"), of("ga_session_id"))
}

fn heard(call: &str) -> (Option<Node<'_>>, bool) {
    let node = json::parse(call, 9).unwrap();
    let envelope = Envelope { call: None, site: None, live: false, planned: &|_| None };
    let told = read(&node, &envelope).remove(0).unwrap().unwrap();
    (told.node.get("consent").cloned(), told.asked.counts_unplanned)
}

#[test]
fn signals_beside_the_categories_are_heard() {
    let consent = r#"{"gpc": true, "us_privacy": "1YYN", "ad_storage": "denied",
        "categoryPreferences": {"C0004": true}, "version": 2}"#;
    for call in [
        format!(r#"{{"type": "track", "event": "x", "context": {{"consent": {consent}}}}}"#),
        format!(r#"{{"type": "track", "event": "x", "consent": {consent}}}"#),
        format!(
            r#"{{"batch": [{{"type": "track", "event": "x"}}], "context": {{"consent": {consent}}}}}"#
        ),
    ] {
        let (heard, counts_unplanned) = heard(&call);
        let heard = heard.unwrap();
        assert!(!counts_unplanned);
        assert_eq!(heard.get("gpc"), Some(&Node::Bool(true)), "{call}");
        assert_eq!(heard.get("us_privacy").and_then(Node::as_text), Some("1YYN"));
        assert_eq!(heard.get("ad_storage").and_then(Node::as_text), Some("denied"));
        assert!(heard.get("version").is_none() && heard.get("categoryPreferences").is_none());
    }
    assert!(heard(r#"{"type": "track", "event": "Segment Consent Preference Updated"}"#).1);
}

#[test]
fn what_is_handed_over_to_google_analytics_is_the_events() {
    for (integrations, client, session) in [
        (r#"{"Google Analytics 4": {"clientId": "1.2", "sessionId": "9"}}"#, "1.2", "9"),
        (r#"{"Google Analytics 4 (GA4)": {"clientId": "1.2", "sessionId": 9}}"#, "1.2", "9"),
        (r#"{"GA4": {"client_id": "1.2", "session_id": "9"}}"#, "1.2", "9"),
        (r#"{"GA4_V2": {"clientId": "1.2"}}"#, "1.2", ""),
        (r#"{"Actions Google Analytics 4": {"clientId": "1.2"}}"#, "1.2", ""),
        (r#"{"Amplitude": {"session_id": "9"}, "Gainsight": {"clientId": "4"}}"#, "", ""),
        (r#"{"Google Analytics 4": true, "All": false}"#, "", ""),
        (r#"[]"#, "", ""),
    ] {
        let own = format!(r#"{{"type": "track", "event": "x", "integrations": {integrations}}}"#);
        let shared = format!(
            r#"{{"batch": [{{"type": "track", "event": "x"}}], "integrations": {integrations}}}"#
        );
        let expected = [client, session].map(|id| (!id.is_empty()).then(|| id.to_owned()));
        for call in [own, shared] {
            assert_eq!(<[_; 2]>::from(ids(&call)), expected, "{call}");
        }
    }
    let external = r#"{"type": "track", "event": "x", "context": {"externalId": [
        {"type": "brazeExternalId", "id": "7"}, {"type": "ga4ClientId", "id": "1.2"}]}}"#;
    assert_eq!(ids(external).0.as_deref(), Some("1.2"));
}

/// A dotted path of what a call says.
fn said(call: &str, path: &str) -> String {
    let node = json::parse(call, 9).unwrap();
    let envelope = Envelope { call: None, site: None, live: false, planned: &|_| None };
    let told = read(&node, &envelope).remove(0).unwrap().unwrap();
    let found = path.split('.').try_fold(&told.node, |node, key| node.get(key));
    found.and_then(Node::as_text).unwrap_or_default().to_owned()
}

#[test]
fn who_is_not_to_be_tracked_has_no_advertising_id() {
    for (device, status, id) in [
        (r#""advertisingId": "x""#, "", "x"),
        (r#""advertisingId": "x", "adTrackingEnabled": true"#, "authorized", "x"),
        (r#""advertisingId": "x", "adTrackingEnabled": false"#, "denied", ""),
        (r#""advertisingId": "x", "adTrackingEnabled": "false""#, "denied", ""),
        (r#""advertisingId": "x", "attTrackingStatus": 3"#, "authorized", "x"),
        (r#""advertisingId": "x", "attTrackingStatus": "2""#, "denied", ""),
        (r#""advertisingId": "x", "attTrackingStatus": 1"#, "restricted", ""),
        (r#""advertisingId": "x", "attTrackingStatus": 0"#, "not_determined", "x"),
        (r#""advertisingId": "x", "attTrackingStatus": 9"#, "", "x"),
        (
            r#""advertisingId": "x", "attTrackingStatus": 3, "adTrackingEnabled": false"#,
            "denied",
            "",
        ),
        (
            r#""advertisingId": "x", "attTrackingStatus": 2, "adTrackingEnabled": true"#,
            "denied",
            "",
        ),
    ] {
        let context = format!(r#"{{"device": {{{device}}}, "os": {{"name": "iPhone OS"}}}}"#);
        let own = format!(r#"{{"type": "track", "event": "x", "context": {context}}}"#);
        let shared =
            format!(r#"{{"batch": [{{"type": "track", "event": "x"}}], "context": {context}}}"#);
        for call in [own, shared] {
            assert_eq!(said(&call, "context.app.att_status"), status, "{call}");
            assert_eq!(said(&call, "context.app.advertising_id"), id, "{call}");
            assert_eq!(said(&call, "context.app.os"), "iOS", "{call}");
        }
    }
}

#[test]
fn a_call_names_its_site_and_a_page_itself() {
    let call = r#"{"type": "track", "event": "x", "context": {"site": "shop_eu"}}"#;
    assert_eq!(said(call, "site"), "shop_eu");
    let page =
        r#"{"type": "page", "name": "Home", "category": "Docs", "properties": {"name": "Own"}}"#;
    assert_eq!(said(page, "properties.name"), "Own");
    assert_eq!(said(page, "properties.category"), "Docs");
}
