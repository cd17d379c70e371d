//! The report's sentences, for people who read no configuration.

use super::{
    Beyond, More,
    combinations::{Outcome, Row},
    record::Record,
    regions,
};
use crate::{
    consent::{IpForm, ReasonCode, StateKind},
    event::ActionSource,
};

/// A state, as the clause after "when".
pub(super) fn state(kind: StateKind) -> String {
    match kind {
        StateKind::Granted => "every purpose is granted".to_owned(),
        StateKind::Silent => "no consent signal came at all".to_owned(),
        StateKind::Denied(purpose) => format!("{} is denied", purpose.name()),
        StateKind::NotAsked(purpose) => format!("signals came, none about {}", purpose.name()),
        StateKind::OptedOut => "the person opted out (GPC, GPP, US privacy or by word)".to_owned(),
        StateKind::Minor => "the person is a minor".to_owned(),
    }
}

/// Regions, as the clause after "in".
pub(super) fn places(patterns: &[String]) -> String {
    join(patterns.iter().map(|pattern| regions::words(pattern)), "or")
}

/// What happens, as a sentence.
pub(super) fn outcome(row: &Row<Outcome>) -> String {
    match &row.what {
        Outcome::Held { code, .. } => format!("Nothing leaves: {}.", held(*code)),
        Outcome::Leaves { terms, reasons, .. } => {
            let mut text = if terms.limited {
                "Leaves, in the platform's restricted mode".to_owned()
            } else {
                "Leaves".to_owned()
            };
            if terms.personalization_denied {
                text.push_str(", with the platform's flag against personalisation");
            }
            let sent_anyway = |(code, _): &(ReasonCode, String)| *code == ReasonCode::OptedOut;
            if !terms.limited && reasons.iter().any(sent_anyway) {
                text.push_str(", though the person opted out: to a processor");
            }
            text.push_str(match terms.ip {
                IpForm::Full => "; the address in full.",
                IpForm::Truncated => "; the address truncated.",
                IpForm::None => "; no address.",
            });
            text
        }
    }
}

fn held(code: ReasonCode) -> &'static str {
    match code {
        ReasonCode::NoConsent => "a needed purpose is denied, or not granted where the law asks",
        ReasonCode::OptedOut => "the opt-out counts",
        ReasonCode::NoSignal => "the law here asks for a grant, and there is no signal",
        ReasonCode::NotApproved => "it is not approved",
        ReasonCode::NoRule => "consent.toml has no entry for this recipient",
        ReasonCode::Minor => "minors' data is withheld",
        ReasonCode::PersonalizationDenied => "personalisation is denied",
        ReasonCode::FieldsRemoved => "fields are missing",
    }
}

/// Something that leaves without consent.
pub(super) fn alarm(
    record: &Record,
    state: StateKind,
    sites: &[String],
    regions: &[String],
) -> String {
    let why = match state {
        StateKind::OptedOut => "though the person opted out",
        _ => "without any consent signal",
    };
    format!(
        "{} ({}) gets events of {} {why}: {}.",
        record.destination,
        record.legal_entity.as_deref().unwrap_or(&record.title),
        join(sites.iter().cloned(), "and"),
        places(regions)
    )
}

/// A piece of news, as a sentence.
pub(super) fn news(beyond: &Beyond, verb: &str) -> String {
    let events = join(beyond.events.iter().cloned(), "and");
    let to = &beyond.destination;
    let circumstances = || {
        let states = join(beyond.states.iter().map(|kind| state(*kind)), "or");
        let sites = join(beyond.sites.iter().cloned(), "and");
        let sources = sources(&beyond.sources);
        let places = places(&beyond.regions);
        format!("of {sites}{sources}, {places}, when {states}")
    };
    match &beyond.what {
        More::Recipient(what) => format!("{to}: events go to {what}."),
        More::Combination(fields) => {
            let fields = if fields.is_empty() { "no field".to_owned() } else { fields.join(", ") };
            format!("{to} {verb} {events} {}, with: {fields}.", circumstances())
        }
        More::Parts(parts) => {
            format!("{to} {verb} of {events} {}: {}.", circumstances(), parts.join(", "))
        }
    }
}

/// Where events happen, where that is not everywhere.
pub(super) fn sources(sources: &[ActionSource]) -> String {
    if sources.len() == ActionSource::ALL.len() {
        return String::new();
    }
    format!(" ({})", join(sources.iter().map(|s| s.name().replace('_', " ")), "or"))
}

/// `a, b and c`.
pub(super) fn join(words: impl Iterator<Item = String>, last: &str) -> String {
    let words: Vec<String> = words.collect();
    match words.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [most @ .., end] => format!("{} {last} {end}", most.join(", ")),
    }
}
