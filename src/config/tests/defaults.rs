//! What holds where the files say nothing.

use std::time::Duration;

use super::{GOOD, check, check_good_but, good_but, lines};
use crate::{
    config::{KeyKind, OnUnknown, RetryPolicy, Right, WhenFull},
    consent::{IpForm, Model, Purpose, RegionSource},
    destinations::Mode,
};

#[test]
fn of_an_empty_relay() {
    let config = check(&[("relay.toml", "")]).config.unwrap();
    assert_eq!(config.mode, Mode::Sandbox);
    assert_eq!(config.keep_query, ["utm_*"]);
    assert_eq!(config.listen.doors, crate::config::Doors::default());
    assert!(!config.evidence.allow_private);
    assert!(config.alerts.is_empty());
    assert_eq!(config.listen.public.to_string(), "127.0.0.1:8080");
    assert_eq!(config.listen.admin.to_string(), "127.0.0.1:8081");
    assert_eq!(config.listen.sandbox.to_string(), "127.0.0.1:8090");
    let site = &config.sites["default"];
    assert_eq!((&site.country, site.currency, site.controller.as_str()), (&None, None, "default"));
    assert_eq!((config.limits.event_bytes, config.limits.request_bytes), (262_144, 4_194_304));
    assert_eq!((config.limits.events_per_request, config.limits.nesting), (1_000, 32));
    assert_eq!(config.retention.event_ids, Duration::from_secs(7 * 86_400));
    assert_eq!(config.retention.event_ids_at_most, 10_000_000);
    assert_eq!(config.queue.max_pending, 5_000_000);
    assert_eq!(config.queue.max_pending_per_destination, 2_000_000);
    assert_eq!(config.queue.max_disk, 20 << 30);
    assert!(config.plan.events.is_empty() && config.destinations.is_empty());
}

#[test]
fn without_regions_everything_is_opt_in() {
    let config = check(&GOOD).config.unwrap();
    assert_eq!(config.consent.region_from, [RegionSource::Event]);
    assert!(config.consent.gpc_everywhere && !config.consent.require_approval);
    assert_eq!(config.consent.model(&Some("US-CA".to_owned())), Model::OptIn);
    let ads = config.consent.destination("ads", "ads").unwrap();
    assert_eq!(ads.needs, [Purpose::AdStorage, Purpose::AdUserData]);
    assert!(ads.may_send.is_none() && ads.never_send.is_empty());
}

#[test]
fn of_a_region() {
    let text =
        "[regions.us]\nmatch = [\"US\"]\nmodel = \"opt_out\"\n[regions.de]\nmatch = [\"DE\"]\n";
    let config = check(&[("consent.toml", text)]).config.unwrap();
    let region = |name: &str| config.consent.region(&Some(name.to_owned())).unwrap();
    assert_eq!((region("US-CA").model, region("US-CA").ip), (Model::OptOut, IpForm::Full));
    assert_eq!((region("DE").model, region("DE").ip), (Model::OptIn, IpForm::None));
}

#[test]
fn of_a_destination_and_a_key() {
    let config = check(&GOOD).config.unwrap();
    let ads = &config.destinations["ads"];
    assert_eq!((ads.mode, ads.share, ads.only.is_none()), (Mode::Sandbox, 10_000, true));
    assert_eq!(ads.endpoint, "https://api.ads.example.com");
    let delivery = &ads.delivery;
    assert_eq!(delivery.rate_limit.requests_per_second.unwrap().get(), 50);
    assert_eq!(delivery.rate_limit.burst.unwrap().get(), 100);
    assert_eq!(delivery.rate_limit.requests_per_day, Some(100_000));
    assert_eq!((delivery.max_events, delivery.linger), (1_000, Duration::from_secs(1)));
    let retry =
        RetryPolicy { first: Duration::from_secs(1), max: Duration::from_secs(600), attempts: 20 };
    assert_eq!(delivery.retry, retry);
    assert_eq!((delivery.when_full, delivery.on_unknown), (WhenFull::Shed, OnUnknown::Retry));
    assert_eq!((delivery.fresh_share, delivery.concurrency), (80, 4));
    assert_eq!((delivery.timeout, delivery.allow_private), (Duration::from_secs(10), false));
    let key = &config.write_keys[0];
    assert_eq!((key.kind, key.events.as_slice()), (KeyKind::Server, &["*".to_owned()][..]));
    assert_eq!(
        (key.sites.as_slice(), key.may.as_slice()),
        (&["shop".to_owned()][..], &[Right::Events, Right::Consent][..])
    );
}

#[test]
fn a_destination_is_capped_by_the_relay_and_may_be_a_shadow() {
    let text = |mode: &str| {
        format!(
            "[ads]\nplatform = \"ads\"\naccount_id = \"1\"\nmode = \"{mode}\"\n[hook]\nplatform = \"hook\"\nurl = \"https://crm.example.com/in\"\n"
        )
    };
    let live = check_good_but("destinations.toml", &text("live"));
    assert_eq!(live.warnings().count(), 1, "{:?}", live.findings);
    assert!(live.findings[0].message.contains("above the relay's mode"));
    let config = live.config.unwrap();
    assert_eq!(config.destinations["ads"].mode, Mode::Sandbox);
    let shadow = check_good_but("destinations.toml", &text("shadow"));
    assert_eq!(shadow.findings, []);
    assert_eq!(shadow.config.unwrap().destinations["ads"].mode, Mode::Shadow);
}

#[test]
fn a_webhook_leads_inside_only_where_that_is_allowed() {
    for (mode, allowed, host, expected) in [
        ("live", "", "127.0.0.1:9", Some("error")),
        ("live", "", "2130706433", Some("error")),
        ("live", "", "[::ffff:127.0.0.1]", Some("error")),
        ("live", "", "localhost:9", Some("error")),
        ("live", "", "169.254.169.254", Some("error")),
        ("test", "allow_private = false\n", "10.0.0.1", Some("error")),
        ("sandbox", "", "127.0.0.1:9", Some("warning")),
        ("live", "allow_private = true\n", "127.0.0.1:9", None),
        ("live", "", "hooks.example.com", None),
        ("live", "", "8.8.8.8", None),
    ] {
        let relay = good_but("relay.toml", &GOOD[0].1.replace("sandbox", mode));
        let destinations = format!(
            "[ads]\nplatform = \"ads\"\naccount_id = \"1\"\nendpoint = \"http://127.0.0.1:9\"\n\
             [hook]\nplatform = \"hook\"\nurl = \"http://{host}/in\"\n{allowed}"
        );
        let mut files: Vec<(&str, &str)> = relay.iter().map(|(n, t)| (*n, t.as_str())).collect();
        files[3].1 = &destinations;
        let loaded = check(&files);
        let told: Vec<String> = lines(&loaded)
            .into_iter()
            .filter(|line| line.contains("private or link-local"))
            .collect();
        assert_eq!(told.len(), usize::from(expected.is_some()), "{mode} {host}: {told:?}");
        if let Some(severity) = expected {
            assert!(told[0].contains(severity) && told[0].contains("hook.url"), "{told:?}");
        }
        assert_eq!(loaded.config.is_none(), expected == Some("error"), "{:?}", loaded.findings);
    }
}

#[test]
fn a_browser_sends_micro_events_unless_others_are_listed() {
    use crate::plan::Kind::{Macro, Micro};
    let text = "[[write_keys]]\nname = \"tag\"\nkey = { env = \"A\" }\nkind = \"browser\"\n\
                origins = [\"https://shop.example\"]\n\
                [[write_keys]]\nname = \"listed\"\nkey = { env = \"B\" }\nkind = \"browser\"\n\
                origins = [\"https://shop.example\"]\nevents = [\"page*\", \"lead\"]\n";
    let config = check(&[("relay.toml", text)]).config.unwrap();
    let (tag, listed) = (&config.write_keys[0], &config.write_keys[1]);
    assert!(tag.may_send("view", [Micro]) && !tag.may_send("buy", [Micro, Macro]));
    assert!(listed.may_send("lead", [Macro]) && listed.may_send("page_view", [Macro]));
    assert!(!listed.may_send("view", [Micro]));
}
