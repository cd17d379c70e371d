//! The file: its rows one by one, where each begins, and going on in the middle.

use std::{
    fs::File,
    io::{BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use anyhow::Context as _;
use csv::{ByteRecord, StringRecord};
use jiff::tz::TimeZone;

use crate::sources::{
    Rejection, Told,
    rows::{self, RowMap, Rows, Start},
};

/// The header is within so many bytes.
const LONGEST_HEADER: u64 = 64 * 1024;
/// What tells whether the last quote was closed is within so many bytes of the end.
const LONGEST_END: u64 = 1024;

/// A row as it stands in the file.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// The line on which it begins, counted from 1.
    pub(super) line: u64,
    pub(super) cells: ByteRecord,
}

/// An open file.
pub(super) struct Input {
    path: std::path::PathBuf,
    reader: csv::Reader<BufReader<File>>,
    /// What separates its columns.
    pub(super) separator: u8,
    /// The time zone that the file names, as it is written there.
    pub(super) zone: Option<String>,
    /// Where the reader began: byte, and lines before it.
    base: (u64, u64),
    pub(super) headers: ByteRecord,
    pub(super) rows: Rows,
    /// Bytes of the file.
    pub(super) length: u64,
    /// The site of rows that name none.
    pub(super) site: Option<String>,
    start: Start,
    /// The file's last bytes.
    end: Vec<u8>,
}

impl Input {
    /// Opens a file; the inner error: everything that is wrong with the map for it.
    pub(super) fn open(
        path: &Path,
        map: Option<&RowMap>,
    ) -> anyhow::Result<Result<Self, Vec<String>>> {
        let unreadable = || format!("cannot read {}", path.display());
        let mut file = File::open(path).with_context(unreadable)?;
        let length = file.metadata().with_context(unreadable)?.len();
        let mut first = Vec::new();
        (&mut file).take(LONGEST_HEADER).read_to_end(&mut first).with_context(unreadable)?;
        let start = Start::of(&first);
        let mut end = Vec::new();
        file.seek(SeekFrom::Start(length.saturating_sub(LONGEST_END))).with_context(unreadable)?;
        (&mut file).take(LONGEST_END).read_to_end(&mut end).with_context(unreadable)?;
        let separator = map.and_then(|map| map.separator).unwrap_or(start.separator);
        let at = start.header_at as u64;
        let mut reader = reader(file, at, separator, true).with_context(unreadable)?;
        let headers = reader.byte_headers().with_context(unreadable)?.clone();
        let Ok(names) = StringRecord::from_byte_record(headers.clone()) else {
            return Ok(Err(vec!["the header is not UTF-8; save the file as CSV UTF-8".to_owned()]));
        };
        let names: Vec<&str> = names.iter().map(str::trim).collect();
        let rows = match Rows::bind(&names, map, start.time_zone()) {
            Ok(rows) => rows.separated_by(separator),
            Err(problems) => return Ok(Err(problems)),
        };
        if let Some(zone) = &start.zone
            && start.time_zone().is_none()
        {
            return Ok(Err(vec![format!("the file names {zone:?}, which is no time zone")]));
        }
        let path = path.to_owned();
        let base = (at, start.lines);
        let site = None;
        let zone = start.zone.clone();
        Ok(Ok(Self {
            path,
            reader,
            separator,
            zone,
            base,
            headers,
            rows,
            length,
            site,
            start,
            end,
        }))
    }

    /// The time zone of times without an offset, where neither the map nor the file names one.
    pub(super) fn set_zone(&mut self, zone: TimeZone) {
        self.rows.set_zone(zone);
    }

    /// Goes to where a row begins.
    pub(super) fn go_to(&mut self, at: u64, line: u64) -> anyhow::Result<()> {
        let file = File::open(&self.path)?;
        self.reader = reader(file, at, self.separator, false)?;
        self.base = (at, line);
        Ok(())
    }

    /// Where the next row begins: byte, and lines before it.
    pub(super) fn place(&self) -> (u64, u64) {
        let position = self.reader.position();
        (self.base.0 + position.byte(), self.base.1 + position.line() - 1)
    }

    /// The next row that says something.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Row>> {
        let mut cells = ByteRecord::new();
        loop {
            let before = self.reader.position().line();
            if !self.reader.read_byte_record(&mut cells).context("the file cannot be read")? {
                return Ok(None);
            }
            if !rows::is_blank(&cells) {
                let line = self.start.line_of(before, self.reader.position().line(), &cells);
                return Ok(Some(Row { line: self.base.1 + line, cells }));
            }
        }
    }

    /// The event of a row.
    pub(super) fn event(&self, row: &Row) -> Result<Told<'static>, Rejection> {
        if self.place().0 >= self.length && rows::is_unclosed(&row.cells, &self.end) {
            return Err(rows::unclosed());
        }
        self.rows.record(&row.cells, self.site.as_deref())
    }
}

fn reader(
    mut file: File,
    at: u64,
    separator: u8,
    has_headers: bool,
) -> std::io::Result<csv::Reader<BufReader<File>>> {
    file.seek(SeekFrom::Start(at))?;
    Ok(csv::ReaderBuilder::new()
        .flexible(true)
        .has_headers(has_headers)
        .delimiter(separator)
        .from_reader(BufReader::with_capacity(1 << 16, file)))
}
