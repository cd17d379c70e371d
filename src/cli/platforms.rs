//! `platforms`: the settings of each platform's own, as the registry has them. It refuses to know those
//! that all destinations have in common, and what is configured.

use std::io::{self, Write};

use serde_json::json;

use super::Exit;
use crate::destinations::{Key, KeyKind, Platform, REGISTRY};

/// Every platform's own settings, or one's: `{"platform", "file", "key", "takes", "means"}`, one a line.
#[derive(Debug, clap::Args)]
pub(super) struct Platforms {
    /// Only this platform's.
    #[arg(value_parser = named)]
    platform: Option<&'static Platform>,
}

impl Platforms {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        list(self.platform, io::stdout().lock())?;
        Ok(Exit::Fine)
    }
}

/// A platform by its name, or which there are.
pub(super) fn named(name: &str) -> Result<&'static Platform, String> {
    crate::destinations::platform(name).ok_or_else(|| {
        let names: Vec<&str> = REGISTRY.iter().map(|platform| platform.name).collect();
        format!("there are {}", names.join(", "))
    })
}

fn list(only: Option<&'static Platform>, mut output: impl Write) -> io::Result<()> {
    for platform in REGISTRY.iter().filter(|it| only.is_none_or(|only| only.name == it.name)) {
        let of_section = platform.keys.iter().map(|key| ("destinations.toml", key));
        let of_entry = platform.entry_keys.iter().map(|key| ("events.toml", key));
        for (file, Key { name, kind, help }) in of_section.chain(of_entry) {
            let line = json!({"platform": platform.name, "file": file, "key": name,
                "takes": takes(*kind), "means": help});
            writeln!(output, "{line}")?;
        }
    }
    Ok(())
}

fn takes(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Text | KeyKind::Recipient => "a text",
        KeyKind::Secret => "a secret: { env = \"NAME\" } or { file = \"path\" }",
        KeyKind::Bool => "true or false",
        KeyKind::Number => "a number",
        KeyKind::Any => "a table or list",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_the_registry_is_told_with_what_it_means() {
        let mut output = Vec::new();
        list(None, &mut output).unwrap();
        let lines: Vec<serde_json::Value> = String::from_utf8(output)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let mut told = lines.iter();
        for platform in REGISTRY {
            for key in platform.keys.iter().chain(platform.entry_keys) {
                let line = told.next().unwrap();
                assert_eq!(
                    (&line["platform"], &line["key"]),
                    (&json!(platform.name), &json!(key.name))
                );
                assert!(line["means"].as_str().unwrap().len() > 5, "{line}");
            }
        }
        assert!(told.next().is_none());
    }

    #[test]
    fn one_platform_has_its_own_alone() {
        for platform in REGISTRY {
            let mut output = Vec::new();
            list(Some(named(platform.name).unwrap()), &mut output).unwrap();
            let count = output.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(count, platform.keys.len() + platform.entry_keys.len(), "{}", platform.name);
        }
        assert!(named("metaa").unwrap_err().contains("meta, "));
    }
}
