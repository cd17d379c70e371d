//! What Google's advertising APIs share in their settings: accounts, credentials, conversion
//! actions, and what their errors say of quotas.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{Timestamp, civil, tz::TimeZone};
use secrecy::SecretString;
use serde_json::Value;

use super::{
    Auth, Entry, Key, KeyKind, Pace, Problem, Refusal, Response, Settings, Take,
    answer::json,
    oauth::{self, UserGrant},
    prepare::unsupported,
};
use crate::identity::{Rule, scrub_emails};

/// Refuses an order id that is or holds an e-mail address: the upload refuses it
/// (ORDER_ID_CONTAINS_PII, googleapis `google/ads/googleads/v25` errors; checked 2026-11-22), and the
/// terms of all of Google's products forbid it.
pub(super) fn check_order(transaction_id: &str) -> Result<(), Refusal> {
    match scrub_emails(transaction_id).removed {
        0 => Ok(()),
        _ => Err(unsupported("the order id holds an e-mail address, which Google takes nowhere")),
    }
}

/// Ten digits; dashes are how people write them (googleapis, `google/ads/datamanager/v1`,
/// destination; checked 2026-11-22).
pub(super) fn account(key: &str, id: &str, problems: &mut Vec<Problem>) -> String {
    let digits: String = id.chars().filter(|c| *c != '-').collect();
    if !id.is_empty() && (digits.len() != 10 || !digits.bytes().all(|b| b.is_ascii_digit())) {
        problems.push(Problem::new(key, "must be the account's ten digits, such as 123-456-7890"));
    }
    digits
}

/// A user's grant, or a service account.
#[derive(Debug)]
pub(super) enum Credentials {
    Refresh { token_url: String, grant: UserGrant },
    ServiceAccount { token_url: String, key: SecretString },
}

impl Credentials {
    /// Reads them, or adds a problem for what is missing or one too many.
    pub(super) fn read(settings: &Settings, problems: &mut Vec<Problem>) -> Self {
        let base = settings.token_endpoint.trim_end_matches('/');
        let token_url = format!("{base}/token");
        let Some(key) = settings.secret("service_account") else {
            return Credentials::Refresh { token_url, grant: UserGrant::read(settings, problems) };
        };
        for other in [oauth::CLIENT_ID.name, oauth::REFRESH_TOKEN.name] {
            if settings.text(other).is_some() || settings.secret(other).is_some() {
                let message = "is not used beside service_account; write one of the two";
                problems.push(Problem::new(other, message));
            }
        }
        Credentials::ServiceAccount { token_url, key }
    }

    /// What proves who we are to the API of a scope.
    pub(super) fn auth(&self, scope: &'static str) -> Auth {
        match self {
            Credentials::Refresh { token_url, grant } => grant.auth(token_url.clone()),
            Credentials::ServiceAccount { token_url, key } => {
                Auth::ServiceAccount { token_url: token_url.clone(), key: key.clone(), scope }
            }
        }
    }
}

/// Numbers of conversion actions, by plan event and entry.
#[derive(Debug, Default)]
pub(super) struct Actions(BTreeMap<String, Vec<String>>);

impl Actions {
    /// Reads `conversion_action` of every entry, or adds a problem.
    pub(super) fn read(settings: &Settings, problems: &mut Vec<Problem>) -> Self {
        let mut actions = BTreeMap::new();
        for (event, entries) in &settings.entries {
            let mut list = Vec::with_capacity(entries.len());
            for entry in entries {
                let id = match entry {
                    Entry::Table(table) => match table.get("conversion_action") {
                        Some(toml::Value::String(id)) => id.clone(),
                        Some(toml::Value::Integer(id)) => id.to_string(),
                        _ => String::new(),
                    },
                    Entry::Standard | Entry::Name(_) => String::new(),
                };
                if id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()) {
                    let message = "must name a conversion action by its number: \
                                   { conversion_action = \"1122334455\" }";
                    problems.push(Problem::new(format!("events.{event}"), message));
                }
                list.push(id);
            }
            actions.insert(event.clone(), list);
        }
        Self(actions)
    }

    /// Today's number for a plan event's entry.
    pub(super) fn get(&self, event: &str, entry: u16) -> Option<&str> {
        self.0.get(event)?.get(usize::from(entry)).map(String::as_str)
    }

    /// Each of them once, of the entries that are asked for, for probes.
    pub(super) fn distinct(&self, is_wanted: impl Fn(&str, u16) -> bool) -> BTreeSet<&str> {
        let mut distinct = BTreeSet::new();
        for (event, ids) in &self.0 {
            let wanted = (0..).zip(ids).filter(|(entry, _)| is_wanted(event, *entry));
            distinct.extend(wanted.map(|(_, id)| id.as_str()));
        }
        distinct
    }
}

/// Google's formatter takes all white space out of a name before it is hashed, its page does not say
/// so (sheet, A3: uncertain for names of several words).
pub(super) const KEEP_NAME_SPACES: Key = Key::new(
    "keep_name_spaces",
    KeyKind::Bool,
    "hash \"mary ann\" with its space, which Google's own formatter takes out; default false",
);

/// Reads it, or names the problem.
pub(super) fn keeps_name_spaces(settings: &Settings, problems: &mut Vec<Problem>) -> bool {
    let value = settings.table.get(KEEP_NAME_SPACES.name);
    if value.is_some_and(|value| !value.is_bool()) {
        problems.push(Problem::new(KEEP_NAME_SPACES.name, "must be true or false"));
    }
    settings.flag(KEEP_NAME_SPACES.name, false)
}

/// Lower case and trimmed alone.
pub(super) fn keep_name_spaces(takes: &mut [Take]) {
    for take in takes.iter_mut().filter(|take| take.rule == Rule::NameGoogle) {
        take.rule = Rule::Lower;
    }
}

/// A quota that is used up, as an error's details tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UsedUp {
    /// Which one.
    pub(super) limit: String,
    /// It is a day's, not a minute's.
    pub(super) is_daily: bool,
    /// How long to stay away.
    pub(super) wait: Duration,
}

/// Where a minute's quota names no delay.
const A_MINUTE: Duration = Duration::from_secs(60);

/// Where a day's quota of the Google Ads API names none: it comes back by the hour.
const AN_HOUR: Duration = Duration::from_secs(60 * 60);

/// Reads the quota from an error (`{"code", "status", "details": [...]}`): ErrorInfo's
/// `quota_limit`, QuotaFailure's violations, RetryInfo's delay (google.rpc, error_details), and
/// `quotaErrorDetails` of the Google Ads API (sheet, sections A8 and B9). A minute is not a day.
pub(super) fn used_up(error: &Value, now: Timestamp) -> Option<UsedUp> {
    let text = |value: &Value, path: &str| {
        value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let details = error.get("details").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let list = |value: &Value, key: &str| {
        value.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let is_quota = text(error, "/status") == "RESOURCE_EXHAUSTED"
        || error.get("code").and_then(Value::as_u64) == Some(429);
    if !is_quota {
        return None;
    }
    let (mut names, mut delays, mut by_the_hour) = (Vec::new(), Vec::new(), false);
    for detail in details {
        names.push(text(detail, "/metadata/quota_limit"));
        delays.push(text(detail, "/retryDelay"));
        for violation in list(detail, "violations") {
            names.push(text(&violation, "/quotaId"));
            names.push(text(&violation, "/subject"));
            names.push(text(&violation, "/description"));
        }
        for error in list(detail, "errors") {
            by_the_hour |= text(&error, "/errorCode/quotaError") == "RESOURCE_EXHAUSTED";
            names.push(text(&error, "/details/quotaErrorDetails/rateName"));
            delays.push(text(&error, "/details/quotaErrorDetails/retryDelay"));
        }
    }
    let daily = |name: &&String| {
        let name = name.to_ascii_lowercase();
        name.contains("perday") || name.contains("per day") || name.contains("daily")
    };
    let is_daily = by_the_hour || names.iter().any(|name| daily(&name));
    let limit = names.iter().find(|name| is_daily == daily(name) && !name.is_empty());
    let asked = delays.iter().filter_map(|delay| seconds(delay)).max();
    let wait = match (asked, is_daily, by_the_hour) {
        (Some(asked), _, true) => asked,
        (None, _, true) => AN_HOUR,
        // A day's quota that names a short delay is a day's quota.
        (asked, true, false) => asked.unwrap_or_default().max(until_reset(now)),
        (asked, false, false) => asked.unwrap_or(A_MINUTE),
    };
    Some(UsedUp { limit: limit.cloned().unwrap_or_default(), is_daily, wait })
}

/// The same of an answer, for whoever keeps the pace.
pub(super) fn pace(response: &Response, now: Timestamp) -> Option<Pace> {
    if (200..300).contains(&response.status) {
        return None;
    }
    let body = json(response)?;
    let UsedUp { limit, is_daily, wait } = used_up(body.get("error")?, now)?;
    let which = if is_daily { "a day's" } else { "a minute's" };
    Some(Pace { wait, why: format!("{which} quota is used up {limit}").trim_end().to_owned() })
}

/// A duration as JSON writes it: `30s`, `1.5s`.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Midnight in California, taken as 08:00 UTC: in summer an hour late, never early.
fn until_reset(now: Timestamp) -> Duration {
    let zoned = now.to_zoned(TimeZone::UTC);
    let reset = civil::time(8, 0, 0, 0);
    let day = if zoned.time() < reset { Some(zoned.date()) } else { zoned.date().tomorrow().ok() };
    day.and_then(|day| day.to_datetime(reset).to_zoned(TimeZone::UTC).ok())
        .and_then(|reset| Duration::try_from(reset.timestamp().duration_since(now)).ok())
        .unwrap_or(AN_HOUR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_not_a_day() {
        let now: Timestamp = "2026-11-22T04:00:00Z".parse().unwrap();
        let of = |details: &str| {
            let text = format!(
                "{{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\",\"details\":[{details}]}}"
            );
            let used = used_up(&serde_json::from_str(&text).unwrap(), now).unwrap();
            (used.is_daily, used.wait.as_secs())
        };
        let limit = |name: &str| format!("{{\"metadata\":{{\"quota_limit\":\"{name}\"}}}}");
        assert_eq!(of(&limit("IngestionMutateRequestsPerMinutePerProject")), (false, 60));
        assert_eq!(of(&limit("IngestionMutateRequestsPerDayPerProject")), (true, 4 * 3_600));
        let retry =
            "{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"7.5s\"}";
        assert_eq!(of(retry), (false, 7));
        let daily = limit("IngestionMutateRequestsPerDayPerProject");
        assert_eq!(of(&format!("{daily},{retry}")), (true, 4 * 3_600));
        let failure = "{\"violations\":[{\"quotaId\":\"RequestsPerDayPerProject\"}]}";
        assert_eq!(of(failure), (true, 4 * 3_600));
        let ads = |code: &str, delay: &str| {
            format!(
                "{{\"errors\":[{{\"errorCode\":{{\"quotaError\":\"{code}\"}},\"details\":\
                     {{\"quotaErrorDetails\":{{\"rateScope\":\"DEVELOPER\",\"retryDelay\":\"{delay}\"}}}}}}]}}"
            )
        };
        assert_eq!(of(&ads("RESOURCE_TEMPORARILY_EXHAUSTED", "30s")), (false, 30));
        assert_eq!(of(&ads("RESOURCE_EXHAUSTED", "")), (true, 3_600));
        assert_eq!(of(&ads("RESOURCE_EXHAUSTED", "900s")), (true, 900));
        assert_eq!(of(""), (false, 60));
        let other: Value = serde_json::from_str("{\"code\":400,\"details\":7}").unwrap();
        assert_eq!(used_up(&other, now), None);
    }

    #[test]
    fn the_day_ends_at_midnight_in_california() {
        let until = |now: &str| until_reset(now.parse().unwrap()).as_secs() / 3600;
        assert_eq!(until("2026-11-22T04:00:00Z"), 4);
        assert_eq!(until("2026-11-22T09:00:00Z"), 23);
    }
}
