//! names of metrics and logs.
