//! Destinations: one file a platform, each a pure translation between jobs and HTTP.
//!
//! [`REGISTRY`] lists the platforms; configuration, `check`, metrics, the sandbox and README's
//! table iterate it. No platform's name occurs in the code outside its own file, its contract and
//! its registry line.

mod adjust;
mod amazon;
mod answer;
mod auth;
mod call;
mod criteo;
mod destination;
mod ga4;
mod google;
mod google_ads;
mod google_ads_upload;
mod hint;
mod linkedin;
mod meta;
mod microsoft;
mod microsoft_offline;
mod oauth;
mod openai;
mod outbrain;
mod pinterest;
mod platform;
mod prepare;
mod quora;
pub mod reach;
mod reddit;
mod settings;
mod snapchat;
mod taboola;
mod take;
mod the_trade_desk;
mod tiktok;
mod webhook;
mod wire;
mod x;

pub use auth::Auth;
pub use call::{
    Answer, Call, CallPurpose, Fault, FaultKind, FollowUp, Note, Outcome, Pace, Probe, Response,
};
pub use destination::{Destination, Occasion, Preparation, Refusal};
pub use hint::hint;
pub use platform::{
    ApiVersion, BatchLimits, BrowserDedup, Configured, Dedup, Platform, Quota, Version,
};
pub use settings::{Entry, Key, KeyKind, Mode, Problem, Settings};
pub use take::{Form, Take, Taken};

/// Every platform, in the order of README's table.
pub static REGISTRY: &[&Platform] = &[
    &meta::PLATFORM,
    &google_ads::PLATFORM,
    &google_ads_upload::PLATFORM,
    &ga4::PLATFORM,
    &microsoft::PLATFORM,
    &microsoft_offline::PLATFORM,
    &linkedin::PLATFORM,
    &reddit::PLATFORM,
    &tiktok::PLATFORM,
    &snapchat::PLATFORM,
    &pinterest::PLATFORM,
    &x::PLATFORM,
    &amazon::PLATFORM,
    &openai::PLATFORM,
    &the_trade_desk::PLATFORM,
    &taboola::PLATFORM,
    &outbrain::PLATFORM,
    &criteo::PLATFORM,
    &quora::PLATFORM,
    &webhook::PLATFORM,
];

/// The platform of a name.
pub fn platform(name: &str) -> Option<&'static Platform> {
    REGISTRY.iter().copied().find(|platform| platform.name == name)
}
