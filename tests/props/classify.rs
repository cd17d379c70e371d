//! Whatever a platform answers, `classify` has one outcome for each member and never panics;
//! whatever is in a batch, `assemble` loses and reorders nothing.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken fixture is a failed test"
)]

use std::{fs, sync::LazyLock};

use conversion_relay::{
    destinations::{Call, CallPurpose, Dedup, Destination, Outcome, Platform, REGISTRY, Response},
    event::Field,
    job::Prepared,
};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::support;

/// Every platform with its destination.
static DESTINATIONS: LazyLock<Vec<(&'static Platform, Box<dyn Destination>)>> =
    LazyLock::new(|| REGISTRY.iter().map(|p| (*p, support::destination(p))).collect());

/// One job of a purchase and one of a micro event for each platform.
static JOBS: LazyLock<Vec<[Prepared; 2]>> = LazyLock::new(|| {
    DESTINATIONS
        .iter()
        .map(|(p, d)| ["purchase", "micro"].map(|case| prepared(p, &**d, case)))
        .collect()
});

/// Bodies of every kind: noise, JSON of the platforms' own, and the latter damaged.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let recorded: Vec<Vec<u8>> = REGISTRY.iter().flat_map(|p| recorded(p)).collect();
    let json = r#"\{"(error|events_received|requestId|validationMessages|requestStatusPerDestination)":(null|-1|"x"|1e400|\[\{"a":1\}\]|\{"code":(4|100|190|368|-7|"x"),"details":\[\{"fieldViolations":\[\{"field":"events\[[0-9]{1,3}\]"\}\]\}\]\})\}"#;
    prop_oneof![
        vec(any::<u8>(), 0..300),
        json.prop_map(String::into_bytes),
        select(recorded.clone()),
        (select(recorded), any::<prop::sample::Index>(), any::<u8>()).prop_map(
            |(mut body, index, byte)| {
                if !body.is_empty() {
                    let index = index.index(body.len());
                    body[index] = byte;
                    if byte < 128 {
                        body.truncate(index);
                    }
                }
                body
            }
        ),
    ]
}

fn recorded(platform: &Platform) -> Vec<Vec<u8>> {
    let folder = support::folder(platform.name).join("responses");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| {
            let json: serde_json::Value =
                serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
            match json["body"].as_str() {
                Some(text) => text.as_bytes().to_vec(),
                None => json["body"].to_string().into_bytes(),
            }
        })
        .collect()
}

fn response() -> impl Strategy<Value = Response> {
    let header = prop_oneof![
        any::<String>().prop_map(|text| ("retry-after".to_owned(), text)),
        any::<u64>().prop_map(|n| ("retry-after".to_owned(), n.to_string())),
        any::<u64>().prop_map(|n| {
            let usage = format!("{{\"1\":[{{\"estimated_time_to_regain_access\":{n}}}]}}");
            ("x-business-use-case-usage".to_owned(), usage)
        }),
    ];
    let status = prop_oneof![
        any::<u16>(),
        100u16..600,
        select(vec![200, 204, 400, 401, 403, 404, 413, 429, 500]),
    ];
    (status, vec(header, 0..3), body()).prop_map(|(status, headers, body)| Response {
        status,
        headers,
        body,
    })
}

fn call() -> impl Strategy<Value = Call> {
    let purpose = select(vec![CallPurpose::Send, CallPurpose::FollowUp, CallPurpose::Probe]);
    let url = prop_oneof![
        any::<String>(),
        Just("https://x.example/debug/mp/collect".to_owned()),
        "https://x\\.example/v1/requestStatus:retrieve\\?requestId=a#events=[0-9]{1,12}&attempt=[0-9]{1,12}",
    ];
    (purpose, url, 0usize..40).prop_map(|(purpose, url, members)| Call {
        purpose,
        method: "POST",
        url,
        headers: Vec::new(),
        body: b"{\"validateOnly\":true,".to_vec(),
        members: (0..members).collect(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn classify_answers_for_every_member(call in call(), response in response()) {
        for (platform, destination) in DESTINATIONS.iter() {
            let answer = destination.classify(&call, &response, support::now());
            prop_assert_eq!(answer.outcomes.len(), call.members.len(), "{}", platform.name);
            for outcome in &answer.outcomes {
                let (reason, message) = match outcome {
                    Outcome::Rejected { reason, message }
                    | Outcome::CulpritUnknown { reason, message } => (reason.as_str(), message),
                    Outcome::Retry { message, .. }
                    | Outcome::Unavailable { message, .. }
                    | Outcome::Throttled { message, .. }
                    | Outcome::Resend { message } => ("", message),
                    Outcome::Delivered | Outcome::TooLarge | Outcome::Paused => continue,
                };
                prop_assert!(reason.len() <= 100 && message.chars().count() <= 500);
                prop_assert!(!message.contains(char::is_control));
            }
            // A paused destination says why; one event is never halved.
            let paused = answer.outcomes.contains(&Outcome::Paused);
            prop_assert!(!paused || answer.fault.is_some());
            let unknown = |o: &Outcome| matches!(o, Outcome::CulpritUnknown { .. });
            prop_assert!(call.members.len() != 1 || !answer.outcomes.iter().any(unknown));
            if let Some(follow_up) = answer.follow_up {
                prop_assert!(follow_up.due > support::now());
            }
        }
    }

    #[test]
    fn assemble_loses_and_reorders_nothing(
        picks in vec((0usize..2, 0u8..4, 0usize..600, any::<bool>()), 0..50),
    ) {
        for ((platform, destination), known) in DESTINATIONS.iter().zip(JOBS.iter()) {
            let jobs: Vec<Prepared> = picks.iter().map(|pick| job(known, *pick)).collect();
            let calls = destination.assemble(&jobs, support::now());
            let mut seen = vec![0; jobs.len()];
            for call in &calls {
                prop_assert!(call.members.is_sorted(), "{}", platform.name);
                prop_assert!(call.members.len() <= platform.batch.events);
                prop_assert!(call.members.len() == 1 || call.body.len() <= platform.batch.bytes);
                let is_json = serde_json::from_slice::<serde_json::Value>(&call.body).is_ok();
                prop_assert!(is_json || (call.method == "GET" && call.body.is_empty()));
                for member in &call.members {
                    seen[*member] += 1;
                    let id = jobs[*member].event_id.as_str();
                    // Where a resend is recognised by the id, the id is there.
                    let carries = platform.dedup != Dedup::EventId
                        || call.url.contains(id)
                        || String::from_utf8_lossy(&call.body).contains(id);
                    prop_assert!(carries, "{} {}", platform.name, id);
                }
            }
            prop_assert!(seen.iter().all(|times| *times == 1), "{} {:?}", platform.name, seen);
        }
    }
}

fn prepared(platform: &Platform, destination: &dyn Destination, case: &str) -> Prepared {
    let path = support::folder(platform.name).join(case).join("event.json");
    let event = support::event(&fs::read_to_string(path).unwrap());
    support::prepare(destination, platform, &event).1.unwrap().prepared
}

/// A job of one of two events, of one of four people, with a long or short property.
fn job(
    known: &[Prepared; 2],
    (event, person, length, denied): (usize, u8, usize, bool),
) -> Prepared {
    let mut job = known[event].clone();
    job.event_id = format!("id-{event}-{person}-{length}");
    job.transaction_id.clone_from(&job.event_id);
    job.flags.personalization_denied = denied;
    for (field, sent) in &mut job.texts {
        if *field == Field::GaClientId {
            *sent = conversion_relay::job::Sent::Clear(format!("{person}.1700000000"));
        }
    }
    job.other = serde_json::json!({"note": "x".repeat(length)}).to_string();
    job
}
