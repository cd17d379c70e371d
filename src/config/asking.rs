//! What a platform makes of events as it is set up: asked of the platform itself, with made-up ones,
//! so that no second list can disagree with what it does.

use std::sync::Arc;

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::DestinationConfig;
use crate::{
    consent::{
        Grant, Grants, IpForm, Permit, PropertyRule, Question, Rules, State, decide, expand_region,
    },
    destinations::{Occasion, Refusal},
    event::{
        ActionSource, Adjustment, AdjustmentKind, Class, Currency, Event, EventId, Field, FieldSet,
        Item, Money, Texts,
    },
    identity::{Memo, country_of},
    job::{Skip, SkipCode},
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
    let adjusts = Adjustment {
        order_id: Some("order-1".to_owned()),
        event_id: None,
        kind,
        amount,
        at: Timestamp::from_second(NOW).ok(),
    };
    let state = granted(Some("US".to_owned()));
    match ask(destination, plan_event, entry, Some(adjusts), &everything(&state))? {
        Refusal::Skip(skip) if skip.code == SkipCode::Unsupported => Some(skip.message),
        // Whatever else is missing, an event may have it.
        Refusal::Skip(_) | Refusal::Held(..) => None,
    }
}

/// Why no event of a website is sent for an entry, whatever it has, where the rules' lists of fields
/// are the reason: in every region something that the platform needs may not leave.
pub(super) fn needs_more(
    destination: &DestinationConfig,
    plan_event: &str,
    entry: u16,
    rules: &Rules,
) -> Option<Skip> {
    let platform = destination.platform;
    let mut first = None;
    for region in &rules.regions {
        let pattern = region.matches.first()?;
        let place = expand_region(pattern).first().map(|place| (*place).to_owned());
        let state = granted(place.filter(|place| place != "*"));
        if ask(destination, plan_event, entry, None, &everything(&state)).is_some() {
            // It is not the lists.
            return None;
        }
        let question = Question {
            destination: &destination.name,
            platform: platform.name,
            purposes: &platform.purposes,
            action_source: ActionSource::Website,
            present: FieldSet::all(),
            state: &state,
            sensitive: false,
        };
        let permit = decide(rules, &question).permit.ok()?;
        match ask(destination, plan_event, entry, None, &permit)? {
            Refusal::Skip(skip)
                if matches!(skip.code, SkipCode::MissingField | SkipCode::IdentityTooWeak) =>
            {
                first.get_or_insert(skip);
            }
            Refusal::Skip(_) | Refusal::Held(..) => return None,
        }
    }
    first
}

/// What a platform says against an event of a person of whom everything is known; `None` where it
/// takes it.
fn ask(
    destination: &DestinationConfig,
    plan_event: &str,
    entry: u16,
    adjusts: Option<Adjustment>,
    permit: &Permit,
) -> Option<Refusal> {
    let event = example_event(adjusts)?;
    let state = Arc::new(granted(permit.region.clone()));
    let memo = Memo::default();
    let country = country_of(&event, Some("US"));
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
        country: country.as_deref(),
        site_country: Some("US"),
        state: &state,
        sensitive: false,
        test: false,
        memo: &memo,
    };
    destination.handler.prepare(&occasion, permit, event.timestamp).err()
}

/// Everything was granted.
fn granted(region: Option<String>) -> State {
    let yes = Grant::Granted;
    let grants = Grants {
        ad_storage: yes,
        ad_user_data: yes,
        ad_personalization: yes,
        analytics_storage: yes,
    };
    State { region, grants, ..State::default() }
}

/// Everything may leave.
fn everything(state: &State) -> Permit {
    Permit {
        fields: FieldSet::all(),
        properties: PropertyRule::default(),
        ip: IpForm::Full,
        limited: false,
        personalization_denied: false,
        grants: state.grants,
        region: state.region.clone(),
    }
}

/// When the made-up events happened: the same moment in which they are asked about.
const NOW: i64 = 1_700_000_000;

/// An event, or an adjustment, of a person of whom everything is known.
fn example_event(adjusts: Option<Adjustment>) -> Option<Event> {
    let now = Timestamp::from_second(NOW).ok()?;
    let mut texts = Texts::default();
    for field in Field::ALL {
        let text = match field.class() {
            Class::Identity => "0123456789abcdef".repeat(4),
            _ => example(*field).to_owned(),
        };
        texts.push(*field, text);
    }
    let item = Item { id: Some("1".to_owned()), price: Some(Decimal::ONE), ..Item::default() };
    Some(Event {
        name: "event".to_owned(),
        event_id: EventId {
            id: "event-1".to_owned(),
            key: String::new(),
            derived: false,
            short_lived: false,
        },
        timestamp: now,
        received_at: now,
        texts,
        action_source: ActionSource::Website,
        amounts: vec![(Field::Value, Decimal::ONE_HUNDRED)],
        currency: Currency::parse("USD"),
        items: if adjusts.is_some() { Vec::new() } else { vec![item] },
        clicked_at: Some(now),
        adjusts,
        ..Event::nothing()
    })
}

/// A text that fits most fields in clear; a platform may still leave it out.
fn example(field: Field) -> &'static str {
    match field {
        Field::PageUrl | Field::Referrer | Field::LandingPage => "https://shop.example/",
        Field::Country => "US",
        Field::Ip => "203.0.113.9",
        Field::Msclkid => "dd4afccc-b1c9-a4ca-d954-4dd7e5006abc",
        Field::GaClientId => "1234567890.1700000000",
        _ => "1",
    }
}
