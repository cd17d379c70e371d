//! Cookiebot's cookie `CookieConsent`: an object literal of a script, which is scanned, never run.
//!
//! `{stamp:'…',necessary:true,statistics:false,marketing:true,method:'explicit',ver:1,…}`, escaped
//! for URLs; also a bare `0` (not asked yet) or `-1` (no banner in that region). Seen in public
//! code (checked 2026-11-22).

use super::{Choices, once, unescaped};
use crate::consent::bits::Unreadable;

pub(super) fn read(value: &str) -> Result<Choices, Unreadable> {
    let value = unescaped(value)?;
    if matches!(&*value, "0" | "-1") {
        return Ok(Choices::default());
    }
    let mut choices = Choices::default();
    let (mut stamped, mut explicit) = (false, false);
    let inner = value.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let mut rest = inner.ok_or(Unreadable::Form)?;
    while !rest.trim_start().is_empty() {
        let (key, value, after) = entry(rest)?;
        match (key, value) {
            ("stamp", stamp) => stamped = !matches!(stamp, "" | "0" | "-1"),
            // Consent that was never spoken is none.
            ("method", method) => explicit = method == "explicit",
            ("iab2", tcf) => choices.tcf = Some(tcf.to_owned()).filter(|tcf| !tcf.is_empty()),
            ("gacm", list) => {
                choices.additional_consent = Some(list.to_owned()).filter(|list| !list.is_empty());
            }
            (key, "true") => choices.categories.push((key.to_owned(), true)),
            (key, "false") => choices.categories.push((key.to_owned(), false)),
            _ => {}
        }
        rest = after;
    }
    choices.categories = once(choices.categories);
    choices.answered = stamped && explicit;
    Ok(choices)
}

/// The next `key:value`, and what follows its comma.
fn entry(text: &str) -> Result<(&str, &str, &str), Unreadable> {
    let (key, rest) = text.split_once(':').ok_or(Unreadable::Form)?;
    let (key, rest) = (key.trim().trim_matches(['\'', '"']), rest.trim_start());
    let is_word =
        |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    if key.is_empty() || !is_word(key) {
        return Err(Unreadable::Form);
    }
    let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let (value, rest) = match quote {
        Some(quote) => {
            let (value, rest) = rest
                .strip_prefix(quote)
                .and_then(|r| r.split_once(quote))
                .ok_or(Unreadable::Form)?;
            // An escaped quote would shift what follows.
            if value.contains('\\') {
                return Err(Unreadable::Form);
            }
            (value, rest.trim_start())
        }
        None => {
            let end = rest.find(',').unwrap_or(rest.len());
            let (value, rest) = rest.split_at_checked(end).ok_or(Unreadable::Form)?;
            if !is_word(value.trim()) {
                return Err(Unreadable::Form);
            }
            (value.trim(), rest)
        }
    };
    match rest.strip_prefix(',') {
        Some(after) => Ok((key, value, after)),
        None if rest.is_empty() => Ok((key, value, rest)),
        None => Err(Unreadable::Form),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOKIE: &str = "{stamp:'mZ3d+Zz==',necessary:true,preferences:false,statistics:false,\
        marketing:true,method:'explicit',ver:1,utc:1705162226478,iab2:'CQAAA',gacm:'1~2.3',region:'de'}";

    #[test]
    fn reads_the_object_plain_and_escaped() {
        let escaped = COOKIE.replace('\'', "%27").replace(',', "%2C").replace(':', "%3A");
        let braces = COOKIE.replace('{', "%7B").replace('}', "%7D");
        for value in [COOKIE, &*escaped, &*braces] {
            let read = read(value).unwrap();
            let expected = [
                ("marketing", true),
                ("necessary", true),
                ("preferences", false),
                ("statistics", false),
            ];
            assert_eq!(read.categories, expected.map(|(id, on)| (id.to_owned(), on)));
            assert!(read.answered);
            assert_eq!(read.tcf.as_deref(), Some("CQAAA"));
            assert_eq!(read.additional_consent.as_deref(), Some("1~2.3"));
        }
    }

    #[test]
    fn without_a_banner_or_a_click_there_is_no_answer() {
        assert!(!read("0").unwrap().answered);
        assert!(!read("-1").unwrap().answered);
        let implied =
            COOKIE.replace("stamp:'mZ3d+Zz=='", "stamp:'-1'").replace("explicit", "implied");
        assert!(!read(&implied).unwrap().answered);
        assert!(!read(&COOKIE.replace("explicit", "implied")).unwrap().answered);
        assert!(!read(&COOKIE.replace("method:'explicit',", "")).unwrap().answered);
    }

    #[test]
    fn what_is_not_that_object_is_refused() {
        for value in [
            "",
            "true",
            "{marketing:true",
            "{marketing}",
            "{marketing:true}x",
            "{stamp:'a,marketing:true}",
            r"{stamp:'a\',marketing:true,x:'}",
            "{marketing:alert(1)}",
            "{stamp:'a'marketing:true}",
            "{[x]:true}",
        ] {
            assert_eq!(read(value), Err(Unreadable::Form), "{value}");
        }
    }
}
