//! The body's template: paths of the event, and CEL over it.

use rust_decimal::Decimal;

use crate::{
    consent::Permit,
    destinations::{Occasion, Problem},
    event::{Event, Field, FieldSet, Item},
    expression::{Expression, Facts},
    job::Prepared,
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

/// What a key of a body holds.
#[derive(Debug)]
pub(super) enum Content {
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
    Group(Group),
    /// A property without a field of its own.
    Property(String),
    /// Context without a field of its own, by the pointer below the field that holds it.
    Context(Field, String),
    Computed(Expression),
}

/// The fields below a path.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) path: String,
    /// Each with its place below the path; `*` is every other one there.
    pub(super) members: Vec<(Field, &'static str)>,
}

impl Group {
    fn of(path: &str) -> Self {
        let below = |field: Field| field.path().strip_prefix(path)?.strip_prefix('.');
        let members = FieldSet::group(path)
            .unwrap_or_default()
            .iter()
            // They come with the sender's own keys, and with the items.
            .filter(|field| !matches!(field, Field::OtherProperties | Field::ItemNames))
            .filter_map(|field| Some((field, below(field)?)));
        Self { path: path.to_owned(), members: members.collect() }
    }
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
                None if FieldSet::group(path).is_some() => Content::Group(Group::of(path)),
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
                Content::Group(group) => FieldSet::group(&group.path).unwrap_or_default(),
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

    /// The keys of a body and what each holds, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Content)> {
        self.0.iter().map(|(key, content)| (key.as_str(), content))
    }

    /// Whether there are formulas.
    pub(super) fn has_computed(&self) -> bool {
        self.iter().any(|(_, it)| matches!(it, Content::Computed(_)))
    }

    /// Whether a key is of a formula.
    pub(super) fn is_computed(&self, key: &str) -> bool {
        self.iter().any(|(known, it)| known == key && matches!(it, Content::Computed(_)))
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
