//! A call and what proves who we are → the request that goes out. Pure.
//!
//! Where a token is needed it is an argument: [`super::token`] gets it. So is what makes a request
//! the only one of its kind: [`Fresh`].

use base64::{Engine as _, prelude::BASE64_STANDARD};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::oauth1;
use crate::destinations::{Auth, Call};

/// What is drawn anew for every attempt: retries too have a time and a nonce of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fresh {
    /// The time.
    pub now: Timestamp,
    /// Letters and digits that never come again.
    pub nonce: String,
}

impl Fresh {
    /// Of this time and these random bytes.
    pub fn of(now: Timestamp, random: [u8; 16]) -> Self {
        Self { now, nonce: HEXLOWER.encode(&random) }
    }
}

/// A request with its credentials; never logged, so that it has no `Debug` of its contents.
pub struct Signed {
    /// `POST` or `GET`.
    pub method: &'static str,
    /// Whole URL; may hold a token.
    pub url: String,
    /// Headers.
    pub headers: Vec<Header>,
    /// The body.
    pub body: Vec<u8>,
}

/// One header.
pub struct Header {
    /// Lower-case.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Must not be shown by anything on the way.
    pub is_secret: bool,
}

impl std::fmt::Debug for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signed({} of {} bytes)", self.method, self.body.len())
    }
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Header({})", self.name)
    }
}

/// Signs a call. `token` is the access token of the OAuth kinds; without one such a call goes out
/// unsigned, and is refused by the platform.
pub fn sign(call: &Call, auth: &Auth, token: Option<&SecretString>, fresh: &Fresh) -> Signed {
    let plain = |(name, value): &(String, String)| Header {
        name: name.clone(),
        value: value.clone(),
        is_secret: false,
    };
    let mut signed = Signed {
        method: call.method,
        url: call.url.clone(),
        headers: call.headers.iter().map(plain).collect(),
        body: call.body.clone(),
    };
    let mut secret = |name: &str, value: String| {
        signed.headers.push(Header { name: name.to_owned(), value, is_secret: true });
    };
    match auth {
        Auth::None => {}
        Auth::Bearer(token) => secret("authorization", bearer(token)),
        Auth::Header { name, value } => secret(name, value.expose_secret().to_owned()),
        Auth::Query { name, value } => {
            // A URL that cannot be read goes out as it is; the client refuses it.
            if let Ok(mut url) = Url::parse(&signed.url) {
                url.query_pairs_mut().append_pair(name, value.expose_secret());
                signed.url = url.into();
            }
        }
        Auth::Basic { credentials } => {
            let encoded = BASE64_STANDARD.encode(credentials.expose_secret());
            secret("authorization", format!("Basic {encoded}"));
        }
        Auth::HmacSha256 { header, secret: key } => {
            secret(header, format!("sha256={}", hmac_hex(key, &call.body)));
        }
        Auth::OAuth1 { consumer_key, consumer_secret, token, token_secret } => {
            let keys = oauth1::Keys {
                consumer_key: consumer_key.expose_secret(),
                consumer_secret: consumer_secret.expose_secret(),
                token: token.expose_secret(),
                token_secret: token_secret.expose_secret(),
            };
            let is_form = call.headers.iter().any(|(name, value)| {
                name == "content-type" && value.starts_with("application/x-www-form-urlencoded")
            });
            let form = is_form.then_some(call.body.as_slice());
            let request = oauth1::Request { method: call.method, url: &call.url, form };
            if let Some(header) =
                oauth1::header(&keys, &request, fresh.now.as_second(), &fresh.nonce)
            {
                secret("authorization", header);
            }
        }
        Auth::OAuthRefresh { .. } | Auth::ServiceAccount { .. } => {
            if let Some(token) = token {
                secret("authorization", bearer(token));
            }
        }
        Auth::OAuthRotating { headers, .. } => {
            if let Some(token) = token {
                secret("authorization", bearer(token));
            }
            for (name, value) in headers {
                secret(name, value.expose_secret().to_owned());
            }
        }
    }
    signed
}

fn bearer(token: &SecretString) -> String {
    format!("Bearer {}", token.expose_secret())
}

fn hmac_hex(key: &SecretString, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose_secret().as_bytes());
    let tag = hmac::sign(&key, body);
    HEXLOWER.encode(tag.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destinations::CallPurpose;

    fn call() -> Call {
        Call {
            purpose: CallPurpose::Send,
            method: "POST",
            url: "https://hooks.example.com/in?a=1".to_owned(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: b"what do ya want for nothing?".to_vec(),
            members: vec![0],
        }
    }

    fn fresh() -> Fresh {
        Fresh::of(Timestamp::from_second(1_700_000_000).unwrap(), [0xa7; 16])
    }

    fn header(auth: &Auth, token: Option<&str>) -> (String, String) {
        let token = token.map(SecretString::from);
        let signed = sign(&call(), auth, token.as_ref(), &fresh());
        let header = signed.headers.into_iter().find(|header| header.is_secret).unwrap();
        (header.name, header.value)
    }

    #[test]
    fn each_kind_proves_itself_in_its_way() {
        let secret = |text: &str| SecretString::from(text);
        let bearer = header(&Auth::Bearer(secret("t0")), None);
        assert_eq!(bearer, ("authorization".to_owned(), "Bearer t0".to_owned()));
        let own = header(&Auth::Header { name: "access-token", value: secret("t1") }, None);
        assert_eq!(own, ("access-token".to_owned(), "t1".to_owned()));
        let basic = header(&Auth::Basic { credentials: secret("user:pass") }, None);
        assert_eq!(basic.1, "Basic dXNlcjpwYXNz");
        // RFC 4231, test case 2.
        let auth = Auth::HmacSha256 { header: "x-signature", secret: secret("Jefe") };
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(header(&auth, None), ("x-signature".to_owned(), expected.to_owned()));
    }

    #[test]
    fn oauth1_signs_with_the_attempts_own_time_and_nonce() {
        let key = |text: &str| SecretString::from(text);
        let auth = Auth::OAuth1 {
            consumer_key: key("ck"),
            consumer_secret: key("hidden-1"),
            token: key("tk"),
            token_secret: key("hidden-2"),
        };
        let (name, value) = header(&auth, None);
        assert_eq!(name, "authorization");
        let nonce = "a7".repeat(16);
        assert!(value.contains(&format!("oauth_nonce=\"{nonce}\"")), "{value}");
        assert!(value.contains("oauth_timestamp=\"1700000000\""), "{value}");
        assert!(!value.contains("hidden"), "a secret is shown: {value}");
    }

    #[test]
    fn a_token_in_the_query_is_escaped_and_kept_beside_what_is_there() {
        let auth = Auth::Query { name: "access_token", value: SecretString::from("a b&c") };
        let signed = sign(&call(), &auth, None, &fresh());
        assert_eq!(signed.url, "https://hooks.example.com/in?a=1&access_token=a+b%26c");
        assert!(!format!("{signed:?}{:?}", signed.headers).contains("a+b"));
    }
}
