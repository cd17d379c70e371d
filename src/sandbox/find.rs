//! Looks values up by dotted paths, and evaluates conditions over them.

use serde_json::Value;

use super::shape::Condition;

/// What a path can start from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    /// The whole document.
    pub(super) root: &'a Value,
    /// The query's parameters, decoded.
    pub(super) query: &'a [(String, String)],
}

impl<'a> Around<'a> {
    /// Whether `test` holds for anything at `path`.
    pub(super) fn any(
        &self,
        here: &'a Value,
        path: &str,
        test: &mut dyn FnMut(&Value) -> bool,
    ) -> bool {
        if let Some(name) = path.strip_prefix("query.") {
            return self
                .query
                .iter()
                .any(|(key, value)| key == name && test(&Value::String(value.clone())));
        }
        match path.strip_prefix("$.") {
            Some(path) => any_at(self.root, path, test),
            None => any_at(here, path, test),
        }
    }

    /// Whether a condition holds of a value.
    pub(super) fn holds(&self, condition: &Condition, here: &'a Value) -> bool {
        let path = condition.path.as_deref().unwrap_or_default();
        let own = (condition.values.is_empty()
            || self.any(here, path, &mut |found| condition.values.contains(found)))
            && condition
                .present
                .is_none_or(|wanted| self.any(here, path, &mut is_present) == wanted)
            && condition.matches.as_ref().is_none_or(|pattern| {
                self.any(here, path, &mut |found| {
                    found.as_str().is_some_and(|text| pattern.0.is_match(text))
                })
            });
        own && condition.all.iter().all(|inner| self.holds(inner, here))
            && (condition.any.is_empty()
                || condition.any.iter().any(|inner| self.holds(inner, here)))
            && !condition.none.iter().any(|inner| self.holds(inner, here))
    }
}

/// Whether a value says anything: platforms read an empty text or list like an absent one.
pub(super) fn is_present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// The value at a dotted path without `*`; an empty path is the value itself.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if path.is_empty() {
        return Some(value);
    }
    path.split('.').try_fold(value, step)
}

fn any_at(value: &Value, path: &str, test: &mut dyn FnMut(&Value) -> bool) -> bool {
    if path.is_empty() {
        return test(value);
    }
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    if first == "*" {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        return items.iter().any(|item| any_at(item, rest, test));
    }
    step(value, first).is_some_and(|next| any_at(next, rest, test))
}

fn step<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => members.get(name),
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(condition: Value, here: &Value) -> bool {
        let condition: Condition = serde_json::from_value(condition).unwrap();
        let root = json!({"mode": "strict", "list": [{"a": 1}, {"a": 2}]});
        let query = [("id".to_owned(), "7".to_owned())];
        Around { root: &root, query: &query }.holds(&condition, here)
    }

    #[test]
    fn conditions_look_here_at_the_root_and_in_the_query() {
        let here = json!({"kind": "web", "user": {"ip": ""}});
        assert!(holds(json!({"path": "kind", "in": ["web", "app"]}), &here));
        assert!(!holds(json!({"path": "kind", "in": ["app"]}), &here));
        assert!(holds(json!({"path": "user.ip", "present": false}), &here), "empty is absent");
        assert!(holds(json!({"path": "$.mode", "in": ["strict"]}), &here));
        assert!(holds(json!({"path": "$.list.*.a", "in": [2]}), &here));
        assert!(!holds(json!({"path": "$.list.*.a", "in": [3]}), &here));
        assert!(holds(json!({"path": "query.id", "present": true}), &here));
        assert!(holds(json!({"path": "kind", "matches": "^w"}), &here));
    }

    #[test]
    fn conditions_combine() {
        let here = json!({"a": 1});
        assert!(holds(
            json!({"any": [{"path": "b", "present": true}, {"path": "a", "in": [1]}]}),
            &here
        ));
        assert!(holds(json!({"none": [{"path": "b", "present": true}]}), &here));
        assert!(!holds(
            json!({"all": [{"path": "a", "in": [1]}, {"path": "b", "in": [1]}]}),
            &here
        ));
    }
}
