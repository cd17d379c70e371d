//! Properties: what holds for every input.
#![allow(missing_docs, unreachable_pub, reason = "tests describe themselves")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may stop where it is wrong; clippy's own exemption misses their helpers"
)]

mod classify;
mod consent;
mod consent_strings;
mod delivery;
mod events;
mod fairness;
mod fuzz;
mod normalize;
mod plan;
mod platforms;
mod queue;
mod sources;
#[path = "../fixtures/strings.rs"]
mod strings;
#[path = "../fixtures/mod.rs"]
mod support;
mod targets;
