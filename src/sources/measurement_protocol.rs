//! GA4's Measurement Protocol: a request of up to 25 events → events, and the answers of its
//! validation server.
//!
//! <https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference>,
//! <https://developers.google.com/analytics/devguides/collection/protocol/ga4/user-properties>,
//! <https://developers.google.com/analytics/devguides/collection/protocol/ga4/validating-events>
//! (checked 2026-11-22).

use std::borrow::Cow;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{
    Asked, Envelope, Outcome, Rejection, RejectionCode,
    json::Node,
    words::{Words, amount, at, click_id},
};
use crate::{consent::Purpose, plan::Kind};

/// Events of one request.
const MOST_EVENTS: usize = 25;
/// Parameters of one event, and letters of a name.
const MOST_PARAMETERS: usize = 25;
const LONGEST_NAME: usize = 40;

/// Names that only Google's own tags may send.
const RESERVED: [&str; 21] = [
    "ad_activeview",
    "ad_click",
    "ad_exposure",
    "ad_query",
    "ad_reward",
    "adunit_exposure",
    "app_clear_data",
    "app_exception",
    "app_install",
    "app_remove",
    "app_store_refund",
    "app_update",
    "app_upgrade",
    "dynamic_link_app_open",
    "error",
    "firebase_campaign",
    "first_open",
    "first_visit",
    "os_update",
    "session_start",
    "user_engagement",
];

const PERSON: [(&[&str], &str); 20] = [
    (&["user_data", "sha256_email_address"], "user.email"),
    (&["user_data", "email_address"], "user.email"),
    (&["user_data", "sha256_phone_number"], "user.phone"),
    (&["user_data", "phone_number"], "user.phone"),
    (&["user_id"], "user.external_id"),
    (&["client_id"], "user.anonymous_id"),
    (&["app_instance_id"], "user.anonymous_id"),
    (&["client_id"], "click_ids.ga_client_id"),
    (&["app_instance_id"], "click_ids.ga_app_instance_id"),
    (&["ip_override"], "context.ip"),
    (&["user_agent"], "context.user_agent"),
    (&["user_location", "city"], "user.city"),
    (&["device", "category"], "context.device_type"),
    (&["device", "language"], "context.locale"),
    (&["device", "operating_system"], "context.app.os"),
    (&["device", "operating_system_version"], "context.app.os_version"),
    (&["device", "model"], "context.app.device_model"),
    (&["user_location", "country_id"], "user.country"),
    (&["user_location", "country_id"], "consent.region"),
    (&["user_location", "region_id"], "consent.region"),
];

const ADDRESS: [(&str, &str); 10] = [
    ("sha256_first_name", "user.first_name"),
    ("first_name", "user.first_name"),
    ("sha256_last_name", "user.last_name"),
    ("last_name", "user.last_name"),
    ("sha256_street", "user.street"),
    ("street", "user.street"),
    ("city", "user.city"),
    ("region", "user.region"),
    ("postal_code", "user.postal_code"),
    ("country", "user.country"),
];

const PARAMETERS: [(&str, &str); 18] = [
    ("event_id", "event_id"),
    ("value", "properties.value"),
    ("currency", "properties.currency"),
    ("transaction_id", "properties.order_id"),
    ("tax", "properties.tax"),
    ("shipping", "properties.shipping"),
    ("coupon", "properties.coupon"),
    ("search_term", "properties.search_term"),
    ("items", "properties.items"),
    ("session_id", "context.session_id"),
    ("ga_session_id", "context.session_id"),
    ("page_location", "context.page_url"),
    ("page_referrer", "context.referrer"),
    ("campaign", "context.campaign.name"),
    ("source", "context.campaign.source"),
    ("medium", "context.campaign.medium"),
    ("term", "context.campaign.term"),
    ("content", "context.campaign.content"),
];

const ITEM: [(&str, &str); 8] = [
    ("item_id", "id"),
    ("item_name", "name"),
    ("item_brand", "brand"),
    ("item_category", "category"),
    ("item_variant", "variant"),
    ("quantity", "quantity"),
    ("price", "price"),
    ("discount", "discount"),
];

/// The events of a request.
pub(super) fn read<'a>(body: &Node<'a>, envelope: &Envelope<'_>) -> Vec<Outcome<'a>> {
    let refused =
        |code, path: &str, message: String| vec![Err(Rejection::new(code, message, path))];
    if !matches!(body, Node::Object(_)) {
        let message = format!("expected a request of the protocol, not {}", body.kind());
        return refused(RejectionCode::InvalidField, "", message);
    }
    match body.get("events") {
        Some(Node::List(events)) if events.len() > MOST_EVENTS => {
            let message = format!("a request has at most {MOST_EVENTS} events");
            refused(RejectionCode::TooLarge, "/events", message)
        }
        Some(Node::List(events)) => {
            let pointers = (0..events.len()).map(|at| format!("/events/{at}"));
            events.iter().zip(pointers).map(|(one, at)| event(one, body, envelope, &at)).collect()
        }
        Some(other) => {
            let message = format!("expected a list of events, not {}", other.kind());
            refused(RejectionCode::InvalidField, "/events", message)
        }
        None => {
            let message = "a request has its events: \"events\": [...]".to_owned();
            refused(RejectionCode::MissingField, "/events", message)
        }
    }
}

fn event<'a>(
    event: &Node<'a>,
    body: &Node<'a>,
    envelope: &Envelope<'_>,
    place: &str,
) -> Outcome<'a> {
    let invalid =
        |path: String, message: String| Rejection::new(RejectionCode::InvalidField, message, path);
    if let Node::Flawed(flaw) = event {
        return Err(invalid(place.to_owned(), flaw.to_string()));
    }
    if !matches!(event, Node::Object(_)) {
        let message = format!("expected an event, not {}", event.kind());
        return Err(invalid(place.to_owned(), message));
    }
    let mut words = Words::default();
    let Some(name) = event.get("name").filter(|name| **name != Node::Null) else {
        let message = "an event has a name";
        return Err(Rejection::new(RejectionCode::MissingField, message, format!("{place}/name")));
    };
    words.put("event", Some(name), &format!("{place}/name"));
    let is_adjustment =
        name.as_text().is_some_and(|name| (envelope.planned)(name) == Some(Kind::Adjustment));
    time(&mut words, event, &format!("{place}/timestamp_micros"))?;
    time(&mut words, body, "/timestamp_micros")?;
    words.stands(place);
    words.say("site", envelope.site.unwrap_or_default().to_owned());
    person(&mut words, body);
    consent(&mut words, body)?;
    user_properties(&mut words, body);

    let params = event.get("params").unwrap_or(&Node::Null);
    if let Node::Object(members) = params {
        let place = format!("{place}/params");
        for (key, path) in PARAMETERS {
            let path = match path {
                "properties.value" if is_adjustment => "adjusts.amount",
                "properties.order_id" if is_adjustment => "adjusts.order_id",
                path => path,
            };
            let theirs = format!("{place}/{key}");
            match (key, params.get(key)) {
                ("items", Some(node)) => words.whole(path, &items(node), &theirs),
                ("value" | "currency" | "tax" | "shipping", node) => words.put(path, node, &theirs),
                (_, node) => words.put_text(path, node, &theirs),
            }
        }
        for key in ["session_id", "ga_session_id"] {
            words.put_text("click_ids.ga_session_id", params.get(key), &format!("{place}/{key}"));
        }
        for (key, value) in members {
            if PARAMETERS.iter().any(|(known, _)| known == key) || key.contains('.') {
                continue;
            }
            let theirs = format!("{place}/{key}");
            match click_id(key) {
                Some(field) => {
                    words.put_text(&format!("click_ids.{}", field.key()), Some(value), &theirs);
                }
                None => words.put(&format!("properties.{key}"), Some(value), &theirs),
            }
        }
    } else if !super::typed::is_absent(params) {
        let message = format!("expected an object, not {}", params.kind());
        return Err(invalid(format!("{place}/params"), message));
    }
    if is_adjustment {
        words.say("adjusts.type", "refund");
    }
    let is_app = envelope.call == Some("app") || at(body, &["app_instance_id"]).is_some();
    words.say("action_source", if is_app { "app" } else { "website" });
    words.count_items();
    Ok(Some(words.told(Asked::default())))
}

/// Microseconds, as a number or a text, are milliseconds here.
fn time<'a>(words: &mut Words<'a>, node: &Node<'a>, place: &str) -> Result<(), Rejection> {
    let Some(micros) = at(node, &["timestamp_micros"]) else { return Ok(()) };
    let millis = amount(micros)
        .filter(|micros| {
            micros.fract().is_zero() && *micros >= Decimal::from(100_000_000_000_000i64)
        })
        .map(|micros| micros / Decimal::from(1000));
    let Some(millis) = millis else {
        let message = "expected microseconds since 1970";
        return Err(Rejection::new(RejectionCode::InvalidField, message, place));
    };
    let number = Node::Number(millis.normalize().to_string().into());
    words.whole("timestamp", &number, place);
    Ok(())
}

fn person<'a>(words: &mut Words<'a>, body: &Node<'a>) {
    for (keys, path) in PERSON {
        // A region is the more exact word of where the person is.
        if path == "consent.region"
            && keys == ["user_location", "country_id"]
            && at(body, &["user_location", "region_id"]).is_some()
        {
            continue;
        }
        let theirs = format!("/{}", keys.join("/"));
        match at(body, keys) {
            several @ Some(Node::List(_)) => words.put(path, several, &theirs),
            one => words.put_text(path, one, &theirs),
        }
    }
    let address = match at(body, &["user_data", "address"]) {
        Some(Node::List(several)) => several.first().map(|one| (one, "/user_data/address/0")),
        Some(one) => Some((one, "/user_data/address")),
        None => None,
    };
    if let Some((address, place)) = address {
        for (key, path) in ADDRESS {
            words.put_text(path, address.get(key), &format!("{place}/{key}"));
        }
    }
}

/// What a tag's own requests say in their query of consent, by the consent object's names.
const IN_QUERY: [&str; 5] = ["gcs", "gcd", "us_privacy", "gpp", "gpp_sid"];

/// Adds what the query says of consent to every event, where the body says nothing of that name;
/// `npa=1` is a refusal whatever else is said.
/// <https://developers.google.com/tag-platform/security/guides/consent> (checked 2026-11-22)
pub fn with_query<'a>(
    mut outcomes: Vec<Outcome<'a>>,
    said: &dyn Fn(&str) -> Option<String>,
) -> Vec<Outcome<'a>> {
    let mut signals: Vec<(&'static str, Node<'a>)> = Vec::new();
    for name in IN_QUERY {
        let Some(text) = said(name).filter(|text| !text.trim().is_empty()) else { continue };
        let node = match name {
            "gpp_sid" => {
                let numbers = text.split([',', '_']).map(|one| Node::Number(one.trim().into()));
                Node::List(numbers.collect())
            }
            _ => Node::Text(Cow::Owned(text)),
        };
        signals.push((name, node));
    }
    let is_refused = said("npa").is_some_and(|text| text.trim() == "1");
    for told in outcomes.iter_mut().flatten().flatten() {
        let Node::Object(members) = &mut told.node else { continue };
        let place = members.iter().position(|(key, _)| key == "consent").unwrap_or_else(|| {
            members.push(("consent".into(), Node::Object(Vec::new())));
            members.len() - 1
        });
        let Some((_, Node::Object(consent))) = members.get_mut(place) else { continue };
        for (name, node) in &signals {
            if !consent.iter().any(|(key, _)| key == name) {
                consent.push(((*name).into(), node.clone()));
            }
        }
        if is_refused {
            consent.retain(|(key, _)| key != "ad_personalization");
            consent.push(("ad_personalization".into(), Node::Text("denied".into())));
        }
        if consent.is_empty() {
            members.remove(place);
        }
    }
    outcomes
}

/// Google reads two purposes; here all are, and whatever else is said. What cannot be read is refused:
/// it may have been a refusal.
fn consent<'a>(words: &mut Words<'a>, body: &Node<'a>) -> Result<(), Rejection> {
    let is_set = match body.get("non_personalized_ads") {
        Some(Node::Bool(value)) => *value,
        Some(Node::Text(text)) => matches!(text.trim(), "true" | "1"),
        Some(Node::Number(number)) => number.as_ref() == "1",
        _ => false,
    };
    if is_set {
        words.say("consent.ad_personalization", "denied");
    }
    match body.get("consent") {
        Some(Node::Object(members)) => {
            for (key, said) in members {
                let (path, theirs) = (format!("consent.{key}"), format!("/consent/{key}"));
                match said {
                    Node::Text(text) if Purpose::parse(key).is_some() => {
                        let word = Node::Text(Cow::Owned(text.trim().to_ascii_lowercase()));
                        words.whole(&path, &word, &theirs);
                    }
                    other => words.put(&path, Some(other), &theirs),
                }
            }
            Ok(())
        }
        Some(other) if !super::typed::is_absent(other) => {
            let message = format!("expected an object of purposes, not {}", other.kind());
            Err(Rejection::new(RejectionCode::InvalidField, message, "/consent"))
        }
        _ => Ok(()),
    }
}

/// What a user's properties say, without the envelope that each has: `{"tier": {"value": "gold"}}`.
fn user_properties<'a>(words: &mut Words<'a>, body: &Node<'a>) {
    let Some(Node::Object(members)) = body.get("user_properties") else { return };
    let plain =
        members.iter().map(|(key, one)| (key.clone(), one.get("value").unwrap_or(one).clone()));
    let plain = Node::Object(plain.collect());
    words.whole("context.user_properties", &plain, "/user_properties");
}

fn items<'a>(node: &Node<'a>) -> Node<'a> {
    let Node::List(items) = node else { return node.clone() };
    let item = |item: &Node<'a>| {
        let Node::Object(members) = item else { return item.clone() };
        let named = |key: &str| ITEM.iter().find(|(theirs, _)| *theirs == key).map(|(_, own)| *own);
        let renamed = members.iter().map(|(key, node)| {
            (named(key).map_or_else(|| key.clone(), Cow::Borrowed), node.clone())
        });
        Node::Object(renamed.collect())
    };
    Node::List(items.iter().map(item).collect())
}

/// What Google's validation server says of a request, before the relay's own rules.
pub fn validate(body: &Node<'_>, is_app: bool) -> Vec<Value> {
    let mut found = Vec::new();
    let (id, name) =
        if is_app { ("app_instance_id", "app_instance_id") } else { ("client_id", "client_id") };
    if at(body, &[id]).is_none() {
        found.push(message(name, &format!("[{name}] is required."), "VALUE_REQUIRED"));
    }
    let events = match body.get("events") {
        Some(Node::List(events)) => events.as_slice(),
        _ => &[],
    };
    if events.is_empty() {
        found.push(message("events", "Measurement requires at least one event.", "VALUE_REQUIRED"));
        return found;
    }
    if events.len() > MOST_EVENTS {
        let description = format!("A request has at most {MOST_EVENTS} events.");
        found.push(message("events", &description, "EXCEEDED_MAX_ENTITIES"));
    }
    for (index, event) in events.iter().enumerate() {
        let name = event.get("name").and_then(Node::as_text).unwrap_or_default();
        let mut say = |what: &str, code: &str| {
            let description = format!("Event at index: [{index}] has {what}");
            found.push(message("events", &description, code));
        };
        if name.is_empty() {
            say("no name.", "VALUE_REQUIRED");
        } else if let Some(why) = bad_name(name) {
            say(&format!("invalid name [{name}]. {why}"), "NAME_INVALID");
        } else if RESERVED.contains(&name) {
            say(&format!("the reserved name [{name}]."), "NAME_RESERVED");
        }
        if let Some(Node::Object(params)) = event.get("params") {
            if params.len() > MOST_PARAMETERS {
                let what = format!("more than {MOST_PARAMETERS} parameters.");
                say(&what, "EXCEEDED_MAX_ENTITIES");
            }
            for (key, _) in params {
                if let Some(why) = bad_name(key) {
                    say(&format!("an invalid parameter name [{key}]. {why}"), "NAME_INVALID");
                }
            }
            let has = |key: &str| params.iter().any(|(name, _)| name == key);
            if has("value") && !has("currency") {
                say("a [value] without [currency].", "VALUE_REQUIRED");
            }
        }
    }
    found
}

/// What the relay's own rules say of a request, in the same shape.
pub fn explained(rejection: &Rejection) -> Value {
    let code = match rejection.code {
        RejectionCode::MissingField | RejectionCode::SiteUnknown => "VALUE_REQUIRED",
        RejectionCode::UnknownEvent | RejectionCode::UnknownField => "NAME_INVALID",
        RejectionCode::InFuture => "VALUE_OUT_OF_BOUNDS",
        RejectionCode::TooLarge => "EXCEEDED_MAX_ENTITIES",
        RejectionCode::InvalidField | RejectionCode::NotAllowed => "VALUE_INVALID",
    };
    let path = rejection.path.trim_start_matches('/').replace('/', ".");
    message(&path, &rejection.message, code)
}

fn message(field: &str, description: &str, code: &str) -> Value {
    json!({"fieldPath": field, "description": description, "validationCode": code})
}

fn bad_name(name: &str) -> Option<&'static str> {
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Some("Names must start with an alphabetic character.");
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Some("Names may only have alphanumeric characters and underscores.");
    }
    (name.chars().count() > LONGEST_NAME).then_some("Names have at most 40 characters.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::json;

    #[test]
    fn what_a_tag_says_in_its_query_is_heard_and_takes_nothing_back() {
        let consent = |more: &str, query: &[(&str, &str)]| {
            let body = format!(r#"{{"client_id": "1.2", "events": [{{"name": "x"}}]{more}}}"#);
            let node = json::parse(&body, 9).unwrap();
            let envelope = Envelope { call: None, site: None, live: false, planned: &|_| None };
            let said = |name: &str| {
                query.iter().find(|(key, _)| *key == name).map(|(_, text)| (*text).to_owned())
            };
            let told = with_query(read(&node, &envelope), &said).remove(0).unwrap().unwrap();
            let Some(Node::Object(members)) = told.node.get("consent") else { return Vec::new() };
            let text = |node: &Node<'_>| match node {
                Node::List(numbers) => format!("{} sections", numbers.len()),
                other => other.as_text().unwrap_or_default().to_owned(),
            };
            members.iter().map(|(key, said)| format!("{key}: {}", text(said))).collect()
        };
        assert!(consent("", &[]).is_empty());
        assert!(consent("", &[("gcs", " "), ("site", "shop_us")]).is_empty());
        assert_eq!(
            consent("", &[("gcs", "G100"), ("gcd", "13p3"), ("gpp", "DBA"), ("gpp_sid", "7,8")]),
            ["gcs: G100", "gcd: 13p3", "gpp: DBA", "gpp_sid: 2 sections"]
        );
        assert_eq!(
            consent(
                r#", "consent": {"ad_personalization": "GRANTED", "gcs": "G111"}"#,
                &[("npa", "1"), ("gcs", "G100"), ("us_privacy", "1YYN")]
            ),
            ["gcs: G111", "us_privacy: 1YYN", "ad_personalization: denied"]
        );
    }

    /// What a body says of consent, or what is refused.
    fn consent_of(more: &str) -> Result<Value, String> {
        let body = format!(r#"{{"client_id": "1.2", {more}, "events": [{{"name": "x"}}]}}"#);
        let node = json::parse(&body, 9).unwrap();
        let envelope = Envelope { call: None, site: None, live: false, planned: &|_| None };
        let told = read(&node, &envelope).remove(0).map_err(|rejection| rejection.path)?.unwrap();
        let Some(Node::Object(members)) = told.node.get("consent") else { return Ok(json!({})) };
        let text = |node: &Node<'_>| node.as_text().map_or(Value::Null, Value::from);
        Ok(Value::Object(members.iter().map(|(key, one)| (key.to_string(), text(one))).collect()))
    }

    #[test]
    fn every_refusal_is_read_and_what_is_none_is_refused() {
        for (more, expected) in [
            (r#""consent": {"ad_storage": "DENIED"}"#, Ok(json!({"ad_storage": "denied"}))),
            (
                r#""consent": {"analytics_storage": " DENIED "}"#,
                Ok(json!({"analytics_storage": "denied"})),
            ),
            (r#""consent": {"ad_user_data": "GRANTED"}"#, Ok(json!({"ad_user_data": "granted"}))),
            // For the reader to refuse, by its name or its type.
            (r#""consent": {"ad_storge": "DENIED"}"#, Ok(json!({"ad_storge": "DENIED"}))),
            (r#""consent": {"ad_storage": false}"#, Ok(json!({"ad_storage": null}))),
            (r#""non_personalized_ads": true"#, Ok(json!({"ad_personalization": "denied"}))),
            (
                r#""non_personalized_ads": 1, "consent": {"ad_personalization": "GRANTED"}"#,
                Ok(json!({"ad_personalization": "denied"})),
            ),
            (r#""consent": "denied""#, Err("/consent".to_owned())),
            (r#""consent": ["denied"]"#, Err("/consent".to_owned())),
            (r#""consent": false"#, Err("/consent".to_owned())),
            (r#""consent": null"#, Ok(json!({}))),
        ] {
            assert_eq!(consent_of(more), expected, "{more}");
        }
    }

    #[test]
    fn a_request_has_an_event_to_be_valid() {
        for (body, expected) in [
            (r#"{"client_id": "1.2", "events": []}"#, 1),
            (r#"{"client_id": "1.2"}"#, 1),
            (r#"{"client_id": "1.2", "events": [{"name": "x"}]}"#, 0),
        ] {
            let found = validate(&json::parse(body, 9).unwrap(), false);
            assert_eq!(found.len(), expected, "{body}: {found:?}");
        }
    }
}
