//! `cargo +nightly fuzz run classify`
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/fixtures/mod.rs"]
mod support;
#[allow(dead_code, reason = "each binary runs one target")]
#[path = "../../tests/props/targets.rs"]
mod targets;

fuzz_target!(|bytes: &[u8]| targets::classify(bytes));
