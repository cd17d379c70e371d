//! Reading IAB consent strings bit by bit: the 64-letter alphabet, fields, vendor lists, Fibonacci
//! numbers.
//!
//! Nothing here expands a range: sixty bits can name sixty thousand vendors, and a hundred of them
//! are a denial of service. Ranges stay pairs, so time and memory are linear in the text, which is
//! capped; [`Work`] counts both. Ordinary base64 decoders are not used: they refuse lengths and
//! tails that consent platforms really write.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::ids::{Ids, Ranges};

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

/// Whether a macro of an ad server was left as it stands, `${GDPR_CONSENT_755}`: nobody filled it,
/// so that nothing was sent.
pub fn is_unfilled_macro(text: &str) -> bool {
    text.starts_with("${")
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
    /// The bits, then eight bytes of zeros, so that a window never ends beyond them.
    bytes: Vec<u8>,
    end: usize,
    at: usize,
    work: &'w mut Work,
}

/// How many bits of a window are sure to be there wherever it begins.
const WINDOW: usize = 56;

impl<'w> Bits<'w> {
    /// Unpacks base64url without padding (RFC 4648 table 2), six bits a character.
    pub(super) fn new(text: &str, work: &'w mut Work) -> Result<Self, Unreadable> {
        let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 12);
        // What is no letter has high bits, which stay visible in the sum of all.
        let mut seen = 0;
        for four in text.as_bytes().chunks(4) {
            let mut word = 0_u32;
            for byte in four {
                let sextet = SEXTETS.get(usize::from(*byte)).copied().unwrap_or(NO_LETTER);
                seen |= sextet;
                word = word << 6 | u32::from(sextet & 63);
            }
            let [_, a, b, c] = (word << (6 * (4 - four.len()))).to_be_bytes();
            bytes.extend_from_slice(&[a, b, c]);
        }
        if seen & NO_LETTER != 0 {
            return Err(Unreadable::Alphabet);
        }
        bytes.extend_from_slice(&[0; 8]);
        work.steps += text.len();
        work.bytes += bytes.capacity();
        Ok(Bits { bytes, end: text.len() * 6, at: 0, work })
    }

    /// The next bits, at least [`WINDOW`] of them, from the most significant down.
    fn window(&self) -> u64 {
        let rest = self.bytes.get(self.at / 8..).and_then(|rest| rest.first_chunk());
        u64::from_be_bytes(*rest.unwrap_or(&[0; 8])) << (self.at % 8)
    }

    /// Takes an unsigned number of at most [`WINDOW`] bits.
    pub(super) fn take(&mut self, bits: usize) -> Result<u64, Unreadable> {
        self.work.steps += 1;
        if bits > self.end - self.at {
            return Err(Unreadable::Truncated);
        }
        let taken = self.window() & top(bits);
        self.at += bits;
        Ok(taken.rotate_left(u32::try_from(bits).unwrap_or(0)))
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
        let mut ids = 0;
        let (mut left, mut place) = (bits, 0);
        while left > 0 {
            let width = left.min(WINDOW);
            ids |= (self.take(width)?.reverse_bits() >> (64 - width)) << place;
            (left, place) = (left - width, place + width);
        }
        Ok(Ids::of(ids))
    }

    /// Takes two letters, A = 0.
    pub(super) fn letters(&mut self) -> Result<Letters, Unreadable> {
        let mut letter = || match self.small(6)? {
            n @ 0..26 => Ok(char::from(b'A' + n)),
            _ => Err(Unreadable::Value),
        };
        Ok(Letters([letter()?, letter()?]))
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
        let mut left = usize::from(count);
        if left > self.end - self.at {
            return Err(Unreadable::Truncated);
        }
        let mut words = Vec::with_capacity(left.div_ceil(32));
        while left > 0 {
            let width = left.min(32);
            let word = self.take(width)? << (32 - width);
            words.push(u32::try_from(word).map_err(|_| Unreadable::Value)?);
            left -= width;
        }
        self.work.bytes += words.capacity() * size_of::<u32>();
        Ok(Ranges::of_bits(words))
    }

    /// Takes entries of ids and of inclusive ranges of at most `max`.
    pub(super) fn entries(&mut self, max: u16) -> Result<Ranges, Unreadable> {
        let count = self.take(12)?;
        let mut pairs = Vec::new();
        for _ in 0..count {
            let is_range = self.flag()?;
            let start = self.number(16)?;
            let end = if is_range { self.number(16)? } else { start };
            if start == 0 || start > end || end > max {
                return Err(Unreadable::Range);
            }
            self.push(&mut pairs, (start, end));
        }
        Ok(Ranges::of_pairs(pairs))
    }

    /// Takes Fibonacci entries: each the distance from the last id, then for a group its length.
    pub(super) fn fibonacci_entries(&mut self, max: u16) -> Result<Ranges, Unreadable> {
        let count = self.take(12)?;
        let (mut pairs, mut last) = (Vec::new(), 0_u16);
        for _ in 0..count {
            let is_group = self.flag()?;
            let start = self.beyond(last, max)?;
            last = if is_group { self.beyond(start, max)? } else { start };
            self.push(&mut pairs, (start, last));
        }
        Ok(Ranges::of_pairs(pairs))
    }

    fn push(&mut self, pairs: &mut Vec<(u16, u16)>, pair: (u16, u16)) {
        // Lists grow by doubling, so twice the pair is what one costs.
        self.work.bytes += 2 * size_of::<(u16, u16)>();
        pairs.push(pair);
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

/// The value of what is no letter of the alphabet.
const NO_LETTER: u8 = 64;

/// The value of every byte as a letter of the alphabet.
#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler, by a byte into 256 places")]
const SEXTETS: [u8; 256] = {
    let mut table = [NO_LETTER; 256];
    let mut rest: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut value = 0;
    while let [letter, after @ ..] = rest {
        table[*letter as usize] = value;
        (rest, value) = (after, value + 1);
    }
    table
};

/// A mask of the most significant bits.
fn top(bits: usize) -> u64 {
    u64::MAX.checked_shl(64_u32.saturating_sub(u32::try_from(bits).unwrap_or(64))).unwrap_or(0)
}

/// Two capital letters, of a language or a country.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Letters([char; 2]);

impl std::fmt::Display for Letters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Letters([first, second]) = self;
        write!(f, "{first}{second}")
    }
}

impl Serialize for Letters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(bits: &str) -> String {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let six = |six: &[u8]| six.iter().fold(0, |n, bit| n << 1 | usize::from(bit - b'0'));
        let padding = vec![b'0'; bits.len().next_multiple_of(6) - bits.len()];
        [bits.as_bytes(), &padding]
            .concat()
            .chunks(6)
            .map(|bits| char::from(letters[six(bits)]))
            .collect()
    }

    #[test]
    fn fields_cross_words() {
        let mut work = Work::default();
        let bits = "0".repeat(60) + "1111000011" + &"01".repeat(40);
        let mut bits = Bits::new(&text_of(&bits), &mut work).unwrap();
        assert_eq!(bits.take(0), Ok(0));
        assert_eq!(bits.take(53), Ok(0));
        assert_eq!(bits.take(17), Ok(0b11_1100_0011));
        assert_eq!(bits.take(56), Ok(0x55_5555_5555_5555));
        assert_eq!(bits.take(24), Ok(0x55_5555));
        assert_eq!(bits.take(1), Err(Unreadable::Truncated));
        assert_eq!(bits.take(0), Ok(0));
    }

    #[test]
    fn ids_of_any_width() {
        for width in 0..=63_u8 {
            let bits = format!("01{}1", "10".repeat(40));
            let mut work = Work::default();
            let mut reader = Bits::new(&text_of(&bits), &mut work).unwrap();
            reader.take(2).unwrap();
            let ids = reader.ids(usize::from(width)).unwrap();
            assert_eq!(ids.iter().collect::<Vec<_>>(), (1..=width).step_by(2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_letter_and_no_other() {
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut work = Work::default();
        let mut bits = Bits::new(letters, &mut work).unwrap();
        for value in 0..64 {
            assert_eq!(bits.small(6), Ok(value));
        }
        for other in (0..=u8::MAX).map(char::from).filter(|c| !letters.contains(*c)) {
            for text in [format!("{other}"), format!("AAAA{other}AA"), format!("AAA{other}")] {
                let mut work = Work::default();
                assert_eq!(Bits::new(&text, &mut work).err(), Some(Unreadable::Alphabet), "{text}");
            }
        }
    }

    #[test]
    fn a_bitfield_of_every_vendor_ends_at_the_last() {
        let mut work = Work::default();
        let all = "1".repeat(65_535);
        let mut bits = Bits::new(&text_of(&all), &mut work).unwrap();
        assert_eq!(*bits.bitfield(u16::MAX).unwrap().pairs(), [(1, u16::MAX)]);
        let second = "01".repeat(32_768);
        let mut bits = Bits::new(&text_of(&second), &mut work).unwrap();
        let ranges = bits.bitfield(u16::MAX).unwrap();
        assert_eq!(ranges.pairs().len(), 32_767);
        assert_eq!(ranges.pairs().last(), Some(&(65_534, 65_534)));
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
        assert_eq!(*ranges.pairs(), [(1, 1), (72, 212)]);
        assert!(ranges.contains(1) && ranges.contains(72) && ranges.contains(212));
        assert!(!ranges.contains(0) && !ranges.contains(71) && !ranges.contains(213));
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
