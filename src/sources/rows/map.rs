//! The row map as it is written in TOML, and the shipped ones.

use std::sync::LazyLock;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::start;
use crate::{config::FieldMap, expression::Expression};

/// The shipped maps of advertisers' upload templates.
const TEMPLATES: [&str; 2] = [
    include_str!("templates/click_conversions.toml"),
    include_str!("templates/offline_events.toml"),
];

static SHIPPED: LazyLock<Vec<RowMap>> =
    LazyLock::new(|| TEMPLATES.iter().filter_map(|text| RowMap::parse(text).ok()).collect());

/// Keys of a map besides `fields` and `const`.
const SETTINGS: [&str; 8] = [
    "time_zone",
    "time_formats",
    "decimal_comma",
    "separator",
    "template",
    "recognised_by",
    "fields",
    "const",
];

/// What of a row goes where.
#[derive(Debug, Default)]
pub struct RowMap {
    fields: Vec<(String, Source)>,
    pub(super) zone: Option<TimeZone>,
    pub(super) formats: Vec<String>,
    pub(super) decimal_comma: Option<bool>,
    /// What separates columns, where the header does not show it.
    pub separator: Option<u8>,
    /// What the file's template says of columns that the map does not name counts too.
    pub(super) template: bool,
    recognised_by: Vec<Column>,
}

/// Where a field's value comes from, as written.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// The first of these columns that is not empty.
    Columns(Vec<Column>),
    /// The same in every row.
    Fixed(Value),
    Computed(Expression),
    /// A column, or CEL: which one, the headers tell.
    Written(String),
}

/// A column by its header.
#[derive(Debug, Clone)]
pub(super) struct Column(String);

impl Column {
    pub(super) fn named(name: &str) -> Self {
        Self(name.trim().to_owned())
    }

    /// Exactly, else without regard to case, spaces and punctuation.
    pub(super) fn place(&self, headers: &[&str]) -> Option<usize> {
        headers.iter().position(|header| header.trim() == self.0).or_else(|| {
            let own = plain(&self.0);
            headers.iter().position(|header| !own.is_empty() && plain(header) == own)
        })
    }
}

impl RowMap {
    /// Reads a map, or says everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let table: toml::Table =
            toml::from_str(text).map_err(|error| vec![error.to_string().trim().to_owned()])?;
        let mut map = Self::default();
        let mut problems = Vec::new();
        for (key, value) in &table {
            if let Err(why) = map.setting(key, value, &mut problems) {
                problems.push(format!("{key}: {why}"));
            }
        }
        if map.fields.is_empty() && !map.template {
            problems.push("fields: name the columns, such as event_id = \"Order ID\"".to_owned());
        }
        if problems.is_empty() { Ok(map) } else { Err(problems) }
    }

    /// The shipped map whose columns a file has.
    pub(super) fn recognised(headers: &[&str]) -> Option<&'static Self> {
        SHIPPED.iter().find(|map| map.recognised_by.iter().all(|one| one.place(headers).is_some()))
    }

    /// Each field with its source, and whether a missing column is no mistake.
    pub(super) fn sources(&self) -> impl Iterator<Item = (&str, &Source, bool)> {
        let shipped = !self.recognised_by.is_empty();
        self.fields.iter().map(move |(key, source)| (key.as_str(), source, shipped))
    }

    fn setting(
        &mut self,
        key: &str,
        value: &toml::Value,
        problems: &mut Vec<String>,
    ) -> Result<(), String> {
        let text = || value.as_str().ok_or("expected a text");
        let truth = || value.as_bool().ok_or("expected true or false");
        match key {
            "time_zone" => {
                let text = text()?;
                let zone = start::time_zone(text);
                self.zone = Some(zone.ok_or_else(|| {
                    format!("{text:?} is no time zone; write \"Europe/Berlin\" or \"+0100\"")
                })?);
            }
            "time_formats" => {
                self.formats = texts(value)?;
                for format in &self.formats {
                    let moment = jiff::Zoned::new(jiff::Timestamp::UNIX_EPOCH, TimeZone::UTC);
                    let mut written = jiff::fmt::strtime::BrokenDownTime::from(&moment);
                    written.set_offset(Some(jiff::tz::Offset::UTC));
                    written.to_string(format).map_err(|error| format!("{format:?}: {error}"))?;
                }
            }
            "decimal_comma" => self.decimal_comma = Some(truth()?),
            "template" => self.template = truth()?,
            "separator" => match text()?.as_bytes() {
                [one] if one.is_ascii() => self.separator = Some(*one),
                _ => return Err("expected one character, such as \";\"".to_owned()),
            },
            "recognised_by" => {
                self.recognised_by = texts(value)?.iter().map(|name| Column::named(name)).collect();
            }
            "fields" | "const" => {
                let table = value.as_table().ok_or("expected a table of fields")?;
                self.fields("", table, key == "const", problems);
            }
            _ => {
                let nearest = SETTINGS
                    .iter()
                    .map(|known| (strsim::damerau_levenshtein(known, key), known))
                    .min()
                    .filter(|(distance, _)| *distance <= 3)
                    .map(|(_, known)| format!("; did you mean {known:?}?"));
                return Err(format!(
                    "is no setting of a map{}; fields go into [fields], fixed values into [const]",
                    nearest.unwrap_or_default()
                ));
            }
        }
        Ok(())
    }

    fn fields(
        &mut self,
        above: &str,
        table: &toml::Table,
        fixed: bool,
        problems: &mut Vec<String>,
    ) {
        for (name, value) in table {
            let key = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
            match value.as_table() {
                Some(below) if fixed || !is_source(below) => {
                    self.fields(&key, below, fixed, problems);
                }
                _ => {
                    let source = if fixed { json(value).map(Source::Fixed) } else { source(value) };
                    // A file's rows may be of several sites; a webhook's are of its own.
                    let known = if key == "site" { Ok(()) } else { FieldMap::check(&key) };
                    match known.and(source) {
                        Ok(source) => self.fields.push((key, source)),
                        Err(why) => problems.push(format!("{key}: {why}")),
                    }
                }
            }
        }
    }
}

/// Whether a table says where a value comes from, and is no group of fields.
fn is_source(table: &toml::Table) -> bool {
    table.len() == 1 && ["column", "const", "cel"].iter().any(|key| table.contains_key(*key))
}

fn source(value: &toml::Value) -> Result<Source, String> {
    match value {
        toml::Value::String(text) => Ok(Source::Written(text.clone())),
        toml::Value::Array(_) => {
            let columns = texts(value)?.iter().map(|name| Column::named(name)).collect();
            Ok(Source::Columns(columns))
        }
        toml::Value::Table(table) => match table.iter().next() {
            Some((key, value)) if key == "column" => {
                let names = if value.is_array() {
                    texts(value)?
                } else {
                    vec![value.as_str().ok_or("column: expected a header")?.to_owned()]
                };
                Ok(Source::Columns(names.iter().map(|name| Column::named(name)).collect()))
            }
            Some((key, value)) if key == "cel" => {
                let text = value.as_str().ok_or("cel: expected an expression")?;
                let compiled = Expression::compile_over_body(text);
                compiled.map(Source::Computed).map_err(|error| format!("is no CEL: {error}"))
            }
            Some((_, value)) => json(value).map(Source::Fixed),
            None => Err("is empty".to_owned()),
        },
        other => json(other).map(Source::Fixed),
    }
}

fn texts(value: &toml::Value) -> Result<Vec<String>, String> {
    let wrong = || "expected a list of texts".to_owned();
    let items = match value {
        toml::Value::String(text) => return Ok(vec![text.clone()]),
        other => other.as_array().ok_or_else(wrong)?,
    };
    items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

fn json(value: &toml::Value) -> Result<Value, String> {
    match value {
        toml::Value::Datetime(time) => Ok(Value::from(time.to_string())),
        other => serde_json::to_value(other).map_err(|error| error.to_string()),
    }
}

/// A header without case, spaces and punctuation.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
