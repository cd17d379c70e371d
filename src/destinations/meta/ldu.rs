//! Limited Data Use: the states that have a code of their own at Meta.

use std::collections::BTreeMap;

use crate::{
    consent::Region,
    destinations::{Problem, Settings},
    event::Field,
    job::Prepared,
};

/// The setting that adds to the table.
const KEY: &str = "ldu_states";

/// DOC/data-processing-options; 1001 and later from memory of the same page, and later states exist
/// (sheet, section 13).
const KNOWN: [(&str, u16); 7] = [
    ("US-CA", 1000),
    ("US-CO", 1001),
    ("US-CT", 1002),
    ("US-FL", 1003),
    ("US-OR", 1004),
    ("US-TX", 1005),
    ("US-MT", 1006),
];

/// The code of a region, where nobody says otherwise.
pub(super) fn known(region: &Region) -> Option<u16> {
    let region = region.as_deref()?;
    KNOWN.iter().find(|(state, _)| *state == region).map(|(_, code)| *code)
}

/// The codes of today's settings.
#[derive(Debug)]
pub(super) struct States(BTreeMap<String, u16>);

impl States {
    /// The known ones, with those that the settings add, change (a code) or take away (0).
    pub(super) fn read(settings: &Settings, problems: &mut Vec<Problem>) -> Self {
        let mut states: BTreeMap<String, u16> =
            KNOWN.iter().map(|(state, code)| ((*state).to_owned(), *code)).collect();
        let added = match settings.table.get(KEY) {
            None => return Self(states),
            Some(toml::Value::Table(table)) => table,
            Some(_) => {
                let message = "must be a table of states and codes: { US-UT = 1007 }";
                problems.push(Problem::new(KEY, message));
                return Self(states);
            }
        };
        for (state, code) in added {
            let is_state = state
                .strip_prefix("US-")
                .is_some_and(|it| it.len() == 2 && it.bytes().all(|b| b.is_ascii_uppercase()));
            match code.as_integer().and_then(|code| u16::try_from(code).ok()) {
                _ if !is_state => {
                    let message = "must be a state as ISO 3166-2 has it, such as US-UT";
                    problems.push(Problem::new(format!("{KEY}.{state}"), message));
                }
                Some(0) => {
                    states.remove(state);
                }
                Some(code @ 1000..) => {
                    states.insert(state.clone(), code);
                }
                _ => {
                    let message = "must be Meta's code, such as 1007, or 0 to have the address \
                                   looked at";
                    problems.push(Problem::new(format!("{KEY}.{state}"), message));
                }
            }
        }
        Self(states)
    }

    /// Country and state, which go together; 0 and 0 have Meta look at the address
    /// (DOC/data-processing-options).
    pub(super) fn of(&self, region: &Region) -> (u16, u16) {
        let code = region.as_deref().and_then(|region| self.0.get(region));
        code.map_or((0, 0), |code| (1, *code))
    }

    /// Whether Meta can tell the state of a job: from its code or from an address.
    pub(super) fn can_limit(&self, job: &Prepared) -> bool {
        job.has(Field::Ip) || self.of(&job.consent.region) != (0, 0)
    }
}
