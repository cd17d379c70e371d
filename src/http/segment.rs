//! Segment's tracking API, so that its SDKs and RudderStack's work by changing their host, with the
//! little that their browsers ask for before they send.
//!
//! `{"success": true}` means on disk. Where every event is refused the answer is 400, which these SDKs
//! do not try again; 429 and 503 they do.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{ConnectInfo, Path, Request, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{
    Relay, auth, body, cors, count,
    error::ApiError,
    ingest::{Visit, run_told, settle},
    visitor,
};
use crate::{
    clock::Stopwatch,
    config::{KeyKind, Right},
    sources::{self, json::Node, told},
};

/// The calls with the last part of their paths: the whole word, and the letter of browsers' SDKs.
const CALLS: [(&str, &str, Option<&str>); 7] = [
    ("batch", "b", None),
    ("track", "t", Some("track")),
    ("page", "p", Some("page")),
    ("screen", "s", Some("screen")),
    ("identify", "i", Some("identify")),
    ("group", "g", Some("group")),
    ("alias", "a", Some("alias")),
];

const ROUTE: &str = "/v1/batch";

pub(super) fn routes() -> Router<Arc<Relay>> {
    let mut router = Router::new();
    for (word, letter, call) in CALLS {
        let paths = [
            format!("/v1/{word}"),
            format!("/v1/{letter}"),
            format!("/{letter}"),
            format!("/beacon/v1/{word}"),
        ];
        for path in paths {
            let answer = move |State(relay): State<Arc<Relay>>, request: Request| async move {
                take(relay, request, call).await
            };
            router = router.route(&path, post(answer).options(cors::preflight));
        }
    }
    router
        .route("/v1/projects/{key}/settings", get(settings).options(cors::preflight))
        .route("/sourceConfig", get(source_config).options(cors::preflight))
        .route("/sourceConfig/", get(source_config).options(cors::preflight))
        .route("/v1/sourceConfig", get(source_config).options(cors::preflight))
}

async fn take(relay: Arc<Relay>, request: Request, call: Option<&'static str>) -> Response {
    let watch = Stopwatch::start();
    let (parts, mut body) = request.into_parts();
    let mut response = match read(&relay, &parts, &mut body, call).await {
        Ok((status, answer)) => (status, Json(answer)).into_response(),
        Err(error) => {
            body::drain(body, &parts.headers).await;
            error.into_response()
        }
    };
    let config = relay.config.load();
    cors::allow(&config, &parts.headers, &mut response);
    count::request(ROUTE, response.status(), watch.elapsed());
    response
}

async fn read(
    relay: &Relay,
    parts: &Parts,
    body: &mut Body,
    call: Option<&str>,
) -> Result<(StatusCode, Value), ApiError> {
    let config = relay.config.load_full();
    // No content type is asked for: browsers' SDKs send text/plain to spare a preflight, and packed
    // bodies of a backend's come as a form.
    let query = parts.uri.query().unwrap_or_default();
    let in_query = auth::parameter(query, "writeKey");
    // A key that is known before the body is read is held to its limits before it is read.
    let early = auth::write_key_or(&config, &parts.headers, in_query.as_deref()).ok();
    if let Some(key) = early {
        visitor::admit(relay, &config, key, parts)?;
    }
    let bytes = body::read(body, &parts.headers, body::AtMost::request(&config.limits)).await?;
    let now = (relay.clock)();
    let (batch, calls) = {
        let node = sources::one(&bytes, &config.limits)?;
        let in_body = node.get("writeKey").and_then(Node::as_text);
        let given = in_query.as_deref().or(in_body);
        let key = auth::write_key_or(&config, &parts.headers, given)?;
        auth::right(key, Right::Events)?;
        if early.is_none() {
            visitor::admit(relay, &config, key, parts)?;
        }
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let visit = Visit::of(key, peer.map(|info| info.0), &parts.headers, &config);
        let outcomes = told::around(&config, call, None, |e| told::SEGMENT.read(&node, e));
        let calls = outcomes.len();
        (run_told(relay, &config, outcomes, &visit, now)?, calls)
    };
    let (status, mut answer) = settle(relay, &config, batch, now).await?;
    let rejected = answer.get_mut("rejected").map(Value::take).unwrap_or_default();
    let refused = rejected.as_array().map_or(0, Vec::len);
    if status == StatusCode::UNPROCESSABLE_ENTITY && refused == calls {
        let first = rejected.get(0).cloned().unwrap_or_default();
        let answer = json!({
            "success": false,
            "code": first.get("code"),
            "detail": first.get("message"),
            "rejected": rejected,
        });
        return Ok((StatusCode::BAD_REQUEST, answer));
    }
    let mut answer = json!({"success": true});
    if let (1.., Some(answer)) = (refused, answer.as_object_mut()) {
        answer.insert("rejected".to_owned(), rejected);
    }
    Ok((StatusCode::OK, answer))
}

/// What Segment's browser SDK asks its content network for: no integration of its own, and where to
/// send.
async fn settings(
    State(relay): State<Arc<Relay>>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Response {
    let config = relay.config.load_full();
    let answer = auth::write_key_or(&config, &HeaderMap::new(), Some(&key));
    let known = answer.and_then(|key| match key.kind {
        KeyKind::Browser => visitor::check_origin(key, &headers),
        KeyKind::Server => Err(ApiError::not_allowed("a server's key has no place in a browser")),
    });
    let mut response = match known {
        Ok(()) => {
            let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
            let mut own = json!({"apiKey": key, "unbundledIntegrations": []});
            if let (Some(host), Some(own)) = (host, own.as_object_mut()) {
                own.insert("apiHost".to_owned(), json!(format!("{host}/v1")));
            }
            let plan = json!({"track": {"__default": {"enabled": true, "integrations": {}}}});
            Json(json!({"integrations": {"Segment.io": own}, "plan": plan})).into_response()
        }
        Err(error) => error.into_response(),
    };
    cors::allow(&config, &headers, &mut response);
    response
}

/// What RudderStack's browser SDK asks its control plane for: a source without destinations of its
/// own.
async fn source_config(State(relay): State<Arc<Relay>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let config = relay.config.load_full();
    let given = auth::parameter(parts.uri.query().unwrap_or_default(), "writeKey");
    let known = auth::write_key_or(&config, &parts.headers, given.as_deref());
    let known = known.and_then(|key| match key.kind {
        KeyKind::Browser => visitor::check_origin(key, &parts.headers).map(|()| key),
        KeyKind::Server => Err(ApiError::not_allowed("a server's key has no place in a browser")),
    });
    let mut response = match known {
        Ok(key) => Json(json!({
            "source": {
                "id": key.name,
                "name": key.name,
                "writeKey": given,
                "enabled": true,
                "workspaceId": "conversion-relay",
                "config": {"statsCollection": {
                    "errors": {"enabled": false}, "metrics": {"enabled": false},
                }},
                "destinations": [],
                "connections": [],
                "dataplanes": {},
            },
            "updatedAt": null,
        }))
        .into_response(),
        Err(error) => error.into_response(),
    };
    cors::allow(&config, &parts.headers, &mut response);
    response
}
