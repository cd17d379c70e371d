//! The tag in a real browser: the cases are `tests/browser/tag.cjs`, which needs node and chromium.

use std::{path::Path, process::Stdio};

use tokio::process::Command;

use crate::harness::{Folder, Relay};

/// What a script of ours says when what it needs cannot be had.
const CANNOT: i32 = 75;

/// Whether what a script needs is here. With CI=true it must be.
fn is_here(code: Option<i32>, what: &str) -> bool {
    if code != Some(CANNOT) {
        return true;
    }
    let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(!ci, "with CI=true it must be there: {what}");
    println!("skipped: {what}");
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tag_asks_before_it_does_anything() {
    let folder = Folder::shipped();
    folder.edit("relay.toml", |text| {
        text.replace("\"https://shop.example\", ", "\"http://www.shop.localhost\", ")
            .replace("hosts = [\"shop.example\",", "hosts = [\"www.shop.localhost\",")
    });
    folder.edit("events.toml", |text| text.replace("when = \"properties.scroll_depth >= 75\"", ""));
    let relay = Relay::start(&folder).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/run");
    let mut command = Command::new(script);
    command.env("RELAY_PUBLIC", &relay.public).stdin(Stdio::null()).kill_on_drop(true);
    let limit = std::time::Duration::from_secs(300);
    let output = tokio::time::timeout(limit, command.output()).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    relay.stop().await;
    if is_here(output.status.code(), &errors) {
        assert!(output.status.success(), "{told}\n{errors}");
        assert!(told.matches("ok ").count() >= 15, "{told}");
    }
}

/// What is served is made of the sources beside it and of nothing else.
#[tokio::test]
async fn what_is_served_is_made_of_the_sources() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/tag/build");
    let output = Command::new(script).arg("--check").output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    if is_here(output.status.code(), "terser cannot be had (npm)") {
        assert!(output.status.success(), "{errors}");
    }
}
