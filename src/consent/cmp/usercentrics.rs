//! Usercentrics' `consent_status` event, as a page forwards it:
//! `{"event":"consent_status","type":"explicit","ucCategory":{"marketing":true},"Service":true}`.
//!
//! Seen in third-party pages (checked 2026-11-22), not confirmed by the vendor's own. Values that
//! are not booleans grant nothing.

use serde_json::{Map, Value};

use super::{Choices, once, unescaped};
use crate::consent::bits::Unreadable;

pub(super) fn read(value: &str) -> Result<Choices, Unreadable> {
    // JSON has bare percent signs, an escaped one has no quotes.
    let value = if value.contains('"') { value.into() } else { unescaped(value)? };
    let event: Map<String, Value> = serde_json::from_str(&value).map_err(|_| Unreadable::Form)?;
    let categories = match event.get("ucCategory") {
        Some(Value::Object(categories)) => booleans(categories),
        _ => return Err(Unreadable::Form),
    };
    Ok(Choices {
        categories,
        vendors: booleans(&event),
        answered: event.get("type").and_then(Value::as_str) == Some("explicit"),
        ..Choices::default()
    })
}

fn booleans(map: &Map<String, Value>) -> Vec<(String, bool)> {
    once(map.iter().filter_map(|(id, value)| Some((id.clone(), value.as_bool()?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"event":"consent_status","action":"onAcceptAllServices","type":"explicit",
        "ucCategory":{"marketing":true,"functional":false,"essential":true},"Example Ads":true,"Example Maps":false}"#;

    #[test]
    fn reads_categories_and_services() {
        let escaped = EVENT.replace('"', "%22");
        for value in [EVENT, &*escaped] {
            let read = read(value).unwrap();
            let expected = [("essential", true), ("functional", false), ("marketing", true)];
            assert_eq!(read.categories, expected.map(|(id, on)| (id.to_owned(), on)));
            let services = [("Example Ads", true), ("Example Maps", false)];
            assert_eq!(read.vendors, services.map(|(id, on)| (id.to_owned(), on)));
            assert!(read.answered);
        }
    }

    #[test]
    fn implicit_is_no_answer_and_nonsense_is_refused() {
        assert!(!read(&EVENT.replace("explicit", "implicit")).unwrap().answered);
        assert_eq!(read("{}"), Err(Unreadable::Form));
        assert_eq!(read("[]"), Err(Unreadable::Form));
        assert_eq!(read("stamp"), Err(Unreadable::Form));
    }
}
