//! The whole configuration, loaded from folders, over made-up platforms.

mod defaults;
mod platforms;
mod secrets;
mod warnings;

use std::path::Path;

use super::{LoadOptions, Loaded, Secrets, load};

/// Writes the files into a folder of their own and loads it to check.
fn check(files: &[(&str, &str)]) -> Loaded {
    serve(files, Secrets::Placeholder, None, &|_| None)
}

fn serve(
    files: &[(&str, &str)],
    secrets: Secrets,
    sandbox_base: Option<&str>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Loaded {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    load_from(dir.path(), secrets, sandbox_base, env)
}

fn load_from(
    dir: &Path,
    secrets: Secrets,
    sandbox_base: Option<&str>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Loaded {
    let options = LoadOptions {
        secrets,
        sandbox_base: sandbox_base.map(str::to_owned),
        env,
        registry: platforms::PLATFORMS,
    };
    load(dir, &options)
}

/// The findings as they are printed, from the file's name on.
fn lines(loaded: &Loaded) -> Vec<String> {
    loaded
        .findings
        .iter()
        .map(|finding| {
            let mut finding = finding.clone();
            let name = Path::new(&finding.file).file_name().unwrap_or_default();
            finding.file = name.to_string_lossy().into_owned();
            finding.to_string()
        })
        .collect()
}

/// A configuration of two destinations without a fault.
const GOOD: [(&str, &str); 4] = [
    (
        "relay.toml",
        r#"
mode = "sandbox"
[sites.shop]
currency = "USD"
[[write_keys]]
name = "backend"
key = { env = "WRITE" }
[[admin_tokens]]
token = { env = "ADMIN" }
"#,
    ),
    (
        "events.toml",
        r#"
[funnels.shop]
steps = ["view", "purchase"]
macro = "purchase"
[events.view]
[events.view.destinations]
ads = true
[events.purchase]
from = ["Order Completed", "purchase"]
[events.purchase.destinations]
ads = [{ action = "1" }, { action = "2", value = { fixed = "1.50", currency = "USD" } }]
hook = "order"
"#,
    ),
    (
        "consent.toml",
        r#"
region_from = ["event"]
[destinations.ads]
[destinations.hook]
needs = ["analytics_storage"]
"#,
    ),
    (
        "destinations.toml",
        r#"
[ads]
platform = "ads"
account_id = 77
access_token = { env = "ADS_TOKEN" }
[hook]
platform = "hook"
url = "https://crm.example.com/in"
"#,
    ),
];

/// [`GOOD`] with one file replaced.
fn good_but(name: &str, text: &str) -> Vec<(&'static str, String)> {
    GOOD.iter()
        .map(|(file, good)| {
            (*file, if *file == name { text.to_owned() } else { (*good).to_owned() })
        })
        .collect()
}

fn check_good_but(name: &str, text: &str) -> Loaded {
    let files = good_but(name, text);
    let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (*n, t.as_str())).collect();
    check(&files)
}

#[test]
fn a_good_configuration_has_no_findings() {
    let loaded = check(&GOOD);
    assert_eq!(lines(&loaded), Vec::<String>::new());
    let config = loaded.config.unwrap();
    assert_eq!(config.plan.by_incoming["Order Completed"], ["purchase"]);
    assert_eq!(config.plan.events["purchase"].kind, crate::plan::Kind::Macro, "by its funnel");
    let ads = &config.destinations["ads"];
    assert_eq!(ads.entries["purchase"].len(), 2);
    assert!(ads.entries["purchase"][1].rule.is_some());
    assert_eq!(ads.sites, ["shop"]);
    assert_eq!(config.hash.len(), 64);
}

#[test]
fn every_problem_of_a_broken_configuration_is_told_in_one_run() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config/broken");
    let loaded = load_from(&dir, Secrets::Placeholder, None, &|_| None);
    assert!(loaded.config.is_none());
    let found = format!("{}\n", lines(&loaded).join("\n"));
    let expected = dir.join("findings.txt");
    #[allow(clippy::disallowed_methods, reason = "the test's own switch")]
    if std::env::var("UPDATE").is_ok() {
        std::fs::write(&expected, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(expected).unwrap());
    assert!(loaded.errors().count() >= 25);
    assert!(!found.contains("hunter2"), "a literal secret is not repeated");
}

#[test]
fn the_hash_is_that_of_the_files_and_their_rates() {
    let hash = |files: &[(&str, &str)]| check(files).config.unwrap().hash;
    assert_eq!(hash(&GOOD), hash(&GOOD));
    let other = good_but("consent.toml", &format!("{}\n", GOOD[2].1));
    let other: Vec<(&str, &str)> = other.iter().map(|(n, t)| (*n, t.as_str())).collect();
    assert_ne!(hash(&GOOD), hash(&other));
}

#[test]
fn a_platforms_entry_is_replaced_whole_by_a_destinations_own() {
    let files = [
        ("relay.toml", "[sites.us]\n[sites.eu]\n"),
        (
            "events.toml",
            "[events.buy]\nkind = \"macro\"\n[events.buy.destinations]\n\
             ads = { action = \"1\" }\nads_eu = [{ action = \"2\" }, { action = \"3\" }]\n\
             [events.look]\nkind = \"macro\"\n[events.look.destinations]\nads = true\nads_eu = false\n",
        ),
        (
            "destinations.toml",
            "[ads_us]\nplatform = \"ads\"\nsites = [\"us\"]\naccount_id = \"1\"\n\
             [ads_eu]\nplatform = \"ads\"\nsites = [\"eu\"]\naccount_id = \"2\"\n",
        ),
    ];
    let config = check(&files).config.unwrap();
    let entries =
        |name: &str, event: &str| config.destinations[name].entries.get(event).map_or(0, Vec::len);
    assert_eq!((entries("ads_us", "buy"), entries("ads_us", "look")), (1, 1));
    assert_eq!((entries("ads_eu", "buy"), entries("ads_eu", "look")), (2, 0));
    let eu = format!("{:?}", config.destinations["ads_eu"].handler);
    assert!(!eu.contains("action\\\": String(\\\"1"), "{eu}");
}

#[test]
fn a_platforms_problem_is_told_where_its_key_stands() {
    let loaded = check_good_but(
        "destinations.toml",
        "[ads]\nplatform = \"ads\"\naccount_id = \"7-7\"\n[hook]\nplatform = \"hook\"\n",
    );
    assert_eq!(
        lines(&loaded),
        [
            "error: destinations.toml:3: ads.account_id: expected digits",
            "error: destinations.toml:4: hook.account_id: is missing",
        ]
    );
    let loaded = check_good_but(
        "events.toml",
        "[events.purchase]\nkind = \"macro\"\n[events.purchase.destinations]\nhook = true\n\
         ads = { action = \"one\" }\n",
    );
    assert_eq!(
        lines(&loaded),
        ["error: events.toml:5: events.purchase.destinations.ads.action: expected digits"]
    );
}

#[test]
fn only_a_single_destination_may_bear_its_platforms_name() {
    let loaded = check_good_but(
        "destinations.toml",
        "[ads]\nplatform = \"ads\"\naccount_id = \"1\"\n\
         [ads_eu]\nplatform = \"ads\"\naccount_id = \"2\"\n\
         [hook]\nplatform = \"stats\"\nstream = \"1\"\n",
    );
    let found = lines(&loaded);
    assert!(found.iter().any(|f| f.starts_with("error: destinations.toml:1: ads: bears its plat")));
    assert!(found.iter().any(|f| f.contains("hook: bears the name of platform \"hook\"")));
}

#[test]
fn files_that_cannot_be_read_are_findings() {
    let loaded = check(&[("relay.toml", "a = \"\u{e9}\"\n")]);
    assert!(lines(&loaded)[0].contains("a: unknown key"), "{:?}", lines(&loaded));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("relay.toml"), b"mode = \"sandbox\"\n# \xff\n").unwrap();
    std::fs::create_dir(dir.path().join("events.toml")).unwrap();
    let loaded = load_from(dir.path(), Secrets::Placeholder, None, &|_| None);
    let found = lines(&loaded);
    assert!(found.contains(&"error: relay.toml:2: is not UTF-8".to_owned()), "{found:?}");
    assert!(found.iter().any(|f| f.starts_with("error: events.toml: cannot be read")), "{found:?}");
    let loaded = load_from(&dir.path().join("nowhere"), Secrets::Placeholder, None, &|_| None);
    assert_eq!(loaded.findings.len(), 1);
    assert!(loaded.findings[0].message.starts_with("there is no such folder"));
}

#[test]
fn no_two_listeners_have_one_port() {
    let of = |text: &str| lines(&check(&[("relay.toml", text)]));
    let refused = |text: &str, path: &str| {
        let found = of(text);
        let line = found.iter().find(|line| line.starts_with("error"));
        assert!(line.is_some_and(|line| line.contains(path)), "{text}: {found:?}");
    };
    refused("[listen]\npublic = \"127.0.0.1:8081\"", "relay.toml:2: listen.public: port 8081");
    refused("[listen]\nadmin = \"0.0.0.0:8080\"", "relay.toml:2: listen.admin: port 8080");
    refused("[listen]\npublic = \"[::]:1\"\nadmin = \"[::1]:1\"", "relay.toml:3: listen.admin");
    refused("[listen]\nadmin = \"127.0.0.1:8090\"", "relay.toml:2: listen.admin: port 8090");
    for fine in [
        "[listen]\npublic = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"",
        "[listen]\npublic = \"127.0.0.1:1\"\nadmin = \"127.0.0.2:1\"",
        "mode = \"test\"\n[listen]\nadmin = \"127.0.0.1:8090\"",
    ] {
        let found = of(fine);
        assert!(!found.iter().any(|line| line.contains("taken by another")), "{fine}: {found:?}");
    }
}

#[test]
fn a_section_without_its_platform_is_read_all_the_same() {
    let found = lines(&check_good_but(
        "destinations.toml",
        "[ads]\nplatfrom = \"ads\"\naccess_token = \"plain\"\nlevel = 1\n\
         [hook]\nplatform = \"hook\"\nurl = \"https://crm.example.com/in\"\n",
    ));
    for part in [
        "ads.platform: is missing",
        "destinations.toml:2: ads.platfrom: unknown key; did you mean \"platform\"?",
        "destinations.toml:3: ads.access_token: a secret is never written here",
    ] {
        assert!(found.iter().any(|line| line.contains(part)), "{part}: {found:?}");
    }
    assert!(!found.iter().any(|line| line.contains("ads.level")), "{found:?}");
    assert!(!found.join(" ").contains("plain"), "{found:?}");
}
