//! The id of an event: the sender's, or one derived from the content.

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{Door, json::Node};
use crate::event::EventId;

/// The sender's id, else one derived from everything the event says but `sent_at`, which differs
/// in a resend. A derived id without the event's own timestamp is mixed with the time of receipt
/// for the platforms, so that the same thing done again an hour later is another event there.
pub(super) fn settle(
    sender_id: Option<&str>,
    node: &Node<'_>,
    door: &Door<'_>,
    has_timestamp: bool,
    now: Timestamp,
) -> EventId {
    if let Some(id) = sender_id {
        return EventId {
            id: id.to_owned(),
            key: id.to_owned(),
            derived: false,
            short_lived: false,
        };
    }
    let mut content = Sha256::new();
    if let Node::Object(members) = node {
        add_members(&mut content, members.iter().filter(|(key, _)| key != "sent_at"));
    }
    if door.is_browser() {
        // Two visitors may do the very same thing; what tells them apart is the connection.
        let address = door.address.map(|address| address.to_string()).unwrap_or_default();
        add_text(&mut content, b'a', &address);
        add_text(&mut content, b'u', door.user_agent.unwrap_or_default());
    }
    let key = content.clone().finalize();
    if !has_timestamp {
        content.update(now.as_microsecond().to_be_bytes());
    }
    EventId {
        id: hex(&content.finalize()),
        key: hex(&key),
        derived: true,
        short_lived: !has_timestamp,
    }
}

/// Half of a SHA-256 is enough to tell events apart, and short enough for every platform.
fn hex(hash: &[u8]) -> String {
    HEXLOWER.encode(hash.get(..16).unwrap_or(hash))
}

/// Every kind of value has its own tag and every text its length, so that no two contents agree.
fn add(hash: &mut Sha256, node: &Node<'_>) {
    match node {
        Node::Null | Node::Flawed(_) => hash.update(b"n"),
        Node::Bool(value) => hash.update(if *value { b"t" } else { b"f" }),
        Node::Number(number) => add_text(hash, b'd', number),
        Node::Text(text) => add_text(hash, b's', text),
        Node::List(members) => {
            hash.update(b"[");
            members.iter().for_each(|member| add(hash, member));
            hash.update(b"]");
        }
        Node::Object(members) => add_members(hash, members.iter()),
    }
}

fn add_members<'n, 'a: 'n>(
    hash: &mut Sha256,
    members: impl Iterator<Item = &'n (std::borrow::Cow<'a, str>, Node<'a>)>,
) {
    let mut members: Vec<_> = members.collect();
    members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    hash.update(b"{");
    for (key, node) in members {
        add_text(hash, b'k', key);
        add(hash, node);
    }
    hash.update(b"}");
}

fn add_text(hash: &mut Sha256, tag: u8, text: &str) {
    hash.update([tag]);
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(json: &str, has_timestamp: bool, second: i64) -> EventId {
        let node = crate::sources::json::parse(json, 32).unwrap();
        let now = Timestamp::from_second(second).unwrap();
        settle(None, &node, &Door::default(), has_timestamp, now)
    }

    #[test]
    fn the_content_makes_the_id() {
        let first = derived(r#"{"event": "a", "user": {"x": "1", "y": 2}, "sent_at": 1}"#, true, 1);
        let resent =
            derived(r#"{"user": {"y": 2, "x": "1"}, "sent_at": 2, "event": "a"}"#, true, 9);
        assert_eq!(first, resent, "order of keys and sent_at do not matter");
        assert!(first.derived && !first.short_lived);
        assert_eq!(first.id.len(), 32);
        for other in [
            r#"{"event": "a", "user": {"x": "1", "y": "2"}}"#,
            r#"{"event": "a", "user": {"x": "12", "y": 2}}"#,
            r#"{"event": "a", "user": {"x": ["1"], "y": 2}}"#,
            r#"{"event": "a", "x": "1", "y": 2, "user": {}}"#,
        ] {
            assert_ne!(derived(other, true, 1).key, first.key, "{other}");
        }
    }

    #[test]
    fn without_a_timestamp_the_receipt_tells_platforms_apart() {
        let first = derived(r#"{"event": "a"}"#, false, 1);
        let again = derived(r#"{"event": "a"}"#, false, 700);
        assert_eq!(first.key, again.key, "a resend is recognised by the content");
        assert_ne!(first.id, again.id, "and another one has another id");
        assert!(first.short_lived);
    }
}
