//! Which addresses a destination with a URL of its owner's choice may reach: none that are only
//! reachable from here, so that a webhook cannot be pointed at the machine's own services.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// What a refused resolution says; the client recognises it by [`is_refusal`].
#[derive(Debug, thiserror::Error)]
#[error("{host} is a private or link-local address; allow_private = true permits it")]
pub(super) struct Refusal {
    host: String,
}

/// Refuses private addresses of the hosts that are called. Other names, such as a proxy's, are
/// resolved as they are: where a proxy is used, it is the proxy that resolves the destination.
#[derive(Debug, Clone, Default)]
pub(super) struct Guard {
    // A std mutex: held for a lookup in a set of a few names, never over an await.
    hosts: Arc<Mutex<BTreeSet<String>>>,
}

impl Guard {
    /// Checks a URL that is about to be called, and remembers its host for the resolver.
    pub(super) fn check(&self, url: &Url) -> Result<(), Refusal> {
        let refused = |host: String| Err(Refusal { host });
        match url.host() {
            Some(Host::Ipv4(ip)) if !is_public(IpAddr::V4(ip)) => refused(ip.to_string()),
            Some(Host::Ipv6(ip)) if !is_public(IpAddr::V6(ip)) => refused(ip.to_string()),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => Ok(()),
            // Whatever it resolves to here, it is this machine (RFC 6761, 6.3).
            Some(Host::Domain(name)) if is_localhost(name) => refused(name.to_owned()),
            Some(Host::Domain(name)) => {
                self.lock().insert(name.to_owned());
                Ok(())
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let guarded = self.lock().contains(&host);
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            // One private address among public ones is refused whole: which one would be called
            // is not ours to choose.
            if guarded && found.iter().any(|address| !is_public(address.ip())) {
                return Err(Refusal { host }.into());
            }
            if found.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "no address").into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an error, or what caused it, is a refusal of ours.
pub(super) fn is_refusal(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut source = Some(error);
    while let Some(error) = source {
        if error.is::<Refusal>() {
            return true;
        }
        source = error.source();
    }
    false
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether an address is reachable from anywhere (IANA's special-purpose registries).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmark = a == 198 && (18..20).contains(&b);
    // IETF protocols (192.0.0.0/24), the 6to4 relays that were (192.88.99.0/24).
    let protocol = matches!((a, b, c), (192, 0, 0) | (192, 88, 99));
    let reserved = a == 0 || a >= 224;
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || shared
        || benchmark
        || protocol
        || reserved)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(v4) = ip.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let [first, second, third, fourth, fifth, sixth, high, low] = ip.segments();
    // NAT64's well-known prefix (64:ff9b::/96, RFC 6052) carries an IPv4 address.
    if (first, second) == (0x64, 0xff9b) {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        let is_well_known = (third, fourth, fifth, sixth) == (0, 0, 0, 0);
        return is_well_known && is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    // What is assigned for unicast is 2000::/3, and of that not: protocols (2001::/23, with Teredo),
    // documentation (2001:db8::/32, 3fff::/20) and 6to4 (2002::/16), which carries an IPv4 address.
    let unicast = first & 0xe000 == 0x2000;
    let protocol = first == 0x2001 && second < 0x200;
    let documentation = (first, second) == (0x2001, 0xdb8) || (first == 0x3fff && second < 0x1000);
    unicast && !(protocol || documentation || first == 0x2002)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_reachable_from_here_is_not_public() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "fd00:ec2::254",
            "fec0::1",
            "64:ff9b:1::a00:1",
            "64:ff9b::a9fe:a9fe",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "192.0.0.192",
            "192.88.99.1",
            "100.100.100.200",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in
            ["8.8.8.8", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "64:ff9b::808:808"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn literal_addresses_are_checked_however_they_are_written() {
        let guard = Guard::default();
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]/",
            "http://0/",
            "http://0.0.0.0:8081/",
            "http://017700000001/",
            "http://127.1/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[::ffff:169.254.169.254]/",
            "http://[::ffff:7f00:1]/",
            "http://\u{2460}\u{2461}\u{2466}.0.0.1/",
            "http://10.0.0.1./",
        ] {
            assert!(guard.check(&Url::parse(url).unwrap()).is_err(), "{url}");
        }
        assert!(guard.check(&Url::parse("https://hooks.example.com/x").unwrap()).is_ok());
    }

    #[tokio::test]
    async fn names_are_refused_by_what_they_resolve_to_unless_they_are_not_called() {
        let guard = Guard::default();
        let resolve = |guard: &Guard| guard.resolve("localhost".parse().unwrap());
        assert!(resolve(&guard).await.is_ok(), "a proxy's name is not guarded");
        guard.lock().insert("localhost".to_owned());
        let Err(refused) = resolve(&guard).await else { panic!("resolved") };
        assert!(is_refusal(refused.as_ref()));
    }
}
