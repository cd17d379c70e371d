//! How far an import is: one small file beside the imported one, replaced whole after each answer.

use std::{fs::File, io, path::Path};

use anyhow::{Context as _, bail};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::super::batches::Counts;
use crate::queue::write_whole;

/// How far it is, and of what.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Progress {
    /// SHA-256 of the file and of the map, and the relay.
    file: String,
    map: String,
    relay: String,
    /// Rows that were answered for, without a gap.
    pub(super) rows: u64,
    /// Where the next row begins: byte, and lines before it.
    pub(super) at: u64,
    pub(super) line: u64,
    /// How long the file of refused rows is.
    pub(super) refused_bytes: u64,
    pub(super) counts: Counts,
    pub(super) warnings: u64,
    pub(super) rejected: u64,
    pub(super) finished: bool,
}

/// What was done before.
pub(super) enum Begun {
    New(Progress),
    GoesOn(Progress),
    Finished(Progress),
}

impl Progress {
    /// The beginning of an import.
    pub(super) fn of(file: &Path, map: &[u8], relay: &str) -> anyhow::Result<Self> {
        Ok(Self {
            file: fingerprint(File::open(file)?)?,
            map: fingerprint(map)?,
            relay: relay.to_owned(),
            ..Self::default()
        })
    }

    /// What was done before of an import. Fails where that was another one, since going on in the
    /// middle of it would leave rows out.
    pub(super) fn load(path: &Path, fresh: Self, again: bool) -> anyhow::Result<Begun> {
        let shown = path.display();
        let text = match std::fs::read(path) {
            Ok(_) if again => return Ok(Begun::New(fresh)),
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Begun::New(fresh)),
            Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
        };
        let known: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{shown} is damaged; --again begins at the first row"))?;
        for (what, was, is) in [
            ("the file", &known.file, &fresh.file),
            ("the map", &known.map, &fresh.map),
            ("the relay", &known.relay, &fresh.relay),
        ] {
            if was != is {
                bail!(
                    "{what} is another one than when {} rows were imported ({shown}); --again \
                     begins at the first row, and rows with an id or an order id that were sent \
                     before are duplicates",
                    known.rows
                );
            }
        }
        Ok(match known {
            known if known.finished => Begun::Finished(known),
            known if known.rows == 0 => Begun::New(fresh),
            known => Begun::GoesOn(known),
        })
    }

    /// Replaces the file; on disk when it returns.
    pub(super) fn save(&self, path: &Path) -> anyhow::Result<()> {
        write_whole(path, &serde_json::to_vec(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

fn fingerprint(mut input: impl io::Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = input.read(&mut buffer)?;
        if read == 0 {
            return Ok(HEXLOWER.encode(&hash.finalize()));
        }
        hash.update(buffer.get(..read).unwrap_or_default());
    }
}
