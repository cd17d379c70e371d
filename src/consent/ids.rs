//! Sets of ids as consent strings have them: purposes in a word, vendors as bits or as ranges.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

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

/// A set of vendor ids, kept as it was sent: bits stay bits and ranges stay ranges, so that a set
/// never takes more room than its text. Written as pairs: `[[1, 3], [755, 755]]`.
#[derive(Debug, Clone)]
pub struct Ranges(Form);

#[derive(Debug, Clone)]
enum Form {
    /// The most significant bit of the first word is id 1.
    Bits(Vec<u32>),
    /// Inclusive, ascending, neither overlapping nor touching.
    Pairs(Vec<(u16, u16)>),
}

impl Ranges {
    /// Words whose most significant bit comes first; that of the first is id 1.
    pub(super) fn of_bits(words: Vec<u32>) -> Self {
        Ranges(Form::Bits(words))
    }

    /// Inclusive ranges. They may come unsorted and overlap: readers of the format make a set of
    /// them.
    pub(super) fn of_pairs(mut pairs: Vec<(u16, u16)>) -> Self {
        if !pairs.is_sorted_by(|(_, end), (start, _)| *end < start.saturating_sub(1)) {
            pairs.sort_unstable();
            pairs.dedup_by(|(start, end), (_, last)| {
                let touches = *start <= last.saturating_add(1);
                if touches {
                    *last = (*last).max(*end);
                }
                touches
            });
        }
        Ranges(Form::Pairs(pairs))
    }

    /// The ids of all these sets.
    pub(super) fn union<'a>(sets: impl Iterator<Item = &'a Ranges>) -> Self {
        let mut pairs = Vec::new();
        for set in sets {
            pairs.extend_from_slice(&set.pairs());
        }
        Ranges::of_pairs(pairs)
    }

    /// Whether an id is in it.
    pub fn contains(&self, id: u16) -> bool {
        let Some(place) = id.checked_sub(1) else { return false };
        match &self.0 {
            Form::Bits(words) => words
                .get(usize::from(place / 32))
                .is_some_and(|word| word << (place % 32) >> 31 == 1),
            Form::Pairs(pairs) => {
                let after = pairs.partition_point(|(start, _)| *start <= id);
                after.checked_sub(1).and_then(|i| pairs.get(i)).is_some_and(|(_, end)| id <= *end)
            }
        }
    }

    /// Whether no id is in it.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Form::Bits(words) => words.iter().all(|word| *word == 0),
            Form::Pairs(pairs) => pairs.is_empty(),
        }
    }

    /// The ids as inclusive ranges, ascending, neither overlapping nor touching.
    pub fn pairs(&self) -> Cow<'_, [(u16, u16)]> {
        let words = match &self.0 {
            Form::Pairs(pairs) => return Cow::Borrowed(pairs),
            Form::Bits(words) => words,
        };
        let mut pairs = Vec::new();
        // Id of the bit before the word, and where the run that reaches into it began.
        let (mut before, mut start) = (0_u32, None);
        for word in words.iter().copied().chain([0]) {
            // Bits that differ from the one before them: where runs begin and end.
            let mut edges = word ^ (word >> 1 | u32::from(start.is_some()) << 31);
            while edges != 0 {
                let offset = edges.leading_zeros();
                edges ^= 1 << 31 >> offset;
                // An id at which a run begins is sent in 16 bits; one at which it ended is one more.
                let id = before + offset;
                match start.take() {
                    None => start = Some(id + 1),
                    Some(start) => pairs.push((id16(start), id16(id))),
                }
            }
            before += 32;
        }
        Cow::Owned(pairs)
    }
}

/// Ids were sent in 16 bits.
fn id16(id: u32) -> u16 {
    u16::try_from(id).unwrap_or(u16::MAX)
}

impl Default for Ranges {
    fn default() -> Self {
        Ranges(Form::Pairs(Vec::new()))
    }
}

impl PartialEq for Ranges {
    /// The same ids, however they were sent.
    fn eq(&self, other: &Ranges) -> bool {
        self.pairs() == other.pairs()
    }
}

impl Eq for Ranges {}

impl Serialize for Ranges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.pairs().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsorted_and_overlapping_ranges_make_one_set() {
        let ranges = Ranges::of_pairs(vec![(5, 9), (1, 2), (8, 12), (3, 3), (20, 20), (20, 20)]);
        assert_eq!(*ranges.pairs(), [(1, 3), (5, 12), (20, 20)]);
        let full = Ranges::of_pairs(vec![(1, u16::MAX), (1, 1), (u16::MAX, u16::MAX)]);
        assert_eq!(*full.pairs(), [(1, u16::MAX)]);
    }

    #[test]
    fn an_id_is_found_in_its_range_only() {
        let pairs = vec![(2, 2), (5, 9), (31, 33), (64, 64), (u16::MAX, u16::MAX)];
        let mut words = vec![0_u32; 2048];
        for (start, end) in &pairs {
            for place in start - 1..*end {
                words[usize::from(place / 32)] |= 1 << 31 >> (place % 32);
            }
        }
        let ranges = Ranges::of_pairs(pairs.clone());
        let bits = Ranges::of_bits(words);
        assert_eq!(*bits.pairs(), *pairs);
        assert_eq!(ranges, bits);
        for set in [ranges, bits] {
            let found: Vec<u16> = (0..=u16::MAX).filter(|id| set.contains(*id)).collect();
            assert_eq!(found, [2, 5, 6, 7, 8, 9, 31, 32, 33, 64, u16::MAX]);
            assert!(!set.is_empty());
        }
        assert!(Ranges::default().is_empty() && Ranges::of_bits(vec![0; 9]).is_empty());
    }
}
