//! What a listener asks of its connections: TLS, and how much of the relay each may take.

use std::{path::PathBuf, time::Duration};

/// TLS and bounds of both listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doors {
    /// The public listener's certificate; `None`: plain HTTP.
    pub public_tls: Option<TlsFiles>,
    /// The admin listener's certificate; `None`: plain HTTP.
    pub admin_tls: Option<TlsFiles>,
    /// Connections at once, each listener.
    pub max_connections: usize,
    /// Of these, from one address (of IPv6: one /64). This machine and trusted proxies, behind whom
    /// everybody is, are not counted.
    pub max_connections_per_peer: usize,
    /// Bytes of a request's line and headers.
    pub header_bytes: usize,
    /// Within which a request's headers must have arrived; also the TLS handshake, and how long a
    /// connection may stay idle.
    pub head_timeout: Duration,
    /// Within which a request's body must have arrived.
    pub body_timeout: Duration,
    /// Bytes of bodies that are held at once, packed and unpacked, each listener.
    pub held_bytes: usize,
}

/// A certificate and its key, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl Default for Doors {
    fn default() -> Self {
        Self {
            public_tls: None,
            admin_tls: None,
            max_connections: 8192,
            max_connections_per_peer: 1024,
            header_bytes: 32 << 10,
            head_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            held_bytes: 256 << 20,
        }
    }
}
