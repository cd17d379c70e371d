//! The US sections of a GPP string (ids 7 to 27): their layouts as a table, one reader for all.
//!
//! IAB Tech Lab, Global-Privacy-Platform, Sections/US-National and US-States (checked 2026-11-22).
//! What they mean together is decided in [`gpp`](super::gpp).

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::bits::{Bits, Unreadable, Work};

/// A field: its name in the reference library in snake_case, and how many two-bit values it has.
type Field = (&'static str, u8);

const SHARING_NOTICE: Field = ("sharing_notice", 1);
const PROCESSING_NOTICE: Field = ("processing_notice", 1);
const SALE_NOTICE: Field = ("sale_opt_out_notice", 1);
const SHARING_OPT_OUT_NOTICE: Field = ("sharing_opt_out_notice", 1);
const TARGETED_NOTICE: Field = ("targeted_advertising_opt_out_notice", 1);
const SENSITIVE_NOTICE: Field = ("sensitive_data_processing_opt_out_notice", 1);
const SENSITIVE_NOTICE_IA: Field = ("sensitive_data_opt_out_notice", 1);
const LIMIT_NOTICE: Field = ("sensitive_data_limit_use_notice", 1);
const SALE: Field = ("sale_opt_out", 1);
const SHARING: Field = ("sharing_opt_out", 1);
const TARGETED: Field = ("targeted_advertising_opt_out", 1);
const PERSONAL: Field = ("personal_data_consents", 1);
const ADDITIONAL: Field = ("additional_data_processing_consent", 1);
const COVERED: Field = ("mspa_covered_transaction", 1);
const OPT_OUT_MODE: Field = ("mspa_opt_out_option_mode", 1);
const PROVIDER_MODE: Field = ("mspa_service_provider_mode", 1);
const MODE: Field = ("mspa_mode", 1);

const fn sensitive(count: u8) -> Field {
    ("sensitive_data_processing", count)
}

const fn child(count: u8) -> Field {
    ("known_child_sensitive_data_consents", count)
}

/// Bits between fields that mean nothing.
const fn unused(count: u8) -> Field {
    ("", count)
}

/// The segment that may follow the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// None by the page; one with GPC is still heeded.
    Nothing,
    /// Type (2 bits, 1) and the GPC flag.
    Gpc,
    /// Eight sensitive data consents, no type.
    Sensitive,
}

/// How a section of an id and a version is laid out after its version.
#[derive(Debug)]
struct Layout {
    id: u16,
    name: &'static str,
    version: u8,
    core: &'static [Field],
    next: Next,
}

const fn layout(id: u16, name: &'static str, core: &'static [Field], next: Next) -> Layout {
    Layout { id, name, version: 1, core, next }
}

/// Every layout. Of several with the same id and version the first that fits is read.
#[rustfmt::skip]
const LAYOUTS: [Layout; 23] = [
    layout(7, "usnat", &[
        SHARING_NOTICE, SALE_NOTICE, SHARING_OPT_OUT_NOTICE, TARGETED_NOTICE, SENSITIVE_NOTICE, LIMIT_NOTICE,
        SALE, SHARING, TARGETED, sensitive(12), child(2), PERSONAL, COVERED, OPT_OUT_MODE, PROVIDER_MODE], Next::Gpc),
    // Some writers keep version 1 in the places of version 2.
    layout(7, "usnat", &[
        SHARING_NOTICE, SALE_NOTICE, SHARING_OPT_OUT_NOTICE, TARGETED_NOTICE, SENSITIVE_NOTICE, LIMIT_NOTICE,
        SALE, SHARING, TARGETED, sensitive(12), unused(4), child(2), unused(1), PERSONAL, COVERED, OPT_OUT_MODE,
        PROVIDER_MODE], Next::Gpc),
    Layout { version: 2, ..layout(7, "usnat", &[
        SHARING_NOTICE, SALE_NOTICE, SHARING_OPT_OUT_NOTICE, TARGETED_NOTICE, SENSITIVE_NOTICE, LIMIT_NOTICE,
        SALE, SHARING, TARGETED, sensitive(16), child(3), PERSONAL, COVERED, OPT_OUT_MODE, PROVIDER_MODE], Next::Gpc) },
    layout(8, "usca", &[
        SALE_NOTICE, SHARING_OPT_OUT_NOTICE, LIMIT_NOTICE, SALE, SHARING, sensitive(9), child(2), PERSONAL,
        COVERED, OPT_OUT_MODE, PROVIDER_MODE], Next::Gpc),
    layout(9, "usva", &[
        SHARING_NOTICE, SALE_NOTICE, TARGETED_NOTICE, SALE, TARGETED, sensitive(8), child(1),
        COVERED, OPT_OUT_MODE, PROVIDER_MODE], Next::Nothing),
    layout(10, "usco", &[
        SHARING_NOTICE, SALE_NOTICE, TARGETED_NOTICE, SALE, TARGETED, sensitive(7), child(1),
        COVERED, OPT_OUT_MODE, PROVIDER_MODE], Next::Gpc),
    layout(11, "usut", &[
        SHARING_NOTICE, SALE_NOTICE, TARGETED_NOTICE, SENSITIVE_NOTICE, SALE, TARGETED, sensitive(8), child(1),
        COVERED, OPT_OUT_MODE, PROVIDER_MODE], Next::Nothing),
    layout(12, "usct", &[
        SHARING_NOTICE, SALE_NOTICE, TARGETED_NOTICE, SALE, TARGETED, sensitive(8), child(3),
        COVERED, OPT_OUT_MODE, PROVIDER_MODE], Next::Gpc),
    layout(13, "usfl", &[
        PROCESSING_NOTICE, SALE_NOTICE, TARGETED_NOTICE, SALE, TARGETED, sensitive(8), child(3), ADDITIONAL,
        COVERED, OPT_OUT_MODE, PROVIDER_MODE], Next::Nothing),
    layout(14, "usmt", &[
        SHARING_NOTICE, SALE_NOTICE, TARGETED_NOTICE, SALE, TARGETED, sensitive(8), child(3), ADDITIONAL,
        COVERED, OPT_OUT_MODE, PROVIDER_MODE], Next::Gpc),
    layout(15, "usor", &[
        PROCESSING_NOTICE, SALE_NOTICE, TARGETED_NOTICE, SALE, TARGETED, sensitive(11), child(3), ADDITIONAL,
        COVERED, OPT_OUT_MODE, PROVIDER_MODE], Next::Gpc),
    layout(16, "ustx", ONE_CHILD, Next::Gpc),
    layout(17, "usde", &[
        PROCESSING_NOTICE, SALE_NOTICE, TARGETED_NOTICE, SALE, TARGETED, sensitive(9), child(5), ADDITIONAL,
        COVERED, OPT_OUT_MODE, PROVIDER_MODE], Next::Gpc),
    layout(18, "usia", &[
        PROCESSING_NOTICE, SALE_NOTICE, TARGETED_NOTICE, SENSITIVE_NOTICE_IA, SALE, TARGETED, sensitive(8), child(1),
        COVERED, OPT_OUT_MODE, PROVIDER_MODE], Next::Gpc),
    layout(19, "usne", ONE_CHILD, Next::Gpc),
    layout(20, "usnh", &[
        PROCESSING_NOTICE, SALE_NOTICE, TARGETED_NOTICE, SALE, TARGETED, sensitive(8), child(3), ADDITIONAL,
        COVERED, OPT_OUT_MODE, PROVIDER_MODE], Next::Gpc),
    layout(21, "usnj", &[
        PROCESSING_NOTICE, SALE_NOTICE, TARGETED_NOTICE, SALE, TARGETED, sensitive(10), child(5), ADDITIONAL,
        COVERED, OPT_OUT_MODE, PROVIDER_MODE], Next::Gpc),
    layout(22, "ustn", ONE_CHILD, Next::Gpc),
    layout(23, "usmn", ONE_CHILD, Next::Gpc),
    layout(24, "usmd", &[
        COVERED, MODE, PROCESSING_NOTICE, SALE_NOTICE, TARGETED_NOTICE, SALE, TARGETED, ADDITIONAL], Next::Gpc),
    layout(25, "usin", MSPA_FIRST, Next::Sensitive),
    layout(26, "usky", MSPA_FIRST, Next::Sensitive),
    layout(27, "usri", MSPA_FIRST, Next::Sensitive),
];

#[rustfmt::skip]
const ONE_CHILD: &[Field] = &[
    PROCESSING_NOTICE, SALE_NOTICE, TARGETED_NOTICE, SALE, TARGETED, sensitive(8), child(1), ADDITIONAL,
    COVERED, OPT_OUT_MODE, PROVIDER_MODE];

#[rustfmt::skip]
const MSPA_FIRST: &[Field] = &[
    COVERED, MODE, PROCESSING_NOTICE, SALE_NOTICE, TARGETED_NOTICE, SALE, TARGETED, child(1), ADDITIONAL];

/// From this section on the core begins with a version of the agreement, not of the section.
const FIRST_WITH_MSPA: u16 = 24;

/// The name of a US section of the table.
pub(super) fn name(id: u16) -> Option<&'static str> {
    LAYOUTS.iter().find(|layout| layout.id == id).map(|layout| layout.name)
}

/// A US section, read. Serialised under the names of the reference library in snake_case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsSection {
    layout: &'static Layout,
    /// Version of the section, or of the agreement where the core begins with that.
    version: u8,
    /// The values of the core's fields, in order.
    values: Vec<u8>,
    /// The GPC flag, where it was sent.
    gpc: Option<bool>,
    /// The consents of the segment for sensitive data.
    sensitive: [u8; 8],
}

impl PartialEq for Layout {
    fn eq(&self, other: &Layout) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Layout {}

/// Reads the section of an id.
pub(super) fn decode(id: u16, text: &str, work: &mut Work) -> Result<UsSection, Unreadable> {
    let mut segments: Vec<&str> = text.split('.').take(4).collect();
    if id >= FIRST_WITH_MSPA {
        strip_header(id, &mut segments, work)?;
    }
    let (core, next) = match *segments {
        [core] => (core, None),
        [core, next] => (core, Some(next)),
        _ => return Err(Unreadable::Segment),
    };
    let version = Bits::new(core, work)?.small(6)?;
    let mut result = Err(Unreadable::Version);
    for layout in LAYOUTS.iter().filter(|layout| layout.id == id) {
        // The agreement's version says nothing about the layout.
        if layout.version == version || id >= FIRST_WITH_MSPA {
            result = with_layout(layout, core, next, work);
        }
        if result.is_ok() {
            break;
        }
    }
    result
}

/// The published page begins sections 24 to 27 with a header (own id, version, sub-sections); the
/// reference library writes none and begins with the agreement's version. Both are read, told apart
/// by the id, which is no version that exists.
fn strip_header(id: u16, segments: &mut Vec<&str>, work: &mut Work) -> Result<(), Unreadable> {
    let bits = &mut Bits::new(segments.first().ok_or(Unreadable::Segment)?, work)?;
    if bits.number(6)? != id {
        return Ok(());
    }
    if bits.small(6)? != 1 {
        return Err(Unreadable::Version);
    }
    let announced = bits.fibonacci_entries(u16::MAX)?;
    bits.finish()?;
    segments.remove(0);
    // The core has id 0, which a Fibonacci number cannot write; the one other segment has id 1.
    let expected: &[(u16, u16)] = if segments.len() > 1 { &[(1, 1)] } else { &[] };
    if *announced.pairs() == *expected { Ok(()) } else { Err(Unreadable::Count) }
}

fn with_layout(
    layout: &'static Layout,
    core: &str,
    next: Option<&str>,
    work: &mut Work,
) -> Result<UsSection, Unreadable> {
    let bits = &mut Bits::new(core, work)?;
    let version = bits.small(6)?;
    let mut values = Vec::with_capacity(40);
    for (name, count) in layout.core {
        for _ in 0..*count {
            let value = bits.small(2)?;
            if !name.is_empty() {
                values.push(value);
            }
        }
    }
    bits.finish()?;
    work.bytes += values.capacity();
    let mut section = UsSection { layout, version, values, gpc: None, sensitive: [0; 8] };
    if let Some(next) = next {
        let bits = &mut Bits::new(next, work)?;
        if layout.next == Next::Sensitive {
            for value in &mut section.sensitive {
                *value = bits.small(2)?;
            }
        } else if bits.small(2)? == 1 {
            section.gpc = Some(bits.flag()?);
        } else {
            return Err(Unreadable::Segment);
        }
        bits.finish()?;
    }
    Ok(section)
}

impl UsSection {
    /// The section's name, such as `usca`.
    pub fn name(&self) -> &'static str {
        self.layout.name
    }

    /// The values of a field by its name; none if the section has no such field.
    pub fn values(&self, name: &str) -> &[u8] {
        self.fields().find(|(field, _)| *field == name).map_or(&[], |(_, values)| values)
    }

    /// Whether Global Privacy Control was on.
    pub fn gpc(&self) -> bool {
        self.gpc == Some(true)
    }

    fn fields(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let named = self.layout.core.iter().filter(|(name, _)| !name.is_empty());
        named.scan(&*self.values, |rest, (name, count)| {
            let (values, after) = rest.split_at_checked(usize::from(*count))?;
            *rest = after;
            Some((*name, values))
        })
    }
}

impl Serialize for UsSection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let version = if self.layout.id >= FIRST_WITH_MSPA { "mspa_version" } else { "version" };
        map.serialize_entry(version, &self.version)?;
        for (name, values) in self.fields() {
            match values {
                [value] => map.serialize_entry(name, value)?,
                values => map.serialize_entry(name, values)?,
            }
        }
        if self.layout.next == Next::Sensitive {
            map.serialize_entry(sensitive(8).0, &self.sensitive)?;
        } else if self.layout.next == Next::Gpc || self.gpc.is_some() {
            map.serialize_entry("gpc_segment_type", &1)?;
            map.serialize_entry("gpc", &self.gpc())?;
        }
        map.end()
    }
}
