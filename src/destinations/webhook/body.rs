//! The body of one event, as the template says: what is absent leaves no key.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{
    fields::{Content, Fields, Group},
    tree::{Node, Tree},
};
use crate::{
    consent::Purpose,
    destinations::wire::{self, Object},
    event::{AdjustmentKind, Field, FieldSet, Item},
    job::{Prepared, Sent},
};

/// Writes it.
pub(super) fn of(fields: &Fields, job: &Prepared, name: &str) -> Object {
    let mut other = job.other();
    // Results first, so that `properties` holds the sender's own only.
    let computed: Map<_, _> = if fields.has_computed() {
        let (computed, own) = other.into_iter().partition(|(key, _)| fields.is_computed(key));
        other = own;
        computed
    } else {
        Map::new()
    };
    let present = job.present();
    let mut body = Tree::new();
    for (key, source) in fields.iter() {
        if let (Content::Computed(_), Some(value)) = (source, computed.get(key)) {
            body.put(key, Node::Value(Cow::Borrowed(value)));
        }
    }
    for (key, source) in fields.iter() {
        let node = match source {
            Content::Event => Some(Node::Text(Cow::Owned(name.to_owned()))),
            Content::EventId => Some(Node::text(&job.event_id)),
            Content::Timestamp => Some(Node::Text(Cow::Owned(job.time.to_string()))),
            Content::Site => Some(Node::text(&job.site)),
            Content::ActionSource => Some(Node::text(job.action_source.name())),
            Content::TransactionId => Some(Node::text(&job.transaction_id)),
            Content::Value => {
                put_currencies(fields, &mut body, key, job);
                job.value.map(|value| Node::Number(wire::number(value.amount)))
            }
            Content::Currency => job.value.as_ref().map(|value| Node::text(value.currency.code())),
            Content::Consent => Some(Node::Tree(consent(job))),
            Content::Adjusts(key) => adjusts(job).and_then(|mut all| match key {
                Some(key) => all.take(key),
                None => Some(Node::Tree(all)),
            }),
            Content::Field(field) => one(job, *field, &other),
            Content::Group(it) => group(job, it, present, &other),
            Content::Property(name) => {
                other.get(name).map(|value| Node::Value(Cow::Borrowed(value)))
            }
            Content::Context(field, below) => match one(job, *field, &other) {
                Some(Node::Value(value)) => {
                    value.pointer(below).map(|value| Node::Value(Cow::Owned(value.clone())))
                }
                _ => None,
            },
            Content::Computed(_) => None,
        };
        if let Some(node) = node {
            body.put(key, node);
        }
    }
    let mut object = Object::large();
    body.iter().for_each(|(key, node)| object.insert(key, node));
    object
}

/// A value in the body's first level has its currency beside it, unless the currency has a key
/// of its own; a calibrated one follows, never in its place.
fn put_currencies<'a>(fields: &Fields, body: &mut Tree<'a>, key: &str, job: &'a Prepared) {
    if key != "value" {
        return;
    }
    let has_own = fields.iter().any(|(_, source)| matches!(source, Content::Currency));
    if let Some(value) = job.value.as_ref().filter(|_| !has_own) {
        body.set("currency", Node::text(value.currency.code()));
    }
    if let Some(calibrated) = &job.calibrated {
        body.set("calibrated_value", Node::Number(wire::number(calibrated.amount)));
        body.set("calibrated_currency", Node::text(calibrated.currency.code()));
    }
}

/// One field's value: hashes as they are, several as a list, amounts as numbers.
fn one<'a>(job: &'a Prepared, field: Field, other: &'a Map<String, Value>) -> Option<Node<'a>> {
    match field {
        Field::Currency => return job.currency.as_ref().map(|code| Node::text(code.code())),
        Field::Items | Field::ItemNames => {
            let items: Vec<Node<'_>> =
                job.items.iter().map(|item| Node::Tree(product(item))).collect();
            return (!items.is_empty()).then_some(Node::List(items));
        }
        Field::OtherProperties => {
            return (!other.is_empty()).then(|| Node::Tree(Tree::of(other)));
        }
        _ => {}
    }
    if let Some(amount) = job.amount(field) {
        return Some(Node::Number(wire::number(amount)));
    }
    let mut values = job.texts.iter().filter(|(f, _)| *f == field).map(|(_, sent)| match sent {
        Sent::Clear(text) if field.holds_json() => {
            Node::Value(Cow::Owned(serde_json::from_str(text).unwrap_or_default()))
        }
        Sent::Clear(text) => Node::text(text),
        Sent::Hashed(digest) => Node::Digest(digest),
    });
    let first = values.next()?;
    match values.next() {
        None => Some(first),
        Some(second) => Some(Node::List([first, second].into_iter().chain(values).collect())),
    }
}

/// Every field below a path, as an object of the same shape; free properties beside the others.
fn group<'a>(
    job: &'a Prepared,
    group: &'a Group,
    present: FieldSet,
    other: &'a Map<String, Value>,
) -> Option<Node<'a>> {
    let mut tree = if group.path == "properties" { Tree::of(other) } else { Tree::new() };
    for (field, below) in &group.members {
        // The currency is no field of its own in a job.
        if !present.contains(*field) && *field != Field::Currency {
            continue;
        }
        let Some(node) = one(job, *field, other) else { continue };
        match (*below, node) {
            ("*", Node::Value(value)) => {
                if let Value::Object(others) = value.into_owned() {
                    tree.add(others);
                }
            }
            ("*", _) => {}
            (below, node) => tree.put(below, node),
        }
    }
    (!tree.is_empty()).then_some(Node::Tree(tree))
}

/// The sender's own keys, and the known ones in their place.
fn product(item: &Item) -> Tree<'_> {
    let mut product = Tree::new();
    if !item.other.is_empty() {
        product.add(serde_json::from_str(&item.other).unwrap_or_default());
    }
    let texts = [
        ("id", &item.id),
        ("name", &item.name),
        ("brand", &item.brand),
        ("category", &item.category),
        ("variant", &item.variant),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            product.set(key, Node::text(text));
        }
    }
    let numbers = [("quantity", item.quantity), ("price", item.price), ("discount", item.discount)];
    for (key, number) in numbers {
        if let Some(number) = number {
            product.set(key, Node::Number(wire::number(number)));
        }
    }
    product
}

/// Which order an adjustment is about, and what of it. Without an amount a refund is of all of it.
fn adjusts(job: &Prepared) -> Option<Tree<'_>> {
    let adjusts = job.adjusts.as_ref()?;
    let kind = match adjusts.kind {
        AdjustmentKind::Refund => "refund",
        AdjustmentKind::Cancel => "cancel",
        AdjustmentKind::Restate => "restate",
    };
    let currency = job.currency.as_ref().filter(|_| adjusts.amount.is_some());
    let said = [
        ("order_id", adjusts.order_id.as_deref().map(Node::text)),
        ("event_id", adjusts.event_id.as_deref().map(Node::text)),
        ("type", Some(Node::text(kind))),
        ("amount", adjusts.amount.map(|amount| Node::Number(wire::number(amount)))),
        ("currency", currency.map(|currency| Node::text(currency.code()))),
        ("timestamp", adjusts.at.map(|at| Node::Text(Cow::Owned(at.to_string())))),
    ];
    let mut tree = Tree::default();
    for (key, node) in said {
        if let Some(node) = node {
            tree.set(key, node);
        }
    }
    Some(tree)
}

fn consent(job: &Prepared) -> Tree<'_> {
    let mut grants = Tree::new();
    for (purpose, name) in Purpose::ALL {
        grants.set(name, Node::text(job.flags.grants.get(purpose).name()));
    }
    grants
}
