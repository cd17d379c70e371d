//! `GET /v1/relay.js`: the browser's tag, and with `?m=scroll,forms` its modules. Static: what is
//! served is made of the readable sources beside this file by `build`; nothing is put into it, so
//! that its integrity hash can be written into a page.

use std::sync::{Arc, OnceLock};

use axum::{
    Json, Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha384};

use super::{Relay, auth, error::ApiError};

/// Consent, click ids, sending.
const CORE: &str = include_str!("core.min.js");

/// What is served only where it is asked for, in the order in which it is put together.
const MODULES: [(&str, &str); 5] = [
    ("pages", include_str!("pages.min.js")),
    ("scroll", include_str!("scroll.min.js")),
    ("video", include_str!("video.min.js")),
    ("links", include_str!("links.min.js")),
    ("forms", include_str!("forms.min.js")),
];

/// A version named in the URL never changes.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// Without one, a page has a corrected tag within a day.
const FOR_A_DAY: &str = "public, max-age=86400, stale-while-revalidate=604800";

/// A version that is another relay's: soon to be asked for again.
const FOR_MINUTES: &str = "public, max-age=300";

pub(super) fn routes() -> Router<Arc<Relay>> {
    Router::new().route("/v1/relay.js", get(script)).route("/v1/relay.js.json", get(description))
}

/// The tag with some of its modules.
struct Tag {
    modules: String,
    text: &'static str,
    packed: Bytes,
    /// The first half of its SHA-256.
    version: String,
    /// As a page writes it: `sha384-…`.
    integrity: String,
}

/// Every set of modules, made when it is first asked for.
static TAGS: [OnceLock<Option<Tag>>; 1 << MODULES.len()] =
    [const { OnceLock::new() }; 1 << MODULES.len()];

impl Tag {
    /// The tag that a query asks for with `m`.
    fn of(query: &str) -> Result<&'static Tag, ApiError> {
        let mut set = 0;
        let asked = auth::parameter(query, "m").unwrap_or_default();
        for name in asked.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let Some(at) = MODULES.iter().position(|(known, _)| *known == name) else {
                let known = MODULES.map(|(name, _)| name).join(", ");
                let detail = format!("the tag has no such module; known are {known}");
                return Err(ApiError::not_found(&detail));
            };
            set |= 1 << at;
        }
        let tag = TAGS.get(set).and_then(|tag| tag.get_or_init(|| Self::made(set)).as_ref());
        tag.ok_or_else(|| ApiError::unavailable("internal", "the tag could not be packed", 5))
    }

    fn made(set: usize) -> Option<Self> {
        let (names, sources): (Vec<&str>, Vec<&str>) = MODULES
            .iter()
            .enumerate()
            .filter(|(at, _)| set & (1 << at) != 0)
            .map(|(_, m)| *m)
            .unzip();
        let text = format!("{CORE}{}", sources.concat());
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        std::io::Write::write_all(&mut encoder, text.as_bytes()).ok()?;
        let packed = Bytes::from(encoder.finish().ok()?);
        let hash = Sha256::digest(text.as_bytes());
        Some(Self {
            modules: names.join(","),
            packed,
            version: HEXLOWER.encode(hash.first_chunk::<8>().map_or(&[], |eight| eight.as_slice())),
            integrity: format!("sha384-{}", STANDARD.encode(Sha384::digest(text.as_bytes()))),
            // At most one a set of modules, for as long as the program runs.
            text: Box::leak(text.into_boxed_str()),
        })
    }

    /// Where it is served for good.
    fn path(&self) -> String {
        let modules = match self.modules.as_str() {
            "" => String::new(),
            names => format!("m={names}&"),
        };
        format!("/v1/relay.js?{modules}v={}", self.version)
    }
}

async fn script(request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    match Tag::of(query) {
        Ok(tag) => answer(tag, query, request.headers()),
        Err(error) => error.into_response(),
    }
}

fn answer(tag: &'static Tag, query: &str, headers: &HeaderMap) -> Response {
    let header = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let cached = match auth::parameter(query, "v") {
        None => FOR_A_DAY,
        Some(version) if version == tag.version => FOR_GOOD,
        Some(_) => FOR_MINUTES,
    };
    // Weak: packed and unpacked it is the same.
    let etag = format!("W/\"{}\"", tag.version);
    let is_known = header(header::IF_NONE_MATCH)
        .is_some_and(|known| known.split(',').any(|one| one.trim() == etag || one.trim() == "*"));
    let is_packed = header(header::ACCEPT_ENCODING).is_some_and(takes_gzip);
    let mut response = match (is_known, is_packed) {
        (true, _) => StatusCode::NOT_MODIFIED.into_response(),
        (false, true) => Body::from(tag.packed.clone()).into_response(),
        (false, false) => Body::from(tag.text).into_response(),
    };
    let answered = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, cached),
        (header::VARY, "accept-encoding"),
        // The same bytes for everybody, and without it a page cannot check their integrity.
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        answered.insert(name, HeaderValue::from_static(value));
    }
    answered.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        answered.insert(header::ETAG, etag);
    }
    if is_packed && !is_known {
        answered.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Whether an `Accept-Encoding` takes gzip: named, and not with a weight of nought.
fn takes_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        let weight = weight.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok());
        matches!(name.trim(), "gzip" | "*") && weight != Some(0.0)
    })
}

/// What to write into a page: the versioned path, the integrity hash, the sizes.
async fn description(uri: Uri) -> Response {
    match Tag::of(uri.query().unwrap_or_default()) {
        Ok(tag) => Json(described(tag)).into_response(),
        Err(error) => error.into_response(),
    }
}

fn described(tag: &Tag) -> Value {
    let names: Vec<&str> = tag.modules.split(',').filter(|name| !name.is_empty()).collect();
    json!({
        "path": tag.path(),
        "integrity": tag.integrity,
        "modules": names,
        "bytes": tag.text.len(),
        "gzip_bytes": tag.packed.len(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// Interface: the core's budget, 3 KB packed.
    const BUDGET: usize = 3072;

    #[test]
    fn the_core_keeps_to_its_budget() {
        let core = Tag::of("").ok().unwrap();
        assert!(core.packed.len() <= BUDGET, "{} bytes packed", core.packed.len());
        let all = Tag::of("m=forms,links,video,scroll,pages").ok().unwrap();
        assert!(all.packed.len() <= 4096, "{} bytes packed", all.packed.len());
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&core.packed[..]).read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, core.text);
    }

    /// `build` writes the hashes of what it read: a source that changed since has not been built.
    #[test]
    fn what_is_served_was_made_of_these_sources() {
        let built = include_str!("sources.sha256");
        let sources = [
            ("core", include_str!("core.js")),
            ("scroll", include_str!("scroll.js")),
            ("video", include_str!("video.js")),
            ("links", include_str!("links.js")),
            ("forms", include_str!("forms.js")),
            ("pages", include_str!("pages.js")),
        ];
        assert_eq!(built.lines().count(), sources.len());
        assert_eq!(sources.len(), MODULES.len() + 1);
        for (name, source) in sources {
            let hash = HEXLOWER.encode(&Sha256::digest(source.as_bytes()));
            let line = format!("{hash}  {name}.js");
            assert!(built.lines().any(|known| known == line), "run src/http/tag/build: {name}.js");
        }
    }

    #[test]
    fn a_set_of_modules_is_one_tag_whatever_the_order() {
        let (one, other) =
            (Tag::of("m=scroll,forms").ok().unwrap(), Tag::of("m=forms,%20scroll,").ok().unwrap());
        assert_eq!((one.path(), &one.integrity), (other.path(), &other.integrity));
        assert_eq!(one.modules, "scroll,forms");
        assert_ne!(one.integrity, Tag::of("").ok().unwrap().integrity);
        let unknown = Tag::of("m=scroll,evil").err().unwrap();
        assert!(
            unknown.status == StatusCode::NOT_FOUND && unknown.detail.contains("pages, scroll")
        );
    }

    #[test]
    fn caches_and_encodings() {
        let tag = Tag::of("").ok().unwrap();
        let with = |query: &str, pairs: &[(header::HeaderName, &str)]| {
            let headers: HeaderMap =
                pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            let response = answer(tag, query, &headers);
            let text = |name| {
                response.headers().get(name).map_or("", |v: &HeaderValue| v.to_str().unwrap())
            };
            (
                response.status().as_u16(),
                text(header::CACHE_CONTROL).to_owned(),
                text(header::CONTENT_ENCODING).to_owned(),
            )
        };
        let version = format!("v={}", tag.version);
        let own =
            |status, cached: &str, encoding: &str| (status, cached.to_owned(), encoding.to_owned());
        assert_eq!(with("", &[]), own(200, FOR_A_DAY, ""));
        assert_eq!(with(&version, &[]), own(200, FOR_GOOD, ""));
        assert_eq!(with("v=0", &[]), own(200, FOR_MINUTES, ""));
        for (accepted, encoding) in
            [("gzip, br", "gzip"), ("br;q=1.0, *;q=0.1", "gzip"), ("gzip;q=0, br", ""), ("br", "")]
        {
            let accepted = [(header::ACCEPT_ENCODING, accepted)];
            assert_eq!(with("", &accepted), own(200, FOR_A_DAY, encoding), "{accepted:?}");
        }
        let etag = format!("W/\"{}\"", tag.version);
        let known = [(header::IF_NONE_MATCH, etag.as_str()), (header::ACCEPT_ENCODING, "gzip")];
        assert_eq!(with("", &known), own(304, FOR_A_DAY, ""));
    }
}
