//! TLS of the listeners: one certificate each, from two PEM files, renewed without a stop.
//!
//! A renewed pair is used by the next connection. A pair that cannot be used is refused whole, with
//! its reason, and the one before stands. Never holds or prints the key's text.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::config::TlsFiles;

/// How often the files are looked at. They are small, and change a few times a year.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why a certificate cannot be used. Says which file and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("the file {0} cannot be read: {1}")]
    Unread(PathBuf, String),
    /// A file is not what it should be.
    #[error("the file {0} holds no {1} in PEM")]
    NotPem(PathBuf, &'static str),
    /// The two cannot be used together.
    #[error("the certificate {0} and its key cannot be used: {1}")]
    Unfit(PathBuf, String),
}

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
        let (key, hash) = read(files)?;
        let source = Mutex::new(Source { files: files.clone(), hash });
        let current = Arc::new(Current { key: ArcSwap::from_pointee(key), source });
        let unfit = |error: rustls::Error| TlsError::Unfit(files.cert.clone(), error.to_string());
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unfit)?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(Self { acceptor: TlsAcceptor::from(Arc::new(config)), current }))
    }

    /// Reads a pair again, or another one; whether it is new. On an error the old one stands.
    pub fn renew(&self, files: &TlsFiles) -> Result<bool, TlsError> {
        let (key, hash) = read(files)?;
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

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Reads both files and holds them against each other.
fn read(files: &TlsFiles) -> Result<(CertifiedKey, [u8; 32]), TlsError> {
    let bytes = |path: &Path| -> Result<Zeroizing<Vec<u8>>, TlsError> {
        let unread = |error: io::Error| TlsError::Unread(path.to_owned(), error.to_string());
        std::fs::read(path).map(Zeroizing::new).map_err(unread)
    };
    let (cert, key) = (bytes(&files.cert)?, bytes(&files.key)?);
    let mut hasher = Sha256::new();
    hasher.update((cert.len() as u64).to_le_bytes());
    hasher.update(&*cert);
    hasher.update(&*key);
    let hash = hasher.finalize().into();
    let not_pem = |path: &Path, what| TlsError::NotPem(path.to_owned(), what);
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&cert)
        .collect::<Result<_, _>>()
        .map_err(|_| not_pem(&files.cert, "certificate"))?;
    if chain.is_empty() {
        return Err(not_pem(&files.cert, "certificate"));
    }
    let key =
        PrivateKeyDer::from_pem_slice(&key).map_err(|_| not_pem(&files.key, "private key"))?;
    CertifiedKey::from_der(chain, key, &provider())
        .map(|key| (key, hash))
        .map_err(|error| TlsError::Unfit(files.cert.clone(), error.to_string()))
}

#[cfg(test)]
mod tests {
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
