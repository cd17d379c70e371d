//! What is read of the store beside leasing: what people said since, and all that waits or is kept of
//! somebody. Reads only; nothing here is decided or changed.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ops::ControlFlow,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    ChunkKey, Dossier, Entrusted, IdHash, JobKind, Judge, Judgement, Lease, LeasedJob, Received,
    Refused,
    chunk::{self, DestinationNo},
    dead,
    lease::Shared,
    people::People,
    record::{self, space},
    refused::RefusedSubjects,
    register::{self, Register},
    store::{Direction, Store, StoreError},
    trace::{self, Suspect},
};
use crate::consent::memory::Remembered;

/// Between two bites of reading when what waits is over.
const BETWEEN_BITES: Duration = Duration::from_millis(1);

/// So often a record is read again that changes while it is read.
const TRIES: usize = 10;

/// What waits of a person, by what a choice does to it.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Chunks with a job that is over.
    pub(super) chunks: Vec<ChunkKey>,
    /// Dead letters that are over.
    pub(super) dead: Vec<Vec<u8>>,
    /// Jobs that leave with less.
    pub(super) less: u64,
    /// Jobs on their way that would be over: they are looked at again when they come back.
    pub(super) leased: u64,
    /// What is not sent yet and not over: event, destination, slot.
    pub(super) unsent: HashSet<(IdHash, DestinationNo, u32)>,
}

impl Waiting {
    /// Whether nothing is to be stopped.
    pub(super) fn is_over(&self) -> bool {
        self.chunks.is_empty() && self.dead.is_empty()
    }
}

/// The people that some identifiers lead to, to be recognised in jobs.
struct Searched<'a> {
    store: &'a dyn Store,
    shared: &'a Shared,
    register: Register,
    homes: Vec<IdHash>,
    subjects: HashSet<IdHash>,
}

impl<'a> Searched<'a> {
    fn new(
        store: &'a dyn Store,
        shared: &'a Shared,
        subjects: &[IdHash],
    ) -> Result<Self, StoreError> {
        let mut register = Register::default();
        let homes = register.find(store, &shared.seal, subjects)?;
        let known = homes.iter().filter_map(|home| register.get(home));
        let subjects = known.flat_map(|known| known.subjects.iter().copied()).collect();
        Ok(Self { store, shared, register, homes, subjects })
    }

    fn had_events(&self) -> bool {
        let known = self.homes.iter().filter_map(|home| self.register.get(home));
        known.into_iter().any(|known| !known.events.is_empty())
    }

    fn are(&mut self, job: &LeasedJob) -> Result<bool, StoreError> {
        if job.kind != JobKind::Event || !job.subjects.iter().any(|s| self.subjects.contains(s)) {
            return Ok(false);
        }
        let homes = self.register.find(self.store, &self.shared.seal, &job.subjects)?;
        Ok(homes.iter().any(|home| self.homes.contains(home)))
    }
}

impl Shared {
    /// See [`super::Queue::pending_jobs`].
    pub(super) fn walk(
        &self,
        visit: &mut (dyn FnMut(&str, &LeasedJob) + Send),
    ) -> Result<(), Refused> {
        let store = self.store()?;
        let names = self.names();
        // Taken once: no lock is held, or taken, while the store is read at length.
        let (synced, leased) = self.leased_keys();
        let (from, to) = record::whole(space::CHUNK);
        record::scan(&*store, &from, &to, Direction::Forward, &mut |found| {
            let key = ChunkKey(found.key.to_vec());
            if key.sequence() < synced && !leased.contains(&key) {
                let name = names.get(usize::from(key.destination())).map_or("", String::as_str);
                match chunk::open(&self.seal, &key, found.record) {
                    Ok(jobs) => jobs.iter().for_each(|job| visit(name, job)),
                    Err(why) => tracing::error!("a chunk of jobs cannot be opened: {why}"),
                }
            }
            Ok(ControlFlow::Continue(()))
        })
        .map_err(|e| Refused::Store(e.to_string()))
    }

    /// Adds to a lease what its people said since.
    pub(super) fn hear(&self, mut lease: Lease) -> Result<Lease, Refused> {
        match self.later(&lease.jobs) {
            Ok(later) => {
                lease.later = later;
                Ok(lease)
            }
            Err(refused) => {
                // What they said is not known: nothing of it may leave now.
                self.release(lease.chunks);
                Err(refused)
            }
        }
    }

    /// What the people of some jobs said since, by position. Only of those who may have refused
    /// something since a job was accepted the store is asked.
    fn later(&self, jobs: &[LeasedJob]) -> Result<BTreeMap<usize, Remembered>, Refused> {
        let mut suspects = Vec::new();
        {
            let refused = self.refused();
            for (position, job) in jobs.iter().enumerate() {
                let is_event = job.kind == JobKind::Event && !job.subjects.is_empty();
                if is_event && refused.may_hold(job.accepted_at_ms, &job.subjects) {
                    suspects.push(position);
                }
            }
        }
        let mut later = BTreeMap::new();
        for position in suspects {
            let Some(job) = jobs.get(position) else { continue };
            let remembered = self.remembered(&job.subjects)?;
            if remembered.choice.refuses() || remembered.is_gone(job.accepted_at_ms) {
                later.insert(position, remembered);
            }
        }
        Ok(later)
    }

    /// See [`super::Queue::remembered`].
    pub(super) fn remembered(&self, subjects: &[IdHash]) -> Result<Remembered, Refused> {
        let store = self.store()?;
        let mut remembered = register::remembered(&*store, &self.seal, subjects);
        for _ in 0..TRIES {
            // A record of several pieces that is being replaced just now reads as torn.
            if !matches!(remembered, Err(StoreError::Corrupt(_))) {
                break;
            }
            remembered = register::remembered(&*store, &self.seal, subjects);
        }
        remembered.map_err(|e| Refused::Store(e.to_string()))
    }

    pub(super) fn refused(&self) -> MutexGuard<'_, RefusedSubjects> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits of a person, and what a choice does to it.
    pub(super) fn waiting(
        &self,
        subjects: &[IdHash],
        said: &Remembered,
        judge: &Judge,
    ) -> Result<Waiting, StoreError> {
        let mut waiting = Waiting::default();
        self.each_waiting(subjects, &mut |place, name, job| {
            let judgement = judge(name, job, said);
            match (&place, judgement) {
                (Place::Leased(_), Judgement::Over(_)) => waiting.leased += 1,
                (Place::Pending(key), Judgement::Over(_)) => {
                    if waiting.chunks.last() != Some(key) {
                        waiting.chunks.push(key.clone());
                    }
                    return;
                }
                (Place::Dead(key), Judgement::Over(_)) => return waiting.dead.push(key.clone()),
                (_, Judgement::Less) => waiting.less += 1,
                (_, Judgement::Same) => {}
            }
            // Of a dead letter the register knows whether it may have arrived.
            match place {
                Place::Leased(number) => waiting.unsent.insert((job.id, number, job.slot)),
                Place::Pending(key) => waiting.unsent.insert((job.id, key.destination(), job.slot)),
                Place::Dead(_) => false,
            };
        })?;
        Ok(waiting)
    }

    /// The destinations that had something of a person.
    pub(super) fn recipients(
        &self,
        subjects: &[IdHash],
        unsent: &HashSet<(IdHash, DestinationNo, u32)>,
    ) -> Result<Vec<String>, StoreError> {
        let Ok(store) = self.store() else { return Ok(Vec::new()) };
        let mut register = Register::default();
        let mut numbers = BTreeSet::new();
        for home in register.find(&*store, &self.seal, subjects)? {
            let Some(known) = register.get(&home) else { continue };
            numbers.extend(known.received.iter().map(|sum| sum.destination));
            for event in &known.events {
                let sent =
                    |(d, slot): &&(DestinationNo, u32)| !unsent.contains(&(event.id, *d, *slot));
                numbers.extend(event.to.iter().filter(sent).map(|(number, _)| *number));
            }
        }
        let names = self.names();
        let mut recipients: Vec<String> =
            numbers.iter().filter_map(|n| names.get(usize::from(*n)).cloned()).collect();
        recipients.sort();
        Ok(recipients)
    }

    /// Everything that is kept of a person; `marks` are the keys of their frequency records.
    pub(super) fn dossier(
        &self,
        subjects: &[IdHash],
        marks: &super::MarksOf,
    ) -> Result<Dossier, StoreError> {
        let mut dossier = Dossier::default();
        let Ok(store) = self.store() else { return Ok(dossier) };
        let names = self.names();
        let name = |n: DestinationNo| names.get(usize::from(n)).cloned().unwrap_or_default();
        let mut unsent = HashSet::new();
        let mut letters = Vec::new();
        self.each_waiting(subjects, &mut |place, name, job| match place {
            Place::Dead(key) => letters.push(key),
            Place::Leased(number) => {
                unsent.insert((job.id, number, job.slot));
                dossier.pending.push((name.to_owned(), job.clone()));
            }
            Place::Pending(key) => {
                unsent.insert((job.id, key.destination(), job.slot));
                dossier.pending.push((name.to_owned(), job.clone()));
            }
        })?;
        for key in letters {
            let Some((pieces, record)) = record::get(&*store, &key)? else { continue };
            let found = record::Found { key: &key, pieces, record: &record };
            if let (Some((head, _)), Ok(dead)) =
                (dead::head_of(&record), dead::open(&self.seal, &found))
            {
                dossier.dead.push(dead::letter(&key, name(head.destination), head, &dead));
            }
        }
        let mut register = Register::default();
        let mut suspect = Suspect::of(subjects);
        for home in register.find(&*store, &self.seal, subjects)? {
            let Some(known) = register.get(&home) else { continue };
            dossier.identifiers += known.subjects.len();
            dossier.subjects.extend(known.subjects.iter().copied());
            dossier.remembered.merge(&known.remembered());
            suspect.subjects.extend(known.subjects.iter().copied());
            suspect.events.extend(known.events.iter().map(|event| event.id));
            for event in &known.events {
                let mut destinations = BTreeMap::new();
                for (number, slot) in &event.to {
                    let sent = !unsent.contains(&(event.id, *number, *slot));
                    *destinations.entry(name(*number)).or_default() |= sent;
                }
                dossier.sent.push(Entrusted {
                    event_id: event.event_id.clone(),
                    at_ms: event.at_ms,
                    destinations,
                });
            }
            dossier.earlier.extend(known.received.iter().map(|sum| Received {
                destination: name(sum.destination),
                first_ms: sum.first_ms,
                last_ms: sum.last_ms,
                count: sum.count,
            }));
        }
        for subject in suspect.subjects.iter().flat_map(|subject| marks(subject)) {
            dossier.marks.extend(People::find(&*store, &self.seal, subject)?);
        }
        let found = trace::find_all(&*store, &self.seal, &mut suspect)?;
        dossier.traces = found.traces.into_iter().collect();
        Ok(dossier)
    }

    /// The trace records that hold something of a person, and the events that are theirs.
    pub(super) fn traces_of(
        &self,
        subjects: &[IdHash],
    ) -> Result<(Vec<Vec<u8>>, HashSet<IdHash>), StoreError> {
        let Ok(store) = self.store() else { return Ok(Default::default()) };
        let mut register = Register::default();
        let mut suspect = Suspect::of(subjects);
        for home in register.find(&*store, &self.seal, subjects)? {
            let Some(known) = register.get(&home) else { continue };
            suspect.subjects.extend(known.subjects.iter().copied());
            suspect.events.extend(known.events.iter().map(|event| event.id));
        }
        let found = trace::find_all(&*store, &self.seal, &mut suspect)?;
        Ok((found.keys, suspect.events))
    }

    /// See [`super::Queue::expiring`].
    pub(super) fn expiring(&self, until_ms: i64) -> Result<BTreeMap<String, u64>, StoreError> {
        while !self.read_ends()? {
            // The workers need the lock more.
            std::thread::sleep(BETWEEN_BITES);
        }
        Ok(self.ending(until_ms))
    }

    /// Walks over all that waits of a person: pending, on its way, dead.
    fn each_waiting(
        &self,
        subjects: &[IdHash],
        visit: &mut dyn FnMut(Place, &str, &LeasedJob),
    ) -> Result<(), StoreError> {
        let Ok(store) = self.store() else { return Ok(()) };
        let mut searched = Searched::new(&*store, self, subjects)?;
        if !searched.had_events() {
            // Whatever is queued is entered in the register: of them there is nothing to find.
            return Ok(());
        }
        let names = self.names();
        let name =
            |number: DestinationNo| names.get(usize::from(number)).map_or("", String::as_str);
        let (_, leased) = self.leased_keys();
        let (from, to) = record::whole(space::CHUNK);
        record::scan(&*store, &from, &to, Direction::Forward, &mut |found| {
            let key = ChunkKey(found.key.to_vec());
            let jobs = match chunk::open(&self.seal, &key, found.record) {
                Ok(jobs) => jobs,
                Err(why) => {
                    tracing::error!("a chunk of jobs cannot be opened: {why}");
                    return Ok(ControlFlow::Continue(()));
                }
            };
            let number = key.destination();
            for job in &jobs {
                if searched.are(job)? {
                    let place = if leased.contains(&key) {
                        Place::Leased(number)
                    } else {
                        Place::Pending(key.clone())
                    };
                    visit(place, name(number), job);
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let (from, to) = record::whole(space::DEAD);
        record::scan(&*store, &from, &to, Direction::Forward, &mut |found| {
            if let (Some((head, _)), Ok(dead)) =
                (dead::head_of(found.record), dead::open(&self.seal, &found))
                && searched.are(&dead.job)?
            {
                let place = Place::Dead(found.key.to_vec());
                visit(place, name(head.destination), &dead.job);
            }
            Ok(ControlFlow::Continue(()))
        })
    }
}

/// Where something waits.
enum Place {
    Pending(ChunkKey),
    Leased(DestinationNo),
    Dead(Vec<u8>),
}
