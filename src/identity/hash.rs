//! Hashes of normalised text: an SHA-256 is made from a [`Normalized`] only, never from raw text.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Text that went through a [`super::Rule`]; never empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Normalized(pub(super) String);

impl std::fmt::Debug for Normalized {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[normalized]")
    }
}

impl Normalized {
    /// The text in clear.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The text in clear, for what is sent so.
    pub fn into_text(self) -> String {
        self.0
    }

    /// Its SHA-256.
    pub fn digest(&self) -> Digest {
        Digest { bytes: Sha256::digest(self.0.as_bytes()).into(), appendix: None }
    }
}

/// An SHA-256 as it will be sent: 64 lower-case hex digits, and the appendix that one vendor's own
/// library adds to its hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The hash.
    pub bytes: [u8; 32],
    /// `.XXXXXXXX` or `.XX`, passed through untouched.
    pub appendix: Option<String>,
}

impl Digest {
    /// As it is sent: 64 lower-case hex digits, and the appendix if there is one.
    pub fn hex(&self) -> String {
        let digits = self.digits();
        let mut hex = String::with_capacity(64 + 9);
        hex.push_str(std::str::from_utf8(&digits).unwrap_or_default());
        hex.push_str(self.appendix.as_deref().unwrap_or_default());
        hex
    }

    /// The 64 digits, in ASCII.
    pub(crate) fn digits(&self) -> [u8; 64] {
        let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.bytes) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        digits
    }

    /// Whether it was made of no text at all: everybody's who left a form's field empty.
    pub fn is_of_nothing(&self) -> bool {
        self.bytes == OF_NOTHING
    }

    /// Without the appendix, which only its own vendor understands.
    #[must_use]
    pub fn bare(self) -> Self {
        Self { appendix: None, ..self }
    }
}

/// SHA-256 of the empty text (FIPS 180-4).
const OF_NOTHING: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// Recognises an SHA-256 that the sender already made: 64 hex digits in any case, trimmed, with
/// an optional appendix of 2 or 8 characters after a dot (Meta's param builder, v1.2 of 2026-05).
pub fn recognise_hash(text: &str) -> Option<Digest> {
    if text.len() < 64 {
        return None;
    }
    let text = text.trim();
    let (hex, rest) = text.split_at_checked(64)?;
    let appendix = match rest.strip_prefix('.') {
        None if rest.is_empty() => None,
        Some(tail) if matches!(tail.len(), 2 | 8) && tail.bytes().all(is_base64url) => {
            Some(rest.to_owned())
        }
        _ => return None,
    };
    let mut bytes = [0u8; 32];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(Digest { bytes, appendix })
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f";

    #[test]
    fn hashes_are_recognised_in_any_case() {
        for text in [HEX.to_owned(), HEX.to_uppercase(), format!("  {HEX} ")] {
            assert_eq!(recognise_hash(&text).unwrap().hex(), HEX);
        }
        let long = recognise_hash(&format!("{HEX}.AQYCAQAA")).unwrap();
        assert_eq!(long.hex(), format!("{HEX}.AQYCAQAA"));
        assert_eq!(long.bare().hex(), HEX);
        assert_eq!(recognise_hash(&format!("{HEX}.Bg")).unwrap().appendix.as_deref(), Some(".Bg"));
    }

    #[test]
    fn the_hash_of_nothing_is_known() {
        let nothing = Normalized(String::new()).digest();
        assert!(nothing.is_of_nothing());
        assert!(recognise_hash(&nothing.hex().to_uppercase()).unwrap().is_of_nothing());
        assert!(!recognise_hash(HEX).unwrap().is_of_nothing());
    }

    #[test]
    fn what_is_no_hash_is_not_taken_for_one() {
        let short = HEX.get(1..).unwrap();
        for text in [short, "", "jane@example.com", &format!("{HEX}a"), &format!("{HEX}.abc")] {
            assert_eq!(recognise_hash(text), None);
        }
        assert_eq!(recognise_hash(&format!("g{short}")), None);
        assert_eq!(recognise_hash(&"é".repeat(64)), None);
        assert_eq!(recognise_hash(&format!("{}é1", HEX.get(..63).unwrap())), None);
    }
}
