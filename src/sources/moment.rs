//! Times as they came, and the correction of a client clock that is wrong.

use jiff::{SignedDuration, Timestamp};

use super::{
    Door, DoorKind, Rejection, RejectionCode, Warning, WarningCode, amount,
    json::Node,
    typed::{Path, is_absent},
};

/// A clock this wrong is corrected.
const NOTABLE: SignedDuration = SignedDuration::from_mins(1);
/// A clock this wrong is no clock: what it says stands, with a warning.
const HOPELESS: SignedDuration = SignedDuration::from_hours(24);
/// Further in the future is refused.
const FUTURE: SignedDuration = SignedDuration::from_mins(10);

/// Numbers of this size are milliseconds: as seconds they would lie beyond the year 5138.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// RFC 3339 with an offset, or a number of epoch seconds or milliseconds.
pub(super) fn moment(node: &Node<'_>, path: &Path<'_>) -> Result<Option<Timestamp>, Rejection> {
    let time = match node {
        node if is_absent(node) => return Ok(None),
        Node::Number(number) => epoch(number),
        Node::Text(text) => text.trim().parse::<Timestamp>().ok(),
        Node::Flawed(flaw) => return Err(path.flawed(flaw)),
        _ => None,
    };
    // What is before 1970 is a broken clock; how old is too old is each platform's own rule.
    match time {
        Some(time) if time >= Timestamp::UNIX_EPOCH => Ok(Some(time)),
        Some(_) | None => Err(path.invalid(
            "expected RFC 3339 with an offset (2026-11-22T04:00:00Z), or epoch seconds or \
             milliseconds as a number, from 1970 on",
        )),
    }
}

fn epoch(number: &str) -> Option<Timestamp> {
    let value = amount::parse(number)?;
    let unit = if value.abs() < MILLISECONDS_FROM.into() { 1_000_000_000 } else { 1_000_000i64 };
    let nanoseconds = value.checked_mul(unit.into())?.trunc();
    Timestamp::from_nanosecond(i128::try_from(nanoseconds).ok()?).ok()
}

/// When it happened: the sender's time, corrected where its clock is wrong by more than a minute
/// and less than a day, on live doors only; the time of receipt where the sender says nothing.
pub(super) fn settle(
    timestamp: Option<Timestamp>,
    sent_at: Option<Timestamp>,
    door: &Door<'_>,
    now: Timestamp,
    warnings: &mut Vec<Warning>,
) -> Result<Timestamp, Rejection> {
    let Some(mut time) = timestamp else { return Ok(now) };
    if let (DoorKind::Live, Some(sent_at)) = (door.kind, sent_at) {
        let wrong_by = now.duration_since(sent_at);
        if wrong_by.abs() >= HOPELESS {
            let message =
                "sent_at is a day or more off the time of receipt; timestamp stands as it is";
            warnings.push(Warning::new(WarningCode::Clock, message));
        } else if wrong_by.abs() > NOTABLE {
            time = time.checked_add(wrong_by).unwrap_or(time);
        }
    }
    if time.duration_since(now) > FUTURE {
        let message =
            "more than 10 minutes in the future; send when it happened, in UTC or with an offset";
        return Err(Path::Root.key("timestamp").reject(RejectionCode::InFuture, message));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Option<Timestamp>, Rejection> {
        let node = crate::sources::json::parse(json, 4).unwrap();
        moment(&node, &Path::Root.key("timestamp"))
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn every_form_of_a_time() {
        let expected = at("2026-11-22T04:00:00Z");
        for json in [
            "\"2026-11-22T04:00:00Z\"",
            "\"2026-11-22T05:00:00+01:00\"",
            "\"2026-11-21T20:00:00.000-08:00\"",
            "1795320000",
            "1795320000000",
            "1795320000.0",
            "1.79532e9",
        ] {
            assert_eq!(read(json), Ok(Some(expected)), "{json}");
        }
        assert_eq!(read("1795320000123").unwrap().unwrap(), at("2026-11-22T04:00:00.123Z"));
        assert_eq!(read("1795320000.5").unwrap().unwrap(), at("2026-11-22T04:00:00.5Z"));
        assert_eq!(read("0").unwrap().unwrap(), Timestamp::UNIX_EPOCH, "ancient, but a time");
        assert_eq!(read("\"\""), Ok(None));
        assert_eq!(read("[]"), Ok(None));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for json in [
            "\"2026-11-22T04:00:00\"",
            "\"2026-11-22\"",
            "\"yesterday\"",
            "\"1795320000\"",
            "-1",
            "1e400",
            "1e18",
            "true",
            "{}",
            "[1]",
            "\"1969-12-31T23:59:59Z\"",
            "\"2026-02-30T00:00:00Z\"",
        ] {
            assert_eq!(read(json).expect_err(json).code, RejectionCode::InvalidField, "{json}");
        }
    }

    fn settled(
        timestamp: &str,
        sent_at: &str,
        kind: DoorKind,
    ) -> (Result<Timestamp, RejectionCode>, usize) {
        let mut warnings = Vec::new();
        let door = Door { kind, ..Door::default() };
        let now = at("2026-11-22T12:00:00Z");
        let time = settle(Some(at(timestamp)), Some(at(sent_at)), &door, now, &mut warnings);
        (time.map_err(|rejection| rejection.code), warnings.len())
    }

    #[test]
    fn a_wrong_clock_is_corrected_on_live_doors() {
        use DoorKind::{Import, Live};
        let cases = [
            // An hour fast, an hour slow, a minute off, a day off.
            ("2026-11-22T12:50:00Z", "2026-11-22T13:00:00Z", Live, "2026-11-22T11:50:00Z", 0),
            ("2026-11-22T10:50:00Z", "2026-11-22T11:00:00Z", Live, "2026-11-22T11:50:00Z", 0),
            ("2026-11-22T11:50:00Z", "2026-11-22T11:59:00Z", Live, "2026-11-22T11:50:00Z", 0),
            ("2026-11-21T11:50:00Z", "2026-11-21T12:00:00Z", Live, "2026-11-21T11:50:00Z", 1),
            ("2026-11-22T10:50:00Z", "2026-11-22T11:00:00Z", Import, "2026-11-22T10:50:00Z", 0),
        ];
        for (timestamp, sent_at, kind, expected, warnings) in cases {
            assert_eq!(
                settled(timestamp, sent_at, kind),
                (Ok(at(expected)), warnings),
                "{timestamp}"
            );
        }
    }

    #[test]
    fn the_future_is_refused_after_correction() {
        let fast = settled("2026-11-22T12:50:00Z", "2026-11-22T12:00:00Z", DoorKind::Live);
        assert_eq!(fast.0, Err(RejectionCode::InFuture));
        let edge = settled("2026-11-22T12:10:00Z", "2026-11-22T12:00:00Z", DoorKind::Live);
        assert_eq!(edge.0, Ok(at("2026-11-22T12:10:00Z")));
        let hopeless = settled("2026-11-24T12:00:00Z", "2026-11-24T12:00:00Z", DoorKind::Live);
        assert_eq!(hopeless, (Err(RejectionCode::InFuture), 1));
    }
}
