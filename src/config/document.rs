//! A TOML file as it was written, with the line of every key, and a reader that walks it.
//!
//! There are no serde records: the reader reports *every* wrong type, missing and unknown key of a
//! run, where serde stops at the first. A [`Section`] learns its known keys from what is asked of
//! it, so that there is no second list of names to keep in step. It decides nothing: what a value
//! means is `resolve`'s.

use std::{cell::RefCell, net::SocketAddr, time::Duration};

use rust_decimal::Decimal;
use toml::de::{DeTable, DeValue};

use super::{
    finding::{Place, Report, suggest},
    units,
};

/// One parsed file.
#[derive(Debug)]
pub(super) struct Document<'t> {
    file: String,
    line_starts: Vec<usize>,
    table: DeTable<'t>,
}

impl<'t> Document<'t> {
    /// Parses; syntax errors are reported, and what can be read in spite of them is kept, so that
    /// one misplaced quote does not hide the other problems.
    pub(super) fn parse(file: &str, text: &'t str, report: &Report) -> Self {
        let line_starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let (table, errors) = DeTable::parse_recoverable(text);
        let table = table.into_inner();
        let document = Self { file: file.to_owned(), line_starts, table };
        for error in errors {
            let line = error.span().map_or(0, |span| line(&document.line_starts, span.start));
            let place = Place { line, ..Place::of_file(file) };
            report.error(&place, format!("not TOML: {}", error.message()));
        }
        document
    }

    /// The place of the file as a whole.
    pub(super) fn place(&self) -> Place {
        Place::of_file(&self.file)
    }

    /// The file's top level.
    pub(super) fn root<'a>(&'a self, report: &'a Report) -> Section<'a> {
        let page = Page { line_starts: &self.line_starts, report };
        Section { page, place: self.place(), table: Some(&self.table), asked: RefCell::default() }
    }
}

/// Where a document's lines start and its problems go.
#[derive(Debug, Clone, Copy)]
struct Page<'a> {
    line_starts: &'a [usize],
    report: &'a Report,
}

/// The line of an offset, counted from 1.
fn line(line_starts: &[usize], offset: usize) -> usize {
    line_starts.partition_point(|start| *start <= offset)
}

// === impl Section ===

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Section<'a> {
    page: Page<'a>,
    place: Place,
    table: Option<&'a DeTable<'a>>,
    asked: RefCell<Vec<String>>,
}

impl<'a> Section<'a> {
    /// Where it stands.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Where a dotted path below stands, or would.
    pub(super) fn place_of(&self, path: &str) -> Place {
        match path.split_once('.') {
            Some((section, rest)) => self.table(section).place_of(rest),
            None => self.get(path).map_or_else(|| self.place.below(path), |node| node.place),
        }
    }

    /// Whether it was written at all.
    pub(super) fn is_written(&self) -> bool {
        self.table.is_some()
    }

    /// The value of a key, if it was written.
    pub(super) fn get(&self, key: &str) -> Option<Node<'a>> {
        self.ask(key);
        let (name, value) = self.table?.get_key_value(key)?;
        Some(self.node(name.get_ref(), name.span().start, value.get_ref()))
    }

    /// The value of a key that has no default; `what` says what to write.
    pub(super) fn required(&self, key: &str, what: &str) -> Option<Node<'a>> {
        let node = self.get(key);
        if node.is_none() {
            self.page.report.error(&self.place.below(key), format!("is missing; write {what}"));
        }
        node
    }

    /// The table under a key; an empty one, so that every key has its default, where there is none.
    pub(super) fn table(&self, key: &str) -> Section<'a> {
        let node = self.get(key);
        let place = node.as_ref().map_or_else(|| self.place.below(key), |n| n.place.clone());
        let table = node.as_ref().and_then(Node::table);
        Section { page: self.page, place, table, asked: RefCell::default() }
    }

    /// Every entry of a table whose keys are names, in the order of the file.
    pub(super) fn entries(&self) -> Vec<(&'a str, Node<'a>)> {
        let Some(table) = self.table else { return Vec::new() };
        table
            .iter()
            .map(|(name, value)| {
                self.ask(name.get_ref());
                let node = self.node(name.get_ref(), name.span().start, value.get_ref());
                (name.get_ref().as_ref(), node)
            })
            .collect()
    }

    /// The tables of a table of tables, such as `[sites.NAME]`.
    pub(super) fn sections(&self) -> Vec<(&'a str, Section<'a>)> {
        let entries = self.entries().into_iter();
        entries.filter_map(|(name, node)| Some((name, node.section()?))).collect()
    }

    /// The tables of a list of tables, such as `[[write_keys]]`.
    pub(super) fn array(&self, key: &str) -> Vec<Section<'a>> {
        let nodes = self.get(key).and_then(|node| node.list()).unwrap_or_default();
        nodes.into_iter().filter_map(|node| node.section()).collect()
    }

    /// Done: whatever nobody asked for is unknown.
    pub(super) fn finish(self) {
        let asked = self.asked.into_inner();
        for (name, _) in self.table.into_iter().flatten() {
            let name_text: &str = name.get_ref();
            if !asked.iter().any(|key| key == name_text) {
                let line = line(self.page.line_starts, name.span().start);
                let place = Place { line, ..self.place.below(name_text) };
                let known = suggest(name_text, asked.iter().map(String::as_str));
                self.page.report.error(&place, format!("unknown key{known}"));
            }
        }
    }

    fn ask(&self, key: &str) {
        let mut asked = self.asked.borrow_mut();
        if !asked.iter().any(|known| known == key) {
            asked.push(key.to_owned());
        }
    }

    fn node(&self, name: &str, at: usize, value: &'a DeValue<'a>) -> Node<'a> {
        let line = line(self.page.line_starts, at);
        Node { page: self.page, place: Place { line, ..self.place.below(name) }, value }
    }
}

// === impl Node ===

/// A value with its place. Every reading reports what is wrong and returns `None` then.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    page: Page<'a>,
    place: Place,
    value: &'a DeValue<'a>,
}

impl<'a> Node<'a> {
    /// Where it stands.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Notes an error here.
    pub(super) fn error(&self, message: impl Into<String>) {
        self.page.report.error(&self.place, message);
    }

    /// Notes a warning here.
    pub(super) fn warning(&self, message: impl Into<String>) {
        self.page.report.warning(&self.place, message);
    }

    /// Notes that something else was expected.
    pub(super) fn expected(&self, what: &str) {
        let found = match self.value {
            DeValue::String(text) => format!("{text:?}"),
            DeValue::Integer(number) => number.as_str().to_owned(),
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Datetime(time) => format!("a date; write it in quotes: \"{time}\""),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        };
        self.error(format!("expected {what}, found {found}"));
    }

    /// The text, if it is one; reports nothing.
    pub(super) fn as_text(&self) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// The boolean, if it is one; reports nothing.
    pub(super) fn as_flag(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(flag) => Some(*flag),
            _ => None,
        }
    }

    /// Whether it is a table; reports nothing.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    /// Whether it is a list; reports nothing.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.value, DeValue::Array(_))
    }

    /// A text that is not empty.
    pub(super) fn text(&self) -> Option<&'a str> {
        self.parse("a text", Some).filter(|text| {
            let empty = text.trim().is_empty();
            if empty {
                self.error("expected a text, found an empty one; leave the key out instead");
            }
            !empty
        })
    }

    /// A text that `read` understands; `what` says what was expected.
    pub(super) fn parse<T>(
        &self,
        what: &str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Option<T> {
        let value = self.as_text().and_then(read);
        if value.is_none() {
            self.expected(what);
        }
        value
    }

    /// One of a closed list of words.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let value = self.text()?;
        let found = words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let list = names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
            let hint = match super::finding::nearest(value, names) {
                Some(name) => format!("; did you mean {name:?}?"),
                None => String::new(),
            };
            self.error(format!("expected one of {list}, found {value:?}{hint}"));
        }
        found
    }

    /// true or false.
    pub(super) fn flag(&self) -> Option<bool> {
        let flag = self.as_flag();
        if flag.is_none() {
            self.expected("true or false");
        }
        flag
    }

    /// A whole number within bounds.
    pub(super) fn integer(&self, least: u64, most: u64) -> Option<u64> {
        let number = match self.value {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let most = if most == u64::MAX { String::new() } else { format!(" to {most}") };
            self.expected(&format!("a whole number from {least}{most}"));
        }
        number
    }

    /// An exact decimal: a text (`"5.00"`), or a number as it is written in the file.
    pub(super) fn decimal(&self) -> Option<Decimal> {
        let number = match self.value {
            DeValue::String(text) => text.parse().ok(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.expected("a decimal such as \"5.00\"");
        }
        number
    }

    /// A duration.
    pub(super) fn duration(&self) -> Option<Duration> {
        self.parse(units::DURATION, units::duration)
    }

    /// A duration that is not zero.
    pub(super) fn positive_duration(&self) -> Option<Duration> {
        let what = format!("{}, more than none", units::DURATION);
        self.parse(&what, |text| units::duration(text).filter(|duration| !duration.is_zero()))
    }

    /// A number of bytes.
    pub(super) fn size(&self) -> Option<u64> {
        self.parse(units::SIZE, |text| units::size(text).filter(|bytes| *bytes > 0))
    }

    /// A share in basis points.
    pub(super) fn share(&self) -> Option<u32> {
        self.parse(units::SHARE, units::share)
    }

    /// An address to listen on.
    pub(super) fn socket_address(&self) -> Option<SocketAddr> {
        let what = "an address and port such as \"127.0.0.1:8080\" or \"[::1]:8080\"";
        self.parse(what, |text| text.parse().ok())
    }

    /// The members of a list.
    pub(super) fn list(&self) -> Option<Vec<Node<'a>>> {
        let DeValue::Array(items) = self.value else {
            self.expected("a list");
            return None;
        };
        let node = |(at, item): (usize, &'a toml::Spanned<DeValue<'a>>)| Node {
            page: self.page,
            place: Place {
                line: line(self.page.line_starts, item.span().start),
                path: format!("{}[{at}]", self.place.path),
                ..self.place.clone()
            },
            value: item.get_ref(),
        };
        Some(items.iter().enumerate().map(node).collect())
    }

    /// The members of a list of texts, each with its place.
    pub(super) fn texts(&self) -> Option<Vec<(&'a str, Node<'a>)>> {
        let items = self.list()?;
        Some(items.into_iter().filter_map(|node| Some((node.text()?, node))).collect())
    }

    /// The table.
    pub(super) fn section(&self) -> Option<Section<'a>> {
        let table = Some(self.table()?);
        Some(Section {
            page: self.page,
            place: self.place.clone(),
            table,
            asked: RefCell::default(),
        })
    }

    /// The value as plain TOML, for keys of a platform's own shape. Floats keep their shortest
    /// form; nothing is reported.
    pub(super) fn to_toml(&self) -> toml::Value {
        to_toml(self.value)
    }

    fn table(&self) -> Option<&'a DeTable<'a>> {
        match self.value {
            DeValue::Table(table) => Some(table),
            _ => {
                self.expected("a table");
                None
            }
        }
    }
}

fn to_toml(value: &DeValue<'_>) -> toml::Value {
    match value {
        DeValue::String(text) => toml::Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| toml::Value::String(number.to_string()), toml::Value::Integer),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or_else(|_| toml::Value::String(number.to_string()), toml::Value::Float),
        DeValue::Boolean(flag) => toml::Value::Boolean(*flag),
        DeValue::Datetime(time) => toml::Value::Datetime(*time),
        DeValue::Array(items) => {
            toml::Value::Array(items.iter().map(|item| to_toml(item.get_ref())).collect())
        }
        DeValue::Table(table) => toml::Value::Table(
            table.iter().map(|(k, v)| (k.get_ref().to_string(), to_toml(v.get_ref()))).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str, read: impl FnOnce(Section<'_>)) -> Vec<String> {
        let report = Report::default();
        let document = Document::parse("x.toml", text, &report);
        read(document.root(&report));
        report.into_findings(&[]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_unknown_key_is_named_with_its_line() {
        let found = findings("kynd = 1\nother = 2\nkind = 3\n", |root| {
            root.get("kind");
            root.finish();
        });
        assert_eq!(
            found,
            [
                "error: x.toml:1: kynd: unknown key; did you mean \"kind\"?",
                "error: x.toml:2: other: unknown key; known here: kind",
            ]
        );
    }

    #[test]
    fn types_are_told_with_what_was_found() {
        let found = findings("a = 5\nb = \"7\"\nc = [1]\nd = 1.50\n[e]\nx = -1\n", |root| {
            assert_eq!(root.get("a").unwrap().text(), None);
            assert_eq!(root.get("b").unwrap().duration(), None);
            assert_eq!(root.get("c").unwrap().flag(), None);
            assert_eq!(root.get("d").unwrap().decimal(), Some("1.50".parse().unwrap()));
            assert_eq!(root.table("e").get("x").unwrap().integer(0, 9), None);
        });
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].contains("x.toml:1: a: expected a text, found 5"), "{found:?}");
        assert!(found[1].contains("found \"7\""), "{found:?}");
        assert!(found[3].contains("x.toml:6: e.x: expected a whole number from 0 to 9, found -1"));
    }

    #[test]
    fn syntax_errors_do_not_hide_what_follows() {
        let found = findings("a = \n[b]\nwrong = 1\na = 1\na = 2\n", |root| {
            let section = root.table("b");
            section.get("a");
            section.finish();
            root.get("a");
            root.finish();
        });
        assert!(found.iter().any(|f| f.contains("x.toml:1: not TOML")), "{found:?}");
        assert!(found.iter().any(|f| f.contains("x.toml:5: not TOML: duplicate key")), "{found:?}");
        assert!(found.iter().any(|f| f.contains("b.wrong: unknown key")), "{found:?}");
    }
}
