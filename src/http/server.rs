//! Listeners and connections: accepted within bounds, served until the relay stops, then finished.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{
    Request,
    body::{Body as _, Incoming},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{
    connections::{Connections, Crowded, Hold, Timed},
    tls::Tls,
};
use crate::config::{Config, Doors};

/// After an error of accepting (no descriptors left), so that the loop does not spin.
const PAUSE: Duration = Duration::from_millis(50);

/// After `stop`, requests have this long to finish.
const GRACE: Duration = Duration::from_secs(10);

/// An idle connection that was asked to end and is still being written to has so many times
/// `head_timeout` more.
const LAST_PATIENCE: u32 = 20;

/// Serves until `stop`, then takes no more, lets requests on their way finish within a
/// deadline, and cuts off what is left. Bounds are those of today's configuration.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: Arc<ArcSwap<Config>>,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
) {
    let room = Arc::new(Connections::default());
    let held = Arc::new(AtomicUsize::new(0));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let config = config.load();
                let doors = &config.listen.doors;
                let bounds = (doors.max_connections, doors.max_connections_per_peer);
                match room.enter(peer.ip(), &config.listen.trusted_proxies, bounds) {
                    // The place moves into the connection's task and is free when that ends.
                    Ok(place) => {
                        let served = Served {
                            peer,
                            router: router.clone(),
                            doors: doors.clone(),
                            held: held.clone(),
                            stop: stop.clone(),
                        };
                        let tls = tls.clone();
                        connections.spawn(async move {
                            served.take(stream, tls).await;
                            drop(place);
                        });
                    }
                    Err(crowded) => refuse(&stream, crowded, tls.is_some()),
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
        // Ended tasks are collected as we go, or they would pile up.
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, finished).await.is_err() {
        tracing::warn!(
            open = connections.len(),
            "connections were cut off at the end of the deadline"
        );
        connections.shutdown().await;
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

/// Answers without reading, which is what can be afforded, and hangs up.
fn refuse(stream: &TcpStream, crowded: Crowded, is_tls: bool) {
    if is_tls {
        return;
    }
    let (status, code, detail) = match crowded {
        Crowded::All => {
            ("503 Service Unavailable", "too_many_connections", "every connection is taken")
        }
        Crowded::Peer => {
            let detail = "this address has every connection that it may";
            ("429 Too Many Requests", "too_many_connections", detail)
        }
    };
    let body = format!("{{\"code\":\"{code}\",\"detail\":\"{detail}; try again\"}}");
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // A fresh socket takes this at once, or not at all.
    _ = stream.try_write(answer.as_bytes());
}

/// What a connection is served with.
struct Served {
    peer: SocketAddr,
    router: Router,
    doors: Doors,
    held: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Served {
    async fn take(self, stream: TcpStream, tls: Option<Arc<Tls>>) {
        // Answers are small and waited for.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let Some(tls) = tls else { return self.serve(stream).await };
        let shaken = tokio::time::timeout(self.doors.head_timeout, tls.acceptor().accept(stream));
        match shaken.await {
            Ok(Ok(stream)) => self.serve(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Served { peer, router, doors, held, stop } = self;
        let head = doors.head_timeout;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(head)
            .max_buf_size(doors.header_bytes);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(256)
            .max_header_list_size(u32::try_from(doors.header_bytes).unwrap_or(u32::MAX))
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10));
        let activity = Arc::new(Activity::default());
        let seen = activity.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let running = Running::begin(&seen);
            let hold = Hold::new(&held, doors.held_bytes);
            let mut request = timed(request, doors.body_timeout);
            request.extensions_mut().insert(ConnectInfo(peer));
            let answer = hold.over(router.clone().oneshot(request));
            async move {
                let answer = answer.await;
                drop(running);
                answer
            }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut seen = 0;
        let result = loop {
            tokio::select! {
                result = connection.as_mut() => break result,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    break connection.await;
                }
                // One that never asks for anything, or no longer, is asked to end.
                () = tokio::time::sleep(head) => if activity.is_idle_since(&mut seen) {
                    connection.as_mut().graceful_shutdown();
                    match tokio::time::timeout(head * LAST_PATIENCE, connection).await {
                        Ok(result) => break result,
                        Err(_) => return,
                    }
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// A request whose body must arrive in time; one without a body needs no clock.
fn timed(request: Request<Incoming>, timeout: Duration) -> Request<Body> {
    request.map(|body| match body.is_end_stream() {
        true => Body::new(body),
        false => Body::new(Timed::new(body, timeout)),
    })
}

/// Requests of one connection.
#[derive(Debug, Default)]
struct Activity {
    begun: AtomicUsize,
    running: AtomicUsize,
}

impl Activity {
    /// Whether nothing runs and nothing began since the last look.
    fn is_idle_since(&self, seen: &mut usize) -> bool {
        let begun = self.begun.load(Ordering::Relaxed);
        let same = std::mem::replace(seen, begun) == begun;
        same && self.running.load(Ordering::Relaxed) == 0
    }
}

/// A request that runs.
struct Running(Arc<Activity>);

impl Running {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.begun.fetch_add(1, Ordering::Relaxed);
        activity.running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::sources::fixtures;

    fn doors(change: impl FnOnce(&mut Doors)) -> Arc<ArcSwap<Config>> {
        let mut config = fixtures::config();
        change(&mut config.listen.doors);
        Arc::new(ArcSwap::from_pointee(config))
    }

    async fn start(router: Router) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        start_with(router, doors(|_| {})).await
    }

    async fn start_with(
        router: Router,
        config: Arc<ArcSwap<Config>>,
    ) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let running = serve(listener, router, config, None, stop.clone());
        (address, stop, tokio::spawn(running))
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    #[tokio::test]
    async fn a_request_in_flight_is_finished_and_the_peer_is_known() {
        let router = Router::new().route(
            "/",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move {
                tokio::time::sleep(Duration::from_millis(200)).await;
                peer.ip().to_string()
            }),
        );
        let (address, stop, running) = start(router).await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(REQUEST).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.cancel();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"), "{answer}");
        let mut nothing = Vec::new();
        idle.read_to_end(&mut nothing).await.unwrap();
        assert!(nothing.is_empty());
        tokio::time::timeout(Duration::from_secs(2), running).await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "nothing listens any more");
    }

    async fn answer_of(address: SocketAddr, request: &[u8]) -> String {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.ok();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn reading() -> Router {
        let read = |request: axum::extract::Request| async move {
            let (parts, mut body) = request.into_parts();
            let read = super::super::body::read(
                &mut body,
                &parts.headers,
                super::super::body::AtMost::always(1 << 20),
            )
            .await;
            read.map(|bytes| bytes.len().to_string())
        };
        Router::new().route("/", get(|| async { "fine" }).post(read))
    }

    #[tokio::test]
    async fn slow_heads_and_silence_end_and_slow_bodies_are_told() {
        let quick = doors(|doors| {
            doors.head_timeout = Duration::from_millis(300);
            doors.body_timeout = Duration::from_millis(300);
        });
        let (address, stop, running) = start_with(reading(), quick).await;
        let within = |future| tokio::time::timeout(Duration::from_secs(5), future);
        for slow in [&b""[..], b"P", b"GET / HTTP/1.1\r\nhost:", b"PRI * HTTP/2.0"] {
            let answer = within(answer_of(address, slow)).await.expect("it is hung up on");
            assert!(!answer.contains("fine"), "{answer}");
        }
        let body = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc";
        let answer = within(answer_of(address, body)).await.expect("it is answered");
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("0.3 seconds"), "{answer}");
        stop.cancel();
        running.await.unwrap();
    }

    #[tokio::test]
    async fn heads_bodies_and_connections_have_their_bounds() {
        let small = doors(|doors| {
            doors.header_bytes = 8 << 10;
            doors.held_bytes = 1000;
            doors.max_connections = 3;
        });
        let (address, stop, running) = start_with(reading(), small).await;
        let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(20_000));
        let answer = answer_of(address, long.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");

        let post = |bytes: usize, more: &str| {
            let head = format!("content-length: {bytes}\r\nconnection: close\r\n{more}");
            format!("POST / HTTP/1.1\r\nhost: x\r\n{head}\r\n{}", "z".repeat(bytes))
        };
        let answer = answer_of(address, post(900, "").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("900"), "{answer}");
        let answer = answer_of(address, post(1100, "").as_bytes()).await;
        let told = answer.to_lowercase();
        assert!(told.starts_with("http/1.1 503") && told.contains("retry-after"), "{answer}");
        let answer = answer_of(address, post(900, "").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "what was held is given back: {answer}");

        let mut idle = Vec::new();
        for _ in 0..3 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let answer = answer_of(address, REQUEST).await;
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"),
            "{answer}"
        );
        drop(idle);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let close = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        assert!(answer_of(address, close).await.ends_with("fine"));
        stop.cancel();
        running.await.unwrap();
    }
}
