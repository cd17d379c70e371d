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

#[test]
fn an_admin_token_may_be_its_hash_and_must_not_be_guessable() {
    // SHA-256 of "abc" (FIPS 180-2, B.1).
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let load = |lines: &str, mode: &str| {
        let relay = format!("mode = \"{mode}\"\n[[admin_tokens]]\n{lines}\n");
        serve(&[("relay.toml", &relay)], Secrets::Resolve, None, &|_| Some("abc".to_owned()))
    };
    let loaded = load(&format!("token_sha256 = \"{hash}\""), "sandbox");
    assert!(loaded.config.unwrap().admin_tokens[0].token.is_of("abc"));
    for (lines, expected) in [
        (
            format!("token_sha256 = \"{}\"", hash.get(1..).unwrap()),
            "token_sha256: expected 64 hex digits",
        ),
        ("token_sha256 = \"abc\"".to_owned(), "token_sha256: expected 64 hex digits"),
        (format!("token_sha256 = \"{hash}\"\ntoken = {{ env = \"T\" }}"), "write either"),
        ("roles = [\"viewer\"]".to_owned(), "token: is missing"),
        (
            format!("token_sha256 = \"{hash}\"\n[[admin_tokens]]\ntoken = {{ env = \"T\" }}"),
            "another admin token is the same",
        ),
    ] {
        let found = lines_of(&load(&lines, "sandbox"));
        assert!(found.contains(expected), "{lines}: {found}");
        assert!(!found.contains("\"abc\""), "no message repeats what may be a token: {found}");
    }
    assert!(lines_of(&load("token = { env = \"T\" }", "live")).contains("could be guessed"));
    assert!(!lines_of(&load("token = { env = \"T\" }", "sandbox")).contains("could be guessed"));
}

fn lines_of(loaded: &crate::config::Loaded) -> String {
    lines(loaded).join("\n")
}

#[test]
fn listeners_have_bounds_that_work() {
    let load = |lines: &str| {
        let relay = format!("[listen]\n{lines}\n");
        serve(&[("relay.toml", &relay)], Secrets::Placeholder, None, &none)
    };
    let loaded = load(
        "public_tls = { cert = \"a.pem\", key = { file = \"a.key\" } }\nmax_connections = 10\n\
         max_connections_per_peer = 20\nheader_bytes = \"16 KiB\"\nhead_timeout = \"5s\"",
    );
    assert!(lines_of(&loaded).contains("is above max_connections (10)"));
    let doors = loaded.config.unwrap().listen.doors;
    assert_eq!((doors.max_connections, doors.header_bytes), (10, 16 << 10));
    assert!(doors.public_tls.unwrap().key.ends_with("a.key") && doors.admin_tls.is_none());
    for (lines, expected) in [
        ("public_tls = { cert = \"a.pem\" }", "listen.public_tls.key: is missing"),
        ("public_tls = { cert = \"a\", key = \"b\", ca = \"c\" }", "unknown key"),
        ("public_tls = \"a.pem\"", "expected a table"),
        ("header_bytes = \"1 KiB\"", "is less than 8192 bytes"),
        ("max_connections = 0", "max_connections"),
        ("head_timeout = \"0s\"", "more than none"),
    ] {
        let loaded = load(lines);
        let found = lines_of(&loaded);
        assert!(loaded.config.is_none() && found.contains(expected), "{lines}: {found}");
    }
}

#[test]
fn two_keys_with_one_reference_are_refused_without_the_secret() {
    let key = |name: &str| format!("[[write_keys]]\nname = {name:?}\nkey = {{ env = \"A\" }}\n");
    let token = "[[admin_tokens]]\nname = \"NAME\"\ntoken = { env = \"T\" }\n";
    let tokens = token.replace("NAME", "a") + &token.replace("NAME", "b");
    let relay = key("a") + &key("b") + &tokens;
    let found = lines(&serve(&[("relay.toml", &relay)], Secrets::Placeholder, None, &none));
    let errors: Vec<_> = found.iter().filter(|line| line.starts_with("error")).collect();
    assert_eq!(errors.len(), 2, "{found:?}");
    assert!(errors[0].contains("write_keys[1].key: another write key has the same"), "{found:?}");
    assert!(errors[1].contains("admin_tokens[1].token: another admin token"), "{found:?}");

    let other =
        relay.replacen("{ env = \"A\" }", "{ env = \"B\" }", 1).replacen("\"T\"", "\"U\"", 1);
    let loaded = serve(&[("relay.toml", &other)], Secrets::Placeholder, None, &none);
    assert_eq!(loaded.errors().count(), 0, "{:?}", lines(&loaded));
}
