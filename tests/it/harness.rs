//! Starts the real binary in a temporary folder and speaks to it as a user would.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use conversion_relay::config::Engine;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStderr, Command},
};

pub(crate) const KEY: &str = "dev-key";
pub(crate) const TOKEN: &str = "dev-token";

/// A configuration folder of its own, made from the shipped one, and a data folder beside it.
pub(crate) struct Folder {
    pub(crate) dir: tempfile::TempDir,
    /// What a relay over this folder finds in its environment.
    pub(crate) env: Vec<(String, String)>,
}

impl Folder {
    /// The shipped configuration with listeners on port 0.
    pub(crate) fn shipped() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        std::fs::create_dir(&config).unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        for file in ["relay.toml", "events.toml", "consent.toml", "destinations.toml", "rates.csv"]
        {
            std::fs::copy(shipped.join(file), config.join(file)).unwrap();
        }
        let folder = Self { dir, env: Vec::new() };
        folder.edit("relay.toml", |text| {
            text.replace("127.0.0.1:8080", "127.0.0.1:0")
                .replace("127.0.0.1:8081", "127.0.0.1:0")
                .replace("127.0.0.1:8090", "127.0.0.1:0")
        });
        folder
    }

    /// Names the engine of the queue.
    pub(crate) fn use_engine(&self, engine: Engine) {
        self.edit("relay.toml", |text| {
            text.replace("#engine = \"sled\"", &format!("engine = \"{}\"", engine.name()))
        });
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// `serve` over this folder.
    pub(crate) fn serve(&self) -> Command {
        let mut command = binary();
        command
            .args(["serve".as_ref(), "--config".as_ref(), self.config().as_os_str()])
            .args(["--data".as_ref(), self.data().as_os_str()])
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .stdin(Stdio::null());
        command
    }

    /// Rewrites one file.
    pub(crate) fn edit(&self, file: &str, change: impl FnOnce(String) -> String) {
        let path = self.config().join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(path, change(text)).unwrap();
    }

    /// Every secret that the configuration refers to, with a value that the sandbox's platforms and
    /// this harness know.
    pub(crate) fn secrets(&self) -> Vec<(String, String)> {
        let mut secrets = Vec::new();
        for file in ["relay.toml", "destinations.toml"] {
            let text = std::fs::read_to_string(self.config().join(file)).unwrap();
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                let Some((key, rest)) = line.split_once(" = { env = \"") else { continue };
                let name = rest.split('"').next().unwrap();
                let value = match name {
                    "RELAY_WRITE_KEY" => KEY.to_owned(),
                    "RELAY_ADMIN_TOKEN" => TOKEN.to_owned(),
                    "RELAY_QUEUE_KEY" => "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU=".to_owned(),
                    _ => format!("sandbox-{key}"),
                };
                secrets.push((name.to_owned(), value));
            }
        }
        secrets
    }

    /// Replaces one file.
    pub(crate) fn write(&self, file: &str, text: &str) {
        std::fs::write(self.config().join(file), text).unwrap();
    }
}

/// How long anything is waited for. A shared machine's disk can stand still for half a minute; what
/// hangs, hangs for ever.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A running relay.
pub(crate) struct Relay {
    pub(crate) child: Child,
    pub(crate) public: String,
    pub(crate) admin: String,
    pub(crate) sandbox: String,
    pub(crate) http: reqwest::Client,
    log: Log,
}

/// What a relay wrote to stderr so far, and whoever reads it.
struct Log {
    text: Arc<Mutex<String>>,
    reader: tokio::task::JoinHandle<()>,
}

impl Log {
    fn of(stderr: ChildStderr) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let kept = text.clone();
        let reader = tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).split(b'\n');
            while let Ok(Some(line)) = lines.next_segment().await {
                let mut text = kept.lock().unwrap();
                text.push_str(&String::from_utf8_lossy(&line));
                text.push('\n');
            }
        });
        Self { text, reader }
    }

    /// All of it, once the relay has ended.
    async fn whole(self) -> String {
        self.reader.await.unwrap();
        std::mem::take(&mut *self.text.lock().unwrap())
    }
}

#[allow(clippy::disallowed_methods, reason = "the test is the user, not the relay")]
pub(crate) fn client() -> reqwest::Client {
    // Whoever comes second finds it there.
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
    // Shorter than a listener keeps an idle connection, which it may close as a request sets out.
    client.pool_idle_timeout(Duration::from_secs(5)).build().unwrap()
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
        Self::try_start(folder, &[])
            .await
            .unwrap_or_else(|log| panic!("the relay did not start:\n{log}"))
    }

    /// Starts `serve` with variables of the environment; what it wrote to stderr if it ended.
    pub(crate) async fn try_start(folder: &Folder, env: &[(&str, &str)]) -> Result<Self, String> {
        let mut command = folder.serve();
        command.envs(env.iter().copied());
        Self::of(command).await
    }

    /// Starts a relay by a command of one's own; what it wrote to stderr if it ended.
    pub(crate) async fn of(mut command: Command) -> Result<Self, String> {
        let mut child = command.spawn().unwrap();
        let log = Log::of(child.stderr.take().unwrap());
        let stdout = child.stdout.take().unwrap();
        let mut lines = BufReader::new(stdout).lines();
        let ready = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        let Ok(Ok(Some(line))) = ready else {
            let ended = child.try_wait().ok().flatten();
            child.kill().await.ok();
            let log = log.whole().await;
            return Err(match ended {
                Some(_) => log,
                None => format!("{log}and it still ran after {PATIENCE:?}"),
            });
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
        let answer = self.request(body.to_string(), "application/json").send().await.ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        Some((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// Posts a body; the whole answer.
    pub(crate) async fn send(&self, body: &str) -> reqwest::Response {
        self.request(body.to_owned(), "application/json").send().await.expect("the relay answers")
    }

    fn request(
        &self,
        body: impl Into<reqwest::Body>,
        content_type: &str,
    ) -> reqwest::RequestBuilder {
        let request = self.http.post(format!("{}/v1/events", self.public)).bearer_auth(KEY);
        request.header("content-type", content_type).body(body)
    }

    /// Posts raw bytes with a content type.
    pub(crate) async fn post_raw(&self, body: Vec<u8>, content_type: &str) -> (u16, Value) {
        let answer = self.request(body, content_type).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// An admin call.
    pub(crate) async fn admin(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request =
            self.http.request(method, format!("{}{path}", self.admin)).bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap_or_else(|error| self.silent(path, &error));
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap_or_else(|error| self.silent(path, &error));
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// A relay that gave no answer: whether it still runs, and the end of what it said.
    fn silent(&self, path: &str, error: &reqwest::Error) -> ! {
        let pid = self.child.id().unwrap_or_default();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let state = status.lines().find(|line| line.starts_with("State")).unwrap_or("it is gone");
        let log = self.log.text.lock().unwrap();
        let from = log.char_indices().rev().nth(4000).map_or(0, |(at, _)| at);
        panic!("{path}: no answer: {error:?}; {state}; its log ends:\n{}", &log[from..]);
    }

    /// The books.
    pub(crate) async fn stats(&self) -> Value {
        let (status, stats) = self.admin("GET", "/admin/v1/stats", None).await;
        assert_eq!(status, 200, "{stats}");
        stats
    }

    /// What arrived at the sandbox.
    pub(crate) async fn received(&self, platform: &str) -> Vec<Value> {
        received(&self.http, &self.sandbox, platform).await
    }

    /// Every event id that the sandbox accepted on a platform, sorted: requests overtake each other.
    pub(crate) async fn accepted_ids(&self, platform: &str) -> Vec<String> {
        accepted_ids(&self.received(platform).await)
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
        self.drained_within(PATIENCE).await
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
        let log = self.log.text.lock().unwrap();
        panic!("still pending after {limit:?}: {stats:#}\n{log}");
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("it runs");
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Kills it without warning while others still speak to it.
    pub(crate) fn kill_now(&self) {
        self.signal(Signal::KILL);
    }

    /// Kills it without warning.
    pub(crate) async fn kill(mut self) -> String {
        self.child.kill().await.ok();
        self.log.whole().await
    }

    /// Stops it as an operator would, and returns its log.
    pub(crate) async fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let status = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        let status = status.expect("it stops within its deadline").unwrap();
        let log = self.log.whole().await;
        assert!(status.success(), "it stops cleanly: {status}\n{log}");
        log
    }
}

async fn received(http: &reqwest::Client, sandbox: &str, platform: &str) -> Vec<Value> {
    let url = format!("{sandbox}/sandbox/v1/received?platform={platform}");
    let text = http.get(url).send().await.unwrap().text().await.unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn accepted_ids(received: &[Value]) -> Vec<String> {
    let ids = |line: &Value| -> Vec<String> {
        let ids = line["accepted"].as_array().cloned().unwrap_or_default();
        ids.iter().map(|id| id.as_str().expect("each event had its id").to_owned()).collect()
    };
    let mut ids: Vec<String> = received.iter().flat_map(ids).collect();
    ids.sort();
    ids
}

/// The platforms in a process of their own, so that they outlive a relay that is killed.
pub(crate) struct OwnSandbox {
    _child: Child,
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
}

impl OwnSandbox {
    /// Starts `sandbox` on a free port, and keeps all that arrives.
    pub(crate) async fn start() -> Self {
        let mut child = binary()
            .args(["sandbox", "--listen", "127.0.0.1:0", "--keep", "1000000"])
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        let line = line.expect("the sandbox starts").unwrap().expect("it says where it listens");
        let ready: Value = serde_json::from_str(&line).unwrap();
        let url = ready["sandbox"].as_str().unwrap().to_owned();
        Self { _child: child, url, http: client() }
    }

    /// Makes a configuration live, its destinations and their secrets this sandbox's.
    pub(crate) fn point(&self, folder: &mut Folder) {
        folder.edit("relay.toml", |text| text.replace("mode = \"sandbox\"", "mode = \"live\""));
        let base = &self.url;
        folder.edit("destinations.toml", |text| {
            let lines = text.lines().flat_map(|line| {
                let platform = line.strip_prefix("platform = \"").and_then(|l| l.split('"').next());
                match platform {
                    Some("webhook") => vec![line.to_owned(), "allow_private = true".to_owned()],
                    Some(platform) => vec![
                        line.to_owned(),
                        format!("endpoint = \"{base}/{platform}\""),
                        format!("token_endpoint = \"{base}/{platform}\""),
                    ],
                    None if line.starts_with("url = ") => {
                        vec![format!("url = \"{base}/webhook/crm\"")]
                    }
                    None => vec![line.to_owned()],
                }
            });
            lines.collect::<Vec<_>>().join("\n")
        });
        folder.env = folder.secrets();
    }

    /// Every event id accepted on a platform, in order of arrival.
    pub(crate) async fn accepted_ids(&self, platform: &str) -> Vec<String> {
        accepted_ids(&received(&self.http, &self.url, platform).await)
    }

    /// What arrived on a platform.
    pub(crate) async fn received(&self, platform: &str) -> Vec<Value> {
        received(&self.http, &self.url, platform).await
    }

    /// Sets faults.
    pub(crate) async fn faults(&self, faults: &Value) {
        let url = format!("{}/sandbox/v1/faults", self.url);
        let request = self.http.post(url).header("content-type", "application/json");
        let status = request.body(faults.to_string()).send().await.unwrap().status();
        assert!(status.is_success(), "{status}");
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
