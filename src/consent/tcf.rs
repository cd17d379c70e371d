//! IAB TCF v2.2 and v2.3 strings: read, and what they permit.
//!
//! Facts: IAB Tech Lab, "Consent string and vendor list formats v2" (checked 2026-11-22). The vendor
//! list is not shipped: what a vendor declares as legitimate interest is not known here, so consent
//! is demanded for every purpose, which is right for every vendor. Which vendor a destination is,
//! is configuration. Legitimate interests and the publisher's own consents are read and recorded,
//! and permit nothing.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{
    Grant, Grants, Purpose,
    bits::{self, Bits, Letters, Unreadable, Work},
    ids::{Ids, Ranges},
};

/// From here on (1 March 2026, in tenths of a second) a vendor must be among those disclosed.
/// <https://iabeurope.eu/> on TCF 2.3, announced 2025-06-19 (checked 2026-11-22).
const DISCLOSURE_SINCE: u64 = 17_723_232_000;

/// Below this policy (TCF 2.2), strings are void since 30 September 2023 (checked 2026-11-22).
const OLDEST_POLICY: u8 = 4;

/// Purposes of the framework that each purpose here needs all of; Google's own mapping.
/// <https://developers.google.com/tag-platform/security/guides/implement-TCF-strings> (checked
/// 2026-11-22). The framework has no purpose for analytics storage, see [`Tcf::grants`].
const MAPPING: [(Purpose, &[u8]); 3] = [
    (Purpose::AdStorage, &[1]),
    (Purpose::AdUserData, &[1, 7]),
    (Purpose::AdPersonalization, &[3, 4]),
];

/// What a string amounts to that cannot be read or is void: no permission.
pub const REFUSED: Grants = Grants {
    ad_storage: Grant::Denied,
    ad_user_data: Grant::Denied,
    ad_personalization: Grant::Denied,
    analytics_storage: Grant::Denied,
};

/// A TC string, read. Serialised under the names of the reference library in snake_case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tcf {
    /// Always 2.
    pub version: u8,
    /// When it was made.
    pub created: Moment,
    /// When the person last chose.
    pub last_updated: Moment,
    /// Who asked.
    pub cmp_id: u16,
    /// With which version.
    pub cmp_version: u16,
    /// On which screen.
    pub consent_screen: u8,
    /// In which language, two capital letters.
    pub consent_language: Letters,
    /// Against which list of vendors.
    pub vendor_list_version: u16,
    /// Under which policy: 4 is TCF 2.2, 5 is 2.3 and late 2.2.
    pub policy_version: u8,
    /// For this site only, as it must be.
    pub is_service_specific: bool,
    /// With texts of the publisher's own.
    pub use_non_standard_texts: bool,
    /// Special features that were opted in to.
    pub special_feature_optins: Ids,
    /// Purposes that were consented to.
    pub purpose_consents: Ids,
    /// Purposes whose legitimate interest was shown.
    pub purpose_legitimate_interests: Ids,
    /// Purpose 1 was not asked, by the law of `publisher_country_code`.
    pub purpose_one_treatment: bool,
    /// The publisher's country, two capital letters.
    pub publisher_country_code: Letters,
    /// Vendors that were consented to.
    pub vendor_consents: Ranges,
    /// Vendors whose legitimate interest was not objected to.
    pub vendor_legitimate_interests: Ranges,
    /// What the publisher restricts, ascending by purpose and type, each pair once.
    pub publisher_restrictions: Vec<Restriction>,
    /// Vendors that were shown; `None` without the segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendors_disclosed: Option<Ranges>,
    /// Vendors of the retired out-of-band scope; recorded only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendors_allowed: Option<Ranges>,
    /// The publisher's own consents; recorded only.
    #[serde(flatten)]
    pub publisher: Option<Publisher>,
}

/// A publisher restriction on a purpose for some vendors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restriction {
    /// The purpose.
    pub purpose_id: u8,
    /// 0 not allowed, 1 consent required, 2 legitimate interest required, 3 undefined.
    pub restriction_type: u8,
    /// Whom it restricts; may name vendors that do not exist.
    pub vendors: Ranges,
}

/// The segment of the publisher's own consents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Publisher {
    /// Purposes that were consented to for the publisher itself.
    pub publisher_consents: Ids,
    /// Legitimate interests of the publisher.
    pub publisher_legitimate_interests: Ids,
    /// How many purposes of its own the publisher has.
    pub num_custom_purposes: u8,
    /// Those consented to.
    pub publisher_custom_consents: Ids,
    /// Their legitimate interests.
    pub publisher_custom_legitimate_interests: Ids,
}

/// A moment in tenths of a second since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// As a timestamp.
    pub fn timestamp(self) -> Timestamp {
        // 36 bits of tenths end in the year 2187, so that it always fits.
        i64::try_from(self.0 * 100)
            .ok()
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())
            .unwrap_or(Timestamp::MAX)
    }

    pub(super) fn read(bits: &mut Bits<'_>) -> Result<Self, Unreadable> {
        bits.take(36).map(Moment)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.3}", self.timestamp()))
    }
}

/// Why a string that reads well still permits nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Void {
    /// Made under a policy older than TCF 2.2.
    #[error("its policy is older than TCF 2.2")]
    PolicyRetired,
    /// Of the global scope, which is retired.
    #[error("it is not specific to the service")]
    NotServiceSpecific,
    /// 0 and 1 are nobody.
    #[error("no registered consent platform made it")]
    NoPlatform,
}

impl Void {
    /// The code on the wire.
    pub fn code(self) -> &'static str {
        match self {
            Void::PolicyRetired => "policy_retired",
            Void::NotServiceSpecific => "not_service_specific",
            Void::NoPlatform => "no_platform",
        }
    }
}

/// Reads a TC string.
pub fn decode(text: &str) -> Result<Tcf, Unreadable> {
    decode_counting(text, &mut Work::default())
}

/// Reads a TC string and adds what that cost.
pub fn decode_counting(text: &str, work: &mut Work) -> Result<Tcf, Unreadable> {
    let text = bits::text(text)?;
    let mut segments = text.split('.');
    let mut tcf = core(segments.next().unwrap_or(""), work)?;
    for segment in segments {
        other(segment, &mut tcf, work)?;
    }
    Ok(tcf)
}

fn core(segment: &str, work: &mut Work) -> Result<Tcf, Unreadable> {
    let bits = &mut Bits::new(segment, work)?;
    let version = bits.small(6)?;
    if version != 2 {
        return Err(Unreadable::Version);
    }
    let tcf = Tcf {
        version,
        created: Moment::read(bits)?,
        last_updated: Moment::read(bits)?,
        cmp_id: bits.number(12)?,
        cmp_version: bits.number(12)?,
        consent_screen: bits.small(6)?,
        consent_language: bits.letters()?,
        vendor_list_version: bits.number(12)?,
        policy_version: bits.small(6)?,
        is_service_specific: bits.flag()?,
        use_non_standard_texts: bits.flag()?,
        special_feature_optins: bits.ids(12)?,
        purpose_consents: bits.ids(24)?,
        purpose_legitimate_interests: bits.ids(24)?,
        purpose_one_treatment: bits.flag()?,
        publisher_country_code: bits.letters()?,
        vendor_consents: vendors(bits)?,
        vendor_legitimate_interests: vendors(bits)?,
        publisher_restrictions: restrictions(bits)?,
        vendors_disclosed: None,
        vendors_allowed: None,
        publisher: None,
    };
    bits.finish()?;
    Ok(tcf)
}

/// Segments after the core come in any order, each at most once.
fn other(segment: &str, tcf: &mut Tcf, work: &mut Work) -> Result<(), Unreadable> {
    let bits = &mut Bits::new(segment, work)?;
    match bits.small(3)? {
        1 if tcf.vendors_disclosed.is_none() => tcf.vendors_disclosed = Some(vendors(bits)?),
        2 if tcf.vendors_allowed.is_none() => tcf.vendors_allowed = Some(vendors(bits)?),
        3 if tcf.publisher.is_none() => {
            let publisher_consents = bits.ids(24)?;
            let publisher_legitimate_interests = bits.ids(24)?;
            let count = bits.small(6)?;
            tcf.publisher = Some(Publisher {
                publisher_consents,
                publisher_legitimate_interests,
                num_custom_purposes: count,
                publisher_custom_consents: bits.ids(usize::from(count))?,
                publisher_custom_legitimate_interests: bits.ids(usize::from(count))?,
            });
        }
        _ => return Err(Unreadable::Segment),
    }
    bits.finish()
}

/// The highest id, then a bit for each id or a list of ranges.
pub(super) fn vendors(bits: &mut Bits<'_>) -> Result<Ranges, Unreadable> {
    let max = bits.number(16)?;
    if bits.flag()? { bits.entries(max) } else { bits.bitfield(max) }
}

fn restrictions(bits: &mut Bits<'_>) -> Result<Vec<Restriction>, Unreadable> {
    let count = bits.take(12)?;
    let mut all: Vec<Restriction> = Vec::new();
    for _ in 0..count {
        let purpose_id = bits.small(6)?;
        let restriction_type = bits.small(2)?;
        // Neither a highest id nor an encoding bit here, unlike everywhere else.
        let vendors = bits.entries(u16::MAX)?;
        // Naming nobody, it restricts nobody.
        if !vendors.is_empty() {
            bits.work().bytes += 2 * size_of::<Restriction>();
            all.push(Restriction { purpose_id, restriction_type, vendors });
        }
    }
    let key = |restriction: &Restriction| (restriction.purpose_id, restriction.restriction_type);
    all.sort_by_key(key);
    let same = all.chunk_by(|one, next| key(one) == key(next));
    Ok(same.filter_map(joined).collect())
}

/// Restrictions of one purpose and type as one.
fn joined(same: &[Restriction]) -> Option<Restriction> {
    let (first, rest) = same.split_first()?;
    let vendors = match rest {
        [] => first.vendors.clone(),
        _ => Ranges::union(same.iter().map(|restriction| &restriction.vendors)),
    };
    Some(Restriction { vendors, ..*first })
}

impl Tcf {
    /// Why it permits nothing, if so.
    pub fn void(&self) -> Option<Void> {
        if self.policy_version < OLDEST_POLICY {
            Some(Void::PolicyRetired)
        } else if !self.is_service_specific {
            Some(Void::NotServiceSpecific)
        } else if self.cmp_id < 2 {
            Some(Void::NoPlatform)
        } else {
            None
        }
    }

    /// Whether a vendor may process for all of these purposes, on the basis of consent.
    pub fn allows(&self, vendor: u16, purposes: &[u8]) -> bool {
        self.void().is_none()
            && self.vendor_consents.contains(vendor)
            && self.is_disclosed(vendor)
            && purposes.iter().all(|purpose| {
                self.consents(*purpose) == Grant::Granted && !self.is_restricted(*purpose, vendor)
            })
    }

    /// What it says of the four purposes, vendors aside.
    ///
    /// The framework knows no purpose for analytics storage: a person who refuses storage on the
    /// device (purpose 1) refuses that too, and one who allows it was not asked about analytics.
    pub fn grants(&self) -> Grants {
        self.map(|purposes| {
            let consents = purposes.iter().map(|purpose| self.consents(*purpose));
            // All are needed, so what was not asked is not made good by another's consent.
            consents.fold(Grant::Granted, |all, one| match (all, one) {
                (Grant::Denied, _) | (_, Grant::Denied) => Grant::Denied,
                (Grant::NotAsked, _) | (_, Grant::NotAsked) => Grant::NotAsked,
                (Grant::Granted, Grant::Granted) => Grant::Granted,
            })
        })
    }

    /// What it says of the four purposes to one vendor, such as 755 for Google Advertising Products.
    pub fn vendor_grants(&self, vendor: u16) -> Grants {
        self.map(|purposes| match self.allows(vendor, purposes) {
            true => Grant::Granted,
            false => Grant::Denied,
        })
    }

    fn map(&self, grant: impl Fn(&[u8]) -> Grant) -> Grants {
        if self.void().is_some() {
            return REFUSED;
        }
        let mut grants = Grants::default();
        for (purpose, needed) in MAPPING {
            *grants.get_mut(purpose) = grant(needed);
        }
        if self.consents(1) == Grant::Denied {
            grants.analytics_storage = Grant::Denied;
        }
        grants
    }

    /// Consent to a purpose; purpose 1 was not asked where the publisher's law spares it.
    fn consents(&self, purpose: u8) -> Grant {
        match self.purpose_consents.contains(purpose) {
            _ if purpose == 1 && self.purpose_one_treatment => Grant::NotAsked,
            true => Grant::Granted,
            false => Grant::Denied,
        }
    }

    /// TCF 2.3: a vendor that was not shown has no consent.
    fn is_disclosed(&self, vendor: u16) -> bool {
        self.last_updated.0 < DISCLOSURE_SINCE
            || self.vendors_disclosed.as_ref().is_some_and(|shown| shown.contains(vendor))
    }

    /// Any restriction forbids but the one that requires consent, which is demanded anyway.
    fn is_restricted(&self, purpose: u8, vendor: u16) -> bool {
        self.publisher_restrictions.iter().any(|restriction| {
            restriction.purpose_id == purpose
                && restriction.restriction_type != 1
                && restriction.vendors.contains(vendor)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TCF 2.3 of 2026-06-01, purposes 1, 3, 4 and 7, vendor 755 consented and disclosed; purpose 7
    /// not allowed to it by the publisher.
    const NOT_ALLOWED: &str =
        "CQlH_MAQlH_MAAcADBENCyFgALIAAAAAAAYgF5wAQF5gAAABHAAQF5gA.IF5wAQF5gAAA";
    const VENDOR: u16 = 755;

    fn tcf() -> Tcf {
        let mut tcf = decode(NOT_ALLOWED).unwrap();
        tcf.publisher_restrictions.clear();
        tcf
    }

    fn granted(grants: Grants) -> [Grant; 4] {
        [
            grants.ad_storage,
            grants.ad_user_data,
            grants.ad_personalization,
            grants.analytics_storage,
        ]
    }

    #[test]
    fn purposes_and_the_vendor_are_both_needed() {
        use Grant::{Denied, Granted, NotAsked};
        let tcf = tcf();
        assert!(tcf.allows(VENDOR, &[1, 3, 4, 7]));
        assert!(!tcf.allows(VENDOR, &[1, 2]) && !tcf.allows(754, &[1]) && !tcf.allows(0, &[1]));
        assert_eq!(granted(tcf.grants()), [Granted, Granted, Granted, NotAsked]);
        assert_eq!(granted(tcf.vendor_grants(VENDOR)), [Granted, Granted, Granted, NotAsked]);
        assert_eq!(granted(tcf.vendor_grants(12)), [Denied, Denied, Denied, NotAsked]);

        let mut without_measurement = tcf.clone();
        without_measurement.purpose_consents = Ids::of(0b1101);
        assert_eq!(granted(without_measurement.grants()), [Granted, Denied, Granted, NotAsked]);
        let mut without_storage = tcf;
        without_storage.purpose_consents = Ids::of(0b100_1100);
        assert_eq!(granted(without_storage.grants()), [Denied, Denied, Granted, Denied]);
    }

    #[test]
    fn restrictions_forbid_but_for_the_one_that_demands_consent() {
        assert!(!decode(NOT_ALLOWED).unwrap().allows(VENDOR, &[7]));
        assert!(decode(NOT_ALLOWED).unwrap().allows(VENDOR, &[1]));
        let vendors = tcf().vendor_consents;
        for (restriction_type, allowed) in [(0, false), (1, true), (2, false), (3, false)] {
            let mut tcf = tcf();
            let vendors = vendors.clone();
            let restriction = Restriction { purpose_id: 7, restriction_type, vendors };
            tcf.publisher_restrictions.push(restriction);
            assert_eq!(tcf.allows(VENDOR, &[1, 7]), allowed, "type {restriction_type}");
            assert!(tcf.allows(VENDOR, &[1]), "type {restriction_type}");
            assert_eq!(tcf.grants().ad_user_data, Grant::Granted);
        }
    }

    #[test]
    fn restrictions_of_one_purpose_and_type_are_one() {
        let of = |purpose_id, pairs: &[(u16, u16)]| Restriction {
            purpose_id,
            restriction_type: 0,
            vendors: Ranges::of_pairs(pairs.to_vec()),
        };
        let parts = [of(2, &[(1, 3)]), of(2, &[(7, 7)]), of(2, &[(4, 5)])];
        assert_eq!(joined(&parts), Some(of(2, &[(1, 5), (7, 7)])));
        assert_eq!(joined(&parts[..1]), Some(of(2, &[(1, 3)])));
    }

    #[test]
    fn from_march_2026_a_vendor_must_have_been_shown() {
        let day = |text: &str| {
            let seconds = text.parse::<Timestamp>().unwrap().as_second();
            Moment(u64::try_from(seconds).unwrap() * 10)
        };
        let not_shown = [None, Some(Ranges::default())];
        for vendors_disclosed in not_shown {
            let mut tcf = Tcf { vendors_disclosed, ..tcf() };
            tcf.last_updated = day("2026-03-01T00:00:00Z");
            assert!(!tcf.allows(VENDOR, &[1]));
            tcf.last_updated = day("2026-02-28T23:59:59Z");
            assert!(tcf.allows(VENDOR, &[1]));
        }
    }

    #[test]
    fn purpose_one_that_was_not_asked_is_no_consent() {
        let tcf = Tcf { purpose_one_treatment: true, ..tcf() };
        assert!(!tcf.allows(VENDOR, &[1]));
        assert!(tcf.allows(VENDOR, &[3, 4]));
        assert_eq!(tcf.grants().ad_storage, Grant::NotAsked);
        assert_eq!(tcf.grants().ad_user_data, Grant::NotAsked);
        assert_eq!(tcf.grants().analytics_storage, Grant::NotAsked);
    }

    #[test]
    fn void_strings_permit_nothing() {
        for (tcf, void) in [
            (Tcf { policy_version: 3, ..tcf() }, Void::PolicyRetired),
            (Tcf { is_service_specific: false, ..tcf() }, Void::NotServiceSpecific),
            (Tcf { cmp_id: 1, ..tcf() }, Void::NoPlatform),
        ] {
            assert_eq!(tcf.void(), Some(void));
            assert!(!tcf.allows(VENDOR, &[1]));
            assert_eq!(tcf.grants(), REFUSED);
            assert_eq!(tcf.vendor_grants(VENDOR), REFUSED);
        }
    }
}
