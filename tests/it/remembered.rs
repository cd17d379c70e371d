//! What people decide, through the real binary: choices remembered for orders that say nothing,
//! withdrawals that reach what waits, erasure that leaves nothing, and kills between.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    harness::{Folder, KEY, OwnSandbox, Relay, assert_balanced},
    strings::Tc,
};

/// Two sites of one controller and one of another; one destination each, and a second at the first.
pub(crate) fn folder() -> Folder {
    let folder = Folder::shipped();
    folder.write(
        "relay.toml",
        r#"
mode = "sandbox"
[listen]
public = "127.0.0.1:0"
admin = "127.0.0.1:0"
sandbox = "127.0.0.1:0"
[sites.shop]
controller = "Shop Inc."
country = "US"
currency = "USD"
[sites.outlet]
controller = "Shop Inc."
country = "US"
currency = "USD"
[sites.other]
country = "US"
currency = "USD"
[[write_keys]]
name = "backend"
key = { env = "RELAY_WRITE_KEY" }
sites = ["shop", "outlet", "other"]
may = ["events", "consent", "explain"]
[[write_keys]]
name = "events_only"
key = { env = "RELAY_EVENTS_KEY" }
site = "shop"
may = ["events"]
[[admin_tokens]]
name = "op"
token = { env = "RELAY_ADMIN_TOKEN" }
roles = ["viewer", "media", "privacy", "operator"]
[[admin_tokens]]
name = "looker"
token = { env = "RELAY_LOOK_TOKEN" }
roles = ["viewer", "operator"]
"#,
    );
    folder.write(
        "events.toml",
        r#"
[events.purchase]
kind = "macro"
[events.purchase.destinations]
meta = "Purchase"
crm = "purchase"
[events.sign_up]
kind = "micro"
count = { at_most = 1, by = "user" }
[events.sign_up.destinations]
meta = "CompleteRegistration"
"#,
    );
    folder.write(
        "consent.toml",
        r#"
version = "1"
region_from = ["event"]
[regions.us]
match = ["US"]
model = "opt_out"
[regions.other]
match = ["*"]
model = "opt_in"
[memory]
max_age = "180d"
[destinations.meta]
needs = ["ad_storage", "ad_user_data"]
may_send = ["user", "context", "click_ids", "properties"]
[destinations.crm]
needs = ["ad_storage"]
may_send = ["user", "properties"]
"#,
    );
    folder.write(
        "destinations.toml",
        r#"
[meta_shop]
platform = "meta"
sites = ["shop", "outlet"]
dataset_id = "1111111111"
access_token = { env = "META_SHOP_TOKEN" }
batch = { max_events = 100, linger = "0s" }
retry = { first = "200ms", max = "400ms", attempts = 1000 }
[meta_other]
platform = "meta"
sites = ["other"]
dataset_id = "2222222222"
access_token = { env = "META_OTHER_TOKEN" }
batch = { max_events = 100, linger = "0s" }
[crm]
platform = "webhook"
sites = ["shop", "outlet"]
url = "https://crm.example.com/hook"
secret = { env = "CRM_SECRET" }
batch = { linger = "0s" }
retry = { first = "200ms", max = "400ms", attempts = 1000 }
"#,
    );
    folder
}

/// The same, live against a sandbox that outlives the relay.
pub(crate) fn live(sandbox: &OwnSandbox) -> Folder {
    let mut folder = folder();
    sandbox.point(&mut folder);
    folder.env.push(("RELAY_EVENTS_KEY".to_owned(), "events-key".to_owned()));
    folder.env.push(("RELAY_LOOK_TOKEN".to_owned(), "look-token".to_owned()));
    folder
}

pub(crate) fn granted() -> Value {
    json!({"ad_storage": "granted", "ad_user_data": "granted", "ad_personalization": "granted"})
}

pub(crate) fn denied() -> Value {
    json!({"ad_storage": "denied", "ad_user_data": "denied", "ad_personalization": "denied"})
}

/// A visitor's own event, with signals.
#[allow(clippy::needless_pass_by_value, reason = "a body is written where it is used")]
pub(crate) fn visit(id: &str, user: Value, consent: Value) -> Value {
    let mut consent = consent;
    consent["region"] = json!("DE");
    json!({
        "event": "purchase", "event_id": id, "site": "shop", "user": user, "consent": consent,
        "context": {"user_agent": "Mozilla/5.0", "page_url": "https://shop.example/"},
        "properties": {"value": "10.00", "currency": "USD", "order_id": id},
    })
}

/// An order as a payment provider's webhook brings it: an e-mail and no signal.
pub(crate) fn order(id: &str, site: &str, email: &str, region: &str) -> Value {
    json!({
        "event": "purchase", "event_id": id, "site": site, "action_source": "system_generated",
        "user": {"email": email}, "consent": {"region": region},
        "properties": {"value": "10.00", "currency": "USD", "order_id": id},
    })
}

impl Relay {
    pub(crate) async fn choose(&self, body: &Value) -> (u16, Value) {
        self.choose_with(body, KEY).await
    }

    async fn choose_with(&self, body: &Value, key: &str) -> (u16, Value) {
        let request = self.http.post(format!("{}/v1/consent", self.public)).bearer_auth(key);
        let request = request.header("content-type", "application/json").body(body.to_string());
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }

    pub(crate) async fn privacy(&self, call: &str, user: &Value) -> Value {
        let body = json!({"site": "shop", "user": user});
        let path = format!("/admin/v1/privacy/{call}");
        let (status, answer) = self.admin("POST", &path, Some(body)).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    pub(crate) async fn accept(&self, event: &Value) {
        let (status, answer) = self.post(event).await;
        assert_eq!((status, &answer["accepted"]), (202, &json!(1)), "{answer}");
    }

    pub(crate) async fn pause(&self, name: &str, paused: bool) {
        let call = if paused { "pause" } else { "resume" };
        let path = format!("/admin/v1/destinations/{name}/{call}");
        assert_eq!(self.admin("POST", &path, None).await.0, 200);
    }

    /// Waits until something holds of the books.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..300 {
            let stats = self.stats().await;
            assert_balanced(&stats);
            if holds(&stats["destinations"]) {
                return stats["destinations"].clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{what} never came to hold: {:#}", self.stats().await);
    }
}

pub(crate) fn count(books: &Value, destination: &str, name: &str) -> u64 {
    books[destination][name].as_u64().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opt_out_on_monday_holds_tuesdays_order_until_a_grant_on_wednesday() {
    let folder = folder();
    let relay = Relay::start(&folder).await;
    let jane = json!({"anonymous_id": "a-77", "email": "Jane.Doe@example.com"});
    let email = "jane.doe@EXAMPLE.com";
    let opted_out = json!({"user": jane, "consent": {"opt_out": true}, "site": "shop"});
    let (status, answer) = relay.choose(&opted_out).await;
    assert_eq!((status, answer), (202, json!({"accepted": 1, "queued_changed": 0})));

    // Only what is durable counts.
    relay.kill().await;
    let relay = Relay::start(&folder).await;
    relay.accept(&order("tuesday", "shop", email, "US")).await;
    relay.accept(&order("tuesday-outlet", "outlet", email, "US")).await;
    relay.accept(&order("tuesday-other", "other", email, "US")).await;
    relay.accept(&order("tuesday-john", "shop", "john@example.com", "US")).await;
    let stats = relay.drained().await;
    assert_balanced(&stats);
    let books = &stats["destinations"];
    assert_eq!(books["meta_shop"]["held"]["opted_out"], 2, "{stats:#}");
    assert_eq!(books["crm"]["held"]["opted_out"], 2, "{stats:#}");
    assert_eq!(count(books, "meta_other", "delivered"), 1, "another controller: {stats:#}");
    assert_eq!(count(books, "meta_shop", "delivered"), 1, "another person: {stats:#}");

    let granting =
        json!({"user": {"anonymous_id": "a-77"}, "consent": granted(), "site": "outlet"});
    assert_eq!(relay.choose(&granting).await.0, 202);
    relay.accept(&order("thursday", "shop", email, "US")).await;
    let stats = relay.drained().await;
    assert_eq!(count(&stats["destinations"], "meta_shop", "delivered"), 2, "{stats:#}");
    let ids = relay.accepted_ids("meta").await;
    assert!(ids.contains(&"thursday".to_owned()) && !ids.contains(&"tuesday".to_owned()));
    // An order of before the grant stays held, whenever it arrives.
    let mut late = order("late", "shop", email, "US");
    late["timestamp"] = json!("2026-01-05T00:00:00Z");
    relay.accept(&late).await;
    assert_eq!(relay.drained().await["destinations"]["crm"]["held"]["opted_out"], 3);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_are_remembered_for_doors_without_signals_and_only_for_those() {
    let folder = folder();
    let relay = Relay::start(&folder).await;
    let ann = json!({"external_id": "u-1", "email": "ann@example.com", "phone": "+1 415 555 0133"});
    relay.accept(&visit("visit", ann, granted())).await;
    relay.accept(&order("known", "shop", "ann@example.com", "DE")).await;
    relay.accept(&order("unknown", "shop", "nobody@example.com", "DE")).await;
    let mut silent = visit("website", json!({"email": "ann@example.com"}), json!({}));
    relay.accept(&silent).await;
    // A phone is shared: what one member of a family granted is no grant of another's.
    silent = order("sister", "shop", "sister@example.com", "DE");
    silent["user"]["phone"] = json!("+14155550133");
    relay.accept(&silent).await;
    let stats = relay.drained().await;
    assert_balanced(&stats);
    let books = &stats["destinations"]["meta_shop"];
    assert_eq!(
        (&books["delivered"], &books["held"]["no_signal"]),
        (&json!(2), &json!(3)),
        "{stats:#}"
    );
    let ids = relay.accepted_ids("meta").await;
    assert_eq!(ids, ["known", "visit"]);

    // `explain` on the stopped relay's folder says the same, and why.
    relay.stop().await;
    let line = order("another", "shop", "ann@example.com", "DE");
    let mut explain = crate::harness::binary();
    explain
        .args(["explain".as_ref(), "--config".as_ref(), folder.config().as_os_str()])
        .args(["--data".as_ref(), folder.data().as_os_str()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut child = explain.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, line.to_string().as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["consent"]["sources"], json!(["memory"]), "{line:#}");
    assert_eq!(line["consent"]["grants"]["ad_user_data"], "granted");
    assert_eq!(line["destinations"]["meta_shop"]["decision"], "send");
}

/// What a TC string grants to one destination's vendor and not to another's is remembered so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tc_strings_grants_are_remembered_for_the_vendors_that_it_names() {
    let string = Tc { vendors: vec![755], ..Tc::default() }.text();
    let folder = folder();
    folder.edit("consent.toml", |text| {
        text.replace(
            "[destinations.crm]",
            "tcf_vendor_id = 804\n[destinations.crm]\ntcf_vendor_id = 755",
        )
    });
    let relay = Relay::start(&folder).await;
    let user = |n: &str| json!({"email": format!("{n}@example.com")});
    relay.accept(&visit("by-event", user("ann"), json!({"tcf": string}))).await;
    let choice = json!({"user": user("bob"), "consent": {"tcf": string}, "site": "shop"});
    assert_eq!(relay.choose(&choice).await.0, 202);
    relay.drained().await;
    relay.kill().await;
    let relay = Relay::start(&folder).await;
    relay.accept(&order("after-event", "shop", "ann@example.com", "DE")).await;
    relay.accept(&order("after-choice", "shop", "bob@example.com", "DE")).await;
    let stats = relay.drained().await;
    let books = &stats["destinations"];
    assert_eq!(books["crm"]["delivered"], 3, "{books:#}");
    assert_eq!(books["meta_shop"]["held"]["no_consent"], 3, "refused to that vendor: {books:#}");
    let held = relay.privacy("export", &user("ann")).await;
    let vendors = held["vendors"].as_array().unwrap();
    let of = |id: u32| &vendors.iter().find(|v| v["tcf_vendor_id"] == id).unwrap()["grants"];
    assert_eq!(of(755)["ad_user_data"], "granted", "{held:#}");
    assert_eq!(of(804)["ad_user_data"], "denied", "{held:#}");

    // What is refused to a vendor binds everywhere; grants are used where they may be.
    relay.accept(&visit("website", user("ann"), json!({}))).await;
    relay.accept(&order("in-the-us", "shop", "ann@example.com", "US")).await;
    let stats = relay.drained().await;
    let books = &stats["destinations"];
    assert_eq!(count(books, "crm", "delivered"), 4, "{books:#}");
    assert_eq!(books["crm"]["held"]["no_consent"], 1, "{books:#}");
    assert_eq!(books["meta_shop"]["held"]["no_consent"], 5, "{books:#}");

    // A queued order that rests on it is decided again by the vendor ids of after a restart.
    relay.pause("crm", true).await;
    relay.accept(&order("waiting", "shop", "bob@example.com", "DE")).await;
    relay.kill().await;
    folder.edit("consent.toml", |text| text.replace("tcf_vendor_id = 755", "tcf_vendor_id = 1000"));
    let relay = Relay::start(&folder).await;
    relay.pause("crm", false).await;
    let books = relay.until("it is withheld", |b| count(b, "crm", "withdrawn") == 1).await;
    assert_eq!(count(&books, "crm", "delivered"), 4, "{books:#}");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawal_reaches_pending_retrying_and_dead_items_across_a_kill() {
    let sandbox = OwnSandbox::start().await;
    let folder = live(&sandbox);
    let relay = Relay::start(&folder).await;
    let user = |n: &str| json!({"external_id": n, "email": format!("{n}@example.com")});

    // One that was sent, one dead, one waiting for a retry, one pending; and somebody else's.
    relay.accept(&visit("sent", user("jane"), granted())).await;
    relay.until("the first is delivered", |b| count(b, "meta_shop", "delivered") == 1).await;
    sandbox.faults(&json!({"platform": "meta", "error_rate": 1.0, "status": 400})).await;
    relay.accept(&visit("dead", user("jane"), granted())).await;
    relay.until("one dies", |b| count(b, "meta_shop", "dead") == 1).await;
    sandbox.faults(&json!({"platform": "meta", "error_rate": 1.0, "status": 503})).await;
    relay.accept(&visit("retrying", user("jane"), granted())).await;
    relay.until("one is retried", |b| count(b, "meta_shop", "retried") > 0).await;
    relay.pause("crm", true).await;
    relay.accept(&visit("johns", user("john"), granted())).await;
    relay.kill().await;
    let relay = Relay::start(&folder).await;
    relay.pause("crm", true).await;
    relay.accept(&visit("pending", user("jane"), granted())).await;

    let answer = relay.privacy("withdraw", &json!({"email": "JANE@example.com"})).await;
    assert_eq!(answer["recipients"], json!(["crm", "meta_shop"]), "{answer}");
    // Killed at once: what was answered is durable.
    relay.kill().await;
    let relay = Relay::start(&folder).await;
    let books = relay.stats().await["destinations"].clone();
    let withdrawn = count(&books, "meta_shop", "withdrawn") + count(&books, "crm", "withdrawn");
    assert_eq!(answer["count"], withdrawn, "{answer} {books:#}");
    assert_eq!(count(&books, "meta_shop", "withdrawn"), 3, "dead, retrying, pending: {books:#}");
    assert_eq!(count(&books, "meta_shop", "dead"), 0);

    sandbox.faults(&json!({"platform": "meta", "error_rate": 0.0})).await;
    assert_eq!(relay.admin("POST", "/admin/v1/dead/replay", Some(json!({}))).await.1["count"], 0);
    relay.pause("crm", false).await;
    let stats = relay.drained().await;
    assert_balanced(&stats);
    let ids = sandbox.accepted_ids("meta").await;
    assert_eq!(ids, ["johns", "sent"], "{stats:#}");

    // It lifts for later events only.
    relay.accept(&visit("again", user("jane"), granted())).await;
    relay.drained().await;
    assert_eq!(sandbox.accepted_ids("meta").await, ["again", "johns", "sent"]);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_leaves_nothing_and_nothing_brings_the_person_back() {
    let sandbox = OwnSandbox::start().await;
    let folder = live(&sandbox);
    let relay = Relay::start(&folder).await;
    let jane = json!({"external_id": "u-1", "email": "jane@example.com"});
    let sent = visit("sent", jane.clone(), granted());
    relay.accept(&sent).await;
    let mut sign_up = visit("sign-up", jane.clone(), granted());
    sign_up["event"] = json!("sign_up");
    relay.accept(&sign_up).await;
    relay.until("both are delivered", |b| count(b, "meta_shop", "delivered") == 2).await;
    relay.until("also to the other", |b| count(b, "crm", "delivered") == 1).await;
    sandbox.faults(&json!({"platform": "meta", "error_rate": 1.0, "status": 400})).await;
    relay.accept(&visit("dead", jane.clone(), granted())).await;
    relay.until("one dies", |b| count(b, "meta_shop", "dead") == 1).await;
    relay.until("it reaches the other", |b| count(b, "crm", "delivered") == 2).await;
    relay.pause("meta_shop", true).await;
    relay.pause("crm", true).await;
    relay.accept(&visit("pending", jane.clone(), granted())).await;
    let silent = order("held", "shop", "jane@example.com", "DE");
    let mut held = silent.clone();
    held["action_source"] = json!("website");
    relay.accept(&held).await;

    let exported = relay.privacy("export", &json!({"email": "jane@example.com"})).await;
    assert_eq!(exported["recipients"], json!(["crm", "meta_shop"]), "{exported:#}");
    assert_eq!(exported["dead"].as_array().unwrap().len(), 1);
    assert_eq!(exported["pending"].as_array().unwrap().len(), 2, "{exported:#}");
    assert_eq!(exported["counted"].as_array().unwrap().len(), 1);
    assert_eq!(exported["events"].as_array().unwrap().len(), 5);
    let ids: Vec<&str> = exported["sent"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["event_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["sent", "sign-up", "dead", "pending"]);
    assert!(exported["choices"]["ad_storage"]["granted_at"].is_string());
    assert!(!exported.to_string().contains("jane@"), "no clear identity: {exported:#}");

    let erased = relay.privacy("erase", &json!({"external_id": "u-1"})).await;
    assert_eq!(erased["recipients"], json!(["crm", "meta_shop"]), "{erased}");
    assert_eq!(erased["count"], 3, "{erased}");
    relay.kill().await;
    sandbox.faults(&json!({"platform": "meta", "error_rate": 0.0})).await;
    let relay = Relay::start(&folder).await;
    for paused in ["meta_shop", "crm"] {
        relay.pause(paused, false).await;
    }

    let exported = relay.privacy("export", &json!({"email": "jane@example.com"})).await;
    for empty in ["sent", "sent_earlier", "pending", "dead", "counted", "events", "recipients"] {
        assert_eq!(exported[empty], json!([]), "{empty}: {exported:#}");
    }
    assert_eq!(exported["choices"], json!({}));
    assert!(exported["erased_at"].is_string());
    assert_eq!(relay.admin("GET", "/admin/v1/events/dead", None).await.0, 404);
    assert_eq!(relay.admin("POST", "/admin/v1/dead/replay", Some(json!({}))).await.1["count"], 0);

    // The same event again, also one that consent had held, with a grant this time; and an old one
    // that was never seen.
    let mut again = held.clone();
    again["consent"] = granted();
    let mut old = visit("old", jane.clone(), granted());
    old["timestamp"] = json!("2026-01-05T00:00:00Z");
    let (_, answer) = relay.post(&json!([sent, again, old])).await;
    assert_eq!((&answer["duplicate"], &answer["accepted"]), (&json!(3), &json!(0)), "{answer}");
    let stats = relay.drained().await;
    assert_balanced(&stats);
    assert_eq!(sandbox.accepted_ids("meta").await, ["sent", "sign-up"]);
    assert_eq!(relay.privacy("export", &jane).await["events"], json!([]));

    // Somebody who comes back is a new person, whose sign-up counts.
    let mut back = visit("back", jane, granted());
    back["event"] = json!("sign_up");
    relay.accept(&back).await;
    relay.drained().await;
    assert_eq!(sandbox.accepted_ids("meta").await, ["back", "sent", "sign-up"]);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_say_what_is_wrong_with_them() {
    let relay = Relay::start(&folder()).await;
    let choice =
        |user: Value, consent: Value| json!({"user": user, "consent": consent, "site": "shop"});
    let jane = json!({"email": "jane@example.com"});
    for (body, status, code) in [
        (choice(json!({}), denied()), 422, "missing_field"),
        (choice(jane.clone(), json!({"region": "US"})), 422, "missing_field"),
        (choice(jane.clone(), json!({"ad_storage": "perhaps"})), 422, "invalid_field"),
        (choice(json!({"e_mail": "x"}), denied()), 422, "unknown_field"),
        (json!({"user": jane, "consent": denied(), "site": "nowhere"}), 422, "site_unknown"),
        (json!({"user": jane, "consent": denied()}), 422, "site_unknown"),
        (
            json!({"user": jane, "consent": denied(), "site": "shop", "event": "x"}),
            422,
            "unknown_field",
        ),
        (json!([]), 422, "invalid_field"),
    ] {
        let (answered, answer) = relay.choose(&body).await;
        assert_eq!((answered, answer["code"].as_str()), (status, Some(code)), "{body}: {answer}");
        assert!(!answer.to_string().contains("jane@"), "{answer}");
    }
    let body = choice(jane.clone(), denied());
    let (status, answer) = relay.choose_with(&body, "dev-key-events_only").await;
    assert_eq!(status, 403, "{answer}");
    assert_eq!(relay.choose_with(&body, "nobody").await.0, 401);
    for call in ["withdraw", "erase", "export"] {
        let path = format!("/admin/v1/privacy/{call}");
        let nobody = json!({"site": "shop", "user": {}});
        assert_eq!(relay.admin("POST", &path, Some(nobody)).await.0, 422);
        let nowhere = json!({"user": jane});
        assert_eq!(relay.admin("POST", &path, Some(nowhere)).await.0, 422);
        let url = format!("{}{path}", relay.admin);
        let body = json!({"site": "shop", "user": jane}).to_string();
        let request = relay.http.post(url).bearer_auth("dev-token-looker").body(body);
        assert_eq!(request.send().await.unwrap().status(), 403, "{call}");
    }
    let purposes = json!({"site": "shop", "user": jane, "purposes": ["ads"]});
    let (status, answer) = relay.admin("POST", "/admin/v1/privacy/withdraw", Some(purposes)).await;
    assert_eq!(status, 400);
    assert!(answer["detail"].as_str().unwrap().contains("ad_storage"), "{answer}");
    relay.stop().await;
}

/// What would be withdrawn before it is sent is not answered with `send` first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_from_before_a_withdrawal_is_held_at_once() {
    let folder = folder();
    let relay = Relay::start(&folder).await;
    let user = json!({"external_id": "jane", "email": "jane@example.com"});
    let collected = |at: &str| {
        let mut consent = granted();
        consent["collected_at"] = json!(at);
        consent
    };
    relay.accept(&visit("before", user.clone(), collected("2026-01-05T00:00:00Z"))).await;
    relay.drained().await;
    relay.privacy("withdraw", &user).await;
    let later =
        (conversion_relay::clock::system()() + jiff::SignedDuration::from_secs(1)).to_string();
    for (id, at, held) in [("old", "2026-01-05T00:00:00Z", 1), ("new", later.as_str(), 0)] {
        let (status, answer) = relay.post(&visit(id, user.clone(), collected(at))).await;
        assert_eq!((status, &answer["held"]), (202, &json!(held)), "{id}: {answer}");
    }
    let stats = relay.drained().await;
    assert_balanced(&stats);
    let meta = &stats["destinations"]["meta_shop"];
    assert_eq!(
        (&meta["withdrawn"], &meta["held"]["no_consent"]),
        (&json!(0), &json!(1)),
        "{stats:#}"
    );
    relay.stop().await;
    // The set of who refused lately begins anew: then the store is asked.
    let relay = Relay::start(&folder).await;
    let (_, answer) = relay.post(&visit("older", user, collected("2026-01-05T00:00:00Z"))).await;
    assert_eq!(answer["held"], 1, "{answer}");
    relay.stop().await;
}

/// A sender's clock may know no milliseconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_right_after_an_erasure_is_no_duplicate() {
    let folder = folder();
    let relay = Relay::start(&folder).await;
    let user = json!({"external_id": "jane"});
    relay.accept(&visit("first", user.clone(), granted())).await;
    relay.drained().await;
    relay.privacy("erase", &user).await;
    let erased = relay.privacy("export", &user).await["erased_at"].as_str().unwrap().to_owned();
    let erased: jiff::Timestamp = erased.parse().unwrap();
    let mut event = visit("same-second", user.clone(), granted());
    event["timestamp"] = json!(erased.as_second());
    relay.accept(&event).await;
    // What happened before, or came before, stays away.
    event["event_id"] = json!("before");
    event["timestamp"] = json!(erased.as_second() - 1);
    let (_, answer) = relay.post(&event).await;
    assert_eq!(answer["duplicate"], 1, "{answer}");
    let (_, answer) = relay.post(&visit("first", user, granted())).await;
    assert_eq!(answer["duplicate"], 1, "{answer}");
    relay.stop().await;
}
