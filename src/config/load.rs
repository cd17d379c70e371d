//! The shell of the configuration: reads the folder, the environment and secret files, and has
//! everything resolved. It decides nothing about what the files mean.

use std::{cell::RefCell, collections::BTreeMap, io, path::Path};

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use super::{
    Config, Fallback, Finding, Secrets, Severity,
    approval::{ApprovalFiles, standing},
    document::Document,
    finding::{Place, Report},
    resolve::{Context, Documents, mode, resolve},
    secret::Vault,
    signature,
};
use crate::{
    consent::{APPROVALS_FILE, LOCK_FILE},
    destinations::{Mode, Platform},
};

/// The four files. Each may be absent (its keys have defaults), but a folder without any is no
/// configuration.
pub const FILES: [&str; 4] = ["relay.toml", "events.toml", "consent.toml", "destinations.toml"];

/// What of a valid configuration a running relay may refuse to take over.
const TAKEN_OVER: [&str; 4] = ["mode", "listen.public_tls", "listen.admin_tls", "queue"];

/// How a configuration is loaded.
pub struct LoadOptions<'a> {
    /// Whether secrets are resolved: to serve, not to check, explain or test.
    pub secrets: Secrets,
    /// `http://ADDRESS` of the sandbox. Given to serve: in sandbox mode every destination but a
    /// shadow one then delivers to `http://ADDRESS/PLATFORM`.
    pub sandbox_base: Option<String>,
    /// Reads an environment variable; [`environment`] outside of tests.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Which platforms there are; [`crate::destinations::REGISTRY`] outside of tests.
    pub registry: &'static [&'static Platform],
}

impl std::fmt::Debug for LoadOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadOptions")
            .field("secrets", &self.secrets)
            .field("sandbox_base", &self.sandbox_base)
            .finish_non_exhaustive()
    }
}

/// What came of loading.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration; `None` where any finding is an error.
    pub config: Option<Config>,
    /// Every problem, errors and warnings, by file and line.
    pub findings: Vec<Finding>,
    /// Secrets that were not there in sandbox mode, and what takes their place.
    pub fallbacks: Vec<Fallback>,
    /// Where each destination stands.
    pub(super) places: BTreeMap<String, Place>,
    /// Where what a running relay may refuse to take over stands, by dotted path.
    pub(super) settings: BTreeMap<&'static str, Place>,
    /// The files that its hash stands for, by their names in the folder: as written, so without
    /// secrets, of which they hold references only.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Loaded {
    /// The errors among the findings.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error)
    }

    /// The warnings among the findings.
    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Warning)
    }

    /// What a refused reload answers where the files are valid and the relay that runs cannot take a
    /// setting over: the same, with the problem where the setting stands.
    pub fn refused(mut self, path: &str, message: String) -> serde_json::Value {
        let Place { file, line, path } = self.settings.get(path).cloned().unwrap_or_default();
        let severity = Severity::Error;
        self.findings.insert(0, Finding { severity, file, line, path, message });
        self.config = None;
        self.to_json()
    }

    /// What `check --format json` prints and a refused reload answers.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "config": self.config.as_ref().map(|config| config.hash.as_str()),
            "errors": self.errors().count(),
            "warnings": self.warnings().count(),
            "findings": self.findings,
        })
    }
}

/// Reads an environment variable of this process; one that is not UTF-8 counts as not set.
#[allow(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Loads the configuration of a folder. Never fails: what is wrong is among the findings.
pub fn load(dir: &Path, options: &LoadOptions<'_>) -> Loaded {
    let (report, quiet) = (Report::default(), Report::default());
    let file = |name: &str| -> io::Result<Vec<u8>> { std::fs::read(dir.join(name)) };
    let files = FILES.map(|name| (name, read(dir, name, &report)));
    if files.iter().all(|(_, bytes)| bytes.is_none()) && !report.has_errors() {
        report.error(&Place::of_file(&dir.display().to_string()), nothing_here(dir));
        let findings = report.into_findings(&[]);
        return Loaded {
            config: None,
            findings,
            fallbacks: Vec::new(),
            places: BTreeMap::new(),
            settings: BTreeMap::new(),
            files: Vec::new(),
        };
    }
    let [relay, events, consent, destinations] = files.each_ref().map(|(name, bytes)| {
        let shown = dir.join(name).display().to_string();
        parse(&shown, bytes.as_deref().unwrap_or_default(), &report)
    });
    let documents = Documents { relay, events, consent, destinations };
    let mode = mode(&documents.relay.root(&quiet));
    let vault = Vault {
        secrets: options.secrets,
        sandbox: mode == Mode::Sandbox,
        env: options.env,
        file: &file,
        fallbacks: RefCell::default(),
    };
    let context = Context {
        registry: options.registry,
        mode,
        sandbox_base: options.sandbox_base.as_deref(),
        folder: dir,
        vault: &vault,
        report: &report,
    };
    // The rates are part of what the hash stands for; secrets are not.
    let rates = documents.events.root(&quiet).table("rates").get("file");
    let rates =
        rates.and_then(|node| Some((node.as_text()?.to_owned(), file(node.as_text()?).ok())));
    let rates_hashed = rates.iter().map(|(_, bytes)| ("rates", bytes.clone()));
    let approval = ApprovalFiles {
        lock: read(dir, LOCK_FILE, &report),
        approvals: read(dir, APPROVALS_FILE, &report),
    };
    // What is approved is part of the rules in force.
    let approved =
        [(LOCK_FILE, approval.lock.clone()), (APPROVALS_FILE, approval.approvals.clone())];
    let hash = hash(files.iter().cloned().chain(rates_hashed).chain(approved.clone()));
    let mut config = resolve(&documents, &context, hash);
    tell_of_strays(dir, &report);
    if let Some(config) = &mut config {
        stand(config, &approval, dir, &report);
    }
    let fallbacks = vault.fallbacks.into_inner();
    let order = FILES.map(|name| dir.join(name).display().to_string());
    let section = documents.destinations.root(&quiet);
    let names = config.iter().flat_map(|config| config.destinations.keys());
    let places = names.map(|name| (name.clone(), section.table(name).place().clone())).collect();
    let relay = documents.relay.root(&quiet);
    let settings = TAKEN_OVER.map(|path| (path, relay.place_of(path))).into();
    let named = files.into_iter().chain(approved);
    let named = named.map(|(name, bytes)| (name.to_owned(), bytes)).chain(rates);
    let files = named.filter_map(|(name, bytes)| Some((name, bytes?))).collect();
    Loaded { config, findings: report.into_findings(&order), fallbacks, places, settings, files }
}

/// Has the lock stand, and says so where it approves nothing.
fn stand(config: &mut Config, files: &ApprovalFiles, dir: &Path, report: &Report) {
    let signers = config.consent.allowed_signers.as_ref().map(|name| dir.join(name));
    config.approval = standing(config, files, &|one| match &signers {
        Some(signers) => signature::verify(one, signers),
        None => Ok(()),
    });
    let approval = &config.approval;
    if let (true, Some(void)) = (approval.enforced, &approval.void) {
        let message = format!(
            "{void}; nothing leaves (not_approved) until a lock is signed: run `audit --lock`, \
             then `approve --as NAME`"
        );
        report.warning(&Place::of_file(&dir.join(LOCK_FILE).display().to_string()), message);
    }
}

fn nothing_here(dir: &Path) -> String {
    let what = if dir.is_dir() {
        format!("none of {} is here", FILES.join(", "))
    } else {
        "there is no such folder".to_owned()
    };
    format!("{what}; `conversion-relay init DIR` writes a configuration to start from")
}

/// A file's bytes; `None` where it is absent, or cannot be read, which is reported.
fn read(dir: &Path, name: &str, report: &Report) -> Option<Vec<u8>> {
    let path = dir.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            let place = Place::of_file(&path.display().to_string());
            report.error(&place, format!("cannot be read: {error}"));
            None
        }
    }
}

fn parse<'t>(shown: &str, bytes: &'t [u8], report: &Report) -> Document<'t> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Document::parse(shown, text, report),
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
            report.error(&Place { line, ..Place::of_file(shown) }, "is not UTF-8");
            Document::parse(shown, "", report)
        }
    }
}

/// The hash of a configuration's folder, as of one that is loaded, and the names of the files that it
/// stands for. `None` where a file of it may lie elsewhere.
pub fn hash_of(dir: &Path) -> Option<(String, Vec<String>)> {
    let read = |name: &'static str| (name, std::fs::read(dir.join(name)).ok());
    let files = FILES.map(read);
    let events = files.iter().find(|(name, _)| *name == "events.toml");
    let events = events.and_then(|(_, bytes)| std::str::from_utf8(bytes.as_deref()?).ok());
    let events = events.and_then(|text| text.parse::<toml::Table>().ok()).unwrap_or_default();
    let rates = events.get("rates").and_then(|rates| rates.get("file")?.as_str());
    let is_within = |name: &str| {
        Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)))
    };
    if rates.is_some_and(|name| !is_within(name)) {
        return None;
    }
    let names = FILES.into_iter().chain([LOCK_FILE, APPROVALS_FILE]).chain(rates);
    let names = names.map(str::to_owned).collect();
    let rates = rates.map(|name| ("rates", std::fs::read(dir.join(name)).ok()));
    let approved = [LOCK_FILE, APPROVALS_FILE].map(read);
    Some((hash(files.into_iter().chain(rates).chain(approved)), names))
}

/// Says of a file beside the four that bears the name of none: a rule in a misspelled file holds
/// nothing back.
fn tell_of_strays(dir: &Path, report: &Report) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".toml") && !FILES.contains(&name.as_str()))
        .filter(|name| dir.join(name).is_file())
        .collect();
    names.sort();
    for name in names {
        let nearest = FILES
            .into_iter()
            .map(|known| (strsim::damerau_levenshtein(known, &name), known))
            .min()
            .filter(|(distance, _)| *distance <= 3)
            .map_or(String::new(), |(_, known)| format!("; the nearest name is {known}"));
        let message = format!(
            "is not read: a configuration is {}{nearest}; elsewhere it confuses nobody",
            FILES.join(", ")
        );
        report.warning(&Place::of_file(&dir.join(&name).display().to_string()), message);
    }
}

/// SHA-256 over names, lengths and bytes, hex.
fn hash<'f>(files: impl Iterator<Item = (&'f str, Option<Vec<u8>>)>) -> String {
    let mut hasher = Sha256::new();
    for (name, bytes) in files {
        let Some(bytes) = bytes else { continue };
        hasher.update(name.as_bytes());
        hasher.update([0]);
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    HEXLOWER.encode(&hasher.finalize())
}
