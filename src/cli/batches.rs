//! Batches of events to a running relay, for `send` and `import`: each is sent until it is answered,
//! waits when the relay asks it to, and comes in halves where it is too large.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::http_client::{Answer, HttpClient};

/// The relay's own defaults for one request.
pub(super) const MOST_LINES: usize = 1_000;
pub(super) const MOST_BYTES: usize = 4 * 1024 * 1024;
/// What the sandbox takes where no key is set.
pub(super) const SANDBOX_KEY: &str = "dev-key";
/// Waits where the relay names no time, and what it may ask for at most.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Tries without any answer before it gives up. A relay that answers is waited for without end.
const TRIES: u32 = 7;

/// The counts of an answer.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Counts {
    pub(super) accepted: u64,
    pub(super) duplicate: u64,
    suppressed: u64,
    criteria_not_met: u64,
    unplanned: u64,
    test: u64,
    held: u64,
    derived_ids: u64,
}

/// The parts of an answer that have a place.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Places {
    rejected: Vec<Rejected>,
    warnings: Vec<Value>,
}

/// An event that is refused.
#[derive(Debug, Deserialize)]
pub(super) struct Rejected {
    /// Its place in the batch.
    pub(super) index: usize,
    /// Its own id.
    pub(super) event_id: Option<String>,
    /// Why.
    pub(super) code: String,
    /// Why, in words.
    #[serde(default)]
    pub(super) message: String,
    /// Where within the event.
    pub(super) path: Option<String>,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What the relay counted.
    pub(super) counts: Counts,
    /// Warnings that it gave.
    pub(super) warnings: u64,
    /// Refused events, by their place in the batch.
    pub(super) rejected: Vec<Rejected>,
    /// Events that nobody answered for.
    pub(super) unsent: u64,
    /// Why the rest was not sent.
    pub(super) error: Option<anyhow::Error>,
}

impl Counts {
    /// The lines that these counts answer for; `held` and `derived_ids` are among the others.
    pub(super) fn lines(&self) -> u64 {
        self.accepted
            + self.duplicate
            + self.suppressed
            + self.criteria_not_met
            + self.unplanned
            + self.test
    }

    pub(super) fn add(&mut self, other: &Counts) {
        self.accepted += other.accepted;
        self.duplicate += other.duplicate;
        self.suppressed += other.suppressed;
        self.criteria_not_met += other.criteria_not_met;
        self.unplanned += other.unplanned;
        self.test += other.test;
        self.held += other.held;
        self.derived_ids += other.derived_ids;
    }
}

impl Outcome {
    fn add(&mut self, first: usize, lines: usize, counts: &Counts, places: Places) {
        let lines = lines as u64;
        let answered = counts.lines() + places.rejected.len() as u64;
        self.counts.add(counts);
        self.warnings += places.warnings.len() as u64;
        self.rejected.extend(places.rejected.into_iter().map(|rejected| Rejected {
            index: first + rejected.index,
            path: rejected.path.as_deref().map(|path| within_event(path).to_owned()),
            ..rejected
        }));
        if answered != lines {
            self.unsent += lines.saturating_sub(answered);
            let why = anyhow::anyhow!("the relay answered for {answered} of {lines} lines");
            self.error.get_or_insert(why);
        }
    }
}

/// A path without its first part, where that is a place in a batch: the reader knows only lines.
pub(super) fn within_event(path: &str) -> &str {
    let rest = path.trim_start_matches('/');
    let after = rest.trim_start_matches(|character: char| character.is_ascii_digit());
    let is_place = after.len() < rest.len() && (after.is_empty() || after.starts_with('/'));
    if is_place { after } else { path }
}

/// Sends a batch, one JSON event a line, until all of it is answered or nobody answers.
pub(super) async fn deliver(client: &HttpClient, lines: &[&[u8]]) -> Outcome {
    let mut outcome = Outcome::default();
    // Halves of what was too large wait here, the earlier one on top.
    let mut waiting = vec![(0, lines)];
    while let Some((first, lines)) = waiting.pop() {
        match request(client, lines).await {
            Ok(Delivered::Answered(counts, places)) => {
                outcome.add(first, lines.len(), &counts, places);
            }
            Ok(Delivered::TooLarge) if lines.len() > 1 => {
                let middle = lines.len() / 2;
                let (one, other) = lines.split_at(middle);
                waiting.extend([(first + middle, other), (first, one)]);
            }
            Ok(Delivered::TooLarge) => outcome.rejected.push(Rejected {
                index: first,
                event_id: None,
                code: "too_large".to_owned(),
                message: "larger than the relay takes".to_owned(),
                path: None,
            }),
            Err(error) => {
                outcome.unsent += lines.len() as u64;
                outcome.error = Some(error);
            }
        }
        if outcome.error.is_some() {
            outcome.unsent += waiting.iter().map(|(_, lines)| lines.len() as u64).sum::<u64>();
            break;
        }
    }
    outcome
}

/// What became of one request.
enum Delivered {
    Answered(Counts, Places),
    TooLarge,
}

/// Sends one batch until it is answered. Sending again is safe: the relay knows events by their
/// ids, and those without one by their content.
async fn request(client: &HttpClient, lines: &[&[u8]]) -> anyhow::Result<Delivered> {
    let mut body = Vec::new();
    for line in lines {
        body.extend_from_slice(line);
        body.push(b'\n');
    }
    let (mut wait, mut unanswered) = (SHORTEST_WAIT, 0);
    loop {
        let answer = client.post(&["v1", "events"], "application/x-ndjson", body.clone()).await;
        match answer {
            Ok(Answer { status: 429 | 503, retry_after, .. }) => {
                unanswered = 0;
                let asked = retry_after.unwrap_or(wait).clamp(SHORTEST_WAIT, LONGEST_WAIT);
                eprintln!("{} asks to wait {} s", client.base(), asked.as_secs_f32());
                tokio::time::sleep(asked).await;
            }
            Ok(Answer { status: 413, .. }) => return Ok(Delivered::TooLarge),
            Ok(answer) if answer.is_success() || answer.status == 422 => {
                let strange = || format!("{} does not answer as a relay does", client.base());
                let counts = serde_json::from_slice(&answer.body).with_context(strange)?;
                let places = serde_json::from_slice(&answer.body).with_context(strange)?;
                return Ok(Delivered::Answered(counts, places));
            }
            Ok(answer) => bail!("{} refuses: {}", client.base(), answer.refusal()),
            Err(error) => {
                unanswered += 1;
                if unanswered == TRIES {
                    return Err(error);
                }
                eprintln!("{error:#}; trying again");
                tokio::time::sleep(wait).await;
            }
        }
        wait = (wait * 2).min(LONGEST_WAIT / 10);
    }
}
