//! Shopify's webhooks: an order, a refund, a checkout → an event.
//!
//! An order's id here is Shopify's own (`id`), since that is what a refund names. Consent and click
//! ids come from `note_attributes`, where the shop's pages leave them, and from the landing page.
//! `buyer_accepts_marketing` is about newsletters and is no consent to anything here.
//!
//! <https://shopify.dev/docs/api/webhooks?reference=toml>,
//! <https://shopify.dev/docs/api/customer-privacy> (checked 2026-11-22).

use rust_decimal::Decimal;

use super::{
    Asked, Envelope, Outcome, Rejection, RejectionCode,
    json::Node,
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
        "refunds/create" => refund(&mut words, body),
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

/// Money goes back by transactions; what was refunded of each line says it where they are missing.
fn refund<'a>(words: &mut Words<'a>, body: &Node<'a>) {
    words.say("action_source", "system_generated");
    words.put("timestamp", body.get("processed_at"), "/processed_at");
    words.put("timestamp", body.get("created_at"), "/created_at");
    words.put_text("adjusts.order_id", body.get("order_id"), "/order_id");
    words.say("adjusts.type", "refund");
    let mut paid_back = None;
    if let Some(Node::List(transactions)) = body.get("transactions") {
        let refunds = transactions.iter().filter(|one| {
            let is = |key: &str, values: &[&str]| {
                let value = one.get(key).and_then(Node::as_text);
                value.is_none_or(|value| values.contains(&value))
            };
            is("kind", &["refund"]) && is("status", &["success", "pending"])
        });
        for one in refunds {
            words.put("properties.currency", one.get("currency"), "/transactions");
            let amount = one.get("amount").and_then(amount);
            paid_back =
                amount.map(|amount| amount + paid_back.unwrap_or(Decimal::ZERO)).or(paid_back);
        }
    }
    if let Some(Node::List(lines)) = body.get("refund_line_items")
        && paid_back.is_none()
    {
        let of = |key: &'static str| lines.iter().filter_map(move |line| amount(line.get(key)?));
        let sum: Decimal = of("subtotal").sum::<Decimal>() + of("total_tax").sum::<Decimal>();
        paid_back = Some(sum).filter(|sum| !sum.is_zero());
    }
    if let Some(paid_back) = paid_back {
        words.number("adjusts.amount", paid_back);
    }
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
