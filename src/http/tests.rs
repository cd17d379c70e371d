//! The calls in process, over a queue in memory.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use arc_swap::ArcSwap;
use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode, header},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{DeliveryControl, Relay, Throttle, admin, public};
use crate::{
    clock::Clock,
    config::{AdminRole, AdminToken, Config, KeyKind, RateLimit, Right, WriteKey},
    pipeline::SubjectKey,
    plan::UnknownEvents,
    queue::{Disk, Judgement, MemoryDisk, Opening, Queue},
    sources::fixtures,
};

/// A token for each role.
const ROLES: [(&str, AdminRole); 4] = [
    ("op", AdminRole::Operator),
    ("look", AdminRole::Viewer),
    ("media", AdminRole::Media),
    ("privacy", AdminRole::Privacy),
];

/// Delivery to one destination, of which it only remembers whether it is paused.
#[derive(Default)]
struct Remembering(Mutex<BTreeMap<String, String>>);

impl Remembering {
    fn set(&self, name: &str, state: &str) -> Option<String> {
        if name != "meta" {
            return None;
        }
        self.0.lock().unwrap().insert(name.to_owned(), state.to_owned());
        Some(state.to_owned())
    }
}

impl DeliveryControl for Remembering {
    fn pause(&self, name: &str) -> Option<String> {
        self.set(name, "paused")
    }

    fn resume(&self, name: &str) -> Option<String> {
        self.set(name, "running")
    }

    fn states(&self) -> BTreeMap<String, String> {
        let mut states = self.0.lock().unwrap().clone();
        states.entry("meta".to_owned()).or_insert_with(|| "running".to_owned());
        states
    }
}

struct Fixture {
    relay: Arc<Relay>,
    disk: MemoryDisk,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = fixtures::config();
        config.admin_tokens = ROLES
            .map(|(name, role)| AdminToken {
                name: name.to_owned(),
                token: format!("{name}-token").into(),
                roles: vec![role],
            })
            .to_vec();
        change(&mut config);
        let folder = tempfile::tempdir().unwrap();
        let disk = MemoryDisk::default();
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let clock: Clock = Arc::new(move || now);
        let opening = Opening {
            folder: folder.path().to_owned(),
            settings: config.queue.clone(),
            retention: config.retention,
            mode: config.mode,
            clock: clock.clone(),
            random: [7; 32],
            disk: Disk::default(),
        };
        let queue = Queue::open_in_memory(opening, &disk).unwrap();
        let key = SubjectKey::new(&queue.subject_secret());
        let relay = Arc::new(Relay {
            config: Arc::new(ArcSwap::from_pointee(config)),
            queue,
            data: folder.path().to_owned(),
            key,
            clock,
            geoip: Arc::new(|_| None),
            throttle: Throttle::default(),
            arrivals: Arc::default(),
            alerts: Default::default(),
            judge: Arc::new(|_, _, _| Judgement::Same),
            delivery: Arc::new(Remembering::default()),
            reload: Arc::new(|| Box::pin(async { Err(json!({"findings": []})) })),
            metrics: Arc::new(|| "# metrics\n".to_owned()),
            stop: CancellationToken::new(),
        });
        Self { relay, disk, _folder: folder }
    }

    async fn ask(
        router: Router,
        mut request: Request<Body>,
    ) -> (StatusCode, header::HeaderMap, Value) {
        let peer: SocketAddr = ([203, 0, 113, 9], 4711).into();
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = router.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (parts.status, parts.headers, value)
    }

    async fn post(&self, body: impl Into<String>) -> (u16, Value) {
        let request = Request::post("/v1/events")
            .header("authorization", "Bearer dev-key")
            .header("content-type", "application/json")
            .body(Body::from(body.into()));
        let (status, _, answer) = Self::ask(public(self.relay.clone()), request.unwrap()).await;
        (status.as_u16(), answer)
    }

    async fn public(&self, request: Request<Body>) -> (u16, header::HeaderMap, Value) {
        let (status, headers, answer) = Self::ask(public(self.relay.clone()), request).await;
        (status.as_u16(), headers, answer)
    }

    async fn admin(&self, method: &str, path: &str, token: &str, body: &str) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .body(Body::from(body.to_owned()));
        let (status, _, answer) = Self::ask(admin(self.relay.clone()), request.unwrap()).await;
        (status.as_u16(), answer)
    }
}

fn purchase(id: &str) -> Value {
    json!({"event": "purchase", "event_id": id, "consent": {"ad_storage": "granted"}})
}

#[tokio::test]
async fn every_event_is_counted_once() {
    let fixture = Fixture::new(|config| config.plan.unknown_events = UnknownEvents::Keep);
    let events = json!([
        purchase("a"),
        purchase("a"),
        {"event": "purchase"},
        {"event": "something_else"},
        {"event": "purchase", "test": true, "event_id": "t"},
        {"event": "purchase", "user": {"email": 5}, "event_id": "bad"},
    ]);
    let (status, answer) = fixture.post(events.to_string()).await;
    assert_eq!(status, 202, "{answer}");
    let count = |name: &str| answer[name].as_u64().unwrap();
    assert_eq!(
        ["accepted", "duplicate", "suppressed", "criteria_not_met", "unplanned", "test", "held"]
            .map(count),
        [2, 1, 0, 0, 1, 1, 0],
        "{answer}"
    );
    assert_eq!(count("derived_ids"), 2);
    assert_eq!(
        answer["rejected"],
        json!([{
            "index": 5, "event_id": "bad", "code": "invalid_field",
            "message": "expected a string, not a number", "path": "/5/user/email",
        }])
    );
    let (_, stats) = fixture.admin("GET", "/admin/v1/stats", "look-token", "").await;
    assert_eq!((&stats["accepted"], &stats["rejected"]), (&json!(2), &json!(1)), "{stats}");
}

#[tokio::test]
async fn all_rejected_is_422_and_nothing_is_202() {
    let fixture = Fixture::new(|_| {});
    let (status, answer) = fixture.post(r#"{"event": "purchsae"}"#).await;
    assert_eq!(status, 422);
    assert_eq!(answer["rejected"][0]["code"], "unknown_event");
    assert_eq!(answer["accepted"], 0);
    let (status, answer) = fixture.post("[]").await;
    assert_eq!((status, &answer["rejected"]), (202, &json!([])));
    let (status, _) = fixture.post("7").await;
    assert_eq!(status, 422);
}

#[tokio::test]
async fn bodies_that_are_no_events_are_refused_whole() {
    let fixture = Fixture::new(|config| {
        config.limits.events_per_request = 2;
        config.limits.request_bytes = 200;
    });
    for (body, status, code) in [
        ("{\"event\": NaN}", 400, "malformed_json"),
        ("", 400, "malformed_json"),
        ("{\"events\": 1}", 400, "not_events"),
        ("[1, 2, 3]", 413, "too_large"),
        (&" ".repeat(201), 413, "too_large"),
    ] {
        let (found, answer) = fixture.post(body).await;
        assert_eq!((found, answer["code"].as_str()), (status, Some(code)), "{body}: {answer}");
        assert!(answer["detail"].is_string());
    }
    let (_, answer) = fixture.post("{\n \"event\": NaN}").await;
    assert!(answer["detail"].as_str().unwrap().contains("line 2 column 11"), "{answer}");
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let fixture = Fixture::new(|config| {
        config.write_keys.push(WriteKey {
            name: "tag".to_owned(),
            key: "tag-key".to_owned().into(),
            origins: vec!["https://shop.example".to_owned()],
            ..fixtures::key(KeyKind::Browser)
        });
        config.write_keys.push(WriteKey {
            name: "consent".to_owned(),
            key: "consent-key".to_owned().into(),
            may: vec![Right::Consent],
            ..fixtures::key(KeyKind::Server)
        });
    });
    let post = |uri: &str, headers: &[(&str, &str)]| {
        let mut request = Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        fixture.public(request.body(Body::from(r#"{"event": "begin_checkout"}"#)).unwrap())
    };
    let bearer = ("authorization", "Bearer dev-key");
    let tag = ("authorization", "Bearer tag-key");
    let (status, headers, answer) = post("/v1/events", &[]).await;
    assert_eq!((status, answer["code"].as_str()), (401, Some("unauthorized")));
    assert!(headers.contains_key(header::WWW_AUTHENTICATE));
    for (uri, headers, expected) in [
        ("/v1/events", vec![bearer], 202),
        ("/v1/events?api_secret=dev-key", vec![], 202),
        ("/v1/events", vec![("authorization", "Bearer wrong")], 401),
        ("/v1/events", vec![("authorization", "Bearer consent-key")], 403),
        ("/v1/events?explain=true", vec![bearer], 403),
        ("/v1/events?explain=false", vec![bearer], 202),
        ("/v1/events", vec![tag], 202),
        ("/v1/events", vec![tag, ("origin", "https://shop.example")], 202),
        ("/v1/events", vec![tag, ("origin", "https://evil.example")], 403),
        ("/v1/events", vec![bearer, ("content-type", "text/html")], 415),
        ("/v1/events", vec![bearer, ("content-encoding", "br")], 415),
        ("/v1/nothing", vec![bearer], 404),
    ] {
        let (status, _, answer) = post(uri, &headers).await;
        assert_eq!(status, expected, "{uri} {headers:?}: {answer}");
        assert!(status == 202 || answer["code"].is_string(), "{answer}");
    }
    let wrong_method = Request::get("/v1/events").body(Body::empty()).unwrap();
    let (status, _, answer) = fixture.public(wrong_method).await;
    assert_eq!((status, answer["code"].as_str()), (405, Some("method_not_allowed")));
}

#[tokio::test]
async fn explanations_come_with_the_answer() {
    let fixture = Fixture::new(|config| config.write_keys[0].may.push(Right::Explain));
    let request = || {
        let body = json!([purchase("e"), {"event": "nope"}]).to_string();
        Request::post("/v1/events?explain=true")
            .header("authorization", "Bearer dev-key")
            .body(Body::from(body))
            .unwrap()
    };
    let (status, _, answer) = fixture.public(request()).await;
    assert_eq!(status, 202, "{answer}");
    let lines = answer["explain"].as_array().unwrap();
    let statuses: Vec<_> = lines.iter().map(|line| line["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["accepted", "rejected"]);
    assert_eq!(lines[1]["errors"][0]["code"], "unknown_event");
    let (_, _, again) = fixture.public(request()).await;
    assert_eq!(again["explain"][0]["status"], "duplicate", "{again}");
}

#[tokio::test]
async fn a_key_has_its_own_limit() {
    let fixture = Fixture::new(|config| {
        config.write_keys[0].rate_limit = Some(RateLimit {
            requests_per_second: 1.try_into().ok(),
            events_per_second: None,
            burst: 1.try_into().ok(),
            requests_per_day: None,
        });
    });
    assert_eq!(fixture.post(purchase("1").to_string()).await.0, 202);
    let request = Request::post("/v1/events")
        .header("authorization", "Bearer dev-key")
        .body(Body::from(purchase("2").to_string()))
        .unwrap();
    let (status, headers, answer) = fixture.public(request).await;
    assert_eq!((status, answer["code"].as_str()), (429, Some("rate_limited")));
    assert_eq!(headers[header::RETRY_AFTER], "1");
}

#[tokio::test]
async fn a_failing_disk_is_503_and_not_ready() {
    let fixture = Fixture::new(|_| {});
    let ready = || fixture.public(Request::get("/readyz").body(Body::empty()).unwrap());
    assert_eq!(ready().await.0, 200);
    fixture.disk.fail(true);
    let request = Request::post("/v1/events")
        .header("authorization", "Bearer dev-key")
        .body(Body::from(purchase("lost").to_string()))
        .unwrap();
    let (status, headers, answer) = fixture.public(request).await;
    assert_eq!((status, answer["code"].as_str()), (503, Some("store_failed")), "{answer}");
    assert!(headers.contains_key(header::RETRY_AFTER));
    assert_eq!(ready().await.0, 503);
    let (status, _, _) =
        fixture.public(Request::get("/healthz").body(Body::empty()).unwrap()).await;
    assert_eq!(status, 200, "alive all the same");
}

#[tokio::test]
async fn a_relay_that_stops_is_not_ready() {
    let fixture = Fixture::new(|_| {});
    fixture.relay.stop.cancel();
    let (status, _, answer) =
        fixture.public(Request::get("/readyz").body(Body::empty()).unwrap()).await;
    assert_eq!((status, answer["code"].as_str()), (503, Some("stopping")));
}

#[tokio::test]
async fn a_panic_is_answered_too() {
    let router = super::finished(Router::new().route(
        "/",
        axum::routing::get(|| async {
            let nothing: Vec<u8> = Vec::new();
            nothing[nothing.len()].to_string()
        }),
    ));
    let (status, headers, answer) =
        Fixture::ask(router, Request::get("/").body(Body::empty()).unwrap()).await;
    assert_eq!((status.as_u16(), answer["code"].as_str()), (503, Some("internal")));
    assert!(headers.contains_key(header::RETRY_AFTER));
}

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

#[tokio::test]
async fn every_act_is_written_down_and_reads_are_not() {
    let fixture = Fixture::new(|_| {});
    let destination = "{\"destination\": \"meta\", \"ids\": [\"a\", \"b\"]}";
    for (method, path, token, body) in [
        ("GET", "/admin/v1/stats", "look", ""),
        ("GET", "/admin/v1/dead", "look", ""),
        ("POST", "/admin/v1/dead/replay", "op", destination),
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
    assert_eq!(acts[1]["code"], "not_allowed");
    assert_eq!(acts[4]["detail"], json!({"site": "shop_us", "count": 0}));
    assert_eq!(acts[0]["from"], "203.0.113.9");
    let (_, own) = fixture.admin("GET", "/admin/v1/audit?who=op", "privacy-token", "").await;
    assert_eq!(own.as_str().unwrap().lines().count(), 3);
    let (status, _) = fixture.admin("GET", "/admin/v1/audit?who=op&x=1", "privacy-token", "").await;
    assert_eq!(status, 400);
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

/// A relay with a browser's key.
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
