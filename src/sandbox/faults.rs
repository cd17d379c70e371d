//! Faults on demand: what should go wrong, how often, until when. Dice are a seeded generator, so
//! that a run can be repeated; no randomness of the machine is read.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A fault as it is asked for. Everything is optional; without a kind of failure, `error_rate` or
/// `status` alone means an answer with that status (500).
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fault {
    /// Which platform; absent: all.
    pub platform: Option<String>,
    /// Only calls whose path contains this, such as a dataset's id or `/token`.
    pub path: Option<String>,
    /// How likely a request fails, 0 to 1; absent: 1 where a kind of failure is given.
    pub error_rate: Option<f64>,
    /// The status to answer with, in the platform's own shape.
    pub status: Option<u16>,
    /// The platform's answer to too many requests.
    pub throttle: bool,
    /// What `Retry-After` says, in seconds (1).
    pub retry_after: Option<u64>,
    /// The platform's answer to wrong credentials.
    pub unauthorized: bool,
    /// An answer of the platform's contract by its name.
    pub answer: Option<String>,
    /// A 200 with nonsense in it.
    pub garbage: bool,
    /// The connection is closed; the request was not looked at.
    pub reset: bool,
    /// The request is taken, and the connection closed instead of an answer.
    pub lost: bool,
    /// The request is not looked at, and never answered.
    pub hang: bool,
    /// Every answer waits this long.
    pub latency_ms: u64,
    /// The share of events refused in the platform's way, 0 to 1; the same event every time.
    pub partial: f64,
    /// When it ends: a time, or seconds from now.
    pub until: Option<Until>,
    /// Start of the dice.
    pub seed: u64,
}

/// A time, or seconds from now.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(
    untagged,
    expecting = "`until` must be seconds from now, such as 5, or a time in quotes, such as 2026-11-22T04:00:00Z"
)]
pub enum Until {
    /// Seconds from now.
    Seconds(u32),
    /// RFC 3339.
    At(Timestamp),
}

/// What happens to a request instead of being looked at (but for [`Hit::Lost`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hit {
    /// An answer of the contract, with another status if one is given.
    Answer { name: String, status: Option<u16>, retry_after: u64 },
    /// Nonsense.
    Garbage,
    /// The connection is closed.
    Reset,
    /// Taken, then the connection is closed.
    Lost,
    /// Nothing, for ever.
    Hang,
}

impl Hit {
    /// The word for the books.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Hit::Answer { .. } => "answer",
            Hit::Garbage => "garbage",
            Hit::Reset => "reset",
            Hit::Lost => "lost",
            Hit::Hang => "hang",
        }
    }
}

/// What faults do to one request.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    pub(super) latency_ms: u64,
    pub(super) hit: Option<Hit>,
    partial: f64,
    seed: u64,
}

impl Plan {
    /// Whether an event is among those to refuse: decided by its id, so that halving a batch, or
    /// sending again, finds the same culprits.
    pub(super) fn dooms(&self, index: usize, id: Option<&str>) -> bool {
        if self.partial <= 0.0 {
            return false;
        }
        let bytes = id.map_or_else(|| index.to_le_bytes().to_vec(), |id| id.as_bytes().to_vec());
        // FNV-1a, then mixed: spread evenly, and the same in every run.
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64 ^ self.seed, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        fraction(mix(hash)) < self.partial
    }
}

/// The faults in force.
#[derive(Debug, Default)]
pub(super) struct Faults {
    active: Vec<Active>,
}

#[derive(Debug)]
struct Active {
    fault: Fault,
    until: Option<Timestamp>,
    dice: u64,
}

impl Faults {
    /// Starts a fault in place of one for the same platform and path, or says what is wrong.
    pub(super) fn start(&mut self, fault: Fault, now: Timestamp) -> Result<(), String> {
        let share = |name: &str, value: f64| {
            let right = (0.0..=1.0).contains(&value);
            if right { Ok(()) } else { Err(format!("{name} must be between 0 and 1")) }
        };
        share("error_rate", fault.error_rate.unwrap_or_default())?;
        share("partial", fault.partial)?;
        if fault.status.is_some_and(|status| !(200..600).contains(&status)) {
            return Err("status must be an HTTP status between 200 and 599".to_owned());
        }
        let until = fault.until.as_ref().map(|until| match until {
            Until::At(time) => *time,
            Until::Seconds(seconds) => {
                now.saturating_add(SignedDuration::from_secs(i64::from(*seconds))).unwrap_or(now)
            }
        });
        self.active.retain(|active| {
            active.fault.platform != fault.platform || active.fault.path != fault.path
        });
        let dice = fault.seed;
        self.active.push(Active { fault, until, dice });
        Ok(())
    }

    /// Ends the faults of a platform, or all.
    pub(super) fn end(&mut self, platform: Option<&str>) {
        self.active
            .retain(|active| platform.is_some() && active.fault.platform.as_deref() != platform);
    }

    /// The faults in force.
    pub(super) fn list(&mut self, now: Timestamp) -> Vec<Fault> {
        self.expire(now);
        self.active.iter().map(|active| active.fault.clone()).collect()
    }

    /// Throws the dice for a request. A fault of the platform goes before one of all.
    pub(super) fn plan(&mut self, platform: &str, path: &str, now: Timestamp) -> Plan {
        self.expire(now);
        let fits = |active: &&mut Active| {
            let fault = &active.fault;
            fault.platform.as_deref().is_none_or(|wanted| wanted == platform)
                && fault.path.as_deref().is_none_or(|part| path.contains(part))
        };
        let found =
            self.active.iter_mut().filter(fits).max_by_key(|active| {
                (active.fault.path.is_some(), active.fault.platform.is_some())
            });
        let Some(active) = found else { return Plan::default() };
        let fault = &active.fault;
        let hit = kind(fault).filter(|_| {
            active.dice = active.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
            fraction(mix(active.dice)) < fault.error_rate.unwrap_or(1.0)
        });
        Plan { latency_ms: fault.latency_ms, hit, partial: fault.partial, seed: fault.seed }
    }

    fn expire(&mut self, now: Timestamp) {
        self.active.retain(|active| active.until.is_none_or(|until| until > now));
    }
}

fn kind(fault: &Fault) -> Option<Hit> {
    let answer = |name: &str| {
        let retry_after = fault.retry_after.unwrap_or(1);
        Some(Hit::Answer { name: name.to_owned(), status: fault.status, retry_after })
    };
    if fault.hang {
        Some(Hit::Hang)
    } else if fault.reset {
        Some(Hit::Reset)
    } else if fault.lost {
        Some(Hit::Lost)
    } else if fault.garbage {
        Some(Hit::Garbage)
    } else if let Some(name) = &fault.answer {
        answer(name)
    } else if fault.throttle {
        answer("throttled")
    } else if fault.unauthorized {
        answer("unauthorized")
    } else if fault.status.is_none() && fault.error_rate.is_none() {
        None
    } else {
        match fault.status {
            Some(429) => answer("throttled"),
            Some(401 | 403) => answer("unauthorized"),
            Some(404) => answer("not_found"),
            Some(413) => answer("too_large"),
            Some(400..500) => answer("refused"),
            _ => answer("server_error"),
        }
    }
}

/// Mixes bits (splitmix64's last step).
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[allow(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
fn fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T04:00:00Z".parse().unwrap()
    }

    fn fault(text: &str) -> Fault {
        serde_json::from_str(text).unwrap()
    }

    fn started(text: &str) -> Faults {
        let mut faults = Faults::default();
        faults.start(fault(text), now()).unwrap();
        faults
    }

    #[test]
    fn a_wrong_end_is_told_how_to_write_it() {
        let wrong = serde_json::from_str::<Fault>(r#"{"platform": "p", "until": "5s"}"#);
        let why = wrong.unwrap_err().to_string();
        assert!(why.contains("`until` must be seconds from now, such as 5"), "{why}");
    }

    #[test]
    fn the_rate_is_kept_and_the_run_repeats() {
        let run = || {
            let mut faults = started(r#"{"platform": "p", "error_rate": 0.3}"#);
            (0..10_000).map(|_| faults.plan("p", "/", now()).hit.is_some()).collect::<Vec<_>>()
        };
        let hits = run().iter().filter(|hit| **hit).count();
        assert!((2_800..3_200).contains(&hits), "{hits}");
        assert_eq!(run(), run());
    }

    #[test]
    fn the_share_of_events_is_kept_and_an_event_keeps_its_fate() {
        let mut faults = started(r#"{"partial": 0.1}"#);
        let plan = faults.plan("p", "/", now());
        let doomed = |i: usize| plan.dooms(0, Some(&format!("event-{i}")));
        let count = (0..10_000).filter(|i| doomed(*i)).count();
        assert!((850..1_150).contains(&count), "{count}");
        assert!((0..100).all(|i| doomed(i) == doomed(i)));
        assert!(plan.hit.is_none(), "the request itself is fine");
    }

    #[test]
    fn faults_end_by_time_and_by_hand_and_the_nearest_one_holds() {
        let mut faults = started(r#"{"status": 503}"#);
        faults.start(fault(r#"{"platform": "p", "throttle": true, "until": 5}"#), now()).unwrap();
        let status = |faults: &mut Faults, platform: &str, at: Timestamp| match faults
            .plan(platform, "/x", at)
            .hit
        {
            Some(Hit::Answer { name, .. }) => name,
            other => format!("{other:?}"),
        };
        assert_eq!(status(&mut faults, "p", now()), "throttled");
        assert_eq!(status(&mut faults, "q", now()), "server_error");
        let later = now() + SignedDuration::from_secs(5);
        assert_eq!(status(&mut faults, "p", later), "server_error");
        faults.end(None);
        assert_eq!(status(&mut faults, "p", later), "None");
        assert!(faults.list(later).is_empty());
    }

    #[test]
    fn a_fault_for_a_path_leaves_the_others_alone() {
        let mut faults = started(r#"{"platform": "p", "path": "/token", "status": 500}"#);
        assert!(faults.plan("p", "/token", now()).hit.is_some());
        assert!(faults.plan("p", "/v1/events", now()).hit.is_none());
    }

    #[test]
    fn nonsense_is_refused() {
        let mut faults = Faults::default();
        assert!(faults.start(fault(r#"{"error_rate": 2}"#), now()).is_err());
        assert!(faults.start(fault(r#"{"status": 99}"#), now()).is_err());
        assert!(serde_json::from_str::<Fault>(r#"{"eror_rate": 1}"#).is_err());
    }
}
