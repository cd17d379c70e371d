//! Integration tests: the real binary and the real parts, on port 0, in temporary folders.
#![allow(missing_docs, unreachable_pub, reason = "tests describe themselves")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test may stop where it is wrong; clippy's own exemption misses their helpers"
)]

mod adding_a_platform;
mod adjustments;
mod audit;
mod bad_days;
mod bad_doors;
mod bad_input;
mod browser;
mod clicks;
mod config;
mod conformance;
mod consent_cli;
mod consent_matrix;
mod consent_vectors;
mod days;
mod delivery;
mod deploy;
mod doors;
mod every_platform;
mod evidence;
mod examples;
mod fixtures;
mod four_eyes;
mod grants;
#[allow(dead_code, reason = "each suite uses a part of it")]
mod harness;
mod hostile;
mod imports;
mod layers;
mod metrics;
mod online;
mod outbound;
mod partly_spoken;
mod privacy;
mod queue;
#[path = "queue/mod.rs"]
#[allow(clippy::duplicate_mod, reason = "the same suite over the other engine")]
mod queue_on_redb;
mod reached;
mod readme;
mod relay;
mod remembered;
mod restarts;
mod sandbox;
mod secrets;
mod senders;
#[path = "../fixtures/strings.rs"]
mod strings;
mod thinks;
mod tls;
mod traits;
mod traps;
mod two_sites;
mod versions;
