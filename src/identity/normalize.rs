//! The rules: what each platform does to a text before it is hashed, or sent in clear.
//!
//! Platform files name a [`Rule`] for each field; [`normalize`] applies it. A rule never guesses:
//! what is not a value of its kind is dropped with a reason, not hashed as it came.

use super::{Normalized, email, name, phone, place};

/// A normalisation rule, named after what it does, or after the one platform that wants it so.
/// Remembered traits are stored with its number: append, never insert or reorder.
/// Pages checked 2026-11-22.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// As it came, trimmed. Click ids, cookies and user agents are case sensitive.
    Verbatim,
    /// The advertiser's own id: trimmed; the one text in clear that may be a hash.
    ExternalId,
    /// Trimmed, lower case.
    Lower,
    /// Trimmed, upper case (Reddit's `idfa`).
    Upper,
    /// Lower case, no white space (TikTok's names, Amazon's postal codes).
    LowerNoSpace,
    /// Lower case, only `a-z` and `0-9` are left (Amazon, TikTok's cities).
    LowerAlphanumeric,

    /// Trimmed, lower case; dots and `+suffix` stay (Meta, TikTok, LinkedIn, X, Snapchat, Pinterest).
    /// <https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/customer-information-parameters>
    EmailPlain,
    /// No white space, lower case; for gmail.com and googlemail.com no dots and no `+suffix`.
    /// <https://developers.google.com/data-manager/api/devguides/concepts/formatting>
    EmailGoogle,
    /// The same, but `+suffix` stays: Google's older page, and GA4's.
    /// <https://developers.google.com/analytics/devguides/collection/ga4/uid-data>
    EmailGoogleKeepSuffix,
    /// No dots and no `+alias` in any domain (Microsoft).
    EmailBareLocal,
    /// Cut at the first `+`, then letters and digits only before the `@` (Reddit).
    EmailAlphanumericLocal,
    /// Lower case, only `a-z`, `0-9`, `.`, `@`, `-` and `+` are left (Amazon).
    EmailAmazon,
    /// The same without `+`, as Amazon's own comment lists the characters.
    EmailAmazonNoPlus,

    /// E.164 without the plus: digits with country code (Meta, Snapchat, Pinterest).
    /// <https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/customer-information-parameters>
    PhoneDigits,
    /// E.164 with the plus (Google, GA4, TikTok, Microsoft, Reddit, X).
    /// <https://developers.google.com/data-manager/api/devguides/concepts/formatting>
    PhoneE164,

    /// Lower case, no punctuation, no white space; letters of every script stay (Meta, Snapchat).
    /// <https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/customer-information-parameters>
    NameMeta,
    /// Lower case, no white space, as Google's own formatter hashes it; punctuation stays.
    /// <https://github.com/googleads/data-manager-python>, `google/ads/datamanager_util/format.py`
    NameGoogle,
    /// No digits, no symbols, lower case, trimmed.
    /// <https://developers.google.com/analytics/devguides/collection/ga4/uid-data>
    NameGa4,
    /// No symbols, lower case, trimmed; digits stay.
    /// <https://developers.google.com/analytics/devguides/collection/ga4/uid-data>
    StreetGa4,

    /// Lower case, no punctuation, no symbols, no white space (Meta, Snapchat, Pinterest).
    CityCompact,
    /// No digits, no symbols, lower case, trimmed (GA4's city and region).
    PlaceGa4,
    /// In the USA the state's two letters, elsewhere as [`Rule::CityCompact`] (Meta).
    StateCompact,
    /// Lower case, no white space, no dash; in the USA the first five digits (Meta).
    PostalCompact,
    /// Trimmed, case kept (postal codes; cities and states of the Google Ads API).
    /// <https://developers.google.com/data-manager/api/devguides/concepts/formatting>
    PlaceGoogle,
    /// No `.` and no `~`, trimmed.
    /// <https://developers.google.com/analytics/devguides/collection/ga4/uid-data>
    PostalGa4,
    /// Digits only (Pinterest).
    PostalDigits,
    /// ISO 3166-1 alpha-2, lower case.
    CountryLower,
    /// ISO 3166-1 alpha-2, upper case.
    CountryUpper,

    /// An absolute http or https URL as it is: most platforms refuse a whole batch for another.
    HttpUrl,

    /// `YYYYMMDD`, from 1900 on.
    DateOfBirth,
    /// `f` or `m`.
    Gender,
    /// `f`, `m` or `n` (Pinterest).
    GenderOrNone,
    /// The MD5, in hex, of what [`Rule::EmailPlain`] makes of it: not to be sent, but to be hashed again
    /// (Criteo's third digest).
    /// <https://guides.criteotilt.com/onetag/s2s/>
    EmailMd5,
    /// Lower case, no white space; in the USA the first five digits (Snapchat). Dashes stay.
    PostalNoSpace,
}

impl Rule {
    /// Its position, by which remembered traits are stored.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Whether the usual hash of a value may stand for what this rule makes of it: not where it is a
    /// hash of another kind.
    pub fn takes_hashes(self) -> bool {
        self != Rule::EmailMd5
    }
}

/// Why a value was dropped rather than sent wrongly. Never holds the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Dropped {
    /// Nothing is left of it.
    #[error("nothing is left after normalisation")]
    Empty,
    /// It is already hashed, and the platform wants it in clear.
    #[error("it is already hashed, and the platform takes it only in clear")]
    Hashed,
    /// A device's id that was switched off, or a word for nothing.
    #[error("it is everybody's: all zeros, or a program's word for nothing, such as null")]
    Nobodys,
    /// Identity that only leaves hashed, in a field that goes in clear.
    #[error("it looks like an e-mail address or a phone number, which only leave hashed")]
    Identity,
    /// It is not what it should be.
    #[error("it is not a valid value of its kind")]
    Invalid,
    /// A phone number without a country code where no country is known.
    #[error("it has no country code, and neither the event nor its site has a country")]
    NoCountry,
}

/// Normalises by a rule. `country` (ISO alpha-2) is the event's or its site's, for phone numbers
/// and postal rules. The result is never empty.
pub fn normalize(rule: Rule, text: &str, country: Option<&str>) -> Result<Normalized, Dropped> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Dropped::Empty);
    }
    let normalised = match rule {
        Rule::Verbatim | Rule::ExternalId | Rule::PlaceGoogle => text.to_owned(),
        Rule::Lower => text.to_lowercase(),
        Rule::Upper => text.to_uppercase(),
        Rule::LowerNoSpace | Rule::NameGoogle => name::lower_no_space(text),
        Rule::LowerAlphanumeric => name::lower_alphanumeric(text),
        Rule::EmailPlain => email::plain(text)?,
        Rule::EmailGoogle => email::google(text, email::Suffix::Removed)?,
        Rule::EmailGoogleKeepSuffix => email::google(text, email::Suffix::Kept)?,
        Rule::EmailBareLocal => email::bare_local(text)?,
        Rule::EmailAlphanumericLocal => email::alphanumeric_local(text)?,
        Rule::EmailAmazon => email::amazon(text, ".@-+")?,
        Rule::EmailAmazonNoPlus => email::amazon(text, ".@-")?,
        Rule::EmailMd5 => email::md5(text)?,
        Rule::PhoneE164 => phone::e164(text, country)?,
        Rule::PhoneDigits => phone::digits(phone::e164(text, country)?),
        Rule::NameMeta => name::without_punctuation(text),
        Rule::NameGa4 => name::without_digits_and_symbols(text),
        Rule::StreetGa4 => name::without_symbols(text),
        Rule::CityCompact => place::compact(text),
        Rule::PlaceGa4 => name::without_digits_and_symbols(text),
        Rule::StateCompact => place::state(text, country)?,
        Rule::PostalCompact => place::postal(text, country, |c| c == '-')?,
        Rule::PostalNoSpace => place::postal(text, country, |_| false)?,
        Rule::PostalGa4 => text.replace(['.', '~'], "").trim().to_owned(),
        Rule::PostalDigits => text.chars().filter(char::is_ascii_digit).collect(),
        Rule::CountryLower => place::country(text)?.to_ascii_lowercase(),
        Rule::CountryUpper => place::country(text)?,
        Rule::HttpUrl => http_url(text)?.to_owned(),
        Rule::DateOfBirth => date_of_birth(text)?,
        Rule::Gender => gender(text, false)?.to_owned(),
        Rule::GenderOrNone => gender(text, true)?.to_owned(),
    };
    if normalised.is_empty() { Err(Dropped::Empty) } else { Ok(Normalized(normalised)) }
}

fn http_url(text: &str) -> Result<&str, Dropped> {
    let (scheme, rest) = text.split_once("://").ok_or(Dropped::Invalid)?;
    let is_http = ["http", "https"].iter().any(|http| http.eq_ignore_ascii_case(scheme));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    let is_whole = !host.is_empty()
        && (port.is_empty() || port.parse::<u16>().is_ok())
        && !has_space_or_control(text);
    if is_http && is_whole { Ok(text) } else { Err(Dropped::Invalid) }
}

/// Byte by byte where all are ASCII, as nearly every URL's are.
fn has_space_or_control(text: &str) -> bool {
    if text.is_ascii() {
        text.bytes().any(|byte| byte <= b' ' || byte == 0x7f)
    } else {
        text.chars().any(|c| c.is_whitespace() || c.is_control())
    }
}

fn date_of_birth(text: &str) -> Result<String, Dropped> {
    let date = birth_date(text).ok_or(Dropped::Invalid)?;
    Ok(format!("{:04}{:02}{:02}", date.year(), date.month(), date.day()))
}

/// `1997-02-16`, `1997/2/16`, `1997.02.16` and `19970216`: year first, since what comes first
/// elsewhere would be a guess. `None` for what is no date of a living person.
pub fn birth_date(text: &str) -> Option<jiff::civil::Date> {
    let parts: Vec<&str> = text.trim().split(['-', '/', '.']).collect();
    let (year, month, day) = match parts.as_slice() {
        [whole] if whole.len() == 8 => (whole.get(0..4)?, whole.get(4..6)?, whole.get(6..8)?),
        // A time may follow the date.
        [year, month, day] => (*year, *month, day.split('T').next()?),
        _ => return None,
    };
    let (month, day) = (month.parse().ok()?, day.parse().ok()?);
    let date = jiff::civil::Date::new(year.parse().ok()?, month, day).ok()?;
    (date.year() >= 1900).then_some(date)
}

fn gender(text: &str, none: bool) -> Result<&'static str, Dropped> {
    match text.to_lowercase().as_str() {
        "f" | "female" | "woman" => Ok("f"),
        "m" | "male" | "man" => Ok("m"),
        "n" | "x" | "nonbinary" | "non-binary" | "non binary" | "other" if none => Ok("n"),
        _ => Err(Dropped::Invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rule: Rule, text: &str, country: Option<&str>) -> String {
        normalize(rule, text, country).unwrap().expose().to_owned()
    }

    /// Every vector that the vendors' pages and libraries print: rule, text, country, what is left
    /// of it, and its hash where they name it.
    #[test]
    fn vendors_vectors() {
        let none = "";
        #[rustfmt::skip]
        let table: &[(Rule, &str, Option<&str>, &str, &str)] = &[
            (Rule::EmailPlain, "John_Smith@gmail.com", None, "john_smith@gmail.com", "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"),
            (Rule::EmailPlain, " Foo@Bar.com ", None, "foo@bar.com", "0c7e6a405862e402eb76a70f8a26fc732d07c32931e9fae9ab1582911d2e8a3b"),
            (Rule::EmailPlain, "person@example.com", None, "person@example.com", "542d240129883c019e106e3b1b2d3f3cb3537c43c425364de8e951d5a3083345"),
            (Rule::EmailPlain, "test-email@test.com", None, "test-email@test.com", "e586883b2b4faf78d48300a79e0e15138d664cdf796ffb86e533170a9893eda8"),
            (Rule::EmailPlain, "test@x.com", None, "test@x.com", "5806dc6b2f04fb728708a8f7b81c14edcd4fba36f77914cf0c9368d9a3a25f76"),
            (Rule::EmailPlain, "Jane.Doe+shop@gmail.com", None, "jane.doe+shop@gmail.com", none),
            (Rule::EmailPlain, "\u{feff}mailto:Jane\u{ad}@Example.com\u{200b} ", None, "jane@example.com", none),
            (Rule::EmailPlain, "jörg.o'neil/x=1@müller.example", None, "jörg.o'neil/x=1@müller.example", none),
            (Rule::EmailGoogle, " jane doe@gmail.com", None, "janedoe@gmail.com", none),
            (Rule::EmailGoogle, "Jane.Doe@gmail.com", None, "janedoe@gmail.com", "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69"),
            (Rule::EmailGoogle, "alexz@example.com", None, "alexz@example.com", "509e933019bb285a134a9334b8bb679dff79d0ce023d529af4bd744d47b4fd8a"),
            (Rule::EmailGoogle, "cloudy.sanfrancisco+shopping@gmail.com", None, "cloudysanfrancisco@gmail.com", none),
            (Rule::EmailGoogle, "user.name+NYC@Example.com", None, "user.name+nyc@example.com", none),
            (Rule::EmailGoogle, "Jefferson.Loves.hiking@gmail.com", None, "jeffersonloveshiking@gmail.com", none),
            (Rule::EmailGoogle, "A.B+c@GoogleMail.com", None, "ab@googlemail.com", none),
            (Rule::EmailMd5, " Jane.Doe@Example.com", None, "0cba00ca3da1b283a57287bcceb17e35", "861a02f31e82e3e351245b890b77cd9dcf6d2a41cae117e1fb55d79a1c9a2b8f"),
            (Rule::EmailGoogleKeepSuffix, "A.B+c.d@GoogleMail.com", None, "ab+cd@googlemail.com", none),
            (Rule::EmailGoogleKeepSuffix, "janedoe@example.com", None, "janedoe@example.com", "c4d25e9c90ff23e9145397bc6fbd5385ca5fbe78211222ccbecd0b369ebb19a6"),
            (Rule::EmailBareLocal, "a.b.c+x@Example.com", None, "abc@example.com", "9eceb13483d7f187ec014fd6d4854d1420cfc634328af85f51d0323ba8622e21"),
            (Rule::EmailAlphanumericLocal, "Al.ice$+Apple@Example.Com", None, "alice@example.com", "ff8d9819fc0e12bf0d24892e45987e249a28dce836a85cad60e28eaaa8c6d976"),
            (Rule::EmailAmazon, " Ab_c+d@Example.com", None, "abc+d@example.com", none),
            (Rule::EmailAmazonNoPlus, " Ab_c+d@Example.com", None, "abcd@example.com", none),
            (Rule::PhoneDigits, "(650)555-1212", Some("US"), "16505551212", "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"),
            (Rule::PhoneDigits, "+44 844 412 4653", None, "448444124653", "dc008fda46e2e64002cf2f82a4906236282d431c4f75e5b60bfe79fc48546383"),
            (Rule::PhoneDigits, "+14150000000", None, "14150000000", "bdd855706df3885dd73e09aa7eeb27af3b1e94950f4ac5603a729b59bc4dd560"),
            (Rule::PhoneE164, "(800)555-0100", Some("US"), "+18005550100", "fb4f73a6ec5fdb7077d564cdd22c3554b43ce49168550c3b12c547b78c517b30"),
            (Rule::PhoneE164, "   +1-800-555-0100", None, "+18005550100", "fb4f73a6ec5fdb7077d564cdd22c3554b43ce49168550c3b12c547b78c517b30"),
            (Rule::PhoneE164, "+16505551212", None, "+16505551212", "1e231c66011e7a2d867a9cfae267a6aff103cf4913640b6e71a99850fc0ffbc8"),
            (Rule::PhoneE164, "+14150000000", None, "+14150000000", "e690226a68bdcb82d60a63f5d87f5f5c9a68aab9ce1512fbbbdab5a64aa53262"),
            (Rule::PhoneE164, "+14250000000", None, "+14250000000", "f11dc5034999f4d169947c65990f626f6d0a633af0b6ee1807fdc5756f39ce50"),
            (Rule::PhoneE164, "+11234567890", None, "+11234567890", "1fa6b8d986d9b9cd01bf36951815158bbde9f520c0567c835dfe34783d0a4231"),
            (Rule::NameMeta, "Mary", None, "mary", "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec"),
            (Rule::NameMeta, "Valéry", None, "valéry", "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c"),
            (Rule::NameMeta, "정", None, "정", "8fa8cd9c440be61d0151429310034083132b35975c4bea67fdd74158eb51db14"),
            (Rule::NameMeta, "Raphaël", None, "raphaël", "e74bb89e718fe1e19c422a48382870399f8bf7ca8dfa008739e75b0be76627b7"),
            (Rule::NameMeta, "Mary-Ann O’Neil Jr.", None, "maryannoneiljr", none),
            (Rule::NameGoogle, " John ", None, "john", "96d9632f363564cc3032521409cf22a852f2032eec099ed5967c0d000cec607a"),
            (Rule::NameGoogle, "Smith", None, "smith", "6627835f988e2c5e50533d491163072d3f4f41f5c8b04630150debb3722ca2dd"),
            (Rule::NameGoogle, "Mary Ann", None, "maryann", "16b3f07f0ec2f9dd127b71dc2e6c791b7d93116a1c3bc99d057eaa7a8a077e73"),
            (Rule::NameGoogle, "O'Neil", None, "o'neil", none),
            (Rule::NameGa4, " Jane2 O'Neil-3 ", None, "jane oneil", none),
            (Rule::StreetGa4, "1 Main St., #4", None, "1 main st 4", none),
            (Rule::DateOfBirth, "1997-02-16", None, "19970216", "01acdbf6ec7b4f478a225f1a246e5d6767eeab1a7ffa17f025265b5b94f40f0c"),
            (Rule::Gender, "F", None, "f", "252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111"),
            (Rule::Gender, "Male", None, "m", "62c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a"),
            (Rule::CityCompact, "New York", None, "newyork", "350c754ba4d38897693aa077ef43072a859d23f613443133fecbbd90a3512ca5"),
            (Rule::CityCompact, "St. John's", None, "stjohns", none),
            (Rule::StateCompact, "CA", Some("US"), "ca", "6959097001d10501ac7d54c0bdb8db61420f658f2922cc26e46d536119a31126"),
            (Rule::StateCompact, "California", Some("US"), "ca", none),
            (Rule::StateCompact, "US-CA", Some("us"), "ca", none),
            (Rule::StateCompact, "Nordrhein-Westfalen", Some("DE"), "nordrheinwestfalen", none),
            (Rule::PostalCompact, "94035", Some("US"), "94035", "1794327a4d443904421f5ca1f3d72d0a62ba2f0770d80755ec2220fc0efb052e"),
            (Rule::PostalCompact, "94107-1234", Some("US"), "94107", none),
            (Rule::PostalCompact, "SW1A 1AA", Some("GB"), "sw1a1aa", none),
            (Rule::PostalCompact, "00-950", Some("PL"), "00950", none),
            (Rule::PostalNoSpace, " 00-950 ", Some("PL"), "00-950", none),
            (Rule::PostalNoSpace, "SW1A 1AA", Some("GB"), "sw1a1aa", none),
            (Rule::PostalNoSpace, "94107-1234", Some("US"), "94107", none),
            (Rule::CountryLower, "US", None, "us", "79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"),
            (Rule::CountryUpper, " us ", None, "US", none),
            (Rule::CountryUpper, "uk", None, "GB", none),
            (Rule::CountryLower, "XK", None, "xk", none),
            (Rule::PlaceGoogle, " sw1A 1AA ", None, "sw1A 1AA", none),
            (Rule::PostalGa4, "94.0~43 ", None, "94043", none),
            (Rule::PlaceGa4, "Mountain View 2", None, "mountain view", none),
            (Rule::LowerAlphanumeric, "São Paulo!", None, "sopaulo", none),
            (Rule::PostalDigits, "D-10115", None, "10115", none),
            (Rule::GenderOrNone, "non-binary", None, "n", none),
            (Rule::Upper, "ab-cd", None, "AB-CD", none),
            (Rule::HttpUrl, " https://shop.example:8443/a?b=c ", None, "https://shop.example:8443/a?b=c", none),
            (Rule::HttpUrl, "HTTP://[2001:db8::1]/ü", None, "HTTP://[2001:db8::1]/ü", none),
            (Rule::Verbatim, " IwAR0aB ", None, "IwAR0aB", none),
        ];
        for (rule, raw, country, expected, hash) in table {
            let normalised = normalize(*rule, raw, *country).unwrap();
            assert_eq!(normalised.expose(), *expected, "{rule:?}");
            if !hash.is_empty() {
                assert_eq!(normalised.digest().hex(), *hash, "{rule:?} {expected}");
            }
        }
    }

    #[test]
    fn what_is_no_value_of_its_kind_is_dropped() {
        #[rustfmt::skip]
        let table: &[(Rule, &str, Option<&str>, Dropped)] = &[
            (Rule::EmailPlain, "", None, Dropped::Empty),
            (Rule::EmailPlain, "   ", None, Dropped::Empty),
            (Rule::EmailPlain, "jane", None, Dropped::Invalid),
            (Rule::EmailPlain, "jane@", None, Dropped::Invalid),
            (Rule::EmailPlain, "@example.com", None, Dropped::Invalid),
            (Rule::EmailPlain, "a@b@example.com", None, Dropped::Invalid),
            (Rule::EmailPlain, "jane@example.com;", None, Dropped::Invalid),
            (Rule::EmailPlain, "jane@example.com,joe", None, Dropped::Invalid),
            (Rule::EmailPlain, "jane@gmail.com.", None, Dropped::Invalid),
            (Rule::EmailPlain, "jane@.com", None, Dropped::Invalid),
            (Rule::EmailPlain, "jane\u{0}@example.com", None, Dropped::Invalid),
            (Rule::EmailPlain, "jane doe@example.com", None, Dropped::Invalid),
            (Rule::EmailPlain, "<jane@example.com>", None, Dropped::Invalid),
            (Rule::EmailPlain, "mailto:", None, Dropped::Invalid),
            (Rule::EmailPlain, "mailto:jane@example.com?subject=a", None, Dropped::Invalid),
            (Rule::EmailPlain, "\u{200b}", None, Dropped::Invalid),
            (Rule::EmailGoogle, "\"Jane\" <jane@example.com>", None, Dropped::Invalid),
            (Rule::EmailAmazon, "\"Jane\" <jane@example.com>", None, Dropped::Invalid),
            (Rule::EmailAmazon, "jane@example.com;", None, Dropped::Invalid),
            (Rule::EmailAmazonNoPlus, "+@example.com", None, Dropped::Invalid),
            (Rule::EmailBareLocal, "jane@example.com;", None, Dropped::Invalid),
            (Rule::EmailGoogle, " ...@gmail.com", None, Dropped::Invalid),
            (Rule::EmailGoogle, "+x@gmail.com", None, Dropped::Invalid),
            (Rule::EmailAlphanumericLocal, "_@example.com", None, Dropped::Invalid),
            (Rule::PhoneE164, "800-555-0100", None, Dropped::NoCountry),
            (Rule::PhoneDigits, "14155550133", None, Dropped::NoCountry),
            (Rule::PhoneE164, "12", Some("US"), Dropped::Invalid),
            (Rule::PhoneE164, "555-0133", Some("US"), Dropped::Invalid),
            (Rule::PhoneE164, "ask me", Some("US"), Dropped::Invalid),
            (Rule::PhoneE164, "+999 123 456", None, Dropped::Invalid),
            (Rule::NameMeta, "-.-", None, Dropped::Empty),
            (Rule::NameGa4, "42", None, Dropped::Empty),
            (Rule::CountryLower, "USA", None, Dropped::Invalid),
            (Rule::CountryLower, "EU", None, Dropped::Invalid),
            (Rule::CountryUpper, "XX", None, Dropped::Invalid),
            (Rule::CountryUpper, "--", None, Dropped::Invalid),
            (Rule::StateCompact, "Atlantis", Some("US"), Dropped::Invalid),
            (Rule::PostalCompact, "9410", Some("US"), Dropped::Invalid),
            (Rule::HttpUrl, "/checkout", None, Dropped::Invalid),
            (Rule::HttpUrl, "shop.example/a", None, Dropped::Invalid),
            (Rule::HttpUrl, "https:///a", None, Dropped::Invalid),
            (Rule::HttpUrl, "https://shop.example/a b", None, Dropped::Invalid),
            (Rule::HttpUrl, "https://shop.example:x/", None, Dropped::Invalid),
            (Rule::HttpUrl, "app://shop.example/", None, Dropped::Invalid),
            (Rule::DateOfBirth, "16.02.1997", None, Dropped::Invalid),
            (Rule::DateOfBirth, "1997-02-30", None, Dropped::Invalid),
            (Rule::DateOfBirth, "1877-02-03", None, Dropped::Invalid),
            (Rule::Gender, "n", None, Dropped::Invalid),
        ];
        for (rule, raw, country, why) in table {
            assert_eq!(normalize(*rule, raw, *country).err(), Some(*why), "{rule:?} {raw:?}");
        }
    }

    #[test]
    fn birth_dates_are_read_year_first() {
        for raw in ["1990-02-16", "1990/2/16", "19900216", "1990.02.16", "1990-02-16T00:00:00Z"] {
            assert_eq!(text(Rule::DateOfBirth, raw, None), "19900216");
        }
    }
}
