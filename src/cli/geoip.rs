//! The regions of a MaxMind-format database, opened here and passed on as a value: whatever decides
//! about consent only sees a function.

use std::{net::IpAddr, sync::Arc};

use anyhow::Context as _;

use crate::config::Config;

/// Where an address is, such as `US-CA` or `DE`; `None` where nobody knows.
pub(super) type Regions = Arc<dyn Fn(IpAddr) -> Option<String> + Send + Sync>;

/// The regions of the configured database: country, with the first subdivision where it has one.
/// Without a database nobody knows where an address is.
pub(super) fn regions(config: &Config) -> anyhow::Result<Regions> {
    let Some(path) = &config.geoip else { return Ok(Arc::new(|_| None)) };
    let reader = maxminddb::Reader::open_readfile(path).with_context(|| {
        format!("geoip: {} cannot be read; it must be a MaxMind-format database", path.display())
    })?;
    Ok(Arc::new(move |address| {
        let found: maxminddb::geoip2::City<'_> =
            reader.lookup(address.to_canonical()).ok()?.decode().ok()??;
        let country = found.country.iso_code?;
        let state = found.subdivisions.first().and_then(|subdivision| subdivision.iso_code);
        Some(state.map_or_else(|| country.to_owned(), |state| format!("{country}-{state}")))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::fixtures;

    #[test]
    fn an_address_has_the_region_of_its_network() {
        let mut config = fixtures::config();
        let none = regions(&config).unwrap();
        assert_eq!(none("192.0.2.1".parse().unwrap()), None);
        let database = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/regions.mmdb");
        config.geoip = Some(database.into());
        let regions = regions(&config).unwrap();
        for (address, region) in [
            ("192.0.2.1", Some("US-CA")),
            ("::ffff:192.0.2.1", Some("US-CA")),
            ("198.51.100.7", Some("DE")),
            ("203.0.113.9", Some("US")),
            ("2001:db8:1::7", Some("GB")),
            ("203.0.114.1", None),
            ("::1", None),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(regions(address).as_deref(), region, "{address}");
        }
        config.geoip = Some(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into());
        let error = super::regions(&config).err().unwrap().to_string();
        assert!(error.contains("Cargo.toml cannot be read"), "{error}");
    }
}
