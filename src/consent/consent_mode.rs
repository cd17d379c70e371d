//! Google Consent Mode's `gcs` and `gcd` parameters: supporting evidence, never a grant.
//!
//! `gcs` is `G1` and a character each for ad and analytics storage. `gcd` is not documented by
//! Google; its reading here is public reverse engineering (checked 2026-11-22), which is why a
//! denial in it counts, being the stricter, and a grant does not.

use super::{Grant, Grants, bits::Unreadable};

/// What a parameter is evidence of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Evidence {
    /// Of the purposes.
    pub(super) grants: Grants,
    /// Of Global Privacy Control.
    pub(super) gpc: bool,
}

/// Reads `gcs` or `gcd`, by the parameter's name.
pub(super) fn evidence(name: &str, text: &str) -> Result<Evidence, Unreadable> {
    if name == "gcs" { gcs(text) } else { gcd(text) }
}

fn gcs(text: &str) -> Result<Evidence, Unreadable> {
    let [b'G', version, ad, analytics] = *text.as_bytes() else { return Err(Unreadable::Form) };
    if version != b'1' {
        return Err(Unreadable::Version);
    }
    let grant = |byte| match byte {
        b'1' => Ok(Grant::Granted),
        b'0' => Ok(Grant::Denied),
        b'-' => Ok(Grant::NotAsked),
        _ => Err(Unreadable::Value),
    };
    let grants = Grants {
        ad_storage: grant(ad)?,
        analytics_storage: grant(analytics)?,
        ..Grants::default()
    };
    Ok(Evidence { grants, gpc: false })
}

/// `1`, then four times a separator and a letter, then flags.
fn gcd(text: &str) -> Result<Evidence, Unreadable> {
    let [b'1', _, storage, _, analytics, _, user_data, _, personalization, rest @ ..] =
        text.as_bytes()
    else {
        return Err(Unreadable::Form);
    };
    let grants = Grants {
        ad_storage: letter(*storage)?,
        analytics_storage: letter(*analytics)?,
        ad_user_data: letter(*user_data)?,
        ad_personalization: letter(*personalization)?,
    };
    // Bit 8 of the flags is GPC.
    let gpc = match rest.first() {
        Some(flags) => number(*flags)? & 8 != 0,
        None => false,
    };
    Ok(Evidence { grants, gpc })
}

/// Two bits each of what was declared, the default and the update: the last that is set counts.
fn letter(byte: u8) -> Result<Grant, Unreadable> {
    let bits = number(byte)?;
    let of = |two: u8| match two & 3 {
        2 => Some(Grant::Denied),
        3 => Some(Grant::Granted),
        _ => None,
    };
    Ok(of(bits).or(of(bits >> 2)).or(of(bits >> 4)).unwrap_or(Grant::NotAsked))
}

/// The alphabet `0-9a-zA-Z-_`.
fn number(byte: u8) -> Result<u8, Unreadable> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'z' => Ok(byte - b'a' + 10),
        b'A'..=b'Z' => Ok(byte - b'A' + 36),
        b'-' => Ok(62),
        b'_' => Ok(63),
        _ => Err(Unreadable::Alphabet),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters(grants: Grants) -> String {
        let letter = |grant| match grant {
            Grant::Granted => 'g',
            Grant::Denied => 'd',
            Grant::NotAsked => '-',
        };
        let all = [
            grants.ad_storage,
            grants.analytics_storage,
            grants.ad_user_data,
            grants.ad_personalization,
        ];
        all.map(letter).iter().collect()
    }

    #[test]
    fn gcs_says_two_purposes() {
        for (text, expected) in [
            ("G100", "dd--"),
            ("G110", "gd--"),
            ("G101", "dg--"),
            ("G111", "gg--"),
            ("G1--", "----"),
        ] {
            assert_eq!(letters(evidence("gcs", text).unwrap().grants), expected, "{text}");
        }
        for text in ["", "G1", "G1000", "G211", "H111", "G1x1", "G1é"] {
            assert!(evidence("gcs", text).is_err(), "{text}");
        }
    }

    #[test]
    fn gcd_says_four_and_the_last_word_counts() {
        for (text, expected, gpc) in [
            ("13r3r3r3r5l1", "gggg", false),
            ("11l1l1l1l1", "----", false),
            ("13m3n3p3q5", "dgdd", false),
            ("13t3u3v3ld", "gdg-", true),
            ("13t3t3t3t", "gggg", false),
        ] {
            let read = evidence("gcd", text).unwrap();
            assert_eq!((&*letters(read.grants), read.gpc), (expected, gpc), "{text}");
        }
        for text in ["", "1", "23r3r3r3r5", "13r3r3r3", "13!3r3r3r5", "13r3r3r3r~"] {
            assert!(evidence("gcd", text).is_err(), "{text}");
        }
    }
}
