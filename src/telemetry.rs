//! Names of metrics: one closed list, so that code, documentation, dashboard and alerts agree.
//!
//! Labels carry names of the configuration (destination, event) and codes, never identity.

/// Jobs settled, by `destination`, `event`, `outcome` and `reason` (counter).
pub const JOBS: &str = "relay_jobs_total";
/// From acceptance to delivery, by `destination` (histogram, seconds).
pub const DELIVERY_SECONDS: &str = "relay_delivery_seconds";
/// One call to a platform, by `destination`, `purpose` and `status` (histogram, seconds).
pub const CALL_SECONDS: &str = "relay_call_seconds";
/// Waits for the rate limit, by `destination` (histogram, seconds).
pub const RATE_LIMIT_WAIT_SECONDS: &str = "relay_rate_limit_wait_seconds";
/// Events whose send has no known result, by `destination` (counter).
pub const UNKNOWN_RESULTS: &str = "relay_unknown_results_total";
/// What answers told besides, by `destination` and `code` (counter of events).
pub const NOTES: &str = "relay_notes_total";
/// Batches cut in two because nothing said which event was at fault, by `destination` (counter).
pub const HALVINGS: &str = "relay_halvings_total";
/// 1 for the state that a destination is in, by `destination` and `state` (gauge).
pub const DESTINATION_STATE: &str = "relay_destination_state";

/// Every metric of delivery with its help text.
pub const DELIVERY_METRICS: &[(&str, &str)] = &[
    (JOBS, "Jobs settled, by destination, event, outcome and reason"),
    (DELIVERY_SECONDS, "Seconds from acceptance to delivery"),
    (CALL_SECONDS, "Seconds of one call to a platform"),
    (RATE_LIMIT_WAIT_SECONDS, "Seconds waited for a destination's rate limit"),
    (UNKNOWN_RESULTS, "Events whose send has no known result"),
    (NOTES, "What answers told besides their outcomes, in events"),
    (HALVINGS, "Batches cut in two because nothing said which event was at fault"),
    (DESTINATION_STATE, "1 for the state that a destination is in"),
];
