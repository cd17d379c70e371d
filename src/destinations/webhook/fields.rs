//! The body's template: paths of the event, and CEL over it.

use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use crate::{
    consent::{Permit, Purpose},
    destinations::{
        Occasion, Problem,
        wire::{self, Object},
    },
    event::{AdjustmentKind, Event, Field, FieldSet, Item},
    expression::{Expression, Facts},
    job::{Prepared, Sent},
};

/// What is sent where `fields` does not say.
const DEFAULT: [&str; 9] = [
    "event",
    "event_id",
    "timestamp",
    "site",
    "value",
    "properties",
    "user.external_id",
    "lead",
    "adjusts",
];

/// What an adjustment says, below `adjusts`.
const ADJUSTS: [&str; 6] = ["order_id", "event_id", "type", "amount", "currency", "timestamp"];

/// The keys of a body and what each holds.
#[derive(Debug)]
pub(super) struct Fields(Vec<(String, Content)>);

#[derive(Debug)]
enum Content {
    Event,
    EventId,
    Timestamp,
    Site,
    ActionSource,
    /// The value decided by the plan.
    Value,
    /// Its currency.
    Currency,
    TransactionId,
    /// The four purposes.
    Consent,
    /// What an adjustment says: all of it, or one of [`ADJUSTS`].
    Adjusts(Option<&'static str>),
    Field(Field),
    /// Every field below a path.
    Group(String),
    /// A property without a field of its own.
    Property(String),
    /// Context without a field of its own, by the pointer below the field that holds it.
    Context(Field, String),
    Computed(Expression),
}

impl Content {
    fn parse(path: &str) -> Option<Self> {
        let source = match path {
            "event" => Content::Event,
            "event_id" => Content::EventId,
            "timestamp" => Content::Timestamp,
            "site" => Content::Site,
            "action_source" => Content::ActionSource,
            "value" => Content::Value,
            "currency" => Content::Currency,
            "transaction_id" => Content::TransactionId,
            "consent" => Content::Consent,
            "adjusts" => Content::Adjusts(None),
            path if path.starts_with("adjusts.") => {
                let key = path.strip_prefix("adjusts.")?;
                Content::Adjusts(Some(ADJUSTS.into_iter().find(|known| *known == key)?))
            }
            path => match Field::parse(path) {
                Some(field) => Content::Field(field),
                None if FieldSet::group(path).is_some() => Content::Group(path.to_owned()),
                None if path.starts_with("context.") => below_context(path)?,
                None => {
                    let name = path.strip_prefix("properties.")?;
                    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
                    Content::Property(
                        Some(name).filter(|n| !n.is_empty() && n.bytes().all(plain))?.to_owned(),
                    )
                }
            },
        };
        Some(source)
    }
}

/// `context.NAME`, of which more may follow (`context.experiment.checkout`).
fn below_context(path: &str) -> Option<Content> {
    let names = path.strip_prefix("context.")?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let is_plain = names.split('.').all(|name| !name.is_empty() && name.bytes().all(plain));
    let (field, below) = match names.strip_prefix("experiment.") {
        Some(rest) => (Field::Experiment, rest),
        None => (Field::OtherContext, names),
    };
    is_plain.then(|| Content::Context(field, format!("/{}", below.replace('.', "/"))))
}

impl Fields {
    /// Reads `fields`: a list of paths, each of which keeps its place in the body, or a table.
    pub(super) fn read(setting: Option<&toml::Value>, problems: &mut Vec<Problem>) -> Self {
        let mut fields = Vec::new();
        let mut path = |path: &str, problems: &mut Vec<Problem>| match Content::parse(path) {
            Some(source) => fields.push((path.to_owned(), source)),
            None => {
                let message = format!("{path:?} is no path of an event, such as user.email");
                problems.push(Problem::new("fields", message));
            }
        };
        match setting {
            None => DEFAULT.iter().for_each(|default| path(default, problems)),
            Some(toml::Value::Array(list)) => {
                for entry in list {
                    match entry.as_str() {
                        Some(text) => path(text, problems),
                        None => problems.push(Problem::new("fields", "must list paths as texts")),
                    }
                }
            }
            Some(toml::Value::Table(table)) => {
                for (key, value) in table {
                    let place = || format!("fields.{key}");
                    let Some(text) = value.as_str() else {
                        problems.push(Problem::new(place(), "must be a path or a CEL expression"));
                        continue;
                    };
                    let source = match Content::parse(text) {
                        Some(source) => source,
                        None => match Expression::compile(text, false) {
                            Ok(expression) => Content::Computed(expression),
                            Err(error) => {
                                let message = format!("is neither a path nor CEL: {error}");
                                problems.push(Problem::new(place(), message));
                                continue;
                            }
                        },
                    };
                    fields.push((key.clone(), source));
                }
            }
            Some(_) => {
                let message = "must be a list of paths, or a table { key = \"path or CEL\" }";
                problems.push(Problem::new("fields", message));
            }
        }
        Self(fields)
    }

    /// The event's fields that the body can hold.
    pub(super) fn chosen(&self) -> FieldSet {
        let mut set = FieldSet::EMPTY;
        for (_, source) in &self.0 {
            let more = match source {
                Content::Field(Field::Items | Field::ItemNames) => {
                    FieldSet::of(&[Field::Items, Field::ItemNames])
                }
                Content::Field(field) => FieldSet::of(&[*field]),
                Content::Group(path) => FieldSet::group(path).unwrap_or_default(),
                Content::Property(_) => FieldSet::of(&[Field::OtherProperties]),
                Content::Context(field, _) => FieldSet::of(&[*field]),
                _ => FieldSet::EMPTY,
            };
            set = set.union(more);
        }
        set
    }

    /// What the body holds of the event besides [`Fields::chosen`]: what the relay decides, and all
    /// that a formula may look at.
    pub(super) fn beside(&self) -> FieldSet {
        let mut set = FieldSet::EMPTY;
        for (_, source) in &self.0 {
            let more = match source {
                Content::Value => FieldSet::of(&[Field::Value, Field::Currency]),
                Content::Currency => FieldSet::of(&[Field::Currency]),
                Content::TransactionId => FieldSet::of(&[Field::OrderId]),
                Content::Adjusts(_) => {
                    FieldSet::of(&[Field::OrderId, Field::Value, Field::Currency])
                }
                Content::Computed(_) => ["properties", "context", "lead", "user.customer_type"]
                    .into_iter()
                    .filter_map(FieldSet::group)
                    .fold(FieldSet::EMPTY, FieldSet::union),
                _ => FieldSet::EMPTY,
            };
            set = set.union(more);
        }
        set
    }

    /// Evaluates the CEL fields over what the permit leaves of the event; a result is kept where a
    /// property of its name may leave. What fails is left out.
    pub(super) fn compute(
        &self,
        prepared: &mut Prepared,
        occasion: &Occasion<'_>,
        permit: &Permit,
    ) {
        let mut computed = self
            .0
            .iter()
            .filter_map(|(key, source)| match source {
                Content::Computed(expression) => Some((key, expression)),
                _ => None,
            })
            .filter(|(key, _)| permit.allows_property(key))
            .peekable();
        if computed.peek().is_none() {
            return;
        }
        let event = permitted(occasion.event, permit, occasion.sensitive);
        let numbers: [(&'static str, Option<Decimal>); 2] = [
            ("value", event.amount(Field::Value)),
            ("event_value", prepared.value.map(|value| value.amount)),
        ];
        let facts = Facts { event: &event, numbers: &numbers };
        let mut other = prepared.other();
        for (key, expression) in computed {
            if let Ok(value) = expression.json(&facts)
                && !value.is_null()
            {
                other.insert(key.clone(), value);
            }
        }
        if !other.is_empty() {
            prepared.other = serde_json::to_string(&other).unwrap_or_default();
        }
    }

    /// The body of one event; what is absent leaves no key.
    pub(super) fn body(&self, job: &Prepared, name: &str) -> Object {
        let mut other = job.other();
        let mut body = Map::new();
        // Results first, so that `properties` holds the sender's own only.
        for (key, source) in &self.0 {
            if let Content::Computed(_) = source
                && let Some(value) = other.remove(key)
            {
                put(&mut body, key, value);
            }
        }
        for (key, source) in &self.0 {
            let text = |text: &str| Some(Value::String(text.to_owned()));
            let value = match source {
                Content::Event => text(name),
                Content::EventId => text(&job.event_id),
                Content::Timestamp => text(&job.time.to_string()),
                Content::Site => text(&job.site),
                Content::ActionSource => text(job.action_source.name()),
                Content::TransactionId => text(&job.transaction_id),
                Content::Value => {
                    self.put_currencies(&mut body, key, job);
                    job.value.map(|value| Value::Number(wire::number(value.amount)))
                }
                Content::Currency => job.value.and_then(|value| text(value.currency.code())),
                Content::Consent => Some(consent(job)),
                Content::Adjusts(key) => adjusts(job).and_then(|mut all| match key {
                    Some(key) => all.remove(*key),
                    None => Some(Value::Object(all)),
                }),
                Content::Field(field) => one(job, *field, &other),
                Content::Group(path) => group(job, path, &other),
                Content::Property(name) => other.get(name).cloned(),
                Content::Context(field, below) => {
                    one(job, *field, &other).and_then(|value| value.pointer(below).cloned())
                }
                Content::Computed(_) => None,
            };
            if let Some(value) = value {
                put(&mut body, key, value);
            }
        }
        body.into_iter().fold(Object::large(), |object, (key, value)| object.with(&key, value))
    }

    /// A value in the body's first level has its currency beside it, unless the currency has a key
    /// of its own; a calibrated one follows, never in its place.
    fn put_currencies(&self, body: &mut Map<String, Value>, key: &str, job: &Prepared) {
        let mut beside = |name: &str, value: Value| put(body, name, value);
        let has_own = self.0.iter().any(|(_, source)| matches!(source, Content::Currency));
        if let Some(value) = job.value.filter(|_| key == "value" && !has_own) {
            beside("currency", Value::String(value.currency.code().to_owned()));
        }
        if let Some(calibrated) = job.calibrated.filter(|_| key == "value") {
            beside("calibrated_value", Value::Number(wire::number(calibrated.amount)));
            let currency = calibrated.currency.code().to_owned();
            beside("calibrated_currency", Value::String(currency));
        }
    }
}

/// The event without what may not leave: CEL sees no more than the receiver.
fn permitted(event: &Event, permit: &Permit, sensitive: bool) -> Event {
    let mut event = event.clone();
    for field in event.texts.present().difference(permit.fields).iter() {
        event.texts.remove(field);
    }
    let address = event.texts.first(Field::Ip).map(str::to_owned);
    if let Some(address) = address {
        let form = crate::identity::ip_in_form(&address, permit.ip).unwrap_or_default();
        event.texts.set(Field::Ip, form);
    }
    event.amounts.retain(|(field, _)| permit.fields.contains(*field));
    if !permit.fields.contains(Field::Items) {
        event.items.clear();
    } else if sensitive {
        event.items.iter_mut().for_each(Item::forget_product);
    } else if !permit.fields.contains(Field::ItemNames) {
        event.items.iter_mut().for_each(Item::forget_names);
    }
    event.other.retain(|name, _| permit.allows_property(name));
    event.other_context.retain(|name, _| {
        let field = if name == "experiment" { Field::Experiment } else { Field::OtherContext };
        permit.fields.contains(field)
    });
    event
}

/// One field's value: hashes as they are, several as a list, amounts as numbers.
fn one(job: &Prepared, field: Field, other: &Map<String, Value>) -> Option<Value> {
    match field {
        Field::Currency => return job.currency.map(|c| Value::String(c.code().to_owned())),
        Field::Items | Field::ItemNames => {
            let items: Vec<Value> = job.items.iter().map(product).collect();
            return (!items.is_empty()).then_some(Value::Array(items));
        }
        Field::OtherProperties => {
            return (!other.is_empty()).then(|| Value::Object(other.clone()));
        }
        _ => {}
    }
    if let Some(amount) = job.amount(field) {
        return Some(Value::Number(wire::number(amount)));
    }
    let mut values: Vec<Value> = job
        .texts
        .iter()
        .filter(|(f, _)| *f == field)
        .map(|(_, sent)| match sent {
            Sent::Clear(text) if field.holds_json() => {
                serde_json::from_str(text).unwrap_or_default()
            }
            Sent::Clear(text) => Value::String(text.clone()),
            Sent::Hashed(digest) => Value::String(digest.hex()),
        })
        .collect();
    if values.len() > 1 { Some(Value::Array(values)) } else { values.pop() }
}

/// Every field below a path, as an object of the same shape; free properties beside the others.
fn group(job: &Prepared, path: &str, other: &Map<String, Value>) -> Option<Value> {
    let mut object = if path == "properties" { other.clone() } else { Map::new() };
    for field in FieldSet::group(path).unwrap_or_default().iter() {
        if matches!(field, Field::OtherProperties | Field::ItemNames) {
            continue;
        }
        let below = field.path().strip_prefix(path).and_then(|rest| rest.strip_prefix('.'));
        if below == Some("*") {
            if let Some(Value::Object(others)) = one(job, field, other) {
                add(&mut object, others);
            }
            continue;
        }
        if let (Some(below), Some(value)) = (below, one(job, field, other)) {
            put(&mut object, below, value);
        }
    }
    (!object.is_empty()).then_some(Value::Object(object))
}

/// Adds members that are not there, down to the parts of objects (`campaign`).
fn add(object: &mut Map<String, Value>, others: Map<String, Value>) {
    for (key, value) in others {
        match (object.get_mut(&key), value) {
            (Some(Value::Object(inner)), Value::Object(more)) => add(inner, more),
            (Some(_), _) => {}
            (None, value) => _ = object.insert(key, value),
        }
    }
}

/// Puts a value at a dotted place.
fn put(object: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            object.insert(path.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = object.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

/// The sender's own keys, and the known ones in their place.
fn product(item: &Item) -> Value {
    let mut product: Map<String, Value> = serde_json::from_str(&item.other).unwrap_or_default();
    let texts = [
        ("id", &item.id),
        ("name", &item.name),
        ("brand", &item.brand),
        ("category", &item.category),
        ("variant", &item.variant),
    ];
    let numbers = [("quantity", item.quantity), ("price", item.price), ("discount", item.discount)];
    let texts = texts.into_iter().filter_map(|(key, text)| Some((key, json!(text.as_ref()?))));
    let numbers =
        numbers.into_iter().filter_map(|(key, number)| Some((key, wire::number(number?).into())));
    product.extend(texts.chain(numbers).map(|(key, value)| (key.to_owned(), value)));
    Value::Object(product)
}

/// Which order an adjustment is about, and what of it. Without an amount a refund is of all of it.
fn adjusts(job: &Prepared) -> Option<Map<String, Value>> {
    let adjusts = job.adjusts.as_ref()?;
    let text = |text: &str| Value::String(text.to_owned());
    let kind = match adjusts.kind {
        AdjustmentKind::Refund => "refund",
        AdjustmentKind::Cancel => "cancel",
        AdjustmentKind::Restate => "restate",
    };
    let currency = job.currency.filter(|_| adjusts.amount.is_some());
    let said = [
        ("order_id", adjusts.order_id.as_deref().map(text)),
        ("event_id", adjusts.event_id.as_deref().map(text)),
        ("type", Some(text(kind))),
        ("amount", adjusts.amount.map(|amount| Value::Number(wire::number(amount)))),
        ("currency", currency.map(|currency| text(currency.code()))),
        ("timestamp", adjusts.at.map(|at| text(&at.to_string()))),
    ];
    Some(said.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
}

fn consent(job: &Prepared) -> Value {
    let mut grants = Map::new();
    for (purpose, name) in Purpose::ALL {
        let grant = job.flags.grants.get(purpose);
        grants.insert(name.to_owned(), serde_json::to_value(grant).unwrap_or_default());
    }
    Value::Object(grants)
}
