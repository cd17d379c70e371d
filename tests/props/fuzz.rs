//! A short run of every fuzz target on stable: what the fixtures have, changed by a seeded generator.
//! `RELAY_FUZZ=1000000` makes it long; a failure names the seed that repeats it.

use std::{fs, path::Path};

use conversion_relay::destinations::REGISTRY;

use crate::{support, targets};

/// Inputs a target, unless RELAY_FUZZ says otherwise.
const RUNS: u64 = 2_000;
/// Loading a configuration takes milliseconds.
const CONFIG_RUNS: u64 = 300;

fn runs(usual: u64) -> u64 {
    #[allow(clippy::disallowed_methods, reason = "the long version is chosen by the environment")]
    std::env::var("RELAY_FUZZ").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// SplitMix64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { usize::try_from(self.next() % end as u64).unwrap() }
    }
}

/// What parsers stumble over.
const ODD: [&[u8]; 26] = [
    b"\0",
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\\u0000",
    b"\\ud800",
    b"-0",
    b"1e999",
    b"1e-999",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"0.1e+2147483648",
    b"null",
    b"[",
    b"{",
    b"\"",
    b"[[[[[[[[[[[[[[[[",
    b"{\"a\":",
    b",",
    b"\n",
    b"\r\n",
    b"'''",
    b"\xf0\x9f\xa6\x80",
    b"%00",
    b"9999-12-31T23:59:60Z",
    b"-009999-01-02T01:59:59Z",
];

/// One of the corpus, changed a few times; sometimes crossed with another.
fn mutate(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = corpus[dice.below(corpus.len())].clone();
    for _ in 0..=dice.below(6) {
        let at = dice.below(bytes.len() + 1);
        let end = (at + dice.below(12)).min(bytes.len());
        match dice.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 if at < bytes.len() => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
            2 => bytes.truncate(at),
            3 => _ = bytes.splice(at..end, ODD[dice.below(ODD.len())].iter().copied()),
            4 => _ = bytes.drain(at..end),
            5 => {
                let again: Vec<u8> = bytes[at..end].repeat(1 + dice.below(40));
                bytes.splice(at..at, again);
            }
            _ => {
                let other = &corpus[dice.below(corpus.len())];
                let from = dice.below(other.len() + 1);
                let until = (from + dice.below(64)).min(other.len());
                bytes.splice(at..end, other[from..until].iter().copied());
            }
        }
    }
    bytes
}

fn run(name: &str, corpus: &[Vec<u8>], runs: u64) {
    let (_, target) = targets::TARGETS.iter().find(|(known, _)| *known == name).unwrap();
    assert!(!corpus.is_empty());
    corpus.iter().for_each(|bytes| target(bytes));
    let first = u64::from(name.as_bytes()[1]) << 32;
    for seed in first..first + runs {
        let bytes = mutate(corpus, &mut Dice(seed));
        let done = std::panic::catch_unwind(|| target(&bytes));
        assert!(done.is_ok(), "{name}, seed {seed}: {:?}", String::from_utf8_lossy(&bytes));
    }
}

/// Files below a folder whose name ends so.
fn files(folder: &Path, ending: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(fs::read(path).unwrap());
            }
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn events() {
    let corpus = files(&support::root().join("tests/fixtures"), "event.json");
    run("event", &corpus, runs(RUNS));
}

#[test]
fn consent_strings() {
    let vectors = ["tcf", "gpp"].iter().flat_map(|name| {
        let path = support::root().join(format!("tests/vectors/{name}.json"));
        let text = fs::read_to_string(path).unwrap();
        serde_json::from_str::<Vec<serde_json::Value>>(&text).unwrap()
    });
    let mut corpus: Vec<Vec<u8>> =
        vectors.map(|vector| vector["text"].as_str().unwrap().as_bytes().to_vec()).collect();
    for event in files(&support::root().join("tests/fixtures"), "event.json") {
        let event: serde_json::Value = serde_json::from_slice(&event).unwrap();
        corpus.push(event["consent"].to_string().into_bytes());
    }
    for text in ["1YNN", "2~1.35.89~dv.2", "G111", "13r3r3r3r5l1", "groups=C0001%3A1%2CC0004%3A0"] {
        corpus.push(text.as_bytes().to_vec());
    }
    run("consent", &corpus, runs(RUNS));
}

#[test]
fn answers_of_platforms() {
    let mut corpus = Vec::new();
    for (number, platform) in REGISTRY.iter().enumerate() {
        let number = u8::try_from(number).unwrap();
        for answer in files(&support::folder(platform.name).join("responses"), ".json") {
            let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
            let status = answer["status"].as_u64().map_or(200, |status| status as u16);
            let [high, low] = (status.max(100) - 100).to_be_bytes();
            let body = match answer["body"].as_str() {
                Some(text) => text.to_owned(),
                None => answer["body"].to_string(),
            };
            for kind in [0, 3, 9, 34, 68, 255] {
                corpus.push([&[number, high, low, kind], body.as_bytes()].concat());
            }
        }
    }
    run("classify", &corpus, runs(RUNS * 5));
}

#[test]
fn configurations() {
    let mut corpus = Vec::new();
    for (number, name) in conversion_relay::config::FILES.iter().enumerate() {
        for folder in ["config", "tests/fixtures/config/whole", "tests/fixtures/config/broken"] {
            let Ok(text) = fs::read(support::root().join(folder).join(name)) else { continue };
            corpus.push([&[u8::try_from(number).unwrap()], &text[..]].concat());
        }
    }
    run("config", &corpus, runs(CONFIG_RUNS));
}

#[test]
fn every_target_has_its_file_for_libfuzzer() {
    let folder = support::root().join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (name, _) in targets::TARGETS {
        let text = fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(text.contains(&format!("targets::{name}(bytes)")), "{text}");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
    assert_eq!(fs::read_dir(folder.join("fuzz_targets")).unwrap().count(), targets::TARGETS.len());
}
