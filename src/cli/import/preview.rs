//! `import --dry-run`: the first rows as they would be sent, and every problem by row.

use std::{collections::BTreeMap, io::Write as _};

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{Exit, geoip, street},
    input::Input,
    refused,
};
use crate::{
    config::Config,
    consent::Whereabouts,
    pipeline::{self, SubjectKey},
    sources::{Door, told},
};

/// Rows by which a problem is told in the summary.
const FIRST_ROWS: usize = 5;

/// How often something was met, and where first.
#[derive(Default)]
struct Met {
    rows: u64,
    first: Vec<u64>,
}

/// Prints a JSON line for each shown row and plan event, one for each refused row, then a summary.
pub(super) fn show(
    mut input: Input,
    config: &Config,
    shown: u64,
    now: Timestamp,
) -> anyhow::Result<Exit> {
    let key = SubjectKey::new(&[0; 32]);
    let regions = geoip::regions(config)?;
    let street = street::street(config, &key, &regions, &street::nothing);
    let whereabouts =
        Whereabouts { event_is_believed: true, door: Some("import"), ..Whereabouts::default() };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let (mut rows, mut rejected, mut held) = (0u64, 0u64, 0u64);
    let mut problems: BTreeMap<(&'static str, String), Met> = BTreeMap::new();
    let closed = "standard output is closed";
    while let Some(row) = input.next()? {
        rows += 1;
        let verdict = input.event(&row).and_then(|told| {
            let read = told::read(&told, &Door::default(), config, now);
            let verdict = read.and_then(|read| pipeline::run(&street, read, &whereabouts, now));
            verdict.map_err(|mut rejection| {
                told.place(&mut rejection);
                rejection
            })
        });
        let mut note = |kind: &'static str, what: String| {
            let met = problems.entry((kind, what)).or_default();
            met.rows += 1;
            if met.first.len() < FIRST_ROWS {
                met.first.push(row.line);
            }
        };
        match verdict {
            Ok(verdict) => {
                held += u64::from(verdict.held() > 0);
                for warning in &verdict.warnings {
                    note("warning", format!("{}: {}", warning.code.name(), warning.message));
                }
                if rows <= shown {
                    for mut line in pipeline::explain(&verdict, &street, None, now) {
                        if let Value::Object(members) = &mut line {
                            members.insert("row".to_owned(), row.line.into());
                        }
                        writeln!(out, "{line}").context(closed)?;
                    }
                }
            }
            Err(rejection) => {
                rejected += 1;
                let reason = refused::reason(&rejection.path, &rejection.message);
                let code = rejection.code.name();
                let line = json!({
                    "row": row.line, "status": "rejected", "event_id": rejection.event_id,
                    "code": code, "reason": reason,
                });
                writeln!(out, "{line}").context(closed)?;
                note("rejected", format!("{code}: {reason}"));
            }
        }
    }
    let problems: Vec<Value> = problems
        .into_iter()
        .map(|((kind, what), met)| {
            json!({"kind": kind, "problem": what, "rows": met.rows, "first_rows": met.first})
        })
        .collect();
    let summary = json!({
        "summary": {"rows": rows, "rejected": rejected, "held": held, "problems": problems},
    });
    writeln!(out, "{summary}").and_then(|()| out.flush()).context(closed)?;
    Ok(if rejected == 0 { Exit::Fine } else { Exit::Failed })
}
