//! `import` through the real binary: what a CSV file says arrives once, also where the import is
//! killed half-way; refused rows are told with their reasons; a preview sends nothing.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{Folder, KEY, Relay, binary};

const MAP: &str = r#"
time_zone = "America/New_York"
[fields]
timestamp = "When"
user.email = "E-Mail"
properties.order_id = "Order"
properties.value = { cel = "double(body.Cents) / 100.0" }
[const]
event = "purchase"
site = "shop_us"
action_source = "crm"
properties.currency = "USD"
consent = { region = "US", ad_storage = "granted", ad_user_data = "granted", ad_personalization = "granted" }
"#;

struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new(csv: &str, map: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("deals.csv"), csv).unwrap();
        if let Some(map) = map {
            std::fs::write(folder.path().join("map.toml"), map).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, more: &[&str]) -> tokio::process::Command {
        let mut command = binary();
        command.current_dir(self.folder.path()).args(["import", "deals.csv"]).args(more);
        if self.path("map.toml").exists() {
            command.args(["--map", "map.toml"]);
        }
        command.env("RELAY_WRITE_KEY", KEY).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn run(&self, more: &[&str]) -> (i32, Vec<Value>, String) {
        let limit = Duration::from_secs(120);
        let output: Output =
            tokio::time::timeout(limit, self.command(more).output()).await.unwrap().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        let lines = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (output.status.code().unwrap(), lines, String::from_utf8(output.stderr).unwrap())
    }
}

fn progress(path: &Path) -> Value {
    std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

fn deals(count: usize) -> String {
    let now = conversion_relay::clock::system()()
        .to_zoned(jiff::tz::TimeZone::get("America/New_York").unwrap());
    let mut csv = "Order,When,E-Mail,Cents\r\n".to_owned();
    let when = now.strftime("%Y-%m-%d 00:00:00");
    for number in 0..count {
        // Every thousandth has no time, and every other one a line break within a cell.
        let when = if number % 1000 == 999 { String::new() } else { when.to_string() };
        let email = if number % 2 == 0 {
            format!("p{number}@example.com")
        } else {
            format!("\"p{number}@example.com\n\"")
        };
        write!(csv, "d{number},{when},{email},{}\r\n", 100 + number).unwrap();
    }
    csv
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_half_way_nothing_is_missing_or_doubled() {
    const ROWS: usize = 5_000;
    const NO_TIME: usize = ROWS / 1000;
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let desk = Desk::new(&deals(ROWS), Some(MAP));
    let url = ["--url", relay.public.as_str()];
    let kept = desk.path("deals.csv.progress");
    let mut kills = 0;
    for rows in [1, 2_000] {
        let mut child = desk.command(&url).spawn().unwrap();
        while progress(&kept)["rows"].as_u64().unwrap_or(0) < rows {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        child.kill().await.ok();
        kills += usize::from(progress(&kept)["finished"] == json!(false));
    }
    assert!(kills > 0, "killed before its end");
    // What a crash left behind the noted end of the refused rows is cut off.
    let refused = desk.path("deals.csv.refused.csv");
    if refused.exists() {
        let mut text = std::fs::read(&refused).unwrap();
        text.extend_from_slice(b"half a ro");
        std::fs::write(&refused, text).unwrap();
    }
    let (code, told, words) = desk.run(&url).await;
    assert_eq!(code, 1, "some rows have no time: {words}");
    assert!(words.contains("going on after"), "{words}");
    let summary = &told[0];
    assert_eq!(summary["rows"], ROWS, "{summary}");
    assert_eq!(summary["rejected"], NO_TIME, "{summary}");
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(count("accepted") + count("duplicate"), (ROWS - NO_TIME) as u64, "{summary}");

    let mut reader = csv::Reader::from_path(&refused).unwrap();
    let columns: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(columns, ["Order", "When", "E-Mail", "Cents", "row", "code", "reason"]);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let orders: Vec<&str> = rows.iter().map(|row| &row[0]).collect();
    let expected: Vec<String> = (0..NO_TIME).map(|n| format!("d{}", n * 1000 + 999)).collect();
    assert_eq!(orders, expected);
    assert!(rows.iter().all(|row| &row[5] == "missing_field" && row[6].starts_with("When: ")));

    let stats = relay.stats().await;
    assert_eq!(stats["accepted"], json!(ROWS - NO_TIME), "{stats}");
    let mut sent = Vec::new();
    for _ in 0..400 {
        sent = relay.accepted_ids("meta").await;
        if sent.len() >= ROWS - NO_TIME {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let unique: BTreeSet<&String> = sent.iter().collect();
    assert_eq!((sent.len(), unique.len()), (ROWS - NO_TIME, ROWS - NO_TIME));

    let (code, told, words) = desk.run(&url).await;
    assert_eq!((code, &told[0]["rows"]), (0, &json!(ROWS)), "{words}");
    assert!(words.contains("imported already"), "{words}");
    let (_, told, _) = desk.run(&[&url[..], &["--again"]].concat()).await;
    assert_eq!((&told[0]["duplicate"], &told[0]["accepted"]), (&json!(ROWS - NO_TIME), &json!(0)));
    // Another map in the middle of a file is a mistake.
    std::fs::write(desk.path("map.toml"), format!("{MAP}user.country = \"US\"\n")).unwrap();
    let (code, _, words) = desk.run(&url).await;
    assert_eq!(code, 1);
    assert!(words.contains("--again") && words.contains("the map"), "{words}");
    // So is another relay, and another file under the same name.
    std::fs::write(desk.path("map.toml"), MAP).unwrap();
    let other_folder = Folder::shipped();
    let other = Relay::start(&other_folder).await;
    let (code, _, words) = desk.run(&["--url", other.public.as_str()]).await;
    assert_eq!(code, 1);
    assert!(words.contains("--again") && words.contains("the relay"), "{words}");
    assert_eq!(other.stats().await["accepted"], json!(0), "nothing was sent to it");
    other.stop().await;
    std::fs::write(desk.path("deals.csv"), deals(3)).unwrap();
    let (code, _, words) = desk.run(&url).await;
    assert_eq!(code, 1);
    assert!(words.contains("--again") && words.contains("the file"), "{words}");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_shows_requests_and_problems_and_sends_nothing() {
    let folder = Folder::shipped();
    let desk = Desk::new(&deals(1_003), Some(MAP));
    let config = folder.config();
    let config = config.to_str().unwrap();
    let (code, told, words) = desk.run(&["--dry-run", "--rows", "2", "--config", config]).await;
    assert_eq!(code, 1, "{words}");
    let shown: Vec<&Value> = told.iter().filter(|line| line["event"] == "purchase").collect();
    assert_eq!(shown.iter().filter(|line| line["row"] == 2).count(), 1, "{:?}", told.first());
    assert!(shown[0].to_string().contains("\"request"), "{}", shown[0]);
    assert!(!shown[0].to_string().contains("p0@example.com"));
    let summary = &told.last().unwrap()["summary"];
    assert_eq!((&summary["rows"], &summary["rejected"]), (&json!(1_003), &json!(1)));
    let problems = summary["problems"].as_array().unwrap();
    assert!(problems.iter().any(|one| one["kind"] == "rejected" && one["rows"] == 1), "{summary}");
    assert!(!desk.path("deals.csv.progress").exists());
    assert!(!desk.path("deals.csv.refused.csv").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_told_before_anything_is_sent() {
    let nowhere = ["--url", "http://127.0.0.1:9"];
    for (csv, map, expected) in [
        ("a,b\n1,2\n", None, "--map"),
        ("", Some(MAP), "no header"),
        ("\u{feff}\n", Some(MAP), "no header"),
        ("Order,When,E-Mail,Cents,E-Mail\n", Some(MAP), "more than one column \"E-Mail\""),
        ("Order,When,E-Mail,Cents\n", Some("[fields]\nevnt = 1\n"), "event"),
        ("Order,When\n", Some(MAP), "E-Mail"),
        ("Order\n", Some("not toml"), "expected"),
    ] {
        let desk = Desk::new(csv, map);
        let (code, told, words) = desk.run(&nowhere).await;
        assert_eq!((code, told.len()), (78, 0), "{csv}: {words}");
        assert!(words.contains(expected), "{csv}: {words}");
    }
    let desk = Desk::new("Order,When,E-Mail,Cents\n", Some(MAP));
    let (code, told, _) = desk.run(&nowhere).await;
    assert_eq!((code, &told[0]["rows"]), (0, &json!(0)), "no rows, nothing to send");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upload_templates_need_no_map() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let now = conversion_relay::clock::system()()
        .to_zoned(jiff::tz::TimeZone::get("America/New_York").unwrap());
    let when = now.strftime("%m/%d/%Y 12:00:01 AM");
    let csv = format!(
        "Parameters:TimeZone=America/New_York\nGoogle Click ID,Conversion Name,Conversion Time,\
         Conversion Value,Conversion Currency,Order ID,Ad User Data,Site\nCj0abc,purchase,{when},12.50,\
         USD,g-1,Granted,shop_us\n"
    );
    let desk = Desk::new(&csv, None);
    let (code, told, words) = desk.run(&["--url", &relay.public, "--site", "shop_us"]).await;
    assert_eq!((code, &told[0]["accepted"]), (0, &json!(1)), "{told:?} {words}");
    relay.stop().await;

    let output = binary()
        .args(["explain", "--from", "csv", "--config", folder.config().to_str().unwrap()])
        .arg(desk.path("deals.csv"))
        .output()
        .await
        .unwrap();
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["event"], "purchase", "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_an_import_come_by_its_door() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let send = async |door: Option<&str>, event: Value| {
        let mut request = crate::harness::client()
            .post(format!("{}/v1/events?explain=true", relay.public))
            .bearer_auth(KEY)
            .header("content-type", "application/json");
        if let Some(door) = door {
            request = request.header("x-relay-door", door);
        }
        let answer = request.body(event.to_string()).send().await.unwrap().text().await.unwrap();
        serde_json::from_str::<Value>(&answer).unwrap()["explain"][0].clone()
    };
    let event = |id: &str, consent: Value| {
        json!({"event": "purchase", "event_id": id, "site": "shop_eu", "consent": consent,
            "user": {"email": "jane@example.com"},
            "properties": {"value": "9.00", "currency": "EUR", "order_id": id}})
    };
    let granted = json!({"region": "DE", "ad_storage": "granted", "ad_user_data": "granted"});
    send(None, event("first", granted)).await;
    for (door, uses_memory) in [(None, false), (Some("send"), false), (Some("import"), true)] {
        let id = format!("silent-{}", door.unwrap_or("none"));
        let line = send(door, event(&id, json!({"region": "DE"}))).await;
        let sources = line["consent"]["sources"].to_string();
        assert_eq!(sources.contains("memory"), uses_memory, "{door:?}: {line}");
    }
    relay.stop().await;
}

/// The file of refused rows is imported itself once they are mended: in the file's own form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_rows_keep_the_form_of_their_file() {
    let folder = Folder::shipped();
    let relay = Relay::start(&folder).await;
    let csv =
        "Parameters:TimeZone=Asia/Tokyo\nOrder;When;E-Mail;Cents\nd1;soon;a@example.com;100\n";
    let desk = Desk::new(csv, Some(&MAP.replace("time_zone = \"America/New_York\"\n", "")));
    let (code, told, words) = desk.run(&["--url", relay.public.as_str()]).await;
    assert_eq!((code, &told[0]["rejected"]), (1, &json!(1)), "{words}");
    let refused = std::fs::read_to_string(desk.path("deals.csv.refused.csv")).unwrap();
    let lines: Vec<&str> = refused.lines().collect();
    assert_eq!(lines[0], "Parameters:TimeZone=Asia/Tokyo");
    assert_eq!(lines[1], "Order;When;E-Mail;Cents;row;code;reason");
    assert!(lines[2].starts_with("d1;soon;a@example.com;100;3;invalid_field;"), "{refused}");
    assert!(lines[2].contains("time_formats"), "{refused}");
    let now = conversion_relay::clock::system()()
        .to_zoned(jiff::tz::TimeZone::get("Asia/Tokyo").unwrap());
    let when = now.strftime("%Y-%m-%d 00:00").to_string();
    std::fs::write(desk.path("deals.csv"), refused.replace("soon", &when)).unwrap();
    let (code, told, words) = desk.run(&["--url", relay.public.as_str(), "--again"]).await;
    assert_eq!((code, &told[0]["accepted"]), (0, &json!(1)), "{words}");
    relay.stop().await;
}
