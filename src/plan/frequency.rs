//! How often an event counts: marks a person or session leaves, and the claims that check them.
//!
//! The pipeline makes a [`Claim`]; the committer, the only writer, holds it against the stored
//! [`Person`] and the batch in hand. Marks carry the id of the event that set them, so that a later
//! copy of the same event is not suppressed by its own first copy.
//!
//! Events come late and out of order, so a window is not "the last three days" but any three days:
//! an event counts where, with it, no window holds more than the rule allows. What was counted stays
//! counted.

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

/// The highest `at_most`: a person's marks are one record of the queue, which has a bound.
pub const MOST_COUNTED: u32 = 50;

/// How many marks of an event are kept beyond what its rule needs, for events that come late.
const SPARE_MARKS: usize = 8;

/// How often an event counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Count {
    /// Every time.
    Every,
    /// Within the rule.
    Limited {
        /// At most so often (not more than [`MOST_COUNTED`]),
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
    /// Counted events, oldest first. Of each plan event only as many as its rule needs, and a few.
    pub marks: Vec<Mark>,
    /// Milestones reached, in no particular order.
    pub milestones: Vec<Reached>,
}

/// One counted event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The plan event.
    pub event: String,
    /// When, in epoch milliseconds.
    pub at_ms: i64,
    /// The day of it in the site's time zone, in days since the epoch.
    pub day: i32,
    /// Hash of the event's id.
    pub by_event: [u8; 16],
}

/// When a milestone was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The plan event.
    pub event: String,
    /// The earliest time, in epoch milliseconds: what decides.
    pub first_ms: i64,
    /// The latest, which takes its place when the earliest is forgotten.
    pub last_ms: i64,
}

/// Why an event does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
            let ended = |reached: &Reached| reached.event == end.event && reached.first_ms <= at_ms;
            if milestones.milestones.iter().any(ended) {
                return Err(Suppressed::NotAfter);
            }
        }
        let others =
            self.marks.iter().filter(|m| m.event == claim.event && m.by_event != claim.by_event);
        // Where the marks and the claim are on the line on which the window is measured.
        let (at, width, mut taken): (i64, i64, Vec<i64>) = match claim.per {
            None => (0, i64::MAX, others.map(|_| 0).collect()),
            Some(Per::Days(days)) => {
                let at = i64::from(day_number(claim.day));
                (at, i64::from(days), others.map(|mark| i64::from(mark.day)).collect())
            }
            Some(Per::Hours(hours)) => {
                let width = i64::from(hours).saturating_mul(3_600_000);
                (claim.at.as_millisecond(), width, others.map(|mark| mark.at_ms).collect())
            }
        };
        taken.push(at);
        taken.sort_unstable();
        if is_crowded(&taken, at, width, claim.at_most) { Err(Suppressed::AtMost) } else { Ok(()) }
    }

    /// Leaves the claim's mark; once for each event, whatever its copies say.
    pub fn mark(&mut self, claim: &Claim) {
        let is_own = |mark: &&Mark| mark.event == claim.event;
        if self.marks.iter().filter(is_own).any(|mark| mark.by_event == claim.by_event) {
            return;
        }
        let mark = Mark {
            event: claim.event.clone(),
            at_ms: claim.at.as_millisecond(),
            day: day_number(claim.day),
            by_event: claim.by_event,
        };
        let place = self.marks.partition_point(|other| other.at_ms <= mark.at_ms);
        self.marks.insert(place, mark);
        let needed = usize::try_from(claim.at_most.min(MOST_COUNTED)).unwrap_or(usize::MAX);
        let kept = self.marks.iter().filter(is_own).count();
        for _ in needed + SPARE_MARKS..kept {
            if let Some(oldest) = self.marks.iter().position(|mark| mark.event == claim.event) {
                self.marks.remove(oldest);
            }
        }
    }

    /// Notes a milestone; the earliest time decides.
    pub fn reach(&mut self, event: &str, at: Timestamp) {
        let at_ms = at.as_millisecond();
        match self.milestones.iter_mut().find(|reached| reached.event == event) {
            Some(reached) => {
                reached.first_ms = reached.first_ms.min(at_ms);
                reached.last_ms = reached.last_ms.max(at_ms);
            }
            None => {
                let event = event.to_owned();
                self.milestones.push(Reached { event, first_ms: at_ms, last_ms: at_ms });
            }
        }
    }

    /// Forgets what is older than the retention; true where nothing is left.
    pub fn forget(&mut self, before: Timestamp) -> bool {
        let before_ms = before.as_millisecond();
        self.marks.retain(|mark| mark.at_ms >= before_ms);
        self.milestones.retain(|reached| reached.last_ms >= before_ms);
        for reached in &mut self.milestones {
            if reached.first_ms < before_ms {
                reached.first_ms = reached.last_ms;
            }
        }
        self.marks.is_empty() && self.milestones.is_empty()
    }
}

/// Whether some window of this width that holds `at` holds more than `at_most`; `taken` is sorted
/// and holds `at`.
fn is_crowded(taken: &[i64], at: i64, width: i64, at_most: u32) -> bool {
    let at_most = usize::try_from(at_most).unwrap_or(usize::MAX);
    taken.iter().enumerate().any(|(index, first)| {
        let last = index.checked_add(at_most).and_then(|last| taken.get(last));
        last.is_some_and(|last| {
            (*first..=*last).contains(&at) && last.saturating_sub(*first) < width
        })
    })
}

/// Days since 1970-01-01.
fn day_number(day: Date) -> i32 {
    let epoch = Date::constant(1970, 1, 1);
    day.since(epoch).map_or(0, |span| span.get_days())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(at: &str, id: u8) -> Claim {
        let at: Timestamp = at.parse().unwrap();
        Claim {
            subject: [1; 16],
            event: "add_to_cart".to_owned(),
            at_most: 1,
            per: None,
            at,
            day: at.to_zoned(jiff::tz::TimeZone::UTC).date(),
            not_after: None,
            by_event: [id; 16],
        }
    }

    /// Holds claims one after the other against one record: which of them count.
    fn counted(at_most: u32, per: Option<Per>, times: &[&str]) -> Vec<bool> {
        let mut person = Person::default();
        let claims =
            times.iter().zip(0u8..).map(|(at, id)| Claim { at_most, per, ..claim(at, id) });
        claims
            .map(|claim| {
                let counts = person.admits(&claim, &Person::default()).is_ok();
                if counts {
                    person.mark(&claim);
                }
                counts
            })
            .collect()
    }

    #[test]
    fn once_is_once_however_long_ago() {
        let times = ["2026-11-22T04:00:00Z", "2026-11-22T04:00:00Z", "2027-11-01T00:00:00Z"];
        assert_eq!(counted(1, None, &times), [true, false, false]);
        assert_eq!(counted(2, None, &times), [true, true, false]);
        assert_eq!(counted(0, None, &times), [false, false, false]);
    }

    #[test]
    fn days_are_calendar_days() {
        let times = ["2026-11-22T00:00:00Z", "2026-11-22T23:59:59Z", "2026-11-23T00:00:00Z"];
        assert_eq!(counted(1, Some(Per::Days(1)), &times), [true, false, true]);
        assert_eq!(counted(1, Some(Per::Days(2)), &times), [true, false, false]);
        let week = ["2026-11-22T12:00:00Z", "2026-11-28T12:00:00Z", "2026-11-29T12:00:00Z"];
        assert_eq!(counted(1, Some(Per::Days(7)), &week), [true, false, true]);
        let months = ["2026-10-31T12:00:00Z", "2026-12-01T12:00:00Z"];
        assert_eq!(counted(1, Some(Per::Days(31)), &months), [true, true]);
        assert_eq!(counted(1, Some(Per::Days(32)), &months), [true, false]);
    }

    #[test]
    fn the_day_is_the_claims_not_the_clocks() {
        // A day of 25 hours: what the caller calls one day is one day.
        let mut first = claim("2026-11-01T04:30:00Z", 1);
        let mut second = claim("2026-11-02T04:30:00Z", 2);
        first.day = Date::constant(2026, 11, 1);
        second.day = Date::constant(2026, 11, 1);
        first.per = Some(Per::Days(1));
        second.per = Some(Per::Days(1));
        let mut person = Person::default();
        person.mark(&first);
        assert_eq!(person.admits(&second, &person), Err(Suppressed::AtMost));
        second.day = Date::constant(2026, 11, 2);
        assert_eq!(person.admits(&second, &person), Ok(()));
    }

    #[test]
    fn hours_roll() {
        let times = ["2026-11-22T04:00:00Z", "2026-11-23T03:59:59.999Z", "2026-11-23T04:00:00Z"];
        assert_eq!(counted(1, Some(Per::Hours(24)), &times), [true, false, true]);
        assert_eq!(counted(1, Some(Per::Hours(u32::MAX)), &times), [true, false, false]);
    }

    #[test]
    fn late_arrivals_count_where_no_window_overflows() {
        let days = |numbers: &[u8]| -> Vec<String> {
            numbers.iter().map(|day| format!("2026-11-{day:02}T12:00:00Z")).collect()
        };
        let counted = |at_most: u32, width: u16, numbers: &[u8]| {
            let times = days(numbers);
            let times: Vec<&str> = times.iter().map(String::as_str).collect();
            counted(at_most, Some(Per::Days(width)), &times)
        };
        // The 3rd fits between the 1st and the 5th: no three days would hold three.
        assert_eq!(counted(2, 3, &[1, 5, 3]), [true, true, true]);
        assert_eq!(counted(2, 3, &[1, 4, 5, 3]), [true, true, true, false]);
        assert_eq!(counted(1, 3, &[5, 3, 2]), [true, false, true]);
        assert_eq!(counted(1, 1, &[5, 4, 6, 5]), [true, true, true, false]);
    }

    #[test]
    fn a_copy_is_not_suppressed_by_its_own_mark() {
        let mut person = Person::default();
        let first = claim("2026-11-22T04:00:00Z", 7);
        person.mark(&first);
        let copy = claim("2026-11-22T04:05:00Z", 7);
        assert_eq!(person.admits(&copy, &person), Ok(()));
        person.mark(&copy);
        assert_eq!(person.marks.len(), 1, "one mark an event");
        let another = claim("2026-11-22T04:00:00Z", 8);
        assert_eq!(person.admits(&another, &person), Err(Suppressed::AtMost));
        let elsewhere = Claim { event: "view_item".to_owned(), ..another };
        assert_eq!(person.admits(&elsewhere, &person), Ok(()));
    }

    #[test]
    fn nothing_counts_after_its_end() {
        let mut buyer = Person::default();
        buyer.reach("purchase", "2026-11-22T12:00:00Z".parse().unwrap());
        let ended = |at: &str| {
            let end = Milestone { subject: [2; 16], event: "purchase".to_owned() };
            let claim = Claim { not_after: Some(end), ..claim(at, 1) };
            Person::default().admits(&claim, &buyer)
        };
        assert_eq!(ended("2026-11-22T11:59:59.999Z"), Ok(()), "earlier");
        assert_eq!(ended("2026-11-22T12:00:00Z"), Err(Suppressed::NotAfter), "equal");
        assert_eq!(ended("2026-11-23T00:00:00Z"), Err(Suppressed::NotAfter), "later");
        let other = Milestone { subject: [2; 16], event: "subscribe".to_owned() };
        let claim = Claim { not_after: Some(other), ..claim("2026-11-23T00:00:00Z", 1) };
        assert_eq!(Person::default().admits(&claim, &buyer), Ok(()));
    }

    #[test]
    fn a_late_milestone_moves_the_end_and_undoes_nothing() {
        let mut person = Person::default();
        let end = Milestone { subject: [1; 16], event: "purchase".to_owned() };
        let counted = claim("2026-11-22T12:00:00Z", 1);
        person.mark(&counted);
        person.reach("purchase", "2026-11-23T00:00:00Z".parse().unwrap());
        person.reach("purchase", "2026-11-21T00:00:00Z".parse().unwrap());
        assert_eq!(person.marks.len(), 1, "what was counted stays counted");
        let next = Claim { at_most: 9, not_after: Some(end), ..claim("2026-11-22T00:00:00Z", 2) };
        assert_eq!(person.admits(&next, &person), Err(Suppressed::NotAfter));
    }

    #[test]
    fn forgetting_keeps_what_is_young_enough() {
        let mut person = Person::default();
        person.mark(&claim("2026-01-01T00:00:00Z", 1));
        person.mark(&claim("2026-06-01T00:00:00Z", 2));
        person.reach("purchase", "2026-01-01T00:00:00Z".parse().unwrap());
        person.reach("purchase", "2026-06-01T00:00:00Z".parse().unwrap());
        let may: Timestamp = "2026-05-01T00:00:00Z".parse().unwrap();
        assert!(!person.forget(may));
        assert_eq!(person.marks.len(), 1);
        let june = claim("2026-06-02T00:00:00Z", 3);
        let end = Milestone { subject: [1; 16], event: "purchase".to_owned() };
        let june = Claim { at_most: 9, not_after: Some(end), ..june };
        assert_eq!(person.admits(&june, &person), Err(Suppressed::NotAfter), "bought in June");
        assert!(person.forget("2026-06-02T00:00:00Z".parse().unwrap()));
    }

    #[test]
    fn a_record_stays_small() {
        let mut person = Person::default();
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for number in 0u16..400 {
            let at = at + jiff::SignedDuration::from_hours(24) * i32::from(number);
            let mut claim = Claim {
                at_most: 3,
                per: Some(Per::Days(1)),
                day: at.to_zoned(jiff::tz::TimeZone::UTC).date(),
                at,
                ..claim("2026-01-01T00:00:00Z", 0)
            };
            claim.by_event[..2].copy_from_slice(&number.to_le_bytes());
            assert_eq!(person.admits(&claim, &person), Ok(()));
            person.mark(&claim);
        }
        assert_eq!(person.marks.len(), 3 + SPARE_MARKS);
        assert!(person.marks.is_sorted_by_key(|mark| mark.at_ms));
        assert_eq!(person.marks.last().unwrap().by_event[..2], 399u16.to_le_bytes());
        let bytes = postcard::to_allocvec(&person).unwrap();
        assert!(bytes.len() < 500, "{} bytes", bytes.len());
        assert_eq!(postcard::from_bytes::<Person>(&bytes).unwrap(), person);
    }
}
