//! Which events belong to an order: keyed hashes only, so that a file of orders can be held against
//! what was decided for as long as that is kept.
//!
//! One packed record a commit, under a key that begins with the time, so that expiry is a range and
//! the committer pays 32 bytes an order. A search reads all of it once, for as many orders as are
//! asked for. What became of the events is not known here: that is their traces', and the decision
//! log's.

use std::{
    collections::{BTreeMap, HashSet},
    ops::ControlFlow,
};

use jiff::Timestamp;

use super::{
    IdHash, Queue, Refused, Trace, blocking,
    record::{self, space},
    store::{Batch, Direction, Store, StoreError},
    trace,
};

/// One line: the order, and the trace hash of an event of it.
const LINE_BYTES: usize = 32;
/// Lines that fit one value.
const LINES: usize = (record::MAX_VALUE_BYTES - 2) / LINE_BYTES;

/// An order, and an event of it.
pub(super) type OrderLine = (IdHash, IdHash);

/// An event of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderEvent {
    /// [`super::Admission::trace_id`].
    pub event: IdHash,
    /// When it was accepted.
    pub at: Timestamp,
}

/// Writes a commit's lines.
pub(super) fn write(
    batch: &mut Batch,
    lines: &[OrderLine],
    at_ms: i64,
    mut sequence: impl FnMut() -> u64,
) {
    for lines in lines.chunks(LINES) {
        record::put(batch, &record::timed_key(space::ORDER, at_ms, sequence()), &packed(lines));
    }
}

fn packed<'a>(lines: impl IntoIterator<Item = &'a OrderLine>) -> Vec<u8> {
    lines.into_iter().flat_map(|(order, event)| order.iter().chain(event)).copied().collect()
}

fn lines(record: &[u8]) -> impl Iterator<Item = OrderLine> + '_ {
    let (lines, _) = record.as_chunks::<LINE_BYTES>();
    lines.iter().filter_map(|line| {
        let (order, event) = line.split_first_chunk::<16>()?;
        Some((*order, event.try_into().ok()?))
    })
}

/// The events of orders, oldest first.
fn find(
    store: &dyn Store,
    wanted: &HashSet<IdHash>,
) -> Result<BTreeMap<IdHash, Vec<OrderEvent>>, StoreError> {
    let (from, to) = record::whole(space::ORDER);
    let mut all: BTreeMap<IdHash, Vec<OrderEvent>> = BTreeMap::new();
    record::scan(store, &from, &to, Direction::Forward, &mut |found| {
        let at = Timestamp::from_millisecond(record::time_of(found.key)).unwrap_or_default();
        for (order, event) in lines(found.record).filter(|(order, _)| wanted.contains(order)) {
            let events = all.entry(order).or_default();
            if !events.iter().any(|known| known.event == event) {
                events.push(OrderEvent { event, at });
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(all)
}

/// The records that hold a line about one of these events.
pub(super) fn holding(
    store: &dyn Store,
    events: &HashSet<IdHash>,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let (from, to) = record::whole(space::ORDER);
    let mut keys = Vec::new();
    record::scan(store, &from, &to, Direction::Forward, &mut |found| {
        if lines(found.record).any(|(_, event)| events.contains(&event)) {
            keys.push(found.key.to_vec());
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(keys)
}

/// Rewrites a record without the lines of some events.
pub(super) fn remove(
    store: &dyn Store,
    batch: &mut Batch,
    key: &[u8],
    events: &HashSet<IdHash>,
) -> Result<(), StoreError> {
    let Some((pieces, bytes)) = record::get(store, key)? else { return Ok(()) };
    let kept: Vec<OrderLine> = lines(&bytes).filter(|(_, event)| !events.contains(event)).collect();
    if kept.is_empty() {
        record::delete(batch, key, pieces);
    } else {
        record::replace(batch, key, &packed(&kept), pieces);
    }
    Ok(())
}

impl Queue {
    /// The events of orders, by [`super::Admission::order`]; one walk over what is kept, whatever
    /// their number.
    pub async fn orders(
        &self,
        orders: HashSet<IdHash>,
    ) -> Result<BTreeMap<IdHash, Vec<OrderEvent>>, Refused> {
        let shared = std::sync::Arc::clone(&self.inner.shared);
        blocking(move || Ok(find(&*shared.store()?, &orders)?)).await
    }

    /// Everything kept of several events, by their hashes; one walk, as [`Queue::orders`].
    pub async fn traces(
        &self,
        events: HashSet<IdHash>,
    ) -> Result<BTreeMap<IdHash, Trace>, Refused> {
        let shared = std::sync::Arc::clone(&self.inner.shared);
        blocking(move || Ok(trace::find_each(&*shared.store()?, &shared.seal, &events)?)).await
    }
}
