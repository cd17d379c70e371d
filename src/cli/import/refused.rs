//! The file of refused rows: the columns as they came, then the row, a code and the reason.

use std::{
    fs::{File, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::input::{Input, Row};
use crate::sources::Rejection;

/// A refused row.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) row: Row,
    pub(super) code: String,
    pub(super) reason: String,
}

impl Refusal {
    pub(super) fn of(row: Row, rejection: &Rejection) -> Self {
        let reason = reason(&rejection.path, &rejection.message);
        Self { row, code: rejection.code.name().to_owned(), reason }
    }
}

/// What was wrong, after where it was.
pub(super) fn reason(path: &str, message: &str) -> String {
    match path.trim_start_matches('/') {
        "" => message.to_owned(),
        path => format!("{path}: {message}"),
    }
}

/// The file, made with the first refused row.
pub(super) struct Refused {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl Refused {
    /// What is beyond `bytes` was written before a crash, and its rows are sent again: it goes.
    pub(super) fn open(path: PathBuf, bytes: u64) -> anyhow::Result<Self> {
        if path.exists() {
            let file = OpenOptions::new().write(true).open(&path);
            let cut = file.and_then(|file| file.set_len(bytes));
            cut.with_context(|| format!("cannot write {}", path.display()))?;
            if bytes == 0 {
                std::fs::remove_file(&path)?;
            }
        }
        Ok(Self { path, file: None, bytes })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How long it is.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds rows; on disk when it returns.
    pub(super) fn append(&mut self, input: &Input, refusals: &[Refusal]) -> anyhow::Result<()> {
        if refusals.is_empty() {
            return Ok(());
        }
        // As the file came, so that it can be imported itself once its rows are mended.
        let mut begin = Vec::new();
        if let (0, Some(zone)) = (self.bytes, &input.zone) {
            writeln!(begin, "Parameters:TimeZone={zone}")?;
        }
        let mut writer =
            csv::WriterBuilder::new().flexible(true).delimiter(input.separator).from_writer(begin);
        if self.bytes == 0 {
            let own: [&[u8]; 3] = [b"row", b"code", b"reason"];
            writer.write_record(input.headers.iter().chain(own))?;
        }
        for Refusal { row, code, reason } in refusals {
            let line = row.line.to_string();
            // A row that is too short leaves the last columns empty.
            let missing = input.headers.len().saturating_sub(row.cells.len());
            let cells = row.cells.iter().chain(std::iter::repeat_n(&b""[..], missing));
            let own = [line.as_bytes(), code.as_bytes(), reason.as_bytes()];
            writer.write_record(cells.chain(own))?;
        }
        let text = writer.into_inner().context("refused rows cannot be written")?;
        let failed = || format!("cannot write {}", self.path.display());
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                let open =
                    OpenOptions::new().write(true).create(true).truncate(false).open(&self.path);
                let mut file = open.with_context(failed)?;
                file.seek(SeekFrom::Start(self.bytes)).with_context(failed)?;
                file
            }
        };
        file.write_all(&text).and_then(|()| file.sync_data()).with_context(failed)?;
        self.bytes += text.len() as u64;
        self.file = Some(file);
        Ok(())
    }
}
