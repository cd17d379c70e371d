//! Encryption at rest: AES-256-GCM under a random data key of each start, which the configured
//! master key wraps. The nonce is a counter, the record's key is the associated data, the data
//! key's number stands in the record. Keys are read from no file or environment here.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use aes_gcm::{Aes256Gcm, Nonce, aead::Aead as _, aead::KeyInit as _, aead::Payload};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{
    OpenError,
    record::{self, space},
    store::{Batch, Direction, Store, StoreError},
};

/// A key of 32 bytes that is wiped when dropped.
pub(super) type Key = Zeroizing<[u8; 32]>;

/// Version, data key's number, counter.
const HEAD_BYTES: usize = 1 + 4 + 8;
const VERSION: u8 = 1;
/// Version, master key's fingerprint, nonce.
const WRAP_HEAD_BYTES: usize = 1 + 8 + 12;
const SUBJECT_SECRET: &[u8] = b"m/subject_secret";

/// Seals records, and opens those of every earlier start.
pub(super) struct Seal {
    ciphers: HashMap<u32, Aes256Gcm>,
    current: u32,
    counter: AtomicU64,
    subject_secret: Key,
}

/// A record that does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsealed {
    /// It is sealed with a data key that is not there.
    #[error("it is sealed with data key {0}, which is not in the store")]
    NoKey(u32),
    /// It was changed, moved, or cut.
    #[error("it does not match its seal")]
    Broken,
    /// It opens, but does not read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
}

/// The configured keys: the first wraps, all unwrap.
pub(super) struct MasterKeys(Vec<Key>);

impl MasterKeys {
    /// The current key, and earlier ones.
    pub(super) fn new(current: Key, previous: Vec<Key>) -> Self {
        let mut keys = vec![current];
        keys.extend(previous);
        Self(keys)
    }
}

impl Seal {
    /// Reads the data keys, adds this start's, wraps again what an earlier master key wrapped, and
    /// finds or makes the subject secret. What changes goes into `batch`.
    pub(super) fn open(
        store: &dyn Store,
        batch: &mut Batch,
        masters: &MasterKeys,
        random: &[u8; 32],
        configured_secret: Option<Key>,
    ) -> Result<Self, OpenError> {
        let mut ciphers = HashMap::new();
        let mut current = 0u32;
        for (name, wrapped) in wrapped_keys(store).map_err(|e| OpenError(e.to_string()))? {
            let key = unwrap(masters, &name, &wrapped)?;
            let number = number_of(&name);
            current = current.max(number.saturating_add(1));
            ciphers.insert(number, Aes256Gcm::new((&*key).into()));
            rewrap(masters, batch, &name, &wrapped, &key, random)?;
        }
        let name = data_key_name(current);
        let data_key = Key::new(derive(random, &name));
        batch.put(name.clone(), wrap(masters, &name, &data_key, random)?);
        ciphers.insert(current, Aes256Gcm::new((&*data_key).into()));

        let stored = store.get(SUBJECT_SECRET).map_err(|e| OpenError(e.to_string()))?;
        let subject_secret = match (configured_secret, stored) {
            (Some(secret), _) => secret,
            (None, Some(wrapped)) => {
                let secret = unwrap(masters, SUBJECT_SECRET, &wrapped)?;
                rewrap(masters, batch, SUBJECT_SECRET, &wrapped, &secret, random)?;
                secret
            }
            (None, None) => {
                let secret = Key::new(derive(random, b"subject secret"));
                batch.put(SUBJECT_SECRET.to_vec(), wrap(masters, SUBJECT_SECRET, &secret, random)?);
                secret
            }
        };
        Ok(Self { ciphers, current, counter: AtomicU64::new(0), subject_secret })
    }

    /// The secret of subject keys.
    pub(super) fn subject_secret(&self) -> [u8; 32] {
        *self.subject_secret
    }

    /// The keyed hash of some parts; `domain` keeps kinds apart, lengths keep parts apart.
    pub(super) fn keyed(&self, domain: &str, parts: &[&[u8]]) -> [u8; 16] {
        let mut full = [0u8; 16];
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.subject_secret.as_slice()) else {
            return full;
        };
        for part in std::iter::once(domain.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        for (to, from) in full.iter_mut().zip(mac.finalize().into_bytes()) {
            *to = from;
        }
        full
    }

    /// Seals a text; `key` is the record's key and whatever stands beside it in clear.
    pub(super) fn seal(&self, key: &[&[u8]], text: &[u8]) -> Result<Vec<u8>, StoreError> {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        let cipher = self.ciphers.get(&self.current);
        let aad = key.concat();
        let sealed = cipher
            .and_then(|c| c.encrypt(&nonce(counter), Payload { msg: text, aad: &aad }).ok())
            .ok_or_else(|| StoreError::Failed("a record cannot be sealed".to_owned()))?;
        let mut whole = Vec::with_capacity(HEAD_BYTES + sealed.len());
        whole.push(VERSION);
        whole.extend_from_slice(&self.current.to_be_bytes());
        whole.extend_from_slice(&counter.to_be_bytes());
        whole.extend_from_slice(&sealed);
        Ok(whole)
    }

    /// Opens what [`Seal::seal`] sealed.
    pub(super) fn unseal(&self, key: &[&[u8]], whole: &[u8]) -> Result<Vec<u8>, Unsealed> {
        let (head, sealed) = whole.split_first_chunk::<HEAD_BYTES>().ok_or(Unsealed::Broken)?;
        let [VERSION, k0, k1, k2, k3, counter @ ..] = *head else {
            return Err(Unsealed::Unreadable(
                "it is damaged, or a newer version wrote it".to_owned(),
            ));
        };
        let number = u32::from_be_bytes([k0, k1, k2, k3]);
        let cipher = self.ciphers.get(&number).ok_or(Unsealed::NoKey(number))?;
        let aad = key.concat();
        cipher
            .decrypt(&nonce(u64::from_be_bytes(counter)), Payload { msg: sealed, aad: &aad })
            .map_err(|_| Unsealed::Broken)
    }

    /// Seals a text after compressing it.
    pub(super) fn pack(&self, key: &[&[u8]], text: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.seal(key, &lz4_flex::compress_prepend_size(text))
    }

    /// Opens what [`Seal::pack`] packed.
    pub(super) fn unpack(&self, key: &[&[u8]], whole: &[u8]) -> Result<Vec<u8>, Unsealed> {
        lz4_flex::decompress_size_prepended(&self.unseal(key, whole)?)
            .map_err(|e| Unsealed::Unreadable(e.to_string()))
    }
}

/// Wraps again, while the queue is open, what another master key wrapped. `random`: new bytes.
pub(super) fn rotate(
    store: &dyn Store,
    batch: &mut Batch,
    masters: &MasterKeys,
    random: &[u8; 32],
) -> Result<(), OpenError> {
    let failed = |e: StoreError| OpenError(e.to_string());
    let mut wrapped = wrapped_keys(store).map_err(failed)?;
    if let Some(secret) = store.get(SUBJECT_SECRET).map_err(failed)? {
        wrapped.push((SUBJECT_SECRET.to_vec(), secret));
    }
    // All or none: where one does not unwrap, nothing is changed.
    let mut again = Batch::default();
    for (name, wrapped) in wrapped {
        let key = unwrap(masters, &name, &wrapped)?;
        rewrap(masters, &mut again, &name, &wrapped, &key, random)?;
    }
    batch.extend(again);
    Ok(())
}

fn nonce(counter: u64) -> Nonce<aes_gcm::aead::consts::U12> {
    let [a, b, c, d, e, f, g, h] = counter.to_be_bytes();
    [0, 0, 0, 0, a, b, c, d, e, f, g, h].into()
}

/// A wrapped key's name and bytes.
type Wrapped = (Vec<u8>, Vec<u8>);

fn wrapped_keys(store: &dyn Store) -> Result<Vec<Wrapped>, StoreError> {
    let (from, to) = record::whole(space::DATA_KEY);
    let mut keys = Vec::new();
    store.scan(&from, &to, Direction::Forward, &mut |key, value| {
        keys.push((key.to_vec(), value.to_vec()));
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(keys)
}

fn data_key_name(number: u32) -> Vec<u8> {
    let mut name = vec![space::DATA_KEY];
    name.extend_from_slice(&number.to_be_bytes());
    name
}

fn number_of(name: &[u8]) -> u32 {
    name.get(1..5).and_then(|n| n.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// Rotation: what an earlier master key wrapped is wrapped by the current one.
fn rewrap(
    masters: &MasterKeys,
    batch: &mut Batch,
    name: &[u8],
    wrapped: &[u8],
    key: &Key,
    random: &[u8; 32],
) -> Result<(), OpenError> {
    let by = wrapped.get(1..9);
    if masters.0.first().is_none_or(|master| by != Some(fingerprint(master).as_slice())) {
        batch.put(name.to_vec(), wrap(masters, name, key, random)?);
    }
    Ok(())
}

fn wrap(
    masters: &MasterKeys,
    name: &[u8],
    key: &Key,
    random: &[u8; 32],
) -> Result<Vec<u8>, OpenError> {
    let failed = || OpenError("a data key cannot be wrapped".to_owned());
    let master = masters.0.first().ok_or_else(failed)?;
    // A start wraps a name at most once, and `random` is new at each start: no nonce comes twice.
    let derived = derive(random, &[b"wrap ", name].concat());
    let nonce = derived.first_chunk::<12>().ok_or_else(failed)?;
    let sealed = Aes256Gcm::new((&**master).into())
        .encrypt(&(*nonce).into(), Payload { msg: key.as_slice(), aad: name })
        .map_err(|_| failed())?;
    let mut whole = vec![VERSION];
    whole.extend_from_slice(&fingerprint(master));
    whole.extend_from_slice(nonce);
    whole.extend_from_slice(&sealed);
    Ok(whole)
}

fn unwrap(masters: &MasterKeys, name: &[u8], whole: &[u8]) -> Result<Key, OpenError> {
    let damaged = || OpenError("a wrapped key in the store is damaged".to_owned());
    let (head, sealed) = whole.split_first_chunk::<WRAP_HEAD_BYTES>().ok_or_else(damaged)?;
    let by = head.get(1..9).unwrap_or_default();
    let nonce: [u8; 12] = head.last_chunk().copied().ok_or_else(damaged)?;
    let master = masters.0.iter().find(|master| fingerprint(master) == by).ok_or_else(|| {
        OpenError(
            "the encryption key is not the one with which this data folder was written; nothing \
             is lost: set queue.encryption_key to that key, or list it in queue.previous_keys \
             (where none was configured, it is the file relay.key of the data folder)"
                .to_owned(),
        )
    })?;
    let key = Aes256Gcm::new((&**master).into())
        .decrypt(&nonce.into(), Payload { msg: sealed, aad: name })
        .map_err(|_| damaged())?;
    key.try_into().map(Key::new).map_err(|_| damaged())
}

/// Tells which master key wrapped something, without telling the key.
fn fingerprint(master: &Key) -> [u8; 8] {
    let digest = Sha256::new().chain_update(b"relay master key").chain_update(master).finalize();
    let mut short = [0u8; 8];
    short.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    short
}

/// 32 bytes from random ones, for one purpose.
pub(super) fn derive(random: &[u8; 32], purpose: &[u8]) -> [u8; 32] {
    let mut full = [0u8; 32];
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(random) {
        mac.update(purpose);
        full.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
    }
    full
}
