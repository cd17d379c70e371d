//! `check`: every problem of a configuration in one run. Sends nothing and needs no secret, unless
//! it is asked to try credentials (`--online`).

use std::{io::Write, path::PathBuf};

use clap::ValueEnum;
use jiff::{Timestamp, tz::TimeZone};

use super::{
    Exit,
    audit::warn_of_stale_lock,
    online::{self, Tried},
    relay,
};
use crate::{
    config::{LoadOptions, Loaded, Secrets, environment, load},
    destinations::REGISTRY,
};

/// Every problem of a configuration in one run, with file, line and a fix. Ends with 78 if there is
/// an error, with 1 if a credential is not taken (`--online`).
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// The configuration folder.
    #[arg(long, value_name = "DIR", default_value = "./config")]
    config: PathBuf,
    /// How findings are printed: as text on standard error, or as JSON on standard output.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Also try each destination's credentials, by the platform's least intrusive call. Sends no
    /// event.
    #[arg(long)]
    online: bool,
    /// With --online: the data folder of a relay that is stopped, in which to keep a refresh token
    /// that is replaced when it is used. Without it such a one is not tried.
    #[arg(long, value_name = "DIR", requires = "online")]
    data: Option<PathBuf>,
    /// Print the effective configuration as JSON, with defaults and without secrets.
    #[arg(long)]
    print: bool,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line each, on standard error.
    Text,
    /// One object, on standard output.
    Json,
}

impl Check {
    pub(super) fn run(self, now: Timestamp) -> anyhow::Result<Exit> {
        let options = LoadOptions {
            secrets: Secrets::Placeholder,
            sandbox_base: None,
            env: &environment,
            registry: REGISTRY,
        };
        let mut loaded = load(&self.config, &options);
        warn_of_stale_lock(&mut loaded, &self.config);
        loaded.look_at_versions(now.to_zoned(TimeZone::UTC).date());
        let mut tried = None;
        if loaded.config.is_some() && self.online {
            match relay::block_on(online::try_all(&self.config, self.data.as_deref()))? {
                Ok(all) => tried = Some(all),
                // Secrets are needed now, and are not all there.
                Err(unresolved) => loaded = unresolved,
            }
        }
        let (out, diagnostics) = (&mut std::io::stdout().lock(), &mut std::io::stderr().lock());
        print(&self, &loaded, tried.as_deref(), out, diagnostics)
    }
}

fn print(
    args: &Check,
    loaded: &Loaded,
    tried: Option<&[Tried]>,
    out: &mut dyn Write,
    diagnostics: &mut dyn Write,
) -> anyhow::Result<Exit> {
    match args.format {
        Format::Json => {
            let mut shown = loaded.to_json();
            if let (Some(tried), Some(members)) = (tried, shown.as_object_mut()) {
                members.insert("online".to_owned(), serde_json::to_value(tried)?);
            }
            writeln!(out, "{shown}")?;
        }
        Format::Text => {
            for finding in &loaded.findings {
                writeln!(diagnostics, "{finding}")?;
            }
            writeln!(diagnostics, "{}", summary(args, loaded))?;
            for one in tried.unwrap_or_default() {
                writeln!(diagnostics, "{one}")?;
            }
        }
    }
    if args.print
        && let Some(config) = &loaded.config
    {
        writeln!(out, "{:#}", config.describe())?;
    }
    let has_failed = tried.unwrap_or_default().iter().any(Tried::has_failed);
    Ok(match &loaded.config {
        None => Exit::Configuration,
        Some(_) if has_failed => Exit::Failed,
        Some(_) => Exit::Fine,
    })
}

fn summary(args: &Check, loaded: &Loaded) -> String {
    let dir = args.config.display();
    let warnings = counted(loaded.warnings().count(), "warning");
    match &loaded.config {
        Some(config) => format!(
            "{dir} is valid: mode {}, {}, {}, {}; {warnings}",
            config.mode.name(),
            counted(config.sites.len(), "site"),
            counted(config.plan.events.len(), "event"),
            counted(config.destinations.len(), "destination"),
        ),
        None => {
            format!("{dir} is invalid: {}, {warnings}", counted(loaded.errors().count(), "error"))
        }
    }
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], format: Format) -> (Exit, String, String) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let options = LoadOptions {
            secrets: Secrets::Placeholder,
            sandbox_base: None,
            env: &|_| None,
            registry: &[],
        };
        let args = Check {
            config: dir.path().to_owned(),
            format,
            online: false,
            data: None,
            print: false,
        };
        let loaded = load(dir.path(), &options);
        let (mut out, mut diagnostics) = (Vec::new(), Vec::new());
        let code = print(&args, &loaded, None, &mut out, &mut diagnostics).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (code, text(out), text(diagnostics))
    }

    #[test]
    fn warnings_alone_are_fine() {
        let (code, out, diagnostics) = check(&[("relay.toml", "")], Format::Text);
        assert_eq!((code, out.as_str()), (Exit::Fine, ""));
        assert!(diagnostics.contains("warning: "), "{diagnostics}");
        assert!(diagnostics.lines().last().unwrap().contains("is valid: mode sandbox, 1 site,"));
    }

    #[test]
    fn errors_are_78_with_place_and_fix() {
        let (code, out, diagnostics) = check(&[("relay.toml", "\nmod = \"live\"\n")], Format::Text);
        assert_eq!((code, out.as_str()), (Exit::Configuration, ""));
        assert!(
            diagnostics.contains("relay.toml:2: mod: unknown key; did you mean \"mode\"?"),
            "{diagnostics}"
        );
        let (code, out, diagnostics) = check(&[("relay.toml", "mod = 1")], Format::Json);
        assert_eq!((code, diagnostics.as_str()), (Exit::Configuration, ""));
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json["errors"], 1);
        let error = json["findings"].as_array().unwrap().iter().find(|f| f["severity"] == "error");
        assert_eq!(error.unwrap()["path"], "mod");
        assert_eq!(error.unwrap()["line"], 1);
    }

    #[test]
    fn an_empty_folder_is_no_configuration() {
        let (code, _, diagnostics) = check(&[], Format::Text);
        assert_eq!(code, Exit::Configuration);
        assert!(diagnostics.contains("none of relay.toml"), "{diagnostics}");
    }
}
