//! The rule engine: holds a JSON value against a [`Shape`] and lists what is wrong.
//!
//! It knows no platform. It reads no clock; `now` is an argument. What it says never repeats a
//! value, so that clear identity sent by mistake does not travel further in an error text.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    find::{Around, at, is_present},
    format::{WrongHashes, wrong, wrong_time},
    shape::{How, Shape},
    violation::{Kind, Violation},
};

/// More violations than this of one value say nothing new.
const ENOUGH: usize = 20;
/// Shapes that nest deeper than any contract: guards against a type that uses itself.
const DEEPEST: usize = 40;

/// What the rules need to know besides the value at hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    /// The contract's shared shapes.
    pub(super) types: &'a BTreeMap<String, Shape>,
    /// Digests that prove a wrong normalisation.
    pub(super) wrong_hashes: &'a WrongHashes,
    /// The whole document and the query.
    pub(super) around: Around<'a>,
    /// The time.
    pub(super) now: Timestamp,
}

/// Lists what is wrong with a value. `at` is where it is in the document, as a dotted prefix.
pub(super) fn check<'a>(
    rules: Rules<'a>,
    shape: &'a Shape,
    value: &'a Value,
    prefix: &'a str,
    index: Option<usize>,
) -> Vec<Violation> {
    let mut checker = Checker {
        rules,
        prefix,
        index,
        path: Vec::new(),
        how: How::Refuse,
        depth: 0,
        found: Vec::new(),
    };
    checker.value(shape, value);
    checker.found
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

struct Checker<'a> {
    rules: Rules<'a>,
    prefix: &'a str,
    index: Option<usize>,
    path: Vec<Step<'a>>,
    how: How,
    depth: usize,
    found: Vec<Violation>,
}

impl<'a> Checker<'a> {
    fn value(&mut self, shape: &'a Shape, value: &'a Value) {
        if self.found.len() >= ENOUGH || self.depth >= DEEPEST {
            return;
        }
        let outer = self.how;
        self.how = shape.how.unwrap_or(outer);
        self.depth += 1;
        if let Some(shared) = shape.shared.as_ref().and_then(|name| self.rules.types.get(name)) {
            self.value(shared, value);
        }
        match value {
            Value::Array(items) if shape.one_or_many => {
                self.items(items, |checker, item| checker.one(shape, item));
            }
            _ => self.one(shape, value),
        }
        self.depth -= 1;
        self.how = outer;
    }

    fn one(&mut self, shape: &'a Shape, value: &'a Value) {
        if let Some(kinds) = &shape.kinds
            && !kinds.all().iter().any(|kind| kind.holds(value))
        {
            let names: Vec<_> = kinds.all().iter().map(|kind| kind.name()).collect();
            self.report(shape, Kind::Type, format!("must be {}", names.join(" or ")));
            return;
        }
        match value {
            Value::Object(members) => self.object(shape, value, members),
            Value::Array(items) => self.array(shape, items),
            Value::String(text) => self.text(shape, text),
            Value::Number(number) => self.number(shape, number),
            Value::Null | Value::Bool(_) => {}
        }
        if !shape.values.is_empty() && !shape.values.contains(value) {
            self.report(shape, Kind::Value, "is none of the values that are taken");
        }
        if shape.never.contains(value) {
            self.report(shape, Kind::Value, "is a value that is refused");
        }
        if let Some(path) = &shape.among
            && !self.rules.around.any(value, path, &mut |found| found == value)
        {
            self.report(shape, Kind::Value, "refers to nothing in the request");
        }
        if let Some(window) = &shape.time
            && let Some((kind, text)) = wrong_time(window, value, self.rules.now)
        {
            self.report(shape, kind, text);
        }
        if let Some(text) = &shape.fail {
            self.report(shape, Kind::Value, text.as_str());
        }
        if let Some(inner) = &shape.anywhere {
            self.anywhere(inner, value);
        }
        for when in &shape.when {
            let holds = self.rules.around.holds(&when.condition, value);
            self.value(if holds { &when.then } else { &when.otherwise }, value);
        }
    }

    fn object(
        &mut self,
        shape: &'a Shape,
        value: &'a Value,
        members: &'a serde_json::Map<String, Value>,
    ) {
        let has = |path: &String| at(value, path).is_some_and(is_present);
        for name in shape.required.iter().filter(|name| !has(name)) {
            self.report_below(shape, name, Kind::Missing, "is missing");
        }
        let groups = &shape.any_of;
        if !groups.is_empty() && !groups.iter().any(|group| group.iter().all(has)) {
            let names: Vec<_> = groups.iter().map(|group| group.join("+")).collect();
            self.report(shape, Kind::TooWeak, format!("needs one of {}", names.join(", ")));
        }
        if !shape.one_of.is_empty() && shape.one_of.iter().filter(|name| has(name)).count() != 1 {
            let names = shape.one_of.join(", ");
            self.report(shape, Kind::Group, format!("must have exactly one of {names}"));
        }
        for group in &shape.together {
            let there = group.iter().filter(|name| has(name)).count();
            if there != 0 && there != group.len() {
                self.report(
                    shape,
                    Kind::Group,
                    format!("needs all or none of {}", group.join(", ")),
                );
            }
        }
        for group in &shape.apart {
            if group.iter().filter(|name| has(name)).count() > 1 {
                self.report(shape, Kind::Group, format!("can have one of {}", group.join(", ")));
            }
        }
        let weak = |set: &Vec<String>| {
            members.iter().all(|(name, value)| !is_present(value) || set.contains(name))
        };
        if shape.too_weak.iter().any(weak) {
            self.report(shape, Kind::TooWeak, "does not identify a person well enough");
        }
        if shape.max_fields.is_some_and(|most| members.len() > most) {
            self.report(shape, Kind::TooMany, "has too many members");
        }
        for (name, member) in members {
            self.path.push(Step::Key(name));
            if let Some(names) = &shape.names {
                self.text(names, name);
            }
            match (shape.fields.get(name), &shape.each) {
                (Some(inner), _) => self.value(inner, member),
                (None, Some(each)) => self.value(each, member),
                (None, None) => {
                    if let Some(closed) = shape.closed {
                        let how = std::mem::replace(&mut self.how, closed);
                        self.report(shape, Kind::UnknownField, "is not known");
                        self.how = how;
                    }
                }
            }
            self.path.pop();
        }
    }

    fn array(&mut self, shape: &'a Shape, items: &'a [Value]) {
        if shape.min_items.is_some_and(|fewest| items.len() < fewest) {
            self.report(shape, Kind::TooFew, "has too few items");
        }
        if let Some(most) = shape.max_items
            && items.len() > most
        {
            let text = format!("has {} items; at most {most} are taken", items.len());
            self.report(shape, Kind::TooMany, text);
        }
        for (position, inner) in &shape.positions {
            if let Some(item) = items.get(*position) {
                self.path.push(Step::Item(*position));
                self.value(inner, item);
                self.path.pop();
            }
        }
        if !shape.unique_by.is_empty() {
            self.unique(shape, items);
        }
        if let Some(each) = &shape.each {
            self.items(items, |checker, item| checker.value(each, item));
        }
    }

    fn unique(&mut self, shape: &'a Shape, items: &'a [Value]) {
        let mut seen = std::collections::HashSet::new();
        for (position, item) in items.iter().enumerate() {
            let key: Vec<_> = shape.unique_by.iter().map(|path| at(item, path)).collect();
            let whole = key.iter().all(Option::is_some);
            if whole && !seen.insert(key) {
                self.path.push(Step::Item(position));
                self.report(shape, Kind::Duplicate, "occurs twice");
                self.path.pop();
            }
        }
    }

    fn items(&mut self, items: &'a [Value], mut each: impl FnMut(&mut Self, &'a Value)) {
        for (position, item) in items.iter().enumerate() {
            self.path.push(Step::Item(position));
            each(self, item);
            self.path.pop();
        }
    }

    fn text(&mut self, shape: &'a Shape, text: &str) {
        if shape.min_length.is_some() || shape.max_length.is_some() {
            let length = text.chars().count();
            if shape.min_length.is_some_and(|fewest| length < fewest) {
                self.report(shape, Kind::Length, "is too short");
            }
            if let Some(most) = shape.max_length
                && length > most
            {
                self.report(shape, Kind::Length, format!("is longer than {most} characters"));
            }
        }
        if shape.pattern.as_ref().is_some_and(|pattern| !pattern.0.is_match(text)) {
            self.report(shape, Kind::Format, "is not in the wanted form");
        }
        if shape.never_pattern.as_ref().is_some_and(|pattern| pattern.0.is_match(text)) {
            self.report(shape, Kind::Value, "is in a form that is refused");
        }
        if let Some(format) = shape.format
            && let Some((kind, what)) = wrong(format, text, self.rules.wrong_hashes, self.rules.now)
        {
            self.report(shape, kind, what);
        }
    }

    fn number(&mut self, shape: &'a Shape, number: &serde_json::Number) {
        if (shape.min.is_some() || shape.max.is_some())
            && number.as_f64().is_none_or(|value| {
                shape.min.is_some_and(|least| value < least)
                    || shape.max.is_some_and(|most| value > most)
            })
        {
            self.report(shape, Kind::Range, "is out of bounds");
        }
        if let Some(most) = shape.max_decimals {
            let text = number.to_string();
            let decimals = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            if decimals > most {
                self.report(shape, Kind::Range, format!("has more than {most} decimals"));
            }
        }
    }

    fn anywhere(&mut self, shape: &'a Shape, value: &'a Value) {
        match value {
            Value::String(text) => self.text(shape, text),
            Value::Array(items) => self.items(items, |checker, item| checker.anywhere(shape, item)),
            Value::Object(members) => {
                for (name, member) in members {
                    self.path.push(Step::Key(name));
                    self.anywhere(shape, member);
                    self.path.pop();
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn report_below(&mut self, shape: &'a Shape, name: &'a str, kind: Kind, text: &str) {
        self.path.push(Step::Key(name));
        self.report(shape, kind, text);
        self.path.pop();
    }

    fn report(&mut self, shape: &Shape, kind: Kind, text: impl Into<String>) {
        let mut path = self.prefix.to_owned();
        for step in &self.path {
            match step {
                Step::Key(key) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                }
                Step::Item(position) => path.push_str(&format!("[{position}]")),
            }
        }
        self.found.push(Violation {
            index: self.index,
            path,
            kind,
            code: shape.code.clone(),
            text: shape.why.clone().unwrap_or_else(|| text.into()),
            how: self.how,
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The kinds and paths of what is wrong with a value.
    fn wrong(shape: Value, value: &Value) -> Vec<String> {
        let types: BTreeMap<String, Shape> = serde_json::from_value(json!({
            "short": {"type": "string", "max_length": 3},
            "endless": {"use": "endless"},
        }))
        .unwrap();
        let shape: Shape = serde_json::from_value(shape).unwrap();
        let rules = Rules {
            types: &types,
            wrong_hashes: &WrongHashes::default(),
            around: Around { root: value, query: &[] },
            now: "2026-11-22T04:00:00Z".parse().unwrap(),
        };
        let line = |it: &Violation| format!("{} {}", it.kind.name(), it.path);
        check(rules, &shape, value, "", None).iter().map(line).collect()
    }

    #[test]
    fn types_values_and_bounds() {
        assert!(wrong(json!({"type": ["string", "integer"]}), &json!(1)).is_empty());
        assert_eq!(wrong(json!({"type": "integer"}), &json!(1.0)), ["type "]);
        assert_eq!(wrong(json!({"values": ["a"]}), &json!("b")), ["value "]);
        assert_eq!(wrong(json!({"never": ["b"]}), &json!("b")), ["value "]);
        assert_eq!(wrong(json!({"min": 0, "max": 2}), &json!(-0.1)), ["range "]);
        assert_eq!(wrong(json!({"max_decimals": 2}), &json!(1.005)), ["range "]);
        assert_eq!(wrong(json!({"use": "short"}), &json!("four")), ["length "]);
        assert_eq!(wrong(json!({"fail": "never"}), &json!(null)), ["value "]);
        assert!(wrong(json!({"use": "endless"}), &json!(1)).is_empty(), "it ends all the same");
    }

    #[test]
    fn members_and_groups() {
        let value = json!({"a": "x", "b": "", "c": {"d": []}});
        assert_eq!(
            wrong(json!({"required": ["a", "b", "c.d"]}), &value),
            ["missing b", "missing c.d"]
        );
        assert_eq!(
            wrong(json!({"closed": "refuse", "fields": {"a": {}, "c": {}}}), &value),
            ["unknown_field b"]
        );
        assert_eq!(wrong(json!({"any_of": [["b"], ["a", "b"]]}), &value), ["too_weak "]);
        assert_eq!(wrong(json!({"one_of": ["a", "b"]}), &value), Vec::<String>::new());
        assert_eq!(wrong(json!({"one_of": ["b"]}), &value), ["group "]);
        assert_eq!(wrong(json!({"together": [["a", "b"]]}), &value), ["group "]);
        assert_eq!(wrong(json!({"apart": [["a", "a"]]}), &value), ["group "]);
        assert_eq!(wrong(json!({"too_weak": [["a", "c"]]}), &value), ["too_weak "]);
        assert_eq!(wrong(json!({"names": {"pattern": "^[ab]$"}}), &value), ["format c"]);
        assert_eq!(wrong(json!({"max_fields": 2}), &value), ["too_many "]);
        assert_eq!(wrong(json!({"anywhere": {"never_pattern": "x"}}), &value), ["value a"]);
    }

    #[test]
    fn lists_and_references() {
        let value = json!({"refs": [{"id": "1"}, {"id": "1"}], "to": ["1", "2"], "one": "3"});
        let unique = json!({"fields": {"refs": {"unique_by": ["id"]}}});
        assert_eq!(wrong(unique, &value), ["duplicate refs[1]"]);
        let among = json!({"fields": {"to": {"each": {"among": "$.refs.*.id"}}}});
        assert_eq!(wrong(among, &value), ["value to[1]"]);
        let either = json!({"one_or_many": true, "type": "string", "max_length": 0});
        let either = json!({"fields": {"to": either, "one": either}});
        assert_eq!(wrong(either, &value), ["length one", "length to[0]", "length to[1]"]);
        let sizes = json!({"fields": {"to": {"min_items": 3}, "refs": {"max_items": 1,
            "positions": {"1": {"type": "string"}}}}});
        assert_eq!(wrong(sizes, &value), ["too_many refs", "type refs[1]", "too_few to"]);
    }

    #[test]
    fn conditions_choose_and_severity_is_inherited() {
        let when = json!({"when": [{"if": {"path": "kind", "in": ["a"]},
            "then": {"required": ["x"]}, "else": {"required": ["y"]}}]});
        assert_eq!(wrong(when.clone(), &json!({"kind": "a"})), ["missing x"]);
        assert_eq!(wrong(when, &json!({"kind": "b"})), ["missing y"]);
        let shape: Shape = serde_json::from_value(json!({"how": "warn", "fields": {
            "a": {"type": "string"}, "b": {"type": "string", "how": "refuse"}}}))
        .unwrap();
        let value = json!({"a": 1, "b": 1});
        let (types, hashes) = (BTreeMap::new(), WrongHashes::default());
        let now = "2026-11-22T04:00:00Z".parse().unwrap();
        let around = Around { root: &value, query: &[] };
        let rules = Rules { types: &types, wrong_hashes: &hashes, around, now };
        let hows: Vec<_> = check(rules, &shape, &value, "", None).iter().map(|it| it.how).collect();
        assert_eq!(hows, [How::Warn, How::Refuse]);
    }
}
