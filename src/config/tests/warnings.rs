//! What is legal but likely wrong, one by one.

use super::{GOOD, Secrets, check, check_good_but, good_but, lines, serve};

/// The one finding of [`GOOD`] with a file replaced.
fn one(name: &str, text: &str) -> String {
    let loaded = check_good_but(name, text);
    let found = lines(&loaded);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(loaded.config.is_some(), "a warning stops nothing");
    found.into_iter().next().unwrap()
}

#[test]
fn of_funnels() {
    let ads = "[events.purchase]\nkind = \"macro\"\n[events.purchase.destinations]\nads = true\nhook = true\n";
    let found = one("events.toml", &format!("[events.view]\nkind = \"micro\"\n{ads}"));
    assert_eq!(
        found,
        "warning: events.toml:1: events.view: \"view\" is a micro event in no funnel: nothing says \
         which macro event it leads to"
    );
    let text = format!("[funnels.f]\nsteps = [\"view\"]\n[events.view]\n{ads}");
    assert!(one("events.toml", &text).contains("without a macro event in its funnel"));
    let names: Vec<String> = (0..11).map(|n| format!("m{n}")).collect();
    let sections: String = names.iter().map(|name| format!("[events.{name}]\n")).collect();
    let text = format!("[funnels.f]\nsteps = {names:?}\nmacro = \"purchase\"\n{sections}{ads}");
    let found = lines(&check_good_but("events.toml", &text));
    assert!(found.iter().any(|f| f.contains("has 11 micro events, more than 10")), "{found:?}");
}

#[test]
fn of_browser_copies_that_cannot_be_told() {
    let text = |event: &str, platform: &str| {
        format!(
            "[events.{event}]\nkind = \"macro\"\nbrowser = [\"{platform}\"]\n\
             [events.{event}.destinations]\nads = true\nhook = true\n"
        )
    };
    // By event id: one that is derived here is not the tag's.
    let found = one("events.toml", &text("purchase", "ads"));
    assert!(found.contains("add required = [\"event_id\"]"), "{found}");
    let given = text("purchase", "ads").replace("browser", "required = [\"event_id\"]\nbrowser");
    assert_eq!(lines(&check_good_but("events.toml", &given)), Vec::<String>::new());
    // What the platform has no key for, such as a page load.
    let other = text("lead", "ads").replace("browser", "required = [\"event_id\"]\nbrowser");
    assert!(one("events.toml", &other).contains("cannot recognise"));
    // By a rule of its own for each source.
    let events = "[events.purchase]\nkind = \"macro\"\nrequired = [\"event_id\"]\n\
                  browser = [\"rules\"]\n[events.purchase.destinations]\nrules = true\n";
    let files = [
        GOOD[0],
        ("events.toml", events),
        ("consent.toml", "region_from = [\"event\"]\n[destinations.rules]\n"),
        ("destinations.toml", "[rules]\nplatform = \"rules\"\naccount_id = 1\n"),
    ];
    let found = lines(&check(&files));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("a conversion rule of its own"), "{found:?}");
    let found = one("events.toml", &text("purchase", "hook"));
    assert!(
        found.starts_with("warning: events.toml:3: events.purchase.browser: Example Hook cannot")
    );

    // By transaction id: only the events that the platform itself says it deduplicates.
    let destinations = "[stats]\nplatform = \"stats\"\nstream = \"1\"\n";
    let consent = "region_from = [\"event\"]\n[destinations.stats]\n";
    for (event, told) in [("purchase", false), ("lead", true)] {
        let events = format!(
            "[events.{event}]\nkind = \"macro\"\nbrowser = [\"stats\"]\n[events.{event}.destinations]\nstats = true\n"
        );
        let files = [
            GOOD[0],
            ("events.toml", events.as_str()),
            ("consent.toml", consent),
            ("destinations.toml", destinations),
        ];
        let found = lines(&check(&files));
        assert_eq!(found.iter().any(|f| f.contains("cannot recognise")), told, "{found:?}");
    }
}

#[test]
fn of_regions_and_rules() {
    let rules = "[destinations.ads]\n[destinations.hook]\nneeds = [\"analytics_storage\"]\n";
    assert!(one("consent.toml", rules).contains("consent.toml: region_from: no region source"));
    let none = format!("region_from = []\n{rules}");
    assert!(one("consent.toml", &none).contains("no region source"));
    let without = "region_from = [\"event\"]\n[destinations.ads]\n";
    assert_eq!(
        one("consent.toml", without),
        "warning: destinations.toml:6: hook: consent.toml has no [destinations.hook]: nothing \
         leaves for it (no_rule)"
    );
    // A header is believed from trusted proxies only.
    let header = format!("region_from = [\"header:CF-IPCountry\"]\n{rules}");
    let relay = |mode: &str, proxies: &str| {
        format!(
            "mode = \"{mode}\"\n{proxies}[sites.shop]\ncurrency = \"USD\"\n[[write_keys]]\n\
             name = \"tag\"\nkind = \"browser\"\nkey = {{ env = \"WRITE\" }}\n\
             [[admin_tokens]]\ntoken = {{ env = \"ADMIN\" }}\n"
        )
    };
    for (mode, proxies, told) in [
        ("test", "", true),
        ("test", "[listen]\ntrusted_proxies = [\"10.0.0.0/8\"]\n", false),
        ("sandbox", "", false),
    ] {
        let relay = relay(mode, proxies);
        let consent = header.as_str();
        let files = [("relay.toml", relay.as_str()), GOOD[1], ("consent.toml", consent), GOOD[3]];
        let found = lines(&check(&files));
        let is_told = found.iter().any(|f| f.contains("believed from trusted proxies only"));
        assert_eq!(is_told, told, "{mode}: {found:#?}");
    }
    let geoip = format!("region_from = [\"event\", \"geoip\"]\n{rules}");
    assert!(one("consent.toml", &geoip).contains("names no `geoip` database"));
    let unused = format!("region_from = [\"event\"]\n{rules}[destinations.stats]\n");
    assert!(one("consent.toml", &unused).contains("no destination of platform \"stats\""));
}

#[test]
fn of_categories_and_vendors() {
    let rules = "region_from = [\"event\"]\n[destinations.ads]\n[destinations.hook]\n\
                 needs = [\"analytics_storage\"]\n[categories]\n";
    let with = |category: &str| {
        lines(&check_good_but("consent.toml", &format!("{rules}{category}"))).join("\n")
    };
    for (category, told) in [
        (
            "c0004 = [\"ad_storage\"]",
            "consent.toml:6: categories.c0004: ids are compared exactly; did you mean \"C0004\"?",
        ),
        (
            "C0001 = [\"ad_storage\", \"ad_user_data\"]",
            "grants more than this category usually stands for: ad_storage, ad_user_data",
        ),
        ("Advertising = []", "stands for no purpose: without effect"),
        ("Advertising = [\"ad_stoarge\"]", "did you mean \"ad_storage\"?"),
        (
            "buyer_accepts_marketing = [\"ad_storage\"]",
            "is consent to messages, not to advertising",
        ),
    ] {
        let found = with(category);
        assert!(found.contains(told), "{category}: {found}");
    }
    // Tightening what is known needs no word of warning.
    let tighter =
        format!("{rules}C0002 = []\nC0004 = [\"ad_storage\"]\nAds = [\"ad_user_data\"]\n");
    assert_eq!(lines(&check_good_but("consent.toml", &tighter)), Vec::<String>::new());

    let rules = |id: &str| {
        format!(
            "region_from = [\"event\"]\n[destinations.ads]\n{id}\n[destinations.hook]\n\
             needs = [\"analytics_storage\"]\n"
        )
    };
    for id in [
        "tcf_vendor_id = 0",
        "tcf_vendor_id = 65536",
        "tcf_vendor_id = \"755\"",
        "tcf_vendor_id = [755]",
        "ac_provider_id = -1",
        "ac_provider_id = \"NONE\"",
        "ac_provider_id = 1000000",
    ] {
        let found = lines(&check_good_but("consent.toml", &rules(id))).join("\n");
        assert!(found.starts_with("error: consent.toml:3: destinations.ads."), "{id}: {found}");
    }
    for id in ["tcf_vendor_id = 755", "tcf_vendor_id = \"none\"", "ac_provider_id = 70000"] {
        assert_eq!(lines(&check_good_but("consent.toml", &rules(id))), Vec::<String>::new());
    }
}

#[test]
fn of_modes() {
    let live = lines(&check_good_but("relay.toml", &GOOD[0].1.replace("sandbox", "live")));
    assert!(live.iter().any(|f| f.contains("live without a consent.lock")), "{live:?}");
    assert!(live.iter().any(|f| f.contains("no queue.encryption_key")), "{live:?}");
    let test = lines(&check_good_but("relay.toml", &GOOD[0].1.replace("sandbox", "test")));
    assert!(test.iter().any(|f| f.contains("Example Hook has no test mode")), "{test:?}");
    let nobody = lines(&check_good_but("relay.toml", "mode = \"test\"\n[sites.shop]\n"));
    assert!(nobody.iter().any(|f| f.contains("no [[write_keys]]")), "{nobody:?}");
}

#[test]
fn of_values_and_destinations() {
    let events = "[events.purchase]\nkind = \"macro\"\nvalue = { fixed = \"5\" }\n\
                  [events.purchase.destinations]\nads = true\nhook = true\n";
    let relay = GOOD[0].1.replace("currency = \"USD\"", "");
    let files = [("relay.toml", relay.as_str()), ("events.toml", events), GOOD[2], GOOD[3]];
    assert!(lines(&check(&files))[0].contains("neither the rule nor site \"shop\" has a currency"));
    let events = "[events.purchase]\nkind = \"macro\"\n[events.purchase.destinations]\n\
                  ads = { currency = \"EUR\" }\n";
    let found = lines(&check_good_but("events.toml", events));
    assert!(found.iter().any(|f| f.contains("wants EUR, site \"shop\" counts in")), "{found:?}");
    assert!(found.iter().any(|f| f.contains("hook: no event of events.toml")), "{found:?}");
}

#[test]
fn of_rules_that_can_do_nothing() {
    let found = |lines: &str, entry: &str| {
        let text = format!(
            "[events.purchase]\nkind = \"macro\"\n{lines}\n[events.purchase.destinations]\n\
             ads = {entry}\nhook = true\n"
        );
        one("events.toml", &text)
    };
    for (lines, what) in [
        ("when = \" false \"", "when: never holds"),
        ("value = { formula = \"event_value * 2\" }", "value.formula: event_value is what"),
        ("value = { field = \"properties.value\", times = \"-1\" }", "value: times = \"-1\""),
    ] {
        let found = found(lines, "true");
        assert!(found.contains(&format!("events.purchase.{what}")), "{found}");
    }
    let entry = "{ action = \"1\", value = { field = \"properties.value\", times = \"-0.5\" } }";
    assert!(found("", entry).contains("purchase.destinations.ads: times"), "of an entry");
    let entry = "{ action = \"1\", value = { formula = \"event_value * 2\" } }";
    let never = |own: &str| {
        let text = format!(
            "[events.purchase]\nkind = \"macro\"\nvalue = {own}\n[events.purchase.destinations]\n\
             ads = {entry}\nhook = true\n"
        );
        let found = lines(&check_good_but("events.toml", &text));
        found.iter().any(|line| line.contains("ads: event_value is the result of"))
    };
    assert!(never("{ formula = \"event_value * 2\" }"));
    assert!(never("{ field = \"properties.value\", times = \"-1\" }"));
    assert!(!never("{ field = \"properties.value\", times = \"-1\", minimum = \"0\" }"));
    assert!(!never("{ formula = \"value * 2\" }"));
    let good = "when = \"properties.order_id != ''\"\ncount = { per = \"400d\" }";
    let entry = "{ action = \"1\", value = { formula = \"event_value * 2\" } }";
    let text = format!(
        "[events.purchase]\nkind = \"macro\"\n{good}\n[events.purchase.destinations]\n\
         ads = {entry}\nhook = true\n"
    );
    assert_eq!(lines(&check_good_but("events.toml", &text)), Vec::<String>::new());
}

#[test]
fn of_a_count_that_outlasts_what_it_counts_by() {
    let found = |per: &str| {
        let events = format!(
            "[events.purchase]\nkind = \"macro\"\ncount = {{ per = \"{per}\" }}\n\
             [events.purchase.destinations]\nads = true\nhook = true\n"
        );
        let mut files = good_but("events.toml", &events);
        files[0].1.push_str("[retention]\nfrequency = \"30d\"\n");
        let files: Vec<(&str, &str)> = files.iter().map(|(n, text)| (*n, text.as_str())).collect();
        lines(&check(&files))
    };
    for longer in ["31d", "721h"] {
        let found = found(longer);
        assert!(found.len() == 1 && found[0].contains("count.per: is longer than"), "{found:?}");
    }
    assert_eq!((found("30d"), found("720h")), (Vec::new(), Vec::new()));
}

#[test]
fn of_a_currency_that_the_rates_do_not_have() {
    let found = |currency: &str| {
        let events = format!(
            "[rates]\nfile = \"rates.csv\"\n[events.purchase]\nkind = \"macro\"\n\
             [events.purchase.destinations]\nads = {{ action = \"1\", currency = \"{currency}\" }}\n\
             hook = true\n"
        );
        let rates = "EUR,1,2026-11-22\nUSD,1.1,2026-11-22\n".to_owned();
        let mut files = good_but("events.toml", &events);
        files.push(("rates.csv", rates));
        let files: Vec<(&str, &str)> = files.iter().map(|(n, text)| (*n, text.as_str())).collect();
        lines(&check(&files))
    };
    let sek = found("SEK");
    assert!(sek.len() == 1 && sek[0].contains("add a line for SEK"), "{sek:?}");
    for known in ["EUR", "USD"] {
        assert_eq!(found(known), Vec::<String>::new());
    }
}

#[test]
fn of_names_and_dates_the_text_says_what_to_write() {
    let text = "[events.purchase]\nkind = \"macro\"\nowner = 2026-11-22\n[events.purchase.destinations]\nqqqqqqqq = true\n";
    let found = lines(&check_good_but("events.toml", text)).join("\n");
    assert!(found.contains("found a date; write it in quotes: \"2026-11-22\""), "{found}");
    let known = found.split("known here: ").nth(1).unwrap().lines().next().unwrap();
    let names: Vec<&str> = known.split(", ").collect();
    let once: std::collections::BTreeSet<&&str> = names.iter().collect();
    assert_eq!(names.len(), once.len(), "each once: {known}");
}

#[test]
fn of_a_queue_key_only_where_none_is_written() {
    let relay =
        GOOD[0].1.replace("sandbox", "live") + "[queue]\nencryption_key = { env = \"K\" }\n";
    let files = good_but("relay.toml", &relay);
    let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (*n, t.as_str())).collect();
    let found = lines(&serve(&files, Secrets::Resolve, None, &|_| None));
    assert!(found.iter().any(|f| f.contains("queue.encryption_key: the environment")), "{found:?}");
    assert!(!found.iter().any(|f| f.contains("no queue.encryption_key")), "{found:?}");
}

#[test]
fn of_a_disk_too_small_for_a_store() {
    let of =
        |size: &str| lines(&check(&[("relay.toml", &format!("[queue]\nmax_disk = {size:?}"))]));
    let told = |found: &[String]| found.iter().any(|f| f.contains("queue.max_disk: is less than"));
    assert!(told(&of("1 KiB")), "{:?}", of("1 KiB"));
    assert!(!told(&of("64 MiB")));
}
