//! What an event is called at Reddit: one of its types, or a name of one's own.

use std::collections::BTreeMap;

use crate::destinations::{Entry, Problem, Settings};

/// SCHEMA, `custom_event_name`.
const LONGEST_NAME: usize = 64;

pub(super) const CUSTOM: &str = "CUSTOM";

/// SCHEMA, `tracking_type`. VIEW_CONTENT, SEARCH and ADD_TO_WISHLIST can be sent, but since
/// 2025-06-01 not be optimised for.
const TRACKING_TYPES: &[&str] = &[
    "PAGE_VISIT",
    "VIEW_CONTENT",
    "SEARCH",
    "ADD_TO_CART",
    "ADD_TO_WISHLIST",
    "PURCHASE",
    "LEAD",
    "SIGN_UP",
    CUSTOM,
];

/// What an event is at Reddit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// One of its types.
    Standard(&'static str),
    /// A name of one's own, case sensitive.
    Custom(String),
}

pub(super) fn kinds(
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Vec<Kind>> {
    let mut kinds = BTreeMap::new();
    for (event, entries) in &settings.entries {
        let mut list = Vec::with_capacity(entries.len());
        for entry in entries {
            list.push(kind(event, entry).unwrap_or_else(|message| {
                problems.push(Problem::new(format!("events.{event}"), message));
                Kind::Standard(CUSTOM)
            }));
        }
        kinds.insert(event.clone(), list);
    }
    kinds
}

pub(super) fn kind(event: &str, entry: &Entry) -> Result<Kind, String> {
    let (written, custom) = match entry {
        Entry::Standard => (None, None),
        Entry::Name(name) => (Some(name.as_str()), None),
        Entry::Table(table) => {
            let text = |key: &str| table.get(key).and_then(toml::Value::as_str);
            (text("tracking_type"), text("custom_event_name"))
        }
    };
    match (written, custom) {
        (None | Some(CUSTOM), Some(name)) => {
            if name.is_empty() || name.chars().count() > LONGEST_NAME {
                return Err(format!("custom_event_name must have 1 to {LONGEST_NAME} characters"));
            }
            Ok(Kind::Custom(name.to_owned()))
        }
        (Some(CUSTOM), None) => Err("needs a custom_event_name".to_owned()),
        (Some(_), Some(_)) => Err("custom_event_name is for tracking_type = \"CUSTOM\"".to_owned()),
        (Some(name), None) => {
            let known = TRACKING_TYPES.iter().find(|known| **known == name);
            known.map(|known| Kind::Standard(known)).ok_or_else(|| {
                format!(
                    "must be one of {}; another name is {{ tracking_type = \"CUSTOM\", \
                     custom_event_name = \"...\" }}",
                    TRACKING_TYPES.join(", ")
                )
            })
        }
        (None, None) => standard(event).map(Kind::Standard).ok_or_else(|| {
            "has no standard type at Reddit; write one, or { tracking_type = \"CUSTOM\", \
             custom_event_name = \"...\" }"
                .to_owned()
        }),
    }
}

/// The type of an event: the same words, or those of the usual analytics vocabulary.
fn standard(event: &str) -> Option<&'static str> {
    match event {
        "page_view" | "page_viewed" => Some("PAGE_VISIT"),
        "view_item" | "product_viewed" => Some("VIEW_CONTENT"),
        "view_search_results" => Some("SEARCH"),
        "generate_lead" => Some("LEAD"),
        "order_completed" => Some("PURCHASE"),
        _ => {
            let same = |known: &&&str| **known != CUSTOM && known.eq_ignore_ascii_case(event);
            TRACKING_TYPES.iter().find(same).copied()
        }
    }
}
