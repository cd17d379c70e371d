//! The report's sentences, for people who read no configuration.

use super::{
    Beyond, More,
    combinations::{Outcome, Row},
    record::Record,
    regions,
};
use crate::{
    consent::{IpForm, Purpose, ReasonCode, StateKind},
    event::ActionSource,
};

/// States, as the clause after "when".
pub(super) fn states(kinds: &[StateKind]) -> String {
    let of = |purpose: fn(StateKind) -> Option<Purpose>| {
        let named = kinds.iter().filter_map(|kind| purpose(*kind));
        let named: Vec<String> = named.map(|purpose| purpose.name().to_owned()).collect();
        Some(named).filter(|named| !named.is_empty()).map(|named| join(named.into_iter(), "or"))
    };
    let plain = |kind, text: &str| kinds.contains(&kind).then(|| text.to_owned());
    let clauses = [
        plain(StateKind::Granted, "every purpose is granted"),
        plain(StateKind::Silent, "no consent signal came at all"),
        of(|kind| match kind {
            StateKind::NotAsked(purpose) => Some(purpose),
            _ => None,
        })
        .map(|purposes| format!("there are signals, but none about {purposes}")),
        of(|kind| match kind {
            StateKind::Denied(purpose) => Some(purpose),
            _ => None,
        })
        .map(|purposes| format!("{purposes} is denied")),
        plain(StateKind::OptedOut, "the person opted out (GPC, GPP, US privacy or by word)"),
        plain(StateKind::Minor, "the person is a minor"),
    ];
    clauses.into_iter().flatten().collect::<Vec<_>>().join("; or ")
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
        "{} ({}) gets events of {} {why}, in {}.",
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
        let states = states(&beyond.states);
        let sites = join(beyond.sites.iter().cloned(), "and");
        let sources = sources(&beyond.sources);
        let places = places(&beyond.regions);
        format!("of {sites}{sources} in {places}, when {states}")
    };
    match &beyond.what {
        More::Reading(settings) => {
            let settings = join(settings.iter().cloned(), "and");
            format!("{to}: signals are read by other settings: {settings}.")
        }
        More::Recipient(what) => format!("{to}: events go to {what}."),
        More::Incoming(names) => {
            let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            let names = join(names.into_iter(), "and");
            format!("{to} {verb} {events} that arrives as {names}.")
        }
        More::Combination { fields, limited } => {
            let fields = if fields.is_empty() { "no field".to_owned() } else { fields.join(", ") };
            let how = if *limited { ", in the restricted mode" } else { "" };
            format!("{to} {verb} {events} {}{how}, with: {fields}.", circumstances())
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
