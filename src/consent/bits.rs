//! Reading IAB consent strings bit by bit: the 64-letter alphabet, fields, vendor ranges,
//! Fibonacci numbers.
//!
//! Nothing here expands a range: sixty bits can name sixty thousand vendors, and a hundred of them
//! are a denial of service. Ranges stay pairs, so time and memory are linear in the text, which is
//! capped; [`Work`] counts both. Ordinary base64 decoders are not used: they refuse lengths and
//! tails that consent platforms really write.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

/// The longest text that is read: the longest sane TC string has 13 KB.
pub const MAX_BYTES: usize = 16 * 1024;

/// Why a signal could not be read. It never repeats the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Unreadable {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// Over [`MAX_BYTES`].
    #[error("it is longer than 16 KiB")]
    TooLong,
    /// A character that the format does not know.
    #[error("it has a character that the format does not know")]
    Alphabet,
    /// The end came too early.
    #[error("it ends in the middle of a field")]
    Truncated,
    /// A version, or a kind of string, that is not known here.
    #[error("its version is not known")]
    Version,
    /// Something follows the last field.
    #[error("something follows its last field")]
    Trailing,
    /// A vendor id or range that cannot be.
    #[error("an id or a range in it is out of bounds")]
    Range,
    /// A segment that is repeated, missing, out of place or not known.
    #[error("a segment is repeated, missing, out of place or not known")]
    Segment,
    /// The header announces another number of sections than there are.
    #[error("its header announces another number of sections")]
    Count,
    /// A section whose layout is not known here.
    #[error("the section's id is not known")]
    UnknownSection,
    /// A field has a value outside its list.
    #[error("a field has a value outside its list")]
    Value,
    /// Not in the form that its maker writes.
    #[error("it is not in the form that its maker writes")]
    Form,
}

impl Unreadable {
    /// The code on the wire.
    pub fn code(self) -> &'static str {
        match self {
            Unreadable::Empty => "empty",
            Unreadable::TooLong => "too_long",
            Unreadable::Alphabet => "alphabet",
            Unreadable::Truncated => "truncated",
            Unreadable::Version => "version",
            Unreadable::Trailing => "trailing",
            Unreadable::Range => "range",
            Unreadable::Segment => "segment",
            Unreadable::Count => "count",
            Unreadable::UnknownSection => "unknown_section",
            Unreadable::Value => "value",
            Unreadable::Form => "form",
        }
    }
}

/// What reading a text cost. Both numbers are linear in its length, which a property holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Characters and fields that were looked at.
    pub steps: usize,
    /// Bytes that were put into lists, freed or not.
    pub bytes: usize,
}

/// Checks the length and undoes the escapes that a dot and a tilde get in URLs.
pub(super) fn text(raw: &str) -> Result<Cow<'_, str>, Unreadable> {
    match raw.len() {
        0 => return Err(Unreadable::Empty),
        1..=MAX_BYTES => {}
        _ => return Err(Unreadable::TooLong),
    }
    if !raw.contains('%') {
        return Ok(Cow::Borrowed(raw));
    }
    let dots = raw.replace("%2E", ".").replace("%2e", ".");
    Ok(Cow::Owned(dots.replace("%7E", "~").replace("%7e", "~")))
}

/// A cursor over the bits of one segment, most significant first.
#[derive(Debug)]
pub(super) struct Bits<'w> {
    words: Vec<u64>,
    end: usize,
    at: usize,
    work: &'w mut Work,
}

impl<'w> Bits<'w> {
    /// Unpacks base64url without padding (RFC 4648 table 2), six bits a character.
    pub(super) fn new(text: &str, work: &'w mut Work) -> Result<Self, Unreadable> {
        let mut words = Vec::with_capacity(text.len() * 6 / 64 + 1);
        // The bits that do not fill a word yet are the lowest `held` bits of `word`.
        let (mut word, mut held) = (0_u64, 0_u32);
        for byte in text.bytes() {
            let sextet = u64::from(sextet(byte).ok_or(Unreadable::Alphabet)?);
            let room = 64 - held;
            if room > 6 {
                word = word << 6 | sextet;
                held += 6;
            } else {
                held = 6 - room;
                words.push(word << room | sextet >> held);
                word = sextet & ((1 << held) - 1);
            }
        }
        if held > 0 {
            words.push(word << (64 - held));
        }
        work.steps += text.len();
        work.bytes += words.capacity() * size_of::<u64>();
        Ok(Bits { words, end: text.len() * 6, at: 0, work })
    }

    /// The next 64 bits, zeros beyond the end.
    fn window(&self) -> u64 {
        let word = |i| self.words.get(i).copied().unwrap_or(0);
        let (first, shift) = (self.at / 64, self.at % 64);
        match shift {
            0 => word(first),
            _ => word(first) << shift | word(first + 1) >> (64 - shift),
        }
    }

    /// Takes an unsigned number of at most 64 bits.
    pub(super) fn take(&mut self, bits: usize) -> Result<u64, Unreadable> {
        self.work.steps += 1;
        if bits > self.end - self.at {
            return Err(Unreadable::Truncated);
        }
        let window = self.window();
        self.at += bits;
        Ok(if bits == 0 { 0 } else { window >> (64 - bits.min(64)) })
    }

    /// Takes one bit.
    pub(super) fn flag(&mut self) -> Result<bool, Unreadable> {
        Ok(self.take(1)? == 1)
    }

    /// Takes a number of at most 8 bits.
    pub(super) fn small(&mut self, bits: usize) -> Result<u8, Unreadable> {
        u8::try_from(self.take(bits)?).map_err(|_| Unreadable::Value)
    }

    /// Takes a number of at most 16 bits.
    pub(super) fn number(&mut self, bits: usize) -> Result<u16, Unreadable> {
        u16::try_from(self.take(bits)?).map_err(|_| Unreadable::Value)
    }

    /// Takes a field of up to 63 bits whose first bit is id 1.
    pub(super) fn ids(&mut self, bits: usize) -> Result<Ids, Unreadable> {
        let value = self.take(bits)?;
        Ok(Ids(if bits == 0 { 0 } else { value.reverse_bits() >> (64 - bits.min(64)) }))
    }

    /// Takes two letters, A = 0.
    pub(super) fn letters(&mut self) -> Result<String, Unreadable> {
        let mut letter = || match self.small(6)? {
            n @ 0..26 => Ok(char::from(b'A' + n)),
            _ => Err(Unreadable::Value),
        };
        Ok(String::from_iter([letter()?, letter()?]))
    }

    /// Takes a Fibonacci number: weights 1, 2, 3, 5, 8 … from the least, then an extra one.
    pub(super) fn fibonacci(&mut self) -> Result<u16, Unreadable> {
        // Twenty bits are far beyond the largest id that is accepted.
        const MAX_BITS: usize = 20;
        const MAX: u16 = 4095;
        let (mut sum, mut weight, mut next, mut last) = (0_u16, 1_u16, 2_u16, false);
        for _ in 0..MAX_BITS {
            let bit = self.flag()?;
            if bit && last {
                return if sum <= MAX { Ok(sum) } else { Err(Unreadable::Range) };
            }
            if bit {
                sum = sum.saturating_add(weight);
            }
            last = bit;
            (weight, next) = (next, weight.saturating_add(next));
        }
        Err(Unreadable::Range)
    }

    /// Takes `count` bits as a set in which the first bit is id 1.
    pub(super) fn bitfield(&mut self, count: u16) -> Result<Ranges, Unreadable> {
        let end = self.at + usize::from(count);
        if end > self.end {
            return Err(Unreadable::Truncated);
        }
        let mut ranges = Ranges::default();
        // Runs are found a word at a time; `id` is that of the bit at the cursor.
        let mut id = 1;
        while self.at < end {
            self.work.steps += 1;
            let zeros = run(self.window().leading_zeros(), end - self.at);
            self.at += usize::from(zeros);
            id += u32::from(zeros);
            let ones = run(self.window().leading_ones(), end - self.at);
            if ones > 0 {
                let last = id + u32::from(ones) - 1;
                ranges.append(id16(id)?, id16(last)?, self.work);
                self.at += usize::from(ones);
                id = last + 1;
            }
        }
        Ok(ranges)
    }

    /// Takes entries of ids and of inclusive ranges of at most `max`.
    pub(super) fn entries(&mut self, max: u16) -> Result<Ranges, Unreadable> {
        let count = self.take(12)?;
        let mut ranges = Ranges::default();
        for _ in 0..count {
            let is_range = self.flag()?;
            let start = self.number(16)?;
            let end = if is_range { self.number(16)? } else { start };
            if start == 0 || start > end || end > max {
                return Err(Unreadable::Range);
            }
            ranges.append(start, end, self.work);
        }
        ranges.tidy();
        Ok(ranges)
    }

    /// Takes Fibonacci entries: each the distance from the last id, then for a group its length.
    pub(super) fn fibonacci_entries(&mut self, max: u16) -> Result<Ranges, Unreadable> {
        let count = self.take(12)?;
        let (mut ranges, mut last) = (Ranges::default(), 0_u16);
        for _ in 0..count {
            let is_group = self.flag()?;
            let start = self.beyond(last, max)?;
            last = if is_group { self.beyond(start, max)? } else { start };
            ranges.append(start, last, self.work);
        }
        Ok(ranges)
    }

    fn beyond(&mut self, last: u16, max: u16) -> Result<u16, Unreadable> {
        let id = last.checked_add(self.fibonacci()?).ok_or(Unreadable::Range)?;
        if id <= max { Ok(id) } else { Err(Unreadable::Range) }
    }

    /// Whether only padding is left: writers fill up to 6, 8 then 6, or 24 bits with zeros.
    pub(super) fn finish(&mut self) -> Result<(), Unreadable> {
        let left = self.end - self.at;
        if left < 24 && self.take(left)? == 0 { Ok(()) } else { Err(Unreadable::Trailing) }
    }

    /// What else was counted, for callers with more than one segment.
    pub(super) fn work(&mut self) -> &mut Work {
        self.work
    }
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

/// A run of bits within what is left; a window has at most 64.
fn run(found: u32, left: usize) -> u8 {
    u8::try_from(found).unwrap_or(64).min(u8::try_from(left).unwrap_or(u8::MAX))
}

fn id16(id: u32) -> Result<u16, Unreadable> {
    u16::try_from(id).map_err(|_| Unreadable::Range)
}

/// A set of ids up to 64, such as purposes. Written as a list: `[1, 7]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ids(u64);

impl Ids {
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
    fn append(&mut self, start: u16, end: u16, work: &mut Work) {
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
    fn tidy(&mut self) {
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

    fn text_of(bits: &str) -> String {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let padded = format!("{bits:0<width$}", width = bits.len().div_ceil(6) * 6);
        (0..padded.len() / 6)
            .map(|i| u8::from_str_radix(&padded[6 * i..6 * i + 6], 2).unwrap())
            .map(|n| char::from(letters[usize::from(n)]))
            .collect()
    }

    #[test]
    fn fields_cross_words() {
        let mut work = Work::default();
        let bits = "0".repeat(60) + "1111000011" + &"01".repeat(40);
        let mut bits = Bits::new(&text_of(&bits), &mut work).unwrap();
        assert_eq!(bits.take(60), Ok(0));
        assert_eq!(bits.take(10), Ok(0b11_1100_0011));
        assert_eq!(bits.take(64), Ok(0x5555_5555_5555_5555));
        assert_eq!(bits.take(16), Ok(0x5555));
        assert_eq!(bits.take(64), Err(Unreadable::Truncated));
    }

    #[test]
    fn fibonacci_numbers_by_the_specification() {
        for (code, number) in [
            ("11", 1),
            ("011", 2),
            ("0011", 3),
            ("1011", 4),
            ("00011", 5),
            ("10011", 6),
            ("01011", 7),
        ] {
            let mut work = Work::default();
            let mut bits = Bits::new(&text_of(code), &mut work).unwrap();
            assert_eq!(bits.fibonacci(), Ok(number), "{code}");
        }
        for (code, error) in [
            ("000000", Unreadable::Truncated),
            ("000000000000000000000011", Unreadable::Range),
            ("000000000000000000011", Unreadable::Range),
        ] {
            let mut work = Work::default();
            let mut bits = Bits::new(&text_of(code), &mut work).unwrap();
            assert_eq!(bits.fibonacci(), Err(error), "{code}");
        }
    }

    #[test]
    fn a_bitfield_becomes_ranges_across_words() {
        let field = format!("1{}{}1", "0".repeat(70), "1".repeat(140));
        let mut work = Work::default();
        let mut bits = Bits::new(&text_of(&field), &mut work).unwrap();
        let ranges = bits.bitfield(212).unwrap();
        assert_eq!(ranges.pairs(), [(1, 1), (72, 212)]);
        assert!(ranges.contains(1) && ranges.contains(72) && ranges.contains(212));
        assert!(!ranges.contains(0) && !ranges.contains(71) && !ranges.contains(213));
    }

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
    fn only_padding_may_follow() {
        for (bits, expected) in [
            ("100000", Ok(())),
            ("1", Ok(())),
            ("110000", Err(Unreadable::Trailing)),
            (&*format!("1{}", "0".repeat(23)), Ok(())),
            (&*format!("1{}", "0".repeat(29)), Err(Unreadable::Trailing)),
        ] {
            let mut work = Work::default();
            let mut reader = Bits::new(&text_of(bits), &mut work).unwrap();
            reader.take(1).unwrap();
            assert_eq!(reader.finish(), expected, "{bits}");
        }
    }
}
