//! How much of a listener everybody may take: connections in all and from one address, and bytes of
//! bodies that are held at once. Counting is cheap and bounded: refusing costs less than serving.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::HttpBody;
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use ipnet::IpNet;
use tokio::time::Sleep;

/// Whoever shares this counts as one: an address; of IPv6 the /64 that a customer is given.
pub(super) fn peer_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
    }
}

// === connections ===

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crowded {
    /// All are taken.
    All,
    /// This address has all that it may.
    Peer,
}

/// The connections of a listener.
#[derive(Debug, Default)]
pub(super) struct Connections {
    // A std mutex: held for a lookup at the beginning and end of a connection, never over an await.
    // There is an address for each open connection at most.
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_peer: HashMap<IpAddr, usize>,
}

/// One connection's place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    peer: Option<IpAddr>,
}

impl Connections {
    /// Takes a place. This machine and trusted proxies stand for many, and count in all only.
    pub(super) fn enter(
        self: &Arc<Self>,
        address: IpAddr,
        trusted: &[IpNet],
        (all, per_peer): (usize, usize),
    ) -> Result<Place, Crowded> {
        let address = address.to_canonical();
        let is_many =
            address.is_loopback() || trusted.iter().any(|network| network.contains(&address));
        let peer = (!is_many).then(|| peer_of(address));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= all {
            return Err(Crowded::All);
        }
        if let Some(peer) = peer {
            let own = open.by_peer.entry(peer).or_default();
            if *own >= per_peer {
                return Err(Crowded::Peer);
            }
            *own += 1;
        }
        open.all += 1;
        Ok(Place { connections: Arc::clone(self), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all = open.all.saturating_sub(1);
        let Some(peer) = self.peer else { return };
        if let Some(own) = open.by_peer.get_mut(&peer) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                open.by_peer.remove(&peer);
            }
        }
    }
}

// === bodies ===

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Cut {
    /// It came too slowly.
    #[error("the body did not arrive within {} seconds", .0.as_secs_f32())]
    TooSlow(Duration),
    /// Other bodies take all the room there is.
    #[error("too many bodies are held at once")]
    NoRoom,
}

impl Cut {
    /// The cut among an error and its causes.
    pub(super) fn among(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(cut) = error.downcast_ref::<Self>() {
                return Some(*cut);
            }
            next = error.source();
        }
        None
    }
}

tokio::task_local! {
    // Task-local, since whoever reads a body is deep below the server, and may be called without it.
    static HOLD: Hold;
}

/// What one request holds of the room for bodies, until it has been answered.
#[derive(Debug)]
pub(super) struct Hold {
    held: Arc<AtomicUsize>,
    at_most: usize,
    own: AtomicUsize,
}

impl Hold {
    /// Nothing yet.
    pub(super) fn new(held: &Arc<AtomicUsize>, at_most: usize) -> Self {
        Self { held: Arc::clone(held), at_most, own: AtomicUsize::new(0) }
    }

    /// Runs a request, which holds what it takes until it has been answered.
    pub(super) async fn over<T>(self, request: impl Future<Output = T>) -> T {
        HOLD.scope(self, request).await
    }

    /// Has the request that runs hold more; without a server there is room for everything.
    pub(super) fn take(bytes: usize) -> Result<(), Cut> {
        HOLD.try_with(|hold| hold.grow(bytes)).unwrap_or(Ok(()))
    }

    /// What is held is given back in any case.
    fn grow(&self, bytes: usize) -> Result<(), Cut> {
        self.own.fetch_add(bytes, Ordering::Relaxed);
        let all = self.held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if all <= self.at_most { Ok(()) } else { Err(Cut::NoRoom) }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.fetch_sub(*self.own.get_mut(), Ordering::Relaxed);
    }
}

/// A request's body, which has so much time to arrive.
pub(super) struct Timed {
    inner: Incoming,
    timeout: Duration,
    // Made when the body is first waited for: most are there whole by then.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    pub(super) fn new(inner: Incoming, timeout: Duration) -> Self {
        Self { inner, timeout, deadline: None }
    }
}

impl fmt::Debug for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timed").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let timeout = this.timeout;
        let deadline = this.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        deadline.as_mut().poll(context).map(|()| Some(Err(Cut::TooSlow(timeout).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_all_and_by_address() {
        let connections = Arc::new(Connections::default());
        let proxies = ["10.0.0.0/8".parse().unwrap()];
        let enter = |address: &str| connections.enter(address.parse().unwrap(), &proxies, (6, 2));
        let first = enter("203.0.113.9").unwrap();
        let _second = enter("::ffff:203.0.113.9").unwrap();
        assert_eq!(enter("203.0.113.9").unwrap_err(), Crowded::Peer);
        let _v6 = [enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap()];
        assert_eq!(enter("2001:db8::3").unwrap_err(), Crowded::Peer, "one /64 is one");
        drop(first);
        let _again = enter("203.0.113.9").unwrap();
        let _many = [enter("10.1.2.3").unwrap(), enter("127.0.0.1").unwrap()];
        assert_eq!(enter("198.51.100.1").unwrap_err(), Crowded::All);
        drop(_many);
        assert_eq!(connections.open.lock().unwrap().by_peer.len(), 2);
        drop((_second, _again, _v6));
        let open = connections.open.lock().unwrap();
        assert!(open.by_peer.is_empty() && open.all == 0, "nothing is left: {open:?}");
    }

    #[test]
    fn room_for_bodies_is_given_back() {
        let held = Arc::new(AtomicUsize::new(0));
        let (one, two) = (Hold::new(&held, 100), Hold::new(&held, 100));
        assert_eq!((one.grow(60), two.grow(60)), (Ok(()), Err(Cut::NoRoom)));
        drop(two);
        assert_eq!((held.load(Ordering::Relaxed), one.grow(40)), (60, Ok(())));
        drop(one);
        assert_eq!(held.load(Ordering::Relaxed), 0);
        assert_eq!(Hold::take(usize::MAX), Ok(()), "nobody serves");
    }

    #[test]
    fn a_cut_is_found_however_deep_it_is_wrapped() {
        let error = axum::Error::new(axum::Error::new(Cut::NoRoom));
        assert_eq!(Cut::among(&error), Some(Cut::NoRoom));
        assert_eq!(Cut::among(&std::io::Error::other("x")), None);
    }
}
