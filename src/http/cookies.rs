//! Cookies of the site's own that its pages' beacons bring and take: an anonymous id, and a longer
//! life for click ids. Only with the visitor's consent; a refusal removes them.
//!
//! Nothing is set for a page of another site: that would be a third party's cookie.

use axum::http::{HeaderMap, HeaderValue, header};
use data_encoding::HEXLOWER;

use super::cors;
use crate::{
    clock,
    consent::{Grant, Model, Purpose, State},
};

/// The anonymous id. No script reads it, so that nothing but the relay can spread it.
const ID: &str = "_relay_id";

/// What the tag and platforms' own tags keep of clicks. Scripts write and read these; but what a
/// script writes Safari forgets after a week, and what a server sets it keeps.
const CLICKS: [&str; 3] = ["_relay_c", "_fbp", "_fbc"];

/// As long as a remembered choice stands by default (`memory.max_age`).
const ID_SECONDS: u32 = 180 * 86_400;

/// As long as the longest of the platforms' click windows.
const CLICK_SECONDS: u32 = 90 * 86_400;

/// The cookies of one request, and what its events' consent makes of them.
#[derive(Debug, Default)]
pub(super) struct Jar {
    /// For which domain they are set; `None`: for no one.
    scope: Option<Scope>,
    id: Option<String>,
    clicks: Vec<(&'static str, String)>,
    /// Whether the visitor may be known again; `None`: they were not asked.
    may_know: Option<bool>,
    /// Whether clicks may be kept.
    may_keep: Option<bool>,
}

/// Where a cookie is seen.
#[derive(Debug, PartialEq, Eq)]
enum Scope {
    /// On the relay's host alone, which is the page's.
    Host,
    /// On every host of this domain.
    Domain(String),
}

impl Jar {
    /// What a request brings.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
        let scope = cors::origin(headers).zip(host).and_then(|(origin, host)| scope(origin, host));
        if scope.is_none() {
            return Self::default();
        }
        let clicks = CLICKS.iter().filter_map(|name| {
            let value = cookie(headers, name).filter(|value| is_plain(value, 2048))?;
            Some((*name, value.to_owned()))
        });
        let id = cookie(headers, ID).filter(|id| id.len() >= 16 && is_plain(id, 64));
        Self { scope, id: id.map(str::to_owned), clicks: clicks.collect(), ..Self::default() }
    }

    /// The id by which the visitor is known, if they are.
    pub(super) fn known(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Looks at what one event's signals allow. One refusal is enough.
    pub(super) fn consider(&mut self, state: &State, model: Model) {
        let clicks = allowed(state, model, Purpose::AdStorage);
        let measured = allowed(state, model, Purpose::AnalyticsStorage);
        let either = match (clicks, measured) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), _) | (_, Some(false)) => Some(false),
            (None, None) => None,
        };
        strictest(&mut self.may_keep, clicks);
        strictest(&mut self.may_know, either);
    }

    /// The anonymous id for an event that has none, made where there is none yet.
    pub(super) fn id(&mut self) -> Option<&str> {
        if self.may_know != Some(true) || self.scope.is_none() {
            return None;
        }
        if self.id.is_none() {
            let bytes = clock::random::<16>().ok()?;
            self.id = Some(HEXLOWER.encode(&bytes));
        }
        self.id.as_deref()
    }

    /// The `Set-Cookie` lines of the answer.
    pub(super) fn answer(mut self) -> Vec<HeaderValue> {
        let Some(scope) = self.scope.take() else { return Vec::new() };
        let domain = match &scope {
            Scope::Host => String::new(),
            Scope::Domain(domain) => format!("; Domain={domain}"),
        };
        let line = |name: &str, value: &str, seconds: u32, more: &str| {
            let line = format!(
                "{name}={value}; Path=/; Max-Age={seconds}; SameSite=Lax; Secure{more}{domain}"
            );
            HeaderValue::try_from(line).ok()
        };
        let mut lines = Vec::new();
        match (self.may_know, &self.id) {
            (Some(true), Some(id)) => lines.push(line(ID, id, ID_SECONDS, "; HttpOnly")),
            (Some(false), Some(_)) => lines.push(line(ID, "", 0, "; HttpOnly")),
            _ => {}
        }
        for (name, value) in &self.clicks {
            match self.may_keep {
                Some(true) => lines.push(line(name, value, CLICK_SECONDS, "")),
                Some(false) => lines.push(line(name, "", 0, "")),
                None => {}
            }
        }
        lines.into_iter().flatten().collect()
    }
}

fn strictest(so_far: &mut Option<bool>, next: Option<bool>) {
    *so_far = match (*so_far, next) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), _) | (_, Some(true)) => Some(true),
        (None, None) => None,
    };
}

/// Whether something may be kept on the visitor's device for a purpose.
fn allowed(state: &State, model: Model, purpose: Purpose) -> Option<bool> {
    if state.minor || state.opt_out.any() {
        return Some(false);
    }
    match state.grants.get(purpose) {
        Grant::Granted => Some(true),
        Grant::Denied => Some(false),
        Grant::NotAsked => (model == Model::OptOut).then_some(true),
    }
}

/// The domain that a page's host and the relay's have in common, if it is more than a suffix
/// anybody may register under: browsers refuse those (`co.uk`) themselves.
fn scope(origin: &str, host: &str) -> Option<Scope> {
    let page = bare(origin.split_once("://")?.1)?;
    let own = bare(host)?;
    if page == own {
        return Some(Scope::Host);
    }
    if own.parse::<std::net::IpAddr>().is_ok() || own.starts_with('[') {
        return None;
    }
    let shared: Vec<&str> = page
        .rsplit('.')
        .zip(own.rsplit('.'))
        .take_while(|(one, other)| one == other && !one.is_empty())
        .map(|(one, _)| one)
        .collect();
    let domain: Vec<&str> = shared.into_iter().rev().collect();
    (domain.len() >= 2).then(|| Scope::Domain(domain.join(".")))
}

/// A host without its port, in lower case; nothing that could end a header's attribute.
fn bare(authority: &str) -> Option<String> {
    let end = if authority.starts_with('[') {
        authority.find(']').map(|at| at + 1)
    } else {
        authority.find(':')
    };
    let host = end.and_then(|end| authority.get(..end)).unwrap_or(authority).to_ascii_lowercase();
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    (!host.is_empty() && host.chars().all(is_host)).then_some(host)
}

/// The value of one cookie of a request.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.trim(), value.trim()))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// RFC 6265, 4.1.1: what a cookie's value may be made of, and no longer than `at_most`.
fn is_plain(value: &str, at_most: usize) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\');
    !value.is_empty() && value.len() <= at_most && value.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consent::{Grants, OptOut};

    fn headers(origin: &str, host: &str, cookies: &str) -> HeaderMap {
        [(header::ORIGIN, origin), (header::HOST, host), (header::COOKIE, cookies)]
            .into_iter()
            .map(|(name, value)| (name, value.parse().unwrap()))
            .collect()
    }

    fn state(ads: Grant, measured: Grant) -> State {
        let grants = Grants { ad_storage: ads, analytics_storage: measured, ..Grants::default() };
        State { grants, ..State::default() }
    }

    /// What is set, by name, with its lifetime.
    fn set(jar: Jar) -> Vec<String> {
        let lines = jar.answer();
        let short = |line: &HeaderValue| {
            let text = line.to_str().unwrap();
            assert!(text.contains("; SameSite=Lax; Secure"), "{text}");
            assert_eq!(text.starts_with(ID), text.contains("HttpOnly"), "{text}");
            text.split("; SameSite").next().unwrap().to_owned()
        };
        lines.iter().map(short).collect()
    }

    #[test]
    fn only_consent_sets_and_a_refusal_removes() {
        use Grant::{Denied, Granted, NotAsked};
        let id = "0123456789abcdef";
        let brought = format!("_fbp=fb.1.1.2; a=b; _relay_id={id}; _fbc=x\"y");
        for (ads, measured, model, expected) in [
            (Granted, NotAsked, Model::OptIn, "id=180 _fbp=90"),
            (Denied, Granted, Model::OptIn, "id=180 _fbp=0"),
            (Denied, Denied, Model::OptIn, "id=0 _fbp=0"),
            (Denied, NotAsked, Model::OptIn, "id=0 _fbp=0"),
            (NotAsked, NotAsked, Model::OptIn, ""),
            (NotAsked, NotAsked, Model::OptOut, "id=180 _fbp=90"),
            (NotAsked, Denied, Model::OptOut, "id=180 _fbp=90"),
        ] {
            let mut jar = Jar::of(&headers("https://www.shop.example", "t.shop.example", &brought));
            jar.consider(&state(ads, measured), model);
            let found: Vec<String> = set(jar)
                .iter()
                .map(|line| {
                    let name = if line.starts_with(ID) { "id" } else { "_fbp" };
                    let seconds: u32 = line.split("Max-Age=").nth(1).unwrap().parse().unwrap();
                    assert_eq!(seconds == 0, line.contains("=; Path"), "{line}");
                    format!("{name}={}", seconds / 86_400)
                })
                .collect();
            assert_eq!(found.join(" "), expected, "{ads:?} {measured:?} {model:?}");
        }
        let mut jar = Jar::of(&headers("https://shop.example", "shop.example", &brought));
        jar.consider(&state(Granted, Granted), Model::OptIn);
        let gpc = OptOut { sale: true, sharing: true, targeted: true, sources: Vec::new() };
        jar.consider(&State { opt_out: gpc, ..state(Granted, Granted) }, Model::OptOut);
        assert_eq!(jar.id(), None);
        assert_eq!(set(jar), ["_relay_id=; Path=/; Max-Age=0", "_fbp=; Path=/; Max-Age=0"]);
    }

    #[test]
    fn an_id_is_made_once_and_only_where_it_can_be_kept() {
        let mut jar = Jar::of(&headers("https://shop.example", "shop.example", "x=y"));
        assert_eq!(jar.id(), None, "nobody was asked");
        jar.consider(&state(Grant::Granted, Grant::Granted), Model::OptIn);
        let id = jar.id().unwrap().to_owned();
        assert_eq!((id.len(), jar.id()), (32, Some(id.as_str())));
        assert_eq!(set(jar), [format!("_relay_id={id}; Path=/; Max-Age=15552000")]);
        let mut third = Jar::of(&headers(
            "https://shop.example",
            "relay.example",
            "_relay_id=0123456789abcdef",
        ));
        third.consider(&state(Grant::Granted, Grant::Granted), Model::OptIn);
        assert_eq!(third.id(), None);
        assert!(third.answer().is_empty(), "another site's");
    }

    #[test]
    fn scopes() {
        for (origin, host, expected) in [
            ("https://shop.example", "shop.example:443", Some(Scope::Host)),
            ("http://127.0.0.1:1", "127.0.0.1:2", Some(Scope::Host)),
            ("http://[::1]:1", "[::1]:2", Some(Scope::Host)),
            (
                "https://www.shop.example",
                "t.SHOP.example",
                Some(Scope::Domain("shop.example".to_owned())),
            ),
            (
                "https://shop.example",
                "t.shop.example",
                Some(Scope::Domain("shop.example".to_owned())),
            ),
            ("https://other.example", "t.shop.example", None),
            ("http://10.0.0.1", "10.0.1.1", None),
            ("http://1.2.0.1", "9.2.0.1", None),
            ("null", "shop.example", None),
            ("https://shop.example;x", "shop.example", None),
        ] {
            assert_eq!(scope(origin, host), expected, "{origin} {host}");
        }
    }
}
