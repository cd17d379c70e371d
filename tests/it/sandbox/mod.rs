//! The sandbox against the platforms' sheets: what must be taken, and each trap that must not.

mod cases;
mod google;
mod linkedin;
mod meta;
mod microsoft;
mod microsoft_offline;
mod pinterest;
mod reddit;
mod server;
mod snapchat;
mod tiktok;
mod webhook;

use conversion_relay::{
    destinations::REGISTRY,
    sandbox::{Request, Verdict, check, platforms},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn now() -> Timestamp {
    "2026-11-22T04:05:00Z".parse().unwrap()
}

fn hash(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn ago(days: i64, seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(days * 86_400 + seconds)
}

/// Sets (or, with null, removes) the value at a JSON pointer.
fn with(body: &Value, pointer: &str, value: Value) -> Value {
    let mut body = body.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap_or_else(|| panic!("no parent of {pointer}"));
    match (parent, value) {
        (Value::Object(members), Value::Null) => drop(members.remove(name)),
        (Value::Object(members), value) => drop(members.insert(name.to_owned(), value)),
        (Value::Array(items), value) => items[name.parse::<usize>().unwrap()] = value,
        _ => panic!("{pointer} is below no object or list"),
    }
    body
}

fn json_headers() -> Vec<(String, String)> {
    vec![("content-type".to_owned(), "application/json".to_owned())]
}

fn post(platform: &str, url: &str, body: &Value) -> Verdict {
    let body = serde_json::to_vec(body).unwrap();
    let request = Request { method: "POST", url, headers: &json_headers(), body: &body };
    check(platform, request, now()).unwrap()
}

fn answer(verdict: &Verdict) -> Value {
    serde_json::from_slice(&verdict.reply.body).unwrap_or_default()
}

fn assert_taken(verdict: &Verdict) {
    assert!(verdict.is_accepted(), "{:?} {}", verdict.refused, answer(verdict));
}

#[test]
fn every_platform_has_a_contract_and_every_contract_a_platform() {
    let mut names: Vec<_> = REGISTRY.iter().map(|platform| platform.name).collect();
    names.sort_unstable();
    assert_eq!(platforms().collect::<Vec<_>>(), names);
}
