//! Logs and metrics: how they are set up, and one closed list of metric names, so that code,
//! documentation, dashboard and alerts agree.
//!
//! Labels carry names of the configuration (destination, plan event) and codes of closed lists,
//! never identity and never what a sender made up: an event that is not in the plan has the label
//! `unknown`. Logs go to standard error; standard output belongs to what commands answer.

use std::io::IsTerminal as _;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::{Dispatch, dispatcher};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

// === ingest ===

/// Events answered, by `event` and `status` (counter).
pub const EVENTS: &str = "relay_events_total";
/// Warnings given, by `code` (counter).
pub const WARNINGS: &str = "relay_warnings_total";
/// Events refused, by `code` (counter).
pub const REJECTIONS: &str = "relay_rejections_total";
/// Requests answered, by `route` and `status` (counter).
pub const REQUESTS: &str = "relay_requests_total";
/// From the request to its answer, by `route` (histogram, seconds).
pub const ACK_SECONDS: &str = "relay_ack_seconds";
/// Pieces of identity removed from URLs and texts, by `site` (counter).
pub const IDENTITY_REMOVED: &str = "relay_identity_removed_total";

// === decisions ===

/// Decisions before the queue, by `destination`, `event`, `decision` and `reason` (counter).
pub const DECISIONS: &str = "relay_decisions_total";

// === queue ===

/// Jobs that wait, by `destination` (gauge).
pub const QUEUE_PENDING: &str = "relay_queue_pending";
/// Jobs that are being sent, by `destination` (gauge).
pub const QUEUE_IN_FLIGHT: &str = "relay_queue_in_flight";
/// Dead letters kept, by `destination` (gauge).
pub const QUEUE_DEAD: &str = "relay_queue_dead";
/// Age of the oldest waiting job, by `destination` (gauge, seconds).
pub const QUEUE_OLDEST_SECONDS: &str = "relay_queue_oldest_seconds";
/// Size of the store (gauge, bytes).
pub const STORE_BYTES: &str = "relay_store_bytes";
/// One commit, its sync included (histogram, seconds).
pub const COMMIT_SECONDS: &str = "relay_commit_seconds";
/// Event ids remembered (gauge).
pub const IDS_KEPT: &str = "relay_event_ids_kept";
/// Event ids forgotten before their time, for want of room (counter).
pub const IDS_EVICTED: &str = "relay_event_ids_evicted_total";
/// Failures of the store, after which it was opened again (counter).
pub const STORE_ERRORS: &str = "relay_store_errors_total";

// === delivery ===

/// Jobs settled, by `destination`, `event`, `outcome` and `reason` (counter).
pub const JOBS: &str = "relay_jobs_total";
/// From acceptance to delivery, by `destination` (histogram, seconds).
pub const DELIVERY_SECONDS: &str = "relay_delivery_seconds";
/// One call to a platform, by `destination`, `purpose` and `status` (histogram, seconds).
pub const CALL_SECONDS: &str = "relay_call_seconds";
/// Waits for the rate limit, by `destination` (histogram, seconds).
pub const RATE_LIMIT_WAIT_SECONDS: &str = "relay_rate_limit_wait_seconds";
/// Events whose send has no known result, by `destination` (counter).
pub const UNKNOWN_RESULTS: &str = "relay_unknown_results_total";
/// What answers told besides, by `destination` and `code` (counter of events).
pub const NOTES: &str = "relay_notes_total";
/// Batches cut in two because nothing said which event was at fault, by `destination` (counter).
pub const HALVINGS: &str = "relay_halvings_total";
/// 1 for the state that a destination is in, by `destination` and `state` (gauge).
pub const DESTINATION_STATE: &str = "relay_destination_state";

/// Days until the version of a platform's API ends, negative once it has, infinite where its end is
/// not named; by `destination` and `version` (gauge).
pub const API_DAYS_LEFT: &str = "relay_api_version_days_left";

/// Waiting events that will be too old within six hours, by `destination` (gauge).
pub const EXPIRING_SOON: &str = "relay_expiring_soon";
/// Alerts that fire, by `alert` (gauge).
pub const ALERTS: &str = "relay_alerts";

/// Of one metric: its name, what it is, and what it means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// The name, one of the constants above.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// What it means.
    pub help: &'static str,
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricKind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution over buckets with these upper bounds, in seconds.
    Histogram(&'static [f64]),
}

use MetricKind::{Counter, Gauge, Histogram};

/// An acknowledgement is a commit away: a few milliseconds.
const QUICK: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// A call to a platform ends with its timeout at the latest.
const CALL: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// A delivery may wait for a platform for days.
const LONG: &[f64] =
    &[0.1, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0, 259_200.0];

/// Every metric, in the order of `/metrics`' documentation.
pub const METRICS: &[Metric] = &[
    metric(EVENTS, Counter, "Events answered"),
    metric(WARNINGS, Counter, "Warnings given"),
    metric(REJECTIONS, Counter, "Events refused"),
    metric(REQUESTS, Counter, "Requests answered"),
    metric(ACK_SECONDS, Histogram(QUICK), "Seconds from a request to its answer"),
    metric(IDENTITY_REMOVED, Counter, "Pieces of identity removed from URLs and texts"),
    metric(DECISIONS, Counter, "Decisions before the queue"),
    metric(QUEUE_PENDING, Gauge, "Jobs that wait"),
    metric(QUEUE_IN_FLIGHT, Gauge, "Jobs that are being sent"),
    metric(QUEUE_DEAD, Gauge, "Dead letters kept"),
    metric(QUEUE_OLDEST_SECONDS, Gauge, "Age in seconds of the oldest waiting job"),
    metric(STORE_BYTES, Gauge, "Size of the store in bytes"),
    metric(COMMIT_SECONDS, Histogram(QUICK), "Seconds of one commit, its sync included"),
    metric(IDS_KEPT, Gauge, "Event ids remembered"),
    metric(IDS_EVICTED, Counter, "Event ids forgotten before their time, for want of room"),
    metric(STORE_ERRORS, Counter, "Failures of the store, after which it was opened again"),
    metric(JOBS, Counter, "Jobs settled"),
    metric(DELIVERY_SECONDS, Histogram(LONG), "Seconds from acceptance to delivery"),
    metric(CALL_SECONDS, Histogram(CALL), "Seconds of one call to a platform"),
    metric(RATE_LIMIT_WAIT_SECONDS, Histogram(LONG), "Seconds waited for the rate limit"),
    metric(UNKNOWN_RESULTS, Counter, "Events whose send has no known result"),
    metric(NOTES, Counter, "What answers told besides their outcomes, in events"),
    metric(HALVINGS, Counter, "Batches cut in two to find the event at fault"),
    metric(DESTINATION_STATE, Gauge, "1 for the state that a destination is in"),
    metric(API_DAYS_LEFT, Gauge, "Days until the version of a platform's API ends"),
    metric(EXPIRING_SOON, Gauge, "Waiting events that will be too old within six hours"),
    metric(ALERTS, Gauge, "Alerts that fire"),
];

const fn metric(name: &'static str, kind: MetricKind, help: &'static str) -> Metric {
    Metric { name, kind, help }
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Readable on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Readable.
    Pretty,
    /// One JSON object a line.
    Json,
    /// Nothing, for commands that draw a screen of their own.
    Quiet,
}

/// Why logs or metrics cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter's text.
    #[error(
        "the log filter is not valid, write it as `info` or `info,conversion_relay=debug`: {0}"
    )]
    Filter(String),
    /// Something else in this process did it before.
    #[error("logs or metrics are set up already")]
    Twice,
    /// The recorder's own words.
    #[error("metrics cannot be set up: {0}")]
    Recorder(String),
}

/// What is logged where nothing else is asked for.
pub const DEFAULT_FILTER: &str = "info";

/// Libraries below us log whole requests when asked for everything: they stay at warnings unless
/// the filter names them.
const LIBRARIES: &str = "h2=warn,hyper=warn,hyper_util=warn,reqwest=warn,rustls=warn,sled=warn,\
                         tower=warn,tower_http=warn";

/// Sets up logging for the process, to standard error. `filter` has the syntax of `RUST_LOG`.
pub fn init_logging(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let is_terminal = std::io::stderr().is_terminal();
    let Some(dispatch) = dispatch(format, filter, is_terminal, std::io::stderr)? else {
        return Ok(());
    };
    dispatcher::set_global_default(dispatch).map_err(|_| TelemetryError::Twice)
}

fn dispatch<W>(
    format: LogFormat,
    filter: &str,
    is_terminal: bool,
    writer: W,
) -> Result<Option<Dispatch>, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .parse(format!("{LIBRARIES},{filter}"))
        .map_err(|error| TelemetryError::Filter(error.to_string()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let is_json = match format {
        LogFormat::Quiet => return Ok(None),
        LogFormat::Auto => !is_terminal,
        LogFormat::Json => true,
        LogFormat::Pretty => false,
    };
    Ok(Some(if is_json {
        Dispatch::new(builder.json().flatten_event(true).with_current_span(false).finish())
    } else {
        Dispatch::new(builder.with_ansi(is_terminal).with_target(false).finish())
    }))
}

/// The process's metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Sets up the recorder for the process; nothing listens, `/metrics` renders.
    pub fn install() -> Result<Self, TelemetryError> {
        let recorder = builder()?.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::Twice)?;
        describe();
        Ok(Self { handle })
    }

    /// The text of `/metrics`, in Prometheus' format.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds what histograms have collected; to be called every few seconds, since without a
    /// scrape they only grow.
    pub fn run_upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn builder() -> Result<PrometheusBuilder, TelemetryError> {
    METRICS.iter().try_fold(PrometheusBuilder::new(), |builder, metric| match metric.kind {
        Histogram(buckets) => builder
            .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)
            .map_err(|error| TelemetryError::Recorder(error.to_string())),
        Counter | Gauge => Ok(builder),
    })
}

fn describe() {
    for metric in METRICS {
        match metric.kind {
            Counter => describe_counter!(metric.name, metric.help),
            Gauge => describe_gauge!(metric.name, metric.help),
            Histogram(_) => describe_histogram!(metric.name, Unit::Seconds, metric.help),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, is_terminal: bool) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let dispatch = dispatch(format, filter, is_terminal, move || writer.clone()).unwrap();
        dispatcher::with_default(&dispatch.unwrap(), || {
            tracing::info!(destination = "meta", "batch delivered");
            tracing::trace!("our own detail");
            tracing::trace!(target: "h2::codec", "authorization: secret");
            tracing::warn!(target: "hyper", "a warning");
        });
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn logs_are_json_unless_somebody_watches() {
        let text = logged(LogFormat::Auto, DEFAULT_FILTER, false);
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["message"], "batch delivered");
        assert_eq!(first["destination"], "meta");
        assert_eq!(first["level"], "INFO");
        assert_eq!(text.lines().count(), 2, "{text}");
        let text = logged(LogFormat::Auto, DEFAULT_FILTER, true);
        assert!(text.contains("batch delivered") && !text.starts_with('{'), "{text}");
        assert!(logged(LogFormat::Json, "info", true).starts_with('{'));
        assert!(!logged(LogFormat::Pretty, "info", false).contains('\u{1b}'), "no colours");
    }

    #[test]
    fn libraries_say_little_unless_named() {
        let text = logged(LogFormat::Json, "trace", false);
        assert!(text.contains("our own detail") && !text.contains("secret"), "{text}");
        assert!(logged(LogFormat::Json, "info,h2=trace", false).contains("secret"));
    }

    #[test]
    fn a_wrong_filter_says_how_to_write_one() {
        let error = dispatch(LogFormat::Json, "info,=,", false, std::io::stderr).unwrap_err();
        assert!(error.to_string().contains("write it as `info`"), "{error}");
        assert!(dispatch(LogFormat::Quiet, "info", false, std::io::stderr).unwrap().is_none());
    }

    #[test]
    fn names_are_closed_and_by_convention() {
        let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len(), "each once");
        for metric in METRICS {
            let is_total = metric.name.ends_with("_total");
            assert!(metric.name.starts_with("relay_"), "{}", metric.name);
            assert_eq!(is_total, metric.kind == Counter, "{}", metric.name);
            let is_seconds = metric.name.ends_with("_seconds");
            assert!(is_seconds || !matches!(metric.kind, Histogram(_)), "{}", metric.name);
            if let Histogram(buckets) = metric.kind {
                assert!(buckets.is_sorted(), "{}", metric.name);
            }
        }
    }

    #[test]
    fn histograms_have_their_buckets() {
        let recorder = builder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            metrics::histogram!(ACK_SECONDS, "route" => "/v1/events").record(0.003);
            metrics::counter!(JOBS, "destination" => "meta", "outcome" => "delivered").increment(2);
        });
        let text = handle.render();
        assert!(text.contains(r#"relay_ack_seconds_bucket{route="/v1/events",le="0.005"} 1"#));
        assert!(text.contains(r#"relay_jobs_total{destination="meta",outcome="delivered"} 2"#));
        assert!(text.contains("# HELP relay_jobs_total Jobs settled"), "{text}");
    }
}
