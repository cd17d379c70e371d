//! Whether a platform has a form of adjustments: asked of the platform itself, with made-up ones, so
//! that no second list can disagree with what it does.

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::DestinationConfig;
use crate::{
    consent::{Grant, Grants, IpForm, Permit, PropertyRule, Signals, State},
    destinations::{Occasion, Refusal},
    event::{
        ActionSource, Adjustment, AdjustmentKind, Class, Currency, Event, EventId, Field, FieldSet,
        Money, Texts,
    },
    identity::Memo,
    job::SkipCode,
};

/// Why no adjustment of a plan event has a form at a destination that has an entry for it; `None`
/// where at least one has, or where there is no entry.
pub(super) fn has_no_form(destination: &DestinationConfig, plan_event: &str) -> Option<String> {
    use AdjustmentKind::{Cancel, Refund, Restate};
    let entries = destination.entries.get(plan_event).map_or(0, Vec::len);
    let kinds = [(Refund, None), (Refund, Some(20)), (Cancel, None), (Restate, Some(20))];
    let mut why = None;
    for entry in 0..entries {
        let entry = u16::try_from(entry).unwrap_or(u16::MAX);
        for (kind, amount) in kinds {
            // The first refusal is that of the whole refund, which says most.
            let refusal = refused(destination, plan_event, entry, kind, amount.map(Decimal::from))?;
            why.get_or_insert(refusal);
        }
    }
    why
}

/// The platform's words where it has no form of an adjustment.
fn refused(
    destination: &DestinationConfig,
    plan_event: &str,
    entry: u16,
    kind: AdjustmentKind,
    amount: Option<Decimal>,
) -> Option<String> {
    let event = adjustment(kind, amount)?;
    let yes = Grant::Granted;
    let grants = Grants {
        ad_storage: yes,
        ad_user_data: yes,
        ad_personalization: yes,
        analytics_storage: yes,
    };
    let state = State { region: Some("US".to_owned()), grants, ..State::default() };
    let permit = Permit {
        fields: FieldSet::all(),
        properties: PropertyRule::default(),
        ip: IpForm::Full,
        limited: false,
        personalization_denied: false,
        grants,
        region: None,
    };
    let memo = Memo::default();
    let occasion = Occasion {
        event: &event,
        currency: event.currency,
        converted: false,
        plan_event,
        entry,
        value: event
            .amount(Field::Value)
            .zip(event.currency)
            .map(|(amount, currency)| Money { amount, currency }),
        unconverted: false,
        calibrated: None,
        site_country: Some("US"),
        state: &state,
        sensitive: false,
        test: false,
        memo: &memo,
    };
    match destination.handler.prepare(&occasion, &permit, event.timestamp) {
        Err(Refusal::Skip(skip)) if skip.code == SkipCode::Unsupported => Some(skip.message),
        // Whatever else is missing, an event may have it.
        Ok(_) | Err(Refusal::Skip(_) | Refusal::Held(..)) => None,
    }
}

/// An adjustment of a person of whom everything is known.
fn adjustment(kind: AdjustmentKind, amount: Option<Decimal>) -> Option<Event> {
    let now = Timestamp::from_second(1_700_000_000).ok()?;
    let mut texts = Texts::default();
    for field in Field::ALL {
        let text = match field.class() {
            Class::Identity => "0123456789abcdef".repeat(4),
            _ => example(*field).to_owned(),
        };
        texts.push(*field, text);
    }
    Some(Event {
        name: "adjustment".to_owned(),
        event_id: EventId {
            id: "adjustment-1".to_owned(),
            key: String::new(),
            derived: false,
            short_lived: false,
        },
        timestamp: now,
        received_at: now,
        site: String::new(),
        action_source: ActionSource::Website,
        test: false,
        minor: None,
        texts,
        amounts: vec![(Field::Value, Decimal::ONE_HUNDRED)],
        currency: Currency::parse("USD"),
        items: Vec::new(),
        clicked_at: Some(now),
        other: serde_json::Map::new(),
        other_context: serde_json::Map::new(),
        consent: Signals::default(),
        adjusts: Some(Adjustment {
            order_id: Some("order-1".to_owned()),
            event_id: None,
            kind,
            amount,
            at: Some(now),
        }),
    })
}

/// A text that fits most fields in clear; a platform may still leave it out.
fn example(field: Field) -> &'static str {
    match field {
        Field::PageUrl | Field::Referrer | Field::LandingPage => "https://shop.example/",
        Field::Country => "US",
        Field::Ip => "203.0.113.9",
        _ => "1",
    }
}
