//! Credentials: refused, renewed, proven.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use conversion_relay::{
    clock,
    config::DeliveryPolicy,
    delivery::{Credentials, State, try_credentials},
    destinations::Auth,
};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use secrecy::SecretString;

use super::{
    Running, delivered,
    doubles::{DEDUPLICATES, Double, Line, Stub, config, destination, policy, reply},
    ids, plain,
};

fn refreshing(url: &str) -> Double {
    let auth = Auth::OAuthRefresh {
        token_url: format!("{url}/token"),
        client_id: "client".to_owned(),
        client_secret: SecretString::from("hush"),
        refresh_token: SecretString::from("grant"),
        extra: Vec::new(),
    };
    Double { auth, ..plain(url) }
}

/// A stub that hands out `t0`, `t1`, ... and takes only the tokens from `first_good` on.
async fn token_service(first_good: usize) -> Stub {
    let handed_out = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    Stub::new(move |_, seen| {
        let handed_out = Arc::clone(&handed_out);
        async move {
            if seen.path == "/token" {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let number = handed_out.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let token = format!(r#"{{"access_token":"t{number}","expires_in":3600}}"#);
                return reply(200, &[], token);
            }
            let number = seen.authorization.strip_prefix("Bearer t").and_then(|n| n.parse().ok());
            let is_good = number.is_some_and(|number: usize| number >= first_good);
            reply(if is_good { 200 } else { 401 }, &[], "")
        }
    })
    .await
}

fn asked_for_tokens(stub: &Stub) -> usize {
    stub.seen().iter().filter(|seen| seen.path == "/token").count()
}

#[tokio::test]
async fn a_static_token_that_is_refused_costs_no_event() {
    for has_probe in [false, true] {
        let stub = Stub::new(|number, _| async move {
            reply(if number < 4 { 401 } else { 200 }, &[], "expired")
        })
        .await;
        let auth = Auth::Bearer(SecretString::from("static"));
        let double = Double { auth, has_probe, ..plain(&stub.url) };
        let running = Running::start(&DEDUPLICATES, double, policy(), Line::of(ids(5)));
        running.until(State::Failing).await;
        assert_eq!(delivered(&running.line.ended(5).await).len(), 5);
        assert_eq!(running.state(), State::Running);
        let seen = stub.seen();
        assert!(seen.iter().all(|seen| seen.authorization == "Bearer static"));
        assert_eq!(seen.iter().any(|seen| seen.path == "/probe"), has_probe);
    }
}

#[tokio::test]
async fn one_token_serves_all_who_ask_at_once() {
    let stub = token_service(0).await;
    let many = DeliveryPolicy { max_events: 1, concurrency: 8, ..policy() };
    let running = Running::start(&DEDUPLICATES, refreshing(&stub.url), many, Line::of(ids(20)));
    running.line.ended(20).await;
    assert_eq!(asked_for_tokens(&stub), 1);
    let body = &stub.seen()[0].body;
    assert!(body.contains("grant_type=refresh_token&client_id=client"), "{body}");
}

#[tokio::test]
async fn a_token_that_ended_early_is_replaced_without_failing() {
    let stub = token_service(1).await;
    let running = Running::start(&DEDUPLICATES, refreshing(&stub.url), policy(), Line::of(ids(3)));
    assert_eq!(delivered(&running.line.ended(3).await).len(), 3);
    assert_eq!((asked_for_tokens(&stub), running.state()), (2, State::Running));
    assert!(running.line.passing().is_empty(), "no event was put back for it");
}

#[tokio::test]
async fn a_grant_that_is_refused_makes_it_fail_and_a_broken_service_does_not() {
    let stub = Stub::new(|_, _| async { reply(400, &[], r#"{"error":"invalid_grant"}"#) }).await;
    let running = Running::start(&DEDUPLICATES, refreshing(&stub.url), policy(), Line::of(ids(1)));
    running.until(State::Failing).await;
    assert_eq!(running.delivery.fault("d").unwrap().0, "invalid_grant");

    let stub = Stub::new(|_, _| async { reply(500, &[], "") }).await;
    let running = Running::start(&DEDUPLICATES, refreshing(&stub.url), policy(), Line::of(ids(1)));
    while running.line.passing().len() < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(running.state(), State::Running);
    assert!(running.line.settled().is_empty());
}

/// A made-up key, used by this test only; without its header, so that no scanner takes it for one.
const KEY: &str = include_str!("../../fixtures/delivery/service_account.b64");

#[tokio::test]
async fn a_service_account_proves_itself_with_a_signed_assertion() {
    let stub = token_service(0).await;
    let pem = format!("-----BEGIN {0} KEY-----\n{KEY}-----END {0} KEY-----\n", "PRIVATE");
    let email = "relay@project.iam.example.com";
    let key = serde_json::json!({
        "client_email": email, "private_key_id": "k1", "private_key": pem,
    });
    let auth = Auth::ServiceAccount {
        token_url: format!("{}/token", stub.url),
        key: SecretString::from(key.to_string()),
        scope: "https://api.example.com/auth/scope",
    };
    let double = Double { auth, ..plain(&stub.url) };
    let running = Running::start(&DEDUPLICATES, double, policy(), Line::of(ids(1)));
    running.line.ended(1).await;

    let body = stub.seen()[0].body.clone();
    let form: Vec<(String, String)> =
        url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    assert_eq!(form[0].1, "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let (signed, signature) = form[1].1.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&decode(header)).unwrap();
    assert_eq!(header, serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
    let claims: serde_json::Value = serde_json::from_slice(&decode(claims)).unwrap();
    assert_eq!(claims["iss"], email);
    assert_eq!(claims["aud"], format!("{}/token", stub.url));
    let lasts = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(lasts, 3_600);

    let der = base64::prelude::BASE64_STANDARD.decode(KEY.replace('\n', "")).unwrap();
    let pair = ring::rsa::KeyPair::from_pkcs8(&der).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public());
    public.verify(signed.as_bytes(), &decode(signature)).unwrap();
}

#[tokio::test]
async fn credentials_are_tried_without_an_event() {
    let tried = |double: Double| async {
        let config = config(destination(&DEDUPLICATES, double, policy()));
        try_credentials(Arc::new(config), "d", clock::system()()).await.unwrap()
    };
    let good = token_service(0).await;
    assert_eq!(tried(refreshing(&good.url)).await, Credentials::Taken);
    assert_eq!(tried(plain(&good.url)).await, Credentials::Unproven);
    let probing = Double { has_probe: true, ..plain(&good.url) };
    assert!(matches!(tried(probing).await, Credentials::Refused(_)), "no token, so refused");
    let nobody = Double { has_probe: true, ..plain("http://127.0.0.1:1") };
    assert!(matches!(tried(nobody).await, Credentials::Unreachable(_)));
}
