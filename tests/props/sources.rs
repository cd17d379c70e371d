//! Reading is total: whatever the bytes, there is an event or a rejection that names a field, and
//! no identity is left where it does not belong.

use std::{path::Path, sync::LazyLock};

use conversion_relay::{
    config::{Config, LoadOptions, Secrets, load},
    destinations::REGISTRY,
    identity::{scrub_text, scrub_url},
    sources::{
        Door, Form,
        json::{Node, parse},
        native, split,
    },
};
use proptest::{collection::vec, prelude::*};
use serde_json::{Map, Value, json};

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let options = LoadOptions {
        secrets: Secrets::Placeholder,
        sandbox_base: None,
        env: &|_| None,
        registry: REGISTRY,
    };
    load(&folder, &options).config.expect("the shipped configuration is valid")
});

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((".{0,6}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// The same document as serde_json reads it.
fn value_of(node: &Node<'_>) -> Value {
    match node {
        Node::Null => Value::Null,
        Node::Bool(value) => json!(value),
        Node::Number(number) => Value::Number(number.parse().unwrap()),
        Node::Text(text) => json!(text),
        Node::List(nodes) => nodes.iter().map(value_of).collect(),
        Node::Object(members) => {
            members.iter().map(|(key, node)| (key.to_string(), value_of(node))).collect()
        }
        Node::Flawed(flaw) => panic!("{flaw}"),
    }
}

/// An event in which one field, at any of its places, is anything at all.
fn odd_event() -> impl Strategy<Value = Value> {
    let groups = ["user", "context", "click_ids", "lead", "consent", "properties", "adjusts"];
    let keys = [
        "email",
        "minor",
        "date_of_birth",
        "ip",
        "page_url",
        "campaign",
        "app",
        "clicked_at",
        "gclid",
        "id",
        "ad_storage",
        "gpp_sid",
        "opt_out",
        "cookies",
        "value",
        "currency",
        "items",
        "order_id",
        "type",
        "amount",
        "anything",
    ];
    let top =
        ["event", "event_id", "timestamp", "sent_at", "site", "action_source", "test", "user"];
    let nested =
        (prop::sample::select(groups.to_vec()), prop::sample::select(keys.to_vec()), any_json())
            .prop_map(|(group, key, value)| (group, json!({ key: value })));
    let flat = (prop::sample::select(top.to_vec()), any_json());
    prop_oneof![nested, flat].prop_map(|(key, value)| {
        let mut event = json!({"event": "purchase", "site": "shop_us"});
        event[key] = value;
        event
    })
}

proptest! {
    #[test]
    fn json_is_read_as_serde_json_reads_it(value in any_json()) {
        let text = value.to_string();
        prop_assert_eq!(value_of(&parse(&text, 64).unwrap()), value);
    }

    #[test]
    fn text_is_json_for_both_or_for_neither(text in "[\\[\\]{}:,\"a1.eE+ \\\\u-]{0,24}") {
        let ours = parse(&text, 64);
        let theirs = serde_json::from_str::<Value>(&text);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} {:?}", ours, theirs);
    }

    #[test]
    fn any_bytes_are_split_or_refused(bytes in vec(any::<u8>(), 0..200), lines in any::<bool>()) {
        let form = if lines { Form::Lines } else { Form::Json };
        if let Ok(pieces) = split(&bytes, form, &CONFIG.limits) {
            for piece in pieces {
                prop_assert!(piece.parse(&CONFIG.limits).map_or_else(|r| r.path.is_empty(), |_| true));
            }
        }
    }

    #[test]
    fn any_event_is_read_or_rejected_where_it_is_wrong(event in odd_event()) {
        let text = event.to_string();
        let node = parse(&text, CONFIG.limits.nesting).unwrap();
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        match native::read(&node, &Door::default(), &CONFIG, now) {
            Ok(read) => prop_assert!(!read.event.name.is_empty() && !read.event.event_id.id.is_empty()),
            Err(rejection) => {
                prop_assert!(rejection.path.is_empty() || rejection.path.starts_with('/'));
                prop_assert!(!rejection.message.is_empty());
            }
        }
    }

    #[test]
    fn an_address_in_any_text_is_removed(before in ".{0,12}", after in ".{0,12}") {
        let text = format!("{before} jane.doe@example.com {after}");
        let scrubbed = scrub_text(&text, Some("US"));
        prop_assert!(!scrubbed.text.contains("jane.doe@"), "{}", scrubbed.text);
        prop_assert!(scrubbed.removed >= 1);
        let number = format!("{before} +1 415-555-0133 {after}");
        let scrubbed = scrub_text(&number, Some("US"));
        prop_assert_eq!(scrub_text(&scrubbed.text, Some("US")).removed, 0, "{}", scrubbed.text);
    }

    #[test]
    fn no_url_keeps_an_address(path in "[a-z/%@.:+0-9-]{0,16}", query in "[a-z_=&%@.+0-9-]{0,24}") {
        let keep = ["utm_*".to_owned()];
        for url in [
            format!("https://shop.example/{path}/jane.doe%40example.com?{query}"),
            format!("https://shop.example/{path}?utm_x=jane.doe@example.com&{query}"),
            format!("https://jane.doe@example.com/{path}?{query}&utm_y=jane.doe%40example.com"),
        ] {
            let scrubbed = scrub_url(&url, &keep, Some("US"));
            prop_assert!(!scrubbed.text.contains("jane.doe"), "{url} → {}", scrubbed.text);
            let again = scrub_url(&scrubbed.text, &keep, Some("US"));
            prop_assert_eq!(again.removed, 0, "{} → {}", scrubbed.text, again.text);
        }
    }
}
