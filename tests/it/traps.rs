//! The traps that platforms set, each shown by a fixture: what the recorded requests and outcomes
//! say of them. `tests/fixtures/README.md` is the list for people.

use serde_json::{Value, json};

fn read(path: &str) -> String {
    let path = format!("{}/tests/fixtures/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A snapshot's text without its head.
fn snapshot(path: &str) -> String {
    read(path).splitn(3, "---\n").nth(2).unwrap().to_owned()
}

/// What a fixture of `PLATFORM/CASE` sends, or why it does not.
fn sent(case: &str) -> Value {
    serde_json::from_str(&snapshot(&format!("{case}/request.snap"))).unwrap()
}

/// The word for what became of each event of `PLATFORM/responses/NAME`.
fn outcomes(answer: &str) -> Vec<String> {
    let text = snapshot(&format!("{answer}.snap"));
    text.lines()
        .take_while(|line| !line.starts_with("fault"))
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect()
}

pub(crate) fn sha256(text: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 2026-11-22T04:00:00Z in each platform's own unit and type, and other values that are easily
/// written in another's way. Places are below the first request's body.
#[test]
fn each_platforms_own_way() {
    let e164 = "+14155550133";
    let (plus, bare) = (json!(sha256(e164)), json!(sha256(&e164[1..])));
    let email = json!(sha256("jane.doe@example.com"));
    let no_dots = json!(sha256("janedoe@example.com"));
    #[rustfmt::skip]
    let table = [
        // Seconds, ten digits: thirteen are taken by Meta and never attributed.
        ("meta/purchase", "/data/0/event_time", json!(1_795_320_000)),
        ("microsoft/purchase", "/data/0/eventTime", json!(1_795_320_000)),
        ("tiktok/purchase", "/data/0/event_time", json!(1_795_320_000)),
        ("snapchat/purchase", "/data/0/event_time", json!(1_795_320_000)),
        ("pinterest/purchase", "/data/0/event_time", json!(1_795_320_000)),
        // Milliseconds: ten digits are taken by Reddit and land in 1970.
        ("reddit/purchase", "/data/events/0/event_at", json!(1_795_320_000_000_u64)),
        ("linkedin/purchase", "/elements/0/conversionHappenedAt", json!(1_795_320_000_000_u64)),
        ("openai/purchase", "/events/0/timestamp_ms", json!(1_795_320_000_000_u64)),
        ("taboola/purchase", "/actions/0/timestamp", json!(1_795_320_000_000_u64)),
        // Microseconds.
        ("ga4/purchase", "/events/0/timestamp_micros", json!(1_795_320_000_000_000_u64)),
        ("quora/purchase", "/data/0/conversion/timestamp", json!(1_795_320_000_000_000_u64)),
        // ISO 8601, X with milliseconds.
        ("google_ads/purchase", "/events/0/eventTimestamp", json!("2026-11-22T04:00:00Z")),
        ("amazon/purchase", "/events/0/eventTime", json!("2026-11-22T04:00:00Z")),
        ("criteo/purchase", "/events/0/timestamp", json!("2026-11-22T04:00:00Z")),
        ("x/purchase", "/conversions/0/conversion_time", json!("2026-11-22T04:00:00.000Z")),
        // A phone with `+`.
        ("google_ads/purchase", "/events/0/userData/userIdentifiers/1/phoneNumber", plus.clone()),
        ("ga4/purchase", "/user_data/sha256_phone_number/0", plus.clone()),
        ("microsoft/purchase", "/data/0/userData/ph", plus.clone()),
        ("reddit/purchase", "/data/events/0/user/phone_number", plus.clone()),
        ("tiktok/purchase", "/data/0/user/phone/0", plus.clone()),
        ("x/purchase", "/conversions/0/identifiers/2/hashed_phone_number", plus),
        // A phone without.
        ("meta/purchase", "/data/0/user_data/ph/0", bare.clone()),
        ("snapchat/purchase", "/data/0/user_data/ph/0", bare.clone()),
        ("pinterest/purchase", "/data/0/user_data/ph/0", bare.clone()),
        ("amazon/purchase", "/events/0/matchKeys/1/values/0", bare.clone()),
        ("openai/purchase", "/events/0/user/phone_numbers_sha256/0", bare),
        // Reddit's and Microsoft's own rules for e-mail, beside everybody's.
        ("meta/purchase", "/data/0/user_data/em/0", email),
        ("reddit/purchase", "/data/events/0/user/email", no_dots.clone()),
        ("reddit/own_email_rule", "/data/events/0/user/email", json!(sha256("alice@example.com"))),
        ("microsoft/purchase", "/data/0/userData/em", no_dots),
        // Google's plain city and postal code beside Meta's hashed ones.
        ("ga4/purchase", "/user_data/address/0/city", json!("san francisco")),
        ("ga4/purchase", "/user_data/address/0/postal_code", json!("94107-1234")),
        ("google_ads/purchase", "/events/0/userData/userIdentifiers/2/address/postalCode", json!("94107-1234")),
        ("meta/purchase", "/data/0/user_data/ct/0", json!(sha256("sanfrancisco"))),
        ("meta/purchase", "/data/0/user_data/zp/0", json!(sha256("94107"))),
        // Money as a string, and as a number where it is one.
        ("linkedin/purchase", "/elements/0/conversionValue/amount", json!("129.90")),
        ("pinterest/purchase", "/data/0/custom_data/value", json!("129.90")),
        ("pinterest/purchase", "/data/0/custom_data/contents/0/item_price", json!("99.90")),
        ("meta/purchase", "/data/0/custom_data/value", json!(129.9)),
        // A list that must be there though it is empty.
        ("linkedin/lead", "/elements/0/user/userIds", json!([])),
        // An event id that is a number to the sender, and a text to TikTok.
        ("tiktok/numeric_id", "/data/0/event_id", json!("1001")),
        ("tiktok/numeric_id", "/data/0/properties/contents/0/content_id", json!("4711")),
        // A click id whose case matters.
        ("snapchat/purchase", "/data/0/user_data/sc_click_id", json!("ScCid-aBcDeF-0123-GhI")),
    ];
    for (case, place, expected) in table {
        let body = &sent(case)["requests"][0]["body"];
        assert_eq!(body.pointer(place), Some(&expected), "{case} {place}");
    }
}

/// Answers that look like another: three events a call, one for Criteo.
#[test]
fn answers_that_are_not_what_they_look_like() {
    #[rustfmt::skip]
    let table: [(&str, &[&str]); 16] = [
        // HTTP 200 with an error inside.
        ("tiktok/responses/invalid", &["CulpritUnknown"; 3]),
        ("microsoft/responses/partial", &["Delivered", "Rejected", "Delivered"]),
        ("quora/responses/partial", &["Delivered", "Rejected", "Delivered"]),
        ("criteo/responses/invalid", &["Rejected"]),
        ("meta/responses/garbage", &["Unavailable"; 3]),
        // Throttling under the status of a refused token, and under that of a bad request.
        ("tiktok/responses/throttled", &["Throttled"; 3]),
        ("meta/responses/throttled", &["Throttled"; 3]),
        // 207 and 422 that mean partial success.
        ("amazon/responses/partial", &["Delivered", "Rejected", "Delivered"]),
        ("pinterest/responses/partial", &["Rejected", "Delivered", "Delivered"]),
        // Errors with an index in prose.
        ("linkedin/responses/wrong_method", &["Resend", "Rejected", "Resend"]),
        ("google_ads/responses/partial", &["Resend", "Rejected", "Resend"]),
        ("tiktok/responses/partial_brackets", &["Resend", "Resend", "Rejected"]),
        ("reddit/responses/partial", &["Resend", "Rejected", "Resend"]),
        // Batches refused without a culprit.
        ("meta/responses/invalid", &["CulpritUnknown"; 3]),
        ("x/responses/invalid", &["CulpritUnknown"; 3]),
        ("openai/responses/invalid", &["CulpritUnknown"; 3]),
    ];
    for (answer, expected) in table {
        assert_eq!(outcomes(answer), expected, "{answer}");
    }
}

/// The list for people names fixtures that there are.
#[test]
fn the_list_is_of_fixtures_that_exist() {
    let list = read("README.md");
    let named = list.split('`').skip(1).step_by(2).filter(|it| it.contains('/'));
    // CASE and NAME stand for any.
    let is_real = |it: &&str| !it.contains("CASE") && !it.contains("NAME");
    let named: Vec<&str> = named.filter(is_real).collect();
    assert!(named.len() > 30, "{named:?}");
    for name in named {
        let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
        let exists = [String::new(), ".snap".to_owned()]
            .iter()
            .any(|ending| std::path::Path::new(&format!("{path}{ending}")).exists());
        assert!(exists, "{name}");
    }
}
