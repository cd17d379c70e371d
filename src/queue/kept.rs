//! Small sealed records that others keep here, by name: what they mean is not the queue's affair.

use super::{
    record::{self, space},
    seal::Seal,
    store::{Batch, Store, StoreError},
};

/// Puts a record in place of the one before.
pub(super) fn write(
    store: &dyn Store,
    batch: &mut Batch,
    seal: &Seal,
    name: &str,
    text: &[u8],
) -> Result<(), StoreError> {
    let key = key(name);
    let before = record::get(store, &key)?.map_or(0, |(pieces, _)| pieces);
    let sealed = seal.seal(&[&key], text)?;
    record::replace(batch, &key, &sealed, before);
    Ok(())
}

/// What is kept under a name.
pub(super) fn read(
    store: &dyn Store,
    seal: &Seal,
    name: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    let key = key(name);
    let Some((_, sealed)) = record::get(store, &key)? else { return Ok(None) };
    match seal.unseal(&[&key], &sealed) {
        Ok(text) => Ok(Some(text)),
        Err(why) => {
            tracing::error!("a kept record is set aside: {why}");
            Ok(None)
        }
    }
}

/// The name's length keeps one name from being the beginning of another's pieces.
fn key(name: &str) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
    let mut key = vec![space::KEPT];
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(name.as_bytes());
    key
}
