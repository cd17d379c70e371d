//! The words in which a contract says what a value must look like.
//!
//! A [`Shape`] is a record of what was written; it decides nothing ([`mod@super::check`] does). The
//! words follow JSON Schema where it has one, and add what conversion APIs need: units and windows
//! of time, digests, groups of identifiers, and what a platform does with a value that is wrong.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// What a value must look like. Every word is optional; all that are given must hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Shape {
    /// A shape of the contract's `types`, which must hold too.
    #[serde(rename = "use")]
    pub(super) shared: Option<String>,
    /// The JSON types allowed: one, or a list.
    #[serde(rename = "type")]
    pub(super) kinds: Option<Kinds>,
    /// A list of such values is allowed as well as one.
    pub(super) one_or_many: bool,

    /// Objects: the known members.
    pub(super) fields: BTreeMap<String, Shape>,
    /// Objects: members that must be there and not be empty.
    pub(super) required: Vec<String>,
    /// Objects: what happens to unknown members; absent: they are ignored.
    pub(super) closed: Option<How>,
    /// Objects: every member that `fields` does not name. Lists: every item.
    pub(super) each: Option<Box<Shape>>,
    /// Objects: the names of members.
    pub(super) names: Option<Box<Shape>>,
    /// Objects: at least one of these groups of members must be there as a whole.
    pub(super) any_of: Vec<Vec<String>>,
    /// Objects: exactly one of these members.
    pub(super) one_of: Vec<String>,
    /// Objects: all or none of each group.
    pub(super) together: Vec<Vec<String>>,
    /// Objects: at most one of each group.
    pub(super) apart: Vec<Vec<String>>,
    /// Objects: an object with no member outside one of these sets is too weak.
    pub(super) too_weak: Vec<Vec<String>>,
    /// Objects: how many members there may be.
    pub(super) max_fields: Option<usize>,
    /// Shapes that must hold under a condition.
    pub(super) when: Vec<When>,

    /// Lists: the item at a position.
    pub(super) positions: BTreeMap<usize, Shape>,
    /// Lists: fewest items.
    pub(super) min_items: Option<usize>,
    /// Lists: most items.
    pub(super) max_items: Option<usize>,
    /// Lists: no two items may have the same value at these paths.
    pub(super) unique_by: Vec<String>,

    /// The values allowed.
    pub(super) values: Vec<Value>,
    /// The values refused.
    pub(super) never: Vec<Value>,
    /// The value must occur at this path of the whole document (`$.destinations.*.reference`).
    pub(super) among: Option<String>,
    /// Texts: a regular expression that must match.
    pub(super) pattern: Option<Pattern>,
    /// Texts: one that must not.
    pub(super) never_pattern: Option<Pattern>,
    /// Texts: fewest characters.
    pub(super) min_length: Option<usize>,
    /// Texts: most characters.
    pub(super) max_length: Option<usize>,
    /// Texts: a named format.
    pub(super) format: Option<Format>,
    /// Numbers: least, inclusive.
    pub(super) min: Option<f64>,
    /// Numbers: most, inclusive.
    pub(super) max: Option<f64>,
    /// Numbers: most digits after the point.
    pub(super) max_decimals: Option<usize>,
    /// A point in time: its unit, and how old or new it may be.
    pub(super) time: Option<Window>,
    /// Wrong whatever the value is, for use under a condition; what to say.
    pub(super) fail: Option<String>,
    /// Every text, at any depth.
    pub(super) anywhere: Option<Box<Shape>>,

    /// The contract's code for what this shape itself finds wrong; absent: the fault's own name.
    pub(super) code: Option<String>,
    /// What to say instead of the engine's own words.
    pub(super) why: Option<String>,
    /// What the platform does about it; holds for everything below, too.
    pub(super) how: Option<How>,
}

/// What a platform does with something that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum How {
    /// Refuses it, by the policy of the route.
    Refuse,
    /// Refuses the whole request, whatever the policy.
    RefuseAll,
    /// Answers as if it were right, and forgets it.
    Silent,
    /// Accepts it, and refuses it when it is processed.
    Later,
    /// Accepts it with a remark.
    Warn,
}

/// One JSON type, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Kinds {
    /// One.
    One(Type),
    /// Any of these.
    Any(Vec<Type>),
}

/// A JSON type; integers apart from other numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Type {
    /// A text.
    String,
    /// A number without fraction.
    Integer,
    /// Any number.
    Number,
    /// true or false.
    Boolean,
    /// An object.
    Object,
    /// A list.
    Array,
    /// Nothing.
    Null,
}

/// A shape that must hold under a condition, and one for when the condition does not hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct When {
    /// The condition.
    #[serde(rename = "if")]
    pub(super) condition: Condition,
    /// Then.
    #[serde(default)]
    pub(super) then: Shape,
    /// Otherwise.
    #[serde(default, rename = "else")]
    pub(super) otherwise: Shape,
}

/// A condition; all that is given must hold.
///
/// Paths are dotted, relative to the value at hand; `$.` starts at the whole document, `query.`
/// at the query's parameters, and `*` stands for every member of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Condition {
    /// Where to look.
    pub(super) path: Option<String>,
    /// One of these is there.
    #[serde(rename = "in")]
    pub(super) values: Vec<Value>,
    /// Something is (or is not) there.
    pub(super) present: Option<bool>,
    /// A text there matches.
    pub(super) matches: Option<Pattern>,
    /// All of these.
    pub(super) all: Vec<Condition>,
    /// At least one of these, if any are given.
    pub(super) any: Vec<Condition>,
    /// None of these.
    pub(super) none: Vec<Condition>,
}

/// How a point in time is written, and which are taken.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Window {
    /// How it is written.
    pub(super) unit: Unit,
    /// How long ago it may be.
    #[serde(default)]
    pub(super) oldest: Option<Span>,
    /// How far ahead of now it may be.
    #[serde(default)]
    pub(super) ahead: Option<Span>,
}

/// How a point in time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    /// Epoch seconds: ten digits.
    Seconds,
    /// Epoch milliseconds: thirteen digits.
    Milliseconds,
    /// Epoch microseconds: sixteen digits.
    Microseconds,
    /// Ten or thirteen digits.
    SecondsOrMilliseconds,
    /// RFC 3339 with an offset.
    Rfc3339,
    /// RFC 3339 in UTC with three digits of milliseconds: `2026-11-22T04:00:00.000Z`.
    Rfc3339Milliseconds,
    /// RFC 3339 in UTC without a fraction: `2026-11-22T04:00:00Z`.
    Rfc3339Seconds,
    /// `2026-11-20 12:15:07+00:00`.
    SpacedOffset,
    /// `2026-11-20 12:15:07`, read as UTC.
    SpacedUtc,
}

/// A named format of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// A SHA-256 in 64 lower-case hex digits, not of the empty text nor of a form that the
    /// contract lists under `never_hash_of`.
    Sha256,
    /// The same, optionally followed by a `.` and an appendix of two or eight characters.
    Sha256WithAppendix,
    /// The same in base64.
    Sha256Base64,
    /// In clear: no digest.
    NotHashed,
    /// Digits only.
    Digits,
    /// A whole number in text.
    IntegerText,
    /// A decimal number in text.
    DecimalText,
    /// An ISO 4217 code in upper case.
    Currency,
    /// An ISO 4217 code in either case.
    CurrencyAnyCase,
    /// Two upper-case letters.
    Country,
    /// An IPv4 or IPv6 address.
    Ip,
    /// An IPv4 address.
    Ipv4,
    /// An absolute http or https URL.
    Url,
    /// A UUID with dashes.
    Uuid,
    /// A UUID with or without dashes.
    UuidAnyDashes,
    /// A text in which no e-mail address is found.
    NoIdentity,
    /// A JSON Web Token signed with RS256, valid now, for at most an hour.
    JwtRs256,
}

/// A compiled regular expression.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Pattern(pub(super) regex::Regex);

impl TryFrom<String> for Pattern {
    type Error = regex::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        regex::Regex::new(&text).map(Self)
    }
}

/// A length of time in seconds, written `90d`, `72h`, `10m`, `30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Span(pub(super) i64);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let unit = |letter, seconds| Some((text.strip_suffix(letter)?, seconds));
        unit('d', 86_400)
            .or_else(|| unit('h', 3_600))
            .or_else(|| unit('m', 60))
            .or_else(|| unit('s', 1))
            .and_then(|(number, seconds)| number.parse::<i64>().ok()?.checked_mul(seconds))
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no length of time; write 90d, 72h, 10m or 30s"))
    }
}

impl Type {
    /// The word for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Type::String => "a string",
            Type::Integer => "an integer",
            Type::Number => "a number",
            Type::Boolean => "a boolean",
            Type::Object => "an object",
            Type::Array => "an array",
            Type::Null => "null",
        }
    }

    /// Whether a value is of it.
    pub(super) fn holds(self, value: &Value) -> bool {
        match self {
            Type::String => value.is_string(),
            Type::Integer => value.is_i64() || value.is_u64(),
            Type::Number => value.is_number(),
            Type::Boolean => value.is_boolean(),
            Type::Object => value.is_object(),
            Type::Array => value.is_array(),
            Type::Null => value.is_null(),
        }
    }
}

impl Kinds {
    /// The types allowed.
    pub(super) fn all(&self) -> &[Type] {
        match self {
            Kinds::One(one) => std::slice::from_ref(one),
            Kinds::Any(any) => any,
        }
    }
}

impl Shape {
    /// Calls `visit` for this shape and all that it holds.
    pub(super) fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Shape)) {
        visit(self);
        let boxed = [&self.each, &self.names, &self.anywhere];
        for shape in boxed.into_iter().flatten() {
            shape.walk(visit);
        }
        for shape in self.fields.values().chain(self.positions.values()) {
            shape.walk(visit);
        }
        for when in &self.when {
            when.then.walk(visit);
            when.otherwise.walk(visit);
        }
    }
}
