//! How far it is, on standard error: a line that is rewritten on a terminal, a line now and then
//! elsewhere.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use crate::clock::Stopwatch;

const WIDTH: usize = 30;
/// Between two lines where there is no terminal, and two drawings on one.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
const DRAWN_EVERY: Duration = Duration::from_millis(100);

pub(super) struct Bar {
    length: u64,
    /// Rows that were imported before this run.
    before: u64,
    terminal: bool,
    watch: Stopwatch,
    shown: Duration,
}

impl Bar {
    /// `length`: bytes of the file.
    pub(super) fn new(length: u64, before: u64) -> Self {
        let terminal = io::stderr().is_terminal();
        let watch = Stopwatch::start();
        Self { length: length.max(1), before, terminal, watch, shown: Duration::ZERO }
    }

    /// Shows how far it is, unless that was just done.
    pub(super) fn show(&mut self, at: u64, rows: u64) {
        let passed = self.watch.elapsed();
        let every = if self.terminal { DRAWN_EVERY } else { PLAIN_EVERY };
        let is_done = at >= self.length;
        if passed.saturating_sub(self.shown) < every && !is_done {
            return;
        }
        self.shown = passed;
        let percent = (at.min(self.length) * 100 / self.length).min(100);
        let pace = u128::from(rows - self.before) * 1000 / passed.as_millis().max(1);
        let text = format!("{percent:>3} %  {rows} rows  {pace} rows/s");
        if self.terminal {
            let full = usize::try_from(percent).unwrap_or(100) * WIDTH / 100;
            let (done, rest) = ("#".repeat(full), ".".repeat(WIDTH - full));
            eprint!("\r[{done}{rest}] {text}  ");
            io::stderr().flush().ok();
        } else {
            eprintln!("{text}");
        }
    }

    /// Leaves the line.
    pub(super) fn end(&self) {
        if self.terminal && self.shown > Duration::ZERO {
            eprintln!();
        }
    }
}
