//! Versions of APIs that end: what `check`, the metrics and the books say of them.

use conversion_relay::{
    config::{LoadOptions, Loaded, Secrets, Severity, load, versions},
    destinations::REGISTRY,
};
use jiff::civil::{Date, date};

use crate::harness::{Folder, Relay, binary};

fn look(folder: &Folder, today: Date) -> Loaded {
    let options = LoadOptions {
        secrets: Secrets::Placeholder,
        sandbox_base: None,
        env: &|_| None,
        registry: REGISTRY,
    };
    let mut loaded = load(&folder.config(), &options);
    loaded.look_at_versions(today);
    loaded
}

/// The shipped configuration with another version of the Graph API.
fn with_version(version: &str) -> Folder {
    let folder = Folder::shipped();
    folder.edit("destinations.toml", |text| {
        text.replace("[meta]\n", &format!("[meta]\napi_version = \"{version}\"\n"))
    });
    folder
}

#[test]
fn a_version_is_warned_of_in_its_last_90_days_and_then_refused() {
    let folder = with_version("v21.0");
    for (today, said) in [
        (date(2026, 10, 22), None),
        (date(2026, 10, 23), Some((Severity::Warning, "in 90 days"))),
        (date(2027, 1, 21), Some((Severity::Warning, "in 0 days"))),
        (date(2027, 1, 22), Some((Severity::Error, "ended on 2027-01-21"))),
        (date(2031, 1, 1), Some((Severity::Error, "ended on 2027-01-21"))),
    ] {
        let loaded = look(&folder, today);
        let about: Vec<_> =
            loaded.findings.iter().filter(|finding| finding.message.contains("v21.0")).collect();
        match said {
            None => assert!(about.is_empty(), "{today}: {about:?}"),
            Some((severity, words)) => {
                assert_eq!(about.len(), 1, "{today}");
                assert_eq!(about[0].severity, severity, "{today}");
                assert!(about[0].message.contains(words), "{today}: {}", about[0].message);
                assert!(about[0].message.contains("set api_version"), "what to do");
                assert_eq!(about[0].path, "meta");
                assert!(about[0].line > 1 && about[0].file.ends_with("destinations.toml"));
            }
        }
        let has_ended = matches!(said, Some((Severity::Error, _)));
        assert_eq!(loaded.config.is_none(), has_ended, "{today}");
    }
}

#[test]
fn every_platform_whose_end_is_named_is_told_of_before_it() {
    for platform in REGISTRY {
        let Some(ends) = platform.api.and_then(|api| api.ends) else { continue };
        assert_eq!(versions::days_left(ends, ends), 0, "{}", platform.name);
        let long_before = date(ends.year() - 1, 1, 1);
        assert!(versions::days_left(ends, long_before) > versions::NOTICE_DAYS);
        assert!(versions::days_left(long_before, ends) < 0);
    }
    assert_eq!(versions::days_left(Date::MAX, Date::MIN), 7_304_483, "no date is too far");
}

#[tokio::test]
async fn check_fails_on_an_ended_version() {
    for version in ["v20.0", "v19.0"] {
        let folder = with_version(version);
        let check = binary().args(["check", "--config"]).arg(folder.config()).output().await;
        let output = check.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(version) && said.contains("ended on 2026-09-24"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_and_books_say_how_long_a_version_works() {
    let relay_folder = with_version("v25.0");
    let relay = Relay::start(&relay_folder).await;
    let get = async |path: &str| {
        let url = format!("{}{path}", relay.admin);
        let answer = relay.http.get(url).bearer_auth(crate::harness::TOKEN).send().await.unwrap();
        answer.text().await.unwrap()
    };
    let stats: serde_json::Value = serde_json::from_str(&get("/admin/v1/stats").await).unwrap();
    let api = &stats["destinations"]["meta"]["api"];
    assert_eq!((&api["version"], &api["ends"]), (&"v25.0".into(), &"2028-07-29".into()), "{stats}");
    let left = api["days_left"].as_i64().unwrap();
    let gauge =
        format!("relay_api_version_days_left{{destination=\"meta\",version=\"v25.0\"}} {left}");
    let metrics = get("/metrics").await;
    assert!(metrics.contains(&gauge), "{gauge} is not in {metrics}");
    assert!(
        metrics
            .contains("relay_api_version_days_left{destination=\"google_ads\",version=\"v1\"} inf"),
        "{metrics}"
    );
    assert!(stats["destinations"]["crm"]["api"].is_null(), "a webhook has no versions");
    assert!(stats["destinations"]["google_ads"]["api"]["days_left"].is_null(), "no end is named");
    relay.stop().await;
}
