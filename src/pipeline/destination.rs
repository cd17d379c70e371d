//! One decision for each entry of a destination: is it for it, may it have it, can it take it.

use std::{borrow::Cow, sync::Arc};

use crate::{
    config::{Config, DestinationConfig, Named},
    consent::{self, Question},
    destinations::{Mode, Occasion, Platform, Preparation, REGISTRY, Refusal},
    event::Field,
    expression::Facts,
    job::{Decided, Fate, Skip, SkipCode},
    sources::{Switches, Warning, WarningCode},
    value::{Amounts, NoValue, Valued, value_for_entry},
};

use super::{
    money,
    part::{Scene, warn_no_value},
};

/// Shares are in basis points.
const WHOLE_SHARE: u32 = 10_000;

pub(super) fn decide(
    scene: &Scene<'_>,
    config: &DestinationConfig,
    event_value: &Valued,
    decisions: &mut Vec<Decided>,
    warnings: &mut Vec<Warning>,
) {
    let decided = |entry: u16, fate: Fate| Decided {
        destination: config.name.clone(),
        event: scene.planned.name.clone(),
        entry,
        fate,
        consent: None,
        grants: None,
        value: None,
    };
    if let Some(skip) = not_for_it(scene, config, warnings) {
        decisions.push(decided(0, Fate::Skip(skip)));
        return;
    }
    let Some(entries) = config.entries.get(&scene.planned.name).filter(|list| !list.is_empty())
    else {
        let message = format!("events.{}.destinations has no {}", scene.planned.name, config.name);
        decisions.push(decided(0, Fate::Skip(Skip::new(SkipCode::NotMapped, message))));
        return;
    };

    let rules = &scene.street.config.consent;
    let ids = rules.vendor_ids(&config.name, config.platform.name, config.platform.vendor_ids());
    let state = match scene.seen.state_for(scene.state, rules, ids) {
        Cow::Borrowed(_) => Arc::clone(scene.state),
        Cow::Owned(own) => Arc::new(own),
    };
    let grants = (state.grants != scene.state.grants).then_some(state.grants);
    // Only what the destination takes of such an event: what an app tells of its device was not
    // taken away from a website's event.
    let takes =
        config.platform.takes_from(scene.event.action_source).intersection(config.sendable());
    let question = Question {
        destination: &config.name,
        platform: config.platform.name,
        purposes: &config.platform.purposes,
        action_source: scene.event.action_source,
        present: scene.event.present().intersection(takes),
        state: &state,
        sensitive: scene.site.sensitive.is_some(),
    };
    let event = Named { planned: &scene.planned.name, incoming: Some(&scene.event.name) };
    let site = &scene.site.name;
    let decision = Arc::new(scene.street.config.decide(config, event, site, &question));
    for (entry, entry_value) in (0u16..).zip(entries) {
        let permit = match &decision.permit {
            Ok(permit) => permit,
            Err(code) => {
                let mut held = decided(entry, Fate::Held(*code));
                held.consent = Some(decision.clone());
                held.grants = grants;
                decisions.push(held);
                continue;
            }
        };
        let amounts = Amounts {
            event: scene.event,
            site_currency: scene.site.currency,
            event_value: event_value.value,
        };
        let own = entry_value.rule.is_some() || entry_value.currency.is_some();
        let (value, unconverted) = if own {
            let rates = scene.street.config.rates.as_ref();
            let mut valued = value_for_entry(entry_value, &amounts, rates, scene.now);
            if entry_value.rule.is_some() {
                valued = money::at_most(scene, valued, warnings);
            }
            let what = format!("{} for {}", scene.planned.name, config.name);
            warn_no_value(&what, valued.warning.as_ref(), warnings);
            (valued.value, matches!(valued.warning, Some(NoValue::NoRate(_))))
        } else {
            (event_value.value, false)
        };
        let value = value.map(|value| money::value_it_takes(value, scene, config));
        let (event, currency) = money::in_one_currency(scene, config, value, entry_value.currency);
        let occasion = Occasion {
            event: &event,
            currency,
            converted: matches!(event, Cow::Owned(_)),
            plan_event: &scene.planned.name,
            entry,
            value,
            unconverted,
            calibrated: None,
            country: scene.country,
            site_country: scene.site.country.as_deref(),
            state: &state,
            sensitive: scene.site.sensitive.is_some(),
            test: scene.event.test || config.mode == Mode::Test,
            memo: scene.memo,
        };
        let mut one = decided(entry, Fate::Held(consent::ReasonCode::NoRule));
        one.value = value;
        one.consent = Some(decision.clone());
        one.grants = grants;
        one.fate = match config.handler.prepare(&occasion, permit, scene.now) {
            Ok(preparation) => {
                warn_dropped(&preparation.dropped, warnings);
                say_what_was_cut(&preparation, config, &mut one);
                let prepared = Box::new(preparation.prepared);
                // Of an adjustment it is not what the plan made of the original's.
                one.value = prepared.value;
                money::say_what_is_left_out(&prepared, scene, config, &mut one);
                if config.mode == Mode::Shadow {
                    Fate::Shadow(prepared)
                } else {
                    Fate::Send(prepared)
                }
            }
            Err(Refusal::Skip(skip)) => Fate::Skip(skip),
            Err(Refusal::Held(code, message)) => {
                let rule = config.name.clone();
                if let Some(decision) = &mut one.consent {
                    let reason = consent::Reason { code, rule, message };
                    Arc::make_mut(decision).reasons.insert(0, reason);
                }
                Fate::Held(code)
            }
        };
        decisions.push(one);
    }
}

/// The names by which a sender may switch a platform off.
fn names<'n>(platform: &'static Platform) -> impl Iterator<Item = &'n str> {
    [platform.name, platform.title].into_iter().chain(platform.also_called.iter().copied())
}

/// A switch that switches nothing off is likely misspelt: nobody would notice what goes on.
pub(super) fn warn_of_switches(asked: &Switches, config: &Config, warnings: &mut Vec<Warning>) {
    let own = config.destinations.keys().map(String::as_str);
    let known = REGISTRY.iter().copied().flat_map(names);
    for name in asked.in_vain(own.chain(known)) {
        let message = format!(
            "the sender's `integrations` switch {name:?} off, which is no destination here"
        );
        warnings.push(Warning::new(WarningCode::Ignored, message));
    }
}

/// Why an event is not for a destination at all.
fn not_for_it(
    scene: &Scene<'_>,
    config: &DestinationConfig,
    warnings: &mut Vec<Warning>,
) -> Option<Skip> {
    if !config.sites.contains(&scene.site.name) {
        let message = format!("{} takes no events of {}", config.name, scene.site.name);
        return Some(Skip::new(SkipCode::OtherSite, message));
    }
    if scene.switches.are_off(names(config.platform).chain([config.name.as_str()])) {
        let message = format!("the sender's `integrations` switch {} off", config.name);
        return Some(Skip::new(SkipCode::Condition, message));
    }
    let is_test = scene.event.test || config.mode == Mode::Test;
    if is_test && !config.platform.has_test_mode {
        let message = format!("{} has no test mode, and this is a test", config.platform.title);
        return Some(Skip::new(SkipCode::TestMode, message));
    }
    if let Some(only) = &config.only {
        match only.holds(&Facts { event: scene.event, numbers: &[] }) {
            Ok(true) => {}
            Ok(false) => {
                let message = format!("destinations.{}.only does not hold", config.name);
                return Some(Skip::new(SkipCode::Condition, message));
            }
            Err(error) => {
                let message = format!("destinations.{}.only: {error}", config.name);
                warnings.push(Warning::new(WarningCode::ExpressionFailed, message.clone()));
                return Some(Skip::new(SkipCode::Condition, message));
            }
        }
    }
    if config.share < WHOLE_SHARE && in_ten_thousand(scene, config) >= config.share {
        let message = format!("outside the share of people that {} gets", config.name);
        return Some(Skip::new(SkipCode::NotInShare, message));
    }
    None
}

/// A stable number below 10,000 for the person (without one, for the event id), another for each
/// destination.
fn in_ten_thousand(scene: &Scene<'_>, config: &DestinationConfig) -> u32 {
    let name = config.name.as_bytes();
    let hash = match scene.identifiers.first() {
        Some((_, digest)) => scene.street.key.keyed("share", &[name, digest]),
        None => scene.street.key.keyed("share", &[name, scene.event.event_id.id.as_bytes()]),
    };
    let [a, b, c, d, ..] = hash;
    u32::from_be_bytes([a, b, c, d]) % WHOLE_SHARE
}

/// A reason in the trace, not a refusal: the event goes without them.
fn say_what_was_cut(made: &Preparation, config: &DestinationConfig, decided: &mut Decided) {
    let cut = (made.items_cut > 0).then(|| {
        let (items, title) = (made.items_cut, config.platform.title);
        format!("{items} items cut from the end: {title} takes no more of one event")
    });
    for message in cut.into_iter().chain(made.left_out.iter().cloned()) {
        let Some(decision) = &mut decided.consent else { return };
        let (code, rule) = (consent::ReasonCode::FieldsRemoved, config.name.clone());
        let reason = consent::Reason { code, rule, message };
        Arc::make_mut(decision).reasons.push(reason);
    }
}

fn warn_dropped(dropped: &[(Field, crate::identity::Dropped)], warnings: &mut Vec<Warning>) {
    for (field, why) in dropped {
        let warning =
            Warning::new(WarningCode::IdentityDropped, format!("{} dropped: {why}", field.path()));
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
}
