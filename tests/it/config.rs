//! The shipped configuration, the keys of the interface, and `check` and `init` as a user runs them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use conversion_relay::{
    config::{LoadOptions, Loaded, Secrets, load},
    destinations::REGISTRY,
};

const FILES: [&str; 5] =
    ["relay.toml", "events.toml", "consent.toml", "destinations.toml", "rates.csv"];

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn check(dir: &Path) -> Loaded {
    let options = LoadOptions {
        secrets: Secrets::Placeholder,
        sandbox_base: None,
        env: &|_| None,
        registry: REGISTRY,
    };
    load(dir, &options)
}

fn lines(loaded: &Loaded) -> Vec<String> {
    loaded.findings.iter().map(ToString::to_string).collect()
}

fn run(arguments: &[&std::ffi::OsStr]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_conversion-relay")).args(arguments).output().unwrap()
}

/// A copy of the shipped files, each changed.
fn copy(change: impl Fn(&str, String) -> String) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in FILES {
        let text = std::fs::read_to_string(shipped().join(name)).unwrap();
        std::fs::write(dir.path().join(name), change(name, text)).unwrap();
    }
    dir
}

#[test]
fn the_shipped_configuration_has_no_findings() {
    let loaded = check(&shipped());
    assert_eq!(lines(&loaded), Vec::<String>::new());
    let config = loaded.config.unwrap();
    assert!(config.plan.events.len() >= 10, "{}", config.plan.events.len());
    assert_eq!(config.sites.len(), 2);
    assert_eq!(config.destinations.len(), 4);
}

#[test]
fn a_platforms_own_cautions_are_warnings_at_their_place() {
    let dir = copy(|name, text| match name {
        "events.toml" => text.replacen("ga4 = true", "ga4 = \"screen_view\"", 1),
        _ => text,
    });
    let loaded = check(dir.path());
    assert!(loaded.config.is_some(), "{:?}", lines(&loaded));
    let [warning] = loaded.findings.as_slice() else { panic!("{:?}", lines(&loaded)) };
    assert!(warning.message.contains("screen_view"), "{}", warning.message);
    assert!(warning.path.ends_with(".ga4") && warning.file.ends_with("events.toml"), "{warning}");
}

#[test]
fn the_defaults_in_its_comments_are_the_true_ones() {
    // A line that starts with "#" and no space is a key with its default.
    let mut taken_away = 0;
    let plain = |line: &str, count: &mut usize| {
        let bare = line.strip_prefix('#').filter(|rest| rest.starts_with(char::is_alphabetic));
        *count += usize::from(bare.is_some());
        bare.unwrap_or(line).to_owned()
    };
    let dir = tempfile::tempdir().unwrap();
    for name in FILES {
        let text = std::fs::read_to_string(shipped().join(name)).unwrap();
        let lines: Vec<String> = text.lines().map(|line| plain(line, &mut taken_away)).collect();
        std::fs::write(dir.path().join(name), lines.join("\n")).unwrap();
    }
    assert!(taken_away >= 40, "the shipped files name their defaults: {taken_away}");
    let loaded = check(dir.path());
    assert_eq!(lines(&loaded), Vec::<String>::new());
    let described = |loaded: Loaded| {
        let mut described = loaded.config.unwrap().describe();
        described["config"] = serde_json::Value::Null;
        described
    };
    assert_eq!(described(loaded), described(check(&shipped())));
}

#[test]
fn every_key_of_the_interface_is_known() {
    let loaded = check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config/whole"));
    let errors: Vec<String> = loaded.errors().map(ToString::to_string).collect();
    assert_eq!(errors, Vec::<String>::new());
    let described = loaded.config.unwrap().describe();
    let of = |path: &str| described.pointer(path).cloned().unwrap_or_default().to_string();
    assert_eq!(of("/relay/listen/client_ip_header"), "\"CF-Connecting-IP\"");
    assert_eq!(of("/relay/sites/shop_us/minimum_age"), "16");
    assert_eq!(of("/relay/webhooks/shopify/type"), "\"shopify\"");
    assert_eq!(of("/events/events/begin_checkout/count/not_after"), "\"purchase\"");
    assert_eq!(of("/consent/memory/click_ids"), "\"90d\"");
    assert_eq!(of("/consent/destinations/meta/tcf_vendor_id"), "\"none\"");
    assert_eq!(of("/destinations/meta/rate_limit/requests_per_day"), "100000");
    assert_eq!(of("/destinations/meta/endpoint"), "\"http://127.0.0.1:9100\"");
    assert_eq!(of("/destinations/meta/share"), "\"12.5%\"");
}

#[test]
fn check_ends_with_78_and_names_place_and_remedy() {
    let dir = copy(|name, text| match name {
        "events.toml" => text.replacen("kind = \"micro\"", "kynd = \"micro\"", 1),
        "destinations.toml" => text.replace("dataset_id", "data_set_id"),
        _ => text,
    });
    let output = run(&["check".as_ref(), "--config".as_ref(), dir.path().as_os_str()]);
    assert_eq!(output.status.code(), Some(78));
    assert!(output.stdout.is_empty());
    let told = String::from_utf8(output.stderr).unwrap();
    let text = std::fs::read_to_string(dir.path().join("events.toml")).unwrap();
    let line = 1 + text.lines().position(|line| line.starts_with("kynd")).unwrap();
    let expected = format!(
        "error: {}:{line}: events.view_item.kynd: unknown key; did you mean \"kind\"?",
        dir.path().join("events.toml").display()
    );
    assert!(told.lines().any(|line| line == expected), "{expected}\n\n{told}");
    assert!(told.contains("meta.data_set_id: unknown key; did you mean \"dataset_id\"?"), "{told}");

    let json = run(&[
        "check".as_ref(),
        "--config".as_ref(),
        dir.path().as_os_str(),
        "--format".as_ref(),
        "json".as_ref(),
    ]);
    assert_eq!(json.status.code(), Some(78));
    let told: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(told["findings"][0]["severity"], "error");
}

#[test]
fn check_warns_and_ends_well() {
    let dir = copy(|name, text| match name {
        "consent.toml" => text.replace("region_from =", "# region_from ="),
        "destinations.toml" => text.replace("# mode = \"live\"", "mode = \"live\""),
        _ => text,
    });
    let output = run(&["check".as_ref(), "--config".as_ref(), dir.path().as_os_str()]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("region_from: no region source"), "{told}");
    assert!(told.contains("meta.mode: \"live\" is above the relay's mode"), "{told}");
    assert!(told.lines().last().unwrap().contains("is valid"), "{told}");
}

/// A rule in a file whose name is misspelled holds nothing back, so that it is told of.
#[test]
fn check_warns_of_a_file_that_is_not_read() {
    let dir = copy(|_, text| text);
    let told = |dir: &Path| {
        let output = run(&["check".as_ref(), "--config".as_ref(), dir.as_os_str()]);
        assert_eq!(output.status.code(), Some(0), "a warning only");
        String::from_utf8(output.stderr).unwrap()
    };
    let warnings = |told: &str| told.lines().filter(|line| line.starts_with("warning: ")).count();
    assert_eq!(warnings(&told(dir.path())), 0, "the four and what they name are no strays");
    for (name, nearest) in [
        ("consents.toml", Some("consent.toml")),
        ("event.toml", Some("events.toml")),
        ("holidays.toml", None),
    ] {
        std::fs::write(dir.path().join(name), "never = \"read\"\n").unwrap();
        let told = told(dir.path());
        let place = format!("warning: {}", dir.path().join(name).display());
        let line = told.lines().find(|line| line.starts_with(&place));
        let line = line.unwrap_or_else(|| panic!("nothing is said of {name}: {told}"));
        assert!(line.contains("is not read"), "{line}");
        match nearest {
            Some(nearest) => {
                assert!(line.contains(&format!("nearest name is {nearest}")), "{line}")
            }
            None => assert!(!line.contains("nearest"), "{line}"),
        }
    }
    // What is no configuration, and what lies in a folder below, confuses nobody.
    for name in ["notes.txt", "consent.toml.bak"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    std::fs::create_dir(dir.path().join("tests")).unwrap();
    std::fs::write(dir.path().join("tests/consents.toml"), "").unwrap();
    assert_eq!(warnings(&told(dir.path())), 3);
}

#[test]
fn check_prints_the_effective_configuration() {
    let output =
        run(&["check".as_ref(), "--config".as_ref(), shipped().as_os_str(), "--print".as_ref()]);
    assert_eq!(output.status.code(), Some(0));
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["relay"]["write_keys"][0]["key"], "[REDACTED]");
    assert_eq!(shown["destinations"]["meta"]["retry"]["attempts"], 20);
}

#[test]
fn what_init_writes_passes_check_and_its_own_cases() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    let init = run(&["init".as_ref(), config.as_os_str()]);
    assert_eq!(init.status.code(), Some(0), "{init:?}");
    let check = run(&["check".as_ref(), "--config".as_ref(), config.as_os_str()]);
    let told = String::from_utf8(check.stderr).unwrap();
    assert_eq!(check.status.code(), Some(0), "{told}");
    assert_eq!(told.lines().count(), 1, "no warning: {told}");
    let test = run(&["test".as_ref(), "--config".as_ref(), config.as_os_str()]);
    let told = String::from_utf8(test.stdout).unwrap();
    assert_eq!(test.status.code(), Some(0), "{told}");
    // Every case that is shipped is written.
    let cases = |dir: &Path| std::fs::read_dir(dir.join("tests")).unwrap().count();
    assert_eq!(cases(&config), cases(&shipped()));
    assert!(cases(&config) >= 8);

    let again = run(&["init".as_ref(), config.as_os_str()]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8(again.stderr).unwrap().contains("nothing was written"));
}

/// What the findings of one destination's `may_send` are, where an event of a website is all it gets.
fn about_may_send(destination: &str, rule: &str, entry: &str) -> Vec<String> {
    let platform = destination.lines().next().unwrap().trim_matches(['[', ']']);
    let files = [
        ("relay.toml", "[sites.shop]\nhosts = [\"shop.example\"]\n".to_owned()),
        ("destinations.toml", format!("{destination}platform = \"{platform}\"\n")),
        (
            "consent.toml",
            format!(
                "version = \"1\"\n[regions.all]\nmatch = [\"*\"]\nmodel = \"opt_in\"\n\
                 ip = \"full\"\n[destinations.{platform}]\n{rule}\n"
            ),
        ),
        (
            "events.toml",
            format!(
                "[events.purchase]\nkind = \"macro\"\n[events.purchase.destinations]\n\
                 {platform} = {entry}\n"
            ),
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let found = lines(&check(dir.path()));
    found.into_iter().filter(|line| line.contains("may_send") || line.contains("error")).collect()
}

/// A list is too short where a field without which nothing is taken is not in it; where one of
/// several will do, or the settings stand in for one, it is not.
#[test]
fn may_send_must_hold_what_is_needed_and_no_more() {
    let snapchat = "[snapchat]\npixel_id = \"a1\"\naccess_token = { env = \"T\" }\n";
    let tiktok = "[tiktok]\npixel_code = \"C0\"\naccess_token = { env = \"T\" }\n";
    let amazon = "[amazon]\naccount_id = 1\nregion = \"NA\"\nclient_id = \"a\"\n\
                  client_secret = { env = \"S\" }\nrefresh_token = { env = \"R\" }\n";
    let amazon_us = format!("{amazon}country = \"US\"\n");
    let microsoft = "[microsoft]\ntag_id = 1\naccess_token = { env = \"T\" }\n";
    let meta = "[meta]\ndataset_id = 1\naccess_token = { env = \"T\" }\n";
    let page_load = "{ page_load = true }";
    #[rustfmt::skip]
    let table = [
        (snapchat, "may_send = [\"user.email\", \"context.page_url\"]", "true", vec![]),
        (snapchat, "may_send = [\"user.email\"]", "true", vec!["error", "lacks what", "context.page_url"]),
        (snapchat, "may_send = [\"context.page_url\"]", "true", vec!["warning", "identity_too_weak"]),
        (tiktok, "may_send = [\"user.email\", \"click_ids\"]", "true", vec![]),
        (&*amazon_us, "may_send = [\"user.email\"]", "true", vec![]),
        (amazon, "may_send = [\"user.email\"]", "true", vec!["warning", "user.country"]),
        (amazon, "", "true", vec!["warning", "identity_too_weak"]),
        (microsoft, "", "true", vec![]),
        (microsoft, "", page_load, vec!["warning", "missing_field", "context.page_url"]),
        (meta, "may_send = [\"user.email\"]", "true", vec!["error", "context.user_agent, context.page_url"]),
    ];
    for (destination, rule, entry, words) in table {
        let found = about_may_send(destination, rule, entry);
        let what = format!("{destination} {rule} {found:#?}");
        assert_eq!(found.is_empty(), words.is_empty(), "{what}");
        for word in words {
            assert!(found.iter().any(|line| line.contains(word)), "{word}: {what}");
        }
    }
}
