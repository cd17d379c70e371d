//! Where it happened: `context`, and what page URLs say of clicks and campaigns.

use std::{borrow::Cow, net::IpAddr, sync::LazyLock};

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::{
    Rejection, WarningCode, consent,
    json::Node,
    native::Draft,
    person::Group,
    properties::free,
    typed::{self, Path},
};
use crate::event::Field;

static CONTEXT: LazyLock<Group> = LazyLock::new(|| Group::below("context"));
static CAMPAIGN: LazyLock<Group> = LazyLock::new(|| Group::below("context.campaign"));
static APP: LazyLock<Group> = LazyLock::new(|| Group::below("context.app"));

/// The parameters with which platforms mark a click on a landing page's URL, by their vendors'
/// pages (sheets of 2026-11-22), compared without regard to case; the value's case is kept.
const CLICK_PARAMETERS: [(&str, Field); 20] = [
    ("gclid", Field::Gclid),
    ("gbraid", Field::Gbraid),
    ("wbraid", Field::Wbraid),
    ("dclid", Field::Dclid),
    ("fbclid", Field::Fbclid),
    ("ctwa_clid", Field::CtwaClid),
    ("msclkid", Field::Msclkid),
    ("ttclid", Field::Ttclid),
    ("twclid", Field::Twclid),
    ("li_fat_id", Field::LiFatId),
    ("sccid", Field::Sccid),
    ("epik", Field::Epik),
    ("rdt_cid", Field::RdtCid),
    ("amzn_click_id", Field::AmznClickId),
    ("oppref", Field::Oppref),
    ("qclid", Field::Qclid),
    ("tblci", Field::Tblci),
    ("ob_click_id", Field::ObClickId),
    ("outbrainclickid", Field::ObClickId),
    ("dicbo", Field::ObClickId),
];

const CAMPAIGN_PARAMETERS: [(&str, Field); 5] = [
    ("utm_source", Field::CampaignSource),
    ("utm_medium", Field::CampaignMedium),
    ("utm_campaign", Field::CampaignName),
    ("utm_term", Field::CampaignTerm),
    ("utm_content", Field::CampaignContent),
];

pub(super) fn context(draft: &mut Draft<'_>, node: &Node<'_>) -> Result<(), Rejection> {
    let context = Path::Root.key("context");
    let mut links = [None, None];
    let mut claimed_ip = None;
    for (key, node) in typed::object(node, &context)? {
        let path = context.key(key);
        match (key.as_ref(), CONTEXT.find(key)) {
            ("campaign", _) => part(draft, &CAMPAIGN, "campaign", node, &path)?,
            ("app", _) => part(draft, &APP, "app", node, &path)?,
            (_, Some(Field::Ip)) => claimed_ip = typed::text(node, &path)?,
            (_, Some(field @ (Field::PageUrl | Field::Referrer | Field::LandingPage))) => {
                let Some(url) = typed::text(node, &path)? else { continue };
                match field {
                    Field::PageUrl => links[0] = Some(url),
                    Field::LandingPage => links[1] = Some(url),
                    _ => {}
                }
                let url = draft.url(url);
                draft.put(field, &url);
            }
            (_, Some(field)) => {
                let text = if field == Field::SessionId {
                    typed::id(node, &path)?
                } else {
                    typed::text(node, &path)?
                };
                if let Some(text) = text {
                    let text = draft.technical_text(text);
                    draft.put(field, &text);
                }
            }
            (_, None) => {
                if let Some(choices) = consent::from_context(key, node, &path)? {
                    draft.event.consent.categories.extend(choices);
                } else if let Some(value) = free(draft, node, &path)? {
                    let key = draft.free_text(key);
                    draft.event.other_context.insert(key, value);
                }
            }
        }
    }
    connection(draft, claimed_ip);
    put_others(draft);
    for url in links.into_iter().flatten() {
        read_link(draft, url);
    }
    Ok(())
}

/// What has no field of its own, as webhooks take it.
fn put_others(draft: &mut Draft<'_>) {
    let mut others = draft.event.other_context.clone();
    let experiment = others.remove("experiment");
    for (field, value) in [
        (Field::Experiment, experiment),
        (Field::OtherContext, Some(others).filter(|o| !o.is_empty()).map(Value::Object)),
    ] {
        if let Some(value) = value {
            draft.put(field, &value.to_string());
        }
    }
}

/// The visitor's address and browser. A browser shows them itself and cannot claim others; of a
/// backend's connection nothing is the visitor's.
fn connection(draft: &mut Draft<'_>, claimed_ip: Option<&str>) {
    if draft.door.is_browser() {
        if claimed_ip.is_some() {
            let message =
                "context.ip is not believed from a browser: the connection's address counts";
            draft.warn(WarningCode::Ignored, message);
        }
        if let Some(address) = draft.door.address {
            draft.put(Field::Ip, &address.to_string());
        }
        if let (None, Some(agent)) =
            (draft.event.texts.first(Field::UserAgent), draft.door.user_agent)
        {
            let agent = draft.technical_text(agent);
            draft.put(Field::UserAgent, &agent);
        }
    } else if let Some(ip) = claimed_ip {
        match ip.trim().parse::<IpAddr>() {
            Ok(address) => draft.put(Field::Ip, &address.to_canonical().to_string()),
            Err(_) => {
                let message = "context.ip is no IP address and was left out";
                draft.warn(WarningCode::IdentityDropped, message);
            }
        }
    }
}

/// `context.campaign` or `context.app`; keys without a field of their own are kept beside.
fn part(
    draft: &mut Draft<'_>,
    group: &Group,
    name: &str,
    node: &Node<'_>,
    path: &Path<'_>,
) -> Result<(), Rejection> {
    let mut rest = Map::new();
    for (key, node) in typed::object(node, path)? {
        let path = path.key(key);
        let Some(field) = group.find(key) else {
            if let Some(value) = free(draft, node, &path)? {
                rest.insert(draft.free_text(key), value);
            }
            continue;
        };
        if let Some(text) = typed::text(node, &path)? {
            let text =
                if name == "campaign" { draft.free_text(text) } else { draft.technical_text(text) };
            draft.put(field, &text);
        }
    }
    if !rest.is_empty() {
        draft.event.other_context.insert(name.to_owned(), Value::Object(rest));
    }
    Ok(())
}

/// Takes click ids and campaign parameters from a URL's query, where the event itself has none.
fn read_link(draft: &mut Draft<'_>, url: &str) {
    let url = url.split_once('#').map_or(url, |(before, _)| before);
    let Some((_, query)) = url.split_once('?') else { return };
    for parameter in query.split('&') {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let named = |list: &[(&str, Field)]| {
            list.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, field)| *field)
        };
        if let Some(field) = named(&CLICK_PARAMETERS) {
            if draft.event.texts.first(field).is_none() {
                let value = decoded(value);
                draft.put(field, value.trim());
            }
        } else if let Some(field) = named(&CAMPAIGN_PARAMETERS)
            && draft.event.texts.first(field).is_none()
        {
            let value = draft.parameter(name, &decoded(&value.replace('+', " ")));
            draft.put(field, value.trim());
        }
    }
}

fn decoded(value: &str) -> Cow<'_, str> {
    percent_decode_str(value).decode_utf8_lossy()
}
