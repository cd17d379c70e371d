//! What a cell's text is as the value of a field: times, amounts, yes and no in the form of the
//! relay's own events. What is unclear stays a text.

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{Timestamp, civil, fmt::strtime, tz::TimeZone};
use rust_decimal::Decimal;

use super::RowMap;
use crate::{event::Field, sources::json::Node};

/// Times that can be read in one way only; a map adds others. Slashes tell nobody whether the day or
/// the month comes first.
const FORMATS: [&str; 8] = [
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%Y-%m-%d",
    "%d.%m.%Y",
];
/// What may follow one: nothing, an offset, the name of a zone.
const ENDINGS: [&str; 6] = ["", "%z", "%:z", " %z", " %:z", " %Q"];

const TIMES: [&str; 5] =
    ["timestamp", "sent_at", "click_ids.clicked_at", "consent.collected_at", "adjusts.timestamp"];
const TRUTHS: [&str; 6] =
    ["test", "user.minor", "consent.gpc", "consent.opt_out", "consent.dnt", "consent.gdpr_applies"];
const PURPOSES: [&str; 4] = [
    "consent.ad_storage",
    "consent.ad_user_data",
    "consent.ad_personalization",
    "consent.analytics_storage",
];
const AMOUNTS: [&str; 8] = [
    "properties.value",
    "properties.tax",
    "properties.shipping",
    "properties.discount",
    "properties.cost",
    "properties.net_revenue",
    "properties.predicted_ltv",
    "adjusts.amount",
];

fn is_time(key: &str) -> bool {
    TIMES.contains(&key)
}

/// How the cells of a file are written.
#[derive(Debug)]
pub(super) struct Cells {
    zone: Option<TimeZone>,
    /// The map's own, in its order: of one text several may mean different times.
    own: Vec<String>,
    /// Those that can be read in one way only.
    known: Vec<String>,
    /// Which of them a row was written in: the next one is, too.
    last: AtomicUsize,
    decimal_comma: Option<bool>,
    /// The columns stand between semicolons, as programs write them where the comma is decimal.
    has_semicolons: bool,
}

impl Cells {
    pub(super) fn of(maps: &[&RowMap], zone: Option<TimeZone>) -> Self {
        let own = maps.iter().flat_map(|map| map.formats.iter());
        let known = FORMATS.iter().flat_map(|format| ENDINGS.iter().map(move |end| (format, end)));
        let known = known.map(|(format, end)| format!("{format}{end}"));
        Self {
            zone: maps.iter().find_map(|map| map.zone.clone()).or(zone),
            own: own.cloned().collect(),
            known: known.collect(),
            last: AtomicUsize::new(0),
            decimal_comma: maps.iter().find_map(|map| map.decimal_comma),
            has_semicolons: false,
        }
    }

    pub(super) fn separated_by(&mut self, separator: u8) {
        self.has_semicolons = separator == b';';
    }

    pub(super) fn has_zone(&self) -> bool {
        self.zone.is_some()
    }

    pub(super) fn set_zone(&mut self, zone: TimeZone) {
        self.zone.get_or_insert(zone);
    }

    /// The value of a field.
    pub(super) fn node(&self, key: &str, text: &str) -> Node<'static> {
        let written = || Node::Text(text.trim().to_owned().into());
        if is_time(key) {
            return self.time(text.trim()).unwrap_or_else(written);
        }
        if TRUTHS.contains(&key) {
            return truth(text).map_or_else(written, Node::Bool);
        }
        if PURPOSES.contains(&key) {
            return match text.trim().to_ascii_lowercase().as_str() {
                "unspecified" => Node::Null,
                word @ ("granted" | "denied") => Node::Text(word.to_owned().into()),
                word => match truth(word) {
                    Some(true) => Node::Text("granted".into()),
                    Some(false) => Node::Text("denied".into()),
                    None => written(),
                },
            };
        }
        if AMOUNTS.contains(&key) {
            return self.amount(text, self.decimal_comma).map_or_else(written, number);
        }
        if key == "properties.currency" {
            return Node::Text(text.trim().to_ascii_uppercase().into());
        }
        if key == "properties.items" {
            return serde_json::from_str(text)
                .map_or_else(|_| written(), |value: serde_json::Value| super::node(&value));
        }
        let is_free = key.starts_with("properties.") && Field::parse(key).is_none();
        match exact(text.trim()).filter(|_| is_free) {
            Some(amount) => number(amount),
            None => written(),
        }
    }

    /// RFC 3339, epoch seconds or milliseconds, or one of the formats.
    fn time(&self, text: &str) -> Option<Node<'static>> {
        if text.len() >= 9 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Node::Number(text.into()));
        }
        let moment = |time: Timestamp| Node::Text(time.to_string().into());
        if let Ok(time) = text.parse::<Timestamp>() {
            return Some(moment(time));
        }
        if let Some(found) = self.own.iter().find_map(|format| self.by(format, text)) {
            return Some(moment(found));
        }
        let last = self.last.load(Ordering::Relaxed);
        let places = std::iter::once(last).chain(0..self.known.len());
        for place in places {
            let found = self.known.get(place).and_then(|format| self.by(format, text));
            if let Some(found) = found {
                self.last.store(place, Ordering::Relaxed);
                return Some(moment(found));
            }
        }
        None
    }

    /// Why a field's text stayed one, and what to do, where that is known.
    pub(super) fn readable(&self, key: &str, text: &str) -> Result<(), &'static str> {
        if AMOUNTS.contains(&key) {
            return self.clear(text);
        }
        if !is_time(key) || self.time(text.trim()).is_some() {
            return Ok(());
        }
        let formats = || self.own.iter().chain(&self.known);
        let names_a_time = |format: &String| strtime::parse(format, text.trim()).is_ok();
        if self.zone.is_none() && formats().any(names_a_time) {
            return Err(
                "no time zone: give the map time_zone = \"Europe/Berlin\", or the times an offset",
            );
        }
        Err("no time that can be read in one way only: say in the map how it is written, as in \
             time_formats = [\"%d/%m/%Y %H:%M\"]")
    }

    /// An amount that the map can make clear.
    fn clear(&self, text: &str) -> Result<(), &'static str> {
        let either = [true, false].map(|comma| self.amount(text, Some(comma)));
        if self.amount(text, self.decimal_comma).is_none() && either.iter().any(Option::is_some) {
            return Err(
                "an amount that can be read in more than one way, or in another than the map \
                 says: say in the map decimal_comma = true (1.234,50) or false (1,234.50)",
            );
        }
        Ok(())
    }

    fn by(&self, format: &str, text: &str) -> Option<Timestamp> {
        let time = strtime::parse(format, text).ok()?;
        if let Ok(time) = time.to_timestamp() {
            return Some(time);
        }
        let local = match time.to_datetime() {
            Ok(local) => local,
            Err(_) => time.to_date().ok()?.to_datetime(civil::Time::midnight()),
        };
        let zone = match time.iana_time_zone() {
            Some(name) => TimeZone::get(name).ok()?,
            None => self.zone.clone()?,
        };
        zone.to_timestamp(local).ok()
    }

    /// An amount: with a currency's sign or letters around it, and separators of thousands where it
    /// is clear what they are.
    fn amount(&self, text: &str, decimal_comma: Option<bool>) -> Option<Decimal> {
        let around = |c: char| !c.is_ascii_digit() && !matches!(c, '.' | ',' | '-' | '+');
        let is_blank = |c: &char| c.is_whitespace() || matches!(c, '\'' | '\u{2019}');
        let bare: String = text.trim_matches(around).chars().filter(|c| !is_blank(c)).collect();
        let negative = text.trim_start().starts_with('-') || bare.starts_with('-');
        let bare = bare.trim_start_matches(['-', '+']);
        let (point, thousands) = match decimal_comma {
            Some(true) => (',', '.'),
            Some(false) => ('.', ','),
            None => match (bare.rfind('.'), bare.rfind(',')) {
                (Some(point), Some(comma)) if comma > point => (',', '.'),
                (Some(_), Some(_)) => ('.', ','),
                // `1,234` is a thousand to some and a bit more than one to others.
                (None, Some(_)) => return None,
                (Some(point), None) if self.has_semicolons && is_group(bare, point) => return None,
                (_, None) => ('.', ','),
            },
        };
        let (whole, rest) = bare.split_once(point).unwrap_or((bare, ""));
        let mut groups = whole.split(thousands);
        let first = groups.next()?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let mut all = first.to_owned();
        for group in groups {
            if group.len() != 3 || first.is_empty() || first.len() > 3 {
                return None;
            }
            all.push_str(group);
        }
        if !digits(&all) || !digits(rest) || (all.is_empty() && rest.is_empty()) {
            return None;
        }
        let sign = if negative { "-" } else { "" };
        let whole = if all.is_empty() { "0" } else { &all };
        let rest = if rest.is_empty() { "0" } else { rest };
        format!("{sign}{whole}.{rest}").parse::<Decimal>().ok().map(|amount| amount.normalize())
    }
}

fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "1" => Some(true),
        "false" | "no" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// Whether what follows a separator, and what stands before it, may be thousands.
fn is_group(number: &str, separator: usize) -> bool {
    number.len() == separator + 4 && (1..=3).contains(&separator) && !number.starts_with('0')
}

/// A number that is written as one, and not an id with zeros before it.
fn exact(text: &str) -> Option<Decimal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let whole = digits.split('.').next().unwrap_or_default();
    let leads = whole == "0" || (!whole.is_empty() && !whole.starts_with('0'));
    if !plain || !leads || digits.len() > 15 || digits.ends_with('.') {
        return None;
    }
    text.parse().ok()
}

fn number(amount: Decimal) -> Node<'static> {
    Node::Number(amount.to_string().into())
}
