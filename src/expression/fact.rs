//! What an expression may name of an event, and what it finds there.
//!
//! The only place that says what is visible. Identity is not, nor are the identifiers of a device.

use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::{ExpressionError, FORMULA_NUMBERS, Facts, number};
use crate::event::{Class, Event, Field, FieldSet, Item};

/// One step below a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// One path that an expression names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fact {
    /// As the source names it.
    pub(super) name: String,
    place: Place,
}

/// Where a fact is found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Event,
    Site,
    ActionSource,
    Number(&'static str),
    Text(Field),
    Amount(Field),
    Currency,
    Items(Vec<Step>),
    /// A property, or context, that has no field of its own.
    Free {
        context: bool,
        steps: Vec<Step>,
    },
    /// A whole object of fields: `properties`, `context`, `context.app`, `lead`.
    Group(&'static str),
    /// Below something that has no parts.
    Nothing,
}

/// What a fact is in one event.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Null,
    Number(Decimal),
    Text(&'a str),
    Json(&'a Value),
    Items(&'a [Item]),
    Object(Value),
}

const VISIBLE: [&str; 7] =
    ["event", "site", "action_source", "properties", "context", "lead", "user.customer_type"];
const GROUPS: [&str; 5] = ["properties", "context", "context.campaign", "context.app", "lead"];
const AMOUNTS: [Field; 7] = [
    Field::Value,
    Field::Tax,
    Field::Shipping,
    Field::Discount,
    Field::Cost,
    Field::NetRevenue,
    Field::PredictedLtv,
];
/// Identifiers of a person's connection or device: no condition is about them.
const HIDDEN: [Field; 3] = [Field::Ip, Field::AdvertisingId, Field::VendorId];

// === impl Fact ===

impl Fact {
    /// The fact of a name and the steps below it; an error says why there is none.
    pub(super) fn new(root: &str, steps: &[Step], formula: bool) -> Result<Self, ExpressionError> {
        let name = spell(root, steps);
        let whole = steps.is_empty();
        let place = match root {
            "event" if whole => Place::Event,
            "site" if whole => Place::Site,
            "action_source" if whole => Place::ActionSource,
            "event" | "site" | "action_source" => Place::Nothing,
            "properties" | "context" | "lead" => below(root, steps, &name)?,
            "user" => user(steps, &name)?,
            "click_ids" | "consent" => {
                let why = format!("`{name}`: expressions do not see `{root}`, only {}", visible());
                return Err(ExpressionError(why));
            }
            _ => match FORMULA_NUMBERS.iter().find(|number| **number == root) {
                Some(number) if formula && whole => Place::Number(number),
                Some(_) if formula => Place::Nothing,
                known => return Err(unknown(root, known.is_some(), formula)),
            },
        };
        Ok(Self { name, place })
    }

    /// The fact of a path into a body, which an event without anything else holds as a property.
    pub(super) fn of_body(root: &str, steps: &[Step]) -> Result<Self, ExpressionError> {
        if root != "body" {
            let why = format!("unknown name `{root}`; write `body.{root}`: only the body is seen");
            return Err(ExpressionError(why));
        }
        let body = std::iter::once(Step::Key(root.to_owned()));
        let steps: Vec<Step> = body.chain(steps.iter().cloned()).collect();
        Ok(Self {
            name: spell(root, steps.get(1..).unwrap_or_default()),
            place: Place::Free { context: false, steps },
        })
    }

    /// Whether it is this number of [`Facts::numbers`].
    pub(super) fn is_number(&self, name: &str) -> bool {
        matches!(self.place, Place::Number(number) if number == name)
    }

    /// The fields that it reads.
    pub(super) fn fields(&self) -> FieldSet {
        match &self.place {
            Place::Event | Place::Site | Place::ActionSource | Place::Nothing => FieldSet::EMPTY,
            Place::Number(name) => Field::parse(&format!("properties.{name}"))
                .map_or(FieldSet::of(&[Field::Value]), |field| FieldSet::of(&[field])),
            Place::Text(field) | Place::Amount(field) => FieldSet::of(&[*field]),
            Place::Currency => FieldSet::of(&[Field::Currency]),
            Place::Items(_) => FieldSet::of(&[Field::Items, Field::ItemNames]),
            Place::Free { context: true, .. } => {
                FieldSet::of(&[Field::Experiment, Field::OtherContext])
            }
            Place::Free { context: false, .. } => FieldSet::of(&[Field::OtherProperties]),
            Place::Group(group) => {
                FieldSet::group(group).unwrap_or_default().difference(FieldSet::of(&HIDDEN))
            }
        }
    }

    /// What it is in an event.
    pub(super) fn find<'a>(&self, facts: &Facts<'a>) -> Found<'a> {
        let event = facts.event;
        match &self.place {
            Place::Event => Found::Text(&event.name),
            Place::Site => Found::Text(&event.site),
            Place::ActionSource => Found::Text(event.action_source.name()),
            Place::Number(name) => facts
                .numbers
                .iter()
                .find(|(number, _)| number == name)
                .and_then(|(_, amount)| *amount)
                .map_or(Found::Null, Found::Number),
            Place::Text(field) => event.texts.first(*field).map_or(Found::Null, Found::Text),
            Place::Amount(field) => event.amount(*field).map_or(Found::Null, Found::Number),
            Place::Currency => currency(event).map_or(Found::Null, Found::Text),
            Place::Items(steps) => items(&event.items, steps),
            Place::Free { context, steps } => {
                let members = if *context { &event.other_context } else { &event.other };
                free(members, steps).map_or(Found::Null, Found::Json)
            }
            Place::Group(group) => Found::Object(Value::Object(whole(event, group))),
            Place::Nothing => Found::Null,
        }
    }
}

/// Whether a dotted path is one of the event's money fields, which are in the event's currency.
pub(crate) fn is_amount(path: &str) -> bool {
    AMOUNTS.iter().any(|field| field.path() == path)
}

/// The decimal at a dotted path of `properties` (`properties.margin`): a money field, or a number
/// or decimal text among the free properties. `None` where there is none.
pub(crate) fn find_amount(event: &Event, path: &str) -> Option<Decimal> {
    let name = path.strip_prefix("properties.")?;
    if let Some(field) = AMOUNTS.iter().find(|field| field.key() == name) {
        return event.amount(*field);
    }
    let steps: Vec<Step> = name.split('.').map(|key| Step::Key(key.to_owned())).collect();
    match free(&event.other, &steps)? {
        Value::Number(found) => number::of_json(found),
        Value::String(found) => number::parse_decimal(found),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

// === impl Found ===

impl Found<'_> {
    /// Exact, where it is a number.
    pub(super) fn number(&self) -> Option<Decimal> {
        match self {
            Found::Number(decimal) => Some(*decimal),
            Found::Json(Value::Number(number)) => number::of_json(number),
            Found::Null | Found::Text(_) | Found::Json(_) | Found::Items(_) | Found::Object(_) => {
                None
            }
        }
    }

    /// As JSON, numbers digit for digit.
    pub(super) fn into_json(self) -> Value {
        match self {
            Found::Null => Value::Null,
            Found::Number(decimal) => number::json_of(decimal),
            Found::Text(text) => Value::from(text),
            Found::Json(value) => value.clone(),
            Found::Items(items) => items.iter().map(item).collect(),
            Found::Object(value) => value,
        }
    }
}

// === names ===

fn below(root: &str, steps: &[Step], name: &str) -> Result<Place, ExpressionError> {
    if let Some(group) = GROUPS.iter().find(|group| **group == name) {
        return Ok(Place::Group(group));
    }
    if let [Step::Key(first), rest @ ..] = steps
        && root == "properties"
        && first == "items"
    {
        return Ok(Place::Items(rest.to_vec()));
    }
    // The longest beginning of the path that is a field; what is below a field is nothing.
    let field = (1..=steps.len()).rev().find_map(|length| {
        let field = Field::parse(&spell(root, steps.get(..length)?))?;
        // These are read where they came from, part by part.
        let field = Some(field).filter(|field| !field.holds_json())?;
        Some((field, length == steps.len()))
    });
    match field {
        Some((field, _)) if HIDDEN.contains(&field) => {
            Err(ExpressionError(format!("`{name}` identifies a device: expressions do not see it")))
        }
        Some((_, false)) => Ok(Place::Nothing),
        Some((Field::Currency, true)) => Ok(Place::Currency),
        Some((field, true)) if AMOUNTS.contains(&field) => Ok(Place::Amount(field)),
        Some((field, true)) => Ok(Place::Text(field)),
        None if root == "lead" => {
            let known = Field::ALL.iter().map(|field| field.path());
            let nearest = nearest(name, known.filter(|path| path.starts_with("lead.")));
            Err(ExpressionError(format!("unknown name `{name}`; did you mean `{nearest}`?")))
        }
        None => Ok(Place::Free { context: root == "context", steps: steps.to_vec() }),
    }
}

fn user(steps: &[Step], name: &str) -> Result<Place, ExpressionError> {
    match steps {
        [Step::Key(key)] if key == "customer_type" => Ok(Place::Text(Field::CustomerType)),
        [Step::Key(key), _, ..] if key == "customer_type" => Ok(Place::Nothing),
        _ => Err(ExpressionError(format!(
            "`{name}`: expressions never see identity; of `user` they see only \
             `user.customer_type`"
        ))),
    }
}

fn unknown(root: &str, is_formula_number: bool, formula: bool) -> ExpressionError {
    let hint = if is_formula_number {
        format!("outside a formula write `properties.{root}`")
    } else if FieldSet::group(&format!("properties.{root}")).is_some() {
        format!("did you mean `properties.{root}`?")
    } else {
        let numbers = FORMULA_NUMBERS.into_iter().filter(|_| formula);
        let nearest = nearest(root, VISIBLE.into_iter().chain(numbers.clone()));
        let numbers: String = numbers.map(|name| format!(", `{name}`")).collect();
        format!("did you mean `{nearest}`? Expressions see {}{numbers}", visible())
    };
    ExpressionError(format!("unknown name `{root}`; {hint}"))
}

fn visible() -> String {
    VISIBLE.map(|name| format!("`{name}`")).join(", ")
}

/// The candidate that looks most like a name.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> &'a str {
    // Who shortens a name (`props`) is far from it by letters, and begins as it does.
    let begins = |known: &str| name.get(..3).is_some_and(|head| known.starts_with(head));
    let distance = |known: &&str| (!begins(known), strsim::damerau_levenshtein(name, known));
    candidates.min_by_key(distance).unwrap_or_default()
}

fn spell(root: &str, steps: &[Step]) -> String {
    let mut name = root.to_owned();
    for step in steps {
        match step {
            Step::Key(key) => {
                name.push('.');
                name.push_str(key);
            }
            Step::Index(index) => name.push_str(&format!("[{index}]")),
        }
    }
    name
}

// === values ===

fn currency(event: &Event) -> Option<&str> {
    event.currency.as_ref().map(crate::event::Currency::code)
}

fn free<'a>(members: &'a Map<String, Value>, steps: &[Step]) -> Option<&'a Value> {
    let (Step::Key(first), rest) = steps.split_first()? else { return None };
    let found = rest.iter().try_fold(members.get(first)?, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(index),
    })?;
    // An empty string or list is the same as absent (interface page, "The event").
    let empty = match found {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    };
    (!empty).then_some(found)
}

fn items<'a>(items: &'a [Item], steps: &[Step]) -> Found<'a> {
    match steps {
        _ if items.is_empty() => Found::Null,
        [] => Found::Items(items),
        [Step::Index(index), rest @ ..] => match (items.get(*index), rest) {
            (Some(found), []) => Found::Object(item(found)),
            (Some(found), [Step::Key(key)]) => part(found, key),
            _ => Found::Null,
        },
        _ => Found::Null,
    }
}

/// The parts of an item by name.
pub(super) const ITEM_PARTS: [&str; 8] =
    ["id", "name", "brand", "category", "variant", "quantity", "price", "discount"];

/// One part of an item.
pub(super) fn part<'a>(item: &'a Item, name: &str) -> Found<'a> {
    let text = |text: &'a Option<String>| text.as_deref().map_or(Found::Null, Found::Text);
    let number = |number: Option<Decimal>| number.map_or(Found::Null, Found::Number);
    match name {
        "id" => text(&item.id),
        "name" => text(&item.name),
        "brand" => text(&item.brand),
        "category" => text(&item.category),
        "variant" => text(&item.variant),
        "quantity" => number(item.quantity),
        "price" => number(item.price),
        "discount" => number(item.discount),
        _ => match json_object(&item.other).remove(name) {
            Some(value) => Found::Object(value),
            None => Found::Null,
        },
    }
}

fn item(item: &Item) -> Value {
    let parts = ITEM_PARTS.iter().map(|name| ((*name).to_owned(), part(item, name).into_json()));
    let mut object = json_object(&item.other);
    object.extend(parts.filter(|(_, value)| !value.is_null()));
    Value::Object(object)
}

/// A whole object: its free members, and over them the fields that may be seen.
fn whole(event: &Event, group: &str) -> Map<String, Value> {
    let mut object = match group.split_once('.') {
        None if group == "properties" => event.other.clone(),
        None if group == "context" => event.other_context.clone(),
        None if group == "lead" => {
            event.texts.first(Field::OtherLead).map(json_object).unwrap_or_default()
        }
        Some((_, key)) => {
            let inner = event.other_context.get(key).and_then(Value::as_object);
            inner.cloned().unwrap_or_default()
        }
        None => Map::new(),
    };
    let mut put = |field: Field, value: Value| {
        let below = field.path().strip_prefix(group).and_then(|rest| rest.strip_prefix('.'));
        if let Some(path) = below {
            insert(&mut object, path, value);
        }
    };
    for (field, text) in event.texts.iter() {
        let is_seen = field.class() != Class::Identity && !HIDDEN.contains(&field);
        if is_seen && !field.holds_json() {
            put(field, Value::from(text));
        }
    }
    for (field, amount) in &event.amounts {
        put(*field, number::json_of(*amount));
    }
    if let Some(code) = currency(event) {
        put(Field::Currency, Value::from(code));
    }
    if !event.items.is_empty() {
        put(Field::Items, Found::Items(&event.items).into_json());
    }
    object
}

fn json_object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

fn insert(object: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            object.insert(path.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = object.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}
