//! Writes answers from a contract's templates.
//!
//! `{name}` in a text is replaced; a text that is nothing but one placeholder becomes the value
//! itself, a number staying a number. `{path|snake}` passes it through a [`filter`]. An object
//! `{"$each": LIST, "$do": T}` becomes a list with T for each entry of a list (`events`,
//! `accepted`, `refused`, `violations`, `warnings`, `later`); a member `{"$if": NAME, "$do": T}`
//! is left out where the name is absent, zero, false or empty.

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
            serde_json::to_vec(&render(body, told, &scopes)).unwrap_or_default()
        }
        (None, Some(text)) => plain(&fill(text, &scopes)).into_bytes(),
        (None, None) => Vec::new(),
    };
    Reply { status: template.status, headers, body }
}

fn render(template: &Value, told: &Told<'_>, scopes: &[&Vars]) -> Value {
    match template {
        Value::String(text) => fill(text, scopes),
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| render(item, told, scopes)).collect())
        }
        Value::Object(members) => {
            if let (Some(Value::String(list)), Some(each)) =
                (members.get("$each"), members.get("$do"))
            {
                let one = |entry: &Vars| render(each, told, &[&[entry][..], scopes].concat());
                return Value::Array((told.list)(list).iter().map(one).collect());
            }
            let member = |(name, value): (&String, &Value)| {
                if let (Some(Value::String(condition)), Some(inner)) =
                    (value.get("$if"), value.get("$do"))
                {
                    let met = says_something(&look_up(condition, scopes));
                    return met.then(|| (name.clone(), render(inner, told, scopes)));
                }
                Some((name.clone(), render(value, told, scopes)))
            };
            Value::Object(members.iter().filter_map(member).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => template.clone(),
    }
}

fn fill(text: &str, scopes: &[&Vars]) -> Value {
    let mut parts = text.split('{');
    let first = parts.next().unwrap_or_default();
    let mut written = first.to_owned();
    for part in parts {
        let Some((name, after)) = part.split_once('}') else {
            written.push('{');
            written.push_str(part);
            continue;
        };
        let value = look_up(name, scopes);
        if first.is_empty() && after.is_empty() && written.is_empty() && text.ends_with('}') {
            return value;
        }
        written.push_str(&plain(&value));
        written.push_str(after);
    }
    Value::String(written)
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

    fn object(value: Value) -> Vars {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn placeholders_lists_and_conditions() {
        let template: Template = serde_json::from_value(json!({
            "status": 207, "headers": {"x-count": "{n}"},
            "body": {"n": "{n}", "text": "{n} of {m}", "odd": "a { b",
                     "list": {"$each": "refused", "$do": {"i": "{index}", "n": "{n}"}},
                     "gone": {"$if": "zero", "$do": 1}, "there": {"$if": "n", "$do": "{says}"}}
        }))
        .unwrap();
        let told = Told {
            vars: object(json!({"n": 2, "m": 3, "zero": 0, "says": "at {m}"})),
            list: &|name| match name {
                "refused" => vec![object(json!({"index": 1}))],
                _ => Vec::new(),
            },
        };
        let reply = write(&template, &told);
        assert_eq!(reply.status, 207);
        assert_eq!(reply.headers[0], ("x-count".to_owned(), "2".to_owned()));
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        let expected = json!({"n": 2, "text": "2 of 3", "odd": "a { b",
            "list": [{"i": 1, "n": 2}], "there": "at 3"});
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
