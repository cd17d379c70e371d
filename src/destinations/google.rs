//! What Google's advertising APIs share in their settings: accounts, credentials, conversion
//! actions.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::{Auth, Entry, Problem, Settings};

/// Ten digits; dashes are how people write them (googleapis, `google/ads/datamanager/v1`,
/// destination; checked 2026-11-22).
pub(super) fn account(key: &str, id: &str, problems: &mut Vec<Problem>) -> String {
    let digits: String = id.chars().filter(|c| *c != '-').collect();
    if !id.is_empty() && (digits.len() != 10 || !digits.bytes().all(|b| b.is_ascii_digit())) {
        problems.push(Problem::new(key, "must be the account's ten digits, such as 123-456-7890"));
    }
    digits
}

/// A user's grant, or a service account.
#[derive(Debug)]
pub(super) enum Credentials {
    Refresh {
        token_url: String,
        client_id: String,
        client_secret: SecretString,
        refresh_token: SecretString,
    },
    ServiceAccount {
        token_url: String,
        key: SecretString,
    },
}

impl Credentials {
    /// Reads them, or adds a problem for what is missing or one too many.
    pub(super) fn read(settings: &Settings, problems: &mut Vec<Problem>) -> Self {
        let base = settings.token_endpoint.trim_end_matches('/');
        let token_url = format!("{base}/token");
        let Some(key) = settings.secret("service_account") else {
            return Credentials::Refresh {
                token_url,
                client_id: settings.required_text("client_id", problems),
                client_secret: settings.required_secret("client_secret", problems),
                refresh_token: settings.required_secret("refresh_token", problems),
            };
        };
        for other in ["client_id", "refresh_token"] {
            if settings.text(other).is_some() || settings.secret(other).is_some() {
                let message = "is not used beside service_account; write one of the two";
                problems.push(Problem::new(other, message));
            }
        }
        Credentials::ServiceAccount { token_url, key }
    }

    /// What proves who we are to the API of a scope.
    pub(super) fn auth(&self, scope: &'static str) -> Auth {
        match self {
            Credentials::Refresh { token_url, client_id, client_secret, refresh_token } => {
                Auth::OAuthRefresh {
                    token_url: token_url.clone(),
                    client_id: client_id.clone(),
                    client_secret: client_secret.clone(),
                    refresh_token: refresh_token.clone(),
                    extra: Vec::new(),
                }
            }
            Credentials::ServiceAccount { token_url, key } => {
                Auth::ServiceAccount { token_url: token_url.clone(), key: key.clone(), scope }
            }
        }
    }
}

/// Numbers of conversion actions, by plan event and entry.
#[derive(Debug, Default)]
pub(super) struct Actions(BTreeMap<String, Vec<String>>);

impl Actions {
    /// Reads `conversion_action` of every entry, or adds a problem.
    pub(super) fn read(settings: &Settings, problems: &mut Vec<Problem>) -> Self {
        let mut actions = BTreeMap::new();
        for (event, entries) in &settings.entries {
            let mut list = Vec::with_capacity(entries.len());
            for entry in entries {
                let id = match entry {
                    Entry::Table(table) => match table.get("conversion_action") {
                        Some(toml::Value::String(id)) => id.clone(),
                        Some(toml::Value::Integer(id)) => id.to_string(),
                        _ => String::new(),
                    },
                    Entry::Standard | Entry::Name(_) => String::new(),
                };
                if id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()) {
                    let message = "must name a conversion action by its number: \
                                   { conversion_action = \"1122334455\" }";
                    problems.push(Problem::new(format!("events.{event}"), message));
                }
                list.push(id);
            }
            actions.insert(event.clone(), list);
        }
        Self(actions)
    }

    /// Today's number for a plan event's entry.
    pub(super) fn get(&self, event: &str, entry: u16) -> Option<&str> {
        self.0.get(event)?.get(usize::from(entry)).map(String::as_str)
    }

    /// Any of them, for a probe.
    pub(super) fn first(&self) -> Option<&str> {
        self.0.values().flatten().map(String::as_str).next()
    }
}
