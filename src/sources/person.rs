//! Who it was: `user`, `click_ids` and `lead`.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::{
    Rejection, WarningCode,
    json::Node,
    moment,
    native::Draft,
    typed::{self, Path},
    words::click_id,
};
use crate::event::{Field, FieldSet};

/// The keys of one group of the interface with their fields.
pub(super) struct Group(Vec<(&'static str, Field)>);

impl Group {
    /// The fields right below a path.
    pub(super) fn below(path: &str) -> Self {
        let key = |field: &Field| {
            let key = field.path().strip_prefix(path)?.strip_prefix('.')?;
            (!key.contains('.') && !field.holds_json()).then_some((key, *field))
        };
        Self(Field::ALL.iter().filter_map(key).collect())
    }

    pub(super) fn find(&self, key: &str) -> Option<Field> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, field)| *field)
    }

    fn keys(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.iter().map(|(key, _)| *key)
    }
}

static USER: LazyLock<Group> = LazyLock::new(|| Group::below("user"));
static LEAD: LazyLock<Group> = LazyLock::new(|| Group::below("lead"));

/// Of these platforms take several values.
const SEVERAL: FieldSet = FieldSet::of(&[Field::Email, Field::Phone, Field::ExternalId]);

/// These are ids of other systems, which may be whole numbers.
const IDS: FieldSet = FieldSet::of(&[Field::ExternalId, Field::AnonymousId, Field::SubscriptionId]);

pub(super) fn user(draft: &mut Draft<'_>, node: &Node<'_>) -> Result<(), Rejection> {
    let user = Path::Root.key("user");
    for (key, node) in typed::object(node, &user)? {
        let path = user.key(key);
        if key == "minor" {
            draft.event.minor = typed::flag(node, &path)?;
            continue;
        }
        let Some(field) = USER.find(key) else {
            return Err(typed::unknown(&path, key, USER.keys().chain(["minor"])));
        };
        match node {
            Node::List(values) if SEVERAL.contains(field) => {
                for (i, value) in values.iter().enumerate() {
                    put(draft, field, value, &Path::Index(&path, i))?;
                }
            }
            single => put(draft, field, single, &path)?,
        }
    }
    Ok(())
}

fn put(
    draft: &mut Draft<'_>,
    field: Field,
    node: &Node<'_>,
    path: &Path<'_>,
) -> Result<(), Rejection> {
    let text = if IDS.contains(field) { typed::id(node, path) } else { typed::text(node, path) }?;
    match text {
        Some(text) if field == Field::DateOfBirth => {
            let date = canonical_date(text);
            draft.put(field, date.as_deref().unwrap_or(text));
        }
        Some(text) => draft.put(field, text),
        None => {}
    }
    Ok(())
}

/// `YYYY-MM-DD` of the forms that leave no doubt: year first, with or without separators, and of a
/// time its date. Others (`02/03/1990`) stay as they came.
fn canonical_date(text: &str) -> Option<String> {
    let date = text.trim().split(['T', ' ']).next()?;
    let digits: String = match date.as_bytes() {
        [_, _, _, _, a, _, _, b, _, _] if a == b && matches!(a, b'-' | b'/' | b'.') => {
            date.split(char::from(*a)).collect()
        }
        [_, _, _, _, _, _, _, _] => date.to_owned(),
        _ => return None,
    };
    if digits.len() != 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = digits.split_at_checked(4)?;
    let (month, day) = rest.split_at_checked(2)?;
    let date = jiff::civil::Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    date.ok().map(|date| date.to_string())
}

pub(super) fn click_ids(draft: &mut Draft<'_>, node: &Node<'_>) -> Result<(), Rejection> {
    let click_ids = Path::Root.key("click_ids");
    let mut others = Map::new();
    for (key, node) in typed::object(node, &click_ids)? {
        let path = click_ids.key(key);
        if key == "clicked_at" {
            draft.event.clicked_at = moment::moment(node, &path)?;
        } else {
            id_of(draft, click_id(key), key, node, &path, &mut others)?;
        }
    }
    put_others(draft, Field::OtherClickIds, others);
    Ok(())
}

pub(super) fn lead(draft: &mut Draft<'_>, node: &Node<'_>) -> Result<(), Rejection> {
    let lead = Path::Root.key("lead");
    let mut others = Map::new();
    for (key, node) in typed::object(node, &lead)? {
        id_of(draft, LEAD.find(key), key, node, &lead.key(key), &mut others)?;
    }
    put_others(draft, Field::OtherLead, others);
    Ok(())
}

/// A click or lead id, verbatim. One of an unknown name is no reason to lose the event: it is kept
/// for webhooks, and no platform is given it.
fn id_of(
    draft: &mut Draft<'_>,
    field: Option<Field>,
    key: &str,
    node: &Node<'_>,
    path: &Path<'_>,
    others: &mut Map<String, Value>,
) -> Result<(), Rejection> {
    let id = typed::id(node, path)?;
    match (field, id) {
        (Some(field), Some(id)) => draft.put(field, id.trim()),
        (None, Some(id)) => {
            others.insert(key.to_owned(), Value::from(id.trim()));
            let message = format!("{path}: no platform has an id of this name");
            draft.warn(WarningCode::UnknownClickId, message);
        }
        (_, None) => {}
    }
    Ok(())
}

fn put_others(draft: &mut Draft<'_>, field: Field, others: Map<String, Value>) {
    if !others.is_empty() {
        draft.put(field, &Value::Object(others).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_follow_the_field_list() {
        assert_eq!(USER.find("email"), Some(Field::Email));
        assert_eq!(USER.keys().count(), 17);
        assert_eq!(click_id("gclid"), Some(Field::Gclid));
        assert_eq!(click_id("dicbo"), Some(Field::ObClickId));
        assert_eq!(LEAD.find("id"), Some(Field::LeadId));
        assert_eq!(Group::below("context").find("app"), None);
    }

    #[test]
    fn dates_without_doubt_become_canonical() {
        for (text, expected) in [
            ("1990-02-16", Some("1990-02-16")),
            ("19900216", Some("1990-02-16")),
            ("1990/02/16", Some("1990-02-16")),
            (" 1990-02-16T00:00:00Z", Some("1990-02-16")),
            ("02/03/1990", None),
            ("1990-02-31", None),
            ("1990-2-16", None),
            ("16.02.1990", None),
            ("", None),
        ] {
            assert_eq!(canonical_date(text).as_deref(), expected, "{text}");
        }
    }
}
