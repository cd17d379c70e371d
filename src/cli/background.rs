//! Threads for what nobody waits for: sending, the decision log, the sandbox's judging. They give way
//! to those that answer senders and to the committer, so that a batch of a thousand events in the
//! making is not what an acknowledgement waits for.

use anyhow::Context as _;
use tokio::runtime::{Builder, EnterGuard, Runtime};

/// How much they give way: while both have work, about a quarter of a core's time is theirs.
const NICENESS: i32 = 5;

/// A runtime of its own; what is spawned while it is entered stays there.
pub(super) struct Background(Option<Runtime>);

impl Background {
    /// Starts the threads.
    pub(super) fn start() -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_name("background")
            .on_thread_start(give_way)
            .build()
            .context("the background's threads cannot be started")?;
        Ok(Self(Some(runtime)))
    }

    /// What is spawned while this lives runs there.
    pub(super) fn enter(&self) -> Option<EnterGuard<'_>> {
        self.0.as_ref().map(Runtime::enter)
    }
}

impl Drop for Background {
    /// What had to finish has finished; a thread that is blocked must not keep the process.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn give_way() {
    // On Linux a thread's own. Where it may not be changed they are threads like the others.
    _ = rustix::process::nice(NICENESS);
}
