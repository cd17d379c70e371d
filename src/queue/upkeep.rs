//! Long work in small bites, one a round, so that nobody's acknowledgement waits for it: replays
//! and discards that an operator asked for, and the sweeps that end what is over.

use std::ops::ControlFlow;

use tokio::sync::oneshot;

use super::{
    ChunkKey, LeasedJob, Refused,
    chunk::{self, ChunkHead, DestinationNo},
    dead::{self, Filter},
    people,
    privacy::{Reach, Wipe},
    record,
    record::space,
    register,
    round::Round,
    store::{Direction, StoreError},
};

/// Records that one bite changes at most.
pub(super) const BITE: usize = 128;
/// Records that one bite looks at most where few of them change.
const LOOK: usize = 512;
/// Persons are looked through this often.
const PEOPLE_PASS_MS: i64 = 60 * 60 * 1000;
/// Destinations nobody leases from, and in which something may be over, are looked through this often,
/// and this long after.
const FORSAKEN_MS: i64 = 60 * 1000;

/// Expired: older than the platform takes.
const TOO_OLD: &str = "too_old";
/// Expired: kept as long as the relay keeps anything.
const RETENTION: &str = "retention";

/// Something an operator asked for.
#[derive(Debug)]
pub(super) struct Task {
    /// What.
    pub(super) kind: TaskKind,
    /// How much was done.
    pub(super) count: u64,
    /// Who waits for it.
    pub(super) reply: oneshot::Sender<Result<u64, Refused>>,
}

/// What an operator can ask for.
#[derive(Debug)]
pub(super) enum TaskKind {
    /// Dead letters back to pending, from a key on.
    Replay { filter: Filter, from: Vec<u8> },
    /// Dead letters thrown away, from a key on; then what is pending for a destination.
    Discard { filter: Filter, from: Vec<u8>, pending: Option<DestinationNo> },
    /// What is pending for a destination thrown away, from a key on.
    DiscardPending { destination: DestinationNo, from: Vec<u8> },
    /// What a person's choice or erasure does to what waits.
    Reach(Box<Reach>),
    /// What is kept of an erased person goes.
    Wipe(Box<Wipe>),
}

impl TaskKind {
    /// Whether it is done in one bite with whatever else a round does.
    pub(super) fn is_short(&self) -> bool {
        matches!(self, TaskKind::Reach(reach) if reach.is_short())
    }

    /// Where dead letters begin.
    pub(super) fn first_dead() -> Vec<u8> {
        record::whole(space::DEAD).0
    }
}

/// How the jobs of a chunk end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Discarded,
    Expired,
}

/// How far the sweeps have come.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    people_from: Option<Vec<u8>>,
    people_next_ms: i64,
    register_from: Option<Vec<u8>>,
    register_next_ms: i64,
    forsaken_next_ms: i64,
    forsaken_from: Vec<(DestinationNo, Vec<u8>)>,
}

impl Round<'_> {
    /// Takes one bite of a task; true when it is done.
    pub(super) fn work(&mut self, task: &mut Task) -> Result<bool, StoreError> {
        match &mut task.kind {
            TaskKind::Replay { filter, from } => {
                let (picked, next) = dead::pick(self.store, &self.shared.seal, filter, from, BITE)?;
                for one in picked {
                    match one.dead {
                        Ok(dead) => {
                            let number = one.head.destination;
                            record::delete(&mut self.batch, &one.key, one.pieces);
                            let mut job = dead.job;
                            job.attempts = 0;
                            self.correct(number, &job, true)?;
                            self.note_outcome(number, (job.id, job.slot), "replayed", "", None);
                            let book = self.state.books.of(number);
                            book.dead = book.dead.saturating_sub(1);
                            self.queue(number, 0, job);
                            task.count += 1;
                        }
                        Err(why) => tracing::error!("a dead letter cannot be replayed: {why}"),
                    }
                }
                Ok(match next {
                    Some(next) => {
                        *from = next;
                        false
                    }
                    None => true,
                })
            }
            TaskKind::Discard { filter, from, pending } => {
                let (picked, next) = dead::pick(self.store, &self.shared.seal, filter, from, BITE)?;
                for one in picked {
                    record::delete(&mut self.batch, &one.key, one.pieces);
                    if let Ok(dead) = one.dead {
                        let job = (dead.job.id, dead.job.slot);
                        self.note_outcome(one.head.destination, job, "discarded", "", None);
                    }
                    self.count_discarded(one.head.destination);
                    task.count += 1;
                }
                match (next, *pending) {
                    (Some(next), _) => *from = next,
                    (None, Some(destination)) => {
                        let from = ChunkKey::new(destination, 0, 0).0;
                        task.kind = TaskKind::DiscardPending { destination, from };
                    }
                    (None, None) => return Ok(true),
                }
                Ok(false)
            }
            TaskKind::DiscardPending { destination, from } => {
                let (found, next) = self.chunks(*destination, from)?;
                for (key, head, pieces, record) in found {
                    let Some(leased) = self.shared.claim(&key, head, pieces) else { continue };
                    self.remove_chunk(&key, &leased);
                    let counted = self.end_chunk(&key, head, &record, End::Discarded)?;
                    task.count += counted;
                }
                Ok(match next {
                    Some(next) => {
                        *from = next;
                        false
                    }
                    None => true,
                })
            }
            TaskKind::Reach(reach) => self.reach(reach, &mut task.count),
            TaskKind::Wipe(wipe) => self.wipe(wipe),
        }
    }

    /// Ends what is over; true if there may be more of it.
    pub(super) fn sweep(&mut self, sweeps: &mut Sweeps) -> Result<bool, StoreError> {
        self.state.ids.forget(self.now_ms);
        let floor = self.state.ids.floor_ms();
        let mut more = self.sweep_before(space::IDS, floor)?;
        more |= self.sweep_before(space::TRACE, self.ago(self.bounds.keep_traces_ms))?;
        // An order is answered for as long as its traces or the decision log are.
        let keep_orders_ms = self.bounds.keep_traces_ms.max(self.bounds.keep_sent_ms);
        more |= self.sweep_before(space::ORDER, self.ago(keep_orders_ms))?;
        more |= self.sweep_dead()?;
        more |= self.sweep_people(sweeps)?;
        more |= self.sweep_register(sweeps)?;
        more |= self.sweep_forsaken(sweeps)?;
        Ok(more)
    }

    fn ago(&self, ms: i64) -> i64 {
        self.now_ms.saturating_sub(ms)
    }

    fn sweep_before(&mut self, space: u8, before_ms: i64) -> Result<bool, StoreError> {
        let (from, _) = record::whole(space);
        let to = record::timed_key(space, before_ms, 0);
        let mut left = BITE;
        let batch = &mut self.batch;
        self.store.scan(&from, &to, Direction::Forward, &mut |key, _| {
            if left == 0 {
                return ControlFlow::Break(());
            }
            left -= 1;
            batch.delete(key.to_vec());
            ControlFlow::Continue(())
        })?;
        Ok(left == 0)
    }

    fn sweep_dead(&mut self) -> Result<bool, StoreError> {
        let (from, _) = record::whole(space::DEAD);
        let to = record::timed_key(space::DEAD, self.ago(self.bounds.keep_dead_ms), 0);
        let mut over = Vec::new();
        record::scan(self.store, &from, &to, Direction::Forward, &mut |found| {
            if let Some((head, _)) = dead::head_of(found.record) {
                over.push((found.key.to_vec(), found.pieces, head.destination));
            }
            Ok(if over.len() < BITE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        let more = over.len() == BITE;
        for (key, pieces, destination) in over {
            record::delete(&mut self.batch, &key, pieces);
            self.count_discarded(destination);
        }
        Ok(more)
    }

    fn count_discarded(&mut self, destination: DestinationNo) {
        let book = self.state.books.of(destination);
        book.dead = book.dead.saturating_sub(1);
        book.discarded += 1;
    }

    fn sweep_people(&mut self, sweeps: &mut Sweeps) -> Result<bool, StoreError> {
        if sweeps.people_from.is_none() && self.now_ms < sweeps.people_next_ms {
            return Ok(false);
        }
        let (first, to) = record::whole(space::PERSON);
        let from = sweeps.people_from.take().unwrap_or(first);
        let before = self.ago(self.bounds.keep_frequency_ms);
        let (mut looked, mut next) = (0, None);
        let (batch, store) = (&mut self.batch, self.store);
        record::scan(store, &from, &to, Direction::Forward, &mut |found| {
            if looked == LOOK {
                next = Some(found.key.to_vec());
                return Ok(ControlFlow::Break(()));
            }
            looked += 1;
            if people::newest_of(found.record) < before {
                record::delete(batch, found.key, found.pieces);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        sweeps.people_from = next;
        if sweeps.people_from.is_none() {
            sweeps.people_next_ms = self.now_ms.saturating_add(PEOPLE_PASS_MS);
        }
        Ok(sweeps.people_from.is_some())
    }

    fn sweep_register(&mut self, sweeps: &mut Sweeps) -> Result<bool, StoreError> {
        if sweeps.register_from.is_none() && self.now_ms < sweeps.register_next_ms {
            return Ok(false);
        }
        let (first, to) = record::whole(space::KNOWN);
        let from = sweeps.register_from.take().unwrap_or(first);
        let horizon = self.horizon();
        let (mut looked, mut next, mut aged) = (0, None, Vec::new());
        record::scan(self.store, &from, &to, Direction::Forward, &mut |found| {
            if looked == LOOK || aged.len() == BITE {
                next = Some(found.key.to_vec());
                return Ok(ControlFlow::Break(()));
            }
            looked += 1;
            aged.extend(register::ages(&found, horizon));
            Ok(ControlFlow::Continue(()))
        })?;
        for home in aged {
            self.register.age(self.store, &self.shared.seal, &home, horizon)?;
        }
        sweeps.register_from = next;
        if sweeps.register_from.is_none() {
            sweeps.register_next_ms = self.now_ms.saturating_add(PEOPLE_PASS_MS);
        }
        Ok(sweeps.register_from.is_some())
    }

    /// Jobs of destinations nobody leases from end when they expire: delivery ends the others.
    fn sweep_forsaken(&mut self, sweeps: &mut Sweeps) -> Result<bool, StoreError> {
        if sweeps.forsaken_from.is_empty() {
            if self.now_ms < sweeps.forsaken_next_ms {
                return Ok(false);
            }
            sweeps.forsaken_next_ms = self.now_ms.saturating_add(FORSAKEN_MS);
            let forsaken = self.shared.forsaken(self.ago(FORSAKEN_MS), self.now_ms);
            let start = |number| (number, ChunkKey::new(number, 0, 0).0);
            sweeps.forsaken_from = forsaken.into_iter().map(start).collect();
        }
        let Some((destination, from)) = sweeps.forsaken_from.pop() else { return Ok(false) };
        let (found, next) = self.chunks(destination, &from)?;
        for (key, head, pieces, record) in found {
            if head.expires_ms > self.now_ms {
                continue;
            }
            let Some(leased) = self.shared.claim(&key, head, pieces) else { continue };
            self.remove_chunk(&key, &leased);
            self.end_chunk(&key, head, &record, End::Expired)?;
        }
        if let Some(next) = next {
            sweeps.forsaken_from.push((destination, next));
        }
        Ok(!sweeps.forsaken_from.is_empty())
    }

    /// A chunk's jobs leave the queue; how many were in the books.
    fn end_chunk(
        &mut self,
        key: &ChunkKey,
        head: ChunkHead,
        record: &[u8],
        end: End,
    ) -> Result<u64, StoreError> {
        let destination = key.destination();
        for job in 0..head.jobs {
            self.unqueue(destination, job >= head.counted);
        }
        let counted = u64::from(head.counted);
        let book = self.state.books.of(destination);
        match end {
            End::Discarded => book.discarded += counted,
            End::Expired => book.expired += counted,
        }
        match chunk::open(&self.shared.seal, key, record) {
            Ok(jobs) => {
                for job in jobs.into_iter().filter(|job| !job.uncounted) {
                    self.correct(destination, &job, false)?;
                    let place = (job.id, job.slot);
                    match end {
                        End::Discarded => {
                            self.note_outcome(destination, place, "discarded", "", None);
                        }
                        End::Expired => {
                            let code = self.over(&job);
                            self.note_outcome(destination, place, "expired", code, None);
                            self.note_expired(destination, job.label.event, code, 1);
                        }
                    }
                }
            }
            Err(why) => {
                tracing::error!("a chunk ends that cannot be opened: {why}");
                if end == End::Expired {
                    self.note_expired(destination, String::new(), RETENTION, counted);
                }
            }
        }
        Ok(counted)
    }

    /// By which of its two limits a job is over: the platform's, where that is the earlier one.
    fn over(&self, job: &LeasedJob) -> &'static str {
        let kept_until_ms = job.accepted_at_ms.saturating_add(self.bounds.keep_queue_ms);
        if job.expires_at_ms < kept_until_ms { TOO_OLD } else { RETENTION }
    }

    /// The next few synced chunks of a destination, and where to go on.
    #[allow(clippy::type_complexity, reason = "used twice, right here")]
    fn chunks(
        &self,
        destination: DestinationNo,
        from: &[u8],
    ) -> Result<(Vec<(ChunkKey, ChunkHead, u16, Vec<u8>)>, Option<Vec<u8>>), StoreError> {
        let mut to = ChunkKey::new(destination, i64::MAX, u64::MAX).0;
        to.push(u8::MAX);
        let (mut found, mut next) = (Vec::new(), None);
        record::scan(self.store, from, &to, Direction::Forward, &mut |chunk| {
            if found.len() == BITE {
                next = Some(chunk.key.to_vec());
                return Ok(ControlFlow::Break(()));
            }
            if let Some(head) = ChunkHead::decode(chunk.record) {
                let key = ChunkKey(chunk.key.to_vec());
                found.push((key, head, chunk.pieces, chunk.record.to_vec()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((found, next))
    }
}
