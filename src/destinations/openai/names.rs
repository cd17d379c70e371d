//! What an event may be called at OpenAI, and of which shape its data is (EVENTS).

use std::collections::BTreeMap;

use crate::destinations::{Entry, Problem, Settings};

const CUSTOM: &str = "custom";

/// What an event's `data` has, besides an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Products.
    Contents,
    /// Nothing more.
    CustomerAction,
    /// A plan's id, and products.
    PlanEnrollment,
    /// The same, of a name of one's own.
    Custom,
}

impl Shape {
    pub(super) fn name(self) -> &'static str {
        match self {
            Shape::Contents => "contents",
            Shape::CustomerAction => "customer_action",
            Shape::PlanEnrollment => "plan_enrollment",
            Shape::Custom => CUSTOM,
        }
    }

    pub(super) fn has_contents(self) -> bool {
        self != Shape::CustomerAction
    }

    pub(super) fn has_plan(self) -> bool {
        matches!(self, Shape::PlanEnrollment | Shape::Custom)
    }
}

#[rustfmt::skip]
const EVENTS: [(&str, Shape); 11] = [
    ("appointment_scheduled", Shape::CustomerAction),
    ("checkout_started", Shape::Contents),
    ("contents_viewed", Shape::Contents),
    (CUSTOM, Shape::Custom),
    ("items_added", Shape::Contents),
    ("lead_created", Shape::CustomerAction),
    ("order_created", Shape::Contents),
    ("page_viewed", Shape::Contents),
    ("registration_completed", Shape::CustomerAction),
    ("subscription_created", Shape::PlanEnrollment),
    ("trial_started", Shape::PlanEnrollment),
];

/// What an event is at OpenAI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) event: &'static str,
    pub(super) shape: Shape,
    /// Of a custom event.
    pub(super) custom_name: Option<String>,
}

/// The kinds of all entries, by plan event.
pub(super) fn kinds(
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Vec<Kind>> {
    let mut kinds = BTreeMap::new();
    for (event, entries) in &settings.entries {
        let mut list = Vec::with_capacity(entries.len());
        for entry in entries {
            match kind(event, entry) {
                Ok(kind) => list.push(kind),
                Err(message) => {
                    problems.push(Problem::new(format!("events.{event}"), message));
                }
            }
        }
        kinds.insert(event.clone(), list);
    }
    kinds
}

fn kind(event: &str, entry: &Entry) -> Result<Kind, String> {
    let (written, custom) = match entry {
        Entry::Standard => (None, None),
        Entry::Name(name) => (Some(name.as_str()), None),
        Entry::Table(table) => {
            let text = |key: &str| table.get(key).and_then(toml::Value::as_str);
            (text("type"), text("custom_event_name"))
        }
    };
    let hint = "{ type = \"custom\", custom_event_name = \"...\" }";
    let name = match (written, custom) {
        (None, Some(_)) => CUSTOM,
        (Some(name), _) => name,
        (None, None) => standard(event)
            .ok_or_else(|| format!("has no name of its own at OpenAI; write one, or {hint}"))?,
    };
    let known = EVENTS.iter().find(|(known, _)| *known == name);
    let Some((name, shape)) = known.copied() else {
        let names: Vec<&str> = EVENTS.iter().map(|(name, _)| *name).collect();
        return Err(format!("must be one of {}; another name is {hint}", names.join(", ")));
    };
    match (shape, custom) {
        (Shape::Custom, None) => Err("needs a custom_event_name".to_owned()),
        (Shape::Custom, Some(custom)) if !is_custom_name(custom) => Err(
            "custom_event_name must be 1 to 64 letters, digits, _ and -, with a letter or digit at \
             either end"
                .to_owned(),
        ),
        (Shape::Custom, Some(_)) | (_, None) => {
            Ok(Kind { event: name, shape, custom_name: custom.map(str::to_owned) })
        }
        (_, Some(_)) => Err("custom_event_name is for type = \"custom\"".to_owned()),
    }
}

/// DOC, `custom_event_name`.
fn is_custom_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let ends = |c: char| c.is_ascii_alphanumeric();
    (1..=64).contains(&name.len())
        && name.bytes().all(inner)
        && name.starts_with(ends)
        && name.ends_with(ends)
}

/// The name of an event: the same word, or that of the usual analytics vocabulary.
fn standard(event: &str) -> Option<&'static str> {
    let name = match event {
        "purchase" | "order_completed" => "order_created",
        "begin_checkout" => "checkout_started",
        "view_item" | "product_viewed" => "contents_viewed",
        "add_to_cart" | "product_added" => "items_added",
        "generate_lead" | "lead" => "lead_created",
        "page_view" => "page_viewed",
        "sign_up" | "complete_registration" => "registration_completed",
        "subscribe" => "subscription_created",
        "start_trial" => "trial_started",
        "schedule" => "appointment_scheduled",
        other => other,
    };
    EVENTS.iter().map(|(known, _)| *known).find(|known| *known == name && *known != CUSTOM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_openais_or_custom_where_the_settings_say_so() {
        let table = |text: &str| Entry::Table(text.parse().unwrap());
        let name = |text: &str| Entry::Name(text.to_owned());
        let of = |event: &str, entry: &Entry| kind(event, entry).map(|it| (it.event, it.shape));
        assert_eq!(of("purchase", &Entry::Standard), Ok(("order_created", Shape::Contents)));
        let trial = of("start_trial", &Entry::Standard);
        assert_eq!(trial, Ok(("trial_started", Shape::PlanEnrollment)));
        assert_eq!(of("x", &name("lead_created")), Ok(("lead_created", Shape::CustomerAction)));
        for text in
            ["custom_event_name = \"won-deal\"", "type = \"custom\"\ncustom_event_name = \"a\""]
        {
            assert_eq!(of("x", &table(text)), Ok(("custom", Shape::Custom)));
        }
        for (event, entry) in [
            ("store_visit", Entry::Standard),
            ("custom", Entry::Standard),
            ("purchase", name("custom")),
            ("purchase", name("Purchase")),
            ("purchase", table("type = \"order_created\"\ncustom_event_name = \"x\"")),
            ("purchase", table("custom_event_name = \"_x\"")),
            ("purchase", table("custom_event_name = \"x-\"")),
            ("purchase", table("custom_event_name = \"a b\"")),
            ("purchase", table("custom_event_name = \"\"")),
            ("purchase", table(&format!("custom_event_name = \"{}\"", "x".repeat(65)))),
        ] {
            assert!(of(event, &entry).is_err(), "{event} {entry:?}");
        }
    }
}
