//! `events.toml`: the tracking plan, exchange rates, and each event's entries for destinations.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{Context, Names, check_name, value};
use crate::{
    config::{
        Site,
        document::{Node, Section},
        finding::{Place, suggest},
        units,
    },
    destinations::{Entry, KeyKind, Platform},
    event::Field,
    expression::Expression,
    plan::{By, Count, EVENT_ID, Funnel, Kind, MOST_COUNTED, Plan, PlanEvent, UnknownEvents},
    value::{EntryValue, Rates},
};

/// What the file says.
#[derive(Debug)]
pub(in crate::config) struct Events {
    /// The plan.
    pub(in crate::config) plan: Plan,
    /// Exchange rates.
    pub(in crate::config) rates: Option<Rates>,
    /// Whether rates were asked for, be they readable or not.
    pub(in crate::config) wants_rates: bool,
    /// The entries of events for destinations and platforms, in the order of the file.
    pub(in crate::config) mapped: Vec<Mapped>,
    /// Where each event stands.
    pub(in crate::config) event_places: BTreeMap<String, Place>,
    /// Where each funnel stands.
    pub(in crate::config) funnel_places: BTreeMap<String, Place>,
    /// Where `browser` of an event stands.
    pub(in crate::config) browser_places: BTreeMap<String, Place>,
}

/// One event's entries under one key.
#[derive(Debug)]
pub(in crate::config) struct Mapped {
    /// The plan event.
    pub(in crate::config) event: String,
    /// The name of a destination, else of a platform.
    pub(in crate::config) key: String,
    /// Where it stands.
    pub(in crate::config) place: Place,
    /// What it says; none where it is switched off (`false`).
    pub(in crate::config) entries: Vec<(Entry, EntryValue)>,
}

/// Reads the file.
pub(super) fn read(
    root: Section<'_>,
    names: &Names,
    sites: &BTreeMap<String, Arc<Site>>,
    context: &Context<'_>,
) -> Events {
    let unknown = [("reject", UnknownEvents::Reject), ("keep", UnknownEvents::Keep)];
    let unknown_events = root.get("unknown_events").and_then(|node| node.one_of(&unknown));
    let rates_section = root.table("rates");
    let mut events = Events {
        wants_rates: rates_section.is_written(),
        plan: Plan {
            unknown_events: unknown_events.unwrap_or(UnknownEvents::Reject),
            funnels: BTreeMap::new(),
            events: BTreeMap::new(),
            by_incoming: BTreeMap::new(),
        },
        rates: rates(rates_section, context),
        mapped: Vec::new(),
        event_places: BTreeMap::new(),
        funnel_places: BTreeMap::new(),
        browser_places: BTreeMap::new(),
    };
    let sections = root.table("events").sections();
    let known: Vec<&str> = sections.iter().map(|(name, _)| *name).collect();
    let funnels = root.table("funnels").sections();
    for (name, section) in funnels {
        check_name(name, section.place(), context.report);
        events.funnel_places.insert(name.to_owned(), section.place().clone());
        events.plan.funnels.insert(name.to_owned(), funnel(section, &known));
    }
    let reading = Reading { known: &known, names, sites, context };
    for (name, section) in sections {
        events.event_places.insert(name.to_owned(), section.place().clone());
        let event = reading.event(name, section, &mut events);
        for incoming in &event.from {
            let fed = events.plan.by_incoming.entry(incoming.clone()).or_default();
            fed.push(name.to_owned());
        }
        events.plan.events.insert(name.to_owned(), event);
    }
    root.finish();
    check_macros(&events, context);
    events
}

fn rates(section: Section<'_>, context: &Context<'_>) -> Option<Rates> {
    let max_age = section.get("max_age").and_then(|node| node.positive_duration());
    let max_age = max_age.unwrap_or(Duration::from_secs(4 * 86_400));
    let file = if section.is_written() {
        section.required("file", "file = \"rates.csv\"")
    } else {
        section.get("file")
    };
    let rates = file.and_then(|node| {
        let path = node.text()?;
        let text = match context.vault.text_file(path) {
            Ok(text) => text,
            Err(error) => {
                node.error(format!("the rates file {path:?} cannot be read: {error}"));
                return None;
            }
        };
        Rates::parse(&text, max_age)
            .map_err(|errors| {
                let file = context.folder.join(path).display().to_string();
                for error in errors {
                    let place = Place { line: error.line, ..Place::of_file(&file) };
                    context.report.error(&place, error.problem);
                }
            })
            .ok()
    });
    section.finish();
    rates
}

fn funnel(section: Section<'_>, known: &[&str]) -> Funnel {
    let mut funnel = Funnel { steps: Vec::new(), macro_event: None };
    for (step, node) in section.get("steps").and_then(|node| node.texts()).unwrap_or_default() {
        if !known.contains(&step) {
            let hint = suggest(step, known.iter().copied());
            node.error(format!("there is no event {step:?}{hint}"));
        } else if funnel.steps.iter().any(|other| other == step) {
            node.error(format!("{step:?} is a step twice"));
        }
        funnel.steps.push(step.to_owned());
    }
    if let Some(node) = section.get("macro")
        && let Some(name) = node.text()
    {
        if !known.contains(&name) {
            let hint = suggest(name, known.iter().copied());
            node.error(format!("there is no event {name:?}{hint}"));
        } else if !funnel.steps.iter().any(|step| step == name) {
            node.warning(format!("{name:?} is not a step of its funnel"));
        }
        funnel.macro_event = Some(name.to_owned());
    }
    section.finish();
    funnel
}

/// A funnel's macro must be of that kind; an event without a kind took it from its funnel.
fn check_macros(events: &Events, context: &Context<'_>) {
    for (name, funnel) in &events.plan.funnels {
        let event = funnel.macro_event.as_ref().and_then(|name| events.plan.events.get(name));
        if let (Some(event), Some(place)) = (event, events.funnel_places.get(name))
            && event.kind != Kind::Macro
        {
            let message =
                format!("{:?} is of kind {:?}, not \"macro\"", event.name, event.kind.name());
            context.report.error(&place.below("macro"), message);
        }
    }
}

/// What reading an event needs besides its table.
#[derive(Debug, Clone, Copy)]
struct Reading<'a> {
    known: &'a [&'a str],
    names: &'a Names,
    sites: &'a BTreeMap<String, Arc<Site>>,
    context: &'a Context<'a>,
}

impl Reading<'_> {
    fn event(&self, name: &str, section: Section<'_>, events: &mut Events) -> PlanEvent {
        let text = |key| section.get(key).and_then(|node| Some(node.text()?.to_owned()));
        let word = |key: &str, words: &[&'static str]| {
            let words: Vec<(&str, &'static str)> = words.iter().map(|w| (*w, *w)).collect();
            section.get(key).and_then(|node| node.one_of(&words)).map(str::to_owned)
        };
        let kinds =
            [("micro", Kind::Micro), ("macro", Kind::Macro), ("adjustment", Kind::Adjustment)];
        let by_funnel =
            if events.plan.funnels.values().any(|f| f.macro_event.as_deref() == Some(name)) {
                Kind::Macro
            } else {
                Kind::Micro
            };
        let event = PlanEvent {
            name: name.to_owned(),
            kind: section.get("kind").and_then(|node| node.one_of(&kinds)).unwrap_or(by_funnel),
            stage: text("stage"),
            intent: word("intent", &["low", "medium", "high"]),
            event_type: word("type", &["milestone", "engagement"]),
            owner: text("owner"),
            description: text("description"),
            from: section.get("from").map_or_else(|| vec![name.to_owned()], |node| from(&node)),
            when: section.get("when").and_then(|node| condition(&node)),
            count: section.get("count").map_or(Count::Every, |node| self.count(name, &node)),
            same_as: section.get("same_as").and_then(|node| condition(&node)),
            required: section.get("required").map_or_else(Vec::new, |node| required(&node)),
            value: section
                .get("value")
                .and_then(|node| value::rule(&node, self.sites, self.context)),
            browser: section.get("browser").map_or_else(Vec::new, |node| {
                events.browser_places.insert(name.to_owned(), node.place().clone());
                self.browser(&node)
            }),
        };
        for (key, node) in section.table("destinations").entries() {
            let meant = self.names.find(key, node.place(), self.context.report);
            let Some(meant) = meant else { continue };
            let mapped = Mapped {
                event: name.to_owned(),
                key: key.to_owned(),
                place: node.place().clone(),
                entries: self.entries(&node, meant.platform),
            };
            events.mapped.push(mapped);
        }
        section.finish();
        event
    }

    fn count(&self, event: &str, node: &Node<'_>) -> Count {
        let once = |by| Count::Limited { at_most: 1, per: None, by, not_after: None };
        if !node.is_table() {
            let words = [("every", 0), ("once_per_session", 1), ("once_per_user", 2)];
            return match node.one_of(&words) {
                Some(1) => once(By::Session),
                Some(2) => once(By::User),
                _ => Count::Every,
            };
        }
        let Some(section) = node.section() else { return Count::Every };
        let by = [("user", By::User), ("session", By::Session)];
        let not_after = section.get("not_after").and_then(|node| {
            let name = node.text()?;
            if !self.known.contains(&name) {
                let hint = suggest(name, self.known.iter().copied());
                node.error(format!("there is no event {name:?}{hint}"));
            } else if name == event {
                node.error("an event cannot end itself; write at_most = 1");
            }
            Some(name.to_owned())
        });
        let at_most = section.get("at_most").and_then(|node| node.integer(1, MOST_COUNTED.into()));
        let count = Count::Limited {
            at_most: at_most.and_then(|number| u32::try_from(number).ok()).unwrap_or(1),
            per: section.get("per").and_then(|node| node.parse(units::WINDOW, units::window)),
            by: section.get("by").and_then(|node| node.one_of(&by)).unwrap_or(By::User),
            not_after,
        };
        section.finish();
        count
    }

    fn browser(&self, node: &Node<'_>) -> Vec<String> {
        let mut platforms = Vec::new();
        for (name, node) in node.texts().unwrap_or_default() {
            if self.names.find(name, node.place(), self.context.report).is_some() {
                platforms.push(name.to_owned());
            }
        }
        platforms
    }

    // === entries ===

    fn entries(
        &self,
        node: &Node<'_>,
        platform: Option<&'static Platform>,
    ) -> Vec<(Entry, EntryValue)> {
        if node.is_list() {
            let items = node.list().unwrap_or_default();
            items.iter().filter_map(|item| self.entry(item, platform)).collect()
        } else if node.as_flag() == Some(false) {
            // Takes a destination out of what its platform has.
            Vec::new()
        } else {
            self.entry(node, platform).into_iter().collect()
        }
    }

    fn entry(
        &self,
        node: &Node<'_>,
        platform: Option<&'static Platform>,
    ) -> Option<(Entry, EntryValue)> {
        if node.as_flag() == Some(true) {
            return Some((Entry::Standard, EntryValue::default()));
        }
        if node.as_text().is_some() {
            return Some((Entry::Name(node.text()?.to_owned()), EntryValue::default()));
        }
        if !node.is_table() {
            node.expected("true, a name of the platform's, a table, or a list of these");
            return None;
        }
        let section = node.section()?;
        let value = value::of_entry(&section, self.sites, self.context);
        let mut table = toml::Table::new();
        match platform {
            // Its destination's platform is wrong, which is reported there.
            None => {
                section.entries();
            }
            Some(platform) => {
                for key in platform.entry_keys {
                    let Some(node) = section.get(key.name) else { continue };
                    if is_of_kind(&node, key.kind) {
                        table.insert(key.name.to_owned(), node.to_toml());
                    }
                }
            }
        }
        section.finish();
        let entry = if table.is_empty() { Entry::Standard } else { Entry::Table(table) };
        Some((entry, value))
    }
}

/// Whether a value is what a platform's key takes; reports where it is not.
pub(super) fn is_of_kind(node: &Node<'_>, kind: KeyKind) -> bool {
    match kind {
        KeyKind::Text | KeyKind::Recipient => match node.to_toml() {
            toml::Value::Integer(_) => true,
            _ => node.text().is_some(),
        },
        KeyKind::Bool => node.flag().is_some(),
        KeyKind::Number => node.integer(0, u64::MAX).is_some(),
        KeyKind::Any => true,
        KeyKind::Secret => {
            node.error("a secret belongs into destinations.toml, as a reference");
            false
        }
    }
}

fn from(node: &Node<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, item) in node.texts().unwrap_or_default() {
        if names.iter().any(|other| other == name) {
            item.error(format!("{name:?} is listed twice"));
        } else {
            names.push(name.to_owned());
        }
    }
    if names.is_empty() {
        node.expected("at least one name under which the event arrives");
    }
    names
}

/// A CEL expression; errors carry the compiler's own words.
pub(super) fn condition(node: &Node<'_>) -> Option<Expression> {
    match Expression::compile(node.text()?, false) {
        Ok(expression) => Some(expression),
        Err(error) => {
            node.error(error.to_string());
            None
        }
    }
}

/// Paths that an event must have: known fields, free ones below `properties` and `context`, or an
/// event id of its own.
fn required(node: &Node<'_>) -> Vec<String> {
    let mut paths = BTreeSet::new();
    for (path, node) in node.texts().unwrap_or_default() {
        let free = ["properties.", "context."]
            .iter()
            .any(|root| path.strip_prefix(root).is_some_and(|rest| !rest.is_empty()));
        if path != EVENT_ID && !free && Field::parse(path).is_none() {
            let hint = suggest_field(path);
            node.error(format!("no event has a field {path:?}{hint}"));
        }
        paths.insert(path.to_owned());
    }
    paths.into_iter().collect()
}

/// `; did you mean ...?` for a field's path.
pub(super) fn suggest_field(path: &str) -> String {
    match crate::config::finding::nearest(path, Field::ALL.iter().map(|field| field.path())) {
        Some(near) => format!("; did you mean {near:?}?"),
        None => "; write a dotted path such as \"user.email\" or \"properties.currency\"".into(),
    }
}
