//! The one writer: empties the queue's outbox into the day's file, tells how a day ended, and ends
//! what is older than the retention.
//!
//! The order makes a crash harmless: blocks are appended and synced first, then one batch of the
//! store empties the outbox and says how far the file counts. What a crash leaves beyond that is cut
//! off at the next start and written again, from the same outbox.

use std::{future::Future, io, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use jiff::{SignedDuration, civil::Date, tz::TimeZone};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    chain::{Chain, DAY_LENGTH, DayEnd},
    configurations,
    files::{self, BlockHead, Blocks},
    record,
};
use crate::{
    clock::{Clock, Stopwatch},
    config::Config,
    queue::{Queue, Refused, Waiting},
};

/// How long records gather in the outbox.
const EVERY: Duration = Duration::from_secs(1);
/// Commits that are moved at once: each costs an operation of the store.
const COMMITS: usize = 256;
/// Lines of a block, before compression.
const BLOCK_BYTES: usize = 256 * 1024;
/// Ends of days that wait for a webhook which is down.
const MOST_UNTOLD: usize = 400;
/// How often a webhook that is down is tried.
const TRY_EVERY: Duration = Duration::from_secs(60);

/// A day is over this long after midnight.
const SETTLES: SignedDuration = SignedDuration::from_secs(60);

/// Tells somebody elsewhere how a day ended: a JSON body. An error says why not.
pub type Announce =
    Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// Why the log cannot be gone on with now. Nothing is lost: what waits stays in the outbox.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// A file of the log.
    #[error("a file of the decision log cannot be written: {0}")]
    File(#[from] io::Error),
    /// The queue.
    #[error("the decision log's outbox: {0}")]
    Queue(#[from] Refused),
    /// What the store says of the log.
    #[error("how far the decision log has come cannot be read: {0}")]
    State(String),
}

/// Writes the log. There is one a data folder, since the folder is locked by its queue.
pub struct Writer {
    queue: Queue,
    data: PathBuf,
    config: Arc<ArcSwap<Config>>,
    clock: Clock,
    announce: Announce,
    chain: Option<Chain>,
    swept: Option<Date>,
    tried: Option<Stopwatch>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("chain", &self.chain).finish_non_exhaustive()
    }
}

impl Writer {
    /// A writer of the log in a data folder whose queue is open.
    pub fn new(
        queue: Queue,
        data: PathBuf,
        config: Arc<ArcSwap<Config>>,
        clock: Clock,
        announce: Announce,
    ) -> Self {
        Self { queue, data, config, clock, announce, chain: None, swept: None, tried: None }
    }

    /// Writes until it is told to stop, and then what is left.
    pub fn start(mut self, stop: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(async move {
            loop {
                let is_stopping = tokio::select! {
                    () = stop.cancelled() => true,
                    () = tokio::time::sleep(EVERY) => false,
                };
                let until = if is_stopping { u64::MAX } else { self.queue.committed() };
                if let Err(error) = self.turn_until(until).await {
                    // Read anew: only the store knows what counts.
                    self.chain = None;
                    tracing::error!("{error}; it waits in the queue's outbox and is tried again");
                }
                if is_stopping {
                    return;
                }
            }
        })
    }

    /// Everything that is due: moves what waits, ends days and what is too old.
    pub async fn turn(&mut self) -> Result<(), WriterError> {
        self.turn_until(self.queue.committed()).await
    }

    /// The same; what waits is moved at least up to a commit's number.
    async fn turn_until(&mut self, until: u64) -> Result<(), WriterError> {
        let mut chain = match self.chain.take() {
            Some(chain) => chain,
            None => self.resume().await?,
        };
        loop {
            let waiting = self.queue.evidence(COMMITS).await?;
            // What was moved before a crash is not there any more; nothing is written twice.
            let Some(last) = waiting.last() else { break };
            // What came meanwhile has time until the next turn: each move costs two syncs, and where
            // events never stop, whoever moved until nothing is left would move after every one.
            let is_meanwhile = last.number >= until;
            chain = self.take(chain, &waiting).await?;
            if is_meanwhile {
                break;
            }
        }
        let now = (self.clock)();
        // What was committed at midnight is in the outbox by then.
        let today = now.checked_sub(SETTLES).unwrap_or(now).to_zoned(TimeZone::UTC).date();
        if chain.day() < today.to_string().as_str() && self.end_day(&mut chain) {
            self.keep(&chain).await?;
        }
        self.tell(&mut chain).await?;
        if self.swept != Some(today) {
            self.sweep(&mut chain, today).await?;
            self.swept = Some(today);
        }
        self.chain = Some(chain);
        Ok(())
    }

    /// Reads how far the log has come, and brings its file there.
    async fn resume(&self) -> Result<Chain, WriterError> {
        let state = self.queue.evidence_state()?;
        let mut chain = Chain::decode(state.as_deref()).map_err(WriterError::State)?;
        if chain.file.is_empty() {
            return Ok(chain);
        }
        let folder = files::folder(&self.data);
        let length = files::length(&folder, &chain.file)?;
        if length.is_none_or(|length| length < chain.bytes) {
            // Never mended: whoever verifies has to see it.
            tracing::error!(
                file = chain.file,
                "a file of the decision log is shorter than it was, or gone: `evidence verify` \
                 names what is missing; the log goes on in a new file"
            );
            let mut name = files::next_name(&chain.file);
            while files::length(&folder, &name)?.is_some() {
                name = files::next_name(&name);
            }
            chain.file = name.clone();
            chain.bytes = files::HEAD_BYTES;
            let (first, before) = (chain.length + 1, chain.head);
            blocking(move || files::begin(&folder, &name, first, &before)).await?;
            self.keep(&chain).await?;
        }
        Ok(chain)
    }

    /// Links what waits, appends it, and only then has the queue forget it.
    async fn take(&self, mut chain: Chain, waiting: &[Waiting]) -> Result<Chain, WriterError> {
        let mut appends: Vec<Append> = Vec::new();
        for one in waiting {
            // A clock that steps back does not reopen a day.
            let day = one.at.to_zoned(TimeZone::UTC).date().to_string();
            if chain.file.is_empty() || day.as_str() > chain.day() {
                self.end_day(&mut chain);
                if let Some(append) = appends.last_mut() {
                    append.close(&self.queue)?;
                }
                chain.file = files::name(&day, 0);
                chain.bytes = files::HEAD_BYTES;
                if chain.first_file.is_empty() {
                    chain.first_file.clone_from(&chain.file);
                }
                appends.push(Append::begin(&chain));
            } else if appends.is_empty() {
                appends.push(Append::go_on(&chain));
            }
            for evidence in &one.lines {
                let line = chain.link(&record::body(one.at, evidence));
                let Some(append) = appends.last_mut() else { continue };
                append.line(chain.length, &line);
                if append.lines.len() >= BLOCK_BYTES {
                    append.close(&self.queue)?;
                }
            }
            chain.moved = one.number;
        }
        if let Some(append) = appends.last_mut() {
            append.close(&self.queue)?;
            chain.bytes = append.at + append.blocks.len() as u64;
        }
        let folder = files::folder(&self.data);
        blocking(move || appends.iter().try_for_each(|append| append.write(&folder))).await?;
        self.queue.evidence_moved(waiting, chain.encode()).await?;
        Ok(chain)
    }

    /// Tells the log that its day is over; false where that was done.
    fn end_day(&self, chain: &mut Chain) -> bool {
        let day = chain.day().to_owned();
        if day.is_empty() || chain.ended == day {
            return false;
        }
        let end = chain.end_of(&day);
        tracing::info!(
            day = end.day,
            records = end.length,
            head = end.head,
            "the decision log's day ended: keep this hash elsewhere"
        );
        chain.ended = day;
        chain.untold.push(end);
        if chain.untold.len() > MOST_UNTOLD {
            chain.untold.remove(0);
        }
        true
    }

    /// Tells the webhook of the days that ended; one that is down is tried again.
    async fn tell(&mut self, chain: &mut Chain) -> Result<(), WriterError> {
        let waits = self.tried.is_some_and(|tried| tried.elapsed() < TRY_EVERY);
        if chain.untold.is_empty() || waits {
            return Ok(());
        }
        let mut told = 0;
        for DayEnd { day, length, head } in &chain.untold {
            let body = serde_json::json!({
                "type": "evidence_day_end", "day": day, "records": length, "head": head,
                // What chat programs show.
                "text": format!("decision log of {day}: {length} records, head {head}"),
            });
            if let Err(why) = (self.announce)(body.to_string()).await {
                self.tried = Some(Stopwatch::start());
                tracing::warn!(day, "the webhook did not take the decision log's day end: {why}");
                break;
            }
            self.tried = None;
            told += 1;
        }
        if told > 0 {
            chain.untold.drain(..told);
            self.keep(chain).await?;
        }
        Ok(())
    }

    /// Ends what is older than the retention: first the store says from where on records are kept,
    /// then files go.
    async fn sweep(&self, chain: &mut Chain, today: Date) -> Result<(), WriterError> {
        let config = self.config.load_full();
        let keep = SignedDuration::try_from(config.retention.evidence).unwrap_or_default();
        let before = today.checked_sub(keep).unwrap_or(Date::MIN);
        let folder = files::folder(&self.data);
        let (data, now) = (self.data.clone(), (self.clock)());
        let (listed, hash) = (folder.clone(), config.hash.clone());
        let names = blocking(move || {
            configurations::touch(&data, &hash, now)?;
            configurations::forget(&data, before)?;
            files::list(&listed)
        })
        .await?;
        let is_over = |name: &String| {
            let day = name.get(..DAY_LENGTH).unwrap_or_default();
            *name != chain.file && day < before.to_string().as_str()
        };
        let (over, kept): (Vec<String>, Vec<String>) = names.into_iter().partition(is_over);
        let Some(first) = kept.first().filter(|_| !over.is_empty()) else { return Ok(()) };
        let (read, name) = (folder.clone(), first.clone());
        let head = blocking(move || Blocks::open(&read, &name, files::HEAD_BYTES)).await?;
        let Some(head) = head else {
            // Nothing goes where it is not known what is left.
            tracing::error!(file = first, "a file of the decision log cannot be read");
            return Ok(());
        };
        if files::order(&chain.first_file) < files::order(first) {
            (chain.first, chain.before_first) = (head.first, head.before);
            chain.first_file.clone_from(first);
            self.keep(chain).await?;
        }
        tracing::info!(files = over.len(), "files of the decision log are over and removed");
        blocking(move || over.iter().try_for_each(|name| std::fs::remove_file(folder.join(name))))
            .await?;
        Ok(())
    }

    async fn keep(&self, chain: &Chain) -> Result<(), WriterError> {
        Ok(self.queue.evidence_moved(&[], chain.encode()).await?)
    }
}

/// What is appended to one file.
struct Append {
    file: String,
    /// Made anew, with these for its head.
    begins: Option<(u64, [u8; 32])>,
    at: u64,
    blocks: Vec<u8>,
    lines: String,
    first: u64,
    count: u32,
}

impl Append {
    fn begin(chain: &Chain) -> Self {
        Self { begins: Some((chain.length + 1, chain.head)), ..Self::go_on(chain) }
    }

    fn go_on(chain: &Chain) -> Self {
        Self {
            file: chain.file.clone(),
            begins: None,
            at: chain.bytes,
            blocks: Vec::new(),
            lines: String::new(),
            first: 0,
            count: 0,
        }
    }

    fn line(&mut self, number: u64, line: &str) {
        if self.count == 0 {
            self.first = number;
        }
        self.count += 1;
        self.lines.push_str(line);
        self.lines.push('\n');
    }

    fn close(&mut self, queue: &Queue) -> Result<(), Refused> {
        if self.count > 0 {
            let head = BlockHead { first: self.first, count: self.count };
            let place = [self.file.as_bytes(), &head.bytes()];
            let sealed = queue.pack(&place, self.lines.as_bytes())?;
            files::push_block(&mut self.blocks, head, &sealed);
        }
        self.lines.clear();
        self.count = 0;
        Ok(())
    }

    fn write(&self, folder: &std::path::Path) -> io::Result<()> {
        if let Some((first, before)) = &self.begins {
            files::begin(folder, &self.file, *first, before)?;
        }
        files::append(folder, &self.file, self.at, &self.blocks)
    }
}

/// Files block: not on a thread of the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(io::Error::other("the work gave up (panicked)")))
}
