//! Bad days of a machine: the relay says what is wrong and what to do, keeps what it accepted, and
//! goes on by itself when the day gets better.

use std::{fs, net::TcpListener, path::Path, process::Stdio, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::harness::{Folder, OwnSandbox, Relay, assert_balanced, binary, purchase};

/// Runs `serve` to its end, which must come by itself: exit code and what it said.
async fn refused(folder: &Folder) -> (i32, String) {
    let ended = tokio::time::timeout(Duration::from_secs(60), folder.serve().output());
    let output = ended.await.expect("it ends by itself").unwrap();
    assert!(output.stdout.is_empty(), "it was never ready");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn assert_says(log: &str, words: &[&str]) {
    let line = log.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    for word in words {
        assert!(line.contains(word), "{word:?} is missing: {line}\n{log}");
    }
    assert!(!log.contains("panicked at"), "{log}");
}

#[tokio::test]
async fn process_data_folder_not_writable() {
    let folder = Folder::shipped();
    fs::write(folder.data(), "a file in its place: not even root can write below it").unwrap();
    let (code, log) = refused(&folder).await;
    assert_eq!(code, 1, "{log}");
    assert_says(&log, &[folder.data().to_str().unwrap(), "--data"]);

    // Permissions do not bind root; a file system that is read-only does.
    let folder = Folder::shipped();
    let Some(small) = Mounted::start(&folder, "size=128m").await else { return };
    small.run("mount -o remount,ro \"$0\"", &folder.data()).await;
    let output = small.enter(&folder.serve()).output().await.unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert_says(&log, &[folder.data().to_str().unwrap(), "cannot be written", "--data"]);
}

#[tokio::test]
async fn process_data_folder_locked_by_another_process() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let (code, log) = refused(&folder).await;
    assert_eq!(code, 1, "{log}");
    assert_says(&log, &[folder.data().to_str().unwrap(), "another process", "--data"]);
    assert_eq!(relay.post(&purchase("undisturbed")).await.0, 202);
    relay.stop().await;
}

#[tokio::test]
async fn process_port_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for listener in ["public", "admin", "sandbox"] {
        let folder = Folder::shipped();
        let free = format!("{listener} = \"127.0.0.1:0\"");
        folder.edit("relay.toml", |text| {
            assert!(text.contains(&free));
            text.replace(&free, &format!("{listener} = \"{address}\""))
        });
        let (code, log) = refused(&folder).await;
        assert_eq!(code, 1, "{log}");
        assert_says(&log, &[&address, "[listen]"]);
    }
}

#[tokio::test]
async fn process_configuration_wrong_at_start() {
    let folder = Folder::shipped();
    folder.edit("relay.toml", |text| text.replace("[limits]", "[limts]"));
    folder.edit("consent.toml", |text| text.replace("model = \"opt_out\"", "model = \"opt_uot\""));
    folder.edit("events.toml", |text| text.replace("meta = \"Purchase\"", "mta = \"Purchase\""));
    let (code, log) = refused(&folder).await;
    assert_eq!(code, 78, "{log}");
    for word in ["relay.toml", "limits", "consent.toml", "opt_out", "events.toml", "meta"] {
        assert!(log.contains(word), "{word:?} is missing: {log}");
    }
    assert!(!folder.data().exists(), "nothing was begun");
}

#[tokio::test]
async fn process_wrong_key_then_the_right_one() {
    let mut folder = Folder::shipped();
    folder.env = folder.secrets();
    let relay = Relay::start(&folder).await;
    relay.faults(Some(json!({"status": 503}))).await;
    relay.post(&purchase("sealed")).await;
    relay.stop().await;

    let right = folder.env.clone();
    for (_, value) in folder.env.iter_mut().filter(|(name, _)| name == "RELAY_QUEUE_KEY") {
        *value = "YW5vdGhlcidzIGtleSwgb2YgMzIgYnl0ZXMgdG9vLi4=".to_owned();
    }
    let (code, log) = refused(&folder).await;
    assert_eq!(code, 1, "{log}");
    assert_says(&log, &["encryption_key", "previous_keys"]);
    folder.env.retain(|(name, _)| name != "RELAY_QUEUE_KEY");
    let (code, log) = refused(&folder).await;
    assert_eq!(code, 1, "{log}");
    assert_says(&log, &["encryption_key"]);

    folder.env = right;
    let relay = Relay::start(&folder).await;
    let stats = relay.drained().await;
    assert_balanced(&stats);
    assert_eq!(stats["destinations"]["meta"]["delivered"], 1, "{stats:#}");
    relay.stop().await;
}

#[tokio::test]
async fn process_corrupt_store_is_an_error_or_nothing_is_lost() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    pause_all(&relay).await;
    for batch in 0..20 {
        let events: Vec<_> = (0..10).map(|n| purchase(&format!("b{batch}-{n}"))).collect();
        let (status, answer) = relay.post(&json!(events)).await;
        assert_eq!((status, &answer["accepted"]), (202, &json!(10)), "{answer}");
    }
    relay.kill().await;
    // A start writes snapshots; the stop leaves the folder as it is found on a bad morning.
    let relay = Relay::start(&folder).await;
    pause_all(&relay).await;
    relay.stop().await;
    let whole = folder.dir.path().join("whole");
    copy(&folder.data(), &whole);
    let store = whole.join("sled");
    let snapshot = names(&store).into_iter().find(|name| name.starts_with("snap.")).unwrap();
    let log = fs::read(store.join("db")).unwrap();
    let used = log.iter().rposition(|byte| *byte != 0).unwrap();

    let (mut refusals, mut starts) = (0, 0);
    let places = [
        ("db", 0),
        ("db", used / 4),
        ("db", used / 2),
        ("db", used - used / 8),
        (snapshot.as_str(), 0),
        (snapshot.as_str(), 20),
    ];
    for (file, at) in places {
        fs::remove_dir_all(folder.data()).unwrap();
        copy(&whole, &folder.data());
        let path = folder.data().join("sled").join(file);
        let mut bytes = fs::read(&path).unwrap();
        let end = bytes.len().min(at + 4096);
        bytes[at..end].iter_mut().for_each(|byte| *byte ^= 0x5a);
        fs::write(&path, bytes).unwrap();
        println!("{file} at {at}");
        match Relay::try_start(&folder, &[]).await {
            Err(log) => {
                assert_says(&log, &["store", "backup"]);
                refusals += 1;
            }
            Ok(relay) => {
                resume_all(&relay).await;
                let stats = relay.drained().await;
                assert_balanced(&stats);
                assert_eq!(stats["accepted"], 200, "{file} at {at}: {stats:#}");
                for destination in ["meta", "google_ads", "ga4", "crm"] {
                    let books = &stats["destinations"][destination];
                    assert_eq!(books["delivered"], 200, "{file} at {at}: {books:#}");
                }
                relay.stop().await;
                starts += 1;
            }
        }
    }
    // Seen with --nocapture.
    println!("{refusals} clear errors, {starts} starts with everything");
    assert!(refusals > 0 && starts > 0, "both were seen: {refusals} and {starts}");
}

/// So that what is posted waits without having been tried.
async fn pause_all(relay: &Relay) {
    put_all(relay, "pause", "paused").await;
}

/// A pause outlives the relay.
async fn resume_all(relay: &Relay) {
    put_all(relay, "resume", "running").await;
}

async fn put_all(relay: &Relay, call: &str, state: &str) {
    for destination in ["meta", "google_ads", "ga4", "crm"] {
        let path = format!("/admin/v1/destinations/{destination}/{call}");
        let (status, answer) = relay.admin("POST", &path, None).await;
        assert_eq!((status, &answer["state"]), (200, &json!(state)), "{answer}");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn process_full_disk_refuses_keeps_and_recovers() {
    let folder = Folder::shipped();
    let Some(disk) = Mounted::start(&folder, "size=160m").await else { return };
    let start = || async {
        let relay = Relay::of(disk.enter(&folder.serve())).await;
        relay.unwrap_or_else(|log| panic!("the relay did not start:\n{log}"))
    };
    let relay = start().await;
    relay.faults(Some(json!({"status": 503}))).await;
    let (status, answer) = relay.post(&json!([purchase("before-1"), purchase("before-2")])).await;
    assert_eq!((status, &answer["accepted"]), (202, &json!(2)), "{answer}");

    // To the last byte.
    disk.fill(&folder.data()).await;
    let answer = relay.send(&purchase("refused").to_string()).await;
    assert_eq!(answer.status(), 503);
    let after: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(after > 0);
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(body["code"], "store_failed", "{body}");
    assert!(body["detail"].as_str().unwrap().contains("disk is full"), "{body}");
    let stats = relay.stats().await;
    assert_eq!(stats["accepted"], 2, "{stats:#}");
    assert_balanced(&stats);

    // Killed and started again while it is full: it starts, keeps, and goes on refusing. What it had
    // given up to write outcomes down may have been filled too: then it says why it does not start.
    relay.kill().await;
    let relay = match Relay::of(disk.enter(&folder.serve())).await {
        Ok(relay) => {
            relay.faults(Some(json!({"status": 503}))).await;
            assert_eq!(relay.send(&purchase("refused").to_string()).await.status(), 503);
            relay
        }
        Err(log) => {
            assert_says(&log, &[folder.data().to_str().unwrap(), "No space left"]);
            disk.free(&folder.data()).await;
            start().await
        }
    };
    let stats = relay.stats().await;
    assert_eq!(stats["accepted"], 2, "{stats:#}");
    assert_balanced(&stats);

    // Once more, when what the relay keeps for such a day is gone too: it may not start, but it
    // says why, and nothing is lost.
    relay.kill().await;
    disk.fill(&folder.data()).await;
    let relay = match Relay::of(disk.enter(&folder.serve())).await {
        Ok(relay) => relay,
        Err(log) => {
            assert_says(&log, &[folder.data().to_str().unwrap(), "No space left"]);
            disk.free(&folder.data()).await;
            start().await
        }
    };
    relay.faults(Some(json!({"status": 503}))).await;

    // Space is back: without a restart everything goes on.
    disk.free(&folder.data()).await;
    let mut status = 0;
    for _ in 0..100 {
        status = relay.post(&purchase("after")).await.0;
        if status == 202 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status, 202);
    relay.faults(None).await;
    let stats = relay.drained().await;
    assert_balanced(&stats);
    assert_eq!(stats["accepted"], 3, "{stats:#}");
    for destination in ["meta", "google_ads", "ga4", "crm"] {
        assert_eq!(stats["destinations"][destination]["delivered"], 3, "{stats:#}");
    }
    relay.stop().await;
}

/// A small file system of our own over a data folder, in a mount namespace that lives as long as
/// this does.
struct Mounted {
    holder: Child,
}

impl Mounted {
    /// `None` where the machine allows no mounts, which is said; with `CI=true` that is a failure.
    async fn start(folder: &Folder, options: &str) -> Option<Self> {
        fs::create_dir_all(folder.data()).unwrap();
        let mut holder = Command::new("unshare")
            .args(["--mount", "--map-root-user", "--", "sh", "-c"])
            .arg("mount -t tmpfs -o \"$1\" tmpfs \"$0\" && echo mounted && exec sleep 600")
            .args([folder.data().as_os_str(), options.as_ref()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
        if lines.next_line().await.unwrap().as_deref() == Some("mounted") {
            return Some(Self { holder });
        }
        #[allow(clippy::disallowed_methods, reason = "where nothing may be skipped is said there")]
        let all = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!all, "no file system can be mounted, and with CI=true nothing may be skipped");
        #[allow(clippy::print_stdout, reason = "a test that does nothing says so")]
        {
            println!("skipped: no file system can be mounted here (unshare --mount)");
        }
        None
    }

    /// A command as it runs inside.
    fn enter(&self, command: &Command) -> Command {
        let inner = command.as_std();
        let mut outer = Command::new("nsenter");
        outer
            .args(["--target", &self.holder.id().unwrap().to_string()])
            .args(["--mount", "--user", "--preserve-credentials", "--"])
            .arg(inner.get_program())
            .args(inner.get_args())
            .envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        outer
    }

    /// Runs a line of shell inside; `$0` is the path.
    async fn run(&self, script: &str, path: &Path) {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(path);
        let output = self.enter(&shell).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    async fn fill(&self, path: &Path) {
        // dd fails when nothing is left, as it should.
        self.run("dd if=/dev/zero of=\"$0/filler\" bs=64k 2>&1; test -s \"$0/filler\"", path).await;
    }

    async fn free(&self, path: &Path) {
        self.run("rm -f \"$0/filler\"", path).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_stops_gracefully_and_sends_nothing_twice() {
    let mut folder = Folder::shipped();
    let sandbox = OwnSandbox::start().await;
    sandbox.point(&mut folder);
    sandbox.faults(&json!({"latency_ms": 800})).await;
    let relay = Relay::start(&folder).await;
    let events: Vec<_> = (0..50).map(|n| purchase(&format!("on-its-way-{n}"))).collect();
    let (status, _) = relay.post(&json!(events)).await;
    assert_eq!(status, 202);
    // The webhook has requests in flight, and more that wait.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let log = relay.stop().await;
    assert!(log.contains("stopping"), "{log}");

    sandbox.faults(&json!({"latency_ms": 0})).await;
    let relay = Relay::start(&folder).await;
    let stats = relay.drained().await;
    assert_balanced(&stats);
    for (destination, platform) in
        [("meta", "meta"), ("google_ads", "google_ads"), ("crm", "webhook")]
    {
        assert_eq!(stats["destinations"][destination]["delivered"], 50, "{stats:#}");
        let mut ids = sandbox.accepted_ids(platform).await;
        assert_eq!(ids.len(), 50, "{destination}: what was in flight was finished, not repeated");
        ids.dedup();
        assert_eq!(ids.len(), 50, "{destination}");
    }
    relay.stop().await;
}

#[tokio::test]
async fn process_reloads_on_sighup_and_keeps_the_old_where_the_new_is_wrong() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let event = |n: u32| json!({"event": "wishlist", "event_id": n.to_string(), "site": "shop_us"});
    assert_eq!(relay.post(&event(1)).await.0, 422);
    let good = fs::read_to_string(folder.config().join("events.toml")).unwrap();
    folder.write("events.toml", &format!("{good}\n[events.wishlist]\nkind = \"micro\"\n"));
    relay.signal(Signal::HUP);
    let mut n = 2;
    while relay.post(&event(n)).await.0 != 202 {
        n += 1;
        assert!(n < 100, "the new configuration is never taken");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    folder.write("events.toml", "[events.wishlist]\nkindd = \"micro\"\n");
    relay.signal(Signal::HUP);
    tokio::time::sleep(Duration::from_millis(1000)).await;
    assert_eq!(relay.post(&event(1000)).await.0, 202, "the old one stands");
    let acts: Vec<Value> = fs::read_dir(folder.data().join("admin"))
        .unwrap()
        .flat_map(|day| {
            fs::read_to_string(day.unwrap().path())
                .unwrap()
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect();
    let told: Vec<_> = acts.iter().map(|act| (&act["call"], &act["status"])).collect();
    assert_eq!(told, [(&json!("SIGHUP"), &json!(200)), (&json!("SIGHUP"), &json!(422))]);
    let log = relay.stop().await;
    assert!(log.contains("reloaded") && log.contains("kindd"), "{log}");
}

#[tokio::test]
async fn process_demo_takes_free_ports() {
    // Where somebody else has them, they are taken just as well.
    let _usual: Vec<_> =
        [8080, 8081, 8090].map(|port| TcpListener::bind(("127.0.0.1", port))).into_iter().collect();
    // What a shell of an operator holds: the sandbox would refuse it, and it is none of the demo's.
    let output = binary()
        .args(["demo", "--for", "2s"])
        .env("META_ACCESS_TOKEN", "real")
        .env("CRM_WEBHOOK_SECRET", "real")
        .env("RELAY_WRITE_KEY", "real")
        .output()
        .await
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the books of every destination balance"), "{said}");
    assert!(!said.contains("failing") && !said.contains("refused"), "{said}");
    for port in ["8080", "8081", "8090"] {
        assert!(!said.contains(&format!("127.0.0.1:{port}")), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn process_whose_data_folder_is_taken_away_acknowledges_nothing_more() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    assert_eq!(relay.post(&purchase("before")).await.0, 202);
    let aside = folder.dir.path().join("aside");
    fs::rename(folder.data(), &aside).unwrap();
    for n in 0..3 {
        let answer = relay.send(&purchase(&format!("gone-{n}")).to_string()).await;
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
        let body = answer.text().await.unwrap();
        assert!(body.contains("data folder was removed"), "{body}");
    }
    // Put back, it goes on with what it held.
    fs::rename(&aside, folder.data()).unwrap();
    let (status, answer) = relay.post(&purchase("before")).await;
    assert_eq!((status, &answer["duplicate"]), (202, &json!(1)), "{answer}");
    assert_eq!(relay.post(&purchase("after")).await.0, 202);
    relay.stop().await;
}
