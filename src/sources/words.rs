//! What another's format says, in the relay's own words: members of an event under the relay's names,
//! with where each of them stood in what was sent. [`super::native`] then reads the result, so that
//! there is one reading of an event, whatever door it came through. Nothing here judges a value.

use std::borrow::Cow;

use rust_decimal::Decimal;

use super::{Asked, Rejection, json::Node, typed::is_absent};
use crate::event::Field;

/// An event of another's format in the relay's own words.
#[derive(Debug, Clone)]
pub struct Told<'a> {
    /// As `POST /v1/events` would take it.
    pub node: Node<'a>,
    /// Pointers of the node with those of what was sent.
    places: Vec<(String, String)>,
    /// What the sender asks for besides.
    pub asked: Asked,
}

impl Told<'_> {
    /// Moves a rejection's path to where the value stood in what was sent.
    pub fn place(&self, rejection: &mut Rejection) {
        let below = |own: &str| {
            let rest = rejection.path.strip_prefix(own)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| rest.to_owned())
        };
        let places =
            self.places.iter().filter_map(|(own, theirs)| Some((own, theirs, below(own)?)));
        if let Some((_, theirs, rest)) = places.max_by_key(|(own, ..)| own.len()) {
            rejection.path = format!("{theirs}{rest}");
        }
    }
}

/// Members as they are put together. What is put first under a name stays.
#[derive(Debug, Default)]
pub(super) struct Words<'a> {
    members: Vec<(Cow<'a, str>, Node<'a>)>,
    places: Vec<(String, String)>,
}

impl<'a> Words<'a> {
    /// Puts what was sent (at the pointer `theirs`) under a dotted path such as `user.email`.
    pub(super) fn put(&mut self, path: &str, node: Option<&Node<'a>>, theirs: &str) {
        let Some(node) = node.filter(|node| !is_absent(node)) else { return };
        if set(&mut self.members, path, || node.clone()) {
            self.places.push((pointer(path), theirs.to_owned()));
        }
    }

    /// The same for a text that others also write as a number.
    pub(super) fn put_text(&mut self, path: &str, node: Option<&Node<'a>>, theirs: &str) {
        match node {
            Some(Node::Number(number)) => {
                let text = Node::Text(Cow::Owned(number.to_string()));
                self.put(path, Some(&text), theirs);
            }
            other => self.put(path, other, theirs),
        }
    }

    /// Puts a text of the relay's own.
    pub(super) fn say(&mut self, path: &str, text: impl Into<Cow<'a, str>>) {
        let text = text.into();
        if !text.trim().is_empty() {
            set(&mut self.members, path, || Node::Text(text));
        }
    }

    /// Puts true or false.
    pub(super) fn flag(&mut self, path: &str, value: bool) {
        set(&mut self.members, path, || Node::Bool(value));
    }

    /// Puts an exact number.
    pub(super) fn number(&mut self, path: &str, number: Decimal) {
        set(&mut self.members, path, || Node::Number(number.to_string().into()));
    }

    /// Puts a list or an object.
    pub(super) fn whole(&mut self, path: &str, node: &Node<'a>, theirs: &str) {
        self.put(path, Some(node), theirs);
    }

    /// Puts a member as it is.
    pub(super) fn member(&mut self, key: Cow<'a, str>, node: Node<'a>) {
        self.members.push((key, node));
    }

    /// Says where in what was sent the event stands: at the pointer `theirs`.
    pub(super) fn stands(&mut self, theirs: &str) {
        self.places.push((String::new(), theirs.to_owned()));
    }

    /// Takes back what is under a dotted path.
    pub(super) fn take_back(&mut self, path: &str) {
        let (groups, key) = path.rsplit_once('.').unwrap_or(("", path));
        let groups = groups.split('.').filter(|group| !group.is_empty());
        let members =
            groups.into_iter().try_fold(&mut self.members, |members, group| {
                match members.iter_mut().find(|(name, _)| name == group) {
                    Some((_, Node::Object(below))) => Some(below),
                    _ => None,
                }
            });
        if let Some(members) = members {
            members.retain(|(name, _)| name != key);
        }
    }

    /// What is under a dotted path so far.
    pub(super) fn get(&self, path: &str) -> Option<&Node<'a>> {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let mut node = self.members.iter().find(|(key, _)| key == first).map(|(_, node)| node)?;
        for key in rest.split('.').filter(|key| !key.is_empty()) {
            node = node.get(key)?;
        }
        Some(node)
    }

    /// Done.
    pub(super) fn told(self, asked: Asked) -> Told<'a> {
        Told { node: Node::Object(self.members), places: self.places, asked }
    }

    /// Done, for a part such as an item.
    pub(super) fn node(self) -> Node<'a> {
        Node::Object(self.members)
    }

    /// A pair of a name and a value that a shop's pages left with an order or a payment: click ids,
    /// consent and campaign under the names of the interface, of the platforms' cookies (`_fbp`) or
    /// of the Customer Privacy API (`marketingAllowed`). Whether it was one of these.
    pub(super) fn pair(&mut self, name: &str, node: &Node<'a>, theirs: &str) -> bool {
        let plain = name.trim().trim_start_matches('_').to_ascii_lowercase();
        if plain == "ga" {
            // The cookie is a version, a depth and the client id: `GA1.2.1234567890.1700000000`.
            // https://developers.google.com/tag-platform/security/guides/customize-cookies (2026-11-22)
            if let Some(id) = node.as_text().and_then(ga_client_id) {
                self.put("click_ids.ga_client_id", Some(&Node::Text(id.into())), theirs);
            }
            return true;
        }
        if let Some(field) = click_id(&plain) {
            self.put_text(&format!("click_ids.{}", field.key()), Some(node), theirs);
            return true;
        }
        let granted = |node: &Node<'_>| match node {
            Node::Bool(value) => Some(*value),
            Node::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" | "granted" => Some(true),
                "false" | "no" | "0" | "denied" => Some(false),
                _ => None,
            },
            _ => None,
        };
        let purposes: &[&str] = match plain.as_str() {
            "marketingallowed" => &["ad_storage", "ad_user_data", "ad_personalization"],
            "analyticsallowed" | "analyticsprocessingallowed" => &["analytics_storage"],
            "ad_storage" => &["ad_storage"],
            "ad_user_data" => &["ad_user_data"],
            "ad_personalization" => &["ad_personalization"],
            "analytics_storage" => &["analytics_storage"],
            "saleofdataallowed" => {
                if let Some(allowed) = granted(node) {
                    // An allowance lifts nothing: only a grant does.
                    if !allowed {
                        self.flag("consent.opt_out", true);
                    }
                }
                return true;
            }
            "tcf" | "gpp" | "us_privacy" | "gcs" | "gcd" | "additional_consent" => {
                self.put(&format!("consent.{plain}"), Some(node), theirs);
                return true;
            }
            "gpc" => {
                if let Some(value) = granted(node) {
                    self.flag("consent.gpc", value);
                }
                return true;
            }
            "consent_region" => {
                self.put("consent.region", Some(node), theirs);
                return true;
            }
            "utm_source" | "utm_medium" | "utm_campaign" | "utm_term" | "utm_content" => {
                let key = match plain.as_str() {
                    "utm_campaign" => "name",
                    other => other.trim_start_matches("utm_"),
                };
                self.put_text(&format!("context.campaign.{key}"), Some(node), theirs);
                return true;
            }
            "user_agent" | "page_url" | "landing_page" | "referrer" | "session_id" | "ip" => {
                self.put_text(&format!("context.{plain}"), Some(node), theirs);
                return true;
            }
            _ => return false,
        };
        if let Some(allowed) = granted(node) {
            for purpose in purposes {
                let path = format!("consent.{purpose}");
                if !allowed {
                    // Of two words of one moment the stricter counts.
                    self.take_back(&path);
                }
                self.say(&path, if allowed { "granted" } else { "denied" });
            }
        }
        true
    }

    /// What others' carts do not say and success criteria ask for: how many units there are.
    pub(super) fn count_items(&mut self) {
        if self.get("properties.cart_size").is_some() {
            return;
        }
        let Some(Node::List(items)) = self.get("properties.items") else { return };
        let units = items.iter().map(|item| {
            let quantity = item.get("quantity").and_then(amount).unwrap_or(Decimal::ONE);
            quantity.clamp(Decimal::ZERO, Decimal::from(1_000_000))
        });
        let units: Decimal = units.take(10_000).sum();
        self.number("properties.cart_size", units.normalize());
    }
}

/// The click id of a name; `None`: it is none.
pub(super) fn click_id(name: &str) -> Option<Field> {
    // Outbrain's parameter of a landing page, and its pixel's name: the same id.
    let name = if matches!(name, "dicbo" | "outbrainclickid") { "ob_click_id" } else { name };
    Field::parse(&format!("click_ids.{name}")).filter(|field| !field.holds_json())
}

/// The client id in the cookie `_ga`, or the value that is one.
fn ga_client_id(cookie: &str) -> Option<String> {
    let parts: Vec<&str> = cookie.trim().split('.').collect();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match parts.as_slice() {
        [random, time] | ["GA1", _, random, time] if is_number(random) && is_number(time) => {
            Some(format!("{random}.{time}"))
        }
        _ => None,
    }
}

/// The decimal of a number, or of a text that is one.
pub(super) fn amount(node: &Node<'_>) -> Option<Decimal> {
    match node {
        Node::Number(number) => super::amount::parse(number),
        Node::Text(text) => super::amount::parse(text.trim()),
        _ => None,
    }
}

/// The node below a chain of keys.
pub(super) fn at<'n, 'a>(node: &'n Node<'a>, keys: &[&str]) -> Option<&'n Node<'a>> {
    keys.iter().try_fold(node, |node, key| node.get(key)).filter(|node| !is_absent(node))
}

/// How many bytes a node takes as JSON, as good as exactly: escapes are not counted.
pub(super) fn weight(node: &Node<'_>) -> usize {
    match node {
        Node::Null | Node::Flawed(_) => 4,
        Node::Bool(value) => 4 + usize::from(!value),
        Node::Number(number) => number.len(),
        Node::Text(text) => text.len() + 2,
        Node::List(members) => 2 + members.iter().map(|node| weight(node) + 1).sum::<usize>(),
        Node::Object(members) => {
            2 + members.iter().map(|(key, node)| key.len() + weight(node) + 4).sum::<usize>()
        }
    }
}

fn pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}

/// Whether it was put: what is there stays.
fn set<'a>(
    members: &mut Vec<(Cow<'a, str>, Node<'a>)>,
    path: &str,
    node: impl FnOnce() -> Node<'a>,
) -> bool {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    let position = members.iter().position(|(key, _)| key == first);
    match (position, rest) {
        (Some(_), None) => false,
        (None, None) => {
            members.push((Cow::Owned(first.to_owned()), node()));
            true
        }
        (Some(at), Some(rest)) => match members.get_mut(at) {
            Some((_, Node::Object(below))) => set(below, rest, node),
            _ => false,
        },
        (None, Some(rest)) => {
            let mut below = Vec::new();
            set(&mut below, rest, node);
            members.push((Cow::Owned(first.to_owned()), Node::Object(below)));
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{RejectionCode, json};

    #[test]
    fn what_comes_first_stays_and_is_found_again() {
        let sent = json::parse(r#"{"a": {"b": "x", "n": 5}}"#, 9).unwrap();
        let mut words = Words::default();
        words.put_text("user.phone", at(&sent, &["a", "n"]), "/a/n");
        words.put("user.phone", at(&sent, &["a", "b"]), "/a/b");
        words.put("user.email", at(&sent, &["a", "b"]), "/a/b");
        words.put("user.email.deeper", at(&sent, &["a", "b"]), "/a/b");
        words.put("user.city", at(&sent, &["a", "c"]), "/a/c");
        assert_eq!(words.get("user.phone"), Some(&Node::Text("5".into())));
        let told = words.told(Asked::default());
        let mut wrong = Rejection::new(RejectionCode::InvalidField, "", "/user/email/0");
        told.place(&mut wrong);
        assert_eq!(wrong.path, "/a/b/0");
        let mut other = Rejection::new(RejectionCode::InvalidField, "", "/user/emails");
        told.place(&mut other);
        assert_eq!(other.path, "/user/emails");
    }

    #[test]
    fn pairs_of_shops() {
        let mut words = Words::default();
        for (name, value) in [
            ("_fbp", "fb.1.1.2"),
            ("gclid", "G"),
            ("marketingAllowed", "true"),
            ("ad_personalization", "denied"),
            ("saleOfDataAllowed", "false"),
        ] {
            assert!(words.pair(name, &Node::Text(value.into()), "/x"), "{name}");
        }
        assert!(!words.pair("gift_note", &Node::Text("hello".into()), "/x"));
        assert_eq!(words.get("click_ids.fbp"), Some(&Node::Text("fb.1.1.2".into())));
        assert_eq!(words.get("consent.ad_storage"), Some(&Node::Text("granted".into())));
        assert_eq!(
            words.get("consent.ad_personalization"),
            Some(&Node::Text("denied".into())),
            "the stricter word stands"
        );
        assert_eq!(words.get("consent.opt_out"), Some(&Node::Bool(true)));
    }
}
