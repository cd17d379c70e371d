//! `relay.toml`, `[listen]`: addresses, proxies, TLS, and what connections may cost.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::Context;
use crate::{
    config::{
        Doors, Listen, Secrets, TlsError, TlsFiles,
        document::{Node, Section},
        read_pair,
    },
    destinations::Mode,
};

/// hyper reads a head into a buffer of at least this size.
const LEAST_HEADER_BYTES: u64 = 8 << 10;

/// Reads the section.
pub(super) fn listen(section: Section<'_>, context: &Context<'_>) -> Listen {
    let address = |key, port| {
        let written = section.get(key).and_then(|node| node.socket_address());
        written.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    };
    let proxy = |text: &str| {
        let address = text.parse::<IpAddr>().map(ipnet::IpNet::from).ok();
        text.parse().ok().or(address)
    };
    let proxies = section.get("trusted_proxies").and_then(|node| node.list()).unwrap_or_default();
    let header = |name: &str| {
        let token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (!name.is_empty() && name.chars().all(token)).then(|| name.to_owned())
    };
    let listen = Listen {
        public: address("public", 8080),
        admin: address("admin", 8081),
        sandbox: address("sandbox", 8090),
        trusted_proxies: proxies
            .iter()
            .filter_map(|node| node.parse("an address or network such as \"10.0.0.0/8\"", proxy))
            .collect(),
        client_ip_header: section
            .get("client_ip_header")
            .and_then(|node| node.parse("a header's name such as \"CF-Connecting-IP\"", header)),
        doors: doors(&section, context),
    };
    one_address_each(&listen, &section, context);
    section.finish();
    listen
}

/// Two listeners cannot have one port of the same addresses; port 0 is a free one for each.
fn one_address_each(listen: &Listen, section: &Section<'_>, context: &Context<'_>) {
    let mut all = vec![("public", listen.public), ("admin", listen.admin)];
    if context.mode == Mode::Sandbox {
        all.push(("sandbox", listen.sandbox));
    }
    let meet = |a: SocketAddr, b: SocketAddr| {
        let is_any = a.ip().is_unspecified() || b.ip().is_unspecified();
        a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || is_any)
    };
    for (at, (key, address)) in all.iter().enumerate() {
        let earlier = all.iter().take(at).find(|(_, other)| meet(*address, *other));
        let Some((other, _)) = earlier else { continue };
        // The one that is written is the one to change.
        let key = if section.get(key).is_some() { *key } else { *other };
        let message = format!(
            "port {} is taken by another listener ([listen] public, admin, and in sandbox mode \
             sandbox): each needs its own",
            address.port()
        );
        context.report.error(&section.place_of(key), message);
    }
}

fn doors(section: &Section<'_>, context: &Context<'_>) -> Doors {
    let default = Doors::default();
    let count = |key, most, default| {
        let written = section.get(key).and_then(|node| node.integer(1, most));
        written.and_then(|number| usize::try_from(number).ok()).unwrap_or(default)
    };
    let bytes = |key, least, default| {
        let node = section.get(key);
        let size = node.as_ref().and_then(|node| node.size());
        if let (Some(node), Some(_)) = (&node, size.filter(|size| *size < least)) {
            node.error(format!("is less than {least} bytes, the least that works"));
        }
        size.and_then(|size| usize::try_from(size).ok()).unwrap_or(default)
    };
    let time = |key, default: Duration| {
        section.get(key).and_then(|node| node.positive_duration()).unwrap_or(default)
    };
    let doors = Doors {
        public_tls: section.get("public_tls").and_then(|node| tls(&node, context)),
        admin_tls: section.get("admin_tls").and_then(|node| tls(&node, context)),
        max_connections: count("max_connections", 1_000_000, default.max_connections),
        max_connections_per_peer: count(
            "max_connections_per_peer",
            1_000_000,
            default.max_connections_per_peer,
        ),
        header_bytes: bytes("header_bytes", LEAST_HEADER_BYTES, default.header_bytes),
        head_timeout: time("head_timeout", default.head_timeout),
        body_timeout: time("body_timeout", default.body_timeout),
        held_bytes: bytes("held_bytes", 1, default.held_bytes),
    };
    if let Some(node) = section.get("max_connections_per_peer")
        && doors.max_connections_per_peer > doors.max_connections
    {
        let all = doors.max_connections;
        node.warning(format!("is above max_connections ({all}), which is reached first"));
    }
    doors
}

/// `{ cert = "public.pem", key = "public.key" }`, paths below the configuration's folder. Like a
/// secret they need not be there to check; what is there must be of use.
fn tls(node: &Node<'_>, context: &Context<'_>) -> Option<TlsFiles> {
    let section = node.section()?;
    let path = |key| {
        let written = section.required(key, &format!("{key} = \"path.pem\""))?;
        // As a secret is referred to elsewhere.
        let text = match written.is_table() {
            true => {
                let inner = written.section()?;
                let file = inner.required("file", "{ file = \"path.pem\" }")?.text();
                inner.finish();
                file
            }
            false => written.text(),
        };
        text.map(|path| context.folder.join(path))
    };
    let (cert, key) = (path("cert"), path("key"));
    section.finish();
    let files = TlsFiles { cert: cert?, key: key? };
    match read_pair(&files) {
        Err(why @ TlsError::Unread(..)) if context.vault.secrets == Secrets::Placeholder => {
            node.warning(format!("{why}; serving needs it"));
        }
        Err(why) => node.error(why.to_string()),
        Ok(_) => {}
    }
    Some(files)
}
