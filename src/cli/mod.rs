//! cli.

pub mod identity;
