//! Where a visitor is calling from. The connection tells, unless it is one of the trusted proxies:
//! only they may name another address.

use std::net::IpAddr;

use axum::http::HeaderMap;
use ipnet::IpNet;

use crate::{
    config::{KeyKind, Listen, WriteKey},
    consent::{RegionSource, Rules, Whereabouts},
};

/// The visitor's address.
pub(super) fn address(peer: IpAddr, headers: &HeaderMap, listen: &Listen) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, &listen.trusted_proxies) {
        return peer;
    }
    if let Some(name) = &listen.client_ip_header {
        let value = headers.get(name.as_str()).and_then(|value| value.to_str().ok());
        return value.and_then(parse).unwrap_or(peer);
    }
    // Each proxy adds whom it heard at the right. Whatever stands left of the first address that
    // is not ours was written by the visitor.
    let mut nearest = peer;
    let lines: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Some(address) = parse(hop) else { break };
        nearest = address;
        if !is_trusted(address, &listen.trusted_proxies) {
            break;
        }
    }
    nearest
}

/// What the connection tells of where the visitor is: nothing for a backend, whose connection is
/// its own. A region's header is believed from trusted proxies only: anybody could write one that
/// names a country with a looser law.
pub(super) fn whereabouts(
    key: &WriteKey,
    peer: IpAddr,
    address: IpAddr,
    headers: &HeaderMap,
    listen: &Listen,
    rules: &Rules,
) -> Whereabouts {
    if key.kind == KeyKind::Server {
        return Whereabouts { event_is_believed: true, ..Whereabouts::default() };
    }
    let believed = is_trusted(peer.to_canonical(), &listen.trusted_proxies);
    let named = rules.region_from.iter().filter_map(|source| match source {
        RegionSource::Header(name) if believed => {
            let value = headers.get(name.as_str())?.to_str().ok()?;
            Some((name.to_ascii_lowercase(), value.to_owned()))
        }
        RegionSource::Header(_) | RegionSource::Event | RegionSource::Geoip => None,
    });
    Whereabouts {
        event_is_believed: false,
        headers: named.collect(),
        address: Some(address),
        ..Whereabouts::default()
    }
}

fn is_trusted(address: IpAddr, proxies: &[IpNet]) -> bool {
    proxies.iter().any(|network| network.contains(&address))
}

/// An address, also with a port and in brackets.
fn parse(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address: IpAddr = match text.parse() {
        Ok(address) => address,
        Err(_) => match text.parse::<std::net::SocketAddr>() {
            Ok(with_port) => with_port.ip(),
            Err(_) => text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?,
        },
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::fixtures;

    fn listen(header: Option<&str>) -> Listen {
        Listen {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            client_ip_header: header.map(str::to_owned),
            ..fixtures::config().listen
        }
    }

    fn seen(peer: &str, lines: &[(&'static str, &str)], header: Option<&str>) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        address(peer.parse().unwrap(), &headers, &listen(header)).to_string()
    }

    #[test]
    fn only_trusted_proxies_name_the_client() {
        const FORWARDED: &str = "x-forwarded-for";
        for (peer, lines, expected) in [
            ("203.0.113.9", vec![(FORWARDED, "192.0.2.1")], "203.0.113.9"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec![(FORWARDED, "192.0.2.1")], "192.0.2.1"),
            ("10.0.0.1", vec![(FORWARDED, "1.1.1.1, 192.0.2.1, 10.0.0.2")], "192.0.2.1"),
            (
                "10.0.0.1",
                vec![(FORWARDED, "1.1.1.1"), (FORWARDED, "192.0.2.1,10.0.0.2")],
                "192.0.2.1",
            ),
            ("10.0.0.1", vec![(FORWARDED, "spoof, 192.0.2.1:4711")], "192.0.2.1"),
            ("10.0.0.1", vec![(FORWARDED, "192.0.2.1, unknown")], "10.0.0.1"),
            ("10.0.0.1", vec![(FORWARDED, "10.0.0.3")], "10.0.0.3"),
            ("fd00::1", vec![(FORWARDED, "[2001:db8::1]:80")], "2001:db8::1"),
            ("::ffff:10.0.0.1", vec![(FORWARDED, "192.0.2.1")], "192.0.2.1"),
        ] {
            assert_eq!(seen(peer, &lines, None), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn a_configured_header_replaces_the_usual_one() {
        let lines = [("cf-connecting-ip", "192.0.2.7"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(seen("10.0.0.1", &lines, Some("CF-Connecting-IP")), "192.0.2.7");
        assert_eq!(seen("203.0.113.9", &lines, Some("CF-Connecting-IP")), "203.0.113.9");
        assert_eq!(seen("10.0.0.1", &lines[1..], Some("CF-Connecting-IP")), "10.0.0.1");
    }

    #[test]
    fn a_backend_connection_tells_nothing_of_the_visitor() {
        let mut headers = HeaderMap::new();
        headers.insert("cf-ipcountry", "US".parse().unwrap());
        let mut config = fixtures::config();
        config.consent.region_from = vec![RegionSource::Header("CF-IPCountry".to_owned())];
        let at = "203.0.113.9".parse().unwrap();
        let of = |kind, listen: &Listen| {
            whereabouts(&fixtures::key(kind), at, at, &headers, listen, &config.consent)
        };
        let server = of(KeyKind::Server, &config.listen);
        assert!(server.event_is_believed && server.headers.is_empty() && server.address.is_none());
        let browser = of(KeyKind::Browser, &config.listen);
        assert!(browser.headers.is_empty(), "no proxy is trusted here");
        assert_eq!(browser.address, Some(at));
        assert!(of(KeyKind::Browser, &listen(None)).headers.is_empty(), "not from a stranger");
        let proxied = |peer: &str| {
            let peer = peer.parse().unwrap();
            let key = fixtures::key(KeyKind::Browser);
            whereabouts(&key, peer, at, &headers, &listen(None), &config.consent).headers
        };
        assert_eq!(proxied("10.0.0.1"), [("cf-ipcountry".to_owned(), "US".to_owned())]);
    }
}
