//! `reconcile`: where are the orders of a file? Asks a running relay in batches, prints a line an
//! order and the totals, and holds no more than a batch.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher as _, RandomState},
    io::{self, Read, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::{Exit, admin::Connection};
use crate::sources::rows::{Start, is_blank};

/// Orders of one question: the relay walks over all that it keeps for each.
const BATCH: usize = 5_000;
/// A decision log of many days takes a while to be read.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// What separates columns is told by the header, which is within so many bytes.
const LONGEST_HEADER: u64 = 8 * 1024;

/// How headers are spelled, in lower case and without anything but letters and digits.
const ORDER: &[&str] = &[
    "orderid",
    "order",
    "orderno",
    "ordernumber",
    "ordernr",
    "ordername",
    "transactionid",
    "transaction",
    "id",
    "name",
];
const SITE: &[&str] = &["site", "siteid", "sitename"];
const VALUE: &[&str] = &[
    "value",
    "total",
    "amount",
    "revenue",
    "ordervalue",
    "ordertotal",
    "totalprice",
    "grandtotal",
];
const CURRENCY: &[&str] = &["currency", "currencycode", "ordercurrency"];
const TIME: &[&str] =
    &["time", "timestamp", "date", "createdat", "orderdate", "ordertime", "processedat", "day"];

/// Says for each order of a file where it is: sent, held and why, duplicate, failed, never seen.
///
/// The file needs a header; the column of order ids is found by its name, or named by --column.
/// A column `site` says whose an order is, where ids are not unique; `value`, `currency` and `time`
/// are shown beside the answer. The last line holds the totals, by platform and day of the site's
/// time zone.
#[derive(Debug, Args)]
pub(crate) struct Reconcile {
    /// A CSV file with a header; `-` is standard input.
    file: PathBuf,
    /// The column with the order ids, where its name does not tell.
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// The site of every order, where no column says.
    #[arg(long)]
    site: Option<String>,
    /// How the orders are printed.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Fail (1) where an order failed or was never seen.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    connection: Connection,
}

/// How the orders are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object an order, then one with the totals.
    Json,
    /// A line an order and destination; the totals, as JSON, go to standard error.
    Csv,
}

/// Where the columns are.
#[derive(Debug, PartialEq, Eq)]
struct Columns {
    order: usize,
    site: Option<usize>,
    value: Option<usize>,
    currency: Option<usize>,
    time: Option<usize>,
}

/// A row of the file.
#[derive(Debug)]
struct Row {
    line: u64,
    order_id: String,
    site: Option<String>,
    /// What else the file says, to be shown beside the answer.
    said: Vec<(&'static str, String)>,
    /// The line on which the same order stood before.
    repeats: Option<u64>,
}

impl Reconcile {
    /// Prints every order, then the totals.
    pub(crate) async fn run(self) -> anyhow::Result<Exit> {
        let input: Box<dyn Read> = if self.file.as_os_str() == "-" {
            Box::new(io::stdin())
        } else {
            let open = std::fs::File::open(&self.file);
            Box::new(open.with_context(|| format!("cannot read {}", self.file.display()))?)
        };
        let sheet = Sheet::new(input)?;
        let head = sheet.head.clone();
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .delimiter(sheet.head.separator)
            .trim(csv::Trim::All)
            .from_reader(sheet);
        let columns = Columns::find(&text_of(reader.byte_headers()?), self.column.as_deref())?;
        let client = self.connection.client()?.waiting(PATIENCE);
        let mut out = Out::new(self.format)?;
        let (mut totals, mut seen, mut batch) = (Totals::default(), Seen::default(), Vec::new());
        let mut record = csv::ByteRecord::new();
        loop {
            let before = reader.position().line();
            let is_more = reader.read_byte_record(&mut record)?;
            if is_more && !is_blank(&record) {
                let line = head.lines + head.line_of(before, reader.position().line(), &record);
                match columns.row(&text_of(&record), line, self.site.as_deref()) {
                    Some(row) => batch.push(seen.note(row)),
                    None => totals.rows_without_order += 1,
                }
            }
            if batch.len() == BATCH || (!is_more && !batch.is_empty()) {
                let orders =
                    batch.iter().map(|row| json!({"order_id": row.order_id, "site": row.site}));
                let body = json!({"orders": orders.collect::<Vec<_>>()}).to_string().into_bytes();
                let path = ["admin", "v1", "orders"];
                let answer = client.post(&path, "application/json", body).await?;
                if !answer.is_success() {
                    bail!("the relay refuses: {}", answer.refusal());
                }
                let told =
                    answer.json().and_then(|mut told| match told.get_mut("orders")?.take() {
                        Value::Array(orders) if orders.len() == batch.len() => Some(orders),
                        _ => None,
                    });
                let told = told.context("the relay's answer is not one line an order")?;
                for (row, told) in batch.drain(..).zip(told) {
                    let told = row.beside(told);
                    totals.count(&told);
                    out.order(&told)?;
                }
            }
            if !is_more {
                break;
            }
        }
        out.totals(&totals.json())?;
        if totals.rows_without_order > 0 {
            eprintln!("{} rows name no order: their cell is empty", totals.rows_without_order);
        }
        let is_bad = totals.of("failed") + totals.of("never_seen") > 0;
        Ok(if self.check && is_bad { Exit::Failed } else { Exit::Fine })
    }
}

impl Columns {
    /// By the header's names; several candidates: the first in the order of the lists above.
    fn find(headers: &csv::StringRecord, chosen: Option<&str>) -> anyhow::Result<Self> {
        let names: Vec<String> = headers.iter().map(plain).collect();
        let find = |known: &[&str]| {
            known.iter().find_map(|known| names.iter().position(|name| name == known))
        };
        let order = match chosen {
            Some(chosen) => headers
                .iter()
                .position(|name| name == chosen)
                .or_else(|| names.iter().position(|name| *name == plain(chosen))),
            None => find(ORDER),
        };
        let Some(order) = order else {
            let there = headers.iter().collect::<Vec<_>>().join(", ");
            match chosen {
                Some(chosen) => bail!("the file has no column {chosen:?}; it has: {there}"),
                None => bail!(
                    "no column looks like order ids (order_id); name it with --column; the file \
                     has: {there}"
                ),
            }
        };
        let other = |known: &[&str]| find(known).filter(|at| *at != order);
        Ok(Self {
            order,
            site: other(SITE),
            value: other(VALUE),
            currency: other(CURRENCY),
            time: other(TIME),
        })
    }

    /// A row; `None`: it names no order.
    fn row(&self, record: &csv::StringRecord, line: u64, site: Option<&str>) -> Option<Row> {
        let cell = |at: Option<usize>| {
            at.and_then(|at| record.get(at)).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let order_id = cell(Some(self.order))?;
        let said = [("value", self.value), ("currency", self.currency), ("time", self.time)];
        Some(Row {
            line,
            order_id,
            site: cell(self.site).or_else(|| site.map(str::to_owned)),
            said: said.into_iter().filter_map(|(name, at)| Some((name, cell(at)?))).collect(),
            repeats: None,
        })
    }
}

/// Names and remarks may be in whatever a spreadsheet saves; what is asked about are order ids.
fn text_of(record: &csv::ByteRecord) -> csv::StringRecord {
    record.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().into()
}

/// A header's name without case, spaces and punctuation.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Which orders were in the file before: 16 bytes an order.
#[derive(Debug, Default)]
struct Seen {
    lines: HashMap<u64, u64>,
    hasher: RandomState,
}

impl Seen {
    fn note(&mut self, mut row: Row) -> Row {
        let hash = self.hasher.hash_one((&row.order_id, &row.site));
        row.repeats = self.lines.get(&hash).copied();
        self.lines.entry(hash).or_insert(row.line);
        row
    }
}

impl Row {
    /// The relay's answer beside what the file says.
    fn beside(self, told: Value) -> Value {
        let mut line = Map::new();
        line.insert("line".to_owned(), json!(self.line));
        if let Value::Object(told) = told {
            line.extend(told);
        }
        if let Some(before) = self.repeats {
            // Counted once: the file has it twice, which is no second sale.
            line.insert("status".to_owned(), json!("duplicate"));
            line.insert("repeats_line".to_owned(), json!(before));
        }
        if !self.said.is_empty() {
            let said = self.said.into_iter().map(|(name, text)| (name.to_owned(), json!(text)));
            line.insert("file".to_owned(), Value::Object(said.collect()));
        }
        Value::Object(line)
    }
}

// === totals ===

/// Platform (or destination), site, day.
type Line = (String, String, String);

#[derive(Debug, Default)]
struct Totals {
    orders: u64,
    rows_without_order: u64,
    by_status: BTreeMap<String, u64>,
    by_platform: BTreeMap<Line, BTreeMap<String, u64>>,
}

impl Totals {
    fn count(&mut self, told: &Value) {
        self.orders += 1;
        *self.by_status.entry(text(told, "status").to_owned()).or_default() += 1;
        if told.get("repeats_line").is_some() {
            return;
        }
        let (site, day) = (text(told, "site"), text(told, "day"));
        for one in list(told, "destinations") {
            let platform = match text(one, "platform") {
                // It left the configuration.
                "" => text(one, "destination"),
                platform => platform,
            };
            let line = (platform.to_owned(), site.to_owned(), day.to_owned());
            let statuses = self.by_platform.entry(line).or_default();
            *statuses.entry(text(one, "status").to_owned()).or_default() += 1;
        }
    }

    fn of(&self, status: &str) -> u64 {
        self.by_status.get(status).copied().unwrap_or_default()
    }

    fn json(&self) -> Value {
        let of_platforms: Vec<Value> = self
            .by_platform
            .iter()
            .map(|((platform, site, day), statuses)| {
                let mut line = Map::new();
                line.insert("platform".to_owned(), json!(platform));
                line.insert("site".to_owned(), json!(site));
                line.insert("day".to_owned(), json!(day));
                line.extend(statuses.iter().map(|(name, count)| (name.clone(), json!(count))));
                Value::Object(line)
            })
            .collect();
        json!({"totals": {
            "orders": self.orders, "rows_without_order": self.rows_without_order,
            "by_status": self.by_status, "by_platform": of_platforms,
        }})
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

// === printing ===

/// Standard output in one of the formats.
enum Out {
    Json(io::StdoutLock<'static>),
    Csv(Box<csv::Writer<io::StdoutLock<'static>>>),
}

const HEADER: [&str; 14] = [
    "order_id",
    "site",
    "day",
    "status",
    "platform",
    "destination",
    "event",
    "event_id",
    "outcome",
    "reason",
    "at",
    "http_status",
    "answer",
    "value",
];

impl Out {
    fn new(format: Format) -> anyhow::Result<Self> {
        let out = io::stdout().lock();
        Ok(match format {
            Format::Json => Out::Json(out),
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_record(HEADER)?;
                Out::Csv(Box::new(writer))
            }
        })
    }

    fn order(&mut self, told: &Value) -> anyhow::Result<()> {
        match self {
            Out::Json(out) => writeln!(out, "{told}")?,
            Out::Csv(writer) => {
                let order = ["order_id", "site", "day", "status"].map(|name| text(told, name));
                let all = list(told, "destinations");
                let nobody = [Value::Null];
                for one in if all.is_empty() { &nobody[..] } else { all } {
                    let (reason, answer) = (one.get("reason"), one.get("answer"));
                    let status = answer.and_then(|answer| answer.get("status"));
                    let status = status.map(Value::to_string).unwrap_or_default();
                    let words =
                        [reason.map(|r| text(r, "code")), reason.map(|r| text(r, "message"))];
                    let reason = said(&words);
                    let words =
                        [answer.map(|a| text(a, "reason")), answer.map(|a| text(a, "message"))];
                    let answer = said(&words);
                    let names = ["platform", "destination", "event", "event_id", "status"];
                    let cells = order
                        .into_iter()
                        .chain(names.map(|name| text(one, name)))
                        .chain([reason.as_str(), text(one, "at"), &status, &answer])
                        .chain([text(one, "value")]);
                    writer.write_record(cells)?;
                }
            }
        }
        Ok(())
    }

    fn totals(self, totals: &Value) -> anyhow::Result<()> {
        match self {
            Out::Json(mut out) => writeln!(out, "{totals}")?,
            Out::Csv(mut writer) => {
                writer.flush()?;
                eprintln!("{totals}");
            }
        }
        Ok(())
    }
}

/// `code: words`, of what is there.
fn said(parts: &[Option<&str>]) -> String {
    let parts = parts.iter().flatten().copied().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(": ")
}

/// A file as spreadsheets save it: without the mark at its beginning, and with what separates its
/// columns.
struct Sheet<R> {
    start: io::Cursor<Vec<u8>>,
    head: Start,
    rest: R,
}

impl<R: Read> Sheet<R> {
    fn new(mut rest: R) -> io::Result<Self> {
        let mut start = Vec::new();
        rest.by_ref().take(LONGEST_HEADER).read_to_end(&mut start)?;
        let head = Start::of(&start);
        start.drain(..head.header_at.min(start.len()));
        Ok(Self { start: io::Cursor::new(start), head, rest })
    }
}

impl<R: Read> Read for Sheet<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.start.read(buffer)? {
            0 => self.rest.read(buffer),
            read => Ok(read),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(header: &str, chosen: Option<&str>) -> anyhow::Result<Columns> {
        Columns::find(&header.split(',').collect::<Vec<_>>().into(), chosen)
    }

    #[test]
    fn columns_are_found_by_how_shops_call_them() {
        let found = columns("Created at,Order ID,Total,Currency,Site", None).unwrap();
        let expected =
            Columns { order: 1, site: Some(4), value: Some(2), currency: Some(3), time: Some(0) };
        assert_eq!(found, expected);
        assert_eq!(columns("id,order_number", None).unwrap().order, 1);
        assert_eq!(columns("id,reference", Some("reference")).unwrap().order, 1);
        assert_eq!(columns("id,Beleg-Nr", Some("Beleg-Nr")).unwrap().order, 1);
        let error = columns("a,b", None).unwrap_err().to_string();
        assert!(error.contains("--column") && error.contains("a, b"), "{error}");
        assert!(columns("a,b", Some("c")).is_err());
    }

    #[test]
    fn an_order_that_is_twice_in_the_file_counts_once() {
        let columns = columns("order_id", None).unwrap();
        let mut seen = Seen::default();
        let mut totals = Totals::default();
        for id in ["1", "2", "1"] {
            let row = columns.row(&vec![id].into(), 2, None).unwrap();
            let told = json!({"order_id": id, "status": "sent", "site": "s", "day": "2026-11-22",
                "destinations": [{"platform": "p", "status": "sent"}]});
            totals.count(&seen.note(row).beside(told));
        }
        let told = totals.json();
        assert_eq!(told["totals"]["by_status"], json!({"sent": 2, "duplicate": 1}));
        assert_eq!(told["totals"]["by_platform"][0]["sent"], 2, "{told}");
    }

    #[test]
    fn a_sheet_may_begin_with_a_mark_and_part_columns_its_own_way() {
        let mut text = String::new();
        let mut input = Sheet::new("\u{feff}order_id;a,b;c\n1".as_bytes()).unwrap();
        input.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), input.head.separator), ("order_id;a,b;c\n1", b';'));
        let mut short = String::new();
        let mut input = Sheet::new("a".as_bytes()).unwrap();
        input.read_to_string(&mut short).unwrap();
        assert_eq!((short.as_str(), input.head.separator), ("a", b','));
    }
}
