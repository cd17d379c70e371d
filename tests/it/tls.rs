//! TLS of the listeners, on the real binary: both speak it, and certificates are renewed without a
//! stop, by SIGHUP, by the reload call and when the files change; a bad one leaves the old one.

use std::{path::Path, time::Duration};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Folder, Relay, TOKEN, binary};

/// Makes a certificate for this machine, writes it with its key, and returns it.
fn certificate(folder: &Folder, name: &str) -> reqwest::Certificate {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let path = |ending: &str| folder.config().join(format!("{name}.{ending}"));
    replace(&path("key"), made.signing_key.serialize_pem().as_bytes());
    replace(&path("pem"), made.cert.pem().as_bytes());
    reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()
}

fn replace(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, bytes).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[allow(clippy::disallowed_methods, reason = "the test is the user, not the relay")]
fn trusting(certificate: &reqwest::Certificate) -> reqwest::Client {
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([certificate.clone()])
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap()
}

async fn speaks(relay: &Relay, certificate: &reqwest::Certificate) -> bool {
    let url = format!("{}/healthz", relay.public);
    trusting(certificate).get(url).send().await.is_ok_and(|answer| answer.status() == 200)
}

async fn speaks_soon(relay: &Relay, certificate: &reqwest::Certificate) -> bool {
    for _ in 0..100 {
        if speaks(relay, certificate).await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

fn with_tls() -> Folder {
    let folder = Folder::shipped();
    folder.edit("relay.toml", |text| {
        let tls = "[listen]\npublic_tls = { cert = \"public.pem\", key = \"public.key\" }\n\
                   admin_tls = { cert = \"admin.pem\", key = { file = \"admin.key\" } }\n";
        text.replace("[listen]\n", tls)
    });
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_listeners_speak_tls_and_certificates_are_renewed() {
    let folder = with_tls();
    let first = certificate(&folder, "public");
    let admin = certificate(&folder, "admin");
    let relay = Relay::start(&folder).await;
    assert!(relay.public.starts_with("https://") && relay.admin.starts_with("https://"));
    assert!(speaks(&relay, &first).await && !speaks(&relay, &admin).await, "each has its own");
    let plain = relay.public.replace("https://", "http://");
    assert!(trusting(&first).get(plain).send().await.is_err(), "and nothing else");
    let version = trusting(&first).get(format!("{}/healthz", relay.public)).send().await.unwrap();
    assert_eq!(version.version(), reqwest::Version::HTTP_2, "HTTP/2 is agreed on");
    let reload = || async {
        let call = trusting(&admin).post(format!("{}/admin/v1/config/reload", relay.admin));
        let answer = call.bearer_auth(TOKEN).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };

    // A signal.
    let second = certificate(&folder, "public");
    relay.signal(Signal::HUP);
    assert!(speaks_soon(&relay, &second).await);
    assert!(!speaks(&relay, &first).await);

    // A key that is another's is refused, and says so.
    let key = std::fs::read(folder.config().join("public.key")).unwrap();
    replace(
        &folder.config().join("public.key"),
        &std::fs::read(folder.config().join("admin.key")).unwrap(),
    );
    let (status, text) = reload().await;
    assert_eq!(status, 422, "{text}");
    let said: Value = serde_json::from_str(&text).unwrap();
    let finding = said["findings"].as_array().unwrap().iter().find(|f| f["severity"] == "error");
    let finding = finding.unwrap();
    assert_eq!(finding["path"], "listen.public_tls", "{text}");
    assert!(finding["file"].as_str().unwrap().ends_with("relay.toml"), "{text}");
    assert!(finding["line"].as_u64().unwrap() > 0, "{text}");
    assert!(finding["message"].as_str().unwrap().contains("cannot be used"), "{text}");
    assert!(speaks(&relay, &second).await, "the old one stands");
    replace(&folder.config().join("public.key"), &key);
    assert_eq!(reload().await.0, 200);

    // Without a word, as renewing programs do.
    let third = certificate(&folder, "public");
    assert!(speaks_soon(&relay, &third).await);
    replace(&folder.config().join("public.pem"), b"damaged");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(speaks(&relay, &third).await);
    let log = relay.stop().await;
    assert!(log.contains("the old one stands"), "{log}");
    assert!(!log.contains("PRIVATE KEY"), "{log}");
}

#[tokio::test]
async fn a_certificate_that_is_not_there_is_told_at_the_start_and_not_needed_to_check() {
    let folder = with_tls();
    let Err(log) = Relay::try_start(&folder, &[]).await else { panic!("it started") };
    assert!(log.contains("listen.public_tls") && log.contains("public.pem"), "{log}");
    let (code, said) = checked(&folder).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("listen.public_tls: the file") && said.contains("needs it"), "{said}");
    folder.edit("relay.toml", |text| text.replace("cert = \"public.pem\", ", ""));
    let (_, said) = checked(&folder).await;
    assert!(said.contains("listen.public_tls.cert: is missing"), "{said}");
}

#[tokio::test]
async fn a_pair_that_is_there_and_of_no_use_is_an_error_of_check() {
    let folder = with_tls();
    certificate(&folder, "public");
    certificate(&folder, "admin");
    assert_eq!(checked(&folder).await.0, Some(0));
    let path = |name: &str| folder.config().join(name);
    std::fs::copy(path("public.key"), path("admin.key")).unwrap();
    std::fs::write(path("public.pem"), "no certificate").unwrap();
    // With whatever else is wrong.
    folder.edit("relay.toml", |text| format!("unheard_of = 1\n{text}"));
    let (code, said) = checked(&folder).await;
    assert_eq!(code, Some(78), "{said}");
    for part in [
        "listen.public_tls: the file",
        "holds no certificate in PEM",
        "listen.admin_tls: the certificate",
        "cannot be used",
        "unheard_of: unknown key",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("PRIVATE KEY"), "{said}");
}

/// How `check` ends, and all that it says.
async fn checked(folder: &Folder) -> (Option<i32>, String) {
    let mut check = binary();
    check.arg("check").arg("--config").arg(folder.config());
    let said = check.output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (said.status.code(), text(&said.stdout) + &text(&said.stderr))
}

/// A container asks itself, by an address that its certificate does not name.
#[tokio::test]
async fn a_relay_that_speaks_tls_is_asked_how_it_fares_whoever_it_is_certified_as() {
    let folder = with_tls();
    certificate(&folder, "public");
    certificate(&folder, "admin");
    let relay = Relay::start(&folder).await;
    let mut health = binary();
    health.args(["health", "--ready", "--url", &relay.public.replace("localhost", "127.0.0.1")]);
    let said = health.output().await.unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    relay.stop().await;
}

#[tokio::test]
async fn the_effective_configuration_names_the_files_only() {
    let folder = with_tls();
    certificate(&folder, "public");
    certificate(&folder, "admin");
    let mut check = binary();
    check.args(["check", "--print", "--config"]).arg(folder.config());
    let said = check.output().await.unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    let start = text.find('{').unwrap_or_else(|| panic!("{text}"));
    let shown: Value = serde_json::from_str(&text[start..]).unwrap();
    let listen = &shown["relay"]["listen"];
    assert!(listen["public_tls"]["key"].as_str().unwrap().ends_with("public.key"), "{listen}");
    assert_eq!(listen["max_connections"], 8192);
    assert!(!text.contains("PRIVATE KEY"));
}
