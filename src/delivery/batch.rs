//! One lease on its way out: which jobs go together, and what each was told. Pure.
//!
//! A batch that is refused without a culprit, or for its size, is cut in two and tried again, down
//! to the single event. It refuses to know why a platform refuses, and to send anything.

use std::collections::VecDeque;

use crate::{destinations::Outcome, queue::Attempt};

/// Jobs that are sent together: positions in the batch, all of one group, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Positions of the jobs.
    pub members: Vec<usize>,
    half_of: Option<usize>,
}

/// What one job was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It was not sent, or the destination was at fault: it stays as it was.
    Unsent,
    /// An answer, or the certainty that nothing arrived.
    Outcome(Outcome, Attempt),
    /// It was sent, and no answer came: nobody knows.
    Lost(Attempt),
}

/// Why a destination, not its events, is at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The platform's own code.
    pub reason: String,
    /// Its words.
    pub message: String,
}

/// The state of one lease's sends.
#[derive(Debug)]
pub struct Batch {
    waiting: VecDeque<Part>,
    told: Vec<Told>,
    halvings: Vec<Halving>,
    tolerated: Option<String>,
    delivered: bool,
    at_fault: Option<Refusal>,
}

/// A refused part that was cut in two: how much of it its halves were refused for the same reason.
#[derive(Debug)]
struct Halving {
    refusal: Refusal,
    members: usize,
    refused: usize,
}

impl Batch {
    /// Jobs by their groups. Only jobs of one group, and at most `at_most` of them, share a part.
    /// A `tolerated` reason is known to be the events' own: refusals for it never make the
    /// destination at fault.
    pub fn new(groups: &[&str], at_most: usize, tolerated: Option<String>) -> Self {
        let mut by_group: Vec<(&str, Vec<usize>)> = Vec::new();
        for (position, group) in groups.iter().enumerate() {
            match by_group.iter_mut().find(|(name, _)| name == group) {
                Some((_, members)) => members.push(position),
                None => by_group.push((group, vec![position])),
            }
        }
        let waiting = by_group
            .iter()
            .flat_map(|(_, members)| members.chunks(at_most.max(1)))
            .map(|members| Part { members: members.to_vec(), half_of: None })
            .collect();
        Self {
            waiting,
            told: vec![Told::Unsent; groups.len()],
            halvings: Vec::new(),
            tolerated,
            delivered: false,
            at_fault: None,
        }
    }

    /// The next part to send. Halves come after everything that waits, so that both halves of a
    /// batch are tried before either is cut again. `None`: done, or the destination is at fault.
    pub fn next_part(&mut self) -> Option<Part> {
        if self.at_fault.is_some() { None } else { self.waiting.pop_front() }
    }

    /// Notes what one call of a part was told; `members` are positions, `outcomes` in their order.
    /// Returns whether anything was cut in two.
    pub fn record(
        &mut self,
        part: &Part,
        members: &[usize],
        outcomes: Vec<Outcome>,
        attempt: &Attempt,
    ) -> bool {
        let alone = members.len() == 1;
        let mut again = Vec::new();
        let mut innocent = Vec::new();
        let mut culprits = Vec::new();
        for (position, outcome) in members.iter().zip(outcomes) {
            let outcome = match outcome {
                // An event that is too large alone is over, and says nothing of the destination.
                Outcome::TooLarge if alone => Outcome::TooLarge,
                Outcome::TooLarge => {
                    again.push(*position);
                    continue;
                }
                Outcome::CulpritUnknown { reason, message } => {
                    self.refused_half(part, &reason);
                    if !alone {
                        again.push(*position);
                        culprits.push(Refusal { reason, message });
                        continue;
                    }
                    Outcome::Rejected { reason, message }
                }
                Outcome::Rejected { reason, message } => {
                    self.refused_half(part, &reason);
                    Outcome::Rejected { reason, message }
                }
                // Another member sank the request: this one goes again at once without it. If nobody
                // was named, halving finds who it is.
                Outcome::Resend { .. } if !alone => {
                    innocent.push(*position);
                    continue;
                }
                Outcome::Resend { message } => {
                    Outcome::Retry { after: None, within: None, message }
                }
                Outcome::Delivered => {
                    self.delivered = true;
                    Outcome::Delivered
                }
                other @ (Outcome::Retry { .. }
                | Outcome::Unavailable { .. }
                | Outcome::Throttled { .. }
                | Outcome::Paused) => other,
            };
            self.tell(*position, Told::Outcome(outcome, attempt.clone()));
        }
        self.find_fault();
        if self.at_fault.is_some() {
            return false;
        }
        if innocent.len() == members.len() {
            again.append(&mut innocent);
        } else if !innocent.is_empty() {
            self.waiting.push_front(Part { members: innocent, half_of: part.half_of });
        }
        if again.is_empty() {
            return false;
        }
        self.halve(&again, culprits);
        true
    }

    /// Notes that no answer came and nobody knows what became of these.
    pub fn lost(&mut self, members: &[usize], attempt: &Attempt) {
        for position in members {
            self.tell(*position, Told::Lost(attempt.clone()));
        }
    }

    /// Everything that was told, in the order of the jobs. If the destination is at fault, what it
    /// refused for that reason counts as unsent.
    pub fn finish(self) -> (Vec<Told>, Option<Refusal>) {
        let Some(fault) = self.at_fault else { return (self.told, None) };
        let mut told = self.told;
        keep_refused(&mut told, &fault.reason);
        (told, Some(fault))
    }

    fn tell(&mut self, position: usize, told: Told) {
        if let Some(place) = self.told.get_mut(position) {
            *place = told;
        }
    }

    fn refused_half(&mut self, part: &Part, reason: &str) {
        let halving = part.half_of.and_then(|half_of| self.halvings.get_mut(half_of));
        if let Some(halving) = halving.filter(|halving| halving.refusal.reason == reason) {
            halving.refused += 1;
        }
    }

    /// Both halves refused for the same reason, and nothing delivered: the destination it is.
    fn find_fault(&mut self) {
        if self.delivered {
            return;
        }
        let whole = self.halvings.iter().find(|halving| {
            halving.refused >= halving.members
                && self.tolerated.as_deref() != Some(halving.refusal.reason.as_str())
        });
        self.at_fault = whole.map(|halving| halving.refusal.clone());
    }

    fn halve(&mut self, members: &[usize], culprits: Vec<Refusal>) {
        let total = members.len();
        let same_reason = culprits.len() == total
            && culprits.windows(2).all(|pair| match pair {
                [a, b] => a.reason == b.reason,
                _ => true,
            });
        let refusal = culprits.into_iter().next().filter(|_| same_reason && total > 1);
        let half_of = refusal.map(|refusal| {
            self.halvings.push(Halving { refusal, members: total, refused: 0 });
            self.halvings.len() - 1
        });
        for half in members.chunks(total.div_ceil(2)) {
            self.waiting.push_back(Part { members: half.to_vec(), half_of });
        }
    }
}

/// Turns what was refused for a reason into unsent: the destination is at fault, not the events.
pub fn keep_refused(told: &mut [Told], reason: &str) {
    for told in told {
        if matches!(told, Told::Outcome(Outcome::Rejected { reason: r, .. }, _) if r == reason) {
            *told = Told::Unsent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(reason: &str) -> Outcome {
        Outcome::CulpritUnknown { reason: reason.to_owned(), message: "no".to_owned() }
    }

    /// Plays a platform that refuses any call with one of `bad` in it; returns the number of calls.
    fn play(batch: &mut Batch, refuses: impl Fn(&[usize]) -> Option<Outcome>) -> usize {
        let mut calls = 0;
        while let Some(part) = batch.next_part() {
            calls += 1;
            let outcome = refuses(&part.members).unwrap_or(Outcome::Delivered);
            let outcomes = vec![outcome; part.members.len()];
            batch.record(&part, &part.members.clone(), outcomes, &Attempt::default());
        }
        calls
    }

    fn rejected(told: &[Told]) -> Vec<usize> {
        let is_rejected = |told: &Told| matches!(told, Told::Outcome(Outcome::Rejected { .. }, _));
        (0..told.len()).filter(|position| is_rejected(&told[*position])).collect()
    }

    #[test]
    fn a_single_culprit_is_found_and_the_others_arrive() {
        let mut batch = Batch::new(&["g"; 100], 100, None);
        let calls = play(&mut batch, |members| members.contains(&37).then(|| unknown("100")));
        let (told, fault) = batch.finish();
        assert_eq!(fault, None);
        assert_eq!(rejected(&told), [37]);
        let delivered =
            told.iter().filter(|t| matches!(t, Told::Outcome(Outcome::Delivered, _))).count();
        assert_eq!(delivered, 99);
        assert!(calls <= 1 + 2 * 7, "{calls} calls");
    }

    #[test]
    fn neighbouring_culprits_do_not_condemn_a_destination_that_delivers() {
        let mut batch = Batch::new(&["g"; 64], 64, None);
        play(&mut batch, |members| {
            members.iter().any(|m| [4, 5].contains(m)).then(|| unknown("100"))
        });
        let (told, fault) = batch.finish();
        assert_eq!((rejected(&told), fault), (vec![4, 5], None));
    }

    #[test]
    fn both_halves_refused_alike_condemn_the_destination_and_keep_the_events() {
        for size in [2, 3, 100] {
            let groups = vec!["g"; size];
            let mut batch = Batch::new(&groups, size, None);
            let calls = play(&mut batch, |_| Some(unknown("190")));
            let (told, fault) = batch.finish();
            assert_eq!(fault.map(|fault| fault.reason).as_deref(), Some("190"));
            assert!(told.iter().all(|told| *told == Told::Unsent));
            assert_eq!(calls, 3);
        }
    }

    #[test]
    fn different_reasons_or_a_tolerated_one_do_not() {
        let mut batch = Batch::new(&["g"; 2], 2, Some("100".to_owned()));
        play(&mut batch, |_| Some(unknown("100")));
        let (told, fault) = batch.finish();
        assert_eq!((rejected(&told), fault), (vec![0, 1], None));

        let mut batch = Batch::new(&["g"; 2], 2, None);
        play(&mut batch, |members| Some(unknown(if members == [1] { "b" } else { "a" })));
        let (told, fault) = batch.finish();
        assert_eq!((rejected(&told), fault), (vec![0, 1], None));
    }

    #[test]
    fn too_large_is_halved_without_blame() {
        let mut batch = Batch::new(&["g"; 8], 8, None);
        play(&mut batch, |members| {
            (members.len() > 2 || members.contains(&3)).then_some(Outcome::TooLarge)
        });
        let (told, fault) = batch.finish();
        assert_eq!((rejected(&told), fault), (vec![], None));
        for (position, told) in told.iter().enumerate() {
            let expected = if position == 3 { Outcome::TooLarge } else { Outcome::Delivered };
            assert_eq!(*told, Told::Outcome(expected, Attempt::default()));
        }
    }

    #[test]
    fn groups_and_sizes_are_kept_apart() {
        let mut batch = Batch::new(&["a", "b", "a", "a", "b"], 2, None);
        let mut parts = Vec::new();
        while let Some(part) = batch.next_part() {
            parts.push(part.members);
        }
        assert_eq!(parts, [vec![0, 2], vec![3], vec![1, 4]]);
    }
}
