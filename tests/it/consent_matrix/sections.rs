//! Every US section of GPP, laid out as the frameworks' pages have it: what each of its fields that
//! decides amounts to.

use serde_json::json;

use super::table::{Row, row};
use crate::strings::{gpp, us_section};

/// Id, name, fields of two bits after the version, and whether a GPC sub-section may follow. `M3` is
/// the agreement's three: covered, opt-out option, service provider.
#[rustfmt::skip]
const SECTIONS: [(u32, &str, &str, bool); 22] = [
    (7, "usnat", "SN SaleN ShN TAN SDPN SDLN Sale Sh TA SD*12 KC*2 PDC M3", true),
    // Its version 2.
    (7, "usnat", "SN SaleN ShN TAN SDPN SDLN Sale Sh TA SD*16 KC*3 PDC M3", true),
    (8, "usca", "SaleN ShN SDLN Sale Sh SD*9 KC*2 PDC M3", true),
    (9, "usva", "SN SaleN TAN Sale TA SD*8 KC M3", false),
    (10, "usco", "SN SaleN TAN Sale TA SD*7 KC M3", true),
    (11, "usut", "SN SaleN TAN SDPN Sale TA SD*8 KC M3", false),
    (12, "usct", "SN SaleN TAN Sale TA SD*8 KC*3 M3", true),
    (13, "usfl", "PN SaleN TAN Sale TA SD*8 KC*3 ADP M3", false),
    (14, "usmt", "SN SaleN TAN Sale TA SD*8 KC*3 ADP M3", true),
    (15, "usor", "PN SaleN TAN Sale TA SD*11 KC*3 ADP M3", true),
    (16, "ustx", "PN SaleN TAN Sale TA SD*8 KC ADP M3", true),
    (17, "usde", "PN SaleN TAN Sale TA SD*9 KC*5 ADP M3", true),
    (18, "usia", "PN SaleN TAN SDN Sale TA SD*8 KC M3", true),
    (19, "usne", "PN SaleN TAN Sale TA SD*8 KC ADP M3", true),
    (20, "usnh", "PN SaleN TAN Sale TA SD*8 KC*3 ADP M3", true),
    (21, "usnj", "PN SaleN TAN Sale TA SD*10 KC*5 ADP M3", true),
    (22, "ustn", "PN SaleN TAN Sale TA SD*8 KC ADP M3", true),
    (23, "usmn", "PN SaleN TAN Sale TA SD*8 KC ADP M3", true),
    (24, "usmd", "Covered Mode PN SaleN TAN Sale TA ADP", true),
    (25, "usin", "Covered Mode PN SaleN TAN Sale TA KC ADP", false),
    (26, "usky", "Covered Mode PN SaleN TAN Sale TA KC ADP", false),
    (27, "usri", "Covered Mode PN SaleN TAN Sale TA KC ADP", false),
];

/// What is set, and what it opts out of; of the sections that have it.
const CHANGES: [(&[(&str, u8)], &str); 11] = [
    (&[], ""),
    (&[("Sale", 1)], "s"),
    (&[("Sale", 3)], "s"),
    (&[("Sale", 0)], ""),
    (&[("SaleN", 2)], "s"),
    (&[("Sh", 1)], "h"),
    (&[("TA", 1)], "t"),
    (&[("TA", 1), ("Sale", 1)], "st"),
    (&[("TAN", 2)], "t"),
    (&[("Covered", 1), ("Provider", 1)], "p"),
    (&[("Covered", 1), ("Mode", 2)], "p"),
];

/// The names of a layout's fields, one for each value.
fn fields(layout: &str) -> Vec<&str> {
    layout
        .split(' ')
        .flat_map(|word| match word.split_once('*') {
            Some((name, count)) => vec![name; count.parse().unwrap()],
            None if word == "M3" => vec!["Covered", "OptOut", "Provider"],
            None => vec![word],
        })
        .collect()
}

/// A section in which notice was given of everything and nobody opted out, but for what is set.
fn section(version: u32, fields: &[&str], set: &[(&str, u8)]) -> String {
    let value = |field: &&str| {
        let usual = match *field {
            "Sale" | "Sh" | "TA" | "Covered" | "OptOut" | "Provider" => 2,
            "SD" | "KC" | "PDC" | "ADP" | "Mode" => 0,
            _ => 1,
        };
        set.iter().find(|(name, _)| name == field).map_or(usual, |(_, value)| *value)
    };
    let text = us_section(&fields.iter().map(value).collect::<Vec<_>>());
    // The version is the first letter.
    if version == 2 { format!("C{}", &text[1..]) } else { text }
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (at, (id, name, layout, has_gpc)) in SECTIONS.into_iter().enumerate() {
        let version = if at == 1 { 2 } else { 1 };
        let fields = fields(layout);
        let source = format!("gpp:{name}");
        let of = |what: &str, text: String| {
            let consent = json!({"gpp": gpp(&[(id, text)]), "gpp_sid": [id]});
            row(&format!("{source} version {version}, {what}"), consent, "----", &[&source])
        };
        for (set, out) in CHANGES {
            if set.iter().all(|(name, _)| fields.contains(name)) {
                rows.push(of(&format!("{set:?}"), section(version, &fields, set)).out(out));
            }
        }
        if fields.contains(&"KC") {
            for value in [1, 2] {
                rows.push(of("a child", section(version, &fields, &[("KC", value)])).minor());
            }
        }
        let plain = section(version, &fields, &[]);
        if has_gpc {
            rows.push(of("GPC", format!("{plain}.YA")).out("sht"));
            rows.push(of("no GPC", format!("{plain}.QA")));
        }
        rows.push(of("cut off", plain[..3].to_owned()).out("sht"));
    }
    rows
}
