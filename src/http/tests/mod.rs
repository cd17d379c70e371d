//! The calls in process, over a queue in memory.

mod admin_calls;
mod browser;

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

    fn keep_paused(&self) -> super::Keeping<'_> {
        Box::pin(async { Ok(()) })
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
