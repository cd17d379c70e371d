//! What expressions see, what they give, and what they refuse.

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::{
    consent::Signals,
    event::{ActionSource, Currency, EventId, Field, Item, Texts},
};

/// An event with something of everything.
pub(crate) fn event() -> Event {
    let mut texts = Texts::default();
    texts.push(Field::Email, "jane.doe@example.com");
    texts.push(Field::CustomerType, "new");
    texts.push(Field::OrderId, "1001");
    texts.push(Field::PageUrl, "https://shop.example/checkout");
    texts.push(Field::SessionId, "s-1");
    texts.push(Field::Locale, "en-US");
    texts.push(Field::Ip, "203.0.113.9");
    texts.push(Field::CampaignSource, "google");
    texts.push(Field::AppId, "com.shop");
    texts.push(Field::AdvertisingId, "aaaa-bbbb");
    texts.push(Field::LeadCrm, "salesforce");
    let serde_json::Value::Object(other) = json!({
        "cart_size": 3, "scroll_depth": 80.5, "channel": "pos", "vip": true, "note": "",
        "long_id": 9_007_199_254_740_993_u64, "ratio": 0.1, "margin": "12.50",
        "tags": ["a", "b"], "nested": {"deep": {"x": 7}}, "with space": "yes",
        "boxes": [{"w": 1}, {"h": 2}], "day": "2026-11-22",
    }) else {
        panic!("an object")
    };
    let serde_json::Value::Object(other_context) = json!({"experiment": {"checkout_copy": "b"}})
    else {
        panic!("an object")
    };
    let at: Timestamp = "2026-11-22T04:00:00Z".parse().unwrap();
    Event {
        name: "begin_checkout".to_owned(),
        event_id: EventId {
            id: "e-1".to_owned(),
            key: "e-1".to_owned(),
            derived: false,
            short_lived: false,
        },
        timestamp: at,
        received_at: at,
        site: "shop_us".to_owned(),
        action_source: ActionSource::Website,
        test: false,
        minor: None,
        texts,
        amounts: vec![
            (Field::Value, "129.90".parse().unwrap()),
            (Field::Tax, "9.90".parse().unwrap()),
            (Field::Shipping, "5".parse().unwrap()),
        ],
        currency: Currency::parse("USD"),
        items: vec![
            Item {
                id: Some("SKU-1".to_owned()),
                category: Some("Shoes".to_owned()),
                quantity: Some(2.into()),
                price: Some("99.90".parse().unwrap()),
                ..Item::default()
            },
            Item { id: Some("SKU-2".to_owned()), ..Item::default() },
        ],
        clicked_at: None,
        other,
        other_context,
        consent: Signals::default(),
        adjusts: None,
    }
}

fn numbers(event: &Event) -> Vec<(&'static str, Option<Decimal>)> {
    vec![
        ("value", event.amount(Field::Value)),
        ("event_value", Some("5.00".parse().unwrap())),
        ("tax", event.amount(Field::Tax)),
        ("shipping", event.amount(Field::Shipping)),
        ("discount", None),
        ("cost", None),
    ]
}

fn compiled(source: &str, formula: bool) -> Expression {
    Expression::compile(source, formula).unwrap_or_else(|error| panic!("{source}: {error}"))
}

fn holds(source: &str) -> Result<bool, ExpressionError> {
    let event = event();
    compiled(source, false).holds(&Facts { event: &event, numbers: &[] })
}

fn number(source: &str) -> Result<Option<String>, ExpressionError> {
    let event = event();
    let facts = Facts { event: &event, numbers: &numbers(&event) };
    Ok(compiled(source, true).number(&facts)?.map(|decimal| decimal.to_string()))
}

fn text(source: &str) -> Option<String> {
    let event = event();
    compiled(source, false).text(&Facts { event: &event, numbers: &[] }).unwrap()
}

fn refusal(source: &str) -> String {
    match Expression::compile(source, false) {
        Ok(_) => panic!("{source} compiles"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn conditions_hold() {
    for source in [
        "properties.cart_size > 0",
        "properties.cart_size == 3",
        "properties.cart_size != 4 && properties.cart_size <= 3.0",
        "properties.cart_size * 2 == 6",
        "properties.cart_size % 2 == 1",
        "properties.cart_size in [1, 2, 3]",
        "properties.scroll_depth >= 80",
        "properties.ratio == 0.1",
        "properties.value == 129.9",
        "properties.value - properties.tax == 120",
        "size(properties.items) > 1",
        "properties.items.size() == 2",
        "size(properties.items) * 2 == 4",
        "size(properties.channel) == 3",
        "properties.channel == 'pos'",
        "properties.other_channel != 'pos'",
        "properties.missing == null",
        "properties.missing.deeper == null",
        "properties.channel.deeper == null",
        "properties.order_id.deeper == null",
        "properties.note == null",
        "has(properties.channel) && !has(properties.missing)",
        "has(properties.nested.deep.x) && !has(properties.nested.deep.y)",
        "has(context.page_url)",
        "properties['with space'] == 'yes'",
        "properties.nested.deep.x == 7",
        "properties.boxes[1].h == 2",
        "properties.boxes[0].h == null",
        "properties.boxes[7].h == null",
        "properties.items[0].price > 99",
        "properties.items[1].price == null",
        "properties.items[5] == null",
        "properties.items.exists(i, i.category == 'Shoes')",
        "properties.items.exists(i, i.price > 50)",
        "properties.items.exists_one(i, has(i.price))",
        "properties.items.filter(i, i.price != null).size() == 1",
        "properties.items.map(i, i.id) == ['SKU-1', 'SKU-2']",
        "!properties.items.all(i, i.category == 'Shoes')",
        "properties.boxes.exists(b, b['w'] == 1)",
        "properties.boxes.exists(b, has(b.h))",
        "'a' in properties.tags",
        "properties.tags.exists(t, ['b', 'c'].exists(x, x == t))",
        "properties.vip",
        "properties.vip ? true : false",
        "!has(properties.items) || size(properties.items) < 10",
        "event == 'begin_checkout'",
        "site == 'shop_us' && action_source == 'website'",
        "user.customer_type == 'new'",
        "context.page_url.contains('/checkout')",
        "context.page_url.matches('^https://shop[.]example/')",
        "matches(context.locale, 'en-.*')",
        "context.campaign.source.startsWith('goo')",
        "context.experiment.checkout_copy == 'b'",
        "context.app.id == 'com.shop'",
        "lead.crm == 'salesforce' && lead.id == null",
        "properties.channel.upperAscii() == 'POS'",
        "properties.day.substring(0, 4) == '2026'",
        "string(properties.cart_size) == '3'",
        "int('12') + 1 == 13",
        "double(properties.margin) == 12.5",
        "{1: 'one'}[1] == 'one'",
        "type(properties.channel) == string",
        "math.greatest(properties.cart_size, 10) == 10",
        "math.round(2.5) == 3",
        "properties.missing > 0 || properties.vip",
        "properties.long_id > 5",
    ] {
        assert_eq!(holds(source), Ok(true), "{source}");
    }
}

#[test]
fn conditions_that_do_not_hold() {
    for source in [
        "properties.cart_size > 3",
        "properties.channel != 'pos'",
        "properties.missing > 0 && false",
        "properties.channel == 3",
        "context.locale.matches('^de')",
        "has(properties.note)",
    ] {
        assert_eq!(holds(source), Ok(false), "{source}");
    }
}

#[test]
fn what_fails_says_what_is_missing_and_never_a_value() {
    let error = holds("properties.missing > 0").unwrap_err().to_string();
    assert!(error.contains("(missing: properties.missing)"), "{error}");
    for source in [
        "properties.channel > 0",
        "properties.channel + 1 == 2",
        "properties.channel",
        "properties.channel - properties.day == 1",
        "properties.tags[properties.channel] == 'a' ? 'x' : 'y'",
        "int(properties.channel) == 1",
        "-properties.channel == 1",
        "properties.channel.size() / 0 == 'x' || properties.channel",
        "size(properties.vip) == 1",
    ] {
        let error = holds(source).unwrap_err().to_string();
        assert!(!error.replace(source, "").contains("pos"), "{error}");
    }
}

#[test]
fn formulas_give_decimals() {
    for (source, expected) in [
        ("value * 0.32", "41.568"),
        ("value - tax - shipping", "115"),
        ("value > 100 ? 20 : 5", "20"),
        ("value", "129.90"),
        ("event_value * 2", "10.00"),
        ("properties.cart_size * 1.5", "4.5"),
        ("0.1 + 0.2", "0.3"),
        ("1 / 3", "0.333333333"),
        ("2 / 3", "0.666666667"),
        ("-0.0000000005", "-0.000000001"),
        ("math.least(value, 100)", "100"),
        ("discount == null ? value : value - discount", "129.9"),
        ("has(properties.value) ? 1 : 0", "1"),
        ("properties.long_id", "9007199254740993"),
    ] {
        let found = number(source).unwrap_or_else(|error| panic!("{error}")).unwrap();
        let (found, expected): (Decimal, Decimal) =
            (found.parse().unwrap(), expected.parse().unwrap());
        assert_eq!(found, expected, "{source}");
    }
    assert_eq!(number("discount"), Ok(None));
    assert_eq!(number("properties.missing"), Ok(None));
    let error = number("value - discount").unwrap_err();
    assert!(error.to_string().contains("(missing: discount)"), "{error}");
    for source in ["1 / 0", "'text'", "properties.channel", "1e30 * 10.0", "value > 1"] {
        assert!(number(source).is_err(), "{source}");
    }
}

#[test]
fn absent_inputs_are_named() {
    let event = event();
    let facts = Facts { event: &event, numbers: &numbers(&event) };
    let formula = compiled("value - discount - cost - properties.margin_eur", true);
    assert_eq!(formula.absent(&facts), ["discount", "cost", "properties.margin_eur"]);
    assert!(formula.names_number("value") && !formula.names_number("event_value"));
}

#[test]
fn texts_are_canonical() {
    for (source, expected) in [
        ("properties.order_id", Some("1001")),
        ("properties.cart_size", Some("3")),
        ("properties.cart_size * 1", Some("3")),
        ("properties.value", Some("129.9")),
        ("properties.long_id", Some("9007199254740993")),
        ("string(properties.long_id) + '-x'", Some("9007199254740993-x")),
        ("site + '/' + properties.order_id", Some("shop_us/1001")),
        ("properties.vip", Some("true")),
        ("properties.missing", None),
        ("properties.note", None),
        ("''", None),
        ("[properties.order_id, site]", Some("[\"1001\",\"shop_us\"]")),
        ("[properties.missing, site]", None),
        ("properties.boxes", Some("[{\"w\":1},{\"h\":2}]")),
    ] {
        assert_eq!(text(source).as_deref(), expected, "{source}");
    }
}

#[test]
fn any_value_becomes_json() {
    let event = event();
    let facts = Facts { event: &event, numbers: &[] };
    let json = |source: &str| compiled(source, false).json(&facts).unwrap();
    assert_eq!(json("properties.nested"), json!({"deep": {"x": 7}}));
    assert_eq!(json("{'id': properties.order_id, 'n': 1}"), json!({"id": "1001", "n": 1}));
    assert_eq!(json("properties.value * 0.32").to_string(), "41.568");
    assert_eq!(json("properties.value").to_string(), "129.90");
    assert_eq!(json("properties.items[0]").to_string(), {
        r#"{"category":"Shoes","id":"SKU-1","price":99.90,"quantity":2}"#
    });
    assert_eq!(json("properties.missing"), json!(null));
    assert_eq!(json("lead"), json!({"crm": "salesforce"}));
    let context = json("context");
    assert_eq!(context["campaign"], json!({"source": "google"}));
    assert_eq!(context["experiment"], json!({"checkout_copy": "b"}));
    assert_eq!(context["app"], json!({"id": "com.shop"}), "no advertising id");
    assert_eq!(context.get("ip"), None);
    let properties = json("properties");
    assert_eq!(properties["order_id"], "1001");
    assert_eq!(properties["currency"], "USD");
    assert_eq!(properties["vip"], true);
    assert_eq!(properties["items"][1], json!({"id": "SKU-2"}));
}

#[test]
fn identity_and_unknown_names_do_not_compile() {
    for (source, part) in [
        ("user.email == 'x'", "never see identity"),
        ("user['email'] == 'x'", "never see identity"),
        ("has(user.phone)", "never see identity"),
        ("size(user) > 0", "never see identity"),
        ("properties.items.exists(i, i.id == user.email)", "never see identity"),
        ("context.ip == 'x'", "identifies a device"),
        ("context.app.advertising_id != null", "identifies a device"),
        ("click_ids.gclid != null", "do not see `click_ids`"),
        ("consent.gpc == true", "do not see `consent`"),
        ("propertis.cart_size > 0", "did you mean `properties`"),
        ("props.cart_size > 0", "did you mean `properties`"),
        ("order_id == 'x'", "did you mean `properties.order_id`"),
        ("value > 1", "outside a formula write `properties.value`"),
        ("lead.cmr == 'x'", "did you mean `lead.crm`"),
        ("sise(properties.items) > 1", "did you mean `size`"),
        ("math.rond(1.2) == 1", "did you mean `round`"),
        ("properties.channel.matches(properties.day)", "must be written out"),
        ("properties.channel.matches('(')", "matches"),
        ("properties.channel.matches('((a{100}){100}){100}')", "matches"),
        ("properties.cart_size >", "is not CEL, at 1:"),
        ("", "is empty"),
        ("Thing{a: 1}", "unknown type `Thing`"),
        ("properties.tags.exists(t, properties.boxes.exists(b, b.w == t))", "walks over one list"),
    ] {
        let error = refusal(source);
        assert!(error.contains(part), "{source}: {error}");
    }
    let formula = Expression::compile("valu * 2", true).unwrap_err().to_string();
    assert!(formula.contains("did you mean `value`?") && formula.contains("`tax`"), "{formula}");
    assert!(refusal(&format!("'{}'", "x".repeat(3000))).contains("longer"));
    assert!(refusal(&"(".repeat(1000)).contains("deeper than 24"));
    assert!(Expression::compile(&format!("'{}' == site", "(".repeat(1000)), false).is_ok());
}

#[test]
fn deep_sources_are_refused_on_a_small_stack() {
    let deep = std::thread::Builder::new().stack_size(3 << 19).spawn(|| {
        for (part, times) in
            [("(", 1900), ("1+", 990), ("-", 1900), ("!", 1900), ("[", 900), ("1?2:", 490)]
        {
            let source = format!("{}1", part.repeat(times));
            let refused = Expression::compile(&source, false).is_err();
            assert!(refused || part == "-" || part == "!", "{part}");
        }
        let source = format!("{}1 > 0", "1+".repeat(36));
        let event = event();
        let sum = Expression::compile(&source, false).unwrap();
        assert_eq!(sum.holds(&Facts { event: &event, numbers: &[] }), Ok(true));
    });
    deep.unwrap().join().unwrap();
    // Alternatives are balanced by the parser: a long list of them is not deep.
    let many = vec!["properties.channel == 'x'"; 60].join(" || ");
    assert_eq!(holds(&many), Ok(false));
}

#[test]
fn long_lists_fail_rather_than_cost() {
    let mut event = event();
    event.other.insert("list".to_owned(), vec![1; 3000].into());
    let facts = Facts { event: &event, numbers: &[] };
    let error = compiled("1 in properties.list", false).holds(&facts).unwrap_err();
    assert!(error.to_string().contains("more than 2000 elements"), "{error}");
    assert_eq!(compiled("properties.list[2999] == 1", false).holds(&facts), Ok(true));
}

#[test]
fn it_says_what_it_reads() {
    let reads = |source: &str| compiled(source, true).reads();
    assert_eq!(reads("properties.order_id"), FieldSet::of(&[Field::OrderId]));
    assert_eq!(reads("tax * 2"), FieldSet::of(&[Field::Tax]));
    assert_eq!(reads("properties.any"), FieldSet::of(&[Field::OtherProperties]));
    assert!(reads("context").contains(Field::PageUrl) && !reads("context").contains(Field::Ip));
    assert!(reads("{'all': properties}").contains(Field::Coupon));
}

#[test]
fn doubles_are_the_nearest() {
    for text in ["129.9", "0.1", "1.005", "123456789012345.67", "79228162514264337593543950335"] {
        let decimal: Decimal = text.parse().unwrap();
        assert_eq!(number::to_double(decimal), text.parse::<f64>().unwrap(), "{text}");
        assert_eq!(number::to_double(-decimal), -text.parse::<f64>().unwrap(), "-{text}");
    }
    for (double, expected) in [(1.005, "1.005"), (0.1 + 0.2, "0.3"), (-2.5, "-2.5")] {
        assert_eq!(number::to_decimal(double).unwrap().to_string(), expected);
    }
    assert_eq!(number::to_decimal(f64::NAN), None);
    assert_eq!(number::to_decimal(1e300), None);
}
