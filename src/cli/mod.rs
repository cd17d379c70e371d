//! The command line: one file a command. This is the shell; it may print, read the environment and
//! end the process.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

mod admin;
mod alert_posts;
mod alerts;
mod approve;
mod audit;
mod background;
mod batches;
mod before;
mod cases;
mod certificates;
mod check;
mod consent;
mod consent_decode;
mod demo;
mod evidence;
mod evidence_log;
mod explain;
mod gauges;
mod geoip;
mod http_client;
mod identity;
mod import;
mod init;
mod migrate;
mod online;
mod panics;
mod platforms;
mod reconcile;
mod relay;
mod sandbox;
mod send;
mod serve;
mod street;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::clock;

/// How a command ended; the numbers are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Fine,
    /// The work failed, or a check did not hold.
    Failed,
    /// The configuration is invalid.
    Configuration,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Fine => ExitCode::SUCCESS,
            Exit::Failed => ExitCode::from(1),
            // sysexits.h: EX_CONFIG. Wrong usage is 2, which clap sees to.
            Exit::Configuration => ExitCode::from(78),
        }
    }
}

/// A server-side conversions relay: first-party events in, exact conversion API requests out.
#[derive(Debug, Parser)]
#[command(name = "conversion-relay", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Serve(serve::Serve),
    Init(init::Init),
    Check(check::Check),
    Test(test::Test),
    Explain(explain::Explain),
    Send(send::Send),
    Import(import::Import),
    Identity(identity::Identity),
    Platforms(platforms::Platforms),
    Consent(consent::Consent),
    Audit(audit::Audit),
    Approve(approve::Approve),
    #[command(subcommand)]
    Evidence(evidence::Evidence),
    Reconcile(reconcile::Reconcile),
    Sandbox(sandbox::Sandbox),
    Migrate(migrate::Migrate),
    #[command(flatten)]
    Admin(admin::Admin),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    panics::keep_quiet();
    let cli = Cli::parse();
    let now = clock::system();
    let result = match cli.command {
        Command::Demo(command) => relay::block_on(command.run()),
        Command::Serve(command) => relay::block_on(command.run()),
        Command::Init(command) => command.run(),
        Command::Check(command) => command.run(now()),
        Command::Test(command) => command.run(),
        Command::Explain(command) => relay::block_on(command.run(now())),
        Command::Send(command) => relay::block_on(command.run()),
        Command::Import(command) => relay::block_on(command.run(now())),
        Command::Identity(command) => command.run(),
        Command::Platforms(command) => command.run(),
        Command::Consent(command) => command.run(),
        Command::Audit(command) => command.run(),
        Command::Approve(command) => command.run(now()),
        Command::Evidence(command) => relay::block_on(command.run()),
        Command::Reconcile(command) => relay::block_on(command.run()),
        Command::Sandbox(command) => relay::block_on(command.run()),
        Command::Migrate(command) => command.run(),
        Command::Admin(command) => relay::block_on(command.run()),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            Exit::Failed.into()
        }
    }
}
