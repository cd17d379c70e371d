//! A person's choice: the one that an event leaves for later ones, the one that is remembered for an
//! event without a signal of its own, and the one that comes by itself.

use jiff::Timestamp;

use super::{Street, SubjectKey, consent, grounds, rejection};
use crate::{
    config::{Config, Site},
    consent::{
        Reading, Seen, State, Whereabouts,
        memory::{self, Choice, Terms},
    },
    event::Event,
    identity::{Memo, country_of, subject_digests},
    job::{Sent, Stored},
    queue::IdHash,
    sources::{Read, Rejection, RejectionCode, Warning, json::Node, native},
};

/// The one place where memory meets an event: one that says something leaves its choice, and is
/// bound by what was refused since it was said; for one that does not what is remembered speaks.
pub(super) fn of_event(
    street: &Street<'_>,
    event: &Event,
    subjects: &[IdHash],
    whereabouts: &Whereabouts,
    now: Timestamp,
    Reading { seen, state }: &mut Reading,
) -> Option<Choice> {
    if subjects.is_empty() || event.test {
        return None;
    }
    if !state.is_silent() {
        let choice = left_by(street.config, seen, state, event.received_at);
        // A grant that is older than what was refused since gives nothing back, and a signal that
        // does not speak of something takes back no refusal of it. Nothing is looked up for the many
        // events that speak of everything.
        let known = match memory::leaves_open(state) {
            true => Some((street.remembered)(subjects)),
            false => (street.refused_since)(subjects, state.at_ms),
        };
        let accepted_ms = event.received_at.as_millisecond();
        let refusals =
            known.and_then(|known| known.choice.beside(state, event.timestamp, accepted_ms));
        if let Some(refusals) = refusals {
            state.hear(&refusals, &street.config.consent);
        }
        return choice;
    }
    let remembered = (street.remembered)(subjects);
    let memory = &street.config.consent.memory;
    let terms = Terms::of(memory, event.action_source.name(), whereabouts.door, now);
    remembered.choice.speak(state, event.timestamp, terms);
    None
}

/// The choice that signals leave; where they name vendors, with what they come to for each
/// destination of today.
fn left_by(config: &Config, seen: &Seen, state: &State, heard: Timestamp) -> Option<Choice> {
    let rules = &config.consent;
    let to = config.destinations.values().map(|destination| {
        let platform = destination.platform;
        let ids = rules.vendor_ids(&destination.name, platform.name, platform.vendor_ids());
        (ids, seen.state_for(state, rules, ids).grants)
    });
    Some(Choice::of(state, heard)?.to_vendors(state, to))
}

/// A choice that came by itself.
#[derive(Debug)]
pub struct ChoiceMade {
    /// The person, by subject keys.
    pub subjects: Vec<IdHash>,
    /// What they chose.
    pub choice: Choice,
    /// The site, and its controller.
    pub of: (String, String),
    /// What the decision log says of it besides.
    pub words: serde_json::Map<String, serde_json::Value>,
    /// What the sender should know.
    pub warnings: Vec<Warning>,
}

/// Whom a body (`{"user", "site"}`) names: the site, and the person's subject keys there.
pub fn person<'c>(
    config: &'c Config,
    key: &SubjectKey,
    node: &Node<'_>,
    now: Timestamp,
) -> Result<(&'c Site, Vec<IdHash>), Rejection> {
    let Read { event, .. } = native::person(node, config, now)?;
    let (site, subjects) = whom(config, key, &event)?;
    Ok((site, subjects))
}

/// What is kept of a person in a stored job: the fields that it holds, and those of them in clear.
pub fn held_fields(body: &[u8]) -> serde_json::Value {
    let Ok(prepared) = Stored::decode(body) else { return serde_json::Value::Null };
    let mut fields = serde_json::Map::new();
    for (field, sent) in &prepared.texts {
        let shown = match sent {
            Sent::Clear(text) => text.clone(),
            Sent::Hashed(digest) => format!("sha256:{}", digest.hex()),
        };
        fields.insert(field.path().to_owned(), shown.into());
    }
    for field in prepared.present().iter() {
        fields.entry(field.path()).or_insert(true.into());
    }
    fields.into()
}

fn whom<'c>(
    config: &'c Config,
    key: &SubjectKey,
    event: &Event,
) -> Result<(&'c Site, Vec<IdHash>), Rejection> {
    let Some(site) = config.sites.get(&event.site) else {
        let message = format!("no site is called {:?}", event.site);
        return Err(rejection(event, RejectionCode::SiteUnknown, message, "/site"));
    };
    let country = country_of(event, site.country.as_deref());
    let subjects: Vec<IdHash> = subject_digests(&Memo::default(), event, country.as_deref())
        .iter()
        .map(|(field, digest)| key.subject(&site.controller, *field, digest))
        .collect();
    if subjects.is_empty() {
        let message = "say who it is: user.external_id, email, phone or anonymous_id";
        return Err(rejection(event, RejectionCode::MissingField, message, "/user"));
    }
    Ok((site, subjects))
}

/// Reads what a choice amounts to. It names a person and says something, or it is refused.
pub fn choice(
    street: &Street<'_>,
    read: Read,
    whereabouts: &Whereabouts,
) -> Result<ChoiceMade, Rejection> {
    let Read { event, warnings, .. } = read;
    let (site, subjects) = whom(street.config, street.key, &event)?;
    let (Reading { seen, state }, _) = consent::read(street, site, &event, whereabouts);
    let left = left_by(street.config, &seen, &state, event.received_at);
    let Some(choice) = left else {
        let message = "it grants nothing and refuses nothing; send what was chosen, such as \
                       \"ad_storage\": \"granted\", or \"opt_out\": true";
        return Err(rejection(&event, RejectionCode::MissingField, message, "/consent"));
    };
    let words = grounds::of_choice(&choice, &event.consent, &seen);
    let of = (site.name.clone(), site.controller.clone());
    Ok(ChoiceMade { subjects, choice, of, words, warnings })
}
