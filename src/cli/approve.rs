//! `approve`: a person signs the lock.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde_json::json;

use super::{Exit, street};
use crate::{
    audit,
    config::{FILES, ssh_sign},
    consent::{APPROVALS_FILE, LOCK_FILE, Lock, SignOff, file_hash},
};

/// Signs consent.lock: who, when, which combinations. In live mode nothing beyond it leaves then.
#[derive(Debug, clap::Args)]
pub(super) struct Approve {
    /// Who approves.
    #[arg(long = "as", value_name = "NAME")]
    by: String,
    /// The configuration folder.
    #[arg(long, value_name = "DIR", default_value = "./config")]
    config: PathBuf,
    /// Make an SSH signature too, with this key.
    #[arg(long, value_name = "FILE")]
    ssh_key: Option<PathBuf>,
}

impl Approve {
    pub(super) fn run(self, now: Timestamp) -> anyhow::Result<Exit> {
        let by = self.by.trim();
        if by.is_empty() || by.chars().count() > 200 || by.chars().any(char::is_control) {
            bail!("--as: expected a name of at most 200 characters");
        }
        let path = self.config.join(LOCK_FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                bail!("there is no {}; `audit --lock` writes it", path.display());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("{} cannot be read", path.display()));
            }
        };
        let text = std::str::from_utf8(&bytes)
            .with_context(|| format!("{} is not UTF-8", path.display()))?;
        let lock = Lock::parse(text)
            .with_context(|| format!("{} is no lock; `audit --lock` writes one", path.display()))?;

        let loaded = street::load_offline(&self.config);
        let Some(config) = loaded.config else {
            for finding in loaded.findings {
                eprintln!("{finding}");
            }
            return Ok(Exit::Configuration);
        };
        for news in audit::beyond(&audit::lock(&config), &lock) {
            eprintln!("not in the lock, so not approved: {}", audit::sentence(&news));
        }
        if config.consent.allowed_signers.is_some() && self.ssh_key.is_none() {
            bail!("consent.toml names allowed_signers: sign with --ssh-key FILE");
        }

        let mut approval = SignOff {
            by: by.to_owned(),
            at: now.round(jiff::Unit::Second).unwrap_or(now).to_string(),
            lock: file_hash(&bytes),
            combinations: lock.combinations().len().to_string(),
            files: hashes(&self.config),
            ssh: None,
        };
        if let Some(key) = &self.ssh_key {
            let signature = ssh_sign(&approval, key).map_err(anyhow::Error::msg)?;
            approval.ssh = Some(signature);
        }
        append(&self.config.join(APPROVALS_FILE), &approval.line())?;
        println!(
            "{}",
            json!({
                "by": approval.by,
                "at": approval.at,
                "lock": approval.lock,
                "combinations": lock.combinations().len(),
                "ssh": approval.ssh.is_some(),
            })
        );
        Ok(Exit::Fine)
    }
}

/// The configuration's files as they are that day.
fn hashes(dir: &Path) -> BTreeMap<String, String> {
    FILES
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), file_hash(&std::fs::read(dir.join(name)).ok()?))))
        .collect()
}

/// Adds a line; what was approved before stays on record.
fn append(path: &Path, line: &str) -> anyhow::Result<()> {
    let appended = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(line.as_bytes())?;
        file.sync_all()
    };
    appended().with_context(|| format!("{} cannot be written", path.display()))
}
