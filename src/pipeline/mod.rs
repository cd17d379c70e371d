//! The stages in order: plan, consent, value, one decision for each destination. Pure: what the
//! store knows is asked for by claims, which the committer holds against it.

mod admission;
mod choice;
mod clicks;
mod consent;
mod destination;
mod explain;
mod grounds;
mod keys;
mod money;
mod part;
mod trace;
mod traits;

use std::{net::IpAddr, sync::Arc};

use data_encoding::HEXLOWER;
use jiff::Timestamp;

pub use admission::{order_hash, slot, trace_hash};
pub use choice::{ChoiceMade, choice, held_fields, person};
pub use clicks::Recalled;
pub use explain::explain;
pub use grounds::{Grounds, GroundsV1, SeenText, Signalled, act};
pub use keys::SubjectKey;
pub use part::PartVerdict;
pub use trace::{TraceDecision, TraceRecord, TraceV1, TracedFate};
pub use traits::Fresh;

use crate::{
    config::Config,
    consent::{
        Model, Reading, Seen, State, Whereabouts,
        clicks::{Click, KEYS},
        memory::{Choice, Remembered},
        traits::{KEYS as TRAIT_KEYS, Trait},
    },
    event::{Event, Field},
    expression::Facts,
    identity::{Memo, country_of, subject_digests},
    plan::{EVENT_ID, Kind, UnknownEvents},
    queue::{Admission, AdmissionStatus, IdHash},
    sources::{Read, Rejection, RejectionCode, Warning, WarningCode},
};

/// Everything that a run looks at besides the event.
#[derive(Clone, Copy)]
pub struct Street<'a> {
    /// Today's configuration.
    pub config: &'a Config,
    /// The secret of keyed hashes.
    pub key: &'a SubjectKey,
    /// The region of an address, where a database is configured.
    pub geoip: &'a dyn Fn(IpAddr) -> Option<String>,
    /// What is remembered of a person, by their subject keys. Only asked for an event that says
    /// nothing itself.
    pub remembered: &'a dyn Fn(&[IdHash]) -> Remembered,
    /// The same of a person who may have refused something since a time (epoch milliseconds); `None`
    /// where nobody has. Asked for an event that speaks for itself.
    pub refused_since: &'a dyn Fn(&[IdHash], i64) -> Option<Remembered>,
}

impl std::fmt::Debug for Street<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Street").field("config", &self.config.hash).finish_non_exhaustive()
    }
}

/// What became of one incoming event, with everything that led to it.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The event.
    pub event: Event,
    /// What it counts as, where nothing stored says otherwise.
    pub status: AdmissionStatus,
    /// The consent state that came out of its signals.
    pub state: Arc<State>,
    /// Every consent string as it came with what it decoded to, for the record.
    pub seen: Seen,
    /// The law's logic where the person is.
    pub model: Model,
    /// The plan events that it feeds (none unless accepted).
    pub parts: Vec<PartVerdict>,
    /// What the sender should know.
    pub warnings: Vec<Warning>,
    /// Subject keys of the person's identifiers, strongest first.
    pub(crate) subjects: Vec<IdHash>,
    /// The choice that the event's own signals leave.
    pub(crate) choice: Option<Choice>,
    /// The click that it leaves, where clicks are remembered.
    pub(crate) click: Option<Click>,
    /// Click ids that it has from an earlier visit.
    pub recalled: Option<Recalled>,
    /// What it says of the person for later events, where traits are remembered.
    pub(crate) traits: Vec<Trait>,
    /// Fields that it has from an earlier `identify` call.
    pub enriched: Vec<Field>,
}

impl Verdict {
    /// How many decisions are held.
    pub fn held(&self) -> usize {
        let held = |part: &PartVerdict| part.decisions.iter().filter(|d| d.is_held()).count();
        self.parts.iter().map(held).sum()
    }

    /// What the queue needs of it.
    pub fn admission(self, street: &Street<'_>) -> Admission {
        admission::admission(self, street)
    }
}

/// What an event's own signals amount to where its person is, and the law's logic there; `None` for
/// a site that is not configured.
pub fn state(
    street: &Street<'_>,
    event: &Event,
    whereabouts: &Whereabouts,
) -> Option<(State, Model)> {
    let site = street.config.sites.get(&event.site)?;
    let (reading, model) = consent::read(street, site, event, whereabouts);
    Some((reading.state, model))
}

/// Runs one event down the street.
pub fn run(
    street: &Street<'_>,
    read: Read,
    whereabouts: &Whereabouts,
    now: Timestamp,
) -> Result<Verdict, Rejection> {
    let Read { mut event, mut warnings, at_most, asked } = read;
    if event.event_id.derived {
        // Platforms see this id. A plain hash of the content could be tried against guesses of who
        // it was; a keyed one cannot.
        let id = street.key.keyed("derived", &[event.event_id.id.as_bytes()]);
        event.event_id.id = HEXLOWER.encode(&id);
    }
    let config = street.config;
    let Some(site) = config.sites.get(&event.site) else {
        let message = format!("no site is called {:?}", event.site);
        return Err(rejection(&event, RejectionCode::SiteUnknown, message, "/site"));
    };
    if event.adjusts.is_some() {
        // What was paid back is in the same currency as every other amount of the site.
        event.currency = event.currency.or(site.currency);
    }
    let (mut reading, model) = consent::read(street, site, &event, whereabouts);
    let country = country_of(&event, site.country.as_deref());
    let country = country.as_deref();
    let memo = Memo::default();
    let identifiers = subject_digests(&memo, &event, country);
    let mut subjects: Vec<IdHash> = identifiers
        .iter()
        .map(|(field, digest)| street.key.subject(&site.controller, *field, digest))
        .collect();
    let order = clicks::order_key(street, site, &event);
    let by_name = identifiers.iter().zip(&subjects).filter(|((field, _), _)| KEYS.contains(field));
    let click_keys: Vec<IdHash> = by_name.map(|(_, key)| *key).chain(order).collect();
    subjects.extend(order);
    let choice = choice::of_event(street, &event, &subjects, whereabouts, now, &mut reading);
    let Reading { seen, state } = reading;
    let click = clicks::of_event(street, &event, &click_keys, &state);
    let by_name =
        identifiers.iter().zip(&subjects).filter(|_| config.consent.memory.traits.is_some());
    let trait_keys = by_name.filter(|((field, _), _)| TRAIT_KEYS.contains(field));
    let trait_keys: Vec<IdHash> = trait_keys.map(|(_, key)| *key).collect();
    let said = if asked.identifies {
        traits::of_event(street, &memo, &event, &trait_keys, country, &state)
    } else {
        Vec::new()
    };
    // Its own alone: a remembered choice has left no string. Where somebody else than a string opted
    // out, none leaves: a platform would read both, and believe the one it likes.
    if !state.is_overruled(&config.consent) {
        for (field, text) in [Field::Tcf, Field::Gpp]
            .into_iter()
            .zip(seen.own_strings(&event.consent, &config.consent))
        {
            event.texts.push(field, text.unwrap_or_default());
        }
    }
    let state = Arc::new(state);
    let recalled = clicks::recall(street, &mut event, &click_keys, &state, now);
    let enriched = traits::recall(street, &memo, &mut event, &trait_keys, &state, now);
    let country = country_of(&event, site.country.as_deref());

    let names = config.plan.by_incoming.get(&event.name);
    let counts = asked.counts_unplanned || config.plan.unknown_events == UnknownEvents::Keep;
    if names.is_none() && !counts {
        return Err(unknown_event(config, &event));
    }
    destination::warn_of_switches(&asked.switches, config, &mut warnings);
    let mut parts = Vec::new();
    for name in names.into_iter().flatten() {
        let Some(planned) = config.plan.events.get(name) else { continue };
        let facts = Facts { event: &event, numbers: &[] };
        if let Some(when) = &planned.when {
            match when.holds(&facts) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    let message = format!("events.{name}.when: {error}");
                    warnings.push(Warning::new(WarningCode::ExpressionFailed, message));
                    continue;
                }
            }
        }
        check_required(&event, planned.kind, &planned.required)?;
        let scene = part::Scene {
            street,
            site,
            event: &event,
            state: &state,
            seen: &seen,
            memo: &memo,
            country: country.as_deref(),
            identifiers: &identifiers,
            subjects: &subjects,
            switches: &asked.switches,
            at_most,
            planned,
            now,
        };
        parts.push(part::decide(&scene, &mut warnings));
    }
    let status = match names {
        None => AdmissionStatus::Unplanned,
        Some(_) if parts.is_empty() => AdmissionStatus::CriteriaNotMet,
        Some(_) => AdmissionStatus::Accepted,
    };
    let all_unheard = parts
        .iter()
        .flat_map(|part| &part.decisions)
        .any(|decision| decision.held() == Some(crate::consent::ReasonCode::NoSignal));
    if all_unheard {
        let message =
            "no consent signal came with the event, and the law where the person is wants one";
        warnings.push(Warning::new(WarningCode::NoSignal, message));
    }
    warnings.dedup();
    Ok(Verdict {
        event,
        status,
        state,
        seen,
        model,
        parts,
        warnings,
        subjects,
        choice,
        click,
        recalled,
        traits: said,
        enriched,
    })
}

fn check_required(event: &Event, kind: Kind, required: &[String]) -> Result<(), Rejection> {
    match (kind, &event.adjusts) {
        (Kind::Adjustment, None) => {
            let message = "an adjustment says what it adjusts: {\"order_id\": …, \"type\": …}";
            return Err(rejection(event, RejectionCode::MissingField, message, "/adjusts"));
        }
        (Kind::Micro | Kind::Macro, Some(_)) => {
            let message = "only an event of kind \"adjustment\" adjusts another";
            return Err(rejection(event, RejectionCode::InvalidField, message, "/adjusts"));
        }
        (Kind::Adjustment, Some(_)) | (Kind::Micro | Kind::Macro, None) => {}
    }
    let is_there = |path: &&String| match path.as_str() {
        EVENT_ID => !event.event_id.derived,
        path => event.has_path(path),
    };
    let missing: Vec<&str> =
        required.iter().filter(|path| !is_there(path)).map(String::as_str).collect();
    if let Some(first) = missing.first() {
        let message = format!("the plan requires {} for this event", missing.join(", "));
        let pointer = format!("/{}", first.replace('.', "/"));
        return Err(rejection(event, RejectionCode::MissingField, message, &pointer));
    }
    Ok(())
}

fn unknown_event(config: &Config, event: &Event) -> Rejection {
    let nearest = config
        .plan
        .by_incoming
        .keys()
        .map(|name| (strsim::damerau_levenshtein(name, &event.name), name))
        .min()
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 3));
    let message = match nearest {
        Some((_, name)) => format!("the plan has no event of this name; the nearest is {name:?}"),
        None => "the plan has no event of this name".to_owned(),
    };
    rejection(event, RejectionCode::UnknownEvent, message, "/event")
}

fn rejection(
    event: &Event,
    code: RejectionCode,
    message: impl Into<String>,
    path: &str,
) -> Rejection {
    Rejection {
        code,
        message: message.into(),
        path: path.to_owned(),
        event_id: (!event.event_id.derived).then(|| event.event_id.id.clone()),
    }
}
