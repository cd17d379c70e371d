//! Whose event it is: digests of a person's identifiers, the same whether an identifier came in
//! clear or already hashed. Only keyed hashes of these are ever stored.

use sha2::{Digest as _, Sha256};

use super::{e164, recognise_hash};
use crate::event::{Event, Field};

/// Identifiers of a person, strongest first.
const STRONGEST: [Field; 9] = [
    Field::ExternalId,
    Field::Email,
    Field::Phone,
    Field::LeadId,
    Field::AnonymousId,
    Field::GaClientId,
    Field::GaAppInstanceId,
    Field::Fbp,
    Field::AdvertisingId,
];

/// The digest of one identifier; `None` where nothing is left of it.
pub fn subject_digest(field: Field, text: &str, country: Option<&str>) -> Option<[u8; 32]> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if let Some(digest) = recognise_hash(text) {
        return Some(digest.bytes);
    }
    let normalised = match field {
        Field::Email => text.to_lowercase(),
        Field::Phone => e164(text, country).ok()?,
        _ => text.to_owned(),
    };
    Some(Sha256::digest(normalised.as_bytes()).into())
}

/// Every identifier of the event's person, strongest first.
pub fn subject_digests(event: &Event, country: Option<&str>) -> Vec<(Field, [u8; 32])> {
    let mut digests = Vec::new();
    for field in STRONGEST {
        for text in event.texts.all(field) {
            if let Some(digest) = subject_digest(field, text, country) {
                digests.push((field, digest));
            }
        }
    }
    digests
}
