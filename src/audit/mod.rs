//! The privacy report: from a configuration to everything that may leave, decided by the functions
//! that `serve` decides with. Pure: who reads files and clocks hands in what they say.
//!
//! It owns enumeration, comparison and wording. It decides nothing: where it and the relay could
//! disagree, there is one function that both call.

mod combinations;
mod difference;
mod html;
mod record;
mod regions;
mod report;
mod table;
#[cfg(test)]
mod tests;
mod words;

pub use combinations::lock;
pub use difference::{Beyond, More, beyond};
pub use report::Report;
pub use table::all as news_json;

/// A piece of news as a sentence: what this lets leave and another does not.
pub fn sentence(beyond: &Beyond) -> String {
    words::news(beyond, "newly gets")
}
