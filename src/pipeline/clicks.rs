//! Remembered clicks: what a visit with consent leaves, and what an event without click ids of its own
//! is given. The one place where they meet an event.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::Street;
use crate::{
    config::Site,
    consent::{
        State,
        clicks::{self, Click},
    },
    event::{Event, Field},
    queue::{self, IdHash},
};

/// Click ids that an event has from an earlier visit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recalled {
    /// Which.
    pub fields: Vec<Field>,
    /// When that click happened.
    pub clicked_at: Timestamp,
}

/// The subject key of an order of a site, which two people may share; of an adjustment that of the
/// order that it adjusts: a shop's refund names nobody, and what the buyer chose is found by it.
pub(super) fn order_key(street: &Street<'_>, site: &Site, event: &Event) -> Option<IdHash> {
    street.config.consent.memory.click_ids?;
    let adjusted = || event.adjusts.as_ref()?.order_id.as_deref();
    let order = event.texts.first(Field::OrderId).or_else(adjusted)?.trim();
    let digest = Sha256::new().chain_update(&site.name).chain_update([0]).chain_update(order);
    let digest: [u8; 32] = digest.finalize().into();
    let key = street.key.subject(&site.controller, Field::OrderId, &digest);
    (!order.is_empty()).then(|| queue::subject(key, false))
}

/// What an event leaves: its click, where both purposes are granted with it.
pub(super) fn of_event(
    street: &Street<'_>,
    event: &Event,
    keys: &[IdHash],
    state: &State,
) -> Option<Click> {
    let keep = street.config.consent.memory.click_ids?;
    if keys.is_empty() || event.test || event.minor == Some(true) || !clicks::may_remember(state) {
        return None;
    }
    let ids: Vec<(Field, String)> = event
        .texts
        .iter()
        .filter(|(field, _)| clicks::is_click(*field))
        .map(|(field, text)| (field, text.to_owned()))
        .collect();
    // A clock that is fast says nothing that an erasure of a minute later does not reach.
    let clicked_at = event.clicked_at.unwrap_or(event.timestamp).min(event.received_at);
    let at_ms = clicked_at.as_millisecond();
    let keep_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    let click = Click { at_ms, until_ms: at_ms.saturating_add(keep_ms), ids };
    (!click.ids.is_empty()).then_some(click)
}

/// Gives an event without click ids of its own those of the person's last click before it. Their
/// time goes with them: a platform's window is judged by it.
pub(super) fn recall(
    street: &Street<'_>,
    event: &mut Event,
    keys: &[IdHash],
    state: &State,
    now: Timestamp,
) -> Option<Recalled> {
    let keep = street.config.consent.memory.click_ids?;
    let has_own = event.texts.iter().any(|(field, _)| clicks::is_click(field));
    if has_own || keys.is_empty() || event.test || clicks::refuses(state) {
        return None;
    }
    let since_ms = now.checked_sub(keep).unwrap_or(Timestamp::MIN).as_millisecond();
    let until_ms = event.timestamp.as_millisecond();
    let remembered = (street.remembered)(keys);
    let click = remembered
        .clicks
        .into_iter()
        .rfind(|click| (since_ms..=until_ms).contains(&click.at_ms))?;
    let clicked_at = Timestamp::from_millisecond(click.at_ms).ok()?;
    let fields = click.ids.iter().map(|(field, _)| *field).collect();
    for (field, id) in click.ids {
        event.texts.push(field, id);
    }
    event.clicked_at = Some(clicked_at);
    Some(Recalled { fields, clicked_at })
}
