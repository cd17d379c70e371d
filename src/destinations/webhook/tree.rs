//! A body while it is put together: values at dotted places, in any order, borrowed from the job.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::{
    destinations::wire::{Exact, Json},
    identity::Digest,
};

/// What stands at a place.
#[derive(Debug)]
pub(super) enum Node<'a> {
    Text(Cow<'a, str>),
    Number(Exact),
    Digest(&'a Digest),
    /// What came as JSON.
    Value(Cow<'a, Value>),
    List(Vec<Node<'a>>),
    Tree(Tree<'a>),
}

impl<'a> Node<'a> {
    /// A text of the job.
    pub(super) fn text(text: &'a str) -> Self {
        Node::Text(Cow::Borrowed(text))
    }
}

/// An object whose keys are in the order of their bytes.
#[derive(Debug, Default)]
pub(super) struct Tree<'a>(Vec<(Cow<'a, str>, Node<'a>)>);

/// Members of most objects: growing to them step by step costs more than writing them.
const ROOM: usize = 12;

impl<'a> Tree<'a> {
    /// One that holds nothing yet.
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(ROOM))
    }

    /// Of a JSON object's members.
    pub(super) fn of(members: &'a Map<String, Value>) -> Self {
        let nodes = members
            .iter()
            .map(|(key, value)| (Cow::Borrowed(key.as_str()), Node::Value(Cow::Borrowed(value))));
        Self(nodes.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn place(&self, key: &str) -> Result<usize, usize> {
        // Much comes in order.
        if self.0.last().is_none_or(|(last, _)| last.as_ref() < key) {
            return Err(self.0.len());
        }
        self.0.binary_search_by(|(known, _)| known.as_ref().cmp(key))
    }

    /// Sets a key.
    pub(super) fn set(&mut self, key: impl Into<Cow<'a, str>>, node: Node<'a>) {
        let key = key.into();
        match self.place(&key) {
            Ok(place) => {
                if let Some((_, known)) = self.0.get_mut(place) {
                    *known = node;
                }
            }
            Err(place) => self.0.insert(place, (key, node)),
        }
    }

    /// Sets a dotted place; below what is no object there is none.
    pub(super) fn put(&mut self, path: &'a str, node: Node<'a>) {
        let dot = path.bytes().position(|byte| byte == b'.');
        let Some((first, rest)) =
            dot.and_then(|dot| Some((path.get(..dot)?, path.get(dot + 1..)?)))
        else {
            self.set(path, node);
            return;
        };
        let place = match self.place(first) {
            Ok(place) => place,
            Err(place) => {
                self.0.insert(place, (Cow::Borrowed(first), Node::Tree(Tree::new())));
                place
            }
        };
        if let Some((_, inner)) = self.0.get_mut(place) {
            inner.open();
            if let Node::Tree(inner) = inner {
                inner.put(rest, node);
            }
        }
    }

    /// Takes what a key holds.
    pub(super) fn take(&mut self, key: &str) -> Option<Node<'a>> {
        self.place(key).ok().map(|place| self.0.remove(place).1)
    }

    /// Adds members that are not there, down to the parts of objects (`campaign`).
    pub(super) fn add(&mut self, others: Map<String, Value>) {
        for (key, value) in others {
            let Ok(place) = self.place(&key) else {
                self.set(key, Node::Value(Cow::Owned(value)));
                continue;
            };
            if let (Some((_, known)), Value::Object(more)) = (self.0.get_mut(place), value) {
                known.open();
                if let Node::Tree(inner) = known {
                    inner.add(more);
                }
            }
        }
    }

    /// Its keys and what they hold, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Node<'a>)> {
        self.0.iter().map(|(key, node)| (key.as_ref(), node))
    }
}

impl Node<'_> {
    /// An object that came as JSON becomes one to which keys can be added.
    fn open(&mut self) {
        if let Node::Value(value) = self
            && value.is_object()
        {
            let mut tree = Tree::default();
            if let Value::Object(members) = std::mem::take(value.to_mut()) {
                tree.add(members);
            }
            *self = Node::Tree(tree);
        }
    }
}

impl Json for Node<'_> {
    fn write(&self, json: &mut String) {
        match self {
            Node::Text(text) => text.as_ref().write(json),
            Node::Number(number) => number.write(json),
            Node::Digest(digest) => digest.write(json),
            Node::Value(value) => value.as_ref().write(json),
            Node::List(nodes) => nodes.write(json),
            Node::Tree(tree) => {
                json.push('{');
                for (index, (key, node)) in tree.iter().enumerate() {
                    if index > 0 {
                        json.push(',');
                    }
                    key.write(json);
                    json.push(':');
                    node.write(json);
                }
                json.push('}');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(tree: Tree<'_>) -> Value {
        let mut text = String::new();
        Node::Tree(tree).write(&mut text);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn places_are_made_and_what_came_as_json_is_added_to() {
        let members = json!({"a": {"kept": 1}, "b": 2});
        let mut tree = Tree::of(members.as_object().unwrap());
        tree.put("a.new", Node::text("x"));
        tree.put("b.lost", Node::text("no object"));
        tree.put("c.d.e", Node::text("deep"));
        tree.put("b", Node::text("replaced"));
        let more = json!({"a": {"kept": 9, "other": true}, "b": 3, "z": null});
        tree.add(more.as_object().unwrap().clone());
        let wanted = json!({
            "a": {"kept": 1, "new": "x", "other": true}, "b": "replaced",
            "c": {"d": {"e": "deep"}}, "z": null,
        });
        assert_eq!(written(tree), wanted);
    }
}
