//! OneTrust's cookie `OptanonConsent`: a query string whose `groups` are `C0001:1,C0004:0`.
//!
//! <https://developer.onetrust.com/onetrust/docs/persisting-consent> (checked 2026-11-22).

use super::{Choices, once, unescaped};
use crate::consent::bits::Unreadable;

/// Reads the cookie. `box_closed`: the visitor also has `OptanonAlertBoxClosed`; without it groups may
/// stand at 1 by default, so that only what it refuses counts. Of what is said twice the stricter does.
pub(super) fn read(value: &str, box_closed: bool) -> Result<Choices, Unreadable> {
    // Some senders escape the whole value, some only the values in it.
    let value = match value.contains('&') {
        true => value.into(),
        false => unescaped(value)?,
    };
    let mut interactions = None;
    let mut awaiting = false;
    let mut groups: Option<String> = None;
    let mut choices = Choices::default();
    for pair in value.split('&') {
        let Some((key, value)) = pair.split_once('=') else { continue };
        let value = unescaped(value)?;
        match key {
            "interactionCount" => {
                let count = value.parse::<u32>().unwrap_or(0);
                interactions = Some(interactions.map_or(count, |other: u32| other.min(count)));
            }
            "AwaitingReconsent" => awaiting |= value != "false",
            "isGpcEnabled" => choices.gpc |= value == "1",
            "consentId" => choices.id = Some(value.into_owned()).filter(|id| !id.is_empty()),
            "groups" => {
                let groups = groups.get_or_insert_default();
                groups.push(',');
                groups.push_str(&value);
            }
            _ => {}
        }
    }
    let groups = groups.ok_or(Unreadable::Form)?;
    for group in groups.split(',').filter(|group| !group.is_empty()) {
        let (id, state) = group.rsplit_once(':').ok_or(Unreadable::Form)?;
        choices.categories.push((id.to_owned(), state == "1"));
    }
    choices.categories = once(choices.categories);
    choices.answered = !awaiting && interactions.map_or(box_closed, |count| count > 0);
    if !box_closed {
        choices.categories.retain(|(_, is_granted)| !is_granted);
        choices.answered &= !choices.categories.is_empty();
    }
    Ok(choices)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "isGpcEnabled=0&datestamp=Mon+Nov+02+2026&version=202408.1.0&consentId=6f3a0c1e\
        &interactionCount=1&landingPath=NotLandingPage&groups=C0001%3A1%2CC0002%3A0%2CC0004%3A1&AwaitingReconsent=false";

    #[test]
    fn reads_groups_however_escaped() {
        let escaped = PLAIN.replace('%', "%25").replace('&', "%26").replace('=', "%3D");
        for value in [PLAIN, &*escaped, &*PLAIN.replace("%3A", ":").replace("%2C", ",")] {
            let read = read(value, true).unwrap();
            let expected = [("C0001", true), ("C0002", false), ("C0004", true)];
            assert_eq!(read.categories, expected.map(|(id, on)| (id.to_owned(), on)));
            assert!(read.answered && !read.gpc);
            assert_eq!(read.id.as_deref(), Some("6f3a0c1e"));
        }
    }

    #[test]
    fn no_interaction_is_no_answer() {
        let with = |from: &str, to: &str| read(&PLAIN.replace(from, to), true).unwrap();
        assert!(!with("interactionCount=1", "interactionCount=0").answered);
        assert!(!with("interactionCount=1", "interactionCount=x").answered);
        assert!(!with("AwaitingReconsent=false", "AwaitingReconsent=true").answered);
        let uncounted = PLAIN.replace("interactionCount=1&", "");
        assert!(read(&uncounted, true).unwrap().answered);
        assert!(!read(&uncounted, false).unwrap().answered);
        let open = read(PLAIN, false).unwrap();
        assert_eq!(open.categories, [("C0002".to_owned(), false)], "the box still stands");
        assert!(open.answered, "and a refusal is one");
        assert!(!read("interactionCount=1&groups=C0001:1", false).unwrap().answered);
        assert!(!with("&groups", "&interactionCount=0&groups").answered, "of two the stricter");
    }

    #[test]
    fn gpc_is_seen_and_nonsense_is_refused() {
        assert!(read(&PLAIN.replace("isGpcEnabled=0", "isGpcEnabled=1"), false).unwrap().gpc);
        assert_eq!(read("interactionCount=1&datestamp=x", false), Err(Unreadable::Form));
        assert_eq!(read("groups=C0001&interactionCount=1", false), Err(Unreadable::Form));
        assert_eq!(read("groups=%FF&x=1", false), Err(Unreadable::Alphabet));
    }

    #[test]
    fn only_one_is_a_grant() {
        let read = read("groups=C0001:1,C0002:2,C0004:1,C0004:0&interactionCount=3", true).unwrap();
        let expected = [("C0001", true), ("C0002", false), ("C0004", false)];
        assert_eq!(read.categories, expected.map(|(id, on)| (id.to_owned(), on)));
        for order in ["groups=C0004:0&groups=C0004:1", "groups=C0004:1&groups=C0004:0"] {
            let twice = super::read(order, true).unwrap();
            assert_eq!(twice.categories, [("C0004".to_owned(), false)], "{order}");
        }
    }
}
