//! How often an event counts: marks a person or session leaves, and the claims that check them.
//!
//! The pipeline makes a [`Claim`]; the committer, the only writer, holds it against the stored
//! [`Person`] and the batch in hand. Marks carry the id of the event that set them, so that a later
//! copy of the same event is not suppressed by its own first copy.

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

/// How often an event counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Count {
    /// Every time.
    Every,
    /// Within the rule.
    Limited {
        /// At most so often,
        at_most: u32,
        /// in this time (`None`: ever, within `retention.frequency`),
        per: Option<Per>,
        /// by the same person or in the same session.
        by: By,
        /// Not after this plan event of the same person.
        not_after: Option<String>,
    },
}

/// A window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Per {
    /// Calendar days of the site's time zone.
    Days(u16),
    /// Rolling hours.
    Hours(u32),
}

/// Whose marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The strongest identifier's.
    User,
    /// The session's.
    Session,
}

/// What must hold for an event to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Keyed hash of the person or session, with the site.
    pub subject: [u8; 16],
    /// The plan event.
    pub event: String,
    /// At most so often.
    pub at_most: u32,
    /// In this time.
    pub per: Option<Per>,
    /// When it happened.
    pub at: Timestamp,
    /// The day of it, in the site's time zone.
    pub day: Date,
    /// Not counted once this event of the person in `milestones` has an earlier or equal time.
    pub not_after: Option<Milestone>,
    /// Which event makes the claim: hash of its id.
    pub by_event: [u8; 16],
}

/// A plan event of a person, whose time later claims look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Milestone {
    /// Keyed hash of the person, with the site.
    pub subject: [u8; 16],
    /// The plan event.
    pub event: String,
}

/// What is kept of one person or session at one site: one record.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Person {
    /// Counted events, oldest first.
    pub marks: Vec<Mark>,
    /// The earliest time of each milestone, by plan event.
    pub milestones: Vec<(String, i64)>,
}

/// One counted event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The plan event.
    pub event: String,
    /// When, in epoch milliseconds.
    pub at_ms: i64,
    /// The day of it, in the site's time zone.
    pub day: Date,
    /// Hash of the event's id.
    pub by_event: [u8; 16],
}

/// Why an event does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suppressed {
    /// As often as the rule allows, already.
    AtMost,
    /// After the event that ends it.
    NotAfter,
}

impl Person {
    /// Whether a claim holds; `milestones` is the record that the claim's `not_after` names (it may
    /// be another one than `self` where the claim is by session).
    pub fn admits(&self, claim: &Claim, milestones: &Person) -> Result<(), Suppressed> {
        if let Some(end) = &claim.not_after {
            let at_ms = claim.at.as_millisecond();
            if milestones.milestones.iter().any(|(event, at)| *event == end.event && *at <= at_ms) {
                return Err(Suppressed::NotAfter);
            }
        }
        let counted = self
            .marks
            .iter()
            .filter(|mark| mark.event == claim.event && mark.by_event != claim.by_event)
            .filter(|mark| in_window(claim, mark))
            .count();
        if counted < usize::try_from(claim.at_most).unwrap_or(usize::MAX) {
            Ok(())
        } else {
            Err(Suppressed::AtMost)
        }
    }

    /// Leaves the claim's mark.
    pub fn mark(&mut self, claim: &Claim) {
        let mark = Mark {
            event: claim.event.clone(),
            at_ms: claim.at.as_millisecond(),
            day: claim.day,
            by_event: claim.by_event,
        };
        if !self.marks.contains(&mark) {
            self.marks.push(mark);
        }
    }

    /// Notes a milestone; the earliest time stays.
    pub fn reach(&mut self, event: &str, at: Timestamp) {
        let at_ms = at.as_millisecond();
        match self.milestones.iter_mut().find(|(name, _)| name == event) {
            Some((_, earliest)) => *earliest = (*earliest).min(at_ms),
            None => self.milestones.push((event.to_owned(), at_ms)),
        }
    }

    /// Forgets what is older than the retention; true where nothing is left.
    pub fn forget(&mut self, before: Timestamp) -> bool {
        let before_ms = before.as_millisecond();
        self.marks.retain(|mark| mark.at_ms >= before_ms);
        self.milestones.retain(|(_, at)| *at >= before_ms);
        self.marks.is_empty() && self.milestones.is_empty()
    }
}

fn in_window(claim: &Claim, mark: &Mark) -> bool {
    match claim.per {
        None => true,
        Some(Per::Days(days)) => {
            // The window of a day is that day and the `days - 1` before and after it, so that
            // late arrivals are held against what was counted around them.
            let apart = claim.day.since(mark.day).map_or(i32::MAX, |span| span.get_days().abs());
            apart < i32::from(days)
        }
        Some(Per::Hours(hours)) => {
            let apart = claim.at.as_millisecond().abs_diff(mark.at_ms);
            apart < u64::from(hours) * 3_600_000
        }
    }
}
