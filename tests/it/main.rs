//! Integration tests: the real binary and the real parts, on port 0, in temporary folders.
#![allow(missing_docs, reason = "tests describe themselves")]

mod harness;
mod kill;
mod layers;
mod privacy;
mod relay;
mod two_sites;
