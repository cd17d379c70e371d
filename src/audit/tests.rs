//! The report of small configurations, each with one thing to see.

use serde_json::Value;

use super::{More, Report, beyond, lock};
use crate::{
    config::{Config, LoadOptions, Secrets, load},
    consent::{Approval, Lock, Question, SignOff, StateKind, decide},
    destinations::REGISTRY,
    event::{ActionSource, Field},
};

const RELAY: &str = "[sites.shop]\ncountry = \"US\"\n[sites.clinic]\nsensitive = \"health\"\n";
const EVENTS: &str = "[events.purchase]\nkind = \"macro\"\n[events.purchase.destinations]\n\
    meta = \"Purchase\"\nhook = true\n[events.lead]\nkind = \"macro\"\n\
    [events.lead.destinations]\nhook = true\n";
const CONSENT: &str = r#"
version = "1"
region_from = ["event"]
[regions.eea]
match = ["EEA"]
model = "opt_in"
[regions.us]
match = ["US"]
model = "opt_out"
[regions.other]
match = ["*"]
model = "opt_in"
[destinations.meta]
may_send = ["user.email", "context.user_agent", "context.page_url", "properties"]
recipient = "Meta <Platforms> Ireland Ltd"
role = "joint controller"
[destinations.meta.regions.us]
when_opted_out = "limited"
[destinations.hook]
needs = []
role = "processor"
may_send = ["lead", "properties.channel"]
never_send = ["properties.secret"]
"#;
const DESTINATIONS: &str = r#"
[meta]
platform = "meta"
sites = ["shop", "clinic"]
dataset_id = "1"
access_token = { env = "TOKEN" }
[hook]
platform = "webhook"
sites = ["shop"]
url = "https://hook.example.com/in"
fields = { lead = "lead", channel = "properties.channel" }
"#;

fn config(change: impl Fn(&str, &str) -> String) -> Config {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("relay.toml", RELAY),
        ("events.toml", EVENTS),
        ("consent.toml", CONSENT),
        ("destinations.toml", DESTINATIONS),
    ] {
        std::fs::write(dir.path().join(name), change(name, text)).unwrap();
    }
    let options = LoadOptions {
        secrets: Secrets::Placeholder,
        sandbox_base: None,
        env: &|_| None,
        registry: REGISTRY,
    };
    let loaded = load(dir.path(), &options);
    loaded.config.unwrap_or_else(|| panic!("{:#?}", loaded.findings))
}

fn plain() -> Config {
    config(|_, text| text.to_owned())
}

/// The configuration with one text of one file replaced.
fn changed(file: &str, from: &str, to: &str) -> Config {
    config(|name, text| {
        if name != file {
            return text.to_owned();
        }
        assert!(text.contains(from), "{file} has no {from:?}");
        text.replacen(from, to, 1)
    })
}

fn newly(changed: &Config) -> Vec<(String, String)> {
    let news = beyond(&lock(changed), &lock(&plain()));
    let what = |more: &More| match more {
        More::Reading(settings) => settings.join(" "),
        More::Recipient(what) => what.clone(),
        More::Incoming(names) => names.join(" "),
        More::Combination { fields, .. } => format!("whole: {}", fields.join(" ")),
        More::Parts(parts) => parts.join(" "),
    };
    news.iter().map(|one| (one.destination.clone(), what(&one.what))).collect()
}

#[test]
fn a_lock_reads_back_as_it_was_written() {
    let lock = lock(&plain());
    assert!(!lock.combinations().is_empty());
    assert_eq!(Lock::parse(&lock.text()).unwrap(), lock);
    assert!(beyond(&lock, &lock).is_empty());
    for broken in ["", "{}", "{\"line\":\"lock\",\"version\":\"2\"}", "\u{feff}"] {
        assert!(Lock::parse(broken).is_err(), "{broken:?}");
    }
    let unknown = lock.text().replacen("\"silent\"", "\"whenever\"", 1);
    assert!(Lock::parse(&unknown).unwrap_err().problem.contains("whenever"));
}

#[test]
fn every_loosening_is_news_and_no_tightening_is() {
    let loosened = [
        (
            "events.toml",
            "[events.lead.destinations]\n",
            "[events.lead.destinations]\nmeta = \"Lead\"\n",
            "meta",
        ),
        (
            "consent.toml",
            "may_send = [\"user.email\"",
            "may_send = [\"user.city\", \"user.email\"",
            "meta",
        ),
        ("consent.toml", "match = [\"US\"]", "match = [\"US\", \"GB\"]\nip = \"none\"", "meta"),
        (
            "consent.toml",
            "[regions.us]",
            "[regions.ie]\nmatch = [\"IE\"]\nmodel = \"opt_out\"\n[regions.us]",
            "meta",
        ),
        ("consent.toml", "\"lead\", \"properties.channel\"", "\"properties\"", "hook"),
        (
            "consent.toml",
            "\"lead\", \"properties.channel\"",
            "\"lead\", \"properties.channel\", \"properties.secret2\"",
            "hook",
        ),
        ("relay.toml", "sensitive = \"health\"", "", "meta"),
        ("destinations.toml", "sites = [\"shop\"]", "sites = [\"shop\", \"clinic\"]", "hook"),
        ("destinations.toml", "hook.example.com", "elsewhere.example.com", "hook"),
        (
            "destinations.toml",
            "{ lead = \"lead\"",
            "{ page = \"context.page_url\", lead = \"lead\"",
            "",
        ),
    ];
    for (file, from, to, destination) in loosened {
        let changed = if from.contains("match = [\"US\"]") {
            config(|name, text| match name {
                "consent.toml" => text
                    .replace(from, to)
                    .replace("when_opted_out = \"limited\"", "when_opted_out = \"drop\""),
                _ => text.to_owned(),
            })
        } else {
            changed(file, from, to)
        };
        let news = newly(&changed);
        if destination.is_empty() {
            assert!(news.is_empty(), "what the rules forbid anyway is no news: {news:?}");
            continue;
        }
        assert!(news.iter().any(|(name, _)| name == destination), "{to}: {news:?}");
    }
    let tightened = [
        ("consent.toml", "may_send = [\"user.email\", ", "may_send = ["),
        ("consent.toml", "never_send = [\"properties.secret\"]", "never_send = [\"lead\"]"),
        ("consent.toml", "when_opted_out = \"limited\"", "when_opted_out = \"drop\""),
        ("consent.toml", "model = \"opt_out\"", "model = \"opt_in\""),
        ("events.toml", "meta = \"Purchase\"\n", ""),
        ("destinations.toml", "[\"shop\", \"clinic\"]", "[\"shop\"]"),
    ];
    for (file, from, to) in tightened {
        let news = newly(&changed(file, from, to));
        assert!(news.is_empty(), "{to}: {news:?}");
    }
}

#[test]
fn how_signals_are_read_is_approved_too() {
    let looser = |file: &str, from: &str, to: &str| {
        changed(file, from, to).reading().looser_than(&plain().reading())
    };
    let head = "version = \"1\"\n";
    for (line, what) in [
        ("gpc = \"opt_out_regions\"\n", "gpc"),
        ("trust_gdpr_applies = true\n", "trust_gdpr_applies"),
        ("[categories]\nC2 = [\"ad_storage\"]\n[x]\n", "categories.C2"),
        ("[memory]\nmax_age = \"400d\"\n[x]\n", "memory.max_age"),
        ("[memory]\nuse_for = [\"website\"]\n[x]\n", "memory.use_for"),
        ("[memory]\nclick_ids = \"90d\"\n[x]\n", "memory.click_ids"),
        ("[memory]\ntraits = \"30d\"\n[x]\n", "memory.traits"),
    ] {
        // Tables go to the end of the file, where no key follows.
        let found = match line.strip_suffix("[x]\n") {
            Some(table) => looser(
                "consent.toml",
                "[destinations.hook]",
                &format!("{table}[destinations.hook]"),
            ),
            None => looser("consent.toml", head, &format!("{head}{line}")),
        };
        assert_eq!(found, [what]);
    }
    let found = looser(
        "consent.toml",
        "region_from = [\"event\"]",
        "region_from = [\"header:X-Country\", \"event\"]",
    );
    assert_eq!(found, ["region_from"]);
    let tcf = |id: &str| {
        looser(
            "consent.toml",
            "[destinations.hook]\n",
            &format!("[destinations.hook]\ntcf_vendor_id = {id}\n"),
        )
    };
    assert_eq!(tcf("7"), ["the vendor id of hook/tcf"]);
    assert!(tcf("\"none\"").is_empty(), "less is no news");
    let older = changed("relay.toml", "country = \"US\"\n", "country = \"US\"\nminimum_age = 16\n");
    assert!(older.reading().looser_than(&plain().reading()).is_empty());
    assert_eq!(plain().reading().looser_than(&older.reading()), ["minimum_age of shop"]);
}

#[test]
fn what_is_approved_is_exactly_what_the_lock_holds() {
    // Today's rules are looser than the lock in several ways; for every state the lock's own
    // enumeration is the oracle of what may still leave.
    let mut today = changed(
        "consent.toml",
        "may_send = [\"user.email\"",
        "may_send = [\"user.city\", \"user.email\"",
    );
    let locked = lock(&plain());
    today.approval = Approval { enforced: true, lock: Some(locked.clone()), ..Approval::default() };
    let meta = &today.destinations["meta"];
    let mut leaves = 0;
    for region in [None, Some("DE"), Some("US"), Some("US-CA"), Some("JP")] {
        for kind in StateKind::ALL {
            for (source, _) in ActionSource::ALL {
                let region = region.map(str::to_owned);
                let state = kind.example(region.clone());
                let question = Question {
                    destination: "meta",
                    platform: "meta",
                    purposes: &meta.platform.purposes,
                    action_source: source,
                    present: meta.platform.takes_from(source),
                    state: &state,
                    sensitive: false,
                };
                let decision = today.decide(meta, "purchase".into(), "shop", &question);
                let terms = locked.terms("meta", "purchase", "shop", source, &region, kind);
                match (decision.permit, terms) {
                    (Ok(permit), Some(terms)) => {
                        leaves += 1;
                        let sent = permit.fields.intersection(meta.sendable());
                        assert_eq!(sent, terms.fields, "{kind:?} {region:?}");
                        assert!(!permit.fields.contains(Field::City));
                        let city = decision.reasons.iter().any(|r| r.message.contains("user.city"));
                        assert!(city && decision.removed.contains(Field::City));
                    }
                    (Err(_), None) => {}
                    (permit, terms) => panic!("{kind:?} {region:?}: {permit:?}, {terms:?}"),
                }
                // And it is never looser than the rules by themselves.
                if decide(&today.consent, &question).permit.is_err() {
                    assert!(terms.is_none());
                }
                let other = today.decide(meta, "lead".into(), "shop", &question).permit;
                assert!(other.is_err(), "an event that the lock does not name");
            }
        }
    }
    assert!(leaves > 20, "{leaves}");
}

#[test]
fn a_lock_of_nobody_approves_nothing() {
    let mut config = plain();
    config.approval.enforced = true;
    let state = StateKind::Granted.example(Some("US".to_owned()));
    let hook = &config.destinations["hook"];
    let question = Question {
        destination: "hook",
        platform: "webhook",
        purposes: &hook.platform.purposes,
        action_source: ActionSource::Website,
        present: hook.platform.purposes.takes,
        state: &state,
        sensitive: false,
    };
    let decision = config.decide(hook, "purchase".into(), "shop", &question);
    assert_eq!(decision.permit.unwrap_err().name(), "not_approved");
    assert_eq!(decision.reasons[0].rule, "default");
}

#[test]
fn silence_and_opt_outs_that_send_come_first() {
    let config = plain();
    let report = Report::new(&config, None);
    let alarms = report.json()["warnings"].clone();
    let alarms: Vec<&str> =
        alarms.as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    assert!(alarms.iter().any(|a| a.starts_with("hook ") && a.contains("European Economic Area")));
    assert!(alarms.iter().any(|a| a.starts_with("meta ") && a.contains("in US")), "{alarms:?}");
    let html = report.html();
    let first = html.find("class=\"alarm\"").unwrap();
    assert!(first < html.find("class=\"recipient\"").unwrap());
    assert!(html.contains("Meta &lt;Platforms&gt;") && !html.contains("<Platforms>"));
    assert!(!html.contains("<script") && !html.contains("http-equiv"));
}

#[test]
fn the_report_has_a_line_for_everything_and_says_the_same_twice() {
    let config = plain();
    let report = Report::new(&config, None);
    let json = report.json();
    let lines = json["combinations"].as_array().unwrap();
    let find =
        |event: &str, destination: &str, region: &str, consent: &str, site: &str| -> Vec<&Value> {
            let of = |line: &&Value| {
                line["event"] == event
                    && line["destination"] == destination
                    && line["region"] == region
                    && line["consent"] == consent
                    && line["sites"].as_array().unwrap().iter().any(|s| s == site)
                    && line["action_sources"].as_array().unwrap().iter().any(|s| s == "website")
            };
            lines.iter().filter(of).collect()
        };
    let one = |event, destination, region, consent, site| -> &Value {
        let found = find(event, destination, region, consent, site);
        assert_eq!(found.len(), 1, "{event} {destination} {region} {consent} {site}: {found:#?}");
        found[0]
    };
    let silent = one("purchase", "meta", "EEA", "silent", "shop");
    assert_eq!((&silent["decision"], &silent["code"]), (&"held".into(), &"no_signal".into()));
    assert_eq!(silent["rule"], "region/eea");
    // No address may leave, so that the restricted mode needs a state that the platform knows.
    assert_eq!(one("purchase", "meta", "US", "opted_out", "shop")["without_consent"], false);
    let granted = one("purchase", "meta", "US", "granted", "shop");
    assert_eq!((&granted["decision"], &granted["rule"]), (&"send".into(), &"meta/us".into()));
    assert!(granted["fields"].as_array().unwrap().contains(&"context.page_url".into()));
    let clinic = one("purchase", "meta", "US", "granted", "clinic");
    assert!(!clinic["fields"].as_array().unwrap().contains(&"context.page_url".into()));
    assert!(!clinic["fields"].as_array().unwrap().contains(&"properties.*".into()));
    assert_eq!(one("purchase", "meta", "US", "silent", "clinic")["code"], "no_signal");
    assert!(find("lead", "meta", "US", "granted", "shop").is_empty(), "not mapped");
    assert_eq!(one("lead", "hook", "*", "minor", "shop")["code"], "minor");
    assert_eq!(json["recipients"][0]["not_stated"][0], "recipient");
    assert_eq!(json, Report::new(&plain(), None).json());
    assert_eq!(report.html(), Report::new(&plain(), None).html());
    let csv = report.csv();
    assert_eq!(csv.lines().count(), lines.len() + 1);
    assert!(csv.starts_with("destination,platform,event,"));
}

#[test]
fn states_of_a_country_are_told_apart_where_a_restricted_mode_asks_for_them() {
    let locked = lock(&plain());
    let opted_out = |region: &str| {
        let region = Some(region.to_owned());
        let kind = StateKind::OptedOut;
        locked.terms("meta", "purchase", "shop", ActionSource::Website, &region, kind).cloned()
    };
    assert!(opted_out("US-CA").is_some_and(|terms| terms.limited));
    assert_eq!(opted_out("US-NV"), None, "no address leaves, and the platform does not know it");
    assert_eq!(opted_out("US"), None);
}

#[test]
fn an_approval_says_what_it_signs() {
    let approval = SignOff {
        by: "Ada".to_owned(),
        at: "2026-11-22T04:00:00Z".to_owned(),
        lock: "ab".to_owned(),
        combinations: "3".to_owned(),
        files: [("consent.toml".to_owned(), "cd".to_owned())].into(),
        ssh: None,
    };
    let message = approval.message();
    for part in ["Ada", "2026-11-22T04:00:00Z", "sha256:ab", "combinations: 3", "consent.toml"] {
        assert!(message.contains(part), "{message}");
    }
    let two = approval.line().repeat(2);
    assert_eq!(SignOff::parse_all(&two).unwrap(), [approval.clone(), approval]);
    assert_eq!(SignOff::parse_all("{}").unwrap_err().line, 1);
}
