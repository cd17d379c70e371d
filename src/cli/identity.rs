//! `identity`: what a platform's rules make of a value, so that a support case can be settled.
//!
//! It works on whatever the registry lists, by the platform's own table of fields. It prints what it
//! was asked about, in clear, to whoever asked: it is the one place that does.

use std::io::{self, BufRead, Write};

use serde::Deserialize;
use serde_json::{Value, json};

use super::Exit;
use crate::{
    consent::IpForm,
    destinations::{Form, Platform, Take, Taken},
    event::Field,
    identity::{Dropped, Memo, country_code, ip_in_form},
};

/// One line of input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    field: String,
    value: Value,
}

/// What a platform's rules make of identity: NDJSON `{"field", "value"}` on standard input, one
/// answer a line.
#[derive(Debug, clap::Args)]
pub(super) struct Identity {
    /// Whose rules.
    #[arg(long, value_parser = super::platforms::named)]
    platform: &'static Platform,
    /// The country by which phone numbers are read, such as US.
    #[arg(long, value_parser = country_of)]
    country: Option<String>,
}

impl Identity {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let (input, output) = (io::stdin().lock(), io::stdout().lock());
        let unread = run(self.platform, self.country.as_deref(), input, output)?;
        Ok(if unread == 0 { Exit::Fine } else { Exit::Failed })
    }
}

fn country_of(text: &str) -> Result<String, String> {
    country_code(text)
        .ok_or_else(|| "expected an ISO 3166-1 country of two letters, such as US".to_owned())
}

/// Answers every line of NDJSON; returns how many lines could not be read. Blank lines are skipped.
fn run(
    platform: &Platform,
    country: Option<&str>,
    input: impl BufRead,
    mut output: impl Write,
) -> io::Result<usize> {
    let mut unread = 0;
    for (number, line) in (1..).zip(input.lines()) {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let answer = answer(platform, country, &line).unwrap_or_else(|problem| {
            unread += 1;
            json!({"line": number, "error": problem})
        });
        writeln!(output, "{answer}")?;
    }
    Ok(unread)
}

/// Answers one line: `{"field", "normalized", "sent", "hashed"}`, or `{"field", "dropped"}`; with `as`,
/// the platform's key, and `or`, the same under another key, where a field has several. `Err` says
/// what is wrong with the line.
fn answer(platform: &Platform, country: Option<&str>, line: &str) -> Result<Value, String> {
    let question: Question = serde_json::from_str(line)
        .map_err(|error| format!("not {{\"field\": \"...\", \"value\": \"...\"}}: {error}"))?;
    let text = match &question.value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err("value must be a string".to_owned()),
    };
    let name = question.field;
    let mut takes = takes_of(platform, &name).into_iter();
    let Some(take) = takes.next() else {
        let why = match field_of(&name) {
            Some(_) => format!("{} does not take it", platform.title),
            None => "an event has no such field".to_owned(),
        };
        return Ok(json!({"field": name, "dropped": why}));
    };
    let mut answer = told(take, &name, &text, country);
    // Where it depends on the event under which key and by which rule it is sent.
    let others: Vec<Value> = takes.map(|take| told(take, &name, &text, country)).collect();
    if let (false, Some(members)) = (others.is_empty(), answer.as_object_mut()) {
        members.insert("or".to_owned(), others.into());
    }
    Ok(answer)
}

/// What one rule makes of it.
fn told(take: &Take, name: &str, text: &str, country: Option<&str>) -> Value {
    let mut told = match treat(take, text, country) {
        Ok((normalized, sent, hashed)) => {
            json!({"field": name, "normalized": normalized, "sent": sent, "hashed": hashed})
        }
        Err(why) => json!({"field": name, "dropped": why.to_string()}),
    };
    if let (Some(key), Some(members)) = (take.sent_as, told.as_object_mut()) {
        members.insert("as".to_owned(), key.into());
    }
    told
}

/// What the rule leaves of it, what is sent, and whether that is a hash.
fn treat(
    take: &Take,
    text: &str,
    country: Option<&str>,
) -> Result<(String, String, bool), Dropped> {
    let memo = Memo::default();
    if take.field == Field::Ip {
        let address = ip_in_form(text, IpForm::Full).ok_or(Dropped::Invalid)?;
        return Ok((address.clone(), address, false));
    }
    Ok(match take.apply(text, country, &memo)? {
        Taken::Clear(text) => (text.clone(), text, false),
        // What it was made of is not to be seen.
        Taken::HashedBefore(digest) => (digest.hex(), digest.hex(), true),
        Taken::Hashed(digest) => {
            let normalized = memo.normalize(take.rule, text, country)?;
            (normalized.expose().to_owned(), digest.hex(), true)
        }
    })
}

fn takes_of<'a>(platform: &'a Platform, name: &str) -> Vec<&'a Take> {
    let field = field_of(name);
    let takes = platform.takes.iter().filter(|take| Some(take.field) == field);
    // What identifies a person is not sent in clear, whatever a table says.
    let is_sent = |take: &&Take| {
        take.form == Form::Hashed || take.field.class() != crate::event::Class::Identity
    };
    takes.filter(is_sent).collect()
}

/// `user.phone`, or `phone` for short.
fn field_of(name: &str) -> Option<Field> {
    let short = |field: &Field| field.key() == name;
    Field::parse(name)
        .or_else(|| Field::parse(&format!("user.{name}")))
        .or_else(|| Field::ALL.iter().copied().find(short))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destinations::REGISTRY;
    use crate::destinations::platform;

    fn ask(name: &str, country: Option<&str>, line: &str) -> Value {
        answer(platform(name).unwrap(), country, line).unwrap()
    }

    #[test]
    fn two_platforms_hash_one_phone_number_differently() {
        let line = r#"{"field": "phone", "value": "(650)555-1212"}"#;
        assert_eq!(
            ask("meta", Some("US"), line),
            json!({
                "field": "phone",
                "normalized": "16505551212",
                "sent": "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176",
                "hashed": true
            })
        );
        assert_eq!(
            ask("ga4", Some("US"), line)["sent"],
            "1e231c66011e7a2d867a9cfae267a6aff103cf4913640b6e71a99850fc0ffbc8"
        );
        assert_eq!(ask("google_ads", None, line)["dropped"], Dropped::NoCountry.to_string());
    }

    #[test]
    fn hashes_are_passed_on_or_refused() {
        let hash = "62A14E44F765419D10FEA99367361A727C12365E2520F32218D505ED9AA0F62F";
        let line = |field: &str| format!(r#"{{"field": "{field}", "value": " {hash}"}}"#);
        assert_eq!(ask("meta", None, &line("email"))["sent"], hash.to_lowercase());
        assert_eq!(ask("ga4", None, &line("city"))["dropped"], Dropped::Hashed.to_string());
        assert_eq!(ask("ga4", None, &line("external_id"))["hashed"], false);
        assert_eq!(ask("meta", None, &line("fbclid"))["sent"], hash);
    }

    #[test]
    fn a_field_of_two_keys_is_shown_under_both() {
        let line = r#"{"field": "advertising_id", "value": "Ab-1"}"#;
        let told = ask("reddit", None, line);
        assert_eq!((&told["as"], &told["normalized"]), (&json!("aaid"), &json!("ab-1")));
        let other = &told["or"][0];
        assert_eq!((&other["as"], &other["normalized"]), (&json!("idfa"), &json!("AB-1")));
        assert_ne!(told["sent"], other["sent"]);
        assert_eq!(
            ask("reddit", None, &line.replace("advertising_id", "email"))["or"],
            json!(null)
        );
    }

    #[test]
    fn what_a_platform_does_not_take_is_said() {
        let answer = ask("google_ads", None, r#"{"field": "gender", "value": "f"}"#);
        assert_eq!(answer["dropped"], "Google Ads (Data Manager API) does not take it");
        let answer = ask("meta", None, r#"{"field": "shoe_size", "value": "42"}"#);
        assert_eq!(answer["dropped"], "an event has no such field");
    }

    #[test]
    fn every_platform_answers_for_every_field() {
        let sample = |field: Field| match field {
            Field::Email => "Jane.Doe@example.com",
            Field::Phone => "+1 415 555 0133",
            Field::DateOfBirth => "1990-02-16",
            Field::Gender => "f",
            Field::Country => "US",
            Field::Region => "CA",
            Field::PostalCode => "94107",
            Field::Ip => "203.0.113.9",
            Field::PageUrl | Field::Referrer => "https://shop.example/",
            _ => "Some text",
        };
        for platform in REGISTRY {
            for field in Field::ALL {
                let question = json!({"field": field.path(), "value": sample(*field)});
                let told = answer(platform, Some("US"), &question.to_string()).unwrap();
                let takes = platform.takes.iter().find(|take| take.field == *field);
                let is_identity = field.class() == crate::event::Class::Identity;
                let what = format!("{} {} {told}", platform.name, field.path());
                match takes {
                    None => assert!(told["dropped"].is_string(), "{what}"),
                    Some(take) if take.form == Form::Hashed => {
                        let sent = told["sent"].as_str().unwrap_or_default();
                        assert!(sent.len() == 64 && told["hashed"] == true, "{what}");
                        assert_ne!(told["normalized"], told["sent"], "{what}");
                    }
                    Some(_) if is_identity => assert!(told["dropped"].is_string(), "{what}"),
                    Some(_) => {
                        assert_eq!(told["hashed"], false, "{what}");
                        assert_eq!(told["normalized"], told["sent"], "{what}");
                        assert!(told["sent"].is_string(), "{what}");
                    }
                }
            }
        }
    }

    #[test]
    fn lines_that_cannot_be_read_are_counted() {
        let input =
            "{\"field\":\"email\",\"value\":\"a@example.com\"}\n\nnonsense\n{\"field\":1}\n";
        let mut output = Vec::new();
        let unread = run(platform("meta").unwrap(), None, input.as_bytes(), &mut output).unwrap();
        assert_eq!(unread, 2);
        assert_eq!(String::from_utf8(output).unwrap().lines().count(), 3);
    }
}
