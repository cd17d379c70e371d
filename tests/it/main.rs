#![allow(missing_docs)]
mod queue;
