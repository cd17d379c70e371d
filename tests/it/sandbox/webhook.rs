//! The webhook receiver's contract.

use serde_json::json;

use super::{assert_taken, hash, post, with};

#[test]
fn a_webhook_takes_one_event_or_a_list_and_no_clear_identity() {
    let event = json!({"event": "purchase", "event_id": "e1", "timestamp": "2026-11-22T04:00:00Z",
        "site": "shop", "value": "12.50", "user": {"external_id": "u", "email": hash("a@example.com")}});
    let one = post("webhook", "https://crm.example/hooks/orders", &event);
    assert_taken(&one);
    assert_eq!(one.accepted, [Some("e1".to_owned())]);
    assert_eq!(post("webhook", "/webhook/crm", &event).destination.as_deref(), Some("crm"));
    assert_eq!(post("webhook", "/x", &json!([event, event])).accepted.len(), 2);
    assert_eq!(post("webhook", "/x", &json!({"events": [event, event]})).accepted.len(), 2);
    let traps = [
        ("/user/email", json!("a@example.com")),
        ("/user/phone", json!("+14155550133")),
        ("/user/email", json!(hash("Jane.Doe@example.com"))),
        ("/note", json!("write to a@example.com")),
        ("/timestamp", json!("yesterday")),
    ];
    for (pointer, value) in traps {
        let verdict = post("webhook", "/x", &with(&event, pointer, value));
        assert_eq!(verdict.reply.status, 422, "{pointer}");
    }
}
