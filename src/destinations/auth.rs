//! What proves to a platform who we are. Only what is needed: how tokens are got is delivery's.

use secrecy::SecretString;

/// What proves who we are.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Nothing.
    None,
    /// `Authorization: Bearer TOKEN`.
    Bearer(SecretString),
    /// A header of the platform's own.
    Header {
        /// Lower-case.
        name: &'static str,
        /// The token.
        value: SecretString,
    },
    /// A parameter of the query.
    Query {
        /// Its name.
        name: &'static str,
        /// The token.
        value: SecretString,
    },
    /// `Authorization: Basic`.
    Basic {
        /// `user:password`.
        credentials: SecretString,
    },
    /// The body signed: `HEADER: sha256=HEX`.
    HmacSha256 {
        /// Lower-case.
        header: &'static str,
        /// The key.
        secret: SecretString,
    },
    /// `Authorization: OAuth`: OAuth 1.0a, signed with HMAC-SHA1 (RFC 5849).
    OAuth1 {
        /// The application.
        consumer_key: SecretString,
        /// Its secret.
        consumer_secret: SecretString,
        /// The user's token.
        token: SecretString,
        /// Its secret.
        token_secret: SecretString,
    },
    /// OAuth 2.0 with a refresh token.
    OAuthRefresh {
        /// Where tokens are had.
        token_url: String,
        /// The application.
        client_id: String,
        /// Its secret.
        client_secret: SecretString,
        /// The grant.
        refresh_token: SecretString,
        /// More fields of the form, such as a scope.
        extra: Vec<(&'static str, String)>,
    },
    /// OAuth 2.0 with a refresh token that is replaced by another whenever it is used. The new one
    /// is kept durably before its access token is used; the configured one is where it begins.
    OAuthRotating {
        /// Where tokens are had.
        token_url: String,
        /// The application.
        client_id: String,
        /// Its secret, where it has one.
        client_secret: Option<SecretString>,
        /// The first grant.
        refresh_token: SecretString,
        /// More fields of the form, such as a scope.
        extra: Vec<(&'static str, String)>,
        /// Other secrets that each call shows: header (lower-case) and value.
        headers: Vec<(&'static str, SecretString)>,
    },
    /// OAuth 2.0 with a Google service account's key (JSON).
    ServiceAccount {
        /// Where tokens are had.
        token_url: String,
        /// The key file's text.
        key: SecretString,
        /// Which API.
        scope: &'static str,
    },
}
