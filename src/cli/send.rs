//! `send`: NDJSON to a running relay, in batches. It waits when the relay asks it to, and never
//! loses a line: what is not answered is counted as unsent, and the command fails.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Exit,
    http_client::{Answer, HttpClient},
};

/// The relay's own defaults for one request.
const MOST_LINES: usize = 1_000;
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// Waits where the relay names no time, and what it may ask for at most.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Tries without any answer before it gives up. A relay that answers is waited for without end.
const TRIES: u32 = 7;
/// What the sandbox takes where no key is set.
const SANDBOX_KEY: &str = "dev-key";

/// Sends NDJSON events to a running relay.
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// A file of one JSON event a line; `-` is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// The relay's public address.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The write key. Without one: `dev-key`, the sandbox's.
    #[arg(long, env = "RELAY_WRITE_KEY", hide_env_values = true)]
    key: Option<SecretString>,
}

impl Send {
    /// Sends everything; prints a summary to standard output and each refused line to standard
    /// error. Failed where a line was refused or not sent.
    pub(crate) async fn run(self) -> anyhow::Result<Exit> {
        let key = self.key.unwrap_or_else(|| SANDBOX_KEY.to_owned().into());
        let client = HttpClient::new(&self.url, Some(key))?;
        let input: Box<dyn Read> = if self.file.as_os_str() == "-" {
            Box::new(io::stdin())
        } else {
            let open = File::open(&self.file);
            Box::new(open.with_context(|| format!("cannot read {}", self.file.display()))?)
        };
        let mut lines = Lines { input: BufReader::new(input), number: 0, held: None };
        let mut summary = Summary::default();
        // However it ends, what was answered is told, and what was not is counted.
        if let Err(error) = send_all(&client, &mut lines, &mut summary).await {
            eprintln!("error: {error:#}");
            summary.unsent += lines.count_rest()?;
        }
        println!("{}", summary.json()?);
        Ok(if summary.rejected + summary.unsent == 0 { Exit::Fine } else { Exit::Failed })
    }
}

/// One line of the input.
#[derive(Debug, Clone)]
struct Line {
    number: u64,
    bytes: Vec<u8>,
}

/// The lines of the input that are not empty.
struct Lines<R> {
    input: R,
    number: u64,
    /// Read, but of the next batch.
    held: Option<Line>,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.held.take() {
            return Ok(Some(line));
        }
        loop {
            let mut bytes = Vec::new();
            if self.input.read_until(b'\n', &mut bytes)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            let trimmed = bytes.trim_ascii();
            if !trimmed.is_empty() {
                return Ok(Some(Line { number: self.number, bytes: trimmed.to_vec() }));
            }
        }
    }

    /// As many lines as one request takes; always one at least, unless there is none.
    fn batch(&mut self) -> io::Result<Vec<Line>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < MOST_LINES {
            let Some(line) = self.next()? else { break };
            bytes += line.bytes.len() + 1;
            if bytes > MOST_BYTES && !batch.is_empty() {
                self.held = Some(line);
                break;
            }
            batch.push(line);
        }
        Ok(batch)
    }

    fn count_rest(&mut self) -> io::Result<u64> {
        let mut rest = 0;
        while self.next()?.is_some() {
            rest += 1;
        }
        Ok(rest)
    }
}

/// What became of the lines.
#[derive(Debug, Default)]
struct Summary {
    counts: Counts,
    warnings: u64,
    rejected: u64,
    unsent: u64,
}

/// The counts of an answer.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Counts {
    accepted: u64,
    duplicate: u64,
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

#[derive(Debug, Deserialize)]
struct Rejected {
    index: usize,
    event_id: Option<String>,
    code: String,
    #[serde(default)]
    message: String,
    path: Option<String>,
}

impl Counts {
    /// The lines that these counts answer for; `held` and `derived_ids` are among the others.
    fn lines(&self) -> u64 {
        self.accepted
            + self.duplicate
            + self.suppressed
            + self.criteria_not_met
            + self.unplanned
            + self.test
    }

    fn add(&mut self, other: &Counts) {
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

impl Summary {
    fn json(&self) -> anyhow::Result<Value> {
        let mut json = serde_json::to_value(&self.counts)?;
        for (name, count) in
            [("warnings", self.warnings), ("rejected", self.rejected), ("unsent", self.unsent)]
        {
            if let Value::Object(members) = &mut json {
                members.insert(name.to_owned(), count.into());
            }
        }
        Ok(json)
    }

    /// Adds an answer; an error where it does not account for every line.
    fn add(&mut self, batch: &[Line], counts: &Counts, places: Places) -> anyhow::Result<()> {
        let lines = batch.len() as u64;
        let answered = counts.lines() + places.rejected.len() as u64;
        self.counts.add(counts);
        self.warnings += places.warnings.len() as u64;
        for rejected in places.rejected {
            let line = batch.get(rejected.index).map(|line| line.number);
            self.refuse(line, rejected);
        }
        if answered != lines {
            self.unsent += lines.saturating_sub(answered);
            bail!("the relay answered for {answered} of {lines} lines");
        }
        Ok(())
    }

    fn refuse(&mut self, line: Option<u64>, rejected: Rejected) {
        self.rejected += 1;
        let Rejected { event_id, code, message, path, .. } = rejected;
        let path = path.as_deref().map(within_event);
        let refused = json!({
            "line": line, "event_id": event_id, "code": code, "message": message, "path": path,
        });
        eprintln!("{refused}");
    }
}

/// A path without its first part, where that is a place in a batch: the reader knows only lines.
fn within_event(path: &str) -> &str {
    let rest = path.trim_start_matches('/');
    let after = rest.trim_start_matches(|character: char| character.is_ascii_digit());
    let is_place = after.len() < rest.len() && (after.is_empty() || after.starts_with('/'));
    if is_place { after } else { path }
}

async fn send_all<R: BufRead>(
    client: &HttpClient,
    lines: &mut Lines<R>,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    loop {
        let batch = lines.batch().context("cannot read the input")?;
        if batch.is_empty() {
            return Ok(());
        }
        // Halves of what was too large wait here, the earlier one on top.
        let mut waiting = vec![batch];
        while let Some(batch) = waiting.pop() {
            let result = deliver(client, &batch).await;
            let unsent = |waiting: &[Vec<Line>]| waiting.iter().map(Vec::len).sum::<usize>() as u64;
            match result {
                Ok(Delivered::Answered(counts, places)) => {
                    if let Err(error) = summary.add(&batch, &counts, places) {
                        summary.unsent += unsent(&waiting);
                        return Err(error);
                    }
                }
                Ok(Delivered::TooLarge) => match halves(batch) {
                    Ok((first, second)) => waiting.extend([second, first]),
                    Err(line) => {
                        let rejected = Rejected {
                            index: 0,
                            event_id: None,
                            code: "too_large".to_owned(),
                            message: "larger than the relay takes".to_owned(),
                            path: None,
                        };
                        summary.refuse(line, rejected);
                    }
                },
                Err(error) => {
                    summary.unsent += batch.len() as u64 + unsent(&waiting);
                    return Err(error);
                }
            }
        }
    }
}

/// Two halves, or the number of the only line.
fn halves(mut batch: Vec<Line>) -> Result<(Vec<Line>, Vec<Line>), Option<u64>> {
    if batch.len() < 2 {
        return Err(batch.first().map(|line| line.number));
    }
    let second = batch.split_off(batch.len() / 2);
    Ok((batch, second))
}

/// What became of one batch.
enum Delivered {
    Answered(Counts, Places),
    TooLarge,
}

/// Sends one batch until it is answered. Sending again is safe: the relay knows events by their
/// ids, and those without one by their content.
async fn deliver(client: &HttpClient, batch: &[Line]) -> anyhow::Result<Delivered> {
    let mut body = Vec::new();
    for line in batch {
        body.extend_from_slice(&line.bytes);
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{
        Router,
        body::Bytes,
        extract::State,
        http::{HeaderMap, StatusCode},
        routing::post,
    };

    use super::*;

    /// Answers in order: a status with a body, or `None` for taking every line.
    type Script = Arc<Mutex<Vec<Option<(u16, Value)>>>>;

    /// A relay that answers from a list of scripted answers, the last one for ever, and keeps what
    /// it was sent. `None` accepts every line.
    #[derive(Clone, Default)]
    struct Relay {
        script: Script,
        taken: Arc<Mutex<Vec<String>>>,
    }

    async fn answer(
        State(relay): State<Relay>,
        headers: HeaderMap,
        body: Bytes,
    ) -> (StatusCode, [(&'static str, &'static str); 1], String) {
        assert_eq!(headers["authorization"], "Bearer key-1");
        assert_eq!(headers["content-type"], "application/x-ndjson");
        let text = String::from_utf8(body.to_vec()).unwrap();
        let scripted = relay.script.lock().unwrap().pop().flatten();
        let (status, json) = scripted.unwrap_or_else(|| {
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let accepted = lines.len();
            relay.taken.lock().unwrap().extend(lines);
            (202, json!({"accepted": accepted, "held": 1, "warnings": [{"index": 0}]}))
        });
        let status = StatusCode::from_u16(status).unwrap();
        (status, [("retry-after", "0")], json.to_string())
    }

    /// Sends lines to a relay with a script (in order) and gives the summary and what it took.
    async fn sent(lines: &[u8], script: Vec<Option<(u16, Value)>>) -> (Value, Vec<String>, bool) {
        let relay = Relay::default();
        *relay.script.lock().unwrap() = script.into_iter().rev().collect();
        let router = Router::new().route("/v1/events", post(answer)).with_state(relay.clone());
        let router = router.layer(axum::extract::DefaultBodyLimit::disable());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let client = HttpClient::new(&url, Some("key-1".to_owned().into())).unwrap();
        let mut input = Lines { input: lines, number: 0, held: None };
        let mut summary = Summary::default();
        let result = send_all(&client, &mut input, &mut summary).await;
        if result.is_err() {
            summary.unsent += input.count_rest().unwrap();
        }
        server.abort();
        let taken = relay.taken.lock().unwrap().clone();
        (summary.json().unwrap(), taken, result.is_ok())
    }

    fn numbered(lines: usize) -> Vec<u8> {
        let lines = (0..lines).map(|number| format!("{{\"event\":\"e{number}\"}}\r\n\n"));
        lines.collect::<String>().into_bytes()
    }

    #[tokio::test]
    async fn sends_batches_in_order_without_empty_lines() {
        let (summary, taken, fine) = sent(&numbered(2500), Vec::new()).await;
        assert!(fine);
        assert_eq!(summary["accepted"], 2500);
        assert_eq!((&summary["held"], &summary["warnings"]), (&json!(3), &json!(3)));
        assert_eq!((&summary["rejected"], &summary["unsent"]), (&json!(0), &json!(0)));
        assert_eq!(taken.len(), 2500);
        assert_eq!(taken[0], r#"{"event":"e0"}"#);
        assert_eq!(taken[2499], r#"{"event":"e2499"}"#);
    }

    #[tokio::test]
    async fn waits_where_it_is_asked_to() {
        let busy = |status| Some((status, json!({"code": "busy", "detail": "later"})));
        let script = vec![busy(503), busy(429), None];
        let (summary, taken, fine) = sent(&numbered(3), script).await;
        assert!(fine);
        assert_eq!((summary["accepted"].as_u64(), taken.len()), (Some(3), 3));
    }

    #[tokio::test]
    async fn tells_refused_lines_by_their_number() {
        let rejected = json!({"accepted": 1, "rejected": [
            {"index": 1, "code": "unknown_event", "message": "no such event", "path": "/1/event"},
        ]});
        let (summary, _, fine) = sent(&numbered(2), vec![Some((202, rejected))]).await;
        assert!(fine);
        assert_eq!((&summary["accepted"], &summary["rejected"]), (&json!(1), &json!(1)));
        let all = json!({"accepted": 0, "rejected": [{"index": 0, "code": "invalid_field"}]});
        let (summary, _, _) = sent(&numbered(1), vec![Some((422, all))]).await;
        assert_eq!(summary["rejected"], 1);
        for (path, expected) in
            [("/3/event", "/event"), ("/event", "/event"), ("/3", ""), ("/3d", "/3d"), ("", "")]
        {
            assert_eq!(within_event(path), expected);
        }
    }

    #[tokio::test]
    async fn halves_what_is_too_large() {
        let large = || Some((413, json!({"code": "too_large", "detail": "4 MiB"})));
        let (summary, taken, fine) = sent(&numbered(4), vec![large(), large(), large()]).await;
        assert!(fine);
        assert_eq!((&summary["accepted"], &summary["rejected"]), (&json!(3), &json!(1)));
        assert_eq!(taken, [r#"{"event":"e1"}"#, r#"{"event":"e2"}"#, r#"{"event":"e3"}"#]);
    }

    #[tokio::test]
    async fn counts_what_it_could_not_send() {
        let refused = Some((401, json!({"code": "unauthorized", "detail": "no such key"})));
        let (summary, _, fine) = sent(&numbered(2200), vec![None, refused]).await;
        assert!(!fine);
        assert_eq!((&summary["accepted"], &summary["unsent"]), (&json!(1000), &json!(1200)));
        let short = Some((202, json!({"accepted": 1})));
        let (summary, _, fine) = sent(&numbered(3), vec![short]).await;
        assert!(!fine, "two lines nobody answered for");
        assert_eq!((&summary["accepted"], &summary["unsent"]), (&json!(1), &json!(2)));
    }

    #[test]
    fn batches_are_bounded_in_bytes() {
        let line = vec![b'x'; MOST_BYTES / 3];
        let input = [line.clone(), line.clone(), line, vec![b'y'; MOST_BYTES + 1]];
        let input = input.join(&b'\n');
        let mut lines = Lines { input: input.as_slice(), number: 0, held: None };
        let mut sizes = Vec::new();
        loop {
            let batch = lines.batch().unwrap();
            if batch.is_empty() {
                break;
            }
            sizes.push(batch.iter().map(|line| line.number).collect::<Vec<_>>());
        }
        assert_eq!(sizes, [vec![1, 2], vec![3], vec![4]]);
    }
}
