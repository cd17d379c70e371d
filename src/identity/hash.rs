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
    /// As it is sent.
    pub fn hex(&self) -> String {
        let mut hex = String::with_capacity(72);
        for byte in self.bytes {
            use std::fmt::Write as _;
            let _ = write!(hex, "{byte:02x}");
        }
        if let Some(appendix) = &self.appendix {
            hex.push_str(appendix);
        }
        hex
    }
}

/// Recognises an SHA-256 that the sender already made: 64 hex digits in any case, trimmed, with
/// an optional appendix of 2 or 8 characters after a dot.
pub fn recognise_hash(text: &str) -> Option<Digest> {
    let _ = text;
    unimplemented!()
}
