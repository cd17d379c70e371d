//! Sets of ids as consent strings have them: purposes in a word, vendors as ranges.

use serde::{Serialize, Serializer};

use super::bits::Work;

/// A set of ids up to 64, such as purposes. Written as a list: `[1, 7]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ids(u64);

impl Ids {
    /// Bit 0 is id 1.
    pub(super) fn of(bits: u64) -> Self {
        Ids(bits)
    }

    /// Whether an id is in it.
    pub fn contains(self, id: u8) -> bool {
        (1..=64).contains(&id) && self.0 >> (id - 1) & 1 == 1
    }

    /// Every id, ascending.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (1..=64).filter(move |id| self.contains(*id))
    }
}

impl Serialize for Ids {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// A set of vendor ids as inclusive ranges, ascending, neither overlapping nor touching. Written as
/// pairs: `[[1, 3], [755, 755]]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Ranges(Vec<(u16, u16)>);

impl Ranges {
    /// Whether an id is in it.
    pub fn contains(&self, id: u16) -> bool {
        let after = self.0.partition_point(|(start, _)| *start <= id);
        after.checked_sub(1).and_then(|i| self.0.get(i)).is_some_and(|(_, end)| id <= *end)
    }

    /// The ranges.
    pub fn pairs(&self) -> &[(u16, u16)] {
        &self.0
    }

    /// Adds a range, joined to the one before where it follows it.
    pub(super) fn append(&mut self, start: u16, end: u16, work: &mut Work) {
        match self.0.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(start) => *last = end,
            _ => {
                // Lists grow by doubling, so twice the pair is what one costs at most.
                work.bytes += 2 * size_of::<(u16, u16)>();
                self.0.push((start, end));
            }
        }
    }

    /// Adds another set's ids.
    pub(super) fn join(&mut self, other: Ranges) {
        self.0.extend(other.0);
        self.tidy();
    }

    /// Entries may come unsorted and overlap: readers of the format make a set of them.
    pub(super) fn tidy(&mut self) {
        if self.0.is_sorted_by(|(_, end), (start, _)| *end < start.saturating_sub(1)) {
            return;
        }
        self.0.sort_unstable();
        self.0.dedup_by(|(start, end), (_, last)| {
            let touches = *start <= last.saturating_add(1);
            if touches {
                *last = (*last).max(*end);
            }
            touches
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsorted_and_overlapping_entries_make_one_set() {
        let mut ranges = Ranges(vec![(5, 9), (1, 2), (8, 12), (3, 3), (20, 20), (20, 20)]);
        ranges.tidy();
        assert_eq!(ranges.pairs(), [(1, 3), (5, 12), (20, 20)]);
        let mut full = Ranges(vec![(1, u16::MAX), (1, 1), (u16::MAX, u16::MAX)]);
        full.tidy();
        assert_eq!(full.pairs(), [(1, u16::MAX)]);
    }

    #[test]
    fn an_id_is_found_in_its_range_only() {
        let ranges = Ranges(vec![(2, 2), (5, 9), (u16::MAX, u16::MAX)]);
        let found: Vec<u16> = (0..=u16::MAX).filter(|id| ranges.contains(*id)).collect();
        assert_eq!(found, [2, 5, 6, 7, 8, 9, u16::MAX]);
        assert!(!Ranges::default().contains(0));
    }
}
