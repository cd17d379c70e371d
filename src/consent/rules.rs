//! `consent.toml`, resolved: the rules that a privacy reviewer reads.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Purpose, Region, RegionSource, VendorIds, region::covers};
use crate::event::FieldSet;

/// All rules.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The reviewer's own version of the file.
    pub version: String,
    /// Nothing beyond the signed lock leaves in live mode.
    pub require_approval: bool,
    /// The file of those whose SSH signatures count; `None`: a name is enough.
    pub allowed_signers: Option<String>,
    /// Where a visitor's region is taken from, in this order.
    pub region_from: Vec<RegionSource>,
    /// GPC is an opt-out in every region, not only in opt-out regions.
    pub gpc_everywhere: bool,
    /// `gdpr_applies = false` of an event switches TCF off.
    pub trust_gdpr_applies: bool,
    /// Choices that are remembered.
    pub memory: Memory,
    /// Regions with their model; the most specific match wins.
    pub regions: Vec<RegionRule>,
    /// A consent platform's categories and the purposes they stand for.
    pub categories: Vec<(String, Vec<Purpose>)>,
    /// One rule a destination, by the destination's or its platform's name.
    pub destinations: Vec<DestinationRule>,
}

/// Choices remembered for events without a signal of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// Older grants are not used; refusals do not age.
    pub max_age: Duration,
    /// Action sources, and doors (`door:webhook`), whose events may use remembered grants.
    pub use_for: Vec<String>,
    /// How long clicks are remembered; `None`: not at all.
    pub click_ids: Option<Duration>,
    /// How long the traits of `identify` calls are remembered; `None`: not at all.
    pub traits: Option<Duration>,
}

impl Default for Memory {
    fn default() -> Self {
        let sources = [
            "crm",
            "physical_store",
            "phone_call",
            "system_generated",
            "door:webhook",
            "door:import",
        ];
        Self {
            max_age: Duration::from_secs(180 * 86_400),
            use_for: sources.map(str::to_owned).to_vec(),
            click_ids: None,
            traits: None,
        }
    }
}

/// An id on a list of vendors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VendorId {
    /// The platform's known one, if there is one.
    #[default]
    Known,
    /// This one.
    Id(u32),
    /// None: the list alone cannot grant this destination.
    None,
}

/// What holds in some regions.
#[derive(Debug, Clone)]
pub struct RegionRule {
    /// The name in `consent.toml`; the rule's id is `region/NAME`.
    pub name: String,
    /// `EEA`, `GB`, `US`, `US-CA`, `*`.
    pub matches: Vec<String>,
    /// Which law's logic.
    pub model: Model,
    /// In what form a visitor's address may leave.
    pub ip: IpForm,
}

/// The two kinds of law.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// Nothing leaves without a grant.
    OptIn,
    /// Allowed until somebody says no.
    OptOut,
}

/// In what form an address leaves, the strictest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpForm {
    /// As it is.
    Full,
    /// IPv4 to its /24, IPv6 to its /48.
    Truncated,
    /// Not at all.
    None,
}

/// The rule for one destination, or for all of a platform.
#[derive(Debug, Clone)]
pub struct DestinationRule {
    /// The key in `consent.toml`: a destination's name, else a platform's.
    pub name: String,
    /// Purposes that must be granted.
    pub needs: Vec<Purpose>,
    /// Fields that may leave. `None`: the platform's default (required fields and its click ids).
    pub may_send: Option<FieldSet>,
    /// Single property names in `may_send` that have no field of their own (`properties.channel`).
    pub may_send_properties: Vec<String>,
    /// Fields that never leave, whatever `may_send` says.
    pub never_send: FieldSet,
    /// Single property names in `never_send`.
    pub never_send_properties: Vec<String>,
    /// What happens when personalisation is denied; `None`: flag where the platform has one.
    pub when_personalization_denied: Option<WhenDenied>,
    /// What happens to opted-out events, where no region says otherwise.
    pub when_opted_out: WhenOptedOut,
    /// What is different in some regions.
    pub regions: Vec<InRegion>,
    /// Its id on IAB's Global Vendor List.
    pub tcf_vendor_id: VendorId,
    /// Its id on Google's list of ad technology providers.
    pub ac_provider_id: VendorId,
    /// The platform's role under contract.
    pub role: Option<Role>,
    /// The recipient's legal entity.
    pub recipient: Option<String>,
    /// Where the recipient is.
    pub country: Option<String>,
    /// By what mechanism data may go there.
    pub mechanism: Option<String>,
    /// On what legal basis.
    pub legal_basis: Option<String>,
    /// How long the recipient keeps it.
    pub retention: Option<String>,
}

/// What a destination's rule says of one region; what is absent is as everywhere.
#[derive(Debug, Clone, Default)]
pub struct InRegion {
    /// The name of the region rule.
    pub region: String,
    /// Purposes that must be granted there.
    pub needs: Option<Vec<Purpose>>,
    /// Fields and single properties that may leave from there.
    pub may_send: Option<(FieldSet, Vec<String>)>,
    /// Fields that never leave from there, besides those that never leave from anywhere.
    pub never_send: FieldSet,
    /// Single properties that never leave from there, likewise.
    pub never_send_properties: Vec<String>,
    /// What happens there when personalisation is denied.
    pub when_personalization_denied: Option<WhenDenied>,
    /// What happens there to opted-out events.
    pub when_opted_out: Option<WhenOptedOut>,
}

/// What happens when personalisation is denied but nothing that is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenDenied {
    /// Sent, with the platform's own flag.
    Flag,
    /// Held.
    Drop,
}

/// What happens to an event whose person opted out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenOptedOut {
    /// Held.
    #[default]
    Drop,
    /// Sent in the platform's restricted mode.
    Limited,
    /// Sent as ever: only to a processor.
    Send,
}

/// Who the recipient is under contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Acts on instructions only.
    Processor,
    /// Decides together with the site.
    JointController,
    /// Decides by itself.
    Controller,
}

impl Role {
    /// As the rules write it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Processor => "processor",
            Role::JointController => "joint controller",
            Role::Controller => "controller",
        }
    }
}

impl DestinationRule {
    /// What it says of a region.
    pub fn in_region(&self, region: Option<&RegionRule>) -> Option<&InRegion> {
        let region = region?;
        self.regions.iter().find(|part| part.region == region.name)
    }

    /// A rule that needs nothing and sends what the platform requires: a start for building one.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            needs: Vec::new(),
            may_send: None,
            may_send_properties: Vec::new(),
            never_send: FieldSet::EMPTY,
            never_send_properties: Vec::new(),
            when_personalization_denied: None,
            when_opted_out: WhenOptedOut::Drop,
            regions: Vec::new(),
            tcf_vendor_id: VendorId::Known,
            ac_provider_id: VendorId::Known,
            role: None,
            recipient: None,
            country: None,
            mechanism: None,
            legal_basis: None,
            retention: None,
        }
    }
}

impl Rules {
    /// No region, no destination: everything is opt-in and nothing leaves.
    pub fn deny_all() -> Self {
        Self {
            version: String::new(),
            require_approval: false,
            allowed_signers: None,
            region_from: Vec::new(),
            gpc_everywhere: true,
            trust_gdpr_applies: false,
            memory: Memory::default(),
            regions: Vec::new(),
            categories: Vec::new(),
            destinations: Vec::new(),
        }
    }

    /// The most specific region rule; `None` only where no rule matches, which is opt-in.
    pub fn region(&self, region: &Region) -> Option<&RegionRule> {
        self.regions
            .iter()
            .filter_map(|rule| {
                let best =
                    rule.matches.iter().filter_map(|pattern| covers(pattern, region)).max()?;
                Some((best, rule))
            })
            .max_by_key(|(best, _)| *best)
            .map(|(_, rule)| rule)
    }

    /// The model of a region; unknown and unmatched regions are opt-in.
    pub fn model(&self, region: &Region) -> Model {
        self.region(region).map_or(Model::OptIn, |rule| rule.model)
    }

    /// The ids that a destination has on lists of vendors, where its platform's are `known`.
    pub fn vendor_ids(&self, destination: &str, platform: &str, known: VendorIds) -> VendorIds {
        let Some(rule) = self.destination(destination, platform) else { return known };
        VendorIds {
            tcf: match rule.tcf_vendor_id {
                VendorId::Known => known.tcf,
                VendorId::Id(id) => u16::try_from(id).ok(),
                VendorId::None => None,
            },
            ac: match rule.ac_provider_id {
                VendorId::Known => known.ac,
                VendorId::Id(id) => Some(id),
                VendorId::None => None,
            },
        }
    }

    /// The rule for a destination: its own entry replaces its platform's whole.
    pub fn destination(&self, destination: &str, platform: &str) -> Option<&DestinationRule> {
        let named = |name: &str| self.destinations.iter().find(|rule| rule.name == name);
        named(destination).or_else(|| named(platform))
    }
}
