//! What a privacy officer does for a person: withdraw, erase, export. Each call names the person by
//! any of their identifiers, and the site whose controller is asked.

use std::sync::Arc;

use axum::{
    Extension, Json, Router, body::Body, extract::State, http::HeaderMap, response::IntoResponse,
    routing::post,
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Relay, acts::Detail, auth, body, consent::refused, error::ApiError};
use crate::{
    config::{AdminRole, Config},
    consent::{
        Purpose,
        memory::{Choice, Vendors, Word},
        traits,
    },
    identity::Digest,
    pipeline::{self, TraceRecord},
    queue::{Dossier, IdHash, LeasedJob, MarksOf},
    sources::{self, json::Node},
};

/// The largest body of a call.
const BODY_BYTES: usize = 1 << 20;

pub(super) fn routes() -> Router<Arc<Relay>> {
    Router::new()
        .route("/admin/v1/privacy/withdraw", post(withdraw))
        .route("/admin/v1/privacy/erase", post(erase))
        .route("/admin/v1/privacy/export", post(export))
}

/// Whom a call is about, and who asks.
struct Asked {
    who: String,
    config: Arc<Config>,
    site: String,
    controller: String,
    subjects: Vec<IdHash>,
    purposes: Vec<Purpose>,
    now: Timestamp,
}

impl Asked {
    async fn of(
        relay: &Relay,
        headers: &HeaderMap,
        mut body: Body,
        may_have_purposes: bool,
    ) -> Result<Self, ApiError> {
        let config = relay.config.load_full();
        let who = auth::admin(&config, headers, &[AdminRole::Privacy])?.name.clone();
        let body = body::read(&mut body, headers, body::AtMost::always(BODY_BYTES)).await?;
        let now = (relay.clock)();
        let node = sources::one(&body, &config.limits)?;
        let (node, purposes) = split(node, may_have_purposes)?;
        let (site, person) = pipeline::person(&config, &relay.key, &node, now).map_err(refused)?;
        let (site, controller) = (site.name.clone(), site.controller.clone());
        Ok(Self { who, config, site, controller, subjects: person, purposes, now })
    }

    /// What the decision log says of the call.
    fn words(&self, act: &str, more: Map<String, Value>) -> Vec<u8> {
        let of = (self.site.as_str(), self.controller.as_str());
        pipeline::act(act, of, &self.subjects, &self.who, more)
    }

    /// The frequency records of a person at every site of the controller.
    fn marks(&self, relay: &Relay) -> MarksOf {
        let sites = self.config.sites.values().filter(|site| site.controller == self.controller);
        let sites: Vec<String> = sites.map(|site| site.name.clone()).collect();
        let key = relay.key.clone();
        Arc::new(move |subject| sites.iter().map(|site| key.marks(site, subject)).collect())
    }
}

/// Takes `purposes` out; all four where there is none.
fn split(node: Node<'_>, may_have_purposes: bool) -> Result<(Node<'_>, Vec<Purpose>), ApiError> {
    let wrong = |detail: &str| ApiError::bad_request("invalid_field", detail);
    let Node::Object(mut members) = node else {
        return Err(wrong("expected {\"site\", \"user\", \"purposes\"}"));
    };
    let mut purposes: Vec<Purpose> = Purpose::ALL.iter().map(|(purpose, _)| *purpose).collect();
    if may_have_purposes && let Some(at) = members.iter().position(|(key, _)| key == "purposes") {
        let (_, named) = members.remove(at);
        let names = match named {
            Node::Null => Vec::new(),
            Node::List(names) => names,
            _ => return Err(wrong("/purposes: expected a list of purposes")),
        };
        if !names.is_empty() {
            let parsed = names.iter().map(|name| Purpose::parse(name.as_text()?));
            purposes = parsed.collect::<Option<Vec<Purpose>>>().ok_or_else(|| {
                let known: Vec<&str> = Purpose::ALL.iter().map(|(_, name)| *name).collect();
                wrong(&format!("/purposes: expected some of {}", known.join(", ")))
            })?;
        }
    }
    Ok((Node::Object(members), purposes))
}

async fn withdraw(
    State(relay): State<Arc<Relay>>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, ApiError> {
    let asked = Asked::of(&relay, &headers, body, true).await?;
    let choice = Choice::refusal(&asked.purposes, asked.now);
    let purposes = Purpose::ALL.iter().filter(|(purpose, _)| asked.purposes.contains(purpose));
    let more = [("purposes".to_owned(), purposes.map(|(_, name)| *name).collect::<Value>())];
    let words = asked.words("withdrawal", more.into_iter().collect());
    let reached = relay.queue.choose(asked.subjects, choice, relay.judge.clone(), words).await?;
    let (who, site) = (asked.who, asked.site);
    tracing::info!(who, site, count = reached.count, "consent withdrawn for a person");
    let detail = Detail(json!({"site": site, "count": reached.count}));
    let answer = json!({"count": reached.count, "recipients": reached.recipients});
    Ok((Extension(detail), Json(answer)))
}

async fn erase(
    State(relay): State<Arc<Relay>>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, ApiError> {
    let asked = Asked::of(&relay, &headers, body, false).await?;
    let marks = asked.marks(&relay);
    let words = asked.words("erasure", Map::new());
    let reached = relay.queue.erase(asked.subjects, asked.now, marks, words).await?;
    let (who, site) = (asked.who, asked.site);
    tracing::info!(who, site, count = reached.count, "a person was erased");
    let detail = Detail(json!({"site": site, "count": reached.count}));
    let answer = json!({"count": reached.count, "recipients": reached.recipients});
    Ok((Extension(detail), Json(answer)))
}

async fn export(
    State(relay): State<Arc<Relay>>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, ApiError> {
    let asked = Asked::of(&relay, &headers, body, false).await?;
    let marks = asked.marks(&relay);
    let dossier = relay.queue.dossier(asked.subjects.clone(), marks).await?;
    let mut person = asked.subjects.clone();
    person.extend(&dossier.subjects);
    let evidence = super::evidence::of_person(&relay, person).await?;
    tracing::info!(who = asked.who, site = asked.site, "what is held of a person was exported");
    let mut answer = render(&asked, &dossier);
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("evidence".to_owned(), evidence.into());
    }
    Ok((Extension(Detail(json!({"site": asked.site}))), Json(answer)))
}

/// Everything held and everything sent, as JSON. There are only keyed hashes of identity to show,
/// and they would tell the person nothing: their number is shown.
fn render(asked: &Asked, dossier: &Dossier) -> Value {
    let word = |(name, word): (&'static str, Word)| {
        let times = json!({"granted_at": word.yes_ms.and_then(time), "refused_at": word.no_ms.and_then(time)});
        (name.to_owned(), times)
    };
    let mut recipients: Vec<&str> =
        dossier.earlier.iter().map(|sum| sum.destination.as_str()).collect();
    for event in &dossier.sent {
        let sent = event.destinations.iter().filter(|(_, sent)| **sent);
        recipients.extend(sent.map(|(name, _)| name.as_str()));
    }
    recipients.sort_unstable();
    recipients.dedup();
    let traces: Vec<Value> = dossier
        .traces
        .iter()
        .map(|(_, trace)| {
            let read = |copy: &crate::queue::TraceCopy| TraceRecord::decode(&copy.record);
            let event_id = trace.copies.iter().find_map(read).map(|record| record.event_id);
            super::trace::render(event_id.as_deref().unwrap_or_default(), trace)
        })
        .collect();
    let count = dossier.pending.len() + dossier.dead.len() + dossier.sent.len();
    json!({
        "site": asked.site,
        "controller": asked.controller,
        "count": count,
        "recipients": recipients,
        "identifiers": dossier.identifiers,
        "choices": dossier.remembered.choice.spoken().map(word).collect::<Map<_, _>>(),
        "vendors": dossier.remembered.choice.vendors.iter().flat_map(Vendors::to).map(|(ids, grants)| {
            json!({"tcf_vendor_id": ids.tcf, "ac_provider_id": ids.ac, "grants": grants})
        }).collect::<Vec<_>>(),
        "clicks": dossier.remembered.clicks.iter().map(|click| json!({
            "at": time(click.at_ms),
            "kept_until": time(click.until_ms),
            "ids": click.ids.iter().map(|(field, id)| (field.path().to_owned(), json!(id)))
                .collect::<Map<_, _>>(),
        })).collect::<Vec<_>>(),
        "traits": dossier.remembered.traits.iter().map(|one| json!({
            "field": one.field.path(),
            "said_at": time(one.at_ms),
            "kept_until": time(one.until_ms),
            "value": kept(&one.value),
        })).collect::<Vec<_>>(),
        "erased_at": dossier.remembered.erased_ms.and_then(time),
        "sent": dossier.sent.iter().map(|event| json!({
            "event_id": event.event_id,
            "at": time(event.at_ms),
            "destinations": event.destinations.iter().map(|(name, sent)| json!({
                "destination": name, "outcome": if *sent { "sent" } else { "waiting" },
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "sent_earlier": dossier.earlier.iter().map(|sum| json!({
            "destination": sum.destination, "events": sum.count,
            "first": time(sum.first_ms), "last": time(sum.last_ms),
        })).collect::<Vec<_>>(),
        "pending": dossier.pending.iter().map(|(name, job)| pending(name, job)).collect::<Vec<_>>(),
        "dead": dossier.dead,
        "counted": dossier.marks.iter().flat_map(|person| &person.marks).map(|mark| json!({
            "event": mark.event, "at": time(mark.at_ms),
        })).collect::<Vec<_>>(),
        "events": traces,
    })
}

/// As a queued event shows what it holds.
fn kept(value: &traits::Value) -> String {
    match value {
        traits::Value::Clear(text) => text.clone(),
        traits::Value::Hashed { digest, .. } => {
            format!("sha256:{}", Digest { bytes: *digest, appendix: None }.hex())
        }
    }
}

fn pending(destination: &str, job: &LeasedJob) -> Value {
    json!({
        "destination": destination,
        "event": job.label.event,
        "event_id": job.label.event_id,
        "accepted_at": time(job.accepted_at_ms),
        "sends": job.sends,
        "holds": pipeline::held_fields(&job.body),
    })
}

fn time(epoch_ms: i64) -> Option<String> {
    Timestamp::from_millisecond(epoch_ms).ok().map(|time| time.to_string())
}
