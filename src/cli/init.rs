//! `init DIR`: writes a commented configuration to start from. What it writes is the shipped
//! example, which is the reference of every key; it refuses to overwrite anything.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use super::Exit;

/// The files of the shipped configuration, by their path in the folder.
const SHIPPED: &[(&str, &str)] = &[
    ("relay.toml", include_str!("../../config/relay.toml")),
    ("events.toml", include_str!("../../config/events.toml")),
    ("consent.toml", include_str!("../../config/consent.toml")),
    ("destinations.toml", include_str!("../../config/destinations.toml")),
    ("rates.csv", include_str!("../../config/rates.csv")),
    ("tests/checkout_in_euro.toml", include_str!("../../config/tests/checkout_in_euro.toml")),
    ("tests/checkout_opted_out.toml", include_str!("../../config/tests/checkout_opted_out.toml")),
    ("tests/empty_cart.toml", include_str!("../../config/tests/empty_cart.toml")),
    ("tests/first_purchase.toml", include_str!("../../config/tests/first_purchase.toml")),
    ("tests/germany_granted.toml", include_str!("../../config/tests/germany_granted.toml")),
    ("tests/germany_silent.toml", include_str!("../../config/tests/germany_silent.toml")),
    (
        "tests/germany_without_personalisation.toml",
        include_str!("../../config/tests/germany_without_personalisation.toml"),
    ),
    ("tests/large_cart.toml", include_str!("../../config/tests/large_cart.toml")),
    ("tests/lead_without_email.toml", include_str!("../../config/tests/lead_without_email.toml")),
    ("tests/purchase.toml", include_str!("../../config/tests/purchase.toml")),
    ("tests/refund.toml", include_str!("../../config/tests/refund.toml")),
    ("tests/refused_in_the_us.toml", include_str!("../../config/tests/refused_in_the_us.toml")),
    ("tests/too_late.toml", include_str!("../../config/tests/too_late.toml")),
    ("tests/unknown_name.toml", include_str!("../../config/tests/unknown_name.toml")),
];

/// Writes a commented configuration to start from; never over another.
#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// The folder to write to; made if absent.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Init {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        write(&self.dir)?;
        let dir = self.dir.display();
        let mut diagnostics = std::io::stderr().lock();
        writeln!(
            diagnostics,
            "{dir} holds a configuration; next: conversion-relay check --config {dir}"
        )?;
        Ok(Exit::Fine)
    }
}

/// Writes the shipped configuration to a folder, made if absent.
pub(super) fn write(dir: &Path) -> anyhow::Result<()> {
    // All are looked at before one is written, so that a refusal leaves nothing half done.
    let taken: Vec<&str> =
        SHIPPED.iter().map(|(name, _)| *name).filter(|name| dir.join(name).exists()).collect();
    if !taken.is_empty() {
        bail!("{} already holds {}; nothing was written", dir.display(), taken.join(", "));
    }
    for (name, text) in SHIPPED {
        let path = dir.join(name);
        let parent = path.parent().unwrap_or(dir);
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
        let args = Init { dir: dir.path().join("new/config") };
        write(&args.dir).unwrap();
        for (name, text) in SHIPPED {
            assert_eq!(fs::read_to_string(args.dir.join(name)).unwrap(), *text);
        }
        fs::write(args.dir.join("relay.toml"), "mine").unwrap();
        let error = write(&args.dir).unwrap_err().to_string();
        assert!(error.contains("already holds relay.toml"), "{error}");
        assert_eq!(fs::read_to_string(args.dir.join("relay.toml")).unwrap(), "mine");
    }
}
