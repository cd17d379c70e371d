//! `import`: the rows of a CSV file as events of the past, to a running relay. A few batches are on
//! their way at a time; what is kept beside the file is the rows answered for without a gap, so that
//! a run that was killed goes on where it was, and what was sent twice the relay knows by its id.

mod bar;
mod input;
mod preview;
mod progress;
mod refused;

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use clap::Args;
use jiff::{Timestamp, tz::TimeZone};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use self::{
    bar::Bar,
    input::{Input, Row},
    progress::{Begun, Progress},
    refused::{Refusal, Refused},
};
use super::{
    Exit,
    batches::{self, MOST_BYTES, MOST_LINES, Outcome, SANDBOX_KEY},
    http_client::HttpClient,
    street,
};
use crate::{config::Config, sources::rows::RowMap};

/// Batches on their way at a time.
const IN_FLIGHT: usize = 4;

/// Imports the rows of a CSV file as events; goes on where it was stopped.
///
/// The map says what the columns are; files of known upload templates need none. Beside FILE.csv it
/// keeps FILE.csv.progress and, where rows are refused, FILE.csv.refused.csv with the reasons.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// A CSV file with a header.
    file: PathBuf,
    /// What the columns are: a TOML file with `[fields]` and `[const]`.
    #[arg(long, value_name = "MAP.toml")]
    map: Option<PathBuf>,
    /// The site of rows that name none.
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// Show the first rows as they would be sent, and every problem by row; send nothing.
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: how many rows are shown.
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    rows: u64,
    /// The configuration that --dry-run plays, and the sites' time zones, where there is one.
    #[arg(long, value_name = "DIR", default_value = "config")]
    config: PathBuf,
    /// Begin again at the first row, also after another run; the relay knows what it had.
    #[arg(long)]
    again: bool,
    /// The relay's public address.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The write key. Without one: `dev-key`, the sandbox's.
    #[arg(long, env = "RELAY_WRITE_KEY", hide_env_values = true)]
    key: Option<SecretString>,
}

impl Import {
    /// Prints a summary to standard output. Failed where a row was refused or not sent.
    pub(crate) async fn run(self, now: Timestamp) -> anyhow::Result<Exit> {
        let map = match &self.map {
            Some(path) => match read_map(path)? {
                Some(map) => Some(map),
                None => return Ok(Exit::Configuration),
            },
            None => None,
        };
        let config = if self.dry_run || self.config.is_dir() {
            let loaded = street::load_offline(&self.config);
            if self.dry_run && loaded.config.is_none() {
                for finding in loaded.findings {
                    eprintln!("{finding}");
                }
                return Ok(Exit::Configuration);
            }
            loaded.config
        } else {
            None
        };
        let mut input = match Input::open(&self.file, map.as_ref())? {
            Ok(input) => input,
            Err(problems) => {
                for problem in problems {
                    eprintln!("error: {problem}");
                }
                return Ok(Exit::Configuration);
            }
        };
        input.site.clone_from(&self.site);
        if let Some(config) = &config {
            let site = input.rows.fixed("site").or(self.site.as_deref());
            let zone = site.and_then(|site| config.sites.get(site));
            if let Some(zone) =
                zone.map(|site| site.time_zone.clone()).or_else(|| only_zone(config))
            {
                input.set_zone(zone);
            }
        }
        match config {
            Some(config) if self.dry_run => preview::show(input, &config, self.rows, now),
            _ => tokio::select! {
                done = self.send(input) => done,
                _ = tokio::signal::ctrl_c() => {
                    eprintln!("\nstopped; the same command goes on where it was");
                    Ok(Exit::Failed)
                }
            },
        }
    }

    async fn send(&self, mut input: Input) -> anyhow::Result<Exit> {
        let key = self.key.clone().unwrap_or_else(|| SANDBOX_KEY.to_owned().into());
        let client = Arc::new(HttpClient::new(&self.url, Some(key))?.through("import"));
        let mut map = self.map.as_deref().map(std::fs::read).transpose()?.unwrap_or_default();
        // Rows of another site are other events.
        map.extend(self.site.iter().flat_map(|site| site.bytes()));
        let path = beside(&self.file, ".progress");
        let fresh = Progress::of(&self.file, &map, client.base().as_str())?;
        let mut progress = match Progress::load(&path, fresh, self.again)? {
            Begun::New(progress) => {
                progress.save(&path)?;
                progress
            }
            Begun::GoesOn(progress) => {
                eprintln!("going on after {} rows", progress.rows);
                input.go_to(progress.at, progress.line)?;
                progress
            }
            Begun::Finished(progress) => {
                println!("{}", progress.summary()?);
                eprintln!(
                    "{} was imported already; --again sends it once more",
                    self.file.display()
                );
                return Ok(Exit::Fine);
            }
        };
        let mut refused =
            Refused::open(beside(&self.file, ".refused.csv"), progress.refused_bytes)?;
        let mut bar = Bar::new(input.length, progress.rows);
        let mut in_flight: VecDeque<(Batch, JoinHandle<Outcome>)> = VecDeque::new();
        loop {
            while in_flight.len() < IN_FLIGHT {
                let Some(batch) = Batch::read(&mut input)? else { break };
                let (client, bytes) = (Arc::clone(&client), Arc::clone(&batch.events));
                let send = async move {
                    let lines: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
                    if lines.is_empty() {
                        return Outcome::default();
                    }
                    batches::deliver(&client, &lines).await
                };
                in_flight.push_back((batch, tokio::spawn(send)));
            }
            // The earliest first: what is noted has no gap.
            let Some((batch, sent)) = in_flight.pop_front() else { break };
            let outcome = sent.await.context("sending gave up")?;
            if let Some(error) = outcome.error {
                for (_, sent) in in_flight {
                    sent.abort();
                }
                bar.end();
                println!("{}", progress.summary()?);
                return Err(error.context(format!(
                    "stopped after {} rows; the same command goes on there",
                    progress.rows
                )));
            }
            let rejected = batch.refusals(&outcome, &input);
            refused.append(&input, &rejected)?;
            progress.add(&batch, &outcome, rejected.len() as u64, refused.bytes());
            progress.save(&path)?;
            bar.show(progress.at, progress.rows);
        }
        progress.finished = true;
        progress.save(&path)?;
        bar.end();
        println!("{}", progress.summary()?);
        if progress.rejected > 0 {
            eprintln!("{} rows were refused; see {}", progress.rejected, refused.path().display());
        }
        Ok(if progress.rejected == 0 { Exit::Fine } else { Exit::Failed })
    }
}

/// Rows that are sent together.
struct Batch {
    /// Their events, one line each.
    events: Arc<Vec<Vec<u8>>>,
    /// Each event's row.
    sent: Vec<Row>,
    /// Rows that are no event, and why.
    unread: Vec<Refusal>,
    /// How many rows there are, and where the next one begins: byte and line.
    rows: u64,
    at: u64,
    line: u64,
}

impl Batch {
    fn read(input: &mut Input) -> anyhow::Result<Option<Self>> {
        let (mut events, mut sent, mut unread) = (Vec::new(), Vec::new(), Vec::new());
        let (mut bytes, mut rows) = (0, 0);
        while events.len() < MOST_LINES && unread.len() < MOST_LINES && bytes < MOST_BYTES / 2 {
            let Some(row) = input.next()? else { break };
            rows += 1;
            match input.event(&row) {
                Ok(told) => {
                    let mut line = Vec::new();
                    told.node.write(&mut line);
                    bytes += line.len() + 1;
                    events.push(line);
                    sent.push(row);
                }
                Err(rejection) => unread.push(Refusal::of(row, &rejection)),
            }
        }
        let (at, line) = input.place();
        let batch = Self { events: Arc::new(events), sent, unread, rows, at, line };
        Ok((rows > 0).then_some(batch))
    }

    /// Every refused row, in the order of the file.
    fn refusals(&self, outcome: &Outcome, input: &Input) -> Vec<Refusal> {
        let refused = outcome.rejected.iter().filter_map(|rejected| {
            let row = self.sent.get(rejected.index)?.clone();
            let path = rejected.path.as_deref().unwrap_or_default();
            let place = input.rows.column_of(path).map(|column| format!("/{column}"));
            Some(Refusal {
                row,
                code: rejected.code.clone(),
                reason: refused::reason(place.as_deref().unwrap_or(path), &rejected.message),
            })
        });
        let mut all: Vec<Refusal> = self.unread.iter().cloned().chain(refused).collect();
        all.sort_by_key(|refusal| refusal.row.line);
        all
    }
}

/// A file beside another one.
fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Reads a row map; `None`: its problems were printed.
pub(super) fn read_map(path: &Path) -> anyhow::Result<Option<RowMap>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    match RowMap::parse(&text) {
        Ok(map) => Ok(Some(map)),
        Err(problems) => {
            for problem in problems {
                eprintln!("{}: {problem}", path.display());
            }
            Ok(None)
        }
    }
}

/// The time zone of the only site, or of every one.
pub(super) fn only_zone(config: &Config) -> Option<TimeZone> {
    let mut zones = config.sites.values().map(|site| &site.time_zone);
    let first = zones.next()?;
    zones.all(|zone| zone == first).then(|| first.clone())
}

impl Progress {
    fn add(&mut self, batch: &Batch, outcome: &Outcome, rejected: u64, refused_bytes: u64) {
        self.counts.add(&outcome.counts);
        self.warnings += outcome.warnings;
        self.rejected += rejected;
        self.refused_bytes = refused_bytes;
        (self.rows, self.at, self.line) = (self.rows + batch.rows, batch.at, batch.line);
    }

    fn summary(&self) -> anyhow::Result<Value> {
        let mut summary = json!({"rows": self.rows});
        if let (Value::Object(own), Value::Object(counts)) =
            (&mut summary, serde_json::to_value(&self.counts)?)
        {
            own.extend(counts);
            own.insert("warnings".to_owned(), self.warnings.into());
            own.insert("rejected".to_owned(), self.rejected.into());
        }
        Ok(summary)
    }
}
