//! Rules of events that are legal and can never do what they say: values that there never are,
//! conditions that never hold, counts that outlast what they count by.

use std::collections::BTreeSet;

use rust_decimal::Decimal;

use super::{
    finding::{Place, Report},
    resolve::{Draft, Events, Relay},
};
use crate::{
    event::Currency,
    plan::{Count, Kind, Per, PlanEvent},
    value::{Source, ValueRule},
};

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

/// Warnings about every event and its entries.
pub(super) fn look(relay: &Relay, events: &Events, drafts: &[Draft], report: &Report) {
    for (name, event) in &events.plan.events {
        let Some(place) = events.event_places.get(name) else { continue };
        about_condition(event, place, report);
        about_count(event, relay.retention.frequency.as_secs(), place, report);
        if let Some(rule) = &event.value {
            let place = place.below("value");
            about_sign(rule, event, &place, report);
            if let Source::Formula(formula) = &rule.source
                && formula.names_number("event_value")
            {
                let message = "event_value is what this rule gives, and absent in it, so that the \
                               event never has a value; only the `value` of a destination's entry \
                               can name it";
                report.warning(&place.below("formula"), message);
            }
        }
    }
    for mapped in &events.mapped {
        let Some(event) = events.plan.events.get(&mapped.event) else { continue };
        for rule in mapped.entries.iter().filter_map(|(_, value)| value.rule.as_ref()) {
            about_sign(rule, event, &mapped.place, report);
            about_event_value(rule, event, &mapped.place, report);
        }
    }
    about_rates(relay, events, drafts, report);
}

fn about_condition(event: &PlanEvent, place: &Place, report: &Report) {
    if event.when.as_ref().is_some_and(|when| when.source().trim() == "false") {
        let message = "never holds: the event never counts; leave the event out instead";
        report.warning(&place.below("when"), message);
    }
}

fn about_count(event: &PlanEvent, kept: u64, place: &Place, report: &Report) {
    let Count::Limited { per: Some(per), .. } = &event.count else { return };
    let window = match per {
        Per::Days(days) => u64::from(*days) * SECONDS_A_DAY,
        Per::Hours(hours) => u64::from(*hours) * 60 * 60,
    };
    if window > kept {
        let days = kept / SECONDS_A_DAY;
        let message = format!(
            "is longer than what is counted is kept for (retention.frequency, {days} days): after \
             that time the event counts again"
        );
        report.warning(&place.below("count").below("per"), message);
    }
}

fn about_sign(rule: &ValueRule, event: &PlanEvent, place: &Place, report: &Report) {
    if let Source::Field { times, .. } = &rule.source
        && is_below_zero(rule, event)
    {
        let message = format!(
            "times = \"{times}\" gives a value below zero, which only an adjustment's may be: {:?} \
             has no value",
            event.name
        );
        report.warning(place, message);
    }
}

/// Whether a rule gives what only an adjustment's value may be. (A `minimum` would lift it.)
fn is_below_zero(rule: &ValueRule, event: &PlanEvent) -> bool {
    let is_negative = matches!(&rule.source, Source::Field { times, .. } if *times < Decimal::ZERO);
    let is_lifted = rule.bounds.minimum.is_some_and(|minimum| minimum >= Decimal::ZERO);
    is_negative && !is_lifted && event.kind != Kind::Adjustment
}

/// An entry that builds on the event's result, where there never is one.
fn about_event_value(rule: &ValueRule, event: &PlanEvent, place: &Place, report: &Report) {
    let names_it = |rule: &ValueRule| matches!(&rule.source, Source::Formula(formula) if formula.names_number("event_value"));
    let has_none = |own: &ValueRule| names_it(own) || is_below_zero(own, event);
    if names_it(rule) && event.value.as_ref().is_some_and(has_none) {
        let message = format!(
            "event_value is the result of events.{}.value, which never gives one, so that this \
             entry never has a value; mend that rule, or name value here",
            event.name
        );
        report.warning(place, message);
    }
}

/// A currency that an entry wants, and that the rates do not know.
fn about_rates(relay: &Relay, events: &Events, drafts: &[Draft], report: &Report) {
    let Some(rates) = &events.rates else { return };
    for mapped in &events.mapped {
        let mut unknown: BTreeSet<Currency> = BTreeSet::new();
        for draft in drafts {
            let platform = draft.platform.map_or("", |platform| platform.name);
            if mapped.key != draft.name && mapped.key != platform {
                continue;
            }
            let is_in_it = |name: &String, wanted: Currency| {
                relay.sites.get(name).is_some_and(|site| site.currency == Some(wanted))
            };
            let wanted = mapped.entries.iter().filter_map(|(_, v)| v.currency.or(draft.currency));
            // Where every site counts in it nothing need be converted.
            unknown.extend(wanted.filter(|wanted| {
                !rates.knows(*wanted) && !draft.sites.iter().all(|name| is_in_it(name, *wanted))
            }));
        }
        for currency in unknown {
            let message = format!(
                "wants {currency}, of which the rates file has no rate: values in another currency \
                 are left out; add a line for {currency}"
            );
            report.warning(&mapped.place, message);
        }
    }
}
