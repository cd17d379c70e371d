//! `consent decode`: consent objects in, what their strings say and amount to out, a line each.
//!
//! It prints what the one reader of signals saw, in full, and what that amounts to, vendors aside: a
//! destination's own grants are what `explain` shows.

use std::io::{BufRead, Write};

use anyhow::Context;
use serde::{Serialize, Serializer};

use crate::consent::{
    Content, Grants, OptOut, Problem, Reading, additional_consent::AdditionalConsent, cmp::Choices,
    gpp::Gpp, tcf::Tcf, us_privacy::UsPrivacy,
};

/// Longest line that is read; an event's own limit.
const MAX_LINE: u64 = 256 * 1024;

#[derive(Serialize)]
struct Line {
    decoded: Decoded,
    grants: Grants,
    opt_out: OptOut,
    errors: Vec<Problem>,
}

/// What can be decoded; absent: not sent, or unreadable and among the errors.
#[derive(Serialize, Default)]
struct Decoded {
    #[serde(skip_serializing_if = "Option::is_none")]
    tcf: Option<Tcf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_consent: Option<AdditionalConsent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gpp: Option<Gpp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    us_privacy: Option<UsPrivacy>,
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "by_name")]
    cookies: Vec<(&'static str, Choices)>,
}

fn by_name<S: Serializer>(
    cookies: &[(&'static str, Choices)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(cookies.iter().map(|(source, choices)| (source, choices)))
}

/// Decodes every line of `input`. `settle` reads one consent object, or says why it is none.
/// `Ok(false)` if any line is none.
pub(super) fn run(
    mut input: impl BufRead,
    mut output: impl Write,
    settle: impl Fn(&str) -> Result<Reading, Problem>,
) -> anyhow::Result<bool> {
    let mut all = true;
    let mut line = String::new();
    loop {
        line.clear();
        let mut rest = std::io::Read::take(&mut input, MAX_LINE + 1);
        if rest.read_line(&mut line).context("reading the input")? == 0 {
            return Ok(all);
        }
        anyhow::ensure!(line.len() as u64 <= MAX_LINE, "a line is longer than {MAX_LINE} bytes");
        if line.trim().is_empty() {
            continue;
        }
        let decoded = match settle(line.trim()) {
            Ok(reading) => decode(reading),
            Err(problem) => {
                all = false;
                unreadable(problem)
            }
        };
        serde_json::to_writer(&mut output, &decoded).context("writing the output")?;
        output.write_all(b"\n").context("writing the output")?;
    }
}

fn unreadable(problem: Problem) -> Line {
    Line {
        decoded: Decoded::default(),
        grants: Grants::default(),
        opt_out: OptOut::default(),
        errors: vec![problem],
    }
}

fn decode(reading: Reading) -> Line {
    let Reading { seen, state } = reading;
    let mut decoded = Decoded::default();
    for text in seen.strings {
        // Of several of a kind the first shows: the field itself, before what a cookie carries.
        match text.content {
            Content::Tcf(tcf) => keep(&mut decoded.tcf, tcf.map(|tcf| *tcf)),
            Content::AdditionalConsent(list) => keep(&mut decoded.additional_consent, list),
            Content::Gpp(gpp) => keep(&mut decoded.gpp, gpp),
            Content::UsPrivacy(us) => keep(&mut decoded.us_privacy, us),
        }
    }
    for reading in seen.cookies {
        if let Ok(choices) = reading.choices {
            decoded.cookies.push((reading.source, choices));
        }
    }
    Line { decoded, grants: state.grants, opt_out: state.opt_out, errors: seen.problems }
}

fn keep<T, E>(place: &mut Option<T>, read: Result<T, E>) {
    if let (None, Ok(read)) = (&place, read) {
        *place = Some(read);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::consent::{Rules, Signals, read};

    /// A stand-in for the event's reader: these tests are about what is printed.
    fn settle(line: &str) -> Result<Reading, Problem> {
        let value: Value = serde_json::from_str(line).map_err(|error| Problem {
            code: "malformed_json",
            message: error.to_string(),
            path: String::new(),
        })?;
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let cookies = value["cookies"].as_object().into_iter().flatten();
        let signals = Signals {
            tcf: text("tcf"),
            additional_consent: text("additional_consent"),
            gpp: text("gpp"),
            gpp_sid: vec![8; usize::from(value["gpp_sid"].is_array())],
            us_privacy: text("us_privacy"),
            cookies: cookies.map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect(),
            ..Signals::default()
        };
        Ok(read(&Rules::deny_all(), &signals, None, false))
    }

    fn decoded(input: &str) -> (bool, Vec<Value>) {
        let mut output = Vec::new();
        let all = run(input.as_bytes(), &mut output, settle).unwrap();
        let text = String::from_utf8(output).unwrap();
        (all, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    #[test]
    fn prints_what_every_string_says() {
        let (all, lines) = decoded(
            &json!({
                "tcf": "CQlH_MAQlH_MAAcADBENCyFgALIAAAAAAAYgF5wAQF5gAAABHAAQF5gA.IF5wAQF5gAAA",
                "gpp": "DBABBg~BCmVmmBU.YA",
                "us_privacy": "1YNN",
                "additional_consent": "2~89~dv.",
                "cookies": {
                    "OptanonConsent": "interactionCount=1&groups=C0004:1",
                    "OptanonAlertBoxClosed": "2026-11-02T10:00:00Z",
                    "other": "x",
                },
            })
            .to_string(),
        );
        assert!(all);
        let [line] = &*lines else { panic!("{} lines", lines.len()) };
        let decoded = &line["decoded"];
        assert_eq!(decoded["tcf"]["purpose_consents"], json!([1, 3, 4, 7]));
        assert_eq!(decoded["tcf"]["vendor_consents"], json!([[755, 755]]));
        assert_eq!(decoded["gpp"]["section_ids"], json!([8]));
        assert_eq!(decoded["gpp"]["usca"]["gpc"], json!(true));
        assert_eq!(decoded["us_privacy"]["opt_out_sale"], json!("N"));
        assert_eq!(decoded["additional_consent"]["consented"], json!([89]));
        assert_eq!(decoded["cookies"]["onetrust"]["categories"], json!({"C0004": true}));
        assert_eq!(line["grants"]["ad_storage"], json!("granted"));
        assert_eq!(line["opt_out"]["sale"], json!(true));
        assert_eq!(line["errors"], json!([]));
    }

    #[test]
    fn says_why_and_never_what() {
        let secret = "SECRET";
        let input = [
            json!({"tcf": secret, "gpp": secret, "us_privacy": secret, "additional_consent": secret,
                "cookies": {"CookieConsent": secret}}),
            json!({"tcf": "${GDPR_CONSENT_755}", "gpp": ""}),
            json!({"gpp": "DBABBg~BVVV", "gpp_sid": [8]}),
        ];
        let (all, lines) = decoded(&input.map(|line| line.to_string()).join("\n\n"));
        assert!(all);
        let codes = |line: &Value| {
            let errors = line["errors"].as_array().unwrap().iter();
            errors
                .map(|e| format!("{} {}", e["path"].as_str().unwrap(), e["code"].as_str().unwrap()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            codes(&lines[0]),
            [
                "/tcf version",
                "/additional_consent version",
                "/gpp version",
                "/us_privacy trailing",
                "/cookies/cookiebot form"
            ]
        );
        assert!(!lines[0].to_string().contains(secret));
        assert_eq!(lines[1]["errors"], json!([]));
        assert_eq!(lines[1]["decoded"], json!({}));
        assert_eq!(codes(&lines[2]), ["/gpp/usca truncated"]);
    }

    #[test]
    fn a_line_that_is_none_is_answered_and_counted() {
        let (all, lines) = decoded("{\"us_privacy\": \"1YNN\"}\nnonsense\n");
        assert!(!all);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1]["errors"][0]["code"], json!("malformed_json"));
    }
}
