//! A field that a platform takes: by which rule, in which form, how many, of which events.

use crate::{
    event::{ActionSource, Field, FieldSet},
    identity::{Digest, Dropped, Memo, Rule, is_nobodys, recognise_hash, scrub_emails},
};

/// Ids of the sender's own making: of a shop without accounts they may be e-mail addresses.
const OWN_IDS: FieldSet =
    FieldSet::of(&[Field::ExternalId, Field::AnonymousId, Field::SubscriptionId]);

/// Other texts of a person that are taken in clear. Digits in them are no phone numbers.
const OWN_WORDS: FieldSet = FieldSet::of(&[
    Field::City,
    Field::Region,
    Field::PostalCode,
    Field::Company,
    Field::JobTitle,
    Field::CustomerType,
]);

/// What is passed on as it came, but is no id that could be a hash.
const NEVER_HASHED: FieldSet =
    FieldSet::of(&[Field::UserAgent, Field::AdvertisingId, Field::VendorId]);

/// A field that a platform takes.
#[derive(Debug, Clone, Copy)]
pub struct Take {
    /// Which.
    pub field: Field,
    /// How its text is normalised.
    pub rule: Rule,
    /// Hashed, or in clear.
    pub form: Form,
    /// How many values it takes.
    pub at_most: usize,
    /// The action sources whose events it is taken of; empty: all.
    pub only_from: &'static [ActionSource],
    /// A hash that came with the appendix of the vendor's own library keeps it.
    pub keeps_appendix: bool,
    /// The platform's key for it, where one field has several, each with a rule of its own.
    pub sent_as: Option<&'static str>,
}

impl Take {
    /// Taken as the SHA-256 of its normalised text; all values.
    pub const fn hashed(field: Field, rule: Rule) -> Self {
        Self {
            field,
            rule,
            form: Form::Hashed,
            at_most: usize::MAX,
            only_from: &[],
            keeps_appendix: false,
            sent_as: None,
        }
    }

    /// Taken in clear; one value.
    pub const fn clear(field: Field, rule: Rule) -> Self {
        Self { form: Form::Clear, at_most: 1, ..Self::hashed(field, rule) }
    }

    /// The same, with a bound.
    pub const fn at_most(self, at_most: usize) -> Self {
        Self { at_most, ..self }
    }

    /// The same, of these sources only.
    pub const fn only_from(self, only_from: &'static [ActionSource]) -> Self {
        Self { only_from, ..self }
    }

    /// The same, under this key of the platform's.
    pub const fn sent_as(self, key: &'static str) -> Self {
        Self { sent_as: Some(key), ..self }
    }

    /// Whether it is taken of an event of this source.
    pub fn is_for(&self, source: ActionSource) -> bool {
        self.only_from.is_empty() || self.only_from.contains(&source)
    }
}

/// The form in which a value is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As SHA-256 of the normalised text.
    Hashed,
    /// Normalised, in clear.
    Clear,
}

/// What a text has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Normalised, in clear.
    Clear(String),
    /// Hashed by us, from the normalised text.
    Hashed(Digest),
    /// It was a hash already.
    HashedBefore(Digest),
}

impl Take {
    /// Applies the rule to one text: passes on hashes that the sender made, refuses them where the
    /// platform wants the field in clear, and never hashes what it cannot read. What only leaves as
    /// a hash is refused in a field that goes in clear, whatever the sender calls it.
    pub fn apply(&self, text: &str, country: Option<&str>, memo: &Memo) -> Result<Taken, Dropped> {
        if is_nobodys(self.field, text) {
            return Err(Dropped::Nobodys);
        }
        let may_be_hash = self.rule != Rule::Verbatim || NEVER_HASHED.contains(self.field);
        let already = if may_be_hash { recognise_hash(text) } else { None };
        if already.as_ref().is_some_and(Digest::is_of_nothing) {
            return Err(Dropped::Empty);
        }
        match (self.form, already) {
            (Form::Hashed, Some(digest)) if self.keeps_appendix && digest.appendix.is_some() => {
                Ok(Taken::HashedBefore(digest))
            }
            (Form::Hashed, Some(digest)) => {
                Ok(Taken::HashedBefore(memo.rehash(self.rule, digest.bare())?))
            }
            (Form::Hashed, None) => Ok(Taken::Hashed(memo.hashed(self.rule, text, country)?)),
            // An id may be a hash of the sender's own making; a place may not.
            (Form::Clear, Some(digest)) if self.rule == Rule::ExternalId => {
                Ok(Taken::Clear(digest.bare().hex()))
            }
            (Form::Clear, Some(_)) => Err(Dropped::Hashed),
            (Form::Clear, None) if self.holds_identity(text, country, memo) => {
                Err(Dropped::Identity)
            }
            (Form::Clear, None) => {
                let normalised = memo.normalize(self.rule, text, country)?;
                Ok(Taken::Clear(normalised.into_text()))
            }
        }
    }

    fn holds_identity(&self, text: &str, country: Option<&str>, memo: &Memo) -> bool {
        if OWN_IDS.contains(self.field) {
            memo.holds_identity(text, country)
        } else {
            OWN_WORDS.contains(self.field) && scrub_emails(text).removed > 0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(take: Take, text: &str) -> Result<Taken, Dropped> {
        take.apply(text, Some("US"), &Memo::default())
    }

    #[test]
    fn an_own_id_in_clear_is_no_identity() {
        for field in OWN_IDS.iter() {
            for rule in [Rule::ExternalId, Rule::Verbatim] {
                let take = Take::clear(field, rule);
                for text in [
                    "jane@example.com",
                    "shop:jane.doe@example.com",
                    "jane%40example.com",
                    "+1 (415) 555-0133",
                    "+14155550133",
                    "415-555-0133",
                ] {
                    assert_eq!(apply(take, text), Err(Dropped::Identity), "{field:?} {text}");
                }
                for id in [
                    "4155550133",
                    "u-1029",
                    "1234567890.1700000000",
                    "c5c7d1d8-42f4-4ac8-9d2a-6fdc3d2a5c11",
                    "14155550-1334-4155-8550-133415555013",
                    "2026-11-22",
                    "@jane",
                ] {
                    assert_eq!(apply(take, id), Ok(Taken::Clear(id.to_owned())), "{field:?} {id}");
                }
            }
        }
        let hashed = Take::hashed(Field::ExternalId, Rule::ExternalId);
        assert!(matches!(apply(hashed, "jane@example.com"), Ok(Taken::Hashed(_))));
    }

    #[test]
    fn other_words_in_clear_hold_no_address() {
        let take = Take::clear(Field::City, Rule::PlaceGa4);
        assert_eq!(apply(take, "jane@example.com"), Err(Dropped::Identity));
        assert_eq!(apply(take, "Berlin"), Ok(Taken::Clear("berlin".to_owned())));
        let take = Take::clear(Field::PostalCode, Rule::Verbatim);
        assert_eq!(apply(take, "01310-100"), Ok(Taken::Clear("01310-100".to_owned())));
    }

    #[test]
    fn the_hash_of_nothing_is_nothing() {
        let nothing = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855";
        for take in [
            Take::hashed(Field::Email, Rule::EmailPlain),
            Take { keeps_appendix: true, ..Take::hashed(Field::Phone, Rule::PhoneE164) },
            Take::hashed(Field::ExternalId, Rule::ExternalId),
            Take::clear(Field::ExternalId, Rule::ExternalId),
        ] {
            for text in [nothing.to_owned(), nothing.to_lowercase(), format!(" {nothing}.Bg")] {
                assert_eq!(apply(take, &text), Err(Dropped::Empty), "{take:?}");
            }
        }
    }

    #[test]
    fn a_device_that_is_everybodys_is_nobodys() {
        let off = "00000000-0000-0000-0000-000000000000";
        for field in [Field::AdvertisingId, Field::VendorId] {
            for take in [Take::clear(field, Rule::Verbatim), Take::hashed(field, Rule::Lower)] {
                assert_eq!(apply(take, off), Err(Dropped::Nobodys));
                assert_eq!(apply(take, &off.replace('-', "")), Err(Dropped::Nobodys));
                assert!(apply(take, &off.replace("-0", "-1")).is_ok());
            }
        }
    }

    #[test]
    fn a_programs_word_for_nothing_is_nobodys() {
        for word in ["null", "NULL", " undefined ", "NaN", "None", "[object Object]"] {
            for take in [
                Take::hashed(Field::ExternalId, Rule::ExternalId),
                Take::hashed(Field::LastName, Rule::LowerNoSpace),
                Take::clear(Field::City, Rule::PlaceGa4),
                Take::clear(Field::Fbp, Rule::Verbatim),
                Take::clear(Field::LeadId, Rule::Verbatim),
                Take::clear(Field::AdvertisingId, Rule::Verbatim),
            ] {
                assert_eq!(apply(take, word), Err(Dropped::Nobodys), "{:?} {word}", take.field);
            }
            assert!(apply(Take::clear(Field::SearchTerm, Rule::Verbatim), word).is_ok(), "{word}");
        }
        for name in ["Nulla", "Noneman", "n", "Nan Goldin"] {
            assert!(apply(Take::hashed(Field::LastName, Rule::Lower), name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_hash_is_no_browser_and_no_device() {
        let hash = "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f";
        for field in [Field::UserAgent, Field::AdvertisingId] {
            assert_eq!(apply(Take::clear(field, Rule::Verbatim), hash), Err(Dropped::Hashed));
        }
        let click = apply(Take::clear(Field::Twclid, Rule::Verbatim), hash);
        assert_eq!(click, Ok(Taken::Clear(hash.to_owned())), "a click id is nobody else's matter");
    }
}
