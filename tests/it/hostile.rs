//! A platform that lies, breaks off, drips, throttles, or refuses one event or all of them, against
//! the real binary: it costs its own destination some time, and only what it refuses for good. All
//! others are the sandbox's, and deliver meanwhile.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::harness::{Folder, OwnSandbox, Relay, assert_balanced, purchase};

/// What it does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Good,
    /// 200 with bytes that are nothing.
    Garbage,
    /// 200 with nothing.
    Empty,
    /// 200 with somebody's page.
    Page,
    /// 200 with JSON that is not the platform's.
    Other,
    /// Breaks off in the middle of its answer.
    Reset,
    /// A byte at a time, and never done.
    Drip,
    /// Nothing at all, for ever.
    Hang,
    Throttled,
    ThrottledWithTime,
    Down,
    /// Refuses a request with one event in it, and does not say which.
    Poison,
    /// A wrong pixel id: refuses whatever comes, as if each event were bad.
    WrongPixel,
}

struct Hostile {
    url: String,
    manner: Arc<Mutex<Manner>>,
    taken: Arc<Mutex<Vec<String>>>,
}

const POISON: &str = "poison";

impl Hostile {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (manner, taken) = (Arc::new(Mutex::new(Manner::Good)), Arc::default());
        let hostile = Self { url, manner, taken };
        let (manner, taken) = (Arc::clone(&hostile.manner), Arc::clone(&hostile.taken));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(answer(socket, Arc::clone(&manner), Arc::clone(&taken)));
            }
        });
        hostile
    }

    fn be(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// The relay with this as Meta, and a sandbox of its own for the others.
    async fn relay(&self, folder: &mut Folder) -> (Relay, OwnSandbox) {
        let sandbox = OwnSandbox::start().await;
        sandbox.point(folder);
        folder.edit("destinations.toml", |text| {
            let own = format!("\nendpoint = \"{}/meta\"", sandbox.url);
            assert!(text.contains(&own), "{text}");
            let ours = format!(
                "\nendpoint = \"{}\"\nretry = {{ first = \"50ms\", max = \"1s\" }}\ntimeout = \"2s\"",
                self.url
            );
            text.replace(&own, &ours)
        });
        (Relay::start(folder).await, sandbox)
    }
}

async fn answer(
    mut socket: TcpStream,
    manner: Arc<Mutex<Manner>>,
    taken: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let body = request(&mut socket).await?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let events = body["data"].as_array().cloned().unwrap_or_default();
    let ids: Vec<String> =
        events.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect();
    let manner = *manner.lock().unwrap();
    let good = json!({"events_received": ids.len(), "messages": [], "fbtrace_id": "x"}).to_string();
    let error = |code: i64, message: &str| {
        json!({"error": {"message": message, "type": "OAuthException", "code": code}}).to_string()
    };
    let (status, headers, text) = match manner {
        Manner::Good => (200, "", good),
        Manner::Garbage => (200, "", "\u{0}\u{1}\u{fffd}}{".to_owned()),
        Manner::Empty => (200, "", String::new()),
        Manner::Page => (200, "", "<!doctype html><title>Welcome</title>".to_owned()),
        Manner::Other => (200, "", "[{\"events_received\": \"many\"}]".to_owned()),
        Manner::Throttled => (400, "", error(4, "Application request limit reached")),
        Manner::ThrottledWithTime => (429, "retry-after: 1\r\n", error(4, "slow down")),
        Manner::Down => (503, "", String::new()),
        Manner::Poison if ids.iter().any(|id| id == POISON) => {
            (400, "", error(100, "Invalid parameter"))
        }
        Manner::Poison => (200, "", good),
        Manner::WrongPixel => (400, "", error(100, "Invalid parameter")),
        Manner::Reset => {
            let half = b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"events_rec";
            socket.write_all(half).await.ok()?;
            return None;
        }
        Manner::Drip => {
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n").await.ok()?;
            loop {
                socket.write_all(b" ").await.ok()?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Manner::Hang => {
            tokio::time::sleep(Duration::from_secs(600)).await;
            return None;
        }
    };
    if status == 200 && text.contains("fbtrace_id") {
        taken.lock().unwrap().extend(ids);
    }
    let answer = format!(
        "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    );
    socket.write_all(answer.as_bytes()).await.ok()
}

/// The body of one request.
async fn request(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
        if bytes.len() >= end + 4 + length {
            return Some(bytes.split_off(end + 4));
        }
    }
}

const HEALTHY: [&str; 3] = ["google_ads", "ga4", "crm"];

/// Waits for the books to be so; fails with them.
async fn until(relay: &Relay, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let mut stats = relay.stats().await;
    for _ in 0..900 {
        if holds(&stats["destinations"]) {
            assert_balanced(&stats);
            return stats;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        stats = relay.stats().await;
    }
    panic!("{what}: {stats:#}");
}

async fn post(relay: &Relay, ids: impl Iterator<Item = String>) {
    let events: Vec<Value> = ids.map(|id| purchase(&id)).collect();
    for events in events.chunks(500) {
        let (status, answer) = relay.post(&json!(events)).await;
        assert_eq!((status, &answer["accepted"]), (202, &json!(events.len())), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_a_platform_misbehaves_nothing_is_lost_and_nobody_waits() {
    let (hostile, mut folder) = (Hostile::start().await, Folder::shipped());
    let (relay, _sandbox) = hostile.relay(&mut folder).await;
    let manners = [
        Manner::Garbage,
        Manner::Empty,
        Manner::Page,
        Manner::Other,
        Manner::Reset,
        Manner::Drip,
        Manner::Hang,
        Manner::Throttled,
        Manner::ThrottledWithTime,
        Manner::Down,
    ];
    let mut posted = 0;
    for manner in manners {
        hostile.be(manner);
        post(&relay, (posted..posted + 10).map(|n| format!("m-{n}"))).await;
        posted += 10;
        let what = format!("{manner:?}");
        let stats = until(&relay, &what, |destinations| {
            HEALTHY.iter().all(|name| destinations[name]["delivered"] == posted)
        })
        .await;
        let meta = &stats["destinations"]["meta"];
        assert_eq!((&meta["dead"], &meta["expired"]), (&json!(0), &json!(0)), "{what}: {meta:#}");
        assert_eq!(meta["delivered"], 0, "{what}: what is no answer of Meta's is no delivery");
    }
    hostile.be(Manner::Good);
    let stats = until(&relay, "good again", |all| all["meta"]["delivered"] == posted).await;
    let meta = &stats["destinations"]["meta"];
    assert_eq!((&meta["dead"], &meta["pending"]), (&json!(0), &json!(0)), "{meta:#}");
    let mut taken = hostile.taken.lock().unwrap().clone();
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), usize::try_from(posted).unwrap());
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_poison_event_of_a_thousand_costs_one_event() {
    let (hostile, mut folder) = (Hostile::start().await, Folder::shipped());
    hostile.be(Manner::Poison);
    let (relay, _sandbox) = hostile.relay(&mut folder).await;
    let id = |n: usize| if n == 613 { POISON.to_owned() } else { format!("p-{n}") };
    post(&relay, (0..1_000).map(id)).await;
    let stats = until(&relay, "poison", |all| {
        all["meta"]["delivered"] == 999
            && HEALTHY.iter().all(|name| all[name]["delivered"] == 1_000)
    })
    .await;
    let meta = &stats["destinations"]["meta"];
    assert_eq!((&meta["dead"], &meta["pending"]), (&json!(1), &json!(0)), "{meta:#}");
    let (_, letters) = relay.admin("GET", "/admin/v1/dead?destination=meta", None).await;
    assert!(letters.to_string().contains(POISON), "{letters}");
    let taken = hostile.taken.lock().unwrap().clone();
    assert_eq!(taken.len(), 999, "each of the others once");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_pixel_id_stops_its_destination_and_kills_nothing() {
    let (hostile, mut folder) = (Hostile::start().await, Folder::shipped());
    hostile.be(Manner::WrongPixel);
    let (relay, _sandbox) = hostile.relay(&mut folder).await;
    post(&relay, (0..200).map(|n| format!("w-{n}"))).await;
    let stats = until(&relay, "wrong", |all| {
        all["meta"]["state"] == "failing"
            && HEALTHY.iter().all(|name| all[name]["delivered"] == 200)
    })
    .await;
    let meta = &stats["destinations"]["meta"];
    assert_eq!((&meta["dead"], &meta["delivered"]), (&json!(0), &json!(0)), "{meta:#}");
    // Probed for a while, one event at a time: none of them dies either.
    tokio::time::sleep(Duration::from_secs(4)).await;
    hostile.be(Manner::Good);
    let stats = until(&relay, "fixed", |all| all["meta"]["delivered"] == 200).await;
    let meta = &stats["destinations"]["meta"];
    assert_eq!((&meta["dead"], &meta["state"]), (&json!(0), &json!("running")), "{meta:#}");
    relay.stop().await;
}
