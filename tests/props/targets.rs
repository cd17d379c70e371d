//! What fuzzing calls: each target takes any bytes and stops where a promise does not hold. Shared by
//! the short run of every test (`fuzz.rs`) and by libFuzzer (`fuzz/`).

use std::{path::Path, sync::LazyLock};

use conversion_relay::{
    config::{Config, FILES, LoadOptions, Loaded, Secrets, Severity, load},
    consent::{
        additional_consent,
        bits::{MAX_BYTES, Work},
        cmp, gpp, read, tcf, us_privacy,
    },
    destinations::{Call, CallPurpose, Destination, Outcome, Platform, REGISTRY, Response},
    sources::{self, Door, Form, json, native, split},
};

use crate::support;

/// A target by its name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target; `fuzz/fuzz_targets` has a file for each.
pub const TARGETS: [Target; 4] =
    [("event", event), ("consent", consent), ("classify", classify), ("config", config)];

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    loaded(&support::root().join("config")).config.expect("the shipped configuration is valid")
});

fn loaded(folder: &Path) -> Loaded {
    let options = LoadOptions {
        secrets: Secrets::Placeholder,
        sandbox_base: None,
        env: &|_| None,
        registry: REGISTRY,
    };
    load(folder, &options)
}

/// A body of events: each is read, or rejected where it is wrong.
pub fn event(bytes: &[u8]) {
    let config = &*CONFIG;
    for form in [Form::Json, Form::Lines] {
        let Ok(pieces) = split(bytes, form, &config.limits) else { continue };
        for piece in pieces {
            let Ok(node) = piece.parse(&config.limits) else { continue };
            match native::read(&node, &Door::default(), config, support::now()) {
                Ok(read) => {
                    let event = read.event;
                    assert!(!event.name.is_empty() && !event.event_id.id.is_empty());
                    assert!(config.sites.contains_key(&event.site), "an event has its site");
                    assert!(!format!("{event:?}").contains("jane.doe@example.com"));
                }
                Err(rejection) => {
                    assert!(rejection.path.is_empty() || rejection.path.starts_with('/'));
                    assert!(!rejection.message.is_empty());
                }
            }
        }
    }
}

/// Steps and bytes that a character may cost; see `consent_strings.rs`.
const STEPS: usize = 24;
const BYTES: usize = 80;

/// A consent string, or a whole consent object.
pub fn consent(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let allowed = text.len().min(MAX_BYTES) + 64;
    let bounded = |work: &Work| {
        assert!(work.steps <= STEPS * allowed && work.bytes <= BYTES * allowed, "{work:?}");
    };
    let mut work = Work::default();
    // What is not readable is an answer, too.
    _ = tcf::decode_counting(text, &mut work).map(|tcf| (tcf.grants(), tcf.vendor_grants(755)));
    bounded(&work);
    let mut work = Work::default();
    _ = gpp::decode_counting(text, &mut work).map(|gpp| gpp.us_choices(&[7, 8], true));
    bounded(&work);
    if let Ok(read) = us_privacy::decode(text) {
        assert!(read.opts_out(true) || !read.opts_out(false));
    }
    _ = additional_consent::decode(text).map(|read| read.allows(89));
    for name in ["OptanonConsent", "CookieConsent", "didomi_token", "cookieyes-consent"] {
        cmp::read(&[(name.to_owned(), text.to_owned())]);
    }
    let Ok(node) = json::parse(text, 32) else { return };
    if let Ok(signals) = sources::consent_object(&node, &Door::default()) {
        let reading = read(&CONFIG.consent, &signals, Some("US-CA".to_owned()), false);
        // What the state is made of holds together whatever was signalled.
        assert!(!format!("{reading:?}").is_empty());
    }
}

static DESTINATIONS: LazyLock<Vec<(&'static Platform, Box<dyn Destination>)>> =
    LazyLock::new(|| REGISTRY.iter().map(|p| (*p, support::destination(p))).collect());

/// An answer of a platform: the first byte chooses the platform, two the status, one the call and how
/// many members it has, the rest is the body.
pub fn classify(bytes: &[u8]) {
    let [platform, high, low, kind, body @ ..] = bytes else { return };
    let (platform, destination) = &DESTINATIONS[usize::from(*platform) % DESTINATIONS.len()];
    let purposes = [CallPurpose::Send, CallPurpose::FollowUp, CallPurpose::Probe];
    let call = Call {
        purpose: purposes[usize::from(*kind) % purposes.len()],
        method: "POST",
        url: "https://x.example/v1/status?requestId=a#events=3&attempt=2".to_owned(),
        headers: Vec::new(),
        body: b"{\"validateOnly\":true,".to_vec(),
        members: (0..usize::from(*kind) / 3).collect(),
    };
    let usage = String::from_utf8_lossy(body.get(..body.len().min(200)).unwrap_or_default());
    let headers = ["retry-after", "x-business-use-case-usage", "x-app-usage", "location"]
        .map(|name| (name.to_owned(), usage.clone().into_owned()));
    let response = Response {
        // Mostly statuses that a server sends.
        status: 100 + u16::from_be_bytes([*high, *low]) % 500,
        headers: headers.to_vec(),
        body: body.to_vec(),
    };
    let answer = destination.classify(&call, &response, support::now());
    assert_eq!(answer.outcomes.len(), call.members.len(), "{}", platform.name);
    for outcome in &answer.outcomes {
        let (reason, message) = match outcome {
            Outcome::Rejected { reason, message } | Outcome::CulpritUnknown { reason, message } => {
                (reason.as_str(), message)
            }
            Outcome::Retry { message, .. }
            | Outcome::Unavailable { message, .. }
            | Outcome::Throttled { message, .. }
            | Outcome::Resend { message } => ("", message),
            Outcome::Delivered | Outcome::TooLarge | Outcome::Paused => continue,
        };
        assert!(reason.len() <= 100 && message.chars().count() <= 500, "{}", platform.name);
        assert!(!message.contains(char::is_control));
    }
    assert!(!answer.outcomes.contains(&Outcome::Paused) || answer.fault.is_some());
}

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    for name in FILES.iter().chain(&["rates.csv"]) {
        let shipped = support::root().join("config").join(name);
        std::fs::copy(shipped, folder.path().join(name)).unwrap();
    }
    folder
});

/// A configuration of which one file, chosen by the first byte, is anything at all: there is a
/// configuration, or an error that says where it is.
pub fn config(bytes: &[u8]) {
    let [which, text @ ..] = bytes else { return };
    let name = FILES[usize::from(*which) % FILES.len()];
    let (path, shipped) = (FOLDER.path().join(name), support::root().join("config").join(name));
    std::fs::write(&path, text).unwrap();
    let loaded = loaded(FOLDER.path());
    std::fs::copy(shipped, path).unwrap();
    let errors = loaded.findings.iter().filter(|f| f.severity == Severity::Error).count();
    assert_eq!(loaded.config.is_none(), errors > 0, "{name}: {:?}", loaded.findings);
    for finding in &loaded.findings {
        assert!(!finding.message.is_empty() && !finding.file.is_empty());
    }
    if let Some(config) = loaded.config {
        config.describe();
    }
}
