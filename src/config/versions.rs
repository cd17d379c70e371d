//! Versions of APIs end: how long each destination's still works, and what to say of it.
//!
//! Pure: today is an argument. What the vendors have not named has no end here.

use jiff::civil::Date;

use super::{DestinationConfig, Finding, Loaded, Severity};
use crate::destinations::Version;

/// So many days before its end people are warned of a version.
pub const NOTICE_DAYS: i64 = 90;

/// Whole days on which a version still works, after today; negative once it has ended.
pub fn days_left(ends: Date, today: Date) -> i64 {
    i64::from(today.until(ends).map_or(i32::MAX, |span| span.get_days()))
}

/// What there is to say of a destination's version today, if anything.
pub fn notice(destination: &DestinationConfig, today: Date) -> Option<(Severity, String)> {
    let Version { name, since, ends } = destination.version()?;
    let title = destination.platform.title;
    if let Some(since) = since.filter(|since| *since > today) {
        let message = format!(
            "version {name} of {title} is not out before {since}: it is refused until then; set \
             api_version to one that is out (see {})",
            destination.platform.docs
        );
        return Some((Severity::Warning, message));
    }
    let ends = ends?;
    let remedy = if destination.handler.version().is_some() {
        "set api_version to a newer one"
    } else {
        "install a newer relay"
    };
    let docs = destination.platform.docs;
    match days_left(ends, today) {
        left if left < 0 => {
            let message =
                format!("version {name} of {title} ended on {ends}: {remedy} (see {docs})");
            Some((Severity::Error, message))
        }
        left if left <= NOTICE_DAYS => {
            let message = format!(
                "version {name} of {title} ends on {ends}, in {left} days: {remedy} before that \
                 (see {docs})"
            );
            Some((Severity::Warning, message))
        }
        _ => None,
    }
}

impl Loaded {
    /// Adds what there is to say of versions today. One that has ended is an error, with which the
    /// configuration counts as invalid.
    pub fn look_at_versions(&mut self, today: Date) {
        let Some(config) = &self.config else { return };
        let mut has_ended = false;
        for (name, destination) in &config.destinations {
            let Some((severity, message)) = notice(destination, today) else { continue };
            has_ended |= severity == Severity::Error;
            let place = self.places.get(name).cloned().unwrap_or_default();
            let (file, line, path) = (place.file, place.line, place.path);
            self.findings.push(Finding { severity, file, line, path, message });
        }
        if has_ended {
            self.config = None;
        }
    }
}
