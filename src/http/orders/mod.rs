//! Where orders are: `POST /admin/v1/orders` answers for a batch of order ids what became of their
//! events. By keyed hash of site and order id, or by event id where a shop uses one for both; from
//! the traces while they are kept, from the decision log after that.

mod story;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use axum::{Json, Router, body::Body, extract::State, http::HeaderMap, routing::post};
use serde::Deserialize;
use serde_json::{Value, json};

use self::story::Story;
use super::{Relay, admin, body, error::ApiError};
use crate::{
    config::{Config, nearest},
    evidence::{self, Wanted},
    pipeline,
    queue::{IdHash, OrderEvent, Refused},
};

/// Orders of one call. Each call walks over all that is kept, once.
const MOST_ORDERS: usize = 10_000;
/// Its largest body.
const BODY_BYTES: usize = 4 << 20;

pub(super) fn routes() -> Router<Arc<Relay>> {
    Router::new().route("/admin/v1/orders", post(orders))
}

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    orders: Vec<Order>,
}

/// An order, by its id alone or with its site.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Order {
    Id(String),
    AtSite(AtSite),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AtSite {
    order_id: String,
    #[serde(default)]
    site: Option<String>,
}

impl Order {
    fn parts(&self) -> (&str, Option<&str>) {
        match self {
            Order::Id(id) => (id.trim(), None),
            Order::AtSite(order) => {
                (order.order_id.trim(), order.site.as_deref().filter(|site| !site.is_empty()))
            }
        }
    }
}

/// An order's events: hash and, where the index knows, when they came.
type Events = BTreeMap<IdHash, Option<jiff::Timestamp>>;

async fn orders(
    State(relay): State<Arc<Relay>>,
    headers: HeaderMap,
    mut body: Body,
) -> Result<Json<Value>, ApiError> {
    admin::allow(&relay, &headers, &admin::READERS)?;
    let body = body::read(&mut body, &headers, body::AtMost::always(BODY_BYTES)).await?;
    let Asked { orders } = serde_json::from_slice(&body).map_err(|error| {
        let detail = format!(
            "expected {{\"orders\": [{{\"order_id\": \"1001\", \"site\": \"shop_us\"}}]}}, the \
             site where it is known: {error}"
        );
        ApiError::bad_request("malformed_json", detail)
    })?;
    if orders.len() > MOST_ORDERS {
        let detail = format!("{} orders; ask for at most {MOST_ORDERS} at once", orders.len());
        return Err(ApiError::too_large(detail));
    }
    let config = relay.config.load_full();
    let known = sites_known(&config, &orders)?;
    let events = events(&relay, &orders, &known).await?;
    let stories = stories(&relay, &events).await?;
    let told = orders.iter().zip(&events).map(|(order, events)| {
        let (id, site) = order.parts();
        let own = events.keys().filter_map(|event| Some((event, stories.get(event)?)));
        story::tell(id, site, own, &config)
    });
    Ok(Json(json!({ "orders": told.collect::<Vec<_>>() })))
}

/// Every site's name; an order of another one is a mistake that must not look like a loss.
fn sites_known(config: &Config, orders: &[Order]) -> Result<Vec<String>, ApiError> {
    let unknown = orders
        .iter()
        .filter_map(|order| order.parts().1)
        .find(|site| !config.sites.contains_key(*site));
    match unknown {
        Some(site) => {
            let names = config.sites.keys().map(String::as_str);
            let hint = match nearest(site, names.clone()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("known are {}", names.collect::<Vec<_>>().join(", ")),
            };
            let detail = format!("no site {site:?} is configured; {hint}");
            Err(ApiError::bad_request("site_unknown", detail))
        }
        None => Ok(config.sites.keys().cloned().collect()),
    }
}

/// The events of each order, in the order asked.
async fn events(
    relay: &Relay,
    orders: &[Order],
    sites: &[String],
) -> Result<Vec<Events>, ApiError> {
    let hashes: Vec<Vec<IdHash>> = orders
        .iter()
        .map(|order| match order.parts() {
            ("", _) => Vec::new(),
            (id, Some(site)) => vec![pipeline::order_hash(&relay.key, site, id)],
            (id, None) => {
                sites.iter().map(|site| pipeline::order_hash(&relay.key, site, id)).collect()
            }
        })
        .collect();
    let found = relay.queue.orders(hashes.iter().flatten().copied().collect()).await?;
    let events = orders.iter().zip(&hashes).map(|(order, hashes)| {
        let mut events = Events::new();
        for OrderEvent { event, at } in hashes.iter().filter_map(|hash| found.get(hash)).flatten() {
            events.insert(*event, Some(*at));
        }
        let (id, _) = order.parts();
        if !id.is_empty() {
            events.entry(pipeline::trace_hash(&relay.key, id)).or_default();
        }
        events
    });
    Ok(events.collect())
}

/// What became of all these events.
async fn stories(relay: &Relay, events: &[Events]) -> Result<BTreeMap<IdHash, Story>, ApiError> {
    let all: HashSet<IdHash> = events.iter().flat_map(BTreeMap::keys).copied().collect();
    let traces = relay.queue.traces(all).await?;
    let mut stories: BTreeMap<IdHash, Story> =
        traces.iter().map(|(event, trace)| (*event, Story::of_trace(trace))).collect();
    // What was accepted, and has no trace any more, is in the log. Of an event that is only known
    // by its id nobody says that it ever came: the log is not searched through for those.
    let begins = |event: &IdHash| stories.get(event).is_some_and(Story::begins);
    let (mut gone, mut since) = (BTreeSet::new(), None);
    for (event, at) in events.iter().flatten().filter(|(event, _)| !begins(event)) {
        if let Some(at) = at {
            gone.insert(*event);
            since = Some(since.map_or(*at, |first: jiff::Timestamp| first.min(*at)));
        }
    }
    if let Some(since) = since {
        for (event, story) in from_log(relay, gone, since).await? {
            let known = stories.remove(&event);
            stories.insert(event, story.with_words_of(known));
        }
    }
    Ok(stories)
}

async fn from_log(
    relay: &Relay,
    events: BTreeSet<IdHash>,
    since: jiff::Timestamp,
) -> Result<BTreeMap<IdHash, Story>, ApiError> {
    let (queue, data) = (relay.queue.clone(), relay.data.clone());
    let wanted = Wanted { from: Some(since), events, ..Wanted::default() };
    let read = tokio::task::spawn_blocking(move || {
        let mut stories: BTreeMap<IdHash, Story> = BTreeMap::new();
        let show = &mut |_: &str, record: &Value| {
            if let Some(key) = story::key_of(record) {
                stories.entry(key).or_default().add_record(record);
            }
        };
        evidence::read(&queue, &data, &wanted, show).map(|()| stories)
    });
    let gave_up = |_| Err(Refused::Store("reading the decision log gave up (panicked)".to_owned()));
    Ok(read.await.unwrap_or_else(gave_up)?)
}
