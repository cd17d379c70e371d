//! What a visitor's browser, consent platform or backend said, as it came. Nothing is decoded here:
//! that is `consent`'s.

use jiff::Timestamp;

use super::Grants;

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
    /// When the choice was made.
    pub collected_at: Option<Timestamp>,
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
