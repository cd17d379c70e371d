//! Each platform's own cases: `tests/fixtures/PLATFORM/sandbox.json` holds one right request and
//! what is changed of it, with what the platform makes of the change.
//!
//! A text `sha256:WORD` stands for the digest of the word. It is 2026-11-22T04:05:00Z there.

use conversion_relay::{
    destinations::REGISTRY,
    sandbox::{Request, Verdict, check},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{hash, now, with};

/// Platforms whose cases are written in code beside this file.
const IN_CODE: [&str; 10] = [
    "ga4",
    "google_ads",
    "linkedin",
    "meta",
    "microsoft",
    "pinterest",
    "reddit",
    "snapchat",
    "tiktok",
    "webhook",
];

/// A right request, and its changes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    /// `POST` where nothing is said.
    #[serde(default)]
    method: Option<String>,
    url: String,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    body: Value,
    /// What the right request is for.
    destination: Option<String>,
    /// How many events it holds.
    events: usize,
    /// A part of the answer to it.
    answer: Value,
    /// Changes after which it is as right.
    taken: Vec<Case>,
    /// Changes after which something of it is refused.
    refused: Vec<Case>,
}

/// One change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What it shows.
    what: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    url: Option<String>,
    /// Headers set, or with null removed.
    #[serde(default)]
    headers: Map<String, Value>,
    /// Values by JSON pointer; null removes.
    #[serde(default)]
    set: Map<String, Value>,
    /// The first item of the list at a JSON pointer, so many times, before values are set.
    #[serde(default)]
    repeat: Option<(String, usize)>,
    /// The answer's status.
    #[serde(default)]
    status: Option<u16>,
    /// A part of the answer.
    #[serde(default)]
    answer: Value,
    /// How many of its events are taken.
    #[serde(default)]
    accepted: usize,
    /// It is taken with a remark.
    #[serde(default)]
    warns: bool,
    /// Nothing of it counts.
    #[serde(default)]
    test: bool,
}

#[test]
fn every_platform_has_cases() {
    for platform in REGISTRY.iter().filter(|platform| !IN_CODE.contains(&platform.name)) {
        let cases = cases(platform.name);
        assert!(cases.is_some_and(|it| !it.refused.is_empty()), "{}/sandbox.json", platform.name);
    }
}

#[test]
fn each_contract_takes_and_refuses_what_its_cases_say() {
    for platform in REGISTRY {
        let Some(cases) = cases(platform.name) else { continue };
        let right = verdict(platform.name, &cases, &Case::nothing());
        assert!(right.is_accepted() && right.warnings.is_empty(), "{} {right:?}", platform.name);
        assert_eq!(right.destination, cases.destination, "{}", platform.name);
        assert_eq!((right.events, right.accepted.len()), (cases.events, cases.events));
        told(&cases.answer, &right, platform.name);
        for case in &cases.taken {
            let name = format!("{}: {}", platform.name, case.what);
            let verdict = verdict(platform.name, &cases, case);
            assert!(verdict.is_accepted(), "{name} {:?}", verdict.refused);
            assert_eq!((!verdict.warnings.is_empty(), verdict.test), (case.warns, case.test));
            told(&case.answer, &verdict, &name);
        }
        for case in &cases.refused {
            let name = format!("{}: {}", platform.name, case.what);
            let verdict = verdict(platform.name, &cases, case);
            assert!(!verdict.refused.is_empty(), "{name} is taken");
            assert_eq!(Some(verdict.reply.status), case.status, "{name} {:?}", verdict.refused);
            assert_eq!(verdict.accepted.len(), case.accepted, "{name} {:?}", verdict.refused);
            told(&case.answer, &verdict, &name);
        }
    }
}

fn cases(platform: &str) -> Option<Cases> {
    let root = env!("CARGO_MANIFEST_DIR");
    let text = std::fs::read_to_string(format!("{root}/tests/fixtures/{platform}/sandbox.json"));
    Some(serde_json::from_str(&text.ok()?).unwrap_or_else(|error| panic!("{platform}: {error}")))
}

impl Case {
    fn nothing() -> Self {
        serde_json::from_value(serde_json::json!({"what": "nothing"})).unwrap()
    }
}

fn verdict(platform: &str, cases: &Cases, case: &Case) -> Verdict {
    let mut body = cases.body.clone();
    if let Some((pointer, times)) = &case.repeat {
        let items = body.pointer_mut(pointer).and_then(Value::as_array_mut).unwrap();
        *items = vec![items[0].clone(); *times];
    }
    for (pointer, value) in &case.set {
        body = if pointer.is_empty() { value.clone() } else { with(&body, pointer, value.clone()) };
    }
    digest(&mut body);
    let mut headers = cases.headers.clone();
    headers.extend(case.headers.clone());
    let headers: Vec<(String, String)> =
        headers.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect();
    let method = case.method.as_ref().or(cases.method.as_ref()).map_or("POST", String::as_str);
    let method = if method == "GET" { "GET" } else { "POST" };
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let url = case.url.as_ref().unwrap_or(&cases.url);
    check(platform, Request { method, url, headers: &headers, body: &body }, now()).unwrap()
}

/// Puts digests where `sha256:` asks for them.
fn digest(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(word) = text.strip_prefix("sha256:") {
                *text = hash(word);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(digest),
        Value::Object(members) => members.values_mut().for_each(digest),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn told(part: &Value, verdict: &Verdict, name: &str) {
    let answer = super::answer(verdict);
    assert!(holds(part, &answer), "{name}: {answer} lacks {part}");
}

/// Whether a value has all of a part: members of objects, items of lists one by one.
fn holds(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Null, _) => true,
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|it| holds(value, it)))
        }
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(a, b)| holds(a, b))
        }
        (part, whole) => part == whole,
    }
}
