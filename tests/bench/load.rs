//! Whole-process figures: the relay beside a bare handler, draining, memory, start.
//!
//! Prints a table for `BASELINE.md`. Nothing is asserted: these machines are shared, so figures are
//! compared within one run only. `--engine=redb` measures the other engine, `--events=1250000` how much
//! `memory` fills, each event four jobs, `--delivered=800000` what it delivers before; names (`requests drain memory latency rates demo`) choose what is measured.
#![allow(missing_docs, reason = "a bench is a program")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints its figures")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::string_slice,
    reason = "a bench may stop"
)]
#![allow(clippy::disallowed_methods, reason = "it measures time and starts processes")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

const SECONDS: u64 = 6;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|a| a == "--bare") {
        return bare();
    }
    let only = |name: &str| {
        let named: Vec<_> = arguments.iter().skip(1).filter(|a| !a.starts_with("--")).collect();
        named.is_empty() || named.iter().any(|a| *a == name)
    };
    println!("| figure | value |\n| --- | --- |");
    if only("requests") {
        requests();
    }
    if only("drain") {
        drain();
    }
    if only("memory") {
        memory();
    }
    if only("latency") {
        latency();
    }
    if only("rates") {
        rates();
    }
    if only("demo") {
        demo();
    }
}

/// The value of `--NAME=VALUE`.
fn argument(name: &str) -> Option<String> {
    let prefix = format!("--{name}=");
    std::env::args().find_map(|argument| argument.strip_prefix(&prefix).map(str::to_owned))
}

// === what is compared ===

/// A bare axum handler that parses the same body and answers.
fn bare() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        use axum::{Router, body::Bytes, http::StatusCode, routing::post};
        let handler = |body: Bytes| async move {
            match serde_json::from_slice::<Value>(&body) {
                Ok(value) => (
                    StatusCode::ACCEPTED,
                    format!("{{\"accepted\":{}}}", value.as_array().map_or(1, Vec::len)),
                ),
                Err(_) => (StatusCode::BAD_REQUEST, String::new()),
            }
        };
        let app = Router::new().route("/v1/events", post(handler));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", json!({"public": listener.local_addr().unwrap().to_string()}));
        axum::serve(listener, app).await.unwrap();
    });
}

struct Server {
    child: Child,
    ready: Value,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Server {
    fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not ready: {line:?}"));
        Self { child, ready }
    }

    fn bare() -> Self {
        Self::spawn(Command::new(std::env::current_exe().unwrap()).arg("--bare"))
    }

    fn relay(folder: &Path) -> Self {
        Self::spawn(
            Command::new(env!("CARGO_BIN_EXE_conversion-relay"))
                .arg("serve")
                .arg("--config")
                .arg(folder.join("config"))
                .arg("--data")
                .arg(folder.join("data"))
                .env("RELAY_LOG", "warn"),
        )
    }

    fn address(&self, name: &str) -> String {
        self.ready[name].as_str().unwrap().trim_start_matches("http://").to_owned()
    }

    fn resident_mb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }

    fn admin(&self, method: &str, path: &str) -> Value {
        let text = call(&self.address("admin"), method, path, "dev-token", b"{}");
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }

    fn pause_all(&self) {
        for name in self.destinations() {
            self.admin("POST", &format!("/admin/v1/destinations/{name}/pause"));
        }
    }

    fn destinations(&self) -> Vec<String> {
        self.admin("GET", "/admin/v1/stats")["destinations"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    }

    fn fault(&self, fault: &Value) {
        let sandbox = self.address("sandbox");
        let answer = call(&sandbox, "POST", "/sandbox/v1/faults", "", fault.to_string().as_bytes());
        assert!(!answer.contains("\"code\""), "{answer}");
    }

    fn pending(&self) -> u64 {
        let stats = self.admin("GET", "/admin/v1/stats");
        let books = stats["destinations"].as_object().unwrap();
        books
            .values()
            .map(|b| b["pending"].as_u64().unwrap() + b["in_flight"].as_u64().unwrap())
            .sum()
    }
}

/// The shipped configuration in a folder of its own, on port 0, with limits out of the way.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    std::fs::create_dir(&config).unwrap();
    let shipped = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config");
    for file in ["relay.toml", "events.toml", "consent.toml", "destinations.toml", "rates.csv"] {
        let text = std::fs::read_to_string(shipped.join(file)).unwrap();
        let text = text
            .replace("127.0.0.1:8080", "127.0.0.1:0")
            .replace("127.0.0.1:8081", "127.0.0.1:0")
            .replace("127.0.0.1:8090", "127.0.0.1:0");
        let text: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("rate_limit"))
            .map(|line| format!("{line}\n"))
            .collect();
        let engine = argument("engine").unwrap_or_else(|| "sled".to_owned());
        let text = text.replace("#engine = \"sled\"", &format!("engine = \"{engine}\""));
        let text = text.replace(
            "#max_pending_per_destination = 2000000",
            "max_pending_per_destination = 5000000",
        );
        let text = text.replace("#max_pending = 5000000", "max_pending = 20000000");
        std::fs::write(config.join(file), text).unwrap();
    }
    dir
}

// === load ===

/// One event of about 1 KiB; `N` is replaced by a number, so that every event is different.
fn template() -> String {
    json!({
        "event": "purchase", "event_id": "bench-NNNNNNNNNNNN", "site": "shop_us",
        "user": {"external_id": "u-NNNNNNNNNNNN", "email": "jane.NNNNNNNNNNNN@example.com", "phone": "+1 415 555 0133",
            "first_name": "Jane", "last_name": "Doe", "city": "San Francisco", "region": "CA", "postal_code": "94107", "country": "US"},
        "context": {"ip": "203.0.113.9", "user_agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15",
            "page_url": "https://shop.example/thanks?gclid=EAIaIQobChMI-NNNNNNNNNNNN&utm_source=google", "session_id": "s-NNNNNNNNNNNN"},
        "click_ids": {"fbp": "fb.1.1558571054389.1098115397", "ga_client_id": "1234567890.1700000000", "ga_session_id": "1700000000"},
        "consent": {"ad_storage": "granted", "ad_user_data": "granted", "ad_personalization": "granted", "analytics_storage": "granted", "region": "US-CA"},
        "properties": {"value": "129.90", "currency": "USD", "order_id": "order-NNNNNNNNNNNN", "tax": "9.90", "shipping": "5.00",
            "items": [{"id": "SKU-1", "name": "Shoe", "quantity": 1, "price": "129.90"}]}
    })
    .to_string()
}

fn body(template: &str, batch: usize, next: &AtomicU64) -> Vec<u8> {
    let mut body = String::with_capacity((template.len() + 1) * batch + 2);
    if batch > 1 {
        body.push('[');
    }
    for i in 0..batch {
        if i > 0 {
            body.push(',');
        }
        let number = format!("{:012}", next.fetch_add(1, Ordering::Relaxed));
        body.push_str(&template.replace("NNNNNNNNNNNN", &number));
    }
    if batch > 1 {
        body.push(']');
    }
    body.into_bytes()
}

/// One HTTP call over a connection that stays open; the answer's status and body.
fn exchange(stream: &mut TcpStream, head: &str, body: &[u8]) -> std::io::Result<(u16, String)> {
    let mut request = Vec::with_capacity(head.len() + body.len() + 64);
    write!(request, "{head}content-length: {}\r\n\r\n", body.len())?;
    request.extend_from_slice(body);
    stream.write_all(&request)?;
    let mut answer = Vec::with_capacity(1024);
    let mut buffer = [0u8; 16384];
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&buffer[..read]);
        if let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") {
            let headers = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
            let length = headers
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.split("\r\n").next()?.trim().parse::<usize>().ok());
            if answer.len() >= end + 4 + length.unwrap_or(0) {
                let status = headers[9..12].parse().unwrap_or(0);
                return Ok((status, String::from_utf8_lossy(&answer[end + 4..]).into_owned()));
            }
        }
    }
}

fn call(address: &str, method: &str, path: &str, token: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\nconnection: close\r\n"
    );
    exchange(&mut stream, &head, body).map(|(_, body)| body).unwrap_or_default()
}

/// Posts batches over `connections` for some seconds; events accepted a second.
fn load(
    address: &str,
    batch: usize,
    connections: usize,
    seconds: u64,
    next: &Arc<AtomicU64>,
) -> f64 {
    let accepted = Arc::new(AtomicU64::new(0));
    let refused = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let until = start + Duration::from_secs(seconds);
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let (address, accepted, refused, next) = (address.to_owned(), accepted.clone(), refused.clone(), next.clone());
            std::thread::Builder::new()
                .stack_size(256 * 1024)
                .spawn(move || {
                    let template = template();
                    let head = "POST /v1/events HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer dev-key\r\ncontent-type: application/json\r\n";
                    let mut stream = TcpStream::connect(&address).unwrap();
                    stream.set_nodelay(true).unwrap();
                    while Instant::now() < until {
                        let body = body(&template, batch, &next);
                        match exchange(&mut stream, head, &body) {
                            Ok((202, _)) => accepted.fetch_add(batch as u64, Ordering::Relaxed),
                            Ok((status, answer)) => {
                                if refused.fetch_add(1, Ordering::Relaxed) == 0 {
                                    eprintln!("refused with {status}: {}", answer.chars().take(300).collect::<String>());
                                }
                                std::thread::sleep(Duration::from_millis(20));
                                0
                            }
                            Err(_) => {
                                stream = TcpStream::connect(&address).unwrap();
                                0
                            }
                        };
                    }
                })
                .unwrap()
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    accepted.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64()
}

// === figures ===

fn requests() {
    let next = Arc::new(AtomicU64::new(1));
    let bare = Server::bare();
    let bare_one = load(&bare.address("public"), 1, 64, SECONDS, &next);
    println!("| bare handler, single events | {bare_one:.0} requests/s |");
    drop(bare);
    for (what, paused) in [("paused", true), ("delivering", false)] {
        let folder = folder();
        let relay = Server::relay(folder.path());
        if paused {
            relay.pause_all();
        }
        let one = load(&relay.address("public"), 1, 64, SECONDS, &next);
        println!("| single events, {what} | {one:.0} requests/s ({:.2} of bare) |", one / bare_one);
        drop(relay);
        let folder = self::folder();
        let relay = Server::relay(folder.path());
        if paused {
            relay.pause_all();
        }
        let hundred = load(&relay.address("public"), 100, 16, SECONDS, &next);
        println!("| batches of 100, {what} | {hundred:.0} events/s |");
    }
}

fn fill(relay: &Server, events: u64, next: &Arc<AtomicU64>) {
    let template = template();
    let address = relay.address("public");
    let start = next.load(Ordering::Relaxed);
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (template, address, next) = (template.clone(), address.clone(), next.clone());
            std::thread::spawn(move || {
                let head = "POST /v1/events HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer dev-key\r\ncontent-type: application/json\r\n";
                let mut stream = TcpStream::connect(&address).unwrap();
                while next.load(Ordering::Relaxed) < start + events {
                    let body = body(&template, 500, &next);
                    while !matches!(exchange(&mut stream, head, &body), Ok((202, _))) {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Draining one batch platform to the sandbox, which does nothing but count.
fn drain() {
    let folder = folder();
    let next = Arc::new(AtomicU64::new(1));
    let relay = Server::relay(folder.path());
    relay.pause_all();
    fill(&relay, 100_000, &next);
    let before = relay.admin("GET", "/admin/v1/stats");
    let names = relay.destinations();
    let batched = names.iter().find(|name| name.as_str() == "meta").unwrap();
    let pending = before["destinations"][batched]["pending"].as_u64().unwrap();
    let start = Instant::now();
    relay.admin("POST", &format!("/admin/v1/destinations/{batched}/resume"));
    loop {
        let stats = relay.admin("GET", "/admin/v1/stats");
        let books = &stats["destinations"][batched];
        if books["pending"] == 0 && books["in_flight"] == 0
            || start.elapsed() > Duration::from_secs(120)
        {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    println!(
        "| draining to a local sink | {:.0} jobs/s ({pending} jobs) |",
        pending as f64 / start.elapsed().as_secs_f64()
    );
}

/// Memory with much pending, and how long a start takes then; before what is pending, `--delivered=`
/// events leave their ids behind.
fn memory() {
    let folder = folder();
    let next = Arc::new(AtomicU64::new(1));
    let pending = {
        let relay = Server::relay(folder.path());
        println!("| resident at rest | {} MB |", relay.resident_mb());
        let delivered = argument("delivered").map_or(0, |events| events.parse().unwrap());
        if delivered > 0 {
            fill(&relay, delivered, &next);
            while relay.pending() > 0 {
                std::thread::sleep(Duration::from_millis(200));
            }
            println!("| resident, {delivered} events delivered | {} MB |", relay.resident_mb());
        }
        relay.pause_all();
        let events = argument("events").map_or(250_000, |events| events.parse().unwrap());
        fill(&relay, events, &next);
        let pending = relay.pending();
        let at_once = relay.resident_mb();
        // What the last batches needed is given back within seconds.
        std::thread::sleep(Duration::from_secs(10));
        println!(
            "| resident, {pending} jobs of {events} events just taken in, and ten seconds later | {at_once} and {} MB |",
            relay.resident_mb()
        );
        pending
    };
    let start = Instant::now();
    let relay = Server::relay(folder.path());
    println!(
        "| start with {pending} jobs pending, after SIGKILL | {:.2} s |",
        start.elapsed().as_secs_f64()
    );
    println!("| resident after that start | {} MB |", relay.resident_mb());
    let size: u64 = disk(&folder.path().join("data"));
    println!("| data folder with that | {} MB |", size / (1 << 20));
}

fn disk(dir: &Path) -> u64 {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            if entry.path().is_dir() {
                disk(&entry.path())
            } else {
                entry.metadata().unwrap().len()
            }
        })
        .sum()
}

/// How long an acknowledgement takes at half of peak load, while one destination is dead and another
/// throttles. Each request has its time beforehand, so that a slow answer delays no other's clock.
fn latency() {
    let next = Arc::new(AtomicU64::new(1));
    let peak = {
        let folder = folder();
        let relay = Server::relay(folder.path());
        load(&relay.address("public"), 1, 64, SECONDS, &next)
    };
    let folder = folder();
    let relay = Server::relay(folder.path());
    relay.fault(&json!({"platform": "meta", "status": 503}));
    relay.fault(&json!({"platform": "ga4", "throttle": true, "error_rate": 0.5}));
    let rate = peak / 2.0;
    let bare = acknowledgements(&Server::bare().address("public"), rate, &next);
    println!("| the same load at the bare handler: p50, p99, p99.9 | {bare} |");
    let relay = acknowledgements(&relay.address("public"), rate, &next);
    println!(
        "| acknowledgement at {rate:.0} events/s (half of peak), one destination dead, one throttling: p50, p99, p99.9 | {relay} |"
    );
}

/// 64 clients, each on a thread and a connection of its own, send so many single events a second.
fn acknowledgements(address: &str, rate: f64, next: &Arc<AtomicU64>) -> String {
    let (threads, seconds) = (argument("clients").map_or(64u32, |it| it.parse().unwrap()), 20.0);
    let every = Duration::from_secs_f64(f64::from(threads) / rate);
    let start = Instant::now() + Duration::from_millis(200);
    let template = template();
    let clients: Vec<_> = (0..threads)
        .map(|client| {
            let (address, template, next) = (address.to_owned(), template.clone(), next.clone());
            std::thread::spawn(move || {
                let head = "POST /v1/events HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer dev-key\r\ncontent-type: application/json\r\n";
                let mut stream = TcpStream::connect(&address).unwrap();
                stream.set_nodelay(true).unwrap();
                let mut due = start + every * client / threads;
                let mut took = Vec::new();
                while due < start + Duration::from_secs_f64(seconds) {
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let answer = exchange(&mut stream, head, &body(&template, 1, &next));
                    assert!(matches!(answer, Ok((202, _))), "{answer:?}");
                    took.push(due.elapsed());
                    due += every;
                }
                took
            })
        })
        .collect();
    let mut took: Vec<Duration> = clients.into_iter().flat_map(|c| c.join().unwrap()).collect();
    took.sort_unstable();
    let at = |part: usize| took[took.len() * part / 1000].as_secs_f64() * 1e3;
    format!("{:.1}, {:.1}, {:.1} ms", at(500), at(990), at(999))
}

/// What arrives of a backlog under a rate limit in a minute.
fn rates() {
    const RATE: f64 = 40.0;
    const BURST: f64 = 80.0;
    let folder = folder();
    let path = folder.path().join("config/destinations.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let limit = format!(
        "[crm]\nrate_limit = {{ requests_per_second = {RATE}, burst = {BURST} }}\nbatch = {{ max_events = 1 }}\n"
    );
    std::fs::write(&path, text.replace("[crm]\n", &limit)).unwrap();
    let relay = Server::relay(folder.path());
    relay.pause_all();
    fill(&relay, 4_000, &Arc::new(AtomicU64::new(1)));
    relay.admin("POST", "/admin/v1/destinations/crm/resume");
    std::thread::sleep(Duration::from_secs(62));
    let sandbox = relay.address("sandbox");
    let arrived = call(&sandbox, "GET", "/sandbox/v1/received?platform=webhook&all=true", "", b"");
    let mut times: Vec<f64> = arrived
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|one| one["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap())
        .map(|at| at.as_millisecond() as f64 / 1e3)
        .collect();
    times.sort_by(f64::total_cmp);
    let first = times[0];
    times.retain(|at| at - first <= 60.0);
    // Over every stretch of time: how many more than the rate allows.
    let most = (0..times.len())
        .flat_map(|from| (from..times.len()).map(move |to| (from, to)))
        .map(|(from, to)| (to - from + 1) as f64 - (times[to] - times[from]) * RATE)
        .fold(0.0, f64::max);
    println!(
        "| {RATE}/s and a burst of {BURST}, a minute: of the rate after the burst; most beyond the rate in any stretch | {:.3}; {most:.1} |",
        (times.len() as f64 - BURST) / (60.0 * RATE)
    );
}

/// From the start of `demo` to its first delivered event.
fn demo() {
    let start = Instant::now();
    let mut relay = Server::spawn(
        Command::new(env!("CARGO_BIN_EXE_conversion-relay")).args(["demo", "--for", "20s"]),
    );
    while start.elapsed() < Duration::from_secs(20) {
        let stats = relay.admin("GET", "/admin/v1/stats");
        let delivered: u64 = stats["destinations"]
            .as_object()
            .map_or(0, |books| books.values().map(|b| b["delivered"].as_u64().unwrap_or(0)).sum());
        if delivered > 0 {
            println!(
                "| demo, to the first delivered event | {:.2} s |",
                start.elapsed().as_secs_f64()
            );
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    relay.child.kill().ok();
}
