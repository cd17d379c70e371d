//! What arrived: a bounded list of requests, and counters that forget nothing.
//!
//! Credentials are taken out before anything is kept.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::judge::{Refused, Verdict};

/// Bodies over this are not kept.
const LARGEST_BODY: usize = 4 * 1024 * 1024;
/// Destinations counted one by one in the summary.
const DESTINATIONS: usize = 1_000;
/// What is shown in place of a credential.
const REDACTED: &str = "[REDACTED]";

/// A request as it is kept.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) platform: String,
    pub(super) at: Timestamp,
    pub(super) method: String,
    /// With its query.
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<Bytes>,
    pub(super) fault: Option<&'static str>,
    pub(super) status: u16,
    pub(super) verdict: Verdict,
}

/// Requests received, newest last.
#[derive(Debug)]
pub(super) struct Received {
    kept: VecDeque<(Record, usize)>,
    bytes: usize,
    most_requests: usize,
    most_bytes: usize,
    counts: BTreeMap<String, Counts>,
}

/// Counters of a platform since the start or the last clearing.
#[derive(Debug, Default, Clone, Serialize)]
struct Counts {
    requests: u64,
    events: u64,
    accepted: u64,
    refused: u64,
    test: u64,
    warnings: u64,
    faults: u64,
    other_requests: u64,
    statuses: BTreeMap<u16, u64>,
    destinations: BTreeMap<String, Share>,
}

#[derive(Debug, Default, Clone, Serialize)]
struct Share {
    requests: u64,
    accepted: u64,
    refused: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    platform: &'a str,
    destination: Option<&'a str>,
    at: Timestamp,
    method: &'a str,
    path: &'a str,
    headers: BTreeMap<&'a str, &'a str>,
    body: Option<Value>,
    status: u16,
    accepted: &'a [Option<String>],
    refused: &'a [Refused],
    warnings: &'a [Refused],
    test: bool,
    fault: Option<&'a str>,
}

impl Received {
    /// An empty list with its bounds.
    pub(super) fn new(most_requests: usize, most_bytes: usize) -> Self {
        let (kept, counts) = (VecDeque::new(), BTreeMap::new());
        Self { kept, bytes: 0, most_requests, most_bytes, counts }
    }

    /// Counts a request and keeps it.
    pub(super) fn add(&mut self, mut record: Record) {
        self.count(&record);
        if self.most_requests == 0 {
            return;
        }
        record.body = record.body.filter(|body| body.len() <= LARGEST_BODY);
        for (name, value) in &mut record.headers {
            if is_secret(name) {
                *value = REDACTED.to_owned();
            }
        }
        record.path = without_secrets(&record.path);
        let size = record.size();
        self.bytes += size;
        self.kept.push_back((record, size));
        while self.kept.len() > self.most_requests || self.bytes > self.most_bytes {
            let Some((_, size)) = self.kept.pop_front() else { break };
            self.bytes -= size;
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.counts.clear();
        self.bytes = 0;
    }

    /// The requests kept, a JSON object a line, oldest first. Calls that carry no events (tokens,
    /// status) only where `all` is asked for.
    pub(super) fn lines(
        &self,
        platform: Option<&str>,
        destination: Option<&str>,
        all: bool,
    ) -> Vec<u8> {
        let mut text = Vec::new();
        for (record, _) in &self.kept {
            let wanted = platform.is_none_or(|wanted| wanted == record.platform)
                && destination.is_none_or(|it| record.verdict.destination.as_deref() == Some(it))
                && (all || record.verdict.carries_events);
            if wanted && serde_json::to_writer(&mut text, &record.line()).is_ok() {
                text.push(b'\n');
            }
        }
        text
    }

    /// The counters by platform.
    pub(super) fn summary(&self) -> Value {
        json!(self.counts)
    }

    fn count(&mut self, record: &Record) {
        let counts = self.counts.entry(record.platform.clone()).or_default();
        let verdict = &record.verdict;
        *counts.statuses.entry(record.status).or_default() += 1;
        counts.faults += u64::from(record.fault.is_some());
        if !verdict.carries_events {
            counts.other_requests += 1;
            return;
        }
        let accepted = verdict.accepted.len() as u64;
        let events = verdict.events as u64;
        counts.requests += 1;
        counts.events += events;
        counts.warnings += verdict.warnings.len() as u64;
        counts.refused += events - accepted;
        if verdict.test {
            counts.test += accepted;
        } else {
            counts.accepted += accepted;
        }
        let Some(destination) = &verdict.destination else { return };
        if counts.destinations.len() < DESTINATIONS || counts.destinations.contains_key(destination)
        {
            let share = counts.destinations.entry(destination.clone()).or_default();
            share.requests += 1;
            share.accepted += if verdict.test { 0 } else { accepted };
            share.refused += events - accepted;
        }
    }
}

impl Record {
    /// Roughly what it takes in memory.
    fn size(&self) -> usize {
        let texts = |list: &[Refused]| list.iter().map(|it| it.why.len() + 48).sum::<usize>();
        let ids = self.verdict.accepted.iter().flatten().map(|id| id.len() + 48).sum::<usize>();
        let headers = self.headers.iter().map(|(k, v)| k.len() + v.len() + 48).sum::<usize>();
        let body = self.body.as_ref().map_or(0, Bytes::len);
        let lists = texts(&self.verdict.refused) + texts(&self.verdict.warnings);
        512 + self.path.len() + headers + body + ids + lists
    }

    fn line(&self) -> Line<'_> {
        let body = self.body.as_ref().filter(|body| !body.is_empty()).map(|body| {
            match serde_json::from_slice::<Value>(body) {
                Ok(mut value) => {
                    redact(&mut value);
                    value
                }
                Err(_) => Value::String(without_secrets(&String::from_utf8_lossy(body))),
            }
        });
        Line {
            platform: &self.platform,
            destination: self.verdict.destination.as_deref(),
            at: self.at,
            method: &self.method,
            path: &self.path,
            headers: self.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
            body,
            status: self.status,
            accepted: &self.verdict.accepted,
            refused: &self.verdict.refused,
            warnings: &self.verdict.warnings,
            test: self.verdict.test,
            fault: self.fault,
        }
    }
}

/// Credentials are known by their names; a platform's ids are none.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["authorization", "token", "secret", "signature", "assertion", "developertoken"]
        .iter()
        .any(|word| name.contains(word))
}

/// Only the top level: what an event holds is shown as it came.
fn redact(body: &mut Value) {
    let Value::Object(members) = body else { return };
    for (name, value) in members {
        if is_secret(name) {
            *value = Value::String(REDACTED.to_owned());
        }
    }
}

fn without_secrets(text: &str) -> String {
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (Some(path), query),
        None if text.starts_with('/') => return text.to_owned(),
        None => (None, text),
    };
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={REDACTED}"),
        _ => pair.to_owned(),
    };
    let query = query.split('&').map(pair).collect::<Vec<_>>().join("&");
    path.map_or_else(|| query.clone(), |path| format!("{path}?{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> Record {
        Record {
            platform: "p".to_owned(),
            at: "2026-11-22T04:00:00Z".parse().unwrap(),
            method: "POST".to_owned(),
            path: "/p/1?id=7&api_secret=hush".to_owned(),
            headers: vec![("authorization".to_owned(), "Bearer hush".to_owned())],
            body: Some(Bytes::from_static(br#"{"access_token": "hush", "data": [1]}"#)),
            fault: None,
            status: 200,
            verdict: Verdict {
                destination: Some("1".to_owned()),
                events: 2,
                accepted: vec![Some(id.to_owned())],
                carries_events: true,
                ..Verdict::default()
            },
        }
    }

    #[test]
    fn credentials_are_never_shown() {
        let mut received = Received::new(10, 1 << 20);
        received.add(record("a"));
        let text = String::from_utf8(received.lines(Some("p"), Some("1"), false)).unwrap();
        assert!(!text.contains("hush"), "{text}");
        assert!(text.contains("id=7") && text.contains(r#""accepted":["a"]"#), "{text}");
        assert!(received.lines(Some("q"), None, true).is_empty());
        assert!(received.lines(None, Some("2"), true).is_empty());
    }

    #[test]
    fn the_list_is_bounded_and_the_counters_are_not() {
        let mut received = Received::new(3, 1 << 20);
        (0..10).for_each(|i| received.add(record(&i.to_string())));
        assert_eq!(received.lines(None, None, false).iter().filter(|b| **b == b'\n').count(), 3);
        assert_eq!(received.summary()["p"]["accepted"], 10);
        assert_eq!(received.summary()["p"]["refused"], 10);
        let mut small = Received::new(100, 2_000);
        (0..10).for_each(|i| small.add(record(&i.to_string())));
        assert!(small.bytes <= 2_000 && !small.kept.is_empty());
        received.clear();
        assert_eq!(received.summary(), json!({}));
    }
}
