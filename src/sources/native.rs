//! The relay's own event: every field of the interface, with its type and its rule.
//!
//! [`read`] is the one way in for `POST /v1/events`, `send`, `explain`, `test` and `demo`. It
//! refuses what it does not understand by name, never guesses, and leaves no identity where it does
//! not belong.

use jiff::Timestamp;

use super::{
    Asked, Door, Read, Rejection, RejectionCode, Warning, WarningCode, consent, context, event_id,
    json::Node,
    moment, person, properties, site,
    typed::{self, Path},
};
use crate::{
    config::Config,
    event::{ActionSource, Event, Field, Texts},
    identity::{Scrubbed, is_kept, scrub_emails, scrub_text, scrub_url},
};

/// The fields of an event's top level.
const FIELDS: [&str; 14] = [
    "event",
    "event_id",
    "timestamp",
    "sent_at",
    "site",
    "action_source",
    "test",
    "user",
    "context",
    "click_ids",
    "lead",
    "consent",
    "properties",
    "adjusts",
];

/// Reads one event. `now` is the time of receipt. The rejection's path is a JSON pointer within
/// the event.
pub fn read(
    node: &Node<'_>,
    door: &Door<'_>,
    config: &Config,
    now: Timestamp,
) -> Result<Read, Rejection> {
    event(node, door, config, now).map_err(|mut rejection| {
        let path = Path::Root.key("event_id");
        let id = node.get("event_id").and_then(|id| typed::id(id, &path).ok().flatten());
        rejection.event_id = id.map(str::to_owned);
        rejection
    })
}

/// Reads a choice that comes by itself (`{"user", "consent", "site"}`), as an event that only says
/// who chose what. The rejection's path is a JSON pointer within the body.
pub fn choice(
    node: &Node<'_>,
    door: &Door<'_>,
    config: &Config,
    now: Timestamp,
) -> Result<Read, Rejection> {
    somebody(node, &["user", "consent", "site"], door, config, now)
}

/// Reads whom an operator's call is about (`{"user", "site"}`), likewise.
pub fn person(node: &Node<'_>, config: &Config, now: Timestamp) -> Result<Read, Rejection> {
    somebody(node, &["user", "site"], &Door::default(), config, now)
}

/// An event of nothing but a person.
fn somebody(
    node: &Node<'_>,
    fields: &[&str],
    door: &Door<'_>,
    config: &Config,
    now: Timestamp,
) -> Result<Read, Rejection> {
    let root = Path::Root;
    for (key, _) in members(node, "an object")? {
        if !fields.contains(&key.as_ref()) {
            return Err(typed::unknown(&root.key(key), key, fields.iter().copied()));
        }
    }
    let member = |key: &str| node.get(key).unwrap_or(&Node::Null);
    let site = site::of(node, door, config)?;
    let mut warnings = Vec::new();
    let consent = consent::signals(member("consent"), door, &mut warnings)?;
    let mut draft = Draft {
        event: Event {
            name: "consent".to_owned(),
            event_id: event_id::settle(None, node, door, false, now),
            timestamp: now,
            received_at: now,
            site: site.name.clone(),
            action_source: ActionSource::Other,
            test: false,
            minor: None,
            texts: Texts::default(),
            amounts: Vec::new(),
            currency: None,
            items: Vec::new(),
            clicked_at: None,
            other: serde_json::Map::new(),
            other_context: serde_json::Map::new(),
            consent,
            adjusts: None,
        },
        warnings,
        door,
        keep_query: &config.keep_query,
        country: site.country.as_deref(),
        removed: 0,
    };
    person::user(&mut draft, member("user"))?;
    Ok(draft.read())
}

/// An event being read, and what its sections need to know of each other.
pub(super) struct Draft<'d> {
    pub(super) event: Event,
    pub(super) warnings: Vec<Warning>,
    pub(super) door: &'d Door<'d>,
    keep_query: &'d [String],
    country: Option<&'d str>,
    /// Pieces of identity that were taken out of texts.
    removed: usize,
}

impl Draft<'_> {
    /// Done.
    fn read(self) -> Read {
        let at_most = self.door.at_most();
        Read { event: self.event, warnings: self.warnings, at_most, asked: Asked::default() }
    }

    pub(super) fn warn(&mut self, code: WarningCode, message: impl Into<String>) {
        self.warnings.push(Warning::new(code, message));
    }

    pub(super) fn put(&mut self, field: Field, text: &str) {
        self.event.texts.push(field, text);
    }

    /// A text without identity.
    pub(super) fn free_text(&mut self, text: &str) -> String {
        let country = self.country;
        self.counted(scrub_text(text, country))
    }

    /// A text in which digits are no phone number, without e-mail addresses.
    pub(super) fn technical_text(&mut self, text: &str) -> String {
        self.counted(scrub_emails(text))
    }

    /// A URL without identity, and of its query only what is kept.
    pub(super) fn url(&mut self, url: &str) -> String {
        let (keep, country) = (self.keep_query, self.country);
        self.counted(scrub_url(url, keep, country))
    }

    /// A parameter of a URL that was cleaned before: what is kept there was counted there.
    pub(super) fn parameter(&mut self, name: &str, text: &str) -> String {
        let scrubbed = scrub_text(text, self.country);
        if is_kept(name, self.keep_query) { scrubbed.text } else { self.counted(scrubbed) }
    }

    fn counted(&mut self, scrubbed: Scrubbed) -> String {
        self.removed += scrubbed.removed;
        scrubbed.text
    }
}

fn event(
    node: &Node<'_>,
    door: &Door<'_>,
    config: &Config,
    now: Timestamp,
) -> Result<Read, Rejection> {
    let root = Path::Root;
    for (key, _) in members(node, "an event")? {
        if !FIELDS.contains(&key.as_ref()) {
            return Err(typed::unknown(&root.key(key), key, FIELDS.into_iter()));
        }
    }
    let member = |key: &str| node.get(key).unwrap_or(&Node::Null);

    let path = root.key("event");
    let Some(name) = typed::text(member("event"), &path)?.map(str::trim) else {
        return Err(path.reject(RejectionCode::MissingField, "every event has a name: \"event\""));
    };
    site::may_send(name, door, config)?;
    let site = site::of(node, door, config)?;

    let mut warnings = Vec::new();
    let own_timestamp = moment::moment(member("timestamp"), &root.key("timestamp"))?;
    let sent_at = moment::moment(member("sent_at"), &root.key("sent_at"))?;
    let timestamp = moment::settle(own_timestamp, sent_at, door, now, &mut warnings)?;
    let sender_id = typed::id(member("event_id"), &root.key("event_id"))?.map(str::trim);
    let event_id = event_id::settle(sender_id, node, door, own_timestamp.is_some(), now);

    let mut draft = Draft {
        event: Event {
            name: name.to_owned(),
            event_id,
            timestamp,
            received_at: now,
            site: site.name.clone(),
            action_source: action_source(member("action_source"))?,
            test: typed::flag(member("test"), &root.key("test"))?.unwrap_or(false),
            minor: None,
            texts: Texts::default(),
            amounts: Vec::new(),
            currency: None,
            items: Vec::new(),
            clicked_at: None,
            other: serde_json::Map::new(),
            other_context: serde_json::Map::new(),
            consent: consent::signals(member("consent"), door, &mut warnings)?,
            adjusts: None,
        },
        warnings,
        door,
        keep_query: &config.keep_query,
        country: site.country.as_deref(),
        removed: 0,
    };
    person::user(&mut draft, member("user"))?;
    person::click_ids(&mut draft, member("click_ids"))?;
    person::lead(&mut draft, member("lead"))?;
    context::context(&mut draft, member("context"))?;
    properties::properties(&mut draft, member("properties"))?;
    properties::adjusts(&mut draft, member("adjusts"))?;
    properties::limit(&draft, site, config)?;

    if draft.removed > 0 {
        let message = format!(
            "{} piece(s) of text that look like an e-mail address or a phone number were removed \
             from URLs, context or properties",
            draft.removed
        );
        let warning = Warning::new(WarningCode::IdentityRemoved, message);
        draft.warnings.push(Warning { count: draft.removed, ..warning });
    }
    Ok(draft.read())
}

fn members<'n, 'a>(
    node: &'n Node<'a>,
    what: &str,
) -> Result<&'n [(std::borrow::Cow<'a, str>, Node<'a>)], Rejection> {
    match node {
        Node::Object(members) => Ok(members),
        Node::Flawed(flaw) => Err(Path::Root.flawed(flaw)),
        other => Err(Path::Root.invalid(format!("expected {what}, not {}", other.kind()))),
    }
}

fn action_source(node: &Node<'_>) -> Result<ActionSource, Rejection> {
    let path = Path::Root.key("action_source");
    let Some(name) = typed::text(node, &path)? else { return Ok(ActionSource::Website) };
    ActionSource::parse(name).ok_or_else(|| {
        let names: Vec<&str> = ActionSource::ALL.iter().map(|(_, name)| *name).collect();
        path.invalid(format!("expected one of {}", names.join(", ")))
    })
}
