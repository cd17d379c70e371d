//! The server: credentials, what it shows, and faults.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request as HttpRequest},
};
use base64::Engine as _;
use conversion_relay::{
    clock::Clock,
    sandbox::{Sandbox, SandboxOptions, router, serve},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::ServiceExt as _;

use super::{
    google::{ga4_example, google_example},
    hash,
    meta::meta_example,
    now, with,
};

pub(super) struct Server {
    sandbox: Arc<Sandbox>,
    router: Router,
}

impl Server {
    pub(super) fn new() -> Self {
        let options = SandboxOptions { clock: Arc::new(now), ..SandboxOptions::default() };
        let sandbox = Sandbox::new(options);
        Self { router: router(sandbox.clone()), sandbox }
    }

    pub(super) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> (u16, HeaderMap, Vec<u8>) {
        let mut request = HttpRequest::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.into())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        (parts.status.as_u16(), parts.headers, body)
    }

    async fn post(&self, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let token = format!("Bearer {token}");
        let headers = [("content-type", "application/json"), ("authorization", token.as_str())];
        let (status, _, body) = self.call("POST", path, &headers, body.to_string()).await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn meta(&self) -> (u16, Value) {
        self.post("/meta/v26.0/123/events", "sandbox-access_token", &meta_example()).await
    }

    async fn fault(&self, fault: Value) {
        let (status, _, body) =
            self.call("POST", "/sandbox/v1/faults", &[], fault.to_string()).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    }

    async fn received(&self, query: &str) -> Vec<Value> {
        let path = format!("/sandbox/v1/received{query}");
        let (_, _, body) = self.call("GET", &path, &[], "").await;
        let text = String::from_utf8(body).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn google_token(&self) -> String {
        let form = "grant_type=refresh_token&client_id=c&client_secret=sandbox-client_secret\
            &refresh_token=sandbox-refresh_token";
        let (status, body) = self.token(form).await;
        assert_eq!((status, &body["expires_in"]), (200, &json!(3_599)));
        body["access_token"].as_str().unwrap().to_owned()
    }

    async fn token(&self, form: &str) -> (u16, Value) {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let (status, _, body) = self.call("POST", "/google_ads/token", &headers, form).await;
        (status, serde_json::from_slice(&body).unwrap())
    }
}

#[tokio::test]
async fn what_arrived_is_shown_without_credentials() {
    let server = Server::new();
    assert_eq!(server.meta().await.0, 200);
    let (status, body) = server.post("/meta/v26.0/9/events", "wrong", &meta_example()).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!(190)));
    let lines = server.received("?platform=meta&destination=123").await;
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(line["accepted"], json!(["ord-1001"]));
    assert_eq!(line["refused"], json!([]));
    assert_eq!((&line["method"], &line["status"]), (&json!("POST"), &json!(200)));
    assert_eq!(line["path"], "/meta/v26.0/123/events");
    assert_eq!(line["headers"]["authorization"], "[REDACTED]");
    assert_eq!(line["body"], meta_example());
    assert_eq!(line["at"], "2026-11-22T04:05:00Z");
    let lines = server.received("?destination=9").await;
    assert_eq!((lines[0]["refused"][0]["index"].clone(), lines.len()), (Value::Null, 1));
    assert!(server.received("?platform=ga4").await.is_empty());
    let summary = server.sandbox.summary();
    assert_eq!((&summary["meta"]["accepted"], &summary["meta"]["refused"]), (&json!(1), &json!(1)));
    assert_eq!(summary["meta"]["destinations"]["123"]["accepted"], 1);
    assert_eq!(server.call("DELETE", "/sandbox/v1/received", &[], "").await.0, 204);
    assert!(server.received("").await.is_empty());
}

#[tokio::test]
async fn each_platform_wants_its_own_credentials() {
    let server = Server::new();
    let json = [("content-type", "application/json")];
    let meta = meta_example().to_string();
    for path in ["/meta/v26.0/1/events?access_token=sandbox-access_token", "/meta/v26.0/1/events"] {
        let wanted = if path.contains('?') { 200 } else { 401 };
        assert_eq!(server.call("POST", path, &json, meta.clone()).await.0, wanted);
    }
    let ga4 = ga4_example().to_string();
    let path = "/ga4/mp/collect?measurement_id=G-1&api_secret=";
    server.call("POST", &format!("{path}sandbox-api_secret"), &json, ga4.clone()).await;
    let (status, ..) = server.call("POST", &format!("{path}wrong"), &json, ga4).await;
    assert_eq!(status, 204, "nobody is told");
    let lines = server.received("?platform=ga4").await;
    assert_eq!(lines[0]["accepted"], json!(["ord-1"]));
    assert_eq!(lines[1]["accepted"], json!([]));
    assert!(lines[1]["refused"][0]["why"].as_str().unwrap().contains("token"));
    assert!(!lines[0].to_string().contains("sandbox-api_secret"));

    let event = json!({"event": "lead", "event_id": "e"}).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"sandbox-secret").unwrap();
    mac.update(event.as_bytes());
    let digest: String = mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect();
    let signature = format!("sha256={digest}");
    let wrong = format!("sha256={}", hash("x"));
    let basic = base64::engine::general_purpose::STANDARD.encode("sandbox-basic");
    let basic = format!("Basic {basic}");
    let ways = [
        ("x-signature-256", signature.as_str(), 200),
        ("x-signature-256", wrong.as_str(), 401),
        ("authorization", "Bearer sandbox-bearer", 200),
        ("authorization", basic.as_str(), 200),
        ("authorization", "Bearer other", 401),
        ("x-nothing", "", 401),
    ];
    for (name, value, wanted) in ways {
        let headers = [json[0], (name, value)];
        let (status, ..) = server.call("POST", "/webhook/crm", &headers, event.clone()).await;
        assert_eq!(status, wanted, "{name}: {value}");
    }
    assert_eq!(server.call("POST", "/nowhere/x", &[], "").await.0, 404);
}

#[tokio::test]
async fn data_manager_gives_tokens_and_tells_later_what_failed() {
    let server = Server::new();
    let (status, body) = server
        .token(
            "grant_type=refresh_token&client_id=c\
        &client_secret=sandbox-client_secret&refresh_token=revoked",
        )
        .await;
    assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")));
    let (status, body) = server.token("grant_type=password").await;
    assert_eq!((status, &body["error"]), (400, &json!("unsupported_grant_type")));
    let path = "/google_ads/v1/events:ingest";
    let (status, body) = server.post(path, "sandbox-access_token", &google_example()).await;
    assert_eq!((status, &body["error"]["status"]), (401, &json!("UNAUTHENTICATED")));

    let token = server.google_token().await;
    let good = google_example()["events"][0].clone();
    let old = with(&json!([good]), "/0/eventTimestamp", json!("2026-07-01T00:00:00Z"))[0].clone();
    let denied = with(&json!([good]), "/0/consent/adUserData", json!("CONSENT_DENIED"))[0].clone();
    let body = with(&google_example(), "/events", json!([good, old, denied]));
    let (status, body) = server.post(path, &token, &body).await;
    assert_eq!(status, 200, "what is checked later is taken now: {body}");
    let line = server.received("?platform=google_ads&destination=1234567890").await.pop().unwrap();
    assert_eq!(line["accepted"].as_array().unwrap().len(), 1);
    assert_eq!(line["refused"][0]["index"], 1);

    let ask = async |server: &Server, id: &str| {
        let path = format!("/google_ads/v1/requestStatus:retrieve?requestId={id}");
        let token = format!("Bearer {token}");
        let (status, _, body) = server.call("GET", &path, &[("authorization", &token)], "").await;
        (status, serde_json::from_slice::<Value>(&body).unwrap())
    };
    let id = body["requestId"].as_str().unwrap();
    let (_, told) = ask(&server, id).await;
    assert_eq!(told["requestStatusPerDestination"][0]["requestStatus"], "PROCESSING");
    assert_eq!(ask(&server, "unheard-of").await.0, 400);
    assert!(server.received("?platform=google_ads").await.len() == 2, "events only");
    assert!(server.received("?platform=google_ads&all=true").await.len() > 2);
}

#[tokio::test]
async fn a_status_is_told_once_processed() {
    let time = Arc::new(std::sync::Mutex::new(now()));
    let read = Arc::clone(&time);
    let clock: Clock = Arc::new(move || *read.lock().unwrap());
    let options = SandboxOptions { clock, ..SandboxOptions::default() };
    let sandbox = Sandbox::new(options);
    let server = Server { router: router(sandbox.clone()), sandbox };
    let token = server.google_token().await;
    let good = google_example()["events"][0].clone();
    let old = with(&json!([good]), "/0/eventTimestamp", json!("2026-07-01T00:00:00Z"))[0].clone();
    let mut told = Vec::new();
    for events in [json!([good]), json!([good, old, old]), json!([old])] {
        let body = with(&google_example(), "/events", events);
        let (_, body) = server.post("/google_ads/v1/events:ingest", &token, &body).await;
        let id = body["requestId"].as_str().unwrap().to_owned();
        *time.lock().unwrap() += SignedDuration::from_secs(120);
        let path = format!("/google_ads/v1/requestStatus:retrieve?requestId={id}");
        let token = format!("Bearer {token}");
        let (_, _, body) = server.call("GET", &path, &[("authorization", &token)], "").await;
        let body: Value = serde_json::from_slice(&body).unwrap();
        told.push(body["requestStatusPerDestination"][0].clone());
    }
    assert_eq!(told[0]["requestStatus"], "SUCCESS");
    assert_eq!(told[1]["requestStatus"], "PARTIAL_SUCCESS");
    assert_eq!(told[2]["requestStatus"], "FAILED");
    let count = &told[1]["errorInfo"]["errorCounts"][0];
    assert_eq!(count["recordCount"], "2");
    assert_eq!(count["reason"], "PROCESSING_ERROR_REASON_EVENT_TOO_OLD");
}

#[tokio::test]
async fn faults_answer_in_the_platforms_own_shape() {
    let server = Server::new();
    server.fault(json!({"platform": "meta", "throttle": true})).await;
    let (status, body) = server.meta().await;
    assert_eq!((status, &body["error"]["code"]), (400, &json!(80_004)));
    server.fault(json!({"platform": "meta", "error_rate": 1.0, "status": 503})).await;
    let (status, body) = server.meta().await;
    assert_eq!((status, &body["error"]["is_transient"]), (503, &json!(true)));
    server.fault(json!({"platform": "meta", "unauthorized": true})).await;
    assert_eq!(server.meta().await.1["error"]["code"], 190);
    server.fault(json!({"platform": "meta", "answer": "missing_permission"})).await;
    let (status, body) = server.meta().await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!(200)));
    server.fault(json!({"platform": "meta", "garbage": true})).await;
    assert_eq!(server.meta().await, (200, Value::Null));
    server.fault(json!({"platform": "meta", "partial": 1.0})).await;
    let (status, body) = server.meta().await;
    assert_eq!((status, &body["error"]["error_subcode"]), (400, &json!(2_804_019)));
    let (status, ..) = server.call("DELETE", "/sandbox/v1/faults?platform=ga4", &[], "").await;
    assert_eq!((status, server.meta().await.0), (204, 400), "another platform's end");
    server.call("DELETE", "/sandbox/v1/faults?platform=meta", &[], "").await;
    assert_eq!(server.meta().await.0, 200);

    let token = server.google_token().await;
    server.fault(json!({"platform": "google_ads", "throttle": true, "retry_after": 7})).await;
    let token = format!("Bearer {token}");
    let headers = [("content-type", "application/json"), ("authorization", token.as_str())];
    let body = google_example().to_string();
    let (status, headers, body) =
        server.call("POST", "/google_ads/v1/events:ingest", &headers, body).await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, headers["retry-after"].to_str().unwrap()), (429, "7"));
    let quota = &body["error"]["details"][0]["metadata"]["quota_limit"];
    assert_eq!(quota, "IngestionMutateRequestsPerMinutePerProject");
    let lines = server.received("?platform=google_ads").await;
    assert_eq!((&lines[0]["fault"], &lines[0]["accepted"]), (&json!("answer"), &json!([])));

    for wrong in [json!({"platform": "nowhere"}), json!({"rate": 1}), json!({"error_rate": 3})] {
        let (status, ..) = server.call("POST", "/sandbox/v1/faults", &[], wrong.to_string()).await;
        assert_eq!(status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn lost_answers_are_taken_and_resets_are_not() {
    let cancel = tokio_util::sync::CancellationToken::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = SandboxOptions { clock: Arc::new(now), ..SandboxOptions::default() };
    let task = serve(listener, options, cancel.clone());
    let send = async |method: &str, path: &str, body: &str| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/json\r\nauthorization: Bearer sandbox-access_token\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A reset may surface as an error or as an early end: either way nothing came.
        if stream.read_to_end(&mut answer).await.is_err() {
            answer.clear();
        }
        String::from_utf8(answer).unwrap()
    };
    let meta = meta_example().to_string();
    let path = "/meta/v26.0/1/events";
    assert!(send("POST", path, &meta).await.starts_with("HTTP/1.1 200"));
    for (fault, accepted) in [("reset", 1), ("lost", 2)] {
        let fault = json!({"platform": "meta", fault: true}).to_string();
        send("POST", "/sandbox/v1/faults", &fault).await;
        assert_eq!(send("POST", path, &meta).await, "", "{fault}");
        let summary = send("GET", "/sandbox/v1/summary", "").await;
        let summary = summary.split("\r\n\r\n").nth(1).unwrap();
        let summary: Value = serde_json::from_str(summary).unwrap();
        assert_eq!(summary["meta"]["accepted"], accepted, "{fault}");
    }
    cancel.cancel();
    task.await.unwrap();
}
