//! Parse, run, exit code.

use std::process::ExitCode;

/// Events are allocated by the threads that read them and freed by the committer, which is what
/// this allocator is good at (`tests/bench/BASELINE.md` has the figures).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    conversion_relay::cli::main()
}
