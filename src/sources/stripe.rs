//! Stripe's webhooks: a paid checkout, a paid invoice, a refund → an event.
//!
//! Amounts are in Stripe's smallest units. An order is known by `metadata.order_id`, else by its
//! invoice, else by its payment: so the checkout that starts a subscription and its first invoice are
//! one order, and a refund finds it.
//!
//! <https://docs.stripe.com/api/events/types>, <https://docs.stripe.com/currencies>
//! (checked 2026-11-22).

use rust_decimal::Decimal;

use super::{
    Asked, Envelope, Outcome, Rejection, RejectionCode,
    json::Node,
    typed::is_absent,
    words::{Words, amount, at},
};

/// Currencies whose smallest unit is a whole one.
const ZERO_DECIMAL: [&str; 15] = [
    "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF",
    "XOF", "XPF",
];
/// Currencies with three digits; all others have two, also ISK and UGX, which are written so for
/// compatibility.
const THREE_DECIMAL: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];

/// The name under which a type's events arrive, where the plan does not list the type itself.
const TYPES: [(&str, &str); 6] = [
    ("checkout.session.completed", "purchase"),
    ("checkout.session.async_payment_succeeded", "purchase"),
    ("invoice.paid", "purchase"),
    ("invoice.payment_succeeded", "purchase"),
    ("charge.refunded", "refund"),
    ("refund.created", "refund"),
];

/// The event of a delivery; none for a type that is no conversion, and for what is not paid yet.
pub(super) fn read<'a>(body: &Node<'a>, envelope: &Envelope<'_>) -> Vec<Outcome<'a>> {
    vec![event(body, envelope)]
}

fn event<'a>(body: &Node<'a>, envelope: &Envelope<'_>) -> Outcome<'a> {
    let missing =
        |message: &str, path: &str| Err(Rejection::new(RejectionCode::MissingField, message, path));
    let Some(kind) = body.get("type").and_then(Node::as_text) else {
        return missing("an event has a type", "/type");
    };
    let Some((kind, usual)) = TYPES.iter().find(|(known, _)| *known == kind) else {
        return Ok(None);
    };
    let Some(object @ Node::Object(_)) = at(body, &["data", "object"]) else {
        return missing("an event has its object", "/data/object");
    };
    let is_checkout = kind.starts_with("checkout.");
    if moves_nothing(kind, body, object) {
        return Ok(None);
    }
    let name = if (envelope.planned)(kind).is_some() { kind } else { usual };
    let mut words = Words::default();
    words.say("event", (*name).to_owned());
    words.say("site", envelope.site.unwrap_or_default().to_owned());
    if envelope.live && body.get("livemode") == Some(&Node::Bool(false)) {
        words.flag("test", true);
    }
    words.put("timestamp", body.get("created"), "/created");
    let currency = object.get("currency").and_then(Node::as_text).unwrap_or_default();
    let currency = currency.trim().to_ascii_uppercase();
    words.say("properties.currency", currency.clone());
    let money = |key: &str| minor(object.get(key)?, &currency);
    // Left out it would be an order without a value, or a refund of all of it.
    let main = ["amount_total", "amount_paid", "amount_refunded", "amount"];
    let is_unread = |key: &&&str| {
        let node = object.get(key);
        node.is_some_and(|node| !is_absent(node) && amount(node).is_none())
    };
    if let Some(key) = main.iter().find(is_unread) {
        let path = format!("/data/object/{key}");
        let message = "expected a number of the currency's smallest units";
        return Err(Rejection::new(RejectionCode::InvalidField, message, path));
    }

    let total = match *kind {
        "invoice.paid" | "invoice.payment_succeeded" => money("amount_paid"),
        "charge.refunded" => {
            // What a charge says is all that was ever paid back of it.
            let before = at(body, &["data", "previous_attributes", "amount_refunded"]);
            let before = before.and_then(|node| minor(node, &currency)).unwrap_or(Decimal::ZERO);
            money("amount_refunded").map(|all| all - before)
        }
        "refund.created" => money("amount"),
        _ => money("amount_total"),
    };
    // A trial's first invoice, an order that a coupon pays whole: no money moved.
    if total.is_some_and(|total| total.is_zero()) {
        return Ok(None);
    }

    let is_renewal = object.get("billing_reason").and_then(Node::as_text).is_some_and(|reason| {
        // A subscription's own order id is not that of each of its renewals.
        reason.starts_with("subscription_cycle")
    });
    let order = order_id(object, is_renewal);
    person(&mut words, object);
    if *usual == "refund" {
        words.say("action_source", "system_generated");
        let event_id = body.get("id").and_then(Node::as_text).unwrap_or_default();
        words.say("event_id", format!("refund-{}", refund_id(object).unwrap_or(event_id)));
        words.say("adjusts.type", "refund");
        words.say("adjusts.order_id", order.unwrap_or_default().to_owned());
        if let Some(total) = total {
            words.number("adjusts.amount", total);
        }
        return Ok(Some(words.told(Asked::default())));
    }
    let Some(order) = order else {
        return missing("it has no id", "/data/object/id");
    };
    words.say("event_id", format!("order-{order}"));
    words.say("properties.order_id", order.to_owned());
    words.say("action_source", if is_checkout { "website" } else { "system_generated" });
    for (path, amount) in [
        ("properties.value", total),
        (
            "properties.tax",
            money("tax")
                .or_else(|| minor(at(object, &["total_details", "amount_tax"])?, &currency)),
        ),
        (
            "properties.shipping",
            at(object, &["total_details", "amount_shipping"])
                .and_then(|node| minor(node, &currency)),
        ),
        (
            "properties.discount",
            at(object, &["total_details", "amount_discount"])
                .and_then(|node| minor(node, &currency)),
        ),
    ] {
        if let Some(amount) = amount {
            words.number(path, amount);
        }
    }
    items(&mut words, object, &currency);
    words.count_items();
    Ok(Some(words.told(Asked::default())))
}

/// Whether no money came or went, or another delivery tells it.
fn moves_nothing(kind: &str, body: &Node<'_>, object: &Node<'_>) -> bool {
    let text = |key: &str| object.get(key).and_then(Node::as_text);
    match kind {
        // A card is put down for later; or it is told again once the money has come.
        _ if kind.starts_with("checkout.") => {
            text("mode") == Some("setup") || text("payment_status") == Some("unpaid")
        }
        "refund.created" => matches!(text("status"), Some("failed" | "canceled")),
        // Since that version a charge lists its refunds no more, and `refund.created` tells each by
        // its id: taken from both, one refund would be two. What names no version is not older.
        // https://docs.stripe.com/upgrades#2022-11-15 (checked 2026-11-22)
        "charge.refunded" => {
            let version = body.get("api_version").and_then(Node::as_text);
            refund_id(object).is_none() && version.is_none_or(|version| version >= "2022-11-15")
        }
        _ => false,
    }
}

fn order_id<'n>(object: &'n Node<'_>, is_renewal: bool) -> Option<&'n str> {
    let kind = object.get("object").and_then(Node::as_text);
    let own = ["order_id", "orderId"].into_iter().filter(|_| !is_renewal);
    let own = own.filter_map(|key| at(object, &["metadata", key])?.as_text()).next();
    let id = |key: &str| match object.get(key)? {
        Node::Text(text) if !text.is_empty() => Some(text.as_ref()),
        expanded => expanded.get("id").and_then(Node::as_text),
    };
    let of_invoice = || if kind == Some("invoice") { id("id") } else { id("invoice") };
    own.or_else(of_invoice)
        .or_else(|| id("payment_intent"))
        .or_else(|| id("charge"))
        .or_else(|| id("id"))
}

/// The refund that was just made, where it is told.
fn refund_id<'n>(object: &'n Node<'_>) -> Option<&'n str> {
    if object.get("object").and_then(Node::as_text) == Some("refund") {
        return object.get("id").and_then(Node::as_text);
    }
    let Some(Node::List(refunds)) = at(object, &["refunds", "data"]) else { return None };
    refunds.first()?.get("id").and_then(Node::as_text)
}

fn person<'a>(words: &mut Words<'a>, object: &Node<'a>) {
    const PERSON: [(&[&str], &str); 10] = [
        (&["metadata", "external_id"], "user.external_id"),
        (&["metadata", "user_id"], "user.external_id"),
        (&["client_reference_id"], "user.external_id"),
        (&["customer"], "user.external_id"),
        (&["customer_details", "email"], "user.email"),
        (&["customer_email"], "user.email"),
        (&["receipt_email"], "user.email"),
        (&["billing_details", "email"], "user.email"),
        (&["customer_details", "phone"], "user.phone"),
        (&["customer_phone"], "user.phone"),
    ];
    const ADDRESS: [(&str, &str); 5] = [
        ("line1", "user.street"),
        ("city", "user.city"),
        ("state", "user.region"),
        ("postal_code", "user.postal_code"),
        ("country", "user.country"),
    ];
    for (keys, path) in PERSON {
        if let Some(node @ Node::Text(_)) = at(object, keys) {
            words.put(path, Some(node), &format!("/data/object/{}", keys.join("/")));
        }
    }
    let places = [
        &["customer_details", "address"][..],
        &["customer_address"][..],
        &["billing_details", "address"][..],
    ];
    for keys in places {
        let Some(address) = at(object, keys) else { continue };
        for (key, path) in ADDRESS {
            let theirs = format!("/data/object/{}/{key}", keys.join("/"));
            words.put_text(path, address.get(key), &theirs);
        }
    }
    words.put("context.page_url", object.get("success_url"), "/data/object/success_url");
    words.put("context.locale", object.get("locale"), "/data/object/locale");
    let metadata = [&["metadata"][..], &["subscription_details", "metadata"][..]];
    for keys in metadata {
        let Some(Node::Object(pairs)) = at(object, keys) else { continue };
        for (name, value) in pairs {
            words.pair(name, value, &format!("/data/object/{}/{name}", keys.join("/")));
        }
    }
}

fn items<'a>(words: &mut Words<'a>, object: &Node<'a>, currency: &str) {
    let lines = at(object, &["line_items", "data"]).or_else(|| at(object, &["lines", "data"]));
    let Some(Node::List(lines)) = lines else { return };
    let line = |line: &Node<'a>| {
        let mut item = Words::default();
        for keys in [
            &["price", "product"][..],
            &["pricing", "price_details", "product"][..],
            &["price", "id"][..],
            &["plan", "product"][..],
        ] {
            item.put("id", at(line, keys).filter(|node| matches!(node, Node::Text(_))), "");
        }
        item.put("name", line.get("description"), "");
        item.put("quantity", line.get("quantity"), "");
        let quantity = line.get("quantity").and_then(amount).filter(|q| !q.is_zero());
        let total = ["amount_subtotal", "amount"].iter().find_map(|key| line.get(key));
        if let (Some(total), Some(quantity)) = (total.and_then(|t| minor(t, currency)), quantity) {
            let price = total.checked_div(quantity).unwrap_or(total).round_dp(6);
            item.number("price", price.normalize());
        }
        item.node()
    };
    words.whole("properties.items", &Node::List(lines.iter().map(line).collect()), "/data/object");
}

/// An amount of smallest units in whole ones.
fn minor(node: &Node<'_>, currency: &str) -> Option<Decimal> {
    let units = amount(node)?;
    let digits = if ZERO_DECIMAL.contains(&currency) {
        0
    } else if THREE_DECIMAL.contains(&currency) {
        3
    } else {
        2
    };
    units.checked_mul(Decimal::new(1, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smallest_units() {
        for (units, currency, expected) in [
            ("1999", "USD", "19.99"),
            ("500", "JPY", "500"),
            ("5120", "KWD", "5.120"),
            ("500", "UGX", "5.00"),
            ("500", "ISK", "5.00"),
            ("100000", "MGA", "100000"),
        ] {
            let node = Node::Number(units.into());
            let expected: Decimal = expected.parse().unwrap();
            assert_eq!(minor(&node, currency), Some(expected), "{units} {currency}");
        }
    }

    /// What it is, of which order and how much; `none` for what is ignored.
    fn told(kind: &str, object: &str, more: &str) -> String {
        let body =
            format!(r#"{{"id": "evt_1", "type": "{kind}", "data": {{"object": {object}}}{more}}}"#);
        let node = crate::sources::json::parse(&body, 9).unwrap();
        let envelope = Envelope { call: None, site: None, live: false, planned: &|_| None };
        let Some(told) = read(&node, &envelope).remove(0).unwrap() else {
            return "none".to_owned();
        };
        let of = |path: &[&str]| match at(&told.node, path) {
            Some(Node::Text(text)) => text.to_string(),
            Some(Node::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        let order = of(&["adjusts", "order_id"]) + &of(&["properties", "order_id"]);
        let amount = of(&["adjusts", "amount"]) + &of(&["properties", "value"]);
        format!("{} {order} {amount}", of(&["event_id"]))
    }

    #[test]
    fn only_money_that_moves_is_an_event_and_once() {
        const CHECKOUT: &str = "checkout.session.completed";
        let (old, new) =
            (r#", "api_version": "2020-08-27""#, r#", "api_version": "2025-03-31.basil""#);
        for (kind, object, more, expected) in [
            (CHECKOUT, r#""mode": "setup", "payment_status": "no_payment_required""#, "", "none"),
            (
                CHECKOUT,
                r#""mode": "payment", "payment_status": "unpaid", "amount_total": 5"#,
                "",
                "none",
            ),
            (
                CHECKOUT,
                r#""mode": "subscription", "payment_status": "no_payment_required", "amount_total": 0"#,
                "",
                "none",
            ),
            (
                CHECKOUT,
                r#""mode": "payment", "payment_status": "paid", "amount_total": 500, "payment_intent": "pi_1""#,
                "",
                "order-pi_1 pi_1 5.00",
            ),
            ("invoice.paid", r#""object": "invoice", "id": "in_1", "amount_paid": 0"#, "", "none"),
            (
                "invoice.paid",
                r#""object": "invoice", "id": "in_1", "amount_paid": 500"#,
                "",
                "order-in_1 in_1 5.00",
            ),
            (
                "refund.created",
                r#""object": "refund", "id": "re_1", "status": "pending", "amount": 500, "payment_intent": "pi_1""#,
                new,
                "refund-re_1 pi_1 5.00",
            ),
            (
                "refund.created",
                r#""object": "refund", "id": "re_1", "amount": 500, "metadata": {"order_id": "1001"}"#,
                new,
                "refund-re_1 1001 5.00",
            ),
            (
                "refund.created",
                r#""object": "refund", "id": "re_1", "status": "failed", "amount": 5"#,
                new,
                "none",
            ),
            (
                "refund.created",
                r#""object": "refund", "id": "re_1", "status": "canceled", "amount": 5"#,
                new,
                "none",
            ),
            (
                "charge.refunded",
                r#""object": "charge", "id": "ch_1", "amount_refunded": 500"#,
                new,
                "none",
            ),
            (
                "charge.refunded",
                r#""object": "charge", "id": "ch_1", "amount_refunded": 500, "refunds": {"data": [{"id": "re_1"}]}"#,
                new,
                "refund-re_1 ch_1 5.00",
            ),
            (
                "charge.refunded",
                r#""object": "charge", "id": "ch_1", "amount_refunded": 500"#,
                old,
                "refund-evt_1 ch_1 5.00",
            ),
        ] {
            let object = format!(r#"{{"currency": "usd", {object}}}"#);
            assert_eq!(told(kind, &object, more), expected, "{kind} {object}");
        }
    }
}
