//! Bad input at every door, through the real binary: one table of bodies, one of documents with
//! something wrong in them, and every door there is. Whatever comes, the answer is a refusal that says
//! what and where in JSON, never a 5xx, and nothing of it is kept.

use std::{io::Write as _, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::harness::{Folder, KEY, Relay, binary};

/// Secret of every webhook in sandbox mode.
const SECRET: &str = "sandbox-secret";
/// `limits.request_bytes`, and `limits.nesting`.
const REQUEST_BYTES: usize = 4 << 20;

type Headers = Vec<(String, String)>;

struct Door {
    name: &'static str,
    path: &'static str,
    /// What a sender of this door would send.
    good: String,
    headers: fn(&[u8]) -> Headers,
    /// The same with a key, or a secret, that is not one.
    wrong: fn(&[u8]) -> (String, Headers),
    /// Replaced in `good`: a text, and what is wrong in its place.
    bad: &'static [(&'static str, &'static str)],
}

fn header(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mac(secret: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn json_type() -> (String, String) {
    header("content-type", "application/json")
}

fn bearer(_: &[u8]) -> Headers {
    vec![json_type(), header("authorization", format!("Bearer {KEY}"))]
}

fn basic(_: &[u8]) -> Headers {
    vec![
        json_type(),
        header("authorization", format!("Basic {}", BASE64.encode(format!("{KEY}:")))),
    ]
}

fn plain(_: &[u8]) -> Headers {
    vec![json_type()]
}

fn origin(_: &[u8]) -> Headers {
    vec![
        header("content-type", "text/plain"),
        header("origin", "https://shop.example"),
        header(
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36",
        ),
        header("authorization", "Bearer dev-key-tag"),
    ]
}

fn shopify_with(secret: &str, body: &[u8]) -> Headers {
    vec![
        header("x-shopify-topic", "orders/create"),
        header("x-shopify-hmac-sha256", BASE64.encode(mac(secret, &[body]))),
    ]
}

fn stripe_with(secret: &str, body: &[u8]) -> Headers {
    let at = conversion_relay::clock::system()().as_second().to_string();
    let signature = hex(&mac(secret, &[at.as_bytes(), b".", body]));
    vec![header("stripe-signature", format!("t={at},v1={signature}"))]
}

fn hmac_with(secret: &str, body: &[u8]) -> Headers {
    vec![header("x-signature", hex(&mac(secret, &[body])))]
}

fn now() -> String {
    conversion_relay::clock::system()().to_string()
}

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/doors");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn wrong_key(path: &str) -> (String, Headers) {
    (path.to_owned(), vec![json_type(), header("authorization", "Bearer no-such-key")])
}

const SEGMENT_BAD: &[(&str, &str)] = &[
    ("\"Order Completed\"", "{}"),
    ("\"Order Completed\"", "[1]"),
    ("\"Order Completed\"", "\"\""),
    ("25.5", "\"NaN\""),
    ("25.5", "{\"a\": 1}"),
    ("25.5", "1e400"),
    ("25.5", "99999999999999999999999999999999999999999"),
    ("\"USD\"", "\"dollars\""),
    ("\"USD\"", "7"),
    ("\"TIME\"", "\"9999-12-31T23:59:59Z\""),
    ("\"TIME\"", "\"yesterday\""),
    ("\"TIME\"", "{}"),
    ("\"TIME\"", "1e30"),
    ("[{\"sku\": \"p1\"}]", "7"),
    ("[{\"sku\": \"p1\"}]", "[7]"),
    ("\"u-1\"", "{\"id\": 1}"),
];

fn doors() -> Vec<Door> {
    let call = r#"{"type": "track", "event": "Order Completed", "messageId": "m", "userId": "u-1", "timestamp": "TIME",
        "properties": {"order_id": "o", "revenue": 25.5, "currency": "USD", "products": [{"sku": "p1"}]},
        "context": {"page": {"url": "https://shop.example/"}}}"#
        .to_owned();
    let event = r#"{"event": "purchase", "event_id": "e", "site": "shop_us", "timestamp": "TIME",
        "user": {"external_id": "u-1", "email": "jane@example.com"}, "consent": {"region": "US"},
        "properties": {"order_id": "o", "value": 25.5, "currency": "USD", "items": [{"id": "p1"}]}}"#;
    let native: &[(&str, &str)] = &[
        ("\"purchase\"", "{}"),
        ("\"purchase\"", "null"),
        ("\"purchase\"", "\"purchse\""),
        ("25.5", "\"NaN\""),
        ("25.5", "1e400"),
        ("25.5", "[25]"),
        ("\"USD\"", "\"dollars\""),
        ("\"TIME\"", "\"9999-12-31T23:59:59Z\""),
        ("\"TIME\"", "\"then\""),
        ("\"TIME\"", "-1e30"),
        ("\"u-1\"", "{}"),
        ("\"email\"", "\"emial\""),
        ("\"region\"", "\"regoin\""),
        ("\"site\"", "\"siet\""),
        ("\"shop_us\"", "\"nowhere\""),
        ("[{\"id\": \"p1\"}]", "\"p1\""),
    ];
    vec![
        Door { name: "events", path: "/v1/events", good: event.to_owned(), headers: bearer, wrong: |_| wrong_key("/v1/events"), bad: native },
        Door {
            name: "segment batch",
            path: "/v1/batch",
            good: format!("{{\"batch\": [{call}]}}"),
            headers: basic,
            wrong: |_| wrong_key("/v1/batch"),
            bad: SEGMENT_BAD,
        },
        Door { name: "segment track", path: "/v1/track", good: call, headers: basic, wrong: |_| wrong_key("/v1/track"), bad: SEGMENT_BAD },
        Door {
            name: "segment identify",
            path: "/v1/identify",
            good: r#"{"messageId": "i", "userId": "u-1", "timestamp": "TIME", "traits": {"email": "jane@example.com"},
                "context": {"page": {"url": "https://shop.example/"}}}"#
                .to_owned(),
            headers: basic,
            wrong: |_| wrong_key("/v1/identify"),
            bad: &[("\"TIME\"", "\"9999-12-31T23:59:59Z\""), ("\"u-1\"", "[[]]"), ("\"TIME\"", "{}"), ("\"jane@example.com\"", "{\"a\": []}")],
        },
        Door {
            name: "measurement protocol",
            path: "/mp/collect?measurement_id=G-1&api_secret=dev-key",
            good: r#"{"client_id": "1.2", "timestamp_micros": MICROS, "events": [{"name": "purchase", "params":
                {"transaction_id": "T", "value": 25.5, "currency": "USD", "page_location": "https://shop.example/"}}]}"#
                .to_owned(),
            headers: plain,
            wrong: |_| ("/mp/collect?measurement_id=G-1&api_secret=no".to_owned(), vec![json_type()]),
            bad: &[
                ("MICROS", "32503680000000000"),
                ("MICROS", "\"soon\""),
                ("MICROS", "1e300"),
                ("25.5", "{}"),
                ("25.5", "\"NaN\""),
                ("\"USD\"", "[]"),
                ("\"purchase\"", "7"),
                ("\"purchase\"", "\"nobody_planned_this\""),
                ("\"1.2\"", "{}"),
            ],
        },
        Door {
            name: "shopify",
            path: "/v1/webhooks/shopify",
            good: fixture("shopify.json"),
            headers: |body| shopify_with(SECRET, body),
            wrong: |body| ("/v1/webhooks/shopify".to_owned(), shopify_with("guessed", body)),
            bad: &[("\"199.65\"", "{}"), ("\"199.65\"", "\"NaN\""), ("\"USD\"", "\"dollars\""), ("820982911946154508", "[]")],
        },
        Door {
            name: "stripe",
            path: "/v1/webhooks/stripe",
            good: fixture("stripe.json"),
            headers: |body| stripe_with(SECRET, body),
            wrong: |body| ("/v1/webhooks/stripe".to_owned(), stripe_with("guessed", body)),
            bad: &[("12990", "\"NaN\""), ("12990", "1e40"), ("\"usd\"", "\"dollars\""), ("1795320000", "32503680000"), ("1795320000", "{}")],
        },
        Door {
            name: "hmac",
            path: "/v1/webhooks/erp",
            good: r#"{"id": "d-1", "customer": {"email": "jane@example.com"}, "total": 25.5, "currency": "USD", "at": "TIME"}"#
                .to_owned(),
            headers: |body| hmac_with(SECRET, body),
            wrong: |body| ("/v1/webhooks/erp".to_owned(), hmac_with("guessed", body)),
            bad: &[
                ("25.5", "\"NaN\""),
                ("25.5", "{}"),
                ("\"TIME\"", "\"9999-12-31T23:59:59Z\""),
                ("\"USD\"", "\"dollars\""),
                ("\"jane@example.com\"", "{}"),
                ("\"d-1\"", "{}"),
                ("\"d-1\"", "\"\""),
            ],
        },
        Door {
            name: "beacon",
            path: "/v1/beacon",
            good: r#"{"events": [{"event": "view_item", "event_id": "b", "timestamp": "TIME",
                "consent": {"ad_storage": "granted"}, "context": {"page_url": "https://shop.example/"},
                "properties": {"value": 25.5, "currency": "USD"}}]}"#
                .to_owned(),
            headers: origin,
            wrong: |_| {
                let mut headers = origin(b"");
                headers.retain(|(name, _)| name != "authorization");
                headers.push(header("authorization", "Bearer no-such-key"));
                ("/v1/beacon".to_owned(), headers)
            },
            bad: &[
                ("\"view_item\"", "\"purchase\""),
                ("\"view_item\"", "{}"),
                ("25.5", "\"NaN\""),
                ("25.5", "1e400"),
                ("25.5", "2000.01"),
                ("\"TIME\"", "\"9999-12-31T23:59:59Z\""),
                ("\"consent\"", "\"cosnent\""),
                ("\"ad_storage\"", "\"ad_storge\""),
            ],
        },
        Door {
            name: "consent",
            path: "/v1/consent",
            good: r#"{"site": "shop_us", "user": {"email": "jane@example.com"}, "consent": {"ad_storage": "denied"}}"#
                .to_owned(),
            headers: bearer,
            wrong: |_| wrong_key("/v1/consent"),
            bad: &[
                ("\"denied\"", "\"maybe\""),
                ("\"denied\"", "{}"),
                ("\"shop_us\"", "\"nowhere\""),
                ("{\"email\": \"jane@example.com\"}", "{}"),
                ("{\"email\": \"jane@example.com\"}", "\"jane\""),
                ("\"email\"", "\"emial\""),
                ("\"ad_storage\"", "\"ad_storge\""),
                ("\"consent\"", "\"cosnent\""),
            ],
        },
    ]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// What it is, its bytes, how they are said to be packed, and the answers that are right.
type Body = (&'static str, Vec<u8>, Option<&'static str>, &'static [u16]);

/// Bodies that no door takes.
fn bodies() -> Vec<Body> {
    let deep = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    let deep_object =
        |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)).into_bytes();
    let malformed: &[u16] = &[400, 422];
    // Where a request is one event, they have no room.
    let large: &[u16] = &[400, 413, 422];
    vec![
        ("nothing", Vec::new(), None, malformed),
        ("cut", b"{\"event\": ".to_vec(), None, malformed),
        ("no value", b"{\"event\": }".to_vec(), None, malformed),
        ("a word", b"nul".to_vec(), None, malformed),
        ("NaN", b"{\"event\": \"purchase\", \"value\": NaN}".to_vec(), None, malformed),
        ("Infinity", b"{\"value\": -Infinity}".to_vec(), None, malformed),
        ("a comma too many", b"[1,]".to_vec(), None, malformed),
        ("two documents", b"{\"a\": 1} {\"b\": 2}".to_vec(), None, malformed),
        ("bad UTF-8", b"{\"event\": \"\xff\xfe\"}".to_vec(), None, malformed),
        ("half a surrogate", br#"{"event": "\ud800"}"#.to_vec(), None, malformed),
        ("a control character", b"{\"event\": \"\x01\"}".to_vec(), None, malformed),
        (
            "the same key twice",
            b"{\"event\": \"purchase\", \"event\": \"refund\"}".to_vec(),
            None,
            malformed,
        ),
        ("deep", deep(40), None, malformed),
        ("deeper than a stack", deep(1 << 20), None, large),
        ("deep objects", deep_object(200_000), None, large),
        ("a number", b"7".to_vec(), None, malformed),
        ("a text", b"\"purchase\"".to_vec(), None, malformed),
        ("a list of numbers", b"[1, 2]".to_vec(), None, malformed),
        ("too large", vec![b' '; REQUEST_BYTES + 1], None, &[413]),
        ("no gzip", b"{\"event\": \"purchase\"}".to_vec(), Some("gzip"), malformed),
        (
            "half of a gzip",
            gzip(b"{\"event\": \"purchase\"}")[..12].to_vec(),
            Some("gzip"),
            malformed,
        ),
        ("a bomb", gzip(&vec![b' '; 64 << 20]), Some("gzip"), &[413]),
        ("another packing", b"{}".to_vec(), Some("br"), &[415]),
    ]
}

async fn post(relay: &Relay, path: &str, headers: Headers, body: Vec<u8>) -> (u16, Value, String) {
    let mut request = relay.http.post(format!("{}{path}", relay.public));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = request.body(body).send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_default(), text)
}

/// A refusal says what is wrong: as a whole, or of each event.
fn says_why(answer: &Value) -> bool {
    let whole = answer["code"].is_string() && answer["detail"].is_string();
    let each = answer["rejected"].as_array().is_some_and(|all| {
        !all.is_empty()
            && all.iter().all(|one| one["code"].is_string() && one["message"].is_string())
    });
    whole || each
}

fn kept(stats: &Value) -> u64 {
    ["accepted", "duplicate", "suppressed", "criteria_not_met", "unplanned", "test"]
        .iter()
        .map(|name| stats[name].as_u64().unwrap())
        .sum()
}

fn folder() -> Folder {
    let folder = Folder::shipped();
    folder.edit("relay.toml", |text| {
        // Nobody is slowed down here.
        text.replace(
            "rate_limit = { requests_per_second = 200, burst = 400 }",
            "rate_limit_per_address = { requests_per_second = 5000, burst = 9000 }",
        ) + r#"
[webhooks.erp]
type = "hmac"
secret = { env = "ERP_SECRET" }
site = "shop_us"
id = "id"
[webhooks.erp.fields]
event = "'purchase'"
event_id = "id"
timestamp = "at"
"user.email" = "customer.email"
"properties.value" = "total"
"properties.currency" = "currency"
"#
    });
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_door_takes_what_is_no_document() {
    let folder = folder();
    let relay = Relay::start(&folder).await;
    let mut wrong = Vec::new();
    for door in doors() {
        for (what, body, packed, expected) in bodies() {
            let mut headers = (door.headers)(&body);
            if packed == Some("gzip") {
                // What is signed is what was meant; nobody can tell of a broken packing.
                headers.push(header("content-encoding", "gzip"));
            } else if let Some(packed) = packed {
                headers.push(header("content-encoding", packed));
            }
            let (status, answer, text) = post(&relay, door.path, headers, body).await;
            // Whoever cannot unpack, or does not get it whole, cannot check a signature.
            let is_expected = expected.contains(&status)
                || (door.path.contains("webhooks") && packed.is_some() && status == 401);
            if !is_expected || !says_why(&answer) {
                wrong.push(format!("{}, {what}: {status} {text}", door.name));
            }
        }
        let body = door.good.clone().into_bytes();
        let (path, headers) = (door.wrong)(&body);
        let (status, answer, text) = post(&relay, &path, headers, body).await;
        if status != 401 || !says_why(&answer) {
            wrong.push(format!("{}, a wrong key: {status} {text}", door.name));
        }
    }
    let (_, ready, _) = post(&relay, "/v1/events", bearer(b""), b"[]".to_vec()).await;
    assert!(ready.is_object(), "it still answers");
    let stats = relay.stats().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(kept(&stats), 0, "nothing is kept: {stats}");
    let log = relay.kill().await;
    assert!(!log.contains("panicked"), "{log}");
}

/// What is left out, with a warning where it is a value: what is empty, and a currency that is none.
const TAKEN: &[(&str, &str)] = &[
    ("events", "\"dollars\""),
    ("segment batch", "\"dollars\""),
    ("segment track", "\"dollars\""),
    ("segment identify", "[[]]"),
    ("measurement protocol", "[]"),
    ("shopify", "\"dollars\""),
    ("stripe", "\"dollars\""),
    ("hmac", "\"dollars\""),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_within_a_document_is_named_and_not_kept() {
    let folder = folder();
    let relay = Relay::start(&folder).await;
    let mut wrong = Vec::new();
    let filled = |text: &str| {
        let at = conversion_relay::clock::system()();
        text.replace("\"TIME\"", &format!("\"{at}\""))
            .replace("MICROS", &at.as_microsecond().to_string())
            .replace("1795320000", &at.as_second().to_string())
    };
    for door in doors() {
        for (from, to) in door.bad {
            assert!(door.good.contains(from), "{}: {from}", door.name);
            let before = kept(&relay.stats().await);
            let body = filled(&door.good.replacen(from, to, 1)).into_bytes();
            let (status, answer, text) = post(&relay, door.path, (door.headers)(&body), body).await;
            let after = kept(&relay.stats().await);
            let refused = (400..500).contains(&status) && says_why(&answer) && after == before;
            // What is no part of the event's meaning is left out, with a word about it.
            let taken = (200..300).contains(&status);
            if !refused && !taken {
                wrong.push(format!("{}, {from} as {to}: {status} {text}", door.name));
            }
            if taken && !TAKEN.contains(&(door.name, *to)) {
                wrong.push(format!("{}, {from} as {to} was taken: {text}", door.name));
            }
        }
        // As it should be it is taken.
        let good = door.good.replace("\"d-1\"", "\"d-good\"");
        let body = filled(&good).into_bytes();
        let (status, _, text) = post(&relay, door.path, (door.headers)(&body), body).await;
        if !(200..300).contains(&status) {
            wrong.push(format!("{}, as it should be: {status} {text}", door.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let log = relay.kill().await;
    assert!(!log.contains("panicked"), "{log}");
}

/// Each line, and each row, stands for itself: what is good among them is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_lines_and_rows_cost_themselves() {
    let folder = folder();
    let relay = Relay::start(&folder).await;
    let good = |id: &str| {
        json!({"event": "purchase", "event_id": id, "site": "shop_us", "timestamp": now(),
            "consent": {"region": "US"}, "properties": {"value": 1, "currency": "USD"}})
        .to_string()
    };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let mut lines: Vec<Vec<u8>> = [
        good("one"),
        "{".to_owned(),
        "7".to_owned(),
        "{\"event\": \"purchase\", \"event\": \"refund\"}".to_owned(),
        "{\"event\": \"purchase\", \"properties\": {\"value\": NaN}}".to_owned(),
        deep,
        good("two"),
    ]
    .map(String::into_bytes)
    .to_vec();
    lines.insert(3, b"{\"event\": \"\xff\"}".to_vec());
    let file = folder.dir.path().join("lines.ndjson");
    std::fs::write(&file, lines.join(&b'\n')).unwrap();
    let mut sent = binary();
    sent.arg("send").arg(&file).args(["--url", &relay.public]).env("RELAY_WRITE_KEY", KEY);
    let output = sent.output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let stats = relay.stats().await;
    assert_eq!(stats["accepted"], 2, "{stats} {told}");

    let map = "[fields]\ntimestamp = \"When\"\nproperties.value = \"Sum\"\nevent_id = \"Id\"\nuser.email = \"Mail\"\n\
               [const]\nevent = \"purchase\"\nsite = \"shop_us\"\nproperties.currency = \"USD\"\nconsent = { region = \"US\" }\n";
    std::fs::write(folder.dir.path().join("map.toml"), map).unwrap();
    let at = now();
    let mut csv = format!("Id,When,Sum,Mail\nr1,{at},5,a@example.com\n").into_bytes();
    for row in [
        format!("r2,{at},NaN,b@example.com"),
        format!("r3,{at},1e999,b@example.com"),
        "r4,9999-12-31T00:00:00Z,5,b@example.com".to_owned(),
        "r5,then,5,b@example.com".to_owned(),
        "r6".to_owned(),
        format!("r7,{at},5,b@example.com,one,more"),
        format!("r8,{at},\"5\"6,\"b@example.com"),
    ] {
        csv.extend(row.into_bytes());
        csv.push(b'\n');
    }
    csv.extend(b"r9,\xff\xfe,5,\xff\n\"");
    csv.extend(vec![b'x'; 300 << 10]);
    let file = folder.dir.path().join("rows.csv");
    std::fs::write(&file, csv).unwrap();
    let mut import = binary();
    import.arg("import").arg(&file).arg("--map").arg(folder.dir.path().join("map.toml"));
    import.args(["--url", &relay.public]).env("RELAY_WRITE_KEY", KEY);
    let limit = std::time::Duration::from_secs(60);
    let output = tokio::time::timeout(limit, import.output()).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(!told.contains("panicked"), "{told}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(summary["rejected"].as_u64().unwrap() >= 5, "{summary} {told}");
    assert_eq!(relay.stats().await["accepted"], 2 + summary["accepted"].as_u64().unwrap());
    relay.stop().await;
}

/// A visitor's key opens the browser's door only, whatever it says of itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browsers_key_is_no_import() {
    let folder = folder();
    let relay = Relay::start(&folder).await;
    let event = |id: &str, consent: Value| {
        json!({"event": "view_item", "event_id": id, "user": {"anonymous_id": "a-1"}, "consent": consent,
            "timestamp": "2026-01-05T00:00:00Z", "sent_at": "2026-01-05T00:00:00Z",
            "context": {"page_url": "https://shop-eu.example/"}})
        .to_string()
        .into_bytes()
    };
    let granted =
        json!({"ad_storage": "granted", "ad_user_data": "granted", "analytics_storage": "granted"});
    for (path, door) in [("/v1/events", "import"), ("/v1/beacon", "import"), ("/v1/events", "send")]
    {
        let claim = |consent: &Value, id: &str| {
            let mut headers = origin(b"");
            headers.push(header("x-relay-door", door));
            let body = event(id, consent.clone());
            (headers, body)
        };
        let (headers, body) = claim(&granted, &format!("granted-{path}-{door}"));
        let headers = headers
            .into_iter()
            .map(|(name, value)| if name == "content-type" { json_type() } else { (name, value) });
        post(&relay, path, headers.collect(), body).await;
        let (headers, body) = claim(&json!({}), &format!("silent-{path}-{door}"));
        let headers = headers
            .into_iter()
            .map(|(name, value)| if name == "content-type" { json_type() } else { (name, value) });
        let (status, answer, text) = post(&relay, path, headers.collect(), body).await;
        assert_eq!(status, 202, "{text}");
        // By the import's door the grant before would have spoken for it.
        assert_eq!(answer["held"], 1, "{path} {door}: {text}");
    }
    relay.stop().await;
}
