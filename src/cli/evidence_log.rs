//! The decision log's writer, put together: its webhook is called by the one outbound client.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::task::JoinHandle;
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
    Arc::new(move |body| {
        let config = config.load_full();
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
            for webhook in &config.alerts {
                post(client(allowed || webhook.allow_private), &webhook.url, &body).await?;
            }
            Ok(())
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
