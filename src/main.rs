//! Parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    conversion_relay::cli::main()
}
