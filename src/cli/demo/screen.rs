//! What the demo shows: where to look, and live what became of the events.

use std::{path::Path, time::Duration};

use super::super::relay::Running;
use crate::{
    consent::ReasonCode,
    queue::{DestinationStats, Stats},
};

/// Between two live lines.
const BEAT: Duration = Duration::from_secs(2);

/// Says where to look.
pub(super) fn where_to_look(running: &Running, folder: &Path) {
    eprintln!(
        "A simulated shop posts to the relay; the relay delivers to the sandbox platforms.\n"
    );
    eprintln!("  dashboard   http://{}/   (token dev-token)", running.admin);
    eprintln!("  metrics     http://{}/metrics", running.admin);
    eprintln!(
        "  post too    curl -s http://{}/v1/events -H 'authorization: Bearer dev-key' \\",
        running.public
    );
    eprintln!(
        "                -H 'content-type: application/json' -d '{{\"event\": \"purchase\", \"site\": \"shop_us\"}}'"
    );
    if let Some(sandbox) = running.sandbox {
        eprintln!("  what arrived http://{sandbox}/sandbox/v1/received?platform=meta");
    }
    eprintln!("  files       {}\n", super::shown(folder));
}

/// Shows the books every other second, for as long as it is polled.
pub(super) async fn live(running: &Running) {
    loop {
        tokio::time::sleep(BEAT).await;
        let stats = running.stats().await;
        eprintln!("{}", line(&stats));
    }
}

/// One line: what was accepted, and for each destination what was delivered and held, and why.
fn line(stats: &Stats) -> String {
    let mut line = format!("accepted {}, duplicate {}", stats.accepted, stats.duplicate);
    if stats.suppressed > 0 {
        line.push_str(&format!(", not counted again {}", stats.suppressed));
    }
    for (name, books) in &stats.destinations {
        line.push_str(&format!(" | {name}: delivered {}", books.delivered));
        let waiting = books.pending + books.in_flight;
        if waiting > 0 {
            line.push_str(&format!(", on its way {waiting}"));
        }
        let held = held(books);
        if !held.is_empty() {
            line.push_str(&format!(", held {held}"));
        }
        if books.dead > 0 {
            line.push_str(&format!(", dead {}", books.dead));
        }
    }
    line
}

/// Why what was held, such as `no_signal 3 no_consent 2`.
fn held(books: &DestinationStats) -> String {
    let counts = ReasonCode::HELD.iter().map(|code| (code.name(), books.held.of(*code)));
    let parts: Vec<String> = counts
        .filter(|(_, count)| *count > 0)
        .map(|(code, count)| format!("{code} {count}"))
        .collect();
    parts.join(" ")
}

/// The books as a table.
pub(super) fn table(stats: &Stats) {
    eprintln!(
        "accepted {}  duplicate {}  suppressed {}  rejected {}",
        stats.accepted, stats.duplicate, stats.suppressed, stats.rejected
    );
    eprintln!(
        "{:<14}{:>9}{:>9}{:>7}{:>11}{:>9}{:>6}{:>8}  held because",
        "destination", "accepted", "skipped", "held", "delivered", "pending", "dead", "retried"
    );
    for (name, books) in &stats.destinations {
        let all_held: u64 = ReasonCode::HELD.iter().map(|code| books.held.of(*code)).sum();
        eprintln!(
            "{:<14}{:>9}{:>9}{:>7}{:>11}{:>9}{:>6}{:>8}  {}",
            name,
            books.accepted,
            books.skipped,
            all_held,
            books.delivered,
            books.pending + books.in_flight,
            books.dead,
            books.retried,
            held(books)
        );
    }
}
