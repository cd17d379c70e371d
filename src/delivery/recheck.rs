//! Today's rules on a job that was prepared under yesterday's. Pure.
//!
//! Nothing leaves that today's configuration would not allow: fields are dropped, or the job is.
//! It never adds anything, and never prepares anew.

use jiff::Timestamp;

use super::settle::{REJECTED, RETENTION, TOO_OLD, expiry};
use crate::{
    config::{Config, DestinationConfig},
    consent::{self, Question},
    destinations::Mode,
    job::{Prepared, SkipCode, Stored},
    queue::{Attempt, JobVerdict, LeasedJob},
};

/// What a leased job is today.
#[derive(Debug, Clone, PartialEq)]
pub enum Checked {
    /// It may be sent, in this form.
    Send(Box<Prepared>),
    /// It is over; with the plan event's name, where it could be read.
    Over(JobVerdict, String),
}

/// Applies today's rules.
pub fn recheck(
    config: &Config,
    destination: &DestinationConfig,
    job: &LeasedJob,
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
    match stopped(config, destination, job, &prepared, now) {
        Some(verdict) => Checked::Over(verdict, prepared.event),
        None => match permit(config, destination, &prepared) {
            // Shadow counts what would leave, so that it comes after everything that stops a job.
            Ok(_) if destination.mode == Mode::Shadow => {
                Checked::Over(JobVerdict::Shadowed, prepared.event)
            }
            Ok(permit) => {
                prepared.restrict(&permit);
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
    match recheck(config, destination, job, now) {
        Checked::Over(JobVerdict::Withdrawn { reason }, _) => Some(reason),
        Checked::Over(..) | Checked::Send(_) => None,
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
    let (rules, platform) = (&config.consent, destination.platform);
    let ids = rules.vendor_ids(&destination.name, platform.name, platform.vendor_ids());
    let state = prepared.consent.again(rules, ids);
    let question = Question {
        destination: &destination.name,
        platform: platform.name,
        purposes: &platform.purposes,
        action_source: prepared.action_source,
        present: prepared.present(),
        state: &state,
        sensitive: prepared.sensitive || site.is_some_and(|site| site.sensitive.is_some()),
    };
    config.decide(destination, &prepared.event, &prepared.site, &question).permit
}

fn withdrawn(reason: &str) -> JobVerdict {
    JobVerdict::Withdrawn { reason: reason.to_owned() }
}
