//! A field that a platform takes: by which rule, in which form, how many, of which events.

use crate::{
    event::{ActionSource, Field},
    identity::{Digest, Dropped, Memo, Rule, recognise_hash},
};

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
    /// platform wants the field in clear, and never hashes what it cannot read.
    pub fn apply(&self, text: &str, country: Option<&str>, memo: &Memo) -> Result<Taken, Dropped> {
        let already = if self.rule == Rule::Verbatim { None } else { recognise_hash(text) };
        match (self.form, already) {
            (Form::Hashed, Some(digest)) if self.keeps_appendix && digest.appendix.is_some() => {
                Ok(Taken::HashedBefore(digest))
            }
            (Form::Hashed, Some(digest)) => {
                Ok(Taken::HashedBefore(memo.rehash(self.rule, digest.bare())?))
            }
            (Form::Hashed, None) => {
                let normalised = memo.normalize(self.rule, text, country)?;
                Ok(Taken::Hashed(memo.digest(&normalised)))
            }
            // An id may be a hash of the sender's own making; a place may not.
            (Form::Clear, Some(digest)) if self.rule.is_opaque() => {
                Ok(Taken::Clear(digest.bare().hex()))
            }
            (Form::Clear, Some(_)) => Err(Dropped::Hashed),
            (Form::Clear, None) => {
                let normalised = memo.normalize(self.rule, text, country)?;
                Ok(Taken::Clear(normalised.into_text()))
            }
        }
    }
}
