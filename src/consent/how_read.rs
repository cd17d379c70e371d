//! How signals are read, as far as it is settings: the part of the rules that turns what a person
//! said into a state. It is approved as a whole, since every combination rests on it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Purpose, RegionSource, Rules, VendorId};

/// The settings. Numbers are texts: the lock's lines are told apart by a tag, beside which
/// `serde_json` reads no exact number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HowRead {
    /// Where a region is taken from, in order.
    pub region_from: Vec<String>,
    /// GPC counts in every region.
    pub gpc_everywhere: bool,
    /// A sender's word switches TCF off.
    pub trust_gdpr_applies: bool,
    /// A consent platform's categories.
    pub categories: BTreeMap<String, Vec<Purpose>>,
    /// Whose events use remembered grants.
    pub memory_use_for: BTreeSet<String>,
    /// For how many seconds.
    pub memory_max_age: String,
    /// For how many seconds clicks are remembered; absent: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_click_ids: Option<String>,
    /// For how many seconds traits are remembered; absent: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_traits: Option<String>,
    /// TCF and AC ids, where they are not the known ones.
    pub vendors: BTreeMap<String, String>,
    /// Ages below which a person is a minor, by site, where they are not the default.
    pub minimum_ages: BTreeMap<String, String>,
    /// What `relay.toml` says of whose choices count, who is believed about a region, and what of a
    /// page's address is kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub relay: BTreeMap<String, String>,
}

impl HowRead {
    /// The settings of today. `minimum_ages` are those of the sites that have one; `relay` see there.
    pub fn of<'s>(
        rules: &Rules,
        minimum_ages: impl Iterator<Item = (&'s str, u8)>,
        relay: BTreeMap<String, String>,
    ) -> Self {
        let source = |source: &RegionSource| match source {
            RegionSource::Event => "event".to_owned(),
            RegionSource::Header(name) => format!("header:{}", name.to_ascii_lowercase()),
            RegionSource::Geoip => "geoip".to_owned(),
        };
        let mut vendors = BTreeMap::new();
        for rule in &rules.destinations {
            for (list, id) in [("tcf", rule.tcf_vendor_id), ("ac", rule.ac_provider_id)] {
                let id = match id {
                    VendorId::Known => continue,
                    VendorId::Id(id) => id.to_string(),
                    VendorId::None => NONE.to_owned(),
                };
                vendors.insert(format!("{}/{list}", rule.name), id);
            }
        }
        let sorted = |purposes: &Vec<Purpose>| {
            let mut purposes = purposes.clone();
            purposes.sort();
            purposes
        };
        Self {
            region_from: rules.region_from.iter().map(source).collect(),
            gpc_everywhere: rules.gpc_everywhere,
            trust_gdpr_applies: rules.trust_gdpr_applies,
            categories: rules.categories.iter().map(|(n, p)| (n.clone(), sorted(p))).collect(),
            memory_use_for: rules.memory.use_for.iter().cloned().collect(),
            memory_max_age: rules.memory.max_age.as_secs().to_string(),
            memory_click_ids: rules.memory.click_ids.map(|age| age.as_secs().to_string()),
            memory_traits: rules.memory.traits.map(|age| age.as_secs().to_string()),
            vendors,
            minimum_ages: minimum_ages.map(|(s, age)| (s.to_owned(), age.to_string())).collect(),
            relay,
        }
    }

    /// The settings by which more could leave than by the approved ones. Where it cannot be told
    /// (another order of sources, another mapping) a difference counts.
    pub fn looser_than(&self, approved: &HowRead) -> Vec<String> {
        let mut looser = Vec::new();
        let mut note = |is_looser: bool, what: &str| {
            if is_looser {
                looser.push(what.to_owned());
            }
        };
        note(self.region_from != approved.region_from, "region_from");
        note(approved.gpc_everywhere && !self.gpc_everywhere, "gpc");
        note(self.trust_gdpr_applies && !approved.trust_gdpr_applies, "trust_gdpr_applies");
        // Less in a category grants less, and denies less too.
        for category in all_keys(&self.categories, &approved.categories) {
            let same = self.categories.get(category) == approved.categories.get(category);
            note(!same, &format!("categories.{category}"));
        }
        note(!self.memory_use_for.is_subset(&approved.memory_use_for), "memory.use_for");
        let seconds = |text: &str| text.parse::<u64>().unwrap_or(0);
        let longer = seconds(&self.memory_max_age) > seconds(&approved.memory_max_age);
        note(longer, "memory.max_age");
        let clicks = |how: &HowRead| how.memory_click_ids.as_deref().map(seconds);
        note(clicks(self) > clicks(approved), "memory.click_ids");
        let traits = |how: &HowRead| how.memory_traits.as_deref().map(seconds);
        note(traits(self) > traits(approved), "memory.traits");
        for vendor in all_keys(&self.vendors, &approved.vendors) {
            let today = self.vendors.get(vendor);
            let is_looser =
                today != approved.vendors.get(vendor) && today.is_none_or(|today| today != NONE);
            note(is_looser, &format!("the vendor id of {vendor}"));
        }
        let age = |ages: &BTreeMap<String, String>, site: &str| {
            ages.get(site).and_then(|age| age.parse::<u8>().ok())
        };
        for site in all_keys(&self.minimum_ages, &approved.minimum_ages) {
            let (today, before) =
                (age(&self.minimum_ages, site), age(&approved.minimum_ages, site));
            note(today < before, &format!("minimum_age of {site}"));
        }
        // Fewer of them is no less: another proxy, or none, may be believed about a region. A site
        // that is gone, or new, has no approved combination.
        for (setting, today) in &self.relay {
            let before = approved.relay.get(setting);
            let is_new_site = before.is_none() && setting.starts_with(CONTROLLER);
            note(before != Some(today) && !is_new_site, setting);
        }
        looser
    }
}

const NONE: &str = "none";

/// Before a site's name: whose the choices of its visitors are.
pub const CONTROLLER: &str = "controller of ";

fn all_keys<'m, V>(a: &'m BTreeMap<String, V>, b: &'m BTreeMap<String, V>) -> BTreeSet<&'m String> {
    a.keys().chain(b.keys()).collect()
}
