//! Signatures of webhooks, over the raw bytes, in constant time, before anything of them is parsed.
//!
//! <https://shopify.dev/docs/apps/build/webhooks/verify-deliveries>,
//! <https://docs.stripe.com/webhooks?verify=verify-manually#verify-manually> (checked 2026-11-22).

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::{HmacSettings, SignatureEncoding, WebhookKind, WebhookSource};

/// Why a delivery is refused. Says nothing that helps a forger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// No header with a signature.
    #[error("the signature is missing")]
    Missing,
    /// Not what the secret makes of the body.
    #[error("the signature does not fit the body")]
    Wrong,
    /// Signed too long ago, or in the future.
    #[error("the timestamp is missing, too old or in the future")]
    Old,
}

/// Holds a delivery against its signature. What comes back tells this delivery from every other: the
/// same bytes sent again are the same delivery, whatever headers they bear, since those are not
/// signed.
pub fn verify<'h>(
    source: &WebhookSource,
    header: &dyn Fn(&str) -> Option<&'h str>,
    body: &[u8],
    now: Timestamp,
) -> Result<Vec<u8>, Unsigned> {
    match source.kind {
        WebhookKind::Shopify => {
            let given = header("x-shopify-hmac-sha256").ok_or(Unsigned::Missing)?;
            let given = base64::engine::general_purpose::STANDARD.decode(given.trim());
            check(&source.secret, &[body], &given.map_err(|_| Unsigned::Wrong)?)?;
            if let Some(at) = header("x-shopify-triggered-at") {
                fresh(at.trim().parse().ok(), source, now)?;
            }
            // The topic is not signed, so it tells no two deliveries apart; but that an order was
            // paid may rightly come with the body of its creation, and is the same event.
            let is_paid = header("x-shopify-topic").is_some_and(|topic| topic == "orders/paid");
            let paid: &[u8] = if is_paid { b"orders/paid\0" } else { b"" };
            Ok(digest(&[paid, body]))
        }
        WebhookKind::Stripe => {
            let given = header("stripe-signature").ok_or(Unsigned::Missing)?;
            let parts = || given.split(',').filter_map(|part| part.trim().split_once('='));
            let time = parts().find(|(key, _)| *key == "t").map(|(_, time)| time);
            let time = time.ok_or(Unsigned::Old)?;
            // One for each secret that is valid while one is replaced.
            let mut result = Err(Unsigned::Missing);
            for (_, signature) in parts().filter(|(key, _)| *key == "v1") {
                let checked = unhex(signature).ok_or(Unsigned::Wrong).and_then(|given| {
                    check(&source.secret, &[time.as_bytes(), b".", body], &given)
                });
                if result != Ok(()) {
                    result = checked;
                }
            }
            result?;
            fresh(seconds(time), source, now)?;
            Ok(digest(&[body]))
        }
        WebhookKind::Hmac => generic(source, &source.hmac, header, body, now),
    }
}

fn generic<'h>(
    source: &WebhookSource,
    settings: &HmacSettings,
    header: &dyn Fn(&str) -> Option<&'h str>,
    body: &[u8],
    now: Timestamp,
) -> Result<Vec<u8>, Unsigned> {
    let given = header(&settings.header).ok_or(Unsigned::Missing)?.trim();
    let given = given.strip_prefix(settings.prefix.as_str()).ok_or(Unsigned::Wrong)?;
    let given = match settings.encoding {
        SignatureEncoding::Hex => unhex(given),
        SignatureEncoding::Base64 => base64::engine::general_purpose::STANDARD.decode(given).ok(),
    };
    let given = given.ok_or(Unsigned::Wrong)?;
    match &settings.timestamp_header {
        None => check(&source.secret, &[body], &given)?,
        Some(name) => {
            let time = header(name).ok_or(Unsigned::Old)?.trim();
            // A time that is not signed could be written by anybody.
            check(&source.secret, &[time.as_bytes(), b".", body], &given)?;
            fresh(seconds(time).or_else(|| time.parse().ok()), source, now)?;
        }
    }
    Ok(digest(&[body]))
}

fn check(secret: &SecretString, parts: &[&[u8]], given: &[u8]) -> Result<(), Unsigned> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        .map_err(|_| Unsigned::Wrong)?;
    parts.iter().for_each(|part| mac.update(part));
    let own = mac.finalize().into_bytes();
    // An empty secret would be a door without a lock.
    let is_set = !secret.expose_secret().is_empty();
    if is_set && bool::from(own.as_slice().ct_eq(given)) { Ok(()) } else { Err(Unsigned::Wrong) }
}

fn fresh(at: Option<Timestamp>, source: &WebhookSource, now: Timestamp) -> Result<(), Unsigned> {
    let at = at.ok_or(Unsigned::Old)?;
    let tolerance = SignedDuration::try_from(source.tolerance).unwrap_or(SignedDuration::MAX);
    if now.duration_since(at).abs() > tolerance { Err(Unsigned::Old) } else { Ok(()) }
}

/// Epoch seconds, or milliseconds by their size.
fn seconds(text: &str) -> Option<Timestamp> {
    let number: i64 = text.parse().ok()?;
    if number.abs() < 100_000_000_000 {
        Timestamp::from_second(number).ok()
    } else {
        Timestamp::from_millisecond(number).ok()
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim().as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
            _ => None,
        })
        .collect()
}

fn digest(parts: &[&[u8]]) -> Vec<u8> {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().to_vec()
}
