//! IAB GPP strings: the header, the sections, and what the sections amount to.
//!
//! IAB Tech Lab, Global-Privacy-Platform, Core/Consent String Specification (checked 2026-11-22).
//! A section that cannot be read costs that section only: the others still line up. An unreadable
//! US section counts as opted out, since an opt-out may be what it says; so does an unreadable
//! string.

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    OptOut,
    bits::{self, Bits, Unreadable, Work},
    tcf::{self, Tcf},
    tcf_canada::{self, TcfCanada},
    us_privacy::{self, UsPrivacy},
    us_section::{self, UsSection},
};

/// Sections of the US: the US Privacy string and those of the table.
const US: std::ops::RangeInclusive<u16> = 6..=27;

/// A GPP string, read. Serialised as `section_ids` and the sections that can be read, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpp {
    /// The sections, in order.
    pub sections: Vec<Section>,
}

/// One section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its id.
    pub id: u16,
    /// What it says, or why that is not known.
    pub content: Result<Content, Unreadable>,
}

/// What a section says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Content {
    /// Section 2.
    Tcf(Box<Tcf>),
    /// Section 5.
    TcfCanada(Box<TcfCanada>),
    /// Section 6.
    UsPrivacy(UsPrivacy),
    /// Sections 7 to 27.
    Us(UsSection),
}

/// What the US sections that apply amount to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsChoices {
    /// The US sections that were read or should have been, such as `gpp:usca`, each with what it
    /// opts out of: sale, sharing, targeting.
    pub sections: Vec<(String, [bool; 3])>,
    /// A section says that the person is a known child.
    pub child: bool,
    /// A covered transaction in service provider mode: a platform may act for the site only.
    pub service_provider_only: bool,
}

/// Reads a GPP string.
pub fn decode(text: &str) -> Result<Gpp, Unreadable> {
    decode_counting(text, &mut Work::default())
}

/// Reads a GPP string and adds what that cost.
pub fn decode_counting(text: &str, work: &mut Work) -> Result<Gpp, Unreadable> {
    let text = bits::text(text)?;
    let mut parts = text.split('~');
    let header = parts.next().unwrap_or("");
    let count = parts.clone().count();
    let ids = section_ids(header, count, work)?;
    let mut sections = Vec::with_capacity(count);
    work.bytes += count * size_of::<Section>();
    for (id, part) in ids.into_iter().zip(parts) {
        sections.push(Section { id, content: content(id, part, work) });
    }
    Ok(Gpp { sections })
}

/// Type 3, version 1, then the ids in the order of the sections, as many as there are.
fn section_ids(header: &str, count: usize, work: &mut Work) -> Result<Vec<u16>, Unreadable> {
    let bits = &mut Bits::new(header, work)?;
    if bits.small(6)? != 3 || bits.small(6)? != 1 {
        return Err(Unreadable::Version);
    }
    let ranges = bits.fibonacci_entries(u16::MAX)?;
    bits.finish()?;
    let ids: Vec<u16> = ranges.pairs().iter().flat_map(|(a, b)| *a..=*b).take(count + 1).collect();
    work.bytes += ids.capacity() * size_of::<u16>();
    if ids.len() == count { Ok(ids) } else { Err(Unreadable::Count) }
}

fn content(id: u16, text: &str, work: &mut Work) -> Result<Content, Unreadable> {
    if text.is_empty() {
        return Err(Unreadable::Empty);
    }
    Ok(match id {
        2 => Content::Tcf(Box::new(tcf::decode_counting(text, work)?)),
        5 => Content::TcfCanada(Box::new(tcf_canada::decode(text, work)?)),
        6 => Content::UsPrivacy(us_privacy::decode(text)?),
        7..=27 => Content::Us(us_section::decode(id, text, work)?),
        _ => return Err(Unreadable::UnknownSection),
    })
}

/// The name of a section, such as `usca`; none if its layout is not known here.
pub fn section_name(id: u16) -> Option<&'static str> {
    match id {
        2 => Some("tcfeuv2"),
        5 => Some("tcfcav1"),
        6 => Some("uspv1"),
        id => us_section::name(id),
    }
}

/// What a GPP string amounts to that cannot be read: opted out of all.
pub fn unreadable() -> UsChoices {
    let mut choices = UsChoices::default();
    choices.note("gpp".to_owned(), [true; 3]);
    choices
}

impl Gpp {
    /// The European TC string in it.
    pub fn tcf(&self) -> Option<Result<&Tcf, Unreadable>> {
        let section = self.sections.iter().find(|section| section.id == 2)?;
        Some(match &section.content {
            Ok(Content::Tcf(tcf)) => Ok(tcf),
            Ok(_) => return None,
            Err(error) => Err(*error),
        })
    }

    /// The Canadian TC string in it.
    pub fn tcf_canada(&self) -> Option<Result<&TcfCanada, Unreadable>> {
        let section = self.sections.iter().find(|section| section.id == 5)?;
        Some(match &section.content {
            Ok(Content::TcfCanada(tcf)) => Ok(tcf),
            Ok(_) => return None,
            Err(error) => Err(*error),
        })
    }

    /// The sections that apply by `gpp_sid`: those that it lists. All do if it is absent, or if it
    /// lists one that is not there, which contradicts the string.
    pub fn applying(&self, gpp_sid: &[u32]) -> impl Iterator<Item = &Section> {
        let has = |id: &u32| self.sections.iter().any(|section| u32::from(section.id) == *id);
        let all = !gpp_sid.iter().all(has) || gpp_sid.is_empty();
        let listed = move |id| gpp_sid.contains(&u32::from(id));
        self.sections.iter().filter(move |section| all || listed(section.id))
    }

    /// What the US sections that apply, and the browser's signal in any, amount to. `in_california`: see [`UsPrivacy::opts_out`].
    pub fn us_choices(&self, gpp_sid: &[u32], in_california: bool) -> UsChoices {
        let mut choices = UsChoices::default();
        // The browser's own signal is of the person, whichever section applies.
        for section in &self.sections {
            if let (Ok(Content::Us(us)), Some(name)) = (&section.content, section_name(section.id))
                && us.gpc()
            {
                choices.note(format!("gpp:{name}"), [true; 3]);
            }
        }
        for section in self.applying(gpp_sid) {
            // What a section says that is not known here may be a refusal: the site names it as
            // applying, or it is newer than this list, as the next states' will be.
            let unknown = section.content == Err(Unreadable::UnknownSection)
                && (section.id > *US.end() || gpp_sid.contains(&u32::from(section.id)));
            if !US.contains(&section.id) && !unknown {
                continue;
            }
            let source = match section_name(section.id) {
                Some(name) => format!("gpp:{name}"),
                None => format!("gpp:{}", section.id),
            };
            match &section.content {
                Ok(Content::Us(us)) => choices.add(source, us),
                Ok(Content::UsPrivacy(us)) => {
                    choices.note(source, [us.opts_out(in_california), false, false]);
                }
                Ok(Content::Tcf(_) | Content::TcfCanada(_)) => {}
                Err(_) => choices.note(source, [true; 3]),
            }
        }
        choices
    }
}

impl UsChoices {
    fn add(&mut self, source: String, us: &UsSection) {
        // 1 is opted out; 3 is reserved, and no reason to go on.
        let is = |name: &str, those: &[u8]| us.values(name).iter().any(|v| those.contains(v));
        // Where notice of the right was not given (2), "did not opt out" says nothing.
        let out = |value: &str, notice: &str| us.gpc() || is(value, &[1, 3]) || is(notice, &[2, 3]);
        self.note(
            source,
            [
                out("sale_opt_out", "sale_opt_out_notice"),
                out("sharing_opt_out", "sharing_opt_out_notice"),
                out("targeted_advertising_opt_out", "targeted_advertising_opt_out_notice"),
            ],
        );
        // Any value but "not applicable" is about a known child, consent or not.
        self.child |= is("known_child_sensitive_data_consents", &[1, 2, 3]);
        self.service_provider_only |= is("mspa_covered_transaction", &[1])
            && (is("mspa_service_provider_mode", &[1]) || is("mspa_mode", &[2]));
    }

    fn note(&mut self, source: String, out: [bool; 3]) {
        self.sections.push((source, out));
    }

    /// What the person opted out of, all sections together.
    pub fn opt_out(&self) -> OptOut {
        let mut opt_out = OptOut::default();
        for (source, out) in &self.sections {
            opt_out.add(source, *out);
        }
        opt_out
    }
}

impl Serialize for Gpp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let ids: Vec<u16> = self.sections.iter().map(|section| section.id).collect();
        map.serialize_entry("section_ids", &ids)?;
        for section in &self.sections {
            if let (Some(name), Ok(content)) = (section_name(section.id), &section.content) {
                map.serialize_entry(name, content)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A section of two-bit values after version 1, as its layout has them.
    fn us(id: u16, values: &[u8]) -> Section {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut padded = values.to_vec();
        padded.resize(values.len().next_multiple_of(3), 0);
        let letter = |three: &[u8]| three.iter().fold(0, |n, value| n << 2 | usize::from(*value));
        let text: String = std::iter::once('B')
            .chain(padded.chunks(3).map(|three| char::from(letters[letter(three)])))
            .collect();
        let content = us_section::decode(id, &text, &mut Work::default()).map(Content::Us);
        assert!(content.is_ok(), "{content:?}");
        Section { id, content }
    }

    /// usca: three notices, sale, sharing, then nine, two, one and three values.
    fn usca(head: [u8; 5]) -> Section {
        us(8, &[&head[..], &[0; 9], &[0; 2], &[0], &[1, 0, 0]].concat())
    }

    fn opted_out(section: Section) -> [bool; 3] {
        let out = Gpp { sections: vec![section] }.us_choices(&[], false).opt_out();
        assert_eq!(out.any(), !out.sources.is_empty());
        [out.sale, out.sharing, out.targeted]
    }

    #[test]
    fn opt_outs_are_one_and_the_reserved_value() {
        for (value, out) in [(0, false), (1, true), (2, false), (3, true)] {
            assert_eq!(opted_out(usca([1, 1, 1, value, 2])), [out, false, false], "sale {value}");
            assert_eq!(
                opted_out(usca([1, 1, 1, 2, value])),
                [false, out, false],
                "sharing {value}"
            );
        }
        // usva: three notices, sale, targeted, then eight, one and three values.
        for (value, out) in [(0, false), (1, true), (2, false), (3, true)] {
            let section = us(9, &[&[1, 1, 1, 2, value][..], &[0; 9], &[1, 0, 0]].concat());
            assert_eq!(opted_out(section), [false, false, out], "targeted {value}");
        }
    }

    #[test]
    fn without_notice_not_opting_out_says_nothing() {
        assert_eq!(opted_out(usca([2, 1, 1, 2, 2])), [true, false, false]);
        assert_eq!(opted_out(usca([1, 2, 1, 2, 2])), [false, true, false]);
        assert_eq!(opted_out(usca([0, 0, 2, 0, 0])), [false; 3]);
    }

    #[test]
    fn gpc_and_unreadable_sections_opt_out_of_all() {
        for (text, out) in [
            ("DBABBg~BUoAAABA.YA", true),
            ("DBABBg~BUoAAABA.QA", false),
            ("DBABBg~BUoAAABA", false),
            ("DBABBg~BUo", true),
        ] {
            let choices = decode(text).unwrap().us_choices(&[], false);
            let opt_out = &choices.opt_out();
            let all = [opt_out.sale, opt_out.sharing, opt_out.targeted];
            assert_eq!(all, [out; 3], "{text}");
            assert_eq!(choices.sections[0].0, "gpp:usca");
        }
        assert!(unreadable().opt_out().any());
    }

    #[test]
    fn a_known_child_is_one_with_consent_too() {
        for value in 0..4 {
            let values = [&[1, 1, 1, 2, 2][..], &[0; 9], &[0, value], &[0], &[1, 0, 0]].concat();
            let gpp = Gpp { sections: vec![us(8, &values)] };
            assert_eq!(gpp.us_choices(&[], false).child, value != 0);
        }
    }

    #[test]
    fn service_provider_mode_counts_in_covered_transactions() {
        for (covered, opt_out_mode, provider_mode, only) in
            [(1, 0, 1, true), (2, 0, 1, false), (1, 1, 0, false), (1, 0, 2, false)]
        {
            let mspa = [covered, opt_out_mode, provider_mode];
            let values = [&[1, 1, 1, 2, 2][..], &[0; 12], &mspa].concat();
            let gpp = Gpp { sections: vec![us(8, &values)] };
            assert_eq!(gpp.us_choices(&[], false).service_provider_only, only, "{mspa:?}");
        }
        // usmd: covered, mode (2 is service provider), three notices, sale, targeted, additional.
        let gpp = Gpp { sections: vec![us(24, &[1, 2, 1, 1, 1, 2, 2, 0])] };
        assert!(gpp.us_choices(&[], false).service_provider_only);
    }

    #[test]
    fn only_sections_that_apply_are_asked() {
        let out = usca([1, 1, 1, 1, 1]);
        let not_out = us(9, &[&[1, 1, 1, 2, 2][..], &[0; 9], &[1, 0, 0]].concat());
        let unknown = Section { id: 99, content: Err(Unreadable::UnknownSection) };
        let gpp = Gpp { sections: vec![out, not_out, unknown] };
        for (gpp_sid, sources) in [
            (&[][..], &["gpp:usca", "gpp:99"][..]),
            (&[8], &["gpp:usca"]),
            (&[9], &[]),
            (&[8, 9], &["gpp:usca"]),
            // 10 applies and is not there: all that are there do.
            (&[9, 10], &["gpp:usca", "gpp:99"]),
            // The site says that what cannot be read applies.
            (&[9, 99], &["gpp:99"]),
        ] {
            assert_eq!(gpp.us_choices(gpp_sid, false).opt_out().sources, sources, "{gpp_sid:?}");
        }
    }

    #[test]
    fn the_us_privacy_string_in_it_counts_as_on_its_own() {
        let gpp = decode("DBABTA~1NNN").unwrap();
        assert!(!gpp.us_choices(&[], false).opt_out().any());
        let california = gpp.us_choices(&[], true).opt_out();
        assert!(california.sale && !california.sharing);
        assert_eq!(california.sources, ["gpp:uspv1"]);
    }
}
