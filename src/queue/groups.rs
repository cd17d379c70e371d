//! Dead letters by cause: one walk over all of them, a bounded number of groups in memory.
//!
//! The same cause is the same destination, closed code, platform's code, and words but for what
//! differs from event to event in them: numbers, ids, quoted values. No hint is known here.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
};

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{
    DeadFilter, DeadGroup, DeadGroups, Queue, Refused, blocking,
    chunk::DestinationNo,
    dead::{self, DeadHead, Filter},
    record::{self, space},
    seal::Seal,
    store::{Direction, Store, StoreError},
};

/// Groups that are told apart; a platform whose words never repeat would fill memory.
const MOST_GROUPS: usize = 1_000;
/// Plan events named of one group.
const MOST_EVENTS: usize = 20;
/// Of the words so many characters tell causes apart.
const WORDS: usize = 160;

/// The id of the group that a letter belongs to: the same in every process.
pub(super) fn id(head: &DeadHead, message: &str) -> String {
    let (code, words) = parts(message);
    let mut hash = Sha256::new();
    for part in [&head.destination.to_be_bytes()[..], head.reason.as_bytes(), code.as_bytes()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(common(words).as_bytes());
    HEXLOWER.encode(hash.finalize().split_at(6).0)
}

/// The platform's code and its words, of a letter's message (`code: words`).
fn parts(message: &str) -> (&str, &str) {
    match message.split_once(": ") {
        Some((code, words)) if !code.contains(char::is_whitespace) => (code, words),
        _ => ("", message),
    }
}

/// What words have in common with those about other events.
fn common(words: &str) -> String {
    let mut common = String::new();
    let mut quote = None;
    for word in words.split_inclusive(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '(')) {
        let opens = word.starts_with(['"', '\'', '`', '\u{201c}']);
        if quote.is_none() && opens {
            quote = word.chars().next();
        }
        let is_quoted = quote.is_some();
        if let Some(mark) = quote {
            let end = if mark == '\u{201c}' { '\u{201d}' } else { mark };
            let rest = word.strip_prefix(mark).unwrap_or(word);
            if rest.trim_end().trim_end_matches(['.', ',', ':', ';', ')']).ends_with(end) {
                quote = None;
            }
        }
        let differs = is_quoted || word.contains(|c: char| c.is_ascii_digit());
        match (differs, common.ends_with('#')) {
            (true, true) => {}
            (true, false) => common.push('#'),
            (false, _) => common.push_str(word),
        }
        if common.len() > WORDS {
            break;
        }
    }
    common.chars().take(WORDS).collect()
}

/// What is gathered of a group.
struct Gathered {
    destination: DestinationNo,
    reason: String,
    message: String,
    count: u64,
    events: BTreeMap<String, u64>,
    first_ms: i64,
    last_ms: i64,
}

fn gather(
    store: &dyn Store,
    seal: &Seal,
    filter: &Filter,
    name: impl Fn(DestinationNo) -> String,
) -> Result<DeadGroups, StoreError> {
    let (from, to) = record::whole(space::DEAD);
    let mut gathered: HashMap<String, Gathered> = HashMap::new();
    let mut others = 0;
    record::scan(store, &from, &to, Direction::Forward, &mut |found| {
        let head = dead::head_of(found.record).map(|(head, _)| head);
        let Some(head) = head.filter(|head| filter.takes(found.key, head)) else {
            return Ok(ControlFlow::Continue(()));
        };
        let Ok(dead) = dead::open(seal, &found) else { return Ok(ControlFlow::Continue(())) };
        let (id, at_ms) = (id(&head, &dead.message), record::time_of(found.key));
        if gathered.len() >= MOST_GROUPS && !gathered.contains_key(&id) {
            others += 1;
            return Ok(ControlFlow::Continue(()));
        }
        let group = gathered.entry(id).or_insert_with(|| Gathered {
            destination: head.destination,
            reason: head.reason.clone(),
            message: String::new(),
            count: 0,
            events: BTreeMap::new(),
            first_ms: at_ms,
            last_ms: at_ms,
        });
        group.count += 1;
        group.last_ms = at_ms;
        group.message = dead.message;
        let event = dead.job.label.event;
        if group.events.len() < MOST_EVENTS || group.events.contains_key(&event) {
            *group.events.entry(event).or_default() += 1;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let time = |ms| Timestamp::from_millisecond(ms).unwrap_or_default().to_string();
    let mut groups: Vec<DeadGroup> = gathered
        .into_iter()
        .map(|(id, group)| {
            let (code, words) = parts(&group.message);
            let mut events: Vec<(String, u64)> = group.events.into_iter().collect();
            events.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            DeadGroup {
                id,
                destination: name(group.destination),
                reason: group.reason,
                code: code.to_owned(),
                message: words.to_owned(),
                count: group.count,
                events,
                first: time(group.first_ms),
                last: time(group.last_ms),
            }
        })
        .collect();
    groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.id.cmp(&b.id)));
    Ok(DeadGroups { groups, others })
}

impl Queue {
    /// Dead letters by cause, the largest groups first.
    pub async fn dead_groups(&self, filter: DeadFilter) -> Result<DeadGroups, Refused> {
        let shared = std::sync::Arc::clone(&self.inner.shared);
        blocking(move || {
            let names = shared.names();
            let wanted = Filter::of(&filter, |name| shared.number(name));
            let name = |number| names.get(usize::from(number)).cloned().unwrap_or_default();
            Ok(gather(&*shared.store()?, &shared.seal, &wanted, name)?)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_differ_by_event_are_one_cause() {
        let head = |reason: &str| DeadHead { destination: 1, reason: reason.to_owned() };
        let group = |message: &str| id(&head("rejected"), message);
        let same = [
            "100/28: Invalid parameter data[3] in \"order 1001\" for user_data",
            "100/28: Invalid parameter data[14] in \"order 1002 b\" for user_data",
        ];
        assert_eq!(group(same[0]), group(same[1]));
        assert_ne!(group(same[0]), group("100/29: Invalid parameter data[3] for user_data"));
        assert_ne!(group("100/28: currency is missing"), group("100/28: value is missing"));
        assert_ne!(group("a: b"), id(&head("attempts_exhausted"), "a: b"));
        assert_eq!(group("a: b").len(), 12);
        for odd in ["", ":", ": ", "\"never closed", "\u{201c}x\u{201d}", "####", "1 2 3"] {
            assert_eq!(group(odd), group(odd));
        }
        assert_eq!(parts("no code here: but words"), ("", "no code here: but words"));
    }
}
