//! Keyed hashes: what the store knows events and people by. They carry no identity without the key.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::{
    event::Field,
    identity::names_a_person,
    queue::{self, IdHash},
};

/// The secret of all keyed hashes of one data folder.
#[derive(Clone)]
pub struct SubjectKey(Hmac<Sha256>);

impl std::fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SubjectKey")
    }
}

impl SubjectKey {
    /// From the 32 bytes that the queue keeps wrapped (or any, for `explain`).
    pub fn new(secret: &[u8; 32]) -> Self {
        // HMAC takes keys of any length; the fallback is never reached.
        Self(Hmac::new_from_slice(secret).unwrap_or_else(|_| Hmac::new(&Default::default())))
    }

    /// The key of one identifier at a controller: what a person is known by to the store. Whether the
    /// identifier names one person, or may be shared, stands in the key itself.
    pub fn subject(&self, controller: &str, field: Field, digest: &[u8; 32]) -> IdHash {
        let parts = [controller.as_bytes(), field.path().as_bytes(), digest.as_slice()];
        queue::subject(self.keyed("subject", &parts), names_a_person(field))
    }

    /// The key of a person's frequency record at a site, from any of their subject keys: so that an
    /// erasure, which knows subject keys only, finds it.
    pub fn marks(&self, site: &str, subject: &IdHash) -> IdHash {
        self.keyed("person", &[site.as_bytes(), subject])
    }

    /// HMAC-SHA256 of the parts, cut to 16 bytes. `domain` keeps kinds of hashes apart; lengths are
    /// hashed too, so that no two lists of parts agree.
    pub fn keyed(&self, domain: &str, parts: &[&[u8]]) -> IdHash {
        let mut mac = self.0.clone();
        mac.update(domain.as_bytes());
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let full = mac.finalize().into_bytes();
        let mut cut = [0u8; 16];
        cut.copy_from_slice(full.split_at(16).0);
        cut
    }
}
