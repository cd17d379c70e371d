//! The report for machines: JSON, and CSV with a line for each event, destination, region and state.

use serde_json::{Value, json};

use super::{
    Beyond, More,
    combinations::{Outcome, Row},
    difference::paths,
    report::{Page, Report, is_without_consent},
};
use crate::{
    consent::{Purpose, StateKind},
    event::ActionSource,
};

/// CSV's columns.
const COLUMNS: [&str; 14] = [
    "destination",
    "platform",
    "event",
    "sites",
    "action_sources",
    "region",
    "consent",
    "decision",
    "code",
    "rule",
    "without_consent",
    "personalization_denied",
    "ip",
    "fields",
];

/// CSV's last column where another configuration was named: what a line changes.
const CHANGE: &str = "change";

impl Report<'_> {
    /// One JSON object; the same bytes for the same configuration.
    pub fn json(&self) -> Value {
        let combinations: Vec<Value> = self.pages.iter().flat_map(combinations).collect();
        let approval = &self.config.approval;
        let mut report = json!({
            "config": self.config.hash,
            "version": self.config.consent.version,
            "mode": self.config.mode.name(),
            "warnings": self.alarms,
            "combinations": combinations,
            "recipients": self.pages.iter().map(record).collect::<Vec<_>>(),
            "data_flow": self.flow.iter()
                .map(|step| json!({"step": step.name, "text": step.text}))
                .collect::<Vec<_>>(),
            "retention": self.kept.iter()
                .map(|kept| json!({"store": kept.store, "holds": kept.what, "keep": kept.how_long}))
                .collect::<Vec<_>>(),
            "approval": {
                "enforced": approval.enforced,
                "lock": Some(&approval.hash).filter(|hash| !hash.is_empty()),
                "in_force": approval.in_force().is_some(),
                "void": approval.void,
                "signed": approval.signed.iter().map(|one| json!({
                    "by": one.by,
                    "at": one.at,
                    "lock": one.lock,
                    "is_of_this_lock": one.lock == approval.hash,
                    "files": one.files,
                    "ssh": one.ssh.is_some(),
                })).collect::<Vec<_>>(),
            },
        });
        if let (Some(changes), Some(report)) = (&self.changes, report.as_object_mut()) {
            report.insert("against".to_owned(), json!(changes.against));
            report.insert("newly_released".to_owned(), all(&changes.released));
            report.insert("no_longer_released".to_owned(), all(&changes.withheld));
        }
        if let (Some(beyond), Some(report)) = (&self.beyond_lock, report.as_object_mut()) {
            report.insert("beyond_lock".to_owned(), all(beyond));
        }
        report
    }

    /// CSV (RFC 4180), a header line first. Held against another configuration it has one column more,
    /// `change`, and before the combinations a line for each change, what is newly released first.
    pub fn csv(&self) -> String {
        let change = self.changes.as_ref().map(|_| CHANGE);
        let columns: Vec<&str> = COLUMNS.into_iter().chain(change).collect();
        let changed = self.changes.iter().flat_map(|changes| {
            let released = changes.released.iter().map(|news| change_line(news, "newly_released"));
            let withheld = &changes.withheld;
            released.chain(withheld.iter().map(|news| change_line(news, "no_longer_released")))
        });
        let mut text = columns.join(",") + "\r\n";
        for line in changed.chain(self.pages.iter().flat_map(combinations)) {
            let cells: Vec<String> = columns
                .iter()
                .map(|column| line.get(*column).map(cell).unwrap_or_default())
                .collect();
            text.push_str(&cells.join(","));
            text.push_str("\r\n");
        }
        text
    }
}

/// A change under the names of CSV's columns.
fn change_line(news: &Beyond, change: &str) -> Value {
    let mut line = one(news);
    let Some(object) = line.as_object_mut() else { return line };
    for (theirs, column) in [("events", "event"), ("regions", "region")] {
        let value = object.remove(theirs).unwrap_or_default();
        object.insert(column.to_owned(), value);
    }
    object.insert(CHANGE.to_owned(), change.into());
    line
}

/// A value as a cell; a list's members are parted by spaces.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    };
    // A spreadsheet would take such a text for a formula.
    let text = if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text };
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

fn combinations(page: &Page) -> Vec<Value> {
    let mut lines = Vec::new();
    for event in &page.events {
        for row in &page.rows {
            for region in &row.regions {
                for state in &row.states {
                    lines.push(combination(page, event, row, region, *state));
                }
            }
        }
    }
    lines
}

fn combination(
    page: &Page,
    event: &str,
    row: &Row<Outcome>,
    region: &str,
    state: StateKind,
) -> Value {
    let code = match &row.what {
        Outcome::Held { code, .. } => Some(code.name()),
        Outcome::Leaves { .. } => None,
    };
    let reasons: Vec<Value> = match &row.what {
        Outcome::Leaves { reasons, .. } => {
            reasons.iter().map(|(code, rule)| json!({"code": code.name(), "rule": rule})).collect()
        }
        Outcome::Held { code, rule } => vec![json!({"code": code.name(), "rule": rule})],
    };
    let terms = row.what.terms();
    json!({
        "event": event,
        "destination": page.record.destination,
        "platform": page.record.platform,
        "sites": row.sites,
        "action_sources": names(&row.sources),
        "region": region,
        "consent": state.name(),
        "decision": row.what.name(),
        "code": code,
        "rule": row.what.rule(),
        "reasons": reasons,
        "without_consent": is_without_consent(state, &row.what),
        "personalization_denied": terms.map(|terms| terms.personalization_denied),
        "ip": terms.map(|terms| terms.ip),
        "fields": terms.map(paths).unwrap_or_default(),
        "except": terms.map(|terms| terms.except.clone()).unwrap_or_default(),
    })
}

fn record(page: &Page) -> Value {
    let record = &page.record;
    let purposes = |needs: &[Purpose]| needs.iter().map(|p| p.name()).collect::<Vec<_>>();
    json!({
        "destination": record.destination,
        "platform": record.platform,
        "title": record.title,
        "docs": record.docs,
        "mode": record.mode,
        "address": record.address,
        "recipient": record.legal_entity,
        "role": record.role,
        "country": record.country,
        "mechanism": record.mechanism,
        "legal_basis": record.legal_basis,
        "retention": record.retention,
        "purpose": record.purpose(),
        "needs": purposes(&record.needs),
        "needs_in": record.needs_in.iter()
            .map(|(region, needs)| json!({"region": region, "needs": purposes(needs)}))
            .collect::<Vec<_>>(),
        "sites": record.sites,
        "controllers": record.controllers,
        "events": page.events,
        "data_categories": record.categories.iter().map(|category| json!({
            "category": category.name,
            "fields": category.fields.iter()
                .map(|(path, form)| json!({"field": path, "form": form}))
                .collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "not_stated": record.gaps(),
    })
}

/// News as JSON.
pub fn all(news: &[Beyond]) -> Value {
    Value::Array(news.iter().map(one).collect())
}

fn one(news: &Beyond) -> Value {
    let (kind, what) = match &news.what {
        More::Reading(settings) => ("reading", settings.clone()),
        More::Recipient(what) => ("recipient", vec![what.clone()]),
        More::Incoming(names) => ("incoming", names.clone()),
        More::Combination { fields, .. } => ("combination", fields.clone()),
        More::Parts(parts) => ("fields", parts.clone()),
    };
    json!({
        "destination": news.destination,
        "events": news.events,
        "sites": news.sites,
        "action_sources": names(&news.sources),
        "regions": news.regions,
        "consent": news.states.iter().map(|kind| kind.name()).collect::<Vec<_>>(),
        "new": kind,
        "limited": matches!(news.what, More::Combination { limited: true, .. }),
        "fields": what,
    })
}

fn names(sources: &[ActionSource]) -> Vec<&'static str> {
    sources.iter().map(|source| source.name()).collect()
}
