//! The US Privacy string (`uspv1`): four characters, on its own or as a section of a GPP string.
//!
//! IAB Tech Lab, "U.S. Privacy String" (deprecated 2024-01-31 in favour of GPP, still sent; checked
//! 2026-11-22). It can only opt out; it never grants.

use serde::Serialize;

use super::bits::Unreadable;

/// A US Privacy string, read. Serialised under the names of the reference library in snake_case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UsPrivacy {
    /// Always 1.
    pub version: u8,
    /// Notice of the right to opt out was given.
    pub notice: Answer,
    /// The person opted out of the sale of their data.
    pub opt_out_sale: Answer,
    /// The transaction is covered by the industry's agreement.
    pub lspa_covered: Answer,
}

/// One answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Answer {
    /// `Y`.
    #[serde(rename = "Y")]
    Yes,
    /// `N`.
    #[serde(rename = "N")]
    No,
    /// `-`: does not apply.
    #[serde(rename = "-")]
    NotApplicable,
}

/// Reads a US Privacy string; letters in either case.
pub fn decode(text: &str) -> Result<UsPrivacy, Unreadable> {
    let [version, notice, opt_out_sale, lspa_covered] = *text.as_bytes() else {
        return Err(match text.len() {
            0 => Unreadable::Empty,
            1..4 => Unreadable::Truncated,
            _ => Unreadable::Trailing,
        });
    };
    if version != b'1' {
        return Err(Unreadable::Version);
    }
    let answer = |byte: u8| match byte.to_ascii_uppercase() {
        b'Y' => Ok(Answer::Yes),
        b'N' => Ok(Answer::No),
        b'-' => Ok(Answer::NotApplicable),
        _ => Err(Unreadable::Alphabet),
    };
    Ok(UsPrivacy {
        version: 1,
        notice: answer(notice)?,
        opt_out_sale: answer(opt_out_sale)?,
        lspa_covered: answer(lspa_covered)?,
    })
}

impl UsPrivacy {
    /// Whether it opts out of the sale. Where no notice was given, "did not opt out" says nothing:
    /// in California, whose law the string is about, that counts as opted out.
    pub fn opts_out(&self, in_california: bool) -> bool {
        self.opt_out_sale == Answer::Yes || (in_california && self.notice == Answer::No)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_four_characters_and_nothing_else() {
        let read = decode("1Yn-").unwrap();
        assert_eq!(
            read,
            UsPrivacy {
                version: 1,
                notice: Answer::Yes,
                opt_out_sale: Answer::No,
                lspa_covered: Answer::NotApplicable
            }
        );
        for (text, error) in [
            ("", Unreadable::Empty),
            ("1YN", Unreadable::Truncated),
            ("1YNNN", Unreadable::Trailing),
            ("2YNN", Unreadable::Version),
            ("1Y?N", Unreadable::Alphabet),
            ("1é-", Unreadable::Alphabet),
            ("${US", Unreadable::Version),
        ] {
            assert_eq!(decode(text), Err(error), "{text}");
        }
    }

    #[test]
    fn only_yes_opts_out_but_in_california_also_a_missing_notice() {
        for (text, elsewhere, california) in [
            ("1YYN", true, true),
            ("1YNN", false, false),
            ("1NNN", false, true),
            ("1N--", false, true),
            ("1---", false, false),
            ("1-Y-", true, true),
        ] {
            let read = decode(text).unwrap();
            assert_eq!(
                (read.opts_out(false), read.opts_out(true)),
                (elsewhere, california),
                "{text}"
            );
        }
    }
}
