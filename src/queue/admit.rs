//! Admission: is the event new, does it count, where do its decisions go. Nothing here waits.

use std::collections::HashMap;

use super::{
    Admission, AdmissionStatus, Admitted, IdHash, JobKind, LeasedJob, NewJob, Part, QueueDecision,
    QueueFate, Refused, Whose,
    chunk::DestinationNo,
    ids::{HeldSlot, IdLine},
    outbox::Made,
    person::{Known, Queued},
    round::Round,
    store::StoreError,
};
use crate::consent::memory::Choice;

/// The interface's code for what a full destination sheds.
pub(super) const BACKLOG_FULL: &str = "backlog_full";

impl Round<'_> {
    /// Whether there is room for what some admissions may queue. Asked before anything is changed;
    /// duplicates are not told apart, so it errs on the side of refusing.
    pub(super) fn room_for(&self, admissions: &[Admission]) -> Result<(), Refused> {
        let mut by_destination: HashMap<&str, (u64, bool)> = HashMap::new();
        let mut all = 0u64;
        for decision in admissions.iter().flat_map(|a| &a.parts).flat_map(|p| &p.decisions) {
            if let QueueFate::Queued(job) = &decision.fate {
                all += 1;
                let (count, refuse) =
                    by_destination.entry(decision.destination.as_str()).or_default();
                *count += 1;
                *refuse |= job.refuse_when_full;
            }
        }
        let books = &self.state.books;
        if all > 0 && books.jobs() + all > self.bounds.max_pending {
            return Err(Refused::Full(format!("{} jobs are pending in all", books.jobs())));
        }
        for (name, (count, refuse)) in by_destination {
            let queued = books.number(name).map_or(0, |number| self.queued(number));
            if refuse && queued + count > self.bounds.max_pending_per_destination {
                return Err(Refused::Full(format!("{queued} jobs are pending for {name}")));
            }
        }
        Ok(())
    }

    /// Admits one event.
    pub(super) fn admit(&mut self, admission: Admission) -> Result<Admitted, StoreError> {
        if admission.test {
            return self.admit_test(admission);
        }
        let Admission {
            id,
            trace_id,
            event_id,
            order,
            short_lived,
            test: _,
            status,
            whose,
            parts,
            trace,
            grounds,
            received_at,
        } = admission;
        if self.is_gone(&whose, &id, &trace_id)? {
            // Nothing of it is kept, not even a trace: it would bring an erased person back.
            self.state.books.events.duplicate += 1;
            return Ok(Admitted::Duplicate { released: 0 });
        }
        let accepted_at_ms = received_at.as_millisecond();
        let mut entrusted = Entrusting::default();
        let (admitted, name) = if self.state.ids.has(&id, self.now_ms) {
            let mut released = 0;
            for part in parts {
                let anchors = [Some(id), part.same_as];
                released += self.release(&anchors, part, accepted_at_ms, &mut entrusted)?;
            }
            (Admitted::Duplicate { released }, "duplicate")
        } else {
            let mut counted = Counted::default();
            let admitted = match status {
                AdmissionStatus::Accepted => {
                    self.admit_parts(parts, accepted_at_ms, &mut counted)?
                }
                AdmissionStatus::CriteriaNotMet => Admitted::CriteriaNotMet,
                AdmissionStatus::Unplanned => Admitted::Unplanned,
            };
            let Counted { same_as, held, entrusted: new, .. } = counted;
            entrusted = new;
            self.state.ids.insert(&id, short_lived, &same_as, held.clone(), self.now_ms);
            // Its copies may have other ids.
            let line = if held.is_empty() || same_as.is_empty() {
                IdLine::Seen { id, short_lived, same_as, held }
            } else {
                let sealed = self.shared.seal.seal(&[b"event id", &id], event_id.as_bytes())?;
                self.state.ids.name(&id, event_id);
                IdLine::Named { id, short_lived, same_as, held, sealed }
            };
            self.note_ids(line);
            // A resend of the same event adds nothing: it has the same trace.
            self.orders.extend(order.map(|order| (order, trace_id)));
            (admitted, status_name(admitted))
        };
        let events = &mut self.state.books.events;
        let count = match admitted {
            Admitted::Accepted { .. } => &mut events.accepted,
            Admitted::Duplicate { .. } => &mut events.duplicate,
            Admitted::Suppressed => &mut events.suppressed,
            Admitted::CriteriaNotMet => &mut events.criteria_not_met,
            Admitted::Unplanned => &mut events.unplanned,
            Admitted::Test => &mut events.test,
        };
        *count += 1;
        self.note_event(std::mem::take(&mut entrusted.made), grounds, trace.len());
        let home = self.remember(&whose, trace_id, accepted_at_ms, entrusted)?;
        self.note_copy(trace_id, home, name, trace);
        Ok(admitted)
    }

    /// Whether an event is one of an erased person's, from before the erasure; a copy of an earlier
    /// one is taken for that.
    fn is_gone(
        &mut self,
        whose: &Whose,
        id: &IdHash,
        trace_id: &IdHash,
    ) -> Result<bool, StoreError> {
        let homes = self.register.find(self.store, &self.shared.seal, &whose.subjects)?;
        let mut erased = homes
            .iter()
            .filter_map(|home| self.register.get(home))
            .filter(|known| known.erased.is_some());
        Ok(erased.clone().any(|known| known.is_gone(trace_id, whose.happened_ms))
            || (erased.next().is_some() && self.state.ids.has(id, self.now_ms)))
    }

    /// Enters in the register what an event tells of its person; by which key traces know them.
    fn remember(
        &mut self,
        whose: &Whose,
        trace_id: IdHash,
        accepted_at_ms: i64,
        entrusted: Entrusting,
    ) -> Result<Option<IdHash>, StoreError> {
        let Entrusting { event_id, to, made: _ } = entrusted;
        let first = whose.subjects.first().copied();
        let brings = whose.click.is_some() || !whose.traits.is_empty();
        let is_little = whose.subjects.len() < 2 && whose.choice.is_none() && !brings;
        if is_little && to.is_empty() {
            return Ok(first);
        }
        let joined = self.register.join(self.store, &self.shared.seal, &whose.subjects)?;
        let Some(home) = joined else { return Ok(first) };
        if let Some(choice) = &whose.choice {
            self.choose(&home, choice);
        }
        let is_seen = self.register.get(&home).is_some_and(|known| known.is_seen(self.now_ms));
        if is_seen && to.is_empty() && !brings {
            return Ok(Some(home));
        }
        let since_ms =
            whose.choice.as_ref().and_then(Choice::newest_ms).unwrap_or(whose.happened_ms);
        if let Some(known) = self.register.of(&home) {
            // What was refused while the event was on its way: it is followed no more.
            let is_refused = known.choice.refuses_clicks() && known.choice.refuses_since(since_ms);
            if !is_seen {
                known.seen_ms = self.now_ms;
            }
            if !is_refused {
                whose.click.iter().for_each(|click| known.note_click(click.clone()));
                whose.traits.iter().for_each(|one| known.note_trait(one.clone()));
            }
            if !to.is_empty() {
                known.entrust(Queued { id: trace_id, event_id, at_ms: accepted_at_ms, to });
            }
        }
        Ok(Some(home))
    }

    /// Takes in a choice of a person. What it refuses, and what was refused after it was made, the
    /// workers have to look up for what waits.
    pub(super) fn choose(&mut self, home: &IdHash, choice: &Choice) {
        let Some(known) = self.register.get(home) else { return };
        let is_news = known.choice.learns(choice);
        let is_late = choice.newest_ms().is_some_and(|at_ms| known.choice.refuses_since(at_ms));
        if (is_news && choice.refuses()) || is_late {
            self.published.refused.extend_from_slice(&known.subjects);
        }
        if is_news && let Some(known) = self.register.of(home) {
            known.choice.merge(choice);
        }
        // Who refuses that is no longer followed from click to deal, nor from call to call.
        let is_followed = self.register.get(home).is_some_and(Known::is_followed);
        if choice.refuses_clicks()
            && is_followed
            && let Some(known) = self.register.of(home)
        {
            known.forget_followed();
        }
    }

    /// Notes a signed delivery among the ids of events.
    pub(super) fn note_delivery(&mut self, id: IdHash) {
        let (same_as, held) = (Vec::new(), Vec::new());
        self.state.ids.insert(&id, false, &same_as, held.clone(), self.now_ms);
        self.note_ids(IdLine::Seen { id, short_lived: false, same_as, held });
    }

    /// Whether a delivery was noted.
    pub(super) fn knows_delivery(&self, id: &IdHash) -> bool {
        self.state.ids.has(id, self.now_ms)
    }

    /// How an event would be judged now, where the store says otherwise than the event alone; nothing
    /// is changed.
    pub(super) fn foresee(
        &mut self,
        admission: &Admission,
    ) -> Result<Option<Admitted>, StoreError> {
        if admission.test {
            return Ok(None);
        }
        let duplicate = Admitted::Duplicate { released: 0 };
        if self.is_gone(&admission.whose, &admission.id, &admission.trace_id)?
            || self.state.ids.has(&admission.id, self.now_ms)
        {
            return Ok(Some(duplicate));
        }
        if admission.status != AdmissionStatus::Accepted || admission.parts.is_empty() {
            return Ok(None);
        }
        let mut foreseen = Admitted::Suppressed;
        for part in &admission.parts {
            if part.same_as.is_some_and(|same_as| self.state.ids.has(&same_as, self.now_ms)) {
                foreseen = duplicate;
                continue;
            }
            let counts = match &part.claim {
                Some(claim) => self.people.admits(self.store, &self.shared.seal, claim)?,
                None => true,
            };
            if counts {
                return Ok(None);
            }
        }
        Ok(Some(foreseen))
    }

    fn admit_test(&mut self, admission: Admission) -> Result<Admitted, StoreError> {
        let accepted_at_ms = admission.received_at.as_millisecond();
        let mut made = Vec::new();
        for decision in admission.parts.into_iter().flat_map(|part| part.decisions) {
            if let QueueFate::Queued(job) = decision.fate {
                let number = self.state.books.number_or_new(&decision.destination)?;
                if self.is_full(number) {
                    made.push(Made::Full);
                    continue;
                }
                self.queue(number, 0, leased_job(job, decision.slot, accepted_at_ms, true));
            }
            made.push(Made::Decided);
        }
        self.state.books.events.test += 1;
        self.orders.extend(admission.order.map(|order| (order, admission.trace_id)));
        self.note_event(made, admission.grounds, admission.trace.len());
        self.note_copy(admission.trace_id, None, "test", admission.trace);
        Ok(Admitted::Test)
    }

    fn admit_parts(
        &mut self,
        parts: Vec<Part>,
        accepted_at_ms: i64,
        counted: &mut Counted,
    ) -> Result<Admitted, StoreError> {
        let (mut counts, mut duplicates, mut released) = (parts.is_empty(), 0, 0);
        for part in parts {
            if let Some(same_as) = part.same_as
                && self.state.ids.has(&same_as, self.now_ms)
            {
                duplicates += 1;
                let entrusted = &mut counted.entrusted;
                released += self.release(&[Some(same_as)], part, accepted_at_ms, entrusted)?;
                continue;
            }
            if let Some(claim) = &part.claim {
                if !self.people.admits(self.store, &self.shared.seal, claim)? {
                    let made = &mut counted.entrusted.made;
                    made.extend(part.decisions.iter().map(|_| Made::Suppressed));
                    continue;
                }
                if self.leaves_mark(&part.decisions) {
                    self.people.mark(claim);
                }
            }
            if let Some((milestone, at)) = &part.reaches {
                self.people.reach(self.store, &self.shared.seal, milestone, *at)?;
            }
            counts = true;
            counted.same_as.extend(part.same_as);
            for decision in part.decisions {
                self.decide(decision, accepted_at_ms, counted)?;
            }
        }
        Ok(if counts {
            Admitted::Accepted {
                queued: counted.queued,
                held: u32::try_from(counted.held.len()).unwrap_or(u32::MAX),
            }
        } else if duplicates > 0 {
            Admitted::Duplicate { released }
        } else {
            Admitted::Suppressed
        })
    }

    /// Whether an event uses up what a frequency rule allows: something of it is queued, or nothing of
    /// it could have been. One that consent held, or that was too weak, leaves room for the next.
    fn leaves_mark(&self, decisions: &[QueueDecision]) -> bool {
        let is_queued = |one: &QueueDecision| match &one.fate {
            QueueFate::Queued(_) => {
                let number = self.state.books.number(&one.destination);
                number.is_none_or(|number| !self.is_full(number))
            }
            QueueFate::Shadowed => true,
            QueueFate::Skipped { .. } | QueueFate::Held(_) => false,
        };
        let is_for_nobody =
            |one: &QueueDecision| matches!(one.fate, QueueFate::Skipped { is_mapped: false });
        decisions.iter().any(is_queued) || decisions.iter().all(is_for_nobody)
    }

    fn decide(
        &mut self,
        decision: QueueDecision,
        accepted_at_ms: i64,
        counted: &mut Counted,
    ) -> Result<(), StoreError> {
        let QueueDecision { destination, slot, fate } = decision;
        let number = self.state.books.number_or_new(&destination)?;
        let is_full = self.is_full(number) && matches!(fate, QueueFate::Queued(_));
        counted.entrusted.made.push(if is_full { Made::Full } else { Made::Decided });
        let book = self.state.books.of(number);
        book.accepted += 1;
        match fate {
            QueueFate::Skipped { .. } => book.skipped += 1,
            QueueFate::Held(reason) => {
                *book.held(reason) += 1;
                counted.held.push(HeldSlot { destination: number, slot, reason });
            }
            QueueFate::Shadowed => {
                book.shadowed += 1;
                counted.queued += 1;
            }
            QueueFate::Queued(job) if is_full => {
                self.state.books.of(number).expired += 1;
                self.note_outcome(number, (job.id, slot), "expired", BACKLOG_FULL, None);
                self.note_expired(number, job.label.event, BACKLOG_FULL, 1);
            }
            QueueFate::Queued(job) => {
                counted.entrusted.add(&job, number, slot);
                self.queue(number, 0, leased_job(job, slot, accepted_at_ms, false));
                counted.queued += 1;
            }
        }
        Ok(())
    }

    /// A later copy serves what the first one could not for want of consent; how many decisions.
    fn release(
        &mut self,
        anchors: &[Option<IdHash>],
        part: Part,
        accepted_at_ms: i64,
        entrusted: &mut Entrusting,
    ) -> Result<u32, StoreError> {
        let known = anchors.iter().flatten().find_map(|anchor| self.state.ids.held(anchor));
        let first = entrusted.made.len();
        entrusted.made.extend(part.decisions.iter().map(|_| Made::Copy));
        let Some((event, held)) = known else { return Ok(0) };
        let held = held.to_vec();
        // What was held used nothing up, so that another event may have been counted since.
        let claim = part.claim;
        if let Some(claim) = &claim
            && !self.people.admits(self.store, &self.shared.seal, claim)?
        {
            return Ok(0);
        }
        let name = self.state.ids.name_of(event).map(str::to_owned);
        let mut slots = Vec::new();
        for (index, decision) in (first..).zip(part.decisions) {
            let Some(number) = self.state.books.number(&decision.destination) else { continue };
            let slot = decision.slot;
            let matches = |h: &&HeldSlot| h.destination == number && h.slot == slot;
            let Some(found) = held.iter().find(matches).copied() else { continue };
            match decision.fate {
                QueueFate::Skipped { .. } | QueueFate::Held(_) => continue,
                QueueFate::Shadowed => self.state.books.of(number).shadowed += 1,
                // Held is better than shed: a still later copy may find room.
                QueueFate::Queued(_) if self.is_full(number) => continue,
                QueueFate::Queued(mut job) => {
                    if let Some(name) = &name {
                        job.label.event_id.clone_from(name);
                    }
                    entrusted.add(&job, number, slot);
                    self.queue(number, 0, leased_job(job, slot, accepted_at_ms, false));
                }
            }
            let count = self.state.books.of(number).held(found.reason);
            *count = count.saturating_sub(1);
            if let Some(made) = entrusted.made.get_mut(index) {
                *made = Made::Released;
            }
            slots.push(found);
        }
        let released = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        if released > 0 {
            claim.iter().for_each(|claim| self.people.mark(claim));
            self.state.ids.release(event, &slots);
            self.note_ids(IdLine::Released { event, slots });
        }
        Ok(released)
    }

    /// Notes for metrics and alerts what expired without ever being leased.
    pub(super) fn note_expired(
        &mut self,
        number: DestinationNo,
        event: String,
        reason: &'static str,
        jobs: u64,
    ) {
        if jobs > 0 {
            *self.published.expired.entry((number, event, reason)).or_default() += jobs;
        }
    }

    fn queued(&self, number: DestinationNo) -> u64 {
        let book = self.state.books.destinations.get(usize::from(number));
        book.map_or(0, |book| book.queued + book.uncounted)
    }

    fn is_full(&self, number: DestinationNo) -> bool {
        self.queued(number) >= self.bounds.max_pending_per_destination
    }
}

/// What the counted parts of one event came to.
#[derive(Debug, Default)]
struct Counted {
    queued: u32,
    held: Vec<HeldSlot>,
    same_as: Vec<IdHash>,
    entrusted: Entrusting,
}

/// Where an event was queued for.
#[derive(Debug, Default)]
struct Entrusting {
    event_id: String,
    to: Vec<(DestinationNo, u32)>,
    /// What became of each decision.
    made: Vec<Made>,
}

impl Entrusting {
    fn add(&mut self, job: &NewJob, destination: DestinationNo, slot: u32) {
        if self.to.is_empty() {
            self.event_id.clone_from(&job.label.event_id);
        }
        self.to.push((destination, slot));
    }
}

fn leased_job(job: NewJob, slot: u32, accepted_at_ms: i64, uncounted: bool) -> LeasedJob {
    LeasedJob {
        id: job.id,
        label: job.label,
        uncounted,
        kind: JobKind::Event,
        group: job.group,
        expires_at_ms: job.expires_at.as_millisecond(),
        accepted_at_ms,
        attempts: 0,
        sends: 0,
        subjects: job.subjects,
        slot,
        body: job.body,
    }
}

fn status_name(admitted: Admitted) -> &'static str {
    match admitted {
        Admitted::Accepted { .. } => "accepted",
        Admitted::Duplicate { .. } => "duplicate",
        Admitted::Suppressed => "suppressed",
        Admitted::CriteriaNotMet => "criteria_not_met",
        Admitted::Unplanned => "unplanned",
        Admitted::Test => "test",
    }
}
