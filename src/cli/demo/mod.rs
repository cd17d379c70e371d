//! `demo`: relay, sandbox platforms and a simulated shop in one process. Needs nothing.

mod screen;
mod shop;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use self::shop::Shop;
use super::{
    Exit,
    http_client::HttpClient,
    init,
    relay::{self, Running},
};
use crate::{clock, queue::Stats, telemetry::LogFormat};

/// Between two moments of the shop.
const PACE: Duration = Duration::from_millis(60);

/// How long the end waits for what is still on its way.
const LAST_DELIVERIES: Duration = Duration::from_secs(20);

/// Relay, sandbox platforms and a simulated shop in one process, until Ctrl-C.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Ends by itself after this time, such as 20s or 2m.
    #[arg(long = "for", value_parser = duration)]
    time: Option<Duration>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is no time such as 20s"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" | "" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        "h" => Ok(Duration::from_secs(number * 3600)),
        _ => Err(format!("{unit:?} is no unit of time; write 20s, 2m or 1h")),
    }
}

impl Demo {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let folder = folder_of_its_own()?;
        init::write(&folder.join("config"))
            .context("the demo's configuration cannot be written")?;
        let running = relay::start(relay::Start {
            config: folder.join("config"),
            data: folder.join("data"),
            take_free_ports: true,
            logs: LogFormat::Quiet,
            fast_sandbox: false,
            // Real keys and tokens of this shell are none of its business.
            environment: |_| None,
        })
        .await?;
        let Some(running) = running else { return Ok(Exit::Configuration) };
        let stop = running.until_stopped()?;
        screen::where_to_look(&running, &folder);
        println!("{}", running.ready());

        let told = async {
            match self.time {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        let shop = sell(&running);
        let show = screen::live(&running);
        tokio::select! {
            () = stop => {}
            () = told => {}
            result = shop => result?,
            () = show => {}
        }
        let stats = settle(&running).await;
        let exit = summary(&stats);
        running.stop().await?;
        // Only a folder that this run made: nothing of a person is left behind.
        if let Err(error) = std::fs::remove_dir_all(&folder) {
            eprintln!("{} cannot be removed: {error}", folder.display());
        }
        Ok(exit)
    }
}

/// A new folder below the system's temporary one.
fn folder_of_its_own() -> anyhow::Result<PathBuf> {
    let random = clock::random::<6>().map_err(|_| anyhow::anyhow!("no randomness"))?;
    let name = format!("conversion-relay-demo-{}", HEXLOWER.encode(&random));
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("{} cannot be made", folder.display()))?;
    Ok(folder)
}

/// Plays the shop: posts over HTTP like any backend.
async fn sell(running: &Running) -> anyhow::Result<()> {
    let base = format!("http://{}", running.public);
    let http = HttpClient::new(&base, Some("dev-key".into()))?;
    let clock = clock::system();
    let mut shop = Shop::new(20_261_122);
    loop {
        let events = shop.next(clock());
        if !events.is_empty() {
            let body = json!(events).to_string().into_bytes();
            match http.post(&["v1", "events"], "application/json", body).await {
                Ok(answer) if answer.is_success() => {}
                Ok(answer) => eprintln!("the shop was refused: {}", answer.refusal()),
                Err(error) => eprintln!("the shop's post failed: {error:#}"),
            }
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Waits for what is still on its way.
async fn settle(running: &Running) -> Stats {
    let mut stats = running.stats().await;
    let mut waited = Duration::ZERO;
    while waited < LAST_DELIVERIES
        && stats.destinations.values().any(|books| books.pending + books.in_flight > 0)
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
        waited += Duration::from_millis(100);
        stats = running.stats().await;
    }
    stats
}

fn summary(stats: &Stats) -> Exit {
    eprintln!();
    screen::table(stats);
    let unbalanced: Vec<&str> = stats
        .destinations
        .iter()
        .filter(|(_, books)| !books.balance())
        .map(|(name, _)| name.as_str())
        .collect();
    let dead: u64 = stats.destinations.values().map(|books| books.dead).sum();
    println!("{}", json!({"summary": serde_json::to_value(stats).unwrap_or(Value::Null)}));
    if unbalanced.is_empty() {
        eprintln!("the books of every destination balance");
    } else {
        eprintln!("the books of {} do not balance", unbalanced.join(", "));
    }
    if dead > 0 {
        eprintln!("{dead} events are dead");
    } else {
        eprintln!("nothing is dead");
    }
    if unbalanced.is_empty() && dead == 0 && stats.accepted > 0 { Exit::Fine } else { Exit::Failed }
}

/// The folder's name, for people.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}
