//! raw.
