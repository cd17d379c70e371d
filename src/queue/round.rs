//! A round: what one commit of the committer does, gathered until it is written as one batch.
//!
//! State in memory is changed at once, so that the requests of one round see each other; where the
//! commit fails, all of it is read anew from the store.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use jiff::Timestamp;

use super::{
    Attempt, ChunkKey, IdHash, JobKind, LeasedJob, Ruling,
    chunk::{self, ChunkHead, DestinationNo},
    counters::Books,
    dead::{self, Dead, DeadHead},
    ids::{self, IdLine, Ids},
    lease::{Leased, Published, Shared},
    orders::{self, OrderLine},
    outbox::{self, Made, Noted, Sending},
    people::People,
    person::{Horizon, Known},
    record,
    register::Register,
    store::{Batch, Store, StoreError},
    trace::{self, TraceLine},
};

/// What the committer knows of the store, in memory.
#[derive(Debug)]
pub(super) struct State {
    /// The books, as of the round in hand.
    pub(super) books: Books,
    /// Event ids, as of the round in hand.
    pub(super) ids: Ids,
    /// How much smaller jobs become when packed, in percent of the raw size.
    pub(super) packed_percent: usize,
}

/// What the committer must keep within.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Jobs in all.
    pub(super) max_pending: u64,
    /// Jobs of one destination.
    pub(super) max_pending_per_destination: u64,
    /// Frequency marks, milliseconds.
    pub(super) keep_frequency_ms: i64,
    /// Remembered grants, milliseconds.
    pub(super) keep_choices_ms: i64,
    /// What was sent to whom, and tombstones, milliseconds.
    pub(super) keep_sent_ms: i64,
    /// Pending jobs, milliseconds.
    pub(super) keep_queue_ms: i64,
    /// Traces, milliseconds.
    pub(super) keep_traces_ms: i64,
    /// Dead letters, milliseconds.
    pub(super) keep_dead_ms: i64,
}

/// Where a job goes: only jobs with an equal place share a chunk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    destination: DestinationNo,
    due_ms: i64,
    follow_ups: bool,
    /// An earlier send has no known result: the chunk gets the mark of the one it is taken from.
    marked: bool,
    group: String,
}

/// One commit in the making.
pub(super) struct Round<'a> {
    /// The store, to read from.
    pub(super) store: &'a dyn Store,
    /// What the workers see.
    pub(super) shared: &'a Shared,
    /// The committer's memory.
    pub(super) state: &'a mut State,
    /// What it must keep within.
    pub(super) bounds: Bounds,
    /// The time of the round, epoch milliseconds.
    pub(super) now_ms: i64,
    /// Changes that need no packing.
    pub(super) batch: Batch,
    /// The persons it touches.
    pub(super) people: People,
    /// What is known of them by controller.
    pub(super) register: Register,
    /// What the workers see when it is on disk.
    pub(super) published: Published,
    jobs: BTreeMap<Place, Vec<LeasedJob>>,
    job_bytes: usize,
    ids: Vec<IdLine>,
    /// Which events belong to an order.
    pub(super) orders: Vec<OrderLine>,
    traces: Vec<TraceLine>,
    trace_bytes: usize,
    /// What the decision log has to know; `None` where none is kept.
    evidence: Option<Vec<Noted>>,
    evidence_bytes: usize,
}

impl<'a> Round<'a> {
    /// An empty round.
    pub(super) fn new(
        store: &'a dyn Store,
        shared: &'a Shared,
        state: &'a mut State,
        bounds: Bounds,
        now_ms: i64,
    ) -> Self {
        let keeps_evidence = shared.keeps_evidence.load(Ordering::Relaxed);
        Self {
            store,
            shared,
            state,
            bounds,
            now_ms,
            batch: Batch::default(),
            people: People::default(),
            register: Register::default(),
            published: Published::default(),
            jobs: BTreeMap::new(),
            job_bytes: 0,
            ids: Vec::new(),
            orders: Vec::new(),
            traces: Vec::new(),
            trace_bytes: 0,
            evidence: keeps_evidence.then(Vec::new),
            evidence_bytes: 0,
        }
    }

    /// About how many operations of the store it will take.
    pub(super) fn operations(&self) -> usize {
        self.batch.len()
            + self.people.changed()
            + self.register.changed()
            + self.job_bytes * self.state.packed_percent / 100 / record::MAX_VALUE_BYTES
            + self.jobs.len()
            + self.trace_bytes / (2 * record::MAX_VALUE_BYTES)
            + self.evidence_bytes / (3 * record::MAX_VALUE_BYTES)
            + self.ids.len() / 128
            + self.orders.len() / 127
    }

    /// Puts a job into the queue and into the books.
    pub(super) fn queue(&mut self, destination: DestinationNo, due_ms: i64, job: LeasedJob) {
        self.requeue(destination, due_ms, false, job);
    }

    /// The same, of a job whose earlier send may have no known result.
    pub(super) fn requeue(
        &mut self,
        destination: DestinationNo,
        due_ms: i64,
        marked: bool,
        job: LeasedJob,
    ) {
        let book = self.state.books.of(destination);
        let count = if job.uncounted { &mut book.uncounted } else { &mut book.queued };
        *count += 1;
        self.job_bytes += chunk::raw_bytes(&job);
        let place = Place {
            destination,
            due_ms,
            follow_ups: job.kind == JobKind::FollowUp,
            marked,
            group: job.group.clone(),
        };
        self.jobs.entry(place).or_default().push(job);
    }

    /// A job leaves its chunk, and the books' queue.
    pub(super) fn unqueue(&mut self, destination: DestinationNo, uncounted: bool) {
        let book = self.state.books.of(destination);
        let count = if uncounted { &mut book.uncounted } else { &mut book.queued };
        *count = count.saturating_sub(1);
    }

    /// A chunk goes, with its mark.
    pub(super) fn remove_chunk(&mut self, key: &ChunkKey, leased: &Leased) {
        record::delete(&mut self.batch, &key.0, leased.pieces);
        self.remove_mark(key, leased);
        self.published.settled.push(key.clone());
    }

    /// A chunk's mark goes, if it has one.
    pub(super) fn remove_mark(&mut self, key: &ChunkKey, leased: &Leased) {
        if leased.marked_before || leased.marked_now {
            self.batch.delete(key.mark());
        }
    }

    /// Notes a line about ids.
    pub(super) fn note_ids(&mut self, line: IdLine) {
        self.ids.push(line);
    }

    /// Notes what was said of an event at its admission.
    pub(super) fn note_copy(
        &mut self,
        id: IdHash,
        whose: Option<IdHash>,
        status: &str,
        record: Vec<u8>,
    ) {
        let status = status.to_owned();
        self.note(match whose {
            Some(whose) => TraceLine::CopyOf { id, whose, status, record },
            None => TraceLine::Copy { id, status, record },
        });
    }

    /// Corrects what the register says of a decision: it ended without being sent, or may be sent
    /// after all.
    pub(super) fn correct(
        &mut self,
        destination: DestinationNo,
        job: &LeasedJob,
        sent: bool,
    ) -> Result<(), StoreError> {
        if job.uncounted || job.subjects.is_empty() {
            return Ok(());
        }
        let place = (destination, job.slot);
        for home in self.register.find(self.store, &self.shared.seal, &job.subjects)? {
            let knows = |known: &Known| known.events.iter().any(|event| event.id == job.id);
            if self.register.get(&home).is_some_and(knows)
                && let Some(known) = self.register.of(&home)
            {
                known.correct(&job.id, place, sent);
            }
        }
        Ok(())
    }

    /// Notes what happened to a job.
    pub(super) fn note_outcome(
        &mut self,
        destination: DestinationNo,
        job: (IdHash, u32),
        outcome: &str,
        code: &str,
        attempt: Option<&Attempt>,
    ) {
        let send = attempt.map(|attempt| Sending {
            status: attempt.status,
            reason: attempt.reason.clone(),
            under: attempt.under.clone(),
            fields: attempt.fields,
        });
        self.note_end(destination, job, (outcome, code), attempt, send);
    }

    /// Notes that something was withdrawn, and for the decision log by what.
    pub(super) fn note_withdrawn(
        &mut self,
        destination: DestinationNo,
        job: (IdHash, u32),
        code: &str,
        ruling: Ruling,
    ) {
        let Ruling { rule, under } = ruling;
        let by = Sending { reason: rule, under, ..Sending::default() };
        self.note_end(destination, job, ("withdrawn", code), None, Some(by));
    }

    fn note_end(
        &mut self,
        destination: DestinationNo,
        (id, slot): (IdHash, u32),
        (outcome, code): (&str, &str),
        attempt: Option<&Attempt>,
        send: Option<Sending>,
    ) {
        if let Some(evidence) = &mut self.evidence {
            let noted = Noted::Outcome { line: self.traces.len(), send };
            self.evidence_bytes += 96 + noted.raw_bytes();
            evidence.push(noted);
        }
        self.note(TraceLine::Outcome {
            id,
            destination: self.state.books.name(destination).to_owned(),
            slot,
            outcome: outcome.to_owned(),
            code: code.to_owned(),
            attempt: attempt.map(Into::into),
        });
    }

    /// Notes for the decision log the event whose copy is noted next: what became of each of its
    /// decisions, and what they rest on.
    pub(super) fn note_event(&mut self, made: Vec<Made>, grounds: Vec<u8>, trace_bytes: usize) {
        if let (Some(evidence), false) = (&mut self.evidence, grounds.is_empty()) {
            let noted = Noted::Event { line: self.traces.len(), made, grounds };
            self.evidence_bytes += trace_bytes + noted.raw_bytes();
            evidence.push(noted);
        }
    }

    /// Notes for the decision log what somebody decided about a person.
    pub(super) fn note_act(&mut self, words: Vec<u8>) {
        if let (Some(evidence), false) = (&mut self.evidence, words.is_empty()) {
            let noted = Noted::Act(words);
            self.evidence_bytes += noted.raw_bytes();
            evidence.push(noted);
        }
    }

    fn note(&mut self, line: TraceLine) {
        self.trace_bytes += line.raw_bytes();
        self.traces.push(line);
    }

    /// Writes a dead letter.
    pub(super) fn bury(
        &mut self,
        destination: DestinationNo,
        reason: &str,
        message: String,
        job: LeasedJob,
    ) -> Result<(), StoreError> {
        let key = dead::key(self.now_ms, self.state.books.sequence());
        let head = DeadHead { destination, reason: reason.to_owned() };
        dead::write(&mut self.batch, &self.shared.seal, &key, &head, &Dead { job, message })
    }

    /// Up to when what is kept of people is over.
    pub(super) fn horizon(&self) -> Horizon {
        Horizon {
            now_ms: self.now_ms,
            choices_ms: self.now_ms.saturating_sub(self.bounds.keep_choices_ms),
            sent_ms: self.now_ms.saturating_sub(self.bounds.keep_sent_ms),
        }
    }

    /// Packs everything into one batch.
    pub(super) fn finish(mut self) -> Result<(Batch, Published), StoreError> {
        let mut batch = std::mem::take(&mut self.batch);
        for (place, jobs) in std::mem::take(&mut self.jobs) {
            self.pack(&mut batch, &place, &jobs)?;
        }
        let horizon = self.horizon();
        let books = &mut self.state.books;
        ids::write(&mut batch, &self.ids, self.now_ms, || books.sequence())?;
        orders::write(&mut batch, &self.orders, self.now_ms, || books.sequence());
        let seal = &self.shared.seal;
        if let Some(noted) = self.evidence.as_deref().filter(|noted| !noted.is_empty()) {
            let number = books.sequence();
            outbox::write(&mut batch, seal, noted, &self.traces, self.now_ms, number)?;
        }
        trace::write(&mut batch, seal, &self.traces, self.now_ms, || books.sequence())?;
        let forget_before = self.now_ms.saturating_sub(self.bounds.keep_frequency_ms);
        let forget_before = Timestamp::from_millisecond(forget_before).unwrap_or(Timestamp::MIN);
        self.people.write(&mut batch, seal, forget_before)?;
        self.register.write(&mut batch, seal, horizon)?;
        books.write(&mut batch)?;
        Ok((batch, self.published))
    }

    /// Cuts jobs into chunks that, packed, mostly fit one value.
    fn pack(
        &mut self,
        batch: &mut Batch,
        place: &Place,
        jobs: &[LeasedJob],
    ) -> Result<(), StoreError> {
        let kind = if place.follow_ups { JobKind::FollowUp } else { JobKind::Event };
        let seal = &self.shared.seal;
        let group = chunk::group_tag(seal, kind, &place.group);
        let mut rest = jobs;
        while !rest.is_empty() {
            // A little less than what fits by the chunks before, so that few run over.
            let room = record::MAX_VALUE_BYTES * 90 / self.state.packed_percent.max(5);
            let mut raw = 0;
            let fit = rest
                .iter()
                .take_while(|job| {
                    raw += chunk::raw_bytes(job);
                    raw <= room
                })
                .count()
                .max(1);
            let (now, later) = rest.split_at_checked(fit).unwrap_or((rest, &[]));
            rest = later;
            let raw: usize = now.iter().map(chunk::raw_bytes).sum();
            let key = ChunkKey::new(place.destination, place.due_ms, self.state.books.sequence());
            let head = ChunkHead::of(now, group);
            let record = chunk::close(seal, &key, head, &place.group, now)?;
            if raw > record::MAX_VALUE_BYTES / 2 {
                let percent = record.len() * 100 / raw;
                self.state.packed_percent = (3 * self.state.packed_percent + percent) / 4;
            }
            let pieces = record::put(batch, &key.0, &record);
            if place.marked {
                batch.put(key.mark(), self.now_ms.to_be_bytes().to_vec());
                self.published.written_marked.push(key.clone());
            }
            self.published.written.push((key, head, pieces));
        }
        Ok(())
    }
}
