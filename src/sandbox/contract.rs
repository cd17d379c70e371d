//! A platform's contract: its paths, credentials, limits, shapes and answers, as data.
//!
//! One JSON file a platform under `contracts/`, written from the vendor's documentation and not
//! from the mapping, so that a mistake in the mapping is seen. The registry has the list of them;
//! nothing in the sandbox knows a platform.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    format::WrongHashes,
    shape::{Condition, Shape, Span},
    violation::Kind,
};
use crate::destinations::{Platform, REGISTRY};

static CONTRACTS: LazyLock<Vec<Contract>> = LazyLock::new(|| {
    let read = |platform: &&Platform| match Contract::parse(platform.name, platform.contract) {
        Ok(contract) => Some(contract),
        Err(problem) => {
            // The files are compiled in and a test reads each, so that this is never seen.
            let contract = platform.name;
            tracing::error!(contract, %problem, "a contract of the sandbox cannot be read");
            None
        }
    };
    let mut contracts: Vec<Contract> = REGISTRY.iter().filter_map(read).collect();
    contracts.sort_by(|one, other| one.platform.cmp(&other.platform));
    contracts
});

/// Every contract, by name.
pub(super) fn all() -> &'static [Contract] {
    &CONTRACTS
}

/// The contract of a platform.
pub(super) fn of(platform: &str) -> Option<&'static Contract> {
    all().iter().find(|contract| contract.platform == platform)
}

/// What one platform accepts, and how it answers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contract {
    /// The platform's name in configuration.
    pub(super) platform: String,
    /// Where the rules are from, and their date.
    #[serde(rename = "source")]
    _source: Vec<String>,
    /// Credentials that are taken, any one of them; routes may have their own.
    #[serde(default)]
    auth: Vec<Auth>,
    /// The calls.
    routes: Vec<Route>,
    /// Shapes used by name.
    #[serde(default)]
    pub(super) types: BTreeMap<String, Shape>,
    /// What the platform says of a broken rule, by code or by the rule's name; `*`: of any other.
    #[serde(default)]
    codes: BTreeMap<String, Code>,
    /// The answers, by name.
    answers: BTreeMap<String, Template>,
    /// Texts whose plain SHA-256 proves a wrong normalisation, with what went wrong.
    #[serde(default)]
    never_hash_of: BTreeMap<String, String>,
    #[serde(skip)]
    pub(super) wrong_hashes: WrongHashes,
}

/// One call of a platform.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    /// `POST` or `GET`.
    pub(super) method: String,
    /// Such as `/{version}/{dataset}/events`; `{rest...}` takes whatever follows.
    pub(super) path: String,
    /// Headers (lower-case) that must have this value for the route to be meant.
    #[serde(default)]
    pub(super) header: BTreeMap<String, String>,
    /// What it is.
    #[serde(default)]
    pub(super) kind: RouteKind,
    /// Shapes of the path's parameters.
    #[serde(default)]
    pub(super) params: BTreeMap<String, Shape>,
    /// Shape of the query's parameters, as an object of texts.
    #[serde(default)]
    pub(super) query: Shape,
    /// Shape of the headers (lower-case), as an object of texts.
    #[serde(default)]
    pub(super) headers: Shape,
    /// Its own credentials, instead of the contract's.
    auth: Option<Vec<Auth>>,
    /// How the body is written.
    #[serde(default)]
    pub(super) body: BodyFormat,
    /// Content types taken (without parameters); empty: any.
    #[serde(default)]
    pub(super) content_types: Vec<String>,
    /// Most bytes of body.
    #[serde(default)]
    pub(super) max_bytes: Option<usize>,
    /// Shape of the whole document.
    #[serde(default)]
    pub(super) request: Shape,
    /// Paths where the list of events may be, the first that is there; `""`: the document itself,
    /// being a list of events or one event.
    #[serde(default)]
    pub(super) events: Vec<String>,
    /// Shape of an event.
    #[serde(default)]
    pub(super) event: Shape,
    /// What the platform writes before the path of something in an event.
    #[serde(default)]
    pub(super) path_prefix: String,
    /// Paths in an event where its id may be.
    #[serde(default)]
    pub(super) event_id: Vec<String>,
    /// Where to read what the request is for.
    #[serde(default)]
    pub(super) destination: Vec<Place>,
    /// What a wrong event does to the others.
    #[serde(default)]
    pub(super) policy: Policy,
    /// Under this condition on the document a wrong event costs only itself.
    #[serde(default)]
    pub(super) per_event_when: Option<Condition>,
    /// Under this condition on the document nothing counts.
    #[serde(default)]
    pub(super) test_when: Option<Condition>,
    /// How long a question about the request is answered with `processing`.
    #[serde(default)]
    pub(super) processing: Option<Span>,
    /// A token route: the member of the document that is good for one use. Its successor is the
    /// answer's `{successor}`.
    #[serde(default)]
    pub(super) good_once: Option<String>,
    /// Its own answers, before the contract's.
    #[serde(default)]
    answers: BTreeMap<String, Template>,
}

/// What a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RouteKind {
    /// It takes events.
    #[default]
    Events,
    /// It gives tokens.
    Token,
    /// It tells what became of an earlier request, named by the query's `requestId`.
    Status,
    /// It only answers.
    Plain,
}

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum BodyFormat {
    /// JSON.
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`, read as an object of texts.
    Form,
    /// There is none: the query is the document.
    Query,
}

/// What a wrong event does to the others of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Policy {
    /// The whole request is refused.
    #[default]
    AllOrNothing,
    /// It costs only itself.
    PerEvent,
    /// Nobody is told.
    Silent,
}

/// Where something is read from; the first place that has it counts.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// A parameter of the path.
    Param(String),
    /// A parameter of the query.
    Query(String),
    /// A path of the document.
    Body(String),
    /// A header.
    Header(String),
}

/// A way to prove who one is. In the sandbox every secret is `sandbox-` and its key's name.
#[derive(Debug, Deserialize)]
#[serde(tag = "in", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Auth {
    /// A header with this value.
    Header {
        /// Lower-case.
        name: String,
        /// What it must be.
        value: String,
    },
    /// A parameter of the query.
    Query {
        /// Its name.
        name: String,
        /// What it must be.
        value: String,
    },
    /// A member of the document.
    Body {
        /// Its dotted path.
        path: String,
        /// What it must be.
        value: String,
    },
    /// `Authorization: Basic`, of this text with or without a colon behind it.
    Basic {
        /// Before base64.
        value: String,
    },
    /// `Authorization: Bearer` with a token that this contract's token route gave, and beside it
    /// headers (lower-case) with these values.
    Oauth {
        /// By name.
        #[serde(default)]
        with: BTreeMap<String, String>,
    },
    /// `Authorization: OAuth`, signed with HMAC-SHA1 (OAuth 1.0a).
    Oauth1,
    /// A header whose name contains a word: the body's HMAC-SHA256 in hex, also after `sha256=`.
    HmacSha256 {
        /// The word.
        header: String,
        /// The key.
        secret: String,
    },
}

/// What a platform says of a broken rule.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Code {
    /// Name of the answer; absent: the rule's own.
    #[serde(default)]
    pub(super) answer: Option<String>,
    /// Values for the answer's placeholders.
    #[serde(flatten)]
    pub(super) vars: Map<String, Value>,
}

/// An answer with placeholders; see [`super::answer`].
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Template {
    /// HTTP status.
    pub(super) status: u16,
    /// Headers.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// The body as JSON.
    #[serde(default)]
    pub(super) body: Option<Value>,
    /// The body as text.
    #[serde(default)]
    pub(super) text: Option<String>,
}

/// A contract that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadContract {
    /// No JSON, or not of a contract's shape.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// It names something that it does not define.
    #[error("{0}")]
    Dangling(String),
}

impl Contract {
    /// Reads a contract and checks that all it refers to is there.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, BadContract> {
        let mut contract: Contract = serde_json::from_str(text)?;
        let texts = contract.never_hash_of.iter();
        contract.wrong_hashes = WrongHashes::of(texts.map(|(t, why)| (t.as_str(), why.as_str())));
        match contract.dangling(name) {
            Some(problem) => Err(BadContract::Dangling(problem)),
            None => Ok(contract),
        }
    }

    /// The credentials of a route.
    pub(super) fn auth<'a>(&'a self, route: &'a Route) -> &'a [Auth] {
        route.auth.as_deref().unwrap_or(&self.auth)
    }

    /// What the platform says of a broken rule.
    pub(super) fn code(&self, code: &str) -> Option<&Code> {
        self.codes.get(code).or_else(|| self.codes.get("*"))
    }

    /// An answer of a route by name.
    pub(super) fn answer<'a>(
        &'a self,
        route: Option<&'a Route>,
        name: &str,
    ) -> Option<&'a Template> {
        route.and_then(|route| route.answers.get(name)).or_else(|| self.answers.get(name))
    }

    fn dangling(&self, name: &str) -> Option<String> {
        if self.platform != name {
            return Some(format!("it is of {}, but its file is {name}", self.platform));
        }
        let mut known: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        known.extend(self.codes.keys().map(String::as_str));
        let mut problem = None;
        let mut visit = |shape: &Shape| {
            if let Some(shared) = &shape.shared
                && !self.types.contains_key(shared)
            {
                problem = Some(format!("there is no type {shared}"));
            }
            if let Some(code) = &shape.code
                && !known.contains(code.as_str())
            {
                problem = Some(format!("there is no code {code}"));
            }
        };
        self.types.values().for_each(|shape| shape.walk(&mut visit));
        for route in &self.routes {
            let own = [&route.query, &route.headers, &route.request, &route.event];
            own.into_iter().chain(route.params.values()).for_each(|shape| shape.walk(&mut visit));
        }
        let answers = self.codes.values().filter_map(|code| code.answer.as_deref());
        let needed = ["unauthorized", "throttled", "server_error", "refused", "not_found"];
        problem.or_else(|| {
            answers
                .chain(needed)
                .find(|answer| {
                    !self.answers.contains_key(*answer)
                        && !self.routes.iter().any(|route| route.answers.contains_key(*answer))
                })
                .map(|answer| format!("there is no answer {answer}"))
        })
    }

    /// The route that a call is for, with the parameters of its path.
    pub(super) fn route(
        &self,
        method: &str,
        path: &str,
        header: &dyn Fn(&str) -> Option<String>,
    ) -> Option<(&Route, Vec<(&str, String)>)> {
        self.routes.iter().find_map(|route| {
            let meant = route.method == method
                && route.header.iter().all(|(name, value)| {
                    header(name).is_some_and(|found| found.eq_ignore_ascii_case(value))
                });
            if meant { Some((route, match_path(&route.path, path)?)) } else { None }
        })
    }
}

/// Matches a path with a pattern, segment by segment, and gives the parameters.
fn match_path<'a>(pattern: &'a str, path: &str) -> Option<Vec<(&'a str, String)>> {
    let mut params = Vec::new();
    let mut segments = path.split('/');
    for wanted in pattern.split('/') {
        let Some((before, inner)) = wanted.split_once('{') else {
            if segments.next()? == wanted {
                continue;
            }
            return None;
        };
        let (name, after) = inner.split_once('}')?;
        if let Some(name) = name.strip_suffix("...") {
            let rest: Vec<&str> = segments.collect();
            params.push((name, rest.join("/")));
            return Some(params);
        }
        let found = segments.next()?.strip_prefix(before)?.strip_suffix(after)?;
        if found.is_empty() {
            return None;
        }
        let decoded = percent_encoding::percent_decode_str(found).decode_utf8_lossy();
        params.push((name, decoded.into_owned()));
    }
    segments.next().is_none().then_some(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contract_can_be_read() {
        for platform in REGISTRY {
            if let Err(problem) = Contract::parse(platform.name, platform.contract) {
                panic!("{}: {problem}", platform.name);
            }
        }
        assert_eq!(all().len(), REGISTRY.len());
    }

    #[test]
    fn a_contract_that_names_what_it_lacks_is_refused() {
        let text = |event: &str| {
            format!(
                r#"{{"platform": "p", "source": [], "answers": {{"unauthorized": {{"status": 401}},
                "throttled": {{"status": 429}}, "server_error": {{"status": 500}},
                "not_found": {{"status": 404}}, "refused": {{"status": 400}}}},
                "routes": [{{"method": "POST", "path": "/", "event": {event}}}]}}"#
            )
        };
        assert!(Contract::parse("p", &text("{}")).is_ok());
        assert!(Contract::parse("q", &text("{}")).is_err(), "another name than its file's");
        assert!(Contract::parse("p", &text(r#"{"use": "t"}"#)).is_err(), "no such type");
        assert!(Contract::parse("p", &text(r#"{"code": "c"}"#)).is_err(), "no such code");
        assert!(Contract::parse("p", &text(r#"{"patern": "c"}"#)).is_err(), "no such word");
        assert!(Contract::parse("p", &text(r#"{"pattern": "("}"#)).is_err(), "no expression");
    }

    #[test]
    fn paths_match_by_segment() {
        let of = |pattern, path| match_path(pattern, path);
        assert_eq!(of("/{v}/events", "/v1/events"), Some(vec![("v", "v1".to_owned())]));
        assert_eq!(of("/{v}/events", "/v1/events/2"), None);
        assert_eq!(of("/{v}/events/", "/v1/events"), None);
        assert_eq!(of("/c/{id}:go", "/c/7:go"), Some(vec![("id", "7".to_owned())]));
        assert_eq!(of("/c/{id}:go", "/c/:go"), None);
        assert_eq!(of("/{rest...}", "/a/b"), Some(vec![("rest", "a/b".to_owned())]));
        assert_eq!(of("/{a}", "/x%20y"), Some(vec![("a", "x y".to_owned())]));
    }
}
