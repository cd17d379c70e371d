//! What is said to a platform and what comes back, as plain data, and what that can mean.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An HTTP request as plain data, without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What it is for.
    pub purpose: CallPurpose,
    /// `POST` or `GET`.
    pub method: &'static str,
    /// Whole URL.
    pub url: String,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Indices of the jobs in it.
    pub members: Vec<usize>,
}

/// A call that proves one of a destination's ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Which: the setting and what it says, such as `app_id 7001`. Empty where there is one alone.
    pub of: String,
    /// The call.
    pub call: Call,
}

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallPurpose {
    /// It carries events.
    Send,
    /// It asks what became of an earlier one.
    FollowUp,
    /// It proves credentials.
    Probe,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    /// At most as many bytes as the client keeps.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// The meaning of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// One for each member of the call, in their order.
    pub outcomes: Vec<Outcome>,
    /// Set where the destination itself is at fault, so that it is paused and probed.
    pub fault: Option<Fault>,
    /// A later question about this call.
    pub follow_up: Option<FollowUp>,
    /// What the answer told besides: counted by code, never changing a settlement.
    pub notes: Vec<Note>,
}

/// What an answer means for one event. Closed: delivery matches all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Taken, or known already.
    Delivered,
    /// Not taken, worth trying again; after the given time if the platform named one.
    /// The event itself is in doubt, so that attempts are counted.
    Retry {
        /// What the platform asked for.
        after: Option<Duration>,
        /// No longer than this after the event was accepted, where the platform says how long it
        /// may take; else until attempts are used up.
        within: Option<Duration>,
        /// Its words, without identity.
        message: String,
    },
    /// The platform is out of order (5xx and the like): tried until the event expires.
    Unavailable {
        /// What the platform asked for.
        after: Option<Duration>,
        /// Its words.
        message: String,
    },
    /// Too much; wait.
    Throttled {
        /// What the platform asked for.
        after: Option<Duration>,
        /// Its words.
        message: String,
    },
    /// Refused for good.
    Rejected {
        /// The platform's own code, such as `100/2804003`.
        reason: String,
        /// Its words, without identity.
        message: String,
    },
    /// Nothing was wrong with it, but the request held another event that was refused: sent again
    /// at once, which is no attempt of its own.
    Resend {
        /// The platform's words about the other one.
        message: String,
    },
    /// The body was too large: halved and sent again.
    TooLarge,
    /// The batch was refused and nothing says for which event: halved and sent again. For a
    /// single event it means rejected, with this reason and these words.
    CulpritUnknown {
        /// The platform's own code.
        reason: String,
        /// Its words.
        message: String,
    },
    /// Our credentials are refused, or our settings wrong: the destination is paused, the event kept.
    Paused,
}

/// What a platform says of its quota: how long it wants to be left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// So long.
    pub wait: Duration,
    /// Why, for the log: which quota, how much of it is used.
    pub why: String,
}

/// What is wrong with a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which kind.
    pub kind: FaultKind,
    /// The platform's own code.
    pub reason: String,
    /// Its words.
    pub message: String,
}

/// The two ways in which a destination is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The credentials are refused.
    Unauthorized,
    /// An id or a setting at the platform is wrong.
    Misconfigured,
}

/// A question to ask later about a call: durable, counted, never changing a settlement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowUp {
    /// What the platform knows the call by.
    pub id: String,
    /// How many events it held.
    pub events: u32,
    /// How often it was asked.
    pub attempt: u32,
    /// When to ask (next).
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub due: Timestamp,
}

/// Something that an answer told: counted in metrics and logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The platform's own code.
    pub code: String,
    /// How many events.
    pub count: u64,
    /// Its words.
    pub message: String,
    /// An operator should know.
    pub alert: bool,
}
