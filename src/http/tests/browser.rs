//! What a browser sends: beacons, preflights, cookies, bots.

use super::*;

fn with_a_tag(change: impl FnOnce(&mut Config)) -> Fixture {
    Fixture::new(|config| {
        config.write_keys.push(WriteKey {
            name: "tag".to_owned(),
            key: "tag-key".to_owned().into(),
            origins: vec!["https://www.shop.example".to_owned()],
            may: vec![Right::Events, Right::Consent],
            max_value: Some(100.into()),
            ..fixtures::key(KeyKind::Browser)
        });
        change(config);
    })
}

/// Posts a beacon from the site's page.
async fn beacon(
    fixture: &Fixture,
    query: &str,
    more: &[(&str, &str)],
    body: &str,
) -> (u16, header::HeaderMap, Value) {
    let mut request = Request::post(format!("/v1/beacon{query}"))
        .header("host", "t.shop.example")
        .header("content-type", "text/plain;charset=UTF-8");
    if !more.iter().any(|(name, _)| *name == "origin") {
        request = request.header("origin", "https://www.shop.example");
    }
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    fixture.public(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn a_beacon_comes_from_listed_origins_with_a_browsers_key() {
    let fixture = with_a_tag(|_| {});
    let one = r#"{"event": "begin_checkout"}"#;
    let envelope =
        r#"{"key": "tag-key", "events": [{"event": "begin_checkout", "event_id": "e"}]}"#;
    let (own, evil) = ("https://www.shop.example", "https://evil.example");
    for (query, headers, body, expected) in [
        ("", vec![], envelope, 202),
        ("?key=tag-key", vec![], one, 202),
        ("?api_secret=tag-key", vec![], one, 202),
        ("", vec![("authorization", "Bearer tag-key")], one, 202),
        ("?key=tag-key", vec![("origin", evil)], one, 403),
        ("?key=tag-key", vec![("origin", "null")], one, 403),
        ("?key=tag-key", vec![("origin", "https://www.shop.example.evil.example")], one, 403),
        ("", vec![("origin", evil)], envelope, 403),
        ("", vec![], one, 401),
        ("?key=", vec![], one, 401),
        ("?key=wrong", vec![], one, 401),
        ("?key=dev-key", vec![], one, 403),
        ("?key=tag-key&explain=true", vec![], one, 403),
        ("?key=tag-key", vec![], r#"{"event": "purchase", "event_id": "p"}"#, 422),
        ("?key=tag-key", vec![], "{", 400),
        ("?key=tag-key", vec![], r#"{"events": [], "more": 1}"#, 400),
        ("?key=tag-key", vec![], "[]", 202),
    ] {
        let (status, answered, answer) = beacon(&fixture, query, &headers, body).await;
        assert_eq!(status, expected, "{query} {headers:?} {body}: {answer}");
        let is_own = !headers.iter().any(|(name, _)| *name == "origin");
        let allowed = answered.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        assert_eq!(allowed.is_some(), is_own, "{query} {headers:?}");
        assert!(allowed.is_none_or(|origin| origin == own), "never any origin");
        assert_eq!(answered[header::VARY], "origin");
        assert!(!answered.contains_key(header::SET_COOKIE), "nobody consented");
    }
}

#[tokio::test]
async fn a_preflight_is_answered_for_listed_origins() {
    let fixture = with_a_tag(|_| {});
    for (origin, expected) in
        [("https://www.shop.example", 204), ("https://evil.example", 403), ("null", 403)]
    {
        let request = Request::options("/v1/beacon")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .body(Body::empty());
        let (status, headers, _) = fixture.public(request.unwrap()).await;
        assert_eq!(status, expected, "{origin}");
        let allowed = headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_some();
        assert_eq!(allowed, expected == 204, "{origin}");
        assert_eq!(headers.contains_key(header::ACCESS_CONTROL_ALLOW_METHODS), allowed);
    }
}

#[tokio::test]
async fn cookies_follow_the_consent_of_the_events() {
    let fixture = with_a_tag(|_| {});
    let event = |id: &str, said: &str| {
        let consent: serde_json::Map<_, _> = ["ad_storage", "ad_user_data", "analytics_storage"]
            .iter()
            .map(|purpose| ((*purpose).to_owned(), json!(said)))
            .collect();
        json!([{"event": "begin_checkout", "event_id": id, "consent": consent}]).to_string()
    };
    let set = |headers: &header::HeaderMap| -> Vec<String> {
        let lines = headers.get_all(header::SET_COOKIE).iter();
        lines.map(|line| line.to_str().unwrap().to_owned()).collect()
    };
    let (_, headers, answer) = beacon(&fixture, "?key=tag-key", &[], &event("1", "granted")).await;
    assert_eq!(answer["accepted"], 1, "{answer}");
    let lines = set(&headers);
    assert!(lines.len() == 1 && lines[0].ends_with("HttpOnly; Domain=shop.example"), "{lines:?}");
    let id = lines[0].split(';').next().unwrap().to_owned();

    let brought = format!("{id}; _fbp=fb.1.1.2");
    let cookies = [("cookie", brought.as_str())];
    let (_, headers, _) = beacon(&fixture, "?key=tag-key", &cookies, &event("2", "granted")).await;
    let lines = set(&headers);
    assert!(
        lines.len() == 2 && lines[0].starts_with(&id) && lines[1].starts_with("_fbp=fb.1.1.2;")
    );

    // The choice alone: remembered of whom the cookie names, who is then forgotten.
    let denied = r#"{"key": "tag-key", "events": [], "consent": {"ad_storage": "denied", "analytics_storage": "denied"}}"#;
    let (status, headers, answer) = beacon(&fixture, "", &cookies, denied).await;
    assert_eq!((status, answer["accepted"].as_u64()), (202, Some(0)), "{answer}");
    assert!(answer["queued_changed"].is_u64());
    assert!(
        set(&headers).iter().all(|line| line.contains("Max-Age=0")) && set(&headers).len() == 2
    );
    let (status, headers, _) = beacon(&fixture, "", &[], denied).await;
    assert_eq!((status, set(&headers).len()), (202, 0), "nobody is known: nothing to forget");
    let wrong = r#"{"key": "tag-key", "events": [], "consent": {"ad_storage": "maybe"}}"#;
    assert_eq!(beacon(&fixture, "", &cookies, wrong).await.0, 422);
}

#[tokio::test]
async fn bots_and_crowds_are_turned_away() {
    let fixture = with_a_tag(|config| {
        config.write_keys[1].rate_limit_per_address = RateLimit {
            requests_per_second: 1.try_into().ok(),
            burst: 4.try_into().ok(),
            ..RateLimit::default()
        };
    });
    let crawler = [("user-agent", "Mozilla/5.0 (compatible; ExampleBot/2.1)")];
    let one = r#"{"event": "begin_checkout", "event_id": "e"}"#;
    let (status, _, answer) = beacon(&fixture, "?key=tag-key", &crawler, one).await;
    assert_eq!(
        (status, answer["rejected"][0]["code"].as_str()),
        (422, Some("not_allowed")),
        "{answer}"
    );
    assert_eq!(answer["rejected"][0]["event_id"], "e");
    let fast = r#"[{"event": "begin_checkout", "properties": {"scroll_depth": 100, "elapsed_ms": 0}},
        {"event": "begin_checkout", "event_id": "slow", "properties": {"scroll_depth": 100, "elapsed_ms": 9000}}]"#;
    let (status, _, answer) = beacon(&fixture, "?key=tag-key", &[], fast).await;
    assert_eq!((status, answer["accepted"].as_u64()), (202, Some(1)), "{answer}");
    assert_eq!(answer["rejected"][0]["code"], "not_allowed");
    let many: Vec<Value> = (0..300)
        .map(|i| json!({"event": "begin_checkout", "event_id": format!("m{i}"), "context": {"session_id": "s"}}))
        .collect();
    let (_, _, answer) = beacon(&fixture, "?key=tag-key", &[], &json!(many).to_string()).await;
    let accepted = answer["accepted"].as_u64().unwrap();
    assert!((200..260).contains(&accepted), "{accepted}");
    // On a slow machine the bucket fills a little meanwhile.
    let mut last = beacon(&fixture, "?key=tag-key", &[], one).await;
    for _ in 0..50 {
        if last.0 == 429 {
            break;
        }
        last = beacon(&fixture, "?key=tag-key", &[], one).await;
    }
    let (status, headers, answer) = last;
    assert_eq!((status, answer["code"].as_str()), (429, Some("rate_limited")));
    assert!(headers.contains_key(header::RETRY_AFTER));
    assert!(headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "the tag may read it");
}

/// Every door that takes events knows a browser's key, and what such a key may not do.
#[tokio::test]
async fn a_browsers_key_has_the_same_limits_at_every_door() {
    const CRAWLER: &str = "Mozilla/5.0 (compatible; Googlebot/2.1)";
    const VISITOR: &str = "Mozilla/5.0 (X11; Linux x86_64) Chrome/150.0.0.0 Safari/537.36";
    for (path, one) in [
        ("/v1/beacon", r#"{"event": "begin_checkout", "event_id": "ID"}"#),
        ("/v1/events", r#"{"event": "begin_checkout", "event_id": "ID"}"#),
        ("/v1/t", r#"{"event": "begin_checkout", "messageId": "ID", "anonymousId": "a"}"#),
        (
            "/v1/batch",
            r#"{"batch": [{"type": "track", "event": "begin_checkout", "messageId": "ID"}]}"#,
        ),
        (
            "/mp/collect",
            r#"{"client_id": "1.2", "events": [{"name": "begin_checkout", "params": {"event_id": "ID"}}]}"#,
        ),
    ] {
        let fixture = with_a_tag(|config| {
            config.write_keys[1].rate_limit_per_address = RateLimit {
                requests_per_second: 1.try_into().ok(),
                burst: 4.try_into().ok(),
                ..RateLimit::default()
            };
        });
        let post = async |agent: &str, id: &str| {
            let request = Request::post(format!("{path}?api_secret=tag-key"))
                .header("origin", "https://www.shop.example")
                .header("authorization", "Bearer tag-key")
                .header("content-type", "application/json")
                .header("user-agent", agent)
                .body(Body::from(one.replace("ID", id)));
            let (status, _, answer) = fixture.public(request.unwrap()).await;
            (status, answer)
        };
        let (status, answer) = post(CRAWLER, "bot").await;
        assert!(matches!(status, 400 | 422), "{path}: {status} {answer}");
        assert_eq!(answer["rejected"][0]["code"], "not_allowed", "{path}: {answer}");
        assert_eq!(answer["rejected"][0]["event_id"], "bot", "{path}: {answer}");
        assert_eq!(fixture.relay.queue.stats().await.accepted, 0, "{path}");
        let (status, answer) = post(VISITOR, "visitor").await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        // On a slow machine the bucket fills a little meanwhile.
        let mut last = status;
        for at in 0..50 {
            last = post(VISITOR, &format!("v{at}")).await.0;
            if last == 429 {
                break;
            }
        }
        assert_eq!(last, 429, "{path}");
    }
}

#[tokio::test]
async fn a_formula_makes_no_more_of_it_than_the_key_may_claim() {
    let usd = crate::event::Currency::parse("USD");
    let fixture = with_a_tag(|config| {
        config.write_keys[1].may.push(Right::Explain);
        let site = config.sites.get_mut("shop_us").unwrap();
        Arc::make_mut(site).currency = usd;
        let event = config.plan.events.get_mut("begin_checkout").unwrap();
        event.value = Some(crate::value::ValueRule {
            source: crate::value::Source::Formula(
                crate::expression::Expression::compile("value * 30 - tax", true).unwrap(),
            ),
            currency: None,
            bounds: Default::default(),
        });
        config.rates = crate::value::Rates::parse(
            "USD,1,2026-11-22\nKWD,0.5,2026-11-22\n",
            std::time::Duration::from_hours(96),
        )
        .ok();
    });
    for (properties, expected) in [
        (json!({"value": 3, "tax": 0}), json!({"amount": "90.00", "currency": "USD"})),
        (json!({"value": 100, "tax": 0}), json!({"amount": "100.00", "currency": "USD"})),
        (
            json!({"value": "49", "tax": 0, "currency": "KWD"}),
            json!({"amount": "50.000", "currency": "KWD"}),
        ),
        (json!({"value": 1, "tax": -100_000}), Value::Null),
        (json!({"value": 100.01, "tax": 0}), Value::Null),
        (json!({"value": 51, "tax": 0, "currency": "KWD"}), Value::Null),
        (json!({"value": 1, "tax": 0, "currency": "EUR"}), Value::Null),
        (json!({"value": 1, "tax": 0, "predicted_ltv": 101}), Value::Null),
        (json!({"value": 1, "tax": 0, "items": [{"id": "a", "price": 101}]}), Value::Null),
    ] {
        let event = json!({"event": "begin_checkout", "event_id": properties.to_string(), "properties": properties});
        let (_, _, answer) =
            beacon(&fixture, "?key=tag-key&explain=true", &[], &event.to_string()).await;
        let own = &answer["explain"][0]["value"];
        let own = json!({"amount": own["amount"], "currency": own["currency"]});
        if expected.is_null() {
            assert_eq!(answer["rejected"][0]["code"], "not_allowed", "{properties}: {answer}");
        } else {
            assert_eq!(own, expected, "{properties}: {answer}");
        }
    }
}
