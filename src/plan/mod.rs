//! The tracking plan: which events are known, when they count, and how often.

mod frequency;

use std::collections::BTreeMap;

pub use frequency::{
    By, Claim, Count, MOST_COUNTED, Mark, Milestone, Per, Person, Reached, Suppressed,
};

use crate::{expression::Expression, value::ValueRule};

/// All planned events.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What happens to names that no event has.
    pub unknown_events: UnknownEvents,
    /// Funnels by name.
    pub funnels: BTreeMap<String, Funnel>,
    /// Events by name.
    pub events: BTreeMap<String, PlanEvent>,
    /// Plan events by incoming name.
    pub by_incoming: BTreeMap<String, Vec<String>>,
}

/// What happens to names that no event has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownEvents {
    /// Rejected, with the nearest name.
    Reject,
    /// Counted, not sent.
    Keep,
}

/// Ordered steps that end in a macro event.
#[derive(Debug, Clone)]
pub struct Funnel {
    /// Plan events, in order.
    pub steps: Vec<String>,
    /// The one that counts.
    pub macro_event: Option<String>,
}

/// One planned event.
#[derive(Debug, Clone)]
pub struct PlanEvent {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// awareness, consideration, intent, purchase, or the team's own word.
    pub stage: Option<String>,
    /// low, medium, high.
    pub intent: Option<String>,
    /// milestone or engagement.
    pub event_type: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it means.
    pub description: Option<String>,
    /// The names it arrives under.
    pub from: Vec<String>,
    /// Its success criterion.
    pub when: Option<Expression>,
    /// How often it counts.
    pub count: Count,
    /// What copies of it share.
    pub same_as: Option<Expression>,
    /// Dotted paths without which it is rejected; [`EVENT_ID`]: an id of the sender's own.
    pub required: Vec<String>,
    /// What it is worth.
    pub value: Option<ValueRule>,
    /// Platforms whose own tag sends it too.
    pub browser: Vec<String>,
}

/// What `required` calls an id that the sender gave.
pub const EVENT_ID: &str = "event_id";

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A step on the way.
    Micro,
    /// What counts.
    Macro,
    /// A change of an earlier event.
    Adjustment,
}

impl Kind {
    /// The name in configuration and traces.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Micro => "micro",
            Kind::Macro => "macro",
            Kind::Adjustment => "adjustment",
        }
    }
}
