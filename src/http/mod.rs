//! The two listeners: events come in through the public one, operators through the admin one.
//!
//! Speaks HTTP and nothing else: reading events is `sources`, deciding is `pipeline`, keeping is
//! `queue`. Delivery is never called: what operators do to it goes through [`DeliveryControl`],
//! which the shell provides. No answer is a 5xx but 503.

mod acts;
mod admin;
mod auth;
mod beacon;
mod body;
mod client;
mod connections;
mod consent;
mod cookies;
mod cors;
mod count;
mod doorkeeper;
mod error;
mod evidence;
mod health;
mod ingest;
mod measurement_protocol;
mod openapi;
mod orders;
mod pace;
mod privacy;
mod segment;
mod server;
mod tag;
mod throttle;
mod tls;
mod trace;
mod visitor;
mod watch;
mod webhooks;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, net::IpAddr, pin::Pin, sync::Arc};

use arc_swap::ArcSwap;
use axum::{Router, response::IntoResponse as _};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

pub use admin::books;
pub use server::serve;
pub use throttle::Throttle;
pub use tls::Tls;
pub use watch::note_hang_up;

use self::error::ApiError;
use crate::{
    alert::{Arrivals, Board},
    clock::Clock,
    config::Config,
    pipeline::SubjectKey,
    queue::{Judge, Queue, Refused},
};

/// What operators may do to delivery, so that this module need not know it.
pub trait DeliveryControl: Send + Sync {
    /// Pauses a destination; its state after that, `None` for an unknown one.
    fn pause(&self, name: &str) -> Option<String>;
    /// Resumes a destination; its state after that, `None` for an unknown one.
    fn resume(&self, name: &str) -> Option<String>;
    /// Keeps over a restart who is paused.
    fn keep_paused(&self) -> Keeping<'_>;
    /// The state of every destination that delivery knows.
    fn states(&self) -> BTreeMap<String, String>;
}

/// Ends when something is on disk.
pub type Keeping<'a> = Pin<Box<dyn Future<Output = Result<(), Refused>> + Send + 'a>>;

/// What a reload answers: what it did, or what `check` says of the files.
pub type Reloaded = Result<Value, Value>;

/// Reads the configuration anew; the old one stands where the new one is wrong.
pub type Reload = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Reloaded> + Send>> + Send + Sync>;

/// Everything that the listeners share.
pub struct Relay {
    /// Today's configuration.
    pub config: Arc<ArcSwap<Config>>,
    /// Where events go.
    pub queue: Queue,
    /// The data folder, in which the decision log lies.
    pub data: std::path::PathBuf,
    /// The secret of keyed hashes ([`Queue::subject_secret`]).
    pub key: SubjectKey,
    /// Gives the time.
    pub clock: Clock,
    /// The region of an address, where a database is configured.
    pub geoip: Arc<dyn Fn(IpAddr) -> Option<String> + Send + Sync>,
    /// The write keys' rate limits.
    pub throttle: Throttle,
    /// Which planned events come.
    pub arrivals: Arc<Arrivals>,
    /// The alerts that fire.
    pub alerts: Board,
    /// What a choice does to what waits, by today's rules.
    pub judge: Judge,
    /// Delivery's handle.
    pub delivery: Arc<dyn DeliveryControl>,
    /// Reloads the configuration.
    pub reload: Reload,
    /// The metrics as Prometheus text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Cancelled when the relay stops: no longer ready, no new connections.
    pub stop: CancellationToken,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("config", &self.config.load().hash).finish_non_exhaustive()
    }
}

/// The public listener's calls.
pub fn public(relay: Arc<Relay>) -> Router {
    let calls = ingest::routes().merge(consent::routes()).merge(segment::routes());
    let calls = calls.merge(measurement_protocol::routes()).merge(webhooks::routes());
    let calls = calls.merge(beacon::routes()).merge(tag::routes());
    finished(calls.merge(health::routes()).merge(openapi::routes()).with_state(relay))
}

/// The admin listener's calls.
pub fn admin(relay: Arc<Relay>) -> Router {
    let calls =
        admin::routes().merge(privacy::routes()).merge(evidence::routes()).merge(orders::routes());
    let calls = watch::over(&relay, calls.merge(health::routes()));
    finished(calls.with_state(relay))
}

/// Answers in the interface's shape also where no handler does.
fn finished(router: Router) -> Router {
    router
        .fallback(|| async { ApiError::not_found("no such call; see GET /openapi.json") })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            // The panic itself was printed by its hook; its payload may hold anything.
            tracing::error!("a request's handler panicked");
            ApiError::unavailable("internal", "this request could not be handled; try again", 5)
                .into_response()
        }))
}
