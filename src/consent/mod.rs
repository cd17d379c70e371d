//! Consent: from the signals of an event to grants, and from grants and rules to a decision for
//! each destination. Pure: the same function decides at acceptance, before every send, in
//! `explain` and in `audit`.
//!
//! Signals become a [`State`] (what this person allows, and how we know); rules and a state become
//! a [`Decision`]. Absence is never consent where the model is opt-in, and is never written as
//! granted anywhere.

pub mod additional_consent;
mod approval;
pub mod bits;
mod categories;
pub mod clicks;
pub mod cmp;
mod consent_mode;
mod decide;
pub mod gpp;
mod how_read;
pub mod ids;
mod lock;
pub mod memory;
mod region;
mod rules;
mod said;
mod seen;
mod state;
pub mod tcf;
pub mod tcf_canada;
#[cfg(test)]
mod tests;
pub mod traits;
pub mod us_privacy;
pub mod us_section;

pub use approval::{
    Approval, Combination, Lock, Occasion, Recipient, StateKind, Terms, UNKNOWN_REGION, event_of,
};
pub use categories::{is_for_email, known as known_categories};
pub use decide::{Decision, Permit, PropertyRule, Purposes, Question, Reason, ReasonCode, decide};
pub use how_read::{CONTROLLER, HowRead};
pub use lock::{
    APPROVALS_FILE, LOCK_FILE, SSH_NAMESPACE, SignOff, Unreadable as UnreadableLock, file_hash,
};
pub use region::{
    Region, RegionSource, Whereabouts, canonical as canonical_region, expand as expand_region,
};
pub use rules::{
    DestinationRule, InRegion, IpForm, Memory, Model, RegionRule, Role, Rules, VendorId,
    WhenDenied, WhenOptedOut,
};
pub use said::{ByVendor, Said, VendorIds};
pub use seen::{Content, Problem, Seen, Text};
pub use state::{OptOut, Reading, State, read};

pub use crate::event::{Grant, Grants, OptOutClaim, Purpose, Signals};
