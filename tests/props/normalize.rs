//! Normalisation is idempotent; digests are 64 lower-case hex digits; what is already hashed is
//! recognised as such.

use conversion_relay::identity::{Memo, Rule, normalize, recognise_hash};
use proptest::prelude::*;

const RULES: [Rule; 33] = [
    Rule::Verbatim,
    Rule::ExternalId,
    Rule::Lower,
    Rule::Upper,
    Rule::LowerNoSpace,
    Rule::LowerAlphanumeric,
    Rule::EmailPlain,
    Rule::EmailGoogle,
    Rule::EmailGoogleKeepSuffix,
    Rule::EmailBareLocal,
    Rule::EmailAlphanumericLocal,
    Rule::EmailAmazon,
    Rule::EmailAmazonNoPlus,
    Rule::PhoneDigits,
    Rule::PhoneE164,
    Rule::NameMeta,
    Rule::NameGoogle,
    Rule::NameGa4,
    Rule::StreetGa4,
    Rule::CityCompact,
    Rule::PlaceGa4,
    Rule::StateCompact,
    Rule::PostalCompact,
    Rule::PlaceGoogle,
    Rule::PostalGa4,
    Rule::PostalDigits,
    Rule::CountryLower,
    Rule::CountryUpper,
    Rule::DateOfBirth,
    Rule::Gender,
    Rule::GenderOrNone,
    Rule::HttpUrl,
    Rule::Verbatim,
];

/// Texts of every kind that the rules are for, and of none.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        r"[ ]?[A-Za-z.+_-]{1,12}@(gmail|googlemail|Example)\.(com|COM)[ ]?",
        r"[ ]?\+?[0-9 ().-]{5,18}",
        r"\+1 ?\(?[2-9][0-9]{2}\)? ?[2-9][0-9]{2}[ -]?[0-9]{4}",
        r"(19|20)[0-9]{2}[-/.]?[01][0-9][-/.]?[0-3][0-9]",
        r"[\p{L}\p{M}'’ .-]{1,20}",
        r"[A-Za-z]{2}|US-[A-Z]{2}|California|new york",
        r"[0-9]{5}(-[0-9]{4})?|[A-Z]{1,2}[0-9]{1,2} ?[0-9][A-Z]{2}",
        "f|F|male|Female|n",
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    proptest::sample::select(RULES.to_vec())
}

fn country() -> impl Strategy<Value = Option<&'static str>> {
    proptest::sample::select(vec![None, Some("US"), Some("GB"), Some("DE"), Some("BR"), Some("xx")])
}

proptest! {
    #[test]
    fn normalise_is_idempotent(rule in rule(), text in text(), country in country()) {
        let Ok(once) = normalize(rule, &text, country) else { return Ok(()) };
        prop_assert!(!once.expose().is_empty());
        // Digits without their plus are no longer a number of a known country: they are read back
        // with it.
        let again = match rule {
            Rule::PhoneDigits => format!("+{}", once.expose()),
            _ => once.expose().to_owned(),
        };
        let twice = normalize(rule, &again, country);
        prop_assert_eq!(twice.as_ref().map(|n| n.expose()), Ok(once.expose()), "{:?}", rule);
    }

    #[test]
    fn a_digest_is_64_lower_case_hex_digits(rule in rule(), text in text(), country in country()) {
        let Ok(normalised) = normalize(rule, &text, country) else { return Ok(()) };
        let hex = normalised.digest().hex();
        prop_assert_eq!(hex.len(), 64);
        prop_assert!(hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        prop_assert_eq!(recognise_hash(&hex.to_uppercase()).map(|digest| digest.hex()), Some(hex));
        prop_assert_eq!(Memo::default().digest(&normalised), normalised.digest());
    }

    #[test]
    fn only_hashes_are_taken_for_hashes(text in any::<String>()) {
        if let Some(digest) = recognise_hash(&text) {
            prop_assert!(text.trim().eq_ignore_ascii_case(&digest.hex()));
        }
    }
}
