//! The grant of a user, as OAuth 2.0's refresh tokens have it: the keys that platforms with one
//! share, and how they are read.

use secrecy::SecretString;

use super::{Auth, Key, KeyKind, Problem, Settings};

/// Who asks.
pub(super) const CLIENT_ID: Key = Key::new("client_id", KeyKind::Text, "the OAuth application");

/// What it proves itself by.
pub(super) const CLIENT_SECRET: Key = Key::new("client_secret", KeyKind::Secret, "its secret");

/// What a user granted it.
pub(super) const REFRESH_TOKEN: Key =
    Key::new("refresh_token", KeyKind::Secret, "the grant of a user of the account");

/// The three of them; the secret of an application that may be public is `None` where it is.
#[derive(Debug, Clone)]
pub(super) struct UserGrant<S = SecretString> {
    pub(super) client_id: String,
    pub(super) client_secret: S,
    pub(super) refresh_token: SecretString,
}

impl UserGrant {
    /// Reads all three, or adds a problem for each that is missing.
    pub(super) fn read(settings: &Settings, problems: &mut Vec<Problem>) -> Self {
        Self {
            client_id: settings.required_text(CLIENT_ID.name, problems),
            client_secret: settings.required_secret(CLIENT_SECRET.name, problems),
            refresh_token: settings.required_secret(REFRESH_TOKEN.name, problems),
        }
    }

    /// For a token service that leaves the refresh token as it is.
    pub(super) fn auth(&self, token_url: String) -> Auth {
        Auth::OAuthRefresh {
            token_url,
            client_id: self.client_id.clone(),
            client_secret: self.client_secret.clone(),
            refresh_token: self.refresh_token.clone(),
            extra: Vec::new(),
        }
    }
}

impl UserGrant<Option<SecretString>> {
    /// The same of an application that may be public.
    pub(super) fn read_of_any(settings: &Settings, problems: &mut Vec<Problem>) -> Self {
        Self {
            client_id: settings.required_text(CLIENT_ID.name, problems),
            client_secret: settings.secret(CLIENT_SECRET.name),
            refresh_token: settings.required_secret(REFRESH_TOKEN.name, problems),
        }
    }
}
