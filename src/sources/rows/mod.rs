//! Rows of a CSV file: the row map of `import`, row → event. What a field holds is a column, a fixed
//! value or a CEL expression over the row; times, amounts, yes and no are brought into the form of
//! the relay's own events. Files of advertisers' own upload templates are known by their headers:
//! a template is such a map that is shipped.
//!
//! It guesses neither a time zone nor the order of day and month: a time that is not clear is refused
//! with what the map could say of it. Whatever else is unclear goes on as it stands, and the one reading
//! of events refuses it, with the column named.

mod cell;
mod map;
mod start;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde_json::Value;

pub use map::RowMap;
pub use start::Start;

use self::{
    cell::Cells,
    map::{Column, Source},
};
use super::{
    Asked, Envelope, Outcome, Rejection, RejectionCode, Told, Unframed, json::Node, words::Words,
};
use crate::expression::Expression;

/// How the rows of one file are read.
#[derive(Debug)]
pub struct Rows {
    headers: Vec<String>,
    fields: Vec<Filled>,
    cells: Cells,
    computes: bool,
}

/// A field, and what of it is the same for every row.
#[derive(Debug)]
struct Filled {
    key: String,
    bound: Bound,
    /// A number is a text here.
    as_text: bool,
    /// Where in the row a rejection finds it.
    theirs: String,
}

/// Where a field's text is.
#[derive(Debug)]
enum Bound {
    /// The first of these columns that is not empty.
    Columns(Vec<usize>),
    Fixed(Node<'static>),
    Computed(Expression),
}

impl Rows {
    /// Reads rows by a map, or by the template that the headers tell. `zone`: of times without an
    /// offset, where neither the map nor the file names one.
    ///
    /// Fails with everything that is wrong with the map for these headers.
    pub fn bind(
        headers: &[&str],
        map: Option<&RowMap>,
        zone: Option<TimeZone>,
    ) -> Result<Self, Vec<String>> {
        let template = RowMap::recognised(headers);
        let maps: Vec<&RowMap> = match map {
            // What the map says comes first; the template adds what it does not name.
            Some(map) if map.template => std::iter::once(map).chain(template).collect(),
            Some(map) => vec![map],
            None => template.into_iter().collect(),
        };
        let mut problems = Vec::new();
        if headers.iter().all(|header| header.trim().is_empty()) {
            return Err(vec![
                "the file has no header; its first line names the columns".to_owned(),
            ]);
        }
        if maps.is_empty() {
            problems.push(
                "no upload template has these columns; say with --map what they are".to_owned(),
            );
        }
        if map.is_some_and(|map| map.template) && template.is_none() {
            problems.push("template = true, but no upload template has these columns".to_owned());
        }
        let mut fields: Vec<Filled> = Vec::new();
        for (key, source, is_shipped) in maps.iter().flat_map(|map| map.sources()) {
            match bind(source, headers) {
                Some(Bound::Columns(columns)) if let Some(twice) = repeated(&columns, headers) => {
                    problems.push(format!(
                        "{key}: the file has more than one column {twice:?}; rename one of them"
                    ));
                }
                Some(bound) => fields.push(Filled::of(key, bound, headers)),
                None if is_shipped => {}
                None => problems.push(format!("{key}: {}", no_column(source, headers))),
            }
        }
        for required in ["event", "timestamp"] {
            if problems.is_empty() && !fields.iter().any(|field| field.key == required) {
                problems.push(format!("{required}: the map must say where it is"));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let computes = fields.iter().any(|field| matches!(field.bound, Bound::Computed(_)));
        let headers = headers.iter().map(|header| (*header).to_owned()).collect();
        Ok(Self { headers, fields, cells: Cells::of(&maps, zone), computes })
    }

    /// The same, of a file whose columns stand between these.
    #[must_use]
    pub fn separated_by(mut self, separator: u8) -> Self {
        self.cells.separated_by(separator);
        self
    }

    /// Whether times without an offset have a time zone.
    pub fn has_zone(&self) -> bool {
        self.cells.has_zone()
    }

    /// The value that is the same in every row.
    pub fn fixed(&self, key: &str) -> Option<&str> {
        let field = self.fields.iter().find(|field| field.key == key)?;
        match &field.bound {
            Bound::Fixed(node) => node.as_text(),
            Bound::Columns(_) | Bound::Computed(_) => None,
        }
    }

    /// Times without an offset are in this zone, where nothing else says so.
    pub fn set_zone(&mut self, zone: TimeZone) {
        self.cells.set_zone(zone);
    }

    /// The event of a row as it stands in a file: with the header's columns, and in UTF-8.
    pub fn record(
        &self,
        row: &csv::ByteRecord,
        site: Option<&str>,
    ) -> Result<Told<'static>, Rejection> {
        let refuse =
            |message: String, path| Err(Rejection::new(RejectionCode::InvalidField, message, path));
        let columns = self.headers.len();
        let mut more = row.iter().skip(columns);
        if row.len() < columns || more.any(|cell| !cell.is_empty()) {
            let has = row.len();
            let message = format!(
                "the row has {has} columns and the header {columns}; is a quote or separator missing?"
            );
            return refuse(message, String::new());
        }
        let cells = || row.iter().zip(&self.headers);
        if let Some((_, column)) = cells().find(|(cell, _)| std::str::from_utf8(cell).is_err()) {
            return refuse("is not UTF-8; save the file as CSV UTF-8".to_owned(), pointer(column));
        }
        self.event(&|at| row.get(at).and_then(|cell| std::str::from_utf8(cell).ok()), site)
    }

    /// The event of a row. `cell`: its text in a column, by the column's place.
    pub fn event<'c>(
        &self,
        cell: &dyn Fn(usize) -> Option<&'c str>,
        site: Option<&str>,
    ) -> Result<Told<'static>, Rejection> {
        let mut words = Words::default();
        let row = if self.computes { self.row(cell) } else { Value::Null };
        for field in &self.fields {
            let Filled { key, bound, as_text, theirs } = field;
            let mut put = |node: &Node<'static>, theirs: &str| {
                if *as_text {
                    words.put_text(key, Some(node), theirs);
                } else {
                    words.put(key, Some(node), theirs);
                }
            };
            match bound {
                Bound::Columns(columns) => {
                    let filled = columns.iter().find_map(|at| {
                        let text = cell(*at)?.trim();
                        (!text.is_empty()).then_some((*at, text))
                    });
                    let Some((at, text)) = filled else { continue };
                    let node = self.cells.node(key, text);
                    if matches!(&node, Node::Text(left) if left == text) {
                        let place = self.headers.get(at).map_or(theirs.clone(), |at| pointer(at));
                        self.cells.readable(key, text).map_err(|why| {
                            Rejection::new(RejectionCode::InvalidField, why, place)
                        })?;
                    }
                    match self.headers.get(at).filter(|_| columns.first() != Some(&at)) {
                        Some(other) => put(&node, &pointer(other)),
                        None => put(&node, theirs),
                    }
                }
                Bound::Fixed(node) => put(node, theirs),
                Bound::Computed(expression) => {
                    // What fails is missing: a required field says so itself.
                    let value = expression.over_body(row.clone()).unwrap_or(Value::Null);
                    let node = match &value {
                        Value::String(text) => self.cells.node(key, text),
                        other => node(other),
                    };
                    put(&node, theirs);
                }
            }
        }
        if words.get("timestamp").is_none() {
            // Without one it would count as of now, and as another event each time it is imported.
            let message = "the row has no time; a row of an import says when it happened";
            let path = self.column("timestamp").map_or_else(|| "/timestamp".to_owned(), pointer);
            return Err(Rejection::new(RejectionCode::MissingField, message, path));
        }
        if words.get("event_id").is_none()
            && let Some(Node::Text(order)) = words.get("properties.order_id")
        {
            let order = order.to_string();
            words.say("event_id", order);
        }
        if let Some(site) = site {
            words.say("site", site.to_owned());
        }
        words.count_items();
        Ok(words.told(Asked::default()))
    }

    /// The column that a place in an event came from.
    pub fn column_of(&self, pointer: &str) -> Option<&str> {
        let path = pointer.trim_start_matches('/').replace('/', ".");
        let begins = |key: &str| {
            path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let keys = self.fields.iter().map(|field| field.key.as_str()).filter(|key| begins(key));
        self.column(keys.max_by_key(|key| key.len())?)
    }

    fn column(&self, key: &str) -> Option<&str> {
        let field = self.fields.iter().find(|field| field.key == key)?;
        let Bound::Columns(columns) = &field.bound else { return None };
        columns.first().and_then(|at| self.headers.get(*at)).map(String::as_str)
    }

    fn row<'c>(&self, cell: &dyn Fn(usize) -> Option<&'c str>) -> Value {
        let text = |at: usize| cell(at).unwrap_or_default().trim();
        let cells = self.headers.iter().enumerate();
        Value::Object(cells.map(|(at, name)| (name.clone(), Value::from(text(at)))).collect())
    }
}

/// Reads a row as a document: an object of its columns, by the template that these tell.
pub(super) fn read<'a>(body: &Node<'a>, envelope: &Envelope<'_>) -> Vec<Outcome<'a>> {
    let Node::Object(members) = body else {
        let message = format!("expected a row as an object of its columns, not {}", body.kind());
        return vec![Err(Rejection::new(RejectionCode::InvalidField, message, ""))];
    };
    let headers: Vec<&str> = members.iter().map(|(key, _)| key.as_ref()).collect();
    let rows = match Rows::bind(&headers, None, None) {
        Ok(rows) => rows,
        Err(problems) => {
            let message = problems.join("; ");
            return vec![Err(Rejection::new(RejectionCode::InvalidField, message, ""))];
        }
    };
    let texts: BTreeMap<usize, &str> = members
        .iter()
        .enumerate()
        .filter_map(|(at, (_, node))| match node {
            Node::Text(text) => Some((at, text.as_ref())),
            Node::Number(number) => Some((at, number.as_ref())),
            _ => None,
        })
        .collect();
    vec![rows.event(&|at| texts.get(&at).copied(), envelope.site).map(Some)]
}

/// The events of a file, by a map or by its template.
pub fn file(
    bytes: &[u8],
    map: Option<&RowMap>,
    zone: Option<TimeZone>,
    site: Option<&str>,
) -> Result<Vec<Outcome<'static>>, Unframed> {
    let unframed = Unframed::NotEvents;
    let start = Start::of(bytes);
    let zone = start.time_zone().or(zone);
    let separator = map.and_then(|map| map.separator).unwrap_or(start.separator);
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .delimiter(separator)
        .from_reader(bytes.get(start.header_at..).unwrap_or_default());
    let headers = reader.byte_headers().map_err(|error| unframed(error.to_string()))?.clone();
    let headers = csv::StringRecord::from_byte_record(headers)
        .map_err(|_| unframed("the header is not UTF-8; save the file as CSV UTF-8".to_owned()))?;
    let headers: Vec<&str> = headers.iter().map(str::trim).collect();
    let rows = Rows::bind(&headers, map, zone)
        .map_err(|why| unframed(why.join("; ")))?
        .separated_by(separator);
    let (mut outcomes, mut row) = (Vec::new(), csv::ByteRecord::new());
    while reader.read_byte_record(&mut row).map_err(|error| unframed(error.to_string()))? {
        if is_blank(&row) {
            continue;
        }
        let is_last = start.header_at as u64 + reader.position().byte() >= bytes.len() as u64;
        outcomes.push(if is_last && is_unclosed(&row, bytes) {
            Err(unclosed())
        } else {
            rows.record(&row, site).map(Some)
        });
    }
    Ok(outcomes)
}

/// Whether a row says nothing: spreadsheets leave such rows behind at the end of a file.
pub fn is_blank(row: &csv::ByteRecord) -> bool {
    row.iter().all(|cell| cell.trim_ascii().is_empty())
}

/// Whether the last row's quote was never closed, so that it swallowed the rows after it. `end`: of
/// the file; what holds a line break was quoted, and ends with a quote if that was closed.
pub fn is_unclosed(last: &csv::ByteRecord, end: &[u8]) -> bool {
    let has_break = last.iter().next_back().is_some_and(|cell| cell.contains(&b'\n'));
    has_break && !end.trim_ascii_end().ends_with(b"\"")
}

/// What is said of such a row.
pub fn unclosed() -> Rejection {
    let message = "a quote is opened in this row and never closed: it holds all rows after it; close \
                   it, and import the file again";
    Rejection::new(RejectionCode::InvalidField, message, "")
}

impl Filled {
    fn of(key: &str, bound: Bound, headers: &[&str]) -> Self {
        let column = match &bound {
            Bound::Columns(columns) => columns.first().and_then(|at| headers.get(*at)),
            Bound::Fixed(_) | Bound::Computed(_) => None,
        };
        let theirs =
            column.map_or_else(|| format!("/{}", key.replace('.', "/")), |column| pointer(column));
        let as_text = crate::config::takes_numbers_as_text(key);
        Self { key: key.to_owned(), bound, as_text, theirs }
    }
}

/// Of columns with one name nobody knows which is meant.
fn repeated<'h>(columns: &[usize], headers: &[&'h str]) -> Option<&'h str> {
    let mut names = columns.iter().filter_map(|at| headers.get(*at).copied());
    names.find(|name| headers.iter().filter(|other| *other == name).count() > 1)
}

/// `None`: the file has no such column.
fn bind(source: &Source, headers: &[&str]) -> Option<Bound> {
    match source {
        Source::Columns(columns) => {
            let places: Vec<usize> =
                columns.iter().filter_map(|column| column.place(headers)).collect();
            (!places.is_empty()).then_some(Bound::Columns(places))
        }
        Source::Fixed(value) => Some(Bound::Fixed(node(value))),
        Source::Computed(expression) => Some(Bound::Computed(expression.clone())),
        Source::Written(text) => match Column::named(text).place(headers) {
            Some(at) => Some(Bound::Columns(vec![at])),
            None => Expression::compile_over_body(text).ok().map(Bound::Computed),
        },
    }
}

fn no_column(source: &Source, headers: &[&str]) -> String {
    let there = headers.join(", ");
    match source {
        Source::Written(text) => {
            let nearest = headers
                .iter()
                .map(|header| (strsim::damerau_levenshtein(header, text), header))
                .min()
                .filter(|(distance, _)| *distance <= 2.max(text.len() / 3));
            let hint = nearest.map(|(_, near)| format!("; did you mean {near:?}?"));
            format!(
                "{text:?} is neither a column nor CEL over the row (`body`){}; the file has: {there}",
                hint.unwrap_or_default()
            )
        }
        _ => format!("the file has no such column; it has: {there}"),
    }
}

fn pointer(column: &str) -> String {
    format!("/{column}")
}

fn node(value: &Value) -> Node<'static> {
    match value {
        Value::Null => Node::Null,
        Value::Bool(value) => Node::Bool(*value),
        Value::Number(number) => Node::Number(number.to_string().into()),
        Value::String(text) => Node::Text(text.clone().into()),
        Value::Array(members) => Node::List(members.iter().map(node).collect()),
        Value::Object(members) => {
            Node::Object(members.iter().map(|(key, one)| (key.clone().into(), node(one))).collect())
        }
    }
}
