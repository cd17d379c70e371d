//! The power goes out: whatever was acknowledged before is there after, from what had been synced
//! alone, with the rest gone or torn, also straight after a start that followed a SIGKILL.
//!
//! These tests are what fails when a guard is missing: without `sync_data` after sled's `flush`,
//! acknowledged events are lost at the first boundary; without the sync of the log before sled opens
//! it, the image after a restart cannot be opened. `tests/torture/broken` shows it: it builds a relay
//! that acknowledges before it syncs, and runs them against it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use conversion_relay::config::Engine;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    harness::{Folder, Relay, assert_balanced, purchase},
    journal::{Change, Disk, Entry, Journal, Unsynced},
};

/// How many boundaries of a run are tried; all of them are by `RELAY_CUTS=100000`.
fn cuts() -> usize {
    #[allow(clippy::disallowed_methods, reason = "the long version is chosen by the environment")]
    std::env::var("RELAY_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

/// Relays that run at a time; each mostly waits for its batches to linger.
const AT_ONCE: usize = 4;

/// The shipped destinations.
const DESTINATIONS: [&str; 4] = ["meta", "google_ads", "ga4", "crm"];

/// A recorded run: what was acknowledged, and where the journal stood then.
struct Run {
    engine: Engine,
    folder: Folder,
    journal: Journal,
    acknowledged: Vec<(String, u64)>,
    /// The number of the next event.
    next: usize,
}

impl Run {
    fn new(engine: Engine) -> Self {
        let mut folder = Folder::shipped();
        folder.use_engine(engine);
        std::fs::create_dir(folder.data()).unwrap();
        let journal = Journal::attach(&mut folder);
        Self { engine, folder, journal, acknowledged: Vec::new(), next: 0 }
    }

    /// A relay that delivers nothing, so that what was acknowledged must all be in the folder.
    async fn start(&self) -> Relay {
        let relay = Relay::start(&self.folder).await;
        for name in DESTINATIONS {
            let path = format!("/admin/v1/destinations/{name}/pause");
            assert_eq!(relay.admin("POST", &path, None).await.0, 200);
        }
        relay
    }

    async fn post(&mut self, relay: &Relay, requests: usize, size: usize) {
        for _ in 0..requests {
            let from = self.next;
            self.next += size;
            let ids: Vec<String> = (from..from + size).map(|n| format!("cut-{n}")).collect();
            let events: Vec<Value> = ids.iter().map(|id| purchase(id)).collect();
            let (status, answer) = relay.post(&json!(events)).await;
            assert_eq!((status, &answer["accepted"]), (202, &json!(size)), "{answer}");
            let at = self.journal.position();
            self.acknowledged.extend(ids.into_iter().map(|id| (id, at)));
        }
    }

    /// Kills the relay in the middle of its work: what it had written and not yet synced stays in
    /// the machine's cache, where the next start reads it.
    async fn post_until_killed(&mut self, relay: Relay) {
        let relay = Arc::new(relay);
        let next = Arc::new(AtomicUsize::new(self.next));
        let mut senders = JoinSet::new();
        for _ in 0..4 {
            let (relay, next, journal) = (relay.clone(), next.clone(), self.journal.clone());
            senders.spawn(async move {
                let mut acknowledged = Vec::new();
                loop {
                    let from = next.fetch_add(4, Ordering::Relaxed);
                    let ids: Vec<String> = (from..from + 4).map(|n| format!("cut-{n}")).collect();
                    let events: Vec<Value> = ids.iter().map(|id| purchase(id)).collect();
                    let Some((status, answer)) = relay.try_post(&json!(events)).await else {
                        return acknowledged;
                    };
                    assert_eq!((status, &answer["accepted"]), (202, &json!(4)), "{answer}");
                    let at = journal.position();
                    acknowledged.extend(ids.into_iter().map(|id| (id, at)));
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
        relay.kill_now();
        while let Some(acknowledged) = senders.join_next().await {
            self.acknowledged.extend(acknowledged.expect("what was answered was right"));
        }
        self.next = next.load(Ordering::Relaxed);
        Arc::into_inner(relay).expect("no sender holds it any more").kill().await;
        self.journal.mend();
    }

    /// Ids that were acknowledged when the journal stood there.
    fn by(&self, position: u64) -> Vec<String> {
        let before = self.acknowledged.iter().filter(|(_, at)| *at <= position);
        before.map(|(id, _)| id.clone()).collect()
    }

    /// Cuts the power after some of the syncs and acknowledgements from a position of the journal on,
    /// and tries each: with all that was not synced gone, with its names alone there, and with what came until the
    /// next sync torn. All boundaries of the start, until it was ready, are tried.
    async fn cut(&self, from: u64, ready: u64) -> Figures {
        let entries = self.journal.read();
        // The last thing before an acknowledgement: what was answered then was synced then.
        let acknowledged: BTreeSet<u64> = self
            .acknowledged
            .iter()
            .filter_map(|(_, at)| entries.iter().map(|entry| entry.end).rfind(|end| end <= at))
            .collect();
        let is_boundary = |entry: &Entry| {
            let is_sync = matches!(entry.change, Change::Sync | Change::Rename(_));
            (is_sync || acknowledged.contains(&entry.end)) && entry.end > from
        };
        let boundaries = entries.iter().filter(|entry| is_boundary(entry)).count();
        let every = boundaries.div_ceil(cuts()).max(1);
        let mut figures = Figures { boundaries, ..Figures::default() };
        let (mut disk, mut passed, mut torn) = (Disk::new(), 0, None);
        let mut images = JoinSet::new();
        for entry in &entries {
            if matches!(entry.change, Change::Sync)
                && let Some(at) = torn.take()
            {
                images.spawn(survives(self.image(&disk, Unsynced::Torn(at)), self.by(at), "torn"));
            }
            disk.play(entry);
            if !is_boundary(entry) {
                continue;
            }
            passed += 1;
            if entry.end > ready && passed % every != 0 && passed != boundaries {
                continue;
            }
            let acknowledged = self.by(entry.end);
            figures.cuts += 3;
            figures.acknowledged = figures.acknowledged.max(acknowledged.len());
            let named = self.image(&disk, Unsynced::Named);
            images.spawn(survives(named, acknowledged.clone(), "gone but for their names"));
            images.spawn(survives(self.image(&disk, Unsynced::Lost), acknowledged, "gone"));
            torn = Some(entry.end);
            while images.len() >= AT_ONCE {
                images.join_next().await.expect("there are some").expect("everything survived");
            }
        }
        if let Some(at) = torn {
            images.spawn(survives(self.image(&disk, Unsynced::Torn(at)), self.by(at), "torn"));
        }
        while let Some(image) = images.join_next().await {
            image.expect("everything survived");
        }
        figures
    }

    /// The data folder that a cut leaves, in a folder of its own.
    fn image(&self, disk: &Disk, unsynced: Unsynced) -> Folder {
        let folder = Folder::shipped();
        folder.use_engine(self.engine);
        disk.cut(unsynced, &folder.data());
        folder
    }
}

/// A relay starts on what is left, knows every id that was acknowledged, and delivers it all: the
/// books count a job that the store lost as pending for ever.
async fn survives(folder: Folder, acknowledged: Vec<String>, unsynced: &str) {
    let relay = Relay::start(&folder).await;
    for name in DESTINATIONS {
        let path = format!("/admin/v1/destinations/{name}/resume");
        assert_eq!(relay.admin("POST", &path, None).await.0, 200);
    }
    let events: Vec<Value> = acknowledged.iter().map(|id| purchase(id)).collect();
    if !events.is_empty() {
        let (_, answer) = relay.post(&json!(events)).await;
        assert_eq!(answer["duplicate"], events.len(), "unsynced writes {unsynced}: {answer}");
    }
    let stats = relay.drained().await;
    assert_balanced(&stats);
    for name in DESTINATIONS {
        let delivered = stats["destinations"][name]["delivered"].as_u64().unwrap_or(0);
        assert!(delivered >= events.len() as u64, "unsynced writes {unsynced}: {name}: {stats:#}");
    }
    relay.kill().await;
}

#[derive(Debug, Default)]
struct Figures {
    boundaries: usize,
    cuts: usize,
    acknowledged: usize,
}

fn table(engine: Engine, what: &str, figures: &Figures) {
    println!("| power cut, engine | boundaries | cuts | acknowledged | lost |");
    println!("| --- | --- | --- | --- | --- |");
    println!(
        "| {what}, {} | {} | {} | {} | 0 |",
        engine.name(),
        figures.boundaries,
        figures.cuts,
        figures.acknowledged
    );
}

async fn what_was_acknowledged_survives(engine: Engine) {
    let mut run = Run::new(engine);
    let relay = run.start().await;
    let from = run.journal.position();
    run.post(&relay, 25, 8).await;
    relay.kill().await;
    let figures = run.cut(from, from).await;
    assert!(figures.boundaries >= 25, "{figures:?}");
    table(engine, "while running", &figures);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_power_cut_on_sled() {
    what_was_acknowledged_survives(Engine::Sled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_power_cut_on_redb() {
    what_was_acknowledged_survives(Engine::Redb).await;
}

async fn a_start_after_sigkill_survives(engine: Engine) {
    let mut run = Run::new(engine);
    for round in 0..2 {
        let from = run.journal.position();
        let relay = run.start().await;
        let ready = run.journal.position();
        run.post_until_killed(relay).await;
        if round > 0 {
            let figures = run.cut(from, ready).await;
            table(engine, "after a restart", &figures);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_after_sigkill_survives_a_power_cut_on_sled() {
    a_start_after_sigkill_survives(Engine::Sled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_after_sigkill_survives_a_power_cut_on_redb() {
    a_start_after_sigkill_survives(Engine::Redb).await;
}
