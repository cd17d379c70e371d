//! What all platforms share when they prepare an event: only what the permit allows and the
//! platform takes, identity normalised and hashed in the platform's way.
//!
//! It knows no platform: each hands in its [`Recipe`] and goes on from what comes back.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{Occasion, Preparation, Refusal, Take, Taken, adjust::tell};
use crate::{
    consent::{Permit, Region, expand_region},
    event::{Currency, Event, Field, FieldSet, Item},
    identity::Dropped,
    job::{Flags, Prepared, Skip, SkipCode},
};

/// What a platform takes of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recipe<'a> {
    /// Texts.
    pub takes: &'a [Take],
    /// Money, items and free properties among what it takes at all.
    pub fields: FieldSet,
    /// The oldest event that it takes.
    pub oldest: Duration,
}

/// Prepares what needs no knowledge of the platform. Refuses what is too old. An adjustment is worth
/// what was paid back and bears the order that it adjusts.
pub(super) fn prepare(
    recipe: &Recipe<'_>,
    occasion: &Occasion<'_>,
    permit: &Permit,
    now: Timestamp,
) -> Result<Preparation, Refusal> {
    let mut preparation = prepare_as_it_came(recipe, occasion, permit, now)?;
    let takes_order = recipe.takes.iter().any(|take| take.field == Field::OrderId);
    tell(&mut preparation.prepared, occasion, permit, takes_order);
    Ok(preparation)
}

/// The same, with an adjustment's value and order as the event itself has them.
pub(super) fn prepare_as_it_came(
    recipe: &Recipe<'_>,
    occasion: &Occasion<'_>,
    permit: &Permit,
    now: Timestamp,
) -> Result<Preparation, Refusal> {
    let event = occasion.event;
    let oldest = SignedDuration::try_from(recipe.oldest).unwrap_or(SignedDuration::MAX);
    let age = now.duration_since(event.timestamp);
    if age > oldest {
        let message = format!("older than the {} that the platform takes", words(oldest));
        return Err(Refusal::Skip(Skip::new(SkipCode::TooOld, message)));
    }
    let may = |field: Field| permit.fields.contains(field);
    let takes = |field: Field| recipe.fields.contains(field) && may(field);
    let money = |money| Some(money).filter(|_| may(Field::Value) && may(Field::Currency));
    let mut prepared = Prepared {
        event: occasion.plan_event.to_owned(),
        entry: occasion.entry,
        event_id: event.event_id.id.clone(),
        transaction_id: transaction_id(event, permit),
        site: event.site.clone(),
        time: event.timestamp,
        action_source: event.action_source,
        test: occasion.test,
        value: occasion.value.and_then(money),
        currency: occasion.currency.filter(|_| may(Field::Currency)),
        texts: Vec::with_capacity(recipe.takes.len()),
        amounts: event
            .amounts
            .iter()
            .filter(|(field, _)| *field != Field::Value && takes(*field))
            .copied()
            .collect(),
        items: if takes(Field::Items) {
            items(event, permit, occasion.sensitive)
        } else {
            Vec::new()
        },
        other: other(event, permit, recipe.fields),
        adjusts: event.adjusts.clone(),
        calibrated: occasion.calibrated.and_then(money),
        consent: Arc::clone(occasion.state),
        sensitive: occasion.sensitive,
        group: if occasion.test { "test" } else { "live" }.to_owned(),
        expires_at: event.timestamp.saturating_add(oldest).unwrap_or(Timestamp::MAX),
        flags: Flags::of(permit),
    };
    let dropped = put_texts(&mut prepared, recipe.takes, occasion, permit);
    Ok(Preparation { prepared, dropped, items_cut: 0, left_out: Vec::new() })
}

/// Keeps the items that a platform can take, and of these the first `at_most`.
pub(super) fn cut_items(
    preparation: &mut Preparation,
    at_most: usize,
    can_take: impl Fn(&Item) -> bool,
) {
    let items = &mut preparation.prepared.items;
    items.retain(can_take);
    preparation.items_cut = items.len().saturating_sub(at_most);
    items.truncate(at_most);
}

/// The fields of a platform's [`Take`]s and the others that it takes, for its `Purposes`.
pub(super) const fn taken(takes: &[Take], others: &[Field]) -> FieldSet {
    let mut set = FieldSet::of(others);
    let mut i = 0;
    while i < takes.len() {
        #[allow(clippy::indexing_slicing, reason = "bounded by the loop; iterators are not const")]
        let field = takes[i].field;
        set = set.union(FieldSet::of(&[field]));
        i += 1;
    }
    set
}

/// Refused because what the platform requires is absent.
pub(super) fn missing(what: &str) -> Refusal {
    Refusal::Skip(Skip::new(SkipCode::MissingField, format!("{what} is missing, or may not leave")))
}

/// Refused because the platform has no form for it.
pub(super) fn unsupported(message: impl Into<String>) -> Refusal {
    Refusal::Skip(Skip::new(SkipCode::Unsupported, message))
}

/// Refused because the platform does not take the value's currency: it is never written in another,
/// nor left out. `wanted` says which it takes.
pub(super) fn check_currency(
    occasion: &Occasion<'_>,
    takes: impl Fn(Currency) -> bool,
    wanted: &str,
) -> Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal::Skip(Skip::new(SkipCode::Currency, message)));
    match occasion.value {
        Some(value) if !takes(value.currency) => refuse(format!(
            "the value is in {}, and the platform takes {wanted}: give the destination a currency \
             that it takes, and events.toml [rates]",
            value.currency
        )),
        None if occasion.unconverted => refuse(format!(
            "the platform takes {wanted}, and there is no rate to convert the value by: look at \
             events.toml [rates]"
        )),
        _ => Ok(()),
    }
}

/// A length of time in its largest whole unit.
fn words(time: SignedDuration) -> String {
    match time.as_mins() {
        minutes @ ..60 => format!("{minutes} minutes"),
        minutes @ ..1_440 => format!("{} hours", minutes / 60),
        1_440 => "day".to_owned(),
        minutes => format!("{} days", minutes / 1_440),
    }
}

/// Whether a person may be in the EEA, the United Kingdom or Switzerland; unknown places count as
/// there.
pub(super) fn may_be_in_eea_uk_ch(region: &Region) -> bool {
    let Some(region) = region.as_deref() else { return true };
    let country = region.split('-').next().unwrap_or(region);
    matches!(country, "GB" | "CH") || expand_region("EEA").contains(&country)
}

fn put_texts(
    prepared: &mut Prepared,
    takes: &[Take],
    occasion: &Occasion<'_>,
    permit: &Permit,
) -> Vec<(Field, Dropped)> {
    let there = occasion.event.texts.present().intersection(permit.fields);
    let mut dropped = Vec::new();
    for take in takes {
        if !there.contains(take.field) || !take.is_for(prepared.action_source) {
            continue;
        }
        let mut taken = 0;
        for text in occasion.event.texts.all(take.field) {
            if taken >= take.at_most {
                break;
            }
            if take.field == Field::Ip {
                if let Some(address) = occasion.memo.address(text, permit.ip) {
                    prepared.put_clear(Field::Ip, address);
                    taken += 1;
                }
                continue;
            }
            match take.apply(text, occasion.country, occasion.memo) {
                Ok(Taken::Clear(text)) => prepared.put_clear(take.field, text),
                Ok(Taken::Hashed(digest) | Taken::HashedBefore(digest)) => {
                    prepared.put_hashed(take.field, digest);
                }
                Err(why) => {
                    dropped.push((take.field, why));
                    continue;
                }
            }
            taken += 1;
        }
    }
    dropped
}

/// What platforms deduplicate by; for an adjustment the original's.
fn transaction_id(event: &Event, permit: &Permit) -> String {
    match &event.adjusts {
        Some(adjusts) => {
            adjusts.order_id.clone().or_else(|| adjusts.event_id.clone()).unwrap_or_default()
        }
        None if permit.fields.contains(Field::OrderId) => event.transaction_id().to_owned(),
        None => event.event_id.id.clone(),
    }
}

fn items(event: &Event, permit: &Permit, sensitive: bool) -> Vec<Item> {
    let is_named = permit.fields.contains(Field::ItemNames) && !sensitive;
    let copy = |item: &Item| Item {
        id: item.id.clone(),
        name: item.name.clone().filter(|_| is_named),
        brand: item.brand.clone().filter(|_| !sensitive),
        category: item.category.clone().filter(|_| !sensitive),
        variant: item.variant.clone().filter(|_| !sensitive),
        quantity: item.quantity,
        price: item.price,
        discount: item.discount,
        // No platform has a place for it; a webhook puts it back.
        other: String::new(),
    };
    event.items.iter().map(copy).collect()
}

/// The free properties that may leave, as a JSON object; empty if none.
fn other(event: &Event, permit: &Permit, fields: FieldSet) -> String {
    if !fields.contains(Field::OtherProperties) {
        return String::new();
    }
    let kept: std::collections::BTreeMap<&String, &serde_json::Value> =
        event.other.iter().filter(|(name, _)| permit.allows_property(name)).collect();
    if kept.is_empty() { String::new() } else { serde_json::to_string(&kept).unwrap_or_default() }
}
