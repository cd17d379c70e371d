//! Alerts, put together: looks at everything every two seconds, writes what there is to tell into
//! the log, posts it to the webhooks, and keeps over a restart what fires.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use metrics::gauge;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::alert_posts::Posts;
use crate::{
    alert::{Arrivals, Board, Fault, Kind, Look, Notice, Sight, Watch},
    clock::{Clock, Stopwatch},
    config::{Config, versions},
    delivery::{Delivery, health::Cause},
    destinations::FaultKind,
    queue::{Disk, Queue, Refused},
    telemetry,
};

/// Between two looks.
const BEAT: Duration = Duration::from_secs(2);
/// Between two walks over all that waits, for what will soon be too old.
const WALK_EVERY: Duration = Duration::from_secs(60);
/// So long before it is too old an event is told of.
const SOON: Duration = Duration::from_secs(6 * 60 * 60);
/// A destination that shed events within this time still does.
const SHED_LATELY: SignedDuration = SignedDuration::from_secs(60);
/// What is known of arrivals is kept so often, besides at every change of what fires.
const KEEP_EVERY: Duration = Duration::from_secs(5 * 60);
/// Where it is kept.
const KEPT: &str = "alerts";
/// What is looked at.
pub(super) struct Watched {
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) queue: Queue,
    pub(super) delivery: Arc<Delivery>,
    pub(super) data: PathBuf,
    pub(super) arrivals: Arc<Arrivals>,
    pub(super) board: Board,
    pub(super) clock: Clock,
}

/// Watches until the relay stops.
pub(super) fn keep(watched: Watched, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        let kept = watched.queue.kept(KEPT).await.ok().flatten();
        let mut watch = Watch::resume(kept.as_deref(), (watched.clock)());
        // Dropped with the task: what is on its way then is in the log, and shown by the admin call.
        let mut posts = Posts::default();
        let (mut walked, mut noted) = (None::<Stopwatch>, Stopwatch::start());
        let mut expiring = BTreeMap::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(BEAT) => {}
            }
            let now = (watched.clock)();
            if walked.is_none_or(|walk| walk.elapsed() >= WALK_EVERY) {
                expiring = watched.expiring(now).await.unwrap_or(expiring);
                walked = Some(Stopwatch::start());
            }
            let config = watched.config.load_full();
            let sight = watched.look(&config, &expiring, now).await;
            let notices = watch.look(&sight, &config.alert_when, now);
            watched.board.show(watch.active(), expiring.clone());
            gauges(&watch);
            for notice in &notices {
                say(notice);
            }
            posts.tell(&config, &notices);
            if !notices.is_empty() || noted.elapsed() >= KEEP_EVERY {
                noted = Stopwatch::start();
                watched.remember(&watch).await;
            }
        }
        watched.remember(&watch).await;
    })
}

impl Watched {
    async fn remember(&self, watch: &Watch) {
        if let Err(refused) = self.queue.keep(KEPT, watch.keep()).await {
            tracing::debug!(%refused, "what fires is not kept over a restart");
        }
    }

    async fn expiring(&self, now: Timestamp) -> Option<BTreeMap<String, u64>> {
        let soon = now.checked_add(SOON).unwrap_or(Timestamp::MAX);
        let expiring = self.queue.expiring(soon).await.ok()?;
        for name in self.config.load().destinations.keys() {
            let count = expiring.get(name).copied().unwrap_or_default();
            gauge!(telemetry::EXPIRING_SOON, "destination" => name.clone()).set(count as f64);
        }
        Some(expiring)
    }

    async fn look(
        &self,
        config: &Config,
        expiring: &BTreeMap<String, u64>,
        now: Timestamp,
    ) -> Sight {
        let stats = self.queue.stats().await;
        let today = now.to_zoned(TimeZone::UTC).date();
        let look = |name: &String| {
            let books = stats.destinations.get(name).cloned().unwrap_or_default();
            let held = books.held;
            let oldest = self.queue.oldest(name).map(|at| now.duration_since(at));
            let version = config.destinations.get(name).and_then(|known| known.version());
            Look {
                decided: books.accepted.saturating_sub(books.skipped),
                held: held.no_consent
                    + held.opted_out
                    + held.no_signal
                    + held.not_approved
                    + held.no_rule
                    + held.minor,
                delivered: books.delivered,
                dead: books.dead + books.discarded,
                oldest: oldest.and_then(|age| Duration::try_from(age).ok()),
                expiring: expiring.get(name).copied().unwrap_or_default(),
                shed: self
                    .queue
                    .shed(name)
                    .filter(|(_, last)| now.duration_since(*last) < SHED_LATELY)
                    .map_or(0, |(events, _)| events),
                fault: self.delivery.failing(name).map(|failing| Fault {
                    is_authorization: failing.cause == Cause::Platform(FaultKind::Unauthorized),
                    reason: failing.reason,
                    message: failing.message,
                }),
                version: version.and_then(|v| Some((v.name, versions::days_left(v.ends?, today)))),
            }
        };
        let vitals = self.queue.vitals();
        let most = config.queue.max_disk;
        let disk = Disk::default();
        // Where the file system does not say, it is not the one to warn of.
        let free = (disk.free)(&self.data).unwrap_or(u64::MAX);
        Sight {
            destinations: config
                .destinations
                .keys()
                .map(|name| (name.clone(), look(name)))
                .collect(),
            events: self.arrivals.counts(),
            disk: (most.saturating_sub(vitals.disk_bytes), most),
            disk_free: free.saturating_sub(disk.floor_bytes),
            is_open: vitals.open,
            full: match self.queue.ready() {
                Err(Refused::Full(why)) => Some(why),
                Ok(()) | Err(Refused::Store(_) | Refused::Stopping) => None,
            },
        }
    }
}

fn gauges(watch: &Watch) {
    let active = watch.active();
    for kind in Kind::ALL {
        let count = active.iter().filter(|one| one.alert == kind).count();
        gauge!(telemetry::ALERTS, "alert" => kind.name()).set(count as f64);
    }
}

/// A line that a human can act on.
fn say(notice: &Notice) {
    let (alert, subject) = (notice.active.alert.name(), notice.active.subject.as_str());
    let text = notice.text();
    if notice.is_over {
        // As loud as a warning: whoever hears that it began must hear that it is over.
        tracing::warn!(alert, subject, "{text}");
    } else {
        tracing::error!(alert, subject, "{text}");
    }
}
