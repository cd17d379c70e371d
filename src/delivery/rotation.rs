//! Grants that the token service replaces whenever they are used: the successor is on disk, synced
//! and sealed, before its access token is used by anybody.
//!
//! What a SIGKILL between the service's answer and that write costs cannot be had back: then the
//! grant before it is tried, and then the configured one, which some services still take.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    client::Client,
    jobs::Jobs,
    token::{NoToken, Token, ask},
};
use crate::{
    destinations::{Auth, Fault, FaultKind},
    queue::Refused,
};

/// What all destinations share: grants that could not be kept yet, by name.
///
/// Tokio's mutex, held over asking and keeping, on purpose: two destinations may share a grant, and
/// the one that came second would show one that is used up.
#[derive(Debug, Default)]
pub(super) struct Rotation(tokio::sync::Mutex<BTreeMap<String, SecretString>>);

/// Where grants are kept.
#[derive(Debug)]
pub(super) struct Keeper<'a, J> {
    pub(super) jobs: &'a J,
    pub(super) rotation: &'a Rotation,
}

/// The name under which a grant's successors are kept: of the application and the configured
/// grant, so that another configured one begins anew, and destinations that are configured with
/// the same one share its successors.
fn name(auth: &Auth) -> String {
    let Auth::OAuthRotating { token_url, client_id, refresh_token, .. } = auth else {
        return String::new();
    };
    let whole = [token_url, client_id, refresh_token.expose_secret()].join("\n");
    let hash = digest(&SHA256, whole.as_bytes());
    format!("grant/{}", HEXLOWER.encode(hash.as_ref()))
}

/// A new access token.
pub(super) async fn renew<J: Jobs>(
    keeper: &Keeper<'_, J>,
    client: &Client,
    auth: &Auth,
    configured: &SecretString,
    now: Timestamp,
) -> Result<Token, NoToken> {
    let name = &name(auth);
    let mut unkept = keeper.rotation.0.lock().await;
    if let Some(grant) = unkept.get(name).cloned() {
        keep(keeper.jobs, name, &grant).await?;
        unkept.remove(name);
    }
    let mut refused: Option<(SecretString, Fault)> = None;
    let kept = keeper.jobs.kept(name).await.map_err(|refused| unavailable(&refused))?;
    let kept = kept.and_then(|text| String::from_utf8(text).ok()).map(SecretString::from);
    for grant in kept.iter().chain([configured]) {
        let same =
            |(tried, _): &(SecretString, Fault)| tried.expose_secret() == grant.expose_secret();
        if refused.as_ref().is_some_and(same) {
            continue;
        }
        match ask(client, auth, Some(grant), now).await {
            Ok((token, None)) => return Ok(token),
            Ok((token, Some(next))) => {
                if let Err(error) = keep(keeper.jobs, name, &next).await {
                    // The one before may be used up: this one must not be lost with the answer.
                    unkept.insert(name.to_owned(), next);
                    return Err(error);
                }
                return Ok(token);
            }
            // The words of the first refusal: they are about the newest grant.
            Err(NoToken::Fault(fault)) => {
                refused.get_or_insert_with(|| (grant.clone(), fault));
            }
            Err(unavailable) => return Err(unavailable),
        }
    }
    let (_, mut fault) = refused.unwrap_or_else(|| {
        let kind = FaultKind::Unauthorized;
        (configured.clone(), Fault { kind, reason: "no_grant".to_owned(), message: String::new() })
    });
    fault.message = format!(
        "{}: neither the refresh token that was kept nor the configured one is taken; sign in \
         again and configure the new one",
        fault.message
    );
    Err(NoToken::Fault(fault))
}

async fn keep<J: Jobs>(jobs: &J, name: &str, grant: &SecretString) -> Result<(), NoToken> {
    let text = grant.expose_secret().as_bytes().to_vec();
    jobs.keep(name, text).await.map_err(|refused| unavailable(&refused))
}

fn unavailable(refused: &Refused) -> NoToken {
    let message = format!("the refresh token cannot be kept: {refused}");
    NoToken::Unavailable { after: None, message }
}
