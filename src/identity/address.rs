//! A visitor's address in the form that a region allows.

use std::net::IpAddr;

use crate::consent::IpForm;

/// The address in full, cut to its /24 or /48, or not at all. `None` where it is no address.
pub fn ip_in_form(ip: &str, form: IpForm) -> Option<String> {
    let address: IpAddr = ip.trim().parse().ok()?;
    match (form, address) {
        (IpForm::None, _) => None,
        (IpForm::Full, address) => Some(address.to_string()),
        (IpForm::Truncated, IpAddr::V4(v4)) => {
            let [a, b, c, _] = v4.octets();
            Some(std::net::Ipv4Addr::new(a, b, c, 0).to_string())
        }
        (IpForm::Truncated, IpAddr::V6(v6)) => {
            let [a, b, c, ..] = v6.segments();
            Some(std::net::Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_string())
        }
    }
}
