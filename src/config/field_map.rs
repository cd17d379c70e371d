//! The field map of a webhook: which field of an event holds what of a body. A source is a path into
//! the body (`customer.email`) or a CEL expression over it (`body.amount / 100`). Only what is
//! written is held here; reading a body by it is `sources`'.

use std::sync::LazyLock;

use crate::{
    event::{Field, FieldSet},
    expression::Expression,
};

/// Keys that are no fields of the event's groups.
const TOP: [&str; 6] = ["event", "event_id", "timestamp", "sent_at", "action_source", "test"];
/// The keys of consent and of an adjustment.
const CONSENT: [&str; 23] = [
    "consent.ad_storage",
    "consent.ad_user_data",
    "consent.ad_personalization",
    "consent.analytics_storage",
    "consent.tcf",
    "consent.additional_consent",
    "consent.gpp",
    "consent.gpp_sid",
    "consent.us_privacy",
    "consent.gpc",
    "consent.gcs",
    "consent.gcd",
    "consent.categories",
    "consent.cookies",
    "consent.opt_out",
    "consent.gdpr_applies",
    "consent.dnt",
    "consent.region",
    "consent.id",
    "consent.collected_at",
    "consent.method",
    "consent.text_version",
    "consent.language",
];
const ADJUSTS: [&str; 5] =
    ["adjusts.order_id", "adjusts.event_id", "adjusts.type", "adjusts.amount", "adjusts.timestamp"];

/// What of a body goes where.
#[derive(Debug, Clone, Default)]
pub struct FieldMap(Vec<(String, FieldSource)>);

/// What a key of a [`FieldMap`] holds.
#[derive(Debug, Clone)]
pub enum FieldSource {
    /// The keys on the way into the body.
    Path(Vec<String>),
    /// An expression over the body.
    Computed(Expression),
}

impl FieldMap {
    /// Adds a key with what it holds, or says what is wrong with either.
    pub fn add(&mut self, key: &str, source: &str) -> Result<(), String> {
        Self::check(key)?;
        let source = match path(source) {
            Some(path) => FieldSource::Path(path),
            None => FieldSource::Computed(
                Expression::compile_over_body(source)
                    .map_err(|error| format!("is neither a path nor CEL: {error}"))?,
            ),
        };
        self.0.push((key.to_owned(), source));
        Ok(())
    }

    /// Whether a map may fill a field of this path, or what is wrong with it.
    pub fn check(key: &str) -> Result<(), String> {
        if is_field(key) {
            return Ok(());
        }
        let nearest = nearest(key).map(|near| format!("; did you mean {near:?}?"));
        Err(format!("is no field of an event{}", nearest.unwrap_or_default()))
    }

    /// Each key with what it holds, in the order in which they were written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &FieldSource)> {
        self.0.iter().map(|(key, source)| (key.as_str(), source))
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether it is a key of an event that a map may fill. `properties` and `context` take any.
fn is_field(key: &str) -> bool {
    let free = |group: &str| {
        let rest = key.strip_prefix(group).and_then(|rest| rest.strip_prefix('.'));
        rest.is_some_and(|rest| !rest.is_empty() && !rest.split('.').any(str::is_empty))
    };
    known().any(|known| known == key) || free("properties") || free("context")
}

fn known() -> impl Iterator<Item = &'static str> {
    let fields = Field::ALL.iter().filter(|field| !field.holds_json()).map(|field| field.path());
    let others = ["user.minor", "click_ids.clicked_at", "properties.items", "consent"];
    fields.chain(TOP).chain(CONSENT).chain(ADJUSTS).chain(others)
}

fn nearest(key: &str) -> Option<&'static str> {
    known()
        .map(|known| (strsim::damerau_levenshtein(known, key), known))
        .min()
        .filter(|(distance, known)| *distance <= 2.max(known.len() / 3))
        .map(|(_, known)| known)
}

/// Whether a field is a text that others also write as a number.
pub fn takes_numbers_as_text(key: &str) -> bool {
    static TEXTS: LazyLock<FieldSet> = LazyLock::new(|| {
        let of = |group: &str| FieldSet::group(group).unwrap_or_default();
        of("user").union(of("context")).union(of("click_ids")).union(of("lead"))
    });
    matches!(key, "event_id" | "adjusts.order_id" | "properties.order_id")
        || Field::parse(key).is_some_and(|field| TEXTS.contains(field))
}

/// A path: names with dots, and nothing that only an expression has.
fn path(source: &str) -> Option<Vec<String>> {
    let source = source.trim();
    let plain = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'$'))
    };
    let starts = source.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '$');
    if !starts || matches!(source, "true" | "false" | "null") || !source.split('.').all(plain) {
        return None;
    }
    let below = source.strip_prefix("body.").unwrap_or(source);
    Some(below.split('.').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_sources_are_checked() {
        let mut map = FieldMap::default();
        for (key, source) in [
            ("event", "'purchase'"),
            ("event_id", "body.id"),
            ("user.email", "contact.emails.0"),
            ("properties.value", "body.cents / 100"),
            ("properties.anything", "x"),
            ("consent.ad_storage", "body.ok ? 'granted' : 'denied'"),
        ] {
            assert_eq!(map.add(key, source), Ok(()), "{key} {source}");
        }
        let FieldSource::Path(path) = &map.0[1].1 else { panic!("{map:?}") };
        assert_eq!(path, &["id"]);
        let wrong = map.add("user.emial", "x").unwrap_err();
        assert!(wrong.contains("user.email"), "{wrong}");
        assert!(map.add("lead.x", "x").is_err());
        assert!(map.add("user.email", "body.a +").unwrap_err().contains("neither"));
        assert!(
            map.add("user.email", "user.customer_type == 'x'").is_err(),
            "only the body is seen"
        );
    }
}
