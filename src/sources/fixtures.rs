//! A configuration for the tests of doors.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    config::{
        Config, Engine, KeyKind, Limits, Listen, QueueSettings, Retention, Right, Site, WriteKey,
    },
    consent::Rules,
    destinations::Mode,
    plan::{Count, Kind, Plan, PlanEvent, UnknownEvents},
};

/// A configuration of two sites, a micro and a macro event, and no destinations.
pub(crate) fn config() -> Config {
    let day = Duration::from_secs(86_400);
    let address = ([127, 0, 0, 1], 0).into();
    let planned = [("begin_checkout", Kind::Micro), ("purchase", Kind::Macro)];
    Config {
        webhooks: Default::default(),
        hash: "0".repeat(64),
        mode: Mode::Sandbox,
        keep_query: vec!["utm_*".to_owned()],
        geoip: None,
        listen: Listen {
            public: address,
            admin: address,
            sandbox: address,
            trusted_proxies: Vec::new(),
            client_ip_header: None,
            doors: Default::default(),
        },
        sites: BTreeMap::from([
            ("shop_us".to_owned(), Arc::new(site("shop_us", "shop.example", "US"))),
            ("shop_eu".to_owned(), Arc::new(site("shop_eu", "eu.shop.example", "DE"))),
        ]),
        write_keys: vec![key(KeyKind::Server)],
        admin_tokens: Vec::new(),
        queue: QueueSettings {
            engine: Engine::Sled,
            max_pending: 1000,
            max_pending_per_destination: 1000,
            max_disk: 1 << 30,
            encryption_key: None,
            previous_keys: Vec::new(),
            subject_key: None,
        },
        limits: Limits {
            event_bytes: 256 << 10,
            request_bytes: 4 << 20,
            events_per_request: 1000,
            nesting: 32,
        },
        retention: Retention {
            event_ids: 7 * day,
            event_ids_at_most: 1000,
            frequency: day,
            choices: day,
            queue: day,
            traces: day,
            dead_letters: day,
            evidence: day,
            journeys: day,
        },
        alerts: Vec::new(),
        alert_when: Default::default(),
        evidence: crate::config::EvidenceSettings::default(),
        plan: Plan {
            unknown_events: UnknownEvents::Reject,
            funnels: BTreeMap::new(),
            events: planned
                .iter()
                .map(|(name, kind)| ((*name).to_owned(), event(name, *kind)))
                .collect(),
            by_incoming: planned
                .iter()
                .map(|(name, _)| ((*name).to_owned(), vec![(*name).to_owned()]))
                .collect(),
        },
        rates: None,
        consent: Rules {
            version: "1".to_owned(),
            require_approval: false,
            region_from: Vec::new(),
            gpc_everywhere: true,
            regions: Vec::new(),
            categories: Vec::new(),
            destinations: Vec::new(),
            ..Rules::deny_all()
        },
        approval: Default::default(),
        destinations: BTreeMap::new(),
    }
}

fn site(name: &str, host: &str, country: &str) -> Site {
    Site {
        name: name.to_owned(),
        hosts: vec![host.to_owned()],
        controller: name.to_owned(),
        country: Some(country.to_owned()),
        currency: None,
        time_zone: jiff::tz::TimeZone::UTC,
        sensitive: None,
        minimum_age: None,
    }
}

fn event(name: &str, kind: Kind) -> PlanEvent {
    PlanEvent {
        name: name.to_owned(),
        kind,
        stage: None,
        intent: None,
        event_type: None,
        owner: None,
        description: None,
        from: vec![name.to_owned()],
        when: None,
        count: Count::Every,
        same_as: None,
        required: Vec::new(),
        value: None,
        browser: Vec::new(),
    }
}

/// A write key for the first site.
pub(crate) fn key(kind: KeyKind) -> WriteKey {
    WriteKey {
        name: "backend".to_owned(),
        key: "dev-key".to_owned().into(),
        sites: vec!["shop_us".to_owned()],
        kind,
        events: vec!["*".to_owned()],
        may: vec![Right::Events],
        rate_limit: None,
        rate_limit_per_address: crate::config::RateLimit::default(),
        origins: Vec::new(),
        max_value: None,
    }
}
