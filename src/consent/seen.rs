//! What was seen of consent: every string as it came and what it decoded to, cookies of consent
//! platforms, and what was wrong with them.
//!
//! The whole of it is for the record; a job only carries what was [`Said`].

use super::{
    Grant, Grants, Purpose, Region, Rules, Signals,
    additional_consent::{self, AdditionalConsent},
    bits::{self, MAX_BYTES, Unreadable},
    categories,
    cmp::{self, Choices},
    consent_mode,
    gpp::{self, Gpp},
    said::{Said, Says, VendorIds, Voice, instead_of_grants},
    tcf::{self, REFUSED, Tcf},
    tcf_canada::TcfCanada,
    us_privacy::{self, UsPrivacy},
};

/// The source of the four purposes' own fields.
pub(super) const CONSENT_MODE: &str = "consent_mode";

/// Everything that was seen of consent in one event.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Strings of frameworks, in the order in which they count.
    pub strings: Vec<Text>,
    /// The GPP sections that the site says apply.
    pub gpp_sid: Vec<u32>,
    /// Cookies of consent platforms.
    pub cookies: Vec<cmp::Reading>,
    /// What is wrong; such a signal gives no permission.
    pub problems: Vec<Problem>,
}

/// A string of a framework.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// As it came.
    pub raw: String,
    /// JSON pointer to it within the consent object.
    pub path: String,
    /// What it says.
    pub content: Content,
}

/// What a string says, or why that is not known.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// An IAB TC string.
    Tcf(Result<Box<Tcf>, Unreadable>),
    /// Google's Additional Consent string.
    AdditionalConsent(Result<AdditionalConsent, Unreadable>),
    /// An IAB GPP string.
    Gpp(Result<Gpp, Unreadable>),
    /// A US Privacy string.
    UsPrivacy(Result<UsPrivacy, Unreadable>),
}

/// Why something that came gives no permission.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// What kind.
    pub code: &'static str,
    /// For a person who reads it; it never repeats the input.
    pub message: String,
    /// JSON pointer to it within the consent object.
    pub path: String,
}

impl Problem {
    fn unreadable(path: String, error: Unreadable) -> Self {
        Self { code: error.code(), message: error.to_string(), path }
    }
}

/// Which framework a string is of.
#[derive(Clone, Copy)]
enum Kind {
    Tcf,
    AdditionalConsent,
    Gpp,
    UsPrivacy,
}

impl Kind {
    /// Its name among the sources.
    fn name(self) -> &'static str {
        match self {
            Kind::Tcf => "tcf",
            Kind::AdditionalConsent => "additional_consent",
            Kind::Gpp => "gpp",
            Kind::UsPrivacy => "us_privacy",
        }
    }

    fn decode(self, text: &str) -> Content {
        match self {
            Kind::Tcf => Content::Tcf(tcf::decode(text).map(Box::new)),
            Kind::AdditionalConsent => Content::AdditionalConsent(additional_consent::decode(text)),
            Kind::Gpp => Content::Gpp(gpp::decode(text)),
            Kind::UsPrivacy => Content::UsPrivacy(us_privacy::decode(text)),
        }
    }
}

impl Content {
    fn error(&self) -> Option<Unreadable> {
        match self {
            Content::Tcf(content) => content.as_ref().err(),
            Content::AdditionalConsent(content) => content.as_ref().err(),
            Content::Gpp(content) => content.as_ref().err(),
            Content::UsPrivacy(content) => content.as_ref().err(),
        }
        .copied()
    }
}

// === reading ===

impl Seen {
    /// Decodes whatever can be decoded.
    pub fn of(signals: &Signals) -> Self {
        let mut seen = Seen { gpp_sid: signals.gpp_sid.clone(), ..Seen::default() };
        let cookies = cmp::read(&signals.cookies);
        let given = [
            (Kind::Tcf, &signals.tcf),
            (Kind::AdditionalConsent, &signals.additional_consent),
            (Kind::Gpp, &signals.gpp),
            (Kind::UsPrivacy, &signals.us_privacy),
        ];
        for (kind, text) in given {
            seen.string(kind, text.as_deref(), format!("/{}", kind.name()));
            // What a cookie carries stands beside what is a field of its own.
            for (path, choices) in answered(&cookies) {
                let carried = match kind {
                    Kind::Tcf => &choices.tcf,
                    Kind::AdditionalConsent => &choices.additional_consent,
                    Kind::Gpp => &None,
                    Kind::UsPrivacy => &choices.us_privacy,
                };
                seen.string(kind, carried.as_deref(), path);
            }
        }
        for reading in &cookies {
            if let Err(error) = reading.choices {
                let path = format!("/cookies/{}", reading.source);
                seen.problems.push(Problem::unreadable(path, error));
            }
        }
        seen.cookies = cookies;
        seen.complain(signals);
        seen
    }

    /// Reads one string. One that a macro should have filled was not sent; one that was read before
    /// says nothing new.
    fn string(&mut self, kind: Kind, text: Option<&str>, path: String) {
        let Some(text) = text.filter(|text| !text.is_empty() && !bits::is_unfilled_macro(text))
        else {
            return;
        };
        let content = kind.decode(text);
        if let Some(error) = content.error() {
            self.problems.push(Problem::unreadable(path.clone(), error));
        }
        let known = |old: &Text| old.raw == text && old.content == content;
        if !self.strings.iter().any(known) {
            self.strings.push(Text { raw: text.to_owned(), path, content });
        }
    }

    /// What is wrong besides texts that cannot be read.
    fn complain(&mut self, signals: &Signals) {
        let mut problems = Vec::new();
        let mut has_tcf = false;
        for text in &self.strings {
            match &text.content {
                Content::Tcf(tcf) => {
                    has_tcf = true;
                    problems.extend(tcf.as_deref().ok().and_then(|tcf| void(&text.path, tcf)));
                }
                Content::Gpp(Ok(gpp)) => {
                    has_tcf |= gpp.tcf().is_some();
                    sections(gpp, &signals.gpp_sid, &mut problems);
                }
                Content::Gpp(Err(_)) | Content::AdditionalConsent(_) | Content::UsPrivacy(_) => {}
            }
        }
        let mut alone = self.strings.iter().filter(|_| !has_tcf);
        if let Some(text) = alone.find(|text| matches!(text.content, Content::AdditionalConsent(_)))
        {
            let message = "it counts only beside a TC string, and there is none".to_owned();
            problems.push(Problem { code: "without_tcf", message, path: text.path.clone() });
        }
        if too_many(&signals.categories) {
            problems.push(Problem::unreadable("/categories".to_owned(), Unreadable::TooLong));
        }
        for (name, text) in [("gcs", &signals.gcs), ("gcd", &signals.gcd)] {
            if let Some(Err(error)) = text.as_deref().map(|text| consent_mode::evidence(name, text))
            {
                problems.push(Problem::unreadable(format!("/{name}"), error));
            }
        }
        self.problems.extend(problems);
    }
}

/// Cookies that hold an answer, with their paths.
fn answered(cookies: &[cmp::Reading]) -> impl Iterator<Item = (String, &Choices)> {
    cookies.iter().filter_map(|reading| {
        let choices = reading.choices.as_ref().ok().filter(|choices| choices.answered)?;
        Some((format!("/cookies/{}", reading.source), choices))
    })
}

fn void(path: &str, tcf: &Tcf) -> Option<Problem> {
    let void = tcf.void()?;
    let message = format!("it permits nothing: {void}");
    Some(Problem { code: void.code(), message, path: path.to_owned() })
}

fn sections(gpp: &Gpp, gpp_sid: &[u32], problems: &mut Vec<Problem>) {
    for section in &gpp.sections {
        let name = gpp::section_name(section.id).map_or(section.id.to_string(), str::to_owned);
        let path = format!("/gpp/{name}");
        match &section.content {
            Ok(gpp::Content::Tcf(tcf)) => problems.extend(void(&path, tcf)),
            Ok(_) => {}
            Err(error) => problems.push(Problem::unreadable(path, *error)),
        }
    }
    let has = |id: u32| gpp.sections.iter().any(|section| u32::from(section.id) == id);
    for id in gpp_sid.iter().filter(|id| !has(**id)) {
        problems.push(Problem {
            code: "section_missing",
            message: format!("section {id} applies and is not there, so all that are there apply"),
            path: "/gpp_sid".to_owned(),
        });
    }
}

fn too_many(choices: &[(String, bool)]) -> bool {
    choices.iter().map(|(id, _)| id.len() + 1).sum::<usize>() > MAX_BYTES
}

// === what it says ===

impl Seen {
    /// The TC string and the GPP string that were decided on, as they came, for platforms that take
    /// them. Of two that differ neither: only both together say what was decided on. None that cannot
    /// be read, and no TC string that the rules do not hear.
    pub fn own_strings(&self, signals: &Signals, rules: &Rules) -> [Option<&str>; 2] {
        let is_off = rules.trust_gdpr_applies && signals.gdpr_applies == Some(false);
        let only = |wanted: fn(&Content) -> Option<bool>| {
            let mut texts = self
                .strings
                .iter()
                .filter_map(|text| Some((wanted(&text.content)?, text.raw.as_str())));
            texts.next().filter(|_| texts.next().is_none()).and_then(|(ok, raw)| ok.then_some(raw))
        };
        let tcf = only(|content| match content {
            Content::Tcf(tcf) => Some(tcf.is_ok()),
            Content::Gpp(_) | Content::AdditionalConsent(_) | Content::UsPrivacy(_) => None,
        });
        let gpp = only(|content| match content {
            Content::Gpp(gpp) => Some(gpp.is_ok()),
            Content::Tcf(_) | Content::AdditionalConsent(_) | Content::UsPrivacy(_) => None,
        });
        [tcf.filter(|_| !is_off), gpp]
    }

    /// What the signals say, before any rule, and whether a GPP section is about a known child.
    pub(super) fn said(&self, signals: &Signals, region: &Region) -> (Said, bool) {
        let mut voices = Voices(Vec::new());
        let mut child = false;
        if Purpose::ALL.iter().any(|(p, _)| signals.grants.get(*p) != Grant::NotAsked) {
            voices.say(CONSENT_MODE, Says::Purposes(signals.grants));
        }
        for (name, text) in [("gcs", &signals.gcs), ("gcd", &signals.gcd)] {
            let Some(text) = text else { continue };
            // Evidence alone grants nothing, so that what cannot be read of it denies nothing.
            if let Ok(evidence) = consent_mode::evidence(name, text) {
                let denials = instead_of_grants(evidence.grants, Grant::NotAsked);
                if denials != Grants::default() {
                    voices.say(name, Says::Purposes(denials));
                }
                if evidence.gpc {
                    voices.say(name, Says::Gpc);
                }
            }
        }
        for framework in self.frameworks() {
            let (all, vendor) = (framework.grants(), Grants::default());
            let european = framework.is_european();
            voices.say(framework.source, Says::Tcf { all, vendor, european });
        }
        for text in &self.strings {
            match &text.content {
                Content::AdditionalConsent(_) => {
                    if self.frameworks().any(|framework| framework.is_european()) {
                        voices.say("additional_consent", Says::Providers);
                    }
                }
                Content::Gpp(Ok(gpp)) => {
                    let us = gpp.us_choices(&self.gpp_sid, may_be_california(region));
                    child |= us.child;
                    voices.us(us);
                }
                Content::Gpp(Err(_)) => {
                    // It may hold an opt-out as well as a refusal.
                    voices.say("gpp", Says::Purposes(REFUSED));
                    voices.us(gpp::unreadable());
                }
                Content::UsPrivacy(us) => {
                    // What cannot be read may be an opt-out.
                    let california = may_be_california(region);
                    let sale = us.as_ref().map_or(true, |us| us.opts_out(california));
                    voices.say("us_privacy", Says::OptOut([sale, false, false], false));
                }
                Content::Tcf(_) => {}
            }
        }
        choices_say(signals, &mut voices);
        for reading in &self.cookies {
            cookie_says(reading, &mut voices);
        }
        let out = signals.opt_out;
        let claims = [out.sale, out.sharing, out.targeted].map(|claim| claim == Some(true));
        if claims.contains(&true) {
            voices.say("opt_out", Says::OptOut(claims, false));
        }
        if signals.gpc == Some(true) {
            voices.say("gpc", Says::Gpc);
        }
        let said = Said {
            voices: voices.0,
            gdpr_applies: signals.gdpr_applies,
            ids: VendorIds::default(),
        };
        (said, child)
    }

    /// The same, with what the strings say to the vendor of these ids.
    pub(super) fn for_vendor(&self, said: &Said, ids: VendorIds) -> Said {
        let mut frameworks = self.frameworks();
        let mut said = Said { ids, ..said.clone() };
        for voice in &mut said.voices {
            if let Says::Tcf { vendor, .. } = &mut voice.says
                && let Some(framework) = frameworks.next()
            {
                *vendor = self.vendor_grants(&framework, ids);
            }
        }
        said
    }

    fn vendor_grants(&self, framework: &Framework<'_>, ids: VendorIds) -> Grants {
        let mut grants = match ids.tcf {
            Some(vendor) => framework.vendor_grants(vendor),
            None => framework.grants(),
        };
        let mut providers = self.strings.iter().filter_map(|text| match &text.content {
            Content::AdditionalConsent(list) => Some(list.as_ref().ok()),
            Content::Tcf(_) | Content::Gpp(_) | Content::UsPrivacy(_) => None,
        });
        // Google's list has the providers that IAB's has not; it goes with European strings.
        match ids.ac.filter(|_| framework.is_european()) {
            Some(provider) => {
                let (mut came, mut allowed) = (false, true);
                for list in &mut providers {
                    came = true;
                    allowed &= list.is_some_and(|list| list.allows(provider));
                }
                if came && !allowed {
                    grants = instead_of_grants(grants, Grant::Denied);
                } else if !came && ids.tcf.is_none() {
                    grants = instead_of_grants(grants, Grant::NotAsked);
                }
            }
            None if ids.tcf.is_none() => grants = instead_of_grants(grants, Grant::NotAsked),
            None => {}
        }
        grants
    }

    /// TC strings, of their own and as sections of GPP strings that apply, in the order of their
    /// voices.
    fn frameworks(&self) -> impl Iterator<Item = Framework<'_>> {
        self.strings.iter().flat_map(|text| {
            let own = match &text.content {
                Content::Tcf(tcf) => {
                    let tcf = Law::Europe(tcf.as_deref().ok());
                    Some(Framework { source: "tcf", law: tcf })
                }
                Content::Gpp(_) | Content::AdditionalConsent(_) | Content::UsPrivacy(_) => None,
            };
            let gpp = match &text.content {
                Content::Gpp(Ok(gpp)) => Some(gpp),
                _ => None,
            };
            let sections = gpp.into_iter().flat_map(|gpp| gpp.applying(&self.gpp_sid));
            own.into_iter().chain(sections.filter_map(Framework::of))
        })
    }
}

/// A TC string that was decoded or not.
struct Framework<'s> {
    source: &'static str,
    law: Law<'s>,
}

enum Law<'s> {
    Europe(Option<&'s Tcf>),
    Canada(Option<&'s TcfCanada>),
}

impl<'s> Framework<'s> {
    fn of(section: &'s gpp::Section) -> Option<Self> {
        let law = match (section.id, &section.content) {
            (2, Ok(gpp::Content::Tcf(tcf))) => Law::Europe(Some(tcf)),
            (2, _) => Law::Europe(None),
            (5, Ok(gpp::Content::TcfCanada(tcf))) => Law::Canada(Some(tcf)),
            (5, _) => Law::Canada(None),
            _ => return None,
        };
        let source = match law {
            Law::Europe(_) => "gpp:tcfeuv2",
            Law::Canada(_) => "gpp:tcfcav1",
        };
        Some(Self { source, law })
    }

    fn is_european(&self) -> bool {
        matches!(self.law, Law::Europe(_))
    }

    fn grants(&self) -> Grants {
        match self.law {
            Law::Europe(Some(tcf)) => tcf.grants(),
            Law::Canada(Some(tcf)) => tcf.grants(),
            Law::Europe(None) | Law::Canada(None) => REFUSED,
        }
    }

    fn vendor_grants(&self, vendor: u16) -> Grants {
        match self.law {
            Law::Europe(Some(tcf)) => tcf.vendor_grants(vendor),
            Law::Canada(Some(tcf)) => tcf.vendor_grants(vendor),
            Law::Europe(None) | Law::Canada(None) => REFUSED,
        }
    }
}

/// What signals say, as it is collected.
struct Voices(Vec<Voice>);

impl Voices {
    fn say(&mut self, source: &str, says: Says) {
        self.0.push(Voice { source: source.to_owned(), says });
    }

    /// Every section by itself, so that the record tells which of them opted out.
    fn us(&mut self, us: gpp::UsChoices) {
        for (source, out) in us.sections {
            self.0.push(Voice { source, says: Says::OptOut(out, us.service_provider_only) });
        }
    }

    fn choices(&mut self, source: &str, choices: &[(String, bool)]) {
        if !choices.is_empty() {
            self.say(source, Says::Categories(choices.to_vec()));
        }
    }
}

/// The categories of the event itself; those of Shopify's privacy API under its name.
fn choices_say(signals: &Signals, voices: &mut Voices) {
    if too_many(&signals.categories) {
        voices.say("categories", Says::Purposes(REFUSED));
        return;
    }
    let (shop, others): (Vec<_>, Vec<_>) = signals
        .categories
        .iter()
        .filter(|(id, _)| !categories::is_for_email(id))
        .cloned()
        .partition(|(id, _)| categories::is_of_shop(id));
    voices.choices("categories", &others);
    voices.choices("shopify", &shop);
    if shop.iter().any(|(id, allowed)| id == categories::SALE_OF_DATA && !allowed) {
        voices.say("shopify", Says::OptOut([true, false, false], false));
    }
}

/// A cookie: its categories and GPC where the visitor answered. What it carries of other frameworks
/// is read with theirs.
fn cookie_says(reading: &cmp::Reading, voices: &mut Voices) {
    let Ok(choices) = &reading.choices else {
        return voices.say(reading.source, Says::Purposes(REFUSED));
    };
    if choices.answered {
        voices.choices(reading.source, &choices.categories);
    }
    if choices.gpc {
        voices.say(reading.source, Says::Gpc);
    }
}

/// In California "did not opt out" without notice says nothing; a region without its state may be
/// California.
fn may_be_california(region: &Region) -> bool {
    matches!(region.as_deref(), None | Some("US" | "US-CA"))
}
