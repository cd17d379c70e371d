//! `config/examples/senders`: each is run as it stands, where its language is on the machine, and what
//! it sends is accepted once, also when it is sent again.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::{Folder, KEY, Relay};

/// A file, the program that runs it, and what comes before the file.
const SENDERS: [(&str, &str, &[&str]); 5] = [
    ("send.sh", "curl", &[]),
    ("send.py", "python3", &["python3"]),
    ("send.mjs", "node", &["node"]),
    ("send.php", "php", &["php"]),
    ("send.go", "go", &["go", "run"]),
];

fn senders() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/senders")
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Runs a sender; whether it was content, and what it told.
async fn run(
    file: &str,
    before: &[&str],
    relay: &str,
    key: &str,
    id: &str,
) -> (bool, String, String) {
    let file = senders().join(file);
    let words: Vec<&std::ffi::OsStr> =
        before.iter().map(std::ffi::OsStr::new).chain([file.as_os_str()]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(id).stdin(Stdio::null()).kill_on_drop(true);
    command.env("RELAY_URL", relay).env("RELAY_WRITE_KEY", key).env("NO_PROXY", "*");
    let limit = std::time::Duration::from_secs(120);
    let output = tokio::time::timeout(limit, command.output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sender_is_accepted_once() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let mut ran = 0;
    for (file, program, before) in SENDERS {
        assert!(senders().join(file).exists(), "{file}");
        if !is_installed(program) {
            println!("skipped: {file} ({program} is not installed)");
            continue;
        }
        ran += 1;
        for expected in ["accepted", "duplicate"] {
            let (good, answer, told) = run(file, before, &relay.public, KEY, program).await;
            assert!(good, "{file}: {answer}{told}");
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(answer[expected], json!(1), "{file}: {answer}");
            assert_eq!((&answer["warnings"], &answer["rejected"]), (&json!([]), &json!([])));
            assert_eq!(answer["held"], json!(0), "{file}: {answer}");
        }
        let (good, answer, told) = run(file, before, &relay.public, "wrong", "x").await;
        assert!(!good && format!("{answer}{told}").contains("401"), "{file}: {answer}{told}");
    }
    assert!(ran >= 2, "at least curl and one other are on any machine that builds this");
    relay.drained().await;
    let purchases = relay.accepted_ids("google_ads").await;
    assert_eq!(purchases.len(), ran, "{purchases:?}");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cron_job_sends_a_folder_of_files() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let spool = folder.dir.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    std::fs::copy(senders().join("events.ndjson"), spool.join("good.ndjson")).unwrap();
    std::fs::write(spool.join("bad.ndjson"), "{\"event\": \"nothing_planned\"}\n").unwrap();
    let work = async |url: &str| {
        let mut command = Command::new(senders().join("cron.sh"));
        command.arg(&spool).env("RELAY_URL", url).env("RELAY_WRITE_KEY", KEY);
        command.env("RELAY_BINARY", env!("CARGO_BIN_EXE_conversion-relay"));
        command.output().await.unwrap().status.success()
    };
    assert!(!work(&relay.public).await, "a line was refused");
    assert!(spool.join("sent/good.ndjson").exists() && spool.join("refused/bad.ndjson").exists());
    assert_eq!(relay.stats().await["accepted"], json!(2));
    assert!(work(&relay.public).await, "nothing is left to do");
    relay.stop().await;
}

/// What log shippers read is looked at as far as it can be without them: it posts lines to the right
/// place, with a key from the environment.
#[test]
fn log_shippers_post_lines() {
    for file in ["vector.yaml", "fluent-bit.yaml"] {
        let text = std::fs::read_to_string(senders().join(file)).unwrap();
        for word in ["/v1/events", "application/x-ndjson", "RELAY_WRITE_KEY"] {
            assert!(text.contains(word), "{file} has no {word}");
        }
    }
}
