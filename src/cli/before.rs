//! What delivery has to know of the process before: who is paused, and how much of the day's quota is
//! used. Kept in the queue's store.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::{
    clock::Stopwatch,
    delivery::{Before, Delivery},
    queue::{Queue, Refused},
};

/// Where those are kept that are paused.
const PAUSED: &str = "paused";
/// Where it is kept how much of the day's quota is used.
const QUOTAS: &str = "requests_of_day";
/// How often that is kept, where it changed: so much of it a crash may forget.
const KEEP_EVERY: Duration = Duration::from_secs(10);

/// Requests of one UTC day, by destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct OfDay {
    day: Date,
    used: BTreeMap<String, u64>,
}

/// What was kept; of another day's quota nothing.
pub(super) async fn read(queue: &Queue, now: Timestamp) -> Result<Before, Refused> {
    let paused = queue.kept(PAUSED).await?;
    let paused = paused.and_then(|kept| serde_json::from_slice(&kept).ok()).unwrap_or_default();
    let kept = queue.kept(QUOTAS).await?;
    let kept = kept.and_then(|kept| serde_json::from_slice::<OfDay>(&kept).ok());
    let used_of_day =
        kept.filter(|kept| kept.day == day_of(now)).map(|kept| kept.used).unwrap_or_default();
    Ok(Before { paused, used_of_day })
}

/// Keeps who is paused. Whoever comes second while this is written is written too: the last to write
/// has seen what holds.
pub(super) async fn keep_paused(queue: &Queue, delivery: &Delivery) -> Result<(), Refused> {
    let mut written: Option<BTreeSet<String>> = None;
    loop {
        let paused = delivery.paused();
        if written.as_ref() == Some(&paused) {
            return Ok(());
        }
        queue.keep(PAUSED, serde_json::to_vec(&paused).unwrap_or_default()).await?;
        written = Some(paused);
    }
}

/// Keeps how much of the day's quotas is used.
pub(super) struct Quotas {
    written: Option<OfDay>,
    since: Stopwatch,
}

impl Quotas {
    /// Of a start: nothing is written yet.
    pub(super) fn new() -> Self {
        Self { written: None, since: Stopwatch::start() }
    }

    /// Keeps it, where it changed and the last time is a while ago.
    pub(super) async fn beat(&mut self, queue: &Queue, delivery: &Delivery, now: Timestamp) {
        if self.since.elapsed() >= KEEP_EVERY {
            self.since = Stopwatch::start();
            self.keep(queue, delivery, now).await;
        }
    }

    /// Keeps it, where it changed.
    pub(super) async fn keep(&mut self, queue: &Queue, delivery: &Delivery, now: Timestamp) {
        let used = delivery.used_of_day(now).into_iter().filter(|(_, used)| *used > 0).collect();
        let today = OfDay { day: day_of(now), used };
        if self.written.as_ref() == Some(&today) {
            return;
        }
        match queue.keep(QUOTAS, serde_json::to_vec(&today).unwrap_or_default()).await {
            Ok(()) => self.written = Some(today),
            Err(refused) => {
                tracing::debug!(%refused, "the day's requests are not kept over a restart");
            }
        }
    }
}

fn day_of(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::UTC).date()
}
