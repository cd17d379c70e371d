//! What a visitor's browser, consent platform or backend said, and what it amounts to.
//!
//! Each family of signals has its place here: this file reads Consent Mode's four fields, GPC and
//! `opt_out`; strings of IAB frameworks and the formats of consent platforms are kept as they came
//! and, until they are read, permit nothing.

use serde::{Deserialize, Serialize};

use super::{Grant, Grants, Model, Purpose, Region, Rules};

/// The `consent` object of an event, as it came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Signals {
    /// Consent Mode's four fields: `granted` or `denied`, where given.
    pub grants: Grants,
    /// Global Privacy Control, by field or by a browser's `Sec-GPC` header.
    pub gpc: Option<bool>,
    /// Opt-outs that the sender knows of.
    pub opt_out: OptOutClaim,
    /// IAB TCF string.
    pub tcf: Option<String>,
    /// Google's Additional Consent string.
    pub additional_consent: Option<String>,
    /// IAB GPP string.
    pub gpp: Option<String>,
    /// The GPP sections that apply.
    pub gpp_sid: Vec<u32>,
    /// US Privacy string.
    pub us_privacy: Option<String>,
    /// Consent Mode's `gcs` parameter; supporting evidence only.
    pub gcs: Option<String>,
    /// Consent Mode's `gcd` parameter; supporting evidence only.
    pub gcd: Option<String>,
    /// A consent platform's categories.
    pub categories: Vec<(String, bool)>,
    /// A consent platform's cookies.
    pub cookies: Vec<(String, String)>,
    /// Whether the site says that GDPR applies; recorded.
    pub gdpr_applies: Option<bool>,
    /// Do Not Track; recorded.
    pub dnt: Option<bool>,
    /// The visitor's region, such as `US-CA` or `DE`.
    pub region: Option<String>,
    /// Id of the stored choice.
    pub id: Option<String>,
    /// When the choice was made, RFC 3339.
    pub collected_at: Option<String>,
    /// How it was made, such as `banner`.
    pub method: Option<String>,
    /// Version of the text that was shown.
    pub text_version: Option<String>,
    /// Language of the text that was shown.
    pub language: Option<String>,
}

/// `consent.opt_out`: `true` means all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OptOutClaim {
    /// From the sale of data.
    pub sale: Option<bool>,
    /// From its sharing.
    pub sharing: Option<bool>,
    /// From targeted advertising.
    pub targeted: Option<bool>,
}

/// What a person has opted out of, and by which signals.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OptOut {
    /// From the sale of data.
    pub sale: bool,
    /// From its sharing.
    pub sharing: bool,
    /// From targeted advertising.
    pub targeted: bool,
    /// The signals that say so, such as `gpc` or `gpp:usca`.
    pub sources: Vec<String>,
}

impl OptOut {
    /// Whether there is any; each of the three holds every destination.
    pub fn any(&self) -> bool {
        self.sale || self.sharing || self.targeted
    }
}

/// What a person allows, and how we know: all that a decision needs of an event. Travels with
/// every job, so that today's rules can be applied again before sending.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// Where the person is, such as `US-CA`; `None` if unknown, which is opt-in.
    pub region: Region,
    /// What is known of each purpose.
    pub grants: Grants,
    /// What they opted out of.
    pub opt_out: OptOut,
    /// The signals that were read, by name.
    pub sources: Vec<String>,
    /// A minor by `user.minor` or by birth date.
    pub minor: bool,
    /// When it was said, epoch milliseconds: a later refusal reaches it. For a remembered choice the
    /// time of the oldest grant that it rests on; 0 where nothing was said.
    pub at_ms: i64,
}

impl State {
    /// Whether any signal was given at all.
    pub fn has_signal(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Whether the event has a signal of its own: then no remembered choice speaks for it.
    pub fn speaks_for_itself(&self) -> bool {
        self.sources.iter().any(|source| source != super::memory::MEMORY)
    }
}

/// Reads the signals. `region` is where the person is, by the order of `region_from`; `model` is
/// that region's, which decides whether GPC counts there.
pub fn read(rules: &Rules, signals: &Signals, region: Region, model: Model, minor: bool) -> State {
    let mut sources = Vec::new();
    let mut opt_out = OptOut::default();
    let asked = Purpose::ALL.iter().any(|(p, _)| signals.grants.get(*p) != Grant::NotAsked);
    if asked {
        sources.push("consent_mode".to_owned());
    }
    let grants = signals.grants;

    let claim = signals.opt_out;
    if claim != OptOutClaim::default() {
        sources.push("opt_out".to_owned());
        opt_out.sale |= claim.sale == Some(true);
        opt_out.sharing |= claim.sharing == Some(true);
        opt_out.targeted |= claim.targeted == Some(true);
        if opt_out.any() {
            opt_out.sources.push("opt_out".to_owned());
        }
    }
    if signals.gpc == Some(true) {
        sources.push("gpc".to_owned());
        if rules.gpc_everywhere || model == Model::OptOut {
            opt_out.sale = true;
            opt_out.sharing = true;
            opt_out.targeted = true;
            opt_out.sources.push("gpc".to_owned());
        }
    }
    State { region, grants, opt_out, sources, minor, at_ms: 0 }
}
