//! A request, and the document in it.

use serde_json::Value;

use super::{
    contract::{BodyFormat, Route},
    violation::{Kind, Violation},
};

/// A request as the platform gets it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `POST` or `GET`.
    pub method: &'a str,
    /// Whole URL, at the vendor's host or below the sandbox's `/PLATFORM`; or its path.
    pub url: &'a str,
    /// Headers.
    pub headers: &'a [(String, String)],
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// A header's value.
    pub(super) fn header(&self, name: &str) -> Option<&'a str> {
        let found = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// An object of texts.
pub(super) fn object<'v>(pairs: impl Iterator<Item = (String, &'v String)>) -> Value {
    Value::Object(pairs.map(|(name, value)| (name, Value::String(value.clone()))).collect())
}

/// The path below the platform's base and the decoded query.
pub(super) fn split_url<'u>(platform: &str, url: &'u str) -> (&'u str, Vec<(String, String)>) {
    let below_host = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => url,
    };
    let (path, query) = below_host.split_once('?').unwrap_or((below_host, ""));
    let base = path.strip_prefix('/').and_then(|path| path.strip_prefix(platform));
    let path = match base {
        Some("") => "/",
        Some(below) if below.starts_with('/') => below,
        _ => path,
    };
    (path, url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
}

/// Reads a request's document: its body or, where there is none, its query.
pub(super) fn read(
    route: &Route,
    request: Request<'_>,
    query: &[(String, String)],
) -> Result<Value, Violation> {
    let wrong = |kind, text: &str| Violation::of_request(kind, "", text);
    if route.max_bytes.is_some_and(|most| request.body.len() > most) {
        return Err(wrong(Kind::TooLarge, "the body is too large"));
    }
    let header = |name: &str| {
        request.header(name).map(|value| value.split(';').next().unwrap_or_default().trim())
    };
    if header("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err(wrong(Kind::Malformed, "a compressed body is not taken"));
    }
    let kind = header("content-type").unwrap_or_default();
    let taken = |wanted: &String| wanted.eq_ignore_ascii_case(kind);
    if !route.content_types.is_empty() && !route.content_types.iter().any(taken) {
        return Err(wrong(Kind::Malformed, "the content type is not taken"));
    }
    match route.body {
        BodyFormat::Query => Ok(object(query.iter().map(|(k, v)| (k.clone(), v)))),
        BodyFormat::Form => {
            let pairs = url::form_urlencoded::parse(request.body);
            Ok(Value::Object(pairs.into_owned().map(|(k, v)| (k, Value::String(v))).collect()))
        }
        BodyFormat::Json => serde_json::from_slice(request.body)
            .map_err(|error| wrong(Kind::Malformed, &format!("the body is no JSON: {error}"))),
    }
}
