//! What operators decided and what a platform's day allows outlast a restart; what is shed is told.

use serde_json::json;

use crate::harness::{Folder, Relay, purchase};

#[tokio::test]
async fn a_paused_destination_stays_paused_until_it_is_resumed() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let pause = "/admin/v1/destinations/meta/pause";
    let (status, told) = relay.admin("POST", pause, None).await;
    assert_eq!((status, &told["state"]), (200, &json!("paused")));
    assert_eq!(relay.post(&purchase("waits")).await.0, 202);
    // Not even a kill forgets it: it was answered.
    relay.kill().await;
    let relay = Relay::start(&folder).await;
    let books = &relay.stats().await["destinations"]["meta"];
    assert_eq!((&books["state"], &books["pending"]), (&json!("paused"), &json!(1)));
    let (_, told) = relay.admin("POST", "/admin/v1/destinations/meta/resume", None).await;
    assert_eq!(told["state"], "running");
    relay.drained().await;
    assert_eq!(relay.accepted_ids("meta").await, ["waits"]);
    relay.stop().await;
    let relay = Relay::start(&folder).await;
    assert_eq!(relay.stats().await["destinations"]["meta"]["state"], "running");
    relay.stop().await;
}

#[tokio::test]
async fn a_days_requests_are_counted_on_after_a_restart() {
    let folder = Folder::shipped();
    folder.edit("destinations.toml", |text| {
        let quota = "platform = \"meta\"\nrate_limit = { requests_per_day = 2 }\nbatch = { max_events = 1 }";
        text.replacen("platform = \"meta\"", quota, 1)
    });
    let relay = Relay::start(&folder).await;
    for id in ["a", "b"] {
        assert_eq!(relay.post(&purchase(id)).await.0, 202);
    }
    relay.drained().await;
    relay.stop().await;
    let relay = Relay::start(&folder).await;
    assert_eq!(relay.post(&purchase("c")).await.0, 202);
    for _ in 0..30 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert_eq!(relay.stats().await["destinations"]["meta"]["pending"], 1, "the day is used up");
    }
    relay.stop().await;
}

#[tokio::test]
async fn what_a_full_destination_sheds_is_counted_and_told() {
    let folder = Folder::shipped();
    folder.edit("relay.toml", |text| {
        text.replacen("[queue]", "[queue]\nmax_pending_per_destination = 10", 1)
    });
    let relay = Relay::start(&folder).await;
    relay.faults(Some(json!({"platform": "meta", "status": 503}))).await;
    let events: Vec<_> = (0..32).map(|n| purchase(&format!("e{n}"))).collect();
    assert_eq!(relay.post(&json!(events)).await.0, 202);
    let mut fires = json!([]);
    for _ in 0..100 {
        fires = relay.admin("GET", "/admin/v1/alerts", None).await.1;
        let is_told = |one: &serde_json::Value| {
            one["alert"] == "backlog_full" && one["destination"] == "meta"
        };
        if fires.as_array().is_some_and(|fires| fires.iter().any(is_told)) {
            let expired = relay.stats().await["destinations"]["meta"]["expired"].as_u64().unwrap();
            let (_, metrics) = relay.admin("GET", "/metrics", None).await;
            let line = metrics.as_str().unwrap().lines().find(|line| {
                line.starts_with("relay_jobs_total")
                    && line.contains("\"backlog_full\"")
                    && line.contains("\"meta\"")
            });
            let counted = line.and_then(|line| line.rsplit(' ').next()).map(str::to_owned);
            assert_eq!(counted, Some(expired.to_string()), "{metrics}");
            assert!(expired > 0);
            relay.kill().await;
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("nobody is told: {fires}");
}
