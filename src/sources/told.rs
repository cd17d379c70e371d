//! The formats of others: one list, which `explain --from` and the doors read.
//!
//! A format turns one document into events in the relay's own words ([`super::Told`]); reading those is
//! everybody's one [`super::native::read`].

use std::fmt;

use jiff::Timestamp;

use super::{
    Door, Read, Rejection, RejectionCode, Switches, Told, Unframed, Warning, WarningCode,
    json::{self, Node},
    measurement_protocol, native, rows, segment, shopify, stripe,
    words::weight,
};
use crate::{
    config::{Config, Limits},
    destinations::Mode,
    plan::Kind,
};

/// What a document amounts to: an event, something that is answered and ignored, or what is wrong.
pub type Outcome<'a> = Result<Option<Told<'a>>, Rejection>;

/// What a sender asks for besides its event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Destinations that it switches off.
    pub switches: Switches,
    /// Without a place in the plan it is counted as unplanned, whatever `unknown_events` says.
    pub counts_unplanned: bool,
    /// It says who somebody is, for later events of theirs to be enriched with.
    pub identifies: bool,
    /// What is to be said of fields of the door's own map that could not be computed.
    pub failed: Vec<String>,
}

/// What stands around a document.
#[derive(Clone, Copy)]
pub struct Envelope<'e> {
    /// The kind of call (`track`), the topic, or `app`, where the request says it.
    pub call: Option<&'e str>,
    /// The site that its events belong to, where the door says it.
    pub site: Option<&'e str>,
    /// The relay is in live mode: what the sender marks as a test is one.
    pub live: bool,
    /// The kind of the plan event that a name feeds.
    pub planned: &'e dyn Fn(&str) -> Option<Kind>,
}

impl fmt::Debug for Envelope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope").field("call", &self.call).field("site", &self.site).finish()
    }
}

type Reader = for<'a> fn(&Node<'a>, &Envelope<'_>) -> Vec<Outcome<'a>>;

/// A format of others.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// As `explain --from` names it.
    pub name: &'static str,
    reader: Reader,
}

/// Segment's tracking API, and RudderStack's.
pub const SEGMENT: Format = Format { name: "segment", reader: segment::read };
/// GA4's Measurement Protocol.
pub const MEASUREMENT_PROTOCOL: Format =
    Format { name: "measurement-protocol", reader: measurement_protocol::read };
/// Shopify's webhooks.
pub const SHOPIFY: Format = Format { name: "shopify", reader: shopify::read };
/// Stripe's webhooks.
pub const STRIPE: Format = Format { name: "stripe", reader: stripe::read };
/// Rows of a CSV file. As a document a row is an object of its columns.
pub const CSV: Format = Format { name: "csv", reader: rows::read };

/// Every format that `explain --from` takes.
pub const FORMATS: [Format; 5] = [SEGMENT, MEASUREMENT_PROTOCOL, SHOPIFY, STRIPE, CSV];

impl Format {
    /// The format of a name.
    pub fn named(name: &str) -> Option<Self> {
        FORMATS.into_iter().find(|format| format.name == name)
    }

    /// The events of one document.
    pub fn read<'a>(&self, body: &Node<'a>, envelope: &Envelope<'_>) -> Vec<Outcome<'a>> {
        (self.reader)(body, envelope)
    }

    /// The events of a file: one document, a list of documents, or a document a line.
    pub fn file<'a>(
        &self,
        bytes: &'a [u8],
        limits: &Limits,
        envelope: &Envelope<'_>,
    ) -> Result<Vec<Outcome<'a>>, Unframed> {
        if self.name == CSV.name {
            return rows::file(bytes, None, None, envelope.site);
        }
        let text = json::utf8(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))?;
        match json::parse(text, limits.nesting) {
            Ok(Node::List(documents)) => {
                Ok(documents.iter().flat_map(|one| self.read(one, envelope)).collect())
            }
            Ok(document) => Ok(self.read(&document, envelope)),
            Err(malformed) => {
                let lines = (1usize..).zip(text.lines());
                let mut lines = lines.filter(|(_, line)| !line.trim().is_empty()).peekable();
                let is_none =
                    |(_, first): &(usize, &str)| json::parse(first, limits.nesting).is_err();
                if lines.peek().is_none_or(is_none) {
                    return Err(malformed.into());
                }
                let line = |(at, line): (usize, &'a str)| match json::parse(line, limits.nesting) {
                    Ok(document) => self.read(&document, envelope),
                    Err(error) => {
                        let error = json::Malformed { line: at, ..error };
                        let code = RejectionCode::InvalidField;
                        vec![Err(Rejection::new(code, error.to_string(), ""))]
                    }
                };
                Ok(lines.flat_map(line).collect())
            }
        }
    }
}

/// Calls `run` with what stands around the documents of a configuration.
pub fn around<T>(
    config: &Config,
    call: Option<&str>,
    site: Option<&str>,
    run: impl FnOnce(&Envelope<'_>) -> T,
) -> T {
    let planned = |name: &str| {
        let events = config.plan.by_incoming.get(name)?;
        config.plan.events.get(events.first()?).map(|event| event.kind)
    };
    run(&Envelope { call, site, live: config.mode == Mode::Live, planned: &planned })
}

/// Reads an event in the relay's own words. A rejection's path is within those: [`Told::place`] finds
/// it in what was sent.
pub fn read(
    told: &Told<'_>,
    door: &Door<'_>,
    config: &Config,
    now: Timestamp,
) -> Result<Read, Rejection> {
    let size = weight(&told.node);
    if size > config.limits.event_bytes {
        let message = format!(
            "the event has {size} bytes, and at most {} may be (limits.event_bytes)",
            config.limits.event_bytes
        );
        return Err(Rejection::new(RejectionCode::TooLarge, message, ""));
    }
    let mut read = native::read(&told.node, door, config, now)?;
    let failed = told.asked.failed.iter().cloned();
    read.warnings.extend(failed.map(|why| Warning::new(WarningCode::ExpressionFailed, why)));
    Ok(Read { asked: told.asked.clone(), ..read })
}
