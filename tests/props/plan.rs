//! Expressions never panic, whatever is written and whatever comes; a frequency rule holds in
//! whatever order events arrive.

use conversion_relay::{
    consent::Signals,
    event::{ActionSource, Currency, Event, EventId, Field, Item, Texts},
    expression::{Expression, Facts},
    plan::{Claim, Per, Person},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use proptest::prelude::*;

fn event() -> Event {
    let at: Timestamp = "2026-11-22T04:00:00Z".parse().unwrap();
    let mut texts = Texts::default();
    texts.push(Field::Email, "jane.doe@example.com");
    texts.push(Field::PageUrl, "https://shop.example/very-secret");
    let mut other = serde_json::Map::new();
    other.insert("cart_size".to_owned(), 3.into());
    Event {
        name: "view_item".to_owned(),
        event_id: EventId {
            id: "e-1".to_owned(),
            key: "e-1".to_owned(),
            derived: false,
            short_lived: false,
        },
        timestamp: at,
        received_at: at,
        site: "shop".to_owned(),
        action_source: ActionSource::Website,
        test: false,
        minor: None,
        texts,
        amounts: vec![(Field::Value, 5.into())],
        currency: Currency::parse("USD"),
        items: vec![Item { id: Some("very-secret".to_owned()), ..Item::default() }],
        clicked_at: None,
        other,
        other_context: serde_json::Map::new(),
        consent: Signals::default(),
        adjusts: None,
    }
}

/// Pieces of CEL, so that random sources are often nearly right.
fn source() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("properties.cart_size"),
        Just("properties.items"),
        Just("context"),
        Just("user.email"),
        Just("event"),
        Just(" > "),
        Just(" == "),
        Just(" && "),
        Just(" + "),
        Just(" % "),
        Just(" in "),
        Just(" ? "),
        Just(" : "),
        Just("("),
        Just(")"),
        Just("["),
        Just("]"),
        Just("{"),
        Just("}"),
        Just("."),
        Just(","),
        Just("!"),
        Just("-"),
        Just("1"),
        Just("0.5"),
        Just("99999999999999999999"),
        Just("'a'"),
        Just("\""),
        Just("'é\\u00e9'"),
        Just("size"),
        Just("has"),
        Just(".exists(i, i.price > 1)"),
        Just(".map(x, x)"),
        Just(".matches('^a')"),
        Just(".?a"),
        Just("null"),
        Just("b'x'"),
        Just("r'\\'"),
        Just("type"),
        Just("math.greatest"),
    ];
    prop_oneof![
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat()),
        "\\PC{0,40}",
        "[ -~]{0,60}",
    ]
}

proptest! {
    #[test]
    fn any_source_compiles_and_runs_or_says_why(source in source(), formula: bool) {
        let event = event();
        let facts = Facts { event: &event, numbers: &[("value", Some(5.into()))] };
        match Expression::compile(&source, formula) {
            Err(error) => prop_assert!(!error.to_string().is_empty()),
            Ok(expression) => {
                let json = expression.json(&facts);
                prop_assert!(json.is_ok() || expression.holds(&facts).is_err());
                prop_assert!(json.is_ok() || expression.number(&facts).is_err());
                prop_assert_eq!(json.is_ok(), expression.text(&facts).is_ok());
                for error in [json.err(), expression.number(&facts).err()].into_iter().flatten() {
                    let said = error.to_string().replace(&source, "");
                    prop_assert!(!said.contains("jane.doe") && !said.contains("very-secret"));
                }
            }
        }
    }

    #[test]
    fn no_window_holds_more_than_the_rule_allows(
        at_most in 1u32..4,
        per in prop_oneof![(1u16..5).prop_map(Per::Days), (1u32..100).prop_map(Per::Hours)],
        hours in prop::collection::vec(0i64..300, 1..40),
    ) {
        let start: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        let mut person = Person::default();
        let mut counted: Vec<Claim> = Vec::new();
        for (number, hour) in hours.iter().enumerate() {
            let at = start + SignedDuration::from_hours(*hour);
            let mut by_event = [0u8; 16];
            by_event[..8].copy_from_slice(&number.to_le_bytes());
            let claim = Claim {
                subject: [0; 16],
                event: "view_item".to_owned(),
                at_most,
                per: Some(per),
                at,
                day: at.to_zoned(TimeZone::UTC).date(),
                not_after: None,
                by_event,
            };
            // A record keeps a bounded number of marks: stay below it to judge exactly.
            if counted.len() < 8 && person.admits(&claim, &Person::default()).is_ok() {
                person.mark(&claim);
                counted.push(claim);
            }
        }
        for first in &counted {
            let within = counted.iter().filter(|other| match per {
                Per::Days(days) => {
                    let apart = other.day.since(first.day).unwrap().get_days();
                    (0..i32::from(days)).contains(&apart)
                }
                Per::Hours(hours) => {
                    let apart = other.at.duration_since(first.at);
                    !apart.is_negative() && apart < SignedDuration::from_hours(i64::from(hours))
                }
            });
            prop_assert!(within.count() <= at_most as usize);
        }
    }
}
