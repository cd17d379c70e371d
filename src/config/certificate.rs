//! A listener's certificate and its key, read and held against each other: `check` tells of a pair
//! with which nobody could be served. Never prints the key's text.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::TlsFiles;

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

/// The cryptography of the listeners.
pub fn tls_provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Reads both files and holds them against each other; with a hash of what they hold, by which a
/// renewed pair is known.
pub fn read_pair(files: &TlsFiles) -> Result<(CertifiedKey, [u8; 32]), TlsError> {
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
    CertifiedKey::from_der(chain, key, &tls_provider())
        .map(|key| (key, hash))
        .map_err(|error| TlsError::Unfit(files.cert.clone(), error.to_string()))
}
