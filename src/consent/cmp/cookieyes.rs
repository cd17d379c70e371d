//! CookieYes' cookie `cookieyes-consent`: `consentid:…,consent:yes,action:yes,analytics:no,…`.
//!
//! Seen in public code (checked 2026-11-22).

use super::{Choices, once, unescaped};
use crate::consent::bits::Unreadable;

pub(super) fn read(value: &str) -> Result<Choices, Unreadable> {
    let value = unescaped(value)?;
    let (mut acted, mut refused) = (false, false);
    let mut choices = Choices::default();
    for pair in value.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (key, value) = pair.split_once(':').ok_or(Unreadable::Form)?;
        match (key.trim(), value.trim()) {
            ("consentid", id) => choices.id = Some(id.to_owned()).filter(|id| !id.is_empty()),
            ("action", action) => acted = action == "yes",
            ("consent", consent) => refused |= consent == "no",
            (key, "yes") => choices.categories.push((key.to_owned(), true)),
            (key, "no") => choices.categories.push((key.to_owned(), false)),
            _ => {}
        }
    }
    if refused {
        // Refused as a whole: what a category says besides that is a contradiction.
        for (id, allowed) in &mut choices.categories {
            *allowed &= id == "necessary";
        }
    }
    choices.categories = once(choices.categories);
    choices.answered = acted;
    if choices.categories.is_empty() { Err(Unreadable::Form) } else { Ok(choices) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOKIE: &str = "consentid:YWJj,consent:yes,action:yes,necessary:yes,functional:no,\
        analytics:no,performance:no,advertisement:yes,lastRenewedDate:1700000000000";

    #[test]
    fn reads_categories() {
        for value in [COOKIE, &*COOKIE.replace(':', "%3A").replace(',', "%2C")] {
            let read = read(value).unwrap();
            let granted = read.categories.iter().filter(|(_, on)| *on).map(|(id, _)| &**id);
            assert_eq!(granted.collect::<Vec<_>>(), ["advertisement", "necessary"]);
            assert_eq!(read.categories.len(), 5);
            assert!(read.answered);
            assert_eq!(read.id.as_deref(), Some("YWJj"));
        }
    }

    #[test]
    fn no_action_is_no_answer_and_no_consent_refuses_all() {
        assert!(!read(&COOKIE.replace("action:yes", "action:")).unwrap().answered);
        let refused = read(&COOKIE.replace("consent:yes", "consent:no")).unwrap();
        assert!(refused.categories.contains(&("advertisement".to_owned(), false)));
        assert!(refused.categories.contains(&("necessary".to_owned(), true)));
        assert_eq!(read("x"), Err(Unreadable::Form));
        assert_eq!(read("action:yes"), Err(Unreadable::Form));
    }
}
