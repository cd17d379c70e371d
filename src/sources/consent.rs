//! The `consent` object, as it came. What the signals amount to is decided elsewhere; here they
//! are only read, and what a browser says of its own region is not believed.

use super::{
    Door, Rejection, Warning, WarningCode,
    json::Node,
    moment,
    typed::{self, Path},
};
use crate::consent::{Grant, OptOutClaim, Purpose, Signals};

pub(super) const FIELDS: [&str; 23] = [
    "ad_storage",
    "ad_user_data",
    "ad_personalization",
    "analytics_storage",
    "tcf",
    "additional_consent",
    "gpp",
    "gpp_sid",
    "us_privacy",
    "gpc",
    "gcs",
    "gcd",
    "categories",
    "cookies",
    "opt_out",
    "gdpr_applies",
    "dnt",
    "region",
    "id",
    "collected_at",
    "method",
    "text_version",
    "language",
];

/// Reads a consent object that stands on its own; paths are as in an event.
pub fn object(node: &Node<'_>, door: &Door<'_>) -> Result<Signals, Rejection> {
    match node {
        Node::Object(_) => signals(node, door, &mut Vec::new()),
        Node::Flawed(flaw) => Err(Path::Root.key("consent").flawed(flaw)),
        other => {
            let message = format!("expected a consent object, not {}", other.kind());
            Err(Path::Root.key("consent").invalid(message))
        }
    }
}

/// Categories that the SDKs of others put into `context`: Segment's `consent.categoryPreferences`,
/// RudderStack's `consentManagement`. `None`: it is none of these.
///
/// <https://www.twilio.com/docs/segment/privacy/consent-management/consent-in-segment-connections>,
/// <https://www.rudderstack.com/docs/data-governance/consent-management/> (checked 2026-11-22).
pub(super) fn from_context(
    key: &str,
    node: &Node<'_>,
    path: &Path<'_>,
) -> Result<Option<Vec<(String, bool)>>, Rejection> {
    match (key, node) {
        ("consent", Node::Object(_)) => match node.get("categoryPreferences") {
            Some(preferences) => {
                categories(preferences, &path.key("categoryPreferences")).map(Some)
            }
            None => Ok(None),
        },
        ("consentManagement", Node::Object(_)) => {
            let mut choices = Vec::new();
            for (name, allowed) in [("allowedConsentIds", true), ("deniedConsentIds", false)] {
                let path = path.key(name);
                if let Some(Node::Object(ids)) = node.get(name) {
                    // Some consent platforms name their ids: `{"C0002": "Analytics"}`.
                    choices.extend(ids.iter().map(|(id, said)| {
                        (id.as_ref().to_owned(), allowed && *said != Node::Bool(false))
                    }));
                    continue;
                }
                let ids = typed::list(node.get(name).unwrap_or(&Node::Null), &path)?;
                for (i, id) in ids.iter().enumerate() {
                    if let Some(id) = typed::text(id, &Path::Index(&path, i))? {
                        choices.push((id.to_owned(), allowed));
                    }
                }
            }
            Ok(Some(choices))
        }
        _ => Ok(None),
    }
}

/// Reads the signals. `Sec-GPC` counts for browsers only: a backend's header is the backend's.
pub(super) fn signals(
    node: &Node<'_>,
    door: &Door<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<Signals, Rejection> {
    let consent = Path::Root.key("consent");
    let mut signals = Signals::default();
    for (key, node) in typed::object(node, &consent)? {
        let path = consent.key(key);
        let text =
            || Ok::<_, Rejection>(typed::text(node, &path)?.map(|text| text.trim().to_owned()));
        match key.as_ref() {
            "tcf" => signals.tcf = text()?,
            "additional_consent" => signals.additional_consent = text()?,
            "gpp" => signals.gpp = text()?,
            "gpp_sid" => signals.gpp_sid = sections(node, &path)?,
            "us_privacy" => signals.us_privacy = text()?,
            "gpc" => signals.gpc = typed::flag(node, &path)?,
            "gcs" => signals.gcs = text()?,
            "gcd" => signals.gcd = text()?,
            "categories" => signals.categories = categories(node, &path)?,
            "cookies" => signals.cookies = cookies(node, &path)?,
            "opt_out" => signals.opt_out = opt_out(node, &path)?,
            "gdpr_applies" => signals.gdpr_applies = typed::flag(node, &path)?,
            "dnt" => signals.dnt = typed::flag(node, &path)?,
            "region" => signals.region = text()?,
            "id" => signals.id = typed::id(node, &path)?.map(str::to_owned),
            "collected_at" => signals.collected_at = moment::moment(node, &path)?,
            "method" => signals.method = text()?,
            "text_version" => signals.text_version = typed::id(node, &path)?.map(str::to_owned),
            "language" => signals.language = text()?,
            other => match Purpose::parse(other) {
                Some(purpose) => *signals.grants.get_mut(purpose) = grant(node, &path)?,
                None => return Err(typed::unknown(&path, key, FIELDS.into_iter())),
            },
        }
    }
    if door.is_browser() {
        if signals.region.take().is_some() {
            let message =
                "consent.region is not believed from a browser: headers and address count";
            warnings.push(Warning::new(WarningCode::Ignored, message));
        }
        if door.sec_gpc {
            signals.gpc = Some(true);
        }
    }
    Ok(signals)
}

fn grant(node: &Node<'_>, path: &Path<'_>) -> Result<Grant, Rejection> {
    match typed::text(node, path)?.map(str::trim) {
        None => Ok(Grant::NotAsked),
        Some("granted") => Ok(Grant::Granted),
        Some("denied") => Ok(Grant::Denied),
        Some(_) => {
            Err(path.invalid("expected \"granted\" or \"denied\"; leave out what was not asked"))
        }
    }
}

/// `true` means all three.
fn opt_out(node: &Node<'_>, path: &Path<'_>) -> Result<OptOutClaim, Rejection> {
    if let Node::Bool(value) = node {
        let all = Some(*value);
        return Ok(OptOutClaim { sale: all, sharing: all, targeted: all });
    }
    let mut claim = OptOutClaim::default();
    for (key, node) in typed::object(node, path)? {
        let path = path.key(key);
        let place = match key.as_ref() {
            "sale" => &mut claim.sale,
            "sharing" => &mut claim.sharing,
            "targeted" => &mut claim.targeted,
            _ => {
                return Err(typed::unknown(
                    &path,
                    key,
                    ["sale", "sharing", "targeted"].into_iter(),
                ));
            }
        };
        *place = typed::flag(node, &path)?;
    }
    Ok(claim)
}

/// Section ids; the framework's `-1` (none applies) names no section.
fn sections(node: &Node<'_>, path: &Path<'_>) -> Result<Vec<u32>, Rejection> {
    let mut sections = Vec::new();
    for (i, node) in typed::list(node, path)?.iter().enumerate() {
        let number = match node {
            Node::Number(number) => number.parse::<i64>().ok(),
            _ => None,
        };
        match number.map(u32::try_from) {
            Some(Ok(section)) => sections.push(section),
            Some(Err(_)) if number == Some(-1) => {}
            _ => return Err(Path::Index(path, i).invalid("expected the number of a GPP section")),
        }
    }
    Ok(sections)
}

fn categories(node: &Node<'_>, path: &Path<'_>) -> Result<Vec<(String, bool)>, Rejection> {
    let mut categories = Vec::new();
    for (key, node) in typed::object(node, path)? {
        if let Some(allowed) = typed::flag(node, &path.key(key))? {
            categories.push((key.as_ref().to_owned(), allowed));
        }
    }
    Ok(categories)
}

fn cookies(node: &Node<'_>, path: &Path<'_>) -> Result<Vec<(String, String)>, Rejection> {
    let mut cookies = Vec::new();
    for (key, node) in typed::object(node, path)? {
        if let Some(value) = typed::text(node, &path.key(key))? {
            cookies.push((key.as_ref().to_owned(), value.to_owned()));
        }
    }
    Ok(cookies)
}
