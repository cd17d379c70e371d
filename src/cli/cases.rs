//! The configuration's own cases: an event in, decisions and parts of the requests out.
//!
//! A case is a TOML file in `config/tests/`. Only what it names is compared: a part of an object is
//! enough, a list is compared from its start.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Map, Value};

/// One case as written.
#[derive(Debug)]
pub(super) struct Case {
    /// The time at which it plays.
    pub(super) now: jiff::Timestamp,
    /// The event, as JSON.
    pub(super) event: Value,
    /// What is expected: `status`, `code`, `destinations`.
    pub(super) expect: Value,
}

/// Reads every `*.toml` of a folder, in the order of their names.
///
/// One that cannot be read is an error of its own beside its file; the outer error is the folder's.
pub(super) fn read(folder: &Path) -> anyhow::Result<Vec<(PathBuf, anyhow::Result<Case>)>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| format!("{} cannot be read: it holds the cases", folder.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    files.sort();
    Ok(files.into_iter().map(|file| (file.clone(), one(&file))).collect())
}

fn one(file: &Path) -> anyhow::Result<Case> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("{name} cannot be read"))?;
    let table: toml::Table = text.parse().with_context(|| format!("{name} is not TOML"))?;
    for key in table.keys() {
        anyhow::ensure!(
            matches!(key.as_str(), "name" | "now" | "event" | "expect"),
            "{name}: unknown key {key:?}; a case has now, [event] and [expect]"
        );
    }
    if let Some(toml::Value::Datetime(now)) = table.get("now") {
        anyhow::bail!("{name}: now is a date; write it in quotes: now = \"{now}\"");
    }
    let now = table.get("now").and_then(toml::Value::as_str);
    let now = now
        .with_context(|| format!("{name}: now is missing: a time such as 2026-11-22T04:00:00Z"))?;
    let part = |key: &str| {
        let value = table.get(key).with_context(|| format!("{name}: [{key}] is missing"))?;
        anyhow::Ok(json(value))
    };
    Ok(Case {
        now: now.parse().with_context(|| format!("{name}: now is not a time"))?,
        event: part("event")?,
        expect: part("expect")?,
    })
}

fn json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::from(*number),
        toml::Value::Boolean(flag) => Value::Bool(*flag),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(list) => Value::Array(list.iter().map(json).collect()),
        toml::Value::Table(table) => {
            Value::Object(table.iter().map(|(key, value)| (key.clone(), json(value))).collect())
        }
    }
}

/// Where what `explain` printed differs from what a case expects; empty where it holds.
pub(super) fn differences(expect: &Value, lines: &[Value]) -> Vec<String> {
    let empty = Map::new();
    let expect = expect.as_object().unwrap_or(&empty);
    let mut found = Vec::new();
    // With several plan events a line can be chosen by its name.
    let line = match expect.get("event").and_then(Value::as_str) {
        Some(event) => {
            lines.iter().find(|line| line.get("event").and_then(Value::as_str) == Some(event))
        }
        None => lines.first(),
    };
    let Some(line) = line else {
        return vec!["expect.event: no line of this plan event".to_owned()];
    };
    for (key, wanted) in expect {
        match key.as_str() {
            "destinations" => {
                for (name, wanted) in wanted.as_object().unwrap_or(&empty) {
                    let path = format!("destinations.{name}");
                    match line.pointer(&format!("/destinations/{name}")) {
                        None => found.push(format!("{path}: there is no such destination")),
                        Some(actual) => destination(&path, wanted, actual, &mut found),
                    }
                }
            }
            "code" => {
                let codes: Vec<&Value> =
                    line.get("errors").and_then(Value::as_array).into_iter().flatten().collect();
                if !codes.iter().any(|error| error.get("code") == Some(wanted)) {
                    found.push(format!("code: expected {wanted}, found {}", show(&line["errors"])));
                }
            }
            _ => compare(key, wanted, line.get(key).unwrap_or(&Value::Null), &mut found),
        }
    }
    found
}

fn destination(path: &str, wanted: &Value, actual: &Value, found: &mut Vec<String>) {
    for (key, wanted) in wanted.as_object().into_iter().flatten() {
        let at = format!("{path}.{key}");
        match key.as_str() {
            "reason" => {
                let reasons = actual.get("reasons").and_then(Value::as_array);
                let codes: Vec<&Value> =
                    reasons.into_iter().flatten().filter_map(|reason| reason.get("code")).collect();
                if !codes.contains(&wanted) {
                    let codes: Vec<String> = codes.into_iter().map(show).collect();
                    let codes = if codes.is_empty() { "none".to_owned() } else { codes.join(", ") };
                    found.push(format!("{at}: expected {wanted}, found {codes}"));
                }
            }
            "body" => {
                let requests = actual.get("requests").and_then(Value::as_array);
                let bodies: Vec<&Value> =
                    requests.into_iter().flatten().filter_map(|r| r.get("body")).collect();
                let mut nearest: Option<Vec<String>> = None;
                for body in &bodies {
                    let mut differences = Vec::new();
                    compare(&at, wanted, body, &mut differences);
                    if nearest.as_ref().is_none_or(|n| differences.len() < n.len()) {
                        nearest = Some(differences);
                    }
                }
                found.extend(nearest.unwrap_or_else(|| vec![format!("{at}: nothing is sent")]));
            }
            _ => compare(&at, wanted, actual.get(key).unwrap_or(&Value::Null), found),
        }
    }
}

fn compare(path: &str, wanted: &Value, actual: &Value, found: &mut Vec<String>) {
    match (wanted, actual) {
        (Value::Object(wanted), Value::Object(actual)) => {
            for (key, wanted) in wanted {
                let at = format!("{path}.{key}");
                compare(&at, wanted, actual.get(key).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Array(wanted), Value::Array(actual)) => {
            for (i, wanted) in wanted.iter().enumerate() {
                let at = format!("{path}[{i}]");
                compare(&at, wanted, actual.get(i).unwrap_or(&Value::Null), found);
            }
        }
        // A number is a number however many zeros it is written with.
        (Value::Number(wanted), Value::Number(actual)) if wanted.as_f64() == actual.as_f64() => {}
        (wanted, actual) if wanted == actual => {}
        (wanted, actual) => {
            found.push(format!(
                "{path}:\n      expected {}\n      found    {}",
                show(wanted),
                show(actual)
            ));
        }
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_case_that_cannot_be_read_leaves_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let good = "now = \"2026-11-22T04:00:00Z\"\n[event]\nevent = \"view\"\n[expect]\n";
        std::fs::write(dir.path().join("a.toml"), [0xff, 0xfe]).unwrap();
        std::fs::write(dir.path().join("b.toml"), good).unwrap();
        std::fs::write(dir.path().join("c.toml"), good.replacen('"', "", 2)).unwrap();
        std::fs::create_dir(dir.path().join("d.toml")).unwrap();
        let cases = read(dir.path()).unwrap();
        let found: Vec<bool> = cases.iter().map(|(_, case)| case.is_ok()).collect();
        assert_eq!(found, [false, true, false, false]);
        let why = cases[2].1.as_ref().unwrap_err().to_string();
        assert!(why.ends_with("in quotes: now = \"2026-11-22T04:00:00Z\""), "{why}");
    }

    #[test]
    fn only_what_a_case_names_is_compared() {
        let lines = [json!({
            "event": "purchase", "status": "accepted",
            "destinations": {"a": {
                "decision": "send", "reasons": [{"code": "fields_removed"}],
                "requests": [{"body": {"data": [{"event_id": "1", "value": 12.50}, {"event_id": "2"}]}}]
            }}
        })];
        let holds = json!({"status": "accepted", "destinations": {"a": {
            "decision": "send", "reason": "fields_removed",
            "body": {"data": [{"value": 12.5}]}
        }}});
        assert_eq!(differences(&holds, &lines), Vec::<String>::new());
        let fails = json!({"status": "rejected", "destinations": {
            "a": {"reason": "opted_out", "body": {"data": [{"value": 13}]}}, "b": {}
        }});
        let found = differences(&fails, &lines);
        assert_eq!(found.len(), 4, "{found:#?}");
        let reason = "destinations.a.reason: expected \"opted_out\", found \"fields_removed\"";
        assert!(found.iter().any(|line| line == reason), "{found:#?}");
        assert!(found.iter().any(|line| line.contains("data[0].value")), "{found:#?}");
    }
}
