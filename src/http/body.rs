//! Bodies of requests: read whole, within limits of size and time, unpacked.

use std::{io::Read as _, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use zeroize::Zeroizing;

use super::{
    connections::{Cut, Hold},
    error::ApiError,
};
use crate::config::Limits;

/// Of a refused body so much is taken in, and for so long.
const DRAINED_BYTES: usize = 64 << 20;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How large a body may be, packed and unpacked.
#[derive(Debug, Clone, Copy)]
pub(super) struct AtMost {
    bytes: usize,
    /// The setting that says so; none for what nobody may change.
    setting: Option<&'static str>,
}

impl AtMost {
    /// A request of many events.
    pub(super) fn request(limits: &Limits) -> Self {
        Self { bytes: limits.request_bytes, setting: Some("limits.request_bytes") }
    }

    /// One event.
    pub(super) fn event(limits: &Limits) -> Self {
        Self { bytes: limits.event_bytes, setting: Some("limits.event_bytes") }
    }

    /// So much, whatever the settings say.
    pub(super) fn always(bytes: usize) -> Self {
        Self { bytes, setting: None }
    }
}

/// Reads a body within its bound.
pub(super) async fn read(
    body: &mut Body,
    headers: &HeaderMap,
    at_most: AtMost,
) -> Result<Read, ApiError> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length.and_then(|text| text.parse::<usize>().ok()).is_some_and(|bytes| bytes > at_most.bytes)
    {
        return Err(too_large(at_most));
    }
    let encoding = Encoding::of(headers)?;
    // As large as it says, so that no copy is left where it would have grown.
    let expected = length.and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut read = Read::new(Vec::with_capacity(expected));
    let mut body = Limited::new(body, at_most.bytes);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            if error.is::<LengthLimitError>() {
                too_large(at_most)
            } else {
                unread(Cut::among(&*error))
            }
        })?;
        let Some(data) = frame.data_ref() else { continue };
        Hold::take(data.len()).map_err(|cut| unread(Some(cut)))?;
        read.extend_from_slice(data);
    }
    match encoding {
        Encoding::None => Ok(read),
        Encoding::Gzip => {
            let unpacked = unpack(&read, at_most)?;
            Hold::take(unpacked.len()).map_err(|cut| unread(Some(cut)))?;
            Ok(unpacked)
        }
    }
}

/// A body that was read, which may hold identity in clear: overwritten when it has been answered.
/// What the connection's own buffer held of it is overwritten by the next request.
pub(super) type Read = Zeroizing<Vec<u8>>;

fn unread(cut: Option<Cut>) -> ApiError {
    match cut {
        Some(slow @ Cut::TooSlow(_)) => {
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", slow.to_string())
        }
        Some(Cut::NoRoom) => ApiError::unavailable("overloaded", Cut::NoRoom.to_string(), 1),
        None => ApiError::bad_request("incomplete_body", "the body ended before its end"),
    }
}

/// Takes in what is left of a refused body, within bounds, and keeps nothing of it: a client that
/// is still writing would see a broken connection instead of the answer.
pub(super) async fn drain(mut body: Body, headers: &HeaderMap) {
    // Who asks before sending has nothing on the way, and must not be told to go on.
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let rest = async {
        let mut left = DRAINED_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    // Past the time the connection is simply closed.
    _ = tokio::time::timeout(DRAIN_TIMEOUT, rest).await;
}

enum Encoding {
    None,
    Gzip,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(Encoding::None) };
        match value.to_str().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Encoding::None),
            "gzip" | "x-gzip" => Ok(Encoding::Gzip),
            _ => Err(ApiError::unsupported("Content-Encoding may be gzip or identity")),
        }
    }
}

/// Unpacks no further than the limit, however well the body was packed.
fn unpack(packed: &[u8], at_most: AtMost) -> Result<Read, ApiError> {
    let mut unpacked = Read::default();
    let bound = u64::try_from(at_most.bytes).unwrap_or(u64::MAX).saturating_add(1);
    let read = flate2::read::MultiGzDecoder::new(packed).take(bound).read_to_end(&mut unpacked);
    if read.is_err() {
        let detail = "Content-Encoding says gzip, and the body is not valid gzip";
        return Err(ApiError::bad_request("malformed_gzip", detail));
    }
    if unpacked.len() > at_most.bytes {
        return Err(too_large(at_most));
    }
    Ok(unpacked)
}

fn too_large(AtMost { bytes, setting }: AtMost) -> ApiError {
    let by = setting.map(|setting| format!(" ({setting})")).unwrap_or_default();
    ApiError::too_large(format!(
        "this body may have {bytes} bytes, unpacked{by}; send smaller ones"
    ))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    async fn status(bytes: Vec<u8>, pairs: &[(header::HeaderName, &str)]) -> Result<Vec<u8>, u16> {
        let read = read(&mut Body::from(bytes), &headers(pairs), AtMost::always(1000)).await;
        read.map(|bytes| bytes.to_vec()).map_err(|error| error.status.as_u16())
    }

    #[test]
    fn a_refusal_names_the_setting_that_would_have_to_change() {
        let limits =
            Limits { request_bytes: 2000, event_bytes: 300, events_per_request: 2, nesting: 4 };
        let told = |at_most| too_large(at_most).detail;
        assert!(told(AtMost::request(&limits)).contains("2000 bytes, unpacked (limits.request_b"));
        assert!(told(AtMost::event(&limits)).contains("300 bytes, unpacked (limits.event_b"));
        assert!(!told(AtMost::always(5)).contains("limits."));
    }

    #[tokio::test]
    async fn bodies_are_read_within_limits() {
        let gzip = [(header::CONTENT_ENCODING, "gzip")];
        assert_eq!(status(b"abc".to_vec(), &[]).await, Ok(b"abc".to_vec()));
        assert_eq!(status(pack(b"abc"), &gzip).await, Ok(b"abc".to_vec()));
        assert_eq!(status(vec![0; 1001], &[]).await, Err(413));
        assert_eq!(status(vec![0; 1000], &[]).await.map(|b| b.len()), Ok(1000));
        assert_eq!(status(Vec::new(), &[(header::CONTENT_LENGTH, "9999999")]).await, Err(413));
        assert_eq!(status(pack(&vec![0; 900_000]), &gzip).await, Err(413), "a bomb");
        assert_eq!(status(b"abc".to_vec(), &gzip).await, Err(400));
        let cut = pack(b"abcdefgh");
        assert_eq!(status(cut[..cut.len() - 4].to_vec(), &gzip).await, Err(400));
        assert_eq!(status(b"x".to_vec(), &[(header::CONTENT_ENCODING, "br")]).await, Err(415));
    }
}
