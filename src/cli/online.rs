//! `check --online`: what each platform says of the credentials, by the least that can be asked of
//! it. No event is sent: what only an event could tell is said to be unproven.

use std::{fmt, net::SocketAddr, path::Path, sync::Arc};

use anyhow::Context as _;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::relay::{load, open_queue};
use crate::{
    clock::{self, Clock},
    config::{Config, DestinationConfig, Loaded, Secrets},
    delivery::{Credentials, try_credentials_with},
    destinations::{Auth, Fault, FaultKind, KeyKind, Mode, Platform},
    queue::Queue,
    sandbox::{self, SandboxOptions},
};

/// What trying one destination's credentials showed.
#[derive(Debug, Serialize)]
pub(super) struct Tried {
    destination: String,
    platform: &'static str,
    result: Found,
    /// The platform's own code, where it refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// What it means, and what to do.
    message: String,
}

/// The three ways in which it can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Found {
    /// The credentials are taken.
    Ok,
    /// They are not, or nobody could be asked.
    Failed,
    /// Nothing was asked.
    Unproven,
}

impl Tried {
    /// Whether somebody has to act.
    pub(super) fn has_failed(&self) -> bool {
        self.result == Found::Failed
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = match self.result {
            Found::Ok => "ok",
            Found::Failed => "failed",
            Found::Unproven => "unproven",
        };
        write!(f, "{}: {result}: {}", self.destination, self.message)
    }
}

/// Tries every destination. The error is a configuration whose secrets are not all there.
pub(super) async fn try_all(
    folder: &Path,
    data: Option<&Path>,
) -> anyhow::Result<Result<Vec<Tried>, Loaded>> {
    let clock = clock::system();
    let stop = CancellationToken::new();
    let is_sandbox = load(folder, Secrets::Placeholder, None)
        .config
        .is_some_and(|config| config.mode == Mode::Sandbox);
    // A sandbox of its own: the relay's need not run, and no test of ours is counted there.
    let base = if is_sandbox { Some(play(&stop).await?) } else { None };
    let mut loaded = load(folder, Secrets::Resolve, base);
    let Some(config) = loaded.config.take() else { return Ok(Err(loaded)) };
    let queue = data.map(|data| open_queue(data, &config, &clock)).transpose()?;
    let config = Arc::new(config);
    let names = config.destinations.keys();
    let tries = names.map(|name| try_one(&config, name, queue.as_ref(), &clock));
    let tried = in_turn(tries).await;
    if let Some(queue) = queue {
        queue.close().await;
    }
    stop.cancel();
    Ok(Ok(tried))
}

/// One after the other: destinations of one platform may share a quota, and a grant.
async fn in_turn(tries: impl Iterator<Item = impl Future<Output = Tried>>) -> Vec<Tried> {
    let mut all = Vec::new();
    for one in tries {
        all.push(one.await);
    }
    all
}

async fn play(stop: &CancellationToken) -> anyhow::Result<String> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = TcpListener::bind(any).await.context("the sandbox cannot be started")?;
    let address = listener.local_addr()?;
    // It ends with the token.
    drop(sandbox::serve(listener, SandboxOptions::default(), stop.clone()));
    Ok(format!("http://{address}"))
}

async fn try_one(config: &Arc<Config>, name: &str, queue: Option<&Queue>, clock: &Clock) -> Tried {
    let Some(destination) = config.destinations.get(name) else {
        return tried(name, "", Found::Failed, None, "is gone".to_owned());
    };
    let platform = destination.platform;
    if destination.mode == Mode::Shadow && config.mode == Mode::Sandbox {
        let message = "a shadow sends nothing, and in sandbox mode nothing leaves this machine";
        return tried(name, platform.name, Found::Unproven, None, message.to_owned());
    }
    let found = try_credentials_with(Arc::clone(config), name, queue, clock()).await;
    let (result, code, message) = match found {
        Some(Credentials::Taken) => (Found::Ok, None, taken(config)),
        Some(Credentials::Refused(fault)) => {
            (Found::Failed, Some(fault.reason.clone()), refused(destination, &fault))
        }
        Some(Credentials::Unreachable(why)) => {
            let message = format!(
                "{} could not be asked ({why}): see whether this machine reaches {}, by its \
                 network, proxy and clock, and try again",
                platform.title, destination.endpoint
            );
            (Found::Failed, None, message)
        }
        Some(Credentials::Unproven) | None => (Found::Unproven, None, unproven(destination)),
    };
    tried(name, platform.name, result, code, message)
}

fn tried(
    destination: &str,
    platform: &'static str,
    result: Found,
    code: Option<String>,
    message: String,
) -> Tried {
    Tried { destination: destination.to_owned(), platform, result, code, message }
}

fn taken(config: &Config) -> String {
    let by = if config.mode == Mode::Sandbox { " by the sandbox" } else { "" };
    format!("the credentials are taken{by}")
}

/// What a refusal means, and which keys to look at.
fn refused(destination: &DestinationConfig, fault: &Fault) -> String {
    let Platform { title, docs, .. } = destination.platform;
    let said = match fault.message.trim() {
        "" => fault.reason.clone(),
        words => format!("{}: {words}", fault.reason),
    };
    let (what, kinds) = match fault.kind {
        FaultKind::Unauthorized => ("does not take the credentials", &[KeyKind::Secret][..]),
        FaultKind::Misconfigured => {
            ("knows an id or a setting otherwise", &[KeyKind::Text, KeyKind::Number][..])
        }
    };
    let keys = destination.platform.keys.iter().filter(|key| kinds.contains(&key.kind));
    let keys: Vec<&str> = keys.map(|key| key.name).collect();
    let remedy = match (destination.handler.hint(&fault.reason), keys.as_slice()) {
        // What the platform's pages say of this very refusal says more than which keys there are.
        (Some(hint), _) => format!(": {hint}"),
        (None, []) => String::new(),
        (None, keys) => format!(": look at {} of [{}]", keys.join(", "), destination.name),
    };
    let see = if docs.is_empty() { String::new() } else { format!(" (see {docs})") };
    format!("{title} {what} ({said}){remedy}{see}")
}

fn unproven(destination: &DestinationConfig) -> String {
    let Platform { title, has_test_mode, .. } = destination.platform;
    if matches!(destination.handler.auth(), Auth::OAuthRotating { .. }) {
        return format!(
            "asking {title} for a token uses the refresh token up, and the relay itself keeps the \
             new one: stop the relay and add --data DIR, or see the destination's state in `stats`"
        );
    }
    let but = if *has_test_mode { ", and its test mode looks at events alone" } else { "" };
    format!(
        "{title} has no call that would tell without sending an event{but}: its own reports show \
         whether the first events arrive"
    )
}
