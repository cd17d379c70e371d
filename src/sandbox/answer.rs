//! Writes answers from a contract's templates.
//!
//! `{name}` in a text is replaced; a text that is nothing but one placeholder becomes the value
//! itself, a number staying a number. `{path|snake}` passes it through a [`filter`]. Objects with
//! these members are directives:
//!
//! - `{"$each": LIST, "$do": T}` becomes a list with T for each entry of `events`, `accepted`,
//!   `refused`, `violations`, `warnings` or `later`;
//! - `{"$join": LIST, "$do": T}` becomes one text of them, with `$with` between them, after
//!   `$before` and before `$after`;
//! - `{"$if": NAME, "$do": T, "$else": T}` becomes the first T, or the second where the name is
//!   absent, zero, false or empty; without a second one it is left out.

use serde_json::{Map, Value};

use super::contract::Template;

/// Values by name.
pub(super) type Vars = Map<String, Value>;

/// What a template can speak of.
pub(super) struct Told<'a> {
    /// Of the request.
    pub(super) vars: Vars,
    /// A list by its name, each entry with names of its own; made only where a template asks.
    pub(super) list: &'a dyn Fn(&str) -> Vec<Vars>,
}

/// An answer, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Writes an answer.
pub(super) fn write(template: &Template, told: &Told<'_>) -> Reply {
    let scopes = [&told.vars];
    let mut headers: Vec<_> = template
        .headers
        .iter()
        .map(|(name, text)| (name.clone(), plain(&fill(text, &scopes))))
        .collect();
    let body = match (&template.body, &template.text) {
        (Some(body), _) => {
            if !template.headers.contains_key("content-type") {
                headers.push(("content-type".to_owned(), "application/json".to_owned()));
            }
            serde_json::to_vec(&render(body, told, &scopes).unwrap_or_default()).unwrap_or_default()
        }
        (None, Some(text)) => plain(&fill(text, &scopes)).into_bytes(),
        (None, None) => Vec::new(),
    };
    Reply { status: template.status, headers, body }
}

/// `None`: left out.
fn render(template: &Value, told: &Told<'_>, scopes: &[&Vars]) -> Option<Value> {
    match template {
        Value::String(text) => Some(fill(text, scopes)),
        Value::Array(items) => {
            Some(Value::Array(items.iter().filter_map(|it| render(it, told, scopes)).collect()))
        }
        Value::Object(members) => directive(members, told, scopes).unwrap_or_else(|| {
            let member = |(name, value): (&String, &Value)| {
                Some((name.clone(), render(value, told, scopes)?))
            };
            Some(Value::Object(members.iter().filter_map(member).collect()))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(template.clone()),
    }
}

/// Outer `None`: the object is no directive.
fn directive(members: &Vars, told: &Told<'_>, scopes: &[&Vars]) -> Option<Option<Value>> {
    let word = |name: &str| members.get(name).and_then(Value::as_str);
    let inner = members.get("$do")?;
    if let Some(condition) = word("$if") {
        let met = says_something(&look_up(condition, scopes));
        let chosen = if met { Some(inner) } else { members.get("$else") };
        return Some(chosen.and_then(|chosen| render(chosen, told, scopes)));
    }
    let list = word("$each").or(word("$join"))?;
    let entries = (told.list)(list);
    let each = entries.iter().filter_map(|entry| {
        let scopes = [&[entry][..], scopes].concat();
        render(inner, told, &scopes)
    });
    if members.contains_key("$each") {
        return Some(Some(Value::Array(each.collect())));
    }
    let parts: Vec<String> = each.map(|value| plain(&value)).collect();
    let edge = |name: &str| word(name).map(|text| plain(&fill(text, scopes))).unwrap_or_default();
    let joined = parts.join(word("$with").unwrap_or_default());
    Some(Some(Value::String(format!("{}{joined}{}", edge("$before"), edge("$after")))))
}

fn fill(text: &str, scopes: &[&Vars]) -> Value {
    let alone = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    if let Some(name) = alone.filter(|name| !name.contains(['{', '}', ' '])) {
        return look_up(name, scopes);
    }
    let mut parts = text.split('{');
    let mut written = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('}') {
            // A placeholder is a name; any other brace stands for itself.
            Some((name, after)) if !name.is_empty() && name.bytes().all(is_of_a_name) => {
                written.push_str(&plain(&look_up(name, scopes)));
                written.push_str(after);
            }
            _ => {
                written.push('{');
                written.push_str(part);
            }
        }
    }
    Value::String(written)
}

fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'|')
}

fn look_up(name: &str, scopes: &[&Vars]) -> Value {
    let (name, style) = name.split_once('|').unwrap_or((name, ""));
    let found = scopes.iter().find_map(|vars| vars.get(name)).cloned().unwrap_or(Value::Null);
    match found {
        // A code's own words may speak of the path and the index.
        Value::String(text) if text.contains('{') && !text.contains(&format!("{{{name}")) => {
            fill(&text, scopes)
        }
        Value::String(text) if !style.is_empty() => Value::String(filter(style, &text)),
        other => other,
    }
}

/// Writes a path such as `events[3].userData.emails[0]` in a platform's way.
fn filter(style: &str, path: &str) -> String {
    match style {
        // `events[3].user_data.emails[0]`
        "snake" => {
            let mut snake = String::with_capacity(path.len() + 4);
            for c in path.chars() {
                if c.is_ascii_uppercase() {
                    snake.push('_');
                }
                snake.push(c.to_ascii_lowercase());
            }
            snake
        }
        // `events.3.userData.emails.0`
        "dots" => path.replace('[', ".").replace(']', ""),
        // `/userData/emails/0`, below the event
        "pointer" => {
            let below = path.split_once("].").map_or(path, |(_, below)| below);
            format!("/{}", below.replace('[', "/").replace(']', "").replace('.', "/"))
        }
        // `events.userData.emails`
        "names" => path
            .split('[')
            .map(|part| part.split_once(']').map_or(part, |(_, after)| after))
            .collect(),
        // `emails`
        "last" => path
            .rsplit('.')
            .next()
            .and_then(|last| last.split('[').next())
            .unwrap_or_default()
            .to_owned(),
        _ => path.to_owned(),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64() != Some(0.0),
        other => super::find::is_present(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: &Value) -> Vars {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn placeholders_lists_and_conditions() {
        let template: Template = serde_json::from_value(json!({
            "status": 207, "headers": {"x-count": "{n}"},
            "body": {"n": "{n}", "text": "{n} of {m}", "both": "{n}{m}", "json": "{\"a\":{n}}", "odd": "a { b",
                     "list": {"$each": "refused", "$do": {"i": "{index}", "n": "{n}"}},
                     "gone": {"$if": "zero", "$do": 1},
                     "else": {"$if": "zero", "$do": 1, "$else": "{m}"},
                     "joined": {"$join": "refused", "$do": "#{index}", "$with": ", ", "$before": "["},
                     "there": {"$if": "n", "$do": "{says}"}}
        }))
        .unwrap();
        let told = Told {
            vars: object(&json!({"n": 2, "m": 3, "zero": 0, "says": "at {m}"})),
            list: &|name| match name {
                "refused" => vec![object(&json!({"index": 1}))],
                _ => Vec::new(),
            },
        };
        let reply = write(&template, &told);
        assert_eq!(reply.status, 207);
        assert_eq!(reply.headers[0], ("x-count".to_owned(), "2".to_owned()));
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        let expected = json!({"n": 2, "text": "2 of 3", "both": "23", "json": "{\"a\":2}", "odd": "a { b",
            "list": [{"i": 1, "n": 2}], "else": 3, "joined": "[#1", "there": "at 3"});
        assert_eq!(body, expected);
    }

    #[test]
    fn paths_are_written_in_each_platforms_way() {
        let path = "events[3].userData.emails[0]";
        assert_eq!(filter("snake", path), "events[3].user_data.emails[0]");
        assert_eq!(filter("dots", path), "events.3.userData.emails.0");
        assert_eq!(filter("pointer", path), "/userData/emails/0");
        assert_eq!(filter("names", path), "events.userData.emails");
        assert_eq!(filter("last", path), "emails");
    }
}
