//! Which addresses a destination with a URL of its owner's choice may reach: none that are only
//! reachable from here, so that a webhook cannot be pointed at the machine's own services.

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::destinations::reach::{is_private, is_public};

/// What a refused resolution says; the client recognises it by [`is_refusal`].
#[derive(Debug, thiserror::Error)]
#[error("{host} is a private or link-local address; allow_private = true permits it")]
pub(super) struct Refusal {
    host: String,
}

/// Refuses private addresses of the hosts that are called. Other names, such as a proxy's, are
/// resolved as they are: where a proxy is used, it is the proxy that resolves the destination.
#[derive(Debug, Clone, Default)]
pub(super) struct Guard {
    // A std mutex: held for a lookup in a set of a few names, never over an await.
    hosts: Arc<Mutex<BTreeSet<String>>>,
}

impl Guard {
    /// Checks a URL that is about to be called, and remembers its host for the resolver.
    pub(super) fn check(&self, url: &Url) -> Result<(), Refusal> {
        let Some(host) = url.host() else { return Ok(()) };
        if is_private(&host) {
            return Err(Refusal { host: host.to_string() });
        }
        if let Host::Domain(name) = host {
            self.lock().insert(name.to_owned());
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let guarded = self.lock().contains(&host);
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            // One private address among public ones is refused whole: which one would be called
            // is not ours to choose.
            if guarded && found.iter().any(|address| !is_public(address.ip())) {
                return Err(Refusal { host }.into());
            }
            if found.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "no address").into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an error, or what caused it, is a refusal of ours.
pub(super) fn is_refusal(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut source = Some(error);
    while let Some(error) = source {
        if error.is::<Refusal>() {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_addresses_are_checked_however_they_are_written() {
        let guard = Guard::default();
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]/",
            "http://0/",
            "http://0.0.0.0:8081/",
            "http://017700000001/",
            "http://127.1/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[::ffff:169.254.169.254]/",
            "http://[::ffff:7f00:1]/",
            "http://\u{2460}\u{2461}\u{2466}.0.0.1/",
            "http://10.0.0.1./",
        ] {
            assert!(guard.check(&Url::parse(url).unwrap()).is_err(), "{url}");
        }
        assert!(guard.check(&Url::parse("https://hooks.example.com/x").unwrap()).is_ok());
    }

    #[tokio::test]
    async fn names_are_refused_by_what_they_resolve_to_unless_they_are_not_called() {
        let guard = Guard::default();
        let resolve = |guard: &Guard| guard.resolve("localhost".parse().unwrap());
        assert!(resolve(&guard).await.is_ok(), "a proxy's name is not guarded");
        guard.lock().insert("localhost".to_owned());
        let Err(refused) = resolve(&guard).await else { panic!("resolved") };
        assert!(is_refusal(refused.as_ref()));
    }
}
