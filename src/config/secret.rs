//! Secrets: written as references only, resolved when the relay serves, never needed to check.
//!
//! A reference is `{ env = "NAME" }` or `{ file = "path" }`. Nothing here prints, keeps or compares
//! a secret, and no message repeats what stands where a reference should.

use std::cell::RefCell;

use secrecy::{ExposeSecret, SecretString};

use super::document::Node;

/// What stands for a secret where none is needed; what `explain` shows.
pub const PLACEHOLDER: &str = "[REDACTED]";

/// Whether secrets are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// To serve: each reference must lead to a secret (in sandbox mode a missing environment
    /// variable falls back).
    Resolve,
    /// To check, explain and test: [`PLACEHOLDER`] for each.
    Placeholder,
}

/// A secret that was not there in sandbox mode, and what takes its place. `serve` says it loudly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// The environment variable that is not set; empty where no secret was configured at all.
    pub variable: String,
    /// The dotted path of the key.
    pub path: String,
    /// What takes its place, as a sentence's end (`falls back to "dev-key"`). Never a real secret.
    pub instead: String,
}

impl std::fmt::Display for Fallback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.variable.as_str() {
            "" => write!(f, "{}: {}", self.path, self.instead),
            variable => write!(f, "{}: {variable} is not set: {}", self.path, self.instead),
        }
    }
}

/// What happens in sandbox mode where an environment variable is not set.
#[derive(Debug, Clone, Copy)]
pub(super) enum Missing<'a> {
    /// This constant, which the sandbox knows, takes its place.
    Take(&'a str),
    /// The relay goes without; the text says what that means.
    Without(&'a str),
}

/// Reads references.
pub(super) struct Vault<'a> {
    /// Whether they are resolved.
    pub(super) secrets: Secrets,
    /// Whether the relay is in sandbox mode.
    pub(super) sandbox: bool,
    /// Reads an environment variable.
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// Reads a file, relative to the configuration's folder.
    pub(super) file: &'a dyn Fn(&str) -> std::io::Result<Vec<u8>>,
    /// What fell back.
    pub(super) fallbacks: RefCell<Vec<Fallback>>,
}

impl std::fmt::Debug for Vault<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("secrets", &self.secrets).finish_non_exhaustive()
    }
}

impl Vault<'_> {
    /// Reads one secret. Its reference is validated in every case; `None` where it is wrong (and
    /// reported), or where the relay goes without.
    pub(super) fn read(&self, node: &Node<'_>, missing: Missing<'_>) -> Option<SecretString> {
        let reference = Reference::read(node)?;
        if self.secrets == Secrets::Placeholder {
            return Some(SecretString::from(PLACEHOLDER));
        }
        match reference {
            Reference::Env(name) => match (self.env)(name).filter(|value| !value.is_empty()) {
                Some(value) => Some(SecretString::from(value)),
                None if self.sandbox => self.fall_back(node, name, missing),
                None => {
                    node.error(format!("the environment variable {name} is not set"));
                    None
                }
            },
            Reference::File(path) => match self.text_file(path) {
                Ok(text) if !text.trim_end().is_empty() => {
                    Some(SecretString::from(text.trim_end()))
                }
                Ok(_) => {
                    node.error(format!("the file {path:?} is empty"));
                    None
                }
                Err(error) => {
                    node.error(format!("the file {path:?} cannot be read: {error}"));
                    None
                }
            },
        }
    }

    /// Reads 32 bytes in base64.
    pub(super) fn read_key(&self, node: &Node<'_>, without: &str) -> Option<SecretString> {
        use base64::Engine as _;
        let secret = self.read(node, Missing::Without(without))?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(secret.expose_secret().trim());
        if self.secrets == Secrets::Resolve && bytes.map_or(0, |bytes| bytes.len()) != 32 {
            node.error("expected 32 bytes in base64, as `openssl rand -base64 32` prints them");
            return None;
        }
        Some(secret)
    }

    /// Reads a text file of the configuration's folder.
    pub(super) fn text_file(&self, path: &str) -> std::io::Result<String> {
        String::from_utf8((self.file)(path)?)
            .map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8"))
    }

    /// Notes that something takes the place of what is not there.
    pub(super) fn note(&self, variable: &str, path: &str, instead: String) {
        let fallback = Fallback { variable: variable.to_owned(), path: path.to_owned(), instead };
        self.fallbacks.borrow_mut().push(fallback);
    }

    fn fall_back(&self, node: &Node<'_>, name: &str, missing: Missing<'_>) -> Option<SecretString> {
        match missing {
            Missing::Take(constant) => {
                self.note(name, &node.place().path, format!("falls back to {constant:?}"));
                Some(SecretString::from(constant))
            }
            Missing::Without(what) => {
                self.note(name, &node.place().path, what.to_owned());
                None
            }
        }
    }
}

/// Where a secret is to be had.
#[derive(Debug, Clone, Copy)]
enum Reference<'a> {
    Env(&'a str),
    File(&'a str),
}

impl<'a> Reference<'a> {
    fn read(node: &Node<'a>) -> Option<Self> {
        const FORM: &str = "{ env = \"NAME\" } or { file = \"path\" }";
        if !node.is_table() {
            // Not `expected`, which would repeat the secret that may stand here.
            node.error(format!("a secret is never written here; write {FORM} instead"));
            return None;
        }
        let section = node.section()?;
        let (env, file) = (section.get("env"), section.get("file"));
        let reference = match (env, file) {
            (Some(env), None) => env
                .parse("the name of an environment variable", |name| {
                    let known = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    (!name.is_empty() && name.chars().all(known)).then_some(name)
                })
                .map(Reference::Env),
            (None, Some(file)) => file.text().map(Reference::File),
            _ => {
                node.error(format!("expected {FORM}"));
                None
            }
        };
        section.finish();
        reference
    }
}
