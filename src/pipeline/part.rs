//! One plan event that an incoming event feeds: what it is worth, how often it counts, and a
//! decision for each destination.

use std::sync::Arc;

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::{Street, destination, money};
use crate::{
    config::Site,
    consent::{Seen, State},
    event::{Event, Field},
    expression::Facts,
    identity::Memo,
    job::Decided,
    plan::{By, Claim, Count, Kind, Milestone, PlanEvent},
    queue::IdHash,
    sources::{Switches, Warning, WarningCode},
    value::{Amounts, NoValue, Valued, value_of},
};

/// What became of one plan event.
#[derive(Debug, Clone)]
pub struct PartVerdict {
    /// The plan event.
    pub event: String,
    /// What it is.
    pub kind: Kind,
    /// What it is worth.
    pub value: Valued,
    /// Its copies share this.
    pub same_as: Option<IdHash>,
    /// What must hold for it to count.
    pub claim: Option<Claim>,
    /// The milestone it sets when it counts.
    pub reaches: Option<(Milestone, Timestamp)>,
    /// One decision a destination and entry.
    pub decisions: Vec<Decided>,
}

/// Everything that a decision about a plan event looks at.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) street: &'a Street<'a>,
    pub(super) site: &'a Site,
    pub(super) event: &'a Event,
    pub(super) state: &'a Arc<State>,
    pub(super) seen: &'a Seen,
    pub(super) memo: &'a Memo,
    /// By which phone numbers and postal codes are read.
    pub(super) country: Option<&'a str>,
    /// Digests of the person's identifiers, strongest first.
    pub(super) identifiers: &'a [(Field, [u8; 32])],
    /// Their subject keys.
    pub(super) subjects: &'a [IdHash],
    /// What the sender switches off.
    pub(super) switches: &'a Switches,
    /// The highest value that its write key may claim, in the site's currency.
    pub(super) at_most: Option<Decimal>,
    pub(super) planned: &'a PlanEvent,
    pub(super) now: Timestamp,
}

pub(super) fn decide(scene: &Scene<'_>, warnings: &mut Vec<Warning>) -> PartVerdict {
    let Scene { street, site, event, planned, .. } = *scene;
    let amounts = Amounts { event, site_currency: site.currency, event_value: None };
    let value = money::at_most(scene, value_of(planned.value.as_ref(), &amounts), warnings);
    warn_no_value(&planned.name, value.warning.as_ref(), warnings);

    let same_as = planned.same_as.as_ref().and_then(|expression| {
        match expression.text(&Facts { event, numbers: &[] }) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("events.{}.same_as: {error}", planned.name);
                warnings.push(Warning::new(WarningCode::ExpressionFailed, message));
                None
            }
        }
    });
    let same_as = same_as.map(|text| {
        let parts = [site.name.as_bytes(), planned.name.as_bytes(), text.as_bytes()];
        street.key.keyed("same_as", &parts)
    });

    let mut decisions = Vec::new();
    for config in street.config.destinations.values() {
        destination::decide(scene, config, &value, &mut decisions, warnings);
    }
    PartVerdict {
        event: planned.name.clone(),
        kind: planned.kind,
        same_as,
        claim: claim(scene, same_as, warnings),
        reaches: reaches(scene),
        decisions,
        value,
    }
}

/// The claim that the frequency rule makes; none where the event has no session or person to
/// count by, which is a warning.
fn claim(scene: &Scene<'_>, same_as: Option<IdHash>, warnings: &mut Vec<Warning>) -> Option<Claim> {
    let Count::Limited { at_most, per, by, not_after } = &scene.planned.count else { return None };
    let subject = match by {
        By::Session => {
            let session = scene.event.texts.first(Field::SessionId);
            if session.is_none() {
                let message =
                    format!("{} counts by session, and there is none", scene.planned.name);
                warnings.push(Warning::new(WarningCode::NoSession, message));
            }
            let parts = [scene.site.name.as_bytes(), session?.as_bytes()];
            scene.street.key.keyed("session", &parts)
        }
        By::User => {
            let person = person(scene);
            if person.is_none() {
                let message = format!("{} counts by person, and there is none", scene.planned.name);
                warnings.push(Warning::new(WarningCode::NoPerson, message));
            }
            person?
        }
    };
    let not_after = not_after
        .as_ref()
        .and_then(|event| Some(Milestone { subject: person(scene)?, event: event.clone() }));
    Some(Claim {
        subject,
        event: scene.planned.name.clone(),
        at_most: *at_most,
        per: *per,
        at: scene.event.timestamp,
        day: scene.event.timestamp.to_zoned(scene.site.time_zone.clone()).date(),
        not_after,
        // Copies under other ids are one event.
        by_event: same_as
            .unwrap_or_else(|| super::admission::event_hash(scene.street.key, scene.event)),
    })
}

/// The milestone, where some rule's `not_after` names this plan event.
fn reaches(scene: &Scene<'_>) -> Option<(Milestone, Timestamp)> {
    let named = scene.street.config.plan.events.values().any(|event| {
        matches!(&event.count, Count::Limited { not_after: Some(end), .. } if *end == scene.planned.name)
    });
    if !named {
        return None;
    }
    let milestone = Milestone { subject: person(scene)?, event: scene.planned.name.clone() };
    Some((milestone, scene.event.timestamp))
}

/// Keyed hash of the strongest identifier at this site.
fn person(scene: &Scene<'_>) -> Option<IdHash> {
    Some(scene.street.key.marks(&scene.site.name, scene.subjects.first()?))
}

/// A warning for each kind of missing value.
pub(super) fn warn_no_value(what: &str, why: Option<&NoValue>, warnings: &mut Vec<Warning>) {
    let Some(why) = why else { return };
    let code = match why {
        NoValue::Missing(_) => WarningCode::NoValue,
        NoValue::NoCurrency | NoValue::NoRate(_) => WarningCode::NoCurrency,
        NoValue::Failed(_) => WarningCode::ExpressionFailed,
    };
    warnings.push(Warning::new(code, format!("{what}: {why}")));
}
