//! Starts the real binary in a temporary folder and speaks to it as a user would.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, Command},
};

pub(crate) const KEY: &str = "dev-key";
pub(crate) const TOKEN: &str = "dev-token";

/// A configuration folder of its own, made from the shipped one.
pub(crate) struct Folder {
    pub(crate) dir: tempfile::TempDir,
}

impl Folder {
    /// The shipped configuration with listeners on port 0.
    pub(crate) fn shipped() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        std::fs::create_dir(&config).unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        for file in ["relay.toml", "events.toml", "consent.toml", "destinations.toml", "rates.csv"] {
            std::fs::copy(shipped.join(file), config.join(file)).unwrap();
        }
        let folder = Self { dir };
        folder.edit("relay.toml", |text| {
            text.replace("127.0.0.1:8080", "127.0.0.1:0")
                .replace("127.0.0.1:8081", "127.0.0.1:0")
                .replace("127.0.0.1:8090", "127.0.0.1:0")
        });
        folder
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Rewrites one file.
    pub(crate) fn edit(&self, file: &str, change: impl FnOnce(String) -> String) {
        let path = self.config().join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(path, change(text)).unwrap();
    }

    /// Replaces one file.
    pub(crate) fn write(&self, file: &str, text: &str) {
        std::fs::write(self.config().join(file), text).unwrap();
    }
}

/// A running relay.
pub(crate) struct Relay {
    pub(crate) child: Child,
    pub(crate) public: String,
    pub(crate) admin: String,
    pub(crate) sandbox: String,
    pub(crate) http: reqwest::Client,
    log: tokio::task::JoinHandle<String>,
}

#[allow(clippy::disallowed_methods, reason = "the test is the user, not the relay")]
pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap()
}

/// The command with the binary under test.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conversion-relay"));
    command.kill_on_drop(true);
    command
}

impl Relay {
    /// Starts `serve` and waits until it is ready.
    pub(crate) async fn start(folder: &Folder) -> Self {
        Self::try_start(folder, &[]).await.unwrap_or_else(|log| panic!("the relay did not start:\n{log}"))
    }

    /// Starts `serve` with variables of the environment; what it wrote to stderr if it ended.
    pub(crate) async fn try_start(folder: &Folder, env: &[(&str, &str)]) -> Result<Self, String> {
        let mut child = binary()
            .arg("serve")
            .arg("--config")
            .arg(folder.config())
            .arg("--data")
            .arg(folder.data())
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = tokio::spawn(async move {
            let mut log = Vec::new();
            let _ = stderr.read_to_end(&mut log).await;
            String::from_utf8_lossy(&log).into_owned()
        });
        let stdout = child.stdout.take().unwrap();
        let mut lines = BufReader::new(stdout).lines();
        let ready = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await;
        let Ok(Ok(Some(line))) = ready else {
            let _ = child.kill().await;
            return Err(log.await.unwrap());
        };
        let ready: Value = serde_json::from_str(&line).unwrap();
        let url = |name: &str| {
            let at = ready[name].as_str().unwrap_or_default();
            if at.starts_with("http") { at.to_owned() } else { format!("http://{at}") }
        };
        let (public, admin, sandbox) = (url("public"), url("admin"), url("sandbox"));
        Ok(Self { child, public, admin, sandbox, http: client(), log })
    }

    /// Posts a body; status and answer.
    pub(crate) async fn post(&self, body: &Value) -> (u16, Value) {
        self.try_post(body).await.expect("the relay answers")
    }

    /// Posts a body where the relay may be killed meanwhile.
    pub(crate) async fn try_post(&self, body: &Value) -> Option<(u16, Value)> {
        let answer = self
            .http
            .post(format!("{}/v1/events", self.public))
            .bearer_auth(KEY)
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        Some((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// Posts raw bytes with a content type.
    pub(crate) async fn post_raw(&self, body: Vec<u8>, content_type: &str) -> (u16, Value) {
        let answer = self
            .http
            .post(format!("{}/v1/events", self.public))
            .bearer_auth(KEY)
            .header("content-type", content_type)
            .body(body)
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// An admin call.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request =
            self.http.request(method, format!("{}{path}", self.admin)).bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The books.
    pub(crate) async fn stats(&self) -> Value {
        let (status, stats) = self.admin("GET", "/admin/v1/stats", None).await;
        assert_eq!(status, 200, "{stats}");
        stats
    }

    /// What arrived at the sandbox.
    pub(crate) async fn received(&self, platform: &str) -> Vec<Value> {
        let url = format!("{}/sandbox/v1/received?platform={platform}", self.sandbox);
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Every event id that the sandbox accepted on a platform, in order of arrival.
    pub(crate) async fn accepted_ids(&self, platform: &str) -> Vec<String> {
        let ids = |line: &Value| -> Vec<String> {
            let ids = line["accepted"].as_array().cloned().unwrap_or_default();
            ids.iter().map(|id| id.as_str().unwrap_or_default().to_owned()).collect()
        };
        self.received(platform).await.iter().flat_map(ids).collect()
    }

    /// Sets or ends faults of the sandbox.
    pub(crate) async fn faults(&self, faults: Option<Value>) {
        let url = format!("{}/sandbox/v1/faults", self.sandbox);
        let request = match faults {
            Some(faults) => self
                .http
                .post(url)
                .header("content-type", "application/json")
                .body(faults.to_string()),
            None => self.http.delete(url),
        };
        let status = request.send().await.unwrap().status();
        assert!(status.is_success(), "{status}");
    }

    /// Waits until nothing is pending or in flight anywhere, and returns the books.
    pub(crate) async fn drained(&self) -> Value {
        self.drained_within(Duration::from_secs(60)).await
    }

    pub(crate) async fn drained_within(&self, limit: Duration) -> Value {
        let tries = limit.as_millis() / 100;
        let mut stats = self.stats().await;
        for _ in 0..tries {
            let busy = stats["destinations"].as_object().unwrap().values().any(|books| {
                books["pending"].as_u64() != Some(0) || books["in_flight"].as_u64() != Some(0)
            });
            if !busy {
                return stats;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            stats = self.stats().await;
        }
        panic!("still pending after {limit:?}: {stats:#}");
    }

    /// Kills it without warning.
    pub(crate) async fn kill(mut self) -> String {
        let _ = self.child.kill().await;
        self.log.await.unwrap()
    }

    /// Stops it as an operator would, and returns its log.
    pub(crate) async fn stop(mut self) -> String {
        let pid = self.child.id().expect("it runs");
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        let status = status.expect("it stops within its deadline").unwrap();
        let log = self.log.await.unwrap();
        assert!(status.success(), "it stops cleanly: {status}\n{log}");
        log
    }
}

/// Fails unless the books of every destination balance.
pub(crate) fn assert_balanced(stats: &Value) {
    for (name, books) in stats["destinations"].as_object().unwrap() {
        let books: conversion_relay::queue::DestinationStats =
            serde_json::from_value(books.clone()).unwrap();
        assert!(books.balance(), "the books of {name} do not balance: {books:#?}");
    }
}

/// An event that every destination of the shipped configuration takes.
pub(crate) fn purchase(event_id: &str) -> Value {
    json!({
        "event": "purchase",
        "event_id": event_id,
        "site": "shop_us",
        "user": {
            "external_id": format!("u-{event_id}"),
            "email": format!("jane.{event_id}@example.com"),
            "phone": "+1 415 555 0133",
            "first_name": "Jane", "last_name": "Doe",
            "city": "San Francisco", "region": "CA", "postal_code": "94107", "country": "US"
        },
        "context": {
            "ip": "203.0.113.9",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
            "page_url": "https://shop.example/thanks?gclid=EAIaIQ"
        },
        "click_ids": {
            "fbp": "fb.1.1558571054389.1098115397",
            "ga_client_id": "1234567890.1700000000",
            "ga_session_id": "1700000000"
        },
        "consent": {
            "ad_storage": "granted", "ad_user_data": "granted",
            "ad_personalization": "granted", "analytics_storage": "granted",
            "region": "US-CA"
        },
        "properties": {
            "value": 129.90, "currency": "USD", "order_id": format!("order-{event_id}"),
            "items": [{"id": "SKU-1", "name": "Shoe", "quantity": 1, "price": 129.90}]
        }
    })
}
