//! `explain`: what would be sent, where and why. Sends nothing.

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Exit, geoip, import, relay, street};
use crate::{
    clock,
    config::{Config, Limits, Secrets, WebhookKind},
    consent::memory::{Choice, Remembered},
    pipeline::{self, Street, SubjectKey, Verdict},
    queue::{Admitted, IdHash, Queue},
    sources::{Form, Format, json::Node, rows, split, told},
};

/// What would be sent, where and why; sends nothing. Events in, one JSON line for each plan event
/// out. Ends with 1 if any event is rejected.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The configuration folder.
    #[arg(long, default_value = "config")]
    config: PathBuf,
    /// The data folder of a relay that is not running: what it has seen is told from what is new.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The time at which it plays (RFC 3339); now by default.
    #[arg(long)]
    now: Option<Timestamp>,
    /// The format of what comes: segment, measurement-protocol, shopify, stripe or csv; by default
    /// the relay's own.
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    from: Option<Format>,
    /// With `--from csv`: what the columns are, as for `import`.
    #[arg(long, value_name = "MAP.toml")]
    map: Option<PathBuf>,
    /// Events: NDJSON, one object, or a list. `-` is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
}

impl Explain {
    pub(super) async fn run(self, now: Timestamp) -> anyhow::Result<Exit> {
        let loaded = street::load_offline(&self.config);
        let Some(config) = loaded.config else {
            for finding in loaded.findings {
                eprintln!("{finding}");
            }
            return Ok(Exit::Configuration);
        };
        let mut body = Vec::new();
        if self.file.as_os_str() == "-" {
            std::io::stdin().read_to_end(&mut body).context("standard input cannot be read")?;
        } else {
            body = std::fs::read(&self.file)
                .with_context(|| format!("{} cannot be read", self.file.display()))?;
        }
        let map = match &self.map {
            Some(_) if self.from.is_none_or(|format| format.name != told::CSV.name) => {
                anyhow::bail!("--map goes with --from csv");
            }
            Some(map) => match import::read_map(map)? {
                Some(map) => Some(map),
                None => return Ok(Exit::Configuration),
            },
            None => None,
        };
        let zone = import::only_zone(&config);
        // A file may have more events than a request.
        let limits = Limits { events_per_request: usize::MAX, ..config.limits };
        let told =
            told::around(&config, None, self.from.and_then(|from| site(&config, from)), |e| {
                let read = |format: Format| match format.name {
                    name if name == told::CSV.name => rows::file(&body, map.as_ref(), zone, e.site),
                    _ => format.file(&body, &limits, e),
                };
                self.from.map(read).transpose()
            });
        let told = told.context("the events cannot be read")?;
        // A list or one object over several lines is no NDJSON; everything else is.
        let pieces = match split(&body, Form::Json, &limits) {
            _ if told.is_some() => Vec::new(),
            Ok(pieces) => pieces,
            Err(_) => split(&body, Form::Lines, &limits).context("the events cannot be read")?,
        };
        let queue = match &self.data {
            Some(data) => match self.seen(data)? {
                Some(queue) => Some(queue),
                None => return Ok(Exit::Configuration),
            },
            None => None,
        };
        let secret = queue.as_ref().map_or([0; 32], Queue::subject_secret);
        let key = SubjectKey::new(&secret);
        let regions = geoip::regions(&config)?;
        let remembered = |subjects: &[IdHash]| match &queue {
            // What cannot be read is as much as a refusal, as in `serve`.
            Some(queue) => queue.remembered(subjects).unwrap_or_else(|_| Remembered {
                choice: Choice::unreadable(),
                ..Remembered::default()
            }),
            None => Remembered::default(),
        };
        let refused_since = |subjects: &[IdHash], _: i64| Some(remembered(subjects));
        let street = street::street(&config, &key, &regions, &remembered);
        let street = Street { refused_since: &refused_since, ..street };
        let now = self.now.unwrap_or(now);
        let mut exit = Exit::Fine;
        let mut out = std::io::stdout();
        let mut events = Vec::new();
        for outcome in told.into_iter().flatten() {
            match outcome {
                Ok(Some(told)) => {
                    let read = street::run_told(&told, &street, now);
                    let name = told.node.get("event").cloned().unwrap_or(Node::Null);
                    events.push((name, read));
                }
                // Answered and ignored.
                Ok(None) => {}
                Err(rejection) => events.push((Node::Null, Err(rejection))),
            }
        }
        for piece in pieces {
            events.push(match piece.parse(&limits) {
                Ok(node) => {
                    let read = street::run(&node, &street, now);
                    (node.get("event").cloned().unwrap_or(Node::Null), read)
                }
                Err(rejection) => (Node::Null, Err(rejection)),
            });
        }
        for (name, verdict) in events {
            let lines = match verdict {
                Ok(verdict) => explained(verdict, &street, queue.as_ref(), now).await?,
                Err(rejection) => vec![street::rejected(&name, &rejection)],
            };
            for line in lines {
                if line.get("status") == Some(&json!("rejected")) {
                    exit = Exit::Failed;
                }
                writeln!(out, "{line}").context("standard output is closed")?;
            }
        }
        if let Some(queue) = &queue {
            queue.close().await;
        }
        Ok(exit)
    }

    /// Opens what a relay has seen, which takes the key of its data folder. `None`: the
    /// configuration is invalid, and its problems were printed.
    fn seen(&self, data: &Path) -> anyhow::Result<Option<Queue>> {
        if !data.is_dir() {
            anyhow::bail!("there is no data folder {}", data.display());
        }
        let loaded = relay::load(&self.config, Secrets::Resolve, None);
        let Some(config) = relay::usable(loaded) else { return Ok(None) };
        relay::open_queue(data, &config, &clock::system()).map(Some)
    }
}

/// The format of a name.
fn format(name: &str) -> Result<Format, String> {
    let names = || told::FORMATS.iter().map(|format| format.name).collect::<Vec<_>>().join(", ");
    Format::named(name).ok_or_else(|| format!("known formats are {}", names()))
}

/// What a webhook brings belongs to the webhook's site; which one that is, its body does not say.
fn site(config: &Config, format: Format) -> Option<&str> {
    let kind = match format.name {
        name if name == told::SHOPIFY.name => WebhookKind::Shopify,
        name if name == told::STRIPE.name => WebhookKind::Stripe,
        _ => return None,
    };
    let source = config.webhooks.values().find(|source| source.kind == kind);
    source.map(|source| source.site.as_str())
}

/// The lines of one event, with what the queue knows better.
async fn explained(
    verdict: Verdict,
    street: &Street<'_>,
    queue: Option<&Queue>,
    now: Timestamp,
) -> anyhow::Result<Vec<Value>> {
    let known = match queue {
        Some(queue) => queue.foresee(verdict.clone().admission(street)).await?,
        None => None,
    };
    let status = match known {
        Some(Admitted::Duplicate { .. }) => Some("duplicate"),
        Some(Admitted::Suppressed) => Some("suppressed"),
        _ => None,
    };
    Ok(pipeline::explain(&verdict, street, status, now))
}
