//! Remembered traits: what an `identify` call with consent leaves, and what a later event without
//! those fields is given. The one place where they meet an event.

use std::{cell::RefCell, time::Duration};

use jiff::Timestamp;

use super::{Street, Verdict};
use crate::{
    config::Config,
    consent::{
        State, clicks,
        memory::Remembered,
        traits::{self, FIELDS, Trait, Value},
    },
    destinations::Form,
    event::{Event, Field},
    identity::{Digest, Memo, Rule, recognise_hash},
    queue::{self, IdHash},
};

/// What an `identify` call leaves, where both purposes are granted with it.
pub(super) fn of_event(
    street: &Street<'_>,
    memo: &Memo,
    event: &Event,
    keys: &[IdHash],
    country: Option<&str>,
    state: &State,
) -> Vec<Trait> {
    let Some(keep) = street.config.consent.memory.traits else { return Vec::new() };
    if keys.is_empty() || event.test || !clicks::may_remember(state) {
        return Vec::new();
    }
    // A clock that is fast says nothing that an erasure of a minute later does not reach.
    let at_ms = event.timestamp.min(event.received_at).as_millisecond();
    let until_ms = at_ms.saturating_add(milliseconds(keep));
    let kept = |field: Field| {
        let text = event.texts.first(field)?;
        let value = value(street.config, memo, field, text, country)?;
        Some(Trait { field, at_ms, until_ms, value })
    };
    FIELDS.into_iter().filter_map(kept).collect()
}

/// A value as it is kept: in clear where a destination takes the field so, else its hashes under
/// every rule by which a destination takes it. Of what none takes nothing is kept.
fn value(
    config: &Config,
    memo: &Memo,
    field: Field,
    text: &str,
    country: Option<&str>,
) -> Option<Value> {
    let takes = config.destinations.values().flat_map(|one| one.platform.takes);
    let takes: Vec<_> = takes.filter(|take| take.field == field).collect();
    if takes.is_empty() {
        return None;
    }
    if let Some(digest) = recognise_hash(text) {
        return Some(Value::Hashed { digest: digest.bytes, forms: Vec::new() });
    }
    if takes.iter().any(|take| take.form == Form::Clear)
        && let Some(clear) = Value::clear(field, text)
    {
        return Some(clear);
    }
    let mut forms: Vec<(u8, [u8; 32])> = Vec::new();
    let rules = takes.iter().filter(|take| take.form == Form::Hashed).map(|take| take.rule);
    // A setting may choose the other form of a number, and of Google's e-mail and names.
    let others: &[Rule] = match field {
        Field::Phone => &[Rule::PhoneE164, Rule::PhoneDigits],
        Field::Email => &[Rule::EmailGoogle, Rule::EmailGoogleKeepSuffix],
        Field::FirstName | Field::LastName => &[Rule::Lower],
        _ => &[],
    };
    for rule in rules.chain(others.iter().copied()) {
        if forms.iter().any(|(number, _)| *number == rule.number()) {
            continue;
        }
        if let Ok(normalized) = memo.normalize(rule, text, country) {
            forms.push((rule.number(), memo.digest(&normalized).bytes));
        }
    }
    let (_, digest) = *forms.first()?;
    Some(Value::Hashed { digest, forms })
}

/// Gives an event what it does not say itself; which fields.
pub(super) fn recall(
    street: &Street<'_>,
    memo: &Memo,
    event: &mut Event,
    keys: &[IdHash],
    state: &State,
    now: Timestamp,
) -> Vec<Field> {
    let Some(keep) = street.config.consent.memory.traits else { return Vec::new() };
    let lacks = |event: &Event, field: Field| event.texts.first(field).is_none();
    let lacks_any = FIELDS.iter().any(|field| lacks(event, *field));
    if !lacks_any || keys.is_empty() || event.test || state.minor || clicks::refuses(state) {
        return Vec::new();
    }
    let since_ms = now.as_millisecond().saturating_sub(milliseconds(keep));
    let mut enriched = Vec::new();
    for one in (street.remembered)(keys).traits {
        // Today's setting counts where it is shorter than that of the call.
        let is_over = one.at_ms < since_ms || one.until_ms <= now.as_millisecond();
        if is_over || !lacks(event, one.field) {
            continue;
        }
        match one.value {
            Value::Clear(text) => event.texts.push(one.field, text),
            Value::Hashed { digest, forms } => {
                event.texts.push(one.field, Digest { bytes: digest, appendix: None }.hex());
                memo.remember(digest, forms);
            }
        }
        enriched.push(one.field);
    }
    enriched.sort();
    enriched
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// What the calls of one request say of people, for the later ones of the same request: they are
/// not on disk yet.
#[derive(Debug, Default)]
pub struct Fresh(RefCell<Vec<(Vec<IdHash>, Vec<Trait>)>>);

impl Fresh {
    /// Notes what an event leaves.
    pub fn note(&self, verdict: &Verdict) {
        if !verdict.traits.is_empty() {
            let said = (verdict.subjects.clone(), verdict.traits.clone());
            self.0.borrow_mut().push(said);
        }
    }

    /// Adds what was said of the person of some subject keys. One that may be shared leads to a
    /// person only where not both are known by a name.
    pub fn add_to(&self, subjects: &[IdHash], remembered: &mut Remembered) {
        for (theirs, said) in self.0.borrow().iter() {
            let common = || subjects.iter().filter(|subject| theirs.contains(subject));
            let both_named =
                [subjects, theirs].iter().all(|keys| keys.iter().any(queue::names_one));
            if common().any(queue::names_one) || (!both_named && common().next().is_some()) {
                said.iter().for_each(|one| traits::add(&mut remembered.traits, one.clone()));
            }
        }
    }
}
