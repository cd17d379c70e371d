//! `sandbox`: the simulated platforms alone.

use std::net::SocketAddr;

use anyhow::Context as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Exit, relay};
use crate::sandbox::{self, Sandbox as Server, SandboxOptions};

/// Of a request that is kept, on average: what `--keep` may take in memory.
const KEPT_BYTES: usize = 3 * 1024;

/// The simulated platforms alone, for trying a configuration from elsewhere.
#[derive(Debug, clap::Args)]
pub(super) struct Sandbox {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Takes everything unread and keeps no body: a sink for load tests.
    #[arg(long)]
    fast: bool,
    /// How many requests are kept to be shown.
    #[arg(long, default_value_t = 10_000)]
    keep: usize,
}

impl Sandbox {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let listener = tokio::net::TcpListener::bind(self.listen)
            .await
            .with_context(|| format!("{} cannot be listened on; choose another with --listen", self.listen))?;
        let address = listener.local_addr()?;
        let mut options = if self.fast { SandboxOptions::fast() } else { SandboxOptions::default() };
        options.keep_requests = self.keep;
        options.keep_bytes = options.keep_bytes.max(self.keep.saturating_mul(KEPT_BYTES));
        let stop = CancellationToken::new();
        let server = sandbox::serve_on(listener, Server::new(options), stop.clone());
        let stopped = relay::stop_signal()?;
        println!("{}", json!({"sandbox": format!("http://{address}")}));
        stopped.await;
        stop.cancel();
        server.await.context("the sandbox ended badly")?;
        Ok(Exit::Fine)
    }
}
