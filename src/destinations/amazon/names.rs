//! What an event is called at Amazon: a name of one's own, and one of Amazon's kinds.

use std::collections::BTreeMap;

use crate::destinations::{Entry, Problem, Settings};

const PURCHASE: &str = "OFF_AMAZON_PURCHASES";

/// GEN, `conversionType`.
const KINDS: [&str; 12] = [
    "ADD_TO_SHOPPING_CART",
    "APPLICATION",
    "CHECKOUT",
    "CONTACT",
    "LEAD",
    PURCHASE,
    "MOBILE_APP_FIRST_START",
    "PAGE_VIEW",
    "SEARCH",
    "SIGN_UP",
    "SUBSCRIBE",
    "OTHER",
];

/// A name and its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) name: String,
    pub(super) kind: &'static str,
}

impl Name {
    /// Its value is money, and may not be negative (AMZ).
    pub(super) fn is_purchase(&self) -> bool {
        self.kind == PURCHASE
    }
}

/// The names of all entries, by plan event.
pub(super) fn names(
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Vec<Name>> {
    let mut names = BTreeMap::new();
    for (event, entries) in &settings.entries {
        let mut list = Vec::with_capacity(entries.len());
        for entry in entries {
            match name(event, entry) {
                Ok(name) => list.push(name),
                Err(message) => {
                    problems.push(Problem::new(format!("events.{event}"), message));
                }
            }
        }
        names.insert(event.clone(), list);
    }
    names
}

/// A kind that the event's own name does not tell must be written: nothing becomes `OTHER` unasked.
fn name(event: &str, entry: &Entry) -> Result<Name, String> {
    let text = |table: &toml::Table, key: &str| match table.get(key) {
        None => Ok(None),
        Some(toml::Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(format!("{key} must be a text")),
    };
    let (name, kind) = match entry {
        Entry::Standard => (None, None),
        Entry::Name(name) if name.trim().is_empty() => return Err("must have a name".to_owned()),
        Entry::Name(name) => (Some(name.clone()), None),
        Entry::Table(table) => (text(table, "name")?, text(table, "conversion_type")?),
    };
    let kind = match kind {
        Some(kind) => KINDS
            .iter()
            .find(|known| **known == kind)
            .copied()
            .ok_or_else(|| format!("conversion_type must be one of {}", KINDS.join(", ")))?,
        None => standard(event).ok_or_else(|| {
            "has no kind of its own at Amazon; write one: { name = \"...\", conversion_type = \
             \"OTHER\" }"
                .to_owned()
        })?,
    };
    Ok(Name { name: name.unwrap_or_else(|| event.to_owned()), kind })
}

/// The kind of an event: the same words, or those of the usual analytics vocabulary.
fn standard(event: &str) -> Option<&'static str> {
    match event {
        "purchase" | "order_completed" => Some(PURCHASE),
        "add_to_cart" | "product_added" => Some("ADD_TO_SHOPPING_CART"),
        "begin_checkout" | "checkout_started" => Some("CHECKOUT"),
        "generate_lead" => Some("LEAD"),
        "page_viewed" => Some("PAGE_VIEW"),
        "view_search_results" | "products_searched" => Some("SEARCH"),
        "first_open" => Some("MOBILE_APP_FIRST_START"),
        _ => {
            KINDS.iter().find(|kind| **kind != "OTHER" && kind.eq_ignore_ascii_case(event)).copied()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_or_written() {
        let table = |text: &str| Entry::Table(text.parse().unwrap());
        let of = |event: &str, entry: &Entry| name(event, entry).map(|it| (it.name, it.kind));
        let is = |name: &str, kind| Ok((name.to_owned(), kind));
        assert_eq!(of("purchase", &Entry::Standard), is("purchase", PURCHASE));
        assert_eq!(of("sign_up", &Entry::Standard), is("sign_up", "SIGN_UP"));
        let named = Entry::Name("Web order".to_owned());
        assert_eq!(of("order_completed", &named), is("Web order", PURCHASE));
        let own = table("name = \"store visit\"\nconversion_type = \"OTHER\"");
        assert_eq!(of("store_visit", &own), is("store visit", "OTHER"));
        let kind = table("conversion_type = \"LEAD\"");
        assert_eq!(of("store_visit", &kind), is("store_visit", "LEAD"));
        for (event, entry) in [
            ("store_visit", Entry::Standard),
            ("other", Entry::Standard),
            ("store_visit", Entry::Name("x".to_owned())),
            ("purchase", Entry::Name(" ".to_owned())),
            ("purchase", table("conversion_type = \"off_amazon_purchases\"")),
            ("purchase", table("name = 7")),
        ] {
            assert!(of(event, &entry).is_err(), "{event} {entry:?}");
        }
    }
}
