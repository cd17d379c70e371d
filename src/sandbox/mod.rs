//! One server that plays every platform, by contracts kept as data.
//!
//! It refuses what the real platforms refuse, in their own words; it shows what arrived; and it
//! goes wrong on demand. A contract is one JSON file under `contracts/`, written from the vendor's
//! documentation and never from the mapping under `destinations/`, so that both can be held against
//! each other. The sandbox knows nothing of the relay but the registry's list of contracts: not its
//! events, its queue or its settings.
//!
//! Every secret that it takes is `sandbox-` and the name of its key (`sandbox-access_token`);
//! OAuth tokens are those that its own token endpoints give.
//!
//! A new platform's contract is one file under `contracts/`, which its registry entry includes;
//! `shape.rs` lists the words that it can use.
//!
//! Two ways in: [`serve`] over HTTP, and [`check()`] in the process, for holding an assembled request
//! against its contract.

mod answer;
mod check;
mod contract;
mod faults;
mod find;
mod format;
mod judge;
mod later;
mod received;
mod request;
mod server;
mod shape;
mod token;
mod violation;

use jiff::Timestamp;

pub use self::{
    answer::Reply,
    faults::{Fault, Until},
    judge::{Refused, Verdict},
    request::Request,
    server::{Sandbox, SandboxOptions, router, serve, serve_on},
};

/// The platforms that have a contract.
pub fn platforms() -> impl Iterator<Item = &'static str> {
    contract::all().iter().map(|contract| contract.platform.as_str())
}

/// Holds a request against a platform's contract, as the sandbox would at `now`, but without
/// looking at credentials. `None`: there is no contract for that platform.
pub fn check(platform: &str, request: Request<'_>, now: Timestamp) -> Option<Verdict> {
    Some(judge::judge(
        &judge::Court {
            contract: contract::of(platform)?,
            now,
            credentials: false,
            validate: true,
            serial: 0,
            memory: None,
            doomed: &|_, _| false,
        },
        request,
    ))
}
