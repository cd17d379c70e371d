//! Delivery against a stub platform on a real socket, with a queue in memory.

mod answers;
mod clock;
mod doubles;
mod real;
mod rotation;
mod state;
mod tokens;
mod transport;
mod upgrade;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use conversion_relay::{
    clock as machine,
    config::{Config, DeliveryPolicy},
    delivery::{Delivery, State},
    destinations::{Auth, Platform},
    queue::JobVerdict,
};
use tokio_util::sync::CancellationToken;

use self::doubles::{Double, Line, config, destination};

/// A delivery that runs.
struct Running {
    config: Arc<ArcSwap<Config>>,
    delivery: Delivery<Line>,
    line: Line,
}

impl Running {
    /// Delivers the line's jobs to a URL.
    fn start(
        platform: &'static Platform,
        double: Double,
        policy: DeliveryPolicy,
        line: Line,
    ) -> Self {
        Self::with(config(destination(platform, double, policy)), line)
    }

    fn with(config: Config, line: Line) -> Self {
        let config = Arc::new(ArcSwap::from_pointee(config));
        let delivery = Delivery::start(
            Arc::clone(&config),
            line.clone(),
            machine::system(),
            machine::chances(),
            CancellationToken::new(),
        );
        Self { config, delivery, line }
    }

    fn state(&self) -> State {
        self.delivery.states().get("d").copied().unwrap_or(State::Removed)
    }

    async fn until(&self, state: State) {
        let reached = async {
            while self.state() != state {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), reached)
            .await
            .unwrap_or_else(|_| panic!("{:?} instead of {state:?}", self.state()));
    }
}

fn plain(url: &str) -> Double {
    Double { url: url.to_owned(), auth: Auth::None, has_probe: false, writes: true }
}

fn ids(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("e{number}"))
}

fn delivered(settled: &[(String, JobVerdict)]) -> Vec<&str> {
    let mut ids: Vec<&str> = settled
        .iter()
        .filter(|(_, verdict)| matches!(verdict, JobVerdict::Delivered(_)))
        .map(|(id, _)| id.as_str())
        .collect();
    ids.sort_unstable();
    ids
}

fn dead(settled: &[(String, JobVerdict)]) -> Vec<(&str, &str, &str)> {
    let mut dead: Vec<(&str, &str, &str)> = settled
        .iter()
        .filter_map(|(id, verdict)| match verdict {
            JobVerdict::Dead { code, attempt } => {
                Some((id.as_str(), code.as_str(), attempt.reason.as_str()))
            }
            _ => None,
        })
        .collect();
    dead.sort_unstable();
    dead
}
