//! What is known of an admin token: its hash. The token itself is forgotten as soon as it is read.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// SHA-256 of a token. Fit for random tokens (`openssl rand -base64 32`), which nobody guesses; a
/// word that people choose would be found from its hash.
#[derive(Clone)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token in clear.
    pub fn of(token: &SecretString) -> Self {
        Self(Sha256::digest(token.expose_secret().as_bytes()).into())
    }

    /// A hash as `sha256sum` prints it: 64 hex digits.
    pub fn parse(hex: &str) -> Option<Self> {
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).ok().filter(|p| !p.starts_with('+'))?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Self(hash))
    }

    /// Whether a token is the one, in a time that tells nothing. An empty one never is: it would be
    /// a door without a lock.
    pub fn is_of(&self, given: &str) -> bool {
        let given_hash: [u8; 32] = Sha256::digest(given.as_bytes()).into();
        bool::from(self.0.ct_eq(&given_hash)) && !given.is_empty()
    }

    /// Whether two are of one token.
    pub fn is_same(&self, other: &Self) -> bool {
        bool::from(self.0.ct_eq(&other.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl From<String> for TokenHash {
    fn from(token: String) -> Self {
        Self::of(&SecretString::from(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash_alone() {
        let hash = TokenHash::from("op-token".to_owned());
        assert!(hash.is_of("op-token") && !hash.is_of("op-toke") && !hash.is_of(""));
        for wrong in ["", "6d6c", &"g".repeat(64), &"+1".repeat(32), &"é".repeat(32)] {
            assert!(TokenHash::parse(wrong).is_none(), "{wrong}");
        }
        // SHA-256 of "abc" (FIPS 180-2, B.1).
        let abc = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";
        let abc = TokenHash::parse(abc).unwrap();
        assert!(abc.is_of("abc") && !abc.is_same(&hash));
        assert!(!TokenHash::from(String::new()).is_of(""), "no door without a lock");
        assert_eq!(format!("{hash:?}"), "[REDACTED]");
    }
}
