//! OAuth 1.0a with HMAC-SHA1 (RFC 5849): the `Authorization` header of one request. Pure: the time
//! and the nonce are arguments, so that a retry is signed anew.
//!
//! What is signed: the method, the URL that is really called (its host counts), the parameters of
//! the query, of a form's body and of the header itself. A JSON body is not signed.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;
use url::{Url, form_urlencoded};

/// RFC 5849, section 3.6: all but these is written as `%XX` in capitals.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The four parts of the credentials, in clear for as long as they sign.
pub(super) struct Keys<'a> {
    pub(super) consumer_key: &'a str,
    pub(super) consumer_secret: &'a str,
    pub(super) token: &'a str,
    pub(super) token_secret: &'a str,
}

/// What is signed of a request.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a str,
    /// The body, where it is a form.
    pub(super) form: Option<&'a [u8]>,
}

/// The header's value; `None` where the URL cannot be read, which the client refuses anyhow.
pub(super) fn header(
    keys: &Keys<'_>,
    request: &Request<'_>,
    seconds: i64,
    nonce: &str,
) -> Option<String> {
    let seconds = seconds.to_string();
    let own = [
        ("oauth_consumer_key", keys.consumer_key),
        ("oauth_nonce", nonce),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", seconds.as_str()),
        ("oauth_token", keys.token),
        ("oauth_version", "1.0"),
    ];
    let signature = signature(keys, request, &own)?;
    let mut header = "OAuth ".to_owned();
    for (name, value) in own.iter().copied().chain([("oauth_signature", signature.as_str())]) {
        if !header.ends_with(' ') {
            header.push_str(", ");
        }
        header.push_str(&format!("{name}=\"{}\"", escape(value)));
    }
    Some(header)
}

/// RFC 5849, section 3.4.
fn signature(keys: &Keys<'_>, request: &Request<'_>, own: &[(&str, &str)]) -> Option<String> {
    let mut url = Url::parse(request.url).ok()?;
    let form = form_urlencoded::parse(request.form.unwrap_or_default());
    let mut pairs: Vec<(String, String)> = url
        .query_pairs()
        .chain(form)
        .map(|(name, value)| (escape(&name), escape(&value)))
        .chain(own.iter().map(|(name, value)| (escape(name), escape(value))))
        .collect();
    // By name, then by value, both as escaped (section 3.4.1.3.2): a text of both would put
    // `a=` behind `a2=`.
    pairs.sort();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    // Scheme and host in lower case and no default port, as the parser leaves them (3.4.1.2).
    url.set_query(None);
    url.set_fragment(None);
    let base = format!(
        "{}&{}&{}",
        request.method.to_ascii_uppercase(),
        escape(url.as_str()),
        escape(&pairs.join("&")),
    );
    let key = format!("{}&{}", escape(keys.consumer_secret), escape(keys.token_secret));
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
    Some(BASE64_STANDARD.encode(hmac::sign(&key, base.as_bytes())))
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Keys<'_> =
        Keys { consumer_key: "ck", consumer_secret: "cs", token: "tk", token_secret: "ts" };

    /// RFC 5849, section 1.2: the photos are asked for. Its example has no `oauth_version`.
    #[test]
    fn the_standards_own_example() {
        let keys = Keys {
            consumer_key: "dpf43f3p2l4k3l03",
            consumer_secret: "kd94hf93k423kf44",
            token: "nnch734d00sl2jdk",
            token_secret: "pfkkdhi9sl3r4s00",
        };
        let request = Request {
            method: "GET",
            url: "http://photos.example.net/photos?file=vacation.jpg&size=original",
            form: None,
        };
        let own = [
            ("oauth_consumer_key", keys.consumer_key),
            ("oauth_token", keys.token),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", "137131202"),
            ("oauth_nonce", "chapoH"),
        ];
        let found = signature(&keys, &request, &own);
        assert_eq!(found.as_deref(), Some("MdpQcU8iPSUjWoN/UDMsK2sui9I="));
    }

    /// X's page "Creating a signature" (2026-11-22): a form, whose fields are signed; its keys are
    /// disabled. The older host gives another signature.
    #[test]
    fn the_vendors_own_example() {
        let keys = Keys {
            consumer_key: "xvz1evFS4wEEPTGEFPHBog",
            consumer_secret: "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw",
            token: "370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb",
            token_secret: "LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE",
        };
        let form = b"status=Hello%20Ladies%20%2b%20Gentlemen%2c%20a%20signed%20OAuth%20request%21";
        for (host, expected) in [
            ("api.x.com", "Ls93hJiZbQ3akF3HF3x1Bz8/zU4="),
            ("api.twitter.com", "hCtSmYh+iHYCEqBWrE7C7hYmtUk="),
        ] {
            let url = format!("https://{host}/1.1/statuses/update.json?include_entities=true");
            let request = Request { method: "POST", url: &url, form: Some(form) };
            let nonce = "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg";
            let header = header(&keys, &request, 1_318_622_958, nonce).unwrap();
            let signature = escape(expected);
            assert!(header.ends_with(&format!(", oauth_signature=\"{signature}\"")), "{header}");
        }
    }

    #[test]
    fn a_json_body_is_not_signed_and_the_header_is_whole() {
        let url = "https://ads-api.x.com/12/measurement/conversions/o8z6j";
        let request = Request { method: "POST", url, form: None };
        let expected = "OAuth oauth_consumer_key=\"ck\", oauth_nonce=\"abc123\", \
            oauth_signature_method=\"HMAC-SHA1\", oauth_timestamp=\"1700000000\", \
            oauth_token=\"tk\", oauth_version=\"1.0\", \
            oauth_signature=\"bFugzAaPhzn9J8nDQYKst1lOUv4%3D\"";
        let found = header(&KEYS, &request, 1_700_000_000, "abc123");
        assert_eq!(found.as_deref(), Some(expected));
        // What the standard takes for the same URL.
        let same = Request {
            url: "HTTPS://Ads-API.x.com:443/12/measurement/conversions/o8z6j#x",
            ..request
        };
        assert_eq!(header(&KEYS, &same, 1_700_000_000, "abc123"), found);
        let other = Request { url: "no URL", ..same };
        assert_eq!(header(&KEYS, &other, 1_700_000_000, "abc123"), None);
    }

    #[test]
    fn names_are_sorted_before_values() {
        let of = |query: &str| {
            let url = format!("https://a.example/?{query}");
            signature(&KEYS, &Request { method: "GET", url: &url, form: None }, &[])
        };
        assert_eq!(of("a=2&a=1&a2=x&a%3D=y"), of("a%3D=y&a2=x&a=1&a=2"));
        assert_ne!(of("a=1"), of("a=%31%20"));
    }
}
