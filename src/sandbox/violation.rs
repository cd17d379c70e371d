//! What the rule engine finds: which rule was broken, where, and what the platform does about it.

use super::shape::How;

/// Something wrong with a request or with one of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    /// Position of the event; none: the request itself.
    pub(super) index: Option<usize>,
    /// Where, such as `data[3].user_data.em[0]`.
    pub(super) path: String,
    /// Which rule.
    pub(super) kind: Kind,
    /// The contract's code; absent: the kind's name.
    pub(super) code: Option<String>,
    /// What is wrong, without the value.
    pub(super) text: String,
    /// What the platform does about it.
    pub(super) how: How,
}

impl Violation {
    /// One about the whole request.
    pub(super) fn of_request(kind: Kind, path: &str, text: impl Into<String>) -> Self {
        let (path, text) = (path.to_owned(), text.into());
        Self { index: None, path, kind, code: None, text, how: How::Refuse }
    }

    /// Whether the platform refuses it openly.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.how, How::Refuse | How::RefuseAll)
    }

    /// Under which name the contract's `codes` know it.
    pub(super) fn code(&self) -> &str {
        self.code.as_deref().unwrap_or(self.kind.name())
    }

    /// For people: where and what.
    pub(super) fn why(&self) -> String {
        if self.path.is_empty() {
            self.text.clone()
        } else {
            format!("{} {}", self.path, self.text)
        }
    }
}

/// The closed list of rules that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// No such path, or not with this method.
    NotFound,
    /// Credentials absent, wrong or expired.
    Unauthorized,
    /// A body over the limit in bytes.
    TooLarge,
    /// No JSON, or another content type.
    Malformed,
    /// A required member is absent or empty.
    Missing,
    /// Another JSON type.
    Type,
    /// Not a value of the list, or one that is refused.
    Value,
    /// Not in the wanted format.
    Format,
    /// Not a right digest.
    Hash,
    /// A digest where the value is wanted in clear.
    Hashed,
    /// Identity in clear where it must not be.
    Identity,
    /// Not a currency.
    Currency,
    /// Too long or too short.
    Length,
    /// A number out of bounds.
    Range,
    /// A time in an unknown notation.
    TimeFormat,
    /// A time in the wrong unit.
    Unit,
    /// Too long ago.
    TooOld,
    /// Still to come.
    InFuture,
    /// A member that the platform does not know.
    UnknownField,
    /// Too many items or members.
    TooMany,
    /// Too few.
    TooFew,
    /// Members that exclude, or need, each other.
    Group,
    /// Nothing that a person could be matched by.
    TooWeak,
    /// Twice the same.
    Duplicate,
    /// Refused because someone asked the sandbox to.
    Asked,
}

impl Kind {
    /// The name under which a contract's `codes` may say more about it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::NotFound => "not_found",
            Kind::Unauthorized => "unauthorized",
            Kind::TooLarge => "too_large",
            Kind::Malformed => "malformed",
            Kind::Missing => "missing",
            Kind::Type => "type",
            Kind::Value => "value",
            Kind::Format => "format",
            Kind::Hash => "hash",
            Kind::Hashed => "hashed",
            Kind::Identity => "identity",
            Kind::Currency => "currency",
            Kind::Length => "length",
            Kind::Range => "range",
            Kind::TimeFormat => "time_format",
            Kind::Unit => "unit",
            Kind::TooOld => "too_old",
            Kind::InFuture => "in_future",
            Kind::UnknownField => "unknown_field",
            Kind::TooMany => "too_many",
            Kind::TooFew => "too_few",
            Kind::Group => "group",
            Kind::TooWeak => "too_weak",
            Kind::Duplicate => "duplicate",
            Kind::Asked => "asked",
        }
    }

    /// Every kind, for checking the names that contracts use.
    pub(super) const ALL: [Kind; 25] = [
        Kind::NotFound,
        Kind::Unauthorized,
        Kind::TooLarge,
        Kind::Malformed,
        Kind::Missing,
        Kind::Type,
        Kind::Value,
        Kind::Format,
        Kind::Hash,
        Kind::Hashed,
        Kind::Identity,
        Kind::Currency,
        Kind::Length,
        Kind::Range,
        Kind::TimeFormat,
        Kind::Unit,
        Kind::TooOld,
        Kind::InFuture,
        Kind::UnknownField,
        Kind::TooMany,
        Kind::TooFew,
        Kind::Group,
        Kind::TooWeak,
        Kind::Duplicate,
        Kind::Asked,
    ];

    /// Which answer of the contract it leads to, unless its code names another.
    pub(super) fn answer(self) -> &'static str {
        match self {
            Kind::NotFound => "not_found",
            Kind::Unauthorized => "unauthorized",
            Kind::TooLarge => "too_large",
            Kind::Malformed => "malformed",
            _ => "refused",
        }
    }
}
