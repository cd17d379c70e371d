//! TLS of the listeners: one certificate each, from two PEM files, renewed without a stop.
//!
//! A renewed pair is used by the next connection. A pair that cannot be used is refused whole, with
//! its reason, and the one before stands. Never holds or prints the key's text.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::{TlsError, TlsFiles, read_pair, tls_provider};

/// How often the files are looked at. They are small, and change a few times a year.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The certificate of a listener.
pub struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
}

/// What connections are given now.
struct Current {
    key: ArcSwap<CertifiedKey>,
    // What it was read from. A std mutex: held while two small files are compared, by the watch and
    // a reload only.
    source: Mutex<Source>,
}

#[derive(Clone, PartialEq, Eq)]
struct Source {
    files: TlsFiles,
    hash: [u8; 32],
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.source().files).finish_non_exhaustive()
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.load_full())
    }
}

impl Tls {
    /// Reads a pair.
    pub fn load(files: &TlsFiles) -> Result<Arc<Self>, TlsError> {
        let (key, hash) = read_pair(files)?;
        let source = Mutex::new(Source { files: files.clone(), hash });
        let current = Arc::new(Current { key: ArcSwap::from_pointee(key), source });
        let unfit = |error: rustls::Error| TlsError::Unfit(files.cert.clone(), error.to_string());
        let mut config = ServerConfig::builder_with_provider(tls_provider())
            .with_safe_default_protocol_versions()
            .map_err(unfit)?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(Self { acceptor: TlsAcceptor::from(Arc::new(config)), current }))
    }

    /// Reads a pair again, or another one; whether it is new. On an error the old one stands.
    pub fn renew(&self, files: &TlsFiles) -> Result<bool, TlsError> {
        let (key, hash) = read_pair(files)?;
        let source = Source { files: files.clone(), hash };
        let mut known = self.current.source.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == source {
            return Ok(false);
        }
        self.current.key.store(Arc::new(key));
        *known = source;
        Ok(true)
    }

    /// Renews whenever the files change, and says so; also when they cannot be used, once for each
    /// reason.
    pub fn watch(
        self: Arc<Self>,
        listener: &'static str,
        stop: CancellationToken,
    ) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut told = None;
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
                let (tls, files) = (self.clone(), self.source().files);
                let renewed = tokio::task::spawn_blocking(move || tls.renew(&files)).await;
                match renewed {
                    Ok(Ok(true)) => tracing::info!(listener, "the certificate was renewed"),
                    Ok(Err(why)) if told.as_ref() != Some(&why) => {
                        tracing::error!(
                            listener,
                            "the new certificate cannot be used, the old one stands: {why}"
                        );
                        told = Some(why);
                        continue;
                    }
                    Ok(Err(_)) => continue,
                    Ok(Ok(false)) | Err(_) => {}
                }
                told = None;
            }
        })
    }

    pub(super) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    fn source(&self) -> Source {
        self.current.source.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn files(folder: &Path) -> TlsFiles {
        TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") }
    }

    fn write(files: &TlsFiles) -> String {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&files.cert, made.cert.pem()).unwrap();
        let key = made.signing_key.serialize_pem();
        std::fs::write(&files.key, &key).unwrap();
        key
    }

    #[test]
    fn a_pair_is_renewed_and_a_bad_one_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        assert!(matches!(Tls::load(&files), Err(TlsError::Unread(..))));
        let first_key = write(&files);
        let tls = Tls::load(&files).unwrap();
        let first = tls.current.key.load_full();
        assert_eq!(tls.renew(&files), Ok(false), "nothing changed");

        for (path, text, why) in [
            (&files.cert, "no certificate", "NotPem"),
            (&files.key, "no key", "NotPem"),
            (&files.key, "", "NotPem"),
        ] {
            let good = std::fs::read(path).unwrap();
            std::fs::write(path, text).unwrap();
            let error = tls.renew(&files).unwrap_err();
            assert!(format!("{error:?}").starts_with(why), "{error}");
            std::fs::write(path, good).unwrap();
        }
        let second_key = write(&files);
        std::fs::write(&files.key, &first_key).unwrap();
        let error = tls.renew(&files).unwrap_err();
        assert!(matches!(error, TlsError::Unfit(..)), "another's key: {error}");
        assert!(Arc::ptr_eq(&first, &tls.current.key.load_full()), "the old one stands");

        std::fs::write(&files.key, &second_key).unwrap();
        assert_eq!(tls.renew(&files), Ok(true));
        assert!(!Arc::ptr_eq(&first, &tls.current.key.load_full()));
        let shown = format!("{tls:?} {error:?} {error}");
        for line in first_key.lines().chain(second_key.lines()).filter(|l| !l.starts_with("--")) {
            assert!(!shown.contains(line), "a key's text is never shown");
        }
    }
}
