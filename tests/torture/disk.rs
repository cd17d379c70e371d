//! The disk is full, read-only, failing or slow: what cannot be kept is refused with 503 and
//! `Retry-After`, nothing that was acknowledged is lost, and the relay recovers without a restart.
//!
//! `faults.c` plays the disk; where there is root a real one, too small, is mounted as well, and
//! shows the reserve: outcomes are still written when nothing is admitted any more.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use conversion_relay::config::Engine;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    harness::{Folder, OwnSandbox, Relay, assert_balanced, purchase},
    journal::compile,
};

/// How long a recovery may take once the disk is well: the longest wait between attempts, and a bit.
const RECOVERY: Duration = Duration::from_secs(20);

/// A disk whose state a test sets.
struct Disk {
    state: PathBuf,
}

impl Disk {
    fn under(folder: &mut Folder) -> Self {
        let beside = folder.dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(folder.data()).unwrap();
        let library = compile("faults.c", &beside);
        let disk = Self { state: beside.join("disk") };
        disk.is("ok");
        for (name, value) in [
            ("LD_PRELOAD", &library),
            ("RELAY_FAULTS", &disk.state),
            ("RELAY_FAULTS_UNDER", &beside.join("data")),
        ] {
            folder.env.push((name.to_owned(), value.display().to_string()));
        }
        disk
    }

    fn is(&self, state: &str) {
        // Renamed into place: the relay never reads half of it.
        let new = self.state.with_extension("new");
        std::fs::write(&new, state).unwrap();
        std::fs::rename(new, &self.state).unwrap();
    }
}

/// Posts events one a request until one is refused, or all are acknowledged.
async fn post(relay: &Relay, ids: &[String]) -> (Vec<String>, Option<reqwest::Response>) {
    let mut acknowledged = Vec::new();
    for id in ids {
        let answer = relay.send(&purchase(id).to_string()).await;
        if answer.status() != 202 {
            return (acknowledged, Some(answer));
        }
        acknowledged.push(id.clone());
    }
    (acknowledged, None)
}

fn ids(phase: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{phase}-{n}")).collect()
}

/// What a relay says while its disk does not take anything.
async fn refused(relay: &Relay, answer: reqwest::Response) {
    assert_eq!(answer.status(), 503, "{answer:?}");
    let wait = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
    assert!(wait.is_some_and(|wait| wait.parse::<u64>().is_ok_and(|wait| wait > 0)), "{wait:?}");
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(body["code"], "store_failed", "{body}");
    let alive = relay.http.get(format!("{}/healthz", relay.public)).send().await.unwrap();
    assert_eq!(alive.status(), 200, "alive all the same");
}

/// Waits until something is acknowledged again; how long that took.
async fn recovered(relay: &Relay, id: &str) -> Duration {
    let begun = Instant::now();
    while begun.elapsed() < RECOVERY {
        if relay.send(&purchase(id).to_string()).await.status() == 202 {
            return begun.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("still refused {RECOVERY:?} after the disk was well");
}

async fn a_bad_disk(state: &str) {
    let mut folder = Folder::shipped();
    let sandbox = OwnSandbox::start().await;
    sandbox.point(&mut folder);
    let disk = Disk::under(&mut folder);
    let relay = Relay::start(&folder).await;
    let (mut acknowledged, none) = post(&relay, &ids("before", 30)).await;
    assert!(none.is_none());

    // In the midst of sending and settling.
    disk.is(state);
    let (also, answer) = post(&relay, &ids("during", 200)).await;
    acknowledged.extend(also);
    refused(&relay, answer.expect("a disk that takes nothing refuses")).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (also, answer) = post(&relay, &ids("later", 3)).await;
    assert!(also.is_empty(), "nothing is acknowledged that cannot be kept");
    refused(&relay, answer.unwrap()).await;
    let ready = relay.http.get(format!("{}/readyz", relay.public)).send().await.unwrap();
    assert_eq!(ready.status(), 503, "{state}: not ready");

    disk.is("ok");
    let took = recovered(&relay, "after").await;
    acknowledged.push("after".to_owned());
    let (also, none) = post(&relay, &ids("afterwards", 20)).await;
    assert!(none.is_none());
    acknowledged.extend(also);
    let stats = relay.drained().await;
    assert_balanced(&stats);
    let duplicates = delivered(&sandbox, &acknowledged, state).await;

    // What was acknowledged is on the disk, too: a new process knows it.
    relay.kill().await;
    let relay = Relay::start(&folder).await;
    let again: Vec<Value> = acknowledged.iter().map(|id| purchase(id)).collect();
    let (_, answer) = relay.post(&json!(again)).await;
    assert_eq!(answer["duplicate"], acknowledged.len(), "{state}: {answer}");
    relay.kill().await;
    println!(
        "disk {state}: acknowledged {}, lost 0, duplicated {duplicates}, recovery {took:.1?}",
        acknowledged.len()
    );
}

/// Every acknowledged event arrived; how many came more than once.
async fn delivered(sandbox: &OwnSandbox, acknowledged: &[String], state: &str) -> usize {
    let arrived = sandbox.accepted_ids("meta").await;
    for id in acknowledged {
        assert!(arrived.contains(id), "{state}: {id} was acknowledged and never arrived");
    }
    arrived.len() - arrived.iter().collect::<std::collections::HashSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_recovers() {
    a_bad_disk("full").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_disk_refuses_and_recovers() {
    a_bad_disk("readonly").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_disk_refuses_and_recovers() {
    a_bad_disk("broken").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_is_only_slow() {
    let mut folder = Folder::shipped();
    let sandbox = OwnSandbox::start().await;
    sandbox.point(&mut folder);
    let disk = Disk::under(&mut folder);
    let relay = Relay::start(&folder).await;
    disk.is("slow 100");
    let begun = Instant::now();
    let (acknowledged, none) = post(&relay, &ids("slow", 5)).await;
    assert!(none.is_none(), "slow is no reason to refuse: {none:?}");
    let each = begun.elapsed() / 5;
    disk.is("ok");
    let (_, none) = post(&relay, &ids("quick", 5)).await;
    assert!(none.is_none());
    assert_balanced(&relay.drained().await);
    let duplicates = delivered(&sandbox, &acknowledged, "slow").await;
    relay.stop().await;
    println!("disk slow: acknowledged 10, lost 0, duplicated {duplicates}, {each:.1?} each");
}

// === a real one ===

/// A small file system of its own; unmounted when it is dropped.
struct Mount(PathBuf);

impl Mount {
    /// `None` where mounting is not allowed.
    fn new(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(at)
            .output();
        done.is_ok_and(|done| done.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Takes all of a file system but for so many bytes while the relay stands still: what it frees
/// afterwards is its own.
fn fill(relay: &Relay, filler: &Path, left: u64) {
    use rustix::{
        fs::{FallocateFlags, fallocate, statvfs},
        process::Signal,
    };
    relay.signal(Signal::STOP);
    let file = std::fs::File::create(filler).unwrap();
    // The file system may need a little for itself.
    let filled = (0..100).any(|_| {
        let free = statvfs(filler).unwrap();
        let free = (free.f_bavail * free.f_frsize).saturating_sub(left);
        fallocate(&file, FallocateFlags::empty(), 0, free).is_ok()
    });
    relay.signal(Signal::CONT);
    assert!(filled, "{} cannot be filled", filler.display());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reserve_lets_the_queue_drain_when_nothing_more_is_admitted() {
    for engine in Engine::ALL {
        drains(engine, "192m", 48 << 20).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reserve_lets_the_queue_drain_when_not_a_byte_is_left() {
    for engine in Engine::ALL {
        for size in ["192m", "96m"] {
            drains(engine, size, 0).await;
        }
    }
}

/// Events wait, somebody else fills the disk but for `left` bytes, and then the platforms answer.
async fn drains(engine: Engine, size: &str, left: u64) {
    let mut folder = Folder::shipped();
    folder.use_engine(engine);
    let sandbox = OwnSandbox::start().await;
    sandbox.point(&mut folder);
    let Some(_mount) = Mount::new(&folder.data(), size) else {
        println!("skipped: a file system cannot be mounted here");
        return;
    };
    let relay = Relay::start(&folder).await;
    sandbox.faults(&json!({"status": 503})).await;
    let (acknowledged, none) = post(&relay, &ids("waiting", 100)).await;
    assert!(none.is_none(), "{none:?}");

    let filler = folder.data().join("filler");
    fill(&relay, &filler, left);
    let (none, answer) = post(&relay, &ids("refused", 1)).await;
    assert!(none.is_empty());
    refused(&relay, answer.unwrap()).await;
    let ready = relay.http.get(format!("{}/readyz", relay.public)).send().await.unwrap();
    assert_eq!(ready.status(), 503, "a relay that refuses events is not ready");

    let url = format!("{}/sandbox/v1/faults", sandbox.url);
    assert!(sandbox.http.delete(url).send().await.unwrap().status().is_success());
    let stats = relay.drained_within(Duration::from_secs(90)).await;
    assert_balanced(&stats);
    let duplicates = delivered(&sandbox, &acknowledged, "reserve").await;
    std::fs::remove_file(filler).unwrap();
    let took = recovered(&relay, "after").await;
    relay.stop().await;
    println!(
        "disk full ({size}, {left} left), reserve, {}: acknowledged 101, lost 0, duplicated \
         {duplicates}, drained while full, recovery {took:.1?}",
        engine.name()
    );
}
