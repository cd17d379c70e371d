//! Sources: bytes of a door → [`Event`]s, cleaned of identity where it does not belong, with what
//! the sender should know.
//!
//! A source reads; it decides nothing about consent, value or destinations. Each format has one
//! file; all of them end in the same [`Read`] or the same [`Rejection`], whose codes are closed
//! lists.

mod amount;
pub mod beacon;
mod consent;
mod context;
mod event_id;
mod framing;
pub mod json;
pub mod mapped;
pub mod measurement_protocol;
mod moment;
pub mod native;
mod person;
mod properties;
pub mod rows;
mod segment;
mod shopify;
pub mod signed;
mod site;
mod stripe;
mod switches;
pub mod told;
mod typed;
mod words;

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

pub use consent::object as consent_object;
pub use framing::{Form, Piece, Unframed, one, split};
pub use switches::Switches;
pub use told::{Asked, Envelope, Format, Outcome};
pub use words::Told;

use rust_decimal::Decimal;

use crate::{config::WriteKey, event::Event};

/// An event that was read, and what its sender should know.
#[derive(Debug, Clone)]
pub struct Read {
    /// The event.
    pub event: Event,
    /// In the order in which they were found.
    pub warnings: Vec<Warning>,
    /// The highest value that its write key may claim, in the site's currency.
    pub at_most: Option<Decimal>,
    /// What its sender asks for besides.
    pub asked: Asked,
}

/// Something that is legal but likely wrong, or that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What kind.
    pub code: WarningCode,
    /// For a person who reads it; never identity.
    pub message: String,
    /// How many things it is about: pieces of identity that were removed; else 1.
    pub count: usize,
}

impl Warning {
    /// Writes a warning about one thing.
    pub fn new(code: WarningCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), count: 1 }
    }
}

/// Why one event is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// What kind.
    pub code: RejectionCode,
    /// What was wrong and what to do; never identity.
    pub message: String,
    /// JSON pointer within the event, such as `/properties/value`; empty: the event itself.
    pub path: String,
    /// The sender's id of the event, where it could be read.
    pub event_id: Option<String>,
}

impl Rejection {
    /// Writes a rejection without the event's id.
    pub fn new(code: RejectionCode, message: impl Into<String>, path: impl Into<String>) -> Self {
        Self { code, message: message.into(), path: path.into(), event_id: None }
    }
}

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $wire:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every code; the interface's closed list.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The code on the wire.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $wire,)* }
            }
        }
    };
}

codes! {
    /// Why an event is refused.
    RejectionCode {
        /// A field is not what it should be.
        InvalidField "invalid_field",
        /// A field that nobody knows, where unknown ones are refused.
        UnknownField "unknown_field",
        /// The plan has no such event.
        UnknownEvent "unknown_event",
        /// A required field is absent.
        MissingField "missing_field",
        /// More bytes than an event may have.
        TooLarge "too_large",
        /// More than ten minutes in the future.
        InFuture "in_future",
        /// Nothing says to which site it belongs, or there is no such site.
        SiteUnknown "site_unknown",
        /// The write key may not send it.
        NotAllowed "not_allowed",
    }
}

codes! {
    /// What a sender is warned of.
    WarningCode {
        /// No consent signal where the law wants one.
        NoSignal "no_signal",
        /// A value was to be expected and there is none.
        NoValue "no_value",
        /// Amounts without a currency were left out.
        NoCurrency "no_currency",
        /// Counted by session, and there is none.
        NoSession "no_session",
        /// Counted by person, and there is none.
        NoPerson "no_person",
        /// Identity that could not be normalised was dropped.
        IdentityDropped "identity_dropped",
        /// Identity was removed from texts where it does not belong.
        IdentityRemoved "identity_removed",
        /// An expression could not be evaluated.
        ExpressionFailed "expression_failed",
        /// A click or lead id of no known name.
        UnknownClickId "unknown_click_id",
        /// The clock of the sender is wrong by a day or more.
        Clock "clock",
        /// A field that this door does not believe.
        Ignored "ignored",
    }
}

/// Through which door an event came, and what the door itself knows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Door<'a> {
    /// Live, or from a file.
    pub kind: DoorKind,
    /// Who sends. `None` (`explain`, `test`, `demo`): a backend that may send everything.
    pub key: Option<&'a WriteKey>,
    /// The visitor's own address as the connection shows it. Used for browser keys only.
    pub address: Option<IpAddr>,
    /// The connection's `User-Agent`. Used for browser keys only, where the event has none.
    pub user_agent: Option<&'a str>,
    /// `Sec-GPC: 1` was sent. Used for browser keys only.
    pub sec_gpc: bool,
}

/// The two kinds of door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DoorKind {
    /// Events as they happen: `sent_at` tells how wrong the sender's clock is.
    Live,
    /// Files, `send` and `explain`: times stand as they are.
    #[default]
    Import,
}

impl Door<'_> {
    /// Whether the sender is the visitor's browser.
    pub fn is_browser(&self) -> bool {
        self.key.is_some_and(|key| key.kind == crate::config::KeyKind::Browser)
    }

    /// The highest value that the sender may claim, in the site's currency: a browser's `max_value`.
    pub fn at_most(&self) -> Option<Decimal> {
        self.key.filter(|_| self.is_browser()).and_then(|key| key.max_value)
    }
}
