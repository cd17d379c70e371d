//! Whose event it is: digests of a person's identifiers, the same whether an identifier came in
//! clear or already hashed. Only keyed hashes of these are ever stored.

#[cfg(test)]
use super::Normalized;
use super::{Memo, Rule, country_code, recognise_hash};
use crate::event::{Event, Field};

/// Identifiers of a person, strongest first.
const STRONGEST: [Field; 9] = [
    Field::ExternalId,
    Field::Email,
    Field::Phone,
    Field::LeadId,
    Field::AnonymousId,
    Field::GaClientId,
    Field::GaAppInstanceId,
    Field::Fbp,
    Field::AdvertisingId,
];

/// Whether an identifier belongs to one person. Others (a phone, a browser, a device) may be shared:
/// they join what is known of somebody only to a person who has no name of their own yet.
pub fn names_a_person(field: Field) -> bool {
    matches!(field, Field::ExternalId | Field::Email | Field::LeadId)
}

/// A device's id that was switched off is all zeros, and everybody's; so is a program's word for
/// nothing where an identifier should be.
pub fn is_nobodys(field: Field, text: &str) -> bool {
    let text = text.trim();
    match field {
        Field::AdvertisingId | Field::VendorId => {
            text.bytes().all(|byte| matches!(byte, b'0' | b'-')) || is_word_for_nothing(text)
        }
        _ => is_word_for_nothing(text) && is_identifier(field),
    }
}

/// What languages write for a value that is not there: hashed it would be one person, and of a cookie
/// one click, for everybody.
fn is_word_for_nothing(text: &str) -> bool {
    const WORDS: [&str; 5] = ["null", "undefined", "nan", "none", "[object object]"];
    // Nearly every text is told by its first letter.
    matches!(text.as_bytes().first(), Some(b'n' | b'N' | b'u' | b'U' | b'['))
        && WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// A person's own fields, clicks, cookies and leads; others (a search, a shop) may be about nothing.
fn is_identifier(field: Field) -> bool {
    field.path().starts_with("user.")
        || field.path().starts_with("click_ids.")
        || field.path().starts_with("lead.")
}

/// The digest of one identifier; `None` where nothing is left of it.
pub fn subject_digest(
    memo: &Memo,
    field: Field,
    text: &str,
    country: Option<&str>,
) -> Option<[u8; 32]> {
    if is_nobodys(field, text) {
        return None;
    }
    if let Some(digest) = recognise_hash(text) {
        return Some(digest.bytes).filter(|_| !digest.is_of_nothing());
    }
    let rule = match field {
        Field::Email => Rule::EmailPlain,
        Field::Phone => Rule::PhoneE164,
        _ => Rule::ExternalId,
    };
    let normalized = memo.normalize(rule, text, country).ok()?;
    Some(memo.digest(&normalized).bytes)
}

/// The country by which an event's phone numbers and postal codes are read: its own where it is one,
/// else its site's.
pub fn country_of(event: &Event, site: Option<&str>) -> Option<String> {
    let own = event.texts.first(Field::Country).and_then(country_code);
    own.or_else(|| site.map(str::to_owned))
}

/// Every identifier of the event's person, strongest first.
pub fn subject_digests(
    memo: &Memo,
    event: &Event,
    country: Option<&str>,
) -> Vec<(Field, [u8; 32])> {
    let mut digests = Vec::new();
    for field in STRONGEST {
        for text in event.texts.all(field) {
            if let Some(digest) = subject_digest(memo, field, text, country) {
                digests.push((field, digest));
            }
        }
    }
    digests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_country_reads_no_number() {
        let mut event = Event::nothing();
        for (own, country) in [("XX", "DE"), ("EU", "DE"), ("uk", "GB"), (" us ", "US")] {
            event.texts.set(Field::Country, own);
            assert_eq!(country_of(&event, Some("DE")).as_deref(), Some(country), "{own}");
        }
        event.texts.remove(Field::Country);
        assert_eq!(country_of(&event, None), None);
    }

    #[test]
    fn clear_and_hashed_identifiers_agree() {
        let memo = Memo::default();
        let digest = |field, text: &str| subject_digest(&memo, field, text, Some("US"));
        let clear = digest(Field::Email, " Jane.Doe@Example.com ").unwrap();
        let hex = Normalized("jane.doe@example.com".to_owned()).digest().hex();
        assert_eq!(digest(Field::Email, &hex.to_uppercase()), Some(clear));
        assert_eq!(digest(Field::Phone, "(415) 555-0133"), digest(Field::Phone, "+14155550133"));
        assert_eq!(digest(Field::AnonymousId, "  "), None);
        let nothing = Normalized(String::new()).digest().hex();
        assert_eq!(digest(Field::Email, &nothing), None, "everybody's who left the field empty");
        let off = "00000000-0000-0000-0000-000000000000";
        assert_eq!(digest(Field::AdvertisingId, off), None);
    }
}
