//! The command line: one file a command. This is the shell; it may print, read the environment and
//! end the process.

mod check;
mod init;

/// How a command ended; the numbers are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Fine,
    /// The configuration is invalid.
    Configuration,
}
