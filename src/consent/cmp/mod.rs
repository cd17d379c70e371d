//! What consent platforms hand over: their cookies and events, read into categories.
//!
//! Categories are the platform's own ids, compared exactly; which purposes they stand for is
//! the category map's affair. Formats were seen in public documentation and code (checked
//! 2026-11-22). Cookies can be edited by the visitor: a grant from one is as good as the
//! first-party page, and an answer that was never given is none.

mod cookiebot;
mod cookieyes;
mod didomi;
mod onetrust;
mod usercentrics;

use serde::{Serialize, Serializer};

use super::bits::{MAX_BYTES, Unreadable};

/// What one consent platform says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Choices {
    /// Category ids with the choice, each once; where a platform contradicts itself, `false`.
    #[serde(serialize_with = "by_id")]
    pub categories: Vec<(String, bool)>,
    /// Vendors or services by the platform's own ids, likewise.
    #[serde(serialize_with = "by_id")]
    pub vendors: Vec<(String, bool)>,
    /// The visitor has answered. Where not, nothing was granted or refused.
    pub answered: bool,
    /// The platform saw Global Privacy Control, which is an opt-out.
    pub gpc: bool,
    /// A TC string that it carries.
    pub tcf: Option<String>,
    /// An Additional Consent string that it carries.
    pub additional_consent: Option<String>,
    /// A US Privacy string that it carries.
    pub us_privacy: Option<String>,
    /// Id of the stored choice.
    pub id: Option<String>,
}

fn by_id<S: Serializer>(choices: &[(String, bool)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(choices.iter().map(|(id, allowed)| (id, allowed)))
}

/// One cookie of a consent platform, read or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The platform, or the framework whose string a cookie holds: `onetrust`, `euconsent-v2`.
    pub source: &'static str,
    /// What it says.
    pub choices: Result<Choices, Unreadable>,
}

/// Reads the cookies of consent platforms among `cookies`, which are values as the browser sent
/// them; others are passed over.
pub fn read(cookies: &[(String, String)]) -> Vec<Reading> {
    let has = |name: &str| cookies.iter().any(|(n, value)| n == name && !value.is_empty());
    let mut readings = Vec::new();
    for (name, value) in cookies.iter().filter(|(_, value)| !value.is_empty()) {
        let bounded =
            if value.len() <= MAX_BYTES { Ok(&**value) } else { Err(Unreadable::TooLong) };
        let text = |carry: fn(&mut Choices) -> &mut Option<String>| {
            let mut choices = Choices { answered: true, ..Choices::default() };
            *carry(&mut choices) = Some(value.clone());
            choices
        };
        let (source, choices) = match &**name {
            "OptanonConsent" => {
                let closed = has("OptanonAlertBoxClosed");
                ("onetrust", bounded.and_then(|value| onetrust::read(value, closed)))
            }
            "CookieConsent" => ("cookiebot", bounded.and_then(cookiebot::read)),
            "didomi_token" => ("didomi", bounded.and_then(didomi::read)),
            // Didomi's newer cookie is a binary form that is not published.
            "didomi_dcs" => ("didomi", Err(Unreadable::Version)),
            "cookieyes-consent" => ("cookieyes", bounded.and_then(cookieyes::read)),
            "uc_settings" | "usercentrics" => {
                ("usercentrics", bounded.and_then(usercentrics::read))
            }
            "euconsent-v2" => ("euconsent-v2", bounded.map(|_| text(|c| &mut c.tcf))),
            "addtl_consent" => {
                ("addtl_consent", bounded.map(|_| text(|c| &mut c.additional_consent)))
            }
            "usprivacy" => ("usprivacy", bounded.map(|_| text(|c| &mut c.us_privacy))),
            _ => continue,
        };
        readings.push(Reading { source, choices });
    }
    readings
}

/// A list of choices → each id once, refused where it is refused anywhere. Sorted by id.
fn once(mut choices: Vec<(String, bool)>) -> Vec<(String, bool)> {
    // `false` sorts before `true`, so that the first of an id is the stricter one.
    choices.sort_unstable();
    choices.dedup_by(|(next, _), (kept, _)| next == kept);
    choices
}

/// Undoes percent escapes; invalid text in them is a character that no format has.
fn unescaped(text: &str) -> Result<std::borrow::Cow<'_, str>, Unreadable> {
    percent_encoding::percent_decode_str(text).decode_utf8().map_err(|_| Unreadable::Alphabet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Reading {
        let mut readings = read(&[(name.to_owned(), value.to_owned())]);
        assert_eq!(readings.len(), 1);
        readings.remove(0)
    }

    #[test]
    fn cookies_of_platforms_are_found_by_name() {
        let cookies = [
            ("_ga", "GA1.1.1"),
            ("usprivacy", "1YNN"),
            ("euconsent-v2", "CQ"),
            ("CookieConsent", ""),
        ];
        let cookies = cookies.map(|(n, v)| (n.to_owned(), v.to_owned()));
        let readings = read(&cookies);
        let sources: Vec<_> = readings.iter().map(|reading| reading.source).collect();
        assert_eq!(sources, ["usprivacy", "euconsent-v2"]);
        assert_eq!(readings[0].choices.as_ref().unwrap().us_privacy.as_deref(), Some("1YNN"));
        assert_eq!(readings[1].choices.as_ref().unwrap().tcf.as_deref(), Some("CQ"));
    }

    #[test]
    fn too_long_and_binary_forms_are_refused() {
        let long = "x".repeat(MAX_BYTES + 1);
        for name in
            ["OptanonConsent", "CookieConsent", "didomi_token", "cookieyes-consent", "uc_settings"]
        {
            assert_eq!(one(name, &long).choices, Err(Unreadable::TooLong), "{name}");
        }
        assert_eq!(one("didomi_dcs", "CQAAA").choices, Err(Unreadable::Version));
    }

    #[test]
    fn contradictions_are_refusals() {
        let id = |id: &str, allowed| (id.to_owned(), allowed);
        assert_eq!(
            once(vec![id("b", true), id("a", true), id("a", false)]),
            [id("a", false), id("b", true)]
        );
    }
}
