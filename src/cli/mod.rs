//! The command line: one file a command. This is the shell; it may print, read the environment and
//! end the process.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

mod admin;
mod http_client;
mod send;

/// How a command ended; the numbers are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Fine,
    /// The work failed, or a check did not hold.
    Failed,
}
