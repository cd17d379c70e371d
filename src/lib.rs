#![doc = include_str!("ARCHITECTURE.md")]

// In layer order: pure below, machinery above it, the shell on top.
pub mod alert;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod consent;
pub mod delivery;
pub mod destinations;
pub mod event;
pub mod evidence;
pub mod expression;
pub mod http;
pub mod identity;
pub mod job;
pub mod pipeline;
pub mod plan;
pub mod queue;
pub mod sandbox;
pub mod sources;
pub mod telemetry;
pub mod value;
