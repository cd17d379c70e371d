//! Keeps the gauges that are read from the queue rather than counted as things happen.

use std::{sync::Arc, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use metrics::{counter, gauge};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::before::Quotas;
use crate::{
    clock::Clock,
    config::{Config, versions},
    delivery::Delivery,
    destinations::Version,
    queue::Queue,
    telemetry::{self, Metrics},
};

/// Between two looks at the queue.
const BEAT: Duration = Duration::from_secs(2);

/// How long the version of each destination's API still works: for ever, as far as is known, where
/// its end is not named, so that an alert can compare them all.
pub(super) fn versions(config: &Config, now: Timestamp) {
    let today = now.to_zoned(TimeZone::UTC).date();
    for destination in config.destinations.values() {
        let Some(Version { name, ends, .. }) = destination.version() else { continue };
        let left = ends.map_or(f64::INFINITY, |ends| versions::days_left(ends, today) as f64);
        gauge!(telemetry::API_DAYS_LEFT, "destination" => destination.name.clone(),
            "version" => name)
        .set(left);
    }
}

/// Looks at the queue until the relay stops.
pub(super) fn keep(
    queue: Queue,
    delivery: Arc<Delivery>,
    clock: Clock,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut quotas = Quotas::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(BEAT) => {}
            }
            let stats = queue.stats().await;
            let now = clock();
            for (name, books) in &stats.destinations {
                let label = || vec![metrics::Label::new("destination", name.clone())];
                gauge!(telemetry::QUEUE_PENDING, label()).set(books.pending as f64);
                gauge!(telemetry::QUEUE_IN_FLIGHT, label()).set(books.in_flight as f64);
                gauge!(telemetry::QUEUE_DEAD, label()).set(books.dead as f64);
                let age = queue.oldest(name).map_or(0.0, |at| now.duration_since(at).as_secs_f64());
                gauge!(telemetry::QUEUE_OLDEST_SECONDS, label()).set(age.max(0.0));
            }
            let vitals = queue.vitals();
            gauge!(telemetry::STORE_BYTES).set(vitals.disk_bytes as f64);
            gauge!(telemetry::IDS_KEPT).set(vitals.event_ids as f64);
            counter!(telemetry::IDS_EVICTED).absolute(vitals.event_ids_dropped);
            counter!(telemetry::STORE_ERRORS).absolute(vitals.failed_commits);
            let _states = delivery.states();
            metrics.run_upkeep();
            quotas.beat(&queue, &delivery, now).await;
        }
    })
}
