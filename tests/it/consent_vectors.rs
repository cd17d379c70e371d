//! Consent strings against the reference libraries: what they read, we read alike; what is malformed
//! is refused. The data is made by `tests/vectors/generate.cjs`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use conversion_relay::consent::{additional_consent, bits::Unreadable, gpp, tcf, us_privacy};
use serde_json::{Map, Value};

const TCF: &str = include_str!("../vectors/tcf.json");
const GPP: &str = include_str!("../vectors/gpp.json");
const MALFORMED: &str = include_str!("../vectors/malformed.json");

fn vectors(json: &str) -> Vec<Value> {
    serde_json::from_str(json).unwrap()
}

/// Notes where two values differ, field by field; one has exactly the fields of the other.
fn compare(name: &str, expected: &Value, read: &Value, wrong: &mut Vec<String>) {
    if expected == read {
        return;
    }
    let (Some(expected), Some(read)) = (expected.as_object(), read.as_object()) else {
        wrong.push(format!("{name}: expected {expected}, read {read}"));
        return;
    };
    for (key, value) in expected {
        match read.get(key) {
            Some(other) if other == value => {}
            Some(other) => compare(&format!("{name}.{key}"), value, other, wrong),
            None => wrong.push(format!("{name}.{key}: missing, expected {value}")),
        }
    }
    for key in read.keys().filter(|key| !expected.contains_key(*key)) {
        wrong.push(format!("{name}.{key}: not expected"));
    }
}

fn check(json: &str, least: usize, read: impl Fn(&str) -> Result<Value, Unreadable>) {
    let vectors = vectors(json);
    assert!(vectors.len() >= least, "only {} vectors", vectors.len());
    let mut wrong = Vec::new();
    for vector in &vectors {
        let name = vector["name"].as_str().unwrap();
        match read(vector["text"].as_str().unwrap()) {
            Ok(value) => compare(name, &vector["expected"], &value, &mut wrong),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn tc_strings_read_as_the_reference_library_reads_them() {
    check(TCF, 75, |text| Ok(serde_json::to_value(tcf::decode(text)?).unwrap()));
}

#[test]
fn gpp_strings_read_as_the_reference_library_reads_them() {
    check(GPP, 120, |text| {
        let read = gpp::decode(text)?;
        for section in &read.sections {
            assert!(section.content.is_ok(), "{}: {:?}", section.id, section.content);
        }
        Ok(serde_json::to_value(read).unwrap())
    });
}

#[test]
fn malformed_strings_are_refused() {
    let malformed: Map<String, Value> = serde_json::from_str(MALFORMED).unwrap();
    let mut accepted = Vec::new();
    let mut refuse = |kind: &str, least: usize, read: &dyn Fn(&str) -> bool| {
        let cases = malformed[kind].as_object().unwrap();
        assert!(cases.len() >= least);
        for (name, text) in cases {
            if read(text.as_str().unwrap()) {
                accepted.push(format!("{kind}: {name}"));
            }
        }
    };
    refuse("tcf", 35, &|text| tcf::decode(text).is_ok());
    refuse("gpp", 15, &|text| gpp::decode(text).is_ok());
    refuse("us_privacy", 8, &|text| us_privacy::decode(text).is_ok());
    refuse("additional_consent", 12, &|text| additional_consent::decode(text).is_ok());
    assert!(accepted.is_empty(), "accepted:\n{}", accepted.join("\n"));
}

#[test]
fn an_unreadable_section_costs_only_itself_and_counts_as_opted_out() {
    let malformed: Map<String, Value> = serde_json::from_str(MALFORMED).unwrap();
    for (name, case) in malformed["gpp_sections"].as_object().unwrap() {
        let read = gpp::decode(case[0].as_str().unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let [section] = &*read.sections else { panic!("{name}: {} sections", read.sections.len()) };
        assert_eq!(u64::from(section.id), case[1].as_u64().unwrap(), "{name}");
        assert!(section.content.is_err(), "{name} was accepted");
        let out = read.us_choices(&[], false).opt_out();
        let is_us = section.id > 5;
        assert_eq!((out.sale, out.sharing, out.targeted), (is_us, is_us, is_us), "{name}");
    }
}
