//! Four eyes: in live mode nothing leaves that nobody approved, whoever changed which file; through
//! the real binary, with the platforms in a process of their own.

use std::process::Output;

use serde_json::{Value, json};

use crate::harness::{Folder, OwnSandbox, Relay, assert_balanced, binary, purchase};

/// Runs a command over a folder's configuration.
async fn run(folder: &Folder, arguments: &[&str]) -> Output {
    let mut command = binary();
    command.args(arguments).arg("--config").arg(folder.config());
    command.output().await.unwrap()
}

async fn succeeds(folder: &Folder, arguments: &[&str]) -> String {
    let output = run(folder, arguments).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

async fn approve(folder: &Folder) {
    succeeds(folder, &["audit", "--lock"]).await;
    succeeds(folder, &["approve", "--as", "Ada Example"]).await;
}

async fn reload(relay: &Relay) -> Value {
    let (status, answer) = relay.admin("POST", "/admin/v1/config/reload", None).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// How many of a destination's decisions are held for want of approval.
async fn not_approved(relay: &Relay, destination: &str) -> Value {
    relay.stats().await["destinations"][destination]["held"]["not_approved"].clone()
}

fn scroll(id: &str) -> Value {
    let mut event = purchase(id);
    event["event"] = json!("scroll");
    event["properties"] = json!({"scroll_depth": 90, "value": 1, "currency": "USD"});
    event
}

/// One line that gives a destination a new event.
fn new_event(folder: &Folder) {
    folder.edit("events.toml", |text| {
        text.replace(
            "[events.scroll.destinations]\n",
            "[events.scroll.destinations]\nmeta = \"Scroll\"\n",
        )
    });
}

/// One line that gives a destination a new field.
fn new_field(folder: &Folder) {
    folder.edit("consent.toml", |text| {
        text.replacen(
            "may_send = [\"user.email\",",
            "may_send = [\"user.city\", \"user.email\",",
            1,
        )
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_event_and_a_new_field_leave_nothing_more_until_approved() {
    let sandbox = OwnSandbox::start().await;
    let mut folder = Folder::shipped();
    sandbox.point(&mut folder);
    approve(&folder).await;
    let relay = Relay::start(&folder).await;
    relay.post(&purchase("approved")).await;
    let stats = relay.drained().await;
    assert_balanced(&stats);
    assert_eq!(sandbox.accepted_ids("meta").await, ["approved"], "{stats:#}");
    let cities = |received: &[Value]| {
        let of = |line: &Value| line["body"].to_string().matches("\"ct\"").count();
        received.iter().map(of).sum::<usize>()
    };
    assert_eq!(cities(&sandbox.received("meta").await), 0);

    new_event(&folder);
    new_field(&folder);
    let check = run(&folder, &["check"]).await;
    let told = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(check.status.success(), "{told}");
    assert!(told.contains("not approved") && told.contains("scroll"), "{told}");
    assert!(told.contains("user.city"), "{told}");

    // The old approval stands for what it approved, and for nothing more.
    reload(&relay).await;
    relay.post(&scroll("beyond-1")).await;
    relay.post(&purchase("without-city")).await;
    let stats = relay.drained().await;
    assert_eq!(stats["destinations"]["meta"]["held"]["not_approved"], 1, "{stats:#}");
    assert_eq!(sandbox.accepted_ids("meta").await, ["approved", "without-city"]);
    assert_eq!(cities(&sandbox.received("meta").await), 0);
    assert_eq!(stats["destinations"]["ga4"]["delivered"], 3, "approved there: {stats:#}");

    // A new lock, unsigned, approves nothing at all.
    let summary = succeeds(&folder, &["audit", "--lock"]).await;
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert!(!summary["newly_released"].as_array().unwrap().is_empty(), "{summary:#}");
    reload(&relay).await;
    relay.post(&purchase("unsigned")).await;
    relay.drained().await;
    assert_eq!(sandbox.accepted_ids("meta").await, ["approved", "without-city"]);
    assert_eq!(not_approved(&relay, "ga4").await, 1);

    // Signed, it all leaves; what was held for want of approval is served by a later copy.
    succeeds(&folder, &["approve", "--as", "Ada Example"]).await;
    let before = reload(&relay).await;
    assert_eq!(reload(&relay).await["config"], before["config"]);
    relay.post(&scroll("beyond-1")).await;
    relay.post(&purchase("with-city")).await;
    let stats = relay.drained().await;
    assert_balanced(&stats);
    let ids = sandbox.accepted_ids("meta").await;
    assert_eq!(ids, ["approved", "beyond-1", "with-city", "without-city"]);
    assert_eq!(cities(&sandbox.received("meta").await), 2, "the new event has it too");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_was_tampered_with_reaches_what_waits() {
    let sandbox = OwnSandbox::start().await;
    let mut folder = Folder::shipped();
    sandbox.point(&mut folder);
    folder.edit("consent.toml", |text| {
        text.replace("#require_approval = false", "require_approval = true")
    });

    // Required, and there is none.
    let relay = Relay::start(&folder).await;
    relay.post(&purchase("none")).await;
    assert_eq!(not_approved(&relay, "meta").await, 1);
    relay.stop().await;

    approve(&folder).await;
    sandbox.faults(&json!({"platform": "meta", "error_rate": 1.0, "status": 503})).await;
    let relay = Relay::start(&folder).await;
    relay.post(&purchase("waits")).await;
    let answer = reload(&relay).await;
    assert_eq!(answer["will_withhold"], 0, "{answer}");

    // Somebody adds a field to what was signed.
    folder.edit("consent.lock", |text| {
        text.replace("\"user.email\"", "\"user.email\",\"user.street\"")
    });
    let answer = reload(&relay).await;
    assert!(answer["will_withhold"].as_u64().unwrap() >= 1, "{answer}");
    sandbox.faults(&json!({"platform": "meta", "error_rate": 0.0})).await;
    let stats = relay.drained().await;
    assert_balanced(&stats);
    assert_eq!(stats["destinations"]["meta"]["withdrawn"], 1, "{stats:#}");
    assert!(sandbox.accepted_ids("meta").await.is_empty());
    let told = String::from_utf8(run(&folder, &["check"]).await.stderr).unwrap();
    assert!(told.contains("was changed after it was signed"), "{told}");

    // Taking the lock away does not take approval away.
    std::fs::remove_file(folder.config().join("consent.lock")).unwrap();
    folder.edit("consent.toml", |text| text.replace("require_approval = true", ""));
    reload(&relay).await;
    relay.post(&purchase("lockless")).await;
    relay.drained().await;
    assert!(sandbox.accepted_ids("meta").await.is_empty());
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_files_cannot_go_beyond_the_lock_either() {
    let mut folder = Folder::shipped();
    folder.edit("relay.toml", |text| text.replace("mode = \"sandbox\"", "mode = \"live\""));
    folder.edit("destinations.toml", |text| {
        text.replacen("sites = [\"shop_us\", \"shop_eu\"]", "sites = [\"shop_us\"]", 1)
    });
    folder.env = folder.secrets();
    approve(&folder).await;
    let mut german = purchase("german");
    german["site"] = json!("shop_eu");
    german["consent"]["region"] = json!("DE");
    let decisions = |lines: String| -> Value {
        let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        line["destinations"].clone()
    };
    let explain = async |folder: &Folder, event: &Value| {
        let file = folder.dir.path().join("event.json");
        std::fs::write(&file, event.to_string()).unwrap();
        decisions(succeeds(folder, &["explain", file.to_str().unwrap()]).await)
    };
    let is_held = |decision: &Value| {
        decision["decision"] == "held" && decision["reasons"][0]["code"] == "not_approved"
    };
    let before = explain(&folder, &purchase("us")).await;
    assert_eq!(before["crm"]["decision"], "send", "{before:#}");

    // A site more for a destination; the address of another; a country under a looser law.
    folder.edit("destinations.toml", |text| {
        text.replacen("sites = [\"shop_us\"]", "sites = [\"shop_us\", \"shop_eu\"]", 1)
            .replace("https://crm.example.com", "https://elsewhere.example.com")
    });
    folder.edit("consent.toml", |text| {
        text.replace("match = [\"US\"]", "match = [\"US\", \"DE\"]")
            .replace("when_opted_out = \"limited\"", "")
    });
    let after = explain(&folder, &purchase("us")).await;
    assert!(is_held(&after["crm"]), "{:#}", after["crm"]);
    assert_eq!(after["meta"]["decision"], "send", "{:#}", after["meta"]);
    let after = explain(&folder, &german).await;
    assert!(is_held(&after["meta"]), "{:#}", after["meta"]);
    let consent = std::fs::read_to_string(folder.config().join("consent.toml")).unwrap();
    folder.write("consent.toml", &consent.replace("C0002 = [", "C0002 = [\"ad_storage\", "));
    let after = explain(&folder, &purchase("us")).await;
    assert!(is_held(&after["ga4"]), "every combination rests on the mapping: {:#}", after["ga4"]);
    folder.write("consent.toml", &consent);
    german["consent"] = json!({"region": "DE"});
    let after = explain(&folder, &german).await;
    assert!(is_held(&after["ga4"]), "silence in Germany was not approved: {:#}", after["ga4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ssh_signature_counts_where_signers_are_named() {
    let mut folder = Folder::shipped();
    folder.edit("relay.toml", |text| text.replace("mode = \"sandbox\"", "mode = \"live\""));
    folder.env = folder.secrets();
    let key = |name: &str| folder.dir.path().join(name);
    for name in ["ada", "eve"] {
        let made = tokio::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(key(name))
            .status()
            .await;
        match made {
            Ok(status) => assert!(status.success()),
            Err(_) if std::env::var_os("CI").is_none_or(|ci| ci != "true") => {
                println!("skipped: ssh-keygen is not installed");
                return;
            }
            Err(error) => panic!("ssh-keygen: {error}"),
        }
    }
    let public = std::fs::read_to_string(key("ada.pub")).unwrap();
    folder.write("signers", &format!("ada {public}"));
    folder.edit("consent.toml", |text| {
        text.replacen("version =", "allowed_signers = \"signers\"\nversion =", 1)
    });
    succeeds(&folder, &["audit", "--lock"]).await;

    let unsigned = run(&folder, &["approve", "--as", "ada"]).await;
    assert!(!unsigned.status.success(), "a name alone is not enough");
    let told = async || String::from_utf8(run(&folder, &["check"]).await.stderr).unwrap();
    let eve = key("eve").display().to_string();
    succeeds(&folder, &["approve", "--as", "ada", "--ssh-key", &eve]).await;
    let wrong = told().await;
    assert!(wrong.contains("the approval of ada does not hold"), "{wrong}");
    let ada = key("ada").display().to_string();
    succeeds(&folder, &["approve", "--as", "ada", "--ssh-key", &ada]).await;
    let right = told().await;
    assert!(!right.contains("not_approved"), "{right}");
    // The signature is of what was said: nobody else becomes Ada, and no other day.
    folder.edit("consent.approvals", |text| {
        text.replace("\"combinations\":\"", "\"combinations\":\"1")
    });
    let forged = told().await;
    assert!(forged.contains("does not hold"), "{forged}");
}

/// Whose account it is, who that is, and what feeds an event: each a line of another file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_account_recipient_or_incoming_name_waits_for_approval() {
    let mut folder = Folder::shipped();
    folder.edit("relay.toml", |text| text.replace("mode = \"sandbox\"", "mode = \"live\""));
    folder.env = folder.secrets();
    approve(&folder).await;
    let explain = async |event: &Value| -> Value {
        let file = folder.dir.path().join("event.json");
        std::fs::write(&file, event.to_string()).unwrap();
        let lines = succeeds(&folder, &["explain", file.to_str().unwrap()]).await;
        serde_json::from_str(lines.lines().next().unwrap()).unwrap()
    };
    let mut alias = purchase("alias");
    alias["event"] = json!("Deal Won");
    assert_eq!(explain(&purchase("before")).await["destinations"]["meta"]["decision"], "send");
    let files = ["destinations.toml", "consent.toml", "events.toml"];
    let before = files.map(|file| std::fs::read_to_string(folder.config().join(file)).unwrap());
    for (file, from, to, event, told) in [
        (
            "destinations.toml",
            "dataset_id = \"1234567890\"",
            "dataset_id = \"9999999999\"",
            &purchase("a"),
            "dataset_id",
        ),
        (
            "consent.toml",
            "recipient = \"Meta Platforms Ireland Ltd\"",
            "recipient = \"Somebody Else Ltd\"",
            &purchase("b"),
            "recipient",
        ),
        (
            "consent.toml",
            "role = \"joint controller\"",
            "role = \"controller\"",
            &purchase("c"),
            "role",
        ),
        (
            "events.toml",
            "[events.purchase]\n",
            "[events.purchase]\nfrom = [\"purchase\", \"Order Completed\", \"Deal Won\"]\n",
            &alias,
            "Deal Won",
        ),
    ] {
        folder.edit(file, |text| {
            assert!(text.contains(from), "{file}: {from}");
            let text = if file == "events.toml" { without_from(&text) } else { text };
            text.replacen(from, to, 1)
        });
        let line = explain(event).await;
        let decision = &line["destinations"]["meta"];
        assert_eq!(decision["reasons"][0]["code"], "not_approved", "{told}: {line:#}");
        let message = decision["reasons"][0]["message"].as_str().unwrap();
        assert!(message.contains(told), "{message}");
        let check = String::from_utf8(run(&folder, &["check"]).await.stderr).unwrap();
        assert!(check.contains("not approved") && check.contains(told), "{told}: {check}");
        if told == "Deal Won" {
            let known = explain(&purchase("known")).await;
            assert_eq!(known["destinations"]["meta"]["decision"], "send", "{known:#}");
        }
        // One line of news in the lock's difference, and nothing else.
        let lock = std::fs::read_to_string(folder.config().join("consent.lock")).unwrap();
        let output = run(&folder, &["audit", "--lock"]).await;
        let news = String::from_utf8(output.stderr).unwrap();
        let new: Vec<&str> = news.lines().filter(|line| line.starts_with("new: ")).collect();
        assert!(new.len() == 1 && new[0].contains(told), "{news}");
        folder.write("consent.lock", &lock);
        for (file, text) in files.iter().zip(&before) {
            folder.write(file, text);
        }
    }
    assert_eq!(explain(&purchase("after")).await["destinations"]["meta"]["decision"], "send");
}

/// The plan without the names that the purchase already has.
fn without_from(text: &str) -> String {
    let (head, tail) = text.split_once("[events.purchase]\n").unwrap();
    let mut is_over = false;
    let kept: Vec<&str> = tail
        .lines()
        .filter(|line| {
            is_over |= line.starts_with('[');
            is_over || !line.starts_with("from = ")
        })
        .collect();
    format!("{head}[events.purchase]\n{}\n", kept.join("\n"))
}

#[tokio::test]
async fn a_first_lock_says_how_much_it_holds_and_no_more() {
    let folder = Folder::shipped();
    let output = run(&folder, &["audit", "--lock"]).await;
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("no lock before: ") && told.contains(" combinations"), "{told}");
    assert!(told.lines().count() <= 4, "{told}");
}

/// LinkedIn's account is told by the rule of each event: another rule is another recipient, of that
/// event alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_conversion_rule_waits_for_approval() {
    let mut folder = Folder::shipped();
    folder.edit("relay.toml", |text| text.replace("mode = \"sandbox\"", "mode = \"live\""));
    folder.edit("destinations.toml", |text| {
        text + "\n[linkedin]\nplatform = \"linkedin\"\nsites = [\"shop_eu\", \"shop_us\"]\n\
                access_token = { env = \"LINKEDIN_TOKEN\" }\n"
    });
    folder.edit("consent.toml", |text| {
        text + "\n[destinations.linkedin]\nmay_send = [\"user.email\", \"properties\"]\n"
    });
    let rule = |event: &str, rule: &str| {
        let head = format!("[events.{event}.destinations]\n");
        let line = format!("{head}linkedin = {{ conversion_rule = \"{rule}\" }}\n");
        folder.edit("events.toml", |text| text.replace(&head, &line));
    };
    rule("purchase", "104012");
    rule("generate_lead", "104013");
    folder.env = folder.secrets();
    approve(&folder).await;
    let told = async |name: &str| {
        let mut event = purchase(name);
        event["event"] = json!(name);
        let file = folder.dir.path().join("event.json");
        std::fs::write(&file, event.to_string()).unwrap();
        let lines = succeeds(&folder, &["explain", file.to_str().unwrap()]).await;
        let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        line["destinations"]["linkedin"].clone()
    };
    assert_eq!(told("purchase").await["decision"], "send");
    folder.edit("events.toml", |text| text.replace("104012", "999999"));
    let held = told("purchase").await;
    assert_eq!(held["reasons"][0]["code"], "not_approved", "{held:#}");
    let message = held["reasons"][0]["message"].as_str().unwrap();
    assert!(message.contains("events.purchase.conversion_rule"), "{message}");
    assert_eq!(told("generate_lead").await["decision"], "send", "another event's is its own");
    let output = run(&folder, &["audit", "--lock"]).await;
    let news = String::from_utf8(output.stderr).unwrap();
    let new: Vec<&str> = news.lines().filter(|line| line.starts_with("new: ")).collect();
    assert!(new.len() == 1 && new[0].contains("999999"), "{news}");
    assert!(!new[0].contains("generate_lead"), "{news}");
}
