//! The beginning of a CSV file as spreadsheets and upload templates write it: a mark, lines of
//! parameters and comments, then the header, which shows what separates the columns.

use jiff::tz::TimeZone;

/// What comes before the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Where the header begins, in bytes.
    pub header_at: usize,
    /// Lines before the header.
    pub lines: u64,
    /// What separates columns.
    pub separator: u8,
    /// Lines end with two bytes (`\r\n`).
    pub two_bytes: bool,
    /// `Parameters:TimeZone=`, as written.
    pub zone: Option<String>,
}

impl Start {
    /// Of the first bytes of a file, which should hold the whole header.
    pub fn of(bytes: &[u8]) -> Self {
        let mut header_at = if bytes.starts_with("\u{feff}".as_bytes()) { 3 } else { 0 };
        let (mut lines, mut zone) = (0, None);
        loop {
            let rest = bytes.get(header_at..).unwrap_or_default();
            let end = rest.iter().position(|byte| *byte == b'\n');
            let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            let text = String::from_utf8_lossy(line);
            let bare =
                text.trim().trim_matches(|c: char| matches!(c, '"' | ',' | ';' | '\t' | ' '));
            let parameters = bare.strip_prefix("Parameters:");
            if let Some(parameters) = parameters {
                let named = parameters.split([';', ',']).find_map(|one| {
                    let (name, value) = one.split_once('=')?;
                    name.trim().eq_ignore_ascii_case("TimeZone").then(|| value.trim().to_owned())
                });
                zone = named.or(zone);
            }
            // Comments of the templates; a column of row numbers is called "#", without a space.
            let is_comment = bare.starts_with("###") || bare.starts_with("# ");
            let skipped = parameters.is_some() || bare.is_empty() || is_comment;
            match end {
                Some(end) if skipped => {
                    header_at += end + 1;
                    lines += 1;
                }
                _ => {
                    let header = line.split(|byte| *byte == b'\r').next().unwrap_or_default();
                    let two_bytes = end.is_some() && line.ends_with(b"\r");
                    return Self {
                        header_at,
                        lines,
                        separator: separator(header),
                        two_bytes,
                        zone,
                    };
                }
            }
        }
    }

    /// On which line a row begins: empty lines before it are passed over by whoever reads it.
    /// `before` and `after` are the lines on which the reader stood, counted from 1.
    pub fn line_of(&self, before: u64, after: u64, row: &csv::ByteRecord) -> u64 {
        let breaks = row.iter().flatten().filter(|byte| **byte == b'\n').count() as u64;
        // Of two bytes at a line's end the reader stops between them.
        let at_least = before + u64::from(self.two_bytes);
        at_least.max(after.saturating_sub(breaks + u64::from(!self.two_bytes)))
    }

    /// The time zone that the file names, where it is one: a name or an offset.
    pub fn time_zone(&self) -> Option<TimeZone> {
        self.zone.as_deref().and_then(time_zone)
    }
}

/// A time zone by its name (`Europe/Berlin`) or offset (`+0100`, `-05:00`).
pub(super) fn time_zone(text: &str) -> Option<TimeZone> {
    let text = text.trim();
    if let Some(sign) = text.chars().next().filter(|c| matches!(c, '+' | '-')) {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let (hours, minutes) = match digits.len() {
            4 => (digits.get(..2)?.parse::<i32>().ok()?, digits.get(2..)?.parse::<i32>().ok()?),
            2 => (digits.parse::<i32>().ok()?, 0),
            _ => return None,
        };
        let seconds = (hours * 60 + minutes) * 60 * if sign == '-' { -1 } else { 1 };
        return jiff::tz::Offset::from_seconds(seconds).ok().map(TimeZone::fixed);
    }
    TimeZone::get(text).ok()
}

/// What separates the columns of a header: what occurs most; a comma where there is none.
fn separator(header: &[u8]) -> u8 {
    let count = |separator: &u8| header.iter().filter(|byte| *byte == separator).count();
    // Of equals the last is taken.
    [b'|', b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',')
}
