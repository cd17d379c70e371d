//! The machine put together: configuration, queue, delivery, listeners; how it starts, reloads and
//! stops. `serve` and `demo` are the same relay.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    alerts,
    audit::warn_of_stale_lock,
    background::Background,
    before::{self, Quotas},
    certificates::{Certificates, raise_file_limit},
    evidence_log, gauges, geoip,
};
use crate::{
    alert::{Arrivals, Board},
    clock::{self, Clock},
    config::{self, Config, Finding, LoadOptions, Loaded, Secrets, Severity, versions},
    delivery::{Delivery, recheck},
    destinations::{Mode, REGISTRY},
    evidence::keep_configuration,
    http::{self, DeliveryControl, Throttle},
    pipeline::SubjectKey,
    queue::{Disk, Judge, Judgement, Opening, Queue, Stats},
    sandbox::{self, Sandbox, SandboxOptions},
    telemetry::{DEFAULT_FILTER, LogFormat, Metrics, init_logging},
};

/// How long a stop waits for what is on its way.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// How a relay is started.
#[derive(Debug)]
pub(super) struct Start {
    /// The configuration folder.
    pub(super) config: PathBuf,
    /// The data folder.
    pub(super) data: PathBuf,
    /// A port that is taken is replaced by a free one.
    pub(super) take_free_ports: bool,
    /// How it logs.
    pub(super) logs: LogFormat,
    /// The embedded sandbox takes everything unread.
    pub(super) fast_sandbox: bool,
    /// Where secrets are read that the configuration says are in the environment.
    pub(super) environment: fn(&str) -> Option<String>,
}

/// A relay that runs.
pub(super) struct Running {
    /// The public listener.
    pub(super) public: SocketAddr,
    /// The admin listener.
    pub(super) admin: SocketAddr,
    /// The embedded sandbox, in sandbox mode.
    pub(super) sandbox: Option<SocketAddr>,
    certificates: Certificates,
    relay: Arc<http::Relay>,
    delivery: Arc<Delivery>,
    stop: CancellationToken,
    stop_sandbox: CancellationToken,
    stop_evidence: CancellationToken,
    evidence: JoinHandle<()>,
    servers: Vec<JoinHandle<()>>,
    sandbox_server: Option<JoinHandle<()>>,
    _background: Background,
}

/// Runs a command that needs the runtime.
pub(super) fn block_on<T, F: Future<Output = anyhow::Result<T>>>(future: F) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let result = runtime.block_on(future);
    // A blocked thread must not keep the process: what has to finish has finished.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Takes SIGINT and SIGTERM from now on, and waits for one of them.
pub(super) fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = taken(SignalKind::interrupt())?;
    let mut terminate = taken(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn taken(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("the system lets no signal be taken")
}

/// Starts a relay. `None`: the configuration is invalid, and its problems were printed.
pub(super) async fn start(options: Start) -> anyhow::Result<Option<Running>> {
    let filter = config::environment("RELAY_LOG").unwrap_or_else(|| DEFAULT_FILTER.to_owned());
    init_logging(options.logs, &filter).context("logging cannot be set up")?;
    let metrics = Arc::new(Metrics::install().context("metrics cannot be set up")?);

    // The sandbox has to listen before destinations can point at it.
    let draft = load_with(&options.config, Secrets::Placeholder, None, options.environment);
    let Some(draft) = usable(draft) else { return Ok(None) };
    let background = Background::start()?;
    let stop_sandbox = CancellationToken::new();
    let (mut sandbox, mut sandbox_server) = (None, None);
    if draft.mode == Mode::Sandbox {
        let listener = bind(draft.listen.sandbox, options.take_free_ports).await?;
        sandbox = Some(listener.local_addr()?);
        let settings =
            if options.fast_sandbox { SandboxOptions::fast() } else { SandboxOptions::default() };
        let _there = background.enter();
        let server = sandbox::serve_on(listener, Sandbox::new(settings), stop_sandbox.clone());
        sandbox_server = Some(server);
    }
    let base = sandbox.map(|address| format!("http://{address}"));
    let mut loaded =
        load_with(&options.config, Secrets::Resolve, base.clone(), options.environment);
    warn_of_stale_lock(&mut loaded, &options.config);
    say_loudly(&loaded, draft.mode);
    let files = std::mem::take(&mut loaded.files);
    let Some(config) = usable(loaded) else { return Ok(None) };

    let clock = clock::system();
    let geoip = geoip::regions(&config)?;
    let queue = open_queue(&options.data, &config, &clock)?;
    queue.keep_evidence(config.evidence.enabled);
    keep_configuration(&options.data, &config.hash, &files, clock())
        .context("the configuration cannot be kept beside the decision log")?;
    let key = SubjectKey::new(&queue.subject_secret());
    let public = bind(config.listen.public, options.take_free_ports).await?;
    let admin = bind(config.listen.admin, options.take_free_ports).await?;
    let (public_at, admin_at) = (public.local_addr()?, admin.local_addr()?);
    let certificates = Certificates::load(&config)?;
    raise_file_limit(&config);

    let config = Arc::new(ArcSwap::from_pointee(config));
    let stop = CancellationToken::new();
    let before = before::read(&queue, clock())
        .await
        .context("what is paused cannot be read from the queue")?;
    if !before.paused.is_empty() {
        tracing::warn!(paused = ?before.paused, "destinations stay paused until they are resumed");
    }
    let delivery = {
        let _there = background.enter();
        Arc::new(Delivery::resume_with(
            config.clone(),
            queue.clone(),
            (clock.clone(), clock::chances()),
            stop.child_token(),
            before,
        ))
    };
    let judge = judge(config.clone(), clock.clone());
    let reload = reload(Reloading {
        folder: options.config.clone(),
        data: options.data.clone(),
        sandbox_base: base,
        environment: options.environment,
        config: config.clone(),
        queue: queue.clone(),
        delivery: delivery.clone(),
        clock: clock.clone(),
        certificates: certificates.clone(),
    });
    let stop_evidence = CancellationToken::new();
    let evidence = {
        let _there = background.enter();
        evidence_log::start(
            queue.clone(),
            options.data.clone(),
            config.clone(),
            clock.clone(),
            stop_evidence.clone(),
        )
    };
    let gauges =
        gauges::keep(queue.clone(), delivery.clone(), clock.clone(), metrics.clone(), stop.clone());
    let (arrivals, board) = (Arc::<Arrivals>::default(), Board::default());
    let watched = alerts::Watched {
        config: config.clone(),
        queue: queue.clone(),
        delivery: delivery.clone(),
        data: options.data.clone(),
        arrivals: arrivals.clone(),
        board: board.clone(),
        clock: clock.clone(),
    };
    let alerts = alerts::keep(watched, stop.clone());
    say_what_ends(&config.load(), clock());
    let relay = Arc::new(http::Relay {
        config: config.clone(),
        queue: queue.clone(),
        data: options.data,
        key,
        clock: clock.clone(),
        geoip,
        throttle: Throttle::default(),
        arrivals,
        alerts: board,
        judge,
        delivery: Arc::new(Control { delivery: delivery.clone(), queue }),
        reload,
        metrics: {
            let (delivery, config, clock) = (delivery.clone(), config, clock);
            Arc::new(move || {
                let _states = delivery.states(); // sets their gauge
                gauges::versions(&config.load(), clock());
                metrics.render()
            })
        },
        stop: stop.clone(),
    });
    let serve = |listener, router, tls| {
        let config = relay.config.clone();
        tokio::spawn(http::serve(listener, router, config, tls, stop.clone()))
    };
    let mut servers = vec![
        serve(public, http::public(relay.clone()), certificates.public.clone()),
        serve(admin, http::admin(relay.clone()), certificates.admin.clone()),
        gauges,
        alerts,
    ];
    servers.extend(certificates.watch(&stop));
    Ok(Some(Running {
        public: public_at,
        admin: admin_at,
        sandbox,
        certificates,
        relay,
        delivery,
        stop,
        stop_sandbox,
        stop_evidence,
        evidence,
        servers,
        sandbox_server,
        _background: background,
    }))
}

impl Running {
    /// The line by which other programs know that it is ready.
    pub(super) fn ready(&self) -> Value {
        let url = |address: SocketAddr, is_tls: bool| {
            format!("{}://{address}", if is_tls { "https" } else { "http" })
        };
        json!({
            "public": url(self.public, self.certificates.public.is_some()),
            "admin": url(self.admin, self.certificates.admin.is_some()),
            "sandbox": self.sandbox.map(|address| url(address, false)),
        })
    }

    /// Takes signals from now on, before anybody is told that it is ready: waits for one to stop;
    /// SIGHUP reloads meanwhile.
    pub(super) fn until_stopped(&self) -> anyhow::Result<impl Future<Output = ()>> {
        let stopped = stop_signal()?;
        let mut hang_up = taken(SignalKind::hangup())?;
        Ok(async move {
            let hang_ups = async {
                while hang_up.recv().await.is_some() {
                    let answer = (self.relay.reload)().await;
                    http::note_hang_up(&self.relay, &answer).await;
                    match answer {
                        Ok(answer) => tracing::info!(%answer, "the configuration was reloaded"),
                        Err(findings) => {
                            tracing::error!(%findings, "the configuration is wrong; the old one stands");
                        }
                    }
                }
            };
            tokio::select! {
                () = stopped => {}
                () = hang_ups => {}
            }
        })
    }

    /// The books, with the state of every destination.
    pub(super) async fn stats(&self) -> Stats {
        http::books(&self.relay).await
    }

    /// The mode it runs in.
    pub(super) fn mode(&self) -> Mode {
        self.relay.config.load().mode
    }

    /// Stops in order: no new requests, what is on its way finishes or stays leased, the committer
    /// drains, the store closes.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        let finished = tokio::time::timeout(STOP_DEADLINE, async {
            for server in self.servers {
                server.await.ok();
            }
        });
        if finished.await.is_err() {
            tracing::warn!("requests on their way were cut off at the deadline");
        }
        self.delivery.stop(STOP_DEADLINE).await;
        let now = (self.relay.clock)();
        Quotas::new().keep(&self.relay.queue, &self.delivery, now).await;
        // After the last settlement, before the store closes; what a deadline cuts off stays in the
        // outbox.
        self.stop_evidence.cancel();
        if tokio::time::timeout(STOP_DEADLINE, self.evidence).await.is_err() {
            tracing::warn!("the decision log was not written to its end; the next start does");
        }
        self.relay.queue.close().await;
        self.stop_sandbox.cancel();
        if let Some(server) = self.sandbox_server {
            server.await.context("the sandbox ended badly")?;
        }
        Ok(())
    }
}

// === loading ===

pub(super) fn load(folder: &Path, secrets: Secrets, sandbox_base: Option<String>) -> Loaded {
    load_with(folder, secrets, sandbox_base, config::environment)
}

fn load_with(
    folder: &Path,
    secrets: Secrets,
    sandbox_base: Option<String>,
    environment: fn(&str) -> Option<String>,
) -> Loaded {
    let options = LoadOptions { secrets, sandbox_base, env: &environment, registry: REGISTRY };
    config::load(folder, &options)
}

/// The configuration; where it is invalid, its problems are printed.
pub(super) fn usable(loaded: Loaded) -> Option<Config> {
    if loaded.config.is_none() {
        for finding in &loaded.findings {
            eprintln!("{finding}");
        }
    }
    loaded.config
}

fn say_loudly(loaded: &Loaded, mode: Mode) {
    if mode == Mode::Sandbox {
        tracing::warn!(
            "mode = \"sandbox\": nothing leaves this machine; every destination delivers to the embedded sandbox"
        );
    }
    for fallback in &loaded.fallbacks {
        tracing::warn!("{fallback}");
    }
    for warning in loaded.warnings() {
        tracing::warn!("{warning}");
    }
}

/// A relay that runs is not stopped by it: the platform will say so itself.
fn say_what_ends(config: &Config, now: Timestamp) {
    let today = now.to_zoned(TimeZone::UTC).date();
    for destination in config.destinations.values() {
        match versions::notice(destination, today) {
            Some((Severity::Error, message)) => tracing::error!("{message}"),
            Some((Severity::Warning, message)) => tracing::warn!("{message}"),
            None => {}
        }
    }
}

pub(super) fn open_queue(folder: &Path, config: &Config, clock: &Clock) -> anyhow::Result<Queue> {
    let random = clock::random().map_err(|_| anyhow::anyhow!("the system gives no randomness"))?;
    Queue::open(Opening {
        folder: folder.to_owned(),
        settings: config.queue.clone(),
        retention: config.retention,
        mode: config.mode,
        clock: clock.clone(),
        random,
        disk: Disk::default(),
    })
    .with_context(|| format!("the data folder {} cannot be used", folder.display()))
}

async fn bind(address: SocketAddr, or_free: bool) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if or_free && error.kind() == std::io::ErrorKind::AddrInUse => {
            let free = SocketAddr::new(address.ip(), 0);
            TcpListener::bind(free).await.with_context(|| format!("no free port on {}", free.ip()))
        }
        Err(error) => Err(error).with_context(|| {
            format!("{address} cannot be listened on; is another relay running? [listen] in relay.toml names another")
        }),
    }
}

// === reloading ===

struct Reloading {
    folder: PathBuf,
    data: PathBuf,
    sandbox_base: Option<String>,
    environment: fn(&str) -> Option<String>,
    config: Arc<ArcSwap<Config>>,
    queue: Queue,
    delivery: Arc<Delivery>,
    clock: Clock,
    certificates: Certificates,
}

/// Validated first, swapped whole; the old one stands where the new one is wrong.
fn reload(parts: Reloading) -> http::Reload {
    let started = parts.config.load_full();
    let parts = Arc::new(parts);
    // One reload at a time; held over an await, hence tokio's.
    let one_at_a_time = Arc::new(tokio::sync::Mutex::new(()));
    Arc::new(move || {
        let (parts, one_at_a_time) = (parts.clone(), one_at_a_time.clone());
        let started = started.clone();
        let answer: Pin<Box<dyn Future<Output = http::Reloaded> + Send>> = Box::pin(async move {
            let _turn = one_at_a_time.lock().await;
            let folder = parts.folder.clone();
            let base = parts.sandbox_base.clone();
            let environment = parts.environment;
            let loaded = tokio::task::spawn_blocking(move || {
                load_with(&folder, Secrets::Resolve, base, environment)
            })
            .await;
            let Ok(mut loaded) = loaded else {
                return Err(beside(&parts.folder, "the files could not be read".to_owned()));
            };
            let Some(config) = loaded.config.take() else { return Err(loaded.to_json()) };
            let mode = parts.config.load().mode;
            if config.mode != mode {
                let message = format!(
                    "is {:?} now and the relay runs in {:?}; a data folder belongs to one mode: stop it and start it with another folder",
                    config.mode.name(),
                    mode.name()
                );
                return Err(loaded.refused("mode", message));
            }
            if let Err((path, why)) = parts.certificates.renew(&config) {
                return Err(loaded.refused(path, why.to_string()));
            }
            // Before any decision names it.
            let kept =
                keep_configuration(&parts.data, &config.hash, &loaded.files, (parts.clock)());
            if let Err(why) = kept {
                let message = format!("cannot be kept beside the decision log: {why}");
                return Err(beside(&parts.folder, message));
            }
            // Last of what may refuse: it cannot be taken back.
            if let Err(why) = rotated(&parts.queue, &config).await {
                return Err(loaded.refused("queue", why.to_string()));
            }
            parts.queue.keep_evidence(config.evidence.enabled);
            let config = Arc::new(config);
            let will_withhold = withheld(&parts, config.clone()).await;
            let mut answer = json!({"config": config.hash, "will_withhold": will_withhold});
            let needs_restart = config::needs_restart(&started, &config);
            if let (false, Some(answer)) = (needs_restart.is_empty(), answer.as_object_mut()) {
                tracing::warn!(?needs_restart, "these settings hold from the next start on");
                answer.insert("needs_restart".to_owned(), json!(needs_restart));
            }
            parts.config.store(config);
            parts.delivery.reload();
            Ok(answer)
        });
        answer
    })
}

/// What keeps a configuration from being taken over and stands at no key of it.
fn beside(folder: &Path, message: String) -> Value {
    let (severity, file) = (Severity::Error, folder.display().to_string());
    let finding = Finding { severity, file, line: 0, path: String::new(), message };
    json!({"config": null, "errors": 1, "warnings": 0, "findings": [finding]})
}

/// A new encryption key is taken over without a stop.
async fn rotated(queue: &Queue, config: &Config) -> anyhow::Result<()> {
    let random = clock::random().map_err(|_| anyhow::anyhow!("the system gives no randomness"))?;
    Ok(queue.rotate(&config.queue, random).await?)
}

/// How many queued events the new rules will not let go.
async fn withheld(parts: &Reloading, config: Arc<Config>) -> u64 {
    let now = (parts.clock)();
    let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = count.clone();
    let visit = Box::new(move |destination: &str, job: &crate::queue::LeasedJob| {
        let Some(known) = config.destinations.get(destination) else { return };
        if recheck::withheld(&config, known, job, now).is_some() {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    });
    if let Err(error) = parts.queue.pending_jobs(visit).await {
        tracing::warn!(%error, "what the new rules withhold could not be counted");
    }
    count.load(std::sync::atomic::Ordering::Relaxed)
}

/// What a choice does to what waits, by today's rules; what left the configuration goes nowhere.
fn judge(config: Arc<ArcSwap<Config>>, clock: Clock) -> Judge {
    Arc::new(move |destination, job, said| {
        let config = config.load();
        match config.destinations.get(destination) {
            Some(known) => recheck::judge(&config, known, job, said, clock()),
            None => Judgement::Same,
        }
    })
}

/// What operators may do to delivery.
struct Control {
    delivery: Arc<Delivery>,
    queue: Queue,
}

impl DeliveryControl for Control {
    fn pause(&self, name: &str) -> Option<String> {
        self.delivery.pause(name).map(|state| state.name().to_owned())
    }

    fn resume(&self, name: &str) -> Option<String> {
        self.delivery.resume(name).map(|state| state.name().to_owned())
    }

    fn keep_paused(&self) -> http::Keeping<'_> {
        Box::pin(before::keep_paused(&self.queue, &self.delivery))
    }

    fn states(&self) -> std::collections::BTreeMap<String, String> {
        self.delivery
            .states()
            .into_iter()
            .map(|(name, state)| (name, state.name().to_owned()))
            .collect()
    }
}
