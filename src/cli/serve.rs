//! `serve`: the relay.

use std::path::PathBuf;

use super::{Exit, relay};
use crate::{config, telemetry::LogFormat};

/// The relay. With `mode = "sandbox"` destinations are the embedded sandbox.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// The configuration folder.
    #[arg(long, value_name = "DIR", default_value = "./config")]
    config: PathBuf,
    /// The data folder; made if absent.
    #[arg(long, value_name = "DIR", default_value = "./data")]
    data: PathBuf,
    /// The embedded sandbox takes everything unread and keeps no body: a sink for load tests.
    #[arg(long)]
    fast_sandbox: bool,
}

impl Serve {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let start = relay::Start {
            config: self.config,
            data: self.data,
            take_free_ports: false,
            logs: LogFormat::Auto,
            fast_sandbox: self.fast_sandbox,
            environment: config::environment,
        };
        let Some(running) = relay::start(start).await? else { return Ok(Exit::Configuration) };
        let stopped = running.until_stopped()?;
        println!("{}", running.ready());
        tracing::info!(mode = running.mode().name(), "ready on {}", running.public);
        stopped.await;
        tracing::info!("stopping");
        running.stop().await?;
        Ok(Exit::Fine)
    }
}
