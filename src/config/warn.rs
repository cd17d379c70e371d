//! What is legal but likely wrong, and only shows where files meet.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::{
    DestinationConfig, KeyKind, asking,
    finding::Report,
    resolve::{Consent, Context, Documents, Draft, Events, Relay},
};
use crate::{
    consent::RegionSource,
    destinations::{BrowserDedup, Mode},
    event::{ActionSource, Field},
    job::{Flags, Prepared, Sent},
    plan::{EVENT_ID, Kind, PlanEvent},
};

/// More micro events than this in a funnel, and no bidding algorithm learns much from each.
const MANY_MICRO_EVENTS: usize = 10;

/// Warnings about more than one file.
pub(super) fn across_files(
    documents: &Documents<'_>,
    relay: &Relay,
    events: &Events,
    consent: &Consent,
    drafts: &[Draft],
    context: &Context<'_>,
) {
    about_funnels(events, context.report);
    about_posting(documents, relay, context);
    about_consent(documents, relay, consent, drafts, context);
    about_destinations(events, drafts, context);
    about_conversion(relay, events, drafts, context.report);
    let is_there = |name| (context.vault.file)(name).is_ok();
    // Where approval is asked for, its standing is reported with the lock itself.
    let is_asked_for = consent.rules.require_approval || is_there(crate::consent::APPROVALS_FILE);
    if context.mode == Mode::Live && !is_there(crate::consent::LOCK_FILE) && !is_asked_for {
        let message = "live without a consent.lock: nobody has approved what leaves; run `audit \
                       --lock`, then `approve`";
        context.report.warning(&documents.consent.place(), message);
    }
}

fn about_funnels(events: &Events, report: &Report) {
    let plan = &events.plan;
    for (name, funnel) in &plan.funnels {
        let Some(place) = events.funnel_places.get(name) else { continue };
        let micro =
            funnel.steps.iter().filter(|s| plan.events.get(*s).is_some_and(is_micro)).count();
        if micro > MANY_MICRO_EVENTS {
            report.warning(
                &place.below("steps"),
                format!(
                    "has {micro} micro events, more than {MANY_MICRO_EVENTS}: too many signals"
                ),
            );
        }
    }
    for (name, event) in plan.events.iter().filter(|(_, event)| is_micro(event)) {
        let Some(place) = events.event_places.get(name) else { continue };
        let mut funnels = plan.funnels.values().filter(|f| f.steps.contains(name)).peekable();
        let where_it_is = if funnels.peek().is_none() {
            "in no funnel"
        } else if funnels.all(|funnel| !has_macro(events, funnel)) {
            "without a macro event in its funnel"
        } else {
            continue;
        };
        report.warning(
            place,
            format!(
                "{:?} is a micro event {where_it_is}: nothing says which macro event it leads to",
                event.name
            ),
        );
    }
}

fn is_micro(event: &PlanEvent) -> bool {
    event.kind == Kind::Micro
}

fn has_macro(events: &Events, funnel: &crate::plan::Funnel) -> bool {
    let is_macro =
        |step: &String| events.plan.events.get(step).is_some_and(|event| event.kind == Kind::Macro);
    funnel.macro_event.is_some() || funnel.steps.iter().any(is_macro)
}

fn about_posting(documents: &Documents<'_>, relay: &Relay, context: &Context<'_>) {
    let (place, report) = (documents.relay.place(), context.report);
    if relay.write_keys.is_empty() && relay.webhooks.is_empty() && !report.has_errors() {
        report.warning(&place, "no [[write_keys]]: nobody can post events");
    }
    // One that is written and cannot be read is an error of its own.
    let queue = documents.relay.root(report).table("queue");
    if context.mode == Mode::Live && queue.get("encryption_key").is_none() {
        let message = "no queue.encryption_key: the queue is sealed by a key file beside it";
        report.warning(&place, message);
    }
}

fn about_consent(
    documents: &Documents<'_>,
    relay: &Relay,
    consent: &Consent,
    drafts: &[Draft],
    context: &Context<'_>,
) {
    let report = context.report;
    let header = consent.rules.region_from.iter().find_map(|source| match source {
        RegionSource::Header(name) => Some(name),
        RegionSource::Event | RegionSource::Geoip => None,
    });
    let has_browsers = relay.write_keys.iter().any(|key| key.kind == KeyKind::Browser);
    // Nothing leaves in sandbox mode, and the shipped configuration is tried on one machine.
    let is_for_real = context.mode != Mode::Sandbox;
    if let Some(name) = header.filter(|_| has_browsers && is_for_real)
        && relay.listen.trusted_proxies.is_empty()
    {
        let message = format!(
            "header:{name} is believed from trusted proxies only, and there are none: write \
             listen.trusted_proxies in relay.toml"
        );
        report.warning(&documents.consent.place().below("region_from"), message);
    }
    if consent.lacks_region_source {
        let message = "no region source: only events that bring their own region have one, every \
                       other is treated as opt-in; write region_from";
        report.warning(&documents.consent.place().below("region_from"), message);
    }
    for draft in drafts {
        let platform = draft.platform.map_or("", |platform| platform.name);
        if consent.rules.destination(&draft.name, platform).is_none() {
            let message = format!(
                "consent.toml has no [destinations.{}]: nothing leaves for it (no_rule)",
                draft.name
            );
            report.warning(&draft.place, message);
        }
    }
}

fn about_destinations(events: &Events, drafts: &[Draft], context: &Context<'_>) {
    let report = context.report;
    for draft in drafts {
        let Some(platform) = draft.platform else { continue };
        let is_fed = events
            .mapped
            .iter()
            .any(|m| !m.entries.is_empty() && (m.key == draft.name || m.key == platform.name));
        if !is_fed {
            let message = "no event of events.toml has an entry for it: nothing is sent there";
            report.warning(&draft.place, message);
        }
        if context.mode == Mode::Test && !platform.has_test_mode {
            let title = platform.title;
            let message = format!("{title} has no test mode: every event is skipped (test_mode)");
            report.warning(&draft.place, message);
        }
    }
}

/// A currency that an entry wants, no rates, and a site that counts in another.
fn about_conversion(relay: &Relay, events: &Events, drafts: &[Draft], report: &Report) {
    if events.wants_rates {
        return;
    }
    for draft in drafts {
        let platform = draft.platform.map_or("", |platform| platform.name);
        for mapped in events.mapped.iter().filter(|m| m.key == draft.name || m.key == platform) {
            for (_, value) in &mapped.entries {
                let Some(wanted) = value.currency.or(draft.currency) else { continue };
                let other = draft.sites.iter().find(|name| {
                    let currency = relay.sites.get(*name).and_then(|site| site.currency);
                    currency.is_some_and(|currency| currency != wanted)
                });
                if let Some(site) = other {
                    let message = format!(
                        "wants {wanted}, site {site:?} counts in another currency, and events.toml \
                         has no [rates]: such values are left out"
                    );
                    report.warning(&mapped.place, message);
                }
            }
        }
    }
}

/// Events that a destination and its platform's own browser tag both send, and that the platform
/// cannot recognise as one.
pub(super) fn browser_copies(
    events: &Events,
    destinations: &BTreeMap<String, Arc<DestinationConfig>>,
    report: &Report,
) {
    for (name, event) in &events.plan.events {
        let Some(place) = events.browser_places.get(name) else { continue };
        for destination in destinations.values() {
            let platform = destination.platform;
            let both = event.browser.iter().any(|n| *n == destination.name || n == platform.name)
                && destination.entries.contains_key(name);
            if !both {
                continue;
            }
            let (title, to) = (platform.title, &destination.name);
            if !recognises_copies(destination, event) {
                report.warning(
                    place,
                    format!(
                        "{title} cannot recognise its browser tag's copy of {name:?} as the one \
                         that {to:?} sends: it counts twice; send it from one side only"
                    ),
                );
                continue;
            }
            let by_event_id =
                matches!(platform.browser_dedup, BrowserDedup::EventId | BrowserDedup::OwnRule);
            if by_event_id && !event.required.iter().any(|path| path == EVENT_ID) {
                report.warning(
                    place,
                    format!(
                        "{title} recognises its browser tag's copy of {name:?} by the event id, \
                         and one that is derived here is not the tag's: add \
                         required = [{EVENT_ID:?}]"
                    ),
                );
            }
            if platform.browser_dedup == BrowserDedup::OwnRule {
                report.warning(
                    place,
                    format!(
                        "{title} recognises its browser tag's copy of {name:?} only where the tag \
                         has a conversion rule of its own, another than the one that {to:?} \
                         names, and then keeps the tag's"
                    ),
                );
            }
        }
    }
}

/// Adjustments that a platform has no form of: every one of them would be skipped.
pub(super) fn adjustments_without_form(
    events: &Events,
    destinations: &BTreeMap<String, Arc<DestinationConfig>>,
    report: &Report,
) {
    let adjustments = events.plan.events.iter().filter(|(_, event)| event.kind == Kind::Adjustment);
    for (name, _) in adjustments {
        let Some(place) = events.event_places.get(name) else { continue };
        for destination in destinations.values() {
            if let Some(why) = asking::has_no_form(destination, name) {
                report.warning(
                    &place.below("destinations").below(&destination.name),
                    format!(
                        "{} has no form of any adjustment as it is mapped here, so that every one \
                         is skipped (unsupported): {why}",
                        destination.platform.title
                    ),
                );
            }
        }
    }
}

/// Entries of which no event of a website could be sent, because something that the platform needs
/// as it is set up, or one of several things, may not leave: by the lists, or by their defaults.
pub(super) fn lists_too_short(
    events: &Events,
    consent: &Consent,
    destinations: &BTreeMap<String, Arc<DestinationConfig>>,
    report: &Report,
) {
    for destination in destinations.values() {
        for (name, entries) in &destination.entries {
            let Some(place) = events.event_places.get(name) else { continue };
            let mut entries = (0..entries.len()).filter_map(|entry| u16::try_from(entry).ok());
            let needs_more = |entry| asking::needs_more(destination, name, entry, &consent.rules);
            let Some(skip) = entries.find_map(needs_more) else { continue };
            report.warning(
                &place.below("destinations").below(&destination.name),
                format!(
                    "no {name:?} of a website can be sent ({}) with what may leave by consent.toml: \
                     {}; add to may_send of [destinations.{}]",
                    skip.code.name(),
                    skip.message,
                    destination.name,
                ),
            );
        }
    }
}

fn recognises_copies(destination: &DestinationConfig, event: &PlanEvent) -> bool {
    match destination.platform.browser_dedup {
        BrowserDedup::None => false,
        // Perhaps only of some events: the platform itself knows of which.
        BrowserDedup::EventId | BrowserDedup::OwnRule | BrowserDedup::TransactionId => {
            let entries = destination.entries.get(&event.name).map_or(0, Vec::len);
            (0..entries).all(|entry| {
                let entry = u16::try_from(entry).unwrap_or(u16::MAX);
                destination.handler.is_deduplicated(&ordinary_job(&event.name, entry))
            })
        }
    }
}

/// A job as an ordinary order would make it.
fn ordinary_job(event: &str, entry: u16) -> Prepared {
    Prepared {
        event: event.to_owned(),
        entry,
        event_id: "event".to_owned(),
        transaction_id: "order".to_owned(),
        site: String::new(),
        time: Timestamp::UNIX_EPOCH,
        action_source: ActionSource::Website,
        test: false,
        value: None,
        currency: None,
        texts: vec![(Field::OrderId, Sent::Clear("order".to_owned()))],
        amounts: Vec::new(),
        items: Vec::new(),
        other: String::new(),
        adjusts: None,
        calibrated: None,
        consent: Arc::default(),
        sensitive: false,
        group: String::new(),
        expires_at: Timestamp::UNIX_EPOCH,
        flags: Flags::default(),
    }
}
