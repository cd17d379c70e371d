//! Shopify's webhooks: an order, a refund, a checkout → an event.
//!
//! An order's id here is Shopify's own (`id`), since that is what a refund names. Consent and click
//! ids come from `note_attributes`, where the shop's pages leave them, and from the landing page.
//! `buyer_accepts_marketing` is about newsletters and is no consent to anything here. The topic is a
//! header, which Shopify does not sign: a body that is not what its topic says is refused. An order
//! that is not paid is no event yet, and a cancelled one whose money went back is told by its refund.
//!
//! <https://shopify.dev/docs/api/webhooks?reference=toml>,
//! <https://shopify.dev/docs/api/customer-privacy> (checked 2026-11-22).

use rust_decimal::Decimal;

use super::{
    Asked, Envelope, Outcome, Rejection, RejectionCode,
    json::Node,
    typed::is_absent,
    words::{Words, amount, at},
};

/// The name under which a topic's events arrive, where the plan does not list the topic itself.
const TOPICS: [(&str, &str); 5] = [
    ("orders/create", "purchase"),
    ("orders/paid", "purchase"),
    ("orders/cancelled", "refund"),
    ("refunds/create", "refund"),
    ("checkouts/create", "begin_checkout"),
];

const ADDRESS: [(&str, &str); 8] = [
    ("first_name", "user.first_name"),
    ("last_name", "user.last_name"),
    ("address1", "user.street"),
    ("city", "user.city"),
    ("province_code", "user.region"),
    ("zip", "user.postal_code"),
    ("country_code", "user.country"),
    ("phone", "user.phone"),
];

/// The event of a delivery; none for a topic that is no conversion.
pub(super) fn read<'a>(body: &Node<'a>, envelope: &Envelope<'_>) -> Vec<Outcome<'a>> {
    // A file may say with which topic a body came.
    let wrapped = body.get("topic").and_then(Node::as_text);
    let (body, topic) = match (wrapped, body.get("body")) {
        (Some(topic), Some(inner)) => (inner, Some(topic)),
        _ => (body, envelope.call.or_else(|| guess(body))),
    };
    vec![event(body, topic, envelope)]
}

/// The topic of a body without headers, as `explain` reads it.
fn guess(body: &Node<'_>) -> Option<&'static str> {
    let has = |key: &str| body.get(key).is_some();
    if has("refund_line_items") || (has("order_id") && has("transactions")) {
        Some("refunds/create")
    } else if has("abandoned_checkout_url") || (has("cart_token") && !has("order_number")) {
        Some("checkouts/create")
    } else if body.get("cancelled_at").is_some_and(|at| *at != Node::Null) {
        Some("orders/cancelled")
    } else if has("line_items") {
        Some("orders/create")
    } else {
        None
    }
}

fn event<'a>(body: &Node<'a>, topic: Option<&str>, envelope: &Envelope<'_>) -> Outcome<'a> {
    let missing =
        |message: &str, path: &str| Err(Rejection::new(RejectionCode::MissingField, message, path));
    if !matches!(body, Node::Object(_)) {
        let message = format!("expected an order, a refund or a checkout, not {}", body.kind());
        return Err(Rejection::new(RejectionCode::InvalidField, message, ""));
    }
    let Some(topic) = topic else {
        return missing("nothing says which topic it is: X-Shopify-Topic", "");
    };
    let Some((topic, usual)) = TOPICS.iter().find(|(known, _)| *known == topic) else {
        return Ok(None);
    };
    fits(topic, body)?;
    if is_told_otherwise(topic, body) {
        return Ok(None);
    }
    let name = if (envelope.planned)(topic).is_some() { topic } else { usual };
    let mut words = Words::default();
    words.say("event", (*name).to_owned());
    words.say("site", envelope.site.unwrap_or_default().to_owned());
    let Some(id) = body.get("id").or_else(|| body.get("token")).and_then(text) else {
        return missing("it has no id", "/id");
    };
    let what = topic.split('/').next().unwrap_or_default().trim_end_matches('s');
    // Created and paid are the same order, whichever comes first.
    let cancelled = if *topic == "orders/cancelled" { "-cancelled" } else { "" };
    words.say("event_id", format!("{what}-{id}{cancelled}"));
    if envelope.live && body.get("test") == Some(&Node::Bool(true)) {
        words.flag("test", true);
    }
    match *topic {
        "refunds/create" => {
            if !refund(&mut words, body)? {
                return Ok(None);
            }
        }
        "orders/cancelled" => {
            words.put("timestamp", body.get("cancelled_at"), "/cancelled_at");
            words.put_text("adjusts.order_id", body.get("id"), "/id");
            words.say("adjusts.type", "cancel");
            order(&mut words, body);
        }
        _ => {
            let at = if *topic == "orders/paid" || *topic == "orders/create" {
                "processed_at"
            } else {
                "created_at"
            };
            words.put("timestamp", body.get(at), &format!("/{at}"));
            words.put("timestamp", body.get("created_at"), "/created_at");
            if what == "order" {
                words.put_text("properties.order_id", body.get("id"), "/id");
            }
            words.put("properties.value", body.get("total_price"), "/total_price");
            order(&mut words, body);
            items(&mut words, body);
        }
    }
    words.count_items();
    Ok(Some(words.told(Asked::default())))
}

/// Holds the body, which is signed, against the topic, which is not: a forger who caught a delivery
/// would make another event of it.
fn fits(topic: &str, body: &Node<'_>) -> Result<(), Rejection> {
    let has = |key: &str| body.get(key).is_some_and(|node| !is_absent(node));
    let is_refund = has("refund_line_items") || (has("order_id") && has("transactions"));
    let is_cancelled = has("cancelled_at");
    let (is_it, what, path) = match topic {
        "refunds/create" => (has("order_id"), "no refund", "/order_id"),
        _ if is_refund => (false, "a refund", ""),
        "orders/cancelled" => (is_cancelled, "not of a cancelled order", "/cancelled_at"),
        "checkouts/create" => {
            let is_order =
                ["order_number", "financial_status", "cancelled_at"].into_iter().any(has);
            (!is_order, "an order", "")
        }
        _ if has("abandoned_checkout_url") => (false, "a checkout", ""),
        // The notification by which Shopify has a webhook tried is an order of a test, cancelled.
        _ => {
            let is_sample = body.get("test") == Some(&Node::Bool(true));
            (!is_cancelled || is_sample, "of a cancelled order", "/cancelled_at")
        }
    };
    if is_it {
        return Ok(());
    }
    let message = format!("X-Shopify-Topic says {topic}, and the body is {what}");
    Err(Rejection::new(RejectionCode::InvalidField, message, path))
}

/// Whether another delivery tells it: an unpaid order is told again by `orders/paid`, if ever, and
/// what a cancelled one paid back by `refunds/create`, with its amount.
fn is_told_otherwise(topic: &str, body: &Node<'_>) -> bool {
    let has_paid_back =
        |refund: &Node<'_>| matches!(paid_back(refund), Ok(Some(amount)) if !amount.is_zero());
    match (topic, body.get("refunds")) {
        ("orders/create" | "orders/paid", _) => {
            let status = body.get("financial_status").and_then(Node::as_text);
            let is_sample = body.get("cancelled_at").is_some_and(|at| !is_absent(at));
            !is_sample && matches!(status, Some("pending" | "voided" | "expired"))
        }
        ("orders/cancelled", Some(Node::List(refunds))) => refunds.iter().any(has_paid_back),
        _ => false,
    }
}

/// Whether money went back: a refund without any is a restocked or an edited order, and an amount
/// that is left out would mean all of it.
fn refund<'a>(words: &mut Words<'a>, body: &Node<'a>) -> Result<bool, Rejection> {
    let Some(paid_back) = paid_back(body)?.filter(|amount| !amount.is_zero()) else {
        return Ok(false);
    };
    words.say("action_source", "system_generated");
    words.put("timestamp", body.get("processed_at"), "/processed_at");
    words.put("timestamp", body.get("created_at"), "/created_at");
    words.put_text("adjusts.order_id", body.get("order_id"), "/order_id");
    words.say("adjusts.type", "refund");
    words.number("adjusts.amount", paid_back);
    if let Some(Node::List(transactions)) = body.get("transactions") {
        for one in transactions.iter().filter(|one| pays_back(one)) {
            words.put("properties.currency", one.get("currency"), "/transactions");
        }
    }
    Ok(true)
}

/// What a refund paid back: by its transactions, else by what was refunded of each line. `None`: it
/// has neither.
fn paid_back(refund: &Node<'_>) -> Result<Option<Decimal>, Rejection> {
    let unread =
        |path: String| Rejection::new(RejectionCode::InvalidField, "expected an amount", path);
    let mut sum = Decimal::ZERO;
    let mut add = |node: Option<&Node<'_>>, path: String| match node.filter(|it| !is_absent(it)) {
        None => Ok(()),
        Some(node) => {
            let all = amount(node).and_then(|amount| sum.checked_add(amount));
            all.map(|all| sum = all).ok_or_else(|| unread(path))
        }
    };
    if let Some(Node::List(transactions)) = refund.get("transactions") {
        for (at, one) in transactions.iter().enumerate().filter(|(_, one)| pays_back(one)) {
            add(one.get("amount"), format!("/transactions/{at}/amount"))?;
        }
    } else if let Some(Node::List(lines)) = refund.get("refund_line_items") {
        for (at, line) in lines.iter().enumerate() {
            for key in ["subtotal", "total_tax"] {
                add(line.get(key), format!("/refund_line_items/{at}/{key}"))?;
            }
        }
    } else {
        return Ok(None);
    }
    Ok(Some(sum))
}

/// Whether a transaction gives money back, or is about to.
fn pays_back(transaction: &Node<'_>) -> bool {
    let is = |key: &str, values: &[&str]| {
        let value = transaction.get(key).and_then(Node::as_text);
        value.is_none_or(|value| values.contains(&value))
    };
    is("kind", &["refund"]) && is("status", &["success", "pending"])
}

/// What orders and checkouts share.
fn order<'a>(words: &mut Words<'a>, body: &Node<'a>) {
    for (key, path) in [
        ("currency", "properties.currency"),
        ("total_tax", "properties.tax"),
        ("total_discounts", "properties.discount"),
        ("email", "user.email"),
        ("contact_email", "user.email"),
        ("phone", "user.phone"),
        ("browser_ip", "context.ip"),
        ("landing_site", "context.landing_page"),
        ("referring_site", "context.referrer"),
        ("customer_locale", "context.locale"),
        ("source_name", "properties.source_name"),
    ] {
        words.put_text(path, body.get(key), &format!("/{key}"));
    }
    page_url(words, body);
    let shipping = ["total_shipping_price_set", "shop_money", "amount"];
    words.put("properties.shipping", at(body, &shipping), "/total_shipping_price_set");
    if let Some(Node::List(codes)) = body.get("discount_codes") {
        let code = codes.first().and_then(|code| code.get("code"));
        words.put_text("properties.coupon", code, "/discount_codes/0/code");
    }
    words.put(
        "context.ip",
        at(body, &["client_details", "browser_ip"]),
        "/client_details/browser_ip",
    );
    let agent = at(body, &["client_details", "user_agent"]);
    words.put("context.user_agent", agent, "/client_details/user_agent");

    words.put_text("user.external_id", at(body, &["customer", "id"]), "/customer/id");
    words.put_text("user.email", at(body, &["customer", "email"]), "/customer/email");
    words.put_text("user.phone", at(body, &["customer", "phone"]), "/customer/phone");
    for place in ["billing_address", "shipping_address"] {
        for (key, path) in ADDRESS {
            words.put_text(path, at(body, &[place, key]), &format!("/{place}/{key}"));
        }
    }
    for (key, path) in ADDRESS {
        words.put_text(path, at(body, &["customer", key]), &format!("/customer/{key}"));
        let default = at(body, &["customer", "default_address", key]);
        words.put_text(path, default, &format!("/customer/default_address/{key}"));
    }
    match at(body, &["customer", "orders_count"]).and_then(amount) {
        Some(count) if count <= Decimal::ONE => words.say("user.customer_type", "new"),
        Some(_) => words.say("user.customer_type", "returning"),
        None => {}
    }
    match body.get("source_name").and_then(Node::as_text) {
        None | Some("web" | "checkout") => words.say("action_source", "website"),
        Some("pos") => words.say("action_source", "physical_store"),
        Some("iphone" | "android") => words.say("action_source", "app"),
        Some(_) => words.say("action_source", "system_generated"),
    }
    notes(words, body.get("note_attributes"));
}

/// The page on which the customer arrived, on the shop's own host: a landing site is only a path.
fn page_url(words: &mut Words<'_>, body: &Node<'_>) {
    let landing = body.get("landing_site").and_then(Node::as_text).unwrap_or("/").trim();
    if landing.contains("//") {
        return words.say("context.page_url", landing.to_owned());
    }
    let status = ["order_status_url", "abandoned_checkout_url"].into_iter();
    let status = status.filter_map(|key| body.get(key).and_then(Node::as_text)).next();
    let host = status.and_then(|url| {
        let (scheme, rest) = url.split_once("://")?;
        Some(format!("{scheme}://{}", rest.split(['/', '?', '#']).next()?))
    });
    if let (Some(host), true) = (host, landing.starts_with('/')) {
        words.say("context.page_url", format!("{host}{landing}"));
    }
}

/// A list of names and values, or an object.
fn notes<'a>(words: &mut Words<'a>, notes: Option<&Node<'a>>) {
    match notes {
        Some(Node::List(pairs)) => {
            for (at, pair) in pairs.iter().enumerate() {
                let name = pair.get("name").and_then(Node::as_text);
                if let (Some(name), Some(value)) = (name, pair.get("value")) {
                    words.pair(name, value, &format!("/note_attributes/{at}/value"));
                }
            }
        }
        Some(Node::Object(pairs)) => {
            for (name, value) in pairs {
                words.pair(name, value, &format!("/note_attributes/{name}"));
            }
        }
        _ => {}
    }
}

fn items<'a>(words: &mut Words<'a>, body: &Node<'a>) {
    let Some(Node::List(lines)) = body.get("line_items") else { return };
    let line = |line: &Node<'a>| {
        let mut item = Words::default();
        for (key, path) in [
            ("sku", "id"),
            ("variant_id", "id"),
            ("product_id", "id"),
            ("title", "name"),
            ("name", "name"),
            ("vendor", "brand"),
            ("variant_title", "variant"),
        ] {
            item.put_text(path, line.get(key), "");
        }
        item.put("quantity", line.get("quantity"), "");
        item.put("price", line.get("price"), "");
        item.put_text("product_id", line.get("product_id"), "");
        item.put_text("variant_id", line.get("variant_id"), "");
        item.node()
    };
    words.whole("properties.items", &Node::List(lines.iter().map(line).collect()), "/line_items");
}

fn text(node: &Node<'_>) -> Option<String> {
    match node {
        Node::Text(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Node::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::json;

    /// What is said of the money and the order; `none` for what is ignored, else what is wrong.
    fn told(topic: &str, body: &str) -> String {
        let node = json::parse(body, 9).unwrap();
        let envelope = Envelope { call: Some(topic), site: None, live: false, planned: &|_| None };
        match read(&node, &envelope).remove(0) {
            Ok(None) => "none".to_owned(),
            Ok(Some(told)) => {
                let adjusts = told.node.get("adjusts");
                let amount =
                    adjusts.and_then(|it| it.get("amount")).map_or("", |node| match node {
                        Node::Number(number) => number,
                        _ => "?",
                    });
                let name = told.node.get("event").and_then(Node::as_text).unwrap_or_default();
                format!("{name} {amount}").trim().to_owned()
            }
            Err(rejection) => rejection.path,
        }
    }

    #[test]
    fn a_refund_is_what_went_back() {
        const LINES: &str = r#""refund_line_items": [{"subtotal": "19.99", "total_tax": 1.01}]"#;
        const PAID: &str =
            r#"{"kind": "refund", "status": "success", "amount": "5.00", "currency": "USD"}"#;
        const FAILED: &str = r#"{"kind": "refund", "status": "failure", "amount": "5.00"}"#;
        for (rest, expected) in [
            (r#""transactions": [], "refund_line_items": []"#.to_owned(), "none"),
            (r#""refund_line_items": [{"subtotal": "0.00"}]"#.to_owned(), "none"),
            (r#""refund_line_items": []"#.to_owned(), "none"),
            (r#""note": "only a note""#.to_owned(), "none"),
            (format!(r#""transactions": [], {LINES}"#), "none"),
            (format!(r#""transactions": [{FAILED}]"#), "none"),
            (format!(r#""transactions": [{FAILED}], {LINES}"#), "none"),
            (format!(r#""transactions": [{PAID}], {LINES}"#), "refund 5.00"),
            (format!(r#""transactions": [{PAID}, {FAILED}, {PAID}]"#), "refund 10.00"),
            (format!(r#""transactions": null, {LINES}"#), "refund 21.00"),
            (LINES.to_owned(), "refund 21.00"),
            (
                format!(r#""transactions": [{}]"#, PAID.replace("\"5.00\"", "\"five\"")),
                "/transactions/0/amount",
            ),
            (r#""refund_line_items": [{"subtotal": null, "total_tax": []}]"#.to_owned(), "none"),
            (
                r#""refund_line_items": [{"subtotal": true}]"#.to_owned(),
                "/refund_line_items/0/subtotal",
            ),
        ] {
            let body = format!(r#"{{"id": 1, "order_id": 2, {rest}}}"#);
            assert_eq!(told("refunds/create", &body), expected, "{body}");
        }
    }

    #[test]
    fn a_body_is_what_its_topic_says() {
        let order =
            r#"{"id": 1, "order_number": 7, "financial_status": "paid", "total_price": "5"}"#;
        let cancelled = r#"{"id": 1, "order_number": 7, "cancelled_at": "2026-11-22T04:00:00Z"}"#;
        let sample = r#"{"id": 1, "order_number": 7, "cancelled_at": "2026-11-22T04:00:00Z",
            "financial_status": "voided", "test": true}"#;
        let refund = r#"{"id": 1, "order_id": 2, "transactions": [{"amount": "5"}]}"#;
        let checkout =
            r#"{"id": 1, "token": "t", "abandoned_checkout_url": "https://shop.example/"}"#;
        for (body, [created, paid, cancel, back, begun]) in [
            (order, ["purchase", "purchase", "/cancelled_at", "/order_id", ""]),
            (cancelled, ["/cancelled_at", "/cancelled_at", "refund", "/order_id", ""]),
            (sample, ["purchase", "purchase", "refund", "/order_id", ""]),
            (refund, ["", "", "", "refund 5", ""]),
            (checkout, ["", "", "/cancelled_at", "/order_id", "begin_checkout"]),
        ] {
            assert_eq!(told("orders/create", body), created, "{body}");
            assert_eq!(told("orders/paid", body), paid, "{body}");
            assert_eq!(told("orders/cancelled", body), cancel, "{body}");
            assert_eq!(told("refunds/create", body), back, "{body}");
            assert_eq!(told("checkouts/create", body), begun, "{body}");
            assert_eq!(told("orders/updated", body), "none", "{body}");
        }
    }

    #[test]
    fn what_another_delivery_tells_is_no_event() {
        for (status, expected) in [
            ("paid", "purchase"),
            ("authorized", "purchase"),
            ("partially_refunded", "purchase"),
            ("pending", "none"),
            ("voided", "none"),
            ("expired", "none"),
        ] {
            let body = format!(r#"{{"id": 1, "financial_status": "{status}"}}"#);
            assert_eq!(told("orders/create", &body), expected, "{status}");
            assert_eq!(told("orders/paid", &body), expected, "{status}");
        }
        for (refunds, expected) in [
            ("[]", "refund"),
            ("null", "refund"),
            (r#"[{"transactions": [], "refund_line_items": []}]"#, "refund"),
            (r#"[{"transactions": [{"amount": "5"}]}]"#, "none"),
        ] {
            let body = format!(
                r#"{{"id": 1, "cancelled_at": "2026-11-22T04:00:00Z", "refunds": {refunds}}}"#
            );
            assert_eq!(told("orders/cancelled", &body), expected, "{body}");
        }
    }
}
