//! What signals said, before any rule; and what that amounts to under rules.
//!
//! The two are apart so that a stricter configuration reaches what is queued: a job carries what was
//! said, and today's rules settle it again. Signals combine by the strictest; none can add to what
//! another refused.

use serde::{Deserialize, Serialize};

use super::{Grant, Grants, Model, OptOut, Purpose, Region, Rules, categories};

/// The ids by which frameworks know a destination; none: a TC string alone cannot grant it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct VendorIds {
    /// On IAB's Global Vendor List.
    pub tcf: Option<u16>,
    /// On Google's list of ad technology providers.
    pub ac: Option<u32>,
}

/// Grants by the ids of the destinations that have them, each once.
pub type ByVendor = Vec<(VendorIds, Grants)>;

/// What the signals of an event said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Said {
    /// Each signal that said something, in the order of the record.
    pub(super) voices: Vec<Voice>,
    /// Whether the site says that GDPR applies.
    pub(super) gdpr_applies: Option<bool>,
    /// For which destination's ids the vendors' part of the strings was read.
    pub(super) ids: VendorIds,
}

/// One signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Voice {
    /// Its name, such as `consent_mode` or `gpp:usca`.
    pub(super) source: String,
    /// What it says.
    pub(super) says: Says,
}

/// What one signal says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Says {
    /// Something of the purposes themselves.
    Purposes(Grants),
    /// A TC string: what it says of the purposes, and to the vendor of [`Said::ids`].
    Tcf {
        /// Vendors aside.
        all: Grants,
        /// To that vendor.
        vendor: Grants,
        /// Under GDPR, which a site may say does not apply; else Canada's law.
        european: bool,
    },
    /// An Additional Consent string beside a TC string: part of what that says to a vendor.
    Providers,
    /// Choices by the categories of a consent platform.
    Categories(Vec<(String, bool)>),
    /// Opt-outs of sale, sharing and targeting, and whether a platform may act for the site only.
    OptOut([bool; 3], bool),
    /// Global Privacy Control.
    Gpc,
    /// A remembered choice that named vendors: what it says of the purposes, and to each vendor that
    /// was known then.
    Vendors {
        /// Vendors aside.
        all: Grants,
        /// By vendor.
        to: ByVendor,
    },
}

/// What signals amount to under rules.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) grants: Grants,
    pub(super) opt_out: OptOut,
    pub(super) provider_only: bool,
    pub(super) sources: Vec<String>,
}

impl Said {
    /// Whether any signal says something else to one vendor than to another.
    pub(super) fn names_vendors(&self) -> bool {
        let names = |says: &Says| matches!(says, Says::Tcf { .. } | Says::Vendors { .. });
        self.voices.iter().any(|voice| names(&voice.says))
    }

    /// What it amounts to: for a destination with these ids, or vendors aside.
    pub(super) fn settle(&self, rules: &Rules, region: &Region, ids: Option<VendorIds>) -> Settled {
        let mut settled = Settled::default();
        let counts_gpc = rules.gpc_everywhere || rules.model(region) == Model::OptOut;
        for voice in self.heard(rules) {
            match &voice.says {
                Says::OptOut(out, provider_only) => {
                    settled.opt_out.add(&voice.source, *out);
                    settled.provider_only |= provider_only;
                }
                Says::Gpc => settled.opt_out.add(&voice.source, [counts_gpc; 3]),
                Says::Purposes(_)
                | Says::Tcf { .. }
                | Says::Providers
                | Says::Categories(_)
                | Says::Vendors { .. } => {}
            }
            let said = self.grants_of(voice, rules, ids);
            for (purpose, _) in Purpose::ALL {
                let place = settled.grants.get_mut(purpose);
                *place = place.strictest(said.get(purpose));
            }
            if !settled.sources.contains(&voice.source) {
                settled.sources.push(voice.source.clone());
            }
        }
        settled
    }

    /// Which signals deny a purpose.
    pub(super) fn denying<'a>(
        &'a self,
        rules: &'a Rules,
        purpose: Purpose,
    ) -> impl Iterator<Item = &'a str> {
        let denies = move |voice: &&Voice| {
            let said = self.grants_of(voice, rules, Some(self.ids));
            said.get(purpose) == Grant::Denied
        };
        self.heard(rules).filter(denies).map(|voice| voice.source.as_str())
    }

    /// The signals that count: European TC strings do not where the site says that GDPR does not
    /// apply, and the rules trust it.
    fn heard(&self, rules: &Rules) -> impl Iterator<Item = &Voice> {
        let is_off = rules.trust_gdpr_applies && self.gdpr_applies == Some(false);
        self.voices.iter().filter(move |voice| match voice.says {
            Says::Tcf { european: true, .. } | Says::Providers => !is_off,
            Says::Tcf { .. }
            | Says::Purposes(_)
            | Says::Categories(_)
            | Says::OptOut(..)
            | Says::Gpc
            | Says::Vendors { .. } => true,
        })
    }

    fn grants_of(&self, voice: &Voice, rules: &Rules, ids: Option<VendorIds>) -> Grants {
        match &voice.says {
            Says::Purposes(grants) => *grants,
            Says::Categories(choices) => {
                categories::grants(&voice.source, choices, &rules.categories)
            }
            Says::Tcf { all, vendor, .. } => match ids {
                None => *all,
                Some(ids) if ids == VendorIds::default() => {
                    instead_of_grants(*all, Grant::NotAsked)
                }
                Some(ids) if ids == self.ids => *vendor,
                // The string is gone; what it said to another vendor than then nobody knows.
                Some(_) => instead_of_grants(*all, Grant::Denied),
            },
            Says::Vendors { all, to } => match ids {
                None => *all,
                Some(ids) => match to.iter().find(|(known, _)| *known == ids) {
                    Some((_, grants)) => *grants,
                    None => instead_of_grants(*all, Grant::Denied),
                },
            },
            Says::Providers | Says::OptOut(..) | Says::Gpc => Grants::default(),
        }
    }
}

/// The same without its grants.
pub(super) fn instead_of_grants(mut grants: Grants, instead: Grant) -> Grants {
    for (purpose, _) in Purpose::ALL {
        let place = grants.get_mut(purpose);
        if *place == Grant::Granted {
            *place = instead;
        }
    }
    grants
}
