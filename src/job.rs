//! A job: one event prepared for one destination, in the form in which it is stored.
//!
//! A [`Prepared`] holds only what the destination may have: identity already normalised and
//! hashed in the platform's way, the value decided, the consent state attached. It is not the wire
//! format: that is written when a batch is assembled, by the mapping of that day.

use std::sync::Arc;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::{
    consent::{Decision, Permit, State},
    event::{ActionSource, Adjustment, Class, Currency, Field, FieldSet, Item, Money},
    identity::Digest,
};

/// One event prepared for one destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prepared {
    /// Name of the plan event; with `entry` it finds today's mapping.
    pub event: String,
    /// Which of the destination's entries for that plan event.
    pub entry: u16,
    /// The event's id, the same on every send and replay.
    pub event_id: String,
    /// The order id, else the event id.
    pub transaction_id: String,
    /// Site of the event.
    pub site: String,
    /// When it happened.
    #[serde(with = "jiff::fmt::serde::timestamp::microsecond::required")]
    pub time: Timestamp,
    /// Where it happened.
    pub action_source: ActionSource,
    /// To be sent to the platform's test mode only.
    pub test: bool,
    /// The value decided by the plan, in the destination's currency.
    pub value: Option<Money>,
    /// The currency of the other amounts and of the items.
    pub currency: Option<Currency>,
    /// Identity as digests, everything else in clear; several values of a field in order.
    pub texts: Vec<(Field, Sent)>,
    /// The other money fields.
    pub amounts: Vec<(Field, Decimal)>,
    /// Products.
    pub items: Vec<Item>,
    /// Free properties (and for webhooks chosen context), as a JSON object; empty if none.
    pub other: String,
    /// What it adjusts.
    pub adjusts: Option<Adjustment>,
    /// A calibrated value, which some platforms take beside the revenue.
    pub calibrated: Option<Money>,
    /// The consent state, so that tomorrow's rules can be applied before sending; most destinations of
    /// an event share it.
    pub consent: Arc<State>,
    /// Whether the site is sensitive, for the same purpose.
    pub sensitive: bool,
    /// Coarse group within the destination: jobs of different groups never share a request.
    pub group: String,
    /// When the platform stops taking it.
    #[serde(with = "jiff::fmt::serde::timestamp::microsecond::required")]
    pub expires_at: Timestamp,
    /// What today's permit says of restricted mode, personalisation and grants. Written at
    /// preparation, and again when a batch is assembled.
    pub flags: Flags,
}

/// The part of a permit that the wire format shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Flags {
    /// The platform's restricted mode must be used.
    pub limited: bool,
    /// The platform's flag for denied personalisation must be set.
    pub personalization_denied: bool,
    /// What is known of each purpose.
    pub grants: crate::consent::Grants,
}

impl Flags {
    /// The flags of a permit.
    pub fn of(permit: &Permit) -> Self {
        Self {
            limited: permit.limited,
            personalization_denied: permit.personalization_denied,
            grants: permit.grants,
        }
    }
}

/// A value as it will be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sent {
    /// In clear; never of a field of class [`Class::Identity`].
    Clear(String),
    /// As an SHA-256.
    Hashed(Digest),
}

impl Prepared {
    /// Adds a value in clear. Identity is refused: it only leaves as a digest.
    pub fn put_clear(&mut self, field: Field, text: impl Into<String>) {
        let text: String = text.into();
        if field.class() != Class::Identity && !text.is_empty() {
            self.put(field, Sent::Clear(text));
        }
    }

    /// Adds a digest.
    pub fn put_hashed(&mut self, field: Field, digest: Digest) {
        self.put(field, Sent::Hashed(digest));
    }

    /// Two spellings of one value (a phone number with and without its country) are one.
    fn put(&mut self, field: Field, sent: Sent) {
        if !self.texts.iter().any(|(f, known)| *f == field && *known == sent) {
            self.texts.push((field, sent));
        }
    }

    /// The first clear value of a field.
    pub fn clear(&self, field: Field) -> Option<&str> {
        self.texts.iter().find_map(|(f, sent)| match sent {
            Sent::Clear(text) if *f == field => Some(text.as_str()),
            Sent::Clear(_) | Sent::Hashed(_) => None,
        })
    }

    /// The digests of a field, in order.
    pub fn hashed(&self, field: Field) -> impl Iterator<Item = &Digest> {
        self.texts.iter().filter_map(move |(f, sent)| match sent {
            Sent::Hashed(digest) if *f == field => Some(digest),
            Sent::Clear(_) | Sent::Hashed(_) => None,
        })
    }

    /// Whether a field has a value of either form.
    pub fn has(&self, field: Field) -> bool {
        self.present().contains(field)
    }

    /// One money field.
    pub fn amount(&self, field: Field) -> Option<Decimal> {
        self.amounts.iter().find(|(f, _)| *f == field).map(|(_, amount)| *amount)
    }

    /// The fields that it holds.
    pub fn present(&self) -> FieldSet {
        let mut set = FieldSet::EMPTY;
        for (field, _) in &self.texts {
            set.insert(*field);
        }
        for (field, _) in &self.amounts {
            set.insert(*field);
        }
        if self.value.is_some() {
            set.insert(Field::Value);
        }
        if !self.items.is_empty() {
            set.insert(Field::Items);
            if self.items.iter().any(|item| item.name.is_some()) {
                set.insert(Field::ItemNames);
            }
        }
        if !self.other.is_empty() {
            set.insert(Field::OtherProperties);
        }
        set
    }

    /// The free properties as JSON.
    pub fn other(&self) -> serde_json::Map<String, serde_json::Value> {
        serde_json::from_str(&self.other).unwrap_or_default()
    }

    /// Applies today's permit: drops every field that it does not allow and sets the flags anew.
    /// Returns what was dropped. It never adds anything.
    pub fn restrict(&mut self, permit: &Permit) -> FieldSet {
        let before = self.present();
        self.texts.retain(|(field, _)| permit.fields.contains(*field));
        self.amounts.retain(|(field, _)| permit.fields.contains(*field));
        if !permit.fields.contains(Field::Items) {
            self.items.clear();
        } else if self.sensitive {
            self.items.iter_mut().for_each(Item::forget_product);
        } else if !permit.fields.contains(Field::ItemNames) {
            self.items.iter_mut().for_each(Item::forget_names);
        }
        if !self.other.is_empty() {
            let mut other = self.other();
            other.retain(|name, _| permit.allows_property(name));
            self.other = if other.is_empty() {
                String::new()
            } else {
                serde_json::to_string(&other).unwrap_or_default()
            };
        }
        for (field, sent) in &mut self.texts {
            if let (Field::Ip, Sent::Clear(ip)) = (*field, sent) {
                *ip = crate::identity::ip_in_form(ip, permit.ip).unwrap_or_default();
            }
        }
        self.texts.retain(|(_, sent)| !matches!(sent, Sent::Clear(text) if text.is_empty()));
        self.flags = Flags::of(permit);
        before.difference(self.present())
    }
}

/// What became of one decision before the queue, for the trace and the books.
#[derive(Debug, Clone)]
pub struct Decided {
    /// The destination's name.
    pub destination: String,
    /// The plan event.
    pub event: String,
    /// Which entry of the destination.
    pub entry: u16,
    /// Send, limited, held or skip, as a value.
    pub fate: Fate,
    /// The consent decision with its reasons, where one was taken.
    pub consent: Option<Arc<Decision>>,
    /// Its own grants, where vendors make them differ from the event's.
    pub grants: Option<crate::consent::Grants>,
    /// The value that the destination gets.
    pub value: Option<Money>,
}

impl Decided {
    /// Under which code it is held, if it is.
    pub fn held(&self) -> Option<crate::consent::ReasonCode> {
        match &self.fate {
            Fate::Held(code) => Some(*code),
            Fate::Send(_) | Fate::Shadow(_) | Fate::Skip(_) => None,
        }
    }

    /// Whether it goes nowhere for want of permission.
    pub fn is_held(&self) -> bool {
        self.held().is_some()
    }

    /// Whether it goes in the platform's restricted mode.
    pub fn is_limited(&self) -> bool {
        match &self.fate {
            Fate::Send(prepared) | Fate::Shadow(prepared) => prepared.flags.limited,
            Fate::Held(_) | Fate::Skip(_) => false,
        }
    }
}

/// Where a decision goes.
#[derive(Debug, Clone)]
pub enum Fate {
    /// Into the queue.
    Send(Box<Prepared>),
    /// Counted as if sent; the destination is in shadow.
    Shadow(Box<Prepared>),
    /// Nowhere, for want of permission.
    Held(crate::consent::ReasonCode),
    /// Nowhere, because it is not for this destination.
    Skip(Skip),
}

/// Why an event is not for a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The code of the interface's closed list.
    pub code: SkipCode,
    /// For a person who reads it.
    pub message: String,
}

impl Skip {
    /// Writes a skip.
    pub fn new(code: SkipCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The closed list of skips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipCode {
    /// The plan has no entry for the destination.
    NotMapped,
    /// The destination is not for this site.
    OtherSite,
    /// The destination's `only` does not hold.
    Condition,
    /// Outside the destination's share of people.
    NotInShare,
    /// Older than the platform takes.
    TooOld,
    /// Nothing that the platform could match a person by.
    IdentityTooWeak,
    /// A field that the platform requires is absent.
    MissingField,
    /// A currency that the platform does not take.
    Currency,
    /// A test event, and the destination has no test mode.
    TestMode,
    /// The platform has no form for it.
    Unsupported,
}

impl SkipCode {
    /// The code on the wire.
    pub fn name(self) -> &'static str {
        match self {
            SkipCode::NotMapped => "not_mapped",
            SkipCode::OtherSite => "other_site",
            SkipCode::Condition => "condition",
            SkipCode::NotInShare => "not_in_share",
            SkipCode::TooOld => "too_old",
            SkipCode::IdentityTooWeak => "identity_too_weak",
            SkipCode::MissingField => "missing_field",
            SkipCode::Currency => "currency",
            SkipCode::TestMode => "test_mode",
            SkipCode::Unsupported => "unsupported",
        }
    }
}

/// The stored form of a job. A new shape is a new variant; old ones are read for ever.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Stored {
    /// The first shape.
    V1(Box<Prepared>),
    /// The first shape of an adjustment, and when its original happened: epoch microseconds.
    V2(Box<Prepared>, i64),
}

/// A record that cannot be read back.
#[derive(Debug, thiserror::Error)]
#[error("a stored job cannot be read: {0}")]
pub struct Unreadable(#[from] postcard::Error);

/// About what a job takes: it is written without growing.
const USUAL_BYTES: usize = 1024;

impl Stored {
    /// The bytes of a job.
    pub fn encode(prepared: Prepared) -> Result<Vec<u8>, Unreadable> {
        let at = prepared.adjusts.as_ref().and_then(|adjusts| adjusts.at);
        let prepared = Box::new(prepared);
        let stored = match at {
            Some(at) => Stored::V2(prepared, at.as_microsecond()),
            None => Stored::V1(prepared),
        };
        Ok(postcard::to_extend(&stored, Vec::with_capacity(USUAL_BYTES))?)
    }

    /// Reads a job of any version.
    pub fn decode(bytes: &[u8]) -> Result<Prepared, Unreadable> {
        match postcard::from_bytes(bytes)? {
            Stored::V1(prepared) => Ok(*prepared),
            Stored::V2(mut prepared, at) => {
                if let Some(adjusts) = &mut prepared.adjusts {
                    adjusts.at = Timestamp::from_microsecond(at).ok();
                }
                Ok(*prepared)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{consent::OptOut, event::AdjustmentKind};

    fn prepared() -> Prepared {
        let usd = Currency::parse("USD").unwrap();
        let time = "2026-11-22T04:00:00.123456Z".parse().unwrap();
        Prepared {
            event: "purchase".to_owned(),
            entry: 1,
            event_id: "e-1".to_owned(),
            transaction_id: "order-1".to_owned(),
            site: "shop".to_owned(),
            time,
            action_source: ActionSource::Website,
            test: false,
            value: Some(Money { amount: Decimal::new(12_990, 2), currency: usd }),
            currency: Some(usd),
            texts: vec![
                (
                    Field::Email,
                    Sent::Hashed(Digest { bytes: [7; 32], appendix: Some(".ab".to_owned()) }),
                ),
                (Field::Fbp, Sent::Clear("fb.1.2.3".to_owned())),
            ],
            amounts: vec![(Field::Tax, Decimal::new(990, 2))],
            items: vec![Item { price: Some(Decimal::ONE), ..Item::default() }],
            other: "{\"a\":1}".to_owned(),
            adjusts: Some(Adjustment {
                order_id: Some("order-0".to_owned()),
                event_id: None,
                kind: AdjustmentKind::Refund,
                amount: Some(Decimal::TEN),
                at: None,
            }),
            calibrated: Some(Money { amount: Decimal::ONE, currency: usd }),
            consent: Arc::new(State {
                region: Some("US-CA".to_owned()),
                grants: Default::default(),
                opt_out: OptOut::default(),
                sources: vec!["gpc".to_owned()],
                at_ms: 7,
                ..State::default()
            }),
            sensitive: false,
            group: "live".to_owned(),
            expires_at: time,
            flags: Flags::default(),
        }
    }

    #[test]
    fn a_stored_job_reads_back_as_it_was() {
        let bytes = Stored::encode(prepared()).unwrap();
        assert_eq!(Stored::decode(&bytes).unwrap(), prepared());
    }

    #[test]
    fn an_adjustment_keeps_when_its_original_happened() {
        let mut job = prepared();
        job.adjusts.as_mut().unwrap().at = Some("2026-11-01T10:00:00.5Z".parse().unwrap());
        let bytes = Stored::encode(job.clone()).unwrap();
        assert_eq!(Stored::decode(&bytes).unwrap(), job);
    }

    #[test]
    fn identity_is_refused_in_clear() {
        let mut job = prepared();
        job.texts.clear();
        for field in [Field::Email, Field::Phone, Field::FirstName, Field::Street, Field::Gender] {
            job.put_clear(field, "anything");
        }
        assert!(job.texts.is_empty());
        job.put_clear(Field::Ip, "203.0.113.9");
        assert_eq!(job.clear(Field::Ip), Some("203.0.113.9"));
    }

    #[test]
    fn restricting_only_takes_away() {
        use crate::consent::{IpForm, PropertyRule};
        let mut job = prepared();
        job.put_clear(Field::Ip, "203.0.113.9");
        let permit = Permit {
            fields: FieldSet::of(&[Field::Ip, Field::Items]),
            properties: PropertyRule::default(),
            ip: IpForm::Truncated,
            limited: true,
            personalization_denied: true,
            grants: Default::default(),
            region: None,
        };
        let dropped = job.restrict(&permit);
        assert!(dropped.contains(Field::Email) && dropped.contains(Field::Fbp));
        assert_eq!(job.clear(Field::Ip), Some("203.0.113.0"));
        assert!(job.other.is_empty() && job.amounts.is_empty());
        assert_eq!(job.value, prepared().value, "the value is always sent");
        assert!(job.flags.limited && job.flags.personalization_denied);
    }
}
