//! What a decision rests on, for the decision log: whose it is, which signals were seen as they came
//! and what they decoded to, under which configuration, which fields go to whom. With the trace
//! record beside it, it is everything that the log says of an event.
//!
//! No clear identity: people are keyed hashes, fields are names, and texts that a sender wrote are
//! scrubbed and cut. Strings of frameworks stand as they came.

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Street, Verdict, slot};
use crate::{
    consent::{
        Content, Grant, Grants, Model, OptOutClaim, Purpose, Seen, Signals, gpp,
        memory::{Choice, Word},
        tcf::Tcf,
    },
    event::Field,
    identity::scrub_text,
    job::{Decided, Fate},
    queue::IdHash,
};

/// The grounds of an event's decisions. A new shape is a new variant. Written and read with borrowed
/// texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Grounds<S = String> {
    /// The first shape.
    V1(GroundsV1<S>),
}

/// See [`Grounds`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroundsV1<S = String> {
    /// Within which consent stays.
    pub controller: S,
    /// Hash of the configuration.
    pub config: S,
    /// The person's subject keys.
    pub subjects: Vec<IdHash>,
    /// The law's logic where the person is.
    pub model: Model,
    /// A minor.
    pub minor: bool,
    /// When the remembered choice was made that spoke, epoch milliseconds.
    pub remembered_ms: Option<i64>,
    /// What came.
    pub signals: Signalled<S>,
    /// What is wrong with it: code and place.
    pub problems: Vec<(S, S)>,
    /// One a decision, in the order of the trace record: slot, own grants, and the fields that go
    /// (besides name, id, time and consent fields, which always do).
    pub decisions: Vec<(u32, Option<Grants>, Vec<Field>)>,
}

/// Signals as they came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signalled<S = String> {
    /// Strings of frameworks, also those in cookies.
    pub strings: Vec<SeenText>,
    /// The GPP sections that the site says apply.
    pub gpp_sid: Vec<u32>,
    /// Consent Mode's four fields.
    pub consent_mode: Grants,
    /// `gcs` and `gcd`.
    pub evidence: [Option<String>; 2],
    /// Global Privacy Control, Do Not Track, whether GDPR applies.
    pub flags: [Option<bool>; 3],
    /// Opt-outs of sale, sharing, targeting.
    pub opt_out: [Option<bool>; 3],
    /// A consent platform's categories.
    pub categories: Vec<(String, bool)>,
    /// Cookies of consent platforms that were read, by source; `false`: not readable.
    pub cookies: Vec<(S, bool)>,
    /// `id`, `collected_at`, `method`, `text_version`, `language`.
    pub choice: [Option<String>; 5],
}

/// A string of a framework, for the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenText {
    /// JSON pointer to it within the consent object.
    pub path: String,
    /// As it came, at most so much of it as is ever decoded.
    pub raw: String,
    /// Of a TC string: the consent platform's id and version, the vendor list's version.
    pub tcf: Option<[u16; 3]>,
}

impl<'a> Grounds<&'a str> {
    /// Reads grounds of any version.
    pub fn read(bytes: &'a [u8]) -> Option<GroundsV1<&'a str>> {
        let Grounds::V1(grounds) = postcard::from_bytes(bytes).ok()?;
        Some(grounds)
    }
}

impl<S: AsRef<str>> Signalled<S> {
    /// What came, under the names of the event's own `consent` object; what did not is not there.
    pub fn shown(&self) -> impl Serialize + '_ {
        Shown::of(self)
    }
}

/// What the decision log says of something that somebody decided about a person: `act` (`choice`,
/// `withdrawal`, `erasure`), `by` (the name of the key or token), and what there is to add.
pub fn act(
    act: &str,
    (site, controller): (&str, &str),
    subjects: &[IdHash],
    by: &str,
    more: Map<String, Value>,
) -> Vec<u8> {
    let hex = |key: &IdHash| HEXLOWER.encode(key);
    let mut words = more;
    words.insert("act".to_owned(), json!(act));
    words.insert("site".to_owned(), json!(site));
    words.insert("controller".to_owned(), json!(controller));
    words.insert("subjects".to_owned(), subjects.iter().map(hex).collect());
    words.insert("by".to_owned(), json!(by));
    Value::Object(words).to_string().into_bytes()
}

/// What a choice says, and what it came from.
pub(super) fn of_choice(choice: &Choice, signals: &Signals, seen: &Seen) -> Map<String, Value> {
    let time = |ms: Option<i64>| ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let word = |(name, word): (&'static str, Word)| {
        let said = json!({
            "granted_at": time(word.yes_ms).map(|at| at.to_string()),
            "refused_at": time(word.no_ms).map(|at| at.to_string()),
        });
        (name.to_owned(), said)
    };
    let mut words = Map::new();
    words.insert("choice".to_owned(), Value::Object(choice.spoken().map(word).collect()));
    let came = signalled(signals, seen);
    words.insert("signals".to_owned(), json!(Shown::of(&came)));
    words
}

/// About what they take: they are written without growing.
const USUAL_BYTES: usize = 1024;
/// Texts that a sender wrote are cut after so many characters.
const TEXT_LENGTH: usize = 200;
/// A string that cannot be read is cut after so many.
const UNREADABLE_LENGTH: usize = 4096;
/// More categories than any consent platform has.
const MOST_CATEGORIES: usize = 100;

pub(super) fn encode(verdict: &Verdict, street: &Street<'_>) -> Vec<u8> {
    let event = &verdict.event;
    let site = street.config.sites.get(&event.site);
    let decisions = verdict.parts.iter().flat_map(|part| &part.decisions);
    let remembers = verdict.state.sources.iter().any(|s| s == crate::consent::memory::MEMORY);
    let problems = verdict.seen.problems.iter();
    let grounds = Grounds::V1(GroundsV1 {
        controller: site.map_or(event.site.as_str(), |site| site.controller.as_str()),
        config: street.config.hash.as_str(),
        subjects: verdict.subjects.clone(),
        model: verdict.model,
        minor: verdict.state.minor,
        remembered_ms: remembers.then_some(verdict.state.at_ms),
        signals: signalled(&event.consent, &verdict.seen),
        problems: problems.map(|problem| (problem.code, problem.path.as_str())).collect(),
        decisions: decisions
            .map(|one| (slot(&one.event, one.entry), one.grants, fields(one)))
            .collect(),
    });
    postcard::to_extend(&grounds, Vec::with_capacity(USUAL_BYTES)).unwrap_or_default()
}

fn fields(decided: &Decided) -> Vec<Field> {
    match &decided.fate {
        Fate::Send(prepared) | Fate::Shadow(prepared) => prepared.present().iter().collect(),
        Fate::Held(_) | Fate::Skip(_) => Vec::new(),
    }
}

fn signalled<'a>(signals: &'a Signals, seen: &'a Seen) -> Signalled<&'a str> {
    let OptOutClaim { sale, sharing, targeted } = signals.opt_out;
    let clean = |text: &Option<String>| text.as_deref().map(clean);
    Signalled {
        strings: seen.strings.iter().map(text).collect(),
        gpp_sid: seen.gpp_sid.iter().copied().take(MOST_CATEGORIES).collect(),
        consent_mode: signals.grants,
        evidence: [clean(&signals.gcs), clean(&signals.gcd)],
        flags: [signals.gpc, signals.dnt, signals.gdpr_applies],
        opt_out: [sale, sharing, targeted],
        categories: signals
            .categories
            .iter()
            .take(MOST_CATEGORIES)
            .map(|(name, allowed)| (self::clean(name), *allowed))
            .collect(),
        cookies: seen.cookies.iter().map(|one| (one.source, one.choices.is_ok())).collect(),
        choice: [
            clean(&signals.id),
            clean(&signals.collected_at),
            clean(&signals.method),
            clean(&signals.text_version),
            clean(&signals.language),
        ],
    }
}

/// What was decoded is what its grammar allows; what was not may be anything.
fn text(text: &crate::consent::Text) -> SeenText {
    let tcf = |tcf: &Tcf| [tcf.cmp_id, tcf.cmp_version, tcf.vendor_list_version];
    let (is_read, tcf) = match &text.content {
        Content::Tcf(content) => (content.is_ok(), content.as_deref().ok().map(tcf)),
        Content::AdditionalConsent(content) => (content.is_ok(), None),
        Content::UsPrivacy(content) => (content.is_ok(), None),
        Content::Gpp(content) => {
            let section =
                content.as_ref().ok().and_then(gpp::Gpp::tcf).and_then(Result::ok).map(tcf);
            (content.is_ok(), section)
        }
    };
    let raw = if is_read {
        text.raw.clone()
    } else {
        let cut: String = text.raw.chars().take(UNREADABLE_LENGTH).collect();
        scrub_text(&cut, None).text
    };
    SeenText { path: text.path.clone(), raw, tcf }
}

fn clean(text: &str) -> String {
    let cut: String = text.chars().take(TEXT_LENGTH).collect();
    scrub_text(&cut, None).text
}

/// Signals as the record shows them: what did not come is not there.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    strings: Vec<ShownText<'a>>,
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    gpp_sid: &'a [u32],
    #[serde(skip_serializing_if = "Named::is_empty")]
    consent_mode: Named<&'static str, Grant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gcs: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gcd: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gpc: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dnt: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gdpr_applies: Option<bool>,
    #[serde(skip_serializing_if = "Named::is_empty")]
    opt_out: Named<&'static str, bool>,
    #[serde(skip_serializing_if = "Named::is_empty")]
    categories: Named<&'a str, bool>,
    #[serde(skip_serializing_if = "Named::is_empty")]
    cookies_read: Named<&'a str, bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collected_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'a str>,
}

#[derive(Serialize)]
struct ShownText<'a> {
    path: &'a str,
    raw: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmp_id: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmp_version: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor_list_version: Option<u16>,
}

/// An object by its members, in order.
struct Named<K, V>(Vec<(K, V)>);

impl<K, V> Named<K, V> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Serialize, V: Serialize> Serialize for Named<K, V> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'a> Shown<'a> {
    fn of<S: AsRef<str>>(came: &'a Signalled<S>) -> Self {
        let strings = came.strings.iter().map(|text| ShownText {
            path: &text.path,
            raw: &text.raw,
            cmp_id: text.tcf.map(|[id, _, _]| id),
            cmp_version: text.tcf.map(|[_, version, _]| version),
            vendor_list_version: text.tcf.map(|[_, _, list]| list),
        });
        let asked =
            Purpose::ALL.iter().map(|(purpose, name)| (*name, came.consent_mode.get(*purpose)));
        let claims = ["sale", "sharing", "targeted"].into_iter().zip(came.opt_out);
        let [gcs, gcd] = came.evidence.each_ref().map(Option::as_deref);
        let [gpc, dnt, gdpr_applies] = came.flags;
        let [id, collected_at, method, text_version, language] =
            came.choice.each_ref().map(Option::as_deref);
        Self {
            strings: strings.collect(),
            gpp_sid: &came.gpp_sid,
            consent_mode: Named(asked.filter(|(_, grant)| *grant != Grant::NotAsked).collect()),
            gcs,
            gcd,
            gpc,
            dnt,
            gdpr_applies,
            opt_out: Named(claims.filter_map(|(name, claim)| Some((name, claim?))).collect()),
            categories: Named(
                came.categories.iter().map(|(name, on)| (name.as_str(), *on)).collect(),
            ),
            cookies_read: Named(
                came.cookies.iter().map(|(name, read)| (name.as_ref(), *read)).collect(),
            ),
            id,
            collected_at,
            method,
            text_version,
            language,
        }
    }
}
