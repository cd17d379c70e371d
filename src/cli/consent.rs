//! `consent`: questions about consent signals, without a relay.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Exit, consent_decode, street};
use crate::{
    consent::{Problem, Rules, canonical_region, read},
    sources::{self, Door, Rejection, json},
};

/// Nesting of JSON that a consent object may have; an event's own default.
const NESTING: usize = 32;

/// Questions about consent signals.
#[derive(Debug, Args)]
pub(super) struct Consent {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Decode(Decode),
}

/// Consent objects, as in an event, on standard input; what their strings say and what they amount
/// to, a line each, on standard output. Ends with 1 if any line is no consent object.
#[derive(Debug, Args)]
struct Decode {
    /// A configuration folder, for its consent.toml: categories, GPC and regions as they count
    /// there. Without it the known categories, and GPC everywhere.
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
}

impl Consent {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let Command::Decode(decode) = self.command;
        decode.run()
    }
}

impl Decode {
    fn run(self) -> anyhow::Result<Exit> {
        let rules = match &self.config {
            None => Rules::deny_all(),
            Some(dir) => {
                let loaded = street::load_offline(dir);
                let Some(config) = loaded.config else {
                    for finding in loaded.findings {
                        eprintln!("{finding}");
                    }
                    return Ok(Exit::Configuration);
                };
                config.consent
            }
        };
        let settle = |line: &str| {
            let node = json::parse(line, NESTING).map_err(|malformed| Problem {
                code: "malformed_json",
                message: malformed.to_string(),
                path: String::new(),
            })?;
            let signals = sources::consent_object(&node, &Door::default()).map_err(within)?;
            let region = signals.region.as_deref().and_then(canonical_region);
            Ok(read(&rules, &signals, region, false))
        };
        let (input, output) = (std::io::stdin().lock(), std::io::stdout().lock());
        let all = consent_decode::run(input, output, settle)?;
        Ok(if all { Exit::Fine } else { Exit::Failed })
    }
}

/// What is wrong with a consent object on a line of its own: its paths begin there, as those of what
/// cannot be decoded do, and not in an event.
fn within(rejection: Rejection) -> Problem {
    let path = rejection.path.strip_prefix("/consent").unwrap_or(&rejection.path).to_owned();
    Problem { code: rejection.code.name(), message: rejection.message, path }
}
