//! Rules and a person's state → what one destination may have.

use serde::Serialize;

use super::{
    DestinationRule, Grant, InRegion, IpForm, Model, Purpose, Region, RegionRule, Rules, State,
    WhenDenied, WhenOptedOut, seen::CONSENT_MODE,
};
use crate::event::{ActionSource, Field, FieldSet};

/// What a platform declares about itself, as far as consent needs it.
#[derive(Debug, Clone, Copy)]
pub struct Purposes {
    /// The purposes that must be granted where `consent.toml` does not say; `None`: it must say.
    pub needs: Option<&'static [Purpose]>,
    /// The platform has a flag for denied personalisation.
    pub personalization_flag: bool,
    /// Regions (as patterns: `US`) whose law gives the platform's restricted mode a meaning.
    pub restricted_in: &'static [&'static str],
    /// Whether restricted mode can be stated for a region, with or without an address, of an event
    /// from this source.
    pub can_restrict: fn(region: &Region, has_ip: bool, source: ActionSource) -> bool,
    /// The fields without which it takes no event of a website, or none that counts, whatever its
    /// settings are and whatever else the event has.
    pub required: FieldSet,
    /// The fields that leave where `may_send` is absent: required ones and its own click ids.
    pub default_fields: fn(ActionSource) -> FieldSet,
    /// The fields that the platform takes at all.
    pub takes: FieldSet,
    /// Those among them that are for advertising at a platform that else needs none: they leave as
    /// `ad_user_data` lets them.
    pub with_ad_user_data: FieldSet,
}

/// Everything that a decision looks at, besides the rules.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The destination's name.
    pub destination: &'a str,
    /// Its platform's name.
    pub platform: &'a str,
    /// What its platform declares.
    pub purposes: &'a Purposes,
    /// Where the event happened.
    pub action_source: ActionSource,
    /// Which fields it has.
    pub present: FieldSet,
    /// The person's state.
    pub state: &'a State,
    /// The site is sensitive: opt-in everywhere, and no URL, item name or search term leaves.
    pub sensitive: bool,
}

/// Why something is held, limited or reduced. The closed lists of the interface.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// A needed purpose is denied, or missing where the law wants a grant.
    NoConsent,
    /// An opt-out applies.
    OptedOut,
    /// The law wants a grant and there is no signal at all.
    NoSignal,
    /// Beyond what the privacy lock approves.
    NotApproved,
    /// `consent.toml` has no entry for this destination.
    NoRule,
    /// The person is a minor.
    Minor,
    /// Personalisation is denied: sent with the platform's flag, or held.
    PersonalizationDenied,
    /// The region or the site's sensitivity took fields away.
    FieldsRemoved,
}

impl ReasonCode {
    /// The reasons for which an event can be held, in the order of the books.
    pub const HELD: [ReasonCode; 6] = [
        ReasonCode::NoConsent,
        ReasonCode::OptedOut,
        ReasonCode::NoSignal,
        ReasonCode::NotApproved,
        ReasonCode::NoRule,
        ReasonCode::Minor,
    ];

    /// The code on the wire.
    pub fn name(self) -> &'static str {
        match self {
            ReasonCode::NoConsent => "no_consent",
            ReasonCode::OptedOut => "opted_out",
            ReasonCode::NoSignal => "no_signal",
            ReasonCode::NotApproved => "not_approved",
            ReasonCode::NoRule => "no_rule",
            ReasonCode::Minor => "minor",
            ReasonCode::PersonalizationDenied => "personalization_denied",
            ReasonCode::FieldsRemoved => "fields_removed",
        }
    }
}

/// One reason, with the rule that gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// What kind.
    pub code: ReasonCode,
    /// `meta`, `meta/us`, `region/us` or `default`.
    pub rule: String,
    /// For a person who reads it.
    pub message: String,
}

/// What a destination may have of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// The fields that may leave.
    pub fields: FieldSet,
    /// Which of the properties without a field of their own may leave.
    pub properties: PropertyRule,
    /// In what form the address may leave.
    pub ip: IpForm,
    /// The platform's restricted mode must be used.
    pub limited: bool,
    /// The platform's flag for denied personalisation must be set.
    pub personalization_denied: bool,
    /// What is known of each purpose, for platforms that take it. In an opt-in region
    /// personalisation nobody granted is denied here.
    pub grants: super::Grants,
    /// Where the person is, for platforms whose restricted mode names it.
    pub region: Region,
}

/// Which free properties may leave: those named, or all but those named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PropertyRule {
    /// Names that may, besides all if the field `properties.*` may.
    pub allow: Vec<String>,
    /// Names that never may.
    pub deny: Vec<String>,
}

impl Permit {
    /// Whether a property without a field of its own may leave.
    pub fn allows_property(&self, name: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|n| n == name);
        !named(&self.properties.deny)
            && (self.fields.contains(Field::OtherProperties) || named(&self.properties.allow))
    }
}

/// The decision for one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What may leave; `Err` with the code under which it is held.
    pub permit: Result<Permit, ReasonCode>,
    /// Every reason, the deciding one first.
    pub reasons: Vec<Reason>,
    /// What the platform takes, the event has, and a rule took away.
    pub removed: FieldSet,
    /// The id of the rule that decided, also where there is no reason to give: `meta`, `meta/us`,
    /// `region/us` or `default`.
    pub rule: String,
}

/// Always sent, whatever `may_send` says (with name, id, time, action source and consent fields).
const ALWAYS: FieldSet = FieldSet::of(&[
    Field::Value,
    Field::Currency,
    Field::OrderId,
    // Consent fields, where a platform takes the strings themselves.
    Field::Tcf,
    Field::Gpp,
]);

/// What never leaves a sensitive site: URLs, item names and search terms, and the places where a
/// sender may have put one under a name of its own. A property leaves only if it is listed by name.
const SENSITIVE: FieldSet = FieldSet::of(&[
    Field::PageUrl,
    Field::Referrer,
    Field::LandingPage,
    Field::ItemNames,
    Field::SearchTerm,
    Field::CampaignTerm,
    Field::OtherProperties,
    Field::OtherContext,
]);

/// Properties that hold a URL, an item's name or a search term by common usage (Segment's `page`
/// and `Products Searched`, GA4's `page_location`): not even by name from a sensitive site.
const SENSITIVE_PROPERTIES: [&str; 16] = [
    "url",
    "page_url",
    "page_location",
    "page_referrer",
    "page_path",
    "path",
    "referrer",
    "title",
    "page_title",
    "name",
    "product_name",
    "item_name",
    "search",
    "query",
    "search_query",
    "keyword",
];

fn can_restrict(question: &Question<'_>, has_ip: bool) -> bool {
    (question.purposes.can_restrict)(&question.state.region, has_ip, question.action_source)
}

/// Whether it could be restricted if more were known of where the person is.
fn has_restricted_mode(question: &Question<'_>) -> bool {
    let state = Some("US-CA".to_owned());
    (question.purposes.can_restrict)(&state, true, question.action_source)
}

/// Decides for one destination.
pub fn decide(rules: &Rules, question: &Question<'_>) -> Decision {
    let state = question.state;
    let Some(rule) = rules.destination(question.destination, question.platform) else {
        let message = format!("consent.toml has no [destinations.{}]", question.destination);
        return held(ReasonCode::NoRule, "default", message);
    };
    if state.minor {
        return held(ReasonCode::Minor, "default", "the person is a minor".to_owned());
    }

    let region_rule = rules.region(&state.region);
    let there = rule.in_region(region_rule);
    let model = if question.sensitive {
        Model::OptIn
    } else {
        region_rule.map_or(Model::OptIn, |rule| rule.model)
    };
    if let Some(refusal) = needs_refused(rules, rule, there, question, model, region_rule) {
        return refusal;
    }

    let mut reasons = Vec::new();
    let mut permit = allowed_fields(rule, there, question, region_rule);
    if state.opt_out.any() || state.provider_only {
        let (outcome, id) = opted_out_outcome(rule, there);
        let by = match state.opt_out.any() {
            true => format!("opted out ({})", state.opt_out.sources.join(", ")),
            false => "for service providers only by the industry's US agreement".to_owned(),
        };
        let has_ip = permit.fields.contains(Field::Ip) && question.present.contains(Field::Ip);
        let message = match outcome {
            WhenOptedOut::Drop => by,
            WhenOptedOut::Limited if !restricted_applies(question.purposes, &state.region) => {
                format!("{by}, and the restricted mode means nothing here")
            }
            WhenOptedOut::Limited if !can_restrict(question, has_ip) => {
                let why = if has_restricted_mode(question) {
                    "the restricted mode needs the state or an address"
                } else {
                    "there is no restricted mode for events from there"
                };
                format!("{by}, and {why}")
            }
            WhenOptedOut::Limited => {
                permit.limited = true;
                format!("{by}: restricted mode")
            }
            WhenOptedOut::Send => format!("{by}: sent to a processor"),
        };
        if !permit.limited && outcome != WhenOptedOut::Send {
            return held(ReasonCode::OptedOut, &id, message);
        }
        reasons.push(Reason { code: ReasonCode::OptedOut, rule: id, message });
    }

    let personalization = state.grants.ad_personalization;
    let denied = personalization == Grant::Denied
        || (personalization == Grant::NotAsked && model == Model::OptIn);
    if denied {
        let (written, id) = written(rule, there, |part| part.when_personalization_denied);
        let written = written.or(rule.when_personalization_denied);
        let how = written.unwrap_or(if question.purposes.personalization_flag {
            WhenDenied::Flag
        } else {
            WhenDenied::Drop
        });
        let why = if personalization == Grant::Denied { "denied" } else { "not granted" };
        // A platform that never personalises (needs no advertising purpose) has nothing to flag; where
        // it is written that nothing leaves, nothing does.
        let personalises = written.is_some()
            || needs(rule, there).0.iter().any(|need| *need != Purpose::AnalyticsStorage);
        match how {
            WhenDenied::Flag => {
                permit.personalization_denied = true;
                permit.grants.ad_personalization = Grant::Denied;
                reasons.push(Reason {
                    code: ReasonCode::PersonalizationDenied,
                    rule: id,
                    message: format!("personalisation {why}: the platform's flag is set"),
                });
            }
            WhenDenied::Drop if personalises && personalization == Grant::Denied => {
                let message = "personalisation denied, and the platform has no flag for it";
                return held(ReasonCode::NoConsent, &id, message.to_owned());
            }
            WhenDenied::Drop => {}
        }
    }

    let taken = question.present.intersection(question.purposes.takes);
    let for_advertising = question.purposes.with_ad_user_data;
    let has_ad_user_data = match state.grants.ad_user_data {
        Grant::Granted => true,
        Grant::Denied => false,
        Grant::NotAsked => model == Model::OptOut,
    };
    if !has_ad_user_data {
        if !taken.intersection(permit.fields).intersection(for_advertising).is_empty() {
            let message = "what is for advertising does not leave without ad_user_data".to_owned();
            let (code, rule) = (ReasonCode::FieldsRemoved, rule.name.clone());
            reasons.push(Reason { code, rule, message });
        }
        permit.fields = permit.fields.difference(for_advertising);
    }
    let removed = taken.difference(permit.fields);
    let by_region = taken.contains(Field::Ip) && permit.ip == IpForm::None;
    let by_sensitivity = question.sensitive && !taken.intersection(SENSITIVE).is_empty();
    if by_region || by_sensitivity {
        let (rule, what) = match region_rule {
            Some(region) if by_region => (format!("region/{}", region.name), "the address"),
            _ => (
                "default".to_owned(),
                "what a site with `sensitive` in relay.toml shows of a person (pages, item names, \
                 search terms)",
            ),
        };
        let message = format!("{what} does not leave");
        reasons.push(Reason { code: ReasonCode::FieldsRemoved, rule, message });
    }
    let rule = match there {
        Some(part) => format!("{}/{}", rule.name, part.region),
        None => rule.name.clone(),
    };
    Decision { permit: Ok(permit), reasons, removed, rule }
}

fn held(code: ReasonCode, rule: &str, message: String) -> Decision {
    Decision {
        permit: Err(code),
        reasons: vec![Reason { code, rule: rule.to_owned(), message }],
        removed: FieldSet::EMPTY,
        rule: rule.to_owned(),
    }
}

/// What a rule says of a region by one of its keys, and the id of the part that says it.
fn written<T>(
    rule: &DestinationRule,
    there: Option<&InRegion>,
    key: impl Fn(&InRegion) -> Option<T>,
) -> (Option<T>, String) {
    match there.and_then(|part| Some((key(part)?, part))) {
        Some((value, part)) => (Some(value), format!("{}/{}", rule.name, part.region)),
        None => (None, rule.name.clone()),
    }
}

/// The purposes that must be granted, and whether the region's own part says so.
fn needs<'r>(rule: &'r DestinationRule, there: Option<&'r InRegion>) -> (&'r [Purpose], bool) {
    match there.and_then(|part| part.needs.as_deref()) {
        Some(needs) => (needs, true),
        None => (&rule.needs, false),
    }
}

/// Held where a needed purpose is denied anywhere, or missing where the law wants a grant.
fn needs_refused(
    rules: &Rules,
    rule: &DestinationRule,
    there: Option<&InRegion>,
    question: &Question<'_>,
    model: Model,
    region_rule: Option<&RegionRule>,
) -> Option<Decision> {
    let state = question.state;
    let (needed, own) = needs(rule, there);
    let mut missing = None;
    for purpose in needed {
        match state.grants.get(*purpose) {
            Grant::Denied => {
                let message = format!("{} is denied{}", purpose.name(), by(rules, state, *purpose));
                let part =
                    there.filter(|_| own).map(|part| format!("{}/{}", rule.name, part.region));
                let id = part.as_ref().unwrap_or(&rule.name);
                return Some(held(ReasonCode::NoConsent, id, message));
            }
            Grant::NotAsked if model == Model::OptIn => missing = missing.or(Some(*purpose)),
            Grant::Granted | Grant::NotAsked => {}
        }
    }
    let purpose = missing?.name();
    let id = region_rule.map_or("default".to_owned(), |region| format!("region/{}", region.name));
    Some(if !state.is_silent() {
        held(
            ReasonCode::NoConsent,
            &id,
            format!("{purpose} is not granted, and the law here wants a grant"),
        )
    } else {
        held(
            ReasonCode::NoSignal,
            &id,
            format!("no consent signal, and the law here wants {purpose} granted"),
        )
    })
}

/// Which signals deny a purpose, in brackets; its own field goes without saying.
fn by(rules: &Rules, state: &State, purpose: Purpose) -> String {
    let Some(said) = &state.said else { return String::new() };
    let sources: Vec<&str> =
        said.denying(rules, purpose).filter(|source| *source != CONSENT_MODE).collect();
    if sources.is_empty() { String::new() } else { format!(" ({})", sources.join(", ")) }
}

fn opted_out_outcome(rule: &DestinationRule, there: Option<&InRegion>) -> (WhenOptedOut, String) {
    let (outcome, id) = written(rule, there, |part| part.when_opted_out);
    (outcome.unwrap_or(rule.when_opted_out), id)
}

/// Whether a platform's restricted mode means something in a region.
pub(super) fn restricted_applies(purposes: &Purposes, region: &Region) -> bool {
    purposes.restricted_in.iter().any(|pattern| super::region::covers(pattern, region).is_some())
}

fn allowed_fields(
    rule: &DestinationRule,
    there: Option<&InRegion>,
    question: &Question<'_>,
    region_rule: Option<&RegionRule>,
) -> Permit {
    let purposes = question.purposes;
    let default = || (purposes.default_fields)(question.action_source);
    let (listed, allow) = match there.and_then(|part| part.may_send.as_ref()) {
        Some((listed, properties)) => (Some(*listed), properties),
        None => (rule.may_send, &rule.may_send_properties),
    };
    let never = there.map_or(FieldSet::EMPTY, |part| part.never_send).union(rule.never_send);
    let mut deny = rule.never_send_properties.clone();
    deny.extend(there.iter().flat_map(|part| part.never_send_properties.iter().cloned()));
    let mut fields = listed.unwrap_or_else(default).union(ALWAYS).difference(never);
    if question.sensitive {
        fields = fields.difference(SENSITIVE);
        deny.extend(SENSITIVE_PROPERTIES.map(str::to_owned));
    }
    let ip = match region_rule {
        Some(region) if !question.sensitive || region.model == Model::OptIn => region.ip,
        // A sensitive site is opt-in everywhere, and the default of opt-in is no address.
        _ => IpForm::None,
    };
    if ip == IpForm::None {
        fields.remove(Field::Ip);
    }
    Permit {
        fields,
        properties: PropertyRule { allow: allow.clone(), deny },
        ip,
        limited: false,
        personalization_denied: false,
        grants: question.state.grants,
        region: question.state.region.clone(),
    }
}
