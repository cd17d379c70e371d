//! What delivery needs of a queue: leases out, settlements in. Tests put a queue of their own here.

use std::future::{Future, ready};

use crate::queue::{Lease, Queue, Refused, Settlement};

/// A queue, as delivery sees it.
pub trait Jobs: Clone + Send + Sync + 'static {
    /// See [`Queue::lease`]; never blocks the caller's thread.
    fn lease(
        &self,
        destination: &str,
        at_most: usize,
        fresh_share: u8,
    ) -> impl Future<Output = Result<Option<Lease>, Refused>> + Send;

    /// See [`Queue::wait_due`].
    fn wait_due(&self, destination: &str) -> impl Future<Output = ()> + Send;

    /// See [`Queue::mark_sending`].
    fn mark_sending(&self, lease: &Lease) -> impl Future<Output = Result<(), Refused>> + Send;

    /// See [`Queue::settle`].
    fn settle(&self, settlement: Settlement) -> impl Future<Output = Result<(), Refused>> + Send;

    /// See [`Queue::release`].
    fn release(&self, lease: Lease);

    /// See [`Queue::keep`]. A queue that keeps nothing refuses.
    fn keep(&self, name: &str, text: Vec<u8>) -> impl Future<Output = Result<(), Refused>> + Send {
        let _: (&str, Vec<u8>) = (name, text);
        ready(Err(Refused::Store("this queue keeps no records".to_owned())))
    }

    /// See [`Queue::kept`].
    fn kept(&self, name: &str) -> impl Future<Output = Result<Option<Vec<u8>>, Refused>> + Send {
        let _: &str = name;
        ready(Ok(None))
    }
}

impl Jobs for Queue {
    async fn lease(
        &self,
        destination: &str,
        at_most: usize,
        fresh_share: u8,
    ) -> Result<Option<Lease>, Refused> {
        let (queue, destination) = (self.clone(), destination.to_owned());
        // A lease reads and opens chunks: work for a thread that may block.
        let leasing = move || Queue::lease(&queue, &destination, at_most, fresh_share);
        match tokio::task::spawn_blocking(leasing).await {
            Ok(lease) => lease,
            Err(_) => Err(Refused::Stopping),
        }
    }

    async fn wait_due(&self, destination: &str) {
        Queue::wait_due(self, destination).await;
    }

    async fn mark_sending(&self, lease: &Lease) -> Result<(), Refused> {
        Queue::mark_sending(self, lease).await
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), Refused> {
        Queue::settle(self, settlement).await
    }

    fn release(&self, lease: Lease) {
        Queue::release(self, lease);
    }

    async fn keep(&self, name: &str, text: Vec<u8>) -> Result<(), Refused> {
        Queue::keep(self, name, text).await
    }

    async fn kept(&self, name: &str) -> Result<Option<Vec<u8>>, Refused> {
        Queue::kept(self, name).await
    }
}
