//! `evidence`: checks and exports the decision log, of a data folder that no relay holds, or of a
//! running relay.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::Value;

use super::{Exit, http_client::HttpClient, relay};
use crate::{
    clock,
    config::Secrets,
    evidence::{self, Wanted},
    pipeline::{self, SubjectKey},
    queue::Queue,
};

/// What the sandbox takes where no token is set.
const SANDBOX_TOKEN: &str = "dev-token";

/// Checks and exports the decision log.
#[derive(Debug, Subcommand)]
pub(super) enum Evidence {
    /// Finds what was changed, moved, taken out or cut off, and names the records. One JSON object;
    /// ends with 1 if anything is wrong.
    Verify(Whose),
    /// Prints records as they were hashed, one JSON object a line.
    Export(Export),
}

/// Where the log is.
#[derive(Debug, Args)]
pub(super) struct Whose {
    /// The configuration folder: it says which key opens the log.
    #[arg(long, value_name = "DIR", default_value = "./config")]
    config: PathBuf,
    /// The data folder of a relay that is not running.
    #[arg(long, value_name = "DIR", default_value = "./data")]
    data: PathBuf,
    /// Asks a running relay at its admin address instead, such as http://127.0.0.1:8081.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// A token with the role privacy, for --admin. Without one: `dev-token`, the sandbox's.
    #[arg(long, env = "RELAY_ADMIN_TOKEN", hide_env_values = true)]
    token: Option<SecretString>,
}

/// Which records.
#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    whose: Whose,
    /// Not before (RFC 3339).
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Before (RFC 3339).
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Of this site.
    #[arg(long)]
    site: Option<String>,
    /// Of the event with this id, and what became of it.
    #[arg(long, value_name = "ID")]
    event_id: Option<String>,
}

impl Evidence {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        match self {
            Evidence::Verify(whose) => whose.verify().await,
            Evidence::Export(export) => export.run().await,
        }
    }
}

impl Whose {
    async fn verify(self) -> anyhow::Result<Exit> {
        let report: Value = match &self.admin {
            Some(admin) => {
                let body = self.ask(admin, &["admin", "v1", "evidence", "verify"], &[]).await?;
                serde_json::from_slice(&body).context("the relay's answer is no JSON")?
            }
            None => {
                let Some(queue) = open(&self.config, &self.data)? else {
                    return Ok(Exit::Configuration);
                };
                let report = evidence::verify(&queue, &self.data);
                queue.close().await;
                serde_json::to_value(report?)?
            }
        };
        println!("{report}");
        for problem in report.get("problems").and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default();
            eprintln!("{}: {}", text("file"), text("message"));
        }
        let is_whole = report.get("ok") == Some(&Value::Bool(true));
        Ok(if is_whole { Exit::Fine } else { Exit::Failed })
    }

    async fn ask(
        &self,
        admin: &str,
        path: &[&str],
        query: &[(&str, String)],
    ) -> anyhow::Result<Vec<u8>> {
        let token = self.token.clone().unwrap_or_else(|| SANDBOX_TOKEN.into());
        let answer = HttpClient::new(admin, Some(token))?.get(path, query).await?;
        if answer.status != 200 {
            bail!("{admin} answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        Ok(answer.body)
    }
}

/// Opens the folder, which takes its key. `None`: the configuration is invalid, and its problems
/// were printed.
fn open(config: &Path, data: &Path) -> anyhow::Result<Option<Queue>> {
    if !data.is_dir() {
        bail!("there is no data folder {}", data.display());
    }
    let loaded = relay::load(config, Secrets::Resolve, None);
    let Some(config) = relay::usable(loaded) else { return Ok(None) };
    let queue = relay::open_queue(data, &config, &clock::system())
        .context("a relay that is running is asked with --admin URL")?;
    Ok(Some(queue))
}

impl Export {
    async fn run(self) -> anyhow::Result<Exit> {
        let Export { whose, from, to, site, event_id } = self;
        let mut out = std::io::stdout();
        if let Some(admin) = &whose.admin {
            let times = [("from", from), ("to", to)];
            let times = times.into_iter().filter_map(|(name, at)| Some((name, at?.to_string())));
            let texts = [("site", site), ("event_id", event_id)];
            let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text?)));
            let query: Vec<(&str, String)> = times.chain(texts).collect();
            let lines = whose.ask(admin, &["admin", "v1", "evidence"], &query).await?;
            out.write_all(&lines).context("standard output is closed")?;
            return Ok(Exit::Fine);
        }
        let Some(queue) = open(&whose.config, &whose.data)? else {
            return Ok(Exit::Configuration);
        };
        let key = SubjectKey::new(&queue.subject_secret());
        let event = event_id.as_deref().map(|id| pipeline::trace_hash(&key, id));
        let wanted = Wanted { from, to, site, event, ..Wanted::default() };
        let mut written = Ok(());
        let show = &mut |line: &str, _: &Value| {
            if written.is_ok() {
                written = writeln!(out, "{line}");
            }
        };
        let read = evidence::read(&queue, &whose.data, &wanted, show);
        queue.close().await;
        read?;
        written.context("standard output is closed")?;
        Ok(Exit::Fine)
    }
}
