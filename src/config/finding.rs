//! What is wrong with a configuration, or probably not meant: with its place, and how to mend it.
//!
//! Findings are collected, never thrown: one run of `check` tells all of them. A message never
//! carries a secret.

use std::{cell::RefCell, fmt};

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// Legal, but probably not what was meant.
    Warning,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// The file, with the folder as it was given.
    pub file: String,
    /// The line, counted from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// The dotted path of the key; empty where there is none.
    pub path: String,
    /// What was found, what was expected, and what to do.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.severity {
            Severity::Error => "error: ",
            Severity::Warning => "warning: ",
        })?;
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// See [`Finding::file`].
    pub(super) file: String,
    /// See [`Finding::line`].
    pub(super) line: usize,
    /// See [`Finding::path`].
    pub(super) path: String,
}

impl Place {
    /// The place of a whole file.
    pub(super) fn of_file(file: &str) -> Self {
        Self { file: file.to_owned(), line: 0, path: String::new() }
    }

    /// The path of something below this place, on the same line until it is known better.
    pub(super) fn below(&self, key: &str) -> Self {
        Self { path: join(&self.path, key), ..self.clone() }
    }
}

/// Appends a key to a dotted path, quoted where TOML would have to quote it.
pub(super) fn join(path: &str, key: &str) -> String {
    let bare =
        !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// Collects findings while everything is read. One thread reads a configuration.
#[derive(Debug, Default)]
pub(super) struct Report(RefCell<Vec<Finding>>);

impl Report {
    /// Notes what makes the configuration unusable.
    pub(super) fn error(&self, place: &Place, message: impl Into<String>) {
        self.add(Severity::Error, place, &message.into());
    }

    /// Notes what is probably not meant.
    pub(super) fn warning(&self, place: &Place, message: impl Into<String>) {
        self.add(Severity::Warning, place, &message.into());
    }

    fn add(&self, severity: Severity, place: &Place, message: &str) {
        let Place { file, line, path } = place.clone();
        // One finding is one line, whatever a parser has to say.
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        let finding = Finding { severity, file, line, path, message };
        let mut findings = self.0.borrow_mut();
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }

    /// Whether there is an error so far.
    pub(super) fn has_errors(&self) -> bool {
        self.0.borrow().iter().any(|finding| finding.severity == Severity::Error)
    }

    /// All findings: those of the given files in their order, then those of others, each by line.
    pub(super) fn into_findings(self, files: &[String]) -> Vec<Finding> {
        let mut findings = self.0.into_inner();
        findings.sort_by_key(|finding| {
            let file = files.iter().position(|file| *file == finding.file);
            (file.unwrap_or(files.len()), finding.line, finding.severity)
        });
        findings
    }
}

/// The name that was probably meant.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wrong.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        // A third of the letters may be wrong; more is another word.
        .filter(|(distance, name)| *distance <= (wrong.len().max(name.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `; did you mean "NAME"?`, or the names that there are, so that every refusal says how to go on.
pub(super) fn suggest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(name) = nearest(wrong, known.clone()) {
        return format!("; did you mean {name:?}?");
    }
    // A destination may be called as its platform.
    let mut names: Vec<&str> = Vec::new();
    for name in known {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match names.len() {
        0 => "; there is none".to_owned(),
        _ => format!("; known here: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        assert_eq!(nearest("kynd", ["from", "kind", "when"]), Some("kind"));
        assert_eq!(nearest("KIND", ["kind"]), Some("kind"));
        assert_eq!(nearest("zebra", ["kind"]), None);
        assert_eq!(suggest("zebra", ["kind", "from"]), "; known here: kind, from");
    }

    #[test]
    fn a_finding_reads_as_the_interface_says() {
        let place = Place { file: "config/events.toml".into(), line: 12, path: String::new() };
        let report = Report::default();
        let place = place.below("events").below("begin_checkout").below("kynd");
        report.error(&place, "unknown key; did you mean \"kind\"?");
        let findings = report.into_findings(&[]);
        assert_eq!(
            findings[0].to_string(),
            "error: config/events.toml:12: events.begin_checkout.kynd: unknown key; did you mean \"kind\"?"
        );
    }

    #[test]
    fn a_key_that_toml_quotes_is_quoted() {
        assert_eq!(join("events", "Checkout Started"), "events.\"Checkout Started\"");
    }
}
