//! `explain`: what would be sent, where and why. Sends nothing.

use std::{
    io::{Read as _, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::json;

use super::{Exit, street};
use crate::{
    pipeline::SubjectKey,
    sources::{Form, json::Node, split},
};

/// What would be sent, where and why; sends nothing. Events in, one JSON line for each plan event
/// out. Ends with 1 if any event is rejected.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The configuration folder.
    #[arg(long, default_value = "config")]
    config: PathBuf,
    /// The time at which it plays (RFC 3339); now by default.
    #[arg(long)]
    now: Option<Timestamp>,
    /// Events: NDJSON, one object, or a list. `-` is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
}

impl Explain {
    pub(super) fn run(self, now: Timestamp) -> anyhow::Result<Exit> {
        let loaded = street::load_offline(&self.config);
        let Some(config) = loaded.config else {
            for finding in loaded.findings {
                eprintln!("{finding}");
            }
            return Ok(Exit::Configuration);
        };
        let mut body = Vec::new();
        if self.file.as_os_str() == "-" {
            std::io::stdin().read_to_end(&mut body).context("standard input cannot be read")?;
        } else {
            body = std::fs::read(&self.file)
                .with_context(|| format!("{} cannot be read", self.file.display()))?;
        }
        // A list or one object over several lines is no NDJSON; everything else is.
        let whole = split(&body, Form::Json, &config.limits);
        let pieces = match whole {
            Ok(pieces) => pieces,
            Err(_) => split(&body, Form::Lines, &config.limits).context("the events cannot be read")?,
        };
        let key = SubjectKey::new(&[0; 32]);
        let now = self.now.unwrap_or(now);
        let mut exit = Exit::Fine;
        let mut out = std::io::stdout().lock();
        for piece in pieces {
            let lines = match piece.parse(&config.limits) {
                Ok(node) => street::explain(&node, &config, &key, now),
                Err(rejection) => vec![street::rejected(&Node::Null, &rejection)],
            };
            for line in lines {
                if line.get("status") == Some(&json!("rejected")) {
                    exit = Exit::Failed;
                }
                writeln!(out, "{line}").context("standard output is closed")?;
            }
        }
        Ok(exit)
    }
}
