//! Value rules, of an event and of a destination's entry.

use std::{collections::BTreeMap, sync::Arc};

use rust_decimal::Decimal;

use super::{Context, relay};
use crate::{
    config::{
        Site,
        document::{Node, Section},
        finding::{Place, suggest},
    },
    event::Field,
    expression::Expression,
    value::{Bounds, EntryValue, Source, ValueRule},
};

const FORMS: &str = "{ fixed = \"5.00\" }, { field = \"properties.value\" }, \
                     { field = ..., times = \"0.3\" } or { formula = \"value - tax\" }";

/// The properties that hold amounts; others of the sender's own may too.
const AMOUNTS: [Field; 7] = [
    Field::Value,
    Field::Tax,
    Field::Shipping,
    Field::Discount,
    Field::Cost,
    Field::NetRevenue,
    Field::PredictedLtv,
];

/// Reads `value = { ... }`.
pub(super) fn rule(
    node: &Node<'_>,
    sites: &BTreeMap<String, Arc<Site>>,
    context: &Context<'_>,
) -> Option<ValueRule> {
    if !node.is_table() {
        node.expected(FORMS);
        return None;
    }
    let section = node.section()?;
    if let Some(calibrated) = section.get("calibrated") {
        // Accepted as it is written, so that only the one thing that is missing is reported.
        section.entries();
        calibrated.error(
            "calibrated values need the figures of `calibrate`, which this version cannot make; \
             write { fixed = \"...\" } until then",
        );
        return None;
    }
    let currency = section.get("currency").and_then(|node| relay::currency(&node));
    let bounds = bounds(&section, context);
    let source = source(&section, sites, currency.is_some(), context);
    section.finish();
    Some(ValueRule { source: source?, currency, bounds })
}

fn source(
    section: &Section<'_>,
    sites: &BTreeMap<String, Arc<Site>>,
    has_currency: bool,
    context: &Context<'_>,
) -> Option<Source> {
    let (fixed, field) = (section.get("fixed"), section.get("field"));
    let (formula, times) = (section.get("formula"), section.get("times"));
    let written = [fixed.is_some(), field.is_some(), formula.is_some()];
    if written.iter().filter(|is_written| **is_written).count() != 1 {
        let message = format!("expected exactly one way to a value: {FORMS}");
        context.report.error(section.place(), message);
        return None;
    }
    if let Some(times) = &times
        && field.is_none()
    {
        times.error("goes with `field` only");
    }
    if let Some(node) = fixed {
        return if node.is_table() {
            let amounts = fixed_by_site(&node, sites, has_currency, context)?;
            Some(Source::FixedBySite(amounts))
        } else {
            let missing = sites.values().filter(|site| site.currency.is_none());
            warn_of_currency(&node, missing.map(|site| site.name.as_str()), has_currency);
            amount(&node).map(Source::Fixed)
        };
    }
    if let Some(node) = field {
        let path = property(&node)?;
        let times = times.map_or(Some(Decimal::ONE), |node| node.decimal())?;
        return Some(Source::Field { path, times });
    }
    let node = formula?;
    match Expression::compile(node.text()?, true) {
        Ok(formula) => Some(Source::Formula(formula)),
        Err(error) => {
            node.error(error.to_string());
            None
        }
    }
}

fn fixed_by_site(
    node: &Node<'_>,
    sites: &BTreeMap<String, Arc<Site>>,
    has_currency: bool,
    context: &Context<'_>,
) -> Option<BTreeMap<String, Decimal>> {
    let mut amounts = BTreeMap::new();
    for (name, node) in node.section()?.entries() {
        match sites.get(name) {
            None => {
                let known = suggest(name, sites.keys().map(String::as_str));
                context.report.error(node.place(), format!("relay.toml has no such site{known}"));
            }
            Some(site) => {
                let missing = site.currency.is_none().then_some(name);
                warn_of_currency(&node, missing.into_iter(), has_currency);
            }
        }
        amounts.extend(amount(&node).map(|amount| (name.to_owned(), amount)));
    }
    if amounts.is_empty() {
        node.expected("an amount for each site");
    }
    Some(amounts)
}

fn warn_of_currency<'s>(
    node: &Node<'_>,
    mut without: impl Iterator<Item = &'s str>,
    has_currency: bool,
) {
    if let Some(site) = without.next().filter(|_| !has_currency) {
        node.warning(format!(
            "neither the rule nor site {site:?} has a currency: a fixed amount is in no other, so \
             its events have no value; write `currency`"
        ));
    }
}

fn amount(node: &Node<'_>) -> Option<Decimal> {
    let amount = node.decimal()?;
    if amount.is_sign_negative() {
        node.expected("an amount that is not negative");
        return None;
    }
    Some(amount)
}

fn bounds(section: &Section<'_>, context: &Context<'_>) -> Bounds {
    let bound = |key| section.get(key).and_then(|node| amount(&node));
    let bounds = Bounds { minimum: bound("minimum"), maximum: bound("maximum") };
    if let (Some(minimum), Some(maximum)) = (bounds.minimum, bounds.maximum)
        && minimum > maximum
    {
        let place = section.get("minimum").map_or_else(Place::default, |n| n.place().clone());
        context.report.error(&place, format!("is above maximum ({maximum})"));
    }
    bounds
}

/// A path below `properties` that can hold a number.
fn property(node: &Node<'_>) -> Option<String> {
    let path = node.text()?;
    if path.strip_prefix("properties.").is_none_or(str::is_empty) {
        node.error(format!(
            "expected a property such as \"properties.value\", found {path:?}{}",
            suggest(path, AMOUNTS.map(Field::path))
        ));
        return None;
    }
    if Field::parse(path).is_some_and(|field| !AMOUNTS.contains(&field)) {
        node.error(format!("{path:?} is not an amount"));
        return None;
    }
    Some(path.to_owned())
}

/// Reads `value` and `currency` of an entry. A destination's own `currency` is what its entries
/// want where they do not say.
pub(super) fn of_entry(
    section: &Section<'_>,
    sites: &BTreeMap<String, Arc<Site>>,
    context: &Context<'_>,
) -> EntryValue {
    EntryValue {
        rule: section.get("value").and_then(|node| rule(&node, sites, context)),
        currency: section.get("currency").and_then(|node| relay::currency(&node)),
    }
}
