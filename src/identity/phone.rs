//! Phone numbers to E.164, by Google's metadata.
//!
//! A number is never hashed as it came: what cannot be read, or has no country code where no
//! country is known, is dropped.

use std::str::FromStr as _;

use rlibphonenumber::{NumberLengthType, ParseError, PhoneNumber, PhoneNumberFormat, Region};

use super::Dropped;

/// Parses with the country's rules; the result has a leading `+`.
///
/// Of the readings, one that the metadata calls valid comes first; numbers of a possible length
/// are taken too, since new ranges are opened faster than metadata is published.
pub fn e164(text: &str, country: Option<&str>) -> Result<String, Dropped> {
    let text = without_poste(text).trim();
    if text.is_empty() {
        return Err(Dropped::Empty);
    }
    let region = country.and_then(|country| Region::from_str(country.trim()).ok());
    let plain = PhoneNumber::parse(text, region);
    if let Ok(number) = &plain
        && number.is_valid()
    {
        return Ok(written(number));
    }
    // 00 stands for + in most of the world, but the metadata knows it only as the prefix of the
    // region itself.
    if let Some(rest) = text.strip_prefix("00")
        && let Ok(number) = PhoneNumber::parse(format!("+{rest}"), region)
        && number.is_valid()
    {
        return Ok(written(&number));
    }
    match plain {
        Ok(number) => match number.is_possible_with_reason() {
            Ok(NumberLengthType::IsPossible) => Ok(written(&number)),
            // Without its area code a number is not one of the world.
            Ok(NumberLengthType::IsPossibleLocalOnly) | Err(_) => Err(Dropped::Invalid),
        },
        Err(ParseError::InvalidCountryCode) if region.is_none() && !text.starts_with('+') => {
            Err(Dropped::NoCountry)
        }
        Err(_) => Err(Dropped::Invalid),
    }
}

/// The text before `poste`, French for extension: the metadata cuts ext, x, #, anexo and int, but
/// reads this word as digits of a vanity number.
fn without_poste(text: &str) -> &str {
    let at = text.as_bytes().windows(5).position(|word| word.eq_ignore_ascii_case(b"poste"));
    at.and_then(|at| text.get(..at)).unwrap_or(text)
}

/// E.164 without its plus.
pub(super) fn digits(mut e164: String) -> String {
    e164.retain(|c| c.is_ascii_digit());
    e164
}

fn written(number: &PhoneNumber) -> String {
    number.format_as(PhoneNumberFormat::E164).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_by_their_country() {
        #[rustfmt::skip]
        let table = [
            ("+1 (415) 555-0133", None, "+14155550133"),
            ("(415) 555-0133", Some("US"), "+14155550133"),
            ("1-415-555-0133", Some("us"), "+14155550133"),
            ("020 7946 0958", Some("GB"), "+442079460958"),
            ("+44 (0)20 7946 0958", None, "+442079460958"),
            ("0044 20 7946 0958", Some("GB"), "+442079460958"),
            ("0044 20 7946 0958", None, "+442079460958"),
            ("0044 20 7946 0958", Some("US"), "+442079460958"),
            ("+5511987654321", None, "+5511987654321"),
            ("030 901820", Some("DE"), "+4930901820"),
            ("06 1234 5678", Some("IT"), "+390612345678"),
            ("+1 415 555 0133 ext. 5", None, "+14155550133"),
            ("+1 415 555 0133 poste 5", None, "+14155550133"),
            ("+1 415 555 0133 anexo 5", None, "+14155550133"),
            ("+1 415 555 0133 int 5", None, "+14155550133"),
            ("tel:+1-415-555-0133", None, "+14155550133"),
        ];
        for (text, country, expected) in table {
            assert_eq!(e164(text, country).as_deref(), Ok(expected), "{text} {country:?}");
        }
    }

    #[test]
    fn without_a_country_nothing_is_guessed() {
        assert_eq!(e164("415 555 0133", None), Err(Dropped::NoCountry));
        assert_eq!(e164("415 555 0133", Some("Atlantis")), Err(Dropped::NoCountry));
        assert_eq!(e164("", Some("US")), Err(Dropped::Empty));
    }
}
