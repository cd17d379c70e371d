//! The report through the real binary, and its HTML in a real browser.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::{Folder, binary};

async fn audit(folder: &Folder, arguments: &[&str]) -> (String, String) {
    let mut command = binary();
    command.arg("audit").args(arguments).arg("--config").arg(folder.config());
    let output = command.output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {told}");
    (String::from_utf8(output.stdout).unwrap(), told)
}

/// The shipped configuration with what a report must cope with: long names, markup in texts, many
/// platforms' worth of sentences, an approval.
async fn crowded() -> Folder {
    let folder = Folder::shipped();
    folder.edit("consent.toml", |text| {
        text.replace("Meta Platforms Ireland Ltd", "Meta <b>Platforms</b> & \\\"Ireland\\\" Ltd")
            .replace("as of the platform's terms", &"a_word_without_an_end_".repeat(20))
            .replace(
                "may_send = [\"context\", \"click_ids\"",
                "may_send = [\"user\", \"context\", \"click_ids\"",
            )
    });
    audit(&folder, &["--lock"]).await;
    let mut command = binary();
    command.args(["approve", "--as", "Ada <script>alert(1)</script>", "--config"]);
    assert!(command.arg(folder.config()).output().await.unwrap().status.success());
    folder
}

#[tokio::test]
async fn what_a_change_releases_is_told_in_every_format() {
    let (before, after) = (Folder::shipped(), Folder::shipped());
    after.edit("consent.toml", |text| {
        text.replacen(
            "may_send = [\"user.email\",",
            "may_send = [\"user.city\", \"user.email\",",
            1,
        )
    });
    let against = before.config().display().to_string();
    let (json, _) = audit(&after, &["--format", "json", "--against", &against]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    let released = json["newly_released"].as_array().unwrap();
    assert!(!released.is_empty());
    for news in released {
        assert_eq!(news["destination"], "meta");
        assert_eq!((&news["new"], &news["fields"]), (&json!("fields"), &json!(["user.city"])));
    }
    assert_eq!(json["no_longer_released"], json!([]));
    let (html, _) = audit(&after, &["--format", "html", "--against", &against]).await;
    let (news, recipients) = (html.find("user.city").unwrap(), html.find("Recipients").unwrap());
    assert!(html.contains("Newly released") && news < recipients, "what is new comes first");
    let (csv, _) = audit(&after, &["--format", "csv"]).await;
    assert!(
        csv.lines()
            .any(|line| line.starts_with("meta,meta,purchase,") && line.contains("user.city"))
    );
    let (again, _) = audit(&after, &["--format", "csv"]).await;
    assert_eq!(csv, again, "the same twice");
    let (changed, _) = audit(&after, &["--format", "csv", "--against", &against]).await;
    let mut lines = changed.lines();
    assert!(lines.next().unwrap().ends_with(",fields,change"));
    let first = lines.next().unwrap();
    assert!(first.starts_with("meta,") && first.ends_with("user.city,newly_released"), "{first}");
    assert!(lines.next_back().unwrap().ends_with(','), "the combinations follow, unchanged");

    let wrong = Folder::shipped();
    wrong.write("consent.toml", "nonsense = 1");
    let mut command = binary();
    command.args(["audit", "--against"]).arg(wrong.config()).arg("--config").arg(after.config());
    assert_eq!(command.output().await.unwrap().status.code(), Some(78));
}

#[tokio::test]
async fn a_lock_is_written_once_and_signed_only_where_there_is_one() {
    let folder = Folder::shipped();
    let approve = async |folder: &Folder, name: &str| {
        let mut command = binary();
        command.args(["approve", "--as", name, "--config"]).arg(folder.config());
        command.output().await.unwrap()
    };
    let nothing = approve(&folder, "Ada").await;
    assert_eq!(nothing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("audit --lock"));
    let (first, _) = audit(&folder, &["--lock"]).await;
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(first["changed"], true);
    let text = std::fs::read_to_string(folder.config().join("consent.lock")).unwrap();
    let (second, _) = audit(&folder, &["--lock"]).await;
    let second: Value = serde_json::from_str(&second).unwrap();
    assert_eq!((&second["changed"], &second["hash"]), (&json!(false), &first["hash"]));
    assert_eq!(text, std::fs::read_to_string(folder.config().join("consent.lock")).unwrap());
    assert_eq!(approve(&folder, " \n").await.status.code(), Some(1), "nobody is no name");
    let signed = approve(&folder, "Ada").await;
    let signed: Value = serde_json::from_slice(&signed.stdout).unwrap();
    assert_eq!((&signed["by"], &signed["lock"]), (&json!("Ada"), &first["hash"]));
    let (report, _) = audit(&folder, &["--format", "json"]).await;
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["approval"]["in_force"], true);
    assert_eq!(report["approval"]["signed"][0]["by"], "Ada");
    assert_eq!(report["beyond_lock"], json!([]));
    folder.write("consent.lock", "garbage");
    assert_eq!(approve(&folder, "Ada").await.status.code(), Some(1), "what cannot be read");
}

// === in a browser ===

/// Chromium's command, if it is installed. With CI=true it must be.
fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = std::env::split_paths(&path)
        .flat_map(|dir| names.map(|name| dir.join(name)))
        .find(|file| file.is_file());
    if found.is_none() {
        let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!ci, "with CI=true the browser must be there: apt-get install chromium");
        println!("skipped: chromium is not installed (apt-get install chromium)");
    }
    found
}

async fn browse(chromium: &Path, folder: &Folder, arguments: &[String]) -> String {
    let mut command = Command::new(chromium);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--window-size=1280,900", "--virtual-time-budget=5000"])
        .arg(format!("--user-data-dir={}", folder.dir.path().join("browser").display()))
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let limit = std::time::Duration::from_secs(120);
    let output = tokio::time::timeout(limit, command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_is_readable_in_a_browser_and_on_paper() {
    let Some(chromium) = chromium() else { return };
    let folder = crowded().await;
    let (html, _) = audit(&folder, &["--format", "html"]).await;
    assert!(!html.contains("<script") && !html.contains("<b>Platforms"), "texts are escaped");
    for outside in ["src=", "@import", "url(", "<link"] {
        assert!(!html.contains(outside), "the document loads {outside}");
    }
    let document = folder.dir.path().join("report.html");
    std::fs::write(&document, &html).unwrap();

    // The document itself has no script; a frame around it measures.
    let measure = r#"<!doctype html><body><iframe id=f style="border:0;width:WIDTHpx;height:900px"></iframe>
<script>
const f = document.getElementById("f");
f.onload = () => {
  const d = f.contentDocument, e = d.documentElement, r = {};
  r.scroll = e.scrollWidth; r.width = e.clientWidth; r.text = d.body.innerText.length;
  r.tables = d.querySelectorAll("table").length;
  r.wide = [...d.querySelectorAll("td,th")].filter(c => c.scrollWidth > c.clientWidth + 1).length;
  const ink = getComputedStyle(d.querySelector("tr.red td")).color;
  const who = t => (t.match(/[\w.+-]+@[\w-]+\.\w+|[+(]\d[\d ().-]{8,}\d/g) || []);
  if (who("x jane@example.com, +1 (415) 555-0133").length != 2) throw "who must find";
  r.who = who(d.body.innerText).length;
  r.red = ink; r.font = getComputedStyle(d.body).fontSize;
  document.title = "measured"; document.body.textContent = JSON.stringify(r);
};
f.srcdoc = CONTENT;
</script>"#;
    let content = serde_json::to_string(&html).unwrap().replace("</", "<\\/");
    // A laptop, and an A4 page without its margins (186 mm at 96 dots an inch).
    for width in [1280u32, 703] {
        let page = measure.replace("WIDTH", &width.to_string()).replace("CONTENT", &content);
        let frame = folder.dir.path().join("frame.html");
        std::fs::write(&frame, page).unwrap();
        let dom = ["--dump-dom".to_owned(), format!("file://{}", frame.display())];
        let dom = browse(&chromium, &folder, &dom).await;
        let start = dom.find("{\"scroll\"").unwrap_or_else(|| panic!("not measured: {dom:.2000}"));
        let end = start + dom[start..].find('}').unwrap() + 1;
        let measured: Value = serde_json::from_str(&dom[start..end]).unwrap();
        let number = |name: &str| measured[name].as_u64().unwrap();
        assert!(number("scroll") <= number("width"), "it scrolls sideways: {measured}");
        assert_eq!(number("who"), 0, "it names somebody: {measured}");
        assert_eq!(number("wide"), 0, "a cell is cut off: {measured}");
        assert!(number("tables") > 10 && number("text") > 5_000, "{measured}");
        assert_eq!(measured["red"], "rgb(138, 28, 18)", "{measured}");
    }

    let pdf = folder.dir.path().join("report.pdf");
    let print = [
        format!("--print-to-pdf={}", pdf.display()),
        "--no-pdf-header-footer".to_owned(),
        format!("file://{}", document.display()),
    ];
    browse(&chromium, &folder, &print).await;
    let pdf = std::fs::read(&pdf).unwrap();
    let boxes = media_boxes(&pdf);
    assert!(boxes.len() >= 5, "a page a recipient, and the appendix: {boxes:?}");
    for (width, height) in boxes {
        // A4 is 595.28 by 841.89 points.
        assert!((width - 595.3).abs() < 1.0 && (height - 841.9).abs() < 1.0, "{width}×{height}");
    }
}

/// The size of every page, in points. Chromium writes page objects uncompressed.
fn media_boxes(pdf: &[u8]) -> Vec<(f64, f64)> {
    let text = String::from_utf8_lossy(pdf);
    let of = |rest: &str| -> Option<(f64, f64)> {
        let inside = rest.trim_start().strip_prefix('[')?.split(']').next()?;
        let numbers: Vec<f64> = inside.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let [_, _, width, height] = numbers.as_slice() else { return None };
        Some((*width, *height))
    };
    text.match_indices("/MediaBox").filter_map(|(at, key)| of(&text[at + key.len()..])).collect()
}
