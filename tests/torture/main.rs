//! What the promise costs nothing to say and much to keep: acknowledged means delivered, dead with
//! a reason, or pending, whatever happens to the machine. Against the real binary.

#![allow(missing_docs, reason = "a test")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may stop"
)]
#![allow(clippy::print_stdout, reason = "it prints its figures")]

mod disk;
#[path = "../it/harness.rs"]
#[allow(dead_code, reason = "each suite uses a part of it")]
mod harness;
mod journal;
mod kill;
mod load;
mod migrate;
mod power_cut;
