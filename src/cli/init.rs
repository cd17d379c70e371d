//! `init DIR`: writes a commented configuration to start from. What it writes is the shipped
//! example, which is the reference of every key; it refuses to overwrite anything.

use std::{fs, io::Write, path::PathBuf};

use anyhow::{Context as _, bail};

/// The files of the shipped configuration, by their path in the folder.
pub const SHIPPED: &[(&str, &str)] = &[
    ("relay.toml", include_str!("../../config/relay.toml")),
    ("events.toml", include_str!("../../config/events.toml")),
    ("consent.toml", include_str!("../../config/consent.toml")),
    ("destinations.toml", include_str!("../../config/destinations.toml")),
    ("rates.csv", include_str!("../../config/rates.csv")),
];

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder to write to; made if absent.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// Runs `init`; the result is the exit code.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    write(args)?;
    let dir = args.dir.display();
    let mut diagnostics = std::io::stderr().lock();
    writeln!(
        diagnostics,
        "{dir} holds a configuration; next: conversion-relay check --config {dir}"
    )?;
    Ok(0)
}

fn write(args: &Args) -> anyhow::Result<()> {
    // All are looked at before one is written, so that a refusal leaves nothing half done.
    let taken: Vec<&str> =
        SHIPPED.iter().map(|(name, _)| *name).filter(|name| args.dir.join(name).exists()).collect();
    if !taken.is_empty() {
        bail!("{} already holds {}; nothing was written", args.dir.display(), taken.join(", "));
    }
    for (name, text) in SHIPPED {
        let path = args.dir.join(name);
        let parent = path.parent().unwrap_or(&args.dir);
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_writes_every_file_once_and_never_over_another() {
        let dir = tempfile::tempdir().unwrap();
        let args = Args { dir: dir.path().join("new/config") };
        write(&args).unwrap();
        for (name, text) in SHIPPED {
            assert_eq!(fs::read_to_string(args.dir.join(name)).unwrap(), *text);
        }
        fs::write(args.dir.join("relay.toml"), "mine").unwrap();
        let error = write(&args).unwrap_err().to_string();
        assert!(error.contains("already holds relay.toml"), "{error}");
        assert_eq!(fs::read_to_string(args.dir.join("relay.toml")).unwrap(), "mine");
    }
}
