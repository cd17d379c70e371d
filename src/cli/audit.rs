//! `audit`: the privacy report of a configuration, and the lock that people approve.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::ValueEnum;
use serde_json::json;

use super::{Exit, street};
use crate::{
    audit::{self, Report},
    config::{Config, Finding, Loaded, Severity},
    consent::{LOCK_FILE, Lock, file_hash},
};

/// The privacy report: event, destination, region and consent, and what leaves; the record of
/// processing, data flow, retention and approvals; what a change would newly release.
#[derive(Debug, clap::Args)]
pub(super) struct Audit {
    /// The configuration folder.
    #[arg(long, value_name = "DIR", default_value = "./config")]
    config: PathBuf,
    /// How the report is printed; json where neither this nor --lock is given.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Another configuration folder, to tell what this one newly releases.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Write every combination that may leave to consent.lock, for `approve` to sign.
    #[arg(long)]
    lock: bool,
}

/// How the report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One document for people: no script, prints on A4.
    Html,
    /// One object.
    Json,
    /// A line for each event, destination, region and state.
    Csv,
}

impl Audit {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let Some(config) = usable(street::load_offline(&self.config)) else {
            return Ok(Exit::Configuration);
        };
        let other = match &self.against {
            None => None,
            Some(dir) => match usable(street::load_offline(dir)) {
                Some(other) => Some((dir.display().to_string(), other)),
                None => return Ok(Exit::Configuration),
            },
        };
        let mut out = std::io::stdout().lock();
        if self.lock {
            let summary = write_lock(&self.config, &config)?;
            if self.format.is_none() && other.is_none() {
                writeln!(out, "{summary}").context("standard output is closed")?;
                return Ok(Exit::Fine);
            }
        }
        let report = Report::new(&config, other.as_ref().map(|(name, c)| (name.as_str(), c)));
        let text = match self.format.unwrap_or(Format::Json) {
            Format::Html => report.html(),
            Format::Json => format!("{:#}\n", report.json()),
            Format::Csv => report.csv(),
        };
        out.write_all(text.as_bytes()).context("standard output is closed")?;
        Ok(Exit::Fine)
    }
}

fn usable(loaded: Loaded) -> Option<Config> {
    if loaded.config.is_none() {
        for finding in &loaded.findings {
            eprintln!("{finding}");
        }
    }
    loaded.config
}

/// Writes the lock, tells people what is new in it, and returns the same for machines.
fn write_lock(dir: &Path, config: &Config) -> anyhow::Result<serde_json::Value> {
    let lock = audit::lock(config);
    let text = lock.text();
    let path = dir.join(LOCK_FILE);
    let nothing = Lock::default();
    let before = config.approval.lock.as_ref().unwrap_or(&nothing);
    let (released, withheld) = (audit::beyond(&lock, before), audit::beyond(before, &lock));
    if config.approval.lock.is_some() {
        for news in &released {
            eprintln!("new: {}", audit::sentence(news));
        }
    } else {
        // Without one everything is new, and the list is the lock itself.
        eprintln!("no lock before: {} combinations", lock.combinations().len());
    }
    let changed = file_hash(text.as_bytes()) != config.approval.hash;
    if changed {
        write_whole(dir, &path, &text)?;
        eprintln!("{} is written; `approve --as NAME` signs it", path.display());
    } else {
        eprintln!("{} is as it was", path.display());
    }
    Ok(json!({
        "lock": path,
        "hash": file_hash(text.as_bytes()),
        "changed": changed,
        "combinations": lock.combinations().len(),
        "newly_released": audit::news_json(&released),
        "no_longer_released": audit::news_json(&withheld),
    }))
}

/// A relay that reloads meanwhile sees the old file or the new one, never half of one.
fn write_whole(dir: &Path, path: &Path, text: &str) -> anyhow::Result<()> {
    let written = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // The relay often runs as somebody else than the reviewer; the file holds no secret.
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        file.persist(path)?;
        Ok(())
    };
    written().with_context(|| format!("{} cannot be written", path.display()))
}

/// Adds a warning for everything that the rules allow and the lock in force does not.
pub(super) fn warn_of_stale_lock(loaded: &mut Loaded, dir: &Path) {
    let Some(config) = loaded.config.as_ref().filter(|config| config.approval.enforced) else {
        return;
    };
    let Some(locked) = config.approval.in_force() else { return };
    let beyond = audit::beyond(&audit::lock(config), locked);
    loaded.findings.extend(beyond.iter().map(|news| Finding {
        severity: Severity::Warning,
        file: dir.join(LOCK_FILE).display().to_string(),
        line: 0,
        path: String::new(),
        message: format!("not approved, so it does not leave: {}", audit::sentence(news)),
    }));
}
