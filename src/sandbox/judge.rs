//! Decides about one request: finds the route, reads the document, holds it and its events against
//! the contract, and writes the answer. Pure: the clock, tokens and faults are arguments.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    answer::{Reply, Told, Vars, write},
    check::{Rules, check},
    contract::{Contract, Place, Policy, Route, RouteKind},
    find::{Around, at},
    later::{Memory, State},
    request::{Request, object, read, split_url},
    shape::How,
    token::{self, Shown},
    violation::{Kind, Violation},
};

/// What the platform makes of a request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdict {
    /// What the request is for: the id of a dataset, an account, a stream.
    pub destination: Option<String>,
    /// How many events it holds.
    pub events: usize,
    /// Ids of the events taken; `None` for one without an id.
    pub accepted: Vec<Option<String>>,
    /// What was refused, including what the platform would not tell.
    pub refused: Vec<Refused>,
    /// What is taken with a remark.
    pub warnings: Vec<Refused>,
    /// Nothing of it counts: a test mode or a dry run.
    pub test: bool,
    /// Whether it is a call that carries events at all, right or wrong.
    pub carries_events: bool,
    /// The answer.
    pub reply: Reply,
}

/// Something that was refused.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Refused {
    /// Position of the event; none: the request itself.
    pub index: Option<usize>,
    /// Where, and what is wrong.
    pub why: String,
}

impl Verdict {
    /// Whether the platform takes all of it.
    pub fn is_accepted(&self) -> bool {
        self.refused.is_empty() && (200..300).contains(&self.reply.status)
    }
}

/// What deciding needs besides the request.
pub(super) struct Court<'a> {
    pub(super) contract: &'a Contract,
    pub(super) now: Timestamp,
    /// Look at tokens and signatures.
    pub(super) credentials: bool,
    /// Hold events against the rules; otherwise all are right.
    pub(super) validate: bool,
    /// A number that no other request has.
    pub(super) serial: u64,
    /// What became of earlier requests.
    pub(super) memory: Option<&'a Memory>,
    /// Events to refuse although they are right, by position and id.
    pub(super) doomed: &'a dyn Fn(usize, Option<&str>) -> bool,
}

/// Decides about a request.
pub(super) fn judge(court: &Court<'_>, request: Request<'_>) -> Verdict {
    let (path, query) = split_url(&court.contract.platform, request.url);
    let header = |name: &str| request.header(name).map(str::to_owned);
    let Some((route, params)) = court.contract.route(request.method, path, &header) else {
        let nothing = Violation::of_request(Kind::NotFound, "", "there is no such call");
        let case = Case { court, route: None, document: &Value::Null, params: &[], query: &query };
        return Verdict { carries_events: true, ..case.settle(&[], &[nothing], None) };
    };
    let (document, unreadable) = match read(route, request, &query) {
        Ok(document) => (document, None),
        Err(violation) => (Value::Null, Some(violation)),
    };
    let case =
        Case { court, route: Some(route), document: &document, params: &params, query: &query };
    let mut found = case.of_path_and_headers(request);
    if court.credentials {
        let url = request.url.split(['?', '#']).next().unwrap_or_default();
        let shown = Shown {
            platform: &court.contract.platform,
            method: request.method,
            url,
            query: &query,
            headers: request.headers,
            body: request.body,
            document: &document,
            now: court.now,
        };
        let why = token::refused(court.contract.auth(route), shown);
        found.extend(why.map(|why| Violation::of_request(Kind::Unauthorized, "", why)));
    }
    found.extend(unreadable);
    let events = case.events();
    if found.is_empty() {
        found.extend(case.of_document(&events));
    }
    if found.is_empty() {
        found.extend(case.of_one_use());
    }
    let mut verdict = case.settle(&events, &found, case.question());
    verdict.destination = case.destination(&header);
    verdict.carries_events = route.kind == RouteKind::Events;
    verdict
}

/// What can be said of a request that is not looked at: whether it is a call that carries events,
/// and what its path is for.
pub(super) fn glance(court: &Court<'_>, request: Request<'_>) -> Verdict {
    let (path, query) = split_url(&court.contract.platform, request.url);
    let header = |name: &str| request.header(name).map(str::to_owned);
    let Some((route, params)) = court.contract.route(request.method, path, &header) else {
        return Verdict { carries_events: true, ..Verdict::default() };
    };
    let (document, params) = (&Value::Null, params.as_slice());
    let case = Case { court, route: Some(route), document, params, query: &query };
    let destination = case.destination(&header);
    let carries_events = route.kind == RouteKind::Events;
    Verdict { destination, carries_events, ..Verdict::default() }
}

/// One event of a request: where it is, and its id.
struct Found<'a> {
    prefix: String,
    value: &'a Value,
    id: Option<String>,
}

struct Case<'a> {
    court: &'a Court<'a>,
    route: Option<&'a Route>,
    document: &'a Value,
    params: &'a [(&'a str, String)],
    query: &'a [(String, String)],
}

impl<'a> Case<'a> {
    fn around(&self) -> Around<'a> {
        Around { root: self.document, query: self.query }
    }

    fn rules<'b>(&'b self, around: Around<'b>) -> Rules<'b> {
        Rules {
            types: &self.court.contract.types,
            wrong_hashes: &self.court.contract.wrong_hashes,
            around,
            now: self.court.now,
        }
    }

    fn of_path_and_headers(&self, request: Request<'_>) -> Vec<Violation> {
        let Some(route) = self.route else { return Vec::new() };
        let rules = self.rules(self.around());
        let mut found = Vec::new();
        for (name, text) in self.params {
            if let Some(shape) = route.params.get(*name) {
                let value = Value::String(text.clone());
                found.extend(check(rules, shape, &value, name, None));
            }
        }
        let headers = object(request.headers.iter().map(|(k, v)| (k.to_ascii_lowercase(), v)));
        found.extend(check(rules, &route.headers, &headers, "headers", None));
        let query = object(self.query.iter().map(|(k, v)| (k.clone(), v)));
        found.extend(check(rules, &route.query, &query, "query", None));
        found
    }

    fn of_document(&self, events: &[Found<'a>]) -> Vec<Violation> {
        let Some(route) = self.route else { return Vec::new() };
        if !self.court.validate {
            return Vec::new();
        }
        let rules = self.rules(self.around());
        let mut found = check(rules, &route.request, self.document, "", None);
        for (index, event) in events.iter().enumerate() {
            let start = found.len();
            found.extend(check(rules, &route.event, event.value, &event.prefix, Some(index)));
            if found.len() == start && (self.court.doomed)(index, event.id.as_deref()) {
                found.push(Violation {
                    index: Some(index),
                    path: event.prefix.clone(),
                    kind: Kind::Asked,
                    code: None,
                    text: "was refused because the sandbox was asked to".to_owned(),
                    how: How::Refuse,
                });
            }
        }
        found
    }

    /// Uses up what is good for one use; what is wrong where it was used before.
    fn of_one_use(&self) -> Option<Violation> {
        let (memory, path) = (self.court.memory?, self.route?.good_once.as_ref()?);
        let text = at(self.document, path)?.as_str()?;
        if memory.spend(&format!("{} {text}", self.court.contract.platform)) {
            return None;
        }
        let mut used = Violation::of_request(Kind::Value, path, "was used before");
        used.code = Some("used_up".to_owned());
        Some(used)
    }

    fn events(&self) -> Vec<Found<'a>> {
        let Some(route) = self.route else { return Vec::new() };
        let with_id = |prefix: String, value: &'a Value| {
            let id = route.event_id.iter().find_map(|path| match at(value, path)? {
                Value::String(text) if !text.is_empty() => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            });
            Found { prefix, value, id }
        };
        for path in &route.events {
            match at(self.document, path) {
                Some(Value::Array(items)) => {
                    let each = |(index, item)| with_id(format!("{path}[{index}]"), item);
                    return items.iter().enumerate().map(each).collect();
                }
                Some(one @ Value::Object(_)) if path.is_empty() => {
                    return vec![with_id(String::new(), one)];
                }
                _ => {}
            }
        }
        Vec::new()
    }

    fn destination(&self, header: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        if let Some(named) = header("x-relay-destination") {
            return Some(named);
        }
        self.route?.destination.iter().find_map(|place| {
            let found = match place {
                Place::Param(name) => self.param(name),
                Place::Query(name) => {
                    self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
                }
                Place::Body(path) => match at(self.document, path)? {
                    Value::String(text) => Some(text.clone()),
                    Value::Number(number) => Some(number.to_string()),
                    _ => None,
                },
                Place::Header(name) => header(name),
            };
            found.filter(|text| !text.is_empty())
        })
    }

    fn param(&self, name: &str) -> Option<String> {
        self.params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
    }

    /// What a question about an earlier request is answered with.
    fn question(&self) -> Option<State> {
        if self.route?.kind != RouteKind::Status {
            return None;
        }
        let id = self.query.iter().find(|(name, _)| name == "requestId");
        let id = id.map(|(_, id)| id.as_str()).unwrap_or_default();
        Some(self.court.memory.map_or(State::Unknown, |memory| memory.state(id, self.court.now)))
    }

    /// Turns what was found into the books and the answer.
    fn settle(
        &self,
        events: &[Found<'a>],
        found: &[Violation],
        question: Option<State>,
    ) -> Verdict {
        let route = self.route;
        let holds = |condition: &Option<super::shape::Condition>| {
            condition.as_ref().is_some_and(|it| self.around().holds(it, self.document))
        };
        let policy = match route {
            Some(route) if holds(&route.per_event_when) => Policy::PerEvent,
            Some(route) => route.policy,
            None => Policy::AllOrNothing,
        };
        let silent = |violation: &Violation| {
            policy == Policy::Silent && !matches!(violation.kind, Kind::NotFound | Kind::TooLarge)
        };
        let counts = |violation: &&Violation| violation.how != How::Warn;
        let told_of = |v: &&Violation| v.is_refusal() && !silent(v);
        let of_all = |v: &&Violation| v.index.is_none() || v.how == How::RefuseAll;
        let whole = found.iter().filter(told_of).find(of_all);
        let culprit =
            whole.or_else(|| found.iter().filter(told_of).find(|_| policy == Policy::AllOrNothing));
        // Nothing is taken of a request that is refused, or that is wrong as a whole unsaid.
        let lost = culprit.is_some()
            || found.iter().filter(counts).any(|violation| violation.index.is_none());
        let wrong: BTreeSet<usize> =
            found.iter().filter(counts).filter_map(|violation| violation.index).collect();
        let taken = |(index, event): (usize, &Found<'a>)| {
            (!lost && !wrong.contains(&index)).then(|| event.id.clone())
        };
        let accepted: Vec<_> = events.iter().enumerate().filter_map(taken).collect();
        let line = |violation: &Violation| Refused { index: violation.index, why: violation.why() };
        let warned = |violation: &&Violation| violation.how == How::Warn;
        let mut verdict = Verdict {
            destination: None,
            events: events.len(),
            refused: found.iter().filter(counts).map(line).collect(),
            warnings: found.iter().filter(warned).map(line).collect(),
            test: route.is_some_and(|route| holds(&route.test_when)),
            accepted,
            ..Verdict::default()
        };
        verdict.reply = self.reply(events, found, culprit, &verdict, question);
        verdict
    }

    fn reply(
        &self,
        events: &[Found<'a>],
        found: &[Violation],
        culprit: Option<&Violation>,
        verdict: &Verdict,
        question: Option<State>,
    ) -> Reply {
        let contract = self.court.contract;
        let told = |violation: &&Violation| violation.is_refusal();
        let first_of = |index: usize| {
            found.iter().filter(told).find(|violation| violation.index == Some(index))
        };
        let good = events.len() - (0..events.len()).filter(|i| first_of(*i).is_some()).count();
        let mut vars = self.vars(verdict);
        vars.insert("accepted".to_owned(), good.into());
        vars.insert("refused".to_owned(), (events.len() - good).into());
        let mut later = Vec::new();
        let name = match (culprit, question) {
            (Some(violation), _) => {
                vars.extend(self.violation(violation));
                let code = contract.code(violation.code());
                let named = code.and_then(|code| code.answer.as_deref());
                named.unwrap_or(violation.kind.answer())
            }
            (None, Some(state)) => {
                later = state.reasons();
                vars.extend(state.vars());
                state.answer()
            }
            (None, None) if events.is_empty() || good == events.len() => "accepted",
            (None, None) if good == 0 => "none_accepted",
            (None, None) => "partial",
        };
        if culprit.is_none() && !verdict.test {
            self.remember(found, events.len(), &vars);
        }
        let fallback = match name {
            "none_accepted" => &["partial", "accepted"][..],
            "partial" => &["accepted"],
            "accepted" | "processing" => &[],
            _ => &["refused"],
        };
        let list = |list: &str| -> Vec<Vars> {
            let entry = |index: usize| {
                let mut vars = Map::new();
                vars.insert("index".to_owned(), index.into());
                let id = events.get(index).and_then(|event| event.id.clone());
                vars.insert("event_id".to_owned(), id.map_or(Value::Null, Value::String));
                vars.insert("failed".to_owned(), first_of(index).is_some().into());
                vars.extend(first_of(index).map(|it| self.violation(it)).unwrap_or_default());
                vars
            };
            let all = 0..events.len();
            match list {
                "events" => all.map(entry).collect(),
                "accepted" => all.filter(|i| first_of(*i).is_none()).map(entry).collect(),
                "refused" => all.filter(|i| first_of(*i).is_some()).map(entry).collect(),
                "violations" => found.iter().filter(told).map(|it| self.violation(it)).collect(),
                "warnings" => {
                    let warned = found.iter().filter(|it| it.how == How::Warn);
                    warned.map(|it| self.violation(it)).collect()
                }
                "later" => later.clone(),
                _ => Vec::new(),
            }
        };
        let names = std::iter::once(name).chain(fallback.iter().copied());
        let template = names.into_iter().find_map(|name| contract.answer(self.route, name));
        template.map_or_else(
            || Reply { status: 500, ..Reply::default() },
            |template| write(template, &Told { vars, list: &list }),
        )
    }

    fn vars(&self, verdict: &Verdict) -> Vars {
        let mut vars = base_vars(self.court);
        vars.insert("received".to_owned(), verdict.events.into());
        vars.insert("warned".to_owned(), verdict.warnings.len().into());
        for (name, text) in self.params {
            vars.insert(format!("param.{name}"), Value::String(text.clone()));
        }
        vars
    }

    fn violation(&self, violation: &Violation) -> Vars {
        let mut vars = Map::new();
        let index = violation.index.map_or(Value::Null, Value::from);
        vars.insert("index".to_owned(), index);
        vars.insert("path".to_owned(), Value::String(violation.path.clone()));
        let prefix = violation.index.and(self.route).map(|route| route.path_prefix.as_str());
        vars.insert("prefix".to_owned(), prefix.unwrap_or_default().into());
        vars.insert("rule".to_owned(), violation.kind.name().into());
        vars.insert("text".to_owned(), Value::String(violation.text.clone()));
        vars.insert("why".to_owned(), Value::String(violation.why()));
        if let Some(code) = self.court.contract.code(violation.code()) {
            vars.extend(code.vars.clone());
        }
        vars
    }

    fn remember(&self, found: &[Violation], events: usize, vars: &Vars) {
        let (Some(memory), Some(route)) = (self.court.memory, self.route) else { return };
        let (Some(delay), Some(Value::String(id))) = (route.processing, vars.get("request_id"))
        else {
            return;
        };
        let later: Vec<_> = found
            .iter()
            .filter(|violation| violation.how == How::Later)
            .map(|violation| (violation.index, self.violation(violation)))
            .collect();
        memory.keep(id.clone(), self.court.now, delay, events, &later);
    }
}

/// Values that every answer may speak of.
pub(super) fn base_vars(court: &Court<'_>) -> Vars {
    let platform = &court.contract.platform;
    let mut vars = Map::new();
    let id = format!("sandbox-{:x}-{:06}", court.now.as_second(), court.serial);
    vars.insert("request_id".to_owned(), Value::String(id));
    vars.insert("now".to_owned(), Value::String(court.now.to_string()));
    vars.insert("epoch".to_owned(), court.now.as_second().into());
    vars.insert("token".to_owned(), Value::String(token::issue(platform, court.now)));
    let successor = format!("{:x}-{}", court.now.as_microsecond(), court.serial);
    vars.insert("successor".to_owned(), Value::String(successor));
    vars.insert("expires_in".to_owned(), token::LIFE.into());
    vars
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A platform of no vendor, with what the first contracts do not use: partial success, a
    /// malformed event that costs the request, routes told apart by a header, a query as document.
    fn contract() -> Contract {
        let text = json!({
            "platform": "p", "source": [],
            "auth": [],
            "routes": [
                {"method": "POST", "path": "/c", "header": {"x-many": "yes"}, "events": ["list"],
                 "event_id": ["id"], "policy": "per_event",
                 "headers": {"required": ["version"]},
                 "event": {"how": "refuse_all", "type": "object", "closed": "refuse_all",
                    "fields": {"id": {}, "odd": {"how": "silent", "type": "integer"},
                               "n": {"type": "integer", "how": "refuse"}}},
                 "answers": {"partial": {"status": 207, "body": {
                    "ok": {"$each": "accepted", "$do": "{index}"},
                    "bad": {"$each": "refused", "$do": {"i": "{index}", "m": "{path|last}"}},
                    "all": {"$each": "events",
                            "$do": {"$if": "failed", "$do": "no", "$else": "{event_id}"}}}}}},
                {"method": "POST", "path": "/c", "events": [""], "event_id": ["id"],
                 "event": {"required": ["id"]}},
                {"method": "POST", "path": "/either", "events": ["list"],
                 "per_event_when": {"path": "go_on", "in": [true]},
                 "event": {"type": "integer"}},
                {"method": "GET", "path": "/pixel", "body": "query", "events": [""],
                 "event_id": ["order"],
                 "event": {"required": ["click"], "fields": {"v": {"format": "decimal_text"}}}}
            ],
            "answers": {
                "accepted": {"status": 200, "body": {"n": "{accepted}", "of": "{received}"}},
                "refused": {"status": 400, "text": "{why}"}, "not_found": {"status": 404},
                "unauthorized": {"status": 401}, "throttled": {"status": 429},
                "server_error": {"status": 500}}
        });
        Contract::parse("p", &text.to_string()).unwrap()
    }

    fn ask(method: &str, url: &str, headers: &[(&str, &str)], body: &Value) -> Verdict {
        let contract = contract();
        let court = Court {
            contract: &contract,
            now: "2026-11-22T04:00:00Z".parse().unwrap(),
            credentials: true,
            validate: true,
            serial: 1,
            memory: None,
            doomed: &|_, id| id == Some("doomed"),
        };
        let headers: Vec<_> =
            headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let body = body.to_string();
        judge(&court, Request { method, url, headers: &headers, body: body.as_bytes() })
    }

    fn told(verdict: &Verdict) -> Value {
        serde_json::from_slice(&verdict.reply.body).unwrap_or_default()
    }

    const MANY: &[(&str, &str)] = &[("X-Many", "yes"), ("Version", "1")];

    #[test]
    fn a_wrong_event_costs_only_itself_where_the_platform_says_so() {
        let list = json!({"list": [{"id": "a"}, {"id": "b", "n": "x"}, {"id": "doomed"}]});
        let verdict = ask("POST", "/c", MANY, &list);
        assert_eq!(verdict.reply.status, 207);
        let body = told(&verdict);
        assert_eq!((&body["ok"], &body["all"]), (&json!([0]), &json!(["a", "no", "no"])));
        assert_eq!(body["bad"][0], json!({"i": 1, "m": "n"}));
        assert_eq!(verdict.accepted, [Some("a".to_owned())]);
        let malformed = json!({"list": [{"id": "a"}, {"id": "b", "extra": 1}]});
        let verdict = ask("POST", "/c", MANY, &malformed);
        assert_eq!((verdict.reply.status, verdict.accepted.len()), (400, 0));
        let silent = json!({"list": [{"id": "a", "odd": "x"}, {"id": "b"}]});
        let verdict = ask("POST", "/c", MANY, &silent);
        assert_eq!((verdict.reply.status, told(&verdict)["n"].clone()), (200, json!(2)));
        assert_eq!(verdict.accepted, [Some("b".to_owned())], "told nobody, but it is lost");
        let missing = ask("POST", "/c", &[("x-many", "yes")], &list);
        assert_eq!((missing.reply.status, missing.refused[0].index), (400, None));
    }

    #[test]
    fn routes_are_told_apart_by_headers_and_the_document_decides_the_policy() {
        let one = ask("POST", "/p/c", &[], &json!({"id": 7}));
        assert_eq!((one.reply.status, one.accepted), (200, vec![Some("7".to_owned())]));
        for (go_on, status, accepted) in [(true, 200, 1), (false, 400, 0)] {
            let body = json!({"go_on": go_on, "list": [1, "x"]});
            let verdict = ask("POST", "/either", &[], &body);
            assert_eq!((verdict.reply.status, verdict.accepted.len()), (status, accepted));
        }
    }

    #[test]
    fn a_query_can_be_the_event() {
        let verdict =
            ask("GET", "https://t.example/pixel?click=x&order=o%201&v=1.5", &[], &json!(0));
        assert_eq!(verdict.accepted, [Some("o 1".to_owned())]);
        let verdict = ask("GET", "/pixel?order=o&v=1,5", &[], &json!(0));
        assert_eq!((verdict.reply.status, verdict.refused.len()), (400, 2));
    }
}
