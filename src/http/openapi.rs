//! The API's own description, put together from the same lists that the code decides by.

use std::sync::Arc;

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};

use super::Relay;
use crate::{
    consent::Purpose,
    event::{ActionSource, Class, Field},
    sources::{RejectionCode, WarningCode},
};

pub(super) fn routes() -> Router<Arc<Relay>> {
    Router::new().route("/openapi.json", get(|| async { Json(document()) }))
}

/// The whole description: OpenAPI 3.1.
fn document() -> Value {
    let mut paths = paths();
    add_refusals(&mut paths);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "conversion-relay",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "First-party events in, conversion API requests out. The admin calls are served by the admin listener.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "write_key": {"type": "http", "scheme": "bearer"},
                "write_key_basic": {"type": "http", "scheme": "basic", "description": "The write key as the user name."},
                "write_key_query": {"type": "apiKey", "in": "query", "name": "api_secret"},
                "admin_token": {"type": "http", "scheme": "bearer"},
            },
            "schemas": schemas(),
        },
    })
}

/// A call of Segment's tracking API.
fn segment_call(summary: &str) -> Value {
    let done = json!({"type": "object", "properties": {
        "success": {"type": "boolean"}, "rejected": {"type": "array", "items": {"type": "object"}},
    }});
    json!({"post": {
        "summary": summary,
        "security": [{"write_key_basic": []}, {"write_key": []}],
        "requestBody": {"required": true, "content": {"application/json": {"schema": {"type": "object"}}}},
        "responses": {
            "200": answer("On disk", &done),
            "400": answer("Malformed JSON, or every event was rejected", &done),
            "401": refusal("No known write key"),
            "403": refusal("The write key lacks a right, or the page's origin is not its own"),
            "413": refusal("Too many bytes or events"),
            "429": refusal("The write key's rate limit, with Retry-After"),
            "503": refusal("The queue is full or the disk fails, with Retry-After"),
        },
    }})
}

fn paths() -> Value {
    let event = json!({"$ref": "#/components/schemas/Event"});
    let keys = json!([{"write_key": []}, {"write_key_basic": []}, {"write_key_query": []}]);
    let explain = json!({
        "name": "explain", "in": "query", "schema": {"type": "boolean"},
        "description": "Adds what `explain` would print; the write key needs the right `explain`.",
    });
    let bodies = json!({
        "application/json": {"schema": {"oneOf": [
            event,
            {"type": "array", "items": event},
            {"type": "object", "required": ["events"], "properties": {"events": {"type": "array", "items": event}}},
        ]}},
        "application/x-ndjson": {"schema": {"type": "string", "description": "An event a line."}},
    });
    let counted = answer(
        "How many",
        &json!({"type": "object", "properties": {"count": {"type": "integer"}}}),
    );
    let state = answer(
        "The destination's state",
        &json!({"type": "object", "properties": {
            "name": {"type": "string"}, "state": {"type": "string"},
        }}),
    );
    let any = |description: &str| answer(description, &json!({"type": "object"}));
    let name =
        json!([{"name": "name", "in": "path", "required": true, "schema": {"type": "string"}}]);
    let filter = |more: Option<(&str, Value)>| {
        let mut properties = json!({
            "destination": {"type": "string"}, "reason": {"type": "string"}, "group": {"type": "string"},
            "ids": {"type": "array", "items": {"type": "string"}, "description": "These only; an empty list is none. Absent: any."},
        });
        if let (Some(properties), Some((name, schema))) = (properties.as_object_mut(), more) {
            properties.insert(name.to_owned(), schema);
        }
        let schema =
            json!({"type": "object", "additionalProperties": false, "properties": properties});
        json!({"required": true, "content": {"application/json": {"schema": schema}}})
    };
    let pending = (
        "pending",
        json!({"type": "boolean", "description": "With `destination` and nothing else: also all that waits for it, such as one that left the configuration."}),
    );
    let order = json!({"oneOf": [{"type": "string"}, {
        "type": "object", "required": ["order_id"],
        "properties": {"order_id": {"type": "string"}, "site": {"type": "string"}},
    }]});
    let orders = json!({"required": true, "content": {"application/json": {"schema": {
        "type": "object", "required": ["orders"],
        "properties": {"orders": {"type": "array", "items": order}},
    }}}});
    let reached = answer(
        "How many queued items were stopped, and who had something of the person before",
        &json!({"type": "object", "properties": {
            "count": {"type": "integer"}, "recipients": {"type": "array", "items": {"type": "string"}},
        }}),
    );
    let list = json!([
        {"name": "destination", "in": "query", "schema": {"type": "string"}},
        {"name": "reason", "in": "query", "schema": {"type": "string"}},
        {"name": "group", "in": "query", "schema": {"type": "string"}},
        {"name": "limit", "in": "query", "schema": {"type": "integer", "default": 100, "maximum": 10_000}, "description": "At most so many; never more than 10,000."},
    ]);
    let evidence = json!([
        {"name": "from", "in": "query", "schema": {"type": "string", "format": "date-time"}},
        {"name": "to", "in": "query", "schema": {"type": "string", "format": "date-time"}},
        {"name": "site", "in": "query", "schema": {"type": "string"}},
        {"name": "event_id", "in": "query", "schema": {"type": "string"}},
    ]);
    let acts = json!([
        {"name": "from", "in": "query", "schema": {"type": "string", "format": "date-time"}},
        {"name": "to", "in": "query", "schema": {"type": "string", "format": "date-time"}},
        {"name": "who", "in": "query", "schema": {"type": "string"}},
    ]);
    let tag = json!([
        {"name": "m", "in": "query", "schema": {"type": "string"}, "description": "Modules, with commas between: pages, scroll, video, links, forms."},
        {"name": "v", "in": "query", "schema": {"type": "string"}, "description": "The version, which may be kept for good."},
    ]);
    json!({
        "/v1/events": {"post": {
            "summary": "Takes events; answered when they are on disk.",
            "security": keys,
            "parameters": [explain, {
                "name": "X-Relay-Door", "in": "header",
                "schema": {"type": "string", "enum": ["import", "send"]},
                "description": "Server keys only: the events come from a file. Their times are not corrected, and `import` is the door `door:import`",
            }],
            "requestBody": {"required": true, "content": bodies},
            "responses": {
                "202": answer("What became of the events", &json!({"$ref": "#/components/schemas/Answer"})),
                "422": answer("Every event was rejected", &json!({"$ref": "#/components/schemas/Answer"})),
                "400": refusal("Malformed JSON, with line and column"),
                "401": refusal("No known write key"),
                "403": refusal("The write key lacks a right"),
                "408": refusal("The body did not arrive in time"),
                "413": refusal("Too many bytes or events"),
                "415": refusal("Another content type or encoding than is read"),
                "429": refusal("The write key's rate limit, with Retry-After"),
                "503": refusal("The queue is full or the disk fails, with Retry-After"),
            },
        }},
        "/v1/consent": {"post": {
            "summary": "Remembers a choice for later events of the person that carry no signal, and applies it to what is queued; answered when both are on disk.",
            "security": keys,
            "requestBody": {"required": true, "content": {"application/json": {"schema": {
                "type": "object", "required": ["user", "consent"], "additionalProperties": false,
                "properties": {
                    "user": {"$ref": "#/components/schemas/Event/properties/user"},
                    "consent": {"$ref": "#/components/schemas/Event/properties/consent"},
                    "site": {"type": "string"},
                },
            }}}},
            "responses": {
                "202": answer("It is remembered", &json!({"type": "object", "properties": {
                    "accepted": {"type": "integer"},
                    "queued_changed": {"type": "integer", "description": "What was queued and is stopped by it, or leaves with less"},
                }})),
                "400": refusal("Malformed JSON, with line and column"),
                "401": refusal("No known write key"),
                "403": refusal("The write key lacks the right `consent`, or may not send for the site"),
                "413": refusal("Too many bytes"),
                "415": refusal("Another content type or encoding than is read"),
                "422": refusal("No person, no choice, no site, or a field that is not what it should be"),
                "429": refusal("The write key's rate limit, with Retry-After"),
                "503": refusal("The disk fails, with Retry-After"),
            },
        }},
        "/v1/batch": segment_call("A batch of calls."),
        "/v1/track": segment_call("An event."),
        "/v1/page": segment_call("A page was seen."),
        "/v1/screen": segment_call("A screen was seen."),
        "/v1/identify": segment_call("Who somebody is."),
        "/v1/group": segment_call("Answered and ignored."),
        "/v1/alias": segment_call("Answered and ignored."),
        "/mp/collect": {"post": {
            "summary": "GA4's Measurement Protocol; answered when the events are on disk.",
            "security": [{"write_key_query": []}],
            "requestBody": {"required": true, "content": {"application/json": {"schema": {"type": "object"}}}},
            "responses": {
                "204": {"description": "On disk"},
                "400": refusal("Malformed JSON, with line and column"),
                "401": refusal("No known write key"),
                "413": refusal("Too many bytes"),
                "422": answer("Every event was rejected", &json!({"$ref": "#/components/schemas/Answer"})),
                "429": refusal("The write key's rate limit, with Retry-After"),
                "503": refusal("The queue is full or the disk fails, with Retry-After"),
            },
        }},
        "/debug/mp/collect": {"post": {
            "summary": "What is wrong with a request of the Measurement Protocol; keeps nothing.",
            "security": [{"write_key_query": []}],
            "requestBody": {"required": true, "content": {"application/json": {"schema": {"type": "object"}}}},
            "responses": {"200": answer("What is wrong", &json!({"type": "object", "properties": {
                "validationMessages": {"type": "array", "items": {"type": "object", "properties": {
                    "fieldPath": {"type": "string"}, "description": {"type": "string"},
                    "validationCode": {"type": "string"},
                }}},
            }}))},
        }},
        "/v1/webhooks/{name}": {"post": {
            "summary": "A signed delivery; answered when its events are on disk.",
            "parameters": name,
            "requestBody": {"required": true, "content": {"application/json": {"schema": {"type": "object"}}}},
            "responses": {
                "202": answer("What became of the event", &json!({"$ref": "#/components/schemas/Answer"})),
                "400": refusal("Malformed JSON, with line and column"),
                "401": refusal("A wrong signature, an old time, or a delivery that was taken before"),
                "404": refusal("No webhook of this name"),
                "413": refusal("Too many bytes"),
                "422": answer("The event was rejected", &json!({"$ref": "#/components/schemas/Answer"})),
                "503": refusal("The queue is full or the disk fails, with Retry-After"),
            },
        }},
        "/v1/beacon": {"post": {
            "summary": "Takes a browser's events: as `POST /v1/events`, from the key's origins only. Sets the site's own cookies where the events' consent allows, and removes them where it does not.",
            "security": [{"write_key": []}, {"write_key_basic": []}, {"write_key_query": []}, {}],
            "parameters": [
                {"name": "key", "in": "query", "schema": {"type": "string"}, "description": "The browser's write key, where neither a header nor the body has it."},
                explain,
            ],
            "requestBody": {"required": true, "content": {"text/plain": {"schema": {
                "type": "object", "required": ["events"], "additionalProperties": false,
                "properties": {
                    "key": {"type": "string", "description": "The browser's write key."},
                    "events": {"type": "array", "items": event},
                    "consent": {"$ref": "#/components/schemas/Event/properties/consent", "description": "A choice that takes an earlier one back, of the person whom the relay's cookie names."},
                },
            }}}},
            "responses": {
                "202": answer("What became of the events", &json!({"$ref": "#/components/schemas/Answer"})),
                "422": answer("Every event was rejected", &json!({"$ref": "#/components/schemas/Answer"})),
                "400": refusal("Malformed JSON, with line and column"),
                "401": refusal("No known write key"),
                "403": refusal("An origin that the key does not list, a server's key, or a right that is missing"),
                "408": refusal("The body did not arrive in time"),
                "413": refusal("Too many bytes or events"),
                "415": refusal("Another content type or encoding than is read"),
                "429": refusal("The key's or the address's rate limit, with Retry-After"),
                "503": refusal("The queue is full or the disk fails, with Retry-After"),
            },
        }},
        "/v1/relay.js": {"get": {
            "summary": "The browser's tag, with the modules that `m` names.",
            "parameters": tag,
            "responses": {
                "200": {"description": "The script", "content": {"text/javascript": {"schema": {"type": "string"}}}},
                "304": {"description": "As it was"},
                "404": refusal("No such module"),
            },
        }},
        "/v1/relay.js.json": {"get": {
            "summary": "What to write into a page: the versioned path, the integrity hash, the sizes.",
            "parameters": tag,
            "responses": {"200": any("`path`, `integrity`, `modules`, `bytes`, `gzip_bytes`"), "404": refusal("No such module")},
        }},
        "/healthz": {"get": {"summary": "Alive.", "responses": {"200": any("Alive")}}},
        "/readyz": {"get": {"summary": "Ready to accept.", "responses": {
            "200": any("Ready"), "503": refusal("The queue or the disk is full, the store fails, or the relay is stopping"),
        }}},
        "/openapi.json": {"get": {"summary": "This description.", "responses": {"200": any("OpenAPI 3.1")}}},
        "/admin/v1/stats": admin_call("get", "The books of every destination.", &any("The books"), &json!({})),
        "/admin/v1/dead": admin_call("get", "Dead letters, newest first.",
            &answer("Dead letters", &json!({"type": "array", "items": {"type": "object"}})), &json!({"parameters": list})),
        "/admin/v1/dead/groups": admin_call("get", "Dead letters by cause: the platform's words, what to do, and the command that replays them.",
            &any("`groups`, the most frequent first; `others`: letters of further causes"), &json!({"parameters": list})),
        "/admin/v1/alerts": admin_call("get", "The alerts that fire.",
            &answer("Alerts", &json!({"type": "array", "items": {"type": "object"}})), &json!({})),
        "/admin/v1/orders": admin_call("post", "What became of the events of up to 10,000 orders.", &any("`orders`, one for each that was asked for, in that order"),
            &json!({"requestBody": orders})),
        "/admin/v1/dead/replay": admin_call("post", "Sends dead letters again.", &counted, &json!({"requestBody": filter(None)})),
        "/admin/v1/dead/discard": admin_call("post", "Throws dead letters away.", &counted, &json!({"requestBody": filter(Some(pending))})),
        "/admin/v1/events/{event_id}": admin_call("get", "An event's whole trace.", &any("Copies, decisions, attempts, outcomes"),
            &json!({"parameters": [{"name": "event_id", "in": "path", "required": true, "schema": {"type": "string"}}]})),
        "/admin/v1/destinations/{name}/pause": admin_call("post", "Pauses a destination.", &state, &json!({"parameters": name})),
        "/admin/v1/destinations/{name}/resume": admin_call("post", "Resumes a destination.", &state, &json!({"parameters": name})),
        "/admin/v1/config/reload": admin_call("post", "Reads the configuration anew; 422 with what `check` says.",
            &any("The configuration's hash, and how many queued events it will withhold"), &json!({})),
        "/admin/v1/evidence": admin_call("get", "The decision log, a record a line as it was hashed.", &any("NDJSON"), &json!({"parameters": evidence})),
        "/admin/v1/evidence/verify": admin_call("get", "Whether the decision log is whole: what was changed, moved, taken out or cut off.", &any("`ok`, `records`, `head`, `problems`"), &json!({})),
        "/admin/v1/audit": admin_call("get", "The admin log: who did what, when, and what came of it.", &any("NDJSON: `at`, `who`, `from`, `method`, `call`, `status`, `code`, `detail`"), &json!({"parameters": acts})),
        "/admin/v1/privacy/withdraw": admin_call("post", "Withdraws a person's consent, for `purposes` or for all; reaches what is queued, retried or dead.", &reached, &json!({"requestBody": person(true)})),
        "/admin/v1/privacy/erase": admin_call("post", "Erases a person: what is queued, dead letters, traces, frequency marks and remembered choices. A tombstone stays.", &reached, &json!({"requestBody": person(false)})),
        "/admin/v1/privacy/export": admin_call("post", "Everything held about a person, and everything sent.", &any("The data"), &json!({"requestBody": person(false)})),
        "/metrics": admin_call("get", "Metrics for Prometheus.",
            &json!({"description": "Prometheus text", "content": {"text/plain": {}}}), &json!({})),
    })
}

fn answer(description: &str, schema: &Value) -> Value {
    json!({"description": description, "content": {"application/json": {"schema": schema}}})
}

/// The body of a privacy call: whom it is about.
fn person(has_purposes: bool) -> Value {
    let mut properties = json!({
        "site": {"type": "string", "description": "Whose controller is asked; may be left out where there is one site"},
        "user": {"$ref": "#/components/schemas/Event/properties/user"},
    });
    if let (true, Some(properties)) = (has_purposes, properties.as_object_mut()) {
        let names: Vec<&str> = Purpose::ALL.iter().map(|(_, name)| *name).collect();
        let purposes = json!({"type": "array", "items": {"type": "string", "enum": names}, "description": "All four where absent"});
        properties.insert("purposes".to_owned(), purposes);
    }
    json!({"required": true, "content": {"application/json": {"schema": {
        "type": "object", "required": ["user"], "additionalProperties": false, "properties": properties,
    }}}})
}

fn refusal(description: &str) -> Value {
    answer(description, &json!({"$ref": "#/components/schemas/Error"}))
}

/// What admin calls refuse besides what their parameters and bodies make them refuse.
const REFUSALS: [(&str, &str, &str); 8] = [
    ("/admin/v1/dead/replay", "404", "No such destination"),
    ("/admin/v1/dead/discard", "404", "No such destination"),
    ("/admin/v1/events/{event_id}", "404", "Nothing is kept of such an event"),
    ("/admin/v1/destinations/{name}/pause", "404", "No such destination"),
    ("/admin/v1/destinations/{name}/resume", "404", "No such destination"),
    ("/admin/v1/privacy/withdraw", "422", UNREAD_PERSON),
    ("/admin/v1/privacy/erase", "422", UNREAD_PERSON),
    ("/admin/v1/privacy/export", "422", UNREAD_PERSON),
];
const UNREAD_PERSON: &str = "No person, no site, or a field that is not what it should be";

fn admin_call(method: &str, summary: &str, success: &Value, more: &Value) -> Value {
    let mut responses = json!({
        "200": success,
        "401": refusal("No known admin token"),
        "403": refusal("The token lacks the role"),
        "429": refusal("Too many wrong admin tokens came from this address, with Retry-After"),
        "503": refusal("The store or the disk fails, or the relay is stopping, with Retry-After"),
    });
    let refuses = |status: &str, why: &str| (status.to_owned(), refusal(why));
    if let Some(responses) = responses.as_object_mut() {
        let is_in_query = |one: &Value| one.get("in").is_some_and(|place| place == "query");
        let parameters = more.get("parameters").and_then(Value::as_array);
        if parameters.is_some_and(|all| all.iter().any(is_in_query)) {
            responses.extend([refuses("400", "A parameter that is not what it should be")]);
        }
        if more.get("requestBody").is_some() {
            responses.extend([
                refuses("400", "Malformed JSON, or a field that is not what it should be"),
                refuses("408", "The body did not arrive in time"),
                refuses("413", "Too many bytes"),
                refuses("415", "Another encoding than is read"),
            ]);
        }
    }
    let mut call =
        json!({"summary": summary, "security": [{"admin_token": []}], "responses": responses});
    if let (Some(call), Some(more)) = (call.as_object_mut(), more.as_object()) {
        call.extend(more.clone());
    }
    json!({ method: call })
}

/// Adds what only some calls answer.
fn add_refusals(paths: &mut Value) {
    let mut add = |path: &str, status: &str, answer: Value| {
        let call = paths.get_mut(path).and_then(|call| call.as_object_mut()?.values_mut().next());
        let responses = call.and_then(|call| call.get_mut("responses")?.as_object_mut());
        if let Some(responses) = responses {
            responses.insert(status.to_owned(), answer);
        }
    };
    for (path, status, why) in REFUSALS {
        add(path, status, refusal(why));
    }
    let findings = json!({"type": "object", "properties": {
        "config": {"type": "null"}, "errors": {"type": "integer"}, "warnings": {"type": "integer"},
        "findings": {"type": "array", "items": {"type": "object", "properties": {
            "severity": {"type": "string", "enum": ["error", "warning"]}, "file": {"type": "string"},
            "line": {"type": "integer", "description": "From 1; 0 where the file as a whole is meant"},
            "path": {"type": "string"}, "message": {"type": "string"},
        }}},
    }});
    add(
        "/admin/v1/config/reload",
        "422",
        answer("What `check` says; the old one stands", &findings),
    );
}

fn schemas() -> Value {
    let names = |codes: Vec<&str>| json!({"type": "string", "enum": codes});
    let rejected = names(RejectionCode::ALL.iter().map(|code| code.name()).collect());
    let warned = names(WarningCode::ALL.iter().map(|code| code.name()).collect());
    let count = json!({"type": "integer"});
    json!({
        "Error": {
            "type": "object",
            "required": ["code", "detail"],
            "properties": {"code": {"type": "string"}, "detail": {"type": "string"}},
        },
        "Answer": {
            "type": "object",
            "properties": {
                "accepted": count, "duplicate": count, "suppressed": count, "criteria_not_met": count,
                "unplanned": count, "test": count, "held": count, "derived_ids": count,
                "warnings": {"type": "array", "items": {"type": "object", "properties": {
                    "index": count, "code": warned, "message": {"type": "string"},
                }}},
                "rejected": {"type": "array", "items": {"type": "object", "properties": {
                    "index": count, "event_id": {"type": ["string", "null"]}, "code": rejected,
                    "message": {"type": "string"}, "path": {"type": "string"},
                }}},
                "explain": {"type": "array", "items": {"type": "object"}},
            },
        },
        "Event": event(),
    })
}

/// The event, its groups made from the closed list of fields.
fn event() -> Value {
    let sources: Vec<&str> = ActionSource::ALL.iter().map(|(_, name)| *name).collect();
    let text = json!({"type": "string"});
    let time = json!({"type": ["string", "number"], "description": "RFC 3339 with an offset, or epoch seconds or milliseconds"});
    let money = json!({"type": ["string", "number"], "description": "An exact decimal"});
    let group = |prefix: &str, open: bool| {
        let mut properties = serde_json::Map::new();
        for field in Field::ALL {
            let Some(key) = field.path().strip_prefix(prefix) else { continue };
            if key.contains(['.', '*']) {
                continue;
            }
            let schema = match field {
                Field::Email | Field::Phone | Field::ExternalId => {
                    json!({"oneOf": [text, {"type": "array", "items": text}]})
                }
                Field::Value
                | Field::Tax
                | Field::Shipping
                | Field::Discount
                | Field::Cost
                | Field::NetRevenue
                | Field::PredictedLtv => money.clone(),
                Field::Experiment => json!({"type": "object"}),
                Field::Items => json!({"type": "array", "items": {"type": "object"}}),
                other if other.class() == Class::Click => json!({"type": ["string", "integer"]}),
                _ => text.clone(),
            };
            properties.insert(key.to_owned(), schema);
        }
        json!({"type": "object", "properties": properties, "additionalProperties": open})
    };
    let mut user = group("user.", false);
    if let Some(Value::Object(properties)) = user.get_mut("properties") {
        properties.insert("minor".to_owned(), json!({"type": "boolean"}));
    }
    let mut consent = serde_json::Map::new();
    for (_, name) in Purpose::ALL {
        consent.insert(name.to_owned(), json!({"type": "string", "enum": ["granted", "denied"]}));
    }
    for name in ["tcf", "additional_consent", "gpp", "us_privacy", "gcs", "gcd", "region", "id"] {
        consent.insert(name.to_owned(), json!({"type": "string"}));
    }
    for name in ["gpc", "dnt", "gdpr_applies"] {
        consent.insert(name.to_owned(), json!({"type": "boolean"}));
    }
    let map = |of: &str| json!({"type": "object", "additionalProperties": {"type": of}});
    consent.insert("categories".to_owned(), map("boolean"));
    consent.insert("cookies".to_owned(), map("string"));
    consent.insert("gpp_sid".to_owned(), json!({"type": "array", "items": {"type": "integer"}}));
    json!({
        "type": "object",
        "required": ["event"],
        "additionalProperties": false,
        "properties": {
            "event": text, "event_id": text, "timestamp": time, "sent_at": time, "site": text,
            "action_source": {"type": "string", "enum": sources},
            "test": {"type": "boolean"},
            "user": user,
            "context": group("context.", true),
            "click_ids": group("click_ids.", true),
            "lead": group("lead.", true),
            "consent": {"type": "object", "properties": consent},
            "properties": group("properties.", true),
            "adjusts": {"type": "object", "properties": {
                "order_id": text, "event_id": text, "amount": money,
                "timestamp": {"type": ["string", "number"], "description": "when the original happened"},
                "type": {"type": "string", "enum": ["refund", "cancel", "restate"]},
            }},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_resolves() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(reference)) = map.get("$ref") {
                        found.push(reference.clone());
                    }
                    map.values().for_each(|value| references(value, found));
                }
                Value::Array(list) => list.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }

    #[test]
    fn what_some_calls_refuse_names_calls_that_there_are() {
        let document = document();
        for (path, status, why) in REFUSALS {
            let call = document["paths"][path].as_object().unwrap_or_else(|| panic!("{path}"));
            let said = &call.values().next().unwrap()["responses"][status]["description"];
            assert_eq!(said, why, "{path}");
        }
    }

    #[test]
    fn the_event_lists_the_fields() {
        let event = event();
        assert!(event.pointer("/properties/user/properties/email/oneOf").is_some());
        assert_eq!(event.pointer("/properties/user/additionalProperties"), Some(&json!(false)));
        assert!(event.pointer("/properties/click_ids/properties/gclid").is_some());
        assert!(event.pointer("/properties/properties/properties/items").is_some());
    }
}
