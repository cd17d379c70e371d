use super::*;

#[test]
fn numbers_are_exact() {
    for (text, written) in [
        ("129.90", "129.9"),
        ("0.1", "0.1"),
        ("-0.050", "-0.05"),
        ("100", "100"),
        ("0.00", "0"),
        ("-0.00", "0"),
        ("1.00000000000000000001", "1.00000000000000000001"),
        ("0.0000000000000000000000000001", "0.0000000000000000000000000001"),
        ("18446744073709551615", "18446744073709551615"),
        ("1844674407370955161.5", "1844674407370955161.5"),
        ("-79228162514264337593543950335", "-79228162514264337593543950335"),
    ] {
        let decimal: Decimal = text.parse().unwrap();
        let number = Number::from(number(decimal));
        assert_eq!(number.as_str(), written);
        assert_eq!(number.as_str(), decimal.normalize().to_string());
    }
}

#[test]
fn whatever_is_written_is_read_back() {
    let texts =
        ["", "a", "\"", "\\", "\n", "\u{1f}", "\u{7f}", "é\u{2028}", "1234567\"", "12345678\t"];
    let odd = texts.map(|text| Value::from(format!("{text}{}{text}", "x".repeat(9))));
    let value = serde_json::json!({
        "texts": texts, "odd": odd, "null": null, "yes": true, "deep": {"a\"b": [1.5, -2, {}]},
    });
    let object = Object::default()
        .with("value", &value)
        .with("i64", i64::MIN)
        .with("u64", u64::MAX)
        .with("zero", 0u8)
        .with("no", false);
    assert!(object.has("value") && object.has("no"));
    assert!(!object.has("texts") && !object.has("deep") && !object.has("valu"));
    // Keys of one bit: what stands in a text, or in an object within, is none of this one's.
    let alike = Object::default().with("prXce", "\"price\":1");
    assert!(alike.has("prXce") && !alike.has("price"));
    let within = Object::default().with("prXce", Object::default().with("price", 1u8));
    assert!(!within.has("price") && within.with("price", 2u8).has("price"));
    let read: Value = serde_json::from_str(&object.json()).unwrap();
    assert_eq!(read["value"], value);
    assert_eq!((read["i64"].as_i64(), read["u64"].as_u64()), (Some(i64::MIN), Some(u64::MAX)));
    assert_eq!((&read["zero"], &read["no"]), (&0.into(), &false.into()));
    assert_eq!(Object::default().json(), "{}");
    assert_eq!(Object::large().with("a", Object::default()).json(), "{\"a\":{}}");
}

#[test]
fn batches_keep_every_event_in_order_and_within_limits() {
    let events = (0..7).map(|index| (index, "x".repeat(index + 1)));
    let batches = batches(events, BatchLimits { events: 3, bytes: 12 }, Frame::Known("[", "]"));
    let members: Vec<_> = batches.iter().map(|batch| batch.members.clone()).collect();
    assert_eq!(members, [vec![0, 1, 2], vec![3, 4], vec![5], vec![6]]);
    assert!(batches.iter().all(|batch| batch.text.len() <= 12));
}

#[test]
fn queries_are_encoded_exactly() {
    let text = |text: &str| Some(text.to_owned());
    let pairs = [("a", text("x y+z&=%~é")), ("b", None), ("c-d", text("1.5"))];
    assert_eq!(query(pairs), "a=x%20y%2Bz%26%3D%25~%C3%A9&c-d=1.5");
}

#[test]
fn parts_keep_their_order() {
    let parts = partition([(0, 'a'), (1, 'b'), (2, 'a')]);
    assert_eq!(parts, [('a', vec![0, 2]), ('b', vec![1])]);
}
