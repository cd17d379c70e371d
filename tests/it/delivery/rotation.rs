//! Refresh tokens that are replaced when used: the new one is kept before its token is used.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use conversion_relay::{
    clock,
    delivery::{Credentials, State, try_credentials, try_credentials_with},
    destinations::Auth,
};
use secrecy::SecretString;

use super::{
    Running, delivered,
    doubles::{
        DEDUPLICATES, Double, Line, Stub, config, destination, job, policy, prepared, reply,
    },
    ids, plain,
};

fn rotating(url: &str, grant: &str) -> Double {
    let auth = Auth::OAuthRotating {
        token_url: format!("{url}/token"),
        client_id: "client".to_owned(),
        client_secret: None,
        refresh_token: SecretString::from(grant),
        extra: vec![("scope", "all offline".to_owned())],
        headers: vec![("x-developer", SecretString::from("dev"))],
    };
    Double { auth, ..plain(url) }
}

/// A service whose grants are good once: `a` is followed by `a+`, that by `a++`.
#[derive(Clone, Default)]
struct Service {
    good: Arc<Mutex<BTreeSet<String>>>,
    shown: Arc<Mutex<Vec<String>>>,
}

impl Service {
    fn with(grants: &[&str]) -> Self {
        let service = Self::default();
        service.allow(grants);
        service
    }

    fn allow(&self, grants: &[&str]) {
        *self.good.lock().unwrap() = grants.iter().map(|grant| (*grant).to_owned()).collect();
    }

    fn shown(&self) -> Vec<String> {
        self.shown.lock().unwrap().clone()
    }

    /// Serves tokens, and takes events only with a grant on `line` that is still good.
    async fn serve(&self, line: &Line) -> Stub {
        let (service, line) = (self.clone(), line.clone());
        Stub::new(move |_, seen| {
            let (service, line) = (service.clone(), line.clone());
            async move {
                if seen.path != "/token" {
                    let kept = line.kept();
                    let good = service.good.lock().unwrap();
                    let is_kept = good.iter().any(|grant| kept.contains(grant));
                    return reply(if is_kept { 200 } else { 400 }, &[], "");
                }
                let form = url::form_urlencoded::parse(seen.body.as_bytes());
                let grant = form.into_owned().find(|(name, _)| name == "refresh_token").unwrap().1;
                service.shown.lock().unwrap().push(grant.clone());
                let mut good = service.good.lock().unwrap();
                if !good.remove(&grant) {
                    let denied = r#"{"error":"invalid_grant","error_description":"used"}"#;
                    return reply(400, &[], denied);
                }
                let next = format!("{grant}+");
                good.insert(next.clone());
                let body = serde_json::json!(
                    {"access_token": "t", "expires_in": 3600, "refresh_token": next}
                );
                reply(200, &[], body.to_string())
            }
        })
        .await
    }
}

/// Delivers one more event with a relay that starts anew.
async fn start_anew(stub: &Stub, line: &Line, grant: &str, event: &str) -> usize {
    line.push(job(&prepared(event)));
    let before = line.settled().len();
    let double = rotating(&stub.url, grant);
    let running = Running::start(&DEDUPLICATES, double, policy(), line.clone());
    running.line.ended(before + 1).await;
    running.delivery.stop(Duration::from_secs(5)).await;
    delivered(&line.settled()).len()
}

#[tokio::test]
async fn a_new_grant_is_kept_before_its_token_is_used_and_outlives_a_restart() {
    let (service, line) = (Service::with(&["a"]), Line::default());
    let stub = service.serve(&line).await;
    assert_eq!(start_anew(&stub, &line, "a", "e1").await, 1);
    assert_eq!(line.kept(), ["a+"]);
    assert_eq!(start_anew(&stub, &line, "a", "e2").await, 2);
    assert_eq!(line.kept(), ["a++"]);
    assert_eq!(service.shown(), ["a", "a+"], "the one before is never shown again");
    let form = &stub.seen()[0].body;
    assert!(form.contains("scope=all+offline") && !form.contains("client_secret"), "{form}");
}

#[tokio::test]
async fn a_changed_configured_grant_wins_and_a_refused_kept_one_falls_back() {
    let (service, line) = (Service::with(&["a", "b"]), Line::default());
    let stub = service.serve(&line).await;
    assert_eq!(start_anew(&stub, &line, "a", "e1").await, 1);
    assert_eq!(start_anew(&stub, &line, "b", "e2").await, 2);
    assert_eq!(service.shown(), ["a", "b"]);
    // Somebody revoked what was kept, and the service takes the configured one again.
    service.allow(&["b"]);
    assert_eq!(start_anew(&stub, &line, "b", "e3").await, 3);
    assert_eq!(service.shown(), ["a", "b", "b+", "b"]);
}

#[tokio::test]
async fn without_a_good_grant_the_destination_fails_and_keeps_its_events() {
    let (service, line) = (Service::with(&[]), Line::of(ids(2)));
    let stub = service.serve(&line).await;
    let running = Running::start(&DEDUPLICATES, rotating(&stub.url, "a"), policy(), line.clone());
    running.until(State::Failing).await;
    let (reason, message) = running.delivery.fault("d").unwrap();
    assert_eq!(reason, "invalid_grant");
    assert!(message.contains("sign in again") && !message.contains("a+"), "{message}");
    assert!(line.settled().is_empty(), "nothing is given up");
    service.allow(&["a"]);
    assert_eq!(delivered(&line.ended(2).await).len(), 2);
}

#[tokio::test]
async fn a_grant_that_cannot_be_kept_is_not_lost_and_its_token_not_used() {
    let (service, line) = (Service::with(&["a"]), Line::of(ids(1)));
    line.refuse_keeping(3);
    let stub = service.serve(&line).await;
    let running = Running::start(&DEDUPLICATES, rotating(&stub.url, "a"), policy(), line.clone());
    assert_eq!(delivered(&running.line.ended(1).await), ["e0"]);
    let sent = stub.seen().iter().filter(|seen| seen.path == "/send").count();
    assert_eq!(sent, 1, "only once the grant was on disk");
    assert_eq!(service.shown()[0], "a");
    assert!(!service.shown()[1..].contains(&"a".to_owned()), "{:?}", service.shown());
}

#[tokio::test]
async fn destinations_with_one_grant_share_its_successors() {
    let (service, line) = (Service::with(&["a"]), Line::default());
    let stub = service.serve(&line).await;
    let mut both = config(destination(&DEDUPLICATES, rotating(&stub.url, "a"), policy()));
    let mut other = destination(&DEDUPLICATES, rotating(&stub.url, "a"), policy());
    other.name = "e".to_owned();
    both.consent.destinations.push(conversion_relay::consent::DestinationRule {
        name: "e".to_owned(),
        ..both.consent.destinations[0].clone()
    });
    both.destinations.insert("e".to_owned(), Arc::new(other));
    for id in ids(8) {
        line.push(job(&prepared(&id)));
    }
    let running = Running::with(both, line.clone());
    assert_eq!(delivered(&running.line.ended(8).await).len(), 8);
    assert!(running.delivery.states().values().all(|state| *state == State::Running));
}

#[tokio::test]
async fn trying_it_without_a_place_to_keep_its_successor_uses_nothing_up() {
    let (service, line) = (Service::with(&["a"]), Line::default());
    let stub = service.serve(&line).await;
    let double = Double { has_probe: true, ..rotating(&stub.url, "a") };
    let config = Arc::new(config(destination(&DEDUPLICATES, double, policy())));
    let now = clock::system()();
    let tried = try_credentials(Arc::clone(&config), "d", now).await.unwrap();
    assert_eq!(tried, Credentials::Unproven);
    assert!(stub.seen().is_empty());
    assert!(try_credentials_with(config, "nobody", None, now).await.is_none());
}
