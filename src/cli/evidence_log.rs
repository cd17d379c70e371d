//! The decision log's writer, put together: its webhook is called by the one outbound client.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tokio::{sync::Mutex, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    config::Config,
    delivery::{
        client::{Client, Failure, Terms},
        sign::{Header, Signed},
    },
    destinations::Mode,
    evidence::{Announce, Writer},
    queue::Queue,
};

/// For one call of the webhook.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Who has heard of the end of a day, while another has not.
#[derive(Default)]
struct Heard {
    body: String,
    /// Hashes of webhooks.
    by: Vec<[u8; 32]>,
}

/// Starts the writer.
pub(super) fn start(
    queue: Queue,
    data: PathBuf,
    config: Arc<ArcSwap<Config>>,
    clock: Clock,
    stop: CancellationToken,
) -> JoinHandle<()> {
    let announce = announce(config.clone());
    Writer::new(queue, data, config, clock, announce).start(stop)
}

/// Posts the end of a day to `evidence.webhook`, else to every webhook of `alerts`. In sandbox mode
/// nothing leaves the machine: the log has it. Private addresses are told where
/// `evidence.allow_private`, or the alert's own, says so.
fn announce(config: Arc<ArcSwap<Config>>) -> Announce {
    let client = |guarded| Client::new(Terms { timeout: TIMEOUT, guarded });
    let (guarded, free) = (client(true), client(false));
    // One call at a time asks for it, and holds it while it posts, hence tokio's.
    let heard = Arc::new(Mutex::new(Heard::default()));
    Arc::new(move |body| {
        let (config, heard) = (config.load_full(), heard.clone());
        let (free, guarded) = (free.clone(), guarded.clone());
        Box::pin(async move {
            if config.mode == Mode::Sandbox {
                return Ok(());
            }
            let allowed = config.evidence.allow_private;
            let client = |allowed| if allowed { &free } else { &guarded };
            if let Some(own) = &config.evidence.webhook {
                return post(client(allowed), own, &body).await;
            }
            // One that is out of order keeps nothing from the others, who are not told again with it.
            let mut heard = heard.lock().await;
            if heard.body != body {
                *heard = Heard { body: body.clone(), by: Vec::new() };
            }
            let mut all = Ok(());
            for webhook in &config.alerts {
                let mark: [u8; 32] = Sha256::digest(webhook.url.expose_secret()).into();
                if heard.by.contains(&mark) {
                    continue;
                }
                let client = client(allowed || webhook.allow_private);
                match post(client, &webhook.url, &body).await {
                    Ok(()) => heard.by.push(mark),
                    Err(why) => all = all.and(Err(why)),
                }
            }
            all
        })
    })
}

/// Posts a JSON body to a webhook; an error says why not, without its URL.
pub(super) async fn post(
    client: &Client,
    webhook: &SecretString,
    body: &str,
) -> Result<(), String> {
    let content_type = Header {
        name: "content-type".to_owned(),
        value: "application/json".to_owned(),
        is_secret: false,
    };
    let request = Signed {
        method: "POST",
        url: webhook.expose_secret().to_owned(),
        headers: vec![content_type],
        body: body.as_bytes().to_vec(),
    };
    match client.send(request).await {
        Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
        Ok(answer) => Err(format!("it answered {}", answer.status)),
        Err(Failure::NotSent(why) | Failure::Lost(why)) => Err(why),
        Err(Failure::Misconfigured(fault)) => Err(fault.message),
    }
}
