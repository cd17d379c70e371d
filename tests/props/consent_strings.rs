//! Consent strings of strangers: no text panics, and what reading costs is linear in its length.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

use conversion_relay::consent::{
    additional_consent,
    bits::{MAX_BYTES, Unreadable, Work},
    cmp, gpp, tcf, us_privacy,
};
use proptest::prelude::*;

/// Steps and bytes that a character may cost: a bit costs a step at most, a section is read by up
/// to two layouts or forms, and a vendor's range needs at least two bits.
const STEPS: usize = 24;
const BYTES: usize = 80;

fn bounded(text: &str, work: Work) -> Result<(), TestCaseError> {
    let allowed = text.len().min(MAX_BYTES) + 64;
    prop_assert!(work.steps <= STEPS * allowed, "{work:?} for {} bytes", text.len());
    prop_assert!(work.bytes <= BYTES * allowed, "{work:?} for {} bytes", text.len());
    Ok(())
}

fn read_all(text: &str) -> Result<(), TestCaseError> {
    let mut work = Work::default();
    if let Ok(tcf) = tcf::decode_counting(text, &mut work) {
        let (all, one) = (tcf.grants(), tcf.vendor_grants(755));
        // A vendor never has what the person did not give.
        for (purpose, _) in conversion_relay::consent::Purpose::ALL {
            let granted = conversion_relay::consent::Grant::Granted;
            prop_assert!(one.get(purpose) != granted || all.get(purpose) == granted);
        }
    }
    bounded(text, work)?;
    let mut work = Work::default();
    if let Ok(gpp) = gpp::decode_counting(text, &mut work) {
        gpp.us_choices(&[7, 8, 99], true);
    }
    bounded(text, work)?;
    if let Ok(read) = us_privacy::decode(text) {
        prop_assert!(read.opts_out(true) || !read.opts_out(false));
    }
    if let Ok(read) = additional_consent::decode(text) {
        prop_assert!(!read.allows(89) || text.contains("89"));
    }
    for name in
        ["OptanonConsent", "CookieConsent", "didomi_token", "cookieyes-consent", "uc_settings"]
    {
        let readings = cmp::read(&[(name.to_owned(), text.to_owned())]);
        if text.len() > MAX_BYTES {
            prop_assert_eq!(readings[0].choices.as_ref().err(), Some(&Unreadable::TooLong));
        }
    }
    Ok(())
}

/// A good string with a few characters changed, cut or repeated: deeper than noise gets.
fn mutated() -> impl Strategy<Value = String> {
    let whole: Vec<String> =
        [include_str!("../vectors/tcf.json"), include_str!("../vectors/gpp.json")]
            .iter()
            .flat_map(|json| serde_json::from_str::<Vec<serde_json::Value>>(json).unwrap())
            .map(|vector| vector["text"].as_str().unwrap().to_owned())
            .collect();
    let change = (any::<prop::sample::Index>(), "[A-Za-z0-9_.~-]{0,3}", 0..4_usize);
    (prop::sample::select(whole), prop::collection::vec(change, 1..6)).prop_map(
        |(text, changes)| {
            let mut text = text.into_bytes();
            for (at, new, cut) in changes {
                let at = at.index(text.len() + 1);
                let end = (at + cut).min(text.len());
                text.splice(at..end, new.into_bytes());
            }
            String::from_utf8(text).unwrap()
        },
    )
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        read_all(&text)?;
    }

    #[test]
    fn long_text_of_the_alphabet_is_bounded(
        start in prop_oneof![Just(""), Just("C"), Just("DBABMA~C"), Just("DBAA"), Just("DBABLA~C")],
        text in "[A-Za-z0-9_.~-]{0,400}",
        times in 1..200_usize,
    ) {
        let text = format!("{start}{}", text.repeat(times));
        read_all(&text[..text.len().min(64 * 1024)])?;
    }

    #[test]
    fn mutated_strings_are_read_or_refused(text in mutated()) {
        read_all(&text)?;
    }
}

/// The worst that the format can say in the space: as many entries as fit, each of all vendors, and
/// as many restrictions as fit.
#[test]
fn the_densest_strings_are_linear() {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let text_of = |mut bits: String| -> String {
        bits.extend(std::iter::repeat_n('0', bits.len().next_multiple_of(6) - bits.len()));
        bits.as_bytes()
            .chunks(6)
            .map(|six| six.iter().fold(0, |n, bit| n << 1 | usize::from(bit - b'0')))
            .map(|n| char::from(letters[n]))
            .collect()
    };
    let head = format!("000010{}", "0".repeat(207));
    let none = "0".repeat(17);
    let all = "1".repeat(16) + "1" + &format!("{:012b}", 2_700);
    let entries = format!("1{:016b}{}", 1, "1".repeat(16)).repeat(2_700);
    let field = "1".repeat(16) + "0" + &"01".repeat(32_768)[1..];
    let restriction = format!("00001001{:012b}0{:016b}", 1, 755);
    let restrictions = format!("{:012b}", 2_600) + &restriction.repeat(2_600);
    for (name, bits) in [
        ("all vendors, again and again", format!("{head}{all}{entries}{none}{}", "0".repeat(12))),
        ("every second vendor", format!("{head}{field}{none}{}", "0".repeat(12))),
        ("one restriction, again and again", format!("{head}{none}{none}{restrictions}")),
    ] {
        let text = text_of(bits);
        assert!(text.len() <= MAX_BYTES, "{name}: {} bytes", text.len());
        let mut work = Work::default();
        tcf::decode_counting(&text, &mut work).unwrap_or_else(|error| panic!("{name}: {error}"));
        bounded(&text, work).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let sections = format!("DBACzw~{}", vec!["1YNN"; 3_000].join("~"));
    let mut work = Work::default();
    assert!(gpp::decode_counting(&sections, &mut work).is_err());
    bounded(&sections, work).unwrap();
}
