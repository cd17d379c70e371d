//! Today's rules on a job that was prepared under yesterday's. Pure.
//!
//! Nothing leaves that today's configuration would not allow, nor what its person has refused since:
//! fields are dropped, or the job is. It never adds anything, and never prepares anew.

use std::{borrow::Cow, sync::Arc};

use jiff::Timestamp;

use super::settle::{REJECTED, RETENTION, TOO_OLD, expiry};
use crate::{
    config::{Config, DestinationConfig},
    consent::{
        self, Question, State,
        memory::{Remembered, Terms},
    },
    destinations::Mode,
    event::{Field, FieldSet},
    job::{Prepared, SkipCode, Stored},
    queue::{Attempt, JobVerdict, Judgement, LeasedJob},
};

/// What tells who somebody is, besides click ids and the ids of leads.
const IDENTIFYING: [Field; 7] = [
    Field::Email,
    Field::Phone,
    Field::ExternalId,
    Field::AnonymousId,
    Field::Ip,
    Field::AdvertisingId,
    Field::VendorId,
];

/// What a leased job is today.
#[derive(Debug, Clone, PartialEq)]
pub enum Checked {
    /// It may be sent, in this form.
    Send(Box<Prepared>),
    /// It is over; with the plan event's name, where it could be read.
    Over(JobVerdict, String),
}

/// The reason of what is withdrawn because its person was erased.
const ERASED: &str = "erased";

/// Applies today's rules, and what the job's person has said since it was accepted.
pub fn recheck(
    config: &Config,
    destination: &DestinationConfig,
    job: &LeasedJob,
    later: Option<&Remembered>,
    now: Timestamp,
) -> Checked {
    let mut prepared = match Stored::decode(&job.body) {
        Ok(prepared) => prepared,
        Err(unreadable) => {
            let attempt = Attempt {
                reason: "unreadable".to_owned(),
                message: unreadable.to_string(),
                ..Attempt::default()
            };
            let verdict = JobVerdict::Dead { code: REJECTED.to_owned(), attempt };
            return Checked::Over(verdict, String::new());
        }
    };
    // What a later copy released is the first one's.
    prepared.event_id.clone_from(&job.label.event_id);
    if later.is_some_and(|later| later.is_gone(job.accepted_at_ms)) {
        return Checked::Over(withdrawn(ERASED), prepared.event);
    }
    if let Some(later) = later {
        let mut state = again(config, destination, &prepared).into_owned();
        if later.choice.bind(&mut state, prepared.time, job.accepted_at_ms) {
            // It stands as it is: read anew from its signals it would know nothing of that.
            prepared.consent = Arc::new(State { said: None, ..state });
            // Its strings of frameworks say otherwise.
            prepared.texts.retain(|(field, _)| !matches!(field, Field::Tcf | Field::Gpp));
        }
    }
    outdate(config, &mut prepared, now);
    let site = config.sites.get(&prepared.site);
    prepared.sensitive |= site.is_some_and(|site| site.sensitive.is_some());
    match stopped(config, destination, job, &prepared, now) {
        Some(verdict) => Checked::Over(verdict, prepared.event),
        None => match permit(config, destination, &prepared) {
            // Shadow counts what would leave, so that it comes after everything that stops a job.
            Ok(_) if destination.mode == Mode::Shadow => {
                Checked::Over(JobVerdict::Shadowed, prepared.event)
            }
            Ok(permit) => {
                let removed = prepared.restrict(&permit);
                // A receiver of one's own takes a body without a person too; an ad platform refuses
                // it, and enough of them look as if the destination were broken.
                let wants_person = destination.platform.purposes.needs.is_some();
                if wants_person && names_somebody(removed) && !names_somebody(prepared.present()) {
                    let reason = SkipCode::IdentityTooWeak.name();
                    return Checked::Over(withdrawn(reason), prepared.event);
                }
                Checked::Send(Box::new(prepared))
            }
            Err(code) => Checked::Over(withdrawn(code.name()), prepared.event),
        },
    }
}

/// Whether today's rules still let this job leave, in any form: for reports of what a new
/// configuration will withhold. The reason's code if not.
pub fn withheld(
    config: &Config,
    destination: &DestinationConfig,
    job: &LeasedJob,
    now: Timestamp,
) -> Option<String> {
    match recheck(config, destination, job, None, now) {
        Checked::Over(JobVerdict::Withdrawn { reason }, _) => Some(reason),
        Checked::Over(..) | Checked::Send(_) => None,
    }
}

/// Whether any of the fields can tell who it was: by itself, not as a name or a place does.
fn names_somebody(fields: FieldSet) -> bool {
    let is_one = |field: Field| {
        let path = field.path();
        IDENTIFYING.contains(&field) || path.starts_with("click_ids.") || path.starts_with("lead.")
    };
    fields.iter().any(is_one)
}

/// What a choice of its person does to a job.
pub fn judge(
    config: &Config,
    destination: &DestinationConfig,
    job: &LeasedJob,
    said: &Remembered,
    now: Timestamp,
) -> Judgement {
    let before = recheck(config, destination, job, None, now);
    match (before, recheck(config, destination, job, Some(said), now)) {
        (Checked::Over(JobVerdict::Withdrawn { .. }, _), _) => Judgement::Same,
        (_, Checked::Over(JobVerdict::Withdrawn { reason }, _)) => Judgement::Over(reason),
        (Checked::Send(before), Checked::Send(after))
            if before.present() != after.present() || before.flags != after.flags =>
        {
            Judgement::Less
        }
        (Checked::Send(_) | Checked::Over(..), _) => Judgement::Same,
    }
}

/// A remembered grant that may not be used any more, by age or by today's `use_for`, is none.
fn outdate(config: &Config, prepared: &mut Prepared, now: Timestamp) {
    let state = Arc::make_mut(&mut prepared.consent);
    if state.speaks_for_itself() || state.is_silent() {
        return;
    }
    let memory = &config.consent.memory;
    let source = prepared.action_source.name();
    // Through which door it came is not kept: any that is listed counts.
    let doors = [None, Some("webhook"), Some("import")];
    let stands = doors.iter().any(|door| {
        let terms = Terms::of(memory, source, *door, now);
        terms.grants && state.at_ms >= terms.since.as_millisecond()
    });
    if !stands {
        state.forget_grants();
    }
}

fn stopped(
    config: &Config,
    destination: &DestinationConfig,
    job: &LeasedJob,
    prepared: &Prepared,
    now: Timestamp,
) -> Option<JobVerdict> {
    if now >= prepared.expires_at {
        return Some(JobVerdict::Expired { code: TOO_OLD.to_owned() });
    }
    if now >= expiry(job) {
        return Some(JobVerdict::Expired { code: RETENTION.to_owned() });
    }
    let takes_site = destination.sites.is_empty() || destination.sites.contains(&prepared.site);
    if !config.sites.contains_key(&prepared.site) || !takes_site {
        return Some(withdrawn(SkipCode::OtherSite.name()));
    }
    let entries = destination.entries.get(&prepared.event);
    if entries.is_none_or(|entries| usize::from(prepared.entry) >= entries.len()) {
        return Some(withdrawn(SkipCode::NotMapped.name()));
    }
    let has_test_mode = destination.platform.has_test_mode || config.mode == Mode::Sandbox;
    (prepared.test && !has_test_mode).then(|| withdrawn(SkipCode::TestMode.name()))
}

fn permit(
    config: &Config,
    destination: &DestinationConfig,
    prepared: &Prepared,
) -> Result<consent::Permit, consent::ReasonCode> {
    let site = config.sites.get(&prepared.site);
    let platform = destination.platform;
    let state = again(config, destination, prepared);
    let question = Question {
        destination: &destination.name,
        platform: platform.name,
        purposes: &platform.purposes,
        action_source: prepared.action_source,
        present: prepared.present(),
        state: &state,
        sensitive: prepared.sensitive || site.is_some_and(|site| site.sensitive.is_some()),
    };
    let event = prepared.event.as_str().into();
    config.decide(destination, event, &prepared.site, &question).permit
}

/// A job's state under today's rules.
fn again<'p>(
    config: &Config,
    destination: &DestinationConfig,
    prepared: &'p Prepared,
) -> Cow<'p, State> {
    let (rules, platform) = (&config.consent, destination.platform);
    let ids = rules.vendor_ids(&destination.name, platform.name, platform.vendor_ids());
    prepared.consent.again(rules, ids)
}

fn withdrawn(reason: &str) -> JobVerdict {
    JobVerdict::Withdrawn { reason: reason.to_owned() }
}
