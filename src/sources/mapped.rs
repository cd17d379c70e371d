//! A webhook of any sender: the field map of the configuration, body → event. What a key holds is a
//! path into the body (`customer.email`) or a CEL expression over it (`body.amount / 100.0`).

use serde_json::Value;

use super::{Asked, Envelope, Outcome, Rejection, RejectionCode, json::Node, words::Words};
use crate::config::{FieldMap, FieldSource, takes_numbers_as_text};

/// The event of a body. Without a map the body is an event of the relay's own.
pub fn read<'a>(map: &FieldMap, body: &Node<'a>, envelope: &Envelope<'_>) -> Outcome<'a> {
    let mut words = Words::default();
    let site = envelope.site.unwrap_or_default().to_owned();
    if map.is_empty() {
        let Node::Object(members) = body else {
            let message = format!("expected an event, not {}", body.kind());
            return Err(Rejection::new(RejectionCode::InvalidField, message, ""));
        };
        words.say("site", site);
        for (key, node) in members.iter().filter(|(key, _)| key != "site") {
            words.member(key.clone(), node.clone());
        }
        return Ok(Some(words.told(Asked::default())));
    }
    let computes = map.iter().any(|(_, source)| matches!(source, FieldSource::Computed(_)));
    let value = if computes { value(body) } else { Value::Null };
    let mut failed = Vec::new();
    for (key, source) in map.iter() {
        match source {
            FieldSource::Path(path) => {
                let node = step(body, path);
                let theirs = format!("/{}", path.join("/"));
                match node {
                    // Numbers are texts where a text belongs; amounts stay numbers.
                    Some(Node::Number(_)) if takes_numbers_as_text(key) => {
                        words.put_text(key, node, &theirs);
                    }
                    node => words.put(key, node, &theirs),
                }
            }
            FieldSource::Computed(expression) => {
                // What fails is missing, with a word about it: nobody sees a value that is not there.
                // Why it failed is not said: that may name a part of the body.
                let result = expression.over_body(value.clone()).unwrap_or_else(|_| {
                    let source = expression.source();
                    failed.push(format!("{key}: `{source}` cannot be computed from this body"));
                    Value::Null
                });
                let node = node(result);
                match node {
                    Node::Number(_) if takes_numbers_as_text(key) => {
                        words.put_text(key, Some(&node), "");
                    }
                    node => words.put(key, Some(&node), ""),
                }
            }
        }
    }
    words.say("site", site);
    words.count_items();
    Ok(Some(words.told(Asked { failed, ..Asked::default() })))
}

/// The id of a delivery, where the configuration says in which place of the body it stands.
pub fn delivery_id<'n>(path: &[String], body: &'n Node<'_>) -> Option<std::borrow::Cow<'n, str>> {
    match step(body, path)? {
        Node::Text(text) => {
            Some(text.trim().into()).filter(|id: &std::borrow::Cow<'_, str>| !id.is_empty())
        }
        Node::Number(number) => Some(number.as_ref().into()),
        Node::Null | Node::Bool(_) | Node::List(_) | Node::Object(_) | Node::Flawed(_) => None,
    }
}

fn step<'n, 'a>(body: &'n Node<'a>, path: &[String]) -> Option<&'n Node<'a>> {
    path.iter().try_fold(body, |node, key| match node {
        Node::List(members) => members.get(key.parse::<usize>().ok()?),
        other => other.get(key),
    })
}

fn value(node: &Node<'_>) -> Value {
    match node {
        Node::Null | Node::Flawed(_) => Value::Null,
        Node::Bool(value) => Value::Bool(*value),
        Node::Number(number) => number.parse().map_or(Value::Null, Value::Number),
        Node::Text(text) => Value::from(text.as_ref()),
        Node::List(members) => members.iter().map(value).collect(),
        Node::Object(members) => Value::Object(
            members.iter().map(|(key, node)| (key.to_string(), value(node))).collect(),
        ),
    }
}

fn node<'a>(value: Value) -> Node<'a> {
    match value {
        Value::Null => Node::Null,
        Value::Bool(value) => Node::Bool(value),
        Value::Number(number) => Node::Number(number.to_string().into()),
        Value::String(text) => Node::Text(text.into()),
        Value::Array(members) => Node::List(members.into_iter().map(node).collect()),
        Value::Object(members) => {
            Node::Object(members.into_iter().map(|(key, one)| (key.into(), node(one))).collect())
        }
    }
}
