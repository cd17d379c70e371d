//! What a write key meets at every door before its events do: its origins, its pace, and for a
//! browser's key, which anybody can read and post with, a pace for each address and session and an eye
//! for bots. Of a backend nothing but its own limit is asked.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
};

use axum::{
    extract::ConnectInfo,
    http::{HeaderMap, request::Parts},
};

use super::{Relay, client, cors, error::ApiError};
use crate::{
    config::{Config, KeyKind, WriteKey},
    destinations::Mode,
    sources::{
        Door, Rejection, RejectionCode,
        beacon::{self, Strictness},
        json::Node,
    },
};

/// Faster than this in one session is no visitor: each a second, and at once. What was held until
/// the visitor chose comes at once, at most 100 events.
const SESSION_PACE: (NonZeroU32, NonZeroU32) = (at_least_one(10), at_least_one(200));

const fn at_least_one(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

/// Whether this key may be used from there, and so often. Takes one request of its limits.
pub(super) fn admit(
    relay: &Relay,
    config: &Config,
    key: &WriteKey,
    parts: &Parts,
) -> Result<(), ApiError> {
    check_origin(key, &parts.headers)?;
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    if let (KeyKind::Browser, Some(ConnectInfo(peer))) = (key.kind, peer) {
        let address = client::address(peer.ip(), &parts.headers, &config.listen);
        relay.throttle.take_address(key, network(address)).map_err(|wait| {
            let detail = "too many requests from one address (the key's rate_limit_per_address)";
            ApiError::too_many_requests(detail, wait.as_secs() + 1)
        })?;
    }
    relay.throttle.take(key).map_err(|wait| {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        ApiError::too_many_requests("this write key's rate_limit is used up", seconds)
    })
}

/// A page of another origin may not use a browser's key.
pub(super) fn check_origin(key: &WriteKey, headers: &HeaderMap) -> Result<(), ApiError> {
    if cors::may_use(key, headers) {
        return Ok(());
    }
    Err(ApiError::not_allowed("this write key may not be used from this origin; see its `origins`"))
}

/// Whoever has one IPv6 address has all of its /64.
fn network(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

/// Refuses an event that no visitor sends. `known`: the visitor's id that the connection shows, for
/// the pace of an event that names no session.
pub(super) fn screen(
    relay: &Relay,
    config: &Config,
    door: &Door<'_>,
    event: &Node<'_>,
    known: Option<&str>,
) -> Result<(), Rejection> {
    let Some(why) = bot(relay, config, door, event, known) else { return Ok(()) };
    let mut rejection = Rejection::new(RejectionCode::NotAllowed, why, "");
    rejection.event_id = event.get("event_id").and_then(Node::as_text).map(str::to_owned);
    Err(rejection)
}

/// Why the sender is no visitor.
fn bot(
    relay: &Relay,
    config: &Config,
    door: &Door<'_>,
    event: &Node<'_>,
    known: Option<&str>,
) -> Option<&'static str> {
    if !door.is_browser() {
        return None;
    }
    let strictness = match config.mode {
        Mode::Live => Strictness::Tools,
        _ => Strictness::Crawlers,
    };
    if beacon::is_bot(door.user_agent, strictness) {
        return Some("the user agent is a program's");
    }
    if beacon::is_impossible(event) {
        return Some("no visitor does this so soon after the page was shown");
    }
    let of = |group: &str, key: &str| event.get(group)?.get(key)?.as_text();
    let session = of("context", "session_id").or(known).or_else(|| of("user", "anonymous_id"))?;
    let (per_second, burst) = SESSION_PACE;
    let is_too_fast = !relay.throttle.take_session(session, per_second, burst);
    is_too_fast.then_some("more events in one session than a visitor can cause")
}
