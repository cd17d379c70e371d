//! Helpers for writing bodies: exact numbers, batches within limits.
