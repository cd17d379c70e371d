//! `consent.toml`: regions and their law, categories, memory, and what each destination may have.

use std::collections::BTreeMap;

use super::{Context, Meant, Names, Relay, check_name, events::suggest_field, relay};
use crate::{
    config::{
        document::{Node, Section},
        finding::{nearest, suggest},
        units,
    },
    consent::{
        DestinationRule, InRegion, IpForm, Memory, Model, Purpose, RegionRule, RegionSource, Role,
        Rules, VendorId, WhenDenied, WhenOptedOut, expand_region, is_for_email, known_categories,
    },
    destinations::Platform,
    event::{ActionSource, Field, FieldSet},
};

const OUTCOMES: [(&str, WhenOptedOut); 3] = [
    ("drop", WhenOptedOut::Drop),
    ("limited", WhenOptedOut::Limited),
    ("send", WhenOptedOut::Send),
];

/// What the file says.
#[derive(Debug)]
pub(in crate::config) struct Consent {
    /// The rules.
    pub(in crate::config) rules: Rules,
    /// Whether no source of a visitor's region was chosen.
    pub(in crate::config) lacks_region_source: bool,
}

/// Reads the file.
pub(super) fn read(
    root: Section<'_>,
    names: &Names,
    relay: &Relay,
    context: &Context<'_>,
) -> Consent {
    let gpc = [("everywhere", true), ("opt_out_regions", false)];
    let flag = |key| root.get(key).and_then(|node| node.flag()).unwrap_or(false);
    let written_sources = root.get("region_from");
    let mut rules = Rules {
        version: root
            .get("version")
            .and_then(|node| Some(node.text()?.to_owned()))
            .unwrap_or_default(),
        require_approval: flag("require_approval"),
        allowed_signers: root.get("allowed_signers").and_then(|node| Some(node.text()?.to_owned())),
        region_from: match &written_sources {
            Some(node) => region_from(node, relay),
            // Without a word: the event's own region, and the database where there is one.
            None => {
                let database = relay.geoip.as_ref().map(|_| RegionSource::Geoip);
                [RegionSource::Event].into_iter().chain(database).collect()
            }
        },
        gpc_everywhere: root.get("gpc").and_then(|node| node.one_of(&gpc)).unwrap_or(true),
        trust_gdpr_applies: flag("trust_gdpr_applies"),
        memory: memory(root.table("memory")),
        regions: Vec::new(),
        categories: Vec::new(),
        destinations: Vec::new(),
    };
    let mut patterns = BTreeMap::new();
    for (name, section) in root.table("regions").sections() {
        check_name(name, section.place(), context.report);
        rules.regions.push(region(name, section, &mut patterns));
    }
    for (category, node) in root.table("categories").entries() {
        rules.categories.push((category.to_owned(), self::category(category, &node)));
    }
    for (name, section) in root.table("destinations").sections() {
        let meant = names.find(name, section.place(), context.report);
        rules.destinations.push(destination(name, section, meant, &rules.regions, context));
    }
    root.finish();
    let lacks_region_source = match &written_sources {
        Some(node) => is_empty_list(node),
        None => relay.geoip.is_none(),
    };
    Consent { rules, lacks_region_source }
}

/// What a category stands for, beside what is known of such ids.
fn category(id: &str, node: &Node<'_>) -> Vec<Purpose> {
    let purposes = purposes(node);
    if is_for_email(id) {
        node.error("is consent to messages, not to advertising; take the entry away");
    }
    // An id that several platforms have is known by what it stands for at any of them.
    let mut known = known_categories().filter(|(known, _)| *known == id).peekable();
    if known.peek().is_none() {
        let near = known_categories().find(|(known, _)| known.eq_ignore_ascii_case(id));
        if let Some((near, _)) = near {
            node.warning(format!("ids are compared exactly; did you mean {near:?}?"));
        }
        if is_empty_list(node) {
            node.warning("stands for no purpose: without effect");
        }
        return purposes;
    }
    let usual: Vec<Purpose> = known.flat_map(|(_, purposes)| purposes.iter().copied()).collect();
    let more = purposes.iter().filter(|purpose| !usual.contains(purpose));
    let more: Vec<&str> = more.map(|purpose| purpose.name()).collect();
    if !more.is_empty() {
        node.warning(format!(
            "grants more than this category usually stands for: {}",
            more.join(", ")
        ));
    }
    purposes
}

fn is_empty_list(node: &Node<'_>) -> bool {
    node.is_list() && node.list().is_some_and(|items| items.is_empty())
}

fn region_from(node: &Node<'_>, relay: &Relay) -> Vec<RegionSource> {
    let mut sources = Vec::new();
    for (text, node) in node.texts().unwrap_or_default() {
        match text.split_once(':') {
            None if text == "event" => sources.push(RegionSource::Event),
            None if text == "geoip" => {
                if relay.geoip.is_none() {
                    node.warning("relay.toml names no `geoip` database: without effect");
                }
                sources.push(RegionSource::Geoip);
            }
            Some(("header", name)) if !name.is_empty() => {
                sources.push(RegionSource::Header(name.to_owned()));
            }
            _ => {
                node.expected("\"event\", \"header:NAME\" or \"geoip\"");
            }
        }
    }
    sources
}

fn memory(section: Section<'_>) -> Memory {
    const DOORS: [&str; 2] = ["door:webhook", "door:import"];
    let default = Memory::default();
    let use_for = section.get("use_for").and_then(|node| node.texts()).map(|items| {
        let mut known = Vec::new();
        for (word, node) in items {
            let sources = ActionSource::ALL.iter().map(|(_, name)| *name);
            if sources.clone().chain(DOORS).any(|name| name == word) {
                known.push(word.to_owned());
            } else {
                let hint = suggest(word, sources.chain(DOORS));
                node.error(format!("{word:?} is neither an action source nor a door{hint}"));
            }
        }
        known
    });
    let memory = Memory {
        max_age: section
            .get("max_age")
            .and_then(|node| node.positive_duration())
            .unwrap_or(default.max_age),
        use_for: use_for.unwrap_or(default.use_for),
        click_ids: section.get("click_ids").and_then(|node| node.positive_duration()),
        traits: section.get("traits").and_then(|node| node.positive_duration()),
    };
    section.finish();
    memory
}

// === regions ===

fn region(name: &str, section: Section<'_>, taken: &mut BTreeMap<String, String>) -> RegionRule {
    let models = [("opt_in", Model::OptIn), ("opt_out", Model::OptOut)];
    let forms = [("full", IpForm::Full), ("truncated", IpForm::Truncated), ("none", IpForm::None)];
    let mut matches = Vec::new();
    if let Some(node) = section.required("match", "match = [\"EEA\", \"US-CA\", \"*\"]") {
        let items = node.texts().unwrap_or_default();
        if items.is_empty() {
            node.expected("at least one region");
        }
        for (pattern, node) in items {
            if !is_pattern(pattern) {
                node.error(wrong_pattern(pattern));
                continue;
            }
            match taken.get(pattern) {
                Some(other) if other == name => node.error(format!("{pattern:?} is listed twice")),
                Some(other) => node.error(format!(
                    "{pattern:?} is matched by regions.{other} too: neither is more specific"
                )),
                None => {
                    taken.insert(pattern.to_owned(), name.to_owned());
                    matches.push(pattern.to_owned());
                }
            }
        }
    }
    let model = section.get("model").and_then(|node| node.one_of(&models)).unwrap_or(Model::OptIn);
    let by_model = match model {
        Model::OptIn => IpForm::None,
        Model::OptOut => IpForm::Full,
    };
    let ip = section.get("ip").and_then(|node| node.one_of(&forms)).unwrap_or(by_model);
    section.finish();
    RegionRule { name: name.to_owned(), matches, model, ip }
}

fn is_pattern(pattern: &str) -> bool {
    matches!(pattern, "*" | "EEA") || units::is_country(pattern) || units::is_subdivision(pattern)
}

fn wrong_pattern(pattern: &str) -> String {
    let upper = pattern.to_ascii_uppercase();
    let hint = match upper.as_str() {
        "UK" => "; the United Kingdom is \"GB\"".to_owned(),
        "EU" | "EEE" => "; did you mean \"EEA\"?".to_owned(),
        _ if is_pattern(&upper) => format!("; did you mean {upper:?}?"),
        _ => String::new(),
    };
    format!(
        "expected \"EEA\", a country such as \"US\", a subdivision such as \"US-CA\", or \"*\", \
         found {pattern:?}{hint}"
    )
}

// === destinations ===

fn purposes(node: &Node<'_>) -> Vec<Purpose> {
    let names = Purpose::ALL.map(|(purpose, name)| (name, purpose));
    let mut purposes = Vec::new();
    for item in node.list().unwrap_or_default() {
        let Some(purpose) = item.one_of(&names) else { continue };
        if !purposes.contains(&purpose) {
            purposes.push(purpose);
        }
    }
    purposes
}

fn destination(
    name: &str,
    section: Section<'_>,
    meant: Option<Meant>,
    regions: &[RegionRule],
    context: &Context<'_>,
) -> DestinationRule {
    let platform = meant.and_then(|meant| meant.platform);
    let roles = [Role::Processor, Role::JointController, Role::Controller];
    let roles = roles.map(|role| (role.name(), role));
    let role = section.get("role").and_then(|node| node.one_of(&roles));
    let text = |key| section.get(key).and_then(|node| Some(node.text()?.to_owned()));
    let when_personalization_denied = when_denied(&section, platform);
    let may_send = section.get("may_send").map(|node| (fields(&node), node));
    let never_send = section.get("never_send").map(|node| (fields(&node), node));
    if let Some(platform) = platform {
        check_required(platform, may_send.as_ref(), never_send.as_ref());
    }
    let (may_send, may_send_properties) = match may_send {
        Some(((fields, properties), _)) => (Some(fields), properties),
        None => (None, Vec::new()),
    };
    let (never_send, never_send_properties) = never_send.map(|(list, _)| list).unwrap_or_default();
    let by_region = by_region(&section.table("regions"), regions, role, platform, context);
    let rule = DestinationRule {
        name: name.to_owned(),
        needs: needs(&section, role, platform, context),
        may_send,
        may_send_properties,
        never_send,
        never_send_properties,
        when_personalization_denied,
        when_opted_out: section
            .get("when_opted_out")
            .and_then(|node| {
                let others = regions.iter().filter(|region| {
                    !by_region
                        .iter()
                        .any(|part| part.region == region.name && part.when_opted_out.is_some())
                });
                outcome(&node, role, platform, others)
            })
            .unwrap_or_default(),
        regions: by_region,
        tcf_vendor_id: section
            .get("tcf_vendor_id")
            .map_or(VendorId::Known, |n| vendor_id(&n, MAX_VENDOR)),
        ac_provider_id: section
            .get("ac_provider_id")
            .map_or(VendorId::Known, |n| vendor_id(&n, MAX_PROVIDER)),
        role,
        recipient: text("recipient"),
        country: section.get("country").and_then(|node| relay::country(&node)),
        mechanism: text("mechanism"),
        legal_basis: text("legal_basis"),
        retention: text("retention"),
    };
    section.finish();
    rule
}

/// The highest id that a TC string can name: it writes them in 16 bits.
const MAX_VENDOR: u64 = 65_535;

/// Beyond any id of Google's list, which an Additional Consent string writes in digits.
const MAX_PROVIDER: u64 = 999_999;

fn vendor_id(node: &Node<'_>, max: u64) -> VendorId {
    if node.as_text() == Some("none") {
        return VendorId::None;
    }
    if node.as_text().is_some() {
        node.expected("the vendor's id (a number), or \"none\"");
        return VendorId::None;
    }
    // What is not understood cannot grant; it is an error anyway.
    let id = node.integer(1, max).and_then(|id| u32::try_from(id).ok());
    id.map_or(VendorId::None, VendorId::Id)
}

fn needs(
    section: &Section<'_>,
    role: Option<Role>,
    platform: Option<&'static Platform>,
    context: &Context<'_>,
) -> Vec<Purpose> {
    let Some(node) = section.get("needs") else {
        let default = platform.map(|platform| platform.purposes.needs);
        if let Some(None) = default {
            let message = "is missing; this platform has no default: write which purposes a person \
                           must have granted, such as needs = [\"ad_user_data\"]";
            context.report.error(&section.place().below("needs"), message);
        }
        return default.flatten().unwrap_or_default().to_vec();
    };
    needs_of(&node, role)
}

fn needs_of(node: &Node<'_>, role: Option<Role>) -> Vec<Purpose> {
    let needs = purposes(node);
    if is_empty_list(node) && role != Some(Role::Processor) {
        node.error("an empty list is for processors only; write role = \"processor\", or which purposes must be granted");
    }
    needs
}

fn when_denied(section: &Section<'_>, platform: Option<&'static Platform>) -> Option<WhenDenied> {
    let denied = [("flag", WhenDenied::Flag), ("drop", WhenDenied::Drop)];
    let node = section.get("when_personalization_denied")?;
    let outcome = node.one_of(&denied)?;
    if outcome == WhenDenied::Flag
        && let Some(platform) = platform.filter(|p| !p.purposes.personalization_flag)
    {
        let title = platform.title;
        node.error(format!("{title} has no such flag; write \"drop\""));
    }
    Some(outcome)
}

fn by_region(
    section: &Section<'_>,
    regions: &[RegionRule],
    role: Option<Role>,
    platform: Option<&'static Platform>,
    context: &Context<'_>,
) -> Vec<InRegion> {
    let mut parts = Vec::new();
    for (name, section) in section.sections() {
        let rule = regions.iter().find(|region| region.name == name);
        if rule.is_none() {
            let hint = suggest(name, regions.iter().map(|region| region.name.as_str()));
            let message = format!("there is no [regions.{name}]{hint}");
            context.report.error(section.place(), message);
        }
        let written = section.get("when_opted_out");
        let when_opted_out =
            written.and_then(|node| outcome(&node, role, platform, rule.into_iter()));
        let may_send = section.get("may_send").map(|node| (fields(&node), node));
        let never_send = section.get("never_send").map(|node| (fields(&node), node));
        if let Some(platform) = platform {
            check_required(platform, may_send.as_ref(), never_send.as_ref());
        }
        let (never_send, never_send_properties) =
            never_send.map(|(list, _)| list).unwrap_or_default();
        parts.push(InRegion {
            region: name.to_owned(),
            needs: section.get("needs").map(|node| needs_of(&node, role)),
            may_send: may_send.map(|(list, _)| list),
            never_send,
            never_send_properties,
            when_personalization_denied: when_denied(&section, platform),
            when_opted_out,
        });
        section.finish();
    }
    parts
}

/// What happens to opted-out events in some regions.
fn outcome<'r>(
    node: &Node<'_>,
    role: Option<Role>,
    platform: Option<&'static Platform>,
    mut regions: impl Iterator<Item = &'r RegionRule>,
) -> Option<WhenOptedOut> {
    let outcome = node.one_of(&OUTCOMES)?;
    match (outcome, platform) {
        (WhenOptedOut::Send, _) if role != Some(Role::Processor) => {
            node.error("\"send\" is for processors only; write role = \"processor\", or \"drop\"");
        }
        (WhenOptedOut::Limited, Some(platform)) => {
            let title = platform.title;
            let lawful = platform.purposes.restricted_in;
            let outside = regions.find_map(|region| {
                let pattern = region.matches.iter().find(|p| !is_restricted_in(lawful, p))?;
                Some((&region.name, pattern))
            });
            if lawful.is_empty() {
                node.error(format!("{title} has no restricted mode; write \"drop\""));
            } else if let Some((region, pattern)) = outside {
                let lawful = lawful.join(", ");
                node.error(format!(
                    "{title}'s restricted mode means nothing in {pattern:?} (regions.{region}), \
                     only in {lawful}; write \"drop\" there, and \"limited\" for a region of its own"
                ));
            }
        }
        _ => {}
    }
    Some(outcome)
}

/// Whether a restricted mode applies wherever a pattern matches.
fn is_restricted_in(lawful: &[&str], pattern: &str) -> bool {
    expand_region(pattern).iter().all(|region| {
        let country = region.split('-').next();
        lawful.iter().any(|l| l == region || Some(*l) == country || *l == "*")
    })
}

// === fields ===

/// Fields and groups; a property without a field of its own by its name.
fn fields(node: &Node<'_>) -> (FieldSet, Vec<String>) {
    let (mut set, mut properties) = (FieldSet::EMPTY, Vec::new());
    for (path, node) in node.texts().unwrap_or_default() {
        if let Some(group) = FieldSet::group(path) {
            set = set.union(group);
        } else if let Some(name) = path.strip_prefix("properties.").filter(|name| !name.is_empty())
        {
            let known = Field::ALL.iter().filter_map(|f| f.path().strip_prefix("properties."));
            if let Some(near) = nearest(name, known) {
                node.warning(format!(
                    "is a property of your own; did you mean \"properties.{near}\"?"
                ));
            }
            properties.push(name.to_owned());
        } else {
            node.error(format!("no field or group is called {path:?}{}", suggest_group(path)));
        }
    }
    (set, properties)
}

fn suggest_group(path: &str) -> String {
    let groups = ["user", "context", "click_ids", "lead", "properties", "context.campaign"];
    match nearest(path, groups.into_iter().chain(["context.app"])) {
        Some(near) => format!("; did you mean {near:?}?"),
        None => suggest_field(path),
    }
}

/// Refuses lists that take away what the platform cannot do without on a website. What it needs as
/// it is set up, or one of several, is asked of it once it is built.
fn check_required(
    platform: &Platform,
    may_send: Option<&((FieldSet, Vec<String>), Node<'_>)>,
    never_send: Option<&((FieldSet, Vec<String>), Node<'_>)>,
) {
    let (mut missing, mut forbidden) = (Vec::new(), Vec::new());
    for field in platform.purposes.required.iter() {
        if never_send.is_some_and(|((set, _), _)| set.contains(field)) {
            forbidden.push(field.path());
        } else if may_send.is_some_and(|((set, _), _)| !set.contains(field)) {
            missing.push(field.path());
        }
    }
    let title = platform.title;
    if let (Some((_, node)), false) = (may_send, missing.is_empty()) {
        node.error(format!("lacks what {title} requires: {}", missing.join(", ")));
    }
    if let (Some((_, node)), false) = (never_send, forbidden.is_empty()) {
        node.error(format!("{title} requires {}", forbidden.join(", ")));
    }
}
