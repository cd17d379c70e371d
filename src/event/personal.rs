//! Text about a person: never printed, never serialised, read only through an explicit word.

use std::fmt;

use zeroize::Zeroize;

/// A text that may identify a person. `Debug` is redacted, there is no `Display` and no
/// `Serialize`: it can reach neither a log nor the disk unless somebody writes [`Personal::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Personal(String);

impl Personal {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text in clear.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[personal]")
    }
}

impl Drop for Personal {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
