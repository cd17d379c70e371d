//! What `explain` and `test` share: a configuration without secrets, and events run down the street
//! exactly as `serve` runs them.

use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::geoip::Regions;
use crate::{
    config::{self, Config, LoadOptions, Loaded, Secrets},
    consent::{Whereabouts, memory::Remembered},
    destinations::REGISTRY,
    pipeline::{self, Street, SubjectKey, Verdict},
    queue::IdHash,
    sources::{self, Door, Rejection, Told, json::Node, native},
};

/// Loads without secrets and without a sandbox; findings are for the caller.
pub(super) fn load_offline(dir: &Path) -> Loaded {
    config::load(
        dir,
        &LoadOptions {
            secrets: Secrets::Placeholder,
            sandbox_base: None,
            env: &config::environment,
            registry: REGISTRY,
        },
    )
}

/// Runs one event and explains it: a line for each plan event, or one that says why it is rejected.
pub(super) fn explain(
    node: &Node<'_>,
    config: &Config,
    key: &SubjectKey,
    regions: &Regions,
    now: Timestamp,
) -> Vec<Value> {
    let street = street(config, key, regions, &nothing);
    match run(node, &street, now) {
        Ok(verdict) => pipeline::explain(&verdict, &street, None, now),
        Err(rejection) => {
            vec![rejected(node.get("event").unwrap_or(&Node::Null), &rejection)]
        }
    }
}

/// The street with the configured database.
pub(super) fn street<'a>(
    config: &'a Config,
    key: &'a SubjectKey,
    regions: &'a Regions,
    remembered: &'a dyn Fn(&[IdHash]) -> Remembered,
) -> Street<'a> {
    Street { config, key, geoip: &**regions, remembered, refused_since: &|_, _| None }
}

/// What is remembered where there is no data folder.
pub(super) fn nothing(_: &[IdHash]) -> Remembered {
    Remembered::default()
}

/// Runs one event down the street, as if a backend that may send everything had sent it.
pub(super) fn run(
    node: &Node<'_>,
    street: &Street<'_>,
    now: Timestamp,
) -> Result<Verdict, Rejection> {
    let whereabouts = Whereabouts { event_is_believed: true, ..Whereabouts::default() };
    native::read(node, &Door::default(), street.config, now)
        .and_then(|read| pipeline::run(street, read, &whereabouts, now))
}

/// The same for an event of another's format.
pub(super) fn run_told(
    told: &Told<'_>,
    street: &Street<'_>,
    now: Timestamp,
) -> Result<Verdict, Rejection> {
    let whereabouts = Whereabouts { event_is_believed: true, ..Whereabouts::default() };
    sources::told::read(told, &Door::default(), street.config, now)
        .and_then(|read| pipeline::run(street, read, &whereabouts, now))
        .map_err(|mut rejection| {
            told.place(&mut rejection);
            rejection
        })
}

/// The line of a rejected event, by its name where it has one.
pub(super) fn rejected(name: &Node<'_>, rejection: &Rejection) -> Value {
    json!({
        "event": name.as_text(),
        "event_id": rejection.event_id,
        "status": "rejected",
        "errors": [{
            "code": rejection.code.name(),
            "message": rejection.message,
            "path": rejection.path,
        }],
    })
}
