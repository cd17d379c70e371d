//! After a run with unmistakable personal data, no clear hashable value is found in any byte of the
//! data folder, the logs at trace level, the metrics or the admin answers.

use std::path::Path;

use conversion_relay::config::Engine;
use serde_json::json;

use crate::harness::{Folder, Relay, purchase};

/// Values that could only come from our events.
const SECRETS: &[&str] = &[
    "Zaphod.Quux@Example.com",
    "zaphod.quux@example.com",
    "zaphod.quux%40example.com",
    "4155550177",
    "(415) 555-0177",
    "415 555 0177",
    "+14155550177",
    "Zaphodius",
    "zaphodius",
    "Beeblebroxton",
    "beeblebroxton",
    "17 Magrathea Lane",
    "17 magrathea lane",
    "1971-03-11",
    "19710311",
    "zaphod.free.text@example.com",
];

fn files_below(dir: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, files) } else { files.push(path) }
    }
}

fn assert_clean(what: &str, bytes: &[u8]) {
    // What is no text is replaced, and every ASCII letter stays where it was.
    let text = String::from_utf8_lossy(bytes);
    for secret in SECRETS {
        assert!(!text.contains(secret), "{what} holds {secret:?} in clear");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_clear_identity_anywhere_on_sled() {
    no_clear_identity_anywhere(Engine::Sled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_clear_identity_anywhere_on_redb() {
    no_clear_identity_anywhere(Engine::Redb).await;
}

async fn no_clear_identity_anywhere(engine: Engine) {
    let folder = Folder::shipped();
    folder.use_engine(engine);
    let relay =
        Relay::try_start(&folder, &[("RUST_LOG", "trace"), ("RELAY_LOG", "trace")]).await.unwrap();
    // Some stay pending, some die, some are delivered.
    let mut delivered = purchase("private-1");
    delivered["user"] = json!({
        "external_id": "u-1029", "email": "Zaphod.Quux@Example.com", "phone": "+1 (415) 555-0177",
        "first_name": "Zaphodius", "last_name": "Beeblebroxton", "gender": "m",
        "date_of_birth": "1971-03-11", "street": "17 Magrathea Lane", "city": "San Francisco",
        "region": "CA", "postal_code": "94107", "country": "US"
    });
    delivered["context"]["page_url"] = json!(
        "https://shop.example/thanks?email=zaphod.quux%40example.com&utm_source=a#+14155550177"
    );
    delivered["properties"]["note"] = json!("call zaphod.free.text@example.com or +1 415 555 0177");
    // Where a sender has no business to write identity, and the decision log keeps what came.
    delivered["consent"]["id"] = json!("zaphod.quux@example.com");
    delivered["consent"]["method"] = json!("call +14155550177");
    delivered["consent"]["categories"] = json!({"zaphod.quux@example.com": true});
    let (status, answer) = relay.post(&delivered).await;
    assert_eq!(status, 202, "{answer}");
    relay.drained().await;

    // Refused events, wrong types and unknown fields: their errors must not repeat values.
    let mut wrong = delivered.clone();
    wrong["event_id"] = json!("private-2");
    wrong["user"]["emial"] = json!("Zaphod.Quux@Example.com");
    let (status, answer) = relay.post(&wrong).await;
    assert_eq!(status, 422, "{answer}");
    assert_clean("the refusal", answer.to_string().as_bytes());
    let mut wrong = delivered.clone();
    wrong["event_id"] = json!("private-3");
    wrong["user"]["date_of_birth"] = json!(19710311);
    wrong["user"]["email"] = json!({"Zaphod.Quux@Example.com": 1});
    let (_, answer) = relay.post(&wrong).await;
    assert_clean("the refusal", answer.to_string().as_bytes());

    relay.faults(Some(json!({"platform": "meta", "partial": 1.0}))).await;
    for n in 4..8 {
        let mut event = delivered.clone();
        event["event_id"] = json!(format!("private-{n}"));
        event["properties"]["order_id"] = json!(format!("order-private-{n}"));
        let (status, answer) = relay.post(&event).await;
        assert_eq!(status, 202, "{answer}");
    }
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    relay.faults(Some(json!({"platform": "ga4", "error_rate": 1.0, "status": 503}))).await;
    let mut event = delivered.clone();
    event["event_id"] = json!("private-9");
    relay.post(&event).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;

    for path in [
        "/admin/v1/stats",
        "/admin/v1/dead",
        "/admin/v1/events/private-1",
        "/admin/v1/events/private-4",
        "/admin/v1/evidence",
        "/admin/v1/evidence/verify",
        "/metrics",
        "/",
    ] {
        let (status, answer) = relay.admin("GET", path, None).await;
        assert!(status == 200, "{path}: {status} {answer}");
        assert_clean(path, answer.to_string().as_bytes());
    }
    let person = json!({"site": "shop_us", "user": {"external_id": "u-1029"}});
    let (status, answer) =
        relay.admin("POST", "/admin/v1/privacy/export", Some(person.clone())).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer["evidence"].as_array().is_some_and(|all| !all.is_empty()), "{answer}");
    assert_clean("what is exported of a person", answer.to_string().as_bytes());
    let (status, answer) = relay.admin("POST", "/admin/v1/privacy/withdraw", Some(person)).await;
    assert_eq!(status, 200, "{answer}");
    let log = relay.kill().await;
    assert!(log.len() > 1000, "the log at trace level is there: {log}");
    assert_clean("the log", log.as_bytes());

    let mut files = Vec::new();
    files_below(&folder.data(), &mut files);
    let bytes: usize = files.iter().map(|file| std::fs::read(file).unwrap().len()).sum();
    assert!(bytes > 4096, "the data folder holds something");
    for file in files {
        assert_clean(&file.display().to_string(), &std::fs::read(&file).unwrap());
    }

    // What the files seal is clean too: the decision log, opened; and the report in every form.
    let run = async |arguments: &[&str]| {
        let mut command = crate::harness::binary();
        command.args(arguments).arg("--config").arg(folder.config());
        let output = command.output().await.unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {told}");
        assert_clean(&format!("what {arguments:?} says"), told.as_bytes());
        output.stdout
    };
    let data = folder.data().display().to_string();
    let exported = run(&["evidence", "export", "--data", &data]).await;
    assert!(String::from_utf8_lossy(&exported).contains("private-9"), "the log holds the run");
    assert_clean("the decision log", &exported);
    for form in ["html", "json", "csv"] {
        let report = run(&["audit", "--format", form]).await;
        assert!(report.len() > 1000, "the report says something");
        assert_clean(&format!("the report as {form}"), &report);
    }
}

/// What a panic could print: everything on an event's way, as `Debug` shows it.
#[test]
fn what_a_panic_prints_holds_no_identity() {
    use conversion_relay::{
        config::{self, LoadOptions, Secrets},
        consent::{Whereabouts, memory::Remembered},
        destinations::REGISTRY,
        pipeline::{self, Street, SubjectKey},
        sources::{Door, json as parser, native},
    };
    let options = LoadOptions {
        secrets: Secrets::Placeholder,
        sandbox_base: None,
        env: &|_| None,
        registry: REGISTRY,
    };
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let config = config::load(&shipped, &options).config.unwrap();
    let mut event = purchase("panic-1");
    event["user"] = json!({
        "external_id": "u-1029", "email": "Zaphod.Quux@Example.com", "phone": "+1 (415) 555-0177",
        "first_name": "Zaphodius", "last_name": "Beeblebroxton", "gender": "m",
        "date_of_birth": "1971-03-11", "street": "17 Magrathea Lane", "country": "US"
    });
    let text = event.to_string();
    let node = parser::parse(&text, 32).unwrap();
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    let key = SubjectKey::new(&[7; 32]);
    let nothing = |_: &[[u8; 16]]| Remembered::default();
    let street = Street {
        config: &config,
        key: &key,
        geoip: &|_| None,
        remembered: &nothing,
        refused_since: &|_, _| None,
    };
    let read = native::read(&node, &Door::default(), &config, now).unwrap();
    assert_clean("an event", format!("{read:?}").as_bytes());
    let whereabouts = Whereabouts { event_is_believed: true, ..Whereabouts::default() };
    let verdict = pipeline::run(&street, read, &whereabouts, now).unwrap();
    assert_clean("a verdict", format!("{verdict:?}").as_bytes());
    let admission = verdict.admission(&street);
    assert_clean("an admission", format!("{admission:?}").as_bytes());
    assert_clean("its grounds", &admission.grounds);
    assert_clean("its trace", &admission.trace);
    assert!(admission.grounds.len() > 100);
}

/// What shows which product it was leaves no sensitive site: not its name, nor what stands beside it.
#[tokio::test]
async fn a_sensitive_site_names_no_product() {
    let folder = Folder::shipped();
    let explain = async || -> serde_json::Value {
        let mut event = purchase("sensitive-1");
        event["consent"] = json!({"region": "US", "ad_storage": "granted", "ad_user_data": "granted",
            "ad_personalization": "granted", "analytics_storage": "granted"});
        event["properties"]["items"] = json!([{"id": "SKU-1", "name": "Pills", "brand": "Medicorp",
            "category": "Antivirals", "variant": "Strong", "strength": "800 mg", "quantity": 1, "price": 9}]);
        let file = folder.dir.path().join("event.json");
        std::fs::write(&file, event.to_string()).unwrap();
        let mut command = crate::harness::binary();
        command.arg("explain").arg("--config").arg(folder.config()).arg(&file);
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let words = ["Pills", "Medicorp", "Antivirals", "Strong", "800 mg"];
    let open = explain().await["destinations"].to_string();
    assert!(words[..4].iter().all(|word| open.contains(word)), "elsewhere they leave: {open}");
    folder.edit("relay.toml", |text| {
        text.replace("# sensitive = \"health\"", "sensitive = \"health\"")
    });
    let line = explain().await;
    let sent = line["destinations"].to_string();
    assert!(words.iter().all(|word| !sent.contains(word)), "{sent}");
    assert!(sent.contains("SKU-1"), "{sent}");
}
