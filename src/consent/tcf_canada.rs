//! Section 5 of a GPP string: IAB Canada's TCF.
//!
//! IAB Tech Lab, Global-Privacy-Platform, Sections/Canada (checked 2026-11-22). Only express consent
//! counts here: whether implied consent suffices in Canada depends on facts that a string does not
//! hold. Purpose 1 is not used in Canada, so the section says nothing of storage.

use serde::Serialize;

use super::{
    Grant, Grants,
    bits::{Bits, Letters, Unreadable, Work},
    ids::{Ids, Ranges},
    tcf::Moment,
};

/// A Canadian TC string, read. Serialised under the names of the reference library in snake_case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TcfCanada {
    /// Always 1.
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
    /// Under which policy.
    pub tcf_policy_version: u8,
    /// With texts of the publisher's own.
    pub use_non_standard_stacks: bool,
    /// Special features with express consent.
    pub special_feature_express_consent: Ids,
    /// Purposes with express consent.
    pub purposes_express_consent: Ids,
    /// Purposes with implied consent.
    pub purposes_implied_consent: Ids,
    /// Vendors with express consent.
    pub vendor_express_consent: Ranges,
    /// Vendors with implied consent.
    pub vendor_implied_consent: Ranges,
    /// What the publisher restricts.
    pub pub_restrictions: Vec<Restriction>,
    /// Vendors that were shown; `None` without the segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disclosed_vendors: Option<Ranges>,
    /// The publisher's own consents; recorded only.
    #[serde(flatten)]
    pub publisher: Option<Publisher>,
}

/// A publisher restriction; names as in the reference library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restriction {
    /// The purpose.
    pub key: u8,
    /// 0 not allowed, 1 express consent required, 2 implied consent required, 3 undefined.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Whom it restricts.
    pub ids: Ranges,
}

/// The segment of the publisher's own consents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Publisher {
    /// Express consent to purposes.
    pub pub_purposes_express_consent: Ids,
    /// Implied consent to purposes.
    pub pub_purposes_implied_consent: Ids,
    /// How many purposes of its own the publisher has.
    pub num_custom_purposes: u8,
    /// Express consent to those.
    pub custom_purposes_express_consent: Ids,
    /// Implied consent to those.
    pub custom_purposes_implied_consent: Ids,
}

/// How vendor ranges are written: by distance (today), or by id as in Europe (older strings).
#[derive(Debug, Clone, Copy)]
enum Form {
    Fibonacci,
    Fixed,
}

/// Reads the section.
pub(super) fn decode(text: &str, work: &mut Work) -> Result<TcfCanada, Unreadable> {
    let mut segments = text.split('.');
    let first = segments.next().unwrap_or("");
    let mut tcf = core(first, Form::Fibonacci, work).or_else(|_| core(first, Form::Fixed, work))?;
    for segment in segments {
        let bits = &mut Bits::new(segment, work)?;
        match bits.small(3)? {
            1 if tcf.disclosed_vendors.is_none() => {
                let read = disclosed(segment, Form::Fibonacci, work);
                tcf.disclosed_vendors =
                    Some(read.or_else(|_| disclosed(segment, Form::Fixed, work))?);
            }
            3 if tcf.publisher.is_none() => {
                let pub_purposes_express_consent = bits.ids(24)?;
                let pub_purposes_implied_consent = bits.ids(24)?;
                let count = bits.small(6)?;
                tcf.publisher = Some(Publisher {
                    pub_purposes_express_consent,
                    pub_purposes_implied_consent,
                    num_custom_purposes: count,
                    custom_purposes_express_consent: bits.ids(usize::from(count))?,
                    custom_purposes_implied_consent: bits.ids(usize::from(count))?,
                });
                bits.finish()?;
            }
            _ => return Err(Unreadable::Segment),
        }
    }
    Ok(tcf)
}

fn core(segment: &str, form: Form, work: &mut Work) -> Result<TcfCanada, Unreadable> {
    let bits = &mut Bits::new(segment, work)?;
    let version = bits.small(6)?;
    if version != 1 {
        return Err(Unreadable::Version);
    }
    let tcf = TcfCanada {
        version,
        created: Moment::read(bits)?,
        last_updated: Moment::read(bits)?,
        cmp_id: bits.number(12)?,
        cmp_version: bits.number(12)?,
        consent_screen: bits.small(6)?,
        consent_language: bits.letters()?,
        vendor_list_version: bits.number(12)?,
        tcf_policy_version: bits.small(6)?,
        use_non_standard_stacks: bits.flag()?,
        special_feature_express_consent: bits.ids(12)?,
        purposes_express_consent: bits.ids(24)?,
        purposes_implied_consent: bits.ids(24)?,
        vendor_express_consent: vendors(bits, form)?,
        vendor_implied_consent: vendors(bits, form)?,
        pub_restrictions: restrictions(bits, form)?,
        disclosed_vendors: None,
        publisher: None,
    };
    bits.finish()?;
    Ok(tcf)
}

fn disclosed(segment: &str, form: Form, work: &mut Work) -> Result<Ranges, Unreadable> {
    let bits = &mut Bits::new(segment, work)?;
    bits.small(3)?;
    let ranges = vendors(bits, form)?;
    bits.finish()?;
    Ok(ranges)
}

fn vendors(bits: &mut Bits<'_>, form: Form) -> Result<Ranges, Unreadable> {
    match form {
        Form::Fixed => super::tcf::vendors(bits),
        Form::Fibonacci => {
            let max = bits.number(16)?;
            if !bits.flag()? {
                return bits.bitfield(max);
            }
            let ranges = bits.fibonacci_entries(max)?;
            // The highest id is announced; where it is another, this is not that form.
            match ranges.pairs().last() {
                Some((_, last)) if *last != max => Err(Unreadable::Range),
                _ => Ok(ranges),
            }
        }
    }
}

fn restrictions(bits: &mut Bits<'_>, form: Form) -> Result<Vec<Restriction>, Unreadable> {
    let count = bits.take(12)?;
    let mut all = Vec::new();
    for _ in 0..count {
        let (key, kind) = (bits.small(6)?, bits.small(2)?);
        let ids = match form {
            Form::Fibonacci => vendors(bits, form)?,
            Form::Fixed => bits.entries(u16::MAX)?,
        };
        bits.work().bytes += 2 * size_of::<Restriction>();
        all.push(Restriction { key, kind, ids });
    }
    Ok(all)
}

impl TcfCanada {
    /// What it says of the purposes, vendors aside: express consent or none.
    pub fn grants(&self) -> Grants {
        self.map(|purposes| {
            purposes.iter().all(|purpose| self.purposes_express_consent.contains(*purpose))
        })
    }

    /// What it says of the purposes to one vendor.
    pub fn vendor_grants(&self, vendor: u16) -> Grants {
        let is_shown = self.disclosed_vendors.as_ref().is_none_or(|shown| shown.contains(vendor));
        self.map(|purposes| {
            is_shown
                && self.vendor_express_consent.contains(vendor)
                && purposes.iter().all(|purpose| {
                    self.purposes_express_consent.contains(*purpose)
                        && !self.is_restricted(*purpose, vendor)
                })
        })
    }

    fn map(&self, allows: impl Fn(&[u8]) -> bool) -> Grants {
        let grant = |purposes| if allows(purposes) { Grant::Granted } else { Grant::Denied };
        Grants {
            ad_user_data: grant(&[7]),
            ad_personalization: grant(&[3, 4]),
            ..Grants::default()
        }
    }

    fn is_restricted(&self, purpose: u8, vendor: u16) -> bool {
        let mut restrictions = self.pub_restrictions.iter();
        restrictions.any(|r| r.key == purpose && r.kind != 1 && r.ids.contains(vendor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcf(purposes: u64, vendors_disclosed: Option<&[u16]>) -> TcfCanada {
        let set = |ids: &[u16]| Ranges::of_pairs(ids.iter().map(|id| (*id, *id)).collect());
        // One without vendors and restrictions; the rest is set below.
        let mut tcf =
            decode("BQlH_MAQlH_MAA5AMHENB8CgTYlFyBeCKAAAAAAAAA", &mut Work::default()).unwrap();
        tcf.purposes_express_consent = Ids::of(purposes);
        tcf.purposes_implied_consent = Ids::of(u64::MAX);
        tcf.vendor_express_consent = set(&[12, 755]);
        tcf.disclosed_vendors = vendors_disclosed.map(set);
        tcf.pub_restrictions = vec![Restriction { key: 7, kind: 0, ids: set(&[12]) }];
        tcf
    }

    #[test]
    fn only_express_consent_counts_and_storage_is_not_asked() {
        let grants = tcf(0b100_1100, None).grants();
        assert_eq!(
            grants,
            Grants {
                ad_user_data: Grant::Granted,
                ad_personalization: Grant::Granted,
                ..Grants::default()
            }
        );
        let grants = tcf(0b100, None).grants();
        assert_eq!(grants.ad_user_data, Grant::Denied);
        assert_eq!(grants.ad_personalization, Grant::Denied);
    }

    #[test]
    fn a_vendor_needs_consent_disclosure_and_no_restriction() {
        let all = 0b100_1100;
        for (vendor, shown, user_data) in [
            (755, None, Grant::Granted),
            (755, Some(&[755][..]), Grant::Granted),
            (755, Some(&[12]), Grant::Denied),
            (12, None, Grant::Denied),
            (13, None, Grant::Denied),
        ] {
            let grants = tcf(all, shown).vendor_grants(vendor);
            assert_eq!(grants.ad_user_data, user_data, "{vendor} {shown:?}");
        }
    }
}
