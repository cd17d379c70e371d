//! What reading consent costs: a usual TC string, a whole consent object, and the worst that 64 KiB
//! can hold.
#![allow(missing_docs, reason = "a bench is a program")]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "it measures and prints"
)]

use std::{hint::black_box, time::Instant};

use conversion_relay::consent::{
    Rules, Signals, additional_consent, bits::MAX_BYTES, gpp, read, tcf,
};

#[path = "../fixtures/strings.rs"]
#[allow(dead_code, unreachable_pub, reason = "each program uses its part")]
mod strings;

use strings::{Tc, gpp as gpp_of, usca};

/// The median of five runs, in microseconds a round.
fn median(rounds: u32, mut run: impl FnMut()) -> f64 {
    let mut runs: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            (0..rounds).for_each(|_| run());
            start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds)
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[2]
}

fn main() {
    // As many vendors as a platform asks for today: half a kilobyte.
    let vendors: Vec<u32> = (1..=1_200).filter(|id| id % 3 != 0).collect();
    let usual = Tc { vendors: vendors.clone(), disclosed: Some(vendors), ..Tc::default() }.text();
    let bits = |text: &str| text.repeat(MAX_BYTES / text.len());
    println!("| reading | bytes | µs | wanted |");
    println!("| --- | --- | --- | --- |");
    let took = median(20_000, || {
        black_box(tcf::decode(black_box(&usual)).unwrap());
    });
    println!("| a usual TC string | {} | {took:.2} | 5 |", usual.len());

    let signals = Signals {
        tcf: Some(usual.clone()),
        additional_consent: Some("2~89.100.200~dv.7".to_owned()),
        gpp: Some(gpp_of(&[(2, usual), (8, usca(2, 2, 0, [2, 2, 2]) + ".QA")])),
        us_privacy: Some("1YNN".to_owned()),
        categories: vec![("C0004".to_owned(), true), ("C0002".to_owned(), false)],
        ..Signals::default()
    };
    let rules = Rules::deny_all();
    let took = median(5_000, || {
        black_box(read(&rules, black_box(&signals), Some("DE".to_owned()), false));
    });
    println!("| a consent object with every kind of string | | {took:.2} | |");

    let worst: [(&str, String); 6] = [
        ("TC string, all bits set", format!("C{}", bits("_"))),
        ("TC string, ranges of all vendors", ranges_of_all()),
        ("GPP string, sections of nothing", format!("DBACzw~{}", bits("1YNN~"))),
        (
            "Additional Consent string",
            format!("2~{}~dv.", "89.".repeat(5_000).trim_end_matches('.')),
        ),
        ("64 KiB of a TC string", "C".repeat(64 * 1024)),
        ("64 KiB of a GPP string", "DBAA~".repeat(64 * 1024 / 5)),
    ];
    for (name, text) in &worst {
        let took = median(100, || {
            let text = black_box(text.as_str());
            let _tcf = black_box(tcf::decode(text));
            let _gpp = black_box(gpp::decode(text));
            let _providers = black_box(additional_consent::decode(text));
        });
        println!("| {name}, by every reader | {} | {took:.1} | 5,000 |", text.len());
    }
}

/// As many entries as fit in the longest text that is read, each of all vendors.
fn ranges_of_all() -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let entry = format!("1{:016b}{}", 1, "1".repeat(16));
    let head = format!("000010{}{}1{:012b}", "0".repeat(207), "1".repeat(16), 2_700);
    let mut bits = head + &entry.repeat(2_700) + &"0".repeat(29);
    bits.extend(std::iter::repeat_n('0', bits.len().next_multiple_of(6) - bits.len()));
    let letter = |six: &[u8]| six.iter().fold(0, |n, bit| n << 1 | usize::from(bit - b'0'));
    bits.as_bytes().chunks(6).map(|six| char::from(LETTERS[letter(six)])).collect()
}
