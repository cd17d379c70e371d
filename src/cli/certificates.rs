//! The listeners' certificates, put together: read at the start, renewed by a reload and when the
//! files change; and the descriptors that connections need.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, TlsError, TlsFiles},
    http::Tls,
};

/// Descriptors that the relay needs besides those of connections.
const OTHER_FILES: u64 = 256;

/// TLS of both listeners, where it is configured.
#[derive(Debug, Clone)]
pub(super) struct Certificates {
    /// The public listener's.
    pub(super) public: Option<Arc<Tls>>,
    /// The admin listener's.
    pub(super) admin: Option<Arc<Tls>>,
}

impl Certificates {
    /// Reads what is configured.
    pub(super) fn load(config: &Config) -> anyhow::Result<Self> {
        let doors = &config.listen.doors;
        let load = |files: &Option<TlsFiles>, key: &str| {
            let files = files.as_ref();
            files.map(Tls::load).transpose().with_context(|| format!("relay.toml: listen.{key}"))
        };
        let public = load(&doors.public_tls, "public_tls")?;
        Ok(Self { public, admin: load(&doors.admin_tls, "admin_tls")? })
    }

    /// Takes over what a new configuration names. Where one cannot be used it says whose, by the
    /// setting's path, and why; the old certificates stand.
    pub(super) fn renew(&self, config: &Config) -> Result<(), (&'static str, TlsError)> {
        let doors = &config.listen.doors;
        let both = [
            ("listen.public_tls", &self.public, &doors.public_tls),
            ("listen.admin_tls", &self.admin, &doors.admin_tls),
        ];
        // Both are tried before either is taken over.
        for (path, _, files) in both {
            files.as_ref().map(Tls::load).transpose().map_err(|why| (path, why))?;
        }
        for (path, tls, files) in both {
            match (tls, files) {
                (Some(tls), Some(files)) => _ = tls.renew(files).map_err(|why| (path, why))?,
                (None, None) => {}
                _ => tracing::warn!("{path} was added or removed: it takes a restart"),
            }
        }
        Ok(())
    }

    /// Renews them when their files change, until the relay stops.
    pub(super) fn watch(&self, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
        let both = [("public", &self.public), ("admin", &self.admin)];
        let watched = both.into_iter().filter_map(|(name, tls)| Some((name, tls.clone()?)));
        watched.map(|(name, tls)| tls.watch(name, stop.clone())).collect()
    }
}

/// Each connection is a descriptor, and many systems give a process 1024 of them until it asks.
pub(super) fn raise_file_limit(config: &Config) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "the limit of open files could not be raised");
        }
    }
    let connections = config.listen.doors.max_connections as u64 * 2;
    let needed = connections.saturating_add(OTHER_FILES);
    if let Some(most) = getrlimit(Resource::Nofile).current.filter(|most| *most < needed) {
        tracing::warn!(
            "the system allows {most} open files, listen.max_connections may need {needed}: \
             raise the limit (LimitNOFILE, ulimit -n) or lower the setting"
        );
    }
}
