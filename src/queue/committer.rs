//! The committer: one thread, the only writer. Each round it takes what waits, applies all of it
//! as one batch, syncs, and then answers everybody.

use std::{
    collections::{HashSet, VecDeque},
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    Admission, Admitted, ChunkKey, OpenError, Refused, Settlement, Vitals,
    admit::BACKLOG_FULL,
    counters::Books,
    folder::Folder,
    ids::Ids,
    kept,
    lease::{Published, Shared},
    open::cannot_open,
    outbox::Moved,
    record::{self, space},
    round::{Bounds, Round, State},
    seal::{self, Seal},
    store::{self, Direction, Opener, Store, StoreError},
    upkeep::{Sweeps, Task},
};
use crate::{clock::Stopwatch, config::QueueSettings, telemetry};

/// An operation takes 10 to 16 µs, on either engine: so many keep an acknowledgement under 10 ms.
const OPERATIONS: usize = 500;
/// How long it sleeps where nothing waits.
const TICK: Duration = Duration::from_millis(100);
/// How often it looks for what is over.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Waits between attempts to open the store again.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(5);

/// What the committer is asked to do.
pub(super) enum Request {
    /// See [`super::Queue::admit`]. The permit bounds what waits.
    Admit {
        admissions: Vec<Admission>,
        reply: oneshot::Sender<Result<Vec<Admitted>, Refused>>,
        permit: OwnedSemaphorePermit,
    },
    /// See [`super::Queue::foresee`].
    Foresee { admission: Box<Admission>, reply: oneshot::Sender<Result<Option<Admitted>, Refused>> },
    /// See [`super::Queue::settle`].
    Settle { settlement: Settlement, reply: oneshot::Sender<Result<(), Refused>> },
    /// See [`super::Queue::mark_sending`].
    Mark { chunks: Vec<ChunkKey>, reply: oneshot::Sender<Result<(), Refused>> },
    /// See [`super::Queue::keep`].
    Keep { name: String, text: Vec<u8>, reply: oneshot::Sender<Result<(), Refused>> },
    /// See [`super::Queue::note_delivery`].
    Note { id: super::IdHash, reply: oneshot::Sender<Result<(), Refused>> },
    /// See [`super::Queue::knows_delivery`].
    Knows { id: super::IdHash, reply: oneshot::Sender<Result<bool, Refused>> },
    /// See [`super::Queue::evidence_moved`].
    Moved { moved: Moved, reply: oneshot::Sender<Result<(), Refused>> },
    /// A released lease had set marks.
    Unmark { chunks: Vec<ChunkKey> },
    /// See [`super::Queue::rotate`].
    Rotate {
        settings: Box<QueueSettings>,
        random: [u8; 32],
        reply: oneshot::Sender<Result<(), Refused>>,
    },
    /// Long work for an operator.
    Work(Task),
    /// See [`super::Queue::close`].
    Close { reply: oneshot::Sender<()> },
}

/// An answer that waits for the sync.
enum Reply {
    Admitted(oneshot::Sender<Result<Vec<Admitted>, Refused>>, Vec<Admitted>, OwnedSemaphorePermit),
    Done(oneshot::Sender<Result<(), Refused>>),
    Count(oneshot::Sender<Result<u64, Refused>>, u64),
}

impl Reply {
    /// Nobody may be waiting any more: that is fine, what was asked for is done.
    fn send(self, refusal: Option<&Refused>) {
        match self {
            Reply::Admitted(reply, admitted, _permit) => {
                _ = reply.send(refusal.map_or(Ok(admitted), |r| Err(r.clone())));
            }
            Reply::Done(reply) => _ = reply.send(refusal.map_or(Ok(()), |r| Err(r.clone()))),
            Reply::Count(reply, count) => {
                _ = reply.send(refusal.map_or(Ok(count), |r| Err(r.clone())));
            }
        }
    }
}

/// How event ids are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeepIds {
    /// How long, milliseconds.
    pub(super) keep_ms: i64,
    /// How many.
    pub(super) at_most: usize,
}

/// The one writer.
pub(super) struct Committer {
    pub(super) folder: Folder,
    pub(super) opener: Opener,
    pub(super) shared: Arc<Shared>,
    pub(super) requests: Receiver<Request>,
    pub(super) bounds: Bounds,
    pub(super) keep_ids: KeepIds,
    /// Bytes that the store may take.
    pub(super) max_disk: u64,
    store: Option<Arc<dyn Store>>,
    state: State,
    tasks: VecDeque<Task>,
    sweeps: Sweeps,
    more_to_sweep: bool,
    swept: Stopwatch,
    vitals: Vitals,
    closed_for: Stopwatch,
    backoff: Duration,
    /// Something could not be read: before the store is used again all of it is.
    suspect: bool,
    /// Every batch below this number is on disk: a store that knows less is not ours.
    durable: u64,
    /// The number of these that the folder tells.
    noted: u64,
}

/// What is gathered beside the batch while a round is made.
#[derive(Default)]
struct Gathered {
    replies: Vec<Reply>,
    /// Answered when the round is over, like all others: who asks again is judged anew.
    refused: Vec<(Reply, Refused)>,
    /// Chunks whose settlement is in the round: due again if it fails.
    settling: Vec<ChunkKey>,
    close: Option<oneshot::Sender<()>>,
}

impl Committer {
    /// A committer over an open store; shares what it reads of it.
    #[allow(clippy::too_many_arguments, reason = "called once; each is a part of the house")]
    pub(super) fn new(
        folder: Folder,
        opener: Opener,
        store: Arc<dyn Store>,
        shared: Arc<Shared>,
        requests: Receiver<Request>,
        bounds: Bounds,
        keep_ids: KeepIds,
        max_disk: u64,
    ) -> Result<Self, StoreError> {
        let state = load(&*store, &shared.seal, keep_ids, shared.now_ms())?;
        let durable = state.books.events.next_sequence;
        let mut committer = Self {
            folder,
            opener,
            shared,
            requests,
            bounds,
            keep_ids,
            max_disk,
            store: None,
            state,
            tasks: VecDeque::new(),
            sweeps: Sweeps::default(),
            more_to_sweep: false,
            swept: Stopwatch::start(),
            vitals: Vitals::default(),
            closed_for: Stopwatch::start(),
            backoff: FIRST_BACKOFF,
            suspect: false,
            durable,
            noted: durable,
        };
        committer.resume(store)?;
        Ok(committer)
    }

    /// Marks the folder as holding a store, before anything is acknowledged.
    pub(super) fn begin(&self) -> Result<(), OpenError> {
        self.folder.keep_ballast();
        self.folder.mark(self.state.books.events.next_sequence).map_err(|error| {
            OpenError(format!("the data folder's marker cannot be written: {error}"))
        })
    }

    /// Works until it is told to close, or nobody is left to ask.
    pub(super) fn run(mut self) {
        loop {
            if self.store.is_none() && self.closed_for.elapsed() >= self.backoff {
                self.reopen();
            }
            let busy = self.store.is_some() && (!self.tasks.is_empty() || self.more_to_sweep);
            let request = match self.requests.recv_timeout(if busy { Duration::ZERO } else { TICK })
            {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return self.close(),
            };
            // Before the request: nothing more is taken into what cannot be read.
            if let Some(why) = self.shared.take_damage() {
                self.fail(&StoreError::Corrupt(why), Vec::new(), &[]);
            }
            if let Some(reply) = self.round(request) {
                self.close();
                // Whoever asked may be gone; the store is closed all the same.
                _ = reply.send(());
                return;
            }
        }
    }

    /// One round; returns who asked to close, if somebody did.
    fn round(&mut self, first: Option<Request>) -> Option<oneshot::Sender<()>> {
        let mut gathered = Gathered::default();
        let Some(store) = self.store.clone() else {
            let refusal = self.shared.store().err().unwrap_or(Refused::Stopping);
            self.refuse_all(first, &refusal, &mut gathered);
            return gathered.close;
        };
        let watch = Stopwatch::start();
        let made = catch_unwind(AssertUnwindSafe(|| self.commit(&store, first, &mut gathered)));
        drop(store);
        let made = made.unwrap_or_else(|_| {
            Err(StoreError::Failed("a commit gave up (panicked); see the log".to_owned()))
        });
        for (reply, refusal) in std::mem::take(&mut gathered.refused) {
            reply.send(Some(&refusal));
        }
        match made {
            Ok(written) => {
                if written {
                    self.vitals.commits += 1;
                    let micros = u64::try_from(watch.elapsed().as_micros()).unwrap_or(u64::MAX);
                    self.vitals.commit_micros += micros;
                    metrics::histogram!(telemetry::COMMIT_SECONDS).record(watch.elapsed());
                }
                gathered.replies.into_iter().for_each(|reply| reply.send(None));
            }
            Err(error) => self.fail(&error, gathered.replies, &gathered.settling),
        }
        gathered.close
    }

    /// Makes the batch, applies and syncs it, and shows it to the workers; whether there was one.
    fn commit(
        &mut self,
        store: &Arc<dyn Store>,
        first: Option<Request>,
        gathered: &mut Gathered,
    ) -> Result<bool, StoreError> {
        let gone = self.folder.gone().map(Refused::Store);
        let jobs = self.state.books.jobs();
        let very_full =
            gone.or_else(|| self.folder.too_full_for_outcomes(jobs > 0).map(Refused::Store));
        let full = very_full.clone();
        let full = full.or_else(|| self.folder.too_full().map(Refused::Store)).or_else(|| {
            (self.vitals.disk_bytes > self.max_disk)
                .then(|| Refused::Full(format!("the store takes {} bytes", self.vitals.disk_bytes)))
        });
        let refuses = full.clone().or_else(|| {
            (jobs >= self.bounds.max_pending)
                .then(|| Refused::Full(format!("{jobs} jobs are pending in all")))
        });
        self.shared.hold(very_full.clone(), refuses);
        let now_ms = self.shared.now_ms();
        let mut round = Round::new(&**store, &self.shared, &mut self.state, self.bounds, now_ms);
        let mut next = first;
        while let Some(request) = next {
            match request {
                Request::Admit { admissions, reply, permit } => {
                    let refusal = match &full {
                        Some(full) => Err(full.clone()),
                        None => round.room_for(&admissions),
                    };
                    if let Err(refusal) = refusal {
                        let reply = Reply::Admitted(reply, Vec::new(), permit);
                        gathered.refused.push((reply, refusal));
                    } else {
                        let mut admitted = Vec::with_capacity(admissions.len());
                        // Answered even where the next line fails.
                        gathered.replies.push(Reply::Admitted(reply, Vec::new(), permit));
                        for admission in admissions {
                            admitted.push(round.admit(admission)?);
                        }
                        if let Some(Reply::Admitted(_, answer, _)) = gathered.replies.last_mut() {
                            *answer = admitted;
                        }
                    }
                }
                Request::Foresee { admission, reply } => {
                    let foreseen = round.foresee(&admission)?;
                    // Nothing is written: nobody has to wait for the disk.
                    _ = reply.send(Ok(foreseen));
                }
                Request::Settle { settlement, reply } => match &very_full {
                    Some(full) => {
                        self.shared.release(settlement.lease.chunks);
                        gathered.refused.push((Reply::Done(reply), full.clone()));
                    }
                    None => {
                        gathered.settling.extend(settlement.lease.chunks.iter().cloned());
                        gathered.replies.push(Reply::Done(reply));
                        round.settle(settlement)?;
                    }
                },
                Request::Mark { chunks, reply } => match &very_full {
                    Some(full) => gathered.refused.push((Reply::Done(reply), full.clone())),
                    None => {
                        gathered.replies.push(Reply::Done(reply));
                        for key in chunks {
                            round.batch.put(key.mark(), now_ms.to_be_bytes().to_vec());
                            round.published.marked.push(key);
                        }
                    }
                },
                Request::Keep { name, text, reply } => match &very_full {
                    Some(full) => gathered.refused.push((Reply::Done(reply), full.clone())),
                    None => {
                        gathered.replies.push(Reply::Done(reply));
                        kept::write(
                            store.as_ref(),
                            &mut round.batch,
                            &self.shared.seal,
                            &name,
                            &text,
                        )?;
                    }
                },
                Request::Note { id, reply } => match &very_full {
                    Some(full) => gathered.refused.push((Reply::Done(reply), full.clone())),
                    None => {
                        gathered.replies.push(Reply::Done(reply));
                        round.note_delivery(id);
                    }
                },
                Request::Knows { id, reply } => _ = reply.send(Ok(round.knows_delivery(&id))),
                // It makes room: also where the disk is nearly full.
                Request::Moved { moved, reply } => {
                    gathered.replies.push(Reply::Done(reply));
                    round.moved(&moved)?;
                }
                Request::Unmark { chunks } => {
                    chunks.iter().for_each(|key| round.batch.delete(key.mark()));
                }
                Request::Rotate { settings, random, reply } => {
                    let masters = self.folder.master_keys(&settings, &random);
                    let rotated = masters.and_then(|masters| {
                        seal::rotate(&**store, &mut round.batch, &masters, &random)
                    });
                    match rotated {
                        Ok(()) => gathered.replies.push(Reply::Done(reply)),
                        Err(why) => {
                            gathered.refused.push((Reply::Done(reply), Refused::Store(why.0)));
                        }
                    }
                }
                Request::Work(mut task) if task.kind.is_short() && very_full.is_none() => {
                    let done = round.work(&mut task);
                    gathered.replies.push(Reply::Count(task.reply, task.count));
                    done?;
                }
                Request::Work(task) => self.tasks.push_back(task),
                Request::Close { reply } => {
                    gathered.close = Some(reply);
                    break;
                }
            }
            next =
                if round.operations() < OPERATIONS { self.requests.try_recv().ok() } else { None };
        }
        if very_full.is_none() {
            if let Some(mut task) = self.tasks.pop_front() {
                // Whoever waits is answered even where a bite fails.
                match round.work(&mut task) {
                    Ok(true) => gathered.replies.push(Reply::Count(task.reply, task.count)),
                    Ok(false) => self.tasks.push_back(task),
                    Err(error) => {
                        gathered.replies.push(Reply::Count(task.reply, task.count));
                        return Err(error);
                    }
                }
            } else if self.more_to_sweep || self.swept.elapsed() >= SWEEP_EVERY {
                self.more_to_sweep = round.sweep(&mut self.sweeps)?;
                self.swept = Stopwatch::start();
                if self.noted != self.durable {
                    self.folder.note_durable(self.durable);
                    self.noted = self.durable;
                }
                self.vitals.disk_bytes = store.size_on_disk()?;
                self.folder.keep_ballast();
            }
        }
        let rejected = self.shared.rejected.load(Ordering::SeqCst);
        round.state.books.events.rejected += rejected;
        let (batch, published) = round.finish()?;
        let written = !batch.is_empty();
        if written {
            // The break that tests/torture must find, made by tests/torture/broken alone.
            #[cfg(relay_acknowledges_early)]
            std::mem::take(&mut gathered.replies).into_iter().for_each(|reply| reply.send(None));
            store.commit(batch)?;
            self.durable = self.state.books.events.next_sequence;
        }
        self.publish(published, rejected);
        Ok(written)
    }

    fn publish(&mut self, mut published: Published, rejected: u64) {
        for ((number, event, reason), jobs) in std::mem::take(&mut published.expired) {
            let destination = self.state.books.name(number).to_owned();
            metrics::counter!(telemetry::JOBS, "destination" => destination, "event" => event,
                "outcome" => "expired", "reason" => reason)
            .increment(jobs);
            if reason == BACKLOG_FULL {
                self.shared.note_shed(number, jobs);
            }
        }
        self.vitals.event_ids = self.state.ids.count() as u64;
        self.vitals.event_ids_dropped = self.state.ids.dropped;
        self.shared.publish(&self.state.books, published, self.vitals.clone(), rejected);
    }

    /// After any error the store is given up and opened again: one error kills sled's handle, and
    /// its reads may show what was refused.
    fn fail(&mut self, error: &StoreError, replies: Vec<Reply>, settling: &[ChunkKey]) {
        tracing::error!("the store cannot be used, it is opened again: {error}");
        self.suspect |= matches!(error, StoreError::Corrupt(_));
        self.vitals.failed_commits += 1;
        let refusal = Refused::Store(error.to_string());
        self.shared.suspend(refusal.clone(), settling, self.vitals.clone());
        self.store = None;
        replies.into_iter().for_each(|reply| reply.send(Some(&refusal)));
        for task in std::mem::take(&mut self.tasks) {
            Reply::Count(task.reply, task.count).send(Some(&refusal));
        }
        self.backoff = FIRST_BACKOFF;
        self.closed_for = Stopwatch::start();
    }

    fn reopen(&mut self) {
        self.folder.make_room_to_open();
        let opened = catch_unwind(AssertUnwindSafe(|| {
            if let Some(gone) = self.folder.gone() {
                return Err(StoreError::Failed(gone));
            }
            let store = (self.opener)()?;
            if self.suspect {
                store::verify(&*store)?;
            }
            let state = load(&*store, &self.shared.seal, self.keep_ids, self.shared.now_ms())?;
            let found = state.books.events.next_sequence;
            if found < self.durable {
                return Err(StoreError::Corrupt(format!(
                    "it holds batches up to number {found} only, {} were durable",
                    self.durable
                )));
            }
            self.state = state;
            self.resume(store)
        }));
        let opened =
            opened.unwrap_or_else(|_| Err(StoreError::Failed("opening gave up".to_owned())));
        match opened {
            Ok(()) => {
                tracing::warn!("the store is open again");
                self.suspect = false;
                self.folder.keep_ballast();
            }
            Err(error) => {
                self.backoff = (self.backoff * 2).min(LAST_BACKOFF);
                self.closed_for = Stopwatch::start();
                let error = cannot_open(error);
                tracing::error!("{error}");
                let refusal = Refused::Store(error.to_string());
                self.shared.suspend(refusal, &[], self.vitals.clone());
            }
        }
    }

    fn resume(&mut self, store: Arc<dyn Store>) -> Result<(), StoreError> {
        self.vitals.disk_bytes = store.size_on_disk()?;
        self.vitals.event_ids = self.state.ids.count() as u64;
        let marks = marks(&*store)?;
        let vitals = self.vitals.clone();
        self.shared.resume(Arc::clone(&store), &self.state.books, marks, vitals)?;
        self.store = Some(store);
        Ok(())
    }

    fn refuse_all(&mut self, first: Option<Request>, refusal: &Refused, gathered: &mut Gathered) {
        let mut next = first;
        while let Some(request) = next {
            match request {
                Request::Admit { reply, permit, .. } => {
                    Reply::Admitted(reply, Vec::new(), permit).send(Some(refusal));
                }
                Request::Foresee { reply, .. } => _ = reply.send(Err(refusal.clone())),
                Request::Knows { reply, .. } => _ = reply.send(Err(refusal.clone())),
                Request::Settle { settlement, reply } => {
                    self.shared.release(settlement.lease.chunks);
                    Reply::Done(reply).send(Some(refusal));
                }
                Request::Mark { reply, .. }
                | Request::Keep { reply, .. }
                | Request::Note { reply, .. }
                | Request::Rotate { reply, .. }
                | Request::Moved { reply, .. } => Reply::Done(reply).send(Some(refusal)),
                // The mark stays: a result that is known is taken for unknown, which is safe.
                Request::Unmark { .. } => {}
                Request::Work(task) => {
                    Reply::Count(task.reply, task.count).send(Some(refusal));
                }
                Request::Close { reply } => {
                    gathered.close = Some(reply);
                    return;
                }
            }
            next = self.requests.try_recv().ok();
        }
    }

    fn close(mut self) {
        let stopping = Refused::Stopping;
        let mut gathered = Gathered::default();
        // What came in after the wish to close.
        self.refuse_all(self.requests.try_recv().ok(), &stopping, &mut gathered);
        for task in std::mem::take(&mut self.tasks) {
            Reply::Count(task.reply, task.count).send(Some(&stopping));
        }
        self.shared.suspend(stopping, &[], self.vitals.clone());
        let was_open = self.store.take().is_some();
        if was_open && let Err(error) = self.folder.mark(self.state.books.events.next_sequence) {
            tracing::warn!("the folder's marker cannot be written: {error}");
        }
        // The store is closed; dropped here: the folder's lock.
    }
}

fn load(store: &dyn Store, seal: &Seal, keep: KeepIds, now_ms: i64) -> Result<State, StoreError> {
    let books = Books::load(store)?;
    let ids = Ids::load(store, seal, keep.keep_ms, keep.at_most, now_ms)?;
    Ok(State { books, ids, packed_percent: 60 })
}

/// The chunks whose last send has no known result.
fn marks(store: &dyn Store) -> Result<HashSet<ChunkKey>, StoreError> {
    let (from, to) = record::whole(space::MARK);
    let mut marks = HashSet::new();
    store.scan(&from, &to, Direction::Forward, &mut |key, _| {
        marks.insert(ChunkKey::of_mark(key));
        ControlFlow::Continue(())
    })?;
    Ok(marks)
}
