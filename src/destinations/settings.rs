//! A destination's own settings, as its platform's `configure` sees them: parsed, secrets resolved.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::BatchLimits;

/// A key that a platform understands.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: KeyKind,
    /// What it means, for `check` and `init`.
    pub help: &'static str,
}

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// A string (or a number, read as one).
    Text,
    /// The same, where it says whose account, pixel or address events go to: another one is another
    /// recipient, and nobody approved that.
    Recipient,
    /// A reference to a secret.
    Secret,
    /// true or false.
    Bool,
    /// A whole number.
    Number,
    /// A table or list of the platform's own shape.
    Any,
}

impl Key {
    /// A key with what it takes and means.
    pub const fn new(name: &'static str, kind: KeyKind, help: &'static str) -> Self {
        Self { name, kind, help }
    }

    /// The same, with what it means for one platform.
    pub(super) const fn meaning(self, help: &'static str) -> Self {
        Self { help, ..self }
    }
}

/// A problem of one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path below the destination's section (`dataset_id`), or of an entry (`events.NAME`).
    pub path: String,
    /// What was expected, and what to do.
    pub message: String,
}

impl Problem {
    /// Writes a problem.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// What the relay, or a destination, does with what it would send. Ordered by what leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Mapped, checked, counted, never sent. Only for a destination.
    Shadow,
    /// Everything goes to the embedded sandbox. Only for the relay.
    Sandbox,
    /// To the platforms' test modes.
    Test,
    /// For real.
    Live,
}

impl Mode {
    /// The name in configuration.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Shadow => "shadow",
            Mode::Sandbox => "sandbox",
            Mode::Test => "test",
            Mode::Live => "live",
        }
    }
}

/// A destination's settings.
#[derive(Debug)]
pub struct Settings {
    /// The destination's name.
    pub name: String,
    /// The platform's keys, without secrets.
    pub table: toml::Table,
    /// The platform's secrets, by key.
    pub secrets: BTreeMap<String, SecretString>,
    /// Base URL: the vendor's, or `endpoint`.
    pub endpoint: String,
    /// Base URL of the token service: the vendor's, or `token_endpoint`.
    pub token_endpoint: String,
    /// The destination's mode.
    pub mode: Mode,
    /// Its entries by plan event: `None` for `true` (the platform's own name for the event), a
    /// name, or a table without `value` and `currency`.
    pub entries: BTreeMap<String, Vec<Entry>>,
}

/// What `events.toml` says of one plan event for one destination.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// `true`: the platform's standard name for this event's name.
    Standard,
    /// The platform's event name.
    Name(String),
    /// The platform's own keys.
    Table(toml::Table),
}

impl Settings {
    /// A text (numbers are read as text); `None` if absent.
    pub fn text(&self, key: &str) -> Option<String> {
        match self.table.get(key)? {
            toml::Value::String(text) => Some(text.clone()),
            toml::Value::Integer(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// A required text, or a problem that names it.
    pub fn required_text(&self, key: &str, problems: &mut Vec<Problem>) -> String {
        self.text(key).filter(|text| !text.is_empty()).unwrap_or_else(|| {
            problems.push(Problem::new(key, "is missing"));
            String::new()
        })
    }

    /// A secret; `None` if absent.
    pub fn secret(&self, key: &str) -> Option<SecretString> {
        self.secrets.get(key).cloned()
    }

    /// A required secret, or a problem that names it.
    pub fn required_secret(&self, key: &str, problems: &mut Vec<Problem>) -> SecretString {
        self.secret(key).unwrap_or_else(|| {
            let message = "is missing; write it as { env = \"NAME\" } or { file = \"path\" }";
            problems.push(Problem::new(key, message));
            SecretString::from(String::new())
        })
    }

    /// true or false; what `default` says if absent.
    pub(super) fn flag(&self, key: &str, default: bool) -> bool {
        self.table.get(key).and_then(toml::Value::as_bool).unwrap_or(default)
    }

    /// What one of these words stands for, or a problem that lists them; the default's if absent.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &str,
        default: (&str, T),
        others: &[(&str, T)],
        problems: &mut Vec<Problem>,
    ) -> T {
        if !self.table.contains_key(key) {
            return default.1;
        }
        let written = self.text(key);
        let words = || std::iter::once(&default).chain(others);
        let chosen = words().find(|(word, _)| written.as_deref() == Some(word));
        chosen.map_or_else(
            || {
                let words: Vec<String> = words().map(|(word, _)| format!("{word:?}")).collect();
                problems.push(Problem::new(key, format!("must be {}", words.join(" or "))));
                default.1
            },
            |(_, meaning)| *meaning,
        )
    }

    /// A whole number within a range, or a problem that names it; the default if absent.
    pub(super) fn whole(
        &self,
        key: &str,
        default: usize,
        range: RangeInclusive<usize>,
        problems: &mut Vec<Problem>,
    ) -> usize {
        let Some(value) = self.table.get(key) else { return default };
        let number = value.as_integer().and_then(|number| usize::try_from(number).ok());
        number.filter(|number| range.contains(number)).unwrap_or_else(|| {
            let message = format!("must be a number from {} to {}", range.start(), range.end());
            problems.push(Problem::new(key, message));
            default
        })
    }

    /// What a request can hold, with a size of the settings' own (`batch_bytes`) where the vendor
    /// documents none.
    pub(super) fn batch(&self, limits: BatchLimits, problems: &mut Vec<Problem>) -> BatchLimits {
        let bytes = self.whole("batch_bytes", limits.bytes, 10_000..=10_000_000, problems);
        BatchLimits { bytes, ..limits }
    }

    /// Texts of a list, none if absent; a problem where it is something else.
    pub(super) fn texts(&self, key: &str, problems: &mut Vec<Problem>) -> Vec<String> {
        let texts = match self.table.get(key) {
            None => return Vec::new(),
            Some(toml::Value::Array(items)) => {
                items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<_>>()
            }
            Some(_) => None,
        };
        texts.unwrap_or_else(|| {
            problems.push(Problem::new(key, "must be a list of texts"));
            Vec::new()
        })
    }

    /// A number of days from 1 to 400, or a problem that names it; the default if absent.
    pub(super) fn days(
        &self,
        key: &str,
        default: Duration,
        problems: &mut Vec<Problem>,
    ) -> Duration {
        match self.table.get(key).map(toml::Value::as_integer) {
            None => default,
            Some(Some(number @ 1..=400)) => days(number.unsigned_abs()),
            Some(_) => {
                problems.push(Problem::new(key, "must be a number from 1 to 400"));
                default
            }
        }
    }

    /// The platform's name of each entry: as written, as `name` of a table, or for `true` what
    /// `standard` says of the plan event. Adds a problem for each that has none, or that `refuse`
    /// objects to.
    pub(super) fn entry_names(
        &self,
        standard: fn(&str) -> Option<String>,
        refuse: fn(&str) -> Option<String>,
        problems: &mut Vec<Problem>,
    ) -> Names {
        let mut names = Names::default();
        for (event, entries) in &self.entries {
            let path = || format!("events.{event}");
            let mut list = Vec::with_capacity(entries.len());
            for entry in entries {
                let written = match entry {
                    Entry::Standard => None,
                    Entry::Name(name) => Some(name.clone()),
                    Entry::Table(table) => match table.get("name") {
                        None => None,
                        Some(toml::Value::String(name)) => Some(name.clone()),
                        Some(_) => {
                            problems.push(Problem::new(path(), "name must be a string"));
                            Some(String::new())
                        }
                    },
                };
                let name = written.or_else(|| standard(event)).unwrap_or_else(|| {
                    let message = "has no standard name at the platform; write the name it should \
                                   be sent under";
                    problems.push(Problem::new(path(), message));
                    String::new()
                });
                if let Some(objection) = refuse(&name) {
                    problems.push(Problem::new(path(), objection));
                } else if name.is_empty() && problems.last().is_none_or(|p| p.path != path()) {
                    problems.push(Problem::new(path(), "the name must not be empty"));
                }
                list.push(name);
            }
            names.0.insert(event.clone(), list);
        }
        names
    }
}

/// So many days.
pub(super) const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}

/// The platform's event names, by plan event and entry.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(BTreeMap<String, Vec<String>>);

impl Names {
    /// Every plan event with each of its names.
    pub(super) fn iter<'a>(&'a self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let each = |(event, names): (&'a String, &'a Vec<String>)| {
            names.iter().map(move |name| (event.as_str(), name.as_str()))
        };
        self.0.iter().flat_map(each)
    }

    /// Today's name for a plan event's entry.
    pub(super) fn get(&self, event: &str, entry: u16) -> Option<&str> {
        self.0.get(event)?.get(usize::from(entry)).map(String::as_str)
    }
}
