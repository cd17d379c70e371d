//! Properties: what holds for every input.
#![allow(missing_docs, reason = "tests describe themselves")]

mod consent;
