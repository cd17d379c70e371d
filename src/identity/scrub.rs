//! Identity where it does not belong: e-mail addresses and phone numbers in URLs and free text.
//!
//! Errs on the side of removing what looks like identity, and leaves alone what only looks like a
//! number: plain digits, dates, addresses of machines. Never normalises what it finds.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use rlibphonenumber::{
    Region,
    phonenumber_matcher::{Leniency, PHONE_MATCHER_FACTORY},
};

/// A text without identity, and how much was taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrubbed {
    /// What is left.
    pub text: String,
    /// How many pieces were removed.
    pub removed: usize,
}

/// A text of a few kilobytes holds no more candidates than this; the rest of a degenerate one is
/// not worth the time.
const MOST_CANDIDATES: u64 = 1000;

/// Removes what looks like an e-mail address, or like a phone number (with `+` or separators, and
/// valid for the country, which is ISO 3166-1 alpha-2).
pub fn scrub_text(text: &str, country: Option<&str>) -> Scrubbed {
    let mut removed = 0;
    let mut left = Cow::Borrowed(text);
    if may_hold_email(text) {
        left = without(left, find_email, &mut removed);
    }
    // Numbers side by side are found one after the other.
    while may_hold_phone(&left) {
        let before = removed;
        left = without_phones(left, country, &mut removed);
        if removed == before {
            break;
        }
    }
    if removed == 0 {
        return Scrubbed { text: text.to_owned(), removed };
    }
    Scrubbed { text: left.trim().to_owned(), removed }
}

/// Removes what looks like an e-mail address, from texts in which digits mean something else
/// (versions, identifiers).
pub fn scrub_emails(text: &str) -> Scrubbed {
    let mut removed = 0;
    if !may_hold_email(text) {
        return Scrubbed { text: text.to_owned(), removed };
    }
    let left = without(Cow::Borrowed(text), find_email, &mut removed);
    Scrubbed { text: left.into_owned(), removed }
}

/// Keeps of a URL's query only the given parameters (`*` at the end matches any rest), drops
/// credentials and fragment, and scrubs what is left. A URL in which nothing is found keeps its
/// spelling.
pub fn scrub_url(url: &str, keep_query: &[String], country: Option<&str>) -> Scrubbed {
    let url = url.trim();
    let url = url.split_once('#').map_or(url, |(before, _)| before);
    let (address, query) = url.split_once('?').map_or((url, ""), |(before, query)| (before, query));
    let (origin, path) = origin_and_path(address);

    let mut removed = 0;
    let mut text = String::with_capacity(url.len());
    text.push_str(&origin);
    for (i, segment) in path.split('/').enumerate() {
        if i > 0 {
            text.push('/');
        }
        text.push_str(&scrub_encoded(segment, country, &mut removed));
    }
    let mut separator = '?';
    for parameter in query.split('&') {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (parameter, None),
        };
        if name.is_empty() || !is_kept(name, keep_query) {
            continue;
        }
        text.push(separator);
        separator = '&';
        text.push_str(name);
        if let Some(value) = value {
            text.push('=');
            text.push_str(&scrub_encoded(value, country, &mut removed));
        }
    }
    Scrubbed { text, removed }
}

/// Whether a parameter of a URL's query is kept; `*` at a pattern's end matches any rest.
pub fn is_kept(name: &str, patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    })
}

/// `https://user:password@host:1/path` → `https://host:1` and `/path`.
fn origin_and_path(address: &str) -> (Cow<'_, str>, &str) {
    let Some((scheme, rest)) = address.split_once("//") else { return ("".into(), address) };
    if !(scheme.is_empty() || scheme.ends_with(':')) {
        return ("".into(), address);
    }
    // Browsers read a backslash as a slash.
    let end = rest.find(['/', '\\']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    (format!("{scheme}//{host}").into(), path)
}

/// What a path segment and a query's value may hold unescaped, once they were decoded.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'/')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Scrubs percent-encoded text. A `+` may stand for itself (a phone number) or for a space (a
/// form's value): both readings are held against the rules, and where one finds something the
/// text is written anew.
fn scrub_encoded<'t>(encoded: &'t str, country: Option<&str>, removed: &mut usize) -> Cow<'t, str> {
    let decoded = percent_decode_str(encoded).decode_utf8_lossy();
    if !may_hold_email(&decoded) && !may_hold_phone(&decoded) {
        return encoded.into();
    }
    let mut best = scrub_text(&decoded, country);
    if decoded.contains('+') {
        let spaced = scrub_text(&decoded.replace('+', " "), country);
        if spaced.removed > best.removed {
            best = spaced;
        }
    }
    if best.removed == 0 {
        return encoded.into();
    }
    *removed += best.removed;
    utf8_percent_encode(&best.text, ESCAPED).to_string().into()
}

fn may_hold_email(text: &str) -> bool {
    text.bytes().any(|byte| byte == b'@' || byte == b'%') && at_sign(text, 0).is_some()
}

/// Where an at sign stands, in clear or percent-encoded, and how many bytes it takes.
fn at_sign(text: &str, from: usize) -> Option<(usize, usize)> {
    let rest = text.get(from..)?;
    let clear = rest.find('@').map(|at| (from + at, 1));
    let encoded = rest.find("%40").map(|at| (from + at, 3));
    [clear, encoded].into_iter().flatten().min()
}

/// Finds an e-mail address from a position on: what may stand in one on both sides of an at sign,
/// and a dot with a top level after it.
fn find_email(text: &str, mut from: usize) -> Option<(usize, usize)> {
    let local = |c: char| c.is_alphanumeric() || ".!#$%&'*+-_~=^`{|}".contains(c);
    let domain = |c: char| c.is_alphanumeric() || c == '-' || c == '.';
    loop {
        let (at, width) = at_sign(text, from)?;
        from = at + width;
        let before = text.get(..at)?;
        let start = before.char_indices().rev().take_while(|(_, c)| local(*c)).last();
        let after = text.get(from..)?;
        let end = after.char_indices().find(|(_, c)| !domain(*c)).map_or(after.len(), |(i, _)| i);
        let host = after.get(..end)?.trim_end_matches(['.', '-']);
        let top = host.rsplit_once('.').map_or("", |(_, top)| top);
        let is_top = top.chars().count() >= 2 && top.chars().all(|c| c.is_alphabetic() || c == '-');
        if let (Some((start, _)), true) = (start, is_top || top.starts_with("xn--")) {
            return Some((start, from + host.len()));
        }
    }
}

fn without<'t>(
    text: Cow<'t, str>,
    find: fn(&str, usize) -> Option<(usize, usize)>,
    removed: &mut usize,
) -> Cow<'t, str> {
    let mut left = text;
    let mut from = 0;
    while let Some((start, end)) = find(&left, from) {
        let mut shorter = String::with_capacity(left.len());
        shorter.push_str(left.get(..start).unwrap_or_default());
        shorter.push_str(left.get(end..).unwrap_or_default());
        left = shorter.into();
        from = start;
        *removed += 1;
    }
    left
}

/// Enough digits for a number anywhere, and a sign that somebody wrote it as one.
fn may_hold_phone(text: &str) -> bool {
    let mut digits = 0;
    let mut groups = 0;
    let mut plus = false;
    let mut in_group = false;
    for byte in text.bytes() {
        let digit = byte.is_ascii_digit();
        digits += usize::from(digit);
        groups += usize::from(digit && !in_group);
        plus |= byte == b'+';
        in_group = digit;
        // Digits of other scripts and full-width signs are left to the matcher.
        if byte >= 0x80 {
            return text.chars().filter(|c| c.is_numeric()).take(7).count() == 7;
        }
    }
    digits >= 7 && (plus || groups > 1)
}

fn without_phones<'t>(
    text: Cow<'t, str>,
    country: Option<&str>,
    removed: &mut usize,
) -> Cow<'t, str> {
    let region = country.and_then(|code| code.to_ascii_uppercase().parse::<Region>().ok());
    let matcher = PHONE_MATCHER_FACTORY
        .matcher_builder(&text)
        .preferred_region(region)
        .leniency(Leniency::Valid)
        .max_tries(MOST_CANDIDATES)
        .build();
    let found: Vec<(usize, usize)> = matcher
        .filter(|found| is_written_as_phone(found.raw_string))
        .map(|found| (found.start, found.end()))
        .collect();
    if found.is_empty() {
        return text;
    }
    *removed += found.len();
    let mut left = String::with_capacity(text.len());
    let mut from = 0;
    for (start, end) in found {
        // A leading plus or bracket that the matcher left out goes with its number.
        let start =
            text.get(..start).map_or(start, |before| before.trim_end_matches(['+', '(']).len());
        left.push_str(text.get(from..start).unwrap_or_default());
        from = end;
    }
    left.push_str(text.get(from..).unwrap_or_default());
    left.into()
}

/// With a plus or with separators, and neither a date nor an address of a machine.
fn is_written_as_phone(raw: &str) -> bool {
    let separated = raw.chars().any(|c| !c.is_numeric());
    separated && !is_date(raw) && raw.parse::<std::net::Ipv4Addr>().is_err()
}

/// `2026-11-22`, `22.11.2026`, `2026/11/22` and the like.
fn is_date(raw: &str) -> bool {
    let mut parts = raw.split(['-', '.', '/']);
    let parts = [parts.next(), parts.next(), parts.next(), parts.next()];
    let [Some(a), Some(b), Some(c), None] = parts else { return false };
    let number = |part: &str, len: usize| {
        (part.len() == len || (len == 2 && part.len() == 1))
            .then(|| part.parse::<u16>().ok())
            .flatten()
    };
    let year = |part: &str| number(part, 4).is_some_and(|year| (1900..2100).contains(&year));
    let small = |part: &str| number(part, 2).is_some_and(|number| (1..=31).contains(&number));
    (year(a) && small(b) && small(c)) || (small(a) && small(b) && year(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str, country: &str) -> (String, usize) {
        let Scrubbed { text, removed } = scrub_text(text, Some(country));
        (text, removed)
    }

    #[test]
    fn emails_go() {
        for (before, after, removed) in [
            ("jane.doe@example.com", "", 1),
            ("write to <jane+shop@mail.example.co.uk>!", "write to <>!", 1),
            ("jane@example.com, joe@example.org.", ", .", 2),
            ("jane%40example.com", "", 1),
            ("müller@exämple.de", "", 1),
            ("jane@example", "jane@example", 0),
            ("@handle at 5@ each", "@handle at 5@ each", 0),
            ("Shoe @ 42.50", "Shoe @ 42.50", 0),
            ("icon@2.5", "icon@2.5", 0),
            ("100% cotton", "100% cotton", 0),
            ("mailto:a@b.co@c.de", "mailto:@c.de", 1),
        ] {
            assert_eq!(text(before, "US"), (after.to_owned(), removed), "{before}");
        }
    }

    #[test]
    fn phone_numbers_go() {
        for (before, after, country) in [
            ("call +1 (415) 555-0133 now", "call  now", "US"),
            ("call +14155550133 now", "call  now", "DE"),
            ("(415) 555-0133", "", "US"),
            ("415.555.0133", "", "US"),
            ("415-555-0133 or 212 555 0187", "or", "US"),
            ("030 901820 Berlin", "Berlin", "DE"),
            ("+49 30 901820", "", "US"),
            ("020 7946 0958", "", "GB"),
        ] {
            let (left, removed) = text(before, country);
            assert_eq!(left, after, "{before}");
            assert!(removed > 0);
        }
    }

    #[test]
    fn what_only_looks_like_a_number_stays() {
        for (unchanged, country) in [
            ("4155550133", "US"),
            ("2026-11-22", "DK"),
            ("2026-11-22", "US"),
            ("22.11.2026", "DE"),
            ("2026-11-22 04:00:00", "DE"),
            ("203.0.113.9", "DE"),
            ("Size 42 (EU), 8.5 (US)", "US"),
            ("c5c7d1d8-42f4-4ac8-9d2a-6fdc3d2a5c11", "US"),
            ("1.299,00 EUR", "DE"),
            ("SKU 12-34-56", "US"),
            ("415-555-0133", "DE"),
            ("ISBN 978-3-16-148410-0", "US"),
        ] {
            assert_eq!(text(unchanged, country), (unchanged.to_owned(), 0));
        }
        assert_eq!(scrub_text("415-555-0133", None).removed, 0, "no country, no national number");
        assert_eq!(scrub_text("+1 415-555-0133", None).removed, 1);
        assert_eq!(scrub_text("415-555-0133", Some("nowhere")).removed, 0);
    }

    #[test]
    fn emails_alone() {
        let agent = "Bot/1.0 (+http://example.com; bot@example.com) 415-555-0133";
        let scrubbed = scrub_emails(agent);
        assert_eq!(scrubbed.text, "Bot/1.0 (+http://example.com; ) 415-555-0133");
        assert_eq!(scrubbed.removed, 1);
    }

    fn url(url: &str) -> (String, usize) {
        let keep = ["utm_*".to_owned(), "page".to_owned()];
        let Scrubbed { text, removed } = scrub_url(url, &keep, Some("US"));
        (text, removed)
    }

    #[test]
    fn urls_keep_what_is_configured() {
        for (before, after, removed) in [
            (
                "https://shop.example/a?gclid=x&utm_source=g&page=2#top",
                "https://shop.example/a?utm_source=g&page=2",
                0,
            ),
            ("https://shop.example/?email=jane@example.com", "https://shop.example/", 0),
            ("https://jane:secret@shop.example:8443/a", "https://shop.example:8443/a", 0),
            ("https://shop.example/u/jane%40example.com/cart", "https://shop.example/u//cart", 1),
            (
                "https://shop.example/?utm_term=jane%40example.com",
                "https://shop.example/?utm_term=",
                1,
            ),
            ("https://shop.example/?utm_term=%2B14155550133", "https://shop.example/?utm_term=", 1),
            ("https://shop.example/?utm_term=+14155550133", "https://shop.example/?utm_term=", 1),
            (
                "https://shop.example/?utm_term=415+555+0133+x",
                "https://shop.example/?utm_term=x",
                1,
            ),
            (
                "https://shop.example/?utm_term=a%20b&UTM_x=1&&=",
                "https://shop.example/?utm_term=a%20b",
                0,
            ),
            ("https://shop.example?utm_id", "https://shop.example?utm_id", 0),
            ("//jane@shop.example/a", "//shop.example/a", 0),
            ("/checkout/415-555-0133?x=1", "/checkout/", 1),
            ("android-app://com.example.shop/", "android-app://com.example.shop/", 0),
            ("mailto:jane@example.com", "mailto:", 1),
            ("not a url", "not a url", 0),
            ("", "", 0),
        ] {
            assert_eq!(url(before), (after.to_owned(), removed), "{before}");
        }
    }

    #[test]
    fn scrubbing_twice_finds_nothing() {
        for before in
            ["a@b@example.com", "j@example.com@example.org", "1 415 555 0133 415-555-0133"]
        {
            let once = scrub_text(before, Some("US"));
            assert_eq!(scrub_text(&once.text, Some("US")).removed, 0, "{before} → {}", once.text);
        }
    }
}
