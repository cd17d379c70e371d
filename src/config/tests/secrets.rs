//! Secrets: references, fallbacks of sandbox mode, and nothing of them in any message.

use secrecy::ExposeSecret as _;

use super::{GOOD, good_but, lines, serve};
use crate::{config::Secrets, destinations::Mode};

const SANDBOX: &str = "http://127.0.0.1:8090";

fn none(_: &str) -> Option<String> {
    None
}

#[test]
fn sandbox_mode_falls_back_and_says_so() {
    let loaded = serve(&GOOD, Secrets::Resolve, Some(SANDBOX), &none);
    let config = loaded.config.unwrap();
    assert_eq!(config.write_keys[0].key.expose_secret(), "dev-key");
    assert!(config.admin_tokens[0].token.is_of("dev-token"));
    let told: Vec<String> = loaded.fallbacks.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "write_keys[0].key: WRITE is not set: falls back to \"dev-key\"",
            "admin_tokens[0].token: ADMIN is not set: falls back to \"dev-token\"",
            "ads.access_token: ADS_TOKEN is not set: falls back to \"sandbox-access_token\"",
        ]
    );
}

#[test]
fn in_sandbox_mode_everything_but_a_shadow_goes_to_the_sandbox() {
    let config = serve(&GOOD, Secrets::Resolve, Some(SANDBOX), &none).config.unwrap();
    let ads = &config.destinations["ads"];
    assert_eq!(ads.mode, Mode::Sandbox);
    assert_eq!(ads.endpoint, "http://127.0.0.1:8090/ads");
    assert_eq!(ads.shown_endpoint, "https://api.ads.example.com");
    assert!(ads.delivery.allow_private);
    assert!(format!("{:?}", ads.handler).contains("token_endpoint: \\\"http://127.0.0.1:8090/ads"));
    let hook = &config.destinations["hook"];
    assert_eq!(hook.endpoint, "http://127.0.0.1:8090/hook/hook");
    assert_eq!(hook.shown_endpoint, "https://crm.example.com/in");
    assert!(format!("{:?}", hook.handler).contains("http://127.0.0.1:8090/hook/hook"));

    let shadow = format!("{}mode = \"shadow\"\n", GOOD[3].1);
    let files = good_but("destinations.toml", &shadow);
    let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (*n, t.as_str())).collect();
    let config = serve(&files, Secrets::Resolve, Some(SANDBOX), &none).config.unwrap();
    assert_eq!(config.destinations["hook"].endpoint, "https://crm.example.com/in");

    let config = serve(&GOOD, Secrets::Placeholder, None, &none).config.unwrap();
    assert_eq!(config.destinations["ads"].endpoint, "https://api.ads.example.com");
}

#[test]
fn a_sandbox_without_keys_has_one() {
    let loaded = serve(&[("relay.toml", "")], Secrets::Resolve, None, &none);
    let config = loaded.config.unwrap();
    assert_eq!(config.write_keys[0].key.expose_secret(), "dev-key");
    assert!(config.admin_tokens[0].token.is_of("dev-token"));
    assert_eq!(loaded.fallbacks.len(), 2);
}

#[test]
fn in_live_mode_a_missing_secret_is_an_error_and_a_set_one_is_used() {
    let live = GOOD[0].1.replace("sandbox", "live");
    let files = good_but("relay.toml", &live);
    let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (*n, t.as_str())).collect();
    let loaded = serve(&files, Secrets::Resolve, None, &none);
    let found = lines(&loaded);
    assert_eq!(loaded.errors().count(), 3, "{found:?}");
    assert!(found.iter().any(|f| f
        == "error: relay.toml:7: write_keys[0].key: the environment variable WRITE is not set"));
    assert!(loaded.fallbacks.is_empty());

    let loaded = serve(&files, Secrets::Resolve, None, &|name| Some(format!("real-{name}")));
    assert_eq!(loaded.config.unwrap().write_keys[0].key.expose_secret(), "real-WRITE");
    let loaded = serve(&files, Secrets::Resolve, None, &|name| {
        (name != "ADMIN").then(|| "the same".to_owned()).or(Some(String::new()))
    });
    assert!(lines(&loaded).iter().any(|f| f.contains("ADMIN is not set")), "empty is not set");
}

#[test]
fn files_and_keys_are_read_and_validated() {
    let relay = "[[write_keys]]\nkey = { file = \"write.key\" }\n\
                 [[write_keys]]\nkey = { file = \"absent\" }\n\
                 [queue]\nencryption_key = { env = \"KEY\" }\n";
    let files = [("relay.toml", relay), ("write.key", "s3cret\n")];
    let loaded = serve(&files, Secrets::Resolve, None, &|_| Some("short".to_owned()));
    let found = lines(&loaded);
    assert!(found.iter().any(|f| f.contains("the file \"absent\" cannot be read")), "{found:?}");
    assert!(found.iter().any(|f| f.contains("expected 32 bytes in base64")), "{found:?}");
    assert!(!found.join("\n").contains("short"), "{found:?}");

    let relay = "[[write_keys]]\nkey = { file = \"write.key\" }\n\
                 [queue]\nencryption_key = { env = \"KEY\" }\n";
    let files = [("relay.toml", relay), ("write.key", "s3cret\n")];
    let key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU=";
    let loaded = serve(&files, Secrets::Resolve, None, &|_| Some(key.to_owned()));
    let config = loaded.config.unwrap();
    assert_eq!(config.write_keys[0].key.expose_secret(), "s3cret");
    assert_eq!(config.queue.encryption_key.unwrap().expose_secret(), key);
}

#[test]
fn two_keys_with_one_secret_are_refused() {
    let relay = "[[write_keys]]\nkey = { env = \"A\" }\n[[write_keys]]\nkey = { env = \"B\" }\n";
    let loaded =
        serve(&[("relay.toml", relay)], Secrets::Resolve, None, &|_| Some("same".to_owned()));
    assert!(lines(&loaded)[0].contains("write_keys[1].key: another write key has the same secret"));
}

#[test]
fn neither_debug_nor_the_effective_configuration_shows_a_secret() {
    let loaded = serve(&GOOD, Secrets::Resolve, None, &|_| Some("unmistakable".to_owned()));
    // The same secret twice is only refused for write keys.
    let config = loaded.config.unwrap();
    assert!(!format!("{config:?}").contains("unmistakable"));
    let shown = config.describe().to_string();
    assert!(shown.contains("[REDACTED]") && !shown.contains("unmistakable"));
    assert!(shown.contains("\"first\":\"1s\""), "defaults are filled in: {shown}");
}
