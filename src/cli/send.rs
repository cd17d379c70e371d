//! `send`: NDJSON to a running relay, in batches. It waits when the relay asks it to, and never
//! loses a line: what is not answered is counted as unsent, and the command fails.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::PathBuf,
};

use anyhow::Context as _;
use clap::Args;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{
    Exit,
    batches::{self, Counts, MOST_BYTES, MOST_LINES, Outcome, Rejected, SANDBOX_KEY},
    http_client::HttpClient,
};

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
        let client = HttpClient::new(&self.url, Some(key))?.through("send");
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

    /// Adds what became of a batch.
    fn add(&mut self, batch: &[Line], outcome: Outcome) -> anyhow::Result<()> {
        self.counts.add(&outcome.counts);
        self.warnings += outcome.warnings;
        self.rejected += outcome.rejected.len() as u64;
        self.unsent += outcome.unsent;
        for Rejected { index, event_id, code, message, path } in outcome.rejected {
            let line = batch.get(index).map(|line| line.number);
            let message = without_line(&message, index);
            let refused = json!({
                "line": line, "event_id": event_id, "code": code, "message": message, "path": path,
            });
            eprintln!("{refused}");
        }
        outcome.error.map_or(Ok(()), Err)
    }
}

/// A refusal without its line: the relay counts the lines of what it was posted, not of the input.
fn without_line(message: &str, index: usize) -> String {
    message.replace(&format!(" at line {} column ", index + 1), " at column ")
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
        let bytes: Vec<&[u8]> = batch.iter().map(|line| line.bytes.as_slice()).collect();
        summary.add(&batch, batches::deliver(client, &bytes).await)?;
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

    #[test]
    fn a_line_is_told_once() {
        let told = |message| without_line(message, 1);
        assert_eq!(
            told("malformed JSON: it ends at line 2 column 5"),
            "malformed JSON: it ends at column 5"
        );
        assert_eq!(
            told("expected a text at line 1 column 5"),
            "expected a text at line 1 column 5"
        );
    }

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
            assert_eq!(batches::within_event(path), expected);
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
