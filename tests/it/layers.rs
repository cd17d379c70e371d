//! The house's rules that a compiler does not hold: arrows point down, platforms stay in their
//! files, and only one file speaks to the world.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Each module with the modules it may use. What is not named may not be used.
fn allowed() -> BTreeMap<&'static str, Vec<&'static str>> {
    let pure = ["event", "consent", "identity", "expression", "plan", "value"];
    let with = |more: &[&'static str]| pure.iter().copied().chain(more.iter().copied()).collect();
    BTreeMap::from([
        ("event", vec![]),
        ("consent", vec!["event"]),
        ("identity", vec!["event", "consent"]),
        ("expression", vec!["event"]),
        ("plan", vec!["event", "expression", "value", "identity"]),
        ("value", vec!["event", "expression"]),
        ("job", with(&[])),
        ("destinations", with(&["job"])),
        ("config", with(&["job", "destinations"])),
        ("sources", with(&["config", "destinations"])),
        ("pipeline", with(&["job", "destinations", "config", "sources", "queue"])),
        ("queue", vec!["consent", "plan", "config", "destinations", "clock", "telemetry"]),
        ("delivery", with(&["job", "destinations", "config", "queue", "clock", "telemetry"])),
        ("audit", with(&["destinations", "config"])),
        ("evidence", vec!["consent", "event", "pipeline", "queue", "config", "clock"]),
        ("alert", vec!["config"]),
        ("telemetry", vec![]),
        ("clock", vec![]),
        ("sandbox", with(&["clock", "destinations"])),
        (
            "http",
            with(&[
                "alert",
                "job",
                "destinations",
                "config",
                "sources",
                "pipeline",
                "queue",
                "evidence",
                "clock",
                "telemetry",
            ]),
        ),
    ])
}

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, files: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let is_of_tests = path.file_stem().is_some_and(|stem| stem == "tests");
            if is_of_tests {
                continue;
            }
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = production(&std::fs::read_to_string(&path).unwrap());
                files.push((path, text));
            }
        }
    }
    let mut files = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    files
}

/// What a file does: without its tests, and without comments, which may point anywhere.
fn production(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let code = before_tests.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

fn module_of(path: &Path) -> String {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The modules that a file names by `crate::module`, also in grouped imports.
fn used(text: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let name = |text: &str| -> String {
            text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()
        };
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut item = true;
            for (i, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => item = true,
                    c if depth == 1 && item && !c.is_whitespace() => {
                        used.push(name(&group[i..]));
                        item = false;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            used.push(name(rest));
        }
    }
    used
}

#[test]
fn arrows_point_down() {
    let allowed = allowed();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        let Some(may) = allowed.get(module.as_str()) else { continue };
        for used in used(&text) {
            let known = allowed.contains_key(used.as_str()) || used == "cli";
            if known && used != module && !may.contains(&used.as_str()) {
                wrong.push(format!("{} uses {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// No module uses one that uses it, by however many others.
#[test]
fn there_are_no_circles() {
    let allowed = allowed();
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        let is_other = |used: &String| *used != module && allowed.contains_key(used.as_str());
        let others: Vec<String> = used(&text).into_iter().filter(is_other).collect();
        uses.entry(module).or_default().extend(others);
    }
    let circles = circles(uses);
    assert!(circles.is_empty(), "these use each other: {circles:?}");
}

/// The modules that are left when whoever uses nobody, or only such, is taken away, again and again,
/// and then whoever nobody uses.
fn circles(mut uses: BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, BTreeSet<String>> {
    loop {
        let before = uses.len();
        let left: BTreeSet<String> = uses.keys().cloned().collect();
        uses.values_mut().for_each(|others| others.retain(|other| left.contains(other)));
        uses.retain(|_, others| !others.is_empty());
        let used: BTreeSet<String> = uses.values().flatten().cloned().collect();
        uses.retain(|module, _| used.contains(module));
        if uses.len() == before {
            return uses;
        }
    }
}

#[test]
fn circles_are_found() {
    let uses = |arrows: &[(&str, &str)]| {
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in arrows {
            uses.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        circles(uses).into_keys().collect::<Vec<_>>()
    };
    assert!(uses(&[("a", "b"), ("b", "c"), ("a", "c")]).is_empty());
    assert_eq!(uses(&[("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")]), ["b", "c"]);
    assert_eq!(uses(&[("a", "b"), ("b", "c"), ("c", "a")]), ["a", "b", "c"]);
}

#[test]
fn platforms_are_named_in_their_own_files_only() {
    let mut wrong = Vec::new();
    for platform in conversion_relay::destinations::REGISTRY {
        // An ordinary word of this field, and a letter that a gender may be: not only vendors.
        if matches!(platform.name, "webhook" | "x") {
            continue;
        }
        for (path, text) in sources() {
            let below = path.to_str().unwrap();
            let own = below.contains(&format!("destinations/{}", platform.name))
                || below.ends_with("destinations/mod.rs")
                || below.contains("/sandbox/");
            let literal = format!("\"{}\"", platform.name);
            if !own && text.contains(&literal) {
                wrong.push(format!("{below} names {literal}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_client_speaks_to_platforms() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let below = path.to_str().unwrap();
        let allowed = below.ends_with("delivery/client.rs") || below.contains("/cli/");
        // A resolver that refuses addresses is asked by the client; it calls nobody.
        if !allowed && text.replace("reqwest::dns::", "").contains("reqwest::") {
            wrong.push(below.to_owned());
        }
    }
    assert!(wrong.is_empty(), "these use reqwest: {wrong:?}");
}

#[test]
fn every_platform_has_its_file_contract_and_fixtures() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    for platform in conversion_relay::destinations::REGISTRY {
        let name = platform.name;
        let file = root.join(format!("src/destinations/{name}.rs"));
        let folder = root.join(format!("src/destinations/{name}/mod.rs"));
        if !file.exists() && !folder.exists() {
            missing.push(format!("src/destinations/{name}.rs"));
        }
        for path in [
            format!("src/sandbox/contracts/{name}.json"),
            format!("tests/fixtures/{name}/purchase/event.json"),
            format!("tests/fixtures/{name}/minimal/event.json"),
            format!("tests/fixtures/{name}/opted_out/event.json"),
            format!("tests/fixtures/{name}/responses"),
        ] {
            if !root.join(&path).exists() {
                missing.push(path);
            }
        }
    }
    assert!(missing.is_empty(), "missing: {missing:#?}");
}
