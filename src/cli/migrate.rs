//! `migrate`: moves a queue from one engine to another.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{ValueEnum, error::ErrorKind};
use serde_json::json;

use super::{Exit, street};
use crate::{
    clock::Stopwatch,
    config::Engine,
    queue::{self, Migration},
};

/// Where there is no terminal a line tells how far it is, this often.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// A bar is drawn this often.
const BAR_EVERY: Duration = Duration::from_millis(100);
/// Cells of the bar.
const BAR_CELLS: u64 = 30;
const DEFAULT_CONFIG: &str = "./config";

/// Move the queue of a data folder from one engine to another, while no relay runs on it. Whatever
/// interrupts it, run it again: it goes on where it was.
#[derive(Debug, clap::Args)]
pub(super) struct Migrate {
    /// The engine that holds the queue.
    #[arg(long, value_name = "ENGINE")]
    from: Name,
    /// The engine that shall hold it.
    #[arg(long, value_name = "ENGINE")]
    to: Name,
    /// The configuration folder, to say what is to be changed there.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// The data folder.
    #[arg(long, value_name = "DIR", default_value = "./data")]
    data: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    Sled,
    Redb,
}

impl From<Name> for Engine {
    fn from(name: Name) -> Self {
        match name {
            Name::Sled => Engine::Sled,
            Name::Redb => Engine::Redb,
        }
    }
}

impl Migrate {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let (from, to) = (Engine::from(self.from), Engine::from(self.to));
        if from == to {
            let why = format!("--from and --to are both {}; name two engines\n", from.name());
            clap::Error::raw(ErrorKind::ArgumentConflict, why).exit();
        }
        let Some(configured) = configured(&self.config) else { return Ok(Exit::Configuration) };
        let mut shown = Shown::new();
        let moved = queue::migrate(&self.data, from, to, &mut |step| shown.step(step));
        shown.end();
        let moved = moved?;
        println!(
            "{}",
            json!({
                "from": from.name(), "to": to.name(), "records": moved.records,
                "pending": moved.pending, "dead": moved.dead, "old_store": moved.kept,
            })
        );
        match &moved.kept {
            None => eprintln!("{} holds the queue already: nothing was left to move", to.name()),
            Some(kept) => eprintln!(
                "moved {} pending jobs and {} dead letters; all {} records were compared. The old \
                 store is kept in {}: remove it once the relay runs, erasures do not reach it",
                moved.pending,
                moved.dead,
                moved.records,
                kept.display()
            ),
        }
        if configured != Some(to) {
            eprintln!(
                "now write engine = \"{}\" under [queue] in {}",
                to.name(),
                self.config.join("relay.toml").display()
            );
        }
        Ok(Exit::Fine)
    }
}

/// The engine that the configuration names; the outer `None`: it is there and invalid. A data
/// folder can be moved where the configuration is elsewhere.
fn configured(config: &Path) -> Option<Option<Engine>> {
    if config == Path::new(DEFAULT_CONFIG) && !config.exists() {
        return Some(None);
    }
    let loaded = street::load_offline(config);
    if loaded.config.is_none() {
        loaded.findings.iter().for_each(|finding| eprintln!("{finding}"));
    }
    loaded.config.map(|config| Some(config.queue.engine))
}

/// What a person sees of it: a bar on a terminal, else a line now and then.
struct Shown {
    is_terminal: bool,
    last: Option<(Stopwatch, u8)>,
    is_bar_open: bool,
}

impl Shown {
    fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), last: None, is_bar_open: false }
    }

    fn step(&mut self, step: Migration) {
        let (phase, what, done, total) = match step {
            Migration::Counting(done) => (0, "counting", done, 0),
            Migration::Copying(done, total) => (1, "copying", done, total),
            Migration::Comparing(done, total) => (2, "comparing", done, total),
        };
        let is_over = total > 0 && done >= total;
        let every = if self.is_terminal { BAR_EVERY } else { LINE_EVERY };
        let is_early = |last: &(Stopwatch, u8)| last.1 == phase && last.0.elapsed() < every;
        if !is_over && self.last.as_ref().is_some_and(is_early) {
            return;
        }
        self.last = Some((Stopwatch::start(), phase));
        let line = line(what, done, total);
        if self.is_terminal {
            eprint!("\r\x1b[2K{} {line}", bar(done, total));
            self.is_bar_open = true;
        } else {
            eprintln!("{line}");
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.is_bar_open) {
            eprintln!();
        }
    }
}

fn line(what: &str, done: u64, total: u64) -> String {
    match (done * 100).checked_div(total) {
        Some(percent) => format!("{what}: {done} of {total} records, {percent} %"),
        None => format!("{what}: {done} records"),
    }
}

fn bar(done: u64, total: u64) -> String {
    let full = (done * BAR_CELLS).checked_div(total).unwrap_or(0).min(BAR_CELLS);
    let cell = |n| if n < full { '#' } else { '-' };
    format!("[{}]", (0..BAR_CELLS).map(cell).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_tells_how_far_it_is() {
        assert_eq!(bar(1, 2), format!("[{}{}]", "#".repeat(15), "-".repeat(15)));
        assert_eq!(
            (bar(0, 0), bar(9, 3)),
            (format!("[{}]", "-".repeat(30)), format!("[{}]", "#".repeat(30)))
        );
        assert_eq!(line("copying", 1, 3), "copying: 1 of 3 records, 33 %");
        assert_eq!(line("counting", 7, 0), "counting: 7 records");
    }
}
