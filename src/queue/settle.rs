//! Settlement: what became of a lease's jobs, moved in the books and on disk.

use std::time::Duration;

use super::{
    Attempt, ChunkKey, JobKind, JobLabel, JobVerdict, LeasedJob, Settlement, chunk::DestinationNo,
    lease::LONGEST_WAIT_MS, round::Round, store::StoreError,
};

/// A retry's time is rounded up to a step of one, two, four ... seconds, about this part of its
/// wait, so that the retries of one settlement come to a handful of chunks.
const STEPS_OF_A_WAIT: i64 = 16;
const SHORTEST_STEP_MS: i64 = 1000;
/// The interface's code for a dead letter that may have arrived.
const UNKNOWN_RESULT: &str = "unknown_result";

impl Round<'_> {
    /// Settles a lease. What is not leased any more was settled before, and is left alone.
    pub(super) fn settle(&mut self, settlement: Settlement) -> Result<(), StoreError> {
        let Settlement { lease, verdicts, follow_ups } = settlement;
        if lease.jobs.len() != verdicts.len() {
            tracing::error!(
                destination = lease.destination,
                jobs = lease.jobs.len(),
                verdicts = verdicts.len(),
                "a settlement does not fit its lease: what it lacks is kept"
            );
        }
        let group = lease.jobs.first().map(|job| job.group.clone()).unwrap_or_default();
        let keep = std::iter::repeat(JobVerdict::Keep);
        let mut settled = lease.jobs.into_iter().zip(verdicts.into_iter().chain(keep));
        for key in lease.chunks {
            let Some(leased) = self.shared.leased(&key) else {
                tracing::error!("a chunk was settled twice; the second time is ignored");
                continue;
            };
            let jobs = usize::try_from(leased.head.jobs).unwrap_or(usize::MAX);
            let jobs: Vec<(LeasedJob, JobVerdict)> = settled.by_ref().take(jobs).collect();
            if jobs.iter().all(|(_, verdict)| *verdict == JobVerdict::Keep) {
                self.remove_mark(&key, &leased);
                self.published.kept.push(key);
                continue;
            }
            self.remove_chunk(&key, &leased);
            for (job, verdict) in jobs {
                self.settle_job(&key, job, verdict)?;
            }
        }
        if !follow_ups.is_empty() {
            let number = self.state.books.number_or_new(&lease.destination)?;
            for (wait, body) in follow_ups {
                let job = self.follow_up(&group, body);
                let due_ms = self.due_ms(wait);
                self.queue(number, due_ms, job);
            }
        }
        Ok(())
    }

    fn settle_job(
        &mut self,
        key: &ChunkKey,
        mut job: LeasedJob,
        verdict: JobVerdict,
    ) -> Result<(), StoreError> {
        let number = key.destination();
        let counts = u64::from(!job.uncounted);
        let place = (job.id, job.slot);
        self.unqueue(number, job.uncounted);
        match verdict {
            JobVerdict::Keep => {
                let due_ms = key.due_ms();
                self.queue(number, due_ms, job);
            }
            JobVerdict::Postponed { wait } => {
                let due_ms = self.due_ms(wait);
                self.queue(number, due_ms, job);
            }
            JobVerdict::Delivered(attempt) => {
                self.state.books.of(number).delivered += counts;
                self.note_outcome(number, place, "delivered", "", Some(&attempt));
            }
            JobVerdict::Retry { wait, counts: counts_against, attempt } => {
                self.state.books.of(number).retried += counts;
                job.sends = job.sends.saturating_add(1);
                job.attempts = job.attempts.saturating_add(u32::from(counts_against));
                self.note_outcome(number, place, "retry", "", Some(&attempt));
                let due_ms = self.due_ms(wait);
                self.queue(number, due_ms, job);
            }
            JobVerdict::Dead { code, attempt } => {
                // Where nobody knows whether it arrived, the platform may have it.
                if code != UNKNOWN_RESULT {
                    self.correct(number, &job, false)?;
                }
                self.note_outcome(number, place, "dead", &code, Some(&attempt));
                // What is in no book leaves no letter: a test, or a question about a call.
                if counts > 0 {
                    self.state.books.of(number).dead += 1;
                    job.sends = job.sends.saturating_add(1);
                    self.bury(number, &code, words(&attempt), job)?;
                }
            }
            JobVerdict::Expired { code } => {
                self.correct(number, &job, false)?;
                self.state.books.of(number).expired += counts;
                self.note_outcome(number, place, "expired", &code, None);
            }
            JobVerdict::Withdrawn { reason, ruling } => {
                self.correct(number, &job, false)?;
                self.state.books.of(number).withdrawn += counts;
                self.note_withdrawn(number, place, &reason, ruling);
            }
            JobVerdict::Shadowed => {
                self.correct(number, &job, false)?;
                self.state.books.of(number).shadowed += counts;
                self.note_outcome(number, place, "shadowed", "", None);
            }
            JobVerdict::Done => self.end_done(number, &job),
        }
        Ok(())
    }

    /// `Done` is for follow-ups; an event's decision must be somewhere, so it counts as delivered.
    fn end_done(&mut self, number: DestinationNo, job: &LeasedJob) {
        if !job.uncounted {
            tracing::error!("an event's job was settled as done; it counts as delivered");
            self.state.books.of(number).delivered += 1;
        }
    }

    fn follow_up(&self, group: &str, body: Vec<u8>) -> LeasedJob {
        LeasedJob {
            id: [0; 16],
            label: JobLabel::default(),
            uncounted: true,
            kind: JobKind::FollowUp,
            group: group.to_owned(),
            expires_at_ms: self.now_ms.saturating_add(self.bounds.keep_queue_ms),
            accepted_at_ms: self.now_ms,
            attempts: 0,
            sends: 0,
            subjects: Vec::new(),
            slot: 0,
            body,
        }
    }

    /// When a job is due: never later than the longest wait, rounded up so that few differ.
    fn due_ms(&self, wait: Duration) -> i64 {
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX).min(LONGEST_WAIT_MS);
        let mut step = SHORTEST_STEP_MS;
        while step * 2 * STEPS_OF_A_WAIT <= wait {
            step *= 2;
        }
        let due = self.shared.waits_ms().saturating_add(wait).max(1);
        due.saturating_add(step - 1) / step * step
    }
}

fn words(attempt: &Attempt) -> String {
    match (attempt.reason.as_str(), attempt.message.as_str()) {
        ("", message) => message.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}
