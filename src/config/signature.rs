//! SSH signatures of approvals, by OpenSSH's own program: the keys stay where people keep them, in
//! files, agents and hardware. The shell's part; it decides nothing about what a signature is for.

use std::{
    io::{self, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use crate::consent::{SSH_NAMESPACE, SignOff};

const PROGRAM: &str = "ssh-keygen";

/// Signs an approval with a private key (or a public one whose private part an agent holds).
/// The armoured signature, or why there is none.
pub fn sign(approval: &SignOff, key: &Path) -> Result<String, String> {
    let mut command = Command::new(PROGRAM);
    command.args(["-Y", "sign", "-n", SSH_NAMESPACE, "-f"]).arg(key);
    run(command, &approval.message())
}

/// Whether the signature of an approval is that of the person it names, by a file of allowed
/// signers (`man ssh-keygen`, ALLOWED SIGNERS).
pub(super) fn verify(approval: &SignOff, allowed: &Path) -> Result<(), String> {
    let Some(signature) = &approval.ssh else {
        return Err("it has no SSH signature, and allowed_signers wants one".to_owned());
    };
    if !allowed.is_file() {
        return Err(format!("allowed_signers: there is no file {}", allowed.display()));
    }
    // The program reads a signature from a file only.
    let mut file = tempfile::NamedTempFile::new().map_err(|error| told(&error))?;
    file.write_all(signature.as_bytes()).map_err(|error| told(&error))?;
    let mut command = Command::new(PROGRAM);
    command.args(["-Y", "verify", "-n", SSH_NAMESPACE, "-I", &approval.by, "-f"]).arg(allowed);
    command.arg("-s").arg(file.path());
    run(command, &approval.message()).map(|_| ())
}

fn told(error: &io::Error) -> String {
    format!("the signature cannot be checked: {error}")
}

/// Runs the program with a text on its standard input; what it printed.
fn run(mut command: Command, input: &str) -> Result<String, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{PROGRAM} (OpenSSH) is not installed"),
        _ => format!("{PROGRAM} cannot be run: {error}"),
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may end before it has read everything; its answer says why.
        stdin.write_all(input.as_bytes()).ok();
    }
    let output = child.wait_with_output().map_err(|error| format!("{PROGRAM}: {error}"))?;
    if output.status.success() {
        return String::from_utf8(output.stdout).map_err(|_| format!("{PROGRAM}: no text"));
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.lines().next().unwrap_or("it gave no reason").trim();
    Err(format!("{PROGRAM}: {words}"))
}
