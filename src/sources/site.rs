//! To which site an event belongs, and whether its write key may send it.

use super::{
    Door, Rejection, RejectionCode,
    json::Node,
    typed::{self, Path},
};
use crate::config::{Config, Site, nearest};

/// The site: the event's own word, else the write key's single site, else the page's host, else the
/// only one there is.
pub(super) fn of<'c>(
    node: &Node<'_>,
    door: &Door<'_>,
    config: &'c Config,
) -> Result<&'c Site, Rejection> {
    let path = Path::Root.key("site");
    let named = typed::text(node.get("site").unwrap_or(&Node::Null), &path)?.map(str::trim);
    let allowed = door.key.map(|key| key.sites.as_slice()).filter(|sites| !sites.is_empty());
    if let Some(name) = named {
        let Some(site) = config.sites.get(name) else {
            let message = format!("no such site; {}", known(Some(name), config));
            return Err(path.reject(RejectionCode::SiteUnknown, message));
        };
        return permitted(site, allowed);
    }
    if let Some([only]) = allowed {
        return config.sites.get(only).map(AsRef::as_ref).ok_or_else(|| {
            let message = "the write key's site is not configured";
            path.reject(RejectionCode::SiteUnknown, message)
        });
    }
    let page_url = node.get("context").and_then(|context| context.get("page_url"));
    if let Some(host) = page_url.and_then(Node::as_text).and_then(host) {
        let of_host = |site: &&std::sync::Arc<Site>| {
            site.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
        };
        if let Some(site) = config.sites.values().find(of_host) {
            return permitted(site, allowed);
        }
    }
    match (allowed, config.sites.values().next()) {
        (None, Some(only)) if config.sites.len() == 1 => Ok(only),
        _ => {
            let message = format!(
                "nothing says which site it belongs to: \"site\" (Segment's calls: context.site; the \
                 Measurement Protocol: ?site=), a page URL on one of its hosts, or a write key of one \
                 site; {}",
                known(None, config)
            );
            Err(path.reject(RejectionCode::SiteUnknown, message))
        }
    }
}

/// The sites that there are, after the one whose name is nearest to what was written.
fn known(written: Option<&str>, config: &Config) -> String {
    let names: Vec<&str> = config.sites.keys().map(String::as_str).collect();
    let nearest = written
        .and_then(|written| nearest(written, names.iter().copied()))
        .map(|near| format!("the nearest is {near:?}; "));
    format!("{}known are {}", nearest.unwrap_or_default(), names.join(", "))
}

fn permitted<'c>(site: &'c Site, allowed: Option<&[String]>) -> Result<&'c Site, Rejection> {
    if allowed.is_none_or(|sites| sites.contains(&site.name)) {
        return Ok(site);
    }
    let message = format!("this write key may not send for site {:?}", site.name);
    Err(Path::Root.key("site").reject(RejectionCode::NotAllowed, message))
}

/// The host of a URL, without port and credentials.
fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.trim().split_once("//")?;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let end = if host.starts_with('[') { host.find(']').map(|i| i + 1) } else { host.find(':') };
    let host = end.and_then(|end| host.get(..end)).unwrap_or(host);
    (!host.is_empty()).then_some(host)
}

/// Whether the write key may send an event of this name. What nobody planned goes on, to be refused
/// by its name.
pub(super) fn may_send(name: &str, door: &Door<'_>, config: &Config) -> Result<(), Rejection> {
    let Some(key) = door.key else { return Ok(()) };
    let planned = config.plan.by_incoming.get(name).into_iter().flatten();
    let kinds = planned.filter_map(|event| config.plan.events.get(event)).map(|event| event.kind);
    if key.may_send(name, kinds) {
        return Ok(());
    }
    let message = "this write key may not send this event; list it in the key's `events` (a browser \
                   key sends micro events only, unless they name it)";
    Err(Path::Root.key("event").reject(RejectionCode::NotAllowed, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (url, expected) in [
            ("https://shop.example/a?b", Some("shop.example")),
            ("https://shop.example:8443", Some("shop.example")),
            ("https://u:p@shop.example#x", Some("shop.example")),
            ("//shop.example", Some("shop.example")),
            ("https://[2001:db8::1]:443/", Some("[2001:db8::1]")),
            ("/checkout", None),
            ("https:///", None),
        ] {
            assert_eq!(host(url), expected, "{url}");
        }
    }
}
