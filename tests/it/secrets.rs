//! No secret is shown: not by `Debug` of the configuration, of its parts or of clients, not in a log
//! at its most talkative, not in an answer, not by a panic.

use std::time::Duration;

use conversion_relay::{
    config::{LoadOptions, Secrets, TokenHash, load},
    delivery::{
        client::{Client, Terms},
        sign::{Fresh, sign},
    },
    destinations::{Auth, Call, CallPurpose, REGISTRY},
};

use crate::harness::{Folder, Relay, purchase};

const CANARY: &str = "canary";

/// The shipped configuration, every secret of which has an unmistakable value.
fn marked(folder: &mut Folder) -> Vec<String> {
    folder.edit("relay.toml", |text| {
        text.replace(
            "# webhook = { env = \"EVIDENCE_WEBHOOK\" }",
            "webhook = { env = \"EVIDENCE_WEBHOOK\" }",
        ) + "\n[[alerts]]\nwebhook = { env = \"ALERT_URL\" }\n"
    });
    let mut all = Vec::new();
    folder.env = folder.secrets();
    for (name, value) in &mut folder.env {
        if name != "RELAY_QUEUE_KEY" && name != "RELAY_WRITE_KEY" && name != "RELAY_ADMIN_TOKEN" {
            *value = match value.starts_with("sandbox-webhook") {
                true => format!("https://hooks.example.com/{CANARY}-{name}"),
                false => format!("{CANARY}-{name}"),
            };
        }
        all.push(value.clone());
    }
    all
}

#[test]
fn debug_shows_none_however_deep() {
    let mut folder = Folder::shipped();
    let secrets = marked(&mut folder);
    folder.edit("relay.toml", |text| text.replace("mode = \"sandbox\"", "mode = \"live\""));
    let env = folder.env.clone();
    let options = LoadOptions {
        secrets: Secrets::Resolve,
        sandbox_base: None,
        env: &|name| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()),
        registry: REGISTRY,
    };
    let loaded = load(&folder.config(), &options);
    let findings = format!("{:?}", loaded.findings);
    let config = loaded.config.unwrap_or_else(|| panic!("{findings}"));
    assert!(secrets.len() >= 8, "{secrets:?}");
    let terms = Terms { timeout: Duration::from_secs(1), guarded: true };
    let call = Call {
        purpose: CallPurpose::Send,
        method: "POST",
        url: "https://platform.example.com/".to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        members: Vec::new(),
    };
    let fresh = Fresh::of(jiff::Timestamp::UNIX_EPOCH, [0; 16]);
    let auth = Auth::Bearer(format!("{CANARY}-bearer").into());
    let mut shown = vec![
        format!("{config:?}"),
        format!("{config:#?}"),
        config.describe().to_string(),
        findings,
        format!("{auth:?} {:?}", sign(&call, &auth, None, &fresh)),
        format!("{:?}", Client::new(terms)),
        format!("{:?}", TokenHash::from(format!("{CANARY}-token"))),
    ];
    shown.extend(config.destinations.values().map(|one| format!("{:#?}", one.handler)));
    for text in shown {
        assert!(!text.contains(CANARY), "{text}");
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_logs_nor_answers_show_one() {
    let mut folder = Folder::shipped();
    let secrets = marked(&mut folder);
    let relay = Relay::try_start(&folder, &[("RELAY_LOG", "trace")]).await.unwrap();
    assert_eq!(relay.post(&purchase("quiet")).await.0, 202);
    // The sandbox knows none of these secrets: what it answers to them is looked at too.
    let mut refused = false;
    for _ in 0..200 {
        refused = relay.stats().await["destinations"]["meta"]["state"] == "failing";
        if refused {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(refused, "a wrong token stops its destination");
    let mut shown = String::new();
    for path in ["/metrics", "/admin/v1/stats", "/admin/v1/dead", "/admin/v1/audit", "/"] {
        shown += &relay.admin("GET", path, None).await.1.to_string();
    }
    shown += &relay.admin("POST", "/admin/v1/config/reload", None).await.1.to_string();
    shown += &relay.stop().await;
    for secret in secrets.iter().filter(|secret| secret.len() > 9) {
        assert!(!shown.contains(secret.as_str()), "a secret of {secrets:?} is shown");
    }
}
