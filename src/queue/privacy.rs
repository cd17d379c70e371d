//! What people decide about themselves, applied to what is kept: choices and withdrawals, erasure,
//! access.
//!
//! A choice is written and applied to what waits in one batch; only what is on its way to a platform
//! at that moment, or arrives meanwhile, is looked at again. The rules are not known here: a
//! [`Judge`] says what a choice does to a job. [`Round::decide_for`] is the one place where a privacy
//! act enters a batch, as [`Round::admit`] is for a decision.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use super::{
    ChunkKey, Dossier, IdHash, Judge, Judgement, LeasedJob, MarksOf, Queue, Reached, Refused,
    blocking,
    chunk::{self, ChunkHead},
    dead, orders,
    recall::Waiting,
    record,
    round::Round,
    store::StoreError,
    trace,
    upkeep::{BITE, TaskKind},
};
use crate::consent::memory::{Choice, Remembered};

/// What is on its way when a choice is made is waited for, so long.
const WAIT: Duration = Duration::from_secs(5);
/// And looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// What somebody decided.
#[derive(Debug)]
pub(super) enum Act {
    /// A choice, or a withdrawal; and what the decision log says of it.
    Choose(Box<Choice>, Vec<u8>),
    /// To be erased, with everything until then (epoch milliseconds); and the same.
    Erase(i64, Vec<u8>),
}

/// An act, and what it reaches.
pub(super) struct Reach {
    subjects: Vec<IdHash>,
    /// Done in the first bite; then `None`.
    act: Option<Act>,
    chunks: Vec<ChunkKey>,
    dead: Vec<Vec<u8>>,
    judge: Judge,
}

/// What goes of an erased person.
pub(super) struct Wipe {
    subjects: Vec<IdHash>,
    marks: MarksOf,
    /// The record and the marks are gone.
    begun: bool,
    traces: Vec<Vec<u8>>,
    /// Records that tell which order an event of theirs belongs to.
    orders: Vec<Vec<u8>>,
    events: HashSet<IdHash>,
}

impl Reach {
    /// Whether nothing that waits is reached.
    pub(super) fn is_short(&self) -> bool {
        self.chunks.is_empty() && self.dead.is_empty()
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach").field("act", &self.act).finish_non_exhaustive()
    }
}

impl fmt::Debug for Wipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wipe").field("traces", &self.traces.len()).finish_non_exhaustive()
    }
}

impl Queue {
    /// What is remembered of the person of some subject keys.
    pub fn remembered(&self, subjects: &[IdHash]) -> Result<Remembered, Refused> {
        self.inner.shared.remembered(subjects)
    }

    /// Whether somebody may have refused something since a time, epoch milliseconds; `false` is
    /// certain. Reads memory only.
    pub fn may_have_refused(&self, subjects: &[IdHash], since_ms: i64) -> bool {
        self.inner.shared.refused().may_hold(since_ms, subjects)
    }

    /// Remembers a choice, and applies it to what waits; answered when both are on disk. `words`: what
    /// the decision log says of it, a JSON object.
    pub async fn choose(
        &self,
        subjects: Vec<IdHash>,
        choice: Choice,
        judge: Judge,
        words: Vec<u8>,
    ) -> Result<Reached, Refused> {
        let mut said = self.remembered(&subjects)?;
        said.choice.merge(&choice);
        if !choice.refuses() {
            // It allows nothing that waits, and stops nothing.
            let act = Act::Choose(Box::new(choice), words);
            self.act(subjects, Some(act), Waiting::default(), &judge).await?;
            return Ok(Reached::default());
        }
        self.apply(subjects, Act::Choose(Box::new(choice), words), said, judge).await
    }

    /// Erases a person: what waits, dead letters, traces, frequency marks and the record go; a
    /// tombstone stays. `marks` gives the keys of their frequency records by subject key.
    ///
    /// Where it ends before its answer, everything may be asked again.
    pub async fn erase(
        &self,
        subjects: Vec<IdHash>,
        at: jiff::Timestamp,
        marks: MarksOf,
        words: Vec<u8>,
    ) -> Result<Reached, Refused> {
        let at_ms = at.as_millisecond();
        let judge: Judge = Arc::new(move |_, job, _| {
            if job.accepted_at_ms <= at_ms {
                Judgement::Over("erased".to_owned())
            } else {
                Judgement::Same
            }
        });
        let said = Remembered { erased_ms: Some(at_ms), ..Remembered::default() };
        let reached = self.apply(subjects.clone(), Act::Erase(at_ms, words), said, judge).await?;
        let shared = Arc::clone(&self.inner.shared);
        let searched = subjects.clone();
        let (traces, orders, events) = blocking(move || {
            let (traces, events) = shared.traces_of(&searched)?;
            let orders = orders::holding(&*shared.store()?, &events)?;
            Ok((traces, orders, events))
        })
        .await?;
        let wipe = Wipe { subjects, marks, begun: false, traces, orders, events };
        self.work(TaskKind::Wipe(Box::new(wipe))).await?;
        Ok(reached)
    }

    /// Everything that is kept of a person, and the destinations that had something of them.
    pub async fn dossier(&self, subjects: Vec<IdHash>, marks: MarksOf) -> Result<Dossier, Refused> {
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || {
            shared.store()?;
            shared.dossier(&subjects, &marks).map_err(Refused::from)
        })
        .await
    }

    async fn apply(
        &self,
        subjects: Vec<IdHash>,
        act: Act,
        said: Remembered,
        judge: Judge,
    ) -> Result<Reached, Refused> {
        let mut reached = Reached::default();
        let mut act = Some(act);
        let mut waited = Duration::ZERO;
        let unsent = loop {
            let shared = Arc::clone(&self.inner.shared);
            let (searched, said) = (subjects.clone(), said.clone());
            let judging = Arc::clone(&judge);
            let waiting = blocking(move || {
                shared.store()?;
                shared.waiting(&searched, &said, &judging).map_err(Refused::from)
            })
            .await?;
            let is_first = act.is_some();
            if is_first {
                reached.count += waiting.less;
            } else if waiting.is_over() {
                if waiting.leased == 0 || waited >= WAIT {
                    break waiting.unsent;
                }
                tokio::time::sleep(LOOK_EVERY).await;
                waited += LOOK_EVERY;
                continue;
            }
            let stopped = self.act(subjects.clone(), act.take(), waiting, &judge).await?;
            reached.count += stopped;
            if stopped == 0 && !is_first {
                // Somebody else was faster: what is on its way is looked at again.
                tokio::time::sleep(LOOK_EVERY).await;
                waited += LOOK_EVERY;
            }
        };
        let shared = Arc::clone(&self.inner.shared);
        reached.recipients =
            blocking(move || shared.recipients(&subjects, &unsent).map_err(Refused::from)).await?;
        Ok(reached)
    }

    async fn act(
        &self,
        subjects: Vec<IdHash>,
        act: Option<Act>,
        waiting: Waiting,
        judge: &Judge,
    ) -> Result<u64, Refused> {
        let Waiting { chunks, dead, .. } = waiting;
        let judge = Arc::clone(judge);
        self.work(TaskKind::Reach(Box::new(Reach { subjects, act, chunks, dead, judge }))).await
    }
}

impl Round<'_> {
    /// One bite of an act and its reach; true when it is done.
    pub(super) fn reach(&mut self, reach: &mut Reach, count: &mut u64) -> Result<bool, StoreError> {
        if let Some(act) = reach.act.take() {
            self.decide_for(&reach.subjects, act)?;
        }
        let mut said = Remembered::default();
        let homes = self.register.find(self.store, &self.shared.seal, &reach.subjects)?;
        for known in homes.iter().filter_map(|home| self.register.get(home)) {
            said.merge(&known.remembered());
        }
        let person = Person { homes, said };
        for _ in 0..BITE {
            let Some(key) = reach.chunks.pop() else { break };
            *count += self.stop_in_chunk(&key, &person, &reach.judge)?;
        }
        for _ in 0..BITE {
            let Some(key) = reach.dead.pop() else { break };
            *count += self.stop_dead(&key, &person, &reach.judge)?;
        }
        Ok(reach.chunks.is_empty() && reach.dead.is_empty())
    }

    /// Enters what somebody decided in the register.
    fn decide_for(&mut self, subjects: &[IdHash], act: Act) -> Result<(), StoreError> {
        let joined = self.register.join(self.store, &self.shared.seal, subjects)?;
        let Some(home) = joined else { return Ok(()) };
        match act {
            Act::Choose(choice, words) => {
                self.note_act(words);
                self.choose(&home, &choice);
            }
            Act::Erase(at_ms, words) => {
                self.note_act(words);
                if let Some(known) = self.register.of(&home) {
                    known.bury(at_ms);
                    self.published.refused.extend_from_slice(&known.subjects);
                }
            }
        }
        let now_ms = self.now_ms;
        if let Some(known) = self.register.of(&home) {
            known.seen_ms = now_ms;
        }
        Ok(())
    }

    fn stop_in_chunk(
        &mut self,
        key: &ChunkKey,
        person: &Person,
        judge: &Judge,
    ) -> Result<u64, StoreError> {
        let Some((pieces, record)) = record::get(self.store, &key.0)? else { return Ok(0) };
        let Some(head) = ChunkHead::decode(&record) else { return Ok(0) };
        // Whoever holds it looks at what was said when it comes back.
        let Some(leased) = self.shared.claim(key, head, pieces) else { return Ok(0) };
        let number = key.destination();
        let jobs = chunk::open(&self.shared.seal, key, &record).unwrap_or_else(|why| {
            tracing::error!("a chunk of jobs cannot be opened: {why}");
            Vec::new()
        });
        let mut judged = Vec::with_capacity(jobs.len());
        for job in jobs {
            let over = self.judged(number, &job, person, judge)?;
            judged.push((job, over));
        }
        if judged.iter().all(|(_, over)| over.is_none()) {
            self.published.kept_marked.push(key.clone());
            return Ok(0);
        }
        self.remove_chunk(key, &leased);
        let mut stopped = 0;
        for (job, over) in judged {
            self.unqueue(number, job.uncounted);
            match over {
                Some(reason) => {
                    self.state.books.of(number).withdrawn += u64::from(!job.uncounted);
                    if !leased.marked_before {
                        self.correct(number, &job, false)?;
                    }
                    self.note_outcome(number, (job.id, job.slot), "withdrawn", &reason, None);
                    stopped += 1;
                }
                None => self.requeue(number, key.due_ms(), leased.marked_before, job),
            }
        }
        Ok(stopped)
    }

    fn stop_dead(&mut self, key: &[u8], person: &Person, judge: &Judge) -> Result<u64, StoreError> {
        let Some((pieces, record)) = record::get(self.store, key)? else { return Ok(0) };
        let found = record::Found { key, pieces, record: &record };
        let (Some((head, _)), Ok(dead)) =
            (dead::head_of(&record), dead::open(&self.shared.seal, &found))
        else {
            return Ok(0);
        };
        let Some(reason) = self.judged(head.destination, &dead.job, person, judge)? else {
            return Ok(0);
        };
        record::delete(&mut self.batch, key, pieces);
        let book = self.state.books.of(head.destination);
        book.dead = book.dead.saturating_sub(1);
        book.withdrawn += 1;
        let job = (dead.job.id, dead.job.slot);
        self.note_outcome(head.destination, job, "withdrawn", &reason, None);
        Ok(1)
    }

    /// Why a job is over, if it is the person's and it is.
    fn judged(
        &mut self,
        destination: chunk::DestinationNo,
        job: &LeasedJob,
        person: &Person,
        judge: &Judge,
    ) -> Result<Option<String>, StoreError> {
        if job.subjects.is_empty() {
            return Ok(None);
        }
        let homes = self.register.find(self.store, &self.shared.seal, &job.subjects)?;
        if !homes.iter().any(|home| person.homes.contains(home)) {
            return Ok(None);
        }
        let name = self.state.books.name(destination);
        Ok(match judge(name, job, &person.said) {
            Judgement::Over(reason) => Some(reason),
            Judgement::Same | Judgement::Less => None,
        })
    }

    /// One bite of what goes of an erased person; true when it is done.
    pub(super) fn wipe(&mut self, wipe: &mut Wipe) -> Result<bool, StoreError> {
        let seal = &self.shared.seal;
        if !std::mem::replace(&mut wipe.begun, true) {
            for home in self.register.find(self.store, seal, &wipe.subjects)? {
                let Some(known) = self.register.of(&home) else { continue };
                known.wipe();
                for marks in known.subjects.iter().flat_map(|subject| (wipe.marks)(subject)) {
                    self.people.erase(self.store, seal, marks)?;
                }
            }
        }
        for _ in 0..BITE {
            if let Some(key) = wipe.traces.pop() {
                trace::remove(self.store, &mut self.batch, seal, &key, &wipe.events)?;
            } else if let Some(key) = wipe.orders.pop() {
                orders::remove(self.store, &mut self.batch, &key, &wipe.events)?;
            } else {
                break;
            }
        }
        Ok(wipe.traces.is_empty() && wipe.orders.is_empty())
    }
}

/// Whom an act is about.
struct Person {
    homes: Vec<IdHash>,
    said: Remembered,
}
