//! Reading the log: whole, from the first record that is still kept, each record held against the
//! hash of the one before and the last against what the store says. Nothing is changed.

use std::{collections::BTreeMap, io, path::Path};

use serde::Serialize;
use serde_json::Value;

use super::{
    chain::{Chain, DAY_LENGTH, Hash, hash, hex},
    configurations,
    files::{self, BlockHead, Blocks, Next},
    record::{self, Belonging, Wanted, matches},
};
use crate::queue::{Queue, Refused, Waiting};

/// So many problems are told one by one.
const MOST_PROBLEMS: usize = 100;
/// Commits of the outbox that are read for an export; the writer keeps it far below.
const MOST_WAITING: usize = 1_000_000;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Nothing was changed, moved or taken away.
    pub ok: bool,
    /// Files read.
    pub files: usize,
    /// The first record that is still kept.
    pub first: u64,
    /// Records ever written: the number of the last one.
    pub records: u64,
    /// The hash of the last one, hex.
    pub head: String,
    /// Commits whose records are not in a file yet.
    pub waiting: usize,
    /// What is wrong, in order.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The first record it is about.
    pub record: u64,
    /// The last one.
    pub to: u64,
    /// `changed`, `missing`, `out_of_order`, `unreadable`, `surplus`.
    pub code: &'static str,
    /// For a person who reads it.
    pub message: String,
}

/// Verifies the log of a data folder whose queue is open.
pub fn verify(queue: &Queue, data: &Path) -> Result<Report, Refused> {
    let (chain, waiting) = state(queue)?;
    let mut configurations: BTreeMap<String, u64> = BTreeMap::new();
    let mut see = |_: &str, record: &Value| {
        let [config, number] = ["config", "n"].map(|key| record.get(key));
        if let (Some(config), Some(number)) =
            (config.and_then(Value::as_str), number.and_then(Value::as_u64))
            && !configurations.contains_key(config)
        {
            configurations.insert(config.to_owned(), number);
        }
    };
    let mut report = walk(queue, data, &chain, None, &mut see)?;
    report.waiting = waiting.len();
    surplus(queue, data, &mut report)?;
    for (hash, first) in &configurations {
        let (hash, first) = (hash.as_str(), *first);
        let Some(code) = configurations::problem(data, hash) else { continue };
        let file = format!("config/{hash}");
        let message = format!("{code}: the copy of the configuration that record {first} names");
        report.ok = false;
        report.problems.push(Problem { file, record: first, to: first, code, message });
    }
    let failed = |error: io::Error| Refused::Store(format!("the decision log: {error}"));
    for name in configurations::surplus(data).map_err(failed)? {
        // Of one that a record names it was said that it is changed.
        if !configurations.contains_key(&name) {
            let message = "it is no part of a kept configuration".to_owned();
            let (file, code) = (format!("{}/{name}", configurations::FOLDER), "surplus");
            let record = report.records;
            report.ok = false;
            report.problems.push(Problem { file, record, to: record, code, message });
        }
    }
    Ok(report)
}

/// What lies in the folder that is not the log's: other files, and bytes beyond what counts. Where
/// commits wait for their file such bytes are those of a crash, and the writer cuts them.
fn surplus(queue: &Queue, data: &Path, report: &mut Report) -> Result<(), Refused> {
    let failed = |error: io::Error| Refused::Store(format!("the decision log: {error}"));
    let folder = files::folder(data);
    // In this order: what was there before the state was read is counted by it, or waits.
    let found = files::all(&folder).map_err(failed)?;
    let (chain, waiting) = state(queue)?;
    let place = files::order;
    for (name, length) in found {
        let is_newer = || chain.file.is_empty() || place(&name) > place(&chain.file);
        let message = if name == configurations::FOLDER {
            continue;
        } else if !files::is_name(&name) {
            "it is no file of the decision log".to_owned()
        } else if place(&name) < place(&chain.first_file) {
            "it is older than the first record that is kept".to_owned()
        } else if waiting.is_empty() && is_newer() {
            "it is newer than the last record".to_owned()
        } else if waiting.is_empty() && name == chain.file && length > chain.bytes {
            let bytes = length - chain.bytes;
            format!("{bytes} bytes stand after record {}, which is the last", chain.length)
        } else {
            continue;
        };
        report.ok = false;
        let (record, code) = (chain.length, "surplus");
        report.problems.push(Problem { file: name, record, to: record, code, message });
    }
    Ok(())
}

/// Shows every record that is asked for, as the line that was hashed; those that are not in a file
/// yet too. What cannot be read is passed over: [`verify`] tells of it.
pub fn read(
    queue: &Queue,
    data: &Path,
    wanted: &Wanted,
    show: &mut dyn FnMut(&str, &Value),
) -> Result<(), Refused> {
    let (mut chain, waiting) = state(queue)?;
    let mut events: Belonging = wanted.belonging();
    let mut see = |line: &str, record: &Value| {
        if matches(record, wanted, &mut events) {
            show(line, record);
        }
    };
    walk(queue, data, &chain, wanted.first_day().as_deref(), &mut see)?;
    for one in waiting {
        for evidence in &one.lines {
            let line = chain.link(&record::body(one.at, evidence));
            if let Ok(value) = serde_json::from_str(&line) {
                see(&line, &value);
            }
        }
    }
    Ok(())
}

/// How far the log has come, and what waits beyond that, as of one moment.
fn state(queue: &Queue) -> Result<(Chain, Vec<Waiting>), Refused> {
    // First what waits: what is moved meanwhile is told by its number.
    let mut waiting = queue.evidence_now(MOST_WAITING)?;
    let chain = Chain::decode(queue.evidence_state()?.as_deref()).map_err(Refused::Store)?;
    waiting.retain(|one| one.number > chain.moved || chain.length == 0);
    Ok((chain, waiting))
}

/// Where the walk is.
struct Walk<'a> {
    report: Report,
    /// The record that comes next.
    expected: u64,
    /// The hash of the one before, and its file; `None` where it could not be read.
    before: Option<Hash>,
    before_file: String,
    see: &'a mut dyn FnMut(&str, &Value),
}

fn walk(
    queue: &Queue,
    data: &Path,
    chain: &Chain,
    from_day: Option<&str>,
    see: &mut dyn FnMut(&str, &Value),
) -> Result<Report, Refused> {
    let failed = |error: io::Error| Refused::Store(format!("the decision log: {error}"));
    let folder = files::folder(data);
    let report = Report {
        ok: true,
        files: 0,
        first: chain.first,
        records: chain.length,
        head: hex(&chain.head),
        waiting: 0,
        problems: Vec::new(),
    };
    let mut walk = Walk {
        report,
        expected: chain.first,
        before: Some(chain.before_first),
        before_file: chain.first_file.clone(),
        see,
    };
    let mut is_passed_over = false;
    for name in files::list(&folder).map_err(failed)? {
        // Before: over, and about to go. After: written since the state was read.
        let place = files::order(&name);
        if place < files::order(&chain.first_file) || place > files::order(&chain.file) {
            continue;
        }
        if from_day.is_some_and(|day| name.get(..DAY_LENGTH).is_some_and(|own| own < day)) {
            // Nobody asks whether what is passed over is whole.
            is_passed_over = true;
            continue;
        }
        let counts = if name == chain.file { chain.bytes } else { u64::MAX };
        walk.report.files += 1;
        let opened = Blocks::open(&folder, &name, counts).map_err(failed)?;
        let Some(mut blocks) = opened else {
            let at = walk.expected;
            walk.tell(&name, "unreadable", at, at, "the file's beginning is not one of this log");
            walk.before = None;
            continue;
        };
        if std::mem::take(&mut is_passed_over) {
            (walk.expected, walk.before) = (blocks.first, None);
        }
        let mut opening = Some((blocks.first, blocks.before));
        loop {
            match blocks.next().map_err(failed)? {
                Next::Block(head, sealed) => {
                    let text = queue.unpack(&[name.as_bytes(), &head.bytes()], &sealed);
                    let text = text.and_then(|text| {
                        String::from_utf8(text).map_err(|error| error.to_string())
                    });
                    if let Some((first, before)) = opening.take() {
                        walk.opening(&name, head.first, first, before);
                    }
                    walk.block(&name, head, text);
                }
                Next::Cut(head) => {
                    let from = head.map_or(walk.expected, |head| head.first);
                    let to = head.map_or(from, last_of);
                    walk.tell(&name, "missing", from, to, "the file ends within their block");
                    walk.expected = walk.expected.max(to + 1);
                    walk.before = None;
                    break;
                }
                Next::End => break,
            }
        }
    }
    walk.end(chain);
    Ok(walk.report)
}

fn last_of(head: BlockHead) -> u64 {
    head.first.saturating_add(u64::from(head.count)).saturating_sub(1)
}

impl Walk<'_> {
    fn tell(&mut self, file: &str, code: &'static str, record: u64, to: u64, message: &str) {
        self.report.ok = false;
        if self.report.problems.len() < MOST_PROBLEMS {
            let which = if record == to {
                format!("record {record}")
            } else {
                format!("records {record} to {to}")
            };
            let message = format!("{which}: {message}");
            let file = file.to_owned();
            self.report.problems.push(Problem { file, record, to, code, message });
        }
    }

    /// A file says of itself with which record it begins, and which hash that follows.
    fn opening(&mut self, file: &str, begins: u64, first: u64, before: Hash) {
        // Where another record comes next than should, that is what is told.
        let is_next = begins == self.expected;
        if is_next && (first != begins || self.before.is_some_and(|known| known != before)) {
            let message = "changed: the file's beginning tells otherwise of it";
            self.tell(file, "changed", begins, begins, message);
        }
    }

    fn block(&mut self, file: &str, head: BlockHead, text: Result<String, String>) {
        let last = last_of(head);
        // A block that stands too late says nothing of what the next one follows.
        let kept = (head.first < self.expected && last < self.expected)
            .then(|| (self.before, self.before_file.clone()));
        if head.first > self.expected {
            let (from, to) = (self.expected, head.first - 1);
            self.tell(file, "missing", from, to, "not where they belong; the next one follows");
            self.before = None;
        } else if head.first < self.expected {
            let message = format!("out of order: it follows record {}", self.expected - 1);
            self.tell(file, "out_of_order", head.first, last, &message);
            self.before = None;
        }
        match text {
            Ok(text) => self.lines(file, head, &text),
            Err(why) => {
                self.tell(file, "changed", head.first, last, &format!("changed: {why}"));
                self.before = None;
            }
        }
        if let Some(kept) = kept {
            (self.before, self.before_file) = kept;
        }
        self.expected = self.expected.max(last.saturating_add(1));
    }

    fn lines(&mut self, file: &str, head: BlockHead, text: &str) {
        for (number, line) in (head.first..).zip(text.lines()) {
            let value: Value = serde_json::from_str(line).unwrap_or_default();
            let named = value.get("previous").and_then(Value::as_str);
            if value.get("n").and_then(Value::as_u64) != Some(number) {
                self.tell(file, "changed", number, number, "changed: it bears another number");
            }
            if let Some(before) = self.before
                && named != Some(hex(&before).as_str())
            {
                let at = number.saturating_sub(1).max(1);
                let before_file = self.before_file.clone();
                let message = format!("changed: record {number} names another hash for it");
                self.tell(&before_file, "changed", at, at, &message);
            }
            (self.see)(line, &value);
            self.before = Some(hash(line));
            file.clone_into(&mut self.before_file);
        }
        if u32::try_from(text.lines().count()) != Ok(head.count) {
            let message = "changed: the block holds another number of records than it says";
            self.tell(file, "changed", head.first, last_of(head), message);
        }
    }

    /// The end is held against what the store says.
    fn end(&mut self, chain: &Chain) {
        if self.expected <= chain.length {
            let message = "missing: the log's end was cut off";
            self.tell(&chain.file, "missing", self.expected, chain.length, message);
        } else if self.expected > chain.length + 1 {
            let (from, to) = (chain.length + 1, self.expected - 1);
            self.tell(&chain.file, "changed", from, to, "the store knows of no such record");
        } else if chain.length > 0 && self.before.is_some_and(|before| before != chain.head) {
            let message = "changed: the store names another hash for the last record";
            self.tell(&chain.file, "changed", chain.length, chain.length, message);
        }
    }
}
