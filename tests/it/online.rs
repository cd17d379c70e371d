//! `check --online`: right and wrong credentials of every platform, against the sandbox.

use std::{fs, path::Path, sync::Arc};

use conversion_relay::{
    config::{LoadOptions, Secrets, load},
    delivery::{Credentials, try_credentials},
    destinations::{Auth, KeyKind, REGISTRY},
    sandbox::{Sandbox, SandboxOptions, serve_on},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    fixtures::support,
    harness::{Folder, binary},
};

/// A sandbox on a port of its own.
async fn sandbox(stop: &CancellationToken) -> (Arc<Sandbox>, String) {
    let sandbox = Sandbox::new(SandboxOptions::default());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(serve_on(listener, sandbox.clone(), stop.clone()));
    (sandbox, url)
}

/// A configuration with one destination for each platform, as its fixtures configure it, its
/// secrets referred to as `KEY_OF_PLATFORM`.
fn of_every_platform(folder: &Path) {
    let mut destinations = String::new();
    let mut events = String::from("[events.purchase]\nkind = \"macro\"\n");
    events.push_str("[events.purchase.destinations]\n");
    for platform in REGISTRY {
        let path = support::folder(platform.name).join("settings.toml");
        let mut table: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
        let entries = table.remove("events").unwrap();
        let entry = &entries["purchase"];
        events.push_str(&format!("{} = {entry}\n", platform.name));
        destinations.push_str(&format!("[{0}]\nplatform = \"{0}\"\n", platform.name));
        for (key, value) in table {
            let kind = platform.keys.iter().find(|k| k.name == key).map(|k| k.kind);
            let value = if kind == Some(KeyKind::Secret) {
                format!("{{ env = \"{key}_OF_{}\" }}", platform.name)
            } else {
                value.to_string()
            };
            destinations.push_str(&format!("{key} = {value}\n"));
        }
    }
    fs::write(folder.join("relay.toml"), "mode = \"sandbox\"\n").unwrap();
    fs::write(folder.join("events.toml"), events).unwrap();
    fs::write(folder.join("destinations.toml"), destinations).unwrap();
    fs::write(folder.join("consent.toml"), "").unwrap();
}

/// What trying every platform shows, with the secrets of an environment.
async fn try_all(base: &str, env: &dyn Fn(&str) -> Option<String>) -> Vec<(String, Credentials)> {
    let folder = tempfile::tempdir().unwrap();
    of_every_platform(folder.path());
    let options = LoadOptions {
        secrets: Secrets::Resolve,
        sandbox_base: Some(base.to_owned()),
        env,
        registry: REGISTRY,
    };
    let loaded = load(folder.path(), &options);
    let config = Arc::new(loaded.config.unwrap_or_else(|| panic!("{:#?}", loaded.findings)));
    let now = conversion_relay::clock::system()();
    let mut tried = Vec::new();
    for name in config.destinations.keys() {
        let found = try_credentials(Arc::clone(&config), name, now).await.unwrap();
        tried.push((name.clone(), found));
    }
    tried
}

/// Whether there is a call that tells right credentials from wrong ones, and costs nothing.
fn can_be_proven(platform: &str) -> bool {
    let platform = REGISTRY.iter().find(|known| known.name == platform).unwrap();
    let destination = support::destination(platform);
    match destination.auth() {
        // Trying it uses it up.
        Auth::OAuthRotating { .. } => false,
        Auth::OAuthRefresh { .. } | Auth::ServiceAccount { .. } => true,
        _ => destination.probe(support::now()).is_some(),
    }
}

#[tokio::test]
async fn right_and_wrong_credentials_of_every_platform_are_told_apart() {
    let stop = CancellationToken::new();
    let (sandbox, base) = sandbox(&stop).await;
    let mut proven = 0;
    for (name, found) in try_all(&base, &|_| None).await {
        let can_be = can_be_proven(&name);
        proven += usize::from(can_be);
        let expected = if can_be { Credentials::Taken } else { Credentials::Unproven };
        assert_eq!(found, expected, "{name} with the right credentials");
    }
    assert!(proven >= 10, "{proven}");
    for (name, found) in try_all(&base, &|_| Some("wrong".to_owned())).await {
        match found {
            Credentials::Refused(fault) => assert!(!fault.reason.is_empty(), "{name}"),
            Credentials::Unproven if !can_be_proven(&name) => {}
            other => panic!("{name} with wrong credentials: {other:?}"),
        }
    }
    let summary = sandbox.summary();
    for platform in REGISTRY {
        let accepted = &summary[platform.name]["accepted"];
        assert!(accepted.is_null() || *accepted == 0, "an event was sent: {summary}");
    }
    stop.cancel();
}

/// Three destinations, live, that call a sandbox.
fn live(base: &str) -> Folder {
    let folder = Folder::shipped();
    let destinations = format!(
        "[meta]\nplatform = \"meta\"\ndataset_id = \"1234567890\"\n\
         access_token = {{ env = \"META_TOKEN\" }}\nendpoint = \"{base}/meta\"\n\n\
         [ga4]\nplatform = \"ga4\"\nmeasurement_id = \"G-TEST1234\"\n\
         api_secret = {{ env = \"GA4_SECRET\" }}\nendpoint = \"{base}/ga4\"\n\n\
         [bing]\nplatform = \"microsoft_offline\"\naccount_id = 1\ncustomer_id = 2\n\
         client_id = \"app\"\nrefresh_token = {{ env = \"MS_REFRESH\" }}\n\
         developer_token = {{ env = \"MS_DEVELOPER\" }}\n\
         endpoint = \"{base}/microsoft_offline\"\n\
         token_endpoint = \"{base}/microsoft_offline\"\n"
    );
    let events = "[events.purchase]\nkind = \"macro\"\n[events.purchase.destinations]\n\
                  meta = true\nga4 = true\nbing = { goal = \"Goal\" }\n";
    folder.edit("relay.toml", |_| "mode = \"live\"\n".to_owned());
    folder.edit("destinations.toml", |_| destinations);
    folder.edit("events.toml", |_| events.to_owned());
    folder.edit("consent.toml", |_| String::new());
    folder
}

async fn check(folder: &Folder, arguments: &[&str], meta: &str) -> (Option<i32>, String, Value) {
    let output = binary()
        .args(["check", "--online", "--format", "json", "--config"])
        .arg(folder.config())
        .args(arguments)
        .env("META_TOKEN", meta)
        .env("GA4_SECRET", "sandbox-api_secret")
        .env("MS_REFRESH", "sandbox-refresh_token")
        .env("MS_DEVELOPER", "sandbox-developer_token")
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text} {said}"));
    (output.status.code(), said, json)
}

fn result<'j>(json: &'j Value, name: &str) -> &'j Value {
    let all = json["online"].as_array().unwrap_or_else(|| panic!("{json:#}"));
    all.iter().find(|one| one["destination"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_says_what_each_credential_is_worth() {
    let stop = CancellationToken::new();
    let (sandbox, base) = sandbox(&stop).await;
    let folder = live(&base);
    let (code, said, json) = check(&folder, &[], "sandbox-access_token").await;
    assert_eq!(code, Some(0), "{said} {json:#}");
    assert_eq!(result(&json, "meta")["result"], "ok", "{json:#}");
    let ga4 = result(&json, "ga4");
    assert_eq!(ga4["result"], "unproven");
    assert!(ga4["message"].as_str().unwrap().contains("looks at events alone"), "{ga4}");
    let bing = result(&json, "bing");
    assert_eq!(bing["result"], "unproven");
    assert!(bing["message"].as_str().unwrap().contains("--data"), "{bing}");

    let (code, _, json) = check(&folder, &[], "a-wrong-secret").await;
    assert_eq!(code, Some(1), "{json:#}");
    let meta = result(&json, "meta");
    assert_eq!(meta["result"], "failed");
    let message = meta["message"].as_str().unwrap();
    assert!(message.contains("access_token of [meta]"), "{message}");
    assert!(!json.to_string().contains("a-wrong-secret"), "no secret is printed");

    // With a place for its successor the one that is good once is tried, again and again.
    let data = folder.data();
    let with_data = ["--data", data.to_str().unwrap()];
    for _ in 0..2 {
        let (code, said, json) = check(&folder, &with_data, "sandbox-access_token").await;
        assert_eq!(code, Some(0), "{said} {json:#}");
        assert_eq!(result(&json, "bing")["result"], "ok", "{json:#}");
    }
    // Without what was kept, the configured one is used up.
    fs::remove_dir_all(&data).unwrap();
    let (code, _, json) = check(&folder, &with_data, "sandbox-access_token").await;
    assert_eq!(code, Some(1));
    assert_eq!(result(&json, "bing")["code"], "invalid_grant", "{json:#}");

    stop.cancel();
    let (code, _, json) = check(&folder, &[], "sandbox-access_token").await;
    assert_eq!(code, Some(1), "nobody is there");
    assert!(result(&json, "meta")["message"].as_str().unwrap().contains("could not be asked"));
    assert_eq!(sandbox.summary()["meta"]["accepted"].as_u64().unwrap_or_default(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_configuration_is_tried_against_a_sandbox_of_its_own() {
    let folder = Folder::shipped();
    let output = binary()
        .args(["check", "--online", "--config"])
        .arg(folder.config())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("meta: ok: the credentials are taken by the sandbox"), "{said}");
    let wrong = binary().args(["check", "--data", "x"]).output().await.unwrap();
    assert_eq!(wrong.status.code(), Some(2), "--data is of --online");
}
