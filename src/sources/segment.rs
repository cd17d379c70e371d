//! Segment's tracking API, which RudderStack's SDKs speak too: a call → an event. Names stay the
//! sender's own; the plan's `from` says what they are.
//!
//! <https://www.twilio.com/docs/segment/connections/sources/catalog/libraries/server/http-api>,
//! <https://www.twilio.com/docs/segment/connections/spec/ecommerce/v2>,
//! <https://www.rudderstack.com/docs/api/http-api/> (checked 2026-11-22).

use std::borrow::Cow;

use rust_decimal::Decimal;

use super::{
    Asked, Envelope, Outcome, Rejection, RejectionCode, consent,
    json::Node,
    switches::{Switches, plain},
    typed::Path,
    words::{Words, amount, at, click_id},
};
use crate::plan::Kind;

/// The kinds of calls that become events; `group` and `alias` are answered and ignored.
const CALLS: [&str; 6] = ["track", "page", "screen", "identify", "group", "alias"];

/// Tells of a change of somebody's choice, often a withdrawal. It is heard wherever events are, and
/// needs no place in the plan.
/// <https://www.twilio.com/docs/segment/privacy/consent-management/consent-in-segment-connections>
/// (checked 2026-11-22).
const PREFERENCE: &str = "Segment Consent Preference Updated";

/// Names under which a call without a name of its own may be planned.
const NAMES: [(&str, &[&str]); 3] = [
    ("page", &["page", "page_view", "Page Viewed"]),
    ("screen", &["screen", "screen_view", "Screen Viewed"]),
    ("identify", &["identify"]),
];

/// Where identity stands in traits, and where it belongs.
const TRAITS: [(&[&str], &str); 20] = [
    (&["email"], "user.email"),
    (&["phone"], "user.phone"),
    (&["firstName"], "user.first_name"),
    (&["first_name"], "user.first_name"),
    (&["firstname"], "user.first_name"),
    (&["lastName"], "user.last_name"),
    (&["last_name"], "user.last_name"),
    (&["lastname"], "user.last_name"),
    (&["gender"], "user.gender"),
    (&["birthday"], "user.date_of_birth"),
    (&["address", "street"], "user.street"),
    (&["address", "city"], "user.city"),
    (&["address", "state"], "user.region"),
    (&["address", "region"], "user.region"),
    (&["address", "postalCode"], "user.postal_code"),
    (&["address", "postal_code"], "user.postal_code"),
    (&["address", "zip"], "user.postal_code"),
    (&["address", "country"], "user.country"),
    (&["company", "name"], "user.company"),
    (&["title"], "user.job_title"),
];

const CONTEXT: [(&[&str], &str); 23] = [
    (&["ip"], "context.ip"),
    (&["userAgent"], "context.user_agent"),
    (&["page", "url"], "context.page_url"),
    (&["page", "referrer"], "context.referrer"),
    (&["page", "initial_referrer"], "context.initial_referrer"),
    (&["locale"], "context.locale"),
    (&["sessionId"], "context.session_id"),
    (&["device", "type"], "context.device_type"),
    (&["campaign", "source"], "context.campaign.source"),
    (&["campaign", "medium"], "context.campaign.medium"),
    (&["campaign", "name"], "context.campaign.name"),
    (&["campaign", "term"], "context.campaign.term"),
    (&["campaign", "content"], "context.campaign.content"),
    (&["app", "namespace"], "context.app.id"),
    (&["app", "version"], "context.app.version"),
    (&["os", "name"], "context.app.os"),
    (&["os", "version"], "context.app.os_version"),
    (&["device", "model"], "context.app.device_model"),
    (&["device", "advertisingId"], "context.app.advertising_id"),
    (&["device", "id"], "context.app.vendor_id"),
    (&["consent"], "context.consent"),
    (&["consentManagement"], "context.consentManagement"),
    (&["timezone"], "context.timezone"),
];

/// Properties with a name of their own here.
const PROPERTIES: [(&str, &str); 13] = [
    ("revenue", "properties.value"),
    ("total", "properties.value"),
    ("value", "properties.value"),
    ("currency", "properties.currency"),
    ("order_id", "properties.order_id"),
    ("orderId", "properties.order_id"),
    ("tax", "properties.tax"),
    ("shipping", "properties.shipping"),
    ("discount", "properties.discount"),
    ("coupon", "properties.coupon"),
    ("query", "properties.search_term"),
    ("session_id", "context.session_id"),
    ("products", "properties.items"),
];

/// Ids of a visitor's browser in Google Analytics, as the options of that integration name them.
/// RudderStack's: <https://www.rudderstack.com/docs/destinations/streaming-destinations/google-analytics-4/cloud-mode/>
/// (checked 2026-11-22).
const ANALYTICS_IDS: [(&str, &str); 3] = [
    ("clientid", "click_ids.ga_client_id"),
    ("sessionid", "click_ids.ga_session_id"),
    ("appinstanceid", "click_ids.ga_app_instance_id"),
];

const ITEM: [(&str, &str); 11] = [
    ("product_id", "id"),
    ("productId", "id"),
    ("sku", "id"),
    ("id", "id"),
    ("name", "name"),
    ("brand", "brand"),
    ("category", "category"),
    ("variant", "variant"),
    ("quantity", "quantity"),
    ("price", "price"),
    ("discount", "discount"),
];

/// The calls of a request: one, or those of a batch, each with the batch's `sentAt`, `context` and
/// `integrations` where it has none of its own.
pub(super) fn read<'a>(body: &Node<'a>, envelope: &Envelope<'_>) -> Vec<Outcome<'a>> {
    let Some(batch) = body.get("batch") else {
        return vec![call(body, &Node::Null, envelope, "")];
    };
    let Node::List(calls) = batch else {
        let message = format!("expected a list of calls, not {}", batch.kind());
        return vec![Err(Path::Root.key("batch").invalid(message))];
    };
    let pointers = (0..calls.len()).map(|at| format!("/batch/{at}"));
    let envelope = Envelope { call: None, ..*envelope };
    calls.iter().zip(pointers).map(|(one, at)| call(one, body, &envelope, &at)).collect()
}

fn call<'a>(
    call: &Node<'a>,
    batch: &Node<'a>,
    envelope: &Envelope<'_>,
    place: &str,
) -> Outcome<'a> {
    let id = call.get("messageId").and_then(Node::as_text).map(str::to_owned);
    translate(call, batch, envelope, place).map_err(|mut rejection| {
        rejection.event_id = id;
        rejection
    })
}

fn translate<'a>(
    call: &Node<'a>,
    batch: &Node<'a>,
    envelope: &Envelope<'_>,
    place: &str,
) -> Outcome<'a> {
    let here = |path: &str| format!("{place}{path}");
    if let Node::Flawed(flaw) = call {
        return Err(Rejection::new(RejectionCode::InvalidField, flaw.to_string(), place));
    }
    if !matches!(call, Node::Object(_)) {
        let message = format!("expected a call, not {}", call.kind());
        return Err(Rejection::new(RejectionCode::InvalidField, message, place));
    }
    let kind = envelope.call.or_else(|| call.get("type").and_then(Node::as_text));
    let Some(kind) = kind.filter(|kind| CALLS.contains(kind)) else {
        let message = format!("every call has a type: one of {}", CALLS.join(", "));
        return Err(Rejection::new(RejectionCode::MissingField, message, here("/type")));
    };
    if matches!(kind, "group" | "alias") {
        return Ok(None);
    }
    let mut words = Words::default();
    name(&mut words, call, kind, envelope, &here)?;

    words.put_text("event_id", call.get("messageId"), &here("/messageId"));
    let (shared, own) = (batch.get("context"), call.get("context"));
    let contexts = [(own, here("/context")), (shared, "/context".to_owned())];
    times(&mut words, call, batch, &here);

    words.put_text("user.external_id", call.get("userId"), &here("/userId"));
    words.put_text("user.anonymous_id", call.get("anonymousId"), &here("/anonymousId"));
    let traits = if kind == "identify" { call.get("traits") } else { None };
    identity(&mut words, traits, &here("/traits"));
    for (context, at) in &contexts {
        let Some(context) = context else { continue };
        identity(&mut words, context.get("traits"), &format!("{at}/traits"));
        signals(&mut words, context.get("consent"), &format!("{at}/consent"));
        circumstances(&mut words, context, at);
        external_ids(&mut words, context.get("externalId"), &format!("{at}/externalId"));
    }
    signals(&mut words, call.get("consent"), &here("/consent"));
    let integrations = [(call, here("/integrations")), (batch, "/integrations".to_owned())];
    for (holder, at) in &integrations {
        analytics_ids(&mut words, holder.get("integrations"), at);
    }
    let source = if contexts.iter().any(|(context, _)| context.is_some_and(is_app)) {
        "app"
    } else {
        "website"
    };
    words.say("action_source", source);
    if let Some(properties) = call.get("properties") {
        self::properties(&mut words, properties, &here("/properties"), envelope)?;
    }
    words.count_items();
    let switches = [call.get("integrations"), batch.get("integrations")];
    let switches = Switches::read(switches.into_iter().flatten().next());
    // Pages and identities are told by every snippet on its own: without a place in the plan they
    // are counted, not refused. So is a choice that comes as an event.
    let is_choice =
        call.get("event").and_then(Node::as_text).is_some_and(|name| name == PREFERENCE);
    let counts_unplanned = kind != "track" || is_choice;
    let asked = Asked { switches, counts_unplanned, identifies: kind == "identify" };
    Ok(Some(words.told(asked)))
}

fn name<'a>(
    words: &mut Words<'a>,
    call: &Node<'a>,
    kind: &str,
    envelope: &Envelope<'_>,
    here: &dyn Fn(&str) -> String,
) -> Result<(), Rejection> {
    let Some((_, names)) = NAMES.iter().find(|(name, _)| *name == kind) else {
        return match call.get("event") {
            Some(Node::Null) | None => {
                let message = "a track call names its event";
                Err(Rejection::new(RejectionCode::MissingField, message, here("/event")))
            }
            named => {
                words.put("event", named, &here("/event"));
                Ok(())
            }
        };
    };
    let planned = names.iter().find(|name| (envelope.planned)(name).is_some());
    words.say("event", planned.or(names.first()).map_or("", |name| *name).to_owned());
    Ok(())
}

/// `originalTimestamp` is by the sender's clock, as `sentAt` is; what of `timestamp` is left where it
/// is missing is the same.
fn times<'a>(
    words: &mut Words<'a>,
    call: &Node<'a>,
    batch: &Node<'a>,
    here: &dyn Fn(&str) -> String,
) {
    words.put("timestamp", call.get("originalTimestamp"), &here("/originalTimestamp"));
    words.put("timestamp", call.get("timestamp"), &here("/timestamp"));
    words.put("sent_at", call.get("sentAt"), &here("/sentAt"));
    words.put("sent_at", batch.get("sentAt"), "/sentAt");
}

fn identity<'a>(words: &mut Words<'a>, traits: Option<&Node<'a>>, place: &str) {
    let Some(traits) = traits else { return };
    for (keys, path) in TRAITS {
        words.put_text(path, at(traits, keys), &format!("{place}/{}", keys.join("/")));
    }
    if let Some(company @ Node::Text(_)) = traits.get("company") {
        words.put("user.company", Some(company), &format!("{place}/company"));
    }
}

/// Signals under the relay's own names, which stand beside the categories where a site puts more
/// into its calls than Segment knows of: an opt-out must not be lost on the way.
fn signals<'a>(words: &mut Words<'a>, consent: Option<&Node<'a>>, place: &str) {
    let Some(consent @ Node::Object(_)) = consent else { return };
    for key in consent::FIELDS {
        words.put(&format!("consent.{key}"), consent.get(key), &format!("{place}/{key}"));
    }
}

fn circumstances<'a>(words: &mut Words<'a>, context: &Node<'a>, place: &str) {
    for (keys, path) in CONTEXT {
        let node = at(context, keys);
        let theirs = format!("{place}/{}", keys.join("/"));
        if matches!(keys, ["consent" | "consentManagement"]) {
            words.put(path, node, &theirs);
        } else {
            words.put_text(path, node, &theirs);
        }
    }
    click_ids(words, context, place);
    for key in ["clickIds", "click_ids"] {
        if let Some(ids) = context.get(key) {
            click_ids(words, ids, &format!("{place}/{key}"));
        }
    }
}

/// Click ids that stand where the sender put them, under the interface's names.
fn click_ids<'a>(words: &mut Words<'a>, node: &Node<'a>, place: &str) {
    let Node::Object(members) = node else { return };
    for (key, value) in members {
        if let Some(field) = click_id(key.trim_start_matches('_'))
            && matches!(value, Node::Text(_) | Node::Number(_))
        {
            let path = format!("click_ids.{}", field.key());
            words.put_text(&path, Some(value), &format!("{place}/{key}"));
        }
    }
}

/// What the sender hands over to Google Analytics, by any of the names that its SDKs give it.
fn analytics_ids<'a>(words: &mut Words<'a>, integrations: Option<&Node<'a>>, place: &str) {
    let Some(Node::Object(integrations)) = integrations else { return };
    for (name, options) in integrations {
        let Node::Object(options) = options else { continue };
        if !is_analytics(&plain(name)) {
            continue;
        }
        for (option, value) in options {
            let plain = plain(option);
            if let Some((_, path)) = ANALYTICS_IDS.iter().find(|(known, _)| *known == plain) {
                words.put_text(path, Some(value), &format!("{place}/{name}/{option}"));
            }
        }
    }
}

/// The same as RudderStack's external ids: `{"type": "ga4ClientId", "id": "..."}`.
fn external_ids<'a>(words: &mut Words<'a>, ids: Option<&Node<'a>>, place: &str) {
    let Some(Node::List(ids)) = ids else { return };
    for (at, one) in ids.iter().enumerate() {
        let Some(kind) = one.get("type").and_then(Node::as_text).map(plain) else { continue };
        let known = ANALYTICS_IDS.iter().find(|(known, _)| kind.ends_with(known));
        if let Some((_, path)) = known.filter(|_| is_analytics(&kind)) {
            words.put_text(path, one.get("id"), &format!("{place}/{at}/id"));
        }
    }
}

/// Whether a name, letters and digits only, means Google Analytics 4: `GA4`, `Google Analytics 4 Cloud`.
fn is_analytics(name: &str) -> bool {
    name.contains("googleanalytics")
        || name.strip_prefix("ga").is_some_and(|rest| rest.starts_with('4'))
}

/// An app has no page; browsers' SDKs name themselves as apps, too.
fn is_app(context: &Node<'_>) -> bool {
    at(context, &["page", "url"]).is_none()
        && (at(context, &["app", "namespace"]).is_some()
            || at(context, &["device", "advertisingId"]).is_some())
}

fn properties<'a>(
    words: &mut Words<'a>,
    properties: &Node<'a>,
    place: &str,
    envelope: &Envelope<'_>,
) -> Result<(), Rejection> {
    let Node::Object(members) = properties else {
        if super::typed::is_absent(properties) {
            return Ok(());
        }
        let message = format!("expected an object, not {}", properties.kind());
        return Err(Rejection::new(RejectionCode::InvalidField, message, place));
    };
    let is_adjustment = words
        .get("event")
        .and_then(Node::as_text)
        .is_some_and(|name| (envelope.planned)(name) == Some(Kind::Adjustment));
    for (key, path) in PROPERTIES {
        let node = properties.get(key);
        let theirs = format!("{place}/{key}");
        match path {
            "properties.items" => {
                if let Some(node) = node {
                    words.whole(path, &items(node), &theirs);
                }
            }
            "properties.value" if is_adjustment => words.put("adjusts.amount", node, &theirs),
            "properties.order_id" if is_adjustment => {
                words.put("adjusts.order_id", node, &theirs);
            }
            _ => words.put(path, node, &theirs),
        }
    }
    if is_adjustment {
        let name = words.get("event").and_then(Node::as_text).unwrap_or_default();
        let cancels = name.to_ascii_lowercase().contains("cancel");
        words.say("adjusts.type", if cancels { "cancel" } else { "refund" });
    }
    product(words, properties, place);
    click_ids(words, properties, place);
    let page = [("url", "context.page_url"), ("referrer", "context.referrer")];
    for (key, path) in page {
        words.put(path, properties.get(key), &format!("{place}/{key}"));
    }
    for (key, value) in members {
        let known = PROPERTIES.iter().any(|(name, _)| name == key)
            || page.iter().any(|(name, _)| name == key)
            || click_id(key.trim_start_matches('_')).is_some();
        // Dots would be steps of a path; nobody names a property so.
        if !known && !key.contains('.') {
            words.put(&format!("properties.{key}"), Some(value), &format!("{place}/{key}"));
        }
    }
    Ok(())
}

/// An event about one product has it at the top level; it is worth what its units cost.
fn product<'a>(words: &mut Words<'a>, properties: &Node<'a>, place: &str) {
    let is_one = ["product_id", "productId", "sku"].iter().any(|key| properties.get(key).is_some());
    if !is_one || properties.get("products").is_some() {
        return;
    }
    let mut of = Words::default();
    for (key, path) in ITEM {
        // Those of the event as a whole: its discount, and an id that may be anything's.
        if !matches!(key, "discount" | "id") {
            of.put(path, properties.get(key), &format!("{place}/{key}"));
        }
    }
    words.whole("properties.items", &Node::List(vec![of.node()]), place);
    if let Some(price) = properties.get("price").and_then(amount) {
        let quantity = properties.get("quantity").and_then(amount).unwrap_or(Decimal::ONE);
        if let Some(worth) = price.checked_mul(quantity) {
            let worth = Node::Number(worth.normalize().to_string().into());
            words.whole("properties.value", &worth, &format!("{place}/price"));
        }
    }
}

/// Products under the names of items; what is no list is left for the reader to refuse.
fn items<'a>(node: &Node<'a>) -> Node<'a> {
    let Node::List(products) = node else { return node.clone() };
    Node::List(products.iter().map(item).collect())
}

fn item<'a>(product: &Node<'a>) -> Node<'a> {
    let Node::Object(members) = product else { return product.clone() };
    let mut of: Vec<(Cow<'a, str>, Node<'a>)> = Vec::with_capacity(members.len());
    for (theirs, own) in ITEM {
        if let Some(node) = product.get(theirs)
            && !super::typed::is_absent(node)
            && !of.iter().any(|(key, _)| key == own)
        {
            of.push((Cow::Borrowed(own), node.clone()));
        }
    }
    let others = members.iter().filter(|(key, _)| !ITEM.iter().any(|(name, _)| name == key));
    of.extend(others.cloned());
    Node::Object(of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::json;

    fn ids(call: &str) -> (Option<String>, Option<String>) {
        let node = json::parse(call, 9).unwrap();
        let envelope = Envelope { call: None, site: None, live: false, planned: &|_| None };
        let told = read(&node, &envelope).remove(0).unwrap().unwrap();
        let of = |key: &str| {
            let ids = told.node.get("click_ids")?;
            ids.get(key).and_then(Node::as_text).map(str::to_owned)
        };
        (of("ga_client_id"), of("ga_session_id"))
    }

    fn heard(call: &str) -> (Option<Node<'_>>, bool) {
        let node = json::parse(call, 9).unwrap();
        let envelope = Envelope { call: None, site: None, live: false, planned: &|_| None };
        let told = read(&node, &envelope).remove(0).unwrap().unwrap();
        (told.node.get("consent").cloned(), told.asked.counts_unplanned)
    }

    #[test]
    fn signals_beside_the_categories_are_heard() {
        let consent = r#"{"gpc": true, "us_privacy": "1YYN", "ad_storage": "denied",
            "categoryPreferences": {"C0004": true}, "version": 2}"#;
        for call in [
            format!(r#"{{"type": "track", "event": "x", "context": {{"consent": {consent}}}}}"#),
            format!(r#"{{"type": "track", "event": "x", "consent": {consent}}}"#),
            format!(
                r#"{{"batch": [{{"type": "track", "event": "x"}}], "context": {{"consent": {consent}}}}}"#
            ),
        ] {
            let (heard, counts_unplanned) = heard(&call);
            let heard = heard.unwrap();
            assert!(!counts_unplanned);
            assert_eq!(heard.get("gpc"), Some(&Node::Bool(true)), "{call}");
            assert_eq!(heard.get("us_privacy").and_then(Node::as_text), Some("1YYN"));
            assert_eq!(heard.get("ad_storage").and_then(Node::as_text), Some("denied"));
            assert!(heard.get("version").is_none() && heard.get("categoryPreferences").is_none());
        }
        assert!(heard(r#"{"type": "track", "event": "Segment Consent Preference Updated"}"#).1);
    }

    #[test]
    fn what_is_handed_over_to_google_analytics_is_the_events() {
        for (integrations, client, session) in [
            (r#"{"Google Analytics 4": {"clientId": "1.2", "sessionId": "9"}}"#, "1.2", "9"),
            (r#"{"Google Analytics 4 (GA4)": {"clientId": "1.2", "sessionId": 9}}"#, "1.2", "9"),
            (r#"{"GA4": {"client_id": "1.2", "session_id": "9"}}"#, "1.2", "9"),
            (r#"{"GA4_V2": {"clientId": "1.2"}}"#, "1.2", ""),
            (r#"{"Actions Google Analytics 4": {"clientId": "1.2"}}"#, "1.2", ""),
            (r#"{"Amplitude": {"session_id": "9"}, "Gainsight": {"clientId": "4"}}"#, "", ""),
            (r#"{"Google Analytics 4": true, "All": false}"#, "", ""),
            (r#"[]"#, "", ""),
        ] {
            let own =
                format!(r#"{{"type": "track", "event": "x", "integrations": {integrations}}}"#);
            let shared = format!(
                r#"{{"batch": [{{"type": "track", "event": "x"}}], "integrations": {integrations}}}"#
            );
            let expected = [client, session].map(|id| (!id.is_empty()).then(|| id.to_owned()));
            for call in [own, shared] {
                assert_eq!(<[_; 2]>::from(ids(&call)), expected, "{call}");
            }
        }
        let external = r#"{"type": "track", "event": "x", "context": {"externalId": [
            {"type": "brazeExternalId", "id": "7"}, {"type": "ga4ClientId", "id": "1.2"}]}}"#;
        assert_eq!(ids(external).0.as_deref(), Some("1.2"));
    }
}
