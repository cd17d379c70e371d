//! Who may do what behind the admin listener, and what is written down of it.

use super::*;

#[tokio::test]
async fn admin_calls_need_their_role() {
    let fixture = Fixture::new(|_| {});
    for (method, path, token, body, status) in [
        ("GET", "/admin/v1/stats", "look-token", "", 200),
        ("GET", "/admin/v1/stats", "dev-key", "", 401),
        ("GET", "/metrics", "look-token", "", 200),
        ("GET", "/metrics", "no", "", 401),
        ("GET", "/admin/v1/dead?destination=meta&limit=5", "look-token", "", 200),
        ("GET", "/admin/v1/dead?limit=many", "look-token", "", 400),
        ("POST", "/admin/v1/dead/replay", "look-token", "{}", 403),
        ("POST", "/admin/v1/dead/replay", "op-token", "{}", 200),
        ("POST", "/admin/v1/dead/replay", "op-token", "", 400),
        ("POST", "/admin/v1/dead/discard", "op-token", "{\"destination\": \"meta\"}", 200),
        ("POST", "/admin/v1/dead/discard", "op-token", "{\"ids\": []}", 200),
        ("POST", "/admin/v1/dead/discard", "op-token", "{\"pending\": true}", 400),
        (
            "POST",
            "/admin/v1/dead/replay",
            "op-token",
            "{\"destination\": \"meta\", \"pending\": true}",
            400,
        ),
        ("POST", "/admin/v1/dead/replay", "op-token", "{\"limit\": 1}", 400),
        ("POST", "/admin/v1/dead/discard", "op-token", "{\"destinatoin\": \"meta\"}", 400),
        ("POST", "/admin/v1/dead/discard", "op-token", "{\"destination\": \"mata\"}", 404),
        ("POST", "/admin/v1/dead/replay", "op-token", "{\"destination\": \"mata\"}", 404),
        ("POST", "/admin/v1/destinations/meta/pause", "look-token", "", 403),
        ("POST", "/admin/v1/destinations/nobody/pause", "op-token", "", 404),
        ("POST", "/admin/v1/config/reload", "op-token", "", 422),
        ("GET", "/admin/v1/events/unknown", "look-token", "", 404),
        ("GET", "/admin/v1/nothing", "op-token", "", 404),
    ] {
        let (found, answer) = fixture.admin(method, path, token, body).await;
        assert_eq!(found, status, "{method} {path}: {answer}");
        assert!(found < 400 || found == 422 || answer["code"].is_string(), "{answer}");
    }
    let (_, dead) = fixture.admin("GET", "/admin/v1/dead", "look-token", "").await;
    assert_eq!(dead, json!([]));
    let mistyped = "{\"destination\": \"mata\"}";
    let (_, told) = fixture.admin("POST", "/admin/v1/dead/replay", "op-token", mistyped).await;
    assert!(told["detail"].as_str().unwrap().contains("did you mean \"meta\""), "{told}");
    let (_, count) = fixture.admin("POST", "/admin/v1/dead/replay", "op-token", "{}").await;
    assert_eq!(count, json!({"count": 0}));
    let both = "{\"destination\": \"meta\", \"pending\": true, \"reason\": \"rejected\"}";
    let (status, told) = fixture.admin("POST", "/admin/v1/dead/discard", "op-token", both).await;
    assert_eq!(status, 400, "what waits has no reason: {told}");
    let pause = "/admin/v1/destinations/meta/pause";
    let (_, state) = fixture.admin("POST", pause, "op-token", "").await;
    assert_eq!(state, json!({"name": "meta", "state": "paused"}));
    let (_, page) = fixture.admin("GET", "/", "", "").await;
    assert!(page.as_str().unwrap().starts_with("<!doctype html>"));
}

#[tokio::test]
async fn an_event_can_be_traced() {
    let fixture = Fixture::new(|_| {});
    fixture.post(json!([purchase("traced"), purchase("traced")]).to_string()).await;
    let (status, trace) = fixture.admin("GET", "/admin/v1/events/traced", "look-token", "").await;
    assert_eq!(status, 200, "{trace}");
    assert_eq!(trace["event_id"], "traced");
    let copies = trace["copies"].as_array().unwrap();
    assert_eq!(copies[0]["status"], "accepted", "{trace}");
    assert_eq!(copies[0]["consent"]["grants"]["ad_storage"], "granted");
    assert_eq!(copies[0]["received_at"], "2026-11-22T12:00:00Z");
}

#[tokio::test]
async fn the_description_lists_every_call() {
    let fixture = Fixture::new(|_| {});
    let (status, _, document) =
        fixture.public(Request::get("/openapi.json").body(Body::empty()).unwrap()).await;
    assert_eq!(status, 200);
    for (path, call) in document["paths"].as_object().unwrap() {
        let method = call.as_object().unwrap().keys().next().unwrap().to_uppercase();
        let path = path.replace("{name}", "x").replace("{event_id}", "x");
        let request = || Request::builder().method(method.as_str()).uri(&path).body(Body::empty());
        let (on_public, ..) = fixture.public(request().unwrap()).await;
        let (on_admin, ..) = {
            let asked = Fixture::ask(admin(fixture.relay.clone()), request().unwrap()).await;
            (asked.0.as_u16(), asked.2)
        };
        let served = |status: u16| status != 404 && status != 405;
        // Whose names are the configuration's, which has none here.
        let is_named = path.starts_with("/v1/webhooks/") && on_public == 404 && on_admin == 404;
        assert!(
            is_named || served(on_public) || served(on_admin),
            "{method} {path}: {on_public} {on_admin}"
        );
    }
}

/// Every admin call, and the roles that may: who adds a call adds it here.
const ADMIN_CALLS: [(&str, &str, &str); 18] = [
    ("GET", "/metrics", "op look media privacy"),
    ("GET", "/admin/v1/stats", "op look media privacy"),
    ("GET", "/admin/v1/alerts", "op look media privacy"),
    ("POST", "/admin/v1/orders", "op look media privacy"),
    ("GET", "/admin/v1/dead", "op look media privacy"),
    ("GET", "/admin/v1/dead/groups", "op look media privacy"),
    ("POST", "/admin/v1/dead/replay", "op"),
    ("POST", "/admin/v1/dead/discard", "op"),
    ("GET", "/admin/v1/events/{event_id}", "op look media privacy"),
    ("POST", "/admin/v1/destinations/{name}/pause", "op"),
    ("POST", "/admin/v1/destinations/{name}/resume", "op"),
    ("POST", "/admin/v1/config/reload", "op"),
    ("GET", "/admin/v1/evidence", "privacy"),
    ("GET", "/admin/v1/evidence/verify", "privacy"),
    ("GET", "/admin/v1/audit", "privacy"),
    ("POST", "/admin/v1/privacy/withdraw", "privacy"),
    ("POST", "/admin/v1/privacy/erase", "privacy"),
    ("POST", "/admin/v1/privacy/export", "privacy"),
];

#[tokio::test]
async fn every_admin_call_takes_its_roles_and_no_other() {
    let fixture = Fixture::new(|_| {});
    for (method, path, roles) in ADMIN_CALLS {
        let path = path.replace("{event_id}", "x").replace("{name}", "meta");
        for (name, _) in ROLES {
            let (status, answer) =
                fixture.admin(method, &path, &format!("{name}-token"), "{}").await;
            let may = roles.split(' ').any(|role| role == name);
            assert_eq!(status != 403, may, "{method} {path} as {name}: {status} {answer}");
            assert_ne!(status, 401, "{method} {path} as {name}: {answer}");
        }
        for wrong in ["", "op-toke", "dev-key", "op-token2"] {
            let (status, answer) = fixture.admin(method, &path, wrong, "{}").await;
            assert_eq!(status, 401, "{method} {path} with {wrong:?}: {answer}");
        }
    }
    let (_, _, document) =
        fixture.public(Request::get("/openapi.json").body(Body::empty()).unwrap()).await;
    for (path, call) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/admin/") && path != "/metrics" {
            continue;
        }
        for method in call.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            let method = method.to_uppercase();
            let is_listed = ADMIN_CALLS.iter().any(|(m, p, _)| *m == method && p == path);
            assert!(is_listed, "{method} {path} is not in ADMIN_CALLS");
        }
    }
}

/// Whatever a call is given, it answers only what the description says that it may.
#[tokio::test]
async fn every_admin_answer_is_in_the_description() {
    let fixture = Fixture::new(|_| {});
    let (_, _, document) =
        fixture.public(Request::get("/openapi.json").body(Body::empty()).unwrap()).await;
    let mut seen = std::collections::BTreeSet::new();
    for (method, path, roles) in ADMIN_CALLS {
        let role = roles.split(' ').next().unwrap();
        let declared = &document["paths"][path][method.to_lowercase()]["responses"];
        let called = path.replace("{event_id}", "x").replace("{name}", "nobody");
        for body in [
            "",
            "{}",
            "{\"destination\": \"nobody\"}",
            "{\"orders\": [{\"order_id\": \"1\", \"site\": \"no\"}]}",
            "{\"user\": {}}",
            "{\"user\": {\"emial\": \"a\"}}",
            "{\"user\": {\"external_id\": \"u\"}, \"site\": \"no\"}",
            "{\"user\": {\"external_id\": \"u\"}}",
        ] {
            for query in ["", "?limit=many&from=then"] {
                let asked = format!("{called}{query}");
                for token in [&format!("{role}-token"), "wrong"] {
                    let (status, answer) = fixture.admin(method, &asked, token, body).await;
                    let of = declared.get(status.to_string());
                    assert!(of.is_some(), "{method} {asked} {body}: {status} {answer}");
                    seen.insert(status);
                }
            }
        }
        let large = " ".repeat(5 << 20);
        let (status, _) = fixture.admin(method, &called, &format!("{role}-token"), &large).await;
        assert!(declared.get(status.to_string()).is_some(), "{method} {called}: {status}");
    }
    for status in [200, 400, 401, 404, 422] {
        assert!(seen.contains(&status), "{status} is put to the test");
    }
}

#[tokio::test]
async fn every_act_is_written_down_and_reads_are_not() {
    let fixture = Fixture::new(|_| {});
    let destination = "{\"destination\": \"meta\", \"ids\": [\"a\", \"b\"]}";
    let id = "00".repeat(16);
    let group = format!("{{\"group\": \"5eed\", \"ids\": [\"{id}\"]}}");
    for (method, path, token, body) in [
        ("GET", "/admin/v1/stats", "look", ""),
        ("GET", "/admin/v1/dead", "look", ""),
        ("POST", "/admin/v1/dead/replay", "op", destination),
        ("POST", "/admin/v1/dead/discard", "op", group.as_str()),
        ("POST", "/admin/v1/dead/discard", "look", "{}"),
        ("POST", "/admin/v1/destinations/meta/pause", "op", ""),
        ("POST", "/admin/v1/config/reload", "op", ""),
        (
            "POST",
            "/admin/v1/privacy/erase",
            "privacy",
            "{\"site\": \"shop_us\", \"user\": {\"email\": \"jane@example.com\"}}",
        ),
        ("POST", "/admin/v1/config/reload", "nobody", ""),
        ("GET", "/admin/v1/evidence", "privacy", ""),
    ] {
        fixture.admin(method, path, &format!("{token}-token"), body).await;
    }
    let (status, lines) = fixture.admin("GET", "/admin/v1/audit", "privacy-token", "").await;
    assert_eq!(status, 200, "{lines}");
    let text = lines.as_str().unwrap();
    assert!(
        !text.contains("jane") && !text.contains("-token"),
        "neither identity nor secret: {text}"
    );
    let acts: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<(&str, &str, u64)> = acts
        .iter()
        .map(|act| {
            let call = act["call"].as_str().unwrap().rsplit('/').next().unwrap();
            (act["who"].as_str().unwrap_or("-"), call, act["status"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("op", "replay", 200),
            ("op", "discard", 200),
            ("look", "discard", 403),
            ("op", "pause", 200),
            ("op", "reload", 422),
            ("privacy", "erase", 200),
            ("-", "reload", 401),
            ("privacy", "evidence", 200),
        ],
        "{text}"
    );
    assert_eq!(acts[0]["detail"], json!({"destination": "meta", "ids": 2, "count": 0}));
    assert_eq!(acts[1]["detail"], json!({"group": "5eed", "ids": [id], "count": 0}));
    assert_eq!(acts[2]["code"], "not_allowed");
    assert_eq!(acts[5]["detail"], json!({"site": "shop_us", "count": 0}));
    assert_eq!(acts[0]["from"], "203.0.113.9");
    let (_, own) = fixture.admin("GET", "/admin/v1/audit?who=op", "privacy-token", "").await;
    assert_eq!(own.as_str().unwrap().lines().count(), 4);
    let (status, _) = fixture.admin("GET", "/admin/v1/audit?who=op&x=1", "privacy-token", "").await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn an_act_whose_caller_hangs_up_is_written_down_too() {
    let fixture = Fixture::new(|_| {});
    let request = Request::post("/admin/v1/dead/replay")
        .header("authorization", "Bearer op-token")
        .body(Body::from("{}"))
        .unwrap();
    // Polled once, and dropped while the act is on its way.
    let answer = Fixture::ask(admin(fixture.relay.clone()), request);
    let left = tokio::time::timeout(std::time::Duration::ZERO, answer).await;
    assert!(left.is_err(), "it hung up before the answer");
    for _ in 0..500 {
        let (_, log) = fixture.admin("GET", "/admin/v1/audit?who=op", "privacy-token", "").await;
        // One line is an object, more are a text.
        if log.to_string().contains("/admin/v1/dead/replay") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the act has no line");
}

#[tokio::test]
async fn who_guesses_is_slowed_and_shut_out() {
    let fixture = Fixture::new(|_| {});
    let router = admin(fixture.relay.clone());
    let ask = |token: Option<String>| {
        let mut request = Request::get("/admin/v1/stats");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        Fixture::ask(router.clone(), request.body(Body::empty()).unwrap())
    };
    let begun = crate::clock::Stopwatch::start();
    let mut guesses = tokio::task::JoinSet::new();
    (0..19).for_each(|n| _ = guesses.spawn(ask(Some(format!("guess-{n}")))));
    while let Some(answer) = guesses.join_next().await {
        assert_eq!(answer.unwrap().0, 401);
    }
    let took = begun.elapsed();
    assert!(took >= std::time::Duration::from_millis(1400), "the last one waits: {took:?}");
    assert_eq!(ask(None).await.0, 401, "who sends none guesses none");
    let (status, headers, answer) = ask(Some("guess-20".to_owned())).await;
    assert_eq!((status.as_u16(), answer["code"].as_str()), (429, Some("rate_limited")));
    assert!(headers.contains_key(header::RETRY_AFTER));
    assert_eq!(ask(Some("op-token".to_owned())).await.0, 429, "not even a right one is looked at");
    let health = Request::get("/healthz").body(Body::empty()).unwrap();
    assert_eq!(Fixture::ask(router.clone(), health).await.0, 200);
}
