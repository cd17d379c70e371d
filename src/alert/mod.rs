//! Alerts: what an operator must know of before a customer tells them. [`Watch`] judges what was
//! seen, fires each alert once and says when it is over; [`Board`] shows what is wrong now.
//!
//! Pure: time and what is seen are arguments. It refuses to send anything, to touch an event, and to
//! name a person: what an alert says is names of the configuration and a platform's own words.

mod arrivals;
mod window;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::arrivals::Arrivals;
use self::{arrivals::Histories, window::Window};
use crate::config::AlertSettings;

/// What is no more seen for so long is over: an alert does not flap.
const CALM: SignedDuration = SignedDuration::from_secs(10);

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A destination's credentials are refused.
    AuthorizationFailing,
    /// A destination refuses everything, or a setting of it is wrong.
    DestinationFailing,
    /// The oldest waiting event of a destination is old.
    OldestAge,
    /// Events will soon be too old for their platform.
    ExpiringSoon,
    /// The backlog of a destination, or of all, is full: new events are not kept.
    BacklogFull,
    /// Too many of a destination's events die.
    DeadLetterRate,
    /// Many more events than usual are held.
    HeldJump,
    /// An event type that used to come does not.
    EventStopped,
    /// The disk, or what the queue may take of it, is nearly used up; or nothing can be kept.
    DiskReserve,
    /// The version of a platform's API ends.
    ApiVersionEnding,
}

impl Kind {
    /// Every kind, in the order in which they are shown.
    pub const ALL: [Kind; 10] = [
        Kind::AuthorizationFailing,
        Kind::DestinationFailing,
        Kind::OldestAge,
        Kind::ExpiringSoon,
        Kind::BacklogFull,
        Kind::DeadLetterRate,
        Kind::HeldJump,
        Kind::EventStopped,
        Kind::DiskReserve,
        Kind::ApiVersionEnding,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Kind::AuthorizationFailing => "authorization_failing",
            Kind::DestinationFailing => "destination_failing",
            Kind::OldestAge => "oldest_age",
            Kind::ExpiringSoon => "expiring_soon",
            Kind::BacklogFull => "backlog_full",
            Kind::DeadLetterRate => "dead_letter_rate",
            Kind::HeldJump => "held_jump",
            Kind::EventStopped => "event_stopped",
            Kind::DiskReserve => "disk_reserve",
            Kind::ApiVersionEnding => "api_version_ending",
        }
    }

    /// What to do about it.
    fn hint(self) -> &'static str {
        match self {
            Kind::AuthorizationFailing => {
                "renew the token or the rights in the platform's account, put it where \
                 destinations.toml refers to, and reload; its events are kept meanwhile"
            }
            Kind::DestinationFailing => {
                "read the platform's words, correct the id or setting in destinations.toml or at \
                 the platform, and reload; its events are kept meanwhile"
            }
            Kind::OldestAge => {
                "see whether the destination is failing, paused, throttled or limited too far \
                 (rate_limit), and whether its platform is out of order"
            }
            Kind::ExpiringSoon => {
                "mend the destination or raise its rate_limit before the platform's window closes: \
                 what expires is not sent"
            }
            Kind::BacklogFull => {
                "mend the destination, or raise queue.max_pending_per_destination, or where all are \
                 full queue.max_pending; with when_full = \"refuse\" its senders get 503 and keep \
                 their events"
            }
            Kind::DeadLetterRate => {
                "`conversion-relay dead groups` names the causes, and the command that replays \
                 each after its fix"
            }
            Kind::HeldJump => {
                "see whether the consent banner, the tag or consent.toml changed: `explain` shows \
                 for one event which rule holds it"
            }
            Kind::EventStopped => {
                "see whether the shop, the tag or the backend that sends it was changed; /metrics \
                 shows what is rejected (relay_rejections_total)"
            }
            Kind::DiskReserve => {
                "free disk space or raise queue.max_disk, and see which destination has a backlog; \
                 when nothing is left new events are answered with 503"
            }
            Kind::ApiVersionEnding => "install a newer relay, or set api_version",
        }
    }

    /// How its subject is called on the wire.
    fn subject(self) -> &'static str {
        match self {
            Kind::EventStopped => "event",
            Kind::DiskReserve => "queue",
            Kind::AuthorizationFailing
            | Kind::DestinationFailing
            | Kind::OldestAge
            | Kind::ExpiringSoon
            | Kind::BacklogFull
            | Kind::DeadLetterRate
            | Kind::HeldJump
            | Kind::ApiVersionEnding => "destination",
        }
    }
}

/// What was seen of one destination.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Look {
    /// Decisions.
    pub decided: u64,
    /// Of them held by consent.
    pub held: u64,
    /// Taken by the platform.
    pub delivered: u64,
    /// Dead letters, thrown away ones included.
    pub dead: u64,
    /// How long the oldest waiting event has waited.
    pub oldest: Option<Duration>,
    /// Events that will soon be too old.
    pub expiring: u64,
    /// Events that it shed since the start, where it did so within the last minute; else 0.
    pub shed: u64,
    /// What is wrong with it.
    pub fault: Option<Fault>,
    /// The version of its API, and whole days until it ends.
    pub version: Option<(String, i64)>,
}

/// What is wrong with a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its credentials are refused.
    pub is_authorization: bool,
    /// The platform's own code.
    pub reason: String,
    /// Its words.
    pub message: String,
}

/// What was seen of everything at one moment.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    /// Destinations of the configuration.
    pub destinations: BTreeMap<String, Look>,
    /// How often each planned event has come since the start.
    pub events: BTreeMap<String, u64>,
    /// Bytes that the store may still take, and how many it may take in all.
    pub disk: (u64, u64),
    /// Bytes that the disk has left beyond what is never touched.
    pub disk_free: u64,
    /// The store takes events.
    pub is_open: bool,
    /// Why the queue as a whole has no room, where it has none.
    pub full: Option<String>,
}

/// An alert that fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// What it is about.
    pub alert: Kind,
    /// Which destination or event; empty for the queue.
    pub subject: String,
    /// Since when.
    pub since: Timestamp,
    /// What is wrong, as it was seen last.
    pub message: String,
    /// When it was seen last.
    pub seen: Timestamp,
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The alert.
    pub active: Active,
    /// It is over.
    pub is_over: bool,
    /// When.
    pub at: Timestamp,
}

impl Active {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        self.alert.hint()
    }

    /// How its subject is called on the wire: a backlog that is nobody's is the queue's.
    fn about(&self) -> &'static str {
        if self.subject.is_empty() { "queue" } else { self.alert.subject() }
    }

    /// As it is listed.
    pub fn to_json(&self) -> Value {
        json!({
            "alert": self.alert.name(),
            self.about(): self.subject,
            "since": self.since.to_string(),
            "message": self.message,
            "hint": self.hint(),
        })
    }
}

impl Notice {
    /// One sentence that a person can act on.
    pub fn text(&self) -> String {
        let Active { alert, subject, message, since, .. } = &self.active;
        let name = alert.name();
        let about = if subject.is_empty() { String::new() } else { format!(" {subject}") };
        if self.is_over {
            let lasted = SignedDuration::from_secs(self.at.duration_since(*since).as_secs().max(0));
            return format!("OVER {name}{about}: it is over after {lasted:#}");
        }
        format!("ALERT {name}{about}: {message}. To do: {}", self.active.hint())
    }

    /// What a webhook gets. `text` is what chat programs show.
    pub fn to_json(&self) -> Value {
        let mut told = self.active.to_json();
        if let Some(told) = told.as_object_mut() {
            told.insert("type".to_owned(), json!("alert"));
            told.insert("state".to_owned(), json!(if self.is_over { "over" } else { "firing" }));
            told.insert("at".to_owned(), json!(self.at.to_string()));
            told.insert("text".to_owned(), json!(self.text()));
        }
        told
    }
}

// === judging ===

/// Judges what is seen, and remembers what fires.
#[derive(Debug, Default)]
pub struct Watch {
    active: BTreeMap<(Kind, String), Active>,
    windows: BTreeMap<String, Window>,
    histories: Histories,
}

/// What of a watch outlasts a restart.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Kept {
    active: Vec<Active>,
    histories: Histories,
}

type Found = BTreeMap<(Kind, String), String>;

impl Watch {
    /// A watch that goes on where an earlier one of the same data folder was: what fires already is
    /// not told again, and what could not come while the relay was down has not stopped coming.
    pub fn resume(kept: Option<&[u8]>, now: Timestamp) -> Self {
        let Kept { active, mut histories } =
            kept.and_then(|kept| serde_json::from_slice(kept).ok()).unwrap_or_default();
        histories.resume(now);
        let active = active
            .into_iter()
            // It is over only when it is not seen for a while from now on.
            .map(|one| ((one.alert, one.subject.clone()), Active { seen: now, ..one }))
            .collect();
        Self { active, windows: BTreeMap::new(), histories }
    }

    /// To be kept for [`Watch::resume`].
    pub fn keep(&self) -> Vec<u8> {
        let active = self.active.values().cloned().collect();
        let kept = Kept { active, histories: self.histories.clone() };
        serde_json::to_vec(&kept).unwrap_or_default()
    }

    /// What fires now.
    pub fn active(&self) -> Vec<Active> {
        self.active.values().cloned().collect()
    }

    /// Looks at everything; what there is to tell.
    pub fn look(&mut self, sight: &Sight, settings: &AlertSettings, now: Timestamp) -> Vec<Notice> {
        let mut found = Found::new();
        self.windows.retain(|name, _| sight.destinations.contains_key(name));
        for (name, look) in &sight.destinations {
            let window = self.windows.entry(name.clone()).or_default();
            window.note(look, settings.window, now);
            of_destination(name, look, window, settings, &mut found);
        }
        for (event, message) in self.histories.look(&sight.events, settings.silent_after, now) {
            found.insert((Kind::EventStopped, event), message);
        }
        if let Some(told) = of_disk(sight, settings) {
            found.insert((Kind::DiskReserve, String::new()), told);
        } else if let Some(full) = &sight.full {
            let told = format!("{full} (queue.max_pending): new events are answered with 503");
            found.insert((Kind::BacklogFull, String::new()), told);
        }
        self.tell(found, now)
    }

    fn tell(&mut self, found: Found, now: Timestamp) -> Vec<Notice> {
        let mut notices = Vec::new();
        for (key, message) in found {
            if let Some(active) = self.active.get_mut(&key) {
                (active.message, active.seen) = (message, now);
                continue;
            }
            let (alert, subject) = key.clone();
            let active = Active { alert, subject, since: now, message, seen: now };
            notices.push(Notice { active: active.clone(), is_over: false, at: now });
            self.active.insert(key, active);
        }
        self.active.retain(|_, active| {
            // A clock that was put back must not keep an alert for ever.
            let calm = now.duration_since(active.seen);
            let is_over = calm >= CALM || calm < SignedDuration::ZERO;
            if is_over {
                notices.push(Notice { active: active.clone(), is_over: true, at: now });
            }
            !is_over
        });
        notices
    }
}

fn of_destination(
    name: &str,
    look: &Look,
    window: &Window,
    settings: &AlertSettings,
    found: &mut Found,
) {
    let mut tell = |kind: Kind, message: String| {
        found.insert((kind, name.to_owned()), message);
    };
    if let Some(Fault { is_authorization, reason, message }) = &look.fault {
        let kind =
            if *is_authorization { Kind::AuthorizationFailing } else { Kind::DestinationFailing };
        let words = if message.is_empty() { String::new() } else { format!(", {message:?}") };
        tell(kind, format!("the platform says {reason}{words}"));
    }
    if let Some(oldest) = look.oldest.filter(|oldest| *oldest >= settings.oldest_age) {
        let (oldest, limit) = (show(oldest), show(settings.oldest_age));
        tell(Kind::OldestAge, format!("the oldest event has waited {oldest} (limit {limit})"));
    }
    if look.expiring > 0 {
        let events = look.expiring;
        tell(
            Kind::ExpiringSoon,
            format!("{events} waiting events are too old to be sent within 6 hours"),
        );
    }
    if look.shed > 0 {
        let events = look.shed;
        tell(
            Kind::BacklogFull,
            format!(
                "as many events wait as may (queue.max_pending_per_destination): {events} new ones \
                 have expired at once"
            ),
        );
    }
    if let Some((dead, ended)) = window.dead(settings) {
        let window = show(settings.window);
        tell(Kind::DeadLetterRate, format!("{dead} of {ended} events died within {window}"));
    }
    if let Some((now, usual)) = window.held(settings) {
        let window = show(settings.window);
        tell(
            Kind::HeldJump,
            format!(
                "{now}% of the events of {window} are held for want of consent, usually {usual}%"
            ),
        );
    }
    let ends_in = settings.version_ends_in.as_secs() / 86_400;
    if let Some((version, left)) = look
        .version
        .as_ref()
        .filter(|(_, left)| u64::try_from(*left).map_or(true, |left| left <= ends_in))
    {
        let told = match left {
            left if *left < 0 => format!("version {version} of its API has ended"),
            left => format!("version {version} of its API ends in {left} days"),
        };
        tell(Kind::ApiVersionEnding, told);
    }
}

fn of_disk(sight: &Sight, settings: &AlertSettings) -> Option<String> {
    if !sight.is_open {
        return Some("the store takes no events; the log says why".to_owned());
    }
    let (left, most) = sight.disk;
    let least = most / 10_000 * u64::from(settings.disk_left);
    let mebibytes = |bytes: u64| bytes / (1 << 20);
    if left < least {
        let (left, most) = (mebibytes(left), mebibytes(most));
        return Some(format!("the queue has {left} MiB left of queue.max_disk ({most} MiB)"));
    }
    let free = mebibytes(sight.disk_free);
    (sight.disk_free < least.min(1 << 30)).then(|| {
        format!("the disk has {free} MiB left above the reserve, below which nothing is admitted")
    })
}

/// A duration for people, to the second.
fn show(duration: Duration) -> String {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    format!("{:#}", SignedDuration::from_secs(seconds))
}

/// What is wrong now, for whoever asks.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    active: Vec<Active>,
    expiring: BTreeMap<String, u64>,
}

impl Board {
    /// Shows what fires, and how many events of each destination will soon be too old.
    pub fn show(&self, active: Vec<Active>, expiring: BTreeMap<String, u64>) {
        *self.lock() = Shown { active, expiring };
    }

    /// What fires.
    pub fn active(&self) -> Vec<Active> {
        self.lock().active.clone()
    }

    /// How many waiting events of a destination will be too old within six hours, as of about the
    /// last minute.
    pub fn expiring(&self, destination: &str) -> u64 {
        self.lock().expiring.get(destination).copied().unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
