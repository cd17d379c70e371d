//! Google's Additional Consent string: consent to ad technology providers that are not on IAB's
//! vendor list.
//!
//! <https://support.google.com/admanager/answer/9681920> (checked 2026-11-22). Its ids are Google's,
//! not IAB's. It counts only beside a TC string, which the caller sees to, and never more widely
//! than that: it says which provider, the TC string says for which purposes.

use serde::Serialize;

use super::bits::{MAX_BYTES, Unreadable};

/// An Additional Consent string, read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AdditionalConsent {
    /// 1 or 2.
    pub version: u8,
    /// Providers that were consented to, ascending.
    pub consented: Vec<u32>,
    /// Providers that were shown and not consented to, ascending; `None` in version 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disclosed: Option<Vec<u32>>,
}

/// Reads `2~1.35~dv.9`, `2~~dv`, `1~1.35`.
pub fn decode(text: &str) -> Result<AdditionalConsent, Unreadable> {
    match text.len() {
        0 => return Err(Unreadable::Empty),
        1..=MAX_BYTES => {}
        _ => return Err(Unreadable::TooLong),
    }
    let mut parts = text.split('~');
    let version = parts.next();
    let (consented, disclosed) = match (version, parts.next(), parts.next(), parts.next()) {
        (Some("1"), Some(consented), None, None) => (consented, None),
        (Some("2"), Some(consented), Some(disclosed), None) => (consented, Some(disclosed)),
        (Some("1" | "2"), ..) => return Err(Unreadable::Segment),
        _ => return Err(Unreadable::Version),
    };
    let disclosed = match disclosed {
        None => None,
        Some("dv") => Some(Vec::new()),
        Some(list) => Some(ids(list.strip_prefix("dv.").ok_or(Unreadable::Segment)?)?),
    };
    let version = if disclosed.is_some() { 2 } else { 1 };
    Ok(AdditionalConsent { version, consented: ids(consented)?, disclosed })
}

fn ids(list: &str) -> Result<Vec<u32>, Unreadable> {
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let id = |item: &str| match item {
        "" => Err(Unreadable::Truncated),
        // A sign would be taken by the parser of numbers.
        digits if !digits.bytes().all(|byte| byte.is_ascii_digit()) => Err(Unreadable::Alphabet),
        digits => digits.parse().map_err(|_| Unreadable::Range),
    };
    let mut ids = list.split('.').map(id).collect::<Result<Vec<u32>, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

impl AdditionalConsent {
    /// Whether a provider was consented to. One in both lists was not.
    pub fn allows(&self, provider: u32) -> bool {
        let has = |list: &[u32]| list.binary_search(&provider).is_ok();
        has(&self.consented) && !self.disclosed.as_deref().is_some_and(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_and_their_empty_lists() {
        for (text, consented, disclosed) in [
            ("2~89.12~dv.5.6", &[12_u32, 89][..], Some(&[5_u32, 6][..])),
            ("2~~dv.1.2", &[], Some(&[1, 2])),
            ("2~1.2~dv.", &[1, 2], Some(&[])),
            ("2~1.2~dv", &[1, 2], Some(&[])),
            ("1~1.35.41.1", &[1, 35, 41], None),
            ("1~", &[], None),
        ] {
            let read = decode(text).unwrap();
            assert_eq!(
                (&*read.consented, read.disclosed.as_deref()),
                (consented, disclosed),
                "{text}"
            );
        }
        let read = decode("2~89.12~dv.12").unwrap();
        assert!(read.allows(89) && !read.allows(12) && !read.allows(1));
    }

    #[test]
    fn anything_else_is_refused() {
        for (text, error) in [
            ("", Unreadable::Empty),
            ("3~1~dv.", Unreadable::Version),
            ("1", Unreadable::Segment),
            ("2~1.2", Unreadable::Segment),
            ("2~1~dv.1~x", Unreadable::Segment),
            ("2~1~vd.1", Unreadable::Segment),
            ("1~1~dv.1", Unreadable::Segment),
            ("2~1..2~dv.", Unreadable::Truncated),
            ("2~1.2.~dv.", Unreadable::Truncated),
            ("2~1,2~dv.", Unreadable::Alphabet),
            ("2~+1~dv.", Unreadable::Alphabet),
            ("2~99999999999~dv.", Unreadable::Range),
        ] {
            assert_eq!(decode(text), Err(error), "{text}");
        }
        assert_eq!(decode(&"1".repeat(MAX_BYTES + 1)), Err(Unreadable::TooLong));
    }
}
