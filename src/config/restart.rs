//! What only a start takes in: a reload of it changes nothing, and says so.

use super::Config;

/// The settings of `new` that a relay started with `old` goes on without, by dotted path.
pub fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let (listen, queue) = (&old.listen, &old.queue);
    [
        ("listen.public", listen.public != new.listen.public),
        ("listen.admin", listen.admin != new.listen.admin),
        ("listen.sandbox", listen.sandbox != new.listen.sandbox),
        ("queue.engine", queue.engine.name() != new.queue.engine.name()),
        ("queue.max_pending", queue.max_pending != new.queue.max_pending),
        (
            "queue.max_pending_per_destination",
            queue.max_pending_per_destination != new.queue.max_pending_per_destination,
        ),
        ("queue.max_disk", queue.max_disk != new.queue.max_disk),
    ]
    .into_iter()
    .filter_map(|(path, is_another)| is_another.then_some(path))
    .collect()
}
