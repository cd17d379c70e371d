//! Which hosts can be reached from anywhere, and which only from here. It refuses to resolve names:
//! that is whoever calls them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::Host;

/// Whether a host, as it is written, is only reachable from here. A name is so only where it means
/// this machine whatever it resolves to (RFC 6761, 6.3).
pub fn is_private(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(ip) => !is_public(IpAddr::V4(*ip)),
        Host::Ipv6(ip) => !is_public(IpAddr::V6(*ip)),
        Host::Domain(name) => is_localhost(name),
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether an address is reachable from anywhere (IANA's special-purpose registries).
pub fn is_public(ip: IpAddr) -> bool {
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
}
