//! `/metrics` after a small run: what operators alert on moves with what happens.

use std::{collections::BTreeMap, time::Duration};

use conversion_relay::telemetry::{self, METRICS, MetricKind};
use serde_json::json;

use crate::harness::{Folder, Relay, purchase};

/// The samples of `/metrics`: by series, as it is written.
async fn samples(relay: &Relay) -> BTreeMap<String, f64> {
    let url = format!("{}/metrics", relay.admin);
    let answer = relay.http.get(url).bearer_auth(crate::harness::TOKEN).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    let text = answer.text().await.unwrap();
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    };
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(sample).collect()
}

/// The sum of the series of a metric that carry all of these labels.
fn sum(samples: &BTreeMap<String, f64>, name: &str, labels: &[(&str, &str)]) -> f64 {
    let fits = |series: &str| {
        let (found, rest) = series.split_once('{').unwrap_or((series, ""));
        found == name
            && labels.iter().all(|(key, value)| {
                let label = format!("{key}=\"{value}\"");
                rest.trim_end_matches('}').split(',').any(|part| part == label)
            })
    };
    samples.iter().filter(|(series, _)| fits(series)).map(|(_, value)| value).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_move_with_what_happens() {
    let folder = Folder::shipped();
    // A limit that a few batches meet.
    folder.edit("destinations.toml", |text| {
        let limit = "rate_limit = { requests_per_second = 2, burst = 1 }\n";
        text.replace("[crm]\n", &format!("[crm]\n{limit}"))
    });
    let relay = Relay::start(&folder).await;

    // Accepted, duplicate, rejected, held, suppressed; identity where it does not belong.
    let mut noted = purchase("m-1");
    noted["properties"]["note"] = json!("ask jane.doe@example.com");
    let mut silent = purchase("m-2");
    silent["consent"] = json!({"region": "DE"});
    let unknown = json!({"event": "purchsae", "site": "shop_us"});
    let (_, answer) =
        relay.post(&json!([noted, purchase("m-1"), silent, unknown, purchase("m-3")])).await;
    assert_eq!(
        (&answer["accepted"], &answer["duplicate"], &answer["held"]),
        (&json!(3), &json!(1), &json!(1)),
        "{answer}"
    );
    relay.drained().await;
    // One destination is out of order, one refuses events, one never answers.
    relay.faults(Some(json!({"platform": "meta", "status": 503}))).await;
    relay.faults(Some(json!({"platform": "google_ads", "partial": 1.0}))).await;
    relay.faults(Some(json!({"platform": "webhook", "lost": true}))).await;
    relay.post(&json!([purchase("m-4"), purchase("m-5")])).await;
    // Gauges are kept every two seconds.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let found = samples(&relay).await;
    let of = |name: &str, labels: &[(&str, &str)]| sum(&found, name, labels);
    let shown = || format!("{found:#?}");

    for (name, labels, wanted) in [
        (telemetry::EVENTS, &[("event", "purchase"), ("status", "accepted")][..], 5.0),
        (telemetry::EVENTS, &[("event", "purchase"), ("status", "duplicate")], 1.0),
        (telemetry::REJECTIONS, &[("code", "unknown_event")], 1.0),
        (telemetry::WARNINGS, &[("code", "identity_removed")], 1.0),
        (telemetry::IDENTITY_REMOVED, &[("site", "shop_us")], 1.0),
        (telemetry::REQUESTS, &[("route", "/v1/events"), ("status", "202")], 2.0),
        ("relay_ack_seconds_count", &[("route", "/v1/events")], 2.0),
        (
            telemetry::DECISIONS,
            &[("destination", "meta"), ("event", "purchase"), ("decision", "send")],
            4.0,
        ),
        (
            telemetry::DECISIONS,
            &[("destination", "meta"), ("decision", "held"), ("reason", "no_signal")],
            1.0,
        ),
        (
            telemetry::JOBS,
            &[("destination", "meta"), ("event", "purchase"), ("outcome", "delivered")],
            2.0,
        ),
        (telemetry::JOBS, &[("destination", "ga4"), ("outcome", "delivered")], 4.0),
        (
            telemetry::JOBS,
            &[("destination", "google_ads"), ("outcome", "dead"), ("reason", "rejected")],
            2.0,
        ),
        ("relay_delivery_seconds_count", &[("destination", "ga4")], 4.0),
        (telemetry::QUEUE_PENDING, &[("destination", "meta")], 2.0),
        (telemetry::QUEUE_PENDING, &[("destination", "ga4")], 0.0),
        (telemetry::QUEUE_DEAD, &[("destination", "google_ads")], 2.0),
        (telemetry::QUEUE_OLDEST_SECONDS, &[("destination", "google_ads")], 0.0),
        (telemetry::IDS_EVICTED, &[], 0.0),
        (telemetry::STORE_ERRORS, &[], 0.0),
        (telemetry::DESTINATION_STATE, &[("destination", "ga4"), ("state", "running")], 1.0),
    ] {
        assert!(
            (of(name, labels) - wanted).abs() < 1e-9,
            "{name}{labels:?} is not {wanted}: {}",
            shown()
        );
    }
    for (name, labels) in [
        (
            telemetry::JOBS,
            &[("destination", "meta"), ("outcome", "retried"), ("reason", "unavailable")][..],
        ),
        (
            telemetry::JOBS,
            &[("destination", "crm"), ("outcome", "retried"), ("reason", "unknown_result")],
        ),
        (telemetry::UNKNOWN_RESULTS, &[("destination", "crm")]),
        (telemetry::QUEUE_OLDEST_SECONDS, &[("destination", "meta")]),
        (telemetry::STORE_BYTES, &[]),
        (telemetry::IDS_KEPT, &[]),
        ("relay_commit_seconds_count", &[]),
        ("relay_call_seconds_count", &[("destination", "meta"), ("status", "503")]),
        ("relay_rate_limit_wait_seconds_sum", &[("destination", "crm")]),
    ] {
        assert!(of(name, labels) > 0.0, "{name}{labels:?} did not move: {}", shown());
    }

    // Nothing outside the closed list; of it all but what this run had no occasion for.
    let known = |series: &str| {
        let name = series.split('{').next().unwrap();
        METRICS.iter().any(|metric| match metric.kind {
            MetricKind::Histogram(_) => ["_bucket", "_sum", "_count"]
                .iter()
                .any(|end| name.strip_suffix(end) == Some(metric.name)),
            MetricKind::Counter | MetricKind::Gauge => name == metric.name,
        })
    };
    let strange: Vec<_> = found.keys().filter(|series| !known(series)).collect();
    assert!(strange.is_empty(), "{strange:?}");
    for metric in METRICS {
        let is_there = found.keys().any(|series| series.starts_with(metric.name));
        let had_no_occasion = [telemetry::NOTES, telemetry::HALVINGS].contains(&metric.name);
        assert!(is_there || had_no_occasion, "{} is nowhere: {}", metric.name, shown());
    }
    relay.kill().await;
}
