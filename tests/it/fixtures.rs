//! Fixtures: an event in, the exact request out; an answer in, the outcomes out.
//!
//! `tests/fixtures/PLATFORM/CASE/event.json` (with a `settings.toml` of its own, or the platform's) →
//! `request.snap`, and
//! `tests/fixtures/PLATFORM/responses/NAME.json` → `NAME.snap`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken fixture is a failed test"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use conversion_relay::{
    destinations::{
        Answer, Call, CallPurpose, Destination, Outcome, Platform, REGISTRY, Refusal, Response,
    },
    sandbox::{self, Request},
};
use serde_json::{Value, json};

#[path = "../fixtures/mod.rs"]
pub(crate) mod support;

const CASES: [&str; 4] = ["purchase", "minimal", "micro", "opted_out"];
const RESPONSES: [&str; 7] =
    ["ok", "partial", "invalid", "unauthorized", "throttled", "server_error", "garbage"];

#[test]
fn every_platform_has_its_fixtures() {
    for platform in REGISTRY {
        let folder = support::folder(platform.name);
        for case in CASES {
            assert!(folder.join(case).join("event.json").exists(), "{} {case}", platform.name);
        }
        for name in RESPONSES {
            let file = folder.join("responses").join(format!("{name}.json"));
            assert!(file.exists(), "{}", file.display());
        }
    }
}

#[test]
fn requests() {
    for platform in REGISTRY {
        let folder = support::folder(platform.name);
        for case in names(&folder, "") {
            let path = folder.join(&case);
            if case == "responses" || !path.join("event.json").exists() {
                continue;
            }
            snapshot(&path, "request", &request(platform, &path));
        }
    }
}

/// What we write is held against the contract, which was written from the platform's pages.
#[test]
fn the_sandbox_takes_every_request() {
    for platform in REGISTRY {
        let folder = support::folder(platform.name);
        for case in names(&folder, "") {
            let path = folder.join(&case);
            if case == "responses" || !path.join("event.json").exists() {
                continue;
            }
            for call in calls(platform, &path) {
                let request = Request {
                    method: call.method,
                    url: &call.url,
                    headers: &call.headers,
                    body: &call.body,
                };
                let verdict = sandbox::check(platform.name, request, support::now()).unwrap();
                let name = platform.name;
                assert!(verdict.is_accepted(), "{name} {case}: {:?}", verdict.refused);
                assert!(verdict.warnings.is_empty(), "{name} {case}: {:?}", verdict.warnings);
            }
        }
    }
}

fn calls(platform: &Platform, case: &Path) -> Vec<Call> {
    let destination = destination(platform, case);
    let event = support::event(&fs::read_to_string(case.join("event.json")).unwrap());
    let (_, prepared) = support::prepare(&*destination, platform, &event);
    prepared.map_or_else(
        |_| Vec::new(),
        |preparation| destination.assemble(&[preparation.prepared], support::now()),
    )
}

fn destination(platform: &Platform, case: &Path) -> Box<dyn Destination> {
    if case.join("settings.toml").exists() {
        support::destination_of(platform, case)
    } else {
        support::destination(platform)
    }
}

/// Every recorded answer of a platform, classified.
fn answers(platform: &Platform) -> BTreeMap<String, (usize, Answer)> {
    let destination = support::destination(platform);
    let folder = support::folder(platform.name).join("responses");
    let read = |name: String| {
        let text = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        let fixture: Value = serde_json::from_str(&text).unwrap();
        for key in ["page", "made"] {
            assert!(fixture[key].is_string(), "{} {name} says no {key}", platform.name);
        }
        let call = call(platform, &fixture);
        let answer = destination.classify(&call, &response(&fixture), support::now());
        (name, (call.members.len(), answer))
    };
    names(&folder, ".json").into_iter().map(read).collect()
}

/// At least eight answers a platform, and of each kind one: taken, refused, wait, out of order,
/// not allowed.
#[test]
fn every_kind_of_answer_is_recorded() {
    for platform in REGISTRY {
        let answers = answers(platform);
        assert!(answers.len() >= 8, "{} has {} answers", platform.name, answers.len());
        let some = |is: fn(&Outcome) -> bool| {
            answers.values().any(|(_, answer)| answer.outcomes.iter().any(is))
        };
        let kinds = [
            ("delivered", some(|it| matches!(it, Outcome::Delivered))),
            (
                "refused",
                some(|it| matches!(it, Outcome::Rejected { .. } | Outcome::CulpritUnknown { .. })),
            ),
            ("throttled", some(|it| matches!(it, Outcome::Throttled { .. }))),
            ("unavailable", some(|it| matches!(it, Outcome::Unavailable { .. }))),
            ("paused", some(|it| matches!(it, Outcome::Paused))),
        ];
        let missing: Vec<&str> =
            kinds.iter().filter(|(_, is_there)| !is_there).map(|(name, _)| *name).collect();
        assert!(missing.is_empty(), "{} has no answer that is {missing:?}", platform.name);
    }
}

#[test]
fn outcomes() {
    for platform in REGISTRY {
        let folder = support::folder(platform.name).join("responses");
        for (name, (members, answer)) in answers(platform) {
            assert_eq!(answer.outcomes.len(), members);
            let mut shown = String::new();
            for outcome in &answer.outcomes {
                writeln!(shown, "{outcome:?}").unwrap();
            }
            writeln!(shown, "fault: {:?}", answer.fault).unwrap();
            writeln!(shown, "follow-up: {:?}", answer.follow_up).unwrap();
            for note in &answer.notes {
                writeln!(shown, "{note:?}").unwrap();
            }
            snapshot(&folder, &name, &shown);
        }
    }
}

/// What leaves for one event, or why nothing does.
fn request(platform: &Platform, case: &Path) -> String {
    let destination = destination(platform, case);
    let event = support::event(&fs::read_to_string(case.join("event.json")).unwrap());
    let (decision, prepared) = support::prepare(&*destination, platform, &event);
    let shown = match prepared {
        Ok(preparation) => {
            let prepared = preparation.prepared;
            let calls = destination.assemble(std::slice::from_ref(&prepared), support::now());
            calls.iter().for_each(|call| is_taken(platform, case, call));
            let mut shown = json!({
                "reasons": decision.reasons.iter().map(|r| r.code.name()).collect::<Vec<_>>(),
                "dropped": preparation.dropped.iter()
                    .map(|(field, why)| format!("{field:?}: {why}")).collect::<Vec<_>>(),
                "group": prepared.group,
                "expires_at": prepared.expires_at.to_string(),
                "requests": calls.iter().map(shown).collect::<Vec<_>>(),
            });
            if !preparation.left_out.is_empty() {
                shown["left_out"] = json!(preparation.left_out);
            }
            shown
        }
        Err(Refusal::Skip(skip)) => json!({"skip": skip.code.name(), "message": skip.message}),
        Err(Refusal::Held(code, message)) => json!({"held": code.name(), "message": message}),
    };
    serde_json::to_string_pretty(&shown).unwrap()
}

/// What is sent is what the platform's contract takes.
fn is_taken(platform: &Platform, case: &Path, call: &Call) {
    let (url, headers, body) = (&call.url, &call.headers, &call.body);
    let request = Request { method: call.method, url, headers, body };
    let verdict = sandbox::check(platform.name, request, support::now()).unwrap();
    assert!(verdict.is_accepted(), "{} {:?}", case.display(), verdict.refused);
}

fn shown(call: &Call) -> Value {
    json!({
        "method": call.method,
        "url": call.url,
        "headers": call.headers,
        "body": if call.method == "GET" && call.body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice::<Value>(&call.body).unwrap()
        },
        "members": call.members,
    })
}

/// A call of three events, or what the fixture says.
fn call(platform: &Platform, fixture: &Value) -> Call {
    let destination = support::destination(platform);
    let path = support::folder(platform.name).join("purchase/event.json");
    let event = support::event(&fs::read_to_string(path).unwrap());
    let (_, prepared) = support::prepare(&*destination, platform, &event);
    let jobs = vec![prepared.unwrap().prepared; 3];
    let mut call = destination.assemble(&jobs, support::now()).remove(0);
    if let Some(members) = fixture["members"].as_u64() {
        call.members = (0..usize::try_from(members).unwrap()).collect();
    }
    if fixture["of"] == "follow_up" {
        call.purpose = CallPurpose::FollowUp;
        call.members.clear();
        call.url = format!("{}#events=3&attempt=0", fixture["url"].as_str().unwrap());
    }
    if let Some(url) = fixture["url"].as_str().filter(|_| fixture["of"].is_null()) {
        url.clone_into(&mut call.url);
    }
    call
}

fn response(fixture: &Value) -> Response {
    let headers = fixture["headers"].as_object().cloned().unwrap_or_default();
    let body = match &fixture["body"] {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        json => json.to_string().into_bytes(),
    };
    Response {
        status: u16::try_from(fixture["status"].as_u64().unwrap()).unwrap(),
        headers: headers
            .into_iter()
            .map(|(name, value)| (name, value.as_str().unwrap().to_owned()))
            .collect(),
        body,
    }
}

/// Names in a folder with an ending, without it, in order.
fn names(folder: &Path, ending: &str) -> BTreeSet<String> {
    fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(ending).map(str::to_owned)
        })
        .collect()
}

fn snapshot(folder: &Path, name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
