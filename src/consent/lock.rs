//! The text of `consent.lock` and of the approvals beside it: one JSON object a line, in an order
//! that depends on nothing but the content, so that a change shows as a small difference.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Combination, HowRead, IpForm, Lock, Recipient, StateKind, Terms};
use crate::event::{ActionSource, Field, FieldSet};

/// The lock's file name, in the configuration's folder.
pub const LOCK_FILE: &str = "consent.lock";

/// The file of those who approved it, beside it.
pub const APPROVALS_FILE: &str = "consent.approvals";

/// The only version so far.
const VERSION: &str = "1";

/// Why a lock or its approvals cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct Unreadable {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
enum Line {
    Lock { version: String },
    Reading(HowRead),
    Recipient(Recipient),
    Event { event: String, from: BTreeSet<String> },
    Combination(Written),
}

/// A [`Combination`] as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    destination: String,
    event: String,
    sites: Vec<String>,
    sources: Vec<ActionSource>,
    regions: Vec<String>,
    states: Vec<String>,
    limited: bool,
    personalization_denied: bool,
    ip: IpForm,
    fields: Vec<Field>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    properties: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    except: Vec<String>,
}

impl Lock {
    /// The file's text.
    pub fn text(&self) -> String {
        let version = VERSION.to_owned();
        let mut lines = vec![Line::Lock { version }, Line::Reading(self.reading().clone())];
        lines.extend(self.recipients().cloned().map(Line::Recipient));
        let incoming = self.incoming().iter();
        lines.extend(incoming.map(|(event, from)| {
            let (event, from) = (event.clone(), from.clone());
            Line::Event { event, from }
        }));
        lines.extend(self.combinations().iter().map(|one| {
            let Terms { limited, personalization_denied, fields, properties, except, ip } =
                one.terms.clone();
            Line::Combination(Written {
                destination: one.destination.clone(),
                event: one.event.clone(),
                sites: one.sites.clone(),
                sources: one.sources.clone(),
                regions: one.regions.clone(),
                states: one.states.iter().map(|kind| kind.name()).collect(),
                limited,
                personalization_denied,
                ip,
                fields: fields.iter().collect(),
                properties,
                except,
            })
        }));
        lines.iter().fold(String::new(), |mut text, line| {
            let json = serde_json::to_string(line).unwrap_or_default();
            let Ok(()) = writeln!(text, "{json}") else { return text };
            text
        })
    }

    /// Reads the file's text; a lock that is not understood whole is not understood.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let (mut recipients, mut combinations) = (BTreeMap::new(), Vec::new());
        let (mut reading, mut incoming) = (None, BTreeMap::new());
        let mut lines = numbered(text);
        let fault = |line, problem: &str| Unreadable { line, problem: problem.to_owned() };
        match lines.next().map(|(at, text)| (at, serde_json::from_str(text))) {
            Some((_, Ok(Line::Lock { version }))) if version == VERSION => {}
            Some((at, Ok(Line::Lock { version }))) => {
                return Err(fault(at, &format!("version {version:?} is not known")));
            }
            Some((at, _)) => return Err(fault(at, "the first line names the lock's version")),
            None => return Err(fault(1, "the file is empty")),
        }
        for (at, text) in lines {
            match serde_json::from_str(text) {
                Ok(Line::Lock { .. }) => return Err(fault(at, "the version is named twice")),
                Ok(Line::Reading(one)) => {
                    if reading.replace(one).is_some() {
                        return Err(fault(at, "how signals are read is said twice"));
                    }
                }
                Ok(Line::Recipient(one)) => {
                    if recipients.insert(one.destination.clone(), one).is_some() {
                        return Err(fault(at, "the destination is listed twice"));
                    }
                }
                Ok(Line::Event { event, from }) => {
                    if incoming.insert(event, from).is_some() {
                        return Err(fault(at, "the event is listed twice"));
                    }
                }
                Ok(Line::Combination(one)) => combinations.push(read(at, one)?),
                Err(error) => return Err(fault(at, &error.to_string())),
            }
        }
        let Some(reading) = reading else {
            return Err(fault(1, "how signals are read is not said"));
        };
        let lock = Self::new(reading, recipients.into_values().collect(), combinations);
        Ok(lock.with_incoming(incoming))
    }
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.is_empty())
}

fn read(line: usize, one: Written) -> Result<Combination, Unreadable> {
    let states: Option<Vec<StateKind>> =
        one.states.iter().map(|name| StateKind::parse(name)).collect();
    let Some(states) = states else {
        let problem = format!("one of the states {:?} is not known", one.states);
        return Err(Unreadable { line, problem });
    };
    Ok(Combination {
        destination: one.destination,
        event: one.event,
        sites: one.sites,
        sources: one.sources,
        regions: one.regions,
        states,
        terms: Terms {
            limited: one.limited,
            personalization_denied: one.personalization_denied,
            fields: FieldSet::of(&one.fields),
            properties: one.properties,
            except: one.except,
            ip: one.ip,
        },
    })
}

/// One person's approval of one lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignOff {
    /// Who.
    pub by: String,
    /// When, RFC 3339.
    pub at: String,
    /// SHA-256 of the lock's bytes, hex.
    pub lock: String,
    /// How many combinations it had.
    pub combinations: String,
    /// SHA-256 of each of the configuration's files that day, hex.
    pub files: BTreeMap<String, String>,
    /// An SSH signature (armoured) over [`SignOff::message`], if one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<String>,
}

/// The namespace of SSH signatures.
pub const SSH_NAMESPACE: &str = "consent.lock@conversion-relay";

impl SignOff {
    /// What is signed.
    pub fn message(&self) -> String {
        let mut message = format!(
            "I approve what this consent.lock lets leave.\nby: {}\nat: {}\nlock: sha256:{}\n\
             combinations: {}\n",
            self.by, self.at, self.lock, self.combinations
        );
        for (file, hash) in &self.files {
            message.push_str(&format!("{file}: sha256:{hash}\n"));
        }
        message
    }

    /// The line of the file.
    pub fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// Reads the file of approvals.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, Unreadable> {
        numbered(text)
            .map(|(line, text)| {
                serde_json::from_str(text)
                    .map_err(|error| Unreadable { line, problem: error.to_string() })
            })
            .collect()
    }
}

/// SHA-256 in hex, as approvals name files by.
pub fn file_hash(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}
