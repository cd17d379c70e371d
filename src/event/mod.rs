//! What happened: one first-party event, read from any door, before anything is decided about it.
//!
//! Texts are sparse and addressed by [`Field`], so that parsing, consent rules, normalisation and
//! the trace all speak of a field by one name. Nothing here can be serialised: what may be kept is
//! a [`crate::job::Prepared`], which only takes hashes of identity.

mod field;
mod grant;
mod money;
mod personal;
mod signals;

pub use field::{Class, Field, FieldSet};
pub use grant::{Grant, Grants, Purpose};
pub use money::{Currency, Money, round_to_minor};
pub use personal::Personal;
pub use signals::{OptOutClaim, Signals};

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// One event as its sender described it, cleaned and with its site, country and time settled.
#[derive(Debug, Clone)]
pub struct Event {
    /// The incoming name; the plan decides which plan events it feeds.
    pub name: String,
    /// The sender's id, or one derived from the content.
    pub event_id: EventId,
    /// When it happened, corrected for a wrong client clock.
    pub timestamp: Timestamp,
    /// When the relay received it.
    pub received_at: Timestamp,
    /// Name of the site it belongs to.
    pub site: String,
    /// Where it happened.
    pub action_source: ActionSource,
    /// Sent only to the platforms' test modes, never counted.
    pub test: bool,
    /// `user.minor`, where the sender says so.
    pub minor: Option<bool>,
    /// Identity, context, click ids, lead ids and the text properties.
    pub texts: Texts,
    /// The money fields of `properties`, exact.
    pub amounts: Vec<(Field, Decimal)>,
    /// `properties.currency`, where it is a currency.
    pub currency: Option<Currency>,
    /// `properties.items`.
    pub items: Vec<Item>,
    /// When the click happened (`click_ids.clicked_at`) or was first seen.
    pub clicked_at: Option<Timestamp>,
    /// Properties that have no field of their own, as the sender wrote them (free text cleaned).
    pub other: serde_json::Map<String, serde_json::Value>,
    /// Context that has no field of its own; experiments are here under `experiment`.
    pub other_context: serde_json::Map<String, serde_json::Value>,
    /// The consent signals that came with it.
    pub consent: Signals,
    /// What it adjusts; only on events of kind `adjustment`.
    pub adjusts: Option<Adjustment>,
}

impl Event {
    /// An event of which nothing is known, to be filled.
    pub fn nothing() -> Self {
        Self {
            name: String::new(),
            event_id: EventId {
                id: String::new(),
                key: String::new(),
                derived: true,
                short_lived: true,
            },
            timestamp: Timestamp::UNIX_EPOCH,
            received_at: Timestamp::UNIX_EPOCH,
            site: String::new(),
            action_source: ActionSource::Other,
            test: false,
            minor: None,
            texts: Texts::default(),
            amounts: Vec::new(),
            currency: None,
            items: Vec::new(),
            clicked_at: None,
            other: serde_json::Map::new(),
            other_context: serde_json::Map::new(),
            consent: Signals::default(),
            adjusts: None,
        }
    }

    /// The amount of one money field.
    pub fn amount(&self, field: Field) -> Option<Decimal> {
        self.amounts.iter().find(|(f, _)| *f == field).map(|(_, amount)| *amount)
    }

    /// `properties.order_id`, else the event id: what platforms deduplicate and adjust by.
    pub fn transaction_id(&self) -> &str {
        self.texts.first(Field::OrderId).unwrap_or(&self.event_id.id)
    }

    /// Whether a dotted path (`properties.currency`, `context.campaign.source`) has a value.
    pub fn has_path(&self, path: &str) -> bool {
        if let Some(set) = FieldSet::group(path) {
            return !set.intersection(self.present()).is_empty();
        }
        let in_map = |map: &serde_json::Map<String, serde_json::Value>, rest: &str| {
            let pointer = format!("/{}", rest.replace('.', "/"));
            match rest.split_once('.') {
                None => map.contains_key(rest),
                Some((first, _)) => {
                    let below = pointer.get(first.len() + 1..).unwrap_or_default();
                    map.get(first).is_some_and(|value| value.pointer(below).is_some())
                }
            }
        };
        match path.split_once('.') {
            Some(("properties", rest)) => in_map(&self.other, rest),
            Some(("context", rest)) => in_map(&self.other_context, rest),
            _ => false,
        }
    }

    /// Every field that has a value here.
    pub fn present(&self) -> FieldSet {
        let mut set = self.texts.present();
        for (field, _) in &self.amounts {
            set.insert(*field);
        }
        if self.currency.is_some() {
            set.insert(Field::Currency);
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
}

/// The id of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventId {
    /// As platforms see it.
    pub id: String,
    /// What a resend is recognised by: the id itself, or for a derived one the content.
    pub key: String,
    /// True where the sender gave none.
    pub derived: bool,
    /// A derived id without the event's own timestamp only catches a resend within 10 minutes.
    pub short_lived: bool,
}

/// Texts by field; a field that takes several keeps them in the order given.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    /// In the order of the fields.
    texts: Vec<(Field, Personal)>,
    /// Asked for every destination.
    present: FieldSet,
}

impl Texts {
    /// Adds a value; an empty text is the same as absent.
    pub fn push(&mut self, field: Field, text: impl Into<String>) {
        let text: String = text.into();
        if !text.is_empty() {
            let place = self.texts.partition_point(|(known, _)| *known <= field);
            self.texts.insert(place, (field, Personal::new(text)));
            self.present.insert(field);
        }
    }

    /// The first value of a field, in clear.
    pub fn first(&self, field: Field) -> Option<&str> {
        self.all(field).next()
    }

    /// Every value of a field, in clear.
    pub fn all(&self, field: Field) -> impl Iterator<Item = &str> {
        // As many fields come before it at least, and few have several values.
        let mut from = match self.present.contains(field) {
            true => self.present.before(field),
            false => self.texts.len(),
        };
        while self.texts.get(from).is_some_and(|(known, _)| *known < field) {
            from += 1;
        }
        let rest = self.texts.get(from..).unwrap_or_default();
        rest.iter().take_while(move |(known, _)| *known == field).map(|(_, text)| text.expose())
    }

    /// Every field with its value, in clear.
    pub fn iter(&self) -> impl Iterator<Item = (Field, &str)> {
        self.texts.iter().map(|(field, text)| (*field, text.expose()))
    }

    /// Removes a field, returning whether it was there.
    pub fn remove(&mut self, field: Field) -> bool {
        let was_there = self.present.contains(field);
        if was_there {
            self.texts.retain(|(f, _)| *f != field);
            self.present.remove(field);
        }
        was_there
    }

    /// Replaces a field's values by one.
    pub fn set(&mut self, field: Field, text: impl Into<String>) {
        self.remove(field);
        self.push(field, text);
    }

    /// The fields that have a value.
    pub fn present(&self) -> FieldSet {
        self.present
    }
}

/// One product of a purchase or cart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// The product's id.
    pub id: Option<String>,
    /// The product's name; left out for sensitive sites.
    pub name: Option<String>,
    /// Brand.
    pub brand: Option<String>,
    /// Category.
    pub category: Option<String>,
    /// Variant.
    pub variant: Option<String>,
    /// How many; absent means 1 where a platform needs a number.
    pub quantity: Option<Decimal>,
    /// Price of one, in the event's currency.
    pub price: Option<Decimal>,
    /// Discount on one, in the event's currency.
    pub discount: Option<Decimal>,
    /// What else the sender says of it, as a JSON object (free text cleaned); empty if nothing.
    pub other: String,
}

impl Item {
    /// Takes away its name, and whatever else the sender says of it.
    pub fn forget_names(&mut self) {
        self.name = None;
        self.other.clear();
    }

    /// Takes away all that shows what the product is: of a sensitive site only its id, how many and
    /// for how much may be told.
    pub fn forget_product(&mut self) {
        self.forget_names();
        (self.brand, self.category, self.variant) = (None, None, None);
    }
}

/// Where an event happened. Names are those of the wire (`snake_case`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionSource {
    /// On a web page.
    Website,
    /// In a mobile app.
    App,
    /// In a shop of bricks.
    PhysicalStore,
    /// By telephone.
    PhoneCall,
    /// In a chat.
    Chat,
    /// By e-mail.
    Email,
    /// A stage in a CRM.
    Crm,
    /// By a system, such as a renewal.
    SystemGenerated,
    /// In a messaging app of a business.
    BusinessMessaging,
    /// Anywhere else.
    Other,
}

impl ActionSource {
    /// Every action source with its wire name; the order is that of the interface.
    pub const ALL: [(ActionSource, &'static str); 10] = [
        (ActionSource::Website, "website"),
        (ActionSource::App, "app"),
        (ActionSource::PhysicalStore, "physical_store"),
        (ActionSource::PhoneCall, "phone_call"),
        (ActionSource::Chat, "chat"),
        (ActionSource::Email, "email"),
        (ActionSource::Crm, "crm"),
        (ActionSource::SystemGenerated, "system_generated"),
        (ActionSource::BusinessMessaging, "business_messaging"),
        (ActionSource::Other, "other"),
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(source, _)| *source == self).map_or("other", |(_, name)| name)
    }

    /// Reads the name on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(source, _)| *source)
    }
}

/// What an adjustment does to an earlier event; the original need not have been seen by this relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjustment {
    /// The original's order id.
    pub order_id: Option<String>,
    /// The original's event id.
    pub event_id: Option<String>,
    /// What happened to it.
    pub kind: AdjustmentKind,
    /// For a refund what was paid back (absent: all), for a restatement the new value.
    pub amount: Option<Decimal>,
    /// When the original happened, for platforms that find it by that. Kept in a job's stored form
    /// apart from the rest, which was there before it.
    #[serde(skip)]
    pub at: Option<Timestamp>,
}

/// The three kinds of adjustment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdjustmentKind {
    /// Money went back, in part or whole.
    Refund,
    /// It never was.
    Cancel,
    /// It has another value.
    Restate,
}

impl AdjustmentKind {
    /// The name in `adjusts.type`.
    pub fn name(self) -> &'static str {
        match self {
            AdjustmentKind::Refund => "refund",
            AdjustmentKind::Cancel => "cancel",
            AdjustmentKind::Restate => "restate",
        }
    }
}
