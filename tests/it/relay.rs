//! The relay as its users see it: curl in, requests out, answers in between.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Folder, Relay, assert_balanced, purchase};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purchase_reaches_every_destination() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let (status, answer) = relay.post(&purchase("first")).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(answer["accepted"], 1, "{answer}");
    let stats = relay.drained().await;
    assert_balanced(&stats);
    for platform in ["meta", "google_ads", "ga4", "webhook"] {
        let received = relay.received(platform).await;
        let accepted: Vec<_> = received.iter().filter(|r| r["accepted"] != json!([])).collect();
        assert!(!accepted.is_empty(), "{platform} accepted nothing: {received:#?}");
        for request in &received {
            assert_eq!(request["refused"], json!([]), "{platform}: {request:#}");
        }
    }
    let (status, trace) = relay.admin("GET", "/admin/v1/events/first", None).await;
    assert_eq!(status, 200, "{trace}");
    assert!(trace.to_string().contains("delivered"), "{trace:#}");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicates_in_one_batch_in_parallel_and_after_a_restart() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let (_, answer) = relay.post(&json!([purchase("twice"), purchase("twice")])).await;
    assert_eq!((&answer["accepted"], &answer["duplicate"]), (&json!(1), &json!(1)), "{answer}");
    let event = purchase("race");
    let posts: Vec<_> = (0..8).map(|_| relay.post(&event)).collect();
    let mut accepted = 0;
    for (status, answer) in futures_join(posts).await {
        assert_eq!(status, 202, "{answer}");
        accepted += answer["accepted"].as_u64().unwrap();
    }
    assert_eq!(accepted, 1);
    relay.drained().await;
    relay.stop().await;

    let relay = Relay::start(&folder).await;
    let (_, answer) = relay.post(&purchase("twice")).await;
    assert_eq!(answer["duplicate"], 1, "{answer}");
    assert_balanced(&relay.drained().await);
    relay.stop().await;
}

async fn futures_join<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut results = Vec::new();
    let mut pinned: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = pinned.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, slot) in pinned.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                *slot = Some(output);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    results.extend(done.into_iter().flatten());
    results
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_bad_events_of_a_thousand_cost_themselves() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let mut events: Vec<_> = (0..1000).map(|n| purchase(&format!("many-{n}"))).collect();
    events[10]["event"] = json!("purchsae");
    events[20]["properties"]["value"] = json!("a lot");
    events[30]["usre"] = json!({});
    let (status, answer) = relay.post(&json!({ "events": events })).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(answer["accepted"], 997, "{answer}");
    let rejected = answer["rejected"].as_array().unwrap();
    let codes: Vec<_> = rejected
        .iter()
        .map(|r| (r["index"].as_u64().unwrap(), r["code"].as_str().unwrap()))
        .collect();
    assert_eq!(codes, [(10, "unknown_event"), (20, "invalid_field"), (30, "unknown_field")]);
    assert!(rejected[0]["message"].as_str().unwrap().contains("purchase"), "{}", rejected[0]);
    let stats = relay.drained().await;
    assert_balanced(&stats);
    assert_eq!(stats["rejected"], 3);
    for name in stats["destinations"].as_object().unwrap().keys() {
        assert_eq!(stats["destinations"][name]["dead"], 0, "{name}: {stats:#}");
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_name_what_is_wrong() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let json_type = "application/json";
    for (body, status, code) in [
        (&b"{\"event\": \"purchase\",}"[..], 400, "malformed_json"),
        (b"[1, 2", 400, "malformed_json"),
        (b"{\"event\": NaN}", 400, "malformed_json"),
        (b"\xff\xfe", 400, "malformed_json"),
        (b"", 400, "malformed_json"),
    ] {
        let (found, answer) = relay.post_raw(body.to_vec(), json_type).await;
        assert_eq!(found, status, "{:?}: {answer}", String::from_utf8_lossy(body));
        assert_eq!(answer["code"], code, "{answer}");
        assert!(answer["detail"].is_string(), "{answer}");
    }
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let (status, answer) = relay.post_raw(deep.into_bytes(), json_type).await;
    assert!(status == 400 || status == 422, "{status} {answer}");
    let (status, _) = relay.post_raw(b"a=b".to_vec(), "application/x-www-form-urlencoded").await;
    assert_eq!(status, 415);
    let (status, answer) = relay.post_raw(vec![b' '; 5 << 20], json_type).await;
    assert_eq!(status, 413, "{answer}");
    let too_many: Vec<_> =
        (0..1001).map(|n| json!({"event": "purchase", "event_id": n.to_string()})).collect();
    let (status, answer) = relay.post(&json!(too_many)).await;
    assert_eq!(status, 413, "{answer}");

    // A bad line costs that line.
    let good = purchase("line-1").to_string();
    let lines = format!("{good}\nnot json\n{}\n", purchase("line-2"));
    let (status, answer) = relay.post_raw(lines.into_bytes(), "application/x-ndjson").await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(answer["accepted"], 2, "{answer}");
    assert_eq!(answer["rejected"][0]["index"], 1, "{answer}");

    for (name, event, code) in [
        ("nothing", json!({}), "missing_field"),
        ("a number", json!(7), "invalid_field"),
        (
            "the future",
            json!({"event": "purchase", "site": "shop_us", "timestamp": "2100-01-01T00:00:00Z"}),
            "in_future",
        ),
        (
            "a wrong time",
            json!({"event": "purchase", "site": "shop_us", "timestamp": "yesterday"}),
            "invalid_field",
        ),
        ("a foreign site", json!({"event": "purchase", "site": "nowhere"}), "site_unknown"),
    ] {
        let (status, answer) = relay.post(&event).await;
        assert_eq!(status, 422, "{name}: {answer}");
        let found = answer["rejected"][0]["code"].as_str().unwrap();
        assert!(
            found == code || (name == "a foreign site" && found == "not_allowed"),
            "{name}: {answer}"
        );
    }
    let wrong = relay
        .http
        .post(format!("{}/v1/events", relay.public))
        .bearer_auth("wrong")
        .header("content-type", json_type)
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(wrong.status(), 401);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_copy_serves_what_consent_held() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let mut silent = purchase("late-consent");
    silent["consent"] = json!({"region": "DE"});
    let (_, answer) = relay.post(&silent).await;
    assert_eq!(answer["accepted"], 1, "{answer}");
    assert_eq!(answer["held"], 1, "{answer}");
    let before = relay.drained().await;
    assert_balanced(&before);
    assert_eq!(before["destinations"]["meta"]["held"]["no_signal"], 1, "{before:#}");
    assert_eq!(before["destinations"]["meta"]["delivered"], 0);

    let mut granted = purchase("late-consent");
    granted["consent"]["region"] = json!("DE");
    let (_, answer) = relay.post(&granted).await;
    assert_eq!(answer["duplicate"], 1, "{answer}");
    let after = relay.drained().await;
    assert_balanced(&after);
    assert_eq!(after["destinations"]["meta"]["held"]["no_signal"], 0, "{after:#}");
    assert_eq!(after["destinations"]["meta"]["delivered"], 1, "{after:#}");
    assert_eq!(after["accepted"], 1);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_listed_and_replayed_with_the_same_id() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    relay.faults(Some(json!({"platform": "meta", "partial": 1.0}))).await;
    relay.post(&purchase("poison")).await;
    let mut dead = json!([]);
    for _ in 0..100 {
        (_, dead) = relay.admin("GET", "/admin/v1/dead?destination=meta", None).await;
        if dead != json!([]) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(dead.to_string().contains("poison"), "{dead}");
    assert!(dead.to_string().contains("\"rejected\""), "{dead}");
    relay.faults(None).await;
    let (_, answer) =
        relay.admin("POST", "/admin/v1/dead/replay", Some(json!({"destination": "meta"}))).await;
    assert_eq!(answer["count"], 1, "{answer}");
    let stats = relay.drained().await;
    assert_balanced(&stats);
    assert_eq!(stats["destinations"]["meta"]["dead"], 0, "{stats:#}");
    assert_eq!(stats["destinations"]["meta"]["delivered"], 1, "{stats:#}");
    assert!(relay.accepted_ids("meta").await.contains(&"poison".to_owned()));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_pauses_and_kills_no_event() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    relay.faults(Some(json!({"platform": "meta", "unauthorized": true}))).await;
    relay.post(&purchase("waits")).await;
    let mut state = String::new();
    for _ in 0..100 {
        let stats = relay.stats().await;
        state = stats["destinations"]["meta"]["state"].as_str().unwrap().to_owned();
        if state == "failing" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(state, "failing");
    relay.faults(None).await;
    let stats = relay.drained_within(Duration::from_secs(90)).await;
    assert_eq!(stats["destinations"]["meta"]["delivered"], 1, "{stats:#}");
    assert_eq!(stats["destinations"]["meta"]["state"], "running", "{stats:#}");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_locked_and_belongs_to_one_mode() {
    let mut folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let Err(log) = Relay::try_start(&folder, &[]).await else {
        panic!("two relays share a folder")
    };
    assert!(log.contains("lock") || log.contains("another"), "{log}");
    relay.faults(Some(json!({"platform": "meta", "error_rate": 1.0, "status": 503}))).await;
    relay.post(&purchase("pending")).await;
    relay.stop().await;
    folder.edit("relay.toml", |text| text.replace("mode = \"sandbox\"", "mode = \"live\""));
    folder.env = folder.secrets();
    let Err(log) = Relay::try_start(&folder, &[]).await else {
        panic!("another mode's jobs were taken")
    };
    assert!(log.contains("sandbox") && log.contains("live"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_reload_keeps_the_old_and_a_stricter_one_withholds() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    relay.faults(Some(json!({"platform": "meta", "error_rate": 1.0, "status": 503}))).await;
    relay.post(&purchase("queued")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let good = std::fs::read_to_string(folder.config().join("consent.toml")).unwrap();
    folder.write("consent.toml", "this is = not toml [");
    let (status, answer) = relay.admin("POST", "/admin/v1/config/reload", None).await;
    assert_eq!(status, 422, "{answer}");
    assert!(answer.to_string().contains("consent.toml"), "{answer}");
    let (status, _) = relay.post(&purchase("still-taken")).await;
    assert_eq!(status, 202);

    let without: String = {
        // Take the rule of one destination away: nothing may leave for it any more.
        let start = good.find("[destinations.meta]").expect("the shipped rules name meta");
        let end = good[start + 1..]
            .match_indices("\n[destinations.")
            .find(|(at, _)| !good[start + 1 + at..].starts_with("\n[destinations.meta."))
            .map_or(good.len(), |(at, _)| start + 1 + at);
        format!("{}{}", &good[..start], &good[end..])
    };
    folder.write("consent.toml", &without);
    let (status, answer) = relay.admin("POST", "/admin/v1/config/reload", None).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer["will_withhold"].as_u64().unwrap() >= 1, "{answer}");
    assert!(answer.get("needs_restart").is_none(), "{answer}");
    // What only a start takes in is told, however often it is reloaded.
    folder.edit("relay.toml", |text| text.replacen("[queue]", "[queue]\nmax_disk = \"30 GiB\"", 1));
    for _ in 0..2 {
        let (status, answer) = relay.admin("POST", "/admin/v1/config/reload", None).await;
        assert_eq!((status, &answer["needs_restart"]), (200, &json!(["queue.max_disk"])));
    }
    relay.faults(None).await;
    let stats = relay.drained_within(Duration::from_secs(60)).await;
    assert_balanced(&stats);
    assert_eq!(stats["destinations"]["meta"]["delivered"], 0, "{stats:#}");
    assert_eq!(stats["destinations"]["meta"]["withdrawn"], 2, "{stats:#}");
    assert!(relay.accepted_ids("meta").await.is_empty());
    relay.stop().await;
}
